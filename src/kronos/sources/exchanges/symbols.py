"""Resolve symbols to markets: ``BTC/USDT``, ``btc-usdt``, ``BTCUSDT``, ``BTC-USDT-SWAP``, ``BTC/USDT:USDT``, ``BTC``.

A symbol without a settlement currency is of the kind in the settings; one with it (``:USDT``, ``-SWAP``, ``-PERP``) is
a perpetual. A market of the other kind is never used instead, only suggested.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kronos.errors import ParameterError
from kronos.formatting import join_names, truncate
from kronos.sources.exchanges.client import MarketKind

DOLLARS = ("USDT", "USD", "USDC", "FDUSD", "BUSD", "TUSD", "DAI")

_SUFFIX = re.compile(r"(?:[-_ /](?:SWAP|PERP|PERPETUAL)|\.P)$")
_SEPARATOR = re.compile(r"[-_/ ]+")
_NOUNS = {"spot": "spot market", "swap": "perpetual"}


@dataclass(frozen=True, slots=True)
class ExchangeMarket:
    """Names of a market on an exchange.

    Attributes:
        symbol: ccxt's unified symbol.
        id: The exchange's own name.
        base: The priced currency, in capitals.
        quote: The currency of the price, in capitals.
        settle: The settlement currency of a contract, in capitals; None for spot.
        perpetual: Whether it is spot or a perpetual, rather than a dated future or an option.
        active: Whether it is traded.
    """

    symbol: str
    id: str
    base: str
    quote: str
    settle: str | None = None
    perpetual: bool = True
    active: bool = True

    @property
    def kind(self) -> MarketKind:
        """Spot, linear (settled in the quote currency) or inverse (settled in the base currency)."""
        if self.settle is None:
            return "spot"
        return "linear" if self.settle == self.quote else "inverse"


@dataclass(frozen=True, slots=True)
class ParsedSymbol:
    """Parts of a symbol.

    Attributes:
        text: The whole symbol, in capitals.
        parts: What precedes the settlement: one piece, or base and quote.
        settle: The settlement currency, if any.
        swap: Whether it names a perpetual.
    """

    text: str
    parts: tuple[str, ...]
    settle: str | None
    swap: bool

    @property
    def joined(self) -> str:
        """The parts without a separator."""
        return "".join(self.parts)

    def names(self, market: ExchangeMarket) -> bool:
        """Whether this is the market's unified symbol or the exchange's own name."""
        return self.text in (market.symbol.upper(), market.id.upper())

    def is_pair_of(self, market: ExchangeMarket) -> bool:
        """Whether this is the market's base and quote, separated or not."""
        if len(self.parts) == 1:
            same = self.joined == market.base + market.quote
        else:
            same = self.parts == (market.base, market.quote)
        return market.perpetual and self.settle in (None, market.settle) and same


def parse_symbol(text: str) -> ParsedSymbol:
    """Parse a symbol.

    Raises:
        ParameterError: If the text has no parts.
    """
    capitals = text.strip().upper()
    pair, _, settle = capitals.partition(":")
    bare = _SUFFIX.sub("", pair)
    parts = tuple(part for part in _SEPARATOR.split(bare) if part)
    if not parts:
        raise ParameterError(f"Invalid symbol '{truncate(text)}': write it like BTC/USDT.")
    return ParsedSymbol(capitals, parts, settle or None, swap=bool(settle) or bare != pair)


def possible_kinds(text: str, default: str) -> tuple[MarketKind, ...]:
    """The kinds of markets that a symbol may belong to.

    Args:
        text: The symbol.
        default: Kind of symbols without a settlement: ``spot`` or ``swap``.
    """
    symbol = parse_symbol(text)
    if not symbol.swap and default == "spot":
        return ("spot",)
    settled_in_base = symbol.settle is not None and symbol.settle == symbol.parts[0]
    in_dollars = symbol.joined.endswith("USD")  # contracts in USD are mostly settled in the coin
    return ("linear", "inverse") if settled_in_base or in_dollars else ("linear",)


def resolve_symbol(text: str, markets: Sequence[ExchangeMarket], *, default: str, exchange: str) -> str:
    """Return the unified symbol of a market.

    Args:
        text: A symbol, in any usual notation.
        markets: The available markets.
        default: Kind of symbols without a settlement: ``spot`` or ``swap``.
        exchange: Name of the exchange in messages.

    Raises:
        ParameterError: If there is no such market (suggests the nearest) or several.
    """
    symbol = parse_symbol(text)
    swap = symbol.swap or default == "swap"
    same_kind = [market for market in markets if (market.kind != "spot") == swap]
    if not same_kind and not symbol.swap:  # for example an exchange that only has contracts
        same_kind, swap = list(markets), not swap
    by_name = [market for market in same_kind if symbol.names(market)]
    by_pair = [market for market in same_kind if symbol.is_pair_of(market)]
    for candidates in (by_name, by_pair, _in_dollars(symbol, same_kind)):
        preferred = _preferred(candidates)
        if len(preferred) == 1:
            return preferred[0].symbol
        if preferred:
            names = join_names([market.symbol for market in preferred], conjunction="or")
            raise ParameterError(f"'{truncate(text)}' may be {names} on {exchange}: write one of them.")
    start = f"{exchange} has no {_NOUNS['swap' if swap else 'spot']}"
    raise ParameterError(_not_found(start, symbol, truncate(text), same_kind, markets))


def _in_dollars(symbol: ParsedSymbol, markets: Iterable[ExchangeMarket]) -> list[ExchangeMarket]:
    """Markets of this base in USDT, else in the dollar currency that most of the exchange's markets are in."""
    listed = [market for market in markets if market.perpetual and market.quote in DOLLARS]
    of_base = [market for market in listed if symbol.parts == (market.base,)]
    frequency = Counter(market.quote for market in listed)
    quotes = sorted({market.quote for market in of_base}, key=lambda quote: (quote != "USDT", -frequency[quote], quote))
    return [market for market in of_base if market.quote == quotes[0]]


def _preferred(candidates: list[ExchangeMarket]) -> list[ExchangeMarket]:
    """Markets that are traded rather than others, and not inverse rather than inverse."""
    active = [market for market in candidates if market.active] or candidates
    return [market for market in active if market.kind != "inverse"] or active


def _not_found(
    start: str,
    symbol: ParsedSymbol,
    text: str,
    same_kind: Sequence[ExchangeMarket],
    markets: Sequence[ExchangeMarket],
) -> str:
    """Message that there is no such market, with a suggestion."""
    others = [m for m in markets if m not in same_kind and (symbol.is_pair_of(m) or symbol.names(m))]
    if others:
        return f"{start} '{text}', but another kind of market; did you mean {others[0].symbol}?"
    if not same_kind:
        return f"{start}s at all: use another exchange for '{text}'."
    spellings = {name: m.symbol for m in same_kind for name in (m.base + m.quote, m.symbol)}
    near = difflib.get_close_matches(symbol.joined, spellings, n=1, cutoff=0.6)
    if near:
        return f"{start} '{text}'; did you mean {spellings[near[0]]}?"
    return f"{start} '{text}'; it has {len(same_kind):,}, such as {_example(same_kind)}."


def _example(markets: Sequence[ExchangeMarket]) -> str:
    return max(markets, key=lambda market: (market.base == "BTC", market.quote in DOLLARS, market.active)).symbol

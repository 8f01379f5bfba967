"""Which market a symbol means: ``BTC/USDT``, ``btc-usdt``, ``BTCUSDT``, ``BTC-USDT-SWAP``, ``BTC/USDT:USDT``, ``BTC``.

A symbol that names no settlement is of the kind that the settings say; one that does (``:USDT``, ``-SWAP``,
``-PERP``) is a perpetual. A market of the other kind is never taken instead, only named.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kronos.errors import ParameterError
from kronos.formatting import truncate
from kronos.sources.exchanges.client import Kind

DOLLARS = ("USDT", "USD", "USDC", "FDUSD", "BUSD", "TUSD", "DAI")

_SUFFIX = re.compile(r"(?:[-_ /](?:SWAP|PERP|PERPETUAL)|\.P)$")
_SEPARATOR = re.compile(r"[-_/ ]+")
_WORDS = {"spot": "spot market", "swap": "perpetual"}


@dataclass(frozen=True, slots=True)
class Instrument:
    """A market as far as its name goes.

    Attributes:
        symbol: ccxt's unified symbol.
        id: The exchange's own name.
        base: The currency that is priced, in capitals.
        quote: The currency of the price, in capitals.
        settle: The currency a contract is settled in, in capitals; None for spot.
        perpetual: Whether it is spot or a perpetual, rather than a dated future or an option.
        active: Whether it trades.
    """

    symbol: str
    id: str
    base: str
    quote: str
    settle: str | None = None
    perpetual: bool = True
    active: bool = True

    @property
    def kind(self) -> Kind:
        """Spot, or settled in the quote, or in the base."""
        if self.settle is None:
            return "spot"
        return "linear" if self.settle == self.quote else "inverse"


@dataclass(frozen=True, slots=True)
class ParsedSymbol:
    """A symbol taken apart.

    Attributes:
        text: The whole, in capitals.
        parts: What stands before the settlement: one piece, or base and quote.
        settle: The settlement named, if any.
        swap: Whether it names a perpetual.
    """

    text: str
    parts: tuple[str, ...]
    settle: str | None
    swap: bool

    @property
    def joined(self) -> str:
        """The parts without anything between them."""
        return "".join(self.parts)


def parse_symbol(text: str) -> ParsedSymbol:
    """Read a symbol.

    Raises:
        ParameterError: If there is nothing in it.
    """
    capitals = text.strip().upper()
    pair, _, settle = capitals.partition(":")
    bare = _SUFFIX.sub("", pair)
    parts = tuple(part for part in _SEPARATOR.split(bare) if part)
    if not parts:
        raise ParameterError(f"'{truncate(text)}' names no market; write it like BTC/USDT.")
    return ParsedSymbol(capitals, parts, settle or None, swap=bool(settle) or bare != pair)


def kinds_asked(text: str, usual: str) -> tuple[Kind, ...]:
    """The kinds of markets among which a symbol may be.

    Args:
        text: The symbol.
        usual: ``spot`` or ``swap``, for symbols that name no settlement.
    """
    asked = parse_symbol(text)
    if not asked.swap and usual == "spot":
        return ("spot",)
    in_coin = asked.settle is not None and asked.settle == asked.parts[0]
    in_dollars = asked.joined.endswith("USD")  # dollar contracts are mostly settled in the coin
    return ("linear", "inverse") if in_coin or in_dollars else ("linear",)


def find(text: str, instruments: Sequence[Instrument], *, usual: str, exchange: str) -> str:
    """The unified symbol of the market that is meant.

    Args:
        text: A symbol, in any usual notation.
        instruments: The markets there are.
        usual: ``spot`` or ``swap``: what a symbol without settlement means.
        exchange: What messages call it.

    Raises:
        ParameterError: If there is none, naming the nearest, or several.
    """
    asked = parse_symbol(text)
    swap = asked.swap or usual == "swap"
    own = [one for one in instruments if (one.kind != "spot") == swap]
    if not own and not asked.swap:  # an exchange for contracts alone, say
        own, swap = list(instruments), not swap
    for candidates in (_named(asked, own), _paired(asked, own), _priced(asked, own)):
        chosen = _preferred(candidates)
        if len(chosen) == 1:
            return chosen[0].symbol
        if chosen:
            names = " or ".join(one.symbol for one in chosen[:4])
            raise ParameterError(f"'{truncate(text)}' may be {names} on {exchange}; write one of them.")
    raise ParameterError(_unknown(text, asked, own, instruments, exchange, "swap" if swap else "spot"))


def _named(asked: ParsedSymbol, markets: Iterable[Instrument]) -> list[Instrument]:
    """Markets of which this is the unified symbol or the exchange's own name."""
    return [one for one in markets if asked.text in (one.symbol.upper(), one.id.upper())]


def _paired(asked: ParsedSymbol, markets: Iterable[Instrument]) -> list[Instrument]:
    """Markets of this base and quote, or of both in one piece."""
    whole = len(asked.parts) == 1
    return [
        one
        for one in markets
        if one.perpetual
        and asked.settle in (None, one.settle)
        and (asked.joined == one.base + one.quote if whole else asked.parts == (one.base, one.quote))
    ]


def _priced(asked: ParsedSymbol, markets: Iterable[Instrument]) -> list[Instrument]:
    """Markets of this base against tethers, else against the dollar that most of the exchange's markets are in."""
    listed = [one for one in markets if one.perpetual and one.quote in DOLLARS]
    own = [one for one in listed if asked.parts == (one.base,)]
    often = Counter(one.quote for one in listed)
    quotes = sorted({one.quote for one in own}, key=lambda quote: (quote != "USDT", -often[quote], quote))
    return [one for one in own if one.quote == quotes[0]]


def _preferred(candidates: list[Instrument]) -> list[Instrument]:
    """Of several, those that trade, and those settled in the quote."""
    trading = [one for one in candidates if one.active] or candidates
    return [one for one in trading if one.kind != "inverse"] or trading


def _unknown(
    text: str, asked: ParsedSymbol, own: Sequence[Instrument], known: Sequence[Instrument], exchange: str, kind: str
) -> str:
    """Say that there is no such market, and which one may have been meant."""
    start = f"{exchange} has no {_WORDS[kind]} '{truncate(text)}'"
    other = [one for one in known if one not in own and (one in _paired(asked, known) or one in _named(asked, known))]
    if other:
        return f"{start}, but another kind of market; did you mean {other[0].symbol}?"
    if not own:
        return f"{exchange} has no {_WORDS[kind]}s at all; take another exchange for '{truncate(text)}'."
    spellings = {spelling: one.symbol for one in own for spelling in (one.base + one.quote, one.symbol)}
    near = difflib.get_close_matches(asked.joined, spellings, n=1, cutoff=0.6)
    mend = f"did you mean {spellings[near[0]]}?" if near else f"it has {len(own):,}, such as {_example(own)}."
    return f"{start}; {mend}"


def _example(markets: Sequence[Instrument]) -> str:
    return max(markets, key=lambda one: (one.base == "BTC", one.quote in DOLLARS, one.active)).symbol

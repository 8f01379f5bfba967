"""The assets of the prediction API, from configuration: ``BTC,ETH,DOT=DOT/EUR``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kronos.errors import ParameterError
from kronos.sources.coingecko.coins import well_known

_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,19}")


@dataclass(frozen=True, slots=True)
class Asset:
    """What can be asked for.

    Attributes:
        symbol: As clients write it, in capitals.
        name: CoinGecko's id where there is one, ``bitcoin``, else the symbol in small letters.
        names: What the source may call it, the likeliest first.
    """

    symbol: str
    name: str
    names: tuple[str, ...]


def read_assets(entries: tuple[str, ...], quote: str, source: str) -> dict[str, Asset]:
    """The configured assets by symbol.

    Args:
        entries: ``SYMBOL``, or ``SYMBOL=what the source calls it``.
        quote: What a bare symbol is priced in.
        source: The source's spec; each kind has its own way to call a pair.

    Raises:
        ParameterError: If an entry is no symbol.
    """
    assets = {}
    for entry in entries:
        symbol, _, called = (part.strip() for part in entry.partition("="))
        symbol = symbol.upper()
        if not _SYMBOL.fullmatch(symbol):
            raise ParameterError(f"KRONOS_SERVE__ASSETS names '{entry}'; write symbols such as BTC or BTC=XBT/EUR.")
        names = (called,) if called else _names(symbol, quote.upper(), source.partition(":")[0].lower())
        known = well_known(symbol)
        assets[symbol] = Asset(symbol, known[0] if known else symbol.lower(), names)
    return assets


def _names(symbol: str, quote: str, kind: str) -> tuple[str, ...]:
    if kind == "coingecko":
        return (symbol,)
    if kind in ("files", "replay", "qlib", "simulated", "yahoo", "baostock", "akshare"):
        return tuple(dict.fromkeys((symbol, f"{symbol}{quote}", f"{symbol}USD")))
    return (f"{symbol}/{quote}",)

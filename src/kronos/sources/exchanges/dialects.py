"""What single exchanges do that ccxt does not tell: where a candle's amount stands, how a page is cut, spare hosts.

An exchange that is not listed is served all the same, by what is safe to assume: no amount, and pages that are windows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["spot", "linear", "inverse"]
Column = int | str

_ANY: tuple[Kind, ...] = ("spot", "linear", "inverse")
_DIRECT: tuple[Kind, ...] = ("spot", "linear")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an exchange differs.

    Attributes:
        amount: Where the quote volume stands in a raw candle: a position in a list, or a name in a mapping.
        amount_of: The kinds of markets of which that is so; the same place may hold another thing for others.
        onward: The kinds of which it sends the first rows from a time on, however late they are. Else a request
            is about a window, and an empty answer says nothing about what comes after it.
        recent: How many intervals back its endpoint for recent candles reaches, where older ones have their own.
        only_spot: Timeframes that contracts don't have.
        spare: Hosts that serve the same, by the host that they stand in for.
    """

    amount: Column | None = None
    amount_of: tuple[Kind, ...] = _DIRECT
    onward: tuple[Kind, ...] = ()
    recent: int | None = None
    only_spot: tuple[str, ...] = ()
    spare: dict[str, str] = field(default_factory=dict)


# COIN-M candles hold contracts and coins, but no quote volume.
_BINANCE = Dialect(amount=7, onward=_DIRECT, only_spot=("1s",))
# `volCcyQuote` counts dollars for coin-margined swaps too. The recent endpoint reaches back 1,440 bars.
_OKX = Dialect(amount=7, amount_of=_ANY, recent=1_400)
_HITBTC = Dialect(amount="volume_quote", amount_of=("spot",))
_HTX = Dialect(amount="vol", amount_of=("spot",))

# Positions as in the samples of raw candles in ccxt's source, whose prices and volumes confirm them.
DIALECTS: dict[str, Dialect] = {
    "aster": Dialect(amount=7, amount_of=("spot",)),
    "bequant": _HITBTC,
    "binance": replace(_BINANCE, spare={"api.binance.com": "data-api.binance.vision"}),
    "binanceus": _BINANCE,
    "binanceusdm": _BINANCE,
    "bingx": Dialect(amount=7, amount_of=("spot",)),
    "bitget": Dialect(amount=6),
    "bittrade": _HTX,
    "blofin": Dialect(amount=7),
    "bybit": Dialect(amount=6),
    "gate": Dialect(amount=1, amount_of=("spot",)),
    "hitbtc": _HITBTC,
    "htx": _HTX,
    "kucoin": Dialect(amount=6, amount_of=("spot",)),
    "myokx": _OKX,
    "okx": _OKX,
    "okxus": _OKX,
    "poloniex": Dialect(amount=4, amount_of=("spot",)),
    "tokocrypto": Dialect(amount=7, amount_of=("spot",)),
    "whitebit": Dialect(amount=6, amount_of=("spot",)),
}

"""API of OKX v5: ``before`` and ``after`` exclusive, newest first, bars of six hours and more in Hong Kong time.

Recent candles (the last 1,440, the forming one included) and history (closed candles only) are two endpoints.
"""

from __future__ import annotations

import pandas as pd

from sources.binance_wire import kind_of
from sources.market_data import length, millis
from sources.wire import Answer, Request, World

_SHORT = {"1s": "1s", **{f"{n}m": f"{n}m" for n in (1, 3, 5, 15, 30)}, **{f"{n}H": f"{n}h" for n in (1, 2, 4)}}
_LONG = {"6H": "6h", "12H": "12h", "1D": "1d", "2D": "2d", "3D": "3d", "1W": "1w", "1M": "1mo", "3M": "3mo"}
BARS = {  # bar -> interval, hours by which its grid is ahead of UTC
    **{bar: (interval, 0) for bar, interval in _SHORT.items()},
    **{bar: (interval, 8) for bar, interval in _LONG.items()},
    **{bar + "utc": (interval, 0) for bar, interval in _LONG.items()},
}
RECENT, MAX_LIMIT, DEFAULT_LIMIT = 1440, 300, 100
CONTRACT = {"linear": 0.01, "inverse": 100.0}  # value of a contract in coins or dollars


def okx(world: World, request: Request) -> Answer | None:
    """Response of OKX; None for other paths."""
    if request.path == "/api/v5/public/time":
        return _success([{"ts": str(millis(world.time))}])
    if request.path == "/api/v5/public/instruments":
        spot = request.query.get("instType") == "SPOT"
        return _success([_instrument(one) for one in world.candles if (kind_of(one) == "spot") == spot])
    if request.path == "/api/v5/market/candles":
        return _candles(world, request.query, history=False)
    if request.path == "/api/v5/market/history-candles":
        return _candles(world, request.query, history=True)
    return None


def _success(data: list[object], rows: list[object] | None = None) -> Answer:
    return Answer({"code": "0", "msg": "", "data": data}, rows=rows)


def _error(code: str, message: str) -> Answer:
    return Answer({"code": code, "msg": message, "data": []})


def _id(symbol: str) -> str:
    return symbol.partition(":")[0].replace("/", "-") + ("" if kind_of(symbol) == "spot" else "-SWAP")


def _instrument(symbol: str) -> dict[str, object]:
    pair, _, settle = symbol.partition(":")
    base, quote = pair.split("/")
    kind = kind_of(symbol)
    shared = {
        "alias": "", "category": "1", "expTime": "", "instId": _id(symbol), "lever": "10", "listTime": "1548133413000",
        "lotSz": "0.00000001", "minSz": "0.00001", "optType": "", "state": "live", "stk": "", "tickSz": "0.1",
    }  # fmt: skip
    if kind == "spot":
        own = {"instType": "SPOT", "baseCcy": base, "quoteCcy": quote, "settleCcy": "", "uly": "", "ctVal": ""}
        return {**shared, **own, "ctMult": "", "ctType": "", "ctValCcy": ""}
    own = {"instType": "SWAP", "baseCcy": "", "quoteCcy": "", "settleCcy": settle, "uly": f"{base}-{quote}"}
    worth = {"ctType": kind, "ctVal": str(CONTRACT[kind]), "ctValCcy": base if kind == "linear" else "USD"}
    return {**shared, **own, **worth, "ctMult": "1", "instFamily": f"{base}-{quote}"}


def _candles(world: World, query: dict[str, str], *, history: bool) -> Answer:
    known = {_id(symbol): symbol for symbol in world.candles}
    if query.get("instId") not in known:
        return _error("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
    if query.get("bar", "1m") not in BARS:
        return _error("51000", "Parameter bar error")
    symbol = known[query["instId"]]
    interval, shift = BARS[query.get("bar", "1m")]
    frame = world.shows(symbol, interval, shift_hours=shift)
    forming = bool(len(frame)) and frame.index[-1] + length(interval) > world.time
    frame = (frame.iloc[:-1] if forming else frame) if history else frame.iloc[-RECENT:]
    stamps = frame.index.as_unit("ms").asi8
    selected = (stamps > int(query.get("before", -1))) & (stamps < int(query.get("after", 2**62)))
    limit = min(int(query.get("limit", DEFAULT_LIMIT)), world.okx_history_cap if history else MAX_LIMIT)
    last = frame.index[-1] if forming and not history else None
    newest_first = frame[selected].iloc[-limit:].iloc[::-1]
    rows: list[object] = [_row(*line, kind=kind_of(symbol), last=last) for line in newest_first.itertuples()]
    return _success(rows, rows)


def _row(
    time: pd.Timestamp,
    open_: float,
    high: float,
    low: float,
    close: float,
    volume: float,
    amount: float,
    *,
    kind: str,
    last: pd.Timestamp | None,
) -> list[str]:
    prices = [f"{price:.8f}" for price in (open_, high, low, close)]
    sizes = {"spot": (volume, amount), "linear": (volume / 0.01, volume), "inverse": (amount / 100.0, volume)}
    first, second = sizes[kind]
    return [str(millis(time)), *prices, f"{first:.8f}", f"{second:.8f}", f"{amount:.8f}", "0" if time == last else "1"]

"""API of Binance: spot (``/api/v3``), USDT-M futures (``/fapi/v1``) and COIN-M futures (``/dapi/v1``)."""

from __future__ import annotations

import pandas as pd

from sources.market_data import millis
from sources.wire import Answer, Request, World

_UNCHANGED = ["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w"]
INTERVALS = {**{name: name for name in _UNCHANGED}, "1M": "1mo"}
_APIS = {"/api/v3/": ("spot", 1000), "/fapi/v1/": ("linear", 1500), "/dapi/v1/": ("inverse", 1500)}
CONTRACT = 100  # value of a COIN-M contract in dollars


def binance(world: World, request: Request) -> Answer | None:
    """Response of Binance; None for other paths."""
    for prefix, (kind, max_limit) in _APIS.items():
        if request.path.startswith(prefix):
            what = request.path.removeprefix(prefix)
            if what == "time":
                return Answer({"serverTime": millis(world.time)})
            if what == "exchangeInfo":
                return Answer({"timezone": "UTC", "serverTime": millis(world.time), "symbols": _symbols(world, kind)})
            if what == "klines":
                return _klines(world, kind, max_limit, request.query)
    return None


def kind_of(symbol: str) -> str:
    """``spot``, ``linear`` (settled in the quote currency) or ``inverse`` (in the base currency)."""
    pair, _, settle = symbol.partition(":")
    return "spot" if not settle else ("linear" if pair.endswith("/" + settle) else "inverse")


def _id(symbol: str) -> str:
    name = symbol.partition(":")[0].replace("/", "")
    return name + "_PERP" if kind_of(symbol) == "inverse" else name


def _symbols(world: World, kind: str) -> list[dict[str, object]]:
    return [_symbol(symbol, kind) for symbol in world.candles if kind_of(symbol) == kind]


def _symbol(symbol: str, kind: str) -> dict[str, object]:
    pair, _, settle = symbol.partition(":")
    base, quote = pair.split("/")
    shared = {
        "symbol": _id(symbol), "status": "TRADING", "baseAsset": base, "quoteAsset": quote,
        "baseAssetPrecision": 8, "quotePrecision": 8, "orderTypes": ["LIMIT", "MARKET"],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.0", "stepSize": "0.00001"},
        ],
    }  # fmt: skip
    if kind == "spot":
        return {**shared, "isSpotTradingAllowed": True, "isMarginTradingAllowed": True, "permissions": ["SPOT"]}
    contract = {
        "pair": pair.replace("/", ""), "contractType": "PERPETUAL", "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000, "marginAsset": settle, "pricePrecision": 2, "quantityPrecision": 3,
    }  # fmt: skip
    if kind == "linear":
        return {**shared, **contract}
    return {**shared, **contract, "contractStatus": "TRADING", "contractSize": CONTRACT}


def _klines(world: World, kind: str, max_limit: int, query: dict[str, str]) -> Answer:
    known = {_id(symbol): symbol for symbol in world.candles if kind_of(symbol) == kind}
    if query.get("symbol") not in known:
        return Answer({"code": -1121, "msg": "Invalid symbol."}, 400)
    if query.get("interval") not in INTERVALS or (query["interval"] == "1s" and kind != "spot"):
        return Answer({"code": -1120, "msg": "Invalid interval."}, 400)
    frame = world.shows(known[query["symbol"]], INTERVALS[query["interval"]])
    limit = min(int(query.get("limit", 500)), max_limit)
    stamps = frame.index.as_unit("ms").asi8
    frame = frame[stamps <= int(query["endTime"])] if "endTime" in query else frame
    if "startTime" in query:
        frame = frame[frame.index.as_unit("ms").asi8 >= int(query["startTime"])].iloc[:limit]
    rows = [_row(*line, kind=kind) for line in frame.iloc[-limit:].itertuples()]
    return Answer(rows, rows=rows)


def _row(
    time: pd.Timestamp, open_: float, high: float, low: float, close: float, volume: float, amount: float, *, kind: str
) -> list[object]:
    first, second = (volume, amount) if kind != "inverse" else (amount / CONTRACT, volume)
    prices = [f"{price:.8f}" for price in (open_, high, low, close)]
    halves = [f"{first / 2:.8f}", f"{second / 2:.8f}"]
    return [millis(time), *prices, f"{first:.8f}", millis(time) + 59_999, f"{second:.8f}", 40, *halves, "0"]

"""API of CoinGecko: granularity by the requested days, closing times, a forming row, cached responses.

world = World({"BTC/USDT": walk("2024-01-01", 2_000)}, now="2024-03-01 12:30")
with serve_gecko(world, Gecko(plan="pro", key="secret")) as server:
    ...
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from unittest.mock import patch

import numpy as np
import pandas as pd

from kronos.intervals import Interval
from sources.wire import Answer, Request, Server, World, millis, serve

SYMBOLS = {"bitcoin": "BTC/USDT", "ethereum": "ETH/USDT", "lonely": "LONE/USDT"}
COINS = [
    {"id": "bitcoin", "symbol": "btc", "name": "Bitcoin"},
    {"id": "batcat", "symbol": "btc", "name": "batcat"},
    {"id": "ethereum", "symbol": "eth", "name": "Ethereum"},
    {"id": "polkadot", "symbol": "dot", "name": "Polkadot"},
    {"id": "lonely", "symbol": "lone", "name": "Lonely"},
    {"id": "twin-a", "symbol": "twin", "name": "Twin A"},
    {"id": "twin-bb", "symbol": "twin", "name": "Twin B"},
    {"id": "liquity-usd", "symbol": "lusd", "name": "Liquity USD"},
]
_DAYS = {"1": "30m", "7": "4h", "14": "4h", "30": "4h", "90": "4d", "180": "4d", "365": "4d", "max": "4d"}
_RANGES = {"hourly": ("1h", 31), "daily": ("1d", 180)}


@dataclass
class Gecko:
    """A handler with the API of CoinGecko.

    Attributes:
        plan: Plan of the key.
        key: The valid key; None accepts any request.
        stale: Age of its responses: candles that have closed since look unfinished.
        odd_last: Label the forming row with the current time instead of its closing time.
        coarse: Interval of all candles, whatever is requested.
    """

    plan: str = "demo"
    key: str | None = None
    stale: str = "0min"
    odd_last: bool = False
    coarse: str | None = None

    def __call__(self, world: World, request: Request) -> Answer | None:
        """Response of CoinGecko; None for other paths."""
        if not request.path.startswith("/api/v3/"):
            return None
        headers = {name.lower(): value for name, value in request.headers.items()}
        if self.key is not None and headers.get(f"x-cg-{self.plan}-api-key") != self.key:
            return error_answer(401, 10002, "API Key Missing", nested=False)
        parts = request.path.removeprefix("/api/v3/").split("/")
        if parts == ["ping"]:
            return Answer({"gecko_says": "(V3) To the Moon!"})
        if parts == ["coins", "list"]:
            return Answer(COINS)
        if parts == ["simple", "price"]:
            return self._price(world, request.query)
        if len(parts) < 3 or parts[0] != "coins" or SYMBOLS.get(parts[1]) not in world.candles:
            return Answer({"error": "coin not found"}, 404)
        if request.query.get("vs_currency") != "usd":
            return Answer({"error": "invalid vs_currency"}, 400)
        return self._coin(world, SYMBOLS[parts[1]], "/".join(parts[2:]), request.query)

    def _coin(self, world: World, symbol: str, what: str, query: dict[str, str]) -> Answer | None:
        if what == "market_chart":
            return _chart(world, symbol, int(query["days"]))
        if what == "ohlc":
            return self._by_days(world, symbol, query["days"])
        if what != "ohlc/range":
            return None
        if self.plan != "pro":
            return error_answer(401, 10005, "This request is limited to Pro API subscribers.")
        interval, longest = _RANGES[query["interval"]]
        since, to = (pd.Timestamp(int(query[one]), unit="s", tz="UTC") for one in ("from", "to"))
        if not since < to <= since + pd.Timedelta(days=longest):
            return Answer({"error": "invalid date range"}, 400)
        rows = self._rows(world, symbol, interval)
        return _listed([row for row in rows if millis(since) <= row[0] <= millis(to)])

    def _by_days(self, world: World, symbol: str, days: str) -> Answer:
        if days not in _DAYS:
            return Answer({"error": "Invalid days parameter"}, 400)
        if days == "max" and self.plan != "pro":
            return error_answer(401, 10012, "Your request exceeds the allowed time range.")
        rows = self._rows(world, symbol, _DAYS[days])
        length = Interval.parse(_DAYS[days]).delta
        since = 0 if days == "max" else millis(world.time - pd.Timedelta(days=int(days)) + length)
        return _listed([row for row in rows if row[0] >= since])

    def _rows(self, world: World, symbol: str, interval: str) -> list[list[float]]:
        interval = self.coarse or interval
        cached = World(world.candles, world.time - pd.Timedelta(self.stale))
        shown = cached.shows(symbol, interval)
        closes = shown.index + Interval.parse(interval).delta
        stamps = closes.as_unit("ms").asi8.tolist()
        prices = shown[["open", "high", "low", "close"]].to_numpy().tolist()
        rows = [[stamp, *row] for stamp, row in zip(stamps, prices, strict=True)]
        if self.odd_last and rows[-1][0] > millis(cached.time):
            rows[-1][0] = millis(cached.time)
        return rows

    def _price(self, world: World, query: dict[str, str]) -> Answer:
        known = [coin for coin in query["ids"].split(",") if SYMBOLS.get(coin) in world.candles]
        values = {}
        for coin in known:
            prices = world.shows(SYMBOLS[coin], "1h")["close"]
            values[coin] = {
                "usd": prices.iloc[-1], "usd_market_cap": prices.iloc[-1] * 19e6, "usd_24h_vol": 2.5e10,
                "usd_24h_change": float(prices.iloc[-1] / prices.iloc[-25] * 100 - 100),
                "last_updated_at": millis(world.time) // 1000,
            }  # fmt: skip
            if coin == "lonely":
                values[coin] |= {"usd_market_cap": 0.0, "usd_24h_vol": None, "usd_24h_change": None}
        return Answer(values)


def error_answer(status: int, code: int, words: str, *, nested: bool = True) -> Answer:
    """An error in one of CoinGecko's formats."""
    values = {"status": {"timestamp": "2026-03-05T08:16:12.383+00:00", "error_code": code, "error_message": words}}
    return Answer({"error": values} if nested else values, status)


def _listed(rows: list[list[float]]) -> Answer:
    return Answer(rows, rows=rows)


def _chart(world: World, symbol: str, days: int) -> Answer:
    """Prices at times slightly off the grid, and the current one at the end."""
    step = pd.Timedelta("5min") if days == 1 else pd.Timedelta("1h") if days <= 90 else pd.Timedelta("1D")
    index = pd.date_range(world.time - pd.Timedelta(days=days), world.time, freq=step, inclusive="left")
    if days <= 90:
        index = index + pd.to_timedelta(np.random.default_rng(0).integers(0, 20_000, len(index)), unit="ms")
    index = index.append(pd.DatetimeIndex([world.time]))
    frame = world.shows(symbol, "1h")
    prices = np.interp(index.as_unit("ns").asi8, frame.index.as_unit("ns").asi8, frame["close"])
    stamps = [millis(one) for one in index]

    def pairs(values: np.ndarray) -> list[list[float | None]]:
        return [[stamp, value] for stamp, value in zip(stamps, values.tolist(), strict=True)]

    caps = pairs(prices * 19e6)
    caps[0][1] = None
    return Answer({"prices": pairs(prices), "market_caps": caps, "total_volumes": pairs(prices * 1e4)})


@contextmanager
def serve_gecko(world: World, gecko: Gecko | None = None) -> Iterator[Server]:
    """Serve a world with CoinGecko's API; responses are dated by the world's clock."""

    def date(self: BaseHTTPRequestHandler, timestamp: float | None = None) -> str:
        return format_datetime(world.time.floor("s").to_pydatetime(), usegmt=True)

    with patch.object(BaseHTTPRequestHandler, "date_time_string", date), serve(world, [gecko or Gecko()]) as server:
        yield server

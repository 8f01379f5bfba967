"""A data feed for TradingView's charting library and other clients of its UDF protocol: ``/udf/…``.

- Each asset has four symbols: ``BTC`` with its closed candles, ``BTC.FORECAST`` with the closed candles and the median
  candles of the forecast, ``BTC.FORECAST.LOW`` and ``.HIGH`` with the ends of its 80 % band.
- Charts request times up to now. Forecast bars are later, so every response that reaches the last candle includes them.
- By the protocol, times are seconds since 1970, prices are columns, and errors are ``{"s": "error", "errmsg": …}``.
- Bars of a day or longer have the time of their trading day at 00:00 UTC, wherever the market is. Timezone, session and
  type of a symbol follow from the calendar of its candles.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np
import pandas as pd
from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from kronos.calendars import MarketClock, infer_calendar, market_clock
from kronos.calendars.sessions import ALWAYS, FUTURES, FX, INFERRED, canonical_name
from kronos.calendars.sessions import schedule as trading_schedule
from kronos.calendars.timezones import SECOND
from kronos.candles import Candles
from kronos.errors import KronosError
from kronos.intervals import Interval
from kronos.serve.cache import AsyncTTLCache, Expiring
from kronos.serve.errors import ApiError, to_api_error
from kronos.serve.market_data import Asset
from kronos.serve.predictions import BAND, to_milliseconds
from kronos.serve.routes.common import client_of, errors, run_in_pool
from kronos.serve.state import AppState

FORECAST_HOURS = 24
_MAX_BARS = 1500
_EXCHANGE = "KRONOS"
_MINUTE = 60
_HOURS_SECONDS = 3600.0  # how long the market of a symbol is cached
_EVENING = 18 * 3600 * SECOND
_YEAR = np.timedelta64(365, "D")
SymbolSuffix = Literal["", ".FORECAST", ".FORECAST.LOW", ".FORECAST.HIGH"]
_SUFFIXES: dict[SymbolSuffix, str] = {
    "": "candles",
    ".FORECAST": "candles and median forecast",
    ".FORECAST.HIGH": f"upper end of the forecast's {BAND:.0%} band",
    ".FORECAST.LOW": f"lower end of the forecast's {BAND:.0%} band",
}

_ERRORS = (KronosError, ApiError, TimeoutError, MemoryError)

Name = Annotated[str, Query(min_length=1, max_length=60, examples=["BTC.FORECAST"])]
Seconds = Annotated[float, Query(ge=-(2**40), le=2**40, allow_inf_nan=False)]
SymbolType = Literal["crypto", "forex", "futures", "stock"]


class ConfigResponse(BaseModel):
    """Capabilities of the data feed."""

    supported_resolutions: list[str]
    supports_search: bool = True
    supports_group_request: bool = False
    supports_marks: bool = False
    supports_timescale_marks: bool = False
    supports_time: bool = True
    exchanges: list[dict[str, str]]
    symbols_types: list[dict[str, str]]


class SymbolResponse(BaseModel):
    """Description of a symbol."""

    name: str
    ticker: str
    full_name: str
    description: str
    type: SymbolType
    session: str = Field(description="Trading hours in the timezone.", examples=["24x7", "0930-1130,1300-1500"])
    timezone: str = Field(examples=["Etc/UTC", "Asia/Shanghai"])
    exchange: str = _EXCHANGE
    listed_exchange: str = _EXCHANGE
    minmov: int = 1
    format: Literal["price"] = "price"
    pricescale: int = Field(description="Ten to the power of the displayed decimals.")
    has_intraday: bool = True
    has_daily: bool
    has_weekly_and_monthly: bool
    supported_resolutions: list[str]
    intraday_multipliers: list[str]
    volume_precision: int = 2
    data_status: Literal["streaming", "endofday", "delayed_streaming"] = "delayed_streaming"


class SearchResult(BaseModel):
    """A symbol found by a search."""

    symbol: str
    full_name: str
    description: str
    exchange: str = _EXCHANGE
    ticker: str
    type: str = Field(description="Empty until the symbol's candles have been requested.")


class Bars(BaseModel):
    """Bars in columns, ``no_data``, or an error."""

    s: Literal["ok", "no_data", "error"]
    t: list[int] | None = Field(
        default=None, description="Open times in seconds since 1970; of daily and longer bars the day at 00:00 UTC."
    )
    o: list[float] | None = None
    h: list[float] | None = None
    l: list[float] | None = None  # noqa: E741 (name of the protocol)
    c: list[float] | None = None
    v: list[float] | None = None
    nextTime: int | None = Field(default=None, description="With no_data: open time of the latest earlier bar.")
    errmsg: str | None = None


class UdfError(BaseModel):
    """An error in the protocol's form, with status 200: charts would take any other object for a symbol."""

    s: Literal["error"]
    errmsg: str


@dataclass(frozen=True, slots=True)
class UdfSymbol:
    """A symbol of the data feed: an asset and which series of it."""

    asset: Asset
    suffix: SymbolSuffix

    @property
    def name(self) -> str:
        """Name of the symbol shown in charts."""
        return f"{self.asset.symbol}{self.suffix}"

    @property
    def full_name(self) -> str:
        """The name with the exchange."""
        return f"{_EXCHANGE}:{self.name}"

    def description(self, *, simulated: bool = False) -> str:
        """A description of the series."""
        return f"{self.asset.name}, {_SUFFIXES[self.suffix]}{' (SIMULATED)' if simulated else ''}"


@dataclass(frozen=True, slots=True)
class TradingHours:
    """The market of a symbol, inferred from its candles.

    Attributes:
        type: Type of the symbol.
        session: Trading hours in the protocol's notation.
        timezone: Timezone of the session.
        clock: Conversion of candle times to the market's clock.
    """

    type: SymbolType
    session: str
    timezone: str
    clock: MarketClock

    def days(self, index: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Return the trading days of daily and longer candles."""
        local = self.clock.local(index)
        return local.round("D") if self.type == "forex" else local.normalize()  # FX days begin on the evening before


def udf_routes(state: AppState) -> APIRouter:
    """Build the routes of one server."""
    router = APIRouter(prefix="/udf", tags=["TradingView UDF"])
    hours_cache: AsyncTTLCache[str, TradingHours] = AsyncTTLCache()

    async def trading_hours(asset: Asset) -> TradingHours:
        async def compute() -> Expiring[TradingHours]:
            candles = (await state.market_data.candles(asset, _MAX_BARS)).candles
            return Expiring(await run_in_pool(state, infer_trading_hours, candles), _HOURS_SECONDS)

        return await hours_cache.get(asset.symbol, compute)

    @router.get("/config", responses=errors())
    async def config() -> ConfigResponse:
        """Return the capabilities of the data feed."""
        resolution = _resolution(await _common_interval(state))
        return ConfigResponse(
            supported_resolutions=[resolution],
            exchanges=[{"value": _EXCHANGE, "name": "Kronos", "desc": f"Candles of {state.market_data.source.name}"}],
            symbols_types=[{"name": kind.capitalize(), "value": kind} for kind in get_args(SymbolType)],
        )

    @router.get("/time", response_class=PlainTextResponse, responses=errors())
    async def now() -> str:
        """Return the server's time in seconds since 1970."""
        return str(int(time.time()))

    @router.get("/symbols", responses=errors())
    async def symbols(symbol: Name) -> SymbolResponse | UdfError:
        """Describe a symbol."""
        try:
            udf_symbol = _parse_symbol(state, symbol)
            hours = await trading_hours(udf_symbol.asset)
            candles = (await state.market_data.candles(udf_symbol.asset, _MAX_BARS)).candles
        except _ERRORS as error:
            return UdfError(s="error", errmsg=to_api_error(error).message)
        interval = candles.interval
        resolution = _resolution(interval)
        return SymbolResponse(
            name=udf_symbol.name,
            ticker=udf_symbol.name,
            full_name=udf_symbol.full_name,
            description=udf_symbol.description(simulated=candles.simulated),
            pricescale=10 ** _decimals(float(candles.frame["close"].iloc[-1])),
            type=hours.type,
            session=hours.session,
            timezone=hours.timezone,
            has_intraday=interval.intraday,
            has_daily=interval.unit == "d",
            has_weekly_and_monthly=interval.unit in ("w", "mo"),
            supported_resolutions=[resolution],
            intraday_multipliers=[resolution] if interval.intraday else [],
        )

    @router.get("/search", responses=errors())
    async def search(
        query: Annotated[str, Query(max_length=60)] = "",
        type: Annotated[str, Query(max_length=60)] = "",
        exchange: Annotated[str, Query(max_length=60)] = "",
        limit: Annotated[int, Query(ge=0, le=1000)] = 30,
    ) -> list[SearchResult]:
        """Find symbols by a part of their name."""
        if exchange.upper() not in ("", _EXCHANGE):
            return []

        def known_type(symbol: UdfSymbol) -> str:
            found = hours_cache.peek(symbol.asset.symbol)
            return "" if found is None else found[0].type

        text = query.strip().upper().removeprefix(f"{_EXCHANGE}:")
        symbols = [UdfSymbol(asset, suffix) for asset in state.market_data.assets.values() for suffix in _SUFFIXES]
        matches = [
            symbol
            for symbol in symbols
            if (text in symbol.name or text in symbol.asset.name.upper())
            and (not type or known_type(symbol) in ("", type))
        ]
        return [
            SearchResult(
                symbol=symbol.name,
                full_name=symbol.full_name,
                ticker=symbol.name,
                description=symbol.description(),
                type=known_type(symbol),
            )
            for symbol in matches[:limit]
        ]

    @router.get("/history", response_model_exclude_none=True, responses=errors())
    async def history(
        request: Request,
        symbol: Name,
        resolution: Annotated[str, Query(max_length=10, examples=["60"])],
        to: Annotated[Seconds, Query(examples=[2_147_483_647])],
        since: Annotated[Seconds, Query(alias="from")] = 0,
        countback: Annotated[
            float | SkipJsonSchema[None], Query(ge=0, le=10_000_000, allow_inf_nan=False, examples=[100])
        ] = None,
    ) -> Bars:
        """Return the bars that open in [from, to), or the last ``countback`` before ``to``."""
        try:
            udf_symbol = _parse_symbol(state, symbol)
            async with asyncio.timeout(state.serve.timeout):
                interval = await state.market_data.interval(udf_symbol.asset)
                if resolution.upper() not in _spellings(interval):
                    raise ApiError(400, f"Resolution not available; {udf_symbol.name} has {_resolution(interval)}.")
                bars, known = await _bars(state, udf_symbol, client_of(request))
                index = bars.index
                assert isinstance(index, pd.DatetimeIndex)
                if not interval.intraday:
                    index = (await trading_hours(udf_symbol.asset)).days(index)
        except _ERRORS as error:
            return Bars(s="error", errmsg=to_api_error(error).message)
        count = None if countback is None else int(countback)
        opens = [milliseconds // 1000 for milliseconds in to_milliseconds(index)]
        return _select(bars, opens, since, to, count, known if _is_now(to, interval) else len(bars))

    return router


def _parse_symbol(state: AppState, text: str) -> UdfSymbol:
    """Parse a symbol, with or without the exchange.

    Raises:
        ApiError: 404 if there is no such symbol.
    """
    name = text.strip().upper().removeprefix(f"{_EXCHANGE}:")
    suffix = max((suffix for suffix in _SUFFIXES if name.endswith(suffix)), key=len)
    return UdfSymbol(state.market_data.asset(name.removesuffix(suffix)), suffix)


async def _common_interval(state: AppState) -> Interval:
    """Return the interval of the first asset; the preferred one if the source fails."""
    try:
        return await state.market_data.interval(next(iter(state.market_data.assets.values())))
    except (StopIteration, *_ERRORS):
        return state.market_data.preferred_interval


def _is_now(to: float, interval: Interval) -> bool:
    """Return whether a chart requests the latest bars: it may round the time up to the end of the bar."""
    return -_MINUTE <= to - time.time() <= interval.seconds


async def _bars(state: AppState, symbol: UdfSymbol, client: str) -> tuple[pd.DataFrame, int]:
    """Return all bars of a symbol by open time, and the number of them that are not forecast."""
    past = (await state.market_data.candles(symbol.asset, _MAX_BARS)).candles.frame
    if not symbol.suffix:
        return past, len(past)
    limit, predictions = state.work_limit, state.predictions
    if predictions.needs_computation(symbol.asset.symbol, FORECAST_HOURS):
        limit.check(client)
    prediction = await predictions.forecast(
        symbol.asset, FORECAST_HOURS, client, lambda steps: limit.debit(client, steps)
    )
    forecast = prediction.forecast
    if symbol.suffix == ".FORECAST":
        future = forecast.quantile_candles(0.5)
        # A candle may have closed since the forecast.
        return pd.concat([past, future[future.index > past.index[-1]]]), len(past)
    band = forecast.range(BAND)["low" if symbol.suffix == ".FORECAST.LOW" else "high"]
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), band)).assign(volume=0.0), 0


def _select(bars: pd.DataFrame, opens: list[int], since: float, to: float, countback: int | None, known: int) -> Bars:
    """Select the requested bars, which open at ``opens``; if they reach bar number ``known``, also all later ones.

    A chart that scrolls back requests the bars before the first one that it has, so no response repeats a bar.
    """
    end = bisect_left(opens, to)
    first = max(0, end - countback) if countback is not None else bisect_left(opens, since, 0, end)
    end = len(opens) if end > known else end
    first = max(first, end - _MAX_BARS)
    if first >= end:
        return Bars(s="no_data", nextTime=opens[end - 1] if end else None)
    selected = bars.iloc[first:end]
    return Bars(
        s="ok",
        t=opens[first:end],
        o=selected["open"].tolist(),
        h=selected["high"].tolist(),
        l=selected["low"].tolist(),
        c=selected["close"].tolist(),
        v=selected["volume"].tolist(),
    )


def infer_trading_hours(candles: Candles) -> TradingHours:
    """Infer the market of candles, which takes a second the first time: it loads the calendars of exchanges."""
    index = candles.index
    calendar = canonical_name(candles.calendar) if candles.calendar else infer_calendar(index, candles.interval)
    clock = market_clock(index, candles.interval, calendar)
    if calendar == ALWAYS:
        return TradingHours("crypto", "24x7", "Etc/UTC", clock)
    if calendar == FX:
        return TradingHours("forex", "1700-1700", "America/New_York", clock)
    kind: SymbolType = "futures" if calendar.startswith(FUTURES) else "stock"
    hours = None if calendar == INFERRED else _usual_hours(calendar, candles.end)
    if hours is None:  # of an unknown market: no session that could hide bars
        zone = str(index.tz)
        return TradingHours(kind, "24x7", zone if "/" in zone else "Etc/UTC", clock)
    return TradingHours(kind, *hours, clock)


def _usual_hours(calendar: str, end: pd.Timestamp) -> tuple[str, str] | None:
    """Return the most frequent trading hours in the year before a time, and their timezone; None without any."""
    last = np.datetime64(end.date(), "D")
    days = trading_schedule(calendar, last - _YEAR, last)
    kinds = days.kind[(days.dates > last - _YEAR) & (days.dates <= last)]
    if not len(kinds):
        return None
    hours = days.hours[int(np.bincount(kinds).argmax())]
    ordered = sorted(hours, key=lambda segment: segment[0] < _EVENING)  # an evening session is of the next day
    return ",".join(f"{_hhmm(opens)}-{_hhmm(closes)}" for opens, closes in ordered), days.zone


def _hhmm(nanoseconds: int) -> str:
    """Return a time of day in the protocol's notation."""
    minutes = nanoseconds // (_MINUTE * SECOND) % (24 * 60)
    return f"{minutes // 60:02}{minutes % 60:02}"


def _resolution(interval: Interval) -> str:
    """Return an interval in the protocol's notation: minutes, ``1D``, ``1W``, ``1M``."""
    if interval.unit in ("d", "w", "mo"):
        return f"{interval.count}{interval.unit[0].upper()}"
    return str(interval.seconds // _MINUTE) if interval.seconds >= _MINUTE else f"{interval.seconds}S"


def _spellings(interval: Interval) -> set[str]:
    """Return the spellings of a resolution: ``1D`` and ``D``."""
    resolution = _resolution(interval)
    return {resolution, resolution.removeprefix("1")} if resolution[-1].isalpha() else {resolution}


def _decimals(price: float) -> int:
    """Return the decimals that show a price in about six digits: 2 for 76,400, 4 for 6.5, 8 for 0.00012."""
    return min(10, max(2, 5 - len(str(int(price))) + 1 if price >= 1 else 8))

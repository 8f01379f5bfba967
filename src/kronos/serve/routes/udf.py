"""A datafeed for TradingView's charting library and whatever else speaks its UDF protocol: ``/udf/…``.

- Each asset is four symbols: ``BTC`` has its closed candles, ``BTC.FORECAST`` those and after them the forecast's
  median candles, ``BTC.FORECAST.LOW`` and ``.HIGH`` the ends of its 80 % band.
- A chart asks for times up to now; forecast bars lie beyond, so they come with every request that reaches the last
  candle.
- Times are seconds since 1970, prices in columns, errors ``{"s": "error", "errmsg": …}``: the protocol's own ways.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated, Literal

import pandas as pd
from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from kronos.errors import KronosError
from kronos.intervals import Interval
from kronos.serve.errors import ApiError, to_api_error
from kronos.serve.market_data import Asset
from kronos.serve.predictions import BAND, milliseconds
from kronos.serve.routes.common import client_of, errors
from kronos.serve.state import AppState

HOURS = 24
_MOST = 1500  # bars of one answer, and how far back they go
_EXCHANGE = "KRONOS"
_MINUTE = 60
_TALES = {
    "": "candles",
    ".FORECAST": "candles, then the forecast's median",
    ".FORECAST.LOW": f"lower end of the forecast's {BAND:.0%} band",
    ".FORECAST.HIGH": f"upper end of the forecast's {BAND:.0%} band",
}
SymbolSuffix = Literal["", ".FORECAST", ".FORECAST.LOW", ".FORECAST.HIGH"]
_LONGEST_FIRST: tuple[SymbolSuffix, ...] = (".FORECAST.LOW", ".FORECAST.HIGH", ".FORECAST", "")

_FAULTS = (KronosError, ApiError, TimeoutError, MemoryError)

Name = Annotated[str, Query(min_length=1, max_length=60)]
Seconds = Annotated[int, Query(ge=-(2**40), le=2**40)]


class ConfigResponse(BaseModel):
    """What the datafeed can do."""

    supported_resolutions: list[str]
    supports_search: bool = True
    supports_group_request: bool = False
    supports_marks: bool = False
    supports_timescale_marks: bool = False
    supports_time: bool = True
    exchanges: list[dict[str, str]]
    symbols_types: list[dict[str, str]]


class SymbolResponse(BaseModel):
    """What a chart has to know of a symbol."""

    name: str
    ticker: str
    full_name: str
    description: str
    type: str = "crypto"
    session: str = "24x7"
    timezone: str = "Etc/UTC"
    exchange: str = _EXCHANGE
    listed_exchange: str = _EXCHANGE
    minmov: int = 1
    format: Literal["price"] = "price"
    pricescale: int = Field(description="Ten to the number of decimals that prices are shown with.")
    has_intraday: bool = True
    has_daily: bool
    has_weekly_and_monthly: bool = False
    supported_resolutions: list[str]
    intraday_multipliers: list[str]
    volume_precision: int = 2
    data_status: Literal["streaming", "endofday", "delayed_streaming"] = "delayed_streaming"


class SearchResult(BaseModel):
    """A symbol that a search found."""

    symbol: str
    full_name: str
    description: str
    exchange: str = _EXCHANGE
    ticker: str
    type: str = "crypto"


class Bars(BaseModel):
    """Bars in columns; or ``no_data``, or an error, as the protocol has it."""

    s: Literal["ok", "no_data", "error"]
    t: list[int] | None = Field(default=None, description="When each bar opens, in seconds since 1970.")
    o: list[float] | None = None
    h: list[float] | None = None
    l: list[float] | None = None  # noqa: E741 (the protocol's name)
    c: list[float] | None = None
    v: list[float] | None = None
    nextTime: int | None = Field(
        default=None, description="Where there are none: when the last ones before them opened."
    )
    errmsg: str | None = None


class UdfError(BaseModel):
    """An error as the protocol has it, with status 200: charts take any other object for a symbol."""

    s: Literal["error"]
    errmsg: str


@dataclass(frozen=True, slots=True)
class UdfQuery:
    """A symbol as a chart names it: which asset, and what of it."""

    asset: Asset
    tale: SymbolSuffix

    @property
    def name(self) -> str:
        """Its name in charts."""
        return f"{self.asset.symbol}{self.tale}"


def udf_routes(state: AppState) -> APIRouter:
    """The routes of one server."""
    router = APIRouter(prefix="/udf", tags=["TradingView UDF"])

    @router.get("/config", responses=errors())
    async def config() -> ConfigResponse:
        """Say what the datafeed can do."""
        resolution = _resolution(await _usual(state))
        return ConfigResponse(
            supported_resolutions=[resolution],
            exchanges=[{"value": _EXCHANGE, "name": "Kronos", "desc": f"Candles of {state.feed.source.name}"}],
            symbols_types=[{"name": "Crypto", "value": "crypto"}],
        )

    @router.get("/time", response_class=PlainTextResponse, responses=errors())
    async def now() -> str:
        """Give the server's time in seconds since 1970."""
        return str(int(time.time()))

    @router.get("/symbols", responses=errors())
    async def symbols(symbol: Name) -> SymbolResponse | UdfError:
        """Describe a symbol."""
        try:
            asked = _asked(state, symbol)
            fetched = await state.feed.candles(asked.asset, 2)
        except _FAULTS as error:
            return UdfError(s="error", errmsg=to_api_error(error).message)
        interval = fetched.candles.interval
        resolution = _resolution(interval)
        return SymbolResponse(
            name=asked.name,
            ticker=asked.name,
            full_name=f"{_EXCHANGE}:{asked.name}",
            description=_description(asked, simulated=fetched.candles.simulated),
            pricescale=10 ** _decimals(float(fetched.candles.frame["close"].iloc[-1])),
            has_intraday=interval.intraday,
            has_daily=not interval.intraday,
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
        if type not in ("", "crypto") or exchange.upper() not in ("", _EXCHANGE):
            return []
        wanted = query.strip().upper().removeprefix(f"{_EXCHANGE}:")
        every = [UdfQuery(asset, tale) for asset in state.feed.assets.values() for tale in reversed(_LONGEST_FIRST)]
        found = [one for one in every if wanted in one.name or wanted in one.asset.name.upper()]
        return [
            SearchResult(
                symbol=one.name, full_name=f"{_EXCHANGE}:{one.name}", ticker=one.name, description=_description(one)
            )
            for one in found[:limit]
        ]

    @router.get("/history", response_model_exclude_none=True, responses=errors())
    async def history(
        request: Request,
        symbol: Name,
        resolution: Annotated[str, Query(max_length=10)],
        to: Seconds,
        since: Annotated[int, Query(alias="from", ge=-(2**40), le=2**40)] = 0,
        countback: Annotated[int | None, Query(ge=0, le=10_000_000)] = None,
    ) -> Bars:
        """Give bars: those that open in [from, to), or the last ``countback`` before ``to``."""
        try:
            asked = _asked(state, symbol)
            async with asyncio.timeout(state.serve.timeout):
                interval = await state.feed.interval(asked.asset)
                if resolution.upper() not in _spellings(interval):
                    raise ApiError(400, f"{asked.name} has bars of {_resolution(interval)} only.")
                bars, known = await _bars(state, asked, client_of(request))
        except _FAULTS as error:
            return Bars(s="error", errmsg=to_api_error(error).message)
        return _cut(bars, since, to, countback, ahead=known if _is_now(to, interval) else len(bars))

    return router


def _asked(state: AppState, text: str) -> UdfQuery:
    """What a chart means by a name, with or without the exchange before it.

    Raises:
        ApiError: 404 if there is no such symbol.
    """
    name = text.strip().upper().removeprefix(f"{_EXCHANGE}:")
    tale = next(one for one in _LONGEST_FIRST if name.endswith(one))
    return UdfQuery(state.feed.asset(name.removesuffix(tale) if tale else name), tale)


async def _usual(state: AppState) -> Interval:
    """The interval of the first asset's candles, as every other's; the one wished for if the source cannot say."""
    try:
        return await state.feed.interval(next(iter(state.feed.assets.values())))
    except (StopIteration, *_FAULTS):
        return state.feed.usual


def _is_now(to: int, interval: Interval) -> bool:
    """Whether a chart that asks for bars before this time means the latest: it may round up to the bar's end."""
    return -_MINUTE <= to - time.time() <= interval.seconds


async def _bars(state: AppState, asked: UdfQuery, client: str) -> tuple[pd.DataFrame, int]:
    """All bars of a symbol by opening time, `[N × open, high, low, close, volume, …]`, and how many of them came."""
    past = (await state.feed.candles(asked.asset, _MOST)).candles.frame
    if not asked.tale:
        return past, len(past)
    work, predictions = state.rules.work, state.predictions
    if predictions.costs(asked.asset.symbol, HOURS):
        work.check(client)
    made = (await predictions.forecast(asked.asset, HOURS, lambda steps: work.debit(client, steps))).forecast
    if asked.tale == ".FORECAST":
        ahead = made.quantile_candles(0.5)
        return pd.concat([past, ahead[ahead.index > past.index[-1]]]), len(past)  # a candle may have come meanwhile
    band = made.range(BAND)["low" if asked.tale.endswith("LOW") else "high"]
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), band)).assign(volume=0.0), 0


def _cut(bars: pd.DataFrame, since: int, to: int, countback: int | None, *, ahead: int) -> Bars:
    """The bars that were asked for, and besides them all that follow if they reach bar number ``ahead``.

    Whoever goes back asks for what is before the first bar that came, so no answer holds that one again.
    """
    index = bars.index
    assert isinstance(index, pd.DatetimeIndex)
    opens = [moment // 1000 for moment in milliseconds(index)]
    end = sum(one < to for one in opens)
    first = max(0, end - countback) if countback is not None else sum(one < since for one in opens[:end])
    end = len(opens) if end > ahead else end
    first = max(first, end - _MOST)
    if first >= end:
        return Bars(s="no_data", nextTime=opens[end - 1] if end else None)
    part = bars.iloc[first:end]
    return Bars(
        s="ok",
        t=opens[first:end],
        o=part["open"].tolist(),
        h=part["high"].tolist(),
        l=part["low"].tolist(),
        c=part["close"].tolist(),
        v=part["volume"].tolist(),
    )


def _resolution(interval: Interval) -> str:
    """An interval as charts write it: minutes, ``1D``, ``1W``, ``1M``."""
    if interval.unit in ("d", "w", "mo"):
        return f"{interval.count}{interval.unit[0].upper()}"
    return str(interval.seconds // _MINUTE) if interval.seconds >= _MINUTE else f"{interval.seconds}S"


def _spellings(interval: Interval) -> set[str]:
    """How charts may write an interval: ``1D`` is ``D`` too."""
    usual = _resolution(interval)
    return {usual, usual.removeprefix("1")} if usual[-1].isalpha() else {usual}


def _description(asked: UdfQuery, *, simulated: bool = False) -> str:
    label = " (SIMULATED)" if simulated else ""
    return f"{asked.asset.name}, {_TALES[asked.tale]}{label}"


def _decimals(price: float) -> int:
    """Decimals that show a price to about six digits: 2 of 76,400, 4 of 6.5, 8 of 0.00012."""
    return min(10, max(2, 5 - len(str(int(price))) + 1 if price >= 1 else 8))

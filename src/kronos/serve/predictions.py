"""Predictions of assets: from candles to the answer's bytes, each made once and kept until the next candle closes.

- The model answers. Where it cannot (weights missing or on their way, memory, too little history, more steps than it
  has context, a bug), a labelled statistical forecast does, with the reason, and the model is tried again soon. A full
  queue or a slow source is no such case.
- Seeded by configuration: the same candles give the same answer, whoever asks, whenever.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kronos.errors import DataError, KronosError
from kronos.provenance import now_utc
from kronos.serve.batcher import Cancelled, ForecastRequest, InferenceQueue
from kronos.serve.cache import AsyncTTLCache, Expiring
from kronos.serve.errors import ApiError, to_api_error
from kronos.serve.market_data import Asset, CandleSnapshot, MarketData
from kronos.serve.model_pool import ModelPool
from kronos.serve.prediction_schemas import History, HistoryResponse, PredictedStep, Prediction, PredictionResponse

if TYPE_CHECKING:
    from kronos.candles import Candles
    from kronos.forecasts import Forecast
    from kronos.settings import ServeSettings
    from kronos.sources.coingecko import MarketChart, Quote

BAND = 0.8
HISTORY = 512  # candles fetched for a forecast: the longest context of the published models but one
_DAY = 86_400
_LOADING = 5.0  # seconds that a prediction waits for a model that is being loaded
_AGAIN = 30.0  # seconds for which a fallback's answer is kept
_HISTORIES = 32  # answers kept: one of 90 days has megabytes where candles are short
_LEAST = 3  # candles that the fallback needs
_NO_DIRECTION = "The median ends where the price is now: the calibration left no direction, and the trend says nothing."

Charge = Callable[[int], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CachedPrediction:
    """A forecast of an asset, from what, and why by the fallback if it is one."""

    fetched: CandleSnapshot
    forecast: Forecast
    reason: str | None


class PredictionService:
    """The prediction API's answers; they belong to one event loop.

    Attributes:
        feed: Candles of the assets.
        fallbacks: How often the statistical fallback has answered.
    """

    def __init__(self, feed: MarketData, engine: InferenceQueue, models: ModelPool, settings: ServeSettings) -> None:
        """Prepare; nothing is computed yet."""
        self.feed = feed
        self.fallbacks = 0
        self._engine, self._models, self._settings = engine, models, settings
        self._forecasts: AsyncTTLCache[tuple[str, int], CachedPrediction] = AsyncTTLCache()
        self._bytes: AsyncTTLCache[tuple[str, int], bytes] = AsyncTTLCache()
        self._histories: AsyncTTLCache[tuple[str, int], bytes] = AsyncTTLCache(_HISTORIES)

    def ready(self, symbol: str, hours: int) -> tuple[bytes, float] | None:
        """An answer that is there already, and the seconds for which it holds."""
        return self._bytes.peek((symbol, hours))

    def costs(self, symbol: str, hours: int) -> bool:
        """Whether asking now would have something computed: nothing is there, and nobody else has asked."""
        key = (symbol, hours)
        return not self._forecasts.has(key) and not self._bytes.has(key)

    async def answer(self, asset: Asset, hours: int, charge: Charge) -> bytes:
        """The answer to ``GET /api/predict`` as JSON.

        Args:
            asset: Of what.
            hours: How far ahead.
            charge: Called with the path-steps, if this call is the one that has them computed.

        Raises:
            KronosError: If candles cannot be had, or the horizon is beyond the model.
            ApiError: 503 if too much is waiting.
        """

        async def make() -> Expiring[bytes]:
            predicted, quote = await asyncio.gather(self.forecast(asset, hours, charge), self.feed.quote(asset))
            document = _document(asset, predicted, quote)
            seconds = predicted.fetched.seconds if quote is None else min(60.0, predicted.fetched.seconds)
            if predicted.reason is not None:
                seconds = min(_AGAIN, seconds)
            return Expiring(document.model_dump_json().encode(), seconds)

        return await self._bytes.get((asset.symbol, hours), make)

    async def forecast(self, asset: Asset, hours: int, charge: Charge) -> CachedPrediction:
        """The forecast behind an answer.

        Raises:
            KronosError: As `answer`.
            ApiError: As `answer`.
        """

        async def make() -> Expiring[CachedPrediction]:
            fetched = await self.feed.candles(asset, HISTORY)
            predicted = await self._predict(asset, hours, fetched, charge)
            return Expiring(predicted, fetched.seconds if predicted.reason is None else min(_AGAIN, fetched.seconds))

        return await self._forecasts.get((asset.symbol, hours), make)

    async def history(self, asset: Asset, days: int) -> bytes:
        """The answer to ``GET /api/history`` as JSON.

        Raises:
            KronosError: If candles cannot be had.
        """

        async def make() -> Expiring[bytes]:
            chart = await self.feed.chart(asset, days)
            if chart is not None:
                return Expiring(_charted(asset, days, chart).model_dump_json().encode(), 300.0)
            interval = await self.feed.interval(asset)
            fetched = await self.feed.candles(asset, max(1, math.ceil(days * _DAY / interval.seconds)))
            return Expiring(_recorded(asset, days, fetched.candles).model_dump_json().encode(), fetched.seconds)

        return await self._histories.get((asset.symbol, days), make)

    async def _predict(self, asset: Asset, hours: int, fetched: CandleSnapshot, charge: Charge) -> CachedPrediction:
        from kronos.inference import SamplingParams

        settings, candles = self._settings, fetched.candles
        horizon = max(1, math.ceil(hours * 3600 / candles.interval.seconds))
        sampling = SamplingParams.of("default", settings.samples, settings.seed)
        ask = ForecastRequest(
            asset.symbol, candles, horizon, sampling, self._models.default, calibrate=settings.calibrate
        )
        charge(ask.work)
        loading = self._models.loading
        ticket = self._engine.submit(ask)
        try:
            answer = await asyncio.wait_for(
                asyncio.wrap_future(ticket.result), min(_LOADING, settings.timeout) if loading else settings.timeout
            )
        except Exception as error:
            ticket.cancel()
            if isinstance(error, ApiError | Cancelled) or (isinstance(error, TimeoutError) and not loading):
                raise
            _log.warning("the fallback answers", extra={"symbol": asset.symbol}, exc_info=error)
            self.fallbacks += 1
            return CachedPrediction(fetched, self._simple(candles, horizon), _reason(error))
        except asyncio.CancelledError:
            ticket.cancel()
            raise
        return CachedPrediction(fetched, answer.forecast, None)

    def _simple(self, candles: Candles, horizon: int) -> Forecast:
        from kronos.baselines import moving_average_drift

        if len(candles) < _LEAST:
            raise DataError(f"There are only {len(candles)} closed candles; a forecast needs at least {_LEAST}.")
        return moving_average_drift(candles, horizon, samples=self._settings.samples, seed=self._settings.seed)


def iso(moment: pd.Timestamp) -> str:
    """A time in UTC as ISO 8601 to the second."""
    aware = moment if moment.tzinfo is not None else moment.tz_localize("UTC")
    return aware.tz_convert(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds(index: pd.DatetimeIndex) -> list[int]:
    """Times as whole milliseconds since 1970."""
    aware = index if index.tz is not None else index.tz_localize("UTC")
    return [int(value) for value in aware.as_unit("ms").asi8]


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "The model is still being loaded."
    if isinstance(error, KronosError | MemoryError):
        return to_api_error(error).message
    return "The model failed; the server's log says why."


def _document(asset: Asset, predicted: CachedPrediction, quote: Quote | None) -> PredictionResponse:
    fetched, forecast = predicted.fetched, predicted.forecast
    candles = fetched.candles
    current = forecast.last_close if quote is None else quote.price
    change, volume = _day(candles)
    return PredictionResponse(
        symbol=asset.symbol,
        currentPrice=current,
        change24h=change if quote is None else quote.change_24h,
        volume24h=volume if quote is None else quote.volume_24h,
        marketCap=None if quote is None else quote.market_cap,
        prediction=_prediction(predicted, current),
        timestamp=now_utc(),
        source=candles.source or "unknown",
        simulated=forecast.simulated,
        interval=str(candles.interval),
        asOf=iso(fetched.closes),
        expires=iso(fetched.expires),
    )


def _prediction(predicted: CachedPrediction, current: float) -> Prediction:
    forecast = predicted.forecast
    closes, band = forecast.median()["close"], forecast.range(BAND)
    final = float(closes.iloc[-1])
    above = float(forecast.probability_above(current))
    bullish = final > current and not _same(final, current)
    interval = forecast.interval
    steps = [
        PredictedStep(
            hour=round((i + 1) * interval.seconds / 3600, 4),
            price=float(closes.iloc[i]),
            low=float(band["low"].iloc[i]),
            high=float(band["high"].iloc[i]),
            timestamp=iso(time + interval.offset),
        )
        for i, time in enumerate(forecast.timestamps)
    ]
    return Prediction(
        price_24h=final,
        confidence=above if bullish else 1 - above,
        trend="bullish" if bullish else "bearish",
        predictions=steps,
        model="kronos" if predicted.reason is None else "simple",
        reason=predicted.reason,
        model_name=forecast.metadata.model,
        calibrated=forecast.metadata.calibrated,
        band=BAND,
        samples=forecast.samples,
        seed=forecast.metadata.details.get("seed"),
        notes=[*forecast.notes, *([_NO_DIRECTION] if _same(final, current) else [])],
    )


def _same(price: float, other: float) -> bool:
    """Whether two prices differ by rounding only."""
    return abs(price / other - 1) < 1e-9


def _day(candles: Candles) -> tuple[float | None, float | None]:
    """The change of the close in percent over 24 hours, and what was traded in them; None where that is not known."""
    closes = candles.frame["close"]
    last, since = float(closes.iloc[-1]), candles.end - pd.Timedelta(days=1)
    if candles.interval.seconds > _DAY or candles.start > since:
        return None, None
    before = float(closes[candles.index <= since].iloc[-1])
    told = candles.has_volume and candles.has_amount
    traded = float(candles.frame["amount"][candles.index > since].sum()) if told else None
    return 100 * (last / before - 1), traded


def _recorded(asset: Asset, days: int, candles: Candles) -> HistoryResponse:
    recent = candles.between(candles.end - pd.Timedelta(days=days) + candles.interval.delta, candles.end)
    times = milliseconds(recent.index + recent.interval.offset)
    told = recent.has_volume and recent.has_amount
    amounts = recent.frame["amount"].tolist() if told else [None] * len(recent)
    return HistoryResponse(
        symbol=asset.symbol,
        days=days,
        data=History(
            prices=list(zip(times, recent.frame["close"].tolist(), strict=True)),
            volumes=list(zip(times, amounts, strict=True)),
            marketCaps=[(time, None) for time in times],
        ),
        timestamp=now_utc(),
        source=candles.source or "unknown",
        simulated=candles.simulated,
        interval=str(candles.interval),
    )


def _charted(asset: Asset, days: int, chart: MarketChart) -> HistoryResponse:
    return HistoryResponse(
        symbol=asset.symbol,
        days=days,
        data=History(
            prices=_points(chart.prices), volumes=_points(chart.volumes), marketCaps=_points(chart.market_caps)
        ),
        timestamp=now_utc(),
        source="coingecko",
        simulated=False,
        interval=str(chart.granularity),
    )


def _points(series: pd.Series[float]) -> list[tuple[int, float | None]]:
    index = series.index
    assert isinstance(index, pd.DatetimeIndex)
    values = [float(value) if np.isfinite(value) else None for value in series]
    return list(zip(milliseconds(index), values, strict=True))

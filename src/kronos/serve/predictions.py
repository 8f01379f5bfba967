"""Predictions of assets, from candles to the response body; computed once and cached until the next candle closes.

- If the model cannot forecast (weights missing or loading, memory, too little history, a horizon beyond its context, a
  bug), a labelled statistical fallback does, with the reason, and the model is tried again soon. A full queue or a slow
  source is an error instead.
- Sampling is seeded by the settings, so the same candles give the same prediction.
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
from kronos.serve.schemas import History, HistoryResponse, PredictedStep, Prediction, PredictionResponse

if TYPE_CHECKING:
    from kronos.candles import Candles
    from kronos.forecasts import Forecast
    from kronos.settings import ServeSettings
    from kronos.sources.coingecko import MarketChart, Quote

BAND = 0.8
DEFAULT_HOURS, MAX_HOURS = 24, 168
_HISTORY = 512  # candles fetched for a forecast: the context of most published models
_DAY = 86_400
_LOADING_TIMEOUT = 5.0  # seconds that a prediction waits for a loading model
_FALLBACK_SECONDS = 30.0  # how long a fallback is cached
_QUOTE_SECONDS = 60.0  # how long a response with a current price is cached
_CHART_SECONDS = 300.0  # how long CoinGecko's history is cached
_MAX_HISTORIES = 32  # cached responses; 90 days of short candles take megabytes
_MIN_CANDLES = 3  # for the fallback
_NO_DIRECTION = "The median ends at the current price: after calibration the trend carries no information."

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CachedPrediction:
    """A forecast of an asset.

    Attributes:
        snapshot: The candles it was computed from.
        forecast: The forecast.
        reason: Why the fallback was used; None for the model.
    """

    snapshot: CandleSnapshot
    forecast: Forecast
    reason: str | None

    @property
    def seconds(self) -> float:
        """Seconds for which the prediction is valid."""
        seconds = self.snapshot.seconds
        return seconds if self.reason is None else min(_FALLBACK_SECONDS, seconds)


class PredictionService:
    """Computes and caches the responses of the prediction API; belongs to one event loop.

    Attributes:
        fallbacks: How often the statistical fallback was used.
    """

    def __init__(
        self, market_data: MarketData, inference: InferenceQueue, models: ModelPool, settings: ServeSettings
    ) -> None:
        self.fallbacks = 0
        self._market_data, self._inference, self._models, self._settings = market_data, inference, models, settings
        self._forecasts: AsyncTTLCache[tuple[str, int], CachedPrediction] = AsyncTTLCache()
        self._responses: AsyncTTLCache[tuple[str, int], bytes] = AsyncTTLCache()
        self._histories: AsyncTTLCache[tuple[str, int], bytes] = AsyncTTLCache(_MAX_HISTORIES)

    def cached(self, symbol: str, hours: int) -> tuple[bytes, float] | None:
        """Return a cached response and the seconds for which it is valid."""
        return self._responses.peek((symbol, hours))

    def needs_computation(self, symbol: str, hours: int) -> bool:
        """Return whether a request would start a computation: nothing is cached or in progress."""
        key = (symbol, hours)
        return key not in self._forecasts and key not in self._responses

    async def response(self, asset: Asset, hours: int, client: str, charge: Callable[[int], None]) -> bytes:
        """Return the JSON body for ``GET /api/predict``.

        Args:
            asset: The asset.
            hours: Horizon in hours.
            client: Client whose request starts the computation.
            charge: Called with the path-steps if this call starts the computation.

        Raises:
            KronosError: If there are no candles.
            ApiError: 503 if the queue is full.
        """

        async def compute() -> Expiring[bytes]:
            prediction, quote = await asyncio.gather(
                self.forecast(asset, hours, client, charge), self._market_data.quote(asset)
            )
            body = _prediction_response(asset, prediction, quote).model_dump_json().encode()
            return Expiring(body, prediction.seconds if quote is None else min(_QUOTE_SECONDS, prediction.seconds))

        return await self._responses.get((asset.symbol, hours), compute)

    async def forecast(self, asset: Asset, hours: int, client: str, charge: Callable[[int], None]) -> CachedPrediction:
        """Return the forecast of `response`.

        Raises:
            KronosError: As `response`.
            ApiError: As `response`.
        """

        async def compute() -> Expiring[CachedPrediction]:
            snapshot = await self._market_data.candles(asset, _HISTORY)
            prediction = await self._predict(asset, hours, snapshot, client, charge)
            return Expiring(prediction, prediction.seconds)

        return await self._forecasts.get((asset.symbol, hours), compute)

    async def history(self, asset: Asset, days: int) -> bytes:
        """Return the JSON body for ``GET /api/history``.

        Raises:
            KronosError: If there are no candles.
        """

        async def compute() -> Expiring[bytes]:
            chart = await self._market_data.chart(asset, days)
            if chart is not None:
                return Expiring(_chart_history(asset, days, chart).model_dump_json().encode(), _CHART_SECONDS)
            interval = await self._market_data.interval(asset)
            snapshot = await self._market_data.candles(asset, max(1, math.ceil(days * _DAY / interval.seconds)))
            body = _candle_history(asset, days, snapshot.candles).model_dump_json().encode()
            return Expiring(body, snapshot.seconds)

        return await self._histories.get((asset.symbol, days), compute)

    async def _predict(
        self, asset: Asset, hours: int, snapshot: CandleSnapshot, client: str, charge: Callable[[int], None]
    ) -> CachedPrediction:
        from kronos.inference import SamplingParams

        settings, candles = self._settings, snapshot.candles
        horizon = max(1, math.ceil(hours * 3600 / candles.interval.seconds))
        sampling = SamplingParams.resolve("default", settings.samples, settings.seed)
        request = ForecastRequest(
            asset.symbol, candles, horizon, sampling, self._models.default, calibrate=settings.calibrate, client=client
        )
        charge(request.work)
        loading = self._models.loading
        timeout = min(_LOADING_TIMEOUT, settings.timeout) if loading else settings.timeout
        pending = self._inference.submit(request)
        try:
            finished = await asyncio.wait_for(asyncio.wrap_future(pending.result), timeout)
        except Exception as error:
            pending.cancel()
            if isinstance(error, ApiError | Cancelled) or (isinstance(error, TimeoutError) and not loading):
                raise
            _log.warning("using the statistical fallback", extra={"symbol": asset.symbol}, exc_info=error)
            self.fallbacks += 1
            return CachedPrediction(snapshot, self._fallback_forecast(candles, horizon), _reason(error))
        except asyncio.CancelledError:
            pending.cancel()
            raise
        return CachedPrediction(snapshot, finished.forecast, None)

    def _fallback_forecast(self, candles: Candles, horizon: int) -> Forecast:
        from kronos.baselines import moving_average_drift

        if len(candles) < _MIN_CANDLES:
            raise DataError(f"There are only {len(candles)} closed candles; a forecast needs at least {_MIN_CANDLES}.")
        return moving_average_drift(candles, horizon, samples=self._settings.samples, seed=self._settings.seed)


def format_utc(time: pd.Timestamp) -> str:
    """Return a time in UTC as ISO 8601 to the second."""
    aware = time if time.tzinfo is not None else time.tz_localize("UTC")
    return aware.tz_convert(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_milliseconds(index: pd.DatetimeIndex) -> list[int]:
    """Return times as whole milliseconds since 1970."""
    aware = index if index.tz is not None else index.tz_localize("UTC")
    return [int(value) for value in aware.as_unit("ms").asi8]


def cache_control(seconds: float) -> str:
    """Return the Cache-Control header of a response that is valid for some seconds."""
    return f"private, max-age={int(seconds)}" if seconds >= 1 else "no-cache"


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "The model is still loading."
    if isinstance(error, KronosError | MemoryError):
        return to_api_error(error).message
    return "The model failed; the details are in the server's log."


def _prediction_response(asset: Asset, prediction: CachedPrediction, quote: Quote | None) -> PredictionResponse:
    snapshot, forecast = prediction.snapshot, prediction.forecast
    candles = snapshot.candles
    price = forecast.last_close if quote is None else quote.price
    change, volume = _day_change(candles)
    return PredictionResponse(
        symbol=asset.symbol,
        currentPrice=price,
        change24h=change if quote is None else quote.change_24h,
        volume24h=volume if quote is None else quote.volume_24h,
        marketCap=None if quote is None else quote.market_cap,
        prediction=_prediction(prediction, price),
        timestamp=now_utc(),
        source=candles.source or "unknown",
        simulated=forecast.simulated,
        interval=str(candles.interval),
        asOf=format_utc(snapshot.closed),
        expires=format_utc(snapshot.expires),
    )


def _prediction(prediction: CachedPrediction, price: float) -> Prediction:
    forecast = prediction.forecast
    closes, band = forecast.median()["close"], forecast.range(BAND)
    final = float(closes.iloc[-1])
    above = float(forecast.probability_above(price))
    unchanged = abs(final / price - 1) < 1e-9  # up to rounding
    bullish = final > price and not unchanged
    interval = forecast.interval
    steps = [
        PredictedStep(
            hour=round((i + 1) * interval.seconds / 3600, 4),
            price=float(closes.iloc[i]),
            low=float(band["low"].iloc[i]),
            high=float(band["high"].iloc[i]),
            timestamp=format_utc(time + interval.offset),
        )
        for i, time in enumerate(forecast.timestamps)
    ]
    return Prediction(
        price_24h=final,
        confidence=above if bullish else 1 - above,
        trend="bullish" if bullish else "bearish",
        predictions=steps,
        model="kronos" if prediction.reason is None else "simple",
        reason=prediction.reason,
        model_name=forecast.metadata.model,
        calibrated=forecast.metadata.calibrated,
        band=BAND,
        samples=forecast.samples,
        seed=forecast.metadata.details.get("seed"),
        notes=[*forecast.notes, *([_NO_DIRECTION] if unchanged else [])],
    )


def _day_change(candles: Candles) -> tuple[float | None, float | None]:
    """Return the change of the close over 24 hours in percent, and the volume; None if unknown."""
    closes = candles.frame["close"]
    last, since = float(closes.iloc[-1]), candles.end - pd.Timedelta(days=1)
    if candles.interval.seconds > _DAY or candles.start > since:
        return None, None
    before = float(closes[candles.index <= since].iloc[-1])
    has_amounts = candles.has_volume and candles.has_amount
    volume = float(candles.frame["amount"][candles.index > since].sum()) if has_amounts else None
    return 100 * (last / before - 1), volume


def _candle_history(asset: Asset, days: int, candles: Candles) -> HistoryResponse:
    recent = candles.between(candles.end - pd.Timedelta(days=days) + candles.interval.delta, candles.end)
    times = to_milliseconds(recent.index + recent.interval.offset)
    has_amounts = recent.has_volume and recent.has_amount
    amounts = recent.frame["amount"].tolist() if has_amounts else [None] * len(recent)
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


def _chart_history(asset: Asset, days: int, chart: MarketChart) -> HistoryResponse:
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
    return list(zip(to_milliseconds(index), values, strict=True))

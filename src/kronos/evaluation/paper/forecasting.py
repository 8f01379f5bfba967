"""The origins of the paper's tasks, and the forecasts of models, baselines and naive rules at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import pandas as pd

from kronos.baselines import BASELINES
from kronos.candles import PRICES
from kronos.errors import DataError, KronosError
from kronos.evaluation.forecasters import BaselineForecaster, Forecaster
from kronos.evaluation.origins import MIN_HISTORY, Dates, Instrument, Plan, RollingOrigins, make_plan
from kronos.evaluation.paper.settings import PRICE_ONLY_MARKETS, PaperSettings, Windows
from kronos.forecasts import Forecast, log_returns
from kronos.metrics import realised_volatility
from kronos.progress import ProgressCallback
from kronos.typing import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class OriginSet:
    """The origins of one interval.

    Attributes:
        interval: Such as ``1h``.
        windows: History for the model, and candles to forecast.
        plan: The origins. Histories are complete, because baselines need more than the model.
    """

    interval: str
    windows: Windows
    plan: Plan

    def groups(self) -> list[tuple[str, IntArray]]:
        """Return the groups (market and interval) with the rows of their origins."""
        labels = self.plan.table()["group"]
        return [(str(group), np.flatnonzero(labels == group)) for group in sorted(labels.unique())]

    def select(self, rows: IntArray) -> OriginSet:
        """Return only some of the origins."""
        return replace(self, plan=self.plan.select(rows))


def make_origin_sets(
    instruments: Sequence[Instrument], settings: PaperSettings, dates: Dates
) -> tuple[list[OriginSet], list[str]]:
    """Select the origins of each interval.

    Args:
        instruments: The series to forecast.
        settings: Settings of the task.
        dates: Times between which all forecast candles lie.

    Returns:
        The origins, and a sentence for each interval without any.

    Raises:
        DataError: If no interval has an origin.
        ParameterError: If the paper covers none of the intervals.
    """
    result: list[OriginSet] = []
    problems: list[KronosError] = []
    for interval in dict.fromkeys(str(instrument.candles.interval) for instrument in instruments):
        own = [_as_published(one) for one in instruments if str(one.candles.interval) == interval]
        try:
            result.append(_origin_set(interval, own, settings, dates))
        except KronosError as error:
            problems.append(error)
    if not result:
        raise problems[0]
    return result, [str(problem) for problem in problems]


def _origin_set(interval: str, instruments: Sequence[Instrument], settings: PaperSettings, dates: Dates) -> OriginSet:
    windows = settings.windows(interval)
    rolling = RollingOrigins(
        horizon=windows.horizon,
        stride=settings.stride,
        least_history=max(MIN_HISTORY, windows.lookback),
        max_origins=settings.origin_limit,
    )
    try:
        return OriginSet(interval, windows, make_plan(instruments, rolling, dates, quality="none"))
    except DataError as error:
        start = "" if dates.start is None else f" from {dates.start:%Y-%m-%d} on"
        last = max(instrument.candles.end.tz_localize(None) for instrument in instruments)
        raise DataError(
            f"No {interval} series has {windows.horizon} candles to forecast{start} after {rolling.least_history} "
            f"candles of history (the last candle is of {last:%Y-%m-%d}): use later candles, or other start and end "
            f"dates."
        ) from error


def _as_published(instrument: Instrument) -> Instrument:
    """The instrument without volume and amount, if its market has none in the paper."""
    if instrument.market.lower() not in PRICE_ONLY_MARKETS:
        return instrument
    candles = instrument.candles
    frame = candles.frame.assign(volume=0.0, amount=0.0)
    return replace(instrument, candles=replace(candles, frame=frame, has_volume=False, has_amount=False))


def actual_candles(plan: Plan) -> FloatArray:
    """Return the candles that followed each origin, ``[N, H, 6]``."""
    values = [instrument.candles.frame.to_numpy(dtype=np.float64) for instrument in plan.instruments]
    steps = np.arange(plan.rolling.horizon)
    return np.stack([values[i][k + steps] for i, k in zip(plan.series, plan.known, strict=True)])


def actual_prices(plan: Plan) -> FloatArray:
    """Return open, high, low and close after each origin, ``[N, H, 4]``."""
    return actual_candles(plan)[..., : len(PRICES)]


def closes_before(plan: Plan, back: int = 0) -> FloatArray:
    """Return the close ``back`` candles before the last known one (or the first one there is), ``[N]``."""
    closes = [instrument.candles.frame["close"].to_numpy(dtype=np.float64) for instrument in plan.instruments]
    pairs = zip(plan.series.tolist(), plan.known.tolist(), strict=True)
    return np.array([closes[i][max(0, k - 1 - back)] for i, k in pairs])


@dataclass(frozen=True, slots=True, eq=False)
class OriginTimes:
    """The times of forecasts.

    Attributes:
        origins: Times of the last known candles, naive. [N]
        ends: Times of the last forecast candles, naive. [N]
    """

    origins: pd.DatetimeIndex
    ends: pd.DatetimeIndex

    @classmethod
    def of(cls, plan: Plan) -> OriginTimes:
        """Read the times from a plan."""
        return cls(pd.DatetimeIndex(plan.table()["date"]), plan.ends())

    def select(self, rows: IntArray) -> OriginTimes:
        """Return the times of some origins."""
        return OriginTimes(self.origins[rows], self.ends[rows])

    @property
    def overlap(self) -> int:
        """The mean number of successive dates whose horizons overlap; the series may have different dates."""
        dates = self.origins.unique().sort_values()
        last = pd.Series(self.ends).groupby(self.origins).max().sort_index().to_numpy()
        reached = dates.searchsorted(last) - np.arange(len(dates))
        return max(1, int(np.ceil(reached.mean())))


# Forecasts -----------------------------------------------------------------------

PathStatistic = Callable[[Forecast], FloatArray]

BATCH_ORIGINS = 512  # origins forecast together
_ZERO_PRICE = (
    1.001e-4  # share of a path's highest price: sampled prices below a ten-thousandth of it are raised to that
)


@dataclass
class WorkCounter:
    """Counts finished work and reports it to a progress callback."""

    total: int
    progress: ProgressCallback | None = None
    done: int = field(default=0, init=False)

    def add(self, amount: int) -> None:
        """Add finished work."""
        self.done += amount
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)

    def finish(self) -> None:
        """Report completion, even if there was less work than expected."""
        self.add(self.total - self.done)


@dataclass(frozen=True, slots=True)
class ForecastSpec:
    """How to forecast, and what to keep of each forecast.

    Attributes:
        statistic: Function of a forecast whose value is kept; its shape is the same for all forecasts.
        samples: Number of sample paths.
        seed: Random seed.
        lookback: Candles of history to use; None for all.
    """

    statistic: PathStatistic
    samples: int
    seed: int
    lookback: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class OriginForecasts:
    """The forecasts of one forecaster.

    Attributes:
        values: The statistic at each origin; NaN where it made no forecast. [N, …]
        history: The smallest number of candles that a forecast used; None if unknown.
    """

    values: FloatArray
    history: int | None


def forecast_origins(
    origins: OriginSet, forecaster: Forecaster, spec: ForecastSpec, work: WorkCounter
) -> OriginForecasts:
    """Forecast at every origin; each forecast sees only its own past."""
    plan = origins.plan
    values: FloatArray | None = None
    used: list[int] = []
    for first in range(0, len(plan), BATCH_ORIGINS):
        rows = range(first, min(first + BATCH_ORIGINS, len(plan)))
        histories = {plan.name(origin): plan.history(origin) for origin in rows}
        if spec.lookback is not None:
            histories = {name: history.tail(spec.lookback) for name, history in histories.items()}
        times = {plan.name(origin): plan.times(origin) for origin in rows}
        forecasts = forecaster.forecast(histories, times, samples=spec.samples, seed=spec.seed)
        for origin, name in zip(rows, histories, strict=True):
            if name in forecasts:
                value = spec.statistic(forecasts[name])
                values = np.full((len(plan), *value.shape), np.nan) if values is None else values
                values[origin] = value
                details = forecasts[name].metadata.details
                used += [int(details["lookback"])] if "lookback" in details else []
        work.add(len(rows))
    return OriginForecasts(np.full(len(plan), np.nan) if values is None else values, min(used, default=None))


def mean_prices(forecast: Forecast) -> FloatArray:
    """Return mean open, high, low and close over the paths, like the published `predict`, ``[H, 4]``."""
    mean: FloatArray = forecast.paths[..., : len(PRICES)].mean(axis=0)
    return mean


def realised_variance(forecast: Forecast) -> FloatArray:
    """Return the mean over the paths of the sum of squared log returns between forecast closes.

    Infinite if a price was sampled at 0 or below, because it has no logarithm.
    """
    closes, highest = forecast.paths[..., PRICES.index("close")], forecast.paths[..., : len(PRICES)].max(axis=(1, 2))
    if (closes.min(axis=1) <= _ZERO_PRICE * highest).any():
        return np.asarray(np.inf)
    return np.asarray(variance_of(closes).mean())


def variance_of(closes: FloatArray) -> FloatArray:
    """Return the sum of the H − 1 squared log returns between successive closes along the last axis, as published."""
    return realised_volatility(log_returns(closes))


def whole_paths(forecast: Forecast) -> FloatArray:
    """Return all paths with all channels, ``[S, H, 6]``."""
    return forecast.paths


# Baselines and naive rules -------------------------------------------------------

LAST_VALUE, RANDOM_WALK = "last-value", "historical-volatility"
DRIFT, MOMENTUM, REVERSAL = "drift", "momentum", "reversal"
DIRECTED = (DRIFT, MOMENTUM, REVERSAL)
VOLATILITIES = (RANDOM_WALK, "garch-t", "har-volatility")
GENERATORS = (RANDOM_WALK, "block-bootstrap")

_DRIFT_WINDOW = 512  # candles of history, the most that other baselines use

NAIVE_RULES: Mapping[str, str] = MappingProxyType(
    {
        LAST_VALUE: "all prices stay at the last close; it has no ordering and therefore no coefficients",
        DRIFT: f"the mean log return of the last {_DRIFT_WINDOW} candles (or of all, if fewer) continues",
        MOMENTUM: "the mean log return of the last H candles continues, where H is the horizon",
        REVERSAL: "the same return continues with the opposite sign",
    }
)


def naive_prices(origins: OriginSet) -> dict[str, FloatArray]:
    """Return the forecasts of the naive rules, the same for open, high, low and close, ``[N, H, 4]`` by name."""
    last, horizon = closes_before(origins.plan), origins.windows.horizon
    recent = _mean_return(origins.plan, horizon)
    slopes = {
        LAST_VALUE: 0 * recent,
        DRIFT: _mean_return(origins.plan, _DRIFT_WINDOW),
        MOMENTUM: recent,
        REVERSAL: -recent,
    }
    steps = np.arange(1, horizon + 1)
    closes = {name: last[:, None] * np.exp(slope[:, None] * steps) for name, slope in slopes.items()}
    return {name: np.repeat(own[..., None], len(PRICES), axis=-1) for name, own in closes.items()}


def _mean_return(plan: Plan, back: int) -> FloatArray:
    """Mean log return of the last candles of each origin, ``[N]``."""
    mean: FloatArray = np.log(closes_before(plan) / closes_before(plan, back)) / np.minimum(back, plan.known - 1)
    return mean


def available(names: Sequence[str]) -> list[BaselineForecaster]:
    """Return those of the baselines whose libraries are installed."""
    return [BaselineForecaster(BASELINES[name]) for name in names if BASELINES[name].available]

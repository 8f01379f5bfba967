"""Naive baselines: last value, drift, seasonal naive, and the drift of two moving averages."""

from __future__ import annotations

from datetime import tzinfo

import numpy as np
import pandas as pd

from kronos.baselines.base import (
    check_arguments,
    ignore_overflow,
    resolve_timestamps,
    short_history_note,
    short_window_note,
    to_forecast,
)
from kronos.baselines.candle_shapes import CandleShapes, pick_positions, random_numbers
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast
from kronos.typing import FloatArray, IntArray

_DAY = 86_400  # seconds
_MIN_DIFFERENCES = 20  # of the seasonal naive forecast, to sample from
_POINT_NOTE = "A point forecast: all paths are equal, so its bands and probabilities are meaningless."
_MOVING_AVERAGE_NOTE = (
    "Statistical fallback: the drift is that of two moving averages and has no measured edge over no drift; use the "
    "bands, not the direction."
)


def moving_average_drift(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
    fast: int = 12,
    slow: int = 48,
    window: int = 64,
) -> Forecast:
    """Forecast a random walk of the log close with the drift of two moving averages and the recent volatility.

    The drift per step is (log SMA_fast - log SMA_slow) / ((slow - fast) / 2), with SMA_n the mean of the last n closes:
    the centres of the averages are (slow - fast) / 2 candles apart, so it is the mean slope of the log price between
    them. Its absolute value is limited to σ / √slow. Steps around it are normal; σ is the standard deviation (n - 1) of
    the last ``window`` one-step log returns. With fewer than ``slow`` candles of history both averages are shortened in
    proportion, with a note.

    Arguments besides those of `Baseline`:

    - ``fast``: Length of the short average, at least 1 candle.
    - ``slow``: Length of the long average, above ``fast``.
    - ``window``: Number of returns for the volatility and the candles' shapes.
    """
    check_arguments(candles, horizon, samples, min_candles=3, seed=seed, window=window)
    if not 1 <= fast < slow:
        raise ParameterError(f"Invalid averages, fast {fast} and slow {slow}: choose 1 ≤ fast < slow.")
    values = candles.frame.iloc[-max(slow, window + 1) :].to_numpy()
    recent = CandleShapes.of(values[-window - 1 :])
    used_slow = min(slow, len(values))
    used_fast = max(1, fast * used_slow // slow)
    slope, limit = _slope(np.log(values[:, 3]), used_fast, used_slow), _drift_limit(recent.sigma, used_slow)
    drift = float(np.clip(slope, -limit, limit))
    shocks, uniforms = random_numbers(seed, samples, horizon)
    with ignore_overflow():
        paths = recent.continue_by(drift + recent.sigma * shocks, pick_positions(uniforms, len(recent.returns)))
    details = {
        **{"seed": seed, "window": window, "fast": used_fast, "slow": used_slow},
        **{"sigma": recent.sigma, "drift": drift, "slope": slope},
    }
    notes = [_MOVING_AVERAGE_NOTE]
    if used_slow < slow:
        notes.append(f"The averages are of {used_fast} and {used_slow} candles, because the history is shorter.")
    return to_forecast(
        paths,
        candles,
        timestamps,
        "moving-average-drift",
        details,
        (*notes, *short_window_note(len(recent.returns), window)),
    )


def _slope(logs: FloatArray, fast: int, slow: int) -> float:
    """Return the mean slope per candle between the centres of two moving averages of log closes `[≥ slow]`."""
    short, long = (np.logaddexp.reduce(logs[-n:]) - np.log(n) for n in (fast, slow))  # in logs, against overflow
    return float((short - long) / ((slow - fast) / 2))


def _drift_limit(sigma: float, slow: int) -> float:
    """Return the largest drift per step, σ / √slow."""
    # On a walk without drift the slope has the standard deviation 2 σ / √(3 slow), 1.15 times the limit: slopes that
    # noise explains pass, larger ones are cut. Over `slow` steps the median moves by at most one standard deviation of
    # the walk, so the last close stays inside the 80 % band and spikes are not extrapolated.
    return float(sigma / np.sqrt(slow))


def last_value(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
) -> Forecast:
    """Forecast the last close for all prices, with the last volume and amount; S equal paths.

    Arguments and errors are those of `Baseline`; the seed has no effect.
    """
    check_arguments(candles, horizon, samples, min_candles=1)
    closes = np.full(horizon, candles.frame["close"].iloc[-1])
    paths = _equal_paths(closes, candles, samples)
    return to_forecast(paths, candles, timestamps, "last-value", {"seed": seed}, (_POINT_NOTE,))


def drift(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
) -> Forecast:
    """Continue the close by the history's mean log return at every step; S equal paths.

    The mean is (log last close - log first close) / (candles - 1). Each candle opens at the previous close; volume and
    amount are the last ones. Arguments and errors are those of `Baseline`; the seed has no effect. Needs 2 candles.
    """
    check_arguments(candles, horizon, samples, min_candles=2)
    history = candles.frame["close"].to_numpy()
    slope = (np.log(history[-1]) - np.log(history[0])) / (len(history) - 1)
    with ignore_overflow():
        closes = history[-1] * np.exp(slope * np.arange(1, horizon + 1))
    details = {"seed": seed, "mean_log_return": float(slope)}
    return to_forecast(_equal_paths(closes, candles, samples), candles, timestamps, "drift", details, (_POINT_NOTE,))


def _equal_paths(closes: FloatArray, candles: Candles, samples: int) -> FloatArray:
    """Build equal paths `[S, H, 6]` from closes `[H]`; each candle opens at the previous close."""
    last = candles.frame.iloc[-1]
    opens = np.concatenate([[last["close"]], closes[:-1]])
    turnover = [np.full_like(closes, last[name]) for name in ("volume", "amount")]
    path = np.stack([opens, np.maximum(opens, closes), np.minimum(opens, closes), closes, *turnover], axis=-1)
    return np.broadcast_to(path, (samples, *path.shape))


def seasonal_naive(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
    window: int = 512,
) -> Forecast:
    """Forecast each log return as that of the same time one day before, plus a resampled day-to-day difference.

    Hyndman & Athanasopoulos 2021, "Forecasting: Principles and Practice", sections 5.2 and 5.5, applied to log returns:
    the seasonal naive forecast, with paths bootstrapped from its residuals, the differences of returns one season
    apart. The season is the day: a candle is compared with the last candle before it of the same clock time, whatever
    nights, weekends and missing candles lie between. Beyond one day a path continues from its own first day. Each step
    has the shape of the candle of that time.

    Differences have about twice the variance of returns, so without a daily pattern the bands are too wide by about
    40 %.

    Arguments besides those of `Baseline`:

    - ``window``: Number of returns to use; it has to reach into the second day back.

    Raises:
        DataError: Also if the interval does not divide the day, or the window has no candle at a step's clock time or
            fewer than 20 differences.
    """
    check_arguments(candles, horizon, samples, min_candles=3, seed=seed, window=window)
    if not candles.interval.intraday or _DAY % candles.interval.seconds:
        raise DataError(f"seasonal-naive needs an intraday interval that divides the day, not {candles.interval}.")
    recent = CandleShapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
    times = resolve_timestamps(candles, timestamps, horizon)
    clock = _clock_seconds(candles.index[-len(recent.returns) :])
    residuals, positions = _differences(recent.returns, clock)
    donors = _same_time(_to_zone(times.times, candles.index.tz), positions)
    if len(residuals) < _MIN_DIFFERENCES:
        raise DataError(
            f"seasonal-naive needs at least {_MIN_DIFFERENCES} candles with an earlier one at the same time of day; "
            f"got {len(residuals)}: pass a longer history."
        )
    changes = residuals[pick_positions(random_numbers(seed, samples, horizon)[1], len(residuals))]
    with ignore_overflow():
        paths = recent.continue_by(_paths(recent.returns, donors, changes), np.broadcast_to(donors, changes.shape))
    details = {"seed": seed, "window": window, "differences": len(residuals)}
    return to_forecast(paths, candles, times, "seasonal-naive", details, short_history_note(len(recent.returns)))


def _clock_seconds(times: pd.DatetimeIndex) -> list[int]:
    """Return the local time of day in seconds."""
    seconds = times.hour.to_numpy() * 3600 + times.minute.to_numpy() * 60 + times.second.to_numpy()
    clock: list[int] = seconds.astype(int).tolist()
    return clock


def _differences(returns: FloatArray, clock: list[int]) -> tuple[FloatArray, dict[int, int]]:
    """Return the differences of returns one season apart, and the last position of each clock time."""
    last: dict[int, int] = {}
    differences = []
    for position, time in enumerate(clock):
        if time in last:
            differences.append(returns[position] - returns[last[time]])
        last[time] = position
    return np.array(differences), last


def _to_zone(times: pd.DatetimeIndex, zone: tzinfo | None) -> pd.DatetimeIndex:
    """Convert times to the history's timezone; `Forecast` refuses mixtures of naive and aware times."""
    return times if times.tz is None or zone is None else times.tz_convert(zone)


def _same_time(times: pd.DatetimeIndex, positions: dict[int, int]) -> IntArray:
    """Return the position of the last candle of each step's clock time, `[H]`."""
    clock = _clock_seconds(times)
    for time, stamp in zip(clock, times, strict=True):
        if time not in positions:
            raise DataError(f"seasonal-naive needs a candle at {stamp:%H:%M} in its window; the history has none.")
    return np.array([positions[time] for time in clock], dtype=np.int64)


def _paths(returns: FloatArray, donors: IntArray, changes: FloatArray) -> FloatArray:
    """Add changes `[S, H]` to the returns one day before: the history's, then those of the path itself."""
    paths = np.empty_like(changes)
    latest: dict[int, int] = {}
    for step, donor in enumerate(donors.tolist()):
        base = paths[:, latest[donor]] if donor in latest else returns[donor]
        paths[:, step] = base + changes[:, step]
        latest[donor] = step
    return paths

"""Point forecasts: one future, repeated on every path."""

from __future__ import annotations

from datetime import tzinfo

import numpy as np
import pandas as pd

from kronos.baselines.base import check, check_draws, future, ignoring_overflow, short_history_note, to_forecast
from kronos.baselines.candle_shapes import CandleShapes, Indices, draw, pick
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast
from kronos.typing import FloatArray

_MOVING_AVERAGE_NOTE = (
    "A statistical fallback: its drift is that of two moving averages, which has no measured edge over none; "
    "read the bands, not the direction."
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
    """Random walk of the log close with the drift of two moving averages and the volatility of the recent past.

    The drift per step is (log SMA_fast - log SMA_slow) / ((slow - fast) / 2), SMA_n being the mean of the last n
    closes: the averages' centres lie (slow - fast) / 2 candles apart, so it is the mean slope of the log price between
    them. It is at most σ / √slow, either way. Steps around it are normal; σ is the standard deviation (n - 1) of
    the last ``window`` one-step log returns of the close. Random numbers are keyed by (seed, path), as those of
    `historical_volatility`.

    With a history shorter than ``slow`` candles both averages shrink in proportion, and a note says so.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of paths, S.
        seed: Not negative; the same seed gives the same paths.
        timestamps: Times of the future candles; from the candles' calendar if not given.
        fast: Candles in the short average.
        slow: Candles in the long average, more than ``fast``.
        window: Number of returns to take the volatility and the candles' shapes from.

    Returns:
        A forecast of S different paths.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1, ``window`` below 2, ``seed`` negative, or not
            1 ≤ ``fast`` < ``slow``.
        DataError: If there are fewer than 3 candles, or the prices leave the range of numbers.
    """
    check(candles, horizon, samples, least=3)
    check_draws(seed, window)
    if not 1 <= fast < slow:
        raise ParameterError(f"The fast average is shorter than the slow one, and at least 1, not {fast} and {slow}.")
    values = candles.frame.iloc[-max(slow, window + 1) :].to_numpy()
    recent = CandleShapes.of(values[-window - 1 :])
    used_slow = min(slow, len(values))
    used_fast = max(1, fast * used_slow // slow)
    slope, most = _slope(np.log(values[:, 3]), used_fast, used_slow), _most(recent.sigma, used_slow)
    drift = float(np.clip(slope, -most, most))
    shocks, uniforms = draw(seed, samples, horizon)
    with ignoring_overflow():
        paths = recent.continue_by(drift + recent.sigma * shocks, pick(uniforms, len(recent.returns)))
    details = {
        **{"seed": seed, "window": window, "fast": used_fast, "slow": used_slow},
        **{"sigma": recent.sigma, "drift": drift, "slope": slope},
    }
    notes = (_MOVING_AVERAGE_NOTE, *_shorter(len(recent.returns), window, used_fast, used_slow, slow))
    return to_forecast(paths, candles, timestamps, "moving-average-drift", details, notes)


def _slope(logs: FloatArray, fast: int, slow: int) -> float:
    """Mean slope per candle between the centres of two moving averages, of log closes `[≥ slow]`."""
    short, long = (np.logaddexp.reduce(logs[-n:]) - np.log(n) for n in (fast, slow))  # logs: no price overflows
    return float((short - long) / ((slow - fast) / 2))


def _most(sigma: float, slow: int) -> float:
    """The largest drift per step that is believed: σ / √slow."""
    # On a walk without any drift the slope has the standard deviation 2 σ / √(3 slow), 1.15 times this: what noise
    # alone explains goes through, and nothing beyond. Over as many steps as the slow average is long, the middle moves
    # by one standard deviation of the walk at most: the last close stays inside the 80 % band, no spike runs away.
    return float(sigma / np.sqrt(slow))


def _shorter(returns: int, window: int, fast: int, slow: int, wanted: int) -> tuple[str, ...]:
    """What a history shorter than asked for changed, one sentence each."""
    said = []
    if slow < wanted:
        said.append(f"The averages are of {fast} and {slow} candles, as there is no more history.")
    if returns < window:
        said.append(f"The volatility is that of {returns} returns, fewer than the {window} asked for.")
    return tuple(said)


_POINT_NOTE = "A point forecast: all paths are the same, so its bands and probabilities say nothing."


def last_value(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
) -> Forecast:
    """Everything stays as it is: all prices are the last close, volume and amount the last ones.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of (equal) paths, S.
        seed: Taken for the common signature; nothing is random here.
        timestamps: Times of the future candles; from the candles' calendar if not given.

    Returns:
        A point forecast of S equal paths.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1.
        DataError: If there is no candle.
    """
    check(candles, horizon, samples, least=1)
    closes = np.full(horizon, candles.frame["close"].iloc[-1])
    return to_forecast(
        _along(closes, candles, samples), candles, timestamps, "last-value", {"seed": seed}, (_POINT_NOTE,)
    )


def drift(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
) -> Forecast:
    """The close goes on by the history's mean log return at every step.

    That is (log last close - log first close) / (candles - 1). Each candle opens at the close before it;
    volume and amount stay the last ones.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of (equal) paths, S.
        seed: Taken for the common signature; nothing is random here.
        timestamps: Times of the future candles; from the candles' calendar if not given.

    Returns:
        A point forecast of S equal paths.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1.
        DataError: If there are fewer than 2 candles, or the prices leave the range of numbers.
    """
    check(candles, horizon, samples, least=2)
    history = candles.frame["close"].to_numpy()
    slope = (np.log(history[-1]) - np.log(history[0])) / (len(history) - 1)
    with np.errstate(over="ignore"):  # `wrap` refuses the infinities
        closes = history[-1] * np.exp(slope * np.arange(1, horizon + 1))
    details = {"seed": seed, "mean_log_return": float(slope)}
    return to_forecast(_along(closes, candles, samples), candles, timestamps, "drift", details, (_POINT_NOTE,))


def _along(closes: FloatArray, candles: Candles, samples: int) -> FloatArray:
    """Equal paths `[S, H, 6]` through the closes `[H]`, each candle opening at the close before it."""
    last = candles.frame.iloc[-1]
    opens = np.concatenate([[last["close"]], closes[:-1]])
    turnover = [np.full_like(closes, last[name]) for name in ("volume", "amount")]
    path = np.stack([opens, np.maximum(opens, closes), np.minimum(opens, closes), closes, *turnover], axis=-1)
    return np.broadcast_to(path, (samples, *path.shape))


_DAY = 86_400
_LEAST = 20  # differences to draw from


def seasonal_naive(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
    window: int = 512,
) -> Forecast:
    """Each log return is that of the same time of the day before, plus a drawn change from one day to the next.

    Hyndman & Athanasopoulos 2021, "Forecasting: Principles and Practice", sections 5.2 and 5.5, applied to log
    returns: the seasonal naive forecast, and paths bootstrapped from its residuals, which are the differences of
    returns a season apart. The season is the day; two candles are a season apart if one is the last before the other
    with the same clock time, so that nights, weekends and missing candles do no harm. Beyond a day, a path
    continues its own first day. Each step takes its shape from the candle of that time.

    It is a baseline of the level of returns: differences have about twice the variance of returns, so without a
    pattern its bands are too wide by about 40 %.

    Args:
        candles: The history, of an interval that divides the day.
        horizon: Number of future candles, H.
        samples: Number of paths, S.
        seed: Not negative; the same seed gives the same paths.
        timestamps: Times of the future candles; from the candles' calendar if not given.
        window: Number of returns to look at; it has to reach into the second day back.

    Returns:
        A forecast of S different paths.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1, ``window`` below 2, or ``seed`` negative.
        DataError: If candles last a day or more or don't divide it, the window has no candle at a step's clock
            time or fewer than 20 differences, or the prices leave the range of numbers.
    """
    check(candles, horizon, samples, least=3)
    check_draws(seed, window)
    if not candles.interval.intraday or _DAY % candles.interval.seconds:
        raise DataError(f"A seasonal naive forecast needs candles that divide the day, not {candles.interval} ones.")
    recent = CandleShapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
    times = future(candles, timestamps, horizon)
    clock = _clock(candles.index[-len(recent.returns) :])
    residuals, positions = _differences(recent.returns, clock)
    donors = _same_time(_on(times.times, candles.index.tz), positions)
    if len(residuals) < _LEAST:
        raise DataError(
            f"A seasonal naive forecast needs {_LEAST} candles with one at the same time of a day before, "
            f"not {len(residuals)}; give it a longer history."
        )
    drawn = residuals[pick(draw(seed, samples, horizon)[1], len(residuals))]
    with ignoring_overflow():
        paths = recent.continue_by(_paths(recent.returns, donors, drawn), np.broadcast_to(donors, drawn.shape))
    details = {"seed": seed, "window": window, "differences": len(residuals)}
    return to_forecast(paths, candles, times, "seasonal-naive", details, short_history_note(len(recent.returns)))


def _clock(times: pd.DatetimeIndex) -> list[int]:
    """Seconds of the day on the wall clock."""
    seconds = times.hour.to_numpy() * 3600 + times.minute.to_numpy() * 60 + times.second.to_numpy()
    clock: list[int] = seconds.astype(int).tolist()
    return clock


def _differences(returns: FloatArray, clock: list[int]) -> tuple[FloatArray, dict[int, int]]:
    """Returns less those of the same clock time before, and the last position of each clock time."""
    last: dict[int, int] = {}
    found = []
    for position, time in enumerate(clock):
        if time in last:
            found.append(returns[position] - returns[last[time]])
        last[time] = position
    return np.array(found), last


def _on(times: pd.DatetimeIndex, zone: tzinfo | None) -> pd.DatetimeIndex:
    """Times on the history's wall clock; a mixture of naive and aware ones is left for `Forecast` to refuse."""
    return times if times.tz is None or zone is None else times.tz_convert(zone)


def _same_time(times: pd.DatetimeIndex, positions: dict[int, int]) -> Indices:
    """The last candle of each step's clock time, `[H]`."""
    clock = _clock(times)
    for time, stamp in zip(clock, times, strict=True):
        if time not in positions:
            raise DataError(f"No candle of the history is of {stamp:%H:%M}, so nothing tells what is usual then.")
    return np.array([positions[time] for time in clock], dtype=np.int64)


def _paths(returns: FloatArray, donors: Indices, drawn: FloatArray) -> FloatArray:
    """Each step's return of a day before, which beyond a day is the path's own, plus the drawn change `[S, H]`."""
    paths = np.empty_like(drawn)
    begun: dict[int, int] = {}
    for step, donor in enumerate(donors.tolist()):
        base = paths[:, begun[donor]] if donor in begun else returns[donor]
        paths[:, step] = base + drawn[:, step]
        begun[donor] = step
    return paths

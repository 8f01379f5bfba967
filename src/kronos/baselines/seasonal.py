"""The same time yesterday: what an intraday pattern alone foretells."""

from __future__ import annotations

from datetime import tzinfo

import numpy as np
import pandas as pd

from kronos.baselines.shapes import Indices, Shapes, draw, pick
from kronos.baselines.wrapping import Array, check, check_draws, few, future, ignoring_overflow, wrap
from kronos.candles import Candles
from kronos.errors import DataError
from kronos.forecasts import Forecast

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
    recent = Shapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
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
    return wrap(paths, candles, times, "seasonal-naive", details, few(len(recent.returns)))


def _clock(times: pd.DatetimeIndex) -> list[int]:
    """Seconds of the day on the wall clock."""
    seconds = times.hour.to_numpy() * 3600 + times.minute.to_numpy() * 60 + times.second.to_numpy()
    clock: list[int] = seconds.astype(int).tolist()
    return clock


def _differences(returns: Array, clock: list[int]) -> tuple[Array, dict[int, int]]:
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


def _paths(returns: Array, donors: Indices, drawn: Array) -> Array:
    """Each step's return of a day before, which beyond a day is the path's own, plus the drawn change `[S, H]`."""
    paths = np.empty_like(drawn)
    begun: dict[int, int] = {}
    for step, donor in enumerate(donors.tolist()):
        base = paths[:, begun[donor]] if donor in begun else returns[donor]
        paths[:, step] = base + drawn[:, step]
        begun[donor] = step
    return paths

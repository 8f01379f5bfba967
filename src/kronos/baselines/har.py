"""The heterogeneous autoregression of volatility: tomorrow's from that of the last candle, the last 5, the last 22."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kronos.baselines.shapes import Shapes, draw, pick
from kronos.baselines.wrapping import Array, check, check_draws, ignoring_overflow, ratio, wrap
from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.forecasts import Forecast

_PER_COEFFICIENT = 5  # returns to regress on
_FLOOR = 0.1  # of the mean volatility: what a forecast falls to at the least
_SHAPES = 64  # recent candles to take shapes from


def har_volatility(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
    window: int = 512,
    lags: tuple[int, ...] = (1, 5, 22),
) -> Forecast:
    """Random walk of the log close whose volatility at each step is that of Corsi's HAR.

    Corsi 2009, "A Simple Approximate Long-Memory Model of Realized Volatility": volatility is regressed by least
    squares on its means over the last 1, 5 and 22 candles, and the regression iterated ahead. Each candle's
    realised volatility is the root of its squared opening gap plus the variance that Garman & Klass 1980 read from
    open, high, low and close. Forecasts are kept between a tenth of the window's mean volatility and its largest
    (Bollerslev, Patton & Quaedvlieg 2016 bound theirs too), then multiplied by the one factor with which their
    mean square over the window is that of the returns. Steps are normal with mean 0.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of paths, S.
        seed: Not negative; the same seed gives the same paths.
        timestamps: Times of the future candles; from the candles' calendar if not given.
        window: Number of candles to regress on; shapes are those of its last 64.
        lags: Over how many of the last candles to average, increasing; the default is Corsi's day, week and month
            in trading days, whatever a candle lasts.

    Returns:
        A forecast of S different paths; ``sigma`` in `Made.details` is the first step's, ``sigma_last`` the last's.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1, ``window`` below 2, ``seed`` negative, or ``lags``
            are not increasing from at least 1.
        DataError: If there are too few candles to regress on (43 by default), or prices leave the range of numbers.
    """
    check(candles, horizon, samples, least=_least(lags))
    check_draws(seed, window)
    if window < _least(lags) - 1:
        raise ParameterError(f"These lags need a window of at least {_least(lags) - 1}, not {window}.")
    recent = Shapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
    coefficients, fitted, ahead = _regress(_volatility(recent), lags, horizon)
    level = _level(recent.returns[-len(fitted) :], fitted)
    fitted, ahead = level * fitted, level * ahead
    shocks, uniforms = draw(seed, samples, horizon)
    used = min(_SHAPES, len(fitted))
    donors = pick(uniforms, used)
    with ignoring_overflow():
        scale = ratio(np.broadcast_to(ahead, donors.shape), fitted[-used:][donors])
        paths = recent.tail(used).continue_by(ahead * shocks, donors, scale)
    details = {"seed": seed, "window": window, "lags": list(lags), "coefficients": coefficients.tolist()}
    details |= {"level": level, "sigma": float(ahead[0]), "sigma_last": float(ahead[-1])}
    return wrap(paths, candles, timestamps, "har-volatility", details)


def _least(lags: tuple[int, ...]) -> int:
    """How many candles the regression needs."""
    if not lags or list(lags) != sorted(set(lags)) or lags[0] < 1:
        raise ParameterError(f"Lags increase from at least 1, for example (1, 5, 22), not {lags}.")
    return max(lags) + _PER_COEFFICIENT * (len(lags) + 1) + 1


def _volatility(recent: Shapes) -> Array:
    """Realised volatility of each candle from its gap, range and body, `[W]` (Garman & Klass 1980)."""
    bodies = recent.returns - recent.gaps
    ranges = np.abs(bodies) + recent.upper + recent.lower
    within = 0.5 * np.square(ranges) - (2 * np.log(2) - 1) * np.square(bodies)
    volatility: Array = np.sqrt(np.square(recent.gaps) + np.maximum(within, 0))
    return volatility


def _regress(volatility: Array, lags: tuple[int, ...], horizon: int) -> tuple[Array, Array, Array]:
    """Coefficients, fitted values of all but the first candles, and the forecasts `[H]`."""
    longest, sums = max(lags), np.concatenate([[0.0], np.cumsum(volatility)])
    means = np.stack([(sums[longest:] - sums[longest - lag : -lag]) / lag for lag in lags], axis=1)
    design = np.column_stack([np.ones(len(means)), means])  # the last row tells the first step ahead
    target = volatility[longest:]
    coefficients: Array = np.linalg.lstsq(design[:-1], target, rcond=None)[0]
    low, high = _FLOOR * float(volatility.mean()), float(volatility.max())
    fitted = np.clip(design @ coefficients, low, high)
    known = volatility[-longest:].tolist()
    ahead = np.empty(horizon)
    for step in range(horizon):
        row = [1.0, *(sum(known[-lag:]) / lag for lag in lags)]
        ahead[step] = min(max(float(coefficients @ row), low), high)
        known.append(float(ahead[step]))
    return coefficients, fitted[:-1], ahead


def _level(returns: Array, fitted: Array) -> float:
    """The factor that gives the fitted volatility the mean square of the returns; 1 if it is nought anyway."""
    expected = float(fitted @ fitted)
    return float(np.sqrt(returns @ returns / expected)) if expected > 0 else 1.0

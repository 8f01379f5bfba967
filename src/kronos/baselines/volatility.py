"""The random walk with the volatility of the recent past: hard to beat, and honest about how far prices go.

The close is a Gaussian random walk in logs without drift, its volatility the same at every step ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.baselines.base import check, check_draws, ignoring_overflow, safe_divide, short_history_note, to_forecast
from kronos.baselines.candle_shapes import CandleShapes, draw, pick
from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.forecasts import Forecast
from kronos.typing import FloatArray

_PER_COEFFICIENT = 5  # returns to regress on
_HAR_FLOOR = 0.1  # of the mean volatility: what a forecast falls to at the least
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
    recent = CandleShapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
    coefficients, fitted, ahead = _regress(_volatility(recent), lags, horizon)
    level = _level(recent.returns[-len(fitted) :], fitted)
    fitted, ahead = level * fitted, level * ahead
    shocks, uniforms = draw(seed, samples, horizon)
    used = min(_SHAPES, len(fitted))
    donors = pick(uniforms, used)
    with ignoring_overflow():
        scale = safe_divide(np.broadcast_to(ahead, donors.shape), fitted[-used:][donors])
        paths = recent.tail(used).continue_by(ahead * shocks, donors, scale)
    details = {"seed": seed, "window": window, "lags": list(lags), "coefficients": coefficients.tolist()}
    details |= {"level": level, "sigma": float(ahead[0]), "sigma_last": float(ahead[-1])}
    return to_forecast(paths, candles, timestamps, "har-volatility", details)


def _least(lags: tuple[int, ...]) -> int:
    """How many candles the regression needs."""
    if not lags or list(lags) != sorted(set(lags)) or lags[0] < 1:
        raise ParameterError(f"Lags increase from at least 1, for example (1, 5, 22), not {lags}.")
    return max(lags) + _PER_COEFFICIENT * (len(lags) + 1) + 1


def _volatility(recent: CandleShapes) -> FloatArray:
    """Realised volatility of each candle from its gap, range and body, `[W]` (Garman & Klass 1980)."""
    bodies = recent.returns - recent.gaps
    ranges = np.abs(bodies) + recent.upper + recent.lower
    within = 0.5 * np.square(ranges) - (2 * np.log(2) - 1) * np.square(bodies)
    volatility: FloatArray = np.sqrt(np.square(recent.gaps) + np.maximum(within, 0))
    return volatility


def _regress(volatility: FloatArray, lags: tuple[int, ...], horizon: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coefficients, fitted values of all but the first candles, and the forecasts `[H]`."""
    longest, sums = max(lags), np.concatenate([[0.0], np.cumsum(volatility)])
    means = np.stack([(sums[longest:] - sums[longest - lag : -lag]) / lag for lag in lags], axis=1)
    design = np.column_stack([np.ones(len(means)), means])  # the last row tells the first step ahead
    target = volatility[longest:]
    coefficients: FloatArray = np.linalg.lstsq(design[:-1], target, rcond=None)[0]
    low, high = _HAR_FLOOR * float(volatility.mean()), float(volatility.max())
    fitted = np.clip(design @ coefficients, low, high)
    known = volatility[-longest:].tolist()
    ahead = np.empty(horizon)
    for step in range(horizon):
        row = [1.0, *(sum(known[-lag:]) / lag for lag in lags)]
        ahead[step] = min(max(float(coefficients @ row), low), high)
        known.append(float(ahead[step]))
    return coefficients, fitted[:-1], ahead


def _level(returns: FloatArray, fitted: FloatArray) -> float:
    """The factor that gives the fitted volatility the mean square of the returns; 1 if it is nought anyway."""
    expected = float(fitted @ fitted)
    return float(np.sqrt(returns @ returns / expected)) if expected > 0 else 1.0


RISKMETRICS = 0.94  # the decay of J. P. Morgan & Reuters 1996 for daily returns

_BACKCAST = 75  # returns that tell the variance before the first of them
_VARIANCE_FLOOR = 0.1  # of the window's root mean square: σ after a standstill, over which the first move is divided
_CEILING = 4.0  # times the largest σ of the window: what a simulated σ may reach


@dataclass(frozen=True)
class VarianceRecursion:
    """σ² of the next step is ω + (α + γ·1[r < 0]) r² + β σ².

    With γ = 0 it is GARCH(1,1) (Bollerslev 1986), else GJR (Glosten, Jagannathan & Runkle 1993); with ω = γ = 0
    and α = 1 - β the exponentially weighted moving average of RiskMetrics (J. P. Morgan & Reuters 1996, section
    5.2), whose variance is expected to stay as it is.
    """

    omega: float
    alpha: float
    beta: float
    gamma: float = 0.0

    @classmethod
    def ewma(cls, decay: float = RISKMETRICS) -> VarianceRecursion:
        """The moving average that forgets by the factor ``decay`` (λ) a step."""
        return cls(0.0, 1 - decay, decay)

    def volatility(self, returns: FloatArray) -> FloatArray:
        """σ of each step as it was expected one step before, and of the step after the last `[W + 1]`.

        Before the first return, squared return and variance count as the mean square of the first 75 returns with
        weights falling by .94 (arch's "backcast"). No σ falls below a tenth of the root mean square of all, so
        that the first move after a standstill is not divided by nearly nothing; it is 0 only if all returns are.
        """
        squares = np.square(returns)
        news = self.omega + np.where(returns < 0, self.alpha + self.gamma, self.alpha) * squares
        weights = RISKMETRICS ** np.arange(min(_BACKCAST, len(squares)))
        before = float(weights @ squares[:_BACKCAST] / weights.sum())
        variance = self.omega + (self.alpha + self.gamma / 2 + self.beta) * before
        variances = [variance]
        for arrived in news.tolist():
            variance = arrived + self.beta * variance
            variances.append(variance)
        floor = _VARIANCE_FLOOR**2 * float(squares.mean())
        return np.sqrt(np.maximum(variances, floor))

    def simulate(self, sigmas: FloatArray, shocks: FloatArray, feedback: float = 1.0) -> tuple[FloatArray, FloatArray]:
        """Returns and their σ, both `[S, H]`, each step's variance moved by the return before it.

        Args:
            sigmas: Of `volatility`; the last is the first step's. A simulated one reaches at most four times the
                largest.
            shocks: What σ is multiplied by, of variance 1. [S, H]
            feedback: Factor on the shocks where they move the variance.
        """
        ceiling = (_CEILING * float(sigmas.max())) ** 2
        variance = np.full(len(shocks), float(sigmas[-1]) ** 2)
        path = np.empty(shocks.shape)
        for step in range(shocks.shape[1]):
            path[:, step] = variance
            shock = shocks[:, step]
            news = np.where(shock < 0, self.alpha + self.gamma, self.alpha) * np.square(feedback * shock)
            variance = np.minimum(self.omega + (news + self.beta) * variance, ceiling)
        sigma = np.sqrt(path)
        return sigma * shocks, sigma


def historical_volatility(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
    window: int = 64,
) -> Forecast:
    """Random walk of the log close without drift, its volatility that of the last ``window`` returns.

    Steps are normal with mean 0; their standard deviation is the sample's (n - 1), of one-step log returns of
    the close. Shocks are drawn from numpy streams keyed by (seed, path), so a path doesn't depend on how many
    others are asked for, nor its first steps on the horizon.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of paths, S.
        seed: Not negative; the same seed gives the same paths.
        timestamps: Times of the future candles; from the candles' calendar if not given.
        window: Number of returns to take the volatility and the candles' shapes from.

    Returns:
        A forecast of S different paths.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1, ``window`` below 2, or ``seed`` negative.
        DataError: If there are fewer than 3 candles, or the prices leave the range of numbers.
    """
    check(candles, horizon, samples, least=3)
    check_draws(seed, window)
    recent = CandleShapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
    shocks, uniforms = draw(seed, samples, horizon)
    with ignoring_overflow():
        paths = recent.continue_by(recent.sigma * shocks, pick(uniforms, len(recent.returns)))
    used = len(recent.returns)
    short = f"The volatility is that of {used} returns, fewer than the {window} asked for."
    details = {"seed": seed, "window": window, "sigma": recent.sigma}
    notes = (short,) if used < window else ()
    return to_forecast(paths, candles, timestamps, "historical-volatility", details, notes)


def ewma_volatility(
    candles: Candles,
    horizon: int,
    *,
    samples: int = 100,
    seed: int = 0,
    timestamps: pd.DatetimeIndex | None = None,
    decay: float = RISKMETRICS,
    window: int = 512,
) -> Forecast:
    """Random walk of the log close without drift, its volatility RiskMetrics' moving average.

    σ² of the next step is λ σ² + (1 - λ) r² (J. P. Morgan & Reuters 1996, "RiskMetrics Technical Document",
    section 5.2), and that of all further steps the same, as the document scales by √h. Steps are normal with
    mean 0.

    Args:
        candles: The history.
        horizon: Number of future candles, H.
        samples: Number of paths, S.
        seed: Not negative; the same seed gives the same paths.
        timestamps: Times of the future candles; from the candles' calendar if not given.
        decay: λ, between 0 and 1; .94 is the document's for daily returns.
        window: Number of returns to run the average over; shapes are those of its last 64 candles.

    Returns:
        A forecast of S different paths.

    Raises:
        ParameterError: If ``horizon`` or ``samples`` is below 1, ``window`` below 2, ``seed`` negative, or
            ``decay`` not between 0 and 1.
        DataError: If there are fewer than 3 candles, or the prices leave the range of numbers.
    """
    check(candles, horizon, samples, least=3)
    check_draws(seed, window)
    check_decay(decay)
    values = candles.frame.iloc[-window - 1 :].to_numpy()
    recent = CandleShapes.of(values[-_SHAPES - 1 :])
    sigmas = VarianceRecursion.ewma(decay).volatility(np.diff(np.log(values[:, 3])))
    sigma, used = float(sigmas[-1]), len(recent.returns)
    shocks, uniforms = draw(seed, samples, horizon)
    donors = pick(uniforms, used)
    with ignoring_overflow():
        paths = recent.continue_by(sigma * shocks, donors, safe_divide(sigma, sigmas[-used - 1 : -1][donors]))
    details = {"seed": seed, "window": window, "decay": decay, "sigma": sigma}
    return to_forecast(paths, candles, timestamps, "ewma-volatility", details, short_history_note(len(values) - 1))


def check_decay(decay: float) -> None:
    """Refuse a decay that forgets at once or never.

    Raises:
        ParameterError: If ``decay`` is not strictly between 0 and 1.
    """
    if not 0 < decay < 1:
        raise ParameterError(f"The decay lies strictly between 0 and 1, for example 0.94, not {decay}.")

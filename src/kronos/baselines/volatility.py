"""Volatility baselines: Gaussian random walks of the log close without drift, which differ in their volatility."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.baselines.base import (
    check_arguments,
    ignore_overflow,
    safe_divide,
    short_history_note,
    short_window_note,
    to_forecast,
)
from kronos.baselines.candle_shapes import SHAPES, CandleShapes, pick_positions, random_numbers
from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.forecasts import Forecast, log_returns
from kronos.typing import FloatArray

RISKMETRICS = 0.94  # the decay of J. P. Morgan & Reuters 1996 for daily returns

_PER_COEFFICIENT = 5  # returns per coefficient of the HAR regression
_HAR_FLOOR = 0.1  # lower limit of a HAR forecast, relative to the mean volatility
_BACKCAST = 75  # returns behind the initial variance of a recursion
_VARIANCE_FLOOR = 0.1  # lower limit of σ relative to the root mean square of the window, against division by nearly 0
_CEILING = 4.0  # upper limit of a simulated σ relative to the largest of the window


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
    """Forecast a random walk of the log close whose volatility at each step is that of Corsi's HAR.

    Corsi 2009, "A Simple Approximate Long-Memory Model of Realized Volatility": volatility is regressed on its means
    over the last 1, 5 and 22 candles by least squares, and the regression is iterated ahead. The realised volatility of
    a candle is the root of its squared opening gap plus the variance estimate of Garman & Klass 1980. Forecasts are
    limited to between a tenth of the window's mean volatility and its maximum (similar to Bollerslev, Patton &
    Quaedvlieg 2016), then scaled so that their mean square over the window equals that of the returns. ``sigma`` and
    ``sigma_last`` in `ForecastMetadata.details` are those of the first and the last step.

    Arguments besides those of `Baseline`:

    - ``window``: Number of candles to regress on (at least 42 by default); shapes are those of its last 64.
    - ``lags``: Numbers of candles to average over, increasing; the default is Corsi's day, week and month in trading
      days, independent of the interval.
    """
    min_candles = _min_candles(lags)
    check_arguments(candles, horizon, samples, min_candles=min_candles, seed=seed, window=window)
    if window < min_candles - 1:
        raise ParameterError(f"Invalid window {window}: these lags need at least {min_candles - 1} candles.")
    recent = CandleShapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
    coefficients, fitted, ahead = _regress(_volatility(recent), lags, horizon)
    level = _level(recent.returns[-len(fitted) :], fitted)
    fitted, ahead = level * fitted, level * ahead
    shocks, uniforms = random_numbers(seed, samples, horizon)
    used = min(SHAPES, len(fitted))
    donors = pick_positions(uniforms, used)
    with ignore_overflow():
        scale = safe_divide(np.broadcast_to(ahead, donors.shape), fitted[-used:][donors])
        paths = recent.tail(used).continue_by(ahead * shocks, donors, scale)
    details = {"seed": seed, "window": window, "lags": list(lags), "coefficients": coefficients.tolist()}
    details |= {"level": level, "sigma": float(ahead[0]), "sigma_last": float(ahead[-1])}
    return to_forecast(paths, candles, timestamps, "har-volatility", details)


def _min_candles(lags: tuple[int, ...]) -> int:
    """Return the number of candles that the regression needs."""
    if not lags or list(lags) != sorted(set(lags)) or lags[0] < 1:
        raise ParameterError(f"Invalid lags {lags}: pass increasing numbers from 1, for example (1, 5, 22).")
    return max(lags) + _PER_COEFFICIENT * (len(lags) + 1) + 1


def _volatility(recent: CandleShapes) -> FloatArray:
    """Compute the realised volatility of each candle from gap, range and body, `[W]` (Garman & Klass 1980)."""
    bodies = recent.returns - recent.gaps
    ranges = np.abs(bodies) + recent.upper + recent.lower
    within = 0.5 * np.square(ranges) - (2 * np.log(2) - 1) * np.square(bodies)
    volatility: FloatArray = np.sqrt(np.square(recent.gaps) + np.maximum(within, 0))
    return volatility


def _regress(volatility: FloatArray, lags: tuple[int, ...], horizon: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return coefficients, fitted values of all but the first candles, and forecasts `[H]`."""
    longest, sums = max(lags), np.concatenate([[0.0], np.cumsum(volatility)])
    means = np.stack([(sums[longest:] - sums[longest - lag : -lag]) / lag for lag in lags], axis=1)
    design = np.column_stack([np.ones(len(means)), means])  # the last row predicts the first step ahead
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
    """Return the factor that matches the mean square of the fitted volatility to that of the returns; 1 if it is 0."""
    expected = float(fitted @ fitted)
    return float(np.sqrt(returns @ returns / expected)) if expected > 0 else 1.0


@dataclass(frozen=True)
class VarianceRecursion:
    """Recursion of the variance: σ² of the next step is ω + (α + γ·1[r < 0]) r² + β σ².

    With γ = 0 it is GARCH(1,1) (Bollerslev 1986), else GJR (Glosten, Jagannathan & Runkle 1993); with ω = γ = 0 and
    α = 1 - β the exponentially weighted moving average of RiskMetrics (J. P. Morgan & Reuters 1996, section 5.2), whose
    expected variance is constant.
    """

    omega: float
    alpha: float
    beta: float
    gamma: float = 0.0

    @classmethod
    def ewma(cls, decay: float = RISKMETRICS) -> VarianceRecursion:
        """Return the moving average with decay λ per step."""
        return cls(0.0, 1 - decay, decay)

    def volatility(self, returns: FloatArray) -> FloatArray:
        """Compute the one-step-ahead σ of each return and of the step after the last, `[W + 1]`.

        The initial squared return and variance are the mean square of the first 75 returns with weights decaying by .94
        (arch's "backcast"). σ is at least a tenth of the root mean square of all returns, so that the first move after
        a standstill is not divided by nearly 0; it is 0 only if all returns are.
        """
        squares = np.square(returns)
        news = self.omega + np.where(returns < 0, self.alpha + self.gamma, self.alpha) * squares
        weights = RISKMETRICS ** np.arange(min(_BACKCAST, len(squares)))
        before = float(weights @ squares[:_BACKCAST] / weights.sum())
        variance = self.omega + (self.alpha + self.gamma / 2 + self.beta) * before
        variances = [variance]
        for shock in news.tolist():
            variance = shock + self.beta * variance
            variances.append(variance)
        floor = _VARIANCE_FLOOR**2 * float(squares.mean())
        return np.sqrt(np.maximum(variances, floor))

    def simulate(self, sigmas: FloatArray, shocks: FloatArray, feedback: float = 1.0) -> tuple[FloatArray, FloatArray]:
        """Simulate returns and their σ, both `[S, H]`.

        Args:
            sigmas: Result of `volatility`; the last is that of the first step. Simulated σ are limited to four times
                the largest.
            shocks: Standardised shocks. [S, H]
            feedback: Factor on the shocks in the recursion of the variance.
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
    """Forecast a random walk of the log close without drift, with the volatility of the last ``window`` returns.

    Steps are normal with mean 0; their standard deviation is that of the sample (n - 1) of one-step log returns.

    Arguments besides those of `Baseline`:

    - ``window``: Number of returns for the volatility and the candles' shapes.
    """
    check_arguments(candles, horizon, samples, min_candles=3, seed=seed, window=window)
    recent = CandleShapes.of(candles.frame.iloc[-window - 1 :].to_numpy())
    shocks, uniforms = random_numbers(seed, samples, horizon)
    with ignore_overflow():
        paths = recent.continue_by(recent.sigma * shocks, pick_positions(uniforms, len(recent.returns)))
    details = {"seed": seed, "window": window, "sigma": recent.sigma}
    notes = short_window_note(len(recent.returns), window)
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
    """Forecast a random walk of the log close without drift, with RiskMetrics' moving average as volatility.

    σ² of the next step is λ σ² + (1 - λ) r² (J. P. Morgan & Reuters 1996, "RiskMetrics Technical Document", section
    5.2), and the same at all further steps, as the document scales by √h. Steps are normal with mean 0.

    Arguments besides those of `Baseline`:

    - ``decay``: λ, between 0 and 1; the document's for daily returns is .94.
    - ``window``: Number of returns to average; shapes are those of its last 64 candles.
    """
    check_arguments(candles, horizon, samples, min_candles=3, seed=seed, window=window)
    check_decay(decay)
    values = candles.frame.iloc[-window - 1 :].to_numpy()
    recent = CandleShapes.of(values[-SHAPES - 1 :])
    sigmas = VarianceRecursion.ewma(decay).volatility(log_returns(values[:, 3]))
    sigma, used = float(sigmas[-1]), len(recent.returns)
    shocks, uniforms = random_numbers(seed, samples, horizon)
    donors = pick_positions(uniforms, used)
    with ignore_overflow():
        paths = recent.continue_by(sigma * shocks, donors, safe_divide(sigma, sigmas[-used - 1 : -1][donors]))
    details = {"seed": seed, "window": window, "decay": decay, "sigma": sigma}
    return to_forecast(paths, candles, timestamps, "ewma-volatility", details, short_history_note(len(values) - 1))


def check_decay(decay: float) -> None:
    """Validate the decay of a moving average.

    Raises:
        ParameterError: If it is not strictly between 0 and 1.
    """
    if not 0 < decay < 1:
        raise ParameterError(f"Invalid decay {decay}: choose a number between 0 and 1, for example 0.94.")

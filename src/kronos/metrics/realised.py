"""Realised volatility, and how well it was forecast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.metrics.scores import Array

_NAN = float("nan")


@dataclass(frozen=True)
class VolatilityScores:
    """How well realised volatility was forecast.

    Attributes:
        mae: Mean absolute error.
        r2: Coefficient of determination 1 - Σ (observed - predicted)² / Σ (observed - mean observed)²: negative if
            worse than the mean of what happened; NaN if that does not vary.
        r2_regression: R² of Mincer and Zarnowitz's regression of observed on predicted, their squared correlation:
            what a rescaled forecast would reach; NaN if either does not vary.
        qlike: Mean QLIKE loss of the pairs with a positive outcome.
        n: Known pairs.
    """

    mae: float
    r2: float
    r2_regression: float
    qlike: float
    n: int


def realised_volatility(returns: ArrayLike, axis: int = -1) -> Array:
    """Sum of squared log returns over the horizon: a variance, the square of a volatility.

    Andersen, Bollerslev, Diebold & Labys 2003, "Modeling and Forecasting Realized Volatility" (their realised
    variance). Of an ensemble the forecast is the mean over paths of each path's sum, not the sum of the mean path.

    Args:
        returns: One-step log returns along ``axis``.
        axis: The axis of time.

    Returns:
        The sums, the shape of ``returns`` without ``axis``; NaN where a return is unknown.

    Raises:
        ParameterError: If there is no step.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim == 0 or values.shape[axis] == 0:
        raise ParameterError("Realised volatility needs at least one return.")
    return np.asarray((values**2).sum(axis=axis), dtype=np.float64)


def qlike(predicted: ArrayLike, observed: ArrayLike) -> Array:
    """QLIKE loss of variances, elementwise: observed / predicted - log(observed / predicted) - 1.

    Ranks forecasts rightly though what happened is but a noisy proxy (Patton 2011, "Volatility forecast comparison
    using imperfect volatility proxies"). 0 is perfect. NaN where what happened is 0, whose logarithm is none;
    infinite where something happened and a variance of 0 was forecast.

    Raises:
        ParameterError: If a variance is negative.
    """
    forecast, truth = np.broadcast_arrays(
        np.asarray(predicted, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    )
    if (forecast < 0).any() or (truth < 0).any():
        raise ParameterError("Variances are not negative; these are.")
    ratio = np.divide(truth, forecast, out=np.full(truth.shape, np.nan), where=(forecast > 0) & (truth > 0))
    loss = ratio - np.log(ratio) - 1
    return np.where((forecast == 0) & (truth > 0), np.inf, loss)


def volatility_scores(predicted: ArrayLike, observed: ArrayLike) -> VolatilityScores:
    """MAE, both kinds of R² and mean QLIKE of forecasts of realised volatility; unknown pairs are left out.

    Args:
        predicted: `[n]` forecast sums of squared returns.
        observed: `[n]` realised ones.

    Raises:
        ParameterError: If a variance is negative.
    """
    forecast, truth = np.broadcast_arrays(
        np.asarray(predicted, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    )
    known = ~(np.isnan(forecast) | np.isnan(truth))
    forecast, truth = forecast[known], truth[known]
    if not truth.size:
        return VolatilityScores(_NAN, _NAN, _NAN, _NAN, 0)
    losses = qlike(forecast, truth)
    positive = losses[~np.isnan(losses)]
    around = truth - truth.mean() if np.ptp(truth) > 0 else np.zeros_like(truth)
    total = float(around @ around)
    spread = forecast - forecast.mean() if np.ptp(forecast) > 0 else np.zeros_like(forecast)
    scale = total * float(spread @ spread)
    return VolatilityScores(
        mae=float(np.abs(forecast - truth).mean()),
        r2=1 - float(((truth - forecast) ** 2).sum()) / total if total > 0 else _NAN,
        r2_regression=float(around @ spread) ** 2 / scale if scale > 0 else _NAN,
        qlike=float(positive.mean()) if positive.size else _NAN,
        n=int(truth.size),
    )

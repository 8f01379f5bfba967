"""Metrics of point forecasts, quantile forecasts and volatility forecasts; pairs with a NaN are ignored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.metrics.probabilistic import pinball
from kronos.typing import FloatArray


def mae(predicted: ArrayLike, observed: ArrayLike) -> float:
    """Compute the mean absolute error, which the median minimises; NaN without known pairs."""
    return _mean(np.abs(_errors(predicted, observed)))


def rmse(predicted: ArrayLike, observed: ArrayLike) -> float:
    """Compute the root mean squared error, which the mean minimises; NaN without known pairs."""
    return float(np.sqrt(_mean(_errors(predicted, observed) ** 2)))


def naive_scale(history: ArrayLike, season: int = 1, axis: int = -1) -> FloatArray:
    """Compute the in-sample mean absolute error of the seasonal naive forecast: the scale of MASE and SQL.

    mean |yₜ - yₜ₋ₘ| over the history (Hyndman & Koehler 2006, "Another look at measures of forecast accuracy"). For log
    closes and season 1 it is the mean absolute log return.

    Args:
        history: Past values, for example log closes, along ``axis``.
        season: Season length m in steps.
        axis: Axis of time.

    Returns:
        One scale per series, of the shape of ``history`` without ``axis``; NaN without known differences.

    Raises:
        ParameterError: If ``season`` is below 1.
    """
    if season < 1:
        raise ParameterError(f"Invalid season {season}: choose at least 1 step.")
    values = np.moveaxis(np.asarray(history, dtype=np.float64), axis, -1)
    changes = np.abs(values[..., season:] - values[..., :-season])
    known = ~np.isnan(changes)
    total, count = np.where(known, changes, 0.0).sum(axis=-1), known.sum(axis=-1)
    scale: FloatArray = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return scale


def mase(predicted: ArrayLike, observed: ArrayLike, scale: ArrayLike) -> float:
    """Compute the mean absolute scaled error, mean |predicted - observed| / scale (Hyndman & Koehler 2006).

    Args:
        predicted: Point forecasts, for example medians.
        observed: Outcomes.
        scale: Scale of the series from `naive_scale`, broadcasting to the others; pairs whose scale is 0 or NaN are
            ignored.
    """
    return _mean(_scaled(np.abs(_errors(predicted, observed)), scale))


def weighted_quantile_loss(quantiles: ArrayLike, observed: ArrayLike, levels: ArrayLike) -> float:
    """Compute the WQL: the mean over levels of Σ 2 · pinball / Σ |observed|.

    With the factor 2, as in GluonTS (``mean_weighted_sum_quantile_loss``), fev and AutoGluon; GIFT-Eval calls it CRPS.
    The median's part is WAPE. Σ |observed| makes it meaningless for price levels; use log returns.

    Args:
        quantiles: Forecast quantiles. [levels, ...]
        observed: Outcomes. [...]
        levels: Quantile levels between 0 and 1. [levels]

    Returns:
        The loss; NaN without known pairs or if all outcomes are 0.

    Raises:
        ParameterError: If a level is not strictly between 0 and 1, or the shapes disagree.
    """
    losses = _losses(quantiles, observed, levels)
    values = np.abs(np.broadcast_to(np.asarray(observed, dtype=np.float64), losses.shape))
    total = float(values[~np.isnan(losses)].sum())
    return 2 * float(np.nansum(losses)) / total if total > 0 else float("nan")


def scaled_quantile_loss(quantiles: ArrayLike, observed: ArrayLike, levels: ArrayLike, scale: ArrayLike) -> float:
    """Compute the SQL: the mean of 2 · pinball / scale over levels and observations, fev-bench's primary metric.

    With the factor 2, as in fev and AutoGluon: for the median alone it is MASE.

    Args:
        quantiles: Forecast quantiles. [levels, ...]
        observed: Outcomes. [...]
        levels: Quantile levels between 0 and 1. [levels]
        scale: Scale of the series from `naive_scale`, broadcasting to ``observed``; pairs whose scale is 0 or NaN are
            ignored.

    Raises:
        ParameterError: If a level is not strictly between 0 and 1, or the shapes disagree.
    """
    return _mean(_scaled(2 * _losses(quantiles, observed, levels), scale))


def _errors(predicted: ArrayLike, observed: ArrayLike) -> FloatArray:
    errors: FloatArray = np.asarray(predicted, dtype=np.float64) - np.asarray(observed, dtype=np.float64)
    return errors


def _losses(quantiles: ArrayLike, observed: ArrayLike, levels: ArrayLike) -> FloatArray:
    """Compute pinball losses, `[levels, ...]`."""
    forecast, outcome = np.asarray(quantiles, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    level = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    if forecast.shape != (len(level), *outcome.shape):
        raise ParameterError(
            f"{len(level)} levels of {outcome.shape} observations need quantiles of the shape "
            f"{(len(level), *outcome.shape)}; got {forecast.shape}."
        )
    return pinball(forecast, outcome, level.reshape(-1, *[1] * outcome.ndim))


def _scaled(losses: FloatArray, scale: ArrayLike) -> FloatArray:
    """Divide losses by their scale; NaN if it is not positive."""
    unit = np.asarray(scale, dtype=np.float64)
    quotients: FloatArray = losses / np.where(unit > 0, unit, np.nan)
    return quotients


def _mean(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else _NAN


_NAN = float("nan")


@dataclass(frozen=True)
class VolatilityScores:
    """Scores of forecasts of realised volatility.

    Attributes:
        mae: Mean absolute error.
        r2: Coefficient of determination 1 - Σ (observed - predicted)² / Σ (observed - mean observed)²: negative if
            worse than the mean outcome; NaN for constant outcomes.
        r2_regression: R² of the Mincer–Zarnowitz regression of observed on predicted, their squared correlation: that
            of the optimally rescaled forecast; NaN if either is constant.
        qlike: Mean QLIKE loss of the pairs with a positive outcome.
        n: Number of known pairs.
    """

    mae: float
    r2: float
    r2_regression: float
    qlike: float
    n: int


def realised_volatility(returns: ArrayLike, axis: int = -1) -> FloatArray:
    """Sum squared log returns over the horizon: a variance, the square of a volatility.

    Andersen, Bollerslev, Diebold & Labys 2003, "Modeling and Forecasting Realized Volatility" (their realised
    variance). The forecast of an ensemble is the mean of the paths' sums, not the sum of the mean path.

    Args:
        returns: One-step log returns along ``axis``.
        axis: Axis of time.

    Returns:
        The sums, of the shape of ``returns`` without ``axis``; NaN where a return is NaN.

    Raises:
        ParameterError: If there is no step.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim == 0 or values.shape[axis] == 0:
        raise ParameterError("Realised volatility needs at least one return.")
    return np.asarray((values**2).sum(axis=axis), dtype=np.float64)


def qlike(predicted: ArrayLike, observed: ArrayLike) -> FloatArray:
    """Compute the QLIKE loss of variances, elementwise: observed / predicted - log(observed / predicted) - 1.

    Its ranking of forecasts is robust to noise in the volatility proxy (Patton 2011, "Volatility forecast comparison
    using imperfect volatility proxies"). 0 is perfect. NaN where the outcome is 0; infinite where a variance of 0 was
    forecast and the outcome is positive.

    Raises:
        ParameterError: If a variance is negative.
    """
    forecast, outcome = np.broadcast_arrays(
        np.asarray(predicted, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    )
    if (forecast < 0).any() or (outcome < 0).any():
        raise ParameterError("Invalid variances: none may be negative.")
    ratio = np.divide(outcome, forecast, out=np.full(outcome.shape, np.nan), where=(forecast > 0) & (outcome > 0))
    loss = ratio - np.log(ratio) - 1
    return np.where((forecast == 0) & (outcome > 0), np.inf, loss)


def volatility_scores(predicted: ArrayLike, observed: ArrayLike) -> VolatilityScores:
    """Score forecasts of realised volatility by MAE, two kinds of R² and mean QLIKE; pairs with a NaN are ignored.

    Args:
        predicted: Forecast sums of squared returns. [n]
        observed: Realised sums of squared returns. [n]

    Raises:
        ParameterError: If a variance is negative.
    """
    forecast, outcome = np.broadcast_arrays(
        np.asarray(predicted, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    )
    known = ~(np.isnan(forecast) | np.isnan(outcome))
    forecast, outcome = forecast[known], outcome[known]
    if not outcome.size:
        return VolatilityScores(_NAN, _NAN, _NAN, _NAN, 0)
    losses = qlike(forecast, outcome)
    positive = losses[~np.isnan(losses)]
    centred = outcome - outcome.mean() if np.ptp(outcome) > 0 else np.zeros_like(outcome)
    total = float(centred @ centred)
    spread = forecast - forecast.mean() if np.ptp(forecast) > 0 else np.zeros_like(forecast)
    scale = total * float(spread @ spread)
    return VolatilityScores(
        mae=float(np.abs(forecast - outcome).mean()),
        r2=1 - float(((outcome - forecast) ** 2).sum()) / total if total > 0 else _NAN,
        r2_regression=float(centred @ spread) ** 2 / scale if scale > 0 else _NAN,
        qlike=float(positive.mean()) if positive.size else _NAN,
        n=int(outcome.size),
    )

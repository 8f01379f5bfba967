"""Errors of single numbers: points and quantiles. Pairs that are not both known are left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.metrics.probabilistic import pinball
from kronos.typing import FloatArray


def mae(predicted: ArrayLike, observed: ArrayLike) -> float:
    """Mean absolute error; of a forecast's median it is at its least on average. NaN if nothing is known."""
    return _mean(np.abs(_errors(predicted, observed)))


def rmse(predicted: ArrayLike, observed: ArrayLike) -> float:
    """Root of the mean squared error; of a forecast's mean it is at its least on average. NaN if nothing is known."""
    return float(np.sqrt(_mean(_errors(predicted, observed) ** 2)))


def naive_scale(history: ArrayLike, season: int = 1, axis: int = -1) -> FloatArray:
    """In-sample mean absolute error of the seasonal naive forecast: the unit of MASE and of SQL.

    mean |yₜ - yₜ₋ₘ| over the history (Hyndman & Koehler 2006, "Another look at measures of forecast accuracy").
    With season 1 of log closes it is the random walk's: the mean absolute log return.

    Args:
        history: Past values, for example log closes, along ``axis``.
        season: Steps of a season, m.
        axis: The axis of time.

    Returns:
        One scale a series, the shape of ``history`` without ``axis``; NaN if there is no difference.

    Raises:
        ParameterError: If ``season`` is below 1.
    """
    if season < 1:
        raise ParameterError(f"A season has at least one step, not {season}.")
    values = np.moveaxis(np.asarray(history, dtype=np.float64), axis, -1)
    changes = np.abs(values[..., season:] - values[..., :-season])
    known = ~np.isnan(changes)
    total, count = np.where(known, changes, 0.0).sum(axis=-1), known.sum(axis=-1)
    scale: FloatArray = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return scale


def mase(predicted: ArrayLike, observed: ArrayLike, scale: ArrayLike) -> float:
    """Mean absolute scaled error: the mean of |predicted - observed| / scale (Hyndman & Koehler 2006).

    Args:
        predicted: Point forecasts, for example medians.
        observed: What happened.
        scale: The series' scale from `naive_scale`, broadcasting to the others; pairs whose scale is 0 or
            unknown are left out.
    """
    return _mean(_scaled(np.abs(_errors(predicted, observed)), scale))


def weighted_quantile_loss(quantiles: ArrayLike, observed: ArrayLike, levels: ArrayLike) -> float:
    """WQL: mean over the levels of Σ 2 · pinball / Σ |observed|.

    With the factor 2, as GluonTS (``mean_weighted_sum_quantile_loss``), fev and AutoGluon have it and GIFT-Eval
    calls it CRPS; the median's part is WAPE. Σ |observed| makes it meaningless for price levels; use log returns.

    Args:
        quantiles: `[levels, ...]` forecast quantiles.
        observed: `[...]` what happened.
        levels: `[levels]` between 0 and 1.

    Returns:
        The loss; NaN if nothing is known or all that happened is 0.

    Raises:
        ParameterError: If a level is not strictly between 0 and 1, or the shapes disagree.
    """
    losses = _losses(quantiles, observed, levels)
    values = np.abs(np.broadcast_to(np.asarray(observed, dtype=np.float64), losses.shape))
    total = float(values[~np.isnan(losses)].sum())
    return 2 * float(np.nansum(losses)) / total if total > 0 else float("nan")


def scaled_quantile_loss(quantiles: ArrayLike, observed: ArrayLike, levels: ArrayLike, scale: ArrayLike) -> float:
    """SQL: mean of 2 · pinball / scale over levels and observations, fev-bench's primary metric.

    With the factor 2, as fev and AutoGluon have it: with the median alone it is MASE.

    Args:
        quantiles: `[levels, ...]` forecast quantiles.
        observed: `[...]` what happened.
        levels: `[levels]` between 0 and 1.
        scale: The series' scale from `naive_scale`, broadcasting to ``observed``; pairs whose scale is 0 or
            unknown are left out.

    Raises:
        ParameterError: If a level is not strictly between 0 and 1, or the shapes disagree.
    """
    return _mean(_scaled(2 * _losses(quantiles, observed, levels), scale))


def _errors(predicted: ArrayLike, observed: ArrayLike) -> FloatArray:
    errors: FloatArray = np.asarray(predicted, dtype=np.float64) - np.asarray(observed, dtype=np.float64)
    return errors


def _losses(quantiles: ArrayLike, observed: ArrayLike, levels: ArrayLike) -> FloatArray:
    """Pinball losses `[levels, ...]`."""
    forecast, truth = np.asarray(quantiles, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    level = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    if forecast.shape != (len(level), *truth.shape):
        raise ParameterError(
            f"{len(level)} levels of {truth.shape} observations need quantiles of the shape "
            f"{(len(level), *truth.shape)}, not {forecast.shape}."
        )
    return pinball(forecast, truth, level.reshape(-1, *[1] * truth.ndim))


def _scaled(losses: FloatArray, scale: ArrayLike) -> FloatArray:
    """Losses over their scale; NaN where that is not positive."""
    unit = np.asarray(scale, dtype=np.float64)
    quotients: FloatArray = losses / np.where(unit > 0, unit, np.nan)
    return quotients


def _mean(values: FloatArray) -> float:
    """Mean of what is known; NaN if nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


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


def realised_volatility(returns: ArrayLike, axis: int = -1) -> FloatArray:
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


def qlike(predicted: ArrayLike, observed: ArrayLike) -> FloatArray:
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

"""Errors of single numbers: points and quantiles. Pairs that are not both known are left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.metrics.scores import Array, pinball


def mae(predicted: ArrayLike, observed: ArrayLike) -> float:
    """Mean absolute error; of a forecast's median it is at its least on average. NaN if nothing is known."""
    return _mean(np.abs(_errors(predicted, observed)))


def rmse(predicted: ArrayLike, observed: ArrayLike) -> float:
    """Root of the mean squared error; of a forecast's mean it is at its least on average. NaN if nothing is known."""
    return float(np.sqrt(_mean(_errors(predicted, observed) ** 2)))


def naive_scale(history: ArrayLike, season: int = 1, axis: int = -1) -> Array:
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
    scale: Array = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
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


def _errors(predicted: ArrayLike, observed: ArrayLike) -> Array:
    errors: Array = np.asarray(predicted, dtype=np.float64) - np.asarray(observed, dtype=np.float64)
    return errors


def _losses(quantiles: ArrayLike, observed: ArrayLike, levels: ArrayLike) -> Array:
    """Pinball losses `[levels, ...]`."""
    forecast, truth = np.asarray(quantiles, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    level = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    if forecast.shape != (len(level), *truth.shape):
        raise ParameterError(
            f"{len(level)} levels of {truth.shape} observations need quantiles of the shape "
            f"{(len(level), *truth.shape)}, not {forecast.shape}."
        )
    return pinball(forecast, truth, level.reshape(-1, *[1] * truth.ndim))


def _scaled(losses: Array, scale: ArrayLike) -> Array:
    """Losses over their scale; NaN where that is not positive."""
    unit = np.asarray(scale, dtype=np.float64)
    quotients: Array = losses / np.where(unit > 0, unit, np.nan)
    return quotients


def _mean(values: Array) -> float:
    """Mean of what is known; NaN if nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")

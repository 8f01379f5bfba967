"""Scores on plain arrays; each broadcasts, and what is not a number stays not a number."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kronos.errors import ParameterError

Array = NDArray[np.float64]


def crps(samples: ArrayLike, observed: ArrayLike, axis: int = 0, draws: ArrayLike | None = None) -> Array:
    """Continuous ranked probability score of an ensemble, the fair estimator: unbiased whatever its size.

    mean |xᵢ - y| - Σᵢⱼ |xᵢ - xⱼ| / (2 S (S - 1)), computed in O(S log S) from probability-weighted moments
    (Zamo & Naveau 2018, "Estimation of the Continuous Ranked Probability Score with Limited Information", eq.
    PWM; the fair score of Ferro 2014). A single sample scores its absolute error. It can be slightly negative
    for few samples.

    Args:
        samples: S samples along ``axis``, any shape.
        observed: What happened; of the samples' shape without ``axis``, or broadcasting to it.
        axis: The samples' axis.
        draws: How many independent draws the samples are worth, of ``observed``'s shape or broadcasting to it; S if
            None. Quantiles of a larger sample, and averages of several samples' values of one rank, err less than S
            draws do, and the fair score would give them credit for errors that they don't have.

    Returns:
        The score, in the unit of the samples; smaller is better.

    Raises:
        ParameterError: If there is no sample.
    """
    members = np.moveaxis(np.asarray(samples, dtype=np.float64), axis, 0)  # [S, ...]
    size = members.shape[0]
    if size == 0:
        raise ParameterError("The CRPS needs at least one sample.")
    # Differences from what happened: spreads are small against price levels and would lose their digits.
    errors = np.sort(members - np.asarray(observed, dtype=np.float64), axis=0)
    distance: Array = np.abs(errors).mean(axis=0)
    if size == 1:
        return distance
    # Weighted so, the sorted samples sum to half the mean |x - x'|.
    weights = (2 * np.arange(size) - (size - 1)) / (size * (size - 1))
    spread: Array = np.tensordot(weights, errors, axes=1)
    return distance - spread if draws is None else distance - spread * (1 - 1 / size + 1 / np.asarray(draws))


def coverage(lower: ArrayLike, upper: ArrayLike, observed: ArrayLike) -> float:
    """Share of what happened that lies within the interval, its ends included.

    Unknown (NaN) values don't count; the result is NaN if nothing is known. A calibrated forecast's central
    band of level p covers p on average if its quantiles are taken at k / (S + 1), as
    `kronos.forecasts.sample_quantiles` does.
    """
    low, high, value = (np.asarray(a, dtype=np.float64) for a in (lower, upper, observed))
    inside = (low <= value) & (value <= high)
    known = np.broadcast_to(~np.isnan(value), inside.shape)
    return float(inside[known].mean()) if known.any() else float("nan")


def interval_width(lower: ArrayLike, upper: ArrayLike) -> float:
    """Mean width of the intervals, in their unit; of two calibrated forecasts the narrower is better."""
    return float(np.mean(np.asarray(upper, dtype=np.float64) - np.asarray(lower, dtype=np.float64)))


def pinball(quantile: ArrayLike, observed: ArrayLike, level: ArrayLike) -> Array:
    """Quantile loss max(level · (y - q), (level - 1) · (y - q)), elementwise.

    Without the factor 2 that some libraries include (Koenker & Bassett 1978, "Regression Quantiles").

    Args:
        quantile: Forecast quantiles q.
        observed: What happened, y.
        level: The quantiles' level, between 0 and 1.

    Raises:
        ParameterError: If a level is not strictly between 0 and 1.
    """
    levels = np.asarray(level, dtype=np.float64)
    if not ((levels > 0) & (levels < 1)).all():
        raise ParameterError(f"A quantile's level lies strictly between 0 and 1, not {levels}.")
    error = np.asarray(observed, dtype=np.float64) - np.asarray(quantile, dtype=np.float64)
    return np.maximum(levels * error, (levels - 1) * error)

"""Scores on plain arrays; each broadcasts, and what is not a number stays not a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.forecasts import BANDS, sample_quantiles
from kronos.forecasts.statistics import band_levels
from kronos.metrics.bootstrap import bootstrap_mean
from kronos.metrics.estimates import Estimate
from kronos.metrics.panel import Labels
from kronos.metrics.proportions import proportion
from kronos.typing import FloatArray


def crps(samples: ArrayLike, observed: ArrayLike, axis: int = 0, draws: ArrayLike | None = None) -> FloatArray:
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
    distance: FloatArray = np.abs(errors).mean(axis=0)
    if size == 1:
        return distance
    # Weighted so, the sorted samples sum to half the mean |x - x'|.
    weights = (2 * np.arange(size) - (size - 1)) / (size * (size - 1))
    spread: FloatArray = np.tensordot(weights, errors, axes=1)
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


def pinball(quantile: ArrayLike, observed: ArrayLike, level: ArrayLike) -> FloatArray:
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


@dataclass(frozen=True)
class BandCoverage:
    """How a central band did.

    Attributes:
        level: The band's level, for example 0.8.
        target: The share it ought to cover: its level, or what its number of paths allows.
        coverage: Share covered, with Wilson's interval of the effective number of observations.
        bootstrap: The same share with a date-block bootstrap interval.
        width: Mean width, with a date-block bootstrap interval.
        interval_score: Mean interval score, likewise.
    """

    level: float
    target: float
    coverage: Estimate
    bootstrap: Estimate
    width: Estimate
    interval_score: Estimate

    @property
    def error(self) -> float:
        """Share covered minus its target: negative if the band is too narrow."""
        return self.coverage.estimate - self.target


def band_ends(samples: ArrayLike, levels: Sequence[float] = BANDS, axis: int = 0) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends of central bands of samples, at k / (S + 1) as `sample_quantiles` has them.

    Args:
        samples: Any shape, S samples along ``axis``.
        levels: The bands' levels, between 0 and 1.
        axis: The samples' axis.

    Returns:
        Lower and upper ends, `[levels, ...]` each.

    Raises:
        ParameterError: If a level is not strictly between 0 and 1.
    """
    ends = [band_levels(level) for level in levels]
    quantiles = sample_quantiles(samples, [low for low, _ in ends] + [high for _, high in ends], axis=axis)
    return quantiles[: len(ends)], quantiles[len(ends) :]


def reachable(level: float, samples: int) -> float:
    """What a central band of S paths covers at most: its level, or (S - 1) / (S + 1) if that is less.

    Raises:
        ParameterError: If there is no path or the level is not strictly between 0 and 1.
    """
    if samples < 1:
        raise ParameterError(f"A band needs at least one path, not {samples}.")
    band_levels(level)
    return min(float(level), (samples - 1) / (samples + 1))


def in_band(lower: ArrayLike, upper: ArrayLike, observed: ArrayLike) -> FloatArray:
    """1 where what happened lies within the interval, its ends included, 0 where not, NaN where unknown."""
    low, high, value = (np.asarray(a, dtype=np.float64) for a in (lower, upper, observed))
    within = ((low <= value) & (value <= high)).astype(np.float64)
    return np.where(np.isnan(low) | np.isnan(high) | np.isnan(value), np.nan, within)


def interval_score(lower: ArrayLike, upper: ArrayLike, observed: ArrayLike, level: ArrayLike) -> FloatArray:
    """Interval score of a central band, elementwise: its width, and 2 / α times what lies outside, α = 1 - level.

    Winkler 1972, "A Decision-Theoretic Approach to Interval Estimation"; Gneiting & Raftery 2007, equation 43.
    It is 2 / α times the sum of the two ends' pinball losses. Smaller is better.

    Args:
        lower: Lower ends.
        upper: Upper ends.
        observed: What happened.
        level: The bands' level, between 0 and 1: 0.8, not 0.2.

    Raises:
        ParameterError: If a level is not strictly between 0 and 1.
    """
    levels = np.asarray(level, dtype=np.float64)
    if not ((levels > 0) & (levels < 1)).all():
        raise ParameterError(f"A band's level lies strictly between 0 and 1, not {levels}.")
    low, high, value = (np.asarray(a, dtype=np.float64) for a in (lower, upper, observed))
    outside = np.maximum(low - value, 0) + np.maximum(value - high, 0)
    score: FloatArray = high - low + 2 / (1 - levels) * outside
    return score


def band_coverage(
    lower: ArrayLike,
    upper: ArrayLike,
    observed: ArrayLike,
    level: float,
    dates: Labels | None = None,
    *,
    samples: int | None = None,
    confidence: float = 0.95,
    overlap: int = 1,
    seed: int = 0,
) -> BandCoverage:
    """Coverage, width and interval score of one level's bands over many forecasts, with intervals.

    Args:
        lower: `[n]` lower ends.
        upper: `[n]` upper ends.
        observed: `[n]` what happened; forecasts with something unknown are left out.
        level: The bands' level.
        dates: `[n]` each forecast's origin. None: each its own, independent.
        samples: How many paths the ends come from, if few; then the target is what so many allow.
        confidence: Level of the intervals.
        overlap: How many successive dates share part of their outcome: ⌈horizon / steps between dates⌉.
        seed: Of the bootstraps.

    Raises:
        ParameterError: If an argument is out of its range or the sizes differ.
    """
    hits, scores = in_band(lower, upper, observed), interval_score(lower, upper, observed, level)
    widths = np.where(np.isnan(hits), np.nan, np.asarray(upper, dtype=np.float64) - np.asarray(lower, np.float64))
    boot = [
        bootstrap_mean(values, dates, confidence=confidence, overlap=overlap, seed=seed)
        for values in (hits, widths, scores)
    ]
    covered = proportion(hits, dates, confidence=confidence, overlap=overlap)
    target = float(level) if samples is None else reachable(level, samples)
    return BandCoverage(float(level), target, covered, *boot)


_CHUNK = 65_536  # numbers of paths at a time: what stays in a core's cache


def energy_score(samples: ArrayLike, observed: ArrayLike, axis: int = -2) -> FloatArray:
    """Energy score of an ensemble of paths, the fair estimator: unbiased whatever its size.

    mean ‖xᵢ - y‖ - Σᵢⱼ ‖xᵢ - xⱼ‖ / (2 S (S - 1)) with the Euclidean norm over the steps: the CRPS of whole paths
    (Gneiting & Raftery 2007, "Strictly Proper Scoring Rules, Prediction, and Estimation", equation 22, with
    exponent 1; unbiased as in Ferro 2014). Steps of larger spread weigh more: cumulative returns divided by √h
    weigh alike. A single path scores its distance. Memory is bounded whatever the number of origins.

    Args:
        samples: S paths along ``axis``, steps along the last axis, for example `[origins, S, H]`.
        observed: What happened; of the samples' shape without ``axis``, for example `[origins, H]`.
        axis: The paths' axis; not the last.

    Returns:
        One score an origin, in the unit of the samples; NaN where a step is unknown. Smaller is better.

    Raises:
        ParameterError: If there is no path or no step, ``axis`` is the last, or the shapes disagree.
    """
    ensembles, truth = np.asarray(samples, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    if ensembles.ndim < 2 or axis % ensembles.ndim == ensembles.ndim - 1:
        raise ParameterError("Paths need an axis of samples besides the last one, which is the steps'.")
    ensembles = np.moveaxis(ensembles, axis, -2)  # [..., S, H]
    *origins, size, steps = ensembles.shape
    if size == 0 or steps == 0:
        raise ParameterError("The energy score needs at least one path of at least one step.")
    if truth.shape != (*origins, steps):
        raise ParameterError(f"What happened needs the shape {(*origins, steps)} of its paths, not {truth.shape}.")
    flat, happened = ensembles.reshape(-1, size, steps), truth.reshape(-1, steps)
    rows = max(1, _CHUNK // (size * steps))
    scores: FloatArray = np.empty(len(flat))
    for begin in range(0, len(flat), rows):
        part = slice(begin, begin + rows)
        scores[part] = _energy(flat[part], happened[part])
    return scores.reshape(origins)


def _energy(paths: FloatArray, observed: FloatArray) -> FloatArray:
    """Energy scores `[n]` of paths `[n, S, H]`."""
    size = paths.shape[1]
    # Differences from what happened: spreads are small against price levels and would lose their digits.
    errors = np.moveaxis(paths, 1, 0) - observed  # [S, n, H]
    distance: FloatArray = _norms(errors).mean(axis=0)
    if size == 1:
        return distance
    pairs = np.zeros(len(paths))
    for lag in range(1, size):
        pairs += _norms(errors[lag:] - errors[:-lag]).sum(axis=0)
    spread: FloatArray = pairs / (size * (size - 1))
    return distance - spread


def _norms(vectors: FloatArray) -> FloatArray:
    """Euclidean length along the last axis."""
    lengths: FloatArray = np.sqrt(np.einsum("...h,...h->...", vectors, vectors))
    return lengths

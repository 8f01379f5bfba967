"""Metrics of probabilistic forecasts: CRPS, energy score, quantile losses and coverage of bands; NaN propagates."""

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
from kronos.typing import BoolArray, FloatArray


def crps(samples: ArrayLike, observed: ArrayLike, axis: int = 0, draws: ArrayLike | None = None) -> FloatArray:
    """Compute the continuous ranked probability score of an ensemble with the fair estimator, unbiased in its size.

    mean |xᵢ - y| - Σᵢⱼ |xᵢ - xⱼ| / (2 S (S - 1)), computed in O(S log S) from probability-weighted moments (Zamo &
    Naveau 2018, "Estimation of the Continuous Ranked Probability Score with Limited Information", eq. PWM; the fair
    score of Ferro 2014). A single sample scores its absolute error. It can be slightly negative for few samples.

    Args:
        samples: S samples along ``axis``, any shape.
        observed: Outcomes, of the samples' shape without ``axis`` or broadcasting to it.
        axis: Axis of the samples.
        draws: Effective number of independent draws, of the shape of ``observed`` or broadcasting to it; S if None.
            Quantiles of a larger sample, and rank-wise averages of samples, have less sampling error than S draws,
            which the fair score would otherwise reward.

    Returns:
        The score in the unit of the samples; smaller is better.

    Raises:
        ParameterError: If there is no sample.
    """
    members = np.moveaxis(np.asarray(samples, dtype=np.float64), axis, 0)  # [S, ...]
    size = members.shape[0]
    if size == 0:
        raise ParameterError("The CRPS needs at least one sample.")
    # Differences from the outcome: spreads are small relative to price levels and would lose digits.
    errors = np.sort(members - np.asarray(observed, dtype=np.float64), axis=0)
    distance: FloatArray = np.abs(errors).mean(axis=0)
    if size == 1:
        return distance
    # With these weights the sorted samples sum to half the mean |x - x'|.
    weights = (2 * np.arange(size) - (size - 1)) / (size * (size - 1))
    spread: FloatArray = np.tensordot(weights, errors, axes=1)
    return distance - spread if draws is None else distance - spread * (1 - 1 / size + 1 / np.asarray(draws))


def coverage(lower: ArrayLike, upper: ArrayLike, observed: ArrayLike, tolerance: float = 0.0) -> float:
    """Compute the share of outcomes within the interval, ends included; see `in_band` for the tolerance.

    NaN outcomes are ignored; the result is NaN if all are. A calibrated central band of level p covers p on average if
    its quantiles are taken at k / (S + 1), as by `kronos.forecasts.sample_quantiles`.
    """
    low, high, value = (np.asarray(a, dtype=np.float64) for a in (lower, upper, observed))
    inside = _within(low, high, value, tolerance)
    known = np.broadcast_to(~np.isnan(value), inside.shape)
    return float(inside[known].mean()) if known.any() else float("nan")


def interval_width(lower: ArrayLike, upper: ArrayLike) -> float:
    """Compute the mean width of the intervals; of two calibrated forecasts the narrower is better."""
    return float(np.mean(np.asarray(upper, dtype=np.float64) - np.asarray(lower, dtype=np.float64)))


def pinball(quantile: ArrayLike, observed: ArrayLike, level: ArrayLike) -> FloatArray:
    """Compute the quantile loss max(level · (y - q), (level - 1) · (y - q)), elementwise.

    Without the factor 2 that some libraries include (Koenker & Bassett 1978, "Regression Quantiles").

    Args:
        quantile: Forecast quantiles q.
        observed: Outcomes y.
        level: Quantile level, between 0 and 1.

    Raises:
        ParameterError: If a level is not strictly between 0 and 1.
    """
    levels = np.asarray(level, dtype=np.float64)
    if not ((levels > 0) & (levels < 1)).all():
        raise ParameterError(f"Invalid quantile level {levels}: choose a number between 0 and 1.")
    error = np.asarray(observed, dtype=np.float64) - np.asarray(quantile, dtype=np.float64)
    return np.maximum(levels * error, (levels - 1) * error)


@dataclass(frozen=True)
class BandCoverage:
    """Coverage, width and interval score of a central band.

    Attributes:
        level: Level of the band, for example 0.8.
        target: Expected coverage: the level, or less if there are few paths.
        coverage: Observed coverage, with a Wilson interval for the effective number of observations.
        bootstrap: Observed coverage, with a date-block bootstrap interval.
        width: Mean width, with a date-block bootstrap interval.
        interval_score: Mean interval score, with a date-block bootstrap interval.
    """

    level: float
    target: float
    coverage: Estimate
    bootstrap: Estimate
    width: Estimate
    interval_score: Estimate

    @property
    def error(self) -> float:
        """Observed coverage minus its target: negative if the band is too narrow."""
        return self.coverage.estimate - self.target


def band_ends(samples: ArrayLike, levels: Sequence[float] = BANDS, axis: int = 0) -> tuple[FloatArray, FloatArray]:
    """Compute the lower and upper ends of central bands with `sample_quantiles`.

    Args:
        samples: S samples along ``axis``, any shape.
        levels: Levels of the bands, between 0 and 1.
        axis: Axis of the samples.

    Returns:
        Lower and upper ends, `[levels, ...]` each.

    Raises:
        ParameterError: If a level is not strictly between 0 and 1.
    """
    ends = [band_levels(level) for level in levels]
    quantiles = sample_quantiles(samples, [low for low, _ in ends] + [high for _, high in ends], axis=axis)
    return quantiles[: len(ends)], quantiles[len(ends) :]


def attainable_coverage(level: float, samples: int) -> float:
    """Return the expected coverage of a central band of S calibrated paths: min(level, (S - 1) / (S + 1)).

    Raises:
        ParameterError: If there is no path or the level is not strictly between 0 and 1.
    """
    if samples < 1:
        raise ParameterError(f"Invalid number of paths {samples}: a band needs at least 1.")
    band_levels(level)
    return min(float(level), (samples - 1) / (samples + 1))


def in_band(lower: ArrayLike, upper: ArrayLike, observed: ArrayLike, tolerance: float = 0.0) -> FloatArray:
    """Return 1 where the outcome lies within the interval, ends included, 0 where not, and NaN where unknown.

    Args:
        lower: Lower ends.
        upper: Upper ends.
        observed: Outcomes.
        tolerance: Distance from an end up to which an outcome counts as equal to it. Bands of flat prices have no
            width, and rounding alone would put the equal outcome outside.
    """
    low, high, value = (np.asarray(a, dtype=np.float64) for a in (lower, upper, observed))
    within = _within(low, high, value, tolerance).astype(np.float64)
    return np.where(np.isnan(low) | np.isnan(high) | np.isnan(value), np.nan, within)


def _within(low: FloatArray, high: FloatArray, value: FloatArray, tolerance: float) -> BoolArray:
    if not tolerance >= 0:
        raise ParameterError(f"Invalid tolerance {tolerance}: choose 0 or more.")
    return np.asarray((low - tolerance <= value) & (value <= high + tolerance), dtype=np.bool_)


def interval_score(lower: ArrayLike, upper: ArrayLike, observed: ArrayLike, level: ArrayLike) -> FloatArray:
    """Compute the interval score of a central band, elementwise: width + 2 / α · distance outside, α = 1 - level.

    Winkler 1972, "A Decision-Theoretic Approach to Interval Estimation"; Gneiting & Raftery 2007, equation 43. It
    equals 2 / α times the sum of the pinball losses of the two ends. Smaller is better.

    Args:
        lower: Lower ends.
        upper: Upper ends.
        observed: Outcomes.
        level: Level of the bands, between 0 and 1: 0.8, not 0.2.

    Raises:
        ParameterError: If a level is not strictly between 0 and 1.
    """
    levels = np.asarray(level, dtype=np.float64)
    if not ((levels > 0) & (levels < 1)).all():
        raise ParameterError(f"Invalid band level {levels}: choose a number between 0 and 1.")
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
    """Compute coverage, width and interval score of the bands of many forecasts, with confidence intervals.

    Args:
        lower: Lower ends. [n]
        upper: Upper ends. [n]
        observed: Outcomes; forecasts with a NaN are ignored. [n]
        level: Level of the bands.
        dates: Origin of each forecast. None: independent forecasts. [n]
        samples: Number of paths behind the ends; the target is then `attainable_coverage`.
        confidence: Confidence level of the intervals.
        overlap: Number of successive dates whose outcomes overlap: ⌈horizon / steps between dates⌉.
        seed: Random seed of the bootstrap.

    Raises:
        ParameterError: If an argument is out of range or the sizes differ.
    """
    hits, scores = in_band(lower, upper, observed), interval_score(lower, upper, observed, level)
    widths = np.where(np.isnan(hits), np.nan, np.asarray(upper, dtype=np.float64) - np.asarray(lower, np.float64))
    estimates = [
        bootstrap_mean(values, dates, confidence=confidence, overlap=overlap, seed=seed)
        for values in (hits, widths, scores)
    ]
    covered = proportion(hits, dates, confidence=confidence, overlap=overlap)
    target = float(level) if samples is None else attainable_coverage(level, samples)
    return BandCoverage(float(level), target, covered, *estimates)


_CHUNK = 65_536  # values at a time, to stay within a core's cache


def energy_score(samples: ArrayLike, observed: ArrayLike, axis: int = -2) -> FloatArray:
    """Compute the energy score of an ensemble of paths with the fair estimator, unbiased in its size.

    mean ‖xᵢ - y‖ - Σᵢⱼ ‖xᵢ - xⱼ‖ / (2 S (S - 1)) with the Euclidean norm over the steps: the CRPS of whole paths
    (Gneiting & Raftery 2007, "Strictly Proper Scoring Rules, Prediction, and Estimation", equation 22, with exponent 1;
    unbiased as in Ferro 2014). Steps with a larger spread have more weight; cumulative returns divided by √h are
    weighted equally. A single path scores its distance. Memory is bounded for any number of origins.

    Args:
        samples: S paths along ``axis``, steps along the last axis, for example `[origins, S, H]`.
        observed: Outcomes, of the samples' shape without ``axis``, for example `[origins, H]`.
        axis: Axis of the paths; not the last.

    Returns:
        One score per origin in the unit of the samples; NaN where a step is NaN. Smaller is better.

    Raises:
        ParameterError: If there is no path or no step, ``axis`` is the last, or the shapes disagree.
    """
    ensembles, outcomes = np.asarray(samples, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    if ensembles.ndim < 2 or axis % ensembles.ndim == ensembles.ndim - 1:
        raise ParameterError(f"Invalid axis {axis} of the paths: the last axis is that of the steps.")
    ensembles = np.moveaxis(ensembles, axis, -2)  # [..., S, H]
    *origins, size, steps = ensembles.shape
    if size == 0 or steps == 0:
        raise ParameterError("The energy score needs at least one path of at least one step.")
    if outcomes.shape != (*origins, steps):
        raise ParameterError(f"observed needs the shape {(*origins, steps)} of its paths; got {outcomes.shape}.")
    flat, flat_outcomes = ensembles.reshape(-1, size, steps), outcomes.reshape(-1, steps)
    rows = max(1, _CHUNK // (size * steps))
    scores: FloatArray = np.empty(len(flat))
    for start in range(0, len(flat), rows):
        part = slice(start, start + rows)
        scores[part] = _energy(flat[part], flat_outcomes[part])
    return scores.reshape(origins)


def _energy(paths: FloatArray, observed: FloatArray) -> FloatArray:
    """Compute energy scores `[n]` of paths `[n, S, H]`."""
    size = paths.shape[1]
    # Differences from the outcome: spreads are small relative to price levels and would lose digits.
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
    """Compute the Euclidean norm along the last axis."""
    lengths: FloatArray = np.sqrt(np.einsum("...h,...h->...", vectors, vectors))
    return lengths

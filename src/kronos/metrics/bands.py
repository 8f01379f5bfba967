"""Central bands: their ends, how often they cover what happens, how wide they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.forecasts import BANDS, sample_quantiles
from kronos.forecasts.statistics import band_levels
from kronos.metrics.estimates import Estimate
from kronos.metrics.panels import Labels
from kronos.metrics.resampling import average
from kronos.metrics.scores import Array
from kronos.metrics.shares import proportion


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


def band_ends(samples: ArrayLike, levels: Sequence[float] = BANDS, axis: int = 0) -> tuple[Array, Array]:
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


def inside(lower: ArrayLike, upper: ArrayLike, observed: ArrayLike) -> Array:
    """1 where what happened lies within the interval, its ends included, 0 where not, NaN where unknown."""
    low, high, value = (np.asarray(a, dtype=np.float64) for a in (lower, upper, observed))
    within = ((low <= value) & (value <= high)).astype(np.float64)
    return np.where(np.isnan(low) | np.isnan(high) | np.isnan(value), np.nan, within)


def interval_score(lower: ArrayLike, upper: ArrayLike, observed: ArrayLike, level: ArrayLike) -> Array:
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
    score: Array = high - low + 2 / (1 - levels) * outside
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
    hits, scores = inside(lower, upper, observed), interval_score(lower, upper, observed, level)
    widths = np.where(np.isnan(hits), np.nan, np.asarray(upper, dtype=np.float64) - np.asarray(lower, np.float64))
    boot = [
        average(values, dates, confidence=confidence, overlap=overlap, seed=seed) for values in (hits, widths, scores)
    ]
    covered = proportion(hits, dates, confidence=confidence, overlap=overlap)
    target = float(level) if samples is None else reachable(level, samples)
    return BandCoverage(float(level), target, covered, *boot)

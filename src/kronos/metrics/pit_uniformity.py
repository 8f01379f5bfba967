"""Probability integral transform and rank of outcomes in their forecast distributions, uniform if calibrated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.metrics.bootstrap import REPETITIONS, block_length, critical_value, date_weights
from kronos.metrics.estimates import Estimate, Significance
from kronos.metrics.panel import Labels, Panel, build_panel
from kronos.metrics.proportions import proportion
from kronos.typing import FloatArray, IntArray

_GRID = np.arange(1, 100) / 100  # at which the bootstrapped distributions are compared


@dataclass(frozen=True)
class HistogramBin:
    """One bin of a PIT histogram.

    Attributes:
        low: Lower edge, inclusive.
        high: Upper edge.
        share: Share of the values in the bin; 1 / bins if uniform.
    """

    low: float
    high: float
    share: Estimate


def pit(samples: ArrayLike, observed: ArrayLike, axis: int = 0, seed: int | np.random.Generator = 0) -> FloatArray:
    """Compute the randomised probability integral transform of outcomes within their ensembles.

    (r + V (t + 1)) / (S + 1), with r samples below the outcome, t equal to it and V uniform on 0 to 1: exactly uniform
    if the outcome is distributed like one more sample, with or without ties (Czado, Gneiting & Held 2009, "Predictive
    Model Assessment for Count Data", for distributions with jumps; Hamill 2001 for ranks).

    Args:
        samples: S samples along ``axis``, any shape.
        observed: Outcomes, of the samples' shape without ``axis``.
        axis: Axis of the samples.
        seed: Random seed of V; pass a generator to continue one stream over parts of an evaluation.

    Returns:
        Values between 0 and 1 of the shape of ``observed``; NaN where an input is NaN.

    Raises:
        ParameterError: If there is no sample or the shapes disagree.
    """
    below, equal, size = _counts(samples, observed, axis)
    uniforms = np.random.default_rng(seed).random(below.shape)
    return (below + uniforms * (equal + 1)) / (size + 1)


def rank_histogram(
    samples: ArrayLike, observed: ArrayLike, axis: int = 0, seed: int | np.random.Generator = 0
) -> IntArray:
    """Count the ranks of outcomes among S samples, `[S + 1]`, with ties broken at random.

    Flat if calibrated, U-shaped if the ensemble is too narrow, dome-shaped if too wide, sloped if biased (Hamill 2001,
    "Interpretation of Rank Histograms for Verifying Ensemble Forecasts"). Unknown values are ignored.

    Raises:
        ParameterError: If there is no sample or the shapes disagree.
    """
    below, equal, size = _counts(samples, observed, axis)
    ranks = below + np.floor(np.random.default_rng(seed).random(below.shape) * (equal + 1))
    return np.bincount(ranks[~np.isnan(ranks)].astype(np.intp), minlength=size + 1).astype(np.int64)


def pit_histogram(
    values: ArrayLike,
    dates: Labels | None = None,
    *,
    bins: int = 10,
    confidence: float = 0.95,
    overlap: int = 1,
) -> tuple[HistogramBin, ...]:
    """Compute the histogram of PIT values `[n]` in equal bins, with Wilson intervals (by date if dates are given).

    Raises:
        ParameterError: If there is no bin, a value is outside 0 to 1, or the sizes differ.
    """
    if bins < 1:
        raise ParameterError(f"Invalid number of bins {bins}: choose at least 1.")
    _check_pit_values(build_panel(dates, values).columns[0])
    flat = np.asarray(values, dtype=np.float64).ravel()
    number = np.minimum(np.floor(flat * bins), bins - 1)  # NaN stays NaN; 1 belongs to the last bin
    return tuple(
        HistogramBin(
            i / bins,
            (i + 1) / bins,
            proportion(np.where(np.isnan(number), np.nan, number == i), dates, confidence=confidence, overlap=overlap),
        )
        for i in range(bins)
    )


def uniformity(
    values: ArrayLike,
    dates: Labels | None = None,
    *,
    overlap: int = 1,
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> Significance:
    """Test the uniformity of PIT values (Kolmogorov–Smirnov).

    Without dates the values count as independent (scipy's ``kstest``). With dates the null distribution of the distance
    comes from resampled blocks of dates, because PIT values of one date and of overlapping outcomes are dependent, and
    the classical test would reject calibrated forecasts.

    Args:
        values: PIT values; NaN is ignored. [n]
        dates: Date of each value. None: independent values. [n]
        overlap: Number of successive dates whose outcomes overlap: ⌈horizon / steps between dates⌉.
        repetitions: Bootstrap repetitions.
        seed: Random seed.

    Returns:
        The estimate is the distance, at most 1; the statistic is √n times it.

    Raises:
        ParameterError: If a value is outside 0 to 1, or the sizes differ.
    """
    data = build_panel(dates, values)
    known = data.columns[0]
    _check_pit_values(known)
    if not data.n:
        return Significance(float("nan"), float("nan"), float("nan"), 0, 0.0, 0)
    from scipy.stats import kstest

    result = kstest(known, "uniform")
    distance = float(result.statistic)
    p_value, size = float(result.pvalue), float(data.n)
    if dates is not None:
        p_value = _block_p_value(data, overlap, repetitions, seed)
        size = proportion(known < 0.5, data.codes, overlap=overlap).effective_n
    return Significance(distance, float(np.sqrt(data.n)) * distance, p_value, data.n, size, data.dates)


def _counts(samples: ArrayLike, observed: ArrayLike, axis: int) -> tuple[FloatArray, FloatArray, int]:
    """Count the samples below (NaN where unknown) and equal to the outcomes, and all samples."""
    members = np.moveaxis(np.asarray(samples, dtype=np.float64), axis, 0)
    outcomes = np.asarray(observed, dtype=np.float64)
    size = members.shape[0]
    if size == 0:
        raise ParameterError("A rank needs at least one sample.")
    if members.shape[1:] != outcomes.shape:
        raise ParameterError(f"observed needs the shape {members.shape[1:]} of its samples; got {outcomes.shape}.")
    below, equal = np.zeros(outcomes.shape), np.zeros(outcomes.shape)
    unknown = np.isnan(outcomes)
    for member in members:  # one at a time, so that no array is larger than the outcomes
        below += member < outcomes
        equal += member == outcomes
        unknown = unknown | np.isnan(member)
    below[unknown] = np.nan
    return below, equal, size


def _check_pit_values(values: FloatArray) -> None:
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ParameterError("Invalid PIT values: all must be between 0 and 1.")


def _block_p_value(data: Panel, overlap: int, repetitions: int, seed: int) -> float:
    """Return how often a resampled distribution is as far from the sample's as the sample's is from uniform."""
    from scipy.special import ndtri

    if data.dates < 2:
        return float("nan")
    counts = np.stack([data.sums(data.columns[0] <= level) for level in _GRID], axis=1)  # [T, grid]
    totals = data.sums(np.ones(data.n))
    shares = counts.sum(axis=0) / data.n
    deviations = counts - shares * totals[:, None]
    observed = float(np.abs(shares - _GRID).max())
    block = max(block_length(column, overlap) for column in deviations[:, 9::20].T)
    correction = critical_value(data.dates / block, 0.95) / ndtri(0.975)  # for few blocks, as in intervals
    exceeding = 0
    for weights in date_weights(data.dates, block, repetitions, seed):
        distances = np.abs(weights @ deviations / (weights @ totals)[:, None]).max(axis=1)
        exceeding += int((correction * distances >= observed).sum())
    return (exceeding + 1) / (repetitions + 1)

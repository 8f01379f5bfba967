"""Where in its forecast distribution the truth falls: uniformly, if the forecasts are calibrated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kronos.errors import ParameterError
from kronos.metrics.bootstrap import REPETITIONS, block_length, date_weights, reach
from kronos.metrics.estimates import Estimate, Significance
from kronos.metrics.panel import Labels, Panel, panel
from kronos.metrics.proportions import proportion
from kronos.typing import FloatArray

_GRID = np.arange(1, 100) / 100  # where the bootstrapped distributions are compared


@dataclass(frozen=True)
class HistogramBin:
    """One bin of a PIT histogram.

    Attributes:
        low: Lower edge, included.
        high: Upper edge.
        share: Share of the values within, with an interval; 1 / bins if uniform.
    """

    low: float
    high: float
    share: Estimate


def pit(samples: ArrayLike, observed: ArrayLike, axis: int = 0, seed: int | np.random.Generator = 0) -> FloatArray:
    """Randomised probability integral transform of what happened, within an ensemble.

    (r + V (t + 1)) / (S + 1), with r samples below what happened, t equal to it and V uniform on 0 to 1: exactly
    uniform if what happened is one more sample, ties or not (Czado, Gneiting & Held 2009, "Predictive Model
    Assessment for Count Data", for distributions with jumps; Hamill 2001 for ranks).

    Args:
        samples: S samples along ``axis``, any shape.
        observed: What happened; of the samples' shape without ``axis``.
        axis: The samples' axis.
        seed: Of V; a generator goes on where it is, for parts of one evaluation.

    Returns:
        Values between 0 and 1 of ``observed``'s shape; NaN where something is unknown.

    Raises:
        ParameterError: If there is no sample.
    """
    below, equal, size = _positions(samples, observed, axis)
    draws = np.random.default_rng(seed).random(below.shape)
    return (below + draws * (equal + 1)) / (size + 1)


def rank_histogram(
    samples: ArrayLike, observed: ArrayLike, axis: int = 0, seed: int | np.random.Generator = 0
) -> NDArray[np.int64]:
    """How often what happened had each rank among S samples: counts `[S + 1]`, ties broken at random.

    Flat if calibrated, a valley if the ensemble is too narrow, a hill if too wide, a slope if biased (Hamill 2001,
    "Interpretation of Rank Histograms for Verifying Ensemble Forecasts"). Unknown values don't count.

    Raises:
        ParameterError: If there is no sample.
    """
    below, equal, size = _positions(samples, observed, axis)
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
    """Histogram of PIT values `[n]` in equal bins, each share with Wilson's interval (by date if dates are given).

    Raises:
        ParameterError: If there is no bin, a value is outside 0 to 1, or the sizes differ.
    """
    if bins < 1:
        raise ParameterError(f"A histogram needs at least one bin, not {bins}.")
    _checked(panel(dates, values).columns[0])
    places = np.asarray(values, dtype=np.float64).ravel()
    number = np.minimum(np.floor(places * bins), bins - 1)  # NaN stays; 1 belongs to the last bin
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
    """Kolmogorov and Smirnov's test that PIT values are uniform.

    Without dates the values count as independent (scipy's ``kstest``). With dates the distance's distribution comes
    from resampled blocks of dates, because PITs of one date, and of overlapping outcomes, are alike, and the usual
    test would then reject calibrated forecasts.

    Args:
        values: `[n]` PIT values; NaN is left out.
        dates: `[n]` each value's date. None: each its own, independent.
        overlap: How many successive dates share part of their outcome: ⌈horizon / steps between dates⌉.
        repetitions: Bootstrap draws.
        seed: Of the draws.

    Returns:
        The estimate is the distance, at most 1; the statistic √n times it.

    Raises:
        ParameterError: If a value is outside 0 to 1, or the sizes differ.
    """
    data = panel(dates, values)
    known = _checked(data.columns[0])
    if not data.n:
        return Significance(float("nan"), float("nan"), float("nan"), 0, 0.0, 0)
    from scipy.stats import kstest

    found = kstest(known, "uniform")
    distance = float(found.statistic)
    p_value, size = float(found.pvalue), float(data.n)
    if dates is not None:
        p_value = _block_p_value(data, overlap, repetitions, seed)
        size = proportion(known < 0.5, data.codes, overlap=overlap).effective_n
    return Significance(distance, float(np.sqrt(data.n)) * distance, p_value, data.n, size, data.dates)


def _positions(samples: ArrayLike, observed: ArrayLike, axis: int) -> tuple[FloatArray, FloatArray, int]:
    """How many samples are below and equal to what happened (NaN where unknown), and how many there are."""
    members = np.moveaxis(np.asarray(samples, dtype=np.float64), axis, 0)
    truth = np.asarray(observed, dtype=np.float64)
    size = members.shape[0]
    if size == 0:
        raise ParameterError("A rank needs at least one sample.")
    if members.shape[1:] != truth.shape:
        raise ParameterError(f"What happened needs the shape {members.shape[1:]} of its samples, not {truth.shape}.")
    below, equal = np.zeros(truth.shape), np.zeros(truth.shape)
    unknown = np.isnan(truth)
    for member in members:  # one at a time: no array is larger than what happened
        below += member < truth
        equal += member == truth
        unknown = unknown | np.isnan(member)
    below[unknown] = np.nan
    return below, equal, size


def _checked(values: FloatArray) -> FloatArray:
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ParameterError("PIT values lie between 0 and 1; these do not.")
    return values


def _block_p_value(data: Panel, overlap: int, repetitions: int, seed: int) -> float:
    """How often a resampled distribution is as far from the sample's as that is from the uniform one."""
    from scipy.special import ndtri

    if data.dates < 2:
        return float("nan")
    counts = np.stack([data.sums(data.columns[0] <= place) for place in _GRID], axis=1)  # [T, grid]
    totals = data.sums(np.ones(data.n))
    shares = counts.sum(axis=0) / data.n
    away = counts - shares * totals[:, None]
    furthest = float(np.abs(shares - _GRID).max())
    block = max(block_length(column, overlap) for column in away[:, 9::20].T)
    wider = reach(data.dates / block, 0.95) / ndtri(0.975)  # as intervals of few blocks are
    beyond = 0
    for weights in date_weights(data.dates, block, repetitions, seed):
        distances = np.abs(weights @ away / (weights @ totals)[:, None]).max(axis=1)
        beyond += int((wider * distances >= furthest).sum())
    return (beyond + 1) / (repetitions + 1)

"""Block bootstrap intervals: blocks of dates are resampled, all instruments of a date together.

The stationary bootstrap of Politis & Romano 1994, "The Stationary Bootstrap": blocks of successive dates of random
length preserve the dependence in time (Künsch 1989) and across instruments. The mean block length follows Politis &
White 2004, "Automatic Block-Length Selection for the Dependent Bootstrap", as corrected by Patton, Politis & White
2009, and is never shorter than overlapping outcomes require.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.metrics.estimates import Estimate, check_confidence
from kronos.metrics.panel import Labels, Panel, build_panel, effective_size, min_block_length
from kronos.typing import FloatArray

REPETITIONS = 2000  # the levels of a 95 % interval's ends then vary by about half a percentage point
_CHUNK = 50_000  # random numbers at a time, to stay within the processor's cache


def block_length(values: ArrayLike, overlap: int = 1) -> float:
    """Select the mean block length of the stationary bootstrap for a series.

    Politis & White 2004 with the correction of Patton, Politis & White 2009; equals
    ``arch.bootstrap.optimal_block_length`` except for the normalisation of autocorrelations at the edges. At least 1,
    at most min(3 √T, T / 3), but never below 2 (overlap - 1).

    Args:
        values: The series in order of time, without NaN. [T]
        overlap: Number of successive values whose outcomes overlap.
    """
    series = np.asarray(values, dtype=np.float64)
    size, shortest = len(series), float(min_block_length(overlap))
    series = series - series.mean() if size else series
    if size < 4 or not float(series @ series) > 0:
        return min(shortest, float(max(size, 1)))
    covariances = _autocovariances(series)
    bandwidth = _bandwidth(np.abs(covariances / covariances[0]), size)
    lag = np.arange(1, bandwidth + 1)
    weights = np.minimum(1.0, 2 * (1 - lag / bandwidth)) * covariances[1 : bandwidth + 1]  # flat-top kernel
    spectrum = covariances[0] + 2 * weights.sum()
    if spectrum == 0:
        return shortest
    length: float = ((2 * float(lag @ weights) / float(spectrum)) ** 2 * size) ** (1 / 3)
    longest = math.ceil(min(3 * math.sqrt(size), size / 3))
    return min(float(size), max(1.0, shortest, min(length, longest)))


def bootstrap_mean(
    values: ArrayLike,
    dates: Labels | None = None,
    *,
    confidence: float = 0.95,
    overlap: int = 1,
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> Estimate:
    """Compute the mean of losses, hits or widths over all observations, with a date-block bootstrap interval.

    Args:
        values: Values; NaN is ignored. [n]
        dates: Date of each observation; those of one date are resampled together. None: one date each. [n]
        confidence: Confidence level.
        overlap: Number of successive dates whose outcomes overlap: ⌈horizon / steps between dates⌉.
        repetitions: Bootstrap repetitions.
        seed: Random seed; equal dates, block lengths and seeds give equal resamples.

    Raises:
        ParameterError: If an argument is out of range or the sizes differ.
    """
    data = build_panel(dates, values)
    return _ratio(data, data.columns[0], np.ones(data.n), confidence, overlap, repetitions, seed)


def bootstrap_skill(
    losses: ArrayLike,
    reference: ArrayLike,
    dates: Labels | None = None,
    *,
    confidence: float = 0.95,
    overlap: int = 1,
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> Estimate:
    """Compute the skill 1 - mean(losses) / mean(reference), with a date-block bootstrap interval.

    1 is perfect, 0 as good as the reference, negative worse. Observations with a NaN in either are ignored. Both losses
    are resampled together.

    Args:
        losses: Losses of the forecast. [n]
        reference: Losses of the reference forecast on the same observations. [n]
        dates: Date of each observation; those of one date are resampled together. None: one date each. [n]
        confidence: Confidence level.
        overlap: Number of successive dates whose outcomes overlap: ⌈horizon / steps between dates⌉.
        repetitions: Bootstrap repetitions.
        seed: Random seed; equal dates, block lengths and seeds give equal resamples.

    Raises:
        ParameterError: If an argument is out of range or the sizes differ.
    """
    data = build_panel(dates, losses, reference)
    gains = data.columns[1] - data.columns[0]
    return _ratio(data, gains, data.columns[1], confidence, overlap, repetitions, seed)


def date_weights(dates: int, block: float, repetitions: int, seed: int) -> Iterator[FloatArray]:
    """Yield how often each of T dates is resampled: chunks `[rows, T]` that add up to one row per repetition."""
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // dates)
    for start in range(0, repetitions, rows):
        yield _stationary_counts(rng, min(rows, repetitions - start), dates, block)


def _ratio(
    data: Panel,
    numerator: FloatArray,
    denominator: FloatArray,
    confidence: float,
    overlap: int,
    repetitions: int,
    seed: int,
) -> Estimate:
    """Estimate Σ numerator / Σ denominator with its interval."""
    check_confidence(confidence)
    if repetitions < 1:
        raise ParameterError(f"Invalid number of bootstrap repetitions {repetitions}: choose at least 1.")
    above, below = data.sums(numerator), data.sums(denominator)
    total = below.sum()
    estimate = float(above.sum() / total) if total != 0 else float("nan")
    if not math.isfinite(estimate):
        return _without_interval(data, confidence, estimate)
    deviation = above - estimate * below
    block = block_length(deviation, overlap)
    if data.dates < 2:
        return _without_interval(data, confidence, estimate)
    ratios = np.concatenate(
        [_quotients(weights @ above, weights @ below) for weights in date_weights(data.dates, block, repetitions, seed)]
    )
    low, high = percentile_interval(ratios, confidence, data.dates / block)
    influence = (numerator - estimate * denominator) / denominator.mean()
    size = effective_size(data, influence, float(ratios.std()))
    return Estimate(estimate, low, high, confidence, "bootstrap", data.n, size, data.dates, block)


def _without_interval(data: Panel, confidence: float, estimate: float) -> Estimate:
    nan = float("nan")
    return Estimate(estimate, nan, nan, confidence, "bootstrap", data.n, float(data.dates), data.dates)


def _quotients(above: FloatArray, below: FloatArray) -> FloatArray:
    """Divide, dropping zero denominators."""
    defined = below != 0
    quotients: FloatArray = above[defined] / below[defined]
    return quotients


def critical_value(blocks: float, confidence: float) -> float:
    """Return the half-width of an interval in bootstrap standard errors, corrected for few blocks.

    A bootstrap of k independent blocks is too narrow by √(k / (k - 1)), and its width is itself uncertain, which
    Student's distribution accounts for (Hesterberg 2015, "What Teachers Should Know About the Bootstrap").
    """
    from scipy.special import stdtrit

    independent = max(blocks, 2.0)
    return float(stdtrit(independent - 1, (1 + confidence) / 2)) * math.sqrt(independent / (independent - 1))


def percentile_interval(ratios: FloatArray, confidence: float, blocks: float) -> tuple[float, float]:
    """Return percentiles at the normal levels of the critical value."""
    from scipy.special import ndtr

    distance = critical_value(blocks, confidence)
    low, high = np.quantile(ratios, [ndtr(-distance), ndtr(distance)])
    return float(low), float(high)


def _stationary_counts(rng: np.random.Generator, rows: int, dates: int, block: float) -> FloatArray:
    """Count the dates of stationary bootstrap samples, `[rows, T]`: blocks start with probability 1 / block."""
    size = rows * dates
    if block <= 1:
        positions = rng.integers(dates, size=(rows, dates), dtype=np.int32)
        positions += dates * np.arange(rows, dtype=np.int32)[:, None]
        return np.bincount(positions.ravel(), minlength=size).reshape(rows, dates).astype(np.float64)
    new_block = rng.random(size, dtype=np.float32) < 1 / block
    new_block[::dates] = True
    starts = np.flatnonzero(new_block)
    first = rng.integers(dates, size=len(starts))  # first date of each block
    stop = first + np.diff(starts, append=size)  # blocks wrap around from the last date to the first
    row = starts // dates * (dates + 1)
    wraps = stop > dates
    # Counts are cumulative sums of +1 where a block begins and -1 after it ends.
    begins = np.concatenate([row + first, row[wraps]])
    ends = np.concatenate([row + np.minimum(stop, dates), (row + stop - dates)[wraps]])
    change = np.bincount(begins, minlength=size + rows) - np.bincount(ends, minlength=size + rows)
    return np.cumsum(change.reshape(rows, dates + 1)[:, :-1], axis=1, dtype=np.float64)


def _autocovariances(series: FloatArray) -> FloatArray:
    """Return Σ xₜ xₜ₋ₗ / T of a series of mean zero, for all lags that the bandwidth search may need."""
    size = len(series)
    last = min(size - 1, math.ceil(math.sqrt(size)) + _run_length(size))
    return np.array([series[lag:] @ series[: size - lag] for lag in range(last + 1)]) / size


def _bandwidth(correlations: FloatArray, size: int) -> int:
    """Return twice the first lag of a run of insignificant autocorrelations; the last lag if there is none."""
    run, last = _run_length(size), len(correlations) - 1
    small = correlations < 2 * math.sqrt(math.log10(size) / size)
    for lag in range(1, last - run + 1):
        if small[lag : lag + run].all():
            return min(2 * lag, last)
    return last


def _run_length(size: int) -> int:
    """Number of successive insignificant autocorrelations that end the search."""
    return max(5, int(math.log10(size)))

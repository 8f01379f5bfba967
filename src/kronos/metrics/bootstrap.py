"""Intervals by resampling blocks of dates, all instruments of a date together.

The stationary bootstrap of Politis & Romano 1994, "The Stationary Bootstrap": blocks of successive dates of
random length, so that what is dependent in time (Künsch 1989) or across instruments stays together. The blocks'
mean length follows Politis & White 2004, "Automatic Block-Length Selection for the Dependent Bootstrap", as
corrected by Patton, Politis & White 2009, and is never shorter than what overlapping outcomes share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.metrics.estimates import Estimate, check_confidence
from kronos.metrics.panel import Labels, Panel, effective_size, panel, shortest_block
from kronos.typing import FloatArray

REPETITIONS = 2000  # draws; the ends of a 95 % interval then move by about half a point of probability
_CHUNK = 50_000  # numbers drawn at a time: they stay in the processor's cache


def block_length(values: ArrayLike, overlap: int = 1) -> float:
    """Mean length of the stationary bootstrap's blocks that suits a series `[T]`.

    Politis & White 2004 with the correction of Patton, Politis & White 2009, as
    ``arch.bootstrap.optimal_block_length`` has it but for how autocorrelations at the edges are normalised: at least
    1, and at most min(3 √T, T / 3), but never less than 2 (overlap - 1).

    Args:
        values: The series, in order of time, without NaN.
        overlap: How many successive values share part of their outcome.
    """
    series = np.asarray(values, dtype=np.float64)
    size, least = len(series), float(shortest_block(overlap))
    series = series - series.mean() if size else series
    if size < 4 or not float(series @ series) > 0:
        return min(least, float(max(size, 1)))
    covariances = _autocovariances(series)
    bandwidth = _bandwidth(np.abs(covariances / covariances[0]), size)
    lag = np.arange(1, bandwidth + 1)
    weights = np.minimum(1.0, 2 * (1 - lag / bandwidth)) * covariances[1 : bandwidth + 1]  # the flat top
    spectrum = covariances[0] + 2 * weights.sum()
    if spectrum == 0:
        return least
    length: float = ((2 * float(lag @ weights) / float(spectrum)) ** 2 * size) ** (1 / 3)
    longest = math.ceil(min(3 * math.sqrt(size), size / 3))
    return min(float(size), max(1.0, least, min(length, longest)))


def bootstrap_mean(
    values: ArrayLike,
    dates: Labels | None = None,
    *,
    confidence: float = 0.95,
    overlap: int = 1,
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> Estimate:
    """Mean of losses, hits or widths over all observations, with a date-block bootstrap interval.

    Args:
        values: `[n]`; NaN is left out.
        dates: `[n]` each observation's date; observations of one date stay together. None: each its own.
        confidence: Level of the interval.
        overlap: How many successive dates share part of their outcome: ⌈horizon / steps between dates⌉.
        repetitions: Bootstrap draws.
        seed: Of the draws; the same dates, blocks and seed are resampled alike.

    Raises:
        ParameterError: If an argument is out of its range or the sizes differ.
    """
    data = panel(dates, values)
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
    """Skill 1 - mean(losses) / mean(reference), with a date-block bootstrap interval.

    1 is perfect, 0 as good as the reference, negative worse. Only observations known in both count. The interval
    resamples both losses together.

    Args:
        losses: `[n]` losses of the forecast.
        reference: `[n]` losses of what it is measured against, on the same observations.
        dates: `[n]` each observation's date; observations of one date stay together. None: each its own.
        confidence: Level of the interval.
        overlap: How many successive dates share part of their outcome: ⌈horizon / steps between dates⌉.
        repetitions: Bootstrap draws.
        seed: Of the draws; the same dates, blocks and seed are resampled alike.

    Raises:
        ParameterError: If an argument is out of its range or the sizes differ.
    """
    data = panel(dates, losses, reference)
    better = data.columns[1] - data.columns[0]
    return _ratio(data, better, data.columns[1], confidence, overlap, repetitions, seed)


def date_weights(dates: int, block: float, repetitions: int, seed: int) -> Iterator[FloatArray]:
    """How often each of T dates is drawn: arrays `[some, T]` that together have one row a repetition."""
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // dates)
    for begin in range(0, repetitions, rows):
        yield _stationary(rng, min(rows, repetitions - begin), dates, block)


def _ratio(
    data: Panel,
    numerator: FloatArray,
    denominator: FloatArray,
    confidence: float,
    overlap: int,
    repetitions: int,
    seed: int,
) -> Estimate:
    """Σ numerator / Σ denominator with its interval."""
    check_confidence(confidence)
    if repetitions < 1:
        raise ParameterError(f"A bootstrap needs at least one repetition, not {repetitions}.")
    above, below = data.sums(numerator), data.sums(denominator)
    estimate = _quotient(above.sum(), below.sum())
    if not math.isfinite(estimate):
        return _unknown(data, confidence, estimate)
    deviation = above - estimate * below
    block = block_length(deviation, overlap)
    if data.dates < 2:
        return _unknown(data, confidence, estimate)
    draws = np.concatenate(
        [_quotients(weights @ above, weights @ below) for weights in date_weights(data.dates, block, repetitions, seed)]
    )
    low, high = _ends(draws, confidence, data.dates / block)
    influence = (numerator - estimate * denominator) / denominator.mean()
    size = effective_size(data, influence, float(draws.std()))
    return Estimate(estimate, low, high, confidence, "bootstrap", data.n, size, data.dates, block)


def _unknown(data: Panel, confidence: float, estimate: float) -> Estimate:
    """An estimate whose interval cannot be told."""
    nan = float("nan")
    return Estimate(estimate, nan, nan, confidence, "bootstrap", data.n, float(data.dates), data.dates)


def _quotient(above: float, below: float) -> float:
    return float(above / below) if below != 0 else float("nan")


def _quotients(above: FloatArray, below: FloatArray) -> FloatArray:
    """Draws of the ratio; those whose denominator vanishes are left out."""
    known = below != 0
    quotients: FloatArray = above[known] / below[known]
    return quotients


def reach(blocks: float, confidence: float) -> float:
    """How many bootstrap standard errors an interval must reach if it rests on few blocks.

    A bootstrap of k independent blocks is too narrow: by √(k / (k - 1)), and because its width is itself uncertain,
    as Student's distribution has it (Hesterberg 2015, "What Teachers Should Know About the Bootstrap").
    """
    from scipy.special import stdtrit

    independent = max(blocks, 2.0)
    return float(stdtrit(independent - 1, (1 + confidence) / 2)) * math.sqrt(independent / (independent - 1))


def _ends(draws: FloatArray, confidence: float, blocks: float) -> tuple[float, float]:
    """Percentiles of the draws, at the places where a normal distribution would have the interval's reach."""
    from scipy.special import ndtr

    distance = reach(blocks, confidence)
    low, high = np.quantile(draws, [ndtr(-distance), ndtr(distance)])
    return float(low), float(high)


def _stationary(rng: np.random.Generator, rows: int, dates: int, block: float) -> FloatArray:
    """Counts `[rows, T]` of the stationary bootstrap: at each place a new block begins with probability 1 / block."""
    size = rows * dates
    if block <= 1:
        drawn = rng.integers(dates, size=(rows, dates), dtype=np.int32)
        drawn += dates * np.arange(rows, dtype=np.int32)[:, None]
        return np.bincount(drawn.ravel(), minlength=size).reshape(rows, dates).astype(np.float64)
    fresh = rng.random(size, dtype=np.float32) < 1 / block
    fresh[::dates] = True
    begun = np.flatnonzero(fresh)
    first = rng.integers(dates, size=len(begun))  # the date that each block begins with
    stop = first + np.diff(begun, append=size)  # after the last date it goes on with the first one
    row = begun // dates * (dates + 1)
    over = stop > dates
    begins = np.concatenate([row + first, row[over]])
    ends = np.concatenate([row + np.minimum(stop, dates), (row + stop - dates)[over]])
    change = np.bincount(begins, minlength=size + rows) - np.bincount(ends, minlength=size + rows)
    return np.cumsum(change.reshape(rows, dates + 1)[:, :-1], axis=1, dtype=np.float64)


def _autocovariances(series: FloatArray) -> FloatArray:
    """Σ xₜ xₜ₋ₗ / T of a series of mean zero, for as many lags as a bandwidth may need."""
    size = len(series)
    last = min(size - 1, math.ceil(math.sqrt(size)) + _run(size))
    return np.array([series[lag:] @ series[: size - lag] for lag in range(last + 1)]) / size


def _bandwidth(correlations: FloatArray, size: int) -> int:
    """Twice the first lag from which a run of autocorrelations is insignificant; all lags if there is none."""
    run, last = _run(size), len(correlations) - 1
    small = correlations < 2 * math.sqrt(math.log10(size) / size)
    for lag in range(1, last - run + 1):
        if small[lag : lag + run].all():
            return min(2 * lag, last)
    return last


def _run(size: int) -> int:
    """How many insignificant autocorrelations in a row end the search."""
    return max(5, int(math.log10(size)))

"""Information coefficients: correlation of forecasts with outcomes, across instruments or over time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kronos.errors import ParameterError
from kronos.metrics.estimates import check_confidence
from kronos.metrics.panel import (
    Codes,
    Labels,
    Panel,
    build_panel,
    choose_lags,
    degrees_of_freedom,
    factorize,
    long_run_variance,
)
from kronos.typing import BoolArray, FloatArray, IntArray

_NAN = float("nan")

Over = Literal["instruments", "time"]


@dataclass(frozen=True, eq=False)
class Coefficients:
    """A series of information coefficients and its mean.

    Attributes:
        keys: Date of each coefficient, ascending, or its instrument. [K]
        values: Coefficients, -1 to 1. [K]
        counts: Number of pairs in each. [K]
        skipped: Number of dates (or instruments) without a coefficient: too few pairs, or a constant side.
        mean: Mean coefficient; NaN without coefficients.
        deviation: Standard deviation (K - 1) of the coefficients.
        icir: mean / deviation, not annualised.
        t_statistic: The mean over its HAC standard error.
        p_value: Two-sided, from Student's distribution with T / (lags + 1) degrees of freedom, at most T - 1.
        low: Lower end of the mean's interval.
        high: Upper end.
        confidence: Confidence level of the interval.
        dates: Number of distinct dates, T.
        lags: Number of autocovariances in the standard error, in dates.
    """

    keys: NDArray[Any]
    values: FloatArray
    counts: IntArray
    skipped: int
    mean: float
    deviation: float
    icir: float
    t_statistic: float
    p_value: float
    low: float
    high: float
    confidence: float
    dates: int
    lags: int


def information_coefficient(
    predicted: ArrayLike,
    observed: ArrayLike,
    dates: Labels,
    instruments: Labels | None = None,
    *,
    over: Over = "instruments",
    min_pairs: int = 5,
    overlap: int = 1,
    lags: int | None = None,
    confidence: float = 0.95,
) -> Coefficients:
    """Compute the IC: Pearson's correlation of forecasts with outcomes, at each date or for each instrument.

    ``over="instruments"`` correlates across the instruments of each date; the t-statistic of the mean is that of the
    series of coefficients with the Newey–West variance (Grinold & Kahn 2000, "Active Portfolio Management", for IC and
    IR). ``over="time"`` correlates over the dates of each instrument; the t-statistic sums each pair's influence on
    its instrument's coefficient by date, so that instruments that move together do not count as independent.

    Args:
        predicted: Forecasts, for example median returns. [n]
        observed: Outcomes; pairs with a NaN are ignored. [n]
        dates: Date of each pair. [n]
        instruments: Instrument of each pair; required over time. [n]
        over: What each coefficient is computed over.
        min_pairs: Minimum number of pairs of a coefficient.
        overlap: Number of successive dates whose outcomes overlap: ⌈horizon / steps between dates⌉.
        lags: Number of autocovariances; None selects it.
        confidence: Confidence level of the mean's interval.

    Raises:
        ParameterError: If an argument is out of range or missing, or the sizes differ.
    """
    pairs = _pairs(predicted, observed, dates, instruments, over)
    return _coefficients(pairs, pairs.data.columns, min_pairs, overlap, lags, confidence)


def rank_ic(
    predicted: ArrayLike,
    observed: ArrayLike,
    dates: Labels,
    instruments: Labels | None = None,
    *,
    over: Over = "instruments",
    min_pairs: int = 5,
    overlap: int = 1,
    lags: int | None = None,
    confidence: float = 0.95,
) -> Coefficients:
    """Compute the rank IC: Spearman's correlation, ties at their mean rank; otherwise as `information_coefficient`.

    Over time the t-statistic treats the ranks as given, which is exact for uninformative forecasts. Arguments and
    errors are those of `information_coefficient`.
    """
    pairs = _pairs(predicted, observed, dates, instruments, over)
    ranks = np.stack([_ranks(column, pairs.groups) for column in pairs.data.columns])
    return _coefficients(pairs, ranks, min_pairs, overlap, lags, confidence)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Known pairs and the group of each: its date, or its instrument for coefficients over time."""

    data: Panel
    groups: Codes
    keys: NDArray[Any]
    over_time: bool


def _pairs(predicted: ArrayLike, observed: ArrayLike, dates: Labels, instruments: Labels | None, over: Over) -> _Pairs:
    if over not in ("instruments", "time"):
        raise ParameterError(f"Invalid over '{over}': choose 'instruments' or 'time'.")
    data = build_panel(dates, predicted, observed)
    if over == "instruments":
        return _Pairs(data, data.codes, data.keys, False)
    if instruments is None or len(instruments) != np.size(predicted):
        raise ParameterError(
            f"Coefficients over time need instruments: pass one for each of {np.size(predicted)} pairs."
        )
    return _Pairs(data, *factorize(instruments, data.rows, "instrument"), True)


def _coefficients(
    pairs: _Pairs, columns: FloatArray, min_pairs: int, overlap: int, lags: int | None, confidence: float
) -> Coefficients:
    """Correlate two columns `[2, n]` by group and summarise the coefficients."""
    if min_pairs < 2:
        raise ParameterError(f"Invalid min_pairs {min_pairs}: a correlation needs at least 2 pairs.")
    check_confidence(confidence)
    values, counts, scores = _correlations(columns, pairs.groups, len(pairs.keys))
    valid = (counts >= min_pairs) & ~np.isnan(values)
    lags = choose_lags(pairs.data.dates, overlap, lags)
    if pairs.over_time:
        dates, error = _error_over_time(pairs, values, scores, valid, lags)
    else:
        dates, error = _error_of_series(values[valid], lags)
    lags = min(lags, max(0, dates - 1))
    return Coefficients(
        pairs.keys[valid],
        values[valid],
        counts[valid],
        len(pairs.keys) - int(valid.sum()),
        *_summary(values[valid], error, degrees_of_freedom(dates, lags), confidence),
        confidence,
        dates,
        lags,
    )


def _correlations(columns: FloatArray, groups: Codes, size: int) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return correlation and count by group `[K]`, and standardised values `[2, n]`; NaN if a side is constant."""
    counts = np.bincount(groups, minlength=size)
    scores = np.empty_like(columns)
    for column, score in zip(columns, scores, strict=True):
        minimum = np.full(size, np.inf)
        np.minimum.at(minimum, groups, column)
        raised = column - minimum[groups]  # exactly 0 in a constant group
        score[:] = raised - (np.bincount(groups, raised, size) / counts)[groups]
        spread = np.sqrt(np.bincount(groups, score**2, size) / counts)
        score /= np.where(spread > 0, spread, np.nan)[groups]
    values = np.clip(np.bincount(groups, scores[0] * scores[1], size) / counts, -1.0, 1.0)
    return values, counts.astype(np.int64), scores


def _ranks(values: FloatArray, groups: Codes) -> FloatArray:
    """Rank values within groups up to a constant, ties at their mean rank."""
    order = np.lexsort((values, groups))
    group, value = groups[order], values[order]
    differs = np.ones(len(order), dtype=bool)
    differs[1:] = (group[1:] != group[:-1]) | (value[1:] != value[:-1])
    run = np.cumsum(differs) - 1
    position = np.bincount(run, np.arange(len(order))) / np.bincount(run) if len(order) else np.empty(0)
    ranks = np.empty(len(order))
    ranks[order] = position[run]  # over all groups: correlations do not depend on a group's offset
    return ranks


def _error_of_series(values: FloatArray, lags: int) -> tuple[int, float]:
    """Return the number of dates and the standard error of the mean of one coefficient per date."""
    if len(values) < 2:
        return len(values), _NAN
    return len(values), math.sqrt(long_run_variance(values - values.mean(), lags) / len(values))


def _error_over_time(
    pairs: _Pairs, values: FloatArray, scores: FloatArray, valid: BoolArray, lags: int
) -> tuple[int, float]:
    """Return the number of dates and the standard error of the mean of one coefficient per instrument."""
    rows = valid[pairs.groups]
    keys, codes = np.unique(pairs.data.codes[rows], return_inverse=True)
    if len(keys) < 2:
        return len(keys), _NAN
    (x, y), group = scores[:, rows], pairs.groups[rows]
    # The influence function of a correlation (Devlin, Gnanadesikan & Kettenring 1975); instruments have equal weights.
    influence = (x * y - values[group] * (x**2 + y**2) / 2) / np.bincount(group, minlength=len(values))[group]
    sums = np.bincount(codes, influence, len(keys)) / valid.sum()
    return len(keys), math.sqrt(len(keys) * long_run_variance(sums, lags))


def _summary(
    values: FloatArray, error: float, degrees: float, confidence: float
) -> tuple[float, float, float, float, float, float, float]:
    """Return mean, deviation, ICIR, t, p-value and the mean's interval."""
    from scipy.special import stdtr, stdtrit

    mean = float(values.mean()) if values.size else _NAN
    deviation = float(values.std(ddof=1)) if values.size > 1 else _NAN
    icir = mean / deviation if deviation > 0 else _NAN
    if not error > 0:
        return mean, deviation, icir, _NAN, _NAN, _NAN, _NAN
    t = mean / error
    half = error * float(stdtrit(degrees, (1 + confidence) / 2))
    return mean, deviation, icir, t, 2 * float(stdtr(degrees, -abs(t))), mean - half, mean + half

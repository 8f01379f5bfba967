"""Information coefficients: how well forecasts order what happened, across instruments or through time."""

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
    choose_lags,
    degrees_of_freedom,
    factorize,
    long_run_variance,
    panel,
)
from kronos.typing import FloatArray

_NAN = float("nan")

Over = Literal["instruments", "time"]


@dataclass(frozen=True, eq=False)
class Coefficients:
    """A series of information coefficients and its mean.

    Attributes:
        keys: `[K]` the date of each coefficient, ascending, or the instrument.
        values: `[K]` coefficients, -1 to 1.
        counts: `[K]` pairs in each.
        skipped: Dates (or instruments) left out: too few pairs, or a side that does not vary.
        mean: Mean coefficient; NaN if there is none.
        deviation: Their standard deviation (K - 1).
        icir: mean / deviation, not annualised.
        t_statistic: The mean over its HAC standard error.
        p_value: Two-sided, from Student's distribution with T / (lags + 1) degrees of freedom, at most T - 1.
        low: Lower end of the mean's interval.
        high: Upper end.
        confidence: The interval's level.
        dates: Distinct dates that count, T.
        lags: Autocovariances in the standard error, in dates.
    """

    keys: NDArray[Any]
    values: FloatArray
    counts: NDArray[np.int64]
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
    least: int = 5,
    overlap: int = 1,
    lags: int | None = None,
    confidence: float = 0.95,
) -> Coefficients:
    """IC: Pearson's correlation of forecasts with outcomes, at each date or for each instrument.

    ``over="instruments"`` correlates across the instruments of each date; the mean's t is that of the coefficients'
    series with Newey and West's variance (Grinold & Kahn 2000, "Active Portfolio Management", for IC and IR).
    ``over="time"`` correlates through the dates of each instrument; the mean's t sums each pair's influence on its
    instrument's coefficient by date, so that instruments that move together don't count as independent.

    Args:
        predicted: `[n]` forecasts, for example median returns.
        observed: `[n]` what happened; pairs with something unknown are left out.
        dates: `[n]` each pair's date.
        instruments: `[n]` each pair's instrument; needed over time.
        over: What each coefficient runs over.
        least: Pairs a coefficient needs; those of fewer are skipped.
        overlap: How many successive dates share part of their outcome: ⌈horizon / steps between dates⌉.
        lags: Autocovariances that count; None chooses.
        confidence: Level of the mean's interval.

    Raises:
        ParameterError: If an argument is out of its range or missing, or the sizes differ.
    """
    pairs = _pairs(predicted, observed, dates, instruments, over)
    return _coefficients(pairs, pairs.data.columns, least, overlap, lags, confidence)


def rank_ic(
    predicted: ArrayLike,
    observed: ArrayLike,
    dates: Labels,
    instruments: Labels | None = None,
    *,
    over: Over = "instruments",
    least: int = 5,
    overlap: int = 1,
    lags: int | None = None,
    confidence: float = 0.95,
) -> Coefficients:
    """RankIC: Spearman's correlation, ties at their mean rank; otherwise as `information_coefficient`.

    Over time the t-statistic takes the ranks as given, which is exact where forecasts tell nothing.

    Args:
        predicted: `[n]` forecasts, for example median returns.
        observed: `[n]` what happened; pairs with something unknown are left out.
        dates: `[n]` each pair's date.
        instruments: `[n]` each pair's instrument; needed over time.
        over: What each coefficient runs over.
        least: Pairs a coefficient needs; those of fewer are skipped.
        overlap: How many successive dates share part of their outcome: ⌈horizon / steps between dates⌉.
        lags: Autocovariances that count; None chooses.
        confidence: Level of the mean's interval.

    Raises:
        ParameterError: If an argument is out of its range or missing, or the sizes differ.
    """
    pairs = _pairs(predicted, observed, dates, instruments, over)
    ranks = np.stack([_ranks(column, pairs.groups) for column in pairs.data.columns])
    return _coefficients(pairs, ranks, least, overlap, lags, confidence)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Known pairs, and the group of each: its date, or its instrument when coefficients are over time."""

    data: Panel
    groups: Codes
    keys: NDArray[Any]
    over_time: bool


def _pairs(predicted: ArrayLike, observed: ArrayLike, dates: Labels, instruments: Labels | None, over: Over) -> _Pairs:
    if over not in ("instruments", "time"):
        raise ParameterError(f"Coefficients are over 'instruments' or over 'time', not '{over}'.")
    data = panel(dates, predicted, observed)
    if over == "instruments":
        return _Pairs(data, data.codes, data.keys, False)
    if instruments is None or len(instruments) != np.size(predicted):
        raise ParameterError(f"Coefficients over time need the instrument of each of the {np.size(predicted)} pairs.")
    return _Pairs(data, *factorize(instruments, data.rows, "instrument"), True)


def _coefficients(
    pairs: _Pairs, columns: FloatArray, least: int, overlap: int, lags: int | None, confidence: float
) -> Coefficients:
    """All about the correlations of two columns `[2, n]`, group by group."""
    if least < 2:
        raise ParameterError(f"A correlation needs at least 2 pairs, not {least}.")
    check_confidence(confidence)
    values, counts, scores = _correlations(columns, pairs.groups, len(pairs.keys))
    kept = (counts >= least) & ~np.isnan(values)
    chosen = choose_lags(pairs.data.dates, overlap, lags)
    if pairs.over_time:
        dates, error = _error_over_time(pairs, values, scores, kept, chosen)
    else:
        dates, error = _error_of_series(values[kept], chosen)
    chosen = min(chosen, max(0, dates - 1))
    return Coefficients(
        pairs.keys[kept],
        values[kept],
        counts[kept],
        len(pairs.keys) - int(kept.sum()),
        *_summary(values[kept], error, degrees_of_freedom(dates, chosen), confidence),
        confidence,
        dates,
        chosen,
    )


def _correlations(columns: FloatArray, groups: Codes, size: int) -> tuple[FloatArray, NDArray[np.int64], FloatArray]:
    """Correlation and count of each group `[K]`, and standardised values `[2, n]`; NaN where a side is constant."""
    counts = np.bincount(groups, minlength=size)
    scores = np.empty_like(columns)
    for column, score in zip(columns, scores, strict=True):
        least = np.full(size, np.inf)
        np.minimum.at(least, groups, column)
        raised = column - least[groups]  # exactly 0 in a group that does not vary
        score[:] = raised - (np.bincount(groups, raised, size) / counts)[groups]
        spread = np.sqrt(np.bincount(groups, score**2, size) / counts)
        score /= np.where(spread > 0, spread, np.nan)[groups]
    values = np.clip(np.bincount(groups, scores[0] * scores[1], size) / counts, -1.0, 1.0)
    return values, counts.astype(np.int64), scores


def _ranks(values: FloatArray, groups: Codes) -> FloatArray:
    """Ranks within each group, ties at their mean rank."""
    order = np.lexsort((values, groups))
    group, value = groups[order], values[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (group[1:] != group[:-1]) | (value[1:] != value[:-1])
    run = np.cumsum(fresh) - 1
    place = np.bincount(run, np.arange(len(order))) / np.bincount(run) if len(order) else np.empty(0)
    ranks = np.empty(len(order))
    ranks[order] = place[run]  # places among all; a group's correlation does not mind where it begins
    return ranks


def _error_of_series(values: FloatArray, lags: int) -> tuple[int, float]:
    """Number of dates, and the standard error of the mean of one coefficient a date."""
    if len(values) < 2:
        return len(values), _NAN
    return len(values), math.sqrt(long_run_variance(values - values.mean(), lags) / len(values))


def _error_over_time(
    pairs: _Pairs, values: FloatArray, scores: FloatArray, kept: NDArray[np.bool_], lags: int
) -> tuple[int, float]:
    """Number of dates, and the standard error of the mean of one coefficient an instrument."""
    here = kept[pairs.groups]
    keys, codes = np.unique(pairs.data.codes[here], return_inverse=True)
    if len(keys) < 2:
        return len(keys), _NAN
    (x, y), group = scores[:, here], pairs.groups[here]
    # The influence function of a correlation (Devlin, Gnanadesikan & Kettenring 1975); each instrument weighs alike.
    influence = (x * y - values[group] * (x**2 + y**2) / 2) / np.bincount(group, minlength=len(values))[group]
    sums = np.bincount(codes, influence, len(keys)) / kept.sum()
    return len(keys), math.sqrt(len(keys) * long_run_variance(sums, lags))


def _summary(
    values: FloatArray, error: float, degrees: float, confidence: float
) -> tuple[float, float, float, float, float, float, float]:
    """Mean, deviation, ICIR, t, p-value and the mean's interval."""
    from scipy.special import stdtr, stdtrit

    mean = float(values.mean()) if values.size else _NAN
    deviation = float(values.std(ddof=1)) if values.size > 1 else _NAN
    icir = mean / deviation if deviation > 0 else _NAN
    if not error > 0:
        return mean, deviation, icir, _NAN, _NAN, _NAN, _NAN
    t = mean / error
    half = error * float(stdtrit(degrees, (1 + confidence) / 2))
    return mean, deviation, icir, t, 2 * float(stdtr(degrees, -abs(t))), mean - half, mean + half

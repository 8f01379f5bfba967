"""Significance tests of forecast comparisons: Diebold–Mariano, superior predictive ability, model confidence set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.metrics.bootstrap import block_length
from kronos.metrics.estimates import Significance
from kronos.metrics.panel import (
    Labels,
    build_panel,
    choose_lags,
    degrees_of_freedom,
    effective_size,
    long_run_variance,
    standard_error,
)
from kronos.typing import FloatArray


@dataclass(frozen=True)
class SuperiorAbility:
    """Result of Hansen's test of superior predictive ability.

    Attributes:
        statistic: Largest standardised mean gain over the benchmark, at least 0.
        p_value: Hansen's consistent p-value of the null hypothesis that no model beats the benchmark.
        lower: Lower bound of the p-value, which excludes models worse than the benchmark.
        upper: Upper bound of the p-value: White's reality check, which includes them in full.
        better: Models that beat the benchmark at ``size``, corrected for multiple testing.
        size: Size of the test.
        n: Number of observations known for every model.
        dates: Number of distinct dates.
        block: Mean length of the resampled blocks, in dates.
    """

    statistic: float
    p_value: float
    lower: float
    upper: float
    better: tuple[str, ...]
    size: float
    n: int
    dates: int
    block: int


@dataclass(frozen=True)
class ConfidenceSet:
    """Model confidence set of Hansen, Lunde and Nason.

    Attributes:
        included: Models in the set, which contains the best with confidence 1 - ``size``.
        excluded: Models that are significantly worse.
        p_values: P-value of each model; it is included at every ``size`` below it.
        size: Size of the test.
        n: Number of observations known for every model.
        dates: Number of distinct dates.
        block: Mean length of the resampled blocks, in dates.
    """

    included: tuple[str, ...]
    excluded: tuple[str, ...]
    p_values: dict[str, float]
    size: float
    n: int
    dates: int
    block: int


def diebold_mariano(
    losses: ArrayLike,
    reference: ArrayLike,
    dates: Labels | None = None,
    *,
    overlap: int = 1,
    lags: int | None = None,
) -> Significance:
    """Test two forecasts for equal accuracy (Diebold–Mariano), with HAC variance and small-sample correction.

    Diebold & Mariano 1995, "Comparing Predictive Accuracy"; Newey–West variance with Bartlett weights; corrected as in
    Harvey, Leybourne & Newbold 1997, "Testing the equality of prediction mean squared errors". With several instruments
    per date the differences are summed by date first (Driscoll & Kraay 1998). With one observation per date and the
    same lags the statistic equals that of ``statsmodels``' ``diebold_mariano_test(..., harvey_adj=True)``, but it is
    compared to Student's distribution with T / (lags + 1) degrees of freedom, at most T - 1, because with T - 1 the
    test rejects too often for overlapping outcomes.

    Args:
        losses: Losses of the forecast. [n]
        reference: Losses of the reference forecast on the same observations; pairs with a NaN are ignored. [n]
        dates: Date of each observation. None: one date each, in order. [n]
        overlap: Number of successive dates whose outcomes overlap, ⌈horizon / steps between dates⌉: h of the
            correction.
        lags: Number of autocovariances, in dates; None: the larger of ⌈T^(1/3)⌉ and 2 (overlap - 1).

    Returns:
        The estimate is the mean of losses - reference: negative, like the statistic, if the forecast is better. The
        p-value is two-sided, and NaN if there are too few dates.

    Raises:
        ParameterError: If an argument is out of range or the sizes differ.
    """
    from scipy.special import stdtr

    data = build_panel(dates, losses, reference)
    lags = choose_lags(data.dates, overlap, lags)
    difference = data.columns[0] - data.columns[1]
    mean = float(difference.mean()) if data.n else float("nan")
    error = standard_error(data, difference - mean, lags)
    size = effective_size(data, difference - mean, error)
    if math.isnan(error) or data.dates <= overlap:
        return Significance(mean, float("nan"), float("nan"), data.n, size, data.dates, lags)
    count = data.dates
    correction = math.sqrt((count + 1 - 2 * overlap + overlap * (overlap - 1) / count) / count)
    statistic = correction * mean / error if error > 0 else math.copysign(math.inf, mean) if mean else 0.0
    p_value = 2 * float(stdtr(degrees_of_freedom(count, lags), -abs(statistic)))
    return Significance(mean, statistic, p_value, data.n, size, count, lags)


def superior_predictive_ability(
    losses: pd.DataFrame,
    benchmark: str,
    dates: Labels | None = None,
    *,
    size: float = 0.05,
    overlap: int = 1,
    repetitions: int = 1000,
    seed: int = 0,
) -> SuperiorAbility:
    """Test whether any model beats the benchmark, corrected for the number of models compared.

    Hansen 2005, "A Test for Superior Predictive Ability", with ``arch.bootstrap.SPA`` on gains divided by their HAC
    standard error (arch itself compares unstandardised gains).

    Args:
        losses: One row per observation and one column per model including the benchmark; rows with a NaN are ignored.
        benchmark: Column of the benchmark.
        dates: Date of each row; None: one date each, in order. [rows]
        size: Size of the test.
        overlap: Number of successive dates whose outcomes overlap: ⌈horizon / steps between dates⌉.
        repetitions: Bootstrap repetitions.
        seed: Random seed.

    Raises:
        ParameterError: If an argument is out of range, the benchmark is not a column, too few dates are known, or
            ``arch`` is not installed.
    """
    if benchmark not in losses.columns:
        raise ParameterError(f"Unknown benchmark '{benchmark}': choose from {', '.join(map(str, losses))}.")
    table, n = _by_date(losses, dates, size)
    gains = table[[benchmark]].to_numpy() - table.drop(columns=benchmark).to_numpy()
    differs = (gains != 0).any(axis=0)  # a model equal to the benchmark has no variance to test with
    names = table.columns.drop(benchmark)[differs]
    if names.empty:
        return SuperiorAbility(0.0, 1.0, 1.0, 1.0, (), size, n, len(table), max(1, overlap))
    lags = choose_lags(len(table), overlap, None)
    standard = np.stack([gain / _error(gain, lags) for gain in gains.T[differs]], axis=1)
    block = _block(standard, overlap)
    test = _bootstrap().SPA(np.zeros(len(table)), -standard, block_size=block, reps=repetitions, seed=seed)
    test.compute()
    better = tuple(str(names[i]) for i in test.better_models(pvalue=size))
    lower, consistent, upper = (float(test.pvalues[kind]) for kind in ("lower", "consistent", "upper"))
    statistic = max(0.0, float(standard.mean(axis=0).max()))
    return SuperiorAbility(statistic, consistent, lower, upper, better, size, n, len(table), block)


def model_confidence_set(
    losses: pd.DataFrame,
    dates: Labels | None = None,
    *,
    size: float = 0.1,
    overlap: int = 1,
    repetitions: int = 1000,
    seed: int = 0,
) -> ConfidenceSet:
    """Find the models that include the best one with confidence 1 - size.

    Hansen, Lunde & Nason 2011, "The Model Confidence Set", range statistic, with ``arch.bootstrap.MCS``.

    Args:
        losses: One row per observation and one column per model; rows with a NaN are ignored.
        dates: Date of each row; None: one date each, in order. [rows]
        size: Size of the test.
        overlap: Number of successive dates whose outcomes overlap: ⌈horizon / steps between dates⌉.
        repetitions: Bootstrap repetitions.
        seed: Random seed.

    Raises:
        ParameterError: If an argument is out of range, there are fewer than two models, too few dates are known, or
            ``arch`` is not installed.
    """
    table, n = _by_date(losses, dates, size)
    values = table.to_numpy()
    # Models with equal losses are tested as one, because arch would divide by the variance 0 of their differences.
    distinct, which = np.unique(values, axis=1, return_inverse=True)
    block = _block(distinct - distinct.mean(axis=1, keepdims=True), overlap)
    distinct_p_values = np.ones(distinct.shape[1])
    if distinct.shape[1] > 1:
        test = _bootstrap().MCS(distinct, size=size, block_size=block, reps=repetitions, seed=seed)
        test.compute()
        distinct_p_values[test.pvalues.index.to_numpy()] = test.pvalues["Pvalue"].to_numpy()
    p_values = {str(name): float(distinct_p_values[i]) for name, i in zip(losses, np.ravel(which), strict=True)}
    included = tuple(name for name, p in p_values.items() if p > size)
    excluded = tuple(name for name in p_values if name not in included)
    return ConfidenceSet(included, excluded, p_values, size, n, len(table), block)


def _by_date(losses: pd.DataFrame, dates: Labels | None, size: float) -> tuple[pd.DataFrame, int]:
    """Return losses by date, weighted so that their mean is that over all observations, and the number of these."""
    if not 0 < size < 1:
        raise ParameterError(f"Invalid test size {size}: choose a number between 0 and 1, for example 0.05.")
    if losses.shape[1] < 2 or not losses.columns.is_unique:
        raise ParameterError(
            f"A comparison needs at least two models with unique names; got {losses.columns.nunique()}."
        )
    data = build_panel(dates, *(losses[name].to_numpy(dtype=np.float64) for name in losses))
    if data.dates < 8:
        raise ParameterError(f"A comparison needs losses of all models at 8 dates or more; got {data.dates}.")
    sums = {name: data.sums(column) for name, column in zip(losses, data.columns, strict=True)}
    return pd.DataFrame(sums) * (data.dates / data.n), data.n


def _error(values: FloatArray, lags: int) -> float:
    """Return the square root of the long-run variance of a series; 1 if it is 0."""
    return math.sqrt(long_run_variance(values - values.mean(), lags)) or 1.0


def _block(values: FloatArray, overlap: int) -> int:
    """Return the block length for the most persistent column, in whole dates."""
    return max(1, math.ceil(max(block_length(column, overlap) for column in values.T)))


def _bootstrap() -> Any:
    """Import ``arch.bootstrap``."""
    try:
        import arch.bootstrap
    except ImportError as error:
        raise ParameterError(
            "Comparisons of several models need arch: install it with pip install 'kronos-forecast[evaluation]'."
        ) from error
    return arch.bootstrap

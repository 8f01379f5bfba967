"""Is one forecast better than another, or than many, beyond luck?"""

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
    choose_lags,
    degrees_of_freedom,
    effective_size,
    long_run_variance,
    panel,
    standard_error,
)
from kronos.typing import FloatArray


@dataclass(frozen=True)
class SuperiorAbility:
    """Hansen's test of superior predictive ability.

    Attributes:
        statistic: Largest standardised mean gain over the benchmark, at least 0.
        p_value: Probability of one as large if no model beats the benchmark (the consistent p-value).
        lower: The p-value if models that are worse are left out of account.
        upper: White's reality check, which counts them fully.
        better: Models that beat the benchmark at ``size``, all tests together.
        size: The test's size.
        n: Observations known for every model.
        dates: Distinct dates among them.
        block: Mean length in dates of the resampled blocks.
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
    """Hansen, Lunde and Nason's model confidence set.

    Attributes:
        included: Models that may be the best, at confidence 1 - ``size``.
        excluded: Models that are worse than those.
        p_values: Each model's p-value: the largest ``size`` at which it is still included is just below it.
        size: The test's size.
        n: Observations known for every model.
        dates: Distinct dates among them.
        block: Mean length in dates of the resampled blocks.
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
    """Diebold and Mariano's test of equal accuracy, with HAC variance and the correction for small samples.

    Diebold & Mariano 1995, "Comparing Predictive Accuracy"; the variance is Newey and West's with Bartlett's
    weights; the statistic is corrected as Harvey, Leybourne & Newbold 1997, "Testing the equality of prediction
    mean squared errors". With many instruments a date their differences are summed by date first (Driscoll & Kraay
    1998). With one observation a date and the same lags the statistic is that of ``statsmodels``'
    ``diebold_mariano_test(..., harvey_adj=True)``; but it is compared to Student's distribution with
    T / (lags + 1) degrees of freedom, at most T - 1, since with T - 1 overlapping outcomes are rejected too often.

    Args:
        losses: `[n]` losses of the forecast.
        reference: `[n]` losses of what it is compared to, on the same observations; pairs with something
            unknown are left out.
        dates: `[n]` each observation's date. None: each its own, in the order given.
        overlap: How many successive dates share part of their outcome, ⌈horizon / steps between dates⌉: the
            correction's h.
        lags: Autocovariances that count, in dates; None takes the larger of ⌈T^(1/3)⌉ and 2 (overlap - 1).

    Returns:
        The estimate is the mean of losses - reference: negative, as the statistic, if the forecast is better. The
        p-value is two-sided; NaN where too few dates tell nothing.

    Raises:
        ParameterError: If an argument is out of its range or the sizes differ.
    """
    from scipy.special import stdtr

    data = panel(dates, losses, reference)
    chosen = choose_lags(data.dates, overlap, lags)
    difference = data.columns[0] - data.columns[1]
    mean = float(difference.mean()) if data.n else float("nan")
    error = standard_error(data, difference - mean, chosen)
    size = effective_size(data, difference - mean, error)
    if math.isnan(error) or data.dates <= overlap:
        return Significance(mean, float("nan"), float("nan"), data.n, size, data.dates, chosen)
    count = data.dates
    correction = math.sqrt((count + 1 - 2 * overlap + overlap * (overlap - 1) / count) / count)
    statistic = correction * mean / error if error > 0 else math.copysign(math.inf, mean) if mean else 0.0
    p_value = 2 * float(stdtr(degrees_of_freedom(count, chosen), -abs(statistic)))
    return Significance(mean, statistic, p_value, data.n, size, count, chosen)


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
    """Does any of many models beat the benchmark, given that the best of many looks good by luck?

    Hansen 2005, "A Test for Superior Predictive Ability", by ``arch.bootstrap.SPA`` on gains divided by their HAC
    standard error (arch itself compares unstandardised ones).

    Args:
        losses: One row an observation, one column a model, among them the benchmark's; rows with something
            unknown are left out.
        benchmark: The benchmark's column.
        dates: `[rows]` each row's date; None: each its own, in the order given.
        size: The test's size, for which models are better.
        overlap: How many successive dates share part of their outcome: ⌈horizon / steps between dates⌉.
        repetitions: Bootstrap draws.
        seed: Of the draws.

    Raises:
        ParameterError: If an argument is out of its range, the benchmark is no column, too few dates are known,
            or ``arch`` is not installed.
    """
    if benchmark not in losses.columns:
        raise ParameterError(f"The benchmark '{benchmark}' is none of the models {', '.join(map(str, losses))}.")
    table, n = _by_date(losses, dates, size)
    gains = table[[benchmark]].to_numpy() - table.drop(columns=benchmark).to_numpy()
    differs = (gains != 0).any(axis=0)  # what equals the benchmark never beats it
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
    """The models among which the best is, with confidence 1 - size.

    Hansen, Lunde & Nason 2011, "The Model Confidence Set", range statistic, by ``arch.bootstrap.MCS``.

    Args:
        losses: One row an observation, one column a model; rows with something unknown are left out.
        dates: `[rows]` each row's date; None: each its own, in the order given.
        size: The test's size.
        overlap: How many successive dates share part of their outcome: ⌈horizon / steps between dates⌉.
        repetitions: Bootstrap draws.
        seed: Of the draws.

    Raises:
        ParameterError: If an argument is out of its range, there are fewer than two models, too few dates are
            known, or ``arch`` is not installed.
    """
    table, n = _by_date(losses, dates, size)
    values = table.to_numpy()
    # Models with the same losses stand or fall together; arch would divide by their differences' variance, 0.
    distinct, which = np.unique(values, axis=1, return_inverse=True)
    block = _block(distinct - distinct.mean(axis=1, keepdims=True), overlap)
    chances = np.ones(distinct.shape[1])
    if distinct.shape[1] > 1:
        test = _bootstrap().MCS(distinct, size=size, block_size=block, reps=repetitions, seed=seed)
        test.compute()
        chances[test.pvalues.index.to_numpy()] = test.pvalues["Pvalue"].to_numpy()
    p_values = {str(name): float(chances[i]) for name, i in zip(losses, np.ravel(which), strict=True)}
    included = tuple(name for name, p in p_values.items() if p > size)
    excluded = tuple(name for name in p_values if name not in included)
    return ConfidenceSet(included, excluded, p_values, size, n, len(table), block)


def _by_date(losses: pd.DataFrame, dates: Labels | None, size: float) -> tuple[pd.DataFrame, int]:
    """Losses by date, weighted so that their mean is the mean over all observations, and how many those are."""
    if not 0 < size < 1:
        raise ParameterError(f"A test's size lies strictly between 0 and 1, for example 0.05, not {size}.")
    if losses.shape[1] < 2 or not losses.columns.is_unique:
        raise ParameterError("A comparison needs the losses of at least two models, each with a name of its own.")
    data = panel(dates, *(losses[name].to_numpy(dtype=np.float64) for name in losses))
    if data.dates < 8:
        raise ParameterError(f"A comparison of models needs losses known for all of them at 8 dates, not {data.dates}.")
    sums = {name: data.sums(column) for name, column in zip(losses, data.columns, strict=True)}
    return pd.DataFrame(sums) * (data.dates / data.n), data.n


def _error(values: FloatArray, lags: int) -> float:
    """Square root of the long-run variance of a series."""
    return math.sqrt(long_run_variance(values - values.mean(), lags)) or 1.0


def _block(values: FloatArray, overlap: int) -> int:
    """Length of the blocks that suits the most persistent column, in whole dates."""
    return max(1, math.ceil(max(block_length(column, overlap) for column in values.T)))


def _bootstrap() -> Any:
    """``arch.bootstrap``, or the sentence that says how to get it."""
    try:
        import arch.bootstrap
    except ImportError as error:
        raise ParameterError(
            "Tests of many models need arch; install it with pip install 'kronos[evaluation]'."
        ) from error
    return arch.bootstrap

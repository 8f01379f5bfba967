"""Panels of observations by date, and standard errors of means of dependent observations.

Instruments move together on a date, and outcomes of successive dates share candles, so observations are not
independent. They are summed by date over all instruments, and the variance comes from the autocovariances of this one
time series. For a mean over a panel this is the estimator of Driscoll & Kraay 1998, "Consistent Covariance Matrix
Estimation with Spatially Dependent Panel Data"; with one observation per date it is that of Newey & West 1987, "A
Simple, Positive Semi-definite, Heteroskedasticity and Autocorrelation Consistent Covariance Matrix".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from kronos.errors import ParameterError
from kronos.typing import FloatArray

Labels = Sequence[Any] | NDArray[Any] | pd.Index | pd.Series  # one per observation: dates or instruments
Codes = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Panel:
    """Known observations and their dates.

    Attributes:
        columns: Values without NaN. [k, n]
        codes: Position of each observation's date in ``keys``. [n]
        keys: Distinct dates, ascending. [T]
        rows: Positions of the known observations in the input. [n]
    """

    columns: FloatArray
    codes: Codes
    keys: NDArray[Any]
    rows: Codes

    @property
    def n(self) -> int:
        """Number of known observations."""
        return len(self.codes)

    @property
    def dates(self) -> int:
        """Number of distinct dates."""
        return len(self.keys)

    def sums(self, values: ArrayLike) -> FloatArray:
        """Sum values `[n]` by date, `[T]`."""
        weights = np.asarray(values, dtype=np.float64)
        return np.bincount(self.codes, weights=weights, minlength=self.dates).astype(np.float64)


def build_panel(dates: Labels | None, *columns: ArrayLike) -> Panel:
    """Drop observations that are NaN in any column, and encode the dates of the others.

    Args:
        dates: Times of the observations, in any order; None if each observation has its own date, in order. [n]
        columns: Values of equal size; flattened.

    Raises:
        ParameterError: If the sizes differ or a date is missing.
    """
    values = [np.asarray(column, dtype=np.float64).ravel() for column in columns]
    sizes = {len(value) for value in values} | ({len(dates)} if dates is not None else set())
    if len(sizes) > 1:
        raise ParameterError(f"Values and dates differ in length: {', '.join(map(str, sorted(sizes)))}.")
    table = np.stack(values)
    rows = np.flatnonzero(~np.isnan(table).any(axis=0))
    codes, keys = factorize(np.arange(table.shape[1]) if dates is None else dates, rows, "date")
    return Panel(table[:, rows], codes, keys, rows)


def factorize(labels: Labels, rows: Codes, name: str) -> tuple[Codes, NDArray[Any]]:
    """Encode labels of rows: the position of each among the distinct labels, and these in ascending order.

    Raises:
        ParameterError: If a label is missing.
    """
    codes, keys = pd.factorize(pd.Index(labels).take(rows), sort=True)
    if (codes < 0).any():
        raise ParameterError(f"Every observation needs a {name}: drop the rows without one.")
    return codes.astype(np.intp), np.asarray(keys)


def check_overlap(overlap: int) -> int:
    """Validate the number of successive dates whose outcomes overlap.

    Raises:
        ParameterError: If it is below 1.
    """
    if overlap < 1:
        raise ParameterError(f"Invalid overlap {overlap}: choose at least 1 date (1: outcomes share no candle).")
    return int(overlap)


def choose_lags(dates: int, overlap: int, lags: int | None) -> int:
    """Return the number of autocovariances: ``lags``, or the larger of ⌈T^(1/3)⌉ and 2 (overlap - 1) if None.

    Raises:
        ParameterError: If ``lags`` is negative.
    """
    if lags is not None and lags < 0:
        raise ParameterError(f"Invalid number of lags {lags}: choose at least 0.")
    if lags is None:
        lags = max(math.ceil(dates ** (1 / 3)), min_block_length(overlap))
    return max(0, min(lags, dates - 1))


def min_block_length(overlap: int) -> int:
    """Return the number of lags, or the block length, that overlapping outcomes need: 2 (overlap - 1), at least 1.

    Bartlett weights and blocks of random length halve the autocovariances in the middle of their range, so about twice
    as many are needed as are correlated.
    """
    return max(1, 2 * (check_overlap(overlap) - 1))


def degrees_of_freedom(dates: int, lags: int) -> float:
    """Return Student's degrees of freedom of a mean over its HAC standard error: T / (lags + 1), at most T - 1.

    With few independent blocks the variance is itself uncertain, and tests against the normal distribution or T - 1
    degrees of freedom reject too often. With these degrees of freedom the 5 % critical values are within 4 % of the
    fixed-b ones (Kiefer & Vogelsang 2005, "A New Asymptotic Theory for Heteroskedasticity-Autocorrelation Robust
    Tests") for up to T / 4 lags, and those of smaller levels are larger.
    """
    return max(1.0, min(dates - 1.0, dates / (lags + 1)))


def long_run_variance(values: FloatArray, lags: int) -> float:
    """Sum the autocovariances of a series `[T]` of mean zero, with Bartlett weights 1 - l / (lags + 1).

    Newey & West 1987, equation 5; never negative.
    """
    total = float(values @ values)
    for lag in range(1, min(lags, len(values) - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(values[lag:] @ values[:-lag])
    return max(0.0, total) / len(values)


def standard_error(data: Panel, influence: FloatArray, lags: int) -> float:
    """Return the standard error of a panel's mean from the deviations `[n]`; NaN for a single date."""
    if data.dates < 2:
        return float("nan")
    return math.sqrt(data.dates * long_run_variance(data.sums(influence), lags)) / data.n


def effective_size(data: Panel, influence: FloatArray, error: float) -> float:
    """Return the number of independent observations with this standard error, between 1 and n."""
    spread = float(influence @ influence)
    if not (np.isfinite(error) and np.isfinite(spread)):
        return float("nan")
    if error == 0 or spread == 0:
        return float(data.dates)  # without variation the dependence between instruments is unknown
    return float(np.clip(spread / data.n / error**2, 1.0, data.n))

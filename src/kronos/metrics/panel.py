"""Observations by date, and how sure a mean of dependent ones is.

Instruments of one date move together, and outcomes of successive dates share candles: observations are not
independent. So sums are formed by date, all instruments together, and the dates' sums make one time series
whose autocovariances count. For a mean over a panel this is the estimator of Driscoll & Kraay 1998, "Consistent
Covariance Matrix Estimation with Spatially Dependent Panel Data"; with one observation a date it is the one of
Newey & West 1987, "A Simple, Positive Semi-definite, Heteroskedasticity and Autocorrelation Consistent
Covariance Matrix".
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

Labels = Sequence[Any] | NDArray[Any] | pd.Index | pd.Series  # what tells observations apart: dates, instruments
Codes = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Panel:
    """Known observations and their dates.

    Attributes:
        columns: `[k, n]` values, none of them NaN.
        codes: `[n]` position of each observation's date in ``keys``.
        keys: `[T]` distinct dates, ascending.
        rows: `[n]` which of the observations given are the known ones.
    """

    columns: FloatArray
    codes: Codes
    keys: NDArray[Any]
    rows: Codes

    @property
    def n(self) -> int:
        """Known observations."""
        return len(self.codes)

    @property
    def dates(self) -> int:
        """Distinct dates."""
        return len(self.keys)

    def sums(self, values: ArrayLike) -> FloatArray:
        """Sums of observations `[n]` by date `[T]`."""
        weights = np.asarray(values, dtype=np.float64)
        return np.bincount(self.codes, weights=weights, minlength=self.dates).astype(np.float64)


def panel(dates: Labels | None, *columns: ArrayLike) -> Panel:
    """Leave out what is unknown in any column, and find each observation's date.

    Args:
        dates: `[n]` times of the observations, in any order; None if each has a date of its own, in the
            order given.
        columns: Values of the same size each; flattened.

    Raises:
        ParameterError: If the sizes differ, or a date is not known.
    """
    values = [np.asarray(column, dtype=np.float64).ravel() for column in columns]
    sizes = {len(value) for value in values} | ({len(dates)} if dates is not None else set())
    if len(sizes) > 1:
        raise ParameterError(f"Values, and their dates if given, need the same number, not {sorted(sizes)}.")
    table = np.stack(values)
    rows = np.flatnonzero(~np.isnan(table).any(axis=0))
    codes, keys = factorize(np.arange(table.shape[1]) if dates is None else dates, rows, "date")
    return Panel(table[:, rows], codes, keys, rows)


def factorize(labels: Labels, rows: Codes, name: str) -> tuple[Codes, NDArray[Any]]:
    """Position of each row's label among the distinct ones, and those, ascending.

    Raises:
        ParameterError: If a label is missing.
    """
    codes, keys = pd.factorize(pd.Index(labels).take(rows), sort=True)
    if (codes < 0).any():
        raise ParameterError(f"Every observation needs a {name}; drop the rows without one.")
    return codes.astype(np.intp), np.asarray(keys)


def check_overlap(overlap: int) -> int:
    """How many successive dates share part of their outcome, checked.

    Raises:
        ParameterError: If it is below 1.
    """
    if overlap < 1:
        raise ParameterError(f"An overlap counts dates and is 1 if outcomes share no candle, not {overlap}.")
    return int(overlap)


def choose_lags(dates: int, overlap: int, lags: int | None) -> int:
    """How many autocovariances count: those asked for, or the larger of ⌈T^(1/3)⌉ and 2 (overlap - 1).

    Raises:
        ParameterError: If ``lags`` is negative.
    """
    if lags is not None and lags < 0:
        raise ParameterError(f"The number of lags is at least 0, not {lags}.")
    wanted = max(math.ceil(dates ** (1 / 3)), shortest_block(overlap)) if lags is None else lags
    return max(0, min(wanted, dates - 1))


def shortest_block(overlap: int) -> int:
    """How many dates hold what overlapping outcomes share: 2 (overlap - 1), at least 1; of lags and of blocks.

    Bartlett's weights, and blocks of random length, halve the autocovariances in the middle of their range; so
    about twice as many are needed as are correlated.
    """
    return max(1, 2 * (check_overlap(overlap) - 1))


def degrees_of_freedom(dates: int, lags: int) -> float:
    """Student's degrees of freedom for a mean over its HAC standard error: T / (lags + 1), at most T - 1.

    The variance of few stretches of time is itself uncertain, and compared to the normal distribution, or to T - 1
    degrees of freedom, tests reject too often. With these the 5 % critical values come within 4 % of the fixed-b
    ones (Kiefer & Vogelsang 2005, "A New Asymptotic Theory for Heteroskedasticity-Autocorrelation Robust Tests")
    for up to T / 4 lags, and those of smaller levels are larger.
    """
    return max(1.0, min(dates - 1.0, dates / (lags + 1)))


def long_run_variance(values: FloatArray, lags: int) -> float:
    """Σ of the autocovariances of a series `[T]` of mean zero, with Bartlett's weights 1 - l / (lags + 1).

    Newey & West 1987, equation 5; never negative.
    """
    total = float(values @ values)
    for lag in range(1, min(lags, len(values) - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(values[lag:] @ values[:-lag])
    return max(0.0, total) / len(values)


def standard_error(data: Panel, influence: FloatArray, lags: int) -> float:
    """Standard error of a mean over a panel, from each observation's deviation `[n]`; NaN for a single date."""
    if data.dates < 2:
        return float("nan")
    return math.sqrt(data.dates * long_run_variance(data.sums(influence), lags)) / data.n


def effective_size(data: Panel, influence: FloatArray, error: float) -> float:
    """How many independent observations would give this standard error: at least 1, at most n."""
    spread = float(influence @ influence)
    if not (np.isfinite(error) and np.isfinite(spread)):
        return float("nan")
    if error == 0 or spread == 0:
        return float(data.dates)  # nothing varies, so nothing tells how dependent instruments are
    return float(np.clip(spread / data.n / error**2, 1.0, data.n))

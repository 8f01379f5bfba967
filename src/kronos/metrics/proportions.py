"""Proportions with confidence intervals."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.metrics.bootstrap import bootstrap_mean
from kronos.metrics.estimates import Estimate, check_confidence
from kronos.metrics.panel import (
    Labels,
    Panel,
    build_panel,
    choose_lags,
    degrees_of_freedom,
    effective_size,
    standard_error,
)
from kronos.typing import FloatArray

Method = Literal["wilson", "clopper-pearson", "bootstrap"]


def wilson(hits: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Compute Wilson's score interval of a proportion (Wilson 1927); NaN without observations.

    Args:
        hits: Number of events; need not be an integer.
        n: Number of independent observations; need not be an integer.
        confidence: Confidence level.
    """
    from scipy.special import ndtri

    if not n > 0:
        return float("nan"), float("nan")
    share, square = hits / n, float(ndtri((1 + check_confidence(confidence)) / 2)) ** 2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = math.sqrt(square * (share * (1 - share) / n + square / (4 * n**2))) / (1 + square / n)
    # Exactly 0 and 1 without or with only events, which rounding would miss.
    return (0.0 if hits <= 0 else max(0.0, centre - half)), (1.0 if hits >= n else min(1.0, centre + half))


def clopper_pearson(hits: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Compute the exact interval of a proportion (Clopper & Pearson 1934), which is conservative.

    Args:
        hits: Number of events; need not be an integer.
        n: Number of independent observations; need not be an integer. NaN results from 0.
        confidence: Confidence level.
    """
    from scipy.special import betaincinv

    if not n > 0:
        return float("nan"), float("nan")
    tail = (1 - check_confidence(confidence)) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return low, high


def proportion(
    happened: ArrayLike,
    dates: Labels | None = None,
    *,
    method: Method = "wilson",
    confidence: float = 0.95,
    overlap: int = 1,
    seed: int = 0,
) -> Estimate:
    """Compute the proportion of observations with an event.

    Without dates, observations count as independent. With dates, the Wilson and Clopper–Pearson intervals use the
    number of independent observations that gives the standard error by date (Korn & Graubard 1998, "Confidence
    Intervals for Proportions With Small Expected Number of Positive Counts"), and ``bootstrap`` resamples blocks of
    dates.

    Args:
        happened: Booleans, or 0, 1 and NaN for unknown. [n]
        dates: Date of each observation. None: independent observations. [n]
        method: Kind of the interval.
        confidence: Confidence level.
        overlap: Number of successive dates whose outcomes overlap: ⌈horizon / steps between dates⌉.
        seed: Random seed of the bootstrap.

    Raises:
        ParameterError: If an argument is out of range, the sizes differ, or a value is neither 0 nor 1.
    """
    if method not in ("wilson", "clopper-pearson", "bootstrap"):
        raise ParameterError(f"Invalid method '{method}': choose 'wilson', 'clopper-pearson' or 'bootstrap'.")
    data = build_panel(dates, happened)
    flags = data.columns[0]
    check_binary(flags)
    if method == "bootstrap":
        return bootstrap_mean(happened, dates, confidence=confidence, overlap=overlap, seed=seed)
    share = float(flags.mean()) if data.n else float("nan")
    size, adjusted = float(data.n), float(data.n)
    if dates is not None and data.n:
        lags = choose_lags(data.dates, overlap, None)
        size = _effective_n(data, share, overlap, lags)
        adjusted = size * _size_correction(data.dates, lags, confidence)
    interval = wilson if method == "wilson" else clopper_pearson
    low, high = interval(share * adjusted if data.n else 0.0, adjusted, confidence)
    return Estimate(share, low, high, confidence, method, data.n, size, data.dates)


def check_binary(values: FloatArray) -> None:
    """Validate outcomes: each 0, 1 or NaN.

    Raises:
        ParameterError: If one is neither.
    """
    if not ((values == 0) | (values == 1) | np.isnan(values)).all():
        raise ParameterError("Invalid outcomes: each must be true or false, 1 or 0, or NaN if unknown.")


def _effective_n(data: Panel, share: float, overlap: int, lags: int) -> float:
    """Return the effective number of observations; without variation, the number of dates over the overlap."""
    deviations = data.columns[0] - share
    if data.dates < 2 or not np.any(deviations):
        return max(1.0, data.dates / overlap)
    # Negative autocovariances are mostly noise and must not raise the effective number above that of the dates.
    error = max(standard_error(data, deviations, count) for count in (lags, 0))
    return effective_size(data, deviations, error)


def _size_correction(dates: int, lags: int, confidence: float) -> float:
    """Return the factor (z / t)² for the uncertainty of the effective number (Korn & Graubard 1998)."""
    from scipy.special import ndtri, stdtrit

    tail = (1 + check_confidence(confidence)) / 2
    return float(ndtri(tail) / stdtrit(degrees_of_freedom(dates, lags), tail)) ** 2

"""How often something happens, with an interval."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.metrics.bootstrap import bootstrap_mean
from kronos.metrics.estimates import Estimate, check_confidence
from kronos.metrics.panel import Labels, Panel, choose_lags, degrees_of_freedom, effective_size, panel, standard_error

Method = Literal["wilson", "clopper-pearson", "bootstrap"]


def wilson(hits: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927); NaN without observations.

    Args:
        hits: How often it happened; need not be whole.
        n: Out of how many independent observations; need not be whole.
        confidence: Level of the interval.
    """
    from scipy.special import ndtri

    if not n > 0:
        return float("nan"), float("nan")
    share, square = hits / n, float(ndtri((1 + check_confidence(confidence)) / 2)) ** 2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = math.sqrt(square * (share * (1 - share) / n + square / (4 * n**2))) / (1 + square / n)
    # Exactly 0 and 1 where none or all happened, which rounding would miss.
    return (0.0 if hits <= 0 else max(0.0, centre - half)), (1.0 if hits >= n else min(1.0, centre + half))


def clopper_pearson(hits: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper & Pearson 1934): covers at least what it says. NaN without observations.

    Args:
        hits: How often it happened; need not be whole.
        n: Out of how many independent observations; need not be whole.
        confidence: Level of the interval.
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
    """Share of observations at which something happened.

    Without dates, observations count as independent. With them, Wilson's and Clopper and Pearson's intervals are
    of as many independent observations as give the share's standard error by date (Korn & Graubard 1998,
    "Confidence Intervals for Proportions With Small Expected Number of Positive Counts"), and ``bootstrap``
    resamples blocks of dates.

    Args:
        happened: `[n]` truth values, or 0, 1 and NaN for unknown.
        dates: `[n]` each observation's date. None: each its own, independent.
        method: The interval's kind.
        confidence: Level of the interval.
        overlap: How many successive dates share part of their outcome: ⌈horizon / steps between dates⌉.
        seed: Of the bootstrap.

    Raises:
        ParameterError: If an argument is out of its range, the sizes differ, or a value is neither 0 nor 1.
    """
    if method not in ("wilson", "clopper-pearson", "bootstrap"):
        raise ParameterError(f"A share's interval is 'wilson', 'clopper-pearson' or 'bootstrap', not '{method}'.")
    data = panel(dates, happened)
    flags = data.columns[0]
    if not ((flags == 0) | (flags == 1)).all():
        raise ParameterError("What happened is true or false, 1 or 0, or NaN where unknown.")
    if method == "bootstrap":
        return bootstrap_mean(happened, dates, confidence=confidence, overlap=overlap, seed=seed)
    share = float(flags.mean()) if data.n else float("nan")
    size, certain = float(data.n), float(data.n)
    if dates is not None and data.n:
        lags = choose_lags(data.dates, overlap, None)
        size = _independent(data, share, overlap, lags)
        certain = size * _certainty(data.dates, lags, confidence)
    interval = wilson if method == "wilson" else clopper_pearson
    low, high = interval(share * certain if data.n else 0.0, certain, confidence)
    return Estimate(share, low, high, confidence, method, data.n, size, data.dates)


def _independent(data: Panel, share: float, overlap: int, lags: int) -> float:
    """How many independent observations the share rests on; dates, over their overlap, if nothing varies."""
    deviations = data.columns[0] - share
    if data.dates < 2 or not np.any(deviations):
        return max(1.0, data.dates / overlap)
    # Negative autocovariances are mostly noise here, and must not make more of the observations than their dates do.
    error = max(standard_error(data, deviations, chosen) for chosen in (lags, 0))
    return effective_size(data, deviations, error)


def _certainty(dates: int, lags: int, confidence: float) -> float:
    """What to multiply an effective number by because it is uncertain: (z / t)² (Korn & Graubard 1998)."""
    from scipy.special import ndtri, stdtrit

    tail = (1 + check_confidence(confidence)) / 2
    return float(ndtri(tail) / stdtrit(degrees_of_freedom(dates, lags), tail)) ** 2

"""Probabilities of events and calls of direction: Brier score, reliability, hit rate and Pesaran–Timmermann test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.metrics.estimates import Estimate, Significance
from kronos.metrics.panel import (
    Codes,
    Labels,
    build_panel,
    choose_lags,
    degrees_of_freedom,
    effective_size,
    standard_error,
)
from kronos.metrics.proportions import Method, check_binary, proportion
from kronos.typing import FloatArray

_NAN = float("nan")


@dataclass(frozen=True)
class Direction:
    """Accuracy of the predicted sign.

    Attributes:
        hit_rate: Proportion of correct signs among the decided pairs.
        test: Pesaran–Timmermann test of the hit rate against independent calls.
        up_predicted: Share of calls that are up.
        up_observed: Share of outcomes that are up: the hit rate of always calling up.
        undecided: Number of known pairs excluded because the forecast or the outcome is exactly 0.
    """

    hit_rate: Estimate
    test: Significance
    up_predicted: float
    up_observed: float
    undecided: int


def direction(
    predicted: ArrayLike,
    observed: ArrayLike,
    dates: Labels | None = None,
    *,
    method: Method = "wilson",
    confidence: float = 0.95,
    overlap: int = 1,
    seed: int = 0,
) -> Direction:
    """Compute the hit rate of the sign, with an interval and the Pesaran–Timmermann test.

    Args:
        predicted: Numbers whose sign is the call, such as a median return or a probability minus one half. [n]
        observed: Returns. [n]
        dates: Date of each pair. None: independent pairs. [n]
        method: Kind of the interval, as in `proportion`.
        confidence: Confidence level.
        overlap: Number of successive dates whose outcomes overlap: ⌈horizon / steps between dates⌉.
        seed: Random seed of the bootstrap.

    Raises:
        ParameterError: If an argument is out of range or the sizes differ.
    """
    data = build_panel(dates, predicted, observed)
    decided = (data.columns != 0).all(axis=0)
    calls, outcomes = data.columns[:, decided] > 0
    days = None if dates is None else data.codes[decided]
    rate = proportion(calls == outcomes, days, method=method, confidence=confidence, overlap=overlap, seed=seed)
    test = pesaran_timmermann(calls - 0.5, outcomes - 0.5, days, overlap=overlap)
    ups = [float(flags.mean()) if flags.size else _NAN for flags in (calls, outcomes)]
    return Direction(rate, test, ups[0], ups[1], int((~decided).sum()))


def pesaran_timmermann(
    predicted: ArrayLike,
    observed: ArrayLike,
    dates: Labels | None = None,
    *,
    overlap: int = 1,
    lags: int | None = None,
) -> Significance:
    """Test whether signs are forecast better than by independent calls; one-sided.

    Pesaran & Timmermann 1992, "A Simple Nonparametric Test of Predictive Performance": the hit rate minus that of
    independent calls that are up equally often. Constant calls have no power and give NaN. Without dates the test is as
    published, for independent observations. With dates the same difference, twice the covariance of call and outcome,
    is divided by its standard error by date with the Newey–West variance (as Blaskowitz & Herwartz 2014, "Testing the
    value of directional forecasts in the presence of serial correlation").

    Args:
        predicted: Numbers whose sign is the call; pairs with a 0 or NaN are ignored. [n]
        observed: Returns. [n]
        dates: Date of each pair. None: independent pairs. [n]
        overlap: Number of successive dates whose outcomes overlap: ⌈horizon / steps between dates⌉.
        lags: Number of autocovariances; None selects it.

    Returns:
        The estimate is the hit rate in excess of chance.

    Raises:
        ParameterError: If an argument is out of range or the sizes differ.
    """
    from scipy.special import ndtr, stdtr

    nonzero = [np.where(np.asarray(a, dtype=np.float64) == 0, np.nan, a) for a in (predicted, observed)]
    data = build_panel(dates, *nonzero)
    calls, outcomes = (data.columns > 0).astype(np.float64)
    chosen = choose_lags(data.dates, overlap, lags) if dates is not None else 0
    if not data.n or np.ptp(calls) == 0 or np.ptp(outcomes) == 0:
        return Significance(_NAN, _NAN, _NAN, data.n, float(data.n), data.dates, chosen)
    products = 2 * (calls - calls.mean()) * (outcomes - outcomes.mean())
    excess = float(products.mean())
    if dates is None:
        statistic = excess / _classical_error(calls, outcomes)
        return Significance(excess, statistic, float(ndtr(-statistic)), data.n, float(data.n), data.dates)
    error = standard_error(data, products - excess, chosen)
    statistic = excess / error if error > 0 else _NAN
    p_value = float(stdtr(degrees_of_freedom(data.dates, chosen), -statistic))
    size = effective_size(data, products - excess, error)
    return Significance(excess, statistic, p_value, data.n, size, data.dates, chosen)


def _classical_error(calls: FloatArray, outcomes: FloatArray) -> float:
    """√(V(P) - V(P*)) of Pesaran & Timmermann 1992, equation 6; NaN if not positive."""
    n, x, y = len(calls), float(calls.mean()), float(outcomes.mean())
    chance = x * y + (1 - x) * (1 - y)
    spread_x, spread_y = x * (1 - x), y * (1 - y)
    expected = ((2 * y - 1) ** 2 * spread_x + (2 * x - 1) ** 2 * spread_y + 4 * spread_x * spread_y / n) / n
    variance = chance * (1 - chance) / n - expected
    return math.sqrt(variance) if variance > 0 else _NAN


Binning = Literal["quantile", "width"]


@dataclass(frozen=True)
class ReliabilityBin:
    """Forecasts of similar probability.

    Attributes:
        low: Smallest probability in the bin.
        high: Largest probability in the bin.
        n: Number of forecasts.
        forecast: Mean probability.
        observed: Observed frequency; calibrated if its interval contains ``forecast``.
    """

    low: float
    high: float
    n: int
    forecast: float
    observed: Estimate


@dataclass(frozen=True)
class Reliability:
    """Reliability diagram and decomposition of the Brier score.

    brier = reliability - resolution + uncertainty + within, exactly.

    Attributes:
        bins: Non-empty bins by ascending probability.
        brier: Mean Brier score.
        reliability: Mean squared difference of forecast and observed frequency per bin; 0 if calibrated.
        resolution: Mean squared difference of observed frequency per bin and base rate; 0 for uninformative forecasts.
        uncertainty: Variance of the outcomes: the score of always forecasting the base rate.
        within: Contribution of differences between forecasts in the same bin.
        n: Number of known forecasts.
    """

    bins: tuple[ReliabilityBin, ...]
    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float
    n: int

    @property
    def skill(self) -> float:
        """Brier skill score relative to the base rate; NaN if all outcomes are equal."""
        return 1 - self.brier / self.uncertainty if self.uncertainty > 0 else _NAN


def brier(probability: ArrayLike, happened: ArrayLike) -> FloatArray:
    """Compute the Brier score (probability - happened)², elementwise; 0 is perfect, 0.25 that of probability ½.

    Brier 1950, "Verification of Forecasts Expressed in Terms of Probability", for one of two outcomes (half his sum
    over both).

    Args:
        probability: Between 0 and 1; NaN where unknown.
        happened: True or false, 1 or 0; NaN where unknown.

    Raises:
        ParameterError: If a probability is outside 0 to 1, or an outcome is neither 0 nor 1.
    """
    chance, outcome = np.asarray(probability, dtype=np.float64), np.asarray(happened, dtype=np.float64)
    if ((chance < 0) | (chance > 1)).any():
        raise ParameterError("Invalid probabilities: all must be between 0 and 1.")
    check_binary(outcome)
    score: FloatArray = (chance - outcome) ** 2
    return score


def reliability(
    probability: ArrayLike,
    happened: ArrayLike,
    dates: Labels | None = None,
    *,
    bins: int = 10,
    binning: Binning = "quantile",
    confidence: float = 0.95,
    overlap: int = 1,
) -> Reliability:
    """Compute a reliability diagram with counts and intervals, and Murphy's decomposition of the Brier score.

    Murphy 1973, "A New Vector Partition of the Probability Score"; the within-bin part is that of Stephenson, Coelho &
    Jolliffe 2008, "Two Extra Components in the Brier Score Decomposition". Reliability and resolution are both biased
    upwards for small bins: with n forecasts in K bins by about K / n of the uncertainty.

    Args:
        probability: Between 0 and 1. [n]
        happened: True or false; pairs with a NaN are ignored. [n]
        dates: Date of each forecast, for the intervals. None: independent forecasts. [n]
        bins: Maximum number of bins.
        binning: ``quantile``: equal numbers of forecasts; ``width``: equal parts of 0 to 1.
        confidence: Confidence level of the Wilson intervals.
        overlap: Number of successive dates whose outcomes overlap: ⌈horizon / steps between dates⌉.

    Raises:
        ParameterError: If an argument is out of range or the sizes differ.
    """
    if bins < 1:
        raise ParameterError(f"Invalid number of bins {bins}: choose at least 1.")
    if binning not in ("quantile", "width"):
        raise ParameterError(f"Invalid binning '{binning}': choose 'quantile' or 'width'.")
    data = build_panel(dates, probability, happened)
    chance, outcome = data.columns
    scores = brier(chance, outcome)
    if not data.n:
        return Reliability((), _NAN, _NAN, _NAN, _NAN, _NAN, 0)
    days = None if dates is None else data.codes
    number = _bins(chance, bins, binning)
    parts = tuple(
        _bin(chance[inside], outcome[inside], None if days is None else days[inside], confidence, overlap)
        for inside in (number == i for i in np.unique(number))
    )
    weight = np.array([part.n for part in parts]) / data.n
    forecast = np.array([part.forecast for part in parts])
    observed = np.array([part.observed.estimate for part in parts])
    mean, base = float(scores.mean()), float(outcome.mean())
    rel, res = float(weight @ (forecast - observed) ** 2), float(weight @ (observed - base) ** 2)
    uncertainty = base * (1 - base)
    return Reliability(parts, mean, rel, res, uncertainty, mean - rel + res - uncertainty, data.n)


def _bins(chance: FloatArray, bins: int, binning: Binning) -> Codes:
    """Assign each forecast to a bin; equal probabilities share one."""
    inner = np.arange(1, bins) / bins
    edges = np.unique(np.quantile(chance, inner)) if binning == "quantile" else inner
    return np.searchsorted(edges, chance, side="right")


def _bin(
    chance: FloatArray, outcome: FloatArray, days: Codes | None, confidence: float, overlap: int
) -> ReliabilityBin:
    observed = proportion(outcome, days, confidence=confidence, overlap=overlap)
    return ReliabilityBin(float(chance.min()), float(chance.max()), len(chance), float(chance.mean()), observed)

"""Probabilities of events, such as that the price rises: their score, and whether they mean what they say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.metrics.estimates import Estimate, Significance
from kronos.metrics.panel import Codes, Labels, choose_lags, degrees_of_freedom, effective_size, panel, standard_error
from kronos.metrics.proportions import Method, proportion
from kronos.typing import FloatArray

_NAN = float("nan")


@dataclass(frozen=True)
class Direction:
    """How often the sign was right.

    Attributes:
        hit_rate: Share of right signs among the decided, with an interval.
        test: Pesaran and Timmermann's: is it more than calls of the same kind made at random would be right?
        up_predicted: Share of calls that say up.
        up_observed: Share of outcomes that went up: what always saying up would score.
        undecided: Known pairs left out because the forecast or the outcome is exactly 0.
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
    """Hit rate of the sign, with an interval and Pesaran and Timmermann's test.

    Args:
        predicted: `[n]` numbers whose sign is the call: a median return, or a probability minus one half.
        observed: `[n]` returns.
        dates: `[n]` each pair's date. None: each its own, independent.
        method: The interval's kind, as in `proportion`.
        confidence: Level of the interval.
        overlap: How many successive dates share part of their outcome: ⌈horizon / steps between dates⌉.
        seed: Of the bootstrap.

    Raises:
        ParameterError: If an argument is out of its range or the sizes differ.
    """
    data = panel(dates, predicted, observed)
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
    """Test that signs are forecast better than by chance, against independence of call and outcome; one-sided.

    Pesaran & Timmermann 1992, "A Simple Nonparametric Test of Predictive Performance": the hit rate minus the one
    that independent calls, up as often as these, would have. Always the same call has no power and gives NaN.
    Without dates as published, for independent observations. With dates the same difference, which is twice the
    covariance of call and outcome, over its standard error by date with Newey and West's variance (as Blaskowitz &
    Herwartz 2014, "Testing the value of directional forecasts in the presence of serial correlation").

    Args:
        predicted: `[n]` numbers whose sign is the call; pairs with a 0 or something unknown are left out.
        observed: `[n]` returns.
        dates: `[n]` each pair's date. None: each its own, independent.
        overlap: How many successive dates share part of their outcome: ⌈horizon / steps between dates⌉.
        lags: Autocovariances that count; None chooses.

    Returns:
        The estimate is the hit rate beyond chance; the p-value the probability of so much by chance.

    Raises:
        ParameterError: If an argument is out of its range or the sizes differ.
    """
    from scipy.special import ndtr, stdtr

    nonzero = [np.where(np.asarray(a, dtype=np.float64) == 0, np.nan, a) for a in (predicted, observed)]
    data = panel(dates, *nonzero)
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
    """√(V(P) - V(P*)) of Pesaran & Timmermann 1992, equation 6; NaN where that is not positive."""
    n, x, y = len(calls), float(calls.mean()), float(outcomes.mean())
    chance = x * y + (1 - x) * (1 - y)
    spread_x, spread_y = x * (1 - x), y * (1 - y)
    expected = ((2 * y - 1) ** 2 * spread_x + (2 * x - 1) ** 2 * spread_y + 4 * spread_x * spread_y / n) / n
    variance = chance * (1 - chance) / n - expected
    return math.sqrt(variance) if variance > 0 else _NAN


Binning = Literal["quantile", "width"]


@dataclass(frozen=True)
class ReliabilityBin:
    """Forecasts of about the same probability.

    Attributes:
        low: Smallest probability among them.
        high: Largest.
        n: How many forecasts.
        forecast: Their mean probability.
        observed: How often it happened, with an interval; calibrated if that holds ``forecast``.
    """

    low: float
    high: float
    n: int
    forecast: float
    observed: Estimate


@dataclass(frozen=True)
class Reliability:
    """Reliability of probabilities, and the Brier score's parts.

    brier = reliability - resolution + uncertainty + within, exactly.

    Attributes:
        bins: The bins that hold a forecast, by rising probability.
        brier: Mean Brier score.
        reliability: Mean squared distance of each bin's forecast from what happened; 0 if calibrated.
        resolution: Mean squared distance of what happened in each bin from what happens on average; 0 if the
            forecasts tell nothing.
        uncertainty: Variance of what happened: the score of always forecasting its mean share.
        within: What differences among forecasts of one bin add; 0 if there are none.
        n: Known forecasts.
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
        """Brier skill score against always forecasting the mean share; NaN if it always or never happened."""
        return 1 - self.brier / self.uncertainty if self.uncertainty > 0 else _NAN


def brier(probability: ArrayLike, happened: ArrayLike) -> FloatArray:
    """Brier score (probability - happened)², elementwise; 0 is perfect, 0.25 what one half always scores.

    Brier 1950, "Verification of Forecasts Expressed in Terms of Probability", for one of two outcomes (half his
    sum over both).

    Args:
        probability: Between 0 and 1; NaN where unknown.
        happened: True or false, 1 or 0, NaN where unknown.

    Raises:
        ParameterError: If a probability is outside 0 to 1, or what happened is neither 0 nor 1.
    """
    chance, outcome = np.asarray(probability, dtype=np.float64), np.asarray(happened, dtype=np.float64)
    if ((chance < 0) | (chance > 1)).any():
        raise ParameterError("Probabilities lie between 0 and 1; these do not.")
    if not ((outcome == 0) | (outcome == 1) | np.isnan(outcome)).all():
        raise ParameterError("What happened is true or false, 1 or 0, or NaN where unknown.")
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
    """Reliability diagram with counts and intervals, and Murphy's decomposition of the Brier score.

    Murphy 1973, "A New Vector Partition of the Probability Score"; the rest that bins leave is that of Stephenson,
    Coelho & Jolliffe 2008, "Two Extra Components in the Brier Score Decomposition". Reliability and resolution are
    both a little too large when bins are small: with n forecasts in K bins by about K / n of the uncertainty.

    Args:
        probability: `[n]` between 0 and 1.
        happened: `[n]` true or false; pairs with something unknown are left out.
        dates: `[n]` each forecast's date, for the intervals. None: each its own, independent.
        bins: How many bins at most.
        binning: ``quantile``: as many forecasts in each; ``width``: equal parts of 0 to 1.
        confidence: Level of the intervals, Wilson's.
        overlap: How many successive dates share part of their outcome: ⌈horizon / steps between dates⌉.

    Raises:
        ParameterError: If an argument is out of its range or the sizes differ.
    """
    if bins < 1 or binning not in ("quantile", "width"):
        raise ParameterError(f"Bins are at least 1, of equal 'quantile' or 'width', not {bins} of '{binning}'.")
    data = panel(dates, probability, happened)
    chance, outcome = data.columns
    scores = brier(chance, outcome)
    if not data.n:
        return Reliability((), _NAN, _NAN, _NAN, _NAN, _NAN, 0)
    days = None if dates is None else data.codes
    number = _bins(chance, bins, binning)
    made = tuple(
        _bin(chance[here], outcome[here], None if days is None else days[here], confidence, overlap)
        for here in (number == i for i in np.unique(number))
    )
    weight = np.array([part.n for part in made]) / data.n
    forecast = np.array([part.forecast for part in made])
    observed = np.array([part.observed.estimate for part in made])
    mean, base = float(scores.mean()), float(outcome.mean())
    rel, res = float(weight @ (forecast - observed) ** 2), float(weight @ (observed - base) ** 2)
    uncertainty = base * (1 - base)
    return Reliability(made, mean, rel, res, uncertainty, mean - rel + res - uncertainty, data.n)


def _bins(chance: FloatArray, bins: int, binning: Binning) -> Codes:
    """Number of each forecast's bin; equal probabilities share one."""
    inner = np.arange(1, bins) / bins
    edges = np.unique(np.quantile(chance, inner)) if binning == "quantile" else inner
    return np.searchsorted(edges, chance, side="right")


def _bin(
    chance: FloatArray, outcome: FloatArray, days: Codes | None, confidence: float, overlap: int
) -> ReliabilityBin:
    observed = proportion(outcome, days, confidence=confidence, overlap=overlap)
    return ReliabilityBin(float(chance.min()), float(chance.max()), len(chance), float(chance.mean()), observed)

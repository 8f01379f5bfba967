"""Probabilities of events, such as that the price rises: their score, and whether they mean what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.metrics.estimates import Estimate
from kronos.metrics.panels import Codes, Labels, panel
from kronos.metrics.scores import Array
from kronos.metrics.shares import proportion

_NAN = float("nan")

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


def brier(probability: ArrayLike, happened: ArrayLike) -> Array:
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
    score: Array = (chance - outcome) ** 2
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


def _bins(chance: Array, bins: int, binning: Binning) -> Codes:
    """Number of each forecast's bin; equal probabilities share one."""
    inner = np.arange(1, bins) / bins
    edges = np.unique(np.quantile(chance, inner)) if binning == "quantile" else inner
    return np.searchsorted(edges, chance, side="right")


def _bin(chance: Array, outcome: Array, days: Codes | None, confidence: float, overlap: int) -> ReliabilityBin:
    observed = proportion(outcome, days, confidence=confidence, overlap=overlap)
    return ReliabilityBin(float(chance.min()), float(chance.max()), len(chance), float(chance.mean()), observed)

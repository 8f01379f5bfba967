"""Up or down: how often the sign is right, and whether that is more than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kronos.metrics.estimates import Estimate, Significance
from kronos.metrics.panels import Labels, choose_lags, effective_size, freedom, panel, standard_error
from kronos.metrics.scores import Array
from kronos.metrics.shares import Method, proportion

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
    p_value = float(stdtr(freedom(data.dates, chosen), -statistic))
    size = effective_size(data, products - excess, error)
    return Significance(excess, statistic, p_value, data.n, size, data.dates, chosen)


def _classical_error(calls: Array, outcomes: Array) -> float:
    """√(V(P) - V(P*)) of Pesaran & Timmermann 1992, equation 6; NaN where that is not positive."""
    n, x, y = len(calls), float(calls.mean()), float(outcomes.mean())
    chance = x * y + (1 - x) * (1 - y)
    spread_x, spread_y = x * (1 - x), y * (1 - y)
    expected = ((2 * y - 1) ** 2 * spread_x + (2 * x - 1) ** 2 * spread_y + 4 * spread_x * spread_y / n) / n
    variance = chance * (1 - chance) / n - expected
    return math.sqrt(variance) if variance > 0 else _NAN

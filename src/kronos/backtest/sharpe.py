"""Sharpe ratios: estimates with bootstrap intervals, and what remains of one after the trials behind it.

Sources:

- Sharpe 1994, "The Sharpe Ratio": mean over standard deviation of returns, times the square root of the periods a year.
- Bailey & López de Prado 2012, "The Sharpe Ratio Efficient Frontier": the probabilistic Sharpe ratio (PSR) and the
  minimum track record length.
- Bailey & López de Prado 2014, "The Deflated Sharpe Ratio": the PSR against the best ratio that trials without skill
  are expected to reach.
- Lo 2002, "The Statistics of Sharpe Ratios", for the influence of a return on the ratio.

Functions named ``…_of`` take moments, the others returns. Ratios are per period where nothing else is said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kronos.errors import ParameterError
from kronos.metrics import Estimate, block_length
from kronos.metrics.bootstrap import REPETITIONS, date_weights, percentile_interval
from kronos.metrics.estimates import check_confidence
from kronos.typing import FloatArray

_NAN = math.nan


@dataclass(frozen=True, slots=True)
class SharpeMoments:
    """What the probabilistic Sharpe ratio needs of a series of returns.

    Attributes:
        sharpe: Mean over standard deviation (T - 1), per period; NaN without variation.
        periods: Number of returns T.
        skewness: Third standardised moment; 0 for normal returns.
        kurtosis: Fourth standardised moment, not in excess; 3 for normal returns.
    """

    sharpe: float
    periods: int
    skewness: float = 0.0
    kurtosis: float = 3.0

    @property
    def variance_factor(self) -> float:
        """Variance of √T · ratio: 1 − γ₃ SR + (γ₄ − 1) / 4 · SR²; equation 4 of Bailey & López de Prado 2012."""
        return 1 - self.skewness * self.sharpe + (self.kurtosis - 1) / 4 * self.sharpe**2


def sharpe_moments(returns: FloatArray) -> SharpeMoments:
    """Moments of returns `[T]` less the risk-free rate."""
    if len(returns) < 2:
        return SharpeMoments(_NAN, len(returns), _NAN, _NAN)
    deviations = returns - returns.mean()
    variance = float(deviations @ deviations) / len(returns)
    if not variance > 1e-30:  # a constant series leaves only the rounding of its mean
        return SharpeMoments(_NAN, len(returns), _NAN, _NAN)
    deviation = math.sqrt(variance * len(returns) / (len(returns) - 1))
    return SharpeMoments(
        sharpe=float(returns.mean()) / deviation,
        periods=len(returns),
        skewness=float((deviations**3).mean()) / variance**1.5,
        kurtosis=float((deviations**4).mean()) / variance**2,
    )


def sharpe_ratio(
    returns: FloatArray,
    periods_a_year: float,
    *,
    confidence: float = 0.95,
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> Estimate:
    """Annualised Sharpe ratio with a stationary-bootstrap interval.

    With returns in excess of a benchmark this is the information ratio. The mean block length is that of the influence
    function of the ratio, z − SR / 2 · (z² − 1) for standardised returns z.

    Args:
        returns: Returns per period, less the risk-free rate. [T]
        periods_a_year: Periods a year, such as 252.
        confidence: Confidence level.
        repetitions: Bootstrap repetitions.
        seed: Random seed.

    Raises:
        ParameterError: If an argument is out of range.
    """
    check_confidence(confidence)
    if repetitions < 1:
        raise ParameterError(f"Invalid number of bootstrap repetitions {repetitions}: choose at least 1.")
    size, scale = len(returns), math.sqrt(periods_a_year)
    own = sharpe_moments(returns).sharpe
    if math.isnan(own):
        return Estimate(_NAN, _NAN, _NAN, confidence, "bootstrap", size, float(size), size)
    scores = (returns - returns.mean()) / returns.std(ddof=1)
    influence = scores - own / 2 * (scores**2 - 1)
    block = block_length(influence)
    ratios = np.concatenate(
        [_resampled(weights, returns, size) for weights in date_weights(size, block, repetitions, seed)]
    )
    low, high = percentile_interval(ratios, confidence, size / block)
    error = float(np.nanstd(ratios))
    effective = float(np.clip(influence.var() / error**2, 1.0, size)) if error > 0 else float(size)
    return Estimate(
        own * scale, low * scale, high * scale, confidence, "bootstrap", size, effective, size, max(1.0, block)
    )


def _resampled(weights: FloatArray, returns: FloatArray, size: int) -> FloatArray:
    """Ratios of resamples, from how often each return is drawn `[R, T]`.

    A resample without variation counts as 0: left out, a single gain among days of 0 would have an interval above 0.
    """
    mean = weights @ returns / size
    variance = (weights @ returns**2 / size - mean**2) * size / (size - 1)
    varies = variance > max(1e-30, 1e-9 * float(returns.var()))
    ratios: FloatArray = np.where(varies, mean / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
    return ratios


def probabilistic_sharpe_ratio_of(moments: SharpeMoments, benchmark: float = 0.0) -> float:
    """Probability that the true ratio is above a benchmark: Φ((SR − SR*) √(T − 1) / √(1 − γ₃ SR + (γ₄ − 1) / 4 · SR²)).

    Bailey & López de Prado 2012, equation 9; equals ``skfolio.measures.probabilistic_sharpe_ratio``.

    Args:
        moments: Moments of the returns.
        benchmark: The other ratio SR*, per period.
    """
    from scipy.special import ndtr

    if not (moments.periods > 2 and moments.variance_factor > 0):
        return _NAN
    excess = (moments.sharpe - benchmark) * math.sqrt(moments.periods - 1)
    return float(ndtr(excess / math.sqrt(moments.variance_factor)))


def probabilistic_sharpe_ratio(returns: FloatArray, benchmark: float = 0.0) -> float:
    """The probability that the true ratio of returns `[T]` is above a benchmark, both per period; NaN if unknown."""
    return probabilistic_sharpe_ratio_of(sharpe_moments(returns), benchmark)


def expected_max_sharpe(trials: int, deviation: float) -> float:
    """Ratio that the best of trials without skill is expected to show.

    E[max] ≈ σ · ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e))) with Euler's constant γ; Bailey & López de Prado 2014,
    equation 1. It assumes independent trials: variants of one strategy are alike, so that fewer count.

    Args:
        trials: Number of trials N; of one, nothing was selected, and 0 is expected.
        deviation: Standard deviation σ of the trials' ratios. Without skill it is about 1 / √years for annual ratios.

    Raises:
        ParameterError: If there is no trial or the deviation is negative.
    """
    from scipy.special import ndtri

    if trials < 1:
        raise ParameterError(f"Invalid number of trials {trials}: count at least the one at hand.")
    if not (deviation >= 0 and math.isfinite(deviation)):
        raise ParameterError(f"Invalid deviation {deviation} of the trials' ratios: choose 0 or more.")
    if trials == 1:
        return 0.0
    quantiles = ndtri([1 - 1 / trials, 1 - 1 / (trials * math.e)])
    return float(deviation * ((1 - np.euler_gamma) * quantiles[0] + np.euler_gamma * quantiles[1]))


def trial_deviation(periods: int, ratios: Sequence[float] = ()) -> float:
    """Standard deviation of the ratios of trials, per period.

    Args:
        periods: Returns of a trial T.
        ratios: Ratios of the trials, per period; with fewer than two it is 1 / √(T − 1), that of trials without skill.
    """
    known = [ratio for ratio in ratios if math.isfinite(ratio)]
    if len(known) > 1:
        return float(np.std(known, ddof=1))
    return 1 / math.sqrt(max(1, periods - 1))


def deflated_sharpe_ratio_of(moments: SharpeMoments, trials: int, deviation: float) -> float:
    """The PSR against `expected_max_sharpe`: probability that the best of the trials has a true ratio above 0.

    Bailey & López de Prado 2014, equation 2. At 0.95 or above, chance in so many trials is no plausible explanation.

    Args:
        moments: Moments of the returns of the best trial.
        trials: Number of trials.
        deviation: Standard deviation of the trials' ratios, per period.
    """
    return probabilistic_sharpe_ratio_of(moments, expected_max_sharpe(trials, deviation))


def deflated_sharpe_ratio(returns: FloatArray, trials: int, deviation: float | None = None) -> float:
    """The deflated Sharpe ratio of returns `[T]`; the deviation is that of trials without skill if None."""
    own = trial_deviation(len(returns)) if deviation is None else deviation
    return deflated_sharpe_ratio_of(sharpe_moments(returns), trials, own)


def minimum_track_record(moments: SharpeMoments, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """Number of returns after which this ratio would be above a benchmark with the given confidence.

    1 + (1 − γ₃ SR + (γ₄ − 1) / 4 · SR²) (Φ⁻¹(confidence) / (SR − SR*))²; Bailey & López de Prado 2012, equation 11.
    Infinite if the ratio is not above the benchmark.
    """
    from scipy.special import ndtri

    check_confidence(confidence)
    if math.isnan(moments.sharpe):
        return _NAN
    if moments.sharpe <= benchmark:
        return math.inf
    return 1 + moments.variance_factor * (float(ndtri(confidence)) / (moments.sharpe - benchmark)) ** 2


__all__ = [
    "SharpeMoments",
    "deflated_sharpe_ratio",
    "deflated_sharpe_ratio_of",
    "expected_max_sharpe",
    "minimum_track_record",
    "probabilistic_sharpe_ratio",
    "probabilistic_sharpe_ratio_of",
    "sharpe_moments",
    "sharpe_ratio",
    "trial_deviation",
]

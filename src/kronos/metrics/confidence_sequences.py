"""Confidence sequences and tests that stay valid however often, and whenever, somebody looks.

A 95 % confidence interval is right with probability 0.95 at one number of values that was fixed in advance; of many
looks at a growing record far more than 5 % mislead. A confidence sequence contains what it estimates at all numbers of
values at once with probability 1 - α. It rests on a capital that a bettor against the null hypothesis would own, a
non-negative supermartingale that starts at 1: Ville's inequality says that it ever reaches 1 / α with probability α at
most.

Values may depend on what came before in any way. What is estimated is their conditional mean given the past: with
`empirical_bernstein_sequence` the average so far, which may drift; with `betting_sequence` and `betting_test` a
constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kronos.errors import ParameterError
from kronos.typing import FloatArray

TRUNCATION = 0.5  # largest share of the capital that a bet risks (Waudby-Smith & Ramdas 2023, section 4.2: ½ or ¾)
_GRID = 1000  # cells of the means of which a betting sequence decides
_ROWS = 100  # of them at a time
_STEPS = 60  # of Newton's method and of bisection: enough for all digits


@dataclass(frozen=True, eq=False)
class ConfidenceSequence:
    """Estimate and bounds after each value.

    The bounds are not intersected with earlier ones: what is estimated may itself move.

    Attributes:
        estimate: Mean of the values so far. [n]
        lower: Lower bounds. [n]
        upper: Upper bounds. [n]
        alpha: Probability at most of ever being wrong on either side.
    """

    estimate: FloatArray
    lower: FloatArray
    upper: FloatArray
    alpha: float


@dataclass(frozen=True, eq=False)
class BettingTest:
    """Evidence against a constant conditional mean after each value.

    Attributes:
        log_above: Logarithm of the capital of a bettor on a higher mean. [n]
        log_below: Logarithm of the capital of a bettor on a lower mean. [n]
        p_values: Anytime-valid p-values: under the null hypothesis any of them is at most α with probability α. [n]
    """

    log_above: FloatArray
    log_below: FloatArray
    p_values: FloatArray

    def rejects(self, alpha: float) -> tuple[bool, bool]:
        """Return whether the mean was found too low and too high, both together at level α so far."""
        threshold = math.log(2 / check_alpha(alpha))
        return bool((self.log_above >= threshold).any()), bool((self.log_below >= threshold).any())


def check_alpha(alpha: float) -> float:
    """Validate an error probability.

    Raises:
        ParameterError: If it is not strictly between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ParameterError(f"Invalid alpha {alpha}: choose a number between 0 and 1, for example 0.05.")
    return float(alpha)


def empirical_bernstein_sequence(
    values: ArrayLike, *, low: float, high: float, alpha: float = 0.05, optimal_variance: float = 1.0
) -> ConfidenceSequence:
    """Bound the running average of the conditional means of bounded values.

    Howard, Ramdas, McAuliffe & Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences", theorem
    4 and proposition 9; as theorem 2 of Choe & Ramdas 2023, "Comparing sequential forecasters".

    Let c = high - low, μᵢ the conditional mean of xᵢ and γᵢ a prediction of xᵢ within the range: the mean of the
    earlier values, first the middle. By Fan, Grama & Liu 2015, exp(λξ - ψ(λ) ξ²) ≤ 1 + λξ for ξ ≥ -1, 0 ≤ λ < 1 and
    ψ(λ) = -log(1 - λ) - λ. As xᵢ - γᵢ ≥ -c, take ξ = (xᵢ - γᵢ) / c. Expectations, and 1 + y ≤ exp(y), give
    E exp(λ (xᵢ - μᵢ) / c - ψ(λ) (xᵢ - γᵢ)² / c²) ≤ 1. So for each λ, with S the sum of (xᵢ - μᵢ) / c and V that of
    (xᵢ - γᵢ)² / c², exp(λS - ψ(λ)V) is a supermartingale. The scale is c itself, not half of it, because x may lie as
    far below γ as the range is wide. A mixture over λ (`gamma_exponential_bound`) bounds S at all times by u(V) with
    probability 1 - α / 2, hence the average of the μᵢ from below by the mean of the xᵢ minus c u(V) / n; mirrored
    values give the other side.

    Args:
        values: Values in the order of time. [n]
        low: Smallest possible value.
        high: Largest possible value.
        alpha: Error probability of both sides together.
        optimal_variance: V at which the bounds are to be narrowest, fixed before the first value.

    Returns:
        The sequence; bounds are clipped to the range.

    Raises:
        ParameterError: If a value is outside the range or unknown, or an argument is out of range.
    """
    check_alpha(alpha)
    if not low < high:
        raise ParameterError(f"Invalid range {low} to {high}: the first number must be smaller.")
    x = (_check_values(values, low, high) - low) / (high - low)
    count = np.arange(1, len(x) + 1)
    means = np.cumsum(x) / count
    predicted = np.concatenate([[0.5], means[:-1]])[: len(x)]
    variance = np.cumsum((x - predicted) ** 2)
    radius = gamma_exponential_bound(variance, alpha / 2, optimal_variance) / count
    lower, upper = np.maximum(means - radius, 0), np.minimum(means + radius, 1)
    estimate, lower, upper = (low + (high - low) * part for part in (means, lower, upper))
    return ConfidenceSequence(estimate, lower, upper, alpha)


def gamma_exponential_bound(variance: ArrayLike, alpha: float, optimal_variance: float = 1.0) -> FloatArray:
    """Compute u(V): a sum S of scale 1 with intrinsic time V ever exceeds it with probability α at most.

    Howard et al. 2021, proposition 9: exp(λS - ψ(λ)V) is mixed over λ with the density proportional to
    (1 - λ)^(ρ - 1) exp(ρλ) on 0 to 1, a gamma distribution of 1 - λ cut off at 1, which gives

    m(S, V) = ρ^ρ / (Γ(ρ) P(ρ, ρ)) · Γ(V + ρ) P(V + ρ, S + V + ρ) / (S + V + ρ)^(V + ρ) · exp(S + V),

    with P the regularised lower incomplete gamma function, and u(V) solves m(u, V) = 1 / α. ρ is the one that makes a
    normal mixture narrowest at the optimal variance (their section 3.5, approximated by log log).

    Args:
        variance: Intrinsic times V, in squares of the scale.
        alpha: Error probability of one side.
        optimal_variance: V at which the bound is to be tightest.

    Raises:
        ParameterError: If an argument is out of range.
    """
    from scipy.special import gammainc, gammaln

    if not optimal_variance > 0:
        raise ParameterError(f"Invalid optimal variance {optimal_variance}: choose a positive number.")
    v = np.asarray(variance, dtype=np.float64)
    threshold = -math.log(check_alpha(alpha))
    evidence = -2 * math.log(min(2 * alpha, 0.99))
    rho = optimal_variance / (evidence + math.log1p(evidence))
    shape = v + rho
    constant = rho * math.log(rho) - gammaln(rho) - np.log(gammainc(rho, rho)) + gammaln(shape)
    # log m is convex in S, as of every mixture of exp(λS): Newton's method comes from above and stays on the safe side.
    bound = np.sqrt(2 * shape * threshold) + threshold
    for _ in range(_STEPS):
        argument = bound + shape
        inner = gammainc(shape, argument)
        excess = constant + np.log(inner) - shape * np.log(argument) + bound + v - threshold
        density = np.exp((shape - 1) * np.log(argument) - argument - gammaln(shape)) / inner
        step = excess / (1 - shape / argument + density)
        bound = bound - step
        if (np.abs(step) <= 1e-12 * bound).all():
            break
    return np.asarray(bound, dtype=np.float64)


def betting_sequence(values: ArrayLike, alpha: float = 0.05) -> ConfidenceSequence:
    """Bound the constant conditional mean of values between 0 and 1 by the hedged capital of bettors.

    Waudby-Smith & Ramdas 2023, "Estimating means of bounded random variables by betting", theorem 3 (PrPl-±). For each
    candidate mean m one bettor multiplies the capital by 1 + λᵢ (xᵢ - m), another by 1 - λᵢ (xᵢ - m), with bets λᵢ that
    depend on earlier values only and risk at most half of the capital. If m is the mean, neither ever reaches 2 / α
    with probability 1 - α. The first capital falls and the second rises with m, so the means that are left form an
    interval. It is found on a grid of 0.001 and rounded outwards.

    Args:
        values: Values between 0 and 1 in the order of time. [n]
        alpha: Error probability of both sides together.

    Raises:
        ParameterError: If a value is outside 0 to 1 or unknown, or alpha is out of range.
    """
    x = _check_values(values, 0.0, 1.0)
    bets = _predictable_bets(x, check_alpha(alpha))
    threshold = math.log(2 / alpha)
    grid = np.linspace(0, 1, _GRID + 1)
    rejected = np.zeros((2, len(x)), dtype=np.int64)
    for start in range(0, len(grid), _ROWS):
        means = grid[start : start + _ROWS, None]
        for count, above in zip(rejected, (True, False), strict=True):
            count += (np.cumsum(_log_factors(x, bets, means, above=above), axis=1) >= threshold).sum(axis=0)
    lower, upper = grid[np.maximum(rejected[0] - 1, 0)], grid[::-1][np.maximum(rejected[1] - 1, 0)]
    return ConfidenceSequence(np.cumsum(x) / np.arange(1, len(x) + 1), lower, upper, alpha)


def betting_interval(values: ArrayLike, alpha: float = 0.05) -> tuple[float, float]:
    """Return the last bounds of `betting_sequence`, to all digits, without those before.

    Raises:
        ParameterError: As `betting_sequence`.
    """
    x = _check_values(values, 0.0, 1.0)
    bets = _predictable_bets(x, check_alpha(alpha))
    threshold = math.log(2 / alpha)
    ends = []
    for above in (True, False):
        # The rejected end of the range, and its other end, which is rejected only by values that are all equal to it.
        outer, inner = (0.0, 1.0) if above else (1.0, 0.0)
        for _ in range(_STEPS):
            middle = (outer + inner) / 2
            if _log_factors(x, bets, np.array(middle), above=above).sum() >= threshold:
                outer = middle
            else:
                inner = middle
        ends.append(outer)
    return ends[0], ends[1]


def betting_test(values: ArrayLike, mean: float, alpha: float = 0.05) -> BettingTest:
    """Test whether every conditional mean of values between 0 and 1 is ``mean``, after each value.

    It bets as `betting_sequence` does, and rejects at level α exactly if that sequence has ever excluded the mean. The
    average of both capitals is an e-process, and the inverse of its maximum so far the p-value.

    Args:
        values: Values between 0 and 1 in the order of time. [n]
        mean: Mean under the null hypothesis, strictly between 0 and 1.
        alpha: Level that the bets are tuned to; the p-values are valid at all.

    Raises:
        ParameterError: If a value is outside 0 to 1 or unknown, or an argument is out of range.
    """
    if not 0 < mean < 1:
        raise ParameterError(f"Invalid mean {mean}: choose a number between 0 and 1.")
    x = _check_values(values, 0.0, 1.0)
    bets = _predictable_bets(x, check_alpha(alpha))
    above, below = (np.cumsum(_log_factors(x, bets, np.array(mean), above=side)) for side in (True, False))
    log_evidence = np.maximum.accumulate(np.logaddexp(above, below) - math.log(2))
    return BettingTest(above, below, np.exp(-np.maximum(log_evidence, 0)))


def _predictable_bets(x: FloatArray, alpha: float) -> FloatArray:
    """Compute the predictable plug-in bets of Waudby-Smith & Ramdas 2023, equation 26, before truncation. [n]."""
    count = np.arange(1, len(x) + 1)
    means = (0.5 + np.cumsum(x)) / (count + 1)
    variances = (0.25 + np.cumsum((x - means) ** 2)) / (count + 1)
    earlier = np.concatenate([[0.25], variances[:-1]])[: len(x)]
    bets: FloatArray = np.sqrt(2 * math.log(2 / alpha) / (earlier * count * np.log1p(count)))
    return bets


def _log_factors(x: FloatArray, bets: FloatArray, means: FloatArray, *, above: bool) -> FloatArray:
    """Compute the logarithms of the factors of the capital of a bettor on a mean above, or below, the given ones.

    Args:
        x: Values. [n]
        bets: Bets before truncation. [n]
        means: Means under the null hypotheses; a scalar or `[m, 1]`.
        above: Which bettor.
    """
    # The most that a value can lose him is its distance from the far end: the mean itself, or what it lacks of 1.
    with np.errstate(divide="ignore"):
        largest = TRUNCATION / (means if above else 1 - means)
    risked = np.minimum(bets, largest)
    return np.asarray(np.log1p(risked * (x - means) if above else risked * (means - x)))


def _check_values(values: ArrayLike, low: float, high: float) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64).ravel()
    if x.size and not (x.min() >= low and x.max() <= high):  # a NaN is neither
        raise ParameterError(f"Invalid values: all must be between {low} and {high}.")
    return x

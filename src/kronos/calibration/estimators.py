"""Estimators of calibration factors with clustered standard errors.

Factors of location (anchor, drift, pooling) minimise the mean fair CRPS (Gneiting et al. 2005, "Calibrated
probabilistic forecasting using ensemble model output statistics and minimum CRPS estimation"): the paths depend
linearly on the factor, x₍ₖ₎(θ) = a₍ₖ₎ + θ d₍ₖ₎ in ascending order, so the score is convex and piecewise linear in θ,
and the best θ is a weighted quantile. Factors of width (dispersion, conformal) are quantiles of past errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from kronos.typing import FloatArray

Blocks = NDArray[np.int64]

_MAX_BLOCKS = 30
_ORIGINS_PER_BLOCK = 10  # at least, on average
_DENSITY_WEIGHT = 0.05  # share of the weight on either side that a density is estimated from
_ZERO = 1e-12


def time_blocks(dates: NDArray[np.datetime64]) -> Blocks:
    """Assign origins to blocks of neighbouring times; origins of one time are in one block.

    About one block per ten origins, at most 30, of similar size. Errors within a block may be dependent in any way
    (overlapping horizons, instruments that move together); blocks count as independent.
    """
    times, positions, counts = np.unique(dates, return_inverse=True, return_counts=True)
    number = min(_MAX_BLOCKS, len(dates) // _ORIGINS_PER_BLOCK, len(times))
    earlier = np.cumsum(counts) - counts
    blocks: Blocks = (earlier * max(number, 1) // len(dates))[positions]
    return blocks


def minimise_crps(
    start: FloatArray,
    change: FloatArray,
    actual: FloatArray,
    blocks: Blocks,
    bounds: tuple[float, float],
    neutral: float = 0.0,
    averaging: float = 0.0,
    resolution: FloatArray | float = 0.0,
) -> tuple[float, float]:
    """Find the factor θ that minimises the mean fair CRPS of a + θ · d, and its standard error.

    For paths in fixed order the fair CRPS of an origin is mean |a₍ₖ₎ + θ d₍ₖ₎ - y| - Σ ωₖ (a₍ₖ₎ + θ d₍ₖ₎), with the
    weights ωₖ of `kronos.metrics.crps`. Its derivative increases by 2 |d₍ₖ₎| / S where θ passes (y - a₍ₖ₎) / d₍ₖ₎, so
    the minimum is a quantile of these ratios weighted by |d|. The standard error is the sandwich estimator of
    M-estimation (Huber 1967), with derivatives summed within blocks (Liang & Zeger 1986); at least the error for which
    θ differs from the neutral factor by as many standard errors as the derivative at the neutral factor differs from
    zero (the score test of Rao 1948), which remains valid where the score hardly depends on θ.

    Args:
        start: a, ordered; S at least 2. [N, S]
        change: d; a + θ d ascends for every θ within the bounds. [N, S]
        actual: Outcomes y. [N]
        blocks: Result of `time_blocks`. [N]
        bounds: Smallest and largest θ.
        neutral: Neutral factor.
        averaging: Correction of the summed scores, as a multiple of θ (1 - θ); see `averaging_gain`.
        resolution: Corrections of the origins' scores, as multiples of 1 - θ; see `resolution_gain`. [N]

    Returns:
        θ and its standard error; NaN and infinity if the score does not depend on θ.
    """
    size = start.shape[1]
    weights = np.abs(change)
    total = float(weights.sum())
    if total <= _ZERO * change.size:
        return float("nan"), float("inf")
    narrowing = change @ order_weights(size) + resolution  # [N]
    depends = weights > 0
    ratios = np.divide(actual[:, None] - start, change, out=np.zeros_like(weights), where=depends)[depends]
    crossings = _Crossings.of(ratios, weights[depends], bounds)
    curvature = size * averaging  # of the summed derivative, times S / 2
    value = crossings.first_reaching(0.5 * (total + size * float(narrowing.sum()) - curvature), curvature)
    low, high = crossings.around(value, _DENSITY_WEIGHT * total)
    slope = 2 / size * (2 * _DENSITY_WEIGHT * total / (high - low) - curvature) if high > low else 0.0
    if slope <= 0:
        return float("nan"), float("inf")

    def derivative(theta: float) -> tuple[float, float]:
        """Return the derivative of the summed scores and its standard error."""
        terms = (change * np.sign(start + theta * change - actual[:, None])).mean(axis=1) - narrowing
        return float(terms.sum()) + averaging * (1 - 2 * theta), clustered_error(terms, blocks)

    error = derivative(value)[1] / slope
    neutral_slope, noise = derivative(neutral)
    if (value - neutral) * neutral_slope >= 0:  # the score rises from neutral towards θ, so θ is not better
        return value, error if value == neutral else math.inf
    return value, max(error, (neutral - value) * noise / neutral_slope)


@dataclass(frozen=True)
class _Crossings:
    """Ratios within the bounds in ascending order, and the cumulative weight at each."""

    ratios: FloatArray
    cumulative: FloatArray
    below: float
    bounds: tuple[float, float]

    @classmethod
    def of(cls, ratios: FloatArray, weights: FloatArray, bounds: tuple[float, float]) -> _Crossings:
        below = float(weights[ratios < bounds[0]].sum())
        inside = (ratios >= bounds[0]) & (ratios <= bounds[1])  # saves sorting the rest
        ratios, weights = ratios[inside], weights[inside]
        order = np.argsort(ratios)
        return cls(ratios[order], below + np.cumsum(weights[order]), below, bounds)

    def first_reaching(self, target: float, curvature: float = 0.0) -> float:
        """Return the first θ at which cumulative weight less ``curvature`` · θ reaches ``target``, else a bound."""
        if self.below - curvature * self.bounds[0] >= target:
            return self.bounds[0]
        reaching = np.flatnonzero(self.cumulative - curvature * self.ratios >= target)
        return float(self.ratios[reaching[0]]) if len(reaching) else self.bounds[1]

    def around(self, value: float, weight: float) -> tuple[float, float]:
        """Return the interval of θ around a value that contains ``weight`` on either side."""
        position = int(np.searchsorted(self.ratios, value))
        centre = float(self.cumulative[min(position, len(self.cumulative) - 1)]) if len(self.cumulative) else self.below
        return self.first_reaching(centre - weight), self.first_reaching(centre + weight)


def averaging_gain(values: FloatArray, baseline: FloatArray, paths: tuple[int, int]) -> float:
    """Return by how much rank-wise averaging of samples lowers their summed fair CRPS regardless of skill.

    The sampling errors of the k-th values of two samples are independent, so their average has a smaller error, like
    that of a larger sample, while the fair score still corrects for S draws. The sampling error of a sample costs
    ½ E|x - x'| / S; averaging saves θ (1 - θ) times the sum of both. Without this correction, two samples of the same
    distribution would receive equal weights instead of the neutral one.

    Args:
        values: Ordered values of the model. [N, S]
        baseline: Ordered values of the baseline. [N, S]
        paths: Numbers of independent paths behind the two.

    Returns:
        The gain, as a multiple of θ (1 - θ).
    """
    weights = order_weights(values.shape[1])
    return float((values @ weights).sum() / paths[0] + (baseline @ weights).sum() / paths[1])


def resolution_gain(baseline: FloatArray, paths: tuple[int, int]) -> FloatArray:
    """Return by how much the fair CRPS of a baseline is lowered by its larger number of paths, `[N]`.

    Quantiles of S' draws at k / (S + 1) have the sampling error of S' draws, while the fair score corrects for S draws.
    Without this correction the baseline would be preferred to an equally good model by 1.6 % of its CRPS with 250 paths
    instead of 50.

    Args:
        baseline: Ordered values of the baseline. [N, S]
        paths: Numbers of independent paths behind the model's values and the baseline's.
    """
    gain: FloatArray = (baseline @ order_weights(baseline.shape[1])) * (1 / paths[0] - 1 / paths[1])
    return gain


def order_weights(size: int) -> FloatArray:
    """Return weights on S ordered values whose weighted sum is half their fair mean absolute difference."""
    weights: FloatArray = (2 * np.arange(size) - (size - 1)) / (size * (size - 1))
    return weights


def clustered_error(terms: FloatArray, blocks: Blocks) -> float:
    """Return the standard error of a sum of terms that are independent between blocks; infinite with one block.

    At least that of independent terms, because few blocks can be similar by chance.
    """
    centred = terms - terms.mean()
    number, count = len(np.unique(blocks)), len(terms)
    if number < 2:
        return math.inf
    between = number / (number - 1) * float(np.square(np.bincount(blocks, weights=centred)).sum())
    return math.sqrt(max(between, count / (count - 1) * float(np.square(centred).sum())))


def conformal_quantile(scores: FloatArray, level: float, blocks: Blocks) -> tuple[float, float]:
    """Return the ⌈(n + 1) · level⌉-th smallest score and its standard error.

    The rank has the finite-sample correction of split conformal prediction: a new score that is exchangeable with these
    n does not exceed it with a probability of at least ``level`` (Vovk, Gammerman & Shafer 2005; Papadopoulos et al.
    2002). With fewer than level / (1 - level) scores, where it would be infinite, it is the largest. The standard error
    is that of the quantile, with the density from a difference of quantiles (bandwidth of Bofinger 1975, "Estimation of
    a density function using order statistics") and indicators summed within blocks.
    """
    ranked = np.sort(scores)
    number = len(ranked)
    value = float(ranked[min(math.ceil(round((number + 1) * level, 9)), number) - 1])
    bandwidth = _bandwidth(number, level)
    low, high = np.quantile(ranked, [level - bandwidth, level + bandwidth])
    density = 2 * bandwidth / (high - low) if high > low else math.inf
    error = clustered_error((scores <= value).astype(np.float64), blocks) / number
    return value, error / density if math.isfinite(density) else math.inf


def _bandwidth(number: int, level: float) -> float:
    """Return Bofinger's bandwidth for the density at a quantile, optimal for normal scores."""
    normal = NormalDist()
    z = normal.inv_cdf(level)
    optimal = (4.5 * normal.pdf(z) ** 4 / (2 * z**2 + 1) ** 2 / number) ** 0.2
    return float(min(optimal, 0.5 * level, 0.5 * (1 - level)))

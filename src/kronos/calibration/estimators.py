"""Factors that score best on past forecasts, with honest standard errors.

Where paths belong (anchor, drift, pooling) is estimated by the least mean fair CRPS (Gneiting et al. 2005,
"Calibrated probabilistic forecasting using ensemble model output statistics and minimum CRPS estimation"): the paths
depend linearly on the factor, x₍ₖ₎(θ) = a₍ₖ₎ + θ d₍ₖ₎ in ascending order, so the score is convex and piecewise linear
in θ, and the best θ is a weighted quantile that needs no search. How wide they belong (dispersion, conformal) is
estimated by quantiles of past errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from kronos.typing import FloatArray

Blocks = NDArray[np.int64]

_MOST_BLOCKS = 30
_PER_BLOCK = 10  # origins at least, on average
_REACH = 0.05  # of the weight, to either side, to measure a density with
_NOTHING = 1e-12


def blocks_of(dates: NDArray[np.datetime64]) -> Blocks:
    """Number each origin's block of neighbours in time; what happens at one time is never in two.

    About one block for ten origins, at most 30, of about equal size. Errors of forecasts within a block may
    depend on each other in any way (origins that overlap, instruments that move together); only those of
    different blocks count as independent.
    """
    times, place, counts = np.unique(dates, return_inverse=True, return_counts=True)
    number = min(_MOST_BLOCKS, len(dates) // _PER_BLOCK, len(times))
    before = np.cumsum(counts) - counts
    blocks: Blocks = (before * max(number, 1) // len(dates))[place]
    return blocks


def minimise_crps(
    start: FloatArray,
    change: FloatArray,
    actual: FloatArray,
    blocks: Blocks,
    bounds: tuple[float, float],
    neutral: float = 0.0,
    averaging: float = 0.0,
    finer: FloatArray | float = 0.0,
) -> tuple[float, float]:
    """The factor θ at which a + θ · d has the least mean fair CRPS, and its standard error.

    With the order kept, an origin's fair CRPS is mean |a₍ₖ₎ + θ d₍ₖ₎ - y| - Σ ωₖ (a₍ₖ₎ + θ d₍ₖ₎), with the weights
    ωₖ of `kronos.metrics.crps`. Its derivative changes by 2 |d₍ₖ₎| / S where θ passes (y - a₍ₖ₎) / d₍ₖ₎, so the
    sum over all origins is zero at a quantile of those ratios weighted by |d|. The standard error is the
    sandwich of M-estimation (Huber 1967), with derivatives summed within blocks (Liang & Zeger 1986); but at least
    the one with which θ is as many errors from the neutral factor as the derivative there is from zero (the score
    test of Rao 1948), which stays right where the score hardly depends on θ.

    Args:
        start: a, `[N, S]`, S at least 2.
        change: d, `[N, S]`; a + θ d ascends for every θ within the bounds.
        actual: y, `[N]`.
        blocks: `[N]` of `blocks_of`.
        bounds: Least and greatest θ to look at.
        neutral: The factor to tell θ from.
        averaging: What is added to the summed scores, as a multiple of θ (1 - θ); see `averaging_gain`.
        finer: What is added to each origin's score, as a multiple of 1 - θ, `[N]`; see `finer_gain`.

    Returns:
        θ and its standard error; NaN and infinity if nothing depends on it.
    """
    size = start.shape[1]
    weights = np.abs(change)
    total = float(weights.sum())
    if total <= _NOTHING * change.size:
        return float("nan"), float("inf")
    narrowing = change @ order_weights(size) + finer  # [N]
    depends = weights > 0
    ratios = np.divide(actual[:, None] - start, change, out=np.zeros_like(weights), where=depends)[depends]
    passed = _Crossings.of(ratios, weights[depends], bounds)
    bend = size * averaging  # of the summed derivative, times S / 2
    value = passed.where_reaches(0.5 * (total + size * float(narrowing.sum()) - bend), bend)
    low, high = passed.around(value, _REACH * total)
    slope = 2 / size * (2 * _REACH * total / (high - low) - bend) if high > low else 0.0
    if slope <= 0:
        return float("nan"), float("inf")

    def derivative(theta: float) -> tuple[float, float]:
        """Of the summed scores, and its standard error."""
        each = (change * np.sign(start + theta * change - actual[:, None])).mean(axis=1) - narrowing
        return float(each.sum()) + averaging * (1 - 2 * theta), clustered_error(each, blocks)

    error = derivative(value)[1] / slope
    push, noise = derivative(neutral)
    if (value - neutral) * push >= 0:  # the score rises on the way: it is no better there
        return value, error if value == neutral else math.inf
    return value, max(error, (neutral - value) * noise / push)


@dataclass(frozen=True)
class _Crossings:
    """Weight that is passed as θ grows: ascending ratios within the bounds, and the weight up to each."""

    ratios: FloatArray
    reached: FloatArray
    below: float
    bounds: tuple[float, float]

    @classmethod
    def of(cls, ratios: FloatArray, weights: FloatArray, bounds: tuple[float, float]) -> _Crossings:
        below = float(weights[ratios < bounds[0]].sum())
        inside = (ratios >= bounds[0]) & (ratios <= bounds[1])  # the rest need not be sorted
        ratios, weights = ratios[inside], weights[inside]
        order = np.argsort(ratios)
        return cls(ratios[order], below + np.cumsum(weights[order]), below, bounds)

    def where_reaches(self, goal: float, bend: float = 0.0) -> float:
        """The first θ at which the weight passed, less ``bend`` · θ, reaches a goal; a bound if none does."""
        if self.below - bend * self.bounds[0] >= goal:
            return self.bounds[0]
        there = np.flatnonzero(self.reached - bend * self.ratios >= goal)
        return float(self.ratios[there[0]]) if len(there) else self.bounds[1]

    def around(self, value: float, reach: float) -> tuple[float, float]:
        """The θ before and after which a weight of ``reach`` lies, counted from a value."""
        place = int(np.searchsorted(self.ratios, value))
        here = float(self.reached[min(place, len(self.reached) - 1)]) if len(self.reached) else self.below
        return self.where_reaches(here - reach), self.where_reaches(here + reach)


def averaging_gain(values: FloatArray, baseline: FloatArray, paths: tuple[int, int]) -> float:
    """By how much averaging ordered samples lowers their summed fair CRPS whatever they know, over θ (1 - θ).

    The k-th values of two independent samples err independently, so their average errs less, like one of a larger
    sample, while the fair score still allows for S draws. With half the mean absolute difference ½ E|x - x'| of
    each sample, a draw costs that over S; averaging saves θ (1 - θ) times the sum of both. That is no merit of
    the model's: without this, two samples of one distribution would be given half the weight each.

    Args:
        values: `[N, S]` ordered.
        baseline: `[N, S]` ordered.
        paths: How many independent paths each of the two comes from.
    """
    weights = order_weights(values.shape[1])
    return float((values @ weights).sum() / paths[0] + (baseline @ weights).sum() / paths[1])


def finer_gain(baseline: FloatArray, paths: tuple[int, int]) -> FloatArray:
    """By how much a baseline's fair CRPS is lowered, whatever it knows, by taking its values from more paths, `[N]`.

    Quantiles of S' draws at k / (S + 1) err as S' draws do, while the fair score allows for S of them; without this
    the baseline would be preferred to a model that is as good, by 1.6 % of its CRPS with 250 paths for 50.

    Args:
        baseline: `[N, S]` ordered.
        paths: How many independent paths the model's values and the baseline's come from.
    """
    gain: FloatArray = (baseline @ order_weights(baseline.shape[1])) * (1 / paths[0] - 1 / paths[1])
    return gain


def order_weights(size: int) -> FloatArray:
    """Weights on S ordered values that sum them to half their fair mean absolute difference."""
    weights: FloatArray = (2 * np.arange(size) - (size - 1)) / (size * (size - 1))
    return weights


def clustered_error(terms: FloatArray, blocks: Blocks) -> float:
    """Standard error of a sum whose terms are independent between blocks only; infinite with one block.

    At least that of independent terms, because few blocks can look alike by chance.
    """
    centred = terms - terms.mean()
    number, count = len(np.unique(blocks)), len(terms)
    if number < 2:
        return math.inf
    between = number / (number - 1) * float(np.square(np.bincount(blocks, weights=centred)).sum())
    return math.sqrt(max(between, count / (count - 1) * float(np.square(centred).sum())))


def conformal_quantile(scores: FloatArray, level: float, blocks: Blocks) -> tuple[float, float]:
    """The ⌈(n + 1) · level⌉-th smallest score, and its standard error.

    That rank is the finite-sample correction of split conformal prediction: if a new score is exchangeable with
    these n, it is not above that one with a probability of at least ``level`` (Vovk, Gammerman & Shafer 2005;
    Papadopoulos et al. 2002). With fewer than level / (1 - level) scores it would be infinite, and is the
    greatest. The error is the quantile's, with the density from a difference of quantiles (bandwidth of Bofinger 1975,
    "Estimation of a density function using order statistics"), and indicators summed within blocks.
    """
    ranked = np.sort(scores)
    number = len(ranked)
    value = float(ranked[min(math.ceil(round((number + 1) * level, 9)), number) - 1])
    reach = _bandwidth(number, level)
    low, high = np.quantile(ranked, [level - reach, level + reach])
    density = 2 * reach / (high - low) if high > low else math.inf
    error = clustered_error((scores <= value).astype(np.float64), blocks) / number
    return value, error / density if math.isfinite(density) else math.inf


def _bandwidth(number: int, level: float) -> float:
    """How far to either side of a quantile's level to measure the density, best for normal scores; Bofinger's."""
    normal = NormalDist()
    z = normal.inv_cdf(level)
    best = (4.5 * normal.pdf(z) ** 4 / (2 * z**2 + 1) ** 2 / number) ** 0.2
    return float(min(best, 0.5 * level, 0.5 * (1 - level)))

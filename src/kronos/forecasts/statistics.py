"""Statistics of sample paths, on plain arrays.

Quantiles are interpolated at k / (S + 1) (Weibull; type 6 of Hyndman & Fan 1996, "Sample Quantiles in Statistical
Packages"): if the outcome is distributed like one more path, it lies below the k-th smallest of S with exactly that
probability, so a central 80 % band of 30 paths covers 80 %. NumPy's default, type 7, covers 75 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.typing import FloatArray

_Z95 = 1.959963984540054  # the normal distribution's 97.5 % quantile


class Probability(float):
    """The probability of an event, estimated from sample paths; usable as a float.

    If the event happens on k of n paths, the value is (k + ½) / (n + 1): the posterior mean under Jeffreys' prior
    Beta(½, ½), which is never 0 or 1 (Jeffreys 1946; Brown, Cai & DasGupta 2001, "Interval Estimation for a Binomial
    Proportion"). The 95 % interval is Wilson's score interval (Wilson 1927) around k / n.

    Attributes:
        count: Number of paths on which the event happens.
        paths: Number of paths.
        low: Lower end of the 95 % confidence interval.
        high: Upper end of the 95 % confidence interval.
    """

    __slots__ = ("count", "high", "low", "paths")

    count: int
    paths: int
    low: float
    high: float

    def __new__(cls, count: int, paths: int) -> Probability:
        """Estimate a probability from ``count`` events on ``paths`` paths.

        Raises:
            ParameterError: If there is no path, or ``count`` is not between 0 and ``paths``.
        """
        if paths < 1 or not 0 <= count <= paths:
            raise ParameterError(f"Invalid count {count} of {paths} paths: 0 ≤ count ≤ paths and paths ≥ 1.")
        probability = super().__new__(cls, (count + 0.5) / (paths + 1))
        probability.count, probability.paths = count, paths
        probability.low, probability.high = _wilson(count, paths)
        return probability

    @classmethod
    def of(cls, events: ArrayLike) -> Probability:
        """Estimate a probability from one boolean per path, `[S]`."""
        flags = np.asarray(events, dtype=bool)
        return cls(int(flags.sum()), flags.size)

    @property
    def value(self) -> float:
        """The probability as a plain float."""
        return float(self)

    def to_dict(self) -> dict[str, float | int]:
        """Return value, interval, count and number of paths, ready for JSON."""
        return {
            "value": float(self),
            "low": self.low,
            "high": self.high,
            "count": self.count,
            "paths": self.paths,
        }

    def __reduce__(self) -> tuple[type[Probability], tuple[int, int]]:
        return Probability, (self.count, self.paths)

    def __str__(self) -> str:
        low, high = _rounded(self.low), _rounded(self.high)
        dash = "–" if (low + high).isdigit() else " – "  # not 96–> 99
        return f"{_rounded(self)} % ({low}{dash}{high} %, {self.paths} paths)"

    def __repr__(self) -> str:
        return f"Probability({float(self):.4g}, low={self.low:.4g}, high={self.high:.4g}, paths={self.paths})"


def _wilson(count: int, paths: int) -> tuple[float, float]:
    """Wilson's 95 % score interval; exactly 0 or 1 at the end where rounding would miss it."""
    share, square = count / paths, _Z95**2
    centre = (share + square / (2 * paths)) / (1 + square / paths)
    half = _Z95 / (1 + square / paths) * math.sqrt(share * (1 - share) / paths + square / (4 * paths**2))
    low = 0.0 if count == 0 else max(0.0, centre - half)
    high = 1.0 if count == paths else min(1.0, centre + half)
    return low, high


def _rounded(value: float) -> str:
    """Format a percentage that never reads 0 or 100."""
    if value < 0.01:
        return "< 1"
    if value > 0.99:
        return "> 99"
    return f"{100 * value:.0f}"


BANDS = (0.5, 0.8, 0.95)  # the central bands that are shown, scored and exported
SAME_PRICE = 1e-8  # log returns closer than this are of equal prices: rounding in float32 leaves as much


def check_levels(levels: Sequence[float]) -> list[float]:
    """Convert quantile levels to floats.

    Raises:
        ParameterError: If there are no levels, or one is not strictly between 0 and 1.
    """
    checked = [float(level) for level in levels]
    if not checked or not all(0 < level < 1 for level in checked):
        raise ParameterError(f"Invalid levels {list(levels)}: choose numbers between 0 and 1, for example 0.05.")
    return checked


def band_levels(level: float) -> tuple[float, float]:
    """Return the lower and upper quantile level of a central band: 0.1 and 0.9 for 0.8."""
    (level,) = check_levels([level])
    tail = round((1 - level) / 2, 12)  # 0.1, not 0.09999999999999998
    return tail, round(1 - tail, 12)


def sample_quantiles(samples: ArrayLike, levels: Sequence[float], axis: int = 0) -> FloatArray:
    """Compute quantiles of samples at k / (S + 1) (type 6 of Hyndman & Fan 1996).

    A level below 1 / (S + 1) or above S / (S + 1) yields the smallest or largest sample: nominal coverage takes 39
    samples for the 95 % band and 9 for the 80 % band.

    Args:
        samples: S samples along ``axis``, any shape.
        levels: Quantile levels strictly between 0 and 1.
        axis: Axis of the samples.

    Returns:
        The quantiles, with the levels on a new first axis. [levels, ...]

    Raises:
        ParameterError: If a level is not strictly between 0 and 1.
    """
    quantiles: FloatArray = np.quantile(
        np.asarray(samples, dtype=np.float64), check_levels(levels), axis=axis, method="weibull"
    )
    return quantiles


def log_returns(prices: FloatArray) -> FloatArray:
    """Return ln(price / previous price) along the last axis: one value fewer than there are prices."""
    returns: FloatArray = np.diff(np.log(prices), axis=-1)
    return returns


def medoid(closes: FloatArray) -> int:
    """Return the index of the path with the smallest sum of Euclidean distances to the others, in logs of `[S, H]`."""
    logs = np.log(closes)
    logs = logs - logs.mean(axis=0)  # centred: the products below would lose digits otherwise
    squares = np.einsum("sh,sh->s", logs, logs)
    totals = np.empty(len(logs))
    for start in range(0, len(logs), 256):  # in blocks, because S² distances of 10⁵ paths do not fit in memory
        block = slice(start, start + 256)
        distances = squares[block, None] + squares[None, :] - 2 * logs[block] @ logs.T
        totals[block] = np.sqrt(np.maximum(distances, 0)).sum(axis=1)
    return int(totals.argmin())


def expected_shortfall(returns: FloatArray, level: float) -> float:
    """Return the mean loss over the worst share ``1 - level`` of the paths, the last of them weighted by its fraction.

    Acerbi & Tasche 2002, "On the coherence of expected shortfall", equation 4.12 for a finite sample. With fewer than
    one path in the tail it is the loss of the worst path.
    """
    ordered = np.sort(returns)
    tail = max(1.0, round((1 - level) * len(ordered), 9))
    weights = np.clip(tail - np.arange(len(ordered)), 0.0, 1.0)
    return float(-(ordered @ weights) / tail)

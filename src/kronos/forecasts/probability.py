"""A probability estimated from sampled paths, which never reads 0 % or 100 %.

The value is smoothed as Jeffreys' prior does it, the interval is Wilson's. Both speak of the finite number of
paths only: whether the model's paths are right is a matter of calibration, which no number of paths mends.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError

_Z95 = 1.959963984540054  # the normal distribution's 97.5 % quantile


class Probability(float):
    """The share of paths on which something happens, usable as a float.

    With k of n paths, the value is (k + ½) / (n + 1): the posterior mean under Jeffreys' prior Beta(½, ½), so
    it is never 0 or 1 (Jeffreys 1946; Brown, Cai & DasGupta 2001, "Interval Estimation for a Binomial
    Proportion"). The 95 % interval is Wilson's score interval (Wilson 1927) around k / n.

    Attributes:
        count: On how many paths it happens.
        paths: How many paths there are.
        low: Lower end of the 95 % interval that the number of paths allows.
        high: Its upper end.
    """

    __slots__ = ("count", "high", "low", "paths")

    count: int
    paths: int
    low: float
    high: float

    def __new__(cls, count: int, paths: int) -> Probability:
        """Estimate a probability from ``count`` hits among ``paths`` paths.

        Raises:
            ParameterError: If there is no path, or ``count`` is not between 0 and ``paths``.
        """
        if paths < 1 or not 0 <= count <= paths:
            raise ParameterError(f"A probability needs 0 ≤ count ≤ paths and a path, not {count} of {paths}.")
        probability = super().__new__(cls, (count + 0.5) / (paths + 1))
        probability.count, probability.paths = count, paths
        probability.low, probability.high = _wilson(count, paths)
        return probability

    @classmethod
    def of(cls, happens: ArrayLike) -> Probability:
        """Estimate it from one truth value a path, `[S]`."""
        flags = np.asarray(happens, dtype=bool)
        return cls(int(flags.sum()), flags.size)

    @property
    def value(self) -> float:
        """The plain number."""
        return float(self)

    def to_dict(self) -> dict[str, float | int]:
        """Value, interval, count and number of paths, ready for JSON."""
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
    """Wilson's 95 % score interval; its ends are exactly 0 and 1 where count is 0 or all."""
    share, square = count / paths, _Z95**2
    centre = (share + square / (2 * paths)) / (1 + square / paths)
    half = _Z95 / (1 + square / paths) * math.sqrt(share * (1 - share) / paths + square / (4 * paths**2))
    low = 0.0 if count == 0 else max(0.0, centre - half)
    high = 1.0 if count == paths else min(1.0, centre + half)
    return low, high


def _rounded(value: float) -> str:
    """A percentage that never reads 0 or 100."""
    if value < 0.01:
        return "< 1"
    if value > 0.99:
        return "> 99"
    return f"{100 * value:.0f}"

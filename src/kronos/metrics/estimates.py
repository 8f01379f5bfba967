"""What the metrics answer: a number, how sure it is, and how much it rests on."""

from __future__ import annotations

from dataclasses import dataclass

from kronos.errors import ParameterError


@dataclass(frozen=True)
class Estimate:
    """A mean, share or ratio with an interval.

    Attributes:
        estimate: The number itself; NaN if nothing is known.
        low: Lower end of the interval; NaN where it cannot be told, as from a single date.
        high: Upper end.
        confidence: The interval's level, usually 0.95.
        method: How the interval was made: ``bootstrap``, ``wilson`` or ``clopper-pearson``.
        n: Known observations.
        effective_n: How many independent observations would be as sure; at most ``n``.
        dates: Distinct dates among them.
        block: Mean length in dates of the blocks that were resampled; 1 where none were.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    method: str
    n: int
    effective_n: float
    dates: int
    block: float = 1.0

    @property
    def blocks(self) -> float:
        """How many independent stretches of time it rests on; below ten an interval is a rough guess."""
        return self.dates / self.block


@dataclass(frozen=True)
class Significance:
    """A test of a null hypothesis.

    Attributes:
        estimate: What is tested: a mean difference, a distance; NaN if nothing is known.
        statistic: The test's statistic; NaN where it cannot be told.
        p_value: Probability of a statistic at least as extreme if the null hypothesis holds.
        n: Known observations.
        effective_n: How many independent observations would be as sure; at most ``n``.
        dates: Distinct dates among them.
        lags: Autocovariances that entered the variance, counted in dates; 0 where none did.
    """

    estimate: float
    statistic: float
    p_value: float
    n: int
    effective_n: float
    dates: int
    lags: int = 0


def check_confidence(confidence: float) -> float:
    """The level of an interval, checked.

    Raises:
        ParameterError: If it is not strictly between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ParameterError(f"A confidence lies strictly between 0 and 1, for example 0.95, not {confidence}.")
    return float(confidence)

"""Result types of the metrics: estimates with intervals, and hypothesis tests."""

from __future__ import annotations

from dataclasses import dataclass

from kronos.errors import ParameterError


@dataclass(frozen=True)
class Estimate:
    """A mean, proportion or ratio with a confidence interval.

    Attributes:
        estimate: The estimate; NaN without observations.
        low: Lower end of the interval; NaN if undetermined, for example with a single date.
        high: Upper end.
        confidence: Confidence level of the interval, usually 0.95.
        method: Kind of the interval: ``bootstrap``, ``wilson`` or ``clopper-pearson``.
        n: Number of known observations.
        effective_n: Number of independent observations with the same standard error; at most ``n``.
        dates: Number of distinct dates.
        block: Mean length of the resampled blocks, in dates; 1 without resampling.
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
        """Number of independent blocks of time; with fewer than ten the interval is rough."""
        return self.dates / self.block


@dataclass(frozen=True)
class Significance:
    """Result of a hypothesis test.

    Attributes:
        estimate: The tested quantity, such as a mean difference or a distance; NaN without observations.
        statistic: The test statistic; NaN if undetermined.
        p_value: Probability of a statistic at least as extreme under the null hypothesis.
        n: Number of known observations.
        effective_n: Number of independent observations with the same standard error; at most ``n``.
        dates: Number of distinct dates.
        lags: Number of autocovariances in the variance, in dates.
    """

    estimate: float
    statistic: float
    p_value: float
    n: int
    effective_n: float
    dates: int
    lags: int = 0


def check_confidence(confidence: float) -> float:
    """Validate a confidence level.

    Raises:
        ParameterError: If it is not strictly between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ParameterError(f"Invalid confidence {confidence}: choose a number between 0 and 1, for example 0.95.")
    return float(confidence)

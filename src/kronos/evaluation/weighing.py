"""Means over groups: every group counts the same, so that the largest market doesn't decide.

Groups of fewer than `LEAST` origins are left out of such a mean, because a handful of forecasts would weigh as much as
thousands; they stand in the tables by themselves. If all are that small, all count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kronos.metrics import Estimate, skill

LEAST = 100  # origins of a group that a mean over groups takes in


def counted(groups: ArrayLike) -> set[str]:
    """The groups that a mean over groups takes in.

    Args:
        groups: The group of each origin. [N]
    """
    names, counts = np.unique(np.asarray(groups, dtype=np.str_), return_counts=True)
    large = {str(name) for name in names[counts >= LEAST]}
    return large or {str(name) for name in names}


def equal_weights(groups: ArrayLike) -> NDArray[np.float64]:
    """Weights, 1 on average, by which every group counts the same.

    Args:
        groups: The group of each row. [N]
    """
    names, place, counts = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = (len(place) / max(1, len(names)) / counts)[place]
    return weights


def equal_mean(values: ArrayLike, groups: ArrayLike) -> float:
    """The mean of the groups' means; NaN if nothing is known.

    Args:
        values: NaN where unknown, which doesn't make its group count less. [N]
        groups: The group of each. [N]
    """
    numbers, labels = np.asarray(values, dtype=np.float64), np.asarray(groups, dtype=np.str_)
    known = ~np.isnan(numbers)
    return float((numbers[known] * equal_weights(labels[known])).mean()) if known.any() else float("nan")


def equal_skill(losses: ArrayLike, reference: ArrayLike, groups: ArrayLike, dates: ArrayLike, overlap: int) -> Estimate:
    """`kronos.metrics.skill` of the groups' mean losses, every group counting the same.

    Args:
        losses: NaN where unknown. [N]
        reference: Likewise. [N]
        groups: The group of each. [N]
        dates: Of each. [N]
        overlap: As for `kronos.metrics.skill`.
    """
    own, other = (np.asarray(one, dtype=np.float64) for one in (losses, reference))
    known = ~(np.isnan(own) | np.isnan(other))
    weights = equal_weights(np.asarray(groups, dtype=np.str_)[known])
    return skill(own[known] * weights, other[known] * weights, np.asarray(dates)[known], overlap=overlap)


def equal_share(inside: ArrayLike, groups: ArrayLike, dates: ArrayLike, overlap: int) -> Estimate:
    """The mean of the groups' shares of what is 0 or 1, with its interval by blocks of dates.

    Σ weight · inside / Σ weight, both sums resampled together, because draws differ in what groups they hold.

    Args:
        inside: 0, 1, or NaN. [N]
        groups: The group of each. [N]
        dates: Of each. [N]
        overlap: As for `kronos.metrics.skill`.
    """
    values = np.asarray(inside, dtype=np.float64)
    return equal_skill(1 - values, np.ones(len(values)), groups, dates, overlap)

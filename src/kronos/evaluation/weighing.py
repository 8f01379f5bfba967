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
    weights: NDArray[np.float64] = (len(place) / len(names) / counts)[place]
    return weights


def weighted_share(
    inside: NDArray[np.float64], weights: NDArray[np.float64], dates: NDArray[np.datetime64], overlap: int
) -> Estimate:
    """The weighted mean of what is 0 or 1, with its interval by blocks of dates.

    Σ weight · inside / Σ weight, both sums resampled together, because draws differ in what groups they hold.

    Args:
        inside: 0, 1, or NaN. [N]
        weights: Of each. [N]
        dates: Of each. [N]
        overlap: As for `kronos.metrics.skill`.
    """
    return skill((1 - inside) * weights, weights, dates, overlap=overlap)

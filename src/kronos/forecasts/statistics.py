"""What the sample paths say, computed on plain arrays.

Quantiles interpolate at k / (S + 1) (Weibull; type 6 of Hyndman & Fan 1996, "Sample Quantiles in Statistical
Packages"): if the truth were one more path, the k-th smallest of S would lie above it with exactly that
probability, so a central 80 % band of 30 paths covers 80 %. The usual type 7 covers 75 % there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kronos.errors import ParameterError

Array = NDArray[np.float64]

BANDS = (0.5, 0.8, 0.95)  # the central bands shown, scored and exported everywhere


def check_levels(levels: Sequence[float]) -> list[float]:
    """Levels as floats.

    Raises:
        ParameterError: If there is none, or one is not strictly between 0 and 1.
    """
    checked = [float(level) for level in levels]
    if not checked or not all(0 < level < 1 for level in checked):
        raise ParameterError(f"Levels lie strictly between 0 and 1, for example 0.05, not {list(levels)}.")
    return checked


def band_levels(level: float) -> tuple[float, float]:
    """Lower and upper quantile level of a central band: 0.8 gives 0.1 and 0.9."""
    (level,) = check_levels([level])
    tail = round((1 - level) / 2, 12)  # 0.1, not 0.09999999999999998
    return tail, round(1 - tail, 12)


def sample_quantiles(samples: ArrayLike, levels: Sequence[float], axis: int = 0) -> Array:
    """Quantiles of samples at k / (S + 1) (type 6 of Hyndman & Fan 1996).

    A level below 1 / (S + 1) or above S / (S + 1) cannot be told from S samples and gives the smallest or
    largest: the 95 % band needs 39 samples, the 80 % band 9, to cover what it says.

    Args:
        samples: Any shape, S samples along ``axis``.
        levels: Quantile levels between 0 and 1, both excluded.
        axis: The samples' axis.

    Returns:
        The quantiles, with the levels on a new first axis: `[levels, ...]`.

    Raises:
        ParameterError: If a level is not strictly between 0 and 1.
    """
    quantiles: Array = np.quantile(
        np.asarray(samples, dtype=np.float64), check_levels(levels), axis=axis, method="weibull"
    )
    return quantiles


def medoid(closes: Array) -> int:
    """Index of the path with the least sum of Euclidean distances to the others, in log closes `[S, H]`."""
    logs = np.log(closes)
    logs = logs - logs.mean(axis=0)  # centred, so that the products below keep their digits
    squares = np.einsum("sh,sh->s", logs, logs)
    totals = np.empty(len(logs))
    for begin in range(0, len(logs), 256):  # blocks bound the memory: S² distances are too many for 10⁵ paths
        block = slice(begin, begin + 256)
        distances = squares[block, None] + squares[None, :] - 2 * logs[block] @ logs.T
        totals[block] = np.sqrt(np.maximum(distances, 0)).sum(axis=1)
    return int(totals.argmin())


def expected_loss_beyond(returns: Array, level: float) -> float:
    """Mean loss over the worst share ``1 - level`` of the paths, the last of them counted in part.

    Acerbi & Tasche 2002, "On the coherence of expected shortfall", equation 4.12 for a finite sample. With
    fewer than one path in the tail it is the worst path's loss.
    """
    ordered = np.sort(returns)
    tail = max(1.0, round((1 - level) * len(ordered), 9))
    weights = np.clip(tail - np.arange(len(ordered)), 0.0, 1.0)
    return float(-(ordered @ weights) / tail)

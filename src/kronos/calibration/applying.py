"""Applying fitted curves, part by part, to ordered arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from kronos.calibration import transforms
from kronos.calibration.curves import Curve
from kronos.calibration.parts import CENTRE, LOWER, UPPER

Array = NDArray[np.float64]


def apply_part(
    part: str,
    values: Array,
    factors: Callable[[str], Array],
    has_centre: bool,
    level_error: Array,
    baseline: Array | None,
) -> Array:
    """One part, on ordered values.

    Args:
        part: One of `PARTS`.
        values: Ordered values `[..., S]` in logs, or all in one unit.
        factors: Gives the factors `[...]` of a curve by its name.
        has_centre: Whether the conformal correction moves the median too.
        level_error: `[...]` in the same unit, 0 where unknown.
        baseline: The baseline's ordered values `[..., S]`, in the same unit.
    """
    if part == "anchor":
        return transforms.anchor(values, factors(part), level_error)
    if part == "drift":
        return transforms.shrink_drift(values, factors(part))
    if part == "dispersion":
        return transforms.rescale(values, factors(part))
    if part == "pooling":
        return values if baseline is None else transforms.pool(values, factors(part), baseline)
    return transforms.conform(
        values, [factors(name) for name in (*LOWER, *UPPER)], factors(CENTRE) if has_centre else None
    )


def apply_parts(
    parts: tuple[str, ...],
    curves: Mapping[str, Curve],
    paths: Array,
    steps: NDArray[np.int64],
    groups: NDArray[np.str_],
    level_error: Array,
    baseline: Array | None,
) -> Array:
    """Several parts, on paths `[N, S, H]` of N origins; gives new paths.

    Args:
        parts: In the order they are applied in.
        curves: By name.
        paths: Cumulative log returns.
        steps: `[H]`.
        groups: `[N]` labels.
        level_error: `[N]`, NaN where unknown.
        baseline: `[N, S', H]`, or None without.
    """
    values, owners = transforms.ordered(paths)
    errors = np.broadcast_to(np.nan_to_num(level_error)[:, None], values.shape[:-1])
    other = None if baseline is None else transforms.resized(np.sort(np.swapaxes(baseline, -1, -2)), paths.shape[1])

    def factors(name: str) -> Array:
        return curves[name].of_each(steps, groups)

    for part in parts:
        values = apply_part(part, values, factors, CENTRE in curves, errors, other)
    return transforms.as_paths(values, owners)

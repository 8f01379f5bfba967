"""What a calibration does to paths, on plain arrays.

Every part is a non-decreasing map of what the paths say at one step, so it works on the ordered values and never
changes which path is higher: the paths keep their ranks at every step and thereby their course (member-by-member
post-processing: Van Schaeybroeck & Vannitsem 2015, "Ensemble post-processing using member-by-member approaches";
Schefzik 2017, "Ensemble calibration with preserved correlations"). Mean, bands and probabilities are computed
from the moved paths like from any others, so they agree with each other.

Arrays called *ordered* have the paths on the last axis, ascending: `[..., S]`; factors have the shape before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kronos.forecasts import BANDS
from kronos.forecasts.statistics import band_levels

Array = NDArray[np.float64]
Ranks = NDArray[np.intp]

_LEAST_SLOPE = 0.05  # of the conformal map between two band ends, so that it stays increasing


def ordered(paths: Array) -> tuple[Array, Ranks]:
    """Paths `[..., S, H]` as ordered values `[..., H, S]`, and the path that each value is of."""
    by_step = np.ascontiguousarray(np.swapaxes(paths, -1, -2), dtype=np.float64)
    owners = np.argsort(by_step, axis=-1, kind="stable")
    return np.take_along_axis(by_step, owners, axis=-1), owners


def as_paths(values: Array, owners: Ranks) -> Array:
    """The inverse of `ordered`: values `[..., H, S]` back to the paths that own them, `[..., S, H]`."""
    by_step = np.empty_like(values)
    np.put_along_axis(by_step, owners, values, axis=-1)
    return np.swapaxes(by_step, -1, -2)


def median(values: Array) -> Array:
    """Median of ordered values."""
    size = values.shape[-1]
    middle: Array = 0.5 * (values[..., (size - 1) // 2] + values[..., size // 2])
    return middle


def quantile(values: Array, level: float) -> Array:
    """Quantile of ordered values at k / (S + 1), as `kronos.forecasts.sample_quantiles` takes it."""
    size = values.shape[-1]
    position = min(max(level * (size + 1) - 1, 0.0), size - 1.0)
    low = int(position)
    high = min(low + 1, size - 1)
    between: Array = values[..., low] + (position - low) * (values[..., high] - values[..., low])
    return between


def resized(values: Array, size: int) -> Array:
    """Ordered values of another number of paths: their quantiles at k / (size + 1)."""
    if values.shape[-1] == size:
        return values
    return np.stack([quantile(values, k / (size + 1)) for k in range(1, size + 1)], axis=-1)


def anchor(values: Array, factor: Array, level_error: Array) -> Array:
    """Take a share of the tokenizer's level error at the last known close out: x - a · e."""
    return values - (factor * level_error)[..., None]


def shrink_drift(values: Array, factor: Array) -> Array:
    """Leave a share of the median drift: x - (1 - b) · m, with m the paths' median."""
    return values - ((1 - factor) * median(values))[..., None]


def rescale(values: Array, factor: Array) -> Array:
    """Stretch the deviations from the median: m + c · (x - m)."""
    middle = median(values)[..., None]
    return middle + factor[..., None] * (values - middle)


def pool(values: Array, weight: Array, baseline: Array) -> Array:
    """Average with the baseline's value of the same rank: w · x₍ₖ₎ + (1 - w) · b₍ₖ₎.

    The quantiles are averaged, and the model's ranks say which path gets which value, as in the Schaake shuffle
    (Clark et al. 2004, "The Schaake shuffle"). Mixing, that is taking a share w of the model's paths and 1 - w of
    the baseline's, has no coherent form when w depends on the step, and is too wide when both are calibrated
    (Gneiting & Ranjan 2013, "Combining predictive distributions"); averaged quantiles keep the shape and the
    width between the two (Lichtendahl, Grushka-Cockayne & Winkler 2013, "Is it better to average probabilities
    or quantiles?"). Where model and baseline each knew half of a simulated market, averaging gained 1.0 to 1.4 % of
    CRPS over the better of the two, mixing at its best weight 0.2 to 0.5 %.
    """
    share = weight[..., None]
    return share * values + (1 - share) * baseline


def half_width(values: Array) -> Array:
    """Half the 80 % band: the unit in which a forecast's own spread is counted here."""
    low, high = band_levels(0.8)
    return 0.5 * (quantile(values, high) - quantile(values, low))


def conform(values: Array, shifts: Sequence[Array], centre: Array | None = None) -> Array:
    """Move the ends of the bands, and everything between and beyond them in proportion.

    The map is piecewise linear and increasing, with its corners at the forecast's own median and band ends.
    Beyond the widest band it goes on with that side's average slope. A corner never comes closer to the one
    before it than a twentieth of their old distance, so that ranks stay. Equal paths stay equal.

    Args:
        values: Ordered values `[..., S]`.
        shifts: By how much each end moves outwards, in units of `half_width`: for the lower ends of the 50, 80
            and 95 % bands, then the upper ends; each `[...]`.
        centre: By how much the median moves, in the same unit; not at all if None.
    """
    middle, unit = median(values), half_width(values)
    moved = middle if centre is None else middle + centre * unit
    result = np.repeat(moved[..., None], values.shape[-1], axis=-1)
    for sign, ends in ((-1.0, shifts[: len(BANDS)]), (1.0, shifts[len(BANDS) :])):
        offset = sign * (moved - middle)  # the ends are told from where they were, the map starts from the new median
        deviation = np.maximum(sign * (values - middle[..., None]), 0.0)
        result += sign * _ramps(deviation, _corners(values, middle, sign), [s * unit - offset for s in ends])
    return result


def _corners(values: Array, middle: Array, sign: float) -> list[Array]:
    """Distances of one side's band ends from the median, inner first."""
    sides = [band_levels(band)[sign > 0] for band in BANDS]
    return [np.maximum(sign * (quantile(values, level) - middle), 0.0) for level in sides]


def _ramps(deviation: Array, corners: list[Array], shifts: list[Array]) -> Array:
    """One side of the map: distances from the median `[..., S]` to new ones, corner by corner."""
    before = np.zeros_like(corners[0])
    reached = np.zeros_like(before)
    result = np.zeros_like(deviation)
    for corner, shift in zip(corners, shifts, strict=True):
        length = corner - before
        stretched = np.maximum(corner + shift - reached, _LEAST_SLOPE * length)
        slope = np.divide(stretched, length, out=np.ones_like(length), where=length > 0)
        result += slope[..., None] * np.clip(deviation - before[..., None], 0.0, length[..., None])
        before, reached = corner, reached + np.where(length > 0, stretched, 0.0)
    tail = np.divide(reached, before, out=np.ones_like(before), where=before > 0)
    result += tail[..., None] * np.maximum(deviation - before[..., None], 0.0)
    return result

"""The transformations of paths that a calibration consists of, on plain arrays.

Each part is a non-decreasing map of the paths' values at one step. It is applied to the ordered values and preserves
the ranks of the paths at every step, and thereby their dependence between steps (member-by-member post-processing: Van
Schaeybroeck & Vannitsem 2015, "Ensemble post-processing using member-by-member approaches"; Schefzik 2017, "Ensemble
calibration with preserved correlations"). Mean, bands and probabilities are computed from the transformed paths, so
they are consistent.

*Ordered* arrays have the paths on the last axis, ascending: `[..., S]`; factors have the shape before it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kronos.calibration.curves import Curve
from kronos.errors import ParameterError
from kronos.forecasts import BANDS, Forecast
from kronos.forecasts.statistics import band_levels
from kronos.typing import FloatArray, IntArray

PARTS = ("anchor", "drift", "dispersion", "pooling", "conformal")

# Smallest and largest factor, and the neutral one, which applies without evidence against it: no anchoring, no drift,
# no scaling, no weight against the baseline. A model has to prove its skill.
LIMITS = {"anchor": (0.0, 1.0), "drift": (0.0, 1.0), "dispersion": (1 / 8, 8.0), "pooling": (0.0, 1.0)}
NEUTRAL = {"anchor": 0.0, "drift": 0.0, "dispersion": 1.0, "pooling": 0.0}

BASELINE_PATHS = 250  # of a baseline to pool with, so that its quantiles add little sampling error

LEVELS = tuple(sorted(end for band in BANDS for end in band_levels(band)))
LOWER = tuple(f"conformal q{level:g}" for level in LEVELS[: len(BANDS)][::-1])  # inner first
UPPER = tuple(f"conformal q{level:g}" for level in LEVELS[len(BANDS) :])
CENTRE = "conformal q0.5"


def check_parts(parts: Sequence[str]) -> tuple[str, ...]:
    """Validate names of parts, and return them in order of application.

    Raises:
        ParameterError: If a name is unknown.
    """
    names = (parts,) if isinstance(parts, str) else tuple(parts)
    for name in names:
        if name not in PARTS:
            matches = difflib.get_close_matches(str(name), PARTS, n=1)
            hint = f"did you mean '{matches[0]}'?" if matches else f"choose from {', '.join(PARTS)}."
            raise ParameterError(f"Unknown part '{name}' of a calibration: {hint}")
    return tuple(part for part in PARTS if part in names)


def curve_names(part: str, *, symmetric: bool) -> tuple[str, ...]:
    """Return the names of the curves of a part."""
    if part != "conformal":
        return (part,)
    return (*LOWER, *UPPER) if symmetric else (*LOWER, CENTRE, *UPPER)


Ranks = NDArray[np.intp]

_MIN_SLOPE = 0.05  # of the conformal map between two band ends, which keeps it increasing
_CANDLE_SCALES = (1 / 8, 8.0)  # limits of the scaling of a candle's gaps and wicks


def sort_paths(paths: FloatArray) -> tuple[FloatArray, Ranks]:
    """Sort paths `[..., S, H]` to ordered values `[..., H, S]`; also return the path of each value."""
    by_step = np.ascontiguousarray(np.swapaxes(paths, -1, -2), dtype=np.float64)
    order = np.argsort(by_step, axis=-1, kind="stable")
    return np.take_along_axis(by_step, order, axis=-1), order


def unsort_paths(values: FloatArray, order: Ranks) -> FloatArray:
    """Invert `sort_paths`: assign ordered values `[..., H, S]` to their paths, `[..., S, H]`."""
    by_step = np.empty_like(values)
    np.put_along_axis(by_step, order, values, axis=-1)
    return np.swapaxes(by_step, -1, -2)


def median(values: FloatArray) -> FloatArray:
    """Compute the median of ordered values."""
    size = values.shape[-1]
    middle: FloatArray = 0.5 * (values[..., (size - 1) // 2] + values[..., size // 2])
    return middle


def quantile(values: FloatArray, level: float) -> FloatArray:
    """Compute a quantile of ordered values at k / (S + 1), as `kronos.forecasts.sample_quantiles`."""
    size = values.shape[-1]
    position = min(max(level * (size + 1) - 1, 0.0), size - 1.0)
    low = int(position)
    high = min(low + 1, size - 1)
    interpolated: FloatArray = values[..., low] + (position - low) * (values[..., high] - values[..., low])
    return interpolated


def resize_ensemble(values: FloatArray, size: int) -> FloatArray:
    """Convert ordered values to another number of paths: their quantiles at k / (size + 1)."""
    if values.shape[-1] == size:
        return values
    return np.stack([quantile(values, k / (size + 1)) for k in range(1, size + 1)], axis=-1)


def remove_level_error(values: FloatArray, factor: FloatArray, level_error: FloatArray) -> FloatArray:
    """Subtract a share of the tokenizer's level error at the last known close: x - a · e."""
    return values - (factor * level_error)[..., None]


def shrink_drift(values: FloatArray, factor: FloatArray) -> FloatArray:
    """Keep a share of the median drift: x - (1 - b) · m, with m the median of the paths."""
    return values - ((1 - factor) * median(values))[..., None]


def rescale(values: FloatArray, factor: FloatArray) -> FloatArray:
    """Scale the deviations from the median: m + c · (x - m)."""
    middle = median(values)[..., None]
    return middle + factor[..., None] * (values - middle)


def pool(values: FloatArray, weight: FloatArray, baseline: FloatArray) -> FloatArray:
    """Average with the baseline's value of the same rank: w · x₍ₖ₎ + (1 - w) · b₍ₖ₎.

    Quantiles are averaged, and the model's ranks determine which path gets which value, as in the Schaake shuffle
    (Clark et al. 2004, "The Schaake shuffle"). A mixture, a share w of the model's paths and 1 - w of the baseline's,
    is not defined for paths if w depends on the step, and is too wide if both are calibrated (Gneiting & Ranjan 2013,
    "Combining predictive distributions"); averaged quantiles have a shape and width between the two (Lichtendahl,
    Grushka-Cockayne & Winkler 2013, "Is it better to average probabilities or quantiles?"). On a simulated market of
    which model and baseline each knew half, averaging improved the CRPS of the better one by 1.0 to 1.4 %, a mixture
    with the best weight by 0.2 to 0.5 %.
    """
    share = weight[..., None]
    return share * values + (1 - share) * baseline


def half_width(values: FloatArray) -> FloatArray:
    """Compute half the width of the 80 % band, the unit of the conformal corrections."""
    low, high = band_levels(0.8)
    return 0.5 * (quantile(values, high) - quantile(values, low))


def shift_bands(values: FloatArray, shifts: Sequence[FloatArray], centre: FloatArray | None = None) -> FloatArray:
    """Shift the ends of the bands, and all values between and beyond them in proportion.

    The map is piecewise linear and increasing, with knots at the forecast's median and band ends. Beyond the widest
    band it continues with the average slope of that side. The distance between neighbouring knots is at least a
    twentieth of the original one, so that ranks are preserved. Equal paths remain equal.

    Args:
        values: Ordered values. [..., S]
        shifts: Outward shifts in units of `half_width`: of the lower ends of the 50, 80 and 95 % bands, then of the
            upper ends; each `[...]`.
        centre: Shift of the median in the same unit; None for none.
    """
    middle, unit = median(values), half_width(values)
    new_middle = middle if centre is None else middle + centre * unit
    result = np.repeat(new_middle[..., None], values.shape[-1], axis=-1)
    for sign, ends in ((-1.0, shifts[: len(BANDS)]), (1.0, shifts[len(BANDS) :])):
        offset = sign * (new_middle - middle)  # shifts are relative to the old ends, the map to the new median
        deviation = np.maximum(sign * (values - middle[..., None]), 0.0)
        result += sign * _map_side(deviation, _band_distances(values, middle, sign), [s * unit - offset for s in ends])
    return result


def _band_distances(values: FloatArray, middle: FloatArray, sign: float) -> list[FloatArray]:
    """Return the distances of one side's band ends from the median, inner first."""
    levels = [band_levels(band)[sign > 0] for band in BANDS]
    return [np.maximum(sign * (quantile(values, level) - middle), 0.0) for level in levels]


def _map_side(deviation: FloatArray, knots: list[FloatArray], shifts: list[FloatArray]) -> FloatArray:
    """Map distances from the median on one side, `[..., S]`, segment by segment."""
    start = np.zeros_like(knots[0])
    mapped = np.zeros_like(start)
    result = np.zeros_like(deviation)
    for knot, shift in zip(knots, shifts, strict=True):
        length = knot - start
        new_length = np.maximum(knot + shift - mapped, _MIN_SLOPE * length)
        slope = np.divide(new_length, length, out=np.ones_like(length), where=length > 0)
        result += slope[..., None] * np.clip(deviation - start[..., None], 0.0, length[..., None])
        start, mapped = knot, mapped + np.where(length > 0, new_length, 0.0)
    tail = np.divide(mapped, start, out=np.ones_like(start), where=start > 0)
    result += tail[..., None] * np.maximum(deviation - start[..., None], 0.0)
    return result


def apply_part(
    part: str,
    values: FloatArray,
    factors: Callable[[str], FloatArray],
    has_centre: bool,
    level_error: FloatArray,
    baseline: FloatArray | None,
) -> FloatArray:
    """Apply one part to ordered values.

    Args:
        part: One of `PARTS`.
        values: Ordered values in logs, or in another unit common to all arguments. [..., S]
        factors: Function from the name of a curve to its factors `[...]`.
        has_centre: Whether the conformal correction also shifts the median.
        level_error: Level errors; 0 where unknown. [...]
        baseline: Ordered values of the baseline. [..., S]
    """
    if part == "anchor":
        return remove_level_error(values, factors(part), level_error)
    if part == "drift":
        return shrink_drift(values, factors(part))
    if part == "dispersion":
        return rescale(values, factors(part))
    if part == "pooling":
        return values if baseline is None else pool(values, factors(part), baseline)
    return shift_bands(values, [factors(name) for name in (*LOWER, *UPPER)], factors(CENTRE) if has_centre else None)


def apply_parts(
    parts: tuple[str, ...],
    curves: Mapping[str, Curve],
    paths: FloatArray,
    steps: IntArray,
    groups: NDArray[np.str_],
    level_error: FloatArray,
    baseline: FloatArray | None,
) -> FloatArray:
    """Apply several parts to paths of N origins.

    Args:
        parts: Parts in order of application.
        curves: Curves by name.
        paths: Cumulative log returns. [N, S, H]
        steps: Steps ahead. [H]
        groups: Labels of the groups. [N]
        level_error: Level errors; NaN where unknown. [N]
        baseline: Paths of the baseline, or None. [N, S', H]

    Returns:
        New paths. [N, S, H]
    """
    values, order = sort_paths(paths)
    errors = np.broadcast_to(np.nan_to_num(level_error)[:, None], values.shape[:-1])
    other = None if baseline is None else resize_ensemble(np.sort(np.swapaxes(baseline, -1, -2)), paths.shape[1])

    def factors(name: str) -> FloatArray:
        return curves[name].at_groups(steps, groups)

    for part in parts:
        values = apply_part(part, values, factors, CENTRE in curves, errors, other)
    return unsort_paths(values, order)


def move_candles(forecast: Forecast, returns: FloatArray, opening: float = 0.0) -> FloatArray:
    """Move the candles of a forecast to new closes.

    - The close becomes last close · exp(return).
    - The opening gap to the previous close is unchanged in logs; for the first candle, ``opening`` is subtracted from
      the gap to the last known close.
    - Wicks have the same length in logs beyond the body.
    - If the spread of the paths' steps changes, gaps and wicks are scaled by the same ratio (of the mean absolute
      deviations of the steps from their median; limited to 1/8 to 8), so that candles have the same proportions. A
      common shift of all paths scales nothing.
    - The volume is unchanged; the amount changes in proportion to the candle's mean price.

    Candles are valid by construction: high and low are the ends of the body moved outwards.

    Args:
        forecast: The forecast.
        returns: New cumulative log returns of the closes. [S, H]
        opening: Correction of the first opening gap in logs: the tokenizer's level error.

    Returns:
        New candles. [S, H, 6]
    """
    opens, highs, lows, closes, volume, amount = np.moveaxis(forecast.paths, -1, 0)
    old = forecast.returns(cumulative=True)
    shift = returns - old
    if not shift.any() and opening == 0:
        return forecast.paths
    scale = _spread_ratio(old, returns)  # [H]
    previous = np.concatenate([np.full((len(opens), 1), forecast.last_close), closes[:, :-1]], axis=1)
    gap = np.log(opens / previous)
    previous_shift = np.concatenate([np.zeros((len(opens), 1)), shift[:, :-1]], axis=1)
    previous_shift[:, 0] -= scale[0] * opening
    new_open = opens * np.exp(previous_shift + (scale - 1) * gap)
    new_close = closes * np.exp(shift)
    upper = np.log(highs / np.maximum(opens, closes)) * scale
    lower = np.log(np.minimum(opens, closes) / lows) * scale
    new_high = np.maximum(new_open, new_close) * np.exp(upper)
    new_low = np.minimum(new_open, new_close) * np.exp(-lower)
    prices = np.stack([new_open, new_high, new_low, new_close], axis=-1)
    new_amount = amount * (prices.sum(axis=-1) / (opens + highs + lows + closes))
    return np.concatenate([prices, volume[..., None], new_amount[..., None]], axis=-1)


def _spread_ratio(old: FloatArray, new: FloatArray) -> FloatArray:
    """Return the ratio of the new to the old spread of each step's returns over the paths, `[H]`; 1 without spread."""
    before, after = _step_spread(old), _step_spread(new)
    ratio = np.divide(after, before, out=np.ones_like(after), where=before > 0)
    return np.clip(ratio, *_CANDLE_SCALES)


def _step_spread(cumulative: FloatArray) -> FloatArray:
    steps = np.diff(cumulative, axis=1, prepend=0.0)
    spread: FloatArray = np.abs(steps - np.median(steps, axis=0)).mean(axis=0)
    return spread

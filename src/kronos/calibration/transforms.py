"""What a calibration does to paths, on plain arrays.

Every part is a non-decreasing map of what the paths say at one step, so it works on the ordered values and never
changes which path is higher: the paths keep their ranks at every step and thereby their course (member-by-member
post-processing: Van Schaeybroeck & Vannitsem 2015, "Ensemble post-processing using member-by-member approaches";
Schefzik 2017, "Ensemble calibration with preserved correlations"). Mean, bands and probabilities are computed
from the moved paths like from any others, so they agree with each other.

Arrays called *ordered* have the paths on the last axis, ascending: `[..., S]`; factors have the shape before it.
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
from kronos.typing import FloatArray

PARTS = ("anchor", "drift", "dispersion", "pooling", "conformal")

# Least and greatest factor, and the neutral one that holds unless past forecasts speak against it: no anchoring, no
# drift, no stretching, no weight beside the baseline. What a model claims to know has to prove itself.
LIMITS = {"anchor": (0.0, 1.0), "drift": (0.0, 1.0), "dispersion": (1 / 8, 8.0), "pooling": (0.0, 1.0)}
NEUTRAL = {"anchor": 0.0, "drift": 0.0, "dispersion": 1.0, "pooling": 0.0}

BASELINE_PATHS = 250  # of a baseline to pool with: its quantiles should not be what errs

LEVELS = tuple(sorted(end for band in BANDS for end in band_levels(band)))
LOWER = tuple(f"conformal q{level:g}" for level in LEVELS[: len(BANDS)][::-1])  # inner first
UPPER = tuple(f"conformal q{level:g}" for level in LEVELS[len(BANDS) :])
CENTRE = "conformal q0.5"


def check_parts(parts: Sequence[str]) -> tuple[str, ...]:
    """The parts in the order they are applied in.

    Raises:
        ParameterError: If there is none of that name.
    """
    names = (parts,) if isinstance(parts, str) else tuple(parts)
    for name in names:
        if name not in PARTS:
            near = difflib.get_close_matches(str(name), PARTS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; choose from {', '.join(PARTS)}."
            raise ParameterError(f"'{name}' is no part of a calibration{hint}")
    return tuple(part for part in PARTS if part in names)


def curve_names(part: str, *, symmetric: bool) -> tuple[str, ...]:
    """Names of the curves that a part consists of."""
    if part != "conformal":
        return (part,)
    return (*LOWER, *UPPER) if symmetric else (*LOWER, CENTRE, *UPPER)


Ranks = NDArray[np.intp]

_LEAST_SLOPE = 0.05  # of the conformal map between two band ends, so that it stays increasing


def ordered(paths: FloatArray) -> tuple[FloatArray, Ranks]:
    """Paths `[..., S, H]` as ordered values `[..., H, S]`, and the path that each value is of."""
    by_step = np.ascontiguousarray(np.swapaxes(paths, -1, -2), dtype=np.float64)
    owners = np.argsort(by_step, axis=-1, kind="stable")
    return np.take_along_axis(by_step, owners, axis=-1), owners


def as_paths(values: FloatArray, owners: Ranks) -> FloatArray:
    """The inverse of `ordered`: values `[..., H, S]` back to the paths that own them, `[..., S, H]`."""
    by_step = np.empty_like(values)
    np.put_along_axis(by_step, owners, values, axis=-1)
    return np.swapaxes(by_step, -1, -2)


def median(values: FloatArray) -> FloatArray:
    """Median of ordered values."""
    size = values.shape[-1]
    middle: FloatArray = 0.5 * (values[..., (size - 1) // 2] + values[..., size // 2])
    return middle


def quantile(values: FloatArray, level: float) -> FloatArray:
    """Quantile of ordered values at k / (S + 1), as `kronos.forecasts.sample_quantiles` takes it."""
    size = values.shape[-1]
    position = min(max(level * (size + 1) - 1, 0.0), size - 1.0)
    low = int(position)
    high = min(low + 1, size - 1)
    between: FloatArray = values[..., low] + (position - low) * (values[..., high] - values[..., low])
    return between


def resized(values: FloatArray, size: int) -> FloatArray:
    """Ordered values of another number of paths: their quantiles at k / (size + 1)."""
    if values.shape[-1] == size:
        return values
    return np.stack([quantile(values, k / (size + 1)) for k in range(1, size + 1)], axis=-1)


def remove_level_error(values: FloatArray, factor: FloatArray, level_error: FloatArray) -> FloatArray:
    """Take a share of the tokenizer's level error at the last known close out: x - a · e."""
    return values - (factor * level_error)[..., None]


def shrink_drift(values: FloatArray, factor: FloatArray) -> FloatArray:
    """Leave a share of the median drift: x - (1 - b) · m, with m the paths' median."""
    return values - ((1 - factor) * median(values))[..., None]


def rescale(values: FloatArray, factor: FloatArray) -> FloatArray:
    """Stretch the deviations from the median: m + c · (x - m)."""
    middle = median(values)[..., None]
    return middle + factor[..., None] * (values - middle)


def pool(values: FloatArray, weight: FloatArray, baseline: FloatArray) -> FloatArray:
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


def half_width(values: FloatArray) -> FloatArray:
    """Half the 80 % band: the unit in which a forecast's own spread is counted here."""
    low, high = band_levels(0.8)
    return 0.5 * (quantile(values, high) - quantile(values, low))


def shift_bands(values: FloatArray, shifts: Sequence[FloatArray], centre: FloatArray | None = None) -> FloatArray:
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


def _corners(values: FloatArray, middle: FloatArray, sign: float) -> list[FloatArray]:
    """Distances of one side's band ends from the median, inner first."""
    sides = [band_levels(band)[sign > 0] for band in BANDS]
    return [np.maximum(sign * (quantile(values, level) - middle), 0.0) for level in sides]


def _ramps(deviation: FloatArray, corners: list[FloatArray], shifts: list[FloatArray]) -> FloatArray:
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


def apply_part(
    part: str,
    values: FloatArray,
    factors: Callable[[str], FloatArray],
    has_centre: bool,
    level_error: FloatArray,
    baseline: FloatArray | None,
) -> FloatArray:
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
    steps: NDArray[np.int64],
    groups: NDArray[np.str_],
    level_error: FloatArray,
    baseline: FloatArray | None,
) -> FloatArray:
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
    values, owners = ordered(paths)
    errors = np.broadcast_to(np.nan_to_num(level_error)[:, None], values.shape[:-1])
    other = None if baseline is None else resized(np.sort(np.swapaxes(baseline, -1, -2)), paths.shape[1])

    def factors(name: str) -> FloatArray:
        return curves[name].of_each(steps, groups)

    for part in parts:
        values = apply_part(part, values, factors, CENTRE in curves, errors, other)
    return as_paths(values, owners)


_LEAST, _MOST = 1 / 8, 8.0  # by how much a candle's gaps and wicks may be stretched


def move_candles(forecast: Forecast, returns: FloatArray, opening: float = 0.0) -> FloatArray:
    """The forecast's candles, moved to other closes.

    - The close becomes last close · exp(return).
    - A candle opens at the same distance, in logs, from the close before it as it did; the first one from the
      last known close, after ``opening`` is taken out of it.
    - Wicks keep their length in logs beyond the body.
    - Where the paths' steps spread more or less than before, gaps and wicks are stretched by the same ratio (mean
      absolute deviation of the steps from their median, after over before; between 1/8 and 8): candles keep their
      proportions. A shift of all paths alike stretches nothing.
    - The volume stays; the amount changes as the candle's mean price does.

    A candle is valid by construction: its high and low are its body's ends moved outwards.

    Args:
        forecast: Whose candles to move.
        returns: New cumulative log returns of the closes, `[S, H]`.
        opening: What to take out of the first opening gap, in logs: the tokenizer's level error.

    Returns:
        New candles `[S, H, 6]`.
    """
    opens, highs, lows, closes, volume, amount = np.moveaxis(forecast.paths, -1, 0)
    old = forecast.returns(cumulative=True)
    shift = returns - old
    if not shift.any() and opening == 0:
        return forecast.paths
    stretch = _stretch(old, returns)  # [H]
    before = np.concatenate([np.full((len(opens), 1), forecast.last_close), closes[:, :-1]], axis=1)
    gap = np.log(opens / before)
    moved = np.concatenate([np.zeros((len(opens), 1)), shift[:, :-1]], axis=1)  # of the close before
    moved[:, 0] -= stretch[0] * opening
    new_open = opens * np.exp(moved + (stretch - 1) * gap)
    new_close = closes * np.exp(shift)
    upper = np.log(highs / np.maximum(opens, closes)) * stretch
    lower = np.log(np.minimum(opens, closes) / lows) * stretch
    new_high = np.maximum(new_open, new_close) * np.exp(upper)
    new_low = np.minimum(new_open, new_close) * np.exp(-lower)
    prices = np.stack([new_open, new_high, new_low, new_close], axis=-1)
    new_amount = amount * (prices.sum(axis=-1) / (opens + highs + lows + closes))
    return np.concatenate([prices, volume[..., None], new_amount[..., None]], axis=-1)


def _stretch(old: FloatArray, new: FloatArray) -> FloatArray:
    """Spread of each step's returns over the paths, new over old `[H]`; 1 where they don't differ."""
    before, after = _step_spread(old), _step_spread(new)
    ratio = np.divide(after, before, out=np.ones_like(after), where=before > 0)
    return np.clip(ratio, _LEAST, _MOST)


def _step_spread(cumulative: FloatArray) -> FloatArray:
    steps = np.diff(cumulative, axis=1, prepend=0.0)
    spread: FloatArray = np.abs(steps - np.median(steps, axis=0)).mean(axis=0)
    return spread

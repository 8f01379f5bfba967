"""Scores of whole candles: range, volume, wicks and gaps of paths, the range over several candles, and clustering.

All quantities are logs or shares, so that units of prices and volumes do not matter. NaN marks what is undefined: the
position of a wick in a candle without a range, the log of a volume of zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.forecasts.statistics import SAME_PRICE
from kronos.metrics.probabilistic import crps
from kronos.typing import FloatArray, IntArray

_SAME_VOLUME = 1e-9  # log volumes closer than this are equal: rounding leaves as much


@dataclass(frozen=True, slots=True, eq=False)
class CandleQuantities:
    """The quantities of successive candles that are scored, each ``[..., H]``.

    Attributes:
        range: log(high / low).
        volume: log(volume); NaN for a volume of zero.
        upper_wick: (high - max(open, close)) / (high - low); NaN for a candle without a range.
        lower_wick: (min(open, close) - low) / (high - low); NaN for a candle without a range.
        gap: log(open / close before).
        span: log(highest high / lowest low) over the candles up to this one.
        close_span: log(highest / lowest close) over the candles up to this one and the close before the first.
        move: Absolute log return of the close.
    """

    range: FloatArray
    volume: FloatArray
    upper_wick: FloatArray
    lower_wick: FloatArray
    gap: FloatArray
    span: FloatArray
    close_span: FloatArray
    move: FloatArray


def candle_quantities(candles: ArrayLike, close_before: ArrayLike) -> CandleQuantities:
    """Measure successive candles.

    Args:
        candles: Open, high, low, close and volume in the first five channels. [..., H, C]
        close_before: Close before the first candle, of the shape ``[...]`` or broadcasting to it.

    Raises:
        ParameterError: If there are fewer than five channels.
    """
    values = np.asarray(candles, dtype=np.float64)
    if values.ndim < 2 or values.shape[-1] < 5:
        raise ParameterError(f"Candles need the shape [..., steps, ≥ 5 channels]; got {values.shape}.")
    opens, highs, lows, closes = np.moveaxis(np.log(values[..., :4]), -1, 0)
    first = np.broadcast_to(np.log(np.asarray(close_before, dtype=np.float64)), closes.shape[:-1])[..., None]
    trail = np.concatenate([first, closes], axis=-1)
    volumes = values[..., 4]
    upper, lower = wick_positions(values[..., :4])
    top, bottom = np.maximum.accumulate(trail, axis=-1), np.minimum.accumulate(trail, axis=-1)
    return CandleQuantities(
        range=highs - lows,
        volume=log_volume(volumes),
        upper_wick=upper,
        lower_wick=lower,
        gap=opens - trail[..., :-1],
        span=np.maximum.accumulate(highs, axis=-1) - np.minimum.accumulate(lows, axis=-1),
        close_span=(top - bottom)[..., 1:],
        move=np.abs(np.diff(trail, axis=-1)),
    )


def wick_positions(prices: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Compute the shares of a candle's range above and below its body; NaN without a range.

    Args:
        prices: Open, high, low and close. [..., 4]
    """
    opens, highs, lows, closes = np.moveaxis(np.asarray(prices, dtype=np.float64), -1, 0)
    size = highs - lows
    size = np.where(size > SAME_PRICE * highs, size, np.nan)
    return (highs - np.maximum(opens, closes)) / size, (np.minimum(opens, closes) - lows) / size


def log_volume(volumes: ArrayLike) -> FloatArray:
    """Compute the log of volumes; NaN for those that are not above 0."""
    values = np.asarray(volumes, dtype=np.float64)
    known = np.isfinite(values) & (values > 0)
    return np.log(values, out=np.full(values.shape, np.nan), where=known)


def known_crps(samples: ArrayLike, observed: ArrayLike) -> FloatArray:
    """Compute the fair CRPS of the samples that are known, see `kronos.metrics.crps`.

    Args:
        samples: NaN where undefined. [..., S]
        observed: NaN where undefined. [...]

    Returns:
        The score; NaN where the outcome is undefined or fewer than 2 samples are known. [...]
    """
    return _scored(np.asarray(samples, dtype=np.float64), np.asarray(observed, dtype=np.float64)[..., None], None)[
        ..., 0
    ]


def empirical_crps(values: ArrayLike, observed: ArrayLike) -> FloatArray:
    """Compute the CRPS of empirical distributions, which are the forecast itself and no draws of one.

    Args:
        values: Past values, equally likely; NaN where undefined. [..., W]
        observed: Outcomes scored against the same values; NaN where undefined. [..., K]

    Returns:
        The score; NaN where the outcome is undefined or fewer than 2 values are known. [..., K]
    """
    return _scored(np.asarray(values, dtype=np.float64), np.asarray(observed, dtype=np.float64), np.inf)


def _scored(samples: FloatArray, observed: FloatArray, draws: float | None) -> FloatArray:
    """CRPS of samples `[..., S]` at outcomes `[..., K]`, by the number of known samples."""
    shape, size = observed.shape, samples.shape[-1]
    rows, outcomes = samples.reshape(-1, size), observed.reshape(-1, shape[-1])
    counts = np.count_nonzero(~np.isnan(rows), axis=1)
    result = np.full(outcomes.shape, np.nan)
    for count in np.unique(counts[counts >= 2]):
        place = np.flatnonzero(counts == count)
        own = rows[place] if count == size else np.sort(rows[place], axis=1)[:, :count]  # NaN is sorted to the end
        result[place] = crps(own[:, :, None], outcomes[place], axis=1, draws=draws)
    return result.reshape(shape)


def distinct_values(samples: ArrayLike, tolerance: float = _SAME_VOLUME) -> IntArray:
    """Count the distinct values among the known samples.

    Args:
        samples: NaN where undefined. [..., S]
        tolerance: Neighbours closer than this are equal.

    Returns:
        The number of distinct values; 0 if none is known. [...]
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64), axis=-1)
    steps = np.count_nonzero(np.diff(ordered, axis=-1) > tolerance, axis=-1)  # differences to NaN are not larger
    return np.asarray(steps + ~np.isnan(ordered[..., 0]), dtype=np.int64)


def lag_one_correlation(values: ArrayLike) -> FloatArray:
    """Compute the autocorrelation at lag 1 along the last axis.

    Σ (xₜ - x̄)(xₜ₋₁ - x̄) / Σ (xₜ - x̄)². In a short series it is lower than that of the process by about 1 / T, so
    compare it with series of the same length only.

    Args:
        values: Series. [..., T]

    Returns:
        The autocorrelation; NaN for a constant series, or one with an undefined value. [...]
    """
    data = np.asarray(values, dtype=np.float64)
    deviations = data - data.mean(axis=-1, keepdims=True)
    power = np.square(deviations).sum(axis=-1)
    scale = np.square(np.abs(data).max(axis=-1)) * data.shape[-1]
    products = (deviations[..., 1:] * deviations[..., :-1]).sum(axis=-1)
    varies = power > 1e-24 * scale  # less is rounding
    result: FloatArray = np.divide(products, power, out=np.full(power.shape, np.nan), where=varies)
    return result


def rolling_extreme(values: ArrayLike, window: int, *, lowest: bool = False) -> FloatArray:
    """Compute the maximum or minimum of every window of successive values.

    Args:
        values: The series. [T]
        window: Length of the windows, from 1 to T.
        lowest: Whether to take the minimum.

    Returns:
        The extreme of ``values[i : i + window]``. [T - window + 1]

    Raises:
        ParameterError: If the window is out of range.
    """
    extremes = np.asarray(values, dtype=np.float64)
    if not 1 <= window <= len(extremes):
        raise ParameterError(f"Invalid window {window}: choose 1 to {len(extremes)} values.")
    combine = np.minimum if lowest else np.maximum
    covered = 1
    while 2 * covered <= window:  # the extreme of 2n values is that of two windows of n
        extremes = combine(extremes[:-covered], extremes[covered:])
        covered *= 2
    shift = window - covered
    return np.asarray(combine(extremes[: len(extremes) - shift], extremes[shift:]), dtype=np.float64)

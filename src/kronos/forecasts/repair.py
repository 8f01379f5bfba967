"""Repair of sampled candles.

A network samples the six numbers of a candle independently, so nothing makes its high the highest. `repair_candles`
enforces validity on each path separately and reports the share of candles it changed, which measures the model and is
shown with the forecast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from kronos.candles import COLUMNS
from kronos.errors import DataError, ParameterError
from kronos.typing import BoolArray, FloatArray

_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME = range(5)
_RELATIVE_FLOOR = 1e-4  # of a path's highest price: allows a fall by 99.99 %, but not to zero or below
_ABSOLUTE_FLOOR = 1e-8  # if a path has no positive price; the smallest unit that exchanges quote


def valid_candles(paths: FloatArray) -> BoolArray:
    """Return which candles `[..., 6]` are finite with prices > 0, low ≤ open, close ≤ high and turnover ≥ 0."""
    prices = paths[..., :_VOLUME]
    low, high = paths[..., _LOW], paths[..., _HIGH]
    body = paths[..., (_OPEN, _CLOSE)]
    valid: BoolArray = (
        np.isfinite(paths).all(-1)
        & (prices > 0).all(-1)
        & (low <= body.min(-1))
        & (high >= body.max(-1))
        & (paths[..., _VOLUME:] >= 0).all(-1)
    )
    return valid


def repair_candles(paths: ArrayLike) -> tuple[FloatArray, float]:
    """Make every sampled candle valid, and return the share of candles that were changed.

    On each path: a price that is not finite is replaced by the previous finite close of the path (by its first finite
    price if there is none); prices below a ten-thousandth of the path's highest price are raised to it (to 1e-8 if no
    price is positive); then high = max(open, high, low, close) and low = min(open, high, low, close); volume and amount
    below zero or not finite become 0. Valid candles above the floor stay unchanged bit for bit, and the function is
    idempotent.

    Args:
        paths: Sampled candles in price units, channels in the order of `kronos.candles.COLUMNS`. [S, H, 6]

    Returns:
        The valid candles, a new array of the same shape, and the share (0 to 1) of candles that were changed.

    Raises:
        ParameterError: If the shape is not `[S, H, 6]` with at least one path and one step.
        DataError: If a path has no finite price.
    """
    raw = np.array(paths, dtype=np.float64)
    if raw.ndim != 3 or raw.shape[2] != len(COLUMNS) or raw.size == 0:
        raise ParameterError(f"Sample paths need the shape [samples, steps, {len(COLUMNS)}]; got {raw.shape}.")
    repaired = raw.copy()
    _fill_missing_prices(repaired)
    prices = repaired[..., :_VOLUME]
    highest = prices.max(axis=(1, 2), keepdims=True)  # [S, 1, 1]
    floor = np.where(highest > 0, np.maximum(highest * _RELATIVE_FLOOR, np.finfo(np.float64).tiny), _ABSOLUTE_FLOOR)
    np.maximum(prices, floor, out=prices)
    highs, lows = prices.max(-1), prices.min(-1)
    repaired[..., _HIGH], repaired[..., _LOW] = highs, lows
    turnover = repaired[..., _VOLUME:]
    turnover[~np.isfinite(turnover) | (turnover < 0)] = 0.0
    return repaired, float((raw != repaired).any(-1).mean())  # NaN != NaN: a missing number counts as changed


def _fill_missing_prices(paths: FloatArray) -> None:
    """Replace prices that are not finite by the previous finite close of the path, in place."""
    finite = np.isfinite(paths[..., :_VOLUME])  # [S, H, 4]
    for s in np.flatnonzero(~finite.all(axis=(1, 2))):
        if not finite[s].any():
            raise DataError(f"Sample path {s} has no finite price: the model's output is unusable.")
        last = paths[s, :, :_VOLUME][finite[s]][0]
        for h in range(paths.shape[1]):
            candle = paths[s, h, :_VOLUME]
            candle[~finite[s, h]] = last
            last = candle[_CLOSE]

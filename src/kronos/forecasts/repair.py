"""Making valid candles of sampled numbers.

A network samples six numbers a candle, each for itself: nothing makes its high the highest. `mend` does, on
every path separately, and reports the share of candles it touched, which is a measure of the model and is
shown with the forecast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kronos.candles import COLUMNS
from kronos.errors import DataError, ParameterError

_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME = range(5)
_FLOOR_SHARE = 1e-4  # of a path's highest price: a fall by 99.99 % stays possible, zero and below don't
_FLOOR = 1e-8  # where a path has no positive price at all; the smallest unit exchanges quote


def valid_candles(paths: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which candles `[..., 6]` are finite, prices positive, low ≤ open, close ≤ high, turnover ≥ 0."""
    prices = paths[..., :_VOLUME]
    low, high = paths[..., _LOW], paths[..., _HIGH]
    body = paths[..., (_OPEN, _CLOSE)]
    valid: NDArray[np.bool_] = (
        np.isfinite(paths).all(-1)
        & (prices > 0).all(-1)
        & (low <= body.min(-1))
        & (high >= body.max(-1))
        & (paths[..., _VOLUME:] >= 0).all(-1)
    )
    return valid


def repair_candles(paths: ArrayLike) -> tuple[NDArray[np.float64], float]:
    """Make every sampled candle valid, and say how many were not.

    On each path: a price that is not finite takes the path's last finite close before it (its first finite
    price if there is none before); prices below a ten-thousandth of the path's highest price are raised to
    that (to 1e-8 where no price is positive); then high = max(open, high, low, close) and low = min(open,
    high, low, close); volume and amount below zero or not finite become 0. Valid candles stay as they are,
    bit for bit, unless they lie below the floor, and mending twice changes nothing.

    Args:
        paths: Sampled candles in price units, `[S, H, 6]` in the order of `kronos.candles.COLUMNS`.

    Returns:
        The valid candles, a new array of the same shape, and the share (0 to 1) of candles that had to be
        mended.

    Raises:
        ParameterError: If the shape is not `[S, H, 6]` with at least one path and one step.
        DataError: If a path has no finite price at all.
    """
    raw = np.array(paths, dtype=np.float64)
    if raw.ndim != 3 or raw.shape[2] != len(COLUMNS) or raw.size == 0:
        raise ParameterError(f"Sample paths need the shape [samples, steps, {len(COLUMNS)}], not {raw.shape}.")
    mended = raw.copy()
    _fill(mended)
    prices = mended[..., :_VOLUME]
    highest = prices.max(axis=(1, 2), keepdims=True)  # [S, 1, 1]
    floor = np.where(highest > 0, np.maximum(highest * _FLOOR_SHARE, np.finfo(np.float64).tiny), _FLOOR)
    np.maximum(prices, floor, out=prices)
    highs, lows = prices.max(-1), prices.min(-1)
    mended[..., _HIGH], mended[..., _LOW] = highs, lows
    turnover = mended[..., _VOLUME:]
    turnover[~np.isfinite(turnover) | (turnover < 0)] = 0.0
    return mended, float((raw != mended).any(-1).mean())  # NaN differs from everything, as it should here


def _fill(paths: NDArray[np.float64]) -> None:
    """Replace prices that are not finite by the path's last finite close before, in place."""
    finite = np.isfinite(paths[..., :_VOLUME])  # [S, H, 4]
    for s in np.flatnonzero(~finite.all(axis=(1, 2))):
        if not finite[s].any():
            raise DataError(f"Sample path {s} has no finite price; the model's output is unusable.")
        last = paths[s, :, :_VOLUME][finite[s]][0]
        for h in range(paths.shape[1]):
            candle = paths[s, h, :_VOLUME]
            candle[~finite[s, h]] = last
            last = candle[_CLOSE]

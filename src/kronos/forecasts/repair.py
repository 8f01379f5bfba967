"""Repair of sampled candles.

A network samples the six numbers of a candle independently, so nothing makes its high the highest. `repair_candles`
enforces validity on each path separately and reports the share of candles it changed, which measures the model and is
shown with the forecast; `repair_reasons` reports why, by channel.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from kronos.candles import COLUMNS
from kronos.errors import DataError, ParameterError
from kronos.formatting import join_names, percent
from kronos.typing import BoolArray, FloatArray

_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME = range(5)
_RELATIVE_FLOOR = 1e-4  # of a path's highest price: allows a fall by 99.99 %, but not to zero or below
_MAX_REASONS = 3  # in a text; further ones are counted
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
    raw = _check_shape(paths)
    repaired = raw.copy()
    _raise_prices(repaired)
    prices = repaired[..., :_VOLUME]
    highs, lows = prices.max(-1), prices.min(-1)
    repaired[..., _HIGH], repaired[..., _LOW] = highs, lows
    turnover = repaired[..., _VOLUME:]
    turnover[~np.isfinite(turnover) | (turnover < 0)] = 0.0
    return repaired, float((raw != repaired).any(-1).mean())  # NaN != NaN: a missing number counts as changed


def repair_reasons(paths: ArrayLike) -> dict[str, float]:
    """Return why `repair_candles` changes candles: the share (0 to 1) of candles by channel and reason.

    Reasons are such as ``volume below 0``, ``high below another price`` and ``close not finite``. A candle can have
    several, so the shares can add up to more than the share of changed candles; every changed candle has at least one.

    Args:
        paths: Sampled candles as for `repair_candles`. [S, H, 6]

    Returns:
        The shares above 0, largest first.

    Raises:
        ParameterError: If the shape is not `[S, H, 6]` with at least one path and one step.
        DataError: If a path has no finite price.
    """
    raw = _check_shape(paths)
    raised = raw.copy()
    _raise_prices(raised)
    finite, prices = np.isfinite(raw), raised[..., :_VOLUME]
    masks = {f"{name} not finite": ~finite[..., c] for c, name in enumerate(COLUMNS)}
    for c, name in enumerate(COLUMNS[:_VOLUME]):
        low = finite[..., c] & (raw[..., c] < prices[..., c])
        masks |= {f"{name} not above 0": low & (raw[..., c] <= 0), f"{name} close to 0": low & (raw[..., c] > 0)}
    masks["high below another price"] = prices[..., _HIGH] < prices.max(-1)
    masks["low above another price"] = prices[..., _LOW] > prices.min(-1)
    for c, name in enumerate(COLUMNS[_VOLUME:], start=_VOLUME):
        masks[f"{name} below 0"] = finite[..., c] & (raw[..., c] < 0)
    shares = {reason: float(mask.mean()) for reason, mask in masks.items() if mask.any()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def describe_repairs(share: float, reasons: Mapping[str, float]) -> str:
    """Return ``74.1 % of the sampled candles: volume below 0 (72.6 %) and high below another price (3.0 %)``.

    Args:
        share: Share of the sampled candles that were repaired.
        reasons: Result of `repair_reasons`; empty if unknown.

    Returns:
        The text; the share of a single reason is not repeated, since it is the whole. Empty if nothing was repaired.
    """
    if not share:
        return ""
    text = f"{_percent(share)} of the sampled candles"
    if not reasons:
        return text
    parts = [reason if len(reasons) == 1 else f"{reason} ({_percent(part)})" for reason, part in reasons.items()]
    return f"{text}: {join_names(parts, _MAX_REASONS)}"


def _percent(share: float) -> str:
    return "< 0.1 %" if share < 0.0005 else percent(share)


def _check_shape(paths: ArrayLike) -> FloatArray:
    raw = np.array(paths, dtype=np.float64)
    if raw.ndim != 3 or raw.shape[2] != len(COLUMNS) or raw.size == 0:
        raise ParameterError(f"Sample paths need the shape [samples, steps, {len(COLUMNS)}]; got {raw.shape}.")
    return raw


def _raise_prices(paths: FloatArray) -> None:
    """Fill missing prices, and raise those below the floor of their path to it, in place."""
    _fill_missing_prices(paths)
    prices = paths[..., :_VOLUME]
    highest = prices.max(axis=(1, 2), keepdims=True)  # [S, 1, 1]
    floor = np.where(highest > 0, np.maximum(highest * _RELATIVE_FLOOR, np.finfo(np.float64).tiny), _ABSOLUTE_FLOOR)
    np.maximum(prices, floor, out=prices)


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

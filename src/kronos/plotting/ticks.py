"""Ticks and numbers of axes: times on an axis of candles, prices and volumes; without matplotlib.

Time labels are ISO dates and times; a second line has the day or the year where it changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kronos.typing import FloatArray

_CLOCK, _DAY, _MONTH, _YEAR = "%H:%M", "%m-%d", "%Y-%m", "%Y"
_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720)


@dataclass(frozen=True)
class TimeTicks:
    """Positions on the candle axis and their labels."""

    positions: list[int]
    labels: list[str]


def time_ticks(times: pd.DatetimeIndex, limit: int = 12) -> TimeTicks:
    """Place ticks where an hour, day, week, month or year begins: the finest period with at most ``limit`` ticks.

    Args:
        times: Times of the candles at positions 0, 1, 2 …
        limit: Maximum number of ticks.

    Returns:
        The ticks. Labels have a second line with the day or year at the first tick and wherever it changes.
    """
    local = times.tz_localize(None)
    positions, label = _period_starts(local, limit)
    if not positions:  # too few candles for any boundary
        positions, label = [0], "%Y-%m-%d"
    second = {_CLOCK: "%Y-%m-%d", _DAY: _YEAR}.get(label, "")
    positions = _thin(positions, local, len(local) / (1.5 * limit))
    labels, previous = [], ""
    for position in positions:
        text, context = local[position].strftime(label), local[position].strftime(second)
        labels.append(f"{text}\n{context}" if context != previous else text)
        previous = context
    return TimeTicks(positions, labels)


def _thin(positions: list[int], local: pd.DatetimeIndex, gap: float) -> list[int]:
    """Drop one of two ticks that are too close, preferably the one that does not start a day."""
    kept: list[int] = []
    for position in positions:
        starts_day = local[position].date() != local[position - 1].date()
        if not kept or position - kept[-1] >= gap:
            kept.append(position)
        elif starts_day:
            kept[-1] = position
    return kept


def _period_starts(local: pd.DatetimeIndex, limit: int) -> tuple[list[int], str]:
    """Return the positions where the finest period with few enough ticks begins, and the format of its labels."""
    minutes = local.as_unit("s").asi8 // 60
    keys: list[tuple[NDArray[np.int64], str]] = [(minutes // step, _CLOCK) for step in _MINUTES]
    days = minutes // 1440
    weeks = (days + 3) // 7  # 1970-01-01 was a Thursday: weeks start on Mondays
    months = np.asarray(local.year * 12 + local.month - 1, dtype=np.int64)
    sessions = np.cumsum(np.diff(days, prepend=days[:1]) != 0)  # days with candles: every second one is evenly spaced
    keys += [(days, _DAY), (sessions // 2, _DAY), (weeks, _DAY), (weeks // 2, _DAY)]
    keys += [(months // step, _MONTH) for step in (1, 2, 3, 6)]
    keys += [(months // 12 // step, _YEAR) for step in (1, 2, 5, 10, 20)]
    for key, label in keys:
        changes = np.flatnonzero(np.diff(key)) + 1
        if 0 < len(changes) <= limit:
            return [int(i) for i in changes], label
    return [], _YEAR


def price_decimals(prices: FloatArray) -> int:
    """Infer the decimals of a market from its prices: 2 for 187.35, 5 for 1.08345, 0 for 67,200.

    Adjusted prices have no tick size; they get six significant digits and at least two decimals.
    """
    size = float(np.median(np.abs(prices)))
    limit = max(2, 5 - math.floor(math.log10(size)))
    for decimals in range(limit):
        # Files in single precision have noise in the eighth digit.
        if np.mean(np.abs(prices - np.round(prices, decimals)) > 2e-7 * size) < 0.01:
            return decimals
    return limit


def tick_decimals(ticks: FloatArray, limit: int) -> int:
    """Return the decimals that the ticks of an axis need, at most ``limit``."""
    return next((d for d in range(limit) if np.allclose(ticks, np.round(ticks, d), rtol=1e-9, atol=0)), limit)


def format_volume(volume: float) -> str:
    """Format a volume with three digits and K, M, B or T: ``12.5K``."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if volume >= 0.9995 * size:  # 999.5K rounds to 1M
            scaled = volume / size
            return (f"{scaled:.3g}" if scaled < 999.5 else f"{scaled:,.0f}") + letter
    return f"{volume:.3g}"


def spread_apart(positions: list[float], gap: float) -> list[float]:
    """Move ascending positions up until neighbours are at least ``gap`` apart."""
    placed: list[float] = []
    for position in positions:
        placed.append(max(position, placed[-1] + gap) if placed else position)
    return placed

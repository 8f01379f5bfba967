"""Where the ticks go and what they say: an axis of candles labelled with times, prices, volumes.

Times are ISO, which reads the same in every language; a second line names the day or the year where it
changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

# From fine to coarse: how to tell the period a time lies in, and how its ticks read.
_CLOCK, _DAY, _MONTH, _YEAR = "%H:%M", "%m-%d", "%Y-%m", "%Y"
_MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720)


@dataclass(frozen=True)
class TimeTicks:
    """Positions on the candle axis and their labels."""

    positions: list[int]
    labels: list[str]


def time_ticks(times: pd.DatetimeIndex, most: int = 12) -> TimeTicks:
    """Ticks where a new hour, day, week, month or year begins: the finest period that gives at most ``most``.

    Args:
        times: Times of the candles, whose positions are 0, 1, 2 …
        most: How many ticks fit.

    Returns:
        The ticks; their labels have a second line at the first tick and wherever the day (or year) is
        another.
    """
    local = times.tz_localize(None)
    positions, label = _starts(local, most)
    if not positions:  # too few candles for any boundary
        positions, label = [0], "%Y-%m-%d"
    second = {_CLOCK: "%Y-%m-%d", _DAY: _YEAR}.get(label, "")
    positions = _thin(positions, local, len(local) / (1.5 * most))
    labels, previous = [], ""
    for position in positions:
        text, context = local[position].strftime(label), local[position].strftime(second)
        labels.append(f"{text}\n{context}" if context != previous else text)
        previous = context
    return TimeTicks(positions, labels)


def _thin(positions: list[int], local: pd.DatetimeIndex, gap: float) -> list[int]:
    """Drop one of two ticks too close to each other, if possible the one that starts no new day."""
    kept: list[int] = []
    for position in positions:
        starts_day = local[position].date() != local[position - 1].date()
        if not kept or position - kept[-1] >= gap:
            kept.append(position)
        elif starts_day:
            kept[-1] = position
    return kept


def _starts(local: pd.DatetimeIndex, most: int) -> tuple[list[int], str]:
    """Positions at which the finest period that fits changes, and the format of its labels."""
    minutes = local.as_unit("s").asi8 // 60
    keys: list[tuple[NDArray[np.int64], str]] = [(minutes // step, _CLOCK) for step in _MINUTES]
    days = minutes // 1440
    weeks = (days + 3) // 7  # 1970-01-01 was a Thursday: weeks start on Mondays
    months = np.asarray(local.year * 12 + local.month - 1, dtype=np.int64)
    sessions = np.cumsum(np.diff(days, prepend=days[:1]) != 0)  # days that have candles: every second is evenly apart
    keys += [(days, _DAY), (sessions // 2, _DAY), (weeks, _DAY), (weeks // 2, _DAY)]
    keys += [(months // step, _MONTH) for step in (1, 2, 3, 6)]
    keys += [(months // 12 // step, _YEAR) for step in (1, 2, 5, 10, 20)]
    for key, label in keys:
        changes = np.flatnonzero(np.diff(key)) + 1
        if 0 < len(changes) <= most:
            return [int(i) for i in changes], label
    return [], _YEAR


def price_decimals(prices: Array) -> int:
    """Decimals that the market quotes, told from its prices: 2 for 187.35, 5 for 1.08345, 0 for 67,200.

    Adjusted prices have no tick; they get six digits in all, and at least two decimals.
    """
    size = float(np.median(np.abs(prices)))
    most = max(2, 5 - math.floor(math.log10(size)))
    for decimals in range(most):
        # Files in single precision carry noise in the eighth digit.
        if np.mean(np.abs(prices - np.round(prices, decimals)) > 2e-7 * size) < 0.01:
            return decimals
    return most


def format_price(price: float, decimals: int) -> str:
    """A price with thousands grouped: ``67,200`` or ``1.08345``."""
    return f"{price:,.{decimals}f}"


def tick_decimals(ticks: Array, most: int) -> int:
    """Decimals that the ticks of an axis need, at most as many as the market's."""
    return next((d for d in range(most) if np.allclose(ticks, np.round(ticks, d), rtol=1e-9, atol=0)), most)


def format_volume(volume: float) -> str:
    """A volume in three digits and K, M, B or T: ``12.5K``."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if volume >= 0.9995 * size:  # what rounds to 1,000 of a letter is 1 of the next
            scaled = volume / size
            return (f"{scaled:.3g}" if scaled < 999.5 else f"{scaled:,.0f}") + letter
    return f"{volume:.3g}"


def spread_apart(wanted: list[float], gap: float) -> list[float]:
    """Move rising positions up just as far as needed for neighbours to be ``gap`` apart."""
    placed: list[float] = []
    for position in wanted:
        placed.append(max(position, placed[-1] + gap) if placed else position)
    return placed

"""The marks on a chart: candles, volume bars, the fan, lines and tags. Each draws on the axes it is given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from kronos.formatting import format_price
from kronos.plotting.style import Style
from kronos.typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from kronos.plotting.chart_data import ChartData

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


def price_decimals(prices: FloatArray) -> int:
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


def tick_decimals(ticks: FloatArray, most: int) -> int:
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


_BODY = 0.34  # half a candle's width, of the distance between two
_BAND_ALPHA = {0.95: 0.13, 0.8: 0.17, 0.5: 0.24}  # they lie on each other: darker inside


def draw_candles(axes: Axes, at: NDArray[Any], candles: FloatArray, style: Style, *, forecast: bool = False) -> None:
    """Candlesticks `[N, ≥ 4]`: history coloured by direction, a forecast in its hue with rises hollow."""
    known = np.isfinite(candles[:, :4]).all(axis=1)
    at, candles = np.asarray(at, dtype=np.float64)[known], candles[known]
    opens, highs, lows, closes = candles[:, :4].T
    rising = closes >= opens
    bottoms, tops = np.minimum(opens, closes), np.maximum(opens, closes)
    colors = [style.forecast if forecast else style.up if up else style.down for up in rising]
    hollow = rising & (forecast or style.hollow_up)
    faces = [to_rgba(style.ground if empty else color) for empty, color in zip(hollow, colors, strict=True)]
    order = 4 if forecast else 5
    wicks = [[(x, low), (x, b)] for x, low, b in zip(at, lows, bottoms, strict=True)]
    wicks += [[(x, t), (x, high)] for x, t, high in zip(at, tops, highs, strict=True)]
    axes.add_collection(LineCollection(wicks, colors=[*colors, *colors], linewidths=0.9, zorder=order))
    bodies = [
        [(x - _BODY, b), (x + _BODY, b), (x + _BODY, t), (x - _BODY, t)]
        for x, b, t in zip(at, bottoms, tops, strict=True)
    ]
    axes.add_collection(PolyCollection(bodies, facecolors=faces, edgecolors=colors, linewidths=0.9, zorder=order + 0.1))


def draw_volume(axes: Axes, at: NDArray[Any], candles: FloatArray, style: Style, *, forecast: bool = False) -> None:
    """Volume bars of candles `[N, 6]`, muted, coloured as the candles are."""
    rising = candles[:, 3] >= candles[:, 0]
    colors = [style.forecast if forecast else style.up if up else style.down for up in rising]
    axes.bar(
        at,
        candles[:, 4],
        width=2 * _BODY,
        color=colors,
        alpha=0.4 if forecast else 0.55,
        linewidth=0,
        zorder=3,
    )


def draw_fan(axes: Axes, scene: ChartData, style: Style) -> None:
    """Nested bands from the last close on, or the paths themselves where there are few; the median dashed."""
    steps = np.arange(scene.horizon + 1)
    for level, low, high in scene.bands:
        axes.fill_between(steps, low, high, color=style.forecast, alpha=_BAND_ALPHA[level], linewidth=0, zorder=2)
        for edge in (low, high):
            axes.plot(steps, edge, color=style.forecast, alpha=0.35, linewidth=0.6, zorder=2.1)
    if not scene.bands and not scene.is_point:
        lines = [np.column_stack([steps, path]) for path in scene.closes]
        axes.add_collection(LineCollection(lines, colors=style.forecast, alpha=0.55, linewidths=0.9, zorder=2))
    if scene.forecast.samples == 1:
        return  # its candles say it all
    halo = [Stroke(linewidth=3.4, foreground=style.ground, alpha=0.75), Normal()]  # apart from the candles
    line = Line2D(steps, scene.median, color=style.forecast, linewidth=1.8, linestyle=(0, (4, 1.6)))
    line.set(path_effects=halo, zorder=6)
    axes.add_line(line)


def label_bands(axes: Axes, scene: ChartData, style: Style) -> None:
    """Each band's level beside its upper end, the labels kept apart."""
    low, high = axes.get_ylim()
    inner = list(reversed(scene.bands))
    wanted = [float(upper[-1]) for _, _, upper in inner]
    for (level, _, _), y in zip(inner, spread_apart(wanted, 0.034 * (high - low)), strict=True):
        font = style.font(8, style.forecast, bold=True)
        axes.text(scene.horizon + 0.8, y, f"{100 * level:.0f} %", ha="left", va="center", zorder=7, **font)


def mark_start(axes: Axes, style: Style, right: float) -> None:
    """The line where the forecast starts and the ground it stands on."""
    axes.axvspan(0.5, right, color=style.forecast, alpha=0.045, linewidth=0, zorder=0)
    axes.axvline(0.5, color=style.forecast, linewidth=1.1, dashes=(2, 2), zorder=3)


def label_start(axes: Axes, scene: ChartData, style: Style) -> None:
    """The as-of time at the top of the start line."""
    forecast = scene.forecast
    time = forecast.start.strftime("%Y-%m-%d %H:%M" if forecast.interval.intraday else "%Y-%m-%d")
    box = {"facecolor": style.ground, "edgecolor": "none", "pad": 1.5, "alpha": 0.8}
    top = axes.get_xaxis_transform()
    for text, right, font in (
        (f"as of {time}", False, style.font(8.5, style.muted) | {"bbox": box}),
        ("forecast", True, style.font(8.5, style.forecast, bold=True)),
    ):
        font |= {"ha": "left" if right else "right", "va": "top", "zorder": 7}
        axes.annotate(
            text,
            (0.5, 1.0),
            xytext=(7 if right else -7, -7),
            xycoords=top,
            textcoords="offset points",
            **font,
        )


def mark_last_price(axes: Axes, scene: ChartData, style: Style) -> None:
    """The last close as a dotted line across the chart."""
    axes.axhline(scene.last_close, color=style.muted, linewidth=0.9, linestyle=(0, (1, 2.5)), zorder=1.5)


def tagged_prices(scene: ChartData, span: float) -> list[float]:
    """Prices with a tag on the axis: the last close, and the median's end where it doesn't hide the other."""
    end = float(scene.median[-1])
    return [scene.last_close, end] if abs(end - scene.last_close) > 0.045 * span else [scene.last_close]


def tag_prices(axes: Axes, prices: list[float], style: Style, decimals: int) -> None:
    """Tags on the price axis for `tagged_prices`."""
    for price, color in zip(prices, (style.muted, style.forecast), strict=False):
        box = {"boxstyle": "round,pad=0.28,rounding_size=0.25", "facecolor": color, "edgecolor": "none"}
        axes.annotate(
            format_price(price, decimals),
            (1, price),
            xycoords=axes.get_yaxis_transform(),
            xytext=(5, 0),
            textcoords="offset points",
            ha="left",
            va="center",
            bbox=box,
            annotation_clip=False,
            zorder=8,
            **style.font(8.5, style.ground, bold=True),
        )

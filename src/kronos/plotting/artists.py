"""Elements of a chart: candles, volume bars, the fan, lines and price tags; each is drawn on given axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from kronos.formatting import format_price
from kronos.plotting.style import Style
from kronos.plotting.ticks import spread_apart
from kronos.typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from kronos.plotting.chart_data import ChartData

_BODY = 0.34  # half the width of a candle, in candle distances
_BAND_ALPHA = {0.95: 0.13, 0.8: 0.17, 0.5: 0.24}  # bands overlap: darker inside


def draw_candles(axes: Axes, at: NDArray[Any], candles: FloatArray, style: Style, *, forecast: bool = False) -> None:
    """Draw candlesticks `[N, ≥ 4]`: history coloured by direction, a forecast in its hue with rising candles hollow."""
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
    """Draw muted volume bars of candles `[N, 6]` in the colours of the candles."""
    rising = candles[:, 3] >= candles[:, 0]
    colors = [style.forecast if forecast else style.up if up else style.down for up in rising]
    at = np.asarray(at, dtype=np.float64)
    left, right, tops = at - _BODY, at + _BODY, candles[:, 4]
    bottoms = np.zeros_like(tops)
    corners = [[left, bottoms], [right, bottoms], [right, tops], [left, tops]]
    bars = np.moveaxis(np.array(corners), -1, 0)  # one collection: each bar as a patch of its own takes far longer
    alpha = 0.4 if forecast else 0.55
    axes.add_collection(PolyCollection(list(bars), facecolors=colors, alpha=alpha, linewidths=0, zorder=3))


def draw_fan(axes: Axes, data: ChartData, style: Style) -> None:
    """Draw nested bands from the last close on, or the paths themselves if there are few, and the median dashed."""
    steps = np.arange(data.horizon + 1)
    for level, low, high in data.bands:
        axes.fill_between(steps, low, high, color=style.forecast, alpha=_BAND_ALPHA[level], linewidth=0, zorder=2)
        for edge in (low, high):
            axes.plot(steps, edge, color=style.forecast, alpha=0.35, linewidth=0.6, zorder=2.1)
    if not data.bands and not data.is_point:
        lines = [np.column_stack([steps, path]) for path in data.closes]
        axes.add_collection(LineCollection(lines, colors=style.forecast, alpha=0.55, linewidths=0.9, zorder=2))
    if data.forecast.samples == 1:
        return  # its candles show the path
    halo = [Stroke(linewidth=3.4, foreground=style.ground, alpha=0.75), Normal()]  # keeps the line visible on candles
    line = Line2D(steps, data.median, color=style.forecast, linewidth=1.8, linestyle=(0, (4, 1.6)))
    line.set(path_effects=halo, zorder=6)
    axes.add_line(line)


def label_bands(axes: Axes, data: ChartData, style: Style) -> None:
    """Label each band with its level at its upper end; labels do not overlap."""
    low, high = axes.get_ylim()
    inner = list(reversed(data.bands))
    ends = [float(upper[-1]) for _, _, upper in inner]
    for (level, _, _), y in zip(inner, spread_apart(ends, 0.034 * (high - low)), strict=True):
        font = style.font(8, style.forecast, bold=True)
        axes.text(data.horizon + 0.8, y, f"{100 * level:.0f} %", ha="left", va="center", zorder=7, **font)


def mark_start(axes: Axes, style: Style, right: float) -> None:
    """Draw the line where the forecast starts and the tinted background behind it."""
    axes.axvspan(0.5, right, color=style.forecast, alpha=0.045, linewidth=0, zorder=0)
    axes.axvline(0.5, color=style.forecast, linewidth=1.1, dashes=(2, 2), zorder=3)


def label_start(axes: Axes, data: ChartData, style: Style) -> None:
    """Write the as-of time at the top of the start line."""
    forecast = data.forecast
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


def mark_last_price(axes: Axes, data: ChartData, style: Style) -> None:
    """Draw the last close as a dotted line across the chart."""
    axes.axhline(data.last_close, color=style.muted, linewidth=0.9, linestyle=(0, (1, 2.5)), zorder=1.5)


def tagged_prices(data: ChartData, span: float) -> list[float]:
    """Return the prices with a tag on the axis: the last close, and the last median unless the tags would overlap."""
    end = float(data.median[-1])
    return [data.last_close, end] if abs(end - data.last_close) > 0.045 * span else [data.last_close]


def tag_prices(axes: Axes, prices: list[float], style: Style, decimals: int) -> None:
    """Draw tags on the price axis: the last close, then the last median."""
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

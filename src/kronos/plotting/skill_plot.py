"""Figure of skill by group: a row per group, a marker with its interval per forecaster, the reference at zero."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kronos.formatting import truncate_middle
from kronos.plotting.evaluation_canvas import (
    TOP,
    WIDTH,
    Canvas,
    PlotSeries,
    draw_empty,
    draw_legend,
    legend_height,
    make_canvas,
    mark_percent,
)
from kronos.plotting.style import Palette, Theme

_LETTER = 6.3  # width of a character of the row labels, in points
_AXIS = 38.0  # height of the axis below the pane, in points
_WIDE = 4.0  # intervals this many times wider than the median do not extend the axis


def plot_skill(
    table: pd.DataFrame,
    series: Sequence[PlotSeries],
    *,
    title: str,
    reference: str,
    others: pd.DataFrame | None = None,
    limits: tuple[float, float] | None = None,
    first: str | None = None,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw skill by group.

    Args:
        table: One row per group and forecaster: ``group``, ``forecaster``, ``skill``, ``low``, ``high``; the order of
            its groups is that of the rows.
        series: Forecasters to draw.
        title: Title, such as the step.
        reference: Forecaster that skill is measured against: the line at zero.
        others: Skill of other forecasters for scale (``group``, ``skill``), drawn as small strokes; strokes beyond the
            axis are omitted.
        limits: Limits of the axis, for comparable figures; None fits them to the data.
        first: Group that summarises the others, separated at the top.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    groups = list(dict.fromkeys(table["group"]))
    if first in groups:
        groups.insert(0, groups.pop(groups.index(first)))
    row = max(21.0, 12.0 * len(series) + 6)
    strokes = others is not None and len(others) > 0
    legend = legend_height(series) + (16.0 if strokes else 0.0)
    labels = [truncate_middle(group, 20) for group in groups]
    left = 16 + _LETTER * max([len(label) for label in labels], default=6)
    canvas = make_canvas(
        title,
        f"skill against {reference}",
        height=TOP + row * max(1, len(groups)) + _AXIS + legend + 6,
        left=left,
        bottom=_AXIS + legend + 6,
        right=16,
        grid="x",
        theme=theme,
        palette=palette,
    )
    low, high = skill_limits(table) if limits is None else limits
    if not groups or not math.isfinite(low + high):
        return draw_empty(canvas, "No skill available.")
    axes = canvas.axes
    axes.set_xlim(low, high)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.axvline(0, color=canvas.style.muted, linewidth=1.2, zorder=1.5)
    if first in groups and len(groups) > 1:
        axes.axhline(0.5, color=canvas.style.grid, linewidth=1.6)
    if others is not None:
        _draw_strokes(canvas, others, groups, (low, high))
    for i, forecaster in enumerate(series):
        own = table[table["forecaster"] == forecaster.name].set_index("group")
        _draw_marks(canvas, own, forecaster, groups, (i - (len(series) - 1) / 2) * 12 / row)
    axes.set_yticks(range(len(groups)), labels)
    mark_percent(axes.xaxis)
    _label_directions(canvas, legend)
    draw_legend(canvas, series, legend - 4)
    if strokes:
        _label_strokes(canvas, legend - 4 - legend_height(series))
    figure = canvas.finish()
    if first in groups:
        axes.get_yticklabels()[0].set(color=canvas.style.text, weight="bold")
    return figure


def skill_limits(table: pd.DataFrame) -> tuple[float, float]:
    """Return the limits of an axis with zero, every estimate and every interval that is not exceptionally wide.

    The interval of a group with few forecasts would compress all others; it is cut at the limits. NaN without data.
    """
    columns = [table[name].to_numpy(dtype=np.float64) for name in ("skill", "low", "high")]
    values, low, high = (column[np.isfinite(columns[0])] for column in columns)
    if not values.size:
        return math.nan, math.nan
    widths = high - low
    finite = np.isfinite(widths)
    common = finite & (widths <= _WIDE * np.median(widths[finite])) if finite.any() else finite
    shown = np.concatenate([values, low[common], high[common], [-0.01, 0.01]])
    margin = 0.06 * float(np.ptp(shown))
    return float(shown.min()) - margin, float(shown.max()) + margin


def _draw_marks(canvas: Canvas, own: pd.DataFrame, series: PlotSeries, groups: list[str], shift: float) -> None:
    """Draw the markers and intervals of a forecaster; an arrow where an interval is cut."""
    rows = own.reindex(groups)
    at = np.arange(len(groups)) + shift
    values, low, high = (rows[name].to_numpy(dtype=np.float64) for name in ("skill", "low", "high"))
    color = canvas.color(series)
    left, right = canvas.axes.get_xlim()
    bounded = np.isfinite(low) & np.isfinite(high)
    ends = np.clip(low[bounded], left, right), np.clip(high[bounded], left, right)
    canvas.axes.hlines(at[bounded], *ends, colors=color, linewidth=1.6, zorder=3)
    for beyond, edge, arrow in ((bounded & (low < left), left, "<"), (bounded & (high > right), right, ">")):
        arrows = canvas.axes.plot(np.full(beyond.sum(), edge), at[beyond], linestyle="none", marker=arrow, color=color)
        arrows[0].set(markersize=5, clip_on=False)
    known = np.isfinite(values)
    canvas.axes.plot(values[known], at[known], linestyle="none", zorder=4, **canvas.mark(series))


def _draw_strokes(canvas: Canvas, others: pd.DataFrame, groups: list[str], limits: tuple[float, float]) -> None:
    shown = others[others["group"].isin(groups) & others["skill"].between(*limits)]
    at = shown["group"].map({group: i for i, group in enumerate(groups)}).to_numpy(dtype=np.float64)
    values = shown["skill"].to_numpy(dtype=np.float64)
    canvas.axes.vlines(values, at - 0.3, at + 0.3, colors=canvas.style.muted, linewidth=1.0, alpha=0.55, zorder=2)


def _label_strokes(canvas: Canvas, y: float) -> None:
    ends = [(y - 5) / canvas.height, (y + 5) / canvas.height]
    line = Line2D([14 / WIDTH] * 2, ends, color=canvas.style.muted, linewidth=1.0, alpha=0.55)
    line.set_transform(canvas.figure.transFigure)
    canvas.figure.add_artist(line)
    canvas.write(23, y, "the other baselines", 10.5, canvas.style.muted, va="center")


def _label_directions(canvas: Canvas, legend: float) -> None:
    y = legend + 14
    canvas.write(WIDTH - 16, y, "better →", 10, canvas.style.muted, ha="right", va="center")
    box = canvas.axes.get_position()
    canvas.write(box.x0 * WIDTH, y, "← worse", 10, canvas.style.muted, va="center")

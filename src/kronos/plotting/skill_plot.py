"""Skill at one step: a row a group, a mark a forecaster, with its interval, against the reference at zero."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

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
    shortened,
)
from kronos.plotting.style import Palette, Theme

_LETTER = 6.3  # points, of the labels' size
_AXIS = 38.0
_WIDE = 4.0  # times the median width: an interval that does not decide the axis


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
        table: One row a group and forecaster: ``group``, ``forecaster``, ``skill``, ``low``, ``high``; rows of the
            picture are in the order of its groups.
        series: Who is drawn, and how.
        title: What it shows, such as the step.
        reference: What skill is measured against: the line at zero.
        others: Skill of others that give it a scale (``group``, ``skill``), drawn as small strokes; those beyond the
            axis are left out.
        limits: Ends of the axis, so that several pictures compare; None fits them.
        first: A group that sums the others up, set apart at the top.
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
    labels = [shortened(group, 20) for group in groups]
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
        return draw_empty(canvas, "No skill is known here.")
    axes = canvas.axes
    axes.set_xlim(low, high)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.axvline(0, color=canvas.style.muted, linewidth=1.2, zorder=1.5)
    if first in groups and len(groups) > 1:
        axes.axhline(0.5, color=canvas.style.grid, linewidth=1.6)
    if others is not None:
        _strokes(canvas, others, groups, (low, high))
    for place, one in enumerate(series):
        own = table[table["forecaster"] == one.name].set_index("group")
        _marks(canvas, own, one, groups, (place - (len(series) - 1) / 2) * 12 / row)
    axes.set_yticks(range(len(groups)), labels)
    mark_percent(axes.xaxis)
    _ends(canvas, legend)
    draw_legend(canvas, series, legend - 4)
    if strokes:
        _explain_strokes(canvas, legend - 4 - legend_height(series))
    figure = canvas.finish()
    if first in groups:
        axes.get_yticklabels()[0].set(color=canvas.style.text, weight="bold")
    return figure


def skill_limits(table: pd.DataFrame) -> tuple[float, float]:
    """Ends of an axis that shows zero, every estimate, and every interval but the uncommonly wide; NaN without any.

    A group of a few forecasts has an interval that would squeeze all others to a dot; it is cut at the axis's end.
    """
    columns = [table[name].to_numpy(dtype=np.float64) for name in ("skill", "low", "high")]
    values, low, high = (column[np.isfinite(columns[0])] for column in columns)
    if not values.size:
        return math.nan, math.nan
    widths = high - low
    sure = np.isfinite(widths)
    common = sure & (widths <= _WIDE * np.median(widths[sure])) if sure.any() else sure
    shown = np.concatenate([values, low[common], high[common], [-0.01, 0.01]])
    room = 0.06 * float(np.ptp(shown))
    return float(shown.min()) - room, float(shown.max()) + room


def _marks(canvas: Canvas, own: pd.DataFrame, one: PlotSeries, groups: list[str], shift: float) -> None:
    """A forecaster's marks with their intervals; an arrow where the axis ends before an interval does."""
    rows = own.reindex(groups)
    at = np.arange(len(groups)) + shift
    values, low, high = (rows[name].to_numpy(dtype=np.float64) for name in ("skill", "low", "high"))
    color = canvas.color(one)
    left, right = canvas.axes.get_xlim()
    sure = np.isfinite(low) & np.isfinite(high)
    ends = np.clip(low[sure], left, right), np.clip(high[sure], left, right)
    canvas.axes.hlines(at[sure], *ends, colors=color, linewidth=1.6, zorder=3)
    for beyond, edge, arrow in ((sure & (low < left), left, "<"), (sure & (high > right), right, ">")):
        arrows = canvas.axes.plot(np.full(beyond.sum(), edge), at[beyond], linestyle="none", marker=arrow, color=color)
        arrows[0].set(markersize=5, clip_on=False)
    known = np.isfinite(values)
    canvas.axes.plot(values[known], at[known], linestyle="none", zorder=4, **canvas.mark(one))


def _strokes(canvas: Canvas, others: pd.DataFrame, groups: list[str], limits: tuple[float, float]) -> None:
    shown = others[others["group"].isin(groups) & others["skill"].between(*limits)]
    at = shown["group"].map({group: place for place, group in enumerate(groups)}).to_numpy(dtype=np.float64)
    values = shown["skill"].to_numpy(dtype=np.float64)
    canvas.axes.vlines(values, at - 0.3, at + 0.3, colors=canvas.style.muted, linewidth=1.0, alpha=0.55, zorder=2)


def _explain_strokes(canvas: Canvas, y: float) -> None:
    ends = [(y - 5) / canvas.height, (y + 5) / canvas.height]
    line = Line2D([14 / WIDTH] * 2, ends, color=canvas.style.muted, linewidth=1.0, alpha=0.55)
    line.set_transform(canvas.figure.transFigure)
    canvas.figure.add_artist(line)
    canvas.write(23, y, "the other baselines", 10.5, canvas.style.muted, va="center")


def _ends(canvas: Canvas, legend: float) -> None:
    """Which side is which."""
    y = legend + 14
    canvas.write(WIDTH - 16, y, "better →", 10, canvas.style.muted, ha="right", va="center")
    box = canvas.axes.get_position()
    canvas.write(box.x0 * WIDTH, y, "← worse", 10, canvas.style.muted, va="center")

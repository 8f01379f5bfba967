"""Cumulative rank correlation: whether forecasts order the instruments of a date as what came does, again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kronos.plotting.evaluations.canvas import (
    Canvas,
    Series,
    draw_legend,
    label_times,
    legend_height,
    make_canvas,
    nothing,
)
from kronos.plotting.style import Palette, Theme


def plot_cumulative_ic(
    coefficients: Mapping[str, pd.Series],
    series: Sequence[Series],
    *,
    title: str,
    subtitle: str = "rank correlation across instruments, summed up",
    error: float | None = None,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw the running sum of the rank correlations of each date.

    Args:
        coefficients: By forecaster, one a date, indexed by ascending times.
        series: Who is drawn, and how.
        title: What it shows, such as the group.
        subtitle: What the lines are.
        error: What one coefficient's chance amounts to (the standard error of their mean times the root of their
            number): with it, the cone that chance alone seldom leaves is drawn.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    known = {one.name: coefficients[one.name].dropna() for one in series if one.name in coefficients}
    shown = [one for one in series if len(known.get(one.name, ()))]
    legend = legend_height(shown) + 4
    canvas = make_canvas(
        title, subtitle, height=248 + legend, left=38, right=50, bottom=54 + legend, theme=theme, palette=palette
    )
    if not shown:
        return nothing(canvas, "No date has five instruments to compare.")
    axes = canvas.axes
    times = pd.DatetimeIndex(sorted(set().union(*(known[one.name].index for one in shown))))
    places = pd.Series(np.arange(len(times)), index=times)
    axes.set_xlim(-0.5, max(1, len(times) - 1) * 1.01)
    axes.axhline(0, color=canvas.style.muted, linewidth=1.2, zorder=1.5)
    if error is not None and np.isfinite(error):
        cone = 1.96 * error * np.sqrt(np.arange(1, len(times) + 1))
        axes.fill_between(places, -cone, cone, color=canvas.style.muted, alpha=0.16, linewidth=0, zorder=1)
    for one in shown:
        own = known[one.name]
        at, total = places.loc[own.index].to_numpy(), own.cumsum().to_numpy()
        dashes = (None, None) if one.filled else (3, 1.5)
        axes.plot(at, total, color=canvas.color(one), linewidth=1.6, dashes=dashes, zorder=3)
        axes.plot(at[-1:], total[-1:], linestyle="none", zorder=4, clip_on=False, **canvas.mark(one))
    _end_labels(canvas, [(float(known[one.name].sum()), one) for one in shown])
    label_times(canvas, times)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    canvas.write(10, legend + 6, "grey: what chance alone seldom leaves" if error else "", 10, canvas.style.muted)
    draw_legend(canvas, shown, legend - 6)
    return canvas.finish()


def _end_labels(canvas: Canvas, ends: list[tuple[float, Series]]) -> None:
    """The sums beside the ends of the lines, apart from each other."""
    low, high = canvas.axes.get_ylim()
    gap, last = 0.07 * (high - low), -np.inf
    for total, one in sorted(ends, key=lambda end: end[0]):
        last = max(total, last + gap)
        canvas.axes.annotate(
            f"{total:+.1f}".replace("-", "−"),
            (1, last),
            xycoords=canvas.axes.get_yaxis_transform(),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            **canvas.style.font(10.5, canvas.color(one), bold=True),
        )

"""Figures of a backtest: wealth, drawdown, information coefficients, decay, quantiles, costs, random signals.

All texts but numbers and dates come from the caller, who knows the language of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from kronos.formatting import format_number, percent
from kronos.plotting.evaluation_canvas import (
    Canvas,
    PlotSeries,
    draw_empty,
    draw_legend,
    label_times,
    legend_height,
    make_canvas,
    mark_percent,
)
from kronos.plotting.style import Palette, Theme
from kronos.typing import FloatArray

_MOST_BARS = 60  # that can be told apart
_WIDE = 8.0  # largest over smallest wealth, from which ticks are powers of ten


def plot_wealth(
    wealth: Mapping[str, pd.Series],
    series: Sequence[PlotSeries],
    *,
    title: str,
    subtitle: str,
    empty: str,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw the growth of 1 on a logarithmic axis.

    Args:
        wealth: Wealth by portfolio, indexed by ascending times; it starts near 1.
        series: Portfolios to draw, the last one on top.
        title: Title.
        subtitle: Subtitle.
        empty: Text where nothing can be drawn.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    # On a logarithmic axis a lost account has no place.
    known = {name: own.where(own > 0).dropna() for name, own in wealth.items()}
    shown = [entry for entry in series if len(known.get(entry.name, ())) > 1]
    legend = legend_height(shown) + 4
    canvas = make_canvas(
        title, subtitle, height=262 + legend, left=42, right=16, bottom=38 + legend, theme=theme, palette=palette
    )
    if not shown:
        return draw_empty(canvas, empty)
    axes = canvas.axes
    times = pd.DatetimeIndex(sorted(set().union(*(known[entry.name].index for entry in shown))))
    positions = pd.Series(np.arange(len(times)), index=times)
    axes.set_yscale("log")
    axes.axhline(1, color=canvas.style.muted, linewidth=1.0, dashes=(3, 2.5), zorder=1.5)
    for place, entry in enumerate(shown):
        own = known[entry.name]
        at = positions.loc[own.index].to_numpy()
        first = place == len(shown) - 1
        axes.plot(at, own.to_numpy(), color=canvas.color(entry), linewidth=2.0 if first else 1.1, zorder=3 + place)
    axes.set_xlim(-0.5, len(times) - 0.5)
    _wealth_ticks(canvas, np.concatenate([known[entry.name].to_numpy() for entry in shown]))
    label_times(canvas, times)
    named = [
        PlotSeries(f"{entry.name}  {percent(float(known[entry.name].iloc[-1]) - 1)}", entry.hue, entry.filled)
        for entry in reversed(shown)
    ]
    draw_legend(canvas, named, legend - 6)
    return canvas.finish()


def _wealth_ticks(canvas: Canvas, values: FloatArray) -> None:
    """Write wealth as multiples of the start."""
    axis = canvas.axes.yaxis
    wide = float(values.max() / values.min()) > _WIDE
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def plot_drawdowns(
    depths: Mapping[str, pd.Series],
    series: Sequence[PlotSeries],
    *,
    title: str,
    subtitle: str,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw the distance of wealth from its peak.

    Args:
        depths: Distance from the peak by portfolio, 0 or below, indexed by ascending times.
        series: Portfolios to draw; the last one is filled.
        title: Title.
        subtitle: Subtitle.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    legend = legend_height(series) + 4
    canvas = make_canvas(
        title, subtitle, height=212 + legend, left=58, right=16, bottom=38 + legend, theme=theme, palette=palette
    )
    axes = canvas.axes
    for place, entry in enumerate(series):
        values = depths[entry.name].to_numpy(np.float64)
        if place == len(series) - 1:
            axes.fill_between(np.arange(len(values)), values, 0, color=canvas.color(entry), alpha=0.22, linewidth=0)
        axes.plot(values, color=canvas.color(entry), linewidth=1.3, zorder=3 + place)
    times = pd.DatetimeIndex(depths[series[-1].name].index)
    axes.set_xlim(-0.5, max(1, len(times)) - 0.5)
    axes.set_ylim(top=0)
    mark_percent(axes.yaxis)
    label_times(canvas, times)
    named = [
        PlotSeries(f"{entry.name}  {percent(float(depths[entry.name].min()))}", entry.hue, entry.filled)
        for entry in reversed(series)
    ]
    draw_legend(canvas, named, legend - 6)
    return canvas.finish()


def plot_coefficient_bars(
    coefficients: pd.Series,
    *,
    title: str,
    subtitle: Mapping[Literal["day", "month", "quarter"], str],
    empty: str,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw information coefficients as bars: by day, or their means by month or quarter if there are many.

    Args:
        coefficients: One coefficient per day, indexed by ascending times.
        title: Title.
        subtitle: Subtitle by what a bar is.
        empty: Text where nothing can be drawn.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    unit: Literal["day", "month", "quarter"] = "day"
    means = coefficients.dropna()
    if len(means) > _MOST_BARS:
        monthly = means.resample("MS").mean().dropna()
        unit, means = "month", monthly
        if len(monthly) > _MOST_BARS:
            unit, means = "quarter", coefficients.dropna().resample("QS").mean().dropna()
    canvas = make_canvas(title, subtitle[unit], height=220, left=44, right=16, theme=theme, palette=palette)
    if means.empty:
        return draw_empty(canvas, empty)
    values = means.to_numpy(np.float64)
    colors = np.where(values >= 0, canvas.style.up, canvas.style.down).tolist()
    canvas.axes.bar(np.arange(len(values)), values, width=0.8, color=colors, linewidth=0, zorder=2)
    canvas.axes.axhline(0, color=canvas.style.muted, linewidth=1.2, zorder=3)
    canvas.axes.set_xlim(-0.7, len(values) - 0.3)
    canvas.axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    label_times(canvas, pd.DatetimeIndex(means.index))
    return canvas.finish()


def plot_intervals(
    table: pd.DataFrame,
    *,
    title: str,
    subtitle: str,
    axis: str,
    shares: bool = False,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw bars with intervals, such as the decay of a coefficient by lag or returns by quantile.

    Args:
        table: One row per bar: ``label``, ``value``, ``low``, ``high``.
        title: Title.
        subtitle: Subtitle.
        axis: Words below the axis.
        shares: Whether values are shares, which are written in percent.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    canvas = make_canvas(
        title, subtitle, height=232, left=56 if shares else 46, right=16, bottom=46, theme=theme, palette=palette
    )
    axes, at = canvas.axes, np.arange(len(table))
    values, low, high = (table[name].to_numpy(dtype=np.float64) for name in ("value", "low", "high"))
    axes.bar(at, np.nan_to_num(values), width=0.62, color=canvas.hues[0], alpha=0.8, linewidth=0, zorder=2)
    bounded = np.isfinite(low) & np.isfinite(high)
    axes.vlines(at[bounded], low[bounded], high[bounded], colors=canvas.style.text, linewidth=1.6, zorder=3)
    axes.axhline(0, color=canvas.style.muted, linewidth=1.2, zorder=2.5)
    axes.set_xlim(-0.6, len(table) - 0.4)
    axes.set_xticks(at, [str(label) for label in table["label"]])
    if shares:
        mark_percent(axes.yaxis)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    canvas.write(10, 8, axis, 10, canvas.style.muted)
    return canvas.finish()


def plot_sharpe_distribution(
    sharpes: FloatArray,
    marks: Sequence[tuple[PlotSeries, float]],
    *,
    title: str,
    subtitle: str,
    axis: str,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw the Sharpe ratios of random signals as a histogram, and others as lines over it.

    Args:
        sharpes: Ratios of the random signals. [R]
        marks: Ratios to mark; NaN is left out.
        title: Title.
        subtitle: Subtitle.
        axis: Words below the axis.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    known = [(entry, value) for entry, value in marks if np.isfinite(value)]
    legend = legend_height([entry for entry, _ in known]) + 22
    canvas = make_canvas(
        title, subtitle, height=222 + legend, left=34, right=16, bottom=26 + legend, theme=theme, palette=palette
    )
    axes = canvas.axes
    bins = int(np.clip(2 * np.sqrt(len(sharpes)), 5, 40))
    axes.hist(sharpes, bins=bins, color=canvas.style.muted, alpha=0.5, linewidth=0, zorder=2)
    top = axes.get_ylim()[1]
    for place, (entry, value) in enumerate(known):
        axes.plot([value, value], [0, top * 0.93], color=canvas.color(entry), linewidth=1.6, zorder=3 + place)
        axes.plot([value], [top * 0.93], linestyle="none", zorder=4 + place, **canvas.mark(entry))
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value, 1)))
    canvas.write(10, legend - 2, axis, 10, canvas.style.muted)
    named = [PlotSeries(f"{entry.name}  {format_number(value, 2)}", entry.hue, entry.filled) for entry, value in known]
    draw_legend(canvas, named, legend - 24)
    return canvas.finish()


def plot_return_parts(
    parts: Sequence[tuple[str, float]],
    *,
    title: str,
    subtitle: str,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw from the return before costs, over each cost, to what is left.

    Args:
        parts: Label and share of each bar: the return before costs, then costs above 0, then the return after costs.
        title: Title.
        subtitle: Subtitle.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    canvas = make_canvas(title, subtitle, height=224, left=56, right=16, bottom=34, theme=theme, palette=palette)
    axes, level = canvas.axes, parts[0][1]
    ends = [0.0, level]
    for place, (_, value) in enumerate(parts):
        is_total = place in (0, len(parts) - 1)
        start, end = (0.0, value) if is_total else (level, level - value)
        level = level if is_total else end
        ends.append(end)
        color = (canvas.style.up if value >= 0 else canvas.style.down) if is_total else canvas.style.muted
        axes.bar(place, end - start, bottom=start, width=0.6, color=color, linewidth=0, zorder=2)
        text = percent(value) if is_total else f"−{percent(abs(value))}"
        # Beyond the end of a bar that points down, so that no label crosses the axis.
        below = min(start, end) < 0 and max(start, end) <= 0
        edge, offset = (min(start, end), -3) if below else (max(start, end), 3)
        canvas.axes.annotate(
            text,
            (place, edge),
            (0, offset),
            textcoords="offset points",
            ha="center",
            va="top" if below else "bottom",
            zorder=4,
            parse_math=False,
            **canvas.style.font(10, canvas.style.text),
        )
    axes.axhline(0, color=canvas.style.muted, linewidth=1.2, zorder=3)
    low, high = min(ends), max(ends)
    margin = 0.14 * (high - low or 1.0)
    axes.set_ylim(low - (margin if low < 0 else margin / 2), high + (margin if high > 0 else margin / 3))
    axes.set_xlim(-0.5, len(parts) - 0.5)
    axes.set_xticks(range(len(parts)), [label for label, _ in parts])
    mark_percent(axes.yaxis)
    return canvas.finish()


__all__ = [
    "plot_coefficient_bars",
    "plot_drawdowns",
    "plot_intervals",
    "plot_return_parts",
    "plot_sharpe_distribution",
    "plot_wealth",
]

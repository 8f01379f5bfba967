"""Coverage of central bands by step: what they cover beside what they promise."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kronos.plotting.evaluations.canvas import Canvas, Series, make_canvas, nothing, percent
from kronos.plotting.style import Palette, Theme


def plot_coverage(
    table: pd.DataFrame,
    series: Series,
    *,
    title: str | None = None,
    subtitle: str = "share of outcomes within the bands, by step",
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw what a forecaster's bands cover.

    Args:
        table: One row a step and band: ``step``, ``band`` (its level, such as 0.8), ``coverage``, ``low``, ``high``.
        series: Whose.
        title: None for the forecaster's name.
        subtitle: What it shows.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    canvas = make_canvas(
        series.name if title is None else title,
        subtitle,
        height=252,
        left=78,
        right=20,
        bottom=38,
        grid="x",
        theme=theme,
        palette=palette,
    )
    known = table[np.isfinite(table["coverage"].to_numpy(dtype=np.float64))]
    if known.empty:
        return nothing(canvas, "No outcome is known here.")
    axes = canvas.axes
    steps = sorted(known["step"].unique())
    bands = sorted(known["band"].unique(), reverse=True)
    low, high = _reach(known)
    axes.set_xlim(-0.35, len(steps) - 0.35)
    axes.set_ylim(-(high - low) * (len(bands) - 1) + low, high)
    for place, band in enumerate(bands):
        base = -(high - low) * place
        axes.axhline(base, color=canvas.style.muted, linewidth=1.1, dashes=(3, 2.5), zorder=1.5)
        if place:
            axes.axhline(base + high, color=canvas.style.grid, linewidth=1.6, zorder=1)
        _draw(canvas, known[known["band"] == band].sort_values("step"), series, steps, base - float(band))
    axes.set_yticks(
        [-(high - low) * place for place in range(len(bands))], [f"{100 * band:.0f} % band" for band in bands]
    )
    axes.set_xticks(range(len(steps)), [str(step) for step in steps])
    canvas.write(10, 8, "candles ahead; dashed: what the band promises", 10, canvas.style.muted)
    return canvas.finish()


def _reach(known: pd.DataFrame) -> tuple[float, float]:
    """How far below and above its promise a strip goes, the same for every band."""
    ends = known[["coverage", "low", "high"]].sub(known["band"], axis=0).to_numpy(dtype=np.float64)
    low, high = min(-0.05, float(np.nanmin(ends))), max(0.05, float(np.nanmax(ends)))
    room = 0.12 * (high - low)
    return low - room, high + room


def _draw(canvas: Canvas, own: pd.DataFrame, series: Series, steps: list[int], shift: float) -> None:
    """One band's marks, intervals and numbers, in its strip."""
    at = own["step"].map({step: place for place, step in enumerate(steps)}).to_numpy(dtype=np.float64)
    values, low, high = (own[name].to_numpy(dtype=np.float64) for name in ("coverage", "low", "high"))
    sure = np.isfinite(low) & np.isfinite(high)
    color, ground = canvas.color(series), canvas.style.ground
    canvas.axes.vlines(at[sure], low[sure] + shift, high[sure] + shift, colors=color, linewidth=1.8, zorder=3)
    canvas.axes.plot(at, values + shift, linestyle="none", zorder=4, **canvas.mark(series))
    box = {"facecolor": ground, "edgecolor": "none", "pad": 1.0}
    for x, value in zip(at, values, strict=True):
        place = (x + 0.035 * len(steps), value + shift)
        canvas.note(*place, percent(value), 10, canvas.style.text, va="center", bbox=box, zorder=2)

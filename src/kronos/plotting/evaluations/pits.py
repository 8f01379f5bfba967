"""PIT histogram: where in its forecast distributions the truth fell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from kronos.plotting.evaluations.canvas import Series, make_canvas, nothing, percent
from kronos.plotting.style import Palette, Theme


def plot_pit(
    shares: npt.ArrayLike,
    expected: tuple[float, float],
    series: Series,
    *,
    title: str | None = None,
    subtitle: str = "where what came fell within the forecast",
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw a histogram of probability integral transforms.

    Args:
        shares: Of the values in equal bins from 0 to 1. [bins]
        expected: Between which shares bars of a calibrated forecaster mostly lie.
        series: Whose.
        title: None for the forecaster's name.
        subtitle: What it shows.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    heights = np.asarray(shares, dtype=np.float64)
    canvas = make_canvas(
        series.name if title is None else title, subtitle, height=214, bottom=40, theme=theme, palette=palette
    )
    if not np.isfinite(heights).any():
        return nothing(canvas, "No outcome is known here.")
    axes, bins = canvas.axes, len(heights)
    flat = 1 / bins
    low, high = expected if np.isfinite(expected).all() else (flat, flat)
    axes.axhspan(max(0.0, low), high, color=canvas.style.muted, alpha=0.22, linewidth=0, zorder=1.5)
    axes.bar(
        (np.arange(bins) + 0.5) / bins,
        np.nan_to_num(heights),
        width=0.84 / bins,
        color=canvas.color(series),
        alpha=0.85,
        linewidth=0,
        zorder=2,
    )
    axes.hlines([max(0.0, low), high], 0, 1, colors=canvas.style.text, linewidth=0.7, alpha=0.5, zorder=3)
    axes.axhline(flat, color=canvas.style.text, linewidth=1.0, dashes=(3, 2.5), zorder=3.1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.12 * max(2 * flat, float(np.nanmax(heights)), high))
    step = next(step for step in (0.05, 0.1, 0.2, 0.25, 0.5) if axes.get_ylim()[1] / step <= 5.5)
    ticks = np.arange(0, axes.get_ylim()[1], step).tolist()
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FixedFormatter([percent(tick) for tick in ticks]))
    axes.set_xticks([0, 0.5, 1], ["0", "median", "1"])
    canvas.write(40, 8, "← came lower than forecast", 10, canvas.style.muted)
    canvas.write(346, 8, "higher →", 10, canvas.style.muted, ha="right")
    return canvas.finish()

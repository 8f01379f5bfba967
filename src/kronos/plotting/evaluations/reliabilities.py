"""Reliability diagram: how often it came beside how likely it was called."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from kronos.plotting.evaluations.canvas import Array, Canvas, Series, make_canvas, mark_percent, nothing
from kronos.plotting.style import Palette, Theme

_STRIP = 34.0  # points of the counts below the diagram


def plot_reliability(
    table: pd.DataFrame,
    series: Series,
    *,
    title: str | None = None,
    subtitle: str = "how often prices rose, by how likely that was called",
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw probabilities against what happened.

    Args:
        table: One row a bin, by rising probability: ``forecast`` (mean probability), ``observed`` (share that
            happened), ``n``, and ``low`` and ``high``, between which the share of a calibrated forecaster mostly lies.
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
        height=292,
        bottom=46 + _STRIP,
        right=24,
        left=44,
        grid="both",
        theme=theme,
        palette=palette,
    )
    known = table[np.isfinite(table[["forecast", "observed"]].to_numpy(dtype=np.float64)).all(axis=1)]
    if known.empty:
        return nothing(canvas, "No probability is known here.")
    axes = canvas.axes
    forecast, observed = known["forecast"].to_numpy(dtype=np.float64), known["observed"].to_numpy(dtype=np.float64)
    counts = known["n"].to_numpy(dtype=np.float64)
    limits = _limits(np.r_[forecast, observed])
    axes.set_xlim(*limits)
    axes.set_ylim(*limits)
    axes.plot(limits, limits, color=canvas.style.text, linewidth=1.0, dashes=(3, 2.5), zorder=2)
    band = known[np.isfinite(known[["low", "high"]].to_numpy(dtype=np.float64)).all(axis=1)]
    if len(band) > 1:
        edges = [band[name].to_numpy(dtype=np.float64) for name in ("forecast", "low", "high")]
        axes.fill_between(*edges, color=canvas.style.muted, alpha=0.22, linewidth=0, zorder=1.5)
    elif len(band):
        edge = band.iloc[0]
        axes.vlines(edge["forecast"], edge["low"], edge["high"], colors=canvas.style.muted, alpha=0.4, linewidth=6)
    axes.plot(forecast, observed, color=canvas.color(series), linewidth=1.2, alpha=0.6, zorder=3)
    axes.plot(forecast, observed, linestyle="none", zorder=4, **canvas.mark(series))
    for axis in (axes.xaxis, axes.yaxis):
        mark_percent(axis)
    _counts(canvas, forecast, counts, limits)
    canvas.write(10, 8, "called probability · dashed: as promised · bars: how many", 10, canvas.style.muted)
    return canvas.finish()


def _limits(values: Array) -> tuple[float, float]:
    """An axis around one half that shows everything."""
    half = min(0.5, 0.03 + 1.1 * max(0.1, float(np.abs(values - 0.5).max())))
    return 0.5 - half, 0.5 + half


def _counts(canvas: Canvas, at: Array, counts: npt.NDArray[np.float64], limits: tuple[float, float]) -> None:
    """Bars for how many forecasts each mark rests on, with the largest number written."""
    box = canvas.axes.get_position()
    strip = canvas.figure.add_axes((box.x0, 24 / canvas.height, box.width, _STRIP / canvas.height))
    strip.set_axis_off()
    strip.set_xlim(*limits)
    most = float(counts.max())
    strip.set_ylim(0, 1.0)
    gaps = np.diff(at)
    width = 0.7 * min(float(gaps.min()) if gaps.size else 0.05, 0.06 * (limits[1] - limits[0]))
    strip.bar(at, 0.55 * counts / most, width=width, color=canvas.style.muted, alpha=0.6, linewidth=0)
    peak = float(at[int(counts.argmax())])
    strip.text(peak, 0.6, f"{most:,.0f}", ha="center", va="bottom", **canvas.style.font(9.5, canvas.style.muted))

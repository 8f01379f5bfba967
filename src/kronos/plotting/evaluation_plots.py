"""Figures of an evaluation: coverage of bands, fans of forecasts, cumulative IC, PIT histograms, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator

from kronos.forecasts import BANDS, sample_quantiles
from kronos.forecasts.statistics import band_levels
from kronos.formatting import format_price, percent
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
from kronos.plotting.ticks import price_decimals, tick_decimals
from kronos.typing import FloatArray


def plot_coverage(
    table: pd.DataFrame,
    series: PlotSeries,
    *,
    title: str | None = None,
    subtitle: str = "share of actual values in each band, by step",
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw the empirical coverage of a forecaster's bands.

    Args:
        table: One row per step and band: ``step``, ``band`` (level, such as 0.8), ``coverage``, ``low``, ``high``.
        series: The forecaster.
        title: Title; None for the name of the forecaster.
        subtitle: Subtitle.
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
        return draw_empty(canvas, "No actual values available.")
    axes = canvas.axes
    steps = sorted(known["step"].unique())
    bands = sorted(known["band"].unique(), reverse=True)
    low, high = _deviation_limits(known)
    axes.set_xlim(-0.35, len(steps) - 0.35)
    axes.set_ylim(-(high - low) * (len(bands) - 1) + low, high)
    for i, band in enumerate(bands):
        base = -(high - low) * i
        axes.axhline(base, color=canvas.style.muted, linewidth=1.1, dashes=(3, 2.5), zorder=1.5)
        if i:
            axes.axhline(base + high, color=canvas.style.grid, linewidth=1.6, zorder=1)
        _draw_coverage(canvas, known[known["band"] == band].sort_values("step"), series, steps, base - float(band))
    axes.set_yticks([-(high - low) * i for i in range(len(bands))], [f"{100 * band:.0f} % band" for band in bands])
    axes.set_xticks(range(len(steps)), [str(step) for step in steps])
    canvas.write(10, 8, "candles ahead; dashed: nominal coverage", 10, canvas.style.muted)
    return canvas.finish()


def _deviation_limits(known: pd.DataFrame) -> tuple[float, float]:
    """Return the limits of a strip below and above the nominal coverage, the same for every band."""
    ends = known[["coverage", "low", "high"]].sub(known["band"], axis=0).to_numpy(dtype=np.float64)
    low, high = min(-0.05, float(np.nanmin(ends))), max(0.05, float(np.nanmax(ends)))
    margin = 0.12 * (high - low)
    return low - margin, high + margin


def _draw_coverage(canvas: Canvas, own: pd.DataFrame, series: PlotSeries, steps: list[int], shift: float) -> None:
    """Draw the markers, intervals and numbers of a band in its strip."""
    at = own["step"].map({step: i for i, step in enumerate(steps)}).to_numpy(dtype=np.float64)
    values, low, high = (own[name].to_numpy(dtype=np.float64) for name in ("coverage", "low", "high"))
    bounded = np.isfinite(low) & np.isfinite(high)
    color, ground = canvas.color(series), canvas.style.ground
    canvas.axes.vlines(at[bounded], low[bounded] + shift, high[bounded] + shift, colors=color, linewidth=1.8, zorder=3)
    canvas.axes.plot(at, values + shift, linestyle="none", zorder=4, **canvas.mark(series))
    box = {"facecolor": ground, "edgecolor": "none", "pad": 1.0}
    for x, value in zip(at, values, strict=True):
        position = (x + 0.035 * len(steps), value + shift)
        canvas.note(*position, percent(value, 0), 10, canvas.style.text, va="center", bbox=box, zorder=2)


_ALPHAS = {0.95: 0.14, 0.8: 0.18, 0.5: 0.26}


def plot_fan(
    history: pd.Series,
    paths: npt.ArrayLike,
    actual: pd.Series,
    series: PlotSeries,
    *,
    title: str,
    subtitle: str = "",
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw a forecast of the close and the actual closes.

    Args:
        history: Closes of the history by time. [N]
        paths: Sampled closes. [S, H]
        actual: Actual closes by time, NaN where unknown. [H]
        series: The forecaster.
        title: Title, such as instrument and date.
        subtitle: Subtitle, such as the score.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    canvas = make_canvas(title, subtitle, height=240, left=12, right=58, bottom=38, theme=theme, palette=palette)
    closes = np.asarray(paths, dtype=np.float64)
    if not len(history) or not closes.size or not np.isfinite(closes).all():
        return draw_empty(canvas, "No forecast available.")
    axes, start = canvas.axes, float(history.iloc[-1])
    known, actual_closes = history.to_numpy(dtype=np.float64), actual.to_numpy(dtype=np.float64)
    steps = np.arange(closes.shape[1] + 1)
    axes.set_xlim(-len(known), steps[-1] + 0.5)
    axes.axvline(0, color=canvas.style.muted, linewidth=1.0, dashes=(2, 2), zorder=1.5)
    _draw_bands(canvas, steps, np.column_stack([np.full(len(closes), start), closes]), series)
    axes.plot(np.arange(1 - len(known), 1), known, color=canvas.style.muted, linewidth=1.3, zorder=3)
    axes.plot(steps, np.r_[start, actual_closes], color=canvas.style.text, linewidth=1.9, zorder=4)
    finite = np.flatnonzero(np.isfinite(actual_closes))
    if finite.size:
        end = int(finite[-1])
        (line,) = axes.plot([end + 1], [actual_closes[end]], marker="o", markersize=4.5, color=canvas.style.text)
        line.set(zorder=5, clip_on=False)
    _label_axes(canvas, history, actual, known)
    return canvas.finish()


def _draw_bands(canvas: Canvas, steps: npt.NDArray[np.int64], closes: FloatArray, series: PlotSeries) -> None:
    """Draw nested bands, the widest first, and the median; only the line if all paths are equal."""
    axes, color = canvas.axes, canvas.color(series)
    if not (closes == closes[0]).all():
        for level in sorted(BANDS, reverse=True):
            low, high = sample_quantiles(closes, band_levels(level))
            axes.fill_between(steps, low, high, color=color, alpha=_ALPHAS[level], linewidth=0, zorder=2)
    axes.plot(steps, np.median(closes, axis=0), color=color, linewidth=1.5, dashes=(4, 1.8), zorder=3.5)


def _label_axes(canvas: Canvas, history: pd.Series, actual: pd.Series, known: FloatArray) -> None:
    """Draw price ticks on the right in the decimals of the market, and time ticks below."""
    axes = canvas.axes
    axes.yaxis.tick_right()
    axes.tick_params(right=False)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    needed = tick_decimals(np.asarray(axes.yaxis.get_major_locator()()), price_decimals(known))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda price, _: format_price(price, needed)))
    label_times(canvas, pd.DatetimeIndex(history.index.append(actual.index)), 1 - len(known))


def plot_cumulative_ic(
    coefficients: Mapping[str, pd.Series],
    series: Sequence[PlotSeries],
    *,
    title: str,
    subtitle: str = "cumulative rank correlation across instruments",
    error: float | None = None,
    chance: str = "grey: 95 % range of chance",
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw the cumulative sum of the rank correlations by date.

    Args:
        coefficients: Coefficients by forecaster, one per date, indexed by ascending times.
        series: Forecasters to draw.
        title: Title, such as the group.
        subtitle: Subtitle.
        error: Standard error of one coefficient (that of their mean times the square root of their number), for a cone
            of 95 % around zero; None draws no cone.
        chance: Words that explain the cone.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    known = {entry.name: coefficients[entry.name].dropna() for entry in series if entry.name in coefficients}
    shown = [entry for entry in series if len(known.get(entry.name, ()))]
    legend = legend_height(shown) + 4
    canvas = make_canvas(
        title, subtitle, height=248 + legend, left=38, right=50, bottom=54 + legend, theme=theme, palette=palette
    )
    if not shown:
        return draw_empty(canvas, "No date has five instruments.")
    axes = canvas.axes
    times = pd.DatetimeIndex(sorted(set().union(*(known[entry.name].index for entry in shown))))
    positions = pd.Series(np.arange(len(times)), index=times)
    axes.set_xlim(-0.5, max(1, len(times) - 1) * 1.01)
    axes.axhline(0, color=canvas.style.muted, linewidth=1.2, zorder=1.5)
    if error is not None and np.isfinite(error):
        cone = 1.96 * error * np.sqrt(np.arange(1, len(times) + 1))
        axes.fill_between(positions, -cone, cone, color=canvas.style.muted, alpha=0.16, linewidth=0, zorder=1)
    for entry in shown:
        own = known[entry.name]
        at, total = positions.loc[own.index].to_numpy(), own.cumsum().to_numpy()
        dashes = (None, None) if entry.filled else (3, 1.5)
        axes.plot(at, total, color=canvas.color(entry), linewidth=1.6, dashes=dashes, zorder=3)
        axes.plot(at[-1:], total[-1:], linestyle="none", zorder=4, clip_on=False, **canvas.mark(entry))
    _label_ends(canvas, [(float(known[entry.name].sum()), entry) for entry in shown])
    label_times(canvas, times)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    canvas.write(10, legend + 6, chance if error else "", 10, canvas.style.muted)
    draw_legend(canvas, shown, legend - 6)
    return canvas.finish()


def _label_ends(canvas: Canvas, ends: list[tuple[float, PlotSeries]]) -> None:
    """Write the sums at the ends of the lines; labels do not overlap."""
    low, high = canvas.axes.get_ylim()
    gap, last = 0.07 * (high - low), -np.inf
    for total, series in sorted(ends, key=lambda end: end[0]):
        last = max(total, last + gap)
        canvas.axes.annotate(
            f"{total:+.1f}".replace("-", "−"),
            (1, last),
            xycoords=canvas.axes.get_yaxis_transform(),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            **canvas.style.font(10.5, canvas.color(series), bold=True),
        )


def plot_pit(
    shares: npt.ArrayLike,
    expected: tuple[float, float],
    series: PlotSeries,
    *,
    title: str | None = None,
    subtitle: str = "quantile of the actual value in the forecast",
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw a histogram of probability integral transforms (PIT).

    Args:
        shares: Share of the values in each of equal bins from 0 to 1. [bins]
        expected: Interval of the shares of a calibrated forecaster.
        series: The forecaster.
        title: Title; None for the name of the forecaster.
        subtitle: Subtitle.
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
        return draw_empty(canvas, "No actual values available.")
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
    axes.yaxis.set_major_formatter(FixedFormatter([percent(tick, 0) for tick in ticks]))
    axes.set_xticks([0, 0.5, 1], ["0", "median", "1"])
    canvas.write(40, 8, "← lower than forecast", 10, canvas.style.muted)
    canvas.write(346, 8, "higher →", 10, canvas.style.muted, ha="right")
    return canvas.finish()


_STRIP = 34.0  # height of the counts below the pane, in points


def plot_reliability(
    table: pd.DataFrame,
    series: PlotSeries,
    *,
    title: str | None = None,
    subtitle: str = "share of rising prices, by forecast probability",
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw a reliability diagram: observed shares by forecast probability.

    Args:
        table: One row per bin, by ascending probability: ``forecast`` (mean probability), ``observed`` (share of
            events), ``n``, and ``low`` and ``high``, the interval of the share of a calibrated forecaster.
        series: The forecaster.
        title: Title; None for the name of the forecaster.
        subtitle: Subtitle.
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
        return draw_empty(canvas, "No probabilities available.")
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
    _draw_counts(canvas, forecast, counts, limits)
    canvas.write(10, 8, "forecast probability · dashed: calibrated · bars: counts", 10, canvas.style.muted)
    return canvas.finish()


def _limits(values: FloatArray) -> tuple[float, float]:
    """Return limits of an axis around one half with all values."""
    half = min(0.5, 0.03 + 1.1 * max(0.1, float(np.abs(values - 0.5).max())))
    return 0.5 - half, 0.5 + half


def _draw_counts(canvas: Canvas, at: FloatArray, counts: FloatArray, limits: tuple[float, float]) -> None:
    """Draw a bar for the number of forecasts of each marker, and write the largest number."""
    box = canvas.axes.get_position()
    strip = canvas.figure.add_axes((box.x0, 24 / canvas.height, box.width, _STRIP / canvas.height))
    strip.set_axis_off()
    strip.set_xlim(*limits)
    largest = float(counts.max())
    strip.set_ylim(0, 1.0)
    gaps = np.diff(at)
    width = 0.7 * min(float(gaps.min()) if gaps.size else 0.05, 0.06 * (limits[1] - limits[0]))
    strip.bar(at, 0.55 * counts / largest, width=width, color=canvas.style.muted, alpha=0.6, linewidth=0)
    peak = float(at[int(counts.argmax())])
    strip.text(peak, 0.6, f"{largest:,.0f}", ha="center", va="bottom", **canvas.style.font(9.5, canvas.style.muted))

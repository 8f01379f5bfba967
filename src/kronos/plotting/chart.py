"""Charts of forecasts: price pane, volume pane, title, legend and footnote."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from kronos.atomic import atomic_path
from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.forecasts import Forecast, ForecastMetadata
from kronos.formatting import format_price, plural
from kronos.plotting import artists
from kronos.plotting.chart_data import ChartData, make_chart_data
from kronos.plotting.style import Palette, Style, Theme, legible, make_style
from kronos.plotting.ticks import format_volume, price_decimals, tick_decimals, time_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEFT, _RIGHT = 0.018, 0.928


def plot_forecast(
    forecast: Forecast,
    *,
    path: str | Path | None = None,
    actual: Candles | pd.DataFrame | None = None,
    history_bars: int | None = None,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw a forecast: candles, nested bands of the close, the median, one sample path, volume.

    The bands are the central 50, 80 and 95 % of the paths' closes at each step. The candles after the start line are
    the most central path (`Forecast.representative`). With fewer than 20 paths, the paths are drawn instead of bands.
    With ``actual``, the actual candles are drawn and the path becomes a line.

    Args:
        forecast: The forecast.
        path: File to save; its suffix sets the format (png, svg, pdf …). None does not save.
        actual: Actual candles, matched by time.
        history_bars: Number of history candles; default three times the horizon, between 60 and 240.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` (as in China) or ``colour-blind``.

    Returns:
        A matplotlib figure that pyplot does not manage.

    Raises:
        ParameterError: If an option is unknown, ``history_bars`` is below 1, or the suffix is not a figure format.
        DataError: If ``actual`` lacks a column or shares no time with the forecast.
        StorageError: If the file cannot be written.
    """
    style = make_style(theme, palette)
    data = make_chart_data(forecast, actual, history_bars)
    figure = Figure(figsize=(12, 6.75), dpi=150, facecolor=style.ground)
    price, volume = _panes(figure, data, style)
    draw_price(price, data, style)
    if volume is not None:
        _draw_volume(volume, data, style)
    label_times(volume or price, data, style)
    _write_texts(figure, data, style)
    if path is not None:
        save_figure(figure, Path(path))
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Save a figure atomically.

    Raises:
        ParameterError: If the suffix is not a figure format.
        StorageError: If the file cannot be written.
    """
    formats = figure.canvas.get_supported_filetypes()
    suffix = path.suffix.lstrip(".").lower()
    if suffix not in formats:
        raise ParameterError(f"Invalid figure file '{path.name}': use a name that ends in .png, .svg or .pdf.")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=suffix, facecolor=figure.get_facecolor())


def draw_price(axes: Axes, data: ChartData, style: Style) -> None:
    """Draw a price pane with its price axis, without its time axis."""
    right = right_edge(data)
    axes.set_xlim(data.first - 1, right)
    axes.set_ylim(*data.price_limits())
    artists.mark_start(axes, style, right)
    artists.mark_last_price(axes, data, style)
    artists.draw_fan(axes, data, style)
    artists.draw_candles(axes, np.arange(data.first, 1), data.history, style)
    steps = np.arange(1, data.horizon + 1)
    if data.actual is not None:
        line = np.concatenate([[data.last_close], data.candles[:, 3]])
        axes.plot(np.arange(data.horizon + 1), line, color=style.forecast, linewidth=1.1, zorder=4)
        artists.draw_candles(axes, steps, data.actual, style)
    else:
        artists.draw_candles(axes, steps, data.candles, style, forecast=True)
    artists.label_bands(axes, data, style)
    _label_prices(axes, data, style)
    artists.label_start(axes, data, style)


def right_edge(data: ChartData) -> float:
    """Return the end of the candle axis: after the horizon, with space for the labels of the bands."""
    return data.horizon + 1 + 0.045 * (len(data.history) + data.horizon)


def style_axes(axes: Axes, style: Style) -> None:
    """Style an empty pane: background, grid, price axis on the right."""
    axes.set_facecolor(style.ground)
    axes.grid(visible=True, color=style.grid, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(style.grid)
    axes.yaxis.tick_right()
    axes.tick_params(length=0, pad=6, labelbottom=False)


def _panes(figure: Figure, data: ChartData, style: Style) -> tuple[Axes, Axes | None]:
    """Return the price pane and, if there is volume, the volume pane below it."""
    edges = {"left": _LEFT, "right": _RIGHT, "top": 0.855, "bottom": 0.112, "hspace": 0.035}
    if not data.has_volume:
        (price,) = figure.subplots(1, 1, squeeze=False, gridspec_kw=edges)[0]
        style_axes(price, style)
        return price, None
    rows = figure.subplots(2, 1, sharex=True, gridspec_kw={**edges, "height_ratios": [4.4, 1]})
    for axes in rows:
        style_axes(axes, style)
    return rows[0], rows[1]


def _label_prices(axes: Axes, data: ChartData, style: Style) -> None:
    """Draw price ticks in the decimals of the market, and the tags of last close and median."""
    decimals = price_decimals(data.history[:, :4])
    low, high = axes.get_ylim()
    tags = artists.tagged_prices(data, high - low)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]))
    needed = tick_decimals(np.asarray(axes.yaxis.get_major_locator()()), decimals)

    def label(price: float, _: int | None) -> str:
        hidden = min(abs(price - tag) for tag in tags) < 0.035 * (high - low)  # a tag covers it
        return "" if hidden else format_price(price, needed)

    axes.yaxis.set_major_formatter(FuncFormatter(label))
    _set_fonts(axes.get_yticklabels(), style)
    artists.tag_prices(axes, tags, style, decimals)


def _draw_volume(axes: Axes, data: ChartData, style: Style) -> None:
    """Draw the volume pane: history and actual candles by direction, forecast candles in the forecast's hue."""
    artists.mark_start(axes, style, right_edge(data))
    steps = np.arange(1, data.horizon + 1)
    artists.draw_volume(axes, np.arange(data.first, 1), data.history, style)
    future = data.candles if data.actual is None else data.actual
    artists.draw_volume(axes, steps, future, style, forecast=data.actual is None)
    axes.set_ylim(0, 1.12 * max(data.history[:, 4].max(), np.nanmax(future[:, 4]), 1e-12))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, prune="lower"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_volume(value)))
    _set_fonts(axes.get_yticklabels(), style)
    box = {"facecolor": style.ground, "edgecolor": "none", "pad": 1.5, "alpha": 0.8}
    font = style.font(8, style.muted) | {"bbox": box, "zorder": 6}
    axes.text(0.007, 0.93, "Volume", transform=axes.transAxes, ha="left", va="top", **font)


def label_times(axes: Axes, data: ChartData, style: Style, limit: int = 12) -> None:
    """Draw at most ``limit`` time ticks below a pane."""
    ticks = time_ticks(data.times, limit)
    axes.xaxis.set_major_locator(FixedLocator([data.first + i for i in ticks.positions]))
    axes.xaxis.set_major_formatter(FixedFormatter(ticks.labels))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelbottom=True)
    _set_fonts(axes.get_xticklabels(), style)


def _set_fonts(labels: list[Any], style: Style) -> None:
    for label in labels:
        label.set(family=list(style.fonts), size=8.5, color=style.muted)


def _write_texts(figure: Figure, data: ChartData, style: Style) -> None:
    """Write title, subtitle, legend and footnote, and the label of simulated data."""
    title, subtitle = legible(headline(data.forecast), style), legible(_subtitle(data.forecast), style)
    figure.text(_LEFT, 0.957, title, va="center", parse_math=False, **style.font(15, bold=True))
    figure.text(_LEFT, 0.917, subtitle, va="center", parse_math=False, **style.font(9.5, style.muted))
    figure.text(
        _LEFT,
        0.02,
        legible(_footnote(data, style), style),
        va="center",
        parse_math=False,
        **style.font(7.5, style.muted),
    )
    if data.forecast.simulated:
        box = {"boxstyle": "round,pad=0.4,rounding_size=0.3", "facecolor": style.warning, "edgecolor": "none"}
        font = style.font(11, "#131722", bold=True)
        figure.text(_RIGHT, 0.957, "SIMULATED", ha="right", va="center", bbox=box, **font)
    legend = figure.legend(
        handles=_handles(data, style),
        loc="center left",
        bbox_to_anchor=(_LEFT + 0.001, 0.878),
        ncols=5,
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        columnspacing=1.8,
        handlelength=1.8,
        prop={"family": list(style.fonts), "size": 8.5},
        labelcolor=style.text,
    )
    legend.set_zorder(10)


def headline(forecast: Forecast) -> str:
    """Return symbol (or file name) · interval · model."""
    history = forecast.history
    name = history.symbol or (Path(history.source).stem if history.source else "Unnamed series")
    return f"{name} · {forecast.interval} · {forecast.metadata.name}"


def _subtitle(forecast: Forecast) -> str:
    """Return horizon, number of paths, raw or calibrated, timezone, and the calendar if it is inferred."""
    metadata, history = forecast.metadata, forecast.history
    zone = f"times in {history.timezone}" if history.timezone else "times as in the data, timezone unknown"
    steps, paths = plural(forecast.horizon, "step"), plural(forecast.samples, "path")
    parts = [f"{steps} ahead", paths, _state(metadata), zone]
    if metadata.calendar_basis in ("projected", "inferred"):
        parts.append(f"future times {metadata.calendar_basis} ({metadata.calendar})")
    return " · ".join(parts)


def _state(metadata: ForecastMetadata) -> str:
    """Return raw or calibrated, and the model's weight if it is pooled with a baseline."""
    if metadata.pooled is None:
        return metadata.state
    name, weights = metadata.pooled
    low, high = f"{min(weights):.2f}", f"{max(weights):.2f}"
    return f"{metadata.state}, model's weight {low if low == high else f'{low} to {high}'}, pooled with {name}"


def _footnote(data: ChartData, style: Style) -> str:
    """Return remarks on bands, repaired candles, volume and fonts."""
    forecast = data.forecast
    parts = []
    if data.bands:
        parts.append("Bands: central share of the paths' closes at each step, not of whole paths.")
    if forecast.mended:
        parts.append(f"Repaired: {forecast.describe_repairs()}.")
    if not data.has_volume:
        parts.append("The data has no volume.")
    if "□" in legible(headline(forecast), style):
        parts.append("□: no installed font has the character; install a Chinese font, such as Noto Sans CJK.")
    parts.append("Not investment advice.")
    return " ".join(parts)


def _handles(data: ChartData, style: Style) -> list[Any]:
    """Return the legend entries of what is drawn."""
    samples = data.forecast.samples
    path = f"path {data.path}, the most central one" if samples > 1 else "the only path"
    if data.is_point and samples > 1:
        return [_line(style, "point forecast: all paths are equal", width=1.7, dashed=True)]
    handles: list[Any] = []
    if samples > 1:
        handles.append(_line(style, f"median of {samples} paths", width=1.7, dashed=True))
    if data.actual is None:
        label = f"{path} (hollow: close ≥ open)"
        handles.append(Patch(linewidth=0.9, label=label, facecolor=style.ground, edgecolor=style.forecast))
    else:
        handles.append(_line(style, path, width=1.1))
        rise = style.ground if style.hollow_up else style.up
        handles.append(Patch(facecolor=rise, edgecolor=style.up, label="actual: up"))
        handles.append(Patch(facecolor=style.down, edgecolor=style.down, label="down"))
    if not data.bands and samples > 1:
        handles.append(_line(style, "close of each path", width=0.9, alpha=0.55))
    return handles


def _line(style: Style, label: str, *, width: float, alpha: float = 1.0, dashed: bool = False) -> Line2D:
    """Return a legend entry for a line in the forecast's hue."""
    line = Line2D([], [], color=style.forecast, linewidth=width, alpha=alpha, label=label)
    if dashed:
        line.set_linestyle((0, (3, 1.6)))
    return line


def plot_many(
    forecasts: Sequence[Forecast],
    *,
    path: str | Path | None = None,
    columns: int = 2,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw several forecasts as a grid of small charts.

    Args:
        forecasts: The forecasts, row by row.
        path: File to save; None does not save.
        columns: Charts per row.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Returns:
        A matplotlib figure that pyplot does not manage.

    Raises:
        ParameterError: If there is no forecast, ``columns`` is below 1, or an option is unknown.
    """
    if not forecasts or columns < 1:
        raise ParameterError("plot_many needs at least one forecast and one column.")
    style = make_style(theme, palette)
    columns = min(columns, len(forecasts))
    rows = math.ceil(len(forecasts) / columns)
    figure = Figure(figsize=(7 * columns, 4 * rows), dpi=150, facecolor=style.ground, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(forecasts) :]:
        axes.remove()
    for axes, forecast in zip(grid, forecasts, strict=False):
        data = make_chart_data(forecast)
        style_axes(axes, style)
        draw_price(axes, data, style)
        label_times(axes, data, style, limit=5)
        simulated = " · SIMULATED" if forecast.simulated else ""
        title = f"{headline(forecast)} · {forecast.metadata.state} · {plural(forecast.samples, 'path')}{simulated}"
        axes.set_title(legible(title, style), loc="left", parse_math=False, **style.font(10, bold=True))
    if path is not None:
        save_figure(figure, Path(path))
    return figure

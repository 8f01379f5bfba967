"""The chart of one forecast: price pane, volume pane, and the words that say what it is."""

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
from kronos.formatting import format_price
from kronos.plotting import artists
from kronos.plotting.artists import format_volume, price_decimals, tick_decimals, time_ticks
from kronos.plotting.chart_data import ChartData, make_scene
from kronos.plotting.style import Palette, Style, Theme, legible, make_style

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
    """Draw a forecast: candles, nested bands of the close, the median, one real path, volume.

    The bands are the central 50, 80 and 95 % of the paths' closes, step by step, and start at the last close
    with no width. The candles after the start line are one real path, the most central one
    (`Forecast.representative`). With fewer than 20 paths the paths are drawn instead of bands. Where
    ``actual`` is given, its candles take their place and the path becomes a line.

    Args:
        forecast: What to draw.
        path: Where to save the picture; its ending tells the format (png, svg, pdf …). Not saved if not
            given.
        actual: The candles that came, matched by time.
        history_bars: How many known candles to show; three times the horizon (60 to 240) if not given.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` (as in China) or ``colour-blind``.

    Returns:
        A matplotlib figure of its own, which pyplot knows nothing of.

    Raises:
        ParameterError: If an option is unknown, ``history_bars`` is below 1, or no picture format has that
            ending.
        DataError: If ``actual`` lacks a column or shares no time with the forecast.
    """
    style = make_style(theme, palette)
    scene = make_scene(forecast, actual, history_bars)
    figure = Figure(figsize=(12, 6.75), dpi=150, facecolor=style.ground)
    price, volume = _panes(figure, scene, style)
    draw_price(price, scene, style)
    if volume is not None:
        _draw_volume(volume, scene, style)
    label_times(volume or price, scene, style)
    _write_words(figure, scene, style)
    if path is not None:
        save_figure(figure, Path(path))
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Save a figure, all or nothing.

    Raises:
        ParameterError: If no picture format has that ending.
    """
    formats = figure.canvas.get_supported_filetypes()
    ending = path.suffix.lstrip(".").lower()
    if ending not in formats:
        raise ParameterError(f"'{path.name}' has no ending that pictures have; use .png, .svg or .pdf.")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=ending, facecolor=figure.get_facecolor())


def draw_price(axes: Axes, scene: ChartData, style: Style) -> None:
    """Everything on a price pane, its price axis included, its time axis not."""
    right = right_edge(scene)
    axes.set_xlim(scene.first - 1, right)
    axes.set_ylim(*scene.price_limits())
    artists.mark_start(axes, style, right)
    artists.mark_last_price(axes, scene, style)
    artists.draw_fan(axes, scene, style)
    artists.draw_candles(axes, np.arange(scene.first, 1), scene.history, style)
    steps = np.arange(1, scene.horizon + 1)
    if scene.actual is not None:
        line = np.concatenate([[scene.last_close], scene.candles[:, 3]])
        axes.plot(np.arange(scene.horizon + 1), line, color=style.forecast, linewidth=1.1, zorder=4)
        artists.draw_candles(axes, steps, scene.actual, style)
    else:
        artists.draw_candles(axes, steps, scene.candles, style, forecast=True)
    artists.label_bands(axes, scene, style)
    _label_prices(axes, scene, style)
    artists.label_start(axes, scene, style)


def right_edge(scene: ChartData) -> float:
    """Where the candle axis ends: after the horizon, with room for the bands' labels."""
    return scene.horizon + 1 + 0.045 * (len(scene.history) + scene.horizon)


def style_axes(axes: Axes, style: Style) -> None:
    """An empty pane: ground, grid, price axis on the right, no frame."""
    axes.set_facecolor(style.ground)
    axes.grid(visible=True, color=style.grid, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(style.grid)
    axes.yaxis.tick_right()
    axes.tick_params(length=0, pad=6, labelbottom=False)


def _panes(figure: Figure, scene: ChartData, style: Style) -> tuple[Axes, Axes | None]:
    """The price pane and, where there is volume, the one below it."""
    edges = {"left": _LEFT, "right": _RIGHT, "top": 0.855, "bottom": 0.112, "hspace": 0.035}
    if not scene.has_volume:
        (price,) = figure.subplots(1, 1, squeeze=False, gridspec_kw=edges)[0]
        style_axes(price, style)
        return price, None
    rows = figure.subplots(2, 1, sharex=True, gridspec_kw={**edges, "height_ratios": [4.4, 1]})
    for axes in rows:
        style_axes(axes, style)
    return rows[0], rows[1]


def _label_prices(axes: Axes, scene: ChartData, style: Style) -> None:
    """Price ticks on the right in the market's decimals, and the tags of last close and median."""
    decimals = price_decimals(scene.history[:, :4])
    low, high = axes.get_ylim()
    tags = artists.tagged_prices(scene, high - low)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]))
    needed = tick_decimals(np.asarray(axes.yaxis.get_major_locator()()), decimals)

    def label(price: float, _: int | None) -> str:
        hidden = min(abs(price - tag) for tag in tags) < 0.035 * (high - low)  # a tag stands there
        return "" if hidden else format_price(price, needed)

    axes.yaxis.set_major_formatter(FuncFormatter(label))
    _set_fonts(axes.get_yticklabels(), style)
    artists.tag_prices(axes, tags, style, decimals)


def _draw_volume(axes: Axes, scene: ChartData, style: Style) -> None:
    """The volume pane: history by direction, the future's in the forecast's hue unless it is known."""
    artists.mark_start(axes, style, right_edge(scene))
    steps = np.arange(1, scene.horizon + 1)
    artists.draw_volume(axes, np.arange(scene.first, 1), scene.history, style)
    future = scene.candles if scene.actual is None else scene.actual
    artists.draw_volume(axes, steps, future, style, forecast=scene.actual is None)
    axes.set_ylim(0, 1.12 * max(scene.history[:, 4].max(), np.nanmax(future[:, 4]), 1e-12))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, prune="lower"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_volume(value)))
    _set_fonts(axes.get_yticklabels(), style)
    box = {"facecolor": style.ground, "edgecolor": "none", "pad": 1.5, "alpha": 0.8}
    font = style.font(8, style.muted) | {"bbox": box, "zorder": 6}
    axes.text(0.007, 0.93, "Volume", transform=axes.transAxes, ha="left", va="top", **font)


def label_times(axes: Axes, scene: ChartData, style: Style, most: int = 12) -> None:
    """Time ticks at the bottom pane."""
    ticks = time_ticks(scene.times, most)
    axes.xaxis.set_major_locator(FixedLocator([scene.first + i for i in ticks.positions]))
    axes.xaxis.set_major_formatter(FixedFormatter(ticks.labels))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelbottom=True)
    _set_fonts(axes.get_xticklabels(), style)


def _set_fonts(labels: list[Any], style: Style) -> None:
    for label in labels:
        label.set(family=list(style.fonts), size=8.5, color=style.muted)


def _write_words(figure: Figure, scene: ChartData, style: Style) -> None:
    """Title, subtitle, legend, footnote, and the label that simulated data must carry."""
    title, subtitle = legible(headline(scene.forecast), style), legible(_subtitle(scene.forecast), style)
    figure.text(_LEFT, 0.957, title, va="center", parse_math=False, **style.font(15, bold=True))
    figure.text(_LEFT, 0.917, subtitle, va="center", parse_math=False, **style.font(9.5, style.muted))
    figure.text(
        _LEFT,
        0.02,
        legible(_footnote(scene, style), style),
        va="center",
        parse_math=False,
        **style.font(7.5, style.muted),
    )
    if scene.forecast.simulated:
        box = {"boxstyle": "round,pad=0.4,rounding_size=0.3", "facecolor": style.warning, "edgecolor": "none"}
        font = style.font(11, "#131722", bold=True)
        figure.text(_RIGHT, 0.957, "SIMULATED", ha="right", va="center", bbox=box, **font)
    legend = figure.legend(
        handles=_handles(scene, style),
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
    """Symbol (or the file's name) · interval · model."""
    history = forecast.history
    name = history.symbol or (Path(history.source).stem if history.source else "Unnamed series")
    return f"{name} · {forecast.interval} · {forecast.metadata.name}"


def _subtitle(forecast: Forecast) -> str:
    """Horizon, number of paths, raw or calibrated, timezone, and a calendar that is only a guess."""
    made, history = forecast.metadata, forecast.history
    steps = "1 step" if forecast.horizon == 1 else f"{forecast.horizon} steps"
    paths = "1 path" if forecast.samples == 1 else f"{forecast.samples} paths"
    zone = f"times in {history.timezone}" if history.timezone else "times as in the data, timezone unknown"
    parts = [f"{steps} ahead", paths, _state(made), zone]
    if made.calendar_basis in ("projected", "inferred"):
        parts.append(f"future times {made.calendar_basis} ({made.calendar})")
    return " · ".join(parts)


def _state(made: ForecastMetadata) -> str:
    """Raw or calibrated; and how much of the paths is a baseline's."""
    if made.pooled is None:
        return made.state
    name, weights = made.pooled
    least, most = f"{min(weights):.2f}", f"{max(weights):.2f}"
    return f"{made.state}, model's weight {least if least == most else f'{least} to {most}'} beside {name}"


def _footnote(scene: ChartData, style: Style) -> str:
    """What the marks mean, in one small line."""
    forecast = scene.forecast
    parts = []
    if scene.bands:
        parts.append("Bands: central share of the paths' closes at each step, not of whole paths.")
    if forecast.mended:
        parts.append(f"{max(1, round(100 * forecast.mended))} % of the sampled candles had to be mended.")
    if not scene.has_volume:
        parts.append("The data have no volume.")
    if "□" in legible(headline(forecast), style):
        parts.append("□: no font here has the character; install a Chinese one, for example Noto Sans CJK.")
    parts.append("No investment advice.")
    return " ".join(parts)


def _handles(scene: ChartData, style: Style) -> list[Any]:
    """Legend entries for what is drawn."""
    samples = scene.forecast.samples
    word = f"path {scene.chosen}, the most central real one" if samples > 1 else "the one path"
    if scene.is_point and samples > 1:
        return [_line(style, "all paths are the same: a point forecast", width=1.7, dashed=True)]
    handles: list[Any] = []
    if samples > 1:
        handles.append(_line(style, f"median of {samples} paths", width=1.7, dashed=True))
    if scene.actual is None:
        label = f"{word} (hollow: close ≥ open)"
        handles.append(Patch(linewidth=0.9, label=label, facecolor=style.ground, edgecolor=style.forecast))
    else:
        handles.append(_line(style, word, width=1.1))
        rise = style.ground if style.hollow_up else style.up
        handles.append(Patch(facecolor=rise, edgecolor=style.up, label="what happened: up"))
        handles.append(Patch(facecolor=style.down, edgecolor=style.down, label="down"))
    if not scene.bands and samples > 1:
        handles.append(_line(style, "each path's close", width=0.9, alpha=0.55))
    return handles


def _line(style: Style, label: str, *, width: float, alpha: float = 1.0, dashed: bool = False) -> Line2D:
    """A legend entry for a line in the forecast's hue."""
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
        forecasts: What to draw, row by row.
        path: Where to save the picture; not saved if not given.
        columns: Charts in a row.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Returns:
        A matplotlib figure of its own, which pyplot knows nothing of.

    Raises:
        ParameterError: If there is no forecast, ``columns`` is below 1, or an option is unknown.
    """
    if not forecasts or columns < 1:
        raise ParameterError("A grid needs at least one forecast and one column.")
    style = make_style(theme, palette)
    columns = min(columns, len(forecasts))
    rows = math.ceil(len(forecasts) / columns)
    figure = Figure(figsize=(7 * columns, 4 * rows), dpi=150, facecolor=style.ground, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(forecasts) :]:
        axes.remove()
    for axes, forecast in zip(grid, forecasts, strict=False):
        scene = make_scene(forecast)
        style_axes(axes, style)
        draw_price(axes, scene, style)
        label_times(axes, scene, style, most=5)
        simulated = " · SIMULATED" if forecast.simulated else ""
        title = f"{headline(forecast)} · {forecast.metadata.state} · {forecast.samples} paths{simulated}"
        axes.set_title(legible(title, style), loc="left", parse_math=False, **style.font(10, bold=True))
    if path is not None:
        save_figure(figure, Path(path))
    return figure

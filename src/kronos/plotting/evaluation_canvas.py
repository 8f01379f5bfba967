"""Canvas of the figures in a report: size, background, texts, and the colour and marker of each series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kronos.formatting import percent, truncate_middle
from kronos.plotting.style import Palette, Style, Theme, hues, make_style
from kronos.plotting.ticks import time_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.text import Text

WIDTH = 360.0  # points, which a page shows as pixels: the width of a phone
TOP = 44.0  # points above the pane, for title and subtitle
GREY = -1  # hue of a reference
_LEGEND_LINE = 16.0  # points
_MARKS = ("o", "s", "D", "^", "v", "P")
_SIZES = {"o": 6.6, "s": 5.8, "D": 5.4, "^": 6.6, "v": 6.6, "P": 6.6}
_TITLE_LENGTH, _SUBTITLE_LENGTH, _LEGEND_LENGTH = 42, 58, 52  # characters that fit


@dataclass(frozen=True, slots=True)
class PlotSeries:
    """Appearance of a series, such as a forecaster, in all figures of a report.

    Attributes:
        name: Name in tables and legends.
        hue: Index of colour and marker; a calibrated forecaster shares those of the raw one. `GREY` marks the
            reference.
        filled: Whether the marker is filled; raw forecasts are hollow.
    """

    name: str
    hue: int = 0
    filled: bool = True


@dataclass(frozen=True)
class Canvas:
    """A figure of the report's width with one pane.

    Attributes:
        figure: The figure.
        axes: The pane.
        style: Colours and fonts.
        hues: Colours of the series.
        height: Height in points.
    """

    figure: Figure
    axes: Axes
    style: Style
    hues: tuple[str, ...]
    height: float

    def color(self, series: PlotSeries) -> str:
        """Return the colour of a series."""
        return self.style.muted if series.hue == GREY else self.hues[series.hue % len(self.hues)]

    def mark(self, series: PlotSeries, size: float = 1.0) -> dict[str, Any]:
        """Return the marker of a series, as arguments for matplotlib's lines."""
        shape = "s" if series.hue == GREY else _MARKS[series.hue % len(_MARKS)]
        return {
            "marker": shape,
            "markersize": _SIZES[shape] * size,
            "markeredgecolor": self.color(series),
            "markerfacecolor": self.color(series) if series.filled else self.style.ground,
            "markeredgewidth": 1.5,
            "color": self.color(series),
        }

    def write(self, x: float, y: float, text: str, size: float = 10.5, color: str | None = None, **more: Any) -> Text:
        """Write text at a position in points from the lower left; without math markup."""
        bold = bool(more.pop("bold", False))
        font = self.style.font(size, color, bold=bold)
        return self.figure.text(x / WIDTH, y / self.height, text, parse_math=False, **font, **more)

    def note(self, x: float, y: float, text: str, size: float = 10.0, color: str | None = None, **more: Any) -> Text:
        """Write text at a position in the data coordinates of the pane; without math markup."""
        bold = bool(more.pop("bold", False))
        font = self.style.font(size, color or self.style.muted, bold=bold)
        return self.axes.text(x, y, text, parse_math=False, **font, **more)

    def labels(self, labels: Iterable[Text], size: float = 10.5) -> None:
        """Style tick labels; without math markup, as users choose some of the names."""
        for label in labels:
            label.set(family=list(self.style.fonts), size=size, color=self.style.muted, parse_math=False)

    def finish(self) -> Figure:
        """Style the tick labels and return the figure."""
        self.labels(self.axes.get_xticklabels())
        self.labels(self.axes.get_yticklabels())
        return self.figure


def make_canvas(
    title: str,
    subtitle: str,
    *,
    height: float = 250.0,
    left: float = 40.0,
    right: float = 14.0,
    bottom: float = 40.0,
    grid: Literal["x", "y", "both"] = "y",
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Canvas:
    """Make an empty figure with a title.

    Args:
        title: Bold first line.
        subtitle: Second line; may be empty.
        height: Height of the figure, in points.
        left: Margin left of the pane, in points.
        right: Margin right of the pane, in points.
        bottom: Margin below the pane, in points.
        grid: Axes with grid lines.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    style = make_style(theme, palette)
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=144, facecolor=style.ground)
    axes = figure.add_axes(
        (left / WIDTH, bottom / height, 1 - (left + right) / WIDTH, 1 - (bottom + TOP) / height), facecolor=style.ground
    )
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis=grid, color=style.grid, linewidth=1.0)
    axes.tick_params(bottom=False, left=False, pad=5)
    canvas = Canvas(figure, axes, style, hues(theme, palette), height)
    canvas.write(10, height - 9, truncate_middle(title, _TITLE_LENGTH), 12, bold=True, va="top")
    canvas.write(10, height - 25, truncate_middle(subtitle, _SUBTITLE_LENGTH), 10, style.muted, va="top")
    return canvas


def legend_height(series: Sequence[PlotSeries]) -> float:
    """Return the height of the legend, in points."""
    return _LEGEND_LINE * len(series)


def draw_legend(canvas: Canvas, series: Sequence[PlotSeries], y: float, *, x: float = 14.0) -> None:
    """Draw one line per series, downwards from ``y`` points above the lower edge."""
    for i, entry in enumerate(series):
        at = y - _LEGEND_LINE * i
        mark = Line2D(
            [x / WIDTH], [(at + 0.6) / canvas.height], transform=canvas.figure.transFigure, **canvas.mark(entry)
        )
        mark.set_linestyle("none")
        canvas.figure.add_artist(mark)
        canvas.write(x + 9, at, truncate_middle(entry.name, _LEGEND_LENGTH), va="center")


def label_times(canvas: Canvas, times: pd.DatetimeIndex, first: int = 0) -> None:
    """Draw time ticks below candles at positions from ``first`` on; the second line of a label only if it fits."""
    ticks = time_ticks(times, limit=4)
    labels, last = [], -len(times)
    for position, label in zip(ticks.positions, ticks.labels, strict=True):
        time, _, context = label.partition("\n")
        fits = position - last > 0.26 * len(times)
        labels.append(label if fits else time)
        last = position if context and fits else last
    canvas.axes.set_xticks([first + position for position in ticks.positions], labels)


def draw_empty(canvas: Canvas, reason: str = "Nothing to show.") -> Figure:
    """Draw a figure without data: its title and the reason."""
    canvas.axes.set_axis_off()
    canvas.write(10, canvas.height / 2, reason, 10, canvas.style.muted, va="center")
    return canvas.figure


def mark_percent(axis: Axis) -> None:
    """Format ticks in percent, with as many decimals as they need."""
    locator = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
    ticks = 100 * np.asarray(locator.tick_values(*axis.get_view_interval()))
    decimals = next((n for n in range(3) if np.allclose(ticks, ticks.round(n), rtol=0, atol=1e-9)), 3)
    axis.set_major_locator(locator)
    axis.set_major_formatter(FuncFormatter(lambda value, _: percent(value, decimals)))

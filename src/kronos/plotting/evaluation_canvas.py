"""What all pictures of an evaluation share: their size, their ground, their words, and how a forecaster is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kronos.plotting.artists import time_ticks
from kronos.plotting.style import Palette, Style, Theme, hues, make_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.text import Text

WIDTH = 360.0  # points, and pixels of a page: a phone's width
TOP = 44.0  # room for a title of two lines
GREY = -1  # the hue of a reference
_MARKS = ("o", "s", "D", "^", "v", "P")
_SIZES = {"o": 6.6, "s": 5.8, "D": 5.4, "^": 6.6, "v": 6.6, "P": 6.6}
MANY = 42  # characters that fit in a line of the title


@dataclass(frozen=True, slots=True)
class PlotSeries:
    """How a forecaster looks in every picture.

    Attributes:
        name: What tables call it.
        hue: Which of the hues and shapes; a calibrated forecaster shares those of the one it corrects. `GREY` is for
            what others are compared with.
        filled: Whether its mark is filled; raw forecasts are hollow.
    """

    name: str
    hue: int = 0
    filled: bool = True


@dataclass(frozen=True)
class Canvas:
    """A figure of the usual width, one pane, and how things look on it.

    Attributes:
        figure: The figure.
        axes: Its pane.
        style: Colours and fonts.
        hues: One a forecaster.
        height: Points.
    """

    figure: Figure
    axes: Axes
    style: Style
    hues: tuple[str, ...]
    height: float

    def color(self, series: PlotSeries) -> str:
        """Its hue."""
        return self.style.muted if series.hue == GREY else self.hues[series.hue % len(self.hues)]

    def mark(self, series: PlotSeries, size: float = 1.0) -> dict[str, Any]:
        """Its mark, as arguments for matplotlib's lines."""
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
        """Words in points from the lower left; as they are, dollars and underscores too."""
        bold = bool(more.pop("bold", False))
        font = self.style.font(size, color, bold=bold)
        return self.figure.text(x / WIDTH, y / self.height, text, parse_math=False, **font, **more)

    def note(self, x: float, y: float, text: str, size: float = 10.0, color: str | None = None, **more: Any) -> Text:
        """Words at a place of the pane, on a ground of their own."""
        bold = bool(more.pop("bold", False))
        font = self.style.font(size, color or self.style.muted, bold=bold)
        return self.axes.text(x, y, text, parse_math=False, **font, **more)

    def labels(self, labels: Iterable[Text], size: float = 10.5) -> None:
        """Dress tick labels; what users named is no mathematics."""
        for label in labels:
            label.set(family=list(self.style.fonts), size=size, color=self.style.muted, parse_math=False)

    def finish(self) -> Figure:
        """Dress what ticks there are, and give the figure."""
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
    """An empty picture with its title.

    Args:
        title: In bold, one line.
        subtitle: Below it, one line; may be empty.
        height: Of the whole, in points.
        left: Room for what is left of the pane, in points.
        right: Likewise.
        bottom: Likewise.
        grid: Which lines.
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
    canvas.write(10, height - 9, shortened(title, MANY), 12, bold=True, va="top")
    canvas.write(10, height - 25, shortened(subtitle, 58), 10, style.muted, va="top")
    return canvas


def shortened(text: str, most: int) -> str:
    """A text that fits, cut in the middle, where names differ least, without what cannot be drawn."""
    text = "".join(char if char.isprintable() else " " for char in text)
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def legend_height(series: Sequence[PlotSeries]) -> float:
    """Points that `draw_legend` needs: a line each."""
    return 16.0 * len(series)


def draw_legend(canvas: Canvas, series: Sequence[PlotSeries], y: float, *, x: float = 14.0) -> None:
    """A line a forecaster with its mark, downwards from ``y`` points above the lower edge."""
    for place, one in enumerate(series):
        at = y - 16.0 * place
        mark = Line2D(
            [x / WIDTH], [(at + 0.6) / canvas.height], transform=canvas.figure.transFigure, **canvas.mark(one)
        )
        mark.set_linestyle("none")
        canvas.figure.add_artist(mark)
        canvas.write(x + 9, at, shortened(one.name, 52), va="center")


def label_times(canvas: Canvas, times: pd.DatetimeIndex, first: int = 0) -> None:
    """Ticks below candles whose positions begin at ``first``; days or years on a second line, where there is room."""
    ticks = time_ticks(times, most=4)
    labels, last = [], -len(times)
    for place, label in zip(ticks.positions, ticks.labels, strict=True):
        time, _, context = label.partition("\n")
        room = place - last > 0.26 * len(times)
        labels.append(label if room else time)
        last = place if context and room else last
    canvas.axes.set_xticks([first + place for place in ticks.positions], labels)


def draw_empty(canvas: Canvas, reason: str = "Nothing to show.") -> Figure:
    """The picture of nothing: its title and why."""
    canvas.axes.set_axis_off()
    canvas.write(10, canvas.height / 2, reason, 10, canvas.style.muted, va="center")
    return canvas.figure


def percent(value: float, decimals: int = 0) -> str:
    """``12 %``, with a true minus."""
    text = f"{100 * value:.{decimals}f} %"
    return text.replace("-", "−") if float(f"{100 * value:.{decimals}f}") else text.lstrip("-")


def mark_percent(axis: Axis) -> None:
    """Ticks in percent, with as many decimals as say where they lie."""
    locator = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
    ticks = 100 * np.asarray(locator.tick_values(*axis.get_view_interval()))
    decimals = next((n for n in range(3) if np.allclose(ticks, ticks.round(n), rtol=0, atol=1e-9)), 3)
    axis.set_major_locator(locator)
    axis.set_major_formatter(FuncFormatter(lambda value, _: percent(value, decimals)))

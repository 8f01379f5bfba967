"""Pictures of a training: the loss by step, its parts, the learning rate, how much of the codebook is used.

- They take the tables of a log: one row a step interval (``step``, ``loss``, parts, ``learning_rate``), and one row an
  epoch (``epoch``, ``step``, and of each part ``train_…`` and ``validation_…``).
- As wide as a phone, like those of `kronos.plotting.evaluation_plots`, so that a page puts several in a row;
  `save_sheet` puts them into one PNG.
- Lines are labelled at their ends. Validation has marks and the forecast's hue, training is a line without any, in
  grey: nothing rests on colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox, TransformedBbox

from kronos.atomic import atomic_path
from kronos.errors import ParameterError
from kronos.plotting.evaluation_canvas import WIDTH, Canvas, PlotSeries, draw_empty, make_canvas, mark_percent
from kronos.plotting.style import Palette, Theme
from kronos.typing import FloatArray

_HEIGHT = 236.0
_LEFT, _BOTTOM = 54.0, 40.0
_LETTER = 5.9  # points, of the labels' size
_WARM = 0.04  # share of the steps whose losses do not decide the axis: a new network's fall from far above
_MANY = 20  # points of a line above which that is so; of fewer each is to be seen
_SMOOTH = 40  # step intervals in a picture's width: more are averaged to as many, over the faint line of all
_VALIDATION, _TRAINING = PlotSeries("validation", 0), PlotSeries("training", 2)
_MANY_MARKS = 40


@dataclass(frozen=True, slots=True)
class Labels:
    """What stands beside the lines.

    Attributes:
        training: At the end of the training line.
        validation: At the end of that of validation.
        best: Beside the best epoch, with a place for ``epoch`` and one for ``value``.
        step: Below the axis.
        empty: Where there is nothing to draw.
    """

    training: str = "training"
    validation: str = "validation"
    best: str = "best: epoch {epoch}, {value}"
    step: str = "training steps"
    empty: str = "Nothing was logged of this."


_ENGLISH = Labels()


def plot_loss(
    steps: pd.DataFrame,
    epochs: pd.DataFrame,
    part: str = "loss",
    *,
    title: str,
    subtitle: str = "",
    words: Labels = _ENGLISH,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw a loss, or a part of it, of training and validation samples by step.

    Args:
        steps: One row a step interval: ``step`` and the part; may be empty.
        epochs: One row an epoch: ``epoch``, ``step``, ``train_`` and ``validation_`` with the part's name behind.
        part: ``loss``, or a part's name. The epoch with the least ``validation_loss`` is pointed out.
        title: What it shows.
        subtitle: Below it, such as the unit.
        words: What stands beside the lines.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    training = _line(steps, part) if part in steps else _line(epochs, f"train_{part}")
    held_out = _line(epochs, f"validation_{part}")
    right = 18 + _LETTER * max(len(words.training), len(words.validation))
    canvas = _canvas(title, subtitle, right, theme, palette)
    if not len(training[0]) and not len(held_out[0]):
        return draw_empty(canvas, words.empty)
    _limit(canvas, *_limits(training, held_out))
    ends = []
    if len(training[0]):
        _draw_training(canvas, *training)
        ends.append((float(_smoothed(*training)[1][-1]), words.training, canvas.style.muted))
    if len(held_out[0]):
        _draw_marks(canvas, *held_out, _VALIDATION)
        ends.append((float(held_out[1][-1]), words.validation, canvas.color(_VALIDATION)))
    _label_ends(canvas, ends)
    if len(held_out[0]):
        _point_out(canvas, epochs, part, words)
    return _finish(canvas, words)


def plot_measures(
    epochs: pd.DataFrame,
    names: Mapping[str, str],
    *,
    title: str,
    subtitle: str = "",
    shares: bool = False,
    words: Labels = _ENGLISH,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw measurements of the epochs that share a unit, such as how much of the codebook is used.

    Args:
        epochs: One row an epoch: ``step`` and the measurements.
        names: Labels by column; columns that are not there are left out. If ``validation_loss`` is among them, the
            epoch with the least is pointed out.
        title: What it shows.
        subtitle: Below it, such as the unit.
        shares: Whether they are shares, to be told in percent.
        words: What stands beside the axis.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    lines = {column: _line(epochs, column) for column in names}
    shown = [column for column, line in lines.items() if len(line[0])]
    right = 18 + _LETTER * max([len(names[column]) for column in shown], default=0)
    canvas = _canvas(title, subtitle, right, theme, palette)
    if not shown:
        return draw_empty(canvas, words.empty)
    _limit(canvas, *_limits(*(lines[column] for column in shown)))
    ends = []
    for place, column in enumerate(shown):
        series = PlotSeries(names[column], place)
        _draw_marks(canvas, *lines[column], series)
        ends.append((float(lines[column][1][-1]), names[column], canvas.color(series)))
    _label_ends(canvas, ends)
    if "validation_loss" in shown:
        _point_out(canvas, epochs, "loss", words)
    figure = _finish(canvas, words)
    if shares:
        mark_percent(canvas.axes.yaxis)
        canvas.labels(canvas.axes.get_yticklabels())
    return figure


def plot_learning_rate(
    steps: pd.DataFrame,
    *,
    title: str,
    subtitle: str = "",
    words: Labels = _ENGLISH,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw the learning rate by step.

    Args:
        steps: One row a step interval: ``step`` and ``learning_rate``.
        title: What it shows.
        subtitle: Below it.
        words: What stands beside the axis.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    at, values = _line(steps, "learning_rate")
    canvas = _canvas(title, subtitle, 18, theme, palette)
    if not len(at):
        return draw_empty(canvas, words.empty)
    _limit(canvas, (0.0, float(at[-1])), (0.0, 1.08 * float(values.max()) or 1.0))
    canvas.axes.plot(at, values, color=canvas.color(_TRAINING), linewidth=1.8, zorder=3)
    figure = _finish(canvas, words)
    canvas.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _scientific(value)))
    canvas.labels(canvas.axes.get_yticklabels())
    return figure


def save_sheet(figures: Sequence[Figure], path: str | Path, *, columns: int = 3, scale: float = 2.0) -> Path:
    """Put pictures side by side into one PNG, row by row.

    Args:
        figures: Of this module; all of one theme.
        path: The file; replaced if it exists, all or nothing.
        columns: In a row.
        scale: Pixels a point.

    Returns:
        The file.

    Raises:
        ParameterError: If there is no figure, or no column.
        StorageError: If it cannot be written.
    """
    if not figures or columns < 1:
        raise ParameterError("A sheet needs at least one picture and one column.")
    drawn = [_pixels(figure, scale) for figure in figures]
    columns = min(columns, len(drawn))
    high, wide = max(one.shape[0] for one in drawn), max(one.shape[1] for one in drawn)
    sheet = np.empty((high * math.ceil(len(drawn) / columns), wide * columns, 4), dtype=np.uint8)
    sheet[:] = drawn[0][0, 0]
    for place, one in enumerate(drawn):
        top, left = high * (place // columns), wide * (place % columns)
        sheet[top : top + one.shape[0], left : left + one.shape[1]] = one
    with atomic_path(path) as temporary:
        imsave(temporary, sheet, format="png")
    return Path(path)


def _pixels(figure: Figure, scale: float) -> npt.NDArray[np.uint8]:
    """A figure as pixels ``[height, width, 4]``; the figure stays as it was."""
    dpi = figure.dpi
    try:
        figure.set_dpi(72 * scale)
        canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
        canvas.draw()
        return np.array(canvas.buffer_rgba())
    finally:
        figure.set_dpi(dpi)


def _canvas(title: str, subtitle: str, right: float, theme: Theme, palette: Palette) -> Canvas:
    return make_canvas(
        title, subtitle, height=_HEIGHT, left=_LEFT, right=right, bottom=_BOTTOM, theme=theme, palette=palette
    )


def _line(table: pd.DataFrame, column: str) -> tuple[FloatArray, FloatArray]:
    """Steps and values that are known, by ascending step."""
    if column not in table or "step" not in table:
        return np.empty(0), np.empty(0)
    at, values = (table[name].to_numpy(dtype=np.float64) for name in ("step", column))
    known = np.isfinite(at) & np.isfinite(values)
    order = np.argsort(at[known], kind="stable")
    return at[known][order], values[known][order]


def _limits(*lines: tuple[FloatArray, FloatArray]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ends of both axes: all steps; all values but those of the first few steps, where there are many."""
    known = [line for line in lines if len(line[0])]
    last = max(float(at[-1]) for at, _ in known)
    late = [values[at > _WARM * last] if len(at) > _MANY else values for at, values in known]
    values = np.concatenate(late)
    low, high = float(values.min()), float(values.max())
    room = 0.08 * (high - low) or max(abs(high) * 0.05, 1e-3)
    return (0.0, last), (low - room, high + room)


def _limit(canvas: Canvas, across: tuple[float, float], up: tuple[float, float]) -> None:
    canvas.axes.set_xlim(across[0], max(across[1], across[0] + 1) * 1.005)
    canvas.axes.set_ylim(*up)


def _draw_training(canvas: Canvas, at: FloatArray, values: FloatArray) -> None:
    """All of it faintly where it is much, and its course."""
    smooth_at, smooth = _smoothed(at, values)
    if len(smooth) < len(values):
        canvas.axes.plot(at, values, color=canvas.style.muted, linewidth=0.7, alpha=0.35, zorder=2)
    canvas.axes.plot(smooth_at, smooth, color=canvas.style.muted, linewidth=1.6, zorder=2.5)


def _smoothed(at: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means of as many neighbours as leave a picture's worth of points, amid those that each is of."""
    if len(values) <= 2 * _SMOOTH:
        return at, values
    parts = np.array_split(np.arange(len(values)), _SMOOTH)
    return np.array([at[part].mean() for part in parts]), np.array([values[part].mean() for part in parts])


def _draw_marks(canvas: Canvas, at: FloatArray, values: FloatArray, series: PlotSeries) -> None:
    mark = canvas.mark(series, 0.75)
    every = max(1, math.ceil(len(at) / _MANY_MARKS))
    (line,) = canvas.axes.plot(at, values, linewidth=1.7, zorder=3, markevery=every, **mark)
    # A little beyond the pane: marks on its edge stay whole, what falls from far above is cut.
    line.set_clip_box(TransformedBbox(Bbox([[-0.03, -0.03], [1.03, 1.03]]), canvas.axes.transAxes))


def _label_ends(canvas: Canvas, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names beside the ends of their lines, apart from each other and within the pane."""
    low, high = canvas.axes.get_ylim()
    gap = 0.085 * (high - low)
    placed: list[float] = []
    ordered = sorted(ends, key=lambda end: end[0])
    for value, *_ in ordered:
        wanted = min(max(value, low), high)
        placed.append(max(wanted, placed[-1] + gap) if placed else wanted)
    over = max(0.0, placed[-1] - high)
    for place, (_, name, color) in zip(placed, ordered, strict=True):
        canvas.axes.annotate(
            name,
            (1, place - over),
            xycoords=canvas.axes.get_yaxis_transform(),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            parse_math=False,
            **canvas.style.font(10.5, color, bold=True),
        )


def _point_out(canvas: Canvas, epochs: pd.DataFrame, part: str, words: Labels) -> None:
    """A line at the epoch whose weights are the best, and what the part is there."""
    if not {"epoch", "validation_loss"} <= set(epochs.columns) or not np.isfinite(epochs["validation_loss"]).any():
        return
    losses = epochs["validation_loss"].to_numpy(dtype=np.float64)
    best = epochs.iloc[int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))]
    canvas.axes.axvline(
        float(best["step"]), color=canvas.color(_VALIDATION), linewidth=1.0, dashes=(3, 2.5), zorder=1.5
    )
    told = words.best.format(epoch=int(best["epoch"]), value=_figures(float(best[f"validation_{part}"])))
    canvas.write(WIDTH - 12, 8, told, 10, canvas.color(_VALIDATION), ha="right")


def _finish(canvas: Canvas, words: Labels) -> Figure:
    axes = canvas.axes
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _counted(value)))
    locator = MaxNLocator(nbins=5, steps=[1, 2, 5, 10])
    ticks = np.asarray(locator.tick_values(*axes.get_ylim()))
    decimals = max(0, -math.floor(math.log10(float(np.diff(ticks).min())) + 1e-9))
    axes.yaxis.set_major_locator(locator)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, decimals)))
    _make_room(canvas, max(len(_tick(float(value), decimals)) for value in ticks))
    canvas.write(10, 8, words.step, 10, canvas.style.muted)
    return canvas.finish()


def _make_room(canvas: Canvas, letters: int) -> None:
    """Move the pane's left edge so far that tick labels of so many letters fit."""
    box = canvas.axes.get_position()
    left = max(_LEFT, 14 + 6.2 * letters) / WIDTH
    canvas.axes.set_position((left, box.y0, box.x1 - left, box.height))


def _counted(value: float) -> str:
    """Steps: ``500``, ``12k``, ``1.5M``."""
    for size, letter in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.4g}{letter}"
    return f"{value:,.0f}"


def _tick(value: float, decimals: int) -> str:
    """As many decimals as tell neighbouring ticks apart; powers of ten where that would be too long."""
    if decimals > 6 or abs(value) >= 1e6:
        return f"{value:.3g}".replace("-", "−")
    text = f"{value:,.{decimals}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else text.lstrip("-")


def _figures(value: float) -> str:
    """Four significant digits, with a true minus."""
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
    return text.replace("-", "−") if value else "0"


def _scientific(value: float) -> str:
    """``4e−5``; 0 as it is."""
    if not value:
        return "0"
    power = math.floor(math.log10(abs(value)) + 1e-9)
    return f"{value / 10**power:.3g}e{power}".replace("-", "−")

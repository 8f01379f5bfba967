"""Figures of a training: loss and its parts by step, learning rate, measures such as codebook usage.

- Input are the tables of a training log: one row per step interval (``step``, ``loss``, parts, ``learning_rate``), and
  one row per epoch (``epoch``, ``step``, and ``train_…`` and ``validation_…`` of each part).
- Figures have the width of those of `kronos.plotting.evaluation_plots`; `save_sheet` combines them in one PNG.
- Lines are labelled at their ends. Validation has markers, training is a plain grey line: colour is never the only
  distinction.
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
from kronos.formatting import format_number
from kronos.plotting.evaluation_canvas import WIDTH, Canvas, PlotSeries, draw_empty, make_canvas, mark_percent
from kronos.plotting.style import Palette, Theme
from kronos.typing import FloatArray

_HEIGHT = 236.0
_LEFT, _BOTTOM = 54.0, 40.0
_LETTER = 5.9  # width of a character of the labels, in points
_WARM_UP = 0.04  # share of the steps that do not extend the axis: the loss of a new network falls steeply
_MIN_POINTS = 20  # lines with fewer points are shown in full
_SMOOTH_POINTS = 40  # longer lines are drawn faintly, with averages of this many points over them
_VALIDATION, _TRAINING = PlotSeries("validation", 0), PlotSeries("training", 2)
_MAX_MARKS = 40


@dataclass(frozen=True, slots=True)
class Labels:
    """Texts of the figures, which reports translate.

    Attributes:
        training: Label of the training line.
        validation: Label of the validation line.
        best: Label of the best epoch, with placeholders ``epoch`` and ``value``.
        step: Label of the step axis.
        empty: Text of a figure without data.
    """

    training: str = "training"
    validation: str = "validation"
    best: str = "best: epoch {epoch}, {value}"
    step: str = "training steps"
    empty: str = "No data in the log."


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
    """Draw the training and validation loss, or a part of it, by step.

    Args:
        steps: One row per step interval: ``step`` and the part; may be empty.
        epochs: One row per epoch: ``epoch``, ``step``, ``train_<part>`` and ``validation_<part>``.
        part: ``loss`` or the name of a part. The epoch with the lowest ``validation_loss`` is marked.
        title: Title.
        subtitle: Subtitle, such as the unit.
        words: Texts of the figure.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    training = _line(steps, part) if part in steps else _line(epochs, f"train_{part}")
    validation = _line(epochs, f"validation_{part}")
    right = 18 + _LETTER * max(len(words.training), len(words.validation))
    canvas = _canvas(title, subtitle, right, theme, palette)
    if not len(training[0]) and not len(validation[0]):
        return draw_empty(canvas, words.empty)
    _set_limits(canvas, *_limits(training, validation))
    ends = []
    if len(training[0]):
        _draw_training(canvas, *training)
        ends.append((float(_smoothed(*training)[1][-1]), words.training, canvas.style.muted))
    if len(validation[0]):
        _draw_marks(canvas, *validation, _VALIDATION)
        ends.append((float(validation[1][-1]), words.validation, canvas.color(_VALIDATION)))
    _label_ends(canvas, ends)
    if len(validation[0]):
        _mark_best_epoch(canvas, epochs, part, words)
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
    """Draw measures of the epochs with a common unit, such as codebook usage.

    Args:
        epochs: One row per epoch: ``step`` and the measures.
        names: Label of each column; missing columns are skipped. With ``validation_loss`` among them, the epoch with
            the lowest one is marked.
        title: Title.
        subtitle: Subtitle, such as the unit.
        shares: Whether to format the values as percentages.
        words: Texts of the figure.
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
    _set_limits(canvas, *_limits(*(lines[column] for column in shown)))
    ends = []
    for i, column in enumerate(shown):
        series = PlotSeries(names[column], i)
        _draw_marks(canvas, *lines[column], series)
        ends.append((float(lines[column][1][-1]), names[column], canvas.color(series)))
    _label_ends(canvas, ends)
    if "validation_loss" in shown:
        _mark_best_epoch(canvas, epochs, "loss", words)
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
        steps: One row per step interval: ``step`` and ``learning_rate``.
        title: Title.
        subtitle: Subtitle.
        words: Texts of the figure.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    at, values = _line(steps, "learning_rate")
    canvas = _canvas(title, subtitle, 18, theme, palette)
    if not len(at):
        return draw_empty(canvas, words.empty)
    _set_limits(canvas, (0.0, float(at[-1])), (0.0, 1.08 * float(values.max()) or 1.0))
    canvas.axes.plot(at, values, color=canvas.color(_TRAINING), linewidth=1.8, zorder=3)
    figure = _finish(canvas, words)
    canvas.axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _scientific(value)))
    canvas.labels(canvas.axes.get_yticklabels())
    return figure


def save_sheet(figures: Sequence[Figure], path: str | Path, *, columns: int = 3, scale: float = 2.0) -> Path:
    """Combine figures in one PNG, row by row.

    Args:
        figures: Figures of this module, all of one theme.
        path: The file; an existing one is replaced atomically.
        columns: Figures per row.
        scale: Pixels per point.

    Returns:
        The file.

    Raises:
        ParameterError: If there is no figure, or ``columns`` is below 1.
        StorageError: If the file cannot be written.
    """
    if not figures or columns < 1:
        raise ParameterError("save_sheet needs at least one figure and one column.")
    images = [_pixels(figure, scale) for figure in figures]
    columns = min(columns, len(images))
    height, width = max(image.shape[0] for image in images), max(image.shape[1] for image in images)
    sheet = np.empty((height * math.ceil(len(images) / columns), width * columns, 4), dtype=np.uint8)
    sheet[:] = images[0][0, 0]
    for i, image in enumerate(images):
        top, left = height * (i // columns), width * (i % columns)
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    with atomic_path(path) as temporary:
        imsave(temporary, sheet, format="png")
    return Path(path)


def _pixels(figure: Figure, scale: float) -> npt.NDArray[np.uint8]:
    """Render a figure as pixels ``[height, width, 4]``, and restore its resolution."""
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
    """Return the finite values of a column and their steps, by ascending step."""
    if column not in table or "step" not in table:
        return np.empty(0), np.empty(0)
    at, values = (table[name].to_numpy(dtype=np.float64) for name in ("step", column))
    known = np.isfinite(at) & np.isfinite(values)
    order = np.argsort(at[known], kind="stable")
    return at[known][order], values[known][order]


def _limits(*lines: tuple[FloatArray, FloatArray]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the limits of both axes: all steps; all values, but of long lines not those of the warm-up."""
    known = [line for line in lines if len(line[0])]
    last = max(float(at[-1]) for at, _ in known)
    late = [values[at > _WARM_UP * last] if len(at) > _MIN_POINTS else values for at, values in known]
    values = np.concatenate(late)
    low, high = float(values.min()), float(values.max())
    margin = 0.08 * (high - low) or max(abs(high) * 0.05, 1e-3)
    return (0.0, last), (low - margin, high + margin)


def _set_limits(canvas: Canvas, x: tuple[float, float], y: tuple[float, float]) -> None:
    canvas.axes.set_xlim(x[0], max(x[1], x[0] + 1) * 1.005)
    canvas.axes.set_ylim(*y)


def _draw_training(canvas: Canvas, at: FloatArray, values: FloatArray) -> None:
    """Draw the smoothed line, over the faint original one if they differ."""
    smooth_at, smooth = _smoothed(at, values)
    if len(smooth) < len(values):
        canvas.axes.plot(at, values, color=canvas.style.muted, linewidth=0.7, alpha=0.35, zorder=2)
    canvas.axes.plot(smooth_at, smooth, color=canvas.style.muted, linewidth=1.6, zorder=2.5)


def _smoothed(at: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Average neighbouring points if there are many."""
    if len(values) <= 2 * _SMOOTH_POINTS:
        return at, values
    parts = np.array_split(np.arange(len(values)), _SMOOTH_POINTS)
    return np.array([at[part].mean() for part in parts]), np.array([values[part].mean() for part in parts])


def _draw_marks(canvas: Canvas, at: FloatArray, values: FloatArray, series: PlotSeries) -> None:
    mark = canvas.mark(series, 0.75)
    every = max(1, math.ceil(len(at) / _MAX_MARKS))
    (line,) = canvas.axes.plot(at, values, linewidth=1.7, zorder=3, markevery=every, **mark)
    # Clip slightly outside the pane: markers on its edge stay whole, values far above it are cut.
    line.set_clip_box(TransformedBbox(Bbox([[-0.03, -0.03], [1.03, 1.03]]), canvas.axes.transAxes))


def _label_ends(canvas: Canvas, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write names at the ends of the lines; labels do not overlap and stay within the pane."""
    low, high = canvas.axes.get_ylim()
    gap = 0.085 * (high - low)
    placed: list[float] = []
    ordered = sorted(ends, key=lambda end: end[0])
    for value, *_ in ordered:
        position = min(max(value, low), high)
        placed.append(max(position, placed[-1] + gap) if placed else position)
    over = max(0.0, placed[-1] - high)
    for position, (_, name, color) in zip(placed, ordered, strict=True):
        canvas.axes.annotate(
            name,
            (1, position - over),
            xycoords=canvas.axes.get_yaxis_transform(),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            parse_math=False,
            **canvas.style.font(10.5, color, bold=True),
        )


def _mark_best_epoch(canvas: Canvas, epochs: pd.DataFrame, part: str, words: Labels) -> None:
    """Draw a line at the epoch with the lowest validation loss, and write the value of the part there."""
    if not {"epoch", "validation_loss"} <= set(epochs.columns) or not np.isfinite(epochs["validation_loss"]).any():
        return
    losses = epochs["validation_loss"].to_numpy(dtype=np.float64)
    best = epochs.iloc[int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))]
    canvas.axes.axvline(
        float(best["step"]), color=canvas.color(_VALIDATION), linewidth=1.0, dashes=(3, 2.5), zorder=1.5
    )
    text = words.best.format(epoch=int(best["epoch"]), value=_four_digits(float(best[f"validation_{part}"])))
    canvas.write(WIDTH - 12, 8, text, 10, canvas.color(_VALIDATION), ha="right")


def _finish(canvas: Canvas, words: Labels) -> Figure:
    axes = canvas.axes
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _step_count(value)))
    locator = MaxNLocator(nbins=5, steps=[1, 2, 5, 10])
    ticks = np.asarray(locator.tick_values(*axes.get_ylim()))
    decimals = max(0, -math.floor(math.log10(float(np.diff(ticks).min())) + 1e-9))
    axes.yaxis.set_major_locator(locator)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, decimals)))
    _fit_left_margin(canvas, max(len(_tick(float(value), decimals)) for value in ticks))
    canvas.write(10, 8, words.step, 10, canvas.style.muted)
    return canvas.finish()


def _fit_left_margin(canvas: Canvas, characters: int) -> None:
    """Move the left edge of the pane until tick labels of this length fit."""
    box = canvas.axes.get_position()
    left = max(_LEFT, 14 + 6.2 * characters) / WIDTH
    canvas.axes.set_position((left, box.y0, box.x1 - left, box.height))


def _step_count(value: float) -> str:
    """Format a number of steps: ``500``, ``12k``, ``1.5M``."""
    for size, letter in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.4g}{letter}"
    return f"{value:,.0f}"


def _tick(value: float, decimals: int) -> str:
    """Format a tick; as a power of ten if it would be long."""
    if decimals > 6 or abs(value) >= 1e6:
        return f"{value:.3g}".replace("-", "−")
    return format_number(value, decimals)


def _four_digits(value: float) -> str:
    """Format a number with four significant digits and a typographic minus."""
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
    return text.replace("-", "−") if value else "0"


def _scientific(value: float) -> str:
    """Format a number such as ``4e−5``."""
    if not value:
        return "0"
    power = math.floor(math.log10(abs(value)) + 1e-9)
    return f"{value / 10**power:.3g}e{power}".replace("-", "−")

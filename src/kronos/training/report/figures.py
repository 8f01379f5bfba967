"""Training curves of a stage for its report, as inline SVG and as one PNG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kronos.plotting.style import Palette, Theme
from kronos.plotting.svg import inline_svg
from kronos.plotting.training import Labels, plot_learning_rate, plot_loss, plot_measures, save_sheet
from kronos.reports import Translator
from kronos.training.callbacks import TrainingHistory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FIRST_PARTS = ("loss", "s1", "s2", "full", "coarse")  # in this order; other parts follow in the order of the log
_MEASURES: dict[str, tuple[str, ...]] = {  # figures of the validation only, with their columns
    "validation_loss": ("loss",),
    "close_error": ("close_error_in_steps",),
    "codes_used": ("codes_used_s1", "codes_used_s2"),
    "perplexity": ("perplexity_s1", "perplexity_s2"),
}
_SHARES = ("codes_used",)
_AREA = "training.figures."


@dataclass(frozen=True)
class TrainingFigure:
    """A figure with its title.

    Attributes:
        key: Unique key of the figure on a page.
        title: Title.
        figure: The figure.
    """

    key: str
    title: str
    figure: Figure


class TrainingFigures:
    """Draws the curves of a log."""

    def __init__(
        self, log: TrainingHistory, t: Translator, theme: Theme = "light", palette: Palette = "green-up"
    ) -> None:
        """Nothing is drawn yet.

        Args:
            log: Log of one stage.
            t: Messages for titles and labels.
            theme: ``light`` or ``dark``.
            palette: ``green-up``, ``red-up`` or ``colour-blind``.
        """
        self._log, self._t, self._theme, self._palette = log, t, theme, palette
        self._keys = set(t.keys)
        labels = {name: t(f"{_AREA}{name}") for name in ("training", "validation", "step", "empty")}
        self._labels = Labels(**labels, best=t(f"{_AREA}best_of", epoch="{epoch}", value="{value}"))

    def figures(self) -> list[TrainingFigure]:
        """All figures: losses, measures of the validation, learning rate."""
        measured = {column for columns in _MEASURES.values() for column in columns}
        parts = [part for part in self._log.parts if part not in measured]
        if self._has_comparable_losses():
            parts.append("loss")
        parts.sort(key=lambda part: _FIRST_PARTS.index(part) if part in _FIRST_PARTS else len(_FIRST_PARTS))
        measures = [name for name in _MEASURES if self._has(name)]
        figures = [self._measure(name) for name in measures if name == "validation_loss"]
        figures += [self._loss(part) for part in parts]
        figures += [self._measure(name) for name in measures if name != "validation_loss"]
        if "learning_rate" in self._log.steps:
            figures.append(self._figure("learning_rate", lambda **style: plot_learning_rate(self._log.steps, **style)))
        return figures

    def svg(self) -> list[str]:
        """All figures as SVG for a page."""
        stage = self._log.stage or "stage"
        return [
            inline_svg(item.figure, f"{stage}-{item.key}", item.title, theme=self._theme, palette=self._palette)
            for item in self.figures()
        ]

    def save(self, path: Path) -> Path:
        """Save all figures as one PNG.

        Raises:
            StorageError: If the file cannot be written.
        """
        return save_sheet([item.figure for item in self.figures()] or [self._loss("loss").figure], path)

    def _has_comparable_losses(self) -> bool:
        """Whether training and validation loss are the same quantity; a tokenizer's are not, but its parts are."""
        return self._log.stage != "tokenizer" or "full" not in self._log.parts

    def _has(self, measure: str) -> bool:
        return any(f"validation_{column}" in self._log.epochs for column in _MEASURES[measure])

    def _loss(self, part: str) -> TrainingFigure:
        return self._figure(part, lambda **style: plot_loss(self._log.steps, self._log.epochs, part, **style))

    def _measure(self, name: str) -> TrainingFigure:
        labels = {f"validation_{column}": self._label(column) for column in _MEASURES[name]}
        shares = name in _SHARES
        return self._figure(name, lambda **style: plot_measures(self._log.epochs, labels, shares=shares, **style))

    def _label(self, column: str) -> str:
        if column == "loss":
            return self._labels.validation
        token = column.rpartition("_")[2]
        return self._t(f"{_AREA}{token if token in ('s1', 's2') else 'close'}.label")

    def _figure(self, name: str, draw: Callable[..., Figure]) -> TrainingFigure:
        known = f"{_AREA}{name}.title" in self._keys
        title = self._t(f"{_AREA}{name}.title") if known else name.replace("_", " ")
        unit = self._t(f"{_AREA}{name}.unit") if known else ""
        figure = draw(title=title, subtitle=unit, words=self._labels, theme=self._theme, palette=self._palette)
        return TrainingFigure(name.replace("_", "-"), title, figure)


def save_curves(log: TrainingHistory, path: Path, *, theme: Theme = "light", palette: Palette = "green-up") -> Path:
    """Save a stage's curves as one PNG.

    Args:
        log: Log of the stage.
        path: The file, written atomically.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Returns:
        The file.

    Raises:
        ParameterError: If theme or palette is unknown.
        StorageError: If the file cannot be written.
    """
    return TrainingFigures(log, Translator("en"), theme, palette).save(path)

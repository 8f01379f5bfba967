"""The pictures of a stage's log: each part of the loss by itself, the rate, and how much of the codebook is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kronos.plotting.style import Palette, Theme
from kronos.plotting.svg import inline_svg
from kronos.plotting.training import Words, plot_learning_rate, plot_loss, plot_measures, save_sheet
from kronos.reports import Messages
from kronos.training.logs import TrainingLog

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FIRST = ("loss", "s1", "s2", "full", "coarse")  # what a reader looks for, in this order; the rest as it was logged
_COLUMNS: dict[str, tuple[str, ...]] = {  # drawn of validation alone
    "validation_loss": ("loss",),
    "close_error": ("close_error_in_steps",),
    "codes_used": ("codes_used_s1", "codes_used_s2"),
    "perplexity": ("perplexity_s1", "perplexity_s2"),
}
_MEASURES = tuple(_COLUMNS)
_SHARES = ("codes_used",)
_NAME = "training.pictures."


@dataclass(frozen=True)
class Picture:
    """A figure and its words.

    Attributes:
        key: Tells it from others of a page.
        title: What it shows.
        figure: As drawn.
    """

    key: str
    title: str
    figure: Figure


class Album:
    """Draws a log."""

    def __init__(self, log: TrainingLog, t: Messages, theme: Theme = "light", palette: Palette = "green-up") -> None:
        """Prepare.

        Args:
            log: Of one stage.
            t: What pictures say.
            theme: ``light`` or ``dark``.
            palette: ``green-up``, ``red-up`` or ``colour-blind``.
        """
        self._log, self._t, self._theme, self._palette = log, t, theme, palette
        self._known = set(t.ordered)
        own = {name: t(f"{_NAME}{name}") for name in ("training", "validation", "step", "empty")}
        self._words = Words(**own, best=t(f"{_NAME}best_of", epoch="{epoch}", value="{value}"))

    def pictures(self) -> list[Picture]:
        """All there is to draw: the losses, what is measured in validation, the learning rate."""
        measured = {column for columns in _COLUMNS.values() for column in columns}
        parts = [part for part in self._log.parts if part not in measured]
        if self._score_is_the_loss():
            parts.append("loss")
        ordered = sorted(parts, key=lambda part: _FIRST.index(part) if part in _FIRST else len(_FIRST))
        drawn = [self._measures(name) for name in _MEASURES[:1] if self._has(name)]
        drawn += [self._loss(part) for part in ordered]
        drawn += [self._measures(name) for name in _MEASURES[1:] if self._has(name)]
        if "learning_rate" in self._log.steps:
            drawn.append(self._picture("learning_rate", lambda **look: plot_learning_rate(self._log.steps, **look)))
        return drawn

    def svg(self) -> list[str]:
        """The same for the inside of a page."""
        stage = self._log.stage or "stage"
        return [
            inline_svg(one.figure, f"{stage}-{one.key}", one.title, theme=self._theme, palette=self._palette)
            for one in self.pictures()
        ]

    def save(self, path: Path) -> Path:
        """The same as one PNG.

        Raises:
            StorageError: If it cannot be written.
        """
        return save_sheet([one.figure for one in self.pictures()] or [self._loss("loss").figure], path)

    def _score_is_the_loss(self) -> bool:
        """Whether training and validation loss are the same thing: a tokenizer's are not, its parts tell more."""
        return self._log.stage != "tokenizer" or "full" not in self._log.parts

    def _has(self, name: str) -> bool:
        return any(f"validation_{column}" in self._log.epochs for column in _COLUMNS[name])

    def _loss(self, part: str) -> Picture:
        return self._picture(part, lambda **look: plot_loss(self._log.steps, self._log.epochs, part, **look))

    def _measures(self, name: str) -> Picture:
        labels = {f"validation_{column}": self._label(column) for column in _COLUMNS[name]}
        shares = name in _SHARES
        return self._picture(name, lambda **look: plot_measures(self._log.epochs, labels, shares=shares, **look))

    def _label(self, column: str) -> str:
        if column == "loss":
            return self._words.validation
        token = column.rpartition("_")[2]
        return self._t(f"{_NAME}{token if token in ('s1', 's2') else 'close'}.label")

    def _picture(self, name: str, draw: Callable[..., Figure]) -> Picture:
        known = f"{_NAME}{name}.title" in self._known
        title = self._t(f"{_NAME}{name}.title") if known else name.replace("_", " ")
        unit = self._t(f"{_NAME}{name}.unit") if known else ""
        figure = draw(title=title, subtitle=unit, words=self._words, theme=self._theme, palette=self._palette)
        return Picture(name.replace("_", "-"), title, figure)


def save_curves(log: TrainingLog, path: Path, *, theme: Theme = "light", palette: Palette = "green-up") -> Path:
    """Write a stage's curves as one PNG.

    Args:
        log: Of the stage.
        path: The file; replaced if it exists, all or nothing.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Returns:
        The file.

    Raises:
        ParameterError: If theme or palette is unknown.
        StorageError: If it cannot be written.
    """
    return Album(log, Messages("en"), theme, palette).save(path)

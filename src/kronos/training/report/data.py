"""All that is told of a training, gathered from its folder: what it was asked for, did, and came to.

A folder tells of a training that failed or still runs too: as far as it came.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kronos import provenance
from kronos.atomic import write_text
from kronos.datasets.config import STAGES, StageName
from kronos.errors import DataError
from kronos.plotting.style import Palette, Theme
from kronos.plotting.svg import inline_svg
from kronos.plotting.training import Labels, plot_learning_rate, plot_loss, plot_measures, save_sheet
from kronos.reports import Translator
from kronos.training.callbacks import TrainingHistory
from kronos.training.comparison import Comparison, finite
from kronos.training.run_folder import COMPARISON, CONFIG, LOG, StageRecord, read_record, stage_folder

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


class FigureSet:
    """Draws a log."""

    def __init__(
        self, log: TrainingHistory, t: Translator, theme: Theme = "light", palette: Palette = "green-up"
    ) -> None:
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
        self._words = Labels(**own, best=t(f"{_NAME}best_of", epoch="{epoch}", value="{value}"))

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


def save_curves(log: TrainingHistory, path: Path, *, theme: Theme = "light", palette: Palette = "green-up") -> Path:
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
    return FigureSet(log, Translator("en"), theme, palette).save(path)


KIND = "kronos training report"
FORMAT = 1


@dataclass(frozen=True)
class StageStory:
    """One network's training.

    Attributes:
        stage: ``tokenizer`` or ``model``.
        state: ``done``, ``kept``, ``skipped``, ``failed``, ``stopped`` or ``unfinished``.
        record: What it came to; None if it isn't done.
        log: What was logged; None if nothing was.
        reason: Why it was skipped or failed; None if it wasn't.
    """

    stage: StageName
    state: str
    record: StageRecord | None = None
    log: TrainingHistory | None = None
    reason: str | None = None

    @property
    def seconds(self) -> float:
        """How long it took, all its starts together."""
        if self.record is not None:
            return self.record.seconds
        return 0.0 if self.log is None else self.log.seconds

    def to_dict(self) -> dict[str, Any]:
        """Everything but the log's lines, ready for JSON."""
        log = self.log
        return {
            "stage": self.stage,
            "state": self.state,
            "reason": self.reason,
            "record": None if self.record is None else self.record.to_dict(),
            "starts": 0 if log is None else log.starts,
            "epochs": [] if log is None else log.epochs.to_dict("records"),
            "plan": {} if log is None else dict(log.plan),
        }


@dataclass(frozen=True)
class RunSummary:
    """A training.

    Attributes:
        name: Of the model.
        folder: Of the run.
        config: The configuration, as its file has it.
        description: What it says of itself.
        stages: Its networks, in the order of their training.
        comparison: Whether it helped; None if that was not asked, or not possible.
        not_compared: Why not, where it is known.
    """

    name: str
    folder: Path
    config: str
    description: str
    stages: tuple[StageStory, ...]
    comparison: Comparison | None = None
    not_compared: str | None = None
    made: Mapping[str, Any] = field(default_factory=lambda: _made())

    @property
    def data(self) -> Mapping[str, Any]:
        """What it was trained on, as the last stage that is done says; empty of one that none is."""
        done = [one.record.data for one in self.stages if one.record is not None]
        return done[-1] if done else {}

    @property
    def seconds(self) -> float:
        """How long all stages took."""
        return sum(one.seconds for one in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the logs' lines, ready for JSON."""
        told: dict[str, Any] = finite(
            {
                "kind": KIND,
                "format": FORMAT,
                "model_name": self.name,
                "description": self.description,
                "folder": str(self.folder),
                "config": self.config,
                "stages": [one.to_dict() for one in self.stages],
                "comparison": None if self.comparison is None else self.comparison.to_dict(),
                "not_compared": self.not_compared,
                "made": dict(self.made),
            }
        )
        return told


def read_story(
    folder: Path,
    states: Mapping[StageName, tuple[str, str | None]] | None = None,
    *,
    not_compared: str | None = None,
) -> RunSummary:
    """Gather what a run's folder tells.

    Args:
        folder: The run's.
        states: Of stages that the caller knows more of: their state and, if they went wrong, why.
        not_compared: Why there is no comparison, if the caller knows.

    Raises:
        DataError: If a file in it is damaged.
    """
    known = dict(states or {})
    path = folder / CONFIG
    text = path.read_text("utf-8") if path.is_file() else ""
    config = _config(text)
    comparison = folder / COMPARISON
    stages = [_stage(folder, stage, known.get(stage)) for stage in STAGES]
    return RunSummary(
        name=str(config.get("model_name") or folder.name),
        folder=folder,
        config=text,
        description=str(config.get("description") or ""),
        stages=tuple(one for one in stages if one is not None),
        comparison=Comparison.read(comparison) if comparison.is_file() else None,
        not_compared=not_compared,
    )


def _stage(folder: Path, stage: StageName, known: tuple[str, str | None] | None) -> StageStory | None:
    """What there is of a stage; None of one that nothing is known of."""
    record = read_record(folder, stage)
    log = None
    with suppress(DataError):  # nothing was logged yet
        log = TrainingHistory.read(stage_folder(folder, stage) / LOG)
    if known is None and record is None and log is None:
        return None
    state, reason = known or ("unfinished" if record is None else "done", None)
    return StageStory(stage, state, record, log, reason)


def _config(text: str) -> Mapping[str, Any]:
    with suppress(yaml.YAMLError):
        found = yaml.safe_load(text)
        if isinstance(found, dict):
            return found
    return {}


def _made() -> dict[str, Any]:
    return {"created": provenance.now_utc(), "versions": provenance.versions()}


def write_json(story: RunSummary, path: Path) -> Path:
    """Write a story as JSON, whole or not at all.

    Raises:
        StorageError: If it cannot be written.
    """
    write_text(path, json.dumps(story.to_dict(), indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")
    return path

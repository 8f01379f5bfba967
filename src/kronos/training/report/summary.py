"""Summary of a run, read from its folder: configuration, stages, logs, comparison and training curves.

It also covers a training that failed or is still running, as far as it came.
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
from kronos.formatting import json_safe
from kronos.plotting.style import Palette, Theme
from kronos.plotting.svg import inline_svg
from kronos.plotting.training import Labels, plot_learning_rate, plot_loss, plot_measures, save_sheet
from kronos.reports import Translator
from kronos.training.callbacks import TrainingHistory
from kronos.training.comparison import TrainingComparison
from kronos.training.run_folder import COMPARISON, CONFIG, LOG, StageRecord, load_record, stage_folder

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


KIND = "kronos training report"
FORMAT = 1


@dataclass(frozen=True)
class StageSummary:
    """Summary of the training of one network.

    Attributes:
        stage: ``tokenizer`` or ``model``.
        state: ``done``, ``kept``, ``skipped``, ``failed``, ``stopped`` or ``unfinished``.
        record: Record of the finished stage; None if it is not finished.
        log: Log of the training; None if there is none.
        reason: Why the stage was skipped or failed; None otherwise.
    """

    stage: StageName
    state: str
    record: StageRecord | None = None
    log: TrainingHistory | None = None
    reason: str | None = None

    @property
    def seconds(self) -> float:
        """Training time of all starts together."""
        if self.record is not None:
            return self.record.seconds
        return 0.0 if self.log is None else self.log.seconds

    def to_dict(self) -> dict[str, Any]:
        """Everything but the steps of the log, ready for JSON."""
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


def _current_provenance() -> dict[str, Any]:
    return {"created": provenance.now_utc(), "versions": provenance.versions()}


@dataclass(frozen=True)
class RunSummary:
    """Summary of a run.

    Attributes:
        name: Name of the model.
        folder: Folder of the run.
        config: The configuration, as YAML.
        description: Description from the configuration.
        stages: Stages in the order of their training.
        comparison: Comparison with the initial weights; None if there is none.
        not_compared: Why there is no comparison, if known.
        provenance: Time of creation and versions.
    """

    name: str
    folder: Path
    config: str
    description: str
    stages: tuple[StageSummary, ...]
    comparison: TrainingComparison | None = None
    not_compared: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=_current_provenance)

    @property
    def data(self) -> Mapping[str, Any]:
        """Description of the training data from the last finished stage; empty if there is none."""
        done = [stage.record.data for stage in self.stages if stage.record is not None]
        return done[-1] if done else {}

    @property
    def seconds(self) -> float:
        """Training time of all stages."""
        return sum(stage.seconds for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the steps of the logs, ready for JSON."""
        document = {
            "kind": KIND,
            "format": FORMAT,
            "model_name": self.name,
            "description": self.description,
            "folder": str(self.folder),
            "config": self.config,
            "stages": [stage.to_dict() for stage in self.stages],
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
            "not_compared": self.not_compared,
            "made": dict(self.provenance),
        }
        return {name: json_safe(value) for name, value in document.items()}


def load_run_summary(
    folder: Path,
    states: Mapping[StageName, tuple[str, str | None]] | None = None,
    *,
    not_compared: str | None = None,
) -> RunSummary:
    """Load the summary of a run from its folder.

    Args:
        folder: Folder of the run.
        states: State and reason by stage, where the caller knows them.
        not_compared: Why there is no comparison, if the caller knows.

    Raises:
        DataError: If a file in the folder is damaged.
    """
    states = states or {}
    path = folder / CONFIG
    text = path.read_text("utf-8") if path.is_file() else ""
    config = _parse_config(text)
    comparison = folder / COMPARISON
    stages = [_load_stage(folder, stage, states.get(stage)) for stage in STAGES]
    return RunSummary(
        name=str(config.get("model_name") or folder.name),
        folder=folder,
        config=text,
        description=str(config.get("description") or ""),
        stages=tuple(stage for stage in stages if stage is not None),
        comparison=TrainingComparison.read(comparison) if comparison.is_file() else None,
        not_compared=not_compared,
    )


def _load_stage(folder: Path, stage: StageName, known: tuple[str, str | None] | None) -> StageSummary | None:
    """Summary of a stage; None if nothing is known about it."""
    record = load_record(folder, stage)
    log = None
    with suppress(DataError):  # there is no log yet
        log = TrainingHistory.read(stage_folder(folder, stage) / LOG)
    if known is None and record is None and log is None:
        return None
    state, reason = known or ("unfinished" if record is None else "done", None)
    return StageSummary(stage, state, record, log, reason)


def _parse_config(text: str) -> Mapping[str, Any]:
    with suppress(yaml.YAMLError):
        config = yaml.safe_load(text)
        if isinstance(config, dict):
            return config
    return {}


def save_run_summary(summary: RunSummary, path: Path) -> Path:
    """Write a summary as JSON, atomically.

    Raises:
        StorageError: If the file cannot be written.
    """
    text = json.dumps(summary.to_dict(), indent=2, ensure_ascii=False, allow_nan=False, default=str)
    write_text(path, text + "\n")
    return path

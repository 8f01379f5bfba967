"""All that is told of a training, gathered from its folder: what it was asked for, did, and came to.

A folder tells of a training that failed or still runs too: as far as it came.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kronos import provenance
from kronos.datasets.recipes import STAGES, StageName
from kronos.errors import DataError
from kronos.storage import write_text
from kronos.training.comparison import Comparison, finite
from kronos.training.logs import TrainingLog
from kronos.training.records import COMPARISON, CONFIG, LOG, StageRecord, read_record, stage_folder

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
    log: TrainingLog | None = None
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
class Story:
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
) -> Story:
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
    return Story(
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
        log = TrainingLog.read(stage_folder(folder, stage) / LOG)
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


def write_json(story: Story, path: Path) -> Path:
    """Write a story as JSON, whole or not at all.

    Raises:
        StorageError: If it cannot be written.
    """
    write_text(path, json.dumps(story.to_dict(), indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")
    return path

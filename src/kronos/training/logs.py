"""What a training logged, as tables: for curves, reports, and whoever wants to look closer.

log = TrainingLog.read(Path("outputs/models/mine/training/model/log.jsonl"))
log.epochs[["epoch", "train_loss", "validation_loss"]]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.errors import DataError
from kronos.training.monitors import read_lines

_SEQUELS = ("event", "time", "plan")  # not figures of a step or an epoch
_NOT_PARTS = ("step", "epoch", "loss", "learning_rate", "gradient_norm", "samples_per_second", "seconds")


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """A stage's log.

    Attributes:
        plan: What the loop said it would do, when it last started.
        steps: One row a step interval: ``step``, ``loss``, its parts, ``learning_rate`` …; by ascending step.
        epochs: One row an epoch: ``epoch``, ``step``, ``train_loss``, ``validation_loss`` and the parts likewise.
        end: What the loop ended with (``epochs``, ``steps``, ``best_epoch``, ``best``, ``stopped``); empty of one that
            was killed, or still runs.
        starts: How often it was started: 1 and the resumes.
        seconds: Time it ran, all starts together.
    """

    plan: Mapping[str, Any]
    steps: pd.DataFrame
    epochs: pd.DataFrame
    end: Mapping[str, Any]
    starts: int
    seconds: float

    @classmethod
    def read(cls, path: Path) -> TrainingLog:
        """Read a ``log.jsonl``.

        Args:
            path: The file.

        Raises:
            DataError: If there is none, or nothing in it is a training's.
        """
        lines = read_lines(path)
        if not lines:
            raise DataError(f"{path} holds no log of a training; give the log.jsonl of one.")
        starts = [one for one in lines if one["event"] == "start"]
        ends = [one for one in lines if one["event"] == "end"]
        return cls(
            plan=dict(starts[-1].get("plan") or {}) if starts else {},
            steps=_table(lines, "step"),
            epochs=_table(lines, "epoch"),
            end={name: value for name, value in ends[-1].items() if name not in ("event", "time")} if ends else {},
            starts=len(starts),
            seconds=_running(lines),
        )

    @property
    def stage(self) -> str:
        """``tokenizer`` or ``model``; empty where the plan doesn't say."""
        return str(self.plan.get("stage", ""))

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose validation loss is the least; None without validation."""
        if "validation_loss" not in self.epochs or self.epochs["validation_loss"].isna().all():
            return None
        place = int(np.nanargmin(self.epochs["validation_loss"].to_numpy(dtype=np.float64)))
        return int(self.epochs["epoch"].to_numpy()[place])

    @property
    def parts(self) -> list[str]:
        """Parts of the loss that were logged of training or validation, in the order of the log."""
        of_epochs = [name.removeprefix("train_").removeprefix("validation_") for name in self.epochs.columns]
        seen = dict.fromkeys([*self.steps.columns, *of_epochs])
        return [name for name in seen if name not in _NOT_PARTS]


def _table(lines: Iterable[Mapping[str, Any]], event: str) -> pd.DataFrame:
    """The figures of all lines of a kind; what was null is NaN, and what is no number is left out."""
    rows: Sequence[Mapping[str, Any]] = [
        {name: value for name, value in one.items() if name not in _SEQUELS} for one in lines if one["event"] == event
    ]
    table = pd.DataFrame(rows)
    if table.empty:
        return pd.DataFrame({"step": np.empty(0, dtype=np.int64)})
    numbers = pd.DataFrame({name: pd.to_numeric(table[name], errors="coerce") for name in table.columns})
    return numbers.sort_values("step", kind="stable").reset_index(drop=True)


def _running(lines: Sequence[Mapping[str, Any]]) -> float:
    """Seconds from each start to the last line before the next one."""
    total, begun, last = 0.0, None, None
    for one in lines:
        moment = pd.to_datetime(str(one.get("time")), errors="coerce", utc=True)
        if pd.isna(moment):
            continue
        if one["event"] == "start" or begun is None:
            total += 0.0 if begun is None or last is None else (last - begun).total_seconds()
            begun = moment
        last = moment
    return total + (0.0 if begun is None or last is None else (last - begun).total_seconds())

"""Watching a training: what a loop tells, and who listens.

A loop calls its monitors, in this order and in the first process only:

- ``on_start(plan)``: once, also after a resume. ``plan`` has ``stage`` (``tokenizer`` or ``model``), ``epochs``,
  ``steps_per_epoch``, ``steps`` (of the whole run), ``step`` (steps done before: 0, or where a resume goes on),
  ``batch_size``, ``best`` (the least validation loss so far, None of a new training), and whatever else the loop knows;
  every value is fit for JSON.
- ``on_step(step, logs)``: every few steps. ``step`` counts from 1 over the whole run; ``logs`` are means since the
  last call: ``loss``, the parts of the loss by name, ``learning_rate``, ``gradient_norm``.
- ``on_epoch_end(epoch, logs)``: ``epoch`` counts from 1, and 0 is the start; ``logs`` have ``step``, and of training
  and validation samples each figure with ``train_`` or ``validation_`` before its name, such as ``validation_loss``.
- ``log_metrics(metrics, step)``: anything else that is measured on the way.
- ``save_checkpoint(path, best=…)``: after a checkpoint has been written; ``best`` tells weights that are the best so
  far from those that a resume needs.
- ``on_end(fitted)``: once, when the loop has ended of itself;
- ``on_break(error)``: once instead, when an error or Ctrl-C has ended it; neither if it was killed.

A monitor of one's own derives from `TrainingMonitor` and overrides what it cares for.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kronos.atomic import write_text
from kronos.errors import DataError, ParameterError, StorageError
from kronos.provenance import now_utc

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from torch.utils.tensorboard import SummaryWriter

Logs = Mapping[str, float]
Plan = Mapping[str, Any]

LOG = "log.jsonl"
_SPEED_PERIOD = 60.0  # seconds over which steps a second are taken


class TrainingCallback:
    """Listens to a training and does nothing: the base of those that do."""

    def on_start(self, plan: Plan) -> None:
        """A training begins, or goes on."""

    def on_step(self, step: int, logs: Logs) -> None:
        """Some steps were made; ``step`` is the last of them."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """An epoch was trained and validated."""

    def log_metrics(self, metrics: Logs, step: int) -> None:
        """Something else was measured."""

    def save_checkpoint(self, path: Path, *, best: bool) -> None:
        """A checkpoint was written."""

    def on_end(self, fitted: Any) -> None:
        """The training has ended; ``fitted`` is what the loop returns."""

    def on_break(self, error: BaseException) -> None:
        """The training broke off before its end, by a fault or by a person."""


class Terminal(TrainingCallback):
    """Progress on stderr while a person watches: a bar with loss, samples a second and time left, a line an epoch."""

    def __init__(self, title: str = "", *, wanted: bool = True) -> None:
        """Prepare; nothing is shown before the training starts.

        Args:
            title: What is trained; the plan's ``stage`` by default.
            wanted: Whether to show anything at all; where stderr is no terminal nothing is.
        """
        self._title = title
        self._wanted = wanted
        self._bars: Progress | None = None
        self._task: TaskID | None = None
        self._plan: Plan = {}
        self._best = math.inf

    def on_start(self, plan: Plan) -> None:
        """Show the bar, from the step where the training goes on."""
        self._close()
        if not (self._wanted and sys.stderr.isatty()):
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        known = plan.get("best")
        self._plan, self._best = plan, math.inf if known is None else float(known)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[told]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
            transient=True,
            speed_estimate_period=_SPEED_PERIOD,
        )
        title = self._title or str(plan.get("stage", "training"))
        self._task = self._bars.add_task(title, total=plan.get("steps"), completed=int(plan.get("step", 0)), told="")
        self._bars.start()

    def on_step(self, step: int, logs: Logs) -> None:
        """Move the bar."""
        if self._bars is None or self._task is None:
            return
        self._bars.update(self._task, completed=step)
        speed = self._bars.tasks[0].speed
        told = [f"{step:,}/{self._plan.get('steps', 0):,}"]
        if "loss" in logs:
            told.append(f"loss {logs['loss']:.4f}")
        if speed and self._plan.get("batch_size"):
            told.append(f"{speed * self._plan['batch_size']:,.0f} samples/s")
        self._bars.update(self._task, told=" · ".join(told))

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Say how the epoch went, in a line that stays."""
        if self._bars is None:
            return
        known = [(name, logs[f"{name}_loss"]) for name in ("train", "validation") if f"{name}_loss" in logs]
        losses = " · ".join(f"{name} {value:.4f}" for name, value in known)
        held_out = logs.get("validation_loss", math.nan)
        best = " · best so far" if held_out < self._best else ""
        self._best = held_out if best else self._best  # NaN is never the best
        self._bars.console.print(f"epoch {epoch}/{self._plan.get('epochs', '?')}: {losses}{best}", markup=False)

    def on_end(self, fitted: Any) -> None:  # noqa: ARG002 (the base's signature)
        """Take the bar away."""
        self._close()

    def on_break(self, error: BaseException) -> None:  # noqa: ARG002 (the base's signature)
        """Take the bar away."""
        self._close()

    def _close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._bars = self._task = None


class JsonLines(TrainingCallback):
    """Everything that is told, one JSON object a line, in a file that survives a kill and a resume.

    Each line has ``event`` (``start``, ``step``, ``epoch``, ``metrics``, ``checkpoint``, ``end``), ``step`` and
    ``time`` (UTC). What is no number is null. A resume takes out what was logged beyond its step, and a line torn by a
    kill, so that no step stands there twice; the ``start`` lines tell how often and where it went on.
    """

    def __init__(self, path: Path) -> None:
        """Prepare; the file is touched when the training starts.

        Args:
            path: The file, usually ``log.jsonl`` in the stage's folder.
        """
        self._path = path
        self._step = 0
        self._told: set[tuple[str, int]] = set()

    def on_start(self, plan: Plan) -> None:
        """Begin the file, or go on in it."""
        self._step = int(plan.get("step", 0))
        resumed = self._step > 0 or plan.get("best") is not None  # what it starts from is validated before any step
        kept = [one for one in read_lines(self._path) if self._stays(one)] if resumed else []
        self._told = {(str(one["event"]), int(one["step"])) for one in kept}
        write_text(self._path, "".join(_line(one) for one in kept))
        self._write("start", self._step, {"plan": dict(plan)})

    def on_step(self, step: int, logs: Logs) -> None:
        """A line of a step."""
        self._once("step", step, logs)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """A line of an epoch."""
        self._once("epoch", int(logs.get("step", self._step)), {**logs, "epoch": epoch})

    def log_metrics(self, metrics: Logs, step: int) -> None:
        """A line of other measurements."""
        self._write("metrics", step, metrics)

    def save_checkpoint(self, path: Path, *, best: bool) -> None:
        """A line of a checkpoint."""
        self._write("checkpoint", self._step, {"path": str(path), "best": best})

    def on_end(self, fitted: Any) -> None:
        """The last line."""
        names = ("epochs", "steps", "best_epoch", "best", "stopped")
        told = {name: getattr(fitted, name) for name in names if hasattr(fitted, name)}
        self._write("end", self._step, told)

    def _stays(self, one: Mapping[str, Any]) -> bool:
        """Whether a line of before is of a step that is not made again."""
        return int(one["step"]) <= self._step and one["event"] != "end"

    def _once(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        # A run killed between an epoch's line and its checkpoint ends that epoch again, with the same figures.
        if (event, step) not in self._told:
            self._told.add((event, step))
            self._write(event, step, values)

    def _write(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        self._step = max(self._step, step)
        line = _line({"event": event, **values, "step": step, "time": now_utc()})
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise StorageError(f"Cannot write {self._path}: {reason}; free some space or change its rights.") from error


class TensorBoard(TrainingCallback):
    """Curves for TensorBoard: ``tensorboard --logdir FOLDER``."""

    def __init__(self, folder: Path) -> None:
        """Prepare; events are written once the training starts.

        Args:
            folder: Where they are kept.

        Raises:
            ParameterError: If TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ParameterError(
                "Curves for TensorBoard need it; install it with pip install 'kronos[train]', or leave them out."
            ) from None
        self._make = SummaryWriter
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def on_start(self, plan: Plan) -> None:
        """Open the events; those of before that lie beyond a resume's step are no longer shown."""
        self._close()
        step = int(plan.get("step", 0))
        self._writer = self._make(str(self._folder), purge_step=step + 1)

    def on_step(self, step: int, logs: Logs) -> None:
        """Points of the training curves."""
        self._add("step", logs, step)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Points of an epoch's curves, at its last step."""
        step = int(logs.get("step", epoch))
        for part in ("train", "validation"):
            own = {name.removeprefix(f"{part}_"): v for name, v in logs.items() if name.startswith(f"{part}_")}
            self._add(part, own, step)

    def log_metrics(self, metrics: Logs, step: int) -> None:
        """Points of other curves."""
        self._add("metrics", metrics, step)

    def on_end(self, fitted: Any) -> None:  # noqa: ARG002 (the base's signature)
        """Close the events."""
        self._close()

    def on_break(self, error: BaseException) -> None:  # noqa: ARG002 (the base's signature)
        """Close the events."""
        self._close()

    def _add(self, under: str, values: Logs, step: int) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{under}/{name}", value, step)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log that `JsonLines` wrote; none where there is no file.

    A line that is torn, as a kill leaves it, is passed over.
    """
    try:
        text = path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    found = []
    for line in text.split("\n"):  # other ends of lines may stand in what is told
        try:
            one = json.loads(line)
        except ValueError:
            continue
        if isinstance(one, dict) and isinstance(one.get("step"), int) and isinstance(one.get("event"), str):
            found.append(one)
    return found


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(_plain(values), ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """A value as JSON has it: null for what is not finite, text for what JSON doesn't know."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    try:
        number = float(value)  # also numpy's and torch's scalars
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None


_SEQUELS = ("event", "time", "plan")  # not figures of a step or an epoch
_NOT_PARTS = ("step", "epoch", "loss", "learning_rate", "gradient_norm", "samples_per_second", "seconds")


@dataclass(frozen=True, eq=False)
class TrainingHistory:
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
    def read(cls, path: Path) -> TrainingHistory:
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

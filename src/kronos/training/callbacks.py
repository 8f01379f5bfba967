"""Training callbacks: progress in the terminal, a JSON-lines log, TensorBoard; and the log as tables.

The training loop calls its callbacks in this order, in the first process only:

- ``on_start(plan)``: once, also after a resume. ``plan`` has ``stage`` (``tokenizer`` or ``model``), ``epochs``,
  ``steps_per_epoch``, ``steps`` (of the whole run), ``step`` (steps already done: 0, or the step of the resumed
  checkpoint), ``batch_size``, ``best`` (the lowest validation loss so far, None in a new run) and further facts about
  the run. Every value can be written as JSON.
- ``on_step(step, logs)``: every few steps. ``step`` counts from 1 over the whole run. ``logs`` has means since the last
  call: ``loss``, the parts of the loss by name, ``learning_rate``, ``gradient_norm``.
- ``on_epoch_end(epoch, logs)``: ``epoch`` counts from 1; epoch 0 is the validation of the initial weights. ``logs`` has
  ``step`` and every figure of the training and validation samples, prefixed with ``train_`` or ``validation_``, such as
  ``validation_loss``.
- ``log_metrics(metrics, step)``: for anything else that is measured.
- ``save_checkpoint(path, best=…)``: after a checkpoint has been written. ``best`` distinguishes the best weights so far
  from a resume checkpoint.
- ``on_end(result)``: once, at the end of the training.
- ``on_break(error)``: instead of ``on_end``, after an error or Ctrl-C. Neither is called if the process was killed.

To write a callback, derive from `TrainingCallback` and override the methods you need.
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
from kronos.formatting import json_safe
from kronos.provenance import now_utc

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from torch.utils.tensorboard import SummaryWriter

    from kronos.training.trainer import TrainResult

Logs = Mapping[str, float]
PlanInfo = Mapping[str, Any]

_SPEED_WINDOW = 60.0  # seconds over which the terminal averages the speed


class TrainingCallback:
    """Base class of training callbacks; every method does nothing."""

    def on_start(self, plan: PlanInfo) -> None:
        """Called when a training starts or resumes."""

    def on_step(self, step: int, logs: Logs) -> None:
        """Called every few steps; ``step`` is the number of steps done."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Called after an epoch was trained and validated."""

    def log_metrics(self, metrics: Logs, step: int) -> None:
        """Called with any other measurement."""

    def save_checkpoint(self, path: Path, *, best: bool) -> None:
        """Called after a checkpoint was written."""

    def on_end(self, result: TrainResult) -> None:
        """Called at the end of the training."""

    def on_break(self, error: BaseException) -> None:
        """Called when an error or Ctrl-C ended the training early."""


@dataclass(frozen=True)
class EarlyStopping:
    """The rule by which the training loop stops early; it is part of the settings, so no callback can change it.

    Attributes:
        patience: Epochs without a lower validation loss after which the training stops; None never stops it.
    """

    patience: int | None

    def should_stop(self, epoch: int, best_epoch: int) -> bool:
        """Whether the best epoch lies ``patience`` epochs or more before the last one."""
        return self.patience is not None and epoch - best_epoch >= self.patience


class Terminal(TrainingCallback):
    """Progress bar on stderr with loss, speed and remaining time, and one line per epoch; silent without a terminal."""

    def __init__(self, title: str = "", *, enabled: bool = True) -> None:
        """Nothing is shown before the training starts.

        Args:
            title: Label of the bar; the plan's ``stage`` by default.
            enabled: Whether to show anything.
        """
        self._title = title
        self._enabled = enabled
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._plan: PlanInfo = {}
        self._best = math.inf

    def on_start(self, plan: PlanInfo) -> None:
        """Show the bar at the step where the training starts or resumes."""
        self._close()
        if not (self._enabled and sys.stderr.isatty()):
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        best = plan.get("best")
        self._plan, self._best = plan, math.inf if best is None else float(best)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[status]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
            transient=True,
            speed_estimate_period=_SPEED_WINDOW,
        )
        title = self._title or str(plan.get("stage", "training"))
        completed = int(plan.get("step", 0))
        self._task = self._progress.add_task(title, total=plan.get("steps"), completed=completed, status="")
        self._progress.start()

    def on_step(self, step: int, logs: Logs) -> None:
        """Advance the bar."""
        if self._progress is None or self._task is None:
            return
        self._progress.update(self._task, completed=step)
        speed = self._progress.tasks[0].speed
        status = [f"{step:,}/{self._plan.get('steps', 0):,}"]
        if "loss" in logs:
            status.append(f"loss {logs['loss']:.4f}")
        if speed and self._plan.get("batch_size"):
            status.append(f"{speed * self._plan['batch_size']:,.0f} samples/s")
        self._progress.update(self._task, status=" · ".join(status))

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Print a line with the losses of the epoch."""
        if self._progress is None:
            return
        known = [(name, logs[f"{name}_loss"]) for name in ("train", "validation") if f"{name}_loss" in logs]
        losses = " · ".join(f"{name} {value:.4f}" for name, value in known)
        validation_loss = logs.get("validation_loss", math.nan)
        best = " · best so far" if validation_loss < self._best else ""
        self._best = validation_loss if best else self._best  # NaN is never the best
        self._progress.console.print(f"epoch {epoch}/{self._plan.get('epochs', '?')}: {losses}{best}", markup=False)

    def on_end(self, result: TrainResult) -> None:  # noqa: ARG002 (signature of the base class)
        """Remove the bar."""
        self._close()

    def on_break(self, error: BaseException) -> None:  # noqa: ARG002 (signature of the base class)
        """Remove the bar."""
        self._close()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._task = None


class JsonLines(TrainingCallback):
    """Log of all events as JSON lines, one object per line, complete after a kill and a resume.

    Each line has ``event`` (``start``, ``step``, ``epoch``, ``metrics``, ``checkpoint``, ``end``), ``step`` and
    ``time`` (UTC). Numbers that are not finite are null. A resume removes the lines of steps that will be repeated and
    an incomplete last line, so that every step is logged once. The ``start`` lines record each start and its step.
    """

    def __init__(self, path: Path) -> None:
        """The file is written when the training starts.

        Args:
            path: The file, usually ``log.jsonl`` in the stage's folder.
        """
        self._path = path
        self._step = 0
        self._logged: set[tuple[str, int]] = set()

    def on_start(self, plan: PlanInfo) -> None:
        """Create the file, or truncate it to the resumed step."""
        self._step = int(plan.get("step", 0))
        resumed = self._step > 0 or plan.get("best") is not None  # the initial weights are validated before any step
        lines = [line for line in read_log(self._path) if self._precedes_resume(line)] if resumed else []
        self._logged = {(str(line["event"]), int(line["step"])) for line in lines}
        write_text(self._path, "".join(_to_line(line) for line in lines))
        self._write("start", self._step, {"plan": dict(plan)})

    def on_step(self, step: int, logs: Logs) -> None:
        """Log the means of the last steps."""
        self._write_once("step", step, logs)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Log the figures of an epoch."""
        self._write_once("epoch", int(logs.get("step", self._step)), {**logs, "epoch": epoch})

    def log_metrics(self, metrics: Logs, step: int) -> None:
        """Log other measurements."""
        self._write("metrics", step, metrics)

    def save_checkpoint(self, path: Path, *, best: bool) -> None:
        """Log the path of a checkpoint."""
        self._write("checkpoint", self._step, {"path": str(path), "best": best})

    def on_end(self, result: TrainResult) -> None:
        """Log the result."""
        names = ("epochs", "steps", "best_epoch", "best", "stopped")
        self._write("end", self._step, {name: getattr(result, name) for name in names if hasattr(result, name)})

    def _precedes_resume(self, line: Mapping[str, Any]) -> bool:
        return int(line["step"]) <= self._step and line["event"] != "end"

    def _write_once(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        # A run killed between an epoch's line and its checkpoint repeats the end of that epoch, with the same figures.
        if (event, step) not in self._logged:
            self._logged.add((event, step))
            self._write(event, step, values)

    def _write(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        self._step = max(self._step, step)
        line = _to_line({"event": event, **values, "step": step, "time": now_utc()})
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise StorageError(
                f"Cannot write {self._path}: {reason}. Free some disk space or change the file's permissions."
            ) from error


class TensorBoard(TrainingCallback):
    """Curves for TensorBoard; show them with ``tensorboard --logdir FOLDER``."""

    def __init__(self, folder: Path) -> None:
        """Events are written when the training starts.

        Args:
            folder: Folder of the event files.

        Raises:
            ParameterError: If TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ParameterError(
                "TensorBoard is not installed: run pip install 'kronos-forecast[train]', or train without TensorBoard."
            ) from None
        self._writer_class = SummaryWriter
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def on_start(self, plan: PlanInfo) -> None:
        """Open the event file; a resume hides earlier events of steps that will be repeated."""
        self._close()
        step = int(plan.get("step", 0))
        self._writer = self._writer_class(str(self._folder), purge_step=step + 1)

    def on_step(self, step: int, logs: Logs) -> None:
        """Add a point to the training curves."""
        self._add("step", logs, step)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Add a point to the curves by epoch, at the epoch's last step."""
        step = int(logs.get("step", epoch))
        for part in ("train", "validation"):
            values = {name.removeprefix(f"{part}_"): v for name, v in logs.items() if name.startswith(f"{part}_")}
            self._add(part, values, step)

    def log_metrics(self, metrics: Logs, step: int) -> None:
        """Add a point to other curves."""
        self._add("metrics", metrics, step)

    def on_end(self, result: TrainResult) -> None:  # noqa: ARG002 (signature of the base class)
        """Close the event file."""
        self._close()

    def on_break(self, error: BaseException) -> None:  # noqa: ARG002 (signature of the base class)
        """Close the event file."""
        self._close()

    def _add(self, group: str, values: Logs, step: int) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)
            # The writer's thread flushes every two minutes; a kill in between would lose points that no resume repeats.
            self._writer.flush()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a log that `JsonLines` wrote; an empty list if there is no file.

    Lines that are not valid, such as the last one after a kill, are skipped.
    """
    try:
        text = path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines = []
    for text_line in text.split("\n"):  # not splitlines: logged values may contain other line separators
        try:
            line = json.loads(text_line)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int) and isinstance(line.get("event"), str):
            lines.append(line)
    return lines


def _to_line(values: Mapping[str, Any]) -> str:
    return json.dumps(json_safe(values, convert=True), ensure_ascii=False, allow_nan=False) + "\n"


_NOT_FIGURES = ("event", "time", "plan")
_NOT_PARTS = ("step", "epoch", "loss", "learning_rate", "gradient_norm", "samples_per_second", "seconds")


@dataclass(frozen=True, eq=False)
class TrainingHistory:
    """The log of a stage as tables.

    Attributes:
        plan: The plan of the last start; see the module's docstring.
        steps: One row per logged step: ``step``, ``loss``, its parts, ``learning_rate`` …; ascending.
        epochs: One row per epoch: ``epoch``, ``step``, ``train_loss``, ``validation_loss``, and the parts likewise.
        end: The result (``epochs``, ``steps``, ``best_epoch``, ``best``, ``stopped``); empty if the training was
            killed or is still running.
        starts: Number of starts: 1 plus the resumes.
        seconds: Running time of all starts together.
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
            DataError: If the file is missing or has no line of a training log.
        """
        lines = read_log(path)
        if not lines:
            raise DataError(f"{path} is not a training log: give the log.jsonl of a training.")
        starts = [line for line in lines if line["event"] == "start"]
        ends = [line for line in lines if line["event"] == "end"]
        return cls(
            plan=dict(starts[-1].get("plan") or {}) if starts else {},
            steps=_to_table(lines, "step"),
            epochs=_to_table(lines, "epoch"),
            end={name: value for name, value in ends[-1].items() if name not in ("event", "time")} if ends else {},
            starts=len(starts),
            seconds=_running_seconds(lines),
        )

    @property
    def stage(self) -> str:
        """``tokenizer`` or ``model``; empty if the plan has no stage."""
        return str(self.plan.get("stage", ""))

    @property
    def best_epoch(self) -> int | None:
        """Epoch with the lowest validation loss; None without validation."""
        if "validation_loss" not in self.epochs or self.epochs["validation_loss"].isna().all():
            return None
        row = int(np.nanargmin(self.epochs["validation_loss"].to_numpy(dtype=np.float64)))
        return int(self.epochs["epoch"].to_numpy()[row])

    @property
    def parts(self) -> list[str]:
        """Names of the logged parts of the loss, in the order of the log."""
        from_epochs = [name.removeprefix("train_").removeprefix("validation_") for name in self.epochs.columns]
        return [name for name in dict.fromkeys([*self.steps.columns, *from_epochs]) if name not in _NOT_PARTS]


def _to_table(lines: Iterable[Mapping[str, Any]], event: str) -> pd.DataFrame:
    """The figures of all lines of one event; null and text become NaN."""
    rows: Sequence[Mapping[str, Any]] = [
        {name: value for name, value in line.items() if name not in _NOT_FIGURES}
        for line in lines
        if line["event"] == event
    ]
    table = pd.DataFrame(rows)
    if table.empty:
        return pd.DataFrame({"step": np.empty(0, dtype=np.int64)})
    numbers = pd.DataFrame({name: pd.to_numeric(table[name], errors="coerce") for name in table.columns})
    return numbers.sort_values("step", kind="stable").reset_index(drop=True)


def _running_seconds(lines: Sequence[Mapping[str, Any]]) -> float:
    """Seconds from each start to the last line before the next start, added up."""
    total, started, last = 0.0, None, None
    for line in lines:
        time = pd.to_datetime(str(line.get("time")), errors="coerce", utc=True)
        if pd.isna(time):
            continue
        if line["event"] == "start" or started is None:
            total += 0.0 if started is None or last is None else (last - started).total_seconds()
            started = time
        last = time
    return total + (0.0 if started is None or last is None else (last - started).total_seconds())

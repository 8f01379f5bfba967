"""Several trainings, each network after those it needs, none stopped by another's fault.

    outcomes = run([make_plan(load_config(name)) for name in ("model_a_4h", "model_b_1d")], How("parallel", workers=2))

- A stage that fails takes with it what needs it, which is said; the others go on.
- Side by side each stage has a process of its own with its share of the threads, and tells what it does in a file.
- Ctrl-C and SIGTERM end everything at a state that the same call goes on from.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kronos.datasets.config import StageName
from kronos.errors import KronosError, ParameterError
from kronos.training.plan import RunPlan, StagePlan
from kronos.training.run_folder import CONFIG, StageRecord, forget, read_record, result_folder, stage_folder
from kronos.training.torchrun import is_first

if TYPE_CHECKING:
    from kronos.training.callbacks import TrainingCallback
    from kronos.training.comparison import Comparison
    from kronos.training.comparison_run import ComparisonOutcome

Mode = Literal["sequential", "parallel"]
State = Literal["done", "kept", "skipped", "failed", "stopped"]
Monitors = Callable[[RunPlan, StagePlan], "Sequence[TrainingCallback]"]

OUTPUT = "output.log"  # what a stage in a process of its own prints
_PATIENCE = 60.0  # seconds that a stage has to save its state before it is killed


@dataclass(frozen=True)
class RunOptions:
    """How several trainings are done.

    Attributes:
        mode: One after another in this process, or side by side in processes of their own.
        workers: Processes at most; None for one a core.
        skip_existing: Whether a stage that an earlier run has finished is kept without a look at it.
        restart: Whether to forget what earlier runs have left.
        compare: Whether each model is compared with what it started from.
    """

    mode: Mode = "sequential"
    workers: int | None = None
    skip_existing: bool = False
    restart: bool = False
    compare: bool = True


@dataclass(frozen=True)
class StageResult:
    """What a stage came to.

    Attributes:
        name: Of the model.
        stage: Of its networks.
        folder: Of the run.
        state: ``done``; ``kept`` as an earlier run had finished it; ``skipped`` as what it needs failed; ``failed``;
            or ``stopped`` by a person.
        reason: Why it was skipped or failed, one sentence.
        record: What the training came to.
        comparison: Whether it helped; None if that was not asked, or not possible.
        not_compared: Why it was not possible, one sentence.
        error: What it failed with, where that is known.
    """

    name: str
    stage: StageName
    folder: Path
    state: State
    reason: str | None = None
    record: StageRecord | None = None
    comparison: Comparison | None = None
    not_compared: str | None = None
    error: KronosError | None = None

    @property
    def good(self) -> bool:
        """Whether the network is there."""
        return self.state in ("done", "kept")

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "model_name": self.name,
            "stage": self.stage,
            "folder": str(self.folder),
            "state": self.state,
            "reason": self.reason,
            "record": None if self.record is None else self.record.to_dict(),
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
            "not_compared": self.not_compared,
        }


@dataclass(frozen=True)
class _Task:
    """One stage of one run, and the folders of the networks that it needs."""

    plan: RunPlan
    stage: StagePlan
    needs: tuple[Path, ...]

    @property
    def result(self) -> Path:
        return _real(result_folder(self.plan.folder, self.stage.stage))

    def outcome(self, state: State, reason: str | None = None, **found: Any) -> StageResult:
        return StageResult(self.plan.name, self.stage.stage, self.plan.folder, state, reason, **found)


def run(
    plans: Sequence[RunPlan],
    how: RunOptions | None = None,
    *,
    monitors: Monitors = lambda *_: (),
    tell: Callable[[StageResult], None] = lambda _: None,
) -> list[StageResult]:
    """Train everything that was planned.

    Args:
        plans: Runs without problems, each with a folder of its own.
        how: One after another, or side by side.
        monitors: Who listens to a stage, where it runs in this process.
        tell: Called with each outcome as it comes.

    Returns:
        An outcome of each stage, in the order of the plans. After Ctrl-C or SIGTERM the one at work is ``stopped``,
        and so are those that had not begun.

    Raises:
        ParameterError: If a plan has a problem, two share a folder, or stages need each other in a circle.
    """
    how = how or RunOptions()
    for plan in plans:
        plan.check()
    tasks = _tasks(plans)
    for plan in plans:
        _begin(plan)
    found: dict[Path, StageResult] = {}

    def done(task: _Task, outcome: StageResult) -> None:
        found[task.result] = outcome
        tell(outcome)

    with interruptible():
        try:
            if how.mode == "parallel" and len(tasks) > 1:
                _run_parallel(tasks, how, found, done)
            else:
                _one_by_one(tasks, how, found, done, monitors)
        except KeyboardInterrupt:
            for task in tasks:
                if task.result not in found:
                    done(task, task.outcome("stopped", "a person interrupted it; the same command goes on from there"))
    order = [_real(result_folder(plan.folder, stage.stage)) for plan in plans for stage in plan.stages]
    return [found[place] for place in order]


def report(outcomes: Sequence[StageResult]) -> Path | None:
    """Write the page of each run, and of several one for all.

    Args:
        outcomes: Of all stages, as `run` gives them.

    Returns:
        The page to look at first; None where nothing was run.

    Raises:
        DataError: If a file in a run's folder is damaged.
        StorageError: If something cannot be written.
    """
    from kronos.training.report.data import read_story
    from kronos.training.report.report import write_reports

    stories = []
    for folder in dict.fromkeys(one.folder for one in outcomes):
        own = [one for one in outcomes if one.folder == folder]
        reason = next((one.not_compared for one in own if one.not_compared), None)
        stories.append(read_story(folder, {one.stage: (one.state, one.reason) for one in own}, not_compared=reason))
    return write_reports(stories) if stories else None


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does for a block: stages save their state on the way out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _begin(plan: RunPlan) -> None:
    """Leave word of whose folder it is before anything else is in it: what fails early can be given again."""
    if is_first() and not (plan.folder / CONFIG).is_file():
        with suppress(KronosError):  # the stage itself says what is wrong
            plan.config.save(plan.folder / CONFIG)


def _tasks(plans: Sequence[RunPlan]) -> list[_Task]:
    """All stages, each after those it needs.

    Raises:
        ParameterError: If two plans share a folder, or stages need each other in a circle.
    """
    folders = [_real(plan.folder) for plan in plans]
    shared = next((plan for plan, place in zip(plans, folders, strict=True) if folders.count(place) > 1), None)
    if shared is not None:
        raise ParameterError(f"Two trainings would share the folder {shared.folder}; give one another model_name.")
    waiting = []
    for plan in plans:
        before: tuple[Path, ...] = tuple(map(_real, plan.needs))
        for stage in plan.stages:
            task = _Task(plan, stage, before)
            waiting.append(task)
            before = (*before, task.result)
    made = {task.result for task in waiting}
    ordered: list[_Task] = []
    while waiting:
        there = {task.result for task in ordered}
        ready = [task for task in waiting if not (set(task.needs) & made) - there]
        if not ready:
            names = " and ".join(dict.fromkeys(task.plan.name for task in waiting))
            raise ParameterError(f"{names} need each other's networks; start one of them from others.")
        ordered.append(ready[0])
        waiting.remove(ready[0])
    return ordered


def _blocked(task: _Task, found: dict[Path, StageResult]) -> str | None:
    """Why a stage cannot be done: what it needs has failed."""
    for place in task.needs:
        outcome = found.get(place)
        if outcome is not None and not outcome.good:
            own = "its" if outcome.folder == task.plan.folder else f"{outcome.name}'s"
            return f"{own} {outcome.stage} {'failed' if outcome.state == 'failed' else f'was {outcome.state}'}"
    return None


def _one_by_one(
    tasks: Sequence[_Task],
    how: RunOptions,
    found: dict[Path, StageResult],
    done: Callable[[_Task, StageResult], None],
    monitors: Monitors,
) -> None:
    for task in tasks:
        blocked = _blocked(task, found)
        if blocked is not None:
            done(task, task.outcome("skipped", blocked))
        else:
            done(task, _attempt(task, how, monitors(task.plan, task.stage)))


def _attempt(task: _Task, how: RunOptions, monitors: Sequence[TrainingCallback] = ()) -> StageResult:
    """Do a stage; whatever goes wrong in it is its own outcome and nobody else's."""
    try:
        return _do(task, how, monitors)
    except KronosError as error:
        return task.outcome("failed", str(error), error=error)
    except MemoryError:
        return task.outcome("failed", "Memory ran out; make batch_size smaller or accumulation_steps larger.")
    except Exception as error:  # noqa: BLE001 (a fault of ours in one training must not cost the others their hours)
        return task.outcome("failed", _log_traceback(task, error))


def _log_traceback(task: _Task, error: Exception) -> str:
    """A fault in a sentence; where it happened goes to a file."""
    log = stage_folder(task.plan.folder, task.stage.stage) / OUTPUT
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as handle:
        handle.write(traceback.format_exc())
    return f"{type(error).__name__}: {error} ({log} has the details)"


def _do(task: _Task, how: RunOptions, monitors: Sequence[TrainingCallback]) -> StageResult:
    from kronos.training.stages import train_stage

    plan, stage = task.plan, task.stage
    if how.restart and is_first():
        forget(plan.folder, stage.stage)
    kept = None if how.restart else read_record(plan.folder, stage.stage)
    if kept is None or not how.skip_existing:
        record = train_stage(plan, stage, monitors=monitors, resume=not how.restart)
    else:
        record = kept
    judged = _judge(task, wanted=how.compare and not (kept is not None and how.skip_existing))
    return task.outcome(
        "done" if kept is None else "kept", record=record, comparison=judged.comparison, not_compared=judged.reason
    )


def _judge(task: _Task, *, wanted: bool) -> ComparisonOutcome:
    """Whether it helped; the model is there whatever goes wrong in saying so."""
    from kronos.training.comparison_run import ComparisonOutcome, compare_stage

    try:
        return compare_stage(task.plan, task.stage, wanted=wanted)
    except Exception as error:  # noqa: BLE001 (a fault of ours in the comparison must not cost the training its hours)
        return ComparisonOutcome(reason=_log_traceback(task, error))


def _run_parallel(
    tasks: Sequence[_Task], how: RunOptions, found: dict[Path, StageResult], done: Callable[[_Task, StageResult], None]
) -> None:
    workers = _workers(how, tasks)
    import torch

    # What torch would take by itself: it knows of cores that are not ours, and of what the environment says.
    threads = max(1, torch.get_num_threads() // workers)
    waiting, working = list(tasks), dict[Connection, tuple[_Task, SpawnProcess]]()
    try:
        while waiting or working:
            for task in list(waiting):
                if len(working) == workers:
                    break
                if any(place in {one.result for one in tasks} and place not in found for place in task.needs):
                    continue
                waiting.remove(task)
                blocked = _blocked(task, found)
                if blocked is not None:
                    done(task, task.outcome("skipped", blocked))
                else:
                    receiver, process = _start(task, how, threads)
                    working[receiver] = task, process
            for ready in connection.wait(list(working)):
                assert isinstance(ready, Connection)
                task, process = working.pop(ready)
                done(task, _received(task, ready, process))
    except KeyboardInterrupt:
        for _, process in working.values():
            process.terminate()
        for _, process in working.values():
            process.join(_PATIENCE)
            process.kill()
        raise


def _workers(how: RunOptions, tasks: Sequence[_Task]) -> int:
    """Processes at a time: no more than runs, whose stages follow each other."""
    runs = len({task.plan.folder for task in tasks})
    asked = how.workers if how.workers is not None else (os.cpu_count() or 1)
    if asked < 1:
        raise ParameterError(f"At least 1 worker is needed, not {asked}.")
    return min(asked, runs)


def _start(task: _Task, how: RunOptions, threads: int) -> tuple[Connection, SpawnProcess]:
    receiver, sender = get_context("spawn").Pipe(duplex=False)
    process = get_context("spawn").Process(target=_work, args=(task, how, threads, sender))
    process.start()
    sender.close()
    return receiver, process


def _received(task: _Task, receiver: Connection, process: SpawnProcess) -> StageResult:
    """What a process says, or that it ended without a word."""
    try:
        outcome: StageResult = receiver.recv()
    except EOFError:
        process.join()
        outcome = task.outcome(
            "failed", f"Its process was ended (status {process.exitcode}), perhaps because memory ran out; try again."
        )
    process.join()
    receiver.close()
    return outcome


def _work(task: _Task, how: RunOptions, threads: int, sender: Connection) -> None:
    """A stage in a process of its own: what it prints goes to a file, and its outcome to whoever started it."""
    log = stage_folder(task.plan.folder, task.stage.stage) / OUTPUT
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as handle:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(handle.fileno(), stream.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that the person started
    import torch

    if task.stage.settings.threads is None:
        torch.set_num_threads(threads)
    with interruptible():
        try:
            sender.send(_attempt(task, how))
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGTERM)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


__all__ = ["Mode", "RunOptions", "StageResult", "interruptible", "report", "run"]

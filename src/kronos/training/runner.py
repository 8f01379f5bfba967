"""Several trainings, in the order of their dependencies, sequentially or in parallel.

    plans = [make_plan(load_config(name)) for name in ("model_a_4h", "model_b_1d")]
    results = run(plans, RunOptions("parallel", workers=2))

- A stage that fails skips the stages that need it; the others continue.
- In parallel mode every stage has its own process with a share of the threads, and its output goes to a file.
- Ctrl-C and SIGTERM end all stages at a checkpoint from which the same call resumes.
- The folders are locked: a second training in one of them is refused before it replaces anything.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kronos.atomic import remove_temporary_files
from kronos.datasets.config import StageName
from kronos.errors import DataError, KronosError, ParameterError
from kronos.locks import LOCK, exclusive_lock
from kronos.training.plan import RunPlan, StagePlan, check_run_folder
from kronos.training.run_folder import CONFIG, StageRecord, delete_stage, load_record, result_folder, stage_folder
from kronos.training.torchrun import is_first

if TYPE_CHECKING:
    from kronos.training.callbacks import TrainingCallback
    from kronos.training.comparison import TrainingComparison
    from kronos.training.comparison_run import ComparisonOutcome

Mode = Literal["sequential", "parallel"]
State = Literal["done", "kept", "skipped", "failed", "stopped"]
CallbackFactory = Callable[[RunPlan, StagePlan], "Sequence[TrainingCallback]"]

OUTPUT = "output.log"  # output of a stage in a process of its own
_SHUTDOWN_SECONDS = 60.0  # for a stage to save its checkpoint before it is killed


@dataclass(frozen=True)
class RunOptions:
    """How several trainings are run.

    Attributes:
        mode: ``sequential`` in this process, or ``parallel`` in processes of their own.
        workers: Maximum number of processes; None for one per core.
        skip_existing: Whether to skip stages that an earlier run has finished.
        restart: Whether to delete the results of earlier runs.
        compare: Whether to compare each model with its initial weights.
        strict: Whether a candle file that cannot be read is an error, instead of being skipped.
    """

    mode: Mode = "sequential"
    workers: int | None = None
    skip_existing: bool = False
    restart: bool = False
    compare: bool = True
    strict: bool = False


@dataclass(frozen=True)
class StageResult:
    """Result of one stage.

    Attributes:
        name: Name of the model.
        stage: The network.
        folder: Folder of the run.
        state: ``done``; ``kept`` if an earlier run had finished it; ``skipped`` because a stage it needs failed;
            ``failed``; or ``stopped`` by the user.
        reason: Why it was skipped, failed or stopped, one sentence.
        record: Record of the training.
        comparison: Comparison with the initial weights; None if it was not requested or not possible.
        not_compared: Why the comparison was not possible, one sentence.
        error: The error, if it was one of Kronos.
    """

    name: str
    stage: StageName
    folder: Path
    state: State
    reason: str | None = None
    record: StageRecord | None = None
    comparison: TrainingComparison | None = None
    not_compared: str | None = None
    error: KronosError | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the network is available."""
        return self.state in ("done", "kept")

    def to_dict(self) -> dict[str, Any]:
        """The result, ready for JSON."""
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
    """A stage of a run, with the result folders of the stages that it needs."""

    plan: RunPlan
    stage: StagePlan
    needs: tuple[Path, ...]

    @property
    def output(self) -> Path:
        return _real_path(result_folder(self.plan.folder, self.stage.stage))

    def result(self, state: State, reason: str | None = None, **fields: Any) -> StageResult:
        return StageResult(self.plan.name, self.stage.stage, self.plan.folder, state, reason, **fields)


def run(
    plans: Sequence[RunPlan],
    options: RunOptions | None = None,
    *,
    callbacks: CallbackFactory = lambda *_: (),
    on_result: Callable[[StageResult], None] = lambda _: None,
) -> list[StageResult]:
    """Train all planned stages.

    Args:
        plans: Plans without problems, each with a folder of its own.
        options: Sequential or parallel, and what to do with earlier results.
        callbacks: Returns the callbacks of a stage that runs in this process.
        on_result: Called with each result as soon as it is known.

    Returns:
        A result per stage, in the order of the plans. After Ctrl-C or SIGTERM the running and the remaining stages are
        ``stopped``.

    Raises:
        ParameterError: If a plan has a problem, two plans share a folder, or stages depend on each other in a circle.
        DataError: If a file cannot be read and ``options.strict`` is set.
        StorageError: If another process is training in one of the folders, or one cannot be written.
    """
    options = options or RunOptions()
    for plan in plans:
        plan.check()
        if options.strict and plan.skipped:
            raise DataError(plan.skipped[0][1])
    tasks = _order_tasks(plans)
    with ExitStack() as locks:
        for plan in plans if is_first() else ():
            locks.enter_context(_lock_folder(plan.folder))
            # Again, now that nobody else can write: another training may have ended since the plan was made.
            check_run_folder(plan.config, [stage.stage for stage in plan.stages], restart=options.restart)
            remove_temporary_files(plan.folder)
        for plan in plans:
            _save_config(plan)
        return _run(plans, tasks, options, callbacks, on_result)


def _run(
    plans: Sequence[RunPlan],
    tasks: Sequence[_Task],
    options: RunOptions,
    callbacks: CallbackFactory,
    on_result: Callable[[StageResult], None],
) -> list[StageResult]:
    """Train the stages in folders that are locked."""
    results: dict[Path, StageResult] = {}

    def finish(task: _Task, result: StageResult) -> None:
        results[task.output] = result
        on_result(result)

    with interruptible():
        try:
            if options.mode == "parallel" and len(tasks) > 1:
                _run_parallel(tasks, options, results, finish)
            else:
                _run_sequential(tasks, options, results, finish, callbacks)
        except KeyboardInterrupt:
            for task in tasks:
                if task.output not in results:
                    finish(task, task.result("stopped", "interrupted; the same command resumes"))
    order = [_real_path(result_folder(plan.folder, stage.stage)) for plan in plans for stage in plan.stages]
    return [results[output] for output in order]


def write_run_reports(results: Sequence[StageResult]) -> Path | None:
    """Write the report of each run, and an overview if there are several.

    Args:
        results: Results of all stages, as returned by `run`.

    Returns:
        The overview, or the only report; None without results.

    Raises:
        DataError: If a file in a run's folder is damaged.
        StorageError: If a file cannot be written.
    """
    from kronos.training.report import write_reports
    from kronos.training.report.summary import load_run_summary

    summaries = []
    for folder in dict.fromkeys(result.folder for result in results):
        own = [result for result in results if result.folder == folder]
        reason = next((result.not_compared for result in own if result.not_compared), None)
        states = {result.stage: (result.state, result.reason) for result in own}
        summaries.append(load_run_summary(folder, states, not_compared=reason))
    return write_reports(summaries) if summaries else None


@contextmanager
def interruptible() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C in the block, so that stages save a checkpoint."""
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


def _lock_folder(folder: Path) -> AbstractContextManager[None]:
    busy, fix = f"{folder} is being trained", "choose another --name or --output"
    return exclusive_lock(folder / LOCK, busy=busy, fix=fix)


def _save_config(plan: RunPlan) -> None:
    """Write the configuration before anything else, so that a run that fails early can be started again."""
    if is_first() and not (plan.folder / CONFIG).is_file():
        with suppress(KronosError):  # the stage itself reports the problem
            plan.config.save(plan.folder / CONFIG)


def _order_tasks(plans: Sequence[RunPlan]) -> list[_Task]:
    """All stages, each after those it needs.

    Raises:
        ParameterError: If two plans share a folder, or stages depend on each other in a circle.
    """
    folders = [_real_path(plan.folder) for plan in plans]
    shared = next((plan for plan, folder in zip(plans, folders, strict=True) if folders.count(folder) > 1), None)
    if shared is not None:
        raise ParameterError(f"Two trainings would share the folder {shared.folder}: give one another model_name.")
    waiting = []
    for plan in plans:
        needs: tuple[Path, ...] = tuple(map(_real_path, plan.needs))
        for stage in plan.stages:
            task = _Task(plan, stage, needs)
            waiting.append(task)
            needs = (*needs, task.output)
    outputs = {task.output for task in waiting}
    ordered: list[_Task] = []
    while waiting:
        available = {task.output for task in ordered}
        ready = [task for task in waiting if not (set(task.needs) & outputs) - available]
        if not ready:
            names = " and ".join(dict.fromkeys(task.plan.name for task in waiting))
            raise ParameterError(f"{names} need each other's networks: change the start of one of them.")
        ordered.append(ready[0])
        waiting.remove(ready[0])
    return ordered


def _blocked_by(task: _Task, results: dict[Path, StageResult]) -> str | None:
    """Why a stage cannot run: a stage it needs failed; None if it can."""
    for output in task.needs:
        result = results.get(output)
        if result is not None and not result.succeeded:
            owner = "its" if result.folder == task.plan.folder else f"{result.name}'s"
            return f"{owner} {result.stage} {'failed' if result.state == 'failed' else f'was {result.state}'}"
    return None


def _run_sequential(
    tasks: Sequence[_Task],
    options: RunOptions,
    results: dict[Path, StageResult],
    finish: Callable[[_Task, StageResult], None],
    callbacks: CallbackFactory,
) -> None:
    for task in tasks:
        blocked = _blocked_by(task, results)
        if blocked is not None:
            finish(task, task.result("skipped", blocked))
        else:
            finish(task, _run_task(task, options, callbacks(task.plan, task.stage)))


def _run_task(task: _Task, options: RunOptions, callbacks: Sequence[TrainingCallback] = ()) -> StageResult:
    """Run a stage; an error becomes its result and does not affect the other stages."""
    try:
        return _train_and_compare(task, options, callbacks)
    except KronosError as error:
        return task.result("failed", str(error), error=error)
    except MemoryError:
        return task.result("failed", "Out of memory: reduce batch_size or increase accumulation_steps.")
    except Exception as error:  # noqa: BLE001 (a bug in one training must not end the others)
        return task.result("failed", _log_traceback(task, error))


def _log_traceback(task: _Task, error: Exception) -> str:
    """Write the traceback to the stage's output file; returns a sentence."""
    log = stage_folder(task.plan.folder, task.stage.stage) / OUTPUT
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as handle:
        handle.write(traceback.format_exc())
    return f"{type(error).__name__}: {error} (details in {log})"


def _train_and_compare(task: _Task, options: RunOptions, callbacks: Sequence[TrainingCallback]) -> StageResult:
    from kronos.training.stages import train_stage

    plan, stage = task.plan, task.stage
    if options.restart and is_first():
        delete_stage(plan.folder, stage.stage)
    existing = None if options.restart else load_record(plan.folder, stage.stage)
    skipped = existing is not None and options.skip_existing
    if existing is not None and skipped:
        record = existing
    else:
        record = train_stage(plan, stage, callbacks=callbacks, resume=not options.restart)
    outcome = _compare(task, enabled=options.compare and not skipped)
    return task.result(
        "done" if existing is None else "kept",
        record=record,
        comparison=outcome.comparison,
        not_compared=outcome.reason,
    )


def _compare(task: _Task, *, enabled: bool) -> ComparisonOutcome:
    from kronos.training.comparison_run import ComparisonOutcome, compare_stage

    try:
        return compare_stage(task.plan, task.stage, enabled=enabled)
    except Exception as error:  # noqa: BLE001 (a bug in the comparison must not discard the training)
        return ComparisonOutcome(reason=_log_traceback(task, error))


def _run_parallel(
    tasks: Sequence[_Task],
    options: RunOptions,
    results: dict[Path, StageResult],
    finish: Callable[[_Task, StageResult], None],
) -> None:
    workers = _worker_count(options, tasks)
    import torch

    # torch's default respects the CPU affinity and the environment, unlike os.cpu_count().
    threads = max(1, torch.get_num_threads() // workers)
    outputs = {task.output for task in tasks}
    waiting, running = list(tasks), dict[Connection, tuple[_Task, SpawnProcess]]()
    try:
        while waiting or running:
            for task in list(waiting):
                if len(running) == workers:
                    break
                if any(output in outputs and output not in results for output in task.needs):
                    continue
                waiting.remove(task)
                blocked = _blocked_by(task, results)
                if blocked is not None:
                    finish(task, task.result("skipped", blocked))
                else:
                    receiver, process = _start(task, options, threads)
                    running[receiver] = task, process
            for ready in connection.wait(list(running)):
                assert isinstance(ready, Connection)
                task, process = running.pop(ready)
                finish(task, _receive(task, ready, process))
    except KeyboardInterrupt:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join(_SHUTDOWN_SECONDS)
            process.kill()
        raise


def _worker_count(options: RunOptions, tasks: Sequence[_Task]) -> int:
    """Number of processes: no more than runs, whose stages depend on each other."""
    runs = len({task.plan.folder for task in tasks})
    workers = options.workers if options.workers is not None else (os.cpu_count() or 1)
    if workers < 1:
        raise ParameterError(f"Invalid number of workers {workers}: choose at least 1.")
    return min(workers, runs)


def _start(task: _Task, options: RunOptions, threads: int) -> tuple[Connection, SpawnProcess]:
    from kronos.engines import without_interrupts

    receiver, sender = get_context("spawn").Pipe(duplex=False)
    process = get_context("spawn").Process(target=_work, args=(task, options, threads, sender))
    with without_interrupts():
        process.start()
    sender.close()
    return receiver, process


def _receive(task: _Task, receiver: Connection, process: SpawnProcess) -> StageResult:
    """Result of a process, which may have ended without sending one."""
    try:
        result: StageResult = receiver.recv()
    except EOFError:
        process.join()
        reason = f"Its process ended with status {process.exitcode}, perhaps because memory ran out: try again."
        result = task.result("failed", reason)
    process.join()
    receiver.close()
    return result


def _work(task: _Task, options: RunOptions, threads: int, sender: Connection) -> None:
    """Run a stage in a process of its own: output goes to a file, the result to the parent process."""
    from kronos.engines import exit_with_parent, leave_interrupts_to_parent

    log = stage_folder(task.plan.folder, task.stage.stage) / OUTPUT
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as handle:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(handle.fileno(), stream.fileno())
    leave_interrupts_to_parent()
    threading.Thread(target=exit_with_parent, daemon=True).start()  # which holds the folder's lock
    import torch

    if task.stage.settings.threads is None:
        torch.set_num_threads(threads)
    with interruptible():
        try:
            sender.send(_run_task(task, options))
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGTERM)


def _real_path(path: Path) -> Path:
    return Path(os.path.realpath(path))

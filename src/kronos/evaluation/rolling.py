"""Walk-forward runs: every forecaster at every origin, kept in shards, so that a killed run goes on where it was.

A run is a folder: ``run.json`` says what was asked (it goes on with nothing else), ``<forecaster>/<shard>.npz`` hold
the sampled cumulative log returns of the close, which is all that scores and calibrations need. Several processes can
share a run: shards are independent, and every draw is keyed by its origin, so that their number changes nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import zipfile
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import active_children, connection, get_context, parent_process
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from kronos.atomic import atomic_path, write_text
from kronos.errors import DataError, DeviceError, ParameterError, StorageError
from kronos.evaluation.forecasters import Forecaster
from kronos.evaluation.plan import Plan
from kronos.forecasts import Forecast
from kronos.progress import ProgressCallback
from kronos.provenance import now_utc, versions

JobT = TypeVar("JobT")

_work: Callable[[Any], None] | None = None  # of a worker process: what it does with a job


def run_jobs(work: Callable[[JobT], None], jobs: Sequence[JobT], workers: int) -> Generator[JobT]:
    """Do every job, and give each back when it is done.

    Args:
        work: What to do; for several workers it can be pickled.
        jobs: In the order they are begun in.
        workers: Processes, among which the threads of this one are shared; with 1 everything happens in this one.

    Raises:
        ParameterError: If there is no worker.
        DeviceError: If a process was ended, as where memory runs out.
    """
    if workers < 1:
        raise ParameterError(f"At least 1 worker is needed, not {workers}.")
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            work(job)
            yield job
        return
    import torch

    number = min(workers, len(jobs))
    threads = max(1, torch.get_num_threads() // number)
    before = set(active_children())
    pool = ProcessPoolExecutor(number, get_context("spawn"), _start_worker, (work, threads))
    try:
        pending: dict[Future[None], JobT] = {pool.submit(_run_job, job): job for job in jobs}
        for future in as_completed(pending):
            future.result()
            yield pending[future]
    except BrokenProcessPool as error:
        raise DeviceError(
            "A process that shared the work was ended, perhaps because memory ran out; ask for fewer workers (what is "
            "done is kept)."
        ) from error
    except (KeyboardInterrupt, GeneratorExit):  # nobody waits for jobs that are half done
        for process in set(active_children()) - before:
            process.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(work: Callable[[Any], None], threads: int) -> None:
    """Make this process a worker, which ends with its parent however that ends."""
    import torch

    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that the person started
    torch.set_num_threads(threads)
    _work = work
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _run_job(job: Any) -> None:
    assert _work is not None
    _work(job)


RUN = "run.json"
_WHO = "forecaster.json"
SHARD = 128  # origins a file: what an interruption may cost of one forecaster
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class RollingSettings:
    """How forecasts of a run are drawn.

    Attributes:
        samples: Paths of each.
        seed: Of the draws.
    """

    samples: int = 50
    seed: int = 1

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ParameterError(f"An evaluation needs at least 2 samples, not {self.samples}.")


@dataclass(frozen=True, slots=True, eq=False)
class ForecastPaths:
    """What one forecaster said at every origin of a run.

    Attributes:
        name: The forecaster's.
        returns: Cumulative log returns of the close since the last known one; NaN where it made no forecast. [N, S, H]
        level_error: By how much a model's tokenizer misses the last known close, in logs; 0 where there is none. [N]
        draws: How many independent draws the paths are worth, as `kronos.metrics.crps` takes it; None for their
            number. [N, H]
    """

    name: str
    returns: npt.NDArray[np.float32]
    level_error: npt.NDArray[np.float64]
    draws: npt.NDArray[np.float64] | None = None


def run_rolling(
    plan: Plan,
    forecasters: Sequence[Forecaster],
    folder: Path,
    settings: RollingSettings = RollingSettings(),
    *,
    workers: int = 1,
    progress: ProgressCallback | None = None,
) -> dict[str, ForecastPaths]:
    """Forecast at every origin, or what is left of them.

    Args:
        plan: The origins.
        forecasters: Who forecasts; names are distinct.
        folder: Where shards are kept.
        settings: Samples and seed.
        workers: Processes to share the work, each with its part of this one's threads; a script that asks for
            more than one needs the usual ``if __name__ == "__main__":``, because they start by importing it.
        progress: Called with the forecasts done and their number; first with those that were there already.

    Returns:
        By forecaster's name what it said.

    Raises:
        ParameterError: If the folder holds a run of something else, or two forecasters share a name.
        StorageError: If it cannot be written.
        DeviceError: If a process that shared the work was ended.
    """
    names = [one.name for one in forecasters]
    if len({_safe(name).casefold() for name in names}) < len(names):  # not every file system tells cases apart
        raise ParameterError(f"Forecasters need different names, not {', '.join(names)}.")
    _check_run(plan, folder, settings)
    for one in forecasters:
        _check_identity(one, folder)
    work = _Work(plan, tuple(forecasters), folder, settings)
    left = [job for job in work.jobs() if not work.path(job).is_file()]
    total = len(plan) * len(forecasters)
    done = total - sum(len(shard) for _, shard in left)
    if progress is not None:
        progress(done, total)
    with closing(run_jobs(work, left, workers)) as finished:
        for _, shard in finished:
            done += len(shard)
            if progress is not None:
                progress(done, total)
    return {name: read_run(plan, folder, name) for name in names}


@dataclass(frozen=True)
class _Work:
    """A run in pieces, each done by itself: a forecaster's position and a shard."""

    plan: Plan
    forecasters: tuple[Forecaster, ...]
    folder: Path
    settings: RollingSettings

    def jobs(self) -> list[tuple[int, range]]:
        # Shard by shard: the slow ones' share of the work is the same all the way, so what is left can be told.
        return [(who, shard) for shard in shard_ranges(len(self.plan)) for who in range(len(self.forecasters))]

    def path(self, job: tuple[int, range]) -> Path:
        return _shard_path(self.folder, self.forecasters[job[0]].name, job[1])

    def __call__(self, job: tuple[int, range]) -> None:
        who, shard = job
        _write(self.path(job), *_forecast(self.plan, self.forecasters[who], shard, self.settings))


def shard_ranges(count: int) -> list[range]:
    """The origins of a plan in consecutive ranges."""
    return [range(first, min(first + SHARD, count)) for first in range(0, count, SHARD)]


def discard_run(folder: Path) -> None:
    """Remove a run, to begin anew; nothing happens where there is none.

    Raises:
        ParameterError: If the folder holds something else, or something besides a run.
        StorageError: If it cannot be removed.
    """
    if not folder.exists():
        return
    ours = folder.is_dir() and not folder.is_symlink() and (not any(folder.iterdir()) or (folder / RUN).is_file())
    strange = next((path for path in folder.rglob("*") if not path.is_dir() and not _is_ours(path)), None)
    if not ours or strange is not None:
        besides = "" if strange is None else f": it holds {strange.name}"
        raise ParameterError(f"{folder} is no run and is not removed{besides}; take another folder.")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise StorageError(f"Cannot remove {folder}: {reason}; change its rights, or take another folder.") from error


def _is_ours(path: Path) -> bool:
    """Whether a file is one of those that runs consist of, or half of one that was being written."""
    return path.name in (RUN, _WHO) or path.suffix == ".npz" or (path.name.startswith(".") and ".tmp-" in path.name)


def read_run(plan: Plan, folder: Path, name: str) -> ForecastPaths:
    """What a forecaster said, from its shards.

    Raises:
        DataError: If a shard is missing or damaged.
    """
    returns, errors = [], []
    for shard in shard_ranges(len(plan)):
        path = _shard_path(folder, name, shard)
        try:
            with np.load(path, allow_pickle=False) as file:
                returns.append(file["returns"])
                errors.append(file["level_error"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{path} cannot be read; remove it and run again.") from error
        if len(returns[-1]) != len(shard):
            raise DataError(f"{path} holds {len(returns[-1])} forecasts, not {len(shard)}; remove it and run again.")
    return ForecastPaths(name, np.concatenate(returns), np.concatenate(errors))


def _forecast(
    plan: Plan, one: Forecaster, shard: range, settings: RollingSettings
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """A shard's cumulative log returns and level errors; each origin sees its own past only."""
    histories = {plan.name(origin): plan.history(origin) for origin in shard}
    times = {plan.name(origin): plan.times(origin) for origin in shard}
    made = one.forecast(histories, times, samples=settings.samples, seed=settings.seed)
    returns = np.full((len(shard), settings.samples, plan.walk.horizon), np.nan, dtype=np.float32)
    errors = np.zeros(len(shard))
    for row, name in enumerate(histories):
        forecast = made.get(name)
        if forecast is not None:
            returns[row] = _returns(forecast, settings.samples)
            errors[row] = forecast.metadata.details.get("level_error") or 0.0
    return returns, errors


def _returns(forecast: Forecast, samples: int) -> npt.NDArray[np.float64]:
    """Cumulative log returns ``[S, H]``; of a forecast of one path, that path as often as asked for."""
    logs = forecast.returns(cumulative=True)
    if len(logs) == samples:
        return logs
    if len(logs) == 1:
        return np.repeat(logs, samples, axis=0)
    raise DataError(f"{forecast.metadata.name} gave {len(logs)} paths, but {samples} were asked for.")


def _check_run(plan: Plan, folder: Path, settings: RollingSettings) -> None:
    """Begin a run, or make sure that the folder's is the same."""
    asked = {
        "format": _FORMAT,
        "plan": plan.digest(),
        "origins": len(plan),
        "horizon": plan.walk.horizon,
        "samples": settings.samples,
        "seed": settings.seed,
    }
    path = folder / RUN
    if path.is_file():
        found = _json(path)
        other = next((key for key, value in asked.items() if found.get(key) != value), None)
        if other is not None:
            raise ParameterError(f"{folder} holds a run of another {other}; take another folder, or remove it.")
        return
    if folder.exists() and any(folder.iterdir()):
        raise ParameterError(f"{folder} holds something else than a run; take another folder.")
    write_text(path, json.dumps({**asked, "begun": now_utc(), "versions": versions()}, indent=2) + "\n")


def _check_identity(one: Forecaster, folder: Path) -> None:
    """Note whose shards these are, or make sure that they are the same forecaster's."""
    path = folder / _safe(one.name) / _WHO
    identity = json.loads(json.dumps(dict(one.identity())))
    if not path.is_file():
        write_text(path, json.dumps(identity, indent=2) + "\n")
    elif _json(path) != identity:
        raise ParameterError(f"{path.parent} holds forecasts of another {one.name}; take another folder, or remove it.")


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read; take another folder, or remove it.") from error
    return found if isinstance(found, dict) else {}


def _write(path: Path, returns: npt.NDArray[np.float32], level_error: npt.NDArray[np.float64]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, returns=returns, level_error=level_error)


def _shard_path(folder: Path, name: str, shard: range) -> Path:
    return folder / _safe(name) / f"{shard.start:07d}.npz"


def _safe(name: str) -> str:
    """A forecaster's name as a folder."""
    return re.sub(r"[^\w.+=@-]+", "-", name).strip("-.") or "forecaster"

"""Runs of a batch in processes of their own, which are measured, and whose workers or which themselves are killed.

``python -m benchmarks.batch_runs '{"engine": "ray", …}'`` is one such run. It prints what it measured as JSON.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from benchmarks.memory import peak_bytes
from benchmarks.timing import say
from kronos.batch import BatchSettings, LocalEngine, RayEngine, make_plan, read_forecasts, run
from kronos.inference import KronosPredictor, SamplingParams
from kronos.provenance import frame_digest

HISTORY, HORIZON, SAMPLES = 200, 24, 20
_ROOT = Path(__file__).resolve().parents[1]
_FILE = 500  # series of a file
_WAIT = 0.05  # seconds between two looks at a run
_CPU_WAIT = 0.25  # seconds between two readings of the CPU time of a run's processes


@dataclass(frozen=True, slots=True)
class Request:
    """A run.

    Attributes:
        engine: ``local`` or ``ray``.
        workers: Processes or actors.
        candles: Folder of the candles.
        output: Folder of the forecasts.
        shard: Forecasts of a shard.
    """

    engine: str
    workers: int
    candles: str
    output: str
    shard: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run needed.

    Attributes:
        forecasts: Forecasts that it made.
        found: Forecasts that earlier runs had stored.
        seconds: Its time, from the plan to the last shard.
        first: Time until its first shard: candles are hashed, workers start and load the model.
        rest: Forecasts after the first shard.
        main: Peak bytes of its main process.
        worker: Peak bytes of its largest worker process; 0 where they are not its children, as Ray's.
        cpu: CPU seconds of all its processes, from their start to their end; `finish` counts them.
    """

    forecasts: int
    found: int
    seconds: float
    first: float
    rest: int
    main: int
    worker: int
    cpu: float = 0.0


def write_candles(folder: Path, series: int) -> None:
    """Write hourly random walks, some hundred series a file."""
    folder.mkdir(parents=True)
    times = pd.date_range("2024-01-01", periods=HISTORY, freq="h", tz="UTC")
    for start in range(0, series, _FILE):
        tables = []
        for number in range(start, min(start + _FILE, series)):
            rng = np.random.default_rng(number)
            close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, HISTORY)))
            opens = np.concatenate([[100.0], close[:-1]])
            columns = {"open": opens, "high": np.maximum(opens, close), "low": np.minimum(opens, close), "close": close}
            table = pd.DataFrame({"ds": times, **columns, "volume": rng.uniform(1, 9, HISTORY)})
            tables.append(table.assign(unique_id=f"S{number:06d}"))
        pd.concat(tables).to_parquet(folder / f"{start:06d}.parquet", index=False)


def measure(request: Request) -> Measured:
    """Run, here."""
    engine = RayEngine(request.workers) if request.engine == "ray" else LocalEngine(request.workers)
    sampling = SamplingParams(samples=SAMPLES, seed=1)
    settings = BatchSettings(HORIZON, sampling, lookback=HISTORY, history=HISTORY, shard_size=request.shard)
    predictor = KronosPredictor.from_pretrained(device="cpu")
    started = perf_counter()
    calls: list[tuple[float, int]] = []  # with what is stored already, then with each shard

    def note(done: int, _: int) -> None:
        calls.append((perf_counter() - started, done))

    plan = make_plan(request.candles)
    summary = run(plan, predictor, request.output, settings, engine=engine, progress=note)
    seconds = perf_counter() - started
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 if request.engine == "local" else 0
    first, done = calls[min(1, len(calls) - 1)]
    made = summary.forecasts - summary.found
    return Measured(made, summary.found, seconds, first, summary.forecasts - done, peak_bytes(), children)


def start(request: Request) -> subprocess.Popen[str]:
    """Start a run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.batch_runs", json.dumps(asdict(request))]
    return subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> Measured:
    """Wait for a run, and return what it measured.

    Raises:
        RuntimeError: If it failed.
    """
    times: dict[int, float] = {}
    reader = threading.Thread(target=_read_cpu_times, args=(process, times), daemon=True)
    reader.start()
    out, errors = process.communicate()
    reader.join()
    if process.returncode:
        raise RuntimeError(f"A run ended with status {process.returncode}: {errors[-2000:]}")
    return replace(Measured(**json.loads(out.splitlines()[-1])), cpu=sum(times.values()))


def _read_cpu_times(process: subprocess.Popen[str], times: dict[int, float]) -> None:
    """Note the CPU seconds of a run's processes by their ids, until it ends; those of the last moment are missed."""
    tick = os.sysconf("SC_CLK_TCK")
    while process.poll() is None:
        for pid in (process.pid, *(pid for pid, _ in _descendants(process.pid))):
            try:
                fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            times[pid] = (int(fields[11]) + int(fields[12])) / tick
        time.sleep(_CPU_WAIT)


@dataclass(frozen=True, slots=True)
class Disturbed:
    """A run that was disturbed.

    Attributes:
        worker_after: Shards that were stored when a worker was killed.
        driver_after: Shards that were stored when the main process was killed.
        resumed: The run that resumed.
    """

    worker_after: int
    driver_after: int
    resumed: Measured


def disturb(request: Request, shards: int, seed: int) -> Disturbed:
    """Kill a worker at random, later the main process, and resume.

    Args:
        request: The run.
        shards: Number of its shards, at least 4.
        seed: Random seed of the moments and of the worker.
    """
    rng = random.Random(seed)
    early, late = shards // 4, shards // 2
    first, second = rng.randint(1, max(1, early)), rng.randint(max(2, early + 1), max(2, late))
    process = start(request)
    try:
        _wait_for(process, Path(request.output), first)
        victim = rng.choice(_workers(process.pid, request.engine))
        os.kill(victim, signal.SIGKILL)
        say(f"  killed the worker {victim} after {stored(request)} shards")
        killed = stored(request)
        _wait_for(process, Path(request.output), second)
    finally:
        process.kill()
    process.communicate()
    ended = stored(request)
    say(f"  killed the main process after {ended} shards")
    return Disturbed(killed, ended, finish(start(request)))


def stored(request: Request) -> int:
    """Number of finished shards."""
    return len(list((Path(request.output) / "forecasts").glob("*.parquet")))


def _wait_for(process: subprocess.Popen[str], output: Path, shards: int) -> None:
    """Wait until that many shards are finished.

    Raises:
        RuntimeError: If the run ends before.
    """
    while len(list((output / "forecasts").glob("*.parquet"))) < shards:
        if process.poll() is not None:
            raise RuntimeError(f"The run ended too early: {process.communicate()[1][-2000:]}")
        time.sleep(_WAIT)


def _workers(parent: int, engine: str) -> list[int]:
    """The processes below one that compute shards: Ray's actors, or the children that were spawned."""
    mark = "EngineActor" if engine == "ray" else "spawn_main"
    return [pid for pid, command in _descendants(parent) if mark in command]


def _descendants(parent: int) -> Iterator[tuple[int, str]]:
    """Ids and command lines of all processes below one; from /proc, so on Linux only."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    pending = [parent]
    while pending:
        for pid in children.get(pending.pop(), ()):
            pending.append(pid)
            try:
                yield pid, (Path("/proc") / str(pid) / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue


def check_complete(folder: Path, series: int) -> str:
    """Check that a run has every forecast once, and return the hash of its table.

    Raises:
        RuntimeError: If it has not.
    """
    table = read_forecasts(folder)
    rows = series * HORIZON
    if len(table) != rows or table.duplicated(["unique_id", "cutoff", "step"]).any():
        raise RuntimeError(f"{folder} has {len(table)} rows instead of {rows}, or some twice.")
    return frame_digest(table)


def workplace() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder for candles and forecasts."""
    return tempfile.TemporaryDirectory(prefix="kronos-batch-")


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Request(**json.loads(sys.argv[1]))))))

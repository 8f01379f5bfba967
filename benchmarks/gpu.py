"""``python -m benchmarks.gpu``: correctness, decoding speed and training on a GPU; writes docs/performance-gpu.md.

    python -m benchmarks.gpu --output results                       # all stages but the pretraining
    python -m benchmarks.gpu --stage pretraining --data data/candles --split data/splits.csv --minutes 8
    python -m benchmarks.gpu --device cpu --quick                   # a smoke run

Every stage has a time limit of its own. What a stage has measured is written at once, as ``gpu.json`` and ``gpu.md`` in
the output folder, so that a machine that is taken away leaves all that was measured. A later run with the same folder
replaces the stages that it runs and keeps the others.

Correctness and speed need numpy, pandas, pyarrow, scipy, safetensors, huggingface-hub and lazy-loader besides torch.
The two training stages also need pydantic, pydantic-settings and PyYAML, and exchange-calendars if candles of exchanges
are read.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.gpu_page import render
from benchmarks.timing import say
from kronos.atomic import write_text

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance-gpu.md"
_SMOKE_PATIENCE = 5  # how many times longer a stage of the smoke run may take, which runs beside other tests
Record = dict[str, Any]
Emit = Callable[[Record], None]


class OutOfTime(BaseException):
    """The time limit of a stage is over; no `Exception`, so that no training takes it for an error of its own."""


@dataclass(frozen=True, slots=True)
class GpuPlan:
    """What is measured, and on what.

    Attributes:
        device: The device.
        quick: Whether this is the smoke run, whose numbers mean nothing.
        output: Folder of the results.
        data: Candles for the pretraining; None for simulated ones.
        split: ``splits.csv`` of these candles; None for the default.
        config: Configuration of the pretraining, a name or a file.
        minutes: Time of the pretraining.
        batch_size: Windows of a step of the pretraining; None for that of the configuration.
        learning_rate: Peak of the pretraining's learning rate; None for that of the configuration.
    """

    device: torch.device
    quick: bool
    output: Path
    data: Path | None = None
    split: Path | None = None
    config: str = "pretrain_nano"
    minutes: float = 6.0
    batch_size: int | None = None
    learning_rate: float | None = None


def _machine(plan: GpuPlan, emit: Emit) -> None:
    from benchmarks.gpu_speed import measure_rates

    for record in measure_rates(plan.device, plan.quick):
        emit(record)


def _correctness(plan: GpuPlan, emit: Emit) -> None:
    from benchmarks.gpu_correctness import check_all

    for record in check_all(plan.device, plan.quick):
        emit(record)


def _speed(plan: GpuPlan, emit: Emit) -> None:
    from benchmarks.gpu_speed import measure_speed

    for record in measure_speed(plan.device, plan.quick):
        emit(record)


def _training(plan: GpuPlan, emit: Emit) -> None:
    from benchmarks.gpu_training import measure_training

    for record in measure_training(plan.device, plan.quick):
        emit(record)


def _pretraining(plan: GpuPlan, emit: Emit) -> None:
    from benchmarks.gpu_training import pretrain

    pretrain(plan, emit)


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the run; ``limit`` is in seconds, None for the time that the plan gives."""

    name: str
    measure: Callable[[GpuPlan, Emit], None]
    limit: float | None
    by_default: bool = True


STAGES = (
    Stage("machine", _machine, 30),
    Stage("correctness", _correctness, 120),
    Stage("speed", _speed, 170),
    Stage("training", _training, 70),
    Stage("pretraining", _pretraining, None, by_default=False),
)


def run(plan: GpuPlan, stages: tuple[Stage, ...]) -> dict[str, Any]:
    """Run the stages in turn; a stage that fails doesn't keep the others from running.

    Returns:
        What was written as JSON.
    """
    plan.output.mkdir(parents=True, exist_ok=True)
    results = _earlier(plan)
    results.update(_facts(plan))
    for stage in stages:
        say(f"{stage.name} …")
        found: dict[str, Any] = {"state": "running", "seconds": 0.0, "records": []}
        results["stages"][stage.name] = found
        _measure(plan, stage, found, lambda: _write(plan, results))
        if plan.device.type == "cuda":
            torch.cuda.empty_cache()
    return results


def _measure(plan: GpuPlan, stage: Stage, found: dict[str, Any], write: Callable[[], None]) -> None:
    """Measure one stage; what is found is written with every record."""
    started = perf_counter()
    limit = 60 * plan.minutes + 60 if stage.limit is None else stage.limit
    limit *= _SMOKE_PATIENCE if plan.quick else 1

    def emit(record: Record) -> None:
        found["records"].append(record)
        found["seconds"] = perf_counter() - started
        say("  " + ", ".join(f"{name} {_short(value)}" for name, value in record.items()))
        write()

    try:
        with _time_limit(limit):
            stage.measure(plan, emit)
        found["state"] = "done"
    except OutOfTime:
        found["state"] = f"ended at its limit of {limit:g} s"
    except Exception as error:  # noqa: BLE001 (the other stages are worth their time)
        found["state"] = f"failed: {type(error).__name__}: {str(error).strip()[:500]}"
    found["seconds"] = perf_counter() - started
    say(f"  {found['state']}, {found['seconds']:.1f} s")
    write()


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` in the block after so many seconds, where the system has interval timers."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _earlier(plan: GpuPlan) -> dict[str, Any]:
    """The results in the folder, if they are of such a run; else none."""
    path = plan.output / "gpu.json"
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if found.get("quick") == plan.quick and found.get("device", "").split(":")[0] == plan.device.type:
            return found
    return {"stages": {}}


def _facts(plan: GpuPlan) -> dict[str, Any]:
    from benchmarks.machine import processor_name

    cuda = plan.device.type == "cuda"
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "quick": plan.quick,
        "device": str(plan.device),
        "name": torch.cuda.get_device_name(plan.device) if cuda else processor_name(),
        "cuda": torch.version.cuda if cuda else None,
        "torch": torch.__version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "cores": os.cpu_count(),
    }


def _write(plan: GpuPlan, results: dict[str, Any]) -> None:
    write_text(plan.output / "gpu.json", json.dumps(results, indent=1) + "\n")
    write_text(plan.output / "gpu.md", render(results))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> int:
    """Run the stages of the command line; the exit status is 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n", 1)[0])
    names = [stage.name for stage in STAGES]
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu")
    parser.add_argument("--quick", action="store_true", help="a smoke run with tiny sizes, of all stages")
    parser.add_argument("--stage", action="append", choices=names, help="only this stage; may be repeated")
    parser.add_argument("--output", type=Path, default=Path("outputs") / "gpu", help="folder of gpu.json and gpu.md")
    parser.add_argument("--page", action="store_true", help="also write docs/performance-gpu.md")
    parser.add_argument("--data", type=Path, help="candles of the pretraining")
    parser.add_argument("--split", type=Path, help="splits.csv of these candles")
    parser.add_argument("--config", default="pretrain_nano", help="configuration of the pretraining")
    parser.add_argument("--minutes", type=float, default=6.0, help="time of the pretraining")
    parser.add_argument("--batch-size", type=int, help="windows of a step of the pretraining")
    parser.add_argument("--learning-rate", type=float, help="peak learning rate of the pretraining")
    given = parser.parse_args()
    plan = GpuPlan(
        torch.device(given.device), given.quick, given.output, given.data, given.split, given.config,
        0.05 if given.quick else given.minutes, given.batch_size, given.learning_rate,
    )  # fmt: skip
    wanted = given.stage or [stage.name for stage in STAGES if stage.by_default or given.quick]
    results = run(plan, tuple(stage for stage in STAGES if stage.name in wanted))
    page = render(results)
    print(page)
    if given.page:
        write_text(_PAGE, page)
    return int(any(results["stages"][name]["state"].startswith("failed") for name in wanted))


if __name__ == "__main__":
    sys.exit(main())

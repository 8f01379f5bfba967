"""``python -m benchmarks.contention``: a forecast alone, and beside busy processes, by how threads wait for each other.

Each setting has a process of its own, since OpenMP reads its variables once. The processes take turns, so that ratios
are those of one run; the shortest of several times is what the machine can do when nothing else disturbs it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep

from benchmarks.timing import Times, say
from kronos.atomic import write_text

OWN, LIBRARY, SINGLE = "kronos (GOMP_SPINCOUNT=20000)", "OpenMP's own (300000)", "one thread"
SETTINGS: Mapping[str, Mapping[str, str]] = {
    OWN: {},
    LIBRARY: {"GOMP_SPINCOUNT": "300000"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "GOMP_SPINCOUNT=100": {"GOMP_SPINCOUNT": "100"},
    SINGLE: {"OMP_NUM_THREADS": "1"},
}
_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "KRONOS_THREADS")
_PROGRAM = """\
import sys
from time import perf_counter

from kronos import KronosPredictor
from kronos.cli.forecast.run import read_sample

predictor, candles = KronosPredictor.from_pretrained(device="cpu"), read_sample()
for line in sys.stdin:
    started = perf_counter()
    predictor.forecast(candles, 24, samples=int(line), seed=1)
    print(perf_counter() - started, flush=True)
"""
_BUSY = "while True: pass"


@dataclass
class WaitingResult:
    """Seconds of a forecast by one way of waiting."""

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)


def measure(settings: Sequence[str], rounds: int, samples: int, busy: int) -> dict[str, WaitingResult]:
    """Time forecasts of the bundled model by turns.

    Args:
        settings: Names of `SETTINGS`.
        rounds: Forecasts of each, alone and beside busy processes.
        samples: Sample paths of a forecast.
        busy: Number of busy processes.
    """
    plain = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    results = {name: WaitingResult() for name in settings}
    with ExitStack() as stack:
        processes = {name: _start(stack, [sys.executable, "-c", _PROGRAM], plain | SETTINGS[name]) for name in settings}
        for process in processes.values():
            _time(process, samples)
        for _ in range(rounds):
            for name, process in processes.items():
                results[name].alone.append(_time(process, samples))
        for _ in range(busy):
            _start(stack, [sys.executable, "-c", _BUSY], plain)
        sleep(0.2)
        for _ in range(rounds):
            for name, process in processes.items():
                results[name].beside.append(_time(process, samples))
    return results


def _start(stack: ExitStack, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def _time(process: subprocess.Popen[str], samples: int) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{samples}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def render(results: Mapping[str, WaitingResult], busy: int) -> str:
    """The results as a Markdown table; ratios are to OpenMP's own setting, or to the same setting alone."""
    base = min(results[LIBRARY].alone)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    lines = [
        f"A forecast of 24 candles alone, and beside {busy} busy processes, on {os.cpu_count()} cores; load {load}.",
        "",
        "| waiting | alone | of OpenMP's own | beside, median | slower than alone |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, result in results.items():
        alone, beside = min(result.alone), Times(tuple(result.beside)).median
        lines.append(f"| {name} | {alone:.3f} s | {alone / base:.2f} | {beside:.3f} s | {beside / alone:.1f}× |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.contention", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of two settings")
    parser.add_argument("--busy", type=int, default=os.cpu_count() or 1, help="busy processes (default: one per core)")
    parser.add_argument("--output", type=Path, help="the file to write instead of printing")
    arguments = parser.parse_args()
    settings = (OWN, LIBRARY) if arguments.quick else tuple(SETTINGS)
    rounds, samples = (1, 2) if arguments.quick else (8, 100)
    say(f"forecasts with {len(settings)} settings, {rounds} rounds")
    page = render(measure(settings, rounds, samples, arguments.busy), arguments.busy)
    if arguments.output is None:
        print(page)
    else:
        write_text(arguments.output, page)


if __name__ == "__main__":
    main()

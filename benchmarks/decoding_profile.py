"""``python -m benchmarks.decoding_profile``: where the time of decoding goes, next to what the machine allows.

``--before DIR`` measures another checkout of the repository in the same run, call by call in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks import plans
from benchmarks.decoding import calling, many_candles, step_times
from benchmarks.inputs import SEED, random_candles, random_predictor
from benchmarks.plans import Architecture, Case, ManyPlan, Plan
from benchmarks.timing import Times
from benchmarks.work import engine_flops, step_bytes
from kronos.inference import KronosPredictor, engine

ROOT = Path(__file__).resolve().parents[1]
MANY = "many series"

# What the time is spent in, by the operation that spends it; the others are elementwise.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "matrix products": ("aten::addmm", "aten::mm", "aten::addmv", "mkldnn::_linear_pointwise"),
    "attention": ("aten::bmm", "aten::baddbmm", "aten::_softmax", "aten::_scaled_dot_product_flash_attention_for_cpu"),
    "copies": ("aten::copy_", "aten::cat", "aten::index", "aten::index_select", "aten::fill_"),
    "sampling": ("aten::cumsum", "aten::searchsorted", "aten::multinomial", "aten::topk", "aten::logsumexp"),
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names}
ELEMENTWISE, BETWEEN = "elementwise and other operations", "Python between operations"
_STAGES: Mapping[str, tuple[tuple[Any, str], ...]] = {
    "encoding the history": ((engine.TokenizerDecoder, "encode"),),
    "reading the history": ((engine.Rollout, "prefill"),),
    "steps": ((engine.Rollout, "decode_step"), (engine.Rollout, "sliding_step"), (engine.Rollout, "sample")),
    "decoding the paths": ((engine.TokenizerDecoder, "decode"),),
}
OUTSIDE = "candles and frames"


@dataclass(frozen=True, slots=True)
class ProfilePlan:
    """What is profiled.

    Attributes:
        base: Networks, threads, and how the machine's rates are measured.
        cases: Single forecasts, by what they are an example of.
        many: Series forecast in one call.
        repeats: Timings of each call, after a warm-up.
        tries: Measurements of each of the machine's rates.
    """

    base: Plan
    cases: Mapping[str, Case]
    many: ManyPlan
    repeats: int
    tries: int

    @property
    def architecture(self) -> Architecture:
        """The network, whose weights are random."""
        return self.base.architecture("kronos-small")

    @classmethod
    def of(cls, *, quickly: bool) -> ProfilePlan:
        """What docs/performance-profile.md is made of; quickly: the same with shrunken networks, in seconds."""
        base = plans.quick() if quickly else plans.full()
        cases = {
            "a typical forecast": base.typical,
            "one path": Case(20, 12, 1) if quickly else Case(392, 120, 1),
            "one path whose window slides": replace(
                Case(24, 12, 1) if quickly else Case(400, 120, 1), method="predict"
            ),
        }
        if quickly:
            return cls(base, cases, base.many, repeats=2, tries=3)
        return cls(base, cases, replace(base.many, series=32), repeats=5, tries=30)


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of one kind of work in one stage of a profiled call."""

    stage: str
    kind: str
    seconds: float


# Measurements in a process of their own ----------------------------------------------


def calls_of(plan: ProfilePlan, predictor: KronosPredictor) -> dict[str, Callable[[], object]]:
    """What is called, by name."""
    calls: dict[str, Callable[[], object]] = {
        name: calling(predictor, case, random_candles(case.history)) for name, case in plan.cases.items()
    }
    many = plan.many
    calls[MANY] = partial(predictor.forecast_many, many_candles(many), many.horizon, samples=many.samples, seed=SEED)
    return calls


def profile_call(call: Callable[[], object]) -> list[Spent]:
    """Profile one call."""
    with _annotated(), profile(activities=[ProfilerActivity.CPU]) as profiler, record_function(OUTSIDE):
        call()
    spent: dict[tuple[str, str], float] = defaultdict(float)
    for event in profiler.events():
        seconds = event.self_cpu_time_total / 1e6
        if event.name in _STAGES or event.name == OUTSIDE:
            spent[event.name, BETWEEN] += seconds
            continue
        parent = event.cpu_parent
        while parent is not None and parent.name not in _STAGES and parent.name != OUTSIDE:
            parent = parent.cpu_parent
        if parent is not None:
            spent[parent.name, _KIND_OF.get(event.name, ELEMENTWISE)] += seconds
    return [Spent(*key, seconds) for key, seconds in spent.items()]


@contextmanager
def _annotated() -> Iterator[None]:
    """Mark the stages in the profile."""

    def marked(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with record_function(stage):
                return function(*args, **kwargs)

        return call

    with ExitStack() as stack:
        for stage, functions in _STAGES.items():
            for owner, name in functions:
                stack.enter_context(patch.object(owner, name, marked(getattr(owner, name), stage)))
        yield


def serve(*, quickly: bool) -> None:
    """Measure what each line of standard input asks for, and answer with a line of JSON."""
    plan = ProfilePlan.of(quickly=quickly)
    torch.set_num_threads(plan.base.threads)
    predictor = random_predictor(plan.architecture)
    calls = calls_of(plan, predictor)
    warm = set()
    for line in sys.stdin:
        what, _, name = line.strip().partition(" ")
        if name not in warm:
            calls[name]()
            warm.add(name)
        if what == "time":
            started = perf_counter()
            calls[name]()
            answer: Any = perf_counter() - started
        elif what == "step":
            answer = step_times(predictor, plan.cases[name]).median
        else:
            answer = [[own.stage, own.kind, own.seconds] for own in profile_call(calls[name])]
        print(json.dumps(answer), flush=True)


class Worker:
    """A process that measures one version of the package.

    Args:
        source: The folder that holds ``src``.
        quickly: Whether the run is a smoke run.
    """

    def __init__(self, source: Path, *, quickly: bool) -> None:
        self._source = source
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(source / "src"), str(ROOT)))}
        command = [sys.executable, "-m", "benchmarks.decoding_profile", "--worker", *(["--quick"] if quickly else [])]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, question: str) -> Any:
        """Have something measured."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(question, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"The process that measures {self._source} ended early; its error is above.")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


# The whole run -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CaseProfile:
    """One case with one version of the package.

    Attributes:
        times: Seconds of the call.
        spent: Where they go.
        step: Seconds of a step after the first, of a single path.
    """

    times: Times
    spent: list[Spent]
    step: float | None


def measure(plan: ProfilePlan, sources: Mapping[str, Path], *, quickly: bool) -> dict[str, dict[str, CaseProfile]]:
    """Measure each version in turn; profiles by case, then by version."""
    with ExitStack() as stack:
        workers = {name: Worker(path, quickly=quickly) for name, path in sources.items()}
        for worker in workers.values():
            stack.callback(worker.close)
        return _measure_in_turn(plan, workers)


def _measure_in_turn(plan: ProfilePlan, workers: Mapping[str, Worker]) -> dict[str, dict[str, CaseProfile]]:
    found: dict[str, dict[str, CaseProfile]] = {}
    for case in (*plan.cases, MANY):
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(plan.repeats):
            for name, worker in workers.items():
                seconds[name].append(worker.ask(f"time {case}"))
        single = case in plan.cases and plan.cases[case].samples == 1 and plan.cases[case].method == "forecast"
        found[case] = {
            name: CaseProfile(
                Times(tuple(seconds[name])),
                [Spent(*own) for own in worker.ask(f"profile {case}")],
                worker.ask(f"step {case}") if single else None,
            )
            for name, worker in workers.items()
        }
    return found


def flops_of(plan: ProfilePlan, case: str) -> int:
    """Operations that the engine needs for a case."""
    architecture = plan.architecture
    model, tokenizer, context = architecture.model, architecture.tokenizer, architecture.context
    if case != MANY:
        return engine_flops(model, tokenizer, plan.cases[case], context)
    many = plan.many
    cases = [Case(rows, many.horizon, many.samples) for rows in many.lengths]
    return sum(engine_flops(model, tokenizer, own, context) for own in cases)


def bytes_of(plan: ProfilePlan) -> int:
    """Weights that a step of a single path reads."""
    return step_bytes(plan.architecture.model)


def main() -> None:
    from benchmarks.decoding_profile_page import write_page  # reads this module

    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding_profile", description=__doc__)
    parser.add_argument("--before", type=Path, metavar="DIR", help="another checkout, to compare with")
    parser.add_argument("--revision", default="unknown", help="revision of --before, to name on the page")
    parser.add_argument("--quick", action="store_true", help="a smoke run with shrunken networks, printed")
    parser.add_argument("--output", type=Path, help="the file to write; docs/performance-profile.md where not --quick")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        serve(quickly=arguments.quick)
        return
    if arguments.before is not None and not (arguments.before / "src" / "kronos").is_dir():
        parser.error(f"{arguments.before} is not a checkout: it has no src/kronos")
    write_page(arguments.before, arguments.revision, arguments.output, quickly=arguments.quick)


if __name__ == "__main__":
    main()

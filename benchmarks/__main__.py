"""``python -m benchmarks``: measure all of forecasting in one run and write docs/performance.md.

``python -m benchmarks training`` measures training instead and writes docs/performance-training.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

import torch

from benchmarks import plans, training
from benchmarks.command import print_or_write
from benchmarks.decoding import CaseResult, measure_case, measure_many, measure_models
from benchmarks.drawing import measure_drawing
from benchmarks.inputs import random_predictor
from benchmarks.machine import measure_machine
from benchmarks.memory import measure_stages
from benchmarks.plans import Plan
from benchmarks.report import render
from benchmarks.results import Results
from benchmarks.startup import measure_startup
from benchmarks.timing import say
from kronos.inference import KronosPredictor

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("forecasting", "training"), default="forecasting")
    parser.add_argument("--quick", action="store_true", help="a smoke run over shrunken networks, printed")
    parser.add_argument("--output", type=Path, help="the file to write; a page in docs/ where not --quick")
    arguments = parser.parse_args()
    if arguments.what == "training":
        training.run(quickly=arguments.quick, output=arguments.output)
        return
    plan = plans.quick() if arguments.quick else plans.full()
    page = render(measure(plan))
    print_or_write(page, arguments.output or (None if plan.quick else _PAGE))


def measure(plan: Plan) -> Results:
    """All measurements, in the order of the report."""
    started = perf_counter()
    torch.set_num_threads(plan.threads)
    say("the machine's own rates")
    machine = measure_machine(plan)
    say("start-up")
    startup = measure_startup(plan.rounds)
    say("drawing tokens")
    drawing = measure_drawing(plan)
    predictor = random_predictor(plan.architecture("kronos-small"))
    cases = _measure_cases(plan, predictor)
    say("many series")
    many = measure_many(predictor, plan.many, max(2, plan.repeats // 2))
    say("models")
    models = measure_models(plan)
    say("memory")
    memory = measure_stages(plan)
    return Results(plan, machine, cases, models, many, memory, startup, drawing, perf_counter() - started)


def _measure_cases(plan: Plan, predictor: KronosPredictor) -> list[CaseResult]:
    results = []
    for case in plan.cases:
        say(f"{case.title}, {case.method}")
        r = measure_case(predictor, case, plan.repeats)
        say(f"  ours {r.ours.median:.3f} s, plain {r.plain:.1f} s, {r.ratio:.1f}×, equal {r.equal:.2%}")
        results.append(r)
    return results


if __name__ == "__main__":
    main()

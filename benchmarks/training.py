"""``python -m benchmarks training``: the training loop beside a plain one; writes docs/performance-training.md.

Both train a network of the published mini architecture with random weights on the same candles, in turn, so that a
disturbance meets both: `kronos.training`'s step, with the batches that it has prepared in the background, and the loop
of `benchmarks/plain_training.py` with torch's own `DataLoader`.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks import plans
from benchmarks.command import print_or_write
from benchmarks.inputs import random_candles, random_networks
from benchmarks.machine import measure_machine
from benchmarks.plain_training import BETAS, CLIP, DECAY, RATE, plain_training, seconds
from benchmarks.plans import Architecture
from benchmarks.report import table
from benchmarks.timing import Times, say, timed
from kronos.datasets import Batch, WindowDataset, WindowSettings, batches, collate, open_training_data
from kronos.training import ModelObjective, TrainingArguments, process
from kronos.training.optimization import OptimizerStep
from kronos.training.runtime import autocast, prefetch

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance-training.md"
FLOOR = 1.2  # of the plain loop's speed
PLAIN, OURS, WIDE = "plain, float32", "ours", "ours, float32"
_PRECISIONS = {OURS: "auto", WIDE: "float32"}
_STEPS = 1000  # that schedules are told of

Run = Callable[[int], list[float]]


@dataclass(frozen=True, slots=True)
class Setup:
    """What is measured.

    Attributes:
        quick: Whether this is the smoke run, whose numbers mean nothing.
        architecture: Of the networks.
        batch: Windows of a step.
        windows: How long they are.
        steps: Of each loop in a round.
        rounds: That count, after one that doesn't.
        threads: Of torch.
    """

    quick: bool
    architecture: Architecture
    batch: int
    windows: WindowSettings
    steps: int
    rounds: int
    threads: int


@dataclass(frozen=True, slots=True)
class Part:
    """Where a step's time goes: seconds by what is done, and of the whole step."""

    step: float
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Results:
    """One run.

    Attributes:
        setup: What was measured.
        steps: Seconds of a step, by which candles count, and by loop.
        parts: Where our steps' time goes, all candles counted, by loop.
        operations: Of the matrix products of such a step.
        matrix: Operations a second of a large product: in float32, in bfloat16.
        cores: That the process may use.
        processor: Its name.
    """

    setup: Setup
    steps: Mapping[str, Mapping[str, Times]]
    parts: Mapping[str, Part]
    operations: float
    matrix: tuple[float, float]
    cores: int
    processor: str

    def ratio(self, counted: str, loop: str = OURS) -> float:
        """How many times faster than the plain loop."""
        own = self.steps[counted]
        return own[PLAIN].median / own[loop].median


def full() -> Setup:
    """Mini, 32 windows of 256 candles, two threads."""
    return Setup(False, plans.full().architecture("kronos-mini"), 32, WindowSettings(224, 32), 5, 3, 2)


def quick() -> Setup:
    """Everything once with a shrunken network: shows that it runs."""
    return Setup(True, plans.quick().architecture("kronos-mini"), 4, WindowSettings(20, 4), 2, 1, 1)


def measure(setup: Setup) -> Results:
    """All of it."""
    torch.set_num_threads(setup.threads)
    machine = measure_machine(plans.quick() if setup.quick else plans.full())
    with tempfile.TemporaryDirectory() as folder:
        dataset = _dataset(setup, Path(folder))
        steps: dict[str, Mapping[str, Times]] = {}
        for counted in ("window", "forecast"):
            say(f"steps, counting every candle of the {counted}")
            steps[counted] = _in_turn(_loops(setup, dataset, counted), setup)
        say("where the time goes")
        parts = {loop: _parts(setup, dataset, loop) for loop in _PRECISIONS}
    rates = machine.matrix, machine.matrix_bf16
    return Results(setup, steps, parts, _operations(setup), rates, machine.cores, machine.name)


def _dataset(setup: Setup, folder: Path) -> WindowDataset:
    """Windows of a few random walks."""
    rows = 300 if setup.quick else 5000
    for number in range(4):
        walk = random_candles(rows, seed=number).frame
        walk.to_csv(folder / f"WALK{number}_1h.csv")
    data = open_training_data(folder, windows=setup.windows, cache=folder / "cache", quality="none")
    return WindowDataset(data, "train", setup.windows, samples=setup.batch * _STEPS)


def _loops(setup: Setup, dataset: WindowDataset, counted: str) -> dict[str, Run]:
    """Each loop as a function that takes so many steps and gives the seconds of each."""
    rows = setup.windows.total - 1 if counted == "window" else setup.windows.predict
    loops: dict[str, Run] = {PLAIN: _plain(setup, dataset, rows)}
    return loops | {loop: _ours(setup, dataset, counted, loop) for loop in _PRECISIONS}


def _plain(setup: Setup, dataset: WindowDataset, rows: int) -> Run:
    model, tokenizer = random_networks(setup.architecture)
    loader: DataLoader[Batch] = DataLoader(dataset, setup.batch, collate_fn=collate)  # type: ignore[arg-type]
    running = plain_training(model, tokenizer, _again(loader), rows, _STEPS)
    return partial(seconds, running)


def _again(loader: DataLoader[Batch]) -> Iterator[Batch]:
    while True:
        yield from loader


def _ours(setup: Setup, dataset: WindowDataset, counted: str, loop: str) -> Run:
    objective, stepper = _stepper(setup, counted, loop)
    done = 0

    def run(number: int) -> list[float]:
        nonlocal done
        objective.network.train()
        with prefetch(lambda: batches(dataset, setup.batch, start=done)) as feed:
            # As `kronos.training.trainer` does: nothing is read from the device before the callbacks are called.
            found = seconds((stepper.step(done + n, (done + n) / _STEPS, feed)[0] for n in range(number)), number)
        done += number
        return found

    return run


def _stepper(setup: Setup, counted: str, loop: str) -> tuple[ModelObjective, OptimizerStep]:
    model, tokenizer = random_networks(setup.architecture)
    objective = ModelObjective(model, tokenizer, loss_on="window" if counted == "window" else "forecast")
    told = {"learning_rate": RATE, "betas": BETAS, "weight_decay": DECAY, "gradient_clip": CLIP}
    settings = TrainingArguments.of("model", {**told, "batch_size": setup.batch, "precision": _PRECISIONS[loop]})
    with process("cpu") as ours:
        return objective, OptimizerStep(objective, settings, ours, _STEPS)


def _in_turn(loops: Mapping[str, Run], setup: Setup) -> dict[str, Times]:
    found: dict[str, list[float]] = {loop: [] for loop in loops}
    for number in range(setup.rounds + 1):  # the first is not counted
        for loop, run in loops.items():
            taken = run(setup.steps if number else 1)
            if number:
                found[loop] += taken
    return {loop: Times(tuple(taken)) for loop, taken in found.items()}


def _parts(setup: Setup, dataset: WindowDataset, loop: str) -> Part:
    """Each piece of a step by itself, on one batch."""
    objective, stepper = _stepper(setup, "window", loop)
    objective.network.train()
    repeats = 1 if setup.quick else 5
    data = timed(lambda: next(batches(dataset, setup.batch)), repeats).median
    batch = next(batches(dataset, setup.batch))
    with torch.no_grad():
        tokens = timed(lambda: objective.tokenizer.encode(batch.x, half=True), repeats).median
    forward, backward = _passes(objective, stepper, batch, repeats)
    step = timed(lambda: stepper.step(0, 0.0, iter([batch])), repeats).median
    rest = step - forward - backward
    parts = {
        "data (in the background)": data,
        "tokens": tokens,
        "forward": forward - tokens,
        "backward": backward,
        "clipping and AdamW": rest,
    }
    return Part(step, parts)


def _passes(objective: ModelObjective, stepper: OptimizerStep, batch: Batch, repeats: int) -> tuple[float, float]:
    """Seconds of the losses, tokens included, and of their gradients."""
    taken: list[tuple[float, float]] = []
    for _ in range(repeats + 1):
        marks = [perf_counter()]
        with autocast(torch.device("cpu"), stepper.dtype):
            losses = objective.losses(batch, training=True)
        marks.append(perf_counter())
        losses.total.backward()
        marks.append(perf_counter())
        objective.network.zero_grad()
        taken.append((marks[1] - marks[0], marks[2] - marks[1]))
    forward, backward = (Times(one).median for one in zip(*taken[1:], strict=True))
    return forward, backward


def _operations(setup: Setup) -> float:
    """Operations of the matrix products and of causal attention in a step that counts every candle.

    The model forward and twice as much backward; of the tokenizer its encoder, forward.
    """
    model, tokenizer = random_networks(setup.architecture)
    rows, length = setup.batch * (setup.windows.total - 1), setup.windows.total - 1
    own = 2 * rows * _matrices(model) + setup.batch * length**2 * 2 * _attention(model.transformer)
    own += setup.batch * length**2 * 2 * _attention(model.dep_layer)
    coded = [tokenizer.embed, *tokenizer.encoder, tokenizer.quant_embed]
    coding = sum(2 * (rows + setup.batch) * _matrices(one) for one in coded)
    coding += setup.batch * setup.windows.total**2 * 2 * _attention(tokenizer.encoder)
    return 3.0 * own + coding


def _matrices(module: nn.Module) -> int:
    return sum(one.weight.numel() for one in module.modules() if isinstance(one, nn.Linear))


def _attention(module: nn.Module) -> int:
    """Widths of the attentions in it, one after another."""
    return sum(one.out_features for name, one in module.named_modules() if name.endswith("q_proj"))  # type: ignore[misc]


def render(found: Results) -> str:
    """The page."""
    ratio = found.ratio("window")
    verdict = "met" if ratio >= FLOOR else "**not met**"
    required = f"At least {FLOOR}× the plain loop's speed is required with all candles in the loss: {ratio:.2f}×"
    sections = (_opening(found), _steps(found), f"{required}, {verdict}.", _pieces(found), _limits(found))
    return "\n\n".join(sections) + "\n"


def _opening(found: Results) -> str:
    setup = found.setup
    smoke = "**A smoke test with a tiny network: it only shows that it runs, and its numbers mean nothing.**\n\n"
    date, versions = f"{datetime.now(UTC):%Y-%m-%d}", f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"""\
# Training speed

{smoke if setup.quick else ""}Generated by `python -m benchmarks training` on {date}: {found.processor}, \
{setup.threads} torch threads on {found.cores} cores, {versions}. Do not edit this page; run the benchmark again. \
Absolute times are specific to this machine. Ratios within one run are comparable.

The architecture of {setup.architecture.name} with random weights, {setup.batch} windows of {setup.windows.total} \
candles per step. The loops take {setup.steps} steps in turn, for {setup.rounds} rounds after one warm-up step. Times \
are medians, with the best in brackets.

- *plain*: a short eager float32 loop (`benchmarks/plain_training.py`) with the same network modules and fused
  attention. `torch.multinomial` samples the coarse tokens for the fine head. `DataLoader`, AdamW and the one-cycle
  schedule are torch's.
- *ours*: the step of `kronos.training` with prefetched batches. Precision is `auto`: bfloat16 products where the
  processor multiplies it natively, weights and losses in float32.
- *ours, float32*: the same, all in float32."""


def _steps(found: Results) -> str:
    setup = found.setup
    rows = []
    for counted, own in found.steps.items():
        what = "all" if counted == "window" else f"the last {setup.windows.predict}"
        for loop, taken in own.items():
            speed = setup.batch / taken.median
            rows.append(
                (
                    *(loop, what, f"{1e3 * taken.median:.0f} ({1e3 * taken.best:.0f})", f"{speed:.1f}"),
                    *(f"{speed * setup.windows.total:,.0f}", f"{found.ratio(counted, loop):.2f}×"),
                )
            )
    head = ("loop", "candles in the loss", "step, ms (best)", "windows/s", "candles/s", "speed-up over plain")
    return table(head, rows)


def _pieces(found: Results) -> str:
    names = next(iter(found.parts.values())).parts
    rows = [
        (name, *(f"{1e3 * part.parts[name]:.0f} ({part.parts[name] / part.step:.0%})" for part in found.parts.values()))
        for name in names
    ]
    whole = ("the step", *(f"{1e3 * part.step:.0f}" for part in found.parts.values()))
    return f"""\
## Profile of a step

Each part is timed separately on one batch, with all candles in the loss. Times are in milliseconds, with the share of
the step.

{table(("", *found.parts), [*rows, whole])}"""


def _limits(found: Results) -> str:
    """How far from the machine's matrix rate a step is, and which piece is the largest."""
    shares = [
        f"{found.operations / found.parts[loop].step / 1e9:.0f} GFLOP/s ({name}: {rate / 1e9:.0f} in large products)"
        for loop, name, rate in zip(_PRECISIONS, ("bfloat16", "float32"), reversed(found.matrix), strict=True)
    ]
    own = found.parts[OURS]
    largest = sorted(own.parts, key=lambda name: -own.parts[name])[:2]
    return f"""\
The matrix products of a step are {found.operations / 1e9:.0f} G operations: *{OURS}* reaches {shares[0]}, *{WIDE}* \
{shares[1]}. The largest parts of *{OURS}* are {largest[0]} and {largest[1]}. The other operations are limited by \
memory bandwidth: norms, rotary embeddings, softmax, dropout, residuals.

The tokenizer always encodes in float32, because its codes are signs, and rounding would flip some of them. Tokens
cannot be cached between epochs, because windows are sampled and normalised anew."""


def run(*, quickly: bool, output: Path | None = None) -> None:
    """Measure, and write the page; a quick run is printed unless told where to."""
    page = render(measure(quick() if quickly else full()))
    print_or_write(page, output or (None if quickly else _PAGE))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run with a shrunken network, printed")
    parser.add_argument("--output", type=Path, help="the file to write")
    arguments = parser.parse_args()
    run(quickly=arguments.quick, output=arguments.output)


if __name__ == "__main__":
    main()

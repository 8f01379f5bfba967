"""The training benchmark runs, and both of its loops minimise the same. No time is asserted."""

import sys
from pathlib import Path

import pytest
import torch
from benchmarks.plain_training import plain_loss, plain_training
from benchmarks.plans import quick
from benchmarks.training import full

import forks
from kronos import Kronos, KronosTokenizer
from kronos.datasets import Batch
from kronos.training import ModelObjective

ROOT = Path(__file__).resolve().parents[2]


def networks() -> tuple[Kronos, KronosTokenizer]:
    torch.manual_seed(1)
    architecture = quick().architecture("kronos-mini")
    return Kronos(**architecture.model).eval(), KronosTokenizer(**architecture.tokenizer).eval()


def batch(size: int = 6, length: int = 20, known: int = 15) -> Batch:
    random = torch.Generator().manual_seed(2)
    stamp = torch.stack([torch.randint(n, (size, length), generator=random) for n in (60, 24, 7, 32, 13)], -1)
    x = torch.randn(size, length, 6, generator=random)
    return Batch(x, stamp, torch.full((size,), known), torch.ones(size), torch.arange(size))


@pytest.mark.parametrize(("counted", "rows"), [("window", 19), ("forecast", 5)])
def test_both_minimise_the_same(counted: str, rows: int) -> None:
    model, tokenizer = networks()
    objective = ModelObjective(model, tokenizer, teacher_forcing=True, loss_on=counted)
    ours = objective.losses(batch(), training=True).total
    plain = plain_loss(model, tokenizer, batch(), rows, forced=True)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)
    ours.backward()
    of_ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    plain.backward()
    of_plain = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    torch.testing.assert_close(of_ours, of_plain, rtol=1e-3, atol=1e-6)


def test_the_coarse_tokens_that_are_drawn_follow_the_same_law() -> None:
    """Both tell the fine head tokens of the model's own distribution; the means of their losses agree."""
    model, tokenizer = networks()
    objective = ModelObjective(model, tokenizer, loss_on="window")
    one = batch(64)
    with torch.no_grad():
        ours = [
            objective.losses(Batch(one.x, one.stamp, one.known, one.step, one.row + 64 * n), training=True).total
            for n in range(20)
        ]
        plain = [plain_loss(model, tokenizer, one, 19) for _ in range(20)]
    ours, plain = torch.stack(ours), torch.stack(plain)
    error = ((ours.var() + plain.var()) / 20).sqrt()
    assert (ours.mean() - plain.mean()).abs() < 4 * error


@pytest.mark.slow
def test_the_plain_loop_learns() -> None:
    model, tokenizer = networks()
    losses = list(plain_training(model, tokenizer, [batch()] * 60, 19, 60))
    assert len(losses) == 60
    assert losses[-1] < losses[0]


def test_the_full_run_is_what_is_asked_for() -> None:
    setup = full()
    assert (setup.architecture.name, setup.batch, setup.windows.total, setup.threads) == ("kronos-mini", 32, 256, 2)


@pytest.mark.slow
def test_a_quick_run_prints_its_page() -> None:
    command = [sys.executable, "-m", "benchmarks", "training", "--quick"]
    done = forks.run(command, preload=forks.TRAINING, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ")[0].strip("| ") for line in done.stdout.splitlines() if line.startswith("| ")]
    loops = ["plain, float32", "ours", "ours, float32"]
    parts = ["data (in the background)", "tokens", "forward", "backward", "clipping and AdamW", "the step"]
    assert [row for row in rows if row in loops] == 2 * loops
    assert [row for row in rows if row in parts] == parts
    assert "its numbers mean nothing" in done.stdout
    assert "At least 1.2× the plain loop's speed" in done.stdout

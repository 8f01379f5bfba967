"""The benchmarks run, and compare like with like. No time is asserted."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks.inputs import random_candles
from benchmarks.plain import plain_forecast
from benchmarks.plans import Case, full, quick
from benchmarks.work import causal, engine_flops, plain_coding_flops, plain_rollout_flops

from kronos.inference import KronosPredictor, SamplingParams
from kronos.inference.sampling import TorchSampler
from networks import random_model, random_tokenizer

ROOT = Path(__file__).resolve().parents[2]


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = page.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return lines[2:]


@pytest.mark.slow
def test_quick_run_writes_the_whole_page(tmp_path: Path) -> None:
    output = tmp_path / "docs" / "performance.md"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    page = output.read_text("utf-8")
    assert "its numbers mean nothing" in page
    plan = quick()
    against_plain = rows_of(page, "Decoding against a plain decoder")
    assert [row[0] for row in against_plain] == [case.title for case in plan.cases]
    assert [row[-1] for row in against_plain] == ["100.00%"] * len(plan.cases)  # equal tokens
    assert [row[0] for row in rows_of(page, "Time and memory per model")] == [
        "kronos-mini",
        "kronos-small",
        "kronos-base",
    ]
    counts = {"Requirements": 11, "Rates of the machine": 5, "One path: memory bandwidth": 1, "Many series": 2,
              "Memory": 5, "Start-up": 4, "Sampling tokens": 6}  # fmt: skip
    assert {heading: len(rows_of(page, heading)) for heading in counts} == counts
    assert {row[-1] for row in rows_of(page, "Requirements")} <= {"yes", "**no**"}


@pytest.mark.parametrize("s2_attention", ["published", "causal"])
@pytest.mark.parametrize(("history", "horizon"), [(20, 6), (30, 10), (50, 6)])
def test_plain_forecast_is_predict(history: int, horizon: int, s2_attention: str) -> None:
    """Windows that fit, that slide, and histories longer than the context."""
    predictor = KronosPredictor(random_model(3, s2_attention=s2_attention), random_tokenizer(4), "cpu", 32)
    frame = random_candles(history).frame
    torch.manual_seed(7)
    want = predictor.predict(frame, pred_len=horizon, top_p=0.9, sample_count=4, verbose=False)
    torch.manual_seed(7)
    got = plain_forecast(predictor, frame, horizon, 4, TorchSampler(SamplingParams(top_p=0.9, samples=4))).frame
    pd.testing.assert_index_equal(got.index, want.index)
    scale = want.abs().to_numpy().max(axis=0)
    assert (np.abs(got.to_numpy() - want.to_numpy()) <= 1e-5 * scale).all()


def test_fewer_steps_are_the_first_ones() -> None:
    predictor = KronosPredictor(random_model(3), random_tokenizer(4), "cpu", 32)
    frame = random_candles(20).frame
    runs = []
    for steps in (2, None):
        torch.manual_seed(7)
        runs.append(plain_forecast(predictor, frame, 6, 3, TorchSampler(SamplingParams(samples=3)), steps))
    part, whole = runs
    assert part.tokens.s1.shape == (1, 3, 2)
    assert torch.equal(part.tokens.s1, whole.tokens.s1[..., :2])
    assert part.frame.shape == whole.frame.shape
    np.testing.assert_allclose(part.frame.to_numpy()[:2], whole.frame.to_numpy()[:2], rtol=1e-5)


def test_operations_are_those_of_the_products() -> None:
    """One sample, one step, counted by hand; d = 2, ff = 3, one layer, 1 + 1 bits, a tokenizer of one block each."""
    model = {"n_layers": 1, "d_model": 2, "ff_dim": 3, "s1_bits": 1, "s2_bits": 1}
    tokenizer = {**model, "d_in": 6, "n_enc_layers": 2, "n_dec_layers": 2}
    case, context = Case(4, 1, 1), 16
    block_row, pairs = 2 * (4 * 4 + 3 * 6), 4 * 2 * causal(4)
    plain = 4 * block_row + pairs + 4 * 2 * (2 * 4 + 2 * 4) + 2 * (2 * 4 + 4 + 4) + 4 * 2 * 4
    assert plain_rollout_flops(model, case, context, 1) == plain
    coding_row = block_row + 2 * 2 * (6 + 2)
    coding = 4 * coding_row + pairs + 5 * coding_row + 4 * 2 * causal(5)
    assert plain_coding_flops(tokenizer, case, context) == coding
    # The engine leaves out the fusion, of 2·d² parameters a row, and the s2 query, of d².
    assert engine_flops(model, tokenizer, case, context) == plain + coding - 4 * 2 * 2 * 4 - 2 * 4


def test_slid_windows_cost_the_engine_nearly_what_one_plain_sample_costs() -> None:
    """With one sample and every window slid, only folded matrices tell the two counts apart."""
    model = full().architecture("kronos-small").model
    tokenizer = full().architecture("kronos-small").tokenizer
    case, context = Case(600, 5, 1), 512
    plain = plain_rollout_flops(model, case, context, 5) + plain_coding_flops(tokenizer, case, context)
    assert 0.9 * plain < engine_flops(model, tokenizer, case, context) < plain


def test_a_quick_run_of_the_data_benchmark_prints_its_page() -> None:
    command = [sys.executable, "-m", "benchmarks.data", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split(" | ")[0] for line in done.stdout.splitlines() if line.startswith("| ")][2:] == [
        "| the store",
        "| pandas",
        "| pandas, zstd",
    ]

"""The benchmarks run, and compare like with like. No time is asserted."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks.inputs import random_candles
from benchmarks.plain import plain_forecast
from benchmarks.plans import Case, full, quick
from benchmarks.work import causal, engine_flops, plain_coding_flops, plain_rollout_flops

import forks
from benchmarks import __main__ as forecasting
from benchmarks import contention, data, memory, startup
from kronos.inference import KronosPredictor, SamplingParams
from kronos.inference.sampling import TorchSampler
from networks import random_model, random_tokenizer

Run = Callable[..., None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a benchmark in this process; the processes that it starts are forked, so their figures mean nothing."""
    forked = SimpleNamespace(**vars(subprocess) | {"run": forks.run, "Popen": forks.Popen})
    for module in (contention, memory, startup):
        monkeypatch.setattr(module, "subprocess", forked)

    def call(main: Callable[[], None], *arguments: str) -> None:
        monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
        main()

    threads = torch.get_num_threads()
    yield call
    torch.set_num_threads(threads)


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = page.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return lines[2:]


@pytest.mark.slow
def test_quick_run_writes_the_whole_page(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "docs" / "performance.md"
    run(forecasting.main, "--quick", "--output", str(output))
    assert capsys.readouterr().out == ""
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


def test_a_quick_run_of_the_data_benchmark_prints_its_page(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run(data.main, "--quick")
    page = capsys.readouterr().out
    assert [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| ")][2:] == [
        "| the store",
        "| pandas",
        "| pandas, zstd",
    ]


@pytest.mark.slow
def test_quick_run_beside_busy_processes(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run(contention.main, "--quick", "--busy", "1")
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) == 4
    assert rows[-1].split(" | ")[2] == "1.00"

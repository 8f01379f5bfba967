"""The profile of decoding accounts for the time of a call. No time is asserted."""

from pathlib import Path

import pytest
import torch
from benchmarks.decoding_profile import BETWEEN, MANY, ProfilePlan, bytes_of, calls_of, flops_of, profile_call
from benchmarks.inputs import random_predictor
from benchmarks.quantile_shift import LEVELS, STEPS, measure_shift

from benchmarks import decoding_profile

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_profile_has_all_stages_and_the_work_in_them() -> None:
    plan = ProfilePlan.of(quickly=True)
    calls = calls_of(plan, random_predictor(plan.architecture))
    assert set(calls) == {*plan.cases, MANY}
    for call in calls.values():
        spent = {(own.stage, own.kind): own.seconds for own in profile_call(call)}
        for stage in ("encoding the history", "reading the history", "steps", "decoding the paths"):
            assert spent[stage, "matrix products"] > 0
            assert spent[stage, "attention"] > 0
        assert spent["steps", "sampling"] > 0
        assert spent["candles and frames", BETWEEN] > 0
        assert ("candles and frames", "matrix products") not in spent


def test_the_work_of_many_series_is_that_of_each() -> None:
    plan = ProfilePlan.of(quickly=True)
    one = {name: flops_of(plan, name) for name in plan.cases}
    assert all(flops > 0 for flops in one.values())
    assert flops_of(plan, MANY) > plan.many.series * one["a typical forecast"] / 10
    assert bytes_of(plan) > 0


@pytest.mark.slow
def test_quantiles_of_bfloat16_are_compared_with_those_of_float32() -> None:
    threads = torch.get_num_threads()
    rows = measure_shift(3, 4)
    assert torch.get_num_threads() == threads
    assert [(row.step, row.level) for row in rows] == [(step, level) for step in STEPS for level in LEVELS]
    assert any(row.shift > 0 for row in rows)  # bfloat16 was used
    assert all(row.sampling > 0 for row in rows)


@pytest.mark.slow
def test_a_quick_run_compares_two_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "page.md"
    options = ("--quick", "--before", str(ROOT), "--revision", "v1", "--output", str(output))
    monkeypatch.setattr("sys.argv", ["decoding_profile", *options])
    decoding_profile.main()
    page = output.read_text("utf-8")
    assert "its numbers mean nothing" in page
    assert "*before* is revision v1" in page
    assert page.count("\n## Time of ") == 4
    assert "| many series | 16 to 28 + 4 × 2 |" in page
    assert "before, s (best) | now, s (best) | ratio" in page


@pytest.mark.slow
def test_a_folder_that_is_no_checkout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["decoding_profile", "--quick", "--before", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        decoding_profile.main()
    assert ended.value.code == 2
    assert "is not a checkout: it has no src/kronos" in capsys.readouterr().err

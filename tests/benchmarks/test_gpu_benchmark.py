"""The benchmark of a GPU: a quick run on the CPU does all stages, and what is measured is written at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.gpu_page import render
from benchmarks.gpu_speed import batch_work
from benchmarks.plans import Case, published

import forks
from benchmarks import gpu

ROOT = Path(__file__).resolve().parents[2]
# What a machine with torch, numpy, pandas, pyarrow, scipy, safetensors and huggingface-hub lacks.
ABSENT = ("pydantic", "pydantic_settings", "rich", "stamina", "httpx2", "exchange_calendars", "platformdirs")
BLOCKED = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from benchmarks import gpu
sys.exit(gpu.main())
"""


def plan_of(folder: Path) -> gpu.GpuPlan:
    return gpu.GpuPlan(torch.device("cpu"), True, folder, minutes=0.02)


@pytest.mark.slow
def test_a_quick_run_does_all_stages(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick", "--output", str(tmp_path)]
    done = forks.run(command, preload=forks.TRAINING, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text("utf-8"))
    assert {name: stage["state"] for name, stage in found["stages"].items()} == {
        stage.name: "done" for stage in gpu.STAGES
    }
    assert all(record["met"] for record in found["stages"]["correctness"]["records"])
    modes = {(record["model"], record["mode"]) for record in found["stages"]["speed"]["records"]}
    assert modes >= {(f"kronos-{size}", "plain") for size in ("mini", "small", "base", "large")}
    assert found["stages"]["pretraining"]["records"][0]["epoch"] == 0
    assert (tmp_path / "gpu.md").read_text("utf-8") == done.stdout.removesuffix("\n")
    assert "its numbers mean nothing" in done.stdout


@pytest.mark.slow
def test_correctness_and_speed_need_few_packages(tmp_path: Path) -> None:
    stages = [option for name in ("machine", "correctness") for option in ("--stage", name)]
    command = [sys.executable, "-c", BLOCKED, "--device", "cpu", "--quick", "--output", str(tmp_path), *stages]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_stage_that_fails_or_takes_too_long_leaves_what_it_measured(tmp_path: Path) -> None:
    def failing(plan: gpu.GpuPlan, emit: gpu.Emit) -> None:
        emit({"rate": "copy", "per_second": 1e12, "unit": "B/s"})
        raise ValueError("no such thing")

    def endless(plan: gpu.GpuPlan, emit: gpu.Emit) -> None:
        emit({"check": "one", "measured": 1.0, "bound": "1", "met": True})
        while True:
            pass

    stages = (gpu.Stage("machine", failing, 10), gpu.Stage("correctness", endless, 0.04))
    gpu.run(plan_of(tmp_path), stages)
    found = json.loads((tmp_path / "gpu.json").read_text("utf-8"))["stages"]
    assert found["machine"]["state"] == "failed: ValueError: no such thing"
    assert found["correctness"]["state"] == "ended at its limit of 0.2 s"
    assert [len(found[name]["records"]) for name in ("machine", "correctness")] == [1, 1]
    page = (tmp_path / "gpu.md").read_text("utf-8")
    assert "This stage ended at its limit" in page
    assert "1 of 1 checks are met" in page


def test_later_stages_keep_the_earlier_ones(tmp_path: Path) -> None:
    def one(plan: gpu.GpuPlan, emit: gpu.Emit) -> None:
        emit({"rate": "copy", "per_second": 1e12, "unit": "B/s"})

    def two(plan: gpu.GpuPlan, emit: gpu.Emit) -> None:
        emit({"check": "one", "measured": 1.0, "bound": "1", "met": False})

    gpu.run(plan_of(tmp_path), (gpu.Stage("machine", one, 10),))
    results = gpu.run(plan_of(tmp_path), (gpu.Stage("correctness", two, 10),))
    assert list(results["stages"]) == ["machine", "correctness"]
    assert "**no**" in render(results)


def test_work_of_a_batch() -> None:
    """A batch has the operations of its forecasts; the weights are read once for all of them."""
    case, small = Case(360, 24, 30), published("kronos-small")
    one, many = (batch_work(small, case, batch, torch.bfloat16) for batch in (1, 64))
    assert many.flops == 64 * one.flops
    assert one.flops == pytest.approx(58.8e9, rel=0.05)
    assert one.bytes < many.bytes < 64 * one.bytes
    assert batch_work(small, case, 1, torch.float32).bytes == 2 * one.bytes

"""The guide to ONNX: its commands exist, its programs run, and its tables are the graphs' inputs and outputs."""

import re
import shlex

import onnx
import pytest
import typer

from docs.running import ROOT, blocks, run
from kronos import KronosPredictor
from kronos.cli import app
from kronos.onnx import export_onnx
from networks import random_model, random_tokenizer

GUIDE = (ROOT / "docs" / "onnx.md").read_text("utf-8")
COMMANDS = [line for line in "\n".join(blocks(GUIDE, "sh")).splitlines() if line.startswith("kronos ")]


def test_options_exist():
    command = typer.main.get_command(app).commands["models"].commands["export"]
    known = {option for param in command.params for option in param.opts}
    assert len(COMMANDS) == 2
    for line in COMMANDS:
        assert {word for word in shlex.split(line) if word.startswith("-")} <= known
    assert set(re.findall(r"`(--[a-z][a-z-]*)", GUIDE)) <= known


def test_the_tables_are_the_graphs(tmp_path):
    predictor = KronosPredictor(random_model(1), random_tokenizer(1), device="cpu", max_context=48)
    manifest = export_onnx(predictor, tmp_path / "out")
    for name in (file for file in manifest.files if file.endswith(".onnx")):
        graph = onnx.load(tmp_path / "out" / name).graph
        expected = [("in", value) for value in graph.input] + [("out", value) for value in graph.output]
        section = GUIDE.split(f"\n`{name}`\n\n")[1].split("\n\n")[0]
        rows = re.findall(r"^\| (`.*?) \| (in|out) \| (.*?) \|", section, re.MULTILINE)
        shown = [(kind, value, axes) for names, kind, axes in rows for value in re.findall(r"`(\w+)`", names)]
        assert [(kind, value.name) for kind, value in expected] == [(kind, value) for kind, value, _ in shown]
        for (_, value), (_, _, axes) in zip(expected, shown, strict=True):
            shape = value.type.tensor_type.shape.dim
            letters = [] if axes == "none" else axes.split(", ")
            assert len(letters) == len(shape), f"{name} {value.name}"
            for letter, axis in zip(letters, shape, strict=True):
                assert not axis.dim_param or letter == axis.dim_param


@pytest.mark.slow
def test_commands_and_programs_run(tmp_path):
    for line in COMMANDS:
        assert "step.onnx" in run(line, tmp_path).stdout
    first, second = (run(["python", "-c", program], tmp_path).stdout for program in blocks(GUIDE, "python"))
    assert first.split() == ["kronos-nano", "256", "MIT"]
    assert "0.95" in second

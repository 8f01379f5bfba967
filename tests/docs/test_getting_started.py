"""Getting started, forecasting, evaluation, MCP: what they show runs, and every option in them exists."""

import re
import shlex
import shutil
import sys
from importlib import resources
from pathlib import Path

import pytest
import typer

from docs.running import ROOT, blocks, run
from kronos.cli import app

GUIDES = {name: (ROOT / "docs" / f"{name}.md").read_text("utf-8") for name in
          ("getting-started", "forecasting", "evaluation", "mcp")}  # fmt: skip


def walk_through():
    text = GUIDES["getting-started"]
    return text.split("<!-- walk-through:")[1].split("<!-- end of walk-through -->")[0]


def test_the_installed_command_runs(tmp_path):
    assert "Usage: kronos" in run([str(Path(sys.executable).with_name("kronos")), "--help"], tmp_path).stdout


@pytest.mark.slow
def test_getting_started_runs_from_top_to_bottom(tmp_path):
    lines = [line for block in blocks(walk_through(), "sh") for line in block.strip().splitlines()]
    assert [line.split()[1] for line in lines] == ["data", "data", "forecast", "evaluate"]
    outputs = [run(line, tmp_path).stdout for line in lines]
    assert (tmp_path / "btc.png").stat().st_size > 10_000
    assert (tmp_path / "btc.npz").exists()
    shown, real = blocks(walk_through(), "text")[0].splitlines(), outputs[2]
    assert shown[0].strip() in real  # the header of the table
    assert "no evidence of an edge" in outputs[3]
    [program] = blocks(walk_through(), "python")
    assert len([line for line in program.splitlines() if line and not line.startswith("import")]) == 5
    printed = run(["python", "-c", program], tmp_path).stdout
    assert "0.05" in printed
    assert "100 paths" in printed


@pytest.mark.slow
@pytest.mark.parametrize("guide", ["forecasting", "evaluation"])
def test_the_programs_of_a_guide_run_one_after_the_other(guide, tmp_path):
    sample = resources.files("kronos.samples") / "simulated_btc_1h.csv"
    for name in ("btc_1h.csv", "eth_1h.csv"):
        shutil.copy(str(sample), tmp_path / name)
    (tmp_path / "candles").mkdir()
    shutil.copy(str(sample), tmp_path / "candles" / "btc_1h.csv")
    programs = [block for block in blocks(GUIDES[guide], "python") if "NeoQuasar" not in block]
    assert len(programs) == {"forecasting": 5, "evaluation": 2}[guide]
    run(["python", "-c", "\n".join(programs)], tmp_path)


def command_lines(text):
    """The ``kronos`` commands in the shell blocks, without their comments."""
    lines = [line.split("  #")[0] for block in blocks(text, "sh") for line in block.splitlines()]
    return [line[line.index("kronos ") :] for line in lines if re.search(r"(?:^|/)kronos ", line)]


@pytest.mark.parametrize("guide", GUIDES)
def test_commands_and_their_options_exist(guide):
    lines = command_lines(GUIDES[guide])
    assert lines
    for line in lines:
        command, words = typer.main.get_command(app), shlex.split(line)[1:]
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
        unknown = [word for word in words if word.startswith("-") and word not in known]
        assert not unknown, f"{line}: {unknown}"


@pytest.mark.parametrize(
    ("guide", "commands"),
    [
        ("forecasting", ("forecast",)),
        ("evaluation", ("evaluate", "calibrate", "forecast")),
        ("mcp", ("mcp",)),
    ],
)
def test_options_in_the_text_exist(guide, commands):
    found = typer.main.get_command(app).commands
    params = [param for name in commands for param in found[name].params]
    known = {option for param in params for option in (*param.opts, *param.secondary_opts)}
    shown = set(re.findall(r"`(--[a-z][a-z-]*)", GUIDES[guide]))
    assert shown
    assert shown <= known


def test_the_guides_list_what_the_code_has():
    from kronos.baselines import BASELINES
    from kronos.calibration import PARTS
    from kronos.inference import PRESETS

    baselines = GUIDES["evaluation"].split("### Baselines")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", baselines, re.MULTILINE) == list(BASELINES)
    parts = GUIDES["evaluation"].split("| part |")[1].split("\n\n")[0]
    assert re.findall(r"^\| ([a-z]+) \|", parts, re.MULTILINE) == list(PARTS)
    presets = GUIDES["forecasting"].split("| preset |")[1].split("\n\n")[0]
    assert set(re.findall(r"`([a-z-]+)`", presets)) == set(PRESETS)

"""The guide to many series: its walk-through runs as it stands, and options, files and columns are the code's."""

import re

import pandas as pd
import pytest
import typer

from docs.running import ROOT, blocks, run
from kronos.batch.plan import HISTORY, SHARD
from kronos.cli import app

GUIDE = (ROOT / "docs" / "scaling.md").read_text("utf-8")
WALK = GUIDE.split("<!-- walk-through:")[1].split("<!-- end of walk-through -->")[0]


@pytest.mark.slow
def test_the_walk_through_and_the_program(tmp_path):
    lines = [line for block in blocks(WALK, "sh") for line in block.strip().splitlines()]
    assert [line.split()[1] for line in lines] == ["data"] * 3 + ["batch"] * 3
    outputs = [run(line, tmp_path).stdout for line in lines]
    assert "nothing was forecast" in outputs[3]
    assert "3 forecasts of 3 series" in outputs[4]
    assert "SIMULATED" in outputs[4]
    table = pd.read_parquet(tmp_path / "out" / "latest" / "forecasts")
    named = re.findall(r"`(\w+)`", GUIDE.split("one row per step:")[1].split("\n`--quantile`")[0])
    assert set(named) <= set(table.columns)
    assert {name for name in table.columns if not name.startswith("close_q")} <= set(named)
    files = set(re.findall(r"^\| `([\w.]+)` \|", GUIDE.split("## Output")[1].split("\n## ")[0], re.MULTILINE)) - {
        "last_close"
    }
    assert files - {"skipped.csv"} == {path.name for path in (tmp_path / "out" / "latest").iterdir() if path.is_file()}
    again = run(lines[4], tmp_path).stdout
    assert "3 of them by earlier runs" in again
    program = blocks(GUIDE, "python")[1]
    (tmp_path / "program.py").write_text(program)
    assert run("python program.py", tmp_path).stdout.split()[1] == "0"


def test_options_and_numbers():
    command = typer.main.get_command(app).commands["batch"]
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    batches, gpus = GUIDE.split("## GPUs")
    source = (ROOT / "benchmarks" / "gpu.py").read_text("utf-8")
    measuring = set(re.findall(r'add_argument\("(--[a-z-]+)"', source))
    assert set(re.findall(r"`(--[a-z][a-z-]*)", batches)) <= known
    assert set(re.findall(r"`[^`\n]*?(--[a-z][a-z-]*)", gpus.split("\n## ")[0])) <= known | measuring
    assert f"at most {SHARD} forecasts per worker" in GUIDE
    assert f"Only the last {HISTORY} candles" in GUIDE

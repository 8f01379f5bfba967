"""The backtesting guide: its walk-through runs as it stands, and its tables are the code's."""

import re

import pytest
import typer

from docs.running import ROOT, blocks, run
from kronos.backtest.config import BacktestConfig, StrategyName, load_backtest_config
from kronos.backtest.signals import SIGNALS
from kronos.backtest.trials import TrialsLog
from kronos.cli import app

GUIDE = (ROOT / "docs" / "backtesting.md").read_text("utf-8")
WALK = GUIDE.split("<!-- walk-through:")[1].split("<!-- end of walk-through -->")[0]


# Forecasts of a few steps and comparisons with a few random signals: the lines are those of the guide.
SMALL = {
    "KRONOS_BACKTEST__SIGNALS__HORIZON": "3",
    "KRONOS_BACKTEST__SIGNALS__SAMPLES": "2",
    "KRONOS_BACKTEST__STUDY__RANDOM_SIGNALS": "5",
    "KRONOS_BACKTEST__STUDY__REPETITIONS": "100",
}


def first_cells(section):
    rows = GUIDE.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_walk_through(tmp_path):
    lines = [line for block in blocks(WALK, "sh") for line in block.strip().splitlines()]
    assert [line.split()[1] for line in lines] == ["data", "train", "backtest", "backtest", "backtest"]
    outputs = [run(line, tmp_path, **SMALL).stdout for line in lines]
    assert "SIMULATED" in " ".join(outputs[3].split())
    folder = tmp_path / "out" / "backtest"
    assert len(TrialsLog(folder / "signals")) == 4
    assert len(list(folder.glob("signals/*/signals.parquet"))) == 1  # computed once
    names = re.findall(r"`([\w.-]+\.(?:html|json|parquet))`", GUIDE.split("then holds:")[1].split("\n## ")[0])
    assert {name for name in names if not name.startswith("signals")} == {
        path.name for path in folder.iterdir() if path.is_file()
    }


def test_options_exist():
    command = typer.main.get_command(app).commands["backtest"]
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    pipeline = typer.main.get_command(app).commands["pipeline"]
    known |= {option for param in pipeline.params for option in (*param.opts, *param.secondary_opts)}
    shown = set(re.findall(r"`(--[a-z][a-z-]*)", GUIDE))
    shown |= {word for block in blocks(GUIDE, "sh") for line in block.splitlines() if line.startswith("kronos backtest")
              for word in line.split() if word.startswith("--")}  # fmt: skip
    assert shown <= known


def test_tables_are_those_of_the_code():
    assert first_cells("Signals") == list(SIGNALS)
    assert set(first_cells("Strategies and rules")) == set(StrategyName.__args__)
    fields = BacktestConfig.model_fields
    sections = first_cells("Configurations")
    assert set(sections) | {"description", "output"} == set(fields)
    for section in sections:
        row = re.search(rf"^\| `{section}` \| (.*) \|$", GUIDE.split("## Configurations")[1], re.MULTILINE)[1]
        assert re.findall(r"`(\w+)`", row) == list(fields[section].annotation.model_fields), section


@pytest.mark.parametrize("name", ["backtest_csi300", "backtest_us_daily"])
def test_the_configurations_that_it_names_ship(name):
    assert name in GUIDE
    assert load_backtest_config(name, environment={}).data.paths

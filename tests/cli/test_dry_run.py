"""``--dry-run`` writes nothing, whatever the command, and refuses what the run would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from training.recipes import small, write_candles, write_checkpoint


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A working folder with candles, a checkpoint and a configuration of each kind."""
    monkeypatch.chdir(tmp_path)
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    write_checkpoint(tmp_path / "start")
    write_candles(tmp_path / "walk_1h.csv")
    small(tmp_path, model_name="Training").save(tmp_path / "training.yaml")
    dataset = {
        "model_name": "Whole",
        "target_symbols": ["BTC-USDT_1H"],
        "records_per_timeframe": 400,
        "windows": {"lookback": 16, "predict": 4},
        "start": "start",
        "stages": ["model"],
        "training": {"batch_size": 4, "epochs": 1, "steps_per_epoch": 2, "device": "cpu"},
    }
    (tmp_path / "whole.yaml").write_text(yaml.safe_dump(dataset))
    return tmp_path


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """All files and folders with size and time of change."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size if path.is_file() else -1, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


COMMANDS = [
    ("train", "model", "--data", "walk_1h.csv", "--start", "start", "--lookback", "16", "--predict", "4"),
    ("train", "tokenizer", "--data", "walk_1h.csv", "--start", "start", "--lookback", "16", "--predict", "4"),
    ("train", "run", "training.yaml"),
    ("pipeline", "whole.yaml", "--source", "simulated"),
    ("data", "prepare", "--config", "whole.yaml", "--source", "simulated"),
    ("evaluate", "walk_1h.csv", "--model", "start", "--horizon", "4", "--samples", "2", "--max-origins", "2"),
]


@pytest.mark.parametrize("json", [(), ("--json",)])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[:2]))
def test_nothing_is_written(invoke, workplace, command, json):
    before = tree(workplace)
    result = invoke(*command, "--dry-run", *json)
    assert result.exit_code == 0, result.output
    assert result.stdout
    assert tree(workplace) == before


@pytest.mark.parametrize("command", [("pipeline", "whole.yaml"), ("data", "prepare", "--config", "whole.yaml")])
def test_sources_that_do_not_exist_are_refused(invoke, workplace, command):
    pytest.importorskip("ccxt")
    result = invoke(*command, "--source", "okxx", "--dry-run")
    assert result.exit_code == 2
    assert "okx" in result.stderr

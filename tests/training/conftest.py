"""Candles that all training tests share."""

from pathlib import Path

import pytest

from training.runs import write_walk


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of a random walk; its candle cache lies in the same folder."""
    return write_walk(tmp_path_factory.mktemp("candles") / "walk.csv")


@pytest.fixture
def clean_folder(tmp_path, monkeypatch) -> Path:
    """The current folder is empty, and the environment has no settings of torchrun or Kronos."""
    monkeypatch.chdir(tmp_path)
    for name in ("WORLD_SIZE", "RANK", "KRONOS_OUTPUT_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path

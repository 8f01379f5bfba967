"""Candles that every training test may use."""

from pathlib import Path

import pytest

from training.runs import write_walk


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file with a random walk; its store is kept beside it."""
    return write_walk(tmp_path_factory.mktemp("candles") / "walk.csv")

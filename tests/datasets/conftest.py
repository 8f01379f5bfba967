"""Folders of random walks for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest


def walk(seed: int, rows: int, start: str = "2024-01-01", freq: str = "h") -> pd.DataFrame:
    """Candles of a Gaussian random walk in which every column changes."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    opened = np.concatenate([[100.0], close[:-1]]) * np.exp(rng.normal(0, 1e-3, rows))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 2e-3, rows)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 2e-3, rows)))
    volume = rng.lognormal(3, 1, rows)
    frame = pd.DataFrame({"open": opened, "high": high, "low": low, "close": close, "volume": volume})
    frame["amount"] = volume * (opened + close) / 2
    frame.insert(0, "timestamps", pd.date_range(start, periods=rows, freq=freq))
    return frame


class Folder:
    """A folder of candle files, with a cache next to it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.cache = place.parent / "cache"

    def add(self, name: str, frame: pd.DataFrame) -> Path:
        """Write a file; its ending is its format, its sub-folder the market."""
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path)
        return path

    def several(self) -> Folder:
        """Add three instruments of different length, in two markets."""
        for number, (name, rows) in enumerate({"a/one": 900, "a/two": 300, "b/three": 600}.items()):
            self.add(f"{name}.parquet", walk(number, rows))
        return self


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder of candles."""
    return Folder(tmp_path / "candles")


@pytest.fixture(scope="session")
def new_folder():
    """The class, for tests that need several folders."""
    return Folder


@pytest.fixture(scope="session")
def walked():
    """The function that makes random walks."""
    return walk

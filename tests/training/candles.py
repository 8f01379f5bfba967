"""Small training data, networks and trainings for tests of comparisons."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kronos.datasets.batching import batches
from kronos.datasets.training_data import TrainingData, WindowSettings, open_training_data
from kronos.datasets.windows import WindowDataset
from kronos.inference import KronosPredictor
from kronos.nn import KronosTokenizer
from kronos.training.objectives import ModelObjective, Objective, TokenizerObjective

WINDOWS = WindowSettings(lookback=32, predict=4)


def write_walk(path: Path, seed: int, rows: int = 1500, freq: str = "h", start: str = "2024-01-01") -> Path:
    """Write a random walk with alternating volatility as a CSV file."""
    rng = np.random.default_rng(seed)
    volatility = 0.004 * (1 + 0.7 * np.sin(np.arange(rows) / 40))
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1, rows) * volatility))
    opens = np.concatenate([[100.0], close[:-1]])
    high, low = np.maximum(opens, close) * (1 + volatility / 3), np.minimum(opens, close) * (1 - volatility / 3)
    volume = rng.lognormal(3, 1, rows)
    table = pd.DataFrame({"open": opens, "high": high, "low": low, "close": close, "volume": volume})
    table.insert(0, "timestamps", pd.date_range(start, periods=rows, freq=freq))
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    return path


def open_walk(path: Path, cache: Path) -> TrainingData:
    return open_training_data(path, windows=WINDOWS, cache=cache, quality="none")


def trained_tokenizer(tokenizer: KronosTokenizer, data: TrainingData, steps: int) -> KronosTokenizer:
    """A copy of a tokenizer after a short training."""
    objective = TokenizerObjective(copy.deepcopy(tokenizer))
    _fit(objective, data, steps)
    return objective.network


def trained_model(
    predictor: KronosPredictor, data: TrainingData, steps: int, *, noise: bool = False
) -> KronosPredictor:
    """A copy of a model after a short training on the candles, or on noise."""
    objective = ModelObjective(copy.deepcopy(predictor.model), predictor.tokenizer, teacher_forcing=True)
    _fit(objective, data, steps, noise=noise)
    return KronosPredictor(objective.network, predictor.tokenizer, device="cpu", max_context=predictor.max_context)


def _fit(objective: Objective, data: TrainingData, steps: int, *, noise: bool = False) -> None:
    optimizer = torch.optim.AdamW(objective.network.parameters(), lr=3e-3)
    dataset = WindowDataset(data, "train", WINDOWS, samples=16 * steps)
    rng = torch.Generator().manual_seed(1)
    objective.network.train()
    for batch in batches(dataset, 16, drop_last=True):
        if noise:
            batch.x[:] = torch.randn(batch.x.shape, generator=rng) * 2
        optimizer.zero_grad()
        objective.losses(batch, training=True).total.backward()
        optimizer.step()
    objective.network.eval()

"""What is put in: candles of a random walk, and networks with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.plans import Architecture
from kronos.candles import COLUMNS, Candles
from kronos.inference import KronosPredictor, Precision
from kronos.nn import Kronos, KronosTokenizer

SEED = 1


def random_candles(rows: int, symbol: str = "WALK", seed: int = 0) -> Candles:
    """Hourly candles of a market that never closes."""
    random = np.random.default_rng(seed)
    walk = 100 * np.exp(np.cumsum(random.normal(0, 0.01, rows + 1)))
    opens, closes = walk[:-1], walk[1:]
    high = np.maximum(opens, closes) * (1 + random.exponential(0.003, rows))
    low = np.minimum(opens, closes) / (1 + random.exponential(0.003, rows))
    volume = random.lognormal(8, 0.5, rows)
    values = np.stack((opens, high, low, closes, volume, volume * (opens + high + low + closes) / 4), axis=-1)
    index = pd.date_range("2025-01-01", periods=rows, freq="h", name="timestamps")
    return Candles.from_frame(pd.DataFrame(values, index, list(COLUMNS)), symbol=symbol, calendar="24/7")


def random_networks(architecture: Architecture) -> tuple[Kronos, KronosTokenizer]:
    """A model and a tokenizer of that architecture, in evaluation mode."""
    torch.manual_seed(SEED)
    model, tokenizer = Kronos(**architecture.model), KronosTokenizer(**architecture.tokenizer)
    return model.eval(), tokenizer.eval()


def random_predictor(architecture: Architecture, precision: Precision = "exact") -> KronosPredictor:
    """Both, ready to forecast on the CPU."""
    model, tokenizer = random_networks(architecture)
    return KronosPredictor(model, tokenizer, "cpu", architecture.context, precision=precision)


def save_networks(architecture: Architecture, folder: Path) -> Path:
    """Write both as checkpoints under ``folder``; returns the model's own folder."""
    model, tokenizer = random_networks(architecture)
    tokenizer.save_pretrained(folder / "tokenizer")
    return model.save_pretrained(folder / "model", context=architecture.context, tokenizer="../tokenizer")

"""Instruments of random walks, and a model with random weights, for tests of signals."""

import numpy as np
import pandas as pd
import torch

from kronos.candles import Candles
from kronos.evaluation.origins import Instrument
from kronos.inference import KronosPredictor
from kronos.intervals import Interval
from networks import random_model, random_tokenizer


def predictor() -> KronosPredictor:
    torch.manual_seed(0)
    return KronosPredictor(random_model(1), random_tokenizer(2), "cpu", max_context=64)


def candles(name: str, rows: int = 60, *, start: str = "2024-01-01", seed: int = 0) -> Candles:
    """Daily candles of a random walk on business days."""
    random = np.random.default_rng([seed, *name.encode()])
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.02, rows)))
    opened = np.concatenate([[50.0], close[:-1]])
    frame = pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * 1.005,
            "low": np.minimum(opened, close) * 0.995,
            "close": close,
            "volume": random.integers(1000, 9000, rows).astype(float),
        },
        index=pd.bdate_range(start, periods=rows, name="timestamps"),
    )
    frame["amount"] = frame["volume"] * frame["close"]
    return Candles(frame, name, Interval.parse("1d"))


def instruments(count: int = 3, rows: int = 60, market: str = "us_equity") -> list[Instrument]:
    return [Instrument(name, market, candles(name, rows)) for name in (f"S{i}" for i in range(count))]

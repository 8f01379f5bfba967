"""Simulated candles for tests."""

import numpy as np
import pandas as pd

from kronos import Candles


def random_walk(seed: int, index: pd.DatetimeIndex) -> pd.DataFrame:
    """A random walk of valid candles at given times, with volume."""
    rng = np.random.default_rng(seed)
    rows = len(index)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    opened = np.concatenate(([100.0], close[:-1]))
    spread = 1 + rng.uniform(0, 0.01, (2, rows))
    return pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * spread[0],
            "low": np.minimum(opened, close) / spread[1],
            "close": close,
            "volume": rng.uniform(1, 10, rows),
        },
        index=index,
    )


def hourly_walk(seed: int, rows: int, symbol: str | None = None) -> Candles:
    """A random walk of valid hourly candles."""
    return Candles.from_frame(random_walk(seed, pd.date_range("2024-01-01", periods=rows, freq="h")), symbol=symbol)

"""Simulated candles for tests."""

import numpy as np
import pandas as pd

from kronos import Candles


def hourly_walk(seed: int, rows: int, symbol: str | None = None) -> Candles:
    """A random walk of valid hourly candles."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    opened = np.concatenate(([100.0], close[:-1]))
    spread = 1 + rng.uniform(0, 0.01, (2, rows))
    frame = pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * spread[0],
            "low": np.minimum(opened, close) / spread[1],
            "close": close,
            "volume": rng.uniform(1, 10, rows),
        },
        index=pd.date_range("2024-01-01", periods=rows, freq="h"),
    )
    return Candles.from_frame(frame, symbol=symbol)

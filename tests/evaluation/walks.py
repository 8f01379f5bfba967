"""Random walks to evaluate on, and forecasters that know them well, badly, or too well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.candles import Candles
from kronos.evaluation.plan import Instrument
from kronos.forecasts import Forecast, ForecastMetadata

SIGMA = 0.01


def candles(seed: int, rows: int = 600, start: str = "2024-01-01", freq: str = "h") -> Candles:
    """Closes of a Gaussian random walk without drift."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, SIGMA, rows)))
    opened = np.concatenate([[100.0], close[:-1]])
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    table = pd.DataFrame({"open": opened, "high": high, "low": low, "close": close, "volume": 1.0})
    table.index = pd.date_range(start, periods=rows, freq=freq, name="timestamps")
    return Candles.from_frame(table, symbol=f"walk-{seed}", interval="1h")


def instruments(count: int = 3, rows: int = 600, market: str = "walks") -> list[Instrument]:
    """Independent walks."""
    return [Instrument(f"walk-{seed}", market, candles(seed, rows)) for seed in range(count)]


@dataclass
class Walker:
    """Forecasts a random walk whose steps are ``width`` times as wide as the truth's.

    Attributes:
        futures: What will come, by name; with them it cheats.
        calls: How often it was asked.
        fails_after: Raise after so many calls.
    """

    name: str = "walker"
    width: float = 1.0
    futures: dict[str, np.ndarray] | None = None
    fails_after: int | None = None
    calls: int = 0

    description = "a random walk"

    def identity(self):
        return {"name": self.name, "width": self.width}

    def forecast(self, histories, times, *, samples, seed):
        self.calls += 1
        if self.fails_after is not None and self.calls > self.fails_after:
            raise RuntimeError("killed")
        return {name: self._one(name, history, times[name], samples, seed) for name, history in histories.items()}

    def _one(self, name, history, times, samples, seed):
        rng = np.random.default_rng([seed, *name.encode()])
        logs = np.cumsum(rng.normal(0, SIGMA * self.width, (samples, len(times))), axis=1)
        if self.futures is not None:
            logs = np.repeat(self.futures[name][None], samples, axis=0)
        close = history.frame["close"].iloc[-1] * np.exp(logs)
        opened = np.concatenate([np.full((samples, 1), history.frame["close"].iloc[-1]), close[:, :-1]], axis=1)
        parts = [opened, np.maximum(opened, close), np.minimum(opened, close), close, close * 0, close * 0]
        return Forecast(np.stack(parts, axis=-1), times, history, ForecastMetadata(self.name))

"""Random walks to evaluate on, and forecasters of known quality: correct, overconfident, or clairvoyant."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.candles import Candles
from kronos.evaluation.origins import Instrument
from kronos.forecasts import Forecast, ForecastMetadata

SIGMA = 0.01


def candles(seed: int, rows: int = 600, start: str = "2024-01-01", freq: str = "h") -> Candles:
    """Candles of a Gaussian random walk without drift."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, SIGMA, rows)))
    opened = np.concatenate([[100.0], close[:-1]])
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    table = pd.DataFrame({"open": opened, "high": high, "low": low, "close": close, "volume": 1.0})
    table.index = pd.date_range(start, periods=rows, freq=freq, name="timestamps")
    return Candles.from_frame(table, symbol=f"walk-{seed}", interval="1h")


def instruments(count: int = 3, rows: int = 600, market: str = "walks") -> list[Instrument]:
    """Independent random walks."""
    return [Instrument(f"walk-{seed}", market, candles(seed, rows)) for seed in range(count)]


@dataclass
class GaussianForecaster:
    """Forecasts a Gaussian random walk whose standard deviation is ``width`` times the true one.

    Attributes:
        name: Name of the forecaster.
        width: Factor of the standard deviation.
        futures: Actual returns by origin; if given, they are the forecast.
        fails_after: Number of calls after which it raises an error.
        calls: Number of calls.
    """

    name: str = "gaussian"
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
        return {name: self._forecast(name, history, times[name], samples, seed) for name, history in histories.items()}

    def _forecast(self, name, history, times, samples, seed):
        rng = np.random.default_rng(np.array([seed, *name.encode()], dtype=np.uint32))  # a list takes numpy longer
        logs = np.cumsum(rng.normal(0, SIGMA * self.width, (samples, len(times))), axis=1)
        if self.futures is not None:
            logs = np.repeat(self.futures[name][None], samples, axis=0)
        last = history.frame["close"].iloc[-1]
        close = last * np.exp(logs)
        opened = np.concatenate([np.full((samples, 1), last), close[:, :-1]], axis=1)
        parts = [opened, np.maximum(opened, close), np.minimum(opened, close), close, close * 0, close * 0]
        return Forecast(np.stack(parts, axis=-1), times, history, ForecastMetadata(self.name))


@dataclass
class KilledForecaster(GaussianForecaster):
    """Ends its own process, like the operating system when memory runs out."""

    def forecast(self, histories, times, *, samples, seed):
        os._exit(9)

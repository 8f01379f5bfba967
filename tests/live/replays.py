"""Recordings, faulty sources and small configurations for tests of the live forecaster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.candles import Candles
from kronos.engines import Engine
from kronos.errors import SourceError
from kronos.intervals import Interval
from kronos.live.clock import Clock, ReplayClock
from kronos.live.config import LiveConfig
from kronos.live.cycle import Cycle
from kronos.live.feed import MarketFeed
from kronos.live.forecaster import load_forecaster
from kronos.live.record import Record
from kronos.sources.base import CandleRange, LocalSource
from kronos.sources.replay import Recording, Replay
from kronos.sources.simulation import SimulatedSource

HOUR = Interval(1, "h")
START = pd.Timestamp("2026-03-01", tz="UTC")


def recorded_candles(symbol: str = "BTCUSDT", hours: int = 24 * 40, seed: int = 0) -> Candles:
    """Simulated candles that pass for real ones, so that they are recorded as such."""
    source = SimulatedSource(seed, clock=lambda: START + pd.Timedelta(hours=hours + 1))
    candles = source.candles(symbol, HOUR, start=START, end=START + pd.Timedelta(hours=hours))
    return replace(candles, simulated=False, symbol=symbol, source="exchange", findings=())


def replay(at: str | pd.Timestamp, *symbols: str, hours: int = 24 * 40, speed: float = 0.0) -> Replay:
    """A replay whose clock stands at a time."""
    series = {(symbol, "1h"): recorded_candles(symbol, hours) for symbol in symbols or ("BTCUSDT",)}
    return Replay(Recording(series), at=pd.Timestamp(at), speed=speed)


@dataclass
class FaultySource(LocalSource):
    """A replay that can fail, lag, revise and lose candles.

    Attributes:
        replay: The candles and the clock.
        name: Name of the source.
        down: Whether it fails now, given its time.
        holes: Opening times of candles that it does not have.
        revised: New closes by opening time, from a time on.
        skew: Seconds that its clock is ahead.
    """

    replay: Replay
    name: str = "exchange"
    down: Callable[[pd.Timestamp], bool] = lambda _: False
    holes: set[pd.Timestamp] = field(default_factory=set)
    revised: dict[pd.Timestamp, tuple[pd.Timestamp, float]] = field(default_factory=dict)
    skew: float = 0.0

    @property
    def simulated(self) -> bool:
        return False

    def now(self) -> pd.Timestamp:
        moment = self.replay.now()
        if self.down(moment):
            raise SourceError(f"{self.name} cannot be reached.")
        return moment + pd.Timedelta(seconds=self.skew)

    def intervals(self, symbol: str) -> Any:
        return self.replay.intervals(symbol)

    def _select(self, symbol: str, interval: Interval, requested: CandleRange) -> Candles:
        now = self.now() - pd.Timedelta(seconds=self.skew)
        candles = self.replay.candles(
            symbol, interval, start=requested.start, end=requested.end, records=requested.records
        )
        frame = candles.frame.copy()
        for opened, (since, close) in self.revised.items():
            if now >= since and opened in frame.index:
                frame.loc[opened, "close"] = close
                frame.loc[opened, "high"] = max(frame.loc[opened, "high"], close)
                frame.loc[opened, "low"] = min(frame.loc[opened, "low"], close)
        frame = frame[~frame.index.isin(list(self.holes))]
        return replace(candles, frame=frame, source=self.name)


def make_config(folder: Path, **sections: dict[str, Any]) -> LiveConfig:
    """A configuration without a model: a baseline in its place, and another beside it."""
    values: dict[str, dict[str, Any]] = {
        "model": {"model_name": "ewma-volatility"},
        "sampling": {"num_samples": 8},
        "data": {
            "source": "exchange",
            "symbol": "BTCUSDT",
            "history_window": 72,
            "forecast_horizon": 6,
            "volatility_window": 12,
        },
        "output": {"folder": str(folder / "page")},
        "record": {"folder": str(folder / "record"), "baselines": "historical-volatility"},
    }
    for name, section in sections.items():
        values.setdefault(name, {}).update(section)
    return LiveConfig.model_validate(values)


@contextmanager
def open_world(
    config: LiveConfig, *sources: Any, clock: Clock | None = None, engine: Engine | None = None
) -> Iterator[tuple[Cycle, Record]]:
    """Open a cycle over some sources; the clock is that of the first one."""
    first = sources[0].replay if isinstance(sources[0], FaultySource) else sources[0]
    clock = ReplayClock(first) if clock is None else clock
    fallback = SimulatedSource(clock=clock.now) if config.data.simulated_fallback else None
    with Record.open(config.record.database) as record:
        forecasters = [load_forecaster(name, config) for name in config.model.model_name]
        yield Cycle(config, MarketFeed(sources, clock, fallback), clock, record, forecasters, engine), record


def closes_of(candles: Candles) -> np.ndarray:
    """Closes of candles."""
    return candles.frame["close"].to_numpy()

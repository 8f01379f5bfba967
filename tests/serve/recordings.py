"""Recorded candles, and servers that replay them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from kronos.candles import Candles
from kronos.intervals import Interval
from kronos.serve.state import build_state
from kronos.sources.replay import Replay
from serve.servers import RunningServer, run_server, settings_in
from sources.market_data import walk

START = "2025-03-01"
SHORT = 7  # fewer candles than the bundled model needs


def recorded(symbol: str, count: int = 700, *, seed: int = 0, step: str = "1h", **document: Any) -> Candles:
    """Candles of a random walk."""
    document = {"source": "a notebook", **document}
    frame = walk(START, count, step, seed=seed, price=100.0 * (seed + 1))
    return Candles(frame=frame, symbol=symbol, interval=Interval.parse(step), timezone="UTC", **document)


def replay(*series: Candles, at: str | pd.Timestamp | None = None) -> Replay:
    """A source that replays candles at a fixed time, by default after the last of them."""
    recording = {(str(item.symbol), str(item.interval)): item for item in series}
    return Replay(recording, at=None if at is None else pd.Timestamp(at))


@contextmanager
def serve_replay(folder: Path, source: Replay, **serve: Any) -> Iterator[RunningServer]:
    """Run a server that replays recorded candles."""
    settings = settings_in(folder, **serve)
    with run_server(settings, build_state(settings, source=source)) as server:
        yield server

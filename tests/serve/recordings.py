"""Recordings that tests know by heart, and servers whose market is one of them."""

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
from serve.live import Live, served, settings_in
from sources.market_data import walk

START = "2025-03-01"
SHORT = 40  # candles, fewer than the bundled model needs


def recorded(symbol: str, count: int = 700, *, seed: int = 0, step: str = "1h", **told: Any) -> Candles:
    """Candles of a random walk."""
    told = {"source": "a notebook", **told}
    frame = walk(START, count, step, seed=seed, price=100.0 * (seed + 1))
    return Candles(frame=frame, symbol=symbol, interval=Interval.parse(step), timezone="UTC", **told)


def replay(*series: Candles, at: str | pd.Timestamp | None = None) -> Replay:
    """A market that shows these, as known at a time; by default when the last has closed. Its clock stands still."""
    recording = {(str(one.symbol), str(one.interval)): one for one in series}
    return Replay(recording, at=None if at is None else pd.Timestamp(at))


@contextmanager
def serving(folder: Path, source: Replay, **serve: Any) -> Iterator[Live]:
    """A server of a replayed market."""
    settings = settings_in(folder, **serve)
    with served(settings, build_state(settings, source=source)) as server:
        yield server

"""Small records that are valid in every respect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from kronos.live.entries import (
    Entry,
    ForecastEntry,
    LateEntry,
    MissedEntry,
    ProtocolEntry,
    RevisionEntry,
    ScoreEntry,
    UnresolvedEntry,
    encode_paths,
    format_time,
)
from kronos.live.protocol import ProtocolModel, SeriesSettings, series_id
from kronos.live.settlement import score_entry

START = pd.Timestamp("2026-03-01", tz="UTC")
HOUR = pd.Timedelta(hours=1)
HORIZON, PATHS = 3, 5


def time(hours: float) -> str:
    """The time this many hours after the start."""
    return format_time(START + hours * HOUR)


def protocol(symbol: str = "BTCUSDT", **changes: object) -> ProtocolEntry:
    """A protocol."""
    settings = SeriesSettings(
        symbol=symbol,
        interval="1h",
        sources=("replay",),
        simulated=False,
        model=ProtocolModel("random-walk"),
        sampling={"paths": PATHS},
        seed=0,
        history=100,
        horizon=HORIZON,
        volatility_window=24,
        baselines=("garch",),
        late_after=0.25,
        stop_after=None,
    )
    content = replace(settings, **changes).to_dict()
    return ProtocolEntry(series_id(content), "", time(0), content)


SERIES = protocol().series


def forecast(hour: int, series: str = SERIES, *, late: bool = False) -> ForecastEntry:
    """A forecast ``hour`` hours after the start; the same one each time."""
    rng = np.random.default_rng(hour + 100)
    paths = {name: encode_paths(rng.normal(0, 0.01, (PATHS, HORIZON)).cumsum(axis=1)) for name in ("raw", "garch")}
    chances = {name: [0.4, 0.1, 0.8] for name in paths}
    written = time(hour + (0.4 if late else 0.01))
    kind = LateEntry if late else ForecastEntry
    return kind(
        series=series,
        origin=time(hour),
        made_at=written,
        server_time=written,
        source="replay",
        simulated=False,
        last_close=100.0 + hour,
        sigma=0.01,
        recent_volatility=0.01,
        times=[time(hour + k) for k in range(HORIZON)],
        paths=paths,
        probabilities={"upside": chances, "amplification": chances},
        history={"candles": 100, "first": time(hour - 100), "sha256": "0" * 64, "findings": []},
        seed=hour,
        versions={"kronos": "0.1.0"},
    )


def missed(hour: int, series: str = SERIES) -> MissedEntry:
    """An origin without a forecast."""
    return MissedEntry(series, time(hour), time(hour + 1.5), "the forecaster was not running: 停电 \ud800")


def score(entry: ForecastEntry) -> ScoreEntry:
    """The score of a forecast."""
    hours = [int((pd.Timestamp(moment) - START) / HOUR) for moment in entry.times]
    closes = [
        101.0 + hour + float(np.random.default_rng(hour + 1_000).normal()) for hour in hours
    ]  # one market for all
    candles = [[moment, close, close + 1, close - 1, close] for moment, close in zip(entry.times, closes, strict=True)]
    fetched = format_time(pd.Timestamp(entry.times[-1]) + HOUR)
    return score_entry(entry, candles, fetched_at=fetched, made_at=fetched)


def unresolved(entry: ForecastEntry) -> UnresolvedEntry:
    """A forecast whose last candle the source does not have."""
    return UnresolvedEntry(entry.series, entry.origin, time(1000), "no such candle", [entry.times[-1]])


def revision(entry: ScoreEntry) -> RevisionEntry:
    """A change of the first candle of a score."""
    opened, *prices = entry.candles[0]
    return RevisionEntry(entry.series, opened, time(1000), "replay", time(1000), prices, [*prices[:3], 1.0])


def entries() -> list[Entry]:
    """Entries of all kinds in two series."""
    other = protocol("ETHUSDT")
    return [
        protocol(),
        forecast(0),
        forecast(1, late=True),
        missed(2),
        other,
        forecast(3),
        forecast(2, other.series),
        score(forecast(0)),
        forecast(4),
        unresolved(forecast(3)),
        revision(score(forecast(0))),
        forecast(5),
        score(forecast(2, other.series)),
    ]

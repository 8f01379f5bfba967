"""A record of some days and the cycle that follows it, for tests of the published pages; no model is needed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import uvicorn

from kronos.candles import Candles
from kronos.live.config import LiveConfig
from kronos.live.cycle import CycleResult, LiveSeries
from kronos.live.entries import (
    Entry,
    LateEntry,
    MissedEntry,
    ScoreEntry,
    UnresolvedEntry,
    candles_digest,
    format_time,
)
from kronos.live.feed import FetchedCandles
from kronos.live.forecaster import LiveBaseline, forecast_all, forecast_entry
from kronos.live.page import write_site
from kronos.live.protocol import SeriesSettings
from kronos.live.scoring import score_forecast
from kronos.live.server import server_config
from kronos.live.track_record import TrackRecordData
from kronos.sources.base import closing_time
from live.replays import HOUR, make_config, recorded_candles

HEAD = (1041, "5e" * 32)
HISTORY, HORIZON = 120, 12
LATE, MISSED, UNRESOLVED = 3, 7, 11  # origins of the record that went wrong
Past = tuple[Entry, Entry | None]


@dataclass
class Site:
    """A site in a folder, and everything that it is made of.

    Attributes:
        config: The configuration.
        result: What the latest cycle did.
        recent: Origins with their outcomes.
        track: Figures of the track record.
        now: Time of the cycle.
    """

    config: LiveConfig
    result: CycleResult
    recent: list[Past]
    track: Mapping[str, Any]
    now: pd.Timestamp

    @property
    def folder(self) -> Path:
        return self.config.output.folder

    def to_dict(self) -> dict[str, Any]:
        return dict(self.track)

    def write(self, *others: Site) -> list[Path]:
        """Write this series at the root, and others beside it."""
        sites = (self, *others)
        return write_site(
            self.config,
            [site.result for site in sites],
            {site.result.series.id: site for site in sites if site.track},
            {site.result.series.id: site.recent for site in sites},
            HEAD,
            self.now,
        )


def make_site(folder: Path, *, symbol: str = "BTCUSDT", simulated: bool = False, **sections: Any) -> Site:
    """A site after a record of fifty hours, with an origin that is late, one that is missed and one unresolved."""
    config = make_config(
        folder,
        model={"model_name": "historical-volatility"},
        sampling={"num_samples": 40},
        data={"symbol": symbol, "history_window": HISTORY, "forecast_horizon": HORIZON},
        **sections,
    )
    recent, result = _record(symbol, simulated)
    now = pd.Timestamp(recent[-1][0].made_at)  # type: ignore[attr-defined]
    data = TrackRecordData(result.series.protocol)
    data.extend(origin for origin, _ in recent)
    data.extend(outcome for _, outcome in recent if outcome is not None)
    return Site(config, result, list(recent), data.summarize().to_dict(), now)


@cache
def _record(symbol: str, simulated: bool) -> tuple[list[Past], CycleResult]:
    hours = HISTORY + 50
    candles = replace(recorded_candles(symbol, hours), simulated=simulated, symbol=symbol)
    config = make_config(
        Path("unused"), sampling={"num_samples": 40}, data={"history_window": HISTORY, "forecast_horizon": HORIZON}
    )
    forecaster = LiveBaseline("historical-volatility", config)
    settings = SeriesSettings(
        symbol=symbol,
        interval="1h",
        sources=("exchange",),
        simulated=simulated,
        model=forecaster.identity,
        sampling={"temperature": 1.0, "top_p": 1.0, "paths": 40},
        seed=0,
        history=HISTORY,
        horizon=HORIZON,
        volatility_window=12,
        baselines=("historical-volatility",),
        late_after=0.25,
        stop_after=None,
    )
    series = LiveSeries(symbol, forecaster, settings.to_dict())
    pairs: list[Past] = []
    for number, end in enumerate(range(HISTORY, hours + 1)):
        pairs.append(_origin(number, candles.head(end), candles, series, config))
    entry = pairs[-1][0]
    known = candles
    origin = closing_time(known.end, HOUR)
    live = forecast_all(forecaster, {symbol: known}, origin, config)[0][symbol]
    made = origin + pd.Timedelta("7s")
    fetched = FetchedCandles(known, "exchange", simulated, made, made, False, {})
    return pairs, CycleResult(series, "forecast", origin, live, entry, fetched, [entry])  # type: ignore[arg-type]


def _origin(number: int, known: Candles, candles: Candles, series: LiveSeries, config: LiveConfig) -> Past:
    """One origin of the record, and its outcome once its candles have closed."""
    origin = closing_time(known.end, HOUR)
    made = origin + pd.Timedelta("7s")
    if number == MISSED:
        reason = "no forecast was made before its next candle closed"
        return MissedEntry(series.id, format_time(origin), format_time(made + HOUR.delta), reason), None
    live = forecast_all(series.forecaster, {series.symbol: known}, origin, config)[0][series.symbol]
    entry = forecast_entry(
        live,
        series=series.id,
        origin=origin,
        made_at=made,
        server_time=made,
        source="exchange",
        volatility_window=12,
        late=number == LATE,
    )
    end = len(known) + HORIZON
    if end > len(candles) or isinstance(entry, LateEntry):
        return entry, None
    settled = format_time(origin + HORIZON * HOUR.delta)
    if number == UNRESOLVED:
        reason = "exchange does not have all candles"
        return entry, UnresolvedEntry(series.id, entry.origin, settled, reason, [entry.times[3]])
    frame = candles.frame.iloc[len(known) : end]
    rows = [[format_time(time), *map(float, row)] for time, *row in frame.iloc[:, :4].itertuples()]
    outcome, scores = score_forecast(entry, rows)
    score = ScoreEntry(
        series.id, entry.origin, settled, "exchange", settled, rows, candles_digest(rows), outcome, scores
    )
    return entry, score


@contextmanager
def run_server(config: LiveConfig) -> Iterator[str]:
    """Serve a configuration on a free port of loopback."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(server_config(config))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < until
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()

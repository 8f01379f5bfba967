"""Records of simulated forecasts and their scores, as long as months of hourly cycles make them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from kronos.live.entries import (
    Entry,
    ForecastEntry,
    ProtocolEntry,
    ScoreEntry,
    decode_paths,
    encode_paths,
    format_time,
)
from kronos.live.protocol import ProtocolModel, SeriesSettings, series_id
from kronos.live.settlement import score_entry
from kronos.typing import FloatArray

HORIZON, PATHS, CONTENDERS = 24, 30, ("calibrated", "raw", "random_walk", "garch")
_START = pd.Timestamp("2026-01-01", tz="UTC")
_HOUR = pd.Timedelta(hours=1)
_VOLATILITY, _CLOSE = 0.005, 60_000.0
_PROTOCOL = SeriesSettings(
    symbol="BTCUSDT",
    interval="1h",
    sources=("binance", "kraken"),
    simulated=True,
    model=ProtocolModel("random walk"),
    sampling={"temperature": 0.6, "top_p": 0.9, "paths": PATHS},
    seed=0,
    history=360,
    horizon=HORIZON,
    volatility_window=24,
    baselines=CONTENDERS[2:],
    late_after=0.25,
    stop_after=None,
).to_dict()


def cycles(forecasts: int, seed: int = 0) -> Iterator[list[Entry]]:
    """Yield the entries of each cycle: the protocol, then a score once there is one, and a forecast.

    Args:
        forecasts: Number of forecasts; all of them are scored in the end.
        seed: Random seed.
    """
    rng = np.random.default_rng(seed)
    closes = _CLOSE * np.exp(np.cumsum(rng.normal(0.0, _VOLATILITY, forecasts + HORIZON + 1)))
    series = series_id(_PROTOCOL)
    yield [ProtocolEntry(series, "", format_time(_START), _PROTOCOL)]
    pending: list[ForecastEntry] = []
    for i in range(forecasts + HORIZON):
        entries: list[Entry] = []
        if i >= HORIZON:
            entries.append(_score(pending.pop(0), closes[i - HORIZON : i + 1]))
        if i < forecasts:
            pending.append(_forecast(series, i, float(closes[i]), rng))
            entries.append(pending[-1])
        yield entries


def _forecast(series: str, i: int, close: float, rng: np.random.Generator) -> ForecastEntry:
    origin = _START + i * _HOUR
    times = [format_time(origin + k * _HOUR) for k in range(HORIZON)]
    paths = {
        name: encode_paths(np.cumsum(rng.normal(0.0, _VOLATILITY, (PATHS, HORIZON)), axis=1)) for name in CONTENDERS
    }
    upside = {name: _chance(decode_paths(text, HORIZON)[:, -1] > 0) for name, text in paths.items()}
    return ForecastEntry(
        series=series,
        origin=format_time(origin),
        made_at=format_time(origin + pd.Timedelta(seconds=7)),
        server_time=format_time(origin + pd.Timedelta(seconds=7)),
        source="binance",
        simulated=True,
        last_close=close,
        sigma=_VOLATILITY,
        recent_volatility=_VOLATILITY,
        times=times,
        paths=paths,
        probabilities={"upside": upside, "amplification": upside},
        history={"candles": 360, "first": format_time(origin - 360 * _HOUR), "sha256": "0" * 64, "findings": []},
        seed=i,
        versions={"kronos": "0.1.0", "numpy": np.__version__},
    )


def _chance(hits: np.ndarray) -> list[float]:
    share = float(hits.mean())
    return [share, max(0.0, share - 0.18), min(1.0, share + 0.18)]


def _score(forecast: ForecastEntry, closes: FloatArray) -> ScoreEntry:
    """The score of a forecast; the first close is its last known one."""
    opens, ends = closes[:-1].tolist(), closes[1:].tolist()
    candles = [
        [time, opened, max(opened, end) * 1.001, min(opened, end) * 0.999, end]
        for time, opened, end in zip(forecast.times, opens, ends, strict=True)
    ]
    fetched = format_time(pd.Timestamp(forecast.times[-1]) + _HOUR + pd.Timedelta(seconds=5))
    return score_entry(forecast, candles, fetched_at=fetched, made_at=fetched)

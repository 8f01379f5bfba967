"""The published JSON: forecasts, past forecasts with their outcomes, and the track record.

Each document names the head of the record, so that whoever keeps one can prove a later change. Numbers that are not
finite are null. The pages are drawn from these documents: whatever a page shows is in a file beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from kronos.forecasts import Forecast
from kronos.forecasts.statistics import band_levels, sample_quantiles
from kronos.formatting import json_safe
from kronos.intervals import Interval
from kronos.live.cycle import CycleResult
from kronos.live.entries import (
    LEVELS,
    Entry,
    ForecastEntry,
    LateEntry,
    MissedEntry,
    ScoreEntry,
    UnresolvedEntry,
    decode_paths,
    format_time,
)
from kronos.live.forecaster import LiveForecast
from kronos.live.status import LATE_AFTER, STALE_AFTER
from kronos.provenance import versions
from kronos.reports import Translator
from kronos.sources.base import to_utc
from kronos.typing import FloatArray

FORMAT = 1
NOTICE = "Public market data only; it never trades. A forecast is not investment advice."
MIN_BAND_PATHS = 20  # with fewer paths, charts show the paths instead of bands
_BARS = (60, 240)  # fewest and most history candles of the chart
# What a document says about its forecast; kept from the previous one while there is no newer forecast.
_FORECAST_FIELDS = (
    *("simulated", "stand_in", "late", "recorded", "state", "paths", "as_of", "made_at", "server_time", "source"),
    *("next_origin", "late_at", "stale_at", "timezone", "last_close", "previous_close", "history", "steps"),
    *("closes", "probabilities", "made_of"),
)

OriginEntry = ForecastEntry | MissedEntry
OutcomeEntry = ScoreEntry | UnresolvedEntry
PastForecasts = Sequence[tuple[Entry, Entry | None]]


class TrackFigures(Protocol):
    """A track record, as the page needs it."""

    def to_dict(self) -> dict[str, Any]:
        """Return its figures as JSON values."""
        ...


@dataclass(frozen=True)
class Moment:
    """When a page is made, and where the record stands.

    Attributes:
        now: Time of the cycle.
        head: Number and hash of the record's last row.
    """

    now: pd.Timestamp
    head: tuple[int, str]

    def fields(self) -> dict[str, Any]:
        """Return the fields that every document has."""
        return {
            "format": FORMAT,
            "checked_at": format_time(self.now),
            "head": {"seq": self.head[0], "hash": self.head[1]} if self.head[0] else None,
            "verify": "kronos live verify",
            "notice": NOTICE,
        }


def forecast_document(
    result: CycleResult, previous: Mapping[str, Any] | None, track: Mapping[str, Any], moment: Moment
) -> dict[str, Any]:
    """Build ``forecast.json`` of one series.

    Args:
        result: What the cycle did.
        previous: The document that was published before; its forecast stays while there is no newer one.
        track: Figures of the track record.
        moment: When the page is made.
    """
    protocol = result.series.protocol
    if result.live is not None:
        forecast = _forecast_fields(result, result.live, moment)
    elif (
        previous is not None
        and previous.get("as_of")
        and previous.get("id") == result.series.id
        and previous.keys() >= set(_FORECAST_FIELDS)
    ):
        forecast = {name: previous[name] for name in _FORECAST_FIELDS}
    else:
        forecast = dict.fromkeys(_FORECAST_FIELDS) | {"simulated": bool(protocol["simulated"]), "steps": []}
    document = {
        **moment.fields(),
        "simulated": forecast["simulated"],
        "symbol": protocol["symbol"],
        "interval": protocol["interval"],
        "interval_seconds": Interval.parse(protocol["interval"]).seconds,
        "model": protocol["model"]["name"],
        "id": result.series.id,
        "slug": result.series.slug,
        "horizon": protocol["horizon"],
        "status": result.status,
        "reason": result.reason,
        **forecast,
        "definitions": definitions(protocol),
        "protocol": dict(protocol),
        "track_record": dict(track),
    }
    finite: dict[str, Any] = json_safe(document)
    return finite


def definitions(protocol: Mapping[str, Any], t: Translator | None = None) -> dict[str, str]:
    """Return what both probabilities mean.

    Args:
        protocol: Protocol of the series.
        t: Messages; default English.
    """
    t = Translator("en") if t is None else t
    values = {"horizon": protocol["horizon"], "window": protocol["volatility_window"]}
    return {event: t(f"live.definitions.{event}", **values) for event in ("upside", "amplification")}


def past_forecast(origin: Entry, outcome: Entry | None) -> dict[str, Any]:
    """Describe an origin of the past: what was forecast, and what came.

    Args:
        origin: Its ``forecast``, ``late`` or ``missed`` entry.
        outcome: Its ``score`` or ``unresolved`` entry; None while its candles have not closed.
    """
    document: dict[str, Any] = {"origin": origin.origin, "kind": origin.kind, "outcome": _outcome(origin, outcome)}
    if isinstance(origin, MissedEntry):
        return {**document, "made_at": origin.made_at, "reason": origin.reason}
    if not isinstance(origin, ForecastEntry):
        raise TypeError(f"a {origin.kind} entry has no origin")
    name = shown_contender(origin.paths)
    closes = origin.last_close * np.exp(decode_paths(origin.paths[name], len(origin.times)))
    low, median, high = sample_quantiles(closes, [band_levels(0.8)[0], 0.5, band_levels(0.8)[1]])
    return {
        **document,
        "made_at": origin.made_at,
        "source": origin.source,
        "simulated": origin.simulated,
        "state": name,
        "last_close": origin.last_close,
        "end": origin.times[-1],
        "median": _prices(median),
        "low80": _prices(low),
        "high80": _prices(high),
        "upside": _probability(origin.probabilities["upside"][name]),
        "amplification": _probability(origin.probabilities["amplification"][name]),
    }


def shown_contender(names: Iterable[str]) -> str:
    """Return the contender that pages show: ``calibrated`` if there is one."""
    return "calibrated" if "calibrated" in names else "raw"


def forecasts_document(
    pasts: Sequence[Mapping[str, Any]], forecast: Mapping[str, Any], moment: Moment
) -> dict[str, Any]:
    """Build ``forecasts.json``, or the file of a month: past forecasts, the newest first."""
    return {**moment.fields(), **_identity(forecast), "forecasts": list(pasts)}


def track_document(forecast: Mapping[str, Any], moment: Moment) -> dict[str, Any]:
    """Build ``track_record.json``."""
    return {**moment.fields(), **_identity(forecast), "track_record": forecast["track_record"]}


def _identity(forecast: Mapping[str, Any]) -> dict[str, Any]:
    names = ("symbol", "interval", "interval_seconds", "model", "id", "slug", "horizon")
    # Candles that only stand in for sources are never recorded: by its protocol a record is simulated or not.
    simulated = bool(forecast["protocol"]["simulated"])
    return {"simulated": simulated, **{name: forecast[name] for name in names}}


def _forecast_fields(result: CycleResult, live: LiveForecast, moment: Moment) -> dict[str, Any]:
    shown, entry, fetched = live.shown, result.entry, result.fetched
    interval = shown.interval
    origin = result.origin if result.origin is not None else to_utc(shown.start + interval.offset)
    following = to_utc(origin + interval.offset) if fetched is None else fetched.next_close
    history = _history(shown)
    return {
        "simulated": shown.simulated,
        "stand_in": result.status == "stand-in",
        "late": isinstance(entry, LateEntry),
        "recorded": entry is not None,
        "state": shown.metadata.state,
        "paths": shown.samples,
        "as_of": format_time(origin),
        "made_at": format_time(moment.now) if entry is None else entry.made_at,
        "server_time": None if entry is None else entry.server_time,
        "source": entry.source if entry is not None else fetched.source if fetched is not None else None,
        "next_origin": format_time(following),
        "late_at": format_time(following + (LATE_AFTER - 1) * interval.delta),
        "stale_at": format_time(following + (STALE_AFTER - 1) * interval.delta),
        "timezone": shown.history.timezone,
        "last_close": shown.last_close,
        "previous_close": history["close"][-2] if len(history["close"]) > 1 else None,
        "history": history,
        "steps": _steps(shown),
        "closes": [_prices(path) for path in shown.channel("close")] if shown.samples < MIN_BAND_PATHS else None,
        "probabilities": _probabilities(live, entry, result.series.protocol["volatility_window"]),
        "made_of": _made_of(result, live),
    }


def _history(forecast: Forecast) -> dict[str, Any]:
    """The latest candles, column by column."""
    bars = int(np.clip(3 * forecast.horizon, *_BARS))
    frame = forecast.history.frame.iloc[-bars:]
    columns = {name: _prices(frame[name]) for name in ("open", "high", "low", "close", "volume")}
    return {"time": [format_time(to_utc(time)) for time in frame.index], **columns}


def _steps(forecast: Forecast) -> list[dict[str, Any]]:
    """Mean, median, bands and the most central path at each step."""
    closes = forecast.channel("close")
    ends = {str(level): sample_quantiles(closes, band_levels(level / 100)) for level in LEVELS}
    mean, median = closes.mean(axis=0), np.median(closes, axis=0)
    path = forecast.sample(forecast.representative())
    candles = {name: _prices(path[name]) for name in ("open", "high", "low", "close", "volume")}
    return [
        {
            "step": step + 1,
            "time": format_time(to_utc(time)),
            "mean": _price(mean[step]),
            "median": _price(median[step]),
            "bands": {level: _prices(band[:, step]) for level, band in ends.items()},
            "candle": {name: values[step] for name, values in candles.items()},
        }
        for step, time in enumerate(forecast.timestamps)
    ]


def _probabilities(live: LiveForecast, entry: ForecastEntry | None, window: int) -> dict[str, Any]:
    """Both probabilities by contender: as recorded, or computed again where nothing is recorded."""
    if entry is not None:
        return {
            event: {name: _probability(values) for name, values in contenders.items()}
            for event, contenders in entry.probabilities.items()
        }
    upside = {name: forecast.upside_probability() for name, forecast in live.contenders.items()}
    amplification = {name: forecast.volatility_amplification(window) for name, forecast in live.contenders.items()}
    return {
        event: {name: _probability([float(chance), chance.low, chance.high]) for name, chance in chances.items()}
        for event, chances in (("upside", upside), ("amplification", amplification))
    }


def _probability(values: Sequence[float]) -> dict[str, float]:
    estimate, low, high = values
    return {"estimate": round(estimate, 6), "low": round(low, 6), "high": round(high, 6)}


def _made_of(result: CycleResult, live: LiveForecast) -> dict[str, Any]:
    protocol, entry = result.series.protocol, result.entry
    return {
        "model": dict(protocol["model"]),
        "sampling": dict(protocol["sampling"]),
        "seed": live.seed,
        "history": {"candles": len(live.shown.history)} if entry is None else dict(entry.history),
        "versions": versions() if entry is None else dict(entry.versions),
        "notes": list(live.shown.notes),
    }


def _outcome(origin: Entry, outcome: Entry | None) -> dict[str, Any] | None:
    if isinstance(outcome, UnresolvedEntry):
        return {
            "kind": outcome.kind,
            "made_at": outcome.made_at,
            "reason": outcome.reason,
            "missing": len(outcome.missing),
        }
    if not isinstance(outcome, ScoreEntry) or not isinstance(origin, ForecastEntry):
        return None
    scores = outcome.scores[shown_contender(outcome.scores)]
    return {
        "kind": outcome.kind,
        "made_at": outcome.made_at,
        "source": outcome.source,
        "sha256": outcome.sha256,
        "close": _prices([candle[4] for candle in outcome.candles]),
        "rose": bool(outcome.outcome["upside"]),
        "amplified": bool(outcome.outcome["amplification"]),
        "crps": json_safe(scores["crps"][-1]),
        "brier": json_safe(dict(scores["brier"])),
        "inside": dict(scores["inside"]),
    }


def _price(value: float) -> float:
    """A price or volume with nine significant digits."""
    return float(f"{float(value):.9g}")


def _prices(values: Iterable[float] | FloatArray) -> list[float]:
    return [_price(value) for value in values]

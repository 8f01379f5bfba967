"""Settlement: scores of forecasts whose candles have closed, and candles that their source changed afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from kronos.candles import Candles
from kronos.errors import DataError, KronosError
from kronos.intervals import Interval
from kronos.live.entries import (
    Entry,
    ForecastEntry,
    RevisionEntry,
    ScoreEntry,
    UnresolvedEntry,
    candles_digest,
    format_time,
    parse_time,
)
from kronos.live.feed import FetchedCandles, MarketFeed
from kronos.live.scoring import score_forecast
from kronos.sources.base import SETTLE_DELAY, closing_time, to_utc

MISSING_GRACE = 6  # intervals: a source may publish a candle this late before its forecasts are unresolved
UNREACHABLE_GRACE = pd.Timedelta(days=30)  # after which a forecast of a source that never answers is unresolved

_log = logging.getLogger(__name__)
Prices = tuple[float, ...]  # open, high, low, close


@dataclass
class SettledCandles:
    """Candles that settled forecasts of one series, to notice later changes.

    Attributes:
        prices: Open, high, low and close by source and opening time; empty for a candle that its source has withdrawn.
    """

    prices: dict[tuple[str, str], Prices] = field(default_factory=dict)

    def extend(self, entries: Iterable[Entry]) -> None:
        """Remember the candles of scores, and changes, so that each is entered once."""
        for entry in entries:
            if isinstance(entry, ScoreEntry):
                for time, *prices in entry.candles:
                    self.prices.setdefault((entry.source, time), tuple(float(price) for price in prices))
            elif isinstance(entry, RevisionEntry):
                self.prices[entry.source, entry.origin] = tuple(float(price) for price in entry.after)

    def forget(self, before: str) -> None:
        """Drop candles that opened before a time."""
        self.prices = {key: value for key, value in self.prices.items() if key[1] >= before}


def candle_prices(candles: Candles) -> dict[str, Prices]:
    """Return open, high, low and close by opening time."""
    times = [format_time(time) for time in candles.index]
    values = candles.frame[["open", "high", "low", "close"]].to_numpy(dtype=float).tolist()
    return {time: tuple(row) for time, row in zip(times, values, strict=True)}


def settle(
    forecasts: Sequence[ForecastEntry],
    protocol: Mapping[str, Any],
    feed: MarketFeed,
    latest: FetchedCandles | None,
    made_at: pd.Timestamp,
) -> list[Entry]:
    """Score the forecasts of one series whose last candle has closed.

    Args:
        forecasts: Forecasts without an outcome.
        protocol: Protocol of the series.
        feed: The sources.
        latest: Candles of this cycle, if there are any; they settle what they cover.
        made_at: Time of this machine.

    Returns:
        Scores, and entries of forecasts that cannot be resolved, in the order of their origins.
    """
    interval = Interval.parse(protocol["interval"])
    entries: list[Entry] = []
    for source in dict.fromkeys(forecast.source for forecast in forecasts):
        own = [forecast for forecast in forecasts if forecast.source == source]
        now = latest.server_time if latest is not None and latest.source == source else feed.server_time(source)
        due = [forecast for forecast in own if _closed_at(forecast, interval) + SETTLE_DELAY <= now]
        if not due:
            continue
        try:
            prices, fetched_at = _settling_candles(due, source, protocol["symbol"], interval, feed, latest)
        except DataError as error:  # the source answers, but has none of the candles
            _log.warning("no settling candles of %s at %s: %s", protocol["symbol"], source, error)
            prices, fetched_at = {}, now
        except KronosError as error:
            _log.warning("forecasts of %s wait for %s: %s", protocol["symbol"], source, error)
            # Giving up is for good: this machine's clock, which may be wrong by years, does not decide it.
            known = feed.reachable_time()
            entries += [] if known is None else _unreachable(due, interval, made_at, known)
            continue
        for forecast in due:
            entry = _outcome(forecast, prices, source, interval, fetched_at, made_at)
            if entry is not None:
                entries.append(entry)
    return sorted(entries, key=lambda entry: entry.origin)


def find_revisions(
    series: str, settled: SettledCandles, latest: FetchedCandles, made_at: pd.Timestamp
) -> list[RevisionEntry]:
    """Compare settled candles with what their source says now; scores are never changed."""
    now = candle_prices(latest.candles)
    first, last = format_time(latest.candles.start), format_time(latest.candles.end)
    revisions = []
    for (source, time), before in sorted(settled.prices.items()):
        if source != latest.source or not first <= time <= last or now.get(time, ()) == before:
            continue
        revisions.append(
            RevisionEntry(
                series=series,
                origin=time,
                made_at=format_time(made_at),
                source=source,
                fetched_at=format_time(latest.server_time),
                before=list(before),
                after=list(now.get(time, ())),
            )
        )
    return revisions


def find_differences(settled: SettledCandles, scores: Iterable[Entry]) -> list[RevisionEntry]:
    """Compare the candles of new scores with those that settled earlier forecasts, each new value once."""
    revisions: dict[tuple[str, Prices], RevisionEntry] = {}
    for score in scores:
        if not isinstance(score, ScoreEntry):
            continue
        for time, *values in score.candles:
            before, after = settled.prices.get((score.source, time)), tuple(float(value) for value in values)
            if before is not None and before != after and (time, after) not in revisions:
                revisions[time, after] = RevisionEntry(
                    series=score.series,
                    origin=time,
                    made_at=score.made_at,
                    source=score.source,
                    fetched_at=score.fetched_at,
                    before=list(before),
                    after=list(after),
                )
    return list(revisions.values())


def _closed_at(forecast: ForecastEntry, interval: Interval) -> pd.Timestamp:
    """Closing time of the last candle of a forecast."""
    return closing_time(parse_time(forecast.times[-1]), interval)


def _settling_candles(
    due: Sequence[ForecastEntry],
    source: str,
    symbol: str,
    interval: Interval,
    feed: MarketFeed,
    latest: FetchedCandles | None,
) -> tuple[dict[str, Prices], pd.Timestamp]:
    """Prices by opening time, and when they were fetched: from this cycle's candles if they reach back far enough."""
    start = min(parse_time(forecast.times[0]) for forecast in due)
    end = max(_closed_at(forecast, interval) for forecast in due)
    if latest is not None and latest.source == source and to_utc(latest.candles.start) <= start:
        return candle_prices(latest.candles), latest.server_time
    candles, fetched_at = feed.between(source, symbol, interval, start, end)
    return candle_prices(candles), fetched_at


def _outcome(
    forecast: ForecastEntry,
    prices: Mapping[str, Prices],
    source: str,
    interval: Interval,
    fetched_at: pd.Timestamp,
    made_at: pd.Timestamp,
) -> ScoreEntry | UnresolvedEntry | None:
    """Score a forecast; without all its candles, wait for a while before it is unresolved."""
    missing = [time for time in forecast.times if time not in prices]
    if missing:
        if fetched_at < _closed_at(forecast, interval) + MISSING_GRACE * interval.delta:
            return None
        return UnresolvedEntry(
            series=forecast.series,
            origin=forecast.origin,
            made_at=format_time(made_at),
            reason=f"{source} does not have all candles",
            missing=missing,
            server_time=format_time(fetched_at),
        )
    candles = [[time, *prices[time]] for time in forecast.times]
    return score_entry(forecast, candles, fetched_at=format_time(fetched_at), made_at=format_time(made_at))


def score_entry(
    forecast: ForecastEntry, candles: Sequence[Sequence[Any]], *, fetched_at: str, made_at: str
) -> ScoreEntry:
    """Score a forecast by its candles.

    Args:
        forecast: The forecast.
        candles: Opening time, open, high, low and close of each of its candles, from its source.
        fetched_at: Time on the source's clock when they were fetched.
        made_at: Time of this machine.
    """
    outcome, scores = score_forecast(forecast, candles)
    return ScoreEntry(
        series=forecast.series,
        origin=forecast.origin,
        made_at=made_at,
        source=forecast.source,
        fetched_at=fetched_at,
        candles=candles,
        sha256=candles_digest(candles),
        outcome=outcome,
        scores=scores,
    )


def _unreachable(
    due: Sequence[ForecastEntry], interval: Interval, made_at: pd.Timestamp, now: pd.Timestamp
) -> list[UnresolvedEntry]:
    """Give up on forecasts whose source has not answered for a long time."""
    return [
        UnresolvedEntry(
            series=forecast.series,
            origin=forecast.origin,
            made_at=format_time(made_at),
            reason=f"{forecast.source} could not be reached for {UNREACHABLE_GRACE.days} days",
            missing=list(forecast.times),
            server_time=format_time(now),
        )
        for forecast in due
        if now > _closed_at(forecast, interval) + UNREACHABLE_GRACE
    ]

"""One cycle: candles, forecasts, and their entries in the record.

For every symbol and model the cycle enters the origins that passed without a forecast as ``missed``, forecasts at the
current origin unless that has been done, scores what has closed, and notes candles that were revised. Each step is safe
to repeat: a process that is killed anywhere continues with the next cycle, and nothing is entered twice.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from kronos.engines import Engine
from kronos.errors import KronosError, SourceError
from kronos.forecasts import Forecast
from kronos.intervals import Interval
from kronos.live.clock import Clock, closes_between
from kronos.live.config import LiveConfig
from kronos.live.entries import (
    Entry,
    ForecastEntry,
    MissedEntry,
    ProtocolEntry,
    RevisionEntry,
    format_time,
    parse_time,
)
from kronos.live.feed import FetchedCandles, MarketFeed
from kronos.live.forecaster import LiveForecast, LiveForecaster, forecast_all, forecast_entry
from kronos.live.protocol import SeriesSettings, series_id, series_slug
from kronos.live.record import AlreadyRecorded, Record
from kronos.live.settlement import SettledCandles, find_differences, find_revisions, settle
from kronos.sources.base import closing_time, to_utc

Status = Literal["forecast", "late", "recorded", "stand-in", "waiting", "failed"]
_log = logging.getLogger(__name__)


@dataclass
class LiveSeries:
    """One symbol forecast by one model.

    Attributes:
        symbol: The symbol.
        forecaster: The model.
        protocol: What is forecast and how it is judged.
        failure: Why there is no forecast since the last one; empty if nothing failed.
    """

    symbol: str
    forecaster: LiveForecaster
    protocol: Mapping[str, Any]
    failure: str = ""

    @property
    def id(self) -> str:
        """Id of the series, from its protocol."""
        return series_id(self.protocol)

    @property
    def slug(self) -> str:
        """Name of the series for folders and addresses."""
        return series_slug(self.protocol)


@dataclass(frozen=True, eq=False)
class CycleResult:
    """What a cycle did for one series.

    Attributes:
        series: The series.
        status: ``forecast`` or ``late`` if it entered one, ``recorded`` if that had been done before, ``stand-in`` if
            simulated candles stand in for sources that failed, ``waiting`` if no source has the latest candle yet,
            and ``failed`` if the candles cannot be forecast.
        origin: Closing time of the last known candle; None without candles.
        live: The forecast; None if there is none in this cycle.
        entry: Its entry; None if it is not recorded.
        fetched: The candles; None without.
        entries: Everything that was entered.
        reason: Why there is no forecast; empty if there is one.
    """

    series: LiveSeries
    status: Status
    origin: pd.Timestamp | None = None
    live: LiveForecast | None = None
    entry: ForecastEntry | None = None
    fetched: FetchedCandles | None = None
    entries: Sequence[Entry] = ()
    reason: str = ""

    @property
    def done(self) -> bool:
        """Whether nothing is left to do before the next candle closes."""
        return self.status in ("forecast", "late", "recorded", "failed")


class Cycle:
    """Runs cycles for all series of a configuration.

    Attributes:
        config: The configuration.
        series: The series.
        skew: How far the source's clock was ahead of this machine's in the last cycle.

    Args:
        config: The configuration.
        feed: The sources.
        clock: Clock of this machine.
        record: The record.
        forecasters: The models.
        engine: Where the forecasts are computed; by default in this process.
    """

    def __init__(
        self,
        config: LiveConfig,
        feed: MarketFeed,
        clock: Clock,
        record: Record,
        forecasters: Sequence[LiveForecaster],
        engine: Engine | None = None,
    ) -> None:
        self._engine = engine
        self.config, self._feed, self._clock, self._record = config, feed, clock, record
        self._interval = config.interval
        self.series = [
            LiveSeries(symbol, forecaster, self._protocol(symbol, forecaster))
            for forecaster in forecasters
            for symbol in config.data.symbol
        ]
        self._folder = config.record.folder / "forecasts"
        self.skew = pd.Timedelta(0)
        self._settled: dict[str, SettledCandles] = {}

    def run(self) -> list[CycleResult]:
        """Run one cycle.

        Returns:
            One result per series.

        Raises:
            StorageError: If the record cannot be written to; the next cycle tries again.
        """
        with self._feed:
            fetched = {symbol: self._fetch(symbol) for symbol in self.config.data.symbol}
            self._open_protocols()
            results = [
                result
                for forecaster in dict.fromkeys(series.forecaster for series in self.series)
                for result in self._forecast(forecaster, fetched)
            ]
            self._settle(fetched)
        for result in results:
            result.series.failure = "" if result.entry is not None else result.reason
        return results

    def score(self) -> list[Entry]:
        """Score what has closed in all series of the record, without a forecast.

        Returns:
            What was entered.

        Raises:
            StorageError: If the record cannot be written to.
        """
        symbols = dict.fromkeys(str(protocol.protocol["symbol"]) for protocol in self._record.protocols())
        with self._feed:
            return self._settle({symbol: self._fetch(symbol) for symbol in symbols})

    # Candles ------------------------------------------------------------

    def _fetch(self, symbol: str) -> FetchedCandles | SourceError:
        """Candles of a symbol; simulated ones or the error if no source has them."""
        records = self.config.data.records
        try:
            fetched = self._feed.latest(symbol, self._interval, records)
            self.skew = fetched.skew
            return fetched
        except SourceError as error:
            _log.warning("%s", error)
            stand_in = self._feed.stand_in(symbol, self._interval, records, error)
            return error if stand_in is None else stand_in

    # Forecasts ------------------------------------------------------------

    def _forecast(
        self, forecaster: LiveForecaster, fetched: Mapping[str, FetchedCandles | SourceError]
    ) -> list[CycleResult]:
        """Forecast all symbols of one model; those that share an origin together."""
        window = self.config.data.volatility_window
        results: dict[str, CycleResult] = {}
        batches: dict[pd.Timestamp, list[tuple[LiveSeries, FetchedCandles]]] = {}
        for series in self.series:
            if series.forecaster is not forecaster:
                continue
            candles = fetched[series.symbol]
            if isinstance(candles, SourceError):
                results[series.symbol] = CycleResult(series, "waiting", reason=str(candles))
                continue
            recorded = None if candles.stand_in else self._recorded(series, candles)
            if recorded is not None:
                results[series.symbol] = recorded
            elif len(candles.candles) <= window:
                reason = f"The volatility window needs {window + 1} candles of history; got {len(candles.candles)}."
                results[series.symbol] = CycleResult(
                    series, "failed", candles.closed_at, fetched=candles, reason=reason
                )
            else:
                batches.setdefault(candles.closed_at, []).append((series, candles))
        for origin, batch in batches.items():
            histories = {series.symbol: found.candles for series, found in batch}
            forecasts, reasons = forecast_all(forecaster, histories, origin, self.config, self._engine)
            for series, found in batch:
                live = forecasts.get(series.symbol)
                if live is None:
                    results[series.symbol] = CycleResult(
                        series, "failed", origin, fetched=found, reason=reasons[series.symbol]
                    )
                elif found.stand_in:
                    reason = found.failures["sources"]
                    results[series.symbol] = CycleResult(series, "stand-in", origin, live, None, found, (), reason)
                else:
                    results[series.symbol] = self._enter(series, origin, live, found)
        return [results[series.symbol] for series in self.series if series.forecaster is forecaster]

    def _recorded(self, series: LiveSeries, fetched: FetchedCandles) -> CycleResult | None:
        """The result of an earlier cycle at the same origin; None if this origin has none."""
        origin = fetched.closed_at
        last = self._record.last_origin(series.id)
        if last is None or last < format_time(origin):
            return None
        entry = self._record.origin_entry(series.id, format_time(origin))
        if not isinstance(entry, ForecastEntry):  # missed, or the source has fallen behind what it had before
            reason = entry.reason if isinstance(entry, MissedEntry) else "The source lags behind its own candles."
            return CycleResult(series, "recorded", origin, fetched=fetched, reason=reason)
        live = self._load(series, entry)
        return CycleResult(series, "recorded", origin, live, entry, fetched)

    def _enter(
        self, series: LiveSeries, origin: pd.Timestamp, live: LiveForecast, fetched: FetchedCandles
    ) -> CycleResult:
        """Write a forecast to the record, after the origins that were missed before it."""
        self._save(series, origin, live)
        made_at, server_time = self._times(fetched)
        if server_time >= fetched.next_close:
            reason = f"The next candle closed before the forecast of {origin:%Y-%m-%d %H:%M} was made."
            return CycleResult(series, "waiting", origin, reason=reason)
        first = to_utc(live.shown.timestamps[0])
        late = server_time > first + self.config.record.late_after * self._interval.delta
        entry = forecast_entry(
            live,
            series=series.id,
            origin=origin,
            made_at=made_at,
            server_time=server_time,
            source=fetched.source,
            volatility_window=self.config.data.volatility_window,
            late=late,
        )
        entries: list[Entry] = [*self._missed(series, origin, fetched, entry), entry]
        try:
            self._record.append(entries)
        except AlreadyRecorded as error:  # by another process, or by a commit whose answer was lost
            return CycleResult(series, "waiting", origin, reason=str(error))
        return CycleResult(series, "late" if late else "forecast", origin, live, entry, fetched, entries)

    def _times(self, fetched: FetchedCandles) -> tuple[pd.Timestamp, pd.Timestamp]:
        """Time of this machine, and time on the source's clock.

        A source's clock may have stood still while this machine was suspended, and this machine's may be wrong by a
        constant, which was measured when the candles were fetched: the later of the two counts.
        """
        made_at = self._clock.now()
        return made_at, max(made_at + fetched.skew, self._feed.server_time(fetched.source))

    def _missed(
        self, series: LiveSeries, origin: pd.Timestamp, fetched: FetchedCandles, forecast: ForecastEntry
    ) -> list[MissedEntry]:
        """Entries of the origins between the last recorded one and this one."""
        last = self._record.last_origin(series.id)
        if last is None:
            return []
        first = parse_time(last)
        if fetched.gapless:
            closes = closes_between(first, origin, self._interval)
        else:
            candles = fetched.candles
            if to_utc(candles.start) > first:
                candles, _ = self._feed.between(fetched.source, series.symbol, self._interval, first, origin)
            ends = [closing_time(time, self._interval) for time in candles.index]
            closes = [end for end in ends if first < end < origin]
        return [
            MissedEntry(
                series=series.id,
                origin=format_time(close),
                made_at=forecast.made_at,
                server_time=forecast.server_time,
                reason=series.failure or "the forecaster was not running",
            )
            for close in closes
        ]

    # Outcomes ------------------------------------------------------------

    def _settle(self, fetched: Mapping[str, FetchedCandles | SourceError]) -> list[Entry]:
        """Score what has closed, of earlier protocols too, and enter revised candles."""
        entered: list[Entry] = []
        for protocol in self._record.protocols():
            found = fetched.get(protocol.protocol["symbol"])
            latest = found if isinstance(found, FetchedCandles) and not found.stand_in else None
            if latest is not None and Interval.parse(protocol.protocol["interval"]) != self._interval:
                latest = None
            made_at = self._clock.now()
            span = protocol.protocol["horizon"] * Interval.parse(protocol.protocol["interval"]).delta
            limit = made_at + self.skew - span + self._interval.delta  # later forecasts cannot have closed
            forecasts = self._record.unsettled(protocol.series, until=format_time(limit))
            entries = settle(forecasts, protocol.protocol, self._feed, latest, made_at)
            settled = self._settled_candles(protocol.series)
            entered += self._enter_revisions(find_differences(settled, entries), settled)
            if latest is not None:
                entered += self._enter_revisions(find_revisions(protocol.series, settled, latest, made_at), settled)
            if entries:
                self._record.append(entries)
                settled.extend(entries)
                entered += entries
            if latest is not None:
                first = min([format_time(latest.candles.start), *(forecast.times[0] for forecast in forecasts)])
                settled.forget(first)
        return entered

    def _enter_revisions(self, revisions: Sequence[RevisionEntry], settled: SettledCandles) -> list[Entry]:
        """Enter revised candles, each new value of a candle once, however often its source goes back and forth."""
        entered: list[Entry] = []
        for revision in revisions:
            try:
                self._record.append([revision])
                entered.append(revision)
            except AlreadyRecorded as error:
                _log.debug("%s", error)
            settled.extend([revision])
        return entered

    def _settled_candles(self, series: str) -> SettledCandles:
        """The candles that settled the latest forecasts of a series; from the record after a restart."""
        if series not in self._settled:
            span = self.config.data.records + self.config.data.forecast_horizon
            self._settled[series] = SettledCandles()
            self._settled[series].extend(self._record.latest_entries(series, ("score", "revision"), 2 * span))
        return self._settled[series]

    # State ------------------------------------------------------------

    def _protocol(self, symbol: str, forecaster: LiveForecaster) -> dict[str, Any]:
        config = self.config
        settings = SeriesSettings(
            symbol=symbol,
            interval=str(self._interval),
            sources=self._feed.names,
            simulated=self._feed.simulated,
            model=forecaster.identity,
            sampling={
                "temperature": config.sampling.temperature,
                "top_p": config.sampling.top_p,
                "paths": config.sampling.num_samples,
            },
            seed=config.sampling.seed,
            history=config.data.history_window,
            horizon=config.data.forecast_horizon,
            volatility_window=config.data.volatility_window,
            baselines=config.record.baselines,
            late_after=config.record.late_after,
            stop_after=config.record.stop_after,
        )
        return settings.to_dict()

    def _open_protocols(self) -> None:
        """Enter the protocol of each series that has none, before its first forecast."""
        known = {protocol.series for protocol in self._record.protocols()}
        made_at = format_time(self._clock.now())
        new = [
            ProtocolEntry(series=series.id, origin="", made_at=made_at, protocol=series.protocol)
            for series in self.series
            if series.id not in known
        ]
        if new:
            self._record.append(new)

    def _path(self, series: LiveSeries, origin: str) -> Path:
        return self._folder / series.id / f"{origin.replace(':', '')[:17]}.npz"

    def _save(self, series: LiveSeries, origin: pd.Timestamp, live: LiveForecast) -> None:
        """Keep the full forecast as a file, written before its entry, and remove old ones."""
        path = self._path(series, format_time(origin))
        path.parent.mkdir(parents=True, exist_ok=True)
        live.shown.save(path)
        kept = sorted(path.parent.glob("*.npz"))
        for old in kept[: -self.config.record.keep_forecasts]:
            old.unlink(missing_ok=True)

    def _load(self, series: LiveSeries, entry: ForecastEntry) -> LiveForecast | None:
        """The full forecast of an entry; None if its file is gone or damaged."""
        try:
            shown = Forecast.load(self._path(series, entry.origin))
        except KronosError as error:
            _log.warning("the chart cannot be drawn again: %s", error)
            return None
        return LiveForecast(shown, shown, {}, entry.seed)

"""Closed candles from the first source that has them, and the time on that source's clock.

- Remote sources are asked anew in every cycle, never answered from an earlier download: an exchange may have corrected
  a candle since, and a record has to notice.
- Where no source answers, simulated candles may stand in for the page. They are labelled, and never recorded.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType

import pandas as pd

from kronos.calendars import FutureTimes, future_times
from kronos.calendars.sessions import ALWAYS
from kronos.candles import Candles
from kronos.errors import KronosError, ParameterError, SourceError
from kronos.intervals import Interval
from kronos.live.clock import Clock
from kronos.sources.base import SETTLE_DELAY, CandleSource, closing_time
from kronos.sources.cache import CandleCache
from kronos.sources.downloads import CachedSource

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FetchedCandles:
    """Candles of one symbol.

    Attributes:
        candles: Closed candles, oldest first.
        source: Name of the source.
        simulated: Whether they are simulated.
        server_time: Time on the source's clock when they were fetched.
        fetched_at: Time of this machine when they were fetched.
        stand_in: Whether they only stand in for sources that failed; such candles are never recorded.
        failures: Why earlier sources were not used, by their names.
    """

    candles: Candles
    source: str
    simulated: bool
    server_time: pd.Timestamp
    fetched_at: pd.Timestamp
    stand_in: bool
    failures: Mapping[str, str]

    @property
    def skew(self) -> pd.Timedelta:
        """How far the source's clock is ahead of this machine's."""
        return self.server_time - self.fetched_at

    @property
    def closed_at(self) -> pd.Timestamp:
        """UTC closing time of the last candle: the origin of a forecast from these candles."""
        return closing_time(self.candles.end, self.candles.interval)

    @property
    def gapless(self) -> bool:
        """Whether the market never closes, so that every interval has a candle."""
        return self.candles.calendar == ALWAYS or self._future.calendar == ALWAYS

    @property
    def next_close(self) -> pd.Timestamp:
        """UTC time at which the next candle closes, by the market's calendar."""
        return closing_time(self._future.times[0], self.candles.interval)

    @cached_property
    def _future(self) -> FutureTimes:
        return future_times(self.candles.index, self.candles.interval, 1, self.candles.calendar)


class MarketFeed:
    """Candles from several sources in order; use it as a context manager, one block per cycle.

    Args:
        sources: The sources, in order.
        clock: Clock of this machine, for sources that cannot be reached.
        fallback: Simulated source that stands in where all others fail; None for none.
    """

    def __init__(self, sources: Sequence[CandleSource], clock: Clock, fallback: CandleSource | None = None) -> None:
        self._configured = list(sources)
        self._clock, self._fallback = clock, fallback
        self._sources = self._configured
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> MarketFeed:
        """Forget earlier downloads."""
        if any(isinstance(source, CachedSource) for source in self._configured):
            self._folder = tempfile.TemporaryDirectory(prefix="kronos-live-", ignore_cleanup_errors=True)
            cache = CandleCache(Path(self._folder.name))
            self._sources = [
                CachedSource(source.source, cache) if isinstance(source, CachedSource) else source
                for source in self._configured
            ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the downloads of this cycle."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder, self._sources = None, self._configured

    @property
    def simulated(self) -> bool:
        """Whether the configured sources themselves are simulated."""
        return any(source.simulated for source in self._configured)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sources, in order."""
        return tuple(source.name for source in self._configured)

    def server_time(self, name: str | None = None) -> pd.Timestamp:
        """Return the time on a source's clock, or on the first one's that can be reached; else this machine's."""
        now = self._reachable_time(name)
        return self._clock.now() if now is None else now

    def reachable_time(self) -> pd.Timestamp | None:
        """Return the time on the clock of the first source that can be reached; None without any."""
        return self._reachable_time(None)

    def _reachable_time(self, name: str | None) -> pd.Timestamp | None:
        for source in self._sources:
            if name is None or source.name == name:
                try:
                    return source.now()
                except KronosError as error:
                    _log.debug("no time from %s: %s", source.name, error)
        return None

    def latest(self, symbol: str, interval: Interval, records: int) -> FetchedCandles:
        """Return the latest closed candles from the first source that has them.

        A source that lacks a candle which has closed by the market's calendar is passed over.

        Args:
            symbol: The symbol.
            interval: Interval of the candles.
            records: Number of candles.

        Raises:
            SourceError: If no source has them; the message has each one's reason.
        """
        failures: dict[str, str] = {}
        for source in self._sources:
            try:
                candles = source.candles(symbol, interval, records=records)
                fetched = FetchedCandles(
                    candles, source.name, source.simulated, source.now(), self._clock.now(), False, dict(failures)
                )
            except KronosError as error:
                failures[source.name] = str(error)
                continue
            if fetched.next_close + SETTLE_DELAY <= fetched.server_time:
                failures[source.name] = f"the candle that closed at {fetched.next_close:%Y-%m-%d %H:%M} is missing"
                continue
            return fetched
        reasons = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in failures.items())
        raise SourceError(f"No source has the latest {interval} candles of {symbol}. {reasons}.")

    def stand_in(self, symbol: str, interval: Interval, records: int, failure: SourceError) -> FetchedCandles | None:
        """Return simulated candles for the page while no source can be reached; None if that is switched off."""
        if self._fallback is None:
            return None
        candles = self._fallback.candles(symbol, interval, records=records)
        now = self._clock.now()
        return FetchedCandles(candles, self._fallback.name, True, now, now, True, {"sources": str(failure)})

    def between(
        self, name: str, symbol: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp
    ) -> tuple[Candles, pd.Timestamp]:
        """Return the closed candles of one source that open in [start, end), and the time on its clock.

        Raises:
            SourceError: If the source cannot be reached or is no longer configured.
            DataError: If it has no candles in that range.
        """
        for source in self._sources:
            if source.name == name:
                return source.candles(symbol, interval, start=start, end=end), source.now()
        raise SourceError(f"The source {name} is no longer configured: add it to data.source to score its forecasts.")


def check_symbols(feed_sources: Sequence[CandleSource], symbols: Sequence[str], interval: Interval) -> None:
    """Check at start that a local source has the symbols and the interval.

    Raises:
        ParameterError: If it does not; remote sources are asked in the first cycle.
    """
    for source in feed_sources:
        if isinstance(source, CachedSource):
            continue
        for symbol in symbols:
            known = source.intervals(symbol)
            if known is not None and interval not in known:
                listed = ", ".join(map(str, known))
                raise ParameterError(f"{source.name} has no {interval} candles of {symbol}: choose {listed}.")

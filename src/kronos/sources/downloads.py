"""Downloads: turn a remote source of pages into a cached source of candles.

- Only missing spans are downloaded, page by page, and saved every few pages, so that an interrupted download resumes.
  Two processes that need the same series take turns; the second one finds the candles of the first.
- A candle counts once its interval and `SETTLE_DELAY` have passed on the source's clock, so that a forming candle is
  never returned.
- Rows that arrive duplicated or out of order do not change the result.
- An empty span counts as downloaded only if candles follow it. The span after the last candle is requested again, since
  the source may lag behind, or a clock may have been wrong.
- The start of the source's history is remembered; a history shorter than requested is reported as a finding.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS, Candles, Finding
from kronos.errors import DataError, SourceError
from kronos.formatting import Message
from kronos.intervals import Interval
from kronos.progress import ProgressCallback
from kronos.sources.base import (
    SETTLE_DELAY,
    TICK,
    CandleRange,
    PageSource,
    from_micros,
    to_micros,
    to_utc,
    unsupported_interval,
)
from kronos.sources.cache import TIME, CachedSeries, CandleCache, SeriesKey, Span, clip, micros_index, subtract, union

# Save after this many rows, this share of the stored rows or this many seconds: the most that an interruption can lose.
_SAVE_ROWS, _SAVE_SHARE, _SAVE_SECONDS = 1_000, 0.1, 5.0
_SAVE_PAUSE = 20.0  # the time until the next save, in multiples of the time that the last one took
_NEVER = 2**62  # microseconds
_EARLIEST = pd.Timestamp("2000-01-01", tz="UTC")  # limit of the search without a start
_MARGIN = 10  # intervals requested beyond the estimate
_BEFORE_LISTING = (300, pd.Timedelta(days=60))  # intervals and time: a longer empty span means that nothing is earlier

log = logging.getLogger("kronos.sources")


class DownloadState:
    """A series during its download: the stored rows, and new rows that are not saved yet.

    Args:
        cache: The cache to read from and save to.
        key: The series.
        expected: Number of candles of the whole request, for the progress callback.
        progress: Called with the number of available and of expected candles.
    """

    def __init__(self, cache: CandleCache, key: SeriesKey, expected: int, progress: ProgressCallback | None) -> None:
        self.key = key
        self.findings: list[Finding] = []
        self._cache = cache
        self._progress = progress
        self._stored = self._load()
        self._unsaved: list[pd.DataFrame] = []
        self._covered = clip(self._stored.covered, self._end())
        self._begins = self._stored.begins
        self._saved_at, self._pause = time.monotonic(), _SAVE_SECONDS
        self._expected = expected
        self._available = 0

    def _load(self) -> CachedSeries:
        try:
            return self._cache.read(self.key)
        except DataError as error:
            aside = self._cache.set_aside(self.key)
            message = Message(
                "damaged-store",
                "{reason} It was renamed to {file}, and the candles are downloaded again.",
                reason=f"{error}",
                file=aside.name,
            )
            log.warning("%s", message)
            self.findings.append(Finding("damaged-store", "warning", message))
            return CachedSeries()

    @property
    def begins(self) -> pd.Timestamp | None:
        """Start of the source's history; None if unknown."""
        return None if self._begins is None else from_micros(self._begins)

    def missing(self, start: pd.Timestamp, stop: pd.Timestamp) -> list[Span]:
        """The spans to download, without those that end before another candle could open."""
        self._available += self.count(start, stop)
        gaps = subtract(self._covered, (to_micros(start), to_micros(stop)))
        return [gap for gap in gaps if not self._is_within_candle(*gap)]

    def _is_within_candle(self, start: int, stop: int) -> bool:
        """Whether a gap starts at a candle and ends before the next one could open."""
        step = self.key.interval.seconds * 1_000_000
        if self.key.interval.unit == "mo" or stop - start >= step:
            return False
        return any(bool((times == start - TICK).any()) for times in self._times())

    def add(self, frame: pd.DataFrame, start: pd.Timestamp, until: pd.Timestamp) -> None:
        """Add the rows of a page that open in [start, until), and mark that span as downloaded."""
        rows = _tidy(frame)
        rows = rows[(rows.index >= start) & (rows.index < until)]
        self._covered = union(self._covered, (to_micros(start), to_micros(until)))
        if len(rows):
            self._unsaved.append(rows)
            if self._begins is not None and to_micros(rows.index[0]) < self._begins:
                self._begins = None
        if self._progress is not None:
            self._available += len(rows)
            self._progress(min(self._available, self._expected), self._expected)
        unsaved = sum(map(len, self._unsaved))
        due = time.monotonic() - self._saved_at > self._pause
        if unsaved >= max(_SAVE_ROWS, _SAVE_SHARE * len(self._stored.frame)) or (unsaved and due):
            self.save()

    def set_history_start(self, time_: pd.Timestamp) -> None:
        """Remember that the source's history begins with its first candle at or after a time, if there is one."""
        later = [int(times[times >= to_micros(time_)].min(initial=_NEVER)) for times in self._times()]
        self._begins = None if min(later) == _NEVER else min(later)

    def save(self) -> None:
        """Write new rows, downloaded spans and the start of the history to the cache."""
        covered = clip(self._covered, self._end())
        if not self._unsaved and (covered, self._begins) == (self._stored.covered, self._stored.begins):
            return
        started = time.monotonic()
        self._stored = CachedSeries(self._joined(), covered, self._begins)
        self._unsaved = []
        self._cache.write(self.key, self._stored)
        self._saved_at = time.monotonic()
        self._pause = max(_SAVE_SECONDS, _SAVE_PAUSE * (self._saved_at - started))

    def count(self, start: pd.Timestamp, stop: pd.Timestamp) -> int:
        """Number of candles that open in [start, stop)."""
        return len(self.between(start, stop))

    def between(self, start: pd.Timestamp, stop: pd.Timestamp) -> pd.DataFrame:
        """The candles that open in [start, stop)."""
        frame = self._joined()
        return frame[(frame.index >= start) & (frame.index < stop)]

    def has_candles_before(self, time_: pd.Timestamp) -> bool:
        """Whether any candle opens before a time."""
        return any(len(times) and int(times[0]) < to_micros(time_) for times in self._times())

    def _times(self) -> list[np.ndarray]:
        """Opening times of the stored and of the unsaved rows, in microseconds."""
        return [micros_index(frame).asi8 for frame in (self._stored.frame, *self._unsaved)]

    def _end(self) -> int:
        """Just after the last candle, in microseconds."""
        return max(int(times[-1]) + TICK if len(times) else -_NEVER for times in self._times())

    def _joined(self) -> pd.DataFrame:
        if not self._unsaved:
            return self._stored.frame
        return _tidy(pd.concat([self._stored.frame, *self._unsaved]))


def _tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by time, in microseconds, without duplicates; the last one received wins."""
    tidy = frame[list(COLUMNS)].astype(np.float64)
    tidy.index = micros_index(frame).rename(TIME)
    tidy = tidy[~tidy.index.duplicated(keep="last")]
    return tidy.sort_index()


class CachedSource:
    """A `CandleSource` over a `PageSource` and a cache.

    Attributes:
        source: The remote source.
        store: The cache of its candles.
    """

    def __init__(self, source: PageSource, store: CandleCache, *, progress: ProgressCallback | None = None) -> None:
        """Combine a source and a cache.

        Args:
            source: The remote source.
            store: The cache of its candles.
            progress: Called with the number of available and of requested candles during a download.
        """
        self.source = source
        self.store = store
        self._progress = progress

    @property
    def name(self) -> str:
        """Name of the remote source."""
        return self.source.name

    @property
    def simulated(self) -> bool:
        """Always false: remote candles were traded."""
        return False

    def now(self) -> pd.Timestamp:
        """UTC time on the source's clock."""
        return self.source.now()

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """Supported intervals of an instrument, ascending; see `CandleSource.intervals`."""
        return self.source.intervals(self.source.resolve(symbol))

    def candles(
        self,
        symbol: str,
        interval: Interval,
        *,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        records: int | None = None,
    ) -> Candles:
        """Return closed candles, downloading those that the cache lacks; see `CandleSource.candles`.

        Raises:
            ParameterError: If the source does not have the instrument or the interval.
            SourceError: If the source cannot be reached; the pages received before are saved.
            StorageError: If the cache cannot be written to.
            DataError: If there are no candles in that range.
        """
        CandleRange(start, end, records).validate()
        key = self._key(symbol, interval.normalized())
        stop = self._closed_before(key.interval)
        if end is not None:
            stop = min(stop, to_utc(end))
        request = _Request(start=None if start is None else to_utc(start), stop=stop, records=records)
        with self.store.lock(key):
            state = DownloadState(self.store, key, request.max_count(key.interval), self._progress)
            try:
                frame = self._download(state, request)
            finally:
                state.save()
        return _to_candles(frame, symbol, request, state)

    def _key(self, symbol: str, interval: Interval) -> SeriesKey:
        name = self.source.resolve(symbol)
        supported = self.source.intervals(name)
        if interval not in supported:
            raise unsupported_interval(symbol, interval, supported, self.name)
        return SeriesKey(self.name, name, interval)

    def _closed_before(self, interval: Interval) -> pd.Timestamp:
        """First opening time whose candle is not closed yet."""
        settled = self.source.now() - SETTLE_DELAY
        closed = settled - (interval.offset if interval.unit == "mo" else interval.delta)
        return to_utc(closed) + pd.Timedelta(microseconds=TICK)

    def _download(self, state: DownloadState, request: _Request) -> pd.DataFrame:
        """Download the requested span; if it holds too few candles, go back until there are enough or no more."""
        interval = state.key.interval
        first = oldest_candles = request.first(interval)  # all spans from `first` to `oldest_candles` were empty
        self._download_pages(state, first, request.stop)
        while first > request.earliest and not (state.begins is not None and first <= state.begins):
            count = state.count(first, request.stop)
            if count >= request.max_records:
                break
            earlier = request.earlier(first, count, oldest_candles - first, interval)
            self._download_pages(state, earlier, first)
            if state.count(earlier, first):
                oldest_candles = earlier
            elif oldest_candles - earlier >= _longest_halt(interval) and not state.has_candles_before(earlier):
                state.set_history_start(oldest_candles)
                break
            first = earlier
        return state.between(first, request.stop)

    def _download_pages(self, state: DownloadState, start: pd.Timestamp, stop: pd.Timestamp) -> None:
        """Download everything between two times that the cache lacks."""
        for begin, end in state.missing(start, stop):
            cursor, last = from_micros(begin), from_micros(end)
            while cursor < last:
                page = self.source.page(state.key.symbol, state.key.interval, cursor, last)
                until = min(page.until, last)
                if until <= cursor:
                    raise SourceError(f"{self.name} sent an unusable page of {state.key.symbol} at {cursor}.")
                state.add(page.frame, cursor, until)
                cursor = until


@dataclass(frozen=True, slots=True)
class _Request:
    """Candles that open in [start, stop), at most the latest ``records`` of them; times in UTC."""

    start: pd.Timestamp | None
    stop: pd.Timestamp
    records: int | None

    @property
    def max_records(self) -> float:
        return math.inf if self.records is None else self.records

    @property
    def earliest(self) -> pd.Timestamp:
        """Limit of the search."""
        return _EARLIEST if self.start is None else self.start

    def first(self, interval: Interval) -> pd.Timestamp:
        """Start of the first download: exactly ``records`` intervals before the stop, or the requested start."""
        if self.records is None and self.start is not None:
            return min(self.start, self.stop)
        return self._back(self.stop, self.records or _BEFORE_LISTING[0], interval)

    def max_count(self, interval: Interval) -> int:
        """Maximum number of candles of the request."""
        return self.records or max(1, int((self.stop - self.first(interval)) / interval.delta))

    def earlier(self, first: pd.Timestamp, count: int, silence: pd.Timedelta, interval: Interval) -> pd.Timestamp:
        """Next start, to find the missing candles at the density so far.

        The step is limited to four times the span so far; in an empty stretch it is at least four times its length.
        """
        so_far = (self.stop - first) / interval.delta
        lacking = (self.max_records - count) / max(0.1, count / max(1.0, so_far))
        steps = max(min(lacking, 4 * so_far), 4 * (silence / interval.delta)) + _MARGIN
        return self._back(first, steps, interval)

    def _back(self, time_: pd.Timestamp, count: float, interval: Interval) -> pd.Timestamp:
        """A number of intervals before a time, not before the limit; the number may exceed the range of times."""
        if count >= (time_ - self.earliest) / interval.delta:
            return min(self.earliest, time_)
        return time_ - count * interval.delta


def _longest_halt(interval: Interval) -> pd.Timedelta:
    """A span without candles that is longer than any halt of a market."""
    count, minimum = _BEFORE_LISTING
    return max(count * interval.delta, minimum)


def _to_candles(frame: pd.DataFrame, symbol: str, request: _Request, state: DownloadState) -> Candles:
    """Convert rows to `Candles` with their findings."""
    key = state.key
    if request.records is not None:
        frame = frame.iloc[max(0, len(frame) - request.records) :]
    if len(frame) < 2:
        available = "one closed candle" if len(frame) else "no closed candles"
        raise DataError(f"{key.source} has {available} of {symbol} at {key.interval} in that range.")
    known = [column for column in COLUMNS if frame[column].notna().any()]
    candles = Candles.from_frame(frame[known], symbol=symbol, interval=key.interval, timezone="UTC")
    short = _shortfall(frame, key, request, state.begins)
    findings = (*short, *state.findings, *candles.findings)
    return replace(candles, findings=findings, source=f"{key.source} {key.symbol}")


def _shortfall(
    frame: pd.DataFrame, key: SeriesKey, request: _Request, begins: pd.Timestamp | None
) -> tuple[Finding, ...]:
    """Finding about a history that is shorter than requested, if it is."""
    first = frame.index[0]
    if request.records is not None and len(frame) < request.records:
        complete = begins is not None and first <= begins
        reason = f": its history of {key.symbol} begins {first:%Y-%m-%d %H:%M}" if complete else ""
        message = Message(
            "source-short-history",
            "{source} has {count} of the {records} requested {interval} candles{reason}.",
            source=key.source,
            count=f"{len(frame):,}",
            records=f"{request.records:,}",
            interval=f"{key.interval}",
            reason=reason,
        )
        return (Finding("short-history", "warning", message, (), request.records - len(frame)),)
    if request.records is None and request.start is not None and first - key.interval.delta >= request.start:
        span = f"from {request.start:%Y-%m-%d %H:%M} until {first:%Y-%m-%d %H:%M}"
        message = Message(
            "source-span",
            "{source} has no {interval} candles of {symbol} {span}.",
            source=key.source,
            interval=f"{key.interval}",
            symbol=key.symbol,
            span=span,
        )
        return (Finding("short-history", "info", message),)
    return ()

"""Downloads: a remote source of pages as a source of candles that keeps what it has fetched.

- Only what the store does not know is asked for, page by page; every few pages are saved, so that an interrupted
  download goes on where it was. Two processes that want the same series take turns, and the second finds the first's.
- A candle counts once its interval has passed on the source's clock, and `SETTLE` more: the forming one never does.
- Duplicates and disorder on the way change nothing: the rows are the same as those of an undisturbed download.
- Silence counts as an answer only if there are candles after it. What follows the last one is asked about again, since
  the source may be late, or some clock have been wrong.
- Where the source has no earlier candles, that is remembered, and a shorter history than asked for is a finding.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS, Candles, Finding
from kronos.errors import DataError, ParameterError, SourceError
from kronos.intervals import Interval
from kronos.progress import ProgressCallback
from kronos.sources.base import SETTLE, TICK, PageSource, check_span, from_micros, to_micros, utc
from kronos.sources.cache import TIME, CachedSeries, CandleCache, SeriesKey, Span, clip, subtract, union

_SAVE_ROWS, _SAVE_SHARE, _SAVE_SECONDS = 1_000, 0.1, 5.0  # how much an interruption may cost
_SAVE_PAUSE = 20.0  # how much longer than a save the time until the next has to be
_NEVER = 2**62  # microseconds

log = logging.getLogger("kronos.sources")


class DownloadState:
    """A series while it is downloaded: what is stored, and rows that wait to be."""

    def __init__(self, store: CandleCache, key: SeriesKey, wanted: int, progress: ProgressCallback | None) -> None:
        self.key = key
        self.findings: list[Finding] = []
        self._store = store
        self._progress = progress
        self._stored = self._open()
        self._waiting: list[pd.DataFrame] = []
        self._asked = clip(self._stored.covered, self._end())
        self._begins = self._stored.begins
        self._saved_at, self._pause = time.monotonic(), _SAVE_SECONDS
        self._wanted = wanted
        self._there = 0

    def _open(self) -> CachedSeries:
        try:
            return self._store.read(self.key)
        except DataError as error:
            aside = self._store.set_aside(self.key)
            message = f"{error} It was set aside as {aside.name}, and the candles are downloaded afresh."
            log.warning("%s", message)
            self.findings.append(Finding("damaged-store", "warning", message))
            return CachedSeries()

    @property
    def begins(self) -> pd.Timestamp | None:
        """When the source's history begins, as far as known."""
        return None if self._begins is None else from_micros(self._begins)

    def unknown(self, start: pd.Timestamp, stop: pd.Timestamp) -> list[Span]:
        """The spans to ask for, without those that end before another candle could open."""
        self._there += self.count(start, stop)
        gaps = subtract(self._asked, (to_micros(start), to_micros(stop)))
        return [gap for gap in gaps if not self._too_short(*gap)]

    def _too_short(self, start: int, stop: int) -> bool:
        """Whether a gap begins at a candle, and ends before the next could open."""
        step = self.key.interval.seconds * 1_000_000
        if self.key.interval.unit == "mo" or stop - start >= step:
            return False
        return any(bool((times == start - TICK).any()) for times in self._times())

    def add(self, frame: pd.DataFrame, start: pd.Timestamp, until: pd.Timestamp) -> None:
        """Take a page's rows that open in [start, until), and what they say about that span."""
        rows = _tidy(frame)
        rows = rows[(rows.index >= start) & (rows.index < until)]
        self._asked = union(self._asked, (to_micros(start), to_micros(until)))
        if len(rows):
            self._waiting.append(rows)
            if self._begins is not None and to_micros(rows.index[0]) < self._begins:
                self._begins = None
        if self._progress is not None:
            self._there += len(rows)
            self._progress(min(self._there, self._wanted), self._wanted)
        waiting = sum(len(one) for one in self._waiting)
        late = time.monotonic() - self._saved_at > self._pause
        if waiting >= max(_SAVE_ROWS, _SAVE_SHARE * len(self._stored.frame)) or (waiting and late):
            self.save()

    def nothing_before(self, time_: pd.Timestamp) -> None:
        """Remember that the source's history begins at its first candle after a time, if there is one."""
        later = [int(times[times >= to_micros(time_)].min(initial=_NEVER)) for times in self._times()]
        self._begins = None if min(later) == _NEVER else min(later)

    def save(self) -> None:
        """Write what waits, and what is known about time, to the store."""
        covered = clip(self._asked, self._end())
        if not self._waiting and (covered, self._begins) == (self._stored.covered, self._stored.begins):
            return
        began = time.monotonic()
        self._stored = CachedSeries(self._joined(), covered, self._begins)
        self._waiting = []
        self._store.write(self.key, self._stored)
        self._saved_at = time.monotonic()
        self._pause = max(_SAVE_SECONDS, _SAVE_PAUSE * (self._saved_at - began))

    def count(self, start: pd.Timestamp, stop: pd.Timestamp) -> int:
        """How many candles there are between two times."""
        return len(self.between(start, stop))

    def between(self, start: pd.Timestamp, stop: pd.Timestamp) -> pd.DataFrame:
        """The candles that open in [start, stop)."""
        frame = self._joined()
        return frame[(frame.index >= start) & (frame.index < stop)]

    def reaches(self, time_: pd.Timestamp) -> bool:
        """Whether there is a candle before a time."""
        return any(len(times) and int(times[0]) < to_micros(time_) for times in self._times())

    def _times(self) -> list[np.ndarray]:
        """Microseconds of all rows, part by part."""
        return [_index(one).asi8 for one in (self._stored.frame, *self._waiting)]

    def _end(self) -> int:
        """Just after the last candle."""
        return max(int(times[-1]) + TICK if len(times) else -_NEVER for times in self._times())

    def _joined(self) -> pd.DataFrame:
        if not self._waiting:
            return self._stored.frame
        return _tidy(pd.concat([self._stored.frame, *self._waiting]))


def _tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in order, each time once (the row that came last), in microseconds."""
    tidy = frame[list(COLUMNS)].astype(np.float64)
    tidy.index = _index(frame).rename(TIME)
    tidy = tidy[~tidy.index.duplicated(keep="last")]
    return tidy.sort_index()


def _index(frame: pd.DataFrame) -> pd.DatetimeIndex:
    index = frame.index
    assert isinstance(index, pd.DatetimeIndex)
    return index.tz_convert("UTC").as_unit("us")


_EARLIEST = pd.Timestamp("2000-01-01", tz="UTC")  # how far back it goes by itself; a start may be earlier
_FEW = 10  # intervals more than should do
_BEFORE_LISTING = (300, pd.Timedelta(days=60))  # an empty stretch this long means that nothing is earlier


class CachedSource:
    """A `CandleSource` made of a `PageSource` and a store.

    Attributes:
        source: Whom to ask.
        store: Where its answers are kept.
    """

    def __init__(self, source: PageSource, store: CandleCache, *, progress: ProgressCallback | None = None) -> None:
        """Join a source and a store.

        Args:
            source: Whom to ask.
            store: Where its answers are kept.
            progress: Called with the rows there are and the rows wanted.
        """
        self.source = source
        self.store = store
        self._progress = progress

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name

    @property
    def simulated(self) -> bool:
        """Never: what is downloaded is what a market or its vendor says."""
        return False

    def now(self) -> pd.Timestamp:
        """The time on the source's clock; UTC."""
        return self.source.now()

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """See `CandleSource`."""
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
        """Closed candles, downloading those that the store lacks; see `CandleSource`.

        Raises:
            ParameterError: If the source does not have the instrument or the interval.
            SourceError: If it cannot be reached; what came before that is kept.
            StorageError: If the store cannot be written to.
            DataError: If there are no candles in that span.
        """
        check_span(start, end, records)
        key = self._key(symbol, interval.normalized())
        stop = self._closed_before(key.interval)
        if end is not None:
            stop = min(stop, utc(end))
        want = _Request(start=None if start is None else utc(start), stop=stop, records=records)
        with self.store.lock(key):
            series = DownloadState(self.store, key, want.about(key.interval), self._progress)
            try:
                frame = self._gather(series, want)
            finally:
                series.save()
        return _finish(frame, symbol, key, want, series)

    def _key(self, symbol: str, interval: Interval) -> SeriesKey:
        name = self.source.resolve(symbol)
        served = self.source.intervals(name)
        if interval not in served:
            listed = ", ".join(str(one) for one in served)
            raise ParameterError(f"{self.name} has no {interval} candles of {symbol}; it has {listed}.")
        return SeriesKey(self.name, name, interval)

    def _closed_before(self, interval: Interval) -> pd.Timestamp:
        """The first opening time of which a candle is not closed yet."""
        settled = self.source.now() - SETTLE
        closed = settled - (interval.offset if interval.unit == "mo" else interval.delta)
        return utc(closed) + pd.Timedelta(microseconds=TICK)

    def _gather(self, series: DownloadState, want: _Request) -> pd.DataFrame:
        """Fetch the wanted span; where it holds too few candles, go further back until there are enough, or no more."""
        interval = series.key.interval
        first = heard = want.first(interval)  # nothing but silence from the former to the latter
        self._fill(series, first, want.stop)
        while first > want.earliest and not (series.begins is not None and first <= series.begins):
            have = series.count(first, want.stop)
            if have >= want.most:
                break
            earlier = want.earlier(first, have, heard - first, interval)
            self._fill(series, earlier, first)
            if series.count(earlier, first):
                heard = earlier
            elif heard - earlier >= _long(interval) and not series.reaches(earlier):
                series.nothing_before(heard)
                break
            first = earlier
        return series.between(first, want.stop)

    def _fill(self, series: DownloadState, start: pd.Timestamp, stop: pd.Timestamp) -> None:
        """Ask for everything between two times that the store does not know."""
        for begin, end in series.unknown(start, stop):
            cursor, last = from_micros(begin), from_micros(end)
            while cursor < last:
                page = self.source.page(series.key.symbol, series.key.interval, cursor, last)
                until = min(page.until, last)
                if until <= cursor:
                    raise SourceError(f"{self.name} answered nothing usable about {series.key.symbol} at {cursor}.")
                series.add(page.frame, cursor, until)
                cursor = until


@dataclass(frozen=True, slots=True)
class _Request:
    """What was asked for: opening times before ``stop``, from ``start`` on, at most ``records`` of them."""

    start: pd.Timestamp | None
    stop: pd.Timestamp
    records: int | None

    @property
    def most(self) -> float:
        """How many candles are enough."""
        return math.inf if self.records is None else self.records

    @property
    def earliest(self) -> pd.Timestamp:
        """How far back it may go."""
        return _EARLIEST if self.start is None else self.start

    def first(self, interval: Interval) -> pd.Timestamp:
        """Where to begin: exactly ``records`` intervals before the stop, or at the start."""
        if self.records is None and self.start is not None:
            return min(self.start, self.stop)
        return self._back(self.stop, self.records or _BEFORE_LISTING[0], interval)

    def about(self, interval: Interval) -> int:
        """How many candles that will be, at most."""
        return self.records or max(1, int((self.stop - self.first(interval)) / interval.delta))

    def earlier(self, first: pd.Timestamp, have: int, silence: pd.Timedelta, interval: Interval) -> pd.Timestamp:
        """How far to go back for the candles that lack, at the density seen so far, but not too far at once.

        Through a silence it goes in strides.
        """
        so_far = (self.stop - first) / interval.delta
        lacking = (self.most - have) / max(0.1, have / max(1.0, so_far))
        count = max(min(lacking, 4 * so_far), 4 * (silence / interval.delta)) + _FEW
        return self._back(first, count, interval)

    def _back(self, time_: pd.Timestamp, count: float, interval: Interval) -> pd.Timestamp:
        """So many intervals before a time, or the earliest; the count may be larger than times can tell."""
        if count >= (time_ - self.earliest) / interval.delta:
            return min(self.earliest, time_)
        return time_ - count * interval.delta


def _long(interval: Interval) -> pd.Timedelta:
    """A stretch without candles that no halt of a market is long enough for."""
    count, least = _BEFORE_LISTING
    return max(count * interval.delta, least)


def _finish(frame: pd.DataFrame, symbol: str, key: SeriesKey, want: _Request, series: DownloadState) -> Candles:
    """Rows as `Candles`, with what has to be said about them."""
    if want.records is not None:
        frame = frame.iloc[max(0, len(frame) - want.records) :]
    if len(frame) < 2:
        there = "one closed candle" if len(frame) else "no closed candles"
        raise DataError(f"{key.source} has {there} of {symbol} at {key.interval} in the time asked for.")
    told = [column for column in COLUMNS if frame[column].notna().any()]
    candles = Candles.from_frame(frame[told], symbol=symbol, interval=key.interval, timezone="UTC")
    findings = [*series.findings, *candles.findings]
    short = _short(frame, key, want, series.begins)
    return replace(candles, findings=(*short, *findings), source=f"{key.source} {key.symbol}")


def _short(frame: pd.DataFrame, key: SeriesKey, want: _Request, begins: pd.Timestamp | None) -> tuple[Finding, ...]:
    """A finding if there is less than asked for."""
    first = frame.index[0]
    if want.records is not None and len(frame) < want.records:
        whole = begins is not None and first <= begins
        since = f": its history of {key.symbol} begins {first:%Y-%m-%d %H:%M}" if whole else ""
        message = f"{key.source} has {len(frame):,} of the {want.records:,} {key.interval} candles asked for{since}."
        return (Finding("short-history", "warning", message, (), want.records - len(frame)),)
    if want.records is None and want.start is not None and first - key.interval.delta >= want.start:
        since = f"from {want.start:%Y-%m-%d %H:%M} until {first:%Y-%m-%d %H:%M}"
        message = f"{key.source} has no {key.interval} candles of {key.symbol} {since}."
        return (Finding("short-history", "info", message),)
    return ()

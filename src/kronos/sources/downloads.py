"""Downloads: a remote source of pages as a source of candles that keeps what it has fetched.

- Only what the store does not know is asked for, page by page; every few pages are saved, so that an interrupted
  download goes on where it was. Two processes that want the same series take turns, and the second finds the first's.
- A candle counts once its interval has passed on the source's clock, and `SETTLE` more: the forming one never does.
- Duplicates and disorder on the way change nothing: the rows are the same as those of an undisturbed download.
- Where the source has no earlier candles, that is remembered, and a shorter history than asked for is a finding.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS, Candles, Finding
from kronos.errors import DataError, ParameterError, SourceError
from kronos.intervals import Interval
from kronos.sources.protocol import SETTLE, PageSource
from kronos.sources.spans import Span, add, missing
from kronos.sources.store import TIME, CandleStore, SeriesKey, Stored

Progress = Callable[[int, int], None]

_EARLIEST = pd.Timestamp("2000-01-01", tz="UTC")  # no remote source here reaches further back intraday
_SAVE_ROWS, _SAVE_SHARE, _SAVE_SECONDS = 1_000, 0.1, 5.0  # how much an interruption may cost
_BEFORE_LISTING = (300, pd.Timedelta(days=14))  # an empty stretch this long means that nothing is earlier
_TICK = 1  # microsecond

log = logging.getLogger("kronos.sources")


class Downloads:
    """A `CandleSource` made of a `PageSource` and a store.

    Attributes:
        source: Whom to ask.
        store: Where its answers are kept.
    """

    def __init__(self, source: PageSource, store: CandleStore, *, progress: Progress | None = None) -> None:
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
        key = self._key(symbol, interval)
        closed = self.source.now() - SETTLE - interval.delta
        if interval.unit == "mo":
            closed = self.source.now() - SETTLE - interval.offset
        stop = closed + pd.Timedelta(microseconds=_TICK)
        if end is not None:
            stop = min(stop, utc(end))
        with self.store.lock(key):
            series = _Series(self.store, key, self._progress)
            want = _Want(start=None if start is None else utc(start), stop=stop, records=records)
            series.begin(want, present=closed)
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

    def _gather(self, series: _Series, want: _Want) -> pd.DataFrame:
        """Fetch the wanted span; where it holds too few candles, go further back until there are enough, or no more."""
        first = want.first(series.key.interval)
        self._fill(series, first, want.stop)
        while first > want.earliest:
            have = series.count(first, want.stop)
            if have >= want.most or (series.begins is not None and first <= series.begins):
                break
            earlier = want.earlier(first, have, series.key.interval)
            before = series.count(earlier, first)
            self._fill(series, earlier, first)
            if series.count(earlier, first) == before == 0 and first - earlier >= _long(series.key.interval):
                series.nothing_before(first)
            first = earlier
        return series.between(first, want.stop)

    def _fill(self, series: _Series, start: pd.Timestamp, stop: pd.Timestamp) -> None:
        """Ask for everything between two times that the store does not know."""
        for begin, end in series.unknown(start, stop):
            cursor, last = _stamp(begin), _stamp(end)
            while cursor < last:
                page = self.source.page(series.key.symbol, series.key.interval, cursor, last)
                until = min(page.until, last)
                if until <= cursor:
                    raise SourceError(f"{self.name} answered nothing usable about {series.key.symbol} at {cursor}.")
                series.add(page.frame, cursor, until)
                cursor = until


@dataclass(frozen=True, slots=True)
class _Want:
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
        first = self.stop - (self.records or _BEFORE_LISTING[0]) * interval.delta
        return min(max(first, self.earliest), self.stop)

    def earlier(self, first: pd.Timestamp, have: int, interval: Interval) -> pd.Timestamp:
        """How far to go back for the candles that lack, at the density seen so far, but not too far at once."""
        so_far = (self.stop - first) / interval.delta
        lacking = (self.most - have) / max(0.1, have / max(1.0, so_far))
        span = max(min(lacking, 4 * so_far) * interval.delta, _long(interval))
        return max(first - span, self.earliest)


def _long(interval: Interval) -> pd.Timedelta:
    """A stretch without candles that no halt of a market is long enough for."""
    count, least = _BEFORE_LISTING
    return max(count * interval.delta, least)


class _Series:
    """A series while it is downloaded: what is stored, and rows that wait to be."""

    def __init__(self, store: CandleStore, key: SeriesKey, progress: Progress | None) -> None:
        self.key = key
        self.findings: list[Finding] = []
        self._store = store
        self._progress = progress
        self._stored = self._open()
        self._waiting: list[pd.DataFrame] = []
        self._covered = self._stored.covered
        self._begins = self._stored.begins
        self._saved_at = time.monotonic()
        self._wanted = 0
        self._present = 0

    def _open(self) -> Stored:
        try:
            return self._store.read(self.key)
        except DataError as error:
            aside = self._store.set_aside(self.key)
            message = f"{error} It was set aside as {aside.name}, and the candles are downloaded afresh."
            log.warning("%s", message)
            self.findings.append(Finding("damaged-store", "warning", message))
            return Stored()

    @property
    def begins(self) -> pd.Timestamp | None:
        """When the source's history begins, as far as known."""
        return None if self._begins is None else _stamp(self._begins)

    def begin(self, want: _Want, present: pd.Timestamp) -> None:
        """Note what is wanted, for the progress, and the last opening time of a candle that can be closed."""
        first = want.first(self.key.interval)
        self._wanted = want.records or max(1, int((want.stop - first) / self.key.interval.delta))
        self._present = _micro(present)

    def unknown(self, start: pd.Timestamp, stop: pd.Timestamp) -> list[Span]:
        """The spans to ask for, without those that end before another candle could open."""
        known = self._covered if self._begins is None else add(self._covered, (_micro(_EARLIEST), self._begins))
        gaps = missing(known, (_micro(start), _micro(stop)))
        step = self.key.interval.seconds * 1_000_000
        held = set() if not len(gaps) else set(self._times().tolist())
        fixed = self.key.interval.unit != "mo"
        return [(a, b) for a, b in gaps if not (fixed and a - _TICK in held and a - _TICK + step >= b)]

    def add(self, frame: pd.DataFrame, start: pd.Timestamp, until: pd.Timestamp) -> None:
        """Take a page's rows that open in [start, until), and what they say about that span."""
        rows = _tidy(frame)
        rows = rows[(rows.index >= start) & (rows.index < until)]
        end = _micro(until)
        if end > self._present:
            # At the present, silence may only mean that the source is late: nothing is known after the last candle.
            end = _micro(rows.index[-1]) + _TICK if len(rows) else _micro(start)
        self._covered = add(self._covered, (_micro(start), end))
        if len(rows):
            self._waiting.append(rows)
        waiting = sum(len(one) for one in self._waiting)
        if self._progress is not None:
            self._progress(min(len(self._stored.frame) + waiting, self._wanted), self._wanted)
        late = time.monotonic() - self._saved_at > _SAVE_SECONDS
        if waiting >= max(_SAVE_ROWS, _SAVE_SHARE * len(self._stored.frame)) or (waiting and late):
            self.save()

    def nothing_before(self, time_: pd.Timestamp) -> None:
        """Remember that the source's history begins at its first candle after a time."""
        times = self._times()
        later = times[times >= _micro(time_)]
        self._begins = int(later.min()) if len(later) else _micro(time_)

    def save(self) -> None:
        """Write what waits, and what is known about time, to the store."""
        changed = self._waiting or (self._covered, self._begins) != (self._stored.covered, self._stored.begins)
        if not changed:
            return
        self._stored = Stored(self._joined(), self._covered, self._begins)
        self._waiting = []
        self._store.write(self.key, self._stored)
        self._saved_at = time.monotonic()

    def count(self, start: pd.Timestamp, stop: pd.Timestamp) -> int:
        """How many candles there are between two times."""
        return len(self.between(start, stop))

    def between(self, start: pd.Timestamp, stop: pd.Timestamp) -> pd.DataFrame:
        """The candles that open in [start, stop)."""
        frame = self._joined()
        return frame[(frame.index >= start) & (frame.index < stop)]

    def _times(self) -> np.ndarray:
        return np.concatenate([_index(one).asi8 for one in (self._stored.frame, *self._waiting)])

    def _joined(self) -> pd.DataFrame:
        if not self._waiting:
            return self._stored.frame
        return _tidy(pd.concat([self._stored.frame, *self._waiting]))


def _finish(frame: pd.DataFrame, symbol: str, key: SeriesKey, want: _Want, series: _Series) -> Candles:
    """Rows as `Candles`, with what has to be said about them."""
    if want.records is not None:
        frame = frame.iloc[max(0, len(frame) - want.records) :]
    if len(frame) < 2:
        there = "one closed candle" if len(frame) else "no closed candles"
        raise DataError(f"{key.source} has {there} of {symbol} at {key.interval} in the time asked for.")
    told = [column for column in COLUMNS if frame[column].notna().any()]
    candles = Candles.from_frame(frame[told], symbol=symbol, interval=key.interval, timezone="UTC")
    findings = [*series.findings, *candles.findings]
    if want.records is not None and len(frame) < want.records:
        since = "" if series.begins is None else f": its history of {key.symbol} begins {frame.index[0]:%Y-%m-%d %H:%M}"
        message = f"{key.source} has {len(frame):,} of the {want.records:,} {key.interval} candles asked for{since}."
        findings.insert(0, Finding("short-history", "warning", message, (), want.records - len(frame)))
    return replace(candles, findings=tuple(findings), source=f"{key.source} {key.symbol}")


def check_span(start: pd.Timestamp | None, end: pd.Timestamp | None, records: int | None) -> None:
    """Refuse spans that cannot hold candles.

    Raises:
        ParameterError: If the end is not after the start, or fewer than two candles are asked for.
    """
    if records is not None and records < 2:
        raise ParameterError(f"At least 2 records are needed, not {records}.")
    if start is not None and end is not None and utc(end) <= utc(start):
        raise ParameterError(f"The end {end} is not after the start {start}.")


def utc(time_: pd.Timestamp) -> pd.Timestamp:
    """A time in UTC; a naive one is taken to be UTC."""
    stamp = pd.Timestamp(time_)
    return stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")


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


def _micro(time_: pd.Timestamp) -> int:
    return int(time_.value) // 1_000  # its value counts nanoseconds, whatever its unit


def _stamp(micro: int) -> pd.Timestamp:
    return pd.Timestamp(micro, unit="us", tz="UTC")

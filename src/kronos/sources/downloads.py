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

import math
from dataclasses import dataclass, replace

import pandas as pd

from kronos.candles import COLUMNS, Candles, Finding
from kronos.errors import DataError, ParameterError, SourceError
from kronos.intervals import Interval
from kronos.sources.protocol import SETTLE, PageSource
from kronos.sources.series import Progress, Series
from kronos.sources.store import CandleStore, SeriesKey
from kronos.sources.times import TICK, check_span, stamp, utc

_EARLIEST = pd.Timestamp("2000-01-01", tz="UTC")  # how far back it goes by itself; a start may be earlier
_FEW = 10  # intervals more than should do
_BEFORE_LISTING = (300, pd.Timedelta(days=60))  # an empty stretch this long means that nothing is earlier


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
        key = self._key(symbol, interval.normalized())
        stop = self._closed_before(key.interval)
        if end is not None:
            stop = min(stop, utc(end))
        want = _Want(start=None if start is None else utc(start), stop=stop, records=records)
        with self.store.lock(key):
            series = Series(self.store, key, want.about(key.interval), self._progress)
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

    def _gather(self, series: Series, want: _Want) -> pd.DataFrame:
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

    def _fill(self, series: Series, start: pd.Timestamp, stop: pd.Timestamp) -> None:
        """Ask for everything between two times that the store does not know."""
        for begin, end in series.unknown(start, stop):
            cursor, last = stamp(begin), stamp(end)
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


def _finish(frame: pd.DataFrame, symbol: str, key: SeriesKey, want: _Want, series: Series) -> Candles:
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


def _short(frame: pd.DataFrame, key: SeriesKey, want: _Want, begins: pd.Timestamp | None) -> tuple[Finding, ...]:
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

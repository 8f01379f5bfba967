"""A series while it is downloaded: what is stored, rows that wait to be, and which times were asked about.

Silence counts as an answer only if there are candles after it. What follows the last one stays unknown, since the
source may be late, or some clock have been wrong.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS, Finding
from kronos.errors import DataError
from kronos.sources.spans import Span, add, before, missing
from kronos.sources.store import TIME, CandleStore, SeriesKey, Stored
from kronos.sources.times import TICK, micro, stamp

Progress = Callable[[int, int], None]

_SAVE_ROWS, _SAVE_SHARE, _SAVE_SECONDS = 1_000, 0.1, 5.0  # how much an interruption may cost
_SAVE_PAUSE = 20.0  # how much longer than a save the time until the next has to be
_NEVER = 2**62  # microseconds

log = logging.getLogger("kronos.sources")


class Series:
    """A series while it is downloaded: what is stored, and rows that wait to be."""

    def __init__(self, store: CandleStore, key: SeriesKey, wanted: int, progress: Progress | None) -> None:
        self.key = key
        self.findings: list[Finding] = []
        self._store = store
        self._progress = progress
        self._stored = self._open()
        self._waiting: list[pd.DataFrame] = []
        self._asked = before(self._stored.covered, self._end())
        self._begins = self._stored.begins
        self._saved_at, self._pause = time.monotonic(), _SAVE_SECONDS
        self._wanted = wanted
        self._there = 0

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
        return None if self._begins is None else stamp(self._begins)

    def unknown(self, start: pd.Timestamp, stop: pd.Timestamp) -> list[Span]:
        """The spans to ask for, without those that end before another candle could open."""
        self._there += self.count(start, stop)
        gaps = missing(self._asked, (micro(start), micro(stop)))
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
        self._asked = add(self._asked, (micro(start), micro(until)))
        if len(rows):
            self._waiting.append(rows)
            if self._begins is not None and micro(rows.index[0]) < self._begins:
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
        later = [int(times[times >= micro(time_)].min(initial=_NEVER)) for times in self._times()]
        self._begins = None if min(later) == _NEVER else min(later)

    def save(self) -> None:
        """Write what waits, and what is known about time, to the store."""
        covered = before(self._asked, self._end())
        if not self._waiting and (covered, self._begins) == (self._stored.covered, self._stored.begins):
            return
        began = time.monotonic()
        self._stored = Stored(self._joined(), covered, self._begins)
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
        return any(len(times) and int(times[0]) < micro(time_) for times in self._times())

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

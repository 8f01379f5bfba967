"""Recorded candles served as if they were live: by a clock of their own, and only once they have closed.

- The clock starts at a given time and stands still, runs at a multiple of the wall clock's speed, or is advanced by
  hand. It never goes back.
- A candle is closed once its interval has passed since its timestamp, which is taken as its opening time. Candles that
  a recording labels by their closing time appear one interval late, never early.
- Findings, `has_volume` and `has_amount` are those of the whole recording.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd

from kronos.candles import Candles, Finding
from kronos.errors import DataError, ParameterError
from kronos.formatting import Message
from kronos.intervals import Interval
from kronos.sources.base import (
    CandleRange,
    CandleSource,
    LocalSource,
    closing_time,
    normalize_symbol,
    slice_request,
    to_utc,
    unknown_symbol,
    unsupported_interval,
)

_TICK = pd.Timedelta(microseconds=1)
_DST_MARGIN = pd.Timedelta(hours=2)  # more than a change to daylight saving time shortens a day
_MAX_SLEEP = 60.0  # seconds after which a sleeping clock is read again
_NAME = "The recording"


class Recording(LocalSource):
    """Candles in memory as a `CandleSource`; its clock shows the closing time of the last one."""

    name = "recording"

    def __init__(self, series: Mapping[tuple[str, str | Interval], Candles]) -> None:
        """Store candles by symbol and interval.

        Raises:
            DataError: If there are no candles.
            ParameterError: If an interval is invalid.
        """
        self._series = {
            (normalize_symbol(symbol), Interval.parse(interval).normalized()): candles
            for (symbol, interval), candles in series.items()
        }
        self._symbols = tuple(dict.fromkeys(symbol for symbol, _ in series))
        if not any(len(candles) for candles in self._series.values()):
            raise DataError("The recording holds no candles: give at least one series.")

    @property
    def simulated(self) -> bool:
        """Whether any series is simulated."""
        return any(candles.simulated for candles in self._series.values())

    def now(self) -> pd.Timestamp:
        """UTC closing time of the last candle of all series."""
        return max(closing_time(c.end, interval) for (_, interval), c in self._series.items() if len(c))

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """Available intervals of an instrument, ascending.

        Raises:
            ParameterError: If there is no such instrument; suggests the nearest.
        """
        found = [interval for name, interval in self._series if name == normalize_symbol(symbol)]
        if not found:
            raise unknown_symbol(symbol, self._symbols, _NAME)
        return tuple(sorted(found, key=lambda interval: interval.seconds))

    def _select(self, symbol: str, interval: Interval, requested: CandleRange) -> Candles:
        available = self.intervals(symbol)
        if interval.normalized() not in available:
            raise unsupported_interval(symbol, interval, available, _NAME)
        return slice_request(self._series[normalize_symbol(symbol), interval.normalized()], requested, _NAME)


class Replay(LocalSource):
    """A `CandleSource` that shows a recording as it became known.

    Attributes:
        recorded: The whole recording.
        speed: Seconds of replayed time per second of real time; 0 stands still.
    """

    name = "replay"

    def __init__(
        self,
        recorded: CandleSource | Mapping[tuple[str, str | Interval], Candles],
        *,
        at: pd.Timestamp | None = None,
        speed: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start a replay.

        Args:
            recorded: Any source, such as `FileSource`, or candles by symbol and interval.
            at: Start time; a naive one is UTC. None for the end of the recording.
            speed: Speed relative to the wall clock; 0 stands still.
            clock: Wall clock, in seconds.

        Raises:
            ParameterError: If the speed is negative or not finite, or the start time is missing.
            DataError: If the recording is empty.
        """
        if not (math.isfinite(speed) and speed >= 0):
            raise ParameterError(f"Invalid speed of a replay {speed}: choose a finite number, at least 0.")
        if at is not None and pd.isna(at):
            raise ParameterError(f"Invalid start of a replay {at}: choose a time, or None for the recording's end.")
        self.recorded: CandleSource = Recording(recorded) if isinstance(recorded, Mapping) else recorded
        self.speed = float(speed)
        self._clock = clock
        self._started = clock()
        self._at = to_utc(self.recorded.now() if at is None else at)

    def __repr__(self) -> str:
        return f"<Replay of {self.recorded!r} at {self.now():%Y-%m-%d %H:%M:%S} UTC, speed {self.speed:g}>"

    @property
    def simulated(self) -> bool:
        """Whether the recording is simulated."""
        return self.recorded.simulated

    def now(self) -> pd.Timestamp:
        """The replayed time, UTC."""
        passed = self.speed * (self._clock() - self._started) if self.speed else 0.0
        return self._at + pd.Timedelta(seconds=passed)

    def advance(self, delta: pd.Timedelta) -> pd.Timestamp:
        """Advance the clock, in addition to its own speed.

        Returns:
            The new time, UTC.

        Raises:
            ParameterError: If the clock would go back.
        """
        if not delta >= pd.Timedelta(0):
            raise ParameterError(f"Invalid step of a replay's clock {delta}: it only goes forward.")
        self._at += delta
        return self.now()

    def sleep_until(self, moment: pd.Timestamp, stop: threading.Event | None = None) -> bool:
        """Wait until the clock shows a time; a clock that stands still is advanced to it at once.

        Args:
            moment: The time; a naive one is UTC.
            stop: Event that ends the wait.

        Returns:
            Whether the time was reached; false if the wait was stopped.
        """
        stop = threading.Event() if stop is None else stop
        while (left := (to_utc(moment) - self.now()).total_seconds()) > 0:
            if stop.is_set():
                return False
            if self.speed:
                stop.wait(min(left / self.speed, _MAX_SLEEP))
            else:
                self.advance(to_utc(moment) - self.now())
        return True

    def intervals(self, symbol: str) -> tuple[Interval, ...] | None:
        """Intervals of the recording; see `CandleSource.intervals`."""
        return self.recorded.intervals(symbol)

    def _select(self, symbol: str, interval: Interval, requested: CandleRange) -> Candles:
        requested.validate()
        start, end, records = requested.start, requested.end, requested.records
        now = self.now()
        stop = _open_from(now, interval)
        stop = stop if end is None else min(stop, to_utc(end))
        if start is not None and to_utc(start) >= stop:
            raise DataError(
                f"No {interval} candle of {symbol} that opens at {start} or later has closed by "
                f"{now:%Y-%m-%d %H:%M:%S}: choose an earlier start."
            )
        # Two more than requested, since the latest may not be closed.
        candles = self.recorded.candles(
            symbol, interval, start=start, end=stop, records=None if records is None else records + 2
        )
        return _closed(candles, now, records)


def _open_from(now: pd.Timestamp, interval: Interval) -> pd.Timestamp:
    """A time from which on no candle can be closed; at most one open candle starts before it."""
    if interval.unit == "mo":
        return now - pd.Timedelta(days=28 * interval.count) + _DST_MARGIN
    return now - interval.delta + (_TICK if interval.intraday else _DST_MARGIN)


def _closed(candles: Candles, now: pd.Timestamp, records: int | None) -> Candles:
    """The latest ``records`` closed candles, with a finding if there are fewer."""
    ends = pd.DatetimeIndex(candles.index + candles.interval.offset)
    ends = ends.tz_localize("UTC") if ends.tz is None else ends.tz_convert("UTC")
    last = int((ends <= now).sum())
    if not last:
        raise DataError(
            f"No {candles.interval} candle of {candles.symbol} has closed by {now:%Y-%m-%d %H:%M:%S} in that range."
        )
    findings = candles.findings
    first = 0
    if records is not None:
        first = max(0, last - records)
        findings = tuple(finding for finding in findings if finding.code != "short-history")
        if last < records:
            message = Message(
                "replay-short",
                "The replay has {count} of the {records} requested {interval} candles of {symbol}, as of {time}.",
                count=f"{last:,}",
                records=f"{records:,}",
                interval=f"{candles.interval}",
                symbol=f"{candles.symbol}",
                time=f"{now:%Y-%m-%d %H:%M}",
            )
            findings = (Finding("short-history", "warning", message, (), records - last), *findings)
    return replace(
        candles, frame=candles.frame.iloc[first:last].copy(), findings=findings, source=f"replay of {candles.source}"
    )

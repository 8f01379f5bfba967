"""A recording served as if it were live: its own clock, and only candles that have closed by it.

- The clock starts where it is told, and stands still, runs at a multiple of the wall clock's speed, or is stepped by
  hand. It never goes back.
- A candle is closed once its interval has passed since its stamp: stamps are taken to be opening times. Candles that a
  recording stamps at their close show one interval late, never early.
- What a recording says about itself, its findings and whether it tells volume, is said of the whole.
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
from kronos.intervals import Interval
from kronos.sources.base import (
    CandleSource,
    check_span,
    closing_time,
    no_interval,
    plain,
    slice_request,
    unknown_symbol,
    utc,
)

_TICK = pd.Timedelta(microseconds=1)
_SUMMER = pd.Timedelta(hours=2)  # by how much a change of the clocks can shorten a day, with some to spare
_NAP = 60.0  # seconds of sleep after which the clock is looked at again


class Recording:
    """Candles held in memory as a `CandleSource`; its clock stands where the last of them closes."""

    def __init__(self, series: Mapping[tuple[str, str | Interval], Candles]) -> None:
        """Hold candles by symbol and interval.

        Raises:
            DataError: If there are none.
            ParameterError: If a key's interval is none.
        """
        self._series = {(plain(s), Interval.parse(i).normalized()): candles for (s, i), candles in series.items()}
        self._symbols = tuple(dict.fromkeys(symbol for symbol, _ in series))
        if not any(len(candles) for candles in self._series.values()):
            raise DataError("The recording holds no candles; give at least one series.")

    @property
    def name(self) -> str:
        """``recording``."""
        return "recording"

    @property
    def simulated(self) -> bool:
        """Whether any series is invented."""
        return any(candles.simulated for candles in self._series.values())

    def now(self) -> pd.Timestamp:
        """When the last of all candles closes; UTC."""
        return max(closing_time(c.end, interval) for (_, interval), c in self._series.items() if len(c))

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """See `CandleSource`.

        Raises:
            ParameterError: If there is no such instrument, naming the nearest.
        """
        found = [interval for name, interval in self._series if name == plain(symbol)]
        if not found:
            raise unknown_symbol(symbol, self._symbols, "The recording")
        return tuple(sorted(found, key=lambda one: one.seconds))

    def candles(
        self,
        symbol: str,
        interval: Interval,
        *,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        records: int | None = None,
    ) -> Candles:
        """See `CandleSource`.

        Raises:
            ParameterError: If there is no such instrument or interval.
            DataError: If there are no candles in that span.
        """
        served = self.intervals(symbol)
        if interval.normalized() not in served:
            raise no_interval(symbol, interval, served, "The recording")
        return slice_request(self._series[plain(symbol), interval.normalized()], start, end, records, "The recording")


class Replay:
    """A `CandleSource` that shows a recording as it became known.

    Attributes:
        recorded: The whole recording.
        speed: Seconds that pass on its clock in one on the wall; 0 stands still.
    """

    def __init__(
        self,
        recorded: CandleSource | Mapping[tuple[str, str | Interval], Candles],
        *,
        at: pd.Timestamp | None = None,
        speed: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start to replay.

        Args:
            recorded: Any source, such as `Files`, or candles by symbol and interval.
            at: The time to start at; a naive one is UTC. None for the recording's end.
            speed: How much faster than the wall clock its own runs; 0 stands still.
            clock: Seconds on the wall.

        Raises:
            ParameterError: If the speed is negative or not finite, or the time is missing.
            DataError: If the recording is empty.
        """
        if not (math.isfinite(speed) and speed >= 0):
            raise ParameterError(f"The speed of a replay must be a finite number from 0, not {speed}.")
        if at is not None and pd.isna(at):
            raise ParameterError("The time at which a replay starts is missing; leave it out for the recording's end.")
        self.recorded: CandleSource = Recording(recorded) if isinstance(recorded, Mapping) else recorded
        self.speed = float(speed)
        self._clock = clock
        self._started = clock()
        self._at = utc(self.recorded.now() if at is None else at)

    def __repr__(self) -> str:
        return f"<Replay of {self.recorded!r} at {self.now():%Y-%m-%d %H:%M:%S} UTC, speed {self.speed:g}>"

    @property
    def name(self) -> str:
        """``replay``."""
        return "replay"

    @property
    def simulated(self) -> bool:
        """As the recording is."""
        return self.recorded.simulated

    def now(self) -> pd.Timestamp:
        """The time that is replayed; UTC."""
        passed = self.speed * (self._clock() - self._started) if self.speed else 0.0
        return self._at + pd.Timedelta(seconds=passed)

    def advance(self, delta: pd.Timedelta) -> pd.Timestamp:
        """Step the clock forward, besides what it runs by itself.

        Returns:
            The time that it shows then; UTC.

        Raises:
            ParameterError: If it would go back.
        """
        if not delta >= pd.Timedelta(0):
            raise ParameterError(f"A replay's clock only goes forward, so it cannot be advanced by {delta}.")
        self._at += delta
        return self.now()

    def sleep_until(self, moment: pd.Timestamp, stop: threading.Event | None = None) -> bool:
        """Wait until its clock shows a time; a clock that stands still is stepped there at once.

        Args:
            moment: The time to wait for; a naive one is UTC.
            stop: Ends the waiting when it is set.

        Returns:
            Whether the time has come; false if it was stopped.
        """
        stop = threading.Event() if stop is None else stop
        while (left := (utc(moment) - self.now()).total_seconds()) > 0:
            if stop.is_set():
                return False
            if self.speed:
                stop.wait(min(left / self.speed, _NAP))
            else:
                self.advance(utc(moment) - self.now())
        return True

    def intervals(self, symbol: str) -> tuple[Interval, ...] | None:
        """As the recording's; see `CandleSource`."""
        return self.recorded.intervals(symbol)

    def candles(
        self,
        symbol: str,
        interval: Interval,
        *,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        records: int | None = None,
    ) -> Candles:
        """Candles that have closed by its clock, oldest first, stamped as recorded; see `CandleSource`.

        Raises:
            ParameterError: If the recording does not have the instrument or the interval.
            SourceError: If the recording cannot be reached.
            DataError: If none of that span has closed yet, or there is none.
        """
        check_span(start, end, records)
        now = self.now()
        stop = _may_be_closed(now, interval)
        stop = stop if end is None else min(stop, utc(end))
        if start is not None and utc(start) >= stop:
            raise DataError(f"No {interval} candle of {symbol} from {start} on has closed by {now:%Y-%m-%d %H:%M:%S}.")
        # A few to spare: the latest may turn out not to be closed.
        found = self.recorded.candles(
            symbol, interval, start=start, end=stop, records=None if records is None else records + 2
        )
        return _closed(found, now, records)


def _may_be_closed(now: pd.Timestamp, interval: Interval) -> pd.Timestamp:
    """A time from which on no candle that opens can be closed; at most one opens before it that isn't either."""
    if interval.unit == "mo":
        return now - pd.Timedelta(days=28 * interval.count) + _SUMMER
    return now - interval.delta + (_TICK if interval.intraday else _SUMMER)


def _closed(found: Candles, now: pd.Timestamp, records: int | None) -> Candles:
    """The closed ones of the candles found, the latest ``records`` of them, and what has to be said about them."""
    ends = pd.DatetimeIndex(found.index + found.interval.offset)
    ends = ends.tz_localize("UTC") if ends.tz is None else ends.tz_convert("UTC")
    last = int((ends <= now).sum())
    if not last:
        raise DataError(
            f"No {found.interval} candle of {found.symbol} has closed by {now:%Y-%m-%d %H:%M:%S} in that time."
        )
    findings = found.findings
    first = 0
    if records is not None:
        first = max(0, last - records)
        findings = tuple(finding for finding in findings if finding.code != "short-history")
        if last < records:
            message = (
                f"The replay has {last:,} of the {records:,} {found.interval} candles of {found.symbol} asked for, "
                f"as of {now:%Y-%m-%d %H:%M}."
            )
            findings = (Finding("short-history", "warning", message, (), records - last), *findings)
    return replace(
        found, frame=found.frame.iloc[first:last].copy(), findings=findings, source=f"replay of {found.source}"
    )

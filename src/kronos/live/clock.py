"""Clocks of the live forecaster, the closes of candles on them, and the delays before another attempt.

A clock is this machine's, or that of a replay, which waits no longer than it must.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from kronos.intervals import Interval
from kronos.sources.replay import Replay

SLICE = 30.0  # seconds: the clock is read again at least this often, so that its steps and suspended hours do no harm


class Clock(Protocol):
    """A clock and a way to wait."""

    def now(self) -> pd.Timestamp:
        """UTC time."""
        ...

    def elapsed(self) -> float:
        """Seconds that have passed since some moment, whatever the clock is set to."""
        ...

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait at most this long; earlier if ``stop`` is set or the clock has to be read again."""
        ...


class SystemClock:
    """This machine's clock."""

    def now(self) -> pd.Timestamp:
        """UTC time of this machine."""
        return pd.Timestamp.now("UTC")

    def elapsed(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait for at most `SLICE` seconds."""
        stop.wait(max(0.0, min(seconds, SLICE)))


class ReplayClock:
    """The clock of a replay; one that stands still is advanced instead of waiting."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    def now(self) -> pd.Timestamp:
        """UTC time of the replay."""
        return self._replay.now()

    def elapsed(self) -> float:
        """Seconds of the replay."""
        return self._replay.now().timestamp()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Let this much replayed time pass."""
        self._replay.sleep_until(self.now() + pd.Timedelta(seconds=max(0.0, seconds)), stop)


def wait_until(clock: Clock, moment: pd.Timestamp, stop: threading.Event) -> bool:
    """Wait until a clock shows a time, reading it again after each slice.

    It ends early where the clock has been set back: no later than the time that was left at first has passed.

    Returns:
        Whether the wait is over; false if it was stopped.
    """
    limit = clock.elapsed() + (moment - clock.now()).total_seconds()
    while (left := min((moment - clock.now()).total_seconds(), limit - clock.elapsed())) > 0:
        if stop.is_set():
            return False
        clock.wait(left, stop)
    return not stop.is_set()


DELAY = pd.Timedelta(seconds=5)  # after the close: sources need a moment to publish the candle
_FIRST_RETRY, _LONGEST_RETRY = 10.0, 300.0  # seconds


def last_close(now: pd.Timestamp, interval: Interval) -> pd.Timestamp:
    """Return the latest closing time at or before a time, on the grid of UTC that 24/7 markets follow."""
    if interval.unit == "mo":
        start = now.tz_convert("UTC").normalize().replace(day=1)
        months = (start.year * 12 + start.month - 1) % interval.count
        return start - pd.DateOffset(months=months)
    step = interval.seconds * 1_000_000
    micros = now.value // 1_000
    epoch = 4 * 86_400 * 1_000_000 if interval.seconds % 604_800 == 0 else 0  # weeks begin on Monday, 1970-01-05
    return pd.Timestamp((micros - epoch) // step * step + epoch, unit="us", tz="UTC")


def next_close(now: pd.Timestamp, interval: Interval) -> pd.Timestamp:
    """Return the first closing time after a time."""
    return (last_close(now, interval) + interval.offset).tz_convert("UTC")


def closes_between(first: pd.Timestamp, last: pd.Timestamp, interval: Interval) -> list[pd.Timestamp]:
    """Return the closing times after ``first`` and before ``last``."""
    closes = []
    moment = next_close(first, interval)
    while moment < last:
        closes.append(moment)
        moment = next_close(moment, interval)
    return closes


@dataclass
class Backoff:
    """Growing delays between attempts that fail.

    Attributes:
        failures: Attempts that failed in a row.
    """

    failures: int = 0

    def reset(self) -> None:
        """Start anew after a success."""
        self.failures = 0

    def next_delay(self, interval: Interval) -> pd.Timedelta:
        """Return the delay before the next attempt: 10 s, doubled up to 5 minutes, and at most a tenth of a candle."""
        seconds = min(_FIRST_RETRY * 2.0 ** min(self.failures, 10), _LONGEST_RETRY, interval.seconds / 10)
        self.failures += 1
        return pd.Timedelta(seconds=seconds)

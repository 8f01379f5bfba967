"""Clocks of the live forecaster: this machine's, and that of a replay, which waits no longer than it must."""

from __future__ import annotations

import threading
import time
from typing import Protocol

import pandas as pd

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

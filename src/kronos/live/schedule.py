"""When the next cycle is due: right after each candle closes, and again after failures."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from kronos.intervals import Interval

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

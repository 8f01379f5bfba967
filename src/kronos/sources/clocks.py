"""A server's clock, as far as the dates of its answers tell it."""

from __future__ import annotations

import time

import pandas as pd

from kronos.sources.retrying import read_date


class AnswerClock:
    """The time by the latest answer's ``Date``, carried on by this machine's clock."""

    def __init__(self) -> None:
        self._seen: tuple[pd.Timestamp, float] | None = None

    @property
    def heard(self) -> bool:
        """Whether an answer has told the time."""
        return self._seen is not None

    def note(self, date: str | None) -> None:
        """Take an answer's ``Date``; what is no date changes nothing."""
        at = read_date(date)
        if at is not None:
            self._seen = pd.Timestamp(at), time.monotonic()

    def now(self) -> pd.Timestamp:
        """The time by the latest answer, else by this machine; UTC."""
        if self._seen is None:
            return pd.Timestamp.now(tz="UTC")
        at, tick = self._seen
        return at + pd.Timedelta(seconds=time.monotonic() - tick)

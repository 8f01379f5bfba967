"""Times as sources use them: UTC, in microseconds since 1970 where they are counted."""

from __future__ import annotations

import pandas as pd

from kronos.errors import ParameterError

TICK = 1  # microsecond
_YEARS = range(1800, 2200)  # whose nanoseconds, and the spans between them, can be counted in 64 bits


def check_span(start: pd.Timestamp | None, end: pd.Timestamp | None, records: int | None) -> None:
    """Refuse spans that cannot hold candles.

    Raises:
        ParameterError: If the end is not after the start, one of them is no time or far off, or fewer than two candles
            are asked for.
    """
    for name, given in (("start", start), ("end", end)):
        if given is not None and pd.Timestamp(given).year not in _YEARS:
            raise ParameterError(f"The {name} {given} is out of range; take a time from {_YEARS[0]} to {_YEARS[-1]}.")
    if records is not None and records < 2:
        raise ParameterError(f"At least 2 records are needed, not {records}.")
    if start is not None and end is not None and utc(end) <= utc(start):
        raise ParameterError(f"The end {end} is not after the start {start}.")


def utc(time_: pd.Timestamp) -> pd.Timestamp:
    """A time in UTC; a naive one is taken to be UTC."""
    stamp = pd.Timestamp(time_)
    return stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")


def micro(time_: pd.Timestamp) -> int:
    """A time in microseconds since 1970."""
    return int(time_.value) // 1_000  # its value counts nanoseconds, whatever its unit


def stamp(microseconds: int) -> pd.Timestamp:
    """A time from microseconds since 1970."""
    return pd.Timestamp(microseconds, unit="us", tz="UTC")

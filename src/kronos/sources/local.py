"""What sources on this machine share: how symbols are compared, and how a whole series is cut to what was asked for.

- Symbols are compared without case and separators: ``btc/usdt`` is ``BTC-USDT``.
- Times asked for are UTC. Candles without a timezone keep their own wall clock, which then counts as UTC: nobody says
  what it is.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from kronos.candles import Candles, Finding
from kronos.candles.findings import shown
from kronos.errors import DataError, ParameterError
from kronos.intervals import Interval
from kronos.sources.times import check_span, utc


def plain(symbol: str) -> str:
    """A symbol as it is compared: ``BTC-USDT``, ``btc/usdt`` and ``BTC_USDT`` are ``btcusdt``."""
    return re.sub(r"[\s_./:\-]+", "", symbol).casefold()


def unknown_symbol(symbol: str, known: Iterable[str], where: str) -> ParameterError:
    """The error of a symbol that a source does not have, naming the nearest, or else some."""
    names = {plain(name): name for name in known}
    near = difflib.get_close_matches(plain(symbol), names, n=1)
    if near:
        return ParameterError(f"{where} has no '{shown(symbol)}'; did you mean {names[near[0]]}?")
    listed = ", ".join(list(names.values())[:5]) + (" …" if len(names) > 5 else "")
    return ParameterError(f"{where} has no '{shown(symbol)}'; it has {listed or 'none'}.")


def no_interval(symbol: str, interval: Interval, known: Iterable[Interval], where: str) -> ParameterError:
    """The error of an interval that a source does not have of an instrument."""
    listed = ", ".join(str(one) for one in known)
    return ParameterError(f"{where} has no {interval} candles of {shown(symbol)}; it has {listed or 'none'}.")


def closing_time(opened: pd.Timestamp, interval: Interval) -> pd.Timestamp:
    """When a candle closes, UTC; its opening time is a wall clock or has a timezone."""
    return utc(opened + interval.offset)


def cut(
    candles: Candles,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    records: int | None,
    where: str,
) -> Candles:
    """The candles of a whole series that were asked for, in a frame of their own.

    Args:
        candles: All that the source has.
        start: First opening time, UTC; None for the earliest.
        end: Opening times from here on are not wanted, UTC; None for no end.
        records: At most so many, the latest; None for all.
        where: What the source is called in messages.

    Raises:
        ParameterError: If the span cannot hold candles.
        DataError: If there are none in it.
    """
    check_span(start, end, records)
    low, high = (None if time is None else _as_stamped(candles, time) for time in (start, end))
    index = candles.index.as_unit("ns")  # pandas looks for no time that is finer than what it looks in
    first = 0 if low is None else int(index.searchsorted(low))
    last = len(candles) if high is None else int(index.searchsorted(high))
    if records is not None:
        first = max(first, last - records)
    if first >= last:
        span = f"{candles.start} … {candles.end}" if len(candles) else "none at all"
        raise DataError(f"{where} has no {candles.interval} candles of {candles.symbol} in that time; it has {span}.")
    short = _short(candles, low, records, last - first, where)
    return replace(candles, frame=candles.frame.iloc[first:last].copy(), findings=(*short, *candles.findings))


def _short(
    candles: Candles, low: pd.Timestamp | None, records: int | None, count: int, where: str
) -> tuple[Finding, ...]:
    """A finding if there is less than asked for."""
    if records is not None and count < records:
        message = f"{where} has {count:,} of the {records:,} {candles.interval} candles of {candles.symbol} asked for."
        return (Finding("short-history", "warning", message, (), records - count),)
    if records is None and low is not None and low < candles.start:
        message = f"{where} has no {candles.interval} candles of {candles.symbol} before {candles.start}."
        return (Finding("short-history", "info", message),)
    return ()


def _as_stamped(candles: Candles, time: pd.Timestamp) -> pd.Timestamp:
    """A time in the candles' own terms."""
    zone = candles.index.tz
    return utc(time).tz_localize(None) if zone is None else utc(time).tz_convert(zone)

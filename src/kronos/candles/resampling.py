"""Resampling to longer candles: only complete ones, never one that is still forming.

- Long candles lie on the grid of the series' own wall clock: multiples of the interval from midnight, days, weeks from
  Monday, months. Days of FX end at 17:00 New York; night sessions of Chinese futures belong to the next trading day.
- Whether candles are stamped at their open or close is detected from the sessions of their exchange.
- In a market that never closes, all short candles of a long one must exist.
- In other markets, those must exist that the series usually has at that time of that weekday (`usual_trading_times`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from kronos.calendars.detection import detect_stamp_side
from kronos.calendars.market_clock import trading_day_times
from kronos.candles.candles import Candles
from kronos.candles.columns import COLUMNS, TIME
from kronos.candles.findings import Finding
from kronos.candles.gaps import DAY, Stamps, usual_trading_times, wall_clock
from kronos.errors import DataError, ParameterError
from kronos.formatting import Message
from kronos.intervals import Interval
from kronos.typing import BoolArray, FloatArray

Stamped = Literal["open", "close"]

_SECOND = 10**9
_MINUTE, _HOUR, _DAY = 60 * _SECOND, 3600 * _SECOND, DAY * _SECOND
_MONDAY = 4 * _DAY  # 1970-01-05
_LONGEST = 36_525 * DAY  # seconds of a century
_ALWAYS_OPEN = 0.9  # share of all times with a candle, from which on a market counts as never closing
_MAX_MISALIGNED = 0.05  # share of candles that may cross an edge of the grid


def resample(candles: Candles, interval: str | Interval, *, stamped: Stamped | None = None) -> Candles:
    """Aggregate candles to a longer interval.

    Args:
        candles: The shorter candles.
        interval: The longer interval: a whole multiple; below a day, a divisor of the day.
        stamped: Whether times are those of a candle's open or close; None detects it, see `detect_stamp_side`. Intraday
            results use the same; longer ones are stamped with the trading day on which they begin.

    Returns:
        The complete longer candles, or the same candles if they have that interval already. A finding with the code
        ``resampled`` has the number of incomplete candles that were left out.

    Raises:
        ParameterError: If the interval is shorter or not a multiple, or the candles cross the edges of its grid.
        DataError: If no longer candle is complete.
    """
    target = Interval.parse(interval).normalized()
    if stamped not in ("open", "close", None):
        raise ParameterError(f"Invalid stamped '{stamped}': choose open or close.")
    if target == candles.interval:
        return candles
    _check_multiple(candles.interval, target)
    stamped = stamped or detect_stamp_side(candles.index, candles.interval)
    by_day = _trading_days(candles) if candles.interval.intraday and not target.intraday else None
    if by_day is not None:
        return _stamp_days(_resample(by_day, target, stamped), candles)
    return _resample(candles, target, stamped)


def _resample(candles: Candles, target: Interval, stamped: Stamped) -> Candles:
    groups = _group(candles, target, stamped)
    complete = _is_complete(candles, target, groups)
    if not complete.any():
        raise DataError(
            f"{_name(candles)} has no complete {target} candle in its {len(candles)} candles of {candles.interval}; "
            "add candles, or choose a shorter interval."
        )
    index = _stamps(candles.index, target, groups, stamped)
    values = _aggregate(candles.frame, groups.first)[complete]
    frame = pd.DataFrame(values, columns=list(COLUMNS), index=index[complete])
    finding = _finding(candles, target, index, complete)
    return replace(candles, frame=frame, interval=target, findings=(*candles.findings, finding))


def _trading_days(candles: Candles) -> Candles | None:
    """The candles on a naive clock whose days are trading days; None if those are the days of their own clock."""
    dropped = candles.dropped[~candles.dropped.isin(candles.index)]
    known = candles.index.as_unit("ns")
    times = known if dropped.empty else known.union(dropped.as_unit("ns"))
    moved = trading_day_times(times, candles.interval, candles.calendar)
    if moved is None:
        return None
    kept = times.isin(known)
    frame = candles.frame.set_axis(moved[kept].rename(TIME), axis=0)
    return replace(candles, frame=frame, timezone=None, dropped=moved[~kept])


def _stamp_days(days: Candles, candles: Candles) -> Candles:
    """Days at midnight of the candles' own timezone."""
    index = days.index
    if candles.index.tz is not None:
        index = index.tz_localize(
            candles.index.tz, ambiguous=np.ones(len(index), np.bool_), nonexistent="shift_forward"
        )
    frame = days.frame.set_axis(index, axis=0)
    return replace(days, frame=frame, timezone=candles.timezone, dropped=candles.dropped)


def can_resample(short: Interval, long: Interval) -> bool:
    """Whether candles of one interval can be resampled to another, or have it already."""
    return _is_multiple(short, long) and _fits_days(long)


def _is_multiple(short: Interval, long: Interval) -> bool:
    if long.seconds < short.seconds:
        return False
    if "mo" in (short.unit, long.unit):
        return long.unit == "mo" and (long.count % short.count == 0 if short.unit == "mo" else DAY % short.seconds == 0)
    return (DAY % short.seconds == 0 or short.seconds % DAY == 0) and long.seconds % short.seconds == 0


def _fits_days(long: Interval) -> bool:
    return (long.seconds % DAY if long.seconds > DAY else DAY % long.seconds) == 0


def _check_multiple(short: Interval, long: Interval) -> None:
    if not _is_multiple(short, long):
        raise ParameterError(f"Cannot resample {short} candles to {long}: choose a whole multiple of {short}.")
    if not _fits_days(long):
        raise ParameterError(f"Cannot resample to {long}, which does not divide a day: choose 1h, 4h, 12h or 1d.")
    if long.seconds > _LONGEST:
        raise ParameterError(f"Cannot resample to {long}, longer than any history: choose an interval such as 1mo.")


@dataclass(frozen=True, slots=True)
class _Moments:
    """Wall-clock times and their offsets from UTC, both in nanoseconds."""

    stamp: Stamps
    offset: Stamps

    @classmethod
    def of(cls, index: pd.DatetimeIndex) -> _Moments:
        stamp = wall_clock(index).asi8
        return cls(stamp, stamp - index.as_unit("ns").asi8)


@dataclass(frozen=True, slots=True)
class _Groups:
    """The short candles of each long candle.

    Attributes:
        begin: Opening time of each short candle. [n]
        first: Position of the first short candle of each long one. [m]
        start: Wall-clock start of each long candle. [m]
        bounds: Start and end of each long candle in UTC, or by the wall clock if the index is naive. [m] each.
        damaged: Whether a short candle crosses an edge of the long one, or a row was dropped in it. [m]
        closes: Whether the market ever closes.
    """

    begin: _Moments
    first: Stamps
    start: Stamps
    bounds: tuple[Stamps, Stamps]
    damaged: BoolArray
    closes: bool


def _group(candles: Candles, target: Interval, stamped: Stamped) -> _Groups:
    """Find the short candles of each long one.

    Raises:
        ParameterError: If too many of them cross the edges of the grid.
    """
    index, short = candles.index, candles.interval
    closes = _market_closes(index, short)
    begin, end = _begin_and_end(index, short, stamped, closes)
    begin_key, end_key = _key(begin, target), _key(end, target)
    key, moments = (begin_key, begin) if stamped == "open" else (end_key, end)
    first = np.flatnonzero(np.append(True, np.diff(key) != 0)).astype(np.int64)
    start = _floor(moments.stamp[first], target)
    bounds = _bounds(index, target, start, moments.offset[first])
    misaligned = begin_key != end_key
    if not closes and short.unit != "mo":
        phase = (begin.stamp - begin.offset) - np.repeat(bounds[0], np.diff(np.append(first, len(index))))
        misaligned |= (phase if short.intraday else begin.stamp - _floor(begin.stamp, target)) % _length(short) != 0
    _check_misaligned(candles, target, misaligned)
    dropped = [_key(moments, target) for moments in _begin_and_end(candles.dropped, short, stamped, closes)]
    damaged = np.isin(key[first], np.concatenate((begin_key[misaligned], end_key[misaligned], *dropped)))
    return _Groups(begin, first, start, bounds, damaged, closes)


def _market_closes(index: pd.DatetimeIndex, short: Interval) -> bool:
    """Whether the market ever closes; False for candles longer than days, for which it does not matter."""
    if short.unit in ("w", "mo"):
        return False
    stamps = index.as_unit("ns").asi8 if short.intraday else wall_clock(index).asi8
    possible = (stamps[-1] - stamps[0]) / _length(short) + 1
    return bool(len(stamps) < _ALWAYS_OPEN * possible)


def _length(interval: Interval) -> int:
    return interval.seconds * _SECOND


def _begin_and_end(
    index: pd.DatetimeIndex, short: Interval, stamped: Stamped, closes: bool
) -> tuple[_Moments, _Moments]:
    """First and last moment of each candle."""
    if not short.intraday:
        start, end = _day_bounds(wall_clock(index).asi8, short, stamped, closes)
        return _Moments(start, np.zeros_like(start)), _Moments(end - 1, np.zeros_like(end))
    stamps = _snap_to_minute(index.as_unit("ns")) if short.seconds >= 60 else index.as_unit("ns")
    begin = stamps if stamped == "open" else stamps - short.delta
    return _Moments.of(begin), _Moments.of(begin + short.delta - pd.Timedelta(1, "ns"))


def _snap_to_minute(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Move times within a second of a whole minute to it: some exchanges close their candles at 23:59:59.999."""
    minute = (index.asi8 + _MINUTE // 2) // _MINUTE * _MINUTE
    stamps = np.where(np.abs(index.asi8 - minute) <= _SECOND, minute, index.asi8)
    naive = pd.DatetimeIndex(stamps.view("M8[ns]"))
    return naive if index.tz is None else naive.tz_localize("UTC").tz_convert(index.tz)


def _day_bounds(stamp: Stamps, short: Interval, stamped: Stamped, closes: bool) -> tuple[Stamps, Stamps]:
    """Start and end of candles of a day or longer, stamped at any time of day.

    Times are moved to the nearest midnight if the market closes, or for months: a day of FX opens the evening before,
    and midnight in New York is 05:00 UTC.
    """
    if closes or short.unit == "mo":
        stamp = (stamp + _DAY // 2) // _DAY * _DAY if stamped == "open" else -(-stamp // _DAY) * _DAY
    if short.unit != "mo":
        start = stamp if stamped == "open" else stamp - _length(short)
        return start, start + _length(short)
    month = _month(stamp) if stamped == "open" else _month(stamp - 1) - short.count + 1
    return _month_start(month), _month_start(month + short.count)


def _month(stamp: Stamps) -> Stamps:
    return stamp.view("M8[ns]").astype("M8[M]").astype(np.int64)


def _month_start(month: Stamps) -> Stamps:
    return month.astype("M8[M]").astype("M8[ns]").astype(np.int64)


def _floor(stamp: Stamps, target: Interval) -> Stamps:
    """Start of the long candle that contains each wall-clock time."""
    if target.unit == "mo":
        return _month_start(_month(stamp) // target.count * target.count)
    origin = _MONDAY if target.unit == "w" else 0
    return np.asarray((stamp - origin) // _length(target) * _length(target) + origin, dtype=np.int64)


def _next_start(start: Stamps, target: Interval) -> Stamps:
    if target.unit == "mo":
        return _month_start(_month(start) + target.count)
    return np.asarray(start + _length(target), dtype=np.int64)


def _key(moments: _Moments, target: Interval) -> Stamps:
    """Identifier of long candles: their start, in UTC if several can begin in the hour that is repeated in autumn."""
    start = _floor(moments.stamp, target)
    return start - moments.offset if _length(target) <= _HOUR else start


def _bounds(index: pd.DatetimeIndex, target: Interval, start: Stamps, offset: Stamps) -> tuple[Stamps, Stamps]:
    """Start and end of long candles in UTC; changes of daylight saving time make them shorter or longer."""
    if index.tz is None:
        return start, _next_start(start, target)
    if _length(target) <= _HOUR:
        return start - offset, start - offset + _length(target)
    bounds = []
    for stamps in (start, _next_start(start, target)):
        naive = pd.DatetimeIndex(stamps.view("M8[ns]"))
        earlier = np.ones(len(naive), dtype=np.bool_)
        bounds.append(naive.tz_localize(index.tz, ambiguous=earlier, nonexistent="shift_forward").asi8)
    return bounds[0], bounds[1]


def _check_misaligned(candles: Candles, target: Interval, misaligned: BoolArray) -> None:
    share = float(misaligned.mean())
    if share <= _MAX_MISALIGNED:
        return
    example = candles.index[int(misaligned.argmax())]
    raise ParameterError(
        f"{share:.0%} of the {candles.interval} candles of {_name(candles)} cross the edges of {target} candles, for "
        f"example at {example}; use shorter candles, or check timezone= and stamped=."
    )


def _is_complete(candles: Candles, target: Interval, groups: _Groups) -> BoolArray:
    """Whether each long candle has all its short ones. [m]."""
    short, begin = candles.interval, groups.begin.stamp
    if groups.closes:
        since, until = int(groups.start[0]), int(_next_start(groups.start[-1:], target)[0])
        usual, missing = usual_trading_times(begin, min(_length(short), _DAY), since, until)
        complete = np.logical_or.reduceat(usual, groups.first) & ~np.isin(groups.start, _floor(missing, target))
        return np.asarray(complete & ~groups.damaged, dtype=np.bool_)
    counts = np.diff(np.append(groups.first, len(begin)))
    if short.unit == "mo":
        return np.asarray((counts == target.count // short.count) & ~groups.damaged, dtype=np.bool_)
    start, end = groups.bounds if short.intraday else (groups.start, _next_start(groups.start, target))
    return np.asarray((counts * _length(short) == end - start) & ~groups.damaged, dtype=np.bool_)


def _aggregate(frame: pd.DataFrame, first: Stamps) -> FloatArray:
    """Open, high, low, close, volume and amount of each long candle. [m, 6]."""
    open_, high, low, close, volume, amount = frame[list(COLUMNS)].to_numpy().T
    last = np.append(first[1:], len(frame)) - 1
    columns = (
        open_[first],
        np.maximum.reduceat(high, first),
        np.minimum.reduceat(low, first),
        close[last],
        np.add.reduceat(volume, first),
        np.add.reduceat(amount, first),
    )
    return np.column_stack(columns)


def _stamps(index: pd.DatetimeIndex, target: Interval, groups: _Groups, stamped: Stamped) -> pd.DatetimeIndex:
    """Times of the long candles, in the timezone of the index."""
    at_end = stamped == "close" and target.intraday
    naive = pd.DatetimeIndex(groups.bounds[at_end].view("M8[ns]"), name=TIME)
    return naive if index.tz is None else naive.tz_localize("UTC").tz_convert(index.tz)


def _finding(candles: Candles, target: Interval, index: pd.DatetimeIndex, complete: BoolArray) -> Finding:
    left_out = int((~complete).sum())
    values = {
        "count": f"{len(candles):,}",
        "interval": str(candles.interval),
        "kept": f"{int(complete.sum()):,}",
        "target": str(target),
    }
    whole = "{count} candles of {interval} were resampled to {kept} of {target}; "
    if not left_out:
        return Finding("resampled", "info", Message("resampled", whole + "all of them are complete.", **values))
    message = Message(
        "resampled-in-part",
        whole + "{dropped} incomplete one(s) were left out, the first at {time}.",
        **values,
        dropped=f"{left_out:,}",
        time=f"{index[int((~complete).argmax())]}",
    )
    return Finding("resampled", "info", message, (), left_out)


def _name(candles: Candles) -> str:
    return candles.symbol or candles.source or "The series"

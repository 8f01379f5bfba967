"""Longer candles from shorter ones: only from all of them, and never one that is still forming.

- Long candles lie on the grid of the series' own wall clock: multiples of the interval from midnight, days, weeks from
  Monday, months.
- Where a market never closes, every short candle of a long one has to be there.
- Where it does, those have to be there that it usually has at that time of that weekday; see `habits`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles.candles import Candles
from kronos.candles.findings import Finding
from kronos.candles.gaps import DAY, Stamps, usual_trading_times, wall
from kronos.candles.schema import COLUMNS, TIME
from kronos.errors import DataError, ParameterError
from kronos.intervals import Interval
from kronos.typing import BoolArray

Stamped = Literal["open", "close"]

_SECOND = 10**9
_MINUTE, _HOUR, _DAY = 60 * _SECOND, 3600 * _SECOND, DAY * _SECOND
_MONDAY = 4 * _DAY  # 1970-01-05
_LONGEST = 36_525 * DAY  # seconds of a century
_NEVER_CLOSES = 0.9  # share of all times with a candle, from which on a market is taken never to close
_ASKEW = 0.05  # share of candles that may lie across the grid; the long candles they touch are not complete


def resample(candles: Candles, interval: str | Interval, *, stamped: Stamped = "open") -> Candles:
    """Make longer candles from shorter ones.

    Args:
        candles: The shorter candles.
        interval: The longer ones' length: a whole multiple; below a day, one that divides the day.
        stamped: Which moment of a candle its time names. Results below a day keep to it; those of a day and longer are
            stamped with the day they begin.

    Returns:
        The longer candles that are complete; the same candles if they have that interval already. A finding with the
        code ``resampled`` says from what they were made and how many incomplete ones were left out.

    Raises:
        ParameterError: If the interval is shorter or no whole multiple, or the candles lie across its grid.
        DataError: If no longer candle is complete.
    """
    target = Interval.parse(interval).normalized()
    if stamped not in ("open", "close"):
        raise ParameterError(f"stamped= is open or close, not '{stamped}'.")
    if target == candles.interval:
        return candles
    _check_multiple(candles.interval, target)
    parts = _divide(candles, target, stamped)
    whole = _complete(candles, target, parts)
    if not whole.any():
        raise DataError(
            f"{_name(candles)} has no complete candle of {target} in its {len(candles)} of {candles.interval}; "
            "give more of them, or ask for a shorter interval."
        )
    index = _stamps(candles.index, target, parts, stamped)
    frame = pd.DataFrame(_merged(candles.frame, parts.first)[whole], columns=list(COLUMNS), index=index[whole])
    finding = _finding(candles, target, index, whole)
    return replace(candles, frame=frame, interval=target, findings=(*candles.findings, finding))


def divides(short: Interval, long: Interval) -> bool:
    """Whether candles of one length can be made from candles of another, or are of it already."""
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
        raise ParameterError(
            f"Candles of {long} cannot be made from candles of {short}; ask for a longer interval that is a whole "
            "multiple of it."
        )
    if not _fits_days(long):
        raise ParameterError(f"Candles of {long} don't fit into days; ask for an interval such as 1h, 4h, 12h or 1d.")
    if long.seconds > _LONGEST:
        raise ParameterError(f"Candles of {long} are longer than any history; ask for an interval such as 1d or 1mo.")


@dataclass(frozen=True, slots=True)
class _Moments:
    """Moments as a wall clock shows them, and how far it is ahead of UTC; both in nanoseconds."""

    stamp: Stamps
    ahead: Stamps

    @classmethod
    def of(cls, index: pd.DatetimeIndex) -> _Moments:
        stamp = wall(index).asi8
        return cls(stamp, stamp - index.as_unit("ns").asi8)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Which short candles make up which long ones.

    Attributes:
        opened: When each short candle opens. [n]
        first: The position of each long candle's first short one. [m]
        start: The wall clock when each long candle begins. [m]
        instants: The same in UTC, and when each ends; the wall clock where the index has no timezone. [m] each.
        spoilt: Whether a short candle lies across an edge of a long one, or a row was dropped in it. [m]
        closes: Whether the market ever closes.
    """

    opened: _Moments
    first: Stamps
    start: Stamps
    instants: tuple[Stamps, Stamps]
    spoilt: BoolArray
    closes: bool


def _divide(candles: Candles, target: Interval, stamped: Stamped) -> _Parts:
    """Find the short candles of each long one.

    Raises:
        ParameterError: If too many of them lie across the grid.
    """
    index, short = candles.index, candles.interval
    closes = _closes(index, short)
    opened, closed = _extent(index, short, stamped, closes)
    begin, end = _key(opened, target), _key(closed, target)
    key, own = (begin, opened) if stamped == "open" else (end, closed)
    first = np.flatnonzero(np.append(True, np.diff(key) != 0)).astype(np.int64)
    start = _floor(own.stamp[first], target)
    instants = _instants(index, target, start, own.ahead[first])
    askew = begin != end
    if not closes and short.unit != "mo":
        phase = (opened.stamp - opened.ahead) - np.repeat(instants[0], np.diff(np.append(first, len(index))))
        askew |= (phase if short.intraday else opened.stamp - _floor(opened.stamp, target)) % _length(short) != 0
    _refuse_askew(candles, target, askew)
    lost = [_key(moments, target) for moments in _extent(candles.dropped, short, stamped, closes)]
    spoilt = np.isin(key[first], np.concatenate((begin[askew], end[askew], *lost)))
    return _Parts(opened, first, start, instants, spoilt, closes)


def _closes(index: pd.DatetimeIndex, short: Interval) -> bool:
    """Whether the market ever closes; longer candles than days can't tell, and don't depend on it."""
    if short.unit in ("w", "mo"):
        return False
    stamps = index.as_unit("ns").asi8 if short.intraday else wall(index).asi8
    possible = (stamps[-1] - stamps[0]) / _length(short) + 1
    return bool(len(stamps) < _NEVER_CLOSES * possible)


def _length(interval: Interval) -> int:
    return interval.seconds * _SECOND


def _extent(index: pd.DatetimeIndex, short: Interval, stamped: Stamped, closes: bool) -> tuple[_Moments, _Moments]:
    """When candles open, and the last moment of each."""
    if not short.intraday:
        start, end = _days(wall(index).asi8, short, stamped, closes)
        return _Moments(start, np.zeros_like(start)), _Moments(end - 1, np.zeros_like(end))
    near = _on_the_minute(index.as_unit("ns")) if short.seconds >= 60 else index.as_unit("ns")
    opened = near if stamped == "open" else near - short.delta
    return _Moments.of(opened), _Moments.of(opened + short.delta - pd.Timedelta(1, "ns"))


def _on_the_minute(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Times up to a second beside a whole minute put there: some exchanges close their candles at 23:59:59.999."""
    minute = (index.asi8 + _MINUTE // 2) // _MINUTE * _MINUTE
    stamps = np.where(np.abs(index.asi8 - minute) <= _SECOND, minute, index.asi8)
    naive = pd.DatetimeIndex(stamps.view("M8[ns]"))
    return naive if index.tz is None else naive.tz_localize("UTC").tz_convert(index.tz)


def _days(stamp: Stamps, short: Interval, stamped: Stamped, closes: bool) -> tuple[Stamps, Stamps]:
    """Start and end of candles of a day or longer, whatever time of day they are stamped with.

    Where a market closes, or counts months, the nearest midnight is meant: an FX day opens the evening before, and New
    York's midnight is 05:00 in UTC.
    """
    if closes or short.unit == "mo":
        stamp = (stamp + _DAY // 2) // _DAY * _DAY if stamped == "open" else -(-stamp // _DAY) * _DAY
    if short.unit != "mo":
        start = stamp if stamped == "open" else stamp - _length(short)
        return start, start + _length(short)
    month = _month(stamp) if stamped == "open" else _month(stamp - 1) - short.count + 1
    return _of_month(month), _of_month(month + short.count)


def _month(stamp: Stamps) -> Stamps:
    return stamp.view("M8[ns]").astype("M8[M]").astype(np.int64)


def _of_month(month: Stamps) -> Stamps:
    return month.astype("M8[M]").astype("M8[ns]").astype(np.int64)


def _floor(stamp: Stamps, target: Interval) -> Stamps:
    """When the long candles begin that hold these wall-clock moments."""
    if target.unit == "mo":
        return _of_month(_month(stamp) // target.count * target.count)
    origin = _MONDAY if target.unit == "w" else 0
    return np.asarray((stamp - origin) // _length(target) * _length(target) + origin, dtype=np.int64)


def _after(start: Stamps, target: Interval) -> Stamps:
    if target.unit == "mo":
        return _of_month(_month(start) + target.count)
    return np.asarray(start + _length(target), dtype=np.int64)


def _key(moments: _Moments, target: Interval) -> Stamps:
    """What tells long candles apart: their start, in UTC where an hour that comes twice holds several of them."""
    start = _floor(moments.stamp, target)
    return start - moments.ahead if _length(target) <= _HOUR else start


def _instants(index: pd.DatetimeIndex, target: Interval, start: Stamps, ahead: Stamps) -> tuple[Stamps, Stamps]:
    """When long candles begin and end, in UTC; they are shorter or longer where the clocks change."""
    if index.tz is None:
        return start, _after(start, target)
    if _length(target) <= _HOUR:
        return start - ahead, start - ahead + _length(target)
    both = []
    for stamps in (start, _after(start, target)):
        naive = pd.DatetimeIndex(stamps.view("M8[ns]"))
        earlier = np.ones(len(naive), dtype=np.bool_)
        both.append(naive.tz_localize(index.tz, ambiguous=earlier, nonexistent="shift_forward").asi8)
    return both[0], both[1]


def _refuse_askew(candles: Candles, target: Interval, askew: BoolArray) -> None:
    share = float(askew.mean())
    if share <= _ASKEW:
        return
    raise ParameterError(
        f"{share:.0%} of the {candles.interval} candles of {_name(candles)} lie across the edges of {target} candles, "
        f"such as that of {candles.index[int(askew.argmax())]}; begin with shorter ones, or check timezone= and "
        "stamped=."
    )


def _complete(candles: Candles, target: Interval, parts: _Parts) -> BoolArray:
    """Whether each long candle has all its short ones."""
    short, begin = candles.interval, parts.opened.stamp
    if parts.closes:
        since, until = int(parts.start[0]), int(_after(parts.start[-1:], target)[0])
        usual, missing = usual_trading_times(begin, min(_length(short), _DAY), since, until)
        whole = np.logical_or.reduceat(usual, parts.first) & ~np.isin(parts.start, _floor(missing, target))
        return np.asarray(whole & ~parts.spoilt, dtype=np.bool_)
    counts = np.diff(np.append(parts.first, len(begin)))
    if short.unit == "mo":
        return np.asarray((counts == target.count // short.count) & ~parts.spoilt, dtype=np.bool_)
    start, end = parts.instants if short.intraday else (parts.start, _after(parts.start, target))
    return np.asarray((counts * _length(short) == end - start) & ~parts.spoilt, dtype=np.bool_)


def _merged(frame: pd.DataFrame, first: Stamps) -> npt.NDArray[np.float64]:
    """Open, high, low, close, volume and amount of each long candle. [m, 6]."""
    opened, high, low, close, volume, amount = frame[list(COLUMNS)].to_numpy().T
    last = np.append(first[1:], len(frame)) - 1
    columns = (
        opened[first],
        np.maximum.reduceat(high, first),
        np.minimum.reduceat(low, first),
        close[last],
        np.add.reduceat(volume, first),
        np.add.reduceat(amount, first),
    )
    return np.column_stack(columns)


def _stamps(index: pd.DatetimeIndex, target: Interval, parts: _Parts, stamped: Stamped) -> pd.DatetimeIndex:
    """The long candles' times, in the index's own terms."""
    at_end = stamped == "close" and target.intraday
    naive = pd.DatetimeIndex(parts.instants[at_end].view("M8[ns]"), name=TIME)
    return naive if index.tz is None else naive.tz_localize("UTC").tz_convert(index.tz)


def _finding(candles: Candles, target: Interval, index: pd.DatetimeIndex, whole: BoolArray) -> Finding:
    left_out = int((~whole).sum())
    message = f"{int(whole.sum()):,} candles of {target} were made from {len(candles):,} of {candles.interval}"
    if not left_out:
        return Finding("resampled", "info", f"{message}; all of them are complete.")
    message += f"; {left_out:,} incomplete one(s) were left out, the first at {index[int((~whole).argmax())]}."
    return Finding("resampled", "info", message, (), left_out)


def _name(candles: Candles) -> str:
    return candles.symbol or candles.source or "The series"

"""`MarketPanel`: the bars of many instruments on one calendar, as arrays of days × instruments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.intervals import Interval
from kronos.typing import BoolArray, FloatArray, IntArray

_DAY = 86_400  # seconds
_WEEKEND = 3  # days from a Friday to a Monday: the least between bars of a week or longer is more
FIELDS = ("open", "high", "low", "close", "volume", "factor")


@dataclass(frozen=True, eq=False)
class MarketPanel:
    """Bars of N instruments at T times; NaN where an instrument has no bar.

    Prices may be adjusted for splits and dividends. Then ``factor`` is the adjusted price divided by the price of the
    exchange, as in Qlib's folders, and shares are counted at the prices of the exchange.

    Attributes:
        dates: The T times, strictly increasing.
        instruments: The N names.
        open: Open prices [T, N]. An open price may be missing where the other prices are there.
        high: High prices [T, N].
        low: Low prices [T, N].
        close: Close prices [T, N].
        volume: Volumes [T, N]; NaN where the volume is unknown, which is no suspension.
        factor: Adjustment factors [T, N]; 1 for prices that are not adjusted.
        membership: Whether an instrument belonged to the index on a day [T, N]; None if all always do.
        markets: Market of each instrument [N], by which costs and rules may differ; None if they do not.
        interval: Interval of the bars; None to tell from the times whether they are longer than a day.
    """

    dates: pd.DatetimeIndex
    instruments: tuple[str, ...]
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    factor: FloatArray
    membership: BoolArray | None = None
    markets: tuple[str, ...] | None = None
    interval: Interval | None = None

    def __post_init__(self) -> None:
        shape = (len(self.dates), len(self.instruments))
        if not all(shape):
            raise DataError(f"A panel needs times and instruments; got {shape[0]} times and {shape[1]} instruments.")
        if self.dates.hasnans or not (self.dates.is_monotonic_increasing and self.dates.is_unique):
            raise DataError("The times of a panel must be strictly increasing; sort them and drop duplicates.")
        if len(set(self.instruments)) < len(self.instruments):
            twice = next(name for name in self.instruments if self.instruments.count(name) > 1)
            raise DataError(f"The panel has {twice} twice; give every instrument a name of its own.")
        for name in FIELDS:
            self._check(name, getattr(self, name), shape)
        if self.membership is not None and (self.membership.shape != shape or self.membership.dtype != np.bool_):
            raise DataError(f"membership must be a bool array of {shape[0]} times × {shape[1]} instruments.")
        if self.markets is not None and len(self.markets) != shape[1]:
            raise DataError(f"There are {len(self.markets)} markets for {shape[1]} instruments: give one for each.")

    def _check(self, name: str, values: FloatArray, shape: tuple[int, int]) -> None:
        if values.shape != shape:
            raise DataError(f"{name} has the shape {values.shape}; a panel of this size needs {shape}.")
        # A NaN compares as false: it is no fault. A factor or price of 0 is, a volume of 0 is a suspension.
        faulty = (values < 0) if name == "volume" else (values <= 0)
        faulty |= np.isinf(values)
        if name == "close":
            faulty |= np.isnan(values) & ~np.isnan(self.open)
        if faulty.any():
            row, column = np.argwhere(faulty)[0]
            bar = f"{self.instruments[column]} at {self.dates[row]}"
            if np.isnan(values[row, column]):
                raise DataError(f"{bar} has an open price but no close price; leave the bar out.")
            need = "0 or more" if name == "volume" else "above 0"
            raise DataError(f"{bar} has the {name} {values[row, column]}; it must be finite and {need}.")

    @classmethod
    def from_candles(
        cls,
        candles: Mapping[str, Candles],
        *,
        factors: Mapping[str, pd.Series] | None = None,
        membership: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        markets: Mapping[str, str] | None = None,
    ) -> MarketPanel:
        """Put candles on the union of their times. No price is invented: a missing candle stays NaN.

        Args:
            candles: Candles by instrument, of one interval and timezone.
            factors: Adjustment factors by instrument, indexed by time; missing ones are carried forward, else 1.
            membership: Spans of membership in the index by instrument, as pairs of first and last date, both
                inclusive, as in Qlib's ``instruments/csi300.txt``; None if all always belong to it.
            markets: Market by instrument; None if costs and rules are the same for all.

        Raises:
            DataError: If there are no candles, or intervals or timezones differ.
        """
        if not candles:
            raise DataError("There are no candles to put on a panel; give at least one instrument.")
        first = next(iter(candles))
        interval, timezone = candles[first].interval.normalized(), candles[first].timezone
        for name, series in candles.items():
            if series.interval.normalized() != interval:
                raise DataError(
                    f"{first} has {interval} candles but {name} has {series.interval}: a panel has one interval, "
                    f"so resample one of them."
                )
            if series.timezone != timezone:
                raise DataError(
                    f"{first} has {timezone or 'no timezone'} but {name} has {series.timezone or 'none'}: "
                    f"a panel has one timezone, so convert them to one."
                )
        dates = candles[first].index
        for series in candles.values():
            dates = dates.union(series.index)
        shape = (len(dates), len(candles))
        arrays = {name: np.full(shape, np.nan) for name in FIELDS}
        arrays["factor"][:] = 1.0
        for column, (name, series) in enumerate(candles.items()):
            rows = dates.get_indexer(series.index)
            for field in ("open", "high", "low", "close", "volume"):
                arrays[field][rows, column] = series.frame[field].to_numpy(np.float64)
            if not series.has_volume:  # a source without volume, rather than an instrument that never traded
                arrays["volume"][:, column] = np.nan
            if factors is not None and name in factors:
                given = factors[name].reindex(dates).ffill().fillna(1.0)
                arrays["factor"][:, column] = given.to_numpy(np.float64)
        members = None if membership is None else member_array(dates, tuple(candles), membership)
        places = None if markets is None else tuple(markets[name] for name in candles)
        return cls(
            dates=dates,
            instruments=tuple(candles),
            membership=members,
            markets=places,
            interval=interval,
            **arrays,
        )

    def __len__(self) -> int:
        return len(self.dates)

    @cached_property
    def is_longer_than_daily(self) -> bool:
        """Whether bars are longer than a day, so that limits of daily changes do not apply to theirs."""
        if self.interval is not None:
            return self.interval.seconds > _DAY
        distances = np.diff(self.dates.normalize().as_unit("s").asi8)
        return bool(len(distances) and distances.min() > _WEEKEND * _DAY)

    @cached_property
    def suspended(self) -> BoolArray:
        """Whether an instrument cannot be traded: no bar, or a bar without volume [T, N]."""
        suspended: BoolArray = np.isnan(self.close) | (self.volume == 0)
        return suspended

    @cached_property
    def last_close(self) -> FloatArray:
        """The latest close price at or before each time [T, N]; NaN before the first bar."""
        return carried_forward(self.close)

    @cached_property
    def previous_close(self) -> FloatArray:
        """The latest close price before each time [T, N]; NaN up to the first bar."""
        return np.vstack([np.full((1, len(self.instruments)), np.nan), self.last_close[:-1]])

    @cached_property
    def previous_session_close(self) -> FloatArray:
        """The latest close price of the days before [T, N]: `previous_close` unless there are several bars a day."""
        days = self.dates.normalize()
        firsts = np.flatnonzero(np.concatenate([[True], days[1:] != days[:-1]]))
        return self.previous_close[firsts[np.searchsorted(firsts, np.arange(len(days)), side="right") - 1]]

    @cached_property
    def last_factor(self) -> FloatArray:
        """The latest factor at or before each time [T, N]; 1 before the first."""
        known = carried_forward(np.where(np.isnan(self.close), np.nan, self.factor))
        return np.where(np.isnan(known), 1.0, known)

    @cached_property
    def bars_missed(self) -> IntArray:
        """Times since the latest bar [T, N]: 0 where there is one."""
        times = np.arange(len(self.dates))[:, None]
        latest = np.maximum.accumulate(np.where(np.isnan(self.close), -1, times), axis=0)
        missed: IntArray = times - latest
        return missed

    def rows(self, start: str | pd.Timestamp | None = None, end: str | pd.Timestamp | None = None) -> slice:
        """The rows from ``start`` to ``end``, both inclusive; a date without a time as ``end`` is the whole day.

        Raises:
            ParameterError: If no time of the panel lies between them.
        """
        found = self.dates.slice_indexer(start, end)
        if found.start >= found.stop:
            raise ParameterError(
                f"There are no candles from {start} to {end}: choose dates from {self.dates[0]} to {self.dates[-1]}."
            )
        return slice(int(found.start), int(found.stop))

    def between(self, start: str | pd.Timestamp | None = None, end: str | pd.Timestamp | None = None) -> MarketPanel:
        """The panel from ``start`` to ``end``, both inclusive."""
        return self._take(self.rows(start, end), slice(None))

    def select(self, instruments: Sequence[str]) -> MarketPanel:
        """The panel of some instruments, in the order given.

        Raises:
            ParameterError: If the panel lacks an instrument.
        """
        places = {name: column for column, name in enumerate(self.instruments)}
        for name in instruments:
            if name not in places:
                raise ParameterError(f"The panel has no instrument {name}; it has {', '.join(self.instruments[:5])} ….")
        return self._take(slice(None), np.array([places[name] for name in instruments], dtype=np.int64))

    def _take(self, rows: slice, columns: slice | npt.NDArray[np.int64]) -> MarketPanel:
        arrays = {
            field.name: getattr(self, field.name)[rows][:, columns]
            for field in fields(self)
            if field.name in FIELDS or (field.name == "membership" and self.membership is not None)
        }
        chosen = range(len(self.instruments))[columns] if isinstance(columns, slice) else columns.tolist()
        names = tuple(self.instruments[column] for column in chosen)
        markets = None if self.markets is None else tuple(self.markets[column] for column in chosen)
        return replace(self, dates=self.dates[rows], instruments=names, markets=markets, **arrays)


def carried_forward(values: FloatArray) -> FloatArray:
    """Each value, or the latest one before it in its column; NaN before the first."""
    rows = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    return np.take_along_axis(values, np.maximum.accumulate(rows, axis=0), axis=0)


def member_array(
    dates: pd.DatetimeIndex, instruments: Sequence[str], spans: Mapping[str, Sequence[tuple[str, str]]]
) -> BoolArray:
    """Whether each instrument belongs to an index on each day [T, N], from spans of dates, both ends inclusive."""
    days = dates.tz_localize(None).normalize()
    members = np.zeros((len(dates), len(instruments)), dtype=np.bool_)
    for column, name in enumerate(instruments):
        for start, end in spans.get(name, ()):
            members[:, column] |= (days >= pd.Timestamp(start)) & (days <= pd.Timestamp(end))
    return members


__all__ = ["MarketPanel", "carried_forward", "member_array"]

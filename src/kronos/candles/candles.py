"""`Candles`: one instrument's K-lines, clean, with what is known about them. Immutable; slices are new `Candles`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from kronos.candles.cleaning import clean
from kronos.candles.findings import Finding
from kronos.candles.gaps import agrees, find_gaps, infer_interval, spacing_text
from kronos.candles.readers import RawTable, frame_table
from kronos.candles.schema import COLUMNS, PRICES
from kronos.candles.timestamps import check_timezone
from kronos.errors import DataError, ParameterError
from kronos.intervals import Interval

SIMULATED = "simulated"  # how names of files begin whose candles never traded


@dataclass(frozen=True, eq=False)
class Candles:
    """One instrument's K-lines.

    Attributes:
        frame: float64 columns open, high, low, close, volume, amount; index ``timestamps``, strictly increasing, as the
            source stamps it (at the open or the close of a bar). Prices are finite and positive.
        symbol: The instrument's name, if known.
        interval: The length of a candle.
        timezone: Timezone of the index; None if the index is naive.
        calendar: Trading calendar asked for, such as ``XNYS``; None leaves it to be guessed.
        findings: What cleaning noticed and mended.
        source: Where the candles come from: a file's name, or a description.
        simulated: Whether these are invented candles, which every output has to say; true of files whose names begin
            with ``simulated``, and of Parquet and Feather files whose metadata say so.
        has_volume: Whether the source tells volume (a column that is not all zero).
        has_amount: Whether the source tells amount; otherwise it is volume × mean price, or 0.
        dropped: Times of rows that cleaning dropped because their prices say nothing, in the index's own terms; where
            the frame passes over one of them, prices are missing.
    """

    frame: pd.DataFrame
    symbol: str | None
    interval: Interval
    timezone: str | None = None
    calendar: str | None = None
    findings: tuple[Finding, ...] = field(default=())
    source: str | None = None
    simulated: bool = False
    has_volume: bool = True
    has_amount: bool = True
    dropped: pd.DatetimeIndex = field(default_factory=lambda: pd.DatetimeIndex([]))

    def __post_init__(self) -> None:
        index = self.frame.index
        if tuple(self.frame.columns) != COLUMNS or not isinstance(index, pd.DatetimeIndex):
            raise DataError(
                "Candles need the columns " + ", ".join(COLUMNS) + " under a DatetimeIndex; use from_frame."
            )
        if not (index.is_monotonic_increasing and index.is_unique):
            raise DataError("Candles need strictly increasing times; use Candles.from_frame, which sorts and merges.")
        prices = self.frame[list(PRICES)].to_numpy()
        if not (np.isfinite(prices).all() and (prices > 0).all()):
            raise DataError("Candles need finite prices above 0; use Candles.from_frame, which reports such rows.")

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        symbol: str | None = None,
        interval: str | Interval | None = None,
        timezone: str | None = None,
        calendar: str | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> Candles:
        """Clean a DataFrame of candles; its time is a column, or else the index.

        Args:
            frame: Columns under any of the usual names. It is not changed.
            symbol: The instrument's name; else a symbol column's only value.
            interval: Such as ``"1h"``; else inferred.
            timezone: IANA name: naive stamps are its wall clock, others are converted to it.
            calendar: Trading calendar for what comes after; None leaves it to be guessed.
            columns: Which column is which, ``{"close": "Last Price"}``; wins over the usual names.

        Raises:
            DataError: If the candles cannot be used.
            ParameterError: If an argument is wrong.
        """
        options = ReadOptions(symbol, interval, timezone, calendar)
        return from_table(frame_table(frame, columns), options, "a DataFrame")

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        name = self.symbol or self.source or "candles"
        warned = sum(f.severity == "warning" for f in self.findings)
        simulated = ", SIMULATED" if self.simulated else ""
        zone = f" {self.timezone}" if self.timezone else ""
        span = f", {self.start} … {self.end}{zone}" if len(self) else ""
        return f"<Candles {name} {self.interval}: {len(self):,} rows{span}, {warned} warnings{simulated}>"

    @property
    def index(self) -> pd.DatetimeIndex:
        """The times."""
        index = self.frame.index
        assert isinstance(index, pd.DatetimeIndex)
        return index

    @property
    def start(self) -> pd.Timestamp:
        """The first time."""
        return self.index[0]

    @property
    def end(self) -> pd.Timestamp:
        """The last time."""
        return self.index[-1]

    def head(self, n: int) -> Candles:
        """The first ``n`` candles."""
        return replace(self, frame=self.frame.iloc[: max(0, n)])

    def tail(self, n: int) -> Candles:
        """The last ``n`` candles."""
        return replace(self, frame=self.frame.iloc[max(0, len(self) - max(0, n)) :])

    def until(self, time: str | pd.Timestamp) -> Candles:
        """The candles stamped up to and including a time: what is known then, when stamps are bar ends."""
        return replace(self, frame=self.frame[self.index <= self._stamp(time)])

    def between(self, start: str | pd.Timestamp, end: str | pd.Timestamp) -> Candles:
        """The candles stamped from ``start`` to ``end``, both included."""
        low, high = self._stamp(start), self._stamp(end)
        return replace(self, frame=self.frame[(self.index >= low) & (self.index <= high)])

    def _stamp(self, time: str | pd.Timestamp) -> pd.Timestamp:
        """A time in the index's own terms: naive ones are its wall clock."""
        try:
            stamp = pd.Timestamp(time)
        except (ValueError, TypeError, OverflowError):
            raise ParameterError(f"'{time}' is no time; write it like 2024-01-31 09:30.") from None
        if pd.isna(stamp):
            raise ParameterError("A missing time selects no candles; write it like 2024-01-31 09:30.")
        if self.index.tz is None:
            if stamp.tz is not None:
                raise ParameterError(
                    f"{stamp} has a timezone but these candles have none; leave it out or say timezone=."
                )
            return stamp
        return stamp.tz_localize(self.index.tz) if stamp.tz is None else stamp.tz_convert(self.index.tz)

    def findings_table(self) -> pd.DataFrame:
        """The findings as a table: severity, code, count, message."""
        rows = [(f.severity, f.code, f.count, f.message) for f in self.findings]
        return pd.DataFrame(rows, columns=["severity", "code", "count", "message"])


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a caller knows better than the source."""

    symbol: str | None = None
    interval: str | Interval | None = None
    timezone: str | None = None
    calendar: str | None = None


def from_table(table: RawTable, options: ReadOptions, source: str) -> Candles:
    """Clean a table into `Candles`; the way in for files, frames and long frames."""
    if options.timezone is not None:
        check_timezone(options.timezone)
    given = None if options.interval is None else Interval.parse(options.interval).normalized()
    only = _only_symbol(table)
    symbol = options.symbol or only
    frame, findings, dropped = clean(table, options.timezone)
    index = frame.index
    assert isinstance(index, pd.DatetimeIndex)
    interval = _interval(index, given, table.rows.name)
    findings.extend(_gaps(index, interval))
    has_volume = bool((frame["volume"] > 0).any())
    return Candles(
        frame=frame.astype(np.float64),
        interval=interval,
        symbol=symbol,
        timezone=None if index.tz is None else str(index.tz),
        calendar=options.calendar,
        findings=tuple(findings),
        source=source,
        simulated=table.simulated or source.lower().startswith(SIMULATED),
        has_volume=has_volume,
        has_amount="volume" in table.layout.prices and "amount" in table.layout.prices,
        dropped=dropped,
    )


def _only_symbol(table: RawTable) -> str | None:
    if table.layout.symbol is None:
        return None
    values = table.frame[table.layout.symbol].dropna().astype(str).str.strip().unique()
    names = [n for n in values.tolist() if n]
    if len(names) > 1:
        raise DataError(
            f"{table.rows.name} holds {len(names)} instruments ({names[0]}, {names[1]} …); read it with "
            f"read_many or split_long."
        )
    return str(names[0]) if names else None


def _interval(index: pd.DatetimeIndex, given: Interval | None, name: str) -> Interval:
    if given is None:
        try:
            return infer_interval(index)
        except DataError as error:
            raise DataError(f"{name}: {error}") from None
    if not agrees(index, given):
        seen = spacing_text(pd.Series(index).diff().median().total_seconds())
        raise ParameterError(
            f"interval={given} contradicts {name}, whose times are mostly {seen} apart; correct or drop it."
        )
    return given


def _gaps(index: pd.DatetimeIndex, interval: Interval) -> list[Finding]:
    gaps = find_gaps(index, interval)
    if not len(gaps.positions):
        return []
    longest = str(pd.Timedelta(seconds=gaps.longest)).removeprefix("0 days ")
    after = index[int(gaps.positions[0])]
    message = (
        f"{len(gaps.positions)} gap(s) in time, the longest {longest}, the first before {after}; nothing was filled in."
    )
    return [Finding("gaps", "info", message, (), len(gaps.positions))]


__all__ = ["Candles", "ReadOptions", "from_table"]

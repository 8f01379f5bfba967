"""`Candles`: the clean candles of one instrument with their metadata. Immutable; slices are new `Candles`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from kronos.candles.cleaning import clean
from kronos.candles.columns import COLUMNS, PRICES
from kronos.candles.findings import Finding
from kronos.candles.gaps import find_gaps, fits_interval, format_spacing, infer_interval, is_off_grid
from kronos.candles.read_options import ReadOptions
from kronos.candles.readers import RawTable, frame_table
from kronos.candles.timezone_names import check_timezone
from kronos.errors import DataError, ParameterError
from kronos.formatting import Message
from kronos.intervals import Interval
from kronos.notebook import SummaryTable, format_column, format_times, html_summary

SIMULATED_PREFIX = "simulated"  # of the names of files with simulated candles
_SHOWN = 5  # candles in a notebook


@dataclass(frozen=True, eq=False)
class Candles:
    """Candles of one instrument.

    Attributes:
        frame: float64 columns open, high, low, close, volume, amount. The index ``timestamps`` is strictly increasing,
            at the open or the close of candles as in the source. Prices are finite and positive.
        symbol: Name of the instrument, if known.
        interval: Length of a candle.
        timezone: Timezone of the index; None if the index is naive.
        calendar: Trading calendar such as ``XNYS``; None to detect it from the times.
        findings: Findings of cleaning.
        source: File name or description of the source.
        simulated: Whether the candles are simulated, which every output has to state; true of files whose names begin
            with ``simulated`` and of Parquet and Feather files that are marked in their metadata.
        has_volume: Whether the source has volume (a column that is not all zero).
        has_amount: Whether the source has amounts; otherwise they are volume × mean price, or 0.
        dropped: Times of rows that cleaning dropped for unusable prices, in the timezone of the index.
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
            raise DataError("Candles need strictly increasing times; use Candles.from_frame, which sorts them.")
        prices = self.frame.to_numpy(np.float64)[:, : len(PRICES)]  # without a selection of columns, which takes long
        if not (np.isfinite(prices).all() and (prices > 0).all()):
            raise DataError("Candles need finite prices above 0; use Candles.from_frame, which drops other rows.")

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
        decimal: str | None = None,
        thousands: str | None = None,
        date_format: str | None = None,
    ) -> Candles:
        """Clean a DataFrame of candles; the times are a column or the index.

        Args:
            frame: Candles under any of the usual column names; not modified.
            symbol: Name of the instrument; None takes it from a symbol column with one value.
            interval: Interval such as ``"1h"``; None infers it.
            timezone: IANA timezone of naive times; other times are converted to it.
            calendar: Trading calendar for future times; None detects it.
            columns: Mapping such as ``{"close": "Last Price"}``; takes precedence over the usual names.
            decimal: Decimal sign of numbers in text; None infers it.
            thousands: Thousands sign of numbers in text; None infers it.
            date_format: Notation of times in text for ``strptime``; None infers it.

        Raises:
            DataError: If the candles cannot be used.
            ParameterError: If an argument is invalid.
        """
        options = ReadOptions(
            symbol,
            interval,
            timezone,
            calendar,
            columns=tuple((columns or {}).items()),
            decimal=decimal,
            thousands=thousands,
            date_format=date_format,
        )
        return from_table(frame_table(frame, options.column_names), options, "a DataFrame")

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        name = self.symbol or self.source or "candles"
        warnings = sum(f.severity == "warning" for f in self.findings)
        simulated = ", SIMULATED" if self.simulated else ""
        zone = f" {self.timezone}" if self.timezone else ""
        span = f", {self.start} … {self.end}{zone}" if len(self) else ""
        return f"<Candles {name} {self.interval}: {len(self):,} rows{span}, {warnings} warnings{simulated}>"

    def _repr_html_(self) -> str:
        """Show the last candles and the findings in notebooks."""
        shown = self.tail(_SHOWN)
        prices = format_column([float(value) for value in shown.frame[list(PRICES)].to_numpy().ravel()])
        volumes = format_column([float(value) for value in shown.frame["volume"]])
        times, width = format_times(list(shown.index)), len(PRICES)
        rows = [
            (time, *prices[width * i : width * (i + 1)], *volumes[i : i + 1 if self.has_volume else i])
            for i, time in enumerate(times)
        ]
        columns = ("time", *PRICES, *["volume"] * self.has_volume)
        span = " to ".join(format_times([self.start, self.end])) if len(self) else "–"
        facts = [
            ("candles", f"{len(self):,}"),
            ("interval", str(self.interval)),
            ("from", span),
            ("timezone", self.timezone or "none"),
            ("calendar", self.calendar or "detected"),
            ("source", self.source or "–"),
        ]
        ranked = sorted(self.findings, key=lambda finding: finding.severity != "warning")
        return html_summary(
            f"Candles of {self.symbol or self.source or 'one instrument'}",
            facts,
            SummaryTable(columns, rows, gap=0 if len(self) > len(shown) else None),
            [str(finding) for finding in ranked],
            simulated=self.simulated,
        )

    @property
    def index(self) -> pd.DatetimeIndex:
        """Times of the candles."""
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
        """The candles stamped at or before a time: those known at it, if candles are stamped at their close."""
        return replace(self, frame=self.frame[self.index <= self._to_stamp(time)])

    def between(self, start: str | pd.Timestamp, end: str | pd.Timestamp) -> Candles:
        """The candles stamped from ``start`` to ``end``, both inclusive."""
        low, high = self._to_stamp(start), self._to_stamp(end)
        return replace(self, frame=self.frame[(self.index >= low) & (self.index <= high)])

    def _to_stamp(self, time: str | pd.Timestamp) -> pd.Timestamp:
        """A time in the timezone of the index; naive times are its wall clock."""
        try:
            stamp = pd.Timestamp(time)
        except (ValueError, TypeError, OverflowError):
            raise ParameterError(f"Invalid time '{time}': write it like 2024-01-31 09:30.") from None
        if pd.isna(stamp):
            raise ParameterError("The time is missing (NaT); write it like 2024-01-31 09:30.")
        if self.index.tz is None:
            if stamp.tz is not None:
                raise ParameterError(
                    f"{stamp} has a timezone but the candles have none; remove it, or read them with timezone=."
                )
            return stamp
        return stamp.tz_localize(self.index.tz) if stamp.tz is None else stamp.tz_convert(self.index.tz)

    def findings_table(self) -> pd.DataFrame:
        """The findings as a frame with the columns severity, code, count, message."""
        rows = [(f.severity, f.code, f.count, f.message) for f in self.findings]
        return pd.DataFrame(rows, columns=["severity", "code", "count", "message"])


def from_table(table: RawTable, options: ReadOptions, source: str) -> Candles:
    """Clean a raw table into `Candles`.

    Args:
        table: The raw table.
        options: Options of the caller.
        source: File name or description of the source.

    Raises:
        DataError: If the candles cannot be used.
        ParameterError: If an option is invalid.
    """
    if options.timezone is not None:
        check_timezone(options.timezone)
    given = None if options.interval is None else Interval.parse(options.interval).normalized()
    table_symbol = _single_symbol(table)
    frame, findings, dropped = clean(table, options)
    frame, forming = _drop_forming(frame, table.rows.name)
    findings.extend(forming)
    index = frame.index
    assert isinstance(index, pd.DatetimeIndex)
    interval = _resolve_interval(index, given, table.rows.name)
    findings.extend(_report_gaps(index, interval))
    has_volume = bool((frame["volume"] > 0).any())
    return Candles(
        frame=frame.astype(np.float64),
        interval=interval,
        symbol=options.symbol or table_symbol,
        timezone=None if index.tz is None else str(index.tz),
        calendar=options.calendar,
        findings=tuple(findings),
        source=source,
        simulated=table.simulated or source.lower().startswith(SIMULATED_PREFIX),
        has_volume=has_volume,
        has_amount={"volume", "amount"} <= set(table.layout.prices)
        and not any(finding.code == "not-an-amount" for finding in findings),
        dropped=dropped,
    )


def _single_symbol(table: RawTable) -> str | None:
    if table.layout.symbol is None:
        return None
    values = table.frame[table.layout.symbol].dropna().astype(str).str.strip().unique()
    names = [n for n in values.tolist() if n]
    if len(names) > 1:
        raise DataError(
            Message(
                "several-instruments",
                "{name} has {count} instruments ({first}, {second} …); read it with read_many or split_long.",
                name=table.rows.name,
                count=len(names),
                first=names[0],
                second=names[1],
            )
        )
    return str(names[0]) if names else None


def _drop_forming(frame: pd.DataFrame, name: str) -> tuple[pd.DataFrame, list[Finding]]:
    """Leave out a last candle that is still forming: its time is off the grid of all others."""
    index = frame.index
    assert isinstance(index, pd.DatetimeIndex)
    if not is_off_grid(index):
        return frame, []
    message = Message(
        "forming-candle",
        "The last candle of {name}, of {time}, is off the grid of the others: it is still forming and was left out.",
        name=name,
        time=f"{index[-1]}",
    )
    return frame.iloc[:-1], [Finding("forming-candle", "info", message)]


def _resolve_interval(index: pd.DatetimeIndex, given: Interval | None, name: str) -> Interval:
    if given is None:
        try:
            return infer_interval(index)
        except DataError as error:
            said = error.args[0]
            raise DataError(Message.restore(f"{name}: {said}", said.kind, said.values)) from None
    if not fits_interval(index, given):
        spacing = format_spacing(pd.Series(index).diff().median().total_seconds())
        raise ParameterError(
            Message(
                "wrong-interval",
                "interval={interval} contradicts {name}, whose times are mostly {spacing} apart; correct or omit it.",
                interval=f"{given}",
                name=name,
                spacing=spacing,
            )
        )
    return given


def _report_gaps(index: pd.DatetimeIndex, interval: Interval) -> list[Finding]:
    gaps = find_gaps(index, interval)
    if not len(gaps.positions):
        return []
    longest = str(pd.Timedelta(seconds=gaps.longest)).removeprefix("0 days ")
    after = index[int(gaps.positions[0])]
    message = Message(
        "gaps",
        "{count} gap(s) in time, the longest {longest}, the first before {after}; no candles were added.",
        count=len(gaps.positions),
        longest=longest,
        after=f"{after}",
    )
    return [Finding("gaps", "info", message, (), len(gaps.positions))]


__all__ = ["Candles", "from_table"]

"""Qlib folders as a source of candles: read and written by code of our own, which needs no Qlib.

- Values are float32 as Qlib keeps them: seven significant digits.
- Prices and volumes are usually adjusted: price = traded price × ``$factor``, volume = traded volume / ``$factor``.
  They are given as stored; ``adjusted=False`` takes the factor out again. Amounts of money are never adjusted.
- The amount is the field ``amount``, or else ``money``, or else ``vwap`` × volume.
- A market such as ``csi300`` limits a code to the spans of its membership, as ``D.instruments("csi300")`` does; the
  market ``all`` has the whole history.
- Folders written by `write_qlib` tell their timezone and which candles are simulated; of others nobody knows the clock,
  so their times stay without a timezone unless one is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.atomic import expand_user
from kronos.candles import PRICES, Candles, Finding
from kronos.candles.cleaning import clean
from kronos.candles.readers import frame_table
from kronos.candles.timestamps import check_timezone
from kronos.errors import DataError, ParameterError
from kronos.formatting import truncate
from kronos.intervals import Interval
from kronos.sources.base import closing_time, no_interval, plain, slice_request, unknown_symbol
from kronos.sources.qlib.layout import (
    Frequency,
    Label,
    Spans,
    code_folder,
    frequencies,
    read_calendar,
    read_field,
    read_instruments,
)
from kronos.sources.qlib.writer import write_qlib

Fields = dict[str, npt.NDArray[np.float64]]

_VOLUMES, _AMOUNTS = ("volume", "vol"), ("amount", "money")
_OPTIONAL = (*_VOLUMES, *_AMOUNTS, "vwap")
_SUFFIXED = re.compile(r"(\d{6})(sh|sz|bj|ss|xshg|xshe)")
_PREFIXES = {"ss": "sh", "xshg": "sh", "xshe": "sz"}


def read_qlib(
    folder: str | Path,
    symbols: Iterable[str] | None = None,
    freq: str | Interval = "day",
    market: str = "all",
    *,
    timezone: str | None = None,
    adjusted: bool = True,
) -> dict[str, Candles]:
    """Read candles of one frequency from a Qlib folder.

    Args:
        folder: The folder, such as ``~/.qlib/qlib_data/cn_data``.
        symbols: Codes, in any notation; None for all of the market's that have at least 2 candles.
        freq: ``day``, ``5min``, ``1h`` …
        market: The file in ``instruments/`` that lists the codes and their spans.
        timezone: IANA name of the folder's wall clock; None for what `write_qlib` noted, or else no timezone.
        adjusted: Prices and volumes as stored; False takes ``$factor`` out of them.

    Returns:
        Candles by code as the folder writes it.

    Raises:
        DataError: If the folder is no Qlib folder, or a file in it cannot be used.
        ParameterError: If it has no such frequency, market or code.
    """
    source = QlibFolder(folder, market, freq, timezone=timezone, adjusted=adjusted)
    opened = source._open(Interval.parse(freq))
    if symbols is None:
        found = {code: candles for code in opened.spans if (candles := opened.read_if_any(code)) is not None}
        if not found:
            raise DataError(f"The codes of {opened.where} have no candles; check its features.")
        return found
    return {code: opened.read(code) for code in map(opened.code, symbols)}


class QlibFolder:
    """A Qlib folder as a `CandleSource`. Every call reads the files afresh, so that an updated folder shows.

    Attributes:
        path: The folder.
        market: The file in ``instruments/`` that lists the codes and their spans.
    """

    def __init__(
        self,
        path: str | Path,
        market: str = "all",
        freq: str | Interval | None = None,
        *,
        timezone: str | None = None,
        adjusted: bool = True,
    ) -> None:
        """Name a folder.

        Args:
            path: The folder, such as ``~/.qlib/qlib_data/cn_data``.
            market: The file in ``instruments/`` that lists the codes and their spans.
            freq: Serve only this frequency, such as ``day``; None for every one that the folder has.
            timezone: IANA name of the folder's wall clock; None for what `write_qlib` noted, or else no timezone.
            adjusted: Prices and volumes as stored; False takes ``$factor`` out of them.

        Raises:
            DataError: If it is no Qlib folder.
            ParameterError: If it has no such frequency or market, or there is no such timezone.
        """
        self.path = expand_user(path)
        self.market = market
        self._only = None if freq is None else Interval.parse(freq).normalized()
        self._timezone = None if timezone is None else check_timezone(timezone)
        self._adjusted = adjusted
        self._frequencies()
        self._spans()

    @property
    def name(self) -> str:
        """``qlib``."""
        return "qlib"

    @property
    def simulated(self) -> bool:
        """Whether any of its candles are invented, as the folder's label says; the `Candles` say it one by one."""
        return Label.read(self.path).simulated

    def symbols(self) -> tuple[str, ...]:
        """The market's codes, in the folder's order."""
        return tuple(self._spans())

    def now(self) -> pd.Timestamp:
        """When the last candle that the folder's calendars can hold closes; UTC, or the wall clock taken for it."""
        zone = self._zone(Label.read(self.path))
        ends = []
        for frequency in self._frequencies():
            last = read_calendar(self.path, frequency)[-1:]
            # Should the clocks be changed just then: the later of two hours, the end of a skipped one.
            placed = last.tz_localize(zone, ambiguous=np.array([False]), nonexistent="shift_forward")
            ends.append(closing_time(placed[0], frequency.interval))
        return max(ends)

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """The intervals of which there are closing prices of an instrument, ascending.

        Raises:
            ParameterError: If the market does not list it, naming the nearest.
        """
        place = code_folder(self.path, _find(symbol, self._spans(), self._where()))
        there = [one for one in self._frequencies() if (place / f"close.{one.name}.bin").is_file()]
        return tuple(one.interval for one in there)

    def candles(
        self,
        symbol: str,
        interval: Interval,
        *,
        start: pd.Timestamp | None = None,
        end: pd.Timestamp | None = None,
        records: int | None = None,
    ) -> Candles:
        """Candles of the folder, which are all closed; see `CandleSource`.

        Raises:
            ParameterError: If it does not have the instrument or the interval.
            DataError: If there are no candles in that span, or a file cannot be used.
        """
        opened = self._open(interval, symbol)
        return slice_request(opened.read(opened.code(symbol)), start, end, records, opened.where)

    def _open(self, interval: Interval, symbol: str = "its codes") -> _Opened:
        """Read what all instruments of a frequency share: for reading many of them."""
        wanted = interval.normalized()
        frequency = next((one for one in self._frequencies() if one.interval == wanted), None)
        if frequency is None:
            raise no_interval(symbol, interval, (one.interval for one in self._frequencies()), self._where())
        label = Label.read(self.path)
        calendar = read_calendar(self.path, frequency)
        zone = self._zone(label)
        return _Opened(self.path, self._where(), frequency, calendar, self._spans(), label, zone, self._adjusted)

    def _where(self) -> str:
        market = "" if self.market == "all" else f" ({self.market})"
        return f"Qlib folder {self.path.name}{market}"

    def _zone(self, label: Label) -> str | None:
        return label.timezone if self._timezone is None else self._timezone

    def _spans(self) -> dict[str, Spans]:
        return read_instruments(self.path, self.market)

    def _frequencies(self) -> tuple[Frequency, ...]:
        there = frequencies(self.path)
        if self._only is None:
            return there
        kept = tuple(one for one in there if one.interval == self._only)
        if not kept:
            raise no_interval("its codes", self._only, (one.interval for one in there), self._where())
        return kept


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """One frequency of a folder: what all its instruments share."""

    folder: Path
    where: str
    frequency: Frequency
    calendar: pd.DatetimeIndex
    spans: dict[str, Spans]
    label: Label
    timezone: str | None
    adjusted: bool

    def code(self, symbol: str) -> str:
        """The folder's own name of an instrument."""
        return _find(symbol, self.spans, self.where)

    def read(self, code: str) -> Candles:
        """One instrument, of which there must be at least 2 candles."""
        candles = self.read_if_any(code)
        if candles is None:
            raise DataError(f"{self.where} has fewer than 2 {self.frequency.interval} candles of {code}.")
        return candles

    def read_if_any(self, code: str) -> Candles | None:
        """One instrument; None if there are fewer than 2 candles."""
        first, fields = self._fields(code)
        if not fields:
            return None
        times = self.calendar[first : first + len(fields["close"])]
        rows = self._rows(code, times, fields)
        if len(rows) < 2:
            return None
        columns = {name: column[rows] for name, column in self._columns(fields).items()}
        if not self.label.told(code, "has_volume", True):
            columns = {name: columns[name] for name in PRICES}  # the zeros that were written stand for nothing
        return self._candles(code, pd.DataFrame(columns, index=times[rows]))

    def _fields(self, code: str) -> tuple[int, Fields]:
        """The fields there are, over the calendar positions that any of them reaches, NaN elsewhere."""
        place, end = code_folder(self.folder, code), f".{self.frequency.name}.bin"
        required = PRICES if self.adjusted else (*PRICES, "factor")
        there = [name for name in (*required, *_OPTIONAL) if (place / (name + end)).is_file()]
        missing = [name for name in required if name not in there]
        if there and missing:
            raise DataError(f"{place} has no {missing[0]}{end}, without which {code} cannot be read; dump it again.")
        read = {name: read_field(place / (name + end), len(self.calendar)) for name in there}
        first = min((start for start, _ in read.values()), default=0)
        length = max((start + len(values) for start, values in read.values()), default=0) - first
        fields = {name: np.full(length, np.nan) for name in read}
        for name, (start, values) in read.items():
            fields[name][start - first : start - first + len(values)] = values
        return first, fields

    def _rows(self, code: str, times: pd.DatetimeIndex, fields: Fields) -> npt.NDArray[np.intp]:
        """Which of the fields' rows hold a candle that the market counts."""
        priced = np.logical_or.reduce([~np.isnan(fields[name]) for name in PRICES])
        member = self.spans[code].holds(times.as_unit("s").asi8, self.frequency.interval.intraday)
        return np.flatnonzero(priced & member)

    def _columns(self, fields: Fields) -> Fields:
        """The columns of candles, as far as the fields tell them."""
        out = {name: fields[name] for name in PRICES}
        volume = next((fields[name] for name in _VOLUMES if name in fields), None)
        amount = next((fields[name] for name in _AMOUNTS if name in fields), None)
        if amount is None and volume is not None and "vwap" in fields:
            amount = fields["vwap"] * volume
        if not self.adjusted:
            with np.errstate(divide="ignore", invalid="ignore"):  # cleaning reports prices that are none
                out = {name: values / fields["factor"] for name, values in out.items()}
            volume = None if volume is None else volume * fields["factor"]
        if volume is not None:
            out["volume"] = volume
        if amount is not None:
            out["amount"] = amount
        return out

    def _candles(self, code: str, frame: pd.DataFrame) -> Candles:
        # The interval is that of the calendar; nothing is inferred from the rows, which may be sparse.
        table = frame_table(frame, None)
        table = replace(table, rows=replace(table.rows, name=f"{code} of {self.where}"))
        cleaned, findings, dropped = clean(table, self.timezone)
        origin = self.label.text(code, "source")
        return Candles(
            frame=cleaned.astype(np.float64),
            symbol=code,
            interval=self.frequency.interval,
            timezone=self.timezone,
            calendar=self.label.text(code, "calendar"),
            findings=(*findings, *self._gaps(code, frame)),
            source=self.where + (f", from {origin}" if origin else ""),
            simulated=self.label.told(code, "simulated", self.label.simulated),
            has_volume=bool((cleaned["volume"] > 0).any()),
            has_amount={"volume", "amount"} <= set(frame.columns) and self.label.told(code, "has_amount", True),
            dropped=dropped,
        )

    def _gaps(self, code: str, frame: pd.DataFrame) -> list[Finding]:
        """Times of the calendar without a candle, between the first and the last."""
        first, last = self.calendar.searchsorted(frame.index[[0, -1]])
        lacking = int(last - first) + 1 - len(frame)
        if not lacking:
            return []
        message = (
            f"{lacking:,} of the calendar's {int(last - first) + 1:,} times from {frame.index[0]} to {frame.index[-1]} "
            f"have no candle of {code}; nothing was filled in."
        )
        return [Finding("gaps", "info", message, (), lacking)]


def _find(symbol: str, codes: Iterable[str], where: str) -> str:
    """The code meant: as written, or else without case and separators; ``600000.SH`` is ``SH600000``."""
    known = list(codes)
    if symbol in known:
        return symbol
    asked = _prefixed(plain(symbol))
    found = [code for code in known if plain(code) == asked or _prefixed(plain(code)) == asked]
    if len(found) > 1:
        raise ParameterError(
            f"'{truncate(symbol)}' can be {found[0]} or {found[1]} in {where}; write the code in full."
        )
    if not found:
        raise unknown_symbol(symbol, known, where)
    return found[0]


def _prefixed(symbol: str) -> str:
    match = _SUFFIXED.fullmatch(symbol)
    return symbol if match is None else _PREFIXES.get(match[2], match[2]) + match[1]


__all__ = ["QlibFolder", "read_qlib", "write_qlib"]

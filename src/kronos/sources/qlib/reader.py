"""Qlib folders as a source of candles, read without Qlib.

- Values are float32, as Qlib stores them: seven significant digits.
- Prices and volumes are usually adjusted: price = traded price × ``$factor``, volume = traded volume / ``$factor``.
  They are returned as stored; ``adjusted=False`` removes the factor. Amounts are never adjusted.
- The amount is the field ``amount``, else ``money``, else ``vwap`` × volume.
- A market such as ``csi300`` limits a code to the spans of its membership, like ``D.instruments("csi300")``; the market
  ``all`` has the whole history.
- Folders of `write_qlib` are labelled with their timezone and the simulated instruments. Times of other folders have no
  timezone unless one is given.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles import PRICES, Candles, Finding
from kronos.candles.cleaning import clean
from kronos.candles.read_options import ReadOptions
from kronos.candles.readers import frame_table
from kronos.candles.timezone_names import check_timezone
from kronos.errors import DataError, ParameterError
from kronos.formatting import Message, expand_user, truncate
from kronos.intervals import Interval
from kronos.sources.base import (
    CandleRange,
    LocalSource,
    closing_time,
    normalize_symbol,
    slice_request,
    unknown_symbol,
    unsupported_interval,
)
from kronos.sources.qlib.layout import (
    FolderLabel,
    Frequency,
    MembershipSpans,
    code_folder,
    read_calendar,
    read_field,
    read_frequencies,
    read_instruments,
)
from kronos.typing import FloatArray

log = logging.getLogger("kronos.sources")

_VOLUMES, _AMOUNTS = ("volume", "vol"), ("amount", "money")
_OPTIONAL = (*_VOLUMES, *_AMOUNTS, "vwap")
_SUFFIXED_CODE = re.compile(r"(\d{6})(sh|sz|bj|ss|xshg|xshe)")
_PREFIXES = {"ss": "sh", "xshg": "sh", "xshe": "sz"}


def read_qlib(
    folder: str | Path,
    symbols: Iterable[str] | None = None,
    freq: str | Interval = "day",
    market: str = "all",
    *,
    timezone: str | None = None,
    adjusted: bool = True,
    strict: bool = False,
) -> CandlesByCode:
    """Read candles of one frequency from a Qlib folder.

    Args:
        folder: The folder, such as ``~/.qlib/qlib_data/cn_data``.
        symbols: Codes, in any notation; None for all codes of the market with at least 2 candles.
        freq: ``day``, ``5min``, ``1h`` …
        market: Name of the file in ``instruments/`` that lists the codes and their spans.
        timezone: IANA name of the folder's timezone; None for that of its label, else no timezone.
        adjusted: Return prices and volumes as stored; False removes ``$factor``.
        strict: Whether a code whose files cannot be used is an error, instead of being skipped.

    Returns:
        Candles by code, as written in the folder: a dictionary whose ``skipped`` has the codes that were skipped.

    Raises:
        DataError: If the folder is not a Qlib folder, or none of the codes (with ``strict``: one of them) can be used.
        ParameterError: If it has no such frequency, market or code.
    """
    source = QlibFolder(folder, market, freq, timezone=timezone, adjusted=adjusted)
    reader = source._open(Interval.parse(freq))
    codes = list(reader.spans) if symbols is None else list(map(reader.code, symbols))
    found = CandlesByCode()
    for code in codes:
        try:
            candles = reader.read_if_any(code) if symbols is None else reader.read(code)
        except DataError as error:
            if strict or len(codes) == 1:
                raise
            found.skipped[code] = str(error)
            log.warning("Skipped %s: %s", code, error)
            continue
        if candles is not None:
            found[code] = candles
    if not found:
        reason = next(iter(found.skipped.values()), "check its features.")
        raise DataError(f"The codes of {reader.description} have no candles: {reason}")
    return found


class CandlesByCode(dict[str, Candles]):
    """Candles of a Qlib folder by code.

    Attributes:
        skipped: Codes whose files cannot be used, and why.
    """

    def __init__(self) -> None:
        super().__init__()
        self.skipped: dict[str, str] = {}


class QlibFolder(LocalSource):
    """A Qlib folder as a `CandleSource`. Every call reads the files again, so that updates are found.

    Attributes:
        path: The folder.
        market: Name of the file in ``instruments/`` that lists the codes and their spans.
    """

    name = "qlib"

    def __init__(
        self,
        path: str | Path,
        market: str = "all",
        freq: str | Interval | None = None,
        *,
        timezone: str | None = None,
        adjusted: bool = True,
    ) -> None:
        """Use a folder.

        Args:
            path: The folder, such as ``~/.qlib/qlib_data/cn_data``.
            market: Name of the file in ``instruments/`` that lists the codes and their spans.
            freq: Serve only this frequency, such as ``day``; None for all frequencies of the folder.
            timezone: IANA name of the folder's timezone; None for that of its label, else no timezone.
            adjusted: Return prices and volumes as stored; False removes ``$factor``.

        Raises:
            DataError: If it is not a Qlib folder.
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
    def simulated(self) -> bool:
        """Whether any of its candles are simulated, by the folder's label."""
        return FolderLabel.read(self.path).simulated

    def symbols(self) -> tuple[str, ...]:
        """The market's codes, in the folder's order."""
        return tuple(self._spans())

    def now(self) -> pd.Timestamp:
        """Closing time of the last candle that the calendars can hold; UTC, or its naive time taken as UTC."""
        zone = self._zone(FolderLabel.read(self.path))
        ends = []
        for frequency in self._frequencies():
            last = read_calendar(self.path, frequency)[-1:]
            # At a change of daylight saving time: the later of two hours, the end of a skipped one.
            localized = last.tz_localize(zone, ambiguous=np.array([False]), nonexistent="shift_forward")
            ends.append(closing_time(localized[0], frequency.interval))
        return max(ends)

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """The intervals with closing prices of an instrument, ascending.

        Raises:
            ParameterError: If the market does not list it; suggests the nearest.
        """
        features = code_folder(self.path, _find_code(symbol, self._spans(), self._description()))
        frequencies = [one for one in self._frequencies() if (features / f"close.{one.name}.bin").is_file()]
        return tuple(frequency.interval for frequency in frequencies)

    def _select(self, symbol: str, interval: Interval, requested: CandleRange) -> Candles:
        reader = self._open(interval, symbol)
        return slice_request(reader.read(reader.code(symbol)), requested, reader.description)

    def _open(self, interval: Interval, symbol: str = "its codes") -> _FrequencyReader:
        """Read what all instruments of a frequency share."""
        frequencies = self._frequencies()
        frequency = next((one for one in frequencies if one.interval == interval.normalized()), None)
        if frequency is None:
            known = (one.interval for one in frequencies)
            raise unsupported_interval(symbol, interval, known, self._description())
        label = FolderLabel.read(self.path)
        return _FrequencyReader(
            folder=self.path,
            description=self._description(),
            frequency=frequency,
            calendar=read_calendar(self.path, frequency),
            spans=self._spans(),
            label=label,
            timezone=self._zone(label),
            adjusted=self._adjusted,
        )

    def _description(self) -> str:
        market = "" if self.market == "all" else f" ({self.market})"
        return f"Qlib folder {self.path.name}{market}"

    def _zone(self, label: FolderLabel) -> str | None:
        return label.timezone if self._timezone is None else self._timezone

    def _spans(self) -> dict[str, MembershipSpans]:
        return read_instruments(self.path, self.market)

    def _frequencies(self) -> tuple[Frequency, ...]:
        frequencies = read_frequencies(self.path)
        if self._only is None:
            return frequencies
        selected = tuple(frequency for frequency in frequencies if frequency.interval == self._only)
        if not selected:
            known = (frequency.interval for frequency in frequencies)
            raise unsupported_interval("its codes", self._only, known, self._description())
        return selected


@dataclass(frozen=True, slots=True, eq=False)
class _FrequencyReader:
    """Reads the instruments of one frequency; holds what they share."""

    folder: Path
    description: str
    frequency: Frequency
    calendar: pd.DatetimeIndex
    spans: dict[str, MembershipSpans]
    label: FolderLabel
    timezone: str | None
    adjusted: bool

    def code(self, symbol: str) -> str:
        """The folder's own name of an instrument."""
        return _find_code(symbol, self.spans, self.description)

    def read(self, code: str) -> Candles:
        """Read an instrument; an error if there are fewer than 2 candles."""
        candles = self.read_if_any(code)
        if candles is None:
            raise DataError(f"{self.description} has fewer than 2 {self.frequency.interval} candles of {code}.")
        return candles

    def read_if_any(self, code: str) -> Candles | None:
        """Read an instrument; None if there are fewer than 2 candles."""
        first, fields = self._read_fields(code)
        if not fields:
            return None
        times = self.calendar[first : first + len(fields["close"])]
        rows = self._candle_rows(code, times, fields)
        if len(rows) < 2:
            return None
        columns = {name: column[rows] for name, column in self._columns(fields).items()}
        if not self.label.flag(code, "has_volume", True):
            columns = {name: columns[name] for name in PRICES}  # the stored zeros mean that the volume is unknown
        return self._to_candles(code, pd.DataFrame(columns, index=times[rows]))

    def _read_fields(self, code: str) -> tuple[int, dict[str, FloatArray]]:
        """The available fields over the calendar positions that any of them covers, NaN elsewhere."""
        features, suffix = code_folder(self.folder, code), f".{self.frequency.name}.bin"
        required = PRICES if self.adjusted else (*PRICES, "factor")
        available = [name for name in (*required, *_OPTIONAL) if (features / (name + suffix)).is_file()]
        missing = [name for name in required if name not in available]
        if available and missing:
            raise DataError(f"{features} has no {missing[0]}{suffix}, which {code} needs: write the folder again.")
        read = {name: read_field(features / (name + suffix), len(self.calendar)) for name in available}
        first = min((start for start, _ in read.values()), default=0)
        length = max((start + len(values) for start, values in read.values()), default=0) - first
        fields = {name: np.full(length, np.nan) for name in read}
        for name, (start, values) in read.items():
            fields[name][start - first : start - first + len(values)] = values
        return first, fields

    def _candle_rows(self, code: str, times: pd.DatetimeIndex, fields: dict[str, FloatArray]) -> npt.NDArray[np.intp]:
        """Rows of the fields with a price, within the spans of the market."""
        priced = np.logical_or.reduce([~np.isnan(fields[name]) for name in PRICES])
        member = self.spans[code].contains(times.as_unit("s").asi8, self.frequency.interval.intraday)
        return np.flatnonzero(priced & member)

    def _columns(self, fields: dict[str, FloatArray]) -> dict[str, FloatArray]:
        """The candle columns that the fields provide."""
        columns = {name: fields[name] for name in PRICES}
        volume = next((fields[name] for name in _VOLUMES if name in fields), None)
        amount = next((fields[name] for name in _AMOUNTS if name in fields), None)
        if amount is None and volume is not None and "vwap" in fields:
            amount = fields["vwap"] * volume
        if not self.adjusted:
            with np.errstate(divide="ignore", invalid="ignore"):  # cleaning reports invalid prices
                columns = {name: values / fields["factor"] for name, values in columns.items()}
            volume = None if volume is None else volume * fields["factor"]
        if volume is not None:
            columns["volume"] = volume
        if amount is not None:
            columns["amount"] = amount
        return columns

    def _to_candles(self, code: str, frame: pd.DataFrame) -> Candles:
        # The interval is that of the calendar: the rows may be too sparse to infer it.
        table = frame_table(frame, None)
        table = replace(table, rows=replace(table.rows, name=f"{code} of {self.description}"))
        cleaned, findings, dropped = clean(table, ReadOptions(timezone=self.timezone))
        origin = self.label.text(code, "source")
        return Candles(
            frame=cleaned.astype(np.float64),
            symbol=code,
            interval=self.frequency.interval,
            timezone=self.timezone,
            calendar=self.label.text(code, "calendar"),
            findings=(*findings, *self._gaps(code, frame)),
            source=self.description + (f", from {origin}" if origin else ""),
            simulated=self.label.flag(code, "simulated", self.label.simulated),
            has_volume=bool((cleaned["volume"] > 0).any()),
            has_amount={"volume", "amount"} <= set(frame.columns) and self.label.flag(code, "has_amount", True),
            dropped=dropped,
        )

    def _gaps(self, code: str, frame: pd.DataFrame) -> list[Finding]:
        """Finding about calendar times without a candle between the first and the last."""
        first, last = self.calendar.searchsorted(frame.index[[0, -1]])
        expected = int(last - first) + 1
        missing = expected - len(frame)
        if not missing:
            return []
        message = Message(
            "calendar-gaps",
            "{count} of the calendar's {total} times from {start} to {end} have no candle of "
            "{symbol}; nothing was filled in.",
            count=f"{missing:,}",
            total=f"{expected:,}",
            start=f"{frame.index[0]}",
            end=f"{frame.index[-1]}",
            symbol=code,
        )
        return [Finding("gaps", "info", message, (), missing)]


def _find_code(symbol: str, codes: Iterable[str], source: str) -> str:
    """The matching code: as written, or else without case and separators; ``600000.SH`` matches ``SH600000``."""
    known = list(codes)
    if symbol in known:
        return symbol
    requested = _move_suffix(normalize_symbol(symbol))
    found = [code for code in known if requested in (normalize_symbol(code), _move_suffix(normalize_symbol(code)))]
    if len(found) > 1:
        raise ParameterError(
            f"'{truncate(symbol)}' may be {found[0]} or {found[1]} in {source}: write the code in full."
        )
    if not found:
        raise unknown_symbol(symbol, known, source)
    return found[0]


def _move_suffix(symbol: str) -> str:
    """Write an exchange's suffix as a prefix: ``sh600000`` for ``600000xshg``."""
    match = _SUFFIXED_CODE.fullmatch(symbol)
    return symbol if match is None else _PREFIXES.get(match[2], match[2]) + match[1]

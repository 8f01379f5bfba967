"""Layout of a Qlib folder: calendars, instruments, features and the label, file by file.

- ``calendars/day.txt``: all times of a frequency (``day``, ``1min``, ``5min``, ``60min`` …), one per line, ascending.
- ``instruments/all.txt``: the codes of a market with the spans of their membership, both ends inclusive, separated by
  tabs; a code may have several lines. Dates for daily data, times for intraday data.
- ``features/sh600000/close.day.bin``: little-endian float32. The first number is the calendar position of the second,
  NaN means "no candle". The folder is the code in lower case; names that Windows reserves (``CON``, ``COM1`` …) get the
  prefix ``_qlib_``, as in Qlib.
- ``kronos.json``: the label, written by `write_qlib` only.
- Nothing outside the folder is ever opened: codes and markets that could lead there are rejected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles import Candles
from kronos.candles.timezone_names import check_timezone
from kronos.errors import DataError, ParameterError
from kronos.formatting import join_names, os_error_reason, truncate
from kronos.intervals import Interval
from kronos.provenance import frame_digest, versions
from kronos.typing import BoolArray, FloatArray, IntArray

LABEL = "kronos.json"
MAX_CALENDAR_LENGTH = 1 << 24  # positions that a float32 represents exactly
_FORMAT = 1
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(10))})
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_MARKET = re.compile(r"[a-z0-9][\w-]{0,63}", re.IGNORECASE | re.ASCII)
_TIME = re.compile(r"(\d{4})-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.0+)?)?)?", re.ASCII)
_YEARS = range(1800, 2200)
_DATE_LENGTH = 10  # characters of a date without a time
_MAX_CODE_BYTES = 200
_MAX_TEXT_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class FolderLabel:
    """What `write_qlib` noted about a folder.

    Attributes:
        timezone: Timezone of the folder's times, if known.
        simulated: Whether any instrument is simulated; also the default of instruments that the label does not name.
        instruments: Properties of each instrument, by code.
    """

    timezone: str | None
    simulated: bool
    instruments: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> FolderLabel:
        """Read a folder's label; an empty one if there is none.

        Raises:
            DataError: If the label is damaged.
        """
        path = folder / LABEL
        if not path.exists():
            return cls(None, False, {})
        try:
            document = json.loads(path.read_text("utf-8"))
            timezone, simulated, instruments = document["timezone"], document["simulated"], document["instruments"]
            valid = isinstance(simulated, bool) and isinstance(instruments, dict)
            if not valid or not all(isinstance(properties, dict) for properties in instruments.values()):
                raise TypeError
            return cls(None if timezone is None else check_timezone(timezone), simulated, instruments)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"The label {path} of the candles is damaged: write the folder again.") from error

    def flag(self, code: str, name: str, default: bool) -> bool:
        """A boolean property of an instrument."""
        return bool(self.instruments.get(code, {}).get(name, default))

    def text(self, code: str, name: str) -> str | None:
        """A text property of an instrument, if it is known."""
        value = self.instruments.get(code, {}).get(name)
        return value if isinstance(value, str) else None


def build_label(candles: Mapping[str, Candles], interval: Interval, timezone: str | None) -> dict[str, Any]:
    """Label of a folder; the digests are those of the numbers before they are rounded to float32."""
    return {
        "format": _FORMAT,
        "kronos": versions().get("kronos"),
        "simulated": any(series.simulated for series in candles.values()),
        "interval": str(interval),
        "timezone": timezone,
        "instruments": {
            code: {
                "simulated": series.simulated,
                "source": series.source,
                "calendar": series.calendar,
                "has_volume": series.has_volume,
                "has_amount": series.has_amount,
                "rows": len(series),
                "sha256": frame_digest(series.frame),
            }
            for code, series in candles.items()
        },
    }


@dataclass(frozen=True, slots=True)
class Frequency:
    """An interval and its name in a folder: ``60min`` for ``1h``."""

    name: str
    interval: Interval


@dataclass(frozen=True, slots=True)
class MembershipSpans:
    """Spans in which a code belongs to a market.

    Attributes:
        starts: First times, in seconds of local time since 1970. [S]
        ends: Last times, inclusive. [S]
        days: Which ends are dates without a time. [S]
    """

    starts: IntArray
    ends: IntArray
    days: BoolArray

    def contains(self, times: IntArray, intraday: bool) -> BoolArray:
        """Which times lie in one of the spans; a date as an end includes that day's candles."""
        inside = np.zeros(len(times), dtype=np.bool_)
        for start, end, day in zip(self.starts, self.ends, self.days, strict=True):
            inside |= (times >= start) & (times <= (end + 86_399 if day and intraday else end))
        return inside


def frequency_name(interval: Interval) -> str:
    """Qlib's name of an interval: ``day``, ``5min``, ``60min``, ``1week``, ``1month``.

    Raises:
        ParameterError: If Qlib has no name for it.
    """
    if interval.unit == "s":
        raise ParameterError(f"Qlib has no {interval} candles: its shortest interval is 1m.")
    if interval.unit in ("m", "h"):
        return f"{interval.seconds // 60}min"
    name = {"d": "day", "w": "week", "mo": "month"}[interval.unit]
    return name if (interval.count, name) == (1, "day") else f"{interval.count}{name}"


def read_frequencies(folder: Path) -> tuple[Frequency, ...]:
    """The frequencies that a folder has calendars of, by length.

    Raises:
        DataError: If it is not a Qlib folder, or has no calendar.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}: check the path, or write one with write_qlib.")
    found = [_parse_frequency(path.stem) for path in sorted(folder.glob("calendars/*.txt"))]
    frequencies = [frequency for frequency in found if frequency is not None]
    if not frequencies:
        raise DataError(f"{folder} has no calendar such as calendars/day.txt: name a folder in Qlib's layout.")
    return tuple(sorted(frequencies, key=lambda frequency: frequency.interval.seconds))


def _parse_frequency(stem: str) -> Frequency | None:
    try:
        return None if stem.endswith("_future") else Frequency(stem, Interval.parse(stem).normalized())
    except ParameterError:
        return None


def invalid_code_reason(code: str) -> str | None:
    """Why a code cannot be an instrument of a Qlib folder; None if it can."""
    if not isinstance(code, str) or code != code.strip() or not code:
        return "is blank or has spaces around it"
    if _FORBIDDEN.search(code):
        return "has a character that is not allowed in file names on all systems"
    if code.startswith(".") or code.endswith("."):
        return "begins or ends with a dot"
    if len(code.lower().encode("utf-8", "replace")) > _MAX_CODE_BYTES or not code.isprintable():
        return "is too long or not printable"
    return None


def code_folder(folder: Path, code: str) -> Path:
    """Folder of a code's features; the code must be valid by `invalid_code_reason`."""
    name = code.lower()
    return folder / "features" / (f"_qlib_{name}" if name in _RESERVED else name)


def market_file(folder: Path, market: str) -> Path:
    """File of a market's instruments, whether it exists or not.

    Raises:
        ParameterError: If the market's name is invalid.
    """
    if not isinstance(market, str) or not _MARKET.fullmatch(market):
        raise ParameterError(f"Invalid market '{truncate(market)}': write it like all or csi300.")
    return folder / "instruments" / f"{market.lower()}.txt"


def read_calendar(folder: Path, frequency: Frequency) -> pd.DatetimeIndex:
    """The times of a frequency, naive, in seconds.

    Raises:
        DataError: If the calendar is missing or empty, or a line is not a time later than that of the line before.
    """
    path = folder / "calendars" / f"{frequency.name}.txt"
    return _read_calendar(path, *_file_state(path))


@lru_cache(maxsize=4)
def _read_calendar(path: Path, _modified: int, _size: int) -> pd.DatetimeIndex:
    numbers, texts = [], []
    for number, text in _lines(path):
        match = _TIME.fullmatch(text)
        if match is None or int(match[1]) not in _YEARS:
            raise _invalid_time(path, number, text)
        numbers.append(number)
        texts.append(text)
    if not texts:
        raise DataError(f"{path} is empty: it needs the times of the candles, one per line.")
    times = _parse_times(path, numbers, texts)
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        line, text = numbers[back[0] + 1], texts[back[0] + 1]
        raise DataError(f"{path}, line {line}: {text} is not later than the line before; sort the calendar.")
    return pd.DatetimeIndex(times.astype("datetime64[s]"))


def read_instruments(folder: Path, market: str) -> dict[str, MembershipSpans]:
    """The codes of a market as written, with the spans of their membership, in the file's order.

    Raises:
        DataError: If the file is missing or empty, or a line is invalid or names something outside the folder.
        ParameterError: If the market's name is invalid, or the folder has other markets.
    """
    path = market_file(folder, market)
    if not path.is_file():
        raise _unknown_market(folder, market)
    rows = [(number, *_parse_instrument(path, number, text)) for number, text in _lines(path)]
    if not rows:
        raise DataError(f"{path} is empty: it needs a code, a start and an end per line, separated by tabs.")
    numbers, codes, starts, ends = (list(column) for column in zip(*rows, strict=True))
    first, last = _parse_times(path, numbers, starts), _parse_times(path, numbers, ends)
    days = np.array([len(text) == _DATE_LENGTH for text in ends])
    rows_of: dict[str, list[int]] = {}
    for row, code in enumerate(codes):
        rows_of.setdefault(code, []).append(row)
    return {code: MembershipSpans(first[chosen], last[chosen], days[chosen]) for code, chosen in rows_of.items()}


def _parse_instrument(path: Path, number: int, text: str) -> tuple[str, str, str]:
    """Code, start and end of a line; further cells are ignored."""
    cells = [cell.strip() for cell in text.split("\t")]
    if len(cells) < 3:
        raise DataError(f"{path}, line {number}: write a code, a start and an end, separated by tabs.")
    if problem := invalid_code_reason(cells[0]):
        raise DataError(f"{path}, line {number}: the code '{truncate(cells[0])}' {problem}; rename it.")
    for cell in cells[1:3]:
        if not _TIME.fullmatch(cell):
            raise _invalid_time(path, number, cell)
    return cells[0], cells[1], cells[2]


def _unknown_market(folder: Path, market: str) -> DataError | ParameterError:
    known = sorted(path.stem for path in folder.glob("instruments/*.txt"))
    if not known:
        return DataError(f"{folder} has no instruments such as instruments/all.txt: name a folder in Qlib's layout.")
    return ParameterError(f"{folder} has no market '{market}'; it has {join_names(known, 8)}.")


def read_field(path: Path, calendar_length: int) -> tuple[int, FloatArray]:
    """Read one field of one instrument.

    Args:
        path: The file.
        calendar_length: Number of times in the calendar.

    Returns:
        Calendar position of the first value, and the values, NaN where there is no candle. [n]

    Raises:
        DataError: If the file is cut off, or does not match the calendar.
    """
    size = _file_state(path)[1]
    if size < 4 or size % 4:
        raise DataError(f"{path} has {size} bytes, not a whole number of float32 values: write it again.")
    count = size // 4 - 1
    if count > calendar_length:
        raise DataError(
            f"{path} holds {count} values, more than the {calendar_length} times of the calendar: write both again."
        )
    values = _read_floats(path)
    start = float(values[0])
    if not (np.isfinite(start) and start >= 0 and start == int(start)):
        raise DataError(f"{path} begins with {start:g}, which is not a position in the calendar: write it again.")
    if int(start) + len(values) - 1 > calendar_length:
        raise DataError(f"{path} extends beyond the {calendar_length} times of the calendar: write both again.")
    return int(start), values[1:].astype(np.float64)


def _read_floats(path: Path) -> npt.NDArray[np.float32]:
    try:
        return np.fromfile(path, dtype="<f4")
    except OSError as error:
        raise _unreadable(path, error) from None


def _file_state(path: Path) -> tuple[int, int]:
    """Modification time and size in bytes of a file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise DataError(f"There is no file {path}: write the Qlib folder again.") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    return status.st_mtime_ns, status.st_size


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers, from 1."""
    if _file_state(path)[1] > _MAX_TEXT_BYTES:
        raise DataError(f"{path} has more than {_MAX_TEXT_BYTES / 2**30:g} GiB: it is not a list of times or codes.")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: write the Qlib folder again.") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.strip("\r\n ")


def _parse_times(path: Path, numbers: list[int], texts: list[str]) -> IntArray:
    """Seconds since 1970 of times that match `_TIME`."""
    try:
        return np.array(texts, dtype="datetime64[s]").astype(np.int64)
    except ValueError:
        for number, text in zip(numbers, texts, strict=True):
            try:
                np.datetime64(text, "s")
            except ValueError:
                raise _invalid_time(path, number, text) from None
        raise


def _invalid_time(path: Path, number: int, text: str) -> DataError:
    return DataError(
        f"{path}, line {number}: '{truncate(text, 40)}' is not a time; write it like 2024-01-31 or 2024-01-31 09:30:00."
    )


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read ({os_error_reason(error)}): check its permissions.")

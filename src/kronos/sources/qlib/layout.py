"""Qlib's folder of candles, file by file: calendars, instruments and features, as its own reader sees them.

- ``calendars/day.txt``: every time of a frequency (``day``, ``1min``, ``5min``, ``60min`` …), one a line, ascending.
- ``instruments/all.txt``: the codes of a market with the spans in which they belong to it, ends included, separated by
  tabs; a code may have several lines. Days for daily data, times for intraday ones.
- ``features/sh600000/close.day.bin``: little-endian float32; the first number is the position in the calendar of the
  second, NaN is "no candle". The folder is the code in lower case. What Windows reserves (``CON``, ``COM1`` …) is
  prefixed with ``_qlib_``, as Qlib does it.
- Nothing outside the folder is ever opened: codes and markets that could lead there are refused.
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
from kronos.candles.timestamps import check_timezone
from kronos.errors import DataError, ParameterError
from kronos.formatting import truncate
from kronos.intervals import Interval
from kronos.provenance import frame_digest, versions

LABEL = "kronos.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Label:
    """What is said of a folder; of one without a label, that nothing is known.

    Attributes:
        timezone: Of the folder's clock, if known.
        simulated: Whether any instrument is simulated; one that the label doesn't name then counts as such.
        instruments: What is said of each, by code.
    """

    timezone: str | None
    simulated: bool
    instruments: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Label:
        """Read a folder's label.

        Raises:
            DataError: If there is one, but it is damaged.
        """
        path = folder / LABEL
        if not path.exists():
            return cls(None, False, {})
        try:
            told = json.loads(path.read_text("utf-8"))
            zone, simulated, instruments = told["timezone"], told["simulated"], told["instruments"]
            sound = isinstance(simulated, bool) and isinstance(instruments, dict)
            if not sound or not all(isinstance(one, dict) for one in instruments.values()):
                raise TypeError
            return cls(None if zone is None else check_timezone(zone), simulated, instruments)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{path}, which labels the candles, is damaged; write the folder again.") from error

    def told(self, code: str, what: str, otherwise: bool) -> bool:
        """One yes or no about an instrument."""
        return bool(self.instruments.get(code, {}).get(what, otherwise))

    def text(self, code: str, what: str) -> str | None:
        """One name told of an instrument, if it is."""
        said = self.instruments.get(code, {}).get(what)
        return said if isinstance(said, str) else None


def label_of(candles: Mapping[str, Candles], interval: Interval, timezone: str | None) -> dict[str, Any]:
    """What is to be said of candles; the digests are those of the numbers before they were rounded to float32."""
    return {
        "format": _FORMAT,
        "kronos": versions().get("kronos"),
        "simulated": any(one.simulated for one in candles.values()),
        "interval": str(interval),
        "timezone": timezone,
        "instruments": {
            code: {
                "simulated": one.simulated,
                "source": one.source,
                "calendar": one.calendar,
                "has_volume": one.has_volume,
                "has_amount": one.has_amount,
                "rows": len(one),
                "sha256": frame_digest(one.frame),
            }
            for code, one in candles.items()
        },
    }


LONGEST = 1 << 24  # calendar positions that a float32 can name exactly

_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(10))})
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_MARKET = re.compile(r"[a-z0-9][\w-]{0,63}", re.IGNORECASE | re.ASCII)
_TIME = re.compile(r"(\d{4})-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.0+)?)?)?", re.ASCII)
_YEARS = range(1800, 2200)
_DATE = 10  # characters of a time without a clock
_MAX_BYTES = 1 << 30

Seconds = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Frequency:
    """How a folder calls an interval: ``60min`` for ``1h``."""

    name: str
    interval: Interval


@dataclass(frozen=True, slots=True)
class Spans:
    """When a code belongs to a market: wall-clock seconds since 1970, both ends included; ``days`` marks bare dates."""

    starts: Seconds
    ends: Seconds
    days: npt.NDArray[np.bool_]

    def holds(self, times: Seconds, intraday: bool) -> npt.NDArray[np.bool_]:
        """Which times lie in one of the spans; a bare date as an end includes that day's candles."""
        inside = np.zeros(len(times), dtype=np.bool_)
        for start, end, day in zip(self.starts, self.ends, self.days, strict=True):
            inside |= (times >= start) & (times <= (end + 86_399 if day and intraday else end))
        return inside


def frequency_name(interval: Interval) -> str:
    """What Qlib calls an interval: ``day``, ``5min``, ``60min``, ``1week``, ``1month``.

    Raises:
        ParameterError: If it has no name for it.
    """
    if interval.unit == "s":
        raise ParameterError(f"Qlib has no {interval} candles; its shortest are 1m.")
    if interval.unit in ("m", "h"):
        return f"{interval.seconds // 60}min"
    name = {"d": "day", "w": "week", "mo": "month"}[interval.unit]
    return name if (interval.count, name) == (1, "day") else f"{interval.count}{name}"


def frequencies(folder: Path) -> tuple[Frequency, ...]:
    """The frequencies a folder has calendars of, by length.

    Raises:
        DataError: If it is no Qlib folder, or has no calendar.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}; check the path, or write one with write_qlib.")
    found = [one for path in sorted(folder.glob("calendars/*.txt")) if (one := _frequency(path.stem)) is not None]
    if not found:
        raise DataError(f"{folder} has no calendar such as calendars/day.txt; name a folder in Qlib's layout.")
    return tuple(sorted(found, key=lambda one: one.interval.seconds))


def _frequency(stem: str) -> Frequency | None:
    try:
        return None if stem.endswith("_future") else Frequency(stem, Interval.parse(stem).normalized())
    except ParameterError:
        return None


def code_problem(code: str) -> str | None:
    """Why a code can be no instrument of a Qlib folder, or None if it can."""
    if not isinstance(code, str) or code != code.strip() or not code:
        return "is blank or has spaces around it"
    if _FORBIDDEN.search(code):
        return "holds a character that no file name has everywhere"
    if code.startswith(".") or code.endswith("."):
        return "begins or ends with a dot"
    if len(code.lower().encode("utf-8", "replace")) > 200 or not code.isprintable():
        return "is too long or not printable"
    return None


def code_folder(folder: Path, code: str) -> Path:
    """Where a code's features lie; it must have no `code_problem`."""
    name = code.lower()
    return folder / "features" / (f"_qlib_{name}" if name in _RESERVED else name)


def market_file(folder: Path, market: str) -> Path:
    """The file of a market's instruments, whether it exists or not.

    Raises:
        ParameterError: If no market can be called so.
    """
    if not isinstance(market, str) or not _MARKET.fullmatch(market):
        raise ParameterError(f"'{truncate(market)}' is no market; write it like all or csi300.")
    return folder / "instruments" / f"{market.lower()}.txt"


def read_calendar(folder: Path, frequency: Frequency) -> pd.DatetimeIndex:
    """A frequency's times, naive, in seconds.

    Raises:
        DataError: If it is missing or empty, or a line is no time, or not later than the one before.
    """
    path = folder / "calendars" / f"{frequency.name}.txt"
    return _calendar(path, *_state(path))


@lru_cache(maxsize=4)
def _calendar(path: Path, _changed: int, _size: int) -> pd.DatetimeIndex:
    numbers, texts = [], []
    for number, text in _lines(path):
        match = _TIME.fullmatch(text)
        if match is None or int(match[1]) not in _YEARS:
            raise _no_time(path, number, text)
        numbers.append(number)
        texts.append(text)
    if not texts:
        raise DataError(f"{path} is empty; it needs the times of the candles, one a line.")
    times = _parsed(path, numbers, texts)
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        line, text = numbers[back[0] + 1], texts[back[0] + 1]
        raise DataError(f"Line {line} of {path}, {text}, is not later than the line before; sort the calendar.")
    return pd.DatetimeIndex(times.astype("datetime64[s]"))


def read_instruments(folder: Path, market: str) -> dict[str, Spans]:
    """A market's codes, as written, with the spans in which they belong to it; in the file's order.

    Raises:
        DataError: If the file is missing or empty, or a line cannot be read or names something outside the folder.
        ParameterError: If no market can be called so, or the folder has others.
    """
    path = market_file(folder, market)
    if not path.is_file():
        raise _no_market(folder, market)
    rows = [(number, *_instrument(path, number, text)) for number, text in _lines(path)]
    if not rows:
        raise DataError(f"{path} is empty; it needs a code, a start and an end a line, separated by tabs.")
    numbers, codes, starts, ends = (list(column) for column in zip(*rows, strict=True))
    return _by_code(codes, _parsed(path, numbers, starts), _parsed(path, numbers, ends), ends)


def _instrument(path: Path, number: int, text: str) -> tuple[str, str, str]:
    """A line's code, start and end; further cells don't count."""
    cells = [cell.strip() for cell in text.split("\t")]
    if len(cells) < 3:
        raise DataError(f"Line {number} of {path} needs a code, a start and an end, separated by tabs.")
    if problem := code_problem(cells[0]):
        raise DataError(f"The code '{truncate(cells[0])}' in line {number} of {path} {problem}; rename it.")
    for cell in cells[1:3]:
        if not _TIME.fullmatch(cell):
            raise _no_time(path, number, cell)
    return cells[0], cells[1], cells[2]


def _by_code(codes: list[str], starts: Seconds, ends: Seconds, texts: list[str]) -> dict[str, Spans]:
    days = np.array([len(text) == _DATE for text in texts])
    rows: dict[str, list[int]] = {}
    for row, code in enumerate(codes):
        rows.setdefault(code, []).append(row)
    return {code: Spans(starts[where], ends[where], days[where]) for code, where in rows.items()}


def _no_market(folder: Path, market: str) -> DataError | ParameterError:
    known = sorted(path.stem for path in folder.glob("instruments/*.txt"))
    if not known:
        return DataError(f"{folder} has no instruments such as instruments/all.txt; name a folder in Qlib's layout.")
    listed = ", ".join(known[:8]) + (" …" if len(known) > 8 else "")
    return ParameterError(f"{folder} has no market '{market}'; it has {listed}.")


def read_field(path: Path, calendar: int) -> tuple[int, npt.NDArray[np.float64]]:
    """One field of one instrument: the calendar position of its first value, and the values.

    Args:
        path: The file.
        calendar: How many times the calendar has.

    Returns:
        The position, and float64 values, NaN where there is no candle. [n]

    Raises:
        DataError: If the file is cut off, or does not fit the calendar.
    """
    size = _state(path)[1]
    if size < 4 or size % 4:
        raise DataError(f"{path} has {size} bytes, no whole number of float32 values; it was cut off: write it again.")
    count = size // 4 - 1
    if count > calendar:
        raise DataError(
            f"{path} holds {count} values, more than the {calendar} times of the calendar; dump both again."
        )
    values = _floats(path)
    start = float(values[0])
    if not (np.isfinite(start) and start >= 0 and start == int(start)):
        raise DataError(f"{path} begins with {start:g}, which is no position in the calendar; write it again.")
    if int(start) + len(values) - 1 > calendar:
        raise DataError(f"{path} reaches beyond the {calendar} times of the calendar; dump both again.")
    return int(start), values[1:].astype(np.float64)


def _floats(path: Path) -> npt.NDArray[np.float32]:
    try:
        return np.fromfile(path, dtype="<f4")
    except OSError as error:
        raise _unreadable(path, error) from None


def _state(path: Path) -> tuple[int, int]:
    """When a file was last changed, and its size in bytes."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise DataError(f"There is no file {path}; write the Qlib folder again.") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    return status.st_mtime_ns, status.st_size


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that hold something, numbered from 1."""
    if _state(path)[1] > _MAX_BYTES:
        raise DataError(f"{path} has more than {_MAX_BYTES / 2**30:g} GiB, which is no list of times or codes.")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is no text in UTF-8; write the Qlib folder again.") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.strip("\r\n ")


def _parsed(path: Path, numbers: list[int], texts: list[str]) -> Seconds:
    """Times of the right shape as seconds since 1970."""
    try:
        return np.array(texts, dtype="datetime64[s]").astype(np.int64)
    except ValueError:
        for number, text in zip(numbers, texts, strict=True):
            try:
                np.datetime64(text, "s")
            except ValueError:
                raise _no_time(path, number, text) from None
        raise


def _no_time(path: Path, number: int, text: str) -> DataError:
    shown = "".join(c if c.isprintable() else " " for c in text[:40])
    return DataError(
        f"'{shown}' in line {number} of {path} is no time; write it like 2024-01-31 or 2024-01-31 09:30:00."
    )


def _unreadable(path: Path, error: OSError) -> DataError:
    reason = (error.strerror or type(error).__name__).lower()
    return DataError(f"{path} cannot be read ({reason}); check its permissions.")

"""Parsing of times: text, epoch numbers, calendar numbers and date objects, with and without timezone.

Numbers are YYYYMMDD[HHMM[SS[mmm]]] if they are dates, else seconds, milli-, micro- or nanoseconds since 1970 (in UTC),
depending on their magnitude. Whether dates are day-first or month-first is decided by the whole column; an ambiguous
column is an error. Unreadable values become NaT and are reported by the cleaning.
"""

from __future__ import annotations

import difflib
import re
import warnings
import zoneinfo
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.errors import DataError, ParameterError
from kronos.formatting import truncate
from kronos.typing import BoolArray, FloatArray, IntArray

_EPOCH = (
    (1e8, 1e11, "s", 10**9),
    (1e11, 1e14, "ms", 10**6),
    (1e14, 1e17, "us", 10**3),
    (1e17, 9.2e18, "ns", 1),
)
_CALENDAR = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}
_OLDEST, _NEWEST = pd.Timestamp("1800-01-01").value, pd.Timestamp("2200-01-01").value

_NUMBER = r"-?\d{5,19}(?:\.\d*)?"
_ISO = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)?"  # the usual case, with a fast path
_YEAR_FIRST = re.compile(r"^(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(.*)$")
_YEAR_LAST = re.compile(r"^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})(.*)$")
_CLOCK = re.compile(r"^[T ,]*(\d{1,2})(?::|时)(\d{2})(?:(?::|分)(\d{2})?秒?([.,]\d+)?)?分?\s*([AaPp][Mm])?\s*(.*)$")
_OFFSET = re.compile(r"^(?:Z|(?:UTC|GMT)?(?:[+-]\d{2}(?::?\d{2})?)?)$", re.IGNORECASE)
_MONTH = r"(?i)(?:^|[^a-z])(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"


@dataclass(frozen=True, slots=True)
class ParsedTimes:
    """A parsed column of times.

    Attributes:
        index: Time of each row, NaT if unreadable; with a timezone if the source or the caller gave one. [n]
        notes: Decisions (epoch unit, day-first dates, daylight saving time) as pairs of code and sentence.
    """

    index: pd.DatetimeIndex
    notes: tuple[tuple[str, str], ...] = ()


def check_timezone(name: str) -> str:
    """Return the name if it is an IANA timezone.

    Raises:
        ParameterError: If there is no such timezone.
    """
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(str(name), sorted(zoneinfo.available_timezones()), 1, 0.6)
        hint = f"did you mean {near[0]}?" if near else "use an IANA name like UTC, Asia/Shanghai or America/New_York."
        raise ParameterError(f"There is no timezone '{name}'; {hint}") from None
    return name


def parse_timestamps(values: pd.Series, timezone: str | None, name: str) -> ParsedTimes:
    """Parse a column of times.

    Args:
        values: Text, numbers, datetimes or date objects. [n]
        timezone: IANA timezone of naive times; epoch numbers and times with an offset are converted to it.
        name: Name of the source in messages.

    Raises:
        DataError: If dates are ambiguous, or numbers are not times.
        ParameterError: If the timezone is unknown.
    """
    if timezone is not None:
        check_timezone(timezone)
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return _localize(_nanoseconds(pd.DatetimeIndex(values)), timezone)
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_timedelta64_dtype(values.dtype):
        raise DataError(
            f"The time column of {name} holds {values.dtype} values, not times; pass the right one in columns=."
        )
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_complex_dtype(values.dtype):
        return _from_numbers(_to_numbers(values), timezone, name)
    text = _text(values)
    filled = text[text.notna() & (text != "")]
    if len(filled) and bool(filled.str.fullmatch(_NUMBER).mean() > 0.5):
        return _from_numbers(_to_numbers(text.where(text.str.fullmatch(_NUMBER).fillna(False))), timezone, name)
    return _from_text(text, timezone, name)


def _text(values: pd.Series) -> pd.Series:
    if pd.api.types.infer_dtype(values, skipna=True) == "string":
        return values.reset_index(drop=True).astype("string").str.replace("\ufeff", "", regex=False).str.strip()
    return pd.Series([_to_text(v) for v in values], dtype=object).astype("string")


def _to_text(value: object) -> str | None:
    if value is None or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    iso = getattr(value, "isoformat", None)
    return str(iso()) if callable(iso) else str(value).replace("\ufeff", "").strip()[:64]


def _nanoseconds(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The same times in nanoseconds, NaT outside the years 1800 to 2200."""
    seconds = index.as_unit("s").asi8
    plausible = (seconds > _OLDEST // 10**9) & (seconds < _NEWEST // 10**9)
    return pd.DatetimeIndex(index.where(plausible)).as_unit("ns")


def _to_numbers(values: pd.Series) -> FloatArray | IntArray:
    """Numbers, as integers if possible: nanoseconds since 1970 exceed the precision of floats."""
    numeric = pd.to_numeric(values, errors="coerce")
    if pd.api.types.is_integer_dtype(numeric.dtype) and not numeric.isna().any():
        unsigned = pd.api.types.is_unsigned_integer_dtype(numeric.dtype)
        return np.asarray(numeric.clip(upper=2**62) if unsigned else numeric).astype(np.int64)
    return np.asarray(numeric.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def _from_numbers(numbers: FloatArray | IntArray, timezone: str | None, name: str) -> ParsedTimes:
    finite = np.isfinite(numbers)
    if not finite.any():
        return ParsedTimes(pd.DatetimeIndex([pd.NaT] * len(numbers)).as_unit("ns"))
    calendar = _parse_calendar_numbers(numbers, finite)
    if calendar is not None:
        return _localize(calendar, timezone)
    mixed = _mixed_units(numbers, finite)
    if mixed is not None:
        return _from_epoch(*mixed, timezone, name)
    typical = float(np.median(np.abs(numbers[finite].astype(np.float64))))
    for low, high, unit, factor in _EPOCH:
        if low <= typical < high:
            return _from_epoch(_epoch_stamps(numbers, finite, factor), unit, timezone, name)
    hint = " (day numbers of a spreadsheet? format them as dates)" if 20_000 < typical < 80_000 else ""
    raise DataError(
        f"The time column of {name} holds numbers such as {numbers[finite][0]:.12g} that are not times{hint}; "
        "use ISO dates such as 2024-01-31 09:30, or epoch milliseconds."
    )


def _from_epoch(utc: pd.DatetimeIndex, unit: str, timezone: str | None, name: str) -> ParsedTimes:
    stamps = utc.tz_localize("UTC")
    note = ("epoch-times", f"The times of {name} are epoch numbers ({unit}) and were read as UTC.")
    return ParsedTimes(stamps.tz_convert(timezone) if timezone else stamps, (note,))


def _mixed_units(numbers: FloatArray | IntArray, finite: BoolArray) -> tuple[pd.DatetimeIndex, str] | None:
    """Times and units if the numbers are times of this century in several units, else None.

    Binance's dumps, for example, changed from milliseconds to microseconds in 2025: joined files have both.
    """
    stamps, units = np.full(len(numbers), "NaT", dtype="M8[ns]"), []
    for low, high, unit, factor in _EPOCH:
        in_unit = finite & (numbers >= low) & (numbers < high)
        if in_unit.any():
            stamps[in_unit] = _epoch_stamps(numbers, in_unit, factor)[in_unit]
            units.append(unit)
    index = pd.DatetimeIndex(stamps)
    this_century = (index.year >= 2000) & (index.year < 2100)
    return (index, " and ".join(units)) if len(units) > 1 and bool(this_century[finite].all()) else None


def _parse_calendar_numbers(numbers: npt.NDArray[np.generic], finite: BoolArray) -> pd.DatetimeIndex | None:
    values = np.asarray(numbers[finite], dtype=np.float64)
    whole = values == np.floor(values)
    digits = len(f"{abs(float(np.median(values))):.0f}")
    if digits not in _CALENDAR or not whole.all():
        return None
    text = pd.Series([f"{int(n)}" if ok else None for n, ok in zip(numbers.tolist(), finite.tolist(), strict=True)])
    if digits == 17:
        text = text.str.ljust(17, "0")
    parsed = pd.DatetimeIndex(pd.to_datetime(text, format=_CALENDAR[digits], errors="coerce"))
    readable = np.asarray(parsed.notna()) & (np.asarray(parsed.year) >= 1900) & (np.asarray(parsed.year) < 2100)
    return _nanoseconds(parsed) if np.mean(readable[finite]) > 0.9 else None


def _epoch_stamps(numbers: FloatArray | IntArray, finite: BoolArray, factor: int) -> pd.DatetimeIndex:
    low, high = _OLDEST // factor, _NEWEST // factor
    plausible = finite & (numbers > low) & (numbers < high)
    values = np.where(plausible, numbers, 0)
    whole = np.floor(values).astype(np.int64)
    part = np.round((values - whole) * factor).astype(np.int64) if values.dtype.kind == "f" else 0
    stamps = pd.DatetimeIndex((whole * factor + part).view("M8[ns]"))
    return pd.DatetimeIndex(stamps.where(plausible))


def _from_text(text: pd.Series, timezone: str | None, name: str) -> ParsedTimes:
    notes: list[tuple[str, str]] = []
    filled = text.dropna()
    if bool(filled[filled != ""].str.fullmatch(_ISO).all()):
        times = pd.to_datetime(text.where(text.fillna("") != ""), format="ISO8601", errors="coerce")
        return _localize(_nanoseconds(pd.DatetimeIndex(times)), timezone)
    order = _day_month_order(text, name, notes)
    unique = text.dropna().unique()
    iso = text.map({value: _iso_text(str(value), order) for value in unique}).astype("string")
    offsets = iso.str.extract(r"[T ]\d{2}:\d{2}\S*?([+-]\d{2}:?\d{2}|Z)$", expand=False)
    aware = bool(offsets.notna().any())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns about parsing elements one by one, which is intended here
        parsed = pd.to_datetime(iso, format="ISO8601", errors="coerce", utc=aware)
        # Only dates with the name of a month: pandas would read digits as month-first. Zone names are ambiguous.
        month = iso.str.contains(_MONTH, regex=True) & ~iso.str.contains(r"[A-Za-z]{3,}$", regex=True)
        rest = parsed.isna() & month.fillna(False)
        if bool(rest.any()):
            named = pd.to_datetime(iso[rest], format="mixed", errors="coerce", utc=aware)
            if isinstance(named.dtype, np.dtype | pd.DatetimeTZDtype) and named.dtype.kind == "M":
                parsed = parsed.astype("datetime64[us, UTC]" if aware else "datetime64[us]")
                parsed.loc[rest] = named.astype(parsed.dtype)
    index = _nanoseconds(pd.DatetimeIndex(parsed))
    if aware:
        index = _resolve_offsets(index, offsets, timezone, notes, name)
    localized = _localize(index, timezone)
    return ParsedTimes(localized.index, (*notes, *localized.notes))


def _resolve_offsets(
    index: pd.DatetimeIndex, offsets: pd.Series, timezone: str | None, notes: list[tuple[str, str]], name: str
) -> pd.DatetimeIndex:
    """Keep the wall clock of a single offset; several offsets (daylight saving time) need a timezone and stay UTC."""
    distinct = offsets.dropna().unique()
    if timezone is not None or len(distinct) == 1:
        fixed = pd.Timestamp("2000-01-01T00:00:00" + str(distinct[0])).tz
        return index if timezone is not None else index.tz_convert(fixed)
    message = (
        f"The times of {name} have several UTC offsets and were converted to UTC; pass timezone= for a wall clock."
    )
    notes.append(("several-offsets", message))
    return index


def _day_month_order(text: pd.Series, name: str, notes: list[tuple[str, str]]) -> str:
    """Order of day and month: ``dm``, ``md``, or ``ymd`` if no date ends with the year.

    Raises:
        DataError: If the column is ambiguous.
    """
    parts = text.str.extract(r"^(\d{1,2})[-/.](\d{1,2})[-/.]\d{4}")
    found = parts.dropna()
    if found.empty:
        return "ymd"
    first, second = (found[i].astype(int) for i in (0, 1))
    day_first, month_first = bool((first > 12).any()), bool((second > 12).any())
    if day_first == month_first:
        reading = "mix day-first and month-first" if day_first else "can be read as day-first or month-first"
        example = truncate(text[found.index[0]])
        raise DataError(f"The dates of {name} {reading} ('{example}'); write them as YYYY-MM-DD.")
    notes.append(("day-order", f"The dates of {name} were read as {'day' if day_first else 'month'}-first."))
    return "dm" if day_first else "md"


def _iso_text(value: str, order: str) -> str:
    """A time in ISO format if its date is written in digits, else unchanged."""
    if match := _YEAR_FIRST.match(value):
        year, month, day, rest = match.groups()
    elif order != "ymd" and (match := _YEAR_LAST.match(value)):
        first, second, year, rest = match.groups()
        day, month = (first, second) if order == "dm" else (second, first)
    else:
        return _bare_offset(value)
    clock = _iso_clock(rest.strip())
    return value if clock is None else f"{year}-{int(month):02d}-{int(day):02d}{clock}"


def _bare_offset(value: str) -> str:
    """Turn ``Jan 08 2024 00:00:00 GMT-0500 (EST)``, as JavaScript prints it, into ``… -0500``: POSIX flips the sign."""
    value = re.sub(r"\s*\([^()]*\)$", "", value)
    value = re.sub(r"\s*(?:GMT|UTC)(?=[+-]\d)", "", value, flags=re.IGNORECASE)
    return re.sub(r"(?<=\d)\s*(?:GMT|UTC)$", "+00:00", value, flags=re.IGNORECASE)


def _iso_clock(rest: str) -> str | None:
    if not rest:
        return ""
    match = _CLOCK.match(rest)
    if match is None:
        return None
    hour, minute, second, fraction, half, offset = match.groups()
    hours = int(hour)
    if half:
        hours = hours % 12 + (12 if half.lower() == "pm" else 0)
    if offset and not _OFFSET.match(offset):
        return None
    zone = re.sub(r"^(?:UTC|GMT)", "", offset, flags=re.IGNORECASE) or ("+00:00" if offset else "")
    zone = {"Z": "+00:00", "z": "+00:00"}.get(zone, zone)
    zone = zone + ":00" if len(zone) == 3 else zone
    return f"T{hours:02d}:{minute}:{second or '00'}{(fraction or '').replace(',', '.')[:10]}{zone}"


def _localize(index: pd.DatetimeIndex, timezone: str | None) -> ParsedTimes:
    if timezone is None:
        return ParsedTimes(index)
    if index.tz is not None:
        return ParsedTimes(index.tz_convert(timezone))
    unique = index.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT")
    ambiguous = np.asarray(unique.isna()) & ~np.asarray(index.isna())
    if not ambiguous.any():
        return ParsedTimes(unique)
    # In the hour that is repeated, the first occurrence of a time is summer time and the second is winter time.
    repeated = np.asarray(pd.Series(index).groupby(pd.Series(index), dropna=False).cumcount() > 0)
    localized = index.tz_localize(timezone, ambiguous=~repeated, nonexistent="shift_forward")
    message = (
        f"{int(ambiguous.sum())} times fall into changes of daylight saving time in {timezone}, the first being "
        f"{index[int(ambiguous.argmax())]}; they were resolved in order."
    )
    return ParsedTimes(localized, (("summer-time", message),))


def join_clock(dates: pd.Series, clocks: pd.Series) -> pd.Series:
    """Join a date column with a time-of-day column, unless the latter already holds dates and times."""
    day = pd.Series([_to_text(v) for v in dates], dtype=object).fillna("").astype(str)
    clock = pd.Series([_to_text(v) for v in clocks], dtype=object).fillna("").astype(str)
    filled = clock[clock != ""]
    if len(filled) and bool(filled.str.fullmatch(r"\d{12,19}|.*\d{4}[-/.年]\d{1,2}.*").mean() > 0.5):
        return clock
    day = day.str.replace(r"[T ]00:00(:00(\.0+)?)?$", "", regex=True)
    day = day.str.replace(r"^(\d{4})(\d{2})(\d{2})(?:\.0)?$", r"\1-\2-\3", regex=True)
    compact = clock.str.extract(r"^(\d{3,6})(?:\.0)?$", expand=False)
    width = 6 if bool((compact.str.len() > 4).any()) else 4
    padded = compact.str.zfill(width).str.replace(r"^(\d{2})(\d{2})(\d{2})?$", r"\1:\2:\3", regex=True)
    return (day + " " + padded.str.rstrip(":").where(compact.notna(), clock)).str.strip()

"""Reading times: text, epoch numbers, calendar numbers, date objects, with and without timezones.

Numbers are told apart by magnitude: YYYYMMDD[HHMM[SS[mmm]]] where every value is a real date, else epoch
seconds, milli-, micro- or nanoseconds (which are UTC). Day-first and month-first dates are decided by the
whole column or refused. What cannot be read becomes NaT; the cleaning says which rows those are.
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

_EPOCH = (
    (1e8, 1e11, "s", 10**9),
    (1e11, 1e14, "ms", 10**6),
    (1e14, 1e17, "us", 10**3),
    (1e17, 9.2e18, "ns", 1),
)
_CALENDAR = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}
_OLDEST, _NEWEST = pd.Timestamp("1800-01-01").value, pd.Timestamp("2200-01-01").value

_NUMBER = r"-?\d{5,19}(?:\.\d*)?"
_ISO = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)?"  # the usual case, which is read at once
_YEAR_FIRST = re.compile(r"^(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(.*)$")
_YEAR_LAST = re.compile(r"^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})(.*)$")
_CLOCK = re.compile(r"^[T ,]*(\d{1,2})(?::|时)(\d{2})(?:(?::|分)(\d{2})?秒?([.,]\d+)?)?分?\s*([AaPp][Mm])?\s*(.*)$")
_OFFSET = re.compile(r"^(?:Z|(?:UTC|GMT)?(?:[+-]\d{2}(?::?\d{2})?)?)$", re.IGNORECASE)
_MONTH = r"(?i)(?:^|[^a-z])(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"


@dataclass(frozen=True, slots=True)
class ParsedTimes:
    """A column of times as read.

    Attributes:
        index: One stamp a row, NaT where unreadable; with a timezone if the source or the caller told one.
        notes: What had to be decided, in sentences (epoch unit, day-first dates, summer time).
    """

    index: pd.DatetimeIndex
    notes: tuple[tuple[str, str], ...] = ()


def check_timezone(name: str) -> str:
    """The name itself if it is an IANA timezone.

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
    """Read a column of times.

    Args:
        values: Text, numbers, datetimes or date objects, one a row.
        timezone: IANA name: naive stamps are its wall clock, epoch numbers and stamps with an offset are
            converted to it.
        name: What the source is called in messages.

    Raises:
        DataError: If dates are ambiguous, or numbers are no times.
        ParameterError: If the timezone is unknown.
    """
    if timezone is not None:
        check_timezone(timezone)
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return _in_zone(_nanoseconds(pd.DatetimeIndex(values)), timezone)
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_timedelta64_dtype(values.dtype):
        raise DataError(
            f"The time column of {name} holds {values.dtype} values, not times; name the right one with columns=."
        )
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_complex_dtype(values.dtype):
        return _from_numbers(_integers(values), timezone, name)
    text = _text(values)
    filled = text[text.notna() & (text != "")]
    if len(filled) and bool(filled.str.fullmatch(_NUMBER).mean() > 0.5):
        return _from_numbers(_integers(text.where(text.str.fullmatch(_NUMBER).fillna(False))), timezone, name)
    return _from_text(text, timezone, name)


def _text(values: pd.Series) -> pd.Series:
    if pd.api.types.infer_dtype(values, skipna=True) == "string":
        return values.reset_index(drop=True).astype("string").str.replace("\ufeff", "", regex=False).str.strip()
    return pd.Series([_plain(v) for v in values], dtype=object).astype("string")


def _plain(value: object) -> str | None:
    if value is None or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    iso = getattr(value, "isoformat", None)
    return str(iso()) if callable(iso) else str(value).replace("\ufeff", "").strip()[:64]


def _nanoseconds(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The same instants in nanoseconds, NaT where they lie outside 1800 … 2200."""
    in_seconds = index.as_unit("s").asi8
    sane = (in_seconds > _OLDEST // 10**9) & (in_seconds < _NEWEST // 10**9)
    return pd.DatetimeIndex(index.where(sane)).as_unit("ns")


def _integers(values: pd.Series) -> npt.NDArray[np.float64] | npt.NDArray[np.int64]:
    """Numbers, as integers where nothing is lost: nanoseconds don't fit a float."""
    numeric = pd.to_numeric(values, errors="coerce")
    if pd.api.types.is_integer_dtype(numeric.dtype) and not numeric.isna().any():
        unsigned = pd.api.types.is_unsigned_integer_dtype(numeric.dtype)
        return np.asarray(numeric.clip(upper=2**62) if unsigned else numeric).astype(np.int64)
    return np.asarray(numeric.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def _from_numbers(
    numbers: npt.NDArray[np.float64] | npt.NDArray[np.int64], timezone: str | None, name: str
) -> ParsedTimes:
    finite = np.isfinite(numbers)
    if not finite.any():
        return ParsedTimes(pd.DatetimeIndex([pd.NaT] * len(numbers)).as_unit("ns"))
    calendar = _calendar_numbers(numbers, finite)
    if calendar is not None:
        return _in_zone(calendar, timezone)
    several = _several_units(numbers, finite)
    if several is not None:
        return _as_epoch(*several, timezone, name)
    typical = float(np.median(np.abs(numbers[finite].astype(np.float64))))
    for low, high, unit, factor in _EPOCH:
        if low <= typical < high:
            return _as_epoch(_epoch(numbers, finite, factor), unit, timezone, name)
    serial = " (a spreadsheet's day numbers? format them as dates)" if 20_000 < typical < 80_000 else ""
    raise DataError(
        f"The time column of {name} holds numbers like {numbers[finite][0]:.12g} that are no times{serial}; "
        "use ISO dates such as 2024-01-31 09:30, or epoch milliseconds."
    )


def _as_epoch(utc: pd.DatetimeIndex, unit: str, timezone: str | None, name: str) -> ParsedTimes:
    stamps = utc.tz_localize("UTC")
    note = ("epoch-times", f"The times of {name} are epoch numbers ({unit}) and were read as UTC.")
    return ParsedTimes(stamps.tz_convert(timezone) if timezone else stamps, (note,))


def _several_units(
    numbers: npt.NDArray[np.float64] | npt.NDArray[np.int64], finite: npt.NDArray[np.bool_]
) -> tuple[pd.DatetimeIndex, str] | None:
    """Stamps and units if every number is a time of this century in a unit of its own, and there are several.

    Binance's dumps, for one, went from milliseconds to microseconds in 2025: joined, they hold both.
    """
    stamps, units = np.full(len(numbers), "NaT", dtype="M8[ns]"), []
    for low, high, unit, factor in _EPOCH:
        own = finite & (numbers >= low) & (numbers < high)
        if own.any():
            stamps[own] = _epoch(numbers, own, factor)[own]
            units.append(unit)
    index = pd.DatetimeIndex(stamps)
    this_century = (index.year >= 2000) & (index.year < 2100)
    return (index, " and ".join(units)) if len(units) > 1 and bool(this_century[finite].all()) else None


def _calendar_numbers(numbers: npt.NDArray[np.generic], finite: npt.NDArray[np.bool_]) -> pd.DatetimeIndex | None:
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


def _epoch(
    numbers: npt.NDArray[np.float64] | npt.NDArray[np.int64], finite: npt.NDArray[np.bool_], factor: int
) -> pd.DatetimeIndex:
    low, high = _OLDEST // factor, _NEWEST // factor
    sane = finite & (numbers > low) & (numbers < high)
    kept = np.where(sane, numbers, 0)
    whole = np.floor(kept).astype(np.int64)
    part = np.round((kept - whole) * factor).astype(np.int64) if kept.dtype.kind == "f" else 0
    stamps = pd.DatetimeIndex((whole * factor + part).view("M8[ns]"))
    return pd.DatetimeIndex(stamps.where(sane))


def _from_text(text: pd.Series, timezone: str | None, name: str) -> ParsedTimes:
    notes: list[tuple[str, str]] = []
    filled = text.dropna()
    if bool(filled[filled != ""].str.fullmatch(_ISO).all()):
        plain = pd.to_datetime(text.where(text.fillna("") != ""), format="ISO8601", errors="coerce")
        return _in_zone(_nanoseconds(pd.DatetimeIndex(plain)), timezone)
    order = _day_month_order(text, name, notes)
    unique = text.dropna().unique()
    canonical = {value: _canonical(str(value), order) for value in unique}
    clean = text.map(canonical).astype("string")
    offsets = clean.str.extract(r"[T ]\d{2}:\d{2}\S*?([+-]\d{2}:?\d{2}|Z)$", expand=False)
    aware = bool(offsets.notna().any())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns of per-element parsing; that is what is wanted here
        parsed = pd.to_datetime(clean, format="ISO8601", errors="coerce", utc=aware)
        # Dates with a month's name: digits alone would be guessed to be month-first. Names of zones mean several.
        month = clean.str.contains(_MONTH, regex=True) & ~clean.str.contains(r"[A-Za-z]{3,}$", regex=True)
        rest = parsed.isna() & month.fillna(False)
        if bool(rest.any()):
            named = pd.to_datetime(clean[rest], format="mixed", errors="coerce", utc=aware)
            if isinstance(named.dtype, np.dtype | pd.DatetimeTZDtype) and named.dtype.kind == "M":
                parsed = parsed.astype("datetime64[us, UTC]" if aware else "datetime64[us]")
                parsed.loc[rest] = named.astype(parsed.dtype)
    index = _nanoseconds(pd.DatetimeIndex(parsed))
    if aware:
        index = _source_offset(index, offsets, timezone, notes, name)
    read = _in_zone(index, timezone)
    return ParsedTimes(read.index, (*notes, *read.notes))


def _source_offset(
    index: pd.DatetimeIndex, offsets: pd.Series, timezone: str | None, notes: list[tuple[str, str]], name: str
) -> pd.DatetimeIndex:
    """Stamps with one offset keep that wall clock; several offsets mean summer time, whose zone must be told."""
    kinds = offsets.dropna().unique()
    if timezone is not None or len(kinds) == 1:
        fixed = pd.Timestamp("2000-01-01T00:00:00" + str(kinds[0])).tz
        return index if timezone is not None else index.tz_convert(fixed)
    notes.append(
        (
            "several-offsets",
            f"The times of {name} have several UTC offsets and were turned into UTC; say timezone= to "
            f"keep the wall clock.",
        )
    )
    return index


def _day_month_order(text: pd.Series, name: str, notes: list[tuple[str, str]]) -> str:
    """``dm``, ``md``, or ``ymd`` if no date ends in its year.

    Raises:
        DataError: If nothing in the column tells day from month.
    """
    parts = text.str.extract(r"^(\d{1,2})[-/.](\d{1,2})[-/.]\d{4}")
    found = parts.dropna()
    if found.empty:
        return "ymd"
    first, second = (found[i].astype(int) for i in (0, 1))
    day_first, month_first = bool((first > 12).any()), bool((second > 12).any())
    if day_first == month_first:
        why = "both day-first and month-first" if day_first else "either day-first or month-first"
        example = truncate(text[found.index[0]])
        raise DataError(f"The dates of {name} can be read as {why} ('{example}'); write them as YYYY-MM-DD.")
    notes.append(("day-order", f"The dates of {name} were read as {'day' if day_first else 'month'} first."))
    return "dm" if day_first else "md"


def _canonical(value: str, order: str) -> str:
    """One stamp as ISO text if its date is written in digits; else unchanged."""
    if match := _YEAR_FIRST.match(value):
        year, month, day, rest = match.groups()
    elif order != "ymd" and (match := _YEAR_LAST.match(value)):
        first, second, year, rest = match.groups()
        day, month = (first, second) if order == "dm" else (second, first)
    else:
        return _plain_offset(value)
    clock = _canonical_clock(rest.strip())
    return value if clock is None else f"{year}-{int(month):02d}-{int(day):02d}{clock}"


def _plain_offset(value: str) -> str:
    """``Jan 08 2024 00:00:00 GMT-0500 (…)``, as JavaScript prints it, with the bare offset: POSIX flips its sign."""
    value = re.sub(r"\s*\([^()]*\)$", "", value)
    value = re.sub(r"\s*(?:GMT|UTC)(?=[+-]\d)", "", value, flags=re.IGNORECASE)
    return re.sub(r"(?<=\d)\s*(?:GMT|UTC)$", "+00:00", value, flags=re.IGNORECASE)


def _canonical_clock(rest: str) -> str | None:
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


def _in_zone(index: pd.DatetimeIndex, timezone: str | None) -> ParsedTimes:
    if timezone is None:
        return ParsedTimes(index)
    if index.tz is not None:
        return ParsedTimes(index.tz_convert(timezone))
    sure = index.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT")
    doubtful = np.asarray(sure.isna()) & ~np.asarray(index.isna())
    if not doubtful.any():
        return ParsedTimes(sure)
    # In the hour that comes twice, a stamp's first occurrence is summer time and its second is winter time.
    again = np.asarray(pd.Series(index).groupby(pd.Series(index), dropna=False).cumcount() > 0)
    placed = index.tz_localize(timezone, ambiguous=~again, nonexistent="shift_forward")
    note = (
        "summer-time",
        f"{int(doubtful.sum())} stamps fall where {timezone} changes its clocks, the first being "
        f"{index[int(doubtful.argmax())]}; they were placed in order.",
    )
    return ParsedTimes(placed, (note,))


def join_clock(dates: pd.Series, clocks: pd.Series) -> pd.Series:
    """Join a date column with a time-of-day column, unless the latter already holds whole stamps."""
    day = pd.Series([_plain(v) for v in dates], dtype=object).fillna("").astype(str)
    clock = pd.Series([_plain(v) for v in clocks], dtype=object).fillna("").astype(str)
    filled = clock[clock != ""]
    if len(filled) and bool(filled.str.fullmatch(r"\d{12,19}|.*\d{4}[-/.年]\d{1,2}.*").mean() > 0.5):
        return clock
    day = day.str.replace(r"[T ]00:00(:00(\.0+)?)?$", "", regex=True)
    day = day.str.replace(r"^(\d{4})(\d{2})(\d{2})(?:\.0)?$", r"\1-\2-\3", regex=True)
    compact = clock.str.extract(r"^(\d{3,6})(?:\.0)?$", expand=False)
    width = 6 if bool((compact.str.len() > 4).any()) else 4
    padded = compact.str.zfill(width).str.replace(r"^(\d{2})(\d{2})(\d{2})?$", r"\1:\2:\3", regex=True)
    return (day + " " + padded.str.rstrip(":").where(compact.notna(), clock)).str.strip()

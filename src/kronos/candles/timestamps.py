"""Parsing of times: text, epoch numbers, calendar numbers and date objects, with and without timezone.

Numbers are YYYYMM[DD[HHMM[SS[mmm]]]] if they are dates, else seconds, milli-, micro- or nanoseconds since 1970 (in
UTC), depending on their magnitude. Dates in text are read in one order (`kronos.candles.date_formats`), with their
offsets or names of zones (`kronos.candles.timezone_names`). Unreadable values become NaT; the cleaning reports them.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles.date_formats import current_time, parse_with_format, read_short_numbers, resolve_dates, split_date
from kronos.candles.time_of_day import WallTimes, time_text, to_offset
from kronos.candles.timezone_names import SUMMER_NAMES, check_timezone, possible_zones, zone_of
from kronos.errors import DataError
from kronos.formatting import Message, truncate
from kronos.typing import BoolArray, FloatArray, IntArray

_EPOCH = (
    (1e8, 1e11, "s", 10**9),
    (1e11, 1e14, "ms", 10**6),
    (1e14, 1e17, "us", 10**3),
    (1e17, 9.2e18, "ns", 1),
)
_CALENDAR = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}
_FUTURE = pd.Timedelta(days=31)
_OTHER_CLOCKS = (  # this century, if ticks of 100 ns since 0001 (.NET) or 1601 (Windows) are read as ns
    (pd.Timestamp("1989-12-01"), pd.Timestamp("1990-08-01")),
    (pd.Timestamp("1973-12-01"), pd.Timestamp("1974-08-01")),
)
_STEPS = (60, 300, 900, 1800)  # seconds between candles of less than an hour
_OLDEST, _NEWEST = pd.Timestamp("1800-01-01").value, pd.Timestamp("2200-01-01").value
_DAY_SECONDS = 86_400

_NUMBER = r"-?\d{5,19}(?:\.\d*)?"
_SHORT = r"\d{4}|\d{6}"
_SCIENTIFIC = r"\d(?:[.,]\d+)?[eE]\+?\d{1,2}"
_ISO = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)?"  # the usual case, with a fast path
_ISO_OFFSET = r"\s?([+-]\d{2}(?::?\d{2})?|Z)$"
_MONTH = r"(?i)(?:^|[^a-z])(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_EXCHANGE_ZONES = ("America/New_York", "America/Chicago", "Europe/London", "Europe/Berlin", "Australia/Sydney")


@dataclass(frozen=True, slots=True)
class ParsedTimes:
    """A parsed column of times.

    Attributes:
        index: Time of each row, NaT if unreadable; with a timezone if the source or the caller gave one. [n]
        notes: Decisions (epoch unit, day-first dates, daylight saving time) as pairs of code and sentence.
    """

    index: pd.DatetimeIndex
    notes: tuple[tuple[str, Message], ...] = ()


def parse_timestamps(
    values: pd.Series,
    timezone: str | None,
    name: str,
    *,
    date_format: str | None = None,
    now: pd.Timestamp | None = None,
) -> ParsedTimes:
    """Parse a column of times.

    Args:
        values: Text, numbers, datetimes or date objects. [n]
        timezone: IANA timezone of naive times; epoch numbers and times with an offset are converted to it.
        name: Name of the source in messages.
        date_format: Notation for ``strptime``; None to infer it.
        now: The current time, which inferred dates cannot exceed; None to ask the clock.

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
            Message(
                "no-times",
                "The time column of {name} holds {type} values, not times; pass the right one in columns=.",
                name=name,
                type=f"{values.dtype}",
            )
        )
    reader = _TimeReader(timezone, name, now)
    numeric = pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_complex_dtype(values.dtype)
    if date_format is not None:
        numbers = _to_numbers(values) if numeric else None
        text = _text(values) if numbers is None else pd.Series([f"{n:.0f}" for n in numbers.tolist()], dtype="string")
        return reader.from_format(text, date_format)
    if numeric:
        return _from_numbers(_to_numbers(values), timezone, name, reader.now)
    text = _text(values)
    filled = text[text.notna() & (text != "")]
    if len(filled) and bool(filled.str.fullmatch(_SHORT).all()):
        return _from_numbers(_to_numbers(text), timezone, name, reader.now, digits=len(filled.iloc[0]))
    if len(filled) and bool(filled.str.fullmatch(_NUMBER).mean() > 0.5):
        numbers = _to_numbers(text.where(text.str.fullmatch(_NUMBER).fillna(False)))
        return _from_numbers(numbers, timezone, name, reader.now)
    if len(filled) and bool(filled.iloc[:20].str.fullmatch(_SCIENTIFIC).mean() > 0.5):
        raise DataError(
            Message(
                "rounded-times",
                "The times of {name} are rounded numbers such as {example}, so their last digits are "
                "lost; write them with all digits, or as dates.",
                name=name,
                example=filled.iloc[0],
            )
        )
    return reader.from_text(text)


def _text(values: pd.Series) -> pd.Series:
    if pd.api.types.infer_dtype(values, skipna=True) == "string":
        return values.reset_index(drop=True).astype("string").str.replace("\ufeff", "", regex=False).str.strip()
    return pd.Series([time_text(v) for v in values], dtype=object).astype("string")


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


def _from_numbers(
    numbers: FloatArray | IntArray, timezone: str | None, name: str, now: pd.Timestamp, digits: int | None = None
) -> ParsedTimes:
    finite = np.isfinite(numbers)
    if not finite.any():
        return ParsedTimes(pd.DatetimeIndex([pd.NaT] * len(numbers)).as_unit("ns"))
    calendar = _parse_calendar_numbers(numbers, finite)
    if calendar is not None:
        return _localize(calendar, timezone)
    short = read_short_numbers(numbers, now, name, digits)
    if short is not None:
        localized = _localize(_nanoseconds(pd.DatetimeIndex(short.days)), timezone)
        return ParsedTimes(localized.index, (*short.notes, *localized.notes))
    mixed = _mixed_units(numbers, finite)
    if mixed is not None:
        return _from_epoch(*mixed, timezone, name, now)
    typical = float(np.median(np.abs(numbers[finite].astype(np.float64))))
    for low, high, unit, factor in _EPOCH:
        if low <= typical < high:
            return _from_epoch(_epoch_stamps(numbers, finite, factor), unit, timezone, name, now)
    hint = " (day numbers of a spreadsheet? format them as dates)" if 20_000 < typical < 80_000 else ""
    raise DataError(
        f"The time column of {name} holds numbers such as {numbers[finite][0]:.12g} that are not times{hint}; "
        "use ISO dates such as 2024-01-31 09:30, or epoch milliseconds."
    )


def _from_epoch(utc: pd.DatetimeIndex, unit: str, timezone: str | None, name: str, now: pd.Timestamp) -> ParsedTimes:
    known = utc[np.asarray(utc.notna())].sort_values()
    step = float(np.median(np.diff(known.asi8))) / 1e9 if len(known) > 1 else 0.0
    other = unit == "ns" and any(low < known[len(known) // 2] < high for low, high in _OTHER_CLOCKS)
    if len(known) and (known[len(known) // 2] > now + _FUTURE or (other and step % 3600 and step not in _STEPS)):
        raise DataError(
            f"The times of {name} are not {unit} since 1970: read as such, the first is {known[0]:%Y-%m-%d %H:%M} "
            f"and they are {step:g} s apart. Other clocks, such as .NET ticks, count from another date: convert the "
            f"column with pd.to_datetime(…, unit=…, origin=…), or write dates."
        )
    stamps = utc.tz_localize("UTC")
    note = (
        "epoch-times",
        Message(
            "epoch-times", "The times of {name} are epoch numbers ({unit}) and were read as UTC.", name=name, unit=unit
        ),
    )
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


class _TimeReader:
    """Reads a column of text."""

    def __init__(self, timezone: str | None, name: str, now: pd.Timestamp | None) -> None:
        self.now = current_time() if now is None else now.tz_localize(None)
        self._timezone = timezone
        self._name = name
        self._notes: list[tuple[str, Message]] = []

    def from_format(self, text: pd.Series, date_format: str) -> ParsedTimes:
        """Read times in the caller's notation."""
        parsed = parse_with_format(text, date_format, self.now)
        index = pd.DatetimeIndex(parsed)
        if bool(index.isna().all()):
            raise DataError(
                Message(
                    "wrong-date-format",
                    "No time of {name} has the notation date_format='{date_format}'; the first is '{example}'.",
                    name=self._name,
                    date_format=date_format,
                    example=truncate(text.dropna().iloc[0] if text.notna().any() else ""),
                )
            )
        return _localize(_nanoseconds(index), self._timezone)

    def from_text(self, text: pd.Series) -> ParsedTimes:
        """Read times in a notation that is inferred."""
        filled = text.dropna()
        if bool(filled[filled != ""].str.fullmatch(_ISO).all()):
            times = pd.to_datetime(text.where(text.fillna("") != ""), format="ISO8601", errors="coerce")
            if not bool(times[(text.fillna("") != "").to_numpy()].isna().any()):
                return _localize(_nanoseconds(pd.DatetimeIndex(times)), self._timezone)
        if bool(filled.str.fullmatch(_ISO + _ISO_OFFSET).all()):
            stripped = pd.to_datetime(text.str.replace(_ISO_OFFSET, "", regex=True), format="ISO8601", errors="coerce")
            found = text.str.extract(_ISO_OFFSET, expand=False)
            offsets = found.map({offset: to_offset(str(offset)) for offset in found.dropna().unique()})
            return self._with_offsets(
                _nanoseconds(pd.DatetimeIndex(stripped)),
                [None if pd.isna(offset) else str(offset) for offset in offsets],
            )
        cells = [str(cell) if isinstance(cell, str) else "" for cell in text]
        dates = [split_date(cell) for cell in cells]
        wall = WallTimes()
        for date in dates:
            wall.add("" if date is None else date.rest)
        seconds = np.array(wall.seconds)
        resolved = resolve_dates(dates, np.nan_to_num(seconds), self.now, self._name)
        self._notes += resolved.notes
        stamps = resolved.days.astype("datetime64[ns]").astype(np.int64)
        known = ~np.isnat(resolved.days) & np.isfinite(seconds)
        stamps = np.where(known, stamps + (np.nan_to_num(seconds) * 1e9).astype(np.int64) + np.array(wall.nanos), 0)
        index = pd.DatetimeIndex(pd.DatetimeIndex(stamps.view("M8[ns]")).where(known))
        if not known.all():
            index, wall.offsets = self._add_other_notations(index, cells, known, wall.offsets)
        return self._in_zone(_nanoseconds(index), wall)

    def _add_other_notations(
        self, index: pd.DatetimeIndex, cells: list[str], known: BoolArray, offsets: list[str | None]
    ) -> tuple[pd.DatetimeIndex, list[str | None]]:
        """Read the rest as pandas does, if the month has a name: of digits alone it would take any order."""
        rest = pd.Series(
            [None if done else _bare_offset(cell) for cell, done in zip(cells, known.tolist(), strict=True)],
            dtype="string",
        )
        named = rest.str.contains(_MONTH, regex=True) & ~rest.str.contains(r"[A-Za-z]{3,}$", regex=True)
        rest = rest.where(named.fillna(False))
        if not bool(rest.notna().any()):
            return index, offsets
        clock = rest.str.extract(r"\d{2}:\d{2}\S*?\s*([+-]\d{2}:?\d{2}|Z)(?:\s\d{4})?$", expand=False)
        stripped = rest.str.replace(r"\s*([+-]\d{2}:?\d{2}|Z)(?=\s\d{4}$|$)", "", regex=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas warns about parsing elements one by one, which is intended here
            parsed = pd.to_datetime(stripped, format="mixed", errors="coerce")
        if not isinstance(parsed.dtype, np.dtype) or parsed.dtype.kind != "M":
            return index, offsets
        merged = pd.Series(index).where(pd.Series(known), parsed.astype("datetime64[ns]"))
        return pd.DatetimeIndex(merged), [
            one if done else (None if pd.isna(other) else str(other).replace("Z", "+00:00"))
            for one, done, other in zip(offsets, known.tolist(), clock.tolist(), strict=True)
        ]

    def _in_zone(self, index: pd.DatetimeIndex, wall: WallTimes) -> ParsedTimes:
        """Apply the offsets and the names of zones that rows have."""
        zones = {zone for zone in wall.zones if zone}
        if zones:
            return self._in_named_zone(index, wall.zones, zones)
        if any(offset is not None for offset in wall.offsets):
            return self._with_offsets(index, wall.offsets)
        return self._result(_localize(index, self._timezone))

    def _result(self, localized: ParsedTimes) -> ParsedTimes:
        return ParsedTimes(localized.index, (*self._notes, *localized.notes))

    def _in_named_zone(self, index: pd.DatetimeIndex, names: list[str | None], distinct: set[str]) -> ParsedTimes:
        """Times whose rows name their zone, such as ``US/Eastern`` or ``EST`` and ``EDT``."""
        zone = zone_of(distinct)
        shown = " and ".join(sorted(distinct)[:3])
        if zone is None and self._timezone is None:
            zones = possible_zones(distinct)
            hint = " or ".join(f"timezone='{one}'" for one in zones[:3]) or "timezone= with an IANA name"
            raise DataError(
                Message(
                    "ambiguous-zone",
                    "The times of {name} name the zone {zone}, which has several meanings: give {options}.",
                    name=self._name,
                    zone=shown,
                    options=hint,
                )
            )
        missing = np.array([name is None for name in names]) & np.asarray(index.notna())
        if missing.any():
            index = pd.DatetimeIndex(index.where(~missing))
        if zone is None:
            self._notes.append(
                (
                    "zone-names",
                    Message(
                        "zone-read-as",
                        "The times of {name} name the zone {zone}, read as {read_as}.",
                        name=self._name,
                        zone=shown,
                        read_as=f"{self._timezone}",
                    ),
                )
            )
            return self._result(_localize(index, self._timezone))
        if "/" in next(iter(distinct)):
            self._notes.append(
                (
                    "zone-names",
                    Message("zone-names", "The times of {name} name the zone {zone}.", name=self._name, zone=shown),
                )
            )
            localized = _localize(index, zone)
            times = localized.index if self._timezone is None else localized.index.tz_convert(self._timezone)
            return self._result(ParsedTimes(times, localized.notes))
        summer = np.array([bool(name) and name.upper() in SUMMER_NAMES for name in names])  # type: ignore[union-attr]
        times = index.tz_localize(zone, ambiguous=summer, nonexistent="NaT")
        if distinct & set(SUMMER_NAMES) and not _agree(times, summer):
            raise DataError(
                Message(
                    "inconsistent-zones",
                    "The times of {name} name the zones {zone}, but not as {read_as} does all year: give timezone=.",
                    name=self._name,
                    zone=shown,
                    read_as=zone,
                )
            )
        self._notes.append(
            (
                "zone-names",
                Message(
                    "zone-read-as",
                    "The times of {name} name the zone {zone}, read as {read_as}.",
                    name=self._name,
                    zone=shown,
                    read_as=zone,
                ),
            )
        )
        return self._result(ParsedTimes(times if self._timezone is None else times.tz_convert(self._timezone)))

    def _with_offsets(self, index: pd.DatetimeIndex, offsets: list[str | None]) -> ParsedTimes:
        """Keep the wall clock of a single offset, and dates of local midnights; other times become UTC."""
        aware = np.array([offset is not None for offset in offsets])
        distinct = sorted({offset for offset in offsets if offset is not None})
        shift = {offset: pd.Timestamp(f"2000-01-01T00:00:00{offset}").utcoffset() for offset in distinct}
        delta = pd.to_timedelta([shift[offset] if offset else pd.Timedelta(0) for offset in offsets])
        wall = index
        # As pandas reads them: times without an offset among others are in UTC.
        utc = (wall - delta).tz_localize("UTC")
        if self._timezone is not None:
            return self._result(ParsedTimes(utc.tz_convert(self._timezone)))
        if len(distinct) == 1:
            return self._result(ParsedTimes(utc.tz_convert(pd.Timestamp(f"2000-01-01T00:00:00{distinct[0]}").tz)))
        known = wall[np.asarray(wall.notna()) & aware]
        if len(known) and bool((known == known.normalize()).all()) and aware[np.asarray(wall.notna())].all():
            message = Message(
                "local-midnights",
                "The times of {name} are midnights with several UTC offsets, and were read as the dates "
                "of their own clock; pass timezone= for a timezone.",
                name=self._name,
            )
            self._notes.append(("local-midnights", message))
            return self._result(ParsedTimes(wall))
        zone = _zone_with_offsets(utc, wall, aware)
        named = f"timezone='{zone}' (its offsets agree)" if zone else "timezone="
        message = Message(
            "several-offsets",
            "The times of {name} have several UTC offsets and were converted to UTC; pass {option} for a wall clock.",
            name=self._name,
            option=named,
        )
        self._notes.append(("several-offsets", message))
        return self._result(ParsedTimes(utc))


def _agree(times: pd.DatetimeIndex, summer: BoolArray) -> bool:
    """Whether each time is in summer time if its row says so."""
    known = np.asarray(times.notna())
    dst = np.array([bool(time.dst()) for time in times[known]])
    return bool((dst == summer[known]).all())


def _zone_with_offsets(utc: pd.DatetimeIndex, wall: pd.DatetimeIndex, aware: BoolArray) -> str | None:
    """The exchange's timezone that had these offsets at these times, None if there is none."""
    known = np.asarray(utc.notna()) & aware
    for zone in _EXCHANGE_ZONES:
        if bool((utc[known].tz_convert(zone).tz_localize(None) == wall[known]).all()):
            return zone
    return None


def _bare_offset(value: str) -> str:
    """Turn ``Jan 08 2024 00:00:00 GMT-0500 (EST)``, as JavaScript prints it, into ``… -0500``: POSIX flips the sign."""
    value = re.sub(r"\s*\([^()]*\)$", "", value)
    value = re.sub(r"\s*(?:GMT|UTC)(?=[+-]\d)", "", value, flags=re.IGNORECASE)
    return re.sub(r"(?<=\d)\s*(?:GMT|UTC)$", "+00:00", value, flags=re.IGNORECASE)


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
    stamps = index[np.asarray(index.notna())].asi8
    oldest_first = bool(np.sign(np.diff(stamps)).sum() >= 0)
    count = pd.Series(index).groupby(pd.Series(index), dropna=False).cumcount(ascending=oldest_first)
    repeated = np.asarray(count > 0)
    localized = index.tz_localize(timezone, ambiguous=~repeated, nonexistent="shift_forward")
    message = Message(
        "summer-time",
        "{count} times fall into changes of daylight saving time in {zone}, the first being "
        "{time}; they were resolved in order.",
        count=int(ambiguous.sum()),
        zone=timezone,
        time=f"{index[int(ambiguous.argmax())]}",
    )
    return ParsedTimes(localized, (("summer-time", message),))

"""Times of day in text, with an offset or the name of a zone: ``09:30``, ``093000``, ``9:30 PM``, ``오전 9:30``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pandas as pd

_CLOCK = re.compile(
    r"^[T ,]*(\d{1,2})(?::|时|時|시\s?)(\d{2})(?:(?::|分|분\s?)(\d{2})?[秒초]?([.,]\d+)?)?[分분]?\s*"
    r"([AaPp]\.?[Mm]\.?)?\s*(.*)$"
)
_COMPACT_CLOCK = re.compile(r"^[T ,]*(\d{2})(\d{2})(\d{2})?()()\s*(.*)$")
_HALVES = {"上午": "AM", "午前": "AM", "오전": "AM", "下午": "PM", "午後": "PM", "오후": "PM"}
_OFFSET = re.compile(r"^(?:Z|(?:UTC|GMT)?(?:[+-]\d{2}(?::?\d{2})?)?)$", re.IGNORECASE)
_ZONE = re.compile(r"[A-Za-z]{1,5}|[A-Za-z_]+/[A-Za-z_/+\-0-9]+")


@dataclass(slots=True)
class WallTimes:
    """Times of day and zones of a column, row by row.

    Attributes:
        seconds: Seconds since midnight, NaN if unreadable. [n]
        nanos: Nanoseconds within the second. [n]
        offsets: Offset such as ``+08:00``, or None. [n]
        zones: Name of a zone, or None. [n]
    """

    seconds: list[float] = field(default_factory=list)
    nanos: list[int] = field(default_factory=list)
    offsets: list[str | None] = field(default_factory=list)
    zones: list[str | None] = field(default_factory=list)

    def add(self, rest: str) -> None:
        """Add a row with this text after its date."""
        seconds, nanos, offset, zone = _split_clock(rest) if rest else (0.0, 0, None, None)
        self.seconds.append(seconds)
        self.nanos.append(nanos)
        self.offsets.append(offset)
        self.zones.append(zone)


@lru_cache(maxsize=10_000)
def _split_clock(rest: str) -> tuple[float, int, str | None, str | None]:
    """Seconds since midnight (NaN if unreadable), nanoseconds, offset and name of the zone."""
    unreadable = np.nan, 0, None, None
    text = re.sub(r"\s*\([^()]*\)$", "", rest)
    half = next((sign for word, sign in _HALVES.items() if text.lstrip(" ,T").startswith(word)), None)
    if half:
        text = f"{text.lstrip(' ,T')[2:]} {half}"
    match = _CLOCK.match(text) or _COMPACT_CLOCK.match(text)
    if match is None:
        bare = re.fullmatch(r"(UTC|GMT|Z)?([+-]\d{2}(?::?\d{2})?)?", text.strip(), re.IGNORECASE)
        return (0.0, 0, to_offset(text.strip()), None) if bare and text.strip() else unreadable
    hour, minute, second, fraction, noon, tail = match.groups()
    hours, minutes, secs = int(hour), int(minute), int(second or 0)
    if noon:
        if not 1 <= hours <= 12:
            return unreadable
        hours = hours % 12 + (12 if noon.lower().startswith("p") else 0)
    if hours > 24 or minutes > 59 or secs > 59 or (hours == 24 and (minutes or secs)):
        return unreadable
    nanos = int((fraction or ".0")[1:10].ljust(9, "0"))
    total = float(hours * 3600 + minutes * 60 + secs)
    tail = re.sub(r"^(?:UTC|GMT)(?=[+-]\d)", "", tail.strip(), flags=re.IGNORECASE)
    if not tail:
        return total, nanos, None, None
    if _OFFSET.match(tail):
        return total, nanos, to_offset(tail), None
    return (total, nanos, None, tail) if _ZONE.fullmatch(tail) else unreadable


def to_offset(text: str) -> str:
    """An offset such as ``+08:00`` of ``Z``, ``UTC``, ``GMT+08`` or ``+0800``."""
    digits = re.sub(r"^(?:UTC|GMT|Z)", "", text, flags=re.IGNORECASE).replace(":", "")
    return f"{digits[:3]}:{digits[3:] or '00'}" if digits else "+00:00"


def time_text(value: object) -> str | None:
    """Text of a cell of times, None if it is missing."""
    if value is None or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    iso = getattr(value, "isoformat", None)
    return str(iso()) if callable(iso) else str(value).replace("\ufeff", "").strip()[:64]


def join_clock(dates: pd.Series, clocks: pd.Series) -> pd.Series:
    """Join a date column with a time-of-day column, unless the latter already holds dates and times."""
    day = pd.Series([time_text(v) for v in dates], dtype=object).fillna("").astype(str)
    clock = pd.Series([time_text(v) for v in clocks], dtype=object).fillna("").astype(str)
    filled = clock[clock != ""]
    if len(filled) and bool(filled.str.fullmatch(r"\d{12,19}|.*\d{4}[-/.年]\d{1,2}.*").mean() > 0.5):
        return clock
    day = day.str.replace(r"[T ]00:00(:00(\.0+)?)?$", "", regex=True)
    day = day.str.replace(r"^(\d{4})(\d{2})(\d{2})(?:\.0)?$", r"\1-\2-\3", regex=True)
    day = day.str.replace(r"^(\d{2,3})(\d{2})(\d{2})$", r"\1-\2-\3", regex=True)  # YYMMDD, or a year of Taiwan
    compact = clock.str.extract(r"^(\d{1,6})(?:\.0)?$", expand=False)
    if bool(filled.str.fullmatch(r"\d{1,2}(?:\.0)?").all()) and len(filled):
        # Hours, or what cannot be read: 45 minutes after midnight would be alone without 100.
        hours = clock.str.replace(".0", "", regex=False)
        return day + " " + hours.where(pd.to_numeric(hours, errors="coerce") > 24, hours.str.zfill(2) + ":00")
    width = 6 if bool((compact.str.len() > 4).any()) else 4
    padded = compact.str.zfill(width).str.replace(r"^(\d{2})(\d{2})(\d{2})?$", r"\1:\2:\3", regex=True)
    return (day + " " + padded.str.rstrip(":").where(compact.notna(), clock)).str.strip()


def join_date_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with columns of dates and times of day instead of those of year, month, day, hour and minute."""
    names = {str(label).strip().strip("<>").lower(): i for i, label in enumerate(frame.columns)}
    if not {"year", "month", "day"} <= names.keys() or "date" in names or not frame.columns.is_unique:
        return frame
    parts = {
        part: frame.iloc[:, names[part]].map(time_text).fillna("").str.removesuffix(".0").str.zfill(2)
        for part in ("year", "month", "day", "hour", "minute")
        if part in names
    }
    joined = frame.drop(columns=[frame.columns[names[part]] for part in parts])
    joined.insert(0, "date", parts["year"] + "-" + parts["month"] + "-" + parts["day"])
    if "hour" in parts:
        joined.insert(1, "time", parts["hour"] + ":" + parts.get("minute", "00"))
    return joined

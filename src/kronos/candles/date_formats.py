"""Notations of dates in text: the order of day, month and year, years of two digits, other calendars and languages.

A column is read in one order. Each possible order is tried on all its dates: it must give real dates that do not lie in
the future. If several do, the one under which times increase and fill their grid is taken when the others clearly do
not; otherwise the column is refused. Years of two digits are the latest ones that do not lie in the future, and years
of three digits are those of the Republic of China (1911 + year).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from kronos.errors import DataError
from kronos.formatting import Message, join_names
from kronos.typing import BoolArray, FloatArray, IntArray

_FUTURE = pd.Timedelta(days=2)  # ahead of the clock here: time zones, and candles stamped at their close
_VALID = 0.95  # share of the dates that an order has to give
_EXAMPLES = {"dmy": "%d/%m/%Y", "mdy": "%m/%d/%Y", "ymd": "%Y/%m/%d"}
_NAMES = {"dmy": "day-first", "mdy": "month-first", "ymd": "year-first"}
_ROC = 1911
_SIX_DIGITS = {"%y%m%d": "ymd", "%d%m%y": "dmy", "%m%d%y": "mdy"}
Days = np.ndarray[tuple[int], np.dtype[np.datetime64]]

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan ene gen янв", "feb fév fev фев", "mar mär mrz мар", "apr abr avr апр", "may mai mag май мая",
            "jun juin giu июн", "jul juil lug июл", "aug aoû aou ago авг", "sep set сен", "oct okt out ott окт",
            "nov ноя", "dec dez déc dic дек",
        ), 1)
    for name in names.split()
}  # fmt: skip
_WEEKDAY = re.compile(
    r"[,，\s(（\[]+(?:周|星期|週|礼拜)?[一二三四五六日天月火水木金土월화수목금토일](?:曜日?|요일)?[)）\]]?(?=\s|$)|"
    r"(?:周|星期|週)[一二三四五六日天]$|[,\s(]+(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\)?$|"
    r"^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*[,\s]+(?=\d)",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"(?:民[國国])?(\d{1,4})\s?[-/.年]\s?(\d{1,2})\s?[-/.月]\s?(\d{1,4})\.?日?(?!\d)(.*)")
_PLAIN = re.compile(r"(\d{1,4})[-/.](\d{1,2})[-/.](\d{1,4})(?:[ T](\d[\d:.]*))?")  # the usual case, with a fast path
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:[T\s]+(.*))?")
_MONTH = re.compile(r"(\d{4})\s?[-/年]\s?(\d{1,2})月?")  # 1234.5 is a number
_WEEK = re.compile(r"(\d{4})[-\s]?[Ww](\d{1,2})(?:-([1-7]))?")
_QUARTER = re.compile(r"(\d{4})[-\s/]?[Qq]([1-4])|[Qq]([1-4])[-\s/]?(\d{4})")
_RANGE = re.compile(r"(\d{4}-\d\d-\d\d)/(\d{4}-\d\d-\d\d)|(.*\d)\s+(?:-|–|~|to|bis|至)\s+(.*\d)")
_LONG = 13  # characters of two dates, at least
_KOREAN = re.compile(r"(\d{4})년\s?(\d{1,2})월\s?(\d{1,2})일(.*)")
_DAY_NAMED = re.compile(r"(\d{1,2})\.?[-\s/]?([^\W\d_]{3,10})\.?[-\s/,.]+'?(\d{4}|\d{2})(?!\d)(?![:.]\d)(.*)")
_NAMED_DAY = re.compile(r"([^\W\d_]{3,10})\.?[-\s/]?(\d{1,2})[-\s/,]+'?(\d{4}|\d{2})(?!\d)(?![:.]\d)(.*)")
_YEAR_NAMED = re.compile(r"(\d{4})[-\s/]([^\W\d_]{3,10})\.?[-\s/](\d{1,2})(?!\d)(.*)")
_NAMED_YEAR = re.compile(r"([^\W\d_]{3,10})\.?[-\s/']+(\d{4}|\d{2})")


@dataclass(frozen=True, slots=True)
class DateText:
    """A date as written.

    Attributes:
        parts: Its three numbers in the order of the text, or year, month and day if ``kind`` is ``ymd``.
        kind: ``ymd``: certain; ``last``: the year is the third number; ``short``: three numbers of up to two digits;
            ``dmy2``: certain but for the century of the third number.
        rest: The text after the date.
    """

    parts: tuple[int, int, int]
    kind: str
    rest: str


def split_date(text: str) -> DateText | None:
    """The date at the beginning of a text, None if there is none."""
    if match := _PLAIN.fullmatch(text):
        return _numeric(match)
    text = _WEEKDAY.sub("", text.strip()).strip()
    if len(text) >= _LONG and (match := _RANGE.fullmatch(text)):
        first, last = split_date(match[1] or match[3]), split_date(match[2] or match[4])
        return first if first is not None and last is not None else None
    for pattern in (_KOREAN, _DIGITS):
        if match := pattern.fullmatch(text):
            return _numeric(match)
    if match := _COMPACT.fullmatch(text):
        return DateText((int(match[1]), int(match[2]), int(match[3])), "ymd", (match[4] or "").strip())
    if match := _MONTH.fullmatch(text):
        return DateText((int(match[1]), int(match[2]), 1), "ymd", "")
    if match := _WEEK.fullmatch(text):
        monday = _week_days(np.array([int(match[1])]), np.array([int(match[2])]))[0]
        day = monday + (int(match[3] or 1) - 1)
        return None if np.isnat(day) else DateText(_ymd(day), "ymd", "")
    if match := _QUARTER.fullmatch(text):
        year, quarter = (match[1], match[2]) if match[1] else (match[4], match[3])
        return DateText((int(year), 3 * int(quarter) - 2, 1), "ymd", "")
    return _named(text)


def _ymd(day: np.datetime64) -> tuple[int, int, int]:
    stamp = pd.Timestamp(day)
    return stamp.year, stamp.month, stamp.day


def _numeric(match: re.Match[str]) -> DateText:
    first, second, third, rest = match.groups("")
    parts = int(first), int(second), int(third)
    if len(first) == 4:
        return DateText(parts, "ymd", rest.strip())
    if len(first) == 3:
        return DateText((parts[0] + _ROC, parts[1], parts[2]), "roc", rest.strip())
    return DateText(parts, "last" if len(third) == 4 else "short" if len(third) <= 2 else "none", rest.strip())


def _named(text: str) -> DateText | None:
    """A date with the name of a month."""
    for pattern, day, month, year in ((_DAY_NAMED, 1, 2, 3), (_NAMED_DAY, 2, 1, 3), (_YEAR_NAMED, 3, 2, 1)):
        match = pattern.fullmatch(text)
        if match and (number := _month_number(match[month])):
            kind = "ymd" if len(match[year]) == 4 else "dmy2"
            years = int(match[year])
            parts = (years, number, int(match[day])) if kind == "ymd" else (int(match[day]), number, years)
            return DateText(parts, kind, match[4].strip())
    match = _NAMED_YEAR.fullmatch(text)
    if match and (number := _month_number(match[1])):
        year = int(match[2])
        return DateText((year, number, 1), "ymd", "") if len(match[2]) == 4 else DateText((1, number, year), "dmy2", "")
    return None


def _month_number(name: str) -> int | None:
    lower = name.lower()
    return _MONTHS.get(lower[:4]) or _MONTHS.get(lower[:3])


@dataclass(frozen=True, slots=True)
class ResolvedDates:
    """Dates in one order.

    Attributes:
        days: Days since 1970, NaT if there is no such date. [n]
        notes: Pairs of code and sentence about what was decided.
    """

    days: Days
    notes: tuple[tuple[str, Message], ...] = ()


def resolve_dates(dates: Sequence[DateText | None], seconds: FloatArray, now: pd.Timestamp, name: str) -> ResolvedDates:
    """Decide the order of day, month and year of a column.

    Args:
        dates: The dates as written, in the order of the rows. [n]
        seconds: Time of day of each row in seconds, 0 if there is none. [n]
        now: The current time.
        name: Name of the source in messages.

    Raises:
        DataError: If several orders remain.
    """
    days = np.full(len(dates), "NaT", dtype="datetime64[D]")
    notes: list[tuple[str, Message]] = []
    kinds = np.array([date.kind if date else "" for date in dates], dtype=object)
    for kind in ("ymd", "roc", "dmy2", "last", "short"):
        where = np.flatnonzero(kinds == kind)
        if not len(where):
            continue
        parts = np.array([date.parts for date in dates if date is not None and date.kind == kind], dtype=np.int64)
        if kind in ("ymd", "roc"):
            days[where] = _to_days(parts, "ymd", now)
        elif kind == "dmy2":
            days[where] = _to_days(parts, "dmy", now)
        else:
            order = _choose_order(kind, parts, seconds[where], now, name)
            days[where] = _to_days(parts, order, now)
            notes.append(
                (
                    "day-order",
                    Message("day-order", "The dates of {name} were read as {order}.", name=name, order=_NAMES[order]),
                )
            )
        if kind == "roc":
            notes.append(_roc_note(name))
        elif kind in ("dmy2", "short"):
            known = days[where][~np.isnat(days[where])]
            if len(known):
                span = " to ".join(sorted({str(known.min())[:4], str(known.max())[:4]}))
                notes.append(
                    (
                        "two-digit-years",
                        Message(
                            "two-digit-years",
                            "The years of {name} have two digits and were read as {span}.",
                            name=name,
                            span=span,
                        ),
                    )
                )
    return ResolvedDates(days, tuple(notes))


def _to_days(parts: IntArray, order: str, now: pd.Timestamp) -> Days:
    """Days of dates in an order, NaT where there is no such date."""
    year, month, day = (parts[:, order.index(unit)] for unit in "ymd")
    if bool((year < 100).any()):
        year = np.where(year < 100, year + 2000, year)
        latest = _assemble(year, month, day)
        ahead = latest > (now + _FUTURE).to_datetime64().astype("datetime64[D]")
        return np.where(ahead, _assemble(year - 100, month, day), latest)
    return _assemble(year, month, day)


def _assemble(year: IntArray, month: IntArray, day: IntArray) -> Days:
    possible = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (year >= 1800) & (year < 2200)
    months = np.where(possible, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (np.where(possible, day, 1) - 1)
    return np.where(possible & (days.astype("datetime64[M]") == months), days, np.datetime64("NaT"))


def _choose_order(kind: str, parts: IntArray, seconds: FloatArray, now: pd.Timestamp, name: str) -> str:
    """The order that gives dates, and of several the clearly most regular one.

    Raises:
        DataError: If none or several remain.
    """
    orders = ("dmy", "mdy") if kind == "last" else ("mdy", "dmy", "ymd")
    found = {order: _to_days(parts, order, now) for order in orders}
    share = {order: float(np.mean(~np.isnat(days))) for order, days in found.items()}
    example = "/".join(str(part) for part in parts[0].tolist())
    possible = [order for order in orders if share[order] >= _VALID]
    if not possible:
        named = join_names([_NAMES[order] for order in orders], conjunction="or")
        raise DataError(
            Message(
                "mixed-dates",
                "The dates of {name} mix {orders} ('{example}'); write them as YYYY-MM-DD, or give date_format=.",
                name=name,
                orders=named,
                example=example,
            )
        )
    best = max(share[order] for order in possible)
    possible = [order for order in possible if share[order] == best]
    possible = [order for order in possible if not _in_future(found[order], now)] or possible
    scores = {order: regularity(found[order], seconds) for order in possible}
    clear = [
        order
        for order in possible
        if all(_clearly_better(scores[order], scores[other]) for other in possible if other != order)
    ]
    if len(clear) == 1 and (len(possible) == 1 or len(parts) > 2):
        return clear[0]
    named = " or ".join(_NAMES[order] for order in possible)
    options = " or ".join(f"date_format='{_with_year(_EXAMPLES[order], kind)}'" for order in possible)
    raise DataError(
        Message(
            "ambiguous-dates",
            "The dates of {name} can be read as {orders} ('{example}'): write them as YYYY-MM-DD, or give {options}.",
            name=name,
            orders=named,
            example=example,
            options=options,
        )
    )


def _roc_note(name: str) -> tuple[str, Message]:
    message = Message(
        "roc-years",
        "The years of {name} were read as those of the Republic of China (+ {offset}).",
        name=name,
        offset=_ROC,
    )
    return "roc-years", message


def _with_year(form: str, kind: str) -> str:
    return form if kind == "last" else form.replace("%Y", "%y")


def read_short_numbers(
    numbers: FloatArray | IntArray, now: pd.Timestamp, name: str, digits: int | None = None
) -> ResolvedDates | None:
    """Dates if numbers are years, months (YYYYMM), weeks (YYYYWW), or days in six or seven digits; else None.

    Args:
        numbers: The numbers, NaN if missing, in the order of the rows. [n]
        now: The current time.
        name: Name of the source in messages.
        digits: Number of digits as written; None for that of the numbers.

    Raises:
        DataError: If they can be read in several ways.
    """
    finite = np.isfinite(numbers)
    values = np.where(finite, numbers, 0).astype(np.float64)
    if not finite.any() or not (values == np.floor(values)).all():
        return None
    digits = digits or len(f"{abs(float(np.median(values[finite]))):.0f}")
    whole = values.astype(np.int64)
    if digits == 4:
        return _read_years(whole, finite, now, name)
    if digits not in (6, 7):
        return None
    high, middle, low = whole // 10_000, whole // 100 % 100, whole % 100
    if digits == 7:
        found = {"roc": _to_days(np.column_stack([high + _ROC, middle, low]), "ymd", now)}
    else:
        month = np.column_stack([whole // 100, low, np.ones_like(low)])
        parts = np.column_stack([high, middle, low])
        found = {"%Y%m": _assemble(*month.T)}
        steps = np.abs(np.diff(found["%Y%m"][finite]).astype(np.int64))
        if finite.sum() > 12 and bool(((steps >= 28) & (steps <= 31)).all()):
            return ResolvedDates(np.where(finite, found["%Y%m"], np.datetime64("NaT")))  # days would exceed 12
        if (low[finite] > 12).any():
            found["%G%V"] = _week_days(whole // 100, low)
        found |= {form: _to_days(parts, order, now) for form, order in _SIX_DIGITS.items()}
    found = {form: np.where(finite, days, np.datetime64("NaT")) for form, days in found.items()}
    return _choose_form(found, whole[finite][0], finite, now, name)


def _choose_form(
    found: Mapping[str, Days], example: np.int64, finite: BoolArray, now: pd.Timestamp, name: str
) -> ResolvedDates | None:
    """The only notation that gives regular dates, None if none gives dates.

    Raises:
        DataError: If several do.
    """
    latest = (now + pd.Timedelta(days=31)).to_datetime64().astype("datetime64[D]")
    scores: dict[str, tuple[float, float]] = {}
    for form, days in found.items():
        known = days[finite & ~np.isnat(days) & (days >= np.datetime64("1900-01-01")) & (days <= latest)]
        if len(known) > 0.95 * finite.sum() and _is_plausible(known, form):
            scores[form] = regularity(days, np.zeros(len(days)))
    best = [form for form in scores if all(_clearly_better(scores[form], scores[o]) for o in scores if o != form)]
    if len(best) == 1:
        note = (
            "day-order",
            Message(
                "short-dates",
                "The dates of {name} such as {example} were read as {notation}.",
                name=name,
                example=f"{example}",
                notation=best[0],
            ),
        )
        if best[0] == "roc":
            note = _roc_note(name)
        return ResolvedDates(found[best[0]], () if best[0] == "%Y%m" else (note,))
    if not scores:
        return None
    options = join_names([f"date_format='{form}'" for form in scores], conjunction="or")
    raise DataError(
        Message(
            "ambiguous-short-dates",
            "The dates of {name} such as {example} can be read in several ways: give {options}.",
            name=name,
            example=f"{example}",
            options=options,
        )
    )


def _is_plausible(days: Days, form: str) -> bool:
    """Whether dates are at the start or end of months if they are months apart, and weeks if they are weeks."""
    steps = np.abs(np.diff(days).astype(np.int64))
    steps = steps[steps > 0]
    usual = float(np.median(steps)) if len(steps) else 1.0
    if form in ("%Y%m", "%G%V"):
        low, high = (28, 31) if form == "%Y%m" else (7, 7)
        return bool(np.mean((steps >= low) & (steps <= high)) > 0.5) if len(steps) else True
    day = days.astype(np.int64) - days.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + 1
    return usual < 27 or bool(np.mean((day == 1) | (day >= 28)) > 0.5)


def _week_days(year: IntArray, week: IntArray) -> Days:
    """The Mondays of weeks of ISO years."""
    possible = (week >= 1) & (week <= 53) & (year >= 1800) & (year < 2200)
    fourth = (np.where(possible, year, 1970) - 1970).astype("datetime64[Y]").astype("datetime64[D]") + 3
    monday = fourth - (fourth.astype(np.int64) + 3) % 7  # 4 January is in week 1
    return np.where(possible, monday + 7 * (np.where(possible, week, 1) - 1), np.datetime64("NaT"))


def _read_years(whole: IntArray, finite: BoolArray, now: pd.Timestamp, name: str) -> ResolvedDates | None:
    """The first days of years, None if numbers are no consecutive years."""
    years = whole[finite]
    steps = np.abs(np.diff(years))
    if len(years) < 2 or years.min() < 1500 or years.max() > now.year + 1 or not np.mean(steps == 1) > 0.9:
        return None
    days = _assemble(np.where(finite, whole, 0), np.ones_like(whole), np.ones_like(whole))
    return ResolvedDates(
        days,
        (
            (
                "year-times",
                Message("year-times", "The times of {name} are years, and were read as their first day.", name=name),
            ),
        ),
    )


def is_short_date(cells: Sequence[str], now: pd.Timestamp) -> bool:
    """Whether all cells are dates of four, six or seven digits in order."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    if len(filled) < 2 or not all(re.fullmatch(r"\d{4}|\d{6,7}", cell) for cell in filled):
        return False
    numbers = np.array(filled, dtype=np.int64)
    try:
        read = read_short_numbers(numbers, now, "", len(filled[0]))
    except DataError:
        return True  # dates, but in which notation is to be decided
    if read is None or np.isnat(read.days).any():
        return False
    steps = np.diff(read.days).astype(np.int64)
    return bool((steps >= 0).all() or (steps <= 0).all())


def _in_future(days: Days, now: pd.Timestamp) -> bool:
    known = days[~np.isnat(days)]
    return bool(len(known) and known.max() > (now + _FUTURE).to_datetime64().astype("datetime64[D]"))


def regularity(days: Days, seconds: FloatArray) -> tuple[float, float]:
    """How regular times are: the share of steps in the main direction, and the share of their grid that they fill."""
    known = ~np.isnat(days)
    stamps = days[known].astype(np.int64) * 86_400.0 + seconds[known]
    steps = np.diff(stamps)
    steps = steps[steps != 0]
    if not len(steps):
        return 1.0, 1.0
    rising = float(np.mean(steps > 0))
    ordered = np.unique(stamps)
    gaps = np.diff(ordered)
    values, counts = np.unique(np.round(gaps), return_counts=True)
    usual = float(values[counts == counts.max()].min())
    return max(rising, 1 - rising), min(1.0, usual * len(gaps) / float(ordered[-1] - ordered[0]))


def _clearly_better(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether times in one order increase and the others do not, or fill their grid five times as well."""
    if one[0] > 0.99 and other[0] < 0.95:
        return True
    return one[0] >= other[0] and one[1] >= 5 * other[1]


def parse_with_format(text: pd.Series, date_format: str, now: pd.Timestamp) -> pd.Series:
    """Parse times in the caller's notation, NaT if they are in another; years of two digits are not in the future."""
    parsed = pd.Series(pd.to_datetime(text, format=date_format, errors="coerce"), index=text.index)
    if "%y" in date_format:
        ahead = parsed > (now + _FUTURE).tz_localize(parsed.dt.tz)
        parsed = parsed.where(~ahead, parsed - pd.DateOffset(years=100))
    return parsed


def current_time() -> pd.Timestamp:
    """The current time in UTC, without timezone."""
    return pd.Timestamp(datetime.now().astimezone()).tz_convert("UTC").tz_localize(None)

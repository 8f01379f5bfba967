"""Names of time zones: IANA names, and the abbreviations and offsets that people write instead.

An abbreviation such as CST has several meanings. It is resolved only together with its counterpart of the other half of
the year (EST and EDT), and only if the zone had that offset at every time.
"""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Collection

from kronos.errors import ParameterError

ABBREVIATIONS: dict[str, tuple[str, ...]] = {
    "EST": ("America/New_York",), "EDT": ("America/New_York",), "CST": ("America/Chicago", "Asia/Shanghai"),
    "CDT": ("America/Chicago",), "MST": ("America/Denver",), "MDT": ("America/Denver",),
    "PST": ("America/Los_Angeles",), "PDT": ("America/Los_Angeles",), "ET": ("America/New_York",),
    "CT": ("America/Chicago",), "PT": ("America/Los_Angeles",), "BST": ("Europe/London",), "GMT": ("Europe/London",),
    "WET": ("Europe/Lisbon",), "WEST": ("Europe/Lisbon",), "CET": ("Europe/Berlin",), "CEST": ("Europe/Berlin",),
    "MEZ": ("Europe/Berlin",), "MESZ": ("Europe/Berlin",), "EET": ("Europe/Athens",), "EEST": ("Europe/Athens",),
    "MSK": ("Europe/Moscow",), "IST": ("Asia/Kolkata", "Asia/Jerusalem", "Europe/Dublin"), "JST": ("Asia/Tokyo",),
    "KST": ("Asia/Seoul",), "HKT": ("Asia/Hong_Kong",), "SGT": ("Asia/Singapore",), "WIB": ("Asia/Jakarta",),
    "ICT": ("Asia/Bangkok",), "AEST": ("Australia/Sydney",), "AEDT": ("Australia/Sydney",),
    "NZST": ("Pacific/Auckland",), "NZDT": ("Pacific/Auckland",), "BRT": ("America/Sao_Paulo",),
    "SAST": ("Africa/Johannesburg",),
}  # fmt: skip
_PAIRS = (
    ("EST", "EDT"), ("CST", "CDT"), ("MST", "MDT"), ("PST", "PDT"), ("GMT", "BST"), ("WET", "WEST"), ("CET", "CEST"),
    ("MEZ", "MESZ"), ("EET", "EEST"), ("AEST", "AEDT"), ("NZST", "NZDT"),
)  # fmt: skip
SUMMER_NAMES = tuple(summer for _, summer in _PAIRS)
_OFFSET = re.compile(r"(?:UTC|GMT)?\s*([+-])(\d{1,2})(?::?(\d{2}))?", re.IGNORECASE)
_OFFSET_ZONES = {
    "+05:30": "Asia/Kolkata", "+08:00": "Asia/Shanghai", "+09:00": "Asia/Tokyo", "+09:30": "Australia/Adelaide",
    "+03:30": "Asia/Tehran", "+04:30": "Asia/Kabul", "+05:45": "Asia/Kathmandu", "+06:30": "Asia/Yangon",
    "-03:30": "America/St_Johns",
}  # fmt: skip


def check_timezone(name: str) -> str:
    """Return the name if it is an IANA timezone.

    Raises:
        ParameterError: If there is no such timezone.
    """
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ParameterError(f"There is no timezone '{name}'; {_hint(str(name))}") from None
    return name


def _hint(name: str) -> str:
    """What to write instead of a name that is no timezone."""
    usual = "use an IANA name like UTC, Asia/Shanghai or America/New_York."
    if offset := _OFFSET.fullmatch(name.strip()):
        sign, hours, minutes = offset[1], int(offset[2]), offset[3] or "00"
        zone = _OFFSET_ZONES.get(f"{sign}{hours:02d}:{minutes}")
        # In POSIX, and so in these names, zones east of Greenwich are negative.
        fixed = f"Etc/GMT{'-' if sign == '+' else '+'}{hours}" if minutes == "00" and 0 < hours <= 12 else None
        names = [n for n in (zone, fixed) if n is not None]
        reversed_sign = " (its sign is reversed)" if fixed else ""
        return f"use {' or '.join(names)}{reversed_sign}." if names else usual
    if zones := ABBREVIATIONS.get(name.strip().upper()):
        return f"use {' or '.join(zones)}."
    near = difflib.get_close_matches(name, sorted(zoneinfo.available_timezones()), 1, 0.6)
    return f"did you mean {near[0]}?" if near else usual


def zone_of(names: Collection[str]) -> str | None:
    """The timezone that names written in rows denote together, None if they leave it open.

    Args:
        names: The distinct names: one IANA name, or an abbreviation with its counterpart of the other half of the year.
    """
    distinct = set(names)
    if len(distinct) == 1 and "/" in (name := next(iter(distinct))):
        try:
            return zoneinfo.ZoneInfo(name).key
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            return None
    upper = {name.upper() for name in distinct}
    if upper <= {"UTC", "GMT", "Z"}:
        return "UTC"
    pair = next((pair for pair in _PAIRS if upper == set(pair)), None)
    if pair is not None:
        return ABBREVIATIONS[pair[1]][0]
    unambiguous = {"JST", "KST", "HKT", "SGT", "MSK"}
    return ABBREVIATIONS[next(iter(upper))][0] if len(upper) == 1 and upper <= unambiguous else None


def possible_zones(names: Collection[str]) -> list[str]:
    """Timezones that abbreviations may denote."""
    found = [zone for name in sorted(names) for zone in ABBREVIATIONS.get(name.upper(), ())]
    return list(dict.fromkeys(found))

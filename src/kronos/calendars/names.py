"""Names of calendars: ours, those of exchange_calendars, and what people call them."""

from __future__ import annotations

import difflib
from functools import cache

from kronos.errors import CalendarError

ALWAYS = "24/7"
FX = "FX"
FUTURES = "CN-FUTURES"
INFERRED = "inferred"

# Chinese futures: the variants differ in their night session's end. CFFEX trades index and bond futures by day only.
FUTURES_VARIANTS = (
    "CN-FUTURES-DAY",
    "CN-FUTURES-2300",
    "CN-FUTURES-2330",
    "CN-FUTURES-0100",
    "CN-FUTURES-0230",
    "CN-FUTURES-CFFEX",
    "CN-FUTURES-CFFEX-BOND",
)
# A timezone is evidence for the exchange that keeps it.
ZONE_EXCHANGE = {
    "America/New_York": "XNYS", "US/Eastern": "XNYS", "Asia/Shanghai": "XSHG", "Asia/Hong_Kong": "XHKG",
    "Asia/Tokyo": "XTKS", "Europe/London": "XLON", "Europe/Paris": "XPAR", "Europe/Berlin": "XETR",
    "Asia/Seoul": "XKRX", "Asia/Taipei": "XTAI", "Asia/Kolkata": "XBOM", "Asia/Singapore": "XSES",
    "Australia/Sydney": "XASX", "America/Toronto": "XTSE", "America/Sao_Paulo": "BVMF", "Europe/Zurich": "XSWX",
}  # fmt: skip
_COMMON = {
    "CRYPTO": ALWAYS, "24X7": ALWAYS, "247": ALWAYS, "ALWAYS": ALWAYS, "FOREX": FX, "24/5": FX, "US": "XNYS",
    "SZSE": "XSHG", "XSHE": "XSHG", "CN": "XSHG", "ASHARE": "XSHG", "A-SHARE": "XSHG", "HK": "XHKG", "SEHK": "XHKG",
    "CNFUTURES": FUTURES, "INFER": INFERRED, "AUTO": INFERRED,
}  # fmt: skip


@cache
def _exchange_names() -> dict[str, str]:
    """Upper-case name or alias → the name under which exchange_calendars builds it."""
    import exchange_calendars as xc

    return {name.upper(): name for name in xc.get_calendar_names(include_aliases=True)}


def calendar_names() -> tuple[str, ...]:
    """Every calendar that can be asked for: ours first, then the exchanges by their ISO 10383 codes."""
    import exchange_calendars as xc

    exchanges = [n for n in xc.get_calendar_names(include_aliases=False) if n.upper() not in (ALWAYS, "24/5")]
    return (ALWAYS, FX, FUTURES, *FUTURES_VARIANTS, INFERRED, *sorted(exchanges))


def canonical_name(name: str) -> str:
    """The calendar meant by a name in any case, such as ``nyse``, ``crypto`` or ``xshg``.

    Raises:
        CalendarError: If there is none.
    """
    asked = str(name).strip().upper()
    if asked in (ALWAYS, FX, FUTURES, *FUTURES_VARIANTS):
        return asked
    if asked == INFERRED.upper():
        return INFERRED
    if asked in _COMMON:
        return _COMMON[asked]
    known = _exchange_names()
    if asked in known:
        import exchange_calendars as xc

        return str(xc.resolve_alias(known[asked]))
    usual = [ALWAYS, FX, FUTURES, "XNYS", "XSHG", "XHKG", *_COMMON]
    near = difflib.get_close_matches(asked, usual, 1, 0.7) or difflib.get_close_matches(asked, known, 1, 0.6)
    hint = f"did you mean {near[0]}?" if near else "try 24/7, FX, XNYS, XSHG, XHKG or CN-FUTURES."
    raise CalendarError(f"There is no calendar '{name}'; {hint}")

"""Timeframes as configurations and datasets write them, and symbols that carry theirs behind the last underscore."""

from __future__ import annotations

import re

from kronos.candles.findings import shown
from kronos.errors import ParameterError
from kronos.intervals import Interval

DEFAULT_TIMEFRAMES = ("1H", "4H", "1D")

_LONGEST = 366 * 86_400  # seconds
_MONTHS = (1, 2, 3, 6, 12)


def timeframe_text(interval: Interval) -> str:
    """An interval as configurations and datasets write it: ``4H``, ``1D``, ``15m`` (a capital M would be a month)."""
    text = str(interval)
    return text if interval.unit in ("s", "m") else text.upper()


def parse_timeframe(text: str) -> Interval:
    """Read ``4H``, ``1D``, ``15m``, ``1M``.

    Raises:
        ParameterError: If it is none, is longer than a year, or says months (``15M``) where minutes must be meant.
    """
    if len(text) > 20:
        raise ParameterError(f"'{shown(text)}' is no interval; write it like 15m, 4H, 1D or 1M.")
    interval = Interval.parse(text).normalized()
    if re.fullmatch(r"\s*\d+\s*M\s*", text) and interval.count not in _MONTHS:
        raise ParameterError(f"'{text}' would be {interval.count} months; write {interval.count}m for minutes.")
    if interval.seconds > _LONGEST:
        raise ParameterError(f"'{text}' is longer than a year; ask for a shorter timeframe, such as 1D or 1M.")
    return interval


def split_timeframes(text: str) -> list[str]:
    """Timeframes as people list them: ``4H,1D`` or ``4H 1D``."""
    return [part for part in re.split(r"[\s,;]+", text) if part]


def split_symbol(text: str) -> tuple[str, Interval | None]:
    """A symbol and the timeframe behind its last underscore, if there is one.

    Raises:
        ParameterError: If what is there is an interval that no timeframe can be.
    """
    symbol, _, suffix = text.rpartition("_")
    if not symbol or not re.fullmatch(r"\d+[A-Za-z]+", suffix):
        return text, None
    try:
        Interval.parse(suffix)
    except ParameterError:
        return text, None
    return symbol, parse_timeframe(suffix)

"""`Interval`: the length of a candle, and the texts that denote one.

An interval is a count and a unit, in the notation of exchanges: ``5m``, ``1h``, ``4h``, ``1d``, ``1w``, ``1mo``. Months
have no fixed length, so use `Interval.offset` for arithmetic; `Interval.delta` is the nominal length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kronos.errors import ParameterError
from kronos.formatting import truncate

if TYPE_CHECKING:
    import pandas as pd

Unit = Literal["s", "m", "h", "d", "w", "mo"]

_SECONDS: dict[str, int] = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "mo": 2_592_000}
_UNITS: dict[str, Unit] = {
    "s": "s", "sec": "s", "second": "s",
    "m": "m", "min": "m", "t": "m", "minute": "m",
    "h": "h", "hr": "h", "hour": "h", "hourly": "h",
    "d": "d", "day": "d", "daily": "d",
    "w": "w", "wk": "w", "week": "w", "weekly": "w",
    "mo": "mo", "mon": "mo", "month": "mo", "monthly": "mo",
}  # fmt: skip
DEFAULT_TIMEFRAMES = ("1H", "4H", "1D")

_LONGEST = 366 * 86_400  # seconds
_MONTHS = (1, 2, 3, 6, 12)
_PATTERN = re.compile(r"\s*(\d*)\s*([a-z]+)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Interval:
    """The length of a candle, for example ``Interval(4, "h")``.

    Attributes:
        count: Number of units, >= 1.
        unit: ``s``, ``m``, ``h``, ``d``, ``w`` or ``mo``.
    """

    count: int
    unit: Unit

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ParameterError(f"Invalid interval count {self.count}: choose at least 1.")

    @classmethod
    def parse(cls, text: str | Interval) -> Interval:
        """Parse ``"4h"``, ``"4H"``, ``"15min"``, ``"daily"`` or ``"1M"`` (a month, in the notation of exchanges).

        Raises:
            ParameterError: If the text is not an interval.
        """
        if isinstance(text, Interval):
            return text
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ParameterError(f"Invalid interval '{text}': write it like 5m, 1h, 4h, 1d, 1w or 1mo.")
        digits, name = match.groups()
        # Exchanges write a month as a capital M; every other unit may be in either case.
        plural = len(name) > 2  # ms are milliseconds, not minutes
        unit: Unit | None = "mo" if name == "M" else _UNITS.get(name.lower().removesuffix("s" if plural else ""))
        if unit is None:
            raise ParameterError(f"Invalid interval '{text}': write it like 5m, 1h, 4h, 1d, 1w or 1mo.")
        return cls(int(digits or 1), unit).normalized()

    @classmethod
    def from_seconds(cls, seconds: int) -> Interval:
        """The interval of this many seconds, in its largest whole unit (28 to 31 days are a month).

        Raises:
            ParameterError: If ``seconds`` is below 1.
        """
        if seconds < 1:
            raise ParameterError(f"Invalid interval of {seconds} seconds: choose at least 1 second.")
        if 28 * 86_400 <= seconds <= 31 * 86_400 and seconds % 86_400 == 0:
            return cls(1, "mo")
        return cls(seconds, "s").normalized()

    @classmethod
    def from_timeframe(cls, text: str) -> Interval:
        """Parse a timeframe in the notation of configurations and datasets: ``4H``, ``1D``, ``15m``, ``1M``.

        Raises:
            ParameterError: If the text is not an interval, the interval is longer than a year, or it is a number of
                months that must be meant as minutes (``15M``).
        """
        if len(text) > 20:
            raise ParameterError(f"Invalid interval '{truncate(text)}': write it like 15m, 4H, 1D or 1M.")
        interval = cls.parse(text).normalized()
        if re.fullmatch(r"\s*\d+\s*M\s*", text) and interval.count not in _MONTHS:
            raise ParameterError(f"'{text}' means {interval.count} months; write {interval.count}m for minutes.")
        if interval.seconds > _LONGEST:
            raise ParameterError(f"'{text}' is longer than a year; choose a shorter timeframe, such as 1D or 1M.")
        return interval

    @property
    def timeframe(self) -> str:
        """The interval in the notation of configurations and datasets: ``4H``, ``1D``, ``15m`` (``1M`` is a month)."""
        text = str(self)
        return text if self.unit in ("s", "m") else text.upper()

    def normalized(self) -> Interval:
        """The same length in its largest whole unit: 60m → 1h, 24h → 1d, 7d → 1w."""
        if self.unit == "mo":
            return self
        total = self.count * _SECONDS[self.unit]
        for unit in ("w", "d", "h", "m"):
            if total % _SECONDS[unit] == 0:
                return Interval(total // _SECONDS[unit], unit)
        return Interval(total, "s")

    @property
    def seconds(self) -> int:
        """Nominal length in seconds; a month has 30 days."""
        return self.count * _SECONDS[self.unit]

    @property
    def delta(self) -> pd.Timedelta:
        """Nominal length; a month has 30 days."""
        import pandas as pd

        return pd.Timedelta(seconds=self.seconds)

    @property
    def offset(self) -> pd.DateOffset:
        """Offset from one candle's wall-clock time to the next one's; months keep the day of the month if possible."""
        import pandas as pd

        if self.unit == "mo":
            return pd.DateOffset(months=self.count)
        if self.unit in ("d", "w"):
            return pd.DateOffset(days=self.count * (7 if self.unit == "w" else 1))
        return pd.DateOffset(seconds=self.seconds)

    @property
    def intraday(self) -> bool:
        """Whether the interval is shorter than a day."""
        return self.seconds < 86_400

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"


def split_timeframes(text: str) -> list[str]:
    """Split a list of timeframes: ``4H,1D`` or ``4H 1D``."""
    return [part for part in re.split(r"[\s,;]+", text) if part]


def split_symbol(text: str) -> tuple[str, Interval | None]:
    """Split ``BTC_4H`` into the symbol and the timeframe after its last underscore, if there is one.

    Raises:
        ParameterError: If the suffix is an interval but not a valid timeframe.
    """
    symbol, _, suffix = text.rpartition("_")
    if not symbol or not re.fullmatch(r"\d+[A-Za-z]+", suffix):
        return text, None
    try:
        Interval.parse(suffix)
    except ParameterError:
        return text, None
    return symbol, Interval.from_timeframe(suffix)

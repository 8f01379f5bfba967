"""`ReadOptions`: what a caller knows about a source of candles and need not be inferred."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from kronos.errors import ParameterError
from kronos.formatting import truncate
from kronos.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd

_DECIMALS = (".", ",")
_THOUSANDS = (",", ".", " ", "'", "_", "")


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of reading that take precedence over what the source suggests; see `read_candles`.

    Attributes:
        symbol: Name of the instrument.
        interval: Interval such as ``"1h"``.
        timezone: IANA timezone of the times.
        calendar: Trading calendar for future times.
        columns: Names of columns, as pairs such as ``("close", "Last Price")``, or their positions, from 1.
        decimal: Decimal sign of the numbers, ``"."`` or ``","``.
        thousands: Thousands sign of the numbers: ``","``, ``"."``, ``" "``, ``"'"``, ``"_"``, or ``""`` for none.
        date_format: Notation of the times for ``strptime``, such as ``"%d.%m.%Y %H:%M"``.
        header: Number of the line with the names of the columns, from 1; 0 if there is none.
        now: Time of reading, which inferred dates cannot exceed; None for the current time.
    """

    symbol: str | None = None
    interval: str | Interval | None = None
    timezone: str | None = None
    calendar: str | None = None
    columns: tuple[tuple[str, str | int], ...] = field(default=(), kw_only=True)
    decimal: str | None = field(default=None, kw_only=True)
    thousands: str | None = field(default=None, kw_only=True)
    date_format: str | None = field(default=None, kw_only=True)
    header: int | None = field(default=None, kw_only=True)
    now: pd.Timestamp | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.decimal is not None and self.decimal not in _DECIMALS:
            raise ParameterError(f"Invalid decimal='{truncate(self.decimal)}': choose '.' or ','.")
        if self.thousands is not None and self.thousands not in _THOUSANDS:
            raise ParameterError(
                f"Invalid thousands='{truncate(self.thousands)}': choose ',', '.', ' ', ''', '_', or '' for none."
            )
        if self.decimal is not None and self.decimal == self.thousands:
            raise ParameterError(
                f"decimal='{self.decimal}' and thousands='{self.thousands}' are the same sign; correct one."
            )
        if self.header is not None and (isinstance(self.header, bool) or self.header < 0):
            raise ParameterError(f"Invalid header={self.header}: give the number of a line, or 0 for none.")
        if not isinstance(self.date_format, str | None):
            raise ParameterError(f"Invalid date_format={truncate(self.date_format)}: pass text such as '%d.%m.%Y'.")
        if self.date_format is not None:
            _check_date_format(self.date_format)

    @property
    def column_names(self) -> Mapping[str, str | int]:
        """The names or positions of columns as a mapping."""
        return dict(self.columns)


def _check_date_format(text: str) -> None:
    """Check that a notation can be read back.

    Raises:
        ParameterError: If it is none.
    """
    sample = datetime(2024, 11, 27, 13, 45, 58)
    try:
        parsed = datetime.strptime(sample.strftime(text), text)
        valid = "%" in text and (parsed.year, parsed.month) == (sample.year, sample.month)
    except ValueError:
        valid = False
    if not valid:
        raise ParameterError(
            f"Invalid date_format='{truncate(text)}': write it for strptime, such as '%d.%m.%Y %H:%M'."
        )

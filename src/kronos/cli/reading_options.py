"""Options that say how candle files are written, and the names of options in messages.

The library's messages name Python arguments: ``give decimal=','``. On the command line the same argument is an option:
``give --decimal ,``. `name_options` is the only place that knows both.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kronos.errors import ParameterError

if TYPE_CHECKING:
    from kronos.candles import ReadOptions

_ARGUMENTS = ("decimal", "thousands", "date_format", "timezone", "interval", "header", "calendar", "symbol")
_COLUMNS = re.compile(r"\bcolumns=(?:\{'([^']*)': '?([^'}]*)'?\})?")
_ARGUMENT = re.compile(rf"\b({'|'.join(_ARGUMENTS)})=('[^']*'|\d+[a-z]*)?(?![=\w])")


@dataclass(frozen=True, slots=True)
class ReadingArgs:
    """How candle files are written, as given on the command line; None or empty to infer it.

    Attributes:
        columns: Names of columns, or their positions from 1: ``close=Schlusskurs``, ``close=5``.
        decimal: Decimal sign.
        thousands: Thousands sign, empty for none.
        date_format: Notation of the times.
        header: Number of the line with the names of the columns, 0 for none.
        timezone: Time zone of the times, for commands that give it to a source or a training.
    """

    columns: Sequence[str] = ()
    decimal: str | None = None
    thousands: str | None = None
    date_format: str | None = None
    header: int | None = None
    timezone: str | None = None

    def options(self) -> ReadOptions:
        """Return the options for the reader.

        Raises:
            ParameterError: If one is invalid.
        """
        from kronos.candles import ReadOptions

        return ReadOptions(
            timezone=self.timezone,
            columns=tuple(_split_column(text) for text in self.columns),
            decimal=self.decimal,
            thousands=self.thousands,
            date_format=self.date_format,
            header=self.header,
        )

    def given(self) -> ReadOptions | None:
        """Return the options for the reader; None if nothing is given.

        Raises:
            ParameterError: If one is invalid.
        """
        return self.options() if self.section() else None

    def section(self, interval: str | None = None) -> dict[str, Any]:
        """Return the section ``reading`` of a training configuration; empty if nothing is given.

        Args:
            interval: Length of a candle.

        Raises:
            ParameterError: If an option is invalid.
        """
        values = {
            "columns": dict(self.options().columns) or None,
            "decimal": self.decimal,
            "thousands": self.thousands,
            "date_format": self.date_format,
            "header": self.header,
            "timezone": self.timezone,
            "interval": interval,
        }
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def of(cls, options: ReadOptions) -> ReadingArgs:
        """Return the arguments that give these options."""
        columns = [f"{column}={name}" for column, name in options.columns]
        return cls(columns, options.decimal, options.thousands, options.date_format, options.header, options.timezone)


def _split_column(text: str) -> tuple[str, str]:
    column, sign, name = text.partition("=")
    if not (column and sign and name):
        raise ParameterError(
            f"Invalid --column '{text}': write it like close=Schlusskurs, or close=5 for its position."
        )
    return column.strip(), name


def name_options(message: str) -> str:
    """Return a message with the names of options instead of Python arguments: ``decimal=','`` → ``--decimal ,``."""
    message = _COLUMNS.sub(lambda match: _column(match[1], match[2]), message)
    return _ARGUMENT.sub(lambda match: _option(match[1], match[2]), message)


def _column(ours: str | None, theirs: str | None) -> str:
    return "--column" if ours is None else f"--column {_quote(f'{ours}={theirs}')}"


def _option(argument: str, value: str | None) -> str:
    option = f"--{argument.replace('_', '-')}"
    return option if value is None else f"{option} {_quote(value.strip(chr(39)))}"


def _quote(value: str) -> str:
    """Quote a value for the shell, which leaves … and , as they are."""
    return value if re.fullmatch(r"[\w@%+=:,./…-]+", value) else shlex.quote(value)

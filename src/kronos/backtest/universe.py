"""`Universe`: which instruments belonged to an index on which dates.

A backtest on today's members of an index knows which companies did well enough to stay in it (survivorship bias). With
the membership by date, an instrument is bought and counted only while it belonged to the index. Files are those of
Qlib (``instruments/csi300.txt``: code, start, end, separated by tabs) or CSV with the columns instrument, start, end.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kronos.backtest.market import member_array
from kronos.errors import DataError
from kronos.formatting import expand_user, join_names, os_error_reason, plural, truncate
from kronos.typing import BoolArray, FloatArray

Spans = Mapping[str, Sequence[tuple[str, str]]]

_COLUMNS = ("instrument", "start", "end")
_FIRST, _LAST = "1900-01-01", "2200-01-01"  # of a span without a start or an end
_MISSING_SHARE = 0.05  # of the members: more without candles are worth a warning


@dataclass(frozen=True, eq=False)
class Universe:
    """Membership of an index by date.

    Attributes:
        name: Name for messages, such as ``csi300``.
        spans: Pairs of first and last date, both inclusive, by instrument.
    """

    name: str
    spans: Spans

    def __post_init__(self) -> None:
        if not self.spans:
            raise DataError(f"The index {self.name} has no members; give at least one instrument with its dates.")
        for instrument, spans in self.spans.items():
            for start, end in spans:
                if pd.Timestamp(start) > pd.Timestamp(end):
                    raise DataError(f"{instrument} belongs to {self.name} from {start} to {end}: the end comes first.")

    @classmethod
    def read(cls, path: str | Path) -> Universe:
        """Read a Qlib instruments file, or a CSV file with the columns instrument, start, end; blank dates are open.

        Raises:
            DataError: If the file cannot be read or a line is invalid.
        """
        file = expand_user(path)
        try:
            lines = file.read_text("utf-8-sig").splitlines()
        except OSError as error:
            raise DataError(f"{file} cannot be read ({os_error_reason(error)}): check its path.") from None
        except UnicodeDecodeError:
            raise DataError(f"{file} is not UTF-8 text: save it as UTF-8.") from None
        tabs = any("\t" in line for line in lines)
        rows = list(csv.reader(lines, delimiter="\t" if tabs else ","))
        order = _columns(file, rows[0] if rows else []) if not tabs else (0, 1, 2)
        spans: dict[str, list[tuple[str, str]]] = {}
        for number, row in enumerate(rows, start=1):
            if not any(map(str.strip, row)) or (number == 1 and not tabs):
                continue
            if len(row) <= max(order):
                raise DataError(f"{file.name}, line {number}: write an instrument, a start and an end.")
            name, start, end = (row[column].strip() for column in order)
            span = (_date(file, number, start or _FIRST), _date(file, number, end or _LAST))
            spans.setdefault(name, []).append(span)
        return cls(file.stem, {name: tuple(own) for name, own in spans.items()})

    @property
    def instruments(self) -> tuple[str, ...]:
        """All instruments that ever belonged to the index."""
        return tuple(self.spans)

    def members(self, dates: pd.DatetimeIndex, instruments: Sequence[str]) -> BoolArray:
        """Whether each instrument belongs to the index on each day [T, N]; False if the index does not know it."""
        return member_array(dates, instruments, self.spans)

    def filter(self, dates: pd.DatetimeIndex, instruments: Sequence[str], scores: FloatArray) -> FloatArray:
        """Scores [T, N] with NaN where an instrument is no member, so that it is neither bought nor counted."""
        return np.where(self.members(dates, instruments), scores, np.nan)

    def warnings(self, dates: pd.DatetimeIndex, instruments: Sequence[str]) -> list[str]:
        """What is unknown about the membership over these dates, in sentences.

        Args:
            dates: Days of the backtest.
            instruments: Instruments with candles.
        """
        found = []
        known = [name for name in instruments if name in self.spans]
        unknown = [name for name in instruments if name not in self.spans]
        if unknown:
            found.append(
                f"{plural(len(unknown), 'instrument')} never belonged to {self.name} and cannot be bought: "
                f"{join_names(unknown)}."
            )
        listed = np.flatnonzero(self.members(dates, self.instruments).any(axis=0))
        members = [self.instruments[column] for column in listed]
        missing = [name for name in members if name not in set(known)]
        if len(missing) > _MISSING_SHARE * len(members):
            found.append(
                f"{len(missing):,} of {len(members):,} members of {self.name} have no candles, among them "
                f"{join_names(missing)}: if they are those that were delisted, results are too good (survivorship)."
            )
        return [*found, *self._without_members(dates)]

    def _without_members(self, dates: pd.DatetimeIndex) -> list[str]:
        """The spans of these days on which the index has no members, as of a file that covers a part of them."""
        empty = ~self.members(dates, self.instruments).any(axis=1)
        if not empty.any():
            return []
        edges = np.flatnonzero(np.diff(np.concatenate([[False], empty, [False]])))
        spans = [
            f"{dates[first]:%Y-%m-%d} to {dates[end - 1]:%Y-%m-%d}" for first, end in edges.reshape(-1, 2).tolist()
        ]
        if empty.all():
            return [f"{self.name} has no members from {spans[0]}."]
        return [
            f"{self.name} has no members on {np.count_nonzero(empty):,} of {plural(len(dates), 'day')}, from "
            f"{join_names(spans)}: nothing is bought there. If its file covers a part of the dates only, choose dates "
            f"within."
        ]


def unknown_membership(instruments: Sequence[str]) -> str:
    """The warning of a backtest without a universe."""
    return (
        f"The membership by date of these {plural(len(instruments), 'instrument')} is unknown: if they were chosen "
        f"later than the backtest begins, results are too good (survivorship)."
    )


def _columns(file: Path, header: Sequence[str]) -> tuple[int, int, int]:
    names = [cell.strip().lower() for cell in header]
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        raise DataError(f"{file.name} has no column '{missing[0]}': it needs the columns {', '.join(_COLUMNS)}.")
    first, second, third = (names.index(name) for name in _COLUMNS)
    return first, second, third


def _date(file: Path, number: int, text: str) -> str:
    try:
        return f"{pd.Timestamp(text):%Y-%m-%d}"
    except (ValueError, TypeError, OverflowError):
        raise DataError(
            f"{file.name}, line {number}: '{truncate(text)}' is not a date; write it like 2024-01-31."
        ) from None


__all__ = ["Spans", "Universe", "unknown_membership"]

"""Findings of cleaning: each dropped row and each changed value is reported as a `Finding`.

Rows are numbered as a person counts them: lines of a file (the header is line 1), or 0-based positions in a frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from kronos.formatting import Message
from kronos.typing import IntArray

Severity = Literal["info", "warning"]
MAX_ROWS_LISTED = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that cleaning noticed or changed.

    Attributes:
        code: Short stable name, such as ``duplicate-time``.
        severity: ``info`` needs no action; a ``warning`` means that the source should be checked.
        message: One sentence for people, with its kind and values.
        rows: Numbers of the first rows concerned (at most ten), counted as in the message.
        count: Number of rows or occurrences.
    """

    code: str
    severity: Severity
    message: Message
    rows: tuple[int, ...] = ()
    count: int = 1

    def __str__(self) -> str:
        return f"{self.severity}: {self.message}"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a reader inferred or left out, for a finding.

    Attributes:
        code: Short stable name, such as ``number-notation``.
        severity: As of a `Finding`.
        message: One sentence for people, with its kind and values.
    """

    code: str
    severity: Severity
    message: Message


@dataclass(frozen=True, slots=True, eq=False)
class RowNumbering:
    """How the rows of a source are numbered in messages.

    Attributes:
        name: Name of the source.
        word: ``line`` of a text file, ``row`` of others.
        first: Number of the first row.
        whole: For a part of a source: 0-based position of each row in the whole. [n]
    """

    name: str
    word: str = "line"
    first: int = 2
    whole: IntArray | None = None

    def number(self, position: int) -> int:
        """The number of the row at a 0-based position."""
        return (int(position) if self.whole is None else int(self.whole[position])) + self.first

    def numbers(self, positions: Iterable[int]) -> tuple[int, ...]:
        """Numbers of the first ten of these positions."""
        return tuple(self.number(p) for p in list(positions)[:MAX_ROWS_LISTED])

    def at(self, position: int) -> str:
        """``line 7 of prices.csv``."""
        return f"{self.word} {self.number(position)} of {self.name}"


@dataclass(slots=True)
class FindingCollector:
    """Collects findings about rows, identified by their original 0-based positions."""

    rows: RowNumbering
    findings: list[Finding] = field(default_factory=list)

    def add(self, code: str, severity: Severity, message: Message, positions: npt.ArrayLike = ()) -> None:
        """Add a finding about the rows at these positions.

        In the message, ``{count}`` stands for their number and ``{where}`` for ``lines 5, 9, 12 … of prices.csv``.
        """
        where = np.asarray(positions, dtype=np.int64).ravel()
        numbers = self.rows.numbers(where.tolist())
        listed = ", ".join(str(n) for n in numbers[:3]) + (" …" if len(where) > 3 else "")
        word = f"{self.rows.word}s" if len(where) > 1 else self.rows.word
        text = message.fill(count=len(where), where=f"{word} {listed} of {self.rows.name}") if len(where) else message
        self.findings.append(Finding(code, severity, text, numbers, max(1, len(where))))

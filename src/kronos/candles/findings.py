"""What cleaning found: nothing is dropped or changed without a `Finding` that says so.

Row numbers are those a person sees: lines of the file (a header is line 1), or 0-based positions in a frame.
`Rows` knows which of the two it is, and words it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Severity = Literal["info", "warning"]
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that cleaning noticed or mended.

    Attributes:
        code: A short stable name, such as ``duplicate-time``.
        severity: ``info`` needs no action; a ``warning`` deserves a look at the source.
        message: One sentence for people.
        rows: The first rows concerned (at most ten), counted as the message says.
        count: How many rows, or occurrences, there are in all.
    """

    code: str
    severity: Severity
    message: str
    rows: tuple[int, ...] = ()
    count: int = 1

    def __str__(self) -> str:
        return f"{self.severity}: {self.message}"


@dataclass(frozen=True, slots=True, eq=False)
class RowNumbering:
    """How rows of a source are counted and what the source is called in messages.

    Attributes:
        name: What the source is called.
        word: ``line`` of a text file, ``row`` of others.
        first: The number of the first row.
        whole: For a part of a source: each row's 0-based position in the whole.
    """

    name: str
    word: str = "line"
    first: int = 2
    whole: npt.NDArray[np.int64] | None = None

    def number(self, position: int) -> int:
        """The number a person would use for a 0-based position."""
        return (int(position) if self.whole is None else int(self.whole[position])) + self.first

    def numbers(self, positions: Iterable[int]) -> tuple[int, ...]:
        """The first few numbers of these positions."""
        return tuple(self.number(p) for p in list(positions)[:SHOWN])

    def at(self, position: int) -> str:
        """``line 7 of prices.csv``."""
        return f"{self.word} {self.number(position)} of {self.name}"


@dataclass(slots=True)
class FindingCollector:
    """Collects findings while rows are still known by their original positions."""

    rows: RowNumbering
    findings: list[Finding] = field(default_factory=list)

    def note(self, code: str, severity: Severity, message: str, where: npt.ArrayLike = ()) -> None:
        """Record a finding about original 0-based positions; nothing if ``{count}`` in the message counts none.

        The message may use ``{count}`` and ``{where}``, the latter being ``line 5, 9 … of name``.
        """
        positions = np.asarray(where, dtype=np.int64).ravel()
        numbers = self.rows.numbers(positions.tolist())
        listed = ", ".join(str(n) for n in numbers[:3]) + (" …" if len(positions) > 3 else "")
        plural = f"{self.rows.word}s" if len(positions) > 1 else self.rows.word
        where_text = f"{plural} {listed} of {self.rows.name}"
        # Not str.format: a quoted cell or a file's name may hold braces.
        text = message.replace("{count}", str(len(positions))).replace("{where}", where_text)
        self.findings.append(Finding(code, severity, text, numbers, max(1, len(positions))))

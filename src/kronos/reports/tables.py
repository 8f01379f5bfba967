"""Tables as pages draw them: what stands where, and what a reader should see at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["", "raw", "calibrated", "baseline", "reference"]
Tone = Literal["", "good", "neutral", "bad", "unknown"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        label: Its head.
        over: A head above it, shared with its neighbours of the same one; empty for none.
        number: Whether it holds numbers, which stand on the right.
    """

    label: str
    over: str = ""
    number: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands at one place.

    Attributes:
        text: Its main words or number.
        more: Smaller beside it, such as an interval.
        best: Whether it is the best of its column or row.
        tone: Of a verdict, which is drawn as a badge; empty for everything else.
    """

    text: str
    more: str = ""
    best: bool = False
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row.

    Attributes:
        head: Its name.
        cells: One a column but the first.
        kind: Raw, calibrated, baseline or reference: how its head is marked.
        mark: The kind in words.
        begins: Whether a thicker line stands above it.
    """

    head: str
    cells: Sequence[Cell]
    kind: Kind = ""
    mark: str = ""
    begins: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        caption: What it shows.
        columns: The first is the rows' heads.
        rows: In order.
        note: A line below.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    note: str = ""
    overs: Sequence[tuple[str, int]] = field(init=False, default=())

    def __post_init__(self) -> None:
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.over:
                spans[-1] = (column.over, spans[-1][1] + 1)
            else:
                spans.append((column.over, 1))
        object.__setattr__(self, "overs", tuple(spans) if any(over for over, _ in spans) else ())

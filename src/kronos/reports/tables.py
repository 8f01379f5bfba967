"""Tables of the pages, and cells for estimates with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from kronos.formatting import MISSING, format_number, format_signed, percent
from kronos.metrics import Estimate

RowKind = Literal["", "raw", "calibrated", "baseline", "reference"]
Tone = Literal["", "good", "neutral", "bad", "unknown"]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column.

    Attributes:
        label: Header of the column.
        group: Second header above it, shared by neighbouring columns; empty for none.
        number: Whether the column holds numbers, which are aligned right.
    """

    label: str
    group: str = ""
    number: bool = True


@dataclass(frozen=True, slots=True)
class TableCell:
    """A cell.

    Attributes:
        text: Main text or number.
        detail: Smaller text after it, such as an interval.
        best: Whether to highlight it as the best value of its column or row.
        tone: Tone of a verdict, which is shown as a badge; empty for other cells.
    """

    text: str
    detail: str = ""
    best: bool = False
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row.

    Attributes:
        label: Header of the row.
        cells: Cells of all columns but the first.
        kind: Kind of the contender, which determines how the header is marked.
        mark: The kind in words.
        separator: Whether there is a thicker line above the row.
    """

    label: str
    cells: Sequence[TableCell]
    kind: RowKind = ""
    mark: str = ""
    separator: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        caption: Caption.
        columns: Columns; the first is that of the row headers.
        rows: Rows.
        note: Note below the table.
        column_groups: Second header row: each group with its number of columns; empty without groups.
    """

    caption: str
    columns: Sequence[TableColumn]
    rows: Sequence[TableRow]
    note: str = ""
    column_groups: Sequence[tuple[str, int]] = field(init=False, default=())

    def __post_init__(self) -> None:
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        object.__setattr__(self, "column_groups", tuple(spans) if any(group for group, _ in spans) else ())


def percent_cell(estimate: Estimate | None) -> TableCell:
    """A share or skill in percent with its interval: ``2.0 %``, ``−10.0 to 10.0``; a dash if it is unknown."""
    if estimate is None or not math.isfinite(estimate.estimate):
        return TableCell(MISSING)
    low, high = (format_number(100 * value, 1) for value in (estimate.low, estimate.high))
    return TableCell(percent(estimate.estimate), f"{low} to {high}" if _has_interval(estimate) else "")


def change_cell(estimate: Estimate | None) -> TableCell:
    """A change with its sign and interval: ``+0.010``, ``−0.020 to +0.040``; a dash if there is none."""
    if estimate is None:
        return TableCell(MISSING)
    low, high = format_signed(estimate.low), format_signed(estimate.high)
    return TableCell(format_signed(estimate.estimate), f"{low} to {high}" if _has_interval(estimate) else "")


def lowest_marked(values: Sequence[float], decimals: int = 3) -> list[TableCell]:
    """Losses as cells; the lowest of at least two is marked as the best, NaN is a dash."""
    known = [value for value in values if math.isfinite(value)]
    lowest = min(known) if len(known) > 1 else math.nan
    return [TableCell(format_number(value, decimals), best=value == lowest) for value in values]


def _has_interval(estimate: Estimate) -> bool:
    return math.isfinite(estimate.low) and math.isfinite(estimate.high)

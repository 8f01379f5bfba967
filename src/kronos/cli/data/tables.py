"""Tables and pages of ``kronos data`` in the terminal: where it is narrow, columns leave, and nothing is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kronos.cli.console import emit, stdout

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_GAP = 2  # between columns
_NAME = 20  # what the first column may shrink to before others leave: names can go on in the next line


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its heading.
        cells: What stands in it.
        right: Whether that stands on the right, as numbers do.
        spare: Those with the highest number leave first where it is narrow; 0 never does.
    """

    name: str
    cells: Sequence[str]
    right: bool = False
    spare: int = 0

    @property
    def width(self) -> int:
        """How wide its widest cell is."""
        from rich.cells import cell_len

        return max(map(cell_len, (self.name, *self.cells)))


def width() -> int:
    """How wide a table may be."""
    return stdout().width - 2


def table(*columns: Column, width: int, name: int = _NAME) -> Table:
    """A quiet table. Columns without any content are left out; the cells of the first one go on in the next line.

    Args:
        columns: Of the table.
        width: How wide it may be.
        name: What the first column may shrink to before others leave.
    """
    from rich.table import Table
    from rich.text import Text

    kept = [column for column in columns if any(column.cells)]
    while _total(kept, name) > width and any(column.spare for column in kept):
        kept.remove(max(kept, key=lambda column: column.spare))
    made = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    for number, column in enumerate(kept):
        justify = "right" if column.right else "left"
        made.add_column(column.name, justify=justify, no_wrap=number > 0, overflow="fold")  # type: ignore[arg-type]
    for row in zip(*(column.cells for column in kept), strict=True):
        made.add_row(*map(Text, row))
    return made


def _total(columns: Sequence[Column], name: int) -> int:
    first, *others = (column.width for column in columns)
    return min(first, name) + sum(one + _GAP for one in others)


def page(*lines: RenderableType) -> None:
    """Print on stdout, with a margin around."""
    from rich.console import Group
    from rich.padding import Padding

    emit(stdout(), Padding(Group(*lines), 1))

"""Where commands print: results on stdout, the way there on stderr and only while a person watches."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kronos.progress import ProgressCallback

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_PIPED_WIDTH = 120  # where nobody says how wide a line may be
_PERIOD, _LONG_PERIOD = 30.0, 600.0  # seconds over which a speed is taken


def stdout() -> Console:
    """The console for results; wide where it is no terminal."""
    from rich.console import Console

    narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, soft_wrap=False, width=None if narrow else _PIPED_WIDTH)


def stderr() -> Console:
    """The console for the way there."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def emit(console: Console, renderable: RenderableType) -> None:
    """Print; where it is no terminal, without the spaces that only fill its lines."""
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as capture:
        console.print(renderable)
    for line in capture.get().splitlines():
        console.out(line.rstrip())


def watched() -> bool:
    """Whether a person sees stderr."""
    return sys.stderr.isatty()


def print_json(document: Mapping[str, Any] | list[Any]) -> None:
    """Print one JSON document on stdout; what is no number is null."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.write(dump_json(document, ascii_only=not unicode) + "\n")


def dump_json(document: Mapping[str, Any] | list[Any], *, ascii_only: bool = False) -> str:
    """A JSON text without NaN or Infinity, which JSON doesn't have."""
    return json.dumps(_finite(document), indent=2, ensure_ascii=ascii_only, allow_nan=False)


def _finite(value: Any) -> Any:
    """The value with null for numbers that are not finite."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


@contextmanager
def progress_bar(
    title: str, *, wanted: bool, size: bool = False, long: bool = False, then: str | None = None
) -> Iterator[ProgressCallback | None]:
    """A progress bar on stderr for the block, or None where it is not wanted or nobody watches.

    Args:
        title: What is going on.
        wanted: Whether to show it at all.
        size: Whether bytes are counted.
        long: Whether to tell the time that is left too.
        then: What goes on once all is done, if something does.
    """
    if not (wanted and watched()):
        yield None
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        ProgressColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    text = TextColumn("{task.description}", markup=False)
    measure = DownloadColumn() if size else TaskProgressColumn()
    columns: list[ProgressColumn] = [text, BarColumn(bar_width=32), measure, TimeElapsedColumn()]
    if long:
        columns += [TextColumn("left:"), TimeRemainingColumn()]
    # What is left is told from the last minutes: work of a minute and more may count as done at once.
    period = _LONG_PERIOD if long else _PERIOD
    with Bars(*columns, console=stderr(), transient=True, speed_estimate_period=period) as bars:
        task = bars.add_task(title, total=None)

        def update(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)
            if then is not None and done >= total:
                bars.reset(task, description=then, total=None)

        yield update


def spinner(title: str, *, wanted: bool) -> Any:
    """A spinner on stderr for a block, where a person watches."""
    if not (wanted and watched()):
        return nullcontext()
    return stderr().status(title)


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


def join_names(names: Sequence[str], most: int = 4) -> str:
    """Names in a sentence, the first ones of many."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))

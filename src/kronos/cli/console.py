"""Output to the terminal: results on stdout; progress, notes and log records on stderr."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kronos.errors import ParameterError
from kronos.formatting import printable, to_json
from kronos.progress import is_interactive

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_PIPED_WIDTH = 120  # columns where neither a terminal nor COLUMNS limits the width
_LEAST_HEIGHT = 10
_LEAST_WIDTH, _LARGEST_WIDTH = 20, 1000  # narrower, nothing can be shown; wider, padding would only cost memory
_GAP = 2  # columns between two cells
_NAME_WIDTH = 20  # width to which the first column shrinks before other columns are dropped: its cells can wrap


def stdout() -> Console:
    """Return the console for results; wide if neither a terminal nor ``COLUMNS`` limits it."""
    return _console(width=_width())


def stderr() -> Console:
    """Return the console for progress and notes."""
    return _console(width=_width(), stderr=True, soft_wrap=True)


def _console(*, width: int, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """A console that replaces control characters, such as the escape sequences that the name of a file may contain."""
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

    class SafeConsole(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(printable(segment.text), segment.style)

    # With both sizes given, rich reads neither COLUMNS nor LINES.
    height = max(shutil.get_terminal_size().lines, _LEAST_HEIGHT)
    return SafeConsole(width=width, height=height, stderr=stderr, highlight=False, soft_wrap=soft_wrap)


def _width() -> int:
    """``COLUMNS``, else the terminal's width, else a wide one; zero and what is no number count as unknown."""
    columns = valid_width(os.environ.get("COLUMNS", ""))
    if columns is None and sys.stdout is not None and sys.stdout.isatty():
        columns = valid_width(str(shutil.get_terminal_size((0, 0)).columns))
    return columns or _PIPED_WIDTH


def valid_width(text: str) -> int | None:
    """Return a width in columns as a number within sensible limits; None if it is zero or no number."""
    if not (text.isascii() and text.isdigit()) or not text.strip("0"):
        return None
    return min(max(int(text[:10]), _LEAST_WIDTH), _LARGEST_WIDTH)


def emit(console: Console, renderable: RenderableType) -> None:
    """Print a renderable; without trailing spaces if the console is not a terminal."""
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as capture:
        console.print(renderable)
    for line in capture.get().splitlines():
        console.out(line.rstrip())


def page(*lines: RenderableType) -> None:
    """Print lines on stdout with a margin around them."""
    from rich.console import Group
    from rich.padding import Padding

    emit(stdout(), Padding(Group(*lines), 1))


def page_width() -> int:
    """Return the width available to a table on a page."""
    return stdout().width - 2


def print_json(document: Mapping[str, Any] | list[Any]) -> None:
    """Print one JSON document on stdout; numbers that are not finite become null."""
    encoding = "" if sys.stdout is None else sys.stdout.encoding or ""
    print_text(to_json(document, ascii_only=encoding.lower().replace("-", "") != "utf8") + "\n")


def print_text(text: str) -> None:
    """Print a text for programs on stdout, as it is."""
    if sys.stdout is not None:
        sys.stdout.write(text)


def spinner(title: str, *, enabled: bool = True) -> AbstractContextManager[object]:
    """Show a spinner on stderr during a block, unless it is disabled or stderr is not a terminal."""
    return stderr().status(title) if enabled and is_interactive() else nullcontext()


_LEVELS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR}
_SYNONYMS = {"WARN": "WARNING", "CRITICAL": "ERROR", "FATAL": "ERROR", "TRACE": "DEBUG"}


def _log_level(*, verbose: bool) -> int:
    """Return INFO if verbose, else the level of ``KRONOS_LOG_LEVEL`` or ``LOG_LEVEL``, else WARNING.

    Raises:
        ParameterError: If a variable names no level.
    """
    if verbose:
        return logging.INFO
    for variable in ("KRONOS_LOG_LEVEL", "LOG_LEVEL"):
        text = os.environ.get(variable, "").strip().upper()
        if text:
            level = _SYNONYMS.get(text, text)
            if level not in _LEVELS:
                raise ParameterError(f"Invalid {variable} '{text}': choose {', '.join(_LEVELS)}.")
            return _LEVELS[level]
    return logging.WARNING


@contextmanager
def log_to_stderr(*, verbose: bool) -> Iterator[None]:
    """Print the package's log records on stderr during the block, and restore the logger afterwards.

    Raises:
        ParameterError: If ``KRONOS_LOG_LEVEL`` or ``LOG_LEVEL`` names no level.
    """
    logger = logging.getLogger("kronos")
    level, handler = _log_level(verbose=verbose), _MessageHandler()
    level_before, propagate_before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level_before)
        logger.propagate = propagate_before


class _MessageHandler(logging.Handler):
    """Writes messages to the current ``sys.stderr``: rich replaces it to print them above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stderr is not None:
            sys.stderr.write(printable(record.getMessage()) + "\n")


@dataclass(frozen=True, slots=True)
class ConsoleColumn:
    """A column of a table.

    Attributes:
        name: Header.
        cells: One text per row.
        right: Whether to align the cells to the right, as numbers are.
        priority: Columns with the highest number are dropped first in a narrow terminal; 0 is never dropped.
    """

    name: str
    cells: Sequence[str]
    right: bool = False
    priority: int = 0

    @property
    def width(self) -> int:
        """Width of the widest cell, the header included."""
        from rich.cells import cell_len

        return max(map(cell_len, (self.name, *self.cells)))


def table(*columns: ConsoleColumn, width: int, name_width: int = _NAME_WIDTH) -> Table:
    """Build a borderless table that fits the width; empty columns are dropped, cells of the first column wrap.

    Args:
        columns: The columns, in order.
        width: Available width.
        name_width: Width to which the first column shrinks before other columns are dropped.
    """
    from rich.table import Table
    from rich.text import Text

    visible = [column for column in columns if any(column.cells)]
    while _total_width(visible, name_width) > width and any(column.priority for column in visible):
        visible.remove(max(visible, key=lambda column: column.priority))
    result = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    for number, column in enumerate(visible):
        result.add_column(column.name, justify="right" if column.right else "left", no_wrap=number > 0, overflow="fold")
    for row in zip(*(column.cells for column in visible), strict=True):
        result.add_row(*map(Text, row))
    return result


def _total_width(columns: Sequence[ConsoleColumn], name_width: int) -> int:
    first, *others = (column.width for column in columns)
    return min(first, name_width) + sum(width + _GAP for width in others)

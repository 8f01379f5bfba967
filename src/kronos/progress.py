"""Progress of long work: the callback that computations report to, and a bar or lines on stderr that show it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kronos.formatting import duration, megabytes, printable
from kronos.notebook import in_notebook, notebook_bar

ProgressCallback = Callable[[int, int], None]
"""Called with the number of finished steps and their total."""

# Seconds of work before the first line without a terminal, and between lines; each pause is longer than the last one,
# so that a log of hours stays short.
_FIRST_LINE, _LONGER, _LONGEST_PAUSE = 10.0, 1.5, 300.0
_SPEED_PERIOD, _LONG_SPEED_PERIOD = 30.0, 600.0  # seconds of progress from which the remaining time is estimated


def is_interactive() -> bool:
    """Whether stderr is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def progress_bar(
    title: str,
    *,
    enabled: bool = True,
    show_bytes: bool = False,
    show_remaining: bool = False,
    next_title: str | None = None,
) -> Iterator[ProgressCallback | None]:
    """Show a progress bar during the block, in a notebook's cell or on stderr; a few lines if that is no terminal.

    Args:
        title: Text before the bar.
        enabled: Whether to show the bar.
        show_bytes: Whether the callback counts bytes, as downloads do.
        show_remaining: Whether to estimate the remaining time, for work of minutes and hours.
        next_title: Text of the work that follows once the total is reached.

    Yields:
        The callback that reports progress; None if it is disabled, or there is no stderr.
    """
    if enabled and in_notebook():
        with notebook_bar(title, next_title) as move:
            yield move
        return
    if not enabled or sys.stderr is None:
        yield None
        return
    if not is_interactive():
        yield ProgressLines(title, show_bytes=show_bytes)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        ProgressColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=32),
        DownloadColumn() if show_bytes else TaskProgressColumn(),
        TimeElapsedColumn(),
    ]
    if show_remaining:
        columns += [TextColumn("left:"), TimeRemainingColumn()]
    # Such work reports several steps at once, minutes apart; a shorter period would estimate nonsense.
    period = _LONG_SPEED_PERIOD if show_remaining else _SPEED_PERIOD
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with Progress(*columns, console=console, transient=True, speed_estimate_period=period) as bars:
        task = bars.add_task(printable(title), total=None)

        def update(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)
            if next_title is not None and done >= total:
                bars.reset(task, description=printable(next_title), total=None)

        yield update


class ProgressLines:
    """Progress as lines on stderr, for logs: nothing for short work, then a line at growing intervals.

    Args:
        title: Text at the beginning of each line.
        show_bytes: Whether the callback counts bytes.
    """

    def __init__(self, title: str, *, show_bytes: bool = False) -> None:
        self._title, self._show_bytes = printable(title), show_bytes
        self._started = time.monotonic()
        self._pause = _FIRST_LINE
        self._due = self._started + self._pause

    def __call__(self, done: int, total: int) -> None:
        """Report finished steps and their total."""
        now = time.monotonic()
        if now < self._due or sys.stderr is None:
            return
        self._pause = min(_LONGER * self._pause, _LONGEST_PAUSE)
        self._due = now + self._pause
        share = f"{megabytes(done)} of {megabytes(total)}" if self._show_bytes else f"{100 * done // max(total, 1)} %"
        sys.stderr.write(f"{self._title}: {share} after {duration(now - self._started)}\n")
        sys.stderr.flush()

"""Progress of long work: the callback that computations report to, and a progress bar on stderr that shows it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ProgressCallback = Callable[[int, int], None]
"""Called with the number of finished steps and their total."""

_SPEED_PERIOD, _LONG_SPEED_PERIOD = 30.0, 600.0  # seconds of progress from which the remaining time is estimated


def is_interactive() -> bool:
    """Whether stderr is a terminal."""
    return sys.stderr.isatty()


@contextmanager
def progress_bar(
    title: str,
    *,
    enabled: bool = True,
    show_bytes: bool = False,
    show_remaining: bool = False,
    next_title: str | None = None,
) -> Iterator[ProgressCallback | None]:
    """Show a progress bar on stderr during the block, unless it is disabled or stderr is not a terminal.

    Args:
        title: Text before the bar.
        enabled: Whether to show the bar.
        show_bytes: Whether the callback counts bytes, as downloads do.
        show_remaining: Whether to estimate the remaining time, for work of minutes and hours.
        next_title: Text of the work that follows once the total is reached.

    Yields:
        The callback that moves the bar; None if there is none.
    """
    if not (enabled and is_interactive()):
        yield None
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
        task = bars.add_task(title, total=None)

        def update(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)
            if next_title is not None and done >= total:
                bars.reset(task, description=next_title, total=None)

        yield update

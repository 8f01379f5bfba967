"""Progress of long decodes: counted in steps, shown on stderr where a person watches, silent elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(wanted: bool, title: str) -> Iterator[ProgressCallback | None]:
    """A progress bar on stderr for the block, if it is wanted and stderr is a terminal; else None."""
    if not (wanted and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


ProgressCallback = Callable[[int, int], None]

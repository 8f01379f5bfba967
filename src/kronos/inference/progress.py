"""Progress of long decodes: counted in steps, shown on stderr where a person watches, silent elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

Progress = Callable[[int, int], None]


class Counted:
    """A chooser that calls ``progress(steps done, total)`` after every step."""

    def __init__(self, choose: Callable[[int, int, Tensor], Tensor], total: int, progress: Progress) -> None:
        self.choose, self.total, self.progress = choose, total, progress

    def __call__(self, step: int, head: int, logits: Tensor) -> Tensor:
        """Choose as the chooser inside does."""
        chosen = self.choose(step, head, logits)
        if head == 1:
            self.progress(step + 1, self.total)
        return chosen


@contextmanager
def progress_bar(wanted: bool, title: str) -> Iterator[Progress | None]:
    """A progress bar on stderr for the block, if it is wanted and stderr is a terminal; else None."""
    if not (wanted and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)

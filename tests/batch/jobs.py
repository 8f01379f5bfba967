"""Jobs that other processes import in no time: nothing here needs the packages of a forecast."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


class TouchingJob:
    """Writes a file per position and returns it; the first worker that begins a certain one is killed."""

    def __init__(self, folder, kills=None, *, always=False):
        self.folder, self.kills, self.always = Path(folder), kills, always

    def __call__(self, position):
        begun = self.folder / f"{position}.begun"
        first = not begun.exists()
        begun.touch()
        if position == self.kills and (first or self.always):
            os.kill(os.getpid(), signal.SIGKILL)
        with (self.folder / f"{position}.done").open("a") as file:
            file.write("done\n")
        return f"{position}"


class SlowToLoad:
    """Writes a file when a worker begins to load it, which takes a second."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def __setstate__(self, state):
        self.__dict__.update(state)
        (self.folder / f"{os.getpid()}.loading").touch()
        time.sleep(1)

    def __call__(self, item):
        return item


@dataclass
class HasOneThread:
    """Says whether torch has a single thread; torch is loaded with the job or, if that is late, by its work."""

    late: bool

    def __setstate__(self, state):
        self.__dict__.update(state)
        if not self.late:
            import torch  # noqa: F401

    def __call__(self, item):
        import torch

        return torch.get_num_threads() == 1 and -item

"""Timing, and saying how far the run is."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from torch import Tensor

from kronos.inference.engine import TokenSampler


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of the same thing, several times."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """What is reported."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """What the machine can do when nothing disturbs it."""
        return min(self.seconds)


def timed(call: Callable[[], object], repeats: int) -> Times:
    """Time a call, after one that isn't counted."""
    call()
    return Times(tuple(_once(call) for _ in range(repeats)))


def _once(call: Callable[[], object]) -> float:
    started = perf_counter()
    call()
    return perf_counter() - started


class Clocked:
    """A chooser that notes when each step was finished."""

    def __init__(self, choose: TokenSampler) -> None:
        self.choose = choose
        self.finished: list[float] = []

    def __call__(self, step: int, head: int, logits: Tensor) -> Tensor:
        """Choose as the chooser does."""
        chosen = self.choose(step, head, logits)
        if head == 1:
            self.finished.append(perf_counter())
        return chosen

    def steps(self) -> Times:
        """Of every step but the first, which also reads the history."""
        pairs = zip(self.finished, self.finished[1:], strict=False)
        return Times(tuple(later - earlier for earlier, later in pairs))


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)

"""Batches for a training, prepared in the background while the network computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import torch

from kronos.datasets.windows import Batch, WindowDataset, collate

Item = TypeVar("Item")
_AHEAD = 4  # batches that wait for the network


@contextmanager
def ahead(source: Callable[[], Iterable[Item]]) -> Iterator[Iterator[Item]]:
    """Run through an iterable in a thread of its own, a few items ahead, in its order.

    What the iterable raises is raised where its item would have been. The thread ends with the block.

    Args:
        source: Gives the iterable.
    """
    waiting: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(_AHEAD)
    ended = threading.Event()

    def put(item: Item | None, error: BaseException | None = None) -> None:
        while not ended.is_set():
            try:
                waiting.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for item in source():
                put(item)
                if ended.is_set():
                    return
        except BaseException as error:  # noqa: BLE001  (raised again where the item was wanted)
            put(None, error)
        else:
            put(None)

    def items() -> Generator[Item]:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item

    thread = threading.Thread(target=work, name="kronos-batches", daemon=True)
    thread.start()
    try:
        yield items()
    finally:
        ended.set()
        thread.join()


def moved(batch: Batch, device: torch.device) -> Batch:
    """A batch on a device, but for how many candles are known.

    How many rows the heads are computed at depends on that: read from a card, it would hold up the computation.
    """
    return batch if device.type == "cpu" else replace(batch.to(device), known=batch.known)


def chosen(dataset: WindowDataset, indices: Sequence[int], batch_size: int) -> Iterator[Batch]:
    """Batches of these samples, in this order; the last may be smaller."""
    for first in range(0, len(indices), batch_size):
        yield collate([dataset[index] for index in indices[first : first + batch_size]])

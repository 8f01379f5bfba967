"""Precision, compilation, threads, random numbers and prefetching of a training; no global state is left changed.

- bfloat16 is used for matrix products only, through autocast: weights, gradients, norms and losses stay in float32.
- `full_precision` is float32 inside it, for what must not be rounded: the tokenizer's codes (signs, some of which
  rounding would flip) and the logits of a validation.
- Random numbers depend on the seed and the step or sample, not on a generator's state, so a resume needs none.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from kronos.datasets.batching import Batch, collate
from kronos.datasets.windows import WindowDataset
from kronos.inference.devices import supports_bfloat16
from kronos.nn.layers import TransformerBlock
from kronos.rng import named_seed

# SplitMix64 (Steele, Lea & Flood 2014), as signed 64-bit numbers.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


@contextmanager
def preserve_rng(device: torch.device) -> Iterator[None]:
    """Restore the state of torch's generators after the block."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def keyed_uniforms(seed: int, rows: Tensor, positions: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) that depend only on seed, row and position.

    Args:
        seed: Any integer.
        rows: Numbers of the samples ``[B]`` int64.
        positions: Positions within a sample ``[P]`` int64.

    Returns:
        ``[B, P]`` float32, multiples of 2^-24.
    """
    keys = _splitmix(rows * _GOLDEN + named_seed("uniforms", seed))
    mixed = _splitmix(keys[:, None] + (positions + 1) * _GOLDEN)
    return (mixed >> 40 & 0xFFFFFF).float() * 2.0**-24


def _splitmix(x: Tensor) -> Tensor:
    """The mixing function of SplitMix64; int64 arithmetic wraps around, masks make its shifts logical."""
    x = (x ^ (x >> 30 & 2**34 - 1)) * _MULTIPLIERS[0]
    x = (x ^ (x >> 27 & 2**37 - 1)) * _MULTIPLIERS[1]
    return x ^ (x >> 31 & 2**33 - 1)


Item = TypeVar("Item")
_PREFETCHED = 4  # items that may wait in the queue


@contextmanager
def prefetch(source: Callable[[], Iterable[Item]]) -> Iterator[Iterator[Item]]:
    """Iterate in a background thread, a few items ahead, in order.

    An exception of the iterable is raised in place of its item. The thread ends with the block.

    Args:
        source: Returns the iterable; called in the thread.
    """
    waiting: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(_PREFETCHED)
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
        except BaseException as error:  # noqa: BLE001  (raised again in the consumer)
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


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch to a device, except ``known``.

    The number of rows for which the heads are computed depends on ``known``: reading it from a card would stall it.
    """
    return batch if device.type == "cpu" else replace(batch.to(device), known=batch.known)


def iterate_batches(dataset: WindowDataset, indices: Sequence[int], batch_size: int) -> Iterator[Batch]:
    """Yield batches of the given samples in order; the last one may be smaller."""
    for first in range(0, len(indices), batch_size):
        yield collate([dataset[index] for index in indices[first : first + batch_size]])


# Width from which bfloat16 is worth its conversions on a CPU. Measured on one core with AMX, speed of steps in bfloat16
# relative to float32: .7 at 128, 1.3 at 192, 1.25 to 1.55 at 256, 2 at 512.
_MIN_BFLOAT16_WIDTH = 192


def training_dtype(precision: Literal["float32", "bfloat16", "auto"], device: torch.device, width: int) -> torch.dtype:
    """Precision of matrix products for a network of the given width on the device."""
    if precision == "auto":
        wide_enough = device.type != "cpu" or width >= _MIN_BFLOAT16_WIDTH
        return torch.bfloat16 if wide_enough and supports_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Context in which matrix products are computed in ``dtype``."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def full_precision(device: torch.device) -> torch.autocast:
    """Context in which everything is computed in its own dtype, even inside `autocast`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=False)


@contextmanager
def limit_threads(count: int | None) -> Iterator[None]:
    """Use ``count`` CPU threads in the block and restore the setting afterwards; None changes nothing."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def compiled_blocks(network: nn.Module, *, enabled: bool) -> Iterator[None]:
    """Compile the transformer blocks one by one: they are alike, so the compiler runs once."""
    blocks = [module for module in network.modules() if isinstance(module, TransformerBlock)] if enabled else []
    for block in blocks:
        block.compile()
    try:
        yield
    finally:
        for block in blocks:
            block._compiled_call_impl = None

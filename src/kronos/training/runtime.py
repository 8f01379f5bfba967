"""In which precision to compute, compiled or not, with how many threads; nothing global is left behind.

- bfloat16 is for matrix products alone, through autocast: weights, their gradients, norms and losses stay in float32;
- `wide` is float32 within it, for what must not be rounded: a tokenizer that encodes (its codes are signs, of which
  rounding turns some) and the logits of a validation.
"""

from __future__ import annotations

import hashlib
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
from kronos.inference.devices import gains_from_bfloat16
from kronos.nn.layers import TransformerBlock

# Of SplitMix64 (Steele, Lea & Flood 2014), as signed 64-bit numbers.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


def named_seed(*names: object) -> int:
    """A seed in [0, 2^63) that depends on the names alone."""
    digest = hashlib.blake2b("|".join(map(str, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@contextmanager
def preserve_rng(device: torch.device) -> Iterator[None]:
    """Seed torch's generators at will within, and find them as they were afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def uniforms(seed: int, rows: Tensor, positions: Tensor) -> Tensor:
    """Numbers in [0, 1) that depend on nothing but their names.

    Args:
        seed: Any integer.
        rows: Numbers of samples ``[B]`` int64.
        positions: Within a sample ``[P]`` int64.

    Returns:
        ``[B, P]`` float32, multiples of 2^-24.
    """
    keys = _mix(rows * _GOLDEN + named_seed("uniforms", seed))
    mixed = _mix(keys[:, None] + (positions + 1) * _GOLDEN)
    return (mixed >> 40 & 0xFFFFFF).float() * 2.0**-24


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's scrambling; int64 arithmetic wraps around, and its shifts have to be made logical."""
    x = (x ^ (x >> 30 & 2**34 - 1)) * _MIX[0]
    x = (x ^ (x >> 27 & 2**37 - 1)) * _MIX[1]
    return x ^ (x >> 31 & 2**33 - 1)


Item = TypeVar("Item")
_AHEAD = 4  # batches that wait for the network


@contextmanager
def prefetch(source: Callable[[], Iterable[Item]]) -> Iterator[Iterator[Item]]:
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


def to_device(batch: Batch, device: torch.device) -> Batch:
    """A batch on a device, but for how many candles are known.

    How many rows the heads are computed at depends on that: read from a card, it would hold up the computation.
    """
    return batch if device.type == "cpu" else replace(batch.to(device), known=batch.known)


def chosen(dataset: WindowDataset, indices: Sequence[int], batch_size: int) -> Iterator[Batch]:
    """Batches of these samples, in this order; the last may be smaller."""
    for first in range(0, len(indices), batch_size):
        yield collate([dataset[index] for index in indices[first : first + batch_size]])


# The least width for which converting to bfloat16 and back costs a processor less than it gains. Seen on one core with
# AMX, steps in bfloat16 against float32: .7 times as fast at 128, 1.3 at 192, 1.25 to 1.55 at 256, 2 at 512.
_WORTHWHILE = 192


def training_dtype(precision: Literal["float32", "bfloat16", "auto"], device: torch.device, width: int) -> torch.dtype:
    """What matrix products of a network of that width are computed in on that device."""
    if precision == "auto":
        worthwhile = device.type != "cpu" or width >= _WORTHWHILE
        return torch.bfloat16 if worthwhile and gains_from_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def computing(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """A context in which matrix products are computed in a dtype."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def wide(device: torch.device) -> torch.autocast:
    """A context in which everything is computed in its own dtype, whatever is around it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=False)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with that many threads of the processor, and give the setting back; None leaves it as it is."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def compiled(network: nn.Module, *, wanted: bool) -> Iterator[None]:
    """Have a network's blocks compiled: one by one, since they are alike and compiled once then."""
    blocks = [one for one in network.modules() if isinstance(one, TransformerBlock)] if wanted else []
    for block in blocks:
        block.compile()
    try:
        yield
    finally:
        for block in blocks:
            block._compiled_call_impl = None

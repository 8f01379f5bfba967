"""From samples to batches of tensors, and which sample belongs to which step and process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kronos.errors import ParameterError


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One window, ready for the networks.

    Attributes:
        x: Candles normalised with statistics of the first ``known`` ones, and clipped. [L, 6] float32
        stamp: Minute, hour, weekday (Monday 0), day, month of their wall clock. [L, 5] int64
        known: Candles of the lookback part; those after it are to be predicted.
        step: One-step volatility, the standard deviation of the changes from close to close over the known candles, in
            units of ``x``; 0 where the close never moves.
        row: Number of the sample in a run, epoch × samples of an epoch + index: for random numbers by sample.
    """

    x: npt.NDArray[np.float32]
    stamp: npt.NDArray[np.int64]
    known: int
    step: float
    row: int


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples of one length.

    Attributes:
        x: [B, L, 6] float32
        stamp: [B, L, 5] int64
        known: [B] int64
        step: [B] float32
        row: [B] int64
    """

    x: Tensor
    stamp: Tensor
    known: Tensor
    step: Tensor
    row: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device."""
        return Batch(*(tensor.to(device) for tensor in (self.x, self.stamp, self.known, self.step, self.row)))

    def __getitem__(self, rows: slice) -> Batch:
        """Some of the samples: a micro-batch."""
        return Batch(self.x[rows], self.stamp[rows], self.known[rows], self.step[rows], self.row[rows])


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples; at least one, all of one length."""
    return Batch(
        x=torch.from_numpy(np.stack([one.x for one in samples])),
        stamp=torch.from_numpy(np.stack([one.stamp for one in samples])),
        known=torch.tensor([one.known for one in samples], dtype=torch.int64),
        step=torch.tensor([one.step for one in samples], dtype=torch.float32),
        row=torch.tensor([one.row for one in samples], dtype=torch.int64),
    )


class Samples(Protocol):
    """Anything that has samples by number; a `WindowDataset`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


def batches(
    dataset: Samples, batch_size: int, *, rank: int = 0, world: int = 1, start: int = 0, drop_last: bool = False
) -> Iterator[Batch]:
    """Go through a dataset in steps of one global batch, of which each process takes its contiguous share.

    Step s holds the samples [s · batch_size, (s + 1) · batch_size), however many processes there are.

    Args:
        dataset: What to go through; a training dataset's epoch is what `WindowDataset.set_epoch` said last.
        batch_size: Samples of a step, over all processes; a multiple of ``world``.
        rank: Number of this process, from 0.
        world: How many processes there are.
        start: The step to begin with.
        drop_last: Leave out a last step that is not full; else it is shared out as evenly as can be, and processes that
            get nothing of it end a step earlier.

    Raises:
        ParameterError: If a number is out of its range.
    """
    if batch_size < 1 or batch_size % world:
        raise ParameterError(f"The batch size is a multiple of {world} processes, not {batch_size}.")
    if not 0 <= rank < world:
        raise ParameterError(f"There are {world} processes, numbered from 0; there is no number {rank}.")
    if start < 0:
        raise ParameterError(f"Steps are numbered from 0; there is no step {start}.")
    return _batches(dataset, batch_size, rank, world, range(start * batch_size, len(dataset), batch_size), drop_last)


def _batches(
    dataset: Samples, batch_size: int, rank: int, world: int, begins: range, drop_last: bool
) -> Iterator[Batch]:
    for begin in begins:
        count = min(batch_size, len(dataset) - begin)
        if drop_last and count < batch_size:
            return
        first, stop = (begin + count * number // world for number in (rank, rank + 1))
        if first < stop:
            yield collate([dataset[index] for index in range(first, stop)])

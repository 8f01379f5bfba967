"""Batches of samples, and which samples belong to which step and process."""

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
    """One training window.

    Attributes:
        x: Candles, normalised by statistics of the first ``known`` ones and clipped. [L, 6] float32
        stamp: Calendar features: minute, hour, weekday (Monday 0), day, month. [L, 5] int64
        known: Candles of history; the later ones are to be predicted.
        step: Volatility of one step in units of ``x``: standard deviation of the changes from close to close in the
            history; 0 if the close never changes.
        row: Number of the sample in the run, epoch × samples per epoch + index; keys its random numbers.
    """

    x: npt.NDArray[np.float32]
    stamp: npt.NDArray[np.int64]
    known: int
    step: float
    row: int


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples of one length; the attributes are those of `Sample`.

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
        """A copy on a device."""
        return Batch(*(tensor.to(device) for tensor in (self.x, self.stamp, self.known, self.step, self.row)))

    def __getitem__(self, rows: slice) -> Batch:
        """A slice of the samples: a micro-batch."""
        return Batch(self.x[rows], self.stamp[rows], self.known[rows], self.step[rows], self.row[rows])


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack one or more samples of one length."""
    return Batch(
        x=torch.from_numpy(np.stack([sample.x for sample in samples])),
        stamp=torch.from_numpy(np.stack([sample.stamp for sample in samples])),
        known=torch.tensor([sample.known for sample in samples], dtype=torch.int64),
        step=torch.tensor([sample.step for sample in samples], dtype=torch.float32),
        row=torch.tensor([sample.row for sample in samples], dtype=torch.int64),
    )


class Samples(Protocol):
    """A sequence of samples, such as a `WindowDataset`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


def batches(
    dataset: Samples, batch_size: int, *, rank: int = 0, world: int = 1, start: int = 0, drop_last: bool = False
) -> Iterator[Batch]:
    """Iterate over a dataset in global batches, of which each process gets its contiguous share.

    Step s has the samples [s · batch_size, (s + 1) · batch_size), whatever the number of processes.

    Args:
        dataset: The samples; for training, call `WindowDataset.set_epoch` before.
        batch_size: Samples per step over all processes; a multiple of ``world``.
        rank: Number of this process, from 0.
        world: Number of processes.
        start: First step.
        drop_last: Drop an incomplete last step; otherwise it is shared as evenly as possible, and processes without
            samples end one step earlier.

    Raises:
        ParameterError: If a number is out of range.
    """
    if batch_size < 1 or batch_size % world:
        raise ParameterError(f"Invalid batch_size {batch_size}: choose a multiple of {world}, the number of processes.")
    if not 0 <= rank < world:
        raise ParameterError(f"Invalid rank {rank}: choose 0–{world - 1}.")
    if start < 0:
        raise ParameterError(f"Invalid start {start}: choose 0 or more.")
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

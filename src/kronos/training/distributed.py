"""Data-parallel training in several processes (DDP without a wrapper module).

- ``torchrun`` starts the processes and describes each in its environment; without it there is a single process.
- Every process holds all weights and computes an equal part of each batch. Gradients are averaged once per step,
  however many micro-batches it has, so the weights stay identical; the number of processes changes them by rounding
  only.
- Only the first process writes files.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from kronos.errors import DeviceError, ParameterError
from kronos.inference.devices import pick_device
from kronos.training.torchrun import env_int, rank, world_size

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store


_BUCKET = 2**25  # gradient values sent at once: 128 MB
_group_numbers = itertools.count()  # of the process groups of this process; all processes count alike


@dataclass(frozen=True)
class Process:
    """One of the processes that train together.

    Attributes:
        rank: Number of the process, from 0.
        world_size: Number of processes.
        device: Device of this process.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def per_process(self, count: int, name: str) -> int:
        """Samples per process of ``count`` samples.

        Args:
            count: Number of samples.
            name: Description for the error message, such as ``A micro-batch``.

        Raises:
            ParameterError: If the samples do not divide equally.
        """
        if count % self.world_size:
            raise ParameterError(
                f"{name} of {count} does not divide among {self.world_size} processes: choose a multiple of their "
                "number."
            )
        return count // self.world_size

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            dist.barrier()

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum the tensors of all processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def broadcast(self, values: Tensor) -> Tensor:
        """Copy the first process's tensor to all, in place."""
        if self.world_size > 1:
            dist.broadcast(values, 0)
        return values

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its mean over the processes; all must have the same parameters."""
        if self.world_size == 1:
            return
        bucket: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is None:
                continue
            if bucket and sum(grad.numel() for grad in bucket) + parameter.grad.numel() > _BUCKET:
                self._average(bucket)
                bucket = []
            bucket.append(parameter.grad)
        if bucket:
            self._average(bucket)

    def _average(self, bucket: list[Tensor]) -> None:
        flat = torch.cat([grad.flatten() for grad in bucket])
        dist.all_reduce(flat)
        flat /= self.world_size
        parts = torch.split(flat, [grad.numel() for grad in bucket])
        for grad, mean in zip(bucket, parts, strict=True):
            grad.copy_(mean.view_as(grad))


def average_over_processes(values: Tensor) -> Tensor:
    """Average a tensor over all processes, differentiably.

    The gradient of the mean is passed unchanged to this process's values, because the gradients of the weights are
    averaged over the processes afterwards.
    """
    if not _is_initialized():
        return values
    mean = values.detach().clone()
    dist.all_reduce(mean)
    return values + (mean / dist.get_world_size() - values).detach()


@contextmanager
def process(device: str | None = None) -> Iterator[Process]:
    """Join the processes started by ``torchrun``, or run alone. Contexts may be nested.

    Args:
        device: Device; None for the best one available, and one card per process if there are several.

    Raises:
        DeviceError: If the device is not available, or the other processes cannot be reached.
        ParameterError: If the environment was not set by ``torchrun``.
    """
    if _is_initialized():
        yield Process(dist.get_rank(), dist.get_world_size(), _select_device(device))
        return
    if world_size() == 1:
        yield Process(0, 1, _select_device(device))
        return
    with _process_group(rank(), world_size(), _select_device(device)) as member:
        yield member


@contextmanager
def _process_group(rank: int, world_size: int, device: torch.device) -> Iterator[Process]:
    from torch.distributed.distributed_c10d import PrefixStore  # not in every build of torch

    try:
        # A prefix per group: a second group would otherwise find the addresses of the first.
        store = PrefixStore(f"kronos-{next(_group_numbers)}", _rendezvous_store(rank, world_size))
        # The card is passed explicitly so that a barrier does not guess it.
        card = device if device.type == "cuda" else None
        dist.init_process_group(
            "nccl" if card else "gloo", store=store, rank=rank, world_size=world_size, device_id=card
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(
            f"Process {rank} cannot reach the other {world_size - 1} ({reason}): start them all with torchrun."
        ) from error
    try:
        yield Process(rank, world_size, device)
        _leave_together(store, rank, world_size)
    finally:
        dist.destroy_process_group()


@functools.cache
def _rendezvous_store(rank: int, world_size: int) -> Store:
    """Key-value store of all processes; cached because its server may run in the first process."""
    from torch.distributed.rendezvous import rendezvous

    store: Store = next(rendezvous("env://", rank, world_size))[0]
    return store


def _leave_together(store: Store, rank: int, world_size: int) -> None:
    """Wait until no process needs the connections: closing one early is an error at its other end.

    The first process may host the store, so it leaves last.
    """
    store.set(f"done/{rank}", "1")
    store.wait([f"done/{other}" for other in range(world_size)])
    store.set(f"gone/{rank}", "1")
    if rank == 0:
        store.wait([f"gone/{other}" for other in range(world_size)])


def _is_initialized() -> bool:
    return dist.is_available() and dist.is_initialized()


def _select_device(name: str | None) -> torch.device:
    """The named device; ``cuda`` without a number is the card of this process."""
    device = pick_device(name)
    if device == torch.device("cuda"):
        device = pick_device(f"cuda:{env_int('LOCAL_RANK', 0)}")
        torch.cuda.set_device(device)
    return device

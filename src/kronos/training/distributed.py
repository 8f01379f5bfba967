"""Several processes that train one network: who this is, and what they tell each other.

- ``torchrun`` starts them and says by the environment who each is; without it there is one, and nothing to install;
- every process holds all weights. A step's batch is shared out in equal parts, gradients are averaged once a step,
  whatever the number of micro-batches; so the weights stay the same everywhere, and the number of processes changes
  them by rounding only;
- only the first process writes.
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


_BUCKET = 2**25  # numbers that are sent at once: 128 MB
_meetings = itertools.count()  # of this process with the others, who count alike


@dataclass(frozen=True)
class Process:
    """One of the processes that train together.

    Attributes:
        rank: Its number.
        world: How many there are.
        device: Where it computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and reports."""
        return self.rank == 0

    def share(self, number: int, what: str) -> int:
        """This process's part of so many samples.

        Raises:
            ParameterError: If they cannot be shared out equally.
        """
        if number % self.world:
            raise ParameterError(
                f"{what} of {number} cannot be shared by {self.world} processes; make it a multiple of their number."
            )
        return number // self.world

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            dist.barrier()

    def add_up(self, values: Tensor) -> Tensor:
        """The sum of all processes' tensors of that shape, in place."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def from_first(self, values: Tensor) -> Tensor:
        """The first process's tensor of that shape, in place."""
        if self.world > 1:
            dist.broadcast(values, 0)
        return values

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its mean over the processes; all have the same ones."""
        if self.world == 1:
            return
        bucket: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is None:
                continue
            if bucket and sum(one.numel() for one in bucket) + parameter.grad.numel() > _BUCKET:
                self._average(bucket)
                bucket = []
            bucket.append(parameter.grad)
        if bucket:
            self._average(bucket)

    def _average(self, bucket: list[Tensor]) -> None:
        flat = torch.cat([one.flatten() for one in bucket])
        dist.all_reduce(flat)
        flat /= self.world
        parts = torch.split(flat, [one.numel() for one in bucket])
        for one, mean in zip(bucket, parts, strict=True):
            one.copy_(mean.view_as(one))


def average_over_processes(values: Tensor) -> Tensor:
    """The mean over all processes of a tensor each has, differentiably.

    The gradient of the mean is passed on to this process's part as it is: averaging the gradients of the weights over
    the processes afterwards is what makes it right.
    """
    if not _together():
        return values
    mean = values.detach().clone()
    dist.all_reduce(mean)
    return values + (mean / dist.get_world_size() - values).detach()


@contextmanager
def process(device: str | None = None) -> Iterator[Process]:
    """Join the processes that ``torchrun`` started; alone otherwise. It may be entered again within itself.

    Args:
        device: Where to compute; None for the best there is, and of several cards each process its own.

    Raises:
        DeviceError: If the device is absent, or the others cannot be reached.
        ParameterError: If the environment is not what ``torchrun`` sets.
    """
    if _together():
        yield Process(dist.get_rank(), dist.get_world_size(), _device(device))
        return
    if world_size() == 1:
        yield Process(0, 1, _device(device))
        return
    with _joined(rank(), world_size(), _device(device)) as ours:
        yield ours


@contextmanager
def _joined(rank: int, world: int, device: torch.device) -> Iterator[Process]:
    """Meet the other processes, and part from them."""
    from torch.distributed.distributed_c10d import PrefixStore  # not in every build of torch

    try:
        # Under a name of its own: who meets twice would find the addresses of the first time.
        store = PrefixStore(f"kronos-{next(_meetings)}", _store(rank, world))
        # The card is named, so that a barrier does not guess it.
        card = device if device.type == "cuda" else None
        dist.init_process_group("nccl" if card else "gloo", store=store, rank=rank, world_size=world, device_id=card)
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(
            f"Process {rank} cannot reach the other {world - 1} ({reason}); start them all with torchrun."
        ) from error
    try:
        yield Process(rank, world, device)
        _part(store, rank, world)
    finally:
        dist.destroy_process_group()


@functools.cache
def _store(rank: int, world: int) -> Store:
    """Where processes find each other: kept, because its server may be in the first process."""
    from torch.distributed.rendezvous import rendezvous

    store: Store = next(rendezvous("env://", rank, world))[0]
    return store


def _part(store: Store, rank: int, world: int) -> None:
    """Wait until nobody needs the connections any more: one that is closed early is an error at its other end.

    The first process may keep the store, so it leaves last.
    """
    everyone = range(world)
    store.set(f"done/{rank}", "1")
    store.wait([f"done/{one}" for one in everyone])
    store.set(f"gone/{rank}", "1")
    if rank == 0:
        store.wait([f"gone/{one}" for one in everyone])


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


def _device(name: str | None) -> torch.device:
    """The device of that name; a card without a number is this process's own."""
    device = pick_device(name)
    if device == torch.device("cuda"):
        device = pick_device(f"cuda:{env_int('LOCAL_RANK', 0)}")
        torch.cuda.set_device(device)
    return device

"""Validation on the same samples each time, in evaluation mode; the mean does not depend on the number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from kronos.datasets.batching import Batch
from kronos.datasets.windows import WindowDataset
from kronos.errors import DataError, ParameterError
from kronos.training.distributed import Process
from kronos.training.objectives import Losses, Objective
from kronos.training.runtime import autocast, iterate_batches, prefetch, to_device


class RunningMean:
    """Running means of named scalars.

    Args:
        state: A `state` to continue from; None to start empty.
    """

    def __init__(self, state: Mapping[str, float] | None = None) -> None:
        sums = dict(state or {})
        self.count = int(sums.pop("steps", 0))
        self._names = tuple(sums)
        self._sums: Tensor | None = torch.tensor(list(sums.values()), dtype=torch.float64) if sums else None

    def add(self, names: tuple[str, ...], values: Tensor) -> None:
        """Add one value per name, ``[n]``."""
        if self._sums is None:
            # Not all devices have float64.
            dtype = torch.float32 if values.device.type == "mps" else torch.float64
            self._names, self._sums = names, torch.zeros(len(names), dtype=dtype, device=values.device)
        if names != self._names:
            raise ParameterError(
                f"The objective returned the parts {', '.join(names)} instead of {', '.join(self._names)}: return the "
                "same parts at every step."
            )
        self._sums = self._sums.to(values.device)
        self._sums += values
        self.count += 1

    def means(self) -> dict[str, float]:
        """Mean by name."""
        return {name: total / self.count for name, total in zip(self._names, self._values(), strict=True)}

    def state(self) -> dict[str, float]:
        """Exact state to continue from: sums by name, and their number as ``steps``."""
        return {"steps": float(self.count), **dict(zip(self._names, self._values(), strict=True))}

    def _values(self) -> list[float]:
        return [] if self._sums is None else self._sums.tolist()


def select_samples(dataset: WindowDataset, limit: int) -> list[int]:
    """Select the samples to validate on: all, or ``limit`` evenly spaced ones.

    Raises:
        DataError: If there is none: a loss over no samples would be 0 and always the best.
    """
    count = len(dataset)
    if not count:
        raise DataError("The validation part has no sample: add candles to it, or use shorter windows.")
    return [int(index) for index in np.linspace(0, count - 1, min(count, limit)).round()]


@torch.no_grad()
def validate(
    objective: Objective,
    dataset: WindowDataset,
    samples: Sequence[int],
    *,
    batch_size: int,
    process: Process,
    dtype: torch.dtype,
) -> dict[str, float]:
    """Measure a network on samples that it is not trained on.

    Args:
        objective: Objective whose network is in evaluation mode.
        dataset: Validation dataset.
        samples: Indices of the samples.
        batch_size: Samples per batch, over all processes.
        process: This process; all processes have to call.
        dtype: Precision of matrix products.

    Returns:
        Means over the samples: ``loss``, which selects the best weights, and its parts. For each kind of code, the
        share of the codebook in use (``codes_used_s1``) and its perplexity (``perplexity_s1``).
    """
    own = samples[process.rank :: process.world_size] or samples[:1]
    weight = 1.0 if process.rank < len(samples) else 0.0  # a process without samples takes part with weight 0
    sums: Tensor | None = None
    names: tuple[str, ...] = ()
    counts: dict[str, Tensor] = {}
    local_batch_size = max(1, batch_size // process.world_size)

    def local_batches() -> Iterator[Batch]:
        return (to_device(batch, process.device) for batch in iterate_batches(dataset, own, local_batch_size))

    with prefetch(local_batches) as batches:
        for batch in batches:
            with autocast(process.device, dtype):
                losses = objective.losses(batch, training=False)
            names = ("loss", *losses.parts)
            weighted = weight * len(batch.x) * _stack(losses)
            sums = weighted if sums is None else sums + weighted
            for name, used in losses.counts.items():
                counts[name] = counts.get(name, torch.zeros_like(used)) + int(weight) * used
    assert sums is not None  # there is at least one sample
    means = process.all_reduce(sums) / len(samples)
    figures = dict(zip(names, means.tolist(), strict=True))
    for name, used in counts.items():
        figures |= codebook_perplexity(name, process.all_reduce(used))
    return figures


def first_samples(dataset: WindowDataset, samples: Sequence[int], limit: int, device: torch.device) -> Batch:
    """The first few of the samples as one batch on the device."""
    return to_device(next(iterate_batches(dataset, samples[:limit], limit)), device)


def _stack(losses: Losses) -> Tensor:
    values = torch.stack([losses.total, *losses.parts.values()])
    return values.float() if values.device.type == "mps" else values.double()


def codebook_perplexity(name: str, counts: Tensor) -> dict[str, float]:
    """Share of codes in use and perplexity, from how often each code was used."""
    uses = counts.cpu().double()
    shares = uses / uses.sum()
    entropy = -(shares * shares.clamp(min=1e-300).log()).sum()
    return {f"codes_used_{name}": float((uses > 0).double().mean()), f"perplexity_{name}": float(entropy.exp())}

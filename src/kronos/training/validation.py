"""A validation: the same samples each time, in evaluation mode, a mean over all of them however they are shared out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from kronos.datasets.batching import Batch
from kronos.datasets.windows import WindowDataset
from kronos.errors import DataError, ParameterError
from kronos.training.distributed import Process
from kronos.training.objectives import Losses, Objective
from kronos.training.runtime import chosen, computing, prefetch, to_device


class RunningMean:
    """Sums of named scalars, and how many of each.

    Args:
        state: What `state` gave, to go on from; None to begin.
    """

    def __init__(self, state: Mapping[str, float] | None = None) -> None:
        told = dict(state or {})
        self.number = int(told.pop("steps", 0))
        self._names = tuple(told)
        self._sums: Tensor | None = torch.tensor(list(told.values()), dtype=torch.float64) if told else None

    def add(self, names: tuple[str, ...], values: Tensor) -> None:
        """Take in a figure for each name, ``[n]``."""
        if self._sums is None:
            # Not all devices have float64.
            kind = torch.float32 if values.device.type == "mps" else torch.float64
            self._names, self._sums = names, torch.zeros(len(names), dtype=kind, device=values.device)
        if names != self._names:
            raise ParameterError(f"An objective has to name the same parts at every step, not {', '.join(names)}.")
        self._sums = self._sums.to(values.device)
        self._sums += values
        self.number += 1

    def means(self) -> dict[str, float]:
        """The mean of each."""
        return {name: one / self.number for name, one in zip(self._names, self._values(), strict=True)}

    def state(self) -> dict[str, float]:
        """What another can go on from, to the bit: sums by name, and how many ``steps``."""
        return {"steps": float(self.number), **dict(zip(self._names, self._values(), strict=True))}

    def _values(self) -> list[float]:
        return [] if self._sums is None else self._sums.tolist()


def samples_of(dataset: WindowDataset, most: int) -> list[int]:
    """Which samples a validation takes: all, or ``most`` of them, evenly.

    Raises:
        DataError: If there are none: a loss of nothing would look like the best.
    """
    number = len(dataset)
    if not number:
        raise DataError("The validation part has no sample; give it more candles, or ask for shorter windows.")
    return [int(one) for one in np.linspace(0, number - 1, min(number, most)).round()]


@torch.no_grad()
def validate(
    objective: Objective,
    dataset: WindowDataset,
    samples: Sequence[int],
    *,
    batch_size: int,
    ours: Process,
    dtype: torch.dtype,
) -> dict[str, float]:
    """Measure a network on samples that it isn't trained on.

    Args:
        objective: Whose network is measured; it is in evaluation mode.
        dataset: Where the samples are.
        samples: Which of them.
        batch_size: Samples at once, over all processes.
        ours: Which process this is; all have to call.
        dtype: What matrix products are computed in.

    Returns:
        Means over the samples: ``loss``, which selects the best weights, and its parts; of codes which share of the
        codebook was used (``codes_used_s1``), and as how many evenly used ones they count (``perplexity_s1``).
    """
    own = samples[ours.rank :: ours.world] or samples[:1]
    weight = 1.0 if ours.rank < len(samples) else 0.0  # a process without samples takes part with none
    sums: Tensor | None = None
    names: tuple[str, ...] = ()
    counts: dict[str, Tensor] = {}
    share = max(1, batch_size // ours.world)
    with prefetch(lambda: (to_device(one, ours.device) for one in chosen(dataset, own, share))) as batches:
        for batch in batches:
            with computing(ours.device, dtype):
                losses = objective.losses(batch, training=False)
            names = ("loss", *losses.parts)
            told = weight * len(batch.x) * _figures(losses)
            sums = told if sums is None else sums + told
            for name, one in losses.counts.items():
                counts[name] = counts.get(name, torch.zeros_like(one)) + int(weight) * one
    assert sums is not None  # there is a sample
    means = ours.add_up(sums) / len(samples)
    found = dict(zip(names, means.tolist(), strict=True))
    for name, one in counts.items():
        found |= _use(name, ours.add_up(one))
    return found


def first_samples(dataset: WindowDataset, samples: Sequence[int], most: int, device: torch.device) -> Batch:
    """A few samples as one batch, on the device."""
    return to_device(next(chosen(dataset, samples[:most], most)), device)


def _figures(losses: Losses) -> Tensor:
    values = torch.stack([losses.total, *losses.parts.values()])
    return values.float() if values.device.type == "mps" else values.double()


def _use(name: str, counts: Tensor) -> dict[str, float]:
    """How a codebook was used, from how often each code was."""
    found = counts.cpu().double()
    shares = found / found.sum()
    entropy = -(shares * shares.clamp(min=1e-300).log()).sum()
    return {f"codes_used_{name}": float((found > 0).double().mean()), f"perplexity_{name}": float(entropy.exp())}

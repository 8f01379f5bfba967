"""A validation: the same samples each time, in evaluation mode, a mean over all of them however they are shared out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kronos.datasets.windows import Batch, WindowDataset
from kronos.errors import DataError
from kronos.training.distributed import Process
from kronos.training.feeding import ahead, chosen, moved
from kronos.training.objectives import Losses, Objective
from kronos.training.precision import computing


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
    with ahead(lambda: (moved(one, ours.device) for one in chosen(dataset, own, share))) as batches:
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
    return moved(next(chosen(dataset, samples[:most], most)), device)


def _figures(losses: Losses) -> Tensor:
    values = torch.stack([losses.total, *losses.parts.values()])
    return values.float() if values.device.type == "mps" else values.double()


def _use(name: str, counts: Tensor) -> dict[str, float]:
    """How a codebook was used, from how often each code was."""
    found = counts.cpu().double()
    shares = found / found.sum()
    entropy = -(shares * shares.clamp(min=1e-300).log()).sum()
    return {f"codes_used_{name}": float((found > 0).double().mean()), f"perplexity_{name}": float(entropy.exp())}

"""What a training is: hashes of where it starts and of what it is shown, so that it goes on with nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from torch import nn

from kronos.datasets.windows import WindowDataset, collate
from kronos.training.settings import StageSettings

if TYPE_CHECKING:
    from kronos.training.objectives import Objective

_SHOWN = 16  # hexadecimal digits of a hash


def identity(
    objective: Objective, train: WindowDataset, validation: WindowDataset, settings: StageSettings
) -> dict[str, Any]:
    """What decides on the weights that a training ends with, fit for JSON.

    Args:
        objective: With the network before its first step.
        train: What it is trained on.
        validation: What its weights are selected on.
        settings: How it is trained.
    """
    network = objective.network
    return {
        "settings": settings.binding(),
        "objective": objective.describe(),
        "network": {"kind": network.kind, "start": weights_digest(network)},
        "data": {
            "steps_per_epoch": settings.steps(train.available),
            # A few samples do not tell how others are drawn and varied.
            "windows": asdict(train.settings),
            "validation_windows": asdict(validation.settings),
            "training": data_digest(train),
            "validation": data_digest(validation),
        },
    }


def weights_digest(network: nn.Module) -> str:
    """A hash of all parameters: names, shapes and float32 values."""
    digest = hashlib.sha256()
    for name, parameter in network.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)}\n".encode())
        digest.update(parameter.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:_SHOWN]


def data_digest(dataset: WindowDataset) -> str:
    """A hash of the candles, of how many samples are drawn of them and by which seed, and of a few of these samples."""
    number = len(dataset)
    dataset.set_epoch(0)
    batch = collate([dataset[index] for index in sorted({0, number // 3, 2 * number // 3, number - 1})])
    digest = hashlib.sha256(f"{dataset.data.digest} {number} {dataset.available} {dataset.seed}".encode())
    for one in (batch.x, batch.stamp, batch.known, batch.step):
        digest.update(one.contiguous().numpy().data)
    return digest.hexdigest()[:_SHOWN]

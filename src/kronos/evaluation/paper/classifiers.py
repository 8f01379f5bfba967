"""The two small networks that judge sequences, and how they learn: sizes, epochs and rates are the paper's.

Training is seeded and leaves torch's own generator as it was. It runs on the processor: the networks are tiny, and
numbers then depend on no other hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kronos.typing import BoolArray, FloatArray

Tell = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Training:
    """How a network learns.

    Attributes:
        rate: Adam's learning rate.
        epochs: Passes over the sequences.
        batch: Sequences of a step.
    """

    rate: float
    epochs: int = 20
    batch: int = 64


CLASSIFIER = Training(rate=5e-4)
FORECASTER = Training(rate=1e-3)


class Classifier(nn.Module):
    """One LSTM layer of 32 units that tells generated sequences from real ones."""

    def __init__(self, channels: int, units: int = 32) -> None:
        """Make one for sequences of so many channels."""
        super().__init__()
        self.lstm = nn.LSTM(channels, units, batch_first=True)
        self.head = nn.Linear(units, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B]`` that sequences ``[B, T, C]`` are generated."""
        states, _ = self.lstm(x)
        logits: Tensor = self.head(states[:, -1]).squeeze(-1)
        return logits


class SequenceForecaster(nn.Module):
    """Two LSTM layers of 64 units that continue sequences."""

    def __init__(self, channels: int, horizon: int, outputs: int, units: int = 64) -> None:
        """Make one that reads so many channels and tells ``outputs`` of them for ``horizon`` steps."""
        super().__init__()
        self.lstm = nn.LSTM(channels, units, num_layers=2, batch_first=True)
        self.head = nn.Linear(units, horizon * outputs)
        self.shape = (horizon, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """What follows sequences ``[B, T, C]``: ``[B, H, outputs]``."""
        states, _ = self.lstm(x)
        told: Tensor = self.head(states[:, -1]).reshape(-1, *self.shape)
        return told


def classify(
    learn: tuple[FloatArray, FloatArray], test: tuple[FloatArray, FloatArray], seed: int, tell: Tell
) -> tuple[BoolArray, BoolArray]:
    """Learn to tell generated sequences from real ones, then try.

    Args:
        learn: Real and generated sequences to learn from, ``[n, T, C]`` each.
        test: Real and generated ones to be tested on.
        seed: Of the first weights and of the order.
        tell: Told after every epoch; all add up to the number of sequences.

    Returns:
        Which of the real and of the generated ones it took for the other kind.
    """
    x = torch.as_tensor(np.concatenate(learn), dtype=torch.float32)
    y = torch.cat([torch.zeros(len(learn[0])), torch.ones(len(learn[1]))])
    with _seeded(seed):
        network = Classifier(x.shape[-1])
        _train(network, x, y, nn.functional.binary_cross_entropy_with_logits, CLASSIFIER, tell)
    taken, told = (_apply(network, part) > 0 for part in test)
    return taken, ~told


def continuation(learn: FloatArray, test: FloatArray, horizon: int, outputs: int, seed: int, tell: Tell) -> FloatArray:
    """Learn from whole sequences how they go on, then continue others.

    Args:
        learn: ``[n, L + H, C]``.
        test: ``[m, L, C]``.
        horizon: H.
        outputs: How many channels, the first ones, to tell.
        seed: Of the first weights and of the order.
        tell: Told after every epoch; all add up to the number of sequences.

    Returns:
        What it says of the test, ``[m, H, outputs]``.
    """
    whole = torch.as_tensor(learn, dtype=torch.float32)
    x, y = whole[:, :-horizon], whole[:, -horizon:, :outputs]
    with _seeded(seed):
        network = SequenceForecaster(x.shape[-1], horizon, outputs)
        _train(network, x, y, nn.functional.mse_loss, FORECASTER, tell)
    return _apply(network, test)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """A block in which torch's generator starts from a seed, and after which it is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _train(
    network: nn.Module, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor], how: Training, tell: Tell
) -> None:
    optimiser = torch.optim.Adam(network.parameters(), lr=how.rate)
    network.train()
    for epoch in range(how.epochs):
        for rows in torch.split(torch.randperm(len(x)), how.batch):
            optimiser.zero_grad()
            loss(network(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        tell(len(x) * (epoch + 1) // how.epochs - len(x) * epoch // how.epochs)


@torch.inference_mode()
def _apply(network: nn.Module, x: FloatArray) -> FloatArray:
    network.eval()
    parts = torch.split(torch.as_tensor(x, dtype=torch.float32), 1024)
    told: FloatArray = torch.cat([network(part) for part in parts]).double().numpy()
    return told

"""The two small LSTMs of the synthetic task and their training, with the paper's sizes, epochs and learning rates.

Training is seeded and restores the state of torch's global generator. It runs on the CPU: the networks are tiny, and
results then do not depend on other hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kronos.typing import BoolArray, FloatArray

EpochCallback = Callable[[int], None]
"""Called after every epoch with a number of sequences; the calls of one training add up to all of them."""


@dataclass(frozen=True, slots=True)
class NetworkTraining:
    """Hyperparameters of a training.

    Attributes:
        learning_rate: Learning rate of Adam.
        epochs: Passes over the sequences.
        batch: Sequences per step.
    """

    learning_rate: float
    epochs: int = 20
    batch: int = 64


CLASSIFIER = NetworkTraining(learning_rate=5e-4)
FORECASTER = NetworkTraining(learning_rate=1e-3)


class Classifier(nn.Module):
    """One LSTM layer of 32 units that classifies sequences as generated or real."""

    def __init__(self, channels: int, units: int = 32) -> None:
        """Build the network for sequences of ``channels`` channels."""
        super().__init__()
        self.lstm = nn.LSTM(channels, units, batch_first=True)
        self.head = nn.Linear(units, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``[B]`` that sequences ``[B, T, C]`` are generated."""
        states, _ = self.lstm(x)
        logits: Tensor = self.head(states[:, -1]).squeeze(-1)
        return logits


class SequenceForecaster(nn.Module):
    """Two LSTM layers of 64 units that continue sequences."""

    def __init__(self, channels: int, horizon: int, outputs: int, units: int = 64) -> None:
        """Build the network for ``channels`` input channels, which forecasts ``outputs`` of them."""
        super().__init__()
        self.lstm = nn.LSTM(channels, units, num_layers=2, batch_first=True)
        self.head = nn.Linear(units, horizon * outputs)
        self.shape = (horizon, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the continuation ``[B, H, outputs]`` of sequences ``[B, T, C]``."""
        states, _ = self.lstm(x)
        continued: Tensor = self.head(states[:, -1]).reshape(-1, *self.shape)
        return continued


def classify(
    training: tuple[FloatArray, FloatArray], test: tuple[FloatArray, FloatArray], seed: int, on_epoch: EpochCallback
) -> tuple[BoolArray, BoolArray]:
    """Train the classifier and apply it to other sequences.

    Args:
        training: Real and generated sequences to train on, ``[n, T, C]`` each.
        test: Real and generated sequences to classify.
        seed: Random seed of initial weights and batches.
        on_epoch: Progress callback.

    Returns:
        Which of the real and which of the generated test sequences were misclassified.
    """
    x = torch.as_tensor(np.concatenate(training), dtype=torch.float32)
    y = torch.cat([torch.zeros(len(training[0])), torch.ones(len(training[1]))])
    with _seeded(seed):
        network = Classifier(x.shape[-1])
        _train(network, x, y, nn.functional.binary_cross_entropy_with_logits, CLASSIFIER, on_epoch)
    real, generated = (_apply(network, part) > 0 for part in test)
    return real, ~generated


def continuation(
    training: FloatArray, test: FloatArray, horizon: int, outputs: int, seed: int, on_epoch: EpochCallback
) -> FloatArray:
    """Train the forecaster on whole sequences and continue others.

    Args:
        training: Sequences to train on, ``[n, L + H, C]``.
        test: Sequences to continue, ``[m, L, C]``.
        horizon: H.
        outputs: Number of channels to forecast, the first ones.
        seed: Random seed of initial weights and batches.
        on_epoch: Progress callback.

    Returns:
        The continuations ``[m, H, outputs]``.
    """
    whole = torch.as_tensor(training, dtype=torch.float32)
    x, y = whole[:, :-horizon], whole[:, -horizon:, :outputs]
    with _seeded(seed):
        network = SequenceForecaster(x.shape[-1], horizon, outputs)
        _train(network, x, y, nn.functional.mse_loss, FORECASTER, on_epoch)
    return _apply(network, test)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator for the block, and restore its state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _train(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    settings: NetworkTraining,
    on_epoch: EpochCallback,
) -> None:
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    network.train()
    for epoch in range(settings.epochs):
        for rows in torch.split(torch.randperm(len(x)), settings.batch):
            optimiser.zero_grad()
            loss(network(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        on_epoch(len(x) * (epoch + 1) // settings.epochs - len(x) * epoch // settings.epochs)


@torch.inference_mode()
def _apply(network: nn.Module, x: FloatArray) -> FloatArray:
    network.eval()
    parts = torch.split(torch.as_tensor(x, dtype=torch.float32), 1024)
    outputs: FloatArray = torch.cat([network(part) for part in parts]).double().numpy()
    return outputs

"""Averaged weights: a moving mean over the steps, steadier than the weights of any one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class AveragedWeights:
    """An exponential moving average of parameters.

    Args:
        parameters: By name.
        decay: How much of the average stays at each step; less during the first ones, so that the start is forgotten.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters = parameters
        self._decay = decay
        self.values: dict[str, Tensor] = {name: one.detach().clone() for name, one in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after a step; the first is 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), list(self._parameters.values()), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the parameters are the averages."""
        before = {name: one.detach().clone() for name, one in self._parameters.items()}
        self._fill(self.values)
        try:
            yield
        finally:
            self._fill(before)

    @torch.no_grad()
    def _fill(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])

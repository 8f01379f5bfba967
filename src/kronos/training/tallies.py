"""Running means of figures that stay on the device: reading each one at each step would make the processor wait."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from kronos.errors import ParameterError


class Tally:
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

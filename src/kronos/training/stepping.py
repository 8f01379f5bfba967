"""One step of a training: gradients of its micro-batches, averaged over the processes, clipped, and taken."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from kronos.datasets.windows import Batch
from kronos.errors import ParameterError
from kronos.training.averaging import AveragedWeights
from kronos.training.checkpointing import Sections
from kronos.training.distributed import Process
from kronos.training.drawing import named_seed
from kronos.training.objectives import Losses, Objective
from kronos.training.optimizing import make_optimizer, moments, restore_moments, set_rate, trained
from kronos.training.precision import computing, training_dtype
from kronos.training.schedules import first_beta, learning_rate
from kronos.training.settings import StageSettings


class Stepper:
    """Changes a network's weights step by step.

    Args:
        objective: Whose network is trained; it is on the process's device.
        settings: How.
        ours: Which process this is.
        steps: Of the whole training.
    """

    def __init__(self, objective: Objective, settings: StageSettings, ours: Process, steps: int) -> None:
        self._objective, self._settings, self._ours, self._steps = objective, settings, ours, steps
        self.parameters = trained(objective.network)
        self._optimizer = make_optimizer(self.parameters, settings)
        self.average = AveragedWeights(self.parameters, settings.ema) if settings.ema is not None else None
        self.dtype = training_dtype(settings.precision, ours.device, int(objective.network.config["d_model"]))
        self.rate = 0.0
        self._broken = torch.zeros((), dtype=torch.int64, device=ours.device)  # the first step that was not finite

    def step(self, step: int, progress: float, batches: Iterator[Batch]) -> tuple[tuple[str, ...], Tensor]:
        """Take a step.

        Args:
            step: Its number, from 0.
            progress: Share of the training that is done.
            batches: Gives this process's part of each micro-batch.

        Returns:
            What there is to tell, on the device: names, and for each a mean over the whole batch.
        """
        self.rate = learning_rate(self._settings, progress, self._steps)
        set_rate(self._optimizer, self.rate, first_beta(self._settings, progress, self._steps))
        told = [self._accumulate(step, micro, next(batches)) for micro in range(self._settings.accumulation_steps)]
        names = ("loss", *told[0].parts)
        means = torch.stack([torch.stack([one.total.detach(), *one.parts.values()]).float() for one in told]).mean(0)
        means = self._ours.add_up(means) / self._ours.world
        self._ours.average_gradients(self.parameters.values())
        clip = self._settings.gradient_clip
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), math.inf if clip is None else clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self.average is not None:
            self.average.update(step + 1)
        broken = ~(means[0].isfinite() & norm.isfinite()) & (self._broken == 0)
        self._broken = torch.where(broken, step + 1, self._broken)
        return (*names, "gradient_norm"), torch.cat((means, norm.float()[None]))

    def _accumulate(self, step: int, micro: int, batch: Batch) -> Losses:
        """Add a micro-batch's gradients."""
        # Seeded by name, so that a resume has the same dropout without a generator's state.
        torch.manual_seed(named_seed(self._settings.seed, step, micro, self._ours.rank))
        with computing(self._ours.device, self.dtype):
            losses = self._objective.losses(batch, training=True)
        (losses.total / self._settings.accumulation_steps).backward()  # type: ignore[no-untyped-call]
        return losses

    def check(self, kept: str) -> None:
        """Make sure that every loss and gradient so far was a number.

        Args:
            kept: What is said of the state to go on from.

        Raises:
            ParameterError: If one was not, naming the step.
        """
        broken = int(self._broken)
        if broken:
            raise ParameterError(
                f"The loss or its gradient was no longer a number at step {broken} (learning rate {self.rate:.3g}); "
                f"begin anew with a smaller learning_rate or gradient_clip. {kept}"
            )

    def averaged(self) -> AbstractContextManager[None]:
        """A context in which the network has its averaged weights, where there are any."""
        return nullcontext() if self.average is None else self.average.in_place()

    def state(self) -> Sections:
        """Everything that a resume needs of weights and optimiser."""
        average = {} if self.average is None else self.average.values
        memory = moments(self._optimizer, self.parameters)
        return {"weights": self.parameters, "average": average, "optimizer": memory}

    @torch.no_grad()
    def restore(self, sections: Sections) -> None:
        """Take over what `state` gave.

        Raises:
            ParameterError: If it is of other parameters.
        """
        weights = sections.get("weights", {})
        if {name: one.shape for name, one in weights.items()} != {n: p.shape for n, p in self.parameters.items()}:
            raise ParameterError("The training in this folder has other parameters; take another folder.")
        for name, parameter in self.parameters.items():
            parameter.copy_(weights[name])
        if self.average is not None:
            for name, value in self.average.values.items():
                value.copy_(sections["average"][name])
        restore_moments(self._optimizer, self.parameters, sections.get("optimizer", {}))

    @torch.no_grad()
    def agree(self) -> None:
        """Give every process the first one's weights, averages too."""
        for parameter in self.parameters.values():
            self._ours.from_first(parameter.detach())
        for value in () if self.average is None else self.average.values.values():
            self._ours.from_first(value)

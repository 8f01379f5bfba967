"""Optimizer steps: gradient accumulation, AdamW, learning-rate schedules and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from kronos.datasets.batching import Batch
from kronos.errors import ParameterError
from kronos.rng import named_seed
from kronos.training.checkpoint import Sections
from kronos.training.config import TrainingArguments
from kronos.training.distributed import Process
from kronos.training.objectives import Losses, Objective
from kronos.training.runtime import autocast, training_dtype


class EMA:
    """Exponential moving average of parameters.

    Args:
        parameters: Parameters by name.
        decay: Weight of the average at each step; smaller during the first steps, so that the initial weights are
            forgotten.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters = parameters
        self._decay = decay
        self.values: dict[str, Tensor] = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Include the parameters after a step; steps count from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), list(self._parameters.values()), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the parameters by their averages in the block."""
        current = {name: value.detach().clone() for name, value in self._parameters.items()}
        self._copy(self.values)
        try:
            yield
        finally:
            self._copy(current)

    @torch.no_grad()
    def _copy(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])


_FUSED_DEVICES = ("cpu", "cuda")


def trainable_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters with ``requires_grad``, by name.

    Raises:
        ParameterError: If there are none.
    """
    parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
    if not parameters:
        raise ParameterError("All parameters of the network are frozen: set requires_grad for some of them.")
    return parameters


def make_optimizer(parameters: Mapping[str, nn.Parameter], settings: TrainingArguments) -> torch.optim.AdamW:
    """Create AdamW, fused where the device supports it; `set_learning_rate` sets its rate at every step."""
    matrices = [value for value in parameters.values() if value.ndim >= 2]
    others = [value for value in parameters.values() if value.ndim < 2]
    decays = ((matrices, settings.weight_decay), (others, 0.0))
    groups = [{"params": group, "weight_decay": decay} for group, decay in decays if group]
    fused = all(value.device.type in _FUSED_DEVICES for value in parameters.values())
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=fused)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float, first_beta: float) -> None:
    """Set the learning rate and the first beta for the next step."""
    for group in optimizer.param_groups:
        group["lr"], group["betas"] = rate, (first_beta, group["betas"][1])


def optimizer_state(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """All tensors of the optimizer's state, named ``exp_avg/<parameter>`` and so on."""
    return {
        f"{kind}/{name}": value
        for name, parameter in parameters.items()
        for kind, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]
) -> None:
    """Restore what `optimizer_state` returned."""
    names = {id(parameter): name for name, parameter in parameters.items()}
    state: dict[int, dict[str, Any]] = {}
    ordered = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, parameter in enumerate(ordered):
        suffix = f"/{names[id(parameter)]}"
        own = {key.removesuffix(suffix): value for key, value in values.items() if key.endswith(suffix)}
        if own:
            state[index] = own
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


START = 0.1  # share of the peak at which a warm-up starts
_BETA_SWING = 0.05  # of AdamW's first beta in a one-cycle schedule
_ONECYCLE_WARMUP = 0.03
_ONECYCLE_END = 1e-4  # final rate as a share of the initial one


def learning_rate_at(settings: TrainingArguments, progress: float, steps: int) -> float:
    """Learning rate of a step.

    Args:
        settings: Settings with the schedule and its peak.
        progress: Progress of the training: 0 at the first step, 1 at the last.
        steps: Total number of steps.
    """
    peak = settings.learning_rate
    if settings.schedule == "constant":
        return peak
    if settings.schedule == "onecycle":
        rising, share = _onecycle_phase(progress, steps)
        if rising:
            return _cosine(START * peak, peak, share)
        return _cosine(peak, START * _ONECYCLE_END * peak, share)
    if progress < settings.warmup:
        return peak * (START + (1 - START) * progress / settings.warmup)
    return _cosine(peak, settings.final * peak, (progress - settings.warmup) / (1 - settings.warmup))


def scheduled_first_beta(settings: TrainingArguments, progress: float, steps: int) -> float:
    """First beta of AdamW at a step; arguments of `scheduled_learning_rate`."""
    beta = settings.betas[0]
    if settings.schedule != "onecycle":
        return beta
    high, low = min(beta + _BETA_SWING, 0.999), max(beta - _BETA_SWING, 0.0)
    rising, share = _onecycle_phase(progress, steps)
    return _cosine(high, low, share) if rising else _cosine(low, high, share)


def _onecycle_phase(progress: float, steps: int) -> tuple[bool, float]:
    """Whether the rate is still rising, and the progress within that phase, as in torch's OneCycleLR."""
    last = max(steps - 1, 1)
    turn = (_ONECYCLE_WARMUP * steps - 1) / last
    if turn > 0 and progress <= turn:
        return True, progress / turn
    return False, (progress - turn) / (1 - turn)


def _cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from start to end."""
    return end + (start - end) * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2


class OptimizerStep:
    """Updates a network's weights step by step.

    Args:
        objective: Objective whose network is on the device of the process.
        settings: Training settings.
        process: This process.
        steps: Total number of steps.
    """

    def __init__(self, objective: Objective, settings: TrainingArguments, process: Process, steps: int) -> None:
        self._objective, self._settings, self._process, self._steps = objective, settings, process, steps
        self.parameters = trainable_parameters(objective.network)
        self._optimizer = make_optimizer(self.parameters, settings)
        self.ema = EMA(self.parameters, settings.ema) if settings.ema is not None else None
        self.dtype = training_dtype(settings.precision, process.device, int(objective.network.config["d_model"]))
        self.rate = 0.0
        self._diverged_at = torch.zeros((), dtype=torch.int64, device=process.device)  # first step that was not finite

    def step(self, step: int, progress: float, batches: Iterator[Batch]) -> tuple[tuple[str, ...], Tensor]:
        """Take a step.

        Args:
            step: Number of the step, from 0.
            progress: Progress of the training, from 0 to 1.
            batches: Iterator over this process's share of the micro-batches.

        Returns:
            Names and, on the device, the mean of each over the whole batch.
        """
        self.rate = learning_rate_at(self._settings, progress, self._steps)
        set_learning_rate(self._optimizer, self.rate, scheduled_first_beta(self._settings, progress, self._steps))
        losses = [
            self._accumulate_gradients(step, micro, next(batches)) for micro in range(self._settings.accumulation_steps)
        ]
        names = ("loss", *losses[0].parts)
        means = torch.stack([torch.stack([part.total.detach(), *part.parts.values()]).float() for part in losses])
        means = self._process.all_reduce(means.mean(0)) / self._process.world_size
        self._process.average_gradients(self.parameters.values())
        clip = self._settings.gradient_clip
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), math.inf if clip is None else clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self.ema is not None:
            self.ema.update(step + 1)
        diverged = ~(means[0].isfinite() & norm.isfinite()) & (self._diverged_at == 0)
        self._diverged_at = torch.where(diverged, step + 1, self._diverged_at)
        return (*names, "gradient_norm"), torch.cat((means, norm.float()[None]))

    def _accumulate_gradients(self, step: int, micro: int, batch: Batch) -> Losses:
        # The seed depends on the position, so a resume has the same dropout without storing a generator's state.
        torch.manual_seed(named_seed(self._settings.seed, step, micro, self._process.rank))
        with autocast(self._process.device, self.dtype):
            losses = self._objective.losses(batch, training=True)
        (losses.total / self._settings.accumulation_steps).backward()  # type: ignore[no-untyped-call]
        return losses

    def check_finite(self, hint: str) -> None:
        """Check that every loss and gradient so far was finite.

        Args:
            hint: Sentence about the last checkpoint, appended to the message.

        Raises:
            ParameterError: If one was not; the message names the step.
        """
        step = int(self._diverged_at)
        if step:
            raise ParameterError(
                f"The loss or its gradient was not finite at step {step} (learning rate {self.rate:.3g}): start again "
                f"with a smaller learning_rate or gradient_clip. {hint}"
            )

    def averaged(self) -> AbstractContextManager[None]:
        """Context in which the network has its averaged weights, if an average is configured."""
        return nullcontext() if self.ema is None else self.ema.applied()

    def state(self) -> Sections:
        """Everything that a resume needs of weights and optimizer."""
        average = {} if self.ema is None else self.ema.values
        state = optimizer_state(self._optimizer, self.parameters)
        return {"weights": self.parameters, "average": average, "optimizer": state}

    @torch.no_grad()
    def load_state(self, sections: Sections) -> None:
        """Restore what `state` returned.

        Raises:
            ParameterError: If it has other parameters.
        """
        weights = sections.get("weights", {})
        if {name: value.shape for name, value in weights.items()} != {n: p.shape for n, p in self.parameters.items()}:
            raise ParameterError("The training in this folder has other parameters: choose another folder.")
        for name, parameter in self.parameters.items():
            parameter.copy_(weights[name])
        if self.ema is not None:
            for name, value in self.ema.values.items():
                value.copy_(sections["average"][name])
        load_optimizer_state(self._optimizer, self.parameters, sections.get("optimizer", {}))

    @torch.no_grad()
    def broadcast_weights(self) -> None:
        """Copy the first process's weights and averages to all processes."""
        for parameter in self.parameters.values():
            self._process.broadcast(parameter.detach())
        for value in () if self.ema is None else self.ema.values.values():
            self._process.broadcast(value)

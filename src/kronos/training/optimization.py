"""One step of a training: gradients of its micro-batches, averaged over the processes, clipped, and taken."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from kronos.datasets.batching import Batch
from kronos.errors import ParameterError
from kronos.training.checkpoint import Sections
from kronos.training.config import TrainingArguments
from kronos.training.distributed import Process
from kronos.training.objectives import Losses, Objective
from kronos.training.runtime import computing, named_seed, training_dtype


class EMA:
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


_FUSED = ("cpu", "cuda")


def trained(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name.

    Raises:
        ParameterError: If there are none.
    """
    found = {name: one for name, one in network.named_parameters() if one.requires_grad}
    if not found:
        raise ParameterError("Nothing of the network is to be trained; set requires_grad of some parameters.")
    return found


def make_optimizer(parameters: Mapping[str, nn.Parameter], settings: TrainingArguments) -> torch.optim.AdamW:
    """AdamW, fused where the device has it; its rate is set at every step (`set_rate`)."""
    matrices = [one for one in parameters.values() if one.ndim >= 2]
    others = [one for one in parameters.values() if one.ndim < 2]
    decays = ((matrices, settings.weight_decay), (others, 0.0))
    groups = [{"params": group, "weight_decay": decay} for group, decay in decays if group]
    fused = all(one.device.type in _FUSED for one in parameters.values())
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=fused)


def set_rate(optimizer: torch.optim.Optimizer, rate: float, first_beta: float) -> None:
    """Set the learning rate and the first beta of the next step."""
    for group in optimizer.param_groups:
        group["lr"], group["betas"] = rate, (first_beta, group["betas"][1])


def moments(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """All that the optimiser remembers, as ``exp_avg/<parameter>`` and so on."""
    return {
        f"{what}/{name}": value
        for name, parameter in parameters.items()
        for what, value in optimizer.state.get(parameter, {}).items()
    }


def restore_moments(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]
) -> None:
    """Give the optimiser the memory back that `moments` told."""
    names = {id(parameter): name for name, parameter in parameters.items()}
    state: dict[int, dict[str, Any]] = {}
    ordered = [one for group in optimizer.param_groups for one in group["params"]]
    for index, parameter in enumerate(ordered):
        ending = f"/{names[id(parameter)]}"
        own = {key.removesuffix(ending): value for key, value in values.items() if key.endswith(ending)}
        if own:
            state[index] = own
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


START = 0.1  # of the peak, where warm-ups begin
_SWING = 0.05  # of AdamW's first beta in a one-cycle schedule
_ONECYCLE_WARMUP = 0.03
_ONECYCLE_END = 1e-4  # of the start


def learning_rate(settings: TrainingArguments, progress: float, steps: int) -> float:
    """The rate of a step.

    Args:
        settings: With the schedule and its peak.
        progress: Share of the training that is done, the first step's 0 and the last one's 1.
        steps: Of the whole training.
    """
    peak = settings.learning_rate
    if settings.schedule == "constant":
        return peak
    if settings.schedule == "onecycle":
        rising, share = _phase(progress, steps)
        if rising:
            return _cosine(START * peak, peak, share)
        return _cosine(peak, START * _ONECYCLE_END * peak, share)
    if progress < settings.warmup:
        return peak * (START + (1 - START) * progress / settings.warmup)
    return _cosine(peak, settings.final * peak, (progress - settings.warmup) / (1 - settings.warmup))


def first_beta(settings: TrainingArguments, progress: float, steps: int) -> float:
    """AdamW's first beta at a step; arguments as of `learning_rate`."""
    beta = settings.betas[0]
    if settings.schedule != "onecycle":
        return beta
    high, low = min(beta + _SWING, 0.999), max(beta - _SWING, 0.0)
    rising, share = _phase(progress, steps)
    return _cosine(high, low, share) if rising else _cosine(low, high, share)


def _phase(progress: float, steps: int) -> tuple[bool, float]:
    """Whether a one-cycle rate still rises, and which share of that phase is done; as torch's OneCycleLR has it."""
    last = max(steps - 1, 1)
    turn = (_ONECYCLE_WARMUP * steps - 1) / last
    if turn > 0 and progress <= turn:
        return True, progress / turn
    return False, (progress - turn) / (1 - turn)


def _cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from start to end."""
    return end + (start - end) * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2


class OptimizerStep:
    """Changes a network's weights step by step.

    Args:
        objective: Whose network is trained; it is on the process's device.
        settings: How.
        ours: Which process this is.
        steps: Of the whole training.
    """

    def __init__(self, objective: Objective, settings: TrainingArguments, ours: Process, steps: int) -> None:
        self._objective, self._settings, self._ours, self._steps = objective, settings, ours, steps
        self.parameters = trained(objective.network)
        self._optimizer = make_optimizer(self.parameters, settings)
        self.average = EMA(self.parameters, settings.ema) if settings.ema is not None else None
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

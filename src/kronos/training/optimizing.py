"""AdamW over what is trained of a network, and its memory by the parameters' names.

- Only parameters that require gradients are touched, so a frozen part stays as it is to the bit;
- matrices decay, biases and norms don't.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kronos.errors import ParameterError
from kronos.training.settings import StageSettings

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


def make_optimizer(parameters: Mapping[str, nn.Parameter], settings: StageSettings) -> torch.optim.AdamW:
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

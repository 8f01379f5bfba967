"""In which precision to compute, compiled or not, with how many threads; nothing global is left behind.

- bfloat16 is for matrix products alone, through autocast: weights, their gradients, norms and losses stay in float32;
- `wide` is float32 within it, for what must not be rounded: a tokenizer that encodes (its codes are signs, of which
  rounding turns some) and the logits of a validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

from kronos.inference.devices import gains_from_bfloat16
from kronos.nn.layers import TransformerBlock

# The least width for which converting to bfloat16 and back costs a processor less than it gains. Seen on one core with
# AMX, steps in bfloat16 against float32: .7 times as fast at 128, 1.3 at 192, 1.25 to 1.55 at 256, 2 at 512.
_WORTHWHILE = 192


def training_dtype(precision: Literal["float32", "bfloat16", "auto"], device: torch.device, width: int) -> torch.dtype:
    """What matrix products of a network of that width are computed in on that device."""
    if precision == "auto":
        worthwhile = device.type != "cpu" or width >= _WORTHWHILE
        return torch.bfloat16 if worthwhile and gains_from_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def computing(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """A context in which matrix products are computed in a dtype."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def wide(device: torch.device) -> torch.autocast:
    """A context in which everything is computed in its own dtype, whatever is around it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=False)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with that many threads of the processor, and give the setting back; None leaves it as it is."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def compiled(network: nn.Module, *, wanted: bool) -> Iterator[None]:
    """Have a network's blocks compiled: one by one, since they are alike and compiled once then."""
    blocks = [one for one in network.modules() if isinstance(one, TransformerBlock)] if wanted else []
    for block in blocks:
        block.compile()
    try:
        yield
    finally:
        for block in blocks:
            block._compiled_call_impl = None

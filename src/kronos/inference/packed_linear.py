"""Linear layers for decoding, with large weights in the layout that the CPU's matrix library reads fastest.

oneDNN multiplies weights that it has reordered once; other products read them in rows and reorder them at every call,
which decides the time when there are few rows. For the weights of kronos-small, on two cores with AVX2, products of 30
rows took 0.65 to 0.8 of the time of `torch.nn.functional.linear`, and those of 240 rows 0.8 to 1.05. A call costs 20 µs
more, which is too much for small weights.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST_SIZE = 2**18  # elements of a weight; with smaller ones a product of one row took longer


def pack(x: Tensor, dtype: torch.dtype) -> Tensor:
    """A contiguous copy of a weight, independent of the network."""
    return x.detach().to(dtype, copy=True).contiguous()


def can_reorder(weight: Tensor) -> bool:
    """Whether oneDNN multiplies a reordered copy of this weight faster.

    It does on CPUs, for large weights in float32, or in bfloat16 where it is native.

    The operations are those that `torch.compile` uses for constant weights. Builds of torch without oneDNN, such as
    those for Apple's processors, lack them.
    """
    if weight.device.type != "cpu" or weight.numel() < _LEAST_SIZE:
        return False
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not hasattr(torch.ops.mkldnn, "_reorder_linear_weight") or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32


class PackedLinear:
    """A linear layer that does not follow later changes of the network.

    Args:
        weight: ``[out, in]``.
        bias: ``[out]``, or None.
        dtype: Type to compute in.

    Attributes:
        shape: Outputs and inputs.
        dtype: As given.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.shape, self.dtype = (weight.shape[0], weight.shape[1]), dtype
        self._bias = None if bias is None else pack(bias, dtype)
        self._set_weight(pack(weight, dtype))

    def __call__(self, x: Tensor) -> Tensor:
        """Map ``[..., in]`` to ``[..., out]``."""
        if not self._reordered:
            return F.linear(x, self._weight, self._bias)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return product

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle the weight in rows, because a reordered one has no storage."""
        return {**self.__dict__, "_weight": self._weight.to_dense() if self._reordered else self._weight}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_weight(state["_weight"])

    def _set_weight(self, weight: Tensor) -> None:
        self._reordered = can_reorder(weight)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight) if self._reordered else weight

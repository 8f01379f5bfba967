"""Where to compute, and in which precision.

Notable here:
- ``exact`` is float32, the published numbers; ``fast`` is bfloat16 for the model where the hardware multiplies it
  natively, float32 elsewhere, and the tokenizer stays in float32 in both;
- nothing global is switched: precision is the dtype of the packed weights.
"""

from __future__ import annotations

from typing import Literal

import torch

from kronos.errors import DeviceError, ParameterError

Precision = Literal["exact", "fast"]


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """The device of that name; by default a CUDA card where there is one, the processor elsewhere.

    Apple's GPU is used when it is named: it is not among the machines this was measured and tested on.

    Raises:
        DeviceError: If there is no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"There is no device '{name}'; use cpu, cuda, cuda:1 or mps.") from None
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if (device.index or 0) >= present.get(device.type, 0):
        raise DeviceError(f"This machine has no device '{name}'; leave the device out to use the best there is.")
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; on processors and Apple's GPU torch raises a plain RuntimeError."""
    said = ("can't allocate memory", "out of memory", "not enough memory")
    named = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return named or (isinstance(error, RuntimeError) and any(words in str(error) for words in said))


def compute_dtype(precision: Precision, device: torch.device, weights: torch.dtype) -> torch.dtype:
    """What the model computes in; networks turned to float64 stay there.

    Raises:
        ParameterError: If there is no such precision.
    """
    if precision not in ("exact", "fast"):
        raise ParameterError(f"precision is 'exact' or 'fast', not '{precision}'.")
    if weights == torch.float64:
        return torch.float64
    return torch.bfloat16 if precision == "fast" and gains_from_bfloat16(device) else torch.float32


def gains_from_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively: AVX-512 BF16 or AMX, CUDA cards from Ampere on."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and _cpu_has_bfloat16()


def _cpu_has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))

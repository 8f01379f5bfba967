"""Devices and precision.

- ``exact`` is float32, which gives the published numbers. ``fast`` is bfloat16 for the model if the hardware multiplies
  it natively, else float32. The tokenizer computes in float32 in both.
- No global flag is changed: precision is the dtype of the packed weights.
"""

from __future__ import annotations

from typing import Literal

import torch

from kronos.errors import DeviceError, ParameterError

Precision = Literal["exact", "fast"]
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """The named device; by default a CUDA GPU if there is one, else the CPU.

    Apple's GPU (``mps``) is never a default, because Kronos is not measured and tested on it.

    Raises:
        DeviceError: If the device does not exist on this machine.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"Unknown device '{name}': choose cpu, cuda, cuda:1 or mps.") from None
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if (device.index or 0) >= present.get(device.type, 0):
        raise DeviceError(f"This machine has no device '{name}': omit the device to use the best available one.")
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; on CPUs and Apple's GPU torch raises a plain RuntimeError."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def free_memory(device: torch.device) -> int | None:
    """Bytes that a batch can allocate on a GPU with CUDA, cached ones included; None for other devices.

    Those share the memory of the whole machine, so that what is free says little.
    """
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def compute_dtype(precision: Precision, device: torch.device, weights: torch.dtype) -> torch.dtype:
    """The type the model computes in; float64 weights stay float64.

    Raises:
        ParameterError: If there is no such precision.
    """
    if precision not in ("exact", "fast"):
        raise ParameterError(f"Invalid precision '{precision}': choose 'exact' or 'fast'.")
    if weights == torch.float64:
        return torch.float64
    return torch.bfloat16 if precision == "fast" and supports_bfloat16(device) else torch.float32


def supports_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively: AVX-512 BF16 or AMX, CUDA GPUs from Ampere on."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))

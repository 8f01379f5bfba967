"""The machine's own rates, measured in the same run: what the decoders' times are held against."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.plans import Plan
from benchmarks.timing import timed

_LAYER = (400, 512, 1536)  # rows, inputs, outputs: q, k and v of kronos-small over a history


@dataclass(frozen=True, slots=True)
class Machine:
    """Rates in FLOP/s and bytes/s, each the best of many tries.

    Attributes:
        name: Of the processor.
        cores: That this process may use.
        matrix: Product of two large square float32 matrices.
        matrix_bf16: The same in bfloat16.
        layer: The float32 product ``[400×512]·[512×1536]``.
        layer_bf16: The same in bfloat16.
        read: Reading memory that no cache holds.
    """

    name: str
    cores: int
    matrix: float
    matrix_bf16: float
    layer: float
    layer_bf16: float
    read: float


def measure_machine(plan: Plan) -> Machine:
    tries = 3 if plan.quick else 30

    def layer(dtype: torch.dtype) -> float:
        rows, inputs, outputs = _LAYER
        x, w = torch.randn(rows, inputs).to(dtype), torch.randn(outputs, inputs).to(dtype)
        return 2 * rows * inputs * outputs / timed(lambda: F.linear(x, w), 3 * tries).best

    rates = (matrix_rate(plan.matrix, torch.float32, tries), matrix_rate(plan.matrix, torch.bfloat16, tries))
    rates += (layer(torch.float32), layer(torch.bfloat16))
    return Machine(processor_name(), available_cores(), *rates, read_rate(plan.read_mb, tries))


def matrix_rate(side: int, dtype: torch.dtype, tries: int) -> float:
    """Operations per second of the product of two square matrices, the best of some tries."""
    a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
    return 2 * side**3 / timed(lambda: a @ b, tries).best


def read_rate(megabytes: int, tries: int) -> float:
    """Bytes per second of reading memory that no cache holds, the best of some tries."""
    large = torch.ones(megabytes * 10**6 // 4)
    return large.nbytes / timed(large.sum, tries).best


def processor_name() -> str:
    """What the processor calls itself."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

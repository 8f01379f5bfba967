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
    n = plan.matrix

    def square(dtype: torch.dtype) -> float:
        a, b = (torch.randn(n, n).to(dtype) for _ in range(2))
        return 2 * n**3 / timed(lambda: a @ b, tries).best

    def layer(dtype: torch.dtype) -> float:
        rows, inputs, outputs = _LAYER
        x, w = torch.randn(rows, inputs).to(dtype), torch.randn(outputs, inputs).to(dtype)
        return 2 * rows * inputs * outputs / timed(lambda: F.linear(x, w), 3 * tries).best

    large = torch.ones(plan.read_mb * 10**6 // 4)
    read = large.nbytes / timed(large.sum, tries).best
    rates = (square(torch.float32), square(torch.bfloat16), layer(torch.float32), layer(torch.bfloat16))
    return Machine(processor_name(), _cores(), *rates, read)


def processor_name() -> str:
    """What the processor calls itself."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Random numbers that are named, not drawn in turn: what a resumed run needs no state for.

- Dropout comes from torch's generator, which is seeded anew for every (seed, step, micro-batch, process);
- the coarse tokens that a model is fed are drawn at one uniform number per (seed, sample, position), whatever else is
  in the batch and however many processes share it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# Of SplitMix64 (Steele, Lea & Flood 2014), as signed 64-bit numbers.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


def named_seed(*names: object) -> int:
    """A seed in [0, 2^63) that depends on the names alone."""
    digest = hashlib.blake2b("|".join(map(str, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@contextmanager
def guarded_generator(device: torch.device) -> Iterator[None]:
    """Seed torch's generators at will within, and find them as they were afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def uniforms(seed: int, rows: Tensor, positions: Tensor) -> Tensor:
    """Numbers in [0, 1) that depend on nothing but their names.

    Args:
        seed: Any integer.
        rows: Numbers of samples ``[B]`` int64.
        positions: Within a sample ``[P]`` int64.

    Returns:
        ``[B, P]`` float32, multiples of 2^-24.
    """
    keys = _mix(rows * _GOLDEN + named_seed("uniforms", seed))
    mixed = _mix(keys[:, None] + (positions + 1) * _GOLDEN)
    return (mixed >> 40 & 0xFFFFFF).float() * 2.0**-24


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's scrambling; int64 arithmetic wraps around, and its shifts have to be made logical."""
    x = (x ^ (x >> 30 & 2**34 - 1)) * _MIX[0]
    x = (x ^ (x >> 27 & 2**37 - 1)) * _MIX[1]
    return x ^ (x >> 31 & 2**33 - 1)

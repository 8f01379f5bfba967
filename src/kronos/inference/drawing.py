"""Two ways to draw: the published system's, and one whose paths don't depend on company.

Notable here:
- `GlobalDraws` draws as the published system does, from torch's global generator, for the whole batch at once, so
  that its seeded forecasts are reproduced draw for draw;
- `KeyedDraws` inverts the distribution function at one uniform number per (seed, series, path, step, head), taken from
  a counter-based generator (Philox, Salmon et al. 2011). A path is the same whatever else is in the batch, and path 7
  of 10 is path 7 of 100. It is also cheaper than `torch.multinomial`, which draws as many numbers as there are tokens.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from kronos.inference.sampling import SamplingParams, filter_logits

HEADS = 2


class GlobalDraws:
    """Draws rows series-major with `torch.multinomial`, from torch's global generator."""

    def __init__(self, params: SamplingParams) -> None:
        self.params = params

    def __call__(self, step: int, head: int, logits: Tensor) -> Tensor:  # noqa: ARG002 (a Chooser's signature)
        """Draw ids ``[B, S]`` from logits ``[B, 1 or S, V]``."""
        B, _, V = logits.shape
        # Filtered before it is repeated: the rows are the same, and so is the generator's use.
        probabilities = filter_logits(logits, self.params).softmax(-1)
        rows = probabilities.expand(B, self.params.samples, V).reshape(-1, V)
        return torch.multinomial(rows, 1).view(B, self.params.samples)


class KeyedDraws:
    """Draws by inverse distribution function at given uniform numbers.

    Args:
        params: Temperature and filters.
        uniforms: ``[B, S, H, 2]`` in [0, 1), of `keyed_uniforms`.
    """

    def __init__(self, params: SamplingParams, uniforms: Tensor) -> None:
        self.params, self.uniforms = params, uniforms

    def __call__(self, step: int, head: int, logits: Tensor) -> Tensor:
        """Draw ids ``[B, S]`` from logits ``[B, 1 or S, V]``."""
        cdf = filter_logits(logits, self.params).softmax(-1).cumsum(-1)  # [B, 1 or S, V]
        if cdf.device.type != "cpu":
            cdf = cdf.cummax(-1).values  # parallel sums need not increase, and a step back would draw what was filtered
        # Rounded to the logits' precision a uniform may become 1, beyond every token.
        below_one = 1 - torch.finfo(cdf.dtype).eps / 2
        u = self.uniforms[:, :, step, head].to(cdf.dtype).clamp(max=below_one)  # [B, S]
        if cdf.shape[1] == 1:
            return torch.searchsorted(cdf[:, 0], u * cdf[:, 0, -1:], right=True)
        return torch.searchsorted(cdf, u[..., None] * cdf[..., -1:], right=True).squeeze(-1)


def keyed_uniforms(seed: int, series: str, paths: range, horizon: int) -> np.ndarray:
    """Uniform numbers in [0, 1) that depend on nothing but their names.

    Args:
        seed: Any integer.
        series: The series' name.
        paths: Which sample paths.
        horizon: Steps, H.

    Returns:
        ``[len(paths), H, 2]`` float64. A longer horizon or further paths leave the first ones as they are.
    """
    digest = hashlib.blake2b(f"{seed}|{series}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    draws = np.empty((len(paths), horizon, HEADS))
    for row, path in enumerate(paths):
        counter = np.array([0, 0, path, 0], dtype=np.uint64)  # a path has 2^128 numbers to itself
        draws[row] = np.random.Generator(np.random.Philox(key=key, counter=counter)).random((horizon, HEADS))
    return draws

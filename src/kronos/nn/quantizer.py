"""Binary spherical quantisation (Zhao et al. 2024): a vector on the unit sphere becomes one bit per dimension.

- A code consists of n entries ±1/√n, so that every code lies on the unit sphere too.
- The gradient passes straight through the sign and is scaled by 1/√n.
- The entropy terms treat bits as independent, as published: bits should be certain for each sample (small per-sample
  entropy) and used evenly over the batch (large codebook entropy).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LOG_FLOOR = 1e-8


@dataclass(frozen=True, slots=True)
class QuantizerWeights:
    """Weights of the quantiser loss: commitment, per-sample entropy, codebook entropy, and both entropies together."""

    beta: float
    gamma0: float
    gamma: float
    zeta: float


class QuantizerLoss(NamedTuple):
    """The quantiser loss and its parts, each a scalar; ``total`` can be negative."""

    total: Tensor
    commit: Tensor
    sample_entropy: Tensor
    codebook_entropy: Tensor


class BinarySphericalQuantizer(nn.Module):
    """Quantises vectors to the signs of their entries, as codes or as token ids, with the loss for training.

    Args:
        s1_bits: Bits of the coarse token: the first dimensions of a code.
        s2_bits: Bits of the fine token: the remaining dimensions.
        weights: Weights of the parts of the loss.
        group_size: Size of a buffer in published checkpoints; not used otherwise.
    """

    basis: Tensor
    group_basis: Tensor

    def __init__(self, s1_bits: int, s2_bits: int, weights: QuantizerWeights, group_size: int) -> None:
        super().__init__()
        self.s1_bits = s1_bits
        self.bits = s1_bits + s2_bits
        self.weights = weights
        # Both buffers are only here because published checkpoints have them: ids use powers in the opposite order.
        self.register_buffer("basis", torch.tensor([2**i for i in reversed(range(self.bits))]))
        self.register_buffer("group_basis", torch.tensor([2**i for i in reversed(range(group_size))]))

    def forward(self, z: Tensor, average: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, QuantizerLoss]:
        """Quantise vectors.

        Args:
            z: ``[..., bits]`` of any norm; it is normalised here.
            average: Averages a mean over all processes of a distributed training, because the codebook entropy is that
                of the whole batch; None for a single process.

        Returns:
            The code ``[..., bits]`` of ±1/√n, with a straight-through gradient, and the loss.
        """
        z = F.normalize(z, dim=-1)
        scale = 1 / math.sqrt(self.bits)
        code = (z + (signs(z) - z).detach()) * scale
        return code, self._loss(z, code.detach(), average)

    def _loss(self, z: Tensor, code: Tensor, average: Callable[[Tensor], Tensor] | None) -> QuantizerLoss:
        w = self.weights
        commit = w.beta * (code - z).square().sum(-1).mean()
        p = torch.sigmoid(-4 * z / math.sqrt(self.bits)).flatten(0, -2)  # [N, bits]: probability that a bit is 0
        sample_entropy = _binary_entropy(p).sum(-1).mean()
        usage = p.mean(0)
        codebook_entropy = _binary_entropy(usage if average is None else average(usage)).sum()
        total = commit + w.zeta * (w.gamma0 * sample_entropy - w.gamma * codebook_entropy)
        return QuantizerLoss(total, commit, sample_entropy, codebook_entropy)

    def ids(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids ``(s1, s2)``, each ``[...]`` int64, of codes ``[..., bits]``; only their signs matter."""
        return bits_to_id(code[..., : self.s1_bits] >= 0), bits_to_id(code[..., self.s1_bits :] >= 0)

    def full_id(self, code: Tensor) -> Tensor:
        """Ids of all bits, ``[...]`` int64, of codes ``[..., bits]``."""
        return bits_to_id(code >= 0)

    def code(self, ids: Tensor, bits: int) -> Tensor:
        """Codes ``[..., bits]`` of ±1/√n, float32, of ids with ``bits`` bits; n counts the bits of both tokens."""
        return id_to_bits(ids, bits).float().mul_(2).sub_(1).div_(math.sqrt(self.bits))


def signs(z: Tensor) -> Tensor:
    """+1 where positive, −1 elsewhere; zero gives −1, unlike `torch.sign`."""
    one = z.new_ones(())  # on the device: numbers would be copied there, which a CUDA graph cannot capture
    return torch.where(z > 0, one, -one)


def bits_to_id(bits: Tensor) -> Tensor:
    """Ids ``[...]`` int64 of bits ``[..., n]``; bit i weighs 2^i."""
    weights = 2 ** torch.arange(bits.shape[-1], device=bits.device)
    return (bits.long() * weights).sum(-1)


def id_to_bits(ids: Tensor, n: int) -> Tensor:
    """Bits ``[..., n]`` (0 or 1, int64) of ids ``[...]``; bit i weighs 2^i."""
    return ids.unsqueeze(-1) >> torch.arange(n, device=ids.device) & 1


def _binary_entropy(p: Tensor) -> Tensor:
    """Entropy in nats of a Bernoulli variable with probability p, elementwise."""
    q = 1 - p
    return -(p * torch.log(p + _LOG_FLOOR) + q * torch.log(q + _LOG_FLOOR))

"""Transformer stacks repacked for decoding: the same computations in fewer and larger matrix products.

- q, k and v are one matrix product, and so are the two gates; norm weights and the attention scale are folded in.
- Rotary pairs are interleaved by permuting the rows of q and k, which changes no dot product and turns the rotation
  into one complex multiplication.
- `FusedTransformer.prefill` reads a history once. `FusedTransformer.decode` continues it for many samples, which share
  the history's keys and values and only own those of their own rows: bifurcated attention (Athiwaratkun et al. 2024).
  Samples lie on the query axis, so the shared part is one product per head; one softmax over both parts is exact.

Shapes: B series, S samples, h heads, P rows of shared history, t new rows, u own rows so far, d width, e head width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kronos.inference.packed_linear import PackedLinear
from kronos.nn.layers import NORM_EPS, Attention, RotaryEmbedding, TransformerBlock

# Elements of a score matrix; beyond it, samples are processed in slices, which bounds memory.
_SCORE_ELEMENTS = 64 * 2**20


@dataclass(frozen=True, slots=True)
class KVCache:
    """Keys and values of one layer: ``[B, h, P, e]`` if samples share them, ``[B, h, S, u, e]`` if each has its own."""

    keys: Tensor
    values: Tensor

    @classmethod
    def allocate(cls, like: Tensor, shape: Sequence[int]) -> KVCache:
        """An uninitialised cache with the type and device of ``like``."""
        return cls(like.new_empty(shape), like.new_empty(shape))

    def append(self, keys: Tensor, values: Tensor, used: int) -> KVCache:
        """Write rows ``[B, h, S, t, e]`` after the ``used`` ones; return the filled part as views."""
        stop = used + keys.shape[3]
        self.keys[:, :, :, used:stop] = keys
        self.values[:, :, :, used:stop] = values
        return KVCache(self.keys[:, :, :, :stop], self.values[:, :, :, :stop])


@dataclass(frozen=True, slots=True)
class FusedLayer:
    """Fused weights of one block, including the norm weights and the attention scale."""

    qkv: PackedLinear  # [3d, d]
    out: PackedLinear  # [d, d]
    gates: PackedLinear  # [2ff, d]
    down: PackedLinear  # [d, ff]


def rms_norm(x: Tensor) -> Tensor:
    """``x · rsqrt(mean(x²) + ε)`` over the last axis, computed in float32 or wider."""
    wide = x if x.dtype == torch.float64 else x.float()
    return F.rms_norm(wide, (x.shape[-1],), None, NORM_EPS).to(x.dtype)


def interleave_rotary(head_dim: int, n_heads: int) -> Tensor:
    """The order of rows ``[h · e]`` that puts the rotary pairs (i, i + e/2) of every head next to each other."""
    within = torch.arange(head_dim).view(2, -1).t().flatten()
    return (torch.arange(n_heads)[:, None] * head_dim + within).flatten()


class Rotations:
    """A table of the positions' rotations as complex numbers, which grows with the longest window."""

    def __init__(self, rotary: RotaryEmbedding, dtype: torch.dtype) -> None:
        self._rotary = rotary
        self._dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
        # Earlier tables stay: a captured CUDA graph reads the one that was the longest when it was captured.
        self._tables = [self._tabulate(512)]

    def __call__(self, length: int) -> Tensor:
        """Rotations of positions 0 … length − 1 or more: ``[≥ length, e/2]``."""
        if length > self._tables[-1].shape[0]:
            self._tables.append(self._tabulate(2 * length))
        return self._tables[-1]

    @torch.no_grad()
    def _tabulate(self, length: int) -> Tensor:
        half = self._rotary.inv_freq.shape[0]
        cos, sin = self._rotary.table(length)
        return torch.complex(cos[:, :half], sin[:, :half]).to(self._dtype)


def rotate_interleaved(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate interleaved pairs ``x [..., e]`` by ``rotation [..., e/2]``; the result has the dtype of ``x``."""
    wide = x if x.dtype == torch.float64 else x.float()
    pairs = torch.view_as_complex(wide.view(*wide.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * rotation).flatten(-2).to(x.dtype)


def fuse_layer(block: TransformerBlock, dtype: torch.dtype) -> FusedLayer:
    """Fuse one block's weights."""
    attention = block.self_attn
    order = interleave_rotary(attention.rotary.inv_freq.shape[0] * 2, attention.n_heads).to(block.norm1.weight.device)
    scale = (2 * attention.rotary.inv_freq.shape[0]) ** -0.5
    q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
    qkv = torch.cat((q.weight[order] * scale, k.weight[order], v.weight)) * block.norm1.weight
    bias = torch.cat((q.bias[order] * scale, k.bias[order], v.bias))
    gates = torch.cat((block.ffn.w1.weight, block.ffn.w3.weight)) * block.norm2.weight
    return FusedLayer(
        qkv=PackedLinear(qkv, bias, dtype),
        out=PackedLinear(attention.out_proj.weight, attention.out_proj.bias, dtype),
        gates=PackedLinear(gates, None, dtype),
        down=PackedLinear(block.ffn.w2.weight, None, dtype),
    )


class FusedTransformer:
    """Transformer blocks fused for decoding.

    Args:
        blocks: The blocks; the fused copy does not follow their later changes.
        dtype: Type to compute in.
    """

    def __init__(self, blocks: Iterable[nn.Module], dtype: torch.dtype) -> None:
        typed = [block for block in blocks if isinstance(block, TransformerBlock)]
        self.layers = [fuse_layer(block, dtype) for block in typed]
        self.n_heads = typed[0].self_attn.n_heads if typed else 1
        self.rotations = Rotations(typed[0].self_attn.rotary if typed else RotaryEmbedding(2), dtype)

    def prefill(self, x: Tensor) -> tuple[Tensor, list[KVCache]]:
        """Read a history.

        Args:
            x: Embedded rows ``[B, P, d]``; shorter series are padded at the right, which causal attention ignores.

        Returns:
            The rows after the last block ``[B, P, d]``, and each layer's keys and values ``[B, h, P, e]``.
        """
        rotation = self.rotations(x.shape[1])[: x.shape[1], None]  # [P, 1, e/2]
        caches = []
        for layer in self.layers:
            q, k, v = (part.transpose(1, 2) for part in self._qkv(layer, x, rotation))  # [B, h, P, e]
            # Views of the product would be copied by every step's attention, and keep all of it in memory.
            caches.append(KVCache(k.contiguous(), v.contiguous()))
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
            x = self._finish_block(layer, x, mixed.transpose(1, 2).flatten(-2))
        return x, caches

    def decode(
        self,
        x: Tensor,
        shared: list[KVCache],
        own: list[KVCache],
        start: Tensor,
        used: int,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Continue a history for many samples.

        Args:
            x: New rows ``[B, S, t, d]``.
            shared: Keys and values of the history, one cache per layer.
            own: Caches of the samples' own rows, ``[B, h, S, U, e]`` per layer; the new rows are appended.
            start: Position of each series' first own row, ``[B]`` int64: the length of its history.
            used: Own rows in the caches so far.
            mask: ``[B, 1, 1, P]``, 0 where a row of the history is real and −inf where it is padding; None if all are.

        Returns:
            The rows after the last block, ``[B, S, t, d]``.
        """
        t = x.shape[2]
        positions = start[:, None] + torch.arange(used, used + t, device=x.device)  # [B, t]
        rows = shared[0].keys.shape[2] if shared else 0  # P
        rotation = self.rotations(rows + used + t)[positions][:, None, :, None]  # [B, 1, t, 1, e/2]
        for layer, past, cache in zip(self.layers, shared, own, strict=True):
            q, k, v = (part.permute(0, 3, 1, 2, 4) for part in self._qkv(layer, x, rotation))  # [B, h, S, t, e]
            mixed = bifurcated_attention(q, past, cache.append(k, v, used), mask)
            x = self._finish_block(layer, x, mixed.permute(0, 2, 3, 1, 4).flatten(-2))
        return x

    @property
    def activation_bytes(self) -> int:
        """Bytes that reading one row takes at most while a block is computed, besides its keys and values.

        Counted are the residual, the normed row, q, k, v and the mixed values, both gates and their product, and q and
        k twice in float32, before and after their rotation.
        """
        if not self.layers:
            return 0
        d, ff = self.layers[0].down.shape
        return self.layers[0].down.dtype.itemsize * (6 * d + 3 * ff) + 4 * 4 * d

    def allocate_caches(self, like: Tensor, series: int, samples: int, rows: int) -> list[KVCache]:
        """Allocate uninitialised caches, one per layer, for ``rows`` rows of each sample; of the type of ``like``."""
        if not self.layers:
            return []
        width = self.layers[0].down.shape[0] // self.n_heads
        shape = (series, self.n_heads, samples, rows, width)
        return [KVCache.allocate(like, shape) for _ in self.layers]

    def _qkv(self, layer: FusedLayer, x: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated q and k, and v, each ``[..., h, e]``; q is scaled."""
        heads = layer.qkv(rms_norm(x)).view(*x.shape[:-1], 3 * self.n_heads, -1)
        qk = rotate_interleaved(heads[..., : 2 * self.n_heads, :], rotation)
        return qk[..., : self.n_heads, :], qk[..., self.n_heads :, :], heads[..., 2 * self.n_heads :, :]

    @staticmethod
    def _finish_block(layer: FusedLayer, x: Tensor, mixed: Tensor) -> Tensor:
        """The rest of a block after attention: both residuals and the feed-forward layer."""
        x = x + layer.out(mixed)
        gate, up = layer.gates(rms_norm(x)).chunk(2, dim=-1)
        return x + layer.down(F.silu(gate) * up)


def bifurcated_attention(q: Tensor, shared: KVCache, own: KVCache, mask: Tensor | None) -> Tensor:
    """Causal attention of each sample's last rows to the shared history and to its own rows.

    Args:
        q: ``[B, h, S, t, e]``, scaled; the last t of the u own rows.
        shared: Keys and values of the history, ``[B, h, P, e]``.
        own: Keys and values of the samples' own rows, ``[B, h, S, u, e]``.
        mask: ``[B, 1, 1, P]`` to add to the scores of the history, or None.

    Returns:
        ``[B, h, S, t, e]``.
    """
    B, h, S, t, _ = q.shape
    columns = shared.keys.shape[2] + own.keys.shape[3]
    step = max(1, _SCORE_ELEMENTS // (B * h * t * columns))
    if step >= S:
        return _attend(q, shared, own, mask)
    pieces = [
        _attend(q[:, :, s], shared, KVCache(own.keys[:, :, s], own.values[:, :, s]), mask)
        for s in (slice(first, first + step) for first in range(0, S, step))
    ]
    return torch.cat(pieces, dim=2)


def _attend(q: Tensor, shared: KVCache, own: KVCache, mask: Tensor | None) -> Tensor:
    B, h, S, t, e = q.shape
    P, u = shared.keys.shape[2], own.keys.shape[3]
    to_shared = q.reshape(B, h, S * t, e) @ shared.keys.transpose(-1, -2)  # [B, h, S·t, P]
    if mask is not None:
        to_shared = to_shared + mask
    to_own = q @ own.keys.transpose(-1, -2)  # [B, h, S, t, u]
    if t > 1:
        rows = torch.arange(u - t, u, device=q.device)
        to_own = to_own.masked_fill(torch.arange(u, device=q.device) > rows[:, None], float("-inf"))
    weights = torch.cat((to_shared.view(B, h, S, t, P), to_own), dim=-1)
    # CUDA's softmax of bfloat16 sums in float32 and rounds once, without a float32 copy of all scores.
    if q.dtype == torch.bfloat16 and q.device.type != "cuda":
        weights = weights.softmax(-1, dtype=torch.float32).to(q.dtype)
    else:
        weights = weights.softmax(-1)
    from_shared = weights[..., :P].reshape(B, h, S * t, P) @ shared.values
    return from_shared.view(B, h, S, t, e) + weights[..., P:] @ own.values


class CrossProjections(NamedTuple):
    """Fused weights of a cross-attention: keys and values in one, ``[2d, d]`` and ``[2d]``; the query's, scaled."""

    kv: Tensor
    kv_bias: Tensor
    q: Tensor
    q_bias: Tensor


def cross_projections(attention: Attention, rotated: bool) -> CrossProjections:
    """Fuse the projections of the s2 attention, with interleaved rotary pairs if it is ``rotated``."""
    q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
    width = attention.rotary.inv_freq.shape[0] * 2
    order = interleave_rotary(width, attention.n_heads) if rotated else torch.arange(q.weight.shape[0])
    order = order.to(q.weight.device)
    scale = width**-0.5
    return CrossProjections(
        torch.cat((k.weight[order], v.weight)),
        torch.cat((k.bias[order], v.bias)),
        q.weight[order] * scale,
        q.bias[order] * scale,
    )

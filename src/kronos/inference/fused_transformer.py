"""Transformer stacks repacked for decoding: the same mathematics in fewer and larger products.

Notable here:
- q, k and v are one matrix product, so are the two gates; the norms' weights and the attention's scale are folded in;
- rotary pairs are made neighbours by permuting the rows of q and k, which leaves every dot product as it was and turns
  the rotation into one complex multiplication;
- `Stack.prefill` reads a history once; `Stack.extend` continues it for many samples, which share the history's keys
  and values and own only those of their own rows ("bifurcated" attention, Athiwaratkun et al. 2024). Samples lie on the
  query axis, so the shared part is one product per head, and one softmax over both parts keeps it exact.

Shapes: B series, S samples, h heads, P rows of shared history, t new rows, u own rows so far, d width, e head width.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kronos.nn.layers import NORM_EPS, Attention, RotaryEmbedding, TransformerBlock

# Rows of a score matrix made at once, in elements: beyond it samples are attended to in slices, which bounds memory.
_SCORE_ELEMENTS = 64 * 2**20
# Rows up to which `linear` puts the weights on the left. On two cores a single path took two thirds of the time with it
# (0.68 s for 1.05 s, kronos-small, 392 + 120); from six rows on there was nothing to gain.
_THIN = 4


@dataclass(frozen=True, slots=True)
class KVCache:
    """Keys and values of one layer: ``[B, h, P, e]`` shared, or ``[B, h, S, u, e]`` each sample's own."""

    keys: Tensor
    values: Tensor


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """One block's weights, fused; norms' weights and the attention's scale are inside."""

    qkv: Tensor  # [3d, d]
    qkv_bias: Tensor  # [3d]
    out: Tensor  # [d, d]
    out_bias: Tensor  # [d]
    gates: Tensor  # [2ff, d]
    down: Tensor  # [d, ff]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`, quicker for a few float32 rows on a processor.

    Its matrix library reads weights at a fraction of the memory's bandwidth when the left factor has only a few rows.
    With the weights as the left factor it does not, from two columns on: even one row is cheaper computed twice.
    """
    rows = x.numel() // x.shape[-1]
    if rows > _THIN or x.device.type != "cpu" or x.dtype != torch.float32:
        return F.linear(x, weight, bias)
    columns = x.reshape(rows, -1).t() if rows > 1 else x.reshape(1, -1).repeat(2, 1).t()
    product = weight @ columns if bias is None else torch.addmm(bias[:, None], weight, columns)
    return product[:, :rows].t().contiguous().view(*x.shape[:-1], -1)


@dataclass(frozen=True, slots=True)
class Linear:
    """A packed linear layer: ``weight [out, in]``, ``bias [out]``."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        return linear(x, self.weight, self.bias)


def rms(x: Tensor) -> Tensor:
    """``x · rsqrt(mean(x²) + ε)`` over the last axis, in float32 at least."""
    wide = x if x.dtype == torch.float64 else x.float()
    return F.rms_norm(wide, (x.shape[-1],), None, NORM_EPS).to(x.dtype)


def interleave_rotary(head_dim: int, n_heads: int) -> Tensor:
    """The order of rows ``[h · e]`` that puts the halves' rotary pairs (i, i + e/2) side by side in every head."""
    within = torch.arange(head_dim).view(2, -1).t().flatten()
    return (torch.arange(n_heads)[:, None] * head_dim + within).flatten()


class Rotations:
    """The rotations of positions as complex numbers, tabulated as far as windows reach."""

    def __init__(self, rotary: RotaryEmbedding, dtype: torch.dtype) -> None:
        self._rotary = rotary
        self._dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
        self._table = self._tabulate(512)

    def __call__(self, length: int) -> Tensor:
        """Positions 0 … at least length − 1: ``[≥ length, e/2]``."""
        if length > self._table.shape[0]:
            self._table = self._tabulate(2 * length)
        return self._table

    @torch.no_grad()
    def _tabulate(self, length: int) -> Tensor:
        half = self._rotary.inv_freq.shape[0]
        cos, sin = self._rotary.table(length)
        return torch.complex(cos[:, :half], sin[:, :half]).to(self._dtype)


def rotate_neighbours(x: Tensor, turn: Tensor) -> Tensor:
    """Rotate ``x [..., e]`` by ``turn [..., e/2]``; the result has the dtype of ``x``."""
    wide = x if x.dtype == torch.float64 else x.float()
    pairs = torch.view_as_complex(wide.view(*wide.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)


def pack(x: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy that doesn't follow the network's weights."""
    return x.detach().to(dtype, copy=True).contiguous()


def pack_layer(block: TransformerBlock, dtype: torch.dtype) -> PackedLayer:
    """Fuse one block's weights."""
    attention = block.self_attn
    order = interleave_rotary(attention.rotary.inv_freq.shape[0] * 2, attention.n_heads).to(block.norm1.weight.device)
    scale = (2 * attention.rotary.inv_freq.shape[0]) ** -0.5
    q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
    qkv = torch.cat((q.weight[order] * scale, k.weight[order], v.weight)) * block.norm1.weight
    bias = torch.cat((q.bias[order] * scale, k.bias[order], v.bias))
    gates = torch.cat((block.ffn.w1.weight, block.ffn.w3.weight)) * block.norm2.weight
    tensors = (qkv, bias, attention.out_proj.weight, attention.out_proj.bias, gates, block.ffn.w2.weight)
    return PackedLayer(*(pack(t, dtype) for t in tensors))


class FusedTransformer:
    """A list of transformer blocks, packed, with the operations decoding needs.

    Args:
        blocks: The blocks to pack; they may be trained on, the packed copy stays as it was.
        dtype: What to compute in.
    """

    def __init__(self, blocks: Iterable[nn.Module], dtype: torch.dtype) -> None:
        typed = [block for block in blocks if isinstance(block, TransformerBlock)]
        self.layers = [pack_layer(block, dtype) for block in typed]
        self.n_heads = typed[0].self_attn.n_heads if typed else 1
        self.rotations = Rotations(typed[0].self_attn.rotary if typed else RotaryEmbedding(2), dtype)

    def prefill(self, x: Tensor) -> tuple[Tensor, list[KVCache]]:
        """Read a history causally.

        Args:
            x: Embedded rows ``[B, P, d]``. Shorter series are padded at the right, where no real row looks.

        Returns:
            The rows after the last block ``[B, P, d]`` and each layer's keys and values ``[B, h, P, e]``.
        """
        turn = self.rotations(x.shape[1])[: x.shape[1], None]  # [P, 1, e/2]
        caches = []
        for layer in self.layers:
            q, k, v = (part.transpose(1, 2) for part in self._qkv(layer, x, turn))  # [B, h, P, e]
            caches.append(KVCache(k, v))
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
            x = self._close(layer, x, mixed.transpose(1, 2).flatten(-2))
        return x, caches

    def extend(
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
            shared: Of the history, one per layer.
            own: Caches of the samples' own rows ``[B, h, S, U, e]``, of which ``used`` are filled; the new ones are
                written behind them.
            start: The position of each series' first own row, ``[B]`` int64: its history's length.
            used: Own rows so far.
            mask: ``[B, 1, 1, P]``, 0 where a history row is real and −inf where it is padding; None where all are.

        Returns:
            The rows after the last block, ``[B, S, t, d]``.
        """
        t = x.shape[2]
        positions = start[:, None] + torch.arange(used, used + t, device=x.device)  # [B, t]
        turn = self.rotations(shared_rows(shared) + used + t)[positions][:, None, :, None]  # [B, 1, t, 1, e/2]
        for layer, past, mine in zip(self.layers, shared, own, strict=True):
            q, k, v = (part.permute(0, 3, 1, 2, 4) for part in self._qkv(layer, x, turn))  # [B, h, S, t, e]
            mine.keys[:, :, :, used : used + t] = k
            mine.values[:, :, :, used : used + t] = v
            filled = KVCache(mine.keys[:, :, :, : used + t], mine.values[:, :, :, : used + t])
            x = self._close(layer, x, bifurcated_attention(q, past, filled, mask).permute(0, 2, 3, 1, 4).flatten(-2))
        return x

    def own_caches(self, series: int, samples: int, rows: int) -> list[KVCache]:
        """Empty caches for that many own rows, one per layer."""
        if not self.layers:
            return []
        width = self.layers[0].down.shape[0] // self.n_heads
        shape = (series, self.n_heads, samples, rows, width)
        like = self.layers[0].qkv
        return [KVCache(like.new_empty(shape), like.new_empty(shape)) for _ in self.layers]

    def _qkv(self, layer: PackedLayer, x: Tensor, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated q and k, and v, each ``[..., h, e]``; q carries the scale."""
        heads = linear(rms(x), layer.qkv, layer.qkv_bias).view(*x.shape[:-1], 3 * self.n_heads, -1)
        qk = rotate_neighbours(heads[..., : 2 * self.n_heads, :], turn)
        return qk[..., : self.n_heads, :], qk[..., self.n_heads :, :], heads[..., 2 * self.n_heads :, :]

    @staticmethod
    def _close(layer: PackedLayer, x: Tensor, mixed: Tensor) -> Tensor:
        """The rest of a block after attention: both residuals and the feed-forward layer."""
        x = x + linear(mixed, layer.out, layer.out_bias)
        gate, up = linear(rms(x), layer.gates).chunk(2, dim=-1)
        return x + linear(F.silu(gate) * up, layer.down)


def shared_rows(caches: list[KVCache]) -> int:
    """P, the rows of the shared history (padding included)."""
    return caches[0].keys.shape[2] if caches else 0


def bifurcated_attention(q: Tensor, shared: KVCache, own: KVCache, mask: Tensor | None) -> Tensor:
    """Attention of each sample's last rows to the shared history and to its own rows, causally.

    Args:
        q: ``[B, h, S, t, e]``, scaled; the last t of the u own rows.
        shared: ``[B, h, P, e]``.
        own: ``[B, h, S, u, e]``.
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
    weights = weights.softmax(-1, dtype=torch.float32).to(q.dtype) if q.dtype == torch.bfloat16 else weights.softmax(-1)
    from_shared = weights[..., :P].reshape(B, h, S * t, P) @ shared.values
    return from_shared.view(B, h, S, t, e) + weights[..., P:] @ own.values


class CrossProjections(NamedTuple):
    """Weights of a cross-attention: keys' and values' in one, ``[2d, d]`` and ``[2d]``; the query's, scaled."""

    kv: Tensor
    kv_bias: Tensor
    q: Tensor
    q_bias: Tensor


def cross_projections(attention: Attention, rotated: bool) -> CrossProjections:
    """Fuse the s2 attention's projections; with rotary pairs side by side where it is ``rotated``."""
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

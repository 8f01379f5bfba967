"""The blocks that the tokenizer and the model share.

Notable here:
- rotary positions in the half-split convention, on queries and keys, counted from 0 at a window's first row;
- attention is causal whatever the mode: train/eval switches dropout and nothing else;
- one meaning of a padding mask everywhere: True marks a real position. A position always sees itself, so that a row
  of padding gives numbers (which nobody reads) instead of NaN;
- norms are computed in float32 at least, so that half precision doesn't lose their small sums.

Attribute names are the state-dict prefixes of published checkpoints, hence fixed.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROTARY_BASE = 10_000.0
NORM_EPS = 1e-5


class RMSNorm(nn.Module):
    """Root-mean-square normalisation (Zhang & Sennrich 2019): ``x · rsqrt(mean(x²) + 1e-5) · weight``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis; shape and dtype are kept."""
        wide = x if x.dtype == torch.float64 else x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + NORM_EPS)
        return normed.to(x.dtype) * self.weight


class FeedForward(nn.Module):
    """Gated feed-forward layer (SwiGLU, Shazeer 2020): ``w2(silu(w1 x) · w3 x)``, without biases."""

    def __init__(self, d_model: int, ff_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.w1 = nn.Linear(d_model, ff_dim, bias=False)
        self.w3 = nn.Linear(d_model, ff_dim, bias=False)
        self.w2 = nn.Linear(ff_dim, d_model, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., d_model]`` to the same shape."""
        return self.dropout(self.w2(F.silu(self.w1(x)) * self.w3(x)))  # type: ignore[no-any-return]


class RotaryEmbedding(nn.Module):
    """Rotary position embedding (Su et al. 2021), half-split: dimension i turns with dimension i + d/2."""

    inv_freq: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        # Tables are computed in numpy: arithmetic on the meta device would import torch's compiler, a second's work.
        exponents = np.arange(0, head_dim, 2, dtype=np.float32) / head_dim
        self.register_buffer("inv_freq", torch.tensor(1.0 / ROTARY_BASE**exponents))  # in checkpoints, so persistent

    def table(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines of positions 0 … length − 1, each ``[length, head_dim]``."""
        # Half precision counts exactly to 256 only.
        frequencies = self.inv_freq if self.inv_freq.dtype == torch.float64 else self.inv_freq.float()
        angles = torch.outer(torch.arange(length, device=frequencies.device, dtype=frequencies.dtype), frequencies)
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()

    def forward(self, *heads: Tensor) -> tuple[Tensor, ...]:
        """Rotate each of ``heads``, ``[B, h, T, head_dim]``, by its position; the shorter are the last of T rows."""
        cos, sin = self.table(max(x.shape[-2] for x in heads))
        return tuple(apply_rotary(x, cos[-x.shape[-2] :], sin[-x.shape[-2] :]) for x in heads)


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (i, i + d/2) of the last axis of ``x`` by the angles given; tables broadcast against ``x``."""
    first, second = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat((-second, first), dim=-1) * sin.to(x.dtype)


class Attention(nn.Module):
    """Multi-head causal attention with rotary positions; the query may be another than the context."""

    def __init__(self, d_model: int, n_heads: int, attn_dropout: float = 0.0, resid_dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attn_dropout = attn_dropout
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.rotary = RotaryEmbedding(d_model // n_heads)
        self.resid_dropout = nn.Dropout(resid_dropout)

    def forward(self, query: Tensor, context: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Row t of the query attends to rows 0 … t of the context.

        Args:
            query: ``[B, P, d_model]``; where P < T, of the last P rows.
            context: ``[B, T, d_model]``, what keys and values are made of.
            padding_mask: ``[B, T]`` bool, True where the context row is real; None where all are.

        Returns:
            ``[B, P, d_model]``.
        """
        q, k, v = (self.split(p(x)) for p, x in
                   ((self.q_proj, query), (self.k_proj, context), (self.v_proj, context)))  # fmt: skip
        q, k = self.rotary(q, k)
        mask = _mask(query.shape[1], context, padding_mask)
        dropout = self.attn_dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=mask is None)
        return self.merge(mixed)

    def attend_unrotated(self, query: Tensor, context: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """One query over all rows of the context, without positions: ``[B, 1, d_model]`` (no dropout)."""
        q, k, v = self.split(self.q_proj(query)), self.split(self.k_proj(context)), self.split(self.v_proj(context))
        mask = None if padding_mask is None else padding_mask.bool()[:, None, None, :]
        return self.merge(F.scaled_dot_product_attention(q, k, v, mask))

    def split(self, x: Tensor) -> Tensor:
        """``[B, T, d_model]`` to ``[B, h, T, head_dim]``."""
        return x.view(*x.shape[:-1], self.n_heads, -1).transpose(1, 2)

    def merge(self, x: Tensor) -> Tensor:
        """``[B, h, T, head_dim]`` to ``[B, T, d_model]``, projected out."""
        return self.resid_dropout(self.out_proj(x.transpose(1, 2).flatten(-2)))  # type: ignore[no-any-return]


def _mask(rows: int, context: Tensor, padding_mask: Tensor | None) -> Tensor | None:
    """Which rows of the context ``[B, T, d]`` its last ``rows`` may look at; None where all T do so causally."""
    length = context.shape[1]
    if padding_mask is not None:
        return _causal_and_real(padding_mask)[:, :, length - rows :]
    if rows == length:
        return None
    return torch.ones(rows, length, dtype=torch.bool, device=context.device).tril(length - rows)


def _causal_and_real(real: Tensor) -> Tensor:
    """The attention mask ``[B, 1, T, T]`` (True = may look) of a padding mask ``[B, T]``."""
    real, length = real.bool(), real.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
    itself = torch.eye(length, dtype=torch.bool, device=real.device)
    return (causal & real[:, None, :] | itself)[:, None]


class TransformerBlock(nn.Module):
    """Pre-norm block: ``x + attention(norm1 x)``, then ``x + feed-forward(norm2 x)``."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        ff_dim: int,
        ffn_dropout: float = 0.0,
        attn_dropout: float = 0.0,
        resid_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = RMSNorm(d_model)
        self.self_attn = Attention(d_model, n_heads, attn_dropout, resid_dropout)
        self.norm2 = RMSNorm(d_model)
        self.ffn = FeedForward(d_model, ff_dim, ffn_dropout)

    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Map ``[B, T, d_model]`` to the same shape, causally."""
        normed = self.norm1(x)
        x = x + self.self_attn(normed, normed, padding_mask)
        return x + self.ffn(self.norm2(x))  # type: ignore[no-any-return]


class Embedding(nn.Embedding):
    """An embedding table that `init_weights` fills; torch's own first filling would be thrown away."""

    def reset_parameters(self) -> None:
        """Leave the table as it is."""


def init_weights(module: nn.Module) -> None:
    """Initialise as the published system does: Xavier-normal matrices, zero biases, N(0, 1/d) embeddings.

    For ``module.apply``. Norms start at one by construction; networks on torch's meta device have no values to set.
    """
    if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
        return
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)

"""Layers shared by the tokenizer and the model.

- Rotary positions use the half-split convention, on queries and keys, and count from 0 at a window's first row.
- Attention is causal in training and in evaluation mode; the mode switches dropout only.
- A padding mask is True where a position is real. Every position attends to itself, so that rows of padding give
  finite numbers, which are ignored, instead of NaN.
- Norms are computed in float32 or wider, because half precision loses their small sums.

Attribute names are the state-dict prefixes of published checkpoints and must not change.
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
        """Normalise the last axis of ``x``; shape and dtype stay the same."""
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
    """Rotary position embedding (Su et al. 2021), half-split: dimensions i and i + d/2 form a pair."""

    inv_freq: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        # In NumPy, because arithmetic on the meta device imports torch's compiler, which takes a second.
        exponents = np.arange(0, head_dim, 2, dtype=np.float32) / head_dim
        self.register_buffer("inv_freq", torch.tensor(1.0 / ROTARY_BASE**exponents))  # persistent: part of checkpoints

    def table(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines of positions 0 … length − 1, each ``[length, head_dim]``."""
        # bfloat16 represents integers exactly up to 256 only.
        frequencies = self.inv_freq if self.inv_freq.dtype == torch.float64 else self.inv_freq.float()
        angles = torch.outer(torch.arange(length, device=frequencies.device, dtype=frequencies.dtype), frequencies)
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()

    def forward(self, *heads: Tensor) -> tuple[Tensor, ...]:
        """Rotate each of ``heads``, ``[B, h, T, head_dim]``, by position; shorter ones are the last of the T rows."""
        cos, sin = self.table(max(x.shape[-2] for x in heads))
        return tuple(apply_rotary(x, cos[-x.shape[-2] :], sin[-x.shape[-2] :]) for x in heads)


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + d/2) of the last axis of ``x``; the tables broadcast against ``x``."""
    first, second = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat((-second, first), dim=-1) * sin.to(x.dtype)


class Attention(nn.Module):
    """Multi-head causal attention with rotary positions, as self-attention or as cross-attention."""

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
        """Attend from row t of the query to rows 0 … t of the context.

        Args:
            query: ``[B, P, d_model]``; if P < T, the queries of the last P rows.
            context: ``[B, T, d_model]``, the source of keys and values.
            padding_mask: ``[B, T]`` bool, True where the context row is real; None if all are.

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
        """Attend from one query to all rows of the context, without positions or dropout: ``[B, 1, d_model]``."""
        q, k, v = self.split(self.q_proj(query)), self.split(self.k_proj(context)), self.split(self.v_proj(context))
        mask = None if padding_mask is None else padding_mask.bool()[:, None, None, :]
        return self.merge(F.scaled_dot_product_attention(q, k, v, mask))

    def split(self, x: Tensor) -> Tensor:
        """Split ``[B, T, d_model]`` into heads ``[B, h, T, head_dim]``."""
        return x.view(*x.shape[:-1], self.n_heads, -1).transpose(1, 2)

    def merge(self, x: Tensor) -> Tensor:
        """Join heads ``[B, h, T, head_dim]`` and project them to ``[B, T, d_model]``."""
        return self.resid_dropout(self.out_proj(x.transpose(1, 2).flatten(-2)))  # type: ignore[no-any-return]


def _mask(rows: int, context: Tensor, padding_mask: Tensor | None) -> Tensor | None:
    """The mask of the context's last ``rows`` queries over its T rows; None if plain causal attention suffices."""
    length = context.shape[1]
    if padding_mask is not None:
        return _causal_and_real(padding_mask)[:, :, length - rows :]
    if rows == length:
        return None
    return torch.ones(rows, length, dtype=torch.bool, device=context.device).tril(length - rows)


def _causal_and_real(real: Tensor) -> Tensor:
    """The attention mask ``[B, 1, T, T]``, True where attention is allowed, of a padding mask ``[B, T]``."""
    real, length = real.bool(), real.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
    diagonal = torch.eye(length, dtype=torch.bool, device=real.device)
    return (causal & real[:, None, :] | diagonal)[:, None]


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
    """An embedding table initialised by `init_weights` only."""

    def reset_parameters(self) -> None:
        """Skip torch's own initialisation, which `init_weights` would overwrite."""


def init_weights(module: nn.Module) -> None:
    """Initialise a module as published: Xavier-normal matrices, zero biases, N(0, 1/d) embeddings.

    Pass it to ``module.apply``. Norm weights already are ones; on torch's meta device there are no values to set.
    """
    if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
        return
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)

"""The model: a decoder-only transformer over pairs of tokens; of each pair the coarse token (s1) is sampled first.

- The logits of the fine token (s2) depend on the sampled coarse token, through a cross-attention from it to the states.
- That cross-attention has a training form (causal, rotated by position) and, in the published system, a different
  inference form (one unrotated query over all rows). `s2_attention` selects the form at inference: ``"published"`` for
  published checkpoints, ``"causal"`` for checkpoints that infer as they were trained. `Kronos.forward` is causal in
  every mode.
- Calendar features are indices into embedding tables, read from the wall clock of the timestamps.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kronos.errors import ParameterError
from kronos.nn.layers import Attention, Embedding, RMSNorm, TransformerBlock, init_weights
from kronos.nn.pretrained import PretrainedMixin

S2Attention = Literal["published", "causal"]
CROSS_HEADS = 4  # heads of the s2 cross-attention, independent of n_heads

# Rows of each calendar table, in the order of a stamp's columns.
CALENDAR_SIZES = {"minute": 60, "hour": 24, "weekday": 7, "day": 32, "month": 13}


class HierarchicalEmbedding(nn.Module):
    """Embedding of a pair of tokens: both embeddings, scaled by √d and concatenated, through a linear layer."""

    def __init__(self, s1_bits: int, s2_bits: int, d_model: int) -> None:
        super().__init__()
        self.emb_s1 = Embedding(2**s1_bits, d_model)
        self.emb_s2 = Embedding(2**s2_bits, d_model)
        self.fusion_proj = nn.Linear(2 * d_model, d_model)
        self.scale = math.sqrt(d_model)

    def forward(self, s1_ids: Tensor, s2_ids: Tensor) -> Tensor:
        """Embed ids ``[B, T]`` and ``[B, T]`` as ``[B, T, d_model]``."""
        joined = torch.cat((self.emb_s1(s1_ids), self.emb_s2(s2_ids)), dim=-1) * self.scale
        return self.fusion_proj(joined)  # type: ignore[no-any-return]


class FixedEmbedding(nn.Module):
    """A fixed sinusoidal embedding (Vaswani et al. 2017); loading a checkpoint replaces the table."""

    def __init__(self, rows: int, d_model: int) -> None:
        super().__init__()
        angles = np.outer(np.arange(rows), 10_000.0 ** -(np.arange(0, d_model, 2) / d_model))
        table = np.stack((np.sin(angles), np.cos(angles)), axis=-1).reshape(rows, -1)[:, :d_model]
        self.emb = nn.Embedding.from_pretrained(torch.tensor(table, dtype=torch.float32), freeze=True)  # type: ignore[no-untyped-call]

    def forward(self, index: Tensor) -> Tensor:
        """Embed indices ``[...]`` as ``[..., d_model]``."""
        return self.emb(index)  # type: ignore[no-any-return]


class TemporalEmbedding(nn.Module):
    """Sum of five calendar embeddings: minute, hour, weekday, day of the month, month."""

    def __init__(self, d_model: int, learn: bool) -> None:
        super().__init__()
        table = Embedding if learn else FixedEmbedding
        for name, rows in CALENDAR_SIZES.items():
            self.add_module(f"{name}_embed", table(rows, d_model))

    def forward(self, stamp: Tensor) -> Tensor:
        """Embed calendar features ``[B, T, 5]`` as ``[B, T, d_model]``."""
        columns = stamp.long().unbind(-1)
        parts = (self.get_submodule(f"{name}_embed")(c) for name, c in zip(CALENDAR_SIZES, columns, strict=True))
        return sum(parts, start=torch.zeros((), device=stamp.device))


class DependencyAwareLayer(nn.Module):
    """Conditions the states on the sampled coarse token: ``norm(states + cross-attention)``."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.cross_attn = Attention(d_model, CROSS_HEADS)
        self.norm = RMSNorm(d_model)

    def forward(self, states: Tensor, query: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Apply the training form: the query of row t attends to rows 0 … t, rotated by position.

        States ``[B, T, d_model]`` and queries of the last P rows ``[B, P, d_model]`` give ``[B, P, d_model]``.
        """
        return self.norm(states[:, -query.shape[1] :] + self.cross_attn(query, states, padding_mask))  # type: ignore[no-any-return]

    def infer(self, states: Tensor, query: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Apply the published inference form: one query ``[B, 1, d_model]`` over all rows, unrotated."""
        return self.norm(states + self.cross_attn.attend_unrotated(query, states, padding_mask))  # type: ignore[no-any-return]


class DualHead(nn.Module):
    """The output layers of both tokens, and their loss."""

    def __init__(self, s1_bits: int, s2_bits: int, d_model: int) -> None:
        super().__init__()
        self.proj_s1 = nn.Linear(d_model, 2**s1_bits)
        self.proj_s2 = nn.Linear(d_model, 2**s2_bits)

    def forward(self, x: Tensor) -> Tensor:
        """The s1 logits ``[B, T, 2^s1_bits]`` of states ``[B, T, d_model]``."""
        return self.proj_s1(x)  # type: ignore[no-any-return]

    def cond_forward(self, x: Tensor) -> Tensor:
        """The s2 logits ``[B, T, 2^s2_bits]`` of states conditioned on the coarse token ``[B, T, d_model]``."""
        return self.proj_s2(x)  # type: ignore[no-any-return]

    def compute_loss(
        self,
        s1_logits: Tensor,
        s2_logits: Tensor,
        s1_targets: Tensor,
        s2_targets: Tensor,
        padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy in nats of both tokens over the real positions: scalars ``(mean of both, s1, s2)``.

        Args:
            s1_logits: ``[B, T, 2^s1_bits]``.
            s2_logits: ``[B, T, 2^s2_bits]``.
            s1_targets: ``[B, T]``, coarse ids of the next candles.
            s2_targets: ``[B, T]``, fine ids of the next candles.
            padding_mask: ``[B, T]`` bool, True where the position is real; None if all are.
        """
        if padding_mask is not None:
            real = padding_mask.bool()
            s1_logits, s2_logits = s1_logits[real], s2_logits[real]
            s1_targets, s2_targets = s1_targets[real], s2_targets[real]
        s1 = F.cross_entropy(s1_logits.flatten(0, -2), s1_targets.flatten())
        s2 = F.cross_entropy(s2_logits.flatten(0, -2), s2_targets.flatten())
        return (s1 + s2) / 2, s1, s2


class Kronos(PretrainedMixin):
    """The forecasting network: logits of the next pair of tokens.

    Args:
        s1_bits: Bits of the coarse token.
        s2_bits: Bits of the fine token.
        n_layers: Transformer blocks.
        d_model: Width; a multiple of 8 and of 2 × n_heads.
        n_heads: Attention heads of the blocks.
        ff_dim: Width of the feed-forward layers.
        ffn_dropout_p: Dropout after the feed-forward layers, in training.
        attn_dropout_p: Dropout of attention weights, in training.
        resid_dropout_p: Dropout after attention, in training.
        token_dropout_p: Dropout of the token embedding, in training.
        learn_te: Whether the calendar tables are learnt.
        s2_attention: Form of the s2 cross-attention at inference, ``"published"`` or ``"causal"``; see the module.

    Raises:
        ParameterError: If sizes are incompatible or ``s2_attention`` is unknown.
    """

    kind: ClassVar = "model"

    def __init__(
        self,
        s1_bits: int,
        s2_bits: int,
        n_layers: int,
        d_model: int,
        n_heads: int,
        ff_dim: int,
        ffn_dropout_p: float,
        attn_dropout_p: float,
        resid_dropout_p: float,
        token_dropout_p: float,
        learn_te: bool,
        s2_attention: S2Attention = "published",
    ) -> None:
        super().__init__()
        self._record_config(locals())
        if d_model % (2 * n_heads) or d_model % (2 * CROSS_HEADS):
            raise ParameterError(
                f"Invalid d_model {d_model}: choose a multiple of {2 * CROSS_HEADS} and of 2 × n_heads = {2 * n_heads}."
            )
        if s2_attention not in ("published", "causal"):
            raise ParameterError(f"Invalid s2_attention '{s2_attention}': choose 'published' or 'causal'.")
        self.s1_bits, self.s2_bits = s1_bits, s2_bits
        self.s2_attention: S2Attention = s2_attention
        self.embedding = HierarchicalEmbedding(s1_bits, s2_bits, d_model)
        self.time_emb = TemporalEmbedding(d_model, learn_te)
        self.token_drop = nn.Dropout(token_dropout_p)
        self.transformer = nn.ModuleList(
            TransformerBlock(d_model, n_heads, ff_dim, ffn_dropout_p, attn_dropout_p, resid_dropout_p)
            for _ in range(n_layers)
        )
        self.norm = RMSNorm(d_model)
        self.dep_layer = DependencyAwareLayer(d_model)
        self.head = DualHead(s1_bits, s2_bits, d_model)
        self.apply(_init_all_but_fixed)

    def forward(
        self,
        s1_ids: Tensor,
        s2_ids: Tensor,
        stamp: Tensor | None = None,
        padding_mask: Tensor | None = None,
        use_teacher_forcing: bool = False,
        s1_targets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Compute the logits of the next pair at every position, in the training form: causal in every mode.

        Args:
            s1_ids: Coarse ids ``[B, T]`` int64.
            s2_ids: Fine ids ``[B, T]`` int64.
            stamp: Calendar features ``[B, T, 5]``: minute, hour, weekday (Monday 0), day, month; None to omit them.
            padding_mask: ``[B, T]`` bool, True where the position is real.
            use_teacher_forcing: Condition the s2 head on ``s1_targets`` instead of on coarse tokens sampled from the
                s1 logits with torch's global generator, as in the published training.
            s1_targets: The next coarse ids ``[B, T]``.

        Returns:
            s1 logits ``[B, T, 2^s1_bits]`` and s2 logits ``[B, T, 2^s2_bits]``.

        Raises:
            ParameterError: If ``use_teacher_forcing`` is set without ``s1_targets``.
        """
        s1_logits, states = self.decode_s1(s1_ids, s2_ids, stamp, padding_mask)
        if use_teacher_forcing:
            if s1_targets is None:
                raise ParameterError("use_teacher_forcing needs s1_targets.")
            s1 = s1_targets
        else:
            probabilities = s1_logits.detach().float().softmax(-1)
            s1 = torch.multinomial(probabilities.flatten(0, 1), 1).view(s1_ids.shape)
        query = self.embedding.emb_s1(s1)
        return s1_logits, self.head.cond_forward(self.dep_layer(states, query, padding_mask))

    def decode_s1(
        self, s1_ids: Tensor, s2_ids: Tensor, stamp: Tensor | None = None, padding_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The s1 logits ``[B, T, 2^s1_bits]`` and the states ``[B, T, d_model]`` for `decode_s2`.

        The arguments are those of `forward`.
        """
        states = self.states(s1_ids, s2_ids, stamp, padding_mask)
        return self.head(states), states

    def states(
        self, s1_ids: Tensor, s2_ids: Tensor, stamp: Tensor | None = None, padding_mask: Tensor | None = None
    ) -> Tensor:
        """The normalised output of the last block ``[B, T, d_model]``, which both heads read.

        The arguments are those of `forward`.
        """
        x = self.embedding(s1_ids, s2_ids)
        if stamp is not None:
            x = x + self.time_emb(stamp)
        x = self.token_drop(x)
        for block in self.transformer:
            x = block(x, padding_mask)
        return self.norm(x)  # type: ignore[no-any-return]

    def decode_s2(self, context: Tensor, s1_ids: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """The s2 logits of every row, given coarse tokens.

        Args:
            context: The states ``[B, T, d_model]`` of `decode_s1`.
            s1_ids: The token sampled for the row after the last, ``[B, 1]``; or one per row, ``[B, T]``, for the
                training form.
            padding_mask: ``[B, T]`` bool, True where the row is real.

        Returns:
            ``[B, T, 2^s2_bits]``. With one token only the last row is meaningful: the others are the same attention
            added to their own state, as in the published system.

        Raises:
            ParameterError: If ``s1_ids`` has neither 1 nor T tokens.
        """
        rows, tokens = context.shape[1], s1_ids.shape[1]
        if tokens not in (1, rows):
            raise ParameterError(f"s1_ids has {tokens} tokens for {rows} rows: pass 1, or 1 per row.")
        query = self.embedding.emb_s1(s1_ids)
        if tokens == rows or self.s2_attention == "causal":
            # One token in the training form: the same query on every row, of which only the last matters.
            return self.head.cond_forward(self.dep_layer(context, query.expand_as(context), padding_mask))
        return self.head.cond_forward(self.dep_layer.infer(context, query, padding_mask))


def _init_all_but_fixed(module: nn.Module) -> None:
    if not (isinstance(module, nn.Embedding) and not module.weight.requires_grad):
        init_weights(module)

"""The decoding engine: many sample paths from one shared history, exactly.

Notable here:
- a history is tokenised, embedded and read once per series, never per sample; samples own only the rows they generate;
- the embedding tables are folded with the fusion layer, and the s2 query is looked up from a table;
- series of different lengths share a batch by padding at the right: attention is causal, so no real row sees it;
- once history and forecast exceed the context, the published system slides its window and restarts positions, which no
  cache survives (deeper rows depend on what was dropped). The same is done here exactly, but the part of the window
  that samples share is read once for all of them;
- what is drawn from the logits is not decided here: a `Chooser` is handed in (`kronos.inference.sampling`).

Shapes: B series, S samples, T rows of history, H steps, C the context, V a vocabulary, d width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.errors import ParameterError
from kronos.inference.fused_transformer import (
    FusedTransformer,
    KVCache,
    Linear,
    Rotations,
    bifurcated_attention,
    cross_projections,
    linear,
    pack,
    rms,
    rotate_neighbours,
)
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.model import CALENDAR_SIZES, CROSS_HEADS
from kronos.nn.quantizer import signs


class TokenSampler(Protocol):
    """Decides on tokens from logits."""

    def __call__(self, step: int, head: int, logits: Tensor) -> Tensor:
        """Choose.

        Args:
            step: Which candle is generated, from 0.
            head: 0 for the coarse token, 1 for the fine one.
            logits: ``[B, 1, V]`` where samples still share them, ``[B, S, V]`` otherwise.

        Returns:
            Ids ``[B, S]`` int64.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tokens:
    """Pairs of tokens: coarse and fine ids, both ``[B, T]`` or both ``[B, S, H]``, int64."""

    s1: Tensor
    s2: Tensor


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a rollout starts from; series may differ in length.

    Attributes:
        tokens: ``[B, T]``, padded at the right with any valid ids.
        lengths: ``[B]`` int64, the real rows of each.
        stamps: ``[B, T, 5]``, calendar features of the history.
        future_stamps: ``[B, H, 5]``, of the steps to come.
    """

    tokens: Tokens
    lengths: Tensor
    stamps: Tensor
    future_stamps: Tensor

    @property
    def ragged(self) -> bool:
        """Whether lengths differ."""
        return bool((self.lengths != self.tokens.s1.shape[1]).any())


class ModelDecoder:
    """A `Kronos`, packed for decoding. The packed copy doesn't follow later changes of the network.

    Args:
        model: The network, on any device.
        dtype: What to compute in.
    """

    @torch.no_grad()
    def __init__(self, model: Kronos, dtype: torch.dtype) -> None:
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        self.dtype, self.wide_dtype = dtype, wide
        self.device = model.norm.weight.device
        self.stack = FusedTransformer(model.transformer, dtype)
        embedding, d = model.embedding, model.norm.weight.shape[0]
        fusion = embedding.fusion_proj.weight * embedding.scale
        self.table1 = pack(embedding.emb_s1.weight @ fusion[:, :d].T + embedding.fusion_proj.bias, dtype)  # [V1, d]
        self.table2 = pack(embedding.emb_s2.weight @ fusion[:, d:].T, dtype)  # [V2, d]
        tables = (model.time_emb.get_submodule(f"{name}_embed") for name in CALENDAR_SIZES)
        self.calendar = [pack(next(table.parameters()), dtype) for table in tables]
        self.norm = pack(model.norm.weight, dtype)
        cross = model.dep_layer.cross_attn
        self.rotations = Rotations(cross.rotary, dtype) if model.s2_attention == "causal" else None
        packed = cross_projections(cross, self.rotations is not None)
        self.cross_kv, self.cross_kv_bias = pack(packed.kv, dtype), pack(packed.kv_bias, dtype)
        self.queries = pack(F.linear(embedding.emb_s1.weight, packed.q, packed.q_bias), dtype)  # [V1, d]
        self.cross_out, self.cross_out_bias = pack(cross.out_proj.weight, dtype), pack(cross.out_proj.bias, dtype)
        # Logits are always wide: rounded to bfloat16, a large one would be off by several percent of its probability.
        self.head1, self.head1_bias = pack(model.head.proj_s1.weight, wide), pack(model.head.proj_s1.bias, wide)
        self.head2 = pack(model.head.proj_s2.weight * model.dep_layer.norm.weight, wide)
        self.head2_bias = pack(model.head.proj_s2.bias, wide)

    @property
    def row_bytes(self) -> int:
        """Bytes of keys and values that one row of a window takes: in every layer, and for the s2 attention."""
        return 2 * (len(self.stack.layers) + 1) * self.norm.numel() * self.norm.element_size()

    def embed(self, tokens: Tokens, calendar: Tensor) -> Tensor:
        """Rows ``[..., d]`` of tokens ``[...]``, given their embedded calendar features ``[..., d]``."""
        return self.table1[tokens.s1] + self.table2[tokens.s2] + calendar

    def embed_calendar(self, stamps: Tensor) -> Tensor:
        """``[B, T, 5]`` to ``[B, T, d]``."""
        parts = [table[column] for table, column in zip(self.calendar, stamps.unbind(-1), strict=True)]
        return torch.stack(parts).sum(0)

    def states(self, x: Tensor) -> Tensor:
        """The normalised output that both heads read, from the last block's rows ``[..., d]``."""
        return rms(x) * self.norm

    def s1_logits(self, state: Tensor) -> Tensor:
        """``[B, S, d]`` to ``[B, S, V1]``, float32 at least."""
        return linear(state.to(self.wide_dtype), self.head1, self.head1_bias)

    def s2_logits(self, view: DecodeState, s1: Tensor) -> Tensor:
        """Logits ``[B, S, V2]``, float32 at least, given the coarse tokens chosen ``[B, S]``."""
        q = self.queries[s1].view(*s1.shape, CROSS_HEADS, -1)  # [B, S, 4, e]
        if self.rotations is not None:
            q = rotate_neighbours(q, self.rotations(view.last + 1)[view.positions][:, None, None])
        q = q.transpose(1, 2).unsqueeze(3)  # [B, 4, S, 1, e]
        own = view.own or KVCache(*(view.shared.keys.new_empty(*q.shape[:3], 0, q.shape[-1]) for _ in range(2)))
        mixed = bifurcated_attention(q, view.shared, own, view.mask).squeeze(3).transpose(1, 2).flatten(-2)  # [B, S, d]
        hidden = view.state + linear(mixed, self.cross_out, self.cross_out_bias)
        return linear(rms(hidden.to(self.wide_dtype)), self.head2, self.head2_bias)

    def cross_keys(self, states: Tensor, first: Tensor, last: int) -> KVCache:
        """Keys and values ``[B, 4, S, t, e]`` of the s2 attention.

        Args:
            states: ``[B, S, t, d]``.
            first: Position of the first of the t rows, ``[B]``.
            last: The largest position, to tabulate rotations to.
        """
        heads = linear(states, self.cross_kv, self.cross_kv_bias).view(*states.shape[:-1], 2 * CROSS_HEADS, -1)
        keys, values = heads.chunk(2, dim=-2)  # [B, S, t, 4, e]
        if self.rotations is not None:
            t = states.shape[2]
            positions = first[:, None] + torch.arange(t, device=first.device)
            keys = rotate_neighbours(keys, self.rotations(last + 1)[positions][:, None, :, None])
        return KVCache(keys.permute(0, 3, 1, 2, 4), values.permute(0, 3, 1, 2, 4))


@dataclass(slots=True)
class DecodeState:
    """What the heads read before a step: the last states, and the s2 attention's keys and values of the whole window.

    Attributes:
        state: ``[B, 1, d]`` while samples share it, ``[B, S, d]`` afterwards.
        shared: Of the history, ``[B, 4, P, e]``.
        own: Of the samples' own rows, ``[B, 4, S, u, e]``; None before the first.
        positions: Of the last row, ``[B]``.
        last: The largest of them.
        mask: ``[B, 1, 1, P]``, −inf where the history is padding; None where nothing is.
    """

    state: Tensor
    shared: KVCache
    own: KVCache | None
    positions: Tensor
    last: int
    mask: Tensor | None


class Rollout:
    """One batch of prompts on its way through the steps.

    Args:
        decoder: The packed model.
        prompt: Where to start from.
        samples: Paths of each series, S.
        context: The longest window, C.

    Raises:
        ValueError: If series differ in length and the longest would outgrow the context.
    """

    def __init__(self, decoder: ModelDecoder, prompt: Prompt, samples: int, context: int) -> None:
        self.decoder, self.samples, self.context = decoder, samples, context
        self.horizon = prompt.future_stamps.shape[1]
        self.lengths = prompt.lengths
        self.rows = prompt.tokens.s1.shape[1]
        self.cached = min(self.horizon, max(0, context - self.rows + 1))  # steps that a growing window serves
        if prompt.ragged and self.cached < self.horizon:
            raise ValueError("Series of different lengths can't slide together.")
        self.history = decoder.embed(prompt.tokens, decoder.embed_calendar(prompt.stamps))  # [B, T, d]
        self.future_calendar = decoder.embed_calendar(prompt.future_stamps)  # [B, H, d]
        self.mask = _padding_mask(self.lengths, self.rows, self.history.dtype) if prompt.ragged else None

    def run(self, choose: TokenSampler) -> Tokens:
        """Generate all steps; ids ``[B, S, H]``."""
        B, device = self.history.shape[0], self.history.device
        shape = (B, self.samples, self.horizon)
        chosen = Tokens(*(torch.empty(shape, dtype=torch.long, device=device) for _ in range(2)))
        views = self._growing(chosen) if self.cached else iter(())
        for step in range(self.horizon):
            view = next(views) if step < self.cached else self._slid(chosen, step)
            chosen.s1[:, :, step] = choose(step, 0, self.decoder.s1_logits(view.state))
            chosen.s2[:, :, step] = choose(step, 1, self.decoder.s2_logits(view, chosen.s1[:, :, step]))
        return chosen

    def _embed_own(self, chosen: Tokens, steps: slice) -> Tensor:
        """Rows ``[B, S, t, d]`` of generated candles."""
        calendar = self.future_calendar[:, None, steps]
        return self.decoder.embed(Tokens(chosen.s1[:, :, steps], chosen.s2[:, :, steps]), calendar)

    def _growing(self, chosen: Tokens) -> Iterator[DecodeState]:
        """The views of the steps whose window still holds the whole history, through caches."""
        decoder, B = self.decoder, self.history.shape[0]
        x, shared = decoder.stack.prefill(self.history)
        states = decoder.states(x)
        zeros = torch.zeros_like(self.lengths)
        cross = _unsample(decoder.cross_keys(states[:, None], zeros, self.rows - 1))
        state = states[torch.arange(B, device=x.device), self.lengths - 1][:, None]
        yield DecodeState(state, cross, None, self.lengths - 1, self.rows - 1, self.mask)
        own = decoder.stack.own_caches(B, self.samples, self.cached - 1)
        width = cross.keys.shape[-1]
        mine = KVCache(*(x.new_empty(B, CROSS_HEADS, self.samples, self.cached - 1, width) for _ in range(2)))
        for step in range(self.cached - 1):
            row = self._embed_own(chosen, slice(step, step + 1))
            x = decoder.stack.extend(row, shared, own, self.lengths, step, self.mask)
            states = decoder.states(x)  # [B, S, 1, d]
            added = decoder.cross_keys(states, self.lengths + step, self.rows + step)
            mine.keys[:, :, :, step : step + 1] = added.keys
            mine.values[:, :, :, step : step + 1] = added.values
            filled = KVCache(mine.keys[:, :, :, : step + 1], mine.values[:, :, :, : step + 1])
            yield DecodeState(states[:, :, 0], cross, filled, self.lengths + step, self.rows + step, self.mask)

    def _slid(self, chosen: Tokens, step: int) -> DecodeState:
        """The view of a step whose window has dropped old rows: read again, the shared part once for all samples."""
        decoder, B = self.decoder, self.history.shape[0]
        kept = self.context - step  # rows of the history still in the window
        x, shared = decoder.stack.prefill(self.history[:, self.rows - kept :])
        states = decoder.states(x)
        start = torch.full_like(self.lengths, kept)
        last = self.context - 1
        cross = _unsample(decoder.cross_keys(states[:, None], torch.zeros_like(start), last))
        if step == 0:
            return DecodeState(states[:, -1:], cross, None, start - 1, last, None)
        own = decoder.stack.own_caches(B, self.samples, step)
        x = decoder.stack.extend(self._embed_own(chosen, slice(0, step)), shared, own, start, 0)
        states = decoder.states(x)  # [B, S, step, d]
        return DecodeState(
            states[:, :, -1], cross, decoder.cross_keys(states, start, last), start + step - 1, last, None
        )


class TokenizerDecoder:
    """A `KronosTokenizer`, packed: candles to tokens, and generated tokens to candles.

    It computes in the network's own dtype, never in less: codes are decided by signs.

    Args:
        tokenizer: The network, on any device. The packed copy doesn't follow its later changes.
    """

    @torch.no_grad()
    def __init__(self, tokenizer: KronosTokenizer) -> None:
        dtype = tokenizer.head.weight.dtype
        self.dtype = torch.float64 if dtype == torch.float64 else torch.float32
        self.quantizer = tokenizer.quantizer
        self.s1_bits, self.s2_bits = tokenizer.s1_bits, tokenizer.s2_bits
        self.encoder, self.decoder = (
            FusedTransformer(tokenizer.encoder, self.dtype),
            FusedTransformer(tokenizer.decoder, self.dtype),
        )
        layers = tokenizer.embed, tokenizer.quant_embed, tokenizer.post_quant_embed, tokenizer.head
        self.embed, self.quant_embed, self.post_quant_embed, self.head = (
            Linear(pack(layer.weight, self.dtype), pack(layer.bias, self.dtype)) for layer in layers
        )

    def encode(self, x: Tensor) -> Tokens:
        """Tokens ``[B, T]`` of normalised candles ``[B, T, 6]``; padding belongs at the right."""
        hidden, _ = self.encoder.prefill(self.embed(x.to(self.dtype)))
        return Tokens(*self.quantizer.ids(signs(self.quant_embed(hidden))))

    def decode(self, history: Tokens, lengths: Tensor, own: Tokens) -> tuple[Tensor, Tensor]:
        """Normalised candles, of the history once for all samples and of every sample's steps.

        Args:
            history: ``[B, P]``, what of the history the window holds, padded at the right.
            lengths: ``[B]``, its real rows.
            own: ``[B, S, H]``.

        Returns:
            ``[B, P, 6]`` and ``[B, S, H, 6]``.
        """
        B, S, H = own.s1.shape
        rows = history.s1.shape[1]
        ragged = bool((lengths != rows).any())
        mask = _padding_mask(lengths, rows, self.dtype) if ragged else None
        past, shared = self.decoder.prefill(self._embed_tokens(history))
        caches = self.decoder.own_caches(B, S, H)
        x = self.decoder.extend(self._embed_tokens(own), shared, caches, lengths, 0, mask)
        return self.head(past), self.head(x)

    def _embed_tokens(self, tokens: Tokens) -> Tensor:
        parts = self.quantizer.code(tokens.s1, self.s1_bits), self.quantizer.code(tokens.s2, self.s2_bits)
        return self.post_quant_embed(torch.cat(parts, dim=-1).to(self.dtype))


def _unsample(caches: KVCache) -> KVCache:
    """``[B, 4, 1, P, e]`` of a shared history to ``[B, 4, P, e]``."""
    return KVCache(caches.keys.squeeze(2), caches.values.squeeze(2))


def _padding_mask(lengths: Tensor, rows: int, dtype: torch.dtype) -> Tensor:
    """``[B, 1, 1, rows]``: 0 where a row is real, −inf where it is padding."""
    padding = torch.arange(rows, device=lengths.device) >= lengths[:, None]
    zeros = torch.zeros(padding.shape, dtype=dtype, device=lengths.device)
    return zeros.masked_fill_(padding, float("-inf"))[:, None, None]


@dataclass(frozen=True, slots=True)
class PackedModel:
    """Both networks, packed."""

    model: ModelDecoder
    tokenizer: TokenizerDecoder

    @classmethod
    def pack(cls, model: Kronos, tokenizer: KronosTokenizer, dtype: torch.dtype) -> PackedModel:
        """Pack both networks, the model in ``dtype``, the tokenizer in its own.

        Raises:
            ParameterError: If the tokenizer's bits are not the model's.
        """
        if (model.s1_bits, model.s2_bits) != (tokenizer.s1_bits, tokenizer.s2_bits):
            raise ParameterError(
                f"This tokenizer makes tokens of {tokenizer.s1_bits} + {tokenizer.s2_bits} bits, but the model reads "
                f"{model.s1_bits} + {model.s2_bits}; load the tokenizer that belongs to the model."
            )
        if tokenizer.d_in != CHANNELS:
            raise ParameterError(f"This tokenizer reads {tokenizer.d_in} channels, but a candle has {CHANNELS}.")
        return cls(ModelDecoder(model, dtype), TokenizerDecoder(tokenizer))


CHANNELS = 6


def check_horizon(horizon: int, context: int, least: int = 1) -> None:
    """Refuse a horizon that is empty or leaves no room for history.

    Args:
        horizon: Candles to forecast.
        context: Candles of history and forecast together.
        least: Candles of history that the model needs.

    Raises:
        ParameterError: Then.
    """
    if horizon < 1:
        raise ParameterError(f"The horizon is {horizon}, but must be at least 1 candle.")
    if horizon > context - least:
        left = f"{context - horizon} of the {least} candles of history it needs" if horizon < context else "no history"
        raise ParameterError(
            f"The horizon of {horizon} candles leaves {left} in a context of {context}; "
            f"forecast at most {context - least}."
        )

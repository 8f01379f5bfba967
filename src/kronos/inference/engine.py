"""The decoding engine: many sample paths from one shared history, without approximation.

`Rollout.generate` is the loop: `prefill` reads the history, `decode_step` adds one candle, `sample` picks its tokens.

- A history is tokenised, embedded and read once per series, not once per sample; samples only own the rows they add.
- Embedding tables are folded with the fusion layer, and the query of the s2 attention is looked up in a table.
- Series of different lengths share a batch by padding at the right: attention is causal, so no real row sees padding.
- Once history and forecast exceed the context, the published system slides its window and restarts the positions,
  which invalidates any cache, because deeper rows depend on dropped ones. `Rollout` reproduces that exactly, but reads
  the part of the window that samples share once for all of them.
- How tokens are picked from logits is up to the `TokenSampler` (`kronos.inference.sampling`).

Shapes: B series, S samples, T rows of history, H steps, C the context, V a vocabulary, d width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.errors import ParameterError
from kronos.inference.cuda_graphs import GraphCache, cuda_graph_cache
from kronos.inference.fused_transformer import (
    FusedTransformer,
    KVCache,
    Rotations,
    bifurcated_attention,
    cross_projections,
    rms_norm,
    rotate_interleaved,
)
from kronos.inference.packed_linear import PackedLinear, pack
from kronos.inference.sampling import is_whole
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.model import CALENDAR_SIZES, CROSS_HEADS
from kronos.nn.quantizer import signs
from kronos.progress import ProgressCallback

CHANNELS = 6  # of a candle: open, high, low, close, volume, amount


class TokenSampler(Protocol):
    """Picks tokens from logits."""

    def __call__(self, step: int, head: int, logits: Tensor) -> Tensor:
        """Pick one token per sample.

        Args:
            step: Number of the candle to generate, from 0.
            head: 0 for the coarse token, 1 for the fine token.
            logits: ``[B, 1, V]`` while samples share them, ``[B, S, V]`` afterwards.

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
    """A batch of histories to continue; they may differ in length.

    Attributes:
        tokens: ``[B, T]``, padded at the right with any valid ids.
        lengths: Real rows of each series, ``[B]`` int64.
        stamps: Calendar features of the history, ``[B, T, 5]``.
        future_stamps: Calendar features of the steps to generate, ``[B, H, 5]``.
        padded: Whether there may be padding whatever the lengths, which are then not read from the device.
    """

    tokens: Tokens
    lengths: Tensor
    stamps: Tensor
    future_stamps: Tensor
    padded: bool = False

    @property
    def ragged(self) -> bool:
        """Whether padding has to be masked."""
        return self.padded or bool((self.lengths != self.tokens.s1.shape[1]).any())


class ModelDecoder:
    """A `Kronos` packed for decoding; the copy does not follow later changes of the network.

    Args:
        model: The network, on any device.
        dtype: Type to compute in.
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
        self.cross_kv = PackedLinear(packed.kv, packed.kv_bias, dtype)
        self.queries = pack(F.linear(embedding.emb_s1.weight, packed.q, packed.q_bias), dtype)  # [V1, d]
        self.cross_out = PackedLinear(cross.out_proj.weight, cross.out_proj.bias, dtype)
        # Logits are always wide: rounded to bfloat16, a large one would be off by several percent of its probability.
        self.head1 = PackedLinear(model.head.proj_s1.weight, model.head.proj_s1.bias, wide)
        self.head2 = PackedLinear(
            model.head.proj_s2.weight * model.dep_layer.norm.weight, model.head.proj_s2.bias, wide
        )

    @property
    def row_bytes(self) -> int:
        """Bytes of keys and values per row of a window: of all layers and of the s2 attention."""
        return 2 * (len(self.stack.layers) + 1) * self.norm.numel() * self.norm.element_size()

    def embed(self, tokens: Tokens, calendar: Tensor) -> Tensor:
        """Embed tokens ``[...]``, given their embedded calendar features ``[..., d]``, as ``[..., d]``."""
        return self.table1[tokens.s1] + self.table2[tokens.s2] + calendar

    def embed_calendar(self, stamps: Tensor) -> Tensor:
        """Embed calendar features ``[B, T, 5]`` as ``[B, T, d]``."""
        parts = [table[column] for table, column in zip(self.calendar, stamps.unbind(-1), strict=True)]
        return torch.stack(parts).sum(0)

    def states(self, x: Tensor) -> Tensor:
        """The normalised output that both heads read, from the last block's rows ``[..., d]``."""
        return rms_norm(x) * self.norm

    def s1_logits(self, hidden: Tensor) -> Tensor:
        """Logits of the coarse token ``[B, S, V1]``, float32 or wider, of states ``[B, S, d]``."""
        return self.head1(hidden.to(self.wide_dtype))

    def s2_logits(self, state: DecodeState, s1: Tensor) -> Tensor:
        """Logits of the fine token ``[B, S, V2]``, float32 or wider, given the coarse tokens ``[B, S]``."""
        q = self.queries[s1].view(*s1.shape, CROSS_HEADS, -1)  # [B, S, 4, e]
        if self.rotations is not None:
            q = rotate_interleaved(q, self.rotations(state.last + 1)[state.positions][:, None, None])
        q = q.transpose(1, 2).unsqueeze(3)  # [B, 4, S, 1, e]
        own = state.own or KVCache.allocate(state.shared.keys, (*q.shape[:3], 0, q.shape[-1]))
        mixed = bifurcated_attention(q, state.shared, own, state.mask).squeeze(3).transpose(1, 2).flatten(-2)
        hidden = state.hidden + self.cross_out(mixed)
        return self.head2(rms_norm(hidden.to(self.wide_dtype)))

    def cross_keys(self, states: Tensor, first: Tensor, last: int) -> KVCache:
        """Keys and values ``[B, 4, S, t, e]`` of the s2 attention.

        Args:
            states: ``[B, S, t, d]``.
            first: Position of the first of the t rows, ``[B]``.
            last: The largest position, up to which rotations are tabulated.
        """
        heads = self.cross_kv(states).view(*states.shape[:-1], 2 * CROSS_HEADS, -1)
        keys, values = heads.chunk(2, dim=-2)  # [B, S, t, 4, e]
        if self.rotations is not None:
            t = states.shape[2]
            positions = first[:, None] + torch.arange(t, device=first.device)
            keys = rotate_interleaved(keys, self.rotations(last + 1)[positions][:, None, :, None])
        return KVCache(keys.permute(0, 3, 1, 2, 4), values.permute(0, 3, 1, 2, 4))


@dataclass(frozen=True, slots=True)
class DecodeState:
    """What the heads read at one step: the last row's states, and keys and values of the s2 attention.

    Attributes:
        hidden: ``[B, 1, d]`` while samples share it, ``[B, S, d]`` afterwards.
        shared: Keys and values of the history, ``[B, 4, P, e]``.
        own: Keys and values of the samples' own rows, ``[B, 4, S, u, e]``; None before the first.
        positions: Position of the last row, ``[B]``.
        last: The largest of them.
        mask: ``[B, 1, 1, P]``, −inf where the history is padding; None if nothing is.
    """

    hidden: Tensor
    shared: KVCache
    own: KVCache | None
    positions: Tensor
    last: int
    mask: Tensor | None


class Rollout:
    """Autoregressive generation of one batch.

    Args:
        decoder: The packed model.
        prompt: The histories to continue.
        samples: Sample paths per series, S.
        context: The longest window, C.

    Raises:
        ValueError: If series differ in length and the longest would exceed the context.
    """

    def __init__(self, decoder: ModelDecoder, prompt: Prompt, samples: int, context: int) -> None:
        self.decoder, self.samples, self.context = decoder, samples, context
        self.horizon = prompt.future_stamps.shape[1]
        self.lengths = prompt.lengths
        self.rows = prompt.tokens.s1.shape[1]
        self.cached_steps = min(self.horizon, max(0, context - self.rows + 1))  # steps before the window slides
        if prompt.ragged and self.cached_steps < self.horizon:
            raise ValueError("Series of different lengths cannot share a sliding window.")
        self.history = decoder.embed(prompt.tokens, decoder.embed_calendar(prompt.stamps))  # [B, T, d]
        self.future_calendar = decoder.embed_calendar(prompt.future_stamps)  # [B, H, d]
        self.mask = _padding_mask(self.lengths, self.rows, self.history.dtype) if prompt.ragged else None

    def generate(self, sampler: TokenSampler, progress: ProgressCallback | None = None) -> Tokens:
        """Generate all steps; ids ``[B, S, H]``."""
        shape = (self.history.shape[0], self.samples, self.horizon)
        tokens = Tokens(*(torch.empty(shape, dtype=torch.long, device=self.history.device) for _ in range(2)))
        for step in range(self.horizon):
            if step == 0:
                state = self.prefill()
            elif step < self.cached_steps:
                state = self.decode_step(tokens, step)
            else:
                state = self.sliding_step(tokens, step)
            self.sample(state, sampler, tokens, step)
            if progress is not None:
                progress(step + 1, self.horizon)
        return tokens

    def prefill(self) -> DecodeState:
        """Read the histories once per series and allocate the samples' caches."""
        rows = min(self.rows, self.context)
        states, self._shared, self._cross = self._read_history(rows)
        B, width = states.shape[0], self._cross.keys.shape[-1]
        added = max(0, self.cached_steps - 1)
        self._own = self.decoder.stack.allocate_caches(states, B, self.samples, added)
        self._own_cross = KVCache.allocate(states, (B, CROSS_HEADS, self.samples, added, width))
        last = self.lengths - (self.rows - rows) - 1
        hidden = states[torch.arange(B, device=states.device), last][:, None]
        return DecodeState(hidden, self._cross, None, last, rows - 1, self.mask)

    def decode_step(self, tokens: Tokens, step: int) -> DecodeState:
        """Add the candle of the previous step to the caches."""
        used = step - 1  # own rows in the caches
        x = self._embed_own(tokens, slice(used, step))
        x = self.decoder.stack.decode(x, self._shared, self._own, self.lengths, used, self.mask)
        states = self.decoder.states(x)  # [B, S, 1, d]
        positions, last = self.lengths + used, self.rows + used
        added = self.decoder.cross_keys(states, positions, last)
        own = self._own_cross.append(added.keys, added.values, used)
        return DecodeState(states[:, :, 0], self._cross, own, positions, last, self.mask)

    def sliding_step(self, tokens: Tokens, step: int) -> DecodeState:
        """Read a window that has dropped old rows again: its history once for all samples, then their own rows."""
        kept = self.context - step  # rows of the history still in the window
        _, shared, cross = self._read_history(kept)
        start = torch.full_like(self.lengths, kept)
        own = self.decoder.stack.allocate_caches(self.history, self.history.shape[0], self.samples, step)
        x = self.decoder.stack.decode(self._embed_own(tokens, slice(0, step)), shared, own, start, 0)
        states = self.decoder.states(x)  # [B, S, step, d]
        last = self.context - 1
        own_cross = self.decoder.cross_keys(states, start, last)
        return DecodeState(states[:, :, -1], cross, own_cross, start + step - 1, last, None)

    def sample(self, state: DecodeState, sampler: TokenSampler, tokens: Tokens, step: int) -> None:
        """Sample the coarse token of a step, then the fine token given the coarse one."""
        tokens.s1[:, :, step] = sampler(step, 0, self.decoder.s1_logits(state.hidden))
        tokens.s2[:, :, step] = sampler(step, 1, self.decoder.s2_logits(state, tokens.s1[:, :, step]))

    def _read_history(self, rows: int) -> tuple[Tensor, list[KVCache], KVCache]:
        """States ``[B, rows, d]`` of the history's last rows, and their keys and values for both attentions."""
        x, shared = self.decoder.stack.prefill(self.history[:, self.rows - rows :])
        states = self.decoder.states(x)
        cross = self.decoder.cross_keys(states[:, None], torch.zeros_like(self.lengths), rows - 1)
        keys, values = (part.squeeze(2).contiguous() for part in (cross.keys, cross.values))  # [B, 4, P, e]
        return states, shared, KVCache(keys, values)

    def _embed_own(self, tokens: Tokens, steps: slice) -> Tensor:
        """Embedded rows ``[B, S, t, d]`` of generated candles."""
        calendar = self.future_calendar[:, None, steps]
        return self.decoder.embed(Tokens(tokens.s1[:, :, steps], tokens.s2[:, :, steps]), calendar)


class TokenizerDecoder:
    """A `KronosTokenizer` packed for decoding; the copy does not follow later changes of the network.

    It computes in the network's own precision, never in less: codes are decided by signs.

    Args:
        tokenizer: The network, on any device.
    """

    @torch.no_grad()
    def __init__(self, tokenizer: KronosTokenizer) -> None:
        self.dtype = torch.float64 if tokenizer.head.weight.dtype == torch.float64 else torch.float32
        self.quantizer = tokenizer.quantizer
        self.s1_bits, self.s2_bits = tokenizer.s1_bits, tokenizer.s2_bits
        self.encoder = FusedTransformer(tokenizer.encoder, self.dtype)
        self.decoder = FusedTransformer(tokenizer.decoder, self.dtype)
        layers = tokenizer.embed, tokenizer.quant_embed, tokenizer.post_quant_embed, tokenizer.head
        self.embed, self.quant_embed, self.post_quant_embed, self.head = (
            PackedLinear(layer.weight, layer.bias, self.dtype) for layer in layers
        )

    @property
    def row_bytes(self) -> int:
        """Bytes of keys and values per row of a window."""
        layers = max(len(self.encoder.layers), len(self.decoder.layers))
        return 2 * layers * self.embed.shape[0] * self.embed.dtype.itemsize

    def encode(self, x: Tensor) -> Tokens:
        """Tokens ``[B, T]`` of normalised candles ``[B, T, 6]``, padded at the right."""
        hidden, _ = self.encoder.prefill(self.embed(x.to(self.dtype)))
        return Tokens(*self.quantizer.ids(signs(self.quant_embed(hidden))))

    def decode(self, history: Tokens, lengths: Tensor, own: Tokens, padded: bool = False) -> tuple[Tensor, Tensor]:
        """Normalised candles of the history, decoded once for all samples, and of every sample's steps.

        Args:
            history: The part of the history in the window, ``[B, P]``, padded at the right.
            lengths: Its real rows, ``[B]``.
            own: The samples' tokens, ``[B, S, H]``.
            padded: As in `Prompt`.

        Returns:
            ``[B, P, 6]`` and ``[B, S, H, 6]``.
        """
        B, S, H = own.s1.shape
        rows = history.s1.shape[1]
        ragged = padded or bool((lengths != rows).any())
        mask = _padding_mask(lengths, rows, self.dtype) if ragged else None
        past, shared = self.decoder.prefill(self._embed_tokens(history))
        embedded = self._embed_tokens(own)
        caches = self.decoder.allocate_caches(embedded, B, S, H)
        x = self.decoder.decode(embedded, shared, caches, lengths, 0, mask)
        return self.head(past), self.head(x)

    def _embed_tokens(self, tokens: Tokens) -> Tensor:
        parts = self.quantizer.code(tokens.s1, self.s1_bits), self.quantizer.code(tokens.s2, self.s2_bits)
        return self.post_quant_embed(torch.cat(parts, dim=-1).to(self.dtype))


def _padding_mask(lengths: Tensor, rows: int, dtype: torch.dtype) -> Tensor:
    """``[B, 1, 1, rows]``: 0 where a row is real, −inf where it is padding."""
    padding = torch.arange(rows, device=lengths.device) >= lengths[:, None]
    zeros = torch.zeros(padding.shape, dtype=dtype, device=lengths.device)
    return zeros.masked_fill_(padding, float("-inf"))[:, None, None]


@dataclass(frozen=True, slots=True)
class PackedModel:
    """Model and tokenizer, packed for decoding.

    Attributes:
        model: The model.
        tokenizer: The tokenizer.
        graphs: Captured CUDA graphs, which read these weights; None to decode without.
    """

    model: ModelDecoder
    tokenizer: TokenizerDecoder
    graphs: GraphCache | None = None

    @classmethod
    def pack(
        cls, model: Kronos, tokenizer: KronosTokenizer, dtype: torch.dtype, *, cuda_graphs: bool = False
    ) -> PackedModel:
        """Pack both networks: the model in ``dtype``, the tokenizer in its own precision.

        Args:
            model: The model.
            tokenizer: Its tokenizer.
            dtype: Type that the model computes in.
            cuda_graphs: Whether to capture CUDA graphs, if the networks are on a GPU with CUDA.

        Raises:
            ParameterError: If the tokenizer does not fit the model.
        """
        if (model.s1_bits, model.s2_bits) != (tokenizer.s1_bits, tokenizer.s2_bits):
            raise ParameterError(
                f"The tokenizer has tokens of {tokenizer.s1_bits} + {tokenizer.s2_bits} bits, the model reads "
                f"{model.s1_bits} + {model.s2_bits} bits: load the tokenizer that belongs to the model."
            )
        if tokenizer.d_in != CHANNELS:
            raise ParameterError(f"The tokenizer reads {tokenizer.d_in} channels: candles have {CHANNELS}.")
        decoder = ModelDecoder(model, dtype)
        graphs = cuda_graph_cache(decoder.device) if cuda_graphs and decoder.device.type == "cuda" else None
        return cls(decoder, TokenizerDecoder(tokenizer), graphs)


def check_horizon(horizon: int, context: int, min_history: int = 1) -> None:
    """Validate that a horizon is positive and leaves room for history.

    Args:
        horizon: Candles to forecast.
        context: Candles of history and forecast together.
        min_history: Candles of history that the model needs.

    Raises:
        ParameterError: If it is out of range.
    """
    if not is_whole(horizon) or horizon < 1:
        raise ParameterError(f"Invalid horizon {horizon!r}: choose at least 1 candle, as a whole number.")
    if horizon > context - min_history:
        raise ParameterError(
            f"Invalid horizon {horizon}: with a context of {context} candles, of which the model needs at least "
            f"{min_history} as history, choose at most {context - min_history}."
        )

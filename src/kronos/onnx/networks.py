"""The four graphs of an export: encoding of candles, one step of the model, its fine token, decoding of tokens.

Together they are the loop of `kronos.inference.engine.Rollout` for one series that fits the context with its horizon.
Inputs and outputs are a contract with programs in other languages; docs/onnx.md has it as tables.

Shapes: B series, T rows, S samples, H steps, t new rows, u own rows so far, P rows of history, L layers, h heads of
width e, s2 attention's heads of width ec, d width, V1 and V2 vocabularies.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from kronos.inference.engine import CHANNELS
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.model import CALENDAR_SIZES, CROSS_HEADS
from kronos.onnx.graph import GraphBuilder
from kronos.onnx.transformer import (
    KeysValues,
    RotationTable,
    RowSizes,
    append,
    attend,
    block,
    causal_mask,
    guard_mask,
    rms_norm,
    rotate,
    typed_blocks,
)

_IDS, _REAL = np.int64, np.float32


@torch.no_grad()
def encode_graph(graph: GraphBuilder, tokenizer: KronosTokenizer, context: int) -> None:
    """``x [B, T, 6]``, normalised candles → ``s1``, ``s2`` ``[B, T]``."""
    x = graph.input("x", _REAL, ("B", "T", CHANNELS))
    sizes = RowSizes(graph.size(x, 0), graph.size(x, 1), graph.constant([0]), None)
    x = graph.linear(x, tokenizer.embed.weight, tokenizer.embed.bias)
    x, _ = _stack(graph, tokenizer.encoder, x, sizes, context)
    logits = graph.linear(x, tokenizer.quant_embed.weight, tokenizer.quant_embed.bias)
    bits = graph.op("Cast", graph.op("Greater", logits, graph.constant(0, _REAL)), to=7)
    parts = graph.split(bits, -1, tokenizer.s1_bits, tokenizer.s2_bits)
    for name, part, count in zip(("s1", "s2"), parts, (tokenizer.s1_bits, tokenizer.s2_bits), strict=True):
        weighed = graph.op("Mul", part, graph.constant(2 ** np.arange(count)))
        graph.output(graph.op("ReduceSum", weighed, graph.constant([-1]), keepdims=0), name, _IDS, ("B", "T"))


@torch.no_grad()
def decode_graph(graph: GraphBuilder, tokenizer: KronosTokenizer, context: int) -> None:
    """Tokens of the history ``[1, P]`` and of the samples ``[S, H]`` → ``last [6]`` and ``values [S, H, 6]``."""
    history = [graph.input(f"history_{name}", _IDS, (1, "P")) for name in ("s1", "s2")]
    own = [graph.input(name, _IDS, ("S", "H")) for name in ("s1", "s2")]
    nothing, one = graph.constant([0]), graph.constant([1])
    shared = graph.size(history[0], 1)
    past_sizes = RowSizes(one, shared, nothing, None)
    past, caches = _stack(graph, tokenizer.decoder, _embed_codes(graph, tokenizer, history), past_sizes, context)
    sizes = RowSizes(graph.size(own[0], 0), graph.size(own[0], 1), nothing, shared)
    rows = [KeysValues(*(graph.op("Squeeze", part, nothing) for part in (c.keys, c.values))) for c in caches]
    x, _ = _stack(graph, tokenizer.decoder, _embed_codes(graph, tokenizer, own), sizes, context, rows)
    head = tokenizer.head.weight, tokenizer.head.bias
    last = graph.linear(graph.select(past, -1, axis=1), *head)  # [1, 6]
    graph.output(graph.op("Squeeze", last, nothing), "last", _REAL, (CHANNELS,))
    graph.output(graph.linear(x, *head), "values", _REAL, ("S", "H", CHANNELS))


@torch.no_grad()
def step_graph(graph: GraphBuilder, model: Kronos, context: int) -> None:
    """Read t rows of every sample: their keys and values, and the coarse token's logits after the last of them."""
    layers = typed_blocks(model.transformer)
    attention, L = layers[0].self_attn, len(layers)
    h, e = attention.n_heads, 2 * attention.rotary.inv_freq.shape[0]
    d = model.norm.weight.shape[0]
    s1, s2 = (graph.input(name, _IDS, ("S", "t")) for name in ("s1", "s2"))
    stamps = graph.input("stamps", _IDS, ("t", len(CALENDAR_SIZES)))
    position = graph.input("position", _IDS, ())
    past_shared = [graph.input(f"shared_{part}", _REAL, (L, h, "P", e)) for part in ("keys", "values")]
    past_own = [graph.input(f"own_{part}", _REAL, (L, "S", h, "u", e)) for part in ("keys", "values")]
    history = graph.size(past_shared[0], 2)
    guard = graph.constant(np.zeros((L, h, 1, e)), _REAL)  # see `guard_mask`: the history may be empty
    past_shared = [graph.concat(part, guard, axis=2) for part in past_shared]
    rows, columns = graph.size(s1, 1), graph.size(past_shared[0], 2)
    sizes = RowSizes(graph.size(s1, 0), rows, graph.size(past_own[0], 3), columns, guard_mask(graph, history))

    x = graph.op("Add", _embed_tokens(graph, model, s1, s2), _embed_calendar(graph, model, stamps))
    start = graph.op("Reshape", position, graph.constant([1]))
    stop = graph.op("Add", start, sizes.rows)
    rotation = RotationTable(graph, attention.rotary, context).rows(start, stop)
    mask = causal_mask(graph, sizes)
    caches = []
    for number, layer in enumerate(layers):
        shared, own = (KeysValues(*(graph.select(p, number, axis=0) for p in past)) for past in (past_shared, past_own))
        x, cache = block(graph, layer, x, rotation, sizes, (shared, own), mask)
        caches.append(cache)
    states = rms_norm(graph, x, model.norm)
    hidden = graph.select(states, -1, axis=1)
    head = model.head.proj_s1
    graph.output(hidden, "hidden", _REAL, ("S", d))
    graph.output(graph.linear(hidden, head.weight, head.bias), "s1_logits", _REAL, ("S", head.weight.shape[0]))
    axis = graph.constant([0])
    for part in ("keys", "values"):
        parts = [graph.op("Unsqueeze", getattr(cache, part), axis) for cache in caches]
        graph.output(graph.concat(*parts, axis=0), part, _REAL, (L, "S", h, "t", e))
    _cross_outputs(graph, model, states, (start, stop), sizes, context)


@torch.no_grad()
def fine_graph(graph: GraphBuilder, model: Kronos, context: int) -> None:
    """``hidden [S or 1, d]`` and the sampled coarse tokens ``s1 [S]`` → ``s2_logits [S, V2]``."""
    cross, d = model.dep_layer.cross_attn, model.norm.weight.shape[0]
    ec = d // CROSS_HEADS
    hidden = graph.input("hidden", _REAL, ("N", d))
    s1 = graph.input("s1", _IDS, ("S",))
    position = graph.input("position", _IDS, ())
    shared, own = (
        KeysValues(*(graph.input(f"{owner}_cross_{part}", _REAL, axes) for part in ("keys", "values")))
        for owner, axes in (("shared", (CROSS_HEADS, "P", ec)), ("own", ("S", CROSS_HEADS, "u", ec)))
    )
    one = graph.constant([1])
    samples, rows = graph.size(s1, 0), graph.size(own.keys, 2)
    sizes = RowSizes(samples, one, rows, graph.size(shared.keys, 1))
    shape = graph.concat(samples, graph.constant([CROSS_HEADS, 1, ec]))
    guard = graph.op("Expand", graph.constant(0, _REAL), shape)  # see `guard_mask`: there may be no own rows
    own, own_mask = append(graph, own, KeysValues(guard, guard)), guard_mask(graph, rows)
    # Queries only depend on the coarse token: a runtime computes their table once.
    scale, tokens = ec**-0.5, graph.table(model.embedding.emb_s1.weight)
    queries = graph.linear(tokens, cross.q_proj.weight, cross.q_proj.bias * scale, torch.full((d,), scale))
    q = graph.reshape(graph.lookup(queries, s1), sizes.samples, CROSS_HEADS, 1, ec)
    if model.s2_attention == "causal":
        start = graph.op("Reshape", position, one)
        rotation = RotationTable(graph, cross.rotary, context).rows(start, graph.op("Add", start, one))
        q = rotate(graph, q, rotation, ec)
    mixed = graph.op("Squeeze", attend(graph, q, own, shared, sizes, own_mask), one)  # [S, d]
    state = graph.op("Add", hidden, graph.linear(mixed, cross.out_proj.weight, cross.out_proj.bias))
    normed, head = rms_norm(graph, state, model.dep_layer.norm), model.head.proj_s2
    graph.output(graph.linear(normed, head.weight, head.bias), "s2_logits", _REAL, ("S", head.weight.shape[0]))


def _stack(
    graph: GraphBuilder,
    layers: torch.nn.ModuleList,
    x: str,
    sizes: RowSizes,
    context: int,
    shared: list[KeysValues] | None = None,
) -> tuple[str, list[KeysValues]]:
    """All blocks of a tokenizer's half: the rows after them, and each block's keys and values of these rows."""
    caches: list[KeysValues] = []
    typed = typed_blocks(layers)
    if not typed:
        return x, caches
    start = graph.constant([0]) if sizes.shared is None else sizes.shared
    table = RotationTable(graph, typed[0].self_attn.rotary, context)
    rotation, mask = table.rows(start, graph.op("Add", start, sizes.rows)), causal_mask(graph, sizes)
    for number, layer in enumerate(typed):
        past = None if shared is None else shared[number]
        x, cache = block(graph, layer, x, rotation, sizes, (past, None), mask)
        caches.append(cache)
    return x, caches


def _embed_codes(graph: GraphBuilder, tokenizer: KronosTokenizer, ids: list[str]) -> str:
    """Embedded codes ``[…, d]`` of pairs of ids."""
    parts = []
    for part, count in zip(ids, (tokenizer.s1_bits, tokenizer.s2_bits), strict=True):
        weights = graph.constant(2 ** np.arange(count))
        shifted = graph.op("Div", graph.op("Unsqueeze", part, graph.constant([-1])), weights)
        parts.append(graph.op("Mod", shifted, graph.constant(2)))
    bits = graph.op("Cast", graph.concat(*parts, axis=-1), to=1)
    # A code is ±1/√n: (2 · bit − 1) / √n.
    code = graph.op("Sub", graph.op("Mul", bits, graph.constant(2, _REAL)), graph.constant(1, _REAL))
    size = math.sqrt(tokenizer.s1_bits + tokenizer.s2_bits)
    code = graph.op("Div", code, graph.constant(size, _REAL))
    return graph.linear(code, tokenizer.post_quant_embed.weight, tokenizer.post_quant_embed.bias)


def _embed_tokens(graph: GraphBuilder, model: Kronos, s1: str, s2: str) -> str:
    """Embedded pairs ``[S, t, d]``: a runtime folds both tables with the layer that joins them."""
    embedding, d = model.embedding, model.norm.weight.shape[0]
    fusion, scale = embedding.fusion_proj.weight, torch.full((d,), embedding.scale)
    first = graph.linear(graph.table(embedding.emb_s1.weight), fusion[:, :d], embedding.fusion_proj.bias, scale)
    second = graph.linear(graph.table(embedding.emb_s2.weight), fusion[:, d:], scale=scale)
    return graph.op("Add", graph.lookup(first, s1), graph.lookup(second, s2))


def _embed_calendar(graph: GraphBuilder, model: Kronos, stamps: str) -> str:
    """Sum of the calendar embeddings ``[t, d]``, from one table of all features."""
    tables: list[Tensor] = [next(model.time_emb.get_submodule(f"{name}_embed").parameters()) for name in CALENDAR_SIZES]
    offsets = np.cumsum([0, *CALENDAR_SIZES.values()])[:-1]
    rows = graph.lookup(graph.table(torch.cat(tables)), graph.op("Add", stamps, graph.constant(offsets)))  # [t, 5, d]
    return graph.op("ReduceSum", rows, graph.constant([1]), keepdims=0)


def _cross_outputs(
    graph: GraphBuilder, model: Kronos, states: str, positions: tuple[str, str], sizes: RowSizes, context: int
) -> None:
    """Keys and values ``[S, 4, t, ec]`` of the s2 attention, of the new rows."""
    cross, d = model.dep_layer.cross_attn, model.norm.weight.shape[0]
    ec = d // CROSS_HEADS
    weight = torch.cat((cross.k_proj.weight, cross.v_proj.weight))
    both = graph.linear(states, weight, torch.cat((cross.k_proj.bias, cross.v_proj.bias)))
    heads = graph.transpose(graph.reshape(both, sizes.samples, sizes.rows, 2 * CROSS_HEADS, ec), 0, 2, 1, 3)
    keys, values = graph.split(heads, 1, CROSS_HEADS, CROSS_HEADS)
    if model.s2_attention == "causal":
        keys = rotate(graph, keys, RotationTable(graph, cross.rotary, context).rows(*positions), ec)
    for name, value in (("cross_keys", keys), ("cross_values", values)):
        graph.output(value, name, _REAL, ("S", CROSS_HEADS, "t", ec))

"""Transformer blocks as operations of an ONNX graph: norms, rotary positions, attention with shared keys, SwiGLU.

Everything is real arithmetic in float32, and the rotary pairs are the halves of a head, as in `kronos.nn.layers`.
Cosines and sines are tables, because a GPU's may be inaccurate for large angles.

Samples share the keys and values of the history, as in `kronos.inference.fused_transformer`: the scores of all samples'
rows to the history are one product per head, and one softmax covers both parts.

Shapes: S samples, t new rows, u own rows before them, P rows of shared history, h heads, e head width, d width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from kronos.nn.layers import NORM_EPS, RMSNorm, RotaryEmbedding, TransformerBlock
from kronos.onnx.graph import GraphBuilder


@dataclass(frozen=True, slots=True)
class KeysValues:
    """Names of keys and values: ``[h, P, e]`` if samples share them, ``[S, h, u, e]`` if each has its own."""

    keys: str
    values: str


@dataclass(frozen=True, slots=True)
class RowSizes:
    """Sizes of a pass, as values of `GraphBuilder.size`.

    Attributes:
        samples: S.
        rows: t.
        own: u, own rows before the new ones.
        shared: P; None if nothing is shared.
        shared_mask: What is added to the scores of shared rows, ``[P]``; None for nothing.
    """

    samples: str
    rows: str
    own: str
    shared: str | None
    shared_mask: str | None = None


@dataclass(frozen=True, slots=True)
class Rotation:
    """Names of cosines and sines of consecutive positions, each ``[t, e/2]``."""

    cosines: str
    sines: str


class RotationTable:
    """Cosines and sines of the positions 0 … context − 1 as constants of a graph."""

    def __init__(self, graph: GraphBuilder, rotary: RotaryEmbedding, context: int) -> None:
        half = rotary.inv_freq.shape[0]
        cosines, sines = rotary.table(context)
        self._graph = graph
        self._cosines, self._sines = graph.vector(cosines[:, :half]), graph.vector(sines[:, :half])

    def rows(self, start: str, stop: str) -> Rotation:
        """Rotations of the positions from ``start`` up to, but without, ``stop``: vectors of one number."""
        axis = self._graph.constant([0])
        cut = (self._graph.op("Slice", table, start, stop, axis) for table in (self._cosines, self._sines))
        return Rotation(*cut)


def typed_blocks(layers: nn.ModuleList) -> list[TransformerBlock]:
    """The blocks of a stack."""
    return [layer for layer in layers if isinstance(layer, TransformerBlock)]


def rms_norm(graph: GraphBuilder, x: str, norm: RMSNorm) -> str:
    """``x · rsqrt(mean(x²) + ε) · weight`` over the last axis, in the form that ONNX Runtime can fuse."""
    square = graph.op("Pow", x, graph.constant(2, np.float32))
    mean = graph.op("ReduceMean", square, axes=[-1], keepdims=1)
    root = graph.op("Sqrt", graph.op("Add", mean, graph.constant(NORM_EPS, np.float32)))
    return graph.op("Mul", graph.op("Div", x, root), graph.vector(norm.weight))


def rotate(graph: GraphBuilder, x: str, rotation: Rotation, width: int) -> str:
    """Rotate the pairs (i, i + e/2) of the last axis of ``x [..., t, e]``."""
    first, second = graph.split(x, -1, width // 2, width // 2)

    def product(half: str, table: str) -> str:
        return graph.op("Mul", half, table)

    turned = (
        graph.op("Sub", product(first, rotation.cosines), product(second, rotation.sines)),
        graph.op("Add", product(second, rotation.cosines), product(first, rotation.sines)),
    )
    return graph.concat(*turned, axis=-1)


def causal_mask(graph: GraphBuilder, sizes: RowSizes) -> str:
    """``[t, u + t]`` to add to scores: 0, or −inf where a key is later than its query."""
    stop = graph.op("Add", sizes.own, sizes.rows)
    queries = graph.op("Unsqueeze", graph.counting(sizes.own, stop), graph.constant([1]))
    later = graph.op("Greater", graph.counting(graph.constant([0]), stop), queries)
    return graph.op("Where", later, graph.constant(-np.inf, np.float32), graph.constant(0, np.float32))


def guard_mask(graph: GraphBuilder, count: str) -> str:
    """``[count + 1]`` to add to scores: 0, and −inf for a row that is appended so that no product is over 0 rows.

    Providers differ in such products: some refuse them, some leave their results uninitialised.
    """
    return graph.concat(graph.op("ConstantOfShape", count), graph.constant([-np.inf], np.float32))


def attend(graph: GraphBuilder, q: str, own: KeysValues, shared: KeysValues | None, sizes: RowSizes, mask: str) -> str:
    """Attention of each sample's new rows to the shared history and to its own rows.

    Args:
        graph: The graph to add it to.
        q: Scaled queries ``[S, h, t, e]``.
        own: ``[S, h, u + t, e]``.
        shared: ``[h, P, e]``, or None.
        sizes: Sizes of the pass.
        mask: What is added to the scores of own rows, as ``[t, u + t]``.

    Returns:
        ``[S, t, h · e]``.
    """
    scores = graph.op("Add", graph.op("MatMul", q, graph.transpose(own.keys, 0, 1, 3, 2)), mask)
    heads, width = graph.size(q, 1), graph.size(q, 3)
    if shared is None:
        mixed = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), own.values)
    else:
        assert sizes.shared is not None  # it is the length of the shared keys
        flat = graph.op("Mul", sizes.samples, sizes.rows)
        queries = graph.reshape(graph.transpose(q, 1, 0, 2, 3), heads, flat, width)
        products = graph.op("MatMul", queries, graph.transpose(shared.keys, 0, 2, 1))  # [h, S·t, P]
        products = products if sizes.shared_mask is None else graph.op("Add", products, sizes.shared_mask)
        to_shared = graph.reshape(products, heads, sizes.samples, sizes.rows, sizes.shared)
        both = graph.concat(graph.transpose(to_shared, 1, 0, 2, 3), scores, axis=-1)  # [S, h, t, P + u + t]
        weights = graph.op("Softmax", both, axis=-1)
        of_shared, of_own = graph.split(weights, -1, sizes.shared, graph.size(own.keys, 2))
        flat_weights = graph.reshape(graph.transpose(of_shared, 1, 0, 2, 3), heads, flat, sizes.shared)
        from_shared = graph.op("MatMul", flat_weights, shared.values)  # [h, S·t, e]
        from_shared = graph.reshape(from_shared, heads, sizes.samples, sizes.rows, width)
        mixed = graph.op("Add", graph.transpose(from_shared, 1, 0, 2, 3), graph.op("MatMul", of_own, own.values))
    joined = graph.op("Mul", heads, width)
    return graph.reshape(graph.transpose(mixed, 0, 2, 1, 3), sizes.samples, sizes.rows, joined)


def block(
    graph: GraphBuilder,
    layer: TransformerBlock,
    x: str,
    rotation: Rotation,
    sizes: RowSizes,
    past: tuple[KeysValues | None, KeysValues | None],
    mask: str,
) -> tuple[str, KeysValues]:
    """One pre-norm block.

    Args:
        graph: The graph to add it to.
        layer: The block's weights.
        x: New rows ``[S, t, d]``.
        rotation: Rotations of their positions.
        sizes: Sizes of the pass.
        past: Keys and values of the shared history and of the samples' own earlier rows.
        mask: From `causal_mask`.

    Returns:
        The rows after the block, and the new rows' keys and values ``[S, h, t, e]``.
    """
    attention, h = layer.self_attn, layer.self_attn.n_heads
    e = 2 * attention.rotary.inv_freq.shape[0]
    normed = rms_norm(graph, x, layer.norm1)
    d = h * e
    scale = attention.q_proj.bias.new_ones(3 * d)
    scale[:d] = e**-0.5  # of queries
    weight = torch.cat((attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight))
    bias = torch.cat((attention.q_proj.bias, attention.k_proj.bias, attention.v_proj.bias)) * scale
    q, k, v = (
        graph.transpose(graph.reshape(part, sizes.samples, sizes.rows, h, e), 0, 2, 1, 3)
        for part in graph.split(graph.linear(normed, weight, bias, scale), -1, d, d, d)
    )
    q, new = rotate(graph, q, rotation, e), KeysValues(rotate(graph, k, rotation, e), v)
    shared, before = past
    own = new if before is None else append(graph, before, new)
    mixed = attend(graph, q, own, shared, sizes, mask)
    x = graph.op("Add", x, graph.linear(mixed, attention.out_proj.weight, attention.out_proj.bias))
    return graph.op("Add", x, feed_forward(graph, layer, x)), new


def append(graph: GraphBuilder, before: KeysValues, new: KeysValues) -> KeysValues:
    """Keys and values ``[S, h, u + t, e]`` of earlier rows and of new ones."""
    keys, values = ((before.keys, new.keys), (before.values, new.values))
    return KeysValues(graph.concat(*keys, axis=2), graph.concat(*values, axis=2))


def feed_forward(graph: GraphBuilder, layer: TransformerBlock, x: str) -> str:
    """``w2(silu(w1 n) · w3 n)`` of the normalised rows n, ``[S, t, d]``."""
    normed = rms_norm(graph, x, layer.norm2)
    hidden = layer.ffn.w1.weight.shape[0]
    both = graph.linear(normed, torch.cat((layer.ffn.w1.weight, layer.ffn.w3.weight)))
    gate, up = graph.split(both, -1, hidden, hidden)
    gated = graph.op("Mul", graph.op("Mul", gate, graph.op("Sigmoid", gate)), up)
    return graph.linear(gated, layer.ffn.w2.weight)

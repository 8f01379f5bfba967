"""How much there is to compute: the operations each decoder needs, and the bytes of weights a step reads.

Counted are the matrix products alone, 2 operations per multiplication and addition:
- a row through a matrix: 2 × the matrix' parameters;
- a query against a key and its value: 2·d + 2·d = 4·d over all heads. Causal attention needs n(n+1)/2 such pairs for n
  rows; what an implementation computes beyond them and masks is not counted;
- norms, rotations, activations, softmax, look-ups and draws count as nothing, so no decoder can reach the full rate.

Shapes: T rows of history, H steps, S samples, C the context, w rows of a window, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.plans import Case

Config = Mapping[str, Any]
BYTES = 4  # of a float32 weight


@dataclass(frozen=True, slots=True)
class Blocks:
    """A stack of transformer blocks."""

    layers: int
    d: int
    ff: int

    @property
    def matrices(self) -> int:
        """Parameters of its matrices: q, k, v and out; both gates and down."""
        return self.layers * (4 * self.d**2 + 3 * self.d * self.ff)

    def flops(self, rows: int, pairs: int) -> int:
        """Of so many rows that look at so many rows in all."""
        return 2 * rows * self.matrices + 4 * self.d * self.layers * pairs


def causal(rows: int) -> int:
    """Pairs of rows (one, itself or an earlier one)."""
    return rows * (rows + 1) // 2


def _blocks(model: Config) -> Blocks:
    return Blocks(model["n_layers"], model["d_model"], model["ff_dim"])


def _coders(tokenizer: Config) -> tuple[Blocks, Blocks, int]:
    """Encoder, decoder, and parameters of what a row passes before and behind either: candle and code."""
    d, ff = tokenizer["d_model"], tokenizer["ff_dim"]
    ends = d * (tokenizer["d_in"] + tokenizer["s1_bits"] + tokenizer["s2_bits"])
    return Blocks(tokenizer["n_enc_layers"] - 1, d, ff), Blocks(tokenizer["n_dec_layers"] - 1, d, ff), ends


def _heads(model: Config) -> tuple[int, int]:
    """Parameters of the coarse and the fine output layer."""
    d: int = model["d_model"]
    return 2 ** model["s1_bits"] * d, 2 ** model["s2_bits"] * d


def plain_rollout_flops(model: Config, case: Case, context: int, steps: int) -> int:
    """Of the plain decoder's first steps: every sample's whole window through everything, heads for one row."""
    blocks, (coarse, fine) = _blocks(model), _heads(model)
    d, total = blocks.d, 0
    for step in range(steps):
        w = min(case.history + step, context)
        rows = blocks.flops(w, causal(w)) + 2 * w * (2 * d**2 + 2 * d**2)  # fusion; the s2 attention's keys and values
        last = 2 * (2 * d**2 + coarse + fine) + 4 * d * w  # its query and output; both heads; its attention
        total += case.samples * (rows + last)
    return total


def plain_coding_flops(tokenizer: Config, case: Case, context: int) -> int:
    """Of encoding every sample's history and decoding every sample's window."""
    encoder, decoder, ends = _coders(tokenizer)
    T, w = case.history, min(case.history + case.horizon, context)
    encode = encoder.flops(T, causal(T)) + 2 * T * ends
    decode = decoder.flops(w, causal(w)) + 2 * w * ends
    return case.samples * (encode + decode)


def engine_flops(model: Config, tokenizer: Config, case: Case, context: int) -> int:
    """Of the engine, whole call: shared rows once, each sample's own rows once, slid windows anew."""
    blocks, (coarse, fine) = _blocks(model), _heads(model)
    encoder, decoder, ends = _coders(tokenizer)
    T, H, S, d = case.history, case.horizon, case.samples, blocks.d
    total = encoder.flops(T, causal(T)) + 2 * T * ends
    for step in range(H):
        w = min(T + step, context)
        slid = T + step > context
        shared = w - step if slid else (T if step == 0 else 0)  # rows of the history read at this step
        own = step if slid else min(step, 1)  # rows read for each sample
        pairs = causal(shared) + S * (own * (w - own) + causal(own))
        total += blocks.flops(shared + S * own, pairs) + 2 * (shared + S * own) * 2 * d**2
        total += 2 * ((S if step else 1) * coarse + S * (fine + d**2)) + S * 4 * d * w
    kept = min(T, context - H)
    rows = kept + S * H
    return total + decoder.flops(rows, causal(kept) + S * (H * kept + causal(H))) + 2 * rows * ends


def step_bytes(model: Config) -> int:
    """Weights that a step of a single path reads: the blocks, the s2 attention without its query, both heads."""
    blocks = _blocks(model)
    return BYTES * (blocks.matrices + 3 * blocks.d**2 + sum(_heads(model)))

"""Decoding of a batch in fixed buffers, which a CUDA graph can capture as a whole.

A `StaticRollout` does what `kronos.inference.engine.Rollout` does, between a tokenizer's encoding and decoding, for all
batches of one `Bucket`. It differs in three points:

- inputs are copied into buffers of the bucket's shape, and results lie in buffers too; addresses never change;
- nothing is read from the device: padding is always masked, and top-p sorts all tokens;
- random numbers are an input. A generator inside of a graph would draw the same ones at every replay.

Steps are unrolled. A step's cache rows and positions are constants of its kernels, relative to the lengths, which lie
on the device; so a step reads the rows that exist and no more. Padded rows and series are never read by real ones.

Shapes: B series, S samples, P rows of history, H steps of the bucket; b, T of a batch.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import torch
from torch import Tensor

from kronos.inference.engine import CHANNELS, PackedModel, Prompt, Rollout, Tokens
from kronos.inference.sampling import CounterBasedSampler, SamplingParams
from kronos.nn.model import CALENDAR_SIZES

_ROWS = 64  # histories are padded to a multiple of it
# Powers of two and one between each pair: at most a third of a batch is padding.
SERIES_SIZES = sorted({1, *(1 << n for n in range(1, 17)), *(3 << n for n in range(16))})


def largest_full_batch(series: int) -> int:
    """The largest number of series, at most so many, that fills a bucket without padding."""
    return SERIES_SIZES[bisect_right(SERIES_SIZES, series) - 1]


@dataclass(frozen=True, slots=True)
class Bucket:
    """The shape that a batch is padded to.

    Attributes:
        series: B.
        samples: S, which is never padded.
        rows: P.
        horizon: H, which is never padded.
    """

    series: int
    samples: int
    rows: int
    horizon: int

    def __str__(self) -> str:
        return f"{self.series} series of {self.rows} + {self.horizon} candles and {self.samples} samples"

    @classmethod
    def fit(cls, series: int, samples: int, rows: int, horizon: int) -> Bucket:
        """The smallest bucket that holds a batch."""
        return cls(SERIES_SIZES[bisect_left(SERIES_SIZES, series)], samples, -(-rows // _ROWS) * _ROWS, horizon)


@dataclass(frozen=True, slots=True)
class BatchInputs:
    """What a batch is decoded from, on any device.

    Attributes:
        x: Normalised candles, padded at the right, ``[b, T, 6]``.
        lengths: Real rows of each series, ``[b]`` int64.
        stamps: Calendar features of the histories, ``[b, T, 5]``.
        future_stamps: Calendar features of the steps to generate, ``[b, H, 5]``.
        uniforms: Random numbers ``[b, S, H, 2]`` in [0, 1).
    """

    x: Tensor
    lengths: Tensor
    stamps: Tensor
    future_stamps: Tensor
    uniforms: Tensor

    def bucket(self) -> Bucket:
        """The bucket of this batch."""
        b, samples, horizon, _ = self.uniforms.shape
        return Bucket.fit(b, samples, self.x.shape[1], horizon)


class StaticRollout:
    """Decodes batches of one bucket: `load` the inputs, `run`, and read the results.

    Args:
        packed: The packed networks.
        bucket: Shape of all batches.
        params: Temperature and filters; samples are the bucket's.

    Attributes:
        tokens: Generated tokens ``[B, S, H]``, after a run.
        values: Normalised candles of all paths ``[B, S, H, 6]``, after a run.
        last: Last candles of the histories as the tokenizer reconstructs them ``[B, 6]``, after a run.
    """

    @torch.inference_mode()
    def __init__(self, packed: PackedModel, bucket: Bucket, params: SamplingParams) -> None:
        B, S, P, H = bucket.series, bucket.samples, bucket.rows, bucket.horizon
        device, wide = packed.model.device, packed.tokenizer.dtype
        features = len(CALENDAR_SIZES)

        def ids(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.long, device=device)

        def floats(*shape: int, dtype: torch.dtype = wide) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self._packed, self.bucket = packed, bucket
        self._x, self._stamps = floats(B, P, CHANNELS), ids(B, P, features)
        self._prompt_lengths, self._future = ids(B), ids(B, H, features)
        self._uniforms = floats(B, S, H, 2, dtype=packed.model.wide_dtype)
        self._series = torch.arange(B, device=device)
        self._sampler = CounterBasedSampler(params, self._uniforms, static=True)
        self.tokens = Tokens(ids(B, S, H), ids(B, S, H))
        self.values, self.last = floats(B, S, H, CHANNELS), floats(B, CHANNELS)

    @torch.inference_mode()
    def load(self, inputs: BatchInputs) -> None:
        """Copy a batch of this bucket into the buffers; the rest of them is cleared."""
        b, rows = inputs.x.shape[:2]
        for buffer, given in (
            (self._x, inputs.x),
            (self._stamps, inputs.stamps),
            (self._future, inputs.future_stamps),
            (self._uniforms, inputs.uniforms),
        ):
            buffer.zero_()  # so that padding is finite, whatever was there
            own = buffer[:b, :rows] if buffer is self._x or buffer is self._stamps else buffer[:b]
            own.copy_(given)
        self._prompt_lengths.fill_(1)  # a series of padding has one row, so that its attention is defined
        self._prompt_lengths[:b].copy_(inputs.lengths)

    @torch.inference_mode()
    def run(self) -> None:
        """Encode the histories, generate all steps and decode them."""
        packed, bucket = self._packed, self.bucket
        history = packed.tokenizer.encode(self._x)
        prompt = Prompt(history, self._prompt_lengths, self._stamps, self._future, padded=True)
        own = Rollout(packed.model, prompt, bucket.samples, bucket.rows + bucket.horizon).generate(self._sampler)
        past, values = packed.tokenizer.decode(history, self._prompt_lengths, own, padded=True)
        self.tokens.s1.copy_(own.s1)
        self.tokens.s2.copy_(own.s2)
        self.values.copy_(values)
        self.last.copy_(past[self._series, self._prompt_lengths - 1])


def decode_static(packed: PackedModel, inputs: BatchInputs, params: SamplingParams) -> tuple[Tensor, Tensor]:
    """Decode a batch with the networks' graphs.

    Args:
        packed: The packed networks, with a cache of graphs.
        inputs: The batch.
        params: Temperature and filters.

    Returns:
        On the CPU, last candles of the histories ``[b, 6]`` and paths ``[b, S, H, 6]``, both normalised.
    """
    graphs, bucket, b = packed.graphs, inputs.bucket(), len(inputs.x)
    assert graphs is not None
    key = (bucket, params.temperature, params.top_k, params.top_p)
    with graphs.lock:
        program = graphs.program(key, lambda: StaticRollout(packed, bucket, params))
        program.load(inputs)
        graphs.run(key)
        return program.last[:b].to("cpu", copy=True), program.values[:b].to("cpu", copy=True)

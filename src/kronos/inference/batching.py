"""Seeded sampling of many series: how they are batched, and how one batch is decoded.

- A batch is a few series of similar length times a range of paths, within `BatchLimits`: matrices large enough to be
  fast, caches small enough for memory. A batch that does not fit is halved, which changes no path.
- On a GPU with CUDA, batches are as large as the free memory allows, and are padded to buckets whose CUDA graphs are
  replayed (`kronos.inference.static_rollout`).
- History and horizon together must fit the context, so that the cache serves every step.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kronos.errors import DeviceError
from kronos.inference.devices import free_memory, is_out_of_memory
from kronos.inference.engine import PackedModel, Prompt, Rollout, TokenSampler
from kronos.inference.sampling import CounterBasedSampler, SamplingParams
from kronos.inference.static_rollout import BatchInputs, decode_static, largest_full_batch
from kronos.preprocessing import ModelInput
from kronos.progress import ProgressCallback
from kronos.rng import keyed_uniforms
from kronos.typing import FloatArray

MAX_ROWS = 256  # rows of a batch
CACHE_BYTES = 2**31  # keys and values of a batch; a single row may need more
CUDA_ROWS = 8192  # rows of a batch on a GPU with CUDA
_CUDA_SHARE = 0.45  # of the free memory that a batch may take; the graphs' pool may hold as much besides
_CUDA_RESERVE = 2**30  # bytes for score matrices, whose size `bifurcated_attention` bounds
_PROBABILITIES = 8  # arrays of the size of the logits that sampling a token takes, in their precision
_MAX_LENGTH_RATIO = 1.25  # of a batch's longest history to its shortest, which limits padding

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SeriesInput:
    """One series to forecast: its prepared history, and the name that keys its random numbers."""

    name: str
    prepared: ModelInput


@dataclass(frozen=True, slots=True)
class DecodeBatch:
    """Series, by their index in the list of inputs, and a range of their paths."""

    series: tuple[int, ...]
    paths: range

    @property
    def rows(self) -> int:
        """Rows decoded at each step."""
        return len(self.series) * len(self.paths)

    def halves(self) -> tuple[DecodeBatch, DecodeBatch]:
        """The batch in two: by series, or by paths if there is only one series."""
        if len(self.series) > 1:
            middle = len(self.series) // 2
            return DecodeBatch(self.series[:middle], self.paths), DecodeBatch(self.series[middle:], self.paths)
        middle = len(self.paths) // 2
        return DecodeBatch(self.series, self.paths[:middle]), DecodeBatch(self.series, self.paths[middle:])


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What a batch may need at most, and what it needs.

    Attributes:
        rows: Maximum number of rows decoded at each step.
        memory: Maximum number of bytes.
        history_bytes: Bytes per candle of a history.
        step_bytes: Bytes per candle of a path.
        path_bytes: Bytes per path, whatever its length.
        bucketed: Whether batches are padded to buckets.
    """

    rows: int
    memory: int
    history_bytes: int
    step_bytes: int
    path_bytes: int = 0
    bucketed: bool = False

    @classmethod
    def fixed(cls, row_bytes: int) -> BatchLimits:
        """The limits where free memory is unknown, for ``row_bytes`` bytes of keys and values per candle."""
        return cls(MAX_ROWS, CACHE_BYTES, row_bytes, row_bytes)

    @classmethod
    def of(cls, packed: PackedModel) -> BatchLimits:
        """The limits on the networks' device: of a GPU with CUDA by its free memory, else fixed ones."""
        model, tokenizer = packed.model, packed.tokenizer
        free = free_memory(model.device)
        if free is None:
            return replace(cls.fixed(model.row_bytes), bucketed=packed.graphs is not None)
        coding = max(tokenizer.encoder.activation_bytes, tokenizer.decoder.activation_bytes)
        logits = max(model.head1.shape[0], model.head2.shape[0]) * model.wide_dtype.itemsize
        share = int(_CUDA_SHARE * free)
        return cls(
            CUDA_ROWS,
            max(share - _CUDA_RESERVE, share // 4),
            history_bytes=model.row_bytes + tokenizer.row_bytes + max(model.stack.activation_bytes, coding),
            step_bytes=model.row_bytes + tokenizer.row_bytes + coding,
            path_bytes=model.stack.activation_bytes + _PROBABILITIES * logits,
            bucketed=packed.graphs is not None,
        )


def plan_batches(lengths: Sequence[int], samples: int, horizon: int, limits: BatchLimits) -> list[DecodeBatch]:
    """Divide series and paths into batches, each path of each series in exactly one.

    Half of the memory is for histories, half for paths.

    Args:
        lengths: Rows of each history.
        samples: Sample paths per series.
        horizon: Steps to generate.
        limits: What a batch may need; a single path may need more.
    """
    half = limits.memory // 2
    max_rows = max(1, min(limits.rows, half // (horizon * limits.step_bytes + limits.path_bytes)))
    chunks = -(-samples // max_rows)
    size = -(-samples // chunks)  # equal chunks, so that no batch is left with a few rows
    ranges = [range(first, min(first + size, samples)) for first in range(0, samples, size)]
    max_series = max(1, min(max_rows // size, half // (max(lengths) * limits.history_bytes)))
    if limits.bucketed:
        max_series = largest_full_batch(max_series)
    batches: list[DecodeBatch] = []
    current: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        too_long = bool(current) and lengths[index] > _MAX_LENGTH_RATIO * lengths[current[0]]
        if too_long or len(current) == max_series:
            batches += [DecodeBatch(tuple(current), paths) for paths in ranges]
            current = []
        current.append(index)
    return batches + [DecodeBatch(tuple(current), paths) for paths in ranges]


@dataclass(frozen=True, slots=True, eq=False)
class SampledPaths:
    """Sample paths of one series, in price units.

    Attributes:
        paths: ``[S, H, 6]``, before `kronos.forecasts.repair_candles`.
        last: The last candle of the history as the tokenizer reconstructs it, ``[6]``.
    """

    paths: FloatArray
    last: FloatArray


def sample_paths(
    packed: PackedModel,
    series: Sequence[SeriesInput],
    params: SamplingParams,
    seed: int,
    progress: ProgressCallback | None,
) -> list[SampledPaths]:
    """Sample the paths of all series, which share one horizon.

    Args:
        packed: The packed networks.
        series: The series to forecast.
        params: Temperature, filters, samples.
        seed: Random seed.
        progress: Called with the number of generated candles and their total.

    Returns:
        The sample paths of each series.

    Raises:
        DeviceError: If even a single path does not fit into memory.
    """
    horizon = len(series[0].prepared.y_stamp)
    results = [SampledPaths(np.empty((params.samples, horizon, 6)), np.empty(6)) for _ in series]
    lengths = [len(one.prepared.x) for one in series]
    pending = plan_batches(lengths, params.samples, horizon, BatchLimits.of(packed))
    total, done = len(series) * params.samples * horizon, 0
    while pending:
        batch = pending.pop(0)
        members = [series[i] for i in batch.series]
        uniforms = np.stack([keyed_uniforms(seed, one.name, batch.paths, horizon) for one in members])
        report = _batch_progress(progress, done, batch.rows, total)
        try:
            if packed.graphs is not None:
                last, values = _decode_captured(packed, members, params, uniforms, report)
            else:
                draws = torch.from_numpy(uniforms).to(packed.model.wide_dtype).to(packed.model.device)
                sampler = CounterBasedSampler(params, draws)
                last, values = _decode(packed, members, len(batch.paths), sampler, report)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if batch.rows == 1:
                raise DeviceError(
                    "Out of memory while sampling a single path: use a smaller model or a shorter history."
                ) from error
            _log.warning("Out of memory with %d rows; halving the batch.", batch.rows)
            if packed.graphs is not None:
                packed.graphs.clear()  # they hold on to the memory of the batches before
            pending = [*batch.halves(), *pending]
            continue
        for i, one, last_row, rows in zip(batch.series, members, last, values, strict=True):
            results[i].paths[batch.paths.start : batch.paths.stop] = one.prepared.restore(rows)
            results[i].last[:] = one.prepared.restore_last(last_row)
        done += batch.rows * horizon
    return results


def _batch_progress(progress: ProgressCallback | None, done: int, rows: int, total: int) -> ProgressCallback | None:
    """Report one batch's steps as part of the total."""
    return None if progress is None else lambda step, _: progress(done + step * rows, total)


@torch.inference_mode()
def _decode(
    packed: PackedModel,
    series: Sequence[SeriesInput],
    samples: int,
    sampler: TokenSampler,
    progress: ProgressCallback | None,
) -> tuple[FloatArray, FloatArray]:
    """Normalised candles of one batch.

    Returns:
        The histories' last candles as the tokenizer reconstructs them ``[B, 6]``, and the paths ``[B, S, H, 6]``.
    """
    device = packed.model.device
    lengths, x, stamps, future = (part.to(device) for part in _padded_inputs(series))
    tokens = packed.tokenizer.encode(x)
    prompt = Prompt(tokens, lengths, stamps, future)
    own = Rollout(packed.model, prompt, samples, x.shape[1] + future.shape[1]).generate(sampler, progress)
    past, values = packed.tokenizer.decode(tokens, prompt.lengths, own)
    last = past[torch.arange(len(series), device=device), prompt.lengths - 1]
    return last.cpu().double().numpy(), values.cpu().double().numpy()


def _decode_captured(
    packed: PackedModel,
    series: Sequence[SeriesInput],
    params: SamplingParams,
    uniforms: FloatArray,
    progress: ProgressCallback | None,
) -> tuple[FloatArray, FloatArray]:
    """As `_decode`, in a bucket; a graph has no steps to report, so progress is called at its end."""
    lengths, x, stamps, future = _padded_inputs(series)
    inputs = BatchInputs(x, lengths, stamps, future, torch.from_numpy(uniforms))
    last, values = decode_static(packed, inputs, params)
    if progress is not None:
        progress(future.shape[1], future.shape[1])
    return last.double().numpy(), values.double().numpy()


def _padded_inputs(series: Sequence[SeriesInput]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lengths ``[B]``, histories ``[B, T, 6]``, their calendar features and those of the steps, padded at the right."""
    lengths = torch.tensor([len(one.prepared.x) for one in series])
    longest = int(lengths.max())

    def padded(rows: Sequence[NDArray[Any]]) -> torch.Tensor:
        out = np.zeros((len(rows), longest, rows[0].shape[1]), dtype=rows[0].dtype)
        for b, row in enumerate(rows):
            out[b, : len(row)] = row
        return torch.from_numpy(out)

    x, stamps = (padded([getattr(one.prepared, name) for one in series]) for name in ("x", "x_stamp"))
    return lengths, x, stamps, torch.from_numpy(np.stack([one.prepared.y_stamp for one in series]))

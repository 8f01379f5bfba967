"""Seeded sampling of many series: how they are batched, and how one batch is decoded.

- A batch is a few series of similar length times a range of paths, at most `MAX_ROWS` rows: matrices large enough to
  be fast, caches small enough for memory. A batch that does not fit is halved, which changes no path.
- History and horizon together must fit the context, so that the cache serves every step.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kronos.errors import DeviceError
from kronos.inference.devices import is_out_of_memory
from kronos.inference.engine import PackedModel, Prompt, Rollout, TokenSampler
from kronos.inference.sampling import CounterBasedSampler, SamplingParams
from kronos.preprocessing import ModelInput
from kronos.progress import ProgressCallback
from kronos.rng import keyed_uniforms
from kronos.typing import FloatArray

MAX_ROWS = 256  # rows of a batch
CACHE_BYTES = 2**31  # keys and values of a batch; a single row may need more
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


def plan_batches(lengths: Sequence[int], samples: int, horizon: int, row_bytes: int) -> list[DecodeBatch]:
    """Divide series and paths into batches, each path of each series in exactly one.

    Args:
        lengths: Rows of each history.
        samples: Sample paths per series.
        horizon: Steps to generate.
        row_bytes: Bytes of keys and values per row of a window.
    """
    cache_rows = CACHE_BYTES // row_bytes  # rows of histories and of samples that the caches can hold together
    max_rows = max(1, min(MAX_ROWS, cache_rows // (2 * horizon)))
    chunks = -(-samples // max_rows)
    size = -(-samples // chunks)  # equal chunks, so that no batch is left with a few rows
    ranges = [range(first, min(first + size, samples)) for first in range(0, samples, size)]
    max_series = max(1, min(max_rows // size, cache_rows // (2 * max(lengths))))
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
    pending = plan_batches(lengths, params.samples, horizon, packed.model.row_bytes)
    total, done = len(series) * params.samples * horizon, 0
    while pending:
        batch = pending.pop(0)
        members = [series[i] for i in batch.series]
        uniforms = np.stack([keyed_uniforms(seed, one.name, batch.paths, horizon) for one in members])
        sampler = CounterBasedSampler(
            params, torch.from_numpy(uniforms).to(packed.model.wide_dtype).to(packed.model.device)
        )
        try:
            last, values = _decode(
                packed, members, len(batch.paths), sampler, _batch_progress(progress, done, batch.rows, total)
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if batch.rows == 1:
                raise DeviceError(
                    "Out of memory while sampling a single path: use a smaller model or a shorter history."
                ) from error
            _log.warning("Out of memory with %d rows; halving the batch.", batch.rows)
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
    lengths = torch.tensor([len(one.prepared.x) for one in series])
    longest = int(lengths.max())

    def padded(rows: Sequence[NDArray[Any]]) -> torch.Tensor:
        out = np.zeros((len(rows), longest, rows[0].shape[1]), dtype=rows[0].dtype)
        for b, row in enumerate(rows):
            out[b, : len(row)] = row
        return torch.from_numpy(out).to(device)

    tokens = packed.tokenizer.encode(padded([one.prepared.x for one in series]))
    stamps = padded([one.prepared.x_stamp for one in series])
    future = torch.from_numpy(np.stack([one.prepared.y_stamp for one in series])).to(device)
    prompt = Prompt(tokens, lengths.to(device), stamps, future)
    own = Rollout(packed.model, prompt, samples, longest + future.shape[1]).generate(sampler, progress)
    past, values = packed.tokenizer.decode(tokens, prompt.lengths, own)
    last = past[torch.arange(len(series), device=device), prompt.lengths - 1]
    return last.cpu().double().numpy(), values.cpu().double().numpy()

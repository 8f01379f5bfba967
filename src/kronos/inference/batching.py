"""Seeded forecasts of many series: which go together, and how one block is decoded.

Notable here:
- a block is a few series of similar length times a range of paths, at most `ROWS` rows, so that matrices are large
  enough to be fast and caches small enough for memory; a block that doesn't fit is halved, which changes no path;
- histories are cut so that history and horizon fit the context: the cache then serves every step.
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
from kronos.inference.sampling import CounterBasedSampler, ProgressSampler, SamplingParams, keyed_uniforms
from kronos.preprocessing import ModelInput
from kronos.progress import ProgressCallback

ROWS = 256  # rows decoded together, at most
CACHE_BYTES = 2**31  # keys and values of one block, at most (a single row may need more)
_WASTE = 1.25  # the longest history of a block over its shortest, at most

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SeriesInput:
    """One series to forecast: its name, which keys its draws, and its prepared history."""

    name: str
    prepared: ModelInput


@dataclass(frozen=True, slots=True)
class DecodeBatch:
    """Series by their position in the list of jobs, and a range of paths."""

    jobs: tuple[int, ...]
    paths: range

    @property
    def rows(self) -> int:
        """Rows decoded at each step."""
        return len(self.jobs) * len(self.paths)

    def halves(self) -> tuple[DecodeBatch, DecodeBatch]:
        """The block in two: by series, or by paths where there is but one."""
        if len(self.jobs) > 1:
            middle = len(self.jobs) // 2
            return DecodeBatch(self.jobs[:middle], self.paths), DecodeBatch(self.jobs[middle:], self.paths)
        middle = (self.paths.start + self.paths.stop) // 2
        return DecodeBatch(self.jobs, range(self.paths.start, middle)), DecodeBatch(
            self.jobs, range(middle, self.paths.stop)
        )


def plan_batches(lengths: Sequence[int], samples: int, horizon: int, row_bytes: int) -> list[DecodeBatch]:
    """Blocks over series, each path of each series in exactly one.

    Args:
        lengths: Rows of each history.
        samples: Paths of each.
        horizon: Steps.
        row_bytes: Bytes of keys and values that one row of a window takes.
    """
    room = CACHE_BYTES // row_bytes  # rows of history and own rows that caches may hold together
    most = max(1, min(ROWS, room // (2 * horizon)))
    chunks = -(-samples // most)
    size = -(-samples // chunks)  # equal chunks, so that none is left with a few rows
    ranges = [range(first, min(first + size, samples)) for first in range(0, samples, size)]
    together = max(1, min(most // size, room // (2 * max(lengths))))
    blocks: list[DecodeBatch] = []
    current: list[int] = []
    for job in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if current and (len(current) == together or lengths[job] > _WASTE * lengths[current[0]]):
            blocks += [DecodeBatch(tuple(current), paths) for paths in ranges]
            current = []
        current.append(job)
    return blocks + [DecodeBatch(tuple(current), paths) for paths in ranges]


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """What was sampled for one job, in price units.

    Attributes:
        paths: ``[S, H, 6]``, not yet mended.
        last: ``[6]``, the last candle of the history as the tokenizer gives it back.
    """

    paths: NDArray[np.float64]
    last: NDArray[np.float64]


def decode_blocks(
    decoders: PackedModel,
    jobs: Sequence[SeriesInput],
    params: SamplingParams,
    seed: int,
    progress: ProgressCallback | None,
) -> list[Sampled]:
    """Sample all jobs, which share one horizon.

    Args:
        decoders: The packed networks.
        jobs: What to forecast.
        params: Temperature, filters, samples.
        seed: Of the draws.
        progress: Called with the row-steps done and their number.

    Returns:
        What was sampled for each job.

    Raises:
        DeviceError: If a single row does not fit into memory.
    """
    horizon = len(jobs[0].prepared.y_stamp)
    results = [Sampled(np.empty((params.samples, horizon, 6)), np.empty(6)) for _ in jobs]
    todo = plan_batches([len(job.prepared.x) for job in jobs], params.samples, horizon, decoders.model.row_bytes)
    total, done = len(jobs) * params.samples * horizon, 0
    while todo:
        block = todo.pop(0)
        members = [jobs[i] for i in block.jobs]
        draws = _draws(decoders, members, block.paths, params, seed)
        choose = (
            draws if progress is None else ProgressSampler(draws, horizon, _share(progress, done, block.rows, total))
        )
        try:
            last, values = _decode(decoders, members, len(block.paths), choose)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if block.rows == 1:
                raise DeviceError("Memory ran out on one path; use a smaller model or a shorter history.") from error
            _log.warning("Memory ran out on %d rows; halving the batch.", block.rows)
            todo = [*block.halves(), *todo]
            continue
        for i, job, last_row, block_values in zip(block.jobs, members, last, values, strict=True):
            results[i].paths[block.paths.start : block.paths.stop] = job.prepared.restore(block_values)
            results[i].last[:] = job.prepared.restore(last_row)
        done += block.rows * horizon
    return results


def _share(progress: ProgressCallback, before: int, rows: int, total: int) -> ProgressCallback:
    """One block's progress as part of the whole."""
    return lambda step, _: progress(before + step * rows, total)


def _draws(
    decoders: PackedModel, jobs: Sequence[SeriesInput], paths: range, params: SamplingParams, seed: int
) -> CounterBasedSampler:
    horizon = len(jobs[0].prepared.y_stamp)
    uniforms = np.stack([keyed_uniforms(seed, job.name, paths, horizon) for job in jobs])
    return CounterBasedSampler(
        params, torch.from_numpy(uniforms).to(decoders.model.wide_dtype).to(decoders.model.device)
    )


@torch.inference_mode()
def _decode(
    decoders: PackedModel, jobs: Sequence[SeriesInput], samples: int, choose: TokenSampler
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normalised candles of one block: the histories' last ones as the tokenizer knows them ``[B, 6]``, and the paths.

    Returns:
        ``[B, 6]`` and ``[B, S, H, 6]``.
    """
    device = decoders.model.device
    lengths = torch.tensor([len(job.prepared.x) for job in jobs])
    longest = int(lengths.max())

    def padded(rows: Sequence[NDArray[Any]]) -> torch.Tensor:
        out = np.zeros((len(rows), longest, rows[0].shape[1]), dtype=rows[0].dtype)
        for b, row in enumerate(rows):
            out[b, : len(row)] = row
        return torch.from_numpy(out).to(device)

    tokens = decoders.tokenizer.encode(padded([job.prepared.x for job in jobs]))
    stamps = padded([job.prepared.x_stamp for job in jobs])
    future = torch.from_numpy(np.stack([job.prepared.y_stamp for job in jobs])).to(device)
    prompt = Prompt(tokens, lengths.to(device), stamps, future)
    own = Rollout(decoders.model, prompt, samples, longest + future.shape[1]).run(choose)
    past, values = decoders.tokenizer.decode(tokens, prompt.lengths, own)
    last = past[torch.arange(len(jobs), device=device), prompt.lengths - 1]
    return last.cpu().double().numpy(), values.cpu().double().numpy()

"""Leakage check: change future candles, and verify that no earlier value of a sample changes.

A dataset that normalises over the whole window learns from what it is to predict, which makes its losses meaningless.
The check changes candles in memory only and compares samples exactly. It cannot detect what a subclass computes in its
constructor.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kronos.datasets.memmap_store import MemmapCandles
from kronos.errors import ParameterError

if TYPE_CHECKING:
    from kronos.datasets.batching import Sample
    from kronos.datasets.windows import WindowDataset

_BEYOND = 1_024  # candles that are changed after the window


def check_leakage(dataset: WindowDataset, samples: int = 16) -> list[str]:
    """Check that samples depend neither on their own future nor on candles after their window.

    For samples spread over the dataset, all candles from some position on are changed: from the first to predict, from
    one in the middle of those, and from the first after the window. Before that position, normalised candles, calendar
    features, volatility and statistics must stay the same.

    Args:
        dataset: A dataset of windows, also of a subclass.
        samples: Number of samples to check.

    Returns:
        A sentence for each leak; empty if there is none.

    Raises:
        ParameterError: If ``samples`` is below 1.
    """
    if samples < 1:
        raise ParameterError(f"Invalid samples {samples}: choose at least 1.")
    store = dataset.data.store
    changed = copy.copy(dataset)
    leaks: list[str] = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, samples).astype(np.int64)).tolist():
        window, sample = dataset.window(index), dataset[index]
        total = len(sample.x)
        for position in sorted({sample.known, (sample.known + total) // 2, total}):
            with MemmapCandles.open(store.folder, writable=True) as other:
                _change_candles(other, window.first + position * window.factor)
                changed.data = replace(dataset.data, store=other)
                leaks += [
                    f"Sample {index}: {what} when candles from position {position} on change, in a window of {total} "
                    f"with a history of {sample.known}."
                    for what in _differences(dataset, changed, index, position)
                ]
    return leaks


def _change_candles(store: MemmapCandles, row: int) -> None:
    """Change an instrument's candles from a row on: higher, more volatile, with other volumes."""
    stop = min(row + _BEYOND, next((info.stop for info in store.series if info.start <= row < info.stop), row))
    rng = np.random.default_rng(0)
    factors = 2 * np.exp(rng.normal(0, 0.1, (stop - row, 1)))
    store.candles[row:stop] = store.candles[row:stop] * factors + np.array([0, 0, 0, 0, 1e3, 1e5])


def _differences(dataset: WindowDataset, changed: WindowDataset, index: int, position: int) -> Iterator[str]:
    before, after = dataset[index], changed[index]
    if not np.array_equal(before.x[:position], after.x[:position]):
        yield "earlier normalised candles change"
    if not np.array_equal(before.stamp[:position], after.stamp[:position]):
        yield "earlier calendar features change"
    if (before.known, before.row) != (after.known, after.row):
        yield "its history or its number changes"
    if before.step != after.step:
        yield "its volatility changes"
    if not _same_statistics(dataset, changed, index, before):
        yield "the mean or the scale changes"


def _same_statistics(dataset: WindowDataset, changed: WindowDataset, index: int, sample: Sample) -> bool:
    window = dataset.window(index)
    statistics = [variant.normalise(variant.candles(window), sample.known)[1:] for variant in (dataset, changed)]
    return all(np.array_equal(a, b) for a, b in zip(*statistics, strict=True))

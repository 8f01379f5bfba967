"""Whether samples know their future: change what comes after, and see what changes before.

A dataset that normalises over the whole window learns from what it is to predict, and its losses mean nothing. The
check changes candles in memory, never on the disk, and compares samples before and after to the last digit. It sees
what samples are made of when they are made; what a subclass worked out in its constructor, it cannot.
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

_BEYOND = 1_024  # candles after a window that are changed too


def check_leakage(dataset: WindowDataset, samples: int = 16) -> list[str]:
    """Check that no sample shows its future, and none shows what lies beyond its window.

    For samples spread over the dataset, every candle from some place on is changed: from the first that is to be
    predicted, from one after it, and from the first behind the window. Nothing before that place may change: neither
    the normalised candles, nor the calendar features, nor the volatility, nor the statistics.

    Args:
        dataset: Any dataset of windows, of a subclass too.
        samples: How many to look at.

    Returns:
        What is wrong, a sentence each; nothing if all is well.

    Raises:
        ParameterError: If ``samples`` is below 1.
    """
    if samples < 1:
        raise ParameterError(f"samples counts samples to look at, at least 1, not {samples}.")
    store = dataset.data.store
    changed = copy.copy(dataset)
    found: list[str] = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, samples).astype(np.int64)).tolist():
        first, sample = dataset.window(index).first, dataset[index]
        total = len(sample.x)
        for place in sorted({sample.known, (sample.known + total) // 2, total}):
            with MemmapCandles.open(store.folder, changeable=True) as other:
                _change(other, first + place)
                changed.data = replace(dataset.data, store=other)
                found += [
                    f"Sample {index}: {what} when candles from number {place} on change, of a window of {total} that "
                    f"knows {sample.known}."
                    for what in _differences(dataset, changed, index, place)
                ]
    return found


def _change(store: MemmapCandles, row: int) -> None:
    """Give an instrument other candles from a row on: higher ones, wilder ones, and other volumes."""
    stop = min(row + _BEYOND, next((one.stop for one in store.series if one.start <= row < one.stop), row))
    rng = np.random.default_rng(0)
    factors = 2 * np.exp(rng.normal(0, 0.1, (stop - row, 1)))
    store.candles[row:stop] = store.candles[row:stop] * factors + np.array([0, 0, 0, 0, 1e3, 1e5])


def _differences(dataset: WindowDataset, changed: WindowDataset, index: int, place: int) -> Iterator[str]:
    before, after = dataset[index], changed[index]
    if not np.array_equal(before.x[:place], after.x[:place]):
        yield "normalised candles before it change"
    if not np.array_equal(before.stamp[:place], after.stamp[:place]):
        yield "calendar features before it change"
    if (before.known, before.row) != (after.known, after.row):
        yield "its lookback part or its number changes"
    if before.step != after.step:
        yield "its volatility changes"
    if not _same_statistics(dataset, changed, index, before):
        yield "the mean or the scale changes"


def _same_statistics(dataset: WindowDataset, changed: WindowDataset, index: int, sample: Sample) -> bool:
    first = dataset.window(index).first
    rows = slice(first, first + len(sample.x))
    told = [one.normalise(np.array(one.data.store.candles[rows]), sample.known)[1:] for one in (dataset, changed)]
    return all(np.array_equal(a, b) for a, b in zip(*told, strict=True))

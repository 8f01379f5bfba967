"""Training, validation and test by time: whole candles before a cut, an embargo after it, never a shuffle.

Markets move together, so the cuts are dates, the same for every symbol. A candle belongs to a part only if it opens and
closes within it: a daily candle that straddles a cut would carry the later part's prices into the earlier one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.datasets.config import Split
from kronos.errors import DataError
from kronos.intervals import Interval

PARTS = ("train", "val", "test")
TITLES = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class Cuts:
    """When validation and test begin, UTC.

    Attributes:
        validation: Training candles have closed by then.
        test: Validation candles have closed by then.
    """

    validation: pd.Timestamp
    test: pd.Timestamp


def choose_cuts(closes: Iterable[pd.DatetimeIndex], split: Split) -> Cuts:
    """The dates that give each part its share of all candles.

    Args:
        closes: When the candles of each series close, UTC.
        split: The shares.

    Raises:
        DataError: If there are too few different times for three parts.
    """
    times = np.sort(np.concatenate([index.as_unit("us").asi8 for index in closes]))
    first, second = (
        int(times[max(0, round(share * len(times)) - 1)]) for share in (split.train, split.train + split.validation)
    )
    if not first < second < int(times[-1]):
        raise DataError(
            f"{len(np.unique(times))} different times are too few for training, validation and test; "
            f"ask for more records."
        )
    return Cuts(pd.Timestamp(first, unit="us", tz="UTC"), pd.Timestamp(second, unit="us", tz="UTC"))


def parts_of(opens: pd.DatetimeIndex, interval: Interval, cuts: Cuts, embargo: int) -> npt.NDArray[np.int8]:
    """Which part each candle belongs to.

    Args:
        opens: Opening times, UTC, increasing. [N]
        interval: The candles' length.
        cuts: When validation and test begin.
        embargo: Candles left out after each cut.

    Returns:
        0 for training, 1 for validation, 2 for test, -1 for candles that straddle a cut or lie in an embargo. [N]
    """
    closes = closing_times(opens, interval)
    part = np.full(len(opens), -1, dtype=np.int8)
    part[closes <= cuts.validation] = 0
    for number, start, end in ((1, cuts.validation, cuts.test), (2, cuts.test, None)):
        inside = np.flatnonzero((opens >= start) & ((closes <= end) if end is not None else True))
        part[inside[embargo:]] = number
    return part


def closing_times(opens: pd.DatetimeIndex, interval: Interval) -> pd.DatetimeIndex:
    """When candles close that open at these times."""
    if interval.unit == "mo":
        return pd.DatetimeIndex(opens + interval.offset)
    return opens + interval.delta


def count_windows(segments: npt.NDArray[np.int64], total: int) -> int:
    """How many windows of ``total`` candles fit into the stretches that have these numbers, one a candle."""
    if not len(segments):
        return 0
    lengths = np.unique_counts(segments).counts
    return int(np.maximum(lengths - total + 1, 0).sum())

"""``splits.csv`` as an evaluation takes it: between which dates candles are chosen and calibrated on, or judged.

Reading the file is `kronos.datasets.split_dates`'s: training keeps to the same dates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kronos.datasets.split_dates import SPLITS, SplitDates, find_split_dates, read_split_dates
from kronos.evaluation.plan import Dates

Part = Literal["validation", "test"]

PARTS: tuple[Part, ...] = ("validation", "test")

__all__ = ["PARTS", "SPLITS", "Part", "Splits", "find_splits", "read_splits"]


@dataclass(frozen=True, slots=True)
class Splits(SplitDates):
    """The cuts of a file."""

    def dates(self, part: Part) -> dict[str, Dates]:
        """Between which times candles of a part lie, by market.

        Args:
            part: ``validation`` or ``test``.
        """
        if part == "test":
            return {market: Dates(test, None) for market, (_, test) in self.cuts.items()}
        return {market: Dates(validation, test) for market, (validation, test) in self.cuts.items()}


def read_splits(path: str | Path) -> Splits:
    """Read the cuts.

    Args:
        path: A CSV file with the columns market, validation_from and test_from.

    Raises:
        DataError: If it cannot be read, or a line is wrong.
    """
    return _of(read_split_dates(path))


def find_splits(paths: Iterable[str | Path]) -> Splits | None:
    """The cuts beside candles: ``splits.csv`` in their folder, or in one of the two above it.

    A file of that name with other columns is somebody else's (of share splits, say), and does not count.

    Args:
        paths: Of candle files and folders.

    Raises:
        DataError: If a line is wrong.
        ParameterError: If there are several.
    """
    found = find_split_dates(paths)
    return None if found is None else _of(found)


def _of(dates: SplitDates) -> Splits:
    return Splits(dates.cuts, dates.path)

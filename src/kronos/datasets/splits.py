"""Training, validation and test by time: whole candles before a cut, an embargo after it, never a shuffle.

Markets move together, so the cuts are dates, the same for every symbol. A candle belongs to a part only if it opens and
closes within it: a daily candle that straddles a cut would carry the later part's prices into the earlier one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.datasets.config import Split
from kronos.errors import DataError, ParameterError
from kronos.formatting import truncate
from kronos.intervals import Interval

SPLITS = "splits.csv"
_COLUMNS = ("market", "validation_from", "test_from")


@dataclass(frozen=True, slots=True)
class SplitDates:
    """When validation and test begin.

    Attributes:
        cuts: By market; times without a timezone are the candles' own wall clock.
        path: The file they are from; None if they are from a program.
        embargo: Candles left out after each cut; None for as many as a sample predicts. Only training keeps to it.
    """

    cuts: Mapping[str, tuple[pd.Timestamp, pd.Timestamp]]
    path: Path | None = None
    embargo: int | None = None

    @property
    def name(self) -> str:
        """What errors call them."""
        return "The split" if self.path is None else str(self.path)


def read_split_dates(path: str | Path) -> SplitDates:
    """Read the cuts.

    Args:
        path: A CSV file with the columns market, validation_from and test_from.

    Raises:
        DataError: If it cannot be read, or a line is wrong.
    """
    place = Path(path)
    table = _table(place)
    lacking = [name for name in _COLUMNS if name not in table.columns]
    if lacking:
        raise DataError(f"{place} has no column {lacking[0]}; it needs {', '.join(_COLUMNS)}.")
    cuts: dict[str, tuple[pd.Timestamp, pd.Timestamp]] = {}
    for number, row in enumerate(table[list(_COLUMNS)].itertuples(index=False), start=2):
        where = f"Line {number} of {place}"
        market, *texts = ("" if pd.isna(value) else str(value).strip() for value in row)
        if not market:
            raise DataError(f"{where} names no market; add it.")
        if market in cuts:
            raise DataError(f"{where} has the market '{truncate(market)}' again; leave one line of it.")
        validation, test = (_date(text, name, where) for text, name in zip(texts, _COLUMNS[1:], strict=True))
        if (validation.tz is None) != (test.tz is None) or validation >= test:
            raise DataError(f"{where} has its validation begin at {texts[0]}, not before its test at {texts[1]}.")
        cuts[market] = (validation, test)
    if not cuts:
        raise DataError(f"{place} has no line; add the markets and their dates.")
    return SplitDates(cuts, place)


def find_split_dates(paths: Iterable[str | Path]) -> SplitDates | None:
    """The cuts beside candles: ``splits.csv`` in their folder, or in one of the two above it.

    A file of that name with other columns is somebody else's (of share splits, say), and does not count.

    Args:
        paths: Of candle files and folders.

    Raises:
        DataError: If a line is wrong.
        ParameterError: If there are several.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        folder = path if path.is_dir() else path.parent
        places = [Path(os.path.normpath(folder / up / SPLITS)) for up in ("", "..", "../..")]
        near = next((place for place in places if _ours(place)), None)
        if near is not None:
            found.setdefault(near.resolve(), near)
    if len(found) > 1:
        first, second, *_ = found.values()
        raise ParameterError(f"There are dates in {first} and in {second}; say which count with --splits.")
    return next((read_split_dates(path) for path in found.values()), None)


def _ours(path: Path) -> bool:
    try:
        return path.is_file() and set(_COLUMNS) <= set(_table(path).columns)
    except DataError:
        return False


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no table"
        raise DataError(f"{path} cannot be read ({reason.lower()}); give a CSV with {', '.join(_COLUMNS)}.") from error


def _date(text: str, name: str, where: str) -> pd.Timestamp:
    with suppress(ValueError, TypeError, OverflowError):
        date = pd.Timestamp(text)
        if not pd.isna(date):
            return date
    raise DataError(f"{where} has '{truncate(text)}' as {name}; write a date like 2024-01-31.")


PARTS = ("train", "val", "test")
TITLES = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class SplitPoints:
    """When validation and test begin, UTC.

    Attributes:
        validation: Training candles have closed by then.
        test: Validation candles have closed by then.
    """

    validation: pd.Timestamp
    test: pd.Timestamp


def choose_cuts(closes: Iterable[pd.DatetimeIndex], split: Split) -> SplitPoints:
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
    return SplitPoints(pd.Timestamp(first, unit="us", tz="UTC"), pd.Timestamp(second, unit="us", tz="UTC"))


def parts_of(opens: pd.DatetimeIndex, interval: Interval, cuts: SplitPoints, embargo: int) -> npt.NDArray[np.int8]:
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

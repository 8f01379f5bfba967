"""Splits by time into training, validation and test: whole candles before a date, an embargo after it, no shuffling.

Markets move together, so all symbols share the same dates. A candle belongs to a part only if it opens and closes
within it: a daily candle that spans a date would carry the later part's prices into the earlier part.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
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
from kronos.typing import IntArray

SPLITS = "splits.csv"
_COLUMNS = ("market", "validation_from", "test_from")
_INTERVAL = "interval"

PARTS = ("train", "val", "test")
PART_TITLES = {"train": "training", "val": "validation", "test": "test"}


# Dates given by the user -----------------------------------------------


@dataclass(frozen=True, slots=True)
class SplitDates:
    """Dates from which validation and test begin, by market.

    Attributes:
        cuts: Validation date and test date by market; times without a timezone are on the candles' own wall clock. A
            key such as ``us_equity 1d`` holds for one interval of a market.
        path: File they were read from, if any.
        embargo: Candles left out after each date; None for as many as a sample predicts. Only used in training.
    """

    cuts: Mapping[str, tuple[pd.Timestamp, pd.Timestamp]]
    path: Path | None = None
    embargo: int | None = None

    @property
    def name(self) -> str:
        """Their name in messages."""
        return "The split" if self.path is None else str(self.path)

    def of(self, group: str, market: str) -> tuple[pd.Timestamp, pd.Timestamp] | None:
        """Validation and test date of a group such as ``us_equity 1d``, else of its market; None without either."""
        return self.cuts.get(group) or self.cuts.get(market)


def read_split_dates(path: str | Path) -> SplitDates:
    """Read split dates from a CSV file with the columns market, validation_from and test_from.

    With a column interval, a line that names one holds for that interval of the market, and a line without for others.

    Raises:
        DataError: If it cannot be read, or a line is invalid.
    """
    path = Path(path)
    table = _read_table(path)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {missing[0]}: it needs {', '.join(_COLUMNS)}.")
    if _INTERVAL not in table.columns:
        table[_INTERVAL] = None
    cuts: dict[str, tuple[pd.Timestamp, pd.Timestamp]] = {}
    for number, row in enumerate(table[[*_COLUMNS, _INTERVAL]].itertuples(index=False), start=2):
        line = f"{path}, line {number}"
        market, *texts, interval = ("" if pd.isna(value) else str(value).strip() for value in row)
        if not market:
            raise DataError(f"{line}: the market is missing.")
        if interval:
            try:
                group = f"{market} {Interval.parse(interval)}"
            except ParameterError as error:
                raise DataError(f"{line}: {error}") from error
        else:
            group = market
        if group in cuts:
            raise DataError(f"{line}: the market '{truncate(group)}' is repeated.")
        validation, test = (_parse_date(text, name, line) for text, name in zip(texts, _COLUMNS[1:], strict=True))
        if (validation.tz is None) != (test.tz is None) or validation >= test:
            raise DataError(f"{line}: validation_from {texts[0]} must be before test_from {texts[1]}.")
        cuts[group] = (validation, test)
    if not cuts:
        raise DataError(f"{path} has no lines: add the markets and their dates.")
    return SplitDates(cuts, path)


def find_split_dates(paths: Iterable[str | Path]) -> SplitDates | None:
    """Find split dates next to candles: ``splits.csv`` in their folder, or in one of the two above it.

    A file of that name with other columns (of share splits, for example) is ignored.

    Args:
        paths: Candle files and folders.

    Raises:
        DataError: If a line is invalid.
        ParameterError: If there are several files.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        folder = path if path.is_dir() else path.parent
        candidates = [Path(os.path.normpath(folder / up / SPLITS)) for up in ("", "..", "../..")]
        nearest = next((candidate for candidate in candidates if _has_columns(candidate)), None)
        if nearest is not None:
            found.setdefault(nearest.resolve(), nearest)
    if len(found) > 1:
        first, second, *_ = found.values()
        raise ParameterError(f"Found split dates in {first} and in {second}: choose one with --splits.")
    return next((read_split_dates(path) for path in found.values()), None)


def _has_columns(path: Path) -> bool:
    try:
        return path.is_file() and set(_COLUMNS) <= set(_read_table(path).columns)
    except DataError:
        return False


def _read_table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a table"
        raise DataError(f"Cannot read {path} ({reason.lower()}): use a CSV with {', '.join(_COLUMNS)}.") from error


def _parse_date(text: str, name: str, line: str) -> pd.Timestamp:
    with suppress(ValueError, TypeError, OverflowError):
        date = pd.Timestamp(text)
        if not pd.isna(date):
            return date
    raise DataError(f"{line}: invalid {name} '{truncate(text)}'; write a date like 2024-01-31.")


# The split ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SplitPoints:
    """Times that separate the parts, UTC.

    Attributes:
        validation: Begin of validation; training candles have closed by then.
        test: Begin of test; validation candles have closed by then.
    """

    validation: pd.Timestamp
    test: pd.Timestamp


@dataclass(frozen=True, slots=True, eq=False)
class ClosingTimes:
    """Closing times of a series' candles, ``times + step``, in microseconds since 1970, UTC.

    Times may be memory-mapped opening times, which adding the step would copy.
    """

    times: IntArray
    step: int

    @classmethod
    def of(cls, opens: IntArray, interval: Interval) -> ClosingTimes:
        """Closing times of candles with these opening times."""
        if interval.unit != "mo":
            return cls(opens, interval.seconds * 1_000_000)
        months = pd.DatetimeIndex(opens.astype(np.int64).view("M8[us]")) + interval.offset
        return cls(pd.DatetimeIndex(months).as_unit("us").asi8, 0)

    def count_until(self, time: int) -> int:
        """Number of candles that have closed by a time."""
        return int(self.times.searchsorted(time - self.step, side="right"))


def group_by_dates(timeframes: Sequence[str], split: Split) -> list[list[int]]:
    """Group series that share split points: all together, or those of each timeframe."""
    groups: dict[str, list[int]] = {}
    for number, timeframe in enumerate(timeframes):
        groups.setdefault(timeframe if split.dates == "timeframe" else "", []).append(number)
    return list(groups.values())


def choose_split_points(closes: Sequence[ClosingTimes], split: Split) -> SplitPoints:
    """Choose the times that give each part its share of all candles.

    Args:
        closes: Closing times of each series, none empty.
        split: The shares.

    Raises:
        DataError: If there are too few distinct times for three parts.
    """
    total = sum(len(series.times) for series in closes)
    low = min(int(series.times[0]) + series.step for series in closes)
    high = max(int(series.times[-1]) + series.step for series in closes)
    validation, test = (
        _earliest_time(low, high, closes, max(1, round(share * total)))
        for share in (split.train, split.train + split.validation)
    )
    if not validation < test < high:
        raise DataError(
            f"Cannot split {total:,} candles into training, validation and test: too few different times. "
            f"Use a longer history."
        )
    return SplitPoints(*(pd.Timestamp(time, unit="us", tz="UTC") for time in (validation, test)))


def _earliest_time(low: int, high: int, closes: Sequence[ClosingTimes], count: int) -> int:
    """The earliest time by which ``count`` candles have closed, by bisection, without a list of all times."""
    while low < high:
        middle = (low + high) // 2
        if sum(series.count_until(middle) for series in closes) >= count:
            high = middle
        else:
            low = middle + 1
    return low


def split_rows(opens: IntArray, interval: Interval, points: SplitPoints, embargo: int) -> list[tuple[int, int]]:
    """The rows of one series in each part: first row and row after the last of training, validation and test.

    A part without candles has a first row that is not before its end.

    Args:
        opens: Opening times in microseconds since 1970, UTC, increasing. [N]
        interval: Length of the candles.
        points: Begin of validation and test.
        embargo: Candles left out at the beginning of validation and of test.
    """
    closes = ClosingTimes.of(opens, interval)
    validation, test = (to_micros(time) for time in (points.validation, points.test))
    begins = (0, *(int(opens.searchsorted(time)) + embargo for time in (validation, test)))
    ends = (closes.count_until(validation), closes.count_until(test), len(opens))
    return list(zip(begins, ends, strict=True))


def assign_parts(opens: IntArray, interval: Interval, points: SplitPoints, embargo: int) -> npt.NDArray[np.int8]:
    """The part of each candle, [N]: 0 training, 1 validation, 2 test, -1 none (across a date, or in an embargo).

    The arguments are those of `split_rows`.
    """
    parts = np.full(len(opens), -1, dtype=np.int8)
    for number, (begin, end) in enumerate(split_rows(opens, interval, points, embargo)):
        parts[begin:end] = number
    return parts


def to_micros(time: pd.Timestamp) -> int:
    """Microseconds since 1970, UTC."""
    return int(time.tz_convert("UTC").asm8.astype("M8[us]").astype(np.int64))


def count_windows(segments: IntArray, total: int) -> int:
    """Number of windows of ``total`` candles within segments, given the number of each candle's segment."""
    if not len(segments):
        return 0
    lengths = np.unique_counts(segments).counts
    return int(np.maximum(lengths - total + 1, 0).sum())

"""``splits.csv``: from which dates on candles are for choosing and calibrating, and from which on for judging.

    market,validation_from,test_from
    us_equity,2016-07-01,2017-01-01

What lies before ``validation_from`` is for training. The cuts are dates, the same for all series of a market, because
instruments of a market move together.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kronos.candles.findings import shown
from kronos.errors import DataError, ParameterError

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
            raise DataError(f"{where} has the market '{shown(market)}' again; leave one line of it.")
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
    raise DataError(f"{where} has '{shown(text)}' as {name}; write a date like 2024-01-31.")

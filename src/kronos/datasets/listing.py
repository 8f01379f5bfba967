"""What there is to read: candle files, folders of them and prepared datasets, each with what is known of it.

What an instrument's market is comes from the folder's ``MANIFEST.csv``, the name of its sub-folder, or its calendar, in
this order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kronos.calibration.markets import market_of
from kronos.candles import Candles, read_candles
from kronos.datasets.checking import is_table, read_series, stem
from kronos.datasets.prepared import Dataset, is_dataset, open_dataset
from kronos.errors import DataError, KronosError, ParameterError

MANIFEST = "MANIFEST.csv"
OTHER = "other"  # the market of what keeps no known market's hours
_MANIFEST_COLUMNS = ("path", "market", "symbol", "freq")


@dataclass(frozen=True, slots=True)
class Listed:
    """A file to read and what is known of it; a dataset has no file.

    Attributes:
        path: The file, or the dataset's folder.
        named: Whether it was asked for itself, and not met in a folder.
        market: The manifest's, or the sub-folder's name.
        symbol: The manifest's.
        interval: The manifest's.
        dataset: The prepared dataset.
    """

    path: Path
    named: bool = False
    market: str | None = None
    symbol: str | None = None
    interval: str | None = None
    dataset: Dataset | None = None


class _Manifests:
    """The manifests met on the way, each read once."""

    def __init__(self) -> None:
        self._read: dict[Path, list[tuple[Path, Listed]]] = {}

    def of(self, folder: Path) -> list[Listed]:
        """The files that a folder's manifest lists; none if it has none of ours."""
        return [source for _, source in self._resolved(folder)]

    def near(self, path: Path) -> list[Listed]:
        """What the manifests beside a file or folder, and above it, say of it."""
        real = path.resolve()
        for folder in (real, real.parent, real.parent.parent):
            found = [source for file, source in self._resolved(folder) if file == real or real in file.parents]
            if found:
                return found
        return []

    def _resolved(self, folder: Path) -> list[tuple[Path, Listed]]:
        """What a manifest lists, and where each file really lies."""
        if folder not in self._read:
            self._read[folder] = [(one.path.resolve(), one) for one in _manifest(folder) or []]
        return self._read[folder]


def _sources_of(path: str | Path, manifests: _Manifests) -> list[Listed]:
    place = Path(path)
    if not place.exists():
        try:
            found = open_dataset(path)
        except ParameterError as error:
            raise ParameterError(f"There is no file, folder or prepared dataset '{path}'; correct the path.") from error
        return [Listed(found.folder, named=True, dataset=found)]
    listed = manifests.near(place)
    if listed:
        return listed
    return _folder(place, None, manifests) if place.is_dir() else [Listed(place, named=True)]


def _folder(folder: Path, market: str | None, manifests: _Manifests) -> list[Listed]:
    """What a folder holds; the first sub-folder on the way down names the market."""
    if is_dataset(folder):
        around = None if market == folder.name else market  # a dataset's own name is none of a market
        return [Listed(folder, market=around, dataset=open_dataset(folder))]
    listed = manifests.of(folder)
    if listed:
        return listed
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise DataError(f"{folder} cannot be listed ({reason}); check its rights.") from error
    found = [Listed(Path(one.path), market=market) for one in entries if one.is_file() and is_table(one.name)]
    for one in entries:
        if one.is_dir() and not one.name.startswith("."):
            found += _folder(Path(one.path), market or one.name, manifests)
    return found


def _manifest(folder: Path) -> list[Listed] | None:
    """The files that a folder's manifest lists; None if it has none of ours.

    Raises:
        DataError: If it cannot be read, or a row says too little.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table; mend it, or move it away.") from error
    if not set(_MANIFEST_COLUMNS) <= set(table.columns):
        return None
    found = []
    for number, row in enumerate(table[list(_MANIFEST_COLUMNS)].itertuples(index=False), start=2):
        values = dict(zip(_MANIFEST_COLUMNS, row, strict=True))
        lacking = next((name for name, value in values.items() if pd.isna(value) or not str(value).strip()), None)
        if lacking is not None:
            raise DataError(f"Line {number} of {path} has no {lacking}; add it.")
        file, market, symbol, freq = (str(value).strip() for value in values.values())
        found.append(Listed(folder / file, named=True, market=market, symbol=symbol, interval=freq))
    return found


def _distinct(sources: Sequence[Listed]) -> list[Listed]:
    """Each file once, as it was first met."""
    seen: dict[str, Listed] = {}
    for one in sources:
        seen.setdefault(os.path.realpath(one.path), one)
    return list(seen.values())


def list_sources(paths: Iterable[str | Path]) -> list[Listed]:
    """Everything there is to read in files, folders and prepared datasets, each once.

    Folders are walked. Where one holds a ``MANIFEST.csv`` with the columns path, market, symbol and freq, the files it
    lists are given, and no others; one in the folders above counts too. A folder that `kronos data prepare` made is one
    dataset.

    Args:
        paths: Files, folders, and names of prepared datasets.

    Raises:
        ParameterError: If there is no such path or dataset.
        DataError: If a folder or a manifest cannot be read, or there is nothing.
    """
    manifests = _Manifests()
    found = _distinct([source for path in paths for source in _sources_of(path, manifests)])
    if not found:
        raise DataError("There are no candle files in what was given; give CSV, Feather or Parquet files of candles.")
    return found


def read_listed(source: Listed, interval: str | None = None, timezone: str | None = None) -> list[tuple[str, Candles]]:
    """A file's series with their names: the file's own, or of several that of each.

    Args:
        source: A file, not a dataset.
        interval: Of its candles; None for what is known of it, or else inferred.
        timezone: Of its times, as for `read_candles`.

    Raises:
        DataError: If the candles cannot be used; `NoCandlesError` if the table holds something else.
        ParameterError: If an argument is wrong.
    """
    interval = interval or source.interval
    if source.symbol is not None:
        candles = read_candles(source.path, symbol=source.symbol, interval=interval, timezone=timezone)
        return [(stem(source.path), candles)]
    found = read_series(source.path, interval, timezone)
    if len(found) == 1:
        return [(stem(source.path), found[0])]
    return [(f"{one.symbol}_{one.interval}", one) for one in found]


def guessed_market(candles: Candles) -> str:
    """The market whose hours candles keep, or else ``other``."""
    with suppress(KronosError):
        return market_of(candles) or OTHER
    return OTHER

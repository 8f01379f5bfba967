"""What there is to read: candle files, folders of them and prepared datasets, each with what is known of it.

What an instrument's market is comes from the folder's ``MANIFEST.csv``, the name of its sub-folder, or its calendar, in
this order.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kronos.atomic import expand_user
from kronos.calendars.markets import market_of
from kronos.candles import Candles, read_candles
from kronos.datasets.config import DEFAULT_FOLDER, DatasetConfig
from kronos.datasets.config_loading import load_config
from kronos.datasets.inspection import is_table, read_series, stem
from kronos.datasets.splits import PARTS
from kronos.datasets.summary import SUMMARY
from kronos.errors import DataError, KronosError, ParameterError
from kronos.formatting import truncate


@dataclass(frozen=True, slots=True)
class PreparedDataset:
    """A folder that `prepare` made.

    Attributes:
        folder: Where it lies.
        summary: What its ``data_summary.json`` holds.
    """

    folder: Path
    summary: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``Model_A_4H``."""
        return str(self.summary["model_name"])

    @property
    def simulated(self) -> bool:
        """Whether its candles are invented."""
        return bool(self.summary["simulated"])

    @property
    def config(self) -> DatasetConfig:
        """The configuration that made it."""
        return DatasetConfig.check(self.summary["config"], SUMMARY)

    def path(self, part: str) -> Path:
        """The file of a part.

        Args:
            part: ``train``, ``val`` or ``test``.

        Raises:
            ParameterError: If there is no such part.
        """
        if part not in PARTS:
            raise ParameterError(f"There is no part '{part}'; there are {', '.join(PARTS)}.")
        return self.folder / f"{part}_data.parquet"

    def read(self, part: str) -> pd.DataFrame:
        """A part as a long table: unique_id, symbol, timeframe, timestamps (UTC), open … amount, segment.

        Args:
            part: ``train``, ``val`` or ``test``.

        Raises:
            DataError: If its file is missing or broken.
        """
        path = self.path(part)
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read; prepare the dataset again.") from error


def open_dataset(name: str | Path, base: Path | None = None) -> PreparedDataset:
    """Open a prepared dataset.

    Args:
        name: Its name in any case (``Model_A_4H``), or its folder.
        base: Where named datasets lie; None for where `kronos data prepare` puts them: ``KRONOS_OUTPUT_DIR``, else the
            configuration's ``dataset_path``, else ``data/kronos_datasets``.

    Raises:
        ParameterError: If there is none, naming the nearest.
        DataError: If its summary is damaged.
    """
    usual = _usual_folder() if base is None else expand_user(base)
    for folder in (expand_user(name), *_homes(str(name), usual, base)):
        if (folder / SUMMARY).is_file():
            return PreparedDataset(folder, _read(folder / SUMMARY))
    there = sorted(path.parent.name for path in usual.glob(f"*/{SUMMARY}"))
    near = difflib.get_close_matches(str(name).lower(), there, n=1)
    mend = f"did you mean {near[0]}?" if near else "make one with 'kronos data prepare'."
    raise ParameterError(f"There is no prepared dataset '{truncate(name, 80)}'; {mend}")


def is_dataset(folder: Path) -> bool:
    """Whether a folder holds a dataset that `prepare` made."""
    try:
        _read(folder / SUMMARY)
    except DataError:
        return False
    return True


def _usual_folder() -> Path:
    from kronos.settings import get_settings

    return get_settings().output_dir or DEFAULT_FOLDER


def _homes(name: str, usual: Path, base: Path | None) -> Iterator[Path]:
    """Where a dataset of that name may lie."""
    yield usual / name.lower()
    if base is not None:
        return
    with suppress(ParameterError):
        yield load_config(name).folder()
    yield DEFAULT_FOLDER / name.lower()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        summary = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read; prepare the dataset again.") from error
    if not isinstance(summary, dict) or not {"model_name", "config", "simulated"} <= set(summary):
        raise DataError(f"{path} is no summary of a dataset; prepare it again.")
    return summary


MANIFEST = "MANIFEST.csv"
OTHER = "other"  # the market of what keeps no known market's hours
_MANIFEST_COLUMNS = ("path", "market", "symbol", "freq")


@dataclass(frozen=True, slots=True)
class FoundSource:
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
    dataset: PreparedDataset | None = None


class _Manifests:
    """The manifests met on the way, each read once."""

    def __init__(self) -> None:
        self._read: dict[Path, list[tuple[Path, FoundSource]]] = {}

    def of(self, folder: Path) -> list[FoundSource]:
        """The files that a folder's manifest lists; none if it has none of ours."""
        return [source for _, source in self._resolved(folder)]

    def near(self, path: Path) -> list[FoundSource]:
        """What the manifests beside a file or folder, and above it, say of it."""
        real = path.resolve()
        for folder in (real, real.parent, real.parent.parent):
            found = [source for file, source in self._resolved(folder) if file == real or real in file.parents]
            if found:
                return found
        return []

    def _resolved(self, folder: Path) -> list[tuple[Path, FoundSource]]:
        """What a manifest lists, and where each file really lies."""
        if folder not in self._read:
            self._read[folder] = [(one.path.resolve(), one) for one in _manifest(folder) or []]
        return self._read[folder]


def _sources_of(path: str | Path, manifests: _Manifests) -> list[FoundSource]:
    place = Path(path)
    if not place.exists():
        try:
            found = open_dataset(path)
        except ParameterError as error:
            raise ParameterError(f"There is no file, folder or prepared dataset '{path}'; correct the path.") from error
        return [FoundSource(found.folder, named=True, dataset=found)]
    listed = manifests.near(place)
    if listed:
        return listed
    return _folder(place, None, manifests) if place.is_dir() else [FoundSource(place, named=True)]


def _folder(folder: Path, market: str | None, manifests: _Manifests) -> list[FoundSource]:
    """What a folder holds; the first sub-folder on the way down names the market."""
    if is_dataset(folder):
        around = None if market == folder.name else market  # a dataset's own name is none of a market
        return [FoundSource(folder, market=around, dataset=open_dataset(folder))]
    listed = manifests.of(folder)
    if listed:
        return listed
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise DataError(f"{folder} cannot be listed ({reason}); check its rights.") from error
    found = [FoundSource(Path(one.path), market=market) for one in entries if one.is_file() and is_table(one.name)]
    for one in entries:
        if one.is_dir() and not one.name.startswith("."):
            found += _folder(Path(one.path), market or one.name, manifests)
    return found


def _manifest(folder: Path) -> list[FoundSource] | None:
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
        found.append(FoundSource(folder / file, named=True, market=market, symbol=symbol, interval=freq))
    return found


def _distinct(sources: Sequence[FoundSource]) -> list[FoundSource]:
    """Each file once, as it was first met."""
    seen: dict[str, FoundSource] = {}
    for one in sources:
        seen.setdefault(os.path.realpath(one.path), one)
    return list(seen.values())


def list_sources(paths: Iterable[str | Path]) -> list[FoundSource]:
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


def read_listed(
    source: FoundSource, interval: str | None = None, timezone: str | None = None
) -> list[tuple[str, Candles]]:
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


def infer_market(candles: Candles) -> str:
    """The market whose hours candles keep, or else ``other``."""
    with suppress(KronosError):
        return market_of(candles.index, candles.interval, candles.calendar) or OTHER
    return OTHER

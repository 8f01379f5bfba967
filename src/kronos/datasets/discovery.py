"""Discovery of candle files, folders of them, and prepared datasets.

An instrument's market comes from the folder's ``MANIFEST.csv``, else from the name of its sub-folder, else from its
calendar.
"""

from __future__ import annotations

import difflib
import glob
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from kronos.atomic import recover_folder
from kronos.calendars.future import market_of
from kronos.candles import Candles, ReadOptions
from kronos.candles.io import load_candles
from kronos.datasets.config import DEFAULT_FOLDER, DatasetConfig
from kronos.datasets.config_loading import load_config
from kronos.datasets.inspection import is_table, read_series, stem
from kronos.datasets.splits import PARTS
from kronos.datasets.summary import SUMMARY
from kronos.errors import DataError, KronosError, ParameterError
from kronos.formatting import expand_user, truncate
from kronos.locks import LOCK, exclusive_lock

MANIFEST = "MANIFEST.csv"
OTHER_MARKET = "other"  # no known market has these trading hours
_MANIFEST_COLUMNS = ("path", "market", "symbol", "freq")


# Prepared datasets ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PreparedDataset:
    """A dataset written by `prepare`.

    Attributes:
        folder: Its folder.
        summary: Contents of its ``data_summary.json``.
    """

    folder: Path
    summary: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The model's name: ``Model_A_4H``."""
        return str(self.summary["model_name"])

    @property
    def simulated(self) -> bool:
        """Whether its candles are simulated."""
        return bool(self.summary["simulated"])

    @property
    def config(self) -> DatasetConfig:
        """The configuration it was prepared from."""
        return DatasetConfig.check(self.summary["config"], SUMMARY)

    def path(self, part: str) -> Path:
        """The file of a part.

        Args:
            part: ``train``, ``val`` or ``test``.

        Raises:
            ParameterError: If there is no such part.
        """
        if part not in PARTS:
            raise ParameterError(f"Unknown part '{part}': choose {', '.join(PARTS)}.")
        return self.folder / f"{part}_data.parquet"

    def read(self, part: str) -> pd.DataFrame:
        """Read a part as a long table: unique_id, symbol, timeframe, timestamps (UTC), open … amount, segment.

        Args:
            part: ``train``, ``val`` or ``test``.

        Raises:
            DataError: If its file is missing or damaged.
        """
        path = self.path(part)
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise DataError(f"Cannot read {path}: prepare the dataset again.") from error


def open_dataset(name: str | Path, base: Path | None = None) -> PreparedDataset:
    """Open a prepared dataset.

    Args:
        name: Its name in any case (``Model_A_4H``), or its folder.
        base: Folder of named datasets; None for that of `kronos data prepare`: ``KRONOS_OUTPUT_DIR``, else the
            configuration's ``dataset_path``, else ``data/kronos_datasets``.

    Raises:
        ParameterError: If there is no such dataset; the message suggests the nearest name.
        DataError: If its summary is damaged.
    """
    datasets = _default_folder() if base is None else expand_user(base)
    for folder in (expand_user(name), *_candidate_folders(str(name), datasets, base)):
        _recover(folder)
        if (folder / SUMMARY).is_file():
            return PreparedDataset(folder, _read_summary(folder / SUMMARY))
    existing = sorted(path.parent.name for path in datasets.glob(f"*/{SUMMARY}"))
    near = difflib.get_close_matches(str(name).lower(), existing, n=1)
    hint = f"did you mean {near[0]}?" if near else "create one with 'kronos data prepare'."
    raise ParameterError(f"There is no prepared dataset '{truncate(name, 80)}'; {hint}")


def is_dataset(folder: Path) -> bool:
    """Whether a folder holds a prepared dataset; one whose replacement was killed is restored first."""
    _recover(folder)
    try:
        _read_summary(folder / SUMMARY)
    except DataError:
        return False
    return True


def lock_dataset(folder: Path) -> AbstractContextManager[None]:
    """Lock a dataset's folder while it is written; the lock lies next to it, because the folder is replaced.

    Raises:
        StorageError: If another process is writing it.
    """
    real = Path(os.path.realpath(folder))
    busy = f"{folder} is being prepared"
    return exclusive_lock(real.with_name(f".{real.name}{LOCK}"), busy=busy, fix="choose another folder")


def _recover(folder: Path) -> None:
    """Restore a dataset that was being replaced when the process was killed, unless one is replacing it right now."""
    with suppress(OSError, ValueError):  # what is no path, or cannot be listed, holds no dataset
        real = Path(os.path.realpath(folder))
        if not real.exists() and any(real.parent.glob(f".*.old-{glob.escape(real.name)}")):
            with lock_dataset(folder):
                recover_folder(folder)


def _default_folder() -> Path:
    from kronos.settings import get_settings

    return get_settings().output_dir or DEFAULT_FOLDER


def _candidate_folders(name: str, datasets: Path, base: Path | None) -> Iterator[Path]:
    yield datasets / name.lower()
    if base is not None:
        return
    with suppress(ParameterError):
        yield load_config(name).folder()
    yield DEFAULT_FOLDER / name.lower()


def _read_summary(path: Path) -> Mapping[str, Any]:
    try:
        summary = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path}: prepare the dataset again.") from error
    if not isinstance(summary, dict) or not {"model_name", "config", "simulated"} <= set(summary):
        raise DataError(f"{path} is not the summary of a dataset: prepare it again.")
    return summary


# Files and folders ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FoundSource:
    """A file or prepared dataset, and what is known about it.

    Attributes:
        path: The file, or the dataset's folder.
        named: Whether the user or a manifest named it, rather than a search of a folder.
        market: From the manifest, or the sub-folder's name.
        symbol: From the manifest.
        interval: From the manifest.
        dataset: The prepared dataset, if it is one.
    """

    path: Path
    named: bool = False
    market: str | None = None
    symbol: str | None = None
    interval: str | None = None
    dataset: PreparedDataset | None = None


def list_sources(paths: Iterable[str | Path]) -> list[FoundSource]:
    """List all sources in files, folders and prepared datasets, each once.

    Folders are searched recursively. If one holds a ``MANIFEST.csv`` with the columns path, market, symbol and freq,
    only the listed files count; a manifest in the two folders above counts too. A prepared dataset's folder is one
    source.

    Args:
        paths: Files, folders, and names of prepared datasets.

    Raises:
        ParameterError: If there is no such path or dataset.
        DataError: If a folder or a manifest cannot be read, or there are no candles.
    """
    manifests = _Manifests()
    sources: dict[str, FoundSource] = {}
    for path in paths:
        for source in _sources_of(path, manifests):
            sources.setdefault(os.path.realpath(source.path), source)
    if not sources:
        raise DataError("Found no candle files: pass CSV, Feather or Parquet files of candles.")
    return list(sources.values())


def read_source(
    source: FoundSource,
    interval: str | None = None,
    timezone: str | None = None,
    reading: ReadOptions | None = None,
) -> list[tuple[str, Candles]]:
    """Read the series of a file with their names: the file's name, or ``symbol_interval`` if it holds several.

    Args:
        source: A file, not a dataset.
        interval: Length of its candles; None for the manifest's, else inferred.
        timezone: Timezone of its timestamps, as for `read_candles`.
        reading: How it is written; None infers it.

    Raises:
        DataError: If the candles cannot be used; `NoCandlesError` if the table holds something else.
        ParameterError: If an argument is invalid.
    """
    interval = interval or source.interval
    if source.symbol is not None:
        options = replace(reading or ReadOptions(), symbol=source.symbol, interval=interval, timezone=timezone)
        candles = load_candles(source.path, options)
        return [(stem(source.path), candles)]
    series = read_series(source.path, interval, timezone, reading)
    if len(series) == 1:
        return [(stem(source.path), series[0])]
    return [(f"{candles.symbol}_{candles.interval}", candles) for candles in series]


def infer_market(candles: Candles) -> str:
    """The market that has these trading hours, or ``other``."""
    with suppress(KronosError):
        return market_of(candles.index, candles.interval, candles.calendar) or OTHER_MARKET
    return OTHER_MARKET


class _Manifests:
    """The manifests of folders, each read once, and the folders that were searched."""

    def __init__(self) -> None:
        self._searched: set[str] = set()
        self._read: dict[Path, list[tuple[Path, FoundSource]]] = {}

    def enter(self, folder: Path) -> bool:
        """Note that a folder is searched; False if it was before, as links to a folder above it would have it."""
        real = os.path.realpath(folder)
        if real in self._searched:
            return False
        self._searched.add(real)
        return True

    def of(self, folder: Path) -> list[FoundSource]:
        """The files that a folder's manifest lists."""
        return [source for _, source in self._resolved(folder)]

    def near(self, path: Path) -> list[FoundSource]:
        """The entries for a file or folder in the manifests next to it and above it."""
        real = path.resolve()
        for folder in (real, real.parent, real.parent.parent):
            found = [source for file, source in self._resolved(folder) if file == real or real in file.parents]
            if found:
                return found
        return []

    def _resolved(self, folder: Path) -> list[tuple[Path, FoundSource]]:
        """The entries of a manifest with the resolved path of each file."""
        if folder not in self._read:
            self._read[folder] = [(Path(os.path.realpath(source.path)), source) for source in _read_manifest(folder)]
        return self._read[folder]


def _sources_of(path: str | Path, manifests: _Manifests) -> list[FoundSource]:
    place = Path(path)
    if not place.exists():
        try:
            dataset = open_dataset(path)
        except ParameterError as error:
            raise ParameterError(f"There is no file, folder or prepared dataset '{path}': check the path.") from error
        return [FoundSource(dataset.folder, named=True, dataset=dataset)]
    listed = manifests.near(place)
    if listed:
        return listed
    return _search(place, None, manifests) if place.is_dir() else [FoundSource(place, named=True)]


def _search(folder: Path, market: str | None, manifests: _Manifests) -> list[FoundSource]:
    """Search a folder recursively, once by whatever links; the first sub-folder on the way down names the market."""
    if not manifests.enter(folder):
        return []
    if is_dataset(folder):
        parent_market = None if market == folder.name else market  # a dataset's own name is not a market
        return [FoundSource(folder, market=parent_market, dataset=open_dataset(folder))]
    listed = manifests.of(folder)
    if listed:
        return listed
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise DataError(f"Cannot list {folder} ({reason}): check its permissions.") from error
    found = [FoundSource(Path(e.path), market=market) for e in entries if _is(e.is_file) and is_table(e.name)]
    for entry in entries:
        if _is(entry.is_dir) and not entry.name.startswith("."):
            found += _search(Path(entry.path), market or entry.name, manifests)
    return found


def _is(test: Callable[[], bool]) -> bool:
    """The result of a test of a directory entry; False for a link that leads nowhere or to itself."""
    try:
        return test()
    except OSError:
        return False


def _read_manifest(folder: Path) -> list[FoundSource]:
    """The files that a folder's manifest lists; empty without a manifest, or if it has other columns.

    Raises:
        DataError: If it cannot be read, or a value is missing.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return []
    try:
        table = pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path} as a table: correct it, or move it away.") from error
    if not set(_MANIFEST_COLUMNS) <= set(table.columns):
        return []
    found = []
    for number, row in enumerate(table[list(_MANIFEST_COLUMNS)].itertuples(index=False), start=2):
        values = dict(zip(_MANIFEST_COLUMNS, row, strict=True))
        missing = next((name for name, value in values.items() if pd.isna(value) or not str(value).strip()), None)
        if missing is not None:
            raise DataError(f"{path}, line {number}: the {missing} is missing.")
        file, market, symbol, freq = (str(value).strip() for value in values.values())
        found.append(FoundSource(folder / file, named=True, market=market, symbol=symbol, interval=freq))
    return found

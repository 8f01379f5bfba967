"""From files to instruments: candle files, folders of them, prepared datasets.

A file that cannot be read is told with its sentence and does not stop the others. What an instrument's market is comes
from the caller, the folder's ``MANIFEST.csv``, the name of its sub-folder, or its calendar, in this order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from kronos.calibration.markets import market_of
from kronos.candles import Candles, read_candles
from kronos.candles.schema import NoCandlesError
from kronos.candles.times import check_timezone
from kronos.datasets.checking import Progress, Unreadable, is_table, read_series, stem
from kronos.datasets.prepared import Dataset, is_dataset, open_dataset
from kronos.errors import DataError, KronosError, ParameterError
from kronos.evaluation.plan import Dates, Instrument
from kronos.intervals import Interval

MANIFEST = "MANIFEST.csv"
OTHER = "other"  # the market of what keeps no known market's hours
_MANIFEST_COLUMNS = ("path", "market", "symbol", "freq")
_PRICES = ["timestamps", "open", "high", "low", "close", "volume", "amount"]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What files held.

    Attributes:
        instruments: Each with a name of its own, in the order of the files.
        unreadable: Files that ought to hold candles and could not be read.
        passed_over: Tables met in folders that hold something else than candles.
        dates: Of instruments of prepared datasets, by name: when their ``validation`` and ``test`` parts are.
    """

    instruments: tuple[Instrument, ...]
    unreadable: tuple[Unreadable, ...] = ()
    passed_over: tuple[Path, ...] = ()
    dates: Mapping[str, Mapping[str, Dates]] = field(default_factory=dict)

    @property
    def groups(self) -> list[str]:
        """Markets at their intervals, by name."""
        return sorted({one.group for one in self.instruments})

    @property
    def simulated(self) -> list[str]:
        """Names of those whose candles never traded."""
        return [one.name for one in self.instruments if one.candles.simulated]

    @property
    def warned(self) -> list[Instrument]:
        """Those in whose candles cleaning found something that deserves a look."""
        return [one for one in self.instruments if any(f.severity == "warning" for f in one.candles.findings)]


def gather(
    paths: Iterable[str | Path],
    *,
    market: str | None = None,
    interval: str | None = None,
    timezone: str | None = None,
    progress: Progress | None = None,
) -> Gathered:
    """Read everything there is to evaluate on.

    Folders are walked. Where one holds a ``MANIFEST.csv`` with the columns path, market, symbol and freq, the files it
    lists are read, and no others; one in the folders above counts too. A folder that `kronos data prepare` made is one
    dataset: all its parts together are its instruments' candles, and their dates are known.

    Args:
        paths: Files, folders, and names of prepared datasets.
        market: Of all instruments; None leaves it to the manifest, the sub-folder's name, or the calendar.
        interval: Of all files; else the manifest's, or inferred.
        timezone: Of the times in all files, as for `read_candles`.
        progress: Told how many files are done, and of how many.

    Raises:
        ParameterError: If there is no such path or dataset, or an argument is wrong.
        DataError: If nothing could be read.
    """
    if interval is not None:
        Interval.parse(interval)
    if timezone is not None:
        check_timezone(timezone)
    manifests = _Manifests()
    sources = _distinct([source for path in paths for source in _sources_of(path, manifests)])
    if not sources:
        raise DataError("There are no candle files in what was given; give CSV, Feather or Parquet files of candles.")
    reader = _Reader(market, interval, timezone)
    for done, source in enumerate(sources):
        if progress is not None:
            progress(done, len(sources))
        reader.read(source)
    if progress is not None:
        progress(len(sources), len(sources))
    return reader.gathered()


@dataclass(frozen=True, slots=True)
class _Source:
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
        self._read: dict[Path, list[tuple[Path, _Source]]] = {}

    def of(self, folder: Path) -> list[_Source]:
        """The files that a folder's manifest lists; none if it has none of ours."""
        return [source for _, source in self._resolved(folder)]

    def near(self, path: Path) -> list[_Source]:
        """What the manifests beside a file or folder, and above it, say of it."""
        real = path.resolve()
        for folder in (real, real.parent, real.parent.parent):
            found = [source for file, source in self._resolved(folder) if file == real or real in file.parents]
            if found:
                return found
        return []

    def _resolved(self, folder: Path) -> list[tuple[Path, _Source]]:
        """What a manifest lists, and where each file really lies."""
        if folder not in self._read:
            self._read[folder] = [(one.path.resolve(), one) for one in _manifest(folder) or []]
        return self._read[folder]


def _sources_of(path: str | Path, manifests: _Manifests) -> list[_Source]:
    place = Path(path)
    if not place.exists():
        try:
            found = open_dataset(path)
        except ParameterError as error:
            raise ParameterError(f"There is no file, folder or prepared dataset '{path}'; correct the path.") from error
        return [_Source(found.folder, named=True, dataset=found)]
    listed = manifests.near(place)
    if listed:
        return listed
    return _folder(place, None, manifests) if place.is_dir() else [_Source(place, named=True)]


def _folder(folder: Path, market: str | None, manifests: _Manifests) -> list[_Source]:
    """What a folder holds; the first sub-folder on the way down names the market."""
    if is_dataset(folder):
        around = None if market == folder.name else market  # a dataset's own name is none of a market
        return [_Source(folder, market=around, dataset=open_dataset(folder))]
    listed = manifests.of(folder)
    if listed:
        return listed
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise DataError(f"{folder} cannot be listed ({reason}); check its rights.") from error
    found = [_Source(Path(one.path), market=market) for one in entries if one.is_file() and is_table(one.name)]
    for one in entries:
        if one.is_dir() and not one.name.startswith("."):
            found += _folder(Path(one.path), market or one.name, manifests)
    return found


def _manifest(folder: Path) -> list[_Source] | None:
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
        found.append(_Source(folder / file, named=True, market=market, symbol=symbol, interval=freq))
    return found


def _distinct(sources: Sequence[_Source]) -> list[_Source]:
    """Each file once, as it was first met."""
    seen: dict[str, _Source] = {}
    for one in sources:
        seen.setdefault(os.path.realpath(one.path), one)
    return list(seen.values())


class _Reader:
    """Reads one source after another, and gives each instrument a name."""

    def __init__(self, market: str | None, interval: str | None, timezone: str | None) -> None:
        self._market = market
        self._interval = interval
        self._timezone = timezone
        self._instruments: dict[str, Instrument] = {}
        self._unreadable: list[Unreadable] = []
        self._passed_over: list[Path] = []
        self._dates: dict[str, dict[str, Dates]] = {}

    def read(self, source: _Source) -> None:
        """Read a source, or note why it cannot be."""
        try:
            if source.dataset is None:
                for name, candles in self._file(source):
                    self._add(name, candles, source)
            else:
                self._read_dataset(source, source.dataset)
        except NoCandlesError as error:
            if source.named:
                self._unreadable.append(Unreadable(source.path, str(error)))
            else:
                self._passed_over.append(source.path)
        except (DataError, ParameterError) as error:
            self._unreadable.append(Unreadable(source.path, str(error)))

    def gathered(self) -> Gathered:
        """Everything that was read.

        Raises:
            DataError: If that is nothing.
        """
        if not self._instruments:
            count = len(self._unreadable)
            if count == 1:
                raise DataError(self._unreadable[0].problem)
            if count:
                raise DataError(f"None of {count} files could be read; the first: {self._unreadable[0].problem}")
            raise DataError(f"{self._passed_over[0]} holds no candles, nor does any other file there; give others.")
        return Gathered(
            tuple(self._instruments.values()), tuple(self._unreadable), tuple(self._passed_over), dict(self._dates)
        )

    def _file(self, source: _Source) -> list[tuple[str, Candles]]:
        """A file's series with their names: the file's own, or of several that of each."""
        interval = self._interval or source.interval
        if source.symbol is not None:
            candles = read_candles(source.path, symbol=source.symbol, interval=interval, timezone=self._timezone)
            return [(stem(source.path), candles)]
        found = read_series(source.path, interval, self._timezone)
        if len(found) == 1:
            return [(stem(source.path), found[0])]
        return [(f"{one.symbol}_{one.interval}", one) for one in found]

    def _read_dataset(self, source: _Source, dataset: Dataset) -> None:
        """A dataset's series, each with the candles of all its parts."""
        parts = {part: dataset.read(part) for part in ("train", "val", "test")}
        table = pd.concat(parts.values(), ignore_index=True)
        if not {"unique_id", "symbol", "timeframe", *_PRICES} <= set(table.columns):
            raise DataError(f"{dataset.folder} lacks columns of a prepared dataset; prepare it again.")
        first = {part: frame.groupby("unique_id")["timestamps"].min() for part, frame in parts.items()}
        for name, rows in table.groupby("unique_id", sort=False):
            frame = rows[_PRICES].sort_values("timestamps")
            candles = Candles.from_frame(
                frame, symbol=str(rows["symbol"].iloc[0]), interval=str(rows["timeframe"].iloc[0]), timezone="UTC"
            )
            if dataset.simulated:
                candles = replace(candles, simulated=True)
            added = self._add(str(name), candles, source)
            begins = {part: first[part].get(name) for part in ("val", "test")}
            self._dates[added] = {
                "validation": Dates(begins["val"], begins["test"]),
                "test": Dates(begins["test"], None),
            }

    def _add(self, name: str, candles: Candles, source: _Source) -> str:
        market = self._market or source.market or _guessed(candles)
        free = self._free(name, market)
        self._instruments[free] = Instrument(free, market, candles)
        return free

    def _free(self, name: str, market: str) -> str:
        """A name that nobody has: with the market before it, and a number after it, where it is taken."""
        if name not in self._instruments:
            return name
        candidate, number = f"{market}/{name}", 1
        while candidate in self._instruments:
            number += 1
            candidate = f"{market}/{name}-{number}"
        return candidate


def _guessed(candles: Candles) -> str:
    """The market whose hours candles keep."""
    with suppress(KronosError):
        return market_of(candles) or OTHER
    return OTHER

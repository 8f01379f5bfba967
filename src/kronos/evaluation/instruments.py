"""Load instruments from candle files, folders of them, prepared datasets, and Qlib folders.

A file or instrument that cannot be read is reported and does not stop the others. Copies of a series count once. The
market of an instrument is, in this order: the argument, the folder's ``MANIFEST.csv``, the name of the sub-folder, or
what its calendar suggests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kronos.candles import PRICES, Candles, ReadOptions
from kronos.candles.columns import NoCandlesError
from kronos.candles.timezone_names import check_timezone
from kronos.datasets.discovery import FoundSource, PreparedDataset, infer_market, list_sources, read_source
from kronos.datasets.inspection import UnreadableFile
from kronos.datasets.readers import CandleReader, is_qlib, open_readers
from kronos.errors import DataError, ParameterError
from kronos.evaluation.origins import Dates, Instrument
from kronos.formatting import join_names, unique_name
from kronos.intervals import Interval
from kronos.progress import ProgressCallback

_COLUMNS = ["timestamps", "open", "high", "low", "close", "volume", "amount"]


@dataclass(frozen=True, slots=True)
class LoadedInstruments:
    """The instruments read from files.

    Attributes:
        instruments: The instruments, with unique names, in the order of the files.
        unreadable: Candle files that could not be read.
        passed_over: Tables in folders that contain no candles.
        copies: Files whose candles are also in another one, which counts alone.
        other_intervals: Names of series that were left out, as their interval is not the one that was selected.
        dates: For instruments of prepared datasets, the dates of their ``validation`` and ``test`` parts, by name.
    """

    instruments: tuple[Instrument, ...]
    unreadable: tuple[UnreadableFile, ...] = ()
    passed_over: tuple[Path, ...] = ()
    copies: tuple[UnreadableFile, ...] = ()
    other_intervals: tuple[str, ...] = ()
    dates: Mapping[str, Mapping[str, Dates]] = field(default_factory=dict)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Name and problem of the files and instruments that could not be read."""
        return [(file.path.name, file.problem) for file in self.unreadable]

    @property
    def groups(self) -> list[str]:
        """The groups (market and interval), sorted."""
        return sorted({instrument.group for instrument in self.instruments})

    @property
    def simulated(self) -> list[str]:
        """Names of the instruments with simulated candles."""
        return [instrument.name for instrument in self.instruments if instrument.candles.simulated]

    @property
    def warned(self) -> list[Instrument]:
        """The instruments whose candles have warnings from cleaning."""
        return [
            instrument
            for instrument in self.instruments
            if any(finding.severity == "warning" for finding in instrument.candles.findings)
        ]


def load_instruments(
    paths: Iterable[str | Path],
    *,
    market: str | None = None,
    interval: str | None = None,
    select_interval: bool = False,
    timezone: str | None = None,
    reading: ReadOptions | None = None,
    progress: ProgressCallback | None = None,
) -> LoadedInstruments:
    """Read all candles in files, folders and prepared datasets.

    Folders are searched recursively. In a folder with a ``MANIFEST.csv`` that has the columns path, market, symbol and
    freq, only the listed files are read; a manifest in a parent folder applies too. A folder written by
    `kronos data prepare` is one dataset: its instruments consist of all its parts, and their dates are known.

    Args:
        paths: Files, folders, names of prepared datasets, and ``qlib:FOLDER`` or ``qlib:FOLDER:csi300``.
        market: Market of all instruments; None to take it from the manifest, the sub-folder's name or the calendar.
        interval: Interval of all files; None to take it from the manifest or infer it.
        select_interval: Whether series of other intervals are left out; else their files are unreadable.
        timezone: Timezone of all files, as for `read_candles`.
        reading: How all files are written; None infers it.
        progress: Called with the number of files read and their total.

    Raises:
        ParameterError: If a path or dataset does not exist, or an argument is invalid.
        DataError: If nothing can be read.
    """
    if interval is not None:
        Interval.parse(interval)
    if timezone is not None:
        check_timezone(timezone)
    given = list(paths)
    files = [path for path in given if not is_qlib(path)]
    sources: list[FoundSource | CandleReader] = [*list_sources(files)] if files else []
    sources += [reader for path in given if is_qlib(path) for reader in open_readers(path)]
    reader = _InstrumentReader(market, interval, timezone, reading, select_interval=select_interval)
    for done, source in enumerate(sources):
        if progress is not None:
            progress(done, len(sources))
        reader.read(source)
    if progress is not None:
        progress(len(sources), len(sources))
    return reader.result()


class _InstrumentReader:
    """Reads sources one by one and gives each instrument a unique name."""

    def __init__(
        self,
        market: str | None,
        interval: str | None,
        timezone: str | None,
        reading: ReadOptions | None,
        *,
        select_interval: bool,
    ) -> None:
        self._market = market
        self._interval = interval
        self._selected = Interval.parse(interval) if select_interval and interval is not None else None
        self._timezone = timezone
        self._reading = reading
        self._instruments: dict[str, Instrument] = {}
        self._unreadable: list[UnreadableFile] = []
        self._passed_over: list[Path] = []
        self._copies: list[UnreadableFile] = []
        self._other_intervals: list[str] = []
        self._given_markets: dict[str, str | None] = {}  # by the sources, not inferred
        self._dates: dict[str, dict[str, Dates]] = {}

    def read(self, source: FoundSource | CandleReader) -> None:
        """Read a source, or record why it cannot be read."""
        if isinstance(source, FoundSource):
            self._read_files(source)
            return
        try:
            for found in source.read():
                if self._interval is None or found.candles.interval == Interval.parse(self._interval).normalized():
                    self._add(found.name, found.candles, found.market, Path(source.name))
        except (DataError, ParameterError) as error:
            self._unreadable.append(UnreadableFile(Path(source.name), str(error)))

    def _read_files(self, source: FoundSource) -> None:
        try:
            if source.dataset is None:
                for name, candles in self._read_series(source):
                    self._add(name, candles, source.market, source.path)
            else:
                self._read_dataset(source, source.dataset)
        except NoCandlesError as error:
            if source.named:
                self._unreadable.append(UnreadableFile(source.path, str(error)))
            else:
                self._passed_over.append(source.path)
        except (DataError, ParameterError) as error:
            self._unreadable.append(UnreadableFile(source.path, str(error)))

    def _read_series(self, source: FoundSource) -> list[tuple[str, Candles]]:
        """Read the series of a file; those of another interval than a selected one are noted instead."""
        try:
            return read_source(source, self._interval, self._timezone, self._reading)
        except (DataError, ParameterError):
            if self._selected is None:
                raise
            series = read_source(source, None, self._timezone, self._reading)
            others = [name for name, candles in series if candles.interval.normalized() != self._selected]
            self._other_intervals += others
            return [(name, candles) for name, candles in series if name not in others]

    def result(self) -> LoadedInstruments:
        """Return everything that was read.

        Raises:
            DataError: If that is nothing.
        """
        if not self._instruments:
            count = len(self._unreadable)
            if count == 1:
                raise DataError(self._unreadable[0].problem)
            if count:
                raise DataError(f"None of {count} files could be read. The first one: {self._unreadable[0].problem}")
            if self._passed_over:
                raise DataError(f"{self._passed_over[0]} and the other files there contain no candles.")
            others = join_names(self._other_intervals, 3)
            raise DataError(
                f"There are no candles of the interval {self._interval} (left out: {others}): choose another one."
            )
        return LoadedInstruments(
            instruments=tuple(self._instruments.values()),
            unreadable=tuple(self._unreadable),
            passed_over=tuple(self._passed_over),
            copies=tuple(self._copies),
            other_intervals=tuple(self._other_intervals),
            dates=dict(self._dates),
        )

    def _read_dataset(self, source: FoundSource, dataset: PreparedDataset) -> None:
        """Read the series of a dataset, each with the candles of all parts."""
        parts = {part: dataset.read(part) for part in ("train", "val", "test")}
        table = pd.concat(parts.values(), ignore_index=True)
        if not {"unique_id", "symbol", "timeframe", *_COLUMNS} <= set(table.columns):
            raise DataError(f"{dataset.folder} lacks columns of a prepared dataset: prepare it again.")
        first = {part: frame.groupby("unique_id")["timestamps"].min() for part, frame in parts.items()}
        for unique_id, rows in table.groupby("unique_id", sort=False):
            frame = rows[_COLUMNS].sort_values("timestamps")
            candles = Candles.from_frame(
                frame, symbol=str(rows["symbol"].iloc[0]), interval=str(rows["timeframe"].iloc[0]), timezone="UTC"
            )
            if self._selected is not None and candles.interval.normalized() != self._selected:
                self._other_intervals.append(str(unique_id))
                continue
            if dataset.simulated:
                candles = replace(candles, simulated=True)
            name = self._add(str(unique_id), candles, source.market, source.path)
            if name is None:
                continue
            starts = {part: first[part].get(unique_id) for part in ("val", "test")}
            self._dates[name] = {
                "validation": Dates(starts["val"], starts["test"]),
                "test": Dates(starts["test"], None),
            }

    def _add(self, name: str, candles: Candles, market: str | None, path: Path) -> str | None:
        """Add an instrument; if its name is taken, it is prefixed with the market, and numbered if necessary.

        Returns:
            Its unique name; None if it is a copy of another one.
        """
        group = self._market or market or infer_market(candles)
        # One series that is listed in two markets belongs to both.
        same_market = (own for own in self._instruments.values() if self._given_markets[own.name] == market)
        original = next((own for own in same_market if _same_series(own.candles, candles)), None)
        if original is not None and len(candles) <= len(original.candles):
            self._copies.append(UnreadableFile(path, f"{name} has the candles of {original.name} and counts once."))
            return None
        if original is not None:
            del self._instruments[original.name]
            self._dates.pop(original.name, None)
            problem = f"{original.name} has candles of {name}, which has more, and counts once."
            self._copies.append(UnreadableFile(path, problem))
        if name in self._instruments:
            name = unique_name(f"{group}/{name}", self._instruments)
        self._instruments[name] = Instrument(name, group, candles)
        self._given_markets[name] = market
        return name


def _same_series(one: Candles, other: Candles) -> bool:
    """Whether the candles of the shorter series are also in the longer one."""
    if one.interval != other.interval:
        return False
    short, long = (one, other) if len(one) <= len(other) else (other, one)
    times, all_times = (own.index.as_unit("ns").asi8 for own in (short, long))
    at = int(all_times.searchsorted(times[len(times) // 2])) - len(times) // 2
    if at < 0 or at + len(times) > len(all_times) or not np.array_equal(times, all_times[at : at + len(times)]):
        return False
    prices, all_prices = (own.frame[list(PRICES)].to_numpy() for own in (short, long))
    return bool(np.array_equal(prices, all_prices[at : at + len(times)]) and np.ptp(prices) > 0)

"""From files to instruments: candle files, folders of them, prepared datasets.

A file that cannot be read is told with its sentence and does not stop the others. What an instrument's market is comes
from the caller, the folder's ``MANIFEST.csv``, the name of its sub-folder, or its calendar, in this order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from kronos.candles import Candles
from kronos.candles.schema import NoCandlesError
from kronos.candles.timestamps import check_timezone
from kronos.datasets.discovery import FoundSource, PreparedDataset, infer_market, list_sources, read_listed
from kronos.datasets.inspection import Unreadable
from kronos.errors import DataError, ParameterError
from kronos.evaluation.plan import Dates, Instrument
from kronos.intervals import Interval
from kronos.progress import ProgressCallback

_PRICES = ["timestamps", "open", "high", "low", "close", "volume", "amount"]


@dataclass(frozen=True, slots=True)
class LoadedInstruments:
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


def load_instruments(
    paths: Iterable[str | Path],
    *,
    market: str | None = None,
    interval: str | None = None,
    timezone: str | None = None,
    progress: ProgressCallback | None = None,
) -> LoadedInstruments:
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
    sources = list_sources(paths)
    reader = _Reader(market, interval, timezone)
    for done, source in enumerate(sources):
        if progress is not None:
            progress(done, len(sources))
        reader.read(source)
    if progress is not None:
        progress(len(sources), len(sources))
    return reader.gathered()


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

    def read(self, source: FoundSource) -> None:
        """Read a source, or note why it cannot be."""
        try:
            if source.dataset is None:
                for name, candles in read_listed(source, self._interval, self._timezone):
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

    def gathered(self) -> LoadedInstruments:
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
        return LoadedInstruments(
            tuple(self._instruments.values()), tuple(self._unreadable), tuple(self._passed_over), dict(self._dates)
        )

    def _read_dataset(self, source: FoundSource, dataset: PreparedDataset) -> None:
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

    def _add(self, name: str, candles: Candles, source: FoundSource) -> str:
        market = self._market or source.market or infer_market(candles)
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

"""Readers of training candles: files, prepared datasets, and instruments of a Qlib folder.

A reader computes the digest of its content without parsing candles, so that a store is only built if something has
changed. Each is read on its own, so that only one file's candles are in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from kronos.calendars.detection import detect_stamp_side
from kronos.candles import COLUMNS, Candles, ReadOptions
from kronos.datasets.discovery import FoundSource, PreparedDataset, infer_market, list_sources, read_source
from kronos.datasets.splits import PARTS
from kronos.errors import DataError, ParameterError
from kronos.formatting import expand_user
from kronos.intervals import Interval
from kronos.provenance import sha256_file
from kronos.sources.qlib import QlibFolder
from kronos.sources.qlib.layout import code_folder, market_file
from kronos.typing import IntArray

QLIB = "qlib:"
_PREPARED_COLUMNS = {"unique_id", "symbol", "timeframe", "timestamps", "segment", *COLUMNS}


@dataclass(frozen=True, slots=True, eq=False)
class InstrumentCandles:
    """Candles of one instrument at one interval.

    Attributes:
        name: Its name; need not be unique.
        market: Such as ``crypto``.
        candles: The candles.
        stamped_close: Whether timestamps are closing times.
        pieces: Of a prepared dataset: unbroken stretches as first row, row after the last, part. [n, 3]
    """

    name: str
    market: str
    candles: Candles
    stamped_close: bool
    pieces: IntArray | None = None


class CandleReader(Protocol):
    """Reads the candles of one source."""

    @property
    def name(self) -> str:
        """Its name in messages."""
        ...

    @property
    def named(self) -> bool:
        """Whether the user named it; a file found in a folder may hold something other than candles."""
        ...

    def identity(self) -> dict[str, Any]:
        """Everything its candles depend on, as JSON values: names, and digests of content."""
        ...

    def read(self) -> Iterator[InstrumentCandles]:
        """Read its instruments.

        Raises:
            DataError: If it cannot be used; `NoCandlesError` if it holds something other than candles.
            ParameterError: If the given symbol or interval does not match its content.
        """
        ...


def is_qlib(data: str | Path) -> bool:
    """Whether data are named as ``qlib:FOLDER`` or ``qlib:FOLDER:csi300``."""
    return isinstance(data, str) and data.lower().startswith(QLIB)


def open_readers(data: str | Path, reading: ReadOptions | None = None) -> list[CandleReader]:
    """Open readers of all sources in a file, folder, prepared dataset or Qlib folder.

    Args:
        data: A CSV, Feather or Parquet file; a folder of them; the name or folder of a prepared dataset; or
            ``qlib:FOLDER``, ``qlib:FOLDER:csi300``.
        reading: How files are written; None infers it.

    Raises:
        ParameterError: If there is no such thing.
        DataError: If it is empty.
    """
    if isinstance(data, str) and is_qlib(data):
        source = QlibFolder(*_folder_and_market(data[len(QLIB) :]))
        return [_QlibSharedFiles(source), *(QlibReader(source, code) for code in source.symbols())]
    return [
        FileReader(source, reading) if source.dataset is None else DatasetReader(source, source.dataset)
        for source in list_sources([expand_user(data)])
    ]


@dataclass(frozen=True, slots=True)
class FileReader:
    """Reads a file of one or several instruments."""

    source: FoundSource
    reading: ReadOptions | None = None

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.source.path)

    @property
    def named(self) -> bool:
        """Whether the user or a manifest named it."""
        return self.source.named

    def identity(self) -> dict[str, Any]:
        """Its name, what is known about it, and its digest; None if it cannot be read, which `read` reports."""
        known = {"market": self.source.market, "symbol": self.source.symbol, "interval": self.source.interval}
        digest = None
        with suppress(DataError):
            digest = sha256_file(self.source.path)
        reading = {} if self.reading in (None, ReadOptions()) else {"reading": repr(self.reading)}
        return {"file": self.source.path.name, **known, **reading, "sha256": digest}

    def read(self) -> Iterator[InstrumentCandles]:
        """Read and clean its instruments."""
        reading = self.reading or ReadOptions()
        interval = None if reading.interval is None else str(reading.interval)
        for name, candles in read_source(self.source, interval, reading.timezone, reading):
            close = detect_stamp_side(candles.index, candles.interval) == "close"
            yield InstrumentCandles(name, self.source.market or infer_market(candles), candles, close)


@dataclass(frozen=True, slots=True)
class DatasetReader:
    """Reads a prepared dataset with its own parts and unbroken stretches."""

    source: FoundSource
    dataset: PreparedDataset

    @property
    def name(self) -> str:
        """Its folder."""
        return str(self.dataset.folder)

    @property
    def named(self) -> bool:
        """Always True: a dataset holds candles."""
        return True

    def identity(self) -> dict[str, Any]:
        """The digests of its parts, and what its summary records about the candles."""
        parts = {part: sha256_file(self.dataset.path(part)) for part in PARTS}
        known = {"zones": self._zones(), "simulated": self.dataset.simulated, "market": self.source.market}
        return {"dataset": self.dataset.name, "parts": parts, **known}

    def read(self) -> Iterator[InstrumentCandles]:
        """Read its instruments, on the wall clock of their source."""
        frames = [self.dataset.read(part) for part in PARTS]
        if any(not set(frame.columns) >= _PREPARED_COLUMNS for frame in frames):
            raise DataError(f"{self.name} lacks columns of a prepared dataset: prepare it again.")
        table = pd.concat([frame.assign(part=number) for number, frame in enumerate(frames)], ignore_index=True)
        zones = self._zones()
        for name, rows in table.groupby("unique_id", sort=False):
            ordered = rows.sort_values("timestamps")
            candles = self._candles(ordered, zones.get(str(name)))
            pieces = _pieces(ordered["part"].to_numpy(np.int64), ordered["segment"].to_numpy(np.int64))
            yield InstrumentCandles(str(name), self.source.market or infer_market(candles), candles, False, pieces)

    def _candles(self, rows: pd.DataFrame, zone: str | None) -> Candles:
        index = pd.DatetimeIndex(rows["timestamps"], name="timestamps")
        frame = rows[list(COLUMNS)].astype(np.float64)
        frame.index = index.tz_localize(None) if zone is None else index.tz_convert(zone)
        return Candles(
            frame=frame,
            symbol=str(rows["symbol"].iloc[0]),
            interval=Interval.from_timeframe(str(rows["timeframe"].iloc[0])),
            timezone=zone,
            source=self.dataset.name,
            simulated=self.dataset.simulated,
            has_volume=bool((frame["volume"] > 0).any()),
        )

    def _zones(self) -> dict[str, str | None]:
        """The original timezone of each series; the files are in UTC."""
        return {str(one["unique_id"]): one.get("timezone") for one in self.dataset.summary.get("series", ())}


def _pieces(part: IntArray, segment: IntArray) -> IntArray:
    """Runs of rows with one part and one segment: first row, row after the last, part."""
    changes = np.flatnonzero((np.diff(part) != 0) | (np.diff(segment) != 0)) + 1
    edges = np.concatenate(([0], changes, [len(part)])).astype(np.int64)
    kept = segment[edges[:-1]] >= 0
    return np.column_stack((edges[:-1], edges[1:], part[edges[:-1]]))[kept]


@dataclass(frozen=True, slots=True, eq=False)
class QlibReader:
    """Reads one instrument of a Qlib folder, at every frequency of the folder."""

    source: QlibFolder
    code: str

    @property
    def name(self) -> str:
        """The folder and the code."""
        return f"{self.source.path}: {self.code}"

    @property
    def named(self) -> bool:
        """Always False: an instrument may be listed without candles."""
        return False

    def identity(self) -> dict[str, Any]:
        """The code, and the digest of its files."""
        digest = hashlib.sha256()
        for path in sorted(code_folder(self.source.path, self.code).glob("*.bin")):
            digest.update(f"{path.name} {sha256_file(path)}\n".encode())
        return {"qlib": self.code, "market": self.source.market, "sha256": digest.hexdigest()}

    def read(self) -> Iterator[InstrumentCandles]:
        """Read its candles at each frequency."""
        for interval in self.source.intervals(self.code):
            candles = self.source.candles(self.code, interval)
            close = detect_stamp_side(candles.index, candles.interval) == "close"
            yield InstrumentCandles(f"{self.code}_{interval}", infer_market(candles), candles, close)


def _folder_and_market(text: str) -> tuple[Path, str]:
    """``FOLDER`` or ``FOLDER:csi300``; an existing folder may have a colon in its name."""
    if not text:
        raise ParameterError("The Qlib folder is missing: write qlib:FOLDER or qlib:FOLDER:csi300.")
    folder, colon, market = text.rpartition(":")
    if not colon or expand_user(text).is_dir() or "/" in market or "\\" in market:
        return expand_user(text), "all"
    return expand_user(folder), market


@dataclass(frozen=True, slots=True, eq=False)
class _QlibSharedFiles:
    """Files that all instruments of a Qlib folder depend on: calendars, the market's list and the label."""

    source: QlibFolder

    @property
    def name(self) -> str:
        return str(self.source.path)

    @property
    def named(self) -> bool:
        return True

    def identity(self) -> dict[str, Any]:
        folder = self.source.path
        files = [*sorted(folder.glob("calendars/*.txt")), market_file(folder, self.source.market)]
        files += [label for label in (folder / "kronos.json",) if label.is_file()]
        return {"qlib": {path.name: sha256_file(path) for path in files}}

    def read(self) -> Iterator[InstrumentCandles]:
        return iter(())

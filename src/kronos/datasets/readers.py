"""What training candles are read from, one piece at a time: files, prepared datasets, instruments of a Qlib folder.

A feed knows the digest of its content without reading its candles, so that a store is only built when something has
changed; and it is read by itself, so that what is in memory is one file's candles and never all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.atomic import expand_user
from kronos.calendars.detection import detect_stamp_side
from kronos.candles import COLUMNS, Candles
from kronos.datasets.discovery import FoundSource, PreparedDataset, infer_market, list_sources, read_listed
from kronos.datasets.splits import PARTS
from kronos.errors import DataError, ParameterError
from kronos.intervals import Interval
from kronos.provenance import sha256_file
from kronos.sources.qlib import QlibFolder
from kronos.sources.qlib.layout import code_folder, market_file

QLIB = "qlib:"
_NEEDED = {"unique_id", "symbol", "timeframe", "timestamps", "segment", *COLUMNS}

Pieces = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class InstrumentCandles:
    """One instrument's candles at one interval.

    Attributes:
        name: What to call it, where nobody else is called so.
        market: Such as ``crypto``.
        candles: All of them.
        stamped_close: Whether their times name when they close.
        pieces: Of a prepared dataset, its unbroken stretches as (first row, row after the last, part). [n, 3]
    """

    name: str
    market: str
    candles: Candles
    stamped_close: bool
    pieces: Pieces | None = None


class CandleReader(Protocol):
    """Something to read candles from."""

    @property
    def name(self) -> str:
        """What errors call it."""
        ...

    @property
    def named(self) -> bool:
        """Whether it was asked for itself: what is met on the way may hold something else than candles."""
        ...

    def identity(self) -> dict[str, Any]:
        """Whatever its candles depend on, ready for JSON: names, and digests of content."""
        ...

    def read(self) -> Iterator[InstrumentCandles]:
        """Its instruments.

        Raises:
            DataError: If it cannot be used; `NoCandlesError` if it holds something else than candles.
            ParameterError: If what is known of it contradicts it.
        """
        ...


def open_readers(data: str | Path) -> list[CandleReader]:
    """What there is to read.

    Args:
        data: A CSV, Feather or Parquet file; a folder of them; the name or the folder of a prepared dataset; or
            ``qlib:FOLDER``, ``qlib:FOLDER:csi300``.

    Raises:
        ParameterError: If there is no such thing.
        DataError: If there is nothing in it.
    """
    if isinstance(data, str) and data.lower().startswith(QLIB):
        return _qlib_feeds(data[len(QLIB) :])
    return [_feed(one) for one in list_sources([expand_user(data)])]


def _feed(listed: FoundSource) -> CandleReader:
    return FileFeed(listed) if listed.dataset is None else DatasetFeed(listed, listed.dataset)


@dataclass(frozen=True, slots=True)
class FileFeed:
    """A file of candles, of one instrument or of several."""

    listed: FoundSource

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.listed.path)

    @property
    def named(self) -> bool:
        """Whether it was asked for itself, or a manifest lists it."""
        return self.listed.named

    def identity(self) -> dict[str, Any]:
        """Its name, what is known of it, and its digest: None where it cannot be read, of which `read` tells."""
        known = {"market": self.listed.market, "symbol": self.listed.symbol, "interval": self.listed.interval}
        digest = None
        with suppress(DataError):
            digest = sha256_file(self.listed.path)
        return {"file": self.listed.path.name, **known, "sha256": digest}

    def read(self) -> Iterator[InstrumentCandles]:
        """Its instruments; their candles are cleaned."""
        for name, candles in read_listed(self.listed):
            close = detect_stamp_side(candles.index, candles.interval) == "close"
            yield InstrumentCandles(name, self.listed.market or infer_market(candles), candles, close)


@dataclass(frozen=True, slots=True)
class DatasetFeed:
    """A prepared dataset: its parts and its unbroken stretches stay as they are."""

    listed: FoundSource
    dataset: PreparedDataset

    @property
    def name(self) -> str:
        """Its folder."""
        return str(self.dataset.folder)

    @property
    def named(self) -> bool:
        """A dataset always holds candles."""
        return True

    def identity(self) -> dict[str, Any]:
        """The digests of its parts, and what its summary says of the candles."""
        parts = {part: sha256_file(self.dataset.path(part)) for part in PARTS}
        told = {"zones": self._zones(), "simulated": self.dataset.simulated, "market": self.listed.market}
        return {"dataset": self.dataset.name, "parts": parts, **told}

    def read(self) -> Iterator[InstrumentCandles]:
        """Its instruments, with the wall clock they had when it was prepared."""
        frames = [self.dataset.read(part) for part in PARTS]
        if any(not set(frame.columns) >= _NEEDED for frame in frames):
            raise DataError(f"{self.name} lacks columns of a prepared dataset; prepare it again.")
        table = pd.concat([frame.assign(part=number) for number, frame in enumerate(frames)], ignore_index=True)
        zones = self._zones()
        for name, rows in table.groupby("unique_id", sort=False):
            ordered = rows.sort_values("timestamps")
            candles = self._candles(ordered, zones.get(str(name)))
            pieces = _pieces(ordered["part"].to_numpy(np.int64), ordered["segment"].to_numpy(np.int64))
            yield InstrumentCandles(str(name), self.listed.market or infer_market(candles), candles, False, pieces)

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
        """By series the timezone that its times had; the parts tell them in UTC."""
        return {str(one["unique_id"]): one.get("timezone") for one in self.dataset.summary.get("series", ())}


def _pieces(part: Pieces, segment: Pieces) -> Pieces:
    """Runs of rows of one part and one unbroken stretch, as (first row, row after the last, part)."""
    turns = np.flatnonzero((np.diff(part) != 0) | (np.diff(segment) != 0)) + 1
    edges = np.concatenate(([0], turns, [len(part)])).astype(np.int64)
    kept = segment[edges[:-1]] >= 0
    return np.column_stack((edges[:-1], edges[1:], part[edges[:-1]]))[kept]


@dataclass(frozen=True, slots=True, eq=False)
class QlibFeed:
    """One instrument of a Qlib folder, at every frequency that the folder has."""

    source: QlibFolder
    code: str

    @property
    def name(self) -> str:
        """The folder and the code."""
        return f"{self.source.path}: {self.code}"

    @property
    def named(self) -> bool:
        """An instrument may be listed and have no candles."""
        return False

    def identity(self) -> dict[str, Any]:
        """The code, and the digest of its own and the shared files."""
        digest = hashlib.sha256()
        for path in sorted(code_folder(self.source.path, self.code).glob("*.bin")):
            digest.update(f"{path.name} {sha256_file(path)}\n".encode())
        return {"qlib": self.code, "market": self.source.market, "sha256": digest.hexdigest()}

    def read(self) -> Iterator[InstrumentCandles]:
        """Its candles at each frequency."""
        for interval in self.source.intervals(self.code):
            candles = self.source.candles(self.code, interval)
            close = detect_stamp_side(candles.index, candles.interval) == "close"
            yield InstrumentCandles(f"{self.code}_{interval}", infer_market(candles), candles, close)


def _qlib_feeds(rest: str) -> list[CandleReader]:
    folder, market = _folder_and_market(rest)
    source = QlibFolder(folder, market)
    return [_Shared(source), *(QlibFeed(source, code) for code in source.symbols())]


def _folder_and_market(rest: str) -> tuple[Path, str]:
    """``FOLDER`` or ``FOLDER:csi300``; a folder whose name has a colon is one where it exists."""
    if not rest:
        raise ParameterError("Qlib data needs a folder; write qlib:FOLDER or qlib:FOLDER:csi300.")
    folder, colon, market = rest.rpartition(":")
    if not colon or expand_user(rest).is_dir() or "/" in market or "\\" in market:
        return expand_user(rest), "all"
    return expand_user(folder), market


@dataclass(frozen=True, slots=True, eq=False)
class _Shared:
    """What all instruments of a Qlib folder share: calendars, the market's list and the label. It has no candles."""

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


def key_of(feeds: Sequence[dict[str, Any]], *more: object) -> str:
    """One digest of many feeds' identities, and whatever else counts."""
    return hashlib.sha256(json.dumps([feeds, more], sort_keys=True, default=str).encode()).hexdigest()

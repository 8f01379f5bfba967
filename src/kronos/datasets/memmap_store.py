"""Memory-mapped candles of many instruments in one folder, from which training reads its windows.

- Instruments are stored one after the other but never joined: a window must stay within one of them.
- A store is built file by file, so that only one file's candles are in memory, and renamed into place when complete.
  Its folder is named after the digest of its sources, so unchanged sources are not stored again; if several processes
  need the same store, one builds it and the others wait.
- A store is neither filtered nor split: one store serves every split.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.atomic import atomic_folder, write_text
from kronos.candles import COLUMNS, Candles, ReadOptions
from kronos.candles.columns import NoCandlesError
from kronos.datasets.readers import CandleReader, InstrumentCandles, open_readers
from kronos.errors import DataError, ParameterError, StorageError
from kronos.formatting import unique_name
from kronos.intervals import Interval
from kronos.provenance import versions
from kronos.typing import IntArray

FORMAT = 2
META = "store.json"
ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {  # type and shape of one candle's entry
    "candles": ("<f8", (len(COLUMNS),)),
    "times": ("<i8", ()),
    "opens": ("<i8", ()),
    "stamps": ("|i1", (5,)),
}
_MAX_WARNINGS = 5  # unreadable files in the log

log = logging.getLogger("kronos.datasets")


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """One instrument at one interval.

    Attributes:
        unique_id: Its unique name in the store.
        symbol: The instrument.
        market: Such as ``us_equity``.
        interval: Length of a candle, as text.
        start: First row in the store.
        rows: Number of candles.
        timezone: Timezone of its wall clock; None if unknown.
        stamped_close: Whether timestamps are closing times.
        simulated: Whether the candles are simulated.
        has_volume: Whether the source has volume.
        first: First timestamp, ISO 8601 without offset, on its wall clock.
        last: Last timestamp.
        prepared: Whether it is from a prepared dataset, with parts of its own.
    """

    unique_id: str
    symbol: str
    market: str
    interval: str
    start: int
    rows: int
    timezone: str | None
    stamped_close: bool
    simulated: bool
    has_volume: bool
    first: str
    last: str
    prepared: bool

    @property
    def stop(self) -> int:
        """Row after the last."""
        return self.start + self.rows

    @property
    def group(self) -> str:
        """Market and interval: ``us_equity 1d``."""
        return f"{self.market} {self.interval}"

    @property
    def length(self) -> Interval:
        """Length of a candle."""
        return Interval.parse(self.interval)


class MemmapCandles:
    """A folder of memory-mapped candles; pickled as the folder's name.

    Attributes:
        folder: The folder.
        series: The instruments, in the order of their rows.
        candles: Open, high, low, close, volume, amount. [N, 6] float64
        times: Timestamps on the candles' own wall clock, microseconds since 1970. [N] int64
        opens: Opening times, UTC, microseconds since 1970; naive timestamps count as UTC. [N] int64
        stamps: Calendar features on the market's clock: minute, hour, weekday (Monday 0), day, month. [N, 5] int8
        pieces: Unbroken stretches of prepared datasets: series, first row, row after the last, part. [n, 4] int64
        missing: Rows before which cleaning dropped candles without valid prices. [n] int64
        digest: Digest of all this, independent of the files it came from.
        files: Identity of each source, with the digest of its content.
        unreadable: Path of each unreadable file, and why.
    """

    candles: npt.NDArray[np.float64]
    times: npt.NDArray[np.int64]
    opens: npt.NDArray[np.int64]
    stamps: npt.NDArray[np.int8]

    def __init__(self, folder: Path, meta: dict[str, Any], mode: Literal["r", "c"]) -> None:
        """Map a store's arrays; use `open`."""
        self.folder = folder
        self.series = tuple(SeriesInfo(**info) for info in meta["series"])
        self.digest: str = meta["digest"]
        self.files: tuple[dict[str, Any], ...] = tuple(meta["files"])
        self.unreadable: tuple[tuple[str, str], ...] = tuple((path, why) for path, why in meta["unreadable"])
        rows = sum(info.rows for info in self.series)
        for name, (kind, shape) in ARRAYS.items():
            mapped = np.memmap(folder / f"{name}.bin", dtype=kind, mode=mode, shape=(rows, *shape))
            setattr(self, name, np.asarray(mapped))  # slicing a memmap itself is slow
        self.pieces: npt.NDArray[np.int64] = np.load(folder / "pieces.npy", allow_pickle=False)
        self.missing: npt.NDArray[np.int64] = np.load(folder / "missing.npy", allow_pickle=False)

    @classmethod
    def open(cls, folder: str | Path, *, writable: bool = False) -> MemmapCandles:
        """Open a store.

        Args:
            folder: Its folder.
            writable: Allow changes to its arrays, in memory only: the folder is never changed.

        Raises:
            DataError: If there is no store, or it is damaged.
        """
        folder = Path(folder)
        try:
            meta = json.loads((folder / META).read_text("utf-8"))
            rows = sum(info["rows"] for info in meta["series"])
            for name, (kind, shape) in ARRAYS.items():
                size = rows * int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
                if (folder / f"{name}.bin").stat().st_size != size:
                    raise ValueError(f"{name}.bin is truncated")
            return cls(folder, meta, "c" if writable else "r")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder} is not a store of candles, or damaged ({error}): build it again.") from error

    def __len__(self) -> int:
        return len(self.times)

    def __reduce__(self) -> tuple[Any, ...]:
        return MemmapCandles.open, (self.folder,)

    def __enter__(self) -> MemmapCandles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmap the files; windows read before stay valid."""
        for name in ARRAYS:
            setattr(self, name, getattr(self, name)[:0].copy())

    def read(self, series: int, rows: int | None = None) -> Candles:
        """Read an instrument's candles into memory.

        Args:
            series: Its index in ``series``.
            rows: Number of its first candles; None for all.
        """
        info = self.series[series]
        stop = info.stop if rows is None else info.start + rows
        index = _timestamps(self.opens[info.start : stop], info)
        frame = pd.DataFrame(np.array(self.candles[info.start : stop]), columns=list(COLUMNS), index=index)
        dropped = self.missing[(self.missing > info.start) & (self.missing < stop)] - info.start
        return Candles(
            frame=frame,
            symbol=info.symbol,
            interval=info.length,
            timezone=info.timezone,
            simulated=info.simulated,
            source=info.unique_id,
            has_volume=bool((frame["volume"] > 0).any()),
            dropped=index[dropped - 1] + pd.Timedelta(1, "us"),
        )


def _timestamps(opens: IntArray, info: SeriesInfo) -> pd.DatetimeIndex:
    """The instrument's own timestamps of candles with these opening times in UTC."""
    index = pd.DatetimeIndex(opens.astype(np.int64).view("M8[us]"), name="timestamps")
    index = index + info.length.delta if info.stamped_close else index
    return index if info.timezone is None else index.tz_localize("UTC").tz_convert(info.timezone)


def build_store(
    source: str | Path | Sequence[CandleReader], folder: str | Path, reading: ReadOptions | None = None
) -> MemmapCandles:
    """Build a store, or open the existing one of the same content.

    Unreadable files are skipped; the store lists them, and the first ones are logged as warnings.

    Args:
        source: As for `kronos.datasets.open_training_data`, or readers.
        folder: Folder of all stores; each gets its own sub-folder.
        reading: How files are written; None infers it.

    Raises:
        ParameterError: If there is no such source.
        DataError: If nothing could be read.
        StorageError: If the folder cannot be written.
    """
    readers = open_readers(source, reading) if isinstance(source, str | Path) else list(source)
    files = [reader.identity() for reader in readers]
    key = json.dumps([files, (FORMAT, versions().get("kronos"))], sort_keys=True, default=str)
    path = Path(folder) / f"candles-{hashlib.sha256(key.encode()).hexdigest()[:20]}"
    store = _open_existing(path)
    if store is not None:
        return store
    with _lock(path):
        store = _open_existing(path)  # another process may have built it in the meantime
        if store is None:
            with atomic_folder(path, replace=True) as building:
                _write_store(readers, files, building)
            store = MemmapCandles.open(path)
    return store


def _open_existing(path: Path) -> MemmapCandles | None:
    """The store, if it is there and intact; a damaged one is replaced."""
    if not path.is_dir():
        return None
    try:
        return MemmapCandles.open(path)
    except DataError as error:
        log.warning("%s", error)
        return None


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Lock a store for writing, waiting for other processes.

    Raises:
        StorageError: If the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("Another process is building %s; waiting for it.", path)
            lock.acquire()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise StorageError(f"Cannot store candles in {path.parent} ({reason}): choose another cache folder.") from error
    try:
        yield
    finally:
        lock.release()


def _write_store(readers: Sequence[CandleReader], files: Sequence[dict[str, Any]], building: Path) -> None:
    """Read all sources, one at a time, into an empty folder."""
    with ExitStack() as stack:
        writer = _StoreWriter({name: stack.enter_context((building / f"{name}.bin").open("wb")) for name in ARRAYS})
        for reader in readers:
            writer.add(reader)
        meta = writer.finish() | {"files": list(files)}
    for name, array in (("pieces", writer.pieces), ("missing", writer.missing)):
        np.save(building / f"{name}.npy", array, allow_pickle=False)
    write_text(building / META, json.dumps(meta, ensure_ascii=False))


class _StoreWriter:
    """Appends instruments to the files of a store."""

    def __init__(self, files: dict[str, IO[bytes]]) -> None:
        self._files = files
        self._series: dict[str, SeriesInfo] = {}
        self._pieces: list[npt.NDArray[np.int64]] = []
        self._missing: list[npt.NDArray[np.int64]] = []
        self._unreadable: list[tuple[str, str]] = []
        self._names: dict[str, str] = {}  # of instruments, by the digest of their candles
        self._rows = 0
        self._digest = hashlib.sha256()

    def add(self, reader: CandleReader) -> None:
        """Append a reader's instruments, or record why it cannot be read."""
        try:
            instruments = list(reader.read())
        except NoCandlesError as error:
            if reader.named:
                self._record_unreadable(reader, error)
            return
        except (DataError, ParameterError) as error:
            self._record_unreadable(reader, error)
            return
        for instrument in instruments:
            self._append(instrument)

    def _record_unreadable(self, reader: CandleReader, error: Exception) -> None:
        self._unreadable.append((reader.name, str(error)))
        if len(self._unreadable) <= _MAX_WARNINGS:
            log.warning("Skipped for training: %s", error)

    def _append(self, instrument: InstrumentCandles) -> None:
        from kronos.preprocessing import market_time_features

        candles, index = instrument.candles, instrument.candles.index
        if not len(candles):
            return
        utc = (index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")).as_unit("us")
        opens = utc - candles.interval.delta if instrument.stamped_close else utc
        wall = (index if index.tz is None else index.tz_localize(None)).as_unit("us")
        arrays = {
            "candles": candles.frame.to_numpy(np.float64),
            "times": wall.asi8,
            "opens": opens.asi8,
            "stamps": market_time_features(candles),
        }
        contents = {
            name: np.ascontiguousarray(arrays[name]).astype(kind, copy=False).tobytes()
            for name, (kind, _) in ARRAYS.items()
        }
        if instrument.pieces is None and (original := self._copied(instrument, contents)) is not None:
            log.warning("%s has the candles of %s and counts once.", instrument.name, original)
            return
        info = self._info(instrument, wall)
        for name, content in contents.items():
            self._files[name].write(content)
            self._digest.update(content)
        self._digest.update(json.dumps(asdict(info)).encode())
        if instrument.pieces is not None:
            shifted = instrument.pieces + np.array([self._rows, self._rows, 0])
            self._pieces.append(np.column_stack((np.full(len(shifted), len(self._series)), shifted)))
        gaps = index.as_unit("ns").asi8.searchsorted(candles.dropped.as_unit("ns").asi8)
        self._missing.append(np.unique(gaps[(gaps > 0) & (gaps < len(index))]) + self._rows)
        self._series[info.unique_id] = info
        self._rows += len(candles)

    def _copied(self, instrument: InstrumentCandles, contents: Mapping[str, bytes]) -> str | None:
        """Name of an earlier instrument with the same candles; None if there is none."""
        digest = hashlib.sha256(str(instrument.candles.interval).encode())
        for name in ("candles", "opens"):
            digest.update(contents[name])
        original = self._names.get(digest.hexdigest())
        self._names.setdefault(digest.hexdigest(), instrument.name)
        return original

    def _info(self, instrument: InstrumentCandles, wall: pd.DatetimeIndex) -> SeriesInfo:
        candles, name = instrument.candles, instrument.name
        if name in self._series:
            name = unique_name(f"{instrument.market}/{name}", self._series)
        return SeriesInfo(
            unique_id=name,
            symbol=candles.symbol or name,
            market=instrument.market,
            interval=str(candles.interval),
            start=self._rows,
            rows=len(candles),
            timezone=candles.timezone,
            stamped_close=instrument.stamped_close,
            simulated=candles.simulated,
            has_volume=candles.has_volume,
            first=wall[0].isoformat(),
            last=wall[-1].isoformat(),
            prepared=instrument.pieces is not None,
        )

    @property
    def pieces(self) -> npt.NDArray[np.int64]:
        return np.concatenate([np.empty((0, 4), dtype=np.int64), *self._pieces]).astype(np.int64)

    @property
    def missing(self) -> npt.NDArray[np.int64]:
        return np.concatenate([np.empty(0, dtype=np.int64), *self._missing]).astype(np.int64)

    def finish(self) -> dict[str, Any]:
        """Flush the files and return the metadata as JSON values.

        Raises:
            DataError: If there are no candles.
        """
        if not self._series:
            count = len(self._unreadable)
            if count:
                first = self._unreadable[0][1]
                raise DataError(first if count == 1 else f"None of {count} files could be read; the first: {first}")
            raise DataError("Found no candles: pass files with open, high, low, close and timestamps.")
        self._digest.update(self.pieces.tobytes() + self.missing.tobytes())
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        return {
            "format": FORMAT,
            "digest": self._digest.hexdigest(),
            "series": [asdict(info) for info in self._series.values()],
            "unreadable": self._unreadable,
        }

"""Candles of many instruments in one folder, memory-mapped: what training reads its windows from.

- Instruments lie one behind the other and are never joined: whoever reads a window stays within one of them.
- A store is built file by file, so that one file's candles are in memory and never all of them, beside its place, and
  renamed once it is whole. Its folder is named after the digest of what it was built of: what has not changed is not
  built again, and of several processes one builds while the others wait.
- Nothing is filtered or split here: one store serves every split.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.atomic import atomic_folder, write_text
from kronos.candles import COLUMNS, Candles
from kronos.candles.schema import NoCandlesError
from kronos.datasets.readers import CandleReader, InstrumentCandles, key_of, open_readers
from kronos.errors import DataError, ParameterError, StorageError
from kronos.intervals import Interval
from kronos.provenance import versions

FORMAT = 1
META = "store.json"
ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {  # type and shape of one candle's entry
    "candles": ("<f8", (len(COLUMNS),)),
    "times": ("<i8", ()),
    "opens": ("<i8", ()),
    "stamps": ("|i1", (5,)),
}
_TOLD = 5  # files that could not be read, in the log

log = logging.getLogger("kronos.datasets")


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """One instrument at one interval.

    Attributes:
        unique_id: Its name, unlike all others of the store.
        symbol: The instrument.
        market: Such as ``us_equity``.
        interval: The candles' length, as text.
        start: Its first row in the store.
        rows: How many candles it has.
        timezone: Of its wall clock; None if nobody says.
        stamped_close: Whether its times name when candles close.
        simulated: Whether the candles never traded.
        has_volume: Whether the source tells volume.
        first: Its first time, ISO 8601 without an offset, on its own wall clock.
        last: Its last time.
        prepared: Whether it is a prepared dataset's, whose parts are told.
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
        """The row after its last."""
        return self.start + self.rows

    @property
    def group(self) -> str:
        """``us_equity 1d``: the market at its interval."""
        return f"{self.market} {self.interval}"

    @property
    def length(self) -> Interval:
        """The candles' length."""
        return Interval.parse(self.interval)


def write_store(feeds: Sequence[CandleReader], files: Sequence[dict[str, Any]], building: Path) -> None:
    """Write a store into an empty folder.

    Args:
        feeds: What to read, one after the other.
        files: Their identities.
        building: The folder.

    Raises:
        DataError: If nothing could be read.
    """
    with ExitStack() as stack:
        writer = _Writer({name: stack.enter_context((building / f"{name}.bin").open("wb")) for name in ARRAYS})
        for feed in feeds:
            writer.read(feed)
        meta = writer.finished() | {"files": list(files)}
    for name, array in (("pieces", writer.pieces), ("missing", writer.missing)):
        np.save(building / f"{name}.npy", array, allow_pickle=False)
    write_text(building / META, json.dumps(meta, ensure_ascii=False))


class _Writer:
    """Appends one instrument after another to the files of a store."""

    def __init__(self, files: dict[str, IO[bytes]]) -> None:
        self._files = files
        self._series: dict[str, SeriesInfo] = {}
        self._pieces: list[npt.NDArray[np.int64]] = []
        self._missing: list[npt.NDArray[np.int64]] = []
        self._unreadable: list[tuple[str, str]] = []
        self._rows = 0
        self._digest = hashlib.sha256()

    def read(self, feed: CandleReader) -> None:
        """Append a feed's instruments, or note why it cannot be read."""
        try:
            fed = list(feed.read())
        except NoCandlesError as error:
            if feed.named:
                self._refuse(feed, error)
            return
        except (DataError, ParameterError) as error:
            self._refuse(feed, error)
            return
        for one in fed:
            self._append(one)

    def _refuse(self, feed: CandleReader, error: Exception) -> None:
        self._unreadable.append((feed.name, str(error)))
        if len(self._unreadable) <= _TOLD:
            log.warning("Left out of training: %s", error)

    def _append(self, fed: InstrumentCandles) -> None:
        from kronos.preprocessing import time_features

        candles, index = fed.candles, fed.candles.index
        if not len(candles):
            return
        utc = (index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")).as_unit("us")
        opens = utc - candles.interval.delta if fed.stamped_close else utc
        wall = (index if index.tz is None else index.tz_localize(None)).as_unit("us")
        arrays = {
            "candles": candles.frame.to_numpy(np.float64),
            "times": wall.asi8,
            "opens": opens.asi8,
            "stamps": time_features(index),
        }
        info = self._info(fed, wall)
        for name, (kind, _) in ARRAYS.items():
            content = np.ascontiguousarray(arrays[name]).astype(kind, copy=False).tobytes()
            self._files[name].write(content)
            self._digest.update(content)
        self._digest.update(json.dumps(asdict(info)).encode())
        if fed.pieces is not None:
            shifted = fed.pieces + np.array([self._rows, self._rows, 0])
            self._pieces.append(np.column_stack((np.full(len(shifted), len(self._series)), shifted)))
        passed = index.as_unit("ns").asi8.searchsorted(candles.dropped.as_unit("ns").asi8)
        self._missing.append(np.unique(passed[(passed > 0) & (passed < len(index))]) + self._rows)
        self._series[info.unique_id] = info
        self._rows += len(candles)

    def _info(self, fed: InstrumentCandles, wall: pd.DatetimeIndex) -> SeriesInfo:
        candles = fed.candles
        name = self._free(fed.name, fed.market)
        return SeriesInfo(
            unique_id=name,
            symbol=candles.symbol or name,
            market=fed.market,
            interval=str(candles.interval),
            start=self._rows,
            rows=len(candles),
            timezone=candles.timezone,
            stamped_close=fed.stamped_close,
            simulated=candles.simulated,
            has_volume=candles.has_volume,
            first=wall[0].isoformat(),
            last=wall[-1].isoformat(),
            prepared=fed.pieces is not None,
        )

    def _free(self, name: str, market: str) -> str:
        """A name that nobody has: with the market before it, and a number after it, where it is taken."""
        if name not in self._series:
            return name
        candidate, number = f"{market}/{name}", 1
        while candidate in self._series:
            number += 1
            candidate = f"{market}/{name}-{number}"
        return candidate

    @property
    def pieces(self) -> npt.NDArray[np.int64]:
        """Stretches of prepared datasets. [n, 4]."""
        return np.concatenate([np.empty((0, 4), dtype=np.int64), *self._pieces]).astype(np.int64)

    @property
    def missing(self) -> npt.NDArray[np.int64]:
        """Rows before which others were dropped. [n]."""
        return np.concatenate([np.empty(0, dtype=np.int64), *self._missing]).astype(np.int64)

    def finished(self) -> dict[str, Any]:
        """What there is, ready for JSON.

        Raises:
            DataError: If that is nothing.
        """
        if not self._series:
            count = len(self._unreadable)
            if count:
                first = self._unreadable[0][1]
                raise DataError(first if count == 1 else f"None of {count} files could be read; the first: {first}")
            raise DataError("There are no candles in what was given; give files with open, high, low, close and times.")
        self._digest.update(self.pieces.tobytes() + self.missing.tobytes())
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        return {
            "format": FORMAT,
            "digest": self._digest.hexdigest(),
            "series": [asdict(one) for one in self._series.values()],
            "unreadable": self._unreadable,
        }


class MemmapCandles:
    """A folder of candles, read where windows are and nowhere else. It pickles as its folder's name.

    Attributes:
        folder: Where it lies.
        series: Its instruments, in the order of their rows.
        candles: Open, high, low, close, volume, amount. [N, 6] float64
        times: The candles' times on their own wall clock, microseconds since 1970. [N] int64
        opens: When they open, UTC, microseconds since 1970; times without a timezone are taken for it. [N] int64
        stamps: Minute, hour, weekday (Monday 0), day, month of ``times``. [N, 5] int8
        pieces: Unbroken stretches of prepared datasets: series, first row, row after the last, part. [n, 4] int64
        missing: Rows before which cleaning dropped others, because their prices say nothing. [n] int64
        digest: Of all this, whatever files it is from.
        files: What it was built of, each with its digest.
        unreadable: Files that could not be read, and why: path and sentence.
    """

    candles: npt.NDArray[np.float64]
    times: npt.NDArray[np.int64]
    opens: npt.NDArray[np.int64]
    stamps: npt.NDArray[np.int8]

    def __init__(self, folder: Path, meta: dict[str, Any], mode: Literal["r", "c"]) -> None:
        """Map a store's arrays; use `open`."""
        self.folder = folder
        self.series = tuple(SeriesInfo(**one) for one in meta["series"])
        self.digest: str = meta["digest"]
        self.files: tuple[dict[str, Any], ...] = tuple(meta["files"])
        self.unreadable: tuple[tuple[str, str], ...] = tuple((path, why) for path, why in meta["unreadable"])
        rows = sum(one.rows for one in self.series)
        for name, (kind, shape) in ARRAYS.items():
            mapped = np.memmap(folder / f"{name}.bin", dtype=kind, mode=mode, shape=(rows, *shape))
            setattr(self, name, np.asarray(mapped))  # a memmap's own slices are slow
        self.pieces: npt.NDArray[np.int64] = np.load(folder / "pieces.npy", allow_pickle=False)
        self.missing: npt.NDArray[np.int64] = np.load(folder / "missing.npy", allow_pickle=False)

    @classmethod
    def open(cls, folder: str | Path, *, changeable: bool = False) -> MemmapCandles:
        """Open a store.

        Args:
            folder: Where it lies.
            changeable: Whether its arrays may be changed: in memory only, the folder stays as it is.

        Raises:
            DataError: If there is none, or it is damaged.
        """
        place = Path(folder)
        try:
            meta = json.loads((place / META).read_text("utf-8"))
            rows = sum(one["rows"] for one in meta["series"])
            for name, (kind, shape) in ARRAYS.items():
                wanted = rows * int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
                if (place / f"{name}.bin").stat().st_size != wanted:
                    raise ValueError(f"{name} is cut off")
            return cls(place, meta, "c" if changeable else "r")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{place} is no store of candles, or damaged ({error}); build it again.") from error

    def __len__(self) -> int:
        return len(self.times)

    def __reduce__(self) -> tuple[Any, ...]:
        return MemmapCandles.open, (self.folder,)

    def __enter__(self) -> MemmapCandles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files; windows that were read stay valid."""
        for name in ARRAYS:
            setattr(self, name, getattr(self, name)[:0].copy())

    def read(self, series: int, rows: int | None = None) -> Candles:
        """The candles of an instrument, in memory.

        Args:
            series: Its position in ``series``.
            rows: Only so many, the earliest.
        """
        one = self.series[series]
        stop = one.stop if rows is None else one.start + rows
        where = slice(one.start, stop)
        index = _index(self.opens[where], one)
        frame = pd.DataFrame(np.array(self.candles[where]), columns=list(COLUMNS), index=index)
        gone = self.missing[(self.missing > one.start) & (self.missing < stop)] - one.start
        return Candles(
            frame=frame,
            symbol=one.symbol,
            interval=one.length,
            timezone=one.timezone,
            simulated=one.simulated,
            source=one.unique_id,
            has_volume=bool((frame["volume"] > 0).any()),
            dropped=index[gone - 1] + pd.Timedelta(1, "us"),
        )


def _index(opens: npt.NDArray[np.int64], one: SeriesInfo) -> pd.DatetimeIndex:
    """Opening times in UTC as the instrument's own stamps."""
    index = pd.DatetimeIndex(opens.astype(np.int64).view("M8[us]"), name="timestamps")
    index = index + one.length.delta if one.stamped_close else index
    return index if one.timezone is None else index.tz_localize("UTC").tz_convert(one.timezone)


def build_store(source: str | Path | Sequence[CandleReader], folder: str | Path) -> MemmapCandles:
    """Build a store, or open the one that was built of the same content.

    Files that cannot be read do not stop the others; the store tells of them, and the log warns.

    Args:
        source: What `open_training_data` takes, or feeds.
        folder: Where stores lie, each in a folder of its own.

    Raises:
        ParameterError: If there is no such source.
        DataError: If nothing could be read.
        StorageError: If the folder cannot be written to.
    """
    feeds = open_readers(source) if isinstance(source, str | Path) else list(source)
    files = [feed.identity() for feed in feeds]
    place = Path(folder) / f"candles-{key_of(files, FORMAT, versions().get('kronos'))[:20]}"
    found = _opened(place)
    if found is not None:
        return found
    with _alone(place):
        found = _opened(place)  # another process may have built it meanwhile
        if found is None:
            with atomic_folder(place, replace=True) as building:
                write_store(feeds, files, building)
            found = MemmapCandles.open(place)
    return found


def _opened(place: Path) -> MemmapCandles | None:
    """A store that is whole; a damaged one counts as none, and is replaced."""
    if not place.is_dir():
        return None
    try:
        return MemmapCandles.open(place)
    except DataError as error:
        log.warning("%s", error)
        return None


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold a place for writing; wait, and log that, while another process has it.

    Raises:
        StorageError: If the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.with_name(f".{place.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("Another process is building %s; waiting for it.", place)
            lock.acquire()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise StorageError(f"Cannot keep candles in {place.parent}: {reason}; choose another cache folder.") from error
    try:
        yield
    finally:
        lock.release()


__all__ = ["MemmapCandles", "SeriesInfo", "build_store"]

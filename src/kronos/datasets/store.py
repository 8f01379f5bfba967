"""Candles of many instruments in one folder, memory-mapped: what training reads its windows from.

- Instruments lie one behind the other and are never joined: whoever reads a window stays within one of them.
- A store is built file by file, so that one file's candles are in memory and never all of them, beside its place, and
  renamed once it is whole. Its folder is named after the digest of what it was built of: what has not changed is not
  built again, and of several processes one builds while the others wait.
- Nothing is filtered or split here: one store serves every split.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles import COLUMNS, Candles
from kronos.datasets.feeds import Feed, feeds_of, key_of
from kronos.datasets.store_writing import ARRAYS, FORMAT, META, SeriesInfo, write_store
from kronos.errors import DataError, StorageError
from kronos.provenance import versions
from kronos.storage import atomic_folder

log = logging.getLogger("kronos.datasets")


class CandleStore:
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
    def open(cls, folder: str | Path, *, changeable: bool = False) -> CandleStore:
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
        return CandleStore.open, (self.folder,)

    def __enter__(self) -> CandleStore:
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


def build_store(source: str | Path | Sequence[Feed], folder: str | Path) -> CandleStore:
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
    feeds = feeds_of(source) if isinstance(source, str | Path) else list(source)
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
            found = CandleStore.open(place)
    return found


def _opened(place: Path) -> CandleStore | None:
    """A store that is whole; a damaged one counts as none, and is replaced."""
    if not place.is_dir():
        return None
    try:
        return CandleStore.open(place)
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


__all__ = ["CandleStore", "SeriesInfo", "build_store"]

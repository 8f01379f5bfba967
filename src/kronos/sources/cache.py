"""The local store: what was downloaded once is never asked for again.

- One Parquet file a source, symbol and interval: ``<store>/binance/BTC%2FUSDT/1h.parquet``; any reader of Parquet
  can open it. Columns ``timestamps`` (UTC opening times), open, high, low, close, volume, amount (NaN where the source
  doesn't tell).
- The file's metadata say which spans of time are known, so that a hole in the market is told from one in the download,
  and the digests of its rows and of all this, which every reading checks.
- A file is replaced whole: a reader never sees half of one, a crash leaves the old one. Writers take turns by a lock
  beside it, which the system frees when its holder dies; what a dead one was writing is then removed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from kronos.atomic import atomic_path, expand_user
from kronos.candles import COLUMNS
from kronos.errors import DataError, StorageError
from kronos.intervals import Interval
from kronos.provenance import frame_digest

Span = tuple[int, int]


def union(spans: Iterable[Span], new: Span) -> tuple[Span, ...]:
    """The spans with one more; spans that touch become one, and empty ones vanish."""
    merged: list[Span] = []
    for start, end in sorted([*spans, new]):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)


def clip(spans: Iterable[Span], stop: int) -> tuple[Span, ...]:
    """What lies before a time of sorted, disjoint spans."""
    return tuple((start, min(end, stop)) for start, end in spans if start < stop)


def subtract(spans: Iterable[Span], wanted: Span) -> tuple[Span, ...]:
    """The parts of a wanted span that no span covers.

    Args:
        spans: Sorted and disjoint, as `add` gives them.
        wanted: Half-open.
    """
    cursor, stop = wanted
    gaps: list[Span] = []
    for start, end in spans:
        if start >= stop:
            break
        if start > cursor:
            gaps.append((cursor, start))
        cursor = max(cursor, end)
    if cursor < stop:
        gaps.append((cursor, stop))
    return tuple(gaps)


TIME = "timestamps"
_FORMAT = 2
_KEY = b"kronos"
_LONGEST = 120  # characters of a symbol's folder
# What systems take amiss: hidden names, dots and blanks at the end, and Windows' devices, whatever their ending.
_AMISS = re.compile(r"^\.|[. ]$|^[acnp](?=(?:ux|on|ul|rn)(?:\.|$))|^[cl](?=(?:om|pt)\d(?:\.|$))", re.IGNORECASE)

log = logging.getLogger("kronos.sources")


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """What a stored series is called.

    Attributes:
        source: ``binance``.
        symbol: The source's own name, ``BTC/USDT``.
        interval: The candles' length.
    """

    source: str
    symbol: str
    interval: Interval

    def __str__(self) -> str:
        return f"{self.source} {self.symbol} {self.interval}"


def no_rows() -> pd.DataFrame:
    """A frame of candles without a row."""
    index = pd.DatetimeIndex(np.empty(0, "datetime64[us]"), tz="UTC", name=TIME)
    return pd.DataFrame(np.empty((0, len(COLUMNS))), columns=list(COLUMNS), index=index)


@dataclass(frozen=True, slots=True, eq=False)
class CachedSeries:
    """A series as it lies in the store.

    Attributes:
        frame: Float64 columns open … amount under strictly increasing UTC opening times in microseconds.
        covered: Spans of opening times about which the source was asked.
        begins: Microseconds; the source has nothing that opens before. None if that is not known.
    """

    frame: pd.DataFrame = field(default_factory=no_rows)
    covered: tuple[Span, ...] = ()
    begins: int | None = None


class CandleCache:
    """A folder of downloaded candles.

    Attributes:
        folder: Where it lies; made when first written to.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = expand_user(folder)

    def path(self, key: SeriesKey) -> Path:
        """Where a series lies, whether it exists or not."""
        return self.folder / _safe(key.source) / _safe(key.symbol) / f"{key.interval}.parquet"

    def read(self, key: SeriesKey) -> CachedSeries:
        """Read a series and check it; an empty one if there is none.

        Raises:
            DataError: If the file is damaged.
            StorageError: If it cannot be read.
        """
        path = self.path(key)
        try:
            return _read(path, key)
        except FileNotFoundError:
            return CachedSeries()
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise StorageError(f"Cannot read {path}: {reason}; check its rights and the disk.") from error

    def write(self, key: SeriesKey, stored: CachedSeries) -> Path:
        """Replace a series whole; call it under `lock`.

        Raises:
            StorageError: If the file system refuses.
        """
        path = self.path(key)
        with atomic_path(path) as temporary:
            _write(temporary, key, stored)
        return path

    def set_aside(self, key: SeriesKey) -> Path:
        """Rename a damaged series' file, so that it can be downloaded afresh and still be looked at.

        Returns:
            The new name.

        Raises:
            StorageError: If the file system refuses.
        """
        path = self.path(key)
        aside = path.with_suffix(".damaged")
        try:
            path.replace(aside)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise StorageError(f"Cannot set the damaged {path} aside: {reason}; remove it.") from error
        return aside

    @contextmanager
    def lock(self, key: SeriesKey) -> Iterator[None]:
        """Hold a series for writing; wait, and log that, while another process has it.

        Raises:
            StorageError: If the folder cannot be written to.
        """
        from filelock import FileLock, Timeout

        path = self.path(key).with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                log.warning("Another process is downloading %s; waiting for it.", key)
                lock.acquire()
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise StorageError(
                f"Cannot keep candles in {self.folder}: {reason}; choose another store folder."
            ) from error
        try:
            for left in path.parent.glob(f".*.tmp-{key.interval}.parquet"):
                with suppress(OSError):
                    left.unlink()
            yield
        finally:
            lock.release()

    def series(self) -> list[SeriesKey]:
        """Everything that is stored, by name."""
        found = []
        for path in sorted(self.folder.glob("*/*/*.parquet")):
            meta = _metadata(path)
            if meta is None:
                continue
            key = SeriesKey(meta["source"], meta["symbol"], Interval.parse(meta["interval"]))
            if path == self.path(key):
                found.append(key)
        return found


def _safe(name: str) -> str:
    """A name as a folder, without anything a file system may take amiss; different names stay different.

    Names of capitals and small letters are marked, since some file systems do not tell these apart.
    """
    text = _AMISS.sub(lambda one: f"%{ord(one[0]):02X}", quote(name, safe="-_+=@ "))
    if name not in (name.upper(), name.lower()):
        text += "~" + hashlib.sha256(name.encode()).hexdigest()[:6]
    if len(text) > _LONGEST:
        raise DataError(f"The name '{name[:40]}…' is too long to be stored; use a shorter one.")
    return text


def _write(path: Path, key: SeriesKey, stored: CachedSeries) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    times = pa.array(_index(stored.frame).asi8, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    columns = [pa.array(stored.frame[column].to_numpy(dtype=np.float64)) for column in COLUMNS]
    meta: dict[str, Any] = {
        "format": _FORMAT,
        "source": key.source,
        "symbol": key.symbol,
        "interval": str(key.interval),
        "covered": stored.covered,
        "begins": stored.begins,
        "sha256": frame_digest(stored.frame),
    }
    meta["seal"] = _seal(meta)
    table = pa.table([times, *columns], names=[TIME, *COLUMNS])
    parquet.write_table(table.replace_schema_metadata({_KEY: json.dumps(meta).encode()}), path, compression="zstd")


def _seal(meta: dict[str, Any]) -> str:
    """The digest of everything else that is said of a file."""
    rest = {name: value for name, value in meta.items() if name != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _index(frame: pd.DataFrame) -> pd.DatetimeIndex:
    index = frame.index
    assert isinstance(index, pd.DatetimeIndex)
    return index.as_unit("us")


def _read(path: Path, key: SeriesKey) -> CachedSeries:
    import pyarrow as pa
    from pyarrow import parquet

    if not path.is_file():
        raise FileNotFoundError(path)
    mend = "remove it and download again"
    try:
        table = parquet.read_table(path, memory_map=False)
        meta = json.loads((table.schema.metadata or {})[_KEY])
        values = np.column_stack([table[column].to_numpy() for column in COLUMNS])
        index = pd.DatetimeIndex(table[TIME].to_numpy().astype("datetime64[us]"), tz="UTC", name=TIME)
        frame = pd.DataFrame(values, columns=list(COLUMNS), index=index)
        covered = tuple((int(start), int(end)) for start, end in meta["covered"])
        begins = None if meta["begins"] is None else int(meta["begins"])
        named = (meta["source"], meta["symbol"], meta["interval"])
        sealed = meta["seal"] == _seal(meta)
        digest, format_ = meta["sha256"], meta["format"]
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, EOFError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault; what pyarrow cannot decode is an OSError without a number
        raise DataError(f"The stored candles {path} are damaged and cannot be read; {mend}.") from error
    if named != (key.source, key.symbol, str(key.interval)):
        raise DataError(f"{path} holds {named[0]} {named[1]} {named[2]}, not {key}; {mend}.")
    sorted_ = index.is_monotonic_increasing and index.is_unique
    if not sealed or digest != frame_digest(frame) or not sorted_ or format_ != _FORMAT:
        raise DataError(f"The stored candles {path} are damaged: their digest does not fit; {mend}.")
    return CachedSeries(frame, covered, begins)


def _metadata(path: Path) -> dict[str, Any] | None:
    """A stored file's own account of itself; None if it isn't one."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        meta: dict[str, Any] = json.loads((parquet.read_schema(path).metadata or {})[_KEY])
        return meta if {"source", "symbol", "interval"} <= set(meta) else None
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None

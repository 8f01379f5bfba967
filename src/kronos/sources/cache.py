"""On-disk cache of downloaded candles, so that nothing is downloaded twice.

- One Parquet file per source, symbol and interval: ``<folder>/binance/BTC%2FUSDT/1h.parquet``, readable by any Parquet
  reader. Columns: ``timestamps`` (UTC opening times), open, high, low, close, volume, amount (NaN if unknown).
- The file's metadata hold the time spans that have been downloaded, which tells a gap in the market from a gap in the
  download, and digests of the rows and of the metadata, which every read verifies.
- Files are replaced atomically. Writers take turns by a lock file next to the data, which the system releases when the
  process that holds it dies; its unfinished temporary files are then removed.
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

from kronos.atomic import atomic_path
from kronos.candles import COLUMNS
from kronos.errors import DataError, StorageError
from kronos.formatting import expand_user, os_error_reason
from kronos.intervals import Interval
from kronos.provenance import frame_digest

Span = tuple[int, int]

TIME = "timestamps"
_FORMAT = 2
_METADATA_KEY = b"kronos"
_MAX_NAME = 120  # characters of a symbol's folder
# Hidden names, dots and blanks at the end, and Windows' device names, whatever their extension.
_RESERVED = re.compile(r"^\.|[. ]$|^[acnp](?=(?:ux|on|ul|rn)(?:\.|$))|^[cl](?=(?:om|pt)\d(?:\.|$))", re.IGNORECASE)

log = logging.getLogger("kronos.sources")


def union(spans: Iterable[Span], added: Span) -> tuple[Span, ...]:
    """Add a half-open span to others; adjacent spans are merged and empty ones dropped."""
    merged: list[Span] = []
    for start, end in sorted([*spans, added]):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)


def clip(spans: Iterable[Span], stop: int) -> tuple[Span, ...]:
    """The parts of sorted, disjoint spans that lie before a time."""
    return tuple((start, min(end, stop)) for start, end in spans if start < stop)


def subtract(spans: Iterable[Span], requested: Span) -> tuple[Span, ...]:
    """The parts of a requested half-open span that are not covered by sorted, disjoint spans."""
    cursor, stop = requested
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


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """Identity of a cached series.

    Attributes:
        source: Name of the source: ``binance``.
        symbol: The source's own name of the instrument: ``BTC/USDT``.
        interval: Length of the candles.
    """

    source: str
    symbol: str
    interval: Interval

    def __str__(self) -> str:
        return f"{self.source} {self.symbol} {self.interval}"


def empty_frame() -> pd.DataFrame:
    """A frame of candles without rows."""
    index = pd.DatetimeIndex(np.empty(0, "datetime64[us]"), tz="UTC", name=TIME)
    return pd.DataFrame(np.empty((0, len(COLUMNS))), columns=list(COLUMNS), index=index)


@dataclass(frozen=True, slots=True, eq=False)
class CachedSeries:
    """Content of a cached file.

    Attributes:
        frame: Float64 columns open … amount, indexed by strictly increasing UTC opening times in microseconds.
        covered: Spans of opening times that have been downloaded, in microseconds.
        begins: The source has no candle that opens before this time, in microseconds; None if unknown.
    """

    frame: pd.DataFrame = field(default_factory=empty_frame)
    covered: tuple[Span, ...] = ()
    begins: int | None = None


class CandleCache:
    """A folder of downloaded candles.

    Attributes:
        folder: The folder, created by the first write.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = expand_user(folder)

    def path(self, key: SeriesKey) -> Path:
        """Path of a series' file, whether it exists or not."""
        return self.folder / _folder_name(key.source) / _folder_name(key.symbol) / f"{key.interval}.parquet"

    def read(self, key: SeriesKey) -> CachedSeries:
        """Read and verify a series; empty if there is none.

        Raises:
            DataError: If the file is damaged.
            StorageError: If the file cannot be read.
        """
        path = self.path(key)
        try:
            return _read(path, key)
        except FileNotFoundError:
            return CachedSeries()
        except OSError as error:
            raise StorageError(
                f"Cannot read {path}: {os_error_reason(error)}; check its permissions and the disk."
            ) from error

    def write(self, key: SeriesKey, series: CachedSeries) -> Path:
        """Replace a series; call it while holding `lock`.

        Raises:
            StorageError: If the file system refuses.
        """
        path = self.path(key)
        with atomic_path(path) as temporary:
            _write(temporary, key, series)
        return path

    def set_aside(self, key: SeriesKey) -> Path:
        """Rename the file of a damaged series, so that it can be inspected and downloaded again.

        Returns:
            The new path.

        Raises:
            StorageError: If the file system refuses.
        """
        path = self.path(key)
        aside = path.with_suffix(".damaged")
        try:
            path.replace(aside)
        except OSError as error:
            raise StorageError(
                f"Cannot rename the damaged file {path}: {os_error_reason(error)}; remove it."
            ) from error
        return aside

    @contextmanager
    def lock(self, key: SeriesKey) -> Iterator[None]:
        """Lock a series for writing; wait, with a log message, while another process holds it.

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
            raise StorageError(
                f"Cannot store candles in {self.folder}: {os_error_reason(error)}; choose another store folder."
            ) from error
        try:
            for leftover in path.parent.glob(f".*.tmp-{key.interval}.parquet"):
                with suppress(OSError):
                    leftover.unlink()
            yield
        finally:
            lock.release()

    def series(self) -> list[SeriesKey]:
        """All cached series, by name."""
        keys = []
        for path in sorted(self.folder.glob("*/*/*.parquet")):
            meta = _read_metadata(path)
            if meta is None:
                continue
            key = SeriesKey(meta["source"], meta["symbol"], Interval.parse(meta["interval"]))
            if path == self.path(key):
                keys.append(key)
        return keys


def _folder_name(name: str) -> str:
    """Escape a name for use as a folder on any file system; different names stay different.

    Names with both capitals and small letters get a digest, since some file systems ignore case.
    """
    text = _RESERVED.sub(lambda match: f"%{ord(match[0]):02X}", quote(name, safe="-_+=@ "))
    if name not in (name.upper(), name.lower()):
        text += "~" + hashlib.sha256(name.encode()).hexdigest()[:6]
    if len(text) > _MAX_NAME:
        raise DataError(f"The name '{name[:40]}…' is too long to be stored; use a shorter one.")
    return text


def _write(path: Path, key: SeriesKey, series: CachedSeries) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    times = pa.array(micros_index(series.frame).asi8, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    columns = [pa.array(series.frame[column].to_numpy(dtype=np.float64)) for column in COLUMNS]
    meta: dict[str, Any] = {
        "format": _FORMAT,
        "source": key.source,
        "symbol": key.symbol,
        "interval": str(key.interval),
        "covered": series.covered,
        "begins": series.begins,
        "sha256": frame_digest(series.frame),
    }
    meta["seal"] = _seal(meta)
    table = pa.table([times, *columns], names=[TIME, *COLUMNS])
    schema = {_METADATA_KEY: json.dumps(meta).encode()}
    parquet.write_table(table.replace_schema_metadata(schema), path, compression="zstd")


def _seal(meta: dict[str, Any]) -> str:
    """Digest of all metadata but the seal itself."""
    rest = {name: value for name, value in meta.items() if name != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def micros_index(frame: pd.DataFrame) -> pd.DatetimeIndex:
    """UTC index of a frame in microseconds."""
    index = frame.index
    assert isinstance(index, pd.DatetimeIndex)
    return index.tz_convert("UTC").as_unit("us")


def _read(path: Path, key: SeriesKey) -> CachedSeries:
    import pyarrow as pa
    from pyarrow import parquet

    if not path.is_file():
        raise FileNotFoundError(path)
    hint = "remove it and download again"
    try:
        table = parquet.read_table(path, memory_map=False)
        meta = json.loads((table.schema.metadata or {})[_METADATA_KEY])
        values = np.column_stack([table[column].to_numpy() for column in COLUMNS])
        index = pd.DatetimeIndex(table[TIME].to_numpy().astype("datetime64[us]"), tz="UTC", name=TIME)
        frame = pd.DataFrame(values, columns=list(COLUMNS), index=index)
        covered = tuple((int(start), int(end)) for start, end in meta["covered"])
        begins = None if meta["begins"] is None else int(meta["begins"])
        identity = (meta["source"], meta["symbol"], meta["interval"])
        sealed = meta["seal"] == _seal(meta)
        digest, format_ = meta["sha256"], meta["format"]
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, EOFError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system failed; what pyarrow cannot decode is an OSError without a number
        raise DataError(f"The cached candles {path} are damaged and cannot be read; {hint}.") from error
    if identity != (key.source, key.symbol, str(key.interval)):
        raise DataError(f"{path} holds {' '.join(map(str, identity))}, not {key}; {hint}.")
    ordered = index.is_monotonic_increasing and index.is_unique
    if not sealed or digest != frame_digest(frame) or not ordered or format_ != _FORMAT:
        raise DataError(f"The cached candles {path} are damaged: their digest does not match; {hint}.")
    return CachedSeries(frame, covered, begins)


def _read_metadata(path: Path) -> dict[str, Any] | None:
    """Metadata of a cached file; None if it is not one."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        meta: dict[str, Any] = json.loads((parquet.read_schema(path).metadata or {})[_METADATA_KEY])
        return meta if {"source", "symbol", "interval"} <= set(meta) else None
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None

"""Candle files by the names that clients use: files of the data folder, uploads, and the bundled sample.

- Each content is read once per name and options, however many clients request it; at most two are read at a time.
- All methods are synchronous and thread-safe; servers call them in a thread.
- Candles without a symbol get the name of their file.
- A library without uploads, such as that of the MCP server, only knows the data folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from threading import BoundedSemaphore, Lock
from types import MappingProxyType
from typing import BinaryIO

from cachetools import LRUCache

from kronos.candles import Candles, read_candles
from kronos.candles.previews import TablePreview, preview_table
from kronos.candles.read_options import ReadOptions
from kronos.errors import DataError, ParameterError
from kronos.formatting import file_stem, truncate
from kronos.sandbox.content_limits import DEFAULT_LIMITS, DEFAULT_OPTIONS, FileOptions, ReadLimits
from kronos.sandbox.data_dir import EXTENSIONS, LISTING, DataDirectory, FileNotListed, ListedFile
from kronos.sandbox.processes import ReaderProcesses
from kronos.sandbox.reader import (
    Readable,
    StagedFile,
    clear_leftovers,
    content_digest,
    parse_staged,
    preview_staged,
    stage,
)
from kronos.sandbox.uploads import Upload, UploadStore, sanitize_name

CacheKey = tuple[str, str, FileOptions]  # digest of the content, name, options
SecondsCallback = Callable[[float], object]

_MAX_CONCURRENT_READS = 2
_DEFAULT_QUOTA = 20  # times the largest file


class SingleFlightCache:
    """Thread-safe LRU cache of candles in which concurrent requests for the same key share one load.

    Args:
        entries: Maximum number of results.
        rows: Maximum number of rows of all results together; a row takes 56 bytes.
    """

    def __init__(self, entries: int = 16, rows: int = 2_000_000) -> None:
        self._entries = entries
        self._results: LRUCache[CacheKey, Candles] = LRUCache(rows, getsizeof=len)
        self._pending: dict[CacheKey, Future[Candles]] = {}
        self._lock = Lock()

    def get(self, key: CacheKey, load: Callable[[], Candles]) -> Candles:
        """Return the cached result, or load it; an error is shared with concurrent requests, but not cached."""
        with self._lock:
            if key in self._results:
                return self._results[key]
            pending = self._pending.get(key)
            if pending is None:
                own = self._pending[key] = Future()
        return self._load(key, load, own) if pending is None else pending.result()

    def discard(self, digest: str) -> None:
        """Remove all results of a content."""
        with self._lock:
            for key in [key for key in self._results if key[0] == digest]:
                del self._results[key]

    def _load(self, key: CacheKey, load: Callable[[], Candles], future: Future[Candles]) -> Candles:
        try:
            candles = load()
        except BaseException as error:
            with self._lock:
                del self._pending[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._pending[key]
            with suppress(ValueError):  # more rows than the whole cache may hold
                self._results[key] = candles
            if len(self._results) > self._entries:
                self._results.popitem()
        future.set_result(candles)
        return candles


@dataclass(frozen=True, slots=True)
class SampleFile:
    """A bundled candle file.

    Attributes:
        file: Its name in `kronos.samples`.
        symbol: Name of the instrument.
        timezone: Timezone of its times.
    """

    file: str
    symbol: str
    timezone: str


SAMPLES: Mapping[str, SampleFile] = MappingProxyType(
    {"simulated_btc_1h": SampleFile("simulated_btc_1h.csv", "BTC simulated", "UTC")}
)


def _ignore(_: float) -> None:
    """Default of the callbacks."""


class FileLibrary:
    """Data files, uploads and samples.

    Args:
        data_dir: Folder of the data files; it need not exist.
        uploads_dir: Folder of the uploads, created by the first one; None for a library without uploads and samples.
        limits: Limits of reading one file.
        quota: Bytes that all uploads together may take; None for 20 times the largest file.
        listing: How a client can list the data files, as the last clause of an error message.
        ahead: Whether `prepare` keeps a process started for the next file, about 130 MB of memory.
    """

    def __init__(
        self,
        data_dir: Path,
        uploads_dir: Path | None,
        limits: ReadLimits = DEFAULT_LIMITS,
        *,
        quota: int | None = None,
        listing: str = LISTING,
        ahead: bool = False,
    ) -> None:
        self._limits = limits
        self._processes = ReaderProcesses(limits, ahead=ahead)
        self._data_dir = DataDirectory(data_dir, listing=listing)
        quota = _DEFAULT_QUOTA * limits.bytes if quota is None else quota
        self._store = None if uploads_dir is None else UploadStore(uploads_dir, quota)
        self._cache = SingleFlightCache()
        self._slots = BoundedSemaphore(_MAX_CONCURRENT_READS)

    def files(self, limit: int = 1000) -> list[ListedFile]:
        """The files of the data folder; see `DataDirectory.files`."""
        return self._data_dir.files(limit)

    def uploads(self) -> list[Upload]:
        """The uploads, oldest first."""
        return [] if self._store is None else self._store.uploads()

    def clear_leftovers(self) -> None:
        """Remove the copies of files that killed processes left, in the temporary folder and among the uploads."""
        clear_leftovers()
        if self._store is not None:
            clear_leftovers(self._store.folder)

    def prepare(self) -> None:
        """Start a process for the next file in the background, if the library may."""
        self._processes.prepare()

    def close(self) -> None:
        """End the process that waits for the next file."""
        self._processes.close()

    def candles(
        self, reference: str, options: FileOptions = DEFAULT_OPTIONS, spent: SecondsCallback = _ignore
    ) -> Candles:
        """Read the file that a client names.

        Args:
            reference: A path in the data folder, ``upload:`` and an id, or ``sample:`` and a name; always a path in a
                library without uploads.
            options: The client's information about the file.
            spent: Called with the seconds of reading, if this call reads the file.

        Returns:
            The candles, with a symbol; they are shared and must not be modified.

        Raises:
            FileNotListed: If there is no such file.
            DataError: If the file is unusable, or exceeds the limits.
            ParameterError: If an option is invalid.
            StorageError: If there is no space for a copy.
        """
        kind, _, name = reference.partition(":")
        if self._store is not None and kind == "sample":
            return self._read_sample(name, options)
        if self._store is not None and kind == "upload":
            stream, upload = self._store.open(name)
            with stream:
                return self._read(stream, upload.id, upload.name, options, spent)
        stream, name = self._data_dir.open(reference)
        with stream:
            return self._read(stream, content_digest(stream, name, self._limits), name, options, spent)

    def preview(
        self, reference: str, options: FileOptions = DEFAULT_OPTIONS, spent: SecondsCallback = _ignore
    ) -> TablePreview:
        """Return the first rows of the file that a client names; arguments and errors are those of `candles`."""
        kind, _, name = reference.partition(":")
        if self._store is not None and kind == "sample":
            with resources.as_file(resources.files("kronos.samples") / _sample(name).file) as path:
                return preview_table(path, ReadOptions())
        stream, name = self._open(reference)
        started = time.monotonic()
        try:
            with stream, self._slots, stage(stream, name, self._limits) as staged:
                return preview_staged(staged, options, self._limits, self._processes)
        finally:
            spent(time.monotonic() - started)

    def add(
        self,
        stream: Readable,
        name: str,
        options: FileOptions = DEFAULT_OPTIONS,
        spent: SecondsCallback = _ignore,
    ) -> Upload:
        """Store an upload if it can be read.

        Args:
            stream: Its content.
            name: The client's name of the file; its extension must be one of `EXTENSIONS`.
            options: The client's information about the file.
            spent: As for `candles`.

        Returns:
            The upload; the same content is the same upload.

        Raises:
            DataError: If the file is unusable, or exceeds the limits.
            ParameterError: If an option is invalid, or the library has no uploads.
            StorageError: If there is no space.
        """
        name, store = sanitize_name(name), self._upload_store()
        store.prepare()
        with stage(stream, name, self._limits, store.folder) as staged:

            def read() -> Candles:
                with self._slots:
                    return self._parse(staged, options, spent)

            self._cache.get((staged.digest, name, options), read)
            return store.add(staged)

    def remove(self, id: str) -> None:
        """Remove an upload.

        Raises:
            FileNotListed: If there is no such upload.
            ParameterError: If the library has no uploads.
            StorageError: If the file system refuses.
        """
        self._upload_store().remove(id)
        self._cache.discard(id)

    def _open(self, reference: str) -> tuple[BinaryIO, str]:
        """Open a data file or an upload; returns also the client's name of it."""
        kind, _, name = reference.partition(":")
        if self._store is not None and kind == "upload":
            stream, upload = self._store.open(name)
            return stream, upload.name
        return self._data_dir.open(reference)

    def _upload_store(self) -> UploadStore:
        if self._store is None:
            raise ParameterError("Uploads are not available here: put the file into the data folder instead.")
        return self._store

    def _read(self, stream: BinaryIO, digest: str, name: str, options: FileOptions, spent: SecondsCallback) -> Candles:
        def read() -> Candles:
            stream.seek(0)
            # The copy is made inside the slot too, so that waiting requests take no disk space.
            with self._slots, stage(stream, name, self._limits) as staged:
                if staged.digest != digest:
                    raise DataError(f"{truncate(name, 80)} has changed since it was opened or uploaded: try again.")
                return self._parse(staged, options, spent)

        return self._cache.get((digest, name, options), read)

    def _parse(self, staged: StagedFile, options: FileOptions, spent: SecondsCallback) -> Candles:
        started = time.monotonic()
        try:
            candles = parse_staged(staged, options, self._limits, self._processes)
        finally:
            spent(time.monotonic() - started)
        return candles if candles.symbol else replace(candles, symbol=file_stem(staged.name, EXTENSIONS) or staged.name)

    def _read_sample(self, name: str, options: FileOptions) -> Candles:
        """Read a sample in this process, since it is trusted; only its symbol and calendar can be chosen."""
        sample = _sample(name)
        if options.interval or options.timezone or options.columns:
            raise ParameterError("The sample has hourly candles in UTC: leave out interval, timezone and columns.")

        def read() -> Candles:
            with resources.as_file(resources.files("kronos.samples") / sample.file) as path:
                symbol = options.symbol or sample.symbol
                return read_candles(path, symbol=symbol, timezone=sample.timezone, calendar=options.calendar)

        return self._cache.get((f"sample:{name}", sample.file, options), read)


def _sample(name: str) -> SampleFile:
    """Look up a sample.

    Raises:
        FileNotListed: If there is none of this name.
    """
    sample = SAMPLES.get(name)
    if sample is None:
        known = ", ".join(f"sample:{known}" for known in SAMPLES)
        raise FileNotListed(f"There is no sample '{truncate(name, 80)}': choose {known}.")
    return sample

"""Everything a client can name candles by: files in the data folder, uploads, and the sample that ships.

- One content is read once for each name and set of options, however many ask; at most two are read at a time.
- Synchronous and safe in threads; whoever serves calls it in one.
- Candles without a symbol are called what their file is called.
- A library without uploads, such as an assistant's, knows the data folder and nothing beside it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from threading import BoundedSemaphore, Lock
from types import MappingProxyType
from typing import BinaryIO

from kronos.candles import Candles, read_candles
from kronos.errors import DataError, ParameterError
from kronos.formatting import truncate
from kronos.sandbox.data_dir import LISTING, DataDirectory, FileNotListed, ListedFile, stem
from kronos.sandbox.limits import AS_THEY_ARE, USUAL, FileOptions, ReadLimits
from kronos.sandbox.reader import parse_staged
from kronos.sandbox.staging import Readable, Staged, digest_of, stage
from kronos.sandbox.uploads import Upload, UploadStore, clean_name

Key = tuple[str, str, FileOptions]


class SingleFlightCache:
    """Candles by content, name and options; safe in threads.

    Args:
        entries: How many results are kept.
        rows: How many rows they may have in all; a row takes 56 bytes.
    """

    def __init__(self, entries: int = 16, rows: int = 2_000_000) -> None:
        self._entries, self._rows = entries, rows
        self._kept: OrderedDict[Key, Candles] = OrderedDict()
        self._making: dict[Key, Future[Candles]] = {}
        self._lock = Lock()

    def get(self, key: Key, make: Callable[[], Candles]) -> Candles:
        """The kept result, or the one that ``make`` gives."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            waiting = self._making.get(key)
            if waiting is None:
                mine = self._making[key] = Future()
        return self._made(key, make, mine) if waiting is None else waiting.result()

    def forget(self, digest: str) -> None:
        """Keep no result of that content any longer."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == digest]:
                del self._kept[key]

    def _made(self, key: Key, make: Callable[[], Candles], promise: Future[Candles]) -> Candles:
        try:
            made = make()
        except BaseException as error:
            with self._lock:
                del self._making[key]
            promise.set_exception(error)
            raise
        with self._lock:
            del self._making[key]
            self._kept[key] = made
            while len(self._kept) > self._entries or sum(map(len, self._kept.values())) > self._rows:
                self._kept.popitem(last=False)
        promise.set_result(made)
        return made


Spent = Callable[[float], object]

_AT_A_TIME = 2
_QUOTA = 20  # times what one file may have


def _nobody(_: float) -> None:
    """Nobody counts the seconds."""


@dataclass(frozen=True, slots=True)
class SampleFile:
    """A file of candles that ships.

    Attributes:
        file: Its name in `kronos.samples`.
        symbol: What the instrument is called.
        timezone: Of its times.
    """

    file: str
    symbol: str
    timezone: str


SAMPLES: Mapping[str, SampleFile] = MappingProxyType(
    {"simulated_btc_1h": SampleFile("simulated_btc_1h.csv", "BTC simulated", "UTC")}
)


class FileLibrary:
    """Files, uploads and samples.

    Args:
        data_dir: The folder whose files clients may name; it need not exist.
        uploads_dir: The folder that uploads are kept in, made when the first comes; None where clients may name files
            of the data folder only, and hand over nothing.
        limits: What one file may cost.
        quota: Bytes that the uploads may take together; None for 20 times the largest.
        listing: The half of a sentence that tells a client how to see which data files there are.
    """

    def __init__(
        self,
        data_dir: Path,
        uploads_dir: Path | None,
        limits: ReadLimits = USUAL,
        *,
        quota: int | None = None,
        listing: str = LISTING,
    ) -> None:
        self._limits = limits
        self._folder = DataDirectory(data_dir, listing=listing)
        quota = _QUOTA * limits.bytes if quota is None else quota
        self._shelf = None if uploads_dir is None else UploadStore(uploads_dir, quota)
        self._keep = SingleFlightCache()
        self._slots = BoundedSemaphore(_AT_A_TIME)

    def files(self, limit: int = 1000) -> list[ListedFile]:
        """The files of candles in the data folder; see `Folder.files`."""
        return self._folder.files(limit)

    def uploads(self) -> list[Upload]:
        """The uploads, the oldest first."""
        return [] if self._shelf is None else self._shelf.all()

    def candles(self, reference: str, options: FileOptions = AS_THEY_ARE, spent: Spent = _nobody) -> Candles:
        """Read what a client named.

        Args:
            reference: A path in the data folder, ``upload:`` and its id, or ``sample:`` and its name; always a path
                where the library has no uploads.
            options: What the client knows better than the file.
            spent: Called with the seconds that reading took, if this call is the one that has it read.

        Returns:
            The candles, which have a symbol; they are shared and not to be changed.

        Raises:
            NotHere: If nothing of that name is here.
            DataError: If it cannot be used, or reading it takes too much.
            ParameterError: If an option is wrong.
            StorageError: If there is no room for a copy.
        """
        kind, _, rest = reference.partition(":")
        if self._shelf is not None and kind == "sample":
            return self._sample(rest, options)
        if self._shelf is not None and kind == "upload":
            stream, upload = self._shelf.open(rest)
            with stream:
                return self._read(stream, upload.id, upload.name, options, spent)
        stream, name = self._folder.open(reference)
        with stream:
            return self._read(stream, digest_of(stream, name, self._limits), name, options, spent)

    def add(self, stream: Readable, name: str, options: FileOptions = AS_THEY_ARE, spent: Spent = _nobody) -> Upload:
        """Keep a file that a client hands over, once it has been read without complaint.

        Args:
            stream: Its content.
            name: What the client calls it; its ending has to tell the format.
            options: What the client knows better than the file.
            spent: As for `candles`.

        Returns:
            The upload; the same content is the same upload.

        Raises:
            DataError: If it cannot be used, is too large, or reading it takes too much.
            ParameterError: If an option is wrong, or the library has no uploads.
            StorageError: If there is no room.
        """
        name, shelf = clean_name(name), self._uploads()
        shelf.prepare()
        with stage(stream, name, self._limits, shelf.folder) as staged:

            def read() -> Candles:
                with self._slots:
                    return self._parsed(staged, options, spent)

            self._keep.get((staged.digest, name, options), read)
            return shelf.keep(staged)

    def remove(self, id: str) -> None:
        """Remove an upload.

        Raises:
            NotHere: If there is none of that id.
            ParameterError: If the library has no uploads.
            StorageError: If the disk refuses.
        """
        self._uploads().remove(id)
        self._keep.forget(id)

    def _uploads(self) -> UploadStore:
        """Where uploads are kept.

        Raises:
            ParameterError: If the library has none.
        """
        if self._shelf is None:
            raise ParameterError("No uploads are kept here; put the file into the data folder instead.")
        return self._shelf

    def _read(self, stream: BinaryIO, digest: str, name: str, options: FileOptions, spent: Spent) -> Candles:
        def read() -> Candles:
            stream.seek(0)
            # The copy is made in the slot as well, so that those who wait take no room on the disk.
            with self._slots, stage(stream, name, self._limits) as staged:
                if staged.digest != digest:
                    raise DataError(
                        f"{truncate(name, 80)} was changed while it was read or kept; try again or replace it."
                    )
                return self._parsed(staged, options, spent)

        return self._keep.get((digest, name, options), read)

    def _parsed(self, staged: Staged, options: FileOptions, spent: Spent) -> Candles:
        started = time.monotonic()
        try:
            candles = parse_staged(staged, options, self._limits)
        finally:
            spent(time.monotonic() - started)
        return candles if candles.symbol else replace(candles, symbol=stem(staged.name) or staged.name)

    def _sample(self, name: str, options: FileOptions) -> Candles:
        """The sample; it is ours, so it is read here, and what is known of it cannot be said otherwise."""
        sample = SAMPLES.get(name)
        if sample is None:
            known = ", ".join(f"sample:{known}" for known in SAMPLES)
            raise FileNotListed(f"There is no sample '{truncate(name, 80)}'; there is {known}.")
        if options.interval or options.timezone or options.columns:
            raise ParameterError("The sample has hourly candles in UTC; leave out interval, timezone and columns.")

        def read() -> Candles:
            with resources.as_file(resources.files("kronos.samples") / sample.file) as path:
                symbol = options.symbol or sample.symbol
                return read_candles(path, symbol=symbol, timezone=sample.timezone, calendar=options.calendar)

        return self._keep.get((f"sample:{name}", sample.file, options), read)

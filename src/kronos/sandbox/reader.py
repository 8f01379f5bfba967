"""Read a client's file in a separate process, which may run out of memory or crash alone.

- The file is first staged: a bounded copy with a random name, which is what the process reads.
- The process has a clean environment, one thread, limits that it sets itself, and a deadline that is enforced here.
- Its result is text and plain numbers of bounded length; a result that cannot be decoded counts as a crash.
- The copy is in a private folder, which its process holds a lock on: folders without it were left by killed processes
  and are removed when a server starts.
- Its messages contain the random name of the copy, which is replaced by the client's name here.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from kronos import errors
from kronos.candles import COLUMNS, Candles, Finding
from kronos.candles.candles import SIMULATED_PREFIX
from kronos.candles.previews import MAX_CELL, MAX_LINE, TablePreview
from kronos.errors import DataError, KronosError, StorageError
from kronos.formatting import Message, os_error_reason, truncate
from kronos.intervals import Interval
from kronos.sandbox.content_limits import DEFAULT_LIMITS, DEFAULT_OPTIONS, FileOptions, ReadLimits
from kronos.sandbox.data_dir import file_extension
from kronos.sandbox.processes import ReaderProcesses
from kronos.sandbox.worker import OUT_OF_MEMORY
from kronos.typing import IntArray

FOLDER_PREFIX = ".kronos-"  # of the private folders
_LOCK_NAME = ".lock"
_UNLOCKED_SECONDS = 3600.0  # age of abandoned folders without a lock
_NEW_SECONDS = 1.0  # younger folders may not be locked yet
_CHUNK = 1 << 20
_BINARY_FORMATS = (b"PAR1", b"ARROW1", b"FEA1", b"\x1f\x8b", b"PK\x03\x04", b"\xff\xfe", b"\xfe\xff")


class Readable(Protocol):
    """A stream of bytes: a file, or the body of an upload."""

    def read(self, n: int, /) -> bytes:
        """Read at most ``n`` bytes; empty at the end."""


class UnreadableFileError(DataError):
    """A file that cannot be read as candles, although it has rows.

    Attributes:
        preview: Its first rows, for the person who knows what they mean.
    """

    def __init__(self, message: str, preview: TablePreview) -> None:
        """Create the error."""
        super().__init__(message)
        self.preview = preview


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A copy of a client's file.

    Attributes:
        folder: Its private folder.
        file: Its name in the folder.
        name: The client's name of the file.
        digest: SHA-256 of the content, in hexadecimal digits.
        size: Bytes.
    """

    folder: Path
    file: str
    name: str
    digest: str
    size: int

    @property
    def path(self) -> Path:
        """Path of the copy."""
        return self.folder / self.file


@contextmanager
def stage(stream: Readable, name: str, limits: ReadLimits, parent: Path | None = None) -> Iterator[StagedFile]:
    """Copy a client's file for the duration of a block.

    Args:
        stream: Its content, from the current position.
        name: The client's name of the file.
        limits: Limit of its size.
        parent: Folder for the private folder; None for the system's temporary folder.

    Yields:
        The copy.

    Raises:
        DataError: If the content is too large, a pickle, or in no supported format.
        StorageError: If the file system refuses.
    """
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(private_folder(parent))
        except OSError as error:
            raise storage_error(name, error) from error
        label = f"{SIMULATED_PREFIX}_" if name.lower().startswith(SIMULATED_PREFIX) else ""
        file = f"{label}{secrets.token_hex(8)}{file_extension(name)}"
        digest, size = _copy(stream, folder / file, name, limits)
        yield StagedFile(folder, file, name, digest, size)


@contextmanager
def private_folder(parent: Path | None = None) -> Iterator[Path]:
    """Create a folder for the duration of a block; `clear_leftovers` removes it if the process is killed.

    Args:
        parent: Folder for it; None for the system's temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, dir=parent, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        lock = _lock(folder, os.O_CREAT)
        try:
            yield folder
        finally:
            if lock is not None:
                os.close(lock)


def clear_leftovers(parent: Path | None = None) -> None:
    """Remove the private folders of this user's processes that no longer exist.

    Args:
        parent: Folder to search; None for the system's temporary folder.
    """
    for folder in (Path(tempfile.gettempdir()) if parent is None else parent).glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):
            if _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _lock(folder: Path, flags: int = 0) -> int | None:
    """Lock a private folder until the handle is closed, at the latest with this process; None if that fails.

    Raises:
        FileNotFoundError: If it has no lock file, and ``flags`` do not create one.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    handle = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_NOFOLLOW | flags, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # locked by a running process, or a file system without locks
        os.close(handle)
        return None
    return handle


def _is_abandoned(folder: Path) -> bool:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or (sys.platform != "win32" and status.st_uid != os.getuid()):
        return False
    age = time.time() - status.st_mtime
    try:
        lock = _lock(folder)
    except FileNotFoundError:
        return age > _UNLOCKED_SECONDS
    if lock is None:
        return sys.platform == "win32" and age > _UNLOCKED_SECONDS
    os.close(lock)
    return age > _NEW_SECONDS


def content_digest(stream: Readable, name: str, limits: ReadLimits) -> str:
    """SHA-256 of a content, in hexadecimal digits.

    Raises:
        DataError: If the content is too large, a pickle, or in no supported format.
    """
    return _transfer(stream, lambda _: None, name, limits)[0]


def storage_error(name: str, error: OSError) -> StorageError:
    """Error for a file that cannot be written; the message does not contain the path."""
    return StorageError(
        f"{truncate(name, 80)} cannot be stored ({os_error_reason(error)}): check the free space and the permissions."
    )


def _copy(stream: Readable, path: Path, name: str, limits: ReadLimits) -> tuple[str, int]:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(handle, "wb") as target:
            return _transfer(stream, target.write, name, limits)
    except OSError as error:
        raise storage_error(name, error) from error


def _transfer(stream: Readable, write: Callable[[bytes], object], name: str, limits: ReadLimits) -> tuple[str, int]:
    """Write a stream in chunks; returns its digest and size."""
    sha, size = hashlib.sha256(), 0
    while chunk := stream.read(min(_CHUNK, limits.bytes + 1 - size)):
        if not size:
            _check_format(chunk, name)
        size += len(chunk)
        if size > limits.bytes:
            limit = f"{limits.bytes / 2**20:g} MiB"
            raise DataError(f"{truncate(name, 80)} is larger than the limit of {limit} per file: split it.")
        sha.update(chunk)
        write(chunk)
    return sha.hexdigest(), size


def _check_format(start: bytes, name: str) -> None:
    """Reject pickles and unknown binary formats by their first bytes; the reader checks the rest."""
    if start.startswith(b"\x80"):
        raise DataError(
            f"{truncate(name, 80)} is a pickle, which can run code and is never opened: save it as Parquet or CSV."
        )
    if b"\0" in start and not start.startswith(_BINARY_FORMATS):
        raise DataError(
            f"{truncate(name, 80)} is neither text nor a Parquet or Feather file: save the candles as UTF-8 CSV."
        )


_MAX_REPLY = 4 << 20  # bytes
_MAX_MESSAGE = 1000  # characters
_MAX_VALUE = 200
_MAX_VALUES = 12


def parse(
    path: Path,
    options: FileOptions = DEFAULT_OPTIONS,
    limits: ReadLimits = DEFAULT_LIMITS,
    *,
    name: str | None = None,
) -> Candles:
    """Read a file like `kronos.candles.read_candles`, but in a limited process.

    Args:
        path: The file; the caller has checked that the client may read it.
        options: The client's information about the file.
        limits: Limits of reading.
        name: The client's name of the file; None for its own name.

    Returns:
        The same candles as `read_candles`.

    Raises:
        DataError: If the file is unusable, or exceeds the limits.
        ParameterError: If an option is invalid.
        StorageError: If there is no space for a copy, or no process can be started.
    """
    name = path.name if name is None else name
    try:
        stream = path.open("rb")
    except OSError as error:
        raise DataError(
            f"{truncate(name, 80)} cannot be read ({os_error_reason(error)}): check its path and permissions."
        ) from error
    with stream, stage(stream, name, limits) as staged:
        return parse_staged(staged, options, limits)


def parse_staged(
    staged: StagedFile, options: FileOptions, limits: ReadLimits, processes: ReaderProcesses | None = None
) -> Candles:
    """Read a staged copy; see `parse`.

    Args:
        staged: The copy.
        options: The client's information about the file.
        limits: Limits of reading.
        processes: Where its process comes from; None starts one.
    """
    reply = _process(staged, options, limits, processes)
    try:
        return _decode_candles(reply, staged)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _crash(staged.name, 0, limits) from error


def preview_staged(
    staged: StagedFile, options: FileOptions, limits: ReadLimits, processes: ReaderProcesses | None = None
) -> TablePreview:
    """Return the first rows of a staged copy as they are written; arguments and errors are those of `parse_staged`."""
    reply = _process(staged, options, limits, processes, preview=True)
    preview = _decode_preview(reply["preview"])
    if preview is None:
        raise _crash(staged.name, 0, limits)
    return preview


def _process(
    staged: StagedFile,
    options: FileOptions,
    limits: ReadLimits,
    processes: ReaderProcesses | None,
    *,
    preview: bool = False,
) -> dict[str, Any]:
    """Have a process read a copy; returns its reply.

    Raises:
        KronosError: If it cannot be read.
    """
    request = {"file": staged.file, "options": asdict(options), "preview": preview}
    try:
        (staged.folder / "request.json").write_text(json.dumps(request), "utf-8")
        status = (processes or ReaderProcesses(limits)).run(staged.folder)
    except OSError as error:
        raise StorageError(
            f"{truncate(staged.name, 80)} cannot be read now ({os_error_reason(error)}): try again later."
        ) from error
    if status != 0:
        raise _crash(staged.name, status, limits)
    try:
        reply = _load_reply(staged.folder)
        failure = _decode_error(reply, staged) if "error" in reply else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _crash(staged.name, status, limits) from error
    if failure is not None:
        raise failure
    return reply


def _load_reply(folder: Path) -> dict[str, Any]:
    with (folder / "reply.json").open("rb") as stream:
        data = stream.read(_MAX_REPLY + 1)
    if len(data) > _MAX_REPLY:
        raise ValueError("the reply is too long")
    reply = json.loads(data)
    if not isinstance(reply, dict):
        raise TypeError("the reply is not an object")
    return reply


def _decode_candles(reply: dict[str, Any], staged: StagedFile) -> Candles:
    rows, dropped = reply["index"]["length"], reply["dropped"]["length"]
    data = (staged.folder / "candles.bin").read_bytes()
    if len(data) != 8 * (rows * (1 + len(COLUMNS)) + dropped):
        raise ValueError("the amount of numbers does not match the reply")
    stamps = np.frombuffer(data, "<i8", rows + dropped).astype(np.int64)
    values = np.frombuffer(data, "<f8", rows * len(COLUMNS), 8 * (rows + dropped)).astype(np.float64)
    index = _decode_index(stamps[:rows], reply["index"])
    findings = [
        Finding(code, severity, _decode_message(message, staged), tuple(lines), count)
        for code, severity, message, lines, count in reply["findings"]
    ]
    return Candles(
        frame=pd.DataFrame(values.reshape(rows, len(COLUMNS)), columns=list(COLUMNS), index=index),
        symbol=reply["symbol"],
        interval=Interval(*reply["interval"]),
        timezone=reply["timezone"],
        calendar=reply["calendar"],
        findings=tuple(findings),
        source=staged.name if reply["source"] == staged.file else reply["source"],
        simulated=reply["simulated"],
        has_volume=reply["has_volume"],
        has_amount=reply["has_amount"],
        dropped=_decode_index(stamps[rows:], reply["dropped"]),
    )


def _decode_index(stamps: IntArray, description: dict[str, Any]) -> pd.DatetimeIndex:
    times = pd.DatetimeIndex(stamps.view(f"M8[{description['unit']}]"), name=description["name"])
    zone = description["timezone"]
    return times if zone is None else times.tz_localize("UTC").tz_convert(zone)


def _restore_name(message: str, staged: StagedFile) -> str:
    """Replace the name of the copy by the client's name."""
    return message.replace(staged.file, truncate(staged.name, 80))


def _decode_error(reply: dict[str, Any], staged: StagedFile) -> KronosError:
    """The worker's error, of the same class."""
    message = _decode_message(reply["message"], staged)
    named = getattr(errors, str(reply["error"]), None)
    error_class = named if isinstance(named, type) and issubclass(named, KronosError) else DataError
    preview = _decode_preview(reply.get("preview"))
    if error_class is DataError and preview is not None:
        return UnreadableFileError(message, preview)
    return error_class(message)


def _decode_message(parts: list[Any], staged: StagedFile) -> Message:
    text, kind, values = parts
    named = {str(name): _decode_value(value, staged) for name, value in list(values.items())[:_MAX_VALUES]}
    # Truncated to printable text, since some messages repeat an option.
    return Message.restore(truncate(_restore_name(str(text), staged), _MAX_MESSAGE), truncate(kind, 60), named)


def _decode_value(value: object, staged: StagedFile) -> str | int:
    return value if isinstance(value, int) else truncate(_restore_name(str(value), staged), _MAX_VALUE)


def _decode_preview(document: Any) -> TablePreview | None:
    """The first rows of a file, or None if they are not as `TablePreview` says, or too many."""
    try:
        preview = TablePreview(
            labels=tuple(truncate(label, MAX_CELL) for label in document["labels"]),
            references=tuple(truncate(reference, _MAX_VALUE) for reference in document["references"]),
            roles=tuple(truncate(role, MAX_CELL) for role in document["roles"]),
            rows=tuple(tuple(truncate(cell, MAX_LINE) for cell in row) for row in document["rows"]),
            first=int(document["first"]),
            columns=int(document["columns"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
    return preview if preview.is_bounded else None


def _crash(name: str, status: int | None, limits: ReadLimits) -> DataError:
    """Error for a worker without a usable reply."""
    file = truncate(name, 80)
    if status is None or (os.name == "posix" and status == -signal.SIGXCPU):
        return DataError(f"{file} takes longer to read than the limit of {limits.seconds:g} s per file: split it.")
    # The system sends SIGKILL if the machine runs out of memory.
    if status == OUT_OF_MEMORY or (os.name == "posix" and status == -signal.SIGKILL):
        return DataError(f"{file} needs more memory than the limit of {limits.memory_mb:,} MB per file: split it.")
    return DataError(
        f"Reading {file} failed: it is damaged, or needs more than {limits.memory_mb:,} MB of memory; write it again "
        f"or split it."
    )

"""Copies of clients' files for a limited process: hashed, bounded, under generated names.

- The name of a copy is random, with the extension of the client's name and the label of simulated candles; no other
  text of the client reaches the file system.
- The folder of a copy is private, and removed with its content when the block ends.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kronos.candles.candles import SIMULATED_PREFIX
from kronos.errors import DataError, StorageError
from kronos.formatting import os_error_reason, truncate
from kronos.sandbox.data_dir import file_extension
from kronos.sandbox.limits import ReadLimits

FOLDER_PREFIX = ".kronos-"  # of the private folders
_CHUNK = 1 << 20
_BINARY_FORMATS = (b"PAR1", b"ARROW1", b"FEA1", b"\x1f\x8b", b"PK\x03\x04", b"\xff\xfe", b"\xfe\xff")


class Readable(Protocol):
    """A stream of bytes: a file, or the body of an upload."""

    def read(self, n: int, /) -> bytes:
        """Read at most ``n`` bytes; empty at the end."""


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
    try:
        private = tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise storage_error(name, error) from error
    with private as folder:
        label = f"{SIMULATED_PREFIX}_" if name.lower().startswith(SIMULATED_PREFIX) else ""
        file = f"{label}{secrets.token_hex(8)}{file_extension(name)}"
        digest, size = _copy(stream, Path(folder, file), name, limits)
        yield StagedFile(Path(folder), file, name, digest, size)


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

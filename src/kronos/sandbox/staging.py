"""Copying a client's bytes to where a limited process reads them: hashed, bounded, under a name of ours.

- The copy's name is ours, with a random part, an ending that promises the same format as the client's, and the label
  of simulated candles; no text of the client's reaches the file system.
- The folder is private and goes with everything in it when the block ends.
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

from kronos.candles.candles import SIMULATED
from kronos.errors import DataError, StorageError
from kronos.formatting import truncate
from kronos.sandbox.data_dir import ending
from kronos.sandbox.limits import ReadLimits

PREFIX = ".kronos-"  # of the folders, wherever they are
_CHUNK = 1 << 20
_KNOWN = (b"PAR1", b"ARROW1", b"FEA1", b"\x1f\x8b", b"PK\x03\x04", b"\xff\xfe", b"\xfe\xff")


class Readable(Protocol):
    """Whatever gives bytes: a file, an upload's body."""

    def read(self, n: int, /) -> bytes:
        """At most ``n`` bytes; none at the end."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A copy of a client's file.

    Attributes:
        folder: The private folder it is in.
        file: Its name there.
        name: What the client calls it.
        digest: SHA-256 of its content, in hexadecimal digits.
        size: Bytes.
    """

    folder: Path
    file: str
    name: str
    digest: str
    size: int

    @property
    def path(self) -> Path:
        """The copy."""
        return self.folder / self.file


@contextmanager
def stage(stream: Readable, name: str, limits: ReadLimits, within: Path | None = None) -> Iterator[Staged]:
    """Copy a client's file for the time of a block.

    Args:
        stream: Its content, from where it stands.
        name: What the client calls it.
        limits: How large it may be.
        within: The folder to make the private one in; else the system's for temporary files.

    Yields:
        The copy.

    Raises:
        DataError: If the content is too large, a pickle, or no format of candles.
        StorageError: If the disk refuses.
    """
    try:
        room = tempfile.TemporaryDirectory(prefix=PREFIX, dir=within, ignore_cleanup_errors=True)
    except OSError as error:
        raise refused(name, error) from error
    with room as folder:
        label = f"{SIMULATED}_" if name.lower().startswith(SIMULATED) else ""
        file = f"{label}{secrets.token_hex(8)}{ending(name)}"
        digest, size = _copy(stream, Path(folder, file), name, limits)
        yield Staged(Path(folder), file, name, digest, size)


def digest_of(stream: Readable, name: str, limits: ReadLimits) -> str:
    """SHA-256 of a content, in hexadecimal digits.

    Raises:
        DataError: If it is too large.
    """
    return _pump(stream, lambda _: None, name, limits)[0]


def refused(name: str, error: OSError) -> StorageError:
    """What to say when the disk refuses, without the path."""
    why = error.strerror or type(error).__name__
    return StorageError(f"{truncate(name, 80)} cannot be kept on the disk ({why}); free some space or mend its rights.")


def _copy(stream: Readable, path: Path, name: str, limits: ReadLimits) -> tuple[str, int]:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(handle, "wb") as target:
            return _pump(stream, target.write, name, limits)
    except OSError as error:
        raise refused(name, error) from error


def _pump(stream: Readable, write: Callable[[bytes], object], name: str, limits: ReadLimits) -> tuple[str, int]:
    """Hand a stream on in pieces, and tell its digest and its size."""
    sha, size = hashlib.sha256(), 0
    while piece := stream.read(min(_CHUNK, limits.bytes + 1 - size)):
        if not size:
            _refuse_foreign(piece, name)
        size += len(piece)
        if size > limits.bytes:
            most = f"{limits.bytes / 2**20:g} MiB"
            raise DataError(f"{truncate(name, 80)} has more than the {most} that one file may have; split it.")
        sha.update(piece)
        write(piece)
    return sha.hexdigest(), size


def _refuse_foreign(start: bytes, name: str) -> None:
    """Refuse what can be told from its first bytes; reading tells the rest, and everything again."""
    if start.startswith(b"\x80"):
        raise DataError(
            f"{truncate(name, 80)} is a pickle, which can run code and is never opened; save it as Parquet or CSV."
        )
    if b"\0" in start and not start.startswith(_KNOWN):
        raise DataError(
            f"{truncate(name, 80)} is neither text nor a Parquet or Feather file; save the candles as UTF-8 CSV."
        )

"""The data folder: list its candle files, and open those that a client names without leaving the folder.

- Names are taken literally: no percent decoding, no ``..``. Other names are rejected. Clients see names in composed
  form (NFC), since no person can tell it from the decomposed one in which macOS stores names; both open the file.
- Folders are opened relative to their parent's handle and symbolic links are never followed, so that a link swapped in
  between leads nowhere.
- All rejections have the same message, which does not reveal whether a file exists outside.
- Exactly the listed files can be opened.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import BinaryIO

from kronos.errors import DataError
from kronos.formatting import truncate

EXTENSIONS = (".csv", ".txt", ".tsv", ".json", ".jsonl", ".gz", ".zip", ".parquet", ".pq", ".feather", ".arrow", ".ftr")
LISTING = "GET /api/data-files lists them"
_POSIX = os.name == "posix"
_MAX_DEPTH = 8  # parts of a path
_MAX_PATH = 1_024  # characters of a path
_MAX_ENTRIES = 50_000  # directory entries read per listing
_MAX_TIMESTAMP = 253_402_300_799  # end of the year 9999, the last one of datetime

# POSIX paths of at least two parts, Windows paths and file URLs, but not URLs such as https://host/path. Names of
# folders may have spaces: some words of a sentence too many are cut rather than one of a path too few.
_PATH_PATTERN = re.compile(
    r"(?:file:/+|(?<![\w:/.])(?:[A-Za-z]:[\\/]|\\\\|/))(?:[^\n'\"<>|,;:*?\\/]+[\\/])+([^\s'\"<>|,;:*?()\\/]*)"
)
_QUOTED_PATH_PATTERN = re.compile(r"(['\"])(?:file:/+)?(?:[A-Za-z]:)?[\\/](?:(?!\1).)*[\\/]((?:(?!\1).)*)\1")


# Errors of a system without free file handles, processes or memory; they say nothing about a file.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})


class FileNotListed(DataError):  # noqa: N818  (reads as HTTP's 404: except FileNotListed)
    """There is no file, upload or sample of the given name that the client may use."""


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A candle file in the data folder.

    Attributes:
        name: Last part of its path.
        path: Path relative to the folder, with ``/``; its name for clients.
        size: Bytes.
        modified: Modification time, ISO 8601 in UTC.
    """

    name: str
    path: str
    size: int
    modified: str


class DataDirectory:
    """The candle files below a folder, which need not exist.

    Args:
        root: The folder; the operator chose it, so it may be a symbolic link.
        listing: How a client can list the files, as the last clause of an error message.
    """

    def __init__(self, root: Path, *, listing: str = LISTING) -> None:
        self._root = root
        self._listing = listing

    def files(self, limit: int = 1000) -> list[ListedFile]:
        """The files that can be opened, by path; of more than ``limit`` those nearest to the root."""
        found: list[ListedFile] = []
        paths: set[str] = set()  # one file of two whose names differ in their form only
        queue: list[tuple[str, ...]] = [()]
        remaining = _MAX_ENTRIES
        while queue and remaining > 0 and len(found) < limit:
            parts = queue.pop(0)
            entries = self._entries(parts, remaining)
            remaining -= len(entries) + 1
            for stored, status in entries:
                name = unicodedata.normalize("NFC", stored)
                path = "/".join((*parts, name))
                if stat.S_ISDIR(status.st_mode) and len(parts) + 2 <= _MAX_DEPTH:
                    queue.append((*parts, name))
                elif stat.S_ISREG(status.st_mode) and _split_path(path) is not None and path not in paths:
                    paths.add(path)
                    found.append(ListedFile(name, path, status.st_size, utc_text(status.st_mtime)))
        return sorted(found[:limit], key=lambda file: file.path)

    def open(self, path: str) -> tuple[BinaryIO, str]:
        """Open a file that a client names.

        Args:
            path: Path relative to the folder, as listed.

        Returns:
            The file, which the caller closes, and its name: the last part of the path.

        Raises:
            FileNotListed: If there is no such file among the listed ones.
        """
        parts = _split_path(path)
        if parts is not None:
            try:
                return self._open(parts), parts[-1]
            except (OSError, ValueError) as error:  # ValueError: the name cannot be encoded for the file system
                if is_exhausted(error):
                    raise
        raise FileNotListed(f"There is no data file '{truncate(path, 80)}'; {self._listing}.")

    def _open(self, parts: tuple[str, ...]) -> BinaryIO:
        # O_NONBLOCK: opening a pipe would block until another process writes into it.
        flags = os.O_RDONLY | (os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY if _POSIX else getattr(os, "O_BINARY", 0))
        with self._open_folder(parts[:-1]) as folder:
            if isinstance(folder, int):
                handle = os.open(_stored_name(folder, parts[-1]), flags, dir_fd=folder)
            else:
                handle = os.open(_without_links(folder, folder / parts[-1]), flags)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError("not a regular file")
            return os.fdopen(handle, "rb")
        except BaseException:
            os.close(handle)
            raise

    def _entries(self, parts: tuple[str, ...], limit: int) -> list[tuple[str, os.stat_result]]:
        """Names and states in a folder, without hidden files and links; empty if it cannot be read."""
        found = []
        try:
            with self._open_folder(parts) as folder, os.scandir(folder) as entries:
                for entry, _ in zip(entries, range(limit), strict=False):
                    with suppress(OSError):
                        if not entry.name.startswith(".") and not entry.is_symlink():
                            found.append((entry.name, entry.stat(follow_symlinks=False)))
        except OSError as error:
            if is_exhausted(error):
                raise
        return sorted(found, key=lambda item: item[0])

    @contextmanager
    def _open_folder(self, parts: tuple[str, ...]) -> Iterator[int | Path]:
        """A folder below the root: a handle opened without following links or, on systems without them, a path."""
        if not _POSIX:
            yield _without_links(self._root, self._root.joinpath(*parts))
            return
        handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts:
                stored = _stored_name(handle, part)
                outer, handle = handle, os.open(stored, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
                os.close(outer)
            yield handle
        finally:
            os.close(handle)


def is_exhausted(error: BaseException | None) -> bool:
    """Whether an error says that the system has no free threads, processes, memory or file handles."""
    if isinstance(error, RuntimeError):
        return "start new thread" in str(error)
    return isinstance(error, OSError) and error.errno in _EXHAUSTED


def file_extension(name: str) -> str:
    """A file name's last extension in lower case if it is one of `EXTENSIONS`, else an empty string."""
    suffix = PurePath(name).suffix.lower()
    return suffix if suffix in EXTENSIONS else ""


def utc_text(seconds: float) -> str:
    """ISO 8601 text, in UTC, of seconds since 1970."""
    return datetime.fromtimestamp(min(max(seconds, 0), _MAX_TIMESTAMP), UTC).isoformat(timespec="seconds")


def _split_path(text: str) -> tuple[str, ...] | None:
    """The parts of a path; None if it is not written as listed."""
    if not 0 < len(text) <= _MAX_PATH or "\\" in text or re.match("[A-Za-z]:", text):
        return None
    # Control characters, NUL, direction marks and lone surrogates are not printable.
    if not text.isprintable() or (":" in text and not _POSIX):
        return None
    parts = tuple(unicodedata.normalize("NFC", text).split("/"))
    # Absolute paths and double slashes have empty parts; hidden names, ``.`` and ``..`` begin with a dot.
    if any(not part or part.startswith(".") for part in parts) or len(parts) > _MAX_DEPTH or not file_extension(text):
        return None
    return parts


def _stored_name(folder: int, name: str) -> str:
    """The name of an entry as the file system stores it: as given or, if there is none, the one with the same NFC."""
    if name.isascii():
        return name
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        alike = (stored for stored in os.listdir(folder) if unicodedata.normalize("NFC", stored) == name)
        return min(alike, default=name)
    return name


def _without_links(root: Path, path: Path) -> Path:
    """A path below the root that has no link in it, for systems without handles of folders."""
    real = root.resolve(strict=True).joinpath(path.relative_to(root))
    if path.resolve(strict=True) != real:
        raise OSError("not inside the folder")
    return real


def redact_paths(text: str) -> str:
    """Reduce absolute paths in a text to their last part."""
    text = _QUOTED_PATH_PATTERN.sub(lambda found: f"{found[1]}{found[2] or '…'}{found[1]}", text)
    return _PATH_PATTERN.sub(lambda found: found.group(1) or "…", text)

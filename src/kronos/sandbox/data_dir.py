"""The data folder: what is in it, and opening what a client names without leaving it.

- Names are taken literally: no percent decoding, no normalising, no ``..``. What is not a plain name is refused.
- Folders are walked by handle and no symbolic link is followed, so that nothing swapped in midway leads outside.
- Every refusal is the same sentence: whether a file exists outside is not told.
- What is listed can be opened, and only that.
"""

from __future__ import annotations

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

ENDINGS = (".csv", ".txt", ".tsv", ".gz", ".zip", ".parquet", ".pq", ".feather", ".arrow", ".ftr")
LISTING = "GET /api/data-files lists them"
_POSIX = os.name == "posix"
_DEEPEST = 8  # parts of a path
_LONGEST = 1_024  # characters of a path
_MOST_ENTRIES = 50_000  # looked at for one listing
_LAST_SECOND = 253_402_300_799  # of the year 9999, after which datetime knows none


class FileNotListed(DataError):  # noqa: N818  (an answer of 404, read as one: except NotHere)
    """A file, upload or sample that a client named does not exist, or is none of its business."""


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of candles in the data folder.

    Attributes:
        name: The last part of its path.
        path: Its path below the folder, with ``/``: what a client names it by.
        size: Bytes.
        modified: When it was last changed, in UTC as ISO text.
    """

    name: str
    path: str
    size: int
    modified: str


class DataDirectory:
    """The files of candles below a folder, which need not exist.

    Args:
        root: The folder. Whoever runs the service chose it, so it may be a symbolic link itself.
        listing: The half of a sentence that tells a client how to see what there is.
    """

    def __init__(self, root: Path, *, listing: str = LISTING) -> None:
        self._root = root
        self._listing = listing

    def files(self, limit: int = 1000) -> list[ListedFile]:
        """What can be opened, in order of the paths; where there is more than ``limit``, what lies less deep."""
        found: list[ListedFile] = []
        waiting: list[tuple[str, ...]] = [()]
        left = _MOST_ENTRIES
        while waiting and left > 0 and len(found) < limit:
            parts = waiting.pop(0)
            entries = self._entries(parts, left)
            left -= len(entries) + 1
            for name, status in entries:
                path = "/".join((*parts, name))
                if stat.S_ISDIR(status.st_mode) and len(parts) + 2 <= _DEEPEST:
                    waiting.append((*parts, name))
                elif stat.S_ISREG(status.st_mode) and _parts(path) is not None:
                    found.append(ListedFile(name, path, status.st_size, utc_text(status.st_mtime)))
        return sorted(found[:limit], key=lambda file: file.path)

    def open(self, text: str) -> tuple[BinaryIO, str]:
        """Open the file that a client named.

        Args:
            text: A path below the folder, as listed.

        Returns:
            The file, which the caller closes, and its name: the last part of the path.

        Raises:
            NotHere: If there is no such file, or it is not one that this folder gives out.
        """
        parts = _parts(text)
        if parts is not None:
            # ValueError: a name that the file system's encoding cannot say.
            with suppress(OSError, ValueError):
                return self._opened(parts), parts[-1]
        raise FileNotListed(f"There is no data file '{truncate(text, 80)}'; {self._listing}.")

    def _opened(self, parts: tuple[str, ...]) -> BinaryIO:
        # O_NONBLOCK: opening a pipe would wait for somebody to write into it.
        flags = os.O_RDONLY | (os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY if _POSIX else getattr(os, "O_BINARY", 0))
        with self._inside(parts[:-1]) as folder:
            if isinstance(folder, int):
                handle = os.open(parts[-1], flags, dir_fd=folder)
            else:
                handle = os.open(_contained(folder, folder / parts[-1]), flags)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError("not a regular file")
            return os.fdopen(handle, "rb")
        except BaseException:
            os.close(handle)
            raise

    def _entries(self, parts: tuple[str, ...], most: int) -> list[tuple[str, os.stat_result]]:
        """Names and states of what a folder holds, without hidden ones and links; nothing if it cannot be read."""
        found = []
        with suppress(OSError), self._inside(parts) as folder, os.scandir(folder) as entries:
            for entry, _ in zip(entries, range(most), strict=False):
                with suppress(OSError):
                    if not entry.name.startswith(".") and not entry.is_symlink():
                        found.append((entry.name, entry.stat(follow_symlinks=False)))
        return sorted(found, key=lambda item: item[0])

    @contextmanager
    def _inside(self, parts: tuple[str, ...]) -> Iterator[int | Path]:
        """A folder below the root: a handle reached without following a link or, where there are none, a path."""
        if not _POSIX:
            yield _contained(self._root, self._root.joinpath(*parts))
            return
        handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts:
                outer, handle = handle, os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
                os.close(outer)
            yield handle
        finally:
            os.close(handle)


def stem(name: str) -> str:
    """A file's name without its endings: ``btc_1h`` for ``btc_1h.csv.gz``."""
    while (suffix := PurePath(name).suffix) and suffix.lower() in ENDINGS:
        name = name.removesuffix(suffix)
    return name


def ending(name: str) -> str:
    """A file name's last ending in lower case if candles are read from such files, else nothing."""
    suffix = PurePath(name).suffix.lower()
    return suffix if suffix in ENDINGS else ""


def utc_text(seconds: float) -> str:
    """A time since the epoch as ISO text in UTC."""
    return datetime.fromtimestamp(min(max(seconds, 0), _LAST_SECOND), UTC).isoformat(timespec="seconds")


def _parts(text: str) -> tuple[str, ...] | None:
    """The parts of a path as listed; None if it is written in any other way."""
    if not 0 < len(text) <= _LONGEST or "\\" in text or re.match("[A-Za-z]:", text):
        return None
    # Not printable are control characters, NUL, marks of direction, lone surrogates.
    if not text.isprintable() or not unicodedata.is_normalized("NFC", text) or (":" in text and not _POSIX):
        return None
    parts = tuple(text.split("/"))
    # Empty parts come of absolute paths and doubled slashes; dots begin hidden names, ``.`` and ``..`` alike.
    if len(parts) > _DEEPEST or any(not part or part.startswith(".") for part in parts) or not ending(text):
        return None
    return parts


def _contained(root: Path, path: Path) -> Path:
    """A path that passes no link on its way from the root; for systems without handles of folders."""
    real = root.resolve(strict=True).joinpath(path.relative_to(root))
    if path.resolve(strict=True) != real:
        raise OSError("not inside the folder")
    return real


def redact_paths(text: str) -> str:
    """The text with absolute paths cut down to their last part."""
    text = _QUOTED_PATH_PATTERN.sub(lambda found: f"{found[1]}{found[2] or '…'}{found[1]}", text)
    return _PATH_PATTERN.sub(lambda found: found.group(1) or "…", text)


# POSIX paths of two parts and more, Windows paths, and file URLs; no address such as https://host/path. Folders' names
# may have spaces: rather a few words of a sentence too many are cut than one of them too few.
_PATH_PATTERN = re.compile(
    r"(?:file:/+|(?<![\w:/.])(?:[A-Za-z]:[\\/]|\\\\|/))(?:[^\n'\"<>|,;:*?\\/]+[\\/])+([^\s'\"<>|,;:*?()\\/]*)"
)


_QUOTED_PATH_PATTERN = re.compile(r"(['\"])(?:file:/+)?(?:[A-Za-z]:)?[\\/](?:(?!\1).)*[\\/]((?:(?!\1).)*)\1")

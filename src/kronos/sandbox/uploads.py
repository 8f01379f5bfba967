"""The folder of uploads: each content once, under its digest, with what the client called it beside it.

- ``<sha256>`` is the content, ``<sha256>.json`` tells name, size and time; neither name comes from a client.
- A content appears by one rename, after it has been read without complaint; a half one is never seen.
- The same content is the same upload and keeps its first name, unless a later one labels it as simulated.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from kronos.candles.candles import SIMULATED
from kronos.errors import DataError, StorageError
from kronos.formatting import truncate
from kronos.sandbox.data_dir import ENDINGS, FileNotListed, ending, utc_text
from kronos.sandbox.staging import PREFIX, Staged, refused

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LONGEST_NAME = 120
_SMALLEST = 4096  # what a file takes on the disk, however short
_MOST = 1000  # uploads; each is looked at to list them
_STALE = 86_400.0  # seconds after which a private folder was left by a process that crashed


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a client handed over.

    Attributes:
        id: SHA-256 of its content, in hexadecimal digits.
        reference: What `Library.candles` knows it by.
        name: What the client called it; text of the client's, to be shown only as text.
        size: Bytes.
        uploaded: When it came first, in UTC as ISO text.
    """

    id: str
    reference: str
    name: str
    size: int
    uploaded: str


class UploadStore:
    """The uploads in a folder; safe in threads.

    Args:
        folder: The folder, made when the first upload comes.
        quota: Bytes that the uploads may take together.
    """

    def __init__(self, folder: Path, quota: int) -> None:
        self.folder = folder
        self._quota = quota
        self._lock = Lock()

    def prepare(self) -> None:
        """Make the folder, and clear what a crash has left in it.

        Raises:
            StorageError: If the disk refuses.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise refused("The folder of uploads", error) from error
        for left in self.folder.glob(f"{PREFIX}*"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _STALE:
                    shutil.rmtree(left, ignore_errors=True)

    def all(self) -> list[Upload]:
        """The uploads, the oldest first."""
        found = [upload for digest in self._digests() if (upload := self._known(digest)) is not None]
        return sorted(found, key=lambda upload: (upload.uploaded, upload.id))

    def open(self, digest: str) -> tuple[BinaryIO, Upload]:
        """Open an upload, which the caller closes.

        Raises:
            NotHere: If there is none of that name.
        """
        upload = self._known(digest) if _DIGEST.fullmatch(digest) else None
        if upload is not None:
            with suppress(OSError):
                return (self.folder / digest).open("rb"), upload
        raise _not_here(digest)

    def keep(self, staged: Staged) -> Upload:
        """Make a copy in this folder an upload.

        Raises:
            StorageError: If the quota is used up, or the disk refuses.
        """
        with self._lock:
            known = self._known(staged.digest)
            if known is not None and not (_is_simulated(staged.name) and not _is_simulated(known.name)):
                return known
            if known is None:
                self._check_room(staged)
            uploaded = utc_text(time.time()) if known is None else known.uploaded
            upload = Upload(staged.digest, f"upload:{staged.digest}", staged.name, staged.size, uploaded)
            try:
                _publish(staged, upload, self.folder)
            except OSError as error:
                raise refused(staged.name, error) from error
            return upload

    def remove(self, digest: str) -> None:
        """Remove an upload.

        Raises:
            NotHere: If there is none of that name.
            StorageError: If the disk refuses.
        """
        if not _DIGEST.fullmatch(digest):
            raise _not_here(digest)
        with self._lock:
            try:
                (self.folder / digest).unlink()
                (self.folder / f"{digest}.json").unlink(missing_ok=True)
            except FileNotFoundError:
                raise _not_here(digest) from None
            except OSError as error:
                why = error.strerror or type(error).__name__
                raise StorageError(f"Upload {digest[:12]}… cannot be removed ({why}); mend its rights.") from error

    def _digests(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.folder) if _DIGEST.fullmatch(name)]  # noqa: PTH208  (names only)
        except OSError:
            return []

    def _known(self, digest: str) -> Upload | None:
        """What is known of an upload; None if it is not whole, which uploading it again mends."""
        try:
            size = (self.folder / digest).stat().st_size
            told = json.loads((self.folder / f"{digest}.json").read_text("utf-8"))
            return Upload(digest, f"upload:{digest}", clean_name(str(told["name"])), size, str(told["uploaded"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _check_room(self, staged: Staged) -> None:
        sizes = []
        for digest in self._digests():
            with suppress(OSError):
                sizes.append(max(_SMALLEST, (self.folder / digest).stat().st_size))
        if sum(sizes) + max(_SMALLEST, staged.size) > self._quota or len(sizes) >= _MOST:
            room = f"{self._quota / 2**20:g} MiB or {_MOST:,} files"
            raise StorageError(
                f"There is no room for {truncate(staged.name, 80)} in the {room} of uploads; delete some."
            )


def clean_name(text: str) -> str:
    """A file's name as it is kept: the last part of a path, on one line, with an ending that tells the format.

    Raises:
        DataError: If it has no such ending.
    """
    last = re.split(r"[/\\]", text)[-1]
    # Lone surrogates are not printable, so what is left can be written in UTF-8.
    name = unicodedata.normalize("NFC", "".join(c for c in last if c.isprintable())).strip().lstrip(".")
    if not ending(name):
        raise DataError(f"'{truncate(last, 80)}' has none of the endings {', '.join(ENDINGS)}; rename it.")
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - len(ending(name))] + ending(name)


def _publish(staged: Staged, upload: Upload, folder: Path) -> None:
    """Rename a copy and what is told of it into their places, the content last: it is what makes the upload exist."""
    told = staged.folder / "upload.json"
    with os.fdopen(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        json.dump({"name": upload.name, "size": upload.size, "uploaded": upload.uploaded}, stream)
    for path in (told, staged.path):
        with path.open("rb+") as written:
            os.fsync(written.fileno())
    told.replace(folder / f"{upload.id}.json")
    staged.path.replace(folder / upload.id)


def _is_simulated(name: str) -> bool:
    return name.lower().startswith(SIMULATED)


def _not_here(digest: str) -> FileNotListed:
    return FileNotListed(f"There is no upload '{truncate(digest, 80)}'; GET /api/uploads lists them.")

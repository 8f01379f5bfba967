"""Folder of uploads: each content once, by its digest, with a description next to it.

- ``<sha256>`` is the content, ``<sha256>.json`` holds name, size and time; neither file name comes from a client.
- A content appears by a rename, after it has been read successfully, so that it is always complete.
- The same content is the same upload with its first name, unless a later name labels it as simulated.
"""

from __future__ import annotations

import json
import os
import re
import time
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from kronos.candles.candles import SIMULATED_PREFIX
from kronos.errors import DataError, StorageError
from kronos.formatting import os_error_reason, truncate
from kronos.sandbox.data_dir import EXTENSIONS, FileNotListed, file_extension, utc_text
from kronos.sandbox.reader import StagedFile, clear_leftovers, storage_error

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_NAME = 120  # characters
_MIN_SIZE = 4096  # bytes that even an empty file takes on the disk
_MAX_UPLOADS = 1000  # a listing reads the description of each


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded file.

    Attributes:
        id: SHA-256 of its content, in hexadecimal digits.
        reference: Its name for `FileLibrary.candles`.
        name: The client's name of the file; untrusted text.
        size: Bytes.
        uploaded: Time of the first upload, ISO 8601 in UTC.
    """

    id: str
    reference: str
    name: str
    size: int
    uploaded: str


class UploadStore:
    """The uploads in a folder; thread-safe.

    Args:
        folder: The folder, created by `prepare`.
        quota: Bytes that all uploads together may take.
    """

    def __init__(self, folder: Path, quota: int) -> None:
        self.folder = folder
        self._quota = quota
        self._lock = Lock()

    def prepare(self) -> None:
        """Create the folder, and remove what a crashed process left in it.

        Raises:
            StorageError: If the file system refuses.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error("The upload", error) from error
        clear_leftovers(self.folder)

    def uploads(self) -> list[Upload]:
        """The uploads, oldest first."""
        found = [upload for digest in self._digests() if (upload := self._load(digest)) is not None]
        return sorted(found, key=lambda upload: (upload.uploaded, upload.id))

    def open(self, digest: str) -> tuple[BinaryIO, Upload]:
        """Open an upload; the caller closes the file.

        Raises:
            FileNotListed: If there is no such upload.
        """
        upload = self._load(digest) if _DIGEST.fullmatch(digest) else None
        if upload is not None:
            with suppress(OSError):
                return (self.folder / digest).open("rb"), upload
        raise _unknown_upload(digest)

    def add(self, staged: StagedFile) -> Upload:
        """Add a file that is staged in this folder.

        Raises:
            StorageError: If the quota is exceeded, or the file system refuses.
        """
        with self._lock:
            known = self._load(staged.digest)
            if known is not None and not (_is_simulated(staged.name) and not _is_simulated(known.name)):
                return known
            if known is None:
                self._check_quota(staged)
            uploaded = utc_text(time.time()) if known is None else known.uploaded
            upload = Upload(staged.digest, f"upload:{staged.digest}", staged.name, staged.size, uploaded)
            try:
                _publish(staged, upload, self.folder)
            except OSError as error:
                raise storage_error(staged.name, error) from error
            return upload

    def remove(self, digest: str) -> None:
        """Remove an upload.

        Raises:
            FileNotListed: If there is no such upload.
            StorageError: If the file system refuses.
        """
        if not _DIGEST.fullmatch(digest):
            raise _unknown_upload(digest)
        with self._lock:
            try:
                (self.folder / digest).unlink()
                (self.folder / f"{digest}.json").unlink(missing_ok=True)
            except FileNotFoundError:
                raise _unknown_upload(digest) from None
            except OSError as error:
                reason = os_error_reason(error)
                raise StorageError(
                    f"The upload {digest[:12]}… cannot be removed ({reason}): check its permissions."
                ) from error

    def _digests(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.folder) if _DIGEST.fullmatch(name)]  # noqa: PTH208  (names only)
        except OSError:
            return []

    def _load(self, digest: str) -> Upload | None:
        """Load the description of an upload; None if it is missing or damaged, which a new upload repairs."""
        try:
            size = (self.folder / digest).stat().st_size
            document = json.loads((self.folder / f"{digest}.json").read_text("utf-8"))
            name = sanitize_name(str(document["name"]))
            return Upload(digest, f"upload:{digest}", name, size, str(document["uploaded"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _check_quota(self, staged: StagedFile) -> None:
        sizes = []
        for digest in self._digests():
            with suppress(OSError):
                sizes.append(max(_MIN_SIZE, (self.folder / digest).stat().st_size))
        if sum(sizes) + max(_MIN_SIZE, staged.size) > self._quota or len(sizes) >= _MAX_UPLOADS:
            quota = f"{self._quota / 2**20:g} MiB or {_MAX_UPLOADS:,} files"
            raise StorageError(
                f"{truncate(staged.name, 80)} exceeds the quota of uploads, {quota}: delete some uploads."
            )


def sanitize_name(text: str) -> str:
    """Reduce a client's file name to the last part of its path, printable, with a supported extension.

    Raises:
        DataError: If it has no supported extension.
    """
    last = re.split(r"[/\\]", text)[-1]
    # Lone surrogates are not printable, so that the result can be encoded in UTF-8.
    name = unicodedata.normalize("NFC", "".join(c for c in last if c.isprintable())).strip().lstrip(".")
    extension = file_extension(name)
    if not extension:
        raise DataError(
            f"'{truncate(last, 80)}' has none of the supported extensions {', '.join(EXTENSIONS)}: rename it."
        )
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - len(extension)] + extension


def _publish(staged: StagedFile, upload: Upload, folder: Path) -> None:
    """Rename the description and then the content to their final names; the upload exists once the content does."""
    description = staged.folder / "upload.json"
    with os.fdopen(os.open(description, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        json.dump({"name": upload.name, "size": upload.size, "uploaded": upload.uploaded}, stream)
    for path in (description, staged.path):
        with path.open("rb+") as written:
            os.fsync(written.fileno())
    description.replace(folder / f"{upload.id}.json")
    staged.path.replace(folder / upload.id)


def _is_simulated(name: str) -> bool:
    return name.lower().startswith(SIMULATED_PREFIX)


def _unknown_upload(digest: str) -> FileNotListed:
    return FileNotListed(f"There is no upload '{truncate(digest, 80)}'; GET /api/uploads lists them.")

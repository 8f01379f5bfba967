"""Saved results: one JSON document and one forecast file per result.

- Both files are written completely before the id is returned, or neither.
- Ids are times, ``prediction_20261121_221500``, with a number from the second result of the same second on. The name of
  the forecast file is created exclusively, so that several servers may share the folder.
- Files that are not named like this are ignored.
"""

from __future__ import annotations

import json
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.atomic import write_text
from kronos.errors import StorageError
from kronos.formatting import os_error_reason
from kronos.serve.errors import ApiError

if TYPE_CHECKING:
    from kronos.forecasts import Forecast

_ID = re.compile(r"prediction_([0-9]{8}_[0-9]{6})(?:_([0-9]{1,4}))?")
_MAX_LISTED, _MAX_RESULTS, _MAX_PER_SECOND = 1000, 10_000, 10_000
_SUMMARY_KEY, _SUMMARY_BYTES = '{"summary": ', 4096
_STALE_SECONDS = 3600.0  # age of temporary files that a crashed process left


@dataclass(frozen=True, slots=True)
class SavedResult:
    """A saved result in a list.

    Attributes:
        id: Its id.
        created: When it was saved.
        size: Bytes of its document.
        summary: What it is a forecast of; empty for documents of releases that had none.
    """

    id: str
    created: str
    size: int
    summary: dict[str, Any]


class ResultStore:
    """A folder of results; thread-safe.

    Args:
        folder: The folder, created by `prepare`, or by the first result.
        quota: Bytes that all results together may take.
    """

    def __init__(self, folder: Path, quota: int) -> None:
        self._folder, self._quota = folder, quota
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Create the folder, check that results can be saved, and remove what a crashed process left.

        Raises:
            StorageError: If the folder cannot be written to.
        """
        probe = self._folder / f".{os.getpid()}.tmp-probe"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StorageError(
                f"Cannot write to the state folder {self._folder.parent}: {os_error_reason(error)}; choose another "
                f"folder with --state or KRONOS_SERVE__STATE_DIR."
            ) from error
        for leftover in (*self._folder.glob(".*.tmp-*"), *self._without_document()):
            with suppress(OSError):
                if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                    leftover.unlink()

    def check_space(self) -> None:
        """Check that another result can be saved.

        Raises:
            StorageError: If there are too many results, or they take up the quota.
        """
        files = [entry for _, entry in self._files()]
        if sum(entry.name.endswith(".json") for entry in files) >= _MAX_RESULTS:
            raise StorageError(f"There are already {_MAX_RESULTS:,} saved results; delete some.")
        size = 0
        for entry in files:
            with suppress(OSError):
                size += entry.stat(follow_symlinks=False).st_size
        if size >= self._quota:
            raise StorageError(
                f"The saved results take up their quota of {self._quota / 1e6:,g} MB; delete some, or raise "
                f"KRONOS_SERVE__RESULTS_MB."
            )

    def save(self, document: dict[str, Any], forecast: Forecast) -> str:
        """Save a result.

        Args:
            document: The response to the client, without ``id``; begins with ``summary``, which lists show.
            forecast: The forecast in it.

        Returns:
            The id.

        Raises:
            StorageError: If the files cannot be written, or there is no room for another result.
        """
        with self._lock:
            self.check_space()
            result_id = self._reserve_id()
            npz, target = self._folder / f"{result_id}.npz", self._folder / f"{result_id}.json"
            try:
                forecast.save(npz)
                write_text(target, json.dumps({**document, "id": result_id}, ensure_ascii=False, allow_nan=False))
            except BaseException:
                with suppress(OSError):
                    npz.unlink()
                raise
            return result_id

    def latest(self) -> list[SavedResult]:
        """List the latest results, the newest first.

        Raises:
            StorageError: If the folder cannot be read.
        """
        listed = [(_sort_key(result_id), result_id, entry) for result_id, entry in self._files(".json")]
        results = []
        for _, result_id, entry in sorted(listed, key=lambda item: item[0], reverse=True)[:_MAX_LISTED]:
            with suppress(OSError):  # deleted in the meantime
                size = entry.stat(follow_symlinks=False).st_size
                results.append(SavedResult(result_id, _created(result_id), size, _read_summary(entry.path)))
        return results

    def document(self, result_id: str) -> bytes:
        """Return the document of a result.

        Raises:
            ApiError: 404 if there is no such result.
            StorageError: If it cannot be read.
        """
        path = self._existing(result_id, ".json")
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise _not_found() from None
        except OSError as error:
            raise _storage_error(result_id, "read", error) from error

    def forecast(self, result_id: str) -> Forecast:
        """Load the forecast of a result.

        Raises:
            ApiError: 404 if there is no such result.
            DataError: If its file is damaged.
            StorageError: If it cannot be read.
        """
        from kronos.forecasts import Forecast

        return Forecast.load(self._existing(result_id, ".npz"))

    def delete(self, result_id: str) -> None:
        """Delete a result.

        Raises:
            ApiError: 404 if there is no such result.
        """
        path = self._existing(result_id, ".json")
        try:
            path.unlink()
            path.with_suffix(".npz").unlink(missing_ok=True)
        except FileNotFoundError:
            raise _not_found() from None
        except OSError as error:
            raise _storage_error(result_id, "deleted", error) from error

    def _without_document(self) -> list[Path]:
        """The forecast files that no list shows and no request deletes, but that count towards the quota."""
        documents = {result_id for result_id, _ in self._files(".json")}
        return [Path(entry.path) for result_id, entry in self._files(".npz") if result_id not in documents]

    def _files(self, suffix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
        """The files of results, with the id in their names; none if there is no folder yet."""
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    stem, dot, kind = entry.name.rpartition(".")
                    named = dot and kind in ("json", "npz") and entry.name.endswith(suffix) and _is_id(stem)
                    if named and entry.is_file(follow_symlinks=False):
                        yield stem, entry
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"The saved results cannot be read: {os_error_reason(error)}.") from error

    def _reserve_id(self) -> str:
        """Create the forecast file of a new id, which nobody else can create then."""
        base = datetime.now(UTC).strftime("prediction_%Y%m%d_%H%M%S")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for result_id in (base, *(f"{base}_{number}" for number in range(2, _MAX_PER_SECOND))):
                with suppress(FileExistsError):
                    if not (self._folder / f"{result_id}.json").exists():
                        (self._folder / f"{result_id}.npz").touch(exist_ok=False)
                        return result_id
        except OSError as error:
            raise StorageError(f"The result cannot be saved: {os_error_reason(error)}.") from error
        raise StorageError("Too many results were saved in this second; retry.")

    def _existing(self, result_id: str, suffix: str) -> Path:
        """The path of a result's file.

        Raises:
            ApiError: 404 if there is no such file, or it is not a regular one.
            StorageError: If it cannot be accessed.
        """
        path = self._folder / f"{result_id}{suffix}"
        try:
            if not _is_id(result_id) or not stat.S_ISREG(path.lstat().st_mode):
                raise _not_found()
        except (FileNotFoundError, NotADirectoryError):
            raise _not_found() from None
        except OSError as error:
            raise _storage_error(result_id, "read", error) from error
        return path


def _read_summary(path: str) -> dict[str, Any]:
    """Read the summary at the beginning of a document; empty if there is none."""
    with Path(path).open("rb") as file:
        text = file.read(_SUMMARY_BYTES).decode(errors="replace")
    if not text.startswith(_SUMMARY_KEY):
        return {}
    try:
        summary, _ = json.JSONDecoder().raw_decode(text, len(_SUMMARY_KEY))
    except ValueError:
        return {}
    return summary if isinstance(summary, dict) else {}


def _not_found() -> ApiError:
    return ApiError(404, "No saved result has this id; GET /api/results lists them.")


def _storage_error(result_id: str, action: str, error: OSError) -> StorageError:
    return StorageError(f"The result {result_id} cannot be {action}: {os_error_reason(error)}.")


def _is_id(text: str) -> bool:
    """Whether a text is an id, of a time that exists."""
    match = _ID.fullmatch(text)
    if match is None:
        return False
    try:
        _parse_time(match[1])
    except ValueError:
        return False
    return True


def _parse_time(text: str) -> datetime:
    """Parse ``20261121_221500``; ten times as fast as `strptime`, and a listing parses thousands."""
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    return datetime(year, month, day, int(text[9:11]), int(text[11:13]), int(text[13:]), tzinfo=UTC)


def _sort_key(result_id: str) -> tuple[str, int]:
    _, day, clock, *number = result_id.split("_")
    return day + clock, int(number[0]) if number else 1


def _created(result_id: str) -> str:
    return _parse_time(result_id[11:26]).strftime("%Y-%m-%dT%H:%M:%SZ")

"""Saved results: one JSON document and one forecast file per result.

- Both files are written completely before the id is returned, or neither.
- Ids are times, ``prediction_20261121_221500``, with a number from the second result of the same second on.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.atomic import write_text
from kronos.errors import StorageError
from kronos.serve.errors import ApiError

if TYPE_CHECKING:
    from kronos.forecasts import Forecast

_ID = re.compile(r"prediction_\d{8}_\d{6}(?:_\d{1,4})?")
_MAX_LISTED, _MAX_RESULTS = 1000, 10_000


@dataclass(frozen=True, slots=True)
class SavedResult:
    """A saved result in a list."""

    id: str
    created: str
    size: int


class ResultStore:
    """A folder of results; thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def save(self, document: dict[str, Any], forecast: Forecast) -> str:
        """Save a result.

        Args:
            document: The response to the client, without ``id``.
            forecast: The forecast in it.

        Returns:
            The id.

        Raises:
            StorageError: If the files cannot be written, or there are too many results.
        """
        with self._lock:
            if len(self._ids()) >= _MAX_RESULTS:
                raise StorageError(f"There are already {_MAX_RESULTS:,} saved results; delete some.")
            result_id = self._new_id()
            npz, target = self._folder / f"{result_id}.npz", self._folder / f"{result_id}.json"
            forecast.save(npz)
            try:
                write_text(target, json.dumps({**document, "id": result_id}, ensure_ascii=False, allow_nan=False))
            except BaseException:
                npz.unlink(missing_ok=True)
                raise
            return result_id

    def latest(self) -> list[SavedResult]:
        """List the latest results, the newest first."""
        results = []
        for result_id in sorted(self._ids(), key=_sort_key, reverse=True)[:_MAX_LISTED]:
            try:
                size = (self._folder / f"{result_id}.json").stat().st_size
            except OSError:  # deleted in the meantime
                continue
            results.append(SavedResult(result_id, _created(result_id), size))
        return results

    def document(self, result_id: str) -> bytes:
        """Return the document of a result.

        Raises:
            ApiError: 404 if there is no such result.
        """
        try:
            return self._path(result_id, ".json").read_bytes()
        except OSError:
            raise _not_found() from None

    def forecast(self, result_id: str) -> Forecast:
        """Load the forecast of a result.

        Raises:
            ApiError: 404 if there is no such result.
            DataError: If its file is damaged.
        """
        from kronos.forecasts import Forecast

        path = self._path(result_id, ".npz")
        if not path.is_file():
            raise _not_found()
        return Forecast.load(path)

    def delete(self, result_id: str) -> None:
        """Delete a result.

        Raises:
            ApiError: 404 if there is no such result.
        """
        try:
            self._path(result_id, ".json").unlink()
        except OSError:
            raise _not_found() from None
        self._path(result_id, ".npz").unlink(missing_ok=True)

    def _ids(self) -> list[str]:
        try:
            names = [path.stem for path in self._folder.iterdir() if path.suffix == ".json"]
        except OSError:
            return []
        return [name for name in names if _ID.fullmatch(name)]

    def _new_id(self) -> str:
        base = datetime.now(UTC).strftime("prediction_%Y%m%d_%H%M%S")
        candidates = [base, *(f"{base}_{number}" for number in range(2, 10_000))]
        return next(name for name in candidates if not (self._folder / f"{name}.json").exists())

    def _path(self, result_id: str, suffix: str) -> Path:
        if not _ID.fullmatch(result_id):
            raise _not_found()
        return self._folder / f"{result_id}{suffix}"


def _not_found() -> ApiError:
    return ApiError(404, "No saved result has this id; GET /api/results lists them.")


def _sort_key(result_id: str) -> tuple[str, int]:
    _, day, clock, *number = result_id.split("_")
    return day + clock, int(number[0]) if number else 1


def _created(result_id: str) -> str:
    time = datetime.strptime(result_id[:26], "prediction_%Y%m%d_%H%M%S")
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")

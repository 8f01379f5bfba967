"""Saved results: one JSON document a prediction, and the forecast itself beside it.

- Both are written whole or not at all, and before anybody is told that they exist.
- A name is a time, ``prediction_20261121_221500``; a second one of the same second gets a number.
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

_NAME = re.compile(r"prediction_\d{8}_\d{6}(?:_\d{1,4})?")
_LISTED, _MOST = 1000, 10_000


@dataclass(frozen=True, slots=True)
class SavedResult:
    """What a list shows of a result."""

    id: str
    created: str
    size: int


class ResultStore:
    """A folder of results; safe in threads."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is made with the first result."""
        self._folder = folder
        self._lock = threading.Lock()

    def save(self, document: dict[str, Any], forecast: Forecast) -> str:
        """Keep a result.

        Args:
            document: What the client gets, without its ``id``.
            forecast: The forecast it shows.

        Returns:
            Its id.

        Raises:
            StorageError: If the disk refuses, or there are too many; then there is neither file.
        """
        with self._lock:
            if len(self._names()) >= _MOST:
                raise StorageError(f"There are {_MOST:,} saved results already; delete some.")
            name = self._free()
            npz, target = self._folder / f"{name}.npz", self._folder / f"{name}.json"
            forecast.save(npz)
            try:
                write_text(target, json.dumps({**document, "id": name}, ensure_ascii=False, allow_nan=False))
            except BaseException:
                npz.unlink(missing_ok=True)
                raise
            return name

    def latest(self) -> list[SavedResult]:
        """The latest ones, the latest first."""
        listed = []
        for name in sorted(self._names(), key=_order, reverse=True)[:_LISTED]:
            try:
                listed.append(SavedResult(name, _time(name), (self._folder / f"{name}.json").stat().st_size))
            except OSError:  # deleted meanwhile
                continue
        return listed

    def document(self, name: str) -> bytes:
        """A result as it was answered.

        Raises:
            ApiError: 404 if there is none of that name.
        """
        return self._read(name, ".json")

    def forecast(self, name: str) -> Forecast:
        """The forecast of a result.

        Raises:
            ApiError: 404 if there is none of that name.
            DataError: If its file is damaged.
        """
        from kronos.forecasts import Forecast

        path = self._path(name, ".npz")
        if not path.is_file():
            raise _missing()
        return Forecast.load(path)

    def delete(self, name: str) -> None:
        """Forget a result.

        Raises:
            ApiError: 404 if there is none of that name.
        """
        path = self._path(name, ".json")
        try:
            path.unlink()
        except OSError:
            raise _missing() from None
        self._path(name, ".npz").unlink(missing_ok=True)

    def _names(self) -> list[str]:
        """The results that there are."""
        try:
            names = [path.stem for path in self._folder.iterdir() if path.suffix == ".json"]
        except OSError:
            return []
        return [name for name in names if _NAME.fullmatch(name)]

    def _free(self) -> str:
        base = datetime.now(UTC).strftime("prediction_%Y%m%d_%H%M%S")
        names = [base, *(f"{base}_{number}" for number in range(2, 10_000))]
        return next(name for name in names if not (self._folder / f"{name}.json").exists())

    def _path(self, name: str, ending: str) -> Path:
        if not _NAME.fullmatch(name):
            raise _missing()
        return self._folder / f"{name}{ending}"

    def _read(self, name: str, ending: str) -> bytes:
        try:
            return self._path(name, ending).read_bytes()
        except OSError:
            raise _missing() from None


def _missing() -> ApiError:
    return ApiError(404, "There is no saved result of that name; GET /api/results lists them.")


def _order(name: str) -> tuple[str, int]:
    _, day, clock, *number = name.split("_")
    return day + clock, int(number[0]) if number else 1


def _time(name: str) -> str:
    moment = datetime.strptime(name[:26], "prediction_%Y%m%d_%H%M%S")
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

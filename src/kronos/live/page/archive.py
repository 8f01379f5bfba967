"""The archive: every past forecast of a month beside what came, as a page and as JSON.

The JSON of a month is the archive's memory: what a cycle passes is merged into it by origin, so that pages stay
complete although a cycle passes only what is recent. Only months in which something changed are written again. What
another series left in the folder, by an earlier protocol or another order of the symbols, is not of this archive.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kronos.atomic import write_text
from kronos.live.page.documents import Moment, PastForecasts, forecasts_document, past_forecast

FOLDER = "archive"
_DAY_BELOW = 1800  # seconds: with shorter intervals a page has a day, so that it stays below some megabytes
_FILE = re.compile(r"\d{4}-\d{2}(-\d{2})?\.json")
_ID = re.compile(r'^  "id": "(\w+)"', re.MULTILINE)
_HEAD = 4096  # characters of a file that have the fields before its forecasts
_FIELDS = {"origin", "kind", "outcome"}  # of every past forecast


class Archive:
    """The archive of one series.

    Args:
        folder: Folder of the series' page.
        interval_seconds: Interval of the candles.
        series: Id of the series.
    """

    def __init__(self, folder: Path, interval_seconds: float, series: str) -> None:
        self.folder, self._series = folder / FOLDER, series
        self._digits = len("2026-03-01") if interval_seconds < _DAY_BELOW else len("2026-03")

    def periods(self) -> list[str]:
        """Return the periods that have a page, the newest first."""
        files = self.folder.glob("*.json") if self.folder.is_dir() else ()
        return sorted((path.stem for path in files if _FILE.fullmatch(path.name) and self._owns(path)), reverse=True)

    def period(self, origin: str) -> str:
        """Return the period of an origin."""
        return origin[: self._digits]

    def has(self, period: str) -> bool:
        """Whether a period has a file of this series that can be read."""
        return self._read(period) is not None

    def read(self, period: str) -> list[dict[str, Any]]:
        """Return the past forecasts of a period, the newest first; none if its file is missing or damaged."""
        return self._read(period) or []

    def merge(self, recent: PastForecasts) -> dict[str, list[dict[str, Any]]]:
        """Merge entries into what was published.

        Args:
            recent: Origins with their outcomes.

        Returns:
            The complete past forecasts of each period that changed, the newest first.
        """
        by_period: dict[str, list[Any]] = {}
        for origin, outcome in recent:
            by_period.setdefault(self.period(origin.origin), []).append((origin, outcome))
        changed = {}
        for period, entries in by_period.items():
            before = {past["origin"]: past for past in self.read(period)}
            after = dict(before)
            for origin, outcome in entries:
                known = before.get(origin.origin)
                if known is None or not _is_same(known, origin.kind, outcome):
                    after[origin.origin] = past_forecast(origin, outcome)
            if after != before:
                changed[period] = sorted(after.values(), key=lambda past: str(past["origin"]), reverse=True)
        return changed

    def write_data(
        self, period: str, pasts: Sequence[Mapping[str, Any]], forecast: Mapping[str, Any], moment: Moment
    ) -> Path:
        """Write the JSON of a period.

        Raises:
            StorageError: If it cannot be written.
        """
        path = self.folder / f"{period}.json"
        write_text(path, compact_json(forecasts_document(pasts, forecast, moment)))
        return path

    def _read(self, period: str) -> list[dict[str, Any]] | None:
        """The past forecasts of a period; None if its file is missing, damaged or of another series."""
        try:
            document = json.loads((self.folder / f"{period}.json").read_text("utf-8"))
            pasts = list(document["forecasts"])
            whole = document["id"] == self._series and all(past.keys() >= _FIELDS for past in pasts)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return pasts if whole else None

    def _owns(self, path: Path) -> bool:
        """Whether a file is of this series, by the fields that come first: the files of years are not read whole."""
        try:
            with path.open(encoding="utf-8") as file:
                found = _ID.search(file.read(_HEAD))
        except (OSError, ValueError):
            return False
        return found is not None and found[1] == self._series


def compact_json(document: Mapping[str, Any]) -> str:
    """Render a document as JSON with one past forecast a line: small, and still readable as a difference."""
    rows: Iterable[Any] = document.get("forecasts", ())
    head = {name: value for name, value in document.items() if name != "forecasts"}
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")) for row in rows]
    text = json.dumps(head, ensure_ascii=False, allow_nan=False, indent=2)
    body = ",\n".join(lines)
    return f'{text[:-2]},\n  "forecasts": [\n{body}\n  ]\n}}\n' if lines else f'{text[:-2]},\n  "forecasts": []\n}}\n'


def _is_same(known: Mapping[str, Any], kind: str, outcome: Any) -> bool:
    """Whether what was published of an origin is still all there is."""
    published = known.get("outcome")
    if known.get("kind") != kind or (published is None) != (outcome is None):
        return False
    return outcome is None or bool(published and published.get("made_at") == outcome.made_at)

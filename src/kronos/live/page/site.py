"""The site: pages, pictures and JSON of all series, written so that a reader never sees half of one.

Every file is replaced as a whole, and a page only after the files that it names. A page is complete without them. Only
files of the names that are written here are ever replaced; none is removed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd

from kronos.atomic import write_text
from kronos.errors import KronosError
from kronos.formatting import to_json, unique_names
from kronos.live.config import LiveConfig
from kronos.live.cycle import CycleResult, LiveSeries
from kronos.live.page.archive import FOLDER, Archive, compact_json
from kronos.live.page.documents import (
    FORMAT,
    Moment,
    PastForecasts,
    TrackFigures,
    forecast_document,
    forecasts_document,
    past_forecast,
    track_document,
)
from kronos.live.page.forecast_page import ArchivePage, ForecastPage, Link, PageLinks
from kronos.plotting import plot_forecast
from kronos.reports import Language, Palette, linked_style
from kronos.reports.i18n import TAGS

FORECAST, TRACK, FORECASTS = "forecast.json", "track_record.json", "forecasts.json"
STYLE, SCRIPT = "style.css", "live.js"
_RECENT = 48  # past forecasts in forecasts.json
_NAMES: dict[Language, str] = {"en": "English", "zh": "中文"}
_PALETTES: dict[Language, Palette] = {"en": "green-up", "zh": "red-up"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeriesPlace:
    """Where the files of a series lie.

    Attributes:
        name: Name of the series in links.
        path: Folder relative to the site's; empty for the first series.
    """

    name: str
    path: str

    @property
    def root(self) -> str:
        """Relative address of the site's folder."""
        return "../" if self.path else ""


def write_site(
    config: LiveConfig,
    results: Sequence[CycleResult],
    records: Mapping[str, TrackFigures],
    recent: Mapping[str, PastForecasts],
    head: tuple[int, str],
    now: pd.Timestamp,
) -> list[Path]:
    """Write the site after a cycle.

    Args:
        config: The configuration.
        results: What the cycle did; the first series is at the root of the site, the others have folders of their own.
        records: Track records by series id.
        recent: Origins with their outcomes, by series id: at least those that were entered or settled since the last
            call; all of them to build the archive anew.
        head: Number and hash of the record's last row.
        now: Time of the cycle.

    Returns:
        The files that were written, the root's page last.

    Raises:
        StorageError: If a file cannot be written.
    """
    site = _Site(config, Moment(now, head), [result.series for result in results])
    files = site.write_assets()
    for number, result in reversed(list(enumerate(results))):
        identity = result.series.id
        record = records.get(identity)
        track = {} if record is None else record.to_dict()
        files += site.write_series(site.places[number], result, track, recent.get(identity, ()))
    return files


def series_archives(config: LiveConfig, series: Sequence[LiveSeries]) -> dict[str, Archive]:
    """Return the archive of each series, by its id."""
    seconds = config.interval.seconds
    return {
        each.id: Archive(config.output.folder / place.path, seconds, each.id)
        for each, place in zip(series, _places(series), strict=True)
    }


def _places(series: Sequence[LiveSeries]) -> list[SeriesPlace]:
    folders = unique_names(each.slug for each in series)  # BTC/USDT and BTC-USDT are written alike
    return [
        SeriesPlace(_series_name(each.protocol), folder if number else "")
        for number, (each, folder) in enumerate(zip(series, folders, strict=True))
    ]


class _Site:
    """The output folder during one call."""

    def __init__(self, config: LiveConfig, moment: Moment, series: Sequence[LiveSeries]) -> None:
        self.output, self.moment = config.output, moment
        self.places = _places(series)
        first: Language = config.output.language
        self.languages: list[Language] = [first, "zh" if first == "en" else "en"]

    def write_assets(self) -> list[Path]:
        """Write style sheet and script if they changed."""
        package = resources.files("kronos.live.page")
        texts = {
            STYLE: linked_style((package / "live.css").read_text("utf-8")),
            SCRIPT: (package / "live.js").read_text("utf-8"),
        }
        return [path for name, text in texts.items() if (path := _write_changed(self.output.folder / name, text))]

    def write_series(
        self, place: SeriesPlace, result: CycleResult, track: Mapping[str, Any], recent: PastForecasts
    ) -> list[Path]:
        """Write the files of one series, its page in the configured language last."""
        folder = self.output.folder / place.path
        document = forecast_document(result, read_document(folder / FORECAST), track, self.moment)
        archive = Archive(folder, document["interval_seconds"], document["id"])
        files = self._write_archive(archive, place, document, recent)
        pasts = self._recent_pasts(archive, recent)
        files += self._write_chart(folder, result)
        texts = {
            TRACK: to_json(track_document(document, self.moment)) + "\n",
            FORECASTS: compact_json(forecasts_document(pasts, document, self.moment)),
            FORECAST: to_json(document) + "\n",
        }
        for language in reversed(self.languages):
            page = ForecastPage(
                document,
                pasts,
                language=language,
                palette=self._palette(language),
                links=replace(self._links(place, language), months=self._months(archive, language, f"{FOLDER}/")),
            )
            texts[self._page_name(language)] = page.render()
        for name, text in texts.items():
            write_text(folder / name, text)
            files.append(folder / name)
        return files

    def _write_archive(
        self, archive: Archive, place: SeriesPlace, document: Mapping[str, Any], recent: PastForecasts
    ) -> list[Path]:
        """Write the periods in which something changed, and their pages."""
        files = []
        for period, pasts in archive.merge(recent).items():
            files.append(archive.write_data(period, pasts, document, self.moment))
            for language in self.languages:
                page = ArchivePage(document, period, pasts, language=language, palette=self._palette(language))
                name = _suffixed(f"{period}.html", self._suffix(language))
                links = PageLinks(
                    root=f"../{place.root}",
                    languages=self._language_links(f"{period}.html", language),
                    months=self._months(archive, language, "", period),
                )
                write_text(archive.folder / name, page.render(links, f"../{self._page_name(language)}"))
                files.append(archive.folder / name)
        return files

    def _recent_pasts(self, archive: Archive, recent: PastForecasts) -> list[dict[str, Any]]:
        """The newest past forecasts, from the archive's newest periods."""
        pasts: list[dict[str, Any]] = []
        for period in archive.periods():
            pasts += archive.read(period)
            if len(pasts) >= _RECENT:
                break
        return pasts[:_RECENT] or [past_forecast(*pair) for pair in recent]

    def _write_chart(self, folder: Path, result: CycleResult) -> list[Path]:
        """Draw the picture; without it the page is still whole."""
        if result.live is None:
            return []
        path = folder / self.output.chart_filename
        try:
            plot_forecast(result.live.shown, path=path, palette=self._palette(self.output.language))
        except (KronosError, ValueError) as error:
            _log.error("the picture cannot be drawn: %s", error)
            return []
        return [path]

    # Names ----------------------------------------------------------------

    def _palette(self, language: Language) -> Palette:
        return self.output.palette or _PALETTES[language]

    def _suffix(self, language: Language) -> str:
        return "" if language == self.output.language else f".{language}"

    def _page_name(self, language: Language) -> str:
        return _suffixed(self.output.html_filename, self._suffix(language))

    def _language_links(self, name: str, language: Language) -> list[Link]:
        return [
            Link(_suffixed(name, self._suffix(other)), _NAMES[other], TAGS[other])
            for other in self.languages
            if other != language
        ]

    def _links(self, place: SeriesPlace, language: Language) -> PageLinks:
        page = self._page_name(language)
        series = [
            Link(f"{place.root}{f'{other.path}/' if other.path else ''}{page}", other.name, current=other is place)
            for other in self.places
        ]
        return PageLinks(
            root=place.root,
            languages=self._language_links(self.output.html_filename, language),
            series=series,
            chart=self.output.chart_filename,
        )

    def _months(self, archive: Archive, language: Language, prefix: str, current: str = "") -> list[Link]:
        suffix = self._suffix(language)
        return [
            Link(f"{prefix}{_suffixed(f'{period}.html', suffix)}", period, current=period == current)
            for period in archive.periods()
        ]


def read_document(path: Path) -> dict[str, Any] | None:
    """Read a published document; None if there is none, or it is damaged or of another format."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and document.get("format") == FORMAT else None


def _series_name(protocol: Mapping[str, Any]) -> str:
    """A series in links: ``BTCUSDT 1h · kronos-nano``."""
    return f"{protocol['symbol']} {protocol['interval']} · {protocol['model']['name']}"


def _suffixed(name: str, suffix: str) -> str:
    """A file name with a suffix before its extension: ``index.zh.html``."""
    path = Path(name)
    return f"{path.stem}{suffix}{path.suffix}"


def _write_changed(path: Path, text: str) -> Path | None:
    """Write a file unless it has this content already."""
    try:
        if path.read_text("utf-8") == text:
            return None
    except (OSError, ValueError):
        pass
    write_text(path, text)
    return path

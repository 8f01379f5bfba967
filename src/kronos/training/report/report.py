"""A training as a page: what was trained, on what dates, how it went, and whether it helped; several as one table.

    write_reports([Path("outputs/models/model_a_4h"), Path("outputs/models/model_b_1d")])

The verdict comes first. Everything is read from the runs' folders, so that a page can be made again at any time, of a
training that failed half-way too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from kronos.atomic import write_text
from kronos.plotting.style import Palette, Theme
from kronos.reports import Language, Look, Translator, check_look, render
from kronos.training.comparison import RULE, Comparison
from kronos.training.report.data import FigureSet, RunSummary, read_story, save_curves, write_json
from kronos.training.report.tables import TONES, Tables
from kronos.training.run_folder import stage_folder

PAGE, DOCUMENT, CURVES = "report.html", "report.json", "curves.png"
OVERVIEW = "trainings.html"


def write_reports(
    stories: Sequence[RunSummary | Path], overview: Path | None = None, *, language: Language = "en"
) -> Path:
    """Write each training's page, its figures as JSON and its curves, and of several a page for all.

    Args:
        stories: Trainings, or their folders.
        overview: Where the page for all goes; None for beside the folders.
        language: Of the pages' own words.

    Returns:
        The page to look at first.

    Raises:
        ParameterError: If there is no such language.
        DataError: If a file in a folder is damaged.
        StorageError: If something cannot be written.
    """
    told = [read_story(one) if isinstance(one, Path) else one for one in stories]
    pages = []
    for story in told:
        for stage in story.stages:
            if stage.log is not None:
                save_curves(stage.log, stage_folder(story.folder, stage.stage) / CURVES)
        write_json(story, story.folder / DOCUMENT)
        pages.append(write_report(story, story.folder / PAGE, language=language))
    if len(told) == 1:
        return pages[0]
    return write_overview(told, overview or told[0].folder.parent / OVERVIEW, language=language)


def write_report(
    story: RunSummary,
    path: Path,
    *,
    title: str | None = None,
    look: Look = "auto",
    palette: Palette = "green-up",
    language: Language = "en",
) -> Path:
    """Write a training's page.

    Args:
        story: What to tell, as `read_story` gathers it.
        path: The file; replaced if it exists, all or nothing.
        title: None asks whether it helped.
        look: ``light``, ``dark``, or ``auto``, which follows the reader's system.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.
        language: Of the page's own words; sentences of the comparison are English.

    Returns:
        The file.

    Raises:
        ParameterError: If look, palette or language is unknown.
        StorageError: If it cannot be written.
    """
    page = _Page(story, Translator(language), palette, check_look(look))
    told = title or page.title
    write_text(path, render("training.html", page.content(), title=told, language=language, look=look, palette=palette))
    return path


def write_overview(
    stories: Sequence[RunSummary],
    path: Path,
    *,
    look: Look = "auto",
    palette: Palette = "green-up",
    language: Language = "en",
) -> Path:
    """Write one page for several trainings: a table of all, and what came of each, with links to their own pages.

    Args:
        stories: What to tell.
        path: The file; replaced if it exists, all or nothing.
        look: As for `write_report`, and so are the others.
        palette: Likewise.
        language: Likewise.

    Returns:
        The file.

    Raises:
        ParameterError: If look, palette or language is unknown.
        StorageError: If it cannot be written.
    """
    t = Translator(language)
    tables = Tables(t)
    content = {
        "table": tables.overview(stories),
        "cards": [_card(one, path, t, tables) for one in stories],
        "footer": _footer(stories[0].made, t),
    }
    title = t("training.overview.title", count=len(stories))
    write_text(path, render("trainings.html", content, title=title, language=language, look=look, palette=palette))
    return path


class _Page:
    """What a training's page shows, part by part."""

    def __init__(self, story: RunSummary, t: Translator, palette: Palette, look: Look) -> None:
        self._story, self._t, self._palette = story, t, palette
        self._theme: Theme = "dark" if look == "dark" else "light"
        self._tables = Tables(t)

    @property
    def title(self) -> str:
        """A question; of an unfinished training how far it came."""
        found = self._story.comparison
        asked = found is not None and found.names[0] is not None
        return self._t("training.title" if asked else "training.title_unfinished", name=self._story.name)

    def content(self) -> dict[str, Any]:
        """Everything the template asks for."""
        story, found = self._story, self._story.comparison
        parts: dict[str, Any] = {
            "changes": [] if found is None else self._tables.changes(found),
            "rivals": None if found is None else self._tables.rivals(found),
            "albums": self._albums(),
            "data": self._tables.data(story.data),
        }
        return parts | {
            "description": story.description,
            "lead": self._lead(),
            "sections": self._sections(parts),
            "facts": self._facts(),
            "troubles": troubles(story, self._t),
            "verdict": self._verdict(),
            "compared": found is not None,
            "warnings": [] if found is None else list(found.warnings),
            "notes": [] if found is None else list(found.notes),
            "against": [] if found is None else list(found.against_baselines),
            "against_title": "" if found is None else self._t("training.against", tuned=found.names[1]),
            "simulated": bool(story.data.get("simulated")),
            "unreadable": [f"{one['path']}: {one['problem']}" for one in story.data.get("unreadable", [])],
            "stages": self._tables.stages(story.stages),
            "provenance": self._provenance(),
            "folded": self._folded(),
            "footer": _footer(story.made, self._t),
        }

    def _sections(self, parts: Mapping[str, Any]) -> list[str]:
        """Those that the page has."""
        compared = self._story.comparison is not None
        there = {
            "verdict": True,
            "warnings": compared,
            "comparison": bool(parts["changes"]),
            "baselines": parts["rivals"] is not None,
            "curves": bool(parts["albums"]),
            "data": bool(parts["data"]),
            "stages": True,
            "provenance": True,
        }
        return [name for name, wanted in there.items() if wanted]

    def _lead(self) -> str:
        found = self._story.comparison
        if found is None:
            return self._t("training.lead.none")
        name = "scratch" if found.names[0] is None else "compared"
        dates = {end: found.tested[end] for end in ("first", "last")}
        return self._t(f"training.lead.{name}", start=found.names[0], tuned=found.names[1], **dates)

    def _facts(self) -> list[tuple[str, str]]:
        data, found = self._story.data, self._story.comparison
        facts: dict[str, str] = {}
        if data:
            facts["trained"] = self._dates(data["parts"]["train"])
            facts["instruments"] = f"{sum(one['series'] for one in data['groups'].values()):,}"
            facts["candles"] = f"{data['candles']:,}"
        if found is not None:
            facts["tested"] = self._dates(found.tested)
            facts |= {"windows": f"{found.tested['windows']:,}", "forecasts": f"{found.tested['origins']:,}"}
            facts |= {name: f"{found.tested[name]:,}" for name in ("lookback", "horizon")}
        facts["time"] = self._tables.duration(self._story.seconds)
        return [(self._t(f"training.facts.{name}"), value) for name, value in facts.items()]

    def _dates(self, told: Mapping[str, Any]) -> str:
        first, last = (str(told[end] or "–")[:10] for end in ("first", "last"))
        return self._t("training.dates", first=first, last=last)

    def _verdict(self) -> dict[str, Any]:
        """The card at the top."""
        found = self._story.comparison
        badge = self._tables.verdict(found)
        why = self._story.not_compared or self._t("training.not_compared")
        names = (self._story.name,) if found is None else tuple(name for name in found.names if name is not None)
        return {
            "heading": " → ".join(names),
            "answer": badge.text,
            "tone": badge.tone,
            "why": why if found is None else "",
            "measures": [] if found is None else self._measures(found),
            "rule": RULE if found is not None and found.measures else "",
        }

    def _measures(self, found: Comparison) -> list[dict[str, str]]:
        return [
            {
                "name": self._t(f"training.measures.{one.name}"),
                "answer": self._t(f"training.answers.{one.word}"),
                "tone": TONES[one.word],
                "sentence": one.sentence,
                "words": self._t(f"training.measures_words.{one.name}"),
            }
            for one in found.measures
        ]

    def _albums(self) -> list[dict[str, Any]]:
        """The curves, stage by stage."""
        albums = []
        for stage in self._story.stages:
            if stage.log is not None:
                drawn = FigureSet(stage.log, self._t, self._theme, self._palette).svg()
                title = self._t(f"training.stage.{stage.stage}")
                # `inline_svg` escapes what is in them.
                albums.append({"title": title, "pictures": [Markup(one) for one in drawn]})
        return [one for one in albums if one["pictures"]]

    def _provenance(self) -> list[tuple[str, str]]:
        story, found = self._story, self._story.comparison
        values = {"folder": str(story.folder), "created": str(story.made["created"])}
        values["versions"] = ", ".join(f"{name} {version}" for name, version in story.made["versions"].items())
        if found is not None:
            values |= {"plan": str(found.made.get("plan", "")), "seed": str(found.made.get("seed", "–"))}
        return [(self._t(f"training.provenance.{name}"), value) for name, value in values.items()]

    def _folded(self) -> list[tuple[str, str]]:
        """What few look at: the configuration, the loop's settings, files with their digests."""
        story = self._story
        found = [(self._t("training.config"), story.config)] if story.config else []
        for stage in story.stages:
            if stage.log is not None and stage.log.plan:
                title = f"{self._t('training.settings')}: {self._t(f'training.stage.{stage.stage}')}"
                found.append((title, json.dumps(stage.log.plan, indent=1, ensure_ascii=False, default=str)))
        if story.data.get("files"):
            lines = [json.dumps(one, ensure_ascii=False, default=str) for one in story.data["files"]]
            found.append((self._t("training.files"), "\n".join(lines)))
        return found


def troubles(story: RunSummary, t: Translator) -> list[str]:
    """What went wrong, a sentence a stage."""
    return [
        t(
            "training.trouble",
            stage=f"{t(f'training.stage.{one.stage}')}, {t(f'training.states.{one.state}')}",
            reason=one.reason,
        )
        for one in story.stages
        if one.reason
    ]


def _card(story: RunSummary, path: Path, t: Translator, tables: Tables) -> dict[str, Any]:
    """A training on the page for all."""
    badge = tables.verdict(story.comparison)
    page = story.folder / PAGE
    return {
        "name": story.name,
        "description": story.description,
        "page": quote(Path(os.path.relpath(page, path.parent)).as_posix()) if page.is_file() else "",
        "tone": badge.tone,
        "answer": badge.text,
        "sentence": (story.not_compared or "") if story.comparison is None else story.comparison.sentence,
        "troubles": troubles(story, t),
    }


def _footer(made: Mapping[str, Any], t: Translator) -> str:
    return t("training.footer", version=made["versions"].get("kronos", ""), created=made["created"])

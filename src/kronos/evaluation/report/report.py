"""An evaluation as a page: one HTML file that needs nothing else, for readers who have never seen the project.

    write_report(evaluate(…), Path("out/evaluation.html"))

The verdict in words comes first, then what speaks against believing it, then figures, pictures, definitions, and how it
was made. Everything in it is read off the `Evaluation`; the page computes nothing that the figures don't have, but for
the bins of its pictures.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from kronos.atomic import write_text
from kronos.evaluation.aggregate import ALL
from kronos.evaluation.evaluation import Contender, Evaluation
from kronos.evaluation.report.figures import ReportFigures
from kronos.evaluation.report.tables import ABOUT, TONES, Tables
from kronos.evaluation.scoring import LEAST
from kronos.evaluation.verdicts import FEW_DATES, NEGLIGIBLE, TOO_GOOD, About, Word
from kronos.plotting.style import Palette, Theme
from kronos.reports import Language, Look, Tone, Translator, check_look, render

_SECTIONS = ("verdict", "warnings", "summary", "pictures", "volatility", "groups", "definitions", "provenance")


def write_report(
    evaluation: Evaluation,
    path: Path,
    *,
    title: str | None = None,
    look: Look = "auto",
    palette: Palette = "green-up",
    language: Language = "en",
) -> Path:
    """Write an evaluation's page.

    Args:
        evaluation: What to tell.
        path: The file; replaced if it exists, all or nothing.
        title: None asks whether those evaluated are worth believing.
        look: ``light``, ``dark``, or ``auto``, which follows the reader's system.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.
        language: Of the page's own words; sentences of the evaluation are English.

    Returns:
        The file.

    Raises:
        ParameterError: If look, palette or language is unknown.
        StorageError: If it cannot be written.
    """
    write_text(path, report(evaluation, title=title, look=look, palette=palette, language=language))
    return path


def report(
    evaluation: Evaluation,
    *,
    title: str | None = None,
    look: Look = "auto",
    palette: Palette = "green-up",
    language: Language = "en",
) -> str:
    """The page that `write_report` writes; see there."""
    page = _Page(evaluation, Translator(language), palette, check_look(look))
    return render(
        "evaluation.html",
        page.content(),
        title=page.title if title is None else title,
        language=language,
        look=look,
        palette=palette,
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """One line of a verdict's card."""

    about: str
    answer: str
    tone: Tone
    sentence: str
    groups: str


class _Page:
    """What the page shows, part by part."""

    def __init__(self, evaluation: Evaluation, t: Translator, palette: Palette, look: Look) -> None:
        self._found = evaluation
        self._t = t
        theme: Theme = "dark" if look == "dark" else "light"
        self._gallery = ReportFigures(evaluation, t("evaluation.overall"), theme, palette)
        self._tables = Tables(evaluation, t)
        self._groups = evaluation.scores.groups
        self._steps = self._gallery.steps
        self._last = self._steps[-1]

    @property
    def title(self) -> str:
        """A question."""
        names = self._found.evaluated
        if not names:
            return self._t("evaluation.title_nobody")
        raw = [name for name in names if self._tables.subjects[name].calibration is None]
        return self._t("evaluation.title", names=", ".join(raw))

    def content(self) -> dict[str, Any]:
        """Everything the template asks for."""
        found, t = self._found, self._t
        horizon = found.plan.walk.horizon
        return {
            "lead": t("evaluation.lead", origins=f"{len(found.plan):,}", horizon=horizon),
            "sections": _SECTIONS,
            "facts": self._facts(),
            "verdict_intro": t("evaluation.verdict_intro", horizon=horizon, reference=found.reference),
            "cards": [self._card(self._tables.subjects[name]) for name in self._gallery.shown],
            "verdict_tables": [self._tables.verdict_table(name) for name in found.evaluated]
            if len(self._groups) > 1
            else [],
            "overall_verdicts": self._sentences(ALL),
            "warnings": list(found.warnings),
            "summary": self._tables.summary(),
            "by_step": self._tables.by_step(),
            "by_group": self._tables.by_group(),
            "best": self._tables.best(),
            "pictures": self._pictures(),
            "volatility": self._tables.volatility(),
            "groups": [self._group(group) for group in self._groups],
            "definitions": self._definitions(),
            "forecasters": self._tables.forecasters(),
            "provenance": self._provenance(),
            "identities": [(one.name, json.dumps(one.identity, indent=1, default=str)) for one in found.subjects],
            "footer": self._footer(),
            "samples": found.settings.samples,
            "horizon": horizon,
            "least": LEAST,
        }

    # The top -----------------------------------------------------------------

    def _facts(self) -> list[tuple[str, str]]:
        found, walk = self._found, self._found.plan.walk
        dates = found.truth.origins["date"]
        facts = {
            "forecasts": f"{len(found.plan):,}",
            "instruments": str(found.truth.origins["series"].nunique()),
            "groups": str(len(self._groups)),
            "dates": self._t("evaluation.dates", first=f"{dates.min():%Y-%m-%d}", last=f"{dates.max():%Y-%m-%d}"),
            "horizon": str(walk.horizon),
            "stride": str(walk.step),
            "samples": str(found.settings.samples),
            "reference": found.reference,
            "baselines": str(sum(one.baseline for one in found.subjects)),
        }
        return [(self._t(f"evaluation.facts.{name}"), value) for name, value in facts.items()]

    def _card(self, subject: Contender) -> dict[str, Any]:
        """The verdict on one forecaster."""
        kind = self._tables.kind(subject)
        answers = [self._answer(subject.name, about) for about in ABOUT]
        return {
            "name": subject.name,
            "kind": kind,
            "mark": self._tables.mark(kind),
            "description": subject.description,
            "answers": [one for one in answers if one is not None],
            "calibration": subject.calibration,
        }

    def _answer(self, name: str, about: About) -> _Answer | None:
        """What may be said over all groups, and how many of them say what."""
        own = [self._tables.verdicts.get((name, group, about)) for group in self._groups]
        words = Counter(one.word for one in own if one is not None)
        overall = self._tables.verdicts.get((name, ALL, about))
        if overall is None and not words:
            return None
        word: str = overall.word if overall is not None else _together(words)
        counts = [
            self._t("evaluation.count", word=self._tables.word(one), n=n, all=sum(words.values()))
            for one, n in sorted(words.items(), key=lambda item: list(TONES).index(item[0]))
        ]
        return _Answer(
            about=self._t(f"evaluation.about.{about}"),
            answer=self._t(f"evaluation.answers.{about}.{word}", reference=self._found.reference),
            tone=next((tone for known, tone in TONES.items() if known == word), "neutral"),
            sentence="" if overall is None else overall.sentence,
            groups=self._t("evaluation.by_group_count", counts=", ".join(counts)) if len(self._groups) > 1 else "",
        )

    # The pictures ------------------------------------------------------------

    def _pictures(self) -> list[dict[str, Any]]:
        """Each kind with its words; the less looked at are folded."""
        gallery, rest = self._gallery, self._steps[:-1]
        ordering, missing = gallery.ordering()
        note = self._t("evaluation.pictures.ordering_missing", groups=", ".join(missing)) if missing else ""
        return [
            self._shown("skill", gallery.skill()),
            self._shown("coverage", gallery.coverage()),
            self._shown("pit", gallery.pit(self._last), [one for step in rest for one in gallery.pit(step)]),
            self._shown(
                "reliability",
                gallery.reliability(self._last),
                [one for step in rest for one in gallery.reliability(step)],
            ),
            self._shown("ordering", ordering)
            | {"note": note if ordering else self._t("evaluation.pictures.ordering_none")},
            self._shown("examples", *gallery.examples(), told="more_fans"),
            self._shown("worst", *gallery.worst(), told="more_fans"),
        ]

    def _shown(
        self, name: str, pictures: Sequence[str], more: Sequence[str] = (), told: str = "other_steps"
    ) -> dict[str, Any]:
        return {
            "title": self._t(f"evaluation.pictures.{name}", reference=self._found.reference),
            "words": self._t(f"evaluation.pictures.{name}_words", reference=self._found.reference),
            "pictures": _markup(pictures),
            "more": _markup(more),
            "more_title": self._t(f"evaluation.pictures.{told}"),
            "note": "",
        }

    # Group by group ----------------------------------------------------------

    def _group(self, group: str) -> dict[str, Any]:
        """Everything about one group."""
        rows = self._found.truth.origins
        rows = rows[rows["group"] == group]
        dates = rows["date"]
        count = self._t(
            "evaluation.group_count",
            n=f"{len(rows):,}",
            instruments=rows["series"].nunique(),
            first=f"{dates.min():%Y-%m-%d}",
            last=f"{dates.max():%Y-%m-%d}",
        )
        price = [self._tables.verdicts.get((name, group, "price")) for name in self._found.evaluated]
        gallery = self._gallery
        pictures = [*gallery.coverage(group, reference=False), *gallery.pit(self._last, group, reference=False)]
        return {
            "name": group,
            "badges": [(TONES[one.word], f"{one.forecaster}: {self._tables.word(one.word)}") for one in price if one],
            "count": count,
            "tables": [self._tables.group(group), *self._tables.group_volatility(group)],
            "pictures": _markup(pictures),
            "sentences": self._sentences(group),
        }

    def _sentences(self, group: str) -> list[tuple[str, str]]:
        """Everything that may be said of one group, or over all."""
        return [
            (f"{one.forecaster}, {self._t(f'evaluation.about.{one.about}')}", one.sentence)
            for one in self._found.verdicts
            if one.group == group
        ]

    # The end -----------------------------------------------------------------

    def _definitions(self) -> list[tuple[str, str]]:
        prefix = "evaluation.definitions."
        names = [name for name in self._t.ordered if name.startswith(prefix) and name.endswith(".term")]
        values = {"few": FEW_DATES, "too_good": f"{TOO_GOOD:.0%}", "negligible": f"{100 * NEGLIGIBLE:.0f}"}
        return [(self._t(name), self._t(f"{name.removesuffix('term')}words", **values)) for name in names]

    def _provenance(self) -> list[tuple[str, str]]:
        found, walk = self._found, self._found.plan.walk
        p = "evaluation.provenance."
        moments = self._t(
            p + "walk_value",
            horizon=walk.horizon,
            stride=walk.step,
            least=walk.least_history,
            seen=self._t(p + ("sees_all" if walk.lookback is None else "sees_last"), lookback=walk.lookback),
            chosen=self._t(p + ("every" if walk.most is None else "at_most"), most=walk.most),
        )
        values = {
            "created": str(found.made["created"]),
            "plan": str(found.made["plan"]),
            "seed": str(found.settings.seed),
            "walk": moments,
            "versions": ", ".join(f"{name} {version}" for name, version in found.made["versions"].items()),
        }
        return [(self._t(p + name), value) for name, value in values.items()]

    def _footer(self) -> str:
        made = self._found.made
        return self._t(
            "evaluation.footer",
            version=made["versions"].get("kronos", ""),
            created=made["created"],
            plan=made["plan"][:12],
            seed=self._found.settings.seed,
            samples=self._found.settings.samples,
        )


def _together(words: Counter[Word]) -> str:
    """What groups say that can say something; ``mixed`` if they differ."""
    told = [word for word in words if word != "too few dates"]
    if not told:
        return "too few dates"
    return told[0] if len(told) == 1 else "mixed"


def _markup(pictures: Sequence[str]) -> list[Markup]:
    """Pictures as they are: `inline_svg` escapes what is in them."""
    return [Markup(one) for one in pictures]

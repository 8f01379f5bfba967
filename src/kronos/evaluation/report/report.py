"""The evaluation report: one self-contained HTML page, for readers who do not know the project.

    EvaluationReport(evaluation).save(Path("out/evaluation.html"))

The verdicts come first, then warnings, tables, figures, definitions and provenance. Everything on the page comes from
the `Evaluation`; only the bins of the figures are computed here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kronos.evaluation.aggregate import ALL
from kronos.evaluation.candle_references import RECENT, SAME_TIME
from kronos.evaluation.evaluation import Contender, Evaluation
from kronos.evaluation.origins import CONTEXT, left_out_sentences
from kronos.evaluation.report.candle_tables import CandleTables
from kronos.evaluation.report.figures import ReportFigures
from kronos.evaluation.report.tables import ABOUT, TONES, EvaluationTables
from kronos.evaluation.scoring import MIN_ORIGINS
from kronos.evaluation.verdicts import COVERAGE_RANGE, COVERAGE_TOLERANCE, MIN_DATES, SUSPICIOUS_SKILL, About, Word
from kronos.reports import PageOptions, ReportPage, Tone, format_versions, inline_figures

_SECTIONS = (
    "verdict",
    "warnings",
    "summary",
    "pictures",
    "volatility",
    "candles",
    "groups",
    "definitions",
    "provenance",
)
_DEFAULT_OPTIONS = PageOptions()


@dataclass(frozen=True, slots=True)
class _Answer:
    """One line of a contender's card; the fields are those of the template."""

    about: str
    answer: str
    tone: Tone
    sentence: str
    groups: str


class EvaluationReport(ReportPage):
    """The report as a page, rendered by `render` and written by `save`.

    Args:
        evaluation: The evaluation.
        options: Appearance and language; the sentences of the evaluation itself are English.
    """

    template = "evaluation.html"
    area = "evaluation"

    def __init__(self, evaluation: Evaluation, options: PageOptions = _DEFAULT_OPTIONS) -> None:
        super().__init__(options)
        self._evaluation = evaluation
        self._figures = ReportFigures(evaluation, self.text("overall"), options.theme, options.palette)
        self._tables = EvaluationTables(evaluation, self.t)
        self._candles = CandleTables(evaluation, self._tables, self.t)
        self._groups = evaluation.scores.groups
        self._last = evaluation.steps[-1]

    @property
    def title(self) -> str:
        """The default title."""
        names = self._evaluation.evaluated
        if not names:
            return self.text("title_nobody")
        raw = [name for name in names if self._tables.contenders[name].calibration is None]
        return self.text("title", names=", ".join(raw))

    def content(self) -> dict[str, Any]:
        """Return the values of the template's variables."""
        evaluation = self._evaluation
        horizon = evaluation.plan.rolling.horizon
        names = evaluation.evaluated if len(self._groups) > 1 else []
        contenders = evaluation.contenders
        return {
            "lead": self.text("lead", origins=f"{len(evaluation.plan):,}", horizon=horizon),
            "sections": _SECTIONS,
            "facts": self._facts(),
            "verdict_intro": self.text("verdict_intro", horizon=horizon, reference=evaluation.reference),
            "cards": [self._card(self._tables.contenders[name]) for name in self._figures.shown],
            "verdict_tables": [self._tables.verdict_table(name) for name in names],
            "overall_verdicts": self._sentences(ALL),
            "warnings": self._warnings(),
            "summary": self._tables.summary(),
            "by_step": self._tables.by_step(),
            "by_group": self._tables.by_group(),
            "best": self._tables.best(),
            "pictures": self._figure_sections(),
            "volatility": self._tables.volatility(),
            "candles": self._candles.overview(),
            "candles_by_step": [table for name in self._figures.shown for table in self._candles.by_step(name)],
            "candles_omitted": self._candles.omitted(),
            "groups": [self._group(group) for group in self._groups],
            "definitions": self._definitions(),
            "forecasters": self._tables.forecasters(),
            "provenance": self._provenance(),
            "identities": [(own.name, json.dumps(own.identity, indent=1, default=str)) for own in contenders],
            "footer": self._footer(),
            "samples": evaluation.settings.samples,
            "horizon": horizon,
            "least": MIN_ORIGINS,
        }

    def _warnings(self) -> list[str]:
        """All warnings; those about origins that were left out name every series."""
        left_out = self._evaluation.plan.left_out
        short = left_out_sentences(left_out)
        others = [warning for warning in self._evaluation.warnings if warning not in short]
        return [*left_out_sentences(left_out, limit=None), *others]

    def _facts(self) -> list[tuple[str, str]]:
        evaluation, rolling = self._evaluation, self._evaluation.plan.rolling
        dates = evaluation.actuals.origins["date"]
        facts = {
            "forecasts": f"{len(evaluation.plan):,}",
            "instruments": str(evaluation.actuals.origins["series"].nunique()),
            "groups": str(len(self._groups)),
            "dates": self.text("dates", first=f"{dates.min():%Y-%m-%d}", last=f"{dates.max():%Y-%m-%d}"),
            "horizon": str(rolling.horizon),
            "stride": str(rolling.step),
            "samples": str(evaluation.settings.samples),
            "reference": evaluation.reference,
            "baselines": str(sum(contender.baseline for contender in evaluation.contenders)),
        }
        return self.labelled("facts", facts)

    # Verdicts ----------------------------------------------------------------

    def _card(self, contender: Contender) -> dict[str, Any]:
        """The verdicts on one contender."""
        kind = self._tables.kind(contender)
        answers = [self._answer(contender.name, about) for about in ABOUT]
        return {
            "name": contender.name,
            "kind": kind,
            "mark": self._tables.mark(kind),
            "description": contender.description,
            "answers": [answer for answer in answers if answer is not None],
            "calibration": contender.calibration,
        }

    def _answer(self, name: str, about: About) -> _Answer | None:
        """The verdict over all groups, and how many groups have which verdict."""
        verdicts = [self._tables.verdicts.get((name, group, about)) for group in self._groups]
        words = Counter(verdict.word for verdict in verdicts if verdict is not None)
        overall = self._tables.verdicts.get((name, ALL, about))
        if overall is None and not words:
            return None
        word: str = overall.word if overall is not None else _common_word(words)
        counts = [
            self.text("count", word=self._tables.word(own), n=n, all=sum(words.values()))
            for own, n in sorted(words.items(), key=lambda item: list(TONES).index(item[0]))
        ]
        return _Answer(
            about=self.text(f"about.{about}"),
            answer=self.text(f"answers.{about}.{word}", reference=self._evaluation.reference),
            tone=next((tone for known, tone in TONES.items() if known == word), "neutral"),
            sentence="" if overall is None else overall.sentence,
            groups=self.text("by_group_count", counts=", ".join(counts)) if len(self._groups) > 1 else "",
        )

    def _sentences(self, group: str) -> list[tuple[str, str]]:
        """All verdicts on one group, or over all groups, in full."""
        return [
            (f"{own.forecaster}, {self.text(f'about.{own.about}')}", own.sentence)
            for own in self._evaluation.verdicts
            if own.group == group
        ]

    # Figures -----------------------------------------------------------------

    def _figure_sections(self) -> list[dict[str, Any]]:
        """All kinds of figures with their texts; less important ones are folded."""
        figures, other_steps = self._figures, self._evaluation.steps[:-1]
        ordering, missing = figures.ordering()
        note = self.text("pictures.ordering_missing", groups=", ".join(missing)) if missing else ""
        return [
            self._figure_section("skill", figures.skill()),
            self._figure_section("coverage", figures.coverage()),
            self._figure_section(
                "pit", figures.pit(self._last), [figure for step in other_steps for figure in figures.pit(step)]
            ),
            self._figure_section(
                "reliability",
                figures.reliability(self._last),
                [figure for step in other_steps for figure in figures.reliability(step)],
            ),
            self._figure_section("ordering", ordering)
            | {"note": note if ordering else self.text("pictures.ordering_none")},
            self._figure_section("examples", *figures.examples(), more_title="more_fans"),
            self._figure_section("worst", *figures.worst(), more_title="more_fans"),
        ]

    def _figure_section(
        self, name: str, figures: Sequence[str], more: Sequence[str] = (), more_title: str = "other_steps"
    ) -> dict[str, Any]:
        return {
            "title": self.text(f"pictures.{name}", reference=self._evaluation.reference),
            "words": self.text(f"pictures.{name}_words", reference=self._evaluation.reference),
            "pictures": inline_figures(figures),
            "more": inline_figures(more),
            "more_title": self.text(f"pictures.{more_title}"),
            "note": "",
        }

    # Groups ------------------------------------------------------------------

    def _group(self, group: str) -> dict[str, Any]:
        """The section of one group."""
        rows = self._evaluation.actuals.origins
        rows = rows[rows["group"] == group]
        dates = rows["date"]
        count = self.text(
            "group_count",
            n=f"{len(rows):,}",
            instruments=rows["series"].nunique(),
            first=f"{dates.min():%Y-%m-%d}",
            last=f"{dates.max():%Y-%m-%d}",
        )
        price = [self._tables.verdicts.get((name, group, "price")) for name in self._evaluation.evaluated]
        figures = [
            *self._figures.coverage(group, reference=False),
            *self._figures.pit(self._last, group, reference=False),
        ]
        return {
            "name": group,
            "badges": [(TONES[own.word], f"{own.forecaster}: {self._tables.word(own.word)}") for own in price if own],
            "count": count,
            "tables": [self._tables.group(group), *self._tables.group_volatility(group)],
            "pictures": inline_figures(figures),
            "sentences": self._sentences(group),
        }

    # Definitions and provenance ----------------------------------------------

    def _definitions(self) -> list[tuple[str, str]]:
        prefix = "evaluation.definitions."
        names = [name for name in self.t.keys if name.startswith(prefix) and name.endswith(".term")]
        values = {
            "few": MIN_DATES,
            "too_good": f"{SUSPICIOUS_SKILL:.0%}",
            "recent": RECENT,
            "same_time": SAME_TIME,
            "context": CONTEXT,
            "negligible": f"{100 * COVERAGE_TOLERANCE:.0f}",
            "within": f"{100 * COVERAGE_RANGE:.0f}",
        }
        return [(self.t(name), self.t(f"{name.removesuffix('term')}words", **values)) for name in names]

    def _provenance(self) -> list[tuple[str, str]]:
        evaluation, rolling = self._evaluation, self._evaluation.plan.rolling
        made = evaluation.provenance
        prefix = "provenance."
        origins = self.text(
            prefix + "walk_value",
            horizon=rolling.horizon,
            stride=rolling.step,
            least=rolling.least_history,
            seen=self.text(
                prefix + ("sees_all" if rolling.lookback is None else "sees_last"), lookback=rolling.lookback
            ),
            chosen=self.text(
                prefix + ("every" if rolling.max_origins is None else "at_most"), most=rolling.max_origins
            ),
        )
        values = {
            "created": str(made["created"]),
            "plan": str(made["plan"]),
            "seed": str(evaluation.settings.seed),
            "walk": origins,
            "versions": format_versions(made["versions"]),
        }
        return self.labelled("provenance", values)

    def _footer(self) -> str:
        made = self._evaluation.provenance
        return self.text(
            "footer",
            version=made["versions"].get("kronos", ""),
            created=made["created"],
            plan=made["plan"][:12],
            seed=self._evaluation.settings.seed,
            samples=self._evaluation.settings.samples,
        )


def _common_word(words: Counter[Word]) -> str:
    """The verdict that all groups share, ignoring those with too few dates; ``mixed`` if they differ."""
    known = [word for word in words if word != "too few dates"]
    if not known:
        return "too few dates"
    return known[0] if len(known) == 1 else "mixed"

"""The tables of the evaluation report that are about whole candles."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kronos.evaluation.aggregate import ALL
from kronos.evaluation.evaluation import Evaluation
from kronos.evaluation.report.tables import TONES, EvaluationTables
from kronos.evaluation.whole_candles import MEASURES, CandleFigures, Clustered, ClusteringFigures, ClusteringWord
from kronos.formatting import MISSING, format_number, percent
from kronos.metrics import Estimate
from kronos.reports import Table, TableCell, TableColumn, TableRow, Tone, Translator, change_cell, percent_cell

_TONES: dict[ClusteringWord, Tone] = {
    "weaker": "bad",
    "stronger": "bad",
    "no evidence": "neutral",
    "too few dates": "unknown",
}
_EMPTY = TableCell(MISSING)


class CandleTables:
    """Builds the tables about whole candles in one language."""

    def __init__(self, evaluation: Evaluation, tables: EvaluationTables, t: Translator) -> None:
        """Index the figures by what the tables look up.

        Args:
            evaluation: The evaluation.
            tables: The other tables of the page, for the row headers.
            t: The language of headings and captions.
        """
        self._evaluation, self._tables, self._t = evaluation, tables, t
        found = evaluation.whole_candles
        self._figures = {(own.forecaster, own.group, own.measure, own.step): own for own in found.figures}
        self._clustering = {(own.forecaster, own.group, own.of): own for own in found.clustering}
        self._steps = evaluation.steps
        self._last = self._steps[-1]

    def overview(self) -> list[Table]:
        """All contenders over all groups: skill by measure at the last step, size of volumes and gaps, clustering."""
        scored = {own.forecaster for own in self._evaluation.whole_candles.figures}
        names = [name for name in self._tables.contenders if name in scored]
        if not names:
            return []
        return [self._skills(names), self._details(names), *self._clusters(names)]

    def by_step(self, name: str) -> list[Table]:
        """All measures of one contender at every step over all groups, and by group at the last step."""
        groups = self._evaluation.scores.groups
        own = [figures for figures in self._figures.values() if figures.forecaster == name]
        if not own:
            return []
        tables = [self._of_group(name, ALL, self._t("evaluation.candles.step_caption", name=name))]
        if len(groups) > 1:
            tables.append(self._by_group(name))
        return tables

    def omitted(self) -> list[str]:
        """What is not scored, as sentences in English."""
        sentences = []
        for own in self._evaluation.whole_candles.omitted:
            subject = own.group if own.forecaster == ALL else own.forecaster
            measures = "" if len(own.measures) > len(MEASURES) else f", {', '.join(own.measures)}".replace("_", " ")
            sentences.append(f"{'' if subject == ALL else subject}{measures}: {own.reason}.".removeprefix(", "))
        return sentences

    def _skills(self, names: Sequence[str]) -> Table:
        columns = [self._column("forecaster"), *(TableColumn(self._measure(measure)) for measure in MEASURES)]
        rows = [
            self._tables.row(
                name, [_skill(self._figures.get((name, ALL, measure, self._last))) for measure in MEASURES]
            )
            for name in names
        ]
        return Table(self._t("evaluation.candles.skill_caption", step=self._last), columns, rows)

    def _details(self, names: Sequence[str]) -> Table:
        """Distinct volumes, and the size of gaps, at the first and last step."""
        steps = list(dict.fromkeys([self._steps[0], self._last]))
        columns = [self._column("forecaster")]
        for key in ("distinct", "gap_ratio", "zero_volume", "no_range"):
            columns += [TableColumn(str(step), self._t(f"evaluation.candles.columns.{key}")) for step in steps]
        rows = []
        for name in names:
            volumes, gaps, wicks = (
                [self._figures.get((name, ALL, measure, step)) for step in steps]
                for measure in ("volume", "gap", "upper_wick")
            )
            cells = [_number(own, "distinct_values", 1) for own in volumes]
            cells += [_number(own, "median_ratio", 2) for own in gaps]
            cells += [_EMPTY if own is None else TableCell(percent(own.undefined)) for own in (*volumes, *wicks)]
            rows.append(self._tables.row(name, cells))
        caption = self._t("evaluation.candles.details_caption", samples=self._evaluation.settings.samples)
        return Table(caption, columns, rows)

    def _clusters(self, names: Sequence[str]) -> list[Table]:
        kinds: tuple[Clustered, ...] = ("returns", "ranges")
        columns = [self._column("forecaster")]
        for of in kinds:
            group = self._t(f"evaluation.candles.clustering.{of}")
            columns += [
                TableColumn(self._t(f"evaluation.candles.columns.{key}"), group, number=key != "verdict")
                for key in ("paths", "actual", "past", "difference", "verdict")
            ]
        rows = []
        for name in names:
            own = [self._clustering.get((name, ALL, of)) for of in kinds]
            if any(own):
                rows.append(self._tables.row(name, [cell for found in own for cell in self._cluster_cells(found)]))
        if not rows:
            return []
        return [Table(self._t("evaluation.candles.clustering_caption", horizon=self._last), columns, rows)]

    def _cluster_cells(self, own: ClusteringFigures | None) -> list[TableCell]:
        if own is None:
            return [_EMPTY] * 5
        word = TableCell(self._t(f"evaluation.candles.words.{own.word}"), tone=_TONES[own.word])
        means = [TableCell(format_number(value, 3)) for value in (own.paths, own.actual, own.history)]
        return [*means, change_cell(own.difference), word]

    def _of_group(self, name: str, group: str, caption: str) -> Table:
        columns = [
            TableColumn(self._t("evaluation.candles.columns.measure"), number=False),
            *(TableColumn(str(step), self._t("evaluation.candles.columns.skill_at")) for step in self._steps),
            TableColumn(self._t("evaluation.candles.columns.verdict"), number=False),
            self._column("forecasts"),
            TableColumn(self._t("evaluation.candles.columns.left_out")),
        ]
        rows = []
        for measure in MEASURES:
            figures = [self._figures.get((name, group, measure, step)) for step in self._steps]
            if any(figures):
                rows.append(TableRow(self._measure(measure), [*map(_skill, figures), *self._counts(figures[-1])]))
        return Table(caption, columns, rows)

    def _counts(self, own: CandleFigures | None) -> list[TableCell]:
        """Verdict, forecasts and those left out at the last step."""
        if own is None:
            return [_EMPTY] * 3
        badge = TableCell(self._tables.word(own.word), tone=TONES[own.word])
        return [badge, TableCell(f"{own.n:,}"), TableCell(f"{own.left_out:,}")]

    def _by_group(self, name: str) -> Table:
        columns = [self._column("group"), *(TableColumn(self._measure(measure)) for measure in MEASURES)]
        rows = [
            TableRow(group, [_skill(self._figures.get((name, group, measure, self._last))) for measure in MEASURES])
            for group in self._evaluation.scores.groups
        ]
        return Table(self._t("evaluation.candles.group_caption", name=name, step=self._last), columns, rows)

    def _measure(self, measure: str) -> str:
        return self._t(f"evaluation.candles.measures.{measure}")

    def _column(self, name: str) -> TableColumn:
        return TableColumn(self._t(f"evaluation.columns.{name}"))


def _skill(own: CandleFigures | None) -> TableCell:
    return percent_cell(None if own is None else own.skill)


def _number(own: CandleFigures | None, key: str, decimals: int) -> TableCell:
    found: Estimate | None = None if own is None else own.details.get(key)
    if found is None or not math.isfinite(found.estimate):
        return _EMPTY
    interval = f"{format_number(found.low, decimals)} to {format_number(found.high, decimals)}"
    return TableCell(format_number(found.estimate, decimals), interval if math.isfinite(found.low) else "")

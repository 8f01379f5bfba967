"""The tables of the evaluation report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kronos.evaluation.aggregate import ALL, Aggregates
from kronos.evaluation.evaluation import Contender, Evaluation
from kronos.evaluation.model_comparison import ModelComparison
from kronos.evaluation.verdicts import About, Verdict, Word
from kronos.formatting import MISSING, format_number, percent
from kronos.reports import (
    RowKind,
    Table,
    TableCell,
    TableColumn,
    TableRow,
    Tone,
    Translator,
    lowest_marked,
    percent_cell,
)

ABOUT: tuple[About, ...] = ("price", "direction", "volatility", "bands")
TONES: dict[Word, Tone] = {
    "better": "good",
    "calibrated": "good",
    "no evidence": "neutral",
    "worse": "bad",
    "too narrow": "bad",
    "too wide": "bad",
    "too few dates": "unknown",
}
_BANDS = ("50", "80", "95")
_EMPTY = TableCell(MISSING)


class EvaluationTables:
    """Builds the tables of one evaluation in one language."""

    def __init__(self, evaluation: Evaluation, t: Translator) -> None:
        """Index verdicts and figures by what the tables look up.

        Args:
            evaluation: The evaluation.
            t: The language of headings and captions.
        """
        self._evaluation = evaluation
        self._t = t
        self.contenders = {contender.name: contender for contender in evaluation.contenders}
        self.verdicts = {(own.forecaster, own.group, own.about): own for own in evaluation.verdicts}
        self._aggregates = {(own.forecaster, own.group, own.step): own for own in evaluation.aggregates}
        self._groups = evaluation.scores.groups
        self._steps = evaluation.steps
        self._last = self._steps[-1]
        self._first_baseline = next((own.name for own in evaluation.contenders if own.baseline), None)

    def verdict_table(self, name: str) -> Table:
        """One contender's verdicts, one row per group."""
        rows = []
        for group in self._groups:
            verdicts = [self.verdicts.get((name, group, about)) for about in ABOUT]
            rows.append(TableRow(group, [_EMPTY if own is None else self._badge(own) for own in verdicts]))
        columns = [TableColumn(self._t(f"evaluation.about.{about}"), number=False) for about in ABOUT]
        caption = self._t("evaluation.verdict_caption", name=name)
        return Table(caption, [self._column("group"), *columns], rows)

    # Over all groups -----------------------------------------------------

    def summary(self) -> Table:
        """All contenders over all groups: CRPS by step, and further figures at the last one."""
        crps, step = self._t("evaluation.columns.crps"), self._last
        columns = [
            self._column("forecaster"),
            *(TableColumn(str(at), crps) for at in self._steps),
            self._column("skill_at", step=step),
            *(TableColumn(f"{band} %", self._t("evaluation.columns.coverage", step=step)) for band in _BANDS),
            self._column("hit_rate"),
        ]
        names = list(self.contenders)
        losses = [self._crps(names, ALL, at) for at in self._steps]
        rows = []
        for place, name in enumerate(names):
            own = self._aggregates.get((name, ALL, step))
            cells = [column[place] for column in losses]
            rows.append(self.row(name, [*cells, self._skill(name, own), *self._coverage(name, own), _hit_rate(own)]))
        return Table(self._t("evaluation.summary_caption"), columns, rows)

    def by_step(self) -> list[Table]:
        """Skill, and coverage of each band, of all contenders at every step."""
        over = self._t("evaluation.columns.step")
        columns = [self._column("forecaster"), *(TableColumn(str(step), over) for step in self._steps)]
        rows = [
            self.row(name, [self._skill(name, self._aggregates.get((name, ALL, step))) for step in self._steps])
            for name in self.contenders
        ]
        tables = [Table(self._t("evaluation.skill_caption", reference=self._evaluation.reference), columns, rows)]
        for place, band in enumerate(_BANDS):
            rows = [
                self.row(
                    name,
                    [
                        self._coverage(name, self._aggregates.get((name, ALL, step)), interval=True)[place]
                        for step in self._steps
                    ],
                )
                for name, contender in self.contenders.items()
                if not contender.point
            ]
            tables.append(Table(self._t("evaluation.coverage_caption", band=band), columns, rows))
        return tables

    def by_group(self) -> Table:
        """CRPS at the last step, one row per group."""
        names = list(self.contenders)
        rows = [TableRow(group, self._crps(names, group, self._last)) for group in self._groups]
        columns = [self._column("group"), *(TableColumn(name) for name in names)]
        return Table(self._t("evaluation.by_group_caption", step=self._last), columns, rows)

    def best(self) -> Table | None:
        """Multiple-comparison tests, one row per group; None if none were made."""
        comparisons = self._evaluation.comparison
        if not comparisons:
            return None
        reference = self._evaluation.reference
        columns = [
            *(self._column(name, number=False, reference=reference) for name in ("group", "may_be_best", "beats")),
            *(self._column(name) for name in ("chance", "forecasts")),
        ]
        rows = [
            TableRow(self._t("evaluation.overall") if own.group == ALL else own.group, self._comparison_cells(own))
            for own in sorted(comparisons, key=lambda own: own.group != ALL)
        ]
        return Table(self._t("evaluation.best_caption", step=comparisons[0].step), columns, rows)

    def _comparison_cells(self, comparison: ModelComparison) -> list[TableCell]:
        count = TableCell(f"{comparison.n:,}")
        if comparison.spa_p is None:
            return [TableCell(comparison.sentence), _EMPTY, _EMPTY, count]
        better = ", ".join(comparison.better) or self._t("evaluation.nobody")
        return [TableCell(", ".join(comparison.included)), TableCell(better), _p_value(comparison.spa_p), count]

    def volatility(self) -> Table | None:
        """QLIKE of all contenders, one row per group; None if no variance was scored."""
        table = self._evaluation.volatility
        if table.empty:
            return None
        rows = zip(table["group"], table["forecaster"], table["qlike"].astype(float), strict=True)
        losses = {(group, name): loss for group, name, loss in rows if math.isfinite(loss)}
        scored = {name for _, name in losses}
        names = [name for name, contender in self.contenders.items() if not contender.point and name in scored]
        return Table(
            self._t("evaluation.volatility_caption"),
            [self._column("group"), *(TableColumn(name) for name in names)],
            [
                TableRow(group, lowest_marked([losses.get((group, name), math.nan) for name in names]))
                for group in self._groups
            ],
        )

    # One group ------------------------------------------------------------

    def group(self, group: str) -> Table:
        """All figures of one group: every contender at every step."""
        columns = [
            *(self._column(name) for name in ("forecaster", "step", "forecasts")),
            TableColumn("CRPS"),
            *(self._column(name) for name in ("skill", "p")),
            *(TableColumn(f"{band} %") for band in _BANDS),
            *(self._column(name) for name in ("width", "uniform", "brier", "hit_rate", "p", "rank_ic")),
        ]
        rows = []
        for step in self._steps:
            losses = self._crps(list(self.contenders), group, step)
            for place, (name, loss) in enumerate(zip(self.contenders, losses, strict=True)):
                own = self._aggregates.get((name, group, step))
                if own is not None:
                    cells = [TableCell(str(step)), TableCell(f"{own.n:,}"), loss, *self._details(own)]
                    rows.append(self.row(name, cells, separator=place == 0))
        caption = self._t("evaluation.group_caption", group=group)
        return Table(caption, columns, rows, self._t("evaluation.group_note"))

    def _details(self, own: Aggregates) -> list[TableCell]:
        point, rank = self.contenders[own.forecaster].point, own.rank_ic
        return [
            self._skill(own.forecaster, own),
            _EMPTY if own.test is None else _p_value(own.test.p_value),
            *self._coverage(own.forecaster, own),
            _EMPTY if point else TableCell(format_number(own.width, 2)),
            _EMPTY if point or own.uniform is None else _p_value(own.uniform.p_value),
            TableCell(format_number(own.brier, 3)),
            _hit_rate(own),
            _EMPTY if own.direction_p is None else _p_value(own.direction_p),
            _EMPTY if rank is None else TableCell(format_number(rank["mean"], 3), f"t {format_number(rank['t'], 1)}"),
        ]

    def group_volatility(self, group: str) -> list[Table]:
        """Scores of the realised variance in one group; empty if none were computed."""
        table = self._evaluation.volatility
        if table.empty:
            return []
        own = table[table["group"] == group].set_index("forecaster")[["qlike", "mae", "r2"]].astype(float).T.to_dict()
        names = [name for name, contender in self.contenders.items() if name in own and not contender.point]
        losses = lowest_marked([own[name]["qlike"] for name in names])
        rows = [
            self.row(name, [loss, TableCell(f"{own[name]['mae']:.3g}"), TableCell(format_number(own[name]["r2"], 3))])
            for name, loss in zip(names, losses, strict=True)
        ]
        columns = [self._column(name) for name in ("forecaster", "qlike", "mae", "r2")]
        horizon = self._evaluation.plan.rolling.horizon
        return [Table(self._t("evaluation.group_volatility", group=group, horizon=horizon), columns, rows)]

    def forecasters(self) -> Table:
        """All contenders with their descriptions."""
        columns = [self._column(name, number=False) for name in ("forecaster", "description")]
        rows = [self.row(own.name, [TableCell(own.description)]) for own in self._evaluation.contenders]
        return Table(self._t("evaluation.provenance.caption"), columns, rows)

    # Cells ----------------------------------------------------------------

    def kind(self, contender: Contender) -> RowKind:
        """Whether a contender is the reference, a baseline, raw or calibrated."""
        if contender.name == self._evaluation.reference:
            return "reference"
        if contender.baseline:
            return "baseline"
        return "raw" if contender.calibration is None else "calibrated"

    def mark(self, kind: RowKind) -> str:
        """The kind in words."""
        return self._t(f"kinds.{kind}") if kind else ""

    def word(self, word: Word) -> str:
        """A verdict in one or two words."""
        return self._t(f"evaluation.words.{word}")

    def _column(self, name: str, *, number: bool = True, **values: object) -> TableColumn:
        return TableColumn(self._t(f"evaluation.columns.{name}", **values), number=number)

    def row(self, name: str, cells: Sequence[TableCell], *, separator: bool | None = None) -> TableRow:
        """A row of one contender, marked by its kind."""
        kind = self.kind(self.contenders[name])
        first = bool(self._evaluation.evaluated) and name == self._first_baseline
        return TableRow(name, cells, kind, self.mark(kind), first if separator is None else separator)

    def _badge(self, verdict: Verdict) -> TableCell:
        return TableCell(self.word(verdict.word), tone=TONES[verdict.word])

    def _crps(self, names: Sequence[str], group: str, step: int) -> list[TableCell]:
        rows = [self._aggregates.get((name, group, step)) for name in names]
        return lowest_marked([math.nan if own is None else own.crps for own in rows])

    def _skill(self, name: str, own: Aggregates | None) -> TableCell:
        if name == self._evaluation.reference:
            return TableCell("0")
        return percent_cell(None if own is None else own.skill)

    def _coverage(self, name: str, own: Aggregates | None, *, interval: bool = False) -> list[TableCell]:
        """Coverage of each band; empty for point forecasts."""
        if own is None or self.contenders[name].point:
            return [_EMPTY] * len(_BANDS)
        shares = [own.coverage[band] for band in _BANDS]
        return [percent_cell(share) if interval else TableCell(percent(share.estimate)) for share in shares]


def _hit_rate(own: Aggregates | None) -> TableCell:
    return percent_cell(None if own is None else own.hit_rate)


def _p_value(value: float) -> TableCell:
    if not math.isfinite(value):
        return _EMPTY
    return TableCell("< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0"))

"""The tables of an evaluation's page: its figures in rows and columns, formatted, with the best of each marked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from kronos.evaluation.aggregate import ALL, Aggregates
from kronos.evaluation.evaluation import Contender, Evaluation
from kronos.evaluation.model_comparison import Comparison
from kronos.evaluation.verdicts import About, Verdict, Word
from kronos.metrics import Estimate
from kronos.reports import Cell, Column, Kind, Row, Table, Tone, Translator

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
_NONE = "–"


class Tables:
    """Makes the tables."""

    def __init__(self, evaluation: Evaluation, t: Translator) -> None:
        """Index what the tables look up.

        Args:
            evaluation: Whose.
            t: What heads and captions say.
        """
        self._found = evaluation
        self._t = t
        self.subjects = {one.name: one for one in evaluation.subjects}
        self.verdicts = {(one.forecaster, one.group, one.about): one for one in evaluation.verdicts}
        self._figures = {(one.forecaster, one.group, one.step): one for one in evaluation.figures}
        self._groups = evaluation.scores.groups
        self._steps = sorted({one.step for one in evaluation.figures})
        self._last = self._steps[-1]

    def verdict_table(self, name: str) -> Table:
        """A forecaster's verdicts, a row a group."""
        columns = [Column(self._t(f"evaluation.about.{about}"), number=False) for about in ABOUT]
        rows = []
        for group in self._groups:
            own = [self.verdicts.get((name, group, about)) for about in ABOUT]
            rows.append(Row(group, [Cell(_NONE) if one is None else self._badge(one) for one in own]))
        caption = self._t("evaluation.verdict_caption", name=name)
        return Table(caption, [Column(self._t("evaluation.columns.group")), *columns], rows)

    # Over all groups -----------------------------------------------------

    def summary(self) -> Table:
        """Everybody over all groups: CRPS by step, and the rest at the last one."""
        over, step = self._t("evaluation.columns.crps"), self._last
        columns = [
            Column(self._t("evaluation.columns.forecaster")),
            *(Column(str(one), over) for one in self._steps),
            Column(self._t("evaluation.columns.skill_at", step=step)),
            *(Column(f"{band} %", self._t("evaluation.columns.coverage", step=step)) for band in _BANDS),
            Column(self._t("evaluation.columns.hit_rate")),
        ]
        names = list(self.subjects)
        crps = [self._crps(names, ALL, one) for one in self._steps]
        rows = []
        for place, name in enumerate(names):
            at = self._figures.get((name, ALL, step))
            cells = [column[place] for column in crps]
            rows.append(self._row(name, [*cells, self._skill(name, at), *self._coverage(name, at), _share(at)]))
        return Table(self._t("evaluation.summary_caption"), columns, rows)

    def by_step(self) -> list[Table]:
        """Skill, and coverage of each band, of everybody at every step."""
        head = Column(self._t("evaluation.columns.forecaster"))
        columns = [head, *(Column(str(step), self._t("evaluation.columns.step")) for step in self._steps)]
        found = [
            Table(
                self._t("evaluation.skill_caption", reference=self._found.reference),
                columns,
                [
                    self._row(name, [self._skill(name, self._figures.get((name, ALL, step))) for step in self._steps])
                    for name in self.subjects
                ],
            )
        ]
        for place, band in enumerate(_BANDS):
            rows = [
                self._row(
                    name,
                    [self._coverage(name, self._figures.get((name, ALL, s)), ends=True)[place] for s in self._steps],
                )
                for name, one in self.subjects.items()
                if not one.point
            ]
            found.append(Table(self._t("evaluation.coverage_caption", band=band), columns, rows))
        return found

    def by_group(self) -> Table:
        """CRPS at the last step, a row a group."""
        names = list(self.subjects)
        rows = [Row(group, self._crps(names, group, self._last)) for group in self._groups]
        columns = [Column(self._t("evaluation.columns.group")), *(Column(name) for name in names)]
        return Table(self._t("evaluation.by_group_caption", step=self._last), columns, rows)

    def best(self) -> Table | None:
        """Who may be the best, by group."""
        found = self._found.comparison
        if not found:
            return None
        names = ("group", "may_be_best", "beats", "chance", "forecasts")
        columns = [
            Column(self._t(f"evaluation.columns.{name}", reference=self._found.reference), number=name in names[3:])
            for name in names
        ]
        ordered = sorted(found, key=lambda one: one.group != ALL)
        rows = [Row(self._called(one.group), self._compared(one)) for one in ordered]
        return Table(self._t("evaluation.best_caption", step=found[0].step), columns, rows)

    def _compared(self, one: Comparison) -> list[Cell]:
        if one.spa_p is None:
            return [Cell(one.sentence), Cell(_NONE), Cell(_NONE), Cell(f"{one.n:,}")]
        better = ", ".join(one.better) or self._t("evaluation.nobody")
        return [Cell(", ".join(one.included)), Cell(better), Cell(_chance(one.spa_p)), Cell(f"{one.n:,}")]

    def volatility(self) -> Table | None:
        """QLIKE of everybody, a row a group."""
        table = self._found.volatility
        if table.empty:
            return None
        found = zip(table["group"], table["forecaster"], table["qlike"].astype(float), strict=True)
        losses = {(group, name): loss for group, name, loss in found if math.isfinite(loss)}
        names = [name for name, one in self.subjects.items() if not one.point and any(who == name for _, who in losses)]
        rows = [
            Row(
                group,
                _marked([losses.get((group, name), math.nan) for name in names], lambda value: f"{value:.3f}"),
            )
            for group in self._groups
        ]
        columns = [Column(self._t("evaluation.columns.group")), *(Column(name) for name in names)]
        return Table(self._t("evaluation.volatility_caption"), columns, rows)

    # One group ------------------------------------------------------------

    def group(self, group: str) -> Table:
        """All figures: every forecaster at every step."""
        c = "evaluation.columns."
        columns = [
            Column(self._t(c + "forecaster")),
            *(Column(self._t(c + name)) for name in ("step", "forecasts")),
            Column("CRPS"),
            Column(self._t(c + "skill")),
            Column(self._t(c + "p")),
            *(Column(f"{band} %") for band in _BANDS),
            *(Column(self._t(c + name)) for name in ("width", "uniform", "brier", "hit_rate", "p", "rank_ic")),
        ]
        rows = []
        for step in self._steps:
            losses = self._crps(list(self.subjects), group, step)
            for place, (name, loss) in enumerate(zip(self.subjects, losses, strict=True)):
                one = self._figures.get((name, group, step))
                if one is not None:
                    cells = [Cell(str(step)), Cell(f"{one.n:,}"), loss, *self._details(one)]
                    rows.append(self._row(name, cells, begins=place == 0))
        caption = self._t("evaluation.group_caption", group=group)
        return Table(caption, columns, rows, self._t("evaluation.group_note"))

    def _details(self, one: Aggregates) -> list[Cell]:
        point = self.subjects[one.forecaster].point
        rank = one.rank_ic
        return [
            self._skill(one.forecaster, one),
            Cell(_NONE if one.test is None else _chance(one.test.p_value)),
            *self._coverage(one.forecaster, one),
            Cell(_NONE if point else _number(one.width, 2)),
            Cell(_NONE if point or one.uniform is None else _chance(one.uniform.p_value)),
            Cell(_number(one.brier, 3)),
            _share(one),
            Cell(_NONE if one.direction_p is None else _chance(one.direction_p)),
            Cell(_NONE) if rank is None else Cell(_number(rank["mean"], 3), f"t {_number(rank['t'], 1)}"),
        ]

    def group_volatility(self, group: str) -> list[Table]:
        """Realised volatility in one group; nothing where there is none."""
        table = self._found.volatility
        if table.empty:
            return []
        own = table[table["group"] == group].set_index("forecaster")[["qlike", "mae", "r2"]].astype(float).T.to_dict()
        names = [name for name, one in self.subjects.items() if name in own and not one.point]
        losses = _marked([own[name]["qlike"] for name in names], lambda value: f"{value:.3f}")
        rows = [
            self._row(name, [loss, Cell(f"{own[name]['mae']:.3g}"), Cell(_number(own[name]["r2"], 3))])
            for name, loss in zip(names, losses, strict=True)
        ]
        columns = [Column(self._t(f"evaluation.columns.{name}")) for name in ("forecaster", "qlike", "mae", "r2")]
        caption = self._t("evaluation.group_volatility", group=group, horizon=self._found.plan.walk.horizon)
        return [Table(caption, columns, rows)]

    # Everybody ------------------------------------------------------------

    def forecasters(self) -> Table:
        """Everybody with a line on what it is."""
        columns = [
            Column(self._t(f"evaluation.columns.{name}"), number=False) for name in ("forecaster", "description")
        ]
        rows = [self._row(one.name, [Cell(one.description)]) for one in self._found.subjects]
        return Table(self._t("evaluation.provenance.caption"), columns, rows)

    # What several tables need ---------------------------------------------

    def kind(self, subject: Contender) -> Kind:
        """What somebody is to a reader."""
        if subject.name == self._found.reference:
            return "reference"
        if subject.baseline:
            return "baseline"
        return "raw" if subject.calibration is None else "calibrated"

    def mark(self, kind: Kind) -> str:
        """The same in a word."""
        return self._t(f"kinds.{kind}") if kind else ""

    def _row(self, name: str, cells: Sequence[Cell], *, begins: bool | None = None) -> Row:
        kind = self.kind(self.subjects[name])
        baselines = [one.name for one in self._found.subjects if one.baseline]
        first = bool(self._found.evaluated) and name == next(iter(baselines), None)
        return Row(name, cells, kind, self.mark(kind), first if begins is None else begins)

    def _called(self, group: str) -> str:
        return self._t("evaluation.overall") if group == ALL else group

    def word(self, word: Word) -> str:
        """A verdict in a word."""
        return self._t(f"evaluation.words.{word}")

    def _badge(self, one: Verdict) -> Cell:
        return Cell(self.word(one.word), tone=TONES[one.word])

    def _crps(self, names: Sequence[str], group: str, step: int) -> list[Cell]:
        """The losses of some forecasters, the least marked."""
        found = [self._figures.get((name, group, step)) for name in names]
        return _marked([math.nan if one is None else one.crps for one in found], lambda value: f"{value:.3f}")

    def _skill(self, name: str, one: Aggregates | None) -> Cell:
        if name == self._found.reference:
            return Cell("0")
        return Cell(_NONE) if one is None or one.skill is None else _estimate(one.skill)

    def _coverage(self, name: str, one: Aggregates | None, *, ends: bool = False) -> list[Cell]:
        """Shares within the bands; of a point forecast, none."""
        if one is None or self.subjects[name].point:
            return [Cell(_NONE)] * 3
        shares = [one.coverage[band] for band in _BANDS]
        return [_estimate(share) if ends else Cell(_percent(share.estimate)) for share in shares]


def _marked(values: Sequence[float], said: Callable[[float], str]) -> list[Cell]:
    """Losses as cells, the least of at least two marked."""
    known = [value for value in values if math.isfinite(value)]
    least = min(known) if len(known) > 1 else math.nan
    return [Cell(said(value), best=value == least) if math.isfinite(value) else Cell(_NONE) for value in values]


def _estimate(found: Estimate) -> Cell:
    """A share or skill with its interval."""
    if not math.isfinite(found.estimate):
        return Cell(_NONE)
    known = math.isfinite(found.low) and math.isfinite(found.high)
    ends = f"{_number(100 * found.low, 1)} to {_number(100 * found.high, 1)}" if known else ""
    return Cell(_percent(found.estimate), ends)


def _share(one: Aggregates | None) -> Cell:
    return Cell(_NONE) if one is None or one.hit_rate is None else _estimate(one.hit_rate)


def _percent(value: float) -> str:
    return _NONE if not math.isfinite(value) else f"{_number(100 * value, 1)} %"


def _number(value: float, decimals: int) -> str:
    """A number with a true minus; none of zero."""
    if not math.isfinite(value):
        return _NONE
    text = f"{value:.{decimals}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def _chance(value: float) -> str:
    """A p-value."""
    if not math.isfinite(value):
        return _NONE
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")

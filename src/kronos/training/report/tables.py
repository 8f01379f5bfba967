"""Tables of the training reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kronos.evaluation import REFERENCE
from kronos.formatting import MISSING, format_number, format_signed
from kronos.reports import (
    RowKind,
    Table,
    TableCell,
    TableColumn,
    TableRow,
    Tone,
    Translator,
    change_cell,
    lowest_marked,
    percent_cell,
)
from kronos.training.comparison import Measure, MeasureVerdict, TrainingComparison, TrainingVerdict
from kronos.training.plan import PARTS
from kronos.training.report.summary import RunSummary, StageSummary

TONES: Mapping[MeasureVerdict, Tone] = {
    "better": "good",
    "no evidence": "neutral",
    "worse": "bad",
    "too few dates": "unknown",
}
VERDICT_TONES: Mapping[TrainingVerdict, Tone] = {
    "helped": "good",
    "helped in part": "neutral",
    "no evidence": "neutral",
    "harmed": "bad",
    "from scratch": "unknown",
}
_ROW_KINDS: Mapping[str, RowKind] = {
    "tuned": "calibrated",
    "start": "raw",
    "reference": "reference",
    "baseline": "baseline",
}


class TrainingTables:
    """Creates the tables.

    Args:
        t: Messages for headers and captions.
    """

    def __init__(self, t: Translator) -> None:
        self._t = t

    # Comparison -------------------------------------------------------------

    def changes(self, comparison: TrainingComparison) -> list[Table]:
        """All measures before and after, and each by group if there are several."""
        if not comparison.measures:
            return []
        columns = self._columns("measure", "unit", "start", "tuned", "change", "verdict", text=("unit", "verdict"))
        rows = [
            TableRow(
                self._text(f"measures.{measure.name}"),
                [
                    TableCell(self._text(f"units.{measure.name}")),
                    TableCell(format_number(measure.start)),
                    TableCell(format_number(measure.tuned)),
                    change_cell(measure.change),
                    TableCell(self._text(f"answers.{measure.verdict}"), tone=TONES[measure.verdict]),
                ],
            )
            for measure in comparison.measures
        ]
        tables = [Table(self._text("changes_caption"), columns, rows)]
        return tables + [self._by_group(measure) for measure in comparison.measures if len(measure.by_group) > 1]

    def _by_group(self, measure: Measure) -> Table:
        name, unit = self._text(f"measures.{measure.name}"), self._text(f"units.{measure.name}")
        rows = []
        for group, losses in sorted(measure.by_group.items()):
            change, count = losses["tuned"] - losses["start"], losses["n"]
            start, tuned = losses["start"], losses["tuned"]
            cells = [
                TableCell(format_number(start), best=start < tuned),
                TableCell(format_number(tuned), best=tuned < start),
                TableCell(format_signed(change)),
                TableCell(f"{count:,.0f}"),
            ]
            rows.append(TableRow(group, cells))
        caption = self._text("groups_caption", measure=name, unit=unit)
        return Table(caption, self._columns("group", "start", "tuned", "change", "n"), rows)

    def contenders(self, comparison: TrainingComparison) -> Table | None:
        """Forecast scores of all contenders over all groups; None without forecasts."""
        contenders = comparison.contenders
        if not contenders:
            return None
        steps = sorted({int(step) for row in contenders for step in row.crps})
        columns = [
            TableColumn(self._text("columns.forecaster")),
            *(TableColumn(str(step), self._text("columns.crps")) for step in steps),
            TableColumn(self._text("columns.skill", step=steps[-1])),
            TableColumn(self._text("columns.coverage")),
        ]
        crps = [lowest_marked([row.crps.get(str(step), math.nan) for row in contenders]) for step in steps]
        rows = []
        for row, scores in zip(contenders, zip(*crps, strict=True), strict=True):
            own = row.kind in ("tuned", "start")
            mark = self._text(f"marks.{row.kind}") if own else self._t(f"kinds.{row.kind}")
            cells = [*scores, percent_cell(row.skill), percent_cell(row.coverage)]
            rows.append(TableRow(row.name, cells, _ROW_KINDS[row.kind], mark))
        note = self._text("contenders_note", reference=REFERENCE)
        return Table(self._text("contenders_caption"), columns, rows, note)

    # Training data ----------------------------------------------------------

    def data(self, data: Mapping[str, Any]) -> list[Table]:
        """The parts, and the candles of each part by group."""
        if not data:
            return []
        columns = self._columns("part", "first", "last", "candles", "kept", "stretches", text=("first", "last"))
        rows = [
            TableRow(
                self._text(f"parts.{part}"),
                [
                    *(
                        TableCell(str(data["parts"][part][end] or MISSING).replace("T", " "))
                        for end in ("first", "last")
                    ),
                    *(TableCell(f"{data['parts'][part][name]:,}") for name in ("candles", "kept", "stretches")),
                ],
            )
            for part in PARTS
        ]
        groups = [
            TableRow(group, [TableCell(f"{counts[name]:,}") for name in ("series", *PARTS)])
            for group, counts in sorted(data["groups"].items())
        ]
        return [
            Table(self._text("parts_caption"), columns, rows),
            Table(self._text("markets_caption"), self._columns("group", "series", *PARTS), groups),
        ]

    # Stages -----------------------------------------------------------------

    def stages(self, stages: Sequence[StageSummary]) -> Table:
        """Initial weights, extent and speed of the training of each network."""
        columns = self._columns(
            *("stage", "started", "parameters", "epochs", "steps", "best", "loss", "ended", "time", "speed"),
            text=("started",),
        )
        rows = [TableRow(self._text(f"stage.{stage.stage}"), self._stage(stage)) for stage in stages]
        return Table(self._text("stages_caption"), columns, rows)

    def _stage(self, stage: StageSummary) -> list[TableCell]:
        record, log = stage.record, stage.log
        timed = log is not None and "samples_per_second" in log.steps
        speed = float(log.steps["samples_per_second"].median()) if log is not None and timed else math.nan
        parameters = None if log is None else log.plan.get("parameters")
        texts = [
            MISSING if record is None else record.started_from or self._text("new_weights"),
            MISSING if parameters is None else f"{parameters:,}",
        ]
        if record is not None:
            best = str(record.best_epoch) if record.best_epoch else self._text("initial_weights")
            texts += [f"{record.epochs:,}", f"{record.steps:,}", best, format_number(record.best, 4)]
            known = record.stopped in ("finished", "patience", "minutes")
            texts.append(self._text(f"stopped.{record.stopped}") if known else record.stopped)
        else:
            extent = [MISSING] * 2
            if log is not None:
                extent = [f"{len(log.epochs):,}", f"{int(log.steps['step'].max()) if len(log.steps) else 0:,}"]
            texts += [*extent, MISSING, MISSING, self._text("stopped.running")]
        return [TableCell(text) for text in (*texts, self.duration(stage.seconds), format_number(speed, 0))]

    # Overview ---------------------------------------------------------------

    def overview(self, summaries: Sequence[RunSummary]) -> Table:
        """One row per run."""
        columns = [
            TableColumn(self._text("overview.name")),
            *(TableColumn(self._text(f"overview.{name}"), number=False) for name in ("state", "verdict")),
            *(TableColumn(self._text(f"overview.{name}")) for name in ("nll", "crps", "skill", "time")),
        ]
        rows = [TableRow(summary.name, self._overview_cells(summary)) for summary in summaries]
        note = self._text("overview.note", reference=REFERENCE)
        return Table(self._text("overview.caption"), columns, rows, note)

    def _overview_cells(self, summary: RunSummary) -> list[TableCell]:
        states = [
            f"{self._text(f'stage.{stage.stage}')}: {self._text(f'states.{stage.state}')}" for stage in summary.stages
        ]
        comparison = summary.comparison
        changes = {} if comparison is None else {measure.name: measure.change for measure in comparison.measures}
        contenders = () if comparison is None else comparison.contenders
        skill = next((row.skill for row in contenders if row.kind == "tuned"), None)
        return [
            TableCell(", ".join(states)),
            self.verdict(comparison),
            change_cell(changes.get("nll")),
            change_cell(changes.get("crps")),
            percent_cell(skill),
            TableCell(self.duration(summary.seconds)),
        ]

    def verdict(self, comparison: TrainingComparison | None) -> TableCell:
        """The verdict as a badge."""
        if comparison is None:
            return TableCell(self._text("verdicts.none"), tone="unknown")
        return TableCell(self._text(f"verdicts.{comparison.verdict}"), tone=VERDICT_TONES[comparison.verdict])

    def duration(self, seconds: float) -> str:
        """A time span in the page's language."""
        minutes, rest = divmod(round(seconds), 60)
        unit = "hours" if minutes >= 60 else "minutes" if minutes else "seconds"
        shown = minutes % 60 if unit == "hours" else minutes
        return self._text(f"duration.{unit}", hours=minutes // 60, minutes=shown, seconds=rest)

    def _columns(self, *names: str, text: Sequence[str] = ()) -> list[TableColumn]:
        return [TableColumn(self._text(f"columns.{name}"), number=name not in text) for name in names]

    def _text(self, key: str, **values: Any) -> str:
        return self._t(f"training.{key}", **values)

"""The tables of a training's page: figures in rows and columns, formatted, the best of each marked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kronos.evaluation import REFERENCE
from kronos.metrics import Estimate
from kronos.reports import Cell, Column, Kind, Row, Table, Tone, Translator
from kronos.training.comparison import Comparison, ComparisonRow, Measure, Verdict, Word, signed
from kronos.training.report.data import RunSummary, StageStory

TONES: Mapping[Word, Tone] = {"better": "good", "no evidence": "neutral", "worse": "bad", "too few dates": "unknown"}
VERDICT_TONES: Mapping[Verdict, Tone] = {
    "helped": "good",
    "helped in part": "neutral",
    "no evidence": "neutral",
    "harmed": "bad",
    "from scratch": "unknown",
}
_KINDS: Mapping[str, Kind] = {"tuned": "calibrated", "start": "raw", "reference": "reference", "baseline": "baseline"}
_PARTS = ("train", "val", "test")
_NONE = "–"


class Tables:
    """Makes the tables."""

    def __init__(self, t: Translator) -> None:
        """Prepare.

        Args:
            t: What heads and captions say.
        """
        self._t = t

    # Did it help ------------------------------------------------------------

    def changes(self, found: Comparison) -> list[Table]:
        """Every measure before and after, and by market where there are several."""
        if not found.measures:
            return []
        columns = self._columns("measure", "unit", "start", "tuned", "change", "verdict", words=("unit", "verdict"))
        rows = [Row(self._t(f"training.measures.{one.name}"), self._change(one)) for one in found.measures]
        tables = [Table(self._t("training.changes_caption"), columns, rows)]
        return tables + [self._by_group(one) for one in found.measures if len(one.by_group) > 1]

    def _change(self, one: Measure) -> list[Cell]:
        return [
            Cell(self._t(f"training.units.{one.name}")),
            Cell(number(one.start)),
            Cell(number(one.tuned)),
            Cell(signed(one.change.estimate), _ends(one.change)),
            Cell(self._t(f"training.answers.{one.word}"), tone=TONES[one.word]),
        ]

    def _by_group(self, one: Measure) -> Table:
        names = {place: self._t(f"training.{place}.{one.name}") for place in ("measures", "units")}
        caption = self._t("training.groups_caption", measure=names["measures"], unit=names["units"])
        rows = []
        for group, found in sorted(one.by_group.items()):
            start, tuned = found["start"], found["tuned"]
            cells = [
                Cell(number(start), best=start < tuned),
                Cell(number(tuned), best=tuned < start),
                Cell(signed(tuned - start)),
                Cell(f"{found['n']:,.0f}"),
            ]
            rows.append(Row(group, cells))
        return Table(caption, self._columns("group", "start", "tuned", "change", "n"), rows)

    def rivals(self, found: Comparison) -> Table | None:
        """Everybody's forecasts over all markets; None where none were made."""
        if not found.rivals:
            return None
        steps = sorted({int(step) for one in found.rivals for step in one.crps})
        c = "training.columns."
        columns = [
            Column(self._t(c + "forecaster")),
            *(Column(str(step), self._t(c + "crps")) for step in steps),
            Column(self._t(c + "skill", step=steps[-1])),
            Column(self._t(c + "coverage")),
        ]
        least = {step: min(one.crps.get(str(step), math.inf) for one in found.rivals) for step in steps}
        rows = [self._rival(one, steps, least) for one in found.rivals]
        return Table(
            self._t("training.rivals_caption"), columns, rows, self._t("training.rivals_note", reference=REFERENCE)
        )

    def _rival(self, one: ComparisonRow, steps: Sequence[int], least: Mapping[int, float]) -> Row:
        crps = [one.crps.get(str(step), math.nan) for step in steps]
        cells = [Cell(number(value), best=value == least[step]) for step, value in zip(steps, crps, strict=True)]
        own = one.kind in ("tuned", "start")
        mark = self._t(f"training.marks.{one.kind}" if own else f"kinds.{one.kind}")
        return Row(one.name, [*cells, _percent(one.skill), _percent(one.coverage)], _KINDS[one.kind], mark)

    # What it was trained on -------------------------------------------------

    def data(self, told: Mapping[str, Any]) -> list[Table]:
        """The parts, and what each has of every market."""
        if not told:
            return []
        columns = self._columns("part", "first", "last", "candles", "kept", "stretches", words=("first", "last"))
        rows = [
            Row(
                self._t(f"training.parts.{part}"),
                [
                    *(Cell(str(told["parts"][part][end] or _NONE).replace("T", " ")) for end in ("first", "last")),
                    *(Cell(f"{told['parts'][part][name]:,}") for name in ("candles", "kept", "stretches")),
                ],
            )
            for part in _PARTS
        ]
        groups = [
            Row(group, [Cell(f"{found[name]:,}") for name in ("series", *_PARTS)])
            for group, found in sorted(told["groups"].items())
        ]
        return [
            Table(self._t("training.parts_caption"), columns, rows),
            Table(self._t("training.markets_caption"), self._columns("group", "series", *_PARTS), groups),
        ]

    # How it was trained -----------------------------------------------------

    def stages(self, stages: Sequence[StageStory]) -> Table:
        """Each network: where from, how far, how long."""
        columns = self._columns(
            *("stage", "started", "parameters", "epochs", "steps", "best", "loss", "ended", "time", "speed"),
            words=("started",),
        )
        rows = [Row(self._t(f"training.stage.{one.stage}"), self._stage(one)) for one in stages]
        return Table(self._t("training.stages_caption"), columns, rows)

    def _stage(self, one: StageStory) -> list[Cell]:
        record, log = one.record, one.log
        timed = log is not None and "samples_per_second" in log.steps
        speed = float(log.steps["samples_per_second"].median()) if log is not None and timed else math.nan
        parameters = None if log is None else log.plan.get("parameters")
        cells = [
            Cell(_NONE if record is None else record.started_from or self._t("training.new")),
            Cell(_NONE if parameters is None else f"{parameters:,}"),
        ]
        if record is None:
            done = [] if log is None else [len(log.epochs), int(log.steps["step"].max()) if len(log.steps) else 0]
            cells += [Cell(f"{value:,}") for value in done] or [Cell(_NONE)] * 2
            cells += [Cell(_NONE), Cell(_NONE), Cell(self._t("training.ended.running"))]
        else:
            best = str(record.best_epoch) if record.best_epoch else self._t("training.started_best")
            cells += [Cell(f"{record.epochs:,}"), Cell(f"{record.steps:,}"), Cell(best), Cell(number(record.best, 4))]
            known = record.stopped in ("finished", "patience", "minutes")
            cells.append(Cell(self._t(f"training.ended.{record.stopped}") if known else record.stopped))
        return [*cells, Cell(self.duration(one.seconds)), Cell(number(speed, 0))]

    # Several ----------------------------------------------------------------

    def overview(self, stories: Sequence[RunSummary]) -> Table:
        """A row a training."""
        c = "training.overview."
        columns = [
            Column(self._t(c + "name")),
            *(Column(self._t(c + name), number=False) for name in ("state", "verdict")),
            *(Column(self._t(c + name)) for name in ("nll", "crps", "skill", "time")),
        ]
        rows = [Row(one.name, self._told(one)) for one in stories]
        return Table(self._t(c + "caption"), columns, rows, self._t(c + "note", reference=REFERENCE))

    def _told(self, story: RunSummary) -> list[Cell]:
        states = [
            f"{self._t(f'training.stage.{s.stage}')}: {self._t(f'training.states.{s.state}')}" for s in story.stages
        ]
        found = story.comparison
        measures = {} if found is None else {one.name: one.change for one in found.measures}
        tuned = None if found is None else next((one for one in found.rivals if one.kind == "tuned"), None)
        return [
            Cell(", ".join(states)),
            self.verdict(found),
            *(_change(measures.get(name)) for name in ("nll", "crps")),
            _percent(None if tuned is None else tuned.skill),
            Cell(self.duration(story.seconds)),
        ]

    def verdict(self, found: Comparison | None) -> Cell:
        """The verdict as a badge."""
        if found is None:
            return Cell(self._t("training.verdicts.none"), tone="unknown")
        return Cell(self._t(f"training.verdicts.{found.verdict}"), tone=VERDICT_TONES[found.verdict])

    def duration(self, seconds: float) -> str:
        """A time in words."""
        minutes, rest = divmod(round(seconds), 60)
        size = "hours" if minutes >= 60 else "minutes" if minutes else "seconds"
        of_hour = minutes % 60 if size == "hours" else minutes
        return self._t(f"training.duration.{size}", hours=minutes // 60, minutes=of_hour, seconds=rest)

    def _columns(self, *names: str, words: Sequence[str] = ()) -> list[Column]:
        return [Column(self._t(f"training.columns.{name}"), number=name not in words) for name in names]


def number(value: float, decimals: int = 3) -> str:
    """A number with a true minus; a dash for none."""
    if not math.isfinite(value):
        return _NONE
    text = f"{value:,.{decimals}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else text.lstrip("-")


def _change(found: Estimate | None) -> Cell:
    return Cell(_NONE) if found is None else Cell(signed(found.estimate), _ends(found))


def _ends(found: Estimate) -> str:
    """An interval; nothing where it cannot be told."""
    if not math.isfinite(found.low) or not math.isfinite(found.high):
        return ""
    return f"{signed(found.low)} to {signed(found.high)}"


def _percent(found: Estimate | None) -> Cell:
    """A share or skill in percent with its interval."""
    if found is None or not math.isfinite(found.estimate):
        return Cell(_NONE)
    known = math.isfinite(found.low) and math.isfinite(found.high)
    ends = f"{number(100 * found.low, 1)} to {number(100 * found.high, 1)}" if known else ""
    return Cell(f"{number(100 * found.estimate, 1)} %", ends)

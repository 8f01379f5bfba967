"""The track record as the page shows it: counts, verdicts, charts and tables.

What is judged is what the page shows: calibrated forecasts if there are any, else raw ones. Tables have all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from markupsafe import Markup

from kronos.formatting import format_number, format_signed, percent
from kronos.live.page.documents import shown_contender
from kronos.live.page.track_charts import (
    Bounded,
    FigureCurve,
    FigureTexts,
    draw_reliability,
    draw_sequences,
    draw_steps,
)
from kronos.reports import Table, TableCell, TableColumn, TableRow, Translator

Figures = Mapping[str, Any]
_LEVEL_HUES = {50: "hue-3", 80: "forecast", 95: "hue-2"}
_BASELINE_HUES = ("forecast", "hue-2", "hue-3", "hue-5")
_TONES = {"good": "good", "bad": "bad", "neutral": "neutral", "early": "unknown"}
_EVENTS = ("upside", "amplification")
_COUNTS = ("scored", "pending", "late", "missed", "unresolved", "revisions")


@dataclass(frozen=True)
class VerdictView:
    """A verdict in words.

    Attributes:
        key: Key of the verdict, such as ``skill.early``.
        name: The question.
        answer: The answer.
        reason: The estimate with its bounds.
        tone: Class of the answer.
    """

    key: str
    name: str
    answer: str
    reason: str
    tone: str


@dataclass(frozen=True)
class PlotView:
    """A chart with its title and how to read it."""

    title: str
    words: str
    picture: Markup


class TrackView:
    """A track record in one language.

    Args:
        track: Figures of `kronos.live.track_record.TrackRecord`; empty without a record.
        t: Messages.
    """

    def __init__(self, track: Figures, t: Translator) -> None:
        self._track, self._t = track, t
        self._own = shown_contender(figure["contender"] for figure in track.get("coverage", ()))

    @property
    def horizon(self) -> int:
        """Forecasts of a block."""
        return int(self._track.get("horizon", 0))

    @property
    def intro(self) -> str:
        """What the record covers."""
        counts = self._track.get("counts", {})
        if not counts.get("scored"):
            return self._text("none")
        return self._text("intro", scored=counts["scored"], first=counts["first"][:10], last=counts["last"][:10])

    @property
    def counts(self) -> list[tuple[str, str]]:
        """Numbers of forecasts by what became of them."""
        counts = self._track.get("counts")
        return [(self._text(f"counts.{name}"), f"{counts[name]:,}") for name in _COUNTS] if counts else []

    @property
    def notes(self) -> list[str]:
        """What a reader has to know about the limits of this record."""
        final, earlier = self._track.get("final"), self._track.get("earlier", ())
        notes = [self._text("final", scored=self._track["counts"]["scored"])] if final else []
        if earlier:
            names = [self._text("series", **{**each, "opened_at": str(each["opened_at"])[:10]}) for each in earlier]
            notes.append(self._text("earlier", series=self._text("separator").join(names)))
        return notes

    def realised(self) -> dict[str, str]:
        """Return how each number of the header row has fared so far."""
        t, counts = self._text, self._track.get("counts")
        if not counts:
            return dict.fromkeys(("price", *_EVENTS, "next", "age", "model"), t("none"))
        total = counts["forecasts"] + counts["late"] + counts["missed"]
        timely = t("realised.next", share=_share(counts["timely"]), total=total)
        found = {
            "next": timely if total else t("none"),
            "age": t("realised.age", late=counts["late"], missed=counts["missed"], total=total),
        }
        if not counts["scored"]:
            return dict.fromkeys(("price", *_EVENTS, "model"), t("none")) | found
        return found | {event: self._realised_chance(event) for event in _EVENTS} | self._realised_paths()

    # Verdicts -------------------------------------------------------------

    @property
    def verdicts(self) -> list[VerdictView]:
        """What the record says so far."""
        found = self._track.get("verdicts", ())
        return [self._verdict(each) for each in found if each["values"]["contender"] == self._own]

    def _verdict(self, verdict: Figures) -> VerdictView:
        key, values = verdict["key"], verdict["values"]
        subject = key.partition(".")[0]
        words = {"baseline": values.get("baseline", ""), "level": values.get("level", "")}
        words["target"] = _share(values.get("target"))
        return VerdictView(
            key=key,
            name=self._text(f"questions.{subject}", **words),
            answer=self._text(f"answers.{key}", **words),
            reason=self._evidence(subject, values),
            tone=_TONES[verdict["tone"]],
        )

    def _evidence(self, subject: str, values: Figures) -> str:
        blocks = values["blocks"]
        if values.get("estimate") is None:
            return self._text("evidence.none")
        ends = [values[name] for name in ("estimate", "lower", "upper")]
        estimate, low, high = (_share(end) if subject in ("skill", "coverage") else format_signed(end) for end in ends)
        return self._text(f"evidence.{subject}", estimate=estimate, low=low, high=high, blocks=blocks)

    # Charts ---------------------------------------------------------------

    @cached_property
    def plots(self) -> list[PlotView]:
        """The charts that have something to show."""
        plots = [self._coverage_plot(), self._curve_plot(), self._skill_plot()]
        plots += [self._reliability_plot(event) for event in _EVENTS]
        return [plot for plot in plots if plot is not None]

    def _coverage_plot(self) -> PlotView | None:
        figures = [each for each in self._mine("coverage") if each["step"] is not None]
        curves = []
        for level, hue in _LEVEL_HUES.items():
            of_level = [each for each in figures if each["level"] == level]
            if points := _points(of_level):
                curves.append(FigureCurve(f"{level} %", hue, points, of_level[0]["target"]))
        return self._steps("coverage", curves)

    def _skill_plot(self) -> PlotView | None:
        figures = [each for each in self._mine("skill") if each["step"] is not None]
        curves = []
        for baseline, hue in self._baseline_hues(figures):
            points = _points([each for each in figures if each["baseline"] == baseline], "block_estimate")
            if points:
                curves.append(FigureCurve(_short(baseline), hue, points))
        return self._steps("skill", curves, zero=True)

    def _curve_plot(self) -> PlotView | None:
        """Skill as the record grows."""
        figures = list(self._mine("curves"))
        curves, origins = [], []
        for baseline, hue in self._baseline_hues(figures):
            [figure] = [each for each in figures if each["baseline"] == baseline]
            rows = zip(figure["estimate"], figure["lower"], figure["upper"], strict=True)
            points = [
                Bounded(block, *row) for block, row in enumerate(rows, 1) if all(value is not None for value in row)
            ]
            if len(points) > 1:
                curves.append(FigureCurve(_short(baseline), hue, points))
                origins = figure["origins"]
        if not curves:
            return None
        ends = (origins[0][:10], origins[-1][:10])
        return self._plot("curve", draw_sequences(curves, self._texts("curve", ends)))

    def _reliability_plot(self, event: str) -> PlotView | None:
        bins = [
            Bounded(each["forecast"], each["observed"], each["low"], each["high"], each["n"])
            for each in self._mine("reliability")
            if each["event"] == event and None not in (each["observed"], each["low"], each["high"])
        ]
        if not bins:
            return None
        name = f"reliability_{event}"
        return self._plot(name, draw_reliability(bins, self._texts(name), self._text("plots.count")))

    def _steps(self, name: str, curves: Sequence[FigureCurve], *, zero: bool = False) -> PlotView | None:
        return self._plot(name, draw_steps(curves, self._texts(name), zero=zero)) if curves else None

    def _plot(self, name: str, picture: Markup) -> PlotView:
        return PlotView(self._text(f"plots.{name}.title"), self._text(f"plots.{name}.words"), picture)

    def _texts(self, name: str, ends: tuple[str, str] = ("", "")) -> FigureTexts:
        title, words = self._text(f"plots.{name}.title"), self._text(f"plots.{name}.words")
        return FigureTexts(f"plot-{name}", title, words, self._text(f"plots.{name}.axis"), *ends)

    # Tables ---------------------------------------------------------------

    @property
    def tables(self) -> list[Table]:
        """All figures."""
        if not self._track.get("counts", {}).get("scored"):
            return []
        return [self._coverage_table(), self._skill_table(), self._brier_table(), self._increments_table()]

    def _coverage_table(self) -> Table:
        labels = {(each["contender"], each["level"]): each for each in self._track["coverage"]}
        rows = {f"{name} · {level} %": {"contender": name, "level": level} for name, level in labels}
        return self._by_step("coverage", "estimate", rows)

    def _skill_table(self) -> Table:
        labels = {(each["contender"], each["baseline"]): each for each in self._track["skill"]}
        rows = {f"{name} · {base}": {"contender": name, "baseline": base} for name, base in labels}
        return self._by_step("skill", "estimate", rows)

    def _by_step(self, group: str, value: str, rows: Mapping[str, Figures]) -> Table:
        """A table of shares with their bounds: a row per kind, a column per step."""
        figures = self._track[group]
        steps = list(dict.fromkeys(each["step"] for each in figures))
        columns = [TableColumn(self._text("tables.contender"))]
        columns += [
            TableColumn(self._text("tables.all") if step is None else self._text("tables.step", step=step))
            for step in steps
        ]
        written = []
        for label, wanted in rows.items():
            own = {each["step"]: each for each in figures if wanted.items() <= each.items()}
            cells = [_bounded_cell(own[step], value) if step in own else TableCell("–") for step in steps]
            written.append(TableRow(label, cells))
        return Table(self._text(f"tables.{group}"), columns, written, self._text("tables.bounds"))

    def _brier_table(self) -> Table:
        names = ("contender", "score", "reference", "reference_score", "difference", "n")
        columns = [TableColumn(self._text(f"tables.{name}"), number=name != "reference") for name in names]
        rows = []
        for each in self._track["brier"]:
            label = f"{each['contender']} · {self._text('events.' + each['event'])}"
            bounds = TableCell(f"{_signed(each['lower'])} – {_signed(each['upper'])}")
            reference = TableCell(self._text(f"references.{each['reference']}"), tone="neutral")
            scores = [TableCell(_decimal(each[name])) for name in ("score", "reference_score")]
            rows.append(TableRow(label, [scores[0], reference, scores[1], bounds, TableCell(f"{each['n']:,}")]))
        return Table(self._text("tables.brier"), columns, rows, self._text("tables.brier_note"))

    def _increments_table(self) -> Table:
        increments = self._track["increments"]
        columns = [TableColumn(self._text("tables.contender"))]
        columns += [TableColumn(self._text("tables.changes", step=step)) for step in increments]
        contenders = list(dict.fromkeys(name for scores in increments.values() for name in scores))
        rows = [
            TableRow(name, [TableCell(_decimal(scores.get(name), 1)) for scores in increments.values()])
            for name in contenders
        ]
        return Table(self._text("tables.increments"), columns, rows, self._text("tables.increments_note"))

    # Helpers --------------------------------------------------------------

    def _realised_chance(self, event: str) -> str:
        reference = "coin" if event == "upside" else "base_rate"
        for each in self._mine("brier"):
            if each["event"] == event and each["reference"] == reference and each["score"] is not None:
                score, other = _decimal(each["score"]), _decimal(each["reference_score"])
                return self._text(f"realised.{event}", score=score, other=other, n=each["n"])
        return self._text("none")

    def _realised_paths(self) -> dict[str, str]:
        """How the bands and the paths have fared."""
        horizon = self._track["horizon"]
        found = dict.fromkeys(("price", "model"), self._text("none"))
        for each in self._mine("coverage"):
            if (each["level"], each["step"]) == (80, horizon) and each["estimate"] is not None:
                found["price"] = self._text("realised.price", share=_share(each["estimate"]), step=horizon, n=each["n"])
        for each in self._mine("skill"):
            if each["step"] is None and each["estimate"] is not None:
                found["model"] = self._text(
                    "realised.model", skill=_share(each["estimate"]), baseline=each["baseline"], n=each["n"]
                )
                break
        return found

    def _mine(self, group: str) -> list[Figures]:
        return [each for each in self._track.get(group, ()) if each["contender"] == self._own]

    def _baseline_hues(self, figures: Sequence[Figures]) -> list[tuple[str, str]]:
        names = list(dict.fromkeys(each["baseline"] for each in figures))
        return list(zip(names, _BASELINE_HUES, strict=False))

    def _text(self, key: str, **values: Any) -> str:
        return self._t(f"live.track.{key}", **values)


def _points(figures: Sequence[Figures], value: str = "estimate") -> list[Bounded]:
    return [
        Bounded(each["step"], each[value], each["lower"], each["upper"], each["n"])
        for each in figures
        if None not in (each[value], each["lower"], each["upper"])
    ]


def _bounded_cell(figure: Figures, value: str) -> TableCell:
    detail = ""
    if figure["lower"] is not None and figure["upper"] is not None:
        detail = f"{_share(figure['lower'])} – {_share(figure['upper'])}"
    return TableCell(_share(figure[value]), detail)


def _short(baseline: str) -> str:
    """A label that fits beside a chart."""
    return {"historical-volatility": "hist. vol."}.get(baseline, baseline[:12])


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _decimal(value: float | None, decimals: int = 3) -> str:
    return "–" if value is None else format_number(value, decimals)


def _signed(value: float | None) -> str:
    return "–" if value is None else format_signed(value)

"""An evaluation in the terminal: what was evaluated, the verdict in words, warnings, then the figures it follows from.

Columns leave where the terminal is narrow; numbers are never cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from kronos.cli.console import Column, join_names, page, table, width
from kronos.cli.evaluation_setup import EvaluationResult
from kronos.evaluation import ALL

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kronos.evaluation import Aggregates, Evaluation, Verdict
    from kronos.metrics import Estimate

_ABOUT = ("price", "direction", "volatility", "bands")
_GOOD, _BAD, _WARN = "#26a69a", "#ef5350", "#f2b134"
_STYLES = {"better": _GOOD, "calibrated": _GOOD, "worse": _BAD, "too narrow": _BAD, "too wide": _WARN}
_NOTHING = "–"
_FORECASTER = 30  # columns that the names of the baselines need
_SHOWN = 3  # of the files that could not be read, where nobody asks for all
_MEANING = (
    "CRPS: how far a forecast was from what came, in units of the last 64 candles' volatility (σ√h); less is better.",
    "Skill: 1 - CRPS / CRPS of {reference}; above 0 is better than it, and an interval around 0 is no evidence.",
    "Covers: how often what came lay within the 80 % band; 80 % is right, less is overconfident. Width: of that band.",
    "Intervals are 95 %, from resampled blocks of dates. Over all, each group of enough origins counts the same.",
)


def show(result: EvaluationResult, *, verbose: bool) -> None:
    """Print an evaluation.

    Args:
        result: What came out.
        verbose: Whether to show every group's verdicts, every step's figures and every finding.
    """
    evaluation = result.evaluation
    parts: list[RenderableType] = [*_header(result), Text(), *_verdict(evaluation), Text()]
    if evaluation.warnings:
        parts += [_notes(evaluation.warnings), Text()]
    horizon = evaluation.plan.walk.horizon
    steps = sorted({one.step for one in evaluation.figures})
    parts += [
        _title(f"All groups, {horizon} steps ahead" if len(_groups(evaluation)) > 1 else f"{horizon} steps ahead")
    ]
    parts += [_by_forecaster(evaluation, horizon), Text()]
    if verbose:
        for step in steps[:-1]:
            parts += [
                _title(f"{step} {'step' if step == 1 else 'steps'} ahead"),
                _by_forecaster(evaluation, step),
                Text(),
            ]
    if len(_groups(evaluation)) > 1 or verbose:
        for name in evaluation.evaluated:
            parts += [_title(f"{name} by group, {horizon} steps ahead"), _by_group(evaluation, name), Text()]
    if verbose:
        parts += [_title("Volatility to come"), _volatility(evaluation), Text(), *_sentences(evaluation), Text()]
    parts += [Text(line.format(reference=evaluation.reference), style="dim") for line in _MEANING]
    parts += [Text(), *_data(result, verbose=verbose), _written(result)]
    page(*parts)


def _title(text: str) -> Text:
    return Text(text, style="bold")


def _grid(rows: Sequence[tuple[Text | str, Text | str]]) -> Table:
    """Labels, and what there is to say of each, which goes on in the next line."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for label, value in rows:
        grid.add_row(label, value)
    return grid


def _notes(sentences: Sequence[str]) -> Table:
    """Sentences that must not be overlooked."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for sentence in sentences:
        grid.add_row(Text("!", style=_WARN), Text(sentence, style=_WARN))
    return grid


def _header(result: EvaluationResult) -> Iterator[RenderableType]:
    """Who was evaluated, on what, against whom."""
    evaluation = result.evaluation
    dates = evaluation.truth.origins["date"]
    plan = evaluation.plan
    baselines = len(evaluation.subjects) - len(evaluation.evaluated)
    yield Text.assemble(
        (", ".join(evaluation.evaluated), "bold"), f"  beside {baselines} baseline{'s' if baselines > 1 else ''}"
    )
    counts = evaluation.truth.origins.groupby("group").size()
    groups = ", ".join(f"{group} {count:,}" for group, count in counts.items())
    series = len(set(evaluation.truth.origins["series"]))
    stride = f", {plan.walk.step} apart" if plan.walk.stride is not None else ""
    reference = next(one for one in evaluation.subjects if one.name == evaluation.reference)
    rows: list[tuple[Text | str, Text | str]] = [
        (
            "forecasts",
            f"{len(plan):,} of {plan.walk.horizon} candles each{stride}, {evaluation.settings.samples} paths, seed "
            f"{evaluation.settings.seed}, of {series:,} series",
        ),
        ("groups", groups),
        ("origins", f"{dates.min():%Y-%m-%d} to {dates.max():%Y-%m-%d}; {result.dated.words}"),
        ("against", f"{reference.name}: {reference.description}"),
    ]
    rows += [(one.name, one.description) for one in evaluation.subjects if not one.baseline]
    yield _grid(rows)


def _verdict(evaluation: Evaluation) -> Iterator[RenderableType]:
    """What may be said of everybody that is evaluated, over all groups and by group."""
    for name in evaluation.evaluated:
        yield _title(f"Verdict on {name}, {evaluation.plan.walk.horizon} steps ahead")
        yield _grid([(about, text) for about in _ABOUT if (text := _about(evaluation, name, about)) is not None])
    overall = next((one for one in evaluation.comparison if one.group == ALL), None)
    if overall is not None and overall.included:
        yield _grid([("together", overall.sentence)])


def _about(evaluation: Evaluation, name: str, about: str) -> Text | None:
    """One verdict in words: over all groups, and how many groups agree."""
    own = [one for one in evaluation.verdicts if (one.forecaster, one.about) == (name, about)]
    groups = [one for one in own if one.group != ALL]
    overall = next((one for one in own if one.group == ALL), groups[0] if len(groups) == 1 else None)
    text = Text()
    if overall is not None:
        told, bracket, figures = overall.sentence.partition(" (")
        text.append(told, style=_STYLES.get(overall.word, "bold")).append(f"{bracket}{figures}")
    if len(groups) > 1:
        text.append("; by group " if overall is not None else "by group ").append(_counted(groups))
    return text if text.plain else None


def _counted(verdicts: Sequence[Verdict]) -> str:
    """``better in 1 of 8 (fx 1d), no evidence in 7``."""
    words = dict.fromkeys(one.word for one in verdicts)
    told = []
    for word in sorted(words, key=lambda word: word not in _STYLES):
        groups = [one.group for one in verdicts if one.word == word]
        where = f" ({join_names(groups)})" if word in _STYLES and len(groups) < len(verdicts) else ""
        told.append(f"{word} in {len(groups)} of {len(verdicts)}{where}")
    return ", ".join(told)


def _by_forecaster(evaluation: Evaluation, step: int) -> Table:
    """Everybody over all groups at one step, with their skill at earlier ones."""
    figures = {(one.forecaster, one.step): one for one in evaluation.figures if one.group == ALL}
    subjects = [one for one in evaluation.subjects if (one.name, step) in figures]
    own = [figures[one.name, step] for one in subjects]
    earlier = [other for other in sorted({one.step for one in evaluation.figures}) if other < step]
    shown = [Column("forecaster", [one.name for one in subjects])]
    for number, other in enumerate(earlier):
        cells = [_percent(_estimate(figures.get((one.name, other)))) for one in subjects]
        shown.append(Column(f"skill at {other}", cells, right=True, spare=10 - number))
    shown += [
        Column(f"skill at {step}, interval", [_skill(one, evaluation.reference) for one in own], right=True),
        Column("CRPS", [_number(one.crps) for one in own], right=True, spare=1),
        Column(
            "80 % covers",
            [_NOTHING if subject.point else _share(one) for subject, one in zip(subjects, own, strict=True)],
            right=True,
        ),
        Column(
            "width",
            [_NOTHING if subject.point else _number(one.width) for subject, one in zip(subjects, own, strict=True)],
            right=True,
            spare=5,
        ),
    ]
    return table(*shown, width=width(), name=_FORECASTER)


def _by_group(evaluation: Evaluation, name: str) -> Table:
    """One forecaster in every group at the horizon: figures and verdicts."""
    horizon = evaluation.plan.walk.horizon
    own = [one for one in evaluation.figures if (one.forecaster, one.step) == (name, horizon) and one.group != ALL]
    words: dict[tuple[str, str], str] = {
        (one.group, one.about): one.word for one in evaluation.verdicts if one.forecaster == name
    }
    told = {about: [words.get((one.group, about), "") for one in own] for about in _ABOUT}
    return table(
        Column("group", [one.group for one in own]),
        Column("n", [f"{one.n:,}" for one in own], right=True, spare=1),
        Column("skill, interval", [_skill(one, evaluation.reference) for one in own], right=True),
        Column("price", told["price"], spare=3),
        Column("80 % covers", [_share(one) for one in own], right=True),
        Column("bands", told["bands"], spare=4),
        Column("direction", told["direction"], spare=6),
        Column("volatility", told["volatility"], spare=5),
        width=width(),
    )


def _volatility(evaluation: Evaluation) -> Table:
    """Everybody's expected volatility beside what came, by group."""
    names = [one.name for one in evaluation.subjects if not one.point]
    found = evaluation.volatility
    rows = found[found["forecaster"].isin(names)].to_dict("records")
    return table(
        Column("group", [str(row["group"]) for row in rows]),
        Column("forecaster", [str(row["forecaster"]) for row in rows]),
        Column("MAE", [f"{row['mae']:.4f}" for row in rows], right=True, spare=1),
        Column("R²", [_number(row["r2"]) for row in rows], right=True),
        Column("QLIKE", [_number(row["qlike"]) for row in rows], right=True),
        Column("n", [f"{row['n']:,}" for row in rows], right=True, spare=2),
        width=width(),
    )


def _sentences(evaluation: Evaluation) -> Iterator[RenderableType]:
    """Every verdict on those that are evaluated, and every comparison, by group."""
    for group in _groups(evaluation):
        yield _title(group)
        rows: list[tuple[Text | str, Text | str]] = [
            (f"{one.forecaster}, {one.about}", one.sentence)
            for one in evaluation.verdicts
            if one.group == group and one.forecaster in evaluation.evaluated
        ]
        rows += [("together", one.sentence) for one in evaluation.comparison if one.group == group]
        yield _grid(rows)


def _data(result: EvaluationResult, *, verbose: bool) -> Iterator[RenderableType]:
    """What could not be read, and what cleaning found."""
    gathered = result.data.gathered
    shown = gathered.unreadable if verbose else gathered.unreadable[:_SHOWN]
    notes = [f"not read: {one.problem}" for one in shown]
    if len(gathered.unreadable) > len(shown):
        notes.append(f"… and {len(gathered.unreadable) - len(shown)} more; -v lists them.")
    if notes:
        yield _notes(notes)
    warned = gathered.warned
    if verbose:
        for one in warned:
            findings = (finding for finding in one.candles.findings if finding.severity == "warning")
            yield from (Text(f"{one.name}: {finding.message}", style="dim") for finding in findings)
    elif warned:
        count = f"{len(warned)} of {len(gathered.instruments)}"
        yield Text(f"Cleaning found something in the candles of {count} series; -v lists it.", style="dim")


def _written(result: EvaluationResult) -> Text:
    return Text.assemble(("→ ", "dim"), ", ".join(str(path) for path in result.files))


def _groups(evaluation: Evaluation) -> list[str]:
    return evaluation.scores.groups


def _estimate(one: Aggregates | None) -> Estimate | None:
    return None if one is None else one.skill


def _skill(one: Aggregates, reference: str) -> str:
    """``-3.5% (-5.1 to -1.9)``."""
    found = one.skill
    if found is None:
        return "reference" if one.forecaster == reference else _NOTHING
    if math.isnan(found.low):
        return f"{_percent(found)} (unknown)"
    return f"{_percent(found)} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def _percent(found: Estimate | None) -> str:
    return _NOTHING if found is None or math.isnan(found.estimate) else f"{found.estimate:+.1%}"


def _share(one: Aggregates) -> str:
    share = one.coverage["80"].estimate
    return _NOTHING if math.isnan(share) else f"{share:.1%}"


def _number(value: float) -> str:
    return _NOTHING if math.isnan(value) else f"{value:.3f}"

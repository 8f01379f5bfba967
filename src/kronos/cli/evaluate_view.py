"""The terminal output of `kronos evaluate`: what was evaluated, verdicts, warnings, and the figures behind them.

In a narrow terminal whole columns are dropped; numbers are never truncated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from kronos.cli.console import ConsoleColumn, page, page_width, table
from kronos.cli.evaluation_setup import EvaluationResult
from kronos.cli.reading_options import name_options
from kronos.cli.whole_candles_view import whole_candles
from kronos.evaluation import ALL
from kronos.evaluation.aggregate import format_steps
from kronos.formatting import MISSING, join_names, plural

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kronos.evaluation import Aggregates, Evaluation, Verdict
    from kronos.metrics import Estimate

_ABOUT = ("price", "direction", "volatility", "bands")
_GOOD, _BAD, _WARN = "#26a69a", "#ef5350", "#f2b134"
_STYLES = {"better": _GOOD, "calibrated": _GOOD, "worse": _BAD, "too narrow": _BAD, "too wide": _WARN}
_NAME_WIDTH = 30  # of the longest baseline
_UNREADABLE_SHOWN = 3  # without --verbose
_LEGEND = (
    "CRPS: error of the distribution in units of the last 64 candles' volatility (σ√h); lower is better.",
    "Skill: 1 - CRPS / CRPS of {reference}; above 0 is better, and an interval around 0 is no evidence.",
    "Covers: share of outcomes within the 80 % band; below 80 % is overconfident. Width: width of that band.",
    "Intervals are 95 %, from resampled blocks of dates. Over all groups, each with enough origins has equal weight.",
)


def show(result: EvaluationResult, *, verbose: bool) -> None:
    """Print an evaluation.

    Args:
        result: The evaluation.
        verbose: Whether to show verdicts of all groups, figures of all steps, and all findings.
    """
    evaluation = result.evaluation
    lines: list[RenderableType] = [*_header(result), Text(), *_verdicts(evaluation), Text()]
    if evaluation.warnings:
        lines += [_warnings(evaluation.warnings), Text()]
    horizon, several = evaluation.plan.rolling.horizon, len(evaluation.scores.groups) > 1
    ahead = f"{horizon} steps ahead"
    lines += [_title(f"All groups, {ahead}" if several else ahead), _by_contender(evaluation, horizon), Text()]
    if verbose:
        for step in evaluation.steps[:-1]:
            lines += [_title(f"{format_steps(step)} ahead"), _by_contender(evaluation, step), Text()]
    if several or verbose:
        for name in evaluation.evaluated:
            lines += [_title(f"{name} by group, {ahead}"), _by_group(evaluation, name), Text()]
    lines += whole_candles(evaluation, verbose=verbose)
    if verbose:
        lines += [_title("Volatility"), _volatility(evaluation), Text(), *_sentences(evaluation), Text()]
    lines += [Text(line.format(reference=evaluation.reference), style="dim") for line in _LEGEND]
    lines += [Text(), *_data_notes(result, verbose=verbose)]
    lines.append(Text.assemble(("→ ", "dim"), ", ".join(str(path) for path in result.files)))
    page(*lines)


def _title(text: str) -> Text:
    return Text(text, style="bold")


def _grid(rows: Sequence[tuple[Text | str, Text | str]]) -> Table:
    """Labels with texts that wrap."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for label, value in rows:
        grid.add_row(label, value)
    return grid


def _warnings(sentences: Sequence[str]) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    for sentence in sentences:
        grid.add_row(Text("!", style=_WARN), Text(sentence, style=_WARN))
    return grid


def _header(result: EvaluationResult) -> Iterator[RenderableType]:
    """The contenders, the data and the dates."""
    evaluation, plan = result.evaluation, result.evaluation.plan
    settings, origins = evaluation.settings, evaluation.actuals.origins
    baselines = len(evaluation.contenders) - len(evaluation.evaluated)
    yield Text.assemble((", ".join(evaluation.evaluated), "bold"), f" and {plural(baselines, 'baseline')}")
    groups = ", ".join(f"{group} {count:,}" for group, count in origins.groupby("group").size().items())
    stride = f", {plan.rolling.step} apart" if plan.rolling.stride is not None else ""
    reference = next(own for own in evaluation.contenders if own.name == evaluation.reference)
    dates = origins["date"]
    rows: list[tuple[Text | str, Text | str]] = [
        (
            "forecasts",
            f"{len(plan):,} of {plan.rolling.horizon} candles each{stride}, {settings.samples} paths, seed "
            f"{settings.seed}, of {origins['series'].nunique():,} series",
        ),
        ("groups", groups),
        ("origins", f"{dates.min():%Y-%m-%d} to {dates.max():%Y-%m-%d}; {result.setup.description}"),
        ("reference", f"{reference.name}: {reference.description}"),
    ]
    rows += [(own.name, own.description) for own in evaluation.contenders if not own.baseline]
    yield _grid(rows)


def _verdicts(evaluation: Evaluation) -> Iterator[RenderableType]:
    """The verdicts on each evaluated contender, over all groups and by group."""
    for name in evaluation.evaluated:
        yield _title(f"Verdict on {name}, {evaluation.plan.rolling.horizon} steps ahead")
        yield _grid([(about, text) for about in _ABOUT if (text := _verdict(evaluation, name, about)) is not None])
    overall = next((comparison for comparison in evaluation.comparison if comparison.group == ALL), None)
    if overall is not None and overall.included:
        yield _grid([("together", overall.sentence)])


def _verdict(evaluation: Evaluation, name: str, about: str) -> Text | None:
    """One verdict over all groups, and the number of groups with each verdict."""
    verdicts = [own for own in evaluation.verdicts if (own.forecaster, own.about) == (name, about)]
    groups = [own for own in verdicts if own.group != ALL]
    overall = next((own for own in verdicts if own.group == ALL), groups[0] if len(groups) == 1 else None)
    text = Text()
    if overall is not None:
        conclusion, bracket, figures = overall.sentence.partition(" (")
        text.append(conclusion, style=_STYLES.get(overall.word, "bold")).append(f"{bracket}{figures}")
    if len(groups) > 1:
        text.append("; by group " if overall is not None else "by group ").append(_count_words(groups))
    return text if text.plain else None


def _count_words(verdicts: Sequence[Verdict]) -> str:
    """``better in 1 of 8 (fx 1d), no evidence in 7 of 8``."""
    words = dict.fromkeys(verdict.word for verdict in verdicts)
    counts = []
    for word in sorted(words, key=lambda word: word not in _STYLES):
        groups = [verdict.group for verdict in verdicts if verdict.word == word]
        names = f" ({join_names(groups)})" if word in _STYLES and len(groups) < len(verdicts) else ""
        counts.append(f"{word} in {len(groups)} of {len(verdicts)}{names}")
    return ", ".join(counts)


def _by_contender(evaluation: Evaluation, step: int) -> Table:
    """All contenders over all groups at one step, with their skill at earlier ones."""
    aggregates = {(own.forecaster, own.step): own for own in evaluation.aggregates if own.group == ALL}
    contenders = [own for own in evaluation.contenders if (own.name, step) in aggregates]
    rows = [(aggregates[own.name, step], own.point) for own in contenders]
    columns = [ConsoleColumn("forecaster", [own.name for own in contenders])]
    for number, other in enumerate(other for other in evaluation.steps if other < step):
        cells = [_percent(_skill_of(aggregates.get((own.name, other)))) for own in contenders]
        columns.append(ConsoleColumn(f"skill at {other}", cells, right=True, priority=10 - number))
    skill = [_skill(own, evaluation.reference) for own, _ in rows]
    covers = [MISSING if point else _coverage(own) for own, point in rows]
    widths = [MISSING if point else _number(own.width) for own, point in rows]
    columns += [
        ConsoleColumn(f"skill at {step}, interval", skill, right=True),
        ConsoleColumn("CRPS", [_number(own.crps) for own, _ in rows], right=True, priority=1),
        ConsoleColumn("80 % covers", covers, right=True),
        ConsoleColumn("width", widths, right=True, priority=5),
    ]
    return table(*columns, width=page_width(), name_width=_NAME_WIDTH)


def _by_group(evaluation: Evaluation, name: str) -> Table:
    """Figures and verdicts of one contender in every group at the horizon."""
    horizon = evaluation.plan.rolling.horizon
    rows = [own for own in evaluation.aggregates if (own.forecaster, own.step) == (name, horizon) and own.group != ALL]
    words: dict[tuple[str, str], str] = {
        (verdict.group, verdict.about): verdict.word for verdict in evaluation.verdicts if verdict.forecaster == name
    }
    by_about = {about: [words.get((own.group, about), "") for own in rows] for about in _ABOUT}
    return table(
        ConsoleColumn("group", [own.group for own in rows]),
        ConsoleColumn("n", [f"{own.n:,}" for own in rows], right=True, priority=1),
        ConsoleColumn("skill, interval", [_skill(own, evaluation.reference) for own in rows], right=True),
        ConsoleColumn("price", by_about["price"], priority=3),
        ConsoleColumn("80 % covers", [_coverage(own) for own in rows], right=True),
        ConsoleColumn("bands", by_about["bands"], priority=4),
        ConsoleColumn("direction", by_about["direction"], priority=6),
        ConsoleColumn("volatility", by_about["volatility"], priority=5),
        width=page_width(),
    )


def _volatility(evaluation: Evaluation) -> Table:
    """Scores of the expected variance, by group."""
    names = [own.name for own in evaluation.contenders if not own.point]
    scores = evaluation.volatility
    rows = scores[scores["forecaster"].isin(names)].to_dict("records")
    return table(
        ConsoleColumn("group", [str(row["group"]) for row in rows]),
        ConsoleColumn("forecaster", [str(row["forecaster"]) for row in rows]),
        ConsoleColumn("MAE", [f"{row['mae']:.4f}" for row in rows], right=True, priority=1),
        ConsoleColumn("R²", [_number(row["r2"]) for row in rows], right=True),
        ConsoleColumn("QLIKE", [_number(row["qlike"]) for row in rows], right=True),
        ConsoleColumn("n", [f"{row['n']:,}" for row in rows], right=True, priority=2),
        width=page_width(),
    )


def _sentences(evaluation: Evaluation) -> Iterator[RenderableType]:
    """All verdicts on the evaluated contenders and all comparisons, by group."""
    for group in evaluation.scores.groups:
        yield _title(group)
        rows: list[tuple[Text | str, Text | str]] = [
            (f"{verdict.forecaster}, {verdict.about}", verdict.sentence)
            for verdict in evaluation.verdicts
            if verdict.group == group and verdict.forecaster in evaluation.evaluated
        ]
        rows += [("together", own.sentence) for own in evaluation.comparison if own.group == group]
        yield _grid(rows)


def _data_notes(result: EvaluationResult, *, verbose: bool) -> Iterator[RenderableType]:
    """Files that could not be read, and warnings of cleaning."""
    data = result.setup.data
    files = data.unreadable if verbose else data.unreadable[:_UNREADABLE_SHOWN]
    notes = [f"not read: {name_options(file.problem)}" for file in files]
    if len(data.unreadable) > len(files):
        notes.append(f"… and {len(data.unreadable) - len(files)} more; -v lists them.")
    notes += [file.problem for file in data.copies]
    if notes:
        yield _warnings(notes)
    if verbose:
        for instrument in data.warned:
            findings = (finding for finding in instrument.candles.findings if finding.severity == "warning")
            yield from (
                Text(f"{instrument.name}: {name_options(finding.message)}", style="dim") for finding in findings
            )
    elif data.warned:
        count = f"{len(data.warned)} of {len(data.instruments)}"
        yield Text(f"Cleaning has warnings about the candles of {count} series; -v lists them.", style="dim")


def _skill_of(own: Aggregates | None) -> Estimate | None:
    return None if own is None else own.skill


def _skill(own: Aggregates, reference: str) -> str:
    """``-3.5% (-5.1 to -1.9)``."""
    if own.skill is None:
        return "reference" if own.forecaster == reference else MISSING
    if math.isnan(own.skill.low):
        return f"{_percent(own.skill)} (unknown)"
    return f"{_percent(own.skill)} ({100 * own.skill.low:+.1f} to {100 * own.skill.high:+.1f})"


def _percent(skill: Estimate | None) -> str:
    return MISSING if skill is None or math.isnan(skill.estimate) else f"{skill.estimate:+.1%}"


def _coverage(own: Aggregates) -> str:
    share = own.coverage["80"].estimate
    return MISSING if math.isnan(share) else f"{share:.1%}"


def _number(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.3f}"

"""The part of the terminal output of `kronos evaluate` that is about whole candles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from kronos.cli.console import ConsoleColumn, page_width, table
from kronos.evaluation import ALL
from kronos.evaluation.aggregate import format_steps
from kronos.formatting import MISSING, join_names

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from kronos.evaluation import Evaluation
    from kronos.evaluation.whole_candles import CandleFigures, CandleMeasure, ClusteringFigures, OmittedCandles
    from kronos.metrics import Estimate

LABELS: dict[CandleMeasure, str] = {
    "range": "range",
    "volume": "volume",
    "volume_time_of_day": "volume, by time of day",
    "upper_wick": "upper wick",
    "lower_wick": "lower wick",
    "gap": "opening gap",
    "span": "high to low, all steps",
    "close_span": "closes, all steps",
}
_LEGEND = (
    "Whole candles: skill against the last 64 candles; of volume by time of day, against the last 20 of the same clock "
    "time; of all steps, against windows of the last 512 candles."
)


def whole_candles(evaluation: Evaluation, *, verbose: bool) -> Iterator[RenderableType]:
    """Yield the tables and sentences about whole candles.

    Args:
        evaluation: The evaluation.
        verbose: Whether to show all groups and baselines, and everything that is omitted.
    """
    found = evaluation.whole_candles
    groups = evaluation.scores.groups
    overall = ALL if len(groups) > 1 else groups[0]
    names = [own.name for own in evaluation.contenders] if verbose else evaluation.evaluated
    shown = False
    for name in names:
        for group in dict.fromkeys([overall, *(groups if verbose else [])]):
            figures = found.select(name, group)
            if not figures:
                continue
            shown = True
            place = "" if group == ALL or len(groups) == 1 else f", {group}"
            yield Text(f"Whole candles of {name}{place}", style="bold")
            yield _by_measure(figures, evaluation.steps)
            clusters = [own for own in found.clustering if (own.forecaster, own.group) == (name, group)]
            yield from _remarks(figures, clusters, evaluation.settings.samples)
            yield Text()
    omitted = [own for own in found.omitted if verbose or own.forecaster in (ALL, *evaluation.evaluated)]
    for sentence in _omitted(omitted, None if verbose else 4):
        yield Text(f"Whole candles, not scored: {sentence}.", style="dim")
    if shown:
        yield Text(_LEGEND, style="dim")
    if shown or omitted:
        yield Text()


def _omitted(omitted: Sequence[OmittedCandles], limit: int | None) -> Iterator[str]:
    """What is not scored, once per reason and measures."""
    subjects: dict[tuple[str, str], list[str]] = {}
    for own in omitted:
        whole = len(own.measures) > len(LABELS)
        measures = "" if whole else join_names([_label(measure) for measure in own.measures], None)
        subject = own.group if own.forecaster == ALL else own.forecaster
        subjects.setdefault((own.reason, measures), []).append(subject)
    for (reason, measures), names in subjects.items():
        where = "" if names == [ALL] else join_names(names, limit)
        yield f"{', '.join(part for part in (measures, where) if part)} ({reason})"


def _label(measure: str) -> str:
    return next((label for key, label in LABELS.items() if key == measure), measure)


def _by_measure(figures: Sequence[CandleFigures], steps: Sequence[int]) -> Table:
    """One row per measure: skill at each step, with an interval at the last one."""
    by_key = {(own.measure, own.step): own for own in figures}
    measures = [measure for measure in LABELS if any(key == measure for key, _ in by_key)]
    last = steps[-1]
    rows = [by_key.get((measure, last)) for measure in measures]
    columns = [ConsoleColumn("measure", [LABELS[measure] for measure in measures])]
    for number, step in enumerate(steps[:-1]):
        at_step = [by_key.get((measure, step)) for measure in measures]
        cells = [MISSING if own is None else _percent(own.skill) for own in at_step]
        columns.append(ConsoleColumn(f"skill at {step}", cells, right=True, priority=10 - number))
    columns += [
        ConsoleColumn(
            f"skill at {last}, interval", [MISSING if own is None else _skill(own) for own in rows], right=True
        ),
        ConsoleColumn("verdict", [MISSING if own is None else own.word for own in rows], priority=2),
        ConsoleColumn("n", [MISSING if own is None else f"{own.n:,}" for own in rows], right=True, priority=3),
        ConsoleColumn(
            "left out", [f"{own.left_out:,}" if own and own.left_out else "" for own in rows], right=True, priority=4
        ),
    ]
    return table(*columns, width=page_width())


def _remarks(
    figures: Sequence[CandleFigures], clusters: Sequence[ClusteringFigures], samples: int
) -> Iterator[RenderableType]:
    """Distinct volumes, the size of gaps, and clustering, in words."""
    last = max(own.step for own in figures)
    for own in figures:
        if own.step != last:
            continue
        if distinct := own.details.get("distinct_values"):
            yield Text(
                f"Volumes: {distinct.estimate:.1f} distinct values among {samples} paths at {format_steps(last)}."
            )
        if (ratio := own.details.get("median_ratio")) and math.isfinite(ratio.estimate):
            yield Text(
                f"Opening gaps: the median gap is {ratio.estimate:.2f} times that of the past "
                f"({ratio.low:.2f} to {ratio.high:.2f}) at {format_steps(last)}."
            )
    for cluster in clusters:
        yield Text(f"Volatility: {cluster.sentence}.")


def _skill(own: CandleFigures) -> str:
    if math.isnan(own.skill.low):
        return f"{_percent(own.skill)} (unknown)"
    return f"{_percent(own.skill)} ({100 * own.skill.low:+.1f} to {100 * own.skill.high:+.1f})"


def _percent(skill: Estimate) -> str:
    return MISSING if math.isnan(skill.estimate) else f"{skill.estimate:+.1%}"

"""Markdown tables of docs/quality.md and of the model card, from the figures of scripts/measure_quality.py."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from kronos.calibration import Calibration
from kronos.evaluation import ALL, REFERENCE, AblationRow, CandleMeasure, Contender, Evaluation, Plan
from kronos.evaluation.aggregate import format_steps
from kronos.evaluation.calibration import CALIBRATED
from kronos.evaluation.scoring import MIN_ORIGINS
from kronos.metrics import Estimate

STEPS = (1, 4, 8, 24)
BANDS = ("50", "80", "95")
LEAST = 400  # independent origins of a cell that is checked against the bound
POINTS = 0.03  # the bound, unless two standard errors are more
COVERAGE = "Coverage of the 50 / 80 / 95 % bands:"
MISSING = "–"
MEASURES: Mapping[CandleMeasure, str] = {
    "range": "range",
    "volume": "volume",
    "volume_time_of_day": "volume, against that of the same time of day",
    "upper_wick": "upper wick",
    "lower_wick": "lower wick",
    "gap": "opening gap",
    "span": "range over all steps",
}
DETAILS: Mapping[str, tuple[str, CandleMeasure]] = {
    "distinct_values": ("distinct volumes among the paths", "volume"),
    "median_ratio": ("median opening gap / that of the past", "gap"),
}


@dataclass(frozen=True, slots=True)
class Skill:
    """The CRPS skill of a contender, or the difference between those of two contenders, in one group at one step.

    Attributes:
        name: Name of the contender.
        minus: Name of the contender whose skill is subtracted; None for the skill itself.
        reference: The baseline that skill is measured against.
        group: Market at an interval, or ``all``, where every group of enough origins has the same weight.
        step: Steps ahead.
        n: Number of forecasts.
        crps: Mean CRPS in σ√h.
        skill: 1 − CRPS / CRPS of the reference; a difference is paired, origin by origin.
        word: The conclusion from the interval.
    """

    name: str
    minus: str | None
    reference: str
    group: str
    step: int
    n: int
    crps: float
    skill: Estimate
    word: str

    @property
    def title(self) -> str:
        """The contender, or the difference, in words."""
        return self.name if self.minus is None else f"{self.name} − {self.minus}"


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """Coverage of the 80 % band after histories of one length.

    Attributes:
        candles: Candles of history.
        contender: Name of the contender.
        step: Steps ahead.
        n: Number of forecasts; 0 if the model refuses such histories.
        coverage: Share of outcomes in the band, mean over groups; None if the model refuses.
    """

    candles: int
    contender: str
    step: int
    n: int
    coverage: Estimate | None


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text."""
    lines = [f"| {' | '.join(header)} |", f"|---|{'--:|' * (len(header) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def interval(one: Estimate | None, digits: int = 1) -> str:
    """Percent with the 95 % interval."""
    if one is None or math.isnan(one.estimate):
        return MISSING
    return f"{one.estimate:+.{digits}%}, {one.low:+.{digits}%} to {one.high:+.{digits}%}"


def bands(coverage: Mapping[str, Estimate]) -> str:
    """Coverage of the three bands in percent."""
    return " / ".join(f"{coverage[band].estimate:.0%}".rstrip("%") for band in BANDS)


def by_step(titles: Sequence[str], cells: Mapping[tuple[str, int], str], head: str) -> str:
    """One row per title and one column per step."""
    rows = [[title, *(cells.get((title, step), MISSING) for step in STEPS)] for title in titles]
    return markdown([head, *(format_steps(step) for step in STEPS)], rows)


def origin_table(plans: Mapping[str, Plan], most: int, zero_shot: int) -> str:
    """The numbers of origins by group, and the groups that enter the means."""
    counts = pd.DataFrame({name: plan.table().groupby("group").size() for name, plan in plans.items()}).fillna(0)
    rows = [[str(group), *(f"{int(n):,}" for n in row)] for group, row in counts.iterrows()]
    rows.append(["together", *(f"{int(n):,}" for n in counts.sum())])
    cap = f"At most {most:,} origins of a group, evenly over its dates. " if most else ""
    if zero_shot != most:
        cap += f"On zero-shot candles at most {zero_shot:,}. " if zero_shot else "On zero-shot candles all of them. "
    rule = f"Groups of fewer than {MIN_ORIGINS} are left out of the means, unless all are smaller"
    return f"{markdown(['market', *counts.columns], rows)}\n{cap}{rule}; the others have equal weight.\n"


def evaluation_tables(evaluation: Evaluation, skills: Sequence[Skill], models: Sequence[str]) -> dict[str, str]:
    """The tables of one set of origins, by name: those of the first model, and of an earlier one next to it."""
    name, *others = (f"{model} {CALIBRATED}" for model in models)
    return {
        "skill": skill_table(skills),
        "groups": group_table(skills, name, others[0] if others else None, REFERENCE),
        "results": results_table(evaluation),
        "card": card_table(evaluation),
        "coverage": coverage_table(evaluation),
        "adaptive": adaptive_table(evaluation),
        "whole-candles": whole_candles_table(evaluation, models),
        "clustering": clustering_table(evaluation, models),
    }


# Skill -----------------------------------------------------------------------------


def skill_table(skills: Sequence[Skill]) -> str:
    """Mean skill over all groups against each reference, of every contender and every difference."""
    cells = {
        (f"{one.title}, against {one.reference}", one.step): interval(one.skill) for one in skills if one.group == ALL
    }
    return by_step(list(dict.fromkeys(title for title, _ in cells)), cells, "skill")


def group_table(skills: Sequence[Skill], name: str, other: str | None, reference: str) -> str:
    """Skill of a contender and of the earlier one in each group, with the verdicts."""
    own = {(one.group, one.step): one for one in skills if _is(one, name, None, reference)}
    earlier = {(one.group, one.step): one for one in skills if _is(one, other, None, reference)}
    difference = {(one.group, one.step): one for one in skills if _is(one, name, other, reference)} if other else {}
    rows = []
    for (group, step), one in own.items():
        row = [group, str(step), f"{one.n:,}", f"{one.crps:.3f}", interval(one.skill), one.word]
        if other:
            before, paired = earlier.get((group, step)), difference.get((group, step))
            row += [
                interval(before and before.skill),
                interval(paired and paired.skill),
                paired.word if paired else MISSING,
            ]
        rows.append(row)
    header = ["market", "h", "n", "CRPS", f"{name}: skill", f"against {reference}"]
    return markdown([*header, *([f"{other}: skill", "difference", f"against {other}"] if other else [])], rows)


def _is(one: Skill, name: str | None, minus: str | None, reference: str) -> bool:
    return (one.name, one.minus, one.reference) == (name, minus, reference)


def results_table(evaluation: Evaluation) -> str:
    """CRPS of every contender, with the skill against the reference."""
    cells = {
        (one.forecaster, one.step): f"{one.crps:.3f}" + ("" if one.skill is None else f" ({interval(one.skill)})")
        for one in evaluation.aggregates
        if one.group == ALL
    }
    return by_step([one.name for one in evaluation.contenders], cells, "CRPS (skill)")


def card_table(evaluation: Evaluation) -> str:
    """CRPS of every contender with the coverage of the 80 % band; the lowest of each step in bold."""
    known = {(one.forecaster, one.step): one for one in evaluation.aggregates if one.group == ALL}
    least = {step: min(f"{one.crps:.3f}" for (_, at), one in known.items() if at == step) for step in STEPS}

    def told(subject: Contender, step: int) -> str:
        one = known[subject.name, step]
        crps = f"**{one.crps:.3f}**" if f"{one.crps:.3f}" == least[step] else f"{one.crps:.3f}"
        return crps if subject.point else f"{crps} ({one.coverage['80'].estimate:.0%})"

    subjects = [one for one in evaluation.contenders if (one.name, STEPS[0]) in known]
    cells = {(one.name, step): told(one, step) for one in subjects for step in STEPS}
    return by_step([one.name for one in subjects], cells, "forecasts")


# Bands -----------------------------------------------------------------------------


def coverage_table(evaluation: Evaluation) -> str:
    """Coverage of the three bands, with the width of the 80 % band in σ√h."""
    known = {(one.forecaster, one.step): one for one in evaluation.aggregates if one.group == ALL}
    points = {one.name for one in evaluation.contenders if one.point}
    names = [name for name in dict.fromkeys(name for name, _ in known) if name not in points]
    cells = {
        (name, step): f"{bands(one.coverage)} ({one.width:.2f})" for (name, step), one in known.items() if name in names
    }
    return by_step(names, cells, "50 / 80 / 95 % (width)")


def adaptive_table(evaluation: Evaluation) -> str:
    """Coverage and width of adaptive bands, next to those of the bands that they correct."""
    rows = [
        [
            one.forecaster,
            one.group,
            str(one.step),
            f"{one.n:,}",
            f"{one.adapted:,}",
            f"{one.coverage_before:.1%}",
            f"{one.coverage:.1%}",
            MISSING if math.isnan(one.width_ratio) else f"{one.width_ratio - 1:+.1%}",
            f"{one.interval_score_before:.3f}",
            f"{one.interval_score:.3f}",
        ]
        for one in sorted(evaluation.adaptive, key=lambda one: one.group != ALL)
        if one.step in (STEPS[0], STEPS[-1])
    ]
    header = [
        "contender",
        "market",
        "h",
        "n",
        "adapted",
        "80 % covers",
        "adaptive",
        "width",
        "interval score",
        "adaptive",
    ]
    return markdown(header, rows)


def history_table(rows: Sequence[HistoryRow], steps: Sequence[int]) -> str:
    """Coverage of the 80 % band by length of history; "–" where the model refuses."""
    contenders = list(dict.fromkeys(one.contender for one in rows))
    known = {(one.candles, one.contender, one.step): one for one in rows}

    def told(candles: int, contender: str, step: int) -> str:
        found = known[candles, contender, step].coverage
        return MISSING if found is None else f"{found.estimate:.1%} ({found.low:.1%} to {found.high:.1%})"

    header = ["candles of history", *(f"{name}, {format_steps(step)}" for name in contenders for step in steps)]
    lengths = list(dict.fromkeys(one.candles for one in rows))
    return markdown(
        header, [[str(n), *(told(n, name, step) for name in contenders for step in steps)] for n in lengths]
    )


# Whole candles -------------------------------------------------------------------------


def whole_candles_table(evaluation: Evaluation, names: Sequence[str]) -> str:
    """Skill of each measure of whole candles of each model, mean over the groups, with figures of volumes and gaps."""
    rows = [(words, measure, None) for measure, words in MEASURES.items()]
    rows += [(words, measure, key) for key, (words, measure) in DETAILS.items()]
    titles, cells = [], {}
    for words, measure, key in rows:
        for name in names:
            titles.append(f"{words}: {name}")
            for one in evaluation.whole_candles.select(name, ALL, measure):
                if key is None:
                    cells[titles[-1], one.step] = interval(one.skill)
                elif key in one.details and not math.isnan(one.details[key].estimate):
                    cells[titles[-1], one.step] = f"{one.details[key].estimate:.2f}"
    return by_step(titles, cells, "skill, or figure")


def clustering_table(evaluation: Evaluation, names: Sequence[str]) -> str:
    """Autocorrelation at lag 1 of absolute returns and ranges, in paths and in the market."""
    rows = []
    for one in evaluation.whole_candles.clustering:
        if one.group == ALL and one.forecaster in names:
            found = one.difference
            difference = f"{found.estimate:+.3f}, {found.low:+.3f} to {found.high:+.3f}"
            paths, actual = f"{one.paths:.3f}", f"{one.actual:.3f}"
            rows.append([f"{one.of}: {one.forecaster}", f"{one.n:,}", paths, actual, difference, one.word])
    return markdown(["clustering", "n", "paths", "market", "difference", "verdict"], rows)


# Calibration ---------------------------------------------------------------------------


def setting_table(found: Sequence[AblationRow], what: str, group: str = ALL) -> str:
    """One row per setting and one column per step, with the CRPS or the coverages."""
    cells = {
        (one.setting, one.step): crps_change(one) if what == "crps" else bands(one.coverage)
        for one in found
        if one.group == group
    }
    return by_step(list(dict.fromkeys(setting for setting, _ in cells)), cells, "forecasts")


def setting_tables(found: Sequence[AblationRow]) -> str:
    """CRPS and coverages by setting, mean over the groups."""
    return f"{setting_table(found, 'crps')}\n{COVERAGE}\n\n{setting_table(found, 'coverage')}"


def crps_change(one: AblationRow) -> str:
    """The CRPS, with its change against the raw forecasts."""
    return f"{one.crps:.3f}" + ("" if one.gain.estimate == 0 else f" ({-one.gain.estimate:+.1%})")


def newcomer_table(found: Sequence[AblationRow], settings: Sequence[str]) -> str:
    """CRPS and coverage of the 80 % band by market, with each setting, at the first and the last step."""
    known = {(one.setting, one.group, one.step): one for one in found}
    groups = list(dict.fromkeys(one.group for one in found))
    rows = [
        [
            group,
            str(step),
            f"{known[settings[0], group, step].n:,}",
            *(crps_change(known[name, group, step]) for name in settings),
            *(f"{known[name, group, step].coverage['80'].estimate:.1%}" for name in settings),
        ]
        for step in (STEPS[0], STEPS[-1])
        for group in groups
    ]
    if not rows:
        return "There are not enough markets to leave one out.\n"
    header = ["market", "h", "n", *(f"CRPS {name}" for name in settings), *(f"80 % {name}" for name in settings)]
    return markdown(header, rows)


def weight_table(calibration: Calibration, groups: Sequence[str]) -> str:
    """The model's weight against the baseline."""
    rows = [
        [name, *(f"{calibration.weights(group).get(step, math.nan):.2f}" for step in STEPS)]
        for name, group in (("all together", None), *((group, group) for group in groups))
    ]
    return markdown(["market", *(format_steps(step) for step in STEPS)], rows)


def cell_table(found: Sequence[AblationRow], name: str, stride: int) -> str:
    """Coverage and CRPS of each cell, raw and calibrated; values outside the bound are marked."""
    rows = []
    for raw, one, bounds in _cells(found, name, stride):
        hits = [one.coverage[band].estimate for band in BANDS]
        marks = [
            "" if abs(hit - int(band) / 100) <= bounds[band] else " ✗" for hit, band in zip(hits, BANDS, strict=True)
        ]
        worse = " ✗" if one.gain.estimate < -0.01 else ""
        rows.append(
            [
                one.group,
                str(one.step),
                f"{one.n:,}",
                bands(raw.coverage),
                " / ".join(f"{hit:.1%}".rstrip("%") + mark for hit, mark in zip(hits, marks, strict=True)),
                " / ".join(f"{100 * bounds[band]:.1f}" for band in BANDS),
                f"{raw.crps:.3f}",
                f"{one.crps:.3f}",
                f"{-one.gain.estimate:+.1%}{worse}",
            ]
        )
    header = ["market", "h", "n", "raw 50/80/95 %", "calibrated", "± bound", "CRPS raw", "calibrated", "change"]
    missed = sum("✗" in " ".join(row) for row in rows)
    return markdown(header, rows) + f"\n{len(rows)} cells, {missed} with a mark.\n"


def _cells(
    found: Sequence[AblationRow], name: str, stride: int
) -> Iterator[tuple[AblationRow, AblationRow, dict[str, float]]]:
    """Raw and calibrated figures of each cell with enough independent origins, and the bound of each band."""
    every = {(one.setting, one.group, one.step): one for one in found}
    most = max((one.n for one in found if one.group != ALL), default=0)
    for (setting, group, step), one in every.items():
        independent = one.n / max(1.0, step / stride)
        if setting == name and group != ALL and independent >= min(LEAST, most / 2):
            errors = {band: (hit.high - hit.low) / (2 * 1.96) for band, hit in one.coverage.items()}
            yield every["raw", group, step], one, {band: max(POINTS, 2 * error) for band, error in errors.items()}

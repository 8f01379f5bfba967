"""Contenders with adaptive bands: corrected at each origin by the outcomes that were known by then, and by no others.

Adaptive conformal inference (`kronos.calibration.apply_online`) follows the forecasts that a run has stored, in order
of their origins and separately for each market and interval, so it needs no further forecast. An outcome counts from
the origin at which the whole horizon of its forecast is known. Until `MIN_OUTCOMES` outcomes of a group are known, its
forecasts are those of the contender that they are derived from.

`AdaptiveFigures` are what the correction gains, in coverage and interval score, and what it costs, in width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kronos.calibration import MIN_OUTCOMES, ModelIdentity, apply_online
from kronos.calibration.conformal import describe_width
from kronos.evaluation.aggregate import ALL, Aggregates, Scores
from kronos.evaluation.calibration import Correction, calibration_set_of, shared_origins
from kronos.evaluation.forecasters import Forecaster
from kronos.evaluation.origins import Plan
from kronos.evaluation.rolling import ForecastPaths
from kronos.evaluation.scoring import Actuals, equal_mean, large_groups
from kronos.evaluation.verdicts import Verdict
from kronos.typing import BoolArray

METHOD = (
    "Adaptive bands: at each origin the ends of the bands are shifted by how far outside them the outcomes of earlier "
    f"forecasts lay, as far as these were known, once there are {MIN_OUTCOMES} of the market and interval."
)


@dataclass(frozen=True, slots=True)
class AdaptiveBands:
    """A contender with adaptive bands, derived from the paths of another one.

    Attributes:
        name: Name in tables.
        forecaster: Name of the forecaster that made the forecasts.
        of: Name of the contender whose bands are corrected: the calibrated one, or the forecaster.
    """

    name: str
    forecaster: str
    of: str

    @property
    def description(self) -> str:
        """One line for readers."""
        return f"{self.of} with bands that follow the outcomes known at each origin"


def adaptive_contenders(forecasters: Sequence[Forecaster], corrections: Sequence[Correction]) -> list[AdaptiveBands]:
    """Return one contender per forecaster: of its first calibration, otherwise of its raw forecasts.

    Args:
        forecasters: The evaluated forecasters.
        corrections: The calibrated contenders.
    """
    calibrated = {correction.of: correction.name for correction in reversed(corrections)}
    return [
        AdaptiveBands(f"{own.name}, adaptive bands", own.name, calibrated.get(own.name, own.name))
        for own in forecasters
    ]


def adapt_paths(plan: Plan, actuals: Actuals, paths: ForecastPaths, name: str) -> ForecastPaths:
    """Correct the sample paths of a run by the outcomes known at each origin.

    Args:
        plan: The origins.
        actuals: The outcomes.
        paths: Sample paths, raw or calibrated.
        name: Name of the result.
    """
    rows = shared_origins(paths)
    returns = np.full_like(paths.returns, np.nan)
    if len(rows):
        past = calibration_set_of(plan, actuals, paths, ModelIdentity(model=paths.name))
        returns[rows] = apply_online(past).returns
    return ForecastPaths(name, returns, paths.level_error, paths.draws)


def adapted_origins(plan: Plan, paths: ForecastPaths) -> BoolArray:
    """Whether enough outcomes of the group are known at each origin for its bands to be corrected. [N].

    Args:
        plan: The origins.
        paths: Sample paths of the contender with adaptive bands.
    """
    table = plan.table()
    dates = table["date"].to_numpy().astype("datetime64[us]")
    groups, ends = table["group"].to_numpy().astype(np.str_), plan.ends().to_numpy().astype("datetime64[us]")
    forecast = np.zeros(len(plan), dtype=np.bool_)
    forecast[shared_origins(paths)] = True
    adapted = np.zeros(len(plan), dtype=np.bool_)
    for group in np.unique(groups):
        rows = forecast & (groups == group)
        adapted[rows] = np.searchsorted(np.sort(ends[rows]), dates[rows], side="right") >= MIN_OUTCOMES
    return adapted


@dataclass(frozen=True, slots=True)
class AdaptiveFigures:
    """What adaptive bands gain and cost in one group at one step, next to the bands that they correct.

    Attributes:
        forecaster: Name of the contender with adaptive bands.
        of: Name of the contender that it corrects.
        group: Market at an interval, or ``all``, where every group of enough origins has the same weight.
        step: Steps ahead.
        n: Number of forecasts.
        adapted: Number of these whose bands were corrected.
        coverage: Share of outcomes within the 80 % band.
        coverage_before: The same of the contender that it corrects.
        width_ratio: Mean width of the 80 % band over that of the contender that it corrects; NaN without bands.
        interval_score: Mean interval score of the 80 % band, in σ√h.
        interval_score_before: The same of the contender that it corrects.
    """

    forecaster: str
    of: str
    group: str
    step: int
    n: int
    adapted: int
    coverage: float
    coverage_before: float
    width_ratio: float
    interval_score: float
    interval_score_before: float

    @property
    def sentence(self) -> str:
        """The figures in words, as they follow the coverage in a verdict."""
        if not self.adapted:
            return f"none of {self.n:,} forecasts adapted"
        count = f"{self.adapted:,} of {self.n:,} forecasts adapted"
        if math.isnan(self.width_ratio):
            return count
        width = describe_width(self.width_ratio, f"those of {self.of}")
        return f"{width}, which cover {self.coverage_before:.1%}; {count}"


def adaptive_figures(
    bands: Sequence[AdaptiveBands],
    adapted: Mapping[str, BoolArray],
    aggregates: Sequence[Aggregates],
    scores: Scores,
) -> list[AdaptiveFigures]:
    """Compare contenders with adaptive bands with those that they correct, in every group and at every step.

    Args:
        bands: The contenders with adaptive bands.
        adapted: Result of `adapted_origins`, by contender.
        aggregates: The figures, from `aggregate_scores`.
        scores: The scores behind them.
    """
    known = {(own.forecaster, own.group, own.step): own for own in aggregates}
    return [
        _figures(own, adapted[own.name], after, before, scores)
        for own in bands
        for (name, group, step), after in known.items()
        if name == own.name and (before := known.get((own.of, group, step))) is not None
    ]


def _figures(
    own: AdaptiveBands, adapted: BoolArray, after: Aggregates, before: Aggregates, scores: Scores
) -> AdaptiveFigures:
    rows = scores.steps[scores.steps["step"] == after.step]
    losses = {name: rows[rows["forecaster"] == name] for name in (own.name, own.of)}
    groups = large_groups(losses[own.name]["group"]) if after.group == ALL else {after.group}
    losses = {name: found[found["group"].isin(groups)] for name, found in losses.items()}
    return AdaptiveFigures(
        forecaster=own.name,
        of=own.of,
        group=after.group,
        step=after.step,
        n=after.n,
        adapted=int(adapted[losses[own.name]["origin"].to_numpy()].sum()),
        coverage=after.coverage["80"].estimate,
        coverage_before=before.coverage["80"].estimate,
        width_ratio=after.width / before.width if before.width > 0 else math.nan,
        interval_score=equal_mean(losses[own.name]["interval_80"], losses[own.name]["group"]),
        interval_score_before=equal_mean(losses[own.of]["interval_80"], losses[own.of]["group"]),
    )


def extend_verdicts(verdicts: Sequence[Verdict], figures: Sequence[AdaptiveFigures], horizon: int) -> list[Verdict]:
    """Add what adaptive bands gain and cost to the verdicts on them.

    Args:
        verdicts: All verdicts.
        figures: Figures of the contenders with adaptive bands.
        horizon: The step of the verdicts.
    """
    sentences = {(own.forecaster, own.group): own.sentence for own in figures if own.step == horizon}
    return [
        replace(own, sentence=f"{own.sentence.removesuffix(')')}; {sentences[own.forecaster, own.group]})")
        if own.about == "bands" and (own.forecaster, own.group) in sentences
        else own
        for own in verdicts
    ]


def unadapted_warnings(figures: Sequence[AdaptiveFigures], horizon: int) -> list[str]:
    """Warn of groups in which no forecast has adaptive bands, because too few outcomes are known.

    Args:
        figures: Figures of the contenders with adaptive bands.
        horizon: Steps ahead of the evaluation.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for own in figures:
        if own.step == horizon and own.group != ALL and not own.adapted:
            groups.setdefault((own.forecaster, own.of), []).append(own.group)
    return [
        f"The forecasts of '{name}' are those of {of} in {', '.join(names)}: bands adapt once {MIN_OUTCOMES} outcomes "
        f"of a market and interval are known, and there are fewer at every origin."
        for (name, of), names in groups.items()
    ]

"""Multiple-comparison tests over all forecasters of a group, which allow for how many were tried.

Of many forecasters the luckiest one looks good. Two tests therefore accompany the skill of each one. Both use the CRPS
at the origins where all forecasters made a forecast, by blocks of dates:

- the test of superior predictive ability (SPA, Hansen 2005): whether any forecaster beats the reference, and which;
- the model confidence set (MCS, Hansen, Lunde and Nason 2011): the set that contains the best one with 90 % confidence.

A forecaster with forecasts at fewer than `MIN_SHARE` of a group's origins is left out, so that the others keep theirs.
Over all groups every group of enough origins has the same weight, and a forecaster left out of one of them is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from kronos.errors import ParameterError
from kronos.evaluation.aggregate import ALL, Scores, format_steps
from kronos.evaluation.origins import RollingOrigins
from kronos.evaluation.scoring import MIN_SHARE, equal_weights, large_groups
from kronos.metrics import model_confidence_set, superior_predictive_ability


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """The tests over all forecasters of one group at one step.

    Attributes:
        group: Market at an interval, or ``all``.
        step: Steps ahead.
        included: Members of the model confidence set, lowest loss first; empty if the tests cannot be run.
        excluded: The other forecasters, lowest loss first.
        p_values: MCS p-value of each forecaster: it leaves the set at a confidence of 1 minus this.
        spa_p: p-value of the SPA test's null that no forecaster beats the reference; None if it cannot be run.
        better: Forecasters that beat the reference at a joint level of 5 %.
        left_out: Forecasters with too few forecasts.
        origins: Origins with any forecast.
        n: Origins where all compared forecasters made a forecast.
        dates: Distinct dates among those.
        sentence: The result in words, or why the tests cannot be run.
    """

    group: str
    step: int
    included: tuple[str, ...]
    excluded: tuple[str, ...]
    p_values: Mapping[str, float]
    spa_p: float | None
    better: tuple[str, ...]
    left_out: tuple[str, ...]
    origins: int
    n: int
    dates: int
    sentence: str


def compare_models(
    scores: Scores, reference: str, rolling: RollingOrigins, steps: Sequence[int] | None = None
) -> list[ModelComparison]:
    """Run both tests in every group and over all groups.

    Args:
        scores: Scores of all forecasters.
        reference: Name of the reference.
        rolling: How the origins were selected.
        steps: Steps ahead; None for the last scored one, usually the horizon.

    Raises:
        ParameterError: If a step was not scored.
    """
    scored = sorted(scores.steps["step"].unique().tolist())
    selected = scored[-1:] if steps is None else sorted(set(steps))
    unknown = next((step for step in selected if step not in scored), None)
    if unknown is not None:
        raise ParameterError(f"Step {unknown} was not scored; choose from {', '.join(map(str, scored))}.")
    return [found for step in selected for found in _at_step(scores, reference, step, rolling.overlap(step))]


def _at_step(scores: Scores, reference: str, step: int, overlap: int) -> list[ModelComparison]:
    rows = scores.steps[scores.steps["step"] == step]
    losses = rows.pivot(index="origin", columns="forecaster", values="crps")[scores.forecasters].dropna(how="all")
    labels = rows.drop_duplicates("origin").set_index("origin").loc[losses.index, ["group", "date"]]
    shares = losses.notna().groupby(labels["group"]).mean()
    result = []
    for group, share in shares.iterrows():
        own = labels["group"] == group
        table = _LossTable(str(group), step, losses[own], labels[own], _below_min_share(share))
        result.append(_compare(table, reference, overlap))
    large = labels["group"].isin(large_groups(labels["group"]))
    left_out = _below_min_share(shares.loc[sorted(labels.loc[large, "group"].unique())].min())
    return [*result, _compare(_LossTable(ALL, step, losses[large], labels[large], left_out), reference, overlap)]


def _below_min_share(share: pd.Series) -> tuple[str, ...]:
    return tuple(str(name) for name in share.index[share < MIN_SHARE])


@dataclass(frozen=True, slots=True, eq=False)
class _LossTable:
    """Losses to compare: one row per origin with any forecast, one column per forecaster."""

    group: str
    step: int
    losses: pd.DataFrame
    labels: pd.DataFrame  # group and date of each row
    left_out: tuple[str, ...]


def _compare(table: _LossTable, reference: str, overlap: int) -> ModelComparison:
    losses = table.losses.drop(columns=list(table.left_out)).dropna()
    labels = table.labels.loc[losses.index]
    losses = losses.mul(equal_weights(labels["group"]), axis=0)
    empty = ModelComparison(
        group=table.group,
        step=table.step,
        included=(),
        excluded=(),
        p_values={},
        spa_p=None,
        better=(),
        left_out=table.left_out,
        origins=len(table.losses),
        n=len(losses),
        dates=labels["date"].nunique(),
        sentence="",
    )
    if reference in table.left_out:
        return replace(empty, sentence=f"{reference} has forecasts at too few origins to be the reference.")
    try:
        confidence_set = model_confidence_set(losses, labels["date"], overlap=overlap)
        ability = superior_predictive_ability(losses, reference, labels["date"], overlap=overlap)
    except ParameterError as error:  # too few dates or forecasters, or a library that is not installed
        return replace(empty, sentence=str(error))
    order = losses.mean().sort_values(kind="stable").index
    found = replace(
        empty,
        included=tuple(name for name in order if name in confidence_set.included),
        excluded=tuple(name for name in order if name in confidence_set.excluded),
        p_values=confidence_set.p_values,
        spa_p=ability.p_value,
        better=tuple(name for name in order if name in ability.better),
    )
    return replace(found, sentence=_sentence(found, reference, 1 - confidence_set.size))


def _sentence(found: ModelComparison, reference: str, confidence: float) -> str:
    assert found.spa_p is not None
    p_value = "p < 0.001" if found.spa_p < 0.001 else f"p = {found.spa_p:.3f}"
    left_out = f"; left out for too few forecasts: {', '.join(found.left_out)}" if found.left_out else ""
    return (
        f"the best at {format_steps(found.step)} is among {', '.join(found.included)} ({confidence:.0%} confidence); "
        f"better than {reference}, allowing for how many were tried: {', '.join(found.better) or 'none'} ({p_value}); "
        f"from {found.n:,} of {found.origins:,} origins, where all have forecasts{left_out}"
    )

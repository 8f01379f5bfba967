"""Who may be the best: everybody against the reference, and everybody against everybody, allowing for their number.

Of many forecasters the luckiest looks good. So beside each one's skill stand two tests of them all, on their CRPS at
the origins where everybody spoke, by blocks of dates:

- Hansen's test of superior predictive ability: does anybody beat the reference, and who;
- the model confidence set of Hansen, Lunde and Nason: those among whom the best is, with 90 % confidence.

Whoever spoke at fewer than `LEAST_SHARE` of a group's origins is left out, so that the others keep theirs. Over all
groups every group of enough origins counts the same, and whoever is left out in one of them is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from kronos.errors import ParameterError
from kronos.evaluation.aggregate import ALL, Scores, told_steps
from kronos.evaluation.plan import WalkForward
from kronos.evaluation.scoring import count_by_group, equal_weights
from kronos.metrics import model_confidence_set, superior_predictive_ability

LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Comparison:
    """All forecasters of one group at one step.

    Attributes:
        group: Market at an interval, or ``all``.
        step: Steps ahead.
        included: Those that may be the best, least loss first; empty where nothing can be told.
        excluded: Those that are worse than those, likewise.
        p_values: Of each, that it is among the best: the set's confidence at which it just leaves is 1 less this.
        spa_p: The p-value of nobody being better than the reference; None where it cannot be told.
        better: Those that beat the reference, all tests together at 5 %.
        left_out: Those that spoke at too few origins.
        origins: Origins where anybody spoke.
        n: Origins where all that are compared spoke.
        dates: Distinct dates among those.
        sentence: The same for people, or why nothing can be told.
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


def compare(scores: Scores, reference: str, walk: WalkForward, steps: Sequence[int] | None = None) -> list[Comparison]:
    """Compare everybody in every group, and over all groups.

    Args:
        scores: Of everybody.
        reference: The forecaster that is to be beaten.
        walk: How origins were chosen.
        steps: Steps ahead; None for the furthest that was scored, which is the horizon unless asked otherwise.

    Raises:
        ParameterError: If a step was not scored.
    """
    scored = sorted(scores.steps["step"].unique().tolist())
    asked = scored[-1:] if steps is None else sorted(set(steps))
    unknown = next((step for step in asked if step not in scored), None)
    if unknown is not None:
        raise ParameterError(f"Step {unknown} was not scored; choose from {', '.join(map(str, scored))}.")
    return [one for step in asked for one in _at_step(scores, reference, step, walk.overlap(step))]


def _at_step(scores: Scores, reference: str, step: int, overlap: int) -> list[Comparison]:
    rows = scores.steps[scores.steps["step"] == step]
    losses = rows.pivot(index="origin", columns="forecaster", values="crps")[scores.forecasters].dropna(how="all")
    labels = rows.drop_duplicates("origin").set_index("origin").loc[losses.index, ["group", "date"]]
    shares = losses.notna().groupby(labels["group"]).mean()
    found = []
    for group, share in shares.iterrows():
        mine = labels["group"] == group
        table = _Table(str(group), step, losses[mine], labels[mine], _few(share))
        found.append(_compared(table, reference, overlap))
    among = labels["group"].isin(count_by_group(labels["group"]))
    few = _few(shares.loc[sorted(labels.loc[among, "group"].unique())].min())
    return [*found, _compared(_Table(ALL, step, losses[among], labels[among], few), reference, overlap)]


def _few(share: pd.Series) -> tuple[str, ...]:
    """Those that spoke at too few origins."""
    return tuple(str(name) for name in share.index[share < LEAST_SHARE])


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Losses to compare: one row an origin where anybody spoke, one column a forecaster."""

    group: str
    step: int
    losses: pd.DataFrame
    labels: pd.DataFrame  # group and date of each row
    left_out: tuple[str, ...]


def _compared(table: _Table, reference: str, overlap: int) -> Comparison:
    losses = table.losses.drop(columns=list(table.left_out)).dropna()
    labels = table.labels.loc[losses.index]
    losses = losses.mul(equal_weights(labels["group"]), axis=0)
    nothing = Comparison(
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
        return replace(nothing, sentence=f"{reference} spoke at too few origins to be compared with.")
    try:
        best = model_confidence_set(losses, labels["date"], overlap=overlap)
        ability = superior_predictive_ability(losses, reference, labels["date"], overlap=overlap)
    except ParameterError as error:  # too few dates or forecasters, or a library that is not installed
        return replace(nothing, sentence=str(error))
    order = losses.mean().sort_values(kind="stable").index
    found = replace(
        nothing,
        included=tuple(name for name in order if name in best.included),
        excluded=tuple(name for name in order if name in best.excluded),
        p_values=best.p_values,
        spa_p=ability.p_value,
        better=tuple(name for name in order if name in ability.better),
    )
    return replace(found, sentence=_sentence(found, reference, 1 - best.size))


def _sentence(one: Comparison, reference: str, confidence: float) -> str:
    assert one.spa_p is not None
    chance = "p < 0.001" if one.spa_p < 0.001 else f"p = {one.spa_p:.3f}"
    left_out = f"; left out, having spoken at fewer than half: {', '.join(one.left_out)}" if one.left_out else ""
    return (
        f"the best at {told_steps(one.step)} is among {', '.join(one.included)} ({confidence:.0%} confidence); better "
        f"than {reference}, allowing for how many were tried: {', '.join(one.better) or 'nobody'} ({chance}); at "
        f"{one.n:,} of {one.origins:,} origins, where all spoke{left_out}"
    )

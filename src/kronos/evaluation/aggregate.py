"""From scores to figures: means by market and step, skill with intervals, coverage, direction, order, volatility.

- *Skill* is 1 - CRPS / CRPS of the reference (a random walk with historical volatility unless said otherwise) with a
  date-block bootstrap interval: instruments of one date move together, and overlapping forecasts share candles.
- Over all groups, every group of enough origins counts the same (`kronos.evaluation.scoring`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kronos.evaluation.plan import WalkForward
from kronos.evaluation.rolling import ForecastPaths
from kronos.evaluation.scoring import (
    Actuals,
    count_by_group,
    equal_mean,
    equal_share,
    equal_skill,
    equal_weights,
    report_steps,
    score_paths,
    score_whole,
)
from kronos.forecasts import BANDS
from kronos.metrics import (
    Direction,
    Estimate,
    Significance,
    bootstrap_mean,
    bootstrap_skill,
    diebold_mariano,
    direction,
    rank_ic,
    uniformity,
    volatility_scores,
)

ALL = "all"


def told_steps(step: int) -> str:
    """``1 step``, ``24 steps``."""
    return "1 step" if step == 1 else f"{step} steps"


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """All scores of an evaluation.

    Attributes:
        steps: One row an origin, step and forecaster (see `score_paths`), with ``forecaster``, ``group``, ``series``
            and ``date``.
        whole: One row an origin and forecaster (see `score_whole`), likewise.
    """

    steps: pd.DataFrame
    whole: pd.DataFrame

    @classmethod
    def of(
        cls, truth: Actuals, paths: Mapping[str, ForecastPaths], walk: WalkForward, steps: Sequence[int] | None = None
    ) -> Scores:
        """Score everybody.

        Args:
            truth: What happened.
            paths: What was said, by forecaster.
            walk: How origins were chosen.
            steps: Steps ahead; None for the usual ones.
        """
        chosen = report_steps(walk.horizon) if steps is None else steps
        by_step = {name: score_paths(truth, one, chosen) for name, one in paths.items()}
        whole = {name: score_whole(truth, one) for name, one in paths.items()}
        return cls(_labelled(by_step, truth), _labelled(whole, truth))

    @property
    def groups(self) -> list[str]:
        """Markets at their intervals, by name."""
        return sorted(self.steps["group"].unique())

    @property
    def forecasters(self) -> list[str]:
        """Everybody, in the order given."""
        return [str(name) for name in self.steps["forecaster"].unique()]


def _labelled(tables: Mapping[str, pd.DataFrame], truth: Actuals) -> pd.DataFrame:
    joined = pd.concat([table.assign(forecaster=name) for name, table in tables.items()], ignore_index=True)
    return joined.merge(truth.origins, left_on="origin", right_index=True, how="left")


@dataclass(frozen=True, slots=True)
class Aggregates:
    """One forecaster in one group at one step.

    Attributes:
        forecaster: Its name.
        group: Market at an interval, or ``all``.
        step: Steps ahead.
        n: Forecasts scored.
        crps: Mean CRPS in σ√h.
        skill: Against the reference, with its interval; None of the reference itself.
        test: Diebold and Mariano's, of the CRPS against the reference's; None likewise, and over all groups.
        coverage: Share of outcomes within the 50, 80 and 95 % bands, by the band.
        width: Mean width of the 80 % band in σ√h.
        uniform: Kolmogorov and Smirnov's test of the PIT.
        brier: Mean Brier score of the probability of a rise; 0.25 is a coin's.
        hit_rate: Share of right directions, of outcomes that moved; None of forecasts that take no side.
        direction_p: Pesaran and Timmermann's p-value that right directions are chance, over all groups within each;
            None likewise.
        rank_ic: Mean rank correlation of predicted and actual returns across instruments, with its t statistic; None
            where there are too few instruments a date.
    """

    forecaster: str
    group: str
    step: int
    n: int
    crps: float
    skill: Estimate | None
    test: Significance | None
    coverage: Mapping[str, Estimate]
    width: float
    uniform: Significance | None
    brier: float
    hit_rate: Estimate | None
    direction_p: float | None
    rank_ic: Mapping[str, float] | None


def summarise(scores: Scores, reference: str, walk: WalkForward) -> list[Aggregates]:
    """All figures: every forecaster in every group, and over all groups, at every step."""
    found = []
    for step in sorted(scores.steps["step"].unique().tolist()):
        at_step = scores.steps[scores.steps["step"] == step]
        overlap = walk.overlap(step)
        for group in scores.groups:
            rows = at_step[at_step["group"] == group]
            base = _of(rows, reference)
            for name in scores.forecasters:
                own = rows[rows["forecaster"] == name]
                if len(own):
                    found.append(_figures(own, base, group, step, overlap))
        found += _over_groups(at_step, scores.forecasters, reference, step, overlap)
    return found


def _of(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[rows["forecaster"] == name].set_index("origin")


def _figures(own: pd.DataFrame, base: pd.DataFrame, group: str, step: int, overlap: int) -> Aggregates:
    name = str(own["forecaster"].iloc[0])
    dates = own["date"].to_numpy()
    against = _against(own, base)
    sides = _sides(own, dates, overlap)
    return Aggregates(
        forecaster=name,
        group=group,
        step=step,
        n=len(own),
        crps=float(own["crps"].mean()),
        skill=None if against is None else bootstrap_skill(own["crps"], against, dates, overlap=overlap),
        test=None if against is None else diebold_mariano(own["crps"], against, dates, overlap=overlap),
        coverage={_band(band): bootstrap_mean(own[f"inside_{_band(band)}"], dates, overlap=overlap) for band in BANDS},
        width=float(own["width_80"].mean()),
        uniform=uniformity(own["pit"], dates, overlap=overlap),
        brier=float(own["brier"].mean()),
        hit_rate=None if sides is None else sides.hit_rate,
        direction_p=None if sides is None else sides.test.p_value,
        rank_ic=_rank_ic(own, overlap),
    )


def _against(own: pd.DataFrame, base: pd.DataFrame) -> np.ndarray[Any, Any] | None:
    """The reference's CRPS at the same origins; None for the reference itself, or where it has none."""
    if not len(base) or base["forecaster"].iloc[0] == own["forecaster"].iloc[0]:
        return None
    return base["crps"].reindex(own["origin"]).to_numpy()


def _band(band: float) -> str:
    return f"{band * 100:.0f}"


def _sides(own: pd.DataFrame, dates: np.ndarray[Any, Any], overlap: int) -> Direction | None:
    """How often the likelier direction came; nothing of a forecast that never takes a side."""
    side = own["up"] - 0.5
    if not (side.abs() > 1e-9).any():
        return None
    return direction(side, own["actual"], dates, overlap=overlap)


def _rank_ic(own: pd.DataFrame, overlap: int) -> Mapping[str, float] | None:
    """Across instruments of one date, where there are at least five of them."""
    if own["predicted"].nunique() < 2:
        return None
    found = rank_ic(own["predicted"], own["actual"], own["date"].to_numpy(), own["series"].to_numpy(), overlap=overlap)
    if not len(found.values) or math.isnan(found.mean):
        return None
    return {"mean": found.mean, "t": found.t_statistic, "p": found.p_value, "dates": float(found.dates)}


def _over_groups(
    rows: pd.DataFrame, forecasters: Sequence[str], reference: str, step: int, overlap: int
) -> list[Aggregates]:
    """Every group counts the same."""
    found = []
    origins = rows.drop_duplicates("origin")
    rows = rows[rows["group"].isin(count_by_group(origins["group"]))]
    base = _of(rows, reference)
    for name in forecasters:
        own = rows[rows["forecaster"] == name]
        if not len(own):
            continue
        groups, dates = own["group"].to_numpy(), own["date"].to_numpy()
        against = _against(own, base)
        hit_rate, chance = _sides_over_groups(own, groups, overlap)
        found.append(
            Aggregates(
                forecaster=name,
                group=ALL,
                step=step,
                n=len(own),
                crps=equal_mean(own["crps"], groups),
                skill=None if against is None else equal_skill(own["crps"], against, groups, dates, overlap),
                test=None,
                coverage={
                    _band(band): equal_share(own[f"inside_{_band(band)}"], groups, dates, overlap) for band in BANDS
                },
                width=equal_mean(own["width_80"], groups),
                uniform=None,
                brier=equal_mean(own["brier"], groups),
                hit_rate=hit_rate,
                direction_p=chance,
                rank_ic=None,
            )
        )
    return found


def _sides_over_groups(
    own: pd.DataFrame, groups: np.ndarray[Any, Any], overlap: int
) -> tuple[Estimate | None, float | None]:
    """As `_sides`, every group counting the same, and the test's p-value.

    Calls and outcomes are told from their group's own means: one market that rose and was said to rise, beside one
    that fell and was said to fall, is no knowledge of when.
    """
    side = own["up"] - 0.5
    if not (side.abs() > 1e-9).any():
        return None, None
    decided = ((side != 0) & (own["actual"] != 0)).to_numpy()
    calls, rises = (side > 0).to_numpy()[decided], (own["actual"] > 0).to_numpy()[decided]
    groups, dates = groups[decided], own["date"].to_numpy()[decided]
    signs = pd.DataFrame({"call": calls, "rise": rises}, dtype=np.float64)
    beyond = (signs - signs.groupby(groups).transform("mean")).prod(axis=1).to_numpy() * equal_weights(groups)
    test = diebold_mariano(-beyond, np.zeros(len(beyond)), dates, overlap=overlap)
    chance = test.p_value / 2 if test.statistic < 0 else 1 - test.p_value / 2
    return equal_share(calls == rises, groups, dates, overlap), chance


def volatility(scores: Scores) -> pd.DataFrame:
    """Realised volatility over the horizon: MAE, R² and QLIKE of what each forecaster's paths expect, by group."""
    rows = []
    for (group, name), own in scores.whole.groupby(["group", "forecaster"]):
        one = volatility_scores(own["volatility"] ** 2, own["realised"] ** 2)
        rows.append({"group": group, "forecaster": name, "mae": one.mae, "r2": one.r2, "qlike": one.qlike, "n": one.n})
    return pd.DataFrame(rows)

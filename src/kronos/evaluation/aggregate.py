"""Aggregates of the scores: means by group and step, skill with intervals, coverage, direction, rank IC, volatility.

- Skill is 1 − CRPS / CRPS of the reference, with a date-block bootstrap interval: instruments of one date move
  together, and overlapping forecasts share candles.
- Over all groups, every group of enough origins has the same weight, see `kronos.evaluation.scoring.large_groups`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from kronos.evaluation.origins import RollingOrigins
from kronos.evaluation.rolling import ForecastPaths
from kronos.evaluation.scoring import (
    Actuals,
    comparable_origins,
    equal_mean,
    equal_share,
    equal_skill,
    equal_weights,
    large_groups,
    report_steps,
    score_paths,
    score_trajectories,
)
from kronos.forecasts import BANDS
from kronos.formatting import plural
from kronos.metrics import (
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
from kronos.typing import FloatArray

ALL = "all"


def format_steps(step: int) -> str:
    """Format a horizon: ``1 step``, ``24 steps``."""
    return plural(step, "step")


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """All scores of an evaluation.

    Attributes:
        steps: One row per origin, step and forecaster (see `score_paths`), with ``forecaster``, ``group``, ``series``,
            ``date`` and ``first``.
        trajectories: One row per origin and forecaster (see `score_trajectories`), with the same columns.
    """

    steps: pd.DataFrame
    trajectories: pd.DataFrame

    @classmethod
    def of(
        cls,
        actuals: Actuals,
        paths: Mapping[str, ForecastPaths],
        rolling: RollingOrigins,
        steps: Sequence[int] | None = None,
    ) -> Scores:
        """Score all forecasters at the origins where all of them can be compared, see `comparable_origins`.

        Args:
            actuals: The outcomes.
            paths: Sample paths by forecaster.
            rolling: How the origins were selected.
            steps: Steps ahead; None for those of `report_steps`.
        """
        at = report_steps(rolling.horizon) if steps is None else steps
        shared = comparable_origins(actuals, paths)
        actuals = replace(actuals, sigma=np.where(shared, actuals.sigma, np.nan))
        by_step = {name: score_paths(actuals, own, at) for name, own in paths.items()}
        trajectories = {name: score_trajectories(actuals, own) for name, own in paths.items()}
        return cls(_labelled(by_step, actuals), _labelled(trajectories, actuals))

    @property
    def groups(self) -> list[str]:
        """The groups (market and interval), sorted."""
        return sorted(self.steps["group"].unique())

    @property
    def forecasters(self) -> list[str]:
        """The forecasters' names, in the order of the paths."""
        return [str(name) for name in self.steps["forecaster"].unique()]


def _labelled(tables: Mapping[str, pd.DataFrame], actuals: Actuals) -> pd.DataFrame:
    joined = pd.concat([table.assign(forecaster=name) for name, table in tables.items()], ignore_index=True)
    return joined.merge(actuals.origins, left_on="origin", right_index=True, how="left")


@dataclass(frozen=True, slots=True)
class Aggregates:
    """The figures of one forecaster in one group at one step.

    Attributes:
        forecaster: Name of the forecaster.
        group: Market at an interval, or ``all``.
        step: Steps ahead.
        n: Number of forecasts.
        crps: Mean CRPS in σ√h.
        skill: Skill against the reference; None for the reference itself.
        test: Diebold–Mariano test of the CRPS against the reference's; None for the reference and over all groups.
        coverage: Share of outcomes within the 50, 80 and 95 % bands, by band.
        width: Mean width of the 80 % band in σ√h.
        uniform: Kolmogorov–Smirnov test of the PIT; None over all groups.
        brier: Mean Brier score of the probability of a rise; a coin flip has 0.25.
        hit_rate: Share of correct directions among the outcomes that moved; None if every forecast is neutral.
        direction_p: p-value of the Pesaran–Timmermann test, within groups if over all of them; None if every forecast
            is neutral.
        rank_ic: Mean rank correlation of predicted and actual returns across instruments, with its t statistic; None
            if there are too few instruments per date.
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


def aggregate_scores(scores: Scores, reference: str, rolling: RollingOrigins) -> list[Aggregates]:
    """Aggregate the scores of every forecaster at every step, in every group and over all groups."""
    result = []
    for step in sorted(scores.steps["step"].unique().tolist()):
        at_step = scores.steps[scores.steps["step"] == step]
        overlap = rolling.overlap(step)
        for group in scores.groups:
            rows = at_step[at_step["group"] == group]
            base = _rows_of(rows, reference)
            for name in scores.forecasters:
                own = rows[rows["forecaster"] == name]
                if len(own):
                    result.append(_in_group(own, base, group, step, overlap))
        result += _over_groups(at_step, scores.forecasters, reference, step, overlap)
    return result


def _rows_of(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[rows["forecaster"] == name].set_index("origin")


def _in_group(own: pd.DataFrame, base: pd.DataFrame, group: str, step: int, overlap: int) -> Aggregates:
    dates = own["date"].to_numpy()
    reference = _reference_losses(own, base)
    sides = None if _is_neutral(own) else direction(own["up"] - 0.5, own["actual"], dates, overlap=overlap)
    return Aggregates(
        forecaster=str(own["forecaster"].iloc[0]),
        group=group,
        step=step,
        n=len(own),
        crps=float(own["crps"].mean()),
        skill=None if reference is None else bootstrap_skill(own["crps"], reference, dates, overlap=overlap),
        test=None if reference is None else diebold_mariano(own["crps"], reference, dates, overlap=overlap),
        coverage={_band(band): bootstrap_mean(own[f"inside_{_band(band)}"], dates, overlap=overlap) for band in BANDS},
        width=float(own["width_80"].mean()),
        uniform=uniformity(own["pit"], dates, overlap=overlap),
        brier=float(own["brier"].mean()),
        hit_rate=None if sides is None else sides.hit_rate,
        direction_p=None if sides is None else sides.test.p_value,
        rank_ic=_rank_ic(own, overlap),
    )


def _reference_losses(own: pd.DataFrame, base: pd.DataFrame) -> FloatArray | None:
    """The reference's CRPS at the same origins; None for the reference itself, or if it made no forecast."""
    if not len(base) or base["forecaster"].iloc[0] == own["forecaster"].iloc[0]:
        return None
    return base["crps"].reindex(own["origin"]).to_numpy()


def _band(band: float) -> str:
    return f"{band * 100:.0f}"


def _is_neutral(own: pd.DataFrame) -> bool:
    """Whether a rise has probability one half in every forecast, as for the last value."""
    return not ((own["up"] - 0.5).abs() > 1e-9).any()


def _rank_ic(own: pd.DataFrame, overlap: int) -> Mapping[str, float] | None:
    """Rank correlation across the instruments of each date that has at least five of them."""
    if own["predicted"].nunique() < 2:
        return None
    ic = rank_ic(own["predicted"], own["actual"], own["date"].to_numpy(), own["series"].to_numpy(), overlap=overlap)
    if not len(ic.values) or math.isnan(ic.mean):
        return None
    return {"mean": ic.mean, "t": ic.t_statistic, "p": ic.p_value, "dates": float(ic.dates)}


def _over_groups(
    rows: pd.DataFrame, forecasters: Sequence[str], reference: str, step: int, overlap: int
) -> list[Aggregates]:
    """Aggregates over all groups, each with the same weight."""
    result = []
    origins = rows.drop_duplicates("origin")
    rows = rows[rows["group"].isin(large_groups(origins["group"]))]
    base = _rows_of(rows, reference)
    for name in forecasters:
        own = rows[rows["forecaster"] == name]
        if not len(own):
            continue
        groups, dates = own["group"].to_numpy(), own["date"].to_numpy()
        losses = _reference_losses(own, base)
        hit_rate, direction_p = _direction_over_groups(own, groups, overlap)
        result.append(
            Aggregates(
                forecaster=name,
                group=ALL,
                step=step,
                n=len(own),
                crps=equal_mean(own["crps"], groups),
                skill=None if losses is None else equal_skill(own["crps"], losses, groups, dates, overlap),
                test=None,
                coverage={
                    _band(band): equal_share(own[f"inside_{_band(band)}"], groups, dates, overlap) for band in BANDS
                },
                width=equal_mean(own["width_80"], groups),
                uniform=None,
                brier=equal_mean(own["brier"], groups),
                hit_rate=hit_rate,
                direction_p=direction_p,
                rank_ic=None,
            )
        )
    return result


def _direction_over_groups(
    own: pd.DataFrame, groups: np.ndarray[Any, Any], overlap: int
) -> tuple[Estimate | None, float | None]:
    """Hit rate and p-value of the direction, every group with the same weight.

    Forecast and actual directions are taken relative to their group's means. A forecaster that always forecasts a rise
    in a rising market and a fall in a falling one is right more than half of the time without any timing skill.
    """
    if _is_neutral(own):
        return None, None
    side = own["up"] - 0.5
    moved = ((side != 0) & (own["actual"] != 0)).to_numpy()
    calls, rises = (side > 0).to_numpy()[moved], (own["actual"] > 0).to_numpy()[moved]
    groups, dates = groups[moved], own["date"].to_numpy()[moved]
    signs = pd.DataFrame({"call": calls, "rise": rises}, dtype=np.float64)
    excess = (signs - signs.groupby(groups).transform("mean")).prod(axis=1).to_numpy() * equal_weights(groups)
    test = diebold_mariano(-excess, np.zeros(len(excess)), dates, overlap=overlap)
    p_value = test.p_value / 2 if test.statistic < 0 else 1 - test.p_value / 2
    return equal_share(calls == rises, groups, dates, overlap), p_value


def aggregate_volatility(scores: Scores) -> pd.DataFrame:
    """Compute MAE, R² and QLIKE of each forecaster's expected variance over the horizon, by group."""
    rows = []
    for (group, name), own in scores.trajectories.groupby(["group", "forecaster"]):
        found = volatility_scores(own["volatility"] ** 2, own["realised"] ** 2)
        rows.append(
            {"group": group, "forecaster": name, "mae": found.mae, "r2": found.r2, "qlike": found.qlike, "n": found.n}
        )
    return pd.DataFrame(rows)

"""Scores of every forecaster at every origin and step, from which all figures are averages.

Scores are of cumulative log returns of the close, r_h = log(close_{t+h} / close_t). Spreads are in units of σ√h, where
σ is the standard deviation (n − 1) of the last 64 one-step log returns before the origin, so that markets, intervals
and steps are comparable.

Every figure is over the same origins: those without σ, because the close did not change, have no scores at all. Prices
count as equal up to rounding: an unchanged close lies within a band of no width, and neither rose nor fell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from kronos.errors import ParameterError
from kronos.evaluation.origins import Plan
from kronos.evaluation.rolling import ForecastPaths
from kronos.forecasts import BANDS
from kronos.forecasts.statistics import SAME_PRICE
from kronos.metrics import (
    Estimate,
    band_ends,
    bootstrap_skill,
    brier,
    crps,
    energy_score,
    in_band,
    interval_score,
    pit,
    realised_volatility,
)
from kronos.typing import BoolArray, FloatArray, IntArray

WINDOW = 64  # one-step returns in the unit σ
MIN_ORIGINS = 100  # origins that a group needs to enter the mean over groups
MIN_SHARE = 0.5  # share of a group's origins with a forecast that a contender needs to be compared with the others
_CHUNK = 512  # origins scored at once, to bound memory


@dataclass(frozen=True, slots=True, eq=False)
class Actuals:
    """The outcomes at every origin of a plan.

    Attributes:
        returns: Actual cumulative log returns of the close. [N, H]
        sigma: The unit σ; NaN where the history is constant. [N]
        origins: One row per origin: series, group, date, first.
    """

    returns: FloatArray
    sigma: FloatArray
    origins: pd.DataFrame

    @classmethod
    def of(cls, plan: Plan) -> Actuals:
        """Read the outcomes from the candles of a plan."""
        return cls(plan.returns(), _sigma(plan), plan.table())


def _sigma(plan: Plan) -> FloatArray:
    logs = [np.log(instrument.candles.frame["close"].to_numpy()) for instrument in plan.instruments]
    pairs = zip(plan.series.tolist(), plan.known.tolist(), strict=True)
    spread = np.array([np.diff(logs[i][k - WINDOW - 1 : k]).std(ddof=1) for i, k in pairs])
    return np.where(spread > 0, spread, np.nan)


def comparable_origins(actuals: Actuals, paths: Mapping[str, ForecastPaths]) -> BoolArray:
    """Whether each origin can be scored for all contenders, so that all figures are over the same origins. [N].

    Contenders with forecasts at fewer than `MIN_SHARE` of a group's origins do not count there; those of the others at
    these origins are kept.

    Args:
        actuals: The outcomes.
        paths: Sample paths by contender.
    """
    groups = actuals.origins["group"].to_numpy().astype(np.str_)
    scorable = np.isfinite(actuals.sigma)
    known = [has_forecast(actuals, own) for own in paths.values()]
    result = np.zeros(len(groups), dtype=np.bool_)
    for group in np.unique(groups):
        members = scorable & (groups == group)
        least = MIN_SHARE * members.sum()
        compared = [own[members] for own in known if own[members].sum() >= least]
        result[members] = np.logical_and.reduce(compared) if compared else True
    return result


def report_steps(horizon: int) -> tuple[int, ...]:
    """Return the steps to report: 1, 4, 8 and 24 within the horizon, and the horizon itself."""
    return tuple(sorted({*(step for step in (1, 4, 8, 24) if step <= horizon), horizon}))


def score_paths(actuals: Actuals, paths: ForecastPaths, steps: Sequence[int]) -> pd.DataFrame:
    """Score one forecaster at each origin and step.

    Args:
        actuals: The outcomes.
        paths: Its sample paths.
        steps: Steps ahead, from 1.

    Returns:
        One row per origin and step (origins without a forecast or without σ are left out): ``origin``, ``step``,
        ``crps`` and ``mae`` (of the median) in σ√h, ``inside_50`` … ``inside_95``, ``width_80`` and ``interval_80``
        (interval score) in σ√h, ``pit``, ``up`` (probability of a rise, smoothed to (k + 1) / (S + 2); unchanged counts
        half), ``rose`` (NaN if unchanged), ``brier``, ``predicted`` (mean return) and ``actual``.

    Raises:
        ParameterError: If a step lies outside the horizon.
    """
    horizon = actuals.returns.shape[1]
    if not steps or min(steps) < 1 or max(steps) > horizon:
        raise ParameterError(f"Invalid steps {list(steps)}: choose steps from 1 to the horizon of {horizon}.")
    at = np.array(sorted(set(steps))) - 1
    ties = np.random.default_rng(0)
    parts = [_score_chunk(actuals, paths, rows, at, ties) for rows in _chunks(actuals, paths)]
    if not parts:
        return _score_chunk(actuals, paths, np.empty(0, np.int64), at, ties)
    return pd.concat(parts, ignore_index=True)


def has_forecast(actuals: Actuals, paths: ForecastPaths) -> BoolArray:
    """Whether each origin has a forecast and the unit σ, so that it can be scored. [N]."""
    return np.asarray(np.isfinite(paths.returns[:, 0, 0]) & np.isfinite(actuals.sigma), dtype=np.bool_)


def _chunks(actuals: Actuals, paths: ForecastPaths) -> Iterator[IntArray]:
    """The origins to score, in chunks."""
    rows = np.flatnonzero(has_forecast(actuals, paths))
    for first in range(0, len(rows), _CHUNK):
        yield rows[first : first + _CHUNK]


def _score_chunk(
    actuals: Actuals, paths: ForecastPaths, rows: IntArray, at: IntArray, ties: np.random.Generator
) -> pd.DataFrame:
    samples = np.moveaxis(paths.returns[rows][:, :, at].astype(np.float64), 1, 0)  # [S, n, K]
    actual = actuals.returns[rows][:, at]  # [n, K]
    actual = np.where(np.abs(actual) <= SAME_PRICE, 0.0, actual)
    unit = actuals.sigma[rows, None] * np.sqrt(at + 1)
    lower, upper = band_ends(samples, BANDS)  # [bands, n, K]
    unchanged = np.abs(samples) <= SAME_PRICE
    above = ((samples > 0) & ~unchanged).sum(axis=0) + 0.5 * unchanged.sum(axis=0)
    up = (above + 1) / (len(samples) + 2)
    rose = np.where(actual == 0, np.nan, (actual > 0).astype(np.float64))
    ranked = np.where(np.abs(samples - actual) <= SAME_PRICE, actual, samples)  # equal prices are ties
    draws = None if paths.draws is None else paths.draws[rows][:, at]
    columns = {
        "origin": np.broadcast_to(rows[:, None], actual.shape),
        "step": np.broadcast_to(at + 1, actual.shape),
        "crps": crps(samples, actual, draws=draws) / unit,
        "mae": np.abs(np.median(samples, axis=0) - actual) / unit,
        **{f"inside_{band * 100:.0f}": in_band(lower[i], upper[i], actual, SAME_PRICE) for i, band in enumerate(BANDS)},
        "width_80": (upper[1] - lower[1]) / unit,
        "interval_80": interval_score(lower[1], upper[1], actual, BANDS[1]) / unit,
        "pit": pit(ranked, actual, seed=ties),
        "up": up,
        "rose": rose,
        "brier": brier(up, rose),
        "predicted": samples.mean(axis=0),
        "actual": actual,
    }
    return pd.DataFrame({name: np.ravel(values) for name, values in columns.items()})


def score_trajectories(actuals: Actuals, paths: ForecastPaths) -> pd.DataFrame:
    """Score one forecaster's paths as a whole, over all steps of the horizon.

    Args:
        actuals: The outcomes.
        paths: Its sample paths.

    Returns:
        One row per origin: ``energy`` (energy score of the path of cumulative returns, in σ), ``volatility`` and
        ``realised`` (root of the sum of squared one-step log returns over the horizon: the mean over the paths, and the
        actual one).
    """
    parts = []
    for rows in _chunks(actuals, paths):
        samples = paths.returns[rows].astype(np.float64)  # [n, S, H]
        actual = actuals.returns[rows]
        moves = np.diff(samples, axis=-1, prepend=0.0)
        actual_moves = np.diff(actual, axis=-1, prepend=0.0)
        unit = actuals.sigma[rows]
        parts.append(
            pd.DataFrame(
                {
                    "origin": rows,
                    "energy": energy_score(samples / unit[:, None, None], actual / unit[:, None]),
                    "volatility": np.sqrt(realised_volatility(moves).mean(axis=-1)),
                    "realised": np.sqrt(realised_volatility(actual_moves)),
                }
            )
        )
    if not parts:
        return pd.DataFrame({name: np.empty(0) for name in ("origin", "energy", "volatility", "realised")})
    return pd.concat(parts, ignore_index=True)


# Means over groups, each with the same weight ----------------------------------


def large_groups(groups: ArrayLike) -> set[str]:
    """Return the groups that enter a mean over groups: those of at least `MIN_ORIGINS` origins, or all if none has.

    Args:
        groups: The group of each origin. [N]
    """
    names, counts = np.unique(np.asarray(groups, dtype=np.str_), return_counts=True)
    large = {str(name) for name in names[counts >= MIN_ORIGINS]}
    return large or {str(name) for name in names}


def equal_weights(groups: ArrayLike) -> FloatArray:
    """Return row weights, 1 on average, that give every group the same total.

    Args:
        groups: The group of each row. [N]
    """
    names, place, counts = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True, return_counts=True)
    weights: FloatArray = (len(place) / max(1, len(names)) / counts)[place]
    return weights


def equal_mean(values: ArrayLike, groups: ArrayLike) -> float:
    """Return the mean of the groups' means; NaN if no value is known.

    Args:
        values: NaN where unknown; unknown values do not lower the weight of their group. [N]
        groups: The group of each value. [N]
    """
    numbers, labels = np.asarray(values, dtype=np.float64), np.asarray(groups, dtype=np.str_)
    known = ~np.isnan(numbers)
    return float((numbers[known] * equal_weights(labels[known])).mean()) if known.any() else float("nan")


def equal_skill(losses: ArrayLike, reference: ArrayLike, groups: ArrayLike, dates: ArrayLike, overlap: int) -> Estimate:
    """Estimate the skill of the mean losses by group, with equal weight per group.

    Args:
        losses: NaN where unknown. [N]
        reference: Losses of the reference; NaN where unknown. [N]
        groups: The group of each loss. [N]
        dates: The date of each loss. [N]
        overlap: See `kronos.metrics.bootstrap_skill`.
    """
    own, other = (np.asarray(values, dtype=np.float64) for values in (losses, reference))
    known = ~(np.isnan(own) | np.isnan(other))
    weights = equal_weights(np.asarray(groups, dtype=np.str_)[known])
    return bootstrap_skill(own[known] * weights, other[known] * weights, np.asarray(dates)[known], overlap=overlap)


def equal_share(inside: ArrayLike, groups: ArrayLike, dates: ArrayLike, overlap: int) -> Estimate:
    """Estimate the mean of the groups' shares, with an interval by blocks of dates.

    Computed as Σ weight · inside / Σ weight, with both sums resampled together, because resamples differ in which
    groups they contain.

    Args:
        inside: 0, 1, or NaN where unknown. [N]
        groups: The group of each. [N]
        dates: The date of each. [N]
        overlap: See `kronos.metrics.bootstrap_skill`.
    """
    values = np.asarray(inside, dtype=np.float64)
    return equal_skill(1 - values, np.ones(len(values)), groups, dates, overlap)

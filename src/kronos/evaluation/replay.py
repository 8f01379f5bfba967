"""Scores of a replayed forecast, raw and calibrated, and of baselines, against the held-back candles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kronos.baselines import BASELINES
from kronos.candles import Candles
from kronos.errors import DataError
from kronos.forecasts import Forecast
from kronos.forecasts.statistics import SAME_PRICE
from kronos.metrics import Estimate, bootstrap_mean, bootstrap_skill, coverage, score
from kronos.metrics.forecast_score import history_sigma
from kronos.typing import FloatArray

_BASELINES = ("last-value", "drift", "historical-volatility")  # enough for one forecast; an evaluation has them all
MIN_WINDOWS = 5  # with fewer, a bootstrap interval says little


@dataclass(frozen=True)
class ReplayScore:
    """The scores of one contender.

    Attributes:
        name: Model or baseline; the model's with its state if it is scored raw and calibrated.
        kind: ``raw``, ``calibrated`` or ``baseline``.
        scores: From `kronos.metrics.score`, one row per step.
        inside: Share of the known closes within the 80 % band; NaN for point forecasts.
    """

    name: str
    kind: str
    scores: pd.DataFrame
    inside: float


def score_replay(forecast: Forecast, actual: Candles, raw: Forecast | None = None) -> tuple[list[ReplayScore], int]:
    """Score a forecast together with baselines.

    Args:
        forecast: The forecast.
        actual: The candles that followed.
        raw: The forecast before calibration, as a further contender.

    Returns:
        The scores, those of the forecast first, and the number of its steps with a known outcome.

    Raises:
        DataError: If ``actual`` has no time of the forecast.
    """
    known = int(actual.index.isin(forecast.timestamps).sum())
    return [_score(name, own, actual, replay_steps(own)) for name, own in _contenders(forecast, raw)], known


def _contenders(forecast: Forecast, raw: Forecast | None) -> Iterator[tuple[str, Forecast]]:
    """Yield the forecast, its raw version, and the baselines that the history is long enough for, with their names."""
    if raw is None:
        yield forecast.metadata.model, forecast
    else:
        yield from ((f"{own.metadata.model}, {own.metadata.state}", own) for own in (forecast, raw))
    pooled = forecast.metadata.pooled
    for name in dict.fromkeys((*_BASELINES, *(() if pooled is None else pooled[:1]))):
        with suppress(DataError):  # the history is too short for this baseline
            yield (
                name,
                BASELINES[name](
                    forecast.history, forecast.horizon, samples=1000, seed=0, timestamps=forecast.timestamps
                ),
            )


@dataclass(frozen=True, eq=False)
class ReplayWindow:
    """A forecast of a past window, and what followed.

    Attributes:
        forecast: The forecast.
        actual: The candles that followed.
        raw: The forecast before calibration; None if it is not calibrated.
    """

    forecast: Forecast
    actual: Candles
    raw: Forecast | None = None


def compare_replays(replays: Sequence[ReplayWindow], reference: str = "historical-volatility") -> dict[str, Any]:
    """Compare a model with baselines over the replays of one series, as values for JSON.

    Losses are means over the known steps of each window: the fair CRPS and the absolute error of the median, both of
    the cumulative log return, and both also in units of σ√h (`kronos.metrics.score`), where a step far ahead weighs no
    more than a near one. Intervals are 95 % bootstrap intervals over windows, since the steps of one window share
    their surprises; they are None below `MIN_WINDOWS` windows. There is no skill where the price never moves.

    Args:
        replays: Replays of windows that do not overlap, the one to show first; its own scores are added to the means.
        reference: Baseline that the skill, 1 - CRPS / CRPS of the reference, refers to.

    Raises:
        DataError: If the first window has no known step.
    """
    windows = [_step_scores(replay) for replay in replays]
    if not windows[0]:
        raise DataError("The actual candles share no time with the forecast.")
    windows = [window for window in windows if window]
    names = [name for name in windows[0] if all(name in window for window in windows)]
    losses = {name: np.array([window[name].scores["crps"].mean() for window in windows]) for name in names}
    rows = [_compare([window[name] for window in windows], losses, reference) for name in names]
    steps = len(windows[0][names[0]].scores)
    calibrations = [replay.forecast.metadata.details.get("calibration") or {} for replay in replays]
    return {
        "windows": len(windows),
        "known_steps": steps,
        "reference": reference,
        "look_ahead": any(calibration.get("look_ahead") for calibration in calibrations),
        "rows": rows,
    }


def _compare(windows: Sequence[ReplayScore], losses: dict[str, FloatArray], reference: str) -> dict[str, Any]:
    """Compute a contender's row of the comparison from its scores per step of each window."""
    name, several = windows[0].name, len(windows) >= MIN_WINDOWS
    is_point = name in BASELINES and BASELINES[name].point
    row: dict[str, Any] = {
        "name": name,
        "kind": "reference" if name == reference else windows[0].kind,
        "crps": float(losses[name].mean()),
        "mae": float(np.mean([window.scores["mae"].mean() for window in windows])),
        "crps_scaled": _mean_scaled(windows, "crps_scaled"),
        "mae_scaled": _mean_scaled(windows, "mae_scaled"),
        "window_crps": float(losses[name][0]),
        "window_mae": float(windows[0].scores["mae"].mean()),
        "window_inside_80": None if is_point else float(windows[0].scores["coverage_80"].mean()),
    }
    # Where prices do not move, both losses are rounding errors, and so would be their ratio.
    refers = reference in losses and name != reference and losses[reference].mean() > SAME_PRICE
    row |= _interval("skill", bootstrap_skill(losses[name], losses[reference]) if refers else None, several)
    for band in (50, 80, 95):
        shares = [float(window.scores[f"coverage_{band}"].mean()) for window in windows]
        row |= _interval(f"inside_{band}", None if is_point else bootstrap_mean(shares), several)
    return row


def _mean_scaled(windows: Sequence[ReplayScore], column: str) -> float | None:
    """Return the mean of a loss in units of σ√h over the windows whose history moves; None without any."""
    means = [window.scores[column].mean() for window in windows]
    known = [mean for mean in means if math.isfinite(mean)]
    return float(np.mean(known)) if known else None


def _interval(name: str, estimate: Estimate | None, several: bool) -> dict[str, float | None]:
    """Return an estimate and the ends of its interval; None for what is undefined."""
    ends = (estimate.low, estimate.high) if estimate is not None and several else (None, None)
    value = None if estimate is None or math.isnan(estimate.estimate) else estimate.estimate
    return {name: value, f"{name}_low": ends[0], f"{name}_high": ends[1]}


def _step_scores(replay: ReplayWindow) -> dict[str, ReplayScore]:
    """Score every known step of a window by contender; empty if no step is known."""
    forecast, actual = replay.forecast, replay.actual
    known = (np.flatnonzero(forecast.timestamps.isin(actual.index)) + 1).tolist()
    if not known:
        return {}
    units = history_sigma(forecast) * np.sqrt(known)
    windows = {name: _score(name, own, actual, known) for name, own in _contenders(forecast, replay.raw)}
    for window in windows.values():
        window.scores["mae_scaled"] = window.scores["mae"] / np.where(units > 0, units, np.nan)
    return windows


def replay_steps(forecast: Forecast) -> list[int]:
    """Return the scored steps: 1, 8, 24 and the last."""
    return sorted({step for step in (1, 8, 24) if step < forecast.horizon} | {forecast.horizon})


def replay_to_dict(scores: Sequence[ReplayScore], known: int) -> dict[str, Any]:
    """Return the scores as values for JSON."""
    return {
        "known_steps": known,
        "scores": {
            own.name: {
                "inside_80": own.inside,
                "horizons": {str(step): dict(row) for step, row in own.scores.to_dict("index").items()},
            }
            for own in scores
        },
    }


def _score(name: str, forecast: Forecast, actual: Candles, steps: Sequence[int]) -> ReplayScore:
    scores = score(forecast, actual, steps)
    closes = actual.frame["close"].reindex(forecast.timestamps).to_numpy(dtype=np.float64)
    band = np.log(forecast.range(0.8))
    is_point = name in BASELINES and BASELINES[name].point
    inside = float("nan") if is_point else coverage(band["low"], band["high"], np.log(closes), SAME_PRICE)
    kind = "baseline" if name in BASELINES else forecast.metadata.state
    return ReplayScore(name, kind, scores, inside)

"""Scores of a replayed forecast, raw and calibrated, and of baselines, against the held-back candles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kronos.baselines import BASELINES
from kronos.candles import Candles
from kronos.errors import DataError
from kronos.forecasts import Forecast
from kronos.metrics import coverage, score

_BASELINES = ("last-value", "drift", "historical-volatility")  # enough for one forecast; an evaluation has them all


@dataclass(frozen=True)
class ReplayScore:
    """The scores of one contender.

    Attributes:
        name: Model or baseline; the model's with its state if it is scored raw and calibrated.
        scores: From `kronos.metrics.score`, one row per step.
        inside: Share of the known closes within the 80 % band; NaN for point forecasts.
    """

    name: str
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
    if raw is None:
        scores = [_score(forecast.metadata.model, forecast, actual)]
    else:
        scores = [_score(f"{own.metadata.model}, {own.metadata.state}", own, actual) for own in (forecast, raw)]
    pooled = forecast.metadata.pooled
    names = dict.fromkeys((*_BASELINES, *(() if pooled is None else pooled[:1])))
    for name in names:
        try:
            baseline = BASELINES[name](
                forecast.history, forecast.horizon, samples=1000, seed=0, timestamps=forecast.timestamps
            )
        except DataError:  # the history is too short for this baseline
            continue
        scores.append(_score(name, baseline, actual))
    return scores, known


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


def _score(name: str, forecast: Forecast, actual: Candles) -> ReplayScore:
    scores = score(forecast, actual, replay_steps(forecast))
    closes = actual.frame["close"].reindex(forecast.timestamps).to_numpy(dtype=np.float64)
    band = forecast.range(0.8)
    is_point = name in BASELINES and BASELINES[name].point
    inside = float("nan") if is_point else coverage(band["low"], band["high"], closes)
    return ReplayScore(name, scores, inside)

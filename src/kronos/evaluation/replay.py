"""The score of a replay: a forecast (raw and calibrated) and the baselines, against the hidden candles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kronos.baselines import BASELINES
from kronos.candles import Candles
from kronos.errors import DataError
from kronos.forecasts import Forecast
from kronos.metrics import coverage, score

_BESIDE = ("last-value", "drift", "historical-volatility")  # enough for one forecast; an evaluation has them all


@dataclass(frozen=True)
class Line:
    """How one forecaster did.

    Attributes:
        name: Model or baseline; the model's with its state where there are two.
        scores: Of `kronos.metrics.score`, one row a horizon.
        inside: Share of the known closes within the 80 % band; NaN for point forecasts.
    """

    name: str
    scores: pd.DataFrame
    inside: float


def score_replay(forecast: Forecast, actual: Candles, raw: Forecast | None = None) -> tuple[list[Line], int]:
    """Score a forecast beside the baselines.

    Args:
        forecast: The forecast.
        actual: What came.
        raw: The forecast as it was before a calibration, to stand in the table too.

    Returns:
        One line a forecaster, the forecast first; and how many of its steps are known.

    Raises:
        DataError: If what came shares no time with the forecast.
    """
    known = int(actual.index.isin(forecast.timestamps).sum())
    if raw is None:
        lines = [_line(forecast.metadata.model, forecast, actual)]
    else:
        lines = [_line(f"{one.metadata.model}, {one.metadata.state}", one, actual) for one in (forecast, raw)]
    for name in _beside(forecast):
        try:
            other = BASELINES[name](
                forecast.history, forecast.horizon, samples=1000, seed=0, timestamps=forecast.timestamps
            )
        except DataError:  # a history too short for this baseline
            continue
        lines.append(_line(name, other, actual))
    return lines, known


def _beside(forecast: Forecast) -> list[str]:
    """The baselines of every replay, and the one that the forecast is pooled with."""
    pooled = forecast.metadata.pooled
    return list(dict.fromkeys((*_BESIDE, *(() if pooled is None else pooled[:1]))))


def horizons(forecast: Forecast) -> list[int]:
    """The steps that are scored: 1, 8, 24 and the last."""
    return sorted({h for h in (1, 8, 24) if h < forecast.horizon} | {forecast.horizon})


def as_dict(lines: list[Line], known: int) -> dict[str, object]:
    """The scores ready for JSON."""
    return {
        "known_steps": known,
        "scores": {
            line.name: {
                "inside_80": line.inside,
                "horizons": {str(h): dict(row) for h, row in line.scores.to_dict("index").items()},
            }
            for line in lines
        },
    }


def _line(name: str, forecast: Forecast, actual: Candles) -> Line:
    scores = score(forecast, actual, horizons(forecast))
    closes = actual.frame["close"].reindex(forecast.timestamps).to_numpy(dtype=np.float64)
    band = forecast.range(0.8)
    point = name in BASELINES and BASELINES[name].point  # its bands have no width
    inside = float("nan") if point else coverage(band["low"], band["high"], closes)
    return Line(name, scores, inside)

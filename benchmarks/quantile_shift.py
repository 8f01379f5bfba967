"""By how much bfloat16 moves a forecast's quantiles, next to their sampling error."""

from __future__ import annotations

from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import pandas as pd

from kronos.candles import Candles
from kronos.forecasts import sample_quantiles
from kronos.inference import KronosPredictor
from kronos.intervals import Interval
from kronos.sources.simulation import SimulatedSource
from kronos.typing import FloatArray

LEVELS = (0.1, 0.5, 0.9)
STEPS = (1, 8, 24)
_HISTORY, _SEEDS = 200, (1, 2)


@dataclass(frozen=True, slots=True)
class QuantileShift:
    """The shift of one quantile at one step, in half widths of the 80 % band.

    Attributes:
        step: Steps ahead.
        level: Level of the quantile.
        mean: Mean shift over the series.
        error: Standard error of the mean.
        shift: Root mean square of the shift, with the same random numbers.
        sampling: Standard deviation of the quantile over random numbers, in float32.
    """

    step: int
    level: float
    mean: float
    error: float
    shift: float
    sampling: float


def measure_shift(series: int, samples: int) -> list[QuantileShift]:
    """Forecast simulated series with the bundled model in both precisions.

    Args:
        series: Number of series.
        samples: Sample paths of each.
    """
    histories = {f"S{i}": _simulated(i) for i in range(series)}
    exact = KronosPredictor.from_pretrained(device="cpu")
    with patch("kronos.inference.devices.supports_bfloat16", return_value=True):  # also where it is emulated
        fast = KronosPredictor(exact.model, exact.tokenizer, "cpu", exact.max_context, precision="fast")
        moved = _quantiles(fast, histories, samples, _SEEDS[0])
    first, second = (_quantiles(exact, histories, samples, seed) for seed in _SEEDS)
    unit = 0.5 * (first[..., -1] - first[..., 0])[..., None]  # [N, K, 1]
    shifts, noise = (moved - first) / unit, (second - first) / unit
    return [
        QuantileShift(
            step,
            level,
            mean=float(own.mean()),
            error=float(own.std(ddof=1) / np.sqrt(series)),
            shift=float(np.sqrt(np.square(own).mean())),
            sampling=float(np.sqrt(np.square(noise[:, place, q]).mean() / 2)),
        )
        for place, step in enumerate(STEPS)
        for q, level in enumerate(LEVELS)
        for own in (shifts[:, place, q],)
    ]


def _simulated(seed: int) -> Candles:
    start = pd.Timestamp("2025-01-06", tz="UTC")
    end = start + pd.Timedelta(hours=_HISTORY)
    return SimulatedSource(seed).candles("BTC-USDT", Interval.parse("1h"), start=start, end=end)


def _quantiles(predictor: KronosPredictor, histories: dict[str, Candles], samples: int, seed: int) -> FloatArray:
    """Quantiles of cumulative log returns, ``[N, K, Q]``."""
    forecasts = predictor.forecast_many(histories, STEPS[-1], samples=samples, seed=seed, calibration=False)
    returns = np.stack([forecasts[name].returns(cumulative=True) for name in histories])[..., np.array(STEPS) - 1]
    quantiles: FloatArray = np.moveaxis(np.stack([sample_quantiles(own, LEVELS) for own in returns]), 1, 2)
    return quantiles

"""Forecasts of a toy model on simulated candles, for tests of whole forecasts."""

from dataclasses import replace

import numpy as np
import pandas as pd

from calibration.markets import MODEL
from kronos.baselines import historical_volatility
from kronos.candles import Candles
from kronos.forecasts import Forecast, ForecastMetadata

SAMPLING = dict(MODEL.sampling)


def candles(rows=200, seed=1, step=0.01):
    """Candles of a random walk with opening gaps, wicks and volume."""
    rng = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, step, rows)))
    opens = np.r_[closes[0], closes[:-1]] * np.exp(rng.normal(0, step / 4, rows))
    volume = rng.gamma(2, 100, rows)
    frame = pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes) * np.exp(rng.exponential(step / 2, rows)),
            "low": np.minimum(opens, closes) * np.exp(-rng.exponential(step / 2, rows)),
            "close": closes,
            "volume": volume,
            "amount": volume * closes,
        },
        index=pd.date_range("2032-01-01", periods=rows, freq="1h", tz="UTC"),
    )
    return Candles.from_frame(frame, symbol="WALK", interval="1h")


def walk(history, horizon=24, samples=50, seed=0):
    """The baseline of the simulated markets, with its name there."""
    forecast = historical_volatility(history, horizon, samples=samples, seed=seed)
    return replace(forecast, metadata=replace(forecast.metadata, model="walk"))


def toy(history, horizon=24, samples=50, seed=7, spread=1.0, level_error=0.0) -> Forecast:
    """The toy model's forecast: a random walk with another spread and a level error."""
    result = historical_volatility(history, horizon, samples=samples, seed=seed)
    logs = np.log(result.paths[..., :4] / result.last_close) * spread + level_error
    paths = np.concatenate([result.last_close * np.exp(logs), result.paths[..., 4:]], axis=-1)
    details = {
        "model": {"sha256": MODEL.sha256},
        "tokenizer": {"sha256": MODEL.tokenizer_sha256},
        "sampling": SAMPLING,
        "level_error": level_error,
        "seed": seed,
    }
    return Forecast(paths, result.timestamps, history, ForecastMetadata("toy", details=details))

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from kronos.baselines import historical_volatility, last_value
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.metrics import crps, score

PRICES = ("open", "high", "low", "close")


@cache
def flat(rows):
    index = pd.date_range("2024-01-01", periods=rows, freq="1h", tz="UTC")
    return Candles.from_frame(pd.DataFrame(1.0, index=index, columns=PRICES), interval="1h")


def walk(rows, sigma=0.01, seed=0):
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, sigma, rows)))
    return replace(flat(rows), frame=flat(rows).frame.assign(**dict.fromkeys(PRICES, closes)))


@pytest.fixture(scope="module")
def case():
    whole = walk(200)
    forecast = historical_volatility(whole.head(170), 24, samples=60, timestamps=whole.index[170:194])
    return forecast, whole


def test_scores_are_of_cumulative_log_returns(case):
    forecast, whole = case
    table = score(forecast, whole)
    assert table.index.tolist() == [1, 8, 24]
    closes = whole.frame["close"].to_numpy()
    sigma = np.diff(np.log(closes[105:170])).std(ddof=1)
    for h in (1, 8, 24):
        happened = np.log(closes[169 + h] / closes[169])
        paths = np.log(forecast.paths[:, h - 1, 3] / closes[169])
        row = table.loc[h]
        assert row["crps"] == pytest.approx(float(crps(paths, happened)))
        assert row["crps_scaled"] == pytest.approx(row["crps"] / (sigma * np.sqrt(h)))
        assert row["mae"] == pytest.approx(abs(np.median(paths) - happened))
        band = forecast.range(0.8).iloc[h - 1]
        assert row["coverage_80"] == float(band["low"] <= closes[169 + h] <= band["high"])
        assert row["width_80"] == pytest.approx(np.log(band["high"] / band["low"]))


def test_frames_and_candles_give_the_same_scores(case):
    forecast, whole = case
    pd.testing.assert_frame_equal(score(forecast, whole), score(forecast, whole.frame[["close"]]))


def test_point_forecasts_score_their_absolute_error(case):
    forecast, whole = case
    table = score(last_value(whole.head(170), 8, timestamps=forecast.timestamps[:8]), whole, (1, 8))
    assert table["crps"].tolist() == pytest.approx(table["mae"].tolist())


def test_unknown_steps_are_nan_and_longer_horizons_are_ignored(case):
    forecast, whole = case
    table = score(forecast, whole.head(180), (1, 8, 24, 96))
    assert table.index.tolist() == [1, 8, 24]
    assert table.loc[24, ["crps", "mae", "coverage_50"]].isna().all()
    assert table.loc[8].notna().all()


def test_invalid_inputs_are_refused(case):
    forecast, whole = case
    with pytest.raises(ParameterError):
        score(forecast, whole, (25,))
    with pytest.raises(ParameterError):
        score(forecast, whole, (0, 1))
    with pytest.raises(DataError, match="no candle"):
        score(forecast, whole.head(170))
    with pytest.raises(DataError, match="timezone"):
        score(forecast, whole.frame.tz_localize(None))
    with pytest.raises(DataError, match="close"):
        score(forecast, whole.frame[["open"]])


@pytest.mark.slow
def test_calibrated_random_walk_has_nominal_coverage():
    """Walks continued by walks of their own volatility, estimated from 1000 returns: 4 standard errors."""
    tables = []
    for seed in range(300):
        whole = walk(1010, seed=seed)
        past, times = whole.head(1001), whole.index[1001:1009]
        forecast = historical_volatility(past, 8, samples=50, seed=seed, timestamps=times, window=1000)
        tables.append(score(forecast, whole, (8,)))
    means = pd.concat(tables).mean()
    for level in (0.5, 0.8, 0.95):
        error = np.sqrt(level * (1 - level) / 300)
        assert means[f"coverage_{100 * level:.0f}"] == pytest.approx(level, abs=4 * error)
    assert means["crps_scaled"] == pytest.approx(1 / np.sqrt(np.pi), rel=0.15)

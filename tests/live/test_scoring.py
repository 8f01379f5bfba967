import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scoringrules

from kronos.baselines import last_value
from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.live.entries import UNIT, ForecastEntry, decode_paths, encode_paths, format_time
from kronos.live.scoring import INCREMENTS, score_forecast, score_many, settle_events
from kronos.metrics import crps, score

N, H = 40, 24


def paths_of(size, n=N, horizon=H, seed=0, sigma=0.005):
    steps = np.random.default_rng(seed).normal(0, sigma, (n, size, horizon))
    return np.rint(steps.cumsum(axis=2) / UNIT) * UNIT


def scored(samples, returns, **options):
    probabilities = options.get("probabilities", {})
    return [
        row["model"] for row in score_many({"model": samples}, returns, np.full(len(returns), 0.005), probabilities)
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 30, 101])
def test_crps_is_the_fair_one_of_metrics_and_of_scoringrules(size):
    samples, returns = paths_of(size), paths_of(1, seed=1)[:, 0]
    rows = scored(samples, returns)
    assert np.array([row["crps"] for row in rows]) == pytest.approx(crps(samples, returns, axis=1), abs=1e-10)
    if size > 1:
        fair = scoringrules.crps_ensemble(returns, np.moveaxis(samples, 1, -1), estimator="fair")
        assert np.array([row["crps"] for row in rows]) == pytest.approx(fair, abs=1e-10)


@pytest.mark.parametrize("size", [1, 2, 9, 30, 39, 100])
def test_crps_and_bands_equal_those_of_score(size):
    candles = Candles.from_frame(frame(walk(200)), interval="1h")
    history, times = candles.head(170), candles.index[170:194]
    closes = candles.frame["close"].to_numpy()
    samples = paths_of(size, n=1, sigma=0.01, seed=size)
    prices = closes[169] * np.exp(samples[0])
    forecast = replace(last_value(history, H, timestamps=times), paths=np.repeat(prices[:, :, None], 6, axis=2))
    table = score(forecast, candles, horizons=range(1, H + 1))
    (row,) = scored(samples, np.log(closes[None, 170:194] / closes[169]))
    assert row["crps"] == pytest.approx(table["crps"].tolist(), abs=1e-9)
    for level in ("50", "80", "95"):
        assert [float(flag) for flag in row["inside"][level]] == table[f"coverage_{level}"].tolist()


def test_an_outcome_on_the_end_of_a_band_is_inside():
    flat = np.zeros((1, 30, 3))
    (row,) = scored(flat, np.array([[0.0, 5e-9, 2e-8]]))
    assert row["inside"] == {"50": "110", "80": "110", "95": "110"}
    assert row["crps"] == [0.0, 5e-9, 2e-8]
    assert scored(np.zeros((1, 1, 1)), np.zeros((1, 1)))[0]["inside"]["95"] == "1"


def test_increments_are_sums_over_changes_in_basis_points():
    samples, returns = paths_of(20, sigma=0.02), paths_of(1, seed=3, sigma=0.02)[:, 0]
    rows = scored(samples, returns)
    for k in INCREMENTS:
        for i in range(3):
            prices = 7e4 * np.exp(np.insert(samples[i], 0, 0, axis=1))[:, ::k]
            actual = 7e4 * np.exp(np.insert(returns[i], 0, 0))[::k]
            changes = np.diff(prices) / prices[:, :-1] * 1e4
            came = np.diff(actual) / actual[:-1] * 1e4
            fair = scoringrules.crps_ensemble(came, changes.T, estimator="fair")
            assert len(fair) == H // k
            assert rows[i]["increments"][str(k)] == pytest.approx(fair.sum(), abs=1e-6)


def test_increments_beyond_the_horizon_are_left_out():
    for horizon, expected in ((1, ["1"]), (5, ["1", "3"]), (7, ["1", "3", "6"])):
        samples, returns = paths_of(4, horizon=horizon), paths_of(1, horizon=horizon, seed=1)[:, 0]
        rows = scored(samples, returns)
        assert list(rows[0]["increments"]) == expected
        assert rows[0]["increments"]["1"] > 0


def test_a_part_scores_as_the_whole():
    samples, returns = paths_of(30, n=900), paths_of(1, n=900, seed=1)[:, 0]  # more than one chunk
    whole = scored(samples, returns)
    assert scored(samples[700:702], returns[700:702]) == whole[700:702]


def test_events():
    returns = np.array([[0.01, 0.02, 0.03], [0.03, -0.03, 0.0], [-0.01, -0.01, -0.01]])
    happened = settle_events(returns, np.array([0.02, 0.06, np.nan]))
    assert happened["upside"].tolist() == [True, False, False]
    assert happened["amplification"].tolist() == [False, False, False]
    spread = np.diff(returns[1], prepend=0).std(ddof=1)
    assert settle_events(returns[1:2], np.array([spread * 0.999]))["amplification"].tolist() == [True]
    assert settle_events(returns[:, :1], np.zeros(3))["amplification"].tolist() == [False] * 3  # a single step


def test_brier_of_the_events_with_a_probability():
    returns = np.array([[0.01, 0.02], [0.01, -0.02]])
    given = {"upside": {"model": np.array([0.6, 0.6])}, "amplification": {"other": np.array([0.1, 0.1])}}
    rows = scored(np.zeros((2, 3, 2)), returns, probabilities=given)
    assert [row["brier"] for row in rows] == [{"upside": 0.16}, {"upside": 0.36}]


def test_shapes_are_checked():
    with pytest.raises(ParameterError, match="paths of model"):
        scored(np.zeros((2, 3, 2)), np.zeros((2, 4)))
    with pytest.raises(ParameterError, match="paths of model"):
        scored(np.zeros((2, 0, 2)), np.zeros((2, 2)))


def frame(closes):
    index = pd.date_range("2024-01-01", periods=len(closes), freq="1h", tz="UTC")
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), closes), index=index)


def walk(rows, sigma=0.01, seed=0):
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, sigma, rows)))


def entry_of(samples, closes, last_close=100.0):
    times = pd.date_range("2026-03-01", periods=len(closes), freq="1h", tz="UTC")
    chance = {"calibrated": [0.7, 0.5, 0.85], "raw": [0.4, 0.2, 0.6]}
    return ForecastEntry(
        series="s",
        origin=format_time(times[0]),
        made_at=format_time(times[0]),
        server_time=format_time(times[0]),
        source="simulated",
        simulated=True,
        last_close=last_close,
        sigma=0.005,
        recent_volatility=0.004,
        times=[format_time(time) for time in times],
        paths={name: encode_paths(part) for name, part in samples.items()},
        probabilities={"upside": chance, "amplification": chance},
        history={},
        seed=0,
    ), [[format_time(time), close, close, close, close] for time, close in zip(times, closes, strict=True)]


def test_a_forecast_is_scored_as_many_are():
    samples = {"calibrated": paths_of(30, n=1)[0], "raw": paths_of(30, n=1, seed=5)[0], "garch": paths_of(9, n=1)[0]}
    closes = 100 * np.exp(paths_of(1, n=1, seed=2)[0, 0])
    entry, candles = entry_of(samples, closes)
    outcome, scores = score_forecast(entry, candles)
    returns = np.log(closes / 100)
    assert outcome == {
        "upside": bool(closes[-1] > 100),
        "amplification": bool(np.diff(returns, prepend=0).std(ddof=1) > 0.004),
    }
    assert list(scores) == ["calibrated", "raw", "garch"]
    for name, text in entry.paths.items():
        exact = crps(decode_paths(text, H), returns)
        assert scores[name]["crps"] == [round(float(value), 10) for value in exact]
    assert scores["raw"]["brier"]["upside"] == pytest.approx((0.4 - outcome["upside"]) ** 2)
    assert scores["garch"]["brier"] == {}
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_a_forecast_needs_its_candles():
    entry, candles = entry_of({"raw": paths_of(3, n=1)[0]}, np.full(H, 100.0))
    with pytest.raises(ParameterError, match="24 candles"):
        score_forecast(entry, candles[1:])
    candles[3][4] = 0.0
    with pytest.raises(ParameterError, match="positive"):
        score_forecast(entry, candles)


def test_no_score_is_not_a_number():
    rows = scored(np.zeros((1, 1, 1)), np.array([[0.5]]))
    assert all(math.isfinite(value) for value in [*rows[0]["crps"], *rows[0]["increments"].values()])

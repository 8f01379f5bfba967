"""Normalisation of candles and calendar features."""

import json

import numpy as np
import pandas as pd
import pytest

import kronos
from kronos import KronosPredictor, KronosTokenizer
from kronos.errors import CheckpointError, ParameterError
from kronos.training.scalar_quantizer import Grid, ScalarCode, scalar_tokenizer
from networks import random_model, random_tokenizer


def walk(rows: int, seed: int = 0, price: float = 100.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(rng.normal(size=rows)) * 0.01)
    opens = np.concatenate(([price], close[:-1]))
    spread = close * rng.uniform(0, 0.01, rows)
    volume = rng.lognormal(2, 1, rows)
    high, low = np.maximum(opens, close) + spread, np.minimum(opens, close) - spread
    return np.column_stack((opens, high, low, close, volume, volume * close))


def small() -> KronosPredictor:
    code = ScalarCode(Grid(5, -30, 30, 5), Grid(1, -2, 2, 0.5), Grid(1, 0.05, 3, 0.5), Grid(2, -1, 2, 1))
    return KronosPredictor(random_model(3, bits=5, s2_attention="causal"), scalar_tokenizer(code), "cpu", 64)


def test_predictor_uses_the_normalisation_of_its_tokenizer():
    predictor = small()
    times = pd.date_range("2026-01-05", periods=50, freq="h")
    frame = pd.DataFrame(walk(50), columns=["open", "high", "low", "close", "volume", "amount"], index=times)
    paths = predictor.forecast(frame, 5, samples=8, seed=1).paths
    last, step = frame["close"].iloc[-1], np.sqrt(np.square(np.diff(frame["close"])).mean())
    reach = np.abs(paths[..., 3] - last).max() / step
    assert 0 < reach <= 30 * 1.01
    prepared = predictor.preprocess(frame, times, pd.date_range(times[-1], periods=6, freq="h")[1:])
    assert prepared.x[-1, 3] == 0


def test_default_normalisation_is_spread(tmp_path):
    tokenizer = random_tokenizer(1)
    tokenizer.save_pretrained(tmp_path)
    assert KronosTokenizer.from_pretrained(tmp_path).normalisation == "spread"


def test_unknown_normalisation_is_rejected(tmp_path):
    with pytest.raises(ParameterError, match="'robust'"):
        KronosTokenizer(6, 32, 2, 48, 3, 3, 0.1, 0.1, 0.1, 5, 5, 0.05, 1.0, 1.1, 0.05, 4, normalisation="robust")
    scalar_tokenizer().save_pretrained(tmp_path)
    record = tmp_path / "kronos.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"normalisation": "robust"}))
    with pytest.raises(CheckpointError, match="write spread, steps, changes"):
        KronosTokenizer.from_pretrained(tmp_path)


def test_calendar_features_are_on_the_wall_clock() -> None:
    times = pd.Series(pd.to_datetime(["2024-02-29 23:59", "2024-03-03 00:05"]))
    features = kronos.calc_time_stamps(times)
    assert list(features.columns) == ["minute", "hour", "weekday", "day", "month"]
    assert features.to_numpy().tolist() == [[59, 23, 3, 29, 2], [5, 0, 6, 3, 3]]
    utc = pd.DatetimeIndex(times).tz_localize("America/New_York")
    np.testing.assert_array_equal(kronos.calc_time_stamps(utc), features)  # local hours, not UTC's

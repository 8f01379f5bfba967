"""Normalisation of candles and calendar features."""

import json

import numpy as np
import pandas as pd
import pytest

import kronos
from kronos import KronosPredictor, KronosTokenizer
from kronos.errors import CheckpointError, ParameterError
from kronos.normalisation import STEPS
from networks import random_model, random_tokenizer


def walk(rows: int, seed: int = 0, price: float = 100.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(rng.normal(size=rows)) * 0.01)
    opens = np.concatenate(([price], close[:-1]))
    spread = close * rng.uniform(0, 0.01, rows)
    volume = rng.lognormal(2, 1, rows)
    high, low = np.maximum(opens, close) + spread, np.minimum(opens, close) - spread
    return np.column_stack((opens, high, low, close, volume, volume * close))


def test_predictor_uses_the_normalisation_of_its_tokenizer():
    tokenizer = random_tokenizer(2, normalisation="steps")
    predictor = KronosPredictor(random_model(3, s2_attention="causal"), tokenizer, "cpu", 64)
    times = pd.date_range("2026-01-05", periods=50, freq="h")
    frame = pd.DataFrame(walk(50), columns=["open", "high", "low", "close", "volume", "amount"], index=times)
    last, step = frame["close"].iloc[-1], np.sqrt(np.square(np.diff(frame["close"])).mean())
    prepared = predictor.preprocess(frame, times, pd.date_range(times[-1], periods=6, freq="h")[1:])
    np.testing.assert_allclose(prepared.x[:, 3], (frame["close"] - last) / (STEPS * step), rtol=1e-3, atol=1e-6)
    assert prepared.x[-1, 3] == 0


def test_default_normalisation_is_spread(tmp_path):
    tokenizer = random_tokenizer(1)
    tokenizer.save_pretrained(tmp_path)
    assert KronosTokenizer.from_pretrained(tmp_path).normalisation == "spread"


def test_unknown_normalisation_is_rejected(tmp_path):
    with pytest.raises(ParameterError, match="'robust'"):
        KronosTokenizer(6, 32, 2, 48, 3, 3, 0.1, 0.1, 0.1, 5, 5, 0.05, 1.0, 1.1, 0.05, 4, normalisation="robust")
    random_tokenizer(1, normalisation="steps").save_pretrained(tmp_path)
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

"""Dates that an evaluation may use, and dates that a model has seen in training."""

import json

import pandas as pd
import pytest
import torch

from evaluation.random_walks import candles, instruments
from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.evaluation import Actuals, Dates, Instrument, RollingOrigins, Scores, cutoffs, make_plan
from kronos.evaluation.dates import dates_between, training_overlap_warnings
from kronos.evaluation.rolling import ForecastPaths
from kronos.evaluation.verdicts import evaluation_warnings
from kronos.inference import KronosPredictor
from networks import random_model, random_tokenizer

ROLLING = RollingOrigins(horizon=24)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint without recorded training dates."""
    random_model(3).save_pretrained(tmp_path / "model", context=64)
    random_tokenizer(3).save_pretrained(tmp_path / "tokenizer")
    return tmp_path


def record(folder, **dates):
    """Record training dates in the checkpoint."""
    path = folder / "model" / "kronos.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **dates}))


def load(folder):
    return KronosPredictor.from_pretrained(folder, device="cpu")


def plan(zone=None, **dates):
    fx = Candles.from_frame(candles(0).frame.tz_localize(zone), interval="1h")
    return make_plan([Instrument("one", "fx", fx), *instruments(2, 300, "crypto")[1:]], ROLLING, Dates(**dates))


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("soon", None, "start 'soon'"),
        (None, "", "end ''"),
        ("1000-01-01", None, "start '1000-01-01'"),
        ("2024-01-02", "2024-01-02", "2024-01-02 is not after"),
        ("2024-01-02 00:00+00:00", "2024-01-01", "is not after"),
    ],
)
def test_invalid_dates_are_refused(start, end, words):
    with pytest.raises(ParameterError, match=words):
        dates_between(start, end)


def test_cutoffs_are_the_latest_recorded_dates_by_group(folder):
    assert cutoffs(load(folder), plan()) is None
    record(folder, trained_until={"fx": "2024-01-05"}, selected_until={"fx": "2024-01-10", "crypto": "2023-12-01"})
    known = cutoffs(load(folder), plan())
    assert known == {"fx 1h": pd.Timestamp("2024-01-10"), "crypto 1h": pd.Timestamp("2024-01-05")}


def test_fitting_a_calibration_to_training_dates_gives_a_warning(folder):
    record(folder, trained_until={"fx": "2024-01-05", "crypto": "2023-12-01"})
    until = cutoffs(load(folder), plan())
    [warning] = training_overlap_warnings("mine", plan(), until)
    assert warning.startswith("mine may have been trained")
    assert "fx 1h (new to it from 2024-01-05)" in warning
    assert training_overlap_warnings("mine", plan(start=pd.Timestamp("2024-01-05")), until) == []
    assert "training dates of mine are unknown" in training_overlap_warnings("mine", plan(), None)[0]


def test_a_day_begins_in_the_timezone_of_the_candles(folder):
    record(folder, trained_until="2024-01-10")
    known = cutoffs(load(folder), plan("Asia/Shanghai"))
    assert known == {"fx 1h": pd.Timestamp("2024-01-09 16:00"), "crypto 1h": pd.Timestamp("2024-01-10")}


def test_cutoffs_of_changed_or_new_weights_are_unknown(folder):
    record(folder, trained_until="2024-01-10")
    new = KronosPredictor(random_model(3), random_tokenizer(3), device="cpu", max_context=64)
    assert cutoffs(new, plan()) is None
    predictor = load(folder)
    with torch.no_grad():
        next(predictor.tokenizer.parameters()).add_(0.01)
    assert cutoffs(predictor, plan()) is None


def test_cutoffs_of_the_bundled_model():
    predictor = KronosPredictor.from_pretrained("kronos-nano", device="cpu")
    assert cutoffs(predictor, plan()) == {
        "fx 1h": pd.Timestamp("2020-12-31"),
        "crypto 1h": pd.Timestamp("2023-04-30"),
    }


@pytest.mark.parametrize("zone", [None, "Asia/Shanghai", "America/New_York"])
def test_only_forecast_candles_must_be_new_to_the_model(folder, zone):
    record(folder, trained_until="2024-01-10")
    predictor = load(folder)
    for start, is_new in (("2024-01-10 00:00", True), ("2024-01-09 23:00", False)):
        test = make_plan(plan(zone).instruments[:1], ROLLING, Dates(pd.Timestamp(start)))
        actuals = Actuals.of(test)
        paths = ForecastPaths("nano", actuals.returns[:, None].repeat(2, axis=1).astype("f4"), actuals.sigma * 0)
        scores = Scores.of(actuals, {"nano": paths}, ROLLING)
        warnings = evaluation_warnings([], scores, ROLLING, {"nano": cutoffs(predictor, test)})
        assert any("trained" in warning for warning in warnings) != is_new

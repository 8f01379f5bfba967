"""Which groups of a plan a model has seen before."""

import json

import pandas as pd
import pytest
import torch

from evaluation.walks import candles, instruments
from kronos.candles import Candles
from kronos.evaluation import Actuals, Dates, Instrument, WalkForward, cutoffs, make_plan
from kronos.evaluation.aggregate import Scores
from kronos.evaluation.dates import learnt_from
from kronos.evaluation.rolling import ForecastPaths
from kronos.evaluation.verdicts import warnings
from kronos.inference import KronosPredictor
from networks import random_model, random_tokenizer

WALK = WalkForward(horizon=24)


@pytest.fixture
def folder(tmp_path):
    """A forecasting folder with a record."""
    random_model(3).save_pretrained(tmp_path / "model", context=64)
    random_tokenizer(3).save_pretrained(tmp_path / "tokenizer")
    return tmp_path


def write(folder, **told):
    path = folder / "model" / "kronos.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **told}))


def load(folder):
    return KronosPredictor.from_pretrained(folder, device="cpu")


def plan(zone=None, **dates):
    one = candles(0)
    moved = Candles.from_frame(one.frame.tz_localize(zone), interval="1h")
    return make_plan([Instrument("one", "fx", moved), *instruments(2, 300, "crypto")[1:]], WALK, Dates(**dates))


def test_a_models_dates_by_group(folder):
    assert cutoffs(load(folder), plan()) is None
    write(folder, trained_until={"fx": "2024-01-05"}, selected_until={"fx": "2024-01-10", "crypto": "2023-12-01"})
    known = cutoffs(load(folder), plan())
    assert known == {"fx 1h": pd.Timestamp("2024-01-10"), "crypto 1h": pd.Timestamp("2024-01-05")}


def test_a_calibration_from_what_the_model_has_seen_is_warned_of(folder):
    write(folder, trained_until={"fx": "2024-01-05", "crypto": "2023-12-01"})
    seen = cutoffs(load(folder), plan())
    [told] = learnt_from("mine", plan(), seen)
    assert told.startswith("mine may have been trained or selected on these dates of fx 1h (new to it from 2024-01-05)")
    assert learnt_from("mine", plan(start=pd.Timestamp("2024-01-05")), seen) == []
    assert "Nothing says up to when mine's data went" in learnt_from("mine", plan(), None)[0]


def test_a_day_begins_where_candles_are_timed(folder):
    write(folder, trained_until="2024-01-10")
    known = cutoffs(load(folder), plan("Asia/Shanghai"))
    assert known == {"fx 1h": pd.Timestamp("2024-01-09 16:00"), "crypto 1h": pd.Timestamp("2024-01-10")}


def test_weights_that_were_changed_or_made_here_have_seen_who_knows_what(folder):
    write(folder, trained_until="2024-01-10")
    made = KronosPredictor(random_model(3), random_tokenizer(3), device="cpu", max_context=64)
    assert cutoffs(made, plan()) is None
    predictor = load(folder)
    with torch.no_grad():
        next(predictor.tokenizer.parameters()).add_(0.01)
    assert cutoffs(predictor, plan()) is None


def test_the_bundled_model_knows():
    predictor = KronosPredictor.from_pretrained("kronos-nano", device="cpu")
    assert cutoffs(predictor, plan()) == {
        "fx 1h": pd.Timestamp("2017-07-01"),
        "crypto 1h": pd.Timestamp("2018-01-01"),
    }


@pytest.mark.parametrize("zone", [None, "Asia/Shanghai", "America/New_York"])
def test_what_is_forecast_counts_not_what_is_known(folder, zone):
    write(folder, trained_until="2024-01-10")
    predictor = load(folder)
    for start, clean in (("2024-01-10 00:00", True), ("2024-01-09 23:00", False)):
        asked = make_plan(plan(zone).instruments[:1], WALK, Dates(pd.Timestamp(start)))
        truth = Actuals.of(asked)
        said = ForecastPaths("nano", truth.returns[:, None].repeat(2, axis=1).astype("f4"), truth.sigma * 0)
        scores = Scores.of(truth, {"nano": said}, WALK)
        found = [one for one in warnings([], scores, WALK, {"nano": cutoffs(predictor, asked)}) if "trained" in one]
        assert (not found) == clean

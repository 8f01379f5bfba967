"""Verdicts and warnings follow from the figures by the stated rules."""

import pandas as pd
import pytest

from evaluation.walks import Walker, instruments
from kronos.baselines import Entry, historical_volatility, last_value
from kronos.evaluation.forecasters import BaselineForecaster
from kronos.evaluation.plan import WalkForward, make_plan
from kronos.evaluation.running import Settings, run
from kronos.evaluation.scoring import Truth
from kronos.evaluation.summary import ALL, Scores, summarise
from kronos.evaluation.verdict import verdicts, warnings

REFERENCE = "historical volatility"


def evaluate(folder, walk, rows=800, count=30):
    plan = make_plan(instruments(count, rows), walk)
    truth = Truth.of(plan)
    futures = {plan.name(i): truth.returns[i] for i in range(len(plan))}
    everybody = [
        BaselineForecaster(Entry(REFERENCE, "", historical_volatility)),
        BaselineForecaster(Entry("last value", "", last_value, point=True)),
        Walker("true"),
        Walker("overconfident", width=0.4),
        Walker("clairvoyant", futures=futures),
    ]
    scores = Scores.of(truth, run(plan, everybody, folder / "run", Settings(samples=30)), walk)
    return scores, summarise(scores, REFERENCE, walk)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    walk = WalkForward(horizon=24)
    return walk, *evaluate(tmp_path_factory.mktemp("verdicts"), walk)


def word(found, forecaster, about, group="walks 1h"):
    [one] = [one for one in found if (one.forecaster, one.about, one.group) == (forecaster, about, group)]
    return one.word


def test_words_follow_from_the_figures(evaluated):
    walk, scores, figures = evaluated
    found = verdicts(figures, scores, REFERENCE, walk)
    assert word(found, "overconfident", "price") == "worse"
    assert word(found, "overconfident", "volatility") == "worse"
    assert word(found, "overconfident", "direction") == "no evidence"
    assert word(found, "true", "direction") == "no evidence"
    assert word(found, "true", "volatility") == "better"  # it knows the volatility that the reference estimates
    assert word(found, "true", "price") in ("better", "no evidence")
    assert word(found, "clairvoyant", "price", ALL) == "better"
    assert word(found, "clairvoyant", "direction") == "better"
    assert word(found, "last value", "price") == "worse"
    assert not [one for one in found if one.forecaster == "last value" and one.about != "price"]
    assert {one.about for one in found if one.forecaster == REFERENCE} == {"direction"}
    [told] = [
        one.sentence for one in found if (one.forecaster, one.group) == ("overconfident", ALL) and one.about == "price"
    ]
    assert told.startswith("worse than historical volatility by CRPS at 24 steps (skill -")
    assert told.endswith("n = 900)")


def test_a_clairvoyant_one_trips_the_guard(evaluated):
    walk, scores, figures = evaluated
    found = warnings(figures, scores, walk)
    assert [one for one in found if one.startswith("clairvoyant is too good to be true in walks 1h (skill 100%)")]
    assert not [one for one in found if one.startswith(("true", "overconfident"))]
    assert not [one for one in found if "overlap" in one or "Fewer" in one]


def test_dates_seen_in_training_are_said(evaluated):
    walk, scores, figures = evaluated
    until = {"true": {"walks 1h": pd.Timestamp("2024-06-30")}, "overconfident": {ALL: pd.Timestamp("2023-06-30")}}
    [found] = [one for one in warnings(figures, scores, walk, until) if "trained on" in one]
    assert found.startswith("true may have been trained on what it is tested on")
    assert "walks 1h (from 2024-01-" in found


def test_little_evidence_is_called_so(tmp_path):
    walk = WalkForward(horizon=24, stride=12)
    scores, figures = evaluate(tmp_path, walk, rows=200, count=4)
    found = verdicts(figures, scores, REFERENCE, walk)
    assert {one.word for one in found} == {"too few dates"}
    told = warnings(figures, scores, walk)
    assert any(one.startswith("Forecasts overlap: origins are 12 candles apart and reach 24 ahead") for one in told)
    assert any(one.startswith("Fewer than 400 forecasts in walks 1h (") for one in told)

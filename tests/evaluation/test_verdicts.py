"""Verdicts and warnings follow from the figures by the stated rules."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from evaluation.walks import Walker, instruments
from kronos.baselines import BaselineSpec, historical_volatility, last_value
from kronos.evaluation.aggregate import ALL, Scores, summarise
from kronos.evaluation.forecasters import BaselineForecaster
from kronos.evaluation.plan import WalkForward, make_plan
from kronos.evaluation.rolling import RollingSettings, run_rolling
from kronos.evaluation.scoring import Actuals
from kronos.evaluation.verdicts import verdicts, warnings

REFERENCE = "historical volatility"


def evaluate(folder, walk, rows=800, count=30):
    plan = make_plan(instruments(count, rows), walk)
    truth = Actuals.of(plan)
    futures = {plan.name(i): truth.returns[i] for i in range(len(plan))}
    everybody = [
        BaselineForecaster(BaselineSpec(REFERENCE, "", historical_volatility)),
        BaselineForecaster(BaselineSpec("last value", "", last_value, point=True)),
        Walker("true"),
        Walker("overconfident", width=0.4),
        Walker("clairvoyant", futures=futures),
    ]
    scores = Scores.of(truth, run_rolling(plan, everybody, folder / "run", RollingSettings(samples=30)), walk)
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
    assert {one.about for one in found if one.forecaster == REFERENCE} == {"direction", "bands"}
    [told] = [
        one.sentence for one in found if (one.forecaster, one.group) == ("overconfident", ALL) and one.about == "price"
    ]
    assert told.startswith("worse than historical volatility by CRPS at 24 steps (skill -")
    assert told.endswith("n = 900)")


@pytest.mark.parametrize(
    ("covered", "low", "high", "dates", "expected"),
    [
        (0.61, 0.57, 0.65, 100, "too narrow"),
        (0.90, 0.86, 0.93, 100, "too wide"),
        (0.61, 0.40, 0.82, 100, "calibrated"),  # it may hold what it says
        (0.78, 0.77, 0.79, 100, "calibrated"),  # surely off, by little
        (0.61, 0.57, 0.65, 19, "too few dates"),
        (0.61, math.nan, math.nan, 100, "too few dates"),
    ],
)
def test_bands_are_too_narrow_or_too_wide(evaluated, covered, low, high, dates, expected):
    walk, scores, figures = evaluated
    [one] = [f for f in figures if (f.forecaster, f.group, f.step) == ("true", "walks 1h", 24)]
    share = replace(one.coverage["80"], estimate=covered, low=low, high=high, dates=dates)
    changed = replace(one, coverage={**one.coverage, "80": share})
    [found] = [v for v in verdicts([changed], scores, REFERENCE, walk) if v.about == "bands"]
    assert found.word == expected
    assert found.sentence.endswith(f"(80 % covers {covered:.1%}, {low:.1%} to {high:.1%})")
    assert expected in found.sentence or expected == "calibrated"


def test_bands_follow_from_the_figures(evaluated):
    walk, scores, figures = evaluated
    found = verdicts(figures, scores, REFERENCE, walk)
    assert word(found, "overconfident", "bands") == word(found, "overconfident", "bands", ALL) == "too narrow"
    assert word(found, "true", "bands") == word(found, REFERENCE, "bands") == "calibrated"
    assert {one.forecaster for one in found if one.about == "bands"} == {"true", "overconfident", REFERENCE}


def test_a_clairvoyant_one_trips_the_guard(evaluated):
    walk, scores, figures = evaluated
    found = warnings(figures, scores, walk)
    assert [one for one in found if one.startswith("clairvoyant is too good to be true in walks 1h (skill 100% at ")]
    assert not [one for one in found if one.startswith(("true", "overconfident"))]
    assert not [one for one in found if "overlap" in one or "Fewer" in one]


def test_a_leak_of_one_candle_is_seen_where_it_shows(evaluated):
    walk, scores, figures = evaluated
    [last] = [f for f in figures if (f.forecaster, f.group, f.step) == ("true", "walks 1h", 24)]
    first = replace(last, step=1, skill=replace(last.skill, estimate=0.98))
    told = warnings([first, last], scores, walk)
    assert [one for one in told if one.startswith("true is too good to be true in walks 1h (skill 98% at 1 step)")]
    few = replace(first, skill=replace(first.skill, dates=12))
    assert not [one for one in warnings([few, last], scores, walk) if "too good" in one]


def test_one_step_is_no_steps(evaluated):
    walk, scores, figures = evaluated
    [one] = [f for f in figures if (f.forecaster, f.group, f.step) == ("true", "walks 1h", 1)]
    told = [v.sentence for v in verdicts([one], scores, REFERENCE, replace(walk, horizon=1)) if v.about == "price"]
    assert "at 1 step (" in told[0]


def test_dates_seen_in_training_are_said(evaluated):
    walk, scores, figures = evaluated
    first = scores.steps["first"].min()
    until = {"true": {"walks 1h": pd.Timestamp("2024-06-30")}, "overconfident": {ALL: first}, "clairvoyant": None}
    found = [one for one in warnings(figures, scores, walk, until) if "trained" in one]
    assert found == [
        f"true may have been trained or selected on what it is tested on: its data reach into the test of walks 1h "
        f"(tested from {first:%Y-%m-%d}, new to it from 2024-06-30).",
        "Nothing says up to when clairvoyant's data went: it may have been trained or selected on what it is tested "
        "on.",
    ]
    assert not [one for one in warnings(figures, scores, walk) if "trained" in one]


def test_little_evidence_is_called_so(tmp_path):
    walk = WalkForward(horizon=24, stride=12)
    scores, figures = evaluate(tmp_path, walk, rows=200, count=4)
    found = verdicts(figures, scores, REFERENCE, walk)
    assert {one.word for one in found} == {"too few dates"}
    told = warnings(figures, scores, walk)
    assert any(one.startswith("Forecasts overlap: origins are 12 candles apart and reach 24 ahead") for one in told)
    assert any(one.startswith("Fewer than 400 forecasts in walks 1h (") for one in told)

"""Verdicts and warnings follow from the figures by fixed rules."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from evaluation.random_walks import GaussianForecaster, instruments
from kronos.baselines import BaselineSpec, historical_volatility, last_value
from kronos.evaluation.aggregate import ALL, Scores, aggregate_scores
from kronos.evaluation.forecasters import BaselineForecaster
from kronos.evaluation.origins import RollingOrigins, make_plan
from kronos.evaluation.rolling import RollingSettings, run_rolling
from kronos.evaluation.scoring import Actuals
from kronos.evaluation.verdicts import derive_verdicts, evaluation_warnings

pytestmark = pytest.mark.slow

REFERENCE = "historical volatility"


def evaluate(folder, rolling, rows=800, count=16):
    plan = make_plan(instruments(count, rows), rolling)
    actuals = Actuals.of(plan)
    futures = {plan.name(i): actuals.returns[i] for i in range(len(plan))}
    forecasters = [
        BaselineForecaster(BaselineSpec(REFERENCE, "", historical_volatility)),
        BaselineForecaster(BaselineSpec("last value", "", last_value, point=True)),
        GaussianForecaster("true"),
        GaussianForecaster("overconfident", width=0.4),
        GaussianForecaster("clairvoyant", futures=futures),
    ]
    scores = Scores.of(actuals, run_rolling(plan, forecasters, folder / "run", RollingSettings(samples=30)), rolling)
    return scores, aggregate_scores(scores, REFERENCE, rolling)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    rolling = RollingOrigins(horizon=24)
    return rolling, *evaluate(tmp_path_factory.mktemp("verdicts"), rolling)


def word(found, forecaster, about, group="walks 1h"):
    [own] = [own for own in found if (own.forecaster, own.about, own.group) == (forecaster, about, group)]
    return own.word


def test_verdicts_follow_from_the_figures(evaluated):
    rolling, scores, aggregates = evaluated
    found = derive_verdicts(aggregates, scores, REFERENCE, rolling)
    assert word(found, "overconfident", "price") == "worse"
    assert word(found, "overconfident", "volatility") == "worse"
    assert word(found, "overconfident", "direction") == "no evidence"
    assert word(found, "true", "direction") == "no evidence"
    assert word(found, "true", "volatility") == "better"  # it has the true volatility, which the reference estimates
    assert word(found, "true", "price") in ("better", "no evidence")
    assert word(found, "clairvoyant", "price", ALL) == "better"
    assert word(found, "clairvoyant", "direction") == "better"
    assert word(found, "last value", "price") == "worse"
    assert not [own for own in found if own.forecaster == "last value" and own.about != "price"]
    assert {own.about for own in found if own.forecaster == REFERENCE} == {"direction", "bands"}
    [sentence] = [
        own.sentence for own in found if (own.forecaster, own.group) == ("overconfident", ALL) and own.about == "price"
    ]
    assert sentence.startswith("worse than historical volatility by CRPS at 24 steps (skill -")
    assert sentence.endswith("n = 480)")


@pytest.mark.parametrize(
    ("covered", "low", "high", "dates", "expected"),
    [
        (0.61, 0.57, 0.65, 100, "too narrow"),
        (0.90, 0.86, 0.93, 100, "too wide"),
        (0.76, 0.71, 0.82, 100, "calibrated"),  # 80 % is within the interval
        (0.61, 0.40, 0.82, 100, "too few dates"),  # and so is nearly everything else
        (0.80, 0.55, 1.00, 100, "too few dates"),
        (0.78, 0.77, 0.79, 100, "calibrated"),  # off for certain, but by little
        (0.61, 0.57, 0.65, 19, "too few dates"),
        (0.61, math.nan, math.nan, 100, "too few dates"),
    ],
)
def test_bands_are_too_narrow_or_too_wide(evaluated, covered, low, high, dates, expected):
    rolling, scores, aggregates = evaluated
    [own] = [f for f in aggregates if (f.forecaster, f.group, f.step) == ("true", "walks 1h", 24)]
    share = replace(own.coverage["80"], estimate=covered, low=low, high=high, dates=dates)
    changed = replace(own, coverage={**own.coverage, "80": share})
    [found] = [v for v in derive_verdicts([changed], scores, REFERENCE, rolling) if v.about == "bands"]
    assert found.word == expected
    assert found.sentence.endswith(f"(80 % covers {covered:.1%}, {low:.1%} to {high:.1%})")
    assert ("bands about as wide as stated" if expected == "calibrated" else expected) in found.sentence


def test_verdicts_on_bands_follow_from_coverage(evaluated):
    rolling, scores, aggregates = evaluated
    found = derive_verdicts(aggregates, scores, REFERENCE, rolling)
    assert word(found, "overconfident", "bands") == word(found, "overconfident", "bands", ALL) == "too narrow"
    assert word(found, "true", "bands") == word(found, REFERENCE, "bands") == "calibrated"
    assert {own.forecaster for own in found if own.about == "bands"} == {"true", "overconfident", REFERENCE}


def test_a_leak_is_reported(evaluated):
    rolling, scores, aggregates = evaluated
    found = evaluation_warnings(aggregates, scores, rolling)
    assert [own for own in found if own.startswith("clairvoyant is too good to be true in walks 1h (skill 100% at ")]
    assert not [own for own in found if own.startswith(("true", "overconfident"))]
    assert not [own for own in found if "overlap" in own or "Fewer" in own]


def test_a_leak_of_one_candle_is_reported_at_the_first_step(evaluated):
    rolling, scores, aggregates = evaluated
    [last] = [f for f in aggregates if (f.forecaster, f.group, f.step) == ("true", "walks 1h", 24)]
    first = replace(last, step=1, skill=replace(last.skill, estimate=0.98))
    warnings = evaluation_warnings([first, last], scores, rolling)
    assert [own for own in warnings if own.startswith("true is too good to be true in walks 1h (skill 98% at 1 step)")]
    few = replace(first, skill=replace(first.skill, dates=12))
    assert not [own for own in evaluation_warnings([few, last], scores, rolling) if "too good" in own]


def test_one_step_is_singular(evaluated):
    rolling, scores, aggregates = evaluated
    [own] = [f for f in aggregates if (f.forecaster, f.group, f.step) == ("true", "walks 1h", 1)]
    warnings = [
        v.sentence for v in derive_verdicts([own], scores, REFERENCE, replace(rolling, horizon=1)) if v.about == "price"
    ]
    assert "at 1 step (" in warnings[0]


def test_test_dates_seen_in_training_are_reported(evaluated):
    rolling, scores, aggregates = evaluated
    first = scores.steps["first"].min()
    until = {"true": {"walks 1h": pd.Timestamp("2024-06-30")}, "overconfident": {ALL: first}, "clairvoyant": None}
    found = [own for own in evaluation_warnings(aggregates, scores, rolling, until) if "trained" in own]
    assert found == [
        f"true may have been trained or selected on test dates of walks 1h (tested from {first:%Y-%m-%d}, new to it "
        f"from 2024-06-30).",
        "The training dates of clairvoyant are unknown: it may have been trained or selected on these test dates.",
    ]
    assert not [own for own in evaluation_warnings(aggregates, scores, rolling) if "trained" in own]


def test_little_evidence_is_reported(tmp_path):
    rolling = RollingOrigins(horizon=24, stride=12)
    scores, aggregates = evaluate(tmp_path, rolling, rows=200, count=4)
    found = derive_verdicts(aggregates, scores, REFERENCE, rolling)
    assert {own.word for own in found} == {"too few dates"}
    warnings = evaluation_warnings(aggregates, scores, rolling)
    assert any("12 candles apart" in own and "24 ahead" in own for own in warnings)
    assert any(own.startswith("Fewer than 400 forecasts in walks 1h (") for own in warnings)

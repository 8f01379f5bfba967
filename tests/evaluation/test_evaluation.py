"""Evaluations from end to end: forecasters of known quality get the figures and verdicts that they deserve."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from evaluation.random_walks import SIGMA, GaussianForecaster, instruments
from kronos.baselines import BASELINES
from kronos.calibration import fit
from kronos.errors import ParameterError
from kronos.evaluation import (
    ALL,
    Actuals,
    BaselineForecaster,
    Correction,
    RollingOrigins,
    RollingSettings,
    baseline_forecasters,
    baseline_paths,
    calibration_set_of,
    evaluate,
    identity_of,
    make_plan,
)

REFERENCE = "historical-volatility"
GROUP = "walks 1h"
BANDS = ("50", "80", "95")
PLAN = make_plan(instruments(2, 1200), RollingOrigins(horizon=24))


@dataclass
class Estimator(GaussianForecaster):
    """A random walk with the volatility of the last 64 returns, like the reference, but with other random numbers."""

    def _forecast(self, name, history, times, samples, seed):
        self.width = float(np.diff(np.log(history.frame["close"].to_numpy()[-65:])).std() / SIGMA)
        return super()._forecast(name, history, times, samples, seed)

    def identity(self):
        return {"name": self.name}


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    plan = make_plan(instruments(10, 1_200), RollingOrigins(horizon=12, stride=24))
    actuals = Actuals.of(plan)
    futures = {plan.name(i): actuals.returns[i] for i in range(len(plan))}
    forecasters = [
        GaussianForecaster("perfect"),
        Estimator("calibrated"),
        GaussianForecaster("overconfident", width=0.5),
        GaussianForecaster("clairvoyant", futures=futures),
    ]
    until = {
        "perfect": {ALL: actuals.origins["first"].min()},
        "calibrated": None,
        "overconfident": {ALL: pd.Timestamp.max},
    }
    return evaluate(
        plan,
        forecasters,
        tmp_path_factory.mktemp("known") / "run",
        RollingSettings(samples=40),
        baselines=baseline_forecasters([REFERENCE, "last-value"]),
        trained_until=until,
    )


def figures(evaluation, forecaster, group=GROUP):
    return [own for own in evaluation.aggregates if (own.forecaster, own.group) == (forecaster, group)]


def words(evaluation, forecaster):
    return {own.about: own.word for own in evaluation.verdicts if (own.forecaster, own.group) == (forecaster, GROUP)}


def test_the_true_distribution_is_at_least_as_good_as_an_estimate_of_it(evaluation):
    for own in figures(evaluation, "perfect"):
        assert own.skill.high > 0
        assert own.skill.estimate > -0.01
        assert own.uniform.p_value > 0.01
    verdicts = words(evaluation, "perfect")
    assert verdicts["price"] in ("better", "no evidence")
    assert verdicts | {"price": ""} == {
        "price": "",
        "direction": "no evidence",
        "volatility": "better",
        "bands": "calibrated",
    }


def test_a_calibrated_random_walk_has_no_edge(evaluation):
    for own in figures(evaluation, "calibrated"):
        for band in BANDS:
            share, nominal = own.coverage[band], int(band) / 100
            assert abs(share.estimate - nominal) < max(0.03, 3 * math.sqrt(nominal * (1 - nominal) / own.n))
        assert own.uniform.p_value > 0.01
        assert own.skill.low < 0 < own.skill.high
        assert own.hit_rate.low < 0.5 < own.hit_rate.high
    verdicts = words(evaluation, "calibrated")
    assert (verdicts["price"], verdicts["direction"], verdicts["bands"]) == ("no evidence", "no evidence", "calibrated")


def test_overconfidence_is_detected(evaluation):
    for own in figures(evaluation, "overconfident"):
        assert all(own.coverage[band].high < int(band) / 100 for band in BANDS)
        assert own.uniform.p_value < 0.01
        assert own.skill.high < 0
    expected = {"price": "worse", "direction": "no evidence", "volatility": "worse", "bands": "too narrow"}
    assert words(evaluation, "overconfident") == expected


def test_a_leak_is_reported(evaluation):
    warnings = [warning for warning in evaluation.warnings if "too good to be true" in warning]
    assert {warning.split(" is ")[0] for warning in warnings} == {"clairvoyant"}
    assert any(f"in {GROUP} (skill 100% at " in warning for warning in warnings)


def test_test_dates_seen_in_training_are_reported(evaluation):
    unknown, seen = (warning for warning in evaluation.warnings if "trained" in warning)
    assert "training dates of calibrated are unknown" in unknown
    assert seen.startswith("overconfident may have been trained")


def test_the_best_contender_is_found_and_worse_ones_excluded(evaluation):
    for own in evaluation.comparison:
        assert own.included == ("clairvoyant",)
        assert own.better[0] == "clairvoyant"
        assert {"overconfident", "last-value"} <= set(own.excluded)
        assert (own.step, own.n) == (12, len(evaluation.plan))


def test_the_document_keeps_its_keys(evaluation):
    document = json.loads(json.dumps(evaluation.to_dict(), default=str))
    assert document["comparison"][1]["group"] == ALL
    assert document["walk"] == {"horizon": 12, "stride": 24, "lookback": None, "least_history": 65, "most": None}
    keys = "kind format plan versions created walk samples seed reference instruments origins first last groups"
    keys += " forecasters verdicts warnings left_out figures volatility comparison adaptive whole_candles"
    assert list(document) == keys.split()


def test_the_horizon_is_always_scored(tmp_path):
    found = evaluate(PLAN, [GaussianForecaster()], tmp_path, RollingSettings(5), baselines=[], steps=(1,))
    assert found.steps == [1, 24]
    assert found.verdicts


@pytest.mark.slow
def test_a_calibrated_contender_is_scored_next_to_the_raw_one(tmp_path):
    narrow, settings = GaussianForecaster(width=0.4), RollingSettings(40)

    def run(*corrections):
        baselines = [BaselineForecaster(BASELINES["last-value"])]
        return evaluate(PLAN, [narrow], tmp_path, settings, baselines=baselines, steps=(1, 24), corrections=corrections)

    raw = run()
    assert raw.evaluated == ["gaussian"]
    assert [own.name for own in raw.contenders if own.baseline] == ["last-value", "historical-volatility"]
    pooled = baseline_paths(PLAN, "historical-volatility", tmp_path, 1)

    def fitted_for(forecaster):
        past = calibration_set_of(PLAN, raw.actuals, raw.paths["gaussian"], identity_of(forecaster), pooled)
        return fit(past)

    calibration = fitted_for(narrow)
    both = run(Correction("corrected", "gaussian", calibration))
    at = {own.forecaster: own for own in both.aggregates if own.group == ALL and own.step == 24}
    assert at["gaussian"].coverage["80"].high < 0.6
    assert abs(at["corrected"].coverage["80"].estimate - 0.8) < 0.1
    contender = next(own for own in both.contenders if own.name == "corrected")
    assert "weight" in contender.calibration
    with pytest.raises(ParameterError, match="models differ"):
        run(Correction("corrected", "gaussian", fitted_for(GaussianForecaster("stranger"))))
    with pytest.raises(ParameterError, match="'nobody', which is not evaluated"):
        run(Correction("x", "nobody", calibration))
    with pytest.raises(ParameterError, match="'gaussian'"):
        run(Correction("gaussian", "gaussian", calibration))

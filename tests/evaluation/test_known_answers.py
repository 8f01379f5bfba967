"""Known answers from end to end: forecasters whose quality is known, through `evaluate`, to what is said of them."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from evaluation.walks import SIGMA, Walker, instruments
from kronos.evaluation import ALL, Actuals, RollingSettings, WalkForward, baseline_forecasters, evaluate, make_plan

REFERENCE = "historical-volatility"
GROUP = "walks 1h"
BANDS = ("50", "80", "95")


@dataclass
class Estimator(Walker):
    """A random walk as wide as the last 64 returns, as the reference, with draws of its own."""

    def _one(self, name, history, times, samples, seed):
        self.width = float(np.diff(np.log(history.frame["close"].to_numpy()[-65:])).std() / SIGMA)
        return super()._one(name, history, times, samples, seed)

    def identity(self):
        return {"name": self.name}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    plan = make_plan(instruments(10, 1_200), WalkForward(horizon=12, stride=24))
    truth = Actuals.of(plan)
    futures = {plan.name(i): truth.returns[i] for i in range(len(plan))}
    everybody = [
        Walker("perfect"),
        Estimator("calibrated"),
        Walker("overconfident", width=0.5),
        Walker("clairvoyant", futures=futures),
    ]
    until = {
        "perfect": {ALL: truth.origins["first"].min()},
        "calibrated": None,
        "overconfident": {ALL: pd.Timestamp.max},
    }
    return evaluate(
        plan,
        everybody,
        tmp_path_factory.mktemp("known") / "run",
        RollingSettings(samples=40),
        baselines=baseline_forecasters([REFERENCE, "last-value"]),
        trained_until=until,
    )


def figures(found, forecaster, group=GROUP):
    return [one for one in found.figures if (one.forecaster, one.group) == (forecaster, group)]


def words(found, forecaster):
    return {one.about: one.word for one in found.verdicts if (one.forecaster, one.group) == (forecaster, GROUP)}


def test_a_model_that_knows_the_law_is_at_least_as_good_as_one_that_estimates_it(found):
    for one in figures(found, "perfect"):
        assert one.skill.high > 0
        assert one.skill.estimate > -0.01
        assert one.uniform.p_value > 0.01
    said = words(found, "perfect")
    assert said["price"] in ("better", "no evidence")
    assert (said["direction"], said["volatility"], said["bands"]) == ("no evidence", "better", "calibrated")


def test_a_calibrated_random_walk_has_no_edge(found):
    for one in figures(found, "calibrated"):
        for band in BANDS:
            share, nominal = one.coverage[band], int(band) / 100
            assert abs(share.estimate - nominal) < max(0.03, 3 * math.sqrt(nominal * (1 - nominal) / one.n))
        assert one.uniform.p_value > 0.01
        assert one.skill.low < 0 < one.skill.high
        assert one.hit_rate.low < 0.5 < one.hit_rate.high
    said = words(found, "calibrated")
    assert (said["price"], said["direction"], said["bands"]) == ("no evidence", "no evidence", "calibrated")


def test_an_overconfident_one_is_detected(found):
    for one in figures(found, "overconfident"):
        assert all(one.coverage[band].high < int(band) / 100 for band in BANDS)
        assert one.uniform.p_value < 0.01
        assert one.skill.high < 0
    said = words(found, "overconfident")
    assert said == {"price": "worse", "direction": "no evidence", "volatility": "worse", "bands": "too narrow"}


def test_a_clairvoyant_one_trips_the_leak_guard(found):
    told = [one for one in found.warnings if "too good to be true" in one]
    assert {one.split(" is ")[0] for one in told} == {"clairvoyant"}
    assert any(f"in {GROUP} (skill 100% at " in one for one in told)


def test_who_may_have_seen_the_tests_is_said(found):
    told = [one for one in found.warnings if "trained" in one]
    assert len(told) == 2
    assert told[0].startswith("Nothing says up to when calibrated's data went")
    assert told[1].startswith("overconfident may have been trained or selected on what it is tested on")


def test_of_all_the_best_is_named_and_the_worse_excluded(found):
    for one in found.comparison:
        assert one.included == ("clairvoyant",)
        assert one.better[0] == "clairvoyant"
        assert {"overconfident", "last-value"} <= set(one.excluded)
        assert (one.step, one.n) == (12, len(found.plan))
    assert json.loads(json.dumps(found.to_dict(), default=str))["comparison"][1]["group"] == ALL

"""Known answers: forecasters whose quality is known get the figures that it deserves."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from evaluation.walks import Walker, instruments
from kronos.baselines import BaselineSpec, historical_volatility, last_value
from kronos.errors import ParameterError
from kronos.evaluation.aggregate import ALL, Scores, summarise, volatility
from kronos.evaluation.forecasters import BaselineForecaster
from kronos.evaluation.plan import WalkForward, make_plan
from kronos.evaluation.rolling import RollingSettings, run_rolling
from kronos.evaluation.scoring import Actuals, report_steps, score_paths, score_whole
from kronos.metrics import crps

WALK = WalkForward(horizon=24)
REFERENCE = "historical volatility"


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Forecasts of 1,200 origins: a market of 30 walks, and another of 10."""
    many = [*instruments(30, 800), *(one for one in instruments(40, 800, "others")[30:])]
    plan = make_plan(many, WALK)
    truth = Actuals.of(plan)
    futures = {plan.name(i): truth.returns[i] for i in range(len(plan))}
    everybody = [
        BaselineForecaster(BaselineSpec(REFERENCE, "", historical_volatility)),
        BaselineForecaster(BaselineSpec("last value", "", last_value)),
        Walker("true"),
        Walker("overconfident", width=0.4),
        Walker("clairvoyant", futures=futures),
    ]
    paths = run_rolling(plan, everybody, tmp_path_factory.mktemp("run") / "run", RollingSettings(samples=50))
    scores = Scores.of(truth, paths, WALK)
    return plan, truth, paths, scores, summarise(scores, REFERENCE, WALK)


def figure(figures, forecaster, group=ALL, step=24):
    [found] = [one for one in figures if (one.forecaster, one.group, one.step) == (forecaster, group, step)]
    return found


def test_every_forecaster_stands_in_every_group_at_every_step(evaluated):
    *_, figures = evaluated
    keys = {(one.forecaster, one.group, one.step) for one in figures}
    assert len(keys) == len(figures) == 5 * 3 * 4
    assert {one.group for one in figures} == {"walks 1h", "others 1h", ALL}
    assert {one.step for one in figures} == {1, 4, 8, 24}


def test_the_true_law_is_calibrated_and_slightly_better_than_an_estimate_of_it(evaluated):
    *_, figures = evaluated
    for step in (1, 4, 8, 24):
        one = figure(figures, "true", step=step)
        for band in ("50", "80", "95"):
            covered = one.coverage[band]
            allowed = 2.5 * math.sqrt(float(band) / 100 * (1 - float(band) / 100) / 1_200)
            assert abs(covered.estimate - float(band) / 100) < max(allowed, 0.02)
        assert -0.01 < one.skill.estimate < 0.04
        assert figure(figures, "true", "walks 1h", step).uniform.p_value > 0.01
        rate = figure(figures, "true", "walks 1h", step).hit_rate
        assert rate.low < 0.5 < rate.high


def test_an_overconfident_one_is_found_out(evaluated):
    *_, figures = evaluated
    one = figure(figures, "overconfident", "walks 1h")
    assert one.coverage["80"].high < 0.55
    assert one.uniform.p_value < 1e-3
    assert one.skill.high < -0.05
    assert one.test.p_value < 1e-4
    assert one.test.statistic > 0
    assert one.width == pytest.approx(0.4 * figure(figures, "true", "walks 1h").width, rel=0.05)


def test_a_clairvoyant_one_is_perfect(evaluated):
    *_, figures = evaluated
    one = figure(figures, "clairvoyant")
    assert one.skill.estimate == pytest.approx(1, abs=1e-5)
    assert one.crps == pytest.approx(0, abs=1e-5)
    assert one.hit_rate.estimate == 1
    assert figure(figures, "clairvoyant", "walks 1h").rank_ic["mean"] == pytest.approx(1, abs=1e-3)


def test_the_reference_is_compared_with_nobody(evaluated):
    *_, figures = evaluated
    one = figure(figures, REFERENCE)
    assert one.skill is None
    assert one.test is None
    assert figure(figures, "last value").skill.high < 0
    assert figure(figures, "last value").hit_rate is None
    assert figure(figures, "last value").rank_ic is None


def test_over_all_groups_every_group_counts_the_same(evaluated):
    *_, figures = evaluated
    for name in (REFERENCE, "overconfident"):
        parts = [figure(figures, name, group) for group in ("walks 1h", "others 1h")]
        assert parts[0].n == 3 * parts[1].n
        whole = figure(figures, name)
        assert whole.crps == pytest.approx(np.mean([one.crps for one in parts]))
        assert whole.coverage["80"].estimate == pytest.approx(np.mean([one.coverage["80"].estimate for one in parts]))


def test_markets_of_different_drifts_are_no_knowledge_of_the_direction():
    """Called to rise where all rises mostly, and to fall where all falls: right in both, and knowing nothing."""
    rng = np.random.default_rng(2)
    parts = []
    for place, (group, rises) in enumerate((("up 1d", 0.7), ("down 1d", 0.3))):
        actual = np.where(rng.random(400) < rises, 0.01, -0.01)
        said = np.where(rng.random(400) < rises, 0.6, 0.4)
        table = pd.DataFrame({"origin": 400 * place + np.arange(400), "step": 1, "actual": actual, "up": said})
        table["date"] = pd.date_range("2020-01-01", periods=400)
        parts.append(table.assign(forecaster="mine", group=group, series=group, predicted=0.0, pit=rng.random(400)))
    table = pd.concat(parts, ignore_index=True)
    for name in ("crps", "width_80", "brier", "inside_50", "inside_80", "inside_95"):
        table[name] = 1.0
    figures = summarise(Scores(table, pd.DataFrame()), "nobody", WalkForward(horizon=1))
    [one] = [one for one in figures if one.group == ALL]
    assert one.hit_rate.low > 0.5
    assert one.direction_p > 0.05
    knows = table.assign(up=np.where(table["actual"] > 0, 0.6, 0.4))
    [one] = [f for f in summarise(Scores(knows, pd.DataFrame()), "x", WalkForward(horizon=1)) if f.group == ALL]
    assert one.direction_p < 1e-6


def test_scores_are_what_they_say(evaluated):
    plan, truth, paths, *_ = evaluated
    table = score_paths(truth, paths["true"], (1, 24)).set_index(["origin", "step"])
    assert len(table) == 2 * len(plan)
    for origin, step in ((0, 1), (700, 24), (1_199, 24)):
        samples = paths["true"].returns[origin, :, step - 1].astype(float)
        actual = truth.returns[origin, step - 1]
        row = table.loc[(origin, step)]
        closes = np.log(plan.history(origin).frame["close"].to_numpy()[-65:])
        unit = np.diff(closes).std(ddof=1) * math.sqrt(step)
        assert row["crps"] == pytest.approx(float(crps(samples, actual)) / unit)
        assert row["mae"] == pytest.approx(abs(np.median(samples) - actual) / unit)
        assert row["up"] == pytest.approx((np.count_nonzero(samples > 0) + 1) / 52)
        assert row["brier"] == pytest.approx((row["up"] - (actual > 0)) ** 2)
        assert (row["predicted"], row["actual"]) == (pytest.approx(samples.mean()), pytest.approx(actual))
    whole = score_whole(truth, paths["clairvoyant"])
    np.testing.assert_allclose(whole["volatility"], whole["realised"], rtol=1e-4)
    np.testing.assert_allclose(whole["energy"], 0, atol=1e-4)


def test_volatility_is_scored_beside(evaluated):
    *_, scores, _ = evaluated
    table = volatility(scores).set_index(["group", "forecaster"])
    assert table.loc[("walks 1h", "clairvoyant"), "r2"] == pytest.approx(1, abs=1e-3)
    assert table.loc[("walks 1h", "overconfident"), "mae"] > table.loc[("walks 1h", "true"), "mae"]


def test_origins_without_a_forecast_are_left_out(evaluated):
    plan, truth, paths, *_ = evaluated
    returns = paths["true"].returns.copy()
    returns[::2] = np.nan
    half = type(paths["true"])("true", returns, paths["true"].level_error)
    assert len(score_paths(truth, half, (1,))) == len(plan) // 2
    returns[:] = np.nan
    assert score_paths(truth, half, (1,)).empty
    assert score_whole(truth, half).empty


@pytest.mark.parametrize("steps", [(), (0,), (25,)])
def test_steps_lie_within_the_horizon(evaluated, steps):
    _, truth, paths, *_ = evaluated
    with pytest.raises(ParameterError, match="Steps lie between 1 and the horizon of 24"):
        score_paths(truth, paths["true"], steps)


def test_the_usual_steps():
    assert report_steps(24) == (1, 4, 8, 24)
    assert report_steps(12) == (1, 4, 8, 12)
    assert report_steps(1) == (1,)
    assert json.dumps(report_steps(96)) == "[1, 4, 8, 24, 96]"

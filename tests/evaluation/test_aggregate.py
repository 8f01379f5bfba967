"""Aggregates of forecasters of known quality, and of scores computed by hand."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from evaluation.random_walks import GaussianForecaster, instruments
from kronos.baselines import BaselineSpec, historical_volatility, last_value
from kronos.errors import ParameterError
from kronos.evaluation.aggregate import ALL, Scores, aggregate_scores, aggregate_volatility
from kronos.evaluation.forecasters import BaselineForecaster
from kronos.evaluation.origins import RollingOrigins, make_plan
from kronos.evaluation.rolling import RollingSettings, run_rolling
from kronos.evaluation.scoring import Actuals, report_steps, score_paths, score_trajectories
from kronos.metrics import crps

pytestmark = pytest.mark.slow

ROLLING = RollingOrigins(horizon=24)
REFERENCE = "historical volatility"


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Forecasts at 1,200 origins: a market of 30 random walks and another of 10."""
    many = [*instruments(30, 800), *instruments(40, 800, "others")[30:]]
    plan = make_plan(many, ROLLING)
    actuals = Actuals.of(plan)
    futures = {plan.name(i): actuals.returns[i] for i in range(len(plan))}
    forecasters = [
        BaselineForecaster(BaselineSpec(REFERENCE, "", historical_volatility)),
        BaselineForecaster(BaselineSpec("last value", "", last_value)),
        GaussianForecaster("true"),
        GaussianForecaster("overconfident", width=0.4),
        GaussianForecaster("clairvoyant", futures=futures),
    ]
    paths = run_rolling(plan, forecasters, tmp_path_factory.mktemp("run") / "run", RollingSettings(samples=50))
    scores = Scores.of(actuals, paths, ROLLING)
    return plan, actuals, paths, scores, aggregate_scores(scores, REFERENCE, ROLLING)


def select(aggregates, forecaster, group=ALL, step=24):
    [own] = [own for own in aggregates if (own.forecaster, own.group, own.step) == (forecaster, group, step)]
    return own


def test_every_forecaster_is_aggregated_in_every_group_at_every_step(evaluated):
    *_, aggregates = evaluated
    keys = {(own.forecaster, own.group, own.step) for own in aggregates}
    assert len(keys) == len(aggregates) == 5 * 3 * 4
    assert {own.group for own in aggregates} == {"walks 1h", "others 1h", ALL}
    assert {own.step for own in aggregates} == {1, 4, 8, 24}


def test_the_true_distribution_is_calibrated_and_slightly_better_than_an_estimate(evaluated):
    *_, aggregates = evaluated
    for step in (1, 4, 8, 24):
        own = select(aggregates, "true", step=step)
        for band in ("50", "80", "95"):
            covered = own.coverage[band]
            allowed = 2.5 * math.sqrt(float(band) / 100 * (1 - float(band) / 100) / 1_200)
            assert abs(covered.estimate - float(band) / 100) < max(allowed, 0.02)
        assert -0.01 < own.skill.estimate < 0.04
        assert select(aggregates, "true", "walks 1h", step).uniform.p_value > 0.01
        rate = select(aggregates, "true", "walks 1h", step).hit_rate
        assert rate.low < 0.5 < rate.high


def test_overconfidence_shows_in_all_figures(evaluated):
    *_, aggregates = evaluated
    own = select(aggregates, "overconfident", "walks 1h")
    assert own.coverage["80"].high < 0.55
    assert own.uniform.p_value < 1e-3
    assert own.skill.high < -0.05
    assert own.test.p_value < 1e-4
    assert own.test.statistic > 0
    assert own.width == pytest.approx(0.4 * select(aggregates, "true", "walks 1h").width, rel=0.05)


def test_a_clairvoyant_forecaster_is_perfect(evaluated):
    *_, aggregates = evaluated
    own = select(aggregates, "clairvoyant")
    assert own.skill.estimate == pytest.approx(1, abs=1e-5)
    assert own.crps == pytest.approx(0, abs=1e-5)
    assert own.hit_rate.estimate == 1
    assert select(aggregates, "clairvoyant", "walks 1h").rank_ic["mean"] == pytest.approx(1, abs=1e-3)


def test_the_reference_has_no_skill_and_point_forecasts_no_direction(evaluated):
    *_, aggregates = evaluated
    own = select(aggregates, REFERENCE)
    assert own.skill is None
    assert own.test is None
    assert select(aggregates, "last value").skill.high < 0
    assert select(aggregates, "last value").hit_rate is None
    assert select(aggregates, "last value").rank_ic is None


def test_groups_have_equal_weights(evaluated):
    *_, aggregates = evaluated
    for name in (REFERENCE, "overconfident"):
        parts = [select(aggregates, name, group) for group in ("walks 1h", "others 1h")]
        assert parts[0].n == 3 * parts[1].n
        whole = select(aggregates, name)
        assert whole.crps == pytest.approx(np.mean([own.crps for own in parts]))
        assert whole.coverage["80"].estimate == pytest.approx(np.mean([own.coverage["80"].estimate for own in parts]))


def test_drifts_of_groups_are_not_taken_for_skill_in_direction():
    """A rise is forecast in a rising market and a fall in a falling own, at random times: right, but without skill."""
    rng = np.random.default_rng(2)
    parts = []
    for place, (group, rises) in enumerate((("up 1d", 0.7), ("down 1d", 0.3))):
        actual = np.where(rng.random(400) < rises, 0.01, -0.01)
        up = np.where(rng.random(400) < rises, 0.6, 0.4)
        table = pd.DataFrame({"origin": 400 * place + np.arange(400), "step": 1, "actual": actual, "up": up})
        table["date"] = pd.date_range("2020-01-01", periods=400)
        parts.append(table.assign(forecaster="mine", group=group, series=group, predicted=0.0, pit=rng.random(400)))
    table = pd.concat(parts, ignore_index=True)
    for name in ("crps", "width_80", "brier", "inside_50", "inside_80", "inside_95"):
        table[name] = 1.0
    aggregates = aggregate_scores(Scores(table, pd.DataFrame()), "nobody", RollingOrigins(horizon=1))
    [own] = [own for own in aggregates if own.group == ALL]
    assert own.hit_rate.low > 0.5
    assert own.direction_p > 0.05
    skilled = table.assign(up=np.where(table["actual"] > 0, 0.6, 0.4))
    [own] = [
        f for f in aggregate_scores(Scores(skilled, pd.DataFrame()), "x", RollingOrigins(horizon=1)) if f.group == ALL
    ]
    assert own.direction_p < 1e-6


def test_scores_equal_direct_computations(evaluated):
    plan, actuals, paths, *_ = evaluated
    table = score_paths(actuals, paths["true"], (1, 24)).set_index(["origin", "step"])
    assert len(table) == 2 * len(plan)
    for origin, step in ((0, 1), (700, 24), (1_199, 24)):
        samples = paths["true"].returns[origin, :, step - 1].astype(float)
        actual = actuals.returns[origin, step - 1]
        row = table.loc[(origin, step)]
        closes = np.log(plan.history(origin).frame["close"].to_numpy()[-65:])
        unit = np.diff(closes).std(ddof=1) * math.sqrt(step)
        assert row["crps"] == pytest.approx(float(crps(samples, actual)) / unit)
        assert row["mae"] == pytest.approx(abs(np.median(samples) - actual) / unit)
        assert row["up"] == pytest.approx((np.count_nonzero(samples > 0) + 1) / 52)
        assert row["brier"] == pytest.approx((row["up"] - (actual > 0)) ** 2)
        assert (row["predicted"], row["actual"]) == (pytest.approx(samples.mean()), pytest.approx(actual))
    whole = score_trajectories(actuals, paths["clairvoyant"])
    np.testing.assert_allclose(whole["volatility"], whole["realised"], rtol=1e-4)
    np.testing.assert_allclose(whole["energy"], 0, atol=1e-4)


def test_volatility_is_scored(evaluated):
    *_, scores, _ = evaluated
    table = aggregate_volatility(scores).set_index(["group", "forecaster"])
    assert table.loc[("walks 1h", "clairvoyant"), "r2"] == pytest.approx(1, abs=1e-3)
    assert table.loc[("walks 1h", "overconfident"), "mae"] > table.loc[("walks 1h", "true"), "mae"]


def test_origins_without_forecast_have_no_scores(evaluated):
    plan, actuals, paths, *_ = evaluated
    returns = paths["true"].returns.copy()
    returns[::2] = np.nan
    half = type(paths["true"])("true", returns, paths["true"].level_error)
    assert len(score_paths(actuals, half, (1,))) == len(plan) // 2
    returns[:] = np.nan
    assert score_paths(actuals, half, (1,)).empty
    assert score_trajectories(actuals, half).empty


@pytest.mark.parametrize("steps", [(), (0,), (25,)])
def test_steps_outside_the_horizon_are_refused(evaluated, steps):
    _, actuals, paths, *_ = evaluated
    with pytest.raises(ParameterError, match="horizon of 24"):
        score_paths(actuals, paths["true"], steps)


def test_report_steps():
    assert report_steps(24) == (1, 4, 8, 24)
    assert report_steps(12) == (1, 4, 8, 12)
    assert report_steps(1) == (1,)
    assert json.dumps(report_steps(96)) == "[1, 4, 8, 24, 96]"

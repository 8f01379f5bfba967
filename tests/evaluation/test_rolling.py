"""Runs: every forecaster at every origin, kept, resumed, and causal."""

import json
from dataclasses import replace

import numpy as np
import pytest

from evaluation.walks import Walker, instruments
from kronos.baselines import BASELINES, BaselineSpec, historical_volatility, last_value
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.evaluation.forecasters import BaselineForecaster, ModelForecaster
from kronos.evaluation.plan import Instrument, Plan, WalkForward, make_plan
from kronos.evaluation.rolling import SHARD, RollingSettings, run_rolling, shard_ranges
from kronos.inference import KronosPredictor
from networks import random_model, random_tokenizer

PLAN = make_plan(instruments(8), WalkForward(horizon=24))
FEW = RollingSettings(samples=5)


def test_everybody_is_asked_about_every_origin(tmp_path):
    assert len(PLAN) > SHARD
    told = []
    forecasters = [Walker(), BaselineForecaster(BaselineSpec("last value", "", last_value))]
    found = run_rolling(
        PLAN, forecasters, tmp_path / "run", FEW, progress=lambda done, total: told.append((done, total))
    )
    assert set(found) == {"walker", "last value"}
    for one in found.values():
        assert one.returns.shape == (len(PLAN), 5, 24)
        assert np.isfinite(one.returns).all()
    assert (found["last value"].returns == 0).all()
    assert told[-1] == (2 * len(PLAN), 2 * len(PLAN))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        run_rolling(PLAN, [Walker(fails_after=1)], tmp_path / "run", FEW)
    again = Walker()
    found = run_rolling(PLAN, [again], tmp_path / "run", FEW)
    assert again.calls == len(shard_ranges(len(PLAN))) - 1
    undisturbed = run_rolling(PLAN, [Walker()], tmp_path / "other", FEW)
    np.testing.assert_array_equal(found["walker"].returns, undisturbed["walker"].returns)


def test_a_folder_holds_one_run_only(tmp_path):
    run_rolling(PLAN, [Walker()], tmp_path / "run", FEW)
    with pytest.raises(ParameterError, match="holds a run of another samples"):
        run_rolling(PLAN, [Walker()], tmp_path / "run", RollingSettings(samples=6))
    with pytest.raises(ParameterError, match="holds a run of another plan"):
        run_rolling(make_plan(instruments(8), WalkForward(horizon=24, stride=23)), [Walker()], tmp_path / "run", FEW)
    with pytest.raises(ParameterError, match="forecasts of another walker"):
        run_rolling(PLAN, [Walker(width=2.0)], tmp_path / "run", FEW)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"x")
    with pytest.raises(ParameterError, match="holds something else than a run"):
        run_rolling(PLAN, [Walker()], tmp_path / "photos", FEW)
    with pytest.raises(ParameterError, match="different names"):
        run_rolling(PLAN, [Walker("a b"), Walker("a/b")], tmp_path / "twice", FEW)


def test_damage_is_said(tmp_path):
    run_rolling(PLAN, [Walker()], tmp_path / "run", FEW)
    shard = next((tmp_path / "run" / "walker").glob("*.npz"))
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read; remove it and run again"):
        run_rolling(PLAN, [Walker()], tmp_path / "run", FEW)
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"run\.json cannot be read"):
        run_rolling(PLAN, [Walker()], tmp_path / "run", FEW)


def tampered(plan: Plan, factor: float) -> Plan:
    """The same origins, with everything after the last known candle of the last origins changed."""
    changed = []
    for number, one in enumerate(plan.instruments):
        last = int(plan.known[plan.series == number].max())
        frame = one.candles.frame.copy()
        frame.iloc[last:, :4] *= factor
        changed.append(Instrument(one.name, one.market, Candles.from_frame(frame, interval="1h")))
    return replace(plan, instruments=tuple(changed))


def test_the_future_changes_no_forecast(tmp_path):
    predictor = KronosPredictor(random_model(3), random_tokenizer(3), device="cpu", max_context=64)
    plan = make_plan(instruments(2, 200), WalkForward(horizon=6, stride=50))
    everybody = [
        ModelForecaster(predictor, "model"),
        BaselineForecaster(BaselineSpec("walk", "", historical_volatility)),
    ]
    before = run_rolling(plan, everybody, tmp_path / "a", FEW)
    after = run_rolling(tampered(plan, 1.5), everybody, tmp_path / "b", FEW)
    for name in before:
        np.testing.assert_array_equal(before[name].returns, after[name].returns)
        np.testing.assert_array_equal(before[name].level_error, after[name].level_error)
    assert (before["model"].level_error != 0).any()
    assert (before["walk"].level_error == 0).all()


def test_every_origin_of_a_baseline_draws_for_itself(tmp_path):
    found = run_rolling(
        PLAN,
        [BaselineForecaster(BaselineSpec("walk", "", historical_volatility))],
        tmp_path / "run",
        RollingSettings(samples=2),
    )
    steps = np.diff(found["walk"].returns, axis=2, prepend=0).reshape(len(PLAN), -1)
    scaled = steps / steps.std(axis=1, keepdims=True)
    assert abs(np.corrcoef(scaled)[np.triu_indices(len(PLAN), 1)]).mean() < 0.2


def test_who_forecasts_is_written_down(tmp_path):
    predictor = KronosPredictor(random_model(3), random_tokenizer(3), device="cpu", max_context=64)
    plan = make_plan(instruments(1, 100), WalkForward(horizon=6))
    run_rolling(plan, [ModelForecaster(predictor, "model", sampling="conservative")], tmp_path / "run", FEW)
    identity = json.loads((tmp_path / "run" / "model" / "forecaster.json").read_text())
    assert identity["sampling"] == {"temperature": 0.6, "top_k": 0, "top_p": 0.9}


def test_an_origin_without_a_forecast_is_unknown(tmp_path):
    def picky(candles, horizon, **options):
        if len(candles) < 200:
            raise DataError("too short")
        return historical_volatility(candles, horizon, **options)

    found = run_rolling(PLAN, [BaselineForecaster(BaselineSpec("picky", "", picky))], tmp_path / "run", FEW)
    unknown = np.isnan(found["picky"].returns).all(axis=(1, 2))
    np.testing.assert_array_equal(unknown, PLAN.known < 200)


def test_fitted_parameters_are_kept_for_a_while_and_come_from_the_past(tmp_path):
    fitted = []
    garch = BASELINES["garch-t"]

    def fit(history):
        fitted.append(history.end)
        return garch.fit(history)

    plan = make_plan(instruments(2, 400), WalkForward(horizon=24))
    one = BaselineForecaster(replace(garch, fit=fit), refit=5)
    found = run_rolling(plan, [one], tmp_path / "a", FEW)
    per_series = [int((plan.series == number).sum()) for number in range(2)]
    assert len(fitted) == sum(-(-count // 5) for count in per_series)
    assert np.isfinite(found["garch-t"].returns).all()
    after = run_rolling(tampered(plan, 1.5), [BaselineForecaster(garch, refit=5)], tmp_path / "b", FEW)
    np.testing.assert_array_equal(found["garch-t"].returns, after["garch-t"].returns)

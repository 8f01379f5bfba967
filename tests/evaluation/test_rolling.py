"""Rolling-origin forecasts: complete, stored, resumable, causal, and independent of the number of workers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from evaluation.random_walks import GaussianForecaster, KilledForecaster, instruments
from kronos.baselines import BASELINES, BaselineSpec, historical_volatility, last_value
from kronos.candles import Candles
from kronos.engines import LocalEngine
from kronos.errors import DataError, DeviceError, ParameterError
from kronos.evaluation.forecasters import BaselineForecaster, ModelForecaster
from kronos.evaluation.origins import Instrument, Plan, RollingOrigins, make_plan
from kronos.evaluation.rolling import SHARD, RollingSettings, run_rolling, shard_ranges
from kronos.inference import KronosPredictor
from networks import random_model, random_tokenizer

PLAN = make_plan(instruments(8), RollingOrigins(horizon=24))
FEW = RollingSettings(samples=5)


def baseline(name, function):
    return BaselineForecaster(BaselineSpec(name, "", function))


def test_every_forecaster_forecasts_at_every_origin(tmp_path):
    assert len(PLAN) > SHARD
    calls = []
    forecasters = [GaussianForecaster(), baseline("last value", last_value)]
    paths = run_rolling(PLAN, forecasters, tmp_path / "run", FEW, progress=lambda *call: calls.append(call))
    assert set(paths) == {"gaussian", "last value"}
    for own in paths.values():
        assert own.returns.shape == (len(PLAN), 5, 24)
        assert np.isfinite(own.returns).all()
    assert (paths["last value"].returns == 0).all()
    assert calls[-1] == (2 * len(PLAN), 2 * len(PLAN))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_a_killed_run_resumes(tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        run_rolling(PLAN, [GaussianForecaster(fails_after=1)], tmp_path / "run", FEW)
    again = GaussianForecaster()
    resumed = run_rolling(PLAN, [again], tmp_path / "run", FEW)
    assert again.calls == len(shard_ranges(len(PLAN))) - 1
    undisturbed = run_rolling(PLAN, [GaussianForecaster()], tmp_path / "other", FEW)
    np.testing.assert_array_equal(resumed["gaussian"].returns, undisturbed["gaussian"].returns)


def test_a_folder_belongs_to_one_run(tmp_path):
    def run(plan=PLAN, forecaster=None, folder="run", settings=FEW):
        run_rolling(plan, [forecaster or GaussianForecaster()], tmp_path / folder, settings)

    run()
    with pytest.raises(ParameterError, match="another samples"):
        run(settings=RollingSettings(samples=6))
    with pytest.raises(ParameterError, match="another plan"):
        run(make_plan(instruments(8), RollingOrigins(horizon=24, stride=23)))
    with pytest.raises(ParameterError, match="different gaussian"):
        run(forecaster=GaussianForecaster(width=2.0))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"x")
    with pytest.raises(ParameterError, match="photos is not empty"):
        run(folder="photos")
    with pytest.raises(ParameterError, match="different names"):
        run_rolling(PLAN, [GaussianForecaster("a b"), GaussianForecaster("a/b")], tmp_path / "twice", FEW)


def test_damaged_files_are_reported(tmp_path):
    run_rolling(PLAN, [GaussianForecaster()], tmp_path / "run", FEW)
    shard = next((tmp_path / "run" / "gaussian").glob("*.npz"))
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(DataError, match=rf"{shard.name} cannot be read"):
        run_rolling(PLAN, [GaussianForecaster()], tmp_path / "run", FEW)
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"run\.json cannot be read"):
        run_rolling(PLAN, [GaussianForecaster()], tmp_path / "run", FEW)


def with_other_future(plan: Plan, factor: float) -> Plan:
    """The same origins, with all candles after the last origin of each series changed."""
    changed = []
    for number, instrument in enumerate(plan.instruments):
        last = int(plan.known[plan.series == number].max())
        frame = instrument.candles.frame.copy()
        frame.iloc[last:, :4] *= factor
        changed.append(Instrument(instrument.name, instrument.market, Candles.from_frame(frame, interval="1h")))
    return replace(plan, instruments=tuple(changed))


@pytest.fixture(scope="module")
def tiny():
    return KronosPredictor(random_model(3), random_tokenizer(3), device="cpu", max_context=64)


def test_forecasts_do_not_depend_on_the_future(tmp_path, tiny):
    plan = make_plan(instruments(2, 200), RollingOrigins(horizon=6, stride=50))
    forecasters = [ModelForecaster(tiny, "model"), baseline("walk", historical_volatility)]
    before = run_rolling(plan, forecasters, tmp_path / "a", FEW)
    after = run_rolling(with_other_future(plan, 1.5), forecasters, tmp_path / "b", FEW)
    for name in before:
        np.testing.assert_array_equal(before[name].returns, after[name].returns)
        np.testing.assert_array_equal(before[name].level_error, after[name].level_error)
    assert (before["model"].level_error != 0).any()
    assert (before["walk"].level_error == 0).all()


def test_origins_have_independent_random_numbers(tmp_path):
    paths = run_rolling(PLAN, [baseline("walk", historical_volatility)], tmp_path / "run", RollingSettings(samples=2))
    steps = np.diff(paths["walk"].returns, axis=2, prepend=0).reshape(len(PLAN), -1)
    scaled = steps / steps.std(axis=1, keepdims=True)
    assert abs(np.corrcoef(scaled)[np.triu_indices(len(PLAN), 1)]).mean() < 0.2


def test_the_identity_of_a_model_is_stored(tmp_path, tiny):
    plan = make_plan(instruments(1, 100), RollingOrigins(horizon=6))
    run_rolling(plan, [ModelForecaster(tiny, "model", sampling="conservative")], tmp_path / "run", FEW)
    identity = json.loads((tmp_path / "run" / "model" / "forecaster.json").read_text())
    assert identity["sampling"] == {"temperature": 0.6, "top_k": 0, "top_p": 0.9}


def test_origins_without_a_forecast_are_nan(tmp_path):
    def needs_200_candles(candles, horizon, **options):
        if len(candles) < 200:
            raise DataError("too short")
        return historical_volatility(candles, horizon, **options)

    paths = run_rolling(PLAN, [baseline("late", needs_200_candles)], tmp_path / "run", FEW)
    unknown = np.isnan(paths["late"].returns).all(axis=(1, 2))
    np.testing.assert_array_equal(unknown, PLAN.known < 200)


def test_fitted_parameters_are_reused_and_come_from_the_past(tmp_path):
    fitted = []
    garch = BASELINES["garch-t"]

    def fit(history):
        fitted.append(history.end)
        return garch.fit(history)

    plan = make_plan(instruments(2, 400), RollingOrigins(horizon=24))
    before = run_rolling(plan, [BaselineForecaster(replace(garch, fit=fit), refit=5)], tmp_path / "a", FEW)
    per_series = [int((plan.series == number).sum()) for number in range(2)]
    assert len(fitted) == sum(-(-count // 5) for count in per_series)
    assert np.isfinite(before["garch-t"].returns).all()
    after = run_rolling(with_other_future(plan, 1.5), [BaselineForecaster(garch, refit=5)], tmp_path / "b", FEW)
    np.testing.assert_array_equal(before["garch-t"].returns, after["garch-t"].returns)


# Worker processes ----------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_give_the_same_paths_as_one(tmp_path):
    plan = make_plan(instruments(3, 1200), RollingOrigins(horizon=24))
    forecasters = [GaussianForecaster(), BaselineForecaster(BASELINES["ewma-volatility"])]
    calls = []
    alone = run_rolling(plan, forecasters, tmp_path / "alone", FEW)
    shared = run_rolling(
        plan, forecasters, tmp_path / "shared", FEW, engine=LocalEngine(2), progress=lambda *call: calls.append(call)
    )
    for name, own in alone.items():
        np.testing.assert_array_equal(shared[name].returns, own.returns)
    assert calls[-1] == (2 * len(plan), 2 * len(plan))


@pytest.mark.slow
def test_errors_of_worker_processes_are_raised(tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        run_rolling(PLAN, [GaussianForecaster(fails_after=0)], tmp_path / "run", FEW, engine=LocalEngine(2))
    with pytest.raises(DeviceError, match="fewer workers"):
        run_rolling(
            PLAN, [KilledForecaster("a"), KilledForecaster("b")], tmp_path / "killed", FEW, engine=LocalEngine(2)
        )

"""The argument `calibration` of forecasts: recorded, consistent with evaluations, blind to the future; errors."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.markets import trials
from evaluation.random_walks import candles as walk
from kronos import Candles, KronosPredictor, SamplingParams
from kronos.baselines import BASELINES
from kronos.baselines.base import WINDOW
from kronos.calibration import BASELINE_PATHS, Calibration, Curve, calibrate_forecast, fit
from kronos.errors import DataError, ParameterError
from kronos.evaluation import (
    Correction,
    Instrument,
    ModelForecaster,
    RollingOrigins,
    RollingSettings,
    evaluate,
    identity_of,
    make_plan,
)
from kronos.forecasts import Forecast, repair_candles
from kronos.rng import derive_seed
from networks import random_model, random_tokenizer

HORIZON = 8
BASELINE = "historical-volatility"
OPTIONS = {"samples": 20, "seed": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A forecasting folder with random weights."""
    root = tmp_path_factory.mktemp("models") / "random-small"
    random_model(3).save_pretrained(root / "model", context=64, tokenizer="../tokenizer")
    random_tokenizer(3).save_pretrained(root / "tokenizer")
    return root


@pytest.fixture(scope="module")
def predictor(folder: Path) -> KronosPredictor:
    return KronosPredictor.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def calibration(predictor: KronosPredictor) -> Calibration:
    """All parts, for two markets whose bands were wrong in different ways."""
    past = trials(
        origins=120,
        horizon=HORIZON,
        groups=("crypto 1h", "fx 1h"),
        spread=(0.5, 0.8),
        level=0.5,
        drift=0.2,
        signal=0.5,
        heard=0.5,
        start="2021-01-01",
    )
    identity = identity_of(ModelForecaster(predictor, "random-small"))
    return fit(replace(past, identity=identity, baseline_name=BASELINE))


@pytest.fixture
def own(folder: Path, calibration: Calibration):
    """A calibration next to the model's weights, for one test."""
    path = calibration.save(folder / "model" / "calibration.json")
    yield path
    path.unlink()


@pytest.fixture
def history() -> Candles:
    return walk(5, rows=400)


def same(a: Forecast, b: Forecast) -> bool:
    return bool((a.paths == b.paths).all()) and a.metadata.calibrated == b.metadata.calibrated and a.notes == b.notes


def test_a_shipped_calibration_is_the_default(predictor, history, own):
    given = {history.symbol: history}
    default = predictor.forecast(history, HORIZON, **OPTIONS)
    assert default.metadata.state == "calibrated"
    assert same(default, predictor.forecast(history, HORIZON, **OPTIONS, calibration=True))
    assert same(default, predictor.forecast_many(given, HORIZON, **OPTIONS)[history.symbol])
    cold = SamplingParams(temperature=0.5)
    for forecast in (
        predictor.forecast(history, HORIZON, **OPTIONS, sampling=cold),
        predictor.forecast_many(given, HORIZON, **OPTIONS, sampling=cold)[history.symbol],
    ):
        assert forecast.metadata.state == "raw"
        assert any(note.startswith("Raw: ") and "sampling differs" in note for note in forecast.notes)
    asked = predictor.forecast(history, HORIZON, **OPTIONS, sampling=cold, calibration=False)
    assert not any(note.startswith("Raw: ") for note in asked.notes)
    assert predictor.calibration_for(None, cold) is None


def test_without_calibration_paths_are_raw(predictor, history, calibration):
    raw = predictor.forecast(history, HORIZON, **OPTIONS)
    for off in (None, False):  # none ships with the model
        one = predictor.forecast(history, HORIZON, **OPTIONS, calibration=off, market="crypto")
        many = predictor.forecast_many({history.symbol: history}, HORIZON, **OPTIONS, calibration=off)
        assert same(one, raw)
        assert same(many[history.symbol], raw)
    assert not any(note.startswith("Raw: ") for note in raw.notes)
    assert not raw.metadata.calibrated
    assert "calibration" not in raw.metadata.details
    other = predictor.forecast(history, HORIZON, **OPTIONS, calibration=replace(calibration, parts=(), curves={}))
    assert same(other, raw)


def test_forms_of_the_argument_give_the_same_forecast(predictor, history, own, calibration):
    raw = predictor.forecast(history, HORIZON, **OPTIONS, calibration=False)
    found = [
        predictor.forecast(history, HORIZON, **OPTIONS, calibration=choice)
        for choice in (True, own, str(own), calibration)
    ]
    assert all(same(one, found[0]) for one in found)
    assert found[0].metadata.calibrated
    assert (found[0].paths[..., 3] != raw.paths[..., 3]).any()
    assert repair_candles(found[0].paths)[1] == 0
    assert predictor.calibration_for(True) == calibration
    assert predictor.calibration_for(None) == calibration
    assert predictor.calibration_for(False) is None


def test_calibration_is_recorded_in_the_forecast(predictor, history, calibration, tmp_path):
    forecast = predictor.forecast(history, HORIZON, **OPTIONS, calibration=calibration)
    loaded = Forecast.load(forecast.save(tmp_path / "one.npz"))
    for one in (forecast, loaded):
        details = one.metadata.details["calibration"]
        assert details["parts"] == list(calibration.parts)
        assert details["fitted_on"]["sha256"] == calibration.fitted_on["sha256"]
        name, weights = one.metadata.pooled
        assert (name, len(weights)) == (BASELINE, HORIZON)
        assert weights == pytest.approx(calibration.curves["pooling"].at(range(1, HORIZON + 1), "crypto 1h"), abs=1e-6)
        assert any(note.startswith("Pooled with") and "weight" in note for note in one.notes)
    json.dumps(forecast.to_dict())


def test_zero_pooling_weight_gives_the_baseline_of_an_evaluation(predictor, history, calibration):
    curves = {"pooling": Curve((1,), (0.0,))}
    nothing = replace(calibration, parts=("pooling",), curves=curves)
    forecast = predictor.forecast(history, HORIZON, **OPTIONS, calibration=nothing)
    seed = derive_seed(OPTIONS["seed"], history.symbol)
    drawn = BASELINES[BASELINE](history.tail(WINDOW), HORIZON, samples=BASELINE_PATHS, seed=seed)
    levels = np.arange(1, 21) / 21
    expected = np.quantile(drawn.returns(cumulative=True), levels, axis=0, method="weibull")
    np.testing.assert_allclose(np.sort(forecast.returns(cumulative=True), axis=0), expected, atol=1e-12)
    assert any("adds nothing" in note for note in forecast.notes)


def test_forecasts_and_evaluations_agree(predictor, calibration, tmp_path):
    instrument = Instrument("walk", "crypto", walk(1, rows=400))
    plan = make_plan([instrument], RollingOrigins(HORIZON, least_history=350))
    forecaster = ModelForecaster(predictor, "random-small")
    correction = Correction("corrected", "random-small", calibration)
    rolling = RollingSettings(OPTIONS["samples"], OPTIONS["seed"])
    paths = evaluate(plan, [forecaster], tmp_path, rolling, baselines=[], corrections=[correction]).paths["corrected"]
    for origin in range(len(plan)):
        name = plan.name(origin)
        found = predictor.forecast_many(
            {name: plan.history(origin)},
            HORIZON,
            **OPTIONS,
            timestamps={name: plan.times(origin)},
            calibration=calibration,
            market="crypto",
        )
        np.testing.assert_allclose(found[name].returns(cumulative=True), paths.returns[origin], atol=1e-6)


def test_other_series_change_nothing(predictor, calibration):
    series = {"a": walk(1, rows=200), "b": walk(2, rows=90), "c": walk(3, rows=300)}
    many = predictor.forecast_many(series, HORIZON, **OPTIONS, calibration=calibration)
    for name, candles in series.items():
        alone = predictor.forecast(replace(candles, symbol=name), HORIZON, **OPTIONS, calibration=calibration)
        np.testing.assert_allclose(many[name].paths, alone.paths, rtol=1e-5)


def test_future_candles_change_nothing(predictor, calibration):
    table = walk(7, rows=400).frame
    origin = table.index[299]
    changed = table.copy()
    changed.loc[changed.index > origin] *= 5
    forecasts = [
        predictor.forecast(
            Candles.from_frame(frame, symbol="X", interval="1h").until(origin),
            HORIZON,
            **OPTIONS,
            calibration=calibration,
        )
        for frame in (table, changed)
    ]
    assert same(*forecasts)
    assert forecasts[0].start == origin
    assert not any("look-ahead" in note.lower() for note in forecasts[0].notes)  # all outcomes of the fit were known
    for late, words in (
        ({"known": "2099-01-01", "known_by_group": {"crypto 1h": "2099-01-01"}}, "Look-ahead"),
        ({"known": "2099-01-01"}, "Partial look-ahead"),  # only outcomes of the other group
    ):
        later = replace(calibration, fitted_on={**calibration.fitted_on, **late})
        forecast = predictor.forecast(walk(7, rows=400), HORIZON, **OPTIONS, calibration=later)
        assert any(note.startswith(words) for note in forecast.notes)


def test_market_selects_the_factors(predictor, history, calibration):
    def group(**options):
        forecast = predictor.forecast(history, HORIZON, **OPTIONS, calibration=calibration, **options)
        return forecast.metadata.details["calibration"]["group"], " ".join(forecast.notes)

    assert group()[0] == "crypto 1h"
    assert "inferred" in group()[1]
    assert group(market="fx")[0] == "fx 1h"
    assert "inferred" not in group(market="fx")[1]
    unknown, notes = group(market="bonds")
    assert unknown is None
    assert "'bonds 1h'" in notes
    times = pd.date_range(history.end, periods=HORIZON + 1, freq="h")[1:]
    assert group(timestamps=times)[0] == "crypto 1h"


def test_market_is_inferred_from_the_candles_not_from_the_metadata(predictor, calibration):
    days = pd.bdate_range("2024-01-02", periods=300, name="timestamps")
    daily = Candles.from_frame(walk(5, rows=300).frame.set_axis(days), symbol="X", interval="1d", calendar="XNYS")
    raw = predictor.forecast(daily, HORIZON, **OPTIONS)
    silent = replace(raw, metadata=replace(raw.metadata, calendar="24/7", calendar_basis="calendar"))
    assert any("'us_equity 1d'" in note for note in calibrate_forecast(silent, calibration).notes)


def test_unknown_market_gets_the_factors_of_all(predictor, history, calibration):
    short = history.tail(20)
    forecast = predictor.forecast(short, HORIZON, **OPTIONS, calibration=calibration)
    assert forecast.metadata.details["calibration"]["group"] is None
    assert any("market" in note for note in forecast.notes)
    alone = replace(calibration, fitted_on={**calibration.fitted_on, "groups": {"all": 240}})
    quiet = predictor.forecast(short, HORIZON, **OPTIONS, calibration=alone)
    assert (quiet.paths == forecast.paths).all()
    assert not any("market" in note for note in quiet.notes)


def test_markets_by_name_or_for_all_series(predictor, history, calibration):
    series = {"a": history, "b": history}
    options = {**OPTIONS, "calibration": calibration}
    mixed = predictor.forecast_many(series, HORIZON, **options, market={"b": "fx"})
    groups = [one.metadata.details["calibration"]["group"] for one in mixed.values()]
    assert groups == ["crypto 1h", "fx 1h"]
    alike = predictor.forecast_many(series, HORIZON, **options, market="fx")
    assert {one.metadata.details["calibration"]["group"] for one in alike.values()} == {"fx 1h"}
    with pytest.raises(ParameterError, match="market names 'c'"):
        predictor.forecast_many(series, HORIZON, **options, market={"c": "fx"})


@settings(max_examples=15)
@given(st.text(max_size=30))
def test_any_text_is_accepted_as_market(predictor, calibration, market):
    forecast = predictor.forecast(walk(5, rows=60), 2, samples=2, seed=1, calibration=calibration, market=market)
    assert forecast.metadata.calibrated


def test_history_too_short_for_the_baseline_is_not_pooled(predictor, history, calibration):
    forecast = predictor.forecast(history.tail(2), HORIZON, **OPTIONS, calibration=calibration)
    assert forecast.metadata.details["calibration"]["parts"] == ["anchor", "drift", "dispersion"]
    assert forecast.metadata.pooled is None
    assert any(note.startswith(f"Calibrated without pooling and conformal: {BASELINE}") for note in forecast.notes)


def test_single_path(predictor, history, calibration):
    forecast = predictor.forecast(history, HORIZON, samples=1, seed=3, calibration=calibration)
    assert np.isfinite(forecast.paths).all()
    assert repair_candles(forecast.paths)[1] == 0


class NoProgress:
    """A progress callback that must not be called."""

    def __call__(self, done: int, total: int) -> None:
        raise AssertionError("decoded before the calibration was checked")


def error_of(predictor: KronosPredictor, history: Candles, choice: object, **options) -> str:
    with pytest.raises((ParameterError, DataError)) as caught:
        predictor.forecast(history, HORIZON, calibration=choice, progress=NoProgress(), **OPTIONS, **options)
    return str(caught.value)


def test_model_without_calibration(predictor, history):
    message = error_of(predictor, history, True)
    assert "random-small" in message
    assert "'kronos calibrate'" in message
    assert "calibration.json" in message


def test_calibration_of_other_weights_is_rejected(folder, history, own, calibration):
    fresh = KronosPredictor(random_model(3), random_tokenizer(3), device="cpu", max_context=64)
    assert "never saved" in error_of(fresh, history, True)
    assert "models differ" in error_of(fresh, history, calibration)
    trained = KronosPredictor.from_pretrained(folder, device="cpu")
    with torch.no_grad():
        next(trained.model.parameters()).mul_(1.01)
    assert "has changed" in error_of(trained, history, True)
    assert "models differ" in error_of(trained, history, calibration)
    coded = KronosPredictor.from_pretrained(folder, device="cpu")
    with torch.no_grad():
        next(coded.tokenizer.parameters()).mul_(1.01)
    assert "tokenizers differ" in error_of(coded, history, True)


def test_calibration_of_other_sampling_is_rejected(predictor, history, calibration):
    for sampling in ("conservative", SamplingParams(top_p=0.9)):
        assert "sampling differs" in error_of(predictor, history, calibration, sampling=sampling)
        with pytest.raises(ParameterError, match="sampling differs"):
            predictor.calibration_for(calibration, sampling)
    assert predictor.forecast(history, HORIZON, samples=50, calibration=calibration).metadata.calibrated


def test_invalid_calibrations_are_rejected(predictor, history, calibration, tmp_path):
    assert "does not exist" in error_of(predictor, history, tmp_path / "none.json")
    path = tmp_path / "other.json"
    path.write_text("{}")
    assert "other.json" in error_of(predictor, history, str(path))
    assert "of type int" in error_of(predictor, history, 1)
    own_baseline = replace(calibration, baseline="my-own")
    with pytest.raises(ParameterError, match=r"'my-own'.*Calibration\.apply"):
        predictor.forecast(history, HORIZON, **OPTIONS, calibration=own_baseline)


def test_model_in_the_current_folder_is_named_after_it(folder, history, own, monkeypatch):
    monkeypatch.chdir(folder)
    here = KronosPredictor.from_pretrained(".", device="cpu")
    assert here.forecast(history, 2, samples=2, seed=1, calibration=True).metadata.model == "random-small"


def test_bundled_model_keeps_its_name(history):
    nano = KronosPredictor.from_pretrained(device="cpu")
    past = replace(trials(origins=60, horizon=4, spread=0.5), baseline_name=BASELINE)
    fitted = fit(replace(past, identity=identity_of(ModelForecaster(nano, "nano"))), ["dispersion", "pooling"])
    forecast = nano.forecast(history, 4, samples=10, seed=1, calibration=fitted)
    assert forecast.metadata.model == "kronos-nano"
    assert forecast.metadata.calibrated

"""The argument `adapt` of forecasts: earlier origins of the same history, and what their outcomes change."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.markets import trials
from evaluation.random_walks import candles as walk
from kronos import KronosPredictor
from kronos.calibration import AdaptiveConformal, calibrate_forecast, fit
from kronos.errors import DataError, ParameterError
from kronos.evaluation import ModelForecaster, identity_of
from kronos.forecasts import repair_candles
from networks import random_model, random_tokenizer

HORIZON, ORIGINS = 4, 50
OPTIONS = {"samples": 20, "seed": 3}
CONTEXT = 64
LEAST = CONTEXT - HORIZON  # candles before the earliest origin


@pytest.fixture(scope="module")
def predictor(tmp_path_factory) -> KronosPredictor:
    root = tmp_path_factory.mktemp("models") / "random-small"
    random_model(3).save_pretrained(root / "model", context=CONTEXT, tokenizer="../tokenizer")
    random_tokenizer(3).save_pretrained(root / "tokenizer")
    return KronosPredictor.from_pretrained(root, device="cpu")


@pytest.fixture(scope="module")
def history():
    return walk(5, rows=200)


def adapted_by_hand(predictor, history, stride, correct=lambda forecast: forecast):
    """Forecast separately from what was known at each origin, and update a state with what followed."""
    closes = history.frame["close"].to_numpy()
    state = AdaptiveConformal(HORIZON)
    for i in reversed(range(ORIGINS)):
        known = len(history) - HORIZON - stride * i
        past = history.head(known)
        name = f"{history.symbol}@{past.end.isoformat()}"
        times = history.index[known : known + HORIZON]
        forecast = predictor.forecast_many(
            {name: past}, HORIZON, timestamps={name: times}, calibration=False, **OPTIONS
        )
        outcome = np.log(closes[known : known + HORIZON] / closes[known - 1])
        state = state.update(correct(forecast[name]).returns(cumulative=True), outcome)
    raw = predictor.forecast(history, HORIZON, calibration=False, **OPTIONS)
    return state.apply(correct(raw))


@pytest.mark.slow
def test_the_outcomes_are_those_of_forecasts_that_knew_nothing_later(predictor, history):
    found = predictor.forecast(history, HORIZON, adapt=ORIGINS, **OPTIONS)
    stride = (len(history) - LEAST - HORIZON) // (ORIGINS - 1)
    np.testing.assert_allclose(found.paths, adapted_by_hand(predictor, history, stride).paths, rtol=1e-5)
    details = found.metadata.details["adaptive"]
    first = len(history) - HORIZON - stride * (ORIGINS - 1)
    assert details["outcomes"] == ORIGINS
    assert details["origins"] == {
        "count": ORIGINS,
        "stride": stride,
        "first": str(history.index[first - 1]),
        "last": str(history.index[-HORIZON - 1]),
    }


def test_paths_keep_their_ranks_and_stay_valid(predictor, history):
    raw = predictor.forecast(history, HORIZON, **OPTIONS)
    found = predictor.forecast(history, HORIZON, adapt=ORIGINS, **OPTIONS)
    assert (found.paths != raw.paths).any()
    assert repair_candles(found.paths)[1] == 0
    order = np.argsort(raw.channel("close"), axis=0)
    assert (np.diff(np.take_along_axis(found.channel("close"), order, axis=0), axis=0) >= 0).all()
    assert (raw.metadata.state, found.metadata.state) == ("raw", "calibrated")
    assert "adaptive" not in raw.metadata.details
    ratio = found.metadata.details["adaptive"]["width_ratio"]
    [note] = [note for note in found.notes if "adaptive conformal inference" in note]
    assert note.startswith(f"Bands corrected by adaptive conformal inference from {ORIGINS} outcomes per step: ")
    assert f"the 80 % band is {100 * abs(ratio - 1):.1f} % {'wider' if ratio > 1 else 'narrower'} than before" in note
    low, high = (np.log(own.range(0.8)).to_numpy() for own in (raw, found))
    assert np.diff(high).mean() / np.diff(low).mean() == pytest.approx(ratio, rel=1e-4)


@pytest.mark.slow
def test_earlier_forecasts_are_calibrated_too(predictor, history):
    identity = identity_of(ModelForecaster(predictor, "random-small"))
    past = trials(origins=60, horizon=HORIZON, spread=0.5)
    calibration = fit(replace(past, identity=identity), ["dispersion"])
    found = predictor.forecast(history, HORIZON, adapt=ORIGINS, calibration=calibration, **OPTIONS)
    stride = found.metadata.details["adaptive"]["origins"]["stride"]
    by_hand = adapted_by_hand(predictor, history, stride, lambda own: calibrate_forecast(own, calibration))
    np.testing.assert_allclose(found.paths, by_hand.paths, rtol=1e-5)
    assert {"calibration", "adaptive"} <= found.metadata.details.keys()


@pytest.mark.slow
def test_each_series_adapts_to_its_own_history(predictor, history):
    other = walk(6, rows=150)
    many = predictor.forecast_many([history, other], HORIZON, adapt=ORIGINS, **OPTIONS)
    assert list(many) == [history.symbol, other.symbol]
    for own in (history, other):
        one = predictor.forecast(own, HORIZON, adapt=ORIGINS, **OPTIONS)
        np.testing.assert_allclose(many[own.symbol].paths, one.paths, rtol=1e-5)


@pytest.mark.slow
def test_a_short_history_is_refused_with_what_is_needed(predictor, history):
    needed = LEAST + ORIGINS - 1 + HORIZON
    enough = history.head(needed)
    origins = predictor.forecast(enough, HORIZON, adapt=ORIGINS, **OPTIONS).metadata.details["adaptive"]["origins"]
    assert origins["stride"] == 1
    with pytest.raises(
        DataError, match=f"walk-5 has {needed - 1} candles: .* at least {needed} are needed; give a longer"
    ):
        predictor.forecast(history.head(needed - 1), HORIZON, adapt=ORIGINS, **OPTIONS)
    with pytest.raises(DataError, match="choose adapt up to 137"):
        predictor.forecast(history, HORIZON, adapt=500, **OPTIONS)
    short = walk(6, rows=100)
    many = predictor.forecast_many([history, short], HORIZON, adapt=ORIGINS, strict=False, **OPTIONS)
    assert list(many) == [history.symbol]
    assert "walk-6 has 100 candles" in many.skipped["walk-6"]
    with pytest.raises(DataError, match="walk-6"):
        predictor.forecast_many([short], HORIZON, adapt=ORIGINS, strict=False, **OPTIONS)


@pytest.mark.parametrize("adapt", [0, 49, -1, 60.5, True])
def test_too_few_origins_are_refused(predictor, history, adapt):
    with pytest.raises(ParameterError, match=r"Invalid adapt .*: choose at least 50 earlier origins"):
        predictor.forecast(history, HORIZON, adapt=adapt, **OPTIONS)

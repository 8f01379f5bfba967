import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.markets import make
from kronos.baselines import BASELINES, BaselineSpec, drift, historical_volatility, last_value
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import repair_candles

BANDS = [name for name, entry in BASELINES.items() if not entry.point]


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_continues_the_candles(name):
    past = make()
    forecast = BASELINES[name](past, 12, samples=30, seed=4)
    assert (forecast.samples, forecast.horizon) == (30, 12)
    assert forecast.timestamps[0] == past.end + pd.Timedelta(hours=1)
    assert (forecast.metadata.model, forecast.metadata.kind, forecast.mended) == (name, "baseline", 0.0)
    assert forecast.metadata.details["seed"] == 4
    assert repair_candles(forecast.paths)[1] == 0.0


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_ignore_rows_after_the_origin(name):
    whole = make()
    other = whole.frame.copy()
    other.iloc[150:] *= 7
    origin = whole.frame.index[149]
    seen = BASELINES[name](whole.until(origin), 10, samples=5)
    perturbed = Candles.from_frame(other, symbol="WALK", interval="1h").until(origin)
    again = BASELINES[name](perturbed, 10, samples=5)
    assert np.array_equal(seen.paths, again.paths)
    assert seen.metadata == again.metadata


@pytest.mark.parametrize("name", BASELINES)
def test_given_timestamps_are_used(name):
    times = pd.date_range("2030-01-01", periods=4, freq="1D", tz="UTC")
    forecast = BASELINES[name](make(), 4, samples=2, timestamps=times)
    assert forecast.timestamps.tolist() == times.tolist()
    assert forecast.metadata.calendar_basis == "given"


def test_last_value_repeats_the_last_close():
    past = make()
    result = last_value(past, 5, samples=3)
    assert (result.paths[..., :4] == past.frame["close"].iloc[-1]).all()
    assert (result.paths[..., 4] == past.frame["volume"].iloc[-1]).all()
    assert any("point forecast" in note for note in result.notes)


def test_drift_continues_the_mean_log_return():
    closes = pd.Series([100.0, 130.0, 121.0])  # the mean log return is log(1.21) / 2
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), closes))
    frame.index = pd.date_range("2024-01-01", periods=3, freq="1D")
    forecast = drift(Candles.from_frame(frame, interval="1d"), 3, samples=2)
    assert forecast.channel("close")[0] == pytest.approx(121 * 1.1 ** np.arange(1, 4))
    assert forecast.channel("open")[0] == pytest.approx(121 * 1.1 ** np.arange(3))


@pytest.mark.parametrize("name", BASELINES)
@settings(max_examples=10, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32))
def test_first_paths_and_steps_do_not_depend_on_their_number(name, few, more, short, longer, seed):
    past, times = make(80), pd.date_range("2024-01-05", periods=24, freq="1h", tz="UTC")
    small = BASELINES[name](past, short, samples=few, seed=seed, timestamps=times[:short])
    steps = short + longer
    large = BASELINES[name](past, steps, samples=few + more, seed=seed, timestamps=times[:steps])
    assert np.array_equal(large.paths[:few, :short], small.paths)


@pytest.mark.parametrize("name", BANDS)
def test_paths_are_reproducible_by_seed(name):
    past = make()
    first, again, other = (BASELINES[name](past, 5, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.paths, again.paths)
    assert first.metadata == again.metadata
    assert not np.array_equal(first.paths, other.paths)


@pytest.mark.parametrize("name", BANDS)
def test_baselines_ignore_rows_before_the_window(name):
    past = make(700)
    other = past.frame.copy()
    other.iloc[:187] *= 3  # 512 returns need 513 candles
    times = pd.date_range(past.end, periods=7, freq="1h")[1:]
    shifted = Candles.from_frame(other, symbol="WALK", interval="1h")
    seen, again = (BASELINES[name](candles, 6, samples=5, timestamps=times).paths for candles in (past, shifted))
    assert np.array_equal(seen, again)


@pytest.mark.parametrize("name", BASELINES)
def test_details_are_json_and_identify_the_history(name):
    forecast = BASELINES[name](make(), 3, samples=5).metadata
    again = json.loads(json.dumps(forecast.to_dict(), allow_nan=False))
    assert again["details"]["history"]["rows"] == 200


@pytest.mark.parametrize("name", BASELINES)
def test_constant_prices_stay_or_are_refused(name):
    frame = pd.DataFrame({column: [5.0] * 90 for column in ("open", "high", "low", "close")})
    frame.index = pd.date_range("2024-01-01", periods=90, freq="1h", tz="UTC")
    flat = Candles.from_frame(frame, interval="1h")
    if name == "garch-t":
        with pytest.raises(DataError, match="closes are equal"):
            BASELINES[name](flat, 4)
    else:
        assert BASELINES[name](flat, 4).paths[..., :4] == pytest.approx(5.0)


def test_registry_entries_are_complete():
    for name, entry in BASELINES.items():
        assert entry.name == name
        assert entry.description
        assert "\n" not in entry.description
        assert entry.available
    assert [name for name, entry in BASELINES.items() if entry.point] == ["last-value", "drift"]
    assert not BaselineSpec("mine", "needs a missing library", last_value, needs="no_such_library").available
    with pytest.raises(ParameterError, match="takes no parameters"):
        BASELINES["drift"](make(), 3, parameters={})


def test_historical_volatility_is_that_of_the_last_returns_without_drift():
    past = make(200, sigma=0.02)
    forecast = historical_volatility(past, 16, samples=4000, seed=2)
    closes = past.frame["close"].to_numpy()
    sigma = np.diff(np.log(closes[-65:])).std(ddof=1)
    assert forecast.metadata.details["sigma"] == pytest.approx(sigma)
    steps = forecast.returns()
    assert steps.std() == pytest.approx(sigma, rel=0.02)
    total = forecast.returns(cumulative=True)[:, -1]
    assert total.std() == pytest.approx(4 * sigma, rel=0.05)
    assert abs(total.mean()) < 4 * 4 * sigma / np.sqrt(4000)


def test_sampled_candles_resemble_the_history():
    """Ranges, bodies and volumes of sampled candles have about the size they have in the history."""
    past = make(600)
    forecast = historical_volatility(past, 24, samples=400, window=512)

    def shape(candles):
        opens, highs, lows, closes = np.log(candles[..., :4].reshape(-1, 4)).T
        return np.median(highs - lows), np.median(abs(closes - opens)), np.median(candles[..., 4])

    assert shape(forecast.paths) == pytest.approx(shape(past.frame.to_numpy()), rel=0.1)


def test_history_without_volume_gives_none():
    assert (historical_volatility(make(volume=False), 6, samples=9).paths[..., 4:] == 0).all()


def test_short_histories_add_a_note_and_constant_prices_stay():
    forecast = historical_volatility(make(20), 3, samples=25)
    assert any("19 returns" in note for note in forecast.notes)
    frame = pd.DataFrame({name: [5.0] * 9 for name in ("open", "high", "low", "close")})
    frame.index = pd.date_range("2024-01-01", periods=9, freq="1D")
    flat = historical_volatility(Candles.from_frame(frame, interval="1d"), 3, samples=25)
    assert flat.paths[..., :4] == pytest.approx(5.0)


def test_simulated_history_makes_the_forecast_simulated():
    from dataclasses import replace

    assert last_value(replace(make(), simulated=True), 2).simulated


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("wrong", [{"horizon": 0}, {"samples": 0}])
def test_empty_forecasts_are_refused(name, wrong):
    with pytest.raises(ParameterError):
        BASELINES[name](make(), **{"horizon": 3, **wrong})


def test_short_and_implausible_histories_are_refused():
    with pytest.raises(DataError, match="at least 3"):
        historical_volatility(make().head(2), 3)
    with pytest.raises(ParameterError):
        historical_volatility(make(), 3, seed=-1)
    with pytest.raises(ParameterError):
        historical_volatility(make(), 3, window=1)
    frame = make().frame.copy()
    frame.iloc[::2, :4] *= 1e200
    with pytest.raises(DataError, match="change of units"):
        historical_volatility(Candles.from_frame(frame, interval="1h"), 50)
    with pytest.raises(DataError, match="change of units"):
        drift(Candles.from_frame(frame.iloc[[1, 2]], interval="1h"), 50)

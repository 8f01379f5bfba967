"""Moving-average drift and seasonal naive baselines; last value and drift are in test_baselines."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.markets import histories, make, market
from kronos.baselines import BASELINES, historical_volatility, moving_average_drift, seasonal_naive
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import repair_candles


def series(closes, freq="1h"):
    """Candles without wicks or gaps at these closes."""
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), np.asarray(closes, dtype=float)))
    frame.index = pd.date_range("2024-01-01", periods=len(frame), freq=freq, tz="UTC")
    return Candles.from_frame(frame, symbol="SMALL", interval=freq)


def test_drift_is_the_slope_between_the_averages():
    """Means of the last 2 and 4 closes are 104.5 and 103; their centres lie one candle apart."""
    past = series([80, 130, 100, 103, 99, 110])
    details = moving_average_drift(past, 3, fast=2, slow=4).metadata.details
    assert details["drift"] == details["slope"] == pytest.approx(np.log(104.5 / 103.0))
    closes = past.frame["close"].to_numpy()
    assert details["sigma"] == pytest.approx(np.diff(np.log(closes)).std(ddof=1))


@pytest.mark.slow
def test_drift_estimates_the_trend():
    rng = np.random.default_rng(8)
    trend = 0.0007
    found = [
        moving_average_drift(market(trend + rng.normal(0, 0.01, 70)), 1, samples=1).metadata.details["slope"]
        for _ in range(300)
    ]
    # Without a trend the standard deviation of the slope is 2 σ / √(3 slow), which motivates the limit.
    assert np.std(found) == pytest.approx(2 * 0.01 / np.sqrt(3 * 48), rel=0.15)
    assert np.mean(found) == pytest.approx(trend, abs=4 * np.std(found) / np.sqrt(300))


def test_paths_follow_the_drift_with_the_bands_of_a_random_walk():
    past = make(200, sigma=0.02, seed=3)
    forecast = moving_average_drift(past, 16, samples=4000, seed=2)
    details, steps = forecast.metadata.details, forecast.returns()
    assert abs(details["drift"]) > 0
    assert steps.std() == pytest.approx(details["sigma"], rel=0.02)
    total = forecast.returns(cumulative=True)[:, -1]
    assert total.mean() == pytest.approx(16 * details["drift"], abs=4 * 4 * details["sigma"] / np.sqrt(4000))
    assert total.std() == pytest.approx(4 * details["sigma"], rel=0.05)
    driftless = historical_volatility(past, 16, samples=4000, seed=2)
    assert steps - driftless.returns() == pytest.approx(np.full_like(steps, details["drift"]))


@pytest.mark.parametrize("direction", [-1, 1])
def test_spikes_are_not_extrapolated(direction):
    """A jump of 40 % twelve candles ago would continue by 2 % per candle; it is limited to σ / √48."""
    returns = np.random.default_rng(4).normal(0, 0.001, 80)
    returns[-12] = direction * 0.4
    details = moving_average_drift(market(returns), 24).metadata.details
    assert abs(details["slope"]) > 0.015
    assert details["drift"] == pytest.approx(direction * details["sigma"] / np.sqrt(48))
    assert 24 * abs(details["drift"]) < 0.5 * 0.4


def test_rows_outside_the_windows_are_ignored():
    whole = make()
    times = pd.date_range("2025-01-01", periods=10, freq="1h", tz="UTC")
    other = whole.frame.copy()
    other.iloc[150:] *= 7
    other.iloc[: 150 - 65] *= 3
    origin = whole.frame.index[149]
    perturbed = Candles.from_frame(other, symbol="WALK", interval="1h")
    seen, again = (
        moving_average_drift(candles.until(origin), 10, samples=5, timestamps=times) for candles in (whole, perturbed)
    )
    assert np.array_equal(seen.paths, again.paths)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32))
def test_first_paths_and_steps_do_not_depend_on_their_number(few, more, short, longer, seed):
    past, times = make(80), pd.date_range("2024-01-05", periods=24, freq="1h", tz="UTC")
    small = moving_average_drift(past, short, samples=few, seed=seed, timestamps=times[:short])
    steps = short + longer
    large = moving_average_drift(past, steps, samples=few + more, seed=seed, timestamps=times[:steps])
    assert np.array_equal(large.paths[:few, :short], small.paths)


def test_paths_are_reproducible_by_seed():
    first, again, other = (moving_average_drift(make(), 5, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.paths, again.paths)
    assert first.metadata == again.metadata
    assert not np.array_equal(first.paths, other.paths)


def test_metadata_state_the_fallback_and_it_is_not_registered():
    past = make()
    forecast = moving_average_drift(past, 12, samples=30, seed=4)
    assert (forecast.metadata.model, forecast.metadata.kind, forecast.mended) == (
        "moving-average-drift",
        "baseline",
        0.0,
    )
    assert (forecast.samples, forecast.horizon) == (30, 12)
    assert forecast.timestamps[0] == past.end + pd.Timedelta(hours=1)
    assert repair_candles(forecast.paths)[1] == 0.0
    assert "no measured edge" in forecast.metadata.notes[0]
    assert not any("averages are" in note or "returns" in note for note in forecast.metadata.notes)
    details = json.loads(json.dumps(forecast.metadata.to_dict(), allow_nan=False))["details"]
    assert [details[name] for name in ("seed", "fast", "slow", "window")] == [4, 12, 48, 64]
    assert "moving-average-drift" not in BASELINES


def test_short_histories_shorten_the_averages_with_a_note():
    forecast = moving_average_drift(make(20), 3, samples=50)
    assert [forecast.metadata.details[name] for name in ("fast", "slow")] == [5, 20]
    assert any("5 and 20 candles" in note for note in forecast.notes)
    assert any("19 returns" in note for note in forecast.notes)
    least = moving_average_drift(make(3), 3, samples=50)
    assert [least.metadata.details[name] for name in ("fast", "slow")] == [1, 3]
    assert not any("averages are" in note for note in moving_average_drift(make(48), 3, samples=50).notes)


def test_constant_prices_stay():
    flat = moving_average_drift(series([5.0] * 90), 4)
    assert flat.paths[..., :4] == pytest.approx(5.0)
    assert flat.metadata.details["drift"] == 0.0


@pytest.mark.parametrize("level", [1e-8, 1e300])
def test_returns_do_not_depend_on_the_price_level(level):
    plain = make(100)
    frame = plain.frame.copy()
    frame[["open", "high", "low", "close"]] *= level / 100
    moved = Candles.from_frame(frame, symbol="WALK", interval="1h")
    seen, again = (moving_average_drift(candles, 6, samples=4) for candles in (plain, moved))
    assert again.returns() == pytest.approx(seen.returns(), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(past=histories())
def test_odd_histories_give_valid_candles_or_an_error(past):
    times = pd.date_range(past.end, periods=7, freq="1h")[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            forecast = moving_average_drift(past, 6, samples=4, timestamps=times)  # invalid candles are refused
        except DataError as error:
            assert str(error).endswith(".")  # noqa: PT017
            return
    assert forecast.paths.shape == (4, 6, 6)
    assert abs(forecast.metadata.details["drift"]) <= forecast.metadata.details["sigma"] / np.sqrt(
        forecast.metadata.details["slow"]
    )


@pytest.mark.parametrize(
    "wrong",
    [
        *({"horizon": 0}, {"samples": 0}, {"seed": -1}, {"window": 1}),
        *({"fast": 0}, {"fast": 48}, {"fast": 5, "slow": 4}),
    ],
)
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(ParameterError):
        moving_average_drift(make(), **{"horizon": 3, **wrong})


def test_short_and_implausible_histories_are_refused():
    with pytest.raises(DataError, match="at least 3"):
        moving_average_drift(make().head(2), 3)
    frame = make().frame.copy()
    frame.iloc[::2, :4] *= 1e200
    with pytest.raises(DataError, match="change of units"):
        moving_average_drift(Candles.from_frame(frame, interval="1h"), 50)


DAY = 0.01 * np.sin(2 * np.pi * np.arange(24) / 24)


def test_daily_pattern_without_noise_is_repeated():
    returns = np.tile(DAY, 8)
    forecast = seasonal_naive(market(returns), 48, samples=20)
    assert forecast.returns() == pytest.approx(np.tile(DAY, (20, 2)), abs=1e-12)


def test_steps_are_those_of_the_day_before_plus_a_difference():
    rng = np.random.default_rng(3)
    returns = rng.normal(0, 0.01, 24 * 8)
    forecast = seasonal_naive(market(returns), 48, samples=300)
    steps, before = forecast.returns(), returns[-24:]
    differences = (returns[24:] - returns[:-24])[1:]  # the first candle has no return
    drawn = steps[:, :24] - before
    assert np.abs(drawn[..., None] - differences).min(axis=-1).max() < 1e-12
    again = steps[:, 24:] - steps[:, :24]  # the second day goes on from the path's own first
    assert np.abs(again[..., None] - differences).min(axis=-1).max() < 1e-12


def sessions(days=12):
    """Half-hours of a market open from 9:30 to 16:00 on weekdays, whose first candle jumps."""
    times = pd.DatetimeIndex(
        [
            day + pd.Timedelta(hours=9, minutes=30 * (step + 1))
            for day in pd.bdate_range("2024-01-01", periods=days)
            for step in range(13)
        ]
    ).tz_localize("America/New_York")
    returns = np.where(times.hour * 60 + times.minute == 570, 0.02, 0.0) + 1e-4 * np.arange(len(times)) % 2e-4
    closes = 50 * np.exp(np.cumsum(returns))
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), closes), index=times)
    return Candles.from_frame(frame, interval="30m", calendar="XNYS")


def test_nights_and_weekends_are_skipped():
    past = sessions()
    forecast = seasonal_naive(past, 26, samples=50)
    steps = forecast.returns().mean(axis=0)
    opening = np.flatnonzero(forecast.timestamps.strftime("%H:%M") == "09:30")
    assert len(opening) == 2
    assert steps[opening] == pytest.approx([0.02, 0.02], abs=1e-3)
    assert np.abs(np.delete(steps, opening)).max() < 1e-3


def test_timestamps_may_be_in_another_timezone():
    past = sessions()
    forecast = seasonal_naive(past, 13, samples=5)
    other = seasonal_naive(past, 13, samples=5, timestamps=forecast.timestamps.tz_convert("Asia/Tokyo"))
    assert np.array_equal(forecast.paths, other.paths)


def test_steps_have_the_shape_of_candles_of_their_time():
    past = make(24 * 6)
    forecast = seasonal_naive(past, 24, samples=3)
    assert (forecast.channel("volume") == past.frame["volume"].to_numpy()[-24:]).all()


def test_seasonal_naive_refuses_unsuitable_histories():
    daily = make().frame.set_axis(pd.date_range("2020-01-01", periods=200, freq="1D"))
    with pytest.raises(DataError, match="not 1d"):
        seasonal_naive(Candles.from_frame(daily, interval="1d"), 3)
    seven = make().frame.set_axis(pd.date_range("2020-01-01", periods=200, freq="7h"))
    with pytest.raises(DataError, match="divides the day"):
        seasonal_naive(Candles.from_frame(seven, interval="7h"), 3)
    with pytest.raises(DataError, match="longer history"):
        seasonal_naive(make(30), 3)
    with pytest.raises(DataError, match="20:00"):
        seasonal_naive(
            sessions(), 3, timestamps=pd.date_range("2024-01-20 20:00", periods=3, freq="30min", tz="US/Eastern")
        )
    with pytest.raises(ParameterError, match="timezone"):
        seasonal_naive(make(), 3, timestamps=pd.date_range("2024-01-20 20:00", periods=3, freq="1h"))

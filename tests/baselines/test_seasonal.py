import numpy as np
import pandas as pd
import pytest

from baselines.markets import make, market
from kronos.baselines import seasonal_naive
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError

DAY = 0.01 * np.sin(2 * np.pi * np.arange(24) / 24)


def test_a_pattern_without_noise_is_repeated():
    returns = np.tile(DAY, 8)
    made = seasonal_naive(market(returns), 48, samples=20)
    assert made.returns() == pytest.approx(np.tile(DAY, (20, 2)), abs=1e-12)


def test_each_step_is_that_of_a_day_before_plus_a_difference():
    rng = np.random.default_rng(3)
    returns = rng.normal(0, 0.01, 24 * 8)
    made = seasonal_naive(market(returns), 48, samples=300)
    steps, before = made.returns(), returns[-24:]
    differences = (returns[24:] - returns[:-24])[1:]  # the first return is that of no two candles
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


def test_nights_and_weekends_do_no_harm():
    past = sessions()
    made = seasonal_naive(past, 26, samples=50)
    steps = made.returns().mean(axis=0)
    opening = np.flatnonzero(made.timestamps.strftime("%H:%M") == "09:30")
    assert len(opening) == 2
    assert steps[opening] == pytest.approx([0.02, 0.02], abs=1e-3)
    assert np.abs(np.delete(steps, opening)).max() < 1e-3


def test_given_times_in_another_zone_mean_the_same():
    past = sessions()
    made = seasonal_naive(past, 13, samples=5)
    other = seasonal_naive(past, 13, samples=5, timestamps=made.timestamps.tz_convert("Asia/Tokyo"))
    assert np.array_equal(made.paths, other.paths)


def test_steps_look_like_candles_of_their_time():
    past = make(24 * 6)
    made = seasonal_naive(past, 24, samples=3)
    assert (made.channel("volume") == past.frame["volume"].to_numpy()[-24:]).all()


def test_says_where_it_does_not_apply():
    daily = make().frame.set_axis(pd.date_range("2020-01-01", periods=200, freq="1D"))
    with pytest.raises(DataError, match="not 1d ones"):
        seasonal_naive(Candles.from_frame(daily, interval="1d"), 3)
    seven = make().frame.set_axis(pd.date_range("2020-01-01", periods=200, freq="7h"))
    with pytest.raises(DataError, match="divide the day"):
        seasonal_naive(Candles.from_frame(seven, interval="7h"), 3)
    with pytest.raises(DataError, match="longer history"):
        seasonal_naive(make(30), 3)
    with pytest.raises(DataError, match="20:00"):
        seasonal_naive(
            sessions(), 3, timestamps=pd.date_range("2024-01-20 20:00", periods=3, freq="30min", tz="US/Eastern")
        )
    with pytest.raises(ParameterError, match="timezone"):
        seasonal_naive(make(), 3, timestamps=pd.date_range("2024-01-20 20:00", periods=3, freq="1h"))

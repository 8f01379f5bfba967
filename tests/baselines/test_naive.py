"""The fallback's drift is what its docstring says, bounded, and looks at the history only."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.markets import make, market
from baselines.test_odd_histories import histories
from kronos.baselines import BASELINES, historical_volatility, moving_average_drift
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.forecasts import repair_candles


def series(closes, freq="1h"):
    """Candles without wicks or gaps at these closes."""
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), np.asarray(closes, dtype=float)))
    frame.index = pd.date_range("2024-01-01", periods=len(frame), freq=freq, tz="UTC")
    return Candles.from_frame(frame, symbol="SMALL", interval=freq)


def test_the_drift_is_the_slope_between_the_averages():
    """Means of the last 2 and 4 closes are 104.5 and 103; their centres lie one candle apart."""
    past = series([80, 130, 100, 103, 99, 110])
    details = moving_average_drift(past, 3, fast=2, slow=4).metadata.details
    assert details["drift"] == details["slope"] == pytest.approx(np.log(104.5 / 103.0))
    closes = past.frame["close"].to_numpy()
    assert details["sigma"] == pytest.approx(np.diff(np.log(closes)).std(ddof=1))


def test_a_trend_in_noise_is_found():
    rng = np.random.default_rng(8)
    trend = 0.0007
    found = [
        moving_average_drift(market(trend + rng.normal(0, 0.01, 70)), 1, samples=1).metadata.details["slope"]
        for _ in range(300)
    ]
    # Without a trend the slope has the standard deviation from which the cap is reasoned: 2 σ / √(3 slow).
    assert np.std(found) == pytest.approx(2 * 0.01 / np.sqrt(3 * 48), rel=0.15)
    assert np.mean(found) == pytest.approx(trend, abs=4 * np.std(found) / np.sqrt(300))


def test_paths_follow_the_drift_with_the_bands_of_a_random_walk():
    past = make(200, sigma=0.02, seed=3)
    made = moving_average_drift(past, 16, samples=4000, seed=2)
    details, steps = made.metadata.details, made.returns()
    assert abs(details["drift"]) > 0
    assert steps.std() == pytest.approx(details["sigma"], rel=0.02)
    total = made.returns(cumulative=True)[:, -1]
    assert total.mean() == pytest.approx(16 * details["drift"], abs=4 * 4 * details["sigma"] / np.sqrt(4000))
    assert total.std() == pytest.approx(4 * details["sigma"], rel=0.05)
    driftless = historical_volatility(past, 16, samples=4000, seed=2)
    assert steps - driftless.returns() == pytest.approx(np.full_like(steps, details["drift"]))


@pytest.mark.parametrize("direction", [-1, 1])
def test_a_spike_is_not_prolonged(direction):
    """A jump of 40 % twelve candles ago would go on by 2 % a candle; it goes on by σ / √48."""
    returns = np.random.default_rng(4).normal(0, 0.001, 80)
    returns[-12] = direction * 0.4
    details = moving_average_drift(market(returns), 24).metadata.details
    assert abs(details["slope"]) > 0.015
    assert details["drift"] == pytest.approx(direction * details["sigma"] / np.sqrt(48))
    assert 24 * abs(details["drift"]) < 0.5 * 0.4


def test_rows_after_the_origin_or_before_the_windows_change_nothing():
    whole = make()
    times = pd.date_range("2025-01-01", periods=10, freq="1h", tz="UTC")
    other = whole.frame.copy()
    other.iloc[150:] *= 7
    other.iloc[: 150 - 65] *= 3
    origin = whole.frame.index[149]
    perturbed = Candles.from_frame(other, symbol="WALK", interval="1h")
    seen, again = (
        moving_average_drift(one.until(origin), 10, samples=5, timestamps=times) for one in (whole, perturbed)
    )
    assert np.array_equal(seen.paths, again.paths)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32))
def test_first_paths_and_steps_do_not_depend_on_how_many(few, more, short, longer, seed):
    past, times = make(80), pd.date_range("2024-01-05", periods=24, freq="1h", tz="UTC")
    small = moving_average_drift(past, short, samples=few, seed=seed, timestamps=times[:short])
    steps = short + longer
    large = moving_average_drift(past, steps, samples=few + more, seed=seed, timestamps=times[:steps])
    assert np.array_equal(large.paths[:few, :short], small.paths)


def test_the_same_seed_gives_the_same_paths_and_another_others():
    first, again, other = (moving_average_drift(make(), 5, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.paths, again.paths)
    assert first.metadata == again.metadata
    assert not np.array_equal(first.paths, other.paths)


def test_it_says_what_it_is_and_stands_in_no_table():
    past = make()
    made = moving_average_drift(past, 12, samples=30, seed=4)
    assert (made.metadata.model, made.metadata.kind, made.mended) == ("moving-average-drift", "baseline", 0.0)
    assert (made.samples, made.horizon) == (30, 12)
    assert made.timestamps[0] == past.end + pd.Timedelta(hours=1)
    assert repair_candles(made.paths)[1] == 0.0
    assert "no measured edge" in made.metadata.notes[0]
    assert not any("averages are" in note or "returns" in note for note in made.metadata.notes)
    told = json.loads(json.dumps(made.metadata.to_dict(), allow_nan=False))["details"]
    assert [told[name] for name in ("seed", "fast", "slow", "window")] == [4, 12, 48, 64]
    assert "moving-average-drift" not in BASELINES


def test_short_histories_shrink_the_averages_and_say_so():
    made = moving_average_drift(make(20), 3, samples=50)
    assert [made.metadata.details[name] for name in ("fast", "slow")] == [5, 20]
    assert any("5 and 20 candles" in note for note in made.notes)
    assert any("19 returns" in note for note in made.notes)
    least = moving_average_drift(make(3), 3, samples=50)
    assert [least.metadata.details[name] for name in ("fast", "slow")] == [1, 3]
    assert not any("averages are" in note for note in moving_average_drift(make(48), 3, samples=50).notes)


def test_prices_that_never_move_stay():
    flat = moving_average_drift(series([5.0] * 90), 4)
    assert flat.paths[..., :4] == pytest.approx(5.0)
    assert flat.metadata.details["drift"] == 0.0


@pytest.mark.parametrize("level", [1e-8, 1e300])
def test_the_level_of_prices_changes_nothing(level):
    plain = make(100)
    frame = plain.frame.copy()
    frame[["open", "high", "low", "close"]] *= level / 100
    moved = Candles.from_frame(frame, symbol="WALK", interval="1h")
    seen, again = (moving_average_drift(one, 6, samples=4) for one in (plain, moved))
    assert again.returns() == pytest.approx(seen.returns(), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(past=histories())
def test_odd_histories_give_valid_candles_or_a_sentence(past):
    times = pd.date_range(past.end, periods=7, freq="1h")[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            made = moving_average_drift(past, 6, samples=4, timestamps=times)  # refuses invalid candles
        except DataError as error:
            assert str(error).endswith(".")  # noqa: PT017
            return
    assert made.paths.shape == (4, 6, 6)
    assert abs(made.metadata.details["drift"]) <= made.metadata.details["sigma"] / np.sqrt(
        made.metadata.details["slow"]
    )


@pytest.mark.parametrize(
    "wrong",
    [
        *({"horizon": 0}, {"samples": 0}, {"seed": -1}, {"window": 1}),
        *({"fast": 0}, {"fast": 48}, {"fast": 5, "slow": 4}),
    ],
)
def test_refuses_arguments_out_of_range(wrong):
    with pytest.raises(ParameterError):
        moving_average_drift(make(), **{"horizon": 3, **wrong})


def test_refuses_too_little_or_absurd_history():
    with pytest.raises(DataError, match="at least 3"):
        moving_average_drift(make().head(2), 3)
    frame = make().frame.copy()
    frame.iloc[::2, :4] *= 1e200
    with pytest.raises(DataError, match="change of units"):
        moving_average_drift(Candles.from_frame(frame, interval="1h"), 50)

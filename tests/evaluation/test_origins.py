"""The origins of a plan, and what each of them may use."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.random_walks import candles, instruments
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.evaluation.origins import Dates, Instrument, RollingOrigins, make_plan

CUT = pd.Timestamp("2024-01-15")


@pytest.mark.slow
@given(
    horizon=st.integers(1, 40),
    stride=st.none() | st.integers(1, 60),
    rows=st.integers(70, 400),
    max_origins=st.none() | st.integers(1, 9),
)
def test_history_ends_where_the_forecast_begins(horizon, stride, rows, max_origins):
    rolling = RollingOrigins(horizon=horizon, stride=stride, max_origins=max_origins)
    if rows < rolling.least_history + horizon:
        with pytest.raises(DataError, match="No origin has 65 candles before it"):
            make_plan(instruments(2, rows), rolling)
        return
    plan = make_plan(instruments(2, rows), rolling)
    returns = plan.returns()
    assert returns.shape == (len(plan), horizon)
    assert len({plan.name(i) for i in range(len(plan))}) == len(plan)
    for i in range(len(plan)):
        whole = plan.instruments[plan.series[i]].candles
        history, times = plan.history(i), plan.times(i)
        assert len(history) >= rolling.least_history
        assert history.end < times[0]
        joined = history.index.append(times)
        assert (joined == whole.index[: len(joined)]).all()
        actual = np.log(whole.frame["close"].loc[times] / history.frame["close"].iloc[-1])
        np.testing.assert_allclose(returns[i], actual, atol=1e-12)
    if stride is None and max_origins is None:
        for number in range(2):
            known = plan.known[plan.series == number]
            assert (np.diff(known) == horizon).all()
    if max_origins is not None:
        assert len(plan) <= max_origins


def test_all_forecast_candles_lie_between_the_dates():
    plan = make_plan(instruments(3), RollingOrigins(), Dates(CUT, pd.Timestamp("2024-01-20")))
    for i in range(len(plan)):
        assert plan.times(i)[0] >= CUT
        assert plan.times(i)[-1] < pd.Timestamp("2024-01-20")
    assert list(plan.ends()) == [plan.times(i)[-1] for i in range(len(plan))]
    by_market = make_plan(instruments(3), RollingOrigins(), {"walks": Dates(CUT, None)})
    assert by_market.times(0)[0] == CUT
    with pytest.raises(ParameterError, match="no dates for the market 'walks' of walk-0"):
        make_plan(instruments(1), RollingOrigins(), {"crypto": Dates()})


def test_timezones_are_respected():
    walk = candles(0)
    frame = walk.frame.tz_localize("UTC").tz_convert("America/New_York")
    zoned = Instrument("ny", "walks", type(walk).from_frame(frame, interval="1h"))
    plan = make_plan([zoned], RollingOrigins(), Dates(pd.Timestamp("2024-01-15 12:00", tz="UTC")))
    assert plan.times(0)[0] == pd.Timestamp("2024-01-15 12:00", tz="UTC")
    assert plan.table()["date"].iloc[0] == pd.Timestamp("2024-01-15 11:00")


def test_origins_of_each_group_are_thinned_evenly():
    many = [*instruments(2), Instrument("other", "fx", candles(9, 300))]
    table = make_plan(many, RollingOrigins(max_origins=5)).table()
    assert table.groupby("group").size().to_dict() == {"walks 1h": 5, "fx 1h": 5}
    every = make_plan(many, RollingOrigins()).table().groupby("group")["date"].agg(["min", "max"])
    thinned = table.groupby("group")["date"].agg(["min", "max"])
    assert (thinned == every).all(axis=None)


def test_digests_differ_between_plans():
    base = make_plan(instruments(2), RollingOrigins())
    assert base.digest() == make_plan(instruments(2), RollingOrigins()).digest()
    others = [
        make_plan(instruments(2), RollingOrigins(stride=7)),
        make_plan(instruments(1), RollingOrigins()),
        make_plan(instruments(2, 601), RollingOrigins()),
        make_plan(instruments(2), RollingOrigins(), Dates(CUT)),
    ]
    assert len({base.digest(), *(other.digest() for other in others)}) == 5


def test_the_digest_is_that_of_stored_runs():
    """Of exact prices, so that it is the same on every machine."""
    index = pd.date_range("2024-01-01", periods=100, freq="h", name="timestamps")
    close = np.arange(100.0) + 100
    frame = pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 1.0}, index)
    line = Instrument("line", "lines", Candles.from_frame(frame, interval="1h"))
    plan = make_plan([line], RollingOrigins(horizon=6, stride=5, max_origins=3))
    assert plan.digest() == "8e376fc89f48fa161ca0116f9c912ac5ceaac02c5be5d72801b15c59ff329048"


def test_lookback_shortens_histories():
    plan = make_plan(instruments(1), RollingOrigins(lookback=80))
    assert {len(plan.history(i)) for i in range(3, len(plan))} == {80}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"horizon": 0}, "horizon 0"),
        ({"stride": 0}, "stride 0"),
        ({"lookback": 0}, "lookback 0"),
        ({"least_history": 64}, "least_history 64.* 65"),
        ({"max_origins": 0}, "origins 0"),
    ],
)
def test_invalid_parameters(changes, words):
    with pytest.raises(ParameterError, match=words):
        RollingOrigins(**changes)


def test_invalid_instruments():
    with pytest.raises(ParameterError, match="no instrument"):
        make_plan([], RollingOrigins())
    with pytest.raises(ParameterError, match="'walk-0'"):
        make_plan([*instruments(1), *instruments(1)], RollingOrigins())

"""Origins: where forecasts stand, and what each may see."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.walks import candles, instruments
from kronos.errors import DataError, ParameterError
from kronos.evaluation.plan import Dates, Instrument, WalkForward, make_plan

CUT = pd.Timestamp("2024-01-15")


@given(
    horizon=st.integers(1, 40),
    stride=st.none() | st.integers(1, 60),
    rows=st.integers(70, 400),
    most=st.none() | st.integers(1, 9),
)
def test_an_origin_sees_its_past_and_is_asked_about_what_follows(horizon, stride, rows, most):
    walk = WalkForward(horizon=horizon, stride=stride, most=most)
    if rows < walk.least_history + horizon:
        with pytest.raises(DataError, match="No origin has 65 candles before it"):
            make_plan(instruments(2, rows), walk)
        return
    plan = make_plan(instruments(2, rows), walk)
    actual = plan.returns()
    assert actual.shape == (len(plan), horizon)
    assert len({plan.name(i) for i in range(len(plan))}) == len(plan)
    for i in range(len(plan)):
        whole = plan.instruments[plan.series[i]].candles
        history, times = plan.history(i), plan.times(i)
        assert len(history) >= walk.least_history
        assert history.end < times[0]
        joined = history.index.append(times)
        assert (joined == whole.index[: len(joined)]).all()
        came = np.log(whole.frame["close"].loc[times] / history.frame["close"].iloc[-1])
        np.testing.assert_allclose(actual[i], came, atol=1e-12)
    if stride is None and most is None:
        for number in range(2):
            known = plan.known[plan.series == number]
            assert (np.diff(known) == horizon).all()
    if most is not None:
        assert len(plan) <= most


def test_all_forecast_candles_lie_between_the_dates():
    plan = make_plan(instruments(3), WalkForward(), Dates(CUT, pd.Timestamp("2024-01-20")))
    for i in range(len(plan)):
        assert plan.times(i)[0] >= CUT
        assert plan.times(i)[-1] < pd.Timestamp("2024-01-20")
    by_market = make_plan(instruments(3), WalkForward(), {"walks": Dates(CUT, None)})
    assert by_market.times(0)[0] == CUT
    with pytest.raises(ParameterError, match="no dates for the market 'walks' of walk-0"):
        make_plan(instruments(1), WalkForward(), {"crypto": Dates()})


def test_a_zone_is_respected():
    one = candles(0)
    frame = one.frame.tz_localize("UTC").tz_convert("America/New_York")
    zoned = Instrument("ny", "walks", type(one).from_frame(frame, interval="1h"))
    plan = make_plan([zoned], WalkForward(), Dates(pd.Timestamp("2024-01-15 12:00", tz="UTC")))
    assert plan.times(0)[0] == pd.Timestamp("2024-01-15 12:00", tz="UTC")
    assert plan.table()["date"].iloc[0] == pd.Timestamp("2024-01-15 11:00")


def test_groups_are_markets_at_an_interval_and_thinned_evenly():
    many = [*instruments(2), Instrument("other", "fx", candles(9, 300))]
    table = make_plan(many, WalkForward(most=5)).table()
    assert table.groupby("group").size().to_dict() == {"walks 1h": 5, "fx 1h": 5}
    span = make_plan(many, WalkForward()).table().groupby("group")["date"].agg(["min", "max"])
    kept = table.groupby("group")["date"].agg(["min", "max"])
    assert (kept == span).all(axis=None)


def test_a_digest_tells_plans_apart():
    base = make_plan(instruments(2), WalkForward())
    assert base.digest() == make_plan(instruments(2), WalkForward()).digest()
    others = [
        make_plan(instruments(2), WalkForward(stride=7)),
        make_plan(instruments(1), WalkForward()),
        make_plan(instruments(2, 601), WalkForward()),
        make_plan(instruments(2), WalkForward(), Dates(CUT)),
    ]
    assert len({base.digest(), *(one.digest() for one in others)}) == 5


def test_lookback_shortens_what_is_seen():
    plan = make_plan(instruments(1), WalkForward(lookback=80))
    assert {len(plan.history(i)) for i in range(3, len(plan))} == {80}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"horizon": 0}, "horizon is at least 1"),
        ({"stride": 0}, "stride is at least 1"),
        ({"least_history": 64}, "At least 65 candles"),
        ({"most": 0}, "At least 1 origin"),
    ],
)
def test_wrong_parameters(changes, sentence):
    with pytest.raises(ParameterError, match=sentence):
        WalkForward(**changes)


def test_names_are_distinct():
    with pytest.raises(ParameterError, match="There is no instrument to forecast"):
        make_plan([], WalkForward())
    with pytest.raises(ParameterError, match="Two instruments are called 'walk-0'"):
        make_plan([*instruments(1), *instruments(1)], WalkForward())

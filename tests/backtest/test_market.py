"""Panels: the union of calendars, no invented prices, spans and columns, and sentences about bad data."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backtest.candles import instruments
from backtest.small_markets import NAN, market
from kronos.backtest import MarketPanel, ThresholdLongFlat, run_backtest
from kronos.backtest.tradable import benchmark_returns, impossible_prices
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from sources.markets import rows

DAYS = pd.bdate_range("2023-01-02", periods=30)


def candles(index: pd.DatetimeIndex, seed: int = 0, **options: object) -> Candles:
    return Candles.from_frame(rows(index, seed), **({"interval": "1d"} | options))  # type: ignore[arg-type]


def test_candles_lie_on_the_union_of_their_times():
    given = {"A": candles(DAYS[:20], 0), "B": candles(DAYS[5:].delete([3]), 1)}
    panel = MarketPanel.from_candles(given)
    assert panel.dates.equals(DAYS.rename("timestamps"))
    assert panel.instruments == ("A", "B")
    for column, series in enumerate(given.values()):
        present = DAYS.isin(series.index)
        for name in ("open", "high", "low", "close", "volume"):
            values = getattr(panel, name)[:, column]
            np.testing.assert_array_equal(values[present], series.frame[name])
            assert np.isnan(values[~present]).all()
    np.testing.assert_array_equal(panel.factor, 1.0)
    np.testing.assert_array_equal(panel.suspended, np.isnan(panel.close))
    frame = pd.DataFrame(panel.close)
    np.testing.assert_array_equal(panel.last_close, frame.ffill())
    np.testing.assert_array_equal(panel.previous_close, frame.ffill().shift())


def test_a_source_without_volume_is_not_suspended():
    frame = rows(DAYS).assign(volume=0.0, amount=0.0)
    panel = MarketPanel.from_candles({"EURUSD": Candles.from_frame(frame, interval="1d")})
    assert np.isnan(panel.volume).all()
    assert not panel.suspended.any()


def test_factors_and_members_by_date():
    given = {"A": candles(DAYS, 0), "B": candles(DAYS, 1)}
    factors = {"A": pd.Series([2.0, 4.0], index=DAYS[[3, 10]])}
    spans = {"A": [("2000-01-01", f"{DAYS[4]:%Y-%m-%d}"), (f"{DAYS[20]:%Y-%m-%d}", "2099-12-31")]}
    panel = MarketPanel.from_candles(given, factors=factors, membership=spans)
    np.testing.assert_array_equal(panel.factor[:, 0], [1.0] * 3 + [2.0] * 7 + [4.0] * 20)
    np.testing.assert_array_equal(panel.factor[:, 1], 1.0)
    assert panel.membership is not None
    np.testing.assert_array_equal(np.flatnonzero(panel.membership[:, 0]), [*range(5), *range(20, 30)])
    assert not panel.membership[:, 1].any()


def test_the_latest_factor_is_that_of_the_latest_bar():
    panel = market([[NAN], [10.0], [NAN], [10.0]], factor=[[3.0], [2.0], [9.0], [4.0]])
    np.testing.assert_array_equal(panel.last_factor[:, 0], [1, 2, 2, 4])
    np.testing.assert_array_equal(panel.bars_missed[:, 0], [1, 0, 1, 0])


def test_spans_and_columns():
    panel = MarketPanel.from_candles({name: candles(DAYS, seed) for seed, name in enumerate("ABC")})
    part = panel.between(DAYS[3], "2023-01-12").select(["C", "A"])
    assert part.instruments == ("C", "A")
    assert part.dates.equals(panel.dates[3:9])
    np.testing.assert_array_equal(part.close, panel.close[3:9][:, [2, 0]])
    assert panel.rows() == slice(0, 30)
    assert panel.rows("2023-01-03", DAYS[4]) == slice(1, 5)
    with pytest.raises(ParameterError, match="There are no candles from 2030-01-01 to None"):
        panel.between("2030-01-01")
    with pytest.raises(ParameterError, match="The panel has no instrument D; it has A, B, C"):
        panel.select(["D"])


def test_intraday_spans_include_the_whole_last_day():
    index = pd.date_range("2024-01-01", periods=72, freq="h", tz="UTC")
    panel = MarketPanel.from_candles({"A": candles(index, interval="1h")})
    assert panel.rows("2024-01-02", "2024-01-02") == slice(24, 48)


def test_candles_of_different_kinds_are_refused():
    hours = candles(pd.date_range("2024-01-01", periods=30, freq="h"), interval="1h")
    with pytest.raises(DataError, match="A has 1d candles but B has 1h: a panel has one interval"):
        MarketPanel.from_candles({"A": candles(DAYS), "B": hours})
    with pytest.raises(DataError, match="A has no timezone but B has UTC: a panel has one timezone"):
        MarketPanel.from_candles({"A": candles(DAYS), "B": candles(DAYS.tz_localize("UTC"))})
    with pytest.raises(DataError, match="There are no candles"):
        MarketPanel.from_candles({})


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"open": [[10.0], [-1.0]]}, "A at 2024-01-02 00:00:00 has the open -1.0; it must be finite and above 0"),
        ({"close": [[10.0], [np.inf]]}, "A at 2024-01-02 00:00:00 has the .* inf; it must be finite"),
        ({"volume": [[10.0], [-1.0]]}, "has the volume -1.0; it must be finite and 0 or more"),
        ({"factor": [[0.0], [1.0]]}, "A at 2024-01-01 00:00:00 has the factor 0.0"),
        ({"factor": [[1.0]]}, r"factor has the shape \(1, 1\); a panel of this size needs \(2, 1\)"),
        ({"membership": [[True]]}, "membership must be a bool array of 2 times × 1 instruments"),
        ({"dates": pd.DatetimeIndex(["2024-01-02", "2024-01-01"])}, "must be strictly increasing"),
    ],
)
def test_bad_arrays_are_named(arrays, sentence):
    with pytest.raises(DataError, match=sentence):
        market(**({"close": [[10.0], [10.0]], "open": [[10.0], [10.0]]} | arrays))


def test_an_open_needs_a_close_and_a_name_is_unique():
    one = np.ones((1, 1))
    dates = pd.DatetimeIndex(["2024-01-01"])
    with pytest.raises(DataError, match="A at 2024-01-01 00:00:00 has an open price but no close price"):
        MarketPanel(dates, ("A",), one, one, one, one * NAN, one, one)
    two = np.ones((1, 2))
    with pytest.raises(DataError, match="The panel has A twice"):
        MarketPanel(dates, ("A", "A"), two, two, two, two, two, two)
    with pytest.raises(DataError, match="A panel needs times and instruments; got 1 times and 0 instruments"):
        MarketPanel(dates, (), *[np.ones((1, 0))] * 6)


def test_the_limits_of_a_day_are_those_of_all_its_bars():
    """A-shares: 100 the day before, then three bars of 105, 109.6 and 109.6: no bar rises by 9.5 % but the day does."""
    dates = pd.DatetimeIndex(["2024-01-02 15:00", "2024-01-03 10:30", "2024-01-03 14:00", "2024-01-03 15:00"])
    panel = market([[100.0], [105.0], [109.6], [109.6]], dates=dates)
    np.testing.assert_array_equal(panel.previous_session_close[:, 0], [np.nan, 100, 100, 100])
    np.testing.assert_array_equal(panel.previous_close[:, 0], [np.nan, 100, 105, 109.6])
    result = run_backtest(panel, np.ones((4, 1)), ThresholdLongFlat(), cash=1e6, start="2024-01-03 14:00")
    assert result.trades.empty
    assert set(result.refused["reason"]) == {"price limit"}


def test_a_benchmark_with_other_days_keeps_their_returns():
    """A coin on weekends against shares: Friday's 100 to Monday's 121 is 21 %, not the 10 % since Sunday."""
    days = pd.date_range("2024-01-04", periods=6)
    close = pd.Series([100.0, 100.0, 105.0, 110.0, 121.0, 121.0], index=days)
    one = instruments(count=1, rows=6, market="crypto")[0]
    frame = one.candles.frame.set_axis(days).assign(close=close)
    coin = replace(one, candles=replace(one.candles, frame=frame))
    returns = benchmark_returns(coin, pd.bdate_range("2024-01-04", "2024-01-10"))
    np.testing.assert_allclose(returns, [np.nan, 0.0, 0.21, 0.0, np.nan])


def test_prices_outside_of_the_range_are_named():
    panel = market([[10.0], [11.0], [12.0]])
    assert impossible_prices(panel) == []
    wrong = replace(panel, open=np.array([[10.0], [911.0], [12.0]]))
    (warning,) = impossible_prices(wrong)
    assert warning.startswith("1 bar open or close outside of low to high, the first of A at 2024-01-02")

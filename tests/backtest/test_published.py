"""Where the published mode and the corrected one differ, rule by rule, on markets of a few days.

That the published mode equals Qlib is tested in test_qlib_backtest.py; here are the rules that its docstring lists.
"""

import numpy as np
import pandas as pd
import pytest

from backtest.qlib_market import momentum_scores, simulated_market
from backtest.small_markets import NAN, market
from kronos.backtest import (
    BacktestResult,
    MarketPanel,
    PublishedSettings,
    TopkDropout,
    TradingCosts,
    TradingRules,
    published_figures,
    run_backtest,
    run_published,
)
from kronos.errors import ParameterError

FREE = TradingCosts.free()


def both(
    panel: MarketPanel, scores: object, *, k: int = 1, drop: int = 1, hold_days: int = 1, cash: float = 10_000.0
) -> tuple[BacktestResult, BacktestResult]:
    """The same scores in the published mode and in the corrected one, without costs."""
    array = np.array(scores, float)
    settings = PublishedSettings(k=k, drop=drop, hold_days=hold_days, costs=FREE, cash=cash)
    corrected = run_backtest(panel, array, TopkDropout(k, drop, hold_days), costs=FREE, cash=cash)
    return run_published(panel, array, settings), corrected


def held(result: BacktestResult, day: int) -> str:
    """Names of the holdings at the end of a day."""
    return "".join(name for name, shares in zip(result.instruments, result.positions[day], strict=True) if shares)


def test_with_ordinary_bars_both_hold_the_same():
    panel = market([[10.0, 10, 10, 10]] * 4)
    scores = [[4, 3, 2, 1], [1, 4, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4]]
    published, corrected = both(panel, scores, k=2)
    for day, names in enumerate(["", "AB", "BD", "CD"]):
        assert held(published, day) == held(corrected, day) == names


def test_rule_1_the_close_of_the_day_bars_a_purchase_at_its_open():
    # A opens free on day 1 and closes at its upper limit.
    panel = market([[10.0, 10], [11, 10], [11, 10]], open=[[10.0, 10], [10.1, 10], [11, 10]])
    published, corrected = both(panel, [[2, 1]] * 3)
    assert held(published, 1) == ""
    assert held(corrected, 1) == "A"
    # A opens at its limit, where nobody sells, and closes below it: Qlib buys.
    panel = market([[10.0, 10], [10.5, 10], [10.5, 10]], open=[[10.0, 10], [11, 10], [10.5, 10]])
    published, corrected = both(panel, [[2, 1]] * 3)
    assert held(published, 1) == "A"
    assert held(corrected, 1) == ""


def test_rule_2_a_holding_at_its_upper_limit_is_not_sold():
    close = [[10.0, 10, 2], [10, 10, 2], [11, 10, 2], [11, 10, 2]]
    panel, scores = market(close), [[3, 2, 1], [1, 2, 3], [1, 2, 3], [1, 2, 3]]
    published, corrected = both(panel, scores)
    assert held(published, 2) == "AC"  # C comes on top, from the idle cash (rule 6)
    assert held(corrected, 2) == "C"
    one_side = PublishedSettings(k=1, drop=1, hold_days=1, costs=FREE, limit_both_sides=False, cash=1e4)
    assert held(run_published(panel, np.array(scores, float), one_side), 2) == "C"


def test_rule_3_a_missing_open_is_replaced_by_the_close():
    panel = market([[10.0, 10], [10.5, 10], [10.5, 10]], open=[[10.0, 10], [NAN, 10], [10.5, 10]])
    published, corrected = both(panel, [[2, 1]] * 3)
    assert published.trades["price"].tolist()[0] == 10.5
    assert held(corrected, 1) == ""
    assert corrected.refused["reason"].tolist()[0] == "no price"


def test_rule_4_a_bar_without_volume_is_traded():
    panel = market([[10.0, 10]] * 3, volume=[[1, 1], [0, 1], [1, 1]])
    published, corrected = both(panel, [[2, 1]] * 3)
    assert (held(published, 1), held(corrected, 1)) == ("A", "")


def test_rule_5_the_part_of_an_untradable_purchase_stays_idle():
    panel = market([[10.0, 10, 10], [10, NAN, 10], [10, 10, 10]])
    published, corrected = both(panel, [[3, 2, 1]] * 3, k=2)
    assert published.positions[1].tolist() == [400, 0, 0]  # 47.5 % of the cash
    assert corrected.positions[1].tolist() == [900, 0, 0]


def test_rule_6_refused_sales_and_young_holdings_let_the_number_of_holdings_grow():
    close = [[10.0] * 6 for _ in range(8)]
    scores = [np.roll([6, 5, 4, 3, 2, 1], day) for day in range(8)]
    published, corrected = both(market(close), scores, k=2, drop=1, hold_days=4)
    assert published.holdings.max() == 3  # k + drop
    assert corrected.holdings.max() == 2
    assert "held too briefly" in set(published.refused["reason"])


def test_rule_7_no_drops_are_drops_of_everything():
    panel, scores = market([[10.0] * 10 for _ in range(9)]), np.random.default_rng(2).normal(size=(9, 10))
    published, corrected = both(panel, scores, k=3, drop=0)
    sold = published.trades[published.trades["side"] == "sell"]
    assert sold.groupby("date").size().tolist() == [3] * 4  # every other day
    assert corrected.trades["side"].tolist() == ["buy"] * 3


def test_rule_8_a_dividend_makes_fractions_that_are_kept():
    panel = market([[10.0, 10]] * 4, factor=[[1, 1], [1, 1], [1.0173, 1], [1.0173, 1]])
    published, corrected = both(panel, [[2, 1]] * 2 + [[1, 2]] * 2)
    assert published.trades["value"].tolist()[:2] == [9_000, 9_000]  # 900 adjusted shares
    sold = corrected.trades[corrected.trades["side"] == "sell"].iloc[0]
    assert sold["shares"] == 915  # of 915.57; the rest is cash
    np.testing.assert_allclose(corrected.net_asset_value, 10_000)


def test_rule_11_the_worst_holding_is_sold_for_nothing_where_instruments_are_few():
    published, corrected = both(market([[10.0]] * 5), [[1.0]] * 5)
    assert [held(published, day) for day in range(5)] == ["", "A", "", "A", ""]
    assert [held(corrected, day) for day in range(5)] == ["", "A", "A", "A", "A"]


def test_fees_and_cash_to_the_cent():
    panel = market([[10.0, 20], [10.5, 20], [10.2, 20]], open=[[10, 20], [10, 20], [10.4, 21]])
    settings = PublishedSettings(k=1, drop=1, hold_days=1, cash=100_000)
    result = run_published(panel, np.array([[2, 1], [1, 2], [1, 2]], float), settings)
    # 95,000 are 95 lots at 10.00, the fee of 95.00 comes on top; sold at 10.40 for 148.20; 46 lots at 21.00.
    np.testing.assert_allclose(result.cash, [100_000, 4_905, 103_556.8 - 96_600 - 96.6], atol=0.005)
    np.testing.assert_allclose(result.net_asset_value, [100_000, 104_655, 98_860.2], atol=0.005)
    np.testing.assert_allclose(result.turnover, [0, 0.95, (98_800 + 96_600) / 104_655])
    small = run_published(panel, np.ones((3, 2)) * [2, 1], PublishedSettings(k=1, drop=1, cash=2_000))
    assert small.trades[["shares", "fee"]].to_numpy().tolist() == [[100, 5.0]]


def test_limits_follow_the_given_change():
    panel = market([[10.0, 10]] * 3)
    settings = PublishedSettings(k=1, drop=1, hold_days=1, cash=1e4)
    change = np.array([[0, 0], [0.095, 0], [0, 0]])
    result = run_published(panel, np.array([[2, 1]] * 3, float), settings, change=change)
    assert result.positions[1].tolist() == [0, 0]
    assert result.refused["reason"].tolist()[0] == "price limit"
    with pytest.raises(ParameterError, match=r"change has the shape \(1, 2\)"):
        run_published(panel, np.ones((3, 2)), settings, change=change[:1])


def test_figures_are_sums_over_238_days():
    panel = market([[10.0], [10], [11], [9.9]], open=[[10.0], [10], [10], [11]])
    settings = PublishedSettings(k=2, drop=1, hold_days=9, costs=FREE, price_limit=None, lot_size=1, cash=1e4)
    result = run_published(panel, np.ones((4, 1)), settings)
    returns = np.array([0, 0, 950 / 1e4, -950 * 1.1 / 10_950])
    np.testing.assert_allclose(result.returns, returns)
    figures = published_figures(result, np.array([NAN, 0.01, 0, 0]))
    excess = returns - [0, 0.01, 0, 0]
    assert figures.annualised_return == pytest.approx(excess.mean() * 238)
    assert figures.information_ratio == pytest.approx(excess.mean() / excess.std(ddof=1) * 238**0.5)
    assert figures.max_drawdown == pytest.approx(min(-0.01, returns[3]))
    with pytest.raises(ParameterError, match="The benchmark has 3 returns; the result has 4 days"):
        published_figures(result, np.zeros(3))


def test_the_future_decides_in_the_published_mode_only():
    panel = simulated_market(days=120, count=12)
    scores, day = momentum_scores(panel), 60
    close = panel.close.copy()
    close[day] *= np.where(np.arange(12) % 2, 1.2, 0.8)
    changed = MarketPanel(
        panel.dates, panel.instruments, panel.open, panel.high, panel.low, close, panel.volume, panel.factor
    )
    settings = PublishedSettings(k=4, drop=2, hold_days=1, cash=1e6)
    trades = [run_published(one, scores, settings).trades for one in (panel, changed)]
    at_day = [table[table["date"] == panel.dates[day]].reset_index(drop=True) for table in trades]
    assert not at_day[0].equals(at_day[1])  # the close of the day decided what was traded at its open
    trades = [run_backtest(one, scores, TopkDropout(4, 2, 1), cash=1e6).trades for one in (panel, changed)]
    at_day = [table[table["date"] == panel.dates[day]].reset_index(drop=True) for table in trades]
    pd.testing.assert_frame_equal(*at_day)
    assert len(at_day[0])


def test_the_published_mode_can_be_approached_rule_by_rule():
    """The rule of the limit alone: judged by the close, the corrected engine refuses with the same hindsight."""
    panel = simulated_market(days=200, count=20)
    scores = momentum_scores(panel)
    results = {
        judged: run_backtest(panel, scores, TopkDropout(5, 2, 1), rules=TradingRules(limit_price=judged), cash=1e7)
        for judged in ("deal", "close")
    }
    assert results["deal"].net_asset_value[-1] != results["close"].net_asset_value[-1]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"k": 0}, "Invalid k=0, drop=5"),
        ({"costs": TradingCosts(slippage=1)}, "has no slippage"),
        ({"cash_share": 1.5}, "Invalid cash_share 1.5"),
    ],
)
def test_bad_settings_are_named(changed, sentence):
    with pytest.raises(ParameterError, match=sentence):
        PublishedSettings(**changed)

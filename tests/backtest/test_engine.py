"""The day loop against markets that were computed by hand, to the cent."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from backtest.small_markets import NAN, market
from kronos.backtest import (
    Decision,
    LongShortDeciles,
    MarketDay,
    TopkDropout,
    TradingCosts,
    TradingRules,
    run_backtest,
)
from kronos.errors import ParameterError

FREE = TradingCosts.free()
SINGLE = TradingRules.unrestricted()
BEST = TopkDropout(k=1, drop=1, hold_days=1)


@dataclass(frozen=True)
class Targets:
    """Given weights, by day."""

    weights: tuple[tuple[float, ...] | None, ...]

    def decide(self, day: MarketDay) -> Decision | None:
        weights = self.weights[day.number] if day.number < len(self.weights) else None
        return None if weights is None else Decision(np.array(weights))


def refusals(result):
    return result.refused[["instrument", "side", "reason"]].to_numpy().tolist()


def test_a_switch_of_instruments_to_the_cent():
    panel = market([[10, 20], [10.5, 20], [10.2, 20], [10, 19]], open=[[10, 20], [10, 20], [10.4, 21], [10, 20]])
    scores = np.array([[2, 1], [1, 2], [1, 2], [1, 2]], float)
    result = run_backtest(panel, scores, BEST, cash=100_000)
    # Day 1 spends 95,000: 94,905.09 without the fee of 0.1 %, 94 lots at 10.00, fee 94.00; close 10.50.
    # Day 2 sells 9,400 at 10.40 = 97,760.00, fee 146.64, and spends 95 % of 103,519.36: 46 lots at 21.00, fee 96.60.
    np.testing.assert_allclose(result.cash, [100_000, 5_906, 6_822.76, 6_822.76], atol=0.005)
    np.testing.assert_allclose(result.net_asset_value, [100_000, 104_606, 98_822.76, 94_222.76], atol=0.005)
    np.testing.assert_array_equal(result.positions, [[0, 0], [9_400, 0], [0, 4_600], [0, 4_600]])
    np.testing.assert_allclose(result.fees, [0, 94, 243.24, 0], atol=0.005)
    np.testing.assert_allclose(result.turnover, [0, 0.94, (97_760 + 96_600) / 104_606, 0])
    np.testing.assert_allclose(result.returns, [0, 0.04606, 98_822.76 / 104_606 - 1, 94_222.76 / 98_822.76 - 1])
    np.testing.assert_allclose(result.returns_before_costs[1:3], [0.047, (98_822.76 + 243.24) / 104_606 - 1])
    assert result.trades[["instrument", "side", "shares", "price", "value"]].to_numpy().tolist() == [
        ["A", "buy", 9_400, 10.0, 94_000.0],
        ["A", "sell", 9_400, 10.4, 97_760.0],
        ["B", "buy", 4_600, 21.0, 96_600.0],
    ]
    assert list(result.trades["date"]) == [panel.dates[1], panel.dates[2], panel.dates[2]]
    assert result.refused.empty


def test_small_orders_pay_the_minimum_fee():
    panel = market([[10.0]] * 3)
    result = run_backtest(panel, np.ones((3, 1)), BEST, cash=2_200)
    # 0.1 % of 2,000 would be 2.00; the 95 % of cash pay for 2,085 of shares and 5.00 of fees.
    assert result.trades[["shares", "fee"]].to_numpy().tolist() == [[200, 5.0]]
    assert result.net_asset_value[-1] == pytest.approx(2_195)


def test_slippage_moves_prices_against_the_trader():
    panel = market([[100.0]] * 4)
    costs = TradingCosts(0, 0, 0, slippage=20)
    result = run_backtest(panel, np.ones((4, 1)), Targets(((1.0,), (0.0,))), costs=costs, rules=SINGLE, cash=10_010)
    # Paid 100.20 and received 99.80: of the 100 shares wanted, the cash pays for 99.
    np.testing.assert_allclose(result.trades["price"], [100.2, 99.8])
    np.testing.assert_allclose(result.trades["slippage"], [99 * 0.2, 99 * 0.2])
    np.testing.assert_allclose(result.net_asset_value, [10_010, 10_010 - 19.8, 10_010 - 39.6, 10_010 - 39.6])
    np.testing.assert_allclose(result.returns_before_costs, 0, atol=1e-12)
    assert refusals(result) == [["A", "buy", "not enough cash"]]


def test_deals_at_the_close_and_longer_lags():
    panel = market([[10.0], [11], [12], [13]], open=[[9.0], [10], [11.5], [12.5]])
    targets = Targets(((0.5,),))
    for deal, lag, day, price in (
        ("open", 1, 1, 10.0),
        ("close", 1, 1, 11.0),
        ("open", 3, 3, 12.5),
        ("close", 2, 2, 12.0),
    ):
        rules = TradingRules(lot_size=1, price_limit=None, deal_price=deal, lag=lag)
        [trade] = run_backtest(panel, np.ones((4, 1)), targets, rules=rules, costs=FREE, cash=1e4).trades.to_dict(
            "records"
        )
        assert (trade["date"], trade["price"]) == (panel.dates[day], price)


@pytest.mark.parametrize(("move", "bought", "sold"), [(0.1, False, True), (-0.1, True, False), (0.05, True, True)])
def test_price_limits_are_judged_by_the_deal_price_and_by_side(move, bought, sold):
    # A moves at the open of day 2 and comes back by its close; it is bought on that day or sold on it.
    panel = market([[10.0], [10], [10], [10]], open=[[10.0], [10], [10 * (1 + move)], [10]])
    buy = run_backtest(panel, np.ones((4, 1)), Targets((None, (0.9,))), costs=FREE)
    sell = run_backtest(panel, np.ones((4, 1)), Targets(((0.9,), (0.0,))), costs=FREE)
    assert (buy.positions[2, 0] > 0) == bought
    assert (sell.positions[2, 0] == 0) == sold
    assert refusals(buy) == ([] if bought else [["A", "buy", "price limit"]])
    assert refusals(sell) == ([] if sold else [["A", "sell", "price limit"]])


def test_a_limit_judged_by_the_close_looks_ahead():
    panel = market([[10.0], [10], [11], [11]], open=[[10.0], [10], [10.1], [11]])
    targets = Targets((None, (0.9,)))
    for judged, shares in (("deal", True), ("close", False)):
        result = run_backtest(panel, np.ones((4, 1)), targets, rules=TradingRules(limit_price=judged))
        assert (result.positions[2, 0] > 0) == shares


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({"close": NAN}, "no bar"), ({"volume": 0.0}, "no volume"), ({"open": NAN}, "no price")],
)
def test_nothing_is_traded_without_a_bar_volume_or_price(changed, reason):
    arrays = {name: [[10.0, 10.0]] * 4 for name in ("close", "open", "volume")}
    for name, value in changed.items():
        arrays[name] = [[10.0, 10.0], [10.0, 10.0], [value, 10.0], [10.0, 10.0]]
    panel = market(**arrays)
    result = run_backtest(panel, np.ones((4, 2)), Targets(((0.4, 0), (0.0, 0.4))), costs=FREE, cash=10_000)
    np.testing.assert_array_equal(result.positions[2], [400, 400])
    assert refusals(result) == [["A", "sell", reason]]
    np.testing.assert_allclose(result.net_asset_value, 10_000)


def test_t_plus_one_locks_the_purchases_of_the_day():
    dates = pd.DatetimeIndex(["2024-01-01 10:00", "2024-01-01 11:00", "2024-01-01 14:00", "2024-01-02 10:00"])
    panel = market([[10.0]] * 4, dates=dates)
    sale = Targets(((0.5,), (0.0,), (0.0,)))
    locked = run_backtest(panel, np.ones((4, 1)), sale, costs=FREE, cash=10_000)
    np.testing.assert_array_equal(locked.positions[:, 0], [0, 500, 500, 0])
    assert refusals(locked) == [["A", "sell", "bought today"]]
    free = run_backtest(panel, np.ones((4, 1)), sale, costs=FREE, rules=TradingRules(t_plus=0), cash=10_000)
    np.testing.assert_array_equal(free.positions[:, 0], [0, 500, 0, 0])


def test_a_split_changes_shares_and_a_dividend_pays_its_fractions():
    # Adjusted prices stay at 10: two new shares for one, then 1.03 for one. Shares of the exchange cost 10, 5, 4.85.
    panel = market([[10.0]] * 5, factor=[[1.0], [1.0], [2.0], [2.06], [2.06]])
    result = run_backtest(panel, np.ones((5, 1)), Targets(((0.5,), None, None, (0.0,))), costs=FREE, cash=10_500)
    np.testing.assert_array_equal(result.positions[:, 0], [0, 500, 1_000, 1_030, 0])
    np.testing.assert_allclose(result.net_asset_value, 10_500)
    odd = market([[10.0]] * 5, factor=[[1.0], [1.0], [1.0], [1.0173], [1.0173]])
    result = run_backtest(odd, np.ones((5, 1)), Targets(((0.5,), None, None, (0.0,))), costs=FREE, cash=10_500)
    assert result.positions[3, 0] == 508  # of 508.65, and 0.65 shares at 10 / 1.0173 in cash
    assert result.cash[3] == pytest.approx(5_500 + 0.65 * 10 / 1.0173)
    np.testing.assert_allclose(result.net_asset_value, 10_500)
    assert result.trades["shares"].tolist() == [500, 508]


def test_lots_follow_the_price_of_the_exchange():
    panel = market([[10.0]] * 3, factor=[[4.0]] * 3)  # 2.50 a share: 95,000 of cash pay for 379.6 lots and the fee
    result = run_backtest(panel, np.ones((3, 1)), BEST, cash=100_000)
    assert result.positions[-1, 0] == 37_900
    assert result.trades["price"].tolist() == [2.5]


def test_coins_trade_in_parts():
    panel = market([[60_000.0]] * 3)
    rules = TradingRules.unrestricted(share_size=1e-6)
    result = run_backtest(panel, np.ones((3, 1)), BEST, costs=FREE, rules=rules, cash=1_000)
    assert result.positions[-1, 0] == 15_833  # millionths of a coin: 949.98 of the 950
    assert result.net_asset_value[-1] == pytest.approx(1_000)


def test_cash_is_divided_among_what_can_be_bought():
    panel = market([[10.0, 10, 10]] * 3, volume=[[1.0, 1, 1], [1, 0, 1], [1, 1, 1]])
    scores = np.tile([3.0, 2.0, 1.0], (3, 1))
    result = run_backtest(panel, scores, TopkDropout(k=2, drop=1, hold_days=1), costs=FREE, cash=10_000)
    np.testing.assert_array_equal(result.positions[1], [900, 0, 0])
    assert refusals(result)[0] == ["B", "buy", "no volume"]


def test_refused_sales_leave_no_room_for_purchases():
    panel = market([[10.0, 10], [10, 10], [NAN, 10], [10, 10]])
    scores = np.array([[2, 1], [1, 2], [1, 2], [1, 2]], float)
    result = run_backtest(panel, scores, BEST, costs=FREE, cash=10_000)
    np.testing.assert_array_equal(result.positions > 0, [[False, False], [True, False], [True, False], [False, True]])
    assert refusals(result) == [["A", "sell", "no bar"], ["B", "buy", "no room"]]


def test_short_positions_earn_falls_and_are_covered_first():
    panel = market([[10.0, 10], [10, 10], [11, 9], [11, 9], [11, 9]])
    rules = TradingRules(lot_size=1, price_limit=None, t_plus=0, short_sales=True)
    strategy = LongShortDeciles(fraction=0.5, gross=2.0)
    scores = np.array([[2, 1], [NAN, NAN], [NAN, NAN], [1, 2], [1, 2]], float)
    result = run_backtest(panel, scores, strategy, costs=FREE, rules=rules, cash=1_000)
    np.testing.assert_array_equal(result.positions, [[0, 0], [100, -100], [100, -100], [100, -100], [-109, 133]])
    np.testing.assert_allclose(result.net_asset_value, [1_000, 1_000, 1_200, 1_200, 1_200])
    assert result.trades["side"].tolist()[2:] == ["sell", "buy"]
    with pytest.raises(ParameterError, match="sells short"):
        run_backtest(panel, scores, strategy)


def test_an_account_that_short_positions_lost_trades_no_more():
    panel = market([[10.0, 10], [10, 10], [10, 30], [10, 30], [10, 10]], open=[[10.0, 10]] * 3 + [[10.0, 30]] * 2)
    rules = TradingRules(lot_size=1, price_limit=None, t_plus=0, short_sales=True)
    scores = np.tile([2.0, 1.0], (5, 1))
    result = run_backtest(panel, scores, LongShortDeciles(0.5, 2.0), costs=FREE, rules=rules, cash=1_000)
    assert result.net_asset_value[2] == -1_000
    assert result.returns[2] == -2.0
    assert result.returns[3] == result.returns[4] == 0
    assert set(result.trades["date"]) == {panel.dates[1]}


def test_members_alone_are_bought_and_those_that_leave_rank_last():
    panel = market([[10.0, 10]] * 5, membership=[[True, False]] * 2 + [[False, True]] * 3)
    scores = np.tile([1.0, 9.0], (5, 1))
    result = run_backtest(panel, scores, BEST, costs=FREE, cash=10_000)
    np.testing.assert_array_equal(
        result.positions > 0, [[False, False], [True, False], [True, False], [False, True], [False, True]]
    )


def test_delisted_positions_are_settled_after_a_while():
    panel = market([[10.0, 10], [10, 10], [10, 10], [10, NAN], [10, NAN], [10, NAN]])
    targets = Targets(((0.4, 0.4),))
    kept = run_backtest(panel, np.ones((6, 2)), targets, costs=FREE, cash=10_000)
    np.testing.assert_allclose(kept.net_asset_value, 10_000)
    assert kept.positions[-1, 1] == 400
    rules = TradingRules(delisting_days=2, delisting_value=0.25)
    lost = run_backtest(panel, np.ones((6, 2)), targets, costs=TradingCosts(0, 0, 0, 10), rules=rules, cash=10_000)
    np.testing.assert_array_equal(lost.positions[:, 1], [0, 400, 400, 400, 0, 0])
    assert lost.trades.iloc[-1].tolist() == [panel.dates[4], "B", "sell", 400, 2.5, 1_000.0, 0.0, 0.0]
    assert lost.net_asset_value[-1] == pytest.approx(lost.net_asset_value[3] - 400 * 7.5)


def test_a_span_trades_the_scores_of_the_day_before_it():
    panel = market([[10.0]] * 6)
    scores = np.array([[NAN], [NAN], [1], [NAN], [NAN], [NAN]])
    result = run_backtest(panel, scores, BEST, costs=FREE, start=panel.dates[3], end=panel.dates[4])
    assert list(result.dates) == list(panel.dates[3:5])
    assert (result.positions > 0).all()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"scores": np.ones((2, 1))}, r"The scores have the shape \(2, 1\); this panel needs \(3, 1\)"),
        ({"scores": np.full((3, 1), np.inf)}, "The score of A at 2024-01-01 00:00:00 is infinite"),
        ({"cash": 0.0}, "Invalid cash 0.0"),
        ({"start": "2030-01-01"}, "There are no candles from 2030-01-01 to None: choose dates from"),
    ],
)
def test_bad_arguments_are_named(changed, sentence):
    arguments = {"scores": np.ones((3, 1)), "cash": 1e4} | changed
    with pytest.raises(ParameterError, match=sentence):
        run_backtest(market([[10.0]] * 3), arguments.pop("scores"), BEST, **arguments)


def test_bad_decisions_are_refused():
    panel = market([[10.0, 10]] * 3)
    for weights in ((1.0,), (np.inf, 0.0)):
        with pytest.raises(ParameterError, match="A decision needs a finite weight"):
            run_backtest(panel, np.ones((3, 2)), Targets((weights,)))


def test_free_trades_at_the_close_equal_those_of_bt():
    # bt 1.4.1: RunOnDate, SelectAll, WeighTarget and Rebalance, with fractions of shares and 1,000,000 to start with.
    # It trades at the close of the signal's own bar, so our signals are those of a bar earlier.
    net_asset_values = [
        *(1000000.0, 1002272.29, 1010154.84, 1003832.98, 992667.09, 987779.7, 991293.3, 983472.93, 975710.0),
        *(957066.38, 954339.49, 941449.35, 937622.42, 923909.01, 945637.93, 953891.15, 955121.81, 952651.01),
        *(948843.67, 939913.96, 927982.85, 927670.28, 941536.7, 927131.41, 919690.29, 915547.51, 903996.87),
        *(907603.53, 900332.24, 904875.59),
    ]
    rng = np.random.default_rng(5)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (30, 4)), axis=0))
    weights = rng.random((30, 4))
    weights *= 0.98 / weights.sum(axis=1, keepdims=True)
    weights[rng.random(30) < 0.5] = NAN
    panel = market(np.vstack([close[:1], close]))
    rules = TradingRules.unrestricted(deal_price="close", share_size=1e-6)
    targets = Targets(tuple(map(tuple, weights)))
    result = run_backtest(panel, np.zeros((31, 4)), targets, costs=FREE, rules=rules, cash=1e6)
    np.testing.assert_allclose(result.net_asset_value[1:], net_asset_values, atol=0.01)


def test_the_frame_and_the_text_of_a_result():
    result = run_backtest(market([[10.0]] * 3), np.ones((3, 1)), BEST, cash=100_000)
    frame = result.to_frame()
    assert list(frame["holdings"]) == [0, 1, 1]
    np.testing.assert_array_equal(frame["net_asset_value"], result.net_asset_value)
    assert list(result.positions_frame()["A"]) == [0, 9_400, 9_400]
    assert "3 days, 1 instruments, 1 trades, 100,000.00 → 99,906.00" in repr(result)

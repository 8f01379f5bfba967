"""Decisions of each strategy on days that are written down, and costs and rules that cannot be."""

import numpy as np
import pytest

from backtest.small_markets import NAN, market
from kronos.backtest import (
    BuyAndHold,
    EqualWeight,
    LongShortDeciles,
    MarketDay,
    ThresholdLongFlat,
    TopkDropout,
    TradingCosts,
    TradingRules,
    run_backtest,
)
from kronos.errors import ParameterError


def day(scores, shares=None, days_held=None, listed=None, number=0, has_bar=None) -> MarketDay:
    count = len(scores)
    held = np.zeros(count, np.int64) if shares is None else np.array(shares)
    return MarketDay(
        number=number,
        scores=np.array(scores, float),
        listed=np.ones(count, bool) if listed is None else np.array(listed),
        has_bar=np.ones(count, bool) if has_bar is None else np.array(has_bar),
        shares=held,
        days_held=np.where(held != 0, 99, 0) if days_held is None else np.array(days_held),
        weights=held / max(1, held.sum()),
    )


def sold(decision) -> list[int]:
    return np.flatnonzero(decision.targets == 0).tolist()


@pytest.mark.parametrize(
    ("given", "sells", "buys"),
    [
        ({"scores": [1, 2, 3, 4, NAN]}, [], [3, 2]),  # the best two; no score is no candidate
        ({"scores": [1, 2, 3, 4, 5], "shares": [1, 1, 0, 0, 0]}, [0], [4]),  # one dropped a day
        ({"scores": [9, 8, 3, 4, 5], "shares": [1, 1, 0, 0, 0]}, [], []),  # the best are held
        ({"scores": [9, NAN, 3, 4, 5], "shares": [1, 1, 0, 0, 0]}, [1], [4]),  # no score ranks last
        ({"scores": [1, 2, 3, 4, 5], "shares": [1, 1, 0, 0, 0], "days_held": [2, 9, 0, 0, 0]}, [], []),  # too young
        ({"scores": [1, 2, 3, 4, 5], "shares": [1, 1, 1, 0, 0]}, [0], []),  # above k: one goes, none comes
        ({"scores": [1, 2, NAN, NAN, NAN], "shares": [1, 1, 0, 0, 0]}, [], []),  # nothing better to buy
        ({"scores": [3, 3, 3, 3, 3]}, [], [0, 1]),  # equal scores in the order of the panel
    ],
)
def test_topk_dropout(given, sells, buys):
    decision = TopkDropout(k=2, drop=1, hold_days=3).decide(day(**given))
    assert (sold(decision), decision.purchases.tolist()) == (sells, buys)
    assert decision.most_holdings == 2
    assert np.isnan(decision.targets[[column for column in range(5) if column not in sells]]).all()


def test_a_day_without_scores_trades_nothing():
    empty = day([NAN, NAN], shares=[1, 0])
    assert TopkDropout(1, 1).decide(empty) is None
    assert LongShortDeciles().decide(empty) is None
    assert ThresholdLongFlat().decide(empty) is None


def test_long_short_deciles():
    scores = [*range(20), NAN]
    decision = LongShortDeciles(gross=1.0).decide(day(scores))
    np.testing.assert_array_equal(decision.targets, [-0.25, -0.25, *[0] * 16, 0.25, 0.25, 0])
    assert LongShortDeciles(interval=5).decide(day(scores, number=4)) is None
    assert LongShortDeciles().decide(day(range(9))) is None  # fewer than ten have no decile


def test_threshold_long_flat():
    strategy = ThresholdLongFlat(entry=0.5, exit=-0.5, weight=0.8)
    scores, held = [0.6, 0.6, 0.0, 0.0, -0.6, NAN], [0, 7, 0, 7, 7, 7]
    decision = strategy.decide(day(scores, shares=held))
    np.testing.assert_array_equal(decision.targets, [0.8 / 6, NAN, NAN, NAN, 0, NAN])


def test_one_instrument_goes_long_and_flat():
    panel = market([[10.0], [10], [11], [12], [12], [12]])
    scores = np.array([[1], [1], [-1], [0.5], [-1], [-1]], float)
    rules = TradingRules.unrestricted()
    result = run_backtest(panel, scores, ThresholdLongFlat(weight=1), costs=TradingCosts.free(), rules=rules, cash=1e3)
    np.testing.assert_array_equal(result.positions[:, 0], [0, 100, 100, 0, 100, 0])
    assert result.net_asset_value[-1] == pytest.approx(1_200)


def test_benchmarks_follow_what_is_listed():
    listed = [True, True, False]
    np.testing.assert_array_equal(
        EqualWeight(weight=0.9).decide(day([NAN] * 3, listed=listed)).targets, [0.45, 0.45, 0]
    )
    assert EqualWeight(interval=3).decide(day([1, 1, 1], number=2)) is None
    assert EqualWeight().decide(day([1], listed=[False])) is None
    bought = BuyAndHold(weight=0.9).decide(day([NAN] * 3, listed=listed))
    np.testing.assert_array_equal(bought.targets, [0.45, 0.45, NAN])
    assert BuyAndHold().decide(day([1, 1, 1], shares=[0, 1, 0])) is None
    np.testing.assert_array_equal(BuyAndHold([1], weight=1).decide(day([1, 1, 1])).targets, [NAN, 1, NAN])
    assert BuyAndHold([2]).decide(day([1, 1, 1], listed=listed)) is None


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: TopkDropout(k=0), "Invalid k=0"),
        (lambda: TopkDropout(k=2, drop=3), "Invalid k=2, drop=3"),
        (lambda: TopkDropout(hold_days=-1), "Invalid hold_days -1"),
        (lambda: TopkDropout(cash_share=0), "Invalid cash_share 0"),
        (lambda: LongShortDeciles(fraction=0.6), "Invalid fraction 0.6"),
        (lambda: LongShortDeciles(gross=3), "Invalid gross 3"),
        (lambda: LongShortDeciles(interval=0), "Invalid interval 0"),
        (lambda: ThresholdLongFlat(0.0, 1.0), "Invalid exit 1.0: choose at most the entry 0.0"),
        (lambda: EqualWeight(weight=2), "Invalid weight 2"),
        (lambda: TradingCosts(open_rate=-0.1), "Invalid open_rate -0.1"),
        (lambda: TradingCosts(close_rate=1), "Invalid close_rate 1"),
        (lambda: TradingCosts(minimum=NAN), "Invalid minimum nan"),
        (lambda: TradingCosts(slippage=-1), "Invalid slippage -1"),
        (lambda: TradingRules(lot_size=0), "Invalid lot_size 0"),
        (lambda: TradingRules(share_size=0), "Invalid share_size 0"),
        (lambda: TradingRules(price_limit=9.5), "Invalid price_limit 9.5"),
        (lambda: TradingRules(delisting_days=0), "Invalid delisting_days 0"),
        (lambda: TradingRules(delisting_value=2), "Invalid delisting_value 2"),
        (lambda: TradingRules(lag=0), "Invalid lag 0: a signal can be traded from the next bar on"),
        (lambda: TradingRules(deal_price="vwap"), "Invalid deal_price vwap: choose open or close"),
        (lambda: TradingRules(t_plus=2), "Invalid t_plus 2: choose 0 or 1"),
    ],
)
def test_bad_settings_are_named(make, sentence):
    with pytest.raises(ParameterError, match=sentence):
        make()


def test_cash_buys_as_many_shares_as_it_pays_for():
    costs = TradingCosts(0.001, 0.002, 5.0)
    for cash in (1.0, 5.0, 1_000.0, 5_004.99, 5_005.0, 5_006.0, 1e6):
        shares = costs.affordable(cash, 10.0)
        value = np.array([shares * 10.0])
        assert value[0] + costs.fees(value, buy=True)[0] <= cash * (1 + 1e-12) or shares == 0
        more = value + 1e-6
        assert more[0] + costs.fees(more, buy=True)[0] > cash
    assert costs.fees(np.array([0.0, 1.0, 1e4]), buy=False).tolist() == [0.0, 5.0, 20.0]

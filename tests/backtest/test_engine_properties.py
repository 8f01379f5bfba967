"""What holds in every market: accounts that add up, rules that are kept, and no knowledge of the future."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backtest.small_markets import NAN, markets, scores_of
from kronos.backtest import (
    BuyAndHold,
    EqualWeight,
    LongShortDeciles,
    MarketPanel,
    PublishedSettings,
    ThresholdLongFlat,
    TopkDropout,
    TradingCosts,
    TradingRules,
    run_backtest,
    run_published,
)

LONG_ONLY = st.sampled_from(
    [
        *(TopkDropout(2, 1, 1), TopkDropout(3, 2, 3, cash_share=1.0), TopkDropout(1, 1, 0)),
        *(ThresholdLongFlat(0.3, -0.3, weight=1.0), EqualWeight(2, weight=1.0), EqualWeight(1), BuyAndHold()),
    ]
)
COSTS = st.sampled_from([TradingCosts(), TradingCosts.free(), TradingCosts(0.01, 0.02, 100.0, 30.0)])
RULES = st.builds(
    TradingRules,
    lot_size=st.sampled_from([1, 100]),
    price_limit=st.sampled_from([0.095, None]),
    t_plus=st.sampled_from([0, 1]),
    deal_price=st.sampled_from(["open", "close"]),
    lag=st.sampled_from([1, 1, 2]),
)
CASH = st.sampled_from([1e3, 1e5, 1e7])
SEEDS = st.integers(0, 2**32)


def close_values(panel: MarketPanel) -> np.ndarray:
    """Latest close of one share of the exchange, computed with pandas."""
    known = pd.DataFrame(panel.factor).where(~np.isnan(panel.close)).ffill().fillna(1.0)
    return (pd.DataFrame(panel.close).ffill() / known).fillna(0.0).to_numpy()


@given(markets(), SEEDS, LONG_ONLY, COSTS, RULES, CASH)
def test_accounts_add_up_and_are_never_overdrawn(panel, seed, strategy, costs, rules, cash):
    result = run_backtest(panel, scores_of(panel, seed), strategy, costs=costs, rules=rules, cash=cash)
    value = result.cash + (result.positions * close_values(panel)).sum(axis=1)
    np.testing.assert_allclose(result.net_asset_value, value, rtol=1e-12)
    assert (result.cash >= 0).all()
    assert (result.positions >= 0).all()
    before = np.concatenate([[cash], result.net_asset_value[:-1]])
    np.testing.assert_allclose(np.cumprod(1 + result.returns) * cash, result.net_asset_value, rtol=1e-9)
    spent = (result.fees + result.slippage) / before
    np.testing.assert_allclose(result.returns_before_costs - result.returns, spent, atol=1e-12)


@pytest.mark.slow
@given(markets(splits=False), SEEDS, LONG_ONLY, COSTS, RULES, CASH)
def test_trades_explain_every_position_and_all_cash(panel, seed, strategy, costs, rules, cash):
    result = run_backtest(panel, scores_of(panel, seed), strategy, costs=costs, rules=rules, cash=cash)
    signs = np.where(result.trades["side"] == "buy", 1, -1)
    trades = result.trades.assign(
        change=signs * result.trades["shares"], paid=signs * result.trades["value"] + result.trades["fee"]
    )
    changes = trades.pivot_table(index="date", columns="instrument", values="change", aggfunc="sum")
    changes = changes.reindex(index=panel.dates, columns=list(panel.instruments)).fillna(0)
    np.testing.assert_array_equal(changes.cumsum().to_numpy(), result.positions)
    paid = trades.groupby("date")["paid"].sum().reindex(panel.dates).fillna(0)
    np.testing.assert_allclose(cash - paid.cumsum(), result.cash, atol=1e-6)
    np.testing.assert_allclose(trades["value"], trades["shares"] * trades["price"])
    bought = trades[trades["side"] == "buy"]
    assert (bought["shares"] % rules.lot_size == 0).all()
    rates = np.where(trades["side"] == "buy", costs.open_rate, costs.close_rate)
    np.testing.assert_allclose(trades["fee"], np.maximum(trades["value"] * rates, costs.minimum))


@pytest.mark.slow
@given(markets(), SEEDS, LONG_ONLY, RULES, st.booleans())
def test_nothing_is_traded_against_the_rules(panel, seed, strategy, rules, intraday):
    if intraday:  # four bars a day, so that T+1 matters
        bars = pd.date_range("2024-01-01 10:00", periods=400, freq="h")
        panel = replace(panel, dates=bars[(bars.hour >= 10) & (bars.hour < 14)][: len(panel)])
    result = run_backtest(panel, scores_of(panel, seed), strategy, rules=rules, cash=1e6)
    rows = panel.dates.get_indexer(result.trades["date"])
    columns = pd.Index(panel.instruments).get_indexer(result.trades["instrument"])
    price = (panel.open if rules.deal_price == "open" else panel.close)[rows, columns]
    assert not panel.suspended[rows, columns].any()
    np.testing.assert_allclose(result.trades["price"] * panel.factor[rows, columns], price)
    buys = (result.trades["side"] == "buy").to_numpy()
    if rules.price_limit is not None:
        # The close of the day before is the reference of all bars of a day.
        closes = pd.DataFrame(panel.close, index=panel.dates).ffill()
        before = closes.groupby(closes.index.normalize()).last().shift()
        change = price / before.loc[panel.dates[rows].normalize()].to_numpy()[np.arange(len(rows)), columns] - 1
        assert not (change[buys] >= rules.price_limit).any()
        assert not (change[~buys] <= -rules.price_limit).any()
    if rules.t_plus:
        by_day = result.trades.assign(day=result.trades["date"].dt.normalize())
        for _, day in by_day.groupby(["day", "instrument"]):
            sold, start = day[day["side"] == "sell"], panel.dates.get_loc(day["date"].iloc[0])
            column = panel.instruments.index(day["instrument"].iloc[0])
            held = int(result.positions[start - 1, column])
            if np.ptp(panel.last_factor[start - 1 : panel.dates.get_loc(day["date"].iloc[-1]) + 1, column]) == 0:
                assert sold["shares"].sum() <= held
    assert (rows >= rules.lag).all()


@pytest.mark.slow
@given(markets(), SEEDS, LONG_ONLY | st.just(LongShortDeciles(0.4)), RULES, st.data())
def test_the_future_changes_nothing_before_it(panel, seed, strategy, rules, data):
    rules = replace(rules, short_sales=True)
    day = data.draw(st.integers(0, len(panel) - 2))
    rng = np.random.default_rng(seed)
    scores = scores_of(panel, seed)
    changed = {}
    for name in ("open", "high", "low", "close", "volume", "factor"):
        values = getattr(panel, name).copy()
        values[day + 1 :] *= rng.uniform(0.5, 2, values[day + 1 :].shape)
        changed[name] = values
    changed["volume"][day + 1 :, 0] = 0
    changed["open"][-1] = changed["close"][-1] = NAN
    other_scores = scores.copy()
    other_scores[day + 1 :] = rng.normal(size=scores[day + 1 :].shape)
    one = run_backtest(panel, scores, strategy, rules=rules, cash=1e6)
    other = run_backtest(replace(panel, **changed), other_scores, strategy, rules=rules, cash=1e6)
    same = slice(0, day + 1)
    np.testing.assert_array_equal(one.net_asset_value[same], other.net_asset_value[same])
    np.testing.assert_array_equal(one.positions[same], other.positions[same])
    until = panel.dates[day]
    for table in ("trades", "refused"):
        first, second = (getattr(result, table) for result in (one, other))
        pd.testing.assert_frame_equal(first[first["date"] <= until], second[second["date"] <= until])


@pytest.mark.slow
@given(markets(), SEEDS, LONG_ONLY, RULES)
def test_a_bar_before_all_others_shifts_everything_by_a_bar(panel, seed, strategy, rules):
    scores = scores_of(panel, seed)
    assume(not isinstance(strategy, EqualWeight))  # it counts days
    rows = np.r_[0, : len(panel)]
    longer = {name: getattr(panel, name)[rows].copy() for name in ("open", "high", "low", "close", "volume", "factor")}
    longer["open"][0] = longer["close"][0] = NAN
    dates = panel.dates[:1] - pd.Timedelta(days=1)
    later = replace(panel, dates=dates.append(panel.dates), **longer)
    one = run_backtest(panel, scores, strategy, rules=rules)
    other = run_backtest(later, np.vstack([np.full((1, scores.shape[1]), NAN), scores]), strategy, rules=rules)
    np.testing.assert_array_equal(one.positions, other.positions[1:])
    np.testing.assert_array_equal(one.net_asset_value, other.net_asset_value[1:])


@pytest.mark.slow
@given(markets(), SEEDS, LONG_ONLY, RULES, COSTS)
def test_the_order_of_instruments_does_not_matter(panel, seed, strategy, rules, costs):
    # Equal weights are bought in the order of the panel where the cash does not pay for all of them.
    assume(isinstance(strategy, TopkDropout))
    scores = scores_of(panel, seed, missing=0.0)
    order = np.random.default_rng(seed).permutation(len(panel.instruments))
    other = panel.select([panel.instruments[column] for column in order])
    one = run_backtest(panel, scores, strategy, rules=rules, costs=costs)
    two = run_backtest(other, scores[:, order], strategy, rules=rules, costs=costs)
    np.testing.assert_array_equal(one.positions[:, order], two.positions)
    np.testing.assert_allclose(one.net_asset_value, two.net_asset_value)


@given(markets(), SEEDS, st.sampled_from([(1, 1), (2, 1), (3, 0), (2, 2)]), CASH, st.integers(0, 3))
def test_published_accounts_add_up_and_are_never_overdrawn(panel, seed, sizes, cash, hold_days):
    published = PublishedSettings(k=sizes[0], drop=sizes[1], hold_days=hold_days, cash=cash)
    result = run_published(panel, scores_of(panel, seed), published)
    assert (result.cash >= -1e-6).all()
    assert (result.positions >= 0).all()
    value = result.cash + (result.positions * close_values(panel)).sum(axis=1)
    # Positions are rounded to whole shares of the exchange, half a share at most each.
    off = 0.5 * np.where(result.positions > 0, close_values(panel), 0).sum(axis=1)
    assert (np.abs(result.net_asset_value - value) <= off + 1e-6 * value).all()


@pytest.mark.parametrize("seed", range(3))
def test_knowing_the_next_day_wins_and_random_scores_lose_their_costs(seed):
    rng = np.random.default_rng(seed)
    days, count = 500, 60
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.015, (days, count)), axis=0))
    panel = MarketPanel(
        pd.bdate_range("2020-01-01", periods=days), tuple(f"S{i}" for i in range(count)),
        *(close, close, close, close), np.ones_like(close), np.ones_like(close),
    )  # fmt: skip
    ahead = np.full_like(close, NAN)
    ahead[:-2] = close[2:] / close[1:-1]  # from the trade on t + 1 to the day after
    strategy, rules = TopkDropout(10, 5, 1), TradingRules(price_limit=None)
    knowing = run_backtest(panel, ahead, strategy, rules=rules)
    assert knowing.net_asset_value[-1] > 20 * knowing.start_cash
    random = run_backtest(panel, rng.normal(size=close.shape), strategy, rules=rules)
    excess = random.returns_before_costs - equal_weight_returns(panel, rules)
    # Half of the holdings replaced a day for 0.25 %: the costs of two years take the account, luck is in the noise.
    assert abs(excess.mean()) < 3 * excess.std() / days**0.5
    assert random.net_asset_value[-1] < 0.7 * random.start_cash


def equal_weight_returns(panel: MarketPanel, rules: TradingRules) -> np.ndarray:
    return run_backtest(panel, panel.close, EqualWeight(1), rules=rules, costs=TradingCosts.free()).returns

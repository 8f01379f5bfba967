"""Instruments of several markets, calendars and intervals, unadjusted splits, and short positions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from backtest.candles import candles
from backtest.small_markets import NAN, market
from backtest.studies import noise, random_market, setup_of
from backtest.test_engine import FREE, Targets, refusals
from kronos.backtest import (
    BuyAndHold,
    EqualWeight,
    LongShortDeciles,
    MarketPanel,
    MarketRules,
    ScoredSignal,
    StudySettings,
    TopkDropout,
    TradingCosts,
    TradingRules,
    load_backtest_config,
    market_of_instruments,
    run_backtest,
    run_experiment,
    run_study,
)
from kronos.backtest.report import BacktestReport
from kronos.backtest.signal_store import Signals
from kronos.backtest.tradable import split_like_steps
from kronos.backtest.trials import TrialsLog
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.evaluation.origins import Instrument
from kronos.intervals import Interval
from kronos.reports import PageOptions

SINGLE = TradingRules.unrestricted()
MIXED = ("cn_ashare", "us_equity", "crypto")


def config(**trading):
    values = {("data", "paths"): "daily"} | {("trading", name): value for name, value in trading.items()}
    return load_backtest_config(overrides=values, environment={})


def rules_of(*markets, **trading) -> TradingRules:
    return config(**trading).trading.trading_rules(markets, short_sales=False)


# Markets --------------------------------------------------------------------


def test_each_instrument_is_traded_by_the_rules_of_its_market():
    """A is an A-share, B of the US, C a coin: of the same price, only A has lots, T+1 and limits."""
    dates = pd.DatetimeIndex(["2024-01-02 10:00", "2024-01-02 11:00", "2024-01-02 12:00", "2024-01-03 10:00"])
    panel = replace(market([[10.0] * 3] * 4, dates=dates), markets=MIXED)
    sale = Targets(((0.2505, 0.2505, 0.2505), (0.0, 0.0, 0.0)))
    rules = rules_of(*MIXED)
    result = run_backtest(panel, np.ones((4, 3)), sale, costs=FREE, rules=rules, cash=10_000)
    np.testing.assert_array_equal(result.positions[1], [200, 250, 250_500_000])
    np.testing.assert_array_equal(result.positions[2], [200, 0, 0])
    assert refusals(result) == [["A", "sell", "bought today"]]


def test_limits_are_those_of_the_market():
    jump = market([[10.0] * 3, [10.0] * 3, [11.0] * 3, [11.0] * 3])
    panel = replace(jump, markets=MIXED)
    targets = Targets((None, (0.3, 0.3, 0.3)))
    result = run_backtest(panel, np.ones((4, 3)), targets, costs=FREE, rules=rules_of(*MIXED), cash=10_000)
    np.testing.assert_array_equal(result.positions[2] > 0, [False, True, True])
    assert refusals(result) == [["A", "buy", "price limit"]]
    part = panel.select(["C", "A"])
    assert part.markets == ("crypto", "cn_ashare")


def test_purchases_of_the_cash_are_in_the_lots_and_at_the_costs_of_the_market():
    panel = replace(market([[10.0, 10.0]] * 3), markets=("cn_ashare", "us_equity"))
    costs = config().trading.trading_costs(panel.markets)
    result = run_backtest(
        panel, np.ones((3, 2)), TopkDropout(2, 1, 0), costs=costs, rules=rules_of(*panel.markets), cash=10_000
    )
    np.testing.assert_array_equal(result.positions[-1], [400, 474])
    np.testing.assert_allclose(result.trades["fee"], [5.0, 4740 * 0.0005])  # at least 5 for the A-share only


def test_rules_that_are_given_hold_for_all_markets():
    assert {rules_of(*MIXED, rules="unrestricted").of(market).lot_size for market in MIXED} == {1}
    assert rules_of("cn_ashare", "us_equity", rules="unrestricted").markets == {}
    assert rules_of(*MIXED, rules="ashare").of("us_equity").lot_size == 100
    given = rules_of(*MIXED, lot_size=10, price_limit=0.2)
    assert {given.of(market).lot_size for market in MIXED} == {10}
    assert {given.of(market).price_limit for market in MIXED} == {0.2}
    assert rules_of("us_equity", "forex").markets == {}
    with pytest.raises(ParameterError, match="Invalid t_plus 2"):
        MarketRules(t_plus=2)
    with pytest.raises(DataError, match="There are 1 markets for 2 instruments"):
        replace(market([[10.0, 10.0]] * 3), markets=("crypto",))


def experiment_of(instruments, tmp_path, **trading):
    """A backtest of random signals on every candle."""
    own = market_of_instruments(instruments)
    rows = [
        {"date": time, "instrument": one.name, "market": one.market, "last_close": close, "spread": 1.0, "seen": False}
        for one in instruments
        for time, close in one.candles.frame["close"].items()
    ]
    table = pd.DataFrame(rows).sort_values(["date", "instrument"], ignore_index=True)
    table["last"] = np.random.default_rng(1).normal(size=len(table))
    values = {("study", "random_signals"): 0, ("study", "repetitions"): 100, ("data", "paths"): "daily"}
    values |= {("strategy", "top"): 2, ("strategy", "drop"): 1, ("strategy", "hold"): 0}
    loaded = load_backtest_config(
        overrides=values | {("trading", name): value for name, value in trading.items()}, environment={}
    )
    return run_experiment(loaded, own, Signals(table, {"new_from": {}}), TrialsLog(tmp_path))


def test_a_backtest_of_several_markets_says_whose_rules_apply(tmp_path):
    instruments = [Instrument("S", "cn_ashare", candles("S", 90)), Instrument("U", "us_equity", candles("U", 90))]
    found = experiment_of(instruments, tmp_path)
    assert any("markets cn_ashare and us_equity: each is traded by the rules" in text for text in found.warnings)
    shares = found.runs[0].result.trades.groupby("instrument")["shares"]
    assert (shares.apply(lambda own: own % 100).loc["S"] == 0).all()
    assert (shares.apply(lambda own: own % 100).loc["U"] != 0).any()
    page = BacktestReport(found.studies[0]).render()
    assert "lots of 100; price limit 9.5 %, judged by the price of the trade; T+1" in page
    assert "us_equity: lots of 1; price limit –; T+0" in page
    assert "9.5 %（按成交价判断）" in BacktestReport(found.studies[0], PageOptions(language="zh")).render()
    with pytest.raises(ParameterError, match="The published mode has the rules of one market"):
        experiment_of(instruments, tmp_path, mode="both")


# Intervals ------------------------------------------------------------------


def weekly(name: str, step: float = 0.1) -> Candles:
    """Weekly candles that rise by as much as a daily limit allows."""
    index = pd.date_range("2020-01-03", periods=120, freq="7D", name="timestamps")
    close = 10 * (1 + step) ** (np.arange(120) % 2)
    frame = pd.DataFrame({"open": close, "high": close, "low": close, "close": close, "volume": 1e6}, index=index)
    return Candles(frame.assign(amount=frame["volume"] * frame["close"]), name, Interval.parse("1w"))


def test_weekly_candles_have_no_daily_limits_and_say_so(tmp_path):
    instruments = [Instrument(name, "cn_ashare", weekly(name)) for name in ("A", "B", "C")]
    found = experiment_of(instruments, tmp_path)
    assert "price limit" not in set(found.runs[0].result.refused["reason"])
    [warning] = [text for text in found.studies[0].warnings if text.startswith("Price limits are off")]
    assert "candles of 1w" in warning
    assert warning in found.warnings
    daily = experiment_of([Instrument("D", "cn_ashare", candles("D", 90))] * 1, tmp_path)
    assert not any("Price limits are off" in text for text in daily.studies[0].warnings)


def test_bars_of_a_week_are_told_by_their_times():
    jump = [[10.0], [10.0], [11.0], [11.0]]
    for dates, bought in (
        (pd.date_range("2024-01-05", periods=4, freq="7D"), True),
        (pd.date_range("2024-01-31", periods=4, freq="ME"), True),
        (pd.bdate_range("2024-01-04", periods=4), False),
        (pd.DatetimeIndex(["2024-01-04 15:00", "2024-01-05 10:00", "2024-01-08 11:00", "2024-01-08 15:00"]), False),
    ):
        panel = market(jump, dates=dates)
        assert panel.is_longer_than_daily == bought
        result = run_backtest(panel, np.ones((4, 1)), Targets((None, (0.9,))), costs=FREE)
        assert (result.positions[2, 0] > 0) == bought
    assert not MarketPanel.from_candles({"A": candles("A")}).is_longer_than_daily


# Calendars ------------------------------------------------------------------


def mixed_calendars() -> list[Instrument]:
    """Two shares without weekends and two coins with them, without timezones."""
    shares = [Instrument(name, "us_equity", candles(name, 60)) for name in ("S0", "S1")]
    days = pd.date_range("2024-01-01", periods=80, name="timestamps")
    coins = []
    for name in ("C0", "C1"):
        own = candles(name, 80)
        coins.append(Instrument(name, "crypto", replace(own, frame=own.frame.set_axis(days))))
    return [*shares, *coins]


def test_shares_without_weekend_candles_keep_their_holdings_and_are_named():
    """The shares have the best scores throughout: they are not sold for the coins that weekends offer."""
    own = market_of_instruments(mixed_calendars())
    [warning] = [text for text in own.warnings if text.startswith("No candle of S0 and S1")]
    assert "27 % of the times" in warning
    assert "2024-01-06" in warning
    scores = np.where(np.isnan(own.panel.close), NAN, [2.0, 1.9, 1.0, 0.9])
    options = {"costs": FREE, "rules": SINGLE, "cash": 1e6}
    for strategy in (TopkDropout(2, 2, 0), LongShortDeciles(0.25, gross=1.0), EqualWeight(interval=1), BuyAndHold()):
        rules = replace(SINGLE, short_sales=True)
        result = run_backtest(own.panel, scores, strategy, **(options | {"rules": rules}))
        sold = result.trades[(result.trades["side"] == "sell") & (result.trades["instrument"] == "S0")]
        held = result.positions[3:, 0]
        assert (held > 0).all(), strategy
        assert sold.empty or not isinstance(strategy, TopkDropout)
    assert np.abs(result.positions[:, :2] * own.panel.last_close[:, :2]).sum(axis=1)[-1] > 0
    same = market_of_instruments(mixed_calendars()[:2])
    assert not any(text.startswith("No candle of") for text in same.warnings)


def test_long_short_weights_leave_room_for_what_cannot_be_traded():
    own = market_of_instruments(mixed_calendars()).panel
    scores = np.where(np.isnan(own.close), NAN, [2.0, 1.9, 1.0, 0.9])
    result = run_backtest(
        own, scores, LongShortDeciles(0.25), costs=FREE, rules=replace(SINGLE, short_sales=True), cash=1e6
    )
    worth = np.abs(result.positions * own.last_close).sum(axis=1) / result.net_asset_value
    assert worth[5:].max() < 1.2


# Splits ---------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "shown"), [(0.5, "100 to 50"), (0.1, "100 to 10"), (3.0, "100 to 300"), (1 / 3, "")])
def test_steps_that_look_like_a_split_are_named(ratio, shown):
    after = 100 * ratio
    close = [[100.0, 50], [100, 50], [after * 1.01, 50], [after, 50], [after, 50]]
    opened = [[100.0, 50], [100, 50], [after, 50], [after, 50], [after, 50]]
    [warning] = split_like_steps(market(close, open=opened))
    assert split_like_steps(market(close, open=opened), first=len(close)) == []
    assert warning.startswith("1 step in prices looks like a split")
    assert f"A on 2024-01-03 ({shown}" in warning


@pytest.mark.parametrize(
    ("opened", "close"),
    [
        ([100, 100, 100, 50], [100, 100, 50, 50]),  # it falls within the day
        ([100, 100, 50, 100], [100, 100, 100, 100]),  # a wrong open
        ([100, 100, 50, 100], [100, 100, 50, 100]),  # a wrong bar
        ([100, 100, 80, 80], [100, 100, 80, 80]),  # bad news
    ],
)
def test_other_steps_are_no_splits(opened, close):
    panel = market([[float(price)] for price in close], open=[[float(price)] for price in opened])
    assert split_like_steps(panel) == []


def test_a_split_of_candles_is_a_warning_of_the_backtest(tmp_path):
    own = candles("A", 90)
    frame = own.frame.copy()
    frame.loc[frame.index[30] :, ["open", "high", "low", "close"]] /= 4
    found = experiment_of([Instrument("A", "us_equity", replace(own, frame=frame))], tmp_path)
    assert any(f"A on {frame.index[30]:%Y-%m-%d}" in text for text in found.studies[0].warnings)
    assert not experiment_of([Instrument("A", "us_equity", own)], tmp_path).warnings


# Short positions and delistings ---------------------------------------------


def test_borrowed_shares_are_paid_for_by_the_day():
    panel = market([[10.0, 10]] * 4, dates=pd.DatetimeIndex(["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"]))
    rules = TradingRules(lot_size=1, price_limit=None, t_plus=0, short_sales=True)
    costs = TradingCosts(0, 0, 0, borrow_rate=0.0365)
    targets = Targets(((0.5, -0.5),))
    result = run_backtest(panel, np.ones((4, 2)), targets, costs=costs, rules=rules, cash=1_000)
    np.testing.assert_allclose(result.fees, [0, 0, 500 * 0.0003, 500 * 0.0001])
    np.testing.assert_allclose(result.net_asset_value, 1_000 - np.cumsum(result.fees))
    np.testing.assert_allclose(result.returns_before_costs, 0, atol=1e-12)
    with pytest.raises(ParameterError, match="Invalid borrow_rate"):
        TradingCosts(borrow_rate=-0.1)
    assert config(borrow_rate=0.03).trading.trading_costs(["us_equity"]).borrow_rate == 0.03


def test_short_positions_that_borrow_for_free_say_so():
    panel = random_market(days=100, count=20)
    setup = replace(
        setup_of(panel), strategy=LongShortDeciles(), rules=replace(TradingRules.unrestricted(), short_sales=True)
    )
    signal, settings = ScoredSignal("noise", noise(panel)), StudySettings(random_signals=0)
    free = run_study(setup, signal, settings)
    assert any("borrow shares for free" in text for text in free.warnings)
    paid = run_study(replace(setup, costs=replace(setup.costs, borrow_rate=0.05)), signal, settings)
    assert not any("borrow shares for free" in text for text in paid.warnings)
    assert paid.performance.costs.fees_a_year == pytest.approx(free.performance.costs.fees_a_year + 0.025, rel=0.1)


def test_the_days_after_which_an_instrument_is_delisted_are_configured():
    rules = rules_of("us_equity", delisting_days=3, delisting_value=0.5)
    assert (rules.delisting_days, rules.delisting_value) == (3, 0.5)
    assert rules_of("us_equity").delisting_days is None
    with pytest.raises(ParameterError, match="Invalid delisting_days 0"):
        rules_of("us_equity", delisting_days=0)

"""Performance: hand-computed figures, published examples, another library's numbers, and coverage of intervals."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.backtest import BacktestResult
from kronos.backtest.performance import (
    Annualization,
    PerformanceSettings,
    compounded,
    drawdowns,
    largest_drawdown,
    measure_performance,
    total_return,
)
from kronos.backtest.results import REFUSAL_COLUMNS, TRADE_COLUMNS
from kronos.backtest.sharpe import (
    SharpeMoments,
    deflated_sharpe_ratio,
    deflated_sharpe_ratio_of,
    expected_max_sharpe,
    minimum_track_record,
    probabilistic_sharpe_ratio,
    probabilistic_sharpe_ratio_of,
    sharpe_moments,
    sharpe_ratio,
    trial_deviation,
)
from kronos.errors import DataError, ParameterError

# Figures of skfolio 1.12.2 on these returns and trials.
RETURNS = np.round(np.random.default_rng(7).standard_t(4, 250) * 0.01 + 0.0031, 6)
TRIALS = np.round(np.random.default_rng(8).normal(0, 0.06, 20), 6)
SKFOLIO = {
    "sharpe": 0.994558034899393,
    "skewness": -0.715051847451634,
    "kurtosis": 5.11840122542984,
    "psr": {0.0: 0.8328096979384162, 0.05: 0.5772761863570675, 0.1: 0.2824875530249503},
    "dsr": 0.1577908853292747,
    "drawdown": 0.14241086628085453,
}


def account(returns, *, turnover=0.0, fees=0.0, slippage=0.0, dates=None, cash=1000.0) -> BacktestResult:
    """An account with these daily returns after costs; costs are shares of the net asset value of the day before."""
    returns = np.asarray(returns, float)
    dates = pd.bdate_range("2024-01-01", periods=len(returns)) if dates is None else dates
    value = cash * np.cumprod(1 + returns)
    before = np.concatenate([[cash], value[:-1]])
    full = np.ones(len(returns))
    return BacktestResult(
        dates=dates,
        instruments=("A",),
        start_cash=cash,
        net_asset_value=value,
        cash=value,
        positions=np.zeros((len(returns), 1), np.int64),
        returns=returns,
        returns_before_costs=returns + fees + slippage,
        turnover=full * turnover,
        fees=before * fees,
        slippage=before * slippage,
        trades=pd.DataFrame(columns=list(TRADE_COLUMNS)),
        refused=pd.DataFrame(columns=list(REFUSAL_COLUMNS)),
    )


# Sharpe ratios --------------------------------------------------------------


def test_moments_and_ratios_equal_another_library():
    moments = sharpe_moments(RETURNS)
    assert moments.sharpe * math.sqrt(252) == pytest.approx(SKFOLIO["sharpe"], rel=1e-12)
    assert moments.skewness == pytest.approx(SKFOLIO["skewness"], rel=1e-12)
    assert moments.kurtosis == pytest.approx(SKFOLIO["kurtosis"], rel=1e-12)
    for benchmark, expected in SKFOLIO["psr"].items():
        assert probabilistic_sharpe_ratio(RETURNS, benchmark) == pytest.approx(expected, rel=1e-12)
    deviation = trial_deviation(len(RETURNS), TRIALS.tolist())
    assert deflated_sharpe_ratio(RETURNS, len(TRIALS), deviation) == pytest.approx(SKFOLIO["dsr"], rel=1e-12)


def test_deflated_ratio_equals_the_published_example():
    """Bailey & López de Prado 2014: 5 years of 250 days, an annual ratio of 2.5, a variance of ½ over trials."""
    moments = SharpeMoments(2.5 / math.sqrt(250), 1250, skewness=-3, kurtosis=10)
    deviation = math.sqrt(0.5 / 250)
    assert expected_max_sharpe(100, deviation) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe_ratio_of(moments, 100, deviation) == pytest.approx(0.9004, abs=5e-5)
    assert deflated_sharpe_ratio_of(moments, 46, deviation) == pytest.approx(0.9505, abs=5e-5)


@pytest.mark.parametrize(("trials", "expected"), [(1, 0.0), (4, 1.10), (12, 1.74), (20, 1.99), (100, 2.64)])
def test_best_of_trials_without_skill_over_eleven_months(trials, expected):
    assert expected_max_sharpe(trials, math.sqrt(12 / 11)) == pytest.approx(expected, abs=0.005)


def test_best_of_trials_is_what_simulations_show():
    rng = np.random.default_rng(0)
    for trials in (4, 20):
        best = rng.standard_normal((20_000, trials)).max(axis=1).mean()
        assert expected_max_sharpe(trials, 1.0) == pytest.approx(best, abs=0.05)


def test_track_record_is_where_the_probability_reaches_its_confidence():
    moments = sharpe_moments(RETURNS)
    needed = minimum_track_record(moments, confidence=0.95)
    assert probabilistic_sharpe_ratio_of(replace(moments, periods=math.ceil(needed))) == pytest.approx(0.95, abs=1e-3)
    assert minimum_track_record(moments, benchmark=1.0) == math.inf


def test_ratios_of_constant_or_single_returns_are_unknown():
    for returns in (np.full(30, 0.001), np.zeros(30), np.array([0.01])):
        assert math.isnan(sharpe_moments(returns).sharpe)
        assert math.isnan(probabilistic_sharpe_ratio(returns))
        assert math.isnan(sharpe_ratio(returns, 252).estimate)
        assert math.isnan(minimum_track_record(sharpe_moments(returns)))


@pytest.mark.parametrize("arguments", [(0, 1.0), (3, -1.0), (3, math.nan)])
def test_impossible_trials_are_refused(arguments):
    with pytest.raises(ParameterError):
        expected_max_sharpe(*arguments)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 20))
def test_a_ratio_does_not_depend_on_leverage(seed, leverage):
    returns = np.random.default_rng(seed).normal(0.001, 0.01, 60)
    one, other = (sharpe_ratio(own, 252, repetitions=50) for own in (returns, leverage * returns))
    assert other.estimate == pytest.approx(one.estimate, rel=1e-9)
    assert (other.low, other.high) == pytest.approx((one.low, one.high), rel=1e-6)
    reversed_sign = sharpe_ratio(-returns, 252, repetitions=50)
    assert reversed_sign.estimate == pytest.approx(-one.estimate, rel=1e-9)


@pytest.mark.parametrize("persistence", [0.0, 0.3])
def test_intervals_cover_the_true_ratio(persistence):
    """95 % intervals on 300 series of three years, independent and autocorrelated."""
    rng = np.random.default_rng(11)
    daily, days, count = 0.06, 750, 300
    shocks = rng.standard_t(5, (count, days + 50)) / math.sqrt(5 / 3)
    for day in range(1, days + 50):
        shocks[:, day] += persistence * shocks[:, day - 1]
    returns = shocks[:, 50:] * math.sqrt(1 - persistence**2) + daily
    hits = 0
    for number, own in enumerate(returns):
        found = sharpe_ratio(0.01 * own, 252, repetitions=300, seed=number)
        hits += found.low <= daily * math.sqrt(252) <= found.high
    assert 0.91 <= hits / count <= 0.985


# Figures --------------------------------------------------------------------


def test_hand_computed_returns():
    returns = [0.10, -0.05, 0.02, 0.0]
    own = measure_performance(account(returns), settings=PerformanceSettings(periods_a_year=4))
    assert own.annual_return == pytest.approx(0.07)
    assert own.total_return == pytest.approx(1.1 * 0.95 * 1.02 - 1)
    assert own.annual_return_compounded == pytest.approx(1.1 * 0.95 * 1.02 - 1)
    assert own.volatility == pytest.approx(np.std(returns, ddof=1) * 2)
    assert own.sharpe.estimate == pytest.approx(0.07 / (np.std(returns, ddof=1) * 2))
    assert own.hit_rate.estimate == pytest.approx(2 / 3)  # the day without a return is no miss
    assert own.information_ratio is None
    assert math.isnan(own.excess_return)


def test_hand_computed_excess():
    returns, index = np.array([0.03, 0.01, -0.02, 0.04]), np.array([0.01, 0.02, np.nan, 0.01])
    own = measure_performance(account(returns), index, PerformanceSettings(periods_a_year=4))
    excess = np.array([0.02, -0.01, -0.02, 0.03])
    assert own.excess_return == pytest.approx(excess.sum())
    assert own.tracking_error == pytest.approx(excess.std(ddof=1) * 2)
    assert own.information_ratio.estimate == pytest.approx(excess.sum() / (excess.std(ddof=1) * 2))
    assert own.benchmark_return == pytest.approx(0.04)
    growth = (1.03 * 1.01 * 0.98 * 1.04) / (1.01 * 1.02 * 1.01)
    assert own.excess_compounded == pytest.approx(growth - 1)
    assert own.hit_rate.estimate == pytest.approx(0.5)


def test_costs_taken_apart_add_up():
    own = measure_performance(account([0.01, -0.02, 0.015], turnover=0.5, fees=0.001, slippage=0.0005))
    assert own.return_before_costs - own.annual_return == pytest.approx(252 * 0.0015)
    assert own.costs.fees_a_year == pytest.approx(252 * 0.001)
    assert own.costs.slippage_a_year == pytest.approx(252 * 0.0005)
    assert own.costs.fees == pytest.approx(1.0 + 1.01 + 1.01 * 0.98)
    assert own.costs.turnover_a_year == pytest.approx(126)
    assert own.costs.break_even == pytest.approx((0.005 / 3 + 0.0015) / 0.5)


def test_hand_computed_drawdown():
    dates = pd.bdate_range("2024-01-01", periods=6)
    found = largest_drawdown(np.array([0.10, -0.10, -0.10, 0.30, -0.05, 0.02]), dates)
    assert found.depth == pytest.approx(0.19)
    assert (found.peak, found.trough, found.recovery) == (dates[0], dates[2], dates[3])
    assert found.days == 3


def test_drawdown_from_the_start_and_without_recovery():
    dates = pd.bdate_range("2024-01-01", periods=3)
    found = largest_drawdown(np.array([-0.10, -0.10, 0.05]), dates)
    assert found.depth == pytest.approx(0.19)
    assert (found.peak, found.recovery, found.days) == (dates[0], None, 3)
    nothing = largest_drawdown(np.array([0.1, 0.0, 0.1]), dates)
    assert (nothing.depth, nothing.days) == (0.0, 0)


def test_drawdown_equals_another_library():
    dates = pd.bdate_range("2024-01-01", periods=len(RETURNS))
    assert largest_drawdown(RETURNS, dates).depth == pytest.approx(SKFOLIO["drawdown"], rel=1e-12)
    assert -drawdowns(RETURNS).min() == pytest.approx(SKFOLIO["drawdown"], rel=1e-12)


def test_years_compound_to_the_whole():
    dates = pd.bdate_range("2023-11-01", periods=400)
    returns = np.random.default_rng(4).normal(0.0005, 0.01, 400)
    own = measure_performance(account(returns, dates=dates, turnover=0.1, fees=0.0002), returns / 2)
    assert [year.year for year in own.years] == [2023, 2024, 2025]
    assert sum(year.days for year in own.years) == 400
    assert math.prod(1 + year.total_return for year in own.years) - 1 == pytest.approx(own.total_return)
    assert sum(year.turnover for year in own.years) == pytest.approx(40)
    assert sum(year.costs for year in own.years) == pytest.approx(0.08)
    assert max(year.max_drawdown for year in own.years) <= own.drawdown.depth + 1e-12


def test_trials_deflate_and_known_ratios_replace_the_spread():
    result = account(RETURNS)
    alone, many = (measure_performance(result, settings=PerformanceSettings(trials=n)) for n in (1, 20))
    assert alone.expected_max_sharpe == 0
    assert alone.deflated_sharpe == alone.probabilistic_sharpe
    assert many.deflated_sharpe < alone.deflated_sharpe
    ratios = tuple(TRIALS * math.sqrt(252))
    known = measure_performance(result, settings=PerformanceSettings(trials=20, trial_ratios=ratios))
    assert known.deflated_sharpe == pytest.approx(SKFOLIO["dsr"], rel=1e-12)


def test_faulty_input_is_refused():
    with pytest.raises(DataError, match="at least 2 days"):
        measure_performance(account([0.1]))
    with pytest.raises(DataError, match="The benchmark has 3 returns"):
        measure_performance(account([0.1, 0.2]), np.zeros(3))
    with pytest.raises(ParameterError, match="trials"):
        PerformanceSettings(trials=1, trial_ratios=(1.0, 2.0))
    with pytest.raises(ParameterError, match="annualisation"):
        measure_performance(account([0.1, 0.2]), settings=PerformanceSettings(periods_a_year=0))
    with pytest.raises(ParameterError, match="repetitions"):
        sharpe_ratio(RETURNS, 252, repetitions=0)


# Annualisation --------------------------------------------------------------


@pytest.mark.parametrize(
    ("dates", "periods", "words"),
    [
        (pd.bdate_range("2024-01-01", periods=300), 252, r"252 trading days a year \(these dates have 262\)"),
        (pd.date_range("2024-01-01", periods=300), 365, r"365 days a year \(these dates have 365\)"),
        (pd.date_range("2024-01-01", periods=900, freq="4h"), 2190, "6 on each of 365 days"),
        (pd.date_range("2020-01-03", periods=100, freq="W"), 52, "52 weeks"),
        (pd.date_range("2020-01-31", periods=40, freq="ME"), 12, "12 months"),
        (pd.date_range("2020-01-01", periods=100, freq="3D"), 121.75, "121.75 bars a year"),
        (pd.date_range("2010-03-31", periods=40, freq="QE"), 3.97, "3.97 bars a year"),
        (pd.date_range("2024-01-01", periods=2), 252, "252 trading days a year$"),
        (pd.date_range("2024-01-01", periods=900, freq="1h", tz="Asia/Shanghai"), 8760, "24 on each of 365 days"),
    ],
)
def test_annualisation_is_inferred_and_stated(dates, periods, words):
    found = Annualization.infer(dates)
    assert found.periods == periods
    assert re.search(words, found.basis), found.basis


def test_annualisation_as_configured():
    own = measure_performance(account([0.01, 0.02, 0.0]), settings=PerformanceSettings(periods_a_year=238))
    assert own.annual_return == pytest.approx(2.38)
    assert own.annualization.basis == "238 periods a year, as configured"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=60))
def test_properties_of_returns_and_drawdowns(values):
    returns = np.array(values)
    dates = pd.bdate_range("2024-01-01", periods=len(returns))
    found = largest_drawdown(returns, dates)
    assert 0 <= found.depth < 1
    assert found.depth == pytest.approx(max(0.0, -drawdowns(returns).min()), abs=1e-12)
    assert found.peak <= found.trough
    assert compounded(returns, len(returns)) == pytest.approx(total_return(returns))


def test_a_lost_account_has_lost_everything():
    own = measure_performance(account([0.1, -1.0, 0.0, 0.0]), np.zeros(4))
    assert own.annual_return_compounded == -1
    assert own.excess_compounded == -1
    assert own.drawdown.depth == 1


def test_a_single_gain_has_no_interval_above_0():
    """A third of the resamples lack it."""
    returns = np.zeros(100)
    returns[40] = 0.01
    assert sharpe_ratio(returns, 252).low == 0

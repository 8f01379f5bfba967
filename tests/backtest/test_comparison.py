"""Studies: what is compared, random signals in the likeness of one, and verdicts by their rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtest.small_markets import markets
from backtest.studies import foresight, noise, random_market, setup_of, study_of
from kronos.backtest import LongShortDeciles, ThresholdLongFlat, TradingCosts, TradingRules
from kronos.backtest.comparison import BacktestSetup, Benchmark, ScoredSignal, StudySettings, run_study
from kronos.backtest.factors import FACTOR_INSTRUMENTS
from kronos.backtest.performance import Annualization, PerformanceSettings
from kronos.backtest.published import PublishedSettings, run_published
from kronos.backtest.reference_signals import NaiveWindows, RandomSignals, naive_signals, rank_persistence
from kronos.backtest.report.tables import TONES
from kronos.backtest.verdicts import PUBLISHED_GAP, StudyFigures, derive_backtest_verdicts
from kronos.errors import DataError, ParameterError
from kronos.metrics import Estimate


@pytest.fixture(scope="module")
def market():
    return random_market(days=200, count=20)


@pytest.fixture(scope="module")
def lucky(market):
    """A study of noise."""
    return study_of(market, noise(market))


@pytest.fixture(scope="module")
def clairvoyant(market):
    return study_of(market, foresight(market, 20.0))


def words(study) -> dict[str, str]:
    return {verdict.about: verdict.word for verdict in study.verdicts}


# Reference signals ----------------------------------------------------------


def test_hand_computed_naive_signals():
    market = random_market(days=30, count=2)
    logs = np.log(market.close)
    found = naive_signals(market, NaiveWindows(momentum=4, reversal=2, volatility=3))
    np.testing.assert_allclose(found["momentum"][10], logs[10] - logs[6])
    np.testing.assert_allclose(found["reversal"][10], logs[8] - logs[10])
    np.testing.assert_allclose(found["low-volatility"][10], -np.diff(logs[7:11], axis=0).std(axis=0, ddof=1))
    assert (found["last-value"] == 0).all()
    with pytest.raises(ParameterError):
        NaiveWindows(volatility=1)


@settings(max_examples=30, deadline=None)
@given(markets(), st.integers(0, 10**6))
def test_naive_signals_use_no_later_bar(panel, row):
    row %= len(panel)
    windows = NaiveWindows(3, 2, 3)
    whole, cut = (naive_signals(own, windows) for own in (panel, panel.between(None, panel.dates[row])))
    for name, values in cut.items():
        np.testing.assert_allclose(whole[name][: row + 1], values, rtol=1e-9, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.5))
def test_dealt_signals_have_the_scores_of_each_day_where_there_are_any(seed, missing):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((12, 15))
    scores[rng.random(scores.shape) < missing / 2] = np.nan
    for drawn in RandomSignals.like(scores).draw(2, seed):
        np.testing.assert_array_equal(np.isnan(drawn), np.isnan(scores))
        np.testing.assert_array_equal(np.sort(drawn, axis=1), np.sort(scores, axis=1))


@pytest.mark.parametrize("persistence", [0.0, 0.6, 0.95])
def test_dealt_signals_change_as_slowly_as_the_signal(persistence):
    rng = np.random.default_rng(5)
    scores = rng.standard_normal((400, 50))
    for row in range(1, 400):
        scores[row] = persistence * scores[row - 1] + np.sqrt(1 - persistence**2) * scores[row]
    signals = RandomSignals.like(scores)
    [drawn] = signals.draw(1, 1)
    assert rank_persistence(drawn) == pytest.approx(rank_persistence(scores), abs=0.03)
    same_day = pd.DataFrame(drawn).corrwith(pd.DataFrame(scores), axis=1)
    assert abs(same_day.mean()) < 0.1


def test_one_instrument_is_moved_in_time():
    scores = np.arange(100.0)[:, None]
    scores[:5] = np.nan
    signals = RandomSignals.like(scores)
    drawn = list(signals.draw(5, 3))
    assert not signals.across_instruments
    for own in drawn:
        assert np.isnan(own[:5]).all()
        assert sorted(own[5:, 0]) == list(range(5, 100))
        assert not np.array_equal(own, scores, equal_nan=True)
    again = list(signals.draw(5, 3))
    np.testing.assert_array_equal(drawn, again)
    with pytest.raises(DataError, match="60 days"):
        RandomSignals.like(np.zeros((50, 1)))
    with pytest.raises(DataError, match="at least 2 days"):
        RandomSignals.like(np.full((50, 1), np.nan))


# Studies --------------------------------------------------------------------


def test_a_study_has_everything_to_compare_with(lucky):
    names = [own.name for own in lucky.portfolios]
    assert names == ["mean", "momentum", "reversal", "low-volatility", "last-value", "equal weight", "buy and hold"]
    assert [own.kind for own in lucky.portfolios].count("benchmark") == 2
    assert list(lucky.fills) == ["open", "close"]
    assert lucky.fills["open"] == lucky.performance
    assert len(lucky.chance.sharpes) == 20
    assert lucky.published is None
    assert lucky.named("equal weight").performance.excess_return == pytest.approx(0, abs=1e-12)
    assert set(words(lucky)) == {"edge", "trials", "costs", "random", "ranking", "factors", "fills", "leak"}


def test_the_account_is_that_of_the_engine(market, lucky):
    direct = setup_of(market).run(noise(market))
    np.testing.assert_array_equal(lucky.result.net_asset_value, direct.net_asset_value)


def test_noise_loses_its_costs_and_is_no_evidence(lucky):
    own = lucky.performance
    assert own.information_ratio.low < 0
    assert own.excess_return < own.excess_before_costs
    found = words(lucky)
    assert found["edge"] in ("no evidence", "worse")
    assert found["random"] == "no evidence"
    assert found["leak"] == "no sign"
    assert found["trials"] == "within trials"


def test_a_clairvoyant_signal_wins_hugely_and_is_caught(clairvoyant):
    own = clairvoyant.performance
    assert own.sharpe.low > 10
    assert own.excess_return > 1
    assert clairvoyant.delayed.excess_return < 0.5
    found = words(clairvoyant)
    assert found["leak"] == "suspected"
    assert found["edge"] == "suspected"
    assert found["random"] == "better"
    assert clairvoyant.chance.p_value == pytest.approx(1 / 21)
    assert found["costs"] == "survives costs"


def test_comparisons_do_not_depend_on_the_signal(market, lucky):
    other = study_of(market, -noise(market), random_signals=0)
    assert other.chance is None
    assert "random" not in words(other)
    for name in ("momentum", "equal weight"):
        np.testing.assert_array_equal(other.named(name).returns, lucky.named(name).returns)


def test_an_index_as_the_benchmark(market):
    index = pd.Series(0.001, index=market.dates[10:])
    found = study_of(market, noise(market), random_signals=0, benchmark=Benchmark("SH000300", index))
    assert found.benchmark == "SH000300"
    assert found.performance.benchmark_return == pytest.approx(0.252)
    assert found.named("SH000300").result is None
    with pytest.raises(DataError, match="no return on the dates"):
        study_of(market, noise(market), benchmark=Benchmark("x", index.tz_localize("UTC")))


def test_the_published_mode_and_the_gap(market):
    scores = noise(market)
    options = PublishedSettings(k=5, drop=1, hold_days=1, cash=1e7, lot_size=1)
    published = run_published(market, scores, options, start=market.dates[20])
    found = study_of(market, scores, random_signals=0, published=published)
    assert found.published.performance.days == found.performance.days
    assert words(found)["published"] == "little difference"
    short = run_published(market, scores, options, start=market.dates[30])
    with pytest.raises(DataError, match="other dates"):
        study_of(market, scores, published=short)


def test_one_instrument_with_a_threshold():
    market = random_market(days=250, count=1)
    setup = BacktestSetup(
        market,
        ThresholdLongFlat(0.0),
        TradingCosts.free(),
        TradingRules.unrestricted(share_size=1e-6),
        cash=1e4,
        start=market.dates[5],
    )
    settings = StudySettings(PerformanceSettings(repetitions=100), random_signals=10)
    found = run_study(setup, ScoredSignal("own", foresight(market, 20.0)), settings)
    assert found.performance.sharpe.estimate > 5
    assert words(found)["leak"] == "suspected"
    assert "factors" not in words(found)
    assert not found.chance.across_instruments


def test_holdings_whose_bars_ended_are_named():
    market = random_market(days=80, count=6)
    gone = {name: getattr(market, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for values in gone.values():
        values[40:, 0] = np.nan
    market = replace(market, **gone)
    scores = np.zeros(market.close.shape)
    scores[:, 0] = 1.0
    found = study_of(market, scores, random_signals=0)
    [warning] = found.warnings
    assert warning.startswith("On 20 of 60 days the account held instruments without a bar for more than 20 bars")
    assert "up to 1 at once (S000)" in warning


def test_progress_is_counted(market):
    seen = []
    study_of(market, noise(market), random_signals=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 12) for done in range(1, 13)]


@pytest.mark.slow
def test_equal_seeds_give_equal_studies(market, lucky):
    again = study_of(market, noise(market))
    assert again.performance == lucky.performance
    np.testing.assert_array_equal(again.chance.sharpes, lucky.chance.sharpes)


# Verdicts -------------------------------------------------------------------


def figures_of(study, quality):
    return StudyFigures(
        performance=study.performance,
        delayed=study.delayed,
        fills=study.fills,
        published=None,
        quality=quality,
        random_signals=20,
        p_value=0.5,
    )


def verdict(study, about, **changes):
    """A verdict after changes of the figures; those of the performance by name."""
    figures = figures_of(study, study.quality)
    own = {name: changes.pop(name) for name in list(changes) if hasattr(study.performance, name)}
    figures = replace(figures, performance=replace(study.performance, **own), **changes)
    return next(found for found in derive_backtest_verdicts(figures) if found.about == about)


def ratio(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 0.95, "bootstrap", 200, 200.0, 200)


@pytest.mark.parametrize(
    ("low", "high", "deflated", "days", "word"),
    [
        (0.1, 2.0, 0.96, 200, "evidence"),
        (0.1, 2.0, 0.94, 200, "within trials"),
        (-0.1, 2.0, 0.99, 200, "no evidence"),
        (-2.0, -0.1, 0.0, 200, "worse"),
        (0.1, 2.0, 0.99, 59, "too few days"),
    ],
)
def test_verdict_on_the_edge(lucky, low, high, deflated, days, word):
    changes = {"information_ratio": ratio(low, high), "deflated_information": deflated, "days": days}
    found = verdict(lucky, "edge", **changes)
    assert found.word == word
    if word == "within trials":
        assert "within what 4 trials without skill show" in found.sentence


def test_several_bars_a_day_are_one_day(lucky):
    hourly = Annualization(24 * 365, "days", 24)
    changes = {"information_ratio": ratio(0.1, 2.0), "deflated_information": 0.99, "annualization": hourly}
    assert verdict(lucky, "edge", days=24 * 60 - 1, **changes).word == "too few days"
    assert verdict(lucky, "ranking", **changes).word == "too few days"


def test_few_instruments_have_no_verdict_on_factors(lucky):
    about = {found.about for found in derive_backtest_verdicts(figures_of(lucky, lucky.quality))}
    few = replace(lucky.quality, instruments=FACTOR_INSTRUMENTS - 1)
    assert about - {found.about for found in derive_backtest_verdicts(figures_of(lucky, few))} == {"factors"}


@pytest.mark.parametrize(
    ("before", "after", "word", "said"),
    [
        (0.10, 0.02, "survives costs", "left after costs"),
        (0.10, -0.02, "costs eat it", "costs eat the signal"),
        (-0.01, -0.2, "nothing before costs", "even before costs"),
    ],
)
def test_verdict_on_costs(lucky, before, after, word, said):
    found = verdict(lucky, "costs", excess_before_costs=before, excess_return=after)
    assert found.word == word
    assert said in found.sentence


@pytest.mark.parametrize(
    ("p_value", "word"), [(0.05, "better"), (0.06, "no evidence"), (0.95, "no evidence"), (1.0, "worse")]
)
def test_verdict_on_random_signals(lucky, p_value, word):
    assert verdict(lucky, "random", p_value=p_value).word == word


@pytest.mark.parametrize(
    ("now", "later", "word"),
    [(5.0, 0.5, "suspected"), (5.0, 2.0, "no sign"), (3.5, 0.0, "no sign"), (4.2, 1.0, "no sign")],
)
def test_verdict_on_a_leak_by_returns(lucky, now, later, word):
    """A ratio of 4.2 that falls to 1.0 within 180 days is within what chance moves it."""
    delayed = replace(lucky.delayed, sharpe_before_costs=later)
    found = verdict(lucky, "leak", sharpe_before_costs=now, delayed=delayed)
    assert found.word == word
    assert verdict(lucky, "edge", sharpe_before_costs=now, delayed=delayed).word != "evidence"


@pytest.mark.parametrize(
    ("now", "then", "word"), [(0.2, 0.01, "suspected"), (0.2, 0.1, "no sign"), (0.1, 0.0, "no sign")]
)
def test_verdict_on_a_leak_by_ranks(lucky, now, then, word):
    decay = {lag: replace(lucky.quality.rank_ic, mean=mean) for lag, mean in ((1, now), (2, then))}
    assert verdict(lucky, "leak", quality=replace(lucky.quality, decay=decay)).word == word


@pytest.mark.parametrize(
    ("raw", "left", "word"),
    [
        ((0.05, 0.01), (0.04, 0.01), "own information"),
        ((0.05, 0.01), (0.01, 0.40), "known factors"),
        ((0.01, 0.40), (0.01, 0.40), "no evidence"),
        ((-0.05, 0.01), (-0.04, 0.01), "no evidence"),
    ],
)
def test_verdict_on_factors(lucky, raw, left, word):
    (mean, p), (mean_left, p_left) = raw, left
    quality = replace(
        lucky.quality,
        rank_ic=replace(lucky.quality.rank_ic, mean=mean, p_value=p),
        neutral_rank_ic=replace(lucky.quality.rank_ic, mean=mean_left, p_value=p_left),
    )
    assert verdict(lucky, "factors", quality=quality).word == word


def test_verdicts_on_fills_and_on_published_rules(lucky):
    close = replace(lucky.performance, excess_return=0.1)
    fills = {"open": replace(close, excess_return=-0.1), "close": close}
    assert verdict(lucky, "fills", fills=fills).word == "depends on fill"
    assert verdict(lucky, "fills", fills={"open": close, "close": close}).word == "same sign"
    own = lucky.performance
    published = replace(own, excess_before_costs=own.excess_before_costs + PUBLISHED_GAP + 0.001)
    assert verdict(lucky, "published", published=published).word == "rules add"


@pytest.mark.parametrize("days", [40, 79])
def test_no_verdict_on_few_days_is_green(days):
    """Of a signal that knows the future, over 20 and 59 days."""
    market = random_market(days=days, count=20)
    study = study_of(market, foresight(market, 20.0))
    assert study.performance.days == days - 20
    assert study.performance.excess_return > 0
    found = words(study)
    assert not [about for about, word in found.items() if TONES[word] == "good"]
    few = ("trials", "costs", "random", "ranking", "factors", "fills")
    assert {found[about] for about in few} == {"too few days"}
    for own in study.verdicts:
        assert own.word != "too few days" or own.sentence.startswith("too few days to tell (")


# Conclusions that claim no more than the figures ------------------------------


def rising_market():
    """Closes of 20 instruments that nearly all rise together."""
    market = random_market(days=300, count=20, deviation=0.01)
    trend = np.exp(0.002 * np.arange(len(market)))[:, None]
    prices = {name: getattr(market, name) * trend for name in ("open", "high", "low", "close")}
    return replace(market, **prices)


def test_a_rising_market_is_no_skill_beyond_the_trials():
    market = rising_market()
    settings = StudySettings(PerformanceSettings(trials=20, repetitions=100), random_signals=0)
    study = run_study(setup_of(market), ScoredSignal("noise", noise(market)), settings)
    assert study.performance.deflated_sharpe > 0.95
    assert study.performance.deflated_information < 0.95
    assert words(study)["trials"] == "within trials"
    assert words(study)["edge"] != "evidence"


def test_the_benchmark_is_invested_in_full():
    """Cash in it would be an excess return wherever the market rises."""
    market = rising_market()
    study = study_of(market, noise(market), random_signals=0)
    held = study.named("equal weight").result
    assert held.cash[10:].max() < 0.01 * held.start_cash


@pytest.mark.slow
def test_foresight_of_several_bars_is_suspected_though_it_lasts(market):
    later = np.full(market.close.shape, np.nan)
    later[:-10] = market.close[10:] / market.close[:-10] - 1
    study = study_of(market, later)
    assert study.delayed.sharpe_before_costs > 0.25 * study.performance.sharpe_before_costs
    assert words(study)["leak"] == words(study)["edge"] == "suspected"


def test_an_account_without_trades_says_so(market):
    setup = replace(setup_of(market), strategy=LongShortDeciles(0.01), rules=TradingRules(short_sales=True))
    study = run_study(setup, ScoredSignal("noise", noise(market)), StudySettings(random_signals=0))
    assert any(text.startswith("Nothing was traded: the strategy placed no order.") for text in study.warnings)
    assert words(study)["edge"] != "evidence"


def test_too_short_a_record_has_no_random_signals_and_says_so():
    market = random_market(days=40, count=2)
    setup = replace(setup_of(market), strategy=ThresholdLongFlat())
    study = run_study(setup, ScoredSignal("noise", noise(market)), StudySettings(random_signals=5))
    assert study.chance is None
    assert any("scores over 60 days" in text for text in study.warnings)


def test_a_benchmark_that_ends_early_is_refused(market):
    returns = pd.Series(0.001, index=market.dates[:100])
    with pytest.raises(DataError, match=r"has returns from .* but the backtest runs from"):
        run_study(setup_of(market), ScoredSignal("noise", noise(market)), benchmark=Benchmark("index", returns))


def test_constant_prices_are_no_evidence():
    """Only the costs of the first day differ, less than those of the benchmark."""
    market = random_market(days=120, count=6)
    flat = np.full(market.close.shape, 100.0)
    market = replace(market, open=flat, high=flat, low=flat, close=flat)
    study = study_of(market, np.zeros(flat.shape), random_signals=0)
    assert words(study)["edge"] == words(study)["trials"] == "too few days"

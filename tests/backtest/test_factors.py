"""Quality of signals: hand-computed forward returns, point-in-time factors, coefficients, neutral scores, quantiles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from backtest.small_markets import market, markets
from backtest.studies import foresight, noise, random_market
from kronos.backtest.factors import (
    FACTORS,
    FactorWindows,
    SignalQuestion,
    coefficients,
    factor_exposures,
    forward_returns,
    neutral_scores,
    quantile_groups,
    signal_quality,
)
from kronos.errors import ParameterError

NAN = float("nan")
SHORT = FactorWindows(size=5, momentum=6, skip=2, volatility=4, reversal=3)


# Forward returns ------------------------------------------------------------


def test_forward_returns_start_where_the_signal_can_be_traded():
    panel = market([[10.0], [11.0], [12.0], [15.0], [16.0]], open=[[9.0], [10.0], [12.0], [12.0], [18.0]])
    np.testing.assert_allclose(forward_returns(panel)[:, 0], [12 / 10 - 1, 0, 18 / 12 - 1, NAN, NAN])
    np.testing.assert_allclose(forward_returns(panel, 2)[:, 0], [12 / 10 - 1, 18 / 12 - 1, NAN, NAN, NAN])
    np.testing.assert_allclose(forward_returns(panel, lag=2)[:, 0], [0, 18 / 12 - 1, NAN, NAN, NAN])
    close = forward_returns(panel, deal_price="close")[:, 0]
    np.testing.assert_allclose(close, [12 / 11 - 1, 15 / 12 - 1, 16 / 15 - 1, NAN, NAN])


def test_what_cannot_be_bought_has_no_return_and_what_left_keeps_its_loss():
    panel = market(
        [[10.0, 10.0], [10.0, 10.0], [NAN, 4.0], [NAN, NAN], [NAN, NAN]],
        volume=[[1, 1], [0, 1], [NAN, 1], [NAN] * 2, [NAN] * 2],
    )
    found = forward_returns(panel)
    assert np.isnan(found[0, 0])  # no volume on the day of the purchase
    assert found[0, 1] == pytest.approx(-0.6)
    assert found[1, 1] == pytest.approx(0.0)  # bought at 4, and worth its latest close afterwards


@pytest.mark.parametrize("arguments", [{"horizon": 0}, {"lag": -1}])
def test_impossible_horizons_are_refused(arguments):
    with pytest.raises(ParameterError):
        forward_returns(market([[1.0], [1.0]]), **arguments)
    with pytest.raises(ParameterError):
        SignalQuestion(quantiles=1)
    with pytest.raises(ParameterError):
        FactorWindows(volatility=1)


# Factors --------------------------------------------------------------------


def test_hand_computed_factors():
    close = np.array([[10.0], [11.0], [12.0], [10.0], [9.0], [12.0], [13.0], [14.0], [12.0]])
    panel = market(close.tolist(), volume=(np.arange(9.0)[:, None] + 1).tolist())
    found = {name: values[-1, 0] for name, values in factor_exposures(panel, SHORT).items()}
    assert tuple(found) == FACTORS
    assert found["momentum"] == pytest.approx(np.log(13 / 10))  # from 8 bars ago to 2 bars ago
    assert found["reversal"] == pytest.approx(np.log(12 / 12))
    assert found["volatility"] == pytest.approx(np.diff(np.log(close[-5:, 0])).std(ddof=1))
    assert found["size"] == pytest.approx(np.log((close[-5:, 0] * np.arange(5, 10)).mean()))


@settings(max_examples=30, deadline=None)
@given(markets(), st.integers(0, 10**6))
def test_factors_use_no_later_bar(panel, row):
    row %= len(panel)
    whole = factor_exposures(panel, SHORT)
    cut = factor_exposures(panel.between(None, panel.dates[row]), SHORT)
    for name in FACTORS:
        np.testing.assert_allclose(whole[name][: row + 1], cut[name], rtol=1e-9, atol=1e-12)


def test_an_instrument_without_a_bar_has_no_exposure():
    panel = market([[10.0, 1.0]] * 9 + [[NAN, 1.0]])
    for values in factor_exposures(panel, SHORT).values():
        assert np.isnan(values[-1, 0])


def test_neutral_scores_have_no_exposure_left():
    panel = random_market(days=90, count=40)
    exposures = factor_exposures(panel, SHORT)
    scores = noise(panel) + 40 * exposures["reversal"]
    left = neutral_scores(scores, exposures)
    row = 80
    for name, values in exposures.items():
        assert abs(np.corrcoef(left[row], values[row])[0, 1]) < 0.2, name  # the regression is on clipped values
    assert spearmanr(scores[row], exposures["reversal"][row]).statistic > 0.5
    assert np.nansum(left[row]) == pytest.approx(0, abs=1e-9)


def test_a_signal_that_is_a_factor_leaves_only_rounding():
    panel = random_market(days=60, count=30)
    ranks = pd.DataFrame(noise(panel)).rank(axis=1).to_numpy()
    from scipy.special import ndtri

    scores = ndtri((ranks - 0.5) / ranks.shape[1])
    left = neutral_scores(scores, {"own": scores})
    assert np.nanmax(np.abs(left)) < 0.2  # beyond three deviations exposures are clipped


def test_rows_with_few_instruments_have_no_neutral_scores():
    panel = random_market(days=30, count=8)
    assert np.isnan(neutral_scores(noise(panel), factor_exposures(panel, SHORT))).all()


# Coefficients ---------------------------------------------------------------


def test_rank_coefficients_equal_those_of_scipy():
    panel = random_market(days=40, count=12)
    scores, outcomes = noise(panel), forward_returns(panel)
    found = coefficients(scores, outcomes)
    expected = [spearmanr(scores[row], outcomes[row]).statistic for row in range(38)]
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    assert found.keys.tolist() == list(range(38))


def test_overlapping_returns_need_more_lags():
    panel = random_market(days=200)
    scores = np.cumsum(noise(panel), axis=0)
    found = signal_quality(panel, scores, SignalQuestion(horizon=10))
    assert found.rank_ic.lags >= 18
    assert signal_quality(panel, scores).rank_ic.lags < 10


def test_noise_has_no_quality_and_foresight_has_until_its_bar_is_over():
    panel = random_market(days=300)
    nothing = signal_quality(panel, noise(panel))
    assert abs(nothing.rank_ic.t_statistic) < 3
    assert nothing.spread.low < 0 < nothing.spread.high
    much = signal_quality(panel, foresight(panel, 1.0))
    assert much.rank_ic.mean > 0.5
    assert much.neutral_rank_ic.mean > 0.4
    assert much.decay[1].mean == pytest.approx(much.rank_ic.mean)
    assert abs(much.decay[2].mean) < 0.1
    returns = [own.estimate for own in much.quantiles]
    assert returns == sorted(returns)
    assert much.spread.estimate == pytest.approx(returns[-1] - returns[0])
    assert set(much.decay) == set(range(1, 11))
    assert len(much.dates) == len(much.rank_ic.values)


def test_a_repeated_factor_is_recognised():
    panel = random_market(days=250, count=60)
    exposures = factor_exposures(panel)
    found = signal_quality(panel, exposures["momentum"])
    assert found.exposures["momentum"].mean == pytest.approx(1.0)
    assert abs(found.exposures["size"].mean) < 0.2


def test_members_only_count_where_there_is_an_index():
    panel = random_market(days=60, count=12)
    members = np.ones(panel.close.shape, bool)
    members[:, 6:] = False
    from dataclasses import replace

    found = signal_quality(replace(panel, membership=members), noise(panel))
    assert found.instruments == 6
    assert set(found.rank_ic.counts) == {6}


def test_few_instruments_are_judged_over_time():
    panel = random_market(days=300, count=2)
    found = signal_quality(panel, foresight(panel, 1.0))
    assert not found.across_instruments
    assert len(found.rank_ic.values) == 2
    assert found.rank_ic.mean > 0.5
    assert found.quantiles == ()
    assert found.exposures == {}
    assert found.neutral_rank_ic is None


def test_rows_outside_the_span_do_not_count():
    panel = random_market(days=120)
    found = signal_quality(panel, foresight(panel), rows=slice(100, 110))
    assert found.rank_ic.dates == 10
    assert found.dates[0] == panel.dates[100]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(1, 20))
def test_quantiles_have_equal_sizes_and_are_ordered(seed, count, size):
    scores = np.random.default_rng(seed).standard_normal((3, size)).round(1)
    scores[1, :] = np.nan
    groups = quantile_groups(scores, count)
    assert (groups[1] == -1).all()
    for row in (0, 2):
        if size < count:
            assert (groups[row] == -1).all()
            continue
        sizes = np.bincount(groups[row], minlength=count)
        assert sizes.max() - sizes.min() <= 1
        order = np.argsort(groups[row], kind="stable")
        for group in range(count - 1):
            assert scores[row][groups[row] == group].max() <= scores[row][groups[row] == group + 1].min()
        assert len(order) == size

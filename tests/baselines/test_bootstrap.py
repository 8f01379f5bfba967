import numpy as np
import pytest

from baselines.markets import garch_returns, make, market
from kronos.baselines import block_bootstrap, filtered_historical_simulation, fit_garch
from kronos.errors import DataError, ParameterError


def sampled_positions(forecast, returns):
    """Position of the return that each step repeats, `[S, H]`."""
    return np.abs(forecast.returns()[..., None] - returns).argmin(axis=-1)


def test_blocks_are_contiguous_with_geometric_lengths():
    past = make(257)
    returns = np.diff(np.log(past.frame["close"].to_numpy()))
    forecast = block_bootstrap(past, 400, samples=40, block=8, demean=False)
    which = sampled_positions(forecast, returns)
    assert returns[which] == pytest.approx(forecast.returns(), abs=1e-12)
    goes_on = np.diff(which, axis=1) % 256 == 1  # the window is a circle
    assert goes_on.mean() == pytest.approx(1 - 1 / 8, abs=0.02)
    assert len(np.unique(which[:, 0])) > 30
    assert np.unique(which).size == 256


def test_returns_are_sampled_with_their_candles():
    past = make(100)
    which = sampled_positions(block_bootstrap(past, 20, samples=10, demean=False), np.diff(np.log(past.frame["close"])))
    forecast = block_bootstrap(past, 20, samples=10, demean=False)
    assert forecast.channel("volume") == pytest.approx(past.frame["volume"].to_numpy()[1:][which])
    shape = forecast.channel("high") / forecast.channel("low")
    assert shape == pytest.approx((past.frame["high"] / past.frame["low"]).to_numpy()[1:][which])


def test_extreme_block_lengths():
    past = make(130)
    returns = np.diff(np.log(past.frame["close"].to_numpy()))
    single = sampled_positions(block_bootstrap(past, 100, samples=20, block=1, demean=False), returns)
    assert (np.diff(single, axis=1) % 129 == 1).mean() < 0.03
    whole = sampled_positions(block_bootstrap(past, 100, samples=20, block=1e12, demean=False), returns)
    assert (np.diff(whole, axis=1) % 129 == 1).all()


def test_trend_continues_only_without_demeaning():
    rng = np.random.default_rng(1)
    past = market(np.r_[0.0, 0.01 + 0.01 * np.repeat(rng.permutation([-1, 1] * 64), 2)])  # their mean is 0.01
    still, moving = (block_bootstrap(past, 10, samples=2000, demean=d).returns() for d in (True, False))
    assert abs(still.mean()) < 0.0005
    assert moving.mean() == pytest.approx(0.01, rel=0.1)


def test_invalid_block_lengths_are_refused():
    for block in (0.5, -1, float("nan")):
        with pytest.raises(ParameterError, match="block"):
            block_bootstrap(make(), 3, block=block)


def test_short_histories_add_a_note():
    for baseline in (block_bootstrap, filtered_historical_simulation):
        assert any("only 19 returns" in note for note in baseline(make(20), 3, samples=40).notes)
        assert not any("only" in note for note in baseline(make(100), 3, samples=40).notes)


def test_simulation_rescales_past_shocks_to_current_volatility():
    """A first step is a past return over its σ, demeaned, times the next candle's σ."""
    past = make(201)
    returns = np.diff(np.log(past.frame["close"].to_numpy()))
    variance = np.average(returns[:75] ** 2, weights=0.94 ** np.arange(75))
    sigmas = []
    for value in returns:
        sigmas.append(np.sqrt(variance))
        variance = 0.94 * variance + 0.06 * value**2
    shocks = returns / sigmas
    shocks -= shocks.mean()
    forecast = filtered_historical_simulation(past, 5, samples=400)
    assert forecast.metadata.details["sigma"] == pytest.approx(np.sqrt(variance))
    possible = np.sqrt(variance) * shocks
    first = forecast.returns()[:, 0]
    assert np.abs(first[:, None] - possible).min(axis=1).max() < 1e-12
    assert len(np.unique(first.round(12))) > 150


def test_simulated_volatility_varies_along_each_path():
    past = market(garch_returns(600))
    steps = np.abs(filtered_historical_simulation(past, 2, samples=8000).returns())
    calm, wild = (steps[mask, 1].mean() for mask in (steps[:, 0] < 0.5 * steps.mean(), steps[:, 0] > 2 * steps.mean()))
    assert wild > 1.05 * calm


def test_simulated_ewma_volatility_is_constant_on_average():
    """Under the moving average the expected variance is that of the first step."""
    past = market(garch_returns(600, nu=4.0))
    spread = filtered_historical_simulation(past, 60, samples=8000).returns().std(axis=0)
    assert spread[40:].mean() == pytest.approx(spread[:5].mean(), rel=0.2)


def test_garch_filters_are_fitted_or_given():
    past = market(garch_returns(900))
    for name, asymmetric in (("garch", False), ("gjr", True)):
        forecast = filtered_historical_simulation(past, 6, samples=50, filter=name)
        fit = fit_garch(past, asymmetric=asymmetric)
        assert forecast.metadata.details["fit"]["beta"] == fit.beta
        again = filtered_historical_simulation(past, 6, samples=50, filter=name, parameters=fit)
        assert np.array_equal(again.paths, forecast.paths)
    with pytest.raises(ParameterError, match="takes no parameters"):
        filtered_historical_simulation(past, 6, parameters=fit)
    with pytest.raises(ParameterError, match="kalman"):
        filtered_historical_simulation(past, 6, filter="kalman")
    with pytest.raises(DataError, match="at least 51"):
        filtered_historical_simulation(past.head(40), 6, filter="garch")

"""Baselines on markets of known law: bands cover what they say, and knowing more of volatility scores better."""

from functools import partial

import numpy as np
import pytest

from baselines.markets import garch_returns, market
from kronos.baselines import BASELINES, BaselineSpec, historical_volatility
from kronos.metrics import crps

pytestmark = pytest.mark.slow

BANDS = [entry for entry in BASELINES.values() if not entry.point]
HORIZON = 24
FIRST = 520


def market_of(law, origins):
    return market(law(FIRST + origins * HORIZON))


def forecasts(baseline, candles, horizon=HORIZON, samples=99):
    """Cumulative log returns of the paths `[N, S, H]` and what came `[N, H]`, at origins a day apart."""
    logs = np.log(candles.frame["close"].to_numpy())
    parameters, paths, came = None, [], []
    for number, origin in enumerate(range(FIRST, len(logs) - HORIZON + 1, HORIZON)):
        past = candles.head(origin).tail(513)
        if baseline.fit is not None and number % 10 == 0:
            parameters = baseline.fit(past)
        times = candles.index[origin : origin + horizon]
        made = baseline(past, horizon, samples=samples, seed=number, timestamps=times, parameters=parameters)
        paths.append(made.returns(cumulative=True))
        came.append(logs[origin : origin + horizon] - logs[origin - 1])
    return np.array(paths), np.array(came)


@pytest.fixture(scope="module")
def walk():
    return market_of(partial(np.random.default_rng(14).normal, 0, 0.01), 400)


@pytest.mark.parametrize("entry", BANDS, ids=lambda entry: entry.name)
def test_bands_of_a_gaussian_random_walk_cover_what_they_say(walk, entry):
    """The rank of what came among 99 paths is uniform: 80 of its 100 places are the 80 % band."""
    paths, came = forecasts(entry, walk)
    below = (paths < came[:, None, :]).sum(axis=1)  # 0 … 99
    for step in (0, HORIZON - 1):
        inside = (below[:, step] >= 10) & (below[:, step] < 90)
        assert inside.mean() == pytest.approx(0.8, abs=3 * np.sqrt(0.8 * 0.2 / len(came)))
        assert np.mean(below[:, step] < 50) == pytest.approx(0.5, abs=3 * np.sqrt(0.25 / len(came)))


@pytest.fixture(scope="module")
def clustered():
    """A market whose volatility moves, and the scores on it of a volatility that does not."""
    candles = market_of(partial(garch_returns, alpha=0.2, beta=0.79), 600)
    constant = BaselineSpec("constant", "volatility of 512 returns", partial(historical_volatility, window=512))
    return candles, scores(constant, candles)


def scores(entry, candles):
    paths, came = forecasts(entry, candles, horizon=4)
    return crps(paths, came, axis=1).mean(axis=1)


@pytest.mark.parametrize("name", ["ewma-volatility", "filtered-historical-simulation", "garch-t", "har-volatility"])
def test_moving_volatility_beats_a_constant_one_where_it_moves(clustered, name):
    candles, constant = clustered
    gain = constant - scores(BASELINES[name], candles)
    assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain))

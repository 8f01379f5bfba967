"""Baselines on markets of known distribution: nominal coverage, and better scores of volatility models."""

from functools import lru_cache, partial

import numpy as np
import pytest

from baselines.markets import garch_returns, market
from kronos.baselines import BASELINES, BaselineSpec, candle_shapes, historical_volatility
from kronos.metrics import crps

pytestmark = pytest.mark.slow

BANDS = [entry for entry in BASELINES.values() if not entry.point]
HORIZON = 24
FIRST = 520


@pytest.fixture(scope="module", autouse=True)
def _kept_numbers():
    """Random numbers are kept for all days of a market, because every baseline uses the same ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candle_shapes, "_cached_numbers", lru_cache(maxsize=None)(candle_shapes._read_only_numbers))
        yield


def make_market(law, origins):
    """Histories, times and outcomes of the next day, at origins a day apart."""
    candles = market(law(FIRST + origins * HORIZON))
    logs = np.log(candles.frame["close"].to_numpy())
    return [
        (
            candles.head(origin).tail(513),
            candles.index[origin : origin + HORIZON],
            logs[origin : origin + HORIZON] - logs[origin - 1],
        )
        for origin in range(FIRST, len(logs) - HORIZON + 1, HORIZON)
    ]


def forecasts(baseline, days, horizon=HORIZON, samples=99):
    """Cumulative log returns of paths `[N, S, H]` and outcomes `[N, H]`."""
    parameters, paths, outcomes = None, [], []
    for number, (past, times, outcome) in enumerate(days):
        if baseline.fit is not None and number % 10 == 0:
            parameters = baseline.fit(past)
        options = {"samples": samples, "seed": number, "timestamps": times[:horizon], "parameters": parameters}
        paths.append(baseline(past, horizon, **options).returns(cumulative=True))
        outcomes.append(outcome[:horizon])
    return np.array(paths), np.array(outcomes)


@pytest.fixture(scope="module")
def walk():
    return make_market(partial(np.random.default_rng(14).normal, 0, 0.01), 400)


@pytest.mark.parametrize("entry", BANDS, ids=lambda entry: entry.name)
def test_bands_of_a_gaussian_random_walk_have_nominal_coverage(walk, entry):
    """The rank of the outcome among 99 paths is uniform: 80 of its 100 values are the 80 % band."""
    paths, outcomes = forecasts(entry, walk)
    below = (paths < outcomes[:, None, :]).sum(axis=1)  # 0 … 99
    for step in (0, HORIZON - 1):
        inside = (below[:, step] >= 10) & (below[:, step] < 90)
        assert inside.mean() == pytest.approx(0.8, abs=3 * np.sqrt(0.8 * 0.2 / len(outcomes)))
        assert np.mean(below[:, step] < 50) == pytest.approx(0.5, abs=3 * np.sqrt(0.25 / len(outcomes)))


@pytest.fixture(scope="module")
def clustered():
    """A market of varying volatility, and the scores of constant volatility on it."""
    days = make_market(partial(garch_returns, alpha=0.2, beta=0.79), 600)
    constant = BaselineSpec("constant", "volatility of 512 returns", partial(historical_volatility, window=512))
    return days, scores(constant, days)


def scores(entry, days):
    paths, outcomes = forecasts(entry, days, horizon=4)
    return crps(paths, outcomes, axis=1).mean(axis=1)


@pytest.mark.parametrize("name", ["ewma-volatility", "filtered-historical-simulation", "garch-t", "har-volatility"])
def test_volatility_models_beat_constant_volatility_on_garch(clustered, name):
    days, constant = clustered
    gain = constant - scores(BASELINES[name], days)
    assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain))

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from kronos.errors import ParameterError
from kronos.forecasts import Probability
from kronos.metrics import clopper_pearson, proportion, wilson


@given(st.integers(1, 2000), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_intervals_equal_scipys(n, data, confidence):
    hits = data.draw(st.integers(0, n))
    test = binomtest(hits, n)
    for ours, name in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = test.proportion_ci(confidence, method=name)
        assert ours(hits, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_wilson_is_the_one_that_forecasts_show():
    probability = Probability(7, 30)
    assert wilson(7, 30) == pytest.approx((probability.low, probability.high))


def test_share_without_dates_is_binomial():
    done = proportion([True] * 30 + [False] * 10)
    assert (done.estimate, done.n, done.effective_n) == (0.75, 40, 40)
    assert (done.low, done.high) == wilson(30, 40)
    exact = proportion([1] * 30 + [0] * 10 + [math.nan], method="clopper-pearson")
    assert (exact.low, exact.high) == clopper_pearson(30, 40)
    assert (exact.n, exact.method) == (40, "clopper-pearson")


def test_independent_instruments_keep_their_number_and_copies_do_not():
    rng = np.random.default_rng(0)
    dates = np.repeat(np.arange(400), 10)
    apart = proportion(rng.random(4000) < 0.3, dates)
    copies = proportion(np.repeat(rng.random(400) < 0.3, 10), dates)
    assert apart.effective_n > 3000
    assert copies.effective_n == pytest.approx(400, rel=0.15)
    assert copies.high - copies.low > 2.5 * (apart.high - apart.low)


def test_shares_of_all_or_none_rest_on_their_dates():
    dates = np.repeat(np.arange(50), 20)
    done = proportion(np.ones(1000), dates, overlap=5)
    assert (done.estimate, done.high, done.effective_n) == (1.0, 1.0, 10.0)
    assert done.low < wilson(10, 10)[0] + 1e-12
    assert proportion([1.0], [0]).effective_n == 1.0


def test_nothing_known_is_unknown():
    for method in ("wilson", "clopper-pearson", "bootstrap"):
        done = proportion([math.nan], ["2024-01-01"], method=method)
        assert math.isnan(done.estimate)
        assert math.isnan(done.low)
        assert math.isnan(done.high)
        assert done.n == 0


def test_refuses_what_is_no_share():
    with pytest.raises(ParameterError, match="1 or 0"):
        proportion([0.5])
    with pytest.raises(ParameterError, match="wilson"):
        proportion([1], method="wald")
    with pytest.raises(ParameterError, match="confidence"):
        proportion([1], confidence=95)
    with pytest.raises(ParameterError, match="same number"):
        proportion([1, 0], [1])
    with pytest.raises(ParameterError, match="overlap"):
        proportion([1, 0], [1, 2], overlap=0)
    with pytest.raises(ParameterError, match="date"):
        proportion([1, 0], [1, None])


@pytest.mark.parametrize("method", ["wilson", "clopper-pearson", "bootstrap"])
def test_intervals_by_date_cover_the_truth(method):
    """Hits of 8 correlated instruments over 80 dates: 95 % intervals miss in at most 11 % of 150 histories."""
    missed = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        values = (rng.normal(size=(80, 1)) + rng.normal(size=(80, 8))) / math.sqrt(2)
        done = proportion((values < 0).ravel(), np.repeat(np.arange(80), 8), method=method, seed=seed)
        missed += not done.low <= 0.5 <= done.high
    assert missed <= 16

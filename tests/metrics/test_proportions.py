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
def test_intervals_equal_those_of_scipy(n, data, confidence):
    hits = data.draw(st.integers(0, n))
    test = binomtest(hits, n)
    for ours, name in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = test.proportion_ci(confidence, method=name)
        assert ours(hits, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_wilson_equals_the_interval_of_probability():
    probability = Probability(7, 30)
    assert wilson(7, 30) == pytest.approx((probability.low, probability.high))


def test_share_without_dates_is_binomial():
    result = proportion([True] * 30 + [False] * 10)
    assert (result.estimate, result.n, result.effective_n) == (0.75, 40, 40)
    assert (result.low, result.high) == wilson(30, 40)
    exact = proportion([1] * 30 + [0] * 10 + [math.nan], method="clopper-pearson")
    assert (exact.low, exact.high) == clopper_pearson(30, 40)
    assert (exact.n, exact.method) == (40, "clopper-pearson")


def test_effective_number_of_independent_and_copied_instruments():
    rng = np.random.default_rng(0)
    dates = np.repeat(np.arange(400), 10)
    apart = proportion(rng.random(4000) < 0.3, dates)
    copies = proportion(np.repeat(rng.random(400) < 0.3, 10), dates)
    assert apart.effective_n > 3000
    assert copies.effective_n == pytest.approx(400, rel=0.15)
    assert copies.high - copies.low > 2.5 * (apart.high - apart.low)


def test_constant_events_use_the_number_of_dates():
    dates = np.repeat(np.arange(50), 20)
    result = proportion(np.ones(1000), dates, overlap=5)
    assert (result.estimate, result.high, result.effective_n) == (1.0, 1.0, 10.0)
    assert result.low < wilson(10, 10)[0] + 1e-12
    assert proportion([1.0], [0]).effective_n == 1.0


def test_proportion_without_known_values_is_nan():
    for method in ("wilson", "clopper-pearson", "bootstrap"):
        result = proportion([math.nan], ["2024-01-01"], method=method)
        assert math.isnan(result.estimate)
        assert math.isnan(result.low)
        assert math.isnan(result.high)
        assert result.n == 0


def test_invalid_arguments_are_refused():
    with pytest.raises(ParameterError, match="1 or 0"):
        proportion([0.5])
    with pytest.raises(ParameterError, match="wilson"):
        proportion([1], method="wald")
    with pytest.raises(ParameterError, match="confidence"):
        proportion([1], confidence=95)
    with pytest.raises(ParameterError, match="length"):
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
        result = proportion((values < 0).ravel(), np.repeat(np.arange(80), 8), method=method, seed=seed)
        missed += not result.low <= 0.5 <= result.high
    assert missed <= 16

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kronos.errors import ParameterError
from kronos.metrics import coverage, crps, interval_width, pinball

values = st.floats(-1e3, 1e3)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=values), st.data())
def test_crps_is_its_definition(samples, data):
    """mean |x - y| - ΣΣ |xᵢ - xⱼ| / (2 S (S - 1)), term by term."""
    observed = data.draw(hnp.arrays(np.float64, samples.shape[1], elements=values))
    size = len(samples)
    pairs = np.abs(samples[:, None] - samples[None]).sum(axis=(0, 1))
    spread = pairs / (2 * size * (size - 1)) if size > 1 else 0.0
    expected = np.abs(samples - observed).mean(axis=0) - spread
    assert crps(samples, observed) == pytest.approx(expected, abs=1e-9)
    assert crps(samples.T, observed, axis=1) == pytest.approx(expected, abs=1e-9)


def test_crps_equals_scoringrules():
    scoringrules = pytest.importorskip("scoringrules", reason="needs the evaluation extra")
    rng = np.random.default_rng(0)
    samples, observed = rng.normal(size=(50, 7, 100)), rng.normal(size=(7, 50))
    ours = crps(samples, observed.T, axis=2)
    assert ours == pytest.approx(scoringrules.crps_ensemble(observed.T, samples, estimator="pwm"), abs=1e-12)


def test_crps_by_hand():
    assert crps([3.0], 5.0) == pytest.approx(2.0)  # one sample: the absolute error
    assert crps([1.0, 3.0], 2.0) == pytest.approx(1 - 2 * 2 / (2 * 2))
    assert crps([0.0, 0.0, 3.0], 0.0) == pytest.approx(1 - 12 / 12)
    assert math.isnan(crps([1.0, 2.0], math.nan))
    with pytest.raises(ParameterError):
        crps([], 1.0)


@pytest.mark.parametrize("observed", [0.0, 0.7, -2.0])
def test_crps_tends_to_the_normal_distributions(observed):
    """σ [z (2 Φ(z) - 1) + 2 φ(z) - 1 / √π], Gneiting & Raftery 2007, equation 21."""
    from scipy.stats import norm

    exact = observed * (2 * norm.cdf(observed) - 1) + 2 * norm.pdf(observed) - 1 / math.sqrt(math.pi)
    samples = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    assert crps(samples, observed) == pytest.approx(exact, abs=2e-3)


def test_crps_is_unbiased_in_the_number_of_samples():
    """Its mean over many draws is the same for 3 and for 30 samples; the eCDF's estimator differs by 10 %."""
    rng = np.random.default_rng(8)
    observed = rng.normal(size=100_000)
    few, many = (crps(rng.normal(size=(size, 100_000)), observed).mean() for size in (3, 30))
    assert few == pytest.approx(many, rel=0.02)
    assert many == pytest.approx(1 / math.sqrt(math.pi), rel=0.02)


def test_crps_of_quantiles_needs_the_draws_that_they_are_worth():
    """Fifty quantiles of 250 draws err less than fifty draws, and are given no credit for it."""
    rng = np.random.default_rng(4)
    law = rng.normal(size=(250, 40_000))
    quantiles = np.quantile(law, np.arange(1, 51) / 51, axis=0, method="weibull")
    happened = rng.normal(size=40_000)
    fair = crps(law, happened)
    flattered = crps(quantiles, happened) - fair
    told = crps(quantiles, happened, draws=250) - fair
    assert flattered.mean() / fair.mean() == pytest.approx(-0.016, abs=0.002)
    assert abs(told.mean() / fair.mean()) < 0.002
    np.testing.assert_allclose(crps(law, happened, draws=250), fair)


def test_crps_keeps_its_digits_at_high_levels():
    samples = np.array([1.0, 2.0, 4.0])
    assert crps(samples * 1e-3 + 1e9, 2e-3 + 1e9) == pytest.approx(crps(samples * 1e-3, 2e-3), rel=1e-3)


def test_coverage_counts_known_values_and_ends():
    assert coverage([0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 2, math.nan]) == pytest.approx(2 / 3)
    assert math.isnan(coverage(0, 1, math.nan))


def test_interval_width_and_pinball_by_hand():
    assert interval_width([0, 1], [2, 7]) == pytest.approx(4.0)
    assert pinball([1.0, 1.0], [3.0, 0.0], 0.9) == pytest.approx([1.8, 0.1])
    with pytest.raises(ParameterError):
        pinball(1.0, 1.0, 1.0)


@given(st.floats(0.05, 0.95), st.integers(0, 100))
def test_pinball_is_least_at_the_quantile(level, seed):
    values = np.random.default_rng(seed).normal(size=200)
    best = pinball(np.quantile(values, level, method="inverted_cdf"), values, level).mean()
    for other in np.linspace(-2, 2, 9):
        assert best <= pinball(other, values, level).mean() + 1e-12

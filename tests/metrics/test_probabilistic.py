import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kronos.errors import ParameterError
from kronos.forecasts import sample_quantiles
from kronos.metrics import (
    attainable_coverage,
    band_coverage,
    band_ends,
    coverage,
    crps,
    energy_score,
    in_band,
    interval_score,
    interval_width,
    pinball,
)

values = st.floats(-1e3, 1e3)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=values), st.data())
def test_crps_equals_its_definition(samples, data):
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
def test_crps_converges_to_that_of_the_normal_distribution(observed):
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


@pytest.mark.slow
def test_crps_of_quantiles_needs_their_effective_draws():
    """Fifty quantiles of 250 draws err less than fifty draws, and are not rewarded for it."""
    rng = np.random.default_rng(4)
    law = rng.normal(size=(250, 40_000))
    quantiles = np.quantile(law, np.arange(1, 51) / 51, axis=0, method="weibull")
    happened = rng.normal(size=40_000)
    fair = crps(law, happened)
    flattered = crps(quantiles, happened) - fair
    corrected = crps(quantiles, happened, draws=250) - fair
    assert flattered.mean() / fair.mean() == pytest.approx(-0.016, abs=0.002)
    assert abs(corrected.mean() / fair.mean()) < 0.002
    np.testing.assert_allclose(crps(law, happened, draws=250), fair)


def test_crps_is_precise_at_high_levels():
    samples = np.array([1.0, 2.0, 4.0])
    assert crps(samples * 1e-3 + 1e9, 2e-3 + 1e9) == pytest.approx(crps(samples * 1e-3, 2e-3), rel=1e-3)


def test_coverage_includes_ends_and_ignores_nan():
    assert coverage([0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 2, math.nan]) == pytest.approx(2 / 3)
    assert math.isnan(coverage(0, 1, math.nan))


def test_interval_width_and_pinball_by_hand():
    assert interval_width([0, 1], [2, 7]) == pytest.approx(4.0)
    assert pinball([1.0, 1.0], [3.0, 0.0], 0.9) == pytest.approx([1.8, 0.1])
    with pytest.raises(ParameterError):
        pinball(1.0, 1.0, 1.0)


@given(st.floats(0.05, 0.95), st.integers(0, 100))
def test_pinball_is_minimal_at_the_quantile(level, seed):
    values = np.random.default_rng(seed).normal(size=200)
    best = pinball(np.quantile(values, level, method="inverted_cdf"), values, level).mean()
    for other in np.linspace(-2, 2, 9):
        assert best <= pinball(other, values, level).mean() + 1e-12


values = st.floats(-1e3, 1e3)
ensembles = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(1, 4)), elements=values
)  # [origins, S, H]


@given(ensembles, st.data())
def test_energy_score_equals_its_definition(samples, data):
    """mean ‖x - y‖ - ΣΣ ‖xᵢ - xⱼ‖ / (2 S (S - 1)), pair by pair."""
    origins, size, steps = samples.shape
    observed = data.draw(hnp.arrays(np.float64, (origins, steps), elements=values))
    distance = np.linalg.norm(samples - observed[:, None], axis=2).mean(axis=1)
    pairs = np.linalg.norm(samples[:, :, None] - samples[:, None], axis=3).sum(axis=(1, 2))
    spread = pairs / (2 * size * (size - 1)) if size > 1 else 0.0
    assert energy_score(samples, observed) == pytest.approx(distance - spread, abs=1e-9)


@given(ensembles, st.data())
def test_energy_score_ignores_order_and_is_homogeneous(samples, data):
    observed = data.draw(hnp.arrays(np.float64, samples.shape[::2], elements=values))
    order = data.draw(st.permutations(range(samples.shape[1])))
    expected = energy_score(samples, observed)
    assert energy_score(samples[:, order], observed) == pytest.approx(expected, abs=1e-9)
    assert energy_score(3 * samples + 5, 3 * observed + 5) == pytest.approx(3 * expected, abs=1e-9)
    assert energy_score(np.moveaxis(samples, 1, 0), observed, axis=0) == pytest.approx(expected, abs=1e-9)


def test_energy_score_equals_scoringrules():
    scoringrules = pytest.importorskip("scoringrules", reason="needs the evaluation extra")
    rng = np.random.default_rng(0)
    samples, observed = rng.normal(size=(7, 20, 5)), rng.normal(size=(7, 5))
    theirs = scoringrules.es_ensemble(observed, samples, estimator="fair")
    assert energy_score(samples, observed) == pytest.approx(theirs, abs=1e-12)


def test_energy_score_of_one_step_is_the_crps():
    rng = np.random.default_rng(1)
    samples, observed = rng.normal(size=(30, 9)), rng.normal(size=9)
    assert energy_score(samples.T[:, :, None], observed[:, None]) == pytest.approx(crps(samples, observed), abs=1e-12)


def test_energy_score_of_many_origins_equals_that_of_each():
    """Chunks do not change the result."""
    rng = np.random.default_rng(2)
    samples, observed = rng.normal(size=(500, 50, 24)), rng.normal(size=(500, 24))
    whole = energy_score(samples, observed)
    for i in (0, 54, 55, 499):
        assert whole[i] == energy_score(samples[i], observed[i])


def test_energy_score_is_nan_with_unknown_steps():
    samples, observed = np.zeros((2, 3, 2)), np.array([[0.0, math.nan], [3.0, 4.0]])
    assert energy_score(samples, observed) == pytest.approx([math.nan, 5.0], nan_ok=True)
    assert energy_score(np.empty((0, 3, 2)), np.empty((0, 2))).shape == (0,)


def test_energy_score_is_proper_and_unbiased():
    """The true distribution has the best mean score, with 5 paths as with 40."""
    rng = np.random.default_rng(3)
    observed = rng.normal(size=(4000, 6)).cumsum(axis=1)

    def mean(size, scale=1.0, drift=0.0, steps=None):
        walks = rng.normal(drift, scale, size=(4000, size, 6)).cumsum(axis=2)
        return energy_score(walks if steps is None else walks[:, :, steps], observed).mean()

    true = mean(40)
    assert mean(5) == pytest.approx(true, rel=0.02)
    assert true < min(mean(40, 0.6), mean(40, 1.6), mean(40, drift=0.4))
    assert true < mean(40, steps=[5, 4, 3, 2, 1, 0])  # wrong dependence between steps


def test_energy_score_refuses_invalid_shapes():
    with pytest.raises(ParameterError, match="axis"):
        energy_score(np.zeros((3, 4)), np.zeros(3), axis=1)
    with pytest.raises(ParameterError, match="at least one path"):
        energy_score(np.zeros((0, 4)), np.zeros(4))
    with pytest.raises(ParameterError, match="shape"):
        energy_score(np.zeros((3, 4)), np.zeros(3))


numbers = st.floats(-1e3, 1e3)


def test_band_ends_are_sample_quantiles():
    samples = np.random.default_rng(0).normal(size=(5, 50, 3))
    lower, upper = band_ends(samples, (0.5, 0.8), axis=1)
    assert lower.shape == upper.shape == (2, 5, 3)
    assert lower == pytest.approx(sample_quantiles(samples, [0.25, 0.1], axis=1))
    assert upper == pytest.approx(sample_quantiles(samples, [0.75, 0.9], axis=1))


def test_in_band_includes_ends_and_propagates_nan():
    hits = in_band([0, 0, 0, 0, math.nan], [1, 1, 1, 1, 1], [0, 1, 2, math.nan, 0])
    assert hits == pytest.approx([1, 1, 0, math.nan, math.nan], nan_ok=True)
    assert np.nanmean(hits) == pytest.approx(coverage([0, 0, 0], [1, 1, 1], [0, 1, 2]))


@given(numbers, st.floats(0, 100), numbers, st.floats(0.05, 0.99))
def test_interval_score_equals_scaled_pinball_losses(lower, width, observed, level):
    alpha = 1 - level
    losses = pinball(lower, observed, alpha / 2) + pinball(lower + width, observed, 1 - alpha / 2)
    assert interval_score(lower, lower + width, observed, level) == pytest.approx(2 / alpha * losses, abs=1e-6)


def test_interval_score_equals_scoringrules():
    scoringrules = pytest.importorskip("scoringrules", reason="needs the evaluation extra")
    rng = np.random.default_rng(1)
    lower, observed = rng.normal(size=(2, 50))
    upper = lower + rng.exponential(size=50)
    theirs = scoringrules.interval_score(observed, lower, upper, 0.2)
    assert interval_score(lower, upper, observed, 0.8) == pytest.approx(theirs)
    assert math.isnan(interval_score(0, 1, math.nan, 0.8))
    with pytest.raises(ParameterError):
        interval_score(0, 1, 0, 80)


def test_few_paths_have_lower_attainable_coverage():
    assert attainable_coverage(0.95, 39) == pytest.approx(0.95)
    assert attainable_coverage(0.95, 19) == pytest.approx(0.9)
    assert attainable_coverage(0.5, 1) == 0
    with pytest.raises(ParameterError):
        attainable_coverage(0.5, 0)


def test_band_coverage_by_hand():
    lower, upper, observed = np.zeros(5), np.array([1, 1, 1, 3, 3.0]), np.array([0.5, 1, 2, math.nan, 1])
    result = band_coverage(lower, upper, observed, 0.8)
    assert result.coverage.estimate == result.bootstrap.estimate == pytest.approx(0.75)
    assert result.coverage.n == result.width.n == 4
    assert result.width.estimate == pytest.approx(1.5)
    assert result.interval_score.estimate == pytest.approx(1.5 + 10 / 4)
    assert result.error == pytest.approx(-0.05)
    assert band_coverage(lower, upper, observed, 0.95, samples=19).target == pytest.approx(0.9)


def test_dependent_dates_widen_the_intervals():
    """400 dates of 20 instruments that are hit or missed all at once rest on 400 observations, not on 8000."""
    dates = np.repeat(np.arange(400), 20)
    truth = np.repeat(np.random.default_rng(3).normal(size=400), 20)
    apart, together = (band_coverage(np.full(8000, -1.0), np.full(8000, 1.0), truth, 0.7, d) for d in (None, dates))
    for kind in ("coverage", "bootstrap"):
        wide = getattr(together, kind)
        assert wide.low < together.coverage.estimate < wide.high
        assert wide.effective_n == pytest.approx(400, rel=0.35)
        assert wide.high - wide.low == pytest.approx(0.09, abs=0.02)
    assert apart.coverage.effective_n == 8000
    assert apart.coverage.high - apart.coverage.low == pytest.approx(0.02, abs=0.002)

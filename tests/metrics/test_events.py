import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm

from kronos.errors import ParameterError
from kronos.metrics import brier, direction, pesaran_timmermann, reliability, wilson


@given(hnp.arrays(np.float64, 12, elements=st.floats(0, 1)), hnp.arrays(np.bool_, 12), st.sampled_from([1, 3, 10, 40]))
def test_decomposition_adds_up(probability, happened, bins):
    for binning in ("quantile", "width"):
        result = reliability(probability, happened, bins=bins, binning=binning)
        parts = result.reliability - result.resolution + result.uncertainty + result.within
        assert result.brier == pytest.approx(brier(probability, happened).mean())
        assert parts == pytest.approx(result.brier, abs=1e-12)
        assert sum(part.n for part in result.bins) == result.n == 12
        assert all(part.low <= part.forecast + 1e-12 and part.forecast <= part.high + 1e-12 for part in result.bins)
        assert min(result.reliability, result.resolution, result.uncertainty) >= 0


def test_brier_equals_scoringrules():
    scoringrules = pytest.importorskip("scoringrules", reason="needs the evaluation extra")
    rng = np.random.default_rng(0)
    probability, happened = rng.random(50), rng.random(50) < 0.5
    assert brier(probability, happened) == pytest.approx(scoringrules.brier_score(happened, probability))
    assert brier([0.5, math.nan], [1, 1]) == pytest.approx([0.25, math.nan], nan_ok=True)


def test_murphy_by_hand():
    """Two probabilities, each its own bin: .2 happened 1 of 4 times, .7 happened 3 of 4."""
    probability = [0.2] * 4 + [0.7] * 4 + [math.nan]
    happened = [1, 0, 0, 0, 1, 1, 1, 0, 1]
    result = reliability(probability, happened)
    assert [(part.n, part.forecast, part.observed.estimate) for part in result.bins] == [(4, 0.2, 0.25), (4, 0.7, 0.75)]
    assert (result.bins[0].observed.low, result.bins[0].observed.high) == wilson(1, 4)
    assert result.reliability == pytest.approx(0.05**2)
    assert result.resolution == pytest.approx(0.25**2)
    assert result.uncertainty == pytest.approx(0.25)
    assert result.within == pytest.approx(0.0, abs=1e-12)
    assert result.skill == pytest.approx(1 - result.brier / 0.25)


def test_bins_of_equal_width_and_equal_size():
    probability = np.concatenate([np.linspace(0.45, 0.55, 90), np.linspace(0, 1, 11)])
    happened = np.arange(101) % 2
    assert len(reliability(probability, happened, binning="width").bins) == 10
    numbers = [part.n for part in reliability(probability, happened, bins=5).bins]
    assert max(numbers) - min(numbers) <= 2


def test_reliability_of_calibrated_and_constant_probabilities():
    rng = np.random.default_rng(1)
    probability = rng.beta(2, 2, size=20_000)
    result = reliability(probability, rng.random(20_000) < probability)
    assert result.reliability < 3e-4
    assert result.resolution == pytest.approx(probability.var(), rel=0.15)
    assert sum(part.observed.low <= part.forecast <= part.observed.high for part in result.bins) >= 8
    constant = reliability(np.full(100, 0.5), np.arange(100) % 2)
    assert (len(constant.bins), constant.resolution, constant.skill) == (1, 0.0, 0.0)


def test_intervals_by_date_are_wider():
    dates = np.repeat(np.arange(100), 10)
    happened = np.repeat(np.random.default_rng(2).random(100) < 0.5, 10)
    probability = np.full(1000, 0.5)
    apart, together = (reliability(probability, happened, d).bins[0].observed for d in (None, dates))
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_reliability_without_known_pairs_is_nan():
    result = reliability([math.nan], [1])
    assert result.bins == ()
    assert result.n == 0
    assert math.isnan(result.brier)
    assert math.isnan(result.skill)


def test_invalid_probabilities_are_refused():
    with pytest.raises(ParameterError, match="between 0 and 1"):
        brier(1.2, 1)
    with pytest.raises(ParameterError, match="1 or 0"):
        brier(0.2, 2)
    with pytest.raises(ParameterError, match="quantile"):
        reliability([0.2], [1], binning="equal")
    with pytest.raises(ParameterError):
        reliability([0.2], [1], bins=0)


def classical(x, y):
    """Pesaran & Timmermann 1992 step by step, as the paper writes it."""
    n, hit = len(x), np.mean(x == y)
    px, py = x.mean(), y.mean()
    star = py * px + (1 - py) * (1 - px)
    v_hit = star * (1 - star) / n
    v_star = (
        (2 * py - 1) ** 2 * px * (1 - px) / n
        + (2 * px - 1) ** 2 * py * (1 - py) / n
        + 4 * py * px * (1 - py) * (1 - px) / n**2
    )
    return (hit - star) / math.sqrt(v_hit - v_star)


def test_hit_rate_by_hand():
    result = direction([1, -1, 2, 0, 3, 1, math.nan], [1, -2, -1, 1, 0, 2, 1])
    assert result.hit_rate.estimate == pytest.approx(3 / 4)
    assert (result.hit_rate.n, result.undecided) == (4, 2)
    assert (result.up_predicted, result.up_observed) == (0.75, 0.5)
    assert (result.hit_rate.low, result.hit_rate.high) == wilson(3, 4)


def test_classical_test_equals_the_paper():
    rng = np.random.default_rng(0)
    observed = rng.normal(0.2, 1, 150)
    predicted = observed + rng.normal(0.1, 2, 150)
    expected = classical(predicted > 0, observed > 0)
    result = pesaran_timmermann(predicted, observed)
    assert result.statistic == pytest.approx(expected)
    assert result.p_value == pytest.approx(norm.sf(expected))
    assert direction(predicted, observed).test == result


def test_one_pair_per_date_agrees_with_the_classical_test():
    rng = np.random.default_rng(1)
    observed = rng.normal(0.1, 1, 4000)
    predicted = observed + rng.normal(0, 8, 4000)
    by_date = pesaran_timmermann(predicted, observed, np.arange(4000), lags=0)
    plain = pesaran_timmermann(predicted, observed)
    assert by_date.estimate == plain.estimate
    assert by_date.statistic == pytest.approx(plain.statistic, rel=0.02)


def test_copies_of_an_instrument_add_no_evidence():
    rng = np.random.default_rng(2)
    observed = rng.normal(size=200)
    predicted = observed + rng.normal(0, 3, 200)
    dates = np.arange(200)
    one = pesaran_timmermann(predicted, observed, dates)
    many = pesaran_timmermann(np.repeat(predicted, 25), np.repeat(observed, 25), np.repeat(dates, 25))
    assert many.statistic == pytest.approx(one.statistic)
    assert one.effective_n <= many.effective_n < 400


def test_test_by_date_has_its_nominal_size():
    """Dependent markets with dependent calls: 5 % of 200 histories; the classical test rejects more."""
    by_date, plain = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        observed = (2 * rng.normal(size=(100, 1)) + rng.normal(size=(100, 10))).ravel()
        predicted = (2 * rng.normal(size=(100, 1)) + rng.normal(size=(100, 10))).ravel()
        by_date.append(pesaran_timmermann(predicted, observed, np.repeat(np.arange(100), 10)).p_value)
        plain.append(pesaran_timmermann(predicted, observed).p_value)
    assert np.mean(np.array(by_date) < 0.05) <= 0.1
    assert np.mean(np.array(plain) < 0.05) > 0.15


def test_perfect_calls_are_detected_and_constant_calls_have_no_power():
    observed = np.random.default_rng(3).normal(size=60)
    result = direction(observed, observed, np.arange(60))
    assert result.hit_rate.estimate == 1
    assert result.test.p_value < 1e-6
    always = direction(np.ones(60), observed)
    assert always.hit_rate.estimate == always.up_observed
    assert math.isnan(always.test.p_value)


def test_direction_without_known_pairs_is_nan():
    result = direction([math.nan, 0.0], [1.0, 1.0], [1, 2])
    assert math.isnan(result.hit_rate.estimate)
    assert math.isnan(result.test.statistic)
    assert math.isnan(result.up_observed)
    assert result.undecided == 1
    with pytest.raises(ParameterError, match="length"):
        direction([1], [1, 2])

import math

import numpy as np
import pytest
from scipy.stats import norm

from kronos.errors import ParameterError
from kronos.metrics import direction, pesaran_timmermann, wilson


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
    done = direction([1, -1, 2, 0, 3, 1, math.nan], [1, -2, -1, 1, 0, 2, 1])
    assert done.hit_rate.estimate == pytest.approx(3 / 4)
    assert (done.hit_rate.n, done.undecided) == (4, 2)
    assert (done.up_predicted, done.up_observed) == (0.75, 0.5)
    assert (done.hit_rate.low, done.hit_rate.high) == wilson(3, 4)


def test_the_classical_test_is_the_papers():
    rng = np.random.default_rng(0)
    observed = rng.normal(0.2, 1, 150)
    predicted = observed + rng.normal(0.1, 2, 150)
    expected = classical(predicted > 0, observed > 0)
    done = pesaran_timmermann(predicted, observed)
    assert done.statistic == pytest.approx(expected)
    assert done.p_value == pytest.approx(norm.sf(expected))
    assert direction(predicted, observed).test == done


def test_one_pair_a_date_agrees_with_the_classical_test():
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


def test_by_date_it_rejects_chance_about_as_often_as_it_says():
    """Markets that move together and are all called alike: 5 % of 200 histories, where the classical test is lost."""
    by_date, plain = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        observed = (2 * rng.normal(size=(100, 1)) + rng.normal(size=(100, 10))).ravel()
        predicted = (2 * rng.normal(size=(100, 1)) + rng.normal(size=(100, 10))).ravel()
        by_date.append(pesaran_timmermann(predicted, observed, np.repeat(np.arange(100), 10)).p_value)
        plain.append(pesaran_timmermann(predicted, observed).p_value)
    assert np.mean(np.array(by_date) < 0.05) <= 0.1
    assert np.mean(np.array(plain) < 0.05) > 0.15


def test_a_clairvoyant_is_detected_and_one_call_has_no_power():
    observed = np.random.default_rng(3).normal(size=60)
    done = direction(observed, observed, np.arange(60))
    assert done.hit_rate.estimate == 1
    assert done.test.p_value < 1e-6
    always = direction(np.ones(60), observed)
    assert always.hit_rate.estimate == always.up_observed
    assert math.isnan(always.test.p_value)


def test_nothing_known_is_unknown():
    done = direction([math.nan, 0.0], [1.0, 1.0], [1, 2])
    assert math.isnan(done.hit_rate.estimate)
    assert math.isnan(done.test.statistic)
    assert math.isnan(done.up_observed)
    assert done.undecided == 1
    with pytest.raises(ParameterError, match="same number"):
        direction([1], [1, 2])

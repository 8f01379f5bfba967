import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kronos.errors import ParameterError
from kronos.metrics import brier, reliability, wilson


@given(hnp.arrays(np.float64, 12, elements=st.floats(0, 1)), hnp.arrays(np.bool_, 12), st.sampled_from([1, 3, 10, 40]))
def test_the_parts_add_up(probability, happened, bins):
    for binning in ("quantile", "width"):
        done = reliability(probability, happened, bins=bins, binning=binning)
        parts = done.reliability - done.resolution + done.uncertainty + done.within
        assert done.brier == pytest.approx(brier(probability, happened).mean())
        assert parts == pytest.approx(done.brier, abs=1e-12)
        assert sum(part.n for part in done.bins) == done.n == 12
        assert all(part.low <= part.forecast + 1e-12 and part.forecast <= part.high + 1e-12 for part in done.bins)
        assert min(done.reliability, done.resolution, done.uncertainty) >= 0


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
    done = reliability(probability, happened)
    assert [(part.n, part.forecast, part.observed.estimate) for part in done.bins] == [(4, 0.2, 0.25), (4, 0.7, 0.75)]
    assert (done.bins[0].observed.low, done.bins[0].observed.high) == wilson(1, 4)
    assert done.reliability == pytest.approx(0.05**2)
    assert done.resolution == pytest.approx(0.25**2)
    assert done.uncertainty == pytest.approx(0.25)
    assert done.within == pytest.approx(0.0, abs=1e-12)
    assert done.skill == pytest.approx(1 - done.brier / 0.25)


def test_bins_of_equal_width_and_of_equal_number():
    probability = np.concatenate([np.linspace(0.45, 0.55, 90), np.linspace(0, 1, 11)])
    happened = np.arange(101) % 2
    assert len(reliability(probability, happened, binning="width").bins) == 10
    numbers = [part.n for part in reliability(probability, happened, bins=5).bins]
    assert max(numbers) - min(numbers) <= 2


def test_calibrated_probabilities_are_reliable_and_constant_ones_tell_nothing():
    rng = np.random.default_rng(1)
    probability = rng.beta(2, 2, size=20_000)
    done = reliability(probability, rng.random(20_000) < probability)
    assert done.reliability < 3e-4
    assert done.resolution == pytest.approx(probability.var(), rel=0.15)
    assert sum(part.observed.low <= part.forecast <= part.observed.high for part in done.bins) >= 8
    constant = reliability(np.full(100, 0.5), np.arange(100) % 2)
    assert (len(constant.bins), constant.resolution, constant.skill) == (1, 0.0, 0.0)


def test_intervals_by_date_are_wider():
    dates = np.repeat(np.arange(100), 10)
    happened = np.repeat(np.random.default_rng(2).random(100) < 0.5, 10)
    probability = np.full(1000, 0.5)
    apart, together = (reliability(probability, happened, d).bins[0].observed for d in (None, dates))
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_nothing_known_is_unknown():
    done = reliability([math.nan], [1])
    assert done.bins == ()
    assert done.n == 0
    assert math.isnan(done.brier)
    assert math.isnan(done.skill)


def test_refuses_what_is_no_probability():
    with pytest.raises(ParameterError, match="between 0 and 1"):
        brier(1.2, 1)
    with pytest.raises(ParameterError, match="1 or 0"):
        brier(0.2, 2)
    with pytest.raises(ParameterError, match="quantile"):
        reliability([0.2], [1], binning="equal")
    with pytest.raises(ParameterError):
        reliability([0.2], [1], bins=0)

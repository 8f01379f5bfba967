import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import ParameterError
from kronos.forecasts import sample_quantiles
from kronos.metrics import band_coverage, band_ends, coverage, in_band, interval_score, pinball, reachable

numbers = st.floats(-1e3, 1e3)


def test_ends_are_the_samples_quantiles():
    samples = np.random.default_rng(0).normal(size=(5, 50, 3))
    lower, upper = band_ends(samples, (0.5, 0.8), axis=1)
    assert lower.shape == upper.shape == (2, 5, 3)
    assert lower == pytest.approx(sample_quantiles(samples, [0.25, 0.1], axis=1))
    assert upper == pytest.approx(sample_quantiles(samples, [0.75, 0.9], axis=1))


def test_inside_counts_ends_and_knows_what_is_unknown():
    hits = in_band([0, 0, 0, 0, math.nan], [1, 1, 1, 1, 1], [0, 1, 2, math.nan, 0])
    assert hits == pytest.approx([1, 1, 0, math.nan, math.nan], nan_ok=True)
    assert np.nanmean(hits) == pytest.approx(coverage([0, 0, 0], [1, 1, 1], [0, 1, 2]))


@given(numbers, st.floats(0, 100), numbers, st.floats(0.05, 0.99))
def test_interval_score_is_the_ends_pinball_losses(lower, width, observed, level):
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


def test_few_paths_reach_less():
    assert reachable(0.95, 39) == pytest.approx(0.95)
    assert reachable(0.95, 19) == pytest.approx(0.9)
    assert reachable(0.5, 1) == 0
    with pytest.raises(ParameterError):
        reachable(0.5, 0)


def test_coverage_by_hand():
    lower, upper, observed = np.zeros(5), np.array([1, 1, 1, 3, 3.0]), np.array([0.5, 1, 2, math.nan, 1])
    done = band_coverage(lower, upper, observed, 0.8)
    assert done.coverage.estimate == done.bootstrap.estimate == pytest.approx(0.75)
    assert done.coverage.n == done.width.n == 4
    assert done.width.estimate == pytest.approx(1.5)
    assert done.interval_score.estimate == pytest.approx(1.5 + 10 / 4)
    assert done.error == pytest.approx(-0.05)
    assert band_coverage(lower, upper, observed, 0.95, samples=19).target == pytest.approx(0.9)


def test_dates_that_move_together_widen_the_intervals():
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

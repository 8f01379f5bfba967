import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kronos.errors import ParameterError
from kronos.metrics import block_length, bootstrap_mean, bootstrap_skill


def persistent(rng, size, rho):
    """An AR(1) series of variance 1."""
    values = rng.normal(size=size)
    for i in range(1, size):
        values[i] = rho * values[i - 1] + math.sqrt(1 - rho**2) * values[i]
    return values


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("size", [150, 600])
def test_block_length_equals_that_of_arch(size, rho):
    bootstrap = pytest.importorskip("arch.bootstrap", reason="needs the evaluation extra")
    for seed in range(5):
        series = persistent(np.random.default_rng(seed), size, rho)
        theirs = bootstrap.optimal_block_length(series)["stationary"].iloc[0]
        assert block_length(series) == pytest.approx(max(1.0, theirs))


def test_block_length_includes_overlapping_outcomes():
    noise = np.random.default_rng(0).normal(size=200)
    assert block_length(noise, overlap=24) == 46
    assert block_length(noise, overlap=1) < 5
    assert block_length([]) == block_length([1.0]) == 1
    assert block_length(np.ones(50)) == 1
    assert block_length(np.ones(5), overlap=24) == 5
    with pytest.raises(ParameterError):
        block_length(noise, overlap=0)


def test_mean_and_skill_by_hand():
    dates = ["b", "a", "b", "c"]
    mean = bootstrap_mean([1, 2, 3, math.nan], dates)
    assert (mean.estimate, mean.n, mean.dates) == (2.0, 3, 2)
    result = bootstrap_skill([1, 1, 2, 9], [2, 2, 4, math.nan], dates)
    assert result.estimate == pytest.approx(0.5)
    assert (result.low, result.high) == pytest.approx((0.5, 0.5))  # half on every date


@given(hnp.arrays(np.float64, (2, 30), elements=st.floats(0.1, 10)), st.integers(0, 99))
def test_skill_is_independent_of_unit_and_order(losses, seed):
    dates = np.repeat(np.arange(10), 3)
    order = np.random.default_rng(seed).permutation(30)
    result = bootstrap_skill(*losses, dates, repetitions=50)
    for other in (
        bootstrap_skill(*(1e-3 * losses), dates, repetitions=50),
        bootstrap_skill(
            *losses[:, order], pd.Timestamp("2024-01-01") + pd.to_timedelta(dates[order], unit="h"), repetitions=50
        ),
    ):
        assert other.estimate == pytest.approx(result.estimate)
        assert (other.low, other.high) == pytest.approx((result.low, result.high))
    assert result.low <= result.high


def test_bootstrap_error_matches_theory():
    """Independent dates: σ / √n; a persistent series: what theory says of an AR(1)."""
    rng = np.random.default_rng(1)
    plain = bootstrap_mean(rng.normal(size=2000), seed=3)
    assert plain.high - plain.low == pytest.approx(2 * 1.96 / math.sqrt(2000), rel=0.1)
    assert plain.effective_n == pytest.approx(2000, rel=0.15)
    slow = bootstrap_mean(persistent(rng, 4000, 0.8), seed=3)
    assert slow.effective_n == pytest.approx(4000 * (1 - 0.8) / (1 + 0.8), rel=0.35)
    assert slow.block > 5
    assert slow.blocks == pytest.approx(4000 / slow.block)


def test_intervals_are_reproducible_by_seed():
    values = np.random.default_rng(2).normal(size=100)
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1).low != bootstrap_mean(values, seed=2).low
    assert bootstrap_mean(values, confidence=0.8).low > bootstrap_mean(values, confidence=0.99).low


def test_single_date_has_no_interval():
    for result in (bootstrap_mean([1.0, 3.0], ["2024", "2024"]), bootstrap_skill([1.0], [2.0])):
        assert math.isnan(result.low)
        assert math.isfinite(result.estimate)
    assert math.isnan(bootstrap_skill([1.0, 2.0], [0.0, 0.0]).estimate)
    assert math.isnan(bootstrap_mean([math.nan]).estimate)
    assert bootstrap_mean([]).n == 0


def test_invalid_arguments_are_refused():
    with pytest.raises(ParameterError, match="length"):
        bootstrap_skill([1, 2], [1, 2, 3])
    with pytest.raises(ParameterError, match="repetition"):
        bootstrap_mean([1, 2], repetitions=0)
    with pytest.raises(ParameterError, match="confidence"):
        bootstrap_mean([1, 2], confidence=0)


def test_few_blocks_widen_the_interval():
    """Percentiles as they are would cover less with 12 dates than with many."""
    missed = 0
    for seed in range(200):
        result = bootstrap_mean(np.random.default_rng(seed).normal(size=12), seed=seed, repetitions=500)
        missed += not result.low <= 0 <= result.high
    assert missed <= 24  # 5 % asked for; plain percentiles miss 12 to 15 %


@pytest.mark.parametrize(("dates", "instruments", "overlap"), [(100, 10, 1), (300, 8, 6)])
def test_skill_interval_of_equal_forecasts_contains_zero(dates, instruments, overlap):
    """Two forecasts that are equally good, markets that move together, outcomes that overlap: misses at most 12 %."""
    missed = 0
    days = np.repeat(np.arange(dates), instruments)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        shocks = rng.normal(size=(3, dates + overlap, 1)) + rng.normal(size=(3, dates + overlap, instruments))
        windows = np.lib.stride_tricks.sliding_window_view(shocks, overlap, axis=1)[:, :dates].sum(axis=-1)
        truth, one, other = windows.reshape(3, -1) / math.sqrt(overlap)
        result = bootstrap_skill(
            np.abs(truth - one), np.abs(truth - other), days, overlap=overlap, repetitions=400, seed=seed
        )
        missed += not result.low <= 0 <= result.high
    assert missed <= 18

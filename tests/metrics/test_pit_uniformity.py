import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import kstest

from kronos.errors import ParameterError
from kronos.metrics import pit, pit_histogram, rank_histogram, uniformity

whole = st.integers(-3, 3).map(float)  # many ties


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 4)), elements=whole), st.data())
def test_pit_lies_between_its_ranks(samples, data):
    size, count = samples.shape
    observed = data.draw(hnp.arrays(np.float64, count, elements=whole))
    order = data.draw(st.permutations(range(size)))
    values = pit(samples, observed)
    below, equal = (samples < observed).sum(axis=0), (samples == observed).sum(axis=0)
    assert (values >= below / (size + 1)).all()
    assert (values <= (below + equal + 1) / (size + 1)).all()
    assert pit(samples[order], observed).tolist() == values.tolist()
    assert pit(samples.T, observed, axis=1).tolist() == values.tolist()
    assert rank_histogram(samples, observed).sum() == count


@given(hnp.arrays(np.float64, (6, 5), elements=st.floats(-5, 5)), st.integers(0, 50))
def test_pit_is_invariant_to_scaling(samples, seed):
    observed = samples[0] + 0.25
    assert pit(samples, observed, seed=seed).tolist() == pit(8 * samples, 8 * observed, seed=seed).tolist()


def test_pit_is_uniform_with_few_samples_and_ties():
    """If the truth is one more sample, exactly: 4 samples of whole numbers."""
    rng = np.random.default_rng(0)
    draws = rng.poisson(2.0, size=(5, 50_000))
    values = pit(draws[1:], draws[0], seed=rng)
    assert kstest(values, "uniform").pvalue > 0.01
    counts = rank_histogram(draws[1:], draws[0])
    assert counts.shape == (5,)
    assert counts / 50_000 == pytest.approx([0.2] * 5, abs=0.01)


def test_pit_of_unknown_values_is_nan():
    samples = np.array([[0.0, math.nan], [1.0, 1.0]])
    assert np.isnan(pit(samples, [0.5, 0.5])).tolist() == [False, True]
    assert np.isnan(pit(samples[:, 0], math.nan))
    assert rank_histogram(samples, [0.5, 0.5]).tolist() == [0, 1, 0]
    with pytest.raises(ParameterError):
        pit(np.empty((0, 2)), [1, 2])
    with pytest.raises(ParameterError, match="shape"):
        pit(samples, [1, 2, 3])


def test_generator_continues_over_parts():
    samples, observed = np.random.default_rng(1).normal(size=(9, 10)), np.zeros(10)
    rng = np.random.default_rng(5)
    parts = [pit(samples[:, part], observed[part], seed=rng) for part in (slice(0, 4), slice(4, 10))]
    assert np.concatenate(parts).tolist() == pit(samples, observed, seed=5).tolist()


def test_histogram_shares_add_to_one():
    bins = pit_histogram([0.0, 0.05, 0.5, 0.95, 1.0, math.nan], bins=10)
    assert [round(b.share.estimate, 12) for b in bins] == [0.4, 0, 0, 0, 0, 0.2, 0, 0, 0, 0.4]
    assert (bins[0].low, bins[0].high, bins[-1].high) == (0.0, 0.1, 1.0)
    assert all(b.share.n == 5 for b in bins)
    assert pit_histogram([math.nan])[0].share.n == 0
    with pytest.raises(ParameterError):
        pit_histogram([0.5], bins=0)
    with pytest.raises(ParameterError, match="between 0 and 1"):
        pit_histogram([1.5])


def test_uniformity_without_dates_equals_that_of_scipy():
    values = np.random.default_rng(2).random(200) ** 1.2
    theirs, ours = kstest(values, "uniform"), uniformity([*values, math.nan])
    assert ours.estimate == pytest.approx(theirs.statistic)
    assert ours.p_value == pytest.approx(theirs.pvalue)
    assert ours.statistic == pytest.approx(theirs.statistic * math.sqrt(200))
    assert math.isnan(uniformity([]).p_value)
    assert math.isnan(uniformity([0.3, 0.4], ["2024", "2024"]).p_value)


def test_uniformity_by_date_accepts_calibrated_and_rejects_narrow_bands():
    """Dependent instruments: the classical test rejects most, the test by date about 5 %."""
    dates = np.repeat(pd.date_range("2024-01-01", periods=120, tz="UTC"), 20)
    by_date, usual, narrow = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = (2 * rng.normal(size=(120, 1)) + rng.normal(size=(120, 20))).ravel() / math.sqrt(5)
        samples = rng.normal(size=(30, truth.size))
        values = pit(samples, truth, seed=rng)
        by_date.append(uniformity(values, dates, repetitions=300).p_value)
        usual.append(uniformity(values).p_value)
        narrow.append(uniformity(pit(0.4 * samples, truth, seed=rng), dates, repetitions=300).p_value)
    assert np.mean(np.array(usual) < 0.05) > 0.5
    assert np.mean(np.array(by_date) < 0.05) <= 0.15
    assert max(narrow) < 0.05

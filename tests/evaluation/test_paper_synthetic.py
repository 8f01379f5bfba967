"""The paper's task on generated sequences: the two networks, their data, and forecasters of known quality."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluation.random_walks import GaussianForecaster, instruments
from kronos.errors import DataError
from kronos.evaluation import Dates
from kronos.evaluation.paper import PaperSettings, Windows, run_paper
from kronos.evaluation.paper.classifiers import classify
from kronos.evaluation.paper.forecasting import OriginTimes, make_origin_sets
from kronos.evaluation.paper.synthetic import REAL, ContextScales, split_by_time, tstr_correlations

SETTINGS = PaperSettings("synthetic", lookback=40, horizon=12)


def ignore(amount):
    pass


def noise(seed, count=300, length=10, channels=4):
    return np.random.default_rng(seed).normal(size=(count, length, channels))


def test_real_sequences_are_indistinguishable():
    wrong = classify((noise(1), noise(2)), (noise(3), noise(4)), seed=1, on_epoch=ignore)
    assert abs(np.concatenate(wrong).mean() - 0.5) < 0.08


@pytest.mark.slow
def test_shifted_and_narrow_sequences_are_recognised():
    for change in (lambda x: x + 1.0, lambda x: x * 0.3):
        training = [noise(seed, 600) for seed in (1, 2)]
        wrong = classify((training[0], change(training[1])), (noise(3), change(noise(4))), seed=1, on_epoch=ignore)
        assert np.concatenate(wrong).mean() < 0.1


@pytest.mark.slow
def test_training_is_seeded_and_restores_the_global_generator():
    before = torch.get_rng_state()
    first, again = (classify((noise(1), noise(2)), (noise(3), noise(4)), seed=7, on_epoch=ignore) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert torch.equal(before, torch.get_rng_state())


def waves(seed, count=640, length=12):
    """Sine waves with random phases."""
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, (count, 1))
    prices = 100 + np.sin(phase + np.arange(length) * 2 * np.pi / 6)
    return np.repeat(prices[..., None], 4, axis=-1)


def walks(seed, count=640, length=12):
    prices = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, (count, length)), axis=1))
    return np.repeat(prices[..., None], 4, axis=-1)


@pytest.mark.slow
def test_the_forecaster_learns_from_similar_sequences_and_not_from_noise():
    test, windows = waves(9, 200), Windows(9, 3)
    real, _ = tstr_correlations(waves(1), test, windows, seed=1, on_epoch=ignore)
    empty, _ = tstr_correlations(walks(1), test, windows, seed=1, on_epoch=ignore)
    assert real.mean() > 0.9
    assert empty.mean() < real.mean() - 0.3


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), min_size=1, max_size=60))
def test_tests_come_after_all_training_sequences(windows):
    begin = pd.Timestamp("2024-07-01")
    origins = pd.DatetimeIndex([begin + pd.Timedelta(hours=first) for first, _ in windows])
    ends = pd.DatetimeIndex([begin + pd.Timedelta(hours=first + length) for first, length in windows])
    earlier, later = split_by_time(OriginTimes(origins, ends))
    assert len(later)
    assert not set(earlier) & set(later)
    if len(earlier):
        assert ends[earlier].max() <= origins[later].min()


def test_sequences_are_normalised_by_their_context():
    [origins], _ = make_origin_sets(instruments(2, 300), SETTINGS, Dates())
    scales = ContextScales.of(origins)
    for origin in (0, len(origins.plan) - 1):
        known = origins.plan.history(origin).tail(40).frame.to_numpy()
        normalised = scales.normalise(known[None], np.array([origin]))
        np.testing.assert_allclose(normalised[0, :, :4].mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(normalised[0, :, :4].std(axis=0), 1, rtol=1e-3)


@pytest.mark.slow
def test_realistic_sequences_are_harder_to_recognise():
    calls = []
    result = run_paper(
        instruments(3, 600),
        GaussianForecaster(),
        SETTINGS,
        dates=Dates(),
        progress=lambda done, total: calls.append((done, total)),
    )
    gaussian, walk = (
        result.row("walks 1h", name).figures["discriminative"] for name in ("gaussian", "historical-volatility")
    )
    assert gaussian.high < 0.3  # it has no volume, and other wicks
    assert walk.low < 0.5
    assert walk.value > 0.35
    assert [row.forecaster for row in result.rows] == ["gaussian", "historical-volatility", "block-bootstrap", REAL]
    assert np.isnan(result.row("walks 1h", REAL).figures["discriminative"].value)
    assert "trained on" in result.warnings[0]
    assert "an LSTM misclassifies" in result.sentences[0]
    for row in result.rows:  # random walks cannot be forecast, whatever the training data
        assert row.figures["tstr_ic"].low < 0.1
        assert row.figures["tstr_ic"].high > -0.1
    assert result.row("walks 1h", "gaussian").n == 2 * result.row("walks 1h", REAL).n
    done = [count for count, _ in calls]
    assert done == sorted(done)
    assert calls[-1][0] == calls[-1][1]


def test_the_number_of_sequences():
    settings = PaperSettings("synthetic", lookback=40, horizon=12, sequences=60)
    result = run_paper(instruments(2, 600), GaussianForecaster(), settings, dates=Dates())
    assert result.provenance["walks"][0]["origins"] == 60


def test_too_few_sequences_are_refused():
    with pytest.raises(DataError, match="28 sequences leave 12"):
        run_paper(instruments(4, 150), GaussianForecaster(), SETTINGS, dates=Dates())

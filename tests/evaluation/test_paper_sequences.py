"""The paper's task on generated sequences: judges that can tell, and that cannot where there is nothing to tell."""

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


def told(amount):
    """Nobody listens."""


def noise(seed, count=300, length=10, channels=4):
    return np.random.default_rng(seed).normal(size=(count, length, channels))


def test_real_cannot_be_told_from_real():
    wrong = classify((noise(1), noise(2)), (noise(3), noise(4)), seed=1, tell=told)
    assert abs(np.concatenate(wrong).mean() - 0.5) < 0.08


def test_what_is_shifted_or_too_quiet_is_told():
    for change in (lambda x: x + 1.0, lambda x: x * 0.3):
        learn = [noise(seed, 600) for seed in (1, 2)]
        wrong = classify((learn[0], change(learn[1])), (noise(3), change(noise(4))), seed=1, tell=told)
        assert np.concatenate(wrong).mean() < 0.1


def test_judging_is_seeded_and_leaves_torch_as_it_was():
    before = torch.get_rng_state()
    first, again = (classify((noise(1), noise(2)), (noise(3), noise(4)), seed=7, tell=told) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert torch.equal(before, torch.get_rng_state())


def waves(seed, count=640, length=12):
    """Prices that go up and down regularly, each from a phase of its own."""
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, (count, 1))
    prices = 100 + np.sin(phase + np.arange(length) * 2 * np.pi / 6)
    return np.repeat(prices[..., None], 4, axis=-1)


def walks(seed, count=640, length=12):
    prices = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, (count, length)), axis=1))
    return np.repeat(prices[..., None], 4, axis=-1)


def test_one_learns_from_what_is_like_the_truth_and_not_from_noise():
    test, windows = waves(9, 200), Windows(9, 3)
    real, _ = tstr_correlations(waves(1), test, windows, seed=1, tell=told)
    empty, _ = tstr_correlations(walks(1), test, windows, seed=1, tell=told)
    assert real.mean() > 0.9
    assert empty.mean() < real.mean() - 0.3


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), min_size=1, max_size=60))
def test_judges_are_tested_on_what_comes_after_all_they_learnt_from(windows):
    begin = pd.Timestamp("2024-07-01")
    origins = pd.DatetimeIndex([begin + pd.Timedelta(hours=first) for first, _ in windows])
    ends = pd.DatetimeIndex([begin + pd.Timedelta(hours=first + length) for first, length in windows])
    earlier, later = split_by_time(OriginTimes(origins, ends))
    assert len(later)
    assert not set(earlier) & set(later)
    if len(earlier):
        assert ends[earlier].max() <= origins[later].min()


def test_sequences_are_shown_in_units_of_the_past():
    [walk], _ = make_origin_sets(instruments(2, 300), SETTINGS, Dates())
    frames = ContextScales.of(walk)
    for origin in (0, len(walk.plan) - 1):
        known = walk.plan.history(origin).tail(40).frame.to_numpy()
        shown = frames.shown(known[None], np.array([origin]))
        np.testing.assert_allclose(shown[0, :, :4].mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(shown[0, :, :4].std(axis=0), 1, rtol=1e-3)


def test_who_knows_the_law_is_hard_to_tell_and_who_does_not_is_easy():
    seen = []
    result = run_paper(
        instruments(3, 600),
        GaussianForecaster(),
        SETTINGS,
        dates=Dates(),
        progress=lambda done, total: seen.append((done, total)),
    )
    own, law = (
        result.row("walks 1h", name).figures["discriminative"] for name in ("gaussian", "historical-volatility")
    )
    assert own.high < 0.3  # it has no volume, and other shadows
    assert law.low < 0.5
    assert law.value > 0.35
    assert [row.forecaster for row in result.rows] == ["gaussian", "historical-volatility", "block-bootstrap", REAL]
    assert np.isnan(result.row("walks 1h", REAL).figures["discriminative"].value)
    assert "learn from" in result.warnings[0]
    assert "50 % would be guessing" in result.sentences[0]
    for row in result.rows:  # nobody can forecast a random walk, whatever they learnt from
        assert row.figures["tstr_ic"].low < 0.1
        assert row.figures["tstr_ic"].high > -0.1
    assert result.row("walks 1h", "gaussian").n == 2 * result.row("walks 1h", REAL).n
    done = [one for one, _ in seen]
    assert done == sorted(done)
    assert seen[-1][0] == seen[-1][1]


def test_so_many_sequences_as_are_asked_for():
    settings = PaperSettings("synthetic", lookback=40, horizon=12, sequences=60)
    result = run_paper(instruments(2, 600), GaussianForecaster(), settings, dates=Dates())
    assert result.made["walks"][0]["origins"] == 60


def test_too_few_sequences_are_refused():
    with pytest.raises(DataError, match="is left out: its 28 sequences leave 12 on one side"):
        run_paper(instruments(4, 150), GaussianForecaster(), SETTINGS, dates=Dates())

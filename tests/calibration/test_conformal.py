"""Bands that go on learning."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.forecasts import candles, toy
from calibration.markets import coverage, trials
from kronos.calibration import AdaptiveConformal
from kronos.errors import DataError, ParameterError
from kronos.forecasts import BANDS, repair_candles

STEPS = np.array([0, 3])


def stream(spreads, seed=0):
    """Forecasts of 50 normal paths and 4 steps, and outcomes whose spread changes in time."""
    rng = np.random.default_rng(seed)
    for spread in spreads:
        yield rng.normal(size=(50, 4)), spread * rng.normal(size=4)


def run(state, events):
    """Shares of outcomes outside the corrected bands, `[events, bands, steps]`."""
    missed = []
    for returns, actual in events:
        before = np.array(state.misses)[..., 0]
        state = state.updated(returns, actual)
        missed.append(np.array(state.misses)[..., 0] - before)
    return state, np.array(missed)


def test_coverage_comes_back_after_the_market_has_changed():
    spreads = np.repeat([1.0, 2.5, 0.5], 700)
    _, missed = run(AdaptiveConformal(4, rate=0.03, window=300), stream(spreads))
    for part in range(3):
        settled = missed[700 * part + 250 : 700 * (part + 1)].mean(axis=(0, 2))
        assert settled == pytest.approx(1 - np.array(BANDS), abs=0.05)


@settings(max_examples=8)
@given(st.integers(0, 1000), st.floats(0.01, 0.1))
def test_the_share_of_misses_tends_to_what_is_asked_for_whatever_comes(seed, rate):
    """Gibbs & Candès 2021, proposition 4.1: |misses - α| ≤ (max(α₁, 1 - α₁) + γ) / (γ T), while α stays inside."""
    rng = np.random.default_rng(seed)
    spreads = np.exp(np.cumsum(rng.normal(0, 0.05, 400)))
    state, missed = run(AdaptiveConformal(4, rate=rate), stream(spreads, seed))
    inside = np.array([[0 < level < 1 for level in row] for row in state.levels])
    shares, alphas = missed.mean(axis=0), 1 - np.array(BANDS)[:, None]
    bound = (np.maximum(alphas, 1 - alphas) + rate) / (rate * 400)
    slack = 0.1  # α stopped at 0 on the way
    assert (np.abs(shares - alphas) <= bound + slack)[inside].all()


def test_without_rate_it_is_split_conformal():
    past = trials(origins=400, horizon=4, spread=0.4)
    state = AdaptiveConformal(4, rate=0.0).after(past)
    new = trials(origins=2000, horizon=4, spread=0.4, seed=9)
    for i in range(len(new)):
        new.returns[i] = state.apply_paths(new.returns[i])
    for band in BANDS:
        assert coverage(new, 4, band) == pytest.approx(band, abs=0.04)


def test_each_step_learns_when_its_outcome_is_known():
    returns, actual = next(stream([5.0]))
    early, late = actual.copy(), actual.copy()
    early[2:], late[:2] = np.nan, np.nan
    state = AdaptiveConformal(4).updated(returns, early)
    assert [len(scores) for scores in state.scores[0]] == [1, 1, 0, 0]
    assert state.updated(returns, late) == AdaptiveConformal(4).updated(returns, actual)


def test_the_state_is_never_changed_and_forgets_beyond_its_window():
    state = AdaptiveConformal(4, window=10)
    events = list(stream([1.0] * 30))
    later, _ = run(state, events)
    assert state == AdaptiveConformal(4, window=10)
    assert {len(scores) for row in later.scores for scores in row} == {10}
    assert (state.corrections() == 0).all()


def test_it_survives_json():
    state, _ = run(AdaptiveConformal(4), stream([1.0] * 15))
    assert AdaptiveConformal.from_dict(json.loads(json.dumps(state.to_dict()))) == state
    for break_it in (
        lambda d: d.pop("levels"),
        lambda d: d.update(scores=[[]]),
        lambda d: d.update(horizon=3),
        lambda d: d.update(format=2),
        lambda d: d.update(rate="fast"),
        lambda d: d.update(levels=[1, 2, 3]),
    ):
        fields = json.loads(json.dumps(state.to_dict()))
        break_it(fields)
        with pytest.raises(DataError, match="adaptive calibration"):
            AdaptiveConformal.from_dict(fields)


def test_forecasts_are_moved_as_wholes():
    history = candles()
    forecast = toy(history, 4, spread=0.4)
    state, _ = run(AdaptiveConformal(4), stream([2.5] * 100))
    made = state.apply(forecast)
    assert repair_candles(made.paths)[1] == 0
    assert made.metadata.calibrated
    assert made.metadata.details["adaptive"]["outcomes"] == 100
    assert any("adaptive conformal inference from 100 outcomes" in note for note in made.notes)
    order = np.argsort(forecast.channel("close"), axis=0)
    assert (np.diff(np.take_along_axis(made.channel("close"), order, axis=0), axis=0) >= 0).all()
    assert made.returns(cumulative=True)[:, STEPS].std() > 1.5 * forecast.returns(cumulative=True)[:, STEPS].std()


def test_refuses_nonsense():
    for wrong in ({"horizon": 0}, {"horizon": 2, "rate": 1.5}, {"horizon": 2, "window": 0}):
        with pytest.raises(ParameterError):
            AdaptiveConformal(**wrong)
    with pytest.raises(ParameterError, match="shape"):
        AdaptiveConformal(4).updated(np.zeros((5, 3)), np.zeros(4))
    with pytest.raises(ParameterError, match="4 steps"):
        AdaptiveConformal(4).updated(np.zeros((5, 4)), np.zeros(3))
    with pytest.raises(ParameterError, match="steps 1 to"):
        AdaptiveConformal(4).after(trials(origins=60, horizon=5))

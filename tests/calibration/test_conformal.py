"""Adaptive conformal inference, live and over past forecasts."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.forecasts import candles, toy
from calibration.markets import coverage, trials
from kronos.calibration import AdaptiveConformal, apply_online
from kronos.errors import DataError, ParameterError
from kronos.forecasts import BANDS, repair_candles
from kronos.metrics import band_ends, in_band

STEPS = np.array([0, 3])


def stream(spreads, seed=0):
    """Forecasts of 50 normal paths and 4 steps, and outcomes whose spread changes in time."""
    rng = np.random.default_rng(seed)
    for spread in spreads:
        yield rng.normal(size=(50, 4)), spread * rng.normal(size=4)


def run(state, events):
    """Update with all events; also return whether each outcome was outside the corrected bands."""
    missed = []
    for returns, actual in events:
        before = np.array(state.misses)[..., 0]
        state = state.update(returns, actual)
        missed.append(np.array(state.misses)[..., 0] - before)
    return state, np.array(missed)


def test_coverage_recovers_after_a_change_of_volatility():
    spreads = np.repeat([1.0, 2.5, 0.5], 700)
    _, missed = run(AdaptiveConformal(4, rate=0.03, window=300), stream(spreads))
    for part in range(3):
        settled = missed[700 * part + 250 : 700 * (part + 1)].mean(axis=(0, 2))
        assert settled == pytest.approx(1 - np.array(BANDS), abs=0.05)


@pytest.mark.slow
@settings(max_examples=8)
@given(st.integers(0, 1000), st.floats(0.01, 0.1))
def test_miss_rate_converges_for_any_outcomes(seed, rate):
    """Gibbs & Candès 2021, proposition 4.1: |misses - α| ≤ (max(α₁, 1 - α₁) + γ) / (γ T), while α stays inside."""
    rng = np.random.default_rng(seed)
    spreads = np.exp(np.cumsum(rng.normal(0, 0.05, 400)))
    state, missed = run(AdaptiveConformal(4, rate=rate), stream(spreads, seed))
    inside = np.array([[0 < level < 1 for level in row] for row in state.levels])
    shares, alphas = missed.mean(axis=0), 1 - np.array(BANDS)[:, None]
    bound = (np.maximum(alphas, 1 - alphas) + rate) / (rate * 400)
    slack = 0.1  # α was limited to 0
    assert (np.abs(shares - alphas) <= bound + slack)[inside].all()


def test_rate_zero_is_split_conformal_prediction():
    past = trials(origins=400, horizon=4, spread=0.4)
    state = AdaptiveConformal(4, rate=0.0).update_all(past)
    new = trials(origins=2000, horizon=4, spread=0.4, seed=9)
    for i in range(len(new)):
        new.returns[i] = state.apply_paths(new.returns[i])
    for band in BANDS:
        assert coverage(new, 4, band) == pytest.approx(band, abs=0.04)


def test_steps_can_be_updated_separately():
    returns, actual = next(stream([5.0]))
    early, late = actual.copy(), actual.copy()
    early[2:], late[:2] = np.nan, np.nan
    state = AdaptiveConformal(4).update(returns, early)
    assert [len(scores) for scores in state.scores[0]] == [1, 1, 0, 0]
    assert state.update(returns, late) == AdaptiveConformal(4).update(returns, actual)


def test_state_is_immutable_and_limited_to_its_window():
    state = AdaptiveConformal(4, window=10)
    events = list(stream([1.0] * 30))
    later, _ = run(state, events)
    assert state == AdaptiveConformal(4, window=10)
    assert {len(scores) for row in later.scores for scores in row} == {10}
    assert (state.corrections() == 0).all()


def test_json_round_trip():
    state, _ = run(AdaptiveConformal(4), stream([1.0] * 15))
    assert AdaptiveConformal.from_dict(json.loads(json.dumps(state.to_dict()))) == state
    for damage in (
        lambda d: d.pop("levels"),
        lambda d: d.update(scores=[[]]),
        lambda d: d.update(horizon=3),
        lambda d: d.update(format=2),
        lambda d: d.update(rate="fast"),
        lambda d: d.update(levels=[1, 2, 3]),
    ):
        fields = json.loads(json.dumps(state.to_dict()))
        damage(fields)
        with pytest.raises(DataError, match="adaptive calibration"):
            AdaptiveConformal.from_dict(fields)


def test_apply_moves_whole_candles():
    history = candles()
    forecast = toy(history, 4, spread=0.4)
    state, _ = run(AdaptiveConformal(4), stream([2.5] * 100))
    result = state.apply(forecast)
    assert repair_candles(result.paths)[1] == 0
    assert result.metadata.calibrated
    assert result.metadata.details["adaptive"]["outcomes"] == 100
    assert any("adaptive conformal inference from 100 outcomes" in note for note in result.notes)
    order = np.argsort(forecast.channel("close"), axis=0)
    assert (np.diff(np.take_along_axis(result.channel("close"), order, axis=0), axis=0) >= 0).all()
    assert result.returns(cumulative=True)[:, STEPS].std() > 1.5 * forecast.returns(cumulative=True)[:, STEPS].std()


def test_invalid_arguments_are_refused():
    for wrong in ({"horizon": 0}, {"horizon": 2, "rate": 1.5}, {"horizon": 2, "window": 0}):
        with pytest.raises(ParameterError):
            AdaptiveConformal(**wrong)
    with pytest.raises(ParameterError, match="shape"):
        AdaptiveConformal(4).update(np.zeros((5, 3)), np.zeros(4))
    with pytest.raises(ParameterError, match="4 steps"):
        AdaptiveConformal(4).update(np.zeros((5, 4)), np.zeros(3))
    with pytest.raises(ParameterError, match="steps 1 to"):
        AdaptiveConformal(4).update_all(trials(origins=60, horizon=5))


def covered(past, h):
    lower, upper = band_ends(np.moveaxis(past.returns[:, :, h - 1].astype(float), 1, 0), BANDS)
    return [in_band(lower[b], upper[b], past.actual[:, h - 1]).mean() for b in range(len(BANDS))]


def test_online_correction_widens_narrow_bands_to_their_level():
    narrow = trials(origins=700, paths=60, horizon=3, spread=0.5, groups=("a", "b"))
    late = np.tile(np.arange(700) >= 200, 2)
    before, after = narrow.select(late), apply_online(narrow).select(late)
    for h in (1, 3):
        assert covered(before, h)[1] < 0.55
        np.testing.assert_allclose(covered(after, h), BANDS, atol=0.03)


def test_online_correction_ignores_outcomes_not_yet_known():
    past = trials(origins=150, paths=20, horizon=3, spread=0.5)
    days = np.timedelta64(5, "D")
    past = replace(past, known_at=np.asarray(past.dates) + days)
    tampered = np.array(past.actual)
    tampered[100:] *= 50
    before, after = apply_online(past).returns, apply_online(replace(past, actual=tampered)).returns
    np.testing.assert_array_equal(after[:105], before[:105])  # the 101st outcome is known at the 106th origin
    assert (after[105:] != before[105:]).any()


def test_online_correction_needs_enough_outcomes():
    past = trials(origins=120, paths=20, horizon=3, spread=0.5)
    first, second = past.select(np.arange(60)), past.select(np.arange(60, 120))
    few = past.select(np.arange(40))
    np.testing.assert_array_equal(apply_online(few).returns, few.returns)
    assert (apply_online(second, first).returns[0] != second.returns[0]).any()
    np.testing.assert_array_equal(apply_online(second).returns[0], second.returns[0])
    other_group = replace(first, group=np.full(60, "other"))
    np.testing.assert_array_equal(apply_online(second, other_group).returns, apply_online(second).returns)

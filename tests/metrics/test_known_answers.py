"""Forecasts of known quality on dependent markets."""

import math

import numpy as np
import pytest

from kronos.metrics import (
    band_coverage,
    band_ends,
    bootstrap_skill,
    brier,
    crps,
    diebold_mariano,
    direction,
    energy_score,
    information_coefficient,
    pit,
    reliability,
    uniformity,
)

DATES, INSTRUMENTS, PATHS, STEPS = 250, 8, 50, 4
DAYS = np.repeat(np.arange(DATES), INSTRUMENTS)


def walks(rng, *shape):
    return rng.normal(size=(*shape, STEPS)).cumsum(axis=-1)


@pytest.fixture(scope="module")
def market():
    """Outcomes `[n, H]`, and paths `[n, S, H]` of two calibrated random walks."""
    rng = np.random.default_rng(10)
    shared = np.repeat(walks(rng, DATES), INSTRUMENTS, axis=0)
    happened = (shared + walks(rng, DATES * INSTRUMENTS)) / math.sqrt(2)
    return happened, *(walks(rng, DATES * INSTRUMENTS, PATHS) for _ in range(2))


def covered(paths, happened, level):
    lower, upper = band_ends(paths[:, :, -1], (level,), axis=1)
    return band_coverage(lower[0], upper[0], happened[:, -1], level, DAYS, samples=PATHS)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_calibrated_walk_has_nominal_coverage(market, level):
    happened, paths, _ = market
    result = covered(paths, happened, level)
    assert result.coverage.low <= result.target <= result.coverage.high
    assert result.bootstrap.low <= result.target <= result.bootstrap.high
    assert abs(result.error) < 0.05


def test_calibrated_walk_has_uniform_pit_and_reliable_probabilities(market):
    happened, paths, _ = market
    values = pit(paths[:, :, -1], happened[:, -1], axis=1)
    assert uniformity(values, DAYS).p_value > 0.05
    chance = ((paths[:, :, -1] > 0).sum(axis=1) + 0.5) / (PATHS + 1)
    result = reliability(chance, happened[:, -1] > 0, DAYS, bins=5)
    assert result.skill == pytest.approx(0, abs=0.05)
    assert result.resolution < 0.01
    assert all(part.observed.low - 0.03 <= 0.5 <= part.observed.high + 0.03 for part in result.bins)


def test_equal_walks_have_no_skill_against_each_other(market):
    happened, one, other = market
    ours, theirs = (crps(paths[:, :, -1], happened[:, -1], axis=1) for paths in (one, other))
    result = bootstrap_skill(ours, theirs, DAYS)
    assert result.low <= 0 <= result.high
    assert result.high - result.low < 0.05
    assert diebold_mariano(ours, theirs, DAYS).p_value > 0.05
    energy = bootstrap_skill(energy_score(one, happened), energy_score(other, happened), DAYS)
    assert energy.low <= 0 <= energy.high


def test_random_walk_predicts_neither_direction_nor_order(market):
    happened, paths, _ = market
    median = np.median(paths[:, :, -1], axis=1)
    result = direction(median, happened[:, -1], DAYS)
    assert result.hit_rate.low <= 0.5 <= result.hit_rate.high
    assert result.test.p_value > 0.05
    assert information_coefficient(median, happened[:, -1], DAYS).p_value > 0.05


@pytest.mark.parametrize("factor", [0.4, 2.0])
def test_wrong_widths_are_detected(market, factor):
    happened, paths, reference = market
    wrong = factor * paths
    for level in (0.5, 0.8):
        result = covered(wrong, happened, level)
        assert math.copysign(1, result.error) == math.copysign(1, factor - 1)
        assert not result.coverage.low <= result.target <= result.coverage.high
        assert not result.bootstrap.low <= result.target <= result.bootstrap.high
    assert uniformity(pit(wrong[:, :, -1], happened[:, -1], axis=1), DAYS).p_value < 0.01
    theirs = crps(reference[:, :, -1], happened[:, -1], axis=1)
    ours = crps(wrong[:, :, -1], happened[:, -1], axis=1)
    assert bootstrap_skill(ours, theirs, DAYS).high < 0
    assert diebold_mariano(ours, theirs, DAYS).p_value < 0.01
    assert bootstrap_skill(energy_score(wrong, happened), energy_score(reference, happened), DAYS).high < 0


def test_perfect_forecast_has_full_skill(market):
    happened, _, reference = market
    seen = np.repeat(happened[:, None], PATHS, axis=1)
    result = bootstrap_skill(
        crps(seen[:, :, -1], happened[:, -1], axis=1), crps(reference[:, :, -1], happened[:, -1], axis=1), DAYS
    )
    assert (result.estimate, result.low, result.high) == pytest.approx((1, 1, 1))
    assert energy_score(seen, happened) == pytest.approx(0, abs=1e-12)
    assert direction(happened[:, -1], happened[:, -1], DAYS).hit_rate.estimate == 1
    assert brier(happened[:, -1] > 0, happened[:, -1] > 0).max() == 0
    assert information_coefficient(happened[:, -1], happened[:, -1], DAYS).mean == pytest.approx(1)


def test_unknown_outcomes_are_ignored(market):
    happened, paths, reference = market
    holes = happened.copy()
    holes[::7] = math.nan
    known = ~np.isnan(holes[:, -1])
    ours, theirs = (crps(p[:, :, -1], holes[:, -1], axis=1) for p in (paths, reference))
    assert np.isnan(ours).sum() == (~known).sum()
    assert bootstrap_skill(ours, theirs, DAYS) == bootstrap_skill(ours[known], theirs[known], DAYS[known])
    assert diebold_mariano(ours, theirs, DAYS) == diebold_mariano(ours[known], theirs[known], DAYS[known])
    values = pit(paths[:, :, -1], holes[:, -1], axis=1)
    assert uniformity(values, DAYS) == uniformity(values[known], DAYS[known])

"""Fits on simulated markets, evaluated on later dates of the same market."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from calibration import markets
from calibration.markets import coverage, mean_crps, only_steps
from kronos.calibration import PARTS, fit
from kronos.errors import DataError, ParameterError
from kronos.forecasts import BANDS
from kronos.metrics import crps

STEPS = (1, 4, 8, 24)
WITHOUT_POOLING = ("anchor", "drift", "dispersion", "conformal")


trials = lru_cache(maxsize=4)(markets.trials)  # several tests fit to the same market


@lru_cache(maxsize=8)
def later(horizon=24, **market):
    """Forecasts of later dates, at the steps that are scored."""
    origins = 4000 // len(market.get("groups", "a"))
    past = markets.trials(origins, horizon=horizon, seed=99, start="2040-01-01", **market)
    return only_steps(past, [h for h in STEPS if h <= horizon])


def check_coverage(past, fitted_on, group=None):
    """Check coverage within 3 points or 2 standard errors, of evaluated and of fitted origins."""
    evaluated = past if group is None else past.select(past.group == group)
    for h in STEPS:
        for band in BANDS:
            spare = max(0.03, 2 * np.sqrt(band * (1 - band) * (1 / len(evaluated) + 1 / fitted_on)))
            assert coverage(evaluated, h, band) == pytest.approx(band, abs=spare), (group, h, band)


def changes(before, after):
    """Relative change of the mean CRPS at each step."""
    return np.array([mean_crps(after, h) / mean_crps(before, h) - 1 for h in STEPS])


@pytest.mark.slow
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("parts", [("dispersion",), ("conformal",), WITHOUT_POOLING, PARTS])
def test_narrow_bands_are_corrected(parts, symmetric):
    past, new = trials(origins=800, spread=0.4), later(spread=0.4)
    assert coverage(new, 8, 0.8) < 0.5
    repaired = fit(past, parts, symmetric=symmetric).apply_set(new)
    check_coverage(repaired, 800)
    assert (changes(new, repaired) < -0.08).all()


@pytest.mark.slow
@pytest.mark.parametrize("origins", [400, 1200])
@pytest.mark.parametrize("parts", [*[(part,) for part in PARTS], WITHOUT_POOLING, PARTS])
def test_calibrated_random_walk_is_unchanged(parts, origins):
    new = later()
    for seed in (1, 2):
        corrected = fit(trials(origins=origins, seed=seed), parts).apply_set(new)
        check_coverage(corrected, 4000 if origins > 400 else 400)
        assert (changes(new, corrected) < 0.01).all()


@pytest.mark.parametrize("spread", [0.4, 1.0])
def test_bands_of_heavy_tails_are_corrected(spread):
    market = {"tails": 3, "spread": spread}
    new = later(**market)
    repaired = fit(trials(origins=1500, **market), WITHOUT_POOLING).apply_set(new)
    check_coverage(repaired, 1500)
    assert (changes(new, repaired) < 0).all()


def test_groups_have_their_own_dispersion():
    market = {"groups": ("a", "b", "c", "d"), "spread": (0.4, 0.7, 1.0, 1.5)}
    new = later(**market)
    fitted = fit(trials(origins=500, **market), ("dispersion", "conformal"))
    repaired = fitted.apply_set(new)
    for group, spread in zip(market["groups"], market["spread"], strict=True):
        check_coverage(repaired, 500, group)
        assert fitted.curves["dispersion"].at([8], group)[0] == pytest.approx(1 / spread, rel=0.1)


def test_small_group_uses_the_pooled_dispersion():
    past = trials(origins=600, groups=("a", "b"), spread=0.5)
    few = past.select(np.r_[np.arange(600), 600 + np.arange(40)])
    curve = fit(few, ("dispersion",)).curves["dispersion"]
    assert curve.at([1, 8, 24], "b") == pytest.approx(curve.at([1, 8, 24]), rel=0.15)
    fewer = past.select(np.r_[np.arange(600), 600 + np.arange(20)])
    assert "b" not in fit(fewer, ("dispersion",)).curves["dispersion"].groups


@pytest.mark.parametrize("leaves", [1.0, 0.8])
def test_persistent_level_error_is_removed(leaves):
    market = {"level": 0.6, "leaves": leaves}
    new = later(**market)
    fitted = fit(trials(origins=2000, **market), ("anchor",))
    for h, spare in ((1, 0.1), (4, 0.2), (8, 0.3)):
        assert fitted.curves["anchor"].at([h])[0] == pytest.approx(leaves ** (h - 1), abs=spare)
    assert (changes(new, fitted.apply_set(new)) < 0.002).all()
    assert changes(new, fitted.apply_set(new))[0] < -0.08


def test_spurious_drift_is_removed_and_true_drift_is_kept():
    imagined, true = {"drift": 0.5}, {"signal": 0.5, "heard": 1.0}
    removed = fit(trials(origins=1000, **imagined), ("drift",))
    assert removed.curves["drift"].at(STEPS) == pytest.approx(np.zeros(4), abs=0.15)
    assert (changes(later(**imagined), removed.apply_set(later(**imagined))) < -0.06).all()
    kept = fit(trials(origins=1000, **true), ("drift",))
    assert (kept.curves["drift"].at(STEPS) > 0.7).all()


def test_market_direction_is_learnt_only_without_symmetry():
    past = trials(origins=1500, bias=0.15)

    def up(calibration):
        return float((calibration.apply_set(past).returns[:, :, 23] > 0).mean())

    assert abs(up(fit(past, ("conformal",))) - 0.5) < 0.02
    happened = float((past.actual[:, 23] > 0).mean())
    assert happened > 0.7
    assert up(fit(past, ("conformal",), symmetric=False)) == pytest.approx(happened, abs=0.05)


def test_overconfident_up_probabilities_become_reliable():
    """The model knows the drift but its spread is too small."""
    market = {"signal": 0.5, "heard": 1.0, "spread": 0.4}
    new = later(**market)
    repaired = fit(trials(origins=2000, **market), WITHOUT_POOLING).apply_set(new)

    def sharpest(past):
        probability = (past.returns[:, :, 1] > 0).mean(axis=1)
        sharp = (probability > 0.8) | (probability < 0.2)
        right = (past.actual[:, 1] > 0) == (probability > 0.5)
        return right[sharp].mean(), np.maximum(probability, 1 - probability)[sharp].mean()

    hit_rate, probability = sharpest(new)
    assert probability - hit_rate > 0.1
    hit_rate, probability = sharpest(repaired)
    assert probability == pytest.approx(hit_rate, abs=0.05)


def test_pooling_weights_the_skilful_forecast():
    nothing = trials(origins=2000, drift=1.0, spread=0.4)
    weights = fit(nothing, ("pooling",)).weights()
    assert max(weights.values()) < 0.35
    knows = trials(origins=2000, signal=1.0, heard=1.0)
    assert min(fit(knows, ("pooling",)).weights().values()) > 0.8


@pytest.mark.parametrize("market", [{}, {"signal": 0.5, "heard": -1.0}])
def test_model_without_skill_adds_nothing(market):
    """Also if it is as good as the baseline: averaging two samples is not skill."""
    fitted = fit(trials(origins=1500, **market), ("pooling",))
    assert fitted.adds_nothing()
    assert "adds nothing" in fitted.describe()


def with_more_paths(past, seed):
    """The same calibration set with a baseline of 250 paths."""
    rng = np.random.default_rng(seed)
    walks = np.cumsum(rng.standard_normal((len(past), 250, past.returns.shape[2])), axis=2)
    return replace(past, baseline=walks * past.sigma[:, None, None])


def test_pooling_weight_does_not_depend_on_the_baselines_paths():
    """The model has little skill."""
    past = trials(origins=4000, horizon=4, signal=0.3, heard=1.0)
    coarse, fine = (fit(one, ("pooling",)).weights()[4] for one in (past, with_more_paths(past, 5)))
    assert fine == pytest.approx(coarse, abs=0.1)


def test_crps_of_pooled_paths_uses_their_effective_draws():
    """Model and baseline of the same distribution: pooling only reduces sampling error."""
    past, new = (with_more_paths(trials(origins=4000, horizon=1, seed=seed), seed) for seed in (3, 4))
    pooled = fit(past, ("pooling",)).apply_set(new)
    assert pooled.draws.min() > 100

    def mean(forecasts, draws):
        scores = crps(forecasts.returns[:, :, 0], forecasts.actual[:, 0], axis=1, draws=draws)
        return float(scores.mean() / forecasts.sigma.mean())

    law = mean(replace(new, returns=new.baseline), None)
    assert mean(pooled, pooled.draws[:, 0]) == pytest.approx(law, rel=0.004)
    assert mean(pooled, None) < 0.99 * law
    selected = pooled.select(np.arange(5))
    np.testing.assert_array_equal(selected.draws, pooled.draws[:5])


def test_averaged_quantiles_beat_mixtures():
    """A mixture of two calibrated forecasts is too wide."""
    market = {"signal": 0.5, "heard": 1.0, "horizon": 8}
    past, new = trials(origins=2000, **market), later(**market)
    weight = fit(past, ("pooling",)).weights()[8]
    assert 0.5 < weight < 1
    averaged = fit(past, ("pooling",)).apply_set(new)
    rng = np.random.default_rng(1)
    best = np.inf
    for share in np.linspace(0, 1, 11):
        ours = rng.permuted(np.tile(np.arange(50) < 50 * share, (len(new), 1)), axis=1)
        mixed = replace(new, returns=np.where(ours[:, :, None], new.returns, new.baseline))
        best = min(best, mean_crps(mixed, 8))
    assert mean_crps(averaged, 8) < best


def test_fit_ignores_later_dates():
    """Changing later dates does not change the fit."""
    whole = trials(origins=300, groups=("a", "b"), spread=0.5)
    early = whole.dates < np.datetime64("2024-08-01")
    actual, returns = whole.actual.copy(), whole.returns.copy()
    actual[~early] *= -7
    returns[~early] += 3
    changed = replace(whole, actual=actual, returns=returns)
    first, second = (fit(past.select(early)) for past in (whole, changed))
    assert replace(first, created="") == replace(second, created="")
    assert first.curves != fit(changed).curves


def test_unknown_outcomes_are_ignored():
    past = trials(origins=400, spread=0.5)
    actual = past.actual.copy()
    actual[200:, 8:] = np.nan
    actual[350:] = np.nan
    fitted = fit(replace(past, actual=actual), ("dispersion",))
    assert fitted.curves["dispersion"].at(STEPS) == pytest.approx(np.full(4, 2), rel=0.2)
    sigma = past.sigma.copy()
    sigma[:50] = 0
    sigma[50:100] = np.nan
    assert fit(replace(past, sigma=sigma), ("dispersion",)).curves["dispersion"].at([8]) == pytest.approx(2, rel=0.2)


def test_subset_of_steps_can_be_fitted():
    market = {"spread": 0.4, "level": 0.5, "leaves": 0.9}
    whole = trials(origins=600, **market)
    grid = only_steps(whole, STEPS)
    fitted = fit(grid)
    assert fitted.curves["dispersion"].knots == STEPS
    check_coverage(fitted.apply_set(later(**market)), 600)


def test_fit_is_independent_of_order_and_precision():
    past = trials(origins=300, groups=("a", "b"), spread=0.6)
    mixed = past.select(np.random.default_rng(0).permutation(600))
    first, second = fit(past), fit(mixed)
    for name, curve in first.curves.items():
        assert second.curves[name].pooled == pytest.approx(curve.pooled, abs=1e-5)
        for group, values in curve.groups.items():
            assert second.curves[name].groups[group] == pytest.approx(values, abs=1e-5)
    single = replace(past, returns=past.returns.astype(np.float32))
    assert fit(single).curves["dispersion"].pooled == pytest.approx(first.curves["dispersion"].pooled, rel=1e-3)


def test_point_forecasts_are_unchanged():
    past = trials(origins=100)
    flat = replace(past, returns=np.zeros_like(past.returns))
    fitted = fit(flat, WITHOUT_POOLING)
    assert np.array_equal(fitted.apply_set(flat).returns, flat.returns)


def test_invalid_fits_are_refused():
    past = trials(origins=100, with_baseline=False)
    with pytest.raises(ParameterError, match="did you mean 'dispersion'"):
        fit(past, ("dispersoin",))
    with pytest.raises(ParameterError, match="baseline"):
        fit(past)
    with pytest.raises(DataError, match="50 past forecasts"):
        fit(past.select(np.arange(49)), WITHOUT_POOLING)
    with pytest.raises(DataError, match="got 0"):
        fit(replace(past, actual=past.actual * np.nan), WITHOUT_POOLING)
    with pytest.raises(ParameterError, match="2 paths"):
        fit(replace(past, returns=past.returns[:, :1]), WITHOUT_POOLING)


def test_calibration_set_refuses_mismatched_shapes():
    past = trials(origins=60)
    for wrong in (
        {"actual": past.actual[:, :5]},
        {"sigma": past.sigma[:9]},
        {"group": np.array(["a"])},
        {"returns": past.returns[0]},
        {"returns": past.returns * np.nan},
        {"baseline": past.baseline[:, :, :3]},
        {"baseline_name": ""},
        {"steps": np.arange(24)},
        {"steps": np.ones(24, dtype=int)},
    ):
        with pytest.raises(ParameterError):
            replace(past, **wrong)


def test_digest_depends_on_all_data():
    past = trials(origins=60)
    assert past.digest() == trials(origins=60).digest()
    assert past.digest() != replace(past, actual=past.actual + 1e-9).digest()
    assert past.digest() != replace(past, group=np.full(60, "b")).digest()
    assert "toy, 60 × 50 × 24" in repr(past)

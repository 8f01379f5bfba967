import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from kronos.calibration import transforms
from kronos.calibration.conformal import estimate_dispersion
from kronos.calibration.curves import Curve, Estimates, choose_knots, smooth_and_shrink
from kronos.calibration.estimators import conformal_quantile, minimise_crps, time_blocks
from kronos.metrics import crps


def days(number):
    return np.datetime64("2024-01-01", "us") + np.arange(number) * np.timedelta64(1, "D")


def lines(kind, rng, number=400, size=21):
    """Paths that depend linearly on a factor, and outcomes."""
    values = np.sort(rng.normal(size=(number, size)) * 0.5, axis=1)
    if kind == "scale":
        middle = np.median(values, axis=1, keepdims=True)
        return np.broadcast_to(middle, values.shape), values - middle
    if kind == "shift":
        return values, np.broadcast_to(rng.normal(size=(number, 1)), values.shape)
    other = np.sort(rng.normal(size=(number, size)) * 2, axis=1)
    return other, values - other


@pytest.mark.parametrize(("kind", "bounds"), [("scale", (0.1, 8)), ("shift", (-3, 3)), ("pool", (-0.5, 1.5))])
def test_factor_minimises_the_crps(kind, bounds):
    rng = np.random.default_rng(3)
    start, change = lines(kind, rng)
    actual = rng.normal(size=400) + (0.3 * change[:, 0] if kind == "shift" else 0)
    factor, error = minimise_crps(start, change, actual, time_blocks(days(400)), bounds)

    def loss(theta):
        return float(crps(start + theta * change, actual, axis=1).mean())

    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-8})
    assert loss(factor) <= found.fun + 1e-9
    assert factor == pytest.approx(found.x, abs=0.02)
    assert 0 < error < 0.3


def test_standard_errors_match_the_spread_of_estimates():
    found = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        start, change = lines("shift", rng, number=200)
        actual = 0.5 * rng.normal(size=200) + 0.3 * change[:, 0]
        found.append(minimise_crps(start, change, actual, time_blocks(days(200)), (-3, 3)))
    values, errors = np.transpose(found)
    assert values.mean() == pytest.approx(0.3, abs=0.02)
    assert 0.9 < np.median(errors) / values.std() < 1.5


@pytest.mark.parametrize("size", [10, 19, 50])
@pytest.mark.parametrize("spread", [0.4, 1.0, 2.0])
def test_dispersion_gives_80_percent_coverage_for_any_number_of_paths(size, spread):
    rng = np.random.default_rng(0)
    values, actual = np.sort(spread * rng.normal(size=(20000, size)), axis=1), rng.normal(size=20000)
    factor, error = estimate_dispersion(values, actual, time_blocks(days(20000)))
    stretched = transforms.rescale(values, np.full(20000, factor))
    low, high = (transforms.quantile(stretched, level) for level in (0.1, 0.9))
    assert ((low <= actual) & (actual <= high)).mean() == pytest.approx(0.8, abs=1e-3)
    assert error < 0.03 / spread
    assert np.isnan(estimate_dispersion(np.ones((50, 5)), np.ones(50), time_blocks(days(50)))[0])


def test_dependence_within_blocks_does_not_add_information():
    """Twenty copies of every origin have the same information as one."""
    rng = np.random.default_rng(0)
    start, change = lines("scale", rng, number=200)
    actual, dates = rng.normal(size=200), days(200)
    once = minimise_crps(start, change, actual, time_blocks(dates), (0.1, 8))
    copies = [np.repeat(part, 20, axis=0) for part in (start, change, actual, dates)]
    often = minimise_crps(*copies[:3], time_blocks(copies[3]), (0.1, 8))
    assert often[0] == pytest.approx(once[0])
    assert often[1] > 0.6 * once[1]


def test_undetermined_factors_have_infinite_errors():
    start, nothing = np.zeros((40, 5)), np.zeros((40, 5))
    value, error = minimise_crps(start, nothing, np.ones(40), time_blocks(days(40)), (0, 1))
    assert np.isnan(value)
    assert error == np.inf
    one_day = np.zeros(40, dtype="datetime64[us]")
    rng = np.random.default_rng(0)
    assert minimise_crps(*lines("scale", rng, 40), rng.normal(size=40), time_blocks(one_day), (0.1, 8))[1] == np.inf


def test_blocks_are_contiguous_and_of_similar_size():
    rng = np.random.default_rng(0)
    dates = np.repeat(days(100), 5)
    blocks = time_blocks(dates)
    assert len(np.unique(blocks)) == 30
    assert (np.diff(blocks) >= 0).all()
    assert all(len(np.unique(blocks[dates == day])) == 1 for day in dates)
    shuffled = rng.permutation(500)
    assert np.array_equal(time_blocks(dates[shuffled]), blocks[shuffled])
    assert len(np.unique(time_blocks(days(40)))) == 4


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_conformal_quantile_has_its_nominal_coverage(level):
    """The finite-sample guarantee for any distribution: at least the level, at most 1 / (n + 1) more."""
    rng = np.random.default_rng(5)
    hits = []
    for _ in range(4000):
        scores = rng.standard_cauchy(40)
        hits.append(scores[-1] <= conformal_quantile(scores[:-1], level, np.arange(39))[0])
    spare = 3 * np.sqrt(level * (1 - level) / 4000)
    assert level - spare <= np.mean(hits) <= level + 1 / 40 + spare


def test_conformal_quantile_error_matches_its_spread():
    found = [
        conformal_quantile(np.random.default_rng(seed).normal(size=400), 0.8, time_blocks(days(400)))
        for seed in range(200)
    ]
    values, errors = np.transpose(found)
    assert np.median(errors) == pytest.approx(values.std(), rel=0.25)


def test_knots_double_and_end_with_the_last_step():
    assert choose_knots(np.arange(1, 25)).tolist() == [1, 2, 4, 8, 16, 24]
    assert choose_knots(np.arange(1, 18)).tolist() == [1, 2, 4, 8, 17]
    assert choose_knots(np.array([1, 4, 8, 24])).tolist() == [1, 4, 8, 24]
    assert choose_knots(np.array([3])).tolist() == [3]


def test_curves_are_piecewise_linear_and_constant_beyond_the_knots():
    curve = Curve((1, 4), (0.0, 1.0), {"a": (2.0, 2.0)})
    assert curve.at([1, 2, 4, 90]).tolist() == pytest.approx([0, 0.5, 1, 1])
    assert curve.at([1, 9], "a").tolist() == [2, 2]
    assert curve.at([2], "unknown").tolist() == pytest.approx([0.5])
    each = curve.at_groups(np.array([1, 4]), np.array(["a", "b"]))
    assert each.tolist() == [[2, 2], [0, 1]]


def estimates(values, errors, groups):
    """Flat in the steps: one value and error a row, the pooled first."""
    shape = (len(values), 24)
    return Estimates(
        np.broadcast_to(np.array(values)[:, None], shape), np.broadcast_to(np.array(errors)[:, None], shape), groups
    )


def test_noise_is_shrunk_and_precise_estimates_are_kept():
    steps = np.arange(1, 25)
    assert smooth_and_shrink(estimates([0.05], [0.1], ()), steps, 0.0)[0] == pytest.approx(np.zeros(6), abs=1e-6)
    assert smooth_and_shrink(estimates([0.5], [0.01], ()), steps, 0.0)[0] == pytest.approx(np.full(6, 0.5), rel=0.01)


def test_small_groups_are_shrunk_to_the_pooled_factor():
    raw = estimates([0.5, 0.2, 0.8, 0.9], [0.01, 0.01, 0.01, 0.9], ("large", "other", "small"))
    pooled, groups = smooth_and_shrink(raw, np.arange(1, 25), 0.0)
    large, other, small = groups.mean(axis=1)
    assert large == pytest.approx(0.2, abs=0.01)
    assert other == pytest.approx(0.8, abs=0.01)
    assert abs(small - pooled.mean()) < 0.1
    alike = estimates([0.5, 0.48, 0.52], [0.01, 0.05, 0.05], ("a", "b"))
    pooled, groups = smooth_and_shrink(alike, np.arange(1, 25), 0.0)
    assert groups == pytest.approx(np.stack([pooled, pooled]), abs=1e-6)


def test_unknown_steps_are_interpolated():
    values, errors = np.linspace(1, 2, 24)[None, :].copy(), np.full((1, 24), 0.01)
    values[0, 5:9], errors[0, 5:9] = np.nan, np.inf
    pooled, _ = smooth_and_shrink(Estimates(values, errors, ()), np.arange(1, 25), 0.0)
    assert np.isfinite(pooled).all()
    assert (np.diff(pooled) > 0).all()
    nothing = Estimates(np.full((1, 3), np.nan), np.full((1, 3), np.inf), ())
    assert smooth_and_shrink(nothing, np.array([1, 2, 3]), 0.7)[0].tolist() == [0.7] * 3

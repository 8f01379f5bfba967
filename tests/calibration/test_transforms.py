import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kronos.calibration import transforms
from kronos.forecasts import BANDS, sample_quantiles
from kronos.forecasts.statistics import band_levels

numbers = st.floats(-5, 5, width=32)
paths = st.tuples(st.integers(1, 60), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=numbers)
)
factors = st.floats(0, 8)
shifts = st.lists(st.floats(-3, 3), min_size=6, max_size=6)


def every_transform(values, factor, six, centre):
    share = np.full(values.shape[:-1], min(factor, 1.0))
    many = np.full(values.shape[:-1], factor)
    outwards = [np.full(values.shape[:-1], s) for s in six]
    baseline = np.sort(np.random.default_rng(0).normal(size=values.shape))
    yield transforms.remove_level_error(values, share, many)
    yield transforms.shrink_drift(values, share)
    yield transforms.rescale(values, many)
    yield transforms.pool(values, share, baseline)
    yield transforms.shift_bands(values, outwards)
    yield transforms.shift_bands(values, outwards, np.full(values.shape[:-1], centre))


@given(paths, factors, shifts, st.floats(-2, 2))
def test_transforms_preserve_the_order_of_paths(sampled, factor, six, centre):
    values, owners = transforms.sort_paths(sampled)
    for moved in every_transform(values, factor, six, centre):
        assert (np.diff(moved, axis=-1) >= -1e-9).all()
        assert np.isfinite(moved).all()
        back = transforms.unsort_paths(moved, owners)
        assert back.shape == sampled.shape
        for h in range(sampled.shape[1]):
            order = np.argsort(sampled[:, h], kind="stable")
            assert np.array_equal(back[order, h], moved[h])


@given(paths)
def test_sort_and_unsort_round_trip(sampled):
    assert np.array_equal(transforms.unsort_paths(*transforms.sort_paths(sampled)), sampled)


@given(paths, st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3))
def test_quantiles_of_ordered_values_equal_sample_quantiles(sampled, levels):
    values, _ = transforms.sort_paths(sampled)
    for level in levels:
        assert transforms.quantile(values, level) == pytest.approx(sample_quantiles(sampled, [level])[0], abs=1e-9)
    assert transforms.median(values) == pytest.approx(np.median(sampled, axis=0))


@given(paths)
def test_neutral_factors_change_nothing(sampled):
    values, _ = transforms.sort_paths(sampled)
    one, zero = np.ones(values.shape[:-1]), np.zeros(values.shape[:-1])
    for same in (
        transforms.remove_level_error(values, zero, one),
        transforms.remove_level_error(values, one, zero),
        transforms.shrink_drift(values, one),
        transforms.rescale(values, one),
        transforms.pool(values, one, values + 3),
        transforms.shift_bands(values, [zero] * 6),
        transforms.shift_bands(values, [zero] * 6, zero),
    ):
        assert same == pytest.approx(values, abs=1e-9)


@given(paths, st.floats(0.1, 8))
def test_linear_maps_commute_with_quantiles(sampled, factor):
    """Linear maps commute with quantiles, so that bands of moved paths are moved bands."""
    values, owners = transforms.sort_paths(sampled)
    many = np.full(values.shape[:-1], factor)
    middle = np.median(sampled, axis=0)
    stretched = transforms.unsort_paths(transforms.rescale(values, many), owners)
    for level in (0.1, 0.5, 0.9):
        before, after = sample_quantiles(sampled, [level])[0], sample_quantiles(stretched, [level])[0]
        assert after == pytest.approx(middle + factor * (before - middle), abs=1e-6)
    moved = transforms.unsort_paths(transforms.shrink_drift(values, many * 0 + 0.25), owners)
    assert np.median(moved, axis=0) == pytest.approx(0.25 * middle, abs=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.lists(st.floats(-0.2, 1), min_size=3, max_size=3))
def test_band_ends_move_by_their_shifts(seed, three):
    sampled = np.random.default_rng(seed).standard_t(4, (999, 1))  # band ends lie on paths: 1000 is a multiple
    values, owners = transforms.sort_paths(sampled)
    outwards = list(np.maximum.accumulate(three))
    unit = transforms.half_width(values)[0]
    moved = transforms.unsort_paths(
        transforms.shift_bands(values, [np.array([s]) for s in (*outwards, *outwards)]), owners
    )
    assert np.median(moved) == pytest.approx(np.median(sampled))
    for band, shift in zip(BANDS, outwards, strict=True):
        low, high = sample_quantiles(sampled[:, 0], band_levels(band))
        new_low, new_high = sample_quantiles(moved[:, 0], band_levels(band))
        assert new_low == pytest.approx(low - shift * unit)
        assert new_high == pytest.approx(high + shift * unit)


def test_median_and_ends_can_be_shifted_separately():
    values = np.linspace(-3, 3, 999)[None, :]  # uniform; half the 80 % band is 2.4 × 1000 / 998
    unit = float(transforms.half_width(values)[0])
    six = [np.array([s]) for s in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)]
    moved = transforms.shift_bands(values, six, np.array([0.05]))
    assert transforms.median(moved) == pytest.approx(0.05 * unit)
    for i, band in enumerate(BANDS):
        low, high = (float(transforms.quantile(values, level)[0]) for level in band_levels(band))
        new_low, new_high = (float(transforms.quantile(moved, level)[0]) for level in band_levels(band))
        assert new_low == pytest.approx(low - unit * (0.1 + 0.1 * i))
        assert new_high == pytest.approx(high + unit * (0.4 + 0.1 * i))


def test_tails_continue_with_the_slope_of_their_side():
    values = np.linspace(-1, 1, 999)[None, :]
    moved = transforms.shift_bands(values, [np.array([s]) for s in (0, 0, 0, 0, 0, 1.0)])
    end, unit = float(transforms.quantile(values, 0.975)[0]), float(transforms.half_width(values)[0])
    assert moved[0, -1] == pytest.approx(values[0, -1] * (end + unit) / end)
    assert moved[0, 0] == pytest.approx(-1)


def test_equal_paths_stay_equal():
    values = np.full((2, 30), 0.5)
    ones = np.ones(2)
    assert (transforms.shift_bands(values, [ones] * 6) == 0.5).all()
    assert (transforms.rescale(values, 3 * ones) == 0.5).all()


def test_pooling_averages_values_of_equal_rank():
    values, baseline = np.array([[0.0, 1.0, 5.0]]), np.array([[-2.0, 1.0, 1.0]])
    assert transforms.pool(values, np.array([0.25]), baseline).tolist() == [[-1.5, 1.0, 2.0]]
    assert np.array_equal(transforms.pool(values, np.zeros(1), baseline), baseline)


def test_resizing_preserves_quantiles():
    values = np.sort(np.random.default_rng(1).normal(size=(1, 199)))
    few = transforms.resize_ensemble(values, 49)
    assert few.shape == (1, 49)
    assert transforms.quantile(few, 0.1) == pytest.approx(transforms.quantile(values, 0.1))
    assert transforms.resize_ensemble(values, 199) is values

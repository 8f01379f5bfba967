"""Quantities of whole candles against values computed by hand, and their scores against independent computations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kronos.errors import ParameterError
from kronos.metrics import candle_quantities, crps, distinct_values, empirical_crps, known_crps, lag_one_correlation
from kronos.metrics.candle_scores import rolling_extreme

CANDLES = np.array(
    [
        [101.0, 110.0, 100.0, 104.0, 5.0],  # range 10: 6 above the body, 1 below it
        [104.0, 104.0, 104.0, 104.0, 0.0],  # neither range nor volume
        [103.0, 108.0, 98.0, 99.0, 8.0],
    ]
)
NUMBERS = st.floats(-100, 100).map(lambda value: round(value, 3))


def samples(shape=(6, 9), missing=True):
    elements = st.one_of(NUMBERS, st.just(math.nan)) if missing else NUMBERS
    return hnp.arrays(np.float64, shape, elements=elements)


def test_quantities_by_hand():
    found = candle_quantities(CANDLES, 100.0)
    np.testing.assert_allclose(found.range, [math.log(1.1), 0, math.log(108 / 98)])
    np.testing.assert_allclose(found.volume, [math.log(5), math.nan, math.log(8)])
    np.testing.assert_allclose(found.upper_wick, [0.6, math.nan, 0.5])
    np.testing.assert_allclose(found.lower_wick, [0.1, math.nan, 0.1])
    np.testing.assert_allclose(found.gap, [math.log(1.01), 0, math.log(103 / 104)], atol=1e-15)
    np.testing.assert_allclose(found.span, [math.log(1.1), math.log(1.1), math.log(110 / 98)])
    np.testing.assert_allclose(found.close_span, [math.log(1.04), math.log(1.04), math.log(104 / 99)])
    np.testing.assert_allclose(found.move, [math.log(1.04), 0, math.log(104 / 99)])


def test_paths_have_their_own_close_before():
    paths = np.stack([CANDLES, CANDLES])[None]  # [1, 2, 3, 5]
    found = candle_quantities(paths, [[100.0, 50.0]])
    assert found.gap.shape == (1, 2, 3)
    np.testing.assert_allclose(found.gap[0, :, 0], np.log([1.01, 2.02]))
    np.testing.assert_allclose(found.gap[0, 0, 1:], found.gap[0, 1, 1:])


def test_candles_need_five_channels():
    with pytest.raises(ParameterError, match="5 channels"):
        candle_quantities(np.ones((3, 4)), 1.0)


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_units_of_prices_and_volumes_do_not_matter(price, volume):
    before = candle_quantities(CANDLES, 100.0)
    after = candle_quantities(CANDLES * [price, price, price, price, volume], 100.0 * price)
    for name in ("range", "upper_wick", "lower_wick", "gap", "span", "close_span", "move"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=1e-9)
    np.testing.assert_allclose(after.volume - before.volume, [math.log(volume), math.nan, math.log(volume)], atol=1e-9)


def test_crps_by_hand():
    values = [1.0, math.nan, 3.0]
    assert known_crps(values, 2.0) == pytest.approx(0.0)  # mean error 1, minus half the mean difference of pairs 2
    assert empirical_crps(values, [2.0])[0] == pytest.approx(0.5)  # of which the same value twice is half
    assert empirical_crps(values, [2.0, 5.0, math.nan])[1] == pytest.approx(2.5)


@given(samples(), hnp.arrays(np.float64, 6, elements=NUMBERS))
def test_unknown_samples_are_left_out(values, observed):
    found, exact = known_crps(values, observed), empirical_crps(values, observed[:, None])[:, 0]
    for row, own in enumerate(values):
        known = own[~np.isnan(own)]
        if len(known) < 2:
            assert math.isnan(found[row])
            assert math.isnan(exact[row])
        else:
            assert found[row] == pytest.approx(float(crps(known, observed[row])), abs=1e-9)
            pairs = np.abs(known[:, None] - known).mean() / 2
            assert exact[row] == pytest.approx(np.abs(known - observed[row]).mean() - pairs, abs=1e-9)


@given(samples(), st.permutations(range(9)))
def test_the_order_of_paths_does_not_matter(values, order):
    observed = np.linspace(-3, 3, 6)
    for score in (known_crps, distinct_values):
        arguments = (observed,) if score is known_crps else ()
        before, after = (score(own, *arguments) for own in (values, values[:, order]))
        np.testing.assert_allclose(after, before, atol=1e-9)


def test_an_unknown_outcome_has_no_score():
    assert np.isnan(known_crps(np.arange(10.0).reshape(2, 5), [math.nan, 1.0])).tolist() == [True, False]


def test_draws_from_a_distribution_score_like_the_distribution():
    """Fair CRPS of draws and exact CRPS of the distribution have one expectation: no skill by the number of paths."""
    rng = np.random.default_rng(0)
    past, observed = rng.gamma(2, size=(20_000, 16)), rng.gamma(2, size=20_000)
    draws = np.take_along_axis(past, rng.integers(16, size=(20_000, 10)), axis=1)
    difference = known_crps(draws, observed) - empirical_crps(past, observed[:, None])[:, 0]
    assert abs(difference.mean()) < 3 * difference.std() / math.sqrt(20_000)


@given(samples((4, 12)))
def test_distinct_values_are_counted(values):
    expected = [len(set(own[~np.isnan(own)].tolist())) for own in values]
    assert distinct_values(values).tolist() == expected


def test_values_that_differ_by_rounding_are_equal():
    assert distinct_values([[1.0, 1.0 + 1e-12, 2.0]]).tolist() == [2]
    assert distinct_values([[math.nan, math.nan]]).tolist() == [0]


@given(samples((3, 20), missing=False))
def test_autocorrelation(values):
    found = lag_one_correlation(values)
    for row, own in enumerate(values):
        deviation = own - own.mean()
        if np.ptp(own) == 0:
            assert math.isnan(found[row])
        else:
            expected = (deviation[1:] * deviation[:-1]).sum() / (deviation**2).sum()
            assert found[row] == pytest.approx(expected, abs=1e-9)


def test_autocorrelation_by_hand():
    assert lag_one_correlation([1.0, 2.0, 3.0]) == pytest.approx(0.0)
    assert lag_one_correlation([1.0, -1.0, 1.0, -1.0]) == pytest.approx(-0.75)
    assert math.isnan(lag_one_correlation([0.1, 0.1, 0.1]))


@given(hnp.arrays(np.float64, 30, elements=NUMBERS), st.integers(1, 30))
def test_rolling_extremes(values, window):
    windows = np.lib.stride_tricks.sliding_window_view(values, window)
    np.testing.assert_array_equal(rolling_extreme(values, window), windows.max(axis=1))
    np.testing.assert_array_equal(rolling_extreme(values, window, lowest=True), windows.min(axis=1))


def test_windows_fit_into_the_series():
    with pytest.raises(ParameterError, match="choose 1 to 3"):
        rolling_extreme([1.0, 2.0, 3.0], 4)

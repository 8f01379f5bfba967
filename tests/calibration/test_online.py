"""Adaptive bands along past forecasts: they learn, late, and from the past only."""

from dataclasses import replace

import numpy as np

from calibration.markets import trials
from kronos.calibration import apply_online
from kronos.forecasts import BANDS
from kronos.metrics import band_ends, in_band


def covered(past, h):
    lower, upper = band_ends(np.moveaxis(past.returns[:, :, h - 1].astype(float), 1, 0), BANDS)
    return [in_band(lower[b], upper[b], past.actual[:, h - 1]).mean() for b in range(len(BANDS))]


def test_bands_that_are_too_narrow_widen_until_they_hold():
    narrow = trials(origins=700, paths=60, horizon=3, spread=0.5, groups=("a", "b"))
    late = np.tile(np.arange(700) >= 200, 2)
    before, after = narrow.select(late), apply_online(narrow).select(late)
    for h in (1, 3):
        assert covered(before, h)[1] < 0.55
        np.testing.assert_allclose(covered(after, h), BANDS, atol=0.03)


def test_nothing_is_learnt_from_what_is_not_known_yet():
    past = trials(origins=150, paths=20, horizon=3, spread=0.5)
    days = np.timedelta64(5, "D")
    past = replace(past, known_at=np.asarray(past.dates) + days)
    tampered = np.array(past.actual)
    tampered[100:] *= 50
    before, after = apply_online(past).returns, apply_online(replace(past, actual=tampered)).returns
    np.testing.assert_array_equal(after[:105], before[:105])  # the 101st outcome is known at the 106th origin
    assert (after[105:] != before[105:]).any()


def test_few_outcomes_move_nothing_and_earlier_ones_count():
    past = trials(origins=120, paths=20, horizon=3, spread=0.5)
    first, second = past.select(np.arange(60)), past.select(np.arange(60, 120))
    few = past.select(np.arange(40))
    np.testing.assert_array_equal(apply_online(few).returns, few.returns)
    assert (apply_online(second, first).returns[0] != second.returns[0]).any()
    np.testing.assert_array_equal(apply_online(second).returns[0], second.returns[0])
    stranger = replace(first, group=np.full(60, "other"))
    np.testing.assert_array_equal(apply_online(second, stranger).returns, apply_online(second).returns)

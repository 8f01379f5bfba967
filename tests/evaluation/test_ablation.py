"""Effects of calibration parts, judged on dates they were not fitted on."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.markets import trials
from kronos.calibration import PARTS
from kronos.errors import ParameterError
from kronos.evaluation.ablation import ablate, cross_fitted, default_ablations

PAST = trials(origins=300, paths=40, horizon=4, groups=("a", "b"), spread=0.4, level=0.8)


def cells(found, setting):
    return {(one.group, one.step): one for one in found if one.setting == setting}


def test_every_part_is_compared_alone_and_together():
    settings = default_ablations()
    assert settings["raw"] == ()
    assert settings["all"] == PARTS
    assert {f"{part} alone" for part in PARTS} < set(settings)
    assert "pooling" not in settings["all but pooling"]
    assert not any("pooling" in parts for parts in default_ablations(pooling=False).values())


def test_what_is_wrong_is_mended_on_dates_that_were_not_fitted_on():
    corrected = {"raw": PAST} | {
        name: cross_fitted(PAST, parts)
        for name, parts in {"anchor": ("anchor",), "both": ("anchor", "dispersion")}.items()
    }
    found = ablate(PAST, corrected, (1, 4), stride=4)
    raw, anchor, both = (cells(found, name) for name in ("raw", "anchor", "both"))
    assert set(raw) == {(group, step) for group in ("all", "a", "b") for step in (1, 4)}
    for cell in raw:
        assert raw[cell].gain.estimate == 0
        assert raw[cell].coverage["80"].estimate < 0.5
        assert anchor[cell].gain.low > 0
        assert both[cell].gain.low > anchor[cell].gain.estimate
        assert abs(both[cell].coverage["80"].estimate - 0.8) < 0.05
        assert both[cell].width > raw[cell].width


def test_over_all_groups_each_counts_the_same():
    lopsided = PAST.select(np.r_[0:300, 300:450])
    found = cells(ablate(lopsided, {"raw": lopsided}, (1,), stride=4), "raw")
    assert found["all", 1].crps == pytest.approx((found["a", 1].crps + found["b", 1].crps) / 2)
    assert found["all", 1].n == 450
    few = PAST.select(np.r_[0:300, 300:340])
    found = cells(ablate(few, {"raw": few}, (1,), stride=4), "raw")
    assert found["all", 1].crps == pytest.approx(found["a", 1].crps)  # of 40 forecasts nobody can tell


def test_a_fold_is_corrected_without_its_own_outcomes():
    one = PAST.select(np.arange(300))
    tampered = np.array(one.actual)
    tampered[60:120] *= 50  # the second of five folds
    before = cross_fitted(one, PARTS).returns
    after = cross_fitted(replace(one, actual=tampered), PARTS).returns
    np.testing.assert_array_equal(after[60:120], before[60:120])
    assert (after[:60] != before[:60]).any()


def test_outcomes_that_reach_into_a_fold_are_left_out():
    one = PAST.select(np.arange(300))
    late = replace(one, known_at=np.asarray(one.dates) + np.timedelta64(3, "D"))
    tampered = np.array(late.actual)
    tampered[58:60] *= 50  # known only when the second fold has begun
    before, after = cross_fitted(late, PARTS).returns, cross_fitted(replace(late, actual=tampered), PARTS).returns
    np.testing.assert_array_equal(after[60:120], before[60:120])
    assert (after[120:] != before[120:]).any()


def test_markets_of_the_same_time_are_left_out_too():
    first, second = PAST.select(np.arange(300)), PAST.select(np.arange(300, 600))
    shifted = replace(second, dates=np.asarray(second.dates) + np.timedelta64(30, "D"), known_at=None)
    both = replace(
        PAST,
        dates=np.concatenate([first.dates, shifted.dates]),
        known_at=np.concatenate([first.dates, shifted.dates]),
    )
    tampered = np.array(both.actual)
    at = (both.dates > first.dates[60]) & (both.dates < first.dates[119]) & (np.asarray(both.group) == "b")
    assert at.sum() > 10
    tampered[at] *= 50  # the other market's outcomes of the time of the first one's second fold
    before, after = cross_fitted(both, PARTS).returns, cross_fitted(replace(both, actual=tampered), PARTS).returns
    np.testing.assert_array_equal(after[60:120], before[60:120])
    assert (after[:60] != before[:60]).any()


def test_no_part_changes_nothing_and_one_fold_is_refused():
    assert cross_fitted(PAST, ()) is PAST
    with pytest.raises(ParameterError, match="at least 2 folds"):
        cross_fitted(PAST, PARTS, folds=1)

"""Ablation of calibration parts, measured on dates they were not fitted to."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.markets import trials
from kronos.calibration import PARTS
from kronos.errors import ParameterError
from kronos.evaluation.ablation import ablate, cross_fitted, default_ablations

PAST = trials(origins=300, paths=40, horizon=4, groups=("a", "b"), spread=0.4, level=0.8)


def cells(rows, setting):
    return {(row.group, row.step): row for row in rows if row.setting == setting}


def test_default_ablations_have_every_part_alone_and_together():
    settings = default_ablations()
    assert settings["raw"] == ()
    assert settings["all"] == PARTS
    assert {f"{part} alone" for part in PARTS} < set(settings)
    assert "pooling" not in settings["all but pooling"]
    assert not any("pooling" in parts for parts in default_ablations(pooling=False).values())


@pytest.mark.slow
def test_corrections_improve_dates_they_were_not_fitted_to():
    corrected = {"raw": PAST} | {
        name: cross_fitted(PAST, parts)
        for name, parts in {"anchor": ("anchor",), "both": ("anchor", "dispersion")}.items()
    }
    rows = ablate(PAST, corrected, (1, 4), stride=4)
    raw, anchor, both = (cells(rows, name) for name in ("raw", "anchor", "both"))
    assert set(raw) == {(group, step) for group in ("all", "a", "b") for step in (1, 4)}
    for cell in raw:
        assert raw[cell].gain.estimate == 0
        assert raw[cell].coverage["80"].estimate < 0.5
        assert anchor[cell].gain.low > 0
        assert both[cell].gain.low > anchor[cell].gain.estimate
        assert abs(both[cell].coverage["80"].estimate - 0.8) < 0.05
        assert both[cell].width > raw[cell].width


def test_groups_have_equal_weights():
    lopsided = PAST.select(np.r_[0:300, 300:450])
    own = cells(ablate(lopsided, {"raw": lopsided}, (1,), stride=4), "raw")
    assert own["all", 1].crps == pytest.approx((own["a", 1].crps + own["b", 1].crps) / 2)
    assert own["all", 1].n == 450
    few = PAST.select(np.r_[0:300, 300:340])
    own = cells(ablate(few, {"raw": few}, (1,), stride=4), "raw")
    assert own["all", 1].crps == pytest.approx(own["a", 1].crps)  # 40 forecasts are too few to count


def test_a_fold_does_not_depend_on_its_own_outcomes():
    first = PAST.select(np.arange(300))
    changed = np.array(first.actual)
    changed[60:120] *= 50  # the second of five folds
    before = cross_fitted(first, PARTS).returns
    after = cross_fitted(replace(first, actual=changed), PARTS).returns
    np.testing.assert_array_equal(after[60:120], before[60:120])
    assert (after[:60] != before[:60]).any()


def test_a_fold_does_not_depend_on_outcomes_that_reach_into_it():
    first = PAST.select(np.arange(300))
    late = replace(first, known_at=np.asarray(first.dates) + np.timedelta64(3, "D"))
    changed = np.array(late.actual)
    changed[58:60] *= 50  # known only when the second fold has begun
    before, after = cross_fitted(late, PARTS).returns, cross_fitted(replace(late, actual=changed), PARTS).returns
    np.testing.assert_array_equal(after[60:120], before[60:120])
    assert (after[120:] != before[120:]).any()


def test_a_fold_does_not_depend_on_other_markets_of_its_time():
    first, second = PAST.select(np.arange(300)), PAST.select(np.arange(300, 600))
    shifted = replace(second, dates=np.asarray(second.dates) + np.timedelta64(30, "D"), known_at=None)
    both = replace(
        PAST,
        dates=np.concatenate([first.dates, shifted.dates]),
        known_at=np.concatenate([first.dates, shifted.dates]),
    )
    changed = np.array(both.actual)
    at = (both.dates > first.dates[60]) & (both.dates < first.dates[119]) & (np.asarray(both.group) == "b")
    assert at.sum() > 10
    changed[at] *= 50  # outcomes of the other market during the second fold of the first
    before, after = cross_fitted(both, PARTS).returns, cross_fitted(replace(both, actual=changed), PARTS).returns
    np.testing.assert_array_equal(after[60:120], before[60:120])
    assert (after[:60] != before[:60]).any()


def test_no_parts_and_invalid_folds():
    assert cross_fitted(PAST, ()) is PAST
    with pytest.raises(ParameterError, match="folds 1"):
        cross_fitted(PAST, PARTS, folds=1)

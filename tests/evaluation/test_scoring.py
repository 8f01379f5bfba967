"""Means over groups with equal weights."""

import math

import numpy as np
import pandas as pd
import pytest

from kronos.evaluation.scoring import MIN_ORIGINS, equal_mean, equal_share, equal_skill, large_groups

GROUPS = np.repeat(["a", "b"], [300, 100])
DATES = pd.date_range("2024-01-01", periods=400, freq="h").to_numpy()


def test_unknown_values_do_not_lower_the_weight_of_a_group():
    values = np.where(GROUPS == "a", 1.0, 3.0)
    values[300:390] = np.nan
    assert equal_mean(values, GROUPS) == pytest.approx(2.0)
    assert equal_skill(values, np.full(400, 4.0), GROUPS, DATES, 1).estimate == pytest.approx(0.5)
    inside = np.where(GROUPS == "a", 1.0, 0.0)
    inside[300:390] = np.nan
    assert equal_share(inside, GROUPS, DATES, 1).estimate == pytest.approx(0.5)


def test_the_mean_of_unknown_values_is_unknown():
    nothing = np.full(400, np.nan)
    assert math.isnan(equal_mean(nothing, GROUPS))
    assert math.isnan(equal_share(nothing, GROUPS, DATES, 1).estimate)


def test_small_groups_count_only_if_there_is_no_large_one():
    assert large_groups(np.repeat(["a", "b"], [MIN_ORIGINS, MIN_ORIGINS - 1])) == {"a"}
    assert large_groups(["a", "b"]) == {"a", "b"}

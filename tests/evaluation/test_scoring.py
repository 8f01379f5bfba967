"""Means over groups, each counting the same."""

import math

import numpy as np
import pandas as pd
import pytest

from kronos.evaluation.scoring import LEAST, count_by_group, equal_mean, equal_share, equal_skill

GROUPS = np.repeat(["a", "b"], [300, 100])
DATES = pd.date_range("2024-01-01", periods=400, freq="h").to_numpy()


def test_what_is_unknown_makes_no_group_count_less():
    values = np.where(GROUPS == "a", 1.0, 3.0)
    values[300:390] = np.nan
    assert equal_mean(values, GROUPS) == pytest.approx(2.0)
    assert equal_skill(values, np.full(400, 4.0), GROUPS, DATES, 1).estimate == pytest.approx(0.5)
    inside = np.where(GROUPS == "a", 1.0, 0.0)
    inside[300:390] = np.nan
    assert equal_share(inside, GROUPS, DATES, 1).estimate == pytest.approx(0.5)


def test_of_nothing_nothing_is_known():
    nothing = np.full(400, np.nan)
    assert math.isnan(equal_mean(nothing, GROUPS))
    assert math.isnan(equal_share(nothing, GROUPS, DATES, 1).estimate)


def test_small_groups_count_only_among_themselves():
    assert count_by_group(np.repeat(["a", "b"], [LEAST, LEAST - 1])) == {"a"}
    assert count_by_group(["a", "b"]) == {"a", "b"}

"""Splits by time: shares, cuts that nothing crosses, embargoes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.datasets.config import Split
from kronos.datasets.splits import choose_cuts, closing_times, count_windows, parts_of
from kronos.errors import DataError
from kronos.intervals import Interval

START = pd.Timestamp("2024-01-01", tz="UTC")
INTERVALS = st.sampled_from(["15m", "1h", "4h", "1d", "1w", "1mo"]).map(Interval.parse)


def opens(interval, count, first=0):
    return pd.DatetimeIndex([START + interval.offset * (first + i) for i in range(count)])


def split_of(series, embargo):
    cuts = choose_cuts([closing_times(index, interval) for index, interval in series], Split())
    return cuts, [parts_of(index, interval, cuts, embargo) for index, interval in series]


def test_shares_of_one_series():
    hour = Interval.parse("1h")
    _, [part] = split_of([(opens(hour, 1_000), hour)], embargo=0)
    assert np.bincount(part).tolist() == [700, 150, 150]
    _, [part] = split_of([(opens(hour, 1_000), hour)], embargo=10)
    assert np.bincount(part + 1).tolist() == [20, 700, 140, 140]
    assert (part[700:710] == -1).all()
    assert (part[850:860] == -1).all()


@given(
    st.lists(st.tuples(INTERVALS, st.integers(20, 200), st.integers(0, 50)), min_size=1, max_size=4),
    st.integers(0, 5),
)
def test_nothing_crosses_a_cut(given_series, embargo):
    series = [(opens(interval, count, first), interval) for interval, count, first in given_series]
    cuts, parts = split_of(series, embargo)
    for (index, interval), part in zip(series, parts, strict=True):
        closes = closing_times(index, interval)
        assert (closes[part == 0] <= cuts.validation).all()
        assert (index[part == 1] >= cuts.validation).all()
        assert (closes[part == 1] <= cuts.test).all()
        assert (index[part == 2] >= cuts.test).all()
        for number, cut in ((1, cuts.validation), (2, cuts.test)):
            if (part == number).any():
                first = np.flatnonzero(part == number)[0]
                assert np.count_nonzero((index >= cut)[:first]) == embargo
        kept = part[part >= 0]
        assert (np.diff(kept) >= 0).all()


@given(st.integers(3, 500))
def test_shares_hold_over_all_series_together(count):
    hour, day = Interval.parse("1h"), Interval.parse("1d")
    closes = [closing_times(opens(hour, count * 4), hour), closing_times(opens(day, count), day)]
    cuts = choose_cuts(closes, Split())
    times = np.sort(np.concatenate([index.asi8 for index in closes]))
    before = np.count_nonzero(times <= cuts.validation.as_unit(closes[0].unit).asm8.astype(np.int64)) / len(times)
    assert before == pytest.approx(0.7, abs=2 / len(times))


def test_too_few_times_are_said():
    hour = Interval.parse("1h")
    with pytest.raises(DataError, match="2 different times are too few for training, validation and test"):
        split_of([(opens(hour, 2), hour)], 0)


@given(st.lists(st.integers(0, 4), max_size=40), st.integers(1, 6))
def test_windows_stay_within_a_segment(lengths, total):
    numbers = np.repeat(np.arange(len(lengths)), lengths)
    brute = sum(len(set(numbers[i : i + total])) == 1 for i in range(len(numbers) - total + 1))
    assert count_windows(numbers, total) == brute

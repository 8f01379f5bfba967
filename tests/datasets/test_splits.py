"""Splits by time: shares, split points that no candle spans, embargoes."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.datasets.config import Split
from kronos.datasets.splits import (
    ClosingTimes,
    assign_parts,
    choose_split_points,
    count_windows,
    group_by_dates,
    to_micros,
)
from kronos.errors import DataError
from kronos.intervals import Interval

START = pd.Timestamp("2024-01-01", tz="UTC")
INTERVALS = st.sampled_from(["15m", "1h", "4h", "1d", "1w", "1mo"]).map(Interval.parse)


@cache  # additions of offsets are most of the time of the properties below
def opening_time(interval, number):
    return (START + interval.offset * number).as_unit("us").asm8.astype("i8")


@cache
def closing_time(opening, interval):
    return (pd.Timestamp(opening, unit="us", tz="UTC") + interval.offset).as_unit("us").asm8.astype("i8")


def opening_times(interval, count, first=0):
    return np.array([opening_time(interval, first + i) for i in range(count)])


def closing_times(opens, interval):
    """Closing times in microseconds, computed independently of `ClosingTimes`."""
    return np.array([closing_time(opening, interval) for opening in opens.tolist()])


def split(series, embargo):
    points = choose_split_points([ClosingTimes.of(opens, interval) for opens, interval in series], Split())
    return points, [assign_parts(opens, interval, points, embargo) for opens, interval in series]


def test_shares_of_one_series():
    hour = Interval.parse("1h")
    _, [part] = split([(opening_times(hour, 1_000), hour)], embargo=0)
    assert np.bincount(part).tolist() == [700, 150, 150]
    _, [part] = split([(opening_times(hour, 1_000), hour)], embargo=10)
    assert np.bincount(part + 1).tolist() == [20, 700, 140, 140]
    assert (part[700:710] == -1).all()
    assert (part[850:860] == -1).all()


@given(
    st.lists(st.tuples(INTERVALS, st.integers(20, 200), st.integers(0, 50)), min_size=1, max_size=4),
    st.integers(0, 5),
)
def test_no_candle_spans_a_split_point(sizes, embargo):
    series = [(opening_times(interval, count, first), interval) for interval, count, first in sizes]
    points, parts = split(series, embargo)
    validation, test = to_micros(points.validation), to_micros(points.test)
    for (opens, interval), part in zip(series, parts, strict=True):
        closes = closing_times(opens, interval)
        assert (closes[part == 0] <= validation).all()
        assert (opens[part == 1] >= validation).all()
        assert (closes[part == 1] <= test).all()
        assert (opens[part == 2] >= test).all()
        for number, begin in ((1, validation), (2, test)):
            if (part == number).any():
                first = np.flatnonzero(part == number)[0]
                assert np.count_nonzero((opens >= begin)[:first]) == embargo
        assigned = part[part >= 0]
        assert (np.diff(assigned) >= 0).all()


@given(
    st.lists(st.tuples(INTERVALS, st.integers(20, 200), st.integers(0, 50)), min_size=1, max_size=4),
    st.floats(0.3, 0.8),
)
def test_split_points_are_quantiles_of_all_closing_times(sizes, train):
    series = [(opening_times(interval, count, first), interval) for interval, count, first in sizes]
    shares = Split(train=train, validation=(1 - train) / 2, test=(1 - train) / 2)
    points = choose_split_points([ClosingTimes.of(opens, interval) for opens, interval in series], shares)
    times = np.sort(np.concatenate([closing_times(opens, interval) for opens, interval in series]))
    for point, share in ((points.validation, train), (points.test, train + shares.validation)):
        assert to_micros(point) == times[max(0, round(share * len(times)) - 1)]


def test_timeframes_share_dates_unless_configured():
    timeframes = ["1H", "4H", "1H"]
    assert group_by_dates(timeframes, Split()) == [[0, 1, 2]]
    assert group_by_dates(timeframes, Split(dates="timeframe")) == [[0, 2], [1]]


def test_too_few_distinct_times():
    hour = Interval.parse("1h")
    with pytest.raises(DataError, match="split 2 candles"):
        split([(opening_times(hour, 2), hour)], 0)


@given(st.lists(st.integers(0, 4), max_size=40), st.integers(1, 6))
def test_windows_stay_within_a_segment(lengths, total):
    numbers = np.repeat(np.arange(len(lengths)), lengths)
    brute = sum(len(set(numbers[i : i + total])) == 1 for i in range(len(numbers) - total + 1))
    assert count_windows(numbers, total) == brute

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.formatting import format_price
from kronos.plotting.ticks import format_volume, price_decimals, spread_apart, tick_decimals, time_ticks


@settings(max_examples=60)
@given(
    st.sampled_from(["1min", "5min", "15min", "1h", "4h", "1D", "7D", "30D"]),
    st.integers(1, 400),
    st.datetimes(pd.Timestamp("2000-01-01"), pd.Timestamp("2030-01-01")),
    st.sampled_from([None, "UTC", "Asia/Shanghai"]),
    st.sampled_from(["ns", "us", "s"]),
)
def test_time_ticks_are_few_ascending_and_on_candles(freq, rows, start, tz, unit):
    times = pd.date_range(pd.Timestamp(start).floor("min"), periods=rows, freq=freq, tz=tz).as_unit(unit)
    ticks = time_ticks(times, limit=8)
    assert 1 <= len(ticks.positions) <= 8
    assert len(ticks.labels) == len(ticks.positions)
    assert (np.diff(ticks.positions) > 0).all()
    assert 0 <= ticks.positions[0] <= ticks.positions[-1] < rows


def test_hours_have_the_day_where_it_changes():
    ticks = time_ticks(pd.date_range("2024-12-30 20:00", periods=60, freq="1h"), limit=6)
    assert ticks.labels == ["00:00\n2024-12-31", "12:00", "00:00\n2025-01-01", "12:00", "00:00\n2025-01-02"]
    assert ticks.positions == [4, 16, 28, 40, 52]


def test_days_have_the_year_where_it_changes():
    ticks = time_ticks(pd.date_range("2024-12-20", periods=28, freq="1D"), limit=6)
    assert ticks.labels[0].endswith("\n2024")
    assert sum("2025" in label for label in ticks.labels) == 1


def test_months_and_years():
    assert time_ticks(pd.date_range("2020-01-15", periods=250, freq="1D"), limit=8).labels[0] == "2020-02"
    assert time_ticks(pd.date_range("2000-01-15", periods=2500, freq="3D"), limit=8).labels[0].isdigit()


def test_ticks_after_a_weekend_do_not_collide():
    times = pd.date_range("2024-03-07", "2024-03-08 21:00", freq="1h").append(
        pd.date_range("2024-03-10 21:00", "2024-03-12", freq="1h")
    )
    ticks = time_ticks(times)
    assert np.diff(ticks.positions).min() >= len(times) / 18
    assert "00:00\n2024-03-11" in ticks.labels


@pytest.mark.parametrize(
    ("prices", "decimals"),
    [
        ([187.35, 186.9, 190.0], 2),
        ([1.08345, 1.0834, 1.08401], 5),
        ([67200.0, 67250.0], 0),
        ([3531.4, 3530.8], 1),
        ([0.00001234, 0.00001301], 8),
        (np.float32([1.0834, 1.0841, 1.0799]), 4),
        ([18.56431987, 18.61239871], 4),  # adjusted: six significant digits
    ],
)
def test_price_decimals(prices, decimals):
    assert price_decimals(np.asarray(prices, dtype=float)) == decimals


def test_format_numbers():
    assert format_price(67200, 0) == "67,200"
    assert format_price(1.08345, 5) == "1.08345"
    assert [format_volume(v) for v in (0, 950, 12_500, 3.2e6, 4e9, 7e12, 999.7, 999_600, 2e15)] == [
        "0", "950", "12.5K", "3.2M", "4B", "7T", "1K", "1M", "2,000T",
    ]  # fmt: skip
    assert tick_decimals(np.array([1.1, 1.15, 1.2]), 5) == 2


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6).map(sorted), st.floats(0.1, 5))
def test_spread_apart_only_moves_up(positions, gap):
    placed = spread_apart(positions, gap)
    assert all(new >= old for new, old in zip(placed, positions, strict=True))
    assert (np.diff(placed) >= gap - 1e-9).all()


def test_ticks_load_no_matplotlib():
    code = "import sys, kronos.plotting.ticks; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

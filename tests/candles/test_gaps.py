"""Interval inference in all kinds of markets, with gaps; errors if there is no single interval."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.candles import Candles, infer_interval
from kronos.candles.gaps import find_gaps, find_weekday_gaps, fits_interval
from kronos.errors import DataError
from kronos.intervals import Interval


def sessions(*clock: str) -> pd.DatetimeIndex:
    days = pd.bdate_range("2024-03-04", "2024-04-12")
    return pd.DatetimeIndex([d + pd.Timedelta(c + ":00") for d in days for c in clock])


@settings(max_examples=80, deadline=None)
@given(
    freq=st.sampled_from(["1s", "1min", "5min", "15min", "30min", "1h", "2h", "4h", "6h", "12h", "1D"]),
    gaps=st.lists(st.integers(0, 199), max_size=25),
    zone=st.sampled_from([None, "UTC", "America/New_York"]),
)
def test_gaps_do_not_change_the_interval(freq: str, gaps: list[int], zone: str | None) -> None:
    index = pd.date_range("2024-03-01", periods=200, freq=freq, tz=zone).delete(list(set(gaps)))
    assert infer_interval(index).seconds == pd.Timedelta(freq).total_seconds()


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (sessions("10:30", "11:30", "14:00", "15:00"), "1h"),
        (sessions("09:30", "10:30", "11:30", "12:30", "13:30", "14:30", "15:30"), "1h"),
        (sessions("10:30", "11:30", "12:30", "13:30", "14:30", "15:30", "16:00"), "1h"),
        (sessions("09:30", "13:30"), "4h"),
        (sessions("00:00"), "1d"),
        (pd.date_range("2024-01-01", periods=40, freq="D", tz="America/New_York"), "1d"),
        (pd.date_range("2024-01-05", periods=40, freq="W-FRI"), "1w"),
        (pd.date_range("2024-01-01", periods=40, freq="MS"), "1mo"),
        (pd.date_range("2024-01-31", periods=40, freq="BME"), "1mo"),
        (pd.date_range("2014-03-31", periods=40, freq="QE"), "3mo"),
        (pd.date_range("2024-01-01", periods=2, freq="4h"), "4h"),
        (pd.date_range("2024-01-01", periods=40, freq="3D"), "3d"),
    ],
)
def test_intervals_of_markets(index: pd.DatetimeIndex, expected: str) -> None:
    assert str(infer_interval(index)) == expected


def test_weeks_shifted_by_holidays() -> None:
    index = pd.date_range("2024-01-05", periods=60, freq="W-FRI").to_series().reset_index(drop=True)
    index[[10, 30, 50]] -= pd.Timedelta(days=1)
    assert str(infer_interval(pd.DatetimeIndex(index))) == "1w"


@pytest.mark.parametrize(
    ("index", "word"),
    [
        (pd.date_range("2024-01-01", periods=1), "fewer than 2"),
        (pd.date_range("2024-01-01", periods=9)[::-1], "increasing"),
        (pd.DatetimeIndex(pd.Timestamp("2024-01-01") + pd.to_timedelta(np.cumsum(np.arange(1, 40) * 7),
        "min")), "single interval"), (pd.date_range("2024-01-01", periods=40,
        freq="h").append(pd.date_range("2024-02-01", periods=40)), "intervals 1h and 1d"),
        (pd.date_range("2024-01-01", periods=40, freq="100ms"), "whole seconds"),
        (pd.date_range("2024-01-01", periods=40, freq="7h"), "single interval"),
    ],
)  # fmt: skip
def test_series_without_an_interval_raise(index: pd.DatetimeIndex, word: str) -> None:
    with pytest.raises(DataError, match=word):
        infer_interval(index)


def test_real_series_have_the_interval_of_their_source(shared: Path) -> None:
    manifest = pd.read_csv(shared / "data/candles/MANIFEST.csv")
    for row in manifest[::4].itertuples():
        index = pd.DatetimeIndex(pd.read_parquet(shared / "data/candles" / row.path)["timestamps"])
        assert str(infer_interval(index)) == row.freq, row.path
        assert str(infer_interval(index[-300:])) == row.freq, row.path


def test_days_that_begin_on_sunday_evening_have_no_gaps() -> None:
    evenings = (pd.bdate_range("2023-10-02", periods=298) - pd.Timedelta("3h")).tz_localize("UTC")
    table = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 1.1), index=evenings)
    assert "gaps" not in {finding.code for finding in Candles.from_frame(table).findings}


@pytest.mark.parametrize(("freq", "hour"), [("h", 4), ("15min", 23)])
def test_missing_candles_at_one_time_of_day_are_gaps_in_a_24_7_market(freq: str, hour: int) -> None:
    index = pd.date_range("2024-01-01", periods=60 * (24 if freq == "h" else 96), freq=freq)
    missing = [index.get_loc(pd.Timestamp("2024-01-01") + pd.Timedelta(days=d, hours=hour)) for d in (9, 20, 41)]
    table = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 1.1), index=index.delete(missing))
    (gaps,) = [finding for finding in Candles.from_frame(table).findings if finding.code == "gaps"]
    assert gaps.count == 3


def test_a_daily_pause_is_not_a_gap() -> None:
    index = pd.date_range("2024-01-01", periods=24 * 60, freq="h")
    table = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 1.1), index=index[index.hour != 21])
    assert "gaps" not in {finding.code for finding in Candles.from_frame(table).findings}


def test_bars_of_sessions_with_a_lunch_break() -> None:
    days = pd.bdate_range("2024-03-04", "2024-03-28")
    for clock in (("11:30", "15:00"), ("09:30", "13:00")):
        index = pd.DatetimeIndex([day + pd.Timedelta(f"{time}:00") for day in days for time in clock])
        assert infer_interval(index) == Interval(2, "h")
        assert fits_interval(index, Interval(2, "h"))
        assert not fits_interval(index, Interval(1, "h"))


@pytest.mark.parametrize("zone", [None, "UTC"])
@pytest.mark.parametrize("minutes", [65, 130, 78])
def test_bars_that_restart_daily_need_not_divide_the_day(minutes: int, zone: str | None) -> None:
    days = pd.bdate_range("2024-02-19", "2024-04-12")
    starts = range(570, 960, minutes)
    index = pd.DatetimeIndex([day + pd.Timedelta(minutes=m) for day in days for m in starts])
    if zone is not None:
        index = index.tz_localize("America/New_York").tz_convert(zone)
    assert infer_interval(index) == Interval(minutes, "m")


def test_irregular_times_of_day_are_still_refused() -> None:
    days = pd.bdate_range("2024-03-04", "2024-03-28")
    index = pd.DatetimeIndex([day + pd.Timedelta(f"{time}:00") for day in days for time in ("08:10", "17:55")])
    with pytest.raises(DataError, match="interval"):
        infer_interval(index)


def test_holidays_of_fx_are_no_gaps() -> None:
    hours = pd.date_range("2024-11-18", "2024-12-30", freq="h", tz="UTC")
    day = (hours.tz_convert("America/New_York") + pd.Timedelta(hours=7)).tz_localize(None)
    week = hours[np.asarray(day.day_of_week < 5)]
    for month_day, gaps in (("12-25", 0), ("12-11", 1)):  # closed from the evening before until an hour too late
        noon = pd.Timestamp(f"2024-{month_day} 12:00", tz="UTC")
        hours_off = (week > noon - pd.Timedelta(hours=18)) & (week < noon + pd.Timedelta(hours=11))
        index = week[~hours_off & (week < noon + pd.Timedelta(days=5))]
        assert len(find_gaps(index, Interval(1, "h")).positions) == gaps
        assert len(find_weekday_gaps(index, Interval(1, "h"))) == gaps

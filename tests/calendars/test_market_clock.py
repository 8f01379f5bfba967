"""The clock of a market: the same for the same candles, however their times are written."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.calendars import market_clock
from kronos.calendars.sessions import schedule
from kronos.intervals import Interval

ZONES = ["UTC", "America/New_York", "Asia/Shanghai", "Europe/London", "+03:00"]


def session_times(exchange: str, start: str, days: int, minutes: int) -> pd.DatetimeIndex:
    """Naive opening times of an exchange's bars, on its own clock."""
    first = np.datetime64(start)
    trading = schedule(exchange, first, first + 3 * days)
    at = int(np.searchsorted(trading.dates, first))
    stamps = [
        pd.Timestamp(day) + pd.Timedelta(opened, "ns")
        for day, kind in zip(trading.dates[at : at + days], trading.kind[at : at + days], strict=True)
        for opens, closes in trading.hours[kind]
        for opened in range(opens, closes, minutes * 60 * 10**9)
    ]
    return pd.DatetimeIndex(stamps)


@settings(max_examples=40)
@given(
    exchange=st.sampled_from([("XNYS", "America/New_York"), ("XSHG", "Asia/Shanghai"), ("XHKG", "Asia/Hong_Kong")]),
    month=st.integers(1, 12),
    minutes=st.sampled_from([5, 15, 30]),
    zone=st.sampled_from(ZONES),
)
def test_exchanges_have_their_own_clock_however_their_bars_are_stamped(exchange, month, minutes, zone) -> None:
    name, own_zone = exchange
    local = session_times(name, f"2024-{month:02d}-05", 12, minutes)
    interval = Interval(minutes, "m")
    aware = local.tz_localize(own_zone)
    for index in (local, aware, aware.tz_convert(zone), aware.tz_convert("UTC").tz_localize(None)):
        assert market_clock(index, interval).local(index).equals(local)


def test_naive_times_read_as_utc_are_said() -> None:
    local = session_times("XNYS", "2024-03-01", 15, 30)
    naive_utc = local.tz_localize("America/New_York").tz_convert("UTC").tz_localize(None)
    assert market_clock(local, Interval(30, "m")).note == ""
    note = market_clock(naive_utc, Interval(30, "m")).note
    assert "UTC" in note
    assert "--timezone America/New_York" in note


@settings(max_examples=40)
@given(
    start=st.datetimes(pd.Timestamp("2015-01-01"), pd.Timestamp("2024-01-01")),
    hours=st.sampled_from([1, 4]),
    zone=st.sampled_from(ZONES),
)
def test_markets_that_never_close_have_utc(start, hours, zone) -> None:
    utc = pd.date_range(pd.Timestamp(start).floor("D"), periods=24 * 20, freq=f"{hours}h", tz="UTC")
    clock = market_clock(utc.tz_convert(zone), Interval(hours, "h"))
    assert clock.local(utc.tz_convert(zone)).equals(utc.tz_localize(None))
    assert clock.note == ""


def test_fx_has_utc_whether_stamped_in_utc_or_by_a_brokers_server() -> None:
    hours = pd.date_range("2024-02-19", "2024-03-29", freq="h", tz="UTC")
    eastern = hours.tz_convert("America/New_York") + pd.Timedelta(hours=7)  # days of the FX week end at 17:00
    index = hours[np.asarray(eastern.day_of_week) < 5]
    broker = (index.tz_convert("America/New_York").tz_localize(None)) + pd.Timedelta(hours=7)
    for written in (index, index.tz_localize(None), index.tz_convert("Asia/Tokyo"), broker):
        local = market_clock(written, Interval(1, "h")).local(written)
        assert local.equals(index.tz_localize(None))


@settings(max_examples=60)
@given(
    zone=st.sampled_from(["Europe/London", "Europe/Paris", "America/New_York", "Asia/Tokyo", "Australia/Sydney"]),
    written=st.sampled_from(ZONES),
    start=st.dates(pd.Timestamp("2015-01-01").date(), pd.Timestamp("2024-01-01").date()),
    freq=st.sampled_from(["B", "D", "W-MON"]),
)
def test_midnights_of_any_exchange_keep_their_dates(zone, written, start, freq) -> None:
    dates = pd.date_range(start, periods=300, freq=freq)
    index = dates.tz_localize(zone, ambiguous=np.ones(300, dtype=bool), nonexistent="shift_forward")
    interval = Interval(1, "w") if freq == "W-MON" else Interval(1, "d")
    assert market_clock(index.tz_convert(written), interval).local(index.tz_convert(written)).equals(dates)


@pytest.mark.parametrize(("zone", "noted"), [(None, True), ("UTC", True), ("Asia/Jakarta", False)])
def test_an_unknown_timezone_is_said(zone, noted) -> None:
    days = pd.bdate_range("2024-03-04", "2024-05-28")
    clock = [pd.Timedelta(hours=h, minutes=7) for h in (2, 3, 4, 7, 8)]  # hours of no exchange
    index = pd.DatetimeIndex([day + time for day in days for time in clock]).tz_localize(zone)
    found = market_clock(index, Interval(1, "h"))
    assert found.local(index).equals(index.tz_localize(None))
    assert ("--timezone America/New_York" in found.note) == noted

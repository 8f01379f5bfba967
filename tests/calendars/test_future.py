"""Future times: properties for all markets and intervals, known days for each market; markets of calendars."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kronos.calendars import MARKETS, calendar_names, future_times, infer_calendar, market_of
from kronos.candles import Candles, read_candles
from kronos.errors import CalendarError, DataError, ParameterError
from kronos.intervals import Interval

CALENDARS = [
    None, "24/7", "FX", "XNYS", "XSHG", "XHKG", "CN-FUTURES", "CN-FUTURES-0230", "CN-FUTURES-CFFEX", "XTKS", "XLON",
    "CMES", "inferred",
]  # fmt: skip
INTERVALS = ["1m", "5m", "15m", "30m", "1h", "2h", "4h", "1d", "3d", "1w", "2w", "1mo", "3mo", "45m", "7m"]
ZONES = [None, "UTC", "America/New_York", "Asia/Shanghai", "Europe/London", "Australia/Lord_Howe"]


def daily(start: str, end: str, **options: object) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.bdate_range(start, end, **options))


def bars(days: pd.DatetimeIndex, *clock: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(sorted(day + pd.Timedelta(c + ":00") for day in days for c in clock))


def format_times(times: pd.DatetimeIndex) -> list[str]:
    return [t.strftime("%m-%d %H:%M") for t in times]


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    calendar=st.sampled_from(CALENDARS),
    interval=st.sampled_from(INTERVALS),
    zone=st.sampled_from(ZONES),
    start=st.datetimes(pd.Timestamp("1992-01-01"), pd.Timestamp("2027-12-31")),
    present=st.lists(st.booleans(), min_size=1, max_size=80),
    horizon=st.integers(1, 60),
)
def test_times_increase_after_the_history_and_match_the_horizon(
    calendar, interval, zone, start, present, horizon
) -> None:
    step = Interval.parse(interval)
    grid = pd.Timestamp(start).floor("min") + step.delta * np.arange(len(present))
    history = pd.DatetimeIndex([t for t, is_present in zip(grid, present, strict=True) if is_present] or [grid[0]])
    if zone is not None:
        history = history.tz_localize("UTC").tz_convert(zone)
    future = future_times(history, step, horizon, calendar)
    assert len(future.times) == horizon
    assert future.times.is_monotonic_increasing
    assert future.times.is_unique
    assert future.times[0] > history[-1]
    assert str(future.times.tz) == str(history.tz)
    assert future.basis in ("calendar", "projected", "inferred")
    assert future.note.endswith(".")
    longer = future_times(history, step, horizon + 7, calendar)
    assert longer.times[:horizon].equals(future.times), "a longer horizon must not change the first times"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_unit_of_the_index_does_not_matter(unit: str) -> None:
    history = bars(daily("2024-03-04", "2024-03-28"), "09:45", "10:00").as_unit(unit)
    assert format_times(future_times(history, Interval.parse("15m"), 2).times) == ["03-29 09:45", "03-29 10:00"]


def test_crypto_continues_through_weekends_and_daylight_saving_time() -> None:
    history = pd.date_range("2024-03-20", "2024-03-30 20:00", freq="4h", tz="Europe/Berlin")
    future = future_times(history, Interval.parse("4h"), 12)
    assert future.calendar == "24/7"
    assert future.basis == "calendar"
    assert (np.diff(future.times.tz_convert("UTC").asi8) == np.diff(future.times.asi8)[0]).all()


def test_daily_crypto_stays_at_midnight_across_daylight_saving_time() -> None:
    history = pd.date_range("2024-03-01", "2024-03-29", freq="D", tz="Europe/Berlin")
    assert format_times(future_times(history, Interval.parse("1d"), 3).times) == [
        "03-30 00:00",
        "03-31 00:00",
        "04-01 00:00",
    ]


def test_new_york_daily_skips_good_friday() -> None:
    history = daily("2024-01-02", "2024-03-27").drop([pd.Timestamp("2024-01-15"), pd.Timestamp("2024-02-19")])
    future = future_times(history, Interval.parse("1d"), 3)
    assert future.calendar == "XNYS"
    assert format_times(future.times) == ["03-28 00:00", "04-01 00:00", "04-02 00:00"]


def test_new_york_hours_end_early_before_christmas() -> None:
    history = bars(daily("2024-12-09", "2024-12-23"), *(f"{h:02d}:30" for h in range(9, 16)))
    future = future_times(history, Interval.parse("1h"), 6)
    assert future.calendar == "XNYS"
    assert format_times(future.times) == [
        "12-24 09:30",
        "12-24 10:30",
        "12-24 11:30",
        "12-24 12:30",
        "12-26 09:30",
        "12-26 10:30",
    ]


@pytest.mark.parametrize("zone", ["UTC", None])
def test_new_york_bars_in_utc_follow_daylight_saving_time(zone: str | None) -> None:
    local = bars(daily("2024-02-20", "2024-03-08"), *(f"{h:02d}:30" for h in range(9, 16))).tz_localize(
        "America/New_York"
    )
    history = local.tz_convert("UTC").tz_localize(None).tz_localize(zone)
    future = future_times(history, Interval.parse("1h"), 1)
    assert future.calendar == "XNYS"
    assert format_times(future.times) == ["03-11 13:30"]  # 14:30 until Friday


def test_extended_hours_continue_on_trading_days() -> None:
    history = bars(daily("2024-03-11", "2024-03-28"), *(f"{h:02d}:00" for h in range(4, 20)))
    future = future_times(history, Interval.parse("1h"), 2, "NYSE")
    assert format_times(future.times) == ["04-01 04:00", "04-01 05:00"]  # Good Friday between


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        (("10:30", "11:30", "14:00", "15:00"), ["04-03 10:30", "04-03 11:30"]),
        (("09:30", "10:30", "13:00", "14:00"), ["04-03 09:30", "04-03 10:30"]),
    ],
)
def test_shanghai_continues_its_times_of_day_and_lunch_break(clock: tuple[str, ...], expected: list[str]) -> None:
    history = bars(daily("2024-03-11", "2024-04-02"), *clock)
    future = future_times(history, Interval.parse("1h"), 6)
    assert future.calendar == "XSHG"
    assert format_times(future.times[:2]) == expected
    assert [t.strftime("%H:%M") for t in future.times[:4]] == list(clock)
    assert format_times(future.times[4:5]) == [
        "04-08 " + clock[0]
    ]  # Qingming: 4 and 5 April closed; Sunday 7 is no session


def test_shanghai_in_utc_and_local_time_are_equal() -> None:
    local = bars(daily("2024-03-11", "2024-03-28"), "10:30", "11:30", "14:00", "15:00").tz_localize("Asia/Shanghai")
    one = future_times(local, Interval.parse("1h"), 9)
    other = future_times(local.tz_convert("UTC"), Interval.parse("1h"), 9)
    assert (one.calendar, other.calendar) == ("XSHG", "XSHG")
    assert (one.times == other.times).all()


def test_hong_kong_half_days() -> None:
    clock = [f"{h}:{m}" for h in ("10", "11", "13", "14", "15") for m in ("00", "30")] + ["09:30"]
    history = bars(daily("2026-12-07", "2026-12-23"), *clock)
    future = future_times(history, Interval.parse("30m"), 7)
    assert future.calendar == "XHKG"
    assert format_times(future.times)[:6] == [f"12-24 {c}" for c in ("09:30", "10:00", "10:30", "11:00", "11:30")] + [
        "12-28 09:30"
    ]


def test_dates_after_the_published_years_are_projected() -> None:
    history = daily("2026-11-02", "2026-12-30")
    near = future_times(history, Interval.parse("1d"), 1, "XSHG")
    far = future_times(history, Interval.parse("1d"), 40, "XSHG")
    assert near.basis == "calendar"
    assert far.basis == "projected"
    assert "projected" in far.note
    dates = far.times.strftime("%Y-%m-%d").tolist()
    assert "2027-01-01" not in dates
    assert not any("2027-02-05" <= d <= "2027-02-11" for d in dates), "the Spring Festival of 2027 is on 6 February"
    assert "2027-02-15" in dates


def test_projected_holidays_against_published_years() -> None:
    from kronos.calendars.holidays import chinese_holidays
    from kronos.calendars.sessions import schedule

    days = np.arange(np.datetime64("2025-01-01"), np.datetime64("2027-01-01"))
    days = days[np.is_busday(days)]
    known = np.isin(days, schedule("XSHG", days[0], days[-1]).dates)
    projected = ~np.isin(days, chinese_holidays(range(2025, 2027)))
    assert np.mean(known == projected) >= 0.985


def night_bars(days: pd.DatetimeIndex, nights: pd.DatetimeIndex, night_end: int) -> pd.DatetimeIndex:
    minutes = [*range(545, 616, 5), *range(635, 691, 5), *range(815, 901, 5)]
    stamps = [d + pd.Timedelta(minutes=m) for d in days for m in minutes]
    stamps += [d + pd.Timedelta(minutes=m) for d in nights for m in range(1265, night_end + 1, 5)]
    return pd.DatetimeIndex(sorted(stamps))


@pytest.mark.parametrize(("end", "name"), [(23 * 60, "2300"), (25 * 60, "0100"), (26 * 60 + 30, "0230")])
def test_chinese_night_sessions(end: int, name: str) -> None:
    days = daily("2024-03-11", "2024-03-29")
    history = night_bars(days, days, end)  # the last night belongs to Monday
    history = history[history <= pd.Timestamp("2024-03-29 15:00")]
    future = future_times(history, Interval.parse("5m"), (end - 1260) // 5 + 2)
    assert future.calendar == f"CN-FUTURES-{name}"
    assert format_times(future.times)[0] == "03-29 21:05"
    assert future.times[-3] == pd.Timestamp("2024-03-29") + pd.Timedelta(minutes=end)
    assert format_times(future.times)[-2:] == ["04-01 09:05", "04-01 09:10"]


def test_no_night_session_before_a_holiday() -> None:
    days = daily("2024-03-11", "2024-04-03")  # Qingming follows: 4 and 5 April
    history = night_bars(days, days[:-1], 23 * 60)
    assert format_times(future_times(history, Interval.parse("5m"), 1).times) == ["04-08 09:05"]


def test_hourly_bars_of_chinese_futures_run_through_breaks() -> None:
    history = bars(daily("2024-03-11", "2024-04-02"), "10:00", "11:15", "14:15", "15:00")
    future = future_times(history, Interval.parse("1h"), 4)
    assert future.calendar == "CN-FUTURES-DAY"
    assert [t.strftime("%H:%M") for t in future.times] == ["10:00", "11:15", "14:15", "15:00"]


def fx_hours(start: str, end: str) -> pd.DatetimeIndex:
    every = pd.date_range(start, end, freq="h", tz="UTC")
    local = every.tz_convert("America/New_York")
    turned = local + pd.Timedelta(hours=7)  # so that the week runs from Monday 00:00 to Friday 24:00
    return every[turned.tz_localize(None).day_of_week < 5]


@pytest.mark.parametrize(
    ("friday", "last", "reopens"),
    [("2024-03-01", "2024-03-01 21:00", "03-03 22:00"), ("2024-03-08", "2024-03-08 21:00", "03-10 21:00")],
)
def test_fx_week_begins_at_17_new_york(friday: str, last: str, reopens: str) -> None:
    history = fx_hours("2024-02-01", last)
    assert history[-1] == pd.Timestamp(last, tz="UTC")
    for index in (history, history.tz_localize(None), history.tz_convert("Asia/Tokyo")):
        future = future_times(index, Interval.parse("1h"), 3)
        assert future.calendar == "FX"
        stamp = future.times[0] if index.tz is None else future.times[0].tz_convert("UTC")
        assert stamp.strftime("%m-%d %H:%M") == reopens


def test_four_hour_fx_bars_stay_aligned_to_utc() -> None:
    history = fx_hours("2024-01-15", "2024-03-08 20:00").floor("4h").unique()
    future = future_times(history, Interval.parse("4h"), 8, "FX")
    assert set(future.times.hour) <= {0, 4, 8, 12, 16, 20}
    assert format_times(future.times)[0] == "03-10 20:00"  # the bar that holds the opening at 21:00


def test_fx_days_with_and_without_sundays() -> None:
    with_sundays = pd.date_range("2023-01-01", "2023-03-03", freq="D")
    with_sundays = with_sundays[with_sundays.day_of_week != 5]
    future = future_times(with_sundays, Interval.parse("1d"), 2)
    assert (future.calendar, format_times(future.times)) == ("FX", ["03-05 00:00", "03-06 00:00"])
    without = future_times(daily("2022-01-03", "2023-03-03"), Interval.parse("1d"), 2)
    assert (without.calendar, format_times(without.times)) == ("FX", ["03-06 00:00", "03-07 00:00"])


def test_unknown_markets_repeat_their_own_hours() -> None:
    history = bars(daily("2024-03-04", "2024-03-15"), "08:00", "08:20", "08:40", "09:00")
    future = future_times(history, Interval.parse("20m"), 5)
    assert (future.calendar, future.basis) == ("inferred", "inferred")
    assert format_times(future.times) == ["03-18 08:00", "03-18 08:20", "03-18 08:40", "03-18 09:00", "03-19 08:00"]


def test_few_bars_without_a_break_are_inferred() -> None:
    history = pd.date_range("2024-03-05 10:00", periods=5, freq="h")
    future = future_times(history, Interval.parse("1h"), 12)
    assert future.basis == "inferred"
    assert future_times(history, Interval.parse("1h"), 12, "24/7").basis == "calendar"
    assert (np.diff(future.times.as_unit("s").asi8) == 3600).all()


@pytest.mark.parametrize(
    ("history", "interval", "expected"),
    [
        (pd.date_range("2023-01-02", periods=60, freq="W-MON"), "1w", ["02-26 00:00", "03-04 00:00"]),
        (pd.date_range("2023-01-06", periods=60, freq="W-FRI"), "1w", ["03-01 00:00", "03-08 00:00"]),
        (pd.date_range("2022-01-01", periods=24, freq="MS"), "1mo", ["01-01 00:00", "02-01 00:00"]),
        (pd.date_range("2022-01-31", periods=24, freq="ME"), "1mo", ["01-31 00:00", "02-29 00:00"]),
        (pd.date_range("2022-01-31", periods=24, freq="BME"), "1mo", ["01-31 00:00", "02-29 00:00"]),
        (pd.date_range("2018-03-31", periods=24, freq="QE"), "3mo", ["03-31 00:00", "06-30 00:00"]),
    ],
)
def test_weeks_and_months_continue_their_anchor(history: pd.DatetimeIndex, interval: str, expected: list[str]) -> None:
    assert format_times(future_times(history, Interval.parse(interval), 2).times) == expected


def test_weeks_stamped_on_their_last_session() -> None:
    sessions = future_times(daily("2023-01-03", "2023-01-03"), Interval.parse("1d"), 300, "XSHG").times
    weekly = pd.DatetimeIndex(pd.Series(sessions, sessions).groupby(sessions.to_period("W")).max())
    for cut in (30, 40, len(weekly) - 6):
        future = future_times(weekly[:cut], Interval.parse("1w"), 5)
        assert future.calendar == "XSHG"
        assert (future.times == weekly[cut : cut + 5]).all()
    spring = weekly[weekly <= "2024-02-08"]
    assert format_times(future_times(spring, Interval.parse("1w"), 1).times) == [
        "02-23 00:00"
    ]  # a week without a session


def test_infer_calendar() -> None:
    hours = bars(daily("2024-03-04", "2024-03-28"), *(f"{h:02d}:00" for h in range(9, 16)))
    assert infer_calendar(hours, Interval.parse("1h")) == "XNYS"  # Lean stamps whole hours
    assert infer_calendar(pd.date_range("2024-01-01", periods=500, freq="h"), Interval.parse("1h")) == "24/7"
    assert infer_calendar(daily("2024-03-04", "2024-03-22"), Interval.parse("1d")) == "inferred"  # without a holiday


HISTORY = pd.date_range("2024-01-01", periods=30, freq="D")


@pytest.mark.parametrize("horizon", [0, -1, 2.5, True, 10**7])
def test_invalid_horizons_raise(horizon: object) -> None:
    with pytest.raises(ParameterError, match="horizon"):
        future_times(HISTORY, Interval.parse("1d"), horizon)


@pytest.mark.parametrize(
    ("history", "word"),
    [
        (HISTORY[:0], "empty"),
        (HISTORY[::-1], "increasing"),
        (HISTORY.append(HISTORY[-1:]), "increasing"),
        (pd.DatetimeIndex(["2024-01-01", None]), "missing"),
        (pd.Index([1, 2]), "DatetimeIndex"),
        (pd.DatetimeIndex(["1700-01-01", "1700-01-02"]), "1800"),
    ],
)
def test_invalid_histories_raise(history: pd.DatetimeIndex, word: str) -> None:
    with pytest.raises(DataError, match=word):
        future_times(history, Interval.parse("1d"), 1)


def test_unknown_calendars_raise_with_a_hint() -> None:
    with pytest.raises(CalendarError, match="XNYS"):
        future_times(HISTORY, Interval.parse("1d"), 1, "XNYZ")
    with pytest.raises(CalendarError, match="24/7"):
        future_times(HISTORY, Interval.parse("1d"), 1, "%%%")


def test_horizons_beyond_2200_raise() -> None:
    with pytest.raises(CalendarError, match="2200"):
        future_times(HISTORY, Interval.parse("1mo"), 5000, "24/7")


def test_aliases_and_names() -> None:
    names = calendar_names()
    assert {"24/7", "FX", "XNYS", "XSHG", "XHKG", "CN-FUTURES"} <= set(names)
    assert future_times(HISTORY, Interval.parse("1d"), 1, "nasdaq").calendar == "XNYS"
    assert future_times(HISTORY, Interval.parse("1d"), 1, "Crypto").calendar == "24/7"


def test_a_week_that_ends_early_is_complete() -> None:
    fridays = pd.date_range("2023-06-02", "2024-03-22", freq="W-FRI")
    history = fridays.append(pd.DatetimeIndex(["2024-03-28"]))  # Good Friday is the 29th
    assert format_times(future_times(history, Interval.parse("1w"), 1).times) == ["04-05 00:00"]


def test_fixed_offsets_work_like_timezones() -> None:
    history = bars(daily("2024-03-11", "2024-03-28"), "10:30", "11:30", "14:00", "15:00").tz_localize("+08:00")
    future = future_times(history, Interval.parse("1h"), 1)
    assert future.calendar == "XSHG"
    assert future.times[0].isoformat() == "2024-03-29T10:30:00+08:00"


def test_rows_after_the_history_do_not_matter() -> None:
    whole = pd.date_range("2024-01-01", periods=300, freq="h")
    other = whole[:200].append(pd.date_range("2024-02-01", periods=100, freq="D"))
    one, two = (future_times(index[:200], Interval.parse("1h"), 24) for index in (whole, other))
    assert one.times.equals(two.times)
    assert one.calendar == two.calendar


@pytest.mark.parametrize("last", ["2024-10-25", "2024-11-22"])
def test_daily_times_in_utc_stay_at_the_exchanges_midnight(last: str) -> None:
    days = future_times(daily("2024-06-03", "2024-06-03"), Interval.parse("1d"), 400, "XNYS").times
    real = days.tz_localize("America/New_York").tz_convert("UTC")
    known = real[real <= pd.Timestamp(last, tz="UTC") + pd.Timedelta("12h")]
    future = future_times(known, Interval.parse("1d"), 60)
    assert future.calendar == "XNYS"
    assert future.times.equals(real[len(known) : len(known) + 60].as_unit(future.times.unit))


def test_an_unfinished_last_day_does_not_prevent_detection() -> None:
    days = future_times(daily("2024-01-02", "2024-01-02"), Interval.parse("1d"), 60, "XNYS").times
    real = days.tz_localize("America/New_York")
    live = real[:-1].append(pd.DatetimeIndex([real[-1] + pd.Timedelta("15h32min10s")]))
    future = future_times(live, Interval.parse("1d"), 2)
    assert future.calendar == "XNYS"
    assert [t.strftime("%m-%d %H:%M") for t in future.times] == ["04-01 00:00", "04-02 00:00"]


@pytest.mark.parametrize("interval", ["1d", "1w", "1mo"])
def test_periods_from_midnight_utc_in_another_timezone(interval: str) -> None:
    freq = {"1d": "D", "1w": "W-MON", "1mo": "MS"}[interval]
    real = pd.date_range("2023-12-01", periods=120, freq=freq, tz="UTC").tz_convert("America/New_York")
    future = future_times(real[:50], Interval.parse(interval), 70)
    assert (future.times == real[50:]).all()


def test_days_follow_the_last_change_of_daylight_saving_time() -> None:
    real = pd.date_range("2024-09-01", "2024-12-01", freq="D", tz="America/New_York").tz_convert("UTC")
    known = real[real < pd.Timestamp("2024-11-06", tz="UTC")]
    assert (future_times(known, Interval.parse("1d"), 10).times == real[len(known) : len(known) + 10]).all()


def test_hours_outside_an_exchanges_sessions_are_inferred() -> None:
    history = bars(
        daily("2024-11-04", "2024-11-27"), *(f"{hour}:30" for hour in range(14, 21))
    )  # UTC labelled as local time
    future = future_times(history.tz_localize("America/New_York"), Interval.parse("1h"), 8, "XNYS")
    assert future.basis == "inferred"
    assert "history's own times of day" in future.note
    assert [t.strftime("%m-%d %H:%M") for t in future.times[[0, 7]]] == ["11-29 14:30", "12-02 14:30"]


def inferred_market(candles):
    return market_of(candles.index, candles.interval, candles.calendar)


def candles_at(times, interval, calendar=None):
    """Candles at these times with arbitrary prices."""
    closes = 100 + np.arange(len(times)) % 7
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), closes), index=times)
    return Candles.from_frame(frame, symbol="X", interval=interval, calendar=calendar)


def following(calendar, interval="1h", rows=600, start="2024-01-02 10:00", zone=None):
    first = pd.DatetimeIndex([pd.Timestamp(start, tz=zone)])
    return candles_at(future_times(first, Interval.parse(interval), rows, calendar).times, interval)


@pytest.mark.parametrize(
    ("calendar", "interval", "zone", "market"),
    [
        ("24/7", "1h", "UTC", "crypto"),
        ("24/7", "1d", "UTC", "crypto"),
        ("FX", "1h", "UTC", "fx"),
        ("XNYS", "1d", None, "us_equity"),
        ("XNYS", "1h", "America/New_York", "us_equity"),
        ("XSHG", "15m", "Asia/Shanghai", "cn_ashare"),
        ("CN-FUTURES-2300", "5m", "Asia/Shanghai", "cn_futures"),
        ("XHKG", "1d", "Asia/Hong_Kong", None),
    ],
)
def test_market_is_inferred_from_the_calendar(calendar, interval, zone, market):
    assert inferred_market(following(calendar, interval, zone=zone)) == market


def test_given_calendars_take_precedence():
    hourly = following("24/7", zone="UTC")
    for name, market in {"nasdaq": "us_equity", "XSHE": "cn_ashare", "FX": "fx", "inferred": None}.items():
        assert inferred_market(replace(hourly, calendar=name)) == market
    with pytest.raises(CalendarError, match="no calendar"):
        inferred_market(replace(hourly, calendar="nowhere"))


def test_a_day_without_a_break_is_not_crypto():
    short = following("24/7", "5m", 200, zone="UTC")
    assert inferred_market(short) is None
    assert inferred_market(replace(short, calendar="24/7")) == "crypto"
    assert inferred_market(following("24/7", "1w", 100, zone="UTC")) is None  # weekly candles show no weekend


def test_prices_and_symbols_do_not_matter():
    candles = following("FX", zone="UTC")
    other = replace(candles, frame=candles.frame * 3, symbol="BTCUSD")
    assert inferred_market(candles) == inferred_market(other) == "fx"


def test_real_candles_of_five_markets(shared: Path):
    for name in (
        *("crypto/BTCUSD_bitfinex_1h", "fx/EURUSD_oanda_5m", "us_equity/AAPL_lean_1d"),
        *("cn_ashare/SH600519_15m", "cn_futures/CZCE.AP_5m"),
    ):
        assert inferred_market(read_candles(shared / "data" / "candles" / f"{name}.parquet")) == name.split("/")[0]
    assert set(MARKETS.values()) == {"crypto", "fx", "us_equity", "cn_ashare", "cn_futures"}


# Holidays of FX ----------------------------------------------------------------------------------------------------


def fx_hours_without_holidays(start: str, end: str) -> pd.DatetimeIndex:
    """Hours of the FX week in UTC, without 25 December and 1 January."""
    hours = pd.date_range(start, end, freq="h", tz="UTC")
    day = (hours.tz_convert("America/New_York") + pd.Timedelta(hours=7)).tz_localize(None)
    holiday = ((day.month == 12) & (day.day == 25)) | ((day.month == 1) & (day.day == 1))
    return hours[np.asarray((day.day_of_week < 5) & ~holiday)]


@pytest.mark.parametrize("zone", ["UTC", None, "America/New_York"])
@pytest.mark.parametrize("year", [2023, 2024, 2025])
def test_fx_closes_on_christmas_and_new_year(year: int, zone: str | None) -> None:
    times = fx_hours_without_holidays(f"{year}-11-20", f"{year + 1}-01-09 12:00")
    written = times.tz_localize(None) if zone is None else times.tz_convert(zone)
    for cut in (f"{year}-12-24 12:00", f"{year}-12-31 12:00"):
        known = int(times.searchsorted(pd.Timestamp(cut, tz="UTC")))
        future = future_times(written[:known], Interval.parse("1h"), 60)
        assert future.calendar == "FX"
        assert future.times.equals(written[known : known + 60])


def test_daily_fx_closes_on_christmas_and_new_year() -> None:
    history = pd.bdate_range("2024-01-02", "2024-12-23")
    future = future_times(history, Interval.parse("1d"), 7, "FX")
    assert format_times(future.times) == ["12-24 00:00", "12-26 00:00", "12-27 00:00", "12-30 00:00", "12-31 00:00",
                                          "01-02 00:00", "01-03 00:00"]  # fmt: skip
    trading = pd.bdate_range("2023-12-01", "2024-12-23")  # this source has candles of 25 December
    assert future_times(trading, Interval.parse("1d"), 2, "FX").times[1] == pd.Timestamp("2024-12-25")

"""Resampling: equal to pandas on complete data, nothing from incomplete data."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.candles import COLUMNS, Candles, Finding, read_candles, resample
from kronos.candles.resampling import can_resample
from kronos.errors import DataError, ParameterError
from kronos.intervals import Interval

AGGREGATIONS = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum", "amount": "sum"}


def random_table(index: pd.DatetimeIndex, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, len(index))))
    frame = pd.DataFrame({"open": np.r_[100.0, close[:-1]], "close": close}, index=index)
    high, low = frame.max(axis=1) * 1.001, frame.min(axis=1) * 0.999
    volume = rng.integers(1, 100, len(index)).astype(float)
    return frame.assign(high=high, low=low, volume=volume, amount=volume * 7)[list(COLUMNS)]


def series(index: pd.DatetimeIndex, interval: str | None = None) -> Candles:
    return Candles.from_frame(random_table(index), symbol="X", interval=interval)


def sessions(
    days: pd.DatetimeIndex,
    spans: tuple[tuple[str, str], ...] = (("09:30", "11:30"), ("13:00", "15:00")),
    freq: str = "15min",
) -> pd.DatetimeIndex:
    """Opening times of candles in trading sessions, by default those of Shanghai."""
    times = [
        day + pd.Timedelta(a + ":00") + step
        for day in days
        for a, b in spans
        for step in pd.timedelta_range(0, pd.Timedelta(b + ":00") - pd.Timedelta(a + ":00"), freq=freq, closed="left")
    ]
    return pd.DatetimeIndex(times)


def resampled_finding(candles: Candles) -> Finding:
    (finding,) = [f for f in candles.findings if f.code == "resampled"]
    return finding


def floors(index: pd.DatetimeIndex, target: str) -> pd.DatetimeIndex:
    """Starts of the longer candles of these opening times, by pandas' arithmetic on the wall clock."""
    naive = index.tz_localize(None)
    if target == "1w":
        return (naive - pd.to_timedelta(naive.day_of_week, unit="D")).normalize()
    if target == "1mo":
        return naive.to_period("M").to_timestamp()
    return naive.floor(Interval.parse(target).delta)


TARGETS = [("15min", "1h"), ("15min", "4h"), ("1h", "6h"), ("1h", "1d"), ("4h", "1d"), ("1h", "1w"), ("1D", "1w"),
           ("1D", "1mo"), ("1min", "5m"), ("5min", "20m")]  # fmt: skip


@pytest.mark.slow
@settings(max_examples=60)
@given(
    pair=st.sampled_from(TARGETS),
    start=st.integers(0, 400),
    rows=st.integers(60, 900),
    zone=st.sampled_from([None, "UTC", "Asia/Kolkata", "Asia/Shanghai"]),
    stamped=st.sampled_from(["open", "close"]),
)
def test_complete_data_equal_pandas(
    pair: tuple[str, str], start: int, rows: int, zone: str | None, stamped: str
) -> None:
    freq, target = pair
    step = pd.Timedelta(freq)
    opens = pd.date_range(pd.Timestamp("2024-01-29") + start * step, periods=rows, freq=freq, tz=zone)
    table = random_table(opens)
    key = floors(opens, target)
    sizes = table.groupby(key).size()
    ends = sizes.index + Interval.parse(target).offset
    complete = np.asarray(sizes == (ends - sizes.index) / step)
    expected = table.groupby(key).agg(AGGREGATIONS)[complete]
    source = Candles.from_frame(table.set_axis(opens + step if stamped == "close" else opens))
    if expected.empty:
        with pytest.raises(DataError, match=f"no complete {target} candle"):
            resample(source, target, stamped=stamped)
        return
    result = resample(source, target, stamped=stamped)
    at_end = stamped == "close" and target not in ("1d", "1w", "1mo")
    stamps = pd.DatetimeIndex(ends[complete] if at_end else sizes.index[complete]).tz_localize(zone)
    pd.testing.assert_index_equal(result.index, stamps, check_names=False, exact=False)
    np.testing.assert_allclose(result.frame.to_numpy(), expected.to_numpy(), rtol=1e-12)
    assert str(result.interval) == target
    assert resampled_finding(result).count == int((~complete).sum()) or complete.all()


ROUND_THE_CLOCK = series(pd.date_range("2024-03-01", periods=24 * 12, freq="h"), "1h")
SHANGHAI = series(sessions(pd.bdate_range("2024-03-01", periods=25)), "15m")
FX = series(
    pd.DatetimeIndex(
        [t for t in pd.date_range("2024-01-07 22:00", "2024-03-29 20:00", freq="h")
         if not (t.day_of_week == 5 or (t.day_of_week == 4 and t.hour > 20) or (t.day_of_week == 6 and t.hour < 22))]
    ),
    "1h",
)  # fmt: skip
SOURCES = {"round the clock": ROUND_THE_CLOCK, "Shanghai": SHANGHAI, "FX": FX}
KINDS = st.sampled_from([("round the clock", "4h"), ("round the clock", "1d"), ("Shanghai", "1h"), ("Shanghai", "1d"),
                         ("FX", "4h"), ("FX", "1d")])  # fmt: skip


@cache
def resample_all(name: str, target: str) -> Candles:
    """Longer candles of a whole source, which many examples compare with."""
    return resample(SOURCES[name], target)


@pytest.mark.slow
@settings(max_examples=80)
@given(kind=KINDS, where=st.floats(0, 1, exclude_max=True))
def test_a_missing_candle_removes_only_its_longer_one(kind: tuple[str, str], where: float) -> None:
    target, source, full = kind[1], SOURCES[kind[0]], resample_all(*kind)
    position = int(where * len(source))
    bucket = floors(source.index[[position]], target)[0]
    partial = resample(replace(source, frame=source.frame.drop(source.index[position])), target)
    pd.testing.assert_frame_equal(partial.frame, full.frame[full.index != bucket])


@pytest.mark.slow
@settings(max_examples=60)
@given(kind=KINDS, where=st.floats(0, 1, exclude_max=True))
def test_later_candles_do_not_change_earlier_results(kind: tuple[str, str], where: float) -> None:
    target, source, full = kind[1], SOURCES[kind[0]], resample_all(*kind)
    cut = full.index[int(where * len(full))]
    later = source.index >= cut
    frame = source.frame.copy()
    frame.loc[later] *= 3.0
    resampled = resample(replace(source, frame=frame), target)
    pd.testing.assert_frame_equal(resampled.frame[resampled.index < cut], full.frame[full.index < cut])


@pytest.mark.slow
@settings(max_examples=60)
@given(kind=KINDS, cut=st.integers(1, 200))
def test_forming_candles_are_left_out(kind: tuple[str, str], cut: int) -> None:
    target, source, full = kind[1], SOURCES[kind[0]], resample_all(*kind).frame
    known = source.head(len(source) - cut)
    result = resample(known, target)
    pd.testing.assert_frame_equal(result.frame, full.loc[full.index.isin(result.index)])
    if floors(source.index, target)[-cut] == floors(source.index, target)[-cut - 1]:
        assert result.end < floors(known.index, target)[-1]


def test_half_days_are_incomplete_and_holidays_are_not() -> None:
    days = pd.bdate_range("2024-01-01", periods=60).drop(["2024-02-12", "2024-02-13"])
    index = sessions(days)
    index = index[~((index.normalize() == pd.Timestamp("2024-02-09")) & (index.hour >= 13))]
    result = resample(series(index, "15m"), "1d")
    assert result.index.tolist() == [day for day in days if day != pd.Timestamp("2024-02-09")]
    finding = resampled_finding(result)
    assert finding.count == 1
    for part in ("920 candles of 15m", "57 of 1d", "1 incomplete", "2024-02-09 00:00:00"):
        assert part in finding.message
    weeks = resample(Candles.from_frame(random_table(days), interval="1d"), "1w")
    assert len(weeks) == 12
    assert weeks.start == pd.Timestamp("2024-01-01")


def test_unfinished_weeks_and_months_are_left_out() -> None:
    days = pd.bdate_range("2024-01-03", "2024-06-27")
    source = Candles.from_frame(random_table(days), interval="1d")
    assert resample(source, "1w").index[[0, -1]].strftime("%F").tolist() == ["2024-01-08", "2024-06-17"]
    assert resample(source, "1mo").index[[0, -1]].strftime("%F").tolist() == ["2024-02-01", "2024-05-01"]
    ended = Candles.from_frame(random_table(pd.bdate_range("2024-01-03", "2024-06-28")), interval="1d")
    assert resample(ended, "1mo").end == pd.Timestamp("2024-06-01")


def test_a_dropped_row_makes_its_week_incomplete() -> None:
    table = random_table(pd.bdate_range("2024-01-01", periods=60))
    table.loc["2024-02-07", "close"] = np.nan
    weeks = resample(Candles.from_frame(table, interval="1d"), "1w")
    assert pd.Timestamp("2024-02-05") not in weeks.index
    assert resampled_finding(weeks).count == 1


def test_sessions_in_utc_across_daylight_saving_time() -> None:
    local = sessions(pd.bdate_range("2024-02-01", "2024-04-30"), (("09:00", "16:00"),), "1h")
    utc = local.tz_localize("America/New_York").tz_convert("UTC")
    result = resample(Candles.from_frame(random_table(utc), interval="1h"), "1d")
    assert len(result) == len(pd.bdate_range("2024-02-01", "2024-04-30"))


@pytest.mark.parametrize(("day", "hours"), [("2024-03-10", 23), ("2024-11-03", 25)])
def test_days_of_23_and_25_hours(day: str, hours: int) -> None:
    zone = "America/New_York"
    start = pd.Timestamp(day) - pd.Timedelta(days=3)
    index = pd.date_range(start.tz_localize(zone), (start + pd.Timedelta(days=6)).tz_localize(zone), freq="h")[:-1]
    source = series(index, "1h")
    result = resample(source, "1d")
    assert result.index.tolist() == list(pd.date_range(start.tz_localize(zone), periods=6, freq="D"))
    hours_of_day = source.frame[source.index.normalize() == pd.Timestamp(day, tz=zone)]
    assert len(hours_of_day) == hours
    assert result.frame.loc[pd.Timestamp(day, tz=zone), "volume"] == hours_of_day["volume"].sum()
    partial = resample(replace(source, frame=source.frame.drop(hours_of_day.index[5])), "1d")
    assert len(partial) == 5


def test_repeated_hours_give_two_candles() -> None:
    zone = "America/New_York"
    index = pd.date_range("2024-11-03 00:00", "2024-11-04 00:00", freq="30min", tz=zone)[:-1]
    result = resample(series(index, "30m"), "1h")
    assert len(result) == 25
    assert [str(t) for t in result.index[1:3]] == ["2024-11-03 01:00:00-04:00", "2024-11-03 01:00:00-05:00"]


def test_closes_just_before_the_hour_count_as_on_the_hour() -> None:
    opens = pd.date_range("2024-03-01", periods=96, freq="h", tz="UTC")
    exact = resample(Candles.from_frame(random_table(opens + pd.Timedelta("1h"))), "4h", stamped="close")
    early = resample(Candles.from_frame(random_table(opens + pd.Timedelta("3599.999s"))), "4h", stamped="close")
    pd.testing.assert_frame_equal(early.frame, exact.frame, check_index_type=False)
    assert exact.start == pd.Timestamp("2024-03-01 04:00", tz="UTC")


def test_fx_days_belong_to_the_day_of_their_end() -> None:
    evenings = pd.DatetimeIndex(pd.bdate_range("2024-01-01", periods=60)) - pd.Timedelta("2h")
    weeks = resample(Candles.from_frame(random_table(evenings), interval="1d"), "1w")
    assert len(weeks) == 12
    assert weeks.index[:2].strftime("%F").tolist() == ["2024-01-01", "2024-01-08"]


def test_quarters_from_months() -> None:
    months = pd.date_range("2020-02-01", periods=20, freq="MS")
    quarters = resample(Candles.from_frame(random_table(months)), "3mo")
    assert quarters.index.strftime("%F").tolist()[:2] == ["2020-04-01", "2020-07-01"]
    assert len(quarters) == 6


@pytest.mark.parametrize(
    ("freq", "target", "words"),
    [
        ("1h", "30m", "whole multiple"), ("1h", "90m", "whole multiple"), ("7D", "1mo", "whole multiple"),
        ("4h", "6h", "whole multiple"), ("1D", "1h", "whole multiple"), ("3D", "1mo", "whole multiple"),
        ("1h", "5h", "does not divide"), ("1h", "36h", "does not divide"), ("1h", "two", "Invalid interval"),
        ("1h", "99999999d", "longer than any history"), ("1D", "99999999mo", "longer than any history"),
    ],
)  # fmt: skip
def test_other_intervals_raise(freq: str, target: str, words: str) -> None:
    source = series(pd.date_range("2024-01-01", periods=300, freq=freq))
    with pytest.raises(ParameterError, match=words):
        resample(source, target)


@given(
    st.sampled_from(("15m", "1h", "5h", "1d", "2d", "3d", "1w", "1mo")),
    st.sampled_from(("1h", "4h", "10h", "1d", "6d", "1w", "1mo", "3mo")),
)
def test_can_resample_predicts_errors(short: str, long: str) -> None:
    source = Candles.from_frame(random_table(pd.date_range("2024-01-01", periods=60, freq="D")), interval="1d")
    result = replace(source, interval=Interval.parse(short).normalized())
    try:
        resample(result, long)
    except ParameterError as error:
        expected = not str(error).startswith("Cannot resample")
    except DataError:
        expected = True
    else:
        expected = True
    assert can_resample(Interval.parse(short), Interval.parse(long)) == expected


def test_candles_across_edges_raise() -> None:
    half_past = series(pd.date_range("2024-01-01 00:30", periods=300, freq="h"))
    with pytest.raises(ParameterError, match=r"of the 1h candles of X cross .* 2024-01-01 "):
        resample(half_past, "2h")
    noon = series(pd.date_range("2024-01-01 12:00", periods=300, freq="D"))
    for target in ("1w", "1mo"):
        with pytest.raises(ParameterError, match="cross the edges"):
            resample(noon, target)


def test_a_misaligned_candle_makes_longer_ones_incomplete() -> None:
    source = ROUND_THE_CLOCK
    stamps = source.index.to_series().reset_index(drop=True)
    stamps[30] += pd.Timedelta(minutes=10)
    moved = replace(source, frame=source.frame.set_axis(pd.DatetimeIndex(stamps, name="timestamps")))
    result = resample(moved, "4h")
    assert resample(source, "4h").index.difference(result.index).tolist() == [pd.Timestamp("2024-03-02 04:00")]


def test_metadata_is_kept() -> None:
    source = replace(ROUND_THE_CLOCK, simulated=True, source="here", has_amount=False, calendar="24/7")
    result = resample(source, "4h")
    assert (result.symbol, result.source, result.simulated, result.has_amount, result.calendar) == (
        "X", "here", True, False, "24/7",
    )  # fmt: skip
    assert result.findings[:-1] == source.findings
    assert resampled_finding(result).severity == "info"
    assert resample(source, "1h") is source
    with pytest.raises(ParameterError, match="open or close"):
        resample(source, "4h", stamped="middle")


def test_resampling_is_transitive() -> None:
    twice, once = resample(resample(ROUND_THE_CLOCK, "4h"), "1d"), resample(ROUND_THE_CLOCK, "1d")
    np.testing.assert_allclose(twice.frame, once.frame, rtol=1e-12)
    assert twice.index.equals(once.index)


def test_real_days_from_hours_agree_with_the_source(shared: Path) -> None:
    folder = shared / "data/candles"
    result = resample(read_candles(folder / "us_equity/SPY_lean_1h.parquet"), "1d")
    daily = read_candles(folder / "us_equity/SPY_lean_1d.parquet").frame
    assert len(result) > 5_700
    assert result.index.isin(daily.index).all()
    np.testing.assert_allclose(result.frame["close"], daily.loc[result.index, "close"], rtol=0.02)
    shanghai = read_candles(folder / "cn_ashare/SH600519_15m.parquet")
    assert len(resample(shanghai, "1d", stamped="close")) == 300


# The market's own conventions ---------------------------------------------------


def random_candles(times: pd.DatetimeIndex) -> Candles:
    """A random walk at these times."""
    rng = np.random.default_rng(len(times))
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.001, len(times))))
    opened = np.append(100.0, close[:-1])
    values = {"open": opened, "high": np.maximum(opened, close), "low": np.minimum(opened, close), "close": close}
    return Candles.from_frame(pd.DataFrame({**values, "volume": rng.integers(1, 99, len(times))}, index=times))


def shanghai_five_minutes(stamped: str) -> pd.DatetimeIndex:
    """Five-minute bars of Shanghai, stamped at their open or close."""
    starts = [*range(570, 690, 5), *range(780, 900, 5)]
    days = pd.bdate_range("2024-03-04", "2024-03-28")
    return pd.DatetimeIndex([d + pd.Timedelta(minutes=m + 5 * (stamped == "close")) for d in days for m in starts])


def test_the_side_of_the_stamps_is_detected() -> None:
    at_close, at_open = (random_candles(shanghai_five_minutes(side)) for side in ("close", "open"))
    hourly = resample(at_close, "1h")
    assert hourly.frame.equals(resample(at_close, "1h", stamped="close").frame)
    assert sorted({time.strftime("%H:%M") for time in hourly.index}) == ["10:00", "11:00", "12:00", "14:00", "15:00"]
    assert np.array_equal(hourly.frame.to_numpy(), resample(at_open, "1h").frame.to_numpy())


@pytest.mark.parametrize("zone", ["UTC", None, "Asia/Tokyo"])
def test_days_of_fx_end_at_17_new_york(zone) -> None:
    hours = pd.date_range("2024-02-18 22:00", "2024-03-29 21:00", freq="h", tz="UTC", inclusive="left")
    day = (hours.tz_convert("America/New_York") + pd.Timedelta(hours=7)).tz_localize(None).floor("D")
    is_open = np.asarray(day.day_of_week < 5)
    times = hours[is_open].tz_localize(None) if zone is None else hours[is_open].tz_convert(zone)
    candles = random_candles(times)
    expected = candles.frame.groupby(day[is_open]).agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum", "amount": "sum"}
    )
    daily = resample(candles, "1d")
    assert daily.index.tz_localize(None).equals(pd.DatetimeIndex(expected.index, name="timestamps"))
    np.testing.assert_allclose(daily.frame.to_numpy(), expected.to_numpy())
    assert len(resample(candles, "1w")) == 6


def test_night_sessions_belong_to_the_next_trading_day() -> None:
    days = pd.bdate_range("2024-03-11", "2024-03-29")
    minutes = [*range(540, 615, 15), *range(630, 690, 15), *range(810, 900, 15), *range(1260, 1380, 15)]
    candles = random_candles(pd.DatetimeIndex([d + pd.Timedelta(minutes=m) for d in days for m in minutes]))
    daily = resample(candles, "1d")
    friday, monday = pd.Timestamp("2024-03-15"), pd.Timestamp("2024-03-18")
    expected = candles.between("2024-03-15 21:00", "2024-03-18 14:45").frame
    assert {friday, monday} <= set(daily.index)
    assert daily.frame.loc[monday, "volume"] == expected["volume"].sum()
    assert daily.frame.loc[monday, "open"] == expected["open"].iloc[0]

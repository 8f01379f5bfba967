"""Quality filters: the paper's numbers, agreement with a simple implementation, and missing prices."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.candles import Candles, QualityRules, QualitySegment, assess, read_candles, rules_for
from kronos.errors import ParameterError
from kronos.intervals import Interval

LENIENT = QualityRules(min_length=1, price_jump=9.0, illiquid_run=99, stagnant_run=99)


def walk(index: pd.DatetimeIndex, seed: int = 0, volume: float = 5.0) -> pd.DataFrame:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.002, len(index))))
    frame = pd.DataFrame({"open": np.r_[100.0, close[:-1]], "close": close, "volume": volume}, index=index)
    return frame.assign(high=frame[["open", "close"]].max(axis=1), low=frame[["open", "close"]].min(axis=1))


def sessions(*spans: tuple[str, str], days: pd.DatetimeIndex, freq: str = "15min") -> pd.DatetimeIndex:
    """Opening times of a market that trades in these spans of each day."""
    times = [
        day + pd.Timedelta(a) + step
        for day in days
        for a, b in spans
        for step in pd.timedelta_range(0, pd.Timedelta(b) - pd.Timedelta(a), freq=freq, closed="left")
    ]
    return pd.DatetimeIndex(times)


@pytest.mark.parametrize(
    ("interval", "numbers"),
    [
        ("1m", (2048, 0.10, 15, 45)), ("5m", (1024, 0.15, 3, 10)), ("10m", (512, 0.15, 3, 6)),
        ("15m", (512, 0.15, 2, 5)), ("20m", (512, 0.15, 2, 5)), ("30m", (512, 0.20, 2, 3)),
        ("40m", (256, 0.20, 1, 3)), ("60m", (256, 0.20, 1, 3)), ("2h", (128, 0.25, 1, 3)),
        ("4h", (128, 0.25, 1, 3)), ("daily", (128, 0.30, 1, 3)), ("weekly", (16, 0.50, 0, 2)),
    ],
)  # fmt: skip
def test_rules_of_the_paper(interval: str, numbers: tuple[int, float, int, int]) -> None:
    rules = rules_for(interval)
    assert (rules.min_length, rules.price_jump, rules.illiquid_run, rules.stagnant_run) == numbers
    assert rules.row == Interval.parse(interval)


@pytest.mark.parametrize(
    ("interval", "row"),
    [("1s", "1m"), ("3m", "5m"), ("45m", "40m"), ("6h", "4h"), ("8h", "4h"), ("12h", "1d"), ("3d", "1w"), ("1M", "1w")],
)
def test_other_intervals_use_the_nearest_row(interval: str, row: str) -> None:
    assert rules_for(interval).row == Interval.parse(row)
    series = replace(hourly(), interval=Interval.parse(interval))
    assert any(f"those for {Interval.parse(row)} were used" in note for note in assess(series).notes)


@pytest.mark.parametrize(
    "invalid",
    [{"min_length": 0}, {"price_jump": 0.0}, {"price_jump": float("nan")}, {"illiquid_run": -1}, {"stagnant_run": -1}],
)
def test_invalid_rules_raise(invalid: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match=next(iter(invalid))):
        replace(LENIENT, **invalid)


def hourly(rows: int = 400) -> Candles:
    return Candles.from_frame(walk(pd.date_range("2024-01-01", periods=rows, freq="h")), interval="1h")


def changed(candles: Candles, column: str, positions: slice, values: float) -> Candles:
    frame = candles.frame.copy()
    frame.iloc[positions, frame.columns.get_loc(column)] = values
    return replace(candles, frame=frame)


def test_a_clean_series_is_one_segment() -> None:
    quality = assess(hourly())
    assert quality.segments == (QualitySegment(0, 400),)
    assert quality.reasons == quality.notes == ()
    assert quality.kept_share == 1.0


def test_price_jumps_split() -> None:
    series = hourly(600)
    frame = series.frame.copy()
    frame.iloc[300:, :4] *= 1.25  # the paper's limit for an hour is 20 %
    quality = assess(replace(series, frame=frame))
    assert quality.segments == (QualitySegment(0, 300), QualitySegment(300, 600))
    (reason,) = quality.reasons
    assert (reason.why, reason.start, reason.end) == ("jump", series.index[299], series.index[300])
    assert str(reason) == "the open of 2024-01-13 12:00:00 is +25.0% from the close of 2024-01-13 11:00:00"
    assert quality.jumps == 1


def test_short_segments_are_dropped() -> None:
    series = hourly(600)
    frame = series.frame.copy()
    frame.iloc[200:, :4] *= 1.25
    quality = assess(replace(series, frame=frame))
    assert quality.segments == (QualitySegment(200, 600),)
    assert (quality.short, quality.kept, quality.candles) == (200, 400, 600)
    assert str(quality.reasons[0]).startswith("200 candles from 2024-01-01 00:00:00 to 2024-01-09 07:00:00: ")


@pytest.mark.parametrize(("idle", "kept"), [(1, 400), (2, 398)])
def test_runs_without_volume_are_kept_up_to_the_limit(idle: int, kept: int) -> None:
    rules = replace(rules_for("1h"), min_length=1)
    quality = assess(changed(hourly(), "volume", slice(100, 100 + idle), 1e-12), rules)
    assert quality.kept == kept
    assert quality.illiquid == 400 - kept


@pytest.mark.parametrize(("still", "kept"), [(3, 400), (4, 396)])
def test_runs_with_a_constant_close_are_kept_up_to_the_limit(still: int, kept: int) -> None:
    series = hourly()
    last = float(series.frame["close"].iloc[99])
    quality = assess(
        changed(series, "close", slice(100, 100 + still), last), replace(rules_for("1h"), min_length=1)
    )  # the first candle with this close does not count
    assert quality.kept == kept
    assert quality.stagnant == 400 - kept


def test_without_volume_the_illiquid_rule_does_not_apply() -> None:
    series = Candles.from_frame(walk(pd.date_range("2024-01-01", periods=400, freq="h")).drop(columns="volume"))
    quality = assess(series)
    assert quality.kept_share == 1.0
    assert quality.notes == ("The source has no volume, so the rule against illiquid candles does not apply.",)
    assert assess(replace(series, has_volume=True)).kept == 0


ROW = st.tuples(
    st.sampled_from([0.0, 0.0, 0.0, 0.25, -0.2]),  # from the close before to the open
    st.sampled_from([0.0, 0.0, 0.01, -0.01]),  # from the open to the close
    st.sampled_from([0.0, 1e-9, 3.0, 4.0]),  # volume
    st.sampled_from([False] * 8 + [True]),  # whether prices are missing before
)
RULES = st.builds(
    QualityRules, st.integers(1, 6), st.just(0.1), st.integers(0, 3), st.integers(0, 3), row=st.none()
)  # fmt: skip
Rows = list[tuple[float, float, float, bool]]


def from_moves(rows: Rows) -> Candles:
    """Hourly candles round the clock; no two gaps have the same length, so that none looks like a habit."""
    times, time, gaps, price, table = [], pd.Timestamp("2024-01-01"), 0, 100.0, []
    for gap, move, volume, missing in rows:
        if missing and times and gaps < 20:
            gaps += 1
            time += pd.Timedelta(hours=gaps)
        opened = price * (1 + gap)
        price = opened * (1 + move)
        table.append((opened, max(opened, price), min(opened, price), price, volume, volume * price))
        times.append(time)
        time += pd.Timedelta(hours=1)
    frame = pd.DataFrame(
        table, columns=["open", "high", "low", "close", "volume", "amount"], index=pd.DatetimeIndex(times)
    )
    return Candles(frame, "X", Interval(1, "h"))


def segments_by_loops(candles: Candles, rules: QualityRules) -> list[tuple[int, int]]:
    """Segments by loops: split, remove long runs from each piece, keep the long pieces."""
    opened, close, volume = (candles.frame[name].tolist() for name in ("open", "close", "volume"))
    times = candles.index.tolist()
    pieces: list[list[int]] = []
    for i in range(len(candles)):
        joined = (
            i > 0
            and times[i] - times[i - 1] == pd.Timedelta(hours=1)
            and abs(opened[i] / close[i - 1] - 1) <= rules.price_jump
        )
        if joined:
            pieces[-1].append(i)
        else:
            pieces.append([i])
    kept = []
    for piece in pieces:
        bad: set[int] = set()
        for limit, holds in (
            (rules.illiquid_run, lambda i, piece: volume[i] <= 1e-8),
            (rules.stagnant_run, lambda i, piece: i > piece[0] and close[i] == close[i - 1]),
        ):
            run: list[int] = []
            for i in [*piece, None]:
                if i is not None and holds(i, piece):
                    run.append(i)
                    continue
                bad.update(run if len(run) > limit else ())
                run = []
        run = []
        for i in [*piece, None]:
            if i is not None and i not in bad:
                run.append(i)
                continue
            if len(run) >= rules.min_length:
                kept.append((run[0], run[-1] + 1))
            run = []
    return kept


@settings(max_examples=150)
@given(rows=st.lists(ROW, min_size=2, max_size=80), rules=RULES)
def test_segments_equal_those_of_a_simple_implementation(rows: Rows, rules: QualityRules) -> None:
    candles = from_moves(rows)
    quality = assess(candles, rules)
    assert [(s.start, s.stop) for s in quality.segments] == segments_by_loops(candles, rules)
    assert quality.kept + quality.illiquid + quality.stagnant + quality.short == quality.candles == len(candles)
    counts = {why: sum(reason.why == why for reason in quality.reasons) for why in ("gap", "jump")}
    assert (counts["gap"], counts["jump"]) == (quality.gaps, quality.jumps)
    assert quality.short == sum(reason.candles for reason in quality.reasons if reason.why == "short")
    assert all(str(reason) for reason in quality.reasons)


@settings(max_examples=100)
@given(rows=st.lists(ROW, min_size=2, max_size=80), rules=RULES)
def test_segments_do_not_overlap_and_satisfy_the_rules(rows: Rows, rules: QualityRules) -> None:
    candles = from_moves(rows)
    segments = assess(candles, rules).segments
    assert all(a.stop <= b.start for a, b in pairwise(segments))
    for segment in segments:
        part = replace(candles, frame=candles.frame.iloc[segment.start : segment.stop])
        assert assess(part, rules).segments == (QualitySegment(0, len(segment)),)


def test_dropped_rows_split_also_where_a_gap_would_be_a_holiday() -> None:
    days = pd.bdate_range("2023-01-02", periods=300)
    table = walk(days)
    table.loc[days[150], "close"] = np.nan
    series = Candles.from_frame(table, interval="1d")
    assert series.dropped.tolist() == [days[150]]
    assert assess(series).segments == (QualitySegment(0, 150), QualitySegment(150, 299))
    assert assess(series.tail(140)).gaps == 0, "rows dropped before the first candle do not split"


def test_dropped_rows_with_a_valid_duplicate_do_not_split() -> None:
    table = walk(pd.date_range("2023-01-01", periods=300, freq="D"))
    bad = table.iloc[[150]].assign(close=np.nan)
    series = Candles.from_frame(pd.concat([table, bad]))
    assert len(series.dropped) == 0
    assert assess(series).segments == (QualitySegment(0, 300),)


def test_holidays_do_not_split() -> None:
    days = pd.bdate_range("2019-01-01", periods=600)
    holidays = pd.bdate_range("2019-10-01", "2019-10-07").union(pd.bdate_range("2020-01-24", "2020-02-02"))
    assert assess(Candles.from_frame(walk(days.difference(holidays)))).gaps == 0


def test_a_missing_month_splits() -> None:
    days = pd.bdate_range("2019-01-01", periods=600)
    quality = assess(Candles.from_frame(walk(days.difference(pd.bdate_range("2020-01-06", "2020-01-31")))))
    assert quality.gaps == 1


def test_a_missing_day_splits_in_a_24_7_market() -> None:
    days = pd.date_range("2020-01-01", periods=600)
    assert assess(Candles.from_frame(walk(days.delete(300)))).segments == (
        QualitySegment(0, 300),
        QualitySegment(300, 599),
    )


@pytest.mark.parametrize("zone", [None, "Asia/Shanghai"])
def test_nights_lunch_half_days_and_holidays_do_not_split_sessions(zone: str | None) -> None:
    days = pd.bdate_range("2023-01-02", periods=80).difference(pd.bdate_range("2023-01-23", "2023-01-27"))
    index = sessions(("09:30:00", "11:30:00"), ("13:00:00", "15:00:00"), days=days).tz_localize(zone)
    half_day = index[(index.normalize() == index[0].normalize() + pd.Timedelta(days=28)) & (index.hour >= 13)]
    assert len(half_day) == 8
    assert assess(Candles.from_frame(walk(index.difference(half_day)))).gaps == 0


def test_a_gap_within_a_session_splits() -> None:
    index = sessions(("09:30:00", "11:30:00"), ("13:00:00", "15:00:00"), days=pd.bdate_range("2023-01-02", periods=80))
    quality = assess(Candles.from_frame(walk(index.delete(650))))
    assert quality.gaps == 1
    assert [s.start for s in quality.segments] == [0, 650]


def test_the_fx_week_does_not_split_at_changes_of_daylight_saving_time() -> None:
    index = pd.date_range("2023-01-01 17:00", "2023-12-29 16:00", freq="h", tz="America/New_York").tz_convert("UTC")
    local = index.tz_convert("America/New_York")
    closed = (local.day_of_week == 5) | ((local.day_of_week == 4) & (local.hour >= 17))
    closed |= (local.day_of_week == 6) & (local.hour < 17)
    week = index[~closed].tz_localize(None)
    assert assess(Candles.from_frame(walk(week))).gaps == 0
    assert assess(Candles.from_frame(walk(week.delete(1000)))).gaps == 1


def test_missing_candles_at_one_time_of_day_split_in_a_24_7_market() -> None:
    index = pd.date_range("2024-01-01", periods=24 * 40, freq="h")
    gaps = [24 * 10 + 4, 24 * 17 + 4, 24 * 30 + 4]
    assert assess(Candles.from_frame(walk(index.delete(gaps)))).gaps == 3


@pytest.mark.parametrize("rows", [2, 3])
def test_very_short_series_have_no_segments(rows: int) -> None:
    quality = assess(hourly(rows))
    assert (quality.segments, quality.short, quality.kept_share) == ((), rows, 0.0)


def test_real_series(shared: Path) -> None:
    folder = shared / "data/candles"
    apple = assess(read_candles(folder / "us_equity/AAPL_lean_1d.parquet"))
    assert [(r.why, r.end) for r in apple.reasons] == [("jump", pd.Timestamp("2000-09-29"))]
    assert assess(read_candles(folder / "us_equity/SPY_lean_1h.parquet")).kept_share == 1.0
    assert assess(read_candles(folder / "cn_futures/CFFEX.IF_1d.parquet")).gaps == 0
    # The circuit breaker of January 2016 halted trading within the session, twice.
    halted = assess(read_candles(folder / "cn_futures/CFFEX.IF_5m.parquet"))
    assert [str(r.end.date()) for r in halted.reasons if r.why == "gap"] == ["2016-01-04", "2016-01-07"]
    assert assess(read_candles(folder / "fx/EURUSD_oanda_5m.parquet")).gaps == 0

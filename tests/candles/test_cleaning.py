"""Cleaning: dropped and changed rows are reported, too many of them raise, and row order does not matter."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.candles import PRICES, Candles, Finding, read_candles
from kronos.errors import DataError, ParameterError


def frame(rows: int = 60) -> pd.DataFrame:
    close = 100 + np.sin(np.arange(rows))
    return pd.DataFrame(
        {
            "timestamps": pd.date_range("2024-01-01", periods=rows, freq="h"),
            "open": close, "high": close + 1, "low": close - 1, "close": close + 0.5,
            "volume": np.arange(1.0, rows + 1), "amount": np.arange(1.0, rows + 1) * 100,
        }
    )  # fmt: skip


def finding(candles: Candles, code: str) -> Finding:
    (found,) = [f for f in candles.findings if f.code == code]
    return found


def with_cell(column: str, row: int, value: object) -> pd.DataFrame:
    table = frame()
    table[column] = table[column].astype(object)
    table.loc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("timestamps", "soon", "unreadable-time"),
        ("timestamps", None, "unreadable-time"),
        ("close", np.nan, "missing-price"),
        ("open", np.inf, "infinite-price"),
        ("low", 0.0, "nonpositive-price"),
        ("high", -3, "nonpositive-price"),
    ],
)
def test_unusable_rows_are_dropped_and_reported(tmp_path: Path, column: str, value: object, code: str) -> None:
    table = with_cell(column, 7, value)
    from_frame = read_candles(table)
    assert len(from_frame) == 59
    assert finding(from_frame, code).rows == (7,)
    assert finding(from_frame, code).severity == "warning"
    path = tmp_path / "a.csv"
    table.to_csv(path, index=False)
    from_file = read_candles(path)
    assert finding(from_file, code).rows == (9,)  # the header is line 1
    assert "line 9 of a.csv" in finding(from_file, code).message
    assert "gaps" in {f.code for f in from_file.findings}


@pytest.mark.parametrize("value", [np.nan, 0.0, np.inf])
def test_too_many_unusable_rows_raise(value: float) -> None:
    table = frame()
    table.loc[10:20, "close"] = value
    with pytest.raises(DataError, match=r"11 of 60 rows .* row 10 "):
        read_candles(table)


def test_unreadable_cells_are_quoted(tmp_path: Path) -> None:
    assert "'abc'" in finding(read_candles(with_cell("close", 5, "abc")), "unreadable-number").message
    table = frame().astype({"high": object})
    table.loc[:30, "high"] = "abc"
    with pytest.raises(DataError, match="row 0: high 'abc'"):
        read_candles(table)


def test_newest_first_is_reversed() -> None:
    candles = read_candles(frame().iloc[::-1])
    assert candles.frame.equals(read_candles(frame()).frame)
    assert finding(candles, "newest-first").severity == "info"


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(20)))
def test_row_order_does_not_matter(order: list[int]) -> None:
    candles = read_candles(frame(20).iloc[order])
    assert candles.frame.equals(read_candles(frame(20)).frame)


def test_unsorted_times_are_reported() -> None:
    table = frame()
    table = pd.concat([table[:30], table[40:], table[30:40]], ignore_index=True)
    assert finding(read_candles(table), "unsorted-times").rows == (50,)


def test_duplicate_times() -> None:
    table = pd.concat([frame(), frame()[5:6], frame()[8:9].assign(close=100.25)], ignore_index=True)
    candles = read_candles(table)
    assert len(candles) == 60
    assert finding(candles, "duplicate-row").count == 1
    assert finding(candles, "duplicate-time").rows == (8,)
    assert candles.frame["close"].iloc[8] == 100.25, "the last of conflicting rows is kept"


def test_invalid_ranges_are_repaired() -> None:
    table = frame()
    table.loc[3, ["high", "low"]] = table.loc[3, ["low", "high"]].tolist()
    table.loc[6, "close"] = 150.0
    table.loc[9, "open"] = 50.0
    candles = read_candles(table)
    assert finding(candles, "high-below-low").rows == (3,)
    assert finding(candles, "range-too-narrow").rows == (6, 9)
    assert candles.frame["high"].iloc[6] == 150
    assert candles.frame["low"].iloc[9] == 50
    assert candles.frame["high"].iloc[3] == frame()["high"][3]


def test_constant_prices_and_zero_volume() -> None:
    table = frame()
    table[list(PRICES)] = 5.0
    assert finding(read_candles(table), "constant-prices").severity == "warning"
    table = frame()
    table.loc[10:14, "volume"] = 0.0
    idle = finding(read_candles(table), "zero-volume")
    assert (idle.count, idle.severity) == (5, "info")
    assert "5 in a row" in idle.message
    silent = read_candles(frame().assign(volume=0))
    assert not silent.has_volume
    assert finding(silent, "zero-volume").severity == "warning"


@pytest.mark.parametrize(
    ("value", "code"), [(-1.0, "negative-volume"), (np.nan, "missing-volume"), (np.inf, "missing-volume")]
)
def test_invalid_volume_becomes_zero(value: float, code: str) -> None:
    candles = read_candles(with_cell("volume", 4, value))
    assert candles.frame["volume"].iloc[4] == 0
    assert finding(candles, code).rows == (4,)


def test_gaps_are_reported_and_not_filled() -> None:
    candles = read_candles(frame().drop(index=[10, 11, 12, 40]))
    gaps = finding(candles, "gaps")
    assert gaps.count == 2
    assert "longest 04:00:00," in gaps.message
    assert len(candles) == 56


def test_mixed_intervals_raise() -> None:
    table = frame()
    table.loc[30:, "timestamps"] = pd.date_range("2024-02-01", periods=30, freq="D")
    with pytest.raises(DataError, match="intervals 1h and 1d"):
        read_candles(table)


def test_blank_lines_do_not_shift_line_numbers(tmp_path: Path) -> None:
    text = frame().to_csv(index=False).splitlines()
    text[5:5] = ["", ""]
    text[20] = ",".join([text[20].split(",")[0], *["-5"] * 6])
    path = tmp_path / "a.csv"
    path.write_text("\n".join(text))
    candles = read_candles(path)
    assert finding(candles, "blank-row").rows == (6, 7)
    assert finding(candles, "nonpositive-price").rows == (21,)


def test_slices() -> None:
    candles = read_candles(frame(), symbol="X", calendar="24/7")
    assert len(candles) == 60
    assert candles.head(5).end == candles.index[4]
    assert candles.tail(5).start == candles.index[-5]
    assert len(candles.tail(100)) == 60
    assert len(candles.tail(0)) == 0
    middle = candles.between("2024-01-01 05:00", "2024-01-01 08:00")
    assert [t.hour for t in middle.index] == [5, 6, 7, 8]
    assert (middle.symbol, middle.calendar, middle.interval) == ("X", "24/7", candles.interval)
    assert "1h" in repr(candles)
    assert list(candles.findings_table().columns) == ["severity", "code", "count", "message"]


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 58), seed=st.integers(0, 99))
def test_until_is_independent_of_later_rows(cut: int, seed: int) -> None:
    time = frame()["timestamps"][cut]
    other = frame()
    later = other["timestamps"] > time
    other.loc[later, list(PRICES)] *= np.random.default_rng(seed).uniform(0.5, 2)
    one, two = read_candles(frame()).until(time), read_candles(other).until(time)
    assert one.frame.equals(two.frame)
    assert one.end == time


def test_until_in_timezones() -> None:
    candles = read_candles(frame(), timezone="Asia/Shanghai")
    assert candles.until("2024-01-01 10:00").end == pd.Timestamp("2024-01-01 10:00", tz="Asia/Shanghai")
    assert candles.until(pd.Timestamp("2024-01-01 02:00", tz="UTC")).end.hour == 10
    with pytest.raises(ParameterError, match="timezone"):
        read_candles(frame()).until(pd.Timestamp("2024-01-01", tz="UTC"))
    for invalid in ("soon", "NaT"):
        with pytest.raises(ParameterError):
            candles.until(invalid)


def test_candles_are_immutable_and_validated() -> None:
    candles = read_candles(frame())
    with pytest.raises(dataclasses.FrozenInstanceError):
        candles.symbol = "Y"
    for invalid in (candles.frame.iloc[::-1], candles.frame[["open"]], candles.frame * -1):
        with pytest.raises(DataError, match="Candles need"):
            dataclasses.replace(candles, frame=invalid)


def test_from_frame_equals_read_candles() -> None:
    one = Candles.from_frame(
        frame(), symbol="X", timezone="UTC", interval="1h", calendar="FX", columns={"close": "close"}
    )
    two = read_candles(frame(), symbol="X", timezone="UTC", interval="1h", calendar="FX", columns={"close": "close"})
    assert one.frame.equals(two.frame)
    assert (one.symbol, one.timezone, one.calendar) == ("X", "UTC", "FX")

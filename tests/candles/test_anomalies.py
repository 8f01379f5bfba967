"""Anomalies of candles, found by the paper's limits for the interval, and their sentences."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos import Candles
from kronos.candles.anomalies import describe_anomalies, find_anomalies, overlapping

OPEN, HIGH, LOW, CLOSE = range(4)


def walk(rows: int = 200, seed: int = 0, interval: str = "D", spread: float = 0.01) -> pd.DataFrame:
    """A random walk without anomalies."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, spread, rows)))
    opened = np.append(100.0, close[:-1])
    values = {"open": opened, "high": np.maximum(opened, close) * 1.001, "low": np.minimum(opened, close) / 1.001}
    times = pd.date_range("2024-01-01", periods=rows, freq=interval)
    return pd.DataFrame({**values, "close": close, "volume": rng.uniform(1, 9, rows)}, index=times)


def kinds(frame: pd.DataFrame) -> list[tuple[str, int, int]]:
    return [(a.kind, a.start, a.stop) for a in find_anomalies(Candles.from_frame(frame))]


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), interval=st.sampled_from(["min", "5min", "15min", "h", "4h", "D", "W"]))
def test_a_random_walk_has_none(seed, interval) -> None:
    assert kinds(walk(seed=seed, interval=interval)) == []


@settings(max_examples=30)
@given(at=st.integers(1, 199), factor=st.sampled_from([0.1, 0.5, 2.0, 100.0]))
def test_a_split_is_one_jump(at, factor) -> None:
    frame = walk()
    frame.iloc[at:, :4] *= factor
    assert kinds(frame) == [("jump", at - 1, at + 1)]


@settings(max_examples=30)
@given(at=st.integers(1, 198), factor=st.sampled_from([0.01, 0.5, 100.0]))
def test_a_wrong_candle_is_two_jumps(at, factor) -> None:
    frame = walk()
    frame.iloc[at, :4] *= factor
    assert kinds(frame) == [("jump", at - 1, at + 1), ("jump", at, at + 2)]


def test_a_wrong_close_that_the_next_open_repeats_is_a_spike() -> None:
    frame = walk()
    wrong = frame.iloc[90, CLOSE] * 10
    frame.iloc[90, [HIGH, CLOSE]] = wrong
    frame.iloc[91, [OPEN, HIGH]] = wrong
    assert kinds(frame) == [("spike", 90, 91)]


def test_a_crash_that_is_not_undone_is_none() -> None:
    frame = walk()
    frame.iloc[90:, :4] *= 0.5
    frame.iloc[90, [OPEN, HIGH]] = frame.iloc[89, CLOSE]  # it traded all the way down
    assert kinds(frame) == []


@pytest.mark.parametrize(("rows", "found"), [(4, []), (5, [("flat", 100, 105)])])
def test_more_unchanged_closes_than_the_interval_allows_are_flat(rows, found) -> None:
    frame = walk()
    frame.iloc[100 : 100 + rows, :4] = 100.0
    assert kinds(frame) == found


def test_a_repeated_session() -> None:
    frame = walk(96, interval="h")
    frame.iloc[48:72] = frame.iloc[24:48].to_numpy()
    found = find_anomalies(Candles.from_frame(frame))
    assert [(a.start, a.stop) for a in found if a.kind == "repeated"] == [(48, 72)]


def test_each_kind_is_one_sentence() -> None:
    frame = walk()
    frame.iloc[20:, :4] *= 0.1
    frame.iloc[60:80, :4] = 10.0
    candles = Candles.from_frame(frame)
    jump, flat = describe_anomalies(candles, find_anomalies(candles))
    assert "−90" in jump.replace("-", "−")
    assert "2024-01-21" in jump
    assert "2024-03-01" in flat
    assert describe_anomalies(candles, ()) == ()


@settings(max_examples=60)
@given(first=st.integers(0, 199), length=st.integers(1, 60), at=st.integers(1, 199))
def test_a_stretch_has_a_jump_only_with_both_sides_of_it(first, length, at) -> None:
    frame = walk()
    frame.iloc[at:, :4] *= 3
    anomalies = find_anomalies(Candles.from_frame(frame))
    inside = overlapping(anomalies, np.array([first]), np.array([first + length]))
    assert inside.tolist() == [first <= at - 1 and at + 1 <= first + length]

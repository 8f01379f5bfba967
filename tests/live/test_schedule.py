"""When cycles are due, and the clocks they are due by."""

import threading

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.intervals import Interval
from kronos.live.clock import Backoff, ReplayClock, SystemClock, closes_between, last_close, next_close, wait_until
from live.replays import replay

TIMES = st.integers(1_500_000_000_000_000, 1_900_000_000_000_000).map(
    lambda micros: pd.Timestamp(micros, unit="us", tz="UTC")
)


@pytest.mark.parametrize(
    ("interval", "now", "last", "following"),
    [
        ("1h", "2026-03-01 12:34:56", "2026-03-01 12:00", "2026-03-01 13:00"),
        ("1h", "2026-03-01 12:00:00", "2026-03-01 12:00", "2026-03-01 13:00"),
        ("5m", "2026-03-01 12:34:56", "2026-03-01 12:30", "2026-03-01 12:35"),
        ("1d", "2026-03-01 12:34:56", "2026-03-01", "2026-03-02"),
        ("4h", "2026-03-01 03:59:59.999999", "2026-03-01 00:00", "2026-03-01 04:00"),
        ("1w", "2026-03-01 12:34:56", "2026-02-23", "2026-03-02"),  # weeks begin on Monday
        ("1mo", "2026-03-15", "2026-03-01", "2026-04-01"),
        ("3mo", "2026-03-15", "2026-01-01", "2026-04-01"),
    ],
)
def test_closes_lie_on_the_grid_of_utc(interval, now, last, following):
    now = pd.Timestamp(now, tz="UTC")
    assert last_close(now, Interval.parse(interval)) == pd.Timestamp(last, tz="UTC")
    assert next_close(now, Interval.parse(interval)) == pd.Timestamp(following, tz="UTC")


@given(TIMES, st.sampled_from(["1m", "15m", "1h", "4h", "1d", "1w", "1mo"]))
def test_a_time_lies_between_its_closes(now, interval):
    parsed = Interval.parse(interval)
    last, following = last_close(now, parsed), next_close(now, parsed)
    assert last <= now < following
    assert next_close(last, parsed) == following
    assert last_close(following, parsed) == following
    assert closes_between(last, following, parsed) == []


def test_closes_between_two_origins_leave_both_out():
    first, last = pd.Timestamp("2026-03-01 10:00", tz="UTC"), pd.Timestamp("2026-03-01 13:00", tz="UTC")
    assert [close.hour for close in closes_between(first, last, Interval(1, "h"))] == [11, 12]


def test_delays_grow_and_start_anew():
    backoff = Backoff()
    hour = Interval(1, "h")
    delays = [backoff.next_delay(hour).total_seconds() for _ in range(8)]
    assert delays == [10, 20, 40, 80, 160, 300, 300, 300]
    backoff.reset()
    assert backoff.next_delay(hour).total_seconds() == 10
    assert Backoff(5).next_delay(Interval(1, "m")).total_seconds() == 6  # a tenth of a candle


def test_a_replay_is_waited_for_by_its_own_clock():
    clock = ReplayClock(replay("2026-03-03 10:00"))
    moment = pd.Timestamp("2026-03-03 11:00:05", tz="UTC")
    assert wait_until(clock, moment, threading.Event())
    assert clock.now() == moment


def test_waiting_ends_when_it_is_stopped():
    stop = threading.Event()
    stop.set()
    assert not wait_until(SystemClock(), pd.Timestamp.now("UTC") + pd.Timedelta(days=1), stop)
    assert not wait_until(ReplayClock(replay("2026-03-03")), pd.Timestamp("2027-01-01", tz="UTC"), stop)


class SteppedClock:
    """A clock that jumps by a given amount in the middle of a wait."""

    def __init__(self, now: str, jumps: list[float]) -> None:
        self.moment, self.jumps, self.waits, self.passed = pd.Timestamp(now, tz="UTC"), jumps, [], 0.0

    def now(self):
        return self.moment

    def elapsed(self):
        return self.passed

    def wait(self, seconds, stop):
        self.waits.append(seconds)
        step = min(seconds, 30.0)
        self.passed += step
        self.moment += pd.Timedelta(seconds=step + (self.jumps.pop(0) if self.jumps else 0))


@pytest.mark.parametrize("jump", [-7200.0, 7200.0, 0.0], ids=["back", "forth", "steady"])
def test_a_clock_that_is_set_while_waiting_is_read_again(jump):
    clock = SteppedClock("2026-03-01 10:00", [0.0, jump])
    due = pd.Timestamp("2026-03-01 11:00:05", tz="UTC")
    assert wait_until(clock, due, threading.Event())
    assert clock.now() >= due or jump < 0
    assert sum(min(wait, 30.0) for wait in clock.waits) == pytest.approx(3605 if jump <= 0 else 60)

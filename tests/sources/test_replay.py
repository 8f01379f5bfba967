"""A replay shows the candles that had closed by its clock, without any influence of later ones."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.intervals import Interval
from kronos.sources import CandleSource, open_source
from kronos.sources.files import FileSource
from kronos.sources.replay import Replay
from kronos.sources.simulation import SimulatedSource
from sources.markets import rows

HOUR, DAY = Interval(1, "h"), Interval(1, "d")
START = pd.Timestamp("2025-03-01", tz="UTC")
COUNT = 200


def at(text):
    return pd.Timestamp(text, tz="UTC")


def recorded(seed=0, zone="UTC", interval=HOUR, count=COUNT, **attributes):
    opens = [START.tz_convert(zone) + n * interval.offset for n in range(count)]
    frame = rows(pd.DatetimeIndex(opens), seed)
    return Candles(frame=frame, symbol="BTC-USDT", interval=interval, timezone=zone, **attributes)


def replay(candles=None, **options):
    candles = recorded() if candles is None else candles
    return Replay({("BTC-USDT", str(candles.interval)): candles}, **options)


class Wall:
    """A wall clock that tests advance."""

    def __init__(self):
        self.seconds = 1_000.0

    def __call__(self):
        return self.seconds


def test_clock_starts_at_the_end_of_the_recording_and_stands_still():
    source = replay()
    assert isinstance(source, CandleSource)
    assert source.name == "replay"
    assert source.now() == source.now() == START + COUNT * HOUR.delta
    candles = source.candles("btc/usdt", HOUR)
    pd.testing.assert_frame_equal(candles.frame, recorded().frame)
    assert candles.symbol == "BTC-USDT"


def test_simulated_label_is_kept():
    for simulated in (False, True):
        source = replay(recorded(simulated=simulated))
        assert source.simulated is simulated
        assert source.candles("BTC-USDT", HOUR).simulated is simulated
    assert open_source("replay").simulated


def test_clock_runs_with_the_wall_clock():
    wall = Wall()
    source = replay(at=START + 50 * HOUR.delta, speed=3_600, clock=wall)
    assert len(source.candles("BTC-USDT", HOUR)) == 50
    wall.seconds += 0.999
    assert len(source.candles("BTC-USDT", HOUR)) == 50
    wall.seconds += 0.001
    assert len(source.candles("BTC-USDT", HOUR)) == 51
    assert source.now() == START + 51 * HOUR.delta
    assert source.advance(pd.Timedelta(hours=2)) == START + 53 * HOUR.delta
    assert len(source.candles("BTC-USDT", HOUR)) == 53


def test_candle_appears_when_it_closes():
    source = replay(at=START + pd.Timedelta("9h59min59.999999s"))
    assert source.candles("BTC-USDT", HOUR).end == at("2025-03-01 08:00")
    source.advance(pd.Timedelta(microseconds=1))
    assert source.candles("BTC-USDT", HOUR).end == at("2025-03-01 09:00")


@pytest.mark.slow
@given(st.integers(1, COUNT * 60), st.integers(2, 50), st.integers(0, COUNT), st.integers(1, COUNT))
@settings(max_examples=50)
def test_future_candles_have_no_influence(minutes, records, first, length):
    """Recorded candles after the clock's time do not change results."""
    now = START + pd.Timedelta(hours=2, minutes=minutes)
    known, other = recorded().frame, recorded(seed=1).frame
    closed = np.asarray(known.index + HOUR.delta <= now)
    rewritten = replace(recorded(), frame=pd.concat([known[closed], other[~closed]]))
    sources = [replay(at=now), replay(rewritten, at=now)]
    seen, perturbed = (source.candles("BTC-USDT", HOUR, records=records) for source in sources)
    pd.testing.assert_frame_equal(seen.frame, known[closed].tail(records))
    pd.testing.assert_frame_equal(seen.frame, perturbed.frame)
    assert seen.findings == perturbed.findings
    start, end = START + first * HOUR.delta, START + (first + length) * HOUR.delta
    expected = known[closed & (known.index >= start) & (known.index < end)]
    for source in sources:
        if len(expected):
            pd.testing.assert_frame_equal(source.candles("BTC-USDT", HOUR, start=start, end=end).frame, expected)
        else:
            with pytest.raises(DataError):
                source.candles("BTC-USDT", HOUR, start=start, end=end)


@pytest.mark.parametrize("interval", ["1d", "1w", "1mo"])
def test_days_close_in_their_timezone(interval):
    """Days of New York have 23 and 25 hours at clock changes; months have 28 to 31 days."""
    candles = recorded(zone="America/New_York", interval=Interval.parse(interval), count=30)
    closes = (candles.index + candles.interval.offset).tz_convert("UTC")
    for number in range(2, len(closes)):
        just = replay(candles, at=closes[number])
        assert just.candles("BTC-USDT", candles.interval, records=2).end == candles.index[number]
        before = replay(candles, at=closes[number] - pd.Timedelta(microseconds=1))
        shown = before.candles("BTC-USDT", candles.interval, records=2)
        assert list(shown.index) == list(candles.index[number - 2 : number])


def test_short_history_is_a_finding():
    source = replay(at=START + 10 * HOUR.delta)
    short = source.candles("BTC-USDT", HOUR, records=12).findings
    assert [(f.code, f.count) for f in short] == [("short-history", 2)]
    assert "10 of the 12" in short[0].message
    for records in (9, 10):
        assert not source.candles("BTC-USDT", HOUR, records=records).findings
    assert not replay().candles("BTC-USDT", HOUR, records=COUNT).findings


def test_no_closed_candles_is_an_error():
    source = replay(at=START + pd.Timedelta("30min"))
    with pytest.raises(DataError):
        source.candles("BTC-USDT", HOUR)
    with pytest.raises(
        DataError, match=r"No 1h candle of BTC-USDT that opens at .* or later has closed by 2025-03-01 00:30"
    ):
        source.candles("BTC-USDT", HOUR, start=at("2025-03-01"))


def test_invalid_arguments_are_rejected():
    with pytest.raises(ParameterError, match="did you mean BTC-USDT"):
        replay().candles("BTC-USDC", HOUR)
    with pytest.raises(ParameterError, match="no 4h candles of BTC-USDT"):
        replay().candles("BTC-USDT", Interval(4, "h"))
    with pytest.raises(ParameterError, match="goes forward"):
        replay().advance(pd.Timedelta(seconds=-1))
    for speed in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ParameterError, match="Invalid speed"):
            replay(speed=speed)
    with pytest.raises(ParameterError, match="Invalid start"):
        replay(at=pd.NaT)
    with pytest.raises(DataError, match="holds no candles"):
        Replay({})
    with pytest.raises(ParameterError, match="at least 2"):
        replay().candles("BTC-USDT", HOUR, records=1)


def test_folder_is_replayed(tmp_path):
    recorded().frame.to_csv(tmp_path / "BTC-USDT_1h.csv", index_label="timestamps")
    recorded(interval=DAY, count=9).frame.to_csv(tmp_path / "BTC-USDT_1d.csv", index_label="timestamps")
    source = Replay(FileSource(tmp_path), at=START + pd.Timedelta("3D1h"))
    assert source.intervals("BTC-USDT") == (HOUR, DAY)
    assert len(source.candles("BTC-USDT", HOUR)) == 73
    assert len(source.candles("BTC-USDT", DAY)) == 3
    assert source.candles("BTC-USDT", DAY).source == "replay of BTC-USDT_1d.csv"
    ended = open_source(f"replay:{tmp_path}")
    assert ended.now() == START + 9 * DAY.delta
    assert len(ended.candles("BTC-USDT", HOUR)) == COUNT


def test_naive_times_count_as_utc():
    candles = recorded()
    naive = replace(candles, frame=candles.frame.tz_localize(None), timezone=None)
    shown = replay(naive, at=START.tz_localize(None) + 5 * HOUR.delta).candles("BTC-USDT", HOUR)
    assert shown.index.tz is None
    assert len(shown) == 5


@pytest.mark.parametrize("market", ["crypto", "ashare", "fx"])
def test_replayed_simulation_equals_the_simulation_at_that_time(market):
    later = SimulatedSource(1, market=market, clock=lambda: at("2025-06-01"))
    for now in (at("2025-03-12 06:17"), at("2025-03-09 21:00"), at("2025-03-31 23:00")):
        then = SimulatedSource(1, market=market, clock=lambda now=now: now)
        source = Replay(later, at=now)
        for interval in (Interval(15, "m"), HOUR, DAY, Interval(1, "w"), Interval(1, "mo")):
            shown, live = (s.candles("X", interval, records=20) for s in (source, then))
            pd.testing.assert_frame_equal(shown.frame, live.frame)
            assert shown.simulated
            assert shown.findings == live.findings


# --- waiting ----------------------------------------------------------------------------------------------------


def test_standing_clock_is_advanced():
    source = replay(at=START)
    assert source.sleep_until(START + HOUR.delta)
    assert source.now() == START + HOUR.delta
    assert source.sleep_until(START)
    assert source.now() == START + HOUR.delta


def test_running_clock_is_waited_for():
    source = replay(at=START, speed=360_000)
    assert source.sleep_until(START + HOUR.delta)
    assert source.now() >= START + HOUR.delta


def test_waiting_can_be_stopped():
    stop = threading.Event()
    source = replay(at=START, speed=1.0)
    results = []
    waiting = threading.Thread(target=lambda: results.append(source.sleep_until(START + DAY.delta, stop)))
    waiting.start()
    stop.set()
    waiting.join(timeout=30)
    assert results == [False]
    assert not replay(at=START).sleep_until(START + DAY.delta, stop)


def test_clock_of_a_finer_unit_than_the_index():
    candles = SimulatedSource(1, clock=lambda: pd.Timestamp("2024-03-01", tz="UTC")).candles("BTC", Interval(1, "h"))
    coarse = replace(candles, frame=candles.frame.set_axis(candles.index.as_unit("s")).iloc[-50:])
    wall = iter([0.0, *[1.123456789] * 9])
    replay = Replay({("BTC", "1h"): coarse}, at=coarse.end, speed=1.7, clock=lambda: next(wall))
    assert len(replay.candles("BTC", Interval(1, "h"), records=5)) == 5

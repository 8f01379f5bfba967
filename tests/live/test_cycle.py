"""Cycles over replayed candles: each origin once, scored when its candles have closed, whatever goes wrong."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from batch.markets import PicklingEngine
from kronos.errors import DataError
from kronos.live.alerts import Alerts
from kronos.live.clock import ReplayClock, closes_between
from kronos.live.config import AlertsSection
from kronos.live.entries import ForecastEntry, MissedEntry, RevisionEntry, ScoreEntry, UnresolvedEntry, parse_time
from kronos.live.forecaster import LiveBaseline, forecast_all
from kronos.live.record import Record, entry_of
from kronos.live.runner import LiveRunner
from kronos.live.verification import verify
from kronos.sources.simulation import SimulatedSource
from live.replays import HOUR, FaultySource, make_config, open_world, recorded_candles, replay

BEGIN = pd.Timestamp("2026-03-05 00:00:05", tz="UTC")


def make_runner(cycle, clock, stop):
    return LiveRunner(cycle.config, cycle, clock, {}, Alerts(AlertsSection()), stop)


def run_cycles(config, source, cycles, stop):
    """Run this many candles of a source in one process."""
    clock = ReplayClock(source.replay if isinstance(source, FaultySource) else source)
    with open_world(config, source, clock=clock) as (cycle, _):
        make_runner(cycle, clock, stop).run(cycles)


def entries(config):
    with Record.open(config.record.database, read_only=True) as record:
        return [entry_of(row) for row in record.rows()]


def origins(found, *kinds):
    return [entry.origin for entry in found if entry.kind in kinds]


def check_record(config, first, last):
    """Every origin exactly once and in order, every score by its own candles, the chain in order."""
    found = entries(config)
    listed = origins(found, "forecast", "late", "missed")
    expected = [first, *closes_between(first, last, HOUR), last]
    assert [parse_time(origin) for origin in listed] == expected
    with Record.open(config.record.database, read_only=True) as record:
        result = verify(record)
    assert result.ok, result.problems
    return found


@pytest.mark.slow
def test_four_days(tmp_path, stop):
    """So many that the last histories begin after the first origin."""
    config = make_config(tmp_path)
    run_cycles(config, FaultySource(replay(BEGIN)), 96, stop)
    first = BEGIN.floor("h")
    found = check_record(config, first, first + pd.Timedelta(hours=95))
    assert len(origins(found, "forecast")) == 96
    scored = origins(found, "score")
    assert scored == origins(found, "forecast")[: len(scored)]
    assert len(scored) == 96 - 6
    for score in (entry for entry in found if isinstance(entry, ScoreEntry)):
        delay = parse_time(score.made_at) - parse_time(score.origin) - pd.Timedelta(hours=6)
        assert pd.Timedelta(0) <= delay < pd.Timedelta(minutes=1)  # in the cycle after its last candle


@pytest.mark.slow
def test_restarts_change_nothing(tmp_path, stop):
    whole, parts = make_config(tmp_path / "whole"), make_config(tmp_path / "parts")
    run_cycles(whole, FaultySource(replay(BEGIN)), 12, stop)
    for hour in range(12):
        run_cycles(parts, FaultySource(replay(BEGIN + pd.Timedelta(hours=hour))), 1, stop)

    def essence(config):
        return [{**entry.fields(), "made_at": "", "fetched_at": "", "server_time": ""} for entry in entries(config)]

    assert essence(parts) == essence(whole)


def test_a_second_cycle_within_the_hour_enters_nothing(tmp_path, stop):
    config = make_config(tmp_path)
    source = FaultySource(replay(BEGIN))
    with open_world(config, source) as (cycle, record):
        [first], [second] = cycle.run(), cycle.run()
        assert (first.status, second.status) == ("forecast", "recorded")
        assert record.head()[0] == 2  # protocol and forecast
        assert second.live is not None
        assert (second.live.shown.paths == first.live.shown.paths).all()


def test_missed_origins_are_entered_with_their_reason_and_never_forecast(tmp_path, stop):
    config = make_config(tmp_path)
    run_cycles(config, FaultySource(replay(BEGIN)), 2, stop)
    run_cycles(config, FaultySource(replay(BEGIN + pd.Timedelta(hours=10))), 2, stop)
    first = BEGIN.floor("h")
    found = check_record(config, first, first + pd.Timedelta(hours=11))
    assert len(origins(found, "missed")) == 8
    reasons = {entry.reason for entry in found if isinstance(entry, MissedEntry)}
    assert reasons == {"the forecaster was not running"}


@pytest.mark.slow
def test_a_late_forecast_is_shown_and_not_scored(tmp_path, stop):
    config = make_config(tmp_path)
    late = FaultySource(replay(BEGIN.floor("h") + pd.Timedelta(minutes=15, seconds=1)))
    with open_world(config, late) as (cycle, _):
        [result] = cycle.run()
        assert result.status == "late"
        assert result.live is not None
    run_cycles(config, FaultySource(replay(BEGIN + pd.Timedelta(hours=1))), 20, stop)
    found = entries(config)
    assert len(origins(found, "late")) == 1
    assert origins(found, "late")[0] not in origins(found, "score", "unresolved")
    assert check_record(config, BEGIN.floor("h"), BEGIN.floor("h") + pd.Timedelta(hours=20))


def test_just_in_time_is_in_time(tmp_path):
    config = make_config(tmp_path)
    with open_world(config, FaultySource(replay(BEGIN.floor("h") + pd.Timedelta(minutes=15)))) as (cycle, _):
        assert cycle.run()[0].status == "forecast"


@pytest.mark.slow
def test_an_outage_is_bridged_by_the_next_source(tmp_path, stop):
    config = make_config(tmp_path)
    recording = replay(BEGIN)
    first = FaultySource(recording, "first", down=lambda now: now.hour in (3, 4))
    second = FaultySource(recording, "second")
    clock = ReplayClock(recording)
    with open_world(config, first, second, clock=clock) as (cycle, _):
        make_runner(cycle, clock, stop).run(24)
    found = check_record(config, BEGIN.floor("h"), BEGIN.floor("h") + pd.Timedelta(hours=23))
    forecasts = [entry for entry in found if isinstance(entry, ForecastEntry)]
    assert {entry.source for entry in forecasts} == {"first", "second"}
    assert len(forecasts) == 24
    sources = {entry.origin: entry.source for entry in forecasts}
    for score in (entry for entry in found if isinstance(entry, ScoreEntry)):
        assert score.source == sources[score.origin]  # prices of two exchanges are not mixed


def test_simulated_candles_stand_in_and_are_never_recorded(tmp_path, stop):
    config = make_config(tmp_path)
    source = FaultySource(replay(BEGIN), down=lambda now: 2 <= now.hour < 5)
    seen = []
    clock = ReplayClock(source.replay)
    with open_world(config, source, clock=clock) as (cycle, _):
        runner = make_runner(cycle, clock, stop)
        runner.after_cycle["see"] = seen.extend
        runner.run(10)
    stand_ins = [result for result in seen if result.status == "stand-in"]
    assert stand_ins
    assert all(result.live.shown.simulated and result.entry is None for result in stand_ins)
    assert "cannot be reached" in stand_ins[0].reason
    found = check_record(config, BEGIN.floor("h"), BEGIN.floor("h") + pd.Timedelta(hours=9))
    assert not any(entry.simulated for entry in found if isinstance(entry, ForecastEntry))
    missed = [entry for entry in found if isinstance(entry, MissedEntry)]
    assert [parse_time(entry.origin).hour for entry in missed] == [2, 3, 4]
    assert "cannot be reached" in missed[-1].reason


def test_without_the_stand_in_the_cycle_waits(tmp_path):
    config = make_config(tmp_path, data={"simulated_fallback": False})
    with open_world(config, FaultySource(replay(BEGIN), down=lambda _: True)) as (cycle, record):
        [result] = cycle.run()
        assert (result.status, result.live) == ("waiting", None)
        assert record.head()[0] == 0 or record.last_origin(result.series.id) is None


@pytest.mark.slow
def test_a_hole_in_the_candles_leaves_forecasts_unresolved(tmp_path, stop):
    config = make_config(tmp_path)
    hole = BEGIN.floor("h") + pd.Timedelta(hours=8)
    run_cycles(config, FaultySource(replay(BEGIN), holes={hole}), 36, stop)
    first = BEGIN.floor("h")
    found = check_record(config, first, first + pd.Timedelta(hours=35))
    unresolved = [entry for entry in found if isinstance(entry, UnresolvedEntry)]
    assert [parse_time(entry.origin) for entry in unresolved] == [
        hole - pd.Timedelta(hours=h) for h in range(5, -1, -1)
    ]
    assert all(list(map(parse_time, entry.missing)) == [hole] for entry in unresolved)
    assert [parse_time(origin) for origin in origins(found, "missed")] == [hole + pd.Timedelta(hours=1)]


@pytest.mark.slow
def test_a_revised_candle_is_flagged_once_and_its_scores_stay(tmp_path, stop):
    config = make_config(tmp_path)
    opened = BEGIN.floor("h") + pd.Timedelta(hours=4)
    source = FaultySource(replay(BEGIN))
    plain = make_config(tmp_path / "plain")
    run_cycles(plain, FaultySource(replay(BEGIN)), 24, stop)
    source.revised[opened] = (BEGIN + pd.Timedelta(hours=14), 1e6)
    run_cycles(config, source, 16, stop)
    run_cycles(config, FaultySource(replay(BEGIN + pd.Timedelta(hours=16)), revised=source.revised), 8, stop)
    found = check_record(config, BEGIN.floor("h"), BEGIN.floor("h") + pd.Timedelta(hours=23))
    revisions = [entry for entry in found if isinstance(entry, RevisionEntry)]
    assert [(parse_time(entry.origin), entry.after[3]) for entry in revisions] == [(opened, 1e6)]

    def early_scores(config):
        limit = BEGIN.floor("h") + pd.Timedelta(hours=7)
        return [e.scores for e in entries(config) if isinstance(e, ScoreEntry) and parse_time(e.origin) < limit]

    assert early_scores(config) == early_scores(plain)


def test_a_change_of_the_protocol_starts_another_series_and_settles_the_first(tmp_path, stop):
    config = make_config(tmp_path)
    run_cycles(config, FaultySource(replay(BEGIN)), 8, stop)
    changed = make_config(tmp_path, sampling={"seed": 1, "num_samples": 8})
    run_cycles(changed, FaultySource(replay(BEGIN + pd.Timedelta(hours=8))), 20, stop)
    found = entries(config)
    series = [entry.series for entry in found if entry.kind == "protocol"]
    assert len(set(series)) == 2
    for own, count in zip(series, (8, 20), strict=True):
        made = [entry.origin for entry in found if entry.series == own and entry.kind == "forecast"]
        scored = [entry.origin for entry in found if entry.series == own and entry.kind == "score"]
        assert len(made) == count
        assert scored == made[: len(scored)]
    assert len([e for e in found if e.series == series[0] and e.kind == "score"]) == 8
    assert len(origins(found, "missed")) == 0


def test_several_symbols_and_models_share_a_process(tmp_path, stop):
    config = make_config(
        tmp_path,
        model={"model_name": ["ewma-volatility", "historical-volatility"]},
        data={**make_config(tmp_path).data.model_dump(), "symbol": ["BTCUSDT", "ETHUSDT"]},
    )
    source = FaultySource(replay(BEGIN, "BTCUSDT", "ETHUSDT"))
    with open_world(config, source) as (cycle, record):
        results = cycle.run()
        assert [result.status for result in results] == ["forecast"] * 4
        assert len({result.series.id for result in results}) == 4
        assert record.head()[0] == 8


def test_the_future_does_not_reach_a_forecast(tmp_path):
    plain, perturbed = (make_config(tmp_path / name) for name in ("plain", "perturbed"))
    changed = {BEGIN.floor("h") + pd.Timedelta(hours=h): (BEGIN - pd.Timedelta(days=1), 1.0) for h in range(48)}
    bodies = []
    for config, revised in ((plain, {}), (perturbed, changed)):
        with open_world(config, FaultySource(replay(BEGIN), revised=revised)) as (cycle, _):
            [result] = cycle.run()
            bodies.append(result.entry)
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("hours", [-3, 3], ids=["behind", "ahead"])
def test_the_clock_of_the_source_decides(tmp_path, hours):
    config = make_config(tmp_path)
    source = FaultySource(replay(BEGIN))

    class WrongClock(ReplayClock):
        def now(self):
            return super().now() + pd.Timedelta(hours=hours)

    with open_world(config, source, clock=WrongClock(source.replay)) as (cycle, record):
        [result] = cycle.run()
        assert result.status == "forecast"
        assert parse_time(result.entry.origin) == BEGIN.floor("h")
        assert parse_time(result.entry.server_time) == BEGIN
        assert parse_time(result.entry.made_at) == BEGIN + pd.Timedelta(hours=hours)
        assert verify(record).ok


def test_a_suspended_machine_makes_the_forecast_late(tmp_path):
    """The source's clock is extrapolated by a clock that stands still during suspend; this machine's is not."""
    config = make_config(tmp_path)
    source = FaultySource(replay(BEGIN))
    clock = ReplayClock(source.replay)
    asleep = pd.Timedelta(minutes=40)

    class Suspended(ReplayClock):
        calls = 0

        def now(self):
            type(self).calls += 1
            return super().now() + (asleep if self.calls > 2 else pd.Timedelta(0))

    with open_world(config, source, clock=Suspended(source.replay)) as (cycle, _):
        [result] = cycle.run()
    assert result.status == "late"
    assert clock.now() == BEGIN


def test_an_unclosed_last_candle_is_not_forecast_from(tmp_path, stop):
    config = make_config(tmp_path)
    source = FaultySource(replay(BEGIN.floor("h") + pd.Timedelta(minutes=59, seconds=59)))
    with open_world(config, source) as (cycle, _):
        [result] = cycle.run()
    assert parse_time(result.entry.origin) == BEGIN.floor("h")
    assert result.status == "late"


def test_candles_that_cannot_be_forecast_fail_without_an_entry(tmp_path):
    config = make_config(tmp_path, data={**make_config(tmp_path).data.model_dump(), "history_window": 72})
    source = FaultySource(replay("2026-03-01 05:00:05+00:00"))  # five candles of history
    with open_world(config, source) as (cycle, record):
        [result] = cycle.run()
        assert result.status == "failed"
        assert result.reason
        assert record.last_origin(result.series.id) is None


def test_simulated_sources_make_a_series_that_says_so(tmp_path):
    config = make_config(tmp_path)
    recording = replay(BEGIN)
    recording.recorded._series = {
        key: replace(candles, simulated=True) for key, candles in recording.recorded._series.items()
    }
    with open_world(config, recording) as (cycle, record):
        [result] = cycle.run()
        assert result.entry.simulated
        [protocol] = record.protocols()
        assert protocol.protocol["simulated"]


def test_a_candle_that_goes_back_and_forth_stops_nothing(tmp_path, stop):
    config = make_config(tmp_path)
    opened = BEGIN.floor("h") + pd.Timedelta(hours=4)
    revised = {opened: (BEGIN, 1e6)}
    for hour in range(18):
        changed = revised if hour in (12, 14, 16, 17) else {}
        run_cycles(config, FaultySource(replay(BEGIN + pd.Timedelta(hours=hour)), revised=changed), 1, stop)
    source = FaultySource(replay(BEGIN + pd.Timedelta(hours=18)))
    clock = ReplayClock(source.replay)
    with open_world(config, source, clock=clock) as (cycle, _):  # in one process, too
        for hour in range(4):
            source.revised = revised if hour % 2 else {}
            cycle.run()
            clock.wait(3600, stop)
    found = check_record(config, BEGIN.floor("h"), BEGIN.floor("h") + pd.Timedelta(hours=21))
    assert len(origins(found, "score")) == 22 - 6
    revisions = [entry for entry in found if isinstance(entry, RevisionEntry)]
    assert len(revisions) == 2  # there and back: each value of the candle once


def test_a_clock_that_is_years_off_gives_up_no_forecast(tmp_path, stop):
    config = make_config(tmp_path)
    run_cycles(config, FaultySource(replay(BEGIN)), 3, stop)
    source = FaultySource(replay(BEGIN + pd.Timedelta(hours=3)), down=lambda _: True)

    class WrongClock(ReplayClock):
        def now(self):
            return super().now() + pd.Timedelta(days=3650)

    with open_world(config, source, clock=WrongClock(source.replay)) as (cycle, _):
        cycle.run()
    run_cycles(config, FaultySource(replay(BEGIN + pd.Timedelta(hours=4))), 6, stop)
    found = check_record(config, BEGIN.floor("h"), BEGIN.floor("h") + pd.Timedelta(hours=9))
    assert not origins(found, "unresolved")
    assert len(origins(found, "score")) == 3


def test_forecasts_of_a_source_that_is_gone_are_given_up_by_the_clock_of_another(tmp_path, stop):
    config = make_config(tmp_path, data={"source": "exchange,other"})
    run_cycles(config, FaultySource(replay(BEGIN)), 3, stop)
    month = pd.Timedelta(days=31)
    run_cycles(config, FaultySource(replay(BEGIN + month), name="other"), 1, stop)
    with Record.open(config.record.database, read_only=True) as record:
        found = [entry_of(row) for row in record.rows()]
    given_up = [entry for entry in found if isinstance(entry, UnresolvedEntry)]
    assert [entry.reason for entry in given_up] == ["exchange could not be reached for 30 days"] * 3


def test_late_counts_from_the_first_candle_where_the_market_was_closed(tmp_path):
    """On a Monday morning the last known candle closed on Friday; its next one has just begun."""
    config = make_config(tmp_path, data={**make_config(tmp_path).data.model_dump(), "source": "simulated"})
    clock = ReplayClock(
        replay("2026-03-09 13:35:00+00:00")
    )  # New York opens at 13:30 UTC, after the change of its clocks
    source = SimulatedSource(0, market="us", clock=clock.now)
    with open_world(config, source, clock=clock) as (cycle, record):
        [result] = cycle.run()
        assert result.status == "forecast"
        assert parse_time(result.entry.times[0]) - parse_time(result.entry.origin) > pd.Timedelta(days=2)
        assert verify(record).ok


@pytest.mark.slow
def test_candles_of_a_long_outage_that_were_revised_are_entered_before_they_score(tmp_path, stop):
    config = make_config(tmp_path, data={**make_config(tmp_path).data.model_dump(), "history_window": 32})
    opened = BEGIN.floor("h") + pd.Timedelta(hours=7)
    away = pd.Timedelta(hours=48)

    def down(now):
        return BEGIN + pd.Timedelta(hours=9) <= now < BEGIN + away

    recording = replay(BEGIN)
    source = FaultySource(recording, "exchange", down=down, revised={opened: (BEGIN + pd.Timedelta(hours=20), 1e6)})
    clock = ReplayClock(recording)
    with open_world(config, source, FaultySource(recording, "other"), clock=clock) as (cycle, record):
        make_runner(cycle, clock, stop).run(54)
        assert verify(record).ok
    found = entries(config)
    assert [entry.after[3] for entry in found if isinstance(entry, RevisionEntry)] == [1e6]
    seen = [
        entry.kind
        for entry in found
        if entry.kind == "revision" or (entry.kind == "score" and entry.source == "exchange")
    ]
    assert seen.index("revision") < len(seen) - 1


def test_candles_of_one_symbol_do_not_keep_the_others_from_a_forecast(tmp_path):
    data = {**make_config(tmp_path).data.model_dump(), "symbol": ["BTCUSDT", "ETHUSDT"]}
    config = make_config(tmp_path, data=data)
    recording = replay(BEGIN, "BTCUSDT", "ETHUSDT")
    flat = recording.recorded._series["ethusdt", HOUR]
    frame = flat.frame.copy()
    frame.loc[:, ["open", "high", "low", "close"]] = 1e-320  # too small for the logarithms of a volatility
    recording.recorded._series["ethusdt", HOUR] = replace(flat, frame=frame)
    with open_world(config, FaultySource(recording)) as (cycle, _):
        first, second = cycle.run()
    assert first.status == "forecast"
    assert second.status in ("failed", "forecast")


def test_an_engine_makes_the_same_forecasts(tmp_path):
    found = {}
    for name, engine in (("here", None), ("elsewhere", PicklingEngine())):
        config = make_config(tmp_path / name, data={"symbol": ("A", "B")})
        with open_world(config, replay(BEGIN, "A", "B"), engine=engine) as (cycle, _):
            found[name] = [(result.status, result.entry.paths) for result in cycle.run()]
    assert found["here"] == found["elsewhere"]
    assert [status for status, _ in found["here"]] == ["forecast", "forecast"]


class Choosy(LiveBaseline):
    """Refuses all symbols that are forecast together with C."""

    def forecast(self, histories, seed):
        if "C" in histories:
            raise DataError("C has no candles.")
        return super().forecast(histories, seed)


def test_candles_that_cannot_be_forecast_fail_their_block_only(tmp_path, monkeypatch):
    monkeypatch.setattr("kronos.live.forecaster.BLOCK", 2)
    histories = {symbol: recorded_candles(symbol, 100) for symbol in "ABCDE"}
    config = make_config(tmp_path)
    found, reasons = forecast_all(Choosy("drift", config), histories, BEGIN, config)
    assert list(found) == ["A", "B", "E"]
    assert reasons == dict.fromkeys("CD", "C has no candles.")

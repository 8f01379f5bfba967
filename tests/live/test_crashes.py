"""Processes that are killed at any moment, full disks, databases that are locked or away: nothing lost or doubled."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time
from contextlib import suppress

import pandas as pd
import pytest

from kronos.errors import StorageError
from kronos.live.alerts import Alerts
from kronos.live.clock import ReplayClock
from kronos.live.config import AlertsSection
from kronos.live.entries import format_time
from kronos.live.publication import published_heads
from kronos.live.record import Record
from kronos.live.runner import LiveRunner
from kronos.live.service import LiveSite
from kronos.live.verification import verify
from live.replays import FaultySource, make_config, open_world, replay
from live.test_cycle import BEGIN, check_record, entries, origins

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


class SharedClock(ReplayClock):
    """A replay's clock that goes on in a file when its process is killed."""

    def __init__(self, source, file):
        super().__init__(source.replay)
        self.source, self.file = source, file
        with suppress(OSError, ValueError):
            source.replay.advance(pd.Timestamp(file.read_text("ascii")) - source.replay.now())

    def wait(self, seconds, stop):
        super().wait(seconds, stop)
        temporary = self.file.with_suffix(".tmp")
        temporary.write_text(str(self.now()), "ascii")
        temporary.replace(self.file)


def run_child(config, file, cycles, down, *, page=False):
    """Run in a child process until the clock of the file reaches the last candle; its process id."""
    child = os.fork()
    if child:
        return child
    try:
        source = FaultySource(replay(BEGIN), down=down)
        clock = SharedClock(source, file)
        left = cycles - int((clock.now() - BEGIN) / pd.Timedelta(hours=1))
        with open_world(config, source, clock=clock) as (cycle, record):
            steps = {"page": LiveSite(cycle, record, clock).update} if page else {}
            LiveRunner(config, cycle, clock, steps, Alerts(AlertsSection()), threading.Event()).run(max(1, left))
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 (a forked child must not return to pytest)
        sys.stderr.write(f"{error!r}\n")
        os._exit(1)


@needs_fork
@pytest.mark.slow
def test_fifty_kills_in_five_days_lose_and_double_nothing(tmp_path):
    config = make_config(tmp_path)
    file, cycles, draw = tmp_path / "clock", 120, random.Random(7)
    down = lambda now: now.day == 9 and now.hour < 5  # noqa: E731
    for kill in range(50):  # every two hours of the replay, at any moment of a cycle
        child = run_child(config, file, cycles, down)
        while not file.exists() or pd.Timestamp(file.read_text("ascii")) < BEGIN + pd.Timedelta(hours=2 * kill + 1):
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
            time.sleep(0.002)
        time.sleep(draw.uniform(0.0, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    _, status = os.waitpid(run_child(config, file, cycles, down), 0)
    assert os.waitstatus_to_exitcode(status) == 0
    last = pd.Timestamp(file.read_text("ascii")).floor("h")
    found = entries(config)
    first, recorded = (pd.Timestamp(origins(found, "forecast", "missed")[at]) for at in (0, -1))
    assert first == BEGIN.floor("h")
    assert last - recorded <= pd.Timedelta(hours=1)
    check_record(config, first, recorded)
    missed = [pd.Timestamp(origin) for origin in origins(found, "missed")]
    assert [moment.hour for moment in missed] == [0, 1, 2, 3, 4]  # the outage, and nothing else
    scores = origins(found, "score")
    assert len(scores) == len(set(scores)) >= cycles - 5 - 8


@pytest.mark.slow
@needs_fork
def test_the_page_is_whole_whenever_the_process_is_killed(tmp_path):
    config = make_config(tmp_path)
    draw, page = random.Random(11), config.output.folder
    source = FaultySource(replay(BEGIN))
    with open_world(config, source) as (cycle, record):  # in this process, so that its children need not load anything
        LiveSite(cycle, record, ReplayClock(source.replay)).update(cycle.run())
    for _ in range(8):
        child = run_child(config, tmp_path / "clock", 1000, lambda _: False, page=True)
        time.sleep(draw.uniform(0.3, 1.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for file in page.rglob("*.html"):
            assert file.read_text("utf-8").rstrip().endswith("</html>")
        for file in page.rglob("*.json"):
            json.loads(file.read_text("utf-8"))
    assert (page / "index.html").exists()
    with Record.open(config.record.database, read_only=True) as record:
        result = verify(record, heads=published_heads(page))
    assert result.ok, result.problems
    child = run_child(config, tmp_path / "clock", 1, lambda _: False, page=True)
    os.waitpid(child, 0)
    listed = [
        pd.Timestamp(past["origin"]) for past in json.loads((page / "forecasts.json").read_text("utf-8"))["forecasts"]
    ]
    assert len(listed) == len(set(listed))
    archived = sum(len(json.loads(file.read_text("utf-8"))["forecasts"]) for file in page.glob("archive/*.json"))
    assert archived == len(origins(entries(config), "forecast", "late", "missed"))


def test_a_full_disk_is_survived(tmp_path, stop, monkeypatch):
    config = make_config(tmp_path)
    source = FaultySource(replay(BEGIN))
    clock = ReplayClock(source.replay)
    with open_world(config, source, clock=clock) as (cycle, record):
        runner = LiveRunner(config, cycle, clock, {}, Alerts(AlertsSection()), stop)
        append, full = record.append, {"now": False}

        def fail(new):
            if full["now"]:
                raise StorageError(f"Cannot write: {os.strerror(errno.ENOSPC)}.")
            return append(new)

        monkeypatch.setattr(record, "append", fail)
        runner.run(3)
        full["now"] = True
        runner.run(3)
        full["now"] = False
        runner.run(12)
    found = check_record(config, BEGIN.floor("h"), clock.now().floor("h"))
    assert origins(found, "missed")


def test_a_locked_database_delays_and_loses_nothing(tmp_path, stop, monkeypatch):
    monkeypatch.setattr("kronos.live.database.BUSY_TIMEOUT", 0.2)
    config = make_config(tmp_path)
    source = FaultySource(replay(BEGIN))
    clock = ReplayClock(source.replay)
    with open_world(config, source, clock=clock) as (cycle, _):
        runner = LiveRunner(config, cycle, clock, {}, Alerts(AlertsSection()), stop)
        runner.run(2)
        other = sqlite3.connect(config.record.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        runner.run(1)
        other.rollback()
        other.close()
        runner.run(8)
    check_record(config, BEGIN.floor("h"), clock.now().floor("h"))


@pytest.mark.parametrize("failure", [StorageError("The page cannot be written."), ZeroDivisionError("a bug")])
def test_steps_after_a_cycle_may_fail(tmp_path, stop, failure):
    config = make_config(tmp_path)
    source = FaultySource(replay(BEGIN))
    clock = ReplayClock(source.replay)

    def fail(_):
        raise failure

    with open_world(config, source, clock=clock) as (cycle, _):
        LiveRunner(config, cycle, clock, {"page": fail}, Alerts(AlertsSection()), stop).run(2)
    check_record(config, BEGIN.floor("h"), BEGIN.floor("h") + pd.Timedelta(hours=1))


def test_a_page_that_could_not_be_written_is_written_before_the_next_candle(tmp_path, stop):
    config = make_config(tmp_path)
    source = FaultySource(replay(BEGIN))
    clock = ReplayClock(source.replay)
    written = []

    def write(_):
        written.append(clock.now())
        if len(written) == 1:
            raise StorageError("The disk is full.")

    with open_world(config, source, clock=clock) as (cycle, _):
        runner = LiveRunner(config, cycle, clock, {"page": write}, Alerts(AlertsSection()), stop)
        assert runner.run(1)
    assert len(written) == 2
    assert written[1] - written[0] < pd.Timedelta(minutes=5)
    assert origins(entries(config), "forecast") == [format_time(BEGIN.floor("h"))]


@pytest.mark.slow
def test_clocks_that_step_both_ways_enter_each_origin_once(tmp_path, stop):
    config = make_config(tmp_path)
    source = FaultySource(replay(BEGIN))
    draw = random.Random(3)

    class Stepped(ReplayClock):
        """This machine's clock, set now and then by up to three hours; the source's runs on."""

        skew = pd.Timedelta(0)

        def now(self):
            return super().now() + self.skew

        def wait(self, seconds, stop):
            source.replay.sleep_until(source.replay.now() + pd.Timedelta(seconds=max(0.0, min(seconds, 600.0))), stop)
            if draw.random() < 0.1:
                self.skew = pd.Timedelta(minutes=draw.randint(-180, 180))

    clock = Stepped(source.replay)
    with open_world(config, source, clock=clock) as (cycle, _):
        LiveRunner(config, cycle, clock, {}, Alerts(AlertsSection()), stop).run(48)
    found = entries(config)
    listed = origins(found, "forecast", "late", "missed")
    first, last = pd.Timestamp(listed[0]), pd.Timestamp(listed[-1])
    check_record(config, first, last)
    assert len(origins(found, "forecast")) > 0.9 * len(listed)

"""The process of the live forecaster: a cycle after every close, until it is told to stop.

The time of the next cycle is computed anew from the clock after each one, and while waiting at least every 30 seconds,
so that neither a suspended machine nor a clock that is set leads it astray. Whatever follows a cycle (page, publishing,
alerts) may fail without stopping the next.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

import pandas as pd

from kronos.atomic import write_text
from kronos.engines import Engine, LocalEngine, RayEngine
from kronos.errors import KronosError, ParameterError
from kronos.live.alerts import Alerts
from kronos.live.clock import DELAY, Backoff, Clock, ReplayClock, SystemClock, next_close, wait_until
from kronos.live.config import DataSection, LiveConfig
from kronos.live.cycle import Cycle, CycleResult
from kronos.live.entries import format_time
from kronos.live.feed import MarketFeed, check_symbols
from kronos.live.forecaster import LiveForecaster, check_baselines, load_forecaster
from kronos.live.record import Record
from kronos.live.status import HEARTBEAT
from kronos.locks import LOCK, exclusive_lock
from kronos.settings import SourceSettings, get_settings
from kronos.sources.base import CandleSource
from kronos.sources.registry import is_local, open_source
from kronos.sources.replay import Replay
from kronos.sources.simulation import SimulatedSource

AfterCycle = Callable[[Sequence[CycleResult]], None]
_log = logging.getLogger(__name__)


@dataclass
class LiveRunner:
    """Runs cycles and what follows them.

    Attributes:
        config: The configuration.
        cycle: The cycle.
        clock: Clock of this machine, or of a replay.
        after_cycle: What follows each cycle, such as writing the page, by name; a failure is logged and reported.
        alerts: Where failures are reported.
        stop: Set to end the process after the current step.
    """

    config: LiveConfig
    cycle: Cycle
    clock: Clock
    after_cycle: dict[str, AfterCycle]
    alerts: Alerts
    stop: threading.Event

    def run(self, cycles: int | None = None) -> bool:
        """Run cycles until ``stop`` is set.

        Args:
            cycles: Number of candles after which to end; None for no end. A cycle that fails is tried again before
                its next candle closes, and counts once.

        Returns:
            Whether the last cycle forecast every series, and all that follows a cycle succeeded.
        """
        backoff, interval = Backoff(), self.config.interval
        done, completed = False, 0
        started = self.clock.now()
        while not self.stop.is_set():
            began = self.clock.now()
            results, whole = self._run_cycle()
            done = whole and all(result.done for result in results)
            # A candle that closed during the cycle is due at once: count from when the cycle began.
            due = next_close(began + self.cycle.skew, interval) + DELAY
            if done:
                backoff.reset()
            else:
                due = min(due, self.clock.now() + self.cycle.skew + backoff.next_delay(interval))
            ends = done or due >= next_close(began + self.cycle.skew, interval)
            due -= self.cycle.skew  # by this machine's clock
            self._write_heartbeat(results, started, due)
            completed += ends
            if cycles is not None and completed >= cycles:
                break
            wait_until(self.clock, due, self.stop)
        return done

    def _run_cycle(self) -> tuple[list[CycleResult], bool]:
        """Run one cycle and what follows it.

        Returns:
            The results, none if the cycle failed, and whether it and all that follows succeeded.
        """
        results: list[CycleResult] = []
        if not self._attempt("the cycle", lambda: results.extend(self.cycle.run())):
            return results, False
        for result in results:
            _log.info("%s", describe_result(result))
            self.alerts.report(result)
        followed = [self._attempt(name, partial(step, results)) for name, step in self.after_cycle.items()]
        return results, all(followed)

    def _attempt(self, name: str, step: Callable[[], None]) -> bool:
        """Run a step; log and report its failure, whatever it is: the next cycle has to come. Whether it succeeded."""
        failure = ""
        try:
            step()
        except KronosError as error:
            _log.error("%s failed: %s", name, error)
            failure = str(error)
        except Exception as error:  # noqa: BLE001 (a bug in one step must not end a record)
            _log.exception("%s failed", name)
            failure = type(error).__name__
        self.alerts.report_step(name, failure)
        return not failure

    def _write_heartbeat(self, results: Sequence[CycleResult], started: pd.Timestamp, due: pd.Timestamp) -> None:
        """Write when the last cycle ended and what it did, for ``/health`` and ``kronos live status``."""
        beat: dict[str, Any] = {
            "pid": os.getpid(),
            "started_at": format_time(started),
            "cycle_at": format_time(self.clock.now()),
            "next_cycle_at": format_time(due),
            "interval_seconds": self.config.interval.seconds,
            "series": [
                {
                    "slug": result.series.slug,
                    "status": result.status,
                    "origin": None if result.origin is None else format_time(result.origin),
                    "reason": result.reason,
                }
                for result in results
            ],
        }
        try:
            write_text(self.config.record.folder / HEARTBEAT, json.dumps(beat, indent=2) + "\n")
        except KronosError as error:
            _log.error("the heartbeat cannot be written: %s", error)


def describe_result(result: CycleResult) -> str:
    """Describe the result of a series in one line."""
    name, origin = result.series.slug, "" if result.origin is None else f" at {result.origin:%Y-%m-%d %H:%M} UTC"
    words = {
        "forecast": "forecast recorded",
        "late": "forecast recorded as late",
        "recorded": "recorded before",
        "stand-in": "simulated, not recorded",
        "waiting": "waiting",
        "failed": "no forecast",
    }
    reason = f": {result.reason}" if result.reason else ""
    return f"{name}{origin}: {words[result.status]}{reason}"


@contextmanager
def open_cycle(config: LiveConfig, *, forecasts: bool = True) -> Iterator[tuple[Cycle, Record, Clock]]:
    """Open sources, record and models for one process.

    Only one process at a time may use a record's folder.

    Args:
        config: The configuration.
        forecasts: Whether to load the models; without them a cycle can only score.

    Raises:
        ParameterError: If a source, symbol or baseline is unknown.
        CheckpointError: If a model's weights are missing.
        StorageError: If another process runs, or the record cannot be opened.
    """
    check_baselines(config.record.baselines)
    sources = open_sources(config)
    replays = [source for source in sources if isinstance(source, Replay)]
    if replays and len(sources) > 1:
        raise ParameterError("A replay is the only source: it has a clock of its own.")
    clock: Clock = ReplayClock(replays[0]) if replays else SystemClock()
    config = with_symbols(config, sources)
    if forecasts:
        check_symbols(sources, config.data.symbol, config.interval)
    fallback = SimulatedSource(clock=clock.now) if config.data.simulated_fallback else None
    feed = MarketFeed(sources, clock, fallback)
    with ExitStack() as stack:
        stack.enter_context(
            exclusive_lock(
                config.record.folder / LOCK,
                busy=f"The record in {config.record.folder} is being written",
                fix="choose another record.folder",
            )
        )
        record = stack.enter_context(Record.open(config.record.database))
        names = config.model.model_name if forecasts else ()
        engine = open_engine(config)
        forecasters: list[LiveForecaster] = [load_forecaster(name, config) for name in names]
        yield Cycle(config, feed, clock, record, forecasters, engine), record, clock


def open_engine(config: LiveConfig) -> Engine:
    """Open the configured engine.

    Raises:
        ParameterError: If it is ``ray``, and Ray is not installed.
    """
    workers = config.model.workers
    return RayEngine(workers) if config.model.engine == "ray" else LocalEngine(workers or 1)


def open_sources(config: LiveConfig) -> list[CandleSource]:
    """Open the configured sources, with the timeouts of the configuration.

    Raises:
        ParameterError: If there is no such source.
    """
    settings = get_settings()
    own = SourceSettings(timeout=config.api.timeout, attempts=config.api.retries)
    remote = {name: own for name in config.data.source if not is_local(name)}
    settings = settings.model_copy(update={"sources": {**remote, **settings.sources}})
    sources = [open_source(name, settings=settings) for name in config.data.source]
    start = config.data.replay_start
    if start is None:
        return sources
    return [_restart(source, start) if isinstance(source, Replay) else source for source in sources]


def _restart(replay: Replay, start: str) -> Replay:
    """Begin a replay at another time.

    Raises:
        ParameterError: If the text is not a time.
    """
    try:
        return Replay(replay.recorded, at=pd.Timestamp(start))
    except ValueError as error:
        raise ParameterError(f"Invalid data.replay_start '{start}': write a time like 2026-03-01 12:00.") from error


def with_symbols(config: LiveConfig, sources: Sequence[CandleSource]) -> LiveConfig:
    """Take the symbol of a recording that has only one, unless the configuration names one."""
    if "symbol" in config.data.model_fields_set or len(sources) != 1:
        return config
    recorded = sources[0].recorded if isinstance(sources[0], Replay) else sources[0]
    symbols = getattr(recorded, "symbols", None)
    if symbols is None or len(found := symbols()) != 1:
        return config
    data = DataSection(**{**config.data.model_dump(exclude_unset=True), "symbol": tuple(found)})
    return config.model_copy(update={"data": data})


@contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """End the loop at Ctrl-C and SIGTERM; a second Ctrl-C ends the process at once."""

    def end(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        stop.set()

    handlers = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)

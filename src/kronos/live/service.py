"""The whole live forecaster: cycles, and after each one the page, publishing and the anchor."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import replace

from kronos.atomic import write_text
from kronos.errors import ParameterError
from kronos.live.alerts import Alerts
from kronos.live.clock import Clock, ReplayClock
from kronos.live.config import LiveConfig, LoggingSection
from kronos.live.cycle import Cycle, CycleResult, LiveSeries
from kronos.live.entries import ORIGIN_KINDS, OUTCOME_KINDS, Entry, format_time, parse_time
from kronos.live.page import write_site
from kronos.live.page.site import series_archives
from kronos.live.publication import Anchor, BackgroundStep, GitPublisher
from kronos.live.record import Record, entry_of
from kronos.live.runner import AfterCycle, LiveRunner, open_cycle, stop_on_signals
from kronos.live.track_figures import EarlierSeries
from kronos.live.track_record import TrackRecord, TrackRecordData
from kronos.logs import log_handler

_PUBLISH_SECONDS = 300.0  # that the last publishing may take after the last cycle
_WRITTEN = "site.json"  # in the record's folder: the last rows that the archive has


def run_live(config: LiveConfig, *, once: bool = False, cycles: int | None = None) -> bool:
    """Run the live forecaster until Ctrl-C or SIGTERM.

    Args:
        config: The configuration.
        once: Run one cycle.
        cycles: Number of candles after which to end; None for no end.

    Returns:
        Whether the last cycle forecast every series, and wrote the page.

    Raises:
        ParameterError: If a source, symbol or baseline is unknown.
        CheckpointError: If a model's weights are missing.
        StorageError: If another process runs, or the record cannot be opened.
    """
    configure_logging(config.logging)
    stop = threading.Event()
    alerts = Alerts(config.alerts)
    with stop_on_signals(stop), open_cycle(config) as (cycle, record, clock):
        check_clock(cycle, record, clock)
        site = LiveSite(cycle, record, clock)
        steps: dict[str, AfterCycle] = {"page": site.update}
        publishing = _publishing(config, record, clock, alerts)
        if publishing:
            steps["publishing"] = lambda _: start_all(publishing)
        runner = LiveRunner(cycle.config, cycle, clock, steps, alerts, stop)
        done = runner.run(1 if once else cycles)
        for step in publishing:
            step.join(_PUBLISH_SECONDS)
    alerts.close()
    return done


def check_clock(cycle: Cycle, record: Record, clock: Clock) -> None:
    """Check that a replay does not start before what its record already has.

    Raises:
        ParameterError: If it does.
    """
    if not isinstance(clock, ReplayClock):
        return
    for series in cycle.series:
        last = record.last_origin(series.id)
        if last is not None and parse_time(last) > clock.now():
            folder = cycle.config.record.folder
            raise ParameterError(
                f"The record in {folder} goes to {last[:16]}Z, later than this replay's clock: give it a record and a "
                "page of its own with --record FOLDER --output FOLDER."
            )


def start_all(steps: Sequence[BackgroundStep]) -> None:
    """Start steps in the background."""
    for step in steps:
        step.start()


def score_live(config: LiveConfig) -> list[Entry]:
    """Score what has closed; the page follows with the next cycle.

    Returns:
        What was entered.

    Raises:
        KronosError: As `run_live`.
    """
    configure_logging(config.logging)
    with open_cycle(config, forecasts=False) as (cycle, _, _):
        return cycle.score()


class LiveSite:
    """Keeps the page up to date with the record.

    Args:
        cycle: The cycle, for its series.
        record: The record.
        clock: Clock of this machine.
    """

    def __init__(self, cycle: Cycle, record: Record, clock: Clock) -> None:
        self._config, self._record, self._clock = cycle.config, record, clock
        self._tracks = {series.id: TrackRecordData(series.protocol) for series in cycle.series}
        self._archives = series_archives(cycle.config, cycle.series)
        self._seen = dict.fromkeys(self._tracks, 0)
        self._written = self._read_written()
        self._changed: dict[str, list[str]] = {series: [] for series in self._tracks}

    def update(self, results: Sequence[CycleResult]) -> None:
        """Read what is new in the record and write the page.

        Raises:
            StorageError: If a file cannot be written; the next call tries again.
        """
        records: dict[str, TrackRecord] = {}
        recent: dict[str, list[tuple[Entry, Entry | None]]] = {}
        for result in results:
            identity = result.series.id
            self._read_new(identity)
            found = self._tracks[identity].summarize()
            records[identity] = replace(found, earlier=self._earlier(result.series))
            recent[identity] = self._pairs(identity)
        write_site(self._config, results, records, recent, self._record.head(), self._clock.now())
        self._written = dict(self._seen)
        self._changed = {series: [] for series in self._tracks}
        write_text(self._config.record.folder / _WRITTEN, json.dumps(self._written) + "\n")

    def _earlier(self, series: LiveSeries) -> tuple[EarlierSeries, ...]:
        """Earlier series of a symbol, so that a change of the protocol does not hide what came before."""
        found = []
        for entry in self._record.protocols():
            if entry.series == series.id:
                break
            if entry.protocol["symbol"] == series.symbol:
                counts = self._record.counts(entry.series)
                numbers = counts.get("forecast", 0), counts.get("score", 0)
                found.append(EarlierSeries(entry.series, entry.protocol["model"]["name"], entry.made_at, *numbers))
        return tuple(found)

    def _read_written(self) -> dict[str, int]:
        """How far the archive goes, by series; nowhere if its page is new or was another series'."""
        try:
            document = json.loads((self._config.record.folder / _WRITTEN).read_text("utf-8"))
            written = {str(series): int(seq) for series, seq in document.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
        return {
            series: written[series] for series in written.keys() & self._archives if self._archives[series].periods()
        }

    def _read_new(self, series: str) -> None:
        """Extend the track record of a series by what is new, and note the origins that the archive lacks."""
        for row in self._record.rows(series, after_seq=self._seen[series]):
            self._tracks[series].extend([entry_of(row)])
            self._seen[series] = row.seq
            if row.kind in (*ORIGIN_KINDS, *OUTCOME_KINDS) and row.seq > self._written.get(series, 0):
                self._changed[series].append(row.origin)

    def _pairs(self, series: str) -> list[tuple[Entry, Entry | None]]:
        """The origins that the archive lacks, with their outcomes."""
        wanted = set(self._changed[series])
        if not wanted:
            return []
        kinds = (*ORIGIN_KINDS, *OUTCOME_KINDS)
        archive = self._archives[series]
        for period in {archive.period(origin) for origin in wanted}:
            if not archive.has(period):  # new, or damaged: then it is built anew
                rows = self._record.rows(series, kinds=ORIGIN_KINDS, origins=(period, f"{period}~"))
                wanted.update(row.origin for row in rows)
        origins: dict[str, Entry] = {}
        outcomes: dict[str, Entry] = {}
        for row in self._record.rows(series, kinds=kinds, origins=(min(wanted), max(wanted))):
            if row.origin in wanted:
                (origins if row.kind in ORIGIN_KINDS else outcomes)[row.origin] = entry_of(row)
        return [(entry, outcomes.get(origin)) for origin, entry in sorted(origins.items())]


def _publishing(config: LiveConfig, record: Record, clock: Clock, alerts: Alerts) -> list[BackgroundStep]:
    """The steps that run in the background after each cycle."""
    steps = []
    if config.output.publish == "git":
        steps.append(BackgroundStep("publishing", GitPublisher(config).publish, alerts.report_step))
    if config.record.anchor_command:
        anchor = Anchor(config)

        def hand_over() -> None:
            day = format_time(clock.now())[:10]
            if anchor.is_due(day):
                anchor.hand_over(day, *record.head())

        steps.append(BackgroundStep("anchor", hand_over, alerts.report_step))
    return steps


def configure_logging(config: LoggingSection) -> None:
    """Print the messages of the live forecaster on stderr, as text or as JSON lines."""
    logger = logging.getLogger("kronos.live")
    logger.handlers[:] = [log_handler(json_lines=config.json_lines)]
    logger.setLevel(config.level.upper())
    logger.propagate = False

"""What the forecaster did last, and whether its record is in order."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from kronos.errors import DataError, ParameterError
from kronos.formatting import plural
from kronos.live.config import LiveConfig
from kronos.live.entries import parse_time
from kronos.live.publication import ANCHORED, published_heads
from kronos.live.record import Record
from kronos.live.verification import Verification, verify

HEARTBEAT = "heartbeat.json"
LATE_AFTER, STALE_AFTER = 1.5, 3.0  # intervals since the last cycle
State = Literal["fresh", "late", "stale", "unknown"]
_SERIES_FIELDS = {"slug", "status", "origin", "reason"}
_HEAD = re.compile(r"(?P<seq>\d+):(?P<hash>[0-9a-f]{64})")


@dataclass(frozen=True)
class LiveStatus:
    """State of a live forecaster.

    Attributes:
        state: ``fresh``; ``late`` after 1.5 and ``stale`` after 3 intervals without a cycle; ``late`` too while a
            series has no forecast; ``unknown`` if it has never run.
        cycle_at: Time of the last cycle; None if there was none.
        next_cycle_at: When the next one is due.
        series: What the last cycle did for each series.
        rows: Rows of the record.
        head: Hash of its last row; None without a record.
        entries: Number of rows by kind.
    """

    state: State
    cycle_at: str | None
    next_cycle_at: str | None
    series: Sequence[dict[str, Any]]
    rows: int
    head: str | None
    entries: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the status as values for JSON."""
        return asdict(self)


def read_heartbeat(folder: Path) -> dict[str, Any] | None:
    """Read the heartbeat of a record's folder; None if there is none yet, or it is damaged or another version's."""
    try:
        beat = json.loads((folder / HEARTBEAT).read_text("utf-8"))
        times = [parse_time(beat[name]) for name in ("cycle_at", "next_cycle_at")]
        heartbeat_state(beat, times[0])
        known = all(each.keys() >= _SERIES_FIELDS for each in beat["series"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return beat if known and isinstance(beat, dict) and not any(map(pd.isna, times)) else None


def heartbeat_state(beat: dict[str, Any] | None, now: pd.Timestamp) -> State:
    """Judge a heartbeat by the cycle that is due, and by what the last one did for each series.

    Args:
        beat: The heartbeat, if there is one.
        now: UTC time.
    """
    if beat is None:
        return "unknown"
    interval = pd.Timedelta(seconds=float(beat["interval_seconds"]))
    overdue = now - parse_time(beat["next_cycle_at"])
    # A cycle is never due later than one interval ahead: the clock has been set back since, nobody knows how far.
    if overdue > (STALE_AFTER - 1) * interval or overdue < -(STALE_AFTER - 1) * interval:
        return "stale"
    unfinished = any(series["status"] not in ("forecast", "late", "recorded") for series in beat["series"])
    return "late" if unfinished or not beat["series"] or overdue > (LATE_AFTER - 1) * interval else "fresh"


def read_status(config: LiveConfig, now: pd.Timestamp | None = None) -> LiveStatus:
    """Read heartbeat and record.

    Args:
        config: The configuration.
        now: UTC time; this machine's if None.

    Raises:
        StorageError: If the record exists and cannot be read.
    """
    beat = read_heartbeat(config.record.folder)
    rows, head, entries = 0, None, dict[str, int]()
    if config.record.url is not None or Path(config.record.database).exists():
        with Record.open(config.record.database, read_only=True) as record:
            rows, head = record.head()
            entries = record.counts()
    moment = pd.Timestamp.now("UTC") if now is None else now
    return LiveStatus(
        state=heartbeat_state(beat, moment),
        cycle_at=None if beat is None else beat["cycle_at"],
        next_cycle_at=None if beat is None else beat["next_cycle_at"],
        series=[] if beat is None else beat["series"],
        rows=rows,
        head=head,
        entries=entries,
    )


def describe_status(status: LiveStatus) -> list[str]:
    """Describe a status in lines."""
    if status.cycle_at is None:
        return ["The forecaster has not run in this folder yet: kronos live run."]
    words = {"fresh": "up to date", "late": "late", "stale": "stale: it does not run, or no source answers"}
    lines = [f"{words.get(status.state, status.state).capitalize()}. Last cycle {status.cycle_at[:16]}Z."]
    for series in status.series:
        origin = "" if series["origin"] is None else f" at {series['origin'][:16]}Z"
        reason = f": {series['reason']}" if series["reason"] else ""
        lines.append(f"  {series['slug']}{origin}: {series['status']}{reason}")
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(status.entries.items()))
    lines.append(f"Record: {plural(status.rows, 'row')} ({counts or 'none'}), head {(status.head or '')[:16]}…")
    return lines


def verify_record(config: LiveConfig, heads: Sequence[str] = ()) -> Verification:
    """Verify the record against itself and against the heads that were published.

    Args:
        config: The configuration.
        heads: Further heads, as ``SEQ:HASH``.

    Raises:
        ParameterError: If a head is written differently.
        StorageError: If there is no record.
        DataError: If a published document, or the note of the last anchored head, cannot be read.
    """
    known = [_parse_head(text) for text in heads]
    if config.output.folder.is_dir():
        known += published_heads(config.output.folder)
    anchored = config.record.folder / ANCHORED
    if anchored.is_file():
        known.append(_read_anchored(anchored))
    with Record.open(config.record.database, read_only=True) as record:
        return verify(record, heads=known)


def _read_anchored(file: Path) -> tuple[int, str]:
    """Read the head that was anchored last.

    Raises:
        DataError: If the file is damaged.
    """
    try:
        head = json.loads(file.read_text("utf-8"))
        return int(head["seq"]), str(head["hash"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"Cannot read {file}, which has the head that was anchored last: remove it, and pass that head with --head."
        ) from error


def describe_verification(found: Verification) -> list[str]:
    """Describe a verification in lines."""
    facts = (
        f"{plural(found.rows, 'row')}, {found.series} series, {plural(found.forecasts, 'forecast')}, "
        f"{plural(found.scores, 'score')} recomputed in {found.seconds:.2f} s."
    )
    if found.ok:
        return [f"The record is in order: {facts}", f"Head: row {found.head[0]}, {found.head[1]}"]
    lines = [f"The record is not in order: {plural(len(found.problems), 'problem')} in {facts}"]
    lines += [f"  {'record' if seq is None else f'row {seq}'}: {sentence}" for seq, sentence in found.problems[:50]]
    return lines


def _parse_head(text: str) -> tuple[int, str]:
    match = _HEAD.fullmatch(text.strip())
    if match is None:
        raise ParameterError(f"Invalid head '{text[:80]}': write it as 1041:HASH, with all 64 digits of the hash.")
    return int(match["seq"]), match["hash"]

"""Verification of a record: its chain, its rules and its scores, recomputed from what is stored.

It finds every change of a row since the row was written: the hashes no longer follow from each other, or differ from
those that were published before. Rows removed from the end are found only by a head that was published. It cannot find
what was wrong when it was written, but for what contradicts the protocol, the times or the candles in the record.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter
from typing import Any

from pydantic_core import from_json
from sqlalchemy import text

from kronos.live.chain import GENESIS, Row, broken_links
from kronos.live.database import DamagedRecord
from kronos.live.entries import ForecastEntry, LateEntry, ProtocolEntry, ScoreEntry, parse_entry
from kronos.live.record import Record
from kronos.live.score_audit import ScoreAudit
from kronos.live.series_audit import SeriesAudit

Head = tuple[int, str]  # number and hash of a row
Problem = tuple[int | None, str]
_CHUNK = 250  # rows


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes:
        rows: Rows read.
        series: Series among them.
        forecasts: Forecasts that count, without late ones.
        scores: Scores, all of which were computed again.
        problems: Number of the row, None for the record itself, and what is wrong.
        head: Number and hash of the last row.
        seconds: Duration.
    """

    rows: int
    series: int
    forecasts: int
    scores: int
    problems: tuple[Problem, ...]
    head: Head
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return the result as values for JSON."""
        return {
            "ok": self.ok,
            "rows": self.rows,
            "series": self.series,
            "forecasts": self.forecasts,
            "scores": self.scores,
            "problems": [{"row": seq, "problem": sentence} for seq, sentence in self.problems],
            "head": {"seq": self.head[0], "hash": self.head[1]},
            "seconds": self.seconds,
        }


@dataclass
class _Audit:
    """The state while rows are read."""

    scores: ScoreAudit
    executor: Executor
    slots: dict[int, str]
    published: dict[int, list[str]]
    problems: list[Problem] = field(default_factory=list)
    links: list[Future[list[tuple[int, str]]]] = field(default_factory=list)
    series: dict[str, SeriesAudit] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    head: Head = (0, GENESIS)

    def read(self, rows: Sequence[Row]) -> None:
        """Check the next rows of the chain."""
        rows = [self._as_text(row) for row in rows]
        seq, previous = self.head
        self.links.append(self.executor.submit(_links, rows, previous, seq + 1))
        for row in rows:
            for sentence in self._row(row):
                self.problems.append((row.seq, sentence))
            for published in self.published.pop(row.seq, ()):
                if published != row.hash:
                    self.problems.append((row.seq, f"its hash is not {published}, which was published"))
        self.counts["rows"] += len(rows)
        self.head = (rows[-1].seq, rows[-1].hash)

    def _as_text(self, row: Row) -> Row:
        """The row; a column that is no text is a problem, and becomes text."""
        values = (row.kind, row.series, row.origin, row.body, row.hash)
        if set(map(type, values)) == {str}:
            return row
        self.problems.append((row.seq, "a column is no text"))
        return Row(row.seq, *map(str, values))

    def _row(self, row: Row) -> Iterator[str]:
        """Yield what is wrong with a row by itself and in its series."""
        try:
            body = _parse(row.body)
            entry = parse_entry(body)
            if (body["seq"], entry.kind, entry.series, entry.origin) != (row.seq, row.kind, row.series, row.origin):
                yield "its columns differ from its text"
            if self.slots.get(row.seq) != entry.slot:
                yield "its slot is not that of its entry"
            if isinstance(entry, ProtocolEntry) and entry.series not in self.series:
                self.series[entry.series] = opened = SeriesAudit(entry)
                yield from opened.opening_problems()
                return
            series = self.series.get(entry.series)
            if series is None:
                yield "its series has no protocol before it"
                return
            forecast = series.pending.get(entry.origin)
            sentences = list(series.problems(entry, row.body))
            if isinstance(entry, ForecastEntry) and not isinstance(entry, LateEntry):
                self.counts["forecasts"] += 1
            elif isinstance(entry, ScoreEntry):
                self.counts["scores"] += 1
                if forecast is not None and not sentences:
                    self.scores.add(row.seq, forecast, entry)
            yield from sentences
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            yield "its text is no entry of the record"

    def finish(self) -> Iterator[Problem]:
        """Yield all problems."""
        yield from self.problems
        for links in self.links:
            yield from links.result()
        yield from self.scores.problems()
        for seq in self.published:
            yield None, f"row {seq} was published, but the record ends at row {self.head[0]}"


def verify(record: Record, heads: Iterable[Head] = ()) -> Verification:
    """Verify a record up to its present head.

    Args:
        record: The record; others may append to it meanwhile.
        heads: Number and hash of rows that were published earlier: on a page, in an export, in a repository.

    Returns:
        What was found.

    Raises:
        StorageError: If the database cannot be reached. A damaged one is a finding.
    """
    started = perf_counter()
    published = defaultdict(list)
    for seq, value in heads:
        published[seq].append(value)
    published.pop(0, None)  # the head of an empty record
    with ThreadPoolExecutor(2) as executor:
        audit = _Audit(ScoreAudit(executor), executor, {}, published)
        damages = executor.submit(_damages, record)
        try:
            audit.problems += _missing_triggers(record)
            last, rows = record.head()[0], record.rows()
            audit.slots.update(_slots(record))
            # Rows are read from 1 on: one whose number was changed to less would else be missing without a trace.
            audit.problems += [(seq, "its number is below 1") for seq in audit.slots if seq < 1]
            while chunk := list(islice(rows, _CHUNK)):
                audit.read([row for row in chunk if row.seq <= last])
                if chunk[-1].seq >= last:
                    break
        except DamagedRecord as error:
            audit.problems.append((None, str(error)))
        problems = sorted({*damages.result(), *audit.finish()}, key=lambda problem: (problem[0] or 0, problem[1]))
    counts = audit.counts
    return Verification(
        counts["rows"],
        len(audit.series),
        counts["forecasts"],
        counts["scores"],
        tuple(problems),
        audit.head,
        perf_counter() - started,
    )


def _parse(body: str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: If it is none.
    """
    try:
        return from_json(body)  # three times as fast as the library's own
    except ValueError:
        return json.loads(body)  # knows half surrogates too


def _links(rows: Sequence[Row], previous: str, start: int) -> list[tuple[int, str]]:
    return list(broken_links(rows, previous, start))


def _missing_triggers(record: Record) -> list[Problem]:
    names = record.missing_triggers()
    return [(None, f"the trigger {name}, which refuses changes, is missing or changed") for name in names]


def _damages(record: Record) -> list[Problem]:
    """What SQLite finds wrong with the pages and the index of its file."""
    if record.database.dialect != "sqlite":
        return []
    try:
        with record.database.reading() as connection:
            found = connection.execute(text("PRAGMA integrity_check(10)")).scalars().all()
    except DamagedRecord as error:
        return [(None, str(error))]
    return [(None, f"the file is damaged: {sentence}") for sentence in found if sentence != "ok"]


def _slots(record: Record) -> dict[int, Any]:
    with record.database.reading() as connection:
        return {row[0]: row[1] for row in connection.execute(text("SELECT seq, slot FROM record"))}

"""The record: what was forecast and what came of it, in rows that are only ever appended.

Each row is an entry of `kronos.live.entries` as JSON text, linked to the row before by its hash (`kronos.live.chain`).
The database refuses changes as far as it can; `kronos.live.verification` finds the others.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from sqlalchemy import Connection, Select, and_, func, insert, select

from kronos.atomic import atomic_path
from kronos.errors import StorageError
from kronos.live.chain import GENESIS, Row, canonical_json, chain_hash
from kronos.live.database import Database
from kronos.live.entries import Entry, ForecastEntry, ProtocolEntry, parse_entry
from kronos.live.schema import RECORD, missing_triggers, prepare

_PAGE = 500  # rows of one query: some megabytes
_COLUMNS = tuple(RECORD.c[name] for name in ("seq", "kind", "series", "origin", "body", "hash"))


class AlreadyRecorded(StorageError):  # noqa: N818 (an outcome that callers expect)
    """The series has another entry for this origin; nothing was appended."""


class Record:
    """A record in a database; use it in a ``with`` statement, or close it.

    Several threads may read it at the same time; writers wait for each other, in this process and others.

    Attributes:
        database: Where it is.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def open(cls, url: str | Path, *, read_only: bool = False) -> Record:
        """Open a record, and create or migrate it unless ``read_only``.

        Args:
            url: Path of a SQLite file, ``sqlite:///path``, or ``postgresql://user:password@host/name``.
            read_only: Open an existing record without the right to write, while another process may write.

        Raises:
            ParameterError: If the URL is of another kind.
            StorageError: If it cannot be opened, or a newer version has written it.
        """
        database = Database.open(url, read_only=read_only)
        try:
            prepare(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def append(self, entries: Sequence[Entry]) -> list[Row]:
        """Append entries in one transaction: all of them, or none.

        An entry that is in the record already, field by field, is not appended again, so that a call whose outcome is
        unknown can be repeated.

        Args:
            entries: Entries in their order.

        Returns:
            Their rows.

        Raises:
            AlreadyRecorded: If another entry has the series, origin and slot of one of them.
            StorageError: If they cannot be written. Nothing has been, unless the connection broke in the commit.
            ValueError: If an entry has a number that is not finite.
        """
        with self.database.writing() as connection:
            seq, previous = _head(connection)
            rows: list[Row] = []
            new: dict[tuple[str, str, str], Row] = {}
            for entry in entries:
                key = (entry.series, entry.slot, entry.origin)
                existing = new.get(key) or _find(connection, *key)
                if existing is None:
                    seq += 1
                    body = canonical_json({**entry.fields(), "seq": seq})
                    previous = chain_hash(previous, body)
                    existing = new[key] = Row(seq, entry.kind, entry.series, entry.origin, body, previous)
                elif canonical_json({**entry.fields(), "seq": existing.seq}) != existing.body:
                    raise AlreadyRecorded(
                        f"The record {self.database.title} has another entry for this origin: {existing.kind} of "
                        f"{entry.origin or entry.series}, row {existing.seq}."
                    )
                rows.append(existing)
            if new:
                connection.execute(insert(RECORD), [_values(row, slot) for (_, slot, _), row in new.items()])
                # A trigger or rule of somebody else may have dropped or changed a row.
                if _head(connection) != (seq, previous):
                    raise StorageError(f"The record {self.database.title} did not take row {seq}: kronos live verify.")
        return rows

    def head(self) -> tuple[int, str]:
        """Return number and hash of the last row; 0 and `GENESIS` without rows."""
        with self.database.reading() as connection:
            return _head(connection)

    def rows(
        self,
        series: str | None = None,
        *,
        kinds: Collection[str] | None = None,
        after_seq: int = 0,
        origins: tuple[str, str] | None = None,
    ) -> Iterator[Row]:
        """Yield rows in ascending order of their numbers, read page by page.

        Args:
            series: Only rows of this series.
            kinds: Only rows of these kinds.
            after_seq: Only rows after this number.
            origins: Only rows whose origin lies between these two, both included.
        """
        query = select(*_COLUMNS).order_by(RECORD.c.seq).limit(_PAGE)
        if series is not None:
            query = query.where(RECORD.c.series == series)
        if kinds is not None:
            query = query.where(RECORD.c.kind.in_(sorted(kinds)))
        if origins is not None:
            query = query.where(RECORD.c.origin.between(*origins))
        while page := self._fetch(query.where(RECORD.c.seq > after_seq)):
            yield from page
            after_seq = page[-1].seq

    def entries(self, series: str | None = None) -> Iterator[Entry]:
        """Yield the entries of a series, or of all, in the order of their rows."""
        return map(entry_of, self.rows(series))

    def protocols(self) -> list[ProtocolEntry]:
        """Return the protocols, which open the series, in their order."""
        return [entry for row in self.rows(kinds=("protocol",)) if isinstance(entry := entry_of(row), ProtocolEntry)]

    def latest_entries(self, series: str, kinds: Collection[str], count: int) -> list[Entry]:
        """Return the last entries of some kinds in a series, in their order.

        Args:
            series: Id of the series.
            kinds: Kinds of entries.
            count: At most this many.
        """
        query = select(*_COLUMNS).where(RECORD.c.series == series, RECORD.c.kind.in_(sorted(kinds)))
        rows = self._fetch(query.order_by(RECORD.c.seq.desc()).limit(count))
        return [entry_of(row) for row in reversed(rows)]

    def last_origin(self, series: str) -> str | None:
        """Return the latest origin of a series; None without one."""
        query = select(func.max(RECORD.c.origin)).where(RECORD.c.series == series, RECORD.c.slot == "origin")
        with self.database.reading() as connection:
            origin: str | None = connection.scalar(query)
        return origin

    def origin_entry(self, series: str, origin: str) -> Entry | None:
        """Return the ``forecast``, ``late`` or ``missed`` entry of an origin; None without one."""
        with self.database.reading() as connection:
            row = _find(connection, series, "origin", origin)
        return None if row is None else entry_of(row)

    def unsettled(self, series: str, until: str | None = None) -> list[ForecastEntry]:
        """Return the forecasts of a series that have neither a score nor are unresolved, the oldest first.

        Args:
            series: Id of the series.
            until: Only forecasts of origins up to this one; None for all.
        """
        outcome = RECORD.alias("outcome")
        settled = select(outcome.c.seq).where(
            and_(
                outcome.c.series == RECORD.c.series,
                outcome.c.slot == "outcome",
                outcome.c.origin == RECORD.c.origin,
            )
        )
        query = select(*_COLUMNS).where(
            RECORD.c.series == series, RECORD.c.slot == "origin", RECORD.c.kind == "forecast", ~settled.exists()
        )
        if until is not None:
            query = query.where(RECORD.c.origin <= until)
        entries = map(entry_of, self._fetch(query.order_by(RECORD.c.origin)))
        return [entry for entry in entries if isinstance(entry, ForecastEntry)]

    def counts(self, series: str | None = None) -> dict[str, int]:
        """Return the number of rows of a series, or of all, by kind."""
        query = select(RECORD.c.kind, func.count()).group_by(RECORD.c.kind)
        if series is not None:
            query = query.where(RECORD.c.series == series)
        with self.database.reading() as connection:
            return {str(row[0]): int(row[1]) for row in connection.execute(query)}

    def missing_triggers(self) -> list[str]:
        """Return the names of the triggers against changes that somebody has removed or changed."""
        with self.database.reading() as connection:
            return missing_triggers(connection)

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _fetch(self, query: Select[Any]) -> list[Row]:
        with self.database.reading() as connection:
            return [Row(*values) for values in connection.execute(query).all()]


def entry_of(row: Row) -> Entry:
    """Restore the entry of a row.

    Raises:
        ValueError: If its body is no entry.
    """
    return parse_entry(json.loads(row.body))


def _head(connection: Connection) -> tuple[int, str]:
    last = connection.execute(select(RECORD.c.seq, RECORD.c.hash).order_by(RECORD.c.seq.desc()).limit(1)).first()
    return (0, GENESIS) if last is None else (last.seq, last.hash)


def _find(connection: Connection, series: str, slot: str, origin: str) -> Row | None:
    query = select(*_COLUMNS).where(RECORD.c.series == series, RECORD.c.slot == slot, RECORD.c.origin == origin)
    found = connection.execute(query).first()
    return None if found is None else Row(*found)


def _values(row: Row, slot: str) -> dict[str, object]:
    return {
        "seq": row.seq,
        "kind": row.kind,
        "series": row.series,
        "origin": row.origin,
        "slot": slot,
        "hash": row.hash,
        "body": row.body,
    }


def backup(url: str | Path, target: str | Path) -> tuple[int, str]:
    """Copy a record into a SQLite file while others may append to it; an existing file is replaced.

    Args:
        url: The record.
        target: The file to write. It needs no other files beside it, so it can be read from a read-only disk.

    Returns:
        Number and hash of the last row that was copied.

    Raises:
        StorageError: If the record cannot be read or the file cannot be written.
    """
    with Record.open(url, read_only=True) as record, atomic_path(target) as path:
        if record.database.dialect == "sqlite":
            _copy_file(record, path)
        else:
            _copy_rows(record, path)
        # Instead of WAL, which has two more files.
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        with Record.open(path, read_only=True) as copied:
            return copied.head()


def _copy_file(record: Record, path: Path) -> None:
    """Copy all pages within one transaction; a damaged page is copied as it is."""
    with record.database.reading() as connection:
        source = cast(sqlite3.Connection, connection.connection.dbapi_connection)
        try:
            with closing(sqlite3.connect(path)) as copy:
                source.backup(copy, pages=-1)
        except sqlite3.Error as error:
            raise StorageError(f"Cannot copy the record {record.database.title} to {path}: {error}.") from error


def _copy_rows(record: Record, path: Path) -> None:
    """Copy row by row, as the database has them: the chain is kept, and so is whatever is wrong with it."""
    query = select(RECORD).order_by(RECORD.c.seq).limit(_PAGE)
    seq = 0
    with Record.open(path) as copy:
        while True:
            with record.database.reading() as connection:
                page = [dict(row) for row in connection.execute(query.where(RECORD.c.seq > seq)).mappings()]
            if not page:
                return
            with copy.database.writing() as connection:
                connection.execute(insert(RECORD), page)
            seq = page[-1]["seq"]

"""Backups of a record while it is being written: one SQLite file with the same rows, hashes and triggers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

from sqlalchemy import insert, select

from kronos.atomic import atomic_path
from kronos.errors import StorageError
from kronos.live.record import Record
from kronos.live.schema import RECORD

_PAGE = 500  # rows of one query


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

"""Migrations of the record only add, and leave its triggers in place."""

import threading

import pytest

from kronos.errors import StorageError
from kronos.live.database import Database
from kronos.live.record import Record
from kronos.live.schema import Migration, apply_migration, load_migrations, schema_version, split_statements
from kronos.live.verification import verify
from live.databases import execute
from live.records import entries, missed

ADDITION = Migration(2, "note", ("ALTER TABLE record ADD COLUMN note TEXT", "CREATE TABLE notes (seq INTEGER)"))


def test_both_dialects_have_the_same_migrations():
    names = [[(step.number, step.name) for step in load_migrations(kind)] for kind in ("sqlite", "postgresql")]
    assert names[0] == names[1]
    assert [number for number, _ in names[0]] == list(range(1, len(names[0]) + 1))


def test_a_migration_keeps_rows_and_triggers(url):
    with Record.open(url) as record:
        rows = record.append(entries())
        apply_migration(record.database, ADDITION)
        with record.database.reading() as connection:
            assert schema_version(connection) == 2
        assert record.missing_triggers() == []
        assert list(record.rows()) == rows
        assert record.append([missed(6)])[0].seq == len(rows) + 1
        assert verify(record).ok
        apply_migration(record.database, ADDITION)  # by a second process: nothing happens


def test_a_migration_that_fails_changes_nothing(url):
    with Record.open(url) as record:
        rows = record.append(entries())
        broken = Migration(
            2, "broken", ("CREATE TABLE notes (seq INTEGER)", "ALTER TABLE nothing ADD COLUMN note TEXT")
        )
        with pytest.raises(StorageError, match=r"Cannot write the record .*nothing"):
            apply_migration(record.database, broken)
        with record.database.reading() as connection:
            assert schema_version(connection) == 1
            assert not connection.dialect.has_table(connection, "notes")
        assert list(record.rows()) == rows


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE copy AS SELECT * FROM record",
        "DROP TRIGGER record_update",
        "ALTER TABLE record RENAME TO old",
        "ALTER TABLE record ADD COLUMN note TEXT; DROP TABLE record",
        "UPDATE record SET body = ''",
        "PRAGMA writable_schema = ON",
    ],
)
def test_migrations_that_do_more_than_add_are_refused(statement):
    with pytest.raises(ValueError, match="may only add tables, indexes and columns"):
        Migration(2, "other", (statement,))


def test_a_newer_schema_is_refused(url):
    with Record.open(url) as record:
        apply_migration(record.database, ADDITION)
    for read_only in (True, False):
        with pytest.raises(
            StorageError, match=r"newer version of Kronos \(schema 2; this one knows 1\): update Kronos"
        ):
            Record.open(url, read_only=read_only)


def test_an_older_schema_is_not_migrated_by_a_reader(url):
    Record.open(url).close()
    execute(url, "DELETE FROM schema_version")
    with pytest.raises(StorageError, match="is empty: kronos live run prepares it"):
        Record.open(url, read_only=True)


def test_several_processes_may_create_the_same_record(url):
    errors = []

    def create():
        try:
            Record.open(url).close()
        except StorageError as error:
            errors.append(error)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with Database.open(url).reading() as connection:
        assert schema_version(connection) == 1


def test_statements():
    script = "-- why\nA\n  b;\nEND;\n\nF $$\nBEGIN;\n$$;\n"
    assert list(split_statements(script)) == ["A\n  b;\nEND", "F $$\nBEGIN;\n$$"]
    with pytest.raises(ValueError, match="the last statement has no end: A"):
        list(split_statements("A\n"))

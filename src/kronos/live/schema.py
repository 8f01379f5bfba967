"""The schema of the record: numbered migrations, and triggers that refuse every change of a row.

``migrations/NNNN_name.dialect.sql`` only add tables, indexes and columns: a migration that copies a table would lose
the triggers, and with them the promise that no row ever changes. Each is one transaction, which ends with creating the
triggers of ``migrations/triggers.dialect.sql`` anew and checking that they are there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, func, insert, inspect, select, text

from kronos.errors import StorageError
from kronos.live.database import Database

_METADATA = MetaData()
RECORD = Table(
    "record",
    _METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    *(Column(name, Text, nullable=False) for name in ("kind", "series", "origin", "slot", "hash", "body")),
)
_VERSIONS = Table(
    "schema_version",
    _METADATA,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("applied_at", Text, nullable=False),
)
_FOLDER = files("kronos.live") / "migrations"
_NAME = re.compile(r"(\d{4})_(\w+)\.(\w+)\.sql")
_ADDITION = re.compile(r"(CREATE TABLE \w+ \(|CREATE (UNIQUE )?INDEX |ALTER TABLE \w+ ADD COLUMN )[^;]*")
_TRIGGER = re.compile(r"CREATE TRIGGER (\w+) .*", re.DOTALL)
_FUNCTION = re.compile(r"CREATE OR REPLACE FUNCTION (\w+)\(\).*?\$\$(.*?)\$\$", re.DOTALL)


@dataclass(frozen=True)
class Migration:
    """A step of the schema.

    Attributes:
        number: Version of the schema after it, from 1.
        name: Short name.
        statements: SQL that only adds tables, indexes and columns.
    """

    number: int
    name: str
    statements: tuple[str, ...]

    def __post_init__(self) -> None:
        for statement in self.statements:
            if not _ADDITION.fullmatch(statement):
                raise ValueError(
                    f"migration {self.number} may only add tables, indexes and columns, not: {statement[:60]}"
                )


def load_migrations(dialect: str) -> tuple[Migration, ...]:
    """Load the migrations of a dialect in their order.

    Raises:
        ValueError: If one does more than add tables, indexes and columns.
    """
    found = []
    for path in _FOLDER.iterdir():
        match = _NAME.fullmatch(path.name)
        if match and match[3] == dialect:
            found.append(Migration(int(match[1]), match[2], tuple(split_statements(path.read_text("utf-8")))))
    return tuple(sorted(found, key=lambda migration: migration.number))


def schema_version(connection: Connection) -> int:
    """Return the version of the schema; 0 for a database without a record."""
    if not inspect(connection).has_table(_VERSIONS.name):
        return 0
    return int(connection.scalar(select(func.coalesce(func.max(_VERSIONS.c.version), 0))) or 0)


def prepare(database: Database) -> None:
    """Create or migrate the schema; with a read-only database, check it.

    Raises:
        StorageError: If the schema is newer than this program, or cannot be migrated.
    """
    migrations = load_migrations(database.dialect)
    latest = migrations[-1].number
    with database.reading() as connection:
        version = schema_version(connection)
    if version > latest:
        raise StorageError(
            f"The record {database.title} was written by a newer version of Kronos (schema {version}; this one knows "
            f"{latest}): update Kronos."
        )
    if version < latest and database.read_only:
        state = f"has schema {version}, not {latest}" if version else "is empty"
        raise StorageError(f"The record {database.title} {state}: kronos live run prepares it.")
    for migration in migrations:
        if migration.number > version:
            apply_migration(database, migration)


def apply_migration(database: Database, migration: Migration) -> None:
    """Apply a migration in one transaction, unless another process has done so.

    Raises:
        StorageError: If it fails; nothing has changed then.
    """
    with database.writing() as connection:
        if schema_version(connection) >= migration.number:
            return
        for statement in migration.statements:
            connection.exec_driver_sql(statement)
        create_triggers(connection)
        if missing := missing_triggers(connection):
            raise StorageError(f"Cannot migrate the record {database.title}: {', '.join(missing)} not created.")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        connection.execute(insert(_VERSIONS).values(version=migration.number, name=migration.name, applied_at=now))


def create_triggers(connection: Connection) -> None:
    """Create the triggers, replacing those that exist."""
    # Without parameters, so that a % in a function's text is one.
    for statement in split_statements(_trigger_text(connection.dialect.name)):
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def missing_triggers(connection: Connection) -> list[str]:
    """Return the names of triggers that are missing, switched off or not as they were created, with their functions."""
    dialect = connection.dialect.name
    expected = {}
    for statement in split_statements(_trigger_text(dialect)):
        if match := _TRIGGER.fullmatch(statement):
            expected[match[1]] = match[0]
        elif match := _FUNCTION.match(statement):
            expected[match[1]] = match[2]
    # A trigger of PostgreSQL that is not enabled always can be switched off for a session.
    query = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'record'",
        "postgresql": """
            SELECT tgname, pg_get_triggerdef(oid, true) FROM pg_trigger
            WHERE tgrelid = to_regclass('record') AND tgenabled = 'A'
            UNION ALL
            SELECT proname, prosrc FROM pg_proc
            WHERE oid IN (SELECT tgfoid FROM pg_trigger WHERE tgrelid = to_regclass('record'))
        """,
    }
    found = {row[0]: row[1] for row in connection.execute(text(query[dialect]))}
    return [name for name, sql in expected.items() if found.get(name) != sql]


def split_statements(script: str) -> Iterator[str]:
    """Split a script of SQL into its statements, without the comments between them.

    A statement ends with a line that is not indented and ends with a semicolon, outside of ``$$``.

    Raises:
        ValueError: If the last statement has no end.
    """
    statement: list[str] = []
    quoted = False
    for line in script.splitlines():
        if not statement and (not line or line.startswith("--")):
            continue
        statement.append(line)
        quoted ^= line.count("$$") % 2 == 1
        if line.endswith(";") and not line.startswith(" ") and not quoted:
            yield "\n".join(statement).removesuffix(";")
            statement = []
    if statement:
        raise ValueError(f"the last statement has no end: {statement[0]}")


def _trigger_text(dialect: str) -> str:
    return (_FOLDER / f"triggers.{dialect}.sql").read_text("utf-8")

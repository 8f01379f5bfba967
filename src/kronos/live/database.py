"""Connections to the record's database: SQLite, or PostgreSQL by URL, with errors that say what to do.

Writers wait for each other: SQLite by ``BEGIN IMMEDIATE``, PostgreSQL by an advisory lock that ends with the
transaction. SQLite writes ahead (WAL) and waits for the disk at each commit, so a commit that has returned survives a
power failure. Readers of either never wait for a writer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

from kronos.errors import ParameterError, StorageError
from kronos.formatting import expand_user

try:
    from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
    from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
    from sqlalchemy.exc import TimeoutError as PoolTimeoutError
    from sqlalchemy.pool import QueuePool
except ImportError:
    raise ParameterError(
        "The live record needs SQLAlchemy: install it with pip install 'kronos-forecast[live]'."
    ) from None

BUSY_TIMEOUT = 5  # seconds to wait for another writer or a server
_LOCK = 0x6B726F6E6F73  # "kronos": the key of PostgreSQL's advisory lock
_BUSY = f"another program has been writing for {BUSY_TIMEOUT} seconds; wait until it ends, or stop it"
_SQLITE_REASONS = {
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
    "SQLITE_FULL": "the disk is full; free some space and try again",
    "SQLITE_IOERR": "the disk is full or failing; free some space or check the disk, and try again",
    "SQLITE_READONLY": "permission denied; change the permissions of the file and its folder",
    "SQLITE_PERM": "permission denied; change the permissions of the file and its folder",
    "SQLITE_AUTH": "permission denied; change the permissions of the file and its folder",
    "SQLITE_CANTOPEN": "it cannot be opened; check that its folder exists and its permissions",
    "SQLITE_CORRUPT": "the file is damaged; keep a copy of it and restore a backup",
    "SQLITE_NOTADB": "the file is no SQLite database; choose another path",
}
_POSTGRESQL_REASONS = {
    "08": "the server is unreachable; start it, or check the address",
    "28": "the server refuses the user or the password; check the URL",
    "3D": "there is no such database on the server; create it, or check the URL",
    "42501": "permission denied; grant the user SELECT and INSERT on the tables",
    "53100": "the server's disk is full; free some space and try again",
    "53300": "the server has too many connections; try again later",
    "55P03": _BUSY,
    "57": "the server is stopping or has ended the connection; try again once it runs",
}


# Without the tables or with unreadable pages, it is no longer what this program wrote.
_DAMAGED = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "XX001", "XX002", "42P01", "42703"})


class DamagedRecord(StorageError):  # noqa: N818 (a finding of the verification)
    """The database can be reached, but not read as a record."""


class Database:
    """A database of a record.

    Attributes:
        engine: The engine.
        title: Path or URL for messages, without the password.
        read_only: Whether nothing can be written.
    """

    def __init__(self, engine: Engine, title: str, *, read_only: bool) -> None:
        self.engine, self.title, self.read_only = engine, title, read_only

    @classmethod
    def open(cls, url: str | Path, *, read_only: bool = False) -> Database:
        """Open a database; the first connection is made when it is used.

        Args:
            url: Path of a SQLite file, ``sqlite:///path``, or ``postgresql://user:password@host/name``.
            read_only: Open an existing database without the right to write, while others may write.

        Raises:
            ParameterError: If the URL is of another kind, or the driver is not installed.
            StorageError: If a SQLite file does not exist and ``read_only``, or its folder cannot be created.
        """
        parsed = parse_url(url)
        if isinstance(parsed, URL):
            return cls(_postgresql(parsed, read_only=read_only), _title(parsed), read_only=read_only)
        if read_only and not parsed.is_file():
            raise StorageError(f"There is no record {parsed}: kronos live run creates it.")
        if not read_only:
            try:
                parsed.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                reason = "its folder cannot be created; choose another path"
                raise StorageError(f"Cannot open the record {parsed}: {reason}.") from error
        return cls(_sqlite(parsed, read_only=read_only), str(parsed), read_only=read_only)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection within a transaction that sees one state of the database.

        Raises:
            StorageError: If the database cannot be read.
        """
        with self._errors("read"), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection within a transaction that excludes other writers, and commit if the block succeeds.

        Raises:
            StorageError: If the database cannot be written.
        """
        options = {"kronos_writing": True}
        with (
            self._errors("write"),
            self.engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            if self.dialect == "postgresql":
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_TIMEOUT}s'")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            yield connection

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        """Turn errors of the database into a `StorageError`."""
        try:
            yield
        except DBAPIError as error:
            kind = DamagedRecord if _state(error) in _DAMAGED else StorageError
            raise kind(f"Cannot {verb} the record {self.title}: {_reason(error)}.") from error
        except PoolTimeoutError as error:
            raise StorageError(f"Cannot {verb} the record {self.title}: all connections are in use.") from error
        except SQLAlchemyError as error:
            # A broken file can make any statement fail; the class says more than the message, which quotes the SQL.
            raise StorageError(f"Cannot {verb} the record {self.title}: {type(error).__name__}.") from error


def parse_url(url: str | Path) -> Path | URL:
    """Parse what names a database: a path of SQLite, or a URL of PostgreSQL.

    Raises:
        ParameterError: If it is of another kind.
    """
    text = str(url)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return expand_user(Path(text))
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return expand_user(Path(rest[1:]))
    if scheme in ("postgresql", "postgres"):
        try:
            return make_url(text).set(drivername="postgresql+psycopg")
        except (ArgumentError, ValueError):
            # Without its cause, which may quote the password.
            raise ParameterError(
                "The URL of the record cannot be read: write it like postgresql://user:password@host:5432/name."
            ) from None
    raise ParameterError(f"Unknown kind of record '{scheme}://': give a path, sqlite:///path or postgresql://….")


def _title(url: URL) -> str:
    """The URL without password and options, which may have another one."""
    return url.set(drivername="postgresql", query={}).render_as_string(hide_password=True)


def _sqlite(path: Path, *, read_only: bool) -> Engine:
    def connect() -> sqlite3.Connection:
        mode = "ro" if read_only else "rwc"
        address = f"file:{quote(str(path.absolute()))}?mode={mode}"
        connection = sqlite3.connect(
            address, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        # A byte changed on disk may not be UTF-8: it is for the verification to find, not for the driver to refuse.
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA recursive_triggers = ON")
        return connection

    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=QueuePool, pool_timeout=30)

    # The driver would begin a transaction only before the first change, too late to exclude other writers.
    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("kronos_writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _postgresql(url: URL, *, read_only: bool) -> Engine:
    defaults = {
        "connect_timeout": BUSY_TIMEOUT,
        "client_encoding": "utf8",
        "tcp_user_timeout": 30_000,
        "application_name": "kronos live",
    }
    options = {name: value for name, value in defaults.items() if name not in url.query}
    try:
        engine = create_engine(
            url, connect_args=options, isolation_level="READ COMMITTED", pool_pre_ping=True, pool_timeout=30
        )
    except ImportError:
        raise ParameterError(
            "A record in PostgreSQL needs psycopg: install it with pip install 'kronos-forecast[postgres]'."
        ) from None

    if read_only:

        @event.listens_for(engine, "connect")
        def forbid_writing(connection: sqlite3.Connection, _: object) -> None:
            connection.read_only = True  # type: ignore[attr-defined]  # a connection of psycopg

    return engine


def _state(error: DBAPIError) -> str:
    """The code of the driver's error: SQLite's name of it, without its details, or PostgreSQL's state."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return "_".join((getattr(cause, "sqlite_errorname", "") or "").split("_")[:2])
    return getattr(cause, "sqlstate", None) or ""


def _reason(error: DBAPIError) -> str:
    """What is wrong, and what to do about it."""
    state, first = _state(error), str(error.orig).strip().partition("\n")[0]
    if isinstance(error.orig, sqlite3.Error):
        return _SQLITE_REASONS.get(state, first)
    if not state:  # the connection failed, for which the driver has only words, or broke
        words = {"authentication": "28", "password": "28", "does not exist": "3D", "too many": "53300"}
        return _POSTGRESQL_REASONS[next((state for word, state in words.items() if word in first), "08")]
    # The first line of the message; what follows quotes the statement.
    return _POSTGRESQL_REASONS.get(state) or _POSTGRESQL_REASONS.get(state[:2]) or first

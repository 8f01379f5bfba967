"""Databases of the tests: files of SQLite, and a private cluster of PostgreSQL."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

_NAMES = count()


def server_programs() -> Path:
    """The folder of initdb and pg_ctl; the newest of Debian's, or the one on the PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    found = shutil.which("initdb")
    if not versions and not found:
        reason = "needs the server of PostgreSQL: apt-get install postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return versions[-1] if versions else Path(found).parent


@contextmanager
def postgresql_cluster() -> Iterator[str]:
    """Start a cluster in a temporary folder, on a socket only; yield the folder of the socket."""
    programs = server_programs()
    # Not in the folder of the test, whose path may be too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    runner: list[str] = []
    if os.geteuid() == 0:  # which the server refuses
        shutil.chown(folder, "postgres")
        runner = ["runuser", "-u", "postgres", "--"]
    data = folder / "data"
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c shared_buffers=16MB"

    def call(program: str, *arguments: str) -> None:
        command = [*runner, str(programs / program), "-D", str(data), *arguments]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")

    try:
        call("initdb", "-U", "kronos", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        call("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield str(folder)
        finally:
            call("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_database(folder: str) -> str:
    """Create a database in a cluster; its URL."""
    name = f"record{next(_NAMES)}"
    with psycopg.connect(f"postgresql://kronos@/postgres?host={folder}", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://kronos@/{name}?host={folder}"


@contextmanager
def connected(url: str) -> Iterator[sqlite3.Connection | psycopg.Connection]:
    """A connection of another client, which commits each statement."""
    if "://" in url:
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection
    else:
        with closing(sqlite3.connect(url, isolation_level=None)) as connection:
            yield connection


def execute(url: str, *statements: str) -> None:
    """Execute statements by another client, in one connection."""
    with connected(url) as connection:
        for statement in statements:
            connection.execute(statement)

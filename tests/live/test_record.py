"""The record: entries in, the same entries out, in one order and one chain, whichever the database."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

import forks
from kronos.errors import ParameterError, StorageError
from kronos.live import database
from kronos.live.chain import GENESIS, broken_links
from kronos.live.record import AlreadyRecorded, Record, entry_of
from kronos.live.verification import verify
from live.databases import connected, execute
from live.records import HORIZON, SERIES, entries, forecast, missed, protocol, score, time, unresolved


def test_entries_come_back_as_they_were(url):
    with Record.open(url) as record:
        assert record.head() == (0, GENESIS)
        rows = record.append(entries())
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        assert list(record.rows()) == rows
        assert [entry_of(row) for row in rows] == entries()
        assert list(broken_links(rows)) == []
        assert record.head() == (rows[-1].seq, rows[-1].hash)
    with Record.open(url) as record:
        assert list(record.rows()) == rows, "another process reads the same"


def test_both_databases_have_the_same_hashes(postgresql, tmp_path):
    with Record.open(postgresql) as one, Record.open(tmp_path / "record.db") as other:
        for entry in entries():
            assert one.append([entry]) == other.append([entry])


def test_questions(url):
    with Record.open(url) as record:
        rows = record.append(entries())
        other = protocol("ETHUSDT").series
        assert [entry.series for entry in record.protocols()] == [SERIES, other]
        assert record.last_origin(SERIES) == time(5)
        assert record.last_origin("nothing") is None
        assert record.origin_entry(SERIES, time(2)) == missed(2)
        assert record.origin_entry(SERIES, time(9)) is None
        assert record.unsettled(SERIES) == [forecast(4), forecast(5)]
        assert record.unsettled(other) == []
        assert list(record.rows(other)) == [row for row in rows if row.series == other]
        assert list(record.rows(kinds=("score", "late"))) == [row for row in rows if row.kind in ("score", "late")]
        assert list(record.rows(after_seq=10)) == rows[10:]
        assert [row.origin for row in record.rows(SERIES, origins=(time(1), time(2)))] == [time(1), time(2)]
        latest = record.latest_entries(SERIES, ("forecast", "missed"), 3)
        assert latest == [forecast(3), forecast(4), forecast(5)]
        assert record.missing_triggers() == []


def test_more_rows_than_a_page(url):
    with Record.open(url) as record:
        record.append([protocol(), *(missed(hour) for hour in range(1_200))])
        assert [row.seq for row in record.rows()] == list(range(1, 1_202))
        assert len(list(record.rows(kinds=("missed",), after_seq=700))) == 501


def test_an_origin_is_recorded_once(url):
    with Record.open(url) as record:
        rows = record.append([protocol(), forecast(0)])
        for second in (missed(0), forecast(0, late=True)):
            with pytest.raises(AlreadyRecorded, match=r"another entry for this origin: forecast of 2026.*, row 2"):
                record.append([forecast(1), second])
        record.append([score(forecast(0))])
        with pytest.raises(AlreadyRecorded, match="row 3"):
            record.append([unresolved(forecast(0))])
        assert [row.kind for row in record.rows()] == ["protocol", "forecast", "score"], "all or none"
        assert list(record.rows())[:2] == rows


def test_a_call_of_unknown_outcome_can_be_repeated(url):
    with Record.open(url) as record:
        rows = record.append([protocol(), forecast(0)])
        assert record.append([protocol(), forecast(0)]) == rows
        assert record.append([forecast(0), missed(1), missed(1)])[1:] == [list(record.rows())[-1]] * 2
        assert record.head()[0] == 3


def test_numbers_that_are_not_finite_are_refused(url):
    with Record.open(url) as record:
        entry = forecast(0)
        entry.history["candles"] = float("nan")
        with pytest.raises(ValueError, match="not JSON compliant"):
            record.append([protocol(), entry])
        assert record.head()[0] == 0


def test_reading_while_another_writes(url):
    with Record.open(url) as writer, Record.open(url, read_only=True) as reader:
        writer.append([protocol(), *(missed(hour) for hour in range(700))])
        rows = reader.rows()
        assert next(rows).kind == "protocol"
        with writer.database.writing():
            assert reader.head()[0] == 701, "a reader does not wait for a writer"
        writer.append([missed(700)])
        assert sum(1 for _ in rows) == 701
        with pytest.raises(StorageError, match=r"Cannot write|read-only"):
            reader.append([missed(701)])


@given(st.lists(st.sampled_from(["forecast", "late", "missed", "settle", "give up", "repeat"]), max_size=20), st.data())
@settings(max_examples=25)
def test_every_sequence_of_appends_gives_a_valid_record(steps, data):
    with tempfile.TemporaryDirectory() as folder, Record.open(Path(folder, "record.db")) as record:
        record.append([protocol()])
        hour, batch = 0, []
        pending = []
        for step in steps:
            if step in ("forecast", "late", "missed"):
                entry = missed(hour) if step == "missed" else forecast(hour, late=step == "late")
                pending += [entry] * (step == "forecast")
                hour += 1
            elif step == "repeat" or not pending or time(hour) < time(pending[0].seed + HORIZON):
                entry = protocol()
            else:
                settled = pending.pop(0)
                entry = score(settled) if step == "settle" else unresolved(settled)
            batch.append(entry)
            if data.draw(st.booleans()):
                record.append(batch)
                batch = []
        record.append(batch)
        found = verify(record)
        assert found.problems == ()
        assert (found.rows, found.head) == (record.head()[0], record.head())


# Failures -------------------------------------------------------------------------------------------------------------


def test_a_locked_database(url, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.1)
    with Record.open(url) as record, connected(url) as other:
        record.append([protocol()])
        if record.database.dialect == "sqlite":
            other.execute("BEGIN IMMEDIATE")
        else:
            other.execute(f"SELECT pg_advisory_lock({database._LOCK})")
        with pytest.raises(StorageError, match=r"another program has been writing for .* wait until it ends"):
            record.append([missed(0)])
        if record.database.dialect == "sqlite":
            other.execute("ROLLBACK")
        else:
            other.execute(f"SELECT pg_advisory_unlock({database._LOCK})")
        assert record.append([missed(0)])[0].seq == 2


def test_a_full_disk(tmp_path):
    with Record.open(tmp_path / "record.db") as record:
        record.append([protocol()])

        @event.listens_for(record.database.engine, "begin")
        def fill(connection):
            connection.exec_driver_sql(f"PRAGMA max_page_count = {room}")

        room = 1
        with pytest.raises(StorageError, match="the disk is full; free some space"):
            record.append([missed(hour) for hour in range(500)])
        room = 100_000
        assert len(record.append([missed(hour) for hour in range(500)])) == 500
        assert verify(record).ok


def test_a_server_that_restarts(postgresql):
    with Record.open(postgresql) as record:
        record.append([protocol()])
        execute(
            postgresql,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kronos live' "
            "AND datname = current_database()",
        )
        assert record.append([missed(0)])[0].seq == 2


def test_a_server_that_cannot_be_reached(cluster):
    with pytest.raises(StorageError, match="the server is unreachable; start it, or check the address") as info:
        Record.open("postgresql://kronos:secret@127.0.0.1:1/record?connect_timeout=2")
    assert "secret" not in str(info.value)
    with pytest.raises(StorageError, match="there is no such database on the server"):
        Record.open(f"postgresql://kronos:secret@/nothing?host={cluster}")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://root:secret@host/name", r"Unknown kind of record 'mysql://': give a path, sqlite:///path or"),
        ("sqlite://", r"Unknown kind of record 'sqlite://'"),
        ("postgresql://kronos:secret@host:port/name", r"The URL of the record cannot be read: write it like"),
    ],
)
def test_urls_that_name_no_record(url, message):
    with pytest.raises(ParameterError, match=message) as info:
        Record.open(url)
    assert "secret" not in str(info.value)


def test_paths_and_urls_of_sqlite(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Record.open("sqlite:///new/record.db") as record:
        rows = record.append([protocol()])
    for url in ("new/record.db", Path("new/record.db"), f"sqlite:///{tmp_path}/new/record.db"):
        with Record.open(url, read_only=True) as record:
            assert list(record.rows()) == rows


def test_files_that_are_no_record(tmp_path):
    with pytest.raises(StorageError, match=r"There is no record .*: kronos live run creates it"):
        Record.open(tmp_path / "nothing.db", read_only=True)
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(StorageError, match="the file is no SQLite database; choose another path"):
        Record.open(tmp_path / "text.db")
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(StorageError, match="is empty: kronos live run prepares it"):
        Record.open(tmp_path / "empty.db", read_only=True)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="its folder cannot be created"):
        Record.open(tmp_path / "file" / "record.db")


# Several writers ------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from kronos.errors import StorageError
from kronos.live.record import Record
from live.records import missed, protocol
url, symbol = sys.argv[1:]
series = protocol(symbol).series

def append(record, entries):
    while True:  # on a busy machine the other writer may hold the lock for longer than the database waits
        try:
            return record.append(entries)
        except StorageError as error:
            print(error, file=sys.stderr)

with Record.open(url) as record:
    append(record, [protocol(symbol)])
    hour = sum(1 for _ in record.rows(series)) - 1
    print("ready", flush=True)
    while True:
        append(record, [missed(hour, series), missed(hour + 1, series)])
        hour += 2
        print(hour, flush=True)
"""


@pytest.mark.slow
def test_writers_that_are_killed_leave_no_gap_and_no_half(url):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}

    def start(symbol):
        command, preload = [sys.executable, "-c", WRITER, url, symbol], ("kronos.live.record", "live.records")
        return forks.Popen(command, preload=preload, stdout=subprocess.PIPE, env=environment)

    written = dict.fromkeys(("BTCUSDT", "ETHUSDT"), 0)
    writers = {symbol: start(symbol) for symbol in written}
    try:
        for killed in ("BTCUSDT", "ETHUSDT", "BTCUSDT"):
            for symbol, writer in writers.items():
                lines = [writer.stdout.readline() for _ in range(20)]
                written[symbol] = int(lines[-1])
            writers[killed].send_signal(signal.SIGKILL)
            rest = writers[killed].communicate()[0].split()
            written[killed] = int(rest[-1]) if rest else written[killed]
            writers[killed] = start(killed)
    finally:
        for writer in writers.values():
            writer.kill()
            writer.communicate()
    with Record.open(url, read_only=True) as record:
        assert verify(record).problems == ()
        for symbol, hours in written.items():
            found = [row for row in record.rows(protocol(symbol).series) if row.kind == "missed"]
            assert len(found) >= hours, "what was acknowledged is there"
            assert len(found) % 2 == 0, "both entries of a transaction, or none"

"""Attacks on the record by other clients of the database: refused, or found by the verification."""

import random
import shutil
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.errors import StorageError
from kronos.live.chain import canonical_json, chain_hash
from kronos.live.record import Record
from kronos.live.schema import create_triggers
from kronos.live.verification import verify
from live.databases import connected, execute
from live.records import SERIES, entries, forecast, missed, protocol

COLUMNS = "seq, kind, series, origin, slot, hash, body"
CHANGED = "seq, kind, series, origin, slot, hash, replace(body, '2026', '2025')"
NEXT = "(SELECT max(seq) + 1 FROM record)"
GAP = "(SELECT max(seq) + 2 FROM record)"
TRIGGERS = {
    "sqlite": ["record_update", "record_delete", "record_insert"],
    "postgresql": ["record_change", "record_truncate", "record_insert"],
}


@pytest.fixture
def rows(url):
    """The rows of a record that is open for nobody."""
    with Record.open(url) as record:
        return record.append(entries())


def found(url, heads=()):
    with Record.open(url, read_only=True) as record:
        return verify(record, heads)


def dialect(url):
    return "postgresql" if "://" in url else "sqlite"


def drop_triggers(url):
    on = " ON record" if dialect(url) == "postgresql" else ""
    execute(url, *(f"DROP TRIGGER {name}{on}" for name in TRIGGERS[dialect(url)]))


def restore_triggers(url):
    """Put the triggers back, as somebody does who hides what he did."""
    with Record.open(url) as record, record.database.writing() as connection:
        create_triggers(connection)


REFUSED = [
    "UPDATE record SET body = replace(body, '2026', '2025') WHERE seq = 2",
    "UPDATE record SET seq = 100 WHERE seq = 2",
    "UPDATE record SET hash = hash",
    "DELETE FROM record",
    f"DELETE FROM record WHERE seq = {NEXT} - 1",
    f"INSERT INTO record ({COLUMNS}) SELECT {CHANGED} FROM record WHERE seq = 2",
    f"INSERT INTO record ({COLUMNS}) SELECT {CHANGED} FROM record WHERE seq = 2 ON CONFLICT DO NOTHING",
    f"INSERT INTO record ({COLUMNS}) SELECT {CHANGED} FROM record WHERE seq = 2 "
    "ON CONFLICT (seq) DO UPDATE SET body = excluded.body",
    f"INSERT INTO record ({COLUMNS}) SELECT {CHANGED.replace('seq', NEXT)} FROM record WHERE seq = 2 "
    "ON CONFLICT (series, slot, origin) DO UPDATE SET body = excluded.body",
    f"INSERT INTO record ({COLUMNS}) SELECT {COLUMNS.replace('seq', NEXT)} FROM record WHERE seq = 2",
    f"INSERT INTO record ({COLUMNS}) SELECT {COLUMNS.replace('seq', GAP).replace('slot', 'hash')} FROM record "
    "WHERE seq = 2",
]
REFUSED_BY = {
    "sqlite": [
        f"INSERT OR REPLACE INTO record ({COLUMNS}) SELECT {CHANGED} FROM record WHERE seq = 2",
        f"REPLACE INTO record ({COLUMNS}) SELECT {CHANGED} FROM record WHERE seq = 2",
        f"REPLACE INTO record ({COLUMNS}) SELECT {CHANGED.replace('seq', NEXT)} FROM record WHERE seq = 2",
        f"INSERT OR IGNORE INTO record ({COLUMNS}) SELECT {CHANGED} FROM record WHERE seq = 2",
        "UPDATE OR REPLACE record SET seq = 3 WHERE seq = 2",
        "INSERT INTO record (kind, series, origin, slot, hash, body) "
        "SELECT kind, series, '', slot, hash, body FROM record WHERE seq = 2",
    ],
    "postgresql": [
        "TRUNCATE record",
        "SET session_replication_role = replica; DELETE FROM record",
        "MERGE INTO record USING (SELECT 2 AS n) AS other ON seq = n WHEN MATCHED THEN UPDATE SET body = 'x'",
        "WITH gone AS (DELETE FROM record WHERE seq = 2 RETURNING *) SELECT count(*) FROM gone",
    ],
}


def test_changes_are_refused(url, rows):
    for statement in REFUSED + REFUSED_BY[dialect(url)]:
        with pytest.raises((sqlite3.Error, psycopg.Error)) as info:
            execute(url, statement)
        assert "append-only" in str(info.value), statement
    with Record.open(url) as record:
        assert list(record.rows()) == rows
        assert verify(record).problems == ()


HIDDEN = {
    "sqlite": {
        "the table copied by a migration": [
            f"CREATE TABLE copy AS SELECT {CHANGED} FROM record",
            "DROP TABLE record",
            "ALTER TABLE copy RENAME TO record",
            "CREATE UNIQUE INDEX record_key ON record (series, slot, origin)",
        ],
        "triggers removed from the schema": [
            "PRAGMA writable_schema = ON",
            "DELETE FROM sqlite_master WHERE type = 'trigger'",
        ],
        "a trigger that does nothing": [
            "DROP TRIGGER record_update",
            "CREATE TRIGGER record_update BEFORE UPDATE ON record BEGIN SELECT 1; END",
        ],
        "an index of other columns": [
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_master SET sql = 'CREATE UNIQUE INDEX record_key ON record (series, origin, slot)' "
            "WHERE name = 'record_key'",
        ],
    },
    "postgresql": {
        "the table copied by a migration": [
            f"CREATE TABLE copy AS SELECT {CHANGED} FROM record",
            "DROP TABLE record",
            "ALTER TABLE copy RENAME TO record",
        ],
        "a column rewritten": ["ALTER TABLE record ALTER body TYPE text USING replace(body, '2026', '2025')"],
        "a function that does nothing": [
            "CREATE OR REPLACE FUNCTION record_is_append_only() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN RETURN NEW; END $$"
        ],
        "a trigger switched off": ["ALTER TABLE record DISABLE TRIGGER record_truncate"],
        "triggers that replication skips": ["ALTER TABLE record ENABLE TRIGGER record_change"],
    },
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, attacks in HIDDEN.items() for name in attacks])
def test_what_cannot_be_refused_is_found(kind, name, tmp_path, request):
    url = str(tmp_path / "record.db") if kind == "sqlite" else request.getfixturevalue("postgresql")
    with Record.open(url) as record:
        record.append(entries())
    execute(url, *HIDDEN[kind][name])
    assert not found(url).ok


def test_each_missing_trigger_is_found(url, rows):
    names = TRIGGERS[dialect(url)]
    on = " ON record" if dialect(url) == "postgresql" else ""
    for i, name in enumerate(names):
        execute(url, f"DROP TRIGGER {name}{on}")
        problems = found(url).problems
        assert [seq for seq, _ in problems] == [None] * (i + 1) or dialect(url) == "postgresql"
        assert any(name in sentence for _, sentence in problems)
    restore_triggers(url)
    assert found(url).ok


def test_a_change_is_found_when_the_triggers_are_back(url, rows):
    drop_triggers(url)
    execute(url, "UPDATE record SET body = replace(body, '\"last_close\":100.0', '\"last_close\":101.0') WHERE seq = 2")
    restore_triggers(url)
    problems = found(url).problems
    assert (2, "its hash does not follow from its text and the previous hash") in problems


def test_a_removed_row_is_found(url, rows):
    drop_triggers(url)
    execute(url, "DELETE FROM record WHERE seq = 4")
    restore_triggers(url)
    assert (5, "rows 4–4 are missing") in found(url).problems


def test_a_truncated_record_is_found_by_a_published_head(url, rows):
    heads = [(row.seq, row.hash) for row in rows[::4]] + [(rows[-1].seq, rows[-1].hash)]
    assert found(url, heads).ok
    drop_triggers(url)
    execute(url, f"DELETE FROM record WHERE seq > {len(rows) - 2}")
    restore_triggers(url)
    assert found(url).ok, "the chain alone does not tell"
    assert found(url, heads).problems == (
        (None, f"row {len(rows)} was published, but the record ends at row {len(rows) - 2}"),
    )


def test_a_rewritten_chain_is_found_by_a_published_head(url, rows):
    drop_triggers(url)
    execute(url, "DELETE FROM record")
    restore_triggers(url)
    with Record.open(url) as record:
        record.append(entries()[:3])
        record.append([replace(missed(2), reason="rain")])
        record.append(entries()[4:])
    assert found(url).ok
    problems = found(url, [(rows[1].seq, rows[1].hash), (rows[-1].seq, rows[-1].hash)]).problems
    assert problems == ((rows[-1].seq, f"its hash is not {rows[-1].hash}, which was published"),)


def test_reordered_rows_are_found(url, rows):
    drop_triggers(url)
    execute(
        url,
        "UPDATE record SET seq = 1000 WHERE seq = 3",
        "UPDATE record SET seq = 3 WHERE seq = 4",
        "UPDATE record SET seq = 4 WHERE seq = 1000",
    )
    restore_triggers(url)
    assert {seq for seq, _ in found(url).problems} >= {3, 4}


def test_rows_with_a_chain_that_is_no_text(tmp_path):
    url = str(tmp_path / "record.db")
    with Record.open(url) as record:
        record.append(entries())
    drop_triggers(url)
    execute(
        url,
        "PRAGMA ignore_check_constraints = ON",
        "UPDATE record SET body = CAST(body AS BLOB) WHERE seq = 2",
        "UPDATE record SET hash = x'00ff' WHERE seq = 4",
    )
    restore_triggers(url)
    assert {(2, "a column is no text"), (4, "a column is no text")} <= set(found(url).problems)


# Bytes and columns ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A record of SQLite as one file."""
    path = tmp_path_factory.mktemp("original") / "record.db"
    with Record.open(path) as record:
        record.append(entries())
    execute(str(path), "PRAGMA journal_mode = DELETE")
    return path


def is_noticed(data, tmp_path):
    """Whether the content of a changed file is refused or found to be wrong."""
    path = tmp_path / "record.db"
    path.write_bytes(data)
    try:
        return not found(path).ok
    except StorageError:
        return True


def is_harmless(original, path):
    """Whether a file has the same rows as the original."""
    with Record.open(original, read_only=True) as expected, Record.open(path, read_only=True) as record:
        return list(record.rows()) == list(expected.rows())


@pytest.mark.parametrize("needle", ["last_close", "crps", "paths", "origin", "missed", "protocol", "hash", SERIES])
def test_a_byte_changed_on_disk_is_found(original, tmp_path, needle):
    data = bytearray(original.read_bytes())
    with Record.open(original, read_only=True) as record:
        [row, *_] = record.rows(kinds=("score",))
        text = row.hash if needle == "hash" else needle
    places = [i for i in range(len(data)) if data.startswith(text.encode(), i)]
    assert places
    for place in {places[0], places[len(places) // 2], places[-1]}:
        changed = bytearray(data)
        changed[place] ^= 1
        assert is_noticed(changed, tmp_path), place


@pytest.mark.slow
def test_any_byte_changed_on_disk_is_found_or_harmless(original, tmp_path):
    data, rng = original.read_bytes(), random.Random(0)
    for place in rng.sample(range(len(data)), 60):
        changed = bytearray(data)
        changed[place] ^= 1 << rng.randrange(8)
        assert is_noticed(changed, tmp_path) or is_harmless(original, tmp_path / "record.db"), place


def test_a_byte_changed_in_the_log_of_sqlite_is_found(tmp_path):
    """SQLite ignores what follows a broken page of its log, so that the last rows are gone."""
    with Record.open(tmp_path / "record.db") as record:
        record.append(entries()[:4])
        execute(str(tmp_path / "record.db"), "PRAGMA wal_checkpoint(TRUNCATE)")
        head = record.append(entries()[4:])[-1]
        copy = Path(shutil.copytree(tmp_path, tmp_path / "copy"))
    log = copy / "record.db-wal"
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    assert (None, f"row {head.seq} was published, but the record ends at row 4") in found(
        copy / "record.db", [(head.seq, head.hash)]
    ).problems


def test_a_truncated_file_is_found(original, tmp_path):
    data = original.read_bytes()
    for size in (0, 100, 4096, len(data) // 2, len(data) - 4096, len(data) - 1):
        assert is_noticed(data[:size], tmp_path), size


@pytest.mark.parametrize("number", [0, -1, -(2**63)])
def test_a_last_row_whose_number_is_below_1_is_found(original, tmp_path, number):
    url = str(shutil.copy(original, tmp_path))
    drop_triggers(url)
    with connected(url) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE record SET seq = ? WHERE seq = (SELECT max(seq) FROM record)", (number,))
    restore_triggers(url)
    assert (number, "its number is below 1") in found(url).problems


@pytest.mark.slow
@given(st.data())
@settings(max_examples=60)
def test_any_change_of_any_column_is_found(original, data):
    with Record.open(original, read_only=True) as record:
        rows = list(record.rows())
    row = data.draw(st.sampled_from(rows))
    column = data.draw(st.sampled_from(["seq", "kind", "series", "origin", "slot", "hash", "body"]))
    characters = st.characters(codec="utf-8", exclude_characters="\0")
    if column == "seq":
        value = data.draw(st.integers(-(2**63), 2**63 - 1).filter(lambda seq: all(row.seq != seq for row in rows)))
    elif column == "slot":
        value = data.draw(st.text(characters, max_size=20).filter(lambda text: text not in ("origin", "outcome")))
        value = value if not value.startswith(("revision", "protocol")) else "x"
    else:
        old = getattr(row, column)
        place = data.draw(st.integers(0, len(old)))
        value = old[:place] + data.draw(st.text(characters, max_size=2)) + old[place + 1 :]
        if value == old:
            value += "x"
    with tempfile.TemporaryDirectory() as folder:
        url = str(shutil.copy(original, folder))
        drop_triggers(url)
        with connected(url) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(f"UPDATE record SET {column} = ? WHERE seq = ?", (value, row.seq))
        restore_triggers(url)
        assert not found(url).ok


# Chains that are valid, with entries that are not --------------------------------------------------------------------


def test_a_row_that_another_program_appends(url, rows):
    """A valid chain with a body that is no entry: accepted by the database, found by the verification."""
    for i, body in enumerate(("no JSON", "[]", "{}", '{"kind":"missed"}', "1", '"' * 5)):
        with Record.open(url) as record:
            seq, head = record.head()
        values = (seq + 1, "missed", SERIES, f"other {i}", "origin", chain_hash(head, body), body)
        with connected(url) as connection:
            mark = "%s" if dialect(url) == "postgresql" else "?"
            connection.execute(f"INSERT INTO record ({COLUMNS}) VALUES ({', '.join([mark] * 7)})", values)
        assert (seq + 1, "its text is no entry of the record") in found(url).problems


def test_columns_that_differ_from_the_text(url, rows):
    with Record.open(url) as record:
        seq, head = record.head()
    body = canonical_json({**missed(6).fields(), "seq": seq + 1})
    values = (seq + 1, "missed", SERIES, missed(7).origin, "origin", chain_hash(head, body), body)
    with connected(url) as connection:
        mark = "%s" if dialect(url) == "postgresql" else "?"
        connection.execute(f"INSERT INTO record ({COLUMNS}) VALUES ({', '.join([mark] * 7)})", values)
    assert found(url).problems == ((seq + 1, "its columns differ from its text"),)


def test_a_rule_that_drops_rows_is_noticed_at_once(url):
    rule = {
        "sqlite": "CREATE TRIGGER dropped BEFORE INSERT ON record BEGIN SELECT RAISE(IGNORE); END",
        "postgresql": "CREATE RULE dropped AS ON INSERT TO record DO INSTEAD NOTHING",
    }
    with Record.open(url) as record:
        record.append([protocol()])
        execute(url, rule[dialect(url)])
        with pytest.raises(StorageError, match="did not take row 2: kronos live verify"):
            record.append([forecast(0)])

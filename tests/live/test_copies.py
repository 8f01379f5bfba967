"""Copies of the record: backups while it is written, and exports that can be verified elsewhere."""

import csv
import hashlib
import json
import threading

import pandas as pd
import pyarrow.parquet as pq
import pytest

from kronos.errors import ParameterError, StorageError
from kronos.live.exports import export
from kronos.live.record import Record, backup
from kronos.live.verification import verify
from live.databases import execute
from live.records import HORIZON, entries, missed, protocol


@pytest.fixture
def rows(url):
    with Record.open(url) as record:
        return record.append(entries())


def test_a_backup_is_one_file_with_the_same_chain(url, rows, tmp_path):
    target = tmp_path / "copies" / "backup.db"
    assert backup(url, target) == (rows[-1].seq, rows[-1].hash)
    assert [path.name for path in target.parent.iterdir()] == ["backup.db"]
    with Record.open(target, read_only=True) as copy:
        assert list(copy.rows()) == rows
        assert verify(copy).ok
    with Record.open(target) as copy:
        copy.append([missed(6)])
        assert verify(copy).ok, "the copy can be continued, and refuses changes"


def test_a_backup_while_it_is_written(url, tmp_path):
    stop = threading.Event()

    def write():
        with Record.open(url) as record:
            hour = 0
            while not stop.is_set():
                record.append([missed(hour)])
                hour += 1

    with Record.open(url) as record:
        record.append([protocol()])
        writer = threading.Thread(target=write)
        writer.start()
        try:
            heads = [backup(url, tmp_path / f"{i}.db") for i in range(4)]
        finally:
            stop.set()
            writer.join()
        assert verify(record, heads).ok
    for i, head in enumerate(heads):
        with Record.open(tmp_path / f"{i}.db", read_only=True) as copy:
            assert verify(copy).head == head


def test_a_backup_replaces_the_last_one_only_when_it_is_complete(url, rows, tmp_path):
    target = tmp_path / "backup.db"
    backup(url, target)
    before = target.read_bytes()
    with pytest.raises(StorageError):
        backup(tmp_path / "nothing.db", target)
    assert target.read_bytes() == before
    with pytest.raises(StorageError, match="a folder of that name exists"):
        backup(url, tmp_path)


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_an_export_can_be_verified_without_this_package(url, rows, tmp_path, file_format):
    folder = tmp_path / "export"
    with Record.open(url, read_only=True) as record:
        export(record, folder, file_format)
    summary = json.loads((folder / "verify.json").read_text("utf-8"))
    assert summary["problems"] == []
    assert summary["head"] == {"seq": rows[-1].seq, "hash": rows[-1].hash}
    for name, digest in summary["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    if file_format == "csv":
        with (folder / "rows.csv").open(encoding="utf-8", newline="") as file:
            exported = list(csv.DictReader(file))
    else:
        exported = pq.read_table(folder / "rows.parquet").to_pylist()
    previous = summary["genesis"]
    for row in exported:
        previous = hashlib.sha256((previous + row["body"]).encode()).hexdigest()
        assert row["hash"] == previous
    assert previous == summary["head"]["hash"]


def test_tables_of_an_export(rows, url, tmp_path):
    with Record.open(url, read_only=True) as record:
        export(record, tmp_path / "export")
    tables = {path.stem: pd.read_parquet(path) for path in (tmp_path / "export").glob("*.parquet")}
    assert {name: len(table) for name, table in tables.items()} == {
        "rows": len(rows),
        "forecasts": 6 * 2,
        "scores": 2 * 2,
        "steps": 2 * 2 * HORIZON,
        "missed": 2,
    }
    assert set(tables["forecasts"]["kind"]) == {"forecast", "late"}
    assert set(tables["missed"]["kind"]) == {"missed", "unresolved"}
    assert tables["forecasts"][["upside", "amplification_high"]].to_numpy().tolist() == [[0.4, 0.8]] * 12
    [first, *_] = [entry for entry in entries() if entry.kind == "score"]
    steps = tables["steps"].query("contender == 'raw' and origin == @first.origin")
    assert steps["crps"].tolist() == first.scores["raw"]["crps"]
    assert steps["close"].tolist() == [candle[4] for candle in first.candles]
    assert "".join(steps["inside_80"].astype(int).astype(str)) == first.scores["raw"]["inside"]["80"]
    assert tables["scores"]["upside"].tolist()[0] == first.outcome["upside"]
    metadata = pq.read_schema(tmp_path / "export" / "scores.parquet").metadata
    assert metadata[b"kronos.head.hash"].decode() == rows[-1].hash


def test_an_export_of_a_changed_record_says_so(tmp_path):
    url = str(tmp_path / "record.db")
    with Record.open(url) as record:
        record.append(entries())
    execute(url, "DROP TRIGGER record_update", "UPDATE record SET body = 'nothing' WHERE seq = 2")
    with Record.open(url, read_only=True) as record:
        summary = export(record, tmp_path / "export")
    assert {2, 8} <= {problem["seq"] for problem in summary["problems"]}, "the row, and the score of its forecast"
    assert "nothing" in set(pd.read_parquet(tmp_path / "export" / "rows.parquet")["body"])


def test_an_unknown_format(tmp_path):
    with Record.open(tmp_path / "record.db") as record, pytest.raises(ParameterError, match="choose parquet or csv"):
        export(record, tmp_path / "export", "xlsx")

"""Small files that decompress to huge ones, and files that execute code when opened."""

from __future__ import annotations

import gzip
import io
import pickle
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from serve.attacks.checks import FRAME, check_error
from serve.processes import start_process

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """A server process whose memory can be measured."""
    with start_process(tmp_path_factory.mktemp("process")) as running:
        running.wait_ready()
        with running.client() as client:
            assert client.get("/api/predict?symbol=BTC").status_code == 200
            answer = client.post("/api/uploads", files={"file": ("warm.csv", FRAME.to_csv())})
            assert answer.status_code == 201, answer.text
            yield running, client


ROWS, PIECES = 1_000_000, 15


def piece(columns=5):
    stamps = pa.array(np.zeros(ROWS, "M8[ns]"))
    column = pa.array(np.ones(ROWS))
    names = ["timestamps", "close", "open", "high", "low", "volume"]
    return pa.table([stamps, *[column] * columns], names=names[: columns + 1])


def feather_bomb():
    target, table = io.BytesIO(), piece()
    with ipc.new_file(target, table.schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
        for _ in range(PIECES):
            writer.write_table(table)
    return target.getvalue()


def parquet_bomb():
    target, table = io.BytesIO(), piece(2)  # Parquet compresses less than Feather
    with parquet.ParquetWriter(target, table.schema, compression="zstd") as writer:
        for _ in range(PIECES):
            writer.write_table(table)
    return target.getvalue()


@pytest.mark.parametrize(("make", "ending"), [(feather_bomb, "feather"), (parquet_bomb, "parquet")])
def test_compressed_tables_of_fifteen_million_rows_are_rejected_without_memory(process, make, ending):
    running, client = process
    bomb = make()
    assert len(bomb) < 1_000_000
    before, started = running.rss(), time.monotonic()
    for name in (f"bomb.{ending}", "bomb.csv", "bomb.gz"):  # also under wrong suffixes
        document = check_error(client.post("/api/uploads", files={"file": (name, bomb)}), 400, 413)
    assert time.monotonic() - started < 45
    assert running.peak() - before < 60
    assert running.rss() - before < 30
    assert document["message"]
    assert client.get("/health").status_code == 200
    uploads = [item["name"] for item in client.get("/api/uploads").json()]
    assert uploads == ["warm.csv"]


def test_a_bomb_in_the_data_folder_is_rejected(process):
    running, client = process
    folder = running.log.parent / "data"
    folder.mkdir(exist_ok=True)
    (folder / "bomb.parquet").write_bytes(parquet_bomb())
    before = running.rss()
    check_error(client.post("/api/load-data", json={"file_path": "bomb.parquet"}), 400, 413)
    assert running.rss() - before < 30


def test_a_gzip_bomb_is_rejected(process):
    running, client = process
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1) as stream:
        for _ in range(300):
            stream.write(bytes(1_000_000))
    before = running.rss()
    check_error(client.post("/api/uploads", files={"file": ("zeros.csv.gz", target.getvalue())}), 400, 413)
    assert running.rss() - before < 30


class Exploding:
    def __reduce__(self):
        return (open, ("/tmp/kronos-pickle-was-opened", "w"))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["candles.pkl", "candles.pickle", "candles.csv", "candles.parquet", "candles.feather"])
def test_pickles_are_not_opened(client, tmp_path, name, protocol):
    body = pickle.dumps(Exploding(), protocol=protocol)
    check_error(client.post("/api/uploads", files={"file": (name, body)}), 400)
    assert not Path("/tmp/kronos-pickle-was-opened").exists()

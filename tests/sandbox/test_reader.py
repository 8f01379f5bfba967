"""Reading in a separate process: the same candles and messages, and protection against hostile files."""

import gzip
import io
import os
import pickle
import struct
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, ipc, parquet

from kronos.candles import Candles, read_candles
from kronos.candles.io import write_table
from kronos.errors import DataError, KronosError, ParameterError, StorageError
from kronos.sandbox import FileOptions, ReadLimits, parse

COLUMNS = ("timestamps", "open", "high", "low", "close")
SMALL = ReadLimits(bytes=4 << 20, rows=1000, memory_mb=400, seconds=60)


def frame(rows: int = 40, zone: str | None = None) -> pd.DataFrame:
    close = 100 + np.sin(np.arange(rows))
    return pd.DataFrame(
        {
            "timestamps": pd.date_range("2024-01-01", periods=rows, freq="h", tz=zone),
            "open": close, "high": close + 1, "low": close - 1, "close": close,
            "volume": np.arange(1.0, rows + 1), "amount": np.arange(1.0, rows + 1) * 100,
        }
    )  # fmt: skip


def csv(rows: int = 40) -> bytes:
    return frame(rows).to_csv(index=False).encode()


def with_faults() -> bytes:
    """Rows that cleaning drops, merges and corrects, and a gap."""
    lines = csv().decode().splitlines()
    lines[5] = lines[5].split(",")[0] + ",,,,,,"
    lines[9] = lines[8]
    del lines[20:23]
    return "\n".join(lines).encode()


def offset() -> bytes:
    stamps = frame()["timestamps"].dt.strftime("%Y-%m-%dT%H:%M:%S+08:00")
    return gzip.compress(frame().assign(timestamps=stamps).to_csv(index=False).encode())


def arrow(table: pd.DataFrame | pa.Table, path: Path, simulated: bool = False) -> None:
    if isinstance(table, pd.DataFrame):
        write_table(table, path, simulated=simulated)
    elif path.suffix == ".feather":
        feather.write_feather(table, str(path), compression="zstd")
    else:
        parquet.write_table(table, path, compression="zstd", store_schema=False)


def members(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, b"1" * 3_000_000)
    return buffer.getvalue()


def constant(column: pa.Array) -> pa.Table:
    return pa.table(dict.fromkeys(COLUMNS, column))


def same(got: Candles, expected: Candles) -> None:
    pd.testing.assert_frame_equal(got.frame, expected.frame, check_exact=True, check_freq=True)
    pd.testing.assert_index_equal(got.dropped, expected.dropped, exact=True)
    assert (got.index.tz, got.index.unit, got.index.name) == (
        expected.index.tz, expected.index.unit, expected.index.name
    )  # fmt: skip
    names = [
        "symbol",
        "interval",
        "timezone",
        "calendar",
        "findings",
        "source",
        "simulated",
        "has_volume",
        "has_amount",
    ]
    assert [getattr(got, name) for name in names] == [getattr(expected, name) for name in names]


@pytest.mark.parametrize(
    ("name", "write", "options"),
    [
        ("prices.csv", lambda path: path.write_bytes(with_faults()), {}),
        ("Simulated 我的 <b>.csv", lambda path: path.write_bytes(csv()), {"timezone": "America/New_York"}),
        ("simulated_x.csv.gz", lambda path: path.write_bytes(offset()), {}),
        ("t.parquet", lambda path: arrow(frame(zone="Asia/Shanghai"), path), {"symbol": "BTC", "calendar": "24/7"}),
        ("labelled.feather", lambda path: arrow(frame().iloc[:, :5], path, simulated=True), {"interval": "60min"}),
        (
            "odd.TSV",
            lambda path: path.write_text(frame().rename(columns={"close": "Last"}).to_csv(sep="\t"), "utf-16"),
            {"columns": (("close", "Last"),)},
        ),
    ],
)
def test_candles_equal_those_of_read_candles(
    tmp_path: Path, name: str, write: Callable[[Path], object], options: dict[str, object]
) -> None:
    path = tmp_path / name
    write(path)
    got = parse(path, FileOptions(**options), SMALL)  # type: ignore[arg-type]
    same(got, read_candles(path, **{**options, "columns": dict(options.get("columns", ())) or None}))  # type: ignore[arg-type, call-overload]


def test_client_name_is_used_for_label_and_messages(tmp_path: Path) -> None:
    (tmp_path / "0123").write_bytes(with_faults())
    (tmp_path / "simulated_a.csv").write_bytes(with_faults())
    got = parse(tmp_path / "0123", limits=SMALL, name="simulated_a.csv")
    same(got, read_candles(tmp_path / "simulated_a.csv"))
    assert got.findings
    assert got.simulated


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.csv", b"", {}),
        ("a.csv", b"date,open,high\n2024-01-01,1,2\n", {}),
        ("a.parquet", csv(), {}),
        ("a.parquet", b"PAR1 and no more", {}),
        ("a.feather", b"ARROW1\0\0 and no more", {}),
        ("a.csv.gz", gzip.compress(csv())[:200], {}),
        ("two.zip", members("a.csv", "b.csv"), {}),
        ("book.zip", members("[Content_Types].xml", "sheet.xml"), {}),
        ("a.csv", csv(), {"timezone": "Mars/Olympus"}),
        ("a.csv", csv(), {"interval": "1d"}),
    ],
)
def test_errors_equal_those_of_read_candles(tmp_path: Path, name: str, content: bytes, options: dict[str, str]) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KronosError) as expected:
        read_candles(tmp_path / name, **options)  # type: ignore[arg-type]
    with pytest.raises(KronosError) as caught:
        parse(tmp_path / name, FileOptions(**options), SMALL)  # type: ignore[arg-type]
    assert str(caught.value) == str(expected.value)
    assert isinstance(expected.value, DataError) is isinstance(caught.value, DataError)
    assert isinstance(expected.value, ParameterError) is isinstance(caught.value, ParameterError)
    assert isinstance(caught.value, DataError | ParameterError)


def test_name_is_quoted_on_one_line_and_truncated(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"date,open\n")
    with pytest.raises(DataError) as caught:
        parse(tmp_path / "a", limits=SMALL, name="<script>\n{0}%s'\"\x1b[31m" + "x" * 500 + ".csv")
    message = str(caught.value)
    assert message.startswith("<script> {0}%s'\" [31mxxx")
    assert message.isprintable()
    assert message.count("x") < 100


def test_option_is_quoted_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(csv())
    with pytest.raises(DataError, match=r"no column 'L a st'") as caught:
        parse(tmp_path / "a.csv", FileOptions(columns=(("close", "L\na\0st"),)), SMALL)
    assert str(caught.value).isprintable()


def test_process_that_cannot_start_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(csv())
    refused = mock.patch("subprocess.Popen", side_effect=BlockingIOError(11, "Resource temporarily unavailable"))
    with refused, pytest.raises(StorageError, match=r"^a\.csv cannot be read now \(resource"):
        parse(tmp_path / "a.csv")


def test_missing_file_is_reported_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^a\.csv cannot be read") as caught:
        parse(tmp_path / "a.csv")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"symbol": "x" * 201}, {"timezone": "UTC\0"}, {"interval": "1h\n"}, {"calendar": "\ud800"},
        {"columns": (("open", "o"),) * 33}, {"columns": (("open", "x" * 201),)},
    ],
)  # fmt: skip
def test_options_are_limited(options: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        FileOptions(**options)  # type: ignore[arg-type]


def lying_footer(path: Path) -> None:
    """Two million rows, and a footer that claims ten."""
    parquet.write_table(constant(pa.array(np.zeros(2_000_000))), path)
    true, claimed = b"\x80\x92\xf4\x01", b"\x94\x80\x80\x00"  # as zigzag varints of the same length
    data = path.read_bytes()
    assert true in data
    path.write_bytes(data.replace(true, claimed))


def lying_footer_of_text(path: Path) -> None:
    """A megabyte of text, repeated by run-length encoding."""
    rows = pa.array(np.zeros(900, np.int32))
    arrow(constant(pa.DictionaryArray.from_arrays(rows, pa.array(["1" * 1_000_000]))), path)


def absurd_buffers(path: Path) -> None:
    """Compressed buffers that claim to unpack to an exabyte."""
    arrow(constant(pa.array(np.zeros(900))), path)
    data = path.read_bytes()
    pieces = data.split(b"\x28\xb5\x2f\xfd")
    assert len(pieces) > 5
    lying = [piece[:-8] + struct.pack("<q", 1 << 60) for piece in pieces[:-1]]
    path.write_bytes(b"\x28\xb5\x2f\xfd".join([*lying, pieces[-1]]))


def absurd_batch(path: Path) -> None:
    """A batch that claims to have 10¹² rows."""
    arrow(constant(pa.array(np.zeros(777))), path)
    path.write_bytes(path.read_bytes().replace(struct.pack("<q", 777), struct.pack("<q", 10**12)))


def deep(path: Path) -> None:
    kind = pa.int32()
    for _ in range(40):
        kind = pa.struct([("a", kind)])
    with ipc.new_file(str(path), pa.schema([("open", kind)])):
        pass


def deep_parquet(path: Path) -> None:
    kind = pa.int32()
    for _ in range(60):
        kind = pa.list_(kind)
    parquet.write_table(pa.schema([(name, kind) for name in COLUMNS]).empty_table(), path)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", b"0\n" * 10_000_000)


def wide_table(path: Path) -> None:
    arrow(pa.table({f"c{i}": [1.0] for i in range(600)}), path)


ONE_TEXT = pa.array(["0" * 120_000_000])
TOO_MANY_ROWS, TOO_MANY_COLUMNS = "rows, more than the limit of 1,000", "columns, more than the limit of 512"
MEMORY, EXPANDS = "needs more memory than the limit of 400 MB", "unpacks to more than"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "build", "words"),
    [
        ("zeros.feather", lambda path: arrow(constant(pa.array(np.zeros(1_000_000))), path), TOO_MANY_ROWS),
        ("text.feather", lambda path: arrow(constant(ONE_TEXT), path), MEMORY),
        ("text.parquet", lambda path: arrow(constant(ONE_TEXT), path), EXPANDS),
        ("absurd.feather", absurd_buffers, MEMORY),
        ("batch.feather", absurd_batch, TOO_MANY_ROWS),
        ("deep.feather", deep, "has a column of type struct"),
        ("deep.parquet", deep_parquet, "deep.parquet"),
        ("zeros.parquet", lambda path: arrow(constant(pa.array(np.zeros(1_000_000))), path), TOO_MANY_ROWS),
        ("lying.parquet", lying_footer, "lying.parquet"),
        ("dictionary.parquet", lying_footer_of_text, MEMORY),
        ("bomb.csv.gz", lambda path: path.write_bytes(gzip.compress(b"0" * 200_000_000, 1)), EXPANDS),
        ("bomb.zip", zipped, EXPANDS),
        ("rows.csv.gz", lambda path: path.write_bytes(gzip.compress(csv(2000))), TOO_MANY_ROWS),
        ("rows.csv", lambda path: path.write_bytes(csv(2000).replace(b"\n", b"\r")), TOO_MANY_ROWS),
        ("line.csv", lambda path: path.write_bytes(b"1" * 3_000_000), "has a line of more than"),
        ("wide.csv", lambda path: path.write_bytes(b"," * 600), TOO_MANY_COLUMNS),
        ("wide.feather", wide_table, TOO_MANY_COLUMNS),
        ("wide.parquet", wide_table, TOO_MANY_COLUMNS),
        ("old.feather", lambda path: path.write_bytes(b"FEA1" + bytes(99) + b"FEA1"), "Feather file of version 1"),
    ],
)  # fmt: skip
def test_hostile_files_are_rejected_in_one_line(
    tmp_path: Path, name: str, build: Callable[[Path], object], words: str
) -> None:
    path = tmp_path / name
    build(path)
    assert path.stat().st_size < SMALL.bytes
    with pytest.raises(DataError) as caught:
        parse(path, limits=SMALL)
    message = str(caught.value)
    assert words in message
    assert name in message
    assert str(tmp_path) not in message
    assert message.isprintable()


@pytest.mark.slow
def test_row_limit_is_inclusive(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(csv(SMALL.rows))
    assert len(parse(tmp_path / "a.csv", limits=SMALL)) == SMALL.rows
    (tmp_path / "a.csv").write_bytes(csv(SMALL.rows + 1))
    with pytest.raises(DataError, match=r"^a\.csv has 1,001 rows, more than the limit of 1,000"):
        parse(tmp_path / "a.csv", limits=SMALL)


def test_line_of_sixty_megabytes_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "line.csv").write_bytes(b"1," * 30_000_000)
    with pytest.raises(DataError, match="a line of more than 1,048,576 bytes"):
        parse(tmp_path / "line.csv")


def test_large_file_is_rejected_without_a_process(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x" * (SMALL.bytes + 1))
    with (
        mock.patch("subprocess.Popen", side_effect=AssertionError),
        pytest.raises(DataError, match="limit of 4 MiB"),
    ):
        parse(tmp_path / "a.csv", limits=SMALL)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_is_never_opened(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "a.csv").write_bytes(pickle.dumps({"a": 1}, protocol))
    with mock.patch("subprocess.Popen", side_effect=AssertionError), pytest.raises(DataError, match="is a pickle"):
        parse(tmp_path / "a.csv")


def test_text_pickle_is_not_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(pickle.dumps(print, 0))
    with pytest.raises(DataError, match=r"^a\.csv has no columns"):
        parse(tmp_path / "a.csv")


def test_environment_and_working_directory_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pandas", "json", "sitecustomize"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit(9)")
    (tmp_path / "a.csv").write_bytes(csv())
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "pandas.py"))
    monkeypatch.setenv("LC_ALL", "no_SUCH")
    monkeypatch.chdir(tmp_path)
    assert len(parse(Path("a.csv"))) == 40


FAILED, TOO_SLOW = "Reading a.csv failed", "takes longer to read than the limit of 1 s"
ENTER = "import json, os, sys; os.chdir(json.loads(sys.stdin.readline()))\n"
SCRIPTS = {
    "import os; os.abort()": FAILED,
    "import sys; sys.exit(1)": FAILED,
    "pass": FAILED,
    "open('reply.json', 'w').write('[]')": FAILED,
    "open('reply.json', 'w').write('{')": FAILED,
    "open('reply.json', 'w').write('{}')": FAILED,
    "open('reply.json', 'w').write(' ' * 5_000_000 + '{}')": FAILED,
    "open('reply.json', 'wb').write(b'\\xff')": FAILED,
    "open('reply.json', 'w').write('{\"error\": \"DataError\"}')": FAILED,
    'open(\'reply.json\', \'w\').write(\'{"error": "annotations", "message": ["odd", "", {}]}\')': "odd",
    "while True: print('x' * 1_000_000)": TOO_SLOW,
    "import time; time.sleep(60)": TOO_SLOW,
}
if os.name == "posix":
    SCRIPTS |= {
        "import os; os.kill(os.getpid(), 9)": "needs more memory than the limit of 2,048 MB",
        "import os; os.kill(os.getpid(), 24)": "takes longer to read than",
        "import os; os.kill(os.getpid(), 11)": FAILED,
    }


@pytest.mark.parametrize("script", SCRIPTS)
def test_failing_worker_is_reported_in_one_line(tmp_path: Path, script: str) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(ENTER + script)
    path = tmp_path / "a.csv"
    path.write_bytes(csv())
    with mock.patch("kronos.sandbox.processes._WORKER", worker), pytest.raises(DataError) as caught:
        parse(path, limits=ReadLimits(seconds=1))
    assert SCRIPTS[script] in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_children_of_the_worker_are_killed(tmp_path: Path) -> None:
    worker, pid_file = tmp_path / "worker.py", tmp_path / "pid"
    worker.write_text(
        f"{ENTER}import subprocess, time, pathlib\n"
        "pid = subprocess.Popen(['/bin/sleep', '60']).pid\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(pid))\n"
        "time.sleep(60)\n"
    )
    (tmp_path / "a.csv").write_bytes(csv())
    with mock.patch("kronos.sandbox.processes._WORKER", worker), pytest.raises(DataError, match="takes longer"):
        parse(tmp_path / "a.csv", limits=ReadLimits(seconds=2))
    state = Path("/proc", pid_file.read_text(), "stat")
    for _ in range(100):  # the system takes a moment to kill it
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("a child of the worker still runs")


def test_stream_in_small_chunks(tmp_path: Path) -> None:
    from kronos.sandbox.reader import stage

    class Slow(io.BytesIO):
        def read(self, n: int | None = -1) -> bytes:
            return super().read(min(n or 0, 7))

    with stage(Slow(csv()), "a.csv", SMALL) as staged:
        assert staged.path.read_bytes() == csv()
        assert staged.size == len(csv())
    assert not staged.folder.exists()

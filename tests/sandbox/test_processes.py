"""Processes that are started ahead: each reads one file under the same limits, and none is left."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronos.candles import read_candles
from kronos.errors import DataError
from kronos.sandbox import FileLibrary, ReadLimits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")

LIMITS = ReadLimits(bytes=4 << 20, rows=5000, memory_mb=400, seconds=60)
WORKER = "kronos.sandbox.processes._WORKER"
# A server that is killed while a process waits for its next file.
SERVER = """
import sys
from pathlib import Path
from kronos.sandbox import FileLibrary
library = FileLibrary(Path(sys.argv[1]), None, ahead=True)
library.prepare()
print("prepared", flush=True)
sys.stdin.read()
"""


def csv(rows: int = 40, price: float = 100) -> bytes:
    close = price + np.sin(np.arange(rows))
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    frame = pd.DataFrame({"timestamps": times, "open": close, "high": close + 1, "low": close - 1, "close": close})
    return frame.to_csv(index=False).encode()


def readers(parent: int | None = None) -> set[int]:
    """Identifiers of the reader processes of a process, zombies included."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state = (path / "stat").read_text().rsplit(")", 1)[1].split()
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if int(state[1]) == (parent or os.getpid()) and (b"sandbox/worker.py" in command or not command):
            found.add(int(path.name))
    return found


def soft_limit(process: int, name: str) -> int | None:
    line = next(line for line in Path(f"/proc/{process}/limits").read_text().splitlines() if line.startswith(name))
    value = line.removeprefix(name).split()[0]
    return None if value == "unlimited" else int(value)


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[FileLibrary]:
    (tmp_path / "data").mkdir()
    before = readers()
    library = FileLibrary(tmp_path / "data", None, LIMITS, ahead=True)
    library.prepare()
    wait_for(lambda: len(readers() - before) == 1)
    yield library
    library.close()
    assert readers() <= before, "a process or a zombie is left"


def put(library: FileLibrary, tmp_path: Path, name: str, content: bytes) -> str:
    (tmp_path / "data" / name).write_bytes(content)
    return name


@pytest.mark.slow
def test_a_process_reads_one_file_and_is_replaced(library: FileLibrary, tmp_path: Path) -> None:
    used: list[set[int]] = []
    for i in range(3):
        waiting = readers()
        name = put(library, tmp_path, f"{i}.csv", csv(price=100 + i))
        expected = read_candles(tmp_path / "data" / name)
        pd.testing.assert_frame_equal(library.candles(name).frame, expected.frame)
        wait_for(lambda: len(readers()) == 1 and readers() != waiting)  # noqa: B023 (called at once)
        used.append(waiting)
    assert len(set.union(*used)) == 3, "a process has read two files"


def test_the_waiting_process_has_its_limits_and_sees_no_environment(library: FileLibrary) -> None:
    (waiting,) = readers()
    expected = [("Max data size", LIMITS.memory_mb << 20), ("Max cpu time", 61), ("Max open files", 128)]
    wait_for(lambda: all(soft_limit(waiting, name) == value for name, value in expected))
    names = {entry.partition(b"=")[0] for entry in Path(f"/proc/{waiting}/environ").read_bytes().split(b"\0")}
    assert b"PATH" not in names
    assert b"HOME" not in names


@pytest.mark.slow
def test_a_file_beyond_the_limits_is_refused_and_the_next_one_read(library: FileLibrary, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="more than the limit of 5,000"):
        library.candles(put(library, tmp_path, "long.csv", csv(6000)))
    assert len(library.candles(put(library, tmp_path, "short.csv", csv()))) == 40


def test_a_process_that_the_system_killed_is_replaced_unseen(library: FileLibrary, tmp_path: Path) -> None:
    (waiting,) = readers()
    os.kill(waiting, signal.SIGKILL)
    wait_for(lambda: "Z" in Path(f"/proc/{waiting}/stat").read_text().rsplit(")", 1)[1].split()[0])
    assert len(library.candles(put(library, tmp_path, "a.csv", csv()))) == 40
    wait_for(lambda: readers() and waiting not in readers())


@pytest.mark.slow
def test_files_at_the_same_time_have_processes_of_their_own(library: FileLibrary, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    names = [put(library, tmp_path, f"{i}.csv", csv(price=100 + i)) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        opens = [candles.frame["open"].iloc[0] for candles in pool.map(library.candles, names)]
    assert opens == [100, 101, 102, 103]


def test_folders_may_be_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    uploads = FileLibrary(Path("data"), Path("uploads"), LIMITS)
    upload = uploads.add(io.BytesIO(csv()), "a.csv")
    assert len(uploads.candles(upload.reference)) == 40


@pytest.mark.slow
def test_the_deadline_begins_with_the_file(
    library: FileLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("import sys, time; sys.stdin.readline(); time.sleep(60)\n")
    monkeypatch.setattr(WORKER, worker)
    slow = FileLibrary(tmp_path / "data", None, ReadLimits(seconds=1), ahead=True)
    slow.prepare()
    time.sleep(1.5)
    started = time.monotonic()
    with pytest.raises(DataError, match="takes longer to read than the limit of 1 s"):
        slow.candles(put(library, tmp_path, "a.csv", csv()))
    assert 0.9 < time.monotonic() - started < 10
    slow.close()


def test_a_closed_library_still_reads_and_starts_nothing_ahead(library: FileLibrary, tmp_path: Path) -> None:
    library.close()
    assert not readers()
    assert len(library.candles(put(library, tmp_path, "a.csv", csv()))) == 40
    library.prepare()
    time.sleep(0.2)
    assert not readers()


def test_the_waiting_process_ends_with_a_killed_server(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "prepared\n"
    wait_for(lambda: readers(server.pid))
    waiting = readers(server.pid)
    server.kill()
    server.communicate(timeout=10)
    wait_for(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in waiting))

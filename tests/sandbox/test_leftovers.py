"""Killed processes: their copies of files are removed later, and their readers end with them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kronos.sandbox import FileLibrary, private_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks and signals of POSIX")

# Stages a file and never reads it: the stream ends when the process does.
STAGE = """
import sys, tempfile
from pathlib import Path
from kronos.sandbox.content_limits import DEFAULT_LIMITS
from kronos.sandbox.reader import stage
tempfile.tempdir = sys.argv[1]
with open(sys.argv[2], "rb") as stream, stage(stream, "x.csv", DEFAULT_LIMITS):
    print("staged", flush=True)
    sys.stdin.read()
"""
# Reads a file in a process that takes long.
READ = """
import sys, tempfile
from pathlib import Path
from kronos.sandbox import parse, processes
tempfile.tempdir = sys.argv[1]
start = processes.subprocess.Popen
def popen(*args, **kwargs):
    process = start(*args, **kwargs)
    print(process.pid, flush=True)
    return process
processes.subprocess.Popen = popen
parse(Path(sys.argv[2]))
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "x.csv"
    rows = (f"{1_600_000_000 + 60 * i},1,2,0.5,1.{i % 9},3\n" for i in range(300_000))
    path.write_text("timestamps,open,high,low,close,volume\n" + "".join(rows))
    return path


def start(code: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)


def age(folder: Path, seconds: float = 60) -> None:
    for path in folder.iterdir():
        os.utime(path, (time.time() - seconds,) * 2)


def test_copies_of_killed_processes_are_removed_and_those_of_running_ones_kept(
    scratch: Path, tmp_path: Path, table: Path
) -> None:
    library = FileLibrary(tmp_path / "data", tmp_path / "uploads")
    killed, running = start(STAGE, scratch, table), start(STAGE, scratch, table)
    for process in (killed, running):
        assert process.stdout is not None
        assert process.stdout.readline() == "staged\n"
    kill(killed)
    assert len(list(scratch.iterdir())) == 2
    age(scratch)
    with private_folder() as own:
        age(scratch)
        library.clear_leftovers()
        assert own.exists()
        assert len(list(scratch.iterdir())) == 2
    running.communicate("", timeout=20)
    assert list(scratch.iterdir()) == []


def test_foreign_names_and_links_are_not_followed(scratch: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".lock").touch()
    (outside / "file").touch()
    (scratch / ".kronos-link").symlink_to(outside)
    (scratch / ".kronos-file").touch()
    (scratch / "other").mkdir()
    (scratch / ".kronos-new").mkdir()
    (scratch / ".kronos-old").mkdir()
    os.utime(scratch / ".kronos-old", (0, 0))
    FileLibrary(tmp_path / "data", None).clear_leftovers()
    assert (outside / "file").exists()
    left = {path.name for path in scratch.iterdir()}
    assert left == {".kronos-link", ".kronos-file", "other", ".kronos-new"}
    (scratch / ".kronos-link").unlink()
    (scratch / ".kronos-file").unlink()
    (scratch / ".kronos-new").rmdir()
    (scratch / "other").rmdir()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parent")
def test_a_reader_ends_with_its_parent(scratch: Path, tmp_path: Path, table: Path) -> None:
    process = start(READ, scratch, table)
    assert process.stdout is not None
    reader = int(process.stdout.readline())
    time.sleep(0.3)  # it has asked for the signal by now
    assert Path(f"/proc/{reader}").exists(), "the reader has finished before the kill"
    kill(process)
    until = time.monotonic() + 5
    while Path(f"/proc/{reader}").exists() and "Z" not in Path(f"/proc/{reader}/stat").read_text().split()[2]:
        assert time.monotonic() < until, "the reader is still running"
        time.sleep(0.02)
    age(scratch)
    FileLibrary(tmp_path / "data", None).clear_leftovers()

"""Locks of folders: one holder at a time, named in the message, and free as soon as its process has ended."""

import errno
import logging
import os
import subprocess
import sys
from contextlib import ExitStack
from threading import Timer

import pytest

from kronos import locks
from kronos.errors import StorageError
from kronos.locks import exclusive_lock

HOLDER = """
import sys
from kronos.locks import exclusive_lock
with exclusive_lock(sys.argv[1], busy="it is written", fix="choose another folder"):
    print("held", flush=True)
    sys.stdin.read()
"""


def lock(path):
    return exclusive_lock(path, busy="runs/mine is being trained", fix="choose another folder")


def refusal(path):
    with pytest.raises(StorageError, match=r"runs/mine is being trained by .*: wait until it ends") as info, lock(path):
        pass
    return str(info.value)


def test_a_second_holder_in_the_same_process_is_refused(tmp_path):
    path = tmp_path / "new" / ".lock"
    for _ in range(2):
        with lock(path):
            assert f"process {os.getpid()} on " in refusal(path)
            assert f"process {os.getpid()} on " in refusal(path), "the refusal changed the lock"
        assert not path.exists()


def test_a_holder_in_another_process_is_named_and_its_death_frees_the_lock(tmp_path):
    path = tmp_path / ".lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        assert f"process {holder.pid} on " in refusal(path)
        holder.kill()
        holder.wait()
        assert path.exists(), "a killed process cannot remove its file"
        with lock(path):
            assert f"process {os.getpid()} on " in refusal(path)


@pytest.mark.parametrize("text", [b"", b"\xff\x00", b"[1]", b'{"pid": "x", "host": 1, "since": 2}', b"9" * 5000])
def test_files_left_behind_lock_nothing_whatever_they_hold(tmp_path, text):
    path = tmp_path / ".lock"
    path.write_bytes(text)
    with lock(path):
        path.write_bytes(text)
        assert "another process" in refusal(path)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere an open file cannot be removed")
def test_a_file_that_is_removed_while_waiting_is_not_locked_in_place_of_the_new_one(tmp_path, monkeypatch):
    path, attempts = tmp_path / ".lock", []
    try_lock = locks._try_lock

    def remove_and_lock(descriptor, file):
        attempts.append(descriptor)
        if len(attempts) == 1:
            path.unlink()  # as the previous holder does
        return try_lock(descriptor, file)

    monkeypatch.setattr(locks, "_try_lock", remove_and_lock)
    with lock(path):
        assert len(attempts) == 2
        assert path.exists()
        refusal(path)


@pytest.mark.skipif(os.name != "posix", reason="fcntl")
def test_a_file_system_without_locks_is_named_and_used(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING, "kronos"), ExitStack() as stack:
        stack.enter_context(lock(tmp_path / ".lock"))
    assert "has no locks" in caplog.text


def test_a_path_that_cannot_be_written_is_an_error_with_a_fix(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"Cannot write .*choose another folder"), lock(tmp_path / "file" / ".lock"):
        pass


def test_a_holder_that_ends_is_waited_for(tmp_path):
    path = tmp_path / ".lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        Timer(0.3, holder.stdin.close).start()
        with exclusive_lock(path, busy="it is written", fix="end it", wait=60.0):
            assert f"process {os.getpid()} on " in refusal(path)
    late = exclusive_lock(path, busy="it is written", fix="end it", wait=0.1)
    with lock(path), pytest.raises(StorageError, match="it is written"), late:
        pass

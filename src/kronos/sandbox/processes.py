"""Processes that read untrusted files: each reads one file, with limits, and is killed at its deadline.

- A process has a clean environment, one thread, and limits that it sets itself before it imports anything.
- It reads the name of its folder from standard input. Started ahead, it waits there with its imports done; it ends when
  the server does, since standard input then ends.
- Linux kills a process when the *thread* that started it ends. Processes that are started ahead therefore have a thread
  of their own, which lives as long as they may be needed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Condition, Thread

from kronos.sandbox.content_limits import ReadLimits

_WORKER = Path(__file__).with_name("worker.py")
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_IO_THREADS": "1",
    # Arrow's own pools and malloc's arenas reserve gigabytes of addresses, which would count as memory.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
}
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")  # some Pythons do not start without them
_CHECK_SECONDS = 30.0  # a waiting process that the system has killed is reaped after so long
_JOIN_SECONDS = 5.0


class ReaderProcess:
    """A started process for one file.

    Args:
        limits: Limits of reading.

    Raises:
        OSError: If no process can be started.
    """

    def __init__(self, limits: ReadLimits) -> None:
        inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        setup = json.dumps({"parent": os.getpid(), "limits": asdict(limits)})
        self._seconds = limits.seconds
        self._process = subprocess.Popen(
            # -I: ignore PYTHON… variables and the working directory.
            [sys.executable, "-I", "-X", "utf8", str(_WORKER), setup],
            cwd=_WORKER.parent,
            env={**inherited, **_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def running(self) -> bool:
        """Whether it has not ended; one that has is reaped."""
        return self._process.poll() is None

    def send(self, folder: Path) -> bool:
        """Name the folder whose request it processes; False if it no longer listens."""
        assert self._process.stdin is not None
        try:
            with self._process.stdin as pipe:
                pipe.write(f"{json.dumps(str(folder.absolute()))}\n".encode())  # its working directory is another
        except BrokenPipeError:
            return False
        return True

    def wait(self) -> int | None:
        """Wait for its end; returns its exit status, or None if it exceeded its time."""
        try:
            return self._process.wait(self._seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Kill it, with its children, if it still runs; it leaves no zombie."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        if not self.running:
            return
        if os.name == "posix":
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait()


class ReaderProcesses:
    """Starts the processes that read files; thread-safe.

    Args:
        limits: Limits of reading.
        ahead: Whether to keep one process started ahead of the next file, so that reading it does not wait for imports.
    """

    def __init__(self, limits: ReadLimits, *, ahead: bool = False) -> None:
        self._limits, self._ahead = limits, ahead
        self._changed = Condition()
        self._waiting: ReaderProcess | None = None
        self._wanted = self._closed = False
        self._thread: Thread | None = None

    def run(self, folder: Path) -> int | None:
        """Have a process work on the request in a folder; returns its exit status, or None if it exceeded its time.

        Raises:
            OSError: If no process can be started.
        """
        process = self._take()
        if process is None or not process.send(folder):
            if process is not None:
                process.kill()
            process = ReaderProcess(self._limits)
            process.send(folder)
        try:
            return process.wait()
        finally:
            process.kill()
            self.prepare()  # not before: its imports would slow down the reading

    def prepare(self) -> None:
        """Start a process for the next file in the background, unless one waits."""
        with self._changed:
            if not self._ahead or self._closed:
                return
            self._wanted = True
            if self._thread is None:
                thread = Thread(target=self._start_ahead, name="reader processes", daemon=True)
                with suppress(RuntimeError):  # the system refuses threads now; then the next file has its own process
                    thread.start()
                    self._thread = thread
            self._changed.notify()

    def close(self) -> None:
        """Kill the waiting process; later files have processes of their own."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def _take(self) -> ReaderProcess | None:
        """The waiting process, if it still runs."""
        with self._changed:
            process, self._waiting = self._waiting, None
        return process if process is not None and process.running else None

    def _start_ahead(self) -> None:
        """Start a process whenever one is wanted, until the end; reap one that the system kills while it waits."""
        while not self._closed:
            with self._changed:
                if not self._wanted:
                    self._changed.wait(_CHECK_SECONDS)
                wanted, self._wanted = self._wanted, False
                if self._waiting is not None and not self._waiting.running:
                    self._waiting.kill()
                    self._waiting = None
                if not wanted or self._closed or self._waiting is not None:
                    continue
            with suppress(OSError):  # out of processes or memory: the next file tries again
                process = ReaderProcess(self._limits)
                with self._changed:
                    self._waiting = process
        waiting = self._take()
        if waiting is not None:
            waiting.kill()

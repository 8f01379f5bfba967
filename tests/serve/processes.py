"""``kronos serve`` in a separate process: forked, except where its start or its end are the subject of a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

import forks

forked = partial(forks.Popen, preload=forks.SERVING)
_OWN = ("KRONOS_", "DEVICE", "PORT", "COINGECKO")


@dataclass
class ServerProcess:
    """A server process."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def client(self, **options: Any) -> httpx2.Client:
        """Create an HTTP client."""
        return httpx2.Client(base_url=self.address, timeout=60, **options)

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until the model is in memory."""
        until = time.monotonic() + seconds
        with self.client() as client:
            while client.get("/ready").status_code != 200:
                assert time.monotonic() < until, client.get("/ready").text
                time.sleep(0.05)

    def rss(self) -> float:
        """Resident memory in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def peak(self) -> float:
        """Peak resident memory in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def log_records(self) -> list[dict[str, Any]]:
        """Parse the JSON lines of its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def stop(self, sig: int = signal.SIGTERM, seconds: float = 10) -> tuple[int, float]:
        """Send a signal and wait for the exit; return the exit status and the seconds."""
        started = time.monotonic()
        self.process.send_signal(sig)
        status = self.process.wait(seconds)
        return status, time.monotonic() - started


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without variables of Kronos, and with one CPU thread and no network."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    return {**clean, "KRONOS_THREADS": "1", "KRONOS_OFFLINE": "1", **(extra or {})}


def command(*arguments: str) -> list[str]:
    """The command line of ``kronos serve``."""
    return [sys.executable, "-m", "kronos", "serve", *arguments]


def run_command(
    folder: Path, *arguments: str, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that is expected to fail."""
    options: dict[str, Any] = {"cwd": folder, "env": environment(extra), "text": True, "timeout": 60}
    return forks.run(command(*arguments), preload=forks.SERVING, capture_output=True, **options)


@contextmanager
def start_process(
    folder: Path,
    *arguments: str,
    extra: Mapping[str, str] | None = None,
    defaults: bool = True,
    popen: Callable[..., subprocess.Popen[bytes]] = forked,
) -> Iterator[ServerProcess]:
    """Run a server process in a working folder; kill it at the end unless it has exited."""
    given = ("--port", "0", "--source", "simulated", "--state", "state", "--data", "data") if defaults else ()
    log = folder / f"log-{time.monotonic_ns()}"
    # A test run in the background ignores SIGINT, and its child processes would inherit that; forked ones do not.
    inherits = popen is subprocess.Popen and sys.platform != "win32"
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL) if inherits else None
    with log.open("wb") as stream:
        process = popen(
            command(*given, *arguments), cwd=folder, env=environment(extra), stdout=stream, stderr=stream,
            preexec_fn=listen,
        )  # fmt: skip
    server = ServerProcess(process, "", log)
    try:
        until = time.monotonic() + 60
        while not server.address:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)
            server.address = next(
                (line["address"] for line in server.log_records() if line["message"] == "listening"), ""
            )
        with server.client() as client:
            while True:
                try:
                    client.get("/health")
                    break
                except httpx2.TransportError:  # bound but not listening yet
                    assert time.monotonic() < until, log.read_text()
                    time.sleep(0.02)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)

"""``kronos serve`` as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

_OWN = ("KRONOS_", "DEVICE", "PORT", "COINGECKO")


@dataclass
class Launched:
    """A server in a process."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def client(self, **options: Any) -> httpx2.Client:
        """A client of it."""
        return httpx2.Client(base_url=self.address, timeout=60, **options)

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until the model is in memory."""
        until = time.monotonic() + seconds
        with self.client() as client:
            while client.get("/ready").status_code != 200:
                assert time.monotonic() < until, client.get("/ready").text
                time.sleep(0.05)

    def rss(self) -> float:
        """Its memory now, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def peak(self) -> float:
        """The most memory it ever had, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def told(self) -> list[dict[str, Any]]:
        """Its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def stop(self, sig: int = signal.SIGTERM, seconds: float = 10) -> tuple[int, float]:
        """Send a signal and wait for the end: its status, and the seconds that it took."""
        started = time.monotonic()
        self.process.send_signal(sig)
        status = self.process.wait(seconds)
        return status, time.monotonic() - started


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables without those that configure Kronos, and some that keep it small."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    return {**clean, "KRONOS_THREADS": "1", "KRONOS_OFFLINE": "1", **(extra or {})}


def command(*arguments: str) -> list[str]:
    """What starts a server on any free port, of simulated candles unless the arguments say otherwise."""
    return [sys.executable, "-m", "kronos", "serve", *arguments]


def begun(folder: Path, *arguments: str, extra: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A start that is expected to fail."""
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(extra), capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def launched(
    folder: Path, *arguments: str, extra: Mapping[str, str] | None = None, usual: bool = True
) -> Iterator[Launched]:
    """A server whose working folder this is; it is killed at the end unless it has been stopped."""
    given = ("--port", "0", "--source", "simulated", "--state", "state", "--data", "data") if usual else ()
    log = folder / f"log-{time.monotonic_ns()}"
    # Where the tests run in the background Ctrl-C is ignored, and what they start would ignore it too.
    listen = None if sys.platform == "win32" else partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command(*given, *arguments), cwd=folder, env=environment(extra), stdout=stream, stderr=stream,
            preexec_fn=listen,
        )  # fmt: skip
    server = Launched(process, "", log)
    try:
        until = time.monotonic() + 60
        while not server.address:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)
            server.address = next((line["address"] for line in server.told() if line["message"] == "listening"), "")
        with server.client() as client:
            while True:
                try:
                    client.get("/health")
                    break
                except httpx2.TransportError:  # bound, not yet listening
                    assert time.monotonic() < until, log.read_text()
                    time.sleep(0.02)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)

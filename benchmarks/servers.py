"""Servers to measure, each a process of its own on a free port of loopback.

``python -m benchmarks.servers empty`` serves FastAPI's empty route with uvicorn configured as ours is, and
``… bare`` answers whatever comes with the same bytes: the load generator's own ceiling.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EMPTY = "/empty"
_ROOT = Path(__file__).resolve().parents[1]
_STARTING = 60.0
_PORT = re.compile(r"http://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    port: int

    def text(self, path: str) -> str:
        """What it answers to a GET."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def headers(self, path: str) -> Mapping[str, str]:
        """The headers of what it answers to a GET."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return dict(answer.headers)

    def number(self, name: str) -> float:
        """One of its metrics."""
        found = re.search(rf"^{name} (\S+)$", self.text("/metrics"), re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def memory(self, field: str = "VmRSS") -> float:
        """Megabytes that it holds, or held at most (``VmHWM``); NaN where the system does not tell."""
        path = Path(f"/proc/{self.process.pid}/status")
        found = re.search(rf"^{field}:\s+(\d+) kB", path.read_text("utf-8"), re.MULTILINE) if path.is_file() else None
        return int(found[1]) / 1e3 if found else float("nan")


@contextmanager
def kronos(environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """``kronos serve`` with simulated candles and the bundled model, which is loaded; in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        own = {name: value for name, value in os.environ.items() if not name.startswith("KRONOS_")}
        own |= {"KRONOS_OFFLINE": "1", **(environment or {})}
        command = [sys.executable, "-m", "kronos", "serve", "--source", "simulated", "--port", "0", "--json"]
        with _running(command, own, Path(folder)) as server:
            until = time.monotonic() + _STARTING
            while True:
                try:
                    server.text("/ready")
                    break
                except OSError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.1)
            yield server


@contextmanager
def simple(kind: str) -> Iterator[Server]:
    """One of this module's own servers: ``empty`` or ``bare``."""
    command = [sys.executable, "-m", "benchmarks.servers", kind]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(_ROOT)}
        with _running(command, environment, Path(folder)) as server:
            yield server


@contextmanager
def _running(command: list[str], environment: Mapping[str, str], folder: Path) -> Iterator[Server]:
    """A process in a folder, from when it has told its address."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=dict(environment), stdout=output, stderr=output)
    try:
        until = time.monotonic() + _STARTING
        while (found := _PORT.search(log.read_text("utf-8", errors="replace"))) is None:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{' '.join(command)} did not start: {log.read_text('utf-8')}")
            time.sleep(0.05)
        yield Server(process, int(found[1]))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _empty() -> None:
    """FastAPI with one route."""
    import uvicorn
    from fastapi import FastAPI

    from kronos.serve.server import address_of, bind

    app = FastAPI()

    @app.get(EMPTY)
    async def empty() -> dict[str, str]:
        return {"status": "ok"}

    listening = bind("127.0.0.1", 0)
    print(address_of(listening), flush=True)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_keep_alive=30, ws="none"
    )
    uvicorn.Server(config).run(sockets=[listening])


class _Bare(asyncio.Protocol):
    """Answers each part that comes."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:  # noqa: ARG002
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


async def _bare() -> None:
    server = await asyncio.get_running_loop().create_server(_Bare, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def _main(kind: str) -> None:
    import uvloop

    if kind == "empty":
        _empty()
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        uvloop.run(_bare())


if __name__ == "__main__":
    _main(sys.argv[1])

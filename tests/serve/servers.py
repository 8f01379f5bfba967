"""Servers in a thread of the test process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from kronos.serve.server import UvicornServer, bind, uvicorn_config
from kronos.serve.state import AppState, build_state
from kronos.settings import ServeSettings, Settings


def settings_in(folder: Path, *, source: str | None = "simulated", **serve: Any) -> Settings:
    """Settings of a server that writes only to a folder and needs no network."""
    (folder / "data").mkdir(exist_ok=True, parents=True)
    document = {
        "data_dir": folder / "data",
        "state_dir": folder / "state",
        "samples": 20,
        "warm_reader": False,
        **serve,
    }
    return Settings(source=source, offline=True, threads=1, store_dir=folder / "store", serve=ServeSettings(**document))


@dataclass
class RunningServer:
    """A running server."""

    state: AppState
    address: str
    server: UvicornServer

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


@contextmanager
def run_server(settings: Settings, state: AppState | None = None, host: str = "127.0.0.1") -> Iterator[RunningServer]:
    """Run a server in a thread, on a free port of an address; its own address is that of IPv4 loopback."""
    state = build_state(settings) if state is None else state
    listening = bind(host, 0)
    server = UvicornServer(uvicorn_config(state), state)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < until
            time.sleep(0.01)
        yield RunningServer(state, f"http://127.0.0.1:{listening.getsockname()[1]}", server)
    finally:
        server.handle_exit(2, None)
        thread.join(10)
        listening.close()
        assert not thread.is_alive()

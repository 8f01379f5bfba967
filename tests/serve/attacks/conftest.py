"""A server under attack, over sockets on loopback."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kronos.serve.state import build_state
from serve.attacks.checks import FRAME, ORIGIN
from serve.raw_http import get
from serve.servers import run_server, settings_in


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A data folder with links out of it, and a file outside that must not be read."""
    folder = tmp_path_factory.mktemp("attacked")
    data = folder / "data"
    (data / "deep").mkdir(parents=True)
    (data / "good.csv").write_bytes(FRAME.to_csv().encode())
    (folder / "canary.csv").write_bytes(FRAME.to_csv().encode())
    (data / "out.csv").symlink_to(folder / "canary.csv")
    (data / "passwd.csv").symlink_to("/etc/passwd")
    (data / "etc").symlink_to("/etc")
    (data / "up").symlink_to(folder)
    (data / "deep" / "out.csv").symlink_to("../../canary.csv")
    (data / ".hidden.csv").write_bytes(FRAME.to_csv().encode())
    return folder


@pytest.fixture(scope="session")
def server(home):
    """A server with one allowed origin and short timeouts of bodies."""
    state = build_state(settings_in(home, origins=ORIGIN, allowed_hosts="kronos.example", work_per_minute=0))
    state.body_limits = replace(state.body_limits, idle_seconds=0.5, min_rate=1_000_000)
    with run_server(state.settings, state) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="session")
def client(server):
    """A client of the server."""
    with server.client() as client:
        yield client


@pytest.fixture(autouse=True)
def still_responding(request):
    """Check that the server still responds after each attack."""
    yield
    if "server" in request.fixturenames:
        running = request.getfixturevalue("server")
        assert get(running.address, "/health").status == 200

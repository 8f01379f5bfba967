"""A server to attack, over real sockets on loopback."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kronos.serve.state import build_state
from serve.attacks.attacked import FRAME, ORIGIN
from serve.live import served, settings_in
from serve.wire import get


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A folder with a data folder in it that has links out of it, and a canary beside it that must not be read."""
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
    """A server that one other site's pages may call, and that waits but a moment for slow bodies."""
    state = build_state(settings_in(home, origins=ORIGIN, allowed_hosts="kronos.example", work_per_minute=0))
    state.rules = replace(state.rules, idle=0.5, least_rate=1_000_000)
    with served(state.settings, state) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="session")
def client(server):
    """A client of that server."""
    with server.client() as client:
        yield client


@pytest.fixture(autouse=True)
def still_well(request):
    """After each attack on the shared server it answers, and nothing is left inside its gate."""
    yield
    if "server" in request.fixturenames:
        running = request.getfixturevalue("server")
        assert get(running.address, "/health").status == 200

"""Fixtures of the server's tests."""

from __future__ import annotations

import pytest

from serve.servers import run_server, settings_in

pytest.register_assert_rewrite("serve.attacks.checks")


@pytest.fixture(scope="session")
def live(tmp_path_factory):
    """A server of simulated candles with the bundled model, for tests that do not change its state."""
    with run_server(settings_in(tmp_path_factory.mktemp("live"))) as server:
        server.wait_ready()
        yield server


@pytest.fixture
def client(live):
    """A client of the shared server."""
    with live.client() as client:
        yield client

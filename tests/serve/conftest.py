"""Fixtures of the server's tests."""

from __future__ import annotations

import pytest

from serve.live import served, settings_in

pytest.register_assert_rewrite("serve.attacks.attacked")  # so that a refusal that is none tells what it was


@pytest.fixture(scope="session")
def live(tmp_path_factory):
    """A server of simulated candles with the bundled model, shared by tests that leave it as it is."""
    with served(settings_in(tmp_path_factory.mktemp("live"))) as server:
        server.wait_ready()
        yield server


@pytest.fixture
def client(live):
    """A client of the shared server."""
    with live.client() as client:
        yield client

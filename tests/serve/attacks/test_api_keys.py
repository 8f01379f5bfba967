"""API keys and tickets."""

from __future__ import annotations

import io
import logging
import time

import pytest

from kronos.errors import ParameterError
from kronos.logs import JsonFormatter
from kronos.serve.middleware import APIKeys
from kronos.serve.server import check_exposure
from kronos.serve.state import build_state
from serve.attacks.checks import check_error
from serve.payloads import SMALL
from serve.raw_http import get
from serve.servers import run_server, settings_in

KEY, OTHER = "a-right-key-of-some-length", "another-right-key"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    """A server with API keys, and its log."""
    folder = tmp_path_factory.mktemp("keyed")
    settings = settings_in(folder, api_keys=f"{KEY}, {OTHER}", requests_per_minute=100_000)
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    loggers = [logging.getLogger(), logging.getLogger("kronos.access"), logging.getLogger("uvicorn.error")]
    levels = [item.level for item in loggers]
    for item in loggers:
        item.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    try:
        with run_server(settings) as running:
            with running.client() as client:
                until = time.monotonic() + 60
                while client.get("/ready").status_code != 200:
                    assert time.monotonic() < until
            yield running, written
    finally:
        logging.getLogger().removeHandler(handler)
        for item, level in zip(loggers, levels, strict=True):
            item.setLevel(level)


BAD_KEYS = [
    b"", b"X-API-Key:", b"X-API-Key: wrong", b"X-API-Key: " + KEY[:-1].encode(), b"X-API-Key: " + KEY.encode() + b"x",
    b"X-API-Key: " + KEY.upper().encode(), b"X-API-Key: \xff\xfe\x80", b"Authorization: Bearer",
    b"Authorization: Bearer wrong", b"Authorization: Basic " + KEY.encode(), b"Authorization: " + KEY.encode(),
    b"Authorization: Bearer " + KEY[:5].encode(), b"Authorization: Bearer \xe2\x82\xac", b"Cookie: key=" + KEY.encode(),
    b"X-API-Key: " + f"{KEY}, {OTHER}".encode(), b"X-API-Key: None", b"X-API-Key: " + b"a" * 30_000,
]  # fmt: skip


@pytest.mark.parametrize("header", BAD_KEYS, ids=lambda header: ascii(header[:40]))
@pytest.mark.parametrize(
    "target", ["/api/assets", "/metrics", "/docs", "/openapi.json", "/nothing", "/statics/a.js", "/api/jobs/x/events"]
)
def test_requests_without_a_valid_key_are_401(keyed, target, header):
    running, _ = keyed
    reply = get(running.address, target, *([header] if header else []))
    check_error(reply, 401)
    assert get(running.address, f"{target}?api_key={KEY}&key={KEY}").status == 401


@pytest.mark.parametrize("key", [KEY, OTHER])
@pytest.mark.parametrize(
    "header", ["X-API-Key: {}", "x-api-key:   {}  ", "Authorization: Bearer {}", "authorization: bearer {}"]
)
def test_a_valid_key_is_accepted_in_either_header(keyed, header, key):
    running, _ = keyed
    assert get(running.address, "/api/assets", header.format(key).encode()).status == 200


def test_only_health_and_readiness_need_no_key(keyed):
    running, _ = keyed
    assert get(running.address, "/health").status == 200
    assert get(running.address, "/ready").status == 200
    for near in ("/health/", "//health", "/health/../api/assets", "/ready/x", "/HEALTH", "/health;x", "/healthz"):
        check_error(get(running.address, near), 401)


def test_keys_are_not_logged(keyed):
    running, written = keyed
    for header in (f"X-API-Key: {KEY}", f"Authorization: Bearer {KEY}", f"X-API-Key: {KEY}x"):
        get(running.address, "/api/assets", header.encode())
        get(running.address, f"/nothing?key={KEY}", header.encode())
    with running.client(headers={"X-API-Key": KEY}) as client:
        client.post("/api/predict", json={**SMALL, "symbol": 7})
    logged = written.getvalue()
    assert '"status": 200' in logged
    assert '"client": "key-' in logged
    assert KEY not in logged
    assert OTHER not in logged


def test_keys_are_not_in_reprs(keyed):
    running, _ = keyed
    assert KEY not in repr(running.state) + repr(vars(running.state.api_keys))


def test_failed_attempts_are_rate_limited(tmp_path):
    state = build_state(settings_in(tmp_path, api_keys=KEY, requests_per_minute=5))
    with run_server(state.settings, state) as running:
        found = [get(running.address, "/api/assets", b"X-API-Key: wrong%d" % i).status for i in range(9)]
        right = get(running.address, "/api/assets", b"X-API-Key: " + KEY.encode()).status
    assert found[:5] == [401] * 5
    assert found[6:] == [429] * 3
    assert right == 200, "a client with a key has its own limit"


def test_a_ticket_opens_only_the_events_of_its_job(keyed):
    running, _ = keyed
    with running.client(headers={"X-API-Key": KEY}) as client:
        first = client.post("/api/jobs/predict", json=SMALL).json()
        second = client.post("/api/jobs/predict", json=SMALL).json()
    ticket = first["events"].partition("ticket=")[2]
    assert get(running.address, first["events"]).status == 200
    wrong = [
        f"/api/jobs/{second['id']}/events?ticket={ticket}", f"/api/jobs/{first['id']}?ticket={ticket}",
        f"/api/jobs/?ticket={ticket}", f"/api/jobs?ticket={ticket}", f"/api/jobs/{first['id']}/events",
        f"/api/jobs/{first['id']}/events?ticket=", f"/api/jobs/{first['id']}/events?x=1&ticket={ticket}",
        f"/api/jobs/{first['id']}/events?ticket={ticket}0", f"/api/jobs/{first['id']}/events?ticket=9{ticket}",
        f"/api/jobs/{first['id']}/events?ticket={ticket[:-1]}", f"/api/jobs/{first['id']}/events?ticket=%D9%A1.x",
        f"/api/jobs/{first['id']}%2f..%2f{second['id']}/events?ticket={ticket}x", "/api/jobs/events?ticket=.",
        f"/api/jobs/{first['id']}/events?ticket={'9' * 5000}.x", f"/api/results?ticket={ticket}",
    ]  # fmt: skip
    for target in wrong:
        check_error(get(running.address, target), 401)


def test_a_ticket_expires(monkeypatch):
    keys = APIKeys([KEY])
    ticket = keys.ticket("job")
    now = time.time()
    assert keys.verify_ticket("job", ticket)
    monkeypatch.setattr("kronos.serve.middleware.auth.time.time", lambda: now + 299)
    assert keys.verify_ticket("job", ticket)
    monkeypatch.setattr("kronos.serve.middleware.auth.time.time", lambda: now + 301)
    assert not keys.verify_ticket("job", ticket)
    assert not APIKeys([KEY]).verify_ticket("job", ticket)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "", "0", "127.evil.example", "127.0.0.1.nip.io",
                                  "example.com", "localhost.example", "2001:db8::1"])  # fmt: skip
def test_listening_beyond_loopback_needs_a_key(tmp_path, host):
    with pytest.raises(ParameterError, match="needs a key"):
        check_exposure(settings_in(tmp_path, host=host))
    check_exposure(settings_in(tmp_path, host=host, api_keys=KEY))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "localhost", "::1", "LOCALHOST"])
def test_listening_on_loopback_needs_no_key(tmp_path, host):
    check_exposure(settings_in(tmp_path, host=host))

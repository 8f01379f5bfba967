"""Connections: trailers, half-closed and idle ones."""

from __future__ import annotations

import socket
import time

import pytest

from kronos.serve.server import raise_file_limit
from serve.attacks.checks import check_error
from serve.raw_http import connect, head_of, raw, read
from serve.servers import run_server, settings_in

KEY = b"k" * 20
BODY = b'{"file_path":"sample:simulated_btc_1h"}'


# Trailers -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with an API key."""
    with run_server(settings_in(tmp_path_factory.mktemp("guarded"), api_keys=KEY.decode())) as running:
        yield running


@pytest.mark.parametrize("pause", [0, 0.1], ids=["together", "later"])
@pytest.mark.parametrize(
    ("headers", "trailers", "status"),
    [
        ([b"Content-Type: application/json"], [], 401),
        ([b"Content-Type: application/json"], [b"X-API-Key: " + KEY], 401),
        ([b"Content-Type: application/json"], [b"Authorization: Bearer " + KEY], 401),
        ([b"Content-Type: application/json", b"Trailer: X-API-Key"], [b"X-API-Key: " + KEY], 401),
        ([b"X-API-Key: " + KEY], [b"Content-Type: application/json"], 415),
        ([b"X-API-Key: " + KEY, b"Content-Type: application/json"], [b"Host: evil.example", b"X-Other: 1"], 200),
    ],
)
def test_trailers_are_not_headers(guarded, pause, headers, trailers, status):
    head = head_of(guarded.address, "/api/load-data", b"Transfer-Encoding: chunked", b"Connection: close", *headers)
    chunks = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
    rest = b"".join(line + b"\r\n" for line in trailers) + b"\r\n"
    reply = (
        raw(guarded.address, head + chunks, rest, pause=pause) if pause else raw(guarded.address, head + chunks + rest)
    )
    assert reply.status == status, reply.body


def test_trailers_do_not_reach_the_next_request(guarded):
    first = head_of(guarded.address, "/api/load-data", b"Content-Type: application/json", b"Transfer-Encoding: chunked",
                    b"X-API-Key: " + KEY)  # fmt: skip
    first += b"%x\r\n%s\r\n0\r\nX-API-Key: %s\r\n\r\n" % (len(BODY), BODY, KEY)
    second = head_of(guarded.address, "/api/assets", b"Connection: close", method="GET")
    with connect(guarded.address) as wire:
        wire.sendall(first)
        assert read(wire, time.monotonic()).status == 200
        wire.sendall(second)
        assert read(wire, time.monotonic()).status == 401


@pytest.mark.parametrize("coding", [b"xchunked", b"gzip", b"chunked, gzip", b"identity"])
def test_unknown_transfer_codings_are_rejected(guarded, coding):
    head = head_of(guarded.address, "/api/load-data", b"Transfer-Encoding: " + coding, b"X-API-Key: " + KEY)
    check_error(raw(guarded.address, head + b"2\r\n{}\r\n0\r\n\r\n"), 400, 415)


# Half-closed connections --------------------------------------------------------


@pytest.mark.parametrize("target", ["/api/predict?symbol=ETH", "/health", "/api/results", "/nothing"])
def test_a_half_closed_request_is_answered(server, target):
    with connect(server.address) as wire:
        wire.sendall(head_of(server.address, target, method="GET"))
        wire.shutdown(socket.SHUT_WR)
        reply = read(wire, time.monotonic())
        assert reply.status == (404 if target == "/nothing" else 200)
        assert wire.recv(1) == b""


def test_a_half_closed_request_with_a_body_is_answered(server):
    with connect(server.address) as wire:
        length = b"Content-Length: %d" % len(BODY)
        wire.sendall(head_of(server.address, "/api/load-data", b"Content-Type: application/json", length) + BODY)
        wire.shutdown(socket.SHUT_WR)
        assert read(wire, time.monotonic()).status == 200


@pytest.mark.parametrize(
    "sent", [b"", b"GET /hea", b"POST /api/load-data HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{"]
)
def test_an_incomplete_half_closed_request_is_closed(server, sent):
    with connect(server.address) as wire:
        wire.sendall(sent)
        wire.shutdown(socket.SHUT_WR)
        wire.settimeout(3)
        assert wire.recv(1000) == b""


# Idle connections ---------------------------------------------------------------


@pytest.fixture
def crowded(tmp_path):
    """A server with at most 20 connections of one address."""
    with run_server(settings_in(tmp_path, connections_per_client=20)) as running:
        yield running


def test_idle_connections_do_not_lock_out_others(crowded):
    held = [connect(crowded.address) for _ in range(200)]
    try:
        with crowded.client() as client:
            assert client.get("/health").status_code == 200
        assert len(crowded.server.server_state.connections) <= 21
    finally:
        for wire in held:
            wire.close()


def test_the_connections_idle_longest_are_closed_first(crowded):
    held = [connect(crowded.address) for _ in range(5)]
    with crowded.client() as client:
        client.get("/health")
        for _ in range(30):
            held.append(connect(crowded.address))
            time.sleep(0.002)
        assert client.get("/health").status_code == 200, "a connection that is used stays"
        assert held[0].recv(1) == b""
    for wire in held:
        wire.close()


def test_connections_with_requests_are_not_closed(crowded):
    unfinished = head_of(crowded.address, "/api/load-data", b"Content-Type: application/json", b"Content-Length: 9")
    held = []
    for _ in range(20):
        wire = connect(crowded.address)
        wire.sendall(unfinished)
        held.append(wire)
    time.sleep(0.2)
    with connect(crowded.address) as wire:
        check_error(read(wire, time.monotonic()), 503)
    for wire in held:
        wire.close()


def test_the_limit_of_open_files_is_raised(monkeypatch):
    import resource

    limits = [(256, 100_000_000)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, values: limits.append(values))
    raise_file_limit()
    assert limits[-1] == (65_536, 100_000_000)
    raise_file_limit()
    assert len(limits) == 2

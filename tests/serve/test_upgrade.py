"""Requests that offer HTTP/2 or a WebSocket, as some clients do in every request, are served with HTTP/1.1."""

from __future__ import annotations

import json
import threading

import pytest

from serve.attacks.checks import check_error
from serve.raw_http import connect, host_of, raw
from serve.servers import run_server, settings_in

OFFERS = {
    "Java": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n",
    "closing": b"connection: close, upgrade\r\nupgrade: H2C, websocket\r\n",
    "WebSocket": b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
    "two lines": b"Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
}
BODY = b'{"file_path": "sample:simulated_btc_1h"}'
LENGTH, CHUNKS = b"Content-Length: %d\r\n" % len(BODY), b"Transfer-Encoding: chunked\r\n"
CHUNKED = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:9], BODY[9:])) + b"0\r\n\r\n"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with run_server(settings_in(tmp_path_factory.mktemp("upgrade"))) as server:
        yield server.address


def head(address: str, *lines: bytes, start: bytes = b"POST /api/load-data") -> bytes:
    host = b"Host: " + host_of(address) + b"\r\n"
    return start + b" HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n" + b"".join(lines) + b"\r\n"


def exchange(address: str, data: bytes) -> bytes:
    """Send requests of which the last one closes the connection; return everything that is received."""
    received = b""
    with connect(address) as wire:
        sender = threading.Thread(target=wire.sendall, args=(data,))
        sender.start()
        while piece := wire.recv(1 << 20):
            received += piece
        sender.join()
    return received


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize(("framing", "body"), [(LENGTH, BODY), (CHUNKS, CHUNKED)], ids=["length", "chunks"])
@pytest.mark.parametrize("pieces", [1, 2, 400])
def test_the_body_of_a_request_with_an_offer_arrives(address, offer, framing, body, pieces):
    data = head(address, OFFERS[offer], framing)
    parts = {1: [data + body], 2: [data, body]}.get(pieces) or [bytes([byte]) for byte in data + body]
    reply = raw(address, *parts, pause=0.001)
    assert (reply.status, json.loads(reply.body)["success"]) == (200, True)
    assert reply.closed == (offer == "closing")
    assert reply.header("upgrade") is None


@pytest.mark.parametrize("offer", [name for name in OFFERS if name != "closing"])
def test_further_requests_of_the_connection_are_served(address, offer):
    last = head(address, b"Connection: close\r\n", start=b"GET /health")
    pair = head(address, OFFERS[offer], LENGTH) + BODY + head(address, OFFERS[offer], CHUNKS) + CHUNKED
    received = exchange(address, pair * 20 + last)
    assert (received.count(b'"success":true'), received.count(b'"status":"ok"')) == (40, 1)


@pytest.mark.slow
def test_thousands_of_requests_with_an_offer_may_arrive_together(address):
    request = b"GET /health HTTP/1.1\r\nHost: " + host_of(address) + b"\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n"
    last = head(address, b"Connection: close\r\n", start=b"GET /health")
    assert exchange(address, request * 3000 + last).count(b'"status":"ok"') == 3001


def test_a_body_with_an_offer_is_limited_and_checked(address):
    offer = OFFERS["Java"]
    check_error(raw(address, head(address, offer, b"Content-Length: 1000001\r\n")), 413)
    check_error(raw(address, head(address, offer, CHUNKS) + b"x\r\n"), 400)
    for target in (b"127.0.0.1:80", b"http://127.0.0.1/health"):
        check_error(raw(address, head(address, offer, start=b"CONNECT " + target)), 400, 405, 421)

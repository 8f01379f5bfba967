"""Request bodies and forms that are too long, too slow, endless or malformed."""

from __future__ import annotations

import itertools
import json
import time

import pytest

from kronos.serve.server import StrictHTTPProtocol
from serve.attacks.checks import FRAME, check_error
from serve.payloads import SMALL
from serve.raw_http import connect, head_of, host_of, post, raw
from serve.servers import run_server, settings_in

# Size and syntax ------------------------------------------------------------


def test_a_long_body_is_rejected_by_its_length(server):
    reply = raw(server.address, head_of(server.address, "/api/load-data", b"Content-Length: 1000001"))
    check_error(reply, 413)
    assert reply.closed
    assert reply.seconds < 1


@pytest.mark.parametrize("length", [b"99999999999999999999999999", b"-1", b"0x10", b"1, 2", b"1e3", b"+5"])
def test_invalid_lengths_are_rejected(server, length):
    check_error(raw(server.address, head_of(server.address, "/api/load-data", b"Content-Length: " + length)), 400, 413)


def test_an_endless_chunked_body_is_rejected(server):
    head = head_of(server.address, "/api/load-data", b"Content-Type: application/json", b"Transfer-Encoding: chunked")
    reply = raw(server.address, head, endless=itertools.repeat(b"8000\r\n" + b" " * 32768 + b"\r\n"))
    check_error(reply, 413)
    assert reply.closed


def test_an_endless_chunked_upload_is_rejected(home, tmp_path):
    with run_server(settings_in(tmp_path, upload_mb=1)) as small:
        head = head_of(
            small.address,
            "/api/uploads",
            b"Content-Type: multipart/form-data; boundary=b",
            b"Transfer-Encoding: chunked",
        )
        part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\n'
        first = b"%x\r\n%s\r\n" % (len(part), part)
        reply = raw(small.address, head, first, endless=itertools.repeat(b"8000\r\n" + b"1" * 32768 + b"\r\n"))
        check_error(reply, 413)
        assert reply.closed


@pytest.mark.parametrize("target", ["/health", "/api/assets", "/api/predict?symbol=BTC", "/docs", "/nothing"])
def test_an_unread_body_closes_the_connection(server, target):
    head = f"GET {target} HTTP/1.1\r\nHost: {host_of(server.address).decode()}\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = raw(server.address, head.encode(), endless=itertools.repeat(b"8000\r\n" + b" " * 32768 + b"\r\n"))
    assert reply is not None
    assert reply.closed
    assert reply.header("connection") == "close"


ENDLESS = {
    "headers": (b"GET /health HTTP/1.1\r\nHost: {host}\r\n", b"X-Header: " + b"a" * 8000 + b"\r\n"),
    "one header": (b"GET /health HTTP/1.1\r\nHost: {host}\r\nX-Header: ", b"a" * 8000),
    "a header's name": (b"GET /health HTTP/1.1\r\nHost: {host}\r\n", b"a" * 8000),
    "a query": (b"GET /health?", b"a" * 8000),
    "trailers": (
        b"POST /api/load-data HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X-Trailer: " + b"a" * 8000 + b"\r\n",
    ),
    "a chunk's extension": (
        b"POST /api/load-data HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n2;", b"a" * 8000,
    ),
    "headers of a second request": (
        b"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\nGET /health HTTP/1.1\r\n", b"X: " + b"a" * 8000 + b"\r\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ENDLESS)
def test_headers_trailers_and_framing_are_limited(server, what):
    begin, more = ENDLESS[what]
    sent = 0

    def endless():
        nonlocal sent
        while sent < 50_000_000:
            sent += len(more)
            yield more

    started = time.monotonic()
    reply = raw(server.address, begin.replace(b"{host}", host_of(server.address)), endless=endless())
    assert sent < 20_000_000, "the server read everything"  # includes the kernel's buffers
    assert time.monotonic() - started < 5
    assert reply is None or reply.status in (200, 431)


def test_chunks_of_one_byte_are_valid(server):
    head = head_of(
        server.address,
        "/api/load-data",
        b"Content-Type: application/json",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
    )
    reply = raw(server.address, head + b"1\r\n \r\n" * 100_000 + b"2\r\n{}\r\n0\r\n\r\n")
    assert reply.status == 400
    assert "file_path" in reply.json()["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 400_000, b'{"a":' * 100_000, b'{"file_path":' + b"[" * 300_000 + b"]" * 300_000 + b"}", b"",
        b"null", b"{",
        b'"text"', b"[]", b"[{}]", b"1", b"\xff\xfe", b'{"file_path":"\xff\xfe"}', b'{"file_path":"\\ud800"}',
        b'{"\\ud800":1,"file_path":"good.csv"}', b'{"\\u0000":1}', b"NaN", b"Infinity",
        b'{"file_path":"x.csv","file_path":7}',
        b'{"file_path":"x.csv","__proto__":{"a":1}}', b"{" + b'"k":1,' * 100_000 + b'"l":1}',
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
def test_malformed_bodies_are_400(server, body):
    for target in ("/api/load-data", "/api/predict", "/api/load-model"):
        check_error(post(server.address, target, body), 400)


WRONG = [None, True, "", "x", "1e999", -1, 0, 10**30, 1.5, -0.0, [], [1], {}, {"a": 1}, "9" * 300, "\ud800", "NaN"]


@pytest.mark.parametrize("field", ["file_path", "symbol", "interval", "timezone", "calendar", "columns", "lookback",
                                   "pred_len", "temperature", "top_p", "sample_count", "start_date", "seed",
                                   "calibrate", "unknown"])  # fmt: skip
def test_wrong_types_are_never_a_server_error(server, field):
    for value in WRONG:
        body = json.dumps({**SMALL, field: value}).encode()
        reply = post(server.address, "/api/predict", body)
        assert reply.status in (200, 400, 404), (value, reply.body)
        if reply.status != 200:
            check_error(reply, 400, 404)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000, b"1e-400"])
@pytest.mark.parametrize("field", [b"temperature", b"top_p", b"lookback", b"pred_len", b"sample_count", b"seed"])
def test_numbers_outside_json_are_400(server, field, number):
    body = b'{"file_path":"good.csv","%s":%s}' % (field, number)
    check_error(post(server.address, "/api/predict", body), 400)


def test_other_content_types_are_rejected(server):
    for kind in (b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"x/y"):
        body = json.dumps(SMALL).encode()
        head = head_of(server.address, "/api/predict", b"Content-Type: " + kind, b"Content-Length: %d" % len(body))
        check_error(raw(server.address, head + body), 400, 415)


# Speed ----------------------------------------------------------------------


def test_a_dripping_body_is_408_and_closes_the_connection(server):
    head = head_of(server.address, "/api/load-data", b"Content-Type: application/json", b"Content-Length: 1000")
    reply = raw(server.address, head, *[b"{"] * 12, pause=0.1)
    check_error(reply, 408)
    assert reply.closed
    assert reply.seconds < 5


def test_a_stalled_body_is_408(server):
    head = head_of(
        server.address, "/api/uploads", b"Content-Type: multipart/form-data; boundary=b", b"Content-Length: 900"
    )
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\na,b\r\n'
    reply = raw(server.address, head, part)
    check_error(reply, 408)
    assert reply.closed
    assert 0.4 < reply.seconds < 5


@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        (b"", b""), (b"GET /", b"a"), (b"GET /health HTTP/1.1\r\nHost: {host}\r\nX-Slow: a", b"a"),
        (b"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\nGET /health HTTP/1.1\r\nX-Slow: a", b"a"),
    ],
    ids=["nothing", "a target", "half of the headers", "half of the second request's headers"],
)  # fmt: skip
def test_endless_headers_are_disconnected(server, monkeypatch, begin, drop):
    monkeypatch.setattr(StrictHTTPProtocol, "head_seconds", 0.4)
    with connect(server.address) as wire:
        started = time.monotonic()
        wire.sendall(begin.replace(b"{host}", host_of(server.address)))
        wire.settimeout(0.1)
        while time.monotonic() - started < 8:
            try:
                if not wire.recv(65_536):
                    break
            except TimeoutError:
                wire.sendall(drop)  # keep dripping
            except ConnectionError:
                break
        assert 0.3 < time.monotonic() - started < 3


def test_a_client_that_does_not_read_is_disconnected(server, monkeypatch):
    monkeypatch.setattr(StrictHTTPProtocol, "read_seconds", 0.5)
    request = b"GET /openapi.json HTTP/1.1\r\nHost: " + host_of(server.address) + b"\r\n\r\n"
    with connect(server.address) as wire:
        wire.setsockopt(1, 8, 4096)  # SO_RCVBUF
        started, cut = time.monotonic(), False
        wire.sendall(request * 300)
        while time.monotonic() - started < 15 and not cut:
            time.sleep(0.1)
            try:
                wire.sendall(request)
            except ConnectionError:
                cut = True
        assert cut


def test_a_slow_client_within_the_limits_is_served(server, monkeypatch):
    monkeypatch.setattr(StrictHTTPProtocol, "head_seconds", 3)
    text = f"GET /health HTTP/1.1\r\nHost: {host_of(server.address).decode()}\r\nConnection: close\r\n\r\n".encode()
    reply = raw(server.address, *(text[i : i + 8] for i in range(0, len(text), 8)), pause=0.05)
    assert reply.status == 200


# Forms ----------------------------------------------------------------------


def form(server, body, *, boundary=b"b", target="/api/uploads"):
    head = head_of(server.address, target, b"Content-Type: multipart/form-data; boundary=" + boundary,
                   b"Content-Length: %d" % len(body), b"Connection: close")  # fmt: skip
    return raw(server.address, head + body)


def part(name, content=b"x", filename=None):
    document = b"" if filename is None else b'; filename="%s"' % filename
    return b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name, document, content)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"--b", b"--b--\r\n", part(b"file", b"a,b", b"x.csv"), part(b"file", b"a", b"x.csv")[:-20],
        b"no form at all",
        part(b"other", b"x", b"x.csv") + b"--b--\r\n", part(b"file") + b"--b--\r\n", b"--c\r\n\r\n--c--\r\n",
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\n" + b"X: y\r\n" * 5000 + b"\r\nx\r\n--b--\r\n",
        b"--b\r\nX: " + b"y" * 500_000 + b"\r\n\r\nx\r\n--b--\r\n", b"--b\r\n\xff\xfe: \xff\r\n\r\nx\r\n--b--\r\n",
        b"".join(part(b"f%d" % i) for i in range(20_000)) + b"--b--\r\n",
        b"".join(part(b"file", b"a", b"%d.csv" % i) for i in range(5_000)) + b"--b--\r\n",
        part(b"field", b"y" * 5_000_000) + b"--b--\r\n", part(b"file", b"", b"x.csv") + b"--b--\r\n",
        part(b"file", b"a,b\n1,2\n", b"") + b"--b--\r\n", part(b"file", b"\0" * 1000, b"x.csv") + b"--b--\r\n",
    ],
    ids=range(19),
)  # fmt: skip
def test_malformed_forms_are_rejected(server, body):
    started = time.monotonic()
    check_error(form(server, body), 400, 413)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("boundary", [b"", b"; boundary=", b"; boundary=" + b"b" * 60_000])
def test_forms_without_a_valid_boundary_are_400(server, boundary):
    kind = b"multipart/form-data" + boundary
    head = head_of(server.address, "/api/uploads", b"Content-Type: " + kind, b"Content-Length: 8", b"Connection: close")
    check_error(raw(server.address, head + b"--b--\r\n\r\n"[:8]), 400)


def test_concurrent_uploads_of_a_client_are_limited(server):
    head = head_of(
        server.address, "/api/uploads", b"Content-Type: multipart/form-data; boundary=b", b"Content-Length: 900"
    )
    waiting = []
    try:
        for _ in range(server.state.body_limits.concurrent_uploads):
            wire = connect(server.address)
            wire.sendall(head + b"--b\r\n")
            waiting.append(wire)
        time.sleep(0.15)
        reply = form(server, part(b"file", FRAME.to_csv().encode(), b"x.csv") + b"--b--\r\n")
        check_error(reply, 429)
        assert int(reply.header("retry-after")) >= 1
    finally:
        for wire in waiting:
            wire.close()
    time.sleep(0.3)
    body = part(b"file", FRAME.to_csv().encode(), b"x.csv") + b"--b--\r\n"
    assert form(server, body).status == 201, "closed connections must not count"

"""Bodies and forms that are too long, too slow, endless or no request at all."""

from __future__ import annotations

import itertools
import json
import time

import pytest

from kronos.serve.server import StrictHTTPProtocol
from serve.asks import SMALL
from serve.attacks.attacked import FRAME, refused
from serve.live import served, settings_in
from serve.wire import connect, head_of, host_of, post, raw

# Bodies.


def test_a_long_body_is_refused_by_its_length_before_it_comes(server):
    reply = raw(server.address, head_of(server.address, "/api/load-data", b"Content-Length: 1000001"))
    refused(reply, 413)
    assert reply.closed
    assert reply.seconds < 1


@pytest.mark.parametrize("length", [b"99999999999999999999999999", b"-1", b"0x10", b"1, 2", b"1e3", b"+5"])
def test_lengths_that_are_none_are_no_http(server, length):
    refused(raw(server.address, head_of(server.address, "/api/load-data", b"Content-Length: " + length)), 400, 413)


def test_an_endless_body_in_chunks_is_refused_when_it_is_too_long(server):
    head = head_of(server.address, "/api/load-data", b"Content-Type: application/json", b"Transfer-Encoding: chunked")
    reply = raw(server.address, head, endless=itertools.repeat(b"8000\r\n" + b" " * 32768 + b"\r\n"))
    refused(reply, 413)
    assert reply.closed


def test_an_upload_longer_than_its_limit_is_refused_though_no_length_was_said(home, tmp_path):
    with served(settings_in(tmp_path, upload_mb=1)) as small:
        head = head_of(
            small.address,
            "/api/uploads",
            b"Content-Type: multipart/form-data; boundary=b",
            b"Transfer-Encoding: chunked",
        )
        part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\n'
        first = b"%x\r\n%s\r\n" % (len(part), part)
        reply = raw(small.address, head, first, endless=itertools.repeat(b"8000\r\n" + b"1" * 32768 + b"\r\n"))
        refused(reply, 413)
        assert reply.closed


@pytest.mark.parametrize("target", ["/health", "/api/assets", "/api/predict?symbol=BTC", "/docs", "/nothing"])
def test_a_body_that_nobody_reads_ends_the_connection(server, target):
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
def test_what_comes_beside_bodies_is_bounded(server, what):
    begin, more = ENDLESS[what]
    sent = 0

    def endless():
        nonlocal sent
        while sent < 50_000_000:
            sent += len(more)
            yield more

    started = time.monotonic()
    reply = raw(server.address, begin.replace(b"{host}", host_of(server.address)), endless=endless())
    assert sent < 20_000_000, "the server took it all"  # what lies in the kernel's buffers counts too
    assert time.monotonic() - started < 5
    assert reply is None or reply.status in (200, 431)


def test_chunks_of_one_byte_are_a_body_like_others(server):
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
def test_bodies_that_are_no_request_are_refused(server, body):
    for target in ("/api/load-data", "/api/predict", "/api/load-model"):
        refused(post(server.address, target, body), 400)


WRONG = [None, True, "", "x", "1e999", -1, 0, 10**30, 1.5, -0.0, [], [1], {}, {"a": 1}, "9" * 300, "\ud800", "NaN"]


@pytest.mark.parametrize("field", ["file_path", "symbol", "interval", "timezone", "calendar", "columns", "lookback",
                                   "pred_len", "temperature", "top_p", "sample_count", "start_date", "seed",
                                   "calibrate", "unknown"])  # fmt: skip
def test_wrong_types_everywhere_are_told_and_never_a_fault_of_the_server(server, field):
    for value in WRONG:
        body = json.dumps({**SMALL, field: value}).encode()
        reply = post(server.address, "/api/predict", body)
        assert reply.status in (200, 400, 404), (value, reply.body)
        if reply.status != 200:
            refused(reply, 400, 404)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000, b"1e-400"])
@pytest.mark.parametrize("field", [b"temperature", b"top_p", b"lookback", b"pred_len", b"sample_count", b"seed"])
def test_numbers_that_json_does_not_have_are_refused(server, field, number):
    body = b'{"file_path":"good.csv","%s":%s}' % (field, number)
    refused(post(server.address, "/api/predict", body), 400)


def test_a_body_of_another_type_is_refused(server):
    for kind in (b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"x/y"):
        body = json.dumps(SMALL).encode()
        head = head_of(server.address, "/api/predict", b"Content-Type: " + kind, b"Content-Length: %d" % len(body))
        refused(raw(server.address, head + body), 400, 415)


# Slowness.


def test_a_body_that_drips_is_given_up_with_408_and_the_connection_closed(server):
    head = head_of(server.address, "/api/load-data", b"Content-Type: application/json", b"Content-Length: 1000")
    reply = raw(server.address, head, *[b"{"] * 12, pause=0.1)
    refused(reply, 408)
    assert reply.closed
    assert reply.seconds < 5


def test_a_body_that_stops_is_given_up_with_408(server):
    head = head_of(
        server.address, "/api/uploads", b"Content-Type: multipart/form-data; boundary=b", b"Content-Length: 900"
    )
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\na,b\r\n'
    reply = raw(server.address, head, part)
    refused(reply, 408)
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
def test_headers_that_never_end_are_cut(server, monkeypatch, begin, drop):
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
                wire.sendall(drop)  # drips on
            except ConnectionError:
                break
        assert 0.3 < time.monotonic() - started < 3


def test_a_client_that_reads_nothing_is_cut(server, monkeypatch):
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


def test_a_slow_but_steady_client_is_answered(server, monkeypatch):
    monkeypatch.setattr(StrictHTTPProtocol, "head_seconds", 3)
    text = f"GET /health HTTP/1.1\r\nHost: {host_of(server.address).decode()}\r\nConnection: close\r\n\r\n".encode()
    reply = raw(server.address, *(text[i : i + 8] for i in range(0, len(text), 8)), pause=0.05)
    assert reply.status == 200


# Forms.


def form(server, body, *, boundary=b"b", target="/api/uploads"):
    head = head_of(server.address, target, b"Content-Type: multipart/form-data; boundary=" + boundary,
                   b"Content-Length: %d" % len(body), b"Connection: close")  # fmt: skip
    return raw(server.address, head + body)


def part(name, content=b"x", filename=None):
    told = b"" if filename is None else b'; filename="%s"' % filename
    return b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name, told, content)


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
def test_forms_that_are_broken_or_absurd_are_refused(server, body):
    started = time.monotonic()
    refused(form(server, body), 400, 413)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("boundary", [b"", b"; boundary=", b"; boundary=" + b"b" * 60_000])
def test_forms_without_a_sensible_boundary_are_refused(server, boundary):
    kind = b"multipart/form-data" + boundary
    head = head_of(server.address, "/api/uploads", b"Content-Type: " + kind, b"Content-Length: 8", b"Connection: close")
    refused(raw(server.address, head + b"--b--\r\n\r\n"[:8]), 400)


def test_a_client_sends_a_few_files_at_once_and_no_more(server):
    head = head_of(
        server.address, "/api/uploads", b"Content-Type: multipart/form-data; boundary=b", b"Content-Length: 900"
    )
    waiting = []
    try:
        for _ in range(server.state.rules.uploads):
            wire = connect(server.address)
            wire.sendall(head + b"--b\r\n")
            waiting.append(wire)
        time.sleep(0.15)
        reply = form(server, part(b"file", FRAME.to_csv().encode(), b"x.csv") + b"--b--\r\n")
        refused(reply, 429)
        assert int(reply.header("retry-after")) >= 1
    finally:
        for wire in waiting:
            wire.close()
    time.sleep(0.3)
    body = part(b"file", FRAME.to_csv().encode(), b"x.csv") + b"--b--\r\n"
    assert form(server, body).status == 201, "those that have left must not count"

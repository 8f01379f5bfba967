"""Foreign origins, unknown hosts, and malformed HTTP."""

from __future__ import annotations

import pytest

from kronos.serve.state import build_state
from serve.attacks.checks import ORIGIN, check_error
from serve.raw_http import get, host_of, raw
from serve.servers import run_server, settings_in

FOREIGN = [
    "https://evil.example", "http://evil.example:80", "null", "NULL", "https://charts.example.evil.example",
    "https://evil-charts.example", "http://charts.example", "https://charts.example:444", "https://charts.example@evil",
    "file://", "chrome-extension://abc", "http://localhost", "http://127.0.0.1", "http://127.0.0.1:1", "http://[::1",
    "http://", "://", "", "*", "https://charts.example, https://evil.example", "\xff", "http://[v1.x]:y",
]  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize(("method", "target"), [("GET", "/api/assets"), ("POST", "/api/predict"), ("GET", "/health"),
                                                ("DELETE", "/api/uploads/x"), ("GET", "/nothing")])  # fmt: skip
def test_foreign_origins_are_403(server, method, target, origin):
    reply = get(server.address, target, b"Origin: " + origin.encode("latin-1"), method=method)
    check_error(reply, 403)
    assert reply.header("access-control-allow-origin") is None


@pytest.mark.parametrize("target", ["/api/assets", "/openapi.json", "/metrics", "/api/jobs"])
def test_cross_site_requests_without_an_origin_are_403(server, target):
    check_error(get(server.address, target, b"Sec-Fetch-Site: cross-site"), 403)
    check_error(get(server.address, target, b"Sec-Fetch-Site: Cross-Site", b"Sec-Fetch-Mode: no-cors"), 403)
    for site in (b"same-origin", b"none"):
        assert get(server.address, target, b"Sec-Fetch-Site: " + site).status == 200


@pytest.mark.parametrize("page", ["/docs", "/docs/swagger-ui.css"])
def test_links_from_other_sites_may_open_the_docs_page(server, page):
    document = (b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document")
    assert get(server.address, page, *document).status == 200
    check_error(get(server.address, page, *document, method="POST"), 403)
    check_error(get(server.address, page, *document, b"Origin: http://evil.example"), 403)


@pytest.mark.parametrize("origin", [ORIGIN, ORIGIN.upper()])
def test_an_allowed_origin_is_echoed_without_credentials(server, origin):
    for target in ("/api/assets", "/nothing", "/api/predict", "/api/results/x"):
        reply = get(server.address, target, b"Origin: " + origin.encode(), b"Sec-Fetch-Site: cross-site")
        assert reply.status in (200, 400, 404)
        assert reply.header("access-control-allow-origin") == origin
        assert reply.header("access-control-allow-credentials") is None
        assert reply.header("vary") == "Origin"


def test_responses_vary_by_origin(server):
    assert get(server.address, "/api/assets").header("vary") == "Origin"


def test_preflight_requests_are_answered_for_allowed_origins_only(server):
    requests = (b"Access-Control-Request-Method: POST", b"Access-Control-Request-Headers: content-type")
    reply = get(server.address, "/api/predict", b"Origin: " + ORIGIN.encode(), *requests, method="OPTIONS")
    assert reply.status == 204
    assert reply.header("access-control-allow-origin") == ORIGIN
    assert "*" not in str(reply.headers)
    assert reply.header("access-control-allow-credentials") is None
    assert "content-type" in reply.header("access-control-allow-headers")
    foreign = get(server.address, "/api/predict", b"Origin: https://evil.example", *requests, method="OPTIONS")
    check_error(foreign, 403)
    assert foreign.header("access-control-allow-methods") is None


def test_the_servers_own_origin_is_allowed(server):
    own = b"http://" + host_of(server.address)
    assert get(server.address, "/api/assets", b"Origin: " + own).status == 200
    assert get(server.address, "/api/assets", b"Origin: " + own.replace(b"http", b"https")).status == 200


PORT = b"{port}"
STRANGE = [
    b"evil.example", b"evil.example:" + PORT, b"evil.localhost", b"localhost.evil.example", b"127.0.0.1.evil.example",
    b"127.0.0.1.nip.io:" + PORT, b"[::2]", b"[::1].evil.example", b"[::1]x:" + PORT, b"[::1", b"::ffff:127.0.0.1",
    b"0.0.0.0", b"0", b"127.1", b"2130706433", b"0x7f000001", b"127.0.0.2", b"", b":" + PORT, b"localhost:evil",
    b"localhost@evil.example", b"evil.example@localhost", b"localhost/evil", b"localhost,evil.example",
    b"localhost evil",
    b"kronos.example.evil", b"xkronos.example", b"localhost..", b"LOCALHOST.EVIL", b"\xff\xfe", b"a" * 5000,
    b"localhost\tevil",
]  # fmt: skip


def named(server, host):
    return host.replace(PORT, host_of(server.address).rpartition(b":")[2])


@pytest.mark.parametrize("host", STRANGE)
@pytest.mark.parametrize("target", ["/api/assets", "/health", "/nothing"])
def test_unknown_hosts_are_421(server, target, host):
    check_error(get(server.address, target, host=named(server, host)), 421)


@pytest.mark.parametrize(
    "host",
    [b"127.0.0.1", b"127.0.0.1:" + PORT, b"localhost", b"LocalHost:" + PORT, b"localhost.", b"localhost.:" + PORT,
     b"[::1]",
     b"[::1]:" + PORT, b"kronos.example", b"KRONOS.example:443", b"kronos.example.", b"localhost:"],
)  # fmt: skip
def test_known_hosts_are_accepted(server, host):
    assert get(server.address, "/api/assets", host=named(server, host)).status == 200


def test_a_missing_or_repeated_host_is_rejected(server):
    own = host_of(server.address)
    check_error(raw(server.address, b"GET /api/assets HTTP/1.1\r\nConnection: close\r\n\r\n"), 421)
    check_error(raw(server.address, b"GET /api/assets HTTP/1.0\r\n\r\n"), 421)
    for first, second in ((own, b"evil.example"), (b"evil.example", own), (own, own)):
        check_error(get(server.address, "/api/assets", b"Host: " + second, host=first), 400, 421)


def test_the_host_of_an_absolute_target_replaces_the_header(server):
    own = host_of(server.address)
    for target in ("http://evil.example/api/assets", "http://evil.example:80/api/assets", "https://evil/health"):
        check_error(get(server.address, target), 421)
    assert get(server.address, f"http://{own.decode()}/api/assets", host=b"evil.example").status == 200
    check_error(get(server.address, "http://evil.example"), 400, 421)
    check_error(get(server.address, "evil.example:443", method="CONNECT"), 400, 421)


@pytest.mark.parametrize("header", [b"X-Forwarded-Host", b"Forwarded", b"X-Host", b"X-Original-URL", b"X-Rewrite-URL"])
def test_forwarding_headers_are_ignored(server, header):
    value = b"host=127.0.0.1" if header == b"Forwarded" else b"127.0.0.1"
    check_error(get(server.address, "/api/assets", header + b": " + value, host=b"evil.example"), 421)
    assert get(server.address, "/api/assets", header + b": /health").json()["count"] > 0


def test_a_forged_forwarded_address_does_not_evade_the_rate_limit(tmp_path):
    state = build_state(settings_in(tmp_path, requests_per_minute=3))
    with run_server(state.settings, state) as running:
        found = [get(running.address, "/api/assets", f"X-Forwarded-For: 10.0.0.{i}".encode()).status for i in range(9)]
    assert found[:3] == [200] * 3
    assert found[4:] == [429] * 5


@pytest.mark.parametrize("version", [b"13", b"8", b""])
def test_websockets_are_rejected(server, version):
    requests = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            b"Sec-WebSocket-Version: " + version)  # fmt: skip
    for target in ("/", "/api/jobs/x/events", "/ws", "/health"):
        reply = get(server.address, target, *requests)
        assert reply.status != 101
        assert reply.header("sec-websocket-accept") is None


def test_invalid_http_is_rejected(server):
    for sent in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET /\r\n\r\n", b"HELO evil\r\n\r\n",
                 b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 100,
                 "GET /é HTTP/1.1\r\n\r\n".encode(),
                 b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"GET / HTTP/1.1\r\n Folded: x\r\n\r\n",
                 b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                 b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12"):  # fmt: skip
        reply = raw(server.address, sent)
        check_error(reply, 400, 421)
        assert reply.closed


ABSURD = [
    "symbol=" + "A" * 60_000, "&" * 50_000, "symbol=BTC&" * 5_000, "a[b][c]=1", "%", "%zz", "symbol=%ff%fe",
    "symbol[]=BTC",
    "symbol=BTC;hours=1", "hours=1&symbol=%00", "=", "hours=NaN&symbol=BTC", "symbol=BTC&hours=1e3",
    "symbol=BTC&hours=0x10", "symbol=BTC&hours=" + "9" * 5000, "symbol=BTC&hours=-1", "symbol=BTC&hours=169",
    "symbol=BTC&hours=1.5", "symbol=%0d%0aSet-Cookie:a=b",
]  # fmt: skip


@pytest.mark.parametrize("query", ABSURD, ids=lambda query: query[:24])
def test_absurd_queries_never_fail(server, query):
    for target in ("/api/predict", "/api/history", "/udf/history", "/udf/symbols", "/udf/search"):
        reply = get(server.address, f"{target}?{query}")
        assert reply.status in (200, 400, 404), reply.body
        assert reply.header("set-cookie") is None
        assert reply.header("x-content-type-options") == "nosniff"


def test_many_and_repeated_headers_never_fail(server):
    lines = [b"X-%d: y" % i for i in range(2000)]
    assert get(server.address, "/health", *lines).status in (200, 431)
    assert get(server.address, "/health", *[b"X-Same: y"] * 2000).status in (200, 431)
    assert get(server.address, "/health", b"X-Empty:", b"X-Odd: \xff\xfe\x80").status == 200

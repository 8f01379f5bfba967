"""The fast path of cached predictions, and the end of event streams at shutdown."""

from __future__ import annotations

import socket
import threading

import pytest

from kronos.serve.routes import predictions
from serve.servers import run_server, settings_in

EQUAL_HEADERS = (
    "cache-control", "content-length", "content-type", "content-security-policy", "cross-origin-resource-policy",
    "referrer-policy", "x-content-type-options",
)  # fmt: skip
ROUTED_QUERY = "symbol=%42TC&hours=6"


@pytest.fixture(scope="module", autouse=True)
def filled_cache(live):
    """Fill the cache with the predictions that the tests request."""
    with live.client() as client:
        for hours in (6, 24):
            assert client.get("/api/predict", params={"symbol": "BTC", "hours": hours}).status_code == 200


@pytest.mark.parametrize("query", ["symbol=BTC&hours=6", "hours=6&symbol=BTC", "symbol=btc&hours=6"])
def test_a_cached_response_equals_the_response_of_the_route(client, query):
    cached = client.get(f"/api/predict?{query}")
    routed = client.get(f"/api/predict?{ROUTED_QUERY}")
    assert cached.status_code == routed.status_code == 200
    assert cached.content == routed.content
    assert sorted(cached.headers) == sorted(routed.headers)
    seconds = [int(item.headers["cache-control"].removeprefix("private, max-age=")) for item in (cached, routed)]
    assert 0 <= seconds[0] - seconds[1] <= 2
    for name in EQUAL_HEADERS[1:]:
        assert cached.headers[name] == routed.headers[name]
    assert cached.headers["x-request-id"] != routed.headers["x-request-id"]
    assert len(cached.headers["x-request-id"]) == 16


def test_a_plain_query_does_not_reach_the_route(client, monkeypatch):
    monkeypatch.delattr(predictions, "_json_response")
    assert client.get("/api/predict?symbol=BTC").status_code == 200
    assert client.get(f"/api/predict?{ROUTED_QUERY}").status_code == 500


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("symbol=", 400),
        ("symbol=BTC&hours=0", 400),
        ("symbol=BTC&hours=169", 400),
        ("symbol=BTC&hours=999", 400),
        ("symbol=BTC&hours=x", 400),
        ("symbol=BTC&hours=6.5", 400),
        ("symbol=NONE", 404),
        (f"symbol={'B' * 21}", 400),
        ("symbol=BTC&symbol=NONE", 400),
        ("hours=0&symbol=BTC&hours=24", 400),
        ("symbol=BTC&hours=024", 200),
        ("symbol=%20BTC%20", 200),
        ("symbol=BTC&more=1", 200),
    ],
)
def test_other_queries_reach_the_route(client, query, status):
    assert client.get(f"/api/predict?{query}").status_code == status


def test_put_is_405(client):
    assert client.put("/api/predict?symbol=BTC").status_code == 405


def test_cached_responses_are_counted_under_the_route(live, client):
    name = 'kronos_requests_total{method="GET",route="/api/predict",status="200"}'

    def count():
        return next(float(line.split()[-1]) for line in client.get("/metrics").text.splitlines() if name in line)

    before = count()
    for query in ("symbol=BTC", ROUTED_QUERY):
        client.get(f"/api/predict?{query}")
    assert count() == before + 2


def test_host_and_origin_are_checked_first(client):
    assert client.get("/api/predict?symbol=BTC", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/api/predict?symbol=BTC", headers={"Origin": "https://evil.example"}).status_code == 403


def test_api_keys_and_rate_limits_apply(tmp_path):
    with (
        run_server(settings_in(tmp_path, api_keys="secret", requests_per_minute=4)) as server,
        server.client() as client,
    ):
        assert client.get("/api/predict?symbol=BTC").status_code == 401
        key = {"X-API-Key": "secret"}
        statuses = [client.get("/api/predict?symbol=BTC", headers=key).status_code for _ in range(6)]
    assert statuses[:3] == [200] * 3
    assert statuses[-1] == 429


def test_a_stream_ends_with_closing_at_shutdown(tmp_path):
    body = {"file_path": "sample:simulated_btc_1h", "seed": 1, "sample_count": 200, "pred_len": 190}
    with run_server(settings_in(tmp_path)) as server:
        with server.client() as client:
            events = client.post("/api/jobs/predict", json=body).json()["events"]
        host, port = server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 10) as stream, stream.makefile("rb") as file:
            stream.sendall(f"GET {events} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            while not file.readline().startswith(b"event: progress"):
                pass
            threading.Thread(target=server.server.handle_exit, args=(2, None)).start()
            rest = file.read()
    kinds = [line.removeprefix(b"event: ") for line in rest.splitlines() if line.startswith(b"event: ")]
    assert kinds[-1] == b"closing"
    assert set(kinds[:-1]) <= {b"progress", b"failed", b"cancelled"}

"""Browsers, monitors, generated clients and reverse proxies: what they send, and what they need."""

from __future__ import annotations

import base64
import socket

import pytest

from kronos.errors import ParameterError
from kronos.serve.middleware.base import address_block
from kronos.settings import get_settings
from serve.payloads import SAMPLE, SMALL
from serve.servers import run_server, settings_in

KEY = "k" * 20
GET_ROUTES = (
    "/", "/docs", "/docs/docs.js", "/openapi.json", "/health", "/ready", "/metrics", "/api/assets", "/api/data-files",
    "/api/predict?symbol=BTC", "/api/history?symbol=BTC", "/api/uploads", "/api/available-models", "/api/model-status",
    "/api/jobs", "/api/results", "/udf/config", "/udf/time", "/udf/symbols?symbol=BTC", "/udf/search?query=BTC",
    "/udf/history?symbol=BTC&resolution=60&to=1", "/api/jobs/none", "/api/results/none", "/nothing",
)  # fmt: skip


def basic(text):
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


# HEAD ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("target", GET_ROUTES)
def test_head_has_the_headers_of_get(client, target):
    client.get(target, follow_redirects=False)
    get, head = client.get(target, follow_redirects=False), client.head(target, follow_redirects=False)
    assert (head.status_code, head.content) == (get.status_code, b"")
    ignored = {"date", "x-request-id", "cache-control"}
    if target == "/metrics":
        ignored.add("content-length")
    kept = [{name: value for name, value in one.headers.items() if name not in ignored} for one in (head, get)]
    assert kept[0] == kept[1]


def test_head_of_an_event_stream_ends(client):
    job = client.post("/api/jobs/predict", json=SMALL).json()
    head = client.head(job["events"])
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")


def test_head_is_counted_as_its_route(client):
    client.head("/api/assets")
    metrics = client.get("/metrics").text
    assert 'method="HEAD",route="/api/assets",status="200"' in metrics


@pytest.mark.parametrize("target", ["/api/load-data", "/api/jobs/predict/x"])
def test_head_of_other_routes_is_refused(client, target):
    assert client.head(target).status_code in (404, 405)


def test_allow_lists_head(client):
    refused = client.put("/api/assets")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


# Content types ------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/api/predict", "/api/load-data", "/api/jobs/predict", "/api/load-model"])
@pytest.mark.parametrize(
    "given", ["application/x-www-form-urlencoded", "text/plain; charset=utf-8", "", "application/jsonx"]
)
def test_a_missing_content_type_is_named(client, target, given):
    body = b'{"file_path": "%s"}' % SAMPLE.encode()
    refused = client.post(target, content=body, headers={"Content-Type": given} if given else {})
    assert refused.status_code == 415
    message = refused.json()["message"]
    assert "Content-Type" in message
    assert "application/json" in message
    assert given.partition(";")[0] in message


@pytest.mark.parametrize("given", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"])
def test_json_content_types_are_accepted(client, given):
    body = b'{"file_path": "%s"}' % SAMPLE.encode()
    assert client.post("/api/load-data", content=body, headers={"Content-Type": given}).status_code == 200
    assert client.post("/api/load-data", content=b"{", headers={"Content-Type": given}).status_code == 400


def test_the_content_type_of_uploads_is_named(client):
    refused = client.post("/api/uploads", json={})
    assert refused.status_code == 415
    assert "multipart/form-data" in refused.json()["message"]


# Keys in browsers ---------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with a key."""
    with run_server(settings_in(tmp_path_factory.mktemp("guarded"), api_keys=KEY)) as server:
        yield server


@pytest.mark.parametrize("target", ["/docs", "/openapi.json", "/api/assets", "/udf/config", "/udf/time"])
def test_browsers_are_asked_for_the_key_and_may_send_it_as_password(guarded, target):
    with guarded.client() as client:
        refused = client.get(target)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic ")
        assert client.get(target, headers=basic(f"anyone:{KEY}")).status_code == 200
        assert client.get(target, headers=basic(f":{KEY}")).status_code == 200
        for wrong in (f"{KEY}:", KEY, f"a:{KEY}x", "a:"):
            assert client.get(target, headers=basic(wrong)).status_code == 401
        assert client.get(target, headers={"Authorization": "Basic ?"}).status_code == 401


def test_errors_of_the_data_feed_have_its_form_without_a_key(guarded):
    with guarded.client() as client:
        body = client.get("/udf/history?symbol=BTC&resolution=60&to=1").json()
        assert (body["s"], body["errmsg"]) == ("error", body["message"])
        assert "s" not in client.get("/api/assets").json()


@pytest.mark.parametrize(("public", "opened"), [("docs", {"docs"}), ("udf", {"udf"}), ("docs, UDF", {"docs", "udf"})])
def test_parts_of_the_api_may_be_public(tmp_path, public, opened):
    targets = {"docs": ["/docs", "/docs/docs.js", "/openapi.json"], "udf": ["/udf/config", "/udf/time"]}
    with run_server(settings_in(tmp_path, api_keys=KEY, public=public)) as server, server.client() as client:
        for part, paths in targets.items():
            for target in paths:
                assert (client.get(target).status_code < 400) == (part in opened), target
        for target in ("/api/assets", "/metrics", "/docsx", "/udf", "/openapi.jsonx"):
            assert client.get(target).status_code == 401, target


def test_unknown_public_parts_are_an_error(monkeypatch):
    monkeypatch.setenv("KRONOS_SERVE__PUBLIC", "docs,everything")
    with pytest.raises(ParameterError, match="everything"):
        get_settings()


# Proxies ------------------------------------------------------------------------


@pytest.mark.parametrize("removed", [True, False], ids=["removed", "kept"])
def test_a_path_prefix_may_be_configured(tmp_path, removed):
    prefix = "" if removed else "/kronos/v1"
    with run_server(settings_in(tmp_path, root_path="/kronos/v1")) as server, server.client() as client:
        assert client.get(f"{prefix}/api/assets").status_code == 200
        assert client.get(f"{prefix}/docs").status_code == 200
        assert client.get(f"{prefix}/").headers.get("location", "docs") == "docs"
        job = client.post(f"{prefix}/api/jobs/predict", json=SMALL).json()
        assert job["events"].startswith("/kronos/v1/api/jobs/")
        assert client.get(job["events"]).status_code == 200
        assert client.get("/kronos/api/assets").status_code == 404


def test_a_prefix_like_a_path_of_the_api_is_never_removed(tmp_path):
    with run_server(settings_in(tmp_path, root_path="/api")) as server, server.client() as client:
        assert client.get("/api/assets").status_code == 200
        assert client.post("/api/jobs/predict", json=SMALL).json()["events"].startswith("/api/api/jobs/")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trusted", "header", "prefix"),
    [("127.0.0.1", "/kronos", "/kronos"), ("127.0.0.1", "/a/b/", "/a/b"), ("127.0.0.1", "//evil.example", ""),
     ("127.0.0.1", "https://evil.example", ""), ("127.0.0.1", '/"><script>', ""), ("10.0.0.1", "/kronos", ""),
     ("", "/kronos", "")],
)  # fmt: skip
def test_the_prefix_of_a_trusted_proxy_is_used(tmp_path, monkeypatch, trusted, header, prefix):
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    if trusted:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    with run_server(settings_in(tmp_path)) as server, server.client() as client:
        job = client.post("/api/jobs/predict", json=SMALL, headers={"X-Forwarded-Prefix": header}).json()
        assert job["events"].startswith(f"{prefix}/api/jobs/")


def test_the_document_names_the_server_relative_to_itself(client):
    assert client.get("/openapi.json").json()["servers"][0]["url"] == "."


# Addresses ----------------------------------------------------------------------


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs a socket of IPv4 and IPv6")
def test_a_proxy_on_ipv4_is_trusted_on_a_socket_of_both_protocols(tmp_path, monkeypatch):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1")
    with run_server(settings_in(tmp_path, requests_per_minute=2), host="::") as running, running.client() as client:
        headers = [{"X-Forwarded-For": f"203.0.113.{i}", "X-Forwarded-Prefix": "/kronos"} for i in range(8)]
        assert [client.get("/api/assets", headers=one).status_code for one in headers] == [200] * 8
        job = client.post("/api/jobs/predict", json=SMALL, headers=headers[0]).json()
        assert job["events"].startswith("/kronos/api/jobs/")


def test_the_addresses_of_one_ipv6_network_share_a_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1")
    with run_server(settings_in(tmp_path, requests_per_minute=3)) as running, running.client() as client:
        senders = [*(f"2001:db8:1:2::{i:x}" for i in range(1, 6)), "2001:db8:1:2:3:4:5:6", "2001:db8:1:3::1", "::1"]
        answers = [client.get("/api/assets", headers={"X-Forwarded-For": one}).status_code for one in senders]
        assert answers[:3] + answers[4:] == [200, 200, 200, 429, 429, 200, 200]  # the fourth may overdraw


@pytest.mark.parametrize(
    ("host", "block"),
    [
        ("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("::ffff:a00:1", "10.0.0.1"), ("::1", "::1"),
        ("2001:db8::7", "2001:db8::/64"), ("fe80::7%eth0", "fe80::/64"), ("unknown", "unknown"), ("::x", "::x"),
        ("::ffff:x", "::ffff:x"),
    ],
)  # fmt: skip
def test_address_blocks(host, block):
    assert address_block(host) == block

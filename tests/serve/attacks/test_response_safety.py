"""Input of clients stays inert, and errors reveal nothing about the machine."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time

import pytest

from kronos.sandbox.data_dir import redact_paths
from serve.attacks.checks import FRAME, HEADERS, TRACE, check_error
from serve.payloads import LONG, SMALL
from serve.raw_http import connect, get, host_of, read
from serve.servers import run_server, settings_in

SCRIPT = "<script>alert(1)</script>"


# Input of clients -----------------------------------------------------------

FIELDS = {"symbol": SCRIPT, "file_path": f"{SCRIPT}.csv", "model_key": SCRIPT, "interval": SCRIPT, "timezone": SCRIPT,
          "calendar": SCRIPT, "start_date": SCRIPT}  # fmt: skip


def inert(answer):
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in ("application/json", "text/event-stream", "text/csv"), kind
    assert answer.headers["x-content-type-options"] == "nosniff"
    return answer


def test_scripts_in_names_are_returned_only_as_json(client):
    for name, text in FIELDS.items():
        route = "/api/load-model" if name == "model_key" else "/api/predict"
        inert(client.post(route, json={**(SMALL if route.endswith("predict") else {}), name: text}))
    for target in (f"/api/predict?symbol={SCRIPT[:20]}", f"/api/history?symbol={SCRIPT[:20]}", f"/{SCRIPT}",
                   f"/api/jobs/{SCRIPT}", f"/api/results/{SCRIPT}", f"/udf/symbols?symbol={SCRIPT}",
                   f"/udf/search?query={SCRIPT}",
                   f"/udf/history?symbol={SCRIPT}&resolution={SCRIPT[:9]}&to=1"):  # fmt: skip
        inert(client.get(target))


@pytest.mark.slow
def test_scripts_in_names_of_uploads_stay_text_in_saved_results(client):
    content = FRAME.to_csv().encode()
    answer = inert(client.post("/api/uploads", files={"file": (f"{SCRIPT[:8]}{SCRIPT[9:]}.csv", content)}))
    stored = answer.json()["file_path"] if answer.status_code == 201 else "good.csv"
    result = inert(client.post("/api/predict", json={**SMALL, "file_path": stored, "symbol": SCRIPT}))
    assert result.status_code == 200
    name = result.json()["id"]
    for target in ("/api/uploads", "/api/results", f"/api/results/{name}", f"/api/results/{name}/export?format=csv",
                   f"/api/results/{name}/export?format=json", "/api/jobs"):  # fmt: skip
        inert(client.get(target))
    exported = client.get(f"/api/results/{name}/export?format=csv")
    named = r'attachment; filename="([\w.-]+\.csv)"; filename\*=UTF-8\'\'\1'
    assert re.fullmatch(named, exported.headers["content-disposition"])


@pytest.mark.parametrize("symbol", ["BTC\r\nSet-Cookie: a=b", "BTC\nX: y", "BTC\0", "\x1b[2J", "\u2028", "a" * 200])
def test_names_do_not_reach_headers(client, symbol):
    result = client.post("/api/predict", json={**SMALL, "symbol": symbol})
    assert result.status_code in (200, 400)
    assert "set-cookie" not in result.headers
    if result.status_code == 200:
        exported = client.get(f"/api/results/{result.json()['id']}/export?format=csv")
        assert exported.status_code == 200
        assert "set-cookie" not in exported.headers
        assert symbol not in str(exported.headers)
    assert "set-cookie" not in client.get("/api/results/x%0d%0aSet-Cookie:%20a=b/export").headers


def test_the_docs_page_has_no_inline_or_remote_resources(client):
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert re.findall(r"<script[^>]*>(.*?)</script>", page.text, re.DOTALL) == ["", ""]
    assert "<style" not in page.text.lower()
    assert not re.search(r"\s(on\w+|style)\s*=", page.text)
    loads = re.findall(r"""(?:src|href|action|data|poster)\s*=\s*["']([^"']*)["']""", page.text)
    assert all(re.fullmatch(r"docs/[\w.-]+\.(css|js)\?v=[0-9a-f]+|openapi\.json|data:,", item) for item in loads), loads
    style = client.get("/" + next(item for item in loads if ".css" in item))
    assert style.status_code == 200
    assert "@import" not in style.text
    assert set(re.findall(r"url\(\W?(\w+:)", style.text)) == {"data:"}
    assert style.text.count("url(") == len(re.findall(r"url\(\W?data:", style.text))


def test_every_response_has_security_headers(client, server):
    targets = ["/", "/docs", "/openapi.json", "/health", "/ready", "/metrics", "/api/assets", "/api/predict?symbol=BTC",
               "/api/predict?symbol=BTC", "/api/predict?symbol=NONE", "/api/predict", "/api/history?symbol=BTC",
               "/nothing", "/udf/config", "/udf/time", "/api/results", "/api/results/x", "/api/jobs", "/api/uploads",
               "/api/data-files", "/api/available-models", "/api/model-status"]  # fmt: skip
    for target, method in itertools.product(targets, ("GET", "POST", "PUT", "HEAD", "OPTIONS", "TRACE", "PATCH")):
        if method == "HEAD":
            answer = client.request(method, target, follow_redirects=False)
            headers = dict(answer.headers)
        else:
            headers = dict(get(server.address, target, method=method).headers)
        assert headers.items() >= HEADERS.items(), (method, target)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert re.fullmatch(r"[0-9a-f]{16}", headers["x-request-id"])
        assert "server" not in headers
        assert "x-powered-by" not in headers


# Errors ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("No file /home/me/data/x.csv.", "No file x.csv."), ("'/srv/my data/of me/x.csv' is bad", "'x.csv' is bad"),
        ('cannot read "/srv/a b/c d/weights"', 'cannot read "weights"'), ("C:\\Users\\me\\x.csv", "x.csv"),
        ("file:///home/me/x.csv", "x.csv"), ("see https://host/path/to", "see https://host/path/to"),
        ("path=/var/lib/kronos/x", "path=x"), ("(/var/lib/kronos/x)", "(x)"), ("a/b is fine", "a/b is fine"),
    ],
)  # fmt: skip
def test_paths_are_redacted_to_their_last_part(text, document):
    assert redact_paths(text) == document


def test_redaction_is_fast():
    for text in ("/" * 20_000, "'/" + "a/" * 20_000, "/a" * 20_000, "'" * 20_000, "'/a" * 5_000):
        started = time.monotonic()
        redact_paths(text[:4000])
        assert time.monotonic() - started < 1


def test_an_unwritable_state_folder_is_507_without_its_path(tmp_path):
    folder = tmp_path / "of some user"
    folder.mkdir()
    (folder / "state").write_text("a file, where a folder is needed")
    settings = settings_in(folder, work_per_minute=0)
    with run_server(settings) as running, running.client() as client:
        running.wait_ready()
        for answer in (client.post("/api/predict", json=SMALL),
                       client.post("/api/uploads", files={"file": ("x.csv", FRAME.to_csv())})):  # fmt: skip
            document = check_error(answer, 507)
            assert "some user" not in document["message"]
        assert "some user" not in check_error(client.get("/api/results"), 507)["message"]
        assert client.get("/api/uploads").json() == []
        job = client.post("/api/jobs/predict", json=SMALL).json()
        until = time.monotonic() + 30
        while (job := client.get(f"/api/jobs/{job['id']}").json())["state"] in ("queued", "running"):
            assert time.monotonic() < until
            time.sleep(0.02)
        assert job["state"] == "failed"
        assert not TRACE.search(job["error"]["message"])
        assert client.get("/api/predict?symbol=BTC").status_code == 200


def test_a_missing_data_folder_is_empty(tmp_path):
    settings = settings_in(tmp_path, data_dir=tmp_path / "none")
    with run_server(settings) as running, running.client() as client:
        assert client.get("/api/data-files").json() == []
        check_error(client.post("/api/load-data", json={"file_path": "x.csv"}), 404)


def test_a_broken_model_folder_is_reported_without_its_path(tmp_path):
    folder = tmp_path / "my models" / "broken"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{")
    (folder / "model.safetensors").write_bytes(b"no weights")
    settings = settings_in(tmp_path).model_copy(update={"model": str(folder)})
    with run_server(settings) as running, running.client() as client:
        answer = client.get("/api/predict?symbol=BTC")
        assert answer.status_code == 200
        document = answer.json()["prediction"]
        assert document["model"] == "simple"
        assert not TRACE.search(answer.text), document
        assert "my models" not in answer.text
        ready = client.get("/ready")
        assert ready.status_code == 503
        assert ready.json()["status"] == "failed"
        assert not TRACE.search(ready.text)
        assert "my models" not in ready.text
        check_error(client.post("/api/predict", json=SMALL), 503)
        for target in ("/api/available-models", "/api/model-status", "/metrics"):
            answer = client.get(target)
            assert answer.status_code == 200
            assert not TRACE.search(answer.text)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("secret /etc/shadow"), KeyError("secret"), OSError(5, "secret", "/etc/shadow"), MemoryError("secret"),
     RecursionError("secret"), AssertionError("secret"), UnicodeDecodeError("utf-8", b"secret", 0, 1, "secret"),
     TimeoutError("secret"), ExceptionGroup("secret", [ValueError("secret")]), StopIteration("secret")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_bug_in_a_route_reveals_no_details(server, monkeypatch, error):
    def broken(symbol):
        raise error

    monkeypatch.setattr(server.state.market_data, "asset", broken)
    reply = get(server.address, "/api/history?symbol=BTC")
    document = check_error(reply, 500, 503)
    assert "secret" not in json.dumps(document)
    assert "shadow" not in json.dumps(document)
    monkeypatch.undo()
    assert get(server.address, "/api/history?symbol=BTC").status == 200


def test_a_failing_stream_closes_only_its_connection(server, client, monkeypatch):
    job = client.post("/api/jobs/predict", json=LONG).json()
    found = server.state.jobs.get(job["id"])

    async def broken():
        yield found.document()
        raise RuntimeError("secret")

    monkeypatch.setattr(found, "changes", broken)
    with connect(server.address) as wire:
        started = time.monotonic()
        wire.sendall(f"GET {job['events']} HTTP/1.1\r\nHost: {host_of(server.address).decode()}\r\n\r\n".encode())
        reply = read(wire, started)
    assert reply.status == 200
    assert b"secret" not in reply.body
    assert reply.closed
    assert client.delete(f"/api/jobs/{job['id']}").status_code == 200


def test_pipelined_requests_are_answered_in_order(server):
    """An error in a pipeline cannot be mistaken for the response to another request."""
    own = host_of(server.address)
    lines = [b"GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n" % (path, own) for path in (b"health", b"nothing", b"api/assets")]
    with connect(server.address) as wire:
        wire.sendall(b"".join(lines))
        data = b""
        while data.count(b"HTTP/1.1 ") < 3 or not data.endswith(b"}"):
            data += wire.recv(65_536)
    assert [int(found) for found in re.findall(rb"HTTP/1\.1 (\d+)", data)] == [200, 404, 200]


def test_a_rejected_body_cannot_smuggle_a_request(server):
    """The rest of a rejected body is not parsed as a request."""
    own = host_of(server.address)
    inner = b"DELETE /api/uploads/x HTTP/1.1\r\nHost: " + own + b"\r\n\r\n"
    head = b"POST /api/load-data HTTP/1.1\r\nHost: evil.example\r\nContent-Length: %d\r\n\r\n" % (len(inner) + 5)
    with connect(server.address) as wire:
        wire.sendall(head + inner)
        data = b""
        wire.settimeout(2)
        try:
            while piece := wire.recv(65_536):
                data += piece
        except (TimeoutError, ConnectionError):
            pass
    assert re.findall(rb"HTTP/1\.1 (\d+)", data) == [b"421"]


def test_rejected_requests_leave_no_tasks(server):
    until = time.monotonic() + 5
    while time.monotonic() < until:
        tasks = asyncio.all_tasks(server.server._loop)
        if server.state.streams.total() == 0 and len(tasks) < 8:
            return
        time.sleep(0.1)
    raise AssertionError((server.state.streams, tasks))

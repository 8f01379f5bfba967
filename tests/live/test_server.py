"""kronos live serve: the published files and nothing else, and a health that a monitor can trust."""

import json
import socket
import threading
import time
from contextlib import suppress

import httpx2
import pandas as pd
import pytest
import uvicorn

from kronos.errors import ParameterError
from kronos.live.record import Record
from kronos.live.server import read_health, serve
from live.replays import make_config
from live.sites import make_site, run_server

CLOSED = pd.Timestamp("2026-03-08 02:00", tz="UTC")


def write_heartbeat(config, *, status="forecast", origin=CLOSED, due=None):
    due = origin + pd.Timedelta("1h 5s") if due is None else due
    beat = {
        "pid": 12,
        "started_at": origin.isoformat(),
        "cycle_at": (origin + pd.Timedelta("9s")).isoformat(),
        "next_cycle_at": due.isoformat(),
        "interval_seconds": 3600,
        "series": [{"slug": "btcusdt-1h", "status": status, "origin": origin.isoformat(), "reason": ""}],
    }
    config.record.folder.mkdir(parents=True, exist_ok=True)
    (config.record.folder / "heartbeat.json").write_text(json.dumps(beat), "utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = make_site(tmp_path_factory.mktemp("served"))
    site.write(make_site(tmp_path_factory.mktemp("other"), symbol="ETHUSDT"))
    (site.folder / ".hidden").write_text("secret", "utf-8")
    (site.folder / ".git").mkdir()
    (site.folder / ".git" / "config").write_text("secret", "utf-8")
    (site.folder / "notes.txt").write_text("secret", "utf-8")
    secret = site.folder.parent / "secret.json"
    secret.write_text('"secret"', "utf-8")
    (site.folder / "linked.json").symlink_to(secret)
    (site.folder / "loop.json").symlink_to("loop.json")
    write_heartbeat(site.config)
    return site


@pytest.fixture(scope="module")
def address(site):
    with run_server(site.config) as address:
        yield address


TYPES = {
    "/": "text/html; charset=utf-8",
    "/index.zh.html": "text/html; charset=utf-8",
    "/archive/2026-03.html": "text/html; charset=utf-8",
    "/ethusdt-1h-historical-volatility/": "text/html; charset=utf-8",
    "/style.css": "text/css; charset=utf-8",
    "/live.js": "text/javascript; charset=utf-8",
    "/forecast.json": "application/json",
    "/prediction_chart.png": "image/png",
}


@pytest.mark.parametrize(("path", "media_type"), TYPES.items())
def test_files_have_their_types_and_strict_headers(address, path, media_type):
    response = httpx2.get(address + path)
    assert (response.status_code, response.headers["content-type"]) == (200, media_type)
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "unsafe" not in response.headers["content-security-policy"]


def test_an_unchanged_file_is_not_sent_again(address):
    first = httpx2.get(f"{address}/forecast.json")
    again = httpx2.get(f"{address}/forecast.json", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_head_is_answered_without_a_body(address):
    response = httpx2.head(f"{address}/")
    assert response.status_code == 200
    assert int(response.headers["content-length"]) > 10_000


def test_a_folder_redirects_to_its_page(address):
    response = httpx2.get(f"{address}/ethusdt-1h-historical-volatility", follow_redirects=False)
    assert response.status_code == 307
    assert response.headers["location"] == "/ethusdt-1h-historical-volatility/"


HIDDEN = [
    *(
        "/.hidden",
        "/.git/config",
        "/notes.txt",
        "/linked.json",
        "/loop.json",
        "/archive/",
        "/missing.json",
        "/../secret.json",
    ),
    *("/%2e%2e/secret.json", "/..%2fsecret.json", "/archive/..%2f..%2fsecret.json", "/%2fetc/passwd", "//secret.json"),
    *("/a%00.json", "/C:%5csecret.json", "/" + "a" * 5000 + ".json", "/%ff.json", "/forecast.json/x"),
]


@pytest.mark.parametrize("path", HIDDEN)
def test_nothing_else_can_be_read(address, path):
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:  # a client would tidy the path
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 "), answer[:100]
    assert b"secret" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(address, method):
    assert httpx2.request(method, f"{address}/forecast.json", content=b"{}").status_code == 405


def test_a_file_that_is_replaced_meanwhile_is_never_torn(site, address):
    stop = threading.Event()

    def replace():
        sizes = (10, 300_000)
        number = 0
        while not stop.is_set():
            number += 1
            temporary = site.folder / ".new"
            temporary.write_text(json.dumps("x" * sizes[number % 2]), "utf-8")
            temporary.replace(site.folder / "moving.json")

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        time.sleep(0.05)
        with httpx2.Client(base_url=address) as client:
            for _ in range(150):
                assert set(client.get("/moving.json").json()) == {"x"}
    finally:
        stop.set()
        thread.join()


# Health ---------------------------------------------------------------------

AGES = [("0h 30m", "fresh", True), ("1h 45m", "late", False), ("6h", "stale", False)]


def test_headers_that_never_end_are_cut_off(address, monkeypatch):
    monkeypatch.setattr("kronos.live.server._HEADER_SECONDS", 0.3)
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as half_open:
        half_open.sendall(b"GET / HTTP/1.1\r\nHost: x")
        with suppress(ConnectionResetError):
            assert half_open.recv(100) == b""
    assert httpx2.get(address).status_code == 200


@pytest.mark.parametrize(("age", "status", "healthy"), AGES)
def test_health_follows_the_clock(tmp_path, age, status, healthy):
    config = make_config(tmp_path)
    write_heartbeat(config)
    document, content = read_health(config, CLOSED + pd.Timedelta(age))
    assert (document["status"], content) == (status, healthy)
    assert document["series"][0]["slug"] == "btcusdt-1h"


def test_health_over_http(site, address):
    response = httpx2.get(f"{address}/health")
    assert response.status_code == 503  # the heartbeat is of March
    assert response.json()["status"] == "stale"
    assert response.headers["cache-control"] == "no-cache"


def test_a_heartbeat_of_the_future_is_not_trusted(tmp_path):
    config = make_config(tmp_path)
    write_heartbeat(config)
    assert read_health(config, CLOSED - pd.DateOffset(years=10))[0]["status"] == "stale"


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"series": 1}', '{"interval_seconds": "x", "series": []}'])
def test_health_without_a_usable_heartbeat_is_unknown(tmp_path, text):
    config = make_config(tmp_path)
    config.record.folder.mkdir(parents=True)
    if text is not None:
        (config.record.folder / "heartbeat.json").write_text(text, "utf-8")
    document, healthy = read_health(config, CLOSED)
    assert (document["status"], document["head"], healthy) == ("unknown", None, False)


def test_health_names_the_head_of_the_record(tmp_path):
    config = make_config(tmp_path)
    site = make_site(tmp_path)
    with Record.open(config.record.database) as record:
        record.append([site.recent[0][0]])
        head = record.head()
    assert read_health(config, CLOSED)[0]["head"] == {"seq": head[0], "hash": head[1]}


def test_health_survives_a_record_that_cannot_be_read(tmp_path):
    config = make_config(tmp_path)
    config.record.folder.mkdir(parents=True)
    (config.record.folder / "record.sqlite").write_bytes(b"not a database" * 100)
    assert read_health(config, CLOSED)[0]["head"] is None


def test_an_address_in_use_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = make_config(tmp_path, output={"folder": str(tmp_path / "page"), "web_server_port": port})
        with pytest.raises(ParameterError, match=f"127.0.0.1 port {port}.*choose another"):
            serve(config)


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_the_address_is_printed_and_others_are_warned_of(tmp_path, monkeypatch, capsys, host, warned):
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, sockets: [each.close() for each in sockets])
    serve(make_config(tmp_path, output={"folder": str(tmp_path / "page"), "web_server_port": 0}), host=host)
    printed = capsys.readouterr().err
    assert f"listening on http://{host}:" in printed
    assert ("other machines can read" in printed) == warned

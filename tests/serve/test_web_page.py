"""The page at /: the built workbench with its policy and caching, or one sentence without it."""

from __future__ import annotations

import gzip
import re

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from kronos.serve.pages import is_built, web_routes
from serve.servers import run_server, settings_in


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    if not is_built():
        pytest.fail("The workbench is not built: run 'make web'.")
    with run_server(settings_in(tmp_path_factory.mktemp("server"))) as server, server.client() as client:
        yield client


def test_the_page_runs_only_its_own_scripts(client):
    answer = client.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["cache-control"] == "no-cache"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy["script-src"], policy["style-src"], policy["connect-src"]} == {"'self'"}
    assert "<style" not in answer.text
    assert not re.findall(r"\son\w+=|\sstyle=|<script(?![^>]*\ssrc=)", answer.text)
    assert not re.findall(r"https?://", answer.text), "works offline"


def test_static_files_are_relative_hashed_and_kept_for_ever(client):
    files = re.findall(r'(?:src|href)="([^"]+)"', client.get("/").text)
    assert any(name.endswith(".js") for name in files)
    for name in files:
        assert name.startswith("./static/"), "relative, so that a proxy may add a prefix"
        answer = client.get(name.removeprefix("."))
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["nothing.js", "../index.html", "%2e%2e/%2e%2e/pages.py", ""])
def test_other_names_are_404(client, name):
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 404
    assert answer.json()["error"] == "Not found"


def test_without_a_build_the_page_says_how_to_make_one(tmp_path):
    application = FastAPI()
    application.include_router(web_routes(tmp_path))
    answer = TestClient(application).get("/")
    assert answer.status_code == 200
    assert "make web" in answer.text


def test_static_files_are_compressed(client):
    script = re.search(r'src="\.(/static/[^"]+\.js)"', client.get("/").text)[1]
    with client.stream("GET", script, headers={"Accept-Encoding": "gzip"}) as answer:
        sent = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert len(sent) < 0.5 * len(gzip.decompress(sent))


def test_the_page_is_open_and_its_requests_get_no_password_window(tmp_path):
    with run_server(settings_in(tmp_path, api_keys="a-right-key-of-some-length")) as server, server.client() as client:
        page = client.get("/")
        assert page.status_code == 200
        assert all(client.get(name).status_code == 200 for name in re.findall(r'"\.(/static/[^"]+)"', page.text))
        refused = client.get("/api/assets", headers={"Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "same-origin"})
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert client.get("/docs").headers["www-authenticate"].startswith("Basic ")

"""Bodies and forms that cannot be used: the message names what is wrong in the words of HTTP."""

from __future__ import annotations

import gzip
import re

import pytest

from serve.payloads import SMALL
from serve.servers import run_server, settings_in

JSON = b'{"file_path": "sample:simulated_btc_1h"}'
PYTHON = re.compile(r"UploadFile|dictionary|class '|Value error|\.\.")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with run_server(settings_in(tmp_path_factory.mktemp("messages"))) as server, server.client() as client:
        yield client


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a JSON object"), (b"null", "not a JSON object"), (b"[]", "not a JSON object"),
        (b'"x"', "not a JSON object"), (b"7", "not a JSON object"), (b"{", "not valid JSON"),
        (b'{"file_path": "\xff"}', "UTF-8"), (b"[" * 100_000, "nested"), (b'{"seed": ' + b"9" * 5000 + b"}", "JSON"),
    ],
    ids=lambda value: str(value[:12]),
)  # fmt: skip
@pytest.mark.parametrize("target", ["/api/load-data", "/api/predict", "/api/jobs/predict", "/api/load-model"])
def test_bodies_that_are_no_json_objects(client, target, content, words):
    answer = client.post(target, content=content, headers={"Content-Type": "application/json"})
    message = answer.json()["message"]
    assert answer.status_code == 400
    assert words in message
    assert not PYTHON.search(message)


@pytest.mark.parametrize(
    ("encoding", "content"), [("gzip", gzip.compress(JSON, mtime=0)), ("br", b"\x8b\x02\x80"), ("GZIP", b"{")]
)
def test_compressed_bodies_are_named(client, encoding, content):
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    answer = client.post("/api/load-data", content=content, headers=headers)
    assert (answer.status_code, encoding.lower() in answer.json()["message"]) == (415, True)


@pytest.mark.parametrize(
    "disposition",
    ['name="file"', "name=\"file\"; filename*=UTF-8''a.csv", 'name="other"; filename="a.csv"', 'filename="a.csv"'],
)
def test_forms_without_a_file(client, disposition):
    content = f"--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\na,b\r\n--b--\r\n"
    answer = client.post(
        "/api/uploads", content=content.encode(), headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    message = answer.json()["message"]
    assert answer.status_code == 400
    assert not PYTHON.search(message), message


def test_a_form_field_instead_of_a_file_says_how_to_send_a_file(client):
    answer = client.post("/api/uploads", files={"file": (None, b"a,b")})
    assert "-F file=@candles.csv" in answer.json()["message"]


def test_valid_bodies_are_accepted_as_before(client):
    assert client.post("/api/predict", json=SMALL, headers={"Content-Encoding": "identity"}).status_code == 200

"""Limits on requests and on computing work, per client."""

from __future__ import annotations

import httpx2
import pytest

from kronos.serve.middleware import TokenBucket
from kronos.serve.state import build_state
from serve.attacks.checks import FRAME, check_error
from serve.payloads import SMALL
from serve.raw_http import head_of, raw
from serve.servers import run_server, settings_in


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def limited(folder, clock, *, requests=0, work=0, **settings):
    state = build_state(settings_in(folder, **settings))
    state.request_limit = TokenBucket(requests, "requests", clock)
    state.work_limit = TokenBucket(work, "path-steps", clock)
    return state


def test_the_request_limit_applies_per_client_and_refills(tmp_path):
    clock = Clock()
    state = limited(tmp_path, clock, requests=6)
    with run_server(state.settings, state) as running, running.client() as client:
        found = [client.get("/api/assets").status_code for _ in range(6)]
        assert found == [200] * 6
        answer = client.get("/api/assets")
        check_error(answer, 429)
        wait = int(answer.headers["retry-after"])
        assert 1 <= wait <= 20
        assert client.get("/health").status_code == 200
        other = httpx2.HTTPTransport(local_address="127.0.0.2")
        with httpx2.Client(base_url=running.address, transport=other) as stranger:
            assert stranger.get("/api/assets").status_code == 200
        clock.now += wait
        assert client.get("/api/assets").status_code == 200
        assert client.get("/api/assets").status_code == 429


@pytest.mark.slow
def test_the_work_limit_applies_per_client_and_refills(tmp_path):
    clock = Clock()
    state = limited(tmp_path, clock, work=500)  # one prediction is 20 paths of 24 steps
    with run_server(state.settings, state) as running, running.client() as client:
        running.wait_ready()
        assert client.get("/api/predict?symbol=BTC").status_code == 200
        assert client.get("/api/predict?symbol=ETH").status_code == 200  # overdraws the balance
        answer = client.get("/api/predict?symbol=SOL")
        check_error(answer, 429)
        wait = int(answer.headers["retry-after"])
        assert client.get("/api/predict?symbol=BTC").status_code == 200, "cached predictions are free"
        check_error(client.post("/api/predict", json=SMALL), 429)
        check_error(client.post("/api/uploads", files={"file": ("x.csv", FRAME.to_csv())}), 429)
        check_error(client.post("/api/load-model", json={"model_key": "kronos-nano"}), 429)
        other = httpx2.HTTPTransport(local_address="127.0.0.2")
        with httpx2.Client(base_url=running.address, transport=other, timeout=60) as stranger:
            assert stranger.get("/api/predict?symbol=SOL").status_code == 200
        clock.now += wait
        assert client.get("/api/predict?symbol=ADA").status_code == 200


def test_an_upload_without_work_left_is_rejected_before_its_body(tmp_path):
    state = limited(tmp_path, Clock(), work=1)
    state.work_limit.debit("127.0.0.1", 10)
    with run_server(state.settings, state) as running:
        head = head_of(
            running.address,
            "/api/uploads",
            b"Content-Type: multipart/form-data; boundary=b",
            b"Content-Length: 60000000",
        )
        reply = raw(running.address, head)
        check_error(reply, 429)
        assert reply.closed
        assert reply.seconds < 1


def test_a_bucket_is_bounded():
    bucket = TokenBucket(10, "requests", Clock())
    for number in range(25_000):
        bucket.debit(str(number), 1)
    assert len(bucket._balances) <= 10_000

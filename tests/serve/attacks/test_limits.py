"""Limits of requests and of computing time, for each client."""

from __future__ import annotations

from dataclasses import replace

import httpx2

from kronos.serve.auth import TokenBucket
from kronos.serve.state import build_state
from serve.asks import SMALL
from serve.attacks.attacked import FRAME, refused
from serve.live import served, settings_in
from serve.wire import head_of, raw


class Clock:
    """A clock that passes when told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def limited(folder, clock, *, requests=0, work=0, **settings):
    state = build_state(settings_in(folder, **settings))
    state.rules = replace(
        state.rules, requests=TokenBucket(requests, "requests", clock), work=TokenBucket(work, "computing time", clock)
    )
    return state


def test_too_many_requests_are_refused_until_time_has_passed_and_others_are_not_affected(tmp_path):
    clock = Clock()
    state = limited(tmp_path, clock, requests=6)
    with served(state.settings, state) as running, running.client() as client:
        found = [client.get("/api/assets").status_code for _ in range(6)]
        assert found == [200] * 6
        answer = client.get("/api/assets")
        refused(answer, 429)
        wait = int(answer.headers["retry-after"])
        assert 1 <= wait <= 20
        assert client.get("/health").status_code == 200
        other = httpx2.HTTPTransport(local_address="127.0.0.2")
        with httpx2.Client(base_url=running.address, transport=other) as stranger:
            assert stranger.get("/api/assets").status_code == 200
        clock.now += wait
        assert client.get("/api/assets").status_code == 200
        assert client.get("/api/assets").status_code == 429


def test_work_is_counted_as_well_as_requests(tmp_path):
    clock = Clock()
    state = limited(tmp_path, clock, work=500)  # one prediction is 20 paths of 24 steps
    with served(state.settings, state) as running, running.client() as client:
        running.wait_ready()
        assert client.get("/api/predict?symbol=BTC").status_code == 200
        assert client.get("/api/predict?symbol=ETH").status_code == 200  # overdraws
        answer = client.get("/api/predict?symbol=SOL")
        refused(answer, 429)
        wait = int(answer.headers["retry-after"])
        assert client.get("/api/predict?symbol=BTC").status_code == 200, "what is there costs nothing"
        refused(client.post("/api/predict", json=SMALL), 429)
        refused(client.post("/api/uploads", files={"file": ("x.csv", FRAME.to_csv())}), 429)
        refused(client.post("/api/load-model", json={"model_key": "kronos-nano"}), 429)
        other = httpx2.HTTPTransport(local_address="127.0.0.2")
        with httpx2.Client(base_url=running.address, transport=other, timeout=60) as stranger:
            assert stranger.get("/api/predict?symbol=SOL").status_code == 200
        clock.now += wait
        assert client.get("/api/predict?symbol=ADA").status_code == 200


def test_an_upload_of_who_has_no_work_left_is_refused_before_it_comes(tmp_path):
    state = limited(tmp_path, Clock(), work=1)
    state.rules.work.debit("127.0.0.1", 10)
    with served(state.settings, state) as running:
        head = head_of(
            running.address,
            "/api/uploads",
            b"Content-Type: multipart/form-data; boundary=b",
            b"Content-Length: 60000000",
        )
        reply = raw(running.address, head)
        refused(reply, 429)
        assert reply.closed
        assert reply.seconds < 1


def test_a_bucket_forgets_clients_rather_than_growing():
    bucket = TokenBucket(10, "requests", Clock())
    for number in range(25_000):
        bucket.debit(str(number), 1)
    assert len(bucket._balances) <= 10_000

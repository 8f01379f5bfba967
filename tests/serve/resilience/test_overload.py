"""Overload, cancellation and disconnected clients."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from serve.payloads import LONG, SMALL
from serve.raw_http import connect, head_of
from serve.resilience.faulty_predictor import FaultyPredictor, faulty_server
from serve.resilience.waiting import SYMBOLS, finished, report, wait
from serve.servers import run_server, settings_in


@pytest.mark.slow
def test_concurrent_uncached_requests_are_computed_once_per_symbol(tmp_path, capsys):
    async def crowd(address):
        limits = httpx2.Limits(max_connections=200)
        async with httpx2.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
            requests = [client.get("/api/predict", params={"symbol": symbol}) for _ in range(50) for symbol in SYMBOLS]
            random.Random(1).shuffle(requests)
            return await asyncio.gather(*requests)

    with run_server(settings_in(tmp_path)) as server:
        server.wait_ready()
        started = time.monotonic()
        answers = asyncio.run(crowd(server.address))
        report(
            capsys, f"400 cold answers in {time.monotonic() - started:.2f} s, {server.state.inference.batches} batches"
        )
        assert Counter(answer.status_code for answer in answers) == {200: 400}
        bodies = {symbol: {item.text for item in answers if item.json()["symbol"] == symbol} for symbol in SYMBOLS}
        assert {symbol: len(found) for symbol, found in bodies.items()} == dict.fromkeys(SYMBOLS, 1)
        assert all(item.json()["prediction"]["model"] == "kronos" for item in answers[:20])
        assert server.state.inference.computed == len(SYMBOLS)


# Full queue -----------------------------------------------------------------


@pytest.mark.slow
def test_a_full_queue_is_503_with_retry_after(tmp_path):
    with faulty_server(tmp_path, queue=2) as server, ThreadPoolExecutor(8) as pool, server.client() as client:
        FaultyPredictor.gate = threading.Event()
        requests = [pool.submit(client.get, "/api/predict?symbol=BTC")]
        wait(lambda: server.state.inference.busy)
        requests += [pool.submit(client.get, f"/api/predict?symbol={symbol}") for symbol in ("ETH", "DOT")]
        wait(lambda: server.state.inference.waiting == 2)
        for answer in (client.get("/api/predict?symbol=SOL"), client.post("/api/predict", json=SMALL)):
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"] == "Unavailable"
        job = finished(client, client.post("/api/jobs/predict", json=SMALL).json())
        assert job["state"] == "failed"
        assert client.get("/health").status_code == 200
        FaultyPredictor.gate.set()
        assert [item.result(30).status_code for item in requests] == [200] * 3
        assert client.get("/api/predict?symbol=SOL").status_code == 200, "a full queue is not cached as an error"


def test_cancelled_requests_do_not_fill_the_queue(tmp_path):
    with faulty_server(tmp_path, queue=2) as server, ThreadPoolExecutor(2) as pool, server.client() as client:
        FaultyPredictor.gate = threading.Event()
        requests = pool.submit(client.get, "/api/predict?symbol=BTC")
        wait(lambda: server.state.inference.busy)
        jobs = [client.post("/api/jobs/predict", json={**SMALL, "seed": i}).json() for i in range(2)]
        wait(lambda: server.state.inference.waiting == 2)
        for job in jobs:
            assert client.delete(f"/api/jobs/{job['id']}").json()["state"] == "cancelled"
        queued = client.post("/api/jobs/predict", json=SMALL).json()
        time.sleep(0.1)
        assert client.get(f"/api/jobs/{queued['id']}").json()["state"] == "queued"
        FaultyPredictor.gate.set()
        assert requests.result(30).status_code == 200
        assert finished(client, queued)["state"] == "done"


# Cancellation ---------------------------------------------------------------


def test_cancelling_stops_waiting_and_running_work(tmp_path):
    with run_server(settings_in(tmp_path, work_per_minute=0)) as server, server.client() as client:
        server.wait_ready()
        engine = server.state.inference
        running = client.post("/api/jobs/predict", json=LONG).json()
        wait(lambda: client.get(f"/api/jobs/{running['id']}").json()["progress"] > 0)
        waiting = client.post("/api/jobs/predict", json={**LONG, "seed": 3}).json()
        wait(lambda: engine.waiting == 1)
        assert client.delete(f"/api/jobs/{waiting['id']}").json()["state"] == "cancelled"
        assert engine.busy
        started = time.monotonic()
        assert client.delete(f"/api/jobs/{running['id']}").json()["state"] == "cancelled"
        wait(lambda: not engine.busy, 5, "cancelled work continues")
        assert client.post("/api/predict", json=SMALL).status_code == 200
        assert time.monotonic() - started < 8
        assert client.delete(f"/api/jobs/{running['id']}").json()["state"] == "cancelled"
        assert client.get("/api/results").json()["count"] == 1


def test_a_disconnect_cancels_the_forecast(tmp_path):
    with run_server(settings_in(tmp_path, work_per_minute=0)) as server, server.client() as client:
        server.wait_ready()
        body = json.dumps(LONG).encode()
        document = (b"Content-Type: application/json", b"Content-Length: %d" % len(body))
        wire = connect(server.address)
        wire.sendall(head_of(server.address, "/api/predict", *document) + body)
        wait(lambda: server.state.inference.busy)
        wire.close()
        wait(lambda: not server.state.inference.busy, 5, "cancelled work continues")
        assert client.get("/api/results").json()["count"] == 0
        assert client.post("/api/predict", json=SMALL).status_code == 200


def test_abandoned_streams_are_closed(tmp_path):
    with run_server(settings_in(tmp_path, streams=3, work_per_minute=0)) as server, server.client() as client:
        server.wait_ready()
        job = client.post("/api/jobs/predict", json=LONG).json()
        for _ in range(3):
            wires = [connect(server.address) for _ in range(3)]
            for wire in wires:
                wire.sendall(head_of(server.address, job["events"], method="GET"))
                assert wire.recv(100).startswith(b"HTTP/1.1 200")
            refused = client.get(job["events"])
            assert refused.status_code == 503
            assert refused.headers["retry-after"]
            for wire in wires:
                wire.close()
            wait(lambda: server.state.streams.total() == 0)
        client.delete(f"/api/jobs/{job['id']}")


# Fairness -------------------------------------------------------------------

KEYS = {name: {"X-API-Key": name * 20} for name in "ab"}


@pytest.mark.slow
def test_the_jobs_of_one_key_do_not_delay_the_forecasts_of_another(tmp_path):
    with run_server(settings_in(tmp_path, api_keys=",".join(name * 20 for name in "ab"), work_per_minute=0)) as server:
        server.wait_ready()
        with server.client(headers=KEYS["a"]) as busy, server.client(headers=KEYS["b"]) as client:
            jobs = [busy.post("/api/jobs/predict", json={**LONG, "seed": seed}).json() for seed in range(20)]
            wait(lambda: server.state.inference.busy)
            assert client.get("/api/predict?symbol=BTC").json()["prediction"]["model"] == "kronos"
            assert client.post("/api/predict", json=SMALL).status_code == 200
            assert not busy.get(f"/api/jobs/{jobs[0]['id']}").json()["finished"], "the first job is not even done"
            for job in jobs:
                busy.delete(f"/api/jobs/{job['id']}")


def test_jobs_belong_to_the_key_that_started_them(tmp_path):
    with faulty_server(tmp_path, api_keys=",".join(name * 20 for name in "ab"), streams_per_client=2) as server:
        FaultyPredictor.gate = threading.Event()
        with server.client(headers=KEYS["a"]) as owner, server.client(headers=KEYS["b"]) as other, \
             server.client() as browser:  # fmt: skip
            job = owner.post("/api/jobs/predict", json=SMALL).json()
            path = f"/api/jobs/{job['id']}"
            assert [item["id"] for item in owner.get("/api/jobs").json()["jobs"]] == [job["id"]]
            assert other.get("/api/jobs").json() == {"jobs": [], "count": 0}
            missing = other.get("/api/jobs/nothing").json()
            for reply in (other.get(path), other.delete(path), other.get(f"{path}/events")):
                assert (reply.status_code, reply.json()) == (404, missing)
            with browser.stream("GET", job["events"]) as first, owner.stream("GET", f"{path}/events") as second:
                assert (first.status_code, second.status_code) == (200, 200)
                assert browser.get(job["events"]).status_code == 429, "streams with tickets count for the job's key"
            own = other.post("/api/jobs/predict", json=SMALL).json()
            with browser.stream("GET", own["events"]) as stream:
                assert stream.status_code == 200
            assert owner.get(path).json()["state"] in ("queued", "running")
            FaultyPredictor.gate.set()
            assert finished(owner, job)["state"] == "done"

"""More clients than there is room for, and clients that cancel or leave."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2

from serve.asks import LONG, SMALL
from serve.live import served, settings_in
from serve.resilience.hurt import Hurt, hurt
from serve.resilience.watched import SYMBOLS, finished, say, wait
from serve.wire import connect, head_of


def test_two_hundred_cold_clients_of_eight_symbols_are_all_answered_and_each_symbol_is_computed_once(tmp_path, capsys):
    async def crowd(address):
        limits = httpx2.Limits(max_connections=200)
        async with httpx2.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
            asks = [client.get("/api/predict", params={"symbol": symbol}) for _ in range(200) for symbol in SYMBOLS]
            random.Random(1).shuffle(asks)
            return await asyncio.gather(*asks)

    with served(settings_in(tmp_path)) as server:
        server.wait_ready()
        started = time.monotonic()
        answers = asyncio.run(crowd(server.address))
        say(capsys, f"1600 cold answers in {time.monotonic() - started:.2f} s, {server.state.engine.batches} batches")
        assert Counter(answer.status_code for answer in answers) == {200: 1600}
        bodies = {symbol: {one.text for one in answers if one.json()["symbol"] == symbol} for symbol in SYMBOLS}
        assert {symbol: len(found) for symbol, found in bodies.items()} == dict.fromkeys(SYMBOLS, 1)
        assert all(one.json()["prediction"]["model"] == "kronos" for one in answers[:20])
        assert server.state.engine.computed == len(SYMBOLS)


# A full queue.


def test_a_full_queue_is_503_with_a_time_to_come_again(tmp_path):
    with hurt(tmp_path, queue=2) as server, ThreadPoolExecutor(8) as pool, server.client() as client:
        Hurt.gate = threading.Event()
        asked = [pool.submit(client.get, "/api/predict?symbol=BTC")]
        wait(lambda: server.state.engine.busy)
        asked += [pool.submit(client.get, f"/api/predict?symbol={symbol}") for symbol in ("ETH", "DOT")]
        wait(lambda: server.state.engine.waiting == 2)
        for answer in (client.get("/api/predict?symbol=SOL"), client.post("/api/predict", json=SMALL)):
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"] == "Unavailable"
        job = finished(client, client.post("/api/jobs/predict", json=SMALL).json())
        assert job["state"] == "failed"
        assert client.get("/health").status_code == 200
        Hurt.gate.set()
        assert [one.result(30).status_code for one in asked] == [200] * 3
        assert client.get("/api/predict?symbol=SOL").status_code == 200, "a full queue is not remembered as a failure"


def test_cancelled_work_takes_no_room_in_a_full_queue(tmp_path):
    with hurt(tmp_path, queue=2) as server, ThreadPoolExecutor(2) as pool, server.client() as client:
        Hurt.gate = threading.Event()
        asked = pool.submit(client.get, "/api/predict?symbol=BTC")
        wait(lambda: server.state.engine.busy)
        jobs = [client.post("/api/jobs/predict", json={**SMALL, "seed": i}).json() for i in range(2)]
        wait(lambda: server.state.engine.waiting == 2)
        for job in jobs:
            assert client.delete(f"/api/jobs/{job['id']}").json()["state"] == "cancelled"
        kept = client.post("/api/jobs/predict", json=SMALL).json()
        time.sleep(0.1)
        assert client.get(f"/api/jobs/{kept['id']}").json()["state"] == "queued"
        Hurt.gate.set()
        assert asked.result(30).status_code == 200
        assert finished(client, kept)["state"] == "done"


# Who cancels or leaves.


def test_cancelling_frees_the_engine_whether_the_work_waits_or_runs(tmp_path):
    with served(settings_in(tmp_path, work_per_minute=0)) as server, server.client() as client:
        server.wait_ready()
        engine = server.state.engine
        running = client.post("/api/jobs/predict", json=LONG).json()
        wait(lambda: client.get(f"/api/jobs/{running['id']}").json()["progress"] > 0)
        waiting = client.post("/api/jobs/predict", json={**LONG, "seed": 3}).json()
        wait(lambda: engine.waiting == 1)
        assert client.delete(f"/api/jobs/{waiting['id']}").json()["state"] == "cancelled"
        assert engine.busy
        started = time.monotonic()
        assert client.delete(f"/api/jobs/{running['id']}").json()["state"] == "cancelled"
        wait(lambda: not engine.busy, 5, "the engine goes on with what nobody waits for")
        assert client.post("/api/predict", json=SMALL).status_code == 200
        assert time.monotonic() - started < 8
        assert client.delete(f"/api/jobs/{running['id']}").json()["state"] == "cancelled"
        assert client.get("/api/results").json()["count"] == 1


def test_a_client_that_leaves_takes_its_work_along(tmp_path):
    with served(settings_in(tmp_path, work_per_minute=0)) as server, server.client() as client:
        server.wait_ready()
        body = json.dumps(LONG).encode()
        told = (b"Content-Type: application/json", b"Content-Length: %d" % len(body))
        wire = connect(server.address)
        wire.sendall(head_of(server.address, "/api/predict", *told) + body)
        wait(lambda: server.state.engine.busy)
        wire.close()
        wait(lambda: not server.state.engine.busy, 5, "the engine goes on with what nobody waits for")
        assert client.get("/api/results").json()["count"] == 0
        assert client.post("/api/predict", json=SMALL).status_code == 200


def test_streams_that_are_left_are_closed(tmp_path):
    with served(settings_in(tmp_path, streams=3, work_per_minute=0)) as server, server.client() as client:
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
            wait(lambda: server.state.streams == 0)
        client.delete(f"/api/jobs/{job['id']}")

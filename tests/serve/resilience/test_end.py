"""Its end: in seconds, whatever it does, and with every saved result whole."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx2
import pytest

from serve.asks import LONG, SMALL
from serve.launched import launched
from serve.live import served, settings_in
from serve.resilience.watched import WITHIN, finished, say, wait
from serve.wire import connect, head_of


def listen(server, job, heard):
    with suppress(httpx2.TransportError), server.client() as client, client.stream("GET", job["events"]) as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                heard.append(line.removeprefix("event: "))


@pytest.mark.parametrize(("sig", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_seconds_with_open_streams_and_loses_no_saved_result(tmp_path, capsys, sig, status):
    announced, heard = {}, []
    with launched(tmp_path) as server, server.client() as client:
        server.wait_ready()
        for seed in range(3):
            made = client.post("/api/predict", json={**SMALL, "seed": seed}).json()
            announced[made["id"]] = made
        jobs = [client.post("/api/jobs/predict", json={**SMALL, "seed": seed}).json() for seed in range(3, 6)]
        for job in jobs:
            made = finished(client, job)["result"]
            announced[made["id"]] = made
        long = client.post("/api/jobs/predict", json=LONG).json()
        waiting = client.post("/api/jobs/predict", json={**LONG, "pred_len": 189}).json()
        wait(lambda: client.get(f"/api/jobs/{long['id']}").json()["progress"] > 0)
        events = [[] for _ in range(6)]
        threads = [
            threading.Thread(target=listen, args=(server, long if i % 2 else waiting, heard), daemon=True)
            for i, heard in enumerate(events)
        ]
        for thread in threads:
            thread.start()
        wait(lambda: all(events))
        idle, half = connect(server.address), connect(server.address)  # one has nothing, one half a request to say
        half.sendall(head_of(server.address, "/api/load-data", b"Content-Length: 9") + b"{")
        ended, seconds = server.stop(sig)
        for thread in threads:
            thread.join(10)
        idle.close()
        half.close()
        log = server.log.read_text()
    say(capsys, f"{sig.name}: ended in {seconds:.2f} s with 6 streams, a long job, and {len(announced)} saved results")
    assert ended == status
    assert seconds < WITHIN
    for heard in events:
        assert heard[-1] == "closing", heard
    assert "Traceback" not in log
    assert "Fatal" not in log
    with launched(tmp_path) as server, server.client() as client:
        listed = {one["id"] for one in client.get("/api/results").json()["results"]}
        assert announced.keys() <= listed
        for name, made in announced.items():
            assert client.get(f"/api/results/{name}").json() == made
            assert client.get(f"/api/results/{name}/export?format=csv").status_code == 200


def test_what_was_saved_while_it_ended_is_whole(tmp_path):
    announced = {}
    with launched(tmp_path) as server:
        server.wait_ready()
        threads = [threading.Thread(target=saving, args=(server, announced), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait(lambda: len(announced) > 8)
        assert server.stop()[1] < WITHIN
        for thread in threads:
            thread.join(10)
        assert "Traceback" not in server.log.read_text()
    with launched(tmp_path) as server, server.client() as client:
        listed = {one["id"] for one in client.get("/api/results").json()["results"]}
        assert announced.keys() <= listed
        for name in listed:  # those too that nobody heard of any more
            found = client.get(f"/api/results/{name}")
            assert found.status_code == 200
            assert found.json() == announced.get(name, found.json())
            assert client.get(f"/api/results/{name}/export?format=csv").status_code == 200


def saving(server, announced):
    """Ask for results, and note them, for as long as the server answers."""
    with suppress(httpx2.TransportError), server.client() as client:
        for seed in range(1000):
            answer = client.post("/api/predict", json={**SMALL, "sample_count": 1, "seed": seed})
            if answer.status_code != 200:
                return
            announced[answer.json()["id"]] = answer.json()


def test_a_second_signal_does_not_disturb_the_end(tmp_path):
    with launched(tmp_path) as server, server.client() as client:
        server.wait_ready()
        job = client.post("/api/jobs/predict", json=LONG).json()
        with client.stream("GET", job["events"]):
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.1)
            status, seconds = server.stop(signal.SIGINT)
        assert status in (130, -signal.SIGINT)
        assert seconds < WITHIN
        assert "Traceback" not in server.log.read_text()


def test_requests_that_wait_when_it_ends_are_told_to_ask_again(tmp_path):
    with served(settings_in(tmp_path, work_per_minute=0)) as server:
        server.wait_ready()
        with ThreadPoolExecutor(3) as pool, server.client() as client:
            asked = [pool.submit(client.post, "/api/predict", json={**LONG, "seed": i}) for i in range(3)]
            wait(lambda: server.state.engine.busy and server.state.engine.waiting >= 2)
            server.server.handle_exit(signal.SIGTERM, None)
            answers = [one.result(10) for one in asked]
        for answer in answers:
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert "stop" in answer.json()["message"]

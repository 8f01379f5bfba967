"""Graceful shutdown: fast, and without damage to saved results."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx2
import pytest

from serve.payloads import LONG, SMALL
from serve.processes import forked, start_process
from serve.raw_http import connect, head_of
from serve.resilience.waiting import SHUTDOWN_SECONDS, finished, report, wait
from serve.servers import run_server, settings_in


def listen(server, job, events):
    with suppress(httpx2.TransportError), server.client() as client, client.stream("GET", job["events"]) as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                events.append(line.removeprefix("event: "))


@pytest.mark.slow
@pytest.mark.parametrize(("sig", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_signal_ends_the_process_and_keeps_saved_results(tmp_path, capsys, sig, status):
    announced = {}
    with start_process(tmp_path, popen=subprocess.Popen) as server, server.client() as client:
        server.wait_ready()
        for seed in range(3):
            result = client.post("/api/predict", json={**SMALL, "seed": seed}).json()
            announced[result["id"]] = result
        jobs = [client.post("/api/jobs/predict", json={**SMALL, "seed": seed}).json() for seed in range(3, 6)]
        for job in jobs:
            result = finished(client, job)["result"]
            announced[result["id"]] = result
        long = client.post("/api/jobs/predict", json=LONG).json()
        waiting = client.post("/api/jobs/predict", json={**LONG, "pred_len": 189}).json()
        wait(lambda: client.get(f"/api/jobs/{long['id']}").json()["progress"] > 0)
        events = [[] for _ in range(6)]
        threads = [
            threading.Thread(target=listen, args=(server, long if i % 2 else waiting, received), daemon=True)
            for i, received in enumerate(events)
        ]
        for thread in threads:
            thread.start()
        wait(lambda: all(events))
        idle, half = connect(server.address), connect(server.address)  # an idle connection, and one with half a request
        half.sendall(head_of(server.address, "/api/load-data", b"Content-Length: 9") + b"{")
        ended, seconds = server.stop(sig)
        for thread in threads:
            thread.join(10)
        idle.close()
        half.close()
        log = server.log.read_text()
    report(
        capsys, f"{sig.name}: ended in {seconds:.2f} s with 6 streams, a long job, and {len(announced)} saved results"
    )
    assert ended == status
    assert seconds < SHUTDOWN_SECONDS
    for received in events:
        assert received[-1] == "closing", received
    assert "Traceback" not in log
    assert "Fatal" not in log
    with start_process(tmp_path) as server, server.client() as client:
        listed = {item["id"] for item in client.get("/api/results").json()["results"]}
        assert announced.keys() <= listed
        for name, result in announced.items():
            assert client.get(f"/api/results/{name}").json() == result
            assert client.get(f"/api/results/{name}/export?format=csv").status_code == 200


@pytest.mark.slow
def test_results_saved_during_shutdown_are_complete(tmp_path):
    announced = {}
    with start_process(tmp_path) as server:
        server.wait_ready()
        threads = [threading.Thread(target=saving, args=(server, announced), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait(lambda: len(announced) > 8)
        assert server.stop()[1] < SHUTDOWN_SECONDS
        for thread in threads:
            thread.join(10)
        assert "Traceback" not in server.log.read_text()
    with start_process(tmp_path) as server, server.client() as client:
        listed = {item["id"] for item in client.get("/api/results").json()["results"]}
        assert announced.keys() <= listed
        for name in listed:  # also those whose response was not received
            found = client.get(f"/api/results/{name}")
            assert found.status_code == 200
            assert found.json() == announced.get(name, found.json())
            assert client.get(f"/api/results/{name}/export?format=csv").status_code == 200


def saving(server, announced):
    """Request forecasts and record their results until the server stops."""
    with suppress(httpx2.TransportError), server.client() as client:
        for seed in range(1000):
            answer = client.post("/api/predict", json={**SMALL, "sample_count": 1, "seed": seed})
            if answer.status_code != 200:
                return
            announced[answer.json()["id"]] = answer.json()


@pytest.mark.slow
def test_a_second_signal_has_no_effect(tmp_path):
    with start_process(tmp_path) as server, server.client() as client:
        server.wait_ready()
        job = client.post("/api/jobs/predict", json=LONG).json()
        with client.stream("GET", job["events"]):
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.1)
            status, seconds = server.stop(signal.SIGINT)
        assert status in (130, -signal.SIGINT)
        assert seconds < SHUTDOWN_SECONDS
        assert "Traceback" not in server.log.read_text()


def test_waiting_requests_get_503_at_shutdown(tmp_path):
    with run_server(settings_in(tmp_path, work_per_minute=0)) as server:
        server.wait_ready()
        with ThreadPoolExecutor(3) as pool, server.client() as client:
            requests = [pool.submit(client.post, "/api/predict", json={**LONG, "seed": i}) for i in range(3)]
            wait(lambda: server.state.inference.busy and server.state.inference.waiting >= 2)
            server.server.handle_exit(signal.SIGTERM, None)
            answers = [item.result(10) for item in requests]
        for answer in answers:
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert "stop" in answer.json()["message"]


def hangups(action):
    """Start a process that finds this action for SIGHUP, as one does that nohup lets ignore it."""
    code = f"import signal\nsignal.signal(signal.SIGHUP, signal.{action.name})\nfrom kronos.cli import main\nmain()"
    return lambda command, **options: forked([sys.executable, "-c", code, *command[3:]], **options)


@pytest.mark.slow
def test_a_hangup_is_a_graceful_shutdown(tmp_path):
    with start_process(tmp_path, popen=hangups(signal.SIG_DFL)) as server, server.client() as client:
        server.wait_ready()
        job = client.post("/api/jobs/predict", json=LONG).json()
        events = []
        thread = threading.Thread(target=listen, args=(server, job, events), daemon=True)
        thread.start()
        wait(lambda: events)
        status, seconds = server.stop(signal.SIGHUP)
        thread.join(10)
        assert (status, events[-1]) == (-signal.SIGHUP, "closing")
        assert seconds < SHUTDOWN_SECONDS
        assert "shutting down" in server.log.read_text()


@pytest.mark.slow
def test_an_ignored_hangup_is_still_ignored(tmp_path):
    with start_process(tmp_path, popen=hangups(signal.SIG_IGN)) as server, server.client() as client:
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert client.get("/health").status_code == 200

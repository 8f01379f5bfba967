"""Mixed load and overload over a long time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress

import httpx2
import pytest

from serve.payloads import LONG, SMALL
from serve.processes import start_process
from serve.raw_http import connect, head_of
from serve.resilience.waiting import SYMBOLS, finished, report, wait


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mixed_load_is_served_without_memory_growth(tmp_path, capsys):
    """KRONOS_SOAK_SECONDS=600 for a longer run."""
    seconds = float(os.environ.get("KRONOS_SOAK_SECONDS", "60"))
    extra = {"KRONOS_SERVE__QUEUE": "2", "KRONOS_SERVE__SAMPLES": "10", "KRONOS_SERVE__WORK_PER_MINUTE": "0"}
    with start_process(tmp_path, extra=extra, popen=subprocess.Popen) as server:
        server.wait_ready()
        (tmp_path / "data").mkdir(exist_ok=True)
        found, slowest, problems, memory, idle = Counter(), [0.0], [], [], []
        with server.client() as client:  # a whole job first: what a job keeps is no growth
            created = client.post("/api/jobs/predict", json={**LONG, "pred_len": 100, "seed": 1})
            assert finished(client, created.json())["state"] == "done"
            for share in (1 / 3, 2 / 3):
                until = time.monotonic() + seconds * share
                arguments = (server, until, found, slowest, problems)
                threads = [threading.Thread(target=soak, args=(i, *arguments)) for i in range(8)]
                for thread in threads:
                    thread.start()
                while any(thread.is_alive() for thread in threads):
                    assert time.monotonic() < until + 90, "requests hang"
                    memory.append(server.rss())
                    time.sleep(max(0.2, seconds / 200))
                wait(lambda: all(job["finished"] for job in client.get("/api/jobs").json()["jobs"]), 120)
                assert client.get("/health").status_code == 200
                wait(lambda: client.get("/api/predict?symbol=BTC").status_code == 200)
                wait(lambda: " kronos_streams 0" in " " + client.get("/metrics").text.replace("\n", " "), 10)
                idle.append(server.rss())
        status, ended = server.stop()
        report(
            capsys,
            f"soak of {seconds:g} s: {sum(found.values())} answers {dict(sorted(found.items()))}, slowest "
            f"{slowest[0]:.2f} s; memory without load {idle[0]:.0f} MiB after a third, {idle[1]:.0f} at the end, "
            f"at most {max(memory):.0f}; ended in {ended:.2f} s",
        )
        assert not problems, problems[:5]
        assert set(found) <= {200, 201, 202, 204, 400, 404, 408, 413, 429, 503}, found
        assert found[200] > 50
        assert found[503] > 0, "there was no overload"
        # Running jobs hold their caches for seconds, so only what remains without load shows a leak.
        assert idle[1] - idle[0] < 40 + 0.1 * idle[0]
        assert max(memory) < 2 * idle[0], "a burst of requests takes too much memory"
        assert "Traceback" not in server.log.read_text()
        assert status == -signal.SIGTERM


def soak(number, server, until, found, slowest, problems):
    """Send requests of many kinds."""
    dice = random.Random(number)
    text = ("timestamps,open,high,low,close\n" + "".join(
        f"2025-01-{1 + hour // 24:02d} {hour % 24:02d}:00,1,2,1,{1.5 + hour / 1000}\n" for hour in range(200)
    )).encode()  # fmt: skip

    def item(client):
        kind = dice.randrange(12)
        if kind < 4:
            return client.get("/api/predict", params={"symbol": dice.choice(SYMBOLS), "hours": dice.randint(1, 168)})
        if kind == 4:
            return client.get(
                "/udf/history", params={"symbol": "BTC", "resolution": "60", "to": 2**31, "countback": 300}
            )
        if kind == 5:
            return client.get("/api/history", params={"symbol": dice.choice(SYMBOLS), "days": dice.randint(1, 30)})
        if kind == 6:
            return client.post("/api/predict", json={**SMALL, "sample_count": 5, "seed": dice.randrange(10**6)})
        if kind == 7:
            result = client.post("/api/jobs/predict", json={**LONG, "pred_len": 100, "seed": dice.randrange(10**6)})
            if result.status_code == 202 and dice.random() < 0.8:
                return client.delete(f"/api/jobs/{result.json()['id']}")
            if result.status_code == 202:
                with client.stream("GET", result.json()["events"]) as stream:
                    next(stream.iter_lines())
                    return stream
            return result
        if kind == 8:
            body = text + f"2025-02-01 00:00,1,2,1,{1 + dice.random()}\n".encode()
            result = client.post("/api/uploads", files={"file": ("x.csv", body)})
            return client.delete(f"/api/uploads/{result.json()['id']}") if result.status_code == 201 else result
        if kind == 9:
            document = {"content-type": "application/json"}
            return client.post("/api/load-data", content=b"[" * dice.randrange(1_500_000), headers=document)
        if kind == 10:
            return client.get(
                dice.choice(["/docs", "/openapi.json", "/metrics", "/nothing", "/api/jobs", "/api/results"])
            )
        with suppress(OSError), connect(server.address) as wire:  # disconnects
            wire.sendall(head_of(server.address, "/api/predict", b"Content-Length: 99") + b"{")
        return client.get("/health")

    with server.client() as client:
        while time.monotonic() < until:
            started = time.monotonic()
            try:
                found[item(client).status_code] += 1
            except httpx2.TimeoutException as error:
                problems.append(repr(error))
            except httpx2.TransportError as error:  # a body was rejected while it was sent
                if not isinstance(error, httpx2.WriteError | httpx2.ReadError):
                    problems.append(repr(error))
            slowest[0] = max(slowest[0], time.monotonic() - started)

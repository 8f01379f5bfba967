"""Models that cannot be loaded, forecasts that fail, and sources that hang or fail."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx2
import pytest

from kronos.errors import SourceError
from kronos.serve.state import build_state
from kronos.sources import open_source
from serve.payloads import SAMPLE, SMALL
from serve.processes import start_process
from serve.raw_http import get
from serve.resilience.faulty_predictor import FaultyPredictor, faulty_server
from serve.resilience.waiting import SHUTDOWN_SECONDS, SYMBOLS, finished, wait
from serve.servers import run_server, settings_in


class Odd(BaseException):
    """A BaseException that is not an Exception."""


# Models ---------------------------------------------------------------------


def broken_folder(folder):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"d_model": 7}')
    (folder / "model.safetensors").write_bytes(os.urandom(1000))
    return str(folder)


@pytest.mark.parametrize("which", ["a broken folder", "no such model", "no such folder"])
def test_the_server_works_without_its_model(tmp_path, which):
    ref = {"a broken folder": lambda: broken_folder(tmp_path / "weights"), "no such model": lambda: "kronos-none",
           "no such folder": lambda: str(tmp_path / "nowhere")}[which]()  # fmt: skip
    settings = settings_in(tmp_path).model_copy(update={"model": ref})
    with run_server(settings) as server, server.client() as client:
        answer = client.get("/api/predict?symbol=BTC")
        assert answer.status_code == 200
        document = answer.json()["prediction"]
        assert document["model"] == "simple"
        assert document["reason"]
        assert len(document["predictions"]) == 24
        ready = wait(lambda: (found := client.get("/ready")).json()["status"] == "failed" and found)
        assert ready.status_code == 503
        assert client.get("/health").status_code == 200
        assert client.post("/api/predict", json=SMALL).status_code in (400, 503)
        loaded = client.post("/api/load-model", json={"model_key": "kronos-nano"})
        assert loaded.status_code == 200
        assert client.post("/api/predict", json=SMALL).status_code == 200, "the workbench uses the loaded model"


@pytest.mark.slow
def test_a_server_process_works_without_its_model(tmp_path):
    extra = {"KRONOS_MODEL": broken_folder(tmp_path / "weights")}
    with start_process(tmp_path, extra=extra) as server, server.client() as client:
        document = client.get("/api/predict?symbol=BTC").json()["prediction"]
        assert (document["model"], bool(document["reason"])) == ("simple", True)
        wait(lambda: client.get("/ready").json()["status"] == "failed")
        assert server.stop()[1] < SHUTDOWN_SECONDS


# Forecasts ------------------------------------------------------------------

ERRORS = [
    RuntimeError("x"), MemoryError(), Odd("x"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(),
    StopIteration(),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_failing_forecast_does_not_affect_its_batch(tmp_path, error):
    with faulty_server(tmp_path) as server, ThreadPoolExecutor(8) as pool, server.client() as client:
        FaultyPredictor.errors = {"ETH": error}
        FaultyPredictor.gate = threading.Event()
        requests = {"first": pool.submit(client.get, "/api/predict?symbol=AVAX")}  # others queue behind it
        wait(lambda: server.state.inference.busy)
        for symbol in ("BTC", "ETH", "SOL"):
            requests[symbol] = pool.submit(client.get, f"/api/predict?symbol={symbol}")
        wait(lambda: server.state.inference.waiting == 3)
        FaultyPredictor.gate.set()
        found = {name: item.result(30) for name, item in requests.items()}
        assert {name: item.status_code for name, item in found.items()} == dict.fromkeys(found, 200)
        forecast_result = {name: item.json()["prediction"]["model"] for name, item in found.items()}
        assert forecast_result == {"first": "kronos", "BTC": "kronos", "ETH": "simple", "SOL": "kronos"}
        assert ["BTC", "ETH", "SOL"] in FaultyPredictor.batches
        FaultyPredictor.errors = {SAMPLE: error, "BTC simulated": error}
        answer = client.post("/api/predict", json=SMALL)
        assert answer.status_code in (500, 503), answer.text
        job = client.post("/api/jobs/predict", json=SMALL).json()
        assert finished(client, job)["state"] == "failed"
        FaultyPredictor.errors = {}
        assert client.post("/api/predict", json=SMALL).status_code == 200
        assert client.get("/api/predict?symbol=DOT").json()["prediction"]["model"] == "kronos"
        assert client.get("/health").status_code == 200


# Sources --------------------------------------------------------------------


class FaultySource:
    """The simulated source, which can hang or fail."""

    def __init__(self, folder):
        self._real = open_source("simulated", settings=settings_in(folder))
        self.free = threading.Event()
        self.asked = 0
        self.error = None

    name = "stuck"
    simulated = True

    def now(self):
        return self._real.now()

    def intervals(self, symbol):
        self.asked += 1
        self.free.wait(30)
        if self.error is not None:
            raise self.error
        return self._real.intervals(symbol)

    def candles(self, *args, **kwargs):
        return self._real.candles(*args, **kwargs)


@pytest.mark.slow
def test_a_hanging_source_times_out_and_blocks_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr("kronos.serve.cache._ERROR_SECONDS", 0.2)
    source = FaultySource(tmp_path)
    settings = settings_in(tmp_path, timeout=1)
    with run_server(settings, build_state(settings, source=source)) as server, ThreadPoolExecutor(16) as pool:
        client = server.client()
        started = time.monotonic()
        requests = [pool.submit(client.get, f"/api/predict?symbol={SYMBOLS[i % 4]}") for i in range(12)]
        wait(lambda: source.asked)
        slowest = 0.0
        for _ in range(20):
            at = time.monotonic()
            assert get(server.address, "/health").status == 200
            slowest = max(slowest, time.monotonic() - at)
        assert slowest < 0.5
        answers = [item.result(10) for item in requests]
        assert {answer.status_code for answer in answers} <= {502, 503}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
        assert time.monotonic() - started < 6
        source.free.set()
        wait(lambda: client.get("/api/predict?symbol=BTC").status_code == 200, 20)
        client.close()


@pytest.mark.slow
def test_a_hanging_source_does_not_delay_the_shutdown(tmp_path):
    source = FaultySource(tmp_path)
    settings = settings_in(tmp_path, timeout=30)
    with ThreadPoolExecutor(2) as pool:
        with run_server(settings, build_state(settings, source=source)) as server:
            requests = pool.submit(httpx2.get, f"{server.address}/api/predict?symbol=BTC", timeout=20)
            wait(lambda: source.asked)
            started = time.monotonic()
        assert time.monotonic() - started < SHUTDOWN_SECONDS
        source.free.set()
        with suppress(httpx2.TransportError):
            assert requests.result(10).status_code >= 500


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [SourceError("the exchange is down"), RuntimeError("x"), SystemExit(1), Odd("x"), MemoryError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_failing_source_is_an_error_and_retried(tmp_path, monkeypatch, error):
    monkeypatch.setattr("kronos.serve.cache._ERROR_SECONDS", 0.2)
    source = FaultySource(tmp_path)
    source.free.set()
    source.error = error
    settings = settings_in(tmp_path)
    with run_server(settings, build_state(settings, source=source)) as server, server.client() as client:
        server.wait_ready()
        for target in ("/api/predict?symbol=BTC", "/api/history?symbol=BTC"):
            answer = client.get(target)
            assert answer.status_code in (500, 502, 503), answer.text
        assert client.get("/health").status_code == 200
        source.error = None
        wait(lambda: client.get("/api/predict?symbol=BTC").status_code == 200, 10)

"""Models that cannot be had, forecasts that fail, and sources that hang or fail."""

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
from serve.asks import SAMPLE, SMALL
from serve.launched import launched
from serve.live import served, settings_in
from serve.resilience.hurt import Hurt, hurt
from serve.resilience.watched import SYMBOLS, WITHIN, finished, wait
from serve.wire import get


class Odd(BaseException):
    """No Exception."""


# Models that cannot be had.


def broken_folder(folder):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"d_model": 7}')
    (folder / "model.safetensors").write_bytes(os.urandom(1000))
    return str(folder)


@pytest.mark.parametrize("which", ["a broken folder", "no such model", "no such folder"])
def test_a_model_that_cannot_be_loaded_leaves_the_server_serving(tmp_path, which):
    ref = {"a broken folder": lambda: broken_folder(tmp_path / "weights"), "no such model": lambda: "kronos-none",
           "no such folder": lambda: str(tmp_path / "nowhere")}[which]()  # fmt: skip
    settings = settings_in(tmp_path).model_copy(update={"model": ref})
    with served(settings) as server, server.client() as client:
        answer = client.get("/api/predict?symbol=BTC")
        assert answer.status_code == 200
        told = answer.json()["prediction"]
        assert told["model"] == "simple"
        assert told["reason"]
        assert len(told["predictions"]) == 24
        ready = wait(lambda: (found := client.get("/ready")).json()["status"] == "failed" and found)
        assert ready.status_code == 503
        assert client.get("/health").status_code == 200
        assert client.post("/api/predict", json=SMALL).status_code in (400, 503)
        loaded = client.post("/api/load-model", json={"model_key": "kronos-nano"})
        assert loaded.status_code == 200
        assert client.post("/api/predict", json=SMALL).status_code == 200, "the workbench has another model now"


def test_a_model_that_cannot_be_loaded_leaves_a_real_process_serving(tmp_path):
    extra = {"KRONOS_MODEL": broken_folder(tmp_path / "weights")}
    with launched(tmp_path, extra=extra) as server, server.client() as client:
        told = client.get("/api/predict?symbol=BTC").json()["prediction"]
        assert (told["model"], bool(told["reason"])) == ("simple", True)
        wait(lambda: client.get("/ready").json()["status"] == "failed")
        assert server.stop()[1] < WITHIN


# Forecasts that fail.

ERRORS = [
    RuntimeError("x"), MemoryError(), Odd("x"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(),
    StopIteration(),
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_forecast_that_raises_harms_nobody_else_in_its_batch(tmp_path, error):
    with hurt(tmp_path) as server, ThreadPoolExecutor(8) as pool, server.client() as client:
        Hurt.hurting = {"ETH": error}
        Hurt.gate = threading.Event()
        asked = {"first": pool.submit(client.get, "/api/predict?symbol=AVAX")}  # keeps the engine, so that they gather
        wait(lambda: server.state.engine.busy)
        for symbol in ("BTC", "ETH", "SOL"):
            asked[symbol] = pool.submit(client.get, f"/api/predict?symbol={symbol}")
        wait(lambda: server.state.engine.waiting == 3)
        Hurt.gate.set()
        found = {name: one.result(30) for name, one in asked.items()}
        assert {name: one.status_code for name, one in found.items()} == dict.fromkeys(found, 200)
        made = {name: one.json()["prediction"]["model"] for name, one in found.items()}
        assert made == {"first": "kronos", "BTC": "kronos", "ETH": "simple", "SOL": "kronos"}
        assert ["BTC", "ETH", "SOL"] in Hurt.batches
        Hurt.hurting = {SAMPLE: error, "BTC simulated": error}
        answer = client.post("/api/predict", json=SMALL)
        assert answer.status_code in (500, 503), answer.text
        job = client.post("/api/jobs/predict", json=SMALL).json()
        assert finished(client, job)["state"] == "failed"
        Hurt.hurting = {}
        assert client.post("/api/predict", json=SMALL).status_code == 200
        assert client.get("/api/predict?symbol=DOT").json()["prediction"]["model"] == "kronos"
        assert client.get("/health").status_code == 200


# Sources that hang or fail.


class Stuck:
    """The simulated source, which answers only while it is let."""

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


def test_a_source_that_hangs_is_given_up_in_time_and_holds_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr("kronos.serve.cache._FAILED", 0.2)
    source = Stuck(tmp_path)
    settings = settings_in(tmp_path, timeout=1)
    with served(settings, build_state(settings, source=source)) as server, ThreadPoolExecutor(16) as pool:
        client = server.client()
        started = time.monotonic()
        asked = [pool.submit(client.get, f"/api/predict?symbol={SYMBOLS[i % 4]}") for i in range(12)]
        wait(lambda: source.asked)
        slowest = 0.0
        for _ in range(20):
            at = time.monotonic()
            assert get(server.address, "/health").status == 200
            slowest = max(slowest, time.monotonic() - at)
        assert slowest < 0.5
        answers = [one.result(10) for one in asked]
        assert {answer.status_code for answer in answers} <= {502, 503}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
        assert time.monotonic() - started < 6
        source.free.set()
        wait(lambda: client.get("/api/predict?symbol=BTC").status_code == 200, 20)
        client.close()


def test_a_source_that_hangs_does_not_hold_the_end(tmp_path):
    source = Stuck(tmp_path)
    settings = settings_in(tmp_path, timeout=30)
    with ThreadPoolExecutor(2) as pool:
        with served(settings, build_state(settings, source=source)) as server:
            asked = pool.submit(httpx2.get, f"{server.address}/api/predict?symbol=BTC", timeout=20)
            wait(lambda: source.asked)
            started = time.monotonic()
        assert time.monotonic() - started < WITHIN
        source.free.set()
        with suppress(httpx2.TransportError):
            assert asked.result(10).status_code >= 500


@pytest.mark.parametrize(
    "error", [SourceError("the exchange is down"), RuntimeError("x"), SystemExit(1), Odd("x"), MemoryError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_source_that_fails_is_an_error_of_its_own_and_is_asked_again(tmp_path, monkeypatch, error):
    monkeypatch.setattr("kronos.serve.cache._FAILED", 0.2)
    source = Stuck(tmp_path)
    source.free.set()
    source.error = error
    settings = settings_in(tmp_path)
    with served(settings, build_state(settings, source=source)) as server, server.client() as client:
        server.wait_ready()
        for target in ("/api/predict?symbol=BTC", "/api/history?symbol=BTC"):
            answer = client.get(target)
            assert answer.status_code in (500, 502, 503), answer.text
        assert client.get("/health").status_code == 200
        source.error = None
        wait(lambda: client.get("/api/predict?symbol=BTC").status_code == 200, 10)

"""Nobody's work keeps others waiting for long, and nothing is kept or told longer than it holds."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
import time

import pandas as pd
import pytest

from kronos.candles import Candles
from kronos.inference import KronosPredictor, SamplingParams
from kronos.serve.auth import AccessPolicy
from kronos.serve.batcher import ForecastRequest, InferenceQueue
from kronos.serve.cache import AsyncTTLCache, Expiring
from kronos.serve.errors import ApiError
from kronos.serve.market_data import MarketData, read_assets
from kronos.serve.model_pool import ModelPool
from kronos.serve.observability import JsonFormatter, TextFormatter
from kronos.serve.state import build_state
from kronos.settings import Settings
from kronos.sources import open_source
from kronos.sources.replay import Replay
from serve.live import served, settings_in
from sources.wire import walk


def test_a_programs_prediction_comes_before_the_jobs_that_wait():
    models = ModelPool(Settings())
    models.get(models.default)
    engine = InferenceQueue(models, queue=20, batch=1)
    candles = open_source("simulated").candles("BTC", pd_hour(), records=200)
    order: list[str] = []

    def ask(name, patient):
        sampling = SamplingParams(samples=2, seed=0)
        ticket = engine.submit(ForecastRequest(name, candles, 2, sampling, models.default, patient=patient))
        ticket.result.add_done_callback(lambda _: order.append(name))
        return ticket

    tickets = [ask(f"job {i}", True) for i in range(4)] + [ask("prediction", False)]
    engine.start()
    for ticket in tickets:
        ticket.result.result(60)
    engine.stop()
    assert order == ["prediction", "job 0", "job 1", "job 2", "job 3"]


def pd_hour():
    from kronos.intervals import Interval

    return Interval.parse("1h")


def test_what_has_expired_leaves_with_the_next_that_comes():
    async def story():
        kept: AsyncTTLCache[int, int] = AsyncTTLCache()

        async def make(value, seconds):
            return Expiring(value, seconds)

        for i in range(50):
            await kept.get(i, lambda i=i: make(i, 0.01))
        await asyncio.sleep(0.05)
        await kept.get(50, lambda: make(50, 60))
        return len(kept)

    assert asyncio.run(story()) == 1


def test_downloads_lie_where_no_client_reads_them(tmp_path):
    from serve.test_exchange_behind import settings_of
    from sources.wire import World, serve

    world = World({"BTC/USDT": walk("2024-01-01", 600)}, now="2024-01-20 12:30")
    with serve(world) as exchange:
        told = settings_of(tmp_path, "binance", exchange.url).model_copy(update={"store_dir": None})
        with served(told) as live, live.client() as client:
            assert client.get("/api/predict", params={"symbol": "BTC"}).status_code == 200
            assert client.get("/api/data-files").json() == []
    assert list((tmp_path / "state" / "candles").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("host", "keys", "known"),
    [
        ("forecasts.example", ["k" * 20], True),
        ("forecasts.example:5000", ["k" * 20], True),
        ("192.168.1.7:5000", ["k" * 20], True),
        ("[2001:db8::7]:5000", ["k" * 20], True),
        ("192.168.1.7:5000", [], False),
        ("rebound.example", ["k" * 20], False),
    ],
)
def test_a_server_is_known_by_its_names_and_with_keys_by_its_addresses(host, keys, known):
    callers = AccessPolicy(host="0.0.0.0", allowed_hosts=["forecasts.example:8443"], origins=[], keys=keys)
    if known:
        callers.check_host(host)
    else:
        with pytest.raises(ApiError) as caught:
            callers.check_host(host)
        assert caught.value.status == 421


def test_while_the_model_is_being_loaded_the_fallback_answers_and_then_the_model(tmp_path, monkeypatch):
    may_load = threading.Event()
    loaded = KronosPredictor.from_pretrained

    def slow(*args, **told):
        may_load.wait(60)
        return loaded(*args, **told)

    monkeypatch.setattr(KronosPredictor, "from_pretrained", slow)
    monkeypatch.setattr("kronos.serve.predictions._LOADING", 0.2)
    monkeypatch.setattr("kronos.serve.predictions._AGAIN", 0.1)
    with served(settings_in(tmp_path)) as live, live.client() as client:
        told = client.get("/api/predict", params={"symbol": "BTC"}).json()["prediction"]
        assert (told["model"], told["reason"]) == ("simple", "The model is still being loaded.")
        may_load.set()
        live.wait_ready()
        time.sleep(0.2)
        assert client.get("/api/predict", params={"symbol": "BTC"}).json()["prediction"]["model"] == "kronos"


def test_more_steps_than_the_model_has_context_are_the_fallbacks_with_the_reason(tmp_path):
    with served(settings_in(tmp_path, interval="5m")) as live, live.client() as client:
        live.wait_ready()
        told = client.get("/api/predict", params={"symbol": "BTC"}).json()
    assert (told["interval"], told["prediction"]["model"]) == ("5m", "simple")
    assert len(told["prediction"]["predictions"]) == 288
    assert "horizon" in told["prediction"]["reason"]


def test_a_model_that_came_too_late_for_who_asked_changes_nothing_for_others(tmp_path, monkeypatch):
    loaded = KronosPredictor.from_pretrained
    done = threading.Event()

    def slow(ref, **told):
        if told.get("device") == "cpu":
            time.sleep(2)
        predictor = loaded(ref, **told)
        done.set()
        return predictor

    with served(settings_in(tmp_path, timeout=1.0)) as live, live.client() as client:
        live.wait_ready()
        before = client.get("/api/model-status").json()
        monkeypatch.setattr(KronosPredictor, "from_pretrained", slow)
        done.clear()
        answer = client.post("/api/load-model", json={"model_key": "kronos-nano", "device": "cpu"})
        assert answer.status_code == 503
        assert done.wait(30)
        time.sleep(0.1)
        assert client.get("/api/model-status").json() == before
        assert live.state.models.chosen == live.state.models.default


def test_a_late_candle_is_asked_for_soon_and_then_less_and_less(monkeypatch):
    frame = walk("2024-01-01", 300)
    candles = Candles.from_frame(frame, symbol="BTC", interval="1h")
    recorded = Replay({("BTC", "1h"): candles}, at=candles.end + pd.Timedelta(hours=3))  # nothing newer will come
    feed = MarketData(recorded, read_assets(("BTC",), "USDT", "replay"), interval=None, timeout=10)
    asset = feed.asset("BTC")
    waits = [round(feed._fetch(asset, 100).seconds) for _ in range(8)]
    assert waits == [5, 10, 20, 40, 80, 160, 180, 180]  # up to a twentieth of an hour


def test_charts_get_no_two_bars_of_one_time_though_a_candle_came_in_between(tmp_path):
    frame = walk("2024-01-01", 400)
    candles = Candles.from_frame(frame, symbol="BTC", interval="1h")
    replay = Replay({("BTC", "1h"): candles}, at=frame.index[300] + pd.Timedelta(hours=1))
    settings = settings_in(tmp_path)
    with served(settings, build_state(settings, source=replay)) as live, live.client() as client:
        live.wait_ready()
        asked = {"symbol": "BTC.FORECAST", "resolution": "60", "from": 0, "to": int(time.time()), "countback": 100}
        assert client.get("/udf/history", params=asked).json()["s"] == "ok"  # forecast from 512 candles, bars from more
        replay.advance(pd.Timedelta(hours=1))
        live.state.feed._kept._entries.pop(("BTC", 1536))  # as if only the longer series had been fetched again
        bars = client.get("/udf/history", params=asked).json()
    assert bars["s"] == "ok"
    assert bars["t"] == sorted(set(bars["t"]))


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_logs_stay_free_of_what_steers_terminals_in_tracebacks_too(formatter):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("one")
    logger.addHandler(handler)
    try:
        raise RuntimeError("\x1b]0;owned\x07 \x9b2J \u202e \u2028")
    except RuntimeError:
        logger.exception("odd \x1b[2J")
    text = stream.getvalue()
    assert "owned" in text
    assert not any(mark in text for mark in "\x1b\x07\x9b\u202e\u2028")

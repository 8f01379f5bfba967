"""The prediction API: routes, fields, types, errors, and numbers equal to those of the Python API."""

from __future__ import annotations

import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pandas as pd
import pytest

from kronos.baselines import moving_average_drift
from kronos.inference import KronosPredictor
from kronos.intervals import Interval
from kronos.serve import market_data
from kronos.settings import SourceSettings
from kronos.zoo import find_entry
from serve.recordings import SHORT, START, recorded, replay, serve_replay
from serve.servers import run_server, settings_in
from sources.coingecko_wire import serve_gecko
from sources.wire import World, walk

SAMPLES = 20
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
HOUR, DAY = pd.Timedelta(hours=1), pd.Timedelta(days=1)
STANDARD = {
    "BTC": "bitcoin", "ETH": "ethereum", "DOT": "polkadot", "SOL": "solana", "ADA": "cardano", "MATIC": "matic-network",
    "LINK": "chainlink", "AVAX": "avalanche-2",
}  # fmt: skip

BTC = recorded("BTC", seed=0)
ETH = recorded("ETH", seed=1)
DOT = recorded("DOT", SHORT, seed=2)
SOL = recorded("SOL", seed=3, has_volume=False, has_amount=False)
LINK = recorded("LINK", 2, seed=4)
CLOSED = pd.Timestamp(START, tz="UTC") + 700 * HOUR  # when the last candles of BTC, ETH and SOL closed


def short_market():
    """The recording at a time when it is too short for the model."""
    return replay(BTC, DOT, at=pd.Timestamp(START, tz="UTC") + SHORT * HOUR)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A server of recorded candles; LINK has too few for a forecast, ADA and others are missing."""
    with serve_replay(tmp_path_factory.mktemp("market"), replay(BTC, ETH, SOL, DOT, LINK)) as server:
        server.wait_ready()
        yield server


@pytest.fixture(scope="module")
def market_client(market):
    with market.client() as client:
        yield client


@pytest.fixture(scope="module")
def predictor():
    return KronosPredictor.from_pretrained()


def python_forecast(predictor, candles, hours=24, *, symbol=None):
    """The forecast of the Python API for the same request."""
    symbol = symbol or candles.symbol
    found = predictor.forecast_many({symbol: candles.tail(512)}, hours, samples=SAMPLES, seed=0, calibration=True)
    return found[symbol]


def prediction(client, symbol="BTC", **query):
    answer = client.get("/api/predict", params={"symbol": symbol, **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def is_error(answer, status):
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert sorted(body) == ["error", "message"]
    assert all(isinstance(item, str) and item for item in body.values())
    assert body["message"].endswith(".")
    return True


# Predictions --------------------------------------------------------------


def test_a_prediction_has_exactly_the_documented_fields_and_types(market_client):
    body = prediction(market_client)
    assert {name: type(value) for name, value in body.items()} == {
        "symbol": str, "currentPrice": float, "change24h": float, "volume24h": float, "marketCap": type(None),
        "prediction": dict, "timestamp": str, "source": str, "simulated": bool, "interval": str, "asOf": str,
        "expires": str,
    }  # fmt: skip
    assert {name: type(value) for name, value in body["prediction"].items()} == {
        "price_24h": float, "confidence": float, "trend": str, "predictions": list, "model": str,
        "reason": type(None), "model_name": str, "calibrated": bool, "band": float, "samples": int, "seed": int,
        "notes": list,
    }  # fmt: skip
    for step in body["prediction"]["predictions"]:
        assert {name: type(value) for name, value in step.items()} == {
            "hour": float, "price": float, "low": float, "high": float, "timestamp": str,
        }  # fmt: skip
    assert body["symbol"] == "BTC"
    assert body["marketCap"] is None
    assert body["simulated"] is False
    assert body["source"] == "replay of a notebook"
    assert body["interval"] == "1h"
    assert (body["prediction"]["band"], body["prediction"]["samples"], body["prediction"]["seed"]) == (0.8, SAMPLES, 0)


def test_predictions_equal_the_python_api(market_client, predictor):
    body, forecast = prediction(market_client), python_forecast(predictor, BTC)
    document, band = body["prediction"], forecast.range(0.8)
    steps = pd.DataFrame(document["predictions"])
    assert forecast.metadata.calibrated
    assert document["calibrated"] is True
    assert steps["price"].tolist() == forecast.median()["close"].tolist()
    assert steps["low"].tolist() == band["low"].tolist()
    assert steps["high"].tolist() == band["high"].tolist()
    assert document["price_24h"] == forecast.median()["close"].iloc[-1]
    assert document["model_name"] == forecast.metadata.model == "kronos-nano"
    assert document["notes"] == list(forecast.notes)


@pytest.mark.parametrize("symbol", ["BTC", "ETH", "SOL"])
@pytest.mark.parametrize("hours", [1, 24])
def test_trend_and_confidence_follow_the_paths(market_client, predictor, symbol, hours):
    candles = {"BTC": BTC, "ETH": ETH, "SOL": SOL}[symbol]
    body, forecast = prediction(market_client, symbol, hours=hours), python_forecast(predictor, candles, hours)
    finals, current = forecast.channel("close")[:, -1], float(candles.frame["close"].iloc[-1])
    bullish = bool(np.median(finals) > current)
    agreeing = int((finals > current).sum()) if bullish else int((finals <= current).sum())
    assert body["currentPrice"] == current
    assert body["prediction"]["trend"] == ("bullish" if bullish else "bearish")
    assert body["prediction"]["confidence"] == pytest.approx((agreeing + 0.5) / (SAMPLES + 1), abs=0.5 / SAMPLES)
    assert 0 < body["prediction"]["confidence"] < 1
    own = forecast.probability_above(current)
    assert body["prediction"]["confidence"] == float(own if bullish else 1 - own)


def test_the_default_horizon_is_24_hours(market_client):
    default, explicit = prediction(market_client)["prediction"], prediction(market_client, hours=24)["prediction"]
    assert default == explicit
    assert [step["hour"] for step in default["predictions"]] == list(range(1, 25))


@pytest.mark.slow
@pytest.mark.parametrize("hours", [1, 7, 168])
def test_the_horizon_is_the_requested_number_of_hours(market_client, hours):
    steps = prediction(market_client, hours=hours)["prediction"]["predictions"]
    assert [step["hour"] for step in steps] == list(range(1, hours + 1))


def test_times_are_iso_8601_in_utc_and_steps_have_their_close_time(market_client):
    body = prediction(market_client)
    steps = body["prediction"]["predictions"]
    for text in (body["timestamp"], body["asOf"], body["expires"], *(step["timestamp"] for step in steps)):
        assert MOMENT.fullmatch(text), text
    assert pd.Timestamp(body["asOf"]) == CLOSED
    assert pd.Timestamp(body["expires"]) == CLOSED + HOUR
    assert [pd.Timestamp(step["timestamp"]) - CLOSED for step in steps] == [step["hour"] * HOUR for step in steps]
    assert abs(pd.Timestamp.now("UTC") - pd.Timestamp(body["timestamp"])) < pd.Timedelta(hours=1)


@pytest.mark.parametrize("symbol", ["BTC", "ETH", "DOT"])
def test_the_median_is_inside_the_band(market_client, symbol):
    for step in prediction(market_client, symbol)["prediction"]["predictions"]:
        assert 0 < step["low"] <= step["price"] <= step["high"]


def test_change_and_volume_of_24_hours_are_computed_from_the_candles(market_client):
    body, frame = prediction(market_client), BTC.frame
    assert body["change24h"] == pytest.approx(100 * (frame["close"].iloc[-1] / frame["close"].iloc[-25] - 1))
    assert body["volume24h"] == pytest.approx(frame["amount"].iloc[-24:].sum())


def test_unknown_volume_and_market_cap_are_null(market_client):
    body = prediction(market_client, "SOL")
    assert body["volume24h"] is None
    assert body["marketCap"] is None
    assert isinstance(body["change24h"], float)


def test_change_is_null_for_less_than_a_day_of_history(tmp_path):
    with (
        serve_replay(tmp_path, replay(BTC, at=pd.Timestamp(START, tz="UTC") + 20 * HOUR)) as server,
        server.client() as item,
    ):
        body = prediction(item)
    assert body["change24h"] is None
    assert body["volume24h"] is None


def test_every_response_labels_simulated_candles(client):
    assert prediction(client)["simulated"] is True
    assert client.get("/api/history?symbol=BTC").json()["simulated"] is True
    description = client.get("/udf/symbols?symbol=BTC").json()["description"]
    assert "SIMULATED" in description


@pytest.mark.parametrize("spelling", ["btc", "Btc", " BTC "])
def test_symbols_are_case_insensitive(market_client, spelling):
    assert prediction(market_client, spelling) == prediction(market_client, "BTC")
    assert market_client.get("/api/history", params={"symbol": spelling}).json()["symbol"] == "BTC"


# History ------------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 7, 29])
def test_history_returns_the_closed_candles_of_the_requested_days(market_client, days):
    answer = market_client.get("/api/history", params={"symbol": "BTC", "days": days})
    body, frame = answer.json(), BTC.frame.iloc[-24 * days :]
    closes = [int(time.timestamp() * 1000) for time in frame.index + HOUR]
    assert list(body) == ["symbol", "days", "data", "timestamp", "source", "simulated", "interval"]
    assert list(body["data"]) == ["prices", "volumes", "marketCaps"]
    assert body["data"]["prices"] == [list(pair) for pair in zip(closes, frame["close"], strict=True)]
    assert body["data"]["volumes"] == [list(pair) for pair in zip(closes, frame["amount"], strict=True)]
    assert body["data"]["marketCaps"] == [[at, None] for at in closes]
    assert (body["symbol"], body["days"], body["interval"], body["simulated"]) == ("BTC", days, "1h", False)
    assert MOMENT.fullmatch(body["timestamp"])
    assert all(isinstance(at, int) for at, _ in body["data"]["prices"])


def test_the_default_history_is_7_days(market_client):
    body = market_client.get("/api/history?symbol=ETH").json()
    assert body["days"] == 7
    assert len(body["data"]["prices"]) == 7 * 24


def test_history_returns_all_candles_if_more_days_are_requested(market_client):
    body = market_client.get("/api/history?symbol=ETH&days=90").json()
    assert body["days"] == 90
    assert len(body["data"]["prices"]) == 700


def test_history_has_null_volumes_without_volume_data(market_client):
    volumes = market_client.get("/api/history?symbol=SOL&days=1").json()["data"]["volumes"]
    assert len(volumes) == 24
    assert all(value is None for _, value in volumes)


# Assets, health and metrics -----------------------------------------------


def test_assets_are_the_eight_of_the_published_backend_by_default(client):
    body = client.get("/api/assets").json()
    assert body["count"] == 8
    assert body["assets"] == [{"symbol": s, "name": n, "supported": True} for s, n in STANDARD.items()]


def test_an_asset_rejected_by_the_source_becomes_unsupported(market_client):
    assert is_error(market_client.get("/api/predict?symbol=ADA"), 404)
    assert is_error(market_client.get("/api/history?symbol=ADA"), 404)
    found = {item["symbol"]: item["supported"] for item in market_client.get("/api/assets").json()["assets"]}
    assert found["ADA"] is False
    assert found["BTC"] is True


def test_configured_assets_use_the_names_of_the_source(tmp_path):
    source = replay(recorded("XBT-EUR"))
    with serve_replay(tmp_path, source, assets="btc=XBT/EUR, NEW") as server, server.client() as item:
        assert item.get("/api/assets").json() == {
            "assets": [
                {"symbol": "BTC", "name": "bitcoin", "supported": True},
                {"symbol": "NEW", "name": "new", "supported": True},
            ],
            "count": 2,
        }
        assert prediction(item, hours=1)["currentPrice"] == recorded("XBT-EUR").frame["close"].iloc[-1]
        assert is_error(item.get("/api/predict?symbol=ETH"), 404)


def test_health_returns_ok_and_the_time(market_client):
    body = market_client.get("/health").json()
    assert list(body) == ["status", "timestamp"]
    assert body["status"] == "ok"
    assert MOMENT.fullmatch(body["timestamp"])


def test_ready_is_200_once_the_model_is_in_memory(market_client):
    answer = market_client.get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "message": ""}


def test_metrics_have_prometheus_text_format_and_count_responses(market_client):
    prediction(market_client)
    answer = market_client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    counted = 'kronos_requests_total{method="GET",route="/api/predict",status="200"}'
    line = next(item for item in answer.text.splitlines() if item.startswith(counted))
    assert float(line.split()[-1]) >= 1
    assert re.search(r"^kronos_model_loaded 1\.0$", answer.text, re.MULTILINE)


# Errors -------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/unknown", "/api/predict/BTC", "/api/predict/", "/nothing", "/API/predict"])
def test_an_unknown_route_is_404_with_its_path(market_client, path):
    answer = market_client.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"error": "Not found", "path": path}


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/api/predict"), ("POST", "/api/history"), ("PUT", "/health"), ("POST", "/metrics")],
)
def test_a_wrong_method_is_405_with_the_allowed_methods(market_client, method, path):
    answer = market_client.request(method, path)
    assert is_error(answer, 405)
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("", "symbol"), ("symbol=", "symbol"), ("hours=24", "symbol"), ("symbol=BTC&hours=0", "hours"),
        ("symbol=BTC&hours=169", "hours"), ("symbol=BTC&hours=-1", "hours"), ("symbol=BTC&hours=1.5", "hours"),
        ("symbol=BTC&hours=soon", "hours"), ("symbol=BTC&hours=", "hours"), (f"symbol={'B' * 21}", "symbol"),
    ],
)  # fmt: skip
def test_an_invalid_parameter_is_400_with_its_name(market_client, query, named):
    answer = market_client.get(f"/api/predict?{query}")
    assert is_error(answer, 400)
    assert answer.json()["error"] == "Bad request"
    assert answer.json()["message"].startswith(f"{named}: ")


@pytest.mark.parametrize("days", ["0", "91", "-7", "x", "1e1", ""])
def test_an_invalid_number_of_days_is_400_with_its_name(market_client, days):
    answer = market_client.get("/api/history", params={"symbol": "BTC", "days": days})
    assert is_error(answer, 400)
    assert answer.json()["message"].startswith("days: ")


@pytest.mark.parametrize("path", ["/api/predict", "/api/history"])
def test_an_unknown_symbol_is_404_with_the_available_ones(market_client, path):
    answer = market_client.get(path, params={"symbol": "NOPE"})
    assert is_error(answer, 404)
    assert "BTC" in answer.json()["message"]


# The statistical fallback -------------------------------------------------


def test_a_short_history_uses_the_fallback_and_gives_the_reason(tmp_path):
    with serve_replay(tmp_path, short_market()) as server, server.client() as item:
        server.wait_ready()
        body = prediction(item)
        document, simple = body["prediction"], moving_average_drift(BTC.head(SHORT), 24, samples=SAMPLES, seed=0)
        assert document["model"] == "simple"
        assert str(SHORT) in document["reason"]
        assert "at least 8" in document["reason"]
        assert document["model_name"] == simple.metadata.model
        assert document["calibrated"] is False
        assert document["price_24h"] == simple.median()["close"].iloc[-1]
        assert [step["low"] for step in document["predictions"]] == simple.range(0.8)["low"].tolist()
        assert document["predictions"][-1]["hour"] == 24
    with serve_replay(tmp_path / "again", short_market()) as server, server.client() as item:
        assert prediction(item)["prediction"]["predictions"] == document["predictions"]


def test_too_few_candles_for_any_forecast_are_an_error(market_client):
    answer = market_client.get("/api/predict?symbol=LINK")
    assert is_error(answer, 400)
    assert "2 closed candles" in answer.json()["message"]


def test_predictions_use_the_fallback_until_damaged_weights_are_replaced(tmp_path):
    model = tmp_path / "own-model"
    good = find_entry("kronos-nano").folder
    shutil.copytree(good, model)
    shutil.copytree(find_entry("kronos-tokenizer-nano").folder, tmp_path / "tokenizer")
    weights = model / "model.safetensors"
    weights.write_bytes(b"these are no weights")
    settings = settings_in(tmp_path).model_copy(update={"model": str(model), "tokenizer": str(tmp_path / "tokenizer")})
    from kronos.serve.state import build_state

    with run_server(settings, build_state(settings, source=replay(BTC, ETH))) as server, server.client() as item:
        document = prediction(item)["prediction"]
        assert document["model"] == "simple"
        assert document["reason"]
        assert str(tmp_path) not in json.dumps(document)
        answer = item.get("/ready")
        assert answer.status_code == 503
        assert answer.json()["status"] == "failed"
        assert str(tmp_path) not in answer.text
        assert item.get("/health").status_code == 200
        assert item.get("/api/history?symbol=BTC").status_code == 200
        assert is_error(item.post("/api/load-model", json={"model_key": "own-model"}), 503)

        shutil.copy(good / "model.safetensors", weights)
        loaded = item.post("/api/load-model", json={"model_key": "own-model"})
        assert loaded.status_code == 200, loaded.text
        assert item.get("/ready").status_code == 200
        document = prediction(item, "ETH")["prediction"]
        assert (document["model"], document["reason"], document["model_name"]) == ("kronos", None, "own-model")


# Caching ------------------------------------------------------------------


def test_a_cached_response_has_equal_bytes_and_its_remaining_seconds(market_client):
    first = market_client.get("/api/predict?symbol=BTC&hours=3")
    answers = [market_client.get(f"/api/predict?symbol={name}&hours=3") for name in ("BTC", "btc", "BTC")]
    assert {item.content for item in answers} == {first.content}
    ages = [int(re.fullmatch(r"private, max-age=(\d+)", item.headers["cache-control"])[1]) for item in answers]
    assert all(0 < age <= 3605 for age in ages)


def test_a_prediction_expires_with_its_candles(market_client):
    def holds(hours):
        answer = market_client.get(f"/api/predict?symbol=BTC&hours={hours}")
        return int(answer.headers["cache-control"].removeprefix("private, max-age="))

    first = holds(4)
    time.sleep(1.1)
    assert holds(5) < first


@pytest.mark.slow
def test_a_prediction_changes_when_the_next_candle_closes(tmp_path, monkeypatch):
    monkeypatch.setattr(market_data, "_PUBLISH_DELAY", pd.Timedelta(0))
    minutes = recorded("BTC", 300, step="1m")
    closes = pd.Timestamp(START, tz="UTC") + pd.Timedelta(minutes=200)
    market = replay(minutes, at=closes + pd.Timedelta(seconds=58))  # the next candle closes in two seconds
    with serve_replay(tmp_path, market, interval="1m") as server, server.client() as item:
        server.wait_ready()
        first = item.get("/api/predict?symbol=BTC&hours=1")
        assert pd.Timestamp(first.json()["asOf"]) == closes
        market.advance(pd.Timedelta(minutes=1))
        seen, until = [first.content], time.monotonic() + 60
        while seen[-1] == first.content:
            assert time.monotonic() < until
            seen.append(item.get("/api/predict?symbol=BTC&hours=1").content)
            time.sleep(0.05)
        assert set(seen[:-1]) == {first.content}
        second = json.loads(seen[-1])
        assert pd.Timestamp(second["asOf"]) == closes + pd.Timedelta(minutes=1)
        assert second["prediction"]["predictions"] != first.json()["prediction"]["predictions"]
        assert len(second["prediction"]["predictions"]) == 60
        assert server.state.inference.computed == 2


@pytest.mark.slow
def test_concurrent_clients_share_one_computation_per_symbol(tmp_path, market_client):
    symbols = ("BTC", "ETH", "SOL")
    alone = {item: prediction(market_client, item, hours=6)["prediction"] for item in symbols}
    with serve_replay(tmp_path, replay(BTC, ETH, SOL)) as server, ExitStack() as stack:
        server.wait_ready()
        clients = [stack.enter_context(server.client()) for _ in range(24)]
        with ThreadPoolExecutor(len(clients)) as crowd:
            found = list(crowd.map(lambda n: prediction(clients[n], symbols[n % 3], hours=6), range(len(clients))))
        assert server.state.inference.computed == len(symbols)
        assert server.state.inference.batches <= len(symbols)
    for body in found:
        assert body["prediction"] == alone[body["symbol"]]
    assert len({body["timestamp"] for body in found if body["symbol"] == "BTC"}) == 1


# CoinGecko ----------------------------------------------------------------


@pytest.fixture(scope="module")
def coingecko(tmp_path_factory):
    """A server with a fake CoinGecko as source, and the fake's market."""
    world = World({"BTC/USDT": walk("2025-12-01", 2 * 24 * 100, "30m")}, now="2026-03-01 12:50")
    with serve_gecko(world) as gecko:
        own = SourceSettings(base_url=gecko.url, backoff=0.01)
        settings = settings_in(tmp_path_factory.mktemp("gecko"), source="coingecko").model_copy(
            update={"offline": False, "sources": {"coingecko": own}}
        )
        with run_server(settings) as server:
            server.wait_ready()
            yield server, world


def test_coingecko_predictions_use_its_current_price(coingecko):
    server, world = coingecko
    with server.client() as item:
        body = prediction(item)
    hourly = world.shows("BTC/USDT", "1h")["close"]
    assert body["currentPrice"] == hourly.iloc[-1]
    assert body["change24h"] == pytest.approx(hourly.iloc[-1] / hourly.iloc[-25] * 100 - 100)
    assert body["volume24h"] == 2.5e10
    assert body["marketCap"] == pytest.approx(hourly.iloc[-1] * 19e6)
    assert body["source"] == "coingecko bitcoin"
    assert body["simulated"] is False
    bullish = body["prediction"]["price_24h"] > body["currentPrice"]
    assert body["prediction"]["trend"] == ("bullish" if bullish else "bearish")


def test_coingecko_candles_of_four_hours_have_their_interval(coingecko):
    server, _ = coingecko
    with server.client() as item:
        answer = item.get("/api/predict?symbol=BTC&hours=24")
    body = answer.json()
    assert body["interval"] == "4h"
    assert [step["hour"] for step in body["prediction"]["predictions"]] == [4, 8, 12, 16, 20, 24]
    assert body["prediction"]["model"] == "kronos"
    assert pd.Timestamp(body["expires"]) - pd.Timestamp(body["asOf"]) == Interval(4, "h").delta
    assert int(answer.headers["cache-control"].removeprefix("private, max-age=")) <= 60  # the lifetime of a quote


def test_coingecko_history_is_its_chart_with_null_for_missing_values(coingecko):
    server, _ = coingecko
    with server.client() as item:
        body = item.get("/api/history?symbol=BTC&days=7").json()
    assert body["interval"] == "1h"
    assert body["source"] == "coingecko"
    lengths = {len(body["data"][name]) for name in ("prices", "volumes", "marketCaps")}
    assert lengths == {7 * 24 + 1}
    assert body["data"]["marketCaps"][0][1] is None
    assert body["data"]["marketCaps"][1][1] > 0
    times = [at for at, _ in body["data"]["prices"]]
    assert times == sorted(times)


def test_an_unreachable_source_is_502_with_retry_after(tmp_path):
    settings = settings_in(tmp_path, source="coingecko", timeout=3.0).model_copy(
        update={
            "offline": False,
            "sources": {"coingecko": SourceSettings(base_url="http://127.0.0.1:9", attempts=1, backoff=0.01)},
        }
    )
    with run_server(settings) as server, server.client() as item:
        for path in ("/api/predict", "/api/history"):
            answer = item.get(path, params={"symbol": "BTC"})
            assert is_error(answer, 502)
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"] == "Source of candles failed"

"""The prediction API keeps its word: routes, fields, types, errors, and numbers that are those of the Python API."""

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
from kronos.zoo import find
from serve.live import served, settings_in
from serve.recordings import SHORT, START, recorded, replay, serving
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
    """The same recording, seen when only the short series has all its candles."""
    return replay(BTC, DOT, at=pd.Timestamp(START, tz="UTC") + SHORT * HOUR)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """A server of recorded candles; LINK has too few for any forecast, ADA and the rest are not in the recording."""
    with serving(tmp_path_factory.mktemp("market"), replay(BTC, ETH, SOL, DOT, LINK)) as server:
        server.wait_ready()
        yield server


@pytest.fixture(scope="module")
def asking(market):
    with market.client() as client:
        yield client


@pytest.fixture(scope="module")
def predictor():
    return KronosPredictor.from_pretrained()


def made(predictor, candles, hours=24, *, symbol=None):
    """The forecast that an answer must be of, by the Python API."""
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
    assert all(isinstance(one, str) and one for one in body.values())
    assert body["message"].endswith(".")
    return True


# What is answered ---------------------------------------------------------


def test_a_prediction_has_exactly_the_documented_fields_and_types(asking):
    body = prediction(asking)
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


def test_the_numbers_are_those_of_the_forecast_that_the_python_api_makes(asking, predictor):
    body, forecast = prediction(asking), made(predictor, BTC)
    told, band = body["prediction"], forecast.range(0.8)
    steps = pd.DataFrame(told["predictions"])
    assert forecast.metadata.calibrated
    assert told["calibrated"] is True
    assert steps["price"].tolist() == forecast.median()["close"].tolist()
    assert steps["low"].tolist() == band["low"].tolist()
    assert steps["high"].tolist() == band["high"].tolist()
    assert told["price_24h"] == forecast.median()["close"].iloc[-1]
    assert told["model_name"] == forecast.metadata.model == "kronos-nano"
    assert told["notes"] == list(forecast.notes)


@pytest.mark.parametrize("symbol", ["BTC", "ETH", "SOL"])
@pytest.mark.parametrize("hours", [1, 24])
def test_trend_and_confidence_are_what_the_paths_say_of_the_current_price(asking, predictor, symbol, hours):
    candles = {"BTC": BTC, "ETH": ETH, "SOL": SOL}[symbol]
    body, forecast = prediction(asking, symbol, hours=hours), made(predictor, candles, hours)
    finals, current = forecast.channel("close")[:, -1], float(candles.frame["close"].iloc[-1])
    bullish = bool(np.median(finals) > current)
    agreeing = int((finals > current).sum()) if bullish else int((finals <= current).sum())
    assert body["currentPrice"] == current
    assert body["prediction"]["trend"] == ("bullish" if bullish else "bearish")
    assert body["prediction"]["confidence"] == pytest.approx((agreeing + 0.5) / (SAMPLES + 1), abs=0.5 / SAMPLES)
    assert 0 < body["prediction"]["confidence"] < 1
    own = forecast.probability_above(current)
    assert body["prediction"]["confidence"] == float(own if bullish else 1 - own)


def test_24_hours_are_predicted_unless_told_otherwise(asking):
    usual, told = prediction(asking)["prediction"], prediction(asking, hours=24)["prediction"]
    assert usual == told
    assert [step["hour"] for step in usual["predictions"]] == list(range(1, 25))


@pytest.mark.parametrize("hours", [1, 7, 168])
def test_as_many_hours_are_predicted_as_are_asked_for(asking, hours):
    steps = prediction(asking, hours=hours)["prediction"]["predictions"]
    assert [step["hour"] for step in steps] == list(range(1, hours + 1))


def test_times_are_iso_8601_in_utc_and_steps_are_stamped_with_their_close(asking):
    body = prediction(asking)
    steps = body["prediction"]["predictions"]
    for text in (body["timestamp"], body["asOf"], body["expires"], *(step["timestamp"] for step in steps)):
        assert MOMENT.fullmatch(text), text
    assert pd.Timestamp(body["asOf"]) == CLOSED
    assert pd.Timestamp(body["expires"]) == CLOSED + HOUR
    assert [pd.Timestamp(step["timestamp"]) - CLOSED for step in steps] == [step["hour"] * HOUR for step in steps]
    assert abs(pd.Timestamp.now("UTC") - pd.Timestamp(body["timestamp"])) < pd.Timedelta(hours=1)


@pytest.mark.parametrize("symbol", ["BTC", "ETH", "DOT"])
def test_the_band_holds_the_median(asking, symbol):
    for step in prediction(asking, symbol)["prediction"]["predictions"]:
        assert 0 < step["low"] <= step["price"] <= step["high"]


def test_change_and_volume_of_24_hours_are_computed_from_the_candles(asking):
    body, frame = prediction(asking), BTC.frame
    assert body["change24h"] == pytest.approx(100 * (frame["close"].iloc[-1] / frame["close"].iloc[-25] - 1))
    assert body["volume24h"] == pytest.approx(frame["amount"].iloc[-24:].sum())


def test_what_the_source_does_not_tell_is_null(asking):
    body = prediction(asking, "SOL")
    assert body["volume24h"] is None
    assert body["marketCap"] is None
    assert isinstance(body["change24h"], float)


def test_a_history_of_less_than_a_day_has_no_change_of_24_hours(tmp_path):
    with serving(tmp_path, replay(BTC, at=pd.Timestamp(START, tz="UTC") + 20 * HOUR)) as server, server.client() as one:
        body = prediction(one)
    assert body["change24h"] is None
    assert body["volume24h"] is None


def test_simulated_candles_are_labelled_wherever_they_are_answered(client):
    assert prediction(client)["simulated"] is True
    assert client.get("/api/history?symbol=BTC").json()["simulated"] is True
    description = client.get("/udf/symbols?symbol=BTC").json()["description"]
    assert "SIMULATED" in description


@pytest.mark.parametrize("spelling", ["btc", "Btc", " BTC "])
def test_symbols_may_be_written_in_any_case(asking, spelling):
    assert prediction(asking, spelling) == prediction(asking, "BTC")
    assert asking.get("/api/history", params={"symbol": spelling}).json()["symbol"] == "BTC"


# History ------------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 7, 29])
def test_history_gives_the_closed_candles_of_so_many_days(asking, days):
    answer = asking.get("/api/history", params={"symbol": "BTC", "days": days})
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


def test_history_is_of_7_days_unless_told_otherwise(asking):
    body = asking.get("/api/history?symbol=ETH").json()
    assert body["days"] == 7
    assert len(body["data"]["prices"]) == 7 * 24


def test_history_gives_what_there_is_where_more_days_are_asked_for(asking):
    body = asking.get("/api/history?symbol=ETH&days=90").json()
    assert body["days"] == 90
    assert len(body["data"]["prices"]) == 700


def test_history_has_null_volumes_where_the_source_tells_none(asking):
    volumes = asking.get("/api/history?symbol=SOL&days=1").json()["data"]["volumes"]
    assert len(volumes) == 24
    assert all(value is None for _, value in volumes)


# Assets and the watchers' routes ------------------------------------------


def test_assets_are_the_eight_of_the_published_backend_by_default(client):
    body = client.get("/api/assets").json()
    assert body["count"] == 8
    assert body["assets"] == [{"symbol": s, "name": n, "supported": True} for s, n in STANDARD.items()]


def test_an_asset_that_the_source_turns_out_not_to_have_is_told_as_not_supported(asking):
    assert is_error(asking.get("/api/predict?symbol=ADA"), 404)
    assert is_error(asking.get("/api/history?symbol=ADA"), 404)
    found = {one["symbol"]: one["supported"] for one in asking.get("/api/assets").json()["assets"]}
    assert found["ADA"] is False
    assert found["BTC"] is True


def test_assets_come_from_the_configuration_with_the_sources_own_names(tmp_path):
    source = replay(recorded("XBT-EUR"))
    with serving(tmp_path, source, assets="btc=XBT/EUR, NEW") as server, server.client() as one:
        assert one.get("/api/assets").json() == {
            "assets": [
                {"symbol": "BTC", "name": "bitcoin", "supported": True},
                {"symbol": "NEW", "name": "new", "supported": True},
            ],
            "count": 2,
        }
        assert prediction(one, hours=1)["currentPrice"] == recorded("XBT-EUR").frame["close"].iloc[-1]
        assert is_error(one.get("/api/predict?symbol=ETH"), 404)


def test_health_says_ok_and_the_time(asking):
    body = asking.get("/health").json()
    assert list(body) == ["status", "timestamp"]
    assert body["status"] == "ok"
    assert MOMENT.fullmatch(body["timestamp"])


def test_ready_says_that_the_model_is_in_memory(asking):
    answer = asking.get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "message": ""}


def test_metrics_are_in_prometheus_text_format_and_count_answers(asking):
    prediction(asking)
    answer = asking.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    counted = 'kronos_requests_total{method="GET",route="/api/predict",status="200"}'
    line = next(one for one in answer.text.splitlines() if one.startswith(counted))
    assert float(line.split()[-1]) >= 1
    assert re.search(r"^kronos_model_loaded 1\.0$", answer.text, re.MULTILINE)


# Refusals -----------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/unknown", "/api/predict/BTC", "/api/predict/", "/nothing", "/API/predict"])
def test_an_unknown_route_is_404_with_its_path(asking, path):
    answer = asking.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"error": "Not found", "path": path}


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/api/predict"), ("POST", "/api/history"), ("PUT", "/health"), ("POST", "/udf/time")],
)
def test_a_wrong_method_is_405_and_says_which_are_right(asking, method, path):
    answer = asking.request(method, path)
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
def test_a_wrong_parameter_of_a_prediction_is_400_and_named(asking, query, named):
    answer = asking.get(f"/api/predict?{query}")
    assert is_error(answer, 400)
    assert answer.json()["error"] == "Bad request"
    assert answer.json()["message"].startswith(f"{named}: ")


@pytest.mark.parametrize("days", ["0", "91", "-7", "x", "1e1", ""])
def test_a_wrong_number_of_days_is_400_and_named(asking, days):
    answer = asking.get("/api/history", params={"symbol": "BTC", "days": days})
    assert is_error(answer, 400)
    assert answer.json()["message"].startswith("days: ")


@pytest.mark.parametrize("path", ["/api/predict", "/api/history"])
def test_an_unknown_symbol_is_404_and_the_known_ones_are_named(asking, path):
    answer = asking.get(path, params={"symbol": "NOPE"})
    assert is_error(answer, 404)
    assert "BTC" in answer.json()["message"]


# The statistical fallback -------------------------------------------------


def test_a_history_too_short_for_the_model_is_answered_by_the_fallback_with_the_reason(tmp_path):
    with serving(tmp_path, short_market()) as server, server.client() as one:
        server.wait_ready()
        body = prediction(one)
        told, simple = body["prediction"], moving_average_drift(BTC.head(SHORT), 24, samples=SAMPLES, seed=0)
        assert told["model"] == "simple"
        assert str(SHORT) in told["reason"]
        assert "64" in told["reason"]
        assert told["model_name"] == simple.metadata.model
        assert told["calibrated"] is False
        assert told["price_24h"] == simple.median()["close"].iloc[-1]
        assert [step["low"] for step in told["predictions"]] == simple.range(0.8)["low"].tolist()
        assert told["predictions"][-1]["hour"] == 24
    with serving(tmp_path / "again", short_market()) as server, server.client() as one:
        assert prediction(one)["prediction"]["predictions"] == told["predictions"]


def test_too_few_candles_for_any_forecast_are_refused(asking):
    answer = asking.get("/api/predict?symbol=LINK")
    assert is_error(answer, 400)
    assert "2 closed candles" in answer.json()["message"]


def test_broken_weights_leave_the_server_answering_and_a_good_load_mends_it(tmp_path):
    model = tmp_path / "own-model"
    good = find("kronos-nano").folder
    shutil.copytree(good, model)
    shutil.copytree(find("kronos-tokenizer-nano").folder, tmp_path / "tokenizer")
    weights = model / "model.safetensors"
    weights.write_bytes(b"these are no weights")
    settings = settings_in(tmp_path).model_copy(update={"model": str(model), "tokenizer": str(tmp_path / "tokenizer")})
    from kronos.serve.state import build_state

    with served(settings, build_state(settings, source=replay(BTC, ETH))) as server, server.client() as one:
        told = prediction(one)["prediction"]
        assert told["model"] == "simple"
        assert told["reason"]
        assert str(tmp_path) not in json.dumps(told)
        answer = one.get("/ready")
        assert answer.status_code == 503
        assert answer.json()["status"] == "failed"
        assert str(tmp_path) not in answer.text
        assert one.get("/health").status_code == 200
        assert one.get("/api/history?symbol=BTC").status_code == 200
        assert is_error(one.post("/api/load-model", json={"model_key": "own-model"}), 503)

        shutil.copy(good / "model.safetensors", weights)
        loaded = one.post("/api/load-model", json={"model_key": "own-model"})
        assert loaded.status_code == 200, loaded.text
        assert one.get("/ready").status_code == 200
        told = prediction(one, "ETH")["prediction"]
        assert (told["model"], told["reason"], told["model_name"]) == ("kronos", None, "own-model")


# Kept answers -------------------------------------------------------------


def test_an_answer_is_the_same_bytes_while_it_holds_and_says_for_how_long(asking):
    first = asking.get("/api/predict?symbol=BTC&hours=3")
    answers = [asking.get(f"/api/predict?symbol={name}&hours=3") for name in ("BTC", "btc", "BTC")]
    assert {one.content for one in answers} == {first.content}
    ages = [int(re.fullmatch(r"private, max-age=(\d+)", one.headers["cache-control"])[1]) for one in answers]
    assert all(0 < age <= 3605 for age in ages)


def test_an_answer_made_later_of_the_same_candles_holds_no_longer_than_they_do(asking):
    def holds(hours):
        answer = asking.get(f"/api/predict?symbol=BTC&hours={hours}")
        return int(answer.headers["cache-control"].removeprefix("private, max-age="))

    first = holds(4)
    time.sleep(1.1)
    assert holds(5) < first


def test_an_answer_changes_once_the_next_candle_has_closed_and_not_before(tmp_path, monkeypatch):
    monkeypatch.setattr(market_data, "_SETTLE", pd.Timedelta(0))
    minutes = recorded("BTC", 300, step="1m")
    closes = pd.Timestamp(START, tz="UTC") + pd.Timedelta(minutes=200)
    market = replay(minutes, at=closes + pd.Timedelta(seconds=58))  # the next candle closes in two seconds
    with serving(tmp_path, market, interval="1m") as server, server.client() as one:
        server.wait_ready()
        first = one.get("/api/predict?symbol=BTC&hours=1")
        assert pd.Timestamp(first.json()["asOf"]) == closes
        market.advance(pd.Timedelta(minutes=1))
        seen, until = [first.content], time.monotonic() + 60
        while seen[-1] == first.content:
            assert time.monotonic() < until
            seen.append(one.get("/api/predict?symbol=BTC&hours=1").content)
            time.sleep(0.05)
        assert set(seen[:-1]) == {first.content}
        second = json.loads(seen[-1])
        assert pd.Timestamp(second["asOf"]) == closes + pd.Timedelta(minutes=1)
        assert second["prediction"]["predictions"] != first.json()["prediction"]["predictions"]
        assert len(second["prediction"]["predictions"]) == 60
        assert server.state.engine.computed == 2


def test_a_crowd_has_each_symbol_computed_once_and_gets_the_numbers_of_one_alone(tmp_path, asking):
    symbols = ("BTC", "ETH", "SOL")
    alone = {one: prediction(asking, one, hours=6)["prediction"] for one in symbols}
    with serving(tmp_path, replay(BTC, ETH, SOL)) as server, ExitStack() as stack:
        server.wait_ready()
        clients = [stack.enter_context(server.client()) for _ in range(24)]
        with ThreadPoolExecutor(len(clients)) as crowd:
            found = list(crowd.map(lambda n: prediction(clients[n], symbols[n % 3], hours=6), range(len(clients))))
        assert server.state.engine.computed == len(symbols)
        assert server.state.engine.batches <= len(symbols)
    for body in found:
        assert body["prediction"] == alone[body["symbol"]]
    assert len({body["timestamp"] for body in found if body["symbol"] == "BTC"}) == 1


# CoinGecko ----------------------------------------------------------------


@pytest.fixture(scope="module")
def coingecko(tmp_path_factory):
    """A server whose candles and quotes come from CoinGecko's double, and that double's world."""
    world = World({"BTC/USDT": walk("2025-12-01", 2 * 24 * 100, "30m")}, now="2026-03-01 12:50")
    with serve_gecko(world) as gecko:
        own = SourceSettings(base_url=gecko.url, backoff=0.01)
        settings = settings_in(tmp_path_factory.mktemp("gecko"), source="coingecko").model_copy(
            update={"offline": False, "sources": {"coingecko": own}}
        )
        with served(settings) as server:
            server.wait_ready()
            yield server, world


def test_coingeckos_price_change_volume_and_capitalisation_come_from_its_quote(coingecko):
    server, world = coingecko
    with server.client() as one:
        body = prediction(one)
    hourly = world.shows("BTC/USDT", "1h")["close"]
    assert body["currentPrice"] == hourly.iloc[-1]
    assert body["change24h"] == pytest.approx(hourly.iloc[-1] / hourly.iloc[-25] * 100 - 100)
    assert body["volume24h"] == 2.5e10
    assert body["marketCap"] == pytest.approx(hourly.iloc[-1] * 19e6)
    assert body["source"] == "coingecko bitcoin"
    assert body["simulated"] is False
    bullish = body["prediction"]["price_24h"] > body["currentPrice"]
    assert body["prediction"]["trend"] == ("bullish" if bullish else "bearish")


def test_coingeckos_candles_of_four_hours_are_told_as_such(coingecko):
    server, _ = coingecko
    with server.client() as one:
        answer = one.get("/api/predict?symbol=BTC&hours=24")
    body = answer.json()
    assert body["interval"] == "4h"
    assert [step["hour"] for step in body["prediction"]["predictions"]] == [4, 8, 12, 16, 20, 24]
    assert body["prediction"]["model"] == "kronos"
    assert pd.Timestamp(body["expires"]) - pd.Timestamp(body["asOf"]) == Interval(4, "h").delta
    assert int(answer.headers["cache-control"].removeprefix("private, max-age=")) <= 60  # a quote is of this minute


def test_coingeckos_history_is_its_chart_with_null_where_it_tells_nothing(coingecko):
    server, _ = coingecko
    with server.client() as one:
        body = one.get("/api/history?symbol=BTC&days=7").json()
    assert body["interval"] == "1h"
    assert body["source"] == "coingecko"
    lengths = {len(body["data"][name]) for name in ("prices", "volumes", "marketCaps")}
    assert lengths == {7 * 24 + 1}
    assert body["data"]["marketCaps"][0][1] is None
    assert body["data"]["marketCaps"][1][1] > 0
    times = [at for at, _ in body["data"]["prices"]]
    assert times == sorted(times)


def test_a_source_that_is_down_is_502_and_may_be_tried_again(tmp_path):
    settings = settings_in(tmp_path, source="coingecko", timeout=3.0).model_copy(
        update={
            "offline": False,
            "sources": {"coingecko": SourceSettings(base_url="http://127.0.0.1:9", attempts=1, backoff=0.01)},
        }
    )
    with served(settings) as server, server.client() as one:
        for path in ("/api/predict", "/api/history"):
            answer = one.get(path, params={"symbol": "BTC"})
            assert is_error(answer, 502)
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"] == "Source of candles failed"

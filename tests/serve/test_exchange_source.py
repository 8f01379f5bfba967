"""Predictions with candles of an exchange: the real client, against a fake exchange on loopback."""

import pandas as pd
import pytest

from kronos.settings import ServeSettings, Settings, SourceSettings
from serve.servers import run_server
from sources.wire import World, serve, walk

pytest.importorskip("ccxt")


def settings_of(folder, name, url, **serve_):
    """Settings of a server with a fake exchange on loopback."""
    document = {"data_dir": folder / "data", "state_dir": folder / "state", "samples": 20, **serve_}
    source = SourceSettings(base_url=url, timeout=5, attempts=2, backoff=0.01)
    return Settings(
        source=name, threads=1, store_dir=folder / "store", sources={name: source}, serve=ServeSettings(**document)
    )


@pytest.mark.parametrize("name", ["binance", "okx"])
def test_exchange_candles_are_predicted_with_their_source(tmp_path, name):
    world = World({"BTC/USDT": walk("2024-01-01", 1_200)}, now="2024-02-10 12:30")
    with (
        serve(world) as exchange,
        run_server(settings_of(tmp_path, name, exchange.url)) as live,
        live.client() as client,
    ):
        answer = client.get("/api/predict", params={"symbol": "BTC"})
        assert answer.status_code == 200, answer.text
        document = answer.json()
        assert (document["prediction"]["model"], document["simulated"], document["interval"]) == ("kronos", False, "1h")
        assert name in document["source"]
        # The candle that opened at 12:00 is still forming: the last closed one opened at 11:00.
        assert document["asOf"] == "2024-02-10T12:00:00Z"
        assert document["expires"] == "2024-02-10T13:00:00Z"
        shown = world.shows("BTC/USDT", "1h")
        assert document["currentPrice"] == pytest.approx(
            float(shown["close"][pd.Timestamp("2024-02-10 11:00", tz="UTC")])
        )
        assert document["prediction"]["predictions"][0]["timestamp"] == "2024-02-10T13:00:00Z"
        requests = len(exchange.requests_to("klines" if name == "binance" else "candles"))
        assert client.get("/api/predict", params={"symbol": "btc"}).content == answer.content
        assert len(exchange.requests_to("klines" if name == "binance" else "candles")) == requests


def test_a_symbol_unknown_to_the_exchange_is_404_and_unsupported(tmp_path):
    world = World({"BTC/USDT": walk("2024-01-01", 600)}, now="2024-01-20 12:30")
    with (
        serve(world) as exchange,
        run_server(settings_of(tmp_path, "binance", exchange.url)) as live,
        live.client() as client,
    ):
        answer = client.get("/api/predict", params={"symbol": "ETH"})
        assert answer.status_code == 404
        assert "ETH" in answer.json()["message"]
        supported = {item["symbol"]: item["supported"] for item in client.get("/api/assets").json()["assets"]}
        assert (supported["BTC"], supported["ETH"]) == (True, False)


def test_an_unreachable_exchange_is_502_with_retry_after(tmp_path):
    world = World({"BTC/USDT": walk("2024-01-01", 600)}, now="2024-01-20 12:30")
    with serve(world) as exchange:
        url = exchange.url
    with run_server(settings_of(tmp_path, "binance", url)) as live, live.client() as client:
        answer = client.get("/api/predict", params={"symbol": "BTC"})
        assert answer.status_code == 502
        assert answer.headers["Retry-After"]
        assert answer.json()["error"] == "Source of candles failed"
        assert client.get("/health").status_code == 200

"""Predictions whose candles come from an exchange: the real client against an exchange's formats on loopback."""

import pandas as pd
import pytest

from kronos.settings import ServeSettings, Settings, SourceSettings
from serve.live import served
from sources.wire import World, serve, walk

pytest.importorskip("ccxt")


def settings_of(folder, name, url, **serve_):
    """Settings of a server whose exchange is on loopback."""
    told = {"data_dir": folder / "data", "state_dir": folder / "state", "samples": 20, **serve_}
    source = SourceSettings(base_url=url, timeout=5, attempts=2, backoff=0.01)
    return Settings(
        source=name, threads=1, store_dir=folder / "store", sources={name: source}, serve=ServeSettings(**told)
    )


@pytest.mark.parametrize("name", ["binance", "okx"])
def test_candles_of_an_exchange_are_predicted_and_named(tmp_path, name):
    world = World({"BTC/USDT": walk("2024-01-01", 1_200)}, now="2024-02-10 12:30")
    with serve(world) as exchange, served(settings_of(tmp_path, name, exchange.url)) as live, live.client() as client:
        answer = client.get("/api/predict", params={"symbol": "BTC"})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["prediction"]["model"], told["simulated"], told["interval"]) == ("kronos", False, "1h")
        assert name in told["source"]
        # The candle that opened at 12:00 is still forming: the last closed one opened at 11:00.
        assert told["asOf"] == "2024-02-10T12:00:00Z"
        assert told["expires"] == "2024-02-10T13:00:00Z"
        shown = world.shows("BTC/USDT", "1h")
        assert told["currentPrice"] == pytest.approx(float(shown["close"][pd.Timestamp("2024-02-10 11:00", tz="UTC")]))
        assert told["prediction"]["predictions"][0]["timestamp"] == "2024-02-10T13:00:00Z"
        asked = len(exchange.asked("klines" if name == "binance" else "candles"))
        assert client.get("/api/predict", params={"symbol": "btc"}).content == answer.content
        assert len(exchange.asked("klines" if name == "binance" else "candles")) == asked


def test_a_symbol_that_the_exchange_does_not_have_is_told_and_remembered(tmp_path):
    world = World({"BTC/USDT": walk("2024-01-01", 600)}, now="2024-01-20 12:30")
    with (
        serve(world) as exchange,
        served(settings_of(tmp_path, "binance", exchange.url)) as live,
        live.client() as client,
    ):
        answer = client.get("/api/predict", params={"symbol": "ETH"})
        assert answer.status_code == 404
        assert "ETH" in answer.json()["message"]
        supported = {one["symbol"]: one["supported"] for one in client.get("/api/assets").json()["assets"]}
        assert (supported["BTC"], supported["ETH"]) == (True, False)


def test_an_exchange_that_fails_is_told_and_asked_again(tmp_path):
    world = World({"BTC/USDT": walk("2024-01-01", 600)}, now="2024-01-20 12:30")
    with serve(world) as exchange:
        url = exchange.url
    with served(settings_of(tmp_path, "binance", url)) as live, live.client() as client:
        answer = client.get("/api/predict", params={"symbol": "BTC"})
        assert answer.status_code == 502
        assert answer.headers["Retry-After"]
        assert answer.json()["error"] == "Source of candles failed"
        assert client.get("/health").status_code == 200

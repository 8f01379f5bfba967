"""Cached candles of the configured assets."""

import pandas as pd
import pytest

from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.serve.market_data import MarketData, parse_assets
from kronos.sources.replay import Replay
from serve.servers import run_server
from serve.test_exchange_source import settings_of
from sources.wire import World, serve, walk


def test_a_late_candle_is_requested_with_increasing_delays():
    candles = Candles.from_frame(walk("2024-01-01", 300), symbol="BTC", interval="1h")
    source = Replay({("BTC", "1h"): candles}, at=candles.end + pd.Timedelta(hours=3))  # without further candles
    market_data = MarketData(source, parse_assets(("BTC",), "USDT", "replay"), interval=None, timeout=10)
    asset = market_data.asset("BTC")
    delays = [round(market_data._fetch(asset, 100).seconds) for _ in range(8)]
    assert delays == [5, 10, 20, 40, 80, 160, 180, 180]  # up to a twentieth of an hour


def test_downloaded_candles_are_not_in_the_data_folder(tmp_path):
    world = World({"BTC/USDT": walk("2024-01-01", 600)}, now="2024-01-20 12:30")
    with serve(world) as exchange:
        settings = settings_of(tmp_path, "binance", exchange.url).model_copy(update={"store_dir": None})
        with run_server(settings) as live, live.client() as client:
            assert client.get("/api/predict", params={"symbol": "BTC"}).status_code == 200
            assert client.get("/api/data-files").json() == []
    assert list((tmp_path / "state" / "candles").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("entry", "source", "names"),
    [
        ("eth", "okx", ("ETH/USDT",)),
        ("ETH", "coingecko", ("ETH",)),
        ("ETH", "replay:folder", ("ETH", "ETHUSDT", "ETHUSD")),
        ("XAU=XAU/USDT:USDT", "okx", ("XAU/USDT:USDT",)),
    ],
)
def test_assets_have_the_names_of_their_source(entry, source, names):
    (asset,) = parse_assets((entry,), "USDT", source).values()
    assert asset.symbol == entry.partition("=")[0].upper()
    assert asset.source_names == names


@pytest.mark.parametrize("entry", ["", "BTC/USDT", "=XBT", "B" * 21])
def test_invalid_assets_are_an_error(entry):
    with pytest.raises(ParameterError, match="KRONOS_SERVE__ASSETS"):
        parse_assets((entry,), "USDT", "okx")

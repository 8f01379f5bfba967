"""Whole downloads from servers that speak Binance's, OKX's and CoinGecko's formats: complete, whatever happens."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pandas as pd
import pytest

from kronos.intervals import Interval
from kronos.provenance import frame_digest
from kronos.settings import get_settings
from kronos.sources import open_source
from kronos.sources.cache import CandleCache
from sources.coingecko_wire import Gecko, serve_gecko
from sources.wire import Faults, World, serve, serve_apart, walk

HOUR = Interval(1, "h")
COUNT = 20_050
CANDLES = {"BTC/USDT": walk("2022-01-01", COUNT, seed=1), "BTC/USDT:USDT": walk("2022-01-01", COUNT, seed=3)}
NOW = (CANDLES["BTC/USDT"].index[-1] + pd.Timedelta(minutes=20)).isoformat()  # the last candle is forming
SYMBOLS = {"binance": "BTC/USDT", "okx": "BTC-USDT-SWAP", "coingecko": "BTC"}
UNIFIED = {"binance": "BTC/USDT", "okx": "BTC/USDT:USDT", "coingecko": "BTC/USDT"}
TROUBLE = {
    "kinds": ("429", "418", "500", "502", "503", "cut", "reset", "truncated", "doubled", "shuffled"),
    "rate": 0.3,
}
EVERY = pytest.mark.parametrize("name", ["binance", "okx", "coingecko"])
RECORDS = [2_000, pytest.param(20_000, marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    """No setting and no proxy of this machine in between."""
    for name in list(os.environ):
        if name.startswith("KRONOS_") or name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name)


def serving(name, faults=None):
    world = World(dict(CANDLES), NOW, faults or Faults())
    return serve_gecko(world, Gecko(plan="pro")) if name == "coingecko" else serve(world)


def reach(name, server, folder):
    values = {"base_url": server.url, "backoff": 0.01, "timeout": 1.0}
    if name == "coingecko":
        values |= {"plan": "pro", "api_key": "none-is-wanted-here"}
    return open_source(name, store=folder, settings=get_settings({"sources": {name: values}}))


def expected(name, records):
    """What an undisturbed download has to bring: the closed candles, without what the source does not tell."""
    frame = World(dict(CANDLES), NOW).closed(UNIFIED[name], "1h").iloc[-records:].copy()
    if name == "coingecko":
        frame[["volume", "amount"]] = 0.0
    return frame


@EVERY
@pytest.mark.parametrize("records", RECORDS)
def test_all_that_was_asked_for_arrives(name, records, tmp_path):
    with serving(name) as server:
        candles = reach(name, server, tmp_path).candles(SYMBOLS[name], HOUR, records=records)
    assert len(candles) == records
    assert frame_digest(candles.frame) == frame_digest(expected(name, records))


@EVERY
@pytest.mark.parametrize("records", RECORDS)
def test_trouble_on_the_way_changes_nothing(name, records, tmp_path):
    trouble = Faults(**TROUBLE, seed=records, retry_after="0", in_a_row=4)
    with serving(name, trouble) as server:
        candles = reach(name, server, tmp_path).candles(SYMBOLS[name], HOUR, records=records)
    assert frame_digest(candles.frame) == frame_digest(expected(name, records))


@EVERY
def test_timeouts_change_nothing(name, tmp_path):
    slow = Faults(script=["", "timeout", "", "timeout"], stall=1.5)
    with serving(name, slow) as server:
        candles = reach(name, server, tmp_path).candles(SYMBOLS[name], HOUR, records=1_500)
        assert not server.world.faults.script
    assert frame_digest(candles.frame) == frame_digest(expected(name, 1_500))


# --- through the command line, in processes of their own -------------------------------------------------------------

MARKETS = ("--symbols", "BTC/USDT,BTC/USDT:USDT")
SERVED = ("--start", "2022-01-01", "--count", "9000", "--now", "2023-01-10 23:20", *MARKETS)  # 8,999 have closed


def fetching(name, url, folder, *words):
    """A command that downloads into a store of this folder."""
    environment = os.environ | {
        f"KRONOS_SOURCES__{name.upper()}__BASE_URL": url,
        f"KRONOS_SOURCES__{name.upper()}__BACKOFF": "0.01",
        f"KRONOS_SOURCES__{name.upper()}__TIMEOUT": "5",
    }
    command = [sys.executable, "-m", "kronos", "data", "fetch", SYMBOLS[name], "--source", name, "--json", *words]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def digest(process):
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return json.loads(out)["series"][0]["sha256"]


def candle_requests(url):
    with urllib.request.urlopen(f"{url}/wire/requests") as answer:
        asked = json.load(answer)
    return [path for path, _ in asked if "klines" in path or "candles" in path]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The digests of 6,000 candles each from a server that behaves."""
    with serve_apart(*SERVED) as url:
        processes = {
            name: fetching(name, url, tmp_path_factory.mktemp(name), "--records", "6000") for name in ("binance", "okx")
        }
        return {name: digest(process) for name, process in processes.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["binance", "okx"])
def test_two_processes_at_once(name, tmp_path, undisturbed):
    with serve_apart(*SERVED, "--fault-rate", "0.2", "--retry-after", "0") as url:
        both = [fetching(name, url, tmp_path, "--records", "6000") for _ in range(2)]
        assert {digest(process) for process in both} == {undisturbed[name]}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["binance", "okx"])
def test_a_download_that_was_killed_goes_on_where_it_was(name, tmp_path, undisturbed):
    pages = {"binance": 6, "okx": 20}[name]
    with serve_apart(*SERVED, "--delay", "0.1") as url:
        killed = fetching(name, url, tmp_path, "--records", "6000")
        deadline = time.monotonic() + 100
        while len(candle_requests(url)) < 0.8 * pages and time.monotonic() < deadline:
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
        before = len(candle_requests(url))
        [key] = CandleCache(tmp_path / "data" / "candles").series()
        assert 0 < len(CandleCache(tmp_path / "data" / "candles").read(key).frame) < 6_000
        assert digest(fetching(name, url, tmp_path, "--records", "6000")) == undisturbed[name]
        assert len(candle_requests(url)) - before < pages


@pytest.mark.slow
def test_what_goes_wrong_for_good_is_a_sentence(tmp_path):
    refused = fetching("okx", "http://127.0.0.1:9", tmp_path, "--records", "10")
    _, err = refused.communicate(timeout=100)
    assert refused.returncode == 1
    assert err.startswith("Error: okx could not be reached")
    with serve_apart(*SERVED) as url:
        unknown = fetching("binance", url, tmp_path, "--records", "10", "--interval", "7h")
        assert "binance has no 7h candles of BTC/USDT; it has" in unknown.communicate(timeout=100)[1]
        assert unknown.returncode == 2
        young = fetching("binance", url, tmp_path, "--records", "20000")
        out, err = young.communicate(timeout=100)
        [finding] = [one for one in json.loads(out)["series"][0]["findings"] if one["code"] == "short-history"]
        assert (
            "8,999 of the 20,000 1h candles asked for: its history of BTC/USDT begins 2022-01-01" in finding["message"]
        )

"""Downloads from local servers with the APIs of Binance, OKX and CoinGecko, despite failures and interruptions."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pandas as pd
import pytest

import forks
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
FAILURES = {
    "kinds": ("429", "418", "500", "502", "503", "cut", "reset", "truncated", "doubled", "shuffled"),
    "rate": 0.3,
}
EVERY = pytest.mark.parametrize("name", ["binance", "okx", "coingecko"])
RECORDS = [2_000, pytest.param(20_000, marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    """Ignore settings and proxies of this machine."""
    for name in list(os.environ):
        if name.startswith("KRONOS_") or name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name)


def serving(name, faults=None):
    world = World(dict(CANDLES), NOW, faults or Faults())
    return serve_gecko(world, Gecko(plan="pro")) if name == "coingecko" else serve(world)


def open_at(name, server, folder, timeout=60.0):
    values = {"base_url": server.url, "backoff": 0.01, "timeout": timeout}
    if name == "coingecko":
        values |= {"plan": "pro", "api_key": "unused"}
    return open_source(name, store=folder, settings=get_settings({"sources": {name: values}}))


def expected(name, records):
    """Result of an undisturbed download: the closed candles, without the columns that the source lacks."""
    frame = World(dict(CANDLES), NOW).closed(UNIFIED[name], "1h").iloc[-records:].copy()
    if name == "coingecko":
        frame[["volume", "amount"]] = 0.0
    return frame


@pytest.mark.slow
@EVERY
@pytest.mark.parametrize("records", RECORDS)
def test_all_requested_candles_are_downloaded(name, records, tmp_path):
    with serving(name) as server:
        candles = open_at(name, server, tmp_path).candles(SYMBOLS[name], HOUR, records=records)
    assert len(candles) == records
    assert frame_digest(candles.frame) == frame_digest(expected(name, records))


@pytest.mark.slow
@EVERY
@pytest.mark.parametrize("records", [2_000, pytest.param(6_000, marks=pytest.mark.slow)])
def test_failures_do_not_change_candles(name, records, tmp_path):
    failures = Faults(**FAILURES, seed=records, retry_after="0", in_a_row=4)
    with serving(name, failures) as server:
        candles = open_at(name, server, tmp_path).candles(SYMBOLS[name], HOUR, records=records)
    assert frame_digest(candles.frame) == frame_digest(expected(name, records))


@pytest.mark.slow
@EVERY
def test_timeouts_do_not_change_candles(name, tmp_path):
    slow = Faults(script=["", "timeout", "", "timeout"], stall=1.5)
    with serving(name, slow) as server:
        candles = open_at(name, server, tmp_path, timeout=1.0).candles(SYMBOLS[name], HOUR, records=1_500)
        assert not server.world.faults.script
    assert frame_digest(candles.frame) == frame_digest(expected(name, 1_500))


# --- command line, in separate processes -----------------------------------------------------------------------------

MARKETS = ("--symbols", "BTC/USDT,BTC/USDT:USDT")
DOWNLOADS = ("kronos.cli.data", "kronos.sources.exchanges", "pydantic_settings", "ccxt", "stamina")
SERVED = ("--start", "2022-01-01", "--count", "9000", "--now", "2023-01-10 23:20", *MARKETS)  # 8,999 are closed


def start_fetch(name, url, folder, *words):
    """Start a command that downloads into this folder."""
    environment = os.environ | {
        f"KRONOS_SOURCES__{name.upper()}__BASE_URL": url,
        f"KRONOS_SOURCES__{name.upper()}__BACKOFF": "0.01",
        f"KRONOS_SOURCES__{name.upper()}__TIMEOUT": "60",
    }
    command = [sys.executable, "-m", "kronos", "data", "fetch", SYMBOLS[name], "--source", name, "--json", *words]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return forks.Popen(command, cwd=folder, env=environment, preload=DOWNLOADS, **streams)


def digest(process):
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return json.loads(out)["series"][0]["sha256"]


def candle_requests(url):
    with urllib.request.urlopen(f"{url}/wire/requests") as answer:
        requests = json.load(answer)
    return [path for path, _ in requests if "klines" in path or "candles" in path]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Digests of 6,000 candles each from a server without failures."""
    with serve_apart(*SERVED) as url:
        processes = {
            name: start_fetch(name, url, tmp_path_factory.mktemp(name), "--records", "6000")
            for name in ("binance", "okx")
        }
        return {name: digest(process) for name, process in processes.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["binance", "okx"])
def test_two_processes_at_once(name, tmp_path, undisturbed):
    with serve_apart(*SERVED, "--fault-rate", "0.2", "--retry-after", "0") as url:
        both = [start_fetch(name, url, tmp_path, "--records", "6000") for _ in range(2)]
        assert {digest(process) for process in both} == {undisturbed[name]}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["binance", "okx"])
def test_killed_download_resumes(name, tmp_path, undisturbed):
    pages = {"binance": 6, "okx": 20}[name]
    with serve_apart(*SERVED, "--delay", "0.1") as url:
        killed = start_fetch(name, url, tmp_path, "--records", "6000")
        deadline = time.monotonic() + 100
        while len(candle_requests(url)) < 0.8 * pages and time.monotonic() < deadline:
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
        before = len(candle_requests(url))
        [key] = CandleCache(tmp_path / "data" / "candles").series()
        assert 0 < len(CandleCache(tmp_path / "data" / "candles").read(key).frame) < 6_000
        assert digest(start_fetch(name, url, tmp_path, "--records", "6000")) == undisturbed[name]
        assert len(candle_requests(url)) - before < pages


@pytest.mark.slow
def test_permanent_failures_are_reported_in_one_line(tmp_path):
    unreachable = start_fetch("okx", "http://127.0.0.1:9", tmp_path, "--records", "10")
    _, err = unreachable.communicate(timeout=100)
    assert unreachable.returncode == 1
    assert err.startswith("Error: okx could not be reached")
    with serve_apart(*SERVED) as url:
        unknown = start_fetch("binance", url, tmp_path, "--records", "10", "--interval", "7h")
        assert "binance has no 7h candles of BTC/USDT" in unknown.communicate(timeout=100)[1]
        assert unknown.returncode == 2
        young = start_fetch("binance", url, tmp_path, "--records", "20000")
        out, err = young.communicate(timeout=100)
        [finding] = [f for f in json.loads(out)["series"][0]["findings"] if f["code"] == "short-history"]
        assert "8,999" in finding["message"]
        assert "history of BTC/USDT begins 2022-01-01" in finding["message"]

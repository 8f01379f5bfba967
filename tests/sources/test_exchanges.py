"""Exchanges through ccxt, against local servers that behave like Binance and OKX, including their failures."""

import logging
import math
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from kronos.errors import ParameterError, SourceError
from kronos.intervals import Interval
from kronos.settings import SourceSettings
from kronos.sources import Page, PageSource
from kronos.sources.exchanges import CcxtSource
from kronos.sources.exchanges.client import CcxtClient
from sources.binance_wire import binance
from sources.coingecko_wire import serve_gecko
from sources.okx_wire import okx
from sources.wire import Answer, Faults, Handler, Request, Server, World, free_port, serve, utc, walk

NOW = "2024-03-01 12:30"
CANDLES = {
    "BTC/USDT": walk("2024-01-01", 1500, seed=1),
    "ETH/USDT": walk("2024-02-20", 300, seed=2),
    "BTC/USDT:USDT": walk("2024-01-05", 1400, seed=3),
    "BTC/USD:BTC": walk("2024-01-05", 1400, seed=4),
}
BOTH = pytest.mark.parametrize("name", ["binance", "okx"])


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore proxies of this machine."""
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)


@pytest.fixture
def world() -> World:
    return World(dict(CANDLES), NOW)


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with serve(world) as running:
        yield running


def reach(name: str, server: Server, wait: float = 0.005, **more: object) -> CcxtSource:
    """An exchange whose base URL is a local server."""
    return CcxtSource(name, SourceSettings.model_validate({"base_url": server.url, **more}), wait=wait)


def pages(source: PageSource, symbol: str, interval: str, start: str, end: str) -> Iterator[Page]:
    """All pages of a range, each of which must advance."""
    cursor, stop = utc(start), utc(end)
    while cursor < stop:
        page = source.page(symbol, Interval.parse(interval), cursor, stop)
        assert cursor < page.until <= stop
        inside = (page.frame.index >= cursor) & (page.frame.index < page.until)
        yield Page(page.frame[inside], page.until)
        cursor = page.until


def collect(source: PageSource, symbol: str, interval: str, start: str, end: str) -> pd.DataFrame:
    """Rows of all pages, in order, without duplicates."""
    frame = pd.concat([page.frame for page in pages(source, symbol, interval, start, end)])
    return frame[~frame.index.duplicated()].sort_index()


def between(frame: pd.DataFrame, start: str, end: str) -> pd.DataFrame:
    return frame[(frame.index >= utc(start)) & (frame.index < utc(end))]


def same(got: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert_frame_equal(got, expected, check_freq=False, check_index_type=False, check_exact=False, rtol=1e-9)
    assert (got.index == expected.index).all()


# --- pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("symbol", ["BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC"])
def test_joined_pages_equal_the_exchanges_candles(name, symbol, world, server):
    source = reach(name, server)
    for interval in ("1h", "6h", "1d", "1w", "1mo"):
        start, end = "2024-01-20" if interval == "1h" else "2023-12-20", NOW
        expected = between(world.shows(symbol, interval), start, end)
        if (name, symbol) == ("binance", "BTC/USD:BTC"):
            expected = expected.assign(amount=math.nan)  # COIN-M candles have no amount
        same(collect(source, symbol, interval, start, end), expected)


@pytest.mark.slow
@BOTH
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(-40, 1600), st.integers(1, 400), st.integers(0, 3_599_999_999))
@example(0, 1, 1)
@example(100, 300, 0)
def test_any_range_is_returned_exactly(name, world, server, first, hours, micros):
    start = utc("2024-01-01") + pd.Timedelta(hours=first, microseconds=micros)
    end = start + pd.Timedelta(hours=hours, microseconds=micros // 2)
    got = collect(reach(name, server), "BTC/USDT", "1h", str(start), str(end))
    same(got, between(world.shows("BTC/USDT", "1h"), str(start), str(end)))


@BOTH
def test_forming_candle_is_included_and_identified_by_the_clock(name, world, server):
    source = reach(name, server)
    got = collect(source, "BTC/USDT", "4h", "2024-02-28", NOW)
    assert got.index[-1] == utc("2024-03-01 12:00")
    closed = got[got.index + pd.Timedelta(hours=4) <= source.now()]
    same(closed, between(world.closed("BTC/USDT", "4h"), "2024-02-28", NOW))


@BOTH
def test_candles_around_halts_are_complete(name, server, world):
    frame = CANDLES["BTC/USDT"]
    for halt in ("2024-01-02 05", "2024-01-10", "2024-01-13 11"):
        away = pd.date_range(halt, periods=400 if halt == "2024-01-13 11" else 7, freq="h", tz="UTC")
        frame = frame[~frame.index.isin(away)]
    world.candles["BTC/USDT"] = frame
    got = collect(reach(name, server), "BTC/USDT", "1h", "2024-01-01", NOW)
    same(got, between(world.shows("BTC/USDT", "1h"), "2024-01-01", NOW))


def test_quarterly_candles_whose_page_spans_centuries(world, server):
    world.candles["ETH/USDT"] = walk("2015-02-01", 3_000, "1d")
    world.now = "2023-06-30"
    got = collect(reach("okx", server), "ETH/USDT", "3mo", "2009-01-01", world.now)
    same(got, world.shows("ETH/USDT", "3mo"))


@BOTH
def test_years_before_a_listing_take_few_requests(name, world, server):
    source = reach(name, server)
    source.resolve("ETH/USDT")
    before = len(server.requests)
    same(collect(source, "ETH/USDT", "1h", "2020-01-01", NOW), world.shows("ETH/USDT", "1h"))
    assert len(server.requests) - before <= 16


def test_ended_market(server, world):
    world.candles["ETH/USDT"] = CANDLES["ETH/USDT"].iloc[:50]
    for name in ("binance", "okx"):
        same(collect(reach(name, server), "ETH/USDT", "1h", "2024-02-20", NOW), world.candles["ETH/USDT"])


def test_okx_history_in_pages_of_a_hundred_is_complete(world, server):
    world.okx_history_cap = 100
    world.now = "2024-12-01"  # so that everything is history
    source = reach("okx", server)
    page = source.page("BTC/USDT", Interval.parse("1h"), utc("2024-01-03"), utc("2024-02-20"))
    assert len(page.frame) == 300
    assert page.until == utc("2024-01-03") + pd.Timedelta(hours=300)
    frame = CANDLES["BTC/USDT"]
    same(collect(source, "BTC/USDT", "1h", "2024-02-20", "2024-03-20"), frame[frame.index >= utc("2024-02-20")])


@pytest.mark.slow
def test_listing_long_before_the_newest_hundred_days_is_found(world, server):
    world.okx_history_cap = 100
    world.candles["ETH/USDT"] = walk("2018-06-01", 200 * 6, "4h")
    got = collect(reach("okx", server), "ETH/USDT", "4h", "2018-01-01", "2018-10-15")
    same(got, between(world.candles["ETH/USDT"], "2018-01-01", "2018-10-15"))


def test_days_that_do_not_begin_at_midnight_hide_no_hours(world):
    def handler(world: World, request: Request) -> Answer | None:
        """OKX, but its days are Hong Kong's."""
        query = {name: value.replace("1Dutc", "1D") for name, value in request.query.items()}
        return okx(world, Request(request.path, query))

    world.now, world.candles["ETH/USDT"] = "2024-03-01", walk("2024-02-20 05:30", 2_000, "1m")
    with serve(world, [handler]) as server:
        got = collect(reach("okx", server), "ETH/USDT", "1m", "2024-02-20", "2024-02-20 20:00")
    same(got, between(world.candles["ETH/USDT"], "2024-02-20", "2024-02-20 20:00"))


@BOTH
def test_no_request_is_made_for_times_before_2009(name, server):
    source = reach(name, server)
    source.resolve("BTC/USDT")
    page = source.page("BTC/USDT", Interval.parse("1h"), utc("1960-01-01"), utc("1961-01-01"))
    assert (len(page.frame), page.until) == (0, utc("1961-01-01"))
    source.page("BTC/USDT", Interval.parse("1h"), utc("1960-01-01"), utc(NOW))
    starts = [request.query.get("startTime") or request.query.get("before") for request in server.requests_to("/")]
    assert all(int(time) >= 1_230_768_000_000 for time in starts if time)


def test_okx_days_begin_at_midnight_utc(server):
    source = reach("okx", server)
    for interval in ("1h", "6h", "12h", "1d", "1w", "1mo"):
        source.page("BTC/USDT", Interval.parse(interval), utc("2024-02-01"), utc("2024-02-29"))
    bars = [request.query["bar"] for request in server.requests_to("candles")]
    assert bars == ["1H", "6Hutc", "12Hutc", "1Dutc", "1Wutc", "1Mutc"]


def test_okx_endpoint_is_chosen_by_the_exchanges_clock(world, server):
    source = reach("okx", server)
    source.page("BTC/USDT", Interval.parse("1h"), utc("2024-02-28"), utc(NOW))
    world.now = "2026-01-01"
    source = reach("okx", server)
    source.page("BTC/USDT", Interval.parse("1h"), utc("2024-02-28"), utc(NOW))
    paths = [request.path.rpartition("/")[2] for request in server.requests_to("candles")]
    assert paths == ["candles", "history-candles"]


def test_page_sizes(server):
    for name, symbol, most in (("binance", "BTC/USDT", 1000), ("okx", "BTC/USDT", 300)):
        source = reach(name, server)
        source.page(symbol, Interval.parse("1h"), utc("2024-01-01"), utc(NOW))
        source.page(symbol, Interval.parse("1h"), utc("2024-02-01"), utc("2024-02-01 05:00"))
        path = "klines" if name == "binance" else "candles"
        assert [int(request.query["limit"]) for request in server.requests_to(path)] == [most, 5]


# --- symbols, intervals, the clock -----------------------------------------------------------------------------------


@BOTH
def test_one_market_in_all_notations(name, server):
    source = reach(name, server)
    for text in ("BTC/USDT", "BTC-USDT", "BTCUSDT", "btc_usdt", "btc", "Btc/Usdt"):
        assert source.resolve(text) == "BTC/USDT"


@BOTH
def test_perpetuals_are_resolved(name, server):
    source = reach(name, server)
    for text in ("BTC-USDT-SWAP", "BTC/USDT:USDT", "btcusdt.p"):
        assert source.resolve(text) == "BTC/USDT:USDT"
    for text in ("BTC/USD:BTC", "BTC-USD-SWAP"):
        assert source.resolve(text) == "BTC/USD:BTC"
    assert source.resolve("BTCUSDT") == "BTC/USDT"  # loaded markets do not change the meaning of a symbol


@BOTH
def test_settings_choose_the_market_of_an_ambiguous_symbol(name, world, server):
    source = reach(name, server, market="swap")
    assert source.resolve("BTCUSDT") == "BTC/USDT:USDT"
    got = collect(source, source.resolve("btc"), "1h", "2024-02-01", "2024-02-03")
    same(got, between(world.shows("BTC/USDT:USDT", "1h"), "2024-02-01", "2024-02-03"))
    with pytest.raises(ParameterError, match=f"{name} has no perpetual 'ETHUSDT'"):
        source.resolve("ETHUSDT")


@BOTH
def test_unknown_symbol_is_rejected_with_a_suggestion(name, server):
    with pytest.raises(ParameterError, match=rf"{name} has no spot market 'BTC/USDTT'.* BTC/USDT\?"):
        reach(name, server).resolve("BTC/USDTT")


def test_only_the_markets_that_a_symbol_needs_are_loaded(server):
    source = reach("binance", server)
    for _ in range(3):
        source.resolve("BTCUSDT")
    assert [request.path for request in server.requests] == ["/api/v3/exchangeInfo"]
    source.resolve("BTC-USDT-SWAP")
    assert [request.path for request in server.requests[1:]] == ["/fapi/v1/exchangeInfo"]
    source = reach("okx", server)
    source.resolve("BTC-USDT")
    source.resolve("BTC-USDT-SWAP")
    source.resolve("BTC-USD-SWAP")
    assert [request.query for request in server.requests[2:]] == [{"instType": "SPOT"}, {"instType": "SWAP"}]


@BOTH
def test_page_works_without_resolving_first(name, server):
    page = reach(name, server).page("BTC/USDT:USDT", Interval.parse("1d"), utc("2024-02-01"), utc("2024-02-04"))
    assert len(page.frame) == 3


def test_intervals_are_those_of_the_exchange():
    source = CcxtSource("binance")
    served = source.intervals("BTC/USDT")
    assert [str(interval) for interval in served][:3] == ["1s", "1m", "3m"]
    assert str(served[-1]) == "1mo"
    assert [interval.seconds for interval in served] == sorted(one.seconds for one in served)
    assert "1s" not in [str(interval) for interval in source.intervals("BTC/USDT:USDT")]
    assert {"1h", "6h", "1d", "3mo"} <= {str(interval) for interval in CcxtSource("okx").intervals("BTC/USDT")}


def test_unsupported_interval_is_rejected(server):
    with pytest.raises(ParameterError, match=r"okx has no 7h candles; .* 1m, 3m"):
        reach("okx", server).page("BTC/USDT", Interval.parse("7h"), utc("2024-02-01"), utc("2024-02-04"))


@BOTH
def test_exchanges_clock_is_used(name, world, server):
    source = reach(name, server)
    first = source.now()
    assert utc(NOW) <= first < utc(NOW) + pd.Timedelta(minutes=5)
    assert source.now() >= first
    assert len(server.requests_to("time")) == 1  # one request, then advanced by this machine


def test_machine_clock_is_used_without_an_exchange_clock():
    before = pd.Timestamp.now(tz="UTC")
    assert before <= CcxtSource("cryptocom").now() <= pd.Timestamp.now(tz="UTC")


def test_dates_of_responses_are_used_without_an_exchange_clock(world):
    with serve_gecko(world, lambda *_: Answer([])) as server:
        source = reach("bitstamp", server)
        with pytest.raises(ParameterError, match="bitstamp has no"):
            source.resolve("BTC/USD")
        assert utc(NOW) <= source.now() < utc(NOW) + pd.Timedelta(minutes=5)


# --- failures -----------------------------------------------------------------------------------------------------

FAULTS = [
    *(("binance", fault) for fault in ("418", "429", "500", "502", "503", "504", "reset")),
    *((name, fault) for fault in ("cut", "truncated", "html", "doubled", "shuffled") for name in ("binance", "okx")),
    *(("okx", fault) for fault in ("429", "502")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_candles_are_complete_despite_a_transient_failure(name, fault, world, server):
    world.faults = Faults(script=["", fault, fault])
    start = "2024-01-01" if name == "binance" else "2024-02-10"  # two pages
    got = collect(reach(name, server), "BTC/USDT", "1h", start, NOW)
    same(got, between(world.shows("BTC/USDT", "1h"), start, NOW))
    assert not world.faults.script


@BOTH
def test_slow_response_is_retried(name, world, server):
    source = reach(name, server, timeout=0.3)
    source.resolve("BTC/USDT")
    world.faults = Faults(script=["timeout"], stall=0.6)
    same(collect(source, "BTC/USDT", "1d", "2024-01-01", NOW), world.shows("BTC/USDT", "1d"))


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_a_bad_line_brings_the_same_candles_as_a_good_one(name, seed, world, server):
    kinds = ["429", "418", "503", "cut", "reset", "truncated", "html", "doubled", "shuffled"]
    world.faults = Faults(rate=0.6, kinds=kinds, seed=seed, in_a_row=4, retry_after="0")
    got = collect(reach(name, server), "BTC/USDT:USDT", "1h", "2024-02-01", NOW)
    same(got, between(world.shows("BTC/USDT:USDT", "1h"), "2024-02-01", NOW))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "tries", "words"),
    [
        ("451", 1, "answered 451 (unavailable from this location); set a proxy"),
        ("403", 1, "answered 403 (forbidden); set a proxy"),
        ("401", 1, "answered 401 (unauthorized); check the keys"),
        ("400", 1, "rejected the request (refused with 400); check the symbol"),
        ("404", 1, "answered 404 (not found); check the request"),
        ("429", 3, "answered 429 (too many requests), 3 times within 1 s; wait a little"),
        ("503", 3, "answered 503 (service unavailable), 3 times within 1 s; try again later."),
        (
            "reset",
            3,
            "could not be reached (the connection was cut), 3 times within 1 s; check the network, or set a pr",
        ),
        ("cut", 3, "sent an incomplete response, 3 times within 1 s; try again later"),
        ("html", 3, "sent no usable JSON, 3 times within 1 s; try again later"),
    ],
)
@BOTH
def test_permanent_failures_are_reported_in_one_line(name, fault, tries, words, world, server):
    source = reach(name, server, attempts=3)
    source.resolve("BTC/USDT")
    before = len(server.requests)
    world.faults = Faults(script=[fault] * 9, only="/candles" if name == "okx" else "/klines")
    source.now()
    with pytest.raises(SourceError) as caught:
        source.page("BTC/USDT", Interval.parse("1h"), utc("2024-02-01"), utc("2024-02-04"))
    assert str(caught.value).startswith(f"{name} {words}"), str(caught.value)
    assert len([r for r in server.requests[before:] if "time" not in r.path]) == tries


def test_unreachable_exchange_is_reported_with_a_hint():
    settings = SourceSettings(base_url=f"http://127.0.0.1:{free_port()}", attempts=2)
    with pytest.raises(SourceError) as caught:
        CcxtSource("binance", settings, wait=0.005).resolve("BTC/USDT")
    assert str(caught.value) == (
        "binance could not be reached (connection refused), 2 times within 1 s; "
        "check the network, or set a proxy with KRONOS_SOURCES__BINANCE__PROXY."
    )


def test_ban_longer_than_the_patience_is_not_waited_for(world, server):
    world.faults = Faults(script=["418"] * 3, retry_after="7200")
    with pytest.raises(SourceError, match=r"banned for a while\).* 7200 s"):
        reach("binance", server).resolve("BTC/USDT")
    assert len(server.requests) == 1


def test_requested_wait_is_respected_and_logged(world, server, caplog):
    caplog.set_level(logging.INFO, "kronos.sources")
    world.faults = Faults(script=["429"], retry_after="0.2")
    reach("okx", server).resolve("BTC/USDT")
    assert caplog.messages == ["okx answered 429 (too many requests); retrying in 0.2 s (attempt 2 of 8)."]


@BOTH
def test_delisted_symbol_is_rejected_without_retries(name, world, server):
    source = reach(name, server)
    source.resolve("BTC/USDT")
    world.candles = {"ETH/USDT": CANDLES["ETH/USDT"]}
    with pytest.raises(SourceError, match=rf"{name} rejected the request \(I.*\); check the symbol"):
        source.page("BTC/USDT", Interval.parse("1h"), utc("2024-02-01"), utc("2024-02-04"))


# --- invalid responses ---------------------------------------------------------------------------------------------


def answering(rows: object) -> Handler:
    """Binance, with these candles instead."""

    def handler(world: World, request: Request) -> Answer | None:
        return Answer(rows) if request.path.endswith("/klines") else binance(world, request)

    return handler


def row(time: object, price: object = "1.0") -> list[object]:
    return [time, price, price, price, price, "5.0", 0, "5.0", 1, "0", "0", "0"]


HOUR = 3_600_000
MIDNIGHT = 1_704_067_200_000


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(-5), row(MIDNIGHT)], "a candle without a valid time"),
        ([row("soon")], "a candle without a valid time"),
        ([row(None)], "a candle without a valid time"),
        ([row(MIDNIGHT // 1000)], "a candle without a valid time"),
        ([row(MIDNIGHT * 1000)], "a candle without a valid time"),
        ([row(MIDNIGHT, "dear")], "prices cannot be read"),
        ([row(MIDNIGHT)[:4]], "prices cannot be read"),
        ([[MIDNIGHT, "1", "1", None, "1", "5"]], "prices cannot be read"),
        ([5, 6], "binance sent"),
        ({"surprise": True}, "binance sent"),
        ([row(MIDNIGHT + n * HOUR // 4) for n in range(8)], "not 1h apart"),
    ],
)
def test_invalid_candles_are_rejected(rows, words, world):
    with serve(world, [answering(rows)]) as server:
        source = reach("binance", server)
        with pytest.raises(SourceError, match=words):
            source.page("BTC/USDT", Interval.parse("1h"), utc("2024-01-01"), utc("2024-01-04"))
        assert len(server.requests_to("klines")) == 1


def test_empty_object_is_not_an_empty_list_of_candles(world):
    with serve(world, [answering({})]) as server:
        source = reach("binance", server, attempts=3)
        with pytest.raises(SourceError, match="sent no usable JSON, 3 times"):
            source.page("BTC/USDT", Interval.parse("1h"), utc("2024-01-01"), utc("2024-01-04"))


def test_idle_candles_are_dropped_and_irregular_ones_kept(world):
    rows = [row(MIDNIGHT + n * HOUR) for n in range(4)] + [[MIDNIGHT + 4 * HOUR, *[None] * 5]]
    rows.append(row(MIDNIGHT + 5 * HOUR + 894_789))  # Binance had such candles after an outage in 2018
    with serve(world, [answering(rows)]) as server:
        page = reach("binance", server).page("BTC/USDT", Interval.parse("1h"), utc("2024-01-01"), utc("2024-01-04"))
    assert len(page.frame) == 5
    assert page.frame["close"].notna().all()


@pytest.mark.parametrize("time", [None, -5, MIDNIGHT // 1000, MIDNIGHT * 1000, 10**30])
def test_invalid_exchange_time_is_rejected(time, world):
    def handler(world: World, request: Request) -> Answer | None:
        return Answer({"serverTime": time}) if request.path.endswith("/time") else None

    with serve(world, [handler]) as server, pytest.raises(SourceError, match="invalid time"):
        reach("binance", server).now()


# --- hosts and proxies ---------------------------------------------------------------------------------------------


def test_base_url_may_have_a_path(world):
    def gateway(world: World, request: Request) -> Answer | None:
        if not request.path.startswith("/gate/way/"):
            return None
        return okx(world, Request(request.path.removeprefix("/gate/way"), request.query))

    with serve(world, [gateway]) as server:
        settings = SourceSettings(base_url=server.url + "/gate/way/")
        assert CcxtSource("okx", settings, wait=0.005).resolve("btc") == "BTC/USDT"


def test_proxy_of_the_settings_is_used(server):
    settings = SourceSettings(base_url="http://exchange.invalid", proxy=server.url)
    assert CcxtSource("okx", settings, wait=0.005).resolve("btc") == "BTC/USDT"
    assert server.requests[0].headers["Host"] == "exchange.invalid"


def test_proxy_of_the_environment_is_used(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", server.url)
    settings = SourceSettings(base_url="http://exchange.invalid")
    assert CcxtSource("binance", settings, wait=0.005).resolve("btc") == "BTC/USDT"


def test_unreachable_proxy_is_reported_without_its_password():
    settings = SourceSettings(proxy=f"http://user:secret@127.0.0.1:{free_port()}", attempts=1)
    with pytest.raises(SourceError, match=r"through the proxy \(.*\); check KRONOS_SOURCES__OKX__PROXY") as caught:
        CcxtSource("okx", settings, wait=0.005).resolve("btc")
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate, with its key, for Binance's hosts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    hosts = x509.SubjectAlternativeName([x509.DNSName(host) for host in ("*.binance.com", "*.binance.vision")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    )
    signed = builder.add_extension(hosts, critical=False).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def outside(certificate: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A proxy to Binance's hosts, the main one of which rejects this location."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    def refusing(world: World, request: Request) -> Answer | None:
        usual = request.headers["Host"] in ("api.binance.com", "fapi.binance.com")
        return Answer({"code": 0, "msg": "Service unavailable from a restricted location"}, 451) if usual else None

    with serve(world, [refusing, binance], tls=context) as running:
        yield running


def hosts(server: Server) -> list[str]:
    return [request.headers["Host"] for request in server.requests]


@pytest.mark.parametrize("fault", ["", "reset"])
def test_binance_falls_back_to_its_data_host(fault, outside, world):
    world.faults = Faults(script=[fault])
    source = CcxtSource("binance", SourceSettings(proxy=outside.url), wait=0.005)
    assert source.resolve("BTCUSDT") == "BTC/USDT"
    same(
        collect(source, "BTC/USDT", "1d", "2024-02-01", "2024-02-20"),
        between(world.shows("BTC/USDT", "1d"), "2024-02-01", "2024-02-20"),
    )
    assert hosts(outside) == ["api.binance.com", "data-api.binance.vision", "data-api.binance.vision"]


def test_futures_have_no_spare_host(outside):
    source = CcxtSource("binance", SourceSettings(proxy=outside.url), wait=0.005)
    with pytest.raises(SourceError, match="binance answered 451"):
        source.resolve("BTC-USDT-SWAP")
    assert source.resolve("BTC-USDT") == "BTC/USDT"
    assert hosts(outside) == ["fapi.binance.com", "api.binance.com", "data-api.binance.vision"]


def test_untrusted_certificate_is_reported_without_retries(outside, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with pytest.raises(SourceError, match="its certificate cannot be verified"):
        CcxtSource("okx", SourceSettings(proxy=outside.url), wait=0.005).resolve("btc")
    assert outside.requests == []


# --- settings and environment -----------------------------------------------------------------------


def test_unknown_exchange_is_rejected_with_a_suggestion():
    with pytest.raises(ParameterError, match=r"no exchange 'binanse'; did you mean binance\?"):
        CcxtSource("binanse")
    with pytest.raises(ParameterError, match="no exchange 'qqqqqqqq'"):
        CcxtSource("qqqqqqqq")


def test_exchange_without_candles_is_rejected():
    with pytest.raises(ParameterError, match="blockchaincom has no candles"):
        CcxtSource("blockchaincom")


@pytest.mark.parametrize("url", ["exchange.example", "ftp://host", "http://", "http://host:99999", "http://h/?a=1"])
def test_invalid_base_url_is_rejected(url):
    with pytest.raises(ParameterError, match="KRONOS_SOURCES__OKX__BASE_URL is not a URL"):
        CcxtSource("okx", SourceSettings(base_url=url))


@pytest.mark.parametrize("url", ["proxy.example:8080", "gopher://user:secret@host", "http://"])
def test_invalid_proxy_is_rejected(url):
    with pytest.raises(ParameterError, match="KRONOS_SOURCES__OKX__PROXY is not a proxy URL") as caught:
        CcxtSource("okx", SourceSettings(proxy=url))
    assert "secret" not in str(caught.value)


def test_keys_come_from_settings_or_environment_and_are_never_shown(server, world, monkeypatch):
    monkeypatch.setenv("BINANCE_API_SECRET", "from-the-environment")
    given = SourceSettings.model_validate({"base_url": server.url, "api_key": "from-the-settings", "attempts": 1})
    client = CcxtClient("binance", given, 0.005)
    assert (client.api.apiKey, client.api.secret) == ("from-the-settings", "from-the-environment")
    source = CcxtSource("binance", given, wait=0.005)
    collect(source, "BTC/USDT", "1d", "2024-02-01", "2024-02-20")
    assert "from-the" not in repr(server.requests)
    world.faults = Faults(script=["401"])
    with pytest.raises(SourceError) as caught:
        source.page("BTC/USDT", Interval.parse("1d"), utc("2024-02-01"), utc("2024-02-20"))
    assert "from-the" not in str(caught.value) + repr(source) + repr(given)


# Raw candles from ccxt's source, with the expected amount.
SAMPLES = [
    ("bybit", ["1672324800000", "16649.5", "16677", "16608", "16677", "2.081", "34666.4005"], 34666.4005),
    ("bitget", ["1645911960000", "39406", "39407", "39374.5", "39379", "35.526", "1399132.341"], 1399132.341),
    ("whitebit", [1591488000, "0.025025", "0.025025", "0.025029", "0.025023", "6.181", "0.154686629"], 0.154686629),
    ("bingx", [1691402580000, 29093.61, 29093.93, 29087.73, 29093.24, 0.592, 1691402639999, 17221.07], 17221.07),
    ("kucoin", ["1545904980", "0.0523", "0.0525", "0.0526", "0.0522", "0.018", "0.000945"], 0.000945),
    (
        "gate",
        ["1660957920", "6227.0701", "0.0000133485", "0.0000133615", "0.0000133347", "0.0000133468", "466641934.99"],
        6227.0701,
    ),
    (
        "htx",
        {"amount": 1.2082, "open": 0.025096, "close": 0.025095, "high": 0.025096, "id": 1591515300, "low": 0.025,
         "vol": 0.0303205097},
        0.0303205097,
    ),
    (
        "hitbtc",
        {"timestamp": "2015-08-20T19:01:00.000Z", "open": "0.006", "close": "0.006", "min": "0.006", "max": "0.006",
         "volume": "0.003", "volume_quote": "0.000018"},
        0.000018,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "raw", "amount"), SAMPLES)
def test_amount_of_each_exchange(name, raw, amount):
    spot = {"spot": True, "type": "spot", "symbol": "A/B"}
    _, _, high, low, _, volume, parsed = CcxtClient(name, SourceSettings(), 0.005).api.parse_ohlcv(raw, spot)
    assert parsed == amount
    assert low * 0.99 <= parsed / volume <= high * 1.01


def test_unknown_amount_is_missing():
    raw = [1591475640, "0.02500", "0.02500", "0.02500", "0.02500", "0.02500", "9.12201000", 5]
    row = CcxtClient("kraken", SourceSettings(), 0.005).api.parse_ohlcv(raw, {"spot": True, "type": "spot"})
    assert np.isnan(row[6])


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.slow
def test_ccxt_is_imported_lazily_and_optional():
    assert run("import sys, kronos.sources.exchanges.source; print('ccxt' in sys.modules)") == "False"
    program = """
import sys
sys.modules["ccxt"] = None
from kronos.errors import ParameterError
from kronos.sources.exchanges import CcxtSource
try:
    CcxtSource("binance")
except ParameterError as error:
    print(error)
"""
    assert run(program) == "The source binance needs ccxt; install it with pip install 'kronos-forecast[exchange]'."

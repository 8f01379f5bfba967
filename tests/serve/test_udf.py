"""The data feed for TradingView's charting library: the calls of its UDF client."""

from __future__ import annotations

import time
from dataclasses import replace

import pandas as pd
import pytest

from kronos.candles import Candles
from kronos.serve.routes.udf import infer_trading_hours
from kronos.serve.state import build_state
from kronos.settings import SourceSettings
from kronos.sources.replay import Replay
from serve.recordings import SHORT, recorded, replay, serve_replay
from serve.servers import run_server, settings_in
from sources.coingecko_wire import serve_gecko
from sources.wire import World, walk

HOUR = 3600
COUNT = 2000
FAR = 2**33  # seconds, long after any bar


class Chart:
    """The requests of the charting library, and its requirements."""

    def __init__(self, client, symbol):
        self.client, self.symbol = client, symbol

    def bars(self, to, countback, since=0, resolution="60"):
        """Request bars, as ``getBars`` does."""
        query = {"symbol": self.symbol, "resolution": resolution, "from": since, "to": to, "countback": countback}
        return checked(self.client.get("/udf/history", params=query))

    def all(self, countback, now=None):
        """Scroll back from now until there are no more bars."""
        found, to = [], int(time.time()) if now is None else now
        while (part := self.bars(to, countback))["s"] == "ok":
            times = part["t"]
            assert not found or times[-1] < found[0][0], "the library rejects unordered bars"
            found = list(zip(*(part[column] for column in "tohlcv"), strict=True)) + found
            to = times[0]
        return found, part


def checked(answer):
    """Check a response of ``/udf/history`` against the protocol."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["s"] in ("ok", "no_data", "error")
    if body["s"] == "ok":
        assert list(body) == ["s", "t", "o", "h", "l", "c", "v"]
        assert len({len(body[column]) for column in "tohlcv"}) == 1
        assert all(isinstance(item, int) for item in body["t"])
        assert all(isinstance(item, float) for column in "ohlcv" for item in body[column])
        assert body["t"] == sorted(set(body["t"]))
        assert all(
            low <= min(o, c) <= max(o, c) <= high for o, high, low, c in zip(*(body[k] for k in "ohlc"), strict=True)
        )
    return body


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Recorded candles that end in the current hour, as charts request bars up to now."""
    btc = recorded("BTC", COUNT)
    last = pd.Timestamp.now("UTC").floor("h") - pd.Timedelta(hours=1)
    frame = btc.frame.set_axis(pd.date_range(end=last, periods=COUNT, freq="h", name="timestamps"))
    btc = replace(btc, frame=frame)
    with serve_replay(tmp_path_factory.mktemp("udf"), replay(btc, recorded("DOT", 2))) as server:
        server.wait_ready()
        yield server, frame


@pytest.fixture(scope="module")
def client(market):
    with market[0].client() as client:
        yield client


@pytest.fixture(scope="module")
def frame(market):
    return market[1]


def seconds(index):
    return [int(moment.timestamp()) for moment in index]


# Symbols ------------------------------------------------------------------


def test_the_configuration_lists_capabilities(client):
    body = client.get("/udf/config").json()
    assert body["supported_resolutions"] == ["60"]
    assert body["supports_search"] is True
    assert body["supports_time"] is True
    assert (body["supports_group_request"], body["supports_marks"], body["supports_timescale_marks"]) == (False,) * 3
    assert [sorted(item) for item in body["exchanges"]] == [["desc", "name", "value"]]
    assert [item["value"] for item in body["symbols_types"]] == ["crypto", "forex", "futures", "stock"]


def test_the_time_is_in_whole_seconds(client):
    answer = client.get("/udf/time")
    assert answer.headers["content-type"].startswith("text/plain")
    assert abs(int(answer.text) - time.time()) < 60


@pytest.mark.parametrize("requests", ["BTC", "btc", "KRONOS:BTC", "kronos:btc"])
def test_a_symbol_is_described_with_or_without_its_exchange(client, requests):
    body = client.get("/udf/symbols", params={"symbol": requests}).json()
    assert {name: type(value) for name, value in body.items()} == {
        "name": str, "ticker": str, "full_name": str, "description": str, "type": str, "session": str, "timezone": str,
        "exchange": str, "listed_exchange": str, "minmov": int, "format": str, "pricescale": int, "has_intraday": bool,
        "has_daily": bool, "has_weekly_and_monthly": bool, "supported_resolutions": list, "intraday_multipliers": list,
        "volume_precision": int, "data_status": str,
    }  # fmt: skip
    assert (body["name"], body["ticker"], body["full_name"]) == ("BTC", "BTC", "KRONOS:BTC")
    assert (body["session"], body["timezone"]) == ("24x7", "Etc/UTC")
    assert body["supported_resolutions"] == body["intraday_multipliers"] == ["60"]
    assert body["supported_resolutions"] == client.get("/udf/config").json()["supported_resolutions"]
    assert (body["has_intraday"], body["has_daily"]) == (True, False)
    assert str(body["pricescale"]).strip("0") == "1"


def test_every_found_symbol_can_be_described(client):
    found = client.get("/udf/search", params={"query": "btc", "type": "", "exchange": "", "limit": 30}).json()
    assert [item["symbol"] for item in found] == ["BTC", "BTC.FORECAST", "BTC.FORECAST.HIGH", "BTC.FORECAST.LOW"]
    for item in found:
        assert {name: type(value) for name, value in item.items()} == dict.fromkeys(
            ("symbol", "full_name", "description", "exchange", "ticker", "type"), str
        )
        for name in (item["symbol"], item["full_name"], item["ticker"]):
            body = client.get("/udf/symbols", params={"symbol": name}).json()
            assert body["name"] == item["symbol"]
            assert body["description"] == item["description"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"query": ""}, 30), ({"query": "", "limit": 3}, 3), ({"query": "bitcoin"}, 4), ({"query": "KRONOS:ETH"}, 4),
        ({"query": "forecast", "limit": 100}, 24), ({"query": "nothing"}, 0), ({"query": "btc", "type": "crypto"}, 4),
        ({"query": "btc", "type": "stock"}, 0), ({"query": "btc", "exchange": "KRONOS"}, 4),
        ({"query": "btc", "exchange": "NYSE"}, 0),
    ],
)  # fmt: skip
def test_search_filters_by_name_type_exchange_and_limit(client, query, count):
    assert len(client.get("/udf/search", params=query).json()) == count


@pytest.mark.parametrize("symbol", ["NOPE", "BTC.TOMORROW", "NYSE:BTC", ".FORECAST", "ETH"])
def test_an_unknown_symbol_is_a_protocol_error(client, symbol):
    answer = client.get("/udf/symbols", params={"symbol": symbol})
    assert answer.status_code == 200
    assert sorted(answer.json()) == ["errmsg", "s"]
    assert answer.json()["s"] == "error"
    assert answer.json()["errmsg"].endswith(".")


# Bars ---------------------------------------------------------------------


@pytest.mark.parametrize("countback", [329, 1000])
def test_scrolling_back_returns_every_candle_once(client, frame, countback):
    found, last = Chart(client, "BTC").all(countback)
    assert last == {"s": "no_data"}
    stored = frame.iloc[-1500:]
    assert [bar[0] for bar in found] == seconds(stored.index)
    table = pd.DataFrame(found, columns=list("tohlcv"))
    for column, name in zip("ohlcv", ("open", "high", "low", "close", "volume"), strict=True):
        assert table[column].tolist() == stored[name].tolist()


def test_countback_overrides_from_and_to_is_exclusive(client, frame):
    to = seconds(frame.index)[-10]
    bars = Chart(client, "BTC").bars(to, 5, since=to - 2 * HOUR)
    assert bars["t"] == seconds(frame.index[-15:-10])


def test_without_countback_the_range_is_half_open(client, frame):
    times = seconds(frame.index[-20:])
    query = {"symbol": "BTC", "resolution": "60", "from": times[3], "to": times[9]}
    assert checked(client.get("/udf/history", params=query))["t"] == times[3:9]


def test_no_data_has_the_time_of_the_previous_bar(client, frame):
    last = seconds(frame.index)[-1]
    query = {"symbol": "BTC", "resolution": "60", "from": last + 60, "to": last + 120}
    assert checked(client.get("/udf/history", params=query)) == {"s": "no_data", "nextTime": last}


def test_before_the_first_bar_there_is_no_next_time(client, frame):
    assert Chart(client, "BTC").bars(1000, 300) == {"s": "no_data"}


@pytest.mark.parametrize("to", [0, -5, FAR])
def test_extreme_times_follow_the_protocol(client, to):
    assert Chart(client, "BTC").bars(to, 10)["s"] == ("ok" if to == FAR else "no_data")


@pytest.mark.parametrize("resolution", ["1", "D", "1D", "240", "soon", "60S"])
def test_an_unavailable_resolution_is_a_protocol_error(client, resolution):
    body = Chart(client, "BTC").bars(int(time.time()), 10, resolution=resolution)
    assert body["s"] == "error"
    assert "60" in body["errmsg"]


@pytest.mark.parametrize("symbol", ["NOPE", "ETH", "KRONOS:"])
def test_bars_of_an_unknown_symbol_are_a_protocol_error(client, symbol):
    body = Chart(client, symbol).bars(int(time.time()), 10)
    assert sorted(body) == ["errmsg", "s"]
    assert body["s"] == "error"


def test_a_failed_forecast_is_a_protocol_error(client):
    assert Chart(client, "DOT").bars(int(time.time()), 10)["s"] == "ok"
    body = Chart(client, "DOT.FORECAST").bars(int(time.time()), 10)
    assert body["s"] == "error"
    assert "candles" in body["errmsg"]


# Forecasts ----------------------------------------------------------------


@pytest.mark.parametrize("countback", [1, 2, 10, 24, 329])
def test_the_forecast_continues_the_candles(client, frame, countback):
    first = Chart(client, "KRONOS:BTC.FORECAST").bars(int(time.time()), countback)
    last = seconds(frame.index)[-1]
    assert first["t"][-24:] == [last + n * HOUR for n in range(1, 25)]
    document = client.get("/api/predict?symbol=BTC").json()["prediction"]["predictions"]
    assert first["c"][-24:] == [step["price"] for step in document]
    if countback > 2:
        return
    found, end = Chart(client, "BTC.FORECAST").all(500)
    assert end == {"s": "no_data"}
    assert [bar[0] for bar in found] == [*seconds(frame.index[-1500:]), *first["t"][-24:]]


@pytest.mark.parametrize("countback", [1, 10, 50])
def test_scrolling_back_over_a_forecast_repeats_no_bar(client, frame, countback):
    chart, now = Chart(client, "BTC.FORECAST"), int(time.time())
    first = chart.bars(now, countback)
    second = chart.bars(first["t"][0], countback)
    assert second["t"][-1] < first["t"][0]
    assert second["t"][-1] == first["t"][0] - HOUR


@pytest.mark.parametrize("end", ["LOW", "HIGH"])
def test_the_ends_of_the_band_are_symbols(client, frame, end):
    found, last = Chart(client, f"BTC.FORECAST.{end}").all(329)
    document = client.get("/api/predict?symbol=BTC").json()["prediction"]["predictions"]
    assert last == {"s": "no_data"}
    assert [bar[0] for bar in found] == [seconds(frame.index)[-1] + n * HOUR for n in range(1, 25)]
    assert [bar[4] for bar in found] == [step[end.lower()] for step in document]
    assert all(bar[1] == bar[2] == bar[3] == bar[4] for bar in found)


def test_requests_of_the_past_have_no_forecast(client, frame):
    bars = Chart(client, "BTC.FORECAST").bars(seconds(frame.index)[-5], 10)
    assert bars["t"] == seconds(frame.index[-15:-5])


def test_forecast_bars_can_be_requested_by_time(client, frame):
    last = seconds(frame.index)[-1]
    query = {"symbol": "BTC.FORECAST", "resolution": "60", "from": last + 5 * HOUR, "to": last + 9 * HOUR}
    assert checked(client.get("/udf/history", params=query))["t"] == [last + n * HOUR for n in range(5, 9)]


def test_a_short_history_has_a_fallback_forecast(tmp_path):
    with serve_replay(tmp_path, replay(recorded("BTC", SHORT))) as server, server.client() as item:
        assert len(Chart(item, "BTC.FORECAST").bars(int(time.time()), 329)["t"]) == SHORT + 24


def test_four_hour_candles_have_their_resolution(tmp_path):
    world = World({"BTC/USDT": walk("2025-12-01", 2 * 24 * 100, "30m")}, now="2026-03-01 12:50")
    with serve_gecko(world) as gecko:
        settings = settings_in(tmp_path, source="coingecko").model_copy(
            update={"offline": False, "sources": {"coingecko": SourceSettings(base_url=gecko.url)}}
        )
        with run_server(settings) as server, server.client() as item:
            assert item.get("/udf/config").json()["supported_resolutions"] == ["240"]
            assert item.get("/udf/symbols?symbol=BTC").json()["supported_resolutions"] == ["240"]
            bars = Chart(item, "BTC").bars(FAR, 10, resolution="240")
            assert set(pd.Series(bars["t"]).diff().dropna()) == {4 * HOUR}


@pytest.mark.parametrize(
    "query",
    ["resolution=60&from=0&to=1", "symbol=BTC&resolution=60&from=0", "symbol=BTC&resolution=60&from=x&to=1",
     "symbol=BTC&resolution=60&from=0&to=NaN", "symbol=BTC&resolution=60&from=-inf&to=1",
     "symbol=BTC&resolution=60&to=", "symbol=BTC&resolution=60&to=1&countback=many",
     "symbol=BTC&resolution=60&to=1e30"],
)  # fmt: skip
def test_invalid_requests_get_the_errors_of_the_protocol(client, query):
    answer = client.get(f"/udf/history?{query}")
    assert answer.status_code == 400
    body = answer.json()
    assert (body["s"], body["errmsg"]) == ("error", body["message"])
    assert any(name in body["errmsg"] for name in ("symbol", "from", "to", "countback"))


def test_times_may_be_fractional(client, frame):
    last = seconds(frame.index)[-1]
    query = {"symbol": "BTC", "resolution": "60", "from": last - 3 * HOUR - 0.5, "to": last - 0.5, "countback": "2.0"}
    assert checked(client.get("/udf/history", params=query))["t"] == [last - 2 * HOUR, last - HOUR]
    del query["countback"]
    assert checked(client.get("/udf/history", params=query))["t"] == [last - n * HOUR for n in (3, 2, 1)]


# Markets --------------------------------------------------------------------


def candles_of(index, interval="1d", **options):
    values = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 100.0), index=index)
    values["volume"] = 1.0
    return Candles.from_frame(values.rename_axis("timestamps"), symbol="BTC", interval=interval, **options)


def exchange_days(name, count=300, end="2024-07-12"):
    import exchange_calendars as xc

    calendar = xc.get_calendar(name, start="2020-01-01", end="2025-12-31")
    return calendar.sessions[calendar.sessions <= pd.Timestamp(end)][-count:]


def serve_candles(tmp_path, candles, **options):
    interval = str(candles.interval)
    source = Replay({("BTC", interval): candles}, at=candles.end + candles.interval.offset)
    settings = settings_in(tmp_path, interval=interval, assets="BTC", **options)
    return run_server(settings, build_state(settings, source=source))


MARKETS = [
    ("XSHG", "Asia/Shanghai", "stock", "0930-1130,1300-1500"),
    ("XNYS", "America/New_York", "stock", "0930-1600"),
    ("XTKS", "Asia/Tokyo", "stock", None),
    ("XASX", "Australia/Sydney", "stock", "1000-1600"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("calendar", "zone", "kind", "session"), MARKETS)
@pytest.mark.parametrize("stamped", ["zone", "utc"])
def test_daily_bars_are_their_trading_day_at_midnight_utc(tmp_path, calendar, zone, kind, session, stamped):
    days = exchange_days(calendar)
    index = days.tz_localize(zone)
    candles = candles_of(index if stamped == "zone" else index.tz_convert("UTC"), calendar=calendar)
    with serve_candles(tmp_path, candles) as server, server.client() as client:
        symbol = client.get("/udf/symbols?symbol=BTC").json()
        bars = checked(client.get("/udf/history", params={"symbol": "BTC", "resolution": "D", "to": FAR}))
    assert bars["t"] == seconds(days.tz_localize("UTC"))
    assert (symbol["timezone"], symbol["type"]) == (zone, kind)
    assert session is None or symbol["session"] == session
    assert (symbol["has_intraday"], symbol["has_daily"], symbol["has_weekly_and_monthly"]) == (False, True, False)


def test_daily_forecast_bars_follow_the_last_trading_day(tmp_path):
    candles = candles_of(exchange_days("XSHG").tz_localize("Asia/Shanghai"), calendar="XSHG")
    with serve_candles(tmp_path, candles) as server, server.client() as client:
        server.wait_ready()
        query = {"symbol": "BTC.FORECAST", "resolution": "1D", "from": 1_720_000_000, "to": FAR}
        bars = checked(client.get("/udf/history", params=query))
    days = [pd.Timestamp(t, unit="s") for t in bars["t"]]
    assert all(day == day.normalize() and day.weekday() < 5 for day in days)
    assert days[-1] == pd.Timestamp("2024-07-15"), "Monday after Friday, 12 July"


def test_days_of_foreign_exchange_begin_on_the_evening_before(tmp_path):
    days = pd.bdate_range("2023-06-01", "2024-06-28")
    opens = (days - pd.Timedelta(days=1) + pd.Timedelta(hours=17)).tz_localize("America/New_York").tz_convert("UTC")
    with serve_candles(tmp_path, candles_of(opens, calendar="FX")) as server, server.client() as client:
        symbol = client.get("/udf/symbols?symbol=BTC").json()
        bars = checked(client.get("/udf/history", params={"symbol": "BTC", "resolution": "1D", "to": FAR}))
    assert bars["t"] == seconds(days.tz_localize("UTC"))
    assert (symbol["type"], symbol["session"], symbol["timezone"]) == ("forex", "1700-1700", "America/New_York")


@pytest.mark.parametrize(("interval", "resolution", "freq"), [("1w", "1W", "W-MON"), ("1mo", "1M", "MS")])
def test_weekly_and_monthly_candles_have_their_flag(tmp_path, interval, resolution, freq):
    index = pd.date_range("2018-01-01", periods=60, freq=freq, tz="Asia/Shanghai")
    with serve_candles(tmp_path, candles_of(index, interval)) as server, server.client() as client:
        symbol = client.get("/udf/symbols?symbol=BTC").json()
        bars = checked(client.get("/udf/history", params={"symbol": "BTC", "resolution": resolution, "to": FAR}))
    assert symbol["supported_resolutions"] == [resolution]
    assert (symbol["has_intraday"], symbol["has_daily"], symbol["has_weekly_and_monthly"]) == (False, False, True)
    assert bars["t"] == seconds(index.tz_localize(None).tz_localize("UTC"))


def test_a_night_session_is_listed_before_the_day():
    index = exchange_days("XSHG").tz_localize("Asia/Shanghai")
    hours = infer_trading_hours(candles_of(index, calendar="CN-FUTURES-0230"))
    assert hours.session == "2100-0230,0900-1015,1030-1130,1330-1500"
    assert (hours.type, hours.timezone) == ("futures", "Asia/Shanghai")


def test_a_search_knows_types_of_described_symbols(client):
    client.get("/udf/symbols?symbol=BTC")
    found = {item["symbol"]: item["type"] for item in client.get("/udf/search?query=&limit=100&type=crypto").json()}
    assert found["BTC"] == "crypto"
    assert found["ETH"] == "", "not described yet"
    assert "BTC" not in {item["symbol"] for item in client.get("/udf/search?query=&limit=100&type=stock").json()}


def test_bars_are_unique_if_a_candle_closes_after_the_forecast(tmp_path):
    frame = walk("2024-01-01", 400)
    candles = Candles.from_frame(frame, symbol="BTC", interval="1h")
    source = Replay({("BTC", "1h"): candles}, at=frame.index[300] + pd.Timedelta(hours=1))
    settings = settings_in(tmp_path)
    with run_server(settings, build_state(settings, source=source)) as live, live.client() as client:
        live.wait_ready()
        requests = {"symbol": "BTC.FORECAST", "resolution": "60", "from": 0, "to": int(time.time()), "countback": 100}
        assert (
            client.get("/udf/history", params=requests).json()["s"] == "ok"
        )  # forecast from 512 candles, bars from more
        source.advance(pd.Timedelta(hours=1))
        live.state.market_data._snapshots.discard(("BTC", 1536))  # as if only the longer series had been fetched again
        bars = client.get("/udf/history", params=requests).json()
    assert bars["s"] == "ok"
    assert bars["t"] == sorted(set(bars["t"]))

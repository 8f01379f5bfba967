"""TradingView's datafeed for UDF servers can live on ``/udf``: the calls that it makes, in its order."""

from __future__ import annotations

import time
from dataclasses import replace

import pandas as pd
import pytest

from kronos.settings import SourceSettings
from serve.live import served, settings_in
from serve.recordings import SHORT, recorded, replay, serving
from sources.coingecko_wire import serve_gecko
from sources.wire import World, walk

HOUR = 3600
COUNT = 2000
FAR = 2**33  # seconds: long after any bar


class Chart:
    """What the library asks, and what it insists on."""

    def __init__(self, client, symbol):
        self.client, self.symbol = client, symbol

    def bars(self, to, countback, since=0, resolution="60"):
        """One call of getBars: bars by time, empty for no_data."""
        query = {"symbol": self.symbol, "resolution": resolution, "from": since, "to": to, "countback": countback}
        return checked(self.client.get("/udf/history", params=query))

    def all(self, countback, now=None):
        """From now back until there is nothing more, as a user scrolls."""
        found, to = [], int(time.time()) if now is None else now
        while (part := self.bars(to, countback))["s"] == "ok":
            times = part["t"]
            assert not found or times[-1] < found[0][0], "bars out of order, which the library refuses"
            found = list(zip(*(part[column] for column in "tohlcv"), strict=True)) + found
            to = times[0]
        return found, part


def checked(answer):
    """A history's answer, held to the protocol."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["s"] in ("ok", "no_data", "error")
    if body["s"] == "ok":
        assert list(body) == ["s", "t", "o", "h", "l", "c", "v"]
        assert len({len(body[column]) for column in "tohlcv"}) == 1
        assert all(isinstance(one, int) for one in body["t"])
        assert all(isinstance(one, float) for column in "ohlcv" for one in body[column])
        assert body["t"] == sorted(set(body["t"]))
        assert all(
            low <= min(o, c) <= max(o, c) <= high for o, high, low, c in zip(*(body[k] for k in "ohlc"), strict=True)
        )
    return body


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Recorded candles whose last one has closed within this hour, so that charts ask for them up to now."""
    btc = recorded("BTC", COUNT)
    last = pd.Timestamp.now("UTC").floor("h") - pd.Timedelta(hours=1)
    frame = btc.frame.set_axis(pd.date_range(end=last, periods=COUNT, freq="h", name="timestamps"))
    btc = replace(btc, frame=frame)
    with serving(tmp_path_factory.mktemp("udf"), replay(btc, recorded("DOT", 2))) as server:
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


# Setting up ---------------------------------------------------------------


def test_the_configuration_says_what_the_datafeed_can_do(client):
    body = client.get("/udf/config").json()
    assert body["supported_resolutions"] == ["60"]
    assert body["supports_search"] is True
    assert body["supports_time"] is True
    assert (body["supports_group_request"], body["supports_marks"], body["supports_timescale_marks"]) == (False,) * 3
    assert [sorted(one) for one in body["exchanges"]] == [["desc", "name", "value"]]
    assert body["symbols_types"] == [{"name": "Crypto", "value": "crypto"}]


def test_the_time_is_whole_seconds_as_text(client):
    answer = client.get("/udf/time")
    assert answer.headers["content-type"].startswith("text/plain")
    assert abs(int(answer.text) - time.time()) < 60


@pytest.mark.parametrize("asked", ["BTC", "btc", "KRONOS:BTC", "kronos:btc"])
def test_a_symbol_is_described_with_or_without_its_exchange(client, asked):
    body = client.get("/udf/symbols", params={"symbol": asked}).json()
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


def test_every_symbol_that_a_search_finds_can_be_described(client):
    found = client.get("/udf/search", params={"query": "btc", "type": "", "exchange": "", "limit": 30}).json()
    assert [one["symbol"] for one in found] == ["BTC", "BTC.FORECAST", "BTC.FORECAST.HIGH", "BTC.FORECAST.LOW"]
    for one in found:
        assert {name: type(value) for name, value in one.items()} == dict.fromkeys(
            ("symbol", "full_name", "description", "exchange", "ticker", "type"), str
        )
        for name in (one["symbol"], one["full_name"], one["ticker"]):
            body = client.get("/udf/symbols", params={"symbol": name}).json()
            assert body["name"] == one["symbol"]
            assert body["description"] == one["description"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"query": ""}, 30), ({"query": "", "limit": 3}, 3), ({"query": "bitcoin"}, 4), ({"query": "KRONOS:ETH"}, 4),
        ({"query": "forecast", "limit": 100}, 24), ({"query": "nothing"}, 0), ({"query": "btc", "type": "crypto"}, 4),
        ({"query": "btc", "type": "stock"}, 0), ({"query": "btc", "exchange": "KRONOS"}, 4),
        ({"query": "btc", "exchange": "NYSE"}, 0),
    ],
)  # fmt: skip
def test_a_search_finds_by_part_of_a_name_within_type_exchange_and_limit(client, query, count):
    assert len(client.get("/udf/search", params=query).json()) == count


@pytest.mark.parametrize("symbol", ["NOPE", "BTC.TOMORROW", "NYSE:BTC", ".FORECAST", "ETH"])
def test_a_symbol_that_does_not_exist_is_the_protocols_error(client, symbol):
    answer = client.get("/udf/symbols", params={"symbol": symbol})
    assert answer.status_code == 200
    assert sorted(answer.json()) == ["errmsg", "s"]
    assert answer.json()["s"] == "error"
    assert answer.json()["errmsg"].endswith(".")


# Bars ---------------------------------------------------------------------


@pytest.mark.parametrize("countback", [329, 1000])
def test_going_back_until_no_data_gives_every_candle_once(client, frame, countback):
    found, last = Chart(client, "BTC").all(countback)
    assert last == {"s": "no_data"}
    kept = frame.iloc[-1500:]
    assert [bar[0] for bar in found] == seconds(kept.index)
    table = pd.DataFrame(found, columns=list("tohlcv"))
    for column, name in zip("ohlcv", ("open", "high", "low", "close", "volume"), strict=True):
        assert table[column].tolist() == kept[name].tolist()


def test_countback_wins_over_from_and_the_bar_at_to_is_not_among_the_answers(client, frame):
    to = seconds(frame.index)[-10]
    bars = Chart(client, "BTC").bars(to, 5, since=to - 2 * HOUR)
    assert bars["t"] == seconds(frame.index[-15:-10])


def test_without_countback_bars_from_the_first_time_up_to_the_second_are_given(client, frame):
    times = seconds(frame.index[-20:])
    query = {"symbol": "BTC", "resolution": "60", "from": times[3], "to": times[9]}
    assert checked(client.get("/udf/history", params=query))["t"] == times[3:9]


def test_where_there_is_no_bar_in_between_the_time_of_the_nearest_before_is_told(client, frame):
    last = seconds(frame.index)[-1]
    query = {"symbol": "BTC", "resolution": "60", "from": last + 60, "to": last + 120}
    assert checked(client.get("/udf/history", params=query)) == {"s": "no_data", "nextTime": last}


def test_before_the_first_bar_there_is_no_data_and_no_next_time(client, frame):
    assert Chart(client, "BTC").bars(1000, 300) == {"s": "no_data"}


@pytest.mark.parametrize("to", [0, -5, FAR])
def test_odd_times_are_answered_in_the_protocols_terms(client, to):
    assert Chart(client, "BTC").bars(to, 10)["s"] == ("ok" if to == FAR else "no_data")


@pytest.mark.parametrize("resolution", ["1", "D", "1D", "240", "soon", "60S"])
def test_a_resolution_that_is_not_served_is_the_protocols_error(client, resolution):
    body = Chart(client, "BTC").bars(int(time.time()), 10, resolution=resolution)
    assert body["s"] == "error"
    assert "60" in body["errmsg"]


@pytest.mark.parametrize("symbol", ["NOPE", "ETH", "KRONOS:"])
def test_bars_of_what_does_not_exist_are_the_protocols_error(client, symbol):
    body = Chart(client, symbol).bars(int(time.time()), 10)
    assert sorted(body) == ["errmsg", "s"]
    assert body["s"] == "error"


def test_a_forecast_that_cannot_be_made_is_the_protocols_error(client):
    assert Chart(client, "DOT").bars(int(time.time()), 10)["s"] == "ok"
    body = Chart(client, "DOT.FORECAST").bars(int(time.time()), 10)
    assert body["s"] == "error"
    assert "candles" in body["errmsg"]


# Forecasts ----------------------------------------------------------------


@pytest.mark.parametrize("countback", [1, 2, 10, 24, 329])
def test_the_forecast_continues_the_candles_in_one_unbroken_order(client, frame, countback):
    first = Chart(client, "KRONOS:BTC.FORECAST").bars(int(time.time()), countback)
    last = seconds(frame.index)[-1]
    assert first["t"][-24:] == [last + n * HOUR for n in range(1, 25)]
    told = client.get("/api/predict?symbol=BTC").json()["prediction"]["predictions"]
    assert first["c"][-24:] == [step["price"] for step in told]
    if countback > 2:
        return
    found, end = Chart(client, "BTC.FORECAST").all(500)
    assert end == {"s": "no_data"}
    assert [bar[0] for bar in found] == [*seconds(frame.index[-1500:]), *first["t"][-24:]]


@pytest.mark.parametrize("countback", [1, 10, 50])
def test_going_back_over_a_forecast_never_gives_a_bar_twice(client, frame, countback):
    chart, now = Chart(client, "BTC.FORECAST"), int(time.time())
    first = chart.bars(now, countback)
    second = chart.bars(first["t"][0], countback)
    assert second["t"][-1] < first["t"][0]
    assert second["t"][-1] == first["t"][0] - HOUR


@pytest.mark.parametrize("end", ["LOW", "HIGH"])
def test_the_ends_of_the_band_are_symbols_of_their_own(client, frame, end):
    found, last = Chart(client, f"BTC.FORECAST.{end}").all(329)
    told = client.get("/api/predict?symbol=BTC").json()["prediction"]["predictions"]
    assert last == {"s": "no_data"}
    assert [bar[0] for bar in found] == [seconds(frame.index)[-1] + n * HOUR for n in range(1, 25)]
    assert [bar[4] for bar in found] == [step[end.lower()] for step in told]
    assert all(bar[1] == bar[2] == bar[3] == bar[4] for bar in found)


def test_a_request_of_the_past_gives_no_forecast(client, frame):
    bars = Chart(client, "BTC.FORECAST").bars(seconds(frame.index)[-5], 10)
    assert bars["t"] == seconds(frame.index[-15:-5])


def test_forecast_bars_can_be_asked_for_by_their_own_times(client, frame):
    last = seconds(frame.index)[-1]
    query = {"symbol": "BTC.FORECAST", "resolution": "60", "from": last + 5 * HOUR, "to": last + 9 * HOUR}
    assert checked(client.get("/udf/history", params=query))["t"] == [last + n * HOUR for n in range(5, 9)]


def test_a_short_history_is_continued_by_the_fallback(tmp_path):
    with serving(tmp_path, replay(recorded("BTC", SHORT))) as server, server.client() as one:
        assert len(Chart(one, "BTC.FORECAST").bars(int(time.time()), 329)["t"]) == SHORT + 24


def test_candles_of_four_hours_are_told_before_and_after_a_symbol_is_asked_for(tmp_path):
    world = World({"BTC/USDT": walk("2025-12-01", 2 * 24 * 100, "30m")}, now="2026-03-01 12:50")
    with serve_gecko(world) as gecko:
        settings = settings_in(tmp_path, source="coingecko").model_copy(
            update={"offline": False, "sources": {"coingecko": SourceSettings(base_url=gecko.url)}}
        )
        with served(settings) as server, server.client() as one:
            assert one.get("/udf/config").json()["supported_resolutions"] == ["240"]
            assert one.get("/udf/symbols?symbol=BTC").json()["supported_resolutions"] == ["240"]
            bars = Chart(one, "BTC").bars(FAR, 10, resolution="240")
            assert set(pd.Series(bars["t"]).diff().dropna()) == {4 * HOUR}


@pytest.mark.parametrize(
    "query", ["resolution=60&from=0&to=1", "symbol=BTC&resolution=60&from=0", "symbol=BTC&resolution=60&from=x&to=1"]
)
def test_a_request_that_misses_something_is_a_bad_request(client, query):
    answer = client.get(f"/udf/history?{query}")
    assert answer.status_code == 400
    assert sorted(answer.json()) == ["error", "message"]

"""CoinGecko source against a local server with its API."""

import json
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from kronos.candles import COLUMNS, PRICES
from kronos.errors import ParameterError, SourceError
from kronos.intervals import Interval
from kronos.settings import SourceSettings
from kronos.sources.cache import CandleCache
from kronos.sources.coingecko.api import parse_candles
from kronos.sources.coingecko.source import CoinGecko
from kronos.sources.downloads import CachedSource
from sources.coingecko_wire import Gecko, error_answer, serve_gecko
from sources.wire import Answer, Faults, World, serve, utc, walk

NOW = "2026-03-01 12:50"
HALF_HOURS = walk("2025-01-01", 2 * 24 * 425, "30m")
SPOT = {"BTC/USDT": HALF_HOURS}
M30, H1, H4, D1, D4 = (Interval.parse(one) for one in ("30m", "1h", "4h", "1d", "4d"))


def client(server, **changes):
    return CoinGecko(SourceSettings(base_url=server.url, **changes), wait=0.001)


def connected(server, **changes):
    """A client with a response, and thus the server's clock; the recorded requests are cleared."""
    source, faults = client(server, **changes), server.world.faults
    server.world.faults = Faults()
    source.quote("BTC")
    server.world.faults = faults
    server.requests.clear()
    return source


def page(source, interval, start, end):
    return source.page("bitcoin", interval, utc(start), utc(end))


def all_pages(source, interval, start, end):
    """Joined rows of all pages up to the end."""
    frames, cursor = [], utc(start)
    while cursor < utc(end):
        one = source.page("bitcoin", interval, cursor, utc(end))
        assert one.until > cursor
        assert ((one.frame.index >= cursor) & (one.frame.index < one.until)).all()
        frames.append(one.frame)
        cursor = one.until
    rows = pd.concat(frames).sort_index()
    return rows[~rows.index.duplicated()]


def assert_rows(frame, truth):
    """The prices are the market's by opening time; volume and amount are NaN."""
    assert list(frame.columns) == list(COLUMNS)
    assert frame[["volume", "amount"]].isna().all(axis=None)
    actual, expected = frame[list(PRICES)], truth[list(PRICES)]
    pd.testing.assert_frame_equal(actual, expected, check_freq=False, check_names=False, check_index_type=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("interval", "start", "days"),
    [
        (M30, "2026-02-28 14:00", "1"),
        (H4, "2026-02-24", "7"),
        (H4, "2026-02-17 00:00", "14"),
        (H4, "2026-02-01 00:00", "30"),
        (D4, "2026-01-05", "90"),
        (D4, "2025-04-01", "365"),
    ],
)
def test_shortest_request_that_reaches_the_start_is_made(interval, start, days):
    world = World(SPOT, NOW)
    with serve_gecko(world) as server:
        got = page(connected(server), interval, start, NOW)
        truth = world.closed("BTC/USDT", str(interval))
        assert_rows(got.frame, truth[truth.index >= utc(start)])
        assert got.until == utc(NOW)
        assert [one.query["days"] for one in server.requests_to("/ohlc")] == [days]


def test_demo_plan_has_recent_candles_only():
    world = World(SPOT, NOW)
    with serve_gecko(world) as server:
        source = connected(server)
        assert source.intervals("bitcoin") == (M30, H4, D4)
        recent = page(source, H4, "2026-01-01", NOW).frame
        assert recent.index[0] >= utc(NOW) - pd.Timedelta(days=30)
        assert len(recent) == 179
        old = page(source, H4, "2026-01-01", "2026-01-09")
        assert (len(old.frame), old.until) == (0, utc("2026-01-09"))
        assert len(server.requests_to("/ohlc")) == 1
        with pytest.raises(ParameterError, match=r"no 1h candles on its demo plan: choose 30m, 4h, 4d; .* pro plan"):
            page(source, H1, "2026-02-28", NOW)


@pytest.mark.slow
def test_pro_plan_reaches_further_back():
    world = World(SPOT, NOW)
    with serve_gecko(world, Gecko("pro", key="secret")) as server:
        source = connected(server, plan="pro", api_key="secret")
        assert source.intervals("bitcoin") == (M30, H1, H4, D1, D4)
        assert_rows(all_pages(source, D1, "2025-01-01", NOW), world.closed("BTC/USDT", "1d"))
        assert_rows(page(source, D4, "2025-01-03", NOW).frame, world.closed("BTC/USDT", "4d").iloc[1:])
        assert len(page(source, H1, "2017-01-01", "2017-06-01").frame) == 0
        assert len(server.requests_to("/ohlc")) == 4


@pytest.mark.parametrize("count", [2_000, 6_000])
def test_thousands_of_hourly_candles_are_complete_on_the_pro_plan(count):
    base = walk("2021-01-01", count)
    world = World({"BTC/USDT": base}, base.index[-1] + pd.Timedelta(hours=1, minutes=30))
    with serve_gecko(world, Gecko("pro")) as server:
        source = connected(server, plan="pro")
        assert_rows(all_pages(source, H1, base.index[0], world.time), base)
        assert len(server.requests_to()) == -(-count // 720)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["429", "500", "503", "timeout", "cut", "reset", "truncated", "html"])
def test_candles_are_complete_despite_a_transient_failure(kind):
    world = World(SPOT, NOW, Faults(script=[kind, kind, ""], stall=1.0))
    with serve_gecko(world) as server:
        source = connected(server, timeout=0.5 if kind == "timeout" else 5.0)
        got = page(source, H4, "2026-02-20", NOW).frame
        assert len(server.requests_to()) == 3
    truth = world.closed("BTC/USDT", "4h")
    assert_rows(got, truth[truth.index >= utc("2026-02-20")])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_candles_are_complete_despite_many_failures_and_disordered_rows(seed):
    base = walk("2024-01-01", 4_000, seed=seed)
    faults = Faults(rate=0.6, seed=seed, kinds=("429", "500", "502", "cut", "reset", "html", "doubled", "shuffled"))
    world = World({"BTC/USDT": base}, base.index[-1] + pd.Timedelta(minutes=30), faults)
    with serve_gecko(world, Gecko("pro", stale="12min")) as server:
        assert_rows(all_pages(connected(server, plan="pro"), H1, base.index[0], world.time), base.iloc[:-1])
        assert len(server.requests_to()) > 6


def test_requested_wait_is_respected(caplog):
    caplog.set_level("INFO", logger="kronos.sources")
    world = World(SPOT, NOW, Faults(script=["429", ""], retry_after="0.2"))
    with serve_gecko(world) as server:
        assert client(server).quote("BTC").price > 0
    assert "CoinGecko answered 429 (too many requests); retrying in 0.2 s" in caplog.text


def test_wait_beyond_the_patience_is_not_started():
    world = World(SPOT, NOW, Faults(script=["429"] * 9, retry_after="3600"))
    with serve_gecko(world) as server:
        with pytest.raises(SourceError, match=r"CoinGecko answered 429 .* 3600 s; .*COINGECKO_API_KEY"):
            client(server).quote("BTC")
        assert len(server.requests_to()) == 1


def test_permanent_failure_is_reported_with_a_hint():
    world = World(SPOT, NOW, Faults(script=["502"] * 3))
    with (
        serve_gecko(world) as server,
        pytest.raises(SourceError, match=r"answered 502 .*, 3 times .*; try again later"),
    ):
        client(server, attempts=3).quote("BTC")
    with pytest.raises(SourceError, match=r"could not be reached .*KRONOS_SOURCES__COINGECKO__PROXY"):
        client(server, attempts=2).quote("BTC")


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [1, 8, 14, 19])
@pytest.mark.parametrize("interval", [M30, H4])
def test_candle_that_a_cached_response_shows_unfinished_is_dropped(interval, minutes):
    now = utc("2026-03-01 12:00") + pd.Timedelta(minutes=minutes)
    world = World(SPOT, now)
    with serve_gecko(world, Gecko(stale="15min")) as server:
        got = page(connected(server), interval, "2026-02-28 16:00", now).frame
    truth = world.closed("BTC/USDT", str(interval))
    truth = truth[truth.index >= utc("2026-02-28 16:00")]
    assert_rows(got, truth.iloc[:-1])


def test_candle_counts_once_it_cannot_change():
    world = World(SPOT, "2026-03-01 12:21")
    with serve_gecko(world, Gecko(stale="15min")) as server:
        got = page(connected(server), M30, "2026-03-01", world.time).frame
        assert_rows(got, world.closed("BTC/USDT", "30m").loc["2026-03-01":])


@pytest.mark.parametrize("odd", [False, True])
def test_forming_candle_is_dropped_whatever_its_time(odd):
    world = World(SPOT, "2026-03-01 13:17")
    with serve_gecko(world, Gecko(odd_last=odd)) as server:
        got = page(connected(server), H4, "2026-02-28", world.time).frame
    assert got.index[-1] == utc("2026-03-01 08:00")
    assert_rows(got, world.closed("BTC/USDT", "4h").loc["2026-02-28":])


def test_only_candle_of_a_new_coin_counts_despite_a_forming_one_off_the_grid():
    stamps = [utc("2026-03-01 12:00"), utc("2026-03-01 12:17:20")]
    rows = [[int(one.timestamp()) * 1000, 1.0, 2.0, 0.5, 1.5] for one in stamps]
    assert parse_candles(rows, H1, utc("2026-03-01 12:50")).index.tolist() == [utc("2026-03-01 11:00")]


@pytest.mark.parametrize(("coarse", "requested"), [("4h", M30), ("30m", H4), ("1d", H4), ("4h", D4)])
def test_candles_of_another_interval_are_rejected(coarse, requested):
    with serve_gecko(World(SPOT, NOW), Gecko(coarse=coarse)) as server:
        source = connected(server)
        with pytest.raises(SourceError, match=f"candles of {coarse} instead of {requested}"):
            page(source, requested, "2026-02-28", NOW)


def test_single_candle_is_fetched_with_neighbours_that_show_its_interval():
    world = World(SPOT, "2026-03-01 12:50")
    with serve_gecko(world, Gecko("pro")) as server:
        got = page(connected(server, plan="pro"), H1, "2026-03-01 11:00", "2026-03-01 11:50:00.000001").frame
        assert_rows(got, world.closed("BTC/USDT", "1h").loc["2026-03-01 11:00":])
    with serve_gecko(world, Gecko("pro", coarse="4h")) as server, pytest.raises(SourceError, match="candles of 4h"):
        page(connected(server, plan="pro"), H1, "2026-03-01 11:00", "2026-03-01 11:50")


@pytest.mark.slow
@given(
    step=st.sampled_from([M30, H1, H4, D1, D4]),
    count=st.integers(0, 60),
    holes=st.sets(st.integers(0, 59), max_size=20),
    offset=st.integers(0, 3),
    order=st.randoms(use_true_random=False),
)
@effort(max_examples=80, deadline=None)
def test_order_gaps_and_duplicates_do_not_change_candles(step, count, holes, offset, order):
    opens = [utc("2025-06-01") + pd.Timedelta(days=offset) + i * step.delta for i in range(count) if i not in holes]
    if len(opens) > 1 and len(opens) < 5:
        opens = opens[:1]  # so few candles with gaps may have another interval
    rows = [[int((one + step.delta).timestamp() * 1000), 1.0, 3.0, 0.5, 2.0 + i] for i, one in enumerate(opens)]
    now = utc("2026-06-01")
    plain = parse_candles(rows, step, now)
    mixed = [list(one) for one in rows + order.sample(rows, len(rows) // 2)]
    order.shuffle(mixed)
    pd.testing.assert_frame_equal(parse_candles(mixed, step, now), plain)
    if len(opens) != 1:  # a single candle must lie on the grid
        assert plain.index.tolist() == opens
    assert plain["close"].tolist() == [2.0 + i for i in range(len(plain))]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers(-(2**70), 2**70) | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=30,
    )
)
@effort(deadline=None)
@example([[-1e300, 1.0, 1.0, 1.0, 1.0], [1e300, 1.0, 1.0, 1.0, 1.0]])
@example([[None, 1.0, 1.0, 1.0, 1.0], [10**400, 1.0, 1.0, 1.0, 1.0]])
@example([[1_700_000_000_000, None, 1.0, 1.0, 1.0]])
def test_any_json_is_parsed_or_rejected(document):
    with suppress(SourceError), np.errstate(all="raise"):
        assert list(parse_candles(document, H1, utc(NOW)).columns) == list(COLUMNS)


@pytest.mark.parametrize(
    ("symbol", "coin"),
    [
        ("BTC", "bitcoin"), ("btc", "bitcoin"), ("bitcoin", "bitcoin"), (" Bitcoin ", "bitcoin"),
        ("BTC-USDT", "bitcoin"), ("BTC/USD", "bitcoin"), ("btcusdt", "bitcoin"), ("DOT", "polkadot"),
        ("dot_usd", "polkadot"),
        ("MATIC", "matic-network"), ("AVAX/USDC", "avalanche-2"), ("USDT", "tether"), ("usd-coin", "usd-coin"),
        ("lone", "lonely"), ("LONE-USDT", "lonely"), ("liquity-usd", "liquity-usd"), ("lusd", "liquity-usd"),
        ("batcat", "batcat"),
    ],
)  # fmt: skip
def test_coins_are_resolved_from_many_names(symbol, coin):
    with serve_gecko(World(SPOT, NOW)) as server:
        assert client(server).resolve(symbol) == coin


def test_list_of_coins_is_fetched_once_and_only_if_needed():
    with serve_gecko(World(SPOT, NOW)) as server:
        source = client(server)
        source.resolve("ETH-USDT")
        assert not server.requests_to()
        source.resolve("lone")
        source.resolve("twin-a")
        assert len(server.requests_to("/coins/list")) == 1


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("TWIN", "Several coins are called 'TWIN': write the id of one of them, twin-a and twin-bb."),
        ("twin/usdt", "Several coins are called 'twin/usdt'"),
        ("bitcon", "CoinGecko has no coin 'bitcon'; did you mean 'bitcoin'?"),
        ("MATICC-USD", "did you mean 'MATIC'?"),
        ("???", "write the id from its page, such as bitcoin."),
        ("BTC-EUR", "CoinGecko's prices of 'BTC-EUR' are in usd here: use bitcoin"),
        ("LONE/BTC", "CoinGecko's prices of 'LONE/BTC' are in usd here: use lonely"),
        ("", "CoinGecko has no coin ''"),
    ],
)
def test_unknown_coins_are_rejected_with_a_suggestion(symbol, words):
    with serve_gecko(World(SPOT, NOW)) as server, pytest.raises(ParameterError) as caught:
        client(server).resolve(symbol)
    assert words in str(caught.value)


def test_other_currencies_have_their_own_name_and_pairs():
    with serve_gecko(World(SPOT, NOW)) as server:
        source = CoinGecko(SourceSettings(base_url=server.url), currency="EUR", wait=0.001)
        assert (source.name, source.resolve("BTC-EUR")) == ("coingecko-eur", "bitcoin")
        with pytest.raises(ParameterError, match="in eur here"):
            source.resolve("BTC-USDT")
        with pytest.raises(ParameterError, match="no prices in that currency"):
            source.market_chart("BTC", 1)
        assert CoinGecko(SourceSettings(base_url=server.url)).name == "coingecko"


@pytest.mark.parametrize(("plan", "header"), [("demo", "x-cg-demo-api-key"), ("pro", "x-cg-pro-api-key")])
def test_key_is_sent_in_the_header_of_the_plan(plan, header, monkeypatch):
    monkeypatch.setenv("COINGECKO_API_KEY", "from-environment")
    with serve_gecko(World(SPOT, NOW)) as server:
        client(server, plan=plan).quote("BTC")
        client(server, plan=plan, api_key="from-settings").quote("BTC")
        headers = [{k.lower(): v for k, v in one.headers.items()} for one in server.requests_to()]
        assert [sent[header] for sent in headers] == ["from-environment", "from-settings"]
        assert all("api-key" not in name for sent in headers for name in sent if name != header)
        assert not any("key" in name for one in server.requests_to() for name in one.query)


def test_pro_plan_without_a_key_is_rejected_without_a_request(monkeypatch):
    monkeypatch.delenv("COINGECKO_API_KEY", raising=False)
    with pytest.raises(ParameterError, match="set COINGECKO_API_KEY"):
        CoinGecko(SourceSettings(plan="pro"))


def test_settings_come_from_the_environment(monkeypatch):
    with serve_gecko(World(SPOT, NOW), Gecko("pro", key="k")) as server:
        monkeypatch.setenv("KRONOS_SOURCES__COINGECKO__BASE_URL", server.url + "/api/v3/")
        monkeypatch.setenv("KRONOS_SOURCES__COINGECKO__PLAN", "pro")
        monkeypatch.setenv("KRONOS_SOURCES__COINGECKO__API_KEY", "k")
        assert len(page(CoinGecko(), H1, "2026-02-28", NOW).frame) == 36


def test_a_proxy_is_used():
    world = World(SPOT, NOW)
    with serve(world, [lambda _, request: Answer({"bitcoin": {"usd": 5}})]) as proxy:
        settings = SourceSettings(base_url="http://coingecko.invalid", proxy=proxy.url)
        assert CoinGecko(settings, wait=0.001).quote("BTC").price == 5


@pytest.mark.parametrize(
    "setting",
    [
        {"proxy": "gopher://user:secret@127.0.0.1"},
        {"proxy": "http://user:secret@host:99999"},
        {"proxy": "socks4://user:secret@host"},
        {"base_url": "user:secret@host"},
        {"base_url": "ftp://user:secret@host"},
    ],
)
def test_invalid_url_is_reported_without_its_password(setting):
    with pytest.raises(ParameterError, match=f"KRONOS_SOURCES__COINGECKO__{next(iter(setting)).upper()}") as caught:
        CoinGecko(SourceSettings(**setting), wait=0.001).quote("BTC")
    assert "secret" not in str(caught.value)


def test_dropped_young_candle_is_returned_later(tmp_path):
    world = World(SPOT, "2026-03-01 12:10")
    with serve_gecko(world) as server:
        early = CachedSource(connected(server), CandleCache(tmp_path)).candles(
            "BTC", H4, end=utc("2026-03-01 08:05"), records=9
        )
        assert early.end == utc("2026-03-01 04:00")
        world.now = NOW
        late = CachedSource(connected(server), CandleCache(tmp_path)).candles("BTC", H4, records=9)
    assert late.end == utc("2026-03-01 08:00")
    assert "gaps" not in {finding.code for finding in late.findings}


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            error_answer(401, 10002, "API Key Missing", nested=False),
            SourceError,
            "does not accept the key for its demo plan .10002",
        ),
        (
            error_answer(401, 10010, "Invalid API Key"),
            SourceError,
            "check COINGECKO_API_KEY and KRONOS_SOURCES__COINGECKO",
        ),
        (error_answer(401, 10005, "Pro API only"), SourceError, "in its demo plan .10005: Pro API only"),
        (error_answer(401, 10012, "past 365 days"), SourceError, "10012: past 365 days.; .* pro plan"),
        (Answer({"error": "coin not found"}, 404), ParameterError, "no coin with that id"),
        (Answer({"error": "invalid vs_currency"}, 400), ParameterError, "no prices in that currency"),
        (Answer({"error": "Invalid days parameter"}, 422), SourceError, "answered 422"),
        (Answer(b"blocked", 403), SourceError, "answered 403 .forbidden.; set a proxy"),
        (Answer({"error": "under maintenance"}), SourceError, "rejected the request .under maintenance"),
        (Answer([[1, 2, 3]]), SourceError, "not rows of 5 numbers with a time"),
        (Answer({"prices": []}), SourceError, "not rows of 5 numbers with a time"),
    ],
)
def test_error_responses_are_reported_in_one_line_without_retries(answer, kind, words):
    with serve(World(SPOT, NOW), [lambda _, request: answer]) as server:
        with pytest.raises(kind, match=words) as caught:
            page(client(server), H4, pd.Timestamp.now() - pd.Timedelta(days=3), pd.Timestamp.now())
        assert max(len(server.requests_to("/ping")), len(server.requests_to("/ohlc"))) == 1
        assert "\n" not in str(caught.value)


def test_rate_limit_in_a_response_with_status_200_is_retried():
    answers = [Answer(error_answer(200, 429, "You've exceeded the Rate Limit").body), Answer({"bitcoin": {"usd": 5}})]
    with serve(World(SPOT, NOW), [lambda _, request: answers.pop(0)]) as server:
        assert client(server).quote("BTC").price == 5


@pytest.mark.parametrize(("days", "step"), [(1, "5m"), (2, "1h"), (90, "1h"), (91, "1d"), (365, "1d")])
def test_market_chart_has_its_granularity_and_no_candles(days, step):
    with serve_gecko(World(SPOT, NOW)) as server:
        chart = client(server).market_chart("BTC-USDT", days)
    assert (chart.coin, chart.currency, str(chart.granularity)) == ("bitcoin", "usd", step)
    assert chart.prices.index.is_monotonic_increasing
    assert str(chart.prices.index.tz) == "UTC"
    assert chart.prices.index[-1] == utc(NOW)
    assert chart.prices.index.equals(chart.volumes.index)
    assert np.isnan(chart.market_caps.iloc[0])
    assert chart.market_caps.iloc[1:].notna().all()
    assert not hasattr(chart, "frame")


def test_market_chart_needs_a_day_and_prices():
    with serve(World(SPOT, NOW), [lambda _, request: Answer({"prices": [[1, 2.0]], **NOTHING})]) as server:
        with pytest.raises(ParameterError, match="at least 1 day"):
            client(server).market_chart("BTC", 0)
        with pytest.raises(SourceError, match="fewer than two prices of bitcoin"):
            client(server).market_chart("BTC", 1)


NOTHING = {"market_caps": [], "total_volumes": []}


def test_quote_has_none_for_unknown_values():
    world = World({**SPOT, "LONE/USDT": walk("2026-02-01", 700)}, NOW)
    with serve_gecko(world) as server:
        source = client(server)
        full, bare = source.quote("BTC/USD"), source.quote("lonely")
        truth = world.shows("BTC/USDT", "1h")["close"]
        assert (full.coin, full.price, full.at) == ("bitcoin", truth.iloc[-1], utc(NOW))
        assert full.change_24h == pytest.approx(truth.iloc[-1] / truth.iloc[-25] * 100 - 100)
        assert full.market_cap == pytest.approx(full.price * 19e6)
        assert (bare.change_24h, bare.volume_24h, bare.market_cap) == (None, None, None)
        with pytest.raises(SourceError, match="no usd price for tether"):
            source.quote("USDT")


def test_clock_is_the_servers():
    with serve_gecko(World(SPOT, NOW)) as server:
        source = client(server)
        for _ in range(2):
            assert utc(NOW) <= source.now() < utc(NOW) + pd.Timedelta(minutes=1)
        assert [one.path for one in server.requests_to()] == ["/api/v3/ping"]


@pytest.mark.slow
def test_downloads_request_new_candles_only(tmp_path):
    world = World(SPOT, NOW)
    with serve_gecko(world, Gecko("pro", stale="10min")) as server:
        source = connected(server, plan="pro")
        got = CachedSource(source, CandleCache(tmp_path)).candles("BTC-USDT", H1, records=2_000)
        assert (len(got.frame), got.has_volume, got.has_amount) == (2_000, False, False)
        assert got.end == utc("2026-03-01 11:00")
        world.now = "2026-03-01 15:05"
        source.quote("BTC")
        server.requests.clear()
        again = CachedSource(source, CandleCache(tmp_path)).candles("BTC-USDT", H1, records=2_000)
        assert again.end == utc("2026-03-01 13:00")  # the candle that closed 5 minutes ago may still change
        assert len(server.requests_to("/ohlc")) <= 2
        truth = world.closed("BTC/USDT", "1h").iloc[-2_001:-1]
        np.testing.assert_array_equal(again.frame[list(PRICES)], truth[list(PRICES)])


def test_downloads_report_the_short_history_of_the_demo_plan(tmp_path):
    with serve_gecko(World(SPOT, NOW)) as server:
        source = connected(server)
        got = CachedSource(source, CandleCache(tmp_path)).candles("BTC", H4, records=500)
    assert len(got.frame) == 179
    assert got.findings[0].code == "short-history"
    assert json.dumps(got.findings[0].message)

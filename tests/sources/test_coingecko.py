"""CoinGecko's client against a server on loopback that speaks as CoinGecko does."""

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
from kronos.sources.coingecko.api import candle_rows
from kronos.sources.coingecko.source import CoinGecko
from kronos.sources.downloads import CachedSource
from sources.coingecko_wire import Gecko, refusal, serve_gecko
from sources.wire import Answer, Faults, World, serve, utc, walk

NOW = "2026-03-01 12:50"
HALF_HOURS = walk("2025-01-01", 2 * 24 * 425, "30m")
SPOT = {"BTC/USDT": HALF_HOURS}
M30, H1, H4, D1, D4 = (Interval.parse(one) for one in ("30m", "1h", "4h", "1d", "4d"))


def client(server, **changes):
    return CoinGecko(SourceSettings(base_url=server.url, **changes), wait=0.001)


def met(server, **changes):
    """A client that has had an answer, and so goes by the server's clock."""
    source, faults = client(server, **changes), server.world.faults
    server.world.faults = Faults()
    source.quote("BTC")
    server.world.faults = faults
    server.requests.clear()
    return source


def page(source, interval, start, end):
    return source.page("bitcoin", interval, utc(start), utc(end))


def all_pages(source, interval, start, end):
    """The rows of every page up to the end, as a download puts them together."""
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
    """The prices are the market's at the times they open; what CoinGecko does not tell is NaN."""
    assert list(frame.columns) == list(COLUMNS)
    assert frame[["volume", "amount"]].isna().all(axis=None)
    got, wanted = frame[list(PRICES)], truth[list(PRICES)]
    pd.testing.assert_frame_equal(got, wanted, check_freq=False, check_names=False, check_index_type=False)


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
def test_the_shortest_request_that_reaches_the_start_brings_candles_by_their_opening_time(interval, start, days):
    world = World(SPOT, NOW)
    with serve_gecko(world) as server:
        got = page(met(server), interval, start, NOW)
        truth = world.closed("BTC/USDT", str(interval))
        assert_rows(got.frame, truth[truth.index >= utc(start)])
        assert got.until == utc(NOW)
        assert [one.query["days"] for one in server.asked("/ohlc")] == [days]


def test_the_demo_plan_has_what_is_recent_and_asks_for_nothing_else():
    world = World(SPOT, NOW)
    with serve_gecko(world) as server:
        source = met(server)
        assert source.intervals("bitcoin") == (M30, H4, D4)
        recent = page(source, H4, "2026-01-01", NOW).frame
        assert recent.index[0] >= utc(NOW) - pd.Timedelta(days=30)
        assert len(recent) == 179
        old = page(source, H4, "2026-01-01", "2026-01-09")
        assert (len(old.frame), old.until) == (0, utc("2026-01-09"))
        assert len(server.asked("/ohlc")) == 1
        with pytest.raises(ParameterError, match="no 1h candles on its demo plan, only 30m, 4h, 4d; hourly and daily"):
            page(source, H1, "2026-02-28", NOW)


def test_the_pro_plan_reaches_further_back():
    world = World(SPOT, NOW)
    with serve_gecko(world, Gecko("pro", key="secret")) as server:
        source = met(server, plan="pro", api_key="secret")
        assert source.intervals("bitcoin") == (M30, H1, H4, D1, D4)
        assert_rows(all_pages(source, D1, "2025-01-01", NOW), world.closed("BTC/USDT", "1d"))
        assert_rows(page(source, D4, "2025-01-03", NOW).frame, world.closed("BTC/USDT", "4d").iloc[1:])
        assert len(page(source, H1, "2017-01-01", "2017-06-01").frame) == 0
        assert len(server.asked("/ohlc")) == 4


@pytest.mark.parametrize("count", [2_000, 20_000])
def test_thousands_of_hourly_records_arrive_complete_on_the_pro_plan(count):
    base = walk("2021-01-01", count)
    world = World({"BTC/USDT": base}, base.index[-1] + pd.Timedelta(hours=1, minutes=30))
    with serve_gecko(world, Gecko("pro")) as server:
        source = met(server, plan="pro")
        assert_rows(all_pages(source, H1, base.index[0], world.time), base)
        assert len(server.asked()) == -(-count // 720)


@pytest.mark.parametrize("kind", ["429", "500", "503", "timeout", "cut", "reset", "truncated", "html"])
def test_a_fault_on_the_way_changes_nothing(kind):
    world = World(SPOT, NOW, Faults(script=[kind, kind, ""], stall=1.0))
    with serve_gecko(world) as server:
        source = met(server, timeout=0.5 if kind == "timeout" else 5.0)
        got = page(source, H4, "2026-02-20", NOW).frame
        assert len(server.asked()) == 3
    truth = world.closed("BTC/USDT", "4h")
    assert_rows(got, truth[truth.index >= utc("2026-02-20")])


@pytest.mark.parametrize("seed", range(4))
def test_many_faults_doubled_and_shuffled_rows_change_nothing(seed):
    base = walk("2024-01-01", 4_000, seed=seed)
    faults = Faults(rate=0.6, seed=seed, kinds=("429", "500", "502", "cut", "reset", "html", "doubled", "shuffled"))
    world = World({"BTC/USDT": base}, base.index[-1] + pd.Timedelta(minutes=30), faults)
    with serve_gecko(world, Gecko("pro", stale="12min")) as server:
        assert_rows(all_pages(met(server, plan="pro"), H1, base.index[0], world.time), base.iloc[:-1])
        assert len(server.asked()) > 6


def test_the_wait_that_a_rate_limit_asks_for_is_kept(caplog):
    caplog.set_level("INFO", logger="kronos.sources")
    world = World(SPOT, NOW, Faults(script=["429", ""], retry_after="0.2"))
    with serve_gecko(world) as server:
        assert client(server).quote("BTC").price > 0
    assert "CoinGecko answered 429 (too many requests); asking again in 0.2 s" in caplog.text


def test_a_wait_beyond_the_patience_is_not_begun():
    world = World(SPOT, NOW, Faults(script=["429"] * 9, retry_after="3600"))
    with serve_gecko(world) as server:
        with pytest.raises(
            SourceError, match=r"CoinGecko answered 429 .* asks to wait 3600 s; wait .*COINGECKO_API_KEY"
        ):
            client(server).quote("BTC")
        assert len(server.asked()) == 1


def test_giving_up_says_what_happened_and_what_to_do():
    world = World(SPOT, NOW, Faults(script=["502"] * 3))
    with (
        serve_gecko(world) as server,
        pytest.raises(SourceError, match=r"answered 502 .*, 3 times .*; try again later"),
    ):
        client(server, attempts=3).quote("BTC")
    with pytest.raises(SourceError, match=r"could not be reached .*KRONOS_SOURCES__COINGECKO__PROXY"):
        client(server, attempts=2).quote("BTC")


@pytest.mark.parametrize("minutes", [1, 8, 14, 19])
@pytest.mark.parametrize("interval", [M30, H4])
def test_a_candle_that_an_old_answer_shows_unfinished_is_left_out(interval, minutes):
    now = utc("2026-03-01 12:00") + pd.Timedelta(minutes=minutes)
    world = World(SPOT, now)
    with serve_gecko(world, Gecko(stale="15min")) as server:
        got = page(met(server), interval, "2026-02-28 16:00", now).frame
    truth = world.closed("BTC/USDT", str(interval))
    truth = truth[truth.index >= utc("2026-02-28 16:00")]
    assert_rows(got, truth.iloc[:-1])


def test_a_candle_counts_once_it_cannot_change_any_more():
    world = World(SPOT, "2026-03-01 12:21")
    with serve_gecko(world, Gecko(stale="15min")) as server:
        got = page(met(server), M30, "2026-03-01", world.time).frame
        assert_rows(got, world.closed("BTC/USDT", "30m").loc["2026-03-01":])


@pytest.mark.parametrize("odd", [False, True])
def test_the_forming_candle_is_left_out_however_it_is_stamped(odd):
    world = World(SPOT, "2026-03-01 13:17")
    with serve_gecko(world, Gecko(odd_last=odd)) as server:
        got = page(met(server), H4, "2026-02-28", world.time).frame
    assert got.index[-1] == utc("2026-03-01 08:00")
    assert_rows(got, world.closed("BTC/USDT", "4h").loc["2026-02-28":])


def test_a_young_coins_only_candle_counts_beside_a_forming_one_stamped_with_the_moment():
    stamps = [utc("2026-03-01 12:00"), utc("2026-03-01 12:17:20")]
    rows = [[int(one.timestamp()) * 1000, 1.0, 2.0, 0.5, 1.5] for one in stamps]
    assert candle_rows(rows, H1, utc("2026-03-01 12:50")).index.tolist() == [utc("2026-03-01 11:00")]


@pytest.mark.parametrize(("coarse", "asked"), [("4h", M30), ("30m", H4), ("1d", H4), ("4h", D4)])
def test_candles_of_another_length_are_refused(coarse, asked):
    with serve_gecko(World(SPOT, NOW), Gecko(coarse=coarse)) as server:
        source = met(server)
        with pytest.raises(SourceError, match=f"candles of {coarse} where {asked} were asked for"):
            page(source, asked, "2026-02-28", NOW)


def test_one_candle_more_is_fetched_with_neighbours_that_show_its_length():
    world = World(SPOT, "2026-03-01 12:50")
    with serve_gecko(world, Gecko("pro")) as server:
        got = page(met(server, plan="pro"), H1, "2026-03-01 11:00", "2026-03-01 11:50:00.000001").frame
        assert_rows(got, world.closed("BTC/USDT", "1h").loc["2026-03-01 11:00":])
    with serve_gecko(world, Gecko("pro", coarse="4h")) as server, pytest.raises(SourceError, match="candles of 4h"):
        page(met(server, plan="pro"), H1, "2026-03-01 11:00", "2026-03-01 11:50")


@given(
    step=st.sampled_from([M30, H1, H4, D1, D4]),
    count=st.integers(0, 60),
    holes=st.sets(st.integers(0, 59), max_size=20),
    offset=st.integers(0, 3),
    order=st.randoms(use_true_random=False),
)
@effort(max_examples=80, deadline=None)
def test_any_order_holes_and_doubles_give_the_same_candles(step, count, holes, offset, order):
    opens = [utc("2025-06-01") + pd.Timedelta(days=offset) + i * step.delta for i in range(count) if i not in holes]
    if len(opens) > 1 and len(opens) < 5:
        opens = opens[:1]  # so few with holes between them may be candles of another length
    rows = [[int((one + step.delta).timestamp() * 1000), 1.0, 3.0, 0.5, 2.0 + i] for i, one in enumerate(opens)]
    now = utc("2026-06-01")
    plain = candle_rows(rows, step, now)
    mixed = [list(one) for one in rows + order.sample(rows, len(rows) // 2)]
    order.shuffle(mixed)
    pd.testing.assert_frame_equal(candle_rows(mixed, step, now), plain)
    if len(opens) != 1:  # one alone is only taken on the grid
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
def test_nonsense_is_refused_and_never_breaks_it(told):
    with suppress(SourceError), np.errstate(all="raise"):
        assert list(candle_rows(told, H1, utc(NOW)).columns) == list(COLUMNS)


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
def test_a_coin_goes_by_many_names(symbol, coin):
    with serve_gecko(World(SPOT, NOW)) as server:
        assert client(server).resolve(symbol) == coin


def test_the_list_of_coins_is_fetched_once_and_only_if_needed():
    with serve_gecko(World(SPOT, NOW)) as server:
        source = client(server)
        source.resolve("ETH-USDT")
        assert not server.asked()
        source.resolve("lone")
        source.resolve("twin-a")
        assert len(server.asked("/coins/list")) == 1


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("TWIN", "Several coins are called 'TWIN'; write the id of the one you mean: twin-a, twin-bb."),
        ("twin/usdt", "Several coins are called 'twin/usdt'"),
        ("bitcon", "CoinGecko has no coin 'bitcon'; did you mean 'bitcoin'?"),
        ("MATICC-USD", "did you mean 'MATIC'?"),
        ("???", "write the id that its page shows, such as bitcoin."),
        ("BTC-EUR", "CoinGecko's prices of 'BTC-EUR' are in usd here; ask for bitcoin."),
        ("LONE/BTC", "CoinGecko's prices of 'LONE/BTC' are in usd here; ask for lonely."),
        ("", "CoinGecko has no coin ''"),
    ],
)
def test_what_is_no_coin_is_said_with_the_nearest(symbol, words):
    with serve_gecko(World(SPOT, NOW)) as server, pytest.raises(ParameterError) as caught:
        client(server).resolve(symbol)
    assert words in str(caught.value)


def test_another_currency_has_a_name_and_pairs_of_its_own():
    with serve_gecko(World(SPOT, NOW)) as server:
        source = CoinGecko(SourceSettings(base_url=server.url), currency="EUR", wait=0.001)
        assert (source.name, source.resolve("BTC-EUR")) == ("coingecko-eur", "bitcoin")
        with pytest.raises(ParameterError, match="in eur here"):
            source.resolve("BTC-USDT")
        with pytest.raises(ParameterError, match="no prices in that currency"):
            source.market_chart("BTC", 1)
        assert CoinGecko(SourceSettings(base_url=server.url)).name == "coingecko"


@pytest.mark.parametrize(("plan", "header"), [("demo", "x-cg-demo-api-key"), ("pro", "x-cg-pro-api-key")])
def test_the_key_goes_into_the_plans_header(plan, header, monkeypatch):
    monkeypatch.setenv("COINGECKO_API_KEY", "from-environment")
    with serve_gecko(World(SPOT, NOW)) as server:
        client(server, plan=plan).quote("BTC")
        client(server, plan=plan, api_key="from-settings").quote("BTC")
        asked = [{k.lower(): v for k, v in one.headers.items()} for one in server.asked()]
        assert [one[header] for one in asked] == ["from-environment", "from-settings"]
        assert all("api-key" not in name for one in asked for name in one if name != header)
        assert not any("key" in name for one in server.asked() for name in one.query)


def test_the_pro_plan_without_a_key_is_refused_before_anything_is_asked(monkeypatch):
    monkeypatch.delenv("COINGECKO_API_KEY", raising=False)
    with pytest.raises(ParameterError, match="set COINGECKO_API_KEY, or take the demo plan"):
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
def test_an_address_that_is_none_is_said_without_what_it_holds(setting):
    with pytest.raises(ParameterError, match=f"KRONOS_SOURCES__COINGECKO__{next(iter(setting)).upper()}") as caught:
        CoinGecko(SourceSettings(**setting), wait=0.001).quote("BTC")
    assert "secret" not in str(caught.value)


def test_a_young_candle_left_out_comes_later(tmp_path):
    world = World(SPOT, "2026-03-01 12:10")
    with serve_gecko(world) as server:
        early = CachedSource(met(server), CandleCache(tmp_path)).candles(
            "BTC", H4, end=utc("2026-03-01 08:05"), records=9
        )
        assert early.end == utc("2026-03-01 04:00")
        world.now = NOW
        late = CachedSource(met(server), CandleCache(tmp_path)).candles("BTC", H4, records=9)
    assert late.end == utc("2026-03-01 08:00")
    assert "gaps" not in {finding.code for finding in late.findings}


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refusal(401, 10002, "API Key Missing", nested=False), SourceError, "does not take the key for its demo plan"),
        (refusal(401, 10010, "Invalid API Key"), SourceError, "see to COINGECKO_API_KEY and KRONOS_SOURCES__COINGECKO"),
        (refusal(401, 10005, "Pro API only"), SourceError, "does not serve this on its demo plan .10005: Pro API only"),
        (refusal(401, 10012, "past 365 days"), SourceError, "ask for something later or coarser, or take the pro plan"),
        (Answer({"error": "coin not found"}, 404), ParameterError, "no coin of that id"),
        (Answer({"error": "invalid vs_currency"}, 400), ParameterError, "no prices in that currency"),
        (Answer({"error": "Invalid days parameter"}, 422), SourceError, "answered 422"),
        (Answer(b"blocked", 403), SourceError, "answered 403 .forbidden.; reach it from elsewhere"),
        (Answer({"error": "under maintenance"}), SourceError, "refuses the request .under maintenance"),
        (Answer([[1, 2, 3]]), SourceError, "not rows of 5 numbers with a time"),
        (Answer({"prices": []}), SourceError, "not rows of 5 numbers with a time"),
    ],
)
def test_a_refusal_is_one_clear_sentence_and_is_not_repeated(answer, kind, words):
    with serve(World(SPOT, NOW), [lambda _, request: answer]) as server:
        with pytest.raises(kind, match=words) as caught:
            page(client(server), H4, pd.Timestamp.now() - pd.Timedelta(days=3), pd.Timestamp.now())
        assert max(len(server.asked("/ping")), len(server.asked("/ohlc"))) == 1
        assert "\n" not in str(caught.value)


def test_a_rate_limit_within_an_ok_answer_is_waited_for():
    answers = [Answer(refusal(200, 429, "You've exceeded the Rate Limit").body), Answer({"bitcoin": {"usd": 5}})]
    with serve(World(SPOT, NOW), [lambda _, request: answers.pop(0)]) as server:
        assert client(server).quote("BTC").price == 5


@pytest.mark.parametrize(("days", "step"), [(1, "5m"), (2, "1h"), (90, "1h"), (91, "1d"), (365, "1d")])
def test_a_market_chart_tells_its_granularity_and_makes_no_candles(days, step):
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


def test_a_market_chart_needs_a_day_and_prices():
    with serve(World(SPOT, NOW), [lambda _, request: Answer({"prices": [[1, 2.0]], **NOTHING})]) as server:
        with pytest.raises(ParameterError, match="at least 1 day"):
            client(server).market_chart("BTC", 0)
        with pytest.raises(SourceError, match="fewer than two prices of bitcoin"):
            client(server).market_chart("BTC", 1)


NOTHING = {"market_caps": [], "total_volumes": []}


def test_a_quote_tells_what_there_is_and_none_for_the_rest():
    world = World({**SPOT, "LONE/USDT": walk("2026-02-01", 700)}, NOW)
    with serve_gecko(world) as server:
        source = client(server)
        full, bare = source.quote("BTC/USD"), source.quote("lonely")
        truth = world.shows("BTC/USDT", "1h")["close"]
        assert (full.coin, full.price, full.at) == ("bitcoin", truth.iloc[-1], utc(NOW))
        assert full.change_24h == pytest.approx(truth.iloc[-1] / truth.iloc[-25] * 100 - 100)
        assert full.market_cap == pytest.approx(full.price * 19e6)
        assert (bare.change_24h, bare.volume_24h, bare.market_cap) == (None, None, None)
        with pytest.raises(SourceError, match="no price of tether in usd"):
            source.quote("USDT")


def test_the_clock_is_the_servers():
    with serve_gecko(World(SPOT, NOW)) as server:
        source = client(server)
        for _ in range(2):
            assert utc(NOW) <= source.now() < utc(NOW) + pd.Timedelta(minutes=1)
        assert [one.path for one in server.asked()] == ["/api/v3/ping"]


def test_downloads_keep_what_came_and_ask_only_for_what_is_new(tmp_path):
    world = World(SPOT, NOW)
    with serve_gecko(world, Gecko("pro", stale="10min")) as server:
        source = met(server, plan="pro")
        got = CachedSource(source, CandleCache(tmp_path)).candles("BTC-USDT", H1, records=2_000)
        assert (len(got.frame), got.has_volume, got.has_amount) == (2_000, False, False)
        assert got.end == utc("2026-03-01 11:00")
        world.now = "2026-03-01 15:05"
        source.quote("BTC")
        server.requests.clear()
        again = CachedSource(source, CandleCache(tmp_path)).candles("BTC-USDT", H1, records=2_000)
        assert again.end == utc("2026-03-01 13:00")  # what closed 5 minutes ago may still change
        assert len(server.asked("/ohlc")) <= 2
        truth = world.closed("BTC/USDT", "1h").iloc[-2_001:-1]
        np.testing.assert_array_equal(again.frame[list(PRICES)], truth[list(PRICES)])


def test_downloads_say_that_the_demo_plan_is_short(tmp_path):
    with serve_gecko(World(SPOT, NOW)) as server:
        source = met(server)
        got = CachedSource(source, CandleCache(tmp_path)).candles("BTC", H4, records=500)
    assert len(got.frame) == 179
    assert got.findings[0].code == "short-history"
    assert json.dumps(got.findings[0].message)

"""Simulated candles: independent of the requested range, consistent across intervals, and realistic."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.calendars.future import future_times
from kronos.errors import DataError, ParameterError
from kronos.intervals import Interval
from kronos.sources import CandleSource, open_source
from kronos.sources.simulation import SimulatedSource

NOW = pd.Timestamp("2025-06-18 12:34:56", tz="UTC")
MARKETS = ("crypto", "ashare", "us", "fx")
PRICES = ["open", "high", "low", "close"]


def simulated(seed=0, market="crypto", now=NOW):
    return SimulatedSource(seed, market=market, clock=lambda: now)


def frame(source, interval, symbol="BTC-USDT", **span):
    return source.candles(symbol, Interval.parse(interval), **span).frame


def at(text):
    return pd.Timestamp(text, tz="UTC")


# --- labels and arguments -----------------------------------------------------------------------------------------


def test_candles_are_labelled_as_simulated():
    source = simulated(seed=7)
    candles = source.candles("btcusdt", Interval(1, "h"), records=5)
    assert isinstance(source, CandleSource)
    assert (source.name, source.simulated, candles.simulated) == ("simulated", True, True)
    assert (candles.symbol, candles.source, candles.timezone) == ("BTC-USDT", "simulated (seed 7)", "UTC")
    messages = {finding.code: finding.message for finding in candles.findings}
    assert set(messages) == {"simulated"}
    assert "seed 7" in messages["simulated"]


@pytest.mark.parametrize(
    ("market", "symbol", "normalized"),
    [
        ("crypto", "btc/usdt", "BTC-USDT"),
        ("crypto", " ethbtc ", "ETH-BTC"),
        ("crypto", "whatever you like", "WHATEVER-YOU-LIKE"),
        ("fx", "eurusd", "EUR-USD"),
        ("ashare", "600519.sh", "600519.SH"),
        ("ashare", "贵州茅台", "贵州茅台"),
        ("us", "aapl", "AAPL"),
    ],
)
def test_symbols_are_normalized(market, symbol, normalized):
    source = simulated(market=market)
    assert source.resolve(symbol) == normalized
    pd.testing.assert_frame_equal(frame(source, "1d", symbol, records=3), frame(source, "1d", normalized, records=3))


@given(st.text(min_size=1, max_size=30).filter(str.strip), st.sampled_from(MARKETS))
@settings(max_examples=15)
def test_any_symbol_but_an_empty_one_exists(symbol, market):
    assert len(frame(simulated(market=market), "1h", symbol, records=2)) == 2


def test_invalid_arguments_are_rejected():
    with pytest.raises(ParameterError, match="empty"):
        simulated().intervals("  ")
    with pytest.raises(ParameterError, match="did you mean crypto"):
        SimulatedSource(market="cripto")
    for seed in (-1, 1.5, True, "1"):
        with pytest.raises(ParameterError, match="Invalid seed"):
            SimulatedSource(seed)
    with pytest.raises(ParameterError, match="no 7m candles of BTC-USDT"):
        frame(simulated(), "7m")
    with pytest.raises(ParameterError, match="Invalid end"):
        frame(simulated(), "1h", start=at("2025-01-02"), end=at("2025-01-01"))
    with pytest.raises(DataError, match="begin with 2018-01-01"):
        frame(simulated(), "1h", end=at("2017-01-01"))
    with pytest.raises(DataError, match="begin with 2018-01-01"):
        frame(simulated(now=at("2015-01-01")), "1h", records=10)


def test_short_history_is_a_finding():
    early = simulated(now=at("2018-01-03"))
    findings = early.candles("X", Interval(1, "h"), records=100).findings
    assert [(f.code, f.severity, f.count) for f in findings[1:]] == [("short-history", "warning", 52)]
    since = early.candles("X", Interval(1, "h"), start=at("2010-01-01")).findings
    assert [(f.code, f.severity) for f in since[1:]] == [("short-history", "info")]
    assert len(early.candles("X", Interval(1, "h"), start=at("2018-01-01"), records=48).findings) == 1


def test_open_by_name():
    source = open_source("simulated:ashare:5")
    assert (source.name, source.market, source.seed) == ("simulated", "ashare", 5)
    with pytest.raises(ParameterError, match="no simulated market 'martian'"):
        open_source("simulated:martian")


# --- reproducibility -----------------------------------------------------------------------------

INTERVALS = [
    (market, str(interval)) for market in MARKETS for interval in SimulatedSource(market=market).intervals("X")
]


@pytest.mark.slow
@given(
    st.sampled_from(INTERVALS),
    st.integers(0, 3_000),
    st.integers(1, 200),
    st.integers(2, 60),
    st.integers(0, 200_000),
)
@settings(max_examples=30)
def test_candles_do_not_depend_on_the_requested_range(which, back, length, records, seconds):
    market, interval = which
    step = pd.Timedelta(seconds=min(Interval.parse(interval).seconds, 86_400 * 3))
    end = NOW - min(back * step, pd.Timedelta(days=500)) - pd.Timedelta(seconds=seconds)
    start = end - (length + 3) * step - pd.Timedelta(days=5 if step < pd.Timedelta(hours=1) else 100)
    whole = frame(simulated(market=market), interval, start=start, end=end)
    index = whole.index.tz_convert("UTC")
    assert ((index >= start) & (index < end)).all()
    cut = start + (end - start) / 3
    pd.testing.assert_frame_equal(frame(simulated(market=market), interval, start=cut, end=end), whole[index >= cut])
    pd.testing.assert_frame_equal(
        frame(simulated(market=market), interval, end=end, records=min(records, len(whole))), whole.tail(records)
    )
    # Nor on the time of the request: the clock only hides candles that are not closed.
    earlier = frame(simulated(market=market, now=end), interval, start=start)
    closes = (whole.index + Interval.parse(interval).offset).tz_convert("UTC")
    pd.testing.assert_frame_equal(earlier, whole[closes <= end])


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("year", [2029, 2031])
def test_candles_do_not_depend_on_the_current_year(market, year):
    span = {"start": at("2024-12-01"), "end": at("2025-02-01")}
    later = simulated(market=market, now=at(f"{year}-12-31 23:00"))
    pd.testing.assert_frame_equal(frame(later, "30m", **span), frame(simulated(market=market), "30m", **span))


@pytest.mark.slow
def test_candles_are_the_same_in_another_process():
    code = (
        "import pandas as pd; from kronos.sources.simulation import SimulatedSource; "
        "from kronos.intervals import Interval; "
        "c = SimulatedSource(3).candles('BTC-USDT', Interval(1, 'h'), start=pd.Timestamp('2024-01-01'), "
        "end=pd.Timestamp('2024-01-03')); print(c.frame.to_csv())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = frame(simulated(seed=3), "1h", start=at("2024-01-01"), end=at("2024-01-03")).to_csv()
    assert done.stdout.strip().splitlines() == expected.strip().splitlines()


SUMMED = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum", "amount": "sum"}
PAIRS = [
    ("crypto", "1m", "5m", "5min"),
    ("crypto", "1m", "1h", "1h"),
    ("crypto", "1h", "4h", "4h"),
    ("crypto", "30m", "1d", "1D"),
    ("crypto", "1d", "1w", "W-MON"),
    ("crypto", "1d", "1mo", "MS"),
]


@pytest.mark.parametrize(("market", "fine", "coarse", "rule"), PAIRS)
def test_longer_candles_aggregate_shorter_ones(market, fine, coarse, rule):
    span = {"start": at("2024-01-01"), "end": at("2024-04-01") if fine != "1m" else at("2024-01-22")}
    finer, coarser = (frame(simulated(market=market), i, **span) for i in (fine, coarse))
    grouped = finer.resample(rule, label="left", closed="left").agg(SUMMED)
    grouped.index = grouped.index.as_unit("us")
    pd.testing.assert_frame_equal(coarser, grouped, rtol=1e-12, atol=0, check_freq=False)


@pytest.mark.parametrize("market", ["ashare", "us", "fx"])
@pytest.mark.parametrize(("fine", "coarse"), [("5m", "30m"), ("30m", "2h"), ("30m", "1d"), ("1d", "1w")])
def test_longer_candles_aggregate_shorter_ones_within_sessions(market, fine, coarse):
    span = {"start": at("2024-02-01"), "end": at("2024-04-20")}
    finer, coarser = (frame(simulated(market=market), i, **span) for i in (fine, coarse))
    finer = finer[(finer.index >= coarser.index[0])]
    group = np.searchsorted(coarser.index.asi8, finer.index.asi8, side="right") - 1
    grouped = finer.groupby(group).agg(SUMMED).set_axis(coarser.index)
    pd.testing.assert_frame_equal(coarser[:-1], grouped[:-1], rtol=1e-12, atol=0, check_freq=False)


def test_only_closed_candles_are_returned():
    for market, interval in INTERVALS:
        candles = simulated(market=market).candles("X", Interval.parse(interval), records=3)
        closes = (candles.index + candles.interval.offset).tz_convert("UTC")
        assert (closes <= NOW).all(), (market, interval)
    just = at("2025-06-18 13:00")
    assert frame(simulated(now=just), "1h", records=2).index[-1] == at("2025-06-18 12:00")
    assert frame(simulated(now=just - pd.Timedelta(nanoseconds=1)), "1h", records=2).index[-1] == at("2025-06-18 11:00")


# --- valid candles in their sessions ----------------------------------------------------------------------------


@pytest.mark.parametrize(("market", "interval"), [(m, i) for m in MARKETS for i in ("1m", "5m", "1h", "1d")])
def test_candles_are_valid(market, interval):
    days = 20 if interval == "1m" else 700
    source = simulated(seed=2, market=market)
    for symbol in ("BTC-USDT", "EUR-USD", "X"):
        table = frame(source, interval, symbol, start=NOW - pd.Timedelta(days=days))
        assert table.index.is_monotonic_increasing
        assert table.index.is_unique
        assert np.isfinite(table.to_numpy()).all()
        assert (table["low"] > 0).all()
        assert (table["low"] <= table[["open", "close"]].min(axis=1)).all()
        assert (table["high"] >= table[["open", "close"]].max(axis=1)).all()
        if market == "fx":
            assert not table[["volume", "amount"]].to_numpy().any()
        else:
            assert (table["volume"] > 0).all()
            assert (table["amount"] >= table["low"] * table["volume"] * (1 - 1e-12)).all()
            assert (table["amount"] <= table["high"] * table["volume"] * (1 + 1e-12)).all()


def test_prices_are_ticks_and_volumes_are_lots():
    share = frame(simulated(market="ashare"), "5m", "600519", records=500)
    assert np.array_equal(share[PRICES], share[PRICES].round(2))
    assert (share["volume"] % 100 == 0).all()
    coin = frame(simulated(), "5m", records=500)
    assert np.array_equal(coin[PRICES], coin[PRICES].round(1))
    assert np.array_equal(coin["volume"], coin["volume"].round(3))


def test_market_that_never_closes_has_no_gaps():
    table = frame(simulated(), "1m", start=at("2025-05-01"), end=at("2025-05-08"))
    assert len(table) == 7 * 24 * 60
    assert np.array_equal(table["open"][1:], table["close"][:-1])


@pytest.mark.parametrize(
    ("market", "zone", "clocks"),
    [
        ("ashare", "Asia/Shanghai", ["09:30", "10:30", "13:00", "14:00"]),
        ("us", "America/New_York", ["09:30", "10:30", "11:30", "12:30", "13:30", "14:30", "15:30"]),
    ],
)
def test_shares_trade_in_their_sessions(market, zone, clocks):
    candles = simulated(market=market).candles("X", Interval(1, "h"), start=at("2024-01-01"), end=at("2025-01-01"))
    assert candles.timezone == zone == str(candles.index.tz)
    by_day = pd.Series(candles.index.strftime("%H:%M"), index=candles.index.date).groupby(level=0).agg(list)
    regular = by_day.map(lambda day: day == clocks)
    assert regular.sum() >= len(by_day) - 3
    assert set(by_day[~regular].map(len)) <= {4}  # New York closes early on a few days
    closed = {"ashare": "2024-02-13", "us": "2024-11-28"}[market]
    assert pd.Timestamp(closed).date() not in by_day.index
    gaps = np.log(candles.frame["open"].to_numpy()[1:] / candles.frame["close"].to_numpy()[:-1])
    assert np.std(gaps[np.diff(candles.index.date) != pd.Timedelta(0)]) > 0.002


def test_currencies_trade_from_sunday_to_friday_evening():
    index = frame(simulated(market="fx"), "1h", "EURUSD", start=at("2025-03-02"), end=at("2025-03-23")).index
    weeks = np.split(index, np.flatnonzero(np.diff(index) > pd.Timedelta(days=1)) + 1)
    assert len(weeks) == 3  # New York's clocks change before the second
    for week in weeks:
        assert (week[0].strftime("%a %H"), week[-1].strftime("%a %H"), len(week)) == ("Sun 17", "Fri 16", 120)
    days = frame(simulated(market="fx"), "1d", "EURUSD", records=10).index
    assert set(days.strftime("%a %H:%M")) == {f"{day} 17:00" for day in ("Sun", "Mon", "Tue", "Wed", "Thu")}


@pytest.mark.parametrize(("market", "interval"), [(m, i) for m in MARKETS for i in ("5m", "1h", "1d")])
def test_calendars_predict_the_following_candles(market, interval):
    source, parsed = simulated(market=market), Interval.parse(interval)
    history = source.candles("X", parsed, start=at("2025-02-01"), end=at("2025-06-01"))
    actual = frame(source, interval, "X", start=at("2025-06-01")).index
    predicted = future_times(history.index, parsed, len(actual), history.calendar)
    assert list(predicted.times) == list(actual)


# --- statistics ----------------------------------------------------------------------------------------------


def autocorrelation(values, lag=1):
    centred = values - values.mean()
    return float((centred[lag:] * centred[:-lag]).mean() / (centred**2).mean())


@pytest.fixture(scope="module")
def returns():
    """Hourly log-returns within candles, and volumes, of three instruments a market."""
    found = {}
    for market, symbol in itertools.product(("crypto", "us", "fx"), "ABC"):
        table = frame(simulated(seed=1, market=market), "1h", symbol)
        found[market, symbol] = np.log(table["close"] / table["open"]).to_numpy(), table["volume"].to_numpy()
    return found


def test_volatility_clusters_and_tails_are_fat(returns):
    for moved, _ in returns.values():
        squares = np.minimum(moved**2, np.quantile(moved**2, 0.999))
        assert autocorrelation(squares, 1) > 0.08
        assert autocorrelation(squares, 24) > 0.03
        assert np.mean((moved - moved.mean()) ** 4) / moved.var() ** 2 > 5


def test_returns_are_not_autocorrelated(returns):
    for moved, _ in returns.values():
        scaled = np.sign(moved)  # signs, since fat tails would widen the margin
        for lag in (1, 2, 3, 24):
            assert abs(autocorrelation(scaled, lag)) < 4.5 / np.sqrt(len(moved))


def test_variance_of_minutes_adds_up_to_that_of_half_hours():
    """A bridge with wrong weights would revert within its half-hour, so that variances would not add up."""
    table = frame(simulated(seed=4), "1m", start=at("2025-03-01"), end=at("2025-05-01"))
    level = np.log(table["close"].to_numpy())
    per_minute = {step: np.var(np.diff(level[::step])) / step for step in (1, 10, 30, 60)}
    for step in (10, 30, 60):
        assert per_minute[step] == pytest.approx(per_minute[1], rel=0.2)
    ranges = np.log(table["high"] / table["low"]) ** 2 / (4 * np.log(2))  # Parkinson's estimate
    assert ranges.mean() == pytest.approx(per_minute[1], rel=0.1)


def test_volume_follows_volatility(returns):
    for (market, _), (moved, volume) in returns.items():
        if market != "fx":
            assert np.corrcoef(np.abs(moved), volume)[0, 1] > 0.25


def test_volatility_depends_on_the_time_of_day():
    table = frame(simulated(), "1h", start=at("2021-01-01"))
    by_hour = np.log(table["close"] / table["open"]).abs().groupby(table.index.hour).mean()
    assert by_hour[15] > 1.2 * by_hour[3]


@pytest.mark.slow
def test_instruments_of_a_market_are_correlated_but_different():
    closes = {s: np.log(frame(simulated(), "1d", s)["close"]).diff().dropna() for s in ("AAA", "BBB", "CCC")}
    correlations = pd.DataFrame(closes).corr().to_numpy()[np.triu_indices(3, 1)]
    assert ((correlations > 0.1) & (correlations < 0.9)).all()
    assert len({round(series.std(), 6) for series in closes.values()}) == 3


def test_seeds_and_symbols_differ():
    last = {
        (s, n): frame(simulated(seed=s), "1h", n, records=2)["close"].iloc[-1] for s in (0, 1) for n in ("AAA", "AAB")
    }
    assert len(set(last.values())) == 4


@pytest.mark.slow
def test_prices_revert_to_their_reference_level():
    for seed in range(3):
        close = frame(simulated(seed=seed, now=at("2032-12-31")), "1w")["close"]
        assert close.max() / close.min() < 1_000
        assert 62_000 / 20 < close.median() < 62_000 * 20

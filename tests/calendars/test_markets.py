"""Inference of the market from the calendar."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronos.calendars import MARKETS, future_times
from kronos.calendars import market_of as market_of_times
from kronos.candles import Candles, read_candles
from kronos.errors import CalendarError
from kronos.intervals import Interval


def market_of(candles):
    return market_of_times(candles.index, candles.interval, candles.calendar)


def candles_at(times, interval, calendar=None):
    """Candles at these times with arbitrary prices."""
    closes = 100 + np.arange(len(times)) % 7
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), closes), index=times)
    return Candles.from_frame(frame, symbol="X", interval=interval, calendar=calendar)


def following(calendar, interval="1h", rows=600, start="2024-01-02 10:00", zone=None):
    first = pd.DatetimeIndex([pd.Timestamp(start, tz=zone)])
    return candles_at(future_times(first, Interval.parse(interval), rows, calendar).times, interval)


@pytest.mark.parametrize(
    ("calendar", "interval", "zone", "market"),
    [
        ("24/7", "1h", "UTC", "crypto"),
        ("24/7", "1d", "UTC", "crypto"),
        ("FX", "1h", "UTC", "fx"),
        ("XNYS", "1d", None, "us_equity"),
        ("XNYS", "1h", "America/New_York", "us_equity"),
        ("XSHG", "15m", "Asia/Shanghai", "cn_ashare"),
        ("CN-FUTURES-2300", "5m", "Asia/Shanghai", "cn_futures"),
        ("XHKG", "1d", "Asia/Hong_Kong", None),
    ],
)
def test_market_is_inferred_from_the_calendar(calendar, interval, zone, market):
    assert market_of(following(calendar, interval, zone=zone)) == market


def test_given_calendars_take_precedence():
    hourly = following("24/7", zone="UTC")
    for name, market in {"nasdaq": "us_equity", "XSHE": "cn_ashare", "FX": "fx", "inferred": None}.items():
        assert market_of(replace(hourly, calendar=name)) == market
    with pytest.raises(CalendarError, match="no calendar"):
        market_of(replace(hourly, calendar="nowhere"))


def test_a_day_without_a_break_is_not_crypto():
    short = following("24/7", "5m", 200, zone="UTC")
    assert market_of(short) is None
    assert market_of(replace(short, calendar="24/7")) == "crypto"
    assert market_of(following("24/7", "1w", 100, zone="UTC")) is None  # weekly candles show no weekend


def test_prices_and_symbols_do_not_matter():
    candles = following("FX", zone="UTC")
    other = replace(candles, frame=candles.frame * 3, symbol="BTCUSD")
    assert market_of(candles) == market_of(other) == "fx"


def test_real_candles_of_five_markets(shared: Path):
    for name in (
        *("crypto/BTCUSD_bitfinex_1h", "fx/EURUSD_oanda_5m", "us_equity/AAPL_lean_1d"),
        *("cn_ashare/SH600519_15m", "cn_futures/CZCE.AP_5m"),
    ):
        assert market_of(read_candles(shared / "data" / "candles" / f"{name}.parquet")) == name.split("/")[0]
    assert set(MARKETS.values()) == {"crypto", "fx", "us_equity", "cn_ashare", "cn_futures"}

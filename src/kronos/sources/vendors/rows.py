"""What vendors of equity data mean: their notations of instruments, and their tables as candles by opening time.

Minute bars are told by the moment they open, whatever the vendor stamps them with. Daily, weekly and monthly ones are
told by midnight UTC of the trading date, of the week's Monday or of the month's first day: a date, not a moment.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS, PRICES
from kronos.errors import SourceError
from kronos.intervals import Interval

_SHANGHAI = "Asia/Shanghai"
_LOT = 100  # shares
_EXCHANGES = {"sh": "sh", "ss": "sh", "xshg": "sh", "sz": "sz", "xshe": "sz", "bj": "bj"}
_CODE = re.compile(r"(?:(?P<before>sh|sz|bj)\.?)?(?P<digits>\d{6})(?:\.?(?P<after>sh|ss|xshg|sz|xshe|bj))?")
_BY_DIGIT = {"6": "sh", "5": "sh", "9": "sh", "0": "sz", "1": "sz", "2": "sz", "3": "sz", "4": "bj", "8": "bj"}


def chinese_code(symbol: str) -> tuple[str, str] | None:
    """Exchange and digits of ``sh.600000``, ``SH600000``, ``600000.SS``, ``000001.XSHE`` or ``600000``; else None."""
    match = _CODE.fullmatch(symbol.strip().lower())
    if match is None or (match["before"] and match["after"]):
        return None
    named = match["before"] or match["after"]
    if named:
        return _EXCHANGES[named], match["digits"]
    digits = match["digits"]
    exchange = "bj" if digits.startswith("92") else _BY_DIGIT.get(digits[0])
    return None if exchange is None else (exchange, digits)


def yahoo_rows(table: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Candles of what ``yfinance.Ticker.history`` gives: Open … Volume by the exchange's own time.

    The row of the moment, which Yahoo appends to minute bars between their times, is left out.
    """
    if not len(table):
        return _candles(table, {}, pd.DatetimeIndex([], tz="UTC"))
    times = pd.DatetimeIndex(table.index)
    if interval.intraday:
        table = table[times.second == 0]
        times = pd.DatetimeIndex(table.index).tz_convert("UTC")
    else:
        times = _dates(times.tz_localize(None), interval)
    return _candles(table, {name: name.capitalize() for name in (*PRICES, "volume")}, times)


def baostock_rows(table: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Candles of what ``query_history_k_data_plus`` gives: text in every cell, minute bars stamped with their end.

    Days on which an instrument was suspended are left out.
    """
    if "tradestatus" in table:
        table = table[table["tradestatus"] != "0"]
    if not len(table):
        return _candles(table, {}, pd.DatetimeIndex([], tz="UTC"))
    if interval.intraday:
        times = _moments(table["time"].str.slice(0, 14), "%Y%m%d%H%M%S", interval)
    else:
        times = _dates(pd.DatetimeIndex(pd.to_datetime(table["date"], format="%Y-%m-%d")), interval)
    return _candles(table, {name: name for name in COLUMNS}, times)


def akshare_rows(table: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Candles of what ``stock_zh_a_hist`` and ``…_min_em`` give: volume in lots, minute bars stamped with their end."""
    if not len(table):
        return _candles(table, {}, pd.DatetimeIndex([], tz="UTC"))
    if interval.intraday:
        times = _moments(table["时间"], "%Y-%m-%d %H:%M:%S", interval)
    else:
        times = _dates(pd.DatetimeIndex(pd.to_datetime(table["日期"])), interval)
    names = {"open": "开盘", "high": "最高", "low": "最低", "close": "收盘", "volume": "成交量", "amount": "成交额"}
    frame = _candles(table, names, times)
    frame["volume"] *= _LOT
    return frame


def _moments(ends: pd.Series[str], form: str, interval: Interval) -> pd.DatetimeIndex:
    """Opening times in UTC of bars that end at these times in Shanghai."""
    local = pd.DatetimeIndex(pd.to_datetime(ends, format=form)).tz_localize(_SHANGHAI)
    return local.tz_convert("UTC") - interval.delta


def _dates(days: pd.DatetimeIndex, interval: Interval) -> pd.DatetimeIndex:
    """Midnight UTC of trading dates, of their weeks' Mondays or of their months' first days."""
    days = days.normalize()
    if interval.unit == "w":
        days = days - pd.to_timedelta(days.day_of_week, unit="D")
    if interval.unit == "mo":
        days = days - pd.to_timedelta(days.day - 1, unit="D")
    return days.tz_localize("UTC")


def _candles(table: pd.DataFrame, names: dict[str, str], times: pd.DatetimeIndex) -> pd.DataFrame:
    """The columns of a `Page` by opening time, without rows that lack a price."""
    lacking = [name for name in names.values() if name not in table]
    if lacking:
        raise SourceError(f"The vendor's table has no column '{lacking[0]}'; its library may have changed: update it.")
    frame = pd.DataFrame(np.nan, index=times.as_unit("us").rename("timestamps"), columns=list(COLUMNS))
    for name, theirs in names.items():
        frame[name] = pd.to_numeric(table[theirs], errors="coerce").to_numpy(dtype=np.float64)
    return frame[frame[list(PRICES)].notna().all(axis=1)]

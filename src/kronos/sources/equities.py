"""Equity data through the libraries of its vendors, as reliable as these are.

`Yahoo` (yfinance), `Baostock` and `AkShare` are `PageSource`s of shares. All of them need
``pip install 'kronos-forecast[equities]'``. Prices are not adjusted for dividends, so that a candle does not change
later, except that Yahoo rewrites past prices after a split. The clock is this machine's.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import re
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS, PRICES
from kronos.errors import KronosError, ParameterError, SourceError
from kronos.intervals import Interval
from kronos.network import is_unresolved
from kronos.sources.base import Page, unsupported_interval
from kronos.sources.http import (
    RequestFailedError,
    call_with_retry,
    check_environment,
    environment_error,
    setting_variable,
    unresolved_error,
    validate_proxy,
)

if TYPE_CHECKING:
    from kronos.settings import SourceSettings

_SHANGHAI = "Asia/Shanghai"
_LOT = 100  # shares
_EXCHANGES = {"sh": "sh", "ss": "sh", "xshg": "sh", "sz": "sz", "xshe": "sz", "bj": "bj"}
_EXCHANGE_OF_DIGIT = {
    "6": "sh", "5": "sh", "9": "sh", "0": "sz", "1": "sz", "2": "sz", "3": "sz", "4": "bj", "8": "bj",
}  # fmt: skip
_CHINESE_CODE = re.compile(r"(?:(?P<before>sh|sz|bj)\.?)?(?P<digits>\d{6})(?:\.?(?P<after>sh|ss|xshg|sz|xshe|bj))?")
_YAHOO_SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.\-=^&]{0,24}")
_YAHOO_SUFFIXES = {"sh": "SS", "sz": "SZ"}
_YAHOO_INTERVALS = {
    "1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1h", "1d": "1d", "1w": "1wk", "1mo": "1mo",
}  # fmt: skip
_YAHOO_HISTORY_DAYS = {"1m": 29, "5m": 59, "15m": 59, "30m": 59, "1h": 729}
_YAHOO_MINUTES_PER_REQUEST = pd.Timedelta(days=7)
_YAHOO_LAG = pd.Timedelta(minutes=30)  # prices of many exchanges are delayed by up to 20 minutes
_BAOSTOCK_INTERVALS = {"5m": "5", "15m": "15", "30m": "30", "1h": "60", "1d": "d", "1w": "w", "1mo": "m"}
_AKSHARE_INTERVALS = {
    "5m": "5", "15m": "15", "30m": "30", "1h": "60", "1d": "daily", "1w": "weekly", "1mo": "monthly",
}  # fmt: skip
_AKSHARE_COLUMNS = {
    "open": "开盘", "high": "最高", "low": "最低", "close": "收盘", "volume": "成交量", "amount": "成交额",
}  # fmt: skip
# What the libraries raise for an unexpected response.
_LIBRARY_ERRORS = (KeyError, TypeError, ValueError, IndexError, AttributeError)
_LIBRARY_LOCK = threading.Lock()  # settings and sessions of the libraries are global to the process


def parse_chinese_code(symbol: str) -> tuple[str, str] | None:
    """Exchange and digits of ``sh.600000``, ``SH600000``, ``600000.SS``, ``000001.XSHE`` or ``600000``; else None."""
    match = _CHINESE_CODE.fullmatch(symbol.strip().lower())
    if match is None or (match["before"] and match["after"]):
        return None
    digits = match["digits"]
    if exchange := match["before"] or match["after"]:
        return _EXCHANGES[exchange], digits
    inferred = "bj" if digits.startswith("92") else _EXCHANGE_OF_DIGIT.get(digits[0])
    return None if inferred is None else (inferred, digits)


def yahoo_rows(table: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Convert a table of ``yfinance.Ticker.history`` (Open … Volume by exchange time) to rows of a `Page`.

    The row of the current moment, which Yahoo appends to minute bars, is dropped.
    """
    if not len(table):
        return _rows(table, {}, pd.DatetimeIndex([], tz="UTC"))
    times = pd.DatetimeIndex(table.index)
    if interval.intraday:
        table = table[times.second == 0]
        times = pd.DatetimeIndex(table.index).tz_convert("UTC")
    else:
        times = _period_starts(times.tz_localize(None), interval)
    return _rows(table, {name: name.capitalize() for name in (*PRICES, "volume")}, times)


def baostock_rows(table: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Convert a table of ``query_history_k_data_plus`` to rows of a `Page`.

    All cells are text, and minute bars are labelled by their closing time. Days on which trading was suspended are
    dropped.
    """
    if "tradestatus" in table:
        table = table[table["tradestatus"] != "0"]
    if not len(table):
        return _rows(table, {}, pd.DatetimeIndex([], tz="UTC"))
    if interval.intraday:
        times = _opening_times(table["time"].str.slice(0, 14), "%Y%m%d%H%M%S", interval)
    else:
        times = _period_starts(pd.DatetimeIndex(pd.to_datetime(table["date"], format="%Y-%m-%d")), interval)
    return _rows(table, {name: name for name in COLUMNS}, times)


def akshare_rows(table: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Convert a table of ``stock_zh_a_hist`` or ``…_min_em`` to rows of a `Page`.

    Volume is in lots, and minute bars are labelled by their closing time.
    """
    if not len(table):
        return _rows(table, {}, pd.DatetimeIndex([], tz="UTC"))
    if interval.intraday:
        times = _opening_times(table["时间"], "%Y-%m-%d %H:%M:%S", interval)
    else:
        times = _period_starts(pd.DatetimeIndex(pd.to_datetime(table["日期"])), interval)
    rows = _rows(table, _AKSHARE_COLUMNS, times)
    rows["volume"] *= _LOT
    return rows


def _opening_times(closes: pd.Series[str], format_: str, interval: Interval) -> pd.DatetimeIndex:
    """UTC opening times of bars labelled by their closing time in Shanghai."""
    local = pd.DatetimeIndex(pd.to_datetime(closes, format=format_)).tz_localize(_SHANGHAI)
    return local.tz_convert("UTC") - interval.delta


def _period_starts(days: pd.DatetimeIndex, interval: Interval) -> pd.DatetimeIndex:
    """Midnight UTC of trading dates, or of the first day of their week or month."""
    days = days.normalize()
    if interval.unit == "w":
        days = days - pd.to_timedelta(days.day_of_week, unit="D")
    if interval.unit == "mo":
        days = days - pd.to_timedelta(days.day - 1, unit="D")
    return days.tz_localize("UTC")


def _rows(table: pd.DataFrame, names: dict[str, str], times: pd.DatetimeIndex) -> pd.DataFrame:
    """The columns of a `Page` by opening time, without rows that lack a price."""
    missing = [name for name in names.values() if name not in table]
    if missing:
        raise SourceError(f"The table has no column '{missing[0]}': the vendor's library may have changed; update it.")
    frame = pd.DataFrame(np.nan, index=times.as_unit("us").rename("timestamps"), columns=list(COLUMNS))
    for name, column in names.items():
        frame[name] = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    return frame[frame[list(PRICES)].notna().all(axis=1)]


class _EquitySource:
    """Base class of the sources in this module.

    Attributes:
        name: Name of the source: ``yahoo``.
    """

    name: str
    _library: str
    _intervals: dict[str, str]  # the library's word for each interval
    _proxy_hint: str = ""

    def __init__(self, settings: SourceSettings | None = None, *, wait: float = 0.5) -> None:
        """Prepare the source; no request is made.

        Args:
            settings: Timeout, attempts and patience, and for Yahoo the proxy; None reads the environment.
            wait: Seconds before the first retry of a failed request.

        Raises:
            ParameterError: If the library is not installed.
        """
        if importlib.util.find_spec(self._library) is None:
            raise ParameterError(self._missing_library())
        self._settings = settings if settings is not None else _settings(self.name)
        self._wait = wait

    def now(self) -> pd.Timestamp:
        """UTC time on this machine's clock."""
        return pd.Timestamp.now(tz="UTC")

    def intervals(self, symbol: str) -> tuple[Interval, ...]:  # noqa: ARG002  (argument of the protocol)
        """Supported intervals, ascending."""
        return tuple(map(Interval.parse, self._intervals))

    def _missing_library(self) -> str:
        return f"{type(self).__name__} needs {self._library}; install it with pip install 'kronos-forecast[equities]'."

    def _import(self) -> Any:
        try:
            return importlib.import_module(self._library)
        except ImportError as error:
            raise ParameterError(self._missing_library()) from error

    def _connection_error(self, error: Exception) -> RequestFailedError:
        explained = None if self._settings.proxy else environment_error(error, "https://", "requests")
        if explained is not None:
            return explained
        if is_unresolved(error):
            return unresolved_error("", name=self.name)
        hint = f"check the network{self._proxy_hint}"
        return RequestFailedError(f"could not be reached ({_first_line(error)})", hint, retryable=True)

    def _library_interval(self, symbol: str, interval: Interval) -> str:
        supported = self.intervals(symbol)
        if interval not in supported:
            raise unsupported_interval(symbol, interval, supported, type(self).__name__)
        return self._intervals[str(interval)]

    def _request(self, call: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Call the library, with retries; its exceptions become `KronosError`s."""

        def attempt() -> pd.DataFrame:
            try:
                with _LIBRARY_LOCK:
                    return call()
            except KronosError:
                raise
            except OSError as error:
                raise self._connection_error(error) from error
            except _LIBRARY_ERRORS as error:
                reason = f"sent a response that {self._library} cannot read ({_first_line(error)})"
                hint = f"check the symbol, or update {self._library}"
                raise RequestFailedError(reason, hint, retryable=isinstance(error, ValueError)) from error

        name, settings = type(self).__name__, self._settings
        check_environment(name, "requests", proxies=settings.proxy is None)
        return call_with_retry(
            attempt, name=name, attempts=settings.attempts, patience=settings.patience, wait=self._wait
        )


class Yahoo(_EquitySource):
    """Yahoo Finance through yfinance: shares, indices, funds and currencies worldwide.

    Prices are adjusted for splits, as Yahoo does, but not for dividends (``auto_adjust=False``). There is no amount,
    and no volume of currencies. Minute bars reach back 30 days (1m), 60 days (5m to 30m) or 730 days (1h). Prices of
    many exchanges are delayed, so that a candle counts half an hour after its close.
    """

    name = "yahoo"
    _library = "yfinance"
    _intervals = _YAHOO_INTERVALS
    _proxy_hint = f", or set a proxy with {setting_variable('yahoo', 'proxy')}"

    def resolve(self, symbol: str) -> str:
        """Yahoo's symbol: ``AAPL``, ``^GSPC``, ``0700.HK``; ``600000.SS`` for sh.600000, SH600000 or 600000.

        Raises:
            ParameterError: If the text cannot be a symbol.
        """
        exchange, digits = parse_chinese_code(symbol) or ("", "")
        if exchange in _YAHOO_SUFFIXES:
            return f"{digits}.{_YAHOO_SUFFIXES[exchange]}"
        capitals = symbol.strip().upper()
        if exchange or _YAHOO_SYMBOL.fullmatch(capitals) is None:
            raise ParameterError(f"Yahoo has no '{symbol}': write a symbol such as AAPL, ^GSPC or 600000.SS.")
        return capitals

    def page(self, symbol: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Page:
        """Return the rows of [start, end), of 1m candles at most 7 days; see `PageSource.page`."""
        word = self._library_interval(symbol, interval)
        first, until = start, end
        if word in _YAHOO_HISTORY_DAYS:
            first = max(start, self.now() - pd.Timedelta(days=_YAHOO_HISTORY_DAYS[word]))
            until = end if first >= end or word != "1m" else min(end, first + _YAHOO_MINUTES_PER_REQUEST)
        if first >= end:
            return Page(yahoo_rows(pd.DataFrame(), interval), end)
        times = _yahoo_range(first, until, interval)
        rows = yahoo_rows(self._request(lambda: self._history(symbol, word, *times)), interval)
        rows = rows[pd.DatetimeIndex(rows.index) + interval.offset <= self.now() - _YAHOO_LAG].copy()
        if symbol.endswith("=X"):
            rows["volume"] = float("nan")
        return _page(rows, start, until)

    def _history(self, symbol: str, word: str, first: Any, last: Any) -> pd.DataFrame:
        library = self._import()
        errors = library.exceptions
        try:
            proxy = self._settings.proxy
            with _yahoo_config(library, None if proxy is None else validate_proxy(proxy, self.name)):
                table = library.Ticker(symbol).history(
                    start=first, end=last, interval=word, auto_adjust=False, actions=False,
                    timeout=self._settings.timeout,
                )  # fmt: skip
        except (errors.YFTzMissingError, OSError) as error:
            response = getattr(error, "response", None)
            if isinstance(error, OSError) and getattr(response, "status_code", None) != 404:
                raise
            raise ParameterError(f"Yahoo has no '{symbol}': look its symbol up on finance.yahoo.com.") from error
        except errors.YFPricesMissingError as error:
            if "status_code" in str(error):
                raise self._connection_error(error) from error
            return pd.DataFrame()  # no trades in that time
        except errors.YFRateLimitError as error:
            raise RequestFailedError("limits the rate of requests", "wait a few minutes", retryable=True) from error
        except errors.YFException as error:
            raise self._connection_error(error) from error
        return table if isinstance(table, pd.DataFrame) else pd.DataFrame()


class Baostock(_EquitySource):
    """Baostock: shares and indices of Shanghai and Shenzhen, not adjusted, volume in shares, amount in yuan.

    Minute bars exist for shares only. Baostock labels them by their closing time, this source by their opening time.
    """

    name = "baostock"
    _library = "baostock"
    _intervals = _BAOSTOCK_INTERVALS

    def resolve(self, symbol: str) -> str:
        """Baostock's code: ``sh.600000`` for SH600000, 600000.SS, 600000.XSHG or 600000.

        Raises:
            ParameterError: If the text cannot be a code.
        """
        code = parse_chinese_code(symbol)
        if code is None or code[0] == "bj":
            raise ParameterError(f"Baostock has no '{symbol}': write a code such as sh.600000 or 000001.SZ.")
        return ".".join(code)

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """Supported intervals, ascending; for indices none below a day."""
        is_index = symbol.startswith(("sh.000", "sz.399"))
        return tuple(interval for interval in super().intervals(symbol) if not (interval.intraday and is_index))

    def page(self, symbol: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Page:
        """Return all rows of [start, end) with one query; see `PageSource.page`."""
        word = self._library_interval(symbol, interval)
        first, last = _trading_dates(start, end, interval)
        fields = "date,open,high,low,close,volume,amount"
        fields += ",time" if interval.intraday else ",tradestatus" if word == "d" else ""
        table = self._request(lambda: self._query(symbol, fields, f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}", word))
        return _page(baostock_rows(table, interval), start, end)

    def _query(self, symbol: str, fields: str, first: str, last: str, word: str) -> pd.DataFrame:
        library = self._import()
        with contextlib.redirect_stdout(io.StringIO()), _baostock_session(library, self._settings.timeout):
            response = library.query_history_k_data_plus(symbol, fields, first, last, word, "3")
            rows = []
            while response is not None and response.error_code == "0" and response.next():
                rows.append(response.get_row_data())
            _check_response(response)
            return pd.DataFrame(rows, columns=response.fields, dtype=str)


class AkShare(_EquitySource):
    """AkShare: shares of Shanghai, Shenzhen and Beijing from Eastmoney; not adjusted, amount in yuan.

    Volumes are converted from Eastmoney's lots of 100 to shares. Minute bars reach back some weeks; Eastmoney labels
    them by their closing time, this source by their opening time.
    """

    name = "akshare"
    _library = "akshare"
    _intervals = _AKSHARE_INTERVALS
    _proxy_hint = ", or set a proxy with HTTPS_PROXY"

    def resolve(self, symbol: str) -> str:
        """Exchange and code: ``sh600000`` for sh.600000, 600000.SS or 600000.

        Raises:
            ParameterError: If the text cannot be the code of a share.
        """
        code = parse_chinese_code(symbol)
        if code is None or (code[0] == "sh" and code[1][0] != "6"):
            raise ParameterError(f"AkShare has no share '{symbol}': write a code such as sh600000 or 000001.SZ.")
        return "".join(code)

    def page(self, symbol: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Page:
        """Return all rows of [start, end) with one call; see `PageSource.page`."""
        word = self._library_interval(symbol, interval)
        first, last = _trading_dates(start, end, interval)
        table = self._request(lambda: self._history(symbol[2:], word, first, last))
        return _page(akshare_rows(table, interval), start, end)

    def _history(self, digits: str, word: str, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
        library = self._import()
        if word.isdecimal():
            table = library.stock_zh_a_hist_min_em(
                symbol=digits, start_date=f"{first:%Y-%m-%d} 00:00:00", end_date=f"{last:%Y-%m-%d} 23:59:59",
                period=word, adjust="",
            )  # fmt: skip
        else:
            table = library.stock_zh_a_hist(
                symbol=digits, period=word, start_date=f"{first:%Y%m%d}", end_date=f"{last:%Y%m%d}", adjust="",
                timeout=self._settings.timeout,
            )  # fmt: skip
        return table if isinstance(table, pd.DataFrame) else pd.DataFrame()


def _yahoo_range(start: pd.Timestamp, end: pd.Timestamp, interval: Interval) -> tuple[Any, Any]:
    """Yahoo's arguments for [start, end): times for minute bars, else dates, the last one exclusive."""
    if interval.intraday:
        return start.to_pydatetime(), end.to_pydatetime()
    first, last = _trading_dates(start, end, interval)
    return first.date(), (last + pd.Timedelta(days=1)).date()


def _trading_dates(start: pd.Timestamp, end: pd.Timestamp, interval: Interval) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First and last date, inclusive, whose rows may open in [start, end); extended to whole weeks and months."""
    if interval.intraday:
        return start.tz_convert(_SHANGHAI), end.tz_convert(_SHANGHAI)
    first, last = start.floor("D"), end.floor("D")
    if interval.unit == "w":
        return first - pd.Timedelta(days=first.weekday()), last + pd.Timedelta(days=6)
    if interval.unit == "mo":
        return first.replace(day=1), last + pd.offsets.MonthEnd(0)
    return first, last


def _page(rows: pd.DataFrame, start: pd.Timestamp, until: pd.Timestamp) -> Page:
    return Page(rows[(rows.index >= start) & (rows.index < until)], until)


@contextlib.contextmanager
def _yahoo_config(library: Any, proxy: str | None) -> Iterator[None]:
    """Make yfinance raise its exceptions, which it hides by default, and use the proxy; restore both afterwards."""
    debug, network = library.config.debug, library.config.network
    before = debug.hide_exceptions, network.proxy
    debug.hide_exceptions, network.proxy = False, proxy or before[1]
    try:
        yield
    finally:
        debug.hide_exceptions, network.proxy = before


@contextlib.contextmanager
def _baostock_session(library: Any, timeout: float) -> Iterator[None]:
    """Log in to Baostock, with a timeout on its socket, and log out."""
    _check_response(library.login())
    connection = getattr(library.common.context, "default_socket", None)
    if connection is not None:
        connection.settimeout(timeout)
    try:
        yield
    finally:
        library.logout()


def _check_response(response: Any) -> None:
    """Raise what a response of Baostock reports as an error."""
    if response is None or response.error_code != "0":
        details = "no response" if response is None else f"{response.error_code}: {response.error_msg}"
        raise RequestFailedError(
            f"rejected the request ({details})", "check the code, or try again later", retryable=True
        )


def _first_line(error: Exception) -> str:
    """An exception's message on one line, without passwords of URLs."""
    message = re.sub(r"//[^/@\s]*@", "//", str(error))
    return " ".join(message.split())[:120] or type(error).__name__


def _settings(name: str) -> SourceSettings:
    from kronos.settings import SourceSettings, get_settings

    return get_settings().sources.get(name, SourceSettings())

"""Vendors of equity data, through the libraries that people use for them: thin, and only as reliable as these are.

`Yahoo` (yfinance), `Baostock` and `AkShare` are `PageSource`s of shares. All need ``pip install 'kronos[equities]'``.
Prices are not adjusted for dividends: what a candle says does not change later, except that Yahoo rewrites the past
when shares are split. The clock is this machine's.
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
from kronos.sources.base import Page
from kronos.sources.http import RequestFailedError, call_with_retry, checked_proxy, variable

if TYPE_CHECKING:
    from kronos.settings import SourceSettings

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


_YAHOO_SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.\-=^&]{0,24}")
_YAHOO_CHINA = {"sh": "SS", "sz": "SZ"}
_YAHOO = {"1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1h", "1d": "1d", "1w": "1wk", "1mo": "1mo"}
_YAHOO_KEEPS = {"1m": 29, "5m": 59, "15m": 59, "30m": 59, "1h": 729}  # days
_YAHOO_MINUTES_AT_ONCE = pd.Timedelta(days=7)
_YAHOO_LAG = pd.Timedelta(minutes=30)  # many exchanges' prices come up to 20 minutes late
_BAOSTOCK = {"5m": "5", "15m": "15", "30m": "30", "1h": "60", "1d": "d", "1w": "w", "1mo": "m"}
_AKSHARE = {"5m": "5", "15m": "15", "30m": "30", "1h": "60", "1d": "daily", "1w": "weekly", "1mo": "monthly"}
_LIBRARY_FAULTS = (KeyError, TypeError, ValueError, IndexError, AttributeError)  # how they say that an answer was odd
_ONE_AT_A_TIME = threading.Lock()  # their settings and sessions are the whole process's


class _Vendor:
    """What the vendors have in common.

    Attributes:
        name: What it is called: ``yahoo``.
    """

    name: str
    _library: str
    _words: dict[str, str]
    _way: str = ""  # what else to do where the network is the fault

    def __init__(self, settings: SourceSettings | None = None, *, wait: float = 0.5) -> None:
        """Prepare to ask.

        Args:
            settings: Timeout, attempts and patience (and for Yahoo the proxy); None reads the environment.
            wait: Seconds before the first repetition of a request that failed.

        Raises:
            ParameterError: If the library is not installed.
        """
        if importlib.util.find_spec(self._library) is None:
            raise ParameterError(self._missing())
        self._settings = settings if settings is not None else _settings(self.name)
        self._wait = wait

    def now(self) -> pd.Timestamp:
        """The time on this machine's clock; UTC."""
        return pd.Timestamp.now(tz="UTC")

    def intervals(self, symbol: str) -> tuple[Interval, ...]:  # noqa: ARG002 - the protocol's argument
        """What the vendor serves, ascending."""
        return tuple(Interval.parse(one) for one in self._words)

    def _missing(self) -> str:
        return f"{type(self).__name__} needs {self._library}; install it with pip install 'kronos[equities]'."

    def _import(self) -> Any:
        try:
            return importlib.import_module(self._library)
        except ImportError as error:
            raise ParameterError(self._missing()) from error

    def _unreachable(self, error: Exception) -> RequestFailedError:
        return RequestFailedError(f"could not be reached ({_line(error)})", f"check the network{self._way}", again=True)

    def _word(self, symbol: str, interval: Interval) -> str:
        served = self.intervals(symbol)
        if interval not in served:
            listed = ", ".join(str(one) for one in served)
            raise ParameterError(f"{type(self).__name__} has no {interval} candles of {symbol}, only {listed}.")
        return self._words[str(interval)]

    def _ask(self, call: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """A library's table; asked for again where that may help, and its exceptions in words."""

        def once() -> pd.DataFrame:
            try:
                with _ONE_AT_A_TIME:
                    return call()
            except KronosError:
                raise
            except OSError as error:
                raise self._unreachable(error) from error
            except _LIBRARY_FAULTS as error:
                reason = f"answered what {self._library} cannot read ({_line(error)})"
                mend = f"see to the symbol, or update {self._library}"
                raise RequestFailedError(reason, mend, again=isinstance(error, ValueError)) from error

        one = self._settings
        name = type(self).__name__
        return call_with_retry(once, name=name, attempts=one.attempts, patience=one.patience, wait=self._wait)


class Yahoo(_Vendor):
    """Yahoo Finance through yfinance: shares, indices, funds, currencies of the whole world.

    Prices are not adjusted for dividends (``auto_adjust=False``), but for splits, as Yahoo does. There is no amount,
    and no volume of currencies. Minute bars reach back 30 days (1m), 60 days (5m to 30m) or 730 days (1h), no further.
    Prices of many exchanges come late: a candle counts half an hour after it closed.
    """

    name = "yahoo"
    _library = "yfinance"
    _words = _YAHOO
    _way = f", or set a proxy with {variable('yahoo', 'proxy')}"

    def resolve(self, symbol: str) -> str:
        """Yahoo's symbol: ``AAPL``, ``^GSPC``, ``0700.HK``; ``600000.SS`` for sh.600000, SH600000 or 600000.

        Raises:
            ParameterError: If it cannot be one.
        """
        exchange, digits = chinese_code(symbol) or ("", "")
        if exchange in _YAHOO_CHINA:
            return f"{digits}.{_YAHOO_CHINA[exchange]}"
        plain = symbol.strip().upper()
        if exchange or _YAHOO_SYMBOL.fullmatch(plain) is None:
            raise ParameterError(f"Yahoo has no '{symbol}'; write its own symbol, such as AAPL, ^GSPC or 600000.SS.")
        return plain

    def page(self, symbol: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Page:
        """See `PageSource`; one call of the library for [start, end), minute by minute at most 7 days of it."""
        word = self._word(symbol, interval)
        first, until = start, end
        if word in _YAHOO_KEEPS:
            first = max(start, self.now() - pd.Timedelta(days=_YAHOO_KEEPS[word]))
            until = end if first >= end or word != "1m" else min(end, first + _YAHOO_MINUTES_AT_ONCE)
        if first >= end:
            return Page(yahoo_rows(pd.DataFrame(), interval), end)
        rows = yahoo_rows(self._ask(lambda: self._history(symbol, word, *_asked(first, until, interval))), interval)
        rows = rows[pd.DatetimeIndex(rows.index) + interval.offset <= self.now() - _YAHOO_LAG].copy()
        if symbol.endswith("=X"):
            rows["volume"] = float("nan")
        return _page(rows, start, until)

    def _history(self, symbol: str, word: str, first: Any, last: Any) -> pd.DataFrame:
        library = self._import()
        faults = library.exceptions
        try:
            proxy = self._settings.proxy
            with _outspoken(library, None if proxy is None else checked_proxy(proxy, self.name)):
                table = library.Ticker(symbol).history(
                    start=first, end=last, interval=word, auto_adjust=False, actions=False,
                    timeout=self._settings.timeout,
                )  # fmt: skip
        except (faults.YFTzMissingError, OSError) as error:
            answer = getattr(error, "response", None)
            if isinstance(error, OSError) and getattr(answer, "status_code", None) != 404:
                raise
            raise ParameterError(f"Yahoo has no '{symbol}'; look its symbol up on finance.yahoo.com.") from error
        except faults.YFPricesMissingError as error:
            if "status_code" in str(error):
                raise self._unreachable(error) from error
            return pd.DataFrame()  # nothing was traded in that time
        except faults.YFRateLimitError as error:
            raise RequestFailedError("takes no more requests for now", "wait a few minutes", again=True) from error
        except faults.YFException as error:
            raise self._unreachable(error) from error
        return table if isinstance(table, pd.DataFrame) else pd.DataFrame()


class Baostock(_Vendor):
    """Baostock: shares and indices of Shanghai and Shenzhen, not adjusted, volume in shares, amount in yuan.

    Minute bars are those of shares only; Baostock stamps them with their end, here they are told by their opening.
    """

    name = "baostock"
    _library = "baostock"
    _words = _BAOSTOCK

    def resolve(self, symbol: str) -> str:
        """Baostock's code: ``sh.600000`` for SH600000, 600000.SS, 600000.XSHG or 600000.

        Raises:
            ParameterError: If it cannot be one.
        """
        code = chinese_code(symbol)
        if code is None or code[0] == "bj":
            raise ParameterError(f"Baostock has no '{symbol}'; write a code such as sh.600000 or 000001.SZ.")
        return ".".join(code)

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """What it serves, ascending; of an index nothing shorter than days."""
        every = super().intervals(symbol)
        return tuple(one for one in every if not (one.intraday and symbol.startswith(("sh.000", "sz.399"))))

    def page(self, symbol: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Page:
        """See `PageSource`; one query for the whole of [start, end)."""
        word = self._word(symbol, interval)
        first, last = _trading_dates(start, end, interval)
        fields = "date,open,high,low,close,volume,amount"
        fields += ",time" if interval.intraday else ",tradestatus" if word == "d" else ""
        table = self._ask(lambda: self._query(symbol, fields, f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}", word))
        return _page(baostock_rows(table, interval), start, end)

    def _query(self, symbol: str, fields: str, first: str, last: str, word: str) -> pd.DataFrame:
        library = self._import()
        with contextlib.redirect_stdout(io.StringIO()), _session(library, self._settings.timeout):
            answer = library.query_history_k_data_plus(symbol, fields, first, last, word, "3")
            rows = []
            while answer is not None and answer.error_code == "0" and answer.next():
                rows.append(answer.get_row_data())
            _check(answer)
            return pd.DataFrame(rows, columns=answer.fields, dtype=str)


class AkShare(_Vendor):
    """AkShare: shares of Shanghai, Shenzhen and Beijing as Eastmoney tells them; not adjusted, amount in yuan.

    Volumes are in shares (Eastmoney counts lots of 100). Minute bars reach back some weeks; Eastmoney stamps them with
    their end, here they are told by their opening.
    """

    name = "akshare"
    _library = "akshare"
    _words = _AKSHARE
    _way = ", or set a proxy with HTTPS_PROXY"

    def resolve(self, symbol: str) -> str:
        """Exchange and code: ``sh600000`` for sh.600000, 600000.SS or 600000.

        Raises:
            ParameterError: If it cannot be a share's.
        """
        code = chinese_code(symbol)
        if code is None or (code[0] == "sh" and code[1][0] != "6"):
            raise ParameterError(f"AkShare has no share '{symbol}'; write a code such as sh600000 or 000001.SZ.")
        return "".join(code)

    def page(self, symbol: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Page:
        """See `PageSource`; one call of the library for the whole of [start, end)."""
        word = self._word(symbol, interval)
        first, last = _trading_dates(start, end, interval)
        table = self._ask(lambda: self._history(symbol[2:], word, first, last))
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


def _asked(start: pd.Timestamp, end: pd.Timestamp, interval: Interval) -> tuple[Any, Any]:
    """What to ask Yahoo for: moments for minute bars, for the others dates, the last one not included."""
    if interval.intraday:
        return start.to_pydatetime(), end.to_pydatetime()
    first, last = _trading_dates(start, end, interval)
    return first.date(), (last + pd.Timedelta(days=1)).date()


def _trading_dates(start: pd.Timestamp, end: pd.Timestamp, interval: Interval) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The first and last date whose rows may open in [start, end), both included; whole weeks and months."""
    if interval.intraday:
        return start.tz_convert("Asia/Shanghai"), end.tz_convert("Asia/Shanghai")
    first, last = start.floor("D"), end.floor("D")
    if interval.unit == "w":
        return first - pd.Timedelta(days=first.weekday()), last + pd.Timedelta(days=6)
    if interval.unit == "mo":
        return first.replace(day=1), last + pd.offsets.MonthEnd(0)
    return first, last


def _page(rows: pd.DataFrame, start: pd.Timestamp, until: pd.Timestamp) -> Page:
    return Page(rows[(rows.index >= start) & (rows.index < until)], until)


@contextlib.contextmanager
def _outspoken(library: Any, proxy: str | None) -> Iterator[None]:
    """Let yfinance raise what goes wrong, which it hides otherwise, and use the proxy."""
    debug, network = library.config.debug, library.config.network
    before = debug.hide_exceptions, network.proxy
    debug.hide_exceptions, network.proxy = False, proxy or before[1]
    try:
        yield
    finally:
        debug.hide_exceptions, network.proxy = before


@contextlib.contextmanager
def _session(library: Any, timeout: float) -> Iterator[None]:
    """A session with Baostock, whose server may be silent no longer than the timeout."""
    _check(library.login())
    line = getattr(library.common.context, "default_socket", None)
    if line is not None:
        line.settimeout(timeout)
    try:
        yield
    finally:
        library.logout()


def _check(answer: Any) -> None:
    """Refuse what Baostock says went wrong."""
    if answer is None or answer.error_code != "0":
        told = "nothing" if answer is None else f"{answer.error_code}: {answer.error_msg}"
        raise RequestFailedError(f"refuses the request ({told})", "see to the code, or try again later", again=True)


def _line(error: Exception) -> str:
    """An exception's message on one line, without the passwords of addresses in it."""
    said = re.sub(r"//[^/@\s]*@", "//", str(error))
    return " ".join(said.split())[:120] or type(error).__name__


def _settings(name: str) -> SourceSettings:
    from kronos.settings import SourceSettings, get_settings

    return get_settings().sources.get(name, SourceSettings())

"""Equity sources: notations and tables of the vendors, and the use of their libraries."""

import importlib
import inspect
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.candles import COLUMNS
from kronos.errors import ParameterError, SourceError
from kronos.intervals import Interval
from kronos.settings import SourceSettings
from kronos.sources.equities import (
    AkShare,
    Baostock,
    Yahoo,
    akshare_rows,
    baostock_rows,
    parse_chinese_code,
    yahoo_rows,
)

M1, M5, H1, D1, W1, MO1 = (Interval.parse(one) for one in ("1m", "5m", "1h", "1d", "1w", "1mo"))
VENDORS = [(Yahoo, "yfinance"), (Baostock, "baostock"), (AkShare, "akshare")]


def utc(time):
    return pd.Timestamp(time, tz="UTC")


def yahoo_table(times, zone="America/New_York"):
    index = pd.DatetimeIndex(times).tz_localize(zone).rename("Datetime")
    values = np.arange(len(index), dtype=float)
    table = {"Open": 10 + values, "High": 12 + values, "Low": 9 + values, "Close": 11 + values}
    return pd.DataFrame({**table, "Adj Close": 8 + values, "Volume": (100 * (1 + values)).astype(int)}, index=index)


def baostock_table(rows, *, minutes):
    fields = ["date", "open", "high", "low", "close", "volume", "amount", "time" if minutes else "tradestatus"]
    return pd.DataFrame(rows, columns=fields, dtype=str)


DAYS = baostock_table(
    [
        ["2024-01-02", "6.6300", "6.6800", "6.6200", "6.6200", "21653416", "143860700.2900", "1"],
        ["2024-01-03", "6.6200", "6.6200", "6.6200", "6.6200", "", "", "0"],
        ["2024-01-04", "6.6400", "6.6600", "6.5700", "6.6100", "23457843", "155017832.1200", "1"],
    ],
    minutes=False,
)
HOURS = baostock_table(
    [
        ["2024-01-02", "6.63", "6.66", "6.62", "6.65", "9000000", "59000000", "20240102103000000"],
        ["2024-01-02", "6.65", "6.66", "6.62", "6.63", "4000000", "26000000", "20240102113000000"],
        ["2024-01-02", "6.63", "6.64", "6.62", "6.62", "3000000", "20000000", "20240102140000000"],
        ["2024-01-02", "6.62", "6.63", "6.62", "6.62", "5653416", "38860700", "20240102150000000"],
    ],
    minutes=True,
)
EASTMONEY = ["开盘", "收盘", "最高", "最低", "成交量", "成交额", "振幅", "涨跌幅", "涨跌额", "换手率"]


def akshare_table(stamps, *, minutes):
    rows = [[10.0, 11.0, 12.0, 9.0, 2165, 143860700.0, 0.9, 0.1, 0.01, 0.07]] * len(stamps)
    table = pd.DataFrame(rows, columns=EASTMONEY)
    if minutes:
        return table.assign(时间=stamps)
    return table.assign(日期=pd.to_datetime(pd.Series(stamps)).dt.date, 股票代码="600000")


def test_yahoos_intraday_rows_without_the_row_of_the_moment():
    table = yahoo_table(["2024-01-02 09:30", "2024-01-02 10:30", "2024-01-02 11:17:42"])
    rows = yahoo_rows(table, H1)
    assert rows.index.tolist() == [utc("2024-01-02 14:30"), utc("2024-01-02 15:30")]
    assert list(rows.columns) == list(COLUMNS)
    assert rows.iloc[1].tolist()[:5] == [11.0, 13.0, 10.0, 12.0, 200.0]  # not the adjusted close
    assert rows["amount"].isna().all()


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "Pacific/Auckland", "UTC", "Europe/London"])
def test_yahoos_days_are_dates_in_any_timezone(zone):
    rows = yahoo_rows(yahoo_table(["2024-03-28", "2024-04-01"], zone), D1)
    assert rows.index.tolist() == [utc("2024-03-28"), utc("2024-04-01")]


def test_weeks_and_months_are_labelled_by_their_first_day():
    assert yahoo_rows(yahoo_table(["2024-01-01", "2024-01-08"]), W1).index.tolist() == [
        utc("2024-01-01"),
        utc("2024-01-08"),
    ]
    # Chinese vendors stamp them with their last trading day
    assert akshare_rows(akshare_table(["2024-01-05", "2024-01-11"], minutes=False), W1).index.tolist() == [
        utc("2024-01-01"),
        utc("2024-01-08"),
    ]
    months = baostock_rows(
        DAYS.assign(date=["2024-01-31", "2024-02-28", "2024-03-29"]).drop(columns="tradestatus"), MO1
    )
    assert months.index.tolist() == [utc("2024-01-01"), utc("2024-02-01"), utc("2024-03-01")]


def test_baostocks_hours_are_labelled_by_their_opening_time():
    rows = baostock_rows(HOURS, H1)
    local = ["09:30", "10:30", "13:00", "14:00"]
    assert rows.index.tz_convert("Asia/Shanghai").strftime("%H:%M").tolist() == local
    assert rows.index[0] == utc("2024-01-02 01:30")
    assert rows["volume"].sum() == 21653416


def test_baostocks_days_without_trading_are_dropped():
    rows = baostock_rows(DAYS, D1)
    assert rows.index.tolist() == [utc("2024-01-02"), utc("2024-01-04")]
    assert rows.iloc[0].tolist() == [6.63, 6.68, 6.62, 6.62, 21653416.0, 143860700.29]


def test_akshares_lots_become_shares_and_closing_times_opening_times():
    days = akshare_rows(akshare_table(["2024-01-02"], minutes=False), D1)
    assert days.iloc[0].tolist() == [10.0, 12.0, 9.0, 11.0, 216500.0, 143860700.0]
    stamps = ["2024-01-02 09:35:00", "2024-01-02 13:05:00"]
    assert akshare_rows(akshare_table(stamps, minutes=True), M5).index.tolist() == [
        utc("2024-01-02 01:30"),
        utc("2024-01-02 05:00"),
    ]


@pytest.mark.parametrize("convert", [yahoo_rows, baostock_rows, akshare_rows])
def test_empty_table_is_an_empty_page(convert):
    rows = convert(pd.DataFrame(), D1)
    assert (len(rows), list(rows.columns), str(rows.index.tz)) == (0, list(COLUMNS), "UTC")


def test_table_with_other_columns_is_rejected():
    with pytest.raises(SourceError, match="no column 'Close'"):
        yahoo_rows(yahoo_table(["2024-01-02"]).drop(columns="Close"), D1)


@given(st.sampled_from(["sh", "sz", "bj"]), st.integers(0, 999_999), st.sampled_from("lu"))
def test_notations_of_a_chinese_code_are_equivalent(exchange, number, case):
    digits = f"{number:06d}"
    after = {"sh": ["ss", "sh", "xshg"], "sz": ["sz", "xshe"], "bj": ["bj"]}[exchange]
    written = [f"{exchange}.{digits}", f"{exchange}{digits}", *(f"{digits}.{one}" for one in after), digits + after[0]]
    for one in written:
        assert parse_chinese_code(one.upper() if case == "u" else one) == (exchange, digits)


@given(st.text(max_size=12))
def test_other_text_is_not_a_chinese_code(text):
    code = parse_chinese_code(text)
    assert code is None or (code[0] in ("sh", "sz", "bj") and code[1] in text)


@pytest.mark.parametrize(
    ("plain", "exchange"),
    [("600000", "sh"), ("688001", "sh"), ("000001", "sz"), ("300750", "sz"), ("430047", "bj"), ("920001", "bj")],
)
def test_exchange_of_a_bare_code_follows_from_its_first_digits(plain, exchange):
    assert parse_chinese_code(plain) == (exchange, plain)


@pytest.mark.parametrize(("vendor", "library"), VENDORS)
def test_missing_library_is_reported_with_the_install_command(vendor, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        ParameterError, match=rf"needs {library}; install it with pip install 'kronos-forecast\[equities\]'\."
    ):
        vendor()


class Failures:
    """Stand-ins for the exceptions of yfinance."""

    class YFException(Exception):  # noqa: N818  (name in yfinance)
        pass

    YFTzMissingError = type("YFTzMissingError", (YFException,), {})
    YFPricesMissingError = type("YFPricesMissingError", (YFException,), {})
    YFRateLimitError = type("YFRateLimitError", (YFException,), {})


class FakeYahoo(ModuleType):
    """Stand-in for yfinance; `answers` are tables or exceptions, in order."""

    def __init__(self, *answers):
        super().__init__("yfinance")
        self.__spec__ = importlib.machinery.ModuleSpec("yfinance", None)
        self.answers, self.requests = list(answers), []
        self.exceptions = Failures
        self.config = SimpleNamespace(
            debug=SimpleNamespace(hide_exceptions=True), network=SimpleNamespace(proxy="before")
        )

    def Ticker(self, symbol):  # noqa: N802  (name in yfinance)
        return SimpleNamespace(history=lambda **options: self.history(symbol, options))

    def history(self, symbol, options):
        config = self.config
        self.requests.append({"symbol": symbol, **options, "proxy": config.network.proxy})
        assert config.debug.hide_exceptions is False
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def yahoo(monkeypatch):
    def make(*answers, **changes):
        library = FakeYahoo(*answers)
        monkeypatch.setitem(sys.modules, "yfinance", library)
        return Yahoo(SourceSettings(**{"attempts": 3, **changes}), wait=0.001), library

    return make


def test_yahoo_request_covers_whole_dates_and_the_page_the_range(yahoo):
    source, library = yahoo(yahoo_table(["2024-01-02", "2024-01-03", "2024-01-04"]), proxy="http://127.0.0.1:9")
    page = source.page("AAPL", D1, utc("2024-01-02 12:00"), utc("2024-01-03 00:00:01"))
    assert page.frame.index.tolist() == [utc("2024-01-03")]
    assert page.until == utc("2024-01-03 00:00:01")
    request = library.requests[0]
    assert (str(request["start"]), str(request["end"])) == ("2024-01-02", "2024-01-04")
    assert (request["interval"], request["auto_adjust"], request["proxy"]) == ("1d", False, "http://127.0.0.1:9")
    assert (library.config.debug.hide_exceptions, library.config.network.proxy) == (True, "before")


def test_yahoo_intraday_history_is_limited(yahoo):
    source, library = yahoo(yahoo_table([]), yahoo_table([]))
    old = source.page("AAPL", H1, utc("2020-01-01"), utc("2020-02-01"))
    assert (len(old.frame), old.until, library.requests) == (0, utc("2020-02-01"), [])
    now = source.now()
    assert source.page("AAPL", H1, utc("2020-01-01"), now).until == now
    assert library.requests[0]["start"] > (now - pd.Timedelta(days=730)).to_pydatetime()
    assert source.page("AAPL", M1, now - pd.Timedelta(days=20), now).until == now - pd.Timedelta(days=13)


def test_yahoo_candle_that_may_still_change_is_dropped(yahoo):
    now = pd.Timestamp.now(tz="UTC").floor("min")
    opens = [now - pd.Timedelta(minutes=minutes) for minutes in (180, 120, 80, 60)]  # the last one closed just now
    source, _ = yahoo(yahoo_table([one.tz_localize(None) for one in opens], "UTC"))
    page = source.page("AAPL", H1, opens[0], now)
    assert page.frame.index.tolist() == opens[:2]
    assert page.until == now


def test_yahoos_proxy_is_validated_and_its_password_never_shown(yahoo):
    span = (D1, utc("2024-01-01"), utc("2024-01-05"))
    source, _ = yahoo(proxy="gopher://user:secret@host")
    with pytest.raises(ParameterError, match="KRONOS_SOURCES__YAHOO__PROXY is not a proxy URL") as caught:
        source.page("AAPL", *span)
    assert "secret" not in str(caught.value)
    source, _ = yahoo(ConnectionError("no way through http://user:secret@host:1"), attempts=1)
    with pytest.raises(SourceError, match=r"no way through http://host:1") as failure:
        source.page("AAPL", *span)
    assert "secret" not in str(failure.value)


def test_yahoo_has_no_volume_of_currencies(yahoo):
    source, _ = yahoo(yahoo_table(["2024-01-02"], "Europe/London"))
    assert source.page("EURUSD=X", D1, utc("2024-01-01"), utc("2024-01-05")).frame["volume"].isna().all()


def test_errors_of_yfinance_are_reported(yahoo):
    span = (D1, utc("2024-01-01"), utc("2024-01-05"))
    unknown = OSError("HTTP Error 404")
    unknown.response = SimpleNamespace(status_code=404)
    source, _ = yahoo(Failures.YFTzMissingError("$NOPE: possibly delisted; no timezone found"), unknown)
    for _ in range(2):
        with pytest.raises(ParameterError, match=r"Yahoo has no 'NOPE'"):
            source.page("NOPE", *span)
    source, _ = yahoo(Failures.YFPricesMissingError("$AAPL: possibly delisted; no price data found (1d …)"))
    assert len(source.page("AAPL", *span).frame) == 0
    source, _ = yahoo(*[Failures.YFRateLimitError("Too Many Requests.")] * 3)
    with pytest.raises(SourceError, match=r"Yahoo limits the rate of requests, 3 times .*; wait a few minutes"):
        source.page("AAPL", *span)
    source, _ = yahoo(
        ConnectionError("refused"),
        Failures.YFPricesMissingError("$AAPL: (Yahoo status_code = 503)"),
        yahoo_table(["2024-01-02"]),
    )
    assert len(source.page("AAPL", *span).frame) == 1
    source, _ = yahoo(KeyError("chart"))
    with pytest.raises(SourceError, match=r"yfinance cannot read \('chart'\); check the symbol"):
        source.page("AAPL", *span)


class FakeBaostock(ModuleType):
    """Stand-in for baostock: sessions, and results row by row."""

    def __init__(self, table, errors=()):
        super().__init__("baostock")
        self.__spec__ = importlib.machinery.ModuleSpec("baostock", None)
        self.table, self.errors, self.requests, self.log = table, list(errors), [], []
        self.timeouts = []
        line = SimpleNamespace(settimeout=self.timeouts.append)
        self.common = SimpleNamespace(context=SimpleNamespace(default_socket=line))

    def login(self):
        print("login success!")  # noqa: T201  (as baostock does)
        self.log.append("login")
        code = self.errors.pop(0) if self.errors else "0"
        return SimpleNamespace(error_code=code, error_msg="网络接收错误。")

    def logout(self):
        self.log.append("logout")

    def query_history_k_data_plus(self, code, fields, start_date=None, end_date=None, frequency="d", adjustflag="3"):
        self.requests.append((code, fields, start_date, end_date, frequency, adjustflag))
        rows = iter(self.table[fields.split(",")].values.tolist())
        remaining = [len(self.table)]

        def following():
            remaining[0] -= 1
            return remaining[0] >= 0

        return SimpleNamespace(
            error_code="0", error_msg="success", fields=fields.split(","), next=following,
            get_row_data=lambda: next(rows),
        )  # fmt: skip


def test_baostock_queries_run_in_a_session_and_print_nothing(monkeypatch, capsys):
    library = FakeBaostock(HOURS, errors=["10002007"])
    monkeypatch.setitem(sys.modules, "baostock", library)
    source = Baostock(SourceSettings(timeout=7), wait=0.001)
    page = source.page("sh.600000", H1, utc("2024-01-02 02:00"), utc("2024-01-02 06:00"))
    assert page.frame.index.tolist() == [utc("2024-01-02 02:30"), utc("2024-01-02 05:00")]
    fields = "date,open,high,low,close,volume,amount,time"
    assert library.requests == [("sh.600000", fields, "2024-01-02", "2024-01-02", "60", "3")]
    assert library.log == ["login", "login", "logout"]
    assert library.timeouts == [7]
    assert capsys.readouterr().out == ""


def test_errors_of_baostock_are_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "baostock", FakeBaostock(DAYS, errors=["10002007"] * 2))
    source = Baostock(SourceSettings(attempts=2), wait=0.001)
    with pytest.raises(SourceError, match=r"Baostock rejected the request \(10002007: .*\), 2 times"):
        source.page("sh.600000", D1, utc("2024-01-01"), utc("2024-01-05"))
    page = source.page("sh.600000", D1, utc("2024-01-01"), utc("2024-01-05"))
    assert len(page.frame) == 2


def test_akshare_requests_cover_whole_weeks(monkeypatch):
    requests = []
    library = ModuleType("akshare")
    library.__spec__ = importlib.machinery.ModuleSpec("akshare", None)
    library.stock_zh_a_hist = lambda **options: (
        requests.append(options) or akshare_table(["2024-01-05", "2024-01-12"], minutes=False)
    )
    library.stock_zh_a_hist_min_em = lambda **options: (
        requests.append(options) or akshare_table(["2024-01-02 09:35:00"], minutes=True)
    )
    monkeypatch.setitem(sys.modules, "akshare", library)
    source = AkShare(SourceSettings(), wait=0.001)
    weeks = source.page(source.resolve("600000.SS"), W1, utc("2024-01-03"), utc("2024-01-09"))
    assert weeks.frame.index.tolist() == [utc("2024-01-08")]
    minutes = source.page("sh600000", M5, utc("2024-01-01"), utc("2024-01-03"))
    assert minutes.frame.index.tolist() == [utc("2024-01-02 01:30")]
    assert [
        (request["symbol"], request["period"], request["start_date"], request["end_date"]) for request in requests
    ] == [
        ("600000", "weekly", "20240101", "20240115"),
        ("600000", "5", "2024-01-01 00:00:00", "2024-01-03 23:59:59"),
    ]


@pytest.fixture
def libraries(monkeypatch):
    for library in ("yfinance", "baostock", "akshare"):
        module = ModuleType(library)
        module.__spec__ = importlib.machinery.ModuleSpec(library, None)
        monkeypatch.setitem(sys.modules, library, module)


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize(
    ("vendor", "symbol", "name"),
    [
        (Yahoo, "aapl", "AAPL"), (Yahoo, "^gspc", "^GSPC"), (Yahoo, "BRK-B", "BRK-B"), (Yahoo, "eurusd=x", "EURUSD=X"),
        (Yahoo, "sh.600000", "600000.SS"), (Yahoo, "000001", "000001.SZ"), (Yahoo, "0700.HK", "0700.HK"),
        (Baostock, "SH600000", "sh.600000"), (Baostock, "600000.XSHG", "sh.600000"),
        (Baostock, "399001.SZ", "sz.399001"),
        (AkShare, "sh.600000", "sh600000"), (AkShare, "000001", "sz000001"), (AkShare, "430047", "bj430047"),
    ],
)  # fmt: skip
def test_symbols_are_resolved_to_the_vendors_notation(vendor, symbol, name):
    assert vendor().resolve(symbol) == name


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize(
    ("vendor", "symbol"),
    [(Yahoo, "A B"), (Yahoo, ""), (Yahoo, "bj430047"), (Baostock, "AAPL"), (Baostock, "bj.430047"), (Baostock, "70000"),
     (AkShare, "AAPL"), (AkShare, "sh.000001"), (AkShare, "700000")],
)  # fmt: skip
def test_invalid_symbols_are_rejected_with_an_example(vendor, symbol):
    with pytest.raises(ParameterError, match=r"write .* such as "):
        vendor().resolve(symbol)


@pytest.mark.usefixtures("libraries")
def test_intervals_ascend_and_others_are_rejected():
    for vendor, symbol in [(Yahoo, "AAPL"), (Baostock, "sh.600000"), (AkShare, "sh600000")]:
        source = vendor()
        served = source.intervals(symbol)
        assert [one.seconds for one in served] == sorted(one.seconds for one in served)
        assert {M5, H1, D1, W1, MO1} <= set(served)
        with pytest.raises(ParameterError, match="no 2h candles of"):
            source.page(symbol, Interval(2, "h"), utc("2024-01-01"), utc("2024-01-02"))
    assert Baostock().intervals("sh.000001") == (D1, W1, MO1)


@pytest.mark.parametrize(
    ("library", "names", "arguments"),
    [
        ("yfinance", "Ticker.history", {"start", "end", "interval", "auto_adjust", "actions", "timeout"}),
        ("yfinance", "exceptions.YFPricesMissingError", {"ticker"}),
        ("baostock", "query_history_k_data_plus", {"code", "fields", "start_date", "end_date", "frequency"}),
        ("akshare", "stock_zh_a_hist", {"symbol", "period", "start_date", "end_date", "adjust", "timeout"}),
        ("akshare", "stock_zh_a_hist_min_em", {"symbol", "period", "start_date", "end_date", "adjust"}),
    ],
)
def test_libraries_accept_the_arguments_in_use(library, names, arguments):
    found = pytest.importorskip(library)
    for name in names.split("."):
        found = getattr(found, name)
    taken = inspect.signature(found).parameters
    assert arguments <= set(taken) or any(one.kind is one.VAR_KEYWORD for one in taken.values())

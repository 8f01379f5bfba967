"""Reading column names, formats, encodings and times; writing; one sentence for each kind of unreadable file."""

import gzip
import io
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.candles import COLUMNS, Candles, read_candles, read_many, split_long, write_candles
from kronos.errors import DataError, KronosError, ParameterError, StorageError

STAMPS = pd.date_range("2024-01-01", periods=40, freq="h")


def frame(rows: int = 40, freq: str = "h", name: str = "timestamps") -> pd.DataFrame:
    close = 100 + np.sin(np.arange(rows))
    return pd.DataFrame(
        {
            name: pd.date_range("2024-01-01", periods=rows, freq=freq),
            "open": close, "high": close + 1, "low": close - 1, "close": close,
            "volume": np.arange(1.0, rows + 1), "amount": np.arange(1.0, rows + 1) * 100,
        }
    )  # fmt: skip


def csv(tmp_path: Path, text: str | bytes, name: str = "a.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def codes(candles: Candles) -> set[str]:
    return {f.code for f in candles.findings}


def lines(stamps: list[str], header: str = "timestamps,open,high,low,close,volume") -> str:
    return "\n".join([header, *(f"{s},10,11,9,10,5" for s in stamps)])


def test_clean_frames_are_unchanged() -> None:
    candles = read_candles(frame())
    assert candles.findings == ()
    assert tuple(candles.frame.columns) == COLUMNS
    assert candles.frame.index.name == "timestamps"
    assert str(candles.interval) == "1h"
    assert candles.timezone is None
    assert candles.has_volume
    assert candles.has_amount
    np.testing.assert_array_equal(candles.frame.to_numpy(), frame()[list(COLUMNS)].to_numpy())


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather", ".csv.gz", ".zip", ".tsv"])
def test_all_formats_give_the_same_candles(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"prices{suffix}"
    table = frame()
    if suffix == ".parquet":
        table.to_parquet(path)
    elif suffix == ".feather":
        table.to_feather(path)
    else:
        table.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    candles = read_candles(path)
    pd.testing.assert_frame_equal(candles.frame, read_candles(table).frame, check_index_type=False)
    assert candles.source == path.name


def test_times_in_the_index(tmp_path: Path) -> None:
    indexed = frame().set_index("timestamps").rename_axis(None)
    indexed.to_parquet(tmp_path / "a.parquet")
    for source in (indexed, tmp_path / "a.parquet"):
        assert read_candles(source).index.equals(read_candles(frame()).index)


@pytest.mark.parametrize(
    "names",
    [
        ["Date", "Open", "High", "Low", "Close", "Volume", "Turnover"],
        ["open_time", "o", "h", "l", "c", "v", "quote_volume"],
        ["日期", "开盘", "最高", "最低", "收盘", "成交量", "成交额"],
        [" Timestamp ", "OPEN", "HIGH ", "low", "Close", "Vol", "Amt"],
        ["<DATE>", "<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<VOL>", "amount"],
        ["ds", "open price", "high price", "low price", "close price", "volume", "money"],
    ],
)
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "gbk", "utf-16"])
def test_column_names_and_encodings(tmp_path: Path, names: list[str], codec: str) -> None:
    table = frame().set_axis(names, axis=1)
    path = csv(tmp_path, table.to_csv(index=False).encode(codec))
    np.testing.assert_allclose(read_candles(path).frame.to_numpy(), read_candles(frame()).frame.to_numpy())


def test_given_columns_take_precedence_in_either_direction(tmp_path: Path) -> None:
    table = frame().rename(columns={"close": "Last Trade"}).assign(c=5.0)
    for columns in ({"close": "Last Trade"}, {"Last Trade": "close"}):
        assert read_candles(table, columns=columns).frame["close"].iloc[0] == 100
    with pytest.raises(DataError, match="no column 'Nope'"):
        read_candles(table, columns={"close": "Nope"})
    with pytest.raises(ParameterError, match="'price'"):
        read_candles(table, columns={"price": "c", "close": "c"})


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    path = csv(tmp_path, frame().to_csv(index=False, sep=delimiter))
    assert len(read_candles(path)) == 40


def test_decimal_commas_and_thousands(tmp_path: Path) -> None:
    path = csv(tmp_path, frame().to_csv(index=False, sep=";", decimal=","))
    np.testing.assert_allclose(read_candles(path).frame["close"], frame()["close"])
    grouped = frame().assign(close="1,234.5", high="1,300", low="1,100.25", open="1,200")
    assert read_candles(csv(tmp_path, grouped.to_csv(index=False))).frame["close"].iloc[0] == 1234.5


EPOCH = STAMPS.as_unit("ns").asi8


@pytest.mark.parametrize("factor", [10**9, 10**6, 10**3, 1])
@pytest.mark.parametrize("as_text", [False, True])
def test_epoch_numbers_of_all_units(tmp_path: Path, factor: int, as_text: bool) -> None:
    table = frame().assign(timestamps=EPOCH // factor)
    source = csv(tmp_path, table.to_csv(index=False)) if as_text else table
    candles = read_candles(source)
    assert candles.timezone == "UTC"
    assert (candles.index == STAMPS.tz_localize("UTC")).all()
    shanghai = read_candles(source, timezone="Asia/Shanghai")
    assert shanghai.start == pd.Timestamp("2024-01-01 08:00", tz="Asia/Shanghai")


@pytest.mark.parametrize(
    "pattern",
    [
        "%Y%m%d%H%M",
        "%Y%m%d%H%M%S",
        "%Y-%m-%d %H:%M",
        "%Y/%m/%d %H:%M:%S",
        "%Y.%m.%d %H:%M",
        "%Y-%m-%dT%H:%M:%S.%f",
        "%d-%b-%Y %H:%M",
        "%b %d, %Y %I:%M %p",
        "%Y年%m月%d日 %H时%M分",
    ],
)
def test_time_formats(tmp_path: Path, pattern: str) -> None:
    path = csv(tmp_path, lines([s.strftime(pattern).replace(",", "") for s in STAMPS]))
    candles = read_candles(path)
    assert (candles.index == STAMPS).all()
    assert candles.timezone is None


def test_calendar_numbers_are_dates() -> None:
    table = frame(freq="D").assign(timestamps=[int(s.strftime("%Y%m%d")) for s in frame(freq="D")["timestamps"]])
    assert str(read_candles(table).interval) == "1d"


@pytest.mark.parametrize(
    ("date", "clock"),
    [("%Y-%m-%d", "%H:%M"), ("%Y.%m.%d", "%H:%M:%S"), ("%Y%m%d", "%H%M"), ("%Y-%m-%d", "%Y%m%d%H%M%S000")],
)
def test_date_and_time_columns_are_joined(tmp_path: Path, date: str, clock: str) -> None:
    table = frame().drop(columns="timestamps").assign(date=STAMPS.strftime(date), time=STAMPS.strftime(clock))
    assert (read_candles(csv(tmp_path, table.to_csv(index=False))).index == STAMPS).all()
    assert (read_candles(table).index == STAMPS).all()


def test_day_first_and_month_first_are_detected(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-20", periods=30, freq="D")
    for pattern, code in (("%d/%m/%Y", "day-first"), ("%m/%d/%Y", "month-first")):
        candles = read_candles(csv(tmp_path, lines([d.strftime(pattern) for d in days])))
        assert (candles.index == days).all()
        assert any(code in f.message for f in candles.findings)


def test_ambiguous_dates_raise(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="YYYY-MM-DD"):
        read_candles(csv(tmp_path, lines([f"0{i}/02/2024" for i in range(1, 9)])))


def test_one_offset_keeps_its_wall_clock_and_several_become_utc(tmp_path: Path) -> None:
    one = read_candles(csv(tmp_path, lines([s.isoformat() + "+08:00" for s in STAMPS])))
    assert one.start.isoformat() == "2024-01-01T00:00:00+08:00"
    berlin = pd.date_range("2024-03-30", periods=48, freq="h", tz="Europe/Berlin")
    path = csv(tmp_path, lines([s.isoformat() for s in berlin]))
    mixed = read_candles(path)
    assert mixed.timezone == "UTC"
    assert "several-offsets" in codes(mixed)
    assert (read_candles(path, timezone="Europe/Berlin").index == berlin).all()


def test_zulu_times_are_utc(tmp_path: Path) -> None:
    assert read_candles(csv(tmp_path, lines([s.isoformat() + "Z" for s in STAMPS]))).timezone == "UTC"


def test_naive_times_are_the_wall_clock_of_the_timezone() -> None:
    assert read_candles(frame(), timezone="America/New_York").start == pd.Timestamp("2024-01-01", tz="America/New_York")


@pytest.mark.parametrize("day", ["2024-11-03", "2024-03-10"])
def test_changes_of_daylight_saving_time_are_resolved_in_order(day: str) -> None:
    real = pd.date_range(day, periods=30, freq="h", tz="America/New_York")
    table = frame(30).assign(timestamps=real.tz_localize(None))
    candles = read_candles(table, timezone="America/New_York")
    assert (candles.index == real).all()


def test_exchange_dumps_without_header(tmp_path: Path) -> None:
    rows = [f"{ms // 10**6},10,11,9,10,5,{ms // 10**6 + 1},50,7,1,2,0" for ms in EPOCH]
    candles = read_candles(csv(tmp_path, "\n".join(rows)))
    assert (candles.index == STAMPS.tz_localize("UTC")).all()
    assert candles.frame["amount"].iloc[0] == 50
    assert "no-header" in codes(candles)


def test_column_levels_of_download_libraries_are_dropped() -> None:
    table = frame().set_index("timestamps")
    table.columns = pd.MultiIndex.from_product([table.columns, ["AAPL"]], names=["Price", "Ticker"])
    assert len(read_candles(table)) == 40


def test_no_volume_gives_zero_volume_and_amount() -> None:
    candles = read_candles(frame().drop(columns="volume"))
    assert (candles.frame[["volume", "amount"]] == 0).all().all()
    assert not candles.has_volume
    assert not candles.has_amount
    assert "no-volume" in codes(candles)


def test_no_amount_is_volume_times_mean_price() -> None:
    candles = read_candles(frame().drop(columns="amount"))
    expected = frame()["volume"] * frame()[["open", "high", "low", "close"]].mean(axis=1)
    np.testing.assert_allclose(candles.frame["amount"], expected)
    assert not candles.has_amount
    assert "no-amount" in codes(candles)


def test_the_input_frame_is_not_modified() -> None:
    table = frame().iloc[::-1]
    before = table.copy(deep=True)
    read_candles(table)
    pd.testing.assert_frame_equal(table, before)


def test_long_frames_are_split() -> None:
    table = pd.concat([frame().assign(unique_id="B"), frame(30, "D").assign(unique_id="A")]).rename(
        columns={"timestamps": "ds"}
    )
    found = split_long(table)
    assert list(found) == ["B", "A"]
    assert [str(c.interval) for c in found.values()] == ["1h", "1d"]
    assert [c.symbol for c in found.values()] == ["B", "A"]
    with pytest.raises(DataError, match="2 instruments"):
        read_candles(table)
    with pytest.raises(DataError, match="unique_id"):
        split_long(frame())


def test_findings_of_long_frames_number_rows_of_the_whole(tmp_path: Path) -> None:
    table = pd.concat([frame().assign(symbol="X"), frame().assign(symbol="Y")], ignore_index=True)
    table.loc[45, "high"] = 1.0
    found = read_many(csv(tmp_path, table.to_csv(index=False)))
    assert found["X"].findings == ()
    assert found["Y"].findings[0].rows == (47,)


def test_one_symbol_column_names_the_candles() -> None:
    assert read_candles(frame().assign(ticker="ACME")).symbol == "ACME"


UNREADABLE = {
    "missing.csv": (None, "no file"),
    "empty.csv": (b"", "empty"),
    "spaces.csv": (b" \n\n", "empty"),
    "header.csv": (b"timestamps,open,high,low,close\n", "no rows"),
    "one.csv": (b"timestamps,open,high,low,close\n2024-01-01,1,1,1,1\n", "at least 2"),
    "columns.csv": (b"timestamps,open,high,bid\n2024-01-01,1,1,1\n", "low, close"),
    "notime.csv": (b"open,high,low,close\n1,1,1,1\n2,2,2,2\n", "no time column"),
    "word.csv": (b"timestamps,open,high,low,close\n" + b"soon,1,1,1,1\n" * 9, "line 2"),
    "number.csv": (b"timestamps,open,high,low,close\n" + b"2024-01-01,x,1,1,1\n" * 9, "line 2: open 'x'"),
    "ragged.csv": (b"date,open,high,low,close\n2024-01-01,1,1,1,1\n2024-01-02,1,1,1,1,9,9\n", "Line 3"),
    "binary.csv": (bytes(range(256)), "neither text"),
    "text.parquet": (b"date,open,high,low,close\n", "suffix of Parquet"),
    "text.feather": (b"date,open,high,low,close\n", "suffix of Feather"),
    "short.parquet": (b"PAR1abcdefPAR1", "corrupt Parquet"),
    "short.feather": (b"ARROW1\x00\x00abc", "corrupt Feather"),
    "short.csv.gz": (gzip.compress(b"a,b")[:9], "corrupt"),
    "pickle.csv": (pickle.dumps({"a": 1}), "never opened"),
    "json.csv": (b'[{"open": 1, "close": 2}]', "JSON"),
    "excel.csv": (b"\xd0\xcf\x11\xe0abc", "Excel"),
    "serial.csv": (b"date,open,high,low,close\n45293,1,1,1,1\n45294,1,1,1,1\n", "spreadsheet"),
    "twice.csv": (b"date,open,high,low,close,Close\n2024-01-01,1,1,1,1,1\n2024-01-02,1,1,1,1,1\n", "two columns"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_files_raise_one_sentence_with_the_file_name(tmp_path: Path, name: str) -> None:
    content, word = UNREADABLE[name]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_candles(path)
    message = str(caught.value)
    assert word in message
    assert name in message
    assert message.endswith(".")
    assert "\n" not in message


def test_parquet_with_the_suffix_of_csv_raises(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "a.csv")
    with pytest.raises(DataError, match="is a Parquet file"):
        read_candles(tmp_path / "a.csv")


def test_archives_with_other_content_raise(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    with pytest.raises(DataError, match="2 files"):
        read_candles(csv(tmp_path, buffer.getvalue(), "a.zip"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "x")
    with pytest.raises(DataError, match="Excel"):
        read_candles(csv(tmp_path, buffer.getvalue(), "a.csv"))


def test_sources_above_the_limits_raise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = csv(tmp_path, frame().to_csv(index=False))
    packed = csv(tmp_path, gzip.compress(b"a" * 10_000), "bomb.csv.gz")
    monkeypatch.setattr("kronos.candles.readers.MAX_ROWS", 20)
    for source in (path, frame()):
        with pytest.raises(DataError, match="rows, above the limit of 20"):
            read_candles(source)
    monkeypatch.setattr("kronos.candles.content.MAX_BYTES", 1000)
    for source in (path, packed):
        with pytest.raises(DataError, match="GiB"):
            read_candles(source)


@pytest.mark.parametrize("zone", ["Mars/Base", "America", "", "../etc/passwd", "Asia/Shangai"])
def test_unknown_timezones_raise(zone: str) -> None:
    with pytest.raises(ParameterError, match="timezone"):
        read_candles(frame(), timezone=zone)


def test_other_sources_raise() -> None:
    for source in (None, 5, "", [1, 2]):
        with pytest.raises(KronosError):
            read_candles(source)
    with pytest.raises(DataError, match="is a folder"):
        read_candles(Path())


def test_given_intervals_are_checked() -> None:
    assert str(read_candles(frame(), interval="60min").interval) == "1h"
    with pytest.raises(ParameterError, match="contradicts"):
        read_candles(frame(), interval="1d")
    with pytest.raises(ParameterError, match="Invalid interval 'often'"):
        read_candles(frame(), interval="often")


@pytest.mark.parametrize("interval", ["5m", "20m"])
def test_intervals_much_shorter_than_all_differences_raise(interval: str) -> None:
    with pytest.raises(ParameterError, match=f"interval={interval} contradicts DataFrame, .* mostly 1h apart"):
        read_candles(frame(), interval=interval)


def test_candles_without_trades_may_be_missing() -> None:
    minutes = [0, 3, 5, 6, 10, 13, 17, 19, 22, 25, 29, 33]
    table = frame(len(minutes)).assign(timestamps=STAMPS[0] + pd.to_timedelta(minutes, unit="min"))
    assert str(read_candles(table, interval="1m").interval) == "1m"


@pytest.mark.parametrize(("name", "simulated"), [("Simulated_btc.csv", True), ("btc_simulated.csv", False)])
def test_files_named_simulated_are_marked(tmp_path: Path, name: str, simulated: bool) -> None:
    path = csv(tmp_path, frame().assign(unique_id="A").to_csv(index=False), name)
    assert read_candles(path).simulated is simulated
    assert read_many(path)["A"].simulated is simulated


def test_dumps_with_trade_counts_have_no_amount(tmp_path: Path) -> None:
    rows = [f"{ns // 10**9},1000,1100,900,1000,5,{{last}}" for ns in EPOCH]
    assert read_candles(csv(tmp_path, "\n".join(rows).format(last=5000))).frame["amount"].iloc[0] == 5000
    trades = read_candles(csv(tmp_path, "\n".join(rows).format(last=7)))
    assert not trades.has_amount
    assert trades.frame["amount"].iloc[0] == 5 * 1000


def test_joined_dumps_of_several_epoch_units(tmp_path: Path) -> None:
    joined = [ns // (10**6 if i < 20 else 10**3) for i, ns in enumerate(EPOCH)]
    candles = read_candles(csv(tmp_path, lines([str(n) for n in joined])))
    assert (candles.index == STAMPS.tz_localize("UTC")).all()
    assert any("(ms and us)" in f.message for f in candles.findings)


def test_old_dates_in_seconds_are_one_unit(tmp_path: Path) -> None:
    stamps = pd.date_range("1969-06-01 14:30", periods=3000, freq="D")
    candles = read_candles(csv(tmp_path, lines([str(n) for n in stamps.as_unit("s").asi8])))
    assert (candles.index == stamps.tz_localize("UTC")).all()


YFINANCE = "Price,Close,High,Low,Open,Volume\nTicker,{a},{a},{a},{a},{b}\nDate,,,,,\n"


def test_yfinance_headers(tmp_path: Path) -> None:
    rows = "\n".join(f"2024-01-{day:02d},10,11,9,10,5" for day in range(1, 9))
    text = YFINANCE.format(a="AAPL", b="AAPL") + rows
    assert len(read_candles(csv(tmp_path, text))) == 8
    incomplete = read_candles(csv(tmp_path, text.replace("2024-01-05,10", "2024-01-05,")))
    assert next(f.rows for f in incomplete.findings if f.code == "missing-price") == (8,), "line of the file"
    with pytest.raises(DataError, match="2 instruments"):
        read_candles(csv(tmp_path, YFINANCE.format(a="AAPL", b="MSFT") + rows))


def test_cryptodatadownload_files(tmp_path: Path) -> None:
    header = "unix,date,symbol,open,high,low,close,Volume BTC,Volume USDT,tradecount"
    rows = [f"{ns // 10**6},{t},BTC/USDT,10,11,9,10,5,50,3" for ns, t in zip(EPOCH, STAMPS, strict=True)]
    candles = read_candles(csv(tmp_path, "\n".join(["https://www.CryptoDataDownload.com", header, *rows])))
    assert candles.frame[["volume", "amount"]].iloc[0].tolist() == [5, 50]
    assert candles.symbol == "BTC/USDT"


def test_investing_com_files(tmp_path: Path) -> None:
    header = '"Date","Price","Open","High","Low","Vol.","Change %"'
    rows = [f'"01/{day}/2024","4,010.5","4,000","4,020","3,990","{day}.5M","0.12%"' for day in range(31, 15, -1)]
    candles = read_candles(csv(tmp_path, "\n".join([header, *rows])))
    assert candles.frame["close"].iloc[0] == 4010.5
    assert candles.frame["volume"].iloc[0] == pytest.approx(16.5e6)


@pytest.mark.parametrize(("cell", "value"), [("1.5K", 1.5e3), ("2B", 2e9), ("3.25万", 3.25e4), ("1亿", 1e8)])
def test_abbreviated_volumes(tmp_path: Path, cell: str, value: float) -> None:
    text = lines([str(t) for t in STAMPS]).replace(",5\n", f",{cell}\n")
    assert read_candles(csv(tmp_path, text)).frame["volume"].iloc[0] == pytest.approx(value)


@pytest.mark.parametrize(("traded", "expected"), [(0, 7), (3, 3)])
def test_tick_counts_replace_a_volume_of_zero(tmp_path: Path, traded: int, expected: int) -> None:
    header = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"
    rows = [f"{t:%Y.%m.%d}\t{t:%H:%M:%S}\t10\t11\t9\t10\t7\t{traded}\t2" for t in STAMPS]
    candles = read_candles(csv(tmp_path, "\n".join([header, *rows])))
    assert (candles.frame["volume"] == expected).all()
    assert ("tick-volume" in codes(candles)) is (traded == 0)


@pytest.mark.parametrize(
    ("form", "offset"),
    [
        ("%a %b %d %Y %H:%M:%S GMT-0500", -5),
        ("%a %b %d %Y %H:%M:%S GMT+0800 (China Standard Time)", 8),
        ("%a, %d %b %Y %H:%M:%S GMT", 0),
        ("%Y-%m-%d %H:%M:%S UTC+08:00", 8),
        ("%Y-%m-%d %H:%M:%S GMT", 0),
        ("%d.%m.%Y %H:%M:%S.000 GMT+0100", 1),
    ],
)
def test_offsets_after_a_timezone_name(tmp_path: Path, form: str, offset: int) -> None:
    stamps = pd.date_range("2024-01-08", periods=40, freq="12h")
    header = "timestamps;open;high;low;close;volume"
    text = "\n".join([header, *(f"{stamp.strftime(form)};10;11;9;10;5" for stamp in stamps)])
    candles = read_candles(csv(tmp_path, text))
    assert (candles.index == (stamps - pd.Timedelta(hours=offset)).tz_localize("UTC")).all()


@pytest.mark.parametrize("form", ["%m/%d/%Y %H:%M:%S EST", "%b %d %Y %H:%M:%S IST"])
def test_ambiguous_timezone_names_raise(tmp_path: Path, form: str) -> None:
    with pytest.raises(DataError, match="timezone="):
        read_candles(csv(tmp_path, lines([(stamp + pd.Timedelta("20D")).strftime(form) for stamp in STAMPS])))


def test_nasdaq_com_files(tmp_path: Path) -> None:
    rows = [f"01/{day}/2024,$10.5,1000,$10,$11,$9" for day in range(31, 15, -1)]
    candles = read_candles(csv(tmp_path, "\n".join(["Date,Close/Last,Volume,Open,High,Low", *rows])))
    assert candles.frame["close"].iloc[0] == 10.5


def test_several_instruments_raise_even_with_a_given_symbol() -> None:
    table = pd.concat([frame().assign(symbol="A"), frame().assign(symbol="B")])
    with pytest.raises(DataError, match="2 instruments"):
        read_candles(table, symbol="A")
    assert read_candles(frame().assign(symbol="A"), symbol="B").symbol == "B"


SUFFIXES = pytest.mark.parametrize("suffix", ["csv", "parquet", "feather"])


def random_candles(rows=30, zone="UTC", seed=0, **changes):
    rng = np.random.default_rng(seed)
    prices = np.sort(rng.lognormal(0, 3, (rows, 4)), axis=1)[:, [1, 3, 0, 2]]
    table = pd.DataFrame(prices, columns=["open", "high", "low", "close"])
    table.index = pd.date_range("2024-03-01", periods=rows, freq="h", tz=zone)
    table["volume"] = rng.lognormal(0, 5, rows)
    table["amount"] = rng.lognormal(3, 5, rows)
    return replace(Candles.from_frame(table, interval="1h"), **changes)


@pytest.mark.slow
@SUFFIXES
@settings(max_examples=40)
@given(seed=st.integers(0, 1_000), rows=st.integers(2, 40), zone=st.sampled_from([None, "UTC", "Asia/Shanghai"]))
def test_written_candles_are_restored_bit_for_bit(tmp_path_factory, suffix, seed, rows, zone):
    path = tmp_path_factory.mktemp("files") / f"coin_1h.{suffix}"
    candles = random_candles(rows, zone, seed)
    write_candles(candles, path)
    again = read_candles(path, interval="1h", timezone=candles.timezone)
    np.testing.assert_array_equal(again.frame.to_numpy(), candles.frame.to_numpy())
    assert (again.index == candles.index).all()
    assert (again.timezone, again.has_amount, again.simulated) == (candles.timezone, True, False)


@SUFFIXES
def test_missing_volume_and_amount_are_not_written(tmp_path, suffix):
    path = write_candles(random_candles(has_amount=False), tmp_path / f"a_1h.{suffix}")
    assert not read_candles(path).has_amount
    path = write_candles(random_candles(has_volume=False, has_amount=False), tmp_path / f"b_1h.{suffix}")
    assert not read_candles(path).has_volume


@SUFFIXES
def test_simulated_candles_stay_marked(tmp_path, suffix):
    simulated = random_candles(simulated=True)
    with pytest.raises(ParameterError, match="simulated_coin"):
        write_candles(simulated, tmp_path / f"coin.{suffix}")
    path = write_candles(simulated, tmp_path / f"simulated_coin.{suffix}")
    assert read_candles(path).simulated
    renamed = path.rename(tmp_path / f"real.{suffix}")
    assert read_candles(renamed).simulated == (suffix != "csv")


def test_other_suffixes_raise(tmp_path):
    with pytest.raises(ParameterError, match=r"'coin\.xlsx'"):
        write_candles(random_candles(), tmp_path / "coin.xlsx")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_candles(random_candles(), tmp_path / "file" / "coin.csv")


def test_home_folders_are_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert write_candles(random_candles(), "~/a.csv") == tmp_path / "a.csv"
    write_candles(random_candles(), "~nobody-of-that-name/a.csv")
    assert (tmp_path / "~nobody-of-that-name" / "a.csv").is_file()

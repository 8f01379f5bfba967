"""Files as a source: symbols from names and columns; only listed files are opened."""

import gzip
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kronos.candles import read_candles
from kronos.errors import DataError, KronosError, ParameterError
from kronos.intervals import Interval
from kronos.sources import CandleSource
from kronos.sources.files import FileSource
from sources.markets import hours, rows

HOUR, DAY = Interval(1, "h"), Interval(1, "d")
FRAME = rows(hours("2024-01-01", 30))
CSV = FRAME.tz_localize(None).to_csv().encode()
MODEST = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "candles"
    place.mkdir()
    return place


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(CSV)


def long(*symbols: str) -> bytes:
    parts = [rows(hours("2024-01-01", 30), seed).assign(symbol=symbol) for seed, symbol in enumerate(symbols)]
    return pd.concat(parts).tz_localize(None).to_csv().encode()


def test_file_is_found_by_symbol_and_interval_in_its_name(folder):
    put(folder, "BTC-USDT-SWAP_1h.csv", "ETHUSDT_1h.csv")
    source = FileSource(folder)
    assert isinstance(source, CandleSource)
    candles = source.candles("btc/usdt swap", HOUR)
    assert (candles.symbol, candles.interval, candles.source) == ("BTC-USDT-SWAP", HOUR, "BTC-USDT-SWAP_1h.csv")
    assert candles.frame.equals(read_candles(folder / "BTC-USDT-SWAP_1h.csv").frame)
    assert source.symbols() == ("BTC-USDT-SWAP", "ETHUSDT")
    assert source.intervals("ETH-USDT") == (HOUR,)
    assert not source.simulated
    assert not candles.simulated


@pytest.mark.parametrize(
    ("name", "data"),
    [("BTC_1h.csv.gz", gzip.compress(CSV)), ("BTC_1H.CSV", CSV), ("BTC-60m.csv", CSV), ("BTC_hourly.csv", CSV)],
)
def test_spellings_of_extensions_and_intervals(folder, name, data):
    (folder / name).write_bytes(data)
    assert len(FileSource(folder).candles("BTC", HOUR)) == 30


def test_feather_and_parquet_are_read(folder):
    FRAME.reset_index().to_parquet(folder / "A_1h.parquet")
    FRAME.reset_index().to_feather(folder / "B_1h.feather")
    source = FileSource(folder)
    for symbol in source.symbols():
        assert source.candles(symbol, HOUR).timezone == "UTC"


def test_interval_is_inferred_without_one_in_the_name(folder):
    put(folder, "BTCUSDT.csv")
    source = FileSource(folder)
    assert source.intervals("BTC-USDT") == (HOUR,)
    assert source.candles("BTC-USDT", HOUR).symbol == "BTCUSDT"
    with pytest.raises(ParameterError, match=r"candles has no 1d candles of BTCUSDT; .* 1h"):
        source.candles("BTCUSDT", DAY)


def test_name_that_contradicts_the_times_is_rejected(folder):
    put(folder, "BTC_1d.csv")
    with pytest.raises(DataError, match=r"BTC_1d\.csv has 1d in its name"):
        FileSource(folder).candles("BTC", DAY)


def test_vendors_are_part_of_the_symbol_only_if_ambiguous(folder):
    put(folder, "AAPL_lean_1h.csv", "AAPL_stocknet_1h.csv", "AIG_lean_1h.csv", "BTC_USDT_1h.csv")
    source = FileSource(folder)
    assert source.symbols() == ("AAPL_lean", "AAPL_stocknet", "AIG", "BTC_USDT")
    assert source.candles("AIG", HOUR).symbol == "AIG"
    assert source.candles("aapl-lean", HOUR).source == "AAPL_lean_1h.csv"
    with pytest.raises(ParameterError, match=r"AAPL_stocknet_1h\.csv.* AAPL_lean or AAPL_stocknet"):
        source.candles("AAPL", HOUR)
    with pytest.raises(ParameterError, match="has no 'BTC'"):
        source.candles("BTC", HOUR)  # USDT is the quote, not a vendor


def test_two_formats_of_one_series_are_ambiguous(folder):
    put(folder, "BTC_1h.csv")
    FRAME.reset_index().to_parquet(folder / "BTC_1h.parquet")
    with pytest.raises(ParameterError, match=r"BTC_1h\.csv and in BTC_1h\.parquet"):
        FileSource(folder).candles("BTC", HOUR)
    assert len(FileSource(folder / "BTC_1h.csv").candles("BTC", HOUR)) == 30


def test_exact_symbol_is_preferred(folder):
    put(folder, "DCE.a_1h.csv", "DCE.A_1h.csv")
    source = FileSource(folder)
    assert source.candles("DCE.a", HOUR).symbol == "DCE.a"
    with pytest.raises(ParameterError, match=r"DCE\.A or DCE\.a"):
        source.candles("dcea", HOUR)


def test_simulated_files_are_labelled_and_distinct_from_real_ones(folder):
    put(folder, "BTC-USDT_1h.csv", "simulated_BTC-USDT_1h.csv", "simulated_ETH-USDT_1h.csv")
    source = FileSource(folder)
    assert source.simulated
    assert not source.candles("BTC-USDT", HOUR).simulated
    assert source.candles("simulated_BTC-USDT", HOUR).simulated
    invented = source.candles("ETHUSDT", HOUR)
    assert invented.simulated
    assert invented.symbol == "ETH-USDT"


def test_column_may_name_the_instruments(folder):
    (folder / "everything_1h.csv").write_bytes(long("BTC/USDT", "ETH/USDT"))
    (folder / "one.csv").write_bytes(long("SOL/USDT"))
    source = FileSource(folder)
    assert source.symbols() == ("BTC/USDT", "ETH/USDT", "SOL/USDT")
    assert source.candles("eth-usdt", HOUR).frame.equals(rows(hours("2024-01-01", 30), 1).tz_localize(None))
    assert source.candles("one", HOUR).symbol == "SOL/USDT"
    assert source.intervals("SOLUSDT") == (HOUR,)
    with pytest.raises(ParameterError, match="has no 'everything'"):
        source.candles("everything", HOUR)


@pytest.mark.parametrize("above", ["ACME - hourly\n", "sep=,\n", "# one\n# two\n"])
@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "utf-16-le"])
def test_lines_above_the_header_are_no_names_of_columns(folder, above, charset):
    (folder / "everything_1h.csv").write_bytes((above + long("BTC", "ETH").decode()).encode(charset))
    assert FileSource(folder).symbols() == ("BTC", "ETH")


def test_damaged_file_that_may_hold_the_symbol_is_reported(folder):
    (folder / "everything.csv").write_bytes(long("BTC", "ETH").replace(b",1", b",x"))
    put(folder, "SOL_1h.csv")
    with pytest.raises(DataError, match="everything"):
        FileSource(folder).candles("BTC", HOUR)
    assert len(FileSource(folder).candles("SOL", HOUR)) == 30


def test_single_file_with_any_extension(folder):
    put(folder, "prices.txt")
    source = FileSource(folder / "prices.txt")
    assert source.symbols() == ("prices",)
    assert len(source.candles("Prices", HOUR)) == 30


def test_other_files_are_ignored(folder):
    put(folder, "BTC_1h.csv", ".hidden_1h.csv")
    (folder / "README.txt").write_text("candles")
    (folder / "MANIFEST.csv").write_text("path,symbol,freq,rows\nBTC_1h.csv,BTC,1h,30\n")
    (folder / "broken_1h.parquet").write_bytes(b"PAR1")
    (folder / "deeper_1h.csv").mkdir()
    source = FileSource(folder)
    assert source.symbols() == ("BTC", "broken")
    assert source.now() == pd.Timestamp("2024-01-02 06:00", tz="UTC")
    with pytest.raises(DataError, match=r"broken_1h.parquet"):
        source.candles("broken", HOUR)


def test_unknown_symbols_are_rejected_with_a_suggestion(folder):
    put(folder, "AAPL_lean_1h.csv", "MSFT_1h.csv")
    with pytest.raises(ParameterError, match="candles has no 'APPL'; did you mean AAPL"):
        FileSource(folder).candles("APPL", HOUR)
    with pytest.raises(ParameterError, match="AAPL, MSFT"):
        FileSource(folder).intervals("000001")


@pytest.mark.parametrize(
    "symbol", ["../secret", "..", "/etc/passwd", "secret_1h", "candles/../../secret", "", "\0", "*"]
)
def test_symbol_is_never_a_path(folder, symbol):
    put(folder.parent, "secret_1h.csv", "secret.csv")
    put(folder, "BTC_1h.csv")
    with pytest.raises(ParameterError, match="has no"):
        FileSource(folder).candles(symbol, HOUR)


def test_ranges_are_utc_and_naive_times_count_as_utc(folder):
    put(folder, "BTC_1h.csv")
    window = {"start": pd.Timestamp("2024-01-01 05:00", tz="UTC"), "end": pd.Timestamp("2024-01-01 07:00")}
    naive = FileSource(folder).candles("BTC", HOUR, **window)
    assert naive.timezone is None
    assert list(naive.index.hour) == [5, 6]
    placed = FileSource(folder, timezone="Asia/Shanghai").candles("BTC", HOUR, **window)
    assert placed.timezone == "Asia/Shanghai"
    assert list(placed.index.hour) == [13, 14]
    assert FileSource(folder, timezone="Asia/Shanghai").now() == pd.Timestamp("2024-01-01 22:00", tz="UTC")


def test_records_and_short_history(folder):
    put(folder, "BTC_1h.csv")
    source = FileSource(folder)
    assert source.candles("BTC", HOUR, records=4).frame.equals(source.candles("BTC", HOUR).frame.tail(4))
    short = source.candles("BTC", HOUR, records=50)
    assert [(f.code, f.count) for f in short.findings if f.code == "short-history"] == [("short-history", 20)]
    early = source.candles("BTC", HOUR, start=pd.Timestamp("2020-01-01"))
    assert any(f.code == "short-history" for f in early.findings)
    assert not any(f.code == "short-history" for f in source.candles("BTC", HOUR).findings)
    with pytest.raises(DataError, match="no 1h candles of BTC"):
        source.candles("BTC", HOUR, start=pd.Timestamp("2030-01-01"))
    with pytest.raises(ParameterError, match="Invalid end"):
        source.candles("BTC", HOUR, start=pd.Timestamp("2030-01-01"), end=pd.Timestamp("2029-01-01"))


def test_results_are_copies_and_changed_files_are_read_again(folder):
    put(folder, "BTC_1h.csv")
    source = FileSource(folder)
    mine = source.candles("BTC", HOUR).frame
    mine.iloc[:] = 1.0
    assert source.candles("BTC", HOUR).frame.equals(read_candles(folder / "BTC_1h.csv").frame)
    assert source.now() == pd.Timestamp("2024-01-02 06:00", tz="UTC")
    rows(hours("2024-01-01", 40)).to_csv(folder / "BTC_1h.csv")
    put(folder, "ETH_1h.csv")
    assert len(source.candles("BTC", HOUR)) == 40
    assert source.now() == pd.Timestamp("2024-01-02 16:00", tz="UTC")
    assert source.symbols() == ("BTC", "ETH")


def test_missing_and_empty_folders(folder):
    with pytest.raises(DataError, match="no file or folder"):
        FileSource(folder / "nowhere")
    with pytest.raises(DataError, match="holds no CSV, Feather or Parquet files"):
        FileSource(folder).symbols()
    with pytest.raises(ParameterError, match="no timezone"):
        FileSource(folder, timezone="Mars/Olympus")


PIECE = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=6)


@pytest.mark.slow
@MODEST
@given(
    pieces=st.lists(PIECE, min_size=1, max_size=3),
    between=st.sampled_from("-_."),
    separator=st.sampled_from(["-", "/", "", "_", " "]),
    interval=st.sampled_from(["1h", "60m", "60min", "1H"]),
    simulated=st.booleans(),
    ending=st.sampled_from([".csv", ".CSV", ".tsv"]),
    lower=st.booleans(),
)
def test_any_symbol_in_a_name_is_found_in_any_notation(
    tmp_path_factory, pieces, between, separator, interval, simulated, ending, lower
):
    folder = tmp_path_factory.mktemp("named")
    symbol = between.join(pieces)
    put(folder, f"{'simulated_' if simulated else ''}{symbol}_{interval}{ending}")
    requested = separator.join(pieces)
    candles = FileSource(folder).candles(requested.lower() if lower else requested, HOUR)
    assert candles.symbol == symbol
    assert candles.simulated is simulated


@pytest.mark.slow
@MODEST
@given(
    name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=30),
    symbol=st.text(max_size=20),
)
def test_any_name_and_symbol(tmp_path_factory, name, symbol):
    folder = tmp_path_factory.mktemp("odd")
    put(folder, f"x{name}.csv")
    source = FileSource(folder)
    for requested in (symbol, *source.symbols()):
        with suppress(KronosError):
            assert len(source.candles(requested, HOUR)) == 30


@pytest.mark.slow
def test_folder_of_real_candles(shared):
    place = shared / "data" / "candles" / "us_equity"
    source = FileSource(place)
    symbols = source.symbols()
    assert len(symbols) == len(set(symbols)) == 100
    for symbol in symbols[:10]:
        assert len(source.candles(symbol, source.intervals(symbol)[-1], records=20)) == 20
    assert source.intervals("AIG") == (HOUR, DAY)
    assert source.candles("aig", DAY).frame.equals(read_candles(place / "AIG_lean_1d.parquet").frame)
    assert source.now() == pd.Timestamp("2021-04-01", tz="UTC")

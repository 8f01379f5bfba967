"""Qlib folders: round trips, folders without a label, and damaged folders."""

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kronos.candles import PRICES, Candles, read_candles
from kronos.errors import DataError, KronosError, ParameterError, StorageError
from kronos.intervals import Interval
from kronos.sources import CandleSource
from kronos.sources.qlib import QlibFolder, read_qlib, write_qlib
from sources.markets import rows

DAY, FIVE = Interval(1, "d"), Interval(5, "m")
DAYS = pd.bdate_range("2024-01-01", periods=60)
MODEST = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def daily(seed: int = 0, where: slice = slice(None)) -> Candles:
    return Candles.from_frame(rows(DAYS, seed).iloc[where], interval="1d")


def float32(candles: Candles) -> np.ndarray:
    return candles.frame.to_numpy(dtype=np.float32).astype(np.float64)


def same(read: Candles, written: Candles) -> None:
    assert read.index.equals(written.index)
    np.testing.assert_array_equal(read.frame.to_numpy(), float32(written))
    assert (read.interval, read.timezone, read.simulated) == (written.interval, written.timezone, written.simulated)


def bin_file(folder: Path, code: str, field: str, start: float, values: np.ndarray, freq: str = "day") -> Path:
    place = folder / "features" / code.lower()
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{field}.{freq}.bin"
    path.write_bytes(np.concatenate([[start], values]).astype("<f4").tobytes())
    return path


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder as Qlib's own scripts write it: no label, codes in capitals, further fields, a market with spans."""
    folder = tmp_path / "cn_data"
    (folder / "calendars").mkdir(parents=True)
    (folder / "instruments").mkdir()
    (folder / "calendars" / "day.txt").write_text("\n".join(DAYS.strftime("%Y-%m-%d")) + "\n")
    (folder / "calendars" / "day_future.txt").write_text("2024-01-01\n2030-01-01\n")
    lines = [f"SH60000{i}\t{DAYS[0]:%Y-%m-%d}\t{DAYS[-1]:%Y-%m-%d}\n" for i in (0, 1)]
    (folder / "instruments" / "all.txt").write_text("".join(lines))
    spans = f"SH600000\t{DAYS[3]:%Y-%m-%d}\t{DAYS[9]:%Y-%m-%d}\nSH600000\t{DAYS[20]:%Y-%m-%d}\t2099-12-31\n"
    (folder / "instruments" / "csi300.txt").write_text(spans)
    for code in ("SH600000", "SH600001"):
        frame = rows(DAYS, 7)
        for field in (*PRICES, "volume"):
            bin_file(folder, code, field, 0, frame[field].to_numpy())
        bin_file(folder, code, "factor", 0, np.full(60, 0.5))
        bin_file(folder, code, "change", 0, np.zeros(60))
    return folder


def test_round_trip(tmp_path):
    written = {
        "SH600000": daily(0),
        "SZ000001": daily(1, slice(10, 40)),
        "BTC-USDT": replace(daily(2).head(50), source="BTC-USDT_1d.csv", calendar="XSHG"),
    }
    folder = write_qlib(tmp_path / "new" / "qlib", written, market="csi300")
    for market in ("all", "csi300"):
        read = read_qlib(folder, market=market)
        assert list(read) == list(written)
        for code in written:
            same(read[code], written[code])
            assert read[code].symbol == code
            assert not any(one.code == "gaps" for one in read[code].findings)
    assert read["BTC-USDT"].source == "Qlib folder qlib (csi300), from BTC-USDT_1d.csv"
    assert read["BTC-USDT"].calendar == "XSHG"
    assert sorted(path.name for path in folder.iterdir()) == ["calendars", "features", "instruments", "kronos.json"]
    assert list(read_qlib(folder, ["sz000001", "000001.SZ", "btc/usdt"])) == ["SZ000001", "BTC-USDT"]


@pytest.mark.parametrize("interval", ["1m", "5m", "15m", "1h", "4h", "1d", "2d", "1w", "1mo"])
def test_round_trip_of_all_frequencies(tmp_path, interval):
    offset = Interval.parse(interval).offset
    index = pd.date_range("2024-01-01", periods=40, freq=offset, tz="UTC")
    written = {"X": Candles.from_frame(rows(index), interval=interval)}
    folder = write_qlib(tmp_path / "q", written)
    same(read_qlib(folder, freq=interval)["X"], written["X"])
    source = QlibFolder(folder)
    assert source.intervals("x") == (Interval.parse(interval),)
    assert source.now() == index[-1] + offset


def test_gaps_are_missing_values_and_findings(tmp_path):
    gappy = Candles.from_frame(rows(DAYS.delete([5, 6, 30])), interval="1d")
    folder = write_qlib(tmp_path / "q", {"A": daily(), "B": gappy})
    stored = np.fromfile(folder / "features" / "b" / "close.day.bin", dtype="<f4")
    assert list(np.flatnonzero(np.isnan(stored))) == [6, 7, 31]
    read = read_qlib(folder)["B"]
    same(read, gappy)
    [finding] = [f for f in read.findings if f.code == "gaps"]
    assert finding.count == 3
    assert "3 of the calendar's 60 times from 2024-01-01" in finding.message


def test_candle_source(tmp_path):
    source = QlibFolder(write_qlib(tmp_path / "q", {"SH600000": daily(), "SH600001": daily(1)}))
    assert isinstance(source, CandleSource)
    assert (source.name, source.simulated, source.symbols()) == ("qlib", False, ("SH600000", "SH600001"))
    assert source.now() == DAYS[-1].tz_localize("UTC") + pd.Timedelta(days=1)
    assert source.intervals("600000.SH") == (DAY,)
    window = source.candles("sh.600000", DAY, start=DAYS[4], end=DAYS[9].tz_localize("UTC"), records=3)
    assert list(window.index) == list(DAYS[6:9])
    short = source.candles("SH600000", DAY, records=100)
    assert [(one.code, one.count) for one in short.findings] == [("short-history", 40)]
    with pytest.raises(DataError, match="has no 1d candles of SH600000"):
        source.candles("SH600000", DAY, end=pd.Timestamp("2000-01-01"))
    with pytest.raises(ParameterError, match="has no 5m candles of SH600000"):
        source.candles("SH600000", FIVE)
    with pytest.raises(ParameterError, match="has no 'SH600002'; did you mean SH60000"):
        source.candles("SH600002", DAY)
    with pytest.raises(ParameterError, match="write the code in full"):
        QlibFolder(write_qlib(tmp_path / "p", {"A.B": daily(), "AB": daily()})).intervals("a_b")


def test_two_frequencies_in_one_folder(tmp_path):
    folder = write_qlib(tmp_path / "q", {"A": daily()})
    intraday = Candles.from_frame(rows(pd.date_range("2024-01-02 09:35", periods=30, freq="5min")), interval="5m")
    other = write_qlib(tmp_path / "p", {"A": intraday})
    shutil.copy(other / "calendars" / "5min.txt", folder / "calendars")
    for path in other.glob("features/a/*"):
        shutil.copy(path, folder / "features" / "a")
    source = QlibFolder(folder)
    assert source.intervals("A") == (FIVE, DAY)
    same(source.candles("A", FIVE), intraday)
    assert QlibFolder(folder, freq="5min").intervals("A") == (FIVE,)
    with pytest.raises(ParameterError, match=r"has no 1h candles of its codes; .* 5m, 1d"):
        QlibFolder(folder, freq="60min")


def test_simulated_candles_stay_labelled(tmp_path):
    invented = replace(daily(), simulated=True)
    folder = write_qlib(tmp_path / "q", {"A": invented, "B": daily(1)})
    assert QlibFolder(folder).simulated
    assert {code: one.simulated for code, one in read_qlib(folder).items()} == {"A": True, "B": False}
    label = json.loads((folder / "kronos.json").read_text("utf-8"))
    assert label["simulated"] is True
    del label["instruments"]["B"]
    (folder / "kronos.json").write_text(json.dumps(label))
    assert read_qlib(folder)["B"].simulated  # the default for instruments that the label does not name


def test_timezone_is_kept(tmp_path):
    index = pd.date_range("2024-03-11", periods=30, freq="h", tz="America/New_York")
    written = {"A": Candles.from_frame(rows(index), interval="1h")}
    folder = write_qlib(tmp_path / "q", written)
    same(read_qlib(folder, freq="1h")["A"], written["A"])
    assert QlibFolder(folder).now() == index[-1] + pd.Timedelta(hours=1)
    turned = pd.date_range("2024-11-03", periods=30, freq="h", tz="America/New_York")
    with pytest.raises(DataError, match="clock change of America/New_York"):
        write_qlib(tmp_path / "p", {"A": Candles.from_frame(rows(turned), interval="1h")})
    (folder / "kronos.json").unlink()
    assert read_qlib(folder, freq="1h")["A"].timezone is None
    assert read_qlib(folder, freq="1h", timezone="Asia/Shanghai")["A"].timezone == "Asia/Shanghai"


def test_unknown_amounts_stay_unknown(tmp_path):
    frame = rows(DAYS).drop(columns="amount")
    folder = write_qlib(tmp_path / "q", {"A": Candles.from_frame(frame, interval="1d")})
    assert (folder / "features" / "a" / "amount.day.bin").exists()
    assert not read_qlib(folder)["A"].has_amount
    folder = write_qlib(tmp_path / "p", {"A": Candles.from_frame(frame.drop(columns="volume"), interval="1d")})
    assert not read_qlib(folder)["A"].has_volume


def test_folder_without_a_label(foreign):
    read = read_qlib(foreign)
    assert list(read) == ["SH600000", "SH600001"]
    one = read["SH600000"]
    assert (one.has_volume, one.has_amount, one.timezone, one.simulated) == (True, False, None, False)
    assert QlibFolder(foreign).now() == DAYS[-1].tz_localize("UTC") + pd.Timedelta(days=1)
    raw = read_qlib(foreign, ["SH600000"], adjusted=False)["SH600000"].frame
    np.testing.assert_allclose(raw["close"], one.frame["close"] * 2)
    np.testing.assert_allclose(raw["volume"], one.frame["volume"] / 2)


@pytest.mark.parametrize(("field", "values"), [("money", 3.0), ("amount", 3.0), ("vwap", 2.0)])
def test_fields_of_the_amount(foreign, field, values):
    bin_file(foreign, "SH600000", field, 0, np.full(60, values))
    one = read_qlib(foreign, ["SH600000"])["SH600000"]
    assert one.has_amount
    expected = 2.0 * one.frame["volume"] if field == "vwap" else 3.0
    np.testing.assert_allclose(one.frame["amount"], expected)


def test_market_is_limited_to_spans_of_membership(foreign):
    members = QlibFolder(foreign, market="csi300")
    assert members.symbols() == ("SH600000",)
    one = members.candles("SH600000", DAY)
    assert list(one.index) == [*DAYS[3:10], *DAYS[20:]]
    with pytest.raises(ParameterError, match=r"\(csi300\) has no 'SH600001'"):
        members.candles("SH600001", DAY)
    with pytest.raises(ParameterError, match=r"has no market 'csi500'; .* all and csi300"):
        QlibFolder(foreign, market="csi500")


def test_date_as_an_end_includes_that_days_candles(tmp_path):
    index = pd.date_range("2024-01-02 09:35", periods=30, freq="5min")
    folder = write_qlib(tmp_path / "q", {"A": Candles.from_frame(rows(index), interval="5m")})
    (folder / "instruments" / "all.txt").write_text("A\t2024-01-01\t2024-01-02\n")
    assert len(read_qlib(folder, freq="5min")["A"]) == 30


def test_codes_without_candles_are_skipped_unless_requested(foreign):
    all_file = foreign / "instruments" / "all.txt"
    all_file.write_text(all_file.read_text() + "SH600009\t2024-01-01\t2024-02-01\n")
    assert list(read_qlib(foreign)) == ["SH600000", "SH600001"]
    with pytest.raises(DataError, match="has fewer than 2 1d candles of SH600009"):
        read_qlib(foreign, ["SH600009"])
    shutil.rmtree(foreign / "features")
    with pytest.raises(DataError, match="have no candles"):
        read_qlib(foreign)


def test_only_folders_of_kronos_are_replaced_and_only_on_request(tmp_path, foreign):
    folder = write_qlib(tmp_path / "q", {"A": daily(), "B": daily(1)})
    with pytest.raises(ParameterError, match=r"exists already.*replace=True"):
        write_qlib(folder, {"A": daily(2)})
    assert list(read_qlib(folder)) == ["A", "B"]
    write_qlib(folder, {"A": daily(2)}, replace=True)
    assert list(read_qlib(folder)) == ["A"]
    same(read_qlib(folder)["A"], daily(2))
    with pytest.raises(ParameterError, match="was not written by Kronos"):
        write_qlib(foreign, {"A": daily()}, replace=True)
    assert len(read_qlib(foreign)) == 2
    (tmp_path / "empty").mkdir()
    assert list(read_qlib(write_qlib(tmp_path / "empty", {"A": daily()}))) == ["A"]
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match="is a file"):
        write_qlib(tmp_path / "file", {"A": daily()})
    with pytest.raises(StorageError):
        write_qlib(tmp_path / "file" / "below", {"A": daily()})
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_failed_write_changes_nothing(tmp_path):
    folder = write_qlib(tmp_path / "q", {"A": daily()})
    huge = daily()
    huge.frame["volume"] = 1e300
    with pytest.raises(DataError, match="range of float32"):
        write_qlib(folder, {"A": daily(1), "B": huge}, replace=True)
    same(read_qlib(folder)["A"], daily())
    assert [path.name for path in tmp_path.iterdir()] == ["q"]


@pytest.mark.parametrize(
    "code",
    ["", " A", "../A", "..", ".", ".A", "A/B", "A\\B", "A\tB", "A\nB", "C:", "A*", 'A"', "NA", "nan", "A" * 300, "\0"],
)
def test_invalid_codes_are_rejected(tmp_path, code):
    with pytest.raises(ParameterError, match=r"^The code '.*rename it"):
        write_qlib(tmp_path / "q", {code: daily()})
    assert not list(tmp_path.iterdir())


def test_incompatible_candles_are_rejected(tmp_path):
    hourly = Candles.from_frame(rows(pd.date_range("2024-01-01", periods=9, freq="h")), interval="1h")
    aware = Candles.from_frame(rows(DAYS.tz_localize("UTC")), interval="1d")
    seconds = Candles.from_frame(rows(pd.date_range("2024-01-01", periods=9, freq="s")), interval="1s")
    for candles, message in (
        ({}, "no candles to write"),
        ({"A": daily(), "B": hourly}, "A has 1d candles but B has 1h"),
        ({"A": daily(), "B": aware}, "A has no timezone but B has UTC"),
        ({"a": daily(), "A": daily()}, "'a' and 'A' differ only in case"),
        ({"A": seconds}, "Qlib has no 1s candles"),
    ):
        with pytest.raises(ParameterError, match=message):
            write_qlib(tmp_path / "q", candles)
    with pytest.raises(DataError, match="A has 1 candles"):
        write_qlib(tmp_path / "q", {"A": daily().head(1)})
    with pytest.raises(DataError, match="fractions of a second"):
        write_qlib(tmp_path / "q", {"A": Candles.from_frame(rows(DAYS + pd.Timedelta("1ms")), interval="1d")})
    for market in ("../all", "", "a/b", "all.txt"):
        with pytest.raises(ParameterError, match="Invalid market"):
            write_qlib(tmp_path / "q", {"A": daily()}, market=market)
    assert not list(tmp_path.iterdir())


def test_names_reserved_by_windows_are_prefixed_as_in_qlib(tmp_path):
    folder = write_qlib(tmp_path / "q", {"CON": daily(), "com1": daily(1)})
    assert sorted(path.name for path in (folder / "features").iterdir()) == ["_qlib_com1", "_qlib_con"]
    same(read_qlib(folder, ["con"])["CON"], daily())


DAMAGED = [
    ("calendars/day.txt", None, "has no calendar"),
    ("calendars/day.txt", b"", "day.txt is empty"),
    ("calendars/day.txt", b"2024-01-02\n2024-01-01\n", "day.txt, line 2: 2024-01-01 is not later"),
    ("calendars/day.txt", b"2024-01-01\n\n2024-01-01\n", "day.txt, line 3: 2024-01-01 is not later"),
    ("calendars/day.txt", b"2024-01-01\n2024-13-01\n", "day.txt, line 2: '2024-13-01' is not a time"),
    ("calendars/day.txt", b"2024-01-01\nyesterday\n", "line 2: 'yesterday' is not a time"),
    ("calendars/day.txt", b"0001-01-01\n", "line 1: '0001-01-01' is not a time"),
    ("calendars/day.txt", b"\xff\xfe\x00", "not UTF-8 text"),
    ("calendars/day.txt", b"2024-01-01\n2024-01-02\n", "close.day.bin|open.day.bin"),
    ("instruments/all.txt", b"", "all.txt is empty"),
    ("instruments/all.txt", b"SH600000 2024-01-01 2024-01-02\n", "all.txt, line 1: .*separated by tabs"),
    ("instruments/all.txt", b"SH600000\t2024-01-01\tnever\n", "line 1: 'never'"),
    ("instruments/all.txt", b"../../x\t2024-01-01\t2024-02-01\n", r"line 1: the code '\.\./\.\./x'"),
    ("instruments/all.txt", b"..\t2024-01-01\t2024-02-01\n", "line 1"),
    ("features/sh600000/close.day.bin", None, "has no close.day.bin, which SH600000"),
    ("features/sh600000/close.day.bin", b"", "has 0 bytes"),
    ("features/sh600000/close.day.bin", b"\0\0\0\0\0", "has 5 bytes, not a whole number"),
    ("features/sh600000/close.day.bin", np.full(80, 1, "<f4").tobytes(), "79 values, more than the 60 times"),
    ("features/sh600000/close.day.bin", np.array([60, 1], "<f4").tobytes(), "beyond the 60 times"),
    ("features/sh600000/close.day.bin", np.array([1e9, 1], "<f4").tobytes(), "beyond the 60 times"),
    ("features/sh600000/close.day.bin", np.array([-1, 1], "<f4").tobytes(), "begins with -1"),
    ("features/sh600000/close.day.bin", np.array([0.5, 1], "<f4").tobytes(), "begins with 0.5"),
    ("features/sh600000/close.day.bin", np.array([np.nan, 1], "<f4").tobytes(), "begins with nan"),
    ("features/sh600000/close.day.bin", np.arange(61, dtype="<f4").tobytes()[:200], "rows of SH600000 of Qlib folder"),
    ("kronos.json", b"{", "kronos.json .*is damaged"),
    ("kronos.json", b'{"timezone": "Mars", "simulated": false, "instruments": {}}', "is damaged"),
    ("kronos.json", b'{"timezone": null, "simulated": false, "instruments": {"SH600000": 1}}', "is damaged"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "message"), DAMAGED)
def test_damaged_folders_are_reported(foreign, name, data, message):
    (foreign / name).unlink(missing_ok=True)
    if data is not None:
        (foreign / name).write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_qlib(foreign, ["SH600000"])
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_missing_folder_and_instruments(tmp_path, foreign):
    with pytest.raises(DataError, match="no folder"):
        QlibFolder(tmp_path / "nowhere")
    shutil.rmtree(foreign / "instruments")
    with pytest.raises(DataError, match="has no instruments"):
        QlibFolder(foreign)
    with pytest.raises(ParameterError, match="no timezone"):
        QlibFolder(foreign, timezone="Mars")


def test_unadjusted_prices_need_the_factor(foreign):
    (foreign / "features" / "sh600000" / "factor.day.bin").unlink()
    assert len(read_qlib(foreign, ["SH600000"])["SH600000"]) == 60
    with pytest.raises(DataError, match=r"has no factor.day.bin"):
        read_qlib(foreign, ["SH600000"], adjusted=False)


CODES = st.text(st.characters(categories=["L", "N"], include_characters="-._"), min_size=1, max_size=12)


@pytest.mark.slow
@MODEST
@given(data=st.data(), freq=st.sampled_from(["1d", "5m", "1h"]), codes=st.lists(CODES, max_size=4, unique_by=str.lower))
def test_round_trip_of_any_candles(tmp_path_factory, data, freq, codes):
    times = pd.date_range("2024-01-01", periods=24, freq=Interval.parse(freq).offset)
    table = rows(times)
    written = {}
    for code in codes:
        chosen = data.draw(st.lists(st.integers(0, 23), min_size=2, unique=True))
        scale = data.draw(st.sampled_from([1e-12, 1e-3, 1.0, 1e9]))
        frame = table.iloc[sorted(chosen)].mul([scale] * 4 + [1 / scale, 1.0])
        written[code] = replace(
            Candles.from_frame(table, interval=freq), frame=frame, simulated=data.draw(st.booleans())
        )
    target = tmp_path_factory.mktemp("q") / "q"
    try:
        write_qlib(target, written)
    except ParameterError:
        assert not target.exists()
        return
    read = read_qlib(target, freq=freq)
    assert list(read) == list(written)
    for code, one in written.items():
        same(read[code], one)
        assert read[code].symbol == code


@MODEST
@given(
    name=st.sampled_from(
        [
            "calendars/day.txt",
            "instruments/all.txt",
            "features/a/open.day.bin",
            "features/a/volume.day.bin",
            "kronos.json",
        ]
    ),
    data=st.one_of(st.binary(max_size=64), st.text(max_size=64).map(str.encode), st.just(b"2024-01-01\n2024-01-02\n")),
    keep=st.integers(0, 400),
)
def test_any_bytes_are_read_or_rejected(tmp_path_factory, name, data, keep):
    folder = write_qlib(tmp_path_factory.mktemp("q") / "q", {"A": daily()})
    path = folder / name
    path.write_bytes(path.read_bytes()[:keep] + data)
    with suppress(KronosError):
        for candles in read_qlib(folder).values():
            assert np.isfinite(candles.frame.to_numpy()).all()


def test_round_trip_of_real_candles(shared, tmp_path):
    place = shared / "data" / "candles"
    for pattern, freq in (("us_equity/*_lean_1d.parquet", "day"), ("cn_ashare/SH6000*_15m.parquet", "15min")):
        written = {path.stem.split("_")[0]: read_candles(path) for path in sorted(place.glob(pattern))[:5]}
        read = read_qlib(write_qlib(tmp_path / freq, written), freq=freq)
        for code in written:
            same(read[code], written[code])

"""Interoperability with Qlib itself, in both directions; `make test-qlib` sets it up."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronos.candles import COLUMNS, Candles, read_candles
from kronos.sources.qlib import read_qlib, write_qlib
from sources.markets import rows

pytestmark = pytest.mark.qlib
Oracle = Callable[..., Mapping[str, np.ndarray]]
DAYS = pd.bdate_range("2023-01-02", periods=120)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """Run the script in a Python that has Qlib."""
    named = os.environ.get("KRONOS_QLIB_PYTHON", "")
    if not named and importlib.util.find_spec("qlib") is None:
        pytest.skip("needs the real pyqlib in an environment of its own: `make test-qlib` sets it up and runs this")
    python = shutil.which(named or sys.executable)
    if python is None:
        pytest.fail(f"KRONOS_QLIB_PYTHON={named} is not a Python interpreter")
    python = str(Path(python).absolute())
    home = tmp_path_factory.mktemp("home")  # Qlib writes a folder and logs there

    def run(*arguments: object) -> Mapping[str, np.ndarray]:
        script = Path(__file__).with_name("qlib_oracle.py")
        done = subprocess.run(
            [python, str(script), *map(str, arguments)],
            capture_output=True, text=True, check=False, cwd=home, env={**os.environ, "HOME": str(home)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        if arguments[0] == "write":
            return {}
        with np.load(str(arguments[-1])) as arrays:
            return {name: arrays[name] for name in arrays.files}

    return run


def seconds(index: pd.DatetimeIndex) -> np.ndarray:
    return index.tz_localize(None).as_unit("s").asi8


def check(result: Mapping[str, np.ndarray], written: Mapping[str, Candles]) -> None:
    """Calendar, instruments and every float are as written; NaN wherever there is no candle."""
    every = np.unique(np.concatenate([seconds(one.index) for one in written.values()]))
    np.testing.assert_array_equal(result["calendar"], every)
    assert {name.split("/")[0] for name in result} - {"calendar"} == set(written)
    for code, one in written.items():
        times = seconds(one.index)
        np.testing.assert_array_equal(result[f"{code}/spans"], times[[0, -1]])
        np.testing.assert_array_equal(result[f"{code}/times"], every[(every >= times[0]) & (every <= times[-1])])
        present = np.isin(result[f"{code}/times"], times)
        for column in COLUMNS:
            values = result[f"{code}/{column}"]
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values[present], one.frame[column].to_numpy(np.float32))
            assert np.isnan(values[~present]).all()


def test_qlib_reads_daily_candles_with_gaps_and_different_spans(oracle, tmp_path):
    written = {
        "SH600000": Candles.from_frame(rows(DAYS, 0), interval="1d"),
        "SZ000001": Candles.from_frame(rows(DAYS.delete([11, 12, 13, 60]), 1).iloc[5:90], interval="1d"),
        "btc-usdt": Candles.from_frame(rows(DAYS[50:], 2), interval="1d"),
        "CON": Candles.from_frame(rows(DAYS[:30], 3), interval="1d"),
        "DCE.a": Candles.from_frame(rows(DAYS[:30], 4), interval="1d"),
        "600519": Candles.from_frame(rows(DAYS[:30], 5), interval="1d"),
    }
    folder = write_qlib(tmp_path / "q", written, market="mine")
    check(oracle("read", folder, "day", "all", tmp_path / "all.npz"), written)
    check(oracle("read", folder, "day", "mine", tmp_path / "mine.npz"), written)


@pytest.mark.parametrize(("interval", "freq"), [("1m", "1min"), ("5m", "5min"), ("1h", "60min"), ("1w", "1week")])
def test_qlib_reads_other_frequencies(oracle, tmp_path, interval, freq):
    offset = {"1m": "1min", "5m": "5min", "1h": "1h", "1w": "7D"}[interval]
    index = pd.date_range("2024-01-01", periods=200, freq=offset, tz="UTC")
    written = {
        "A": Candles.from_frame(rows(index, 0), interval=interval),
        "B": Candles.from_frame(rows(index.delete([20, 21, 50]), 1).iloc[7:150], interval=interval),
    }
    folder = write_qlib(tmp_path / "q", written)
    check(oracle("read", folder, freq, "all", tmp_path / "result.npz"), written)


def test_members_of_a_market_have_the_same_rows(oracle, tmp_path):
    written = {code: Candles.from_frame(rows(DAYS, seed), interval="1d") for seed, code in enumerate(("A", "B", "C"))}
    folder = write_qlib(tmp_path / "q", written)
    day = [f"{one:%Y-%m-%d}" for one in DAYS]
    spans = [("A", day[3], day[9]), ("B", "2000-01-01", day[5]), ("A", day[20], "2099-12-31")]
    (folder / "instruments" / "csi300.txt").write_text("".join("\t".join(span) + "\n" for span in spans))
    result = oracle("read", folder, "day", "csi300", tmp_path / "result.npz")
    ours = read_qlib(folder, market="csi300")
    assert set(ours) == {"A", "B"} == {name.split("/")[0] for name in result} - {"calendar"}
    for code, one in ours.items():
        np.testing.assert_array_equal(result[f"{code}/times"], seconds(one.index))
        np.testing.assert_array_equal(result[f"{code}/close"], one.frame["close"].to_numpy(np.float32))


@pytest.mark.parametrize(("freq", "offset"), [("day", "1D"), ("1min", "1min"), ("5min", "5min")])
def test_kronos_reads_folders_of_qlib(oracle, tmp_path, freq, offset):
    index = pd.date_range("2024-01-02", periods=90, freq=offset)
    frames = {"SH600000": rows(index, 0), "SZ000001": rows(index.delete([30, 31]), 1).iloc[4:70]}
    arrays = {f"{code}/times": seconds(frame.index) for code, frame in frames.items()}  # type: ignore[arg-type]
    arrays |= {f"{code}/{name}": frame[name].to_numpy() for code, frame in frames.items() for name in COLUMNS}
    np.savez(tmp_path / "given.npz", **arrays)
    oracle("write", tmp_path / "q", freq, tmp_path / "given.npz")
    read = read_qlib(tmp_path / "q", freq=freq)
    assert list(read) == list(frames)
    for code, frame in frames.items():
        assert read[code].index.equals(frame.index)
        np.testing.assert_array_equal(read[code].frame.to_numpy(), frame.to_numpy(np.float32).astype(np.float64))


@pytest.mark.parametrize(
    ("pattern", "freq", "count"),
    [
        ("us_equity/*_lean_1d.parquet", "day", 8),
        ("cn_futures/*_5m.parquet", "5min", 4),
        ("fx/*_1h.parquet", "60min", 2),
    ],
)
def test_qlib_reads_real_candles(oracle, shared, tmp_path, pattern, freq, count):
    paths = sorted((shared / "data" / "candles").glob(pattern))[:count]
    written = {path.stem.split("_")[0]: read_candles(path) for path in paths}
    folder = write_qlib(tmp_path / "q", written)
    check(oracle("read", folder, freq, "all", tmp_path / "result.npz"), written)

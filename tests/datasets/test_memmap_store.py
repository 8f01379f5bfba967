"""Memory-mapped store: contents, rebuilding, concurrent builds, unreadable files, and memory."""

import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

import forks
from kronos.candles import COLUMNS, Candles, read_candles
from kronos.datasets import MemmapCandles, build_store
from kronos.errors import DataError, ParameterError
from kronos.preprocessing import time_features
from kronos.sources.qlib import write_qlib

BUILD = "import sys; from kronos.datasets import build_store; print(build_store(sys.argv[1], sys.argv[2]).digest)"


def summary(store):
    return [(one.unique_id, one.group, one.rows) for one in store.series]


def stores(cache):
    return sorted(path.name for path in cache.glob("candles-*"))


def test_instruments_have_their_own_rows(folder):
    folder.several()
    store = build_store(folder.place, folder.cache)
    assert summary(store) == [("one", "a 1h", 900), ("two", "a 1h", 300), ("three", "b 1h", 600)]
    assert len(store) == 1_800
    for path, one in zip(["a/one", "a/two", "b/three"], store.series, strict=True):
        candles = read_candles(folder.place / f"{path}.parquet")
        rows = slice(one.start, one.stop)
        np.testing.assert_array_equal(store.candles[rows], candles.frame[list(COLUMNS)].to_numpy())
        np.testing.assert_array_equal(store.times[rows], candles.index.as_unit("us").asi8)
        np.testing.assert_array_equal(store.opens[rows], store.times[rows])
        np.testing.assert_array_equal(store.stamps[rows], time_features(candles.index))


def test_read_returns_the_candles_of_the_file(folder, walked):
    frame = walked(0, 300)
    frame.loc[50, "close"] = np.nan  # cleaning drops the row, and prices are missing there
    path = folder.add("holes.csv", frame)
    store, candles = build_store(path, folder.cache), read_candles(path)
    back = store.read(0)
    pd.testing.assert_frame_equal(back.frame, candles.frame, check_freq=False, check_index_type=False)
    assert (back.interval, back.timezone, back.has_volume) == (candles.interval, candles.timezone, True)
    assert store.missing.tolist() == [50]
    assert back.dropped[0] > back.index[49]
    assert back.dropped[0] < back.index[50]
    assert len(store.read(0, 20)) == 20
    assert not len(store.read(0, 20).dropped)


def test_calendar_features_are_on_the_clock_of_the_market(folder, walked):
    """UTC for one that never closes, whatever the timezone of the times."""
    frame = walked(0, 100)
    frame["timestamps"] = frame["timestamps"].dt.tz_localize("Asia/Shanghai")
    store = build_store(folder.add("local.parquet", frame), folder.cache)
    [one] = store.series
    assert one.timezone == "Asia/Shanghai"
    assert store.stamps[0].tolist() == [0, 16, 6, 31, 12]  # 31 December, 16:00
    assert pd.Timestamp(store.opens[0], unit="us") == pd.Timestamp("2023-12-31 16:00")
    assert store.read(0).index[0] == frame["timestamps"][0]


def test_closing_timestamps_are_detected(folder, walked):
    days = pd.bdate_range("2024-03-04", periods=60)
    clock = pd.to_timedelta([f"{h}:{m:02d}:00" for h, m in ((10, 30), (11, 30), (14, 0), (15, 0))])
    frame = walked(0, 240)
    frame["timestamps"] = np.sort(np.concatenate([days + one for one in clock]))
    store = build_store(folder.add("cn_ashare/SH600000_1h.csv", frame), folder.cache)
    [one] = store.series
    assert one.stamped_close
    assert (store.times - store.opens == 3_600_000_000).all()
    assert (store.read(0).index == pd.DatetimeIndex(frame["timestamps"])).all()


def test_store_is_rebuilt_only_after_changes(folder, walked):
    folder.several()
    first = build_store(folder.place, folder.cache)
    built = (first.folder / "store.json").stat().st_mtime_ns
    assert build_store(folder.place, folder.cache).folder == first.folder
    assert (first.folder / "store.json").stat().st_mtime_ns == built
    folder.add("a/two.parquet", walked(7, 300))
    second = build_store(folder.place, folder.cache)
    assert second.digest != first.digest
    assert len(stores(folder.cache)) == 2


def test_digest_does_not_depend_on_the_file_format(folder, new_folder, tmp_path, walked):
    other = new_folder(tmp_path / "other" / "candles")
    folder.add("a/one.parquet", walked(0, 200))
    other.add("a/one.csv", walked(0, 200))
    assert build_store(folder.place, folder.cache).digest == build_store(other.place, other.cache).digest


def test_damaged_store_is_rebuilt(folder):
    folder.several()
    first = build_store(folder.place, folder.cache)
    digest, place = first.digest, first.folder
    with (place / "candles.bin").open("r+b") as file:
        file.truncate(1_000)
    with pytest.raises(DataError, match="damaged"):
        MemmapCandles.open(place)
    assert build_store(folder.place, folder.cache).digest == digest
    (place / "store.json").write_text("{")
    assert build_store(folder.place, folder.cache).digest == digest


def test_interrupted_build_leaves_nothing(folder):
    class Interrupted:
        name, named = "interrupted", True

        def identity(self):
            return {"source": "interrupted"}

        def read(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_store([Interrupted()], folder.cache)
    assert [path.name for path in folder.cache.iterdir() if path.suffix != ".lock"] == []


def test_concurrent_builds_of_the_same_store(folder):
    folder.several()

    def build(_):
        command = [sys.executable, "-c", BUILD, str(folder.place), str(folder.cache)]
        done = forks.run(command, preload=("kronos.datasets",), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    with ThreadPoolExecutor(2) as pool:
        digests = set(pool.map(build, range(2)))
    assert digests == {build_store(folder.place, folder.cache).digest}
    assert len(stores(folder.cache)) == 1
    assert not list(folder.cache.glob(".*.tmp-*"))


def test_unreadable_files_are_reported_and_skipped(folder, caplog):
    folder.several()
    broken = folder.place / "a" / "broken.csv"
    broken.write_text("timestamps,open,high,low,close\n2024-01-01,x,x,x,x\n")
    (folder.place / "notes.csv").write_text("name,size\nx,1\n")
    store = build_store(folder.place, folder.cache)
    assert len(store.series) == 3
    assert [path for path, _ in store.unreadable] == [str(broken)]
    assert "broken.csv" in caplog.text
    with pytest.raises(DataError, match=r"broken\.csv"):
        build_store(broken, folder.cache)
    assert len(stores(folder.cache)) == 1


def test_missing_file_of_a_manifest_is_reported_and_skipped(folder, walked):
    folder.several()
    lines = ["path,market,symbol,freq", "a/one.parquet,m,ONE,1h", "a/absent.parquet,m,ABSENT,1h"]
    (folder.place / "MANIFEST.csv").write_text("\n".join(lines))
    store = build_store(folder.place, folder.cache)
    assert summary(store) == [("one", "m 1h", 900)]
    assert [path for path, _ in store.unreadable] == [str(folder.place / "a/absent.parquet")]
    folder.add("a/absent.parquet", walked(9, 80))
    assert summary(build_store(folder.place, folder.cache)) == [("one", "m 1h", 900), ("absent", "m 1h", 80)]


def test_no_candles(folder):
    folder.place.mkdir()
    with pytest.raises(DataError, match="no candle files"):
        build_store(folder.place, folder.cache)
    (folder.place / "notes.csv").write_text("name,size\nx,1\n")
    with pytest.raises(DataError, match="no candles"):
        build_store(folder.place, folder.cache)
    with pytest.raises(ParameterError, match="no file, folder or prepared dataset"):
        build_store(folder.place / "absent", folder.cache)


def test_manifest_sets_market_symbol_and_interval(folder):
    folder.several()
    lines = ["path,market,symbol,freq", "a/one.parquet,left,ONE,1h", "b/three.parquet,right,THREE,1h"]
    (folder.place / "MANIFEST.csv").write_text("\n".join(lines))
    store = build_store(folder.place, folder.cache)
    assert summary(store) == [("one", "left 1h", 900), ("three", "right 1h", 600)]
    assert [one.symbol for one in store.series] == ["ONE", "THREE"]


def test_file_of_several_instruments(folder, walked):
    table = pd.concat([walked(0, 200).assign(symbol="X"), walked(1, 150).assign(symbol="Y")])
    store = build_store(folder.add("long.csv", table), folder.cache)
    assert [(one.symbol, one.rows) for one in store.series] == [("X", 200), ("Y", 150)]


def test_names_are_unique(folder, walked):
    for number, market in enumerate(("left", "right")):
        folder.add(f"{market}/deep/walk.csv", walked(number, 100))
    store = build_store(folder.place, folder.cache)
    assert [one.unique_id for one in store.series] == ["walk", "right/walk"]


def test_qlib_folders(folder, walked, tmp_path):
    days = {f"SH60000{n}": Candles.from_frame(walked(n, 100 + n, freq="B"), interval="1d") for n in range(3)}
    place = write_qlib(tmp_path / "cn_data", days)
    listed = (place / "instruments" / "all.txt").read_text().splitlines()
    (place / "instruments" / "csi300.txt").write_text("\n".join(listed[:2]))
    store = build_store(f"qlib:{place}", folder.cache)
    assert [(one.unique_id, one.rows) for one in store.series] == [(f"SH60000{n}_1d", 100 + n) for n in range(3)]
    assert len(build_store(f"qlib:{place}:csi300", folder.cache).series) == 2
    before = store.folder
    days["SH600002"].frame.iloc[-1] *= 1.01
    write_qlib(place, days, replace=True)
    assert build_store(f"qlib:{place}", folder.cache).folder != before
    with pytest.raises(ParameterError, match="has no market 'csi500'"):
        build_store(f"qlib:{place}:csi500", folder.cache)


def test_writable_store_does_not_change_the_files(folder):
    folder.several()
    store = build_store(folder.place, folder.cache)
    before = np.array(store.candles)
    with MemmapCandles.open(store.folder, writable=True) as other:
        other.candles[:] = 1.0
    np.testing.assert_array_equal(MemmapCandles.open(store.folder).candles, before)
    with pytest.raises(ValueError, match="read-only"):
        store.candles[0, 0] = 1.0


def test_store_is_pickled_as_its_folder(folder):
    folder.several()
    store = build_store(folder.place, folder.cache)
    small = pickle.dumps(store)
    assert len(small) < 1_000
    np.testing.assert_array_equal(pickle.loads(small).candles, store.candles)  # noqa: S301 (our own)


def test_files_of_a_store(folder):
    folder.several()
    store = build_store(folder.place, folder.cache)
    assert {path.suffix for path in store.folder.iterdir()} == {".bin", ".npy", ".json"}
    meta = json.loads((store.folder / "store.json").read_text())
    assert [file["file"] for file in meta["files"]] == ["one.parquet", "two.parquet", "three.parquet"]


LIMITED = """
import resource, sys
import numpy as np, pandas as pd
from kronos.candles import COLUMNS, Candles
from kronos.datasets import WindowDataset, WindowSettings, batches, build_store, open_training_data
from kronos.datasets.readers import InstrumentCandles
from kronos.datasets import training_data
from kronos.intervals import Interval

ROWS, MANY = 20_000, int(sys.argv[2])

class RandomWalk:
    named = True
    def __init__(self, seed):
        self.seed, self.name = seed, f"walk-{seed}"
    def identity(self):
        return {"walk": self.seed}
    def read(self):
        rng = np.random.default_rng(self.seed)
        close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, ROWS)))
        frame = pd.DataFrame({name: close for name in COLUMNS})
        frame.index = pd.date_range("2020-01-01", periods=ROWS, freq="h", name="timestamps")
        yield InstrumentCandles(self.name, "walk", Candles(frame, self.name, Interval.parse("1h")), False)

def data(count):
    training_data.build_store = lambda *given: build_store([RandomWalk(seed) for seed in range(count)], given[1])
    return open_training_data("walk", cache=sys.argv[1])

def use(found, samples):
    dataset = WindowDataset(found, "train", WindowSettings(), samples=samples)
    return sum(float(batch.x.sum()) for batch in batches(dataset, 32))

use(data(2), 64)  # everything is loaded now
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + int(sys.argv[3]), -1))
found = data(MANY)
print(sum(path.stat().st_size for path in found.store.folder.iterdir()), use(found, 3_200))
try:
    np.array(found.store.candles)
except MemoryError:
    print("too much to hold")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_memory_is_a_fraction_of_the_candles(tmp_path):
    allowed = 24 << 20
    command = [sys.executable, "-c", LIMITED, str(tmp_path), "80", str(allowed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 4 * allowed
    assert "too much to hold" in done.stdout

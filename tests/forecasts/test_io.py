import json
import zipfile

import numpy as np
import pandas as pd
import pytest

from kronos.candles import Candles
from kronos.errors import DataError
from kronos.forecasts import Forecast, ForecastMetadata

METADATA = ForecastMetadata(
    "kronos-nano",
    details={"seed": 7, "sampling": {"temperature": 1.0, "top_k": None}, "hashes": ["a", "b"]},
    calendar="XSHG",
    calendar_basis="projected",
    notes=("One.", "贵州."),
)


def make(tz, unit, samples=25):
    rng = np.random.default_rng(3)
    closes = np.exp(rng.normal(4, 0.1, 80))
    frame = pd.DataFrame(
        {"open": closes, "high": closes * 1.01, "low": closes * 0.99, "close": closes, "volume": 1.0},
        index=pd.date_range("2024-03-08 09:30", periods=80, freq="1h", tz=tz).as_unit(unit),
    )
    frame.iloc[5, 1] = frame.iloc[5, 2] / 2  # gives a finding
    past = Candles.from_frame(frame, symbol="贵州茅台", interval="1h")
    future = rng.lognormal(4, 0.1, (samples, 6))
    paths = np.stack([future, future * 1.1, future * 0.9, future, future, future], axis=-1)
    times = pd.date_range(past.end, periods=7, freq="1h")[1:].as_unit(unit)
    return Forecast(paths, times, past, METADATA, mended=0.125)


@pytest.mark.parametrize("tz", [None, "UTC", "America/New_York", "Asia/Shanghai"])
@pytest.mark.parametrize("unit", ["ns", "us", "s"])
def test_round_trip_is_exact(tmp_path, tz, unit):
    saved = make(tz, unit)
    file = saved.save(tmp_path / "here" / "f.npz")
    loaded = Forecast.load(file)
    assert np.array_equal(loaded.paths, saved.paths)
    assert not loaded.paths.flags.writeable
    assert loaded.mended == saved.mended
    assert loaded.metadata == saved.metadata
    assert loaded.timestamps.dtype == saved.timestamps.dtype
    assert loaded.timestamps.tolist() == saved.timestamps.tolist()
    past, twin = saved.history, loaded.history
    pd.testing.assert_frame_equal(twin.frame, past.frame, check_freq=False)
    assert twin.findings == past.findings
    assert past.findings
    for name in ("symbol", "interval", "timezone", "calendar", "source", "simulated", "has_volume"):
        assert getattr(twin, name) == getattr(past, name)
    assert twin.has_amount == past.has_amount
    assert loaded.to_dict() == saved.to_dict()


def test_file_contains_no_pickle(tmp_path):
    file = make("UTC", "us").save(tmp_path / "f.npz")
    with np.load(file, allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays.files)


def test_failed_save_leaves_the_old_file_only(tmp_path, monkeypatch):
    file = make(None, "us").save(tmp_path / "f.npz")
    before = file.read_bytes()

    def fail(*args, **kwargs):
        raise RuntimeError("interrupted")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(RuntimeError):
        make("UTC", "us").save(file)
    assert file.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["f.npz"]


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken"])
def test_damaged_files_are_refused(tmp_path, content):
    file = tmp_path / "f.npz"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"f\.npz"):
        Forecast.load(file)


def test_truncated_and_foreign_files_are_refused(tmp_path):
    whole = make("UTC", "us").save(tmp_path / "f.npz").read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 17)):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.npz"):
            Forecast.load(tmp_path / "cut.npz")
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("a.txt", "no array")
    np.save(tmp_path / "one.npy", np.arange(3))
    for name in ("zip.npz", "one.npy", "missing.npz"):
        with pytest.raises(DataError, match=name):
            Forecast.load(tmp_path / name)


def test_other_formats_are_refused(tmp_path):
    file = make("UTC", "us").save(tmp_path / "f.npz")
    with np.load(file) as arrays:
        content = dict(arrays)
    meta = json.loads(str(content["meta"]))
    meta["format"] = 99
    content["meta"] = np.array(json.dumps(meta))
    np.savez(file, **content)
    with pytest.raises(DataError, match="format 99"):
        Forecast.load(file)
    meta["format"] = 1
    del meta["history"]
    content["meta"] = np.array(json.dumps(meta))
    np.savez(file, **content)
    with pytest.raises(DataError, match="damaged"):
        Forecast.load(file)


def test_metadata_description_is_one_line():
    line = METADATA.describe()
    assert line == "kronos-nano · raw · seed 7 · calendar XSHG (projected)"
    assert ForecastMetadata("drift", kind="baseline", simulated=True).describe().endswith("SIMULATED")
    assert ForecastMetadata.from_dict(json.loads(json.dumps(METADATA.to_dict()))) == METADATA

import io
import json
import os
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
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


def rewrite(file, tmp_path, **changed):
    """The saved arrays with some of them changed; returns the new file."""
    with np.load(file) as arrays:
        content = dict(arrays)
    np.savez_compressed(tmp_path / "changed.npz", **content | changed)
    return tmp_path / "changed.npz"


def change_meta(file, tmp_path, edit):
    with np.load(file) as arrays:
        meta = json.loads(str(arrays["meta"]))
    edit(meta)
    return rewrite(file, tmp_path, meta=np.array(json.dumps(meta)))


@pytest.mark.parametrize(
    "changed",
    [
        {"meta": np.array("[1]")},
        {"meta": np.array("null")},
        {"meta": np.array("[" * 100_000)},
        {"meta": np.array("{}")},
        {"meta": np.arange(3)},
        {"timestamps": np.zeros(6, dtype=np.int64)},
        {"timestamps": np.full(6, np.iinfo(np.int64).min)},
        {"timestamps": np.arange(6.0)},
        {"history_times": np.zeros(80, dtype=np.int64)},
        {"history": np.full((80, 6), np.nan)},
        {"history": np.ones((80, 5))},
        {"history": np.ones((0, 6))},
        {"paths": np.full((25, 6, 6), np.inf)},
        {"paths": np.ones((25, 6, 6), dtype=np.float32)},
        {"paths": np.array("paths")},
        {"paths": np.ones((0, 6, 6))},
    ],
)
def test_altered_arrays_are_refused(tmp_path, changed):
    file = rewrite(make("UTC", "us").save(tmp_path / "f.npz"), tmp_path, **changed)
    with pytest.raises(DataError, match=r"changed\.npz"):
        Forecast.load(file)


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ((), {"made": [], "mended": "0.1", "timestamps": 5, "history": None}),
        ((), {"mended": 1.5}),
        (("made",), {"kind": "oracle", "model": 5, "details": [], "notes": "One.", "simulated": "no"}),
        (("made", "details"), {"calibration": {"baseline": "drift"}}),
        (("timestamps",), {"unit": "Y", "tz": "Mars/Phobos"}),
        (("timestamps",), {"tz": None}),
        (
            ("history",),
            {"findings": [{}], "interval": "1 fortnight", "simulated": None, "symbol": ["a"], "tz": "../UTC"},
        ),
        (("history",), {"timezone": None}),
    ],
)
def test_altered_metadata_is_refused(tmp_path, part, values):
    whole = make("UTC", "us").save(tmp_path / "f.npz")
    for name, value in values.items():

        def edit(meta, name=name, value=value):
            for key in part:
                meta = meta[key]
            meta[name] = value

        with pytest.raises(DataError, match=r"changed\.npz"):
            Forecast.load(change_meta(whole, tmp_path, edit))


def test_arrays_larger_than_their_data_are_refused_without_allocating(tmp_path):
    whole = make("UTC", "us").save(tmp_path / "f.npz")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 6, 6)})
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "lie.npz", "w") as new:
        for name in old.namelist():
            new.writestr(name, header.getvalue() if name == "paths.npy" else old.read(name))
    with pytest.raises(DataError, match=r"lie\.npz"):
        Forecast.load(tmp_path / "lie.npz")


def test_files_that_unpack_to_much_more_than_their_size_are_refused(tmp_path):
    whole = make("UTC", "us").save(tmp_path / "f.npz")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2 * 10**6, 6, 1)})
    with (
        zipfile.ZipFile(whole) as old,
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
    ):
        for name in old.namelist():
            new.writestr(name, header.getvalue() + bytes(96 * 10**6) if name == "paths.npy" else old.read(name))
    with pytest.raises(DataError, match="unpack to 96 MB"):
        Forecast.load(tmp_path / "bomb.npz")


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_flipped_bytes_give_the_same_forecast_or_an_error(tmp_path, position, byte):
    file = tmp_path / "f.npz"
    saved = make("UTC", "us", samples=3)
    content = bytearray(saved.save(file).read_bytes())
    content[int(position * len(content))] = byte
    file.write_bytes(content)
    try:
        loaded = Forecast.load(file)
    except DataError:
        return
    assert np.array_equal(loaded.paths, saved.paths)
    assert loaded.to_dict() == saved.to_dict()


@pytest.mark.parametrize("name", ["f.parquet", "f.csv", "f", "f.npz.csv"])
def test_other_names_than_npz_are_refused(tmp_path, name):
    with pytest.raises(ParameterError, match=r"\.npz"):
        make("UTC", "us").save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_folders_and_pipes_are_no_forecasts(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "loop.npz").symlink_to("loop.npz")
    for name in ("folder.npz", "pipe.npz", "loop.npz"):
        with pytest.raises(DataError, match=name):
            Forecast.load(tmp_path / name)

"""Preparation of datasets: contents, summary, labels, reproducibility, atomic writes, and output folders."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronos.candles import Candles, read_many
from kronos.datasets import DatasetConfig, open_dataset, prepare
from kronos.datasets.preparation import base_interval, check_distinct_folders, check_output_folder
from kronos.errors import DataError, ParameterError, SourceError, StorageError
from kronos.intervals import Interval
from kronos.provenance import frame_digest, sha256_file
from kronos.sources.cache import CandleCache
from kronos.sources.downloads import CachedSource
from sources.markets import HOUR, Market, hours, rows

FRAME = rows(hours("2023-01-01", 5_000))
NOW = FRAME.index[-1] + pd.Timedelta(minutes=5)


def config(**changes):
    values = {
        "model_name": "Mine",
        "target_symbols": ["BTC-USDT_1H"],
        "records_per_timeframe": 2_000,
        "windows": {"lookback": 40, "predict": 8},
        "split": {"embargo": 8},
        "quality": "none",
    }
    return DatasetConfig.check(values | changes, "test")


def source(folder, frame=FRAME, **changes):
    return CachedSource(Market(frame, NOW, **changes), CandleCache(folder / "store"))


def parts(dataset):
    return {name: dataset.read(name) for name in ("train", "val", "test")}


def test_dataset_has_three_parts_and_a_summary(tmp_path):
    prepared = prepare(config(), source(tmp_path), folder=tmp_path / "mine")
    names = {path.name for path in (tmp_path / "mine").iterdir()}
    assert names == {"train_data.parquet", "val_data.parquet", "test_data.parquet", "data_summary.json"}
    dataset = open_dataset(tmp_path / "mine")
    frames = parts(dataset)
    assert {name: len(frame) for name, frame in frames.items()} == {"train": 1_400, "val": 292, "test": 292}
    train = frames["train"]
    assert list(train.columns) == [
        "unique_id", "symbol", "timeframe", "timestamps", "open", "high", "low", "close", "volume", "amount", "segment",
    ]  # fmt: skip
    assert set(train["unique_id"]) == {"BTC-USDT_1H"}
    assert str(train["timestamps"].dt.tz) == "UTC"
    whole = FRAME.iloc[-2_001:-1]
    np.testing.assert_array_equal(train[list(FRAME.columns)].to_numpy(), whole.iloc[:1_400].to_numpy())
    assert frames["test"]["timestamps"].iloc[-1] == whole.index[-1]
    assert dataset.summary == json.loads(json.dumps(prepared.summary))


def test_summary(tmp_path):
    summary = prepare(config(), source(tmp_path), folder=tmp_path / "mine").summary
    assert (summary["model_name"], summary["timeframes"], summary["records_per_timeframe"]) == ("Mine", ["1H"], 2_000)
    assert (summary["source"], summary["simulated"], summary["warnings"]) == ("memory", False, [])
    for one in summary["files"]:
        path = tmp_path / "mine" / one["filename"]
        assert one["sha256"] == sha256_file(path)
        assert one["size_mb"] == pytest.approx(path.stat().st_size / 1e6, abs=1e-3)
    assert summary["splits"]["train"]["windows"] == {"BTC-USDT_1H": 1_400 - 47}
    [series] = summary["series"]
    assert (series["candles"], series["rows"]) == (2_000, {"train": 1_400, "val": 292, "test": 292})
    assert series["left_out"] == {"filters": 0, "embargo": 16}
    assert open_dataset(tmp_path / "mine").config == config()


def test_equal_candles_give_equal_files(tmp_path):
    digests = []
    for name in ("a", "b"):
        summary = prepare(config(), source(tmp_path / name), folder=tmp_path / name / "mine").summary
        digests.append([one["sha256"] for one in summary["files"]])
    assert digests[0] == digests[1]


def test_training_part_does_not_depend_on_later_candles(tmp_path):
    changed = FRAME.copy()
    changed.iloc[-600:-1] *= 1.7
    first = prepare(config(), source(tmp_path / "a"), folder=tmp_path / "a" / "mine")
    second = prepare(config(), source(tmp_path / "b", changed), folder=tmp_path / "b" / "mine")
    assert first.summary["splits"]["train"]["sha256"] == second.summary["splits"]["train"]["sha256"]
    assert first.summary["splits"]["val"]["sha256"] != second.summary["splits"]["val"]["sha256"]


def test_longer_timeframes_are_resampled_from_complete_candles(tmp_path):
    frame = FRAME.drop(FRAME.index[[-500, -900]])
    four = config(target_symbols=["BTC-USDT_4H"], records_per_timeframe=300)
    prepared = prepare(four, source(tmp_path, frame), folder=tmp_path / "mine")
    [series] = prepared.summary["series"]
    assert (series["resampled_from"], series["candles"]) == ("1h", 300)
    [message] = [finding["message"] for finding in series["findings"] if finding["code"] == "resampled"]
    assert "2 " in message
    train = open_dataset(tmp_path / "mine").read("train").set_index("timestamps")
    hour = FRAME.loc[train.index[0] : train.index[0] + pd.Timedelta(hours=3)]
    assert train["high"].iloc[0] == hour["high"].max()
    assert train["volume"].iloc[0] == pytest.approx(hour["volume"].sum())


def test_base_interval_is_the_longest_that_can_be_resampled():
    class Source:
        name = "several"

        def intervals(self, symbol):
            return tuple(map(Interval.parse, ("1h", "4h", "1d", "3d", "1w")))

    for target, base in (("4h", "4h"), ("12h", "4h"), ("2d", "1d"), ("6d", "3d"), ("1mo", "1d")):
        assert str(base_interval(Source(), "X", Interval.parse(target))) == base
    with pytest.raises(ParameterError, match="several has neither 10h candles of X"):
        base_interval(Source(), "X", Interval.parse("10h"))


def test_timeframes_share_split_dates_unless_configured(tmp_path):
    both = config(target_symbols=["BTC-USDT_1H", "BTC-USDT_4H"], records_per_timeframe=1_000)
    prepared = prepare(both, source(tmp_path), folder=tmp_path / "mine")
    frames = parts(open_dataset(tmp_path / "mine"))
    hour, four = Interval.parse("1h").delta, Interval.parse("4h").delta
    length = frames["train"]["timeframe"].map({"1H": hour, "4H": four})
    assert (frames["train"]["timestamps"] + length).max() <= frames["val"]["timestamps"].min()
    assert len(set(prepared.summary["splits"]["val"]["begins"].values())) == 1
    apart = config(**{"target_symbols": ["BTC-USDT_1H", "BTC-USDT_4H"], "split": {"dates": "timeframe"}})
    prepared = prepare(apart, source(tmp_path), folder=tmp_path / "apart")
    assert len(set(prepared.summary["splits"]["val"]["begins"].values())) == 2


def test_part_too_short_for_a_window_is_a_warning(tmp_path):
    prepared = prepare(config(records_per_timeframe=200), source(tmp_path), folder=tmp_path / "mine")
    assert (
        "The validation and test parts of BTC-USDT_1H are too short for one window of 48 candles"
        in prepared.summary["warnings"][0]
    )


def test_conflicting_and_dropped_series_are_warnings(tmp_path):
    class Several:
        """Four series: an instrument twice, one without a timezone, and one with constant prices."""

        name = "several"
        simulated = False

        def now(self):
            return NOW

        def intervals(self, symbol):
            return (HOUR,)

        def candles(self, symbol, interval, *, start=None, end=None, records=None):
            frame = FRAME.iloc[-records:]
            if symbol == "STILL":
                frame = frame * 0 + 5.0
            if symbol == "LOCAL":
                frame = frame.tz_localize(None) * 1.5
            return Candles.from_frame(frame, symbol=symbol, interval=HOUR)

    symbols = ["BTC-USDT_1H", "btc/usdt_1H", "LOCAL_1H", "STILL_1H"]
    prepared = prepare(config(target_symbols=symbols, quality="paper"), Several(), folder=tmp_path / "mine")
    duplicate, naive, dropped, constant = prepared.summary["warnings"]
    assert "btc/usdt_1H has the same candles as BTC-USDT_1H" in duplicate
    assert "LOCAL_1H has timestamps without a timezone" in naive
    assert "dropped all 2,000 candles of STILL_1H" in dropped
    assert constant.startswith("STILL_1H: ")


def test_warning_suggests_split_dates_per_timeframe(tmp_path):
    both = config(target_symbols=["BTC-USDT_1H", "BTC-USDT_1D"], records_per_timeframe=150)
    warnings = prepare(both, source(tmp_path), folder=tmp_path / "mine").summary["warnings"]
    assert any("of BTC-USDT_1D are too short" in one and "split: {dates: timeframe}" in one for one in warnings)


def test_summary_counts_what_filters_split_and_drop(tmp_path):
    frame = FRAME.copy()
    frame.iloc[-1_500:, :4] *= 3.0
    frame.iloc[-700:-600, 4:] = 0.0
    prepared = prepare(config(quality="paper"), source(tmp_path, frame), folder=tmp_path / "mine")
    [series] = prepared.summary["series"]
    assert series["quality"]["splits"]["jumps"] == 1
    assert series["quality"]["left_out"]["illiquid"] == 100
    assert series["left_out"]["filters"] == 100
    assert series["segments"] == 3
    test = open_dataset(tmp_path / "mine").read("test")
    assert set(test["segment"]) == {2}


def test_missing_volume_becomes_zero_with_a_finding(tmp_path):
    frame = FRAME.copy()
    frame["volume"] = np.nan
    frame["amount"] = np.nan
    prepared = prepare(config(quality="paper"), source(tmp_path, frame), folder=tmp_path / "mine")
    [series] = prepared.summary["series"]
    assert "no-volume" in {finding["code"] for finding in series["findings"]}
    assert (open_dataset(tmp_path / "mine").read("train")[["volume", "amount"]] == 0).all(axis=None)


def test_series_dropped_by_filters_is_an_error(tmp_path):
    with pytest.raises(DataError, match="dropped all 200 candles of BTC-USDT_1H"):
        prepare(config(quality="paper", records_per_timeframe=200), source(tmp_path), folder=tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_force_replaces_a_dataset_only_when_the_new_one_is_complete(tmp_path):
    place = tmp_path / "mine"
    prepare(config(), source(tmp_path), folder=place)
    before = sha256_file(place / "data_summary.json")
    with pytest.raises(ParameterError, match="--force"):
        prepare(config(), source(tmp_path), folder=place)
    with pytest.raises(SourceError):
        prepare(config(records_per_timeframe=4_000), source(tmp_path, breaks_after=0), folder=place, force=True)
    assert sha256_file(place / "data_summary.json") == before
    prepare(config(records_per_timeframe=1_000), source(tmp_path), folder=place, force=True)
    assert open_dataset(place).summary["series"][0]["candles"] == 1_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "store"]


@pytest.mark.parametrize("opened", [True, False])
def test_dataset_whose_replacement_was_killed_is_restored(tmp_path, opened):
    folder = tmp_path / "sets" / "mine"
    expected = prepare(config(), source(tmp_path), folder=folder).summary
    folder.rename(folder.with_name(".0123abcd.old-mine"))  # killed between the two renames
    folder.with_name(".4567abcd.tmp-mine").mkdir()
    if opened:
        assert open_dataset(folder).summary == expected
    with pytest.raises(ParameterError, match="--force"):
        prepare(config(), source(tmp_path), folder=folder)
    assert open_dataset(folder).summary == expected
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]
    prepare(config(records_per_timeframe=1_500), source(tmp_path), folder=folder, force=True)
    assert open_dataset(folder).summary["records_per_timeframe"] == 1_500


def test_second_preparation_of_one_folder_is_refused(tmp_path):
    class Nested(Market):
        """A source that prepares the same dataset while it is read."""

        def page(self, symbol, interval, start, end):
            with pytest.raises(StorageError, match="is being prepared by process"):
                prepare(config(), source(tmp_path), folder=tmp_path / "mine", force=True)
            return super().page(symbol, interval, start, end)

    outer = CachedSource(Nested(FRAME, NOW), CandleCache(tmp_path / "other"))
    prepare(config(), outer, folder=tmp_path / "mine")
    assert not (tmp_path / ".mine.lock").exists()


def test_other_folders_are_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"x")
    for force in (False, True):
        with pytest.raises(ParameterError):
            prepare(config(), source(tmp_path), folder=tmp_path / "photos", force=force)
    assert (tmp_path / "photos" / "one.jpg").read_bytes() == b"x"


def test_files_added_during_the_download_are_not_lost(tmp_path):
    place = tmp_path / "mine"
    prepare(config(), source(tmp_path), folder=place)
    slow = source(tmp_path)
    fetch = slow.candles

    def meanwhile(*args, **options):
        (place / "notes.md").write_text("mine")
        return fetch(*args, **options)

    slow.candles = meanwhile
    with pytest.raises(ParameterError, match=r"also holds notes\.md"):
        prepare(config(), slow, folder=place, force=True)
    assert (place / "notes.md").read_text() == "mine"
    assert open_dataset(place).name == "Mine"


def test_pickles_for_the_published_scripts(tmp_path):
    prepare(config(), source(tmp_path), folder=tmp_path / "mine", formats=("parquet", "pkl"))
    with (tmp_path / "mine" / "train_data.pkl").open("rb") as handle:
        data = pickle.load(handle)  # noqa: S301  (we have just written it)
    frame = data["BTC-USDT_1H"]
    assert list(frame.columns) == ["open", "high", "low", "close", "vol", "amt"]
    assert (frame.index.name, frame.index.tz, len(frame)) == ("datetime", None, 1_400)
    assert frame.attrs == {"simulated": False}
    with pytest.raises(ParameterError, match="format 'csv': choose parquet or pkl"):
        prepare(config(), source(tmp_path), folder=tmp_path / "other", formats=("csv",))


def test_parts_can_be_read_as_candles(tmp_path):
    prepare(config(), source(tmp_path), folder=tmp_path / "mine")
    [(name, candles)] = read_many(tmp_path / "mine" / "train_data.parquet").items()
    assert (name, str(candles.interval), len(candles)) == ("BTC-USDT_1H", "1h", 1_400)


def test_open_dataset_by_name(tmp_path):
    prepare(config(), source(tmp_path), folder=tmp_path / "sets" / "mine")
    assert open_dataset("MINE", tmp_path / "sets").name == "Mine"
    with pytest.raises(ParameterError, match="no prepared dataset 'min'; did you mean mine"):
        open_dataset("min", tmp_path / "sets")
    (tmp_path / "sets" / "mine" / "data_summary.json").write_text("{")
    with pytest.raises(DataError, match="prepare the dataset again"):
        open_dataset("mine", tmp_path / "sets")


def test_open_dataset_in_the_configured_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/recipe.yaml").write_text("model_name: Mine\ntarget_symbols: [BTC_1H]\ndataset_path: elsewhere/it\n")
    prepare(config(), source(tmp_path), folder=Path("elsewhere/it"))
    assert open_dataset("recipe").folder == Path("elsewhere/it")
    prepare(config(), source(tmp_path), folder=Path("base/mine"))
    with pytest.raises(ParameterError, match="no prepared dataset 'mine'"):
        open_dataset("mine")
    monkeypatch.setenv("KRONOS_OUTPUT_DIR", "base")
    assert open_dataset("mine").folder == Path("base/mine")


class Given:
    """A source of given candles."""

    name = "naive"
    simulated = True

    def __init__(self, candles):
        self._candles = candles

    def now(self):
        return pd.Timestamp("2026-01-01", tz="UTC")

    def intervals(self, symbol):
        return (self._candles.interval,)

    def candles(self, symbol, interval, *, start=None, end=None, records=None):
        return self._candles.tail(records)


def test_closing_timestamps_are_resampled(tmp_path):
    days = pd.bdate_range("2025-03-03", "2025-06-30")
    clock = [
        *pd.timedelta_range("9h45min", "11h30min", freq="15min"),
        *pd.timedelta_range("13h15min", "15h", freq="15min"),
    ]
    times = pd.DatetimeIndex([day + at for day in days for at in clock])
    candles = Candles.from_frame(rows(times), symbol="SH600000", interval="15m", timezone="Asia/Shanghai")
    prepared = prepare(
        config(target_symbols=["SH600000_1H"], records_per_timeframe=300, quality="paper"),
        Given(candles),
        folder=tmp_path / "mine",
    )
    [series] = prepared.summary["series"]
    assert (series["resampled_from"], series["timezone"], prepared.summary["simulated"]) == (
        "15m",
        "Asia/Shanghai",
        False,
    )
    assert series["candles"] == 300


def test_simulated_label_is_in_every_file(tmp_path):
    candles = replace(Candles.from_frame(FRAME.iloc[:2_000], symbol="X", interval=HOUR), simulated=True)
    prepared = prepare(config(target_symbols=["X_1H"]), Given(candles), folder=tmp_path / "mine", formats=("pkl",))
    assert prepared.summary["simulated"] is True
    [(_, read)] = read_many(tmp_path / "mine" / "test_data.parquet").items()
    assert read.simulated
    with (tmp_path / "mine" / "val_data.pkl").open("rb") as handle:
        assert all(frame.attrs["simulated"] for frame in pickle.load(handle).values())  # noqa: S301
    assert frame_digest(candles.frame) == prepared.summary["series"][0]["sha256"]


# Output folders ----------------------------------------------------------


def make_dataset(folder):
    folder.mkdir(parents=True)
    for name in ("train_data.parquet", "val_data.parquet", "test_data.parquet", "train_data.pkl"):
        (folder / name).touch()
    summary = {"model_name": "X", "config": {}, "simulated": False}
    (folder / "data_summary.json").write_text(json.dumps(summary))
    return folder


def test_accepted_output_folders(tmp_path):
    check_output_folder(tmp_path / "new", force=False)
    (tmp_path / "empty").mkdir()
    check_output_folder(tmp_path / "empty", force=False)
    old = make_dataset(tmp_path / "old")
    (old / ".DS_Store").touch()
    (tmp_path / "empty" / ".DS_Store").touch()
    for folder in (old, tmp_path / "empty"):
        check_output_folder(folder, force=True)
    (tmp_path / "link").symlink_to(old)
    check_output_folder(tmp_path / "link", force=True)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    check_output_folder(tmp_path / "loop", force=False)


@pytest.mark.parametrize(
    ("name", "force", "words"),
    [
        ("old", False, "--force"),
        ("file", True, "is a file"),
        ("photos", True, "holds no dataset"),
        ("with_notes", True, "also holds notes.md"),
        ("with_another", True, "also holds inner"),
        ("old/inner", False, "inside the dataset"),
        ("link/inner", False, "inside the dataset"),
    ],
)
def test_rejected_output_folders(tmp_path, name, force, words):
    make_dataset(tmp_path / "old")
    (tmp_path / "link").symlink_to(tmp_path / "old")
    (tmp_path / "file").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    (make_dataset(tmp_path / "with_notes") / "notes.md").touch()
    make_dataset(make_dataset(tmp_path / "with_another") / "inner")
    with pytest.raises(ParameterError) as caught:
        check_output_folder(tmp_path / name, force=force)
    assert words in str(caught.value)


def test_datasets_of_one_command_need_distinct_folders(tmp_path):
    check_distinct_folders([("A", tmp_path / "a"), ("B", tmp_path / "ab"), ("C", tmp_path / "c" / "a")])
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for other in ("a", "link"):
        with pytest.raises(ParameterError, match="A and B would share the folder"):
            check_distinct_folders([("A", tmp_path / "a"), ("B", tmp_path / other)])
    for pair in ([("A", tmp_path / "a"), ("B", tmp_path / "a/b")], [("B", tmp_path / "a/b"), ("A", tmp_path / "a")]):
        with pytest.raises(ParameterError, match=r"B would be inside the folder .*a of A"):
            check_distinct_folders(pair)

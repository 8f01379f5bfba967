"""Parts of training data: dates, embargoes, unbroken segments, and independence of training from later candles."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kronos.datasets import (
    DatasetConfig,
    SplitDates,
    WindowDataset,
    WindowSettings,
    open_dataset,
    open_training_data,
    prepare,
    training_data,
)
from kronos.datasets.config import Split, WindowsSection
from kronos.errors import DataError, ParameterError
from kronos.sources import open_source

HOUR = 3_600_000_000
SPLITS = "market,validation_from,test_from\na,2024-01-20,2024-01-28\nb,2024-01-18,2024-01-22\n"


def open_folder(folder, **changes):
    return open_training_data(folder.place, **({"cache": folder.cache, "quality": "none"} | changes))


def predicted_opens(data, part):
    """Opening times of the candles that a part may predict, by instrument."""
    found = {}
    for span in data.spans(part):
        found.setdefault(span.series, []).append(data.store.opens[span.future : span.stop])
    return {series: np.concatenate(parts) for series, parts in found.items()}


def test_parts_are_consecutive_in_every_instrument(folder):
    data = open_folder(folder.several(), windows=WindowsSection(lookback=20, predict=5))
    [points] = set(data.cuts.values())
    first, second = (int(time.asm8.astype("M8[us]").astype(np.int64)) for time in (points.validation, points.test))
    assert data.parts.candles["train"] / len(data.store) == pytest.approx(0.7, abs=0.01)
    for part, low, high in (("train", 0, first), ("val", first + 5 * HOUR, second), ("test", second + 5 * HOUR, None)):
        times = predicted_opens(data, part)
        assert times
        for one in times.values():
            assert one.min() >= low
            assert high is None or one.max() + HOUR <= high
    assert data.embargo == 5


def test_history_may_begin_before_its_part(folder):
    data = open_folder(folder.several())
    assert all(span.start == span.future for span in data.spans("train"))
    for part in ("val", "test"):
        assert all(span.start < span.future < span.stop for span in data.spans(part))
    assert {span.series for span in data.spans("test")} == {0}  # the others ended before


def test_length_of_the_embargo(folder):
    folder.several()
    for embargo in (0, 7):
        data = open_folder(folder, split=Split(embargo=embargo))
        begin = int(next(iter(data.cuts.values())).validation.asm8.astype("M8[us]").astype(np.int64))
        assert predicted_opens(data, "val")[0].min() == begin + embargo * HOUR
    with pytest.raises(ParameterError, match="embargo -1"):
        open_folder(folder, split=SplitDates({}, embargo=-1))


@settings(max_examples=10)
@given(lengths=st.lists(st.integers(30, 200), min_size=1, max_size=4), train=st.floats(0.4, 0.8))
def test_shares_are_shares_of_all_candles(new_folder, walked, lengths, train):
    with tempfile.TemporaryDirectory() as place:
        folder = new_folder(Path(place) / "candles")
        for number, rows in enumerate(lengths):
            folder.add(f"m/{number}.parquet", walked(number, rows))
        split = Split(train=train, validation=(1 - train) / 2, test=(1 - train) / 2, embargo=0)
        data = open_folder(folder, split=split)
        counts = data.parts.candles
        assert sum(counts.values()) == sum(lengths)
        # Candles of one time go together, so a share may be off by as many as there are instruments.
        assert abs(counts["train"] - train * sum(lengths)) <= len(lengths)


def test_split_dates_by_market(folder):
    folder.several()
    path = folder.place.parent / "splits.csv"
    path.write_text(SPLITS)
    data = open_folder(folder, split=path)
    starts = {series: pd.Timestamp(times.min(), unit="us") for series, times in predicted_opens(data, "val").items()}
    assert starts == {0: pd.Timestamp("2024-01-20 10:00"), 2: pd.Timestamp("2024-01-18 10:00")}
    ends = {series: pd.Timestamp(times.max(), unit="us") for series, times in predicted_opens(data, "train").items()}
    assert ends[0] == pd.Timestamp("2024-01-19 23:00")
    assert data.end_dates("train") == {"a": "2024-01-20", "b": "2024-01-18"}
    assert data.end_dates("val")["b"] == "2024-01-22"
    path.write_text(SPLITS[: SPLITS.index("b,")])
    with pytest.raises(ParameterError, match="has no dates for the market 'b' of three"):
        open_folder(folder, split=path)


def test_split_dates_by_market_and_interval(folder, walked):
    folder.add("m/hours_1h.parquet", walked(0, 1_000))
    folder.add("m/days_1d.parquet", walked(1, 400, freq="D"))
    path = folder.place.parent / "splits.csv"
    path.write_text(
        "market,interval,validation_from,test_from\nm,daily,2024-06-01,2024-10-01\nm,,2024-01-20,2024-02-01\n"
    )
    data = open_folder(folder, split=path)
    assert [f"{data.cuts[group].validation:%Y-%m-%d}" for group in ("m 1d", "m 1h")] == ["2024-06-01", "2024-01-20"]
    assert data.end_dates("train") == {"m": "2024-06-01", "m 1h": "2024-01-20"}
    path.write_text("market,interval,validation_from,test_from\nm,often,2024-06-01,2024-10-01\n")
    with pytest.raises(DataError, match="line 2: Invalid interval 'often'"):
        open_folder(folder, split=path)
    path.write_text(
        "market,interval,validation_from,test_from\nm,1d,2024-06-01,2024-10-01\nm,24h,2024-01-20,2024-02-01\n"
    )
    with pytest.raises(DataError, match="'m 1d' is repeated"):
        open_folder(folder, split=path)


def test_naive_split_dates_are_on_the_wall_clock_of_the_candles(folder, walked):
    frame = walked(0, 900)
    frame["timestamps"] = frame["timestamps"].dt.tz_localize("Asia/Tokyo")
    folder.add("a/one.parquet", frame)
    dates = {"a": (pd.Timestamp("2024-01-20"), pd.Timestamp("2024-01-28"))}
    data = open_folder(folder, split=SplitDates(dates, embargo=0))
    assert pd.Timestamp(predicted_opens(data, "val")[0].min(), unit="us") == pd.Timestamp("2024-01-19 15:00")
    aware = {"a": tuple(time.tz_localize("UTC") for time in dates["a"])}
    data = open_folder(folder, split=SplitDates(aware, embargo=0))
    assert pd.Timestamp(predicted_opens(data, "val")[0].min(), unit="us") == pd.Timestamp("2024-01-20")


def test_split_dates_per_timeframe(folder, walked):
    folder.add("m/hours_1h.parquet", walked(0, 400))
    folder.add("m/days_1d.parquet", walked(1, 400, freq="D"))
    assert len(set(open_folder(folder).cuts.values())) == 1
    apart = open_folder(folder, split=Split(dates="timeframe"))
    assert apart.cuts["m 1h"].test < apart.cuts["m 1d"].validation
    assert apart.end_dates("train")["m"] == f"{apart.cuts['m 1d'].validation:%Y-%m-%d}"


def test_segments_end_at_price_jumps_and_gaps(folder, walked):
    frame = walked(0, 900)
    frame.loc[100:, ["open", "high", "low", "close"]] *= 1.5
    frame.loc[400:, "timestamps"] += pd.Timedelta(days=30)
    folder.add("m/one.parquet", frame)
    spans = open_folder(folder).spans("train")
    assert [(span.start, span.stop) for span in spans] == [(0, 100), (100, 400), (400, 630)]


def test_paper_filters_drop_illiquid_candles(folder, walked):
    frame = walked(0, 2_000)
    frame.loc[500:509, ["volume", "amount"]] = 0
    folder.add("m/one.parquet", frame)
    data = open_folder(folder, quality="paper")
    assert [(span.start, span.stop) for span in data.spans("train")] == [(0, 500), (510, 1_400)]
    assert data.describe()["parts"]["train"] == {
        "candles": 1_400, "kept": 1_390, "stretches": 2, "first": "2024-01-01T00:00:00", "last": "2024-02-28T07:00:00",
    }  # fmt: skip
    with pytest.raises(ParameterError, match="quality 'good'"):
        open_folder(folder, quality="good")


def halt(frame, row):
    frame.loc[row : row + 9, "close"] = frame.loc[row, "close"]


def jump(frame, row):
    frame.loc[row:, ["open", "high", "low", "close"]] *= 3


def stop_trading(frame, row):
    frame.loc[row:, ["volume", "amount"]] = 0


def noise(frame, row):
    frame.loc[row:, ["open", "high", "low", "close"]] *= 0.99
    frame.loc[row:, ["volume", "amount"]] *= 7


@settings(max_examples=6)
@given(
    changes=st.lists(
        st.tuples(st.sampled_from([halt, jump, stop_trading, noise]), st.integers(0, 500)), min_size=1, max_size=4
    ),
    quality=st.sampled_from(["paper", "none"]),
    halted=st.integers(700, 1_100),
)
@example(changes=[(noise, 0)], quality="paper", halted=1_047)  # only the beginning of the halt lies in training
@example(changes=[(jump, 0)], quality="paper", halted=860)  # the segment in training is too short, the whole one is not
@example(changes=[(stop_trading, 0)], quality="paper", halted=500)
def test_no_later_candle_changes_a_training_sample(new_folder, walked, changes, quality, halted):
    rows, settings_ = 1_500, WindowSettings(lookback=30, predict=5, shortest=10, mirrored=0.5)
    with tempfile.TemporaryDirectory() as place:
        folder = new_folder(Path(place) / "candles")
        frame = walked(0, rows)
        halt(frame, halted)
        folder.add("m/one.parquet", frame)
        before = WindowDataset(open_folder(folder, quality=quality), "train", settings_, samples=200)
        cut = before.data.parts.candles["train"]
        for change, row in changes:
            change(frame, min(cut + row, rows - 11))
        folder.add("m/one.parquet", frame)
        after = WindowDataset(open_folder(folder, quality=quality), "train", settings_, samples=200)
        assert after.data.store.digest != before.data.store.digest
        assert before.available == after.available
        assert before.data.spans("train") == after.data.spans("train")
        for index in range(0, 200, 20):
            np.testing.assert_array_equal(before[index].x, after[index].x)


def prepared(folder, **changes):
    values = {
        "model_name": "Mine",
        "target_symbols": ["BTC-USDT_1H", "ETH-USDT_4H"],
        "records_per_timeframe": 1_000,
        "windows": {"lookback": 40, "predict": 8},
        "quality": "none",
    }
    config = DatasetConfig.check(values | changes, "test")
    return prepare(config, open_source("simulated:3"), folder=folder.place)


def test_prepared_datasets_keep_their_parts(folder):
    summary = prepared(folder).summary
    data = open_folder(folder, split=Split(train=0.2, validation=0.4, test=0.4))
    dataset = open_dataset(folder.place)
    for part in ("train", "val", "test"):
        frame, window = dataset.read(part), WindowSettings(lookback=40, predict=8)
        assert data.parts.candles[part] == len(frame)
        assert WindowDataset(data, part, window).available == sum(summary["splits"][part]["windows"].values())
        rows = np.concatenate([np.arange(span.start, span.stop) for span in data.spans(part)])
        np.testing.assert_array_equal(np.sort(data.store.candles[rows, 3]), np.sort(frame["close"].to_numpy()))
    assert data.simulated
    assert data.describe()["split"]["by"] == "the prepared dataset"
    assert set(data.cuts) == set(data.groups)


def test_missing_part_of_a_prepared_dataset_is_an_error(folder):
    prepared(folder)
    (folder.place / "val_data.parquet").unlink()
    with pytest.raises(DataError, match=r"val_data\.parquet"):
        open_folder(folder)


def test_segments_are_cached(folder, monkeypatch):
    first = open_folder(folder.several())
    [cached] = folder.cache.glob("parts-*.npz")
    find_segments = training_data.find_segments
    monkeypatch.setattr(training_data, "find_segments", None)  # calling it would fail
    again = open_folder(folder)
    assert again.spans("val") == first.spans("val")
    assert again.digest == first.digest
    monkeypatch.setattr(training_data, "find_segments", find_segments)
    cached.write_bytes(cached.read_bytes()[:100])
    assert open_folder(folder).spans("val") == first.spans("val")
    assert open_folder(folder, split=Split(embargo=3)).digest != first.digest


def test_describe(folder):
    data = open_folder(folder.several())
    (folder.place / "broken.csv").write_text("open,high,low,close\n1,1,1,x\n")
    data = open_folder(folder)
    record = json.loads(json.dumps(data.describe()))
    assert record["groups"]["b 1h"]["series"] == 1
    assert [len(file["sha256"]) for file in record["files"]] == [64] * 4
    assert record["unreadable"][0]["path"].endswith("broken.csv")
    assert (record["simulated"], record["candles"], record["digest"]) == (False, 1_800, data.digest)
    assert record["split"] | {"cuts": 0} == {
        "by": "shares", "train": 0.7, "validation": 0.15, "test": 0.15, "dates": "common", "embargo": 10, "cuts": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("part", "window", "words"),
    [
        ("test", {}, r"The test part of .* is empty: none of the 300 candles lie 10 candles or more after 2024-03-01, "
         r"and a window needs 100 \(90 of history, 10 to predict\)"),
        ("val", {"lookback": 10, "predict": 30}, r"validation part .* has no window: at most 14 candles .* needs 40"),
        ("train", {"lookback": 400}, r"training part .* has no window: of its 264 candles 264 .* needs 410"),
    ],
)  # fmt: skip
def test_part_without_windows_is_explained(folder, walked, part, window, words):
    folder.add("m/one.parquet", walked(0, 300))
    dates = SplitDates({"m": (pd.Timestamp("2024-01-12"), pd.Timestamp("2024-03-01"))})
    if part == "val":
        dates = SplitDates({"m": (pd.Timestamp("2024-01-12"), pd.Timestamp("2024-01-13"))})
    with pytest.raises(DataError, match=words):
        WindowDataset(open_folder(folder, split=dates), part, WindowSettings(**window))


def test_part_dropped_by_filters_is_explained(folder, walked):
    folder.add("m/one.parquet", walked(0, 300))
    data = open_folder(folder, quality="paper")
    with pytest.raises(DataError, match=r"filters drop all of its 210 candles.*quality none"):
        WindowDataset(data, "train", WindowSettings())


def test_too_few_candles_for_three_parts(folder, walked):
    folder.add("m/one.parquet", walked(0, 2))
    with pytest.raises(DataError, match="split 2 candles"):
        open_folder(folder)


def test_unknown_part(folder):
    with pytest.raises(ParameterError, match="part 'validation'"):
        open_folder(folder.several()).spans("validation")


@pytest.mark.slow
def test_real_candles(shared, tmp_path):
    data = open_training_data(
        shared / "data/candles",
        split=shared / "data/splits.csv",
        cache=tmp_path,
        windows=WindowsSection(lookback=240, predict=16),
    )
    assert data.parts.candles["train"] == 852_288
    assert len(data.store.series) == 182
    assert not data.store.unreadable
    assert max(data.end_dates("train").values()) <= "2025-12-01"
    for part in ("train", "val", "test"):
        assert WindowDataset(data, part, WindowSettings(lookback=240, predict=16)).available > 50_000

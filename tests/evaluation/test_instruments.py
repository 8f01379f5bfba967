"""Instruments read from files, folders and prepared datasets, and the dates of splits.csv files."""

import json
from contextlib import suppress

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluation.random_walks import candles
from kronos.errors import DataError, ParameterError
from kronos.evaluation.dates import find_splits, read_splits
from kronos.evaluation.instruments import load_instruments
from kronos.evaluation.origins import Dates, RollingOrigins, make_plan

SPLITS = "market,validation_from,test_from\nleft,2024-01-05,2024-01-10\nright,2024-01-06,2024-01-12\n"


def write(path, seed=0, rows=150, freq="h"):
    path.parent.mkdir(parents=True, exist_ok=True)
    candles(seed, rows, freq=freq).frame.reset_index().to_csv(path, index=False)
    return path


def names_and_groups(loaded):
    return [(instrument.name, instrument.group) for instrument in loaded.instruments]


def test_names_come_from_files_and_markets_from_calendars(tmp_path):
    coin = write(tmp_path / "coin_1h.csv", rows=400)
    week = pd.read_csv(coin)
    week["timestamps"] = pd.bdate_range("2020-01-01", periods=len(week))
    week.to_csv(tmp_path / "odd.csv", index=False)
    loaded = load_instruments([coin, tmp_path / "odd.csv", coin])
    assert names_and_groups(loaded)[0] == ("coin_1h", "crypto 1h")
    assert [own.name for own in loaded.instruments] == ["coin_1h", "odd"]
    assert {own.market for own in load_instruments([coin], market="mine").instruments} == {"mine"}
    assert not loaded.unreadable


def test_markets_come_from_sub_folders_and_names_are_unique(tmp_path):
    for market in ("left", "right"):
        write(tmp_path / market / "deep" / "walk.csv")
    write(tmp_path / ".hidden" / "walk.csv")
    loaded = load_instruments([tmp_path])
    assert names_and_groups(loaded) == [("walk", "left 1h"), ("right/walk", "right 1h")]
    assert {own.market for own in load_instruments([tmp_path], market="all of it").instruments} == {"all of it"}


def test_a_manifest_lists_files_with_market_symbol_and_interval(tmp_path):
    for seed, name in enumerate(("one", "two", "unlisted")):
        write(tmp_path / "folder" / f"{name}.csv", seed)
    lines = ["path,market,symbol,freq,note", "folder/one.csv,left,ONE,1h,x", "folder/two.csv,right,TWO,1h,"]
    (tmp_path / "MANIFEST.csv").write_text("\n".join(lines))
    loaded = load_instruments([tmp_path])
    assert names_and_groups(loaded) == [("one", "left 1h"), ("two", "right 1h")]
    assert [own.candles.symbol for own in loaded.instruments] == ["ONE", "TWO"]
    assert names_and_groups(load_instruments([tmp_path / "folder"])) == names_and_groups(loaded)
    assert names_and_groups(load_instruments([tmp_path / "folder" / "two.csv"])) == [("two", "right 1h")]
    assert "unlisted" in dict(names_and_groups(load_instruments([tmp_path / "folder" / "unlisted.csv"])))
    (tmp_path / "MANIFEST.csv").write_text("\n".join([*lines, "folder/one.csv,,X,1h,"]))
    with pytest.raises(DataError, match=r"MANIFEST\.csv, line 4: .*market"):
        load_instruments([tmp_path])
    (tmp_path / "MANIFEST.csv").write_text("name,size\nx,1\n")
    assert len(load_instruments([tmp_path]).instruments) == 3


def test_files_that_cannot_be_read_do_not_stop_the_others(tmp_path):
    write(tmp_path / "good.csv")
    (tmp_path / "list.csv").write_text("name,size\nx,1\n")
    (tmp_path / "bad.csv").write_text("timestamps,open,high,low,close\nyesterday,1,1,1,1\n")
    loaded = load_instruments([tmp_path])
    assert [own.name for own in loaded.instruments] == ["good"]
    assert [path.name for path in loaded.passed_over] == ["list.csv"]
    [unread] = loaded.unreadable
    assert "bad.csv" in unread.problem
    with pytest.raises(DataError, match=r"bad\.csv"):
        load_instruments([tmp_path / "bad.csv"])
    with pytest.raises(DataError, match=r"list\.csv"):
        load_instruments([tmp_path / "list.csv"])
    with pytest.raises(DataError, match=r"None of 2 files .*bad\.csv"):
        load_instruments([tmp_path / "bad.csv", tmp_path / "list.csv"])
    with pytest.raises(ParameterError, match="no file, folder or prepared dataset 'nowhere'"):
        load_instruments(["nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no candle files"):
        load_instruments([tmp_path / "empty"])
    with pytest.raises(ParameterError, match="interval"):
        load_instruments([tmp_path], interval="soon")


def test_a_file_of_several_instruments(tmp_path):
    tables = [candles(seed, 100).frame.reset_index().assign(symbol=f"W{seed}") for seed in range(2)]
    pd.concat(tables).to_csv(tmp_path / "both.csv", index=False)
    assert [own.name for own in load_instruments([tmp_path / "both.csv"]).instruments] == ["W0_1h", "W1_1h"]


def make_dataset(folder, simulated=False):
    """Two series in three parts, with an embargo of a candle between them."""
    folder.mkdir()
    parts = {"train": (0, 100), "val": (101, 130), "test": (131, 200)}
    for part, (first, stop) in parts.items():
        tables = []
        for seed in range(2):
            table = candles(seed, 200).frame.reset_index().iloc[first:stop]
            table["timestamps"] = table["timestamps"].dt.tz_localize("UTC")
            tables.append(table.assign(unique_id=f"W{seed}_1H", symbol=f"W{seed}", timeframe="1H", segment=0))
        pd.concat(tables).to_parquet(folder / f"{part}_data.parquet", index=False)
    summary = {"model_name": "Mine", "config": {}, "simulated": simulated}
    (folder / "data_summary.json").write_text(json.dumps(summary))
    return folder


def test_a_prepared_dataset_has_dates(tmp_path):
    loaded = load_instruments([make_dataset(tmp_path / "set")])
    assert [own.name for own in loaded.instruments] == ["W0_1H", "W1_1H"]
    assert [len(own.candles) for own in loaded.instruments] == [198, 198]
    index = loaded.instruments[0].candles.index
    assert loaded.dates["W0_1H"] == {"validation": Dates(index[100], index[129]), "test": Dates(index[129], None)}
    plan = make_plan(
        loaded.instruments, RollingOrigins(5), {name: dates["test"] for name, dates in loaded.dates.items()}
    )
    assert set(plan.known) <= set(range(129, 198))
    assert names_and_groups(load_instruments([tmp_path])) == names_and_groups(loaded)
    (tmp_path / "set" / "val_data.parquet").unlink()
    with pytest.raises(DataError, match=r"val_data\.parquet"):
        load_instruments([tmp_path])


def test_simulated_candles_stay_labelled(tmp_path):
    write(tmp_path / "simulated_x_1h.csv")
    write(tmp_path / "real.csv", seed=1)
    assert load_instruments([tmp_path]).simulated == ["simulated_x_1h"]
    assert load_instruments([make_dataset(tmp_path / "set", simulated=True)]).simulated == ["W0_1H", "W1_1H"]


def test_splits_have_dates_by_market(tmp_path):
    path = tmp_path / "splits.csv"
    path.write_text(SPLITS)
    splits = read_splits(path)
    day = pd.Timestamp
    assert splits.dates("test")["left"] == Dates(day("2024-01-10"), None)
    assert splits.dates("validation")["right"] == Dates(day("2024-01-06"), day("2024-01-12"))
    folder = tmp_path / "candles" / "left"
    file = write(folder / "walk.csv")
    for place in (folder, file, tmp_path / "candles"):
        assert find_splits([place]).cuts == splits.cuts
    (folder / "splits.csv").write_text("date,ratio\n2024-01-01,2\n")  # of shares
    assert find_splits([folder]).path == path
    (folder / "splits.csv").write_text(SPLITS)
    with pytest.raises(ParameterError, match="--splits"):
        find_splits([folder, tmp_path / "candles"])
    path.unlink()
    assert find_splits([tmp_path / "candles"]) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("market,test_from\nx,2024-01-01\n", "validation_from"),
        ("market,validation_from,test_from\n", "no line"),
        (SPLITS + "left,2024-01-01,2024-01-02\n", "line 4: .*'left'"),
        (SPLITS + ",2024-01-01,2024-01-02\n", "line 4: .*market"),
        (SPLITS + "new,soon,2024-01-02\n", "line 4: .*validation_from 'soon'"),
        (SPLITS + "new,2024-01-01,\n", "line 4: .*test_from ''"),
        (SPLITS + "new,2024-01-02,2024-01-02\n", "line 4: .*2024-01-02.*2024-01-02"),
        ("", "splits.csv"),
    ],
)
def test_invalid_splits_are_refused(tmp_path, text, words):
    path = tmp_path / "splits.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_splits(path)
    with pytest.raises(DataError, match=r"missing\.csv"):
        read_splits(tmp_path / "missing.csv")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.sampled_from('ab,\n"\x000123-é T:+Z'), max_size=60))
def test_any_text_is_read_or_refused(tmp_path, text):
    path = tmp_path / "splits.csv"
    path.write_text(f"market,validation_from,test_from\n{text}", encoding="utf-8")
    with suppress(DataError):
        assert all(validation < test for validation, test in read_splits(path).cuts.values())

"""From files to instruments, and the dates beside them."""

import json
from contextlib import suppress

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluation.walks import candles
from kronos.errors import DataError, ParameterError
from kronos.evaluation.dates import find_splits, read_splits
from kronos.evaluation.instruments import load_instruments
from kronos.evaluation.plan import Dates, WalkForward, make_plan

SPLITS = "market,validation_from,test_from\nleft,2024-01-05,2024-01-10\nright,2024-01-06,2024-01-12\n"


def write(path, seed=0, rows=150, freq="h"):
    path.parent.mkdir(parents=True, exist_ok=True)
    candles(seed, rows, freq=freq).frame.reset_index().to_csv(path, index=False)
    return path


def told(found):
    return [(one.name, one.group) for one in found.instruments]


def test_files_have_names_and_markets_of_their_calendar(tmp_path):
    coin = write(tmp_path / "coin_1h.csv", rows=400)
    week = pd.read_csv(coin)
    week["timestamps"] = pd.bdate_range("2020-01-01", periods=len(week))
    week.to_csv(tmp_path / "odd.csv", index=False)
    found = load_instruments([coin, tmp_path / "odd.csv", coin])
    assert told(found)[0] == ("coin_1h", "crypto 1h")
    assert [one.name for one in found.instruments] == ["coin_1h", "odd"]
    assert {one.market for one in load_instruments([coin], market="mine").instruments} == {"mine"}
    assert not found.unreadable


def test_sub_folders_name_markets_and_names_are_unique(tmp_path):
    for market in ("left", "right"):
        write(tmp_path / market / "deep" / "walk.csv")
    write(tmp_path / ".hidden" / "walk.csv")
    found = load_instruments([tmp_path])
    assert told(found) == [("walk", "left 1h"), ("right/walk", "right 1h")]
    assert {one.market for one in load_instruments([tmp_path], market="all of it").instruments} == {"all of it"}


def test_a_manifest_says_what_is_what(tmp_path):
    for name in ("one", "two", "unlisted"):
        write(tmp_path / "folder" / f"{name}.csv")
    lines = ["path,market,symbol,freq,note", "folder/one.csv,left,ONE,1h,x", "folder/two.csv,right,TWO,1h,"]
    (tmp_path / "MANIFEST.csv").write_text("\n".join(lines))
    found = load_instruments([tmp_path])
    assert told(found) == [("one", "left 1h"), ("two", "right 1h")]
    assert [one.candles.symbol for one in found.instruments] == ["ONE", "TWO"]
    assert told(load_instruments([tmp_path / "folder"])) == told(found)
    assert told(load_instruments([tmp_path / "folder" / "two.csv"])) == [("two", "right 1h")]
    assert "unlisted" in dict(told(load_instruments([tmp_path / "folder" / "unlisted.csv"])))
    (tmp_path / "MANIFEST.csv").write_text("\n".join([*lines, "folder/one.csv,,X,1h,"]))
    with pytest.raises(DataError, match=r"Line 4 of .*MANIFEST\.csv has no market; add it"):
        load_instruments([tmp_path])
    (tmp_path / "MANIFEST.csv").write_text("name,size\nx,1\n")
    assert len(load_instruments([tmp_path]).instruments) == 3


def test_what_cannot_be_read_does_not_stop_the_others(tmp_path):
    write(tmp_path / "good.csv")
    (tmp_path / "list.csv").write_text("name,size\nx,1\n")
    (tmp_path / "bad.csv").write_text("timestamps,open,high,low,close\nyesterday,1,1,1,1\n")
    found = load_instruments([tmp_path])
    assert [one.name for one in found.instruments] == ["good"]
    assert [path.name for path in found.passed_over] == ["list.csv"]
    [unread] = found.unreadable
    assert "bad.csv" in unread.problem
    with pytest.raises(DataError, match=r"bad\.csv"):
        load_instruments([tmp_path / "bad.csv"])
    with pytest.raises(DataError, match=r"list\.csv"):
        load_instruments([tmp_path / "list.csv"])
    with pytest.raises(DataError, match=r"None of 2 files could be read; the first: .*bad\.csv"):
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
    assert [one.name for one in load_instruments([tmp_path / "both.csv"]).instruments] == ["W0_1h", "W1_1h"]


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


def test_a_prepared_dataset_knows_its_dates(tmp_path):
    found = load_instruments([make_dataset(tmp_path / "set")])
    assert [one.name for one in found.instruments] == ["W0_1H", "W1_1H"]
    assert [len(one.candles) for one in found.instruments] == [198, 198]
    index = found.instruments[0].candles.index
    assert found.dates["W0_1H"] == {"validation": Dates(index[100], index[129]), "test": Dates(index[129], None)}
    plan = make_plan(found.instruments, WalkForward(5), {name: dates["test"] for name, dates in found.dates.items()})
    assert set(plan.known) <= set(range(129, 198))
    assert told(load_instruments([tmp_path])) == told(found)
    (tmp_path / "set" / "val_data.parquet").unlink()
    with pytest.raises(DataError, match=r"val_data\.parquet cannot be read; prepare the dataset again"):
        load_instruments([tmp_path])


def test_simulated_candles_stay_labelled(tmp_path):
    write(tmp_path / "simulated_x_1h.csv")
    write(tmp_path / "real.csv", seed=1)
    assert load_instruments([tmp_path]).simulated == ["simulated_x_1h"]
    assert load_instruments([make_dataset(tmp_path / "set", simulated=True)]).simulated == ["W0_1H", "W1_1H"]


def test_splits_give_each_market_its_dates(tmp_path):
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
    with pytest.raises(ParameterError, match="say which count with --splits"):
        find_splits([folder, tmp_path / "candles"])
    path.unlink()
    assert find_splits([tmp_path / "candles"]) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("market,test_from\nx,2024-01-01\n", "has no column validation_from"),
        ("market,validation_from,test_from\n", "has no line"),
        (SPLITS + "left,2024-01-01,2024-01-02\n", "Line 4 of .* has the market 'left' again"),
        (SPLITS + ",2024-01-01,2024-01-02\n", "Line 4 of .* names no market"),
        (SPLITS + "new,soon,2024-01-02\n", "Line 4 of .* has 'soon' as validation_from"),
        (SPLITS + "new,2024-01-01,\n", "Line 4 of .* has '' as test_from"),
        (SPLITS + "new,2024-01-02,2024-01-02\n", "not before its test"),
        ("", "cannot be read"),
    ],
)
def test_bad_splits_are_told(tmp_path, text, sentence):
    path = tmp_path / "splits.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=sentence):
        read_splits(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_splits(tmp_path / "missing.csv")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.sampled_from('ab,\n"\x000123-é T:+Z'), max_size=60))
def test_any_text_is_splits_or_refused(tmp_path, text):
    path = tmp_path / "splits.csv"
    path.write_text(f"market,validation_from,test_from\n{text}", encoding="utf-8")
    with suppress(DataError):
        assert all(validation < test for validation, test in read_splits(path).cuts.values())

"""Plans of batches: complete, sorted, and the same however the candles are stored."""

import uuid

import fsspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch.markets import long_table, walk, write
from kronos.batch import BatchSettings, CandleFiles, make_plan
from kronos.batch.shards import split_plan
from kronos.candles import Candles
from kronos.errors import DataError, ParameterError
from kronos.evaluation import Instrument, RollingOrigins
from kronos.evaluation import make_plan as make_rolling_plan
from kronos.inference import SamplingParams


def pairs(plan):
    return list(plan.table.itertuples(index=False, name=None))


@pytest.fixture
def long_file(tmp_path):
    return write(long_table(4), tmp_path / "long" / "candles.parquet")


def test_each_series_is_forecast_after_its_last_candle(long_file):
    plan = make_plan(long_file)
    last = walk(0)["ds"].iloc[-1]
    assert pairs(plan) == [(f"S{i}", last) for i in range(4)]
    assert (len(plan), plan.series) == (4, 4)
    before = make_plan(str(long_file), end=str(last))
    assert pairs(before) == [(f"S{i}", last - pd.Timedelta("1h")) for i in range(4)]


@pytest.mark.parametrize("layout", ["by series", "by symbol=", "by day", "categories", "numbers of series"])
def test_layouts_of_files_give_the_same_forecasts(tmp_path, long_file, layout):
    table, folder = long_table(4), tmp_path / "other"
    names = [f"S{i}" for i in range(4)]
    if layout == "by series":
        for name, own in table.groupby("unique_id"):
            write(own.drop(columns="unique_id"), folder / f"{name}.parquet")
    elif layout == "by symbol=":
        for (name, day), own in table.groupby(["unique_id", table["ds"].dt.date]):
            write(own.drop(columns="unique_id"), folder / f"symbol={name}" / f"{day}.parquet")
    elif layout == "by day":
        for day, own in table.groupby(table["ds"].dt.date):
            write(own, folder / f"{day}.parquet")
    elif layout == "categories":
        write(table.astype({"unique_id": "category"}), folder / "all.parquet")
    else:
        names = [str(600000 + i) for i in range(4)]
        write(table.assign(unique_id=600000 + table["unique_id"].str[1:].astype(int)), folder / "all.parquet")
    plan, expected = make_plan(folder), make_plan(long_file)
    assert [name for name, _ in pairs(plan)] == names
    assert plan.table["cutoff"].equals(expected.table["cutoff"])
    cutoffs = pd.DatetimeIndex(plan.table["cutoff"])
    found, reference = (
        files.histories(own, cutoffs, 20)
        for files, own in ((plan.files, names), (expected.files, [f"S{i}" for i in range(4)]))
    )
    for one, other in zip(found, reference, strict=True):
        assert len(one.frame) == 20
        columns = ["ds", "open", "high", "low", "close", "volume"]
        pd.testing.assert_frame_equal(
            one.frame[columns].reset_index(drop=True), other.frame[columns].reset_index(drop=True)
        )


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_order_and_files_of_the_rows_do_not_matter(tmp_path, data):
    """Series of any length, in any order of rows, spread over any files, split into shards of any size."""
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    table = pd.concat([walk(i, rows).assign(unique_id=f"S{i}") for i, rows in enumerate(lengths)], ignore_index=True)
    order = data.draw(st.permutations(range(len(table))))
    parts = data.draw(st.integers(1, 3))
    folder = tmp_path / uuid.uuid4().hex
    for number, rows in enumerate(np.array_split(np.array(order), parts)):
        if len(rows):
            write(table.iloc[rows], folder / f"{number}.parquet")
    plan = make_plan(folder)
    last = table.groupby("unique_id")["ds"].max()
    assert pairs(plan) == list(last.items())
    size, limit = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 7))
    shards = split_plan(plan, "key", size)
    assert [shard.position for shard in shards] == list(range(len(shards)))
    assert sum(shard.forecasts for shard in shards) == len(plan)
    assert len({shard.digest for shard in shards}) == len(shards)
    assert split_plan(plan, "other key", size)[0].digest != shards[0].digest
    listed = table.sample(frac=0.5, random_state=1)
    if not len(listed):
        return
    origins = make_plan(folder, origins=listed.rename(columns={"ds": "cutoff"})[["unique_id", "cutoff"]])
    assert pairs(origins) == sorted(zip(listed["unique_id"], listed["ds"], strict=True))
    names, cutoffs = origins.table["unique_id"].tolist(), pd.DatetimeIndex(origins.table["cutoff"])
    for name, cutoff, rows in zip(names, cutoffs, origins.files.histories(names, cutoffs, limit), strict=True):
        known = table[(table["unique_id"] == name) & (table["ds"] <= cutoff)].tail(limit)
        assert rows.frame["ds"].tolist() == known["ds"].tolist()
        assert rows.frame["close"].tolist() == known["close"].tolist()


@pytest.mark.parametrize("stride", [1, 7, 24])
def test_origins_at_a_stride_are_those_of_an_evaluation(long_file, stride):
    own = Candles.from_frame(walk(2), symbol="S2")
    rolling = make_rolling_plan([Instrument("S2", "crypto", own)], RollingOrigins(horizon=1, stride=stride))
    expected = [own.index[known - 1] for known in rolling.known]
    found = [cutoff for name, cutoff in pairs(make_plan(long_file, stride=stride)) if name == "S2"]
    assert found[: len(expected)] == expected
    assert found[len(expected) :] in ([], [own.end])  # an evaluation needs the candle after it, too


def test_limits_of_a_stride(long_file):
    times = walk(0)["ds"]
    plan = make_plan(long_file, stride=10, start=times[70].tz_localize(None), end=times[91])
    assert pairs(plan)[:3] == [("S0", times[70]), ("S0", times[80]), ("S0", times[90])]
    assert len(plan) == 12
    write(long_table(1).iloc[::-1], long_file)
    with pytest.raises(DataError, match="S0 are not in order of time"):
        make_plan(long_file, stride=10)


def test_times_with_a_timezone_are_refused_if_the_candles_have_none(tmp_path):
    naive = write(walk(0).assign(ds=walk(0)["ds"].dt.tz_localize(None)), tmp_path / "c" / "S0.parquet")
    time = walk(0)["ds"].iloc[70]
    table = pd.DataFrame({"unique_id": ["S0"], "cutoff": [time.tz_convert("Asia/Shanghai")]})
    for options in ({"end": time}, {"stride": 5, "start": str(time)}, {"origins": table}):
        with pytest.raises(ParameterError, match=r"has a timezone, but the candles of S0\.parquet have none"):
            make_plan(naive, **options)
    assert pairs(make_plan(naive, end=time.tz_localize(None))) == [("S0", walk(0)["ds"].iloc[69].tz_localize(None))]


def test_times_are_in_the_timezone_of_the_candles_unless_they_have_their_own(tmp_path):
    shanghai = walk(0).assign(ds=walk(0)["ds"].dt.tz_convert("Asia/Shanghai"))
    path, time = write(shanghai, tmp_path / "c" / "S0.parquet"), shanghai["ds"].iloc[70]
    for end in (time.tz_localize(None), str(time.tz_localize(None)), time, time.tz_convert("UTC")):
        assert pairs(make_plan(path, end=end)) == [("S0", shanghai["ds"].iloc[69])]


def test_a_time_that_exists_twice_is_refused(tmp_path):
    times = pd.date_range("2024-11-02", periods=100, freq="h", tz="America/New_York")
    path = write(walk(0).iloc[:100].assign(ds=times[: len(walk(0).iloc[:100])]), tmp_path / "c" / "S0.parquet")
    with pytest.raises(ParameterError, match="ambiguous in America/New_York"):
        make_plan(path, end="2024-11-03 01:30")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", None])
def test_origins_from_tables(tmp_path, long_file, suffix):
    times = walk(0)["ds"]
    table = pd.DataFrame({"symbol": ["S3", "S1", "S3"], "origin": [times[50], times[60], times[50]]})
    given_as = table
    if suffix:
        given_as = tmp_path / f"origins{suffix}"
        table.to_csv(given_as, index=False) if suffix == ".csv" else table.to_parquet(given_as)
    assert pairs(make_plan(long_file, origins=given_as)) == [("S1", times[60]), ("S3", times[50])]


def test_object_storage(long_file):
    address = f"memory://{uuid.uuid4().hex}/candles"
    with fsspec.open(f"{address}/a.parquet", "wb") as file:
        file.write(long_file.read_bytes())
    assert pairs(make_plan(address)) == pairs(make_plan(long_file))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.assign(ds=table["ds"].astype(str)), "is of type"),
        (lambda table: table.drop(columns="close"), "close"),
        (lambda table: table.drop(columns="ds"), "times of the candles"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, change, message):
    path = write(change(long_table(2)), tmp_path / "candles.parquet")
    with pytest.raises(DataError, match=message):
        make_plan(path)


def test_other_files_are_refused(tmp_path, long_file):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="No Parquet file"):
        make_plan(tmp_path / "empty")
    with pytest.raises(DataError, match="does not exist"):
        make_plan(tmp_path / "missing")
    with pytest.raises(ParameterError, match="Unknown kind of address"):
        make_plan("carrier-pigeon://candles")
    (tmp_path / "text.parquet").write_text("open,high,low,close")
    with pytest.raises(DataError, match="corrupt Parquet"):
        make_plan(tmp_path / "text.parquet")
    write(long_table(1).drop(columns="ds"), long_file.with_name("other.parquet"))
    with pytest.raises(DataError, match="no column 'ds'"):
        make_plan(long_file.parent)
    write(walk(1), tmp_path / "a" / "BTC.parquet")
    write(walk(1), tmp_path / "b" / "BTC.parquet")
    with pytest.raises(DataError, match=r"Two files are named BTC\.parquet"):
        make_plan([tmp_path / "a", tmp_path / "b"])


def test_misuse(long_file):
    origins = pd.DataFrame({"unique_id": ["S1"], "cutoff": ["2024-01-02"]})
    for options, message in [
        ({"origins": origins, "stride": 3}, "lists the forecasts"),
        ({"start": "2024-01-02"}, "give the stride"),
        ({"stride": 0}, "Invalid stride"),
        ({"end": "tomorrow or so"}, "Invalid time"),
    ]:
        with pytest.raises(ParameterError, match=message):
            make_plan(long_file, **options)
    for options, message in [
        ({"origins": origins.rename(columns={"cutoff": "day"})}, "needs the columns"),
        ({"origins": origins.assign(cutoff="soon")}, "no time"),
        ({"origins": origins.assign(cutoff=[None])}, "is missing"),
        ({"end": "2001-01-01"}, "nothing to forecast"),
    ]:
        with pytest.raises(DataError, match=message):
            make_plan(long_file, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 0}, "Invalid horizon"),
        ({"sampling": SamplingParams()}, "needs a seed"),
        ({"history": 1}, "Invalid history"),
        ({"history": 50, "lookback": 60}, "at least 60"),
        ({"kind": "nixtla"}, "Invalid kind"),
        ({"targets": ("price",)}, "Invalid target 'price'"),
        ({"levels": (0.5, 1.0)}, "Invalid levels"),
        ({"shard_size": 0}, "Invalid shard_size"),
        ({"interval": "often"}, "often"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(ParameterError, match=message):
        BatchSettings(**options)


def test_a_changed_value_changes_the_digest(long_file):
    before = CandleFiles.open(long_file).digest()
    assert CandleFiles.open(long_file).digest() == before
    table = long_table(4)
    table.loc[5, "close"] *= 1.0001
    write(table, long_file)
    assert CandleFiles.open(long_file).digest() != before

"""Runs of batches: complete, resumable, and independent of workers, shards and everything after the origin."""

import json
import signal
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

import forks
from batch.markets import PicklingEngine, few, long_table, tiny_predictor, walk, write
from kronos.batch import LocalEngine, discard_batch, make_plan, read_forecasts, run, stored_forecasts
from kronos.errors import DataError, ParameterError, StorageError
from kronos.inference import KronosPredictor, SamplingParams
from kronos.locks import LOCK, exclusive_lock
from networks import random_model, random_tokenizer


@pytest.fixture(scope="module")
def predictor():
    return tiny_predictor()


@pytest.fixture
def candles(tmp_path):
    return write(long_table(7), tmp_path / "candles" / "all.parquet")


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"


def test_forecasts_are_those_of_the_predictor(predictor, candles, output):
    calls = []
    plan = make_plan(candles, stride=17)
    settings = few(targets=("close", "high"), levels=(0.1, 0.9))
    summary = run(plan, predictor, output, settings, progress=lambda *call: calls.append(call))
    assert (summary.series, summary.forecasts, summary.skipped) == (7, len(plan), ())
    assert calls[0] == (0, len(plan))
    assert calls[-1] == (len(plan), len(plan))
    table = summary.to_frame()
    assert len(table) == 4 * len(plan)
    for (name, cutoff), rows in table.groupby(["unique_id", "cutoff"]):
        own = walk(int(name[1:]))
        key = f"{name}@{cutoff.isoformat()}"
        expected = predictor.forecast_many({key: own[own["ds"] <= cutoff]}, 4, samples=5, seed=1)[key]
        assert rows["ds"].tolist() == expected.timestamps.tolist()
        assert rows["step"].tolist() == [1, 2, 3, 4]
        assert (rows["last_close"] == expected.last_close).all()
        for target in ("close", "high"):
            np.testing.assert_allclose(rows[f"{target}_mean"], expected.mean()[target], rtol=1e-6)
            quantiles = expected.quantiles([0.1, 0.5, 0.9], target).to_numpy()
            np.testing.assert_allclose(rows[f"{target}_median"], expected.median()[target], rtol=1e-6)
            np.testing.assert_allclose(rows[[f"{target}_q10", f"{target}_q90"]], quantiles[:, [0, 2]], rtol=1e-6)
    assert set(table["state"]) == {"raw"}
    assert not table["simulated"].any()
    assert json.loads((output / "batch.json").read_text())["shards"] == summary.shards


def test_every_sample_path(predictor, candles, output):
    table = run(make_plan(candles), predictor, output, few(kind="long")).to_frame()
    assert len(table) == 7 * 5 * 4
    key = f"S2@{walk(2)['ds'].iloc[-1].isoformat()}"
    expected = predictor.forecast_many({key: walk(2)}, 4, samples=5, seed=1)[key]
    rows = table[table["unique_id"] == "S2"]
    np.testing.assert_allclose(rows[["open", "close"]].to_numpy().reshape(5, 4, 2), expected.paths[..., [0, 3]])
    assert rows["sample_id"].tolist() == np.repeat(np.arange(5), 4).tolist()


def test_shards_of_any_size_give_the_same(predictor, candles, tmp_path):
    plan = make_plan(candles)
    tables = [run(plan, predictor, tmp_path / str(n), few(shard_size=n)).to_frame() for n in (1, 2, 7, 100)]
    for other in tables[1:]:
        pd.testing.assert_frame_equal(tables[0], other, rtol=1e-6)


@pytest.mark.slow
def test_workers_do_not_matter(predictor, candles, tmp_path):
    plan = make_plan(candles)
    alone = run(plan, predictor, tmp_path / "alone", few()).to_frame()
    two = run(plan, predictor, tmp_path / "two", few(), engine=LocalEngine(2)).to_frame()
    pd.testing.assert_frame_equal(alone, two)


def test_other_processes_calibrate_as_the_predictor_does(candles, output):
    bundled = KronosPredictor.from_pretrained(device="cpu")
    summary = run(make_plan(candles), bundled, output, few(market="crypto"), engine=PicklingEngine())
    table = summary.to_frame()
    assert summary.calibrated
    assert set(table["state"]) == {"calibrated"}
    assert set(table["model"]) == {"kronos-nano"}
    keys = {f"S{i}@{walk(i)['ds'].iloc[-1].isoformat()}": walk(i) for i in range(7)}
    expected = bundled.forecast_many(keys, 4, samples=5, seed=1, market="crypto")
    medians = np.concatenate([one.median()["close"] for one in expected.values()])
    np.testing.assert_allclose(table["close_median"], medians, rtol=1e-5)
    raw = run(make_plan(candles), bundled, output.with_name("raw"), few(calibration=False)).to_frame()
    assert set(raw["state"]) == {"raw"}
    assert not np.allclose(raw["close_median"], table["close_median"])


def test_candles_after_the_cutoff_do_not_matter(predictor, tmp_path):
    table = long_table(3)
    cutoff = walk(0)["ds"].iloc[80]
    origins = pd.DataFrame({"unique_id": [f"S{i}" for i in range(3)], "cutoff": cutoff})
    changed = table.copy()
    later = changed["ds"] > cutoff
    changed.loc[later, ["open", "high", "low", "close"]] *= 1.5
    changed = changed[~(later & (changed["ds"].dt.hour == 3))]
    results = []
    for name, one in (("before", table), ("after", changed)):
        plan = make_plan(write(one, tmp_path / name / "c.parquet"), origins=origins)
        results.append(run(plan, predictor, tmp_path / f"out-{name}", few()).to_frame())
    pd.testing.assert_frame_equal(*results)


TESTS = Path(__file__).resolve().parents[1]
DRIVER = """
import sys
sys.path.insert(0, sys.argv[3])
from batch.markets import few, tiny_predictor
from kronos.batch import make_plan, run
if __name__ == "__main__":
    run(make_plan(sys.argv[1], stride=4), tiny_predictor(), sys.argv[2], few())
"""


@pytest.mark.slow
def test_a_killed_driver_resumes(predictor, candles, output, tmp_path):
    (tmp_path / "driver.py").write_text(DRIVER)
    process = forks.Popen([sys.executable, tmp_path / "driver.py", candles, output, TESTS])
    deadline = time.monotonic() + 120
    while len(list(output.glob("forecasts/[0-9]*"))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    plan, calls = make_plan(candles, stride=4), []
    stored = stored_forecasts(plan, predictor, output, few())
    assert 0 < stored < len(plan)
    with pytest.raises(DataError, match="run the batch again"):
        read_forecasts(output)
    kept = {path: path.stat().st_mtime_ns for path in output.glob("forecasts/[0-9]*")}
    summary = run(plan, predictor, output, few(), progress=lambda *call: calls.append(call))
    assert calls[0] == (stored, len(plan))
    assert summary.found == stored
    assert summary.forecasts == len(plan)
    assert all(path.stat().st_mtime_ns == modified for path, modified in kept.items())
    assert not list(output.rglob(".*"))
    table = summary.to_frame()
    assert not table.duplicated(["unique_id", "cutoff", "step"]).any()
    pd.testing.assert_frame_equal(table, run(plan, predictor, tmp_path / "undisturbed", few()).to_frame())


def test_unusable_series_are_listed(predictor, tmp_path, output):
    table = long_table(4)
    table.loc[table["unique_id"] == "S1", ["open", "high", "low", "close"]] = -1.0
    table = table[(table["unique_id"] != "S2") | (table["ds"] == table["ds"].min())]
    candles = write(table, tmp_path / "c" / "all.parquet")
    summary = run(make_plan(candles), predictor, output, few(shard_size=2))
    assert summary.forecasts == 2
    assert [one.unique_id for one in summary.skipped] == ["S1", "S2"]
    assert all(one.unique_id in one.reason for one in summary.skipped)
    listed = pd.read_csv(output / "skipped.csv")
    assert listed["reason"].tolist() == [one.reason for one in summary.skipped]
    assert set(summary.to_frame()["unique_id"]) == {"S0", "S3"}
    again = run(make_plan(candles), predictor, output, few(shard_size=2))
    assert again.skipped == summary.skipped
    assert (again.found, again.forecasts) == (4, 2)
    with pytest.raises(DataError, match="S1@"):
        run(make_plan(candles), predictor, tmp_path / "strict", few(shard_size=2, strict=True))


def test_series_without_candles_are_listed(predictor, candles, output):
    origins = pd.DataFrame({"unique_id": ["S0", "S0", "other"], "cutoff": ["2024-01-03", "2023-01-03", "2024-01-03"]})
    summary = run(make_plan(candles, origins=origins), predictor, output, few())
    assert [one.unique_id for one in summary.skipped] == ["S0", "other"]
    assert all("no candles" in one.reason for one in summary.skipped)


def test_none_can_be_forecast(predictor, candles, output):
    origins = pd.DataFrame({"unique_id": ["a", "b"], "cutoff": "2024-01-03"})
    summary = run(make_plan(candles, origins=origins), predictor, output, few())
    assert (summary.forecasts, len(summary.skipped)) == (0, 2)
    assert summary.to_frame().empty


def test_a_folder_belongs_to_one_batch(predictor, candles, output, tmp_path):
    plan = make_plan(candles)
    run(plan, predictor, output, few())
    with pytest.raises(ParameterError, match="another horizon"):
        run(plan, predictor, output, few(horizon=5))
    with pytest.raises(ParameterError, match="another seed"):
        run(plan, predictor, output, few(sampling=SamplingParams(samples=5, seed=2)))
    with pytest.raises(ParameterError, match="another shard size"):
        run(plan, predictor, output, few(shard_size=2))
    with pytest.raises(ParameterError, match="another candles and origins"):
        run(make_plan(candles, stride=9), predictor, output, few())
    with pytest.raises(ParameterError, match="another model"):
        run(plan, tiny_predictor(4), output, few())
    other = KronosPredictor(random_model(3), random_tokenizer(3), device="cpu", max_context=32)
    with pytest.raises(ParameterError, match="another model"):
        run(plan, other, output, few())
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"x")
    with pytest.raises(ParameterError, match="not the folder of a batch"):
        run(plan, predictor, tmp_path / "photos", few())
    with pytest.raises(ParameterError, match="is a file"):
        run(plan, predictor, tmp_path / "photos" / "one.jpg", few())
    with pytest.raises(ParameterError, match="read as candles"):
        run(make_plan(candles.parent), predictor, candles.parent / "out", few())
    with pytest.raises(ParameterError, match="market selects"):
        run(plan, predictor, tmp_path / "m", few(market="crypto"))
    with (
        exclusive_lock(output / LOCK, busy="", fix=""),
        pytest.raises(StorageError, match="is being written"),
    ):
        run(plan, predictor, output, few())


def test_changed_and_foreign_shards_are_refused(predictor, candles, output):
    plan = make_plan(candles)
    run(plan, predictor, output, few())
    shard, second, _ = sorted((output / "forecasts").iterdir())
    content = shard.read_bytes()

    def resume():
        return run(plan, predictor, output, few())

    table = parquet.read_table(shard)
    means = table["close_mean"].to_numpy() * 1.0001
    position = table.schema.get_field_index("close_mean")
    parquet.write_table(table.set_column(position, table.schema.field(position), [means]), shard)
    with pytest.raises(DataError, match="was changed"):
        resume()
    parquet.write_table(table.replace_schema_metadata(None), shard)
    with pytest.raises(DataError, match="is no shard"):
        resume()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        resume()
    shard.write_bytes(second.read_bytes())
    with pytest.raises(DataError, match="another batch"):
        resume()
    shard.unlink()
    assert resume().found == 4
    assert parquet.read_table(shard).equals(table)
    foreign = shard.with_name("0000000-0123456789abcdef.parquet")
    foreign.write_bytes(content)
    with pytest.raises(ParameterError, match="not of this batch"):
        resume()


def test_damaged_facts(predictor, candles, output):
    with pytest.raises(DataError, match="not the folder of a batch"):
        read_forecasts(output)
    run(make_plan(candles), predictor, output, few())
    (output / "batch.json").write_text("{")
    with pytest.raises(DataError, match=r"batch\.json cannot be read"):
        run(make_plan(candles), predictor, output, few())


def test_object_storage(predictor, candles, output):
    plan = make_plan(candles)
    address = f"memory://{uuid.uuid4().hex}/out"
    summary = run(plan, predictor, address, few())
    assert summary.folder == address
    pd.testing.assert_frame_equal(summary.to_frame(), run(plan, predictor, output, few()).to_frame())
    assert run(plan, predictor, address, few()).found == len(plan)
    discard_batch(address)
    with pytest.raises(DataError, match="not the folder of a batch"):
        read_forecasts(address)


def test_parts_of_the_table(predictor, candles, output):
    run(make_plan(candles), predictor, output, few())
    part = read_forecasts(output, series=["S3", "S5"], columns=["unique_id", "step", "close_median"])
    assert part.columns.tolist() == ["unique_id", "step", "close_median"]
    assert part["unique_id"].tolist() == ["S3"] * 4 + ["S5"] * 4


def test_discarding_leaves_other_files(predictor, candles, output, tmp_path):
    run(make_plan(candles), predictor, output, few())
    (output / "notes.txt").write_text("mine")
    discard_batch(output)
    assert [path.name for path in output.rglob("*")] == ["notes.txt"]
    with pytest.raises(ParameterError, match="not removed"):
        discard_batch(output)
    discard_batch(tmp_path / "missing")


def test_simulated_candles_are_labelled(predictor, tmp_path, output):
    plan = make_plan(write(walk(1), tmp_path / "c" / "simulated_btc.parquet"))
    summary = run(plan, predictor, output, few())
    assert summary.simulated == 1
    assert summary.to_frame()["simulated"].all()


def test_times_without_timezone_and_days(predictor, tmp_path, output):
    table = walk(1).assign(ds=pd.date_range("2024-01-01", periods=100, freq="D").date)
    plan = make_plan(write(table, tmp_path / "c" / "BTC.parquet"), end="2024-03-01 12:00")
    frame = run(plan, predictor, output, few()).to_frame()
    assert frame["unique_id"].unique().tolist() == ["BTC"]
    assert frame["ds"].tolist() == pd.date_range("2024-03-02", periods=4).tolist()
    assert replace(few(), calendar="24/7").to_dict() != few().to_dict()

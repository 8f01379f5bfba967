"""Engines: every shard is computed once, whatever becomes of the workers."""

import os
import sys

import pandas as pd
import pytest

from batch.markets import TouchingJob, few, long_table, tiny_predictor, write
from kronos.batch import LocalEngine, RayEngine, make_plan, run
from kronos.batch.shards import Shard
from kronos.errors import DataError, DeviceError, ParameterError

SHARDS = [Shard(position, 1, "") for position in range(6)]


def done(folder):
    return {path.name: path.read_text() for path in sorted(folder.glob("*.done"))}


ALL = {f"{shard.position}.done": "done\n" for shard in SHARDS}


def test_one_process(tmp_path):
    assert list(LocalEngine().run(TouchingJob(tmp_path), SHARDS, gpu=False)) == SHARDS
    assert done(tmp_path) == ALL


@pytest.mark.slow
def test_a_killed_process_is_replaced(tmp_path):
    finished = list(LocalEngine(2).run(TouchingJob(tmp_path, kills=2), SHARDS, gpu=False))
    assert sorted(finished, key=lambda shard: shard.position) == SHARDS
    assert set(done(tmp_path)) == set(ALL)


@pytest.mark.slow
def test_processes_that_are_always_killed_end_the_run(tmp_path):
    with pytest.raises(DeviceError, match="was killed"):
        list(LocalEngine(2).run(TouchingJob(tmp_path, kills=0, always=True), SHARDS[:2], gpu=False))


def test_misuse(tmp_path):
    with pytest.raises(ParameterError, match="at least 1"):
        LocalEngine(0)
    with pytest.raises(ParameterError, match="Only one process"):
        list(LocalEngine(2).run(TouchingJob(tmp_path), SHARDS, gpu=True))


def test_ray_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ParameterError, match="install the extra 'ray'"):
        RayEngine()


@pytest.fixture(scope="module")
def ray():
    """A Ray cluster of this machine, for the tests of this module."""
    ray = pytest.importorskip("ray", reason="needs Ray, of the extra ray, which make test does not install")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # actors import the jobs of the tests
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 * 2**20)
        yield ray
        ray.shutdown()


@pytest.mark.slow
def test_ray_gives_the_same_forecasts(ray, tmp_path):
    plan, predictor = make_plan(write(long_table(7), tmp_path / "c" / "all.parquet")), tiny_predictor()
    here = run(plan, predictor, tmp_path / "here", few()).to_frame()
    calls = []
    there = run(
        plan,
        predictor,
        tmp_path / "there",
        few(),
        engine=RayEngine(2),
        progress=lambda *call: calls.append(call),
    )
    pd.testing.assert_frame_equal(here, there.to_frame())
    assert (there.engine, there.forecasts) == ("ray", 7)
    assert [count for count, _ in calls] in ([0, 3, 6, 7], [0, 3, 4, 7], [0, 1, 4, 7])


@pytest.mark.slow
def test_ray_replaces_a_killed_actor(ray, tmp_path):
    finished = list(RayEngine(2).run(TouchingJob(tmp_path, kills=2), SHARDS, gpu=False))
    assert sorted(finished, key=lambda shard: shard.position) == SHARDS
    assert set(done(tmp_path)) == set(ALL)


@pytest.mark.slow
def test_errors_of_actors_are_those_of_the_job(ray, tmp_path):
    origins = pd.DataFrame({"unique_id": ["other"], "cutoff": ["2024-01-03"]})
    plan = make_plan(write(long_table(1), tmp_path / "c" / "all.parquet"), origins=origins)
    with pytest.raises(DataError, match="no candles of other"):
        run(plan, tiny_predictor(), tmp_path / "out", few(strict=True), engine=RayEngine(1))


@pytest.mark.slow
def test_ray_without_a_gpu(ray, tmp_path):
    if ray.cluster_resources().get("GPU"):
        pytest.skip("the machine has a GPU")
    with pytest.raises(DeviceError, match="no GPU"):
        list(RayEngine().run(TouchingJob(tmp_path), SHARDS, gpu=True))

"""Engines: every item is computed once, whatever becomes of the workers, and all that uses engines gives the same.

Batches, evaluations, signals and live forecasts are made in this process and elsewhere, and are equal bit for bit.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import forks
from backtest.candles import instruments as stocks
from batch.jobs import HasOneThread, TouchingJob
from batch.markets import PicklingEngine, few, long_table, tiny_predictor, write
from evaluation.random_walks import instruments as walks
from kronos import KronosPredictor
from kronos.backtest.signal_run import check_point_in_time, compute_signals
from kronos.backtest.signals import SignalSettings, plan_signals
from kronos.baselines import BASELINES
from kronos.batch import make_plan, run
from kronos.engines import LocalEngine, RayEngine, uses_gpu
from kronos.errors import DataError, DeviceError, ParameterError
from kronos.evaluation.forecasters import BaselineForecaster, ModelForecaster
from kronos.evaluation.origins import RollingOrigins
from kronos.evaluation.origins import make_plan as plan_origins
from kronos.evaluation.rolling import RollingSettings, run_rolling
from kronos.live import forecaster as live
from live.replays import START, make_config, recorded_candles

POSITIONS = range(6)


def done(folder):
    return {path.name: path.read_text() for path in sorted(folder.glob("*.done"))}


SLOW_TO_LOAD = """
import signal, sys
from multiprocessing import get_context
from batch.jobs import SlowToLoad
from kronos.engines import LocalEngine, without_interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it, and so would the workers
job = SlowToLoad(sys.argv[1])
"""
WORK = {
    "pool": "print(sorted(LocalEngine(2).run(job, range(4), gpu=False)) == [(at, at) for at in range(4)])",
    "process": """
process = get_context("spawn").Process(target=job, args=(1,))
with without_interrupts():
    process.start()
process.join()
print(process.exitcode == 0)
""",
}
ALL = {f"{position}.done": "done\n" for position in POSITIONS}


def test_one_process(tmp_path):
    assert [position for position, _ in LocalEngine().run(TouchingJob(tmp_path), POSITIONS, gpu=False)] == list(
        range(6)
    )
    assert done(tmp_path) == ALL


@pytest.mark.slow
def test_a_killed_process_is_replaced(tmp_path):
    finished = list(LocalEngine(2).run(TouchingJob(tmp_path, kills=2), POSITIONS, gpu=False))
    assert sorted(finished) == [(position, f"{position}") for position in range(6)]
    assert set(done(tmp_path)) == set(ALL)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent in another way there")
@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_workers_that_still_start_leave_an_interrupt_to_their_parent(work, tmp_path):
    command = [sys.executable, "-c", SLOW_TO_LOAD + work, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with forks.Popen(command, preload=(), env=environment, **streams) as process:
        while not (loading := list(tmp_path.glob("*.loading"))) and process.poll() is None:
            time.sleep(0.02)
        os.kill(int(loading[0].stem), signal.SIGINT)  # a terminal sends it to all processes
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "True\n", "")


@pytest.mark.slow
def test_processes_that_are_always_killed_end_the_run(tmp_path):
    with pytest.raises(DeviceError, match="was killed"):
        list(LocalEngine(2).run(TouchingJob(tmp_path, kills=0, always=True), POSITIONS[:2], gpu=False))


@pytest.mark.slow
@pytest.mark.parametrize("late", [False, True])
def test_processes_share_the_threads_and_return_results(late, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # what a process would have otherwise
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert sorted(LocalEngine(2).run(HasOneThread(late), [10, 20], gpu=False)) == [(0, -10), (1, -20)]
    finally:
        torch.set_num_threads(before)


def test_gpus_are_asked_for_by_those_that_use_one():
    class OnGpu:
        gpu = True

    assert not uses_gpu([])
    assert not uses_gpu([BaselineForecaster(BASELINES["drift"]), ModelForecaster(tiny_predictor(), "tiny")])
    assert uses_gpu([BaselineForecaster(BASELINES["drift"]), OnGpu()])


# What uses engines ---------------------------------------------------------------


def make_evaluation(folder, engine):
    """Paths of a model and of a baseline at more origins than a shard has."""
    plan = plan_origins(walks(2, 400), RollingOrigins(horizon=4))
    forecasters = [ModelForecaster(tiny_predictor(), "tiny"), BaselineForecaster(BASELINES["ewma-volatility"])]
    made = run_rolling(plan, forecasters, folder, RollingSettings(samples=4), engine=engine)
    return {name: own.returns for name, own in made.items()} | {"losses": made["tiny"].candles.crps}


def make_signals(folder, engine):
    """Signals of several shards."""
    model = tiny_predictor()
    plan = plan_signals(stocks(2), model, SignalSettings(lookback=20, horizon=3, samples=64))
    table = compute_signals(plan, model, folder, engine=engine).table
    return {name: table[name].to_numpy() for name in ("last", "risk_adjusted")}


def make_live(folder, engine):
    """Shown and raw paths and a baseline's of several blocks of symbols, with the bundled model."""
    config = make_config(folder, model={"model_name": "kronos-nano"})
    model = live.load_forecaster("kronos-nano", config)
    histories = {f"S{seed}": recorded_candles(f"S{seed}", 100, seed) for seed in range(5)}
    found, reasons = live.forecast_all(model, histories, START, config, engine)
    assert not reasons
    assert {one.shown.metadata.state for one in found.values()} == {"calibrated"}
    assert {one.raw.metadata.details["model"]["sha256"] for one in found.values()} == {model.identity.sha256}
    return {
        f"{symbol} {name}": forecast.paths
        for symbol, one in sorted(found.items())
        for name, forecast in one.contenders.items()
    }


FACES = {"evaluation": make_evaluation, "signals": make_signals, "live": make_live}


def check_equal(face, folder, engine, monkeypatch):
    """Compare, bit for bit, with the forecasts of this process on as many threads as a worker has."""
    monkeypatch.setattr(live, "BLOCK", 2)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here, there = (FACES[face](folder / name, own) for name, own in (("here", None), ("there", engine)))
    finally:
        torch.set_num_threads(before)
    assert list(here) == list(there)
    for name, values in here.items():
        np.testing.assert_array_equal(there[name], values)


@pytest.mark.slow
@pytest.mark.parametrize("face", FACES)
def test_copies_give_the_same(face, tmp_path, monkeypatch):
    check_equal(face, tmp_path, PicklingEngine(), monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("face", FACES)
def test_processes_give_the_same(face, tmp_path, monkeypatch):
    check_equal(face, tmp_path, LocalEngine(2), monkeypatch)


def test_copies_calibrate_signals(tmp_path):
    model = KronosPredictor.from_pretrained(device="cpu")
    settings = SignalSettings(lookback=20, horizon=3, samples=4, temperature=1.0, top_p=1.0, calibrated=True)
    plan = plan_signals(stocks(1, 24), model, settings, seen="mark", start="2024-01-01")
    here = compute_signals(plan, model, tmp_path / "here")
    there = compute_signals(plan, model, tmp_path / "there", engine=PicklingEngine())
    pd.testing.assert_frame_equal(here.table, there.table, check_exact=True)
    check_point_in_time(there, plan, model)


# Misuse, and Ray -----------------------------------------------------------------


def test_misuse(tmp_path):
    with pytest.raises(ParameterError, match="at least 1"):
        LocalEngine(0)
    with pytest.raises(ParameterError, match="Only one process"):
        list(LocalEngine(2).run(TouchingJob(tmp_path), POSITIONS, gpu=True))


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
    pd.testing.assert_frame_equal(here, there.to_frame(), check_exact=True)
    assert (there.engine, there.forecasts) == ("ray", 7)
    assert [count for count, _ in calls] in ([0, 3, 6, 7], [0, 3, 4, 7], [0, 1, 4, 7])


@pytest.mark.slow
def test_ray_replaces_a_killed_actor(ray, tmp_path):
    finished = list(RayEngine(2).run(TouchingJob(tmp_path, kills=2), POSITIONS, gpu=False))
    assert sorted(finished) == [(position, f"{position}") for position in range(6)]
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
        list(RayEngine().run(TouchingJob(tmp_path), POSITIONS, gpu=True))


@pytest.mark.slow
@pytest.mark.parametrize("face", FACES)
def test_ray_gives_the_same(ray, face, tmp_path, monkeypatch):
    check_equal(face, tmp_path, RayEngine(2), monkeypatch)

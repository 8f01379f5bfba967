"""Several trainings: order, parallel runs, failures, interruption and resume."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

import forks
from kronos.errors import ParameterError, StorageError
from kronos.inference import KronosPredictor
from kronos.training import runner
from kronos.training.callbacks import TrainingCallback
from kronos.training.config import load_config
from kronos.training.plan import make_plan
from kronos.training.runner import RunOptions, run, write_run_reports
from networks import random_tokenizer
from training.recipes import MODEL, TOKENIZER, small, write_candles

NO_COMPARISON = RunOptions(compare=False)


pytestmark = pytest.mark.usefixtures("clean_folder")


class Failing(TrainingCallback):
    """Raises an error at the start."""

    def __init__(self, error):
        self.error = error

    def on_start(self, plan):
        raise self.error


def failing(name, stage, error):
    def callbacks(plan, stage_plan):
        return [Failing(error)] if (plan.name, stage_plan.stage) == (name, stage) else []

    return callbacks


def states_of(results):
    return [(result.name, result.stage, result.state) for result in results]


def weights(folder, stage="model"):
    return load_file(folder / stage / "model.safetensors")


def test_run_saves_a_model_that_forecasts(tmp_path):
    config = small(tmp_path)
    results = run([make_plan(config)], NO_COMPARISON)
    assert states_of(results) == [("Small", "tokenizer", "done"), ("Small", "model", "done")]
    record = json.loads((config.folder / "model" / "kronos.json").read_text())
    assert (record["context"], record["tokenizer"], record["normalisation"]) == (64, "../tokenizer", "spread")
    assert "trained_until" not in record, "the cutoffs of the initial weights are unknown"
    predictor = KronosPredictor.from_pretrained(config.folder / "model", device="cpu")
    assert Path(predictor.tokenizer.located.folder).resolve() == (config.folder / "tokenizer").resolve()
    assert predictor.max_context == 64
    assert load_config(config.folder / "config.yaml") == config
    assert (config.folder / "training" / "model" / "log.jsonl").is_file()
    assert results[1].record.data["parts"]["train"]["candles"] > 0


def test_training_from_scratch_records_its_cutoffs(tmp_path):
    config = small(tmp_path, start=None, architecture={"tokenizer": TOKENIZER, "model": MODEL}, context=40)
    run([make_plan(config)], NO_COMPARISON)
    for stage in ("tokenizer", "model"):
        record = json.loads((config.folder / stage / "kronos.json").read_text())
        (trained,), (selected,) = record["trained_until"].values(), record["selected_until"].values()
        assert "2024-01-10" < trained < selected < "2024-01-18"
    assert (record["context"], record["s2_attention"]) == (40, "causal")
    assert record["least_history"] == 16, "no sample had a shorter history"


def test_tokenizer_with_empty_cutoffs_counts_as_known(tmp_path):
    tokenizer = random_tokenizer(2, normalisation="steps")
    folder = tokenizer.save_pretrained(tmp_path / "written")
    sizes = {"s1_bits": tokenizer.s1_bits, "s2_bits": tokenizer.s2_bits}
    start = {"start": {"tokenizer": str(folder)}, "architecture": {"model": MODEL | sizes}, "stages": ["model"]}
    for name, cutoffs, known in (("Silent", {}, False), ("Told", {"trained_until": {}, "selected_until": {}}, True)):
        (folder / "kronos.json").write_text(json.dumps({"normalisation": "steps", **cutoffs}))
        config = small(tmp_path, model_name=name, context=40, **start)
        run([make_plan(config)], NO_COMPARISON)
        record = json.loads((config.folder / "model" / "kronos.json").read_text())
        assert ("trained_until" in record, record["normalisation"]) == (known, "steps")


def test_smooth_embeddings_are_those_of_the_run_s_tokenizer(tmp_path):
    actual = []
    for name, embeddings in (("Plain", "random"), ("Smooth", "smooth"), ("Again", "smooth")):
        architecture = {"tokenizer": TOKENIZER, "model": MODEL, "embeddings": embeddings}
        config = small(tmp_path, model_name=name, start=None, architecture=architecture)
        run([make_plan(config)], NO_COMPARISON)
        actual.append(weights(config.folder))
        assert load_config(config.folder / "config.yaml") == config
    plain, smooth, again = actual
    assert all((smooth[key] == again[key]).all() for key in smooth)
    assert (plain["embedding.emb_s1.weight"] != smooth["embedding.emb_s1.weight"]).any()
    changed = make_plan(small(tmp_path, model_name="Plain", start=None, architecture=architecture))
    with pytest.raises(ParameterError, match="other"):
        run([changed], NO_COMPARISON)


def test_same_seed_gives_the_same_weights(tmp_path):
    actual = []
    for name in ("One", "Two"):
        config = small(tmp_path, model_name=name, start=None, architecture={"tokenizer": TOKENIZER, "model": MODEL})
        run([make_plan(config)], NO_COMPARISON)
        actual.append(weights(config.folder))
    assert all((actual[0][key] == actual[1][key]).all() for key in actual[0])


def test_adapters_are_saved_and_merged(tmp_path):
    config = small(
        tmp_path,
        stages=["model"],
        lora={"rank": 2},
        training={"batch_size": 4, "epochs": 1, "steps_per_epoch": 3, "learning_rate": 0.01, "device": "cpu"},
    )
    results = run([make_plan(config)], NO_COMPARISON)
    assert results[0].succeeded
    assert (config.folder / "adapter" / "adapter_config.json").is_file()
    before, after = weights(tmp_path / "start"), weights(config.folder)
    assert before.keys() == after.keys()
    KronosPredictor.from_pretrained(config.folder / "model", device="cpu")


def test_failed_stage_skips_only_the_stages_that_need_it(tmp_path):
    plans = [make_plan(small(tmp_path, model_name=name)) for name in ("Bad", "Good")]
    reported = []
    callbacks = failing("Bad", "tokenizer", RuntimeError("a bug"))
    results = run(plans, NO_COMPARISON, callbacks=callbacks, on_result=reported.append)
    assert states_of(results) == [
        ("Bad", "tokenizer", "failed"),
        ("Bad", "model", "skipped"),
        ("Good", "tokenizer", "done"),
        ("Good", "model", "done"),
    ]
    assert "RuntimeError: a bug" in results[0].reason
    assert results[1].reason == "its tokenizer failed"
    assert states_of(reported) == states_of(results)
    assert "Traceback" in (plans[0].folder / "training" / "tokenizer" / "output.log").read_text()
    second_plans = run(plans, NO_COMPARISON)
    assert [result.state for result in second_plans] == ["done", "done", "kept", "kept"]


def test_finished_stage_is_kept_unless_restarted(tmp_path):
    config = small(tmp_path, stages=["model"])
    (first,) = run([make_plan(config)], NO_COMPARISON)
    stamp = (config.folder / "model" / "model.safetensors").stat().st_mtime_ns
    (second,) = run([make_plan(config)], RunOptions(skip_existing=True, compare=False))
    assert (second.state, second.record) == ("kept", first.record)
    assert make_plan(config).stages[0].done
    assert (config.folder / "model" / "model.safetensors").stat().st_mtime_ns == stamp
    (third,) = run([make_plan(config, restart=True)], RunOptions(restart=True, compare=False))
    assert third.state == "done"
    assert (config.folder / "model" / "model.safetensors").stat().st_mtime_ns != stamp


def test_keyboard_interrupt_stops_all_stages(tmp_path):
    plans = [make_plan(small(tmp_path, model_name=name, stages=["model"])) for name in ("One", "Two")]
    results = run(plans, NO_COMPARISON, callbacks=failing("One", "model", KeyboardInterrupt()))
    assert [result.state for result in results] == ["stopped", "stopped"]
    assert [result.state for result in run(plans, NO_COMPARISON)] == ["done", "done"]


def test_stages_run_after_those_they_need(tmp_path):
    first = small(tmp_path, model_name="First", stages=["tokenizer"])
    second = small(
        tmp_path,
        model_name="Second",
        start={"model": str(tmp_path / "start" / "model"), "tokenizer": str(first.folder / "tokenizer")},
        stages=["model"],
    )
    expected = [first.folder / "tokenizer"]
    reported = []
    results = run(
        [make_plan(second, expected=expected), make_plan(first, expected=expected)],
        NO_COMPARISON,
        on_result=reported.append,
    )
    assert [result.name for result in reported] == ["First", "Second"]
    assert states_of(results) == [("Second", "model", "done"), ("First", "tokenizer", "done")]
    record = json.loads((second.folder / "model" / "kronos.json").read_text())
    assert record["tokenizer"] == "../../first/tokenizer"


def test_two_runs_in_one_folder_raise(tmp_path):
    plans = [make_plan(small(tmp_path)), make_plan(small(tmp_path))]
    with pytest.raises(ParameterError, match="share the folder"):
        run(plans, NO_COMPARISON)


class Nested(TrainingCallback):
    """Calls a function at the start of a training."""

    def __init__(self, call):
        self.call = call

    def on_start(self, plan):
        self.call()


@pytest.mark.parametrize("restart", [False, True])
def test_second_run_in_a_folder_is_refused_before_it_replaces_anything(tmp_path, restart):
    config = small(tmp_path, stages=["model"])
    other = config.changed({"training": {"seed": 7}})
    second = make_plan(other, restart=restart)  # before there is a folder: nothing but the lock can refuse it

    def start_second():
        (config.folder / ".0123abcd.tmp-log").touch()  # as the first one may be writing it
        before = {path: path.stat().st_mtime_ns for path in config.folder.rglob("*")}
        with pytest.raises(StorageError, match=r"small is being trained by process \d+ on .*--name or --output"):
            run([second], RunOptions(restart=restart, compare=False))
        assert {path: path.stat().st_mtime_ns for path in config.folder.rglob("*")} == before

    (result,) = run([make_plan(config)], NO_COMPARISON, callbacks=lambda *_: [Nested(start_second)])
    assert result.state == "done"
    assert load_config(config.folder / "config.yaml") == config
    if not restart:
        with pytest.raises(ParameterError, match="different model settings"):
            run([second], NO_COMPARISON)
    assert run([make_plan(config)], NO_COMPARISON)[0].state == "kept"
    assert not list(config.folder.rglob(".*")), "locks and temporary files of a killed process"


@pytest.mark.slow
def test_parallel_run_gives_the_same_weights_and_survives_a_failure(tmp_path):
    alone = small(tmp_path, model_name="Alone")
    run([make_plan(alone)], NO_COMPARISON)
    left, right = (small(tmp_path, model_name=name) for name in ("Left", "Right"))
    plans = [make_plan(left), make_plan(right)]
    (left.folder / "tokenizer").parent.mkdir(parents=True)
    (left.folder / "tokenizer").write_text("a file instead of a folder")
    results = run(plans, RunOptions("parallel", workers=2, compare=False))
    assert states_of(results) == [
        ("Left", "tokenizer", "failed"),
        ("Left", "model", "skipped"),
        ("Right", "tokenizer", "done"),
        ("Right", "model", "done"),
    ]
    assert (right.folder / "training" / "model" / "output.log").is_file()
    expected, actual = weights(alone.folder), weights(right.folder)
    assert all((expected[key] == actual[key]).all() for key in expected)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "parallel"])
def test_sigterm_ends_a_run_at_a_checkpoint(tmp_path, mode):
    write_candles(tmp_path / "walk_1h.csv")
    lengthy = {"batch_size": 4, "epochs": 3000, "steps_per_epoch": 2, "validation_batches": 1, "device": "cpu"}
    configs = [small(tmp_path, model_name=name, stages=["model"], training=lengthy) for name in ("One", "Two")]
    for config in configs:
        config.save(tmp_path / f"{config.model_name}.yaml")
    command = [sys.executable, "-m", "kronos", "train", "run", "One.yaml", "Two.yaml", "--mode", mode, "--no-compare"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = forks.Popen(command, preload=forks.TRAINING, cwd=tmp_path, stderr=subprocess.PIPE, env=environment)
    state = configs[0].folder / "training" / "model" / "resume" / "latest.json"
    until = time.monotonic() + 120
    while not state.is_file() and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 130, errors
    progress = json.loads(state.read_text())["progress"]
    assert progress["stopped"] is None
    assert progress["step"] < 6000
    assert not (configs[0].folder / "model").exists()


def test_run_that_failed_early_can_be_started_again(tmp_path):
    first = small(tmp_path, model_name="First", stages=["tokenizer"])
    second = small(tmp_path, model_name="Second", stages=["model"])
    second = second.changed({"start": {"tokenizer": str(first.folder / "tokenizer")}})
    expected = [first.folder / "tokenizer"]
    plans = [make_plan(config, expected=expected) for config in (first, second)]
    (tmp_path / "walk_1h.csv").rename(tmp_path / "gone.csv")
    results = run(plans, NO_COMPARISON)
    assert [result.state for result in results] == ["failed", "skipped"]
    write_run_reports(results)
    assert "Second" in (second.folder / "report.html").read_text("utf-8")
    (tmp_path / "gone.csv").rename(tmp_path / "walk_1h.csv")
    second_plans = [make_plan(config, expected=expected) for config in (first, second)]
    assert [plan.problems for plan in second_plans] == [(), ()]
    assert [result.state for result in run(second_plans, NO_COMPARISON)] == ["done", "done"]


class Slow(TrainingCallback):
    """Takes a second for epoch 0, and interrupts at the end."""

    def on_epoch_end(self, epoch, logs):
        time.sleep(1 if epoch == 0 else 0)

    def on_end(self, fitted):
        raise KeyboardInterrupt


def test_record_counts_the_time_of_all_starts(tmp_path):
    plan = make_plan(small(tmp_path, stages=["model"]))
    (stopped,) = run([plan], NO_COMPARISON, callbacks=lambda *_: [Slow()])
    assert stopped.state == "stopped"
    (done,) = run([plan], NO_COMPARISON)
    assert done.record.seconds >= 1


@pytest.mark.slow
def test_new_weights_delete_the_old_comparison(tmp_path):
    config = small(tmp_path, stages=["model"])
    run([make_plan(config)], NO_COMPARISON)
    (config.folder / "comparison.json").write_text("{}")
    results = run([make_plan(config, restart=True)], RunOptions(restart=True, compare=False))
    assert not (config.folder / "comparison.json").exists()
    write_run_reports(results)
    assert json.loads((config.folder / "report.json").read_text())["comparison"] is None
    two_stages = small(tmp_path, model_name="Both")
    run([make_plan(two_stages, stages=["tokenizer"])], NO_COMPARISON)
    (two_stages.folder / "comparison.json").write_text("{}")
    run([make_plan(two_stages)], NO_COMPARISON)
    assert not (two_stages.folder / "comparison.json").exists(), "it was a comparison of the tokenizer"


def test_only_the_first_process_deletes_results(tmp_path, monkeypatch):
    config = small(tmp_path, stages=["model"])
    run([make_plan(config)], NO_COMPARISON)
    second = config.folder / "training" / "model" / "mark"
    second.touch()
    with monkeypatch.context() as late:
        late.setattr(runner, "is_first", lambda: False)
        run([make_plan(config, restart=True)], RunOptions(restart=True, compare=False))
    assert second.is_file()
    run([make_plan(config, restart=True)], RunOptions(restart=True, compare=False))
    assert not second.exists()


class EndRecorder(TrainingCallback):
    """Records how the training ended."""

    def __init__(self):
        self.events = []

    def on_break(self, error):
        self.events.append(str(error))

    def on_end(self, fitted):
        self.events.append("end")


def test_callbacks_receive_the_error_of_a_training(tmp_path):
    recorder = EndRecorder()
    plan = make_plan(small(tmp_path, stages=["model"]))
    run([plan], NO_COMPARISON, callbacks=lambda *_: [recorder, Failing(ParameterError("no more"))])
    assert recorder.events == ["no more"]
    run([plan], NO_COMPARISON, callbacks=lambda *_: [recorder])
    assert recorder.events == ["no more", "end"]


def test_parallel_stages_share_the_threads(tmp_path, monkeypatch):
    states_of = []

    def start(task, how, threads):
        states_of.append(threads)
        raise ParameterError("enough")

    monkeypatch.setattr(runner, "_start", start)
    monkeypatch.setattr("torch.get_num_threads", lambda: 6)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    plans = [make_plan(small(tmp_path, model_name=name, stages=["model"])) for name in ("One", "Two")]
    with pytest.raises(ParameterError, match="enough"):
        run(plans, RunOptions("parallel", compare=False))
    assert states_of == [3]


def test_error_in_the_comparison_keeps_the_model(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("kronos.training.comparison_run.compare", broken)
    config = small(tmp_path, stages=["model"])
    (result,) = run([make_plan(config)])
    assert (result.state, result.comparison) == ("done", None)
    assert "RuntimeError: out of memory" in result.not_compared
    assert "Traceback" in (config.folder / "training" / "model" / "output.log").read_text()

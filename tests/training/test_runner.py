"""Several trainings: in order, side by side, failing, kept, interrupted and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from kronos.errors import ParameterError
from kronos.inference import KronosPredictor
from kronos.training import runner
from kronos.training.callbacks import TrainingCallback
from kronos.training.config import load_config
from kronos.training.plan import make_plan
from kronos.training.runner import RunOptions, run, write_run_reports
from kronos.training.scalar_tokenizer import Grid, ScalarCode, scalar_tokenizer
from training.recipes import MODEL, TOKENIZER, small, write_candles

QUICK = RunOptions(compare=False)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("WORLD_SIZE", "RANK", "KRONOS_OUTPUT_DIR"):
        monkeypatch.delenv(name, raising=False)


class Failing(TrainingCallback):
    """Raises what it was given, at the start."""

    def __init__(self, error):
        self.error = error

    def on_start(self, plan):
        raise self.error


def failing(name, stage, error):
    def monitors(plan, planned):
        return [Failing(error)] if (plan.name, planned.stage) == (name, stage) else []

    return monitors


def told(outcomes):
    return [(one.name, one.stage, one.state) for one in outcomes]


def weights(folder, stage="model"):
    return load_file(folder / stage / "model.safetensors")


def test_a_run_leaves_a_model_to_forecast_with(tmp_path):
    config = small(tmp_path)
    outcomes = run([make_plan(config)], QUICK)
    assert told(outcomes) == [("Small", "tokenizer", "done"), ("Small", "model", "done")]
    record = json.loads((config.folder / "model" / "kronos.json").read_text())
    assert (record["context"], record["tokenizer"], record["normalisation"]) == (64, "../tokenizer", "spread")
    assert "trained_until" not in record, "nobody knows what the start has seen"
    predictor = KronosPredictor.from_pretrained(config.folder / "model", device="cpu")
    assert Path(predictor.tokenizer.located.folder).resolve() == (config.folder / "tokenizer").resolve()
    assert predictor.max_context == 64
    assert load_config(config.folder / "config.yaml") == config
    assert (config.folder / "training" / "model" / "log.jsonl").is_file()
    assert outcomes[1].record.data["parts"]["train"]["candles"] > 0


def test_what_is_trained_from_nothing_knows_what_it_has_seen(tmp_path):
    config = small(tmp_path, start=None, architecture={"tokenizer": TOKENIZER, "model": MODEL}, context=40)
    run([make_plan(config)], QUICK)
    for stage in ("tokenizer", "model"):
        record = json.loads((config.folder / stage / "kronos.json").read_text())
        (trained,), (selected,) = record["trained_until"].values(), record["selected_until"].values()
        assert "2024-01-10" < trained < selected < "2024-01-18"
    assert (record["context"], record["s2_attention"]) == (40, "causal")
    assert record["least_history"] == 16, "no sample knew fewer candles"


def test_a_tokenizer_that_saw_no_candle_says_so(tmp_path):
    tokenizer = scalar_tokenizer(
        ScalarCode(*(Grid(4, -8, 8, 2), Grid(1, -1, 1, 1), Grid(1, 0, 1, 1), Grid(1, 0, 1, 1)))
    )
    folder = tokenizer.save_pretrained(tmp_path / "written")
    sizes = {"s1_bits": tokenizer.s1_bits, "s2_bits": tokenizer.s2_bits}
    start = {"start": {"tokenizer": str(folder)}, "architecture": {"model": MODEL | sizes}, "stages": ["model"]}
    for name, said, known in (("Silent", {}, False), ("Told", {"trained_until": {}, "selected_until": {}}, True)):
        (folder / "kronos.json").write_text(json.dumps({"normalisation": "steps", **said}))
        config = small(tmp_path, model_name=name, context=40, **start)
        run([make_plan(config)], QUICK)
        record = json.loads((config.folder / "model" / "kronos.json").read_text())
        assert ("trained_until" in record, record["normalisation"]) == (known, "steps")


def test_the_same_seed_gives_the_same_new_weights(tmp_path):
    found = []
    for name in ("One", "Two"):
        config = small(tmp_path, model_name=name, start=None, architecture={"tokenizer": TOKENIZER, "model": MODEL})
        run([make_plan(config)], QUICK)
        found.append(weights(config.folder))
    assert all((found[0][key] == found[1][key]).all() for key in found[0])


def test_adapters_are_kept_apart_and_merged(tmp_path):
    config = small(
        tmp_path,
        stages=["model"],
        lora={"rank": 2},
        training={"batch_size": 4, "epochs": 1, "steps_per_epoch": 3, "learning_rate": 0.01, "device": "cpu"},
    )
    outcomes = run([make_plan(config)], QUICK)
    assert outcomes[0].good
    assert (config.folder / "adapter" / "adapter_config.json").is_file()
    before, after = weights(tmp_path / "start"), weights(config.folder)
    assert before.keys() == after.keys()
    KronosPredictor.from_pretrained(config.folder / "model", device="cpu")


def test_one_that_fails_takes_with_it_what_needs_it_and_nothing_else(tmp_path):
    plans = [make_plan(small(tmp_path, model_name=name)) for name in ("Bad", "Good")]
    heard = []
    fault = failing("Bad", "tokenizer", RuntimeError("a fault of ours"))
    outcomes = run(plans, QUICK, monitors=fault, tell=heard.append)
    assert told(outcomes) == [
        ("Bad", "tokenizer", "failed"),
        ("Bad", "model", "skipped"),
        ("Good", "tokenizer", "done"),
        ("Good", "model", "done"),
    ]
    assert "RuntimeError: a fault of ours" in outcomes[0].reason
    assert outcomes[1].reason == "its tokenizer failed"
    assert told(heard) == told(outcomes)
    assert "Traceback" in (plans[0].folder / "training" / "tokenizer" / "output.log").read_text()
    again = run(plans, QUICK)
    assert [one.state for one in again] == ["done", "done", "kept", "kept"]


def test_what_is_done_is_kept_and_what_is_forgotten_trained_again(tmp_path):
    config = small(tmp_path, stages=["model"])
    (first,) = run([make_plan(config)], QUICK)
    stamp = (config.folder / "model" / "model.safetensors").stat().st_mtime_ns
    (kept,) = run([make_plan(config)], RunOptions(skip_existing=True, compare=False))
    assert (kept.state, kept.record) == ("kept", first.record)
    assert make_plan(config).stages[0].done
    assert (config.folder / "model" / "model.safetensors").stat().st_mtime_ns == stamp
    (anew,) = run([make_plan(config, restart=True)], RunOptions(restart=True, compare=False))
    assert anew.state == "done"
    assert (config.folder / "model" / "model.safetensors").stat().st_mtime_ns != stamp


def test_a_person_interrupts(tmp_path):
    plans = [make_plan(small(tmp_path, model_name=name, stages=["model"])) for name in ("One", "Two")]
    outcomes = run(plans, QUICK, monitors=failing("One", "model", KeyboardInterrupt()))
    assert [one.state for one in outcomes] == ["stopped", "stopped"]
    assert [one.state for one in run(plans, QUICK)] == ["done", "done"]


def test_networks_are_trained_after_those_of_other_runs_that_they_need(tmp_path):
    first = small(tmp_path, model_name="First", stages=["tokenizer"])
    second = small(
        tmp_path,
        model_name="Second",
        start={"model": str(tmp_path / "start" / "model"), "tokenizer": str(first.folder / "tokenizer")},
        stages=["model"],
    )
    made = [first.folder / "tokenizer"]
    heard = []
    outcomes = run([make_plan(second, made=made), make_plan(first, made=made)], QUICK, tell=heard.append)
    assert [one.name for one in heard] == ["First", "Second"]
    assert told(outcomes) == [("Second", "model", "done"), ("First", "tokenizer", "done")]
    record = json.loads((second.folder / "model" / "kronos.json").read_text())
    assert record["tokenizer"] == "../../first/tokenizer"


def test_two_in_one_folder_are_refused(tmp_path):
    plans = [make_plan(small(tmp_path)), make_plan(small(tmp_path))]
    with pytest.raises(ParameterError, match="share the folder"):
        run(plans, QUICK)


@pytest.mark.slow
def test_side_by_side_gives_the_same_weights_and_survives_one_that_fails(tmp_path):
    alone = small(tmp_path, model_name="Alone")
    run([make_plan(alone)], QUICK)
    left, right = (small(tmp_path, model_name=name) for name in ("Left", "Right"))
    plans = [make_plan(left), make_plan(right)]
    (left.folder / "tokenizer").parent.mkdir(parents=True)
    (left.folder / "tokenizer").write_text("in the way")
    outcomes = run(plans, RunOptions("parallel", workers=2, compare=False))
    assert told(outcomes) == [
        ("Left", "tokenizer", "failed"),
        ("Left", "model", "skipped"),
        ("Right", "tokenizer", "done"),
        ("Right", "model", "done"),
    ]
    assert (right.folder / "training" / "model" / "output.log").is_file()
    expected, found = weights(alone.folder), weights(right.folder)
    assert all((expected[key] == found[key]).all() for key in expected)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "parallel"])
def test_sigterm_ends_it_at_a_state_to_go_on_from(tmp_path, mode):
    write_candles(tmp_path / "walk_1h.csv")
    lengthy = {"batch_size": 4, "epochs": 3000, "steps_per_epoch": 2, "validation_batches": 1, "device": "cpu"}
    configs = [small(tmp_path, model_name=name, stages=["model"], training=lengthy) for name in ("One", "Two")]
    for config in configs:
        config.save(tmp_path / f"{config.model_name}.yaml")
    command = [sys.executable, "-m", "kronos", "train", "run", "One.yaml", "Two.yaml", "--mode", mode, "--no-compare"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})
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


def test_one_that_could_not_begin_can_be_given_again(tmp_path):
    first = small(tmp_path, model_name="First", stages=["tokenizer"])
    second = small(tmp_path, model_name="Second", stages=["model"])
    second = second.changed({"start": {"tokenizer": str(first.folder / "tokenizer")}})
    made = [first.folder / "tokenizer"]
    plans = [make_plan(config, made=made) for config in (first, second)]
    (tmp_path / "walk_1h.csv").rename(tmp_path / "gone.csv")
    outcomes = run(plans, QUICK)
    assert [one.state for one in outcomes] == ["failed", "skipped"]
    write_run_reports(outcomes)
    assert "Second" in (second.folder / "report.html").read_text("utf-8")
    (tmp_path / "gone.csv").rename(tmp_path / "walk_1h.csv")
    again = [make_plan(config, made=made) for config in (first, second)]
    assert [plan.problems for plan in again] == [(), ()]
    assert [one.state for one in run(again, QUICK)] == ["done", "done"]


class Slow(TrainingCallback):
    """Takes a second, and may not let it come to an end."""

    def on_epoch_end(self, epoch, logs):
        time.sleep(1 if epoch == 0 else 0)

    def on_end(self, fitted):
        raise KeyboardInterrupt


def test_a_record_counts_the_time_of_all_starts(tmp_path):
    plan = make_plan(small(tmp_path, stages=["model"]))
    (stopped,) = run([plan], QUICK, monitors=lambda *_: [Slow()])
    assert stopped.state == "stopped"
    (done,) = run([plan], QUICK)
    assert done.record.seconds >= 1


def test_other_weights_leave_no_comparison_of_those_before(tmp_path):
    config = small(tmp_path, stages=["model"])
    run([make_plan(config)], QUICK)
    (config.folder / "comparison.json").write_text("{}")
    outcomes = run([make_plan(config, restart=True)], RunOptions(restart=True, compare=False))
    assert not (config.folder / "comparison.json").exists()
    write_run_reports(outcomes)
    assert json.loads((config.folder / "report.json").read_text())["comparison"] is None
    both = small(tmp_path, model_name="Both")
    run([make_plan(both, stages=["tokenizer"])], QUICK)
    (both.folder / "comparison.json").write_text("{}")
    run([make_plan(both)], QUICK)
    assert not (both.folder / "comparison.json").exists(), "it was the tokenizer's"


def test_of_several_processes_the_first_forgets(tmp_path, monkeypatch):
    config = small(tmp_path, stages=["model"])
    run([make_plan(config)], QUICK)
    kept = config.folder / "training" / "model" / "mark"
    kept.touch()
    with monkeypatch.context() as late:
        late.setattr(runner, "is_first", lambda: False)
        run([make_plan(config, restart=True)], RunOptions(restart=True, compare=False))
    assert kept.is_file()
    run([make_plan(config, restart=True)], RunOptions(restart=True, compare=False))
    assert not kept.exists()


class Hearing(TrainingCallback):
    """Remembers how it ended."""

    def __init__(self):
        self.heard = []

    def on_break(self, error):
        self.heard.append(str(error))

    def on_end(self, fitted):
        self.heard.append("end")


def test_monitors_hear_that_a_training_broke_off(tmp_path):
    ears = Hearing()
    plan = make_plan(small(tmp_path, stages=["model"]))
    run([plan], QUICK, monitors=lambda *_: [ears, Failing(ParameterError("no more"))])
    assert ears.heard == ["no more"]
    run([plan], QUICK, monitors=lambda *_: [ears])
    assert ears.heard == ["no more", "end"]


def test_side_by_side_they_share_the_threads_that_there_are(tmp_path, monkeypatch):
    told = []

    def start(task, how, threads):
        told.append(threads)
        raise ParameterError("enough")

    monkeypatch.setattr(runner, "_start", start)
    monkeypatch.setattr("torch.get_num_threads", lambda: 6)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    plans = [make_plan(small(tmp_path, model_name=name, stages=["model"])) for name in ("One", "Two")]
    with pytest.raises(ParameterError, match="enough"):
        run(plans, RunOptions("parallel", compare=False))
    assert told == [3]


def test_a_fault_in_the_comparison_costs_nobody_the_model(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("kronos.training.comparison_run.compare", broken)
    config = small(tmp_path, stages=["model"])
    (outcome,) = run([make_plan(config)])
    assert (outcome.state, outcome.comparison) == ("done", None)
    assert "RuntimeError: out of memory" in outcome.not_compared
    assert "Traceback" in (config.folder / "training" / "model" / "output.log").read_text()

"""``kronos train``: trained models, output and exit statuses."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from rich.cells import cell_len
from safetensors.torch import load_file

from training.recipes import MODEL, TOKENIZER, small, write_candles

pytestmark = pytest.mark.usefixtures("small_comparisons")

FAST = ("--epochs", "1", "--steps", "2", "--batch-size", "4", "--lookback", "16", "--predict", "4", "--device", "cpu")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def recipe(place):
    """Write a configuration of a few steps and return its path."""

    def write(name, **changes):
        path = place / f"{name}.yaml"
        small(place, **({"model_name": name} | changes)).save(path)
        return path

    return write


def states(done):
    return [(one["model_name"], one["stage"], one["state"]) for one in json.loads(done.stdout)["stages"]]


@pytest.mark.parametrize("command", [(), ("tokenizer",), ("model",), ("run",)])
def test_help_has_examples_and_is_not_truncated(invoke, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    shown = invoke("train", *command, "--help")
    assert shown.exit_code == 0
    assert "Examples" in shown.stdout
    assert "…" not in shown.stdout
    assert max(map(cell_len, shown.stdout.splitlines())) <= 80


@pytest.mark.slow
def test_fine_tune_a_model_on_a_file(invoke, checkpoint, place):
    write_candles(place / "coin_1h.csv", rows=200)
    command = ("train", "model", "--data", "coin_1h.csv", "--start", checkpoint, *FAST, "--quality", "none")
    done = invoke(*command, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["kind"] == "kronos training"
    (stage,) = document["stages"]
    assert (stage["stage"], stage["state"], stage["record"]["steps"]) == ("model", "done", 2)
    assert stage["comparison"]["verdict"] in ("helped", "helped in part", "no evidence", "harmed")
    assert document["report"] == "outputs/models/coin_1h/report.html"
    assert Path(document["report"]).is_file()
    forecast = invoke("forecast", "coin_1h.csv", "--model", "outputs/models/coin_1h/model", "-n", "2", "--samples", "3")
    assert forecast.exit_code == 0, forecast.output
    assert "coin_1h, raw" in forecast.stdout, "the name of the run, not of its folder 'model'"
    again = invoke(*command)
    assert again.exit_code == 0, again.output
    assert "already trained" in again.stdout
    other = invoke(*command, "--epochs", "2")
    assert other.exit_code == 2
    assert "different model settings" in other.stderr


@pytest.mark.slow
def test_text_output_has_the_comparison(invoke, recipe, place):
    path = recipe("Shown", stages=["model"])
    write_candles(place / "walk_1h.csv", rows=200)  # a comparison costs more than the training
    shown = invoke("train", "run", path)
    assert shown.exit_code == 0, shown.output
    assert "model: trained, 1 epochs, 2 steps" in shown.stdout
    assert "CRPS" in shown.stdout
    assert "report.html" in shown.stdout
    assert invoke("train", "run", "Shown.yaml", "-q").output == ""


def gappy_candles(path, every, rows=743):
    """Hourly candles of which some are missing, one after every stretch."""
    write_candles(path, rows)
    table = pd.read_csv(path)
    table.drop(index=range(every - 1, rows, every)).to_csv(path, index=False)


@pytest.mark.slow
def test_short_stretches_can_be_trained_on_with_the_options_that_the_message_names(invoke, checkpoint, place):
    gappy_candles(place / "gaps_1h.csv", every=70)
    command = ("train", "model", "--data", "gaps_1h.csv", "--start", checkpoint, "--batch-size", "4", "--no-compare")
    refused = invoke(*command)
    assert refused.exit_code == 2
    options = re.search(r"choose (--[^(]*) \(", refused.stderr)[1].split()
    assert options == ["--quality", "none", "--lookback", "32", "--predict", "8"]
    trained = invoke(*command, *options, "--epochs", "1", "--steps", "1", "--json")
    assert trained.exit_code == 0, trained.output
    assert states(trained) == [("gaps_1h", "model", "done")]


@pytest.mark.parametrize("command", [("run",), ("model", "--config")])
def test_a_dataset_that_is_not_prepared_names_the_commands_that_do(invoke, place, command):
    refused = invoke("train", *command, "model_a_4h")
    assert refused.exit_code == 2
    assert "kronos data prepare --config model_a_4h" in refused.stderr
    assert "kronos pipeline model_a_4h" in refused.stderr
    shown = invoke("train", *command, "model_a_4h", "--dry-run")
    assert shown.exit_code == 2
    assert "kronos data prepare --config model_a_4h" in " ".join(shown.stdout.split())
    assert list(place.iterdir()) == []


@pytest.mark.slow
def test_tokenizer_and_then_its_model(invoke, checkpoint, place):
    write_candles(place / "coin_1h.csv")
    common = ("--data", "coin_1h.csv", *FAST, "--no-compare", "--json")
    first = invoke("train", "tokenizer", *common, "--start", checkpoint / "tokenizer", "--name", "both")
    assert first.exit_code == 0, first.output
    assert states(first) == [("both", "tokenizer", "done")]
    second = invoke(
        *("train", "model", *common, "--start", checkpoint, "--tokenizer", "outputs/models/both/tokenizer"),
        *("--name", "next", "--lora", "2"),
    )
    assert second.exit_code == 0, second.output
    record = json.loads(Path("outputs/models/next/model/kronos.json").read_text())
    assert record["tokenizer"] == "../../both/tokenizer"
    assert Path("outputs/models/next/adapter/adapter_config.json").is_file()


@pytest.mark.slow
def test_train_from_random_weights(invoke, place):
    write_candles(place / "coin_1h.csv")
    done = invoke("train", "model", "--data", "coin_1h.csv", "--config", "mine.yaml")
    assert done.exit_code == 2
    assert "mine.yaml" in done.stderr
    config = {
        "model_name": "New",
        "data": "coin_1h.csv",
        "architecture": {"tokenizer": TOKENIZER, "model": MODEL},
        "quality": "none",
    }
    Path("mine.yaml").write_text(yaml.safe_dump(config))
    for stage in ("tokenizer", "model"):
        done = invoke("train", stage, "--config", "mine.yaml", *FAST, "--no-compare", "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["stages"][0]["record"]["started_from"] is None
    assert json.loads(Path("outputs/models/new/model/kronos.json").read_text())["s2_attention"] == "causal"


def test_dry_run_shows_plans_and_problems(invoke, recipe, place):
    good = invoke("train", "run", recipe("Good"), "--dry-run", "--json")
    assert good.exit_code == 0, good.output
    (plan,) = json.loads(good.stdout)["runs"]
    assert plan["problems"] == []
    assert [stage["steps"] for stage in plan["stages"]] == [2, 2]
    assert plan["windows"]["train_available"] > 0
    assert not (place / "models").exists()
    bad = invoke("train", "run", recipe("Bad", data="nowhere.csv", start="no-such-model"), "Good.yaml", "--dry-run")
    assert bad.exit_code == 2
    shown = " ".join(bad.stdout.split())
    for words in ("nowhere.csv", "'no-such-model'", "nothing was trained or written", "Good"):
        assert words in shown
    refused = invoke("train", "run", "Bad.yaml", "Good.yaml")
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1
    assert not (place / "models").exists()


@pytest.mark.slow
def test_failed_training_does_not_stop_the_others(invoke, recipe, place):
    names = [recipe(name, stages=["model"]) for name in ("Left", "Right")]
    (place / "models" / "left").mkdir(parents=True)
    recipe("Left", stages=["model"]).rename(place / "models" / "left" / "config.yaml")
    recipe("Left", stages=["model"])
    (place / "models" / "left" / "model").write_text("in the way")
    done = invoke("train", "run", *names, "--no-compare", "--json")
    assert done.exit_code == 1
    assert states(done) == [("Left", "model", "failed"), ("Right", "model", "done")]
    assert done.stderr.startswith("Error: Left, model: ")
    assert Path(json.loads(done.stdout)["report"]).name == "trainings.html"
    (place / "models" / "left" / "model").unlink()
    again = invoke("train", "run", *names, "--no-compare", "--skip-existing", "--json")
    assert again.exit_code == 0, again.output
    assert states(again) == [("Left", "model", "done"), ("Right", "model", "kept")]


def test_missing_stages(invoke, recipe):
    done = invoke("train", "run", recipe("Half", stages=["model"]), "--stage", "tokenizer")
    assert done.exit_code == 2
    assert "no tokenizer to train" in done.stderr
    late = invoke("train", "run", recipe("Late"), "--stage", "model")
    assert late.exit_code == 2
    assert "needs its tokenizer" in late.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model",), "give --data"),
        (("model", "--data", "nowhere.csv"), "nowhere.csv"),
        (("model", "--data", "coin_1h.csv", "--start", "kronos-smll"), "did you mean kronos-small?"),
        (("model", "--data", "coin_1h.csv", "--from-scratch", "--lora", "4"), "--from-scratch"),
        (("model", "--data", "coin_1h.csv", "--lookback", "600"), "too few unbroken candles"),
        (("model", "--data", "coin_1h.csv", "--config", "finetune_cvs"), "did you mean finetune_csv"),
        (("run", "no_such"), "no_such"),
    ],
)
def test_invalid_arguments(invoke, place, arguments, message):
    write_candles(place / "coin_1h.csv")
    done = invoke("train", *arguments)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert not (place / "outputs").exists()


@pytest.mark.slow
def test_two_torchrun_processes_train_the_same_weights_as_one(invoke, recipe, place):
    settings = {
        **{"batch_size": 8, "epochs": 2, "steps_per_epoch": 4, "validation_batches": 2},
        **{"precision": "float32", "learning_rate": 0.003, "teacher_forcing": True},
    }
    for name in ("One", "Two"):
        recipe(name, stages=["model"], training=settings)
    words = ("train", "model", "--no-compare", "--device", "cpu", "--config")
    alone = invoke(*words, "One.yaml")
    assert alone.exit_code == 0, alone.output
    runner = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "kronos")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = subprocess.run(
        [sys.executable, *runner, *words, "Two.yaml"], capture_output=True, text=True, env=environment
    )
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("model: trained") == 1
    one, two = (load_file(place / "models" / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert max(float((one[key].float() - two[key].float()).abs().max()) for key in one) < 1e-5


def test_tensorboard_is_refused_in_parallel_mode(invoke, recipe, place):
    done = invoke("train", "run", recipe("One"), recipe("Two"), "--mode", "parallel", "--tensorboard")
    assert done.exit_code == 2
    assert "--tensorboard" in done.stderr
    assert not (place / "models").exists()


@pytest.mark.parametrize("command", [("run",), ("model", "--config")])
def test_device_of_the_environment(invoke, recipe, monkeypatch, command):
    training = {"batch_size": 4, "epochs": 1, "steps_per_epoch": 2, "validation_batches": 2}
    monkeypatch.setenv("KRONOS_DEVICE", "cpu")
    done = invoke("train", *command, recipe("One", stages=["model"], training=training), "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["runs"][0]["stages"][0]["settings"]["device"] == "cpu"

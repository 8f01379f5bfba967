"""``kronos pipeline``, with simulated candles."""

import json
from pathlib import Path

import pytest
import yaml

from kronos.errors import DataError
from kronos.training.plan import make_plan
from kronos.training.runner import RunOptions, run
from training.recipes import small, write_candles, write_checkpoint

QUICK = ("--source", "simulated", "--max-origins", "6", "--samples", "4")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KRONOS_THREADS", "1")  # and thus no processes for the evaluation
    monkeypatch.setenv("KRONOS_BACKTEST__STUDY__RANDOM_SIGNALS", "5")
    write_checkpoint(tmp_path / "start")
    write_candles(tmp_path / "walk_1h.csv")
    return tmp_path


def write(name, **changes):
    config = {
        "model_name": name,
        "target_symbols": ["BTC-USDT_1H"],
        "records_per_timeframe": 200,
        "quality": "none",
        "windows": {"lookback": 16, "predict": 4},
        "start": "start",
        "stages": ["model"],
        "training": {"batch_size": 4, "epochs": 1, "steps_per_epoch": 2, "validation_batches": 2, "device": "cpu"},
    }
    path = Path(f"{name}.yaml")
    path.write_text(yaml.safe_dump(config | changes))
    return path


def steps(done):
    return {model["model_name"]: list(model["steps"].values()) for model in json.loads(done.stdout)["models"]}


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures", "small_comparisons")
def test_configurations_run_independently_and_finished_steps_are_skipped(invoke, place):
    good = write("Good")
    bad = write("Bad", records_per_timeframe=30)
    done = invoke("pipeline", bad, good, *QUICK, "--json")
    assert done.exit_code == 1, done.output
    assert steps(done) == {
        "Bad": ["failed", "skipped", "skipped", "skipped"],
        "Good": ["done", "done", "done", "done"],
    }
    assert done.stderr.count("Error: Bad, prepare: ") == 1
    for name in ("model/model.safetensors", "report.html", "evaluation/evaluation.json", "backtest/backtest.json"):
        assert (place / "outputs" / "models" / "good" / name).is_file()
    again = invoke("pipeline", good, *QUICK, "--skip-existing", "--json")
    assert again.exit_code == 0, again.output
    assert steps(again) == {"Good": ["kept", "kept", "kept", "kept"]}


def test_dry_run(invoke, place):
    done = invoke("pipeline", write("Plan"), "--source", "simulated", "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    (plan,) = json.loads(done.stdout)["models"]
    assert (plan["prepare"], plan["train"]) == ("from simulated", "model")
    assert plan["backtest"] == "days after the training"
    assert not (place / "outputs").exists()
    assert "nothing was fetched" in invoke("pipeline", "Plan.yaml", "--dry-run").stdout


def test_invalid_configurations(invoke):
    write("One")
    Path("other").mkdir()
    Path("One.yaml").replace("other/One.yaml")
    write("One")
    twice = invoke("pipeline", "One.yaml", "other/One.yaml")
    assert twice.exit_code == 2
    assert "would share" in twice.stderr
    nothing = invoke("pipeline", "no_such")
    assert nothing.exit_code == 2
    assert "no_such" in nothing.stderr
    assert "Examples" in invoke("pipeline", "--help").stdout


def test_candle_file_is_evaluated_on_the_test_split_of_the_training(invoke, place, monkeypatch):
    starts = []

    def fail(args):
        starts.append(args.start)
        raise DataError("not evaluated")

    monkeypatch.setattr("kronos.cli.evaluate.run", fail)
    config = small(place, stages=["model"])
    config.save(place / "plain.yaml")
    (trained,) = run([make_plan(config)], RunOptions(compare=False))
    done = invoke("pipeline", "plain.yaml", "--skip-existing", "--json")
    assert done.exit_code == 2, done.output
    assert steps(done) == {"Small": ["kept", "kept", "failed", "skipped"]}
    assert json.loads(done.stdout)["models"][0]["evaluation"] is None
    (cuts,) = trained.record.data["split"]["cuts"].values()
    assert starts == [cuts["test_from"]]


def test_qlib_data_is_refused_before_training(invoke, place):
    small(place, data="qlib:somewhere:csi300").save(place / "plain.yaml")
    done = invoke("pipeline", "plain.yaml")
    assert done.exit_code == 2
    assert "Qlib" in done.stderr
    assert "kronos train run" in done.stderr

"""``kronos pipeline``: from a configuration to an evaluated model, without a network."""

import json
from pathlib import Path

import pytest
import yaml

from kronos.errors import DataError
from kronos.training.plan import make_plan
from kronos.training.runner import RunOptions, run
from training.recipes import small, write_candles, write_checkpoint

QUICK = ("--source", "simulated", "--most", "6", "--samples", "4")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "start")
    write_candles(tmp_path / "walk_1h.csv")
    return tmp_path


def write(name, **changes):
    told = {
        "model_name": name,
        "target_symbols": ["BTC-USDT_1H"],
        "records_per_timeframe": 400,
        "quality": "none",
        "windows": {"lookback": 16, "predict": 4},
        "start": "start",
        "stages": ["model"],
        "training": {"batch_size": 4, "epochs": 1, "steps_per_epoch": 2, "validation_batches": 2, "device": "cpu"},
    }
    path = Path(f"{name}.yaml")
    path.write_text(yaml.safe_dump(told | changes))
    return path


def steps(done):
    return {one["model_name"]: list(one["steps"].values()) for one in json.loads(done.stdout)["models"]}


@pytest.mark.slow
def test_each_configuration_goes_as_far_as_it_comes_and_is_kept(invoke, place):
    good = write("Good")
    bad = write("Bad", records_per_timeframe=30)
    done = invoke("pipeline", bad, good, *QUICK, "--json")
    assert done.exit_code == 1, done.output
    assert steps(done) == {"Bad": ["failed", "skipped", "skipped"], "Good": ["done", "done", "done"]}
    assert done.stderr.count("Error: Bad, prepare: ") == 1
    for name in ("model/model.safetensors", "report.html", "evaluation/evaluation.json", "evaluation/report.html"):
        assert (place / "outputs" / "models" / "good" / name).is_file()
    again = invoke("pipeline", good, *QUICK, "--skip-existing", "--json")
    assert again.exit_code == 0, again.output
    assert steps(again) == {"Good": ["kept", "kept", "kept"]}


def test_a_dry_run_says_what_would_be_done(invoke, place):
    done = invoke("pipeline", write("Plan"), "--source", "simulated", "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    (plan,) = json.loads(done.stdout)["models"]
    assert (plan["prepare"], plan["train"]) == ("from simulated", "model")
    assert not (place / "outputs").exists()
    assert "Nothing was fetched" in invoke("pipeline", "Plan.yaml", "--dry-run").stdout


def test_misuse(invoke):
    write("One")
    Path("other").mkdir()
    Path("One.yaml").replace("other/One.yaml")
    write("One")
    twice = invoke("pipeline", "One.yaml", "other/One.yaml")
    assert twice.exit_code == 2
    assert "would share" in twice.stderr
    nothing = invoke("pipeline", "no_such")
    assert nothing.exit_code == 2
    assert "No configuration is called" in nothing.stderr
    assert "Examples" in invoke("pipeline", "--help").stdout


def test_a_plain_file_is_evaluated_on_the_dates_that_nothing_was_chosen_by(invoke, place, monkeypatch):
    asked = []

    def refuse(request):
        asked.append(request.span)
        raise DataError("enough")

    monkeypatch.setattr("kronos.cli.evaluate.run", refuse)
    config = small(place, stages=["model"])
    config.save(place / "plain.yaml")
    (trained,) = run([make_plan(config)], RunOptions(compare=False))
    done = invoke("pipeline", "plain.yaml", "--skip-existing", "--json")
    assert done.exit_code == 2, done.output
    assert steps(done) == {"Small": ["kept", "kept", "failed"]}
    assert json.loads(done.stdout)["models"][0]["evaluation"] is None
    (cuts,) = trained.record.data["split"]["cuts"].values()
    assert [span.start for span in asked] == [cuts["test_from"]]


def test_what_cannot_be_evaluated_is_refused_before_it_is_trained(invoke, place):
    small(place, data="qlib:somewhere:csi300").save(place / "plain.yaml")
    done = invoke("pipeline", "plain.yaml")
    assert done.exit_code == 2
    assert "Qlib" in done.stderr
    assert "kronos train run" in done.stderr

"""``kronos evaluate`` from files to verdicts: dates, calibrations, resuming, output."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.cells import cell_len

import forks
from calibration.markets import trials
from evaluation.random_walks import candles
from kronos.calibration import Calibration, fit
from kronos.cli.engine_options import EngineArgs
from kronos.evaluation import Instrument, ModelForecaster, RollingOrigins, RollingSettings, evaluate, make_plan
from kronos.evaluation.calibration import calibration_set_of, identity_of
from kronos.inference import KronosPredictor
from kronos.settings import get_settings

FEW = ("--samples", "4", "--horizon", "2", "--stride", "60", "--baseline", "last-value", "--workers", "1")
SPLITS = "market,validation_from,test_from\nleft,2024-01-06,2024-01-10\nright,2024-01-06,2024-01-10\n"


@pytest.fixture
def walks(tmp_path, monkeypatch):
    """Two markets with one random walk each, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for seed, market in enumerate(("left", "right")):
        (tmp_path / "walks" / market).mkdir(parents=True)
        table = candles(seed, 300).frame.reset_index()
        table.to_csv(tmp_path / "walks" / market / f"{market}_1h.csv", index=False)
    return Path("walks")


@pytest.fixture(autouse=True)
def figures_once(request):
    """Draws the figures of a report in one test only."""
    if request.function is not test_from_files_to_verdicts:
        request.getfixturevalue("no_figures")


@pytest.fixture
def run(invoke, walks, checkpoint):
    """Evaluates the random checkpoint on the walks."""

    def evaluate_walks(*options):
        return invoke("evaluate", walks, "--model", checkpoint, *FEW, *options)

    return evaluate_walks


@pytest.fixture
def calibrated_checkpoint(checkpoint, tmp_path):
    """The random checkpoint with other weights' name and a calibration next to its weights."""
    folder = shutil.copytree(checkpoint, tmp_path / "own")
    forecaster = ModelForecaster(KronosPredictor.from_pretrained(folder, device="cpu"), "own")
    past = replace(trials(origins=60, horizon=4, spread=0.5), identity=identity_of(forecaster))
    fit(past, ["dispersion"]).save(folder / "model" / "calibration.json")
    return folder


def without_time(text):
    """The document without the time of creation and the file names."""
    document = json.loads(text)
    return {name: value for name, value in document.items() if name not in ("created", "files")}


@pytest.mark.slow
def test_from_files_to_verdicts(run, walks, tmp_path):
    done = run("--report", "page.html", "--language", "zh", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["kind"] == "kronos evaluation"
    assert 'lang="zh' in (tmp_path / "page.html").read_text()
    assert document["groups"] == {"left 1h": 2, "right 1h": 2}
    assert [own["name"] for own in document["forecasters"]] == ["random-tiny", "last-value", "historical-volatility"]
    assert document["reference"] == "historical-volatility"
    assert document["data"]["dates"].startswith("the last 30 % of each series")
    assert any("training dates of random-tiny are unknown" in text for text in document["warnings"])
    (folder,) = Path("out/evaluation").iterdir()
    assert re.fullmatch(r"walks-[0-9a-f]{8}", folder.name)
    assert document["files"] == ["page.html", f"{folder}/evaluation.json", f"{folder}/scores.parquet"]
    assert json.loads((folder / "evaluation.json").read_text()) == document
    scores = pd.read_parquet(folder / "scores.parquet")
    assert len(scores) == 4 * 3 * 2  # origins, forecasters, steps
    assert "random-tiny" in Path("page.html").read_text()
    again = run("--json")
    assert without_time(again.stdout) == without_time(done.stdout)
    assert f"12 of 12 forecasts found in {folder}/run" in again.stderr
    assert "forecasts found" not in done.stderr


@pytest.mark.slow
def test_origins_have_the_history_that_a_model_needs(invoke, walks, checkpoint, tmp_path):
    demanding = shutil.copytree(checkpoint, tmp_path / "demanding")
    path = demanding / "model" / "kronos.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(known | {"context": 256, "least_history": 200}))
    found = {}
    for model in (checkpoint, demanding):
        done = invoke(
            "evaluate", walks, "--model", model, *FEW, "--from", "2024-01-04", "--json", "--output", model.name
        )
        assert done.exit_code == 0, done.output
        found[model] = json.loads(done.stdout)
    assert found[checkpoint]["walk"]["least_history"] < 200 == found[demanding]["walk"]["least_history"]
    assert found[checkpoint]["first"] < "2024-01-09T07" <= found[demanding]["first"]  # that of the 200th candle


@pytest.mark.slow
def test_output_fits_the_terminal_and_is_never_truncated(run, monkeypatch):
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        shown = run().stdout
        assert max(map(cell_len, shown.splitlines())) <= width
        assert "…" not in shown
        for word in ("Verdict on random-tiny, 2 steps ahead", "historical-volatility", "left 1h", "Skill: 1 - CRPS"):
            assert word in shown
    verbose = run("-v").stdout
    assert "QLIKE" in verbose
    assert "Whole candles of random-tiny" in shown
    assert "Whole candles of historical-volatility, left 1h" in verbose
    assert "last-value (all of its paths are equal: a point forecast)" in verbose
    assert "random-tiny, bands" in verbose
    assert run("-q").output == ""


@pytest.mark.slow
def test_dates(run, walks):
    Path("splits.csv").write_text(SPLITS)
    documents = {}
    for number, options in enumerate(
        [(), ("--split", "validation"), ("--from", "2024-01-08", "--to", "2024-01-09 12:00")]
    ):
        done = run(*options, "--output", f"out{number}", "--json", "--stride", "10")
        assert done.exit_code == 0, done.output
        documents[options] = json.loads(done.stdout)
    test, validation, between = documents.values()
    assert test["data"]["dates"] == "test dates of splits.csv"
    assert test["first"] == "2024-01-09T23:00:00"
    assert validation["data"]["dates"] == "validation dates of splits.csv"
    assert "2024-01-06" > validation["first"] >= "2024-01-05T23"
    assert validation["last"] < "2024-01-10"
    assert between["data"]["dates"] == "candles from 2024-01-08 to 2024-01-09 12:00"
    assert (between["first"], between["last"] < "2024-01-09T12") == ("2024-01-07T23:00:00", True)


def test_default_dates_are_after_the_training_of_the_model(run, checkpoint, tmp_path, invoke):
    own = tmp_path / "dated"
    own.mkdir()
    for part in ("model", "tokenizer"):
        (own / part).mkdir()
        for file in (checkpoint / part).iterdir():
            (own / part / file.name).write_bytes(file.read_bytes())
    record = json.loads((own / "model" / "kronos.json").read_text())
    record["trained_until"] = {"left": "2024-01-12", "right": "2025-01-01"}
    (own / "model" / "kronos.json").write_text(json.dumps(record))
    done = invoke("evaluate", "walks", "--model", own, *FEW, "--json")
    document = json.loads(done.stdout)
    assert document["data"]["dates"] == "candles that are new to the models; of right 1h the last 30 % of each series"
    assert any("trained or selected on test dates of right 1h" in text for text in document["warnings"])
    assert not any("left 1h (tested" in text for text in document["warnings"])


@pytest.mark.slow
def test_a_calibrated_model_is_a_contender(run, checkpoint, tmp_path):
    predictor = KronosPredictor.from_pretrained(checkpoint, device="cpu")
    model = ModelForecaster(predictor, "random-tiny")
    plan = make_plan([Instrument("w", "left", candles(5, 400))], RollingOrigins(2, stride=5))
    raw = evaluate(plan, [model], tmp_path / "fit", RollingSettings(4), baselines=[])
    past = calibration_set_of(plan, raw.actuals, raw.paths["random-tiny"], identity_of(model))
    fit(past, ["dispersion"]).save(tmp_path / "own.json")
    done = run("--calibration", "own.json", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [own["name"] for own in document["forecasters"]][:2] == ["random-tiny", "random-tiny calibrated"]
    assert any("outcomes from after the first origins of left 1h" in text for text in document["warnings"])
    calibration = Calibration.load("own.json").to_dict()
    calibration["identity"]["sha256"] = "0" * 64
    Path("other.json").write_text(json.dumps(calibration))
    for options, words in (
        (("--calibration", "other.json"), "other.json is not a calibration of random-tiny: their weights differ"),
        (("--calibration", "own.json", "--calibrate"), "leave one out"),
        (("--calibration", "own.json", "--calibration", "own.json"), "a second calibration of random-tiny"),
        (("--calibrate",), "calibration"),
        (("--calibration", "missing.json"), "missing.json"),
    ):
        refused = run(*options)
        assert (refused.exit_code, words in refused.stderr) == (2, True), refused.stderr


def test_names_of_several_models_are_unique(invoke, walks, checkpoint):
    done = invoke("evaluate", walks / "left", "--model", checkpoint, "--model", checkpoint, *FEW, "--json")
    names = [own["name"] for own in json.loads(done.stdout)["forecasters"]]
    assert names[:2] == ["random-tiny", "random-tiny-2"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--horizon", "0"), "horizon 0"),
        (("--stride", "0"), "stride 0"),
        (("--lookback", "0"), "lookback 0"),
        (("--max-origins", "0"), "origins 0"),
        (("--samples", "1"), "at least 2 samples"),
        (("--baseline", "drfit"), "baseline 'drfit'"),
        (("--reference", "luck"), "baseline 'luck'"),
        (("--from", "someday"), "someday"),
        (("--from", "2024-01-09", "--to", "2024-01-08"), "2024-01-08 is not after the start 2024-01-09"),
        (("--from", "2024-01-09", "--split", "test"), "--from and --to cannot be combined with --split"),
        (("--from", "2031-01-01"), "No origin has"),
        (("--split", "validation"), "No validation dates for the market 'left' of left_1h"),
        (("--splits", "none.csv"), "none.csv"),
        (("--preset", "bold"), "Unknown preset 'bold'"),
        (("--temperature", "0"), "temperature"),
        (("--report", "page.txt"), ".html"),
        (("-v", "-q"), "leave one out"),
        (("--model", "kronos-smal"), "did you mean kronos-small"),
        (("nowhere",), "'nowhere'"),
        (("--interval", "5m"), "interval"),
    ],
)
def test_invalid_options_give_one_line_and_write_nothing(run, options, words):
    before = sorted(Path().rglob("*"))
    done = run(*options)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(Path().rglob("*")) == before


@pytest.mark.slow
def test_files_that_cannot_be_read_are_listed(run, walks):
    (walks / "bad.csv").write_text("timestamps,open,high,low,close\nyesterday,1,1,1,1\n")
    done = run("--output", "out")
    assert done.exit_code == 3  # one was skipped
    assert "! not read: " in done.stdout
    assert "bad.csv" in done.stdout
    assert "bad.csv" in json.loads(Path("out/evaluation.json").read_text())["data"]["unreadable"][0]["path"]
    strict = run("--strict")
    assert (strict.exit_code, "bad.csv" in strict.stderr) == (2, True)


def test_threads_bound_the_workers(monkeypatch):
    monkeypatch.setenv("KRONOS_THREADS", "3")
    threads = get_settings().threads
    assert EngineArgs().open({}, threads=threads).workers == 3
    assert EngineArgs(workers=2).open({}, threads=threads).workers == 2
    assert EngineArgs().open({}, default=1).workers == 1


@pytest.mark.slow
def test_each_plan_has_its_own_folder_and_the_same_one_resumes(run, invoke, walks, checkpoint):
    """The chain of the README, with another temperature in between."""
    folders = []
    options = ((), ("--temperature", "0.5", "--max-origins", "1"))
    for number, changed in enumerate(options):
        done = run(*changed, "-q", "--no-calibrate")
        assert done.exit_code == 0, done.output
        folders = sorted(Path("out/evaluation").iterdir())
        assert len(folders) == number + 1
    few = ("--model", checkpoint, "--horizon", "2", "--samples", "4", "--workers", "1")
    fitted = invoke("calibrate", walks, *few, "--stride", "4", "--to", "2024-01-09", "--no-pool", "--output", "my.json")
    assert fitted.exit_code == 0, fitted.output
    assert [path.name[:6] for path in Path("out/calibration").iterdir()] == ["walks-"]
    assert not Path("my").exists()
    again = run("--calibration", "my.json", "--json")
    assert again.exit_code == 0, again.output
    assert [own["name"] for own in json.loads(again.stdout)["forecasters"]][:2] == [
        "random-tiny",
        "random-tiny calibrated",
    ]
    assert "12 of 12 forecasts found" in again.stderr, "a calibration shares the forecasts of its model"
    assert sorted(Path("out/evaluation").iterdir()) == folders


@pytest.mark.slow
def test_a_shipped_calibration_is_evaluated_by_default(run, walks, checkpoint, calibrated_checkpoint):
    def names(*options):
        done = run("--model", calibrated_checkpoint, *options, "--json")
        assert done.exit_code == 0, done.output
        return [own["name"] for own in json.loads(done.stdout)["forecasters"] if not own["baseline"]]

    assert names() == ["random-tiny", "own", "own calibrated"]
    assert names("--no-calibrate") == ["random-tiny", "own"]


@pytest.mark.slow
def test_dry_run_shows_the_plan_with_an_estimate_and_writes_nothing(run, walks):
    before = sorted(Path().rglob("*"))
    done = run("--dry-run", "--json")
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert (plan["dry_run"], plan["origins"], plan["horizon"]) == (True, 4, 2)
    assert {one["name"]: one["origins"] for one in plan["series"]} == {"left_1h": 2, "right_1h": 2}
    assert [one["name"] for one in plan["contenders"]] == ["random-tiny", "last-value", "historical-volatility"]
    assert all((one["stored"], one["pending"]) == (0, 4) for one in plan["contenders"])
    expected = sum(4 * one["seconds_per_forecast"] for one in plan["contenders"])
    assert 0 < plan["estimated_seconds"] == pytest.approx(expected)
    assert sorted(Path().rglob("*")) == before
    shown = " ".join(run("--dry-run").stdout.split())
    for words in (
        "4 origins of 2 series",
        "random-tiny",
        "left_1h",
        plan["folder"],
        "Estimated time",
        "nothing was written",
    ):
        assert words in shown
    assert sorted(Path().rglob("*")) == before
    assert run("-q").exit_code == 0
    stored = json.loads(run("--dry-run", "--json").stdout)
    assert (stored["folder"], stored["estimated_seconds"]) == (plan["folder"], 0)
    assert all((one["stored"], one["seconds_per_forecast"]) == (4, None) for one in stored["contenders"])
    assert "only scoring is left" in run("--dry-run").stdout
    assert json.loads(run("--dry-run", "--restart", "--json").stdout)["contenders"][0]["pending"] == 4
    clash = run("--dry-run", "--seed", "2", "--output", plan["folder"])
    assert (clash.exit_code, "another seed" in clash.stderr) == (2, True)


def test_simulated_candles_give_a_warning(invoke, walks, checkpoint):
    (walks / "left" / "left_1h.csv").rename("simulated_x.csv")
    shown = invoke("evaluate", "simulated_x.csv", "--model", checkpoint, *FEW).stdout
    assert "SIMULATED" in shown


@pytest.mark.slow
def test_a_folder_has_one_run_and_restart_discards_it(run):
    there = ("--output", "out")
    assert run("-q", *there).exit_code == 0
    other = run("--seed", "2", *there)
    assert (other.exit_code, "another seed" in other.stderr) == (2, True)
    assert run("--seed", "2", "--restart", "-q", *there).exit_code == 0
    keep = Path("out/run/notes.txt")
    keep.write_text("mine")
    refused = run("--restart", *there)
    assert (refused.exit_code, "notes.txt" in refused.stderr) == (2, True)
    assert keep.is_file()
    Path("elsewhere/run").mkdir(parents=True)
    Path("elsewhere/run/photo.npz").write_text("x")
    assert run("--restart", "--output", "elsewhere").exit_code == 2
    assert Path("elsewhere/run/photo.npz").is_file()
    Path("file").write_text("x")
    assert run("--output", "file").exit_code == 2


LONG = (
    *("--samples", "4", "--horizon", "2", "--stride", "1", "--from", "2024-01-11"),
    *("--baseline", "last-value", "--workers", "2", "-q"),
)


SMALL_SHARDS = "from kronos.cli import main; from kronos.evaluation import rolling; rolling.SHARD = 16; main()"


def started(walks, checkpoint, output, *more, start=("-m", "kronos")):
    """A run in a process of its own, once its first forecasts are stored."""
    command = [
        sys.executable,
        *start,
        "evaluate",
        walks / "left",
        "--model",
        checkpoint,
        *LONG,
        *more,
        "--output",
        output,
    ]
    process = forks.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while process.poll() is None and not list(Path(output).glob("run/*/*.npz")):
        time.sleep(0.02)
    return process


@pytest.mark.slow
def test_a_killed_run_resumes(invoke, walks, checkpoint, monkeypatch):
    monkeypatch.setattr("kronos.evaluation.rolling.SHARD", 16)
    command = ("evaluate", walks / "left", "--model", checkpoint, *LONG, "--workers", "1", "--output")
    undisturbed = invoke(*command, "whole")
    with started(walks, checkpoint, "killed", "--workers", "1", start=("-c", SMALL_SHARDS)) as process:
        process.kill()
    stored = len(list(Path("killed").glob("run/*/*.npz")))
    assert 0 < stored < len(list(Path("whole").glob("run/*/*.npz"))) == 12
    assert not Path("killed/evaluation.json").exists()
    resumed = invoke(*command, "killed")
    assert undisturbed.exit_code == resumed.exit_code == 0
    assert without_time(Path("killed/evaluation.json").read_text()) == without_time(
        Path("whole/evaluation.json").read_text()
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent in another way there")
def test_an_interrupted_run_prints_how_to_resume(walks, checkpoint):
    # Long enough not to end before the interrupt.
    with started(walks, checkpoint, "stopped", "--from", "2024-01-05") as process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
        message = process.stderr.read()
    assert process.returncode == 130
    assert message == "Stopped. Finished forecasts are in stopped/run; the same command resumes the run.\n"


def test_the_engine_ray_is_an_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run("--engine", "ray")
    assert (done.exit_code, "install the extra 'ray'" in done.stderr) == (2, True)
    assert not Path("out").exists()

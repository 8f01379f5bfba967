"""Commands on several series: those that cannot be used are skipped and listed, and the exit status says so."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from kronos.candles import Candles
from kronos.cli import app
from kronos.evaluation import load_instruments
from kronos.sources.qlib import write_qlib

SKIPPED = 3
FEW = ["--horizon", "4", "--samples", "2", "--baseline", "last-value", "--max-origins", "3"]
EVALUATE = [*FEW, "--workers", "1", "-q"]


def write_walk(path, seed, rows=150, start="2024-01-01"):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    values = {
        "open": close,
        "high": close * 1.001,
        "low": close / 1.001,
        "close": close,
        "volume": rng.uniform(1, 9, rows),
    }
    times = pd.date_range(start, periods=rows, freq="h")
    pd.DataFrame({"timestamps": times, **values}).to_csv(path, index=False)
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def files(tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("timestamps,open,high,low,close\n2024-01-01,x,y,z,w\n")
    return write_walk(tmp_path / "one.csv", 1), bad, write_walk(tmp_path / "two.csv", 2)


def test_forecast_skips_files_that_cannot_be_used(files):
    options = ["--horizon", 2, "--samples", 2, "--seed", 1, "--json"]
    done = run("forecast", *files, *options)
    assert done.exit_code == SKIPPED
    document = json.loads(done.stdout)
    assert [entry["unique_id"] for entry in document["forecasts"]] == ["one", "two"]
    assert [entry["name"] for entry in document["skipped"]] == ["bad.csv"]
    assert "Skipped" in done.stderr
    assert "bad.csv" in done.stderr
    assert run("forecast", *files, *options, "--strict").exit_code == 2
    assert run("forecast", files[1], *options).exit_code == 2
    assert run("forecast", files[0], *options).exit_code == 0


@pytest.mark.usefixtures("no_figures")
def test_evaluate_skips_files_and_counts_copies_once(files, tmp_path):
    folder = tmp_path / "candles"
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)
    shutil.copy(files[0], folder / "one (1).csv")
    output = tmp_path / "out"
    done = run("evaluate", folder, *EVALUATE, "--output", output)
    assert done.exit_code == SKIPPED, done.output
    assert "bad.csv" in done.stderr
    document = json.loads((output / "evaluation.json").read_text())
    assert document["instruments"] == 2
    assert [entry["path"].endswith(".csv") for entry in document["data"]["copies"]] == [True]
    assert run("evaluate", folder, *EVALUATE, "--output", tmp_path / "strict", "--strict").exit_code == 2


def test_the_longer_copy_counts(tmp_path):
    write_walk(tmp_path / "b_long.csv", 1)
    pd.read_csv(tmp_path / "b_long.csv").iloc[20:100].to_csv(tmp_path / "a_short.csv", index=False)
    write_walk(tmp_path / "c_other.csv", 3)
    loaded = load_instruments([tmp_path])
    assert sorted(one.name for one in loaded.instruments) == ["b_long", "c_other"]
    assert len(loaded.copies) == 1


@pytest.mark.usefixtures("no_figures")
def test_evaluate_reads_qlib_folders(tmp_path):
    series = {}
    for number in range(3):
        frame = pd.read_csv(write_walk(tmp_path / "x.csv", number)).drop(columns="timestamps")
        frame.index = pd.bdate_range("2022-01-03", periods=len(frame))
        series[f"SH60000{number}"] = Candles.from_frame(frame)
    folder = tmp_path / "qlib"
    write_qlib(folder, series)
    (folder / "features" / "sh600001" / "open.day.bin").unlink()
    done = run("evaluate", f"qlib:{folder}", *EVALUATE, "--output", tmp_path / "out")
    assert done.exit_code == SKIPPED, done.output
    assert "SH600001" in done.stderr
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [one["name"] for one in document["data"]["series"]] == ["SH600000_1d", "SH600002_1d"]


FAST = ("--epochs", "1", "--steps", "1", "--batch-size", "4", "--lookback", "16", "--predict", "4", "--device", "cpu")


@pytest.mark.slow
def test_training_skips_files_that_cannot_be_used(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "candles"
    folder.mkdir()
    for file in files:
        shutil.move(file, folder)
    command = ["train", "model", "--data", "candles", *FAST, "--quality", "none", "--no-compare"]
    planned = run(*command, "--dry-run")
    assert planned.exit_code == SKIPPED, planned.output
    strict = run(*command, "--strict")
    assert strict.exit_code == 2
    assert "bad.csv" in strict.stderr
    assert not (tmp_path / "outputs").exists()
    done = run(*command, "--json")
    assert done.exit_code == SKIPPED, done.output
    [skipped] = json.loads(done.stdout)["skipped"]
    assert skipped["path"].endswith("bad.csv")
    assert [stage["state"] for stage in json.loads(done.stdout)["stages"]] == ["done"]
    assert done.stderr.count("Skipped") == 1
    assert "bad.csv" in done.stderr
    (folder / "bad.csv").unlink()
    assert run(*command, "--name", "whole").exit_code == 0

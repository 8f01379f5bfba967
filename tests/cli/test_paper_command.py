"""`kronos paper`: the paper's tasks from the command line."""

from __future__ import annotations

import json
from importlib import resources

import pandas as pd
import pytest

from kronos.cli import paper
from kronos.evaluation.paper import TASKS

QUICK = ("--max-origins", "8", "--seed", "1")


@pytest.fixture(scope="module")
def sample():
    """The bundled simulated candles."""
    with resources.as_file(resources.files("kronos.samples") / "simulated_btc_1h.csv") as path:
        yield path


def test_terminal_output(invoke, checkpoint, sample):
    done = invoke("paper", "price", sample, "--model", checkpoint, *QUICK, "-v")
    assert done.exit_code == 0, done.stderr
    words = (
        "price task with random-tiny", "temperature 0.6, top-p 0.9, 10 paths, seed 1",
        "1h: 80 candles of history, 12 ahead; instruments: 1, origins: 8", "sha256",
        "last-value", "momentum", "reversal", "historical-volatility", "RankIC",
        "too few dates to say", "SIMULATED", "used 52 candles of history instead of 80", "no ordering",
    )  # fmt: skip
    shown = " ".join(done.stdout.split())
    for part in words:
        assert part in shown
    assert done.stderr == ""


@pytest.mark.parametrize("task", ["return", "volatility"])
def test_json_is_one_document_and_equals_the_file(invoke, checkpoint, sample, tmp_path, task):
    options = ("--model", checkpoint, *QUICK, "--json", "--output", tmp_path / "out", "--samples", "2")
    done = invoke("paper", task, sample, *options)
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    path = tmp_path / "out" / f"paper-{task}.json"
    assert document == json.loads(path.read_text("utf-8"))
    assert document["file"] == str(path)
    assert (document["kind"], document["task"], document["seed"]) == ("kronos-paper", task, 1)
    assert document["not_as_published"] == ["samples", "most"]
    assert document["most"] == 8
    assert document["from"] == "2024-07-01T00:00:00"
    assert len(document["model"]["model"]["sha256"]) == 64
    assert document["data"]["series"][0]["group"].endswith("1h")
    groups = {row["group"] for row in document["rows"]}
    assert len(groups) == 1
    assert any("SIMULATED" in warning for warning in document["warnings"])
    again = json.loads(invoke("paper", task, sample, *options).stdout)
    assert again["rows"] == document["rows"]


@pytest.mark.slow
def test_sequences_are_generated_and_scored(invoke, checkpoint, sample):
    options = ("--lookback", "40", "--horizon", "8", "--sequences", "60", "--market", "toys")
    done = invoke("paper", "synthetic", sample, "--model", checkpoint, *options)
    assert done.exit_code == 0, done.stderr
    for part in (
        "toys 1h",
        "discriminative error",
        "TSTR RankIC",
        "block-bootstrap",
        "real",
        "temperature 1, top-p 0.95",
    ):
        assert part in done.stdout


def test_quiet_prints_nothing(invoke, checkpoint, sample, tmp_path):
    done = invoke("paper", "return", sample, "--model", checkpoint, *QUICK, "-q", "--output", tmp_path)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "paper-return.json").is_file()


@pytest.mark.slow
def test_invalid_arguments_give_one_line(invoke, checkpoint, sample, tmp_path, candle_table):
    old, half = tmp_path / "old.csv", tmp_path / "half.csv"
    candle_table(300, start="2020-01-01").to_csv(old, index=False)
    candle_table(300, start="2025-01-01", freq="30min").to_csv(half, index=False)
    (tmp_path / "file").write_text("x")
    for arguments, status, words in (
        (("price", old), 2, "the last candle is of 2020-01-13"),
        (("price", half), 2, "has no 30m candles"),
        (("synthetic", sample), 2, "has no 1h candles (only 15m, 1d)"),
        (("synthetic", sample, "--samples", "3"), 2, "number of sequences"),
        (("price", sample, "--temperature", "0"), 2, "temperature"),
        (("price", sample, "--from", "soon"), 2, "soon"),
        (("price", sample, "--from", "2025-02-01", "--to", "2025-01-01"), 2, "is not after the start"),
        (("price", tmp_path / "nothing.csv"), 2, "nothing.csv"),
        (("price", sample, "-q", "-v"), 2, "contradict each other"),
        (("price", sample, "--output", tmp_path / "file"), 2, "it is a file"),
        (("price", sample, "--model", "kronos-smal"), 2, "did you mean kronos-small?"),
    ):
        model = () if "--model" in arguments else ("--model", checkpoint)
        done = invoke("paper", *arguments, *model)
        assert done.exit_code == status, (arguments, done.stdout, done.stderr)
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert invoke("paper", "guess", sample).exit_code == 2


def test_files_that_cannot_be_read_do_not_stop_the_others(invoke, checkpoint, tmp_path, candle_table):
    folder = tmp_path / "coins"
    folder.mkdir()
    for seed in range(2):
        candle_table(200, start="2025-01-01", seed=seed).to_csv(folder / f"coin{seed}.csv", index=False)
    (folder / "bad.csv").write_text("timestamps,open,high,low,close\n2025-01-01,1,1,1,x\n")
    done = invoke("paper", "return", tmp_path, "--model", checkpoint, "--samples", "2", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert [own["group"] for own in document["data"]["series"]] == ["coins 1h", "coins 1h"]
    assert document["data"]["unreadable"][0]["path"].endswith("bad.csv")
    assert "bad.csv was not read" in invoke("paper", "return", tmp_path, "--model", checkpoint, "--samples", "2").stdout


def test_forecasts_lie_within_the_dates(invoke, checkpoint, tmp_path, candle_table):
    path = tmp_path / "coin_1h.csv"
    candle_table(500, start="2024-01-01").to_csv(path, index=False)
    span = ("--from", "2024-01-10", "--to", "2024-01-15")
    done = invoke("paper", "return", path, "--model", checkpoint, "--samples", "2", *span, "--json")
    [origins] = json.loads(done.stdout)["walks"]
    assert pd.Timestamp("2024-01-09 22:00") <= pd.Timestamp(origins["first"])
    assert pd.Timestamp(origins["last"]) < pd.Timestamp("2024-01-15")


def test_output_fits_the_terminal(invoke, checkpoint, sample, monkeypatch):
    for width in (70, 100, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        shown = invoke("paper", "price", sample, "--model", checkpoint, "--max-origins", "4", "--samples", "2").stdout
        assert max(map(len, shown.splitlines())) <= width
        assert "RankIC" in shown


def test_help_has_examples_and_the_tasks(invoke):
    shown = invoke("paper", "--help").stdout
    for task in TASKS:
        assert f"kronos paper {task}" in shown
    assert paper.TaskName.__args__ == TASKS

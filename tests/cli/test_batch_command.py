"""``kronos batch``: forecasts of a folder of Parquet files, resumed by the same command."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from batch.markets import long_table, walk, write

FEW = ("--horizon", "2", "--samples", "3", "--workers", "1")


@pytest.fixture
def folder(tmp_path):
    for seed in range(3):
        write(walk(seed), tmp_path / "candles" / f"S{seed}.parquet")
    return tmp_path / "candles"


@pytest.fixture
def run(invoke, checkpoint, folder, tmp_path):
    """Run the command on three series."""

    def command(*options, paths=(folder,)):
        return invoke("batch", *paths, "--output", tmp_path / "out", "--model", checkpoint, *FEW, *options)

    return command


def test_forecasts_and_resumption(run, tmp_path):
    done = run("--shard-size", "2", "--quantile", "0.9", "--quantile", "0.1", "--target", "high")
    assert done.exit_code == 0, done.output
    assert "3 forecasts of 3 series" in done.stdout
    assert "2 files" in done.stdout
    table = pd.read_parquet(tmp_path / "out" / "forecasts")
    assert table.columns.tolist()[:4] == ["unique_id", "cutoff", "ds", "step"]
    assert [name for name in table.columns if name.startswith("high")] == [
        "high_mean",
        "high_median",
        "high_q10",
        "high_q90",
    ]
    assert table["unique_id"].tolist() == ["S0", "S0", "S1", "S1", "S2", "S2"]
    again = run("--shard-size", "2", "--quantile", "0.9", "--quantile", "0.1", "--target", "high", "--json")
    assert again.exit_code == 0
    document = json.loads(again.stdout)
    assert (document["found"], document["forecasts"], document["skipped"]) == (3, 3, [])
    assert document["state"] == "raw"
    other = run("--seed", "2")
    assert other.exit_code == 2
    assert "choose another folder" in other.stderr
    assert run("--seed", "2", "--restart", "--quiet").stdout == ""


def test_a_dry_run_writes_nothing(run, tmp_path):
    done = run("--dry-run", "--stride", "10", "--from", "2024-01-04", "--to", "2024-01-05", "--json")
    document = json.loads(done.stdout)
    assert (document["series"], document["forecasts"], document["stored"]) == (3, 9, 0)
    assert document["first_cutoff"] == "2024-01-04 00:00:00+00:00"
    assert document["engine"] == "local"
    shown = run("--dry-run").stdout
    assert "3 forecasts of 3 series" in shown
    assert "nothing was forecast or written" in shown
    assert not (tmp_path / "out").exists()
    assert run().exit_code == 0
    assert json.loads(run("--dry-run", "--json").stdout)["pending"] == 0


def test_unusable_series_have_status_3(run, tmp_path):
    table = long_table(3)
    table.loc[table["unique_id"] == "S1", "close"] = float("nan")
    path = write(table, tmp_path / "all.parquet")
    done = run("--json", paths=(path,))
    assert done.exit_code == 3
    assert [one["name"] for one in json.loads(done.stdout)["skipped"]] == ["S1"]
    assert done.stderr.startswith("Skipped S1")
    strict = run("--strict", "--restart", paths=(path,))
    assert strict.exit_code == 2
    assert "S1@" in strict.stderr


def test_listed_origins_and_paths(run, tmp_path):
    times = walk(0)["ds"]
    origins = tmp_path / "origins.csv"
    pd.DataFrame({"unique_id": ["S2", "S0"], "cutoff": [times[70], times[80]]}).to_csv(origins, index=False)
    assert run("--origins", origins, "--format", "long").exit_code == 0
    table = pd.read_parquet(tmp_path / "out" / "forecasts")
    assert len(table) == 2 * 3 * 2
    assert table.groupby("unique_id")["cutoff"].first().tolist() == [times[80], times[70]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--origins", "x.csv", "--stride", "3"), "--origins lists the forecasts"),
        (("--from", "2024-01-01"), "add --stride"),
        (("--to", "soon"), "Invalid --to"),
        (("--calibrate", "--calibration", "c.json"), "leave one out"),
        (("--format", "long", "--quantile", "0.1"), "leave out --quantile"),
        (("--quantile", "1.5"), "between 0 and 1"),
        (("--target", "price"), "Invalid target"),
        (("--horizon", "64"), "64"),
        (("--origins", "missing.csv"), "missing.csv does not exist"),
    ],
)
def test_misuse(run, tmp_path, options, message):
    done = run(*options)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_other_files_are_refused(run, tmp_path):
    assert "does not exist" in run(paths=(tmp_path / "missing",)).stderr
    (tmp_path / "c.csv").write_text("ds,open,high,low,close\n")
    assert "corrupt Parquet" in run(paths=(tmp_path / "c.csv",)).stderr

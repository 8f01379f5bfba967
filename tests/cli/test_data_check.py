"""`kronos data check`."""

from __future__ import annotations

import json

import pandas as pd
import pytest


@pytest.fixture
def folder(tmp_path, candle_table):
    root = tmp_path / "data"
    (root / "more").mkdir(parents=True)
    candle_table(600).to_csv(root / "good_1h.csv", index=False)
    dirty = candle_table(600, seed=1).astype({"close": object})
    dirty.loc[[5, 9, 77, 200, 201], "close"] = "oops"
    dirty.to_csv(root / "dirty_1h.csv", index=False)
    candle_table(600, seed=2).to_parquet(root / "more" / "simulated_eth_1h.parquet")
    pd.DataFrame({"path": ["x"], "rows": [1]}).to_csv(root / "MANIFEST.csv", index=False)
    return root


def test_text_output(invoke, folder):
    done = invoke("data", "check", folder)
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    good = next(line for line in lines if "good_1h" in line)
    assert good.split() == ["good_1h", "1h", "600", "2024-03-01", "…", "2024-03-25", "1", "1", "100", "%", "good"]
    assert "fair" in next(line for line in lines if "dirty_1h" in line)
    for words in (
        "dirty_1h: warning: 5 ",
        "'oops' (lines 7, 11, 79 … of dirty_1h.csv)",
        "Rows: 7, 11, 79, 202, 203.",
        "dirty_1h: 4 gaps; excluded: 197 in segments under 256",
        "SIMULATED, never traded: simulated_eth_1h",
        "3 series with 1,795 candles",
        "Skipped, no candles: MANIFEST.csv.",
    ):
        assert words in " ".join(done.stdout.split()), words


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_output_fits_the_terminal(invoke, folder, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    shown = invoke("data", "check", folder, "-v").stdout
    assert max(map(len, shown.splitlines())) <= width
    for words in ("simulated_eth_1h", "600", "100 %", "fair"):
        assert words in shown


def test_json_output(invoke, folder):
    document = json.loads(invoke("data", "check", folder, "--json").stdout)
    assert document["totals"]["verdicts"] == {"good": 2, "fair": 1}
    dirty, good, simulated = document["series"]
    assert [one["verdict"] for one in document["series"]] == ["fair", "good", "good"]
    assert simulated["simulated"]
    assert not good["simulated"]
    assert dirty["quality"]["splits"] == {"gaps": 4, "jumps": 0}
    assert sum(b - a for a, b in (one["rows"] for one in dirty["quality"]["segments"])) == dirty["quality"]["kept"]
    assert dirty["quality"]["rules"]["row"] == "1h"
    assert dirty["findings"][0]["rows"] == [7, 11, 79, 202, 203]
    assert document["passed_over"] == [str(folder / "MANIFEST.csv")]


def test_strict_fails_on_warnings(invoke, folder):
    assert invoke("data", "check", folder / "good_1h.csv", "--strict").exit_code == 0
    assert invoke("data", "check", folder, "--strict").exit_code == 1


def test_strict_fails_if_no_candles_remain(invoke, candles_csv):
    assert invoke("data", "check", candles_csv).exit_code == 0
    assert invoke("data", "check", candles_csv, "--strict").exit_code == 1


def test_unreadable_files_are_listed_with_status_2(invoke, folder):
    (folder / "more" / "empty.csv").touch()
    done = invoke("data", "check", folder, "--strict")
    assert done.exit_code == 2
    assert "empty.csv is empty" in " ".join(done.stdout.split())
    assert "good_1h" in done.stdout
    assert done.stderr.startswith("Error: 1 path ")
    document = json.loads(invoke("data", "check", folder, "--json").stdout)
    assert [one["path"] for one in document["unreadable"]] == [str(folder / "more" / "empty.csv")]


def test_number_of_findings_can_be_limited(invoke, folder):
    shown = invoke("data", "check", folder, "--findings", "1").stdout
    assert "'oops'" in shown
    assert "were dropped" not in shown
    assert "… and 2 more; --findings" in shown
    assert "warning:" not in invoke("data", "check", folder, "--findings", "0").stdout
    assert "no amount" in invoke("data", "check", folder, "-v").stdout


def test_markdown_report(invoke, folder, tmp_path):
    report = tmp_path / "reports" / "quality.md"
    done = invoke("data", "check", folder, "--report", report)
    assert done.exit_code == 0, done.stderr
    text = report.read_text("utf-8")
    assert text.startswith("# Data check\n")
    assert "| good\\_1h | 1h | 600 | 2024-03-01 | 2024-03-25 | 0 | 1 | 1 | 100 % | good |" in text
    assert "## dirty\\_1h, 1h: fair" in text
    assert "**Simulated: these candles never traded.**" in text
    assert "Rows: 7, 11, 79, 202, 203." in text
    assert "prices are missing between 2024-03-01 04:00:00 and 2024-03-01 06:00:00" in text


def test_json_report(invoke, folder, tmp_path):
    report = tmp_path / "quality.json"
    shown = json.loads(invoke("data", "check", folder, "--json", "--report", report).stdout)
    assert json.loads(report.read_text("utf-8")) == shown


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--report", "x.html"], 2, "Invalid --report x.html: use a name that ends in .md or .json."),
        (["--report", "."], 2, "Invalid --report"),
        (["--timezone", "Asia/Shangai"], 2, "did you mean Asia/Shanghai?"),
        (["--interval", "soon"], 2, "Invalid interval 'soon'"),
        (["--findings", "-1"], 2, "should be greater than or equal to 0"),
    ],
)
def test_invalid_options(invoke, folder, options, status, words):
    done = invoke("data", "check", folder, *options)
    assert done.exit_code == status
    assert words in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_unwritable_report(invoke, folder, tmp_path):
    (tmp_path / "folder.md").mkdir()
    done = invoke("data", "check", folder, "--report", tmp_path / "folder.md")
    assert done.exit_code == 2
    assert "a folder of that name exists" in done.stderr


def test_series_of_one_name_are_labelled_with_their_interval(invoke, tmp_path, candle_table):
    for freq, name in (("h", "a"), ("D", "b")):
        candle_table(60, freq=freq).assign(symbol="BTC").to_csv(tmp_path / f"{name}.csv", index=False)
    shown = invoke("data", "check", tmp_path).stdout
    assert "BTC 1h: excluded: 60" in shown
    assert "BTC 1d: excluded: 60" in shown


def test_in_a_new_process(spawn, folder):
    done = spawn("data", "check", folder / "good_1h.csv")
    assert done.returncode == 0, done.stderr
    assert "good_1h" in done.stdout
    assert done.stderr == ""

"""Adaptive bands on the command line: ``kronos evaluate --adaptive`` and ``kronos forecast --adapt N``."""

import json
from pathlib import Path

import pandas as pd
import pytest

from evaluation.random_walks import candles

ADAPTIVE = "random-tiny, adaptive bands"
FEW = ("--samples", "10", "--horizon", "2", "--stride", "4", "--baseline", "last-value", "--workers", "1")


@pytest.fixture
def walk(tmp_path, monkeypatch):
    """A random walk in the working directory."""
    monkeypatch.chdir(tmp_path)
    table = candles(3, 380).frame.reset_index()
    table.to_csv(tmp_path / "walk_1h.csv", index=False)
    return Path("walk_1h.csv")


@pytest.mark.slow
def test_evaluate_adds_a_contender(invoke, walk, checkpoint, no_figures):
    asked = ("evaluate", walk, "--model", checkpoint, "--from", "2024-01-03 18:00", *FEW, "--output", "out")
    plain = invoke(*asked, "--json")
    assert plain.exit_code == 0, plain.output
    assert json.loads(plain.stdout)["adaptive"] == []
    planned = json.loads(invoke(*asked, "--adaptive", "--dry-run", "--json").stdout)["contenders"]
    assert {"name": ADAPTIVE, "baseline": False, "stored": 0, "pending": 0, "seconds_per_forecast": None} in planned
    done = invoke(*asked, "--adaptive", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    count = found["origins"]
    assert f"{3 * count} of {3 * count} forecasts found" in done.stderr  # model and two baselines: none is made again
    names = [own["name"] for own in found["forecasters"]]
    assert names == ["random-tiny", ADAPTIVE, "last-value", "historical-volatility"]
    [own] = [figures for figures in found["adaptive"] if (figures["group"], figures["step"]) == ("all", 2)]
    assert own["adapted"] == count - 50
    assert ADAPTIVE in set(pd.read_parquet("out/scores.parquet")["forecaster"])
    assert ADAPTIVE in Path("out/report.html").read_text("utf-8")
    shown = " ".join(invoke(*asked, "--adaptive").stdout.split())
    assert f"Verdict on {ADAPTIVE}, 2 steps ahead" in shown
    assert f"{own['adapted']} of {count} forecasts adapted" in shown


def test_forecast_adapts_to_its_history(invoke, walk, checkpoint):
    asked = ("forecast", walk, "--model", checkpoint, "--horizon", 2, "--samples", 20, "--seed", 1)
    raw = json.loads(invoke(*asked, "--json").stdout)["forecasts"][0]
    done = invoke(*asked, "--adapt", 60, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["forecasts"][0]
    assert found["median"] != raw["median"] or found["made"]["details"]["adaptive"]["width_ratio"] != 1
    assert found["made"]["details"]["adaptive"]["outcomes"] == 60
    shown = " ".join(invoke(*asked, "--adapt", 60).stdout.split())
    [note] = [
        note for note in found["made"]["notes"] if "adaptive conformal inference from 60 outcomes per step" in note
    ]
    assert note in shown


def test_an_adapted_replay_uses_only_the_history_and_scores_raw_paths_too(invoke, walk, checkpoint):
    asked = ("forecast", walk, "--model", checkpoint, "-n", 2, "--samples", 10, "--as-of", "2024-01-14 08:00", "--json")
    before = json.loads(invoke(*asked, "--seed", 1, "--adapt", 50).stdout)["forecasts"][0]
    plain = json.loads(invoke(*asked, "--seed", 1).stdout)["forecasts"][0]
    scores = before["replay"]["scores"]
    assert scores["random-tiny, raw"] == plain["replay"]["scores"]["random-tiny"]
    assert "random-tiny, calibrated" in scores
    table = pd.read_csv(walk)
    table.loc[table["timestamps"] > "2024-01-14 08:00:00", ["open", "high", "low", "close"]] *= 3
    table.to_csv(walk, index=False)
    after = json.loads(invoke(*asked, "--seed", 1, "--adapt", 50).stdout)["forecasts"][0]
    assert after["mean"] == before["mean"]
    assert after["made"]["details"]["adaptive"] == before["made"]["details"]["adaptive"]


@pytest.mark.parametrize(
    ("adapt", "words"),
    [(20, "Invalid adapt 20: choose at least 50"), (5000, "has 380 candles: to adapt to 5000 earlier origins")],
)
def test_impossible_numbers_of_origins(invoke, walk, checkpoint, adapt, words):
    done = invoke("forecast", walk, "--model", checkpoint, "-n", 2, "--samples", 2, "--adapt", adapt)
    assert done.exit_code == 2
    assert words in done.stderr

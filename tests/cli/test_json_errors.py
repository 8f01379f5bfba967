"""With ``--json``, stdout is one JSON document in every case; misuse has one exit status."""

from __future__ import annotations

import json

import pytest

MISUSES = [
    ("forecast", "missing.csv"),
    ("forecast", "--demo", "--samples", "0"),
    ("forecast", "--demo", "--samples", "many"),
    ("forecast", "--demo", "--output", "."),
    ("forecast", "--demo", "--model", "no-such-model"),
    ("forecast",),
    ("evaluate", "missing.csv"),
    ("evaluate", "missing.csv", "--report", "x.txt"),
    ("evaluate", "--unknown"),
    ("calibrate", "missing.csv"),
    ("batch", "missing.parquet", "--output", "out"),
    ("batch", "missing.parquet"),
    ("calibrate", "missing.csv", "--part", "none"),
    ("paper", "price", "missing.csv"),
    ("paper", "no-such-task", "missing.csv"),
    ("data", "check", "--findings", "-1", "missing.csv"),
    ("data", "fetch", "BTC", "--source", "files:nowhere"),
    ("data", "fetch", "BTC", "--interval", "1 fortnight"),
    ("data", "simulate", "--market", "moon"),
    ("data", "prepare", "--config", "no_such_config"),
    ("data", "prepare"),
    ("models", "show", "no-such-model"),
    ("train", "model", "--data", "missing.csv"),
    ("train", "model", "--data", "missing.csv", "--epochs", "0"),
    ("train", "run", "no_such_config"),
    ("pipeline", "no_such_config"),
]


@pytest.mark.slow
@pytest.mark.parametrize("command", MISUSES, ids=" ".join)
def test_misuse_has_status_2_and_a_document(invoke, bundled, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    plain = invoke(*command)
    assert plain.exit_code == 2, plain.output
    assert plain.stdout == ""
    result = invoke(*command, "--json")
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert set(document) == {"error", "message", "status"}
    assert document["status"] == 2
    assert document["error"].isidentifier()
    assert len(document["message"].split()) > 2
    assert result.stderr.strip()


def test_failures_have_status_1_in_the_document(invoke, bundled, candles_csv, tmp_path):
    (tmp_path / "file").touch()
    result = invoke("forecast", candles_csv, "--horizon", "2", "--output", tmp_path / "file" / "t.csv", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == 1
    assert json.loads(result.stdout)["error"] == "StorageError"
    assert result.stderr.startswith("Error: ")


def test_partial_failures_are_part_of_the_document(invoke, candles_csv, tmp_path):
    result = invoke("data", "check", candles_csv, tmp_path / "missing.csv", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["unreadable"]
    assert result.stderr.startswith("Error: ")


def test_an_argument_that_only_looks_like_the_option_is_none(invoke, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke("forecast", "--", "--json")
    assert result.exit_code == 2
    assert result.stdout == ""

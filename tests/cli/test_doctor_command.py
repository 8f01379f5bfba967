"""`kronos doctor`."""

from __future__ import annotations

import json
from importlib import metadata


def test_json_report_has_versions_caches_and_self_test(invoke, checkpoint, monkeypatch):
    monkeypatch.setenv("KRONOS_MODEL", str(checkpoint))
    done = invoke("doctor", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["versions"]["torch"] == metadata.version("torch")
    assert report["self_test"]["status"] == "passed"
    assert report["cache"]["offline"] is True
    assert "evaluation" in report["extras"]
    assert report["settings"]["model"] == str(checkpoint)


def test_text_report(invoke, checkpoint, monkeypatch):
    monkeypatch.setenv("KRONOS_MODEL", str(checkpoint))
    shown = invoke("doctor").stdout
    for words in ("Python", "threads", "offline", "Chinese font", "self-test", "random-tiny"):
        assert words in shown


def test_missing_extra_shows_install_command(invoke, checkpoint, monkeypatch):
    real = metadata.version

    def without(package: str) -> str:
        if package == "scoringrules":
            raise metadata.PackageNotFoundError(package)
        return real(package)

    monkeypatch.setenv("KRONOS_MODEL", str(checkpoint))
    monkeypatch.setattr(metadata, "version", without)
    shown = invoke("doctor").stdout
    assert 'python -m pip install "scoringrules>=0.9"' in shown


def test_status_1_if_forecasting_fails(invoke, monkeypatch, tmp_path):
    monkeypatch.setenv("KRONOS_MODEL", str(tmp_path))
    done = invoke("doctor", "--json")
    assert done.exit_code == 1
    test = json.loads(done.stdout)["self_test"]
    assert test["status"] == "failed"
    assert "config.json" in test["reason"] or str(tmp_path) in test["reason"]


def test_invalid_setting_is_reported(invoke, monkeypatch):
    monkeypatch.setenv("KRONOS_THREADS", "none")
    done = invoke("doctor")
    assert done.exit_code == 2
    assert "KRONOS_THREADS" in done.stderr

"""`kronos doctor`."""

from __future__ import annotations

import json
import socket
from importlib import metadata

import pytest


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


@pytest.fixture
def online(monkeypatch, checkpoint, tmp_path):
    """A machine that may use the network, with a model of its own and a hub at a port where nothing listens."""
    for name in ("KRONOS_OFFLINE", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("KRONOS_MODEL", str(checkpoint))
    monkeypatch.setenv("KRONOS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        yield endpoint


def lines_of(invoke, label):
    return [line.split() for line in invoke("doctor").stdout.splitlines() if f" {label} " in line]


@pytest.mark.slow
def test_an_unreachable_hub_has_no_tick(invoke, online):
    done = invoke("doctor", "--json")
    assert done.exit_code == 0  # the model is here
    network = json.loads(done.stdout)["network"]
    assert network["reachable"] is False
    assert online in network["problem"]
    [[mark, *words]] = lines_of(invoke, "hub")
    assert mark == "✗"
    assert online in words


def test_a_hub_that_answers_has_a_tick(invoke, online, httpserver, monkeypatch):
    httpserver.expect_request("/").respond_with_data("")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", httpserver.url_for("").rstrip("/"))
    assert json.loads(invoke("doctor", "--json").stdout)["network"] == {"reachable": True, "problem": None}
    assert lines_of(invoke, "hub")[0][0] == "✓"


def test_a_proxy_of_the_environment_that_is_wrong_is_named(invoke, online, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@h:abc")
    shown = invoke("doctor").stdout
    assert "HTTPS_PROXY" in shown
    assert "secret" not in shown


def test_a_cache_that_cannot_be_written_has_no_tick(invoke, online, monkeypatch, tmp_path):
    assert lines_of(invoke, "cache")[0][0] == "✓"
    assert not (tmp_path / "cache").exists()
    (tmp_path / "file").touch()
    monkeypatch.setenv("KRONOS_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert "can be written" in json.loads(invoke("doctor", "--json").stdout)["cache"]["problem"]
    assert lines_of(invoke, "cache")[0][0] == "✗"


def test_the_report_has_no_passwords(invoke, online, monkeypatch):
    monkeypatch.setenv("KRONOS_SOURCES__OKX__PROXY", "http://me:pa55word@127.0.0.1:1")
    monkeypatch.setenv("KRONOS_SOURCES__OKX__API_KEY", "pa55word")
    done = invoke("doctor", "--json")
    assert json.loads(done.stdout)["settings"]["sources"]["okx"]["proxy"] == "http://127.0.0.1:1"
    assert "pa55word" not in done.stdout

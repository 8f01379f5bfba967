"""`kronos models`."""

from __future__ import annotations

import json
import sys

import pytest

from kronos.zoo import list_checkpoints


def test_list_has_every_checkpoint(invoke):
    done = invoke("models", "list")
    assert done.exit_code == 0, done.stderr
    for entry in list_checkpoints():
        assert entry.name in done.stdout
    for words in ("24.7 M", "2,048", "MIT", "to download", "not published"):
        assert words in done.stdout


@pytest.mark.parametrize("width", [60, 80, 120])
def test_list_fits_the_terminal(invoke, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    shown = invoke("models", "list").stdout
    assert "kronos-tokenizer-base" in shown
    assert max(map(len, shown.splitlines())) <= width


def test_list_as_json(invoke):
    entries = json.loads(invoke("models", "list", "--json").stdout)
    assert [entry["name"] for entry in entries] == [entry.name for entry in list_checkpoints()]
    small = next(entry for entry in entries if entry["name"] == "kronos-small")
    assert small["context"] == 512
    assert small["tokenizer"] == "kronos-tokenizer-base"
    assert small["hub_id"] == "NeoQuasar/Kronos-small"


@pytest.mark.parametrize("ref", ["Kronos-small", "kronos-small", "neoquasar/kronos-small"])
def test_show_ignores_case(invoke, ref):
    done = invoke("models", "show", ref)
    assert done.exit_code == 0, done.stderr
    for words in ("24.7 M", "512 candles", "kronos-tokenizer-base", "901c26c1332695a2a8f243eb2f37243a37bea320", "MIT"):
        assert words in done.stdout
    assert json.loads(invoke("models", "show", ref, "--json").stdout)["config"]["n_layers"] == 8


def test_show_has_training_cutoff(invoke):
    assert "trained until   2024-07-01\n" in invoke("models", "show", "kronos-base").stdout
    entry = json.loads(invoke("models", "show", "kronos-base", "--json").stdout)
    assert (entry["trained_until"], entry["selected_until"]) == ({"all": "2024-07-01"}, None)
    assert "until" not in invoke("models", "show", "kronos-large").stdout


@pytest.mark.parametrize("command", ["show", "download"])
def test_typo_suggests_nearest_name(invoke, command):
    done = invoke("models", command, "kronos-smal")
    assert done.exit_code == 2
    assert "'kronos-smal'" in done.stderr
    assert "did you mean kronos-small?" in done.stderr


def test_download_fails_offline(invoke, monkeypatch, tmp_path):
    monkeypatch.setenv("KRONOS_CACHE_DIR", str(tmp_path))
    done = invoke("models", "download", "kronos-mini")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.strip().splitlines()) == 1


def test_folder_is_not_downloaded(invoke, checkpoint):
    done = invoke("models", "download", checkpoint, "--json")
    assert json.loads(done.stdout)["folders"] == [str(checkpoint / "model"), str(checkpoint / "tokenizer")]


def test_bundled_model_shows_its_card(invoke, bundled):
    assert "bundled" in invoke("models", "list").stdout
    shown = invoke("models", "show", "kronos-nano").stdout
    assert "Measured quality: none." in shown
    assert json.loads(invoke("models", "show", "kronos-nano", "--json").stdout)["card"] == str(bundled / "README.md")


def test_download_shows_progress_in_a_terminal(invoke, checkpoint, monkeypatch):
    from kronos.zoo import download

    def fake_download(ref, *, progress=None, force=False):
        assert ref == "kronos-mini"
        for done in (0, 500_000, 1_000_000):
            progress(done, 1_000_000)
        return download(str(checkpoint))

    monkeypatch.setattr("kronos.cli.model_loading.download", fake_download)
    monkeypatch.setattr("kronos.progress.is_interactive", lambda: True)
    monkeypatch.setattr("kronos.cli.model_loading.is_interactive", lambda: True)
    done = invoke("models", "download", "kronos-mini")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [str(checkpoint / "model"), str(checkpoint / "tokenizer")]
    assert "kronos-mini downloaded." in done.stderr


def test_bundled_card_has_no_front_matter(invoke):
    shown = invoke("models", "show", "kronos-nano").stdout
    assert "at least 8 candles of history" in " ".join(shown.split())
    assert "license: mit" not in shown


def test_export_writes_a_folder_and_lists_its_files(invoke, checkpoint, tmp_path):
    done = invoke("models", "export", checkpoint, "--output", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    for name in ("tokenizer-encode.onnx", "tokenizer-decode.onnx", "step.onnx", "fine.onnx"):
        assert f"{name}  0." in done.stdout
        assert (tmp_path / "out" / name).is_file()
    document = json.loads((tmp_path / "out" / "kronos.json").read_text("utf-8"))
    assert (document["name"], document["context"], document["weights"]) == ("random-tiny", 64, "float32")
    again = invoke("models", "export", checkpoint, "--output", tmp_path / "out", "--json")
    assert again.exit_code == 1
    assert "exists already; choose another folder" in json.loads(again.stdout)["message"]


def test_export_as_json(invoke, checkpoint, tmp_path):
    options = ("--format", "onnx", "--weights", "int8", "--json")
    done = invoke("models", "export", checkpoint, "--output", tmp_path / "out", *options)
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["weights"] == "int8"
    assert document["folder"] == str(tmp_path / "out")
    assert set(document["files"]) >= {"step.onnx", "fine.onnx"}


def test_export_names_what_is_missing(invoke, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    done = invoke("models", "export", checkpoint, "--output", tmp_path / "out")
    assert done.exit_code == 2
    assert "install the extra 'onnx'" in done.stderr
    done = invoke("models", "export", "kronos-smal", "--output", tmp_path / "out")
    assert "did you mean kronos-small?" in done.stderr
    assert "--output" in invoke("models", "export", "kronos-nano").stderr

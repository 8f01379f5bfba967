"""`kronos models`."""

from __future__ import annotations

import json

import pytest

from kronos.zoo import list_checkpoints


def test_the_list_has_every_name(invoke):
    done = invoke("models", "list")
    assert done.exit_code == 0, done.stderr
    for entry in list_checkpoints():
        assert entry.name in done.stdout
    for words in ("24.7 M", "2,048", "MIT", "to download", "not published"):
        assert words in done.stdout


@pytest.mark.parametrize("width", [60, 80, 120])
def test_names_are_never_cut(invoke, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    shown = invoke("models", "list").stdout
    assert "kronos-tokenizer-base" in shown
    assert max(map(len, shown.splitlines())) <= width


def test_the_list_for_machines(invoke):
    told = json.loads(invoke("models", "list", "--json").stdout)
    assert [fact["name"] for fact in told] == [entry.name for entry in list_checkpoints()]
    small = next(fact for fact in told if fact["name"] == "kronos-small")
    assert small["context"] == 512
    assert small["tokenizer"] == "kronos-tokenizer-base"
    assert small["hub_id"] == "NeoQuasar/Kronos-small"


@pytest.mark.parametrize("ref", ["Kronos-small", "kronos-small", "neoquasar/kronos-small"])
def test_show_takes_any_case(invoke, ref):
    done = invoke("models", "show", ref)
    assert done.exit_code == 0, done.stderr
    for words in ("24.7 M", "512 candles", "kronos-tokenizer-base", "901c26c1332695a2a8f243eb2f37243a37bea320", "MIT"):
        assert words in done.stdout
    assert json.loads(invoke("models", "show", ref, "--json").stdout)["config"]["n_layers"] == 8


def test_show_says_up_to_when_the_data_went(invoke):
    assert "trained until   2024-07-01\n" in invoke("models", "show", "kronos-base").stdout
    told = json.loads(invoke("models", "show", "kronos-base", "--json").stdout)
    assert (told["trained_until"], told["selected_until"]) == ({"all": "2024-07-01"}, None)
    assert "until" not in invoke("models", "show", "kronos-large").stdout


@pytest.mark.parametrize("command", ["show", "download"])
def test_a_typo_gets_the_nearest_name(invoke, command):
    done = invoke("models", command, "kronos-smal")
    assert done.exit_code == 2
    assert done.stderr == "Error: No checkpoint is called 'kronos-smal'; did you mean kronos-small?\n"


def test_downloading_offline_is_one_sentence(invoke, monkeypatch, tmp_path):
    monkeypatch.setenv("KRONOS_CACHE_DIR", str(tmp_path))
    done = invoke("models", "download", "kronos-mini")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_folder_needs_no_download(invoke, checkpoint):
    done = invoke("models", "download", checkpoint, "--json")
    assert json.loads(done.stdout)["folders"] == [str(checkpoint / "model"), str(checkpoint / "tokenizer")]


def test_the_bundled_model_shows_its_card(invoke, bundled):
    assert "bundled" in invoke("models", "list").stdout
    shown = invoke("models", "show", "kronos-nano").stdout
    assert "Its measured quality stands here." in shown
    assert json.loads(invoke("models", "show", "kronos-nano", "--json").stdout)["card"] == str(bundled / "README.md")


def test_a_download_shows_its_progress_where_a_person_watches(invoke, checkpoint, monkeypatch):
    from kronos.zoo import download

    def slowly(ref, *, progress=None, force=False):
        assert ref == "kronos-mini"
        for done in (0, 500_000, 1_000_000):
            progress(done, 1_000_000)
        return download(str(checkpoint))

    monkeypatch.setattr("kronos.cli.model_loading.download", slowly)
    monkeypatch.setattr("kronos.cli.console.watched", lambda: True)
    monkeypatch.setattr("kronos.cli.model_loading.watched", lambda: True)
    done = invoke("models", "download", "kronos-mini")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [str(checkpoint / "model"), str(checkpoint / "tokenizer")]
    assert "kronos-mini is here." in done.stderr


def test_show_prints_the_bundled_models_card(invoke):
    shown = invoke("models", "show", "kronos-nano").stdout
    assert "at least 64 candles of history" in " ".join(shown.split())
    assert "license: mit" not in shown  # what hubs read, people need not

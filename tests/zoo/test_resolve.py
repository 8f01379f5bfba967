import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kronos.errors import CheckpointError
from kronos.zoo import DEFAULT_MODEL, Pairing, download, find_cached, find_entry, read_pairing, resolve_checkpoint
from kronos.zoo.catalog import BUNDLED

bundled = pytest.mark.skipif(not (BUNDLED / DEFAULT_MODEL).is_dir(), reason="the bundled model is not installed")


def error_of(ref, kind="model"):
    with pytest.raises(CheckpointError) as caught:
        resolve_checkpoint(ref, kind=kind, local_files_only=True)
    return str(caught.value)


def test_folders_with_a_checkpoint(model_folder):
    checkpoint = resolve_checkpoint(model_folder, kind="model")
    assert checkpoint.folder == model_folder
    assert checkpoint.entry is None
    assert checkpoint.revision is None


@pytest.mark.parametrize("kind", ["model", "tokenizer"])
def test_parts_of_forecasting_folders(forecasting_folder, kind):
    assert resolve_checkpoint(str(forecasting_folder), kind=kind).folder == forecasting_folder / kind


def test_home_folders_are_expanded(forecasting_folder, monkeypatch):
    monkeypatch.setenv("HOME", str(forecasting_folder.parent))
    monkeypatch.setenv("USERPROFILE", str(forecasting_folder.parent))
    assert resolve_checkpoint("~/checkpoint/model", kind="model").folder == forecasting_folder / "model"


def test_folders_with_a_checkpoint_take_precedence_over_zoo_names(forecasting_folder, monkeypatch):
    monkeypatch.chdir(forecasting_folder.parent)
    Path("kronos-small").mkdir()
    assert "not in the cache" in error_of("kronos-small")
    Path("kronos-small").rmdir()
    forecasting_folder.rename(forecasting_folder.with_name("kronos-small"))
    assert resolve_checkpoint("kronos-small", kind="model").folder == Path("kronos-small/model")


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("", "pass a folder, a hub id"),
        ("kronos-smal", "did you mean kronos-small?"),
        ("something", "or one of"),
        ("./nowhere", "There is no folder ./nowhere"),
        ("a/b/c", "There is no folder a/b/c"),
        (Path("nowhere"), "There is no folder nowhere"),
        ("kronos-large", "never published"),
        ("kronos-tokenizer-base", "is a tokenizer, not a model"),
        ("user/name", "the network is switched off"),
        ("user/na..me--x", "the network is switched off"),
    ],
)
def test_unknown_references_raise(ref, words, tmp_path, monkeypatch):
    monkeypatch.setenv("KRONOS_CACHE_DIR", str(tmp_path))
    assert words in error_of(ref)


def test_models_are_not_tokenizers():
    assert "its tokenizer is kronos-tokenizer-base" in error_of("kronos-small", "tokenizer")


@pytest.mark.parametrize(("name", "words"), [("pytorch_model.bin", "pickled"), ("model.safetensors", "is a file")])
def test_files_instead_of_folders_raise(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"")
    assert words in error_of(tmp_path / name)


def test_the_tokenizer_next_to_a_model_is_used(forecasting_folder):
    pairing = read_pairing(resolve_checkpoint(forecasting_folder, kind="model"))
    assert pairing == Pairing(str(forecasting_folder / "tokenizer"), 512, "published", "guessed")


def test_records_take_precedence(forecasting_folder):
    record = {"context": 256, "tokenizer": "../tokenizer", "s2_attention": "causal", "trained_on": "anything"}
    (forecasting_folder / "model" / "kronos.json").write_text(json.dumps(record))
    pairing = read_pairing(resolve_checkpoint(forecasting_folder, kind="model"))
    assert pairing == Pairing(str(forecasting_folder / "tokenizer"), 256, "causal", "recorded")


def test_recorded_tokenizer_names(model_folder):
    (model_folder / "kronos.json").write_text('{"tokenizer": "kronos-tokenizer-2k"}')
    assert read_pairing(resolve_checkpoint(model_folder, kind="model")).tokenizer == "kronos-tokenizer-2k"


@pytest.mark.parametrize(
    "record",
    [
        '{"context": 1}',
        '{"context": "512"}',
        '{"context": 512, "least_history": 0}',
        '{"context": 512, "least_history": 512}',
        '{"context": 512, "least_history": true}',
        '{"context": true}',
        '{"s2_attention": "other"}',
        '{"tokenizer": 3}',
        "[]",
        "{",
    ],
)
def test_invalid_records_raise(model_folder, record):
    (model_folder / "kronos.json").write_text(record)
    with pytest.raises(CheckpointError, match=r"kronos\.json"):
        read_pairing(resolve_checkpoint(model_folder, kind="model"))


def test_missing_recorded_tokenizers_raise(checkpoint_writer, tmp_path):
    folder = checkpoint_writer(tmp_path / "mine", "model")
    (folder / "kronos.json").write_text('{"tokenizer": "../absent"}')
    with pytest.raises(CheckpointError, match="does not exist"):
        read_pairing(resolve_checkpoint(folder, kind="model"))


def test_fine_tuned_copies_are_paired_by_shape(checkpoint_writer, tmp_path):
    folder = checkpoint_writer(tmp_path / "fine-tuned", "model")
    (folder / "config.json").write_text(json.dumps(dict(find_entry("kronos-mini").config)))
    from kronos.zoo import CheckpointRef

    pairing = read_pairing(CheckpointRef(folder, "fine-tuned", None, None))
    assert pairing == Pairing("kronos-tokenizer-2k", 2048, "published", "guessed")


def test_download_of_a_folder_resolves_it(forecasting_folder):
    checkpoints = download(str(forecasting_folder))
    assert [checkpoint.folder.name for checkpoint in checkpoints] == ["model", "tokenizer"]


@bundled
def test_the_bundled_model_works_offline():
    for kind in ("model", "tokenizer"):
        checkpoint = resolve_checkpoint(DEFAULT_MODEL.upper(), kind=kind, local_files_only=True)
        assert checkpoint.entry.kind == kind
    assert read_pairing(resolve_checkpoint(DEFAULT_MODEL, kind="model")).context == 256
    assert find_cached(find_entry(DEFAULT_MODEL)).size > 0


@pytest.fixture
def bundle(forecasting_folder, monkeypatch, tmp_path):
    """A bundled model for tests, in place of the real one."""
    root = tmp_path / "bundled" / DEFAULT_MODEL
    shutil.copytree(forecasting_folder, root)
    record = {"context": 300, "tokenizer": "../tokenizer", "s2_attention": "causal"}
    (root / "model" / "kronos.json").write_text(json.dumps(record))
    monkeypatch.setattr("kronos.zoo.catalog.BUNDLED", root.parent)
    return root


def test_bundled_models_by_name(bundle):
    entry = find_entry(DEFAULT_MODEL)
    assert (entry.context, entry.s2_attention, entry.bundled) == (300, "causal", True)
    assert entry.title == "Kronos-nano"
    model = resolve_checkpoint("Kronos-Nano", kind="model", local_files_only=True)
    assert (model.folder, model.entry) == (bundle / "model", entry)
    assert read_pairing(model) == Pairing(str(bundle / "tokenizer"), 300, "causal", "recorded")
    for ref in (DEFAULT_MODEL, entry.tokenizer):
        tokenizer = resolve_checkpoint(ref, kind="tokenizer", local_files_only=True)
        assert (tokenizer.folder, tokenizer.entry.name) == (bundle / "tokenizer", entry.tokenizer)
    assert find_cached(entry).size == sum(path.stat().st_size for path in (bundle / "model").iterdir())
    assert [checkpoint.kind for checkpoint in download(DEFAULT_MODEL)] == ["model", "tokenizer"]


def test_bundled_tokenizers_are_not_models(bundle):
    assert "is a tokenizer, not a model" in error_of(find_entry(DEFAULT_MODEL).tokenizer)


def test_missing_bundled_models_raise(monkeypatch, tmp_path):
    monkeypatch.setattr("kronos.zoo.catalog.BUNDLED", tmp_path)
    assert find_entry(DEFAULT_MODEL) is None
    assert "install kronos again" in error_of(DEFAULT_MODEL)


def test_imports_are_lazy(forecasting_folder):
    program = (
        "import sys; from kronos.zoo import list_checkpoints, resolve_checkpoint; list_checkpoints();"
        "resolve_checkpoint(sys.argv[1], kind='model');"
        "print(sorted({'torch', 'huggingface_hub', 'pandas', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(forecasting_folder)],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("part", ["", "model"])
def test_forecasting_folders_give_their_name_to_both_parts(forecasting_folder, part):
    assert resolve_checkpoint(forecasting_folder / part, kind="model").name == forecasting_folder.name
    assert resolve_checkpoint(forecasting_folder / "tokenizer", kind="tokenizer").name == forecasting_folder.name


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"name": "Mine"}, "Mine"),
        ({"name": "\x1b[31mred"}, None),
        ({"name": 3}, None),
        ({"name": "x" * 81}, None),
        ({}, None),
    ],
)
def test_recorded_names_are_used_if_they_can_be_shown(forecasting_folder, record, name):
    (forecasting_folder / "model" / "kronos.json").write_text(json.dumps(record))
    assert resolve_checkpoint(forecasting_folder / "model", kind="model").name == (name or forecasting_folder.name)


def test_a_folder_that_only_happens_to_be_called_model_keeps_its_name(model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "elsewhere" / "model")
    assert resolve_checkpoint(folder, kind="model").name == "model"
    (tmp_path / "elsewhere" / "config.yaml").touch()  # a run's folder, whose tokenizer is another's
    assert resolve_checkpoint(folder, kind="model").name == "elsewhere"

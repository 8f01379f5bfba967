import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kronos.errors import CheckpointError
from kronos.zoo import DEFAULT_MODEL, Pairing, cached, download, find, read_pairing, resolve_checkpoint
from kronos.zoo.catalog import BUNDLED

bundled = pytest.mark.skipif(not (BUNDLED / DEFAULT_MODEL).is_dir(), reason="the bundled model is not there yet")


def refusal(ref, kind="model"):
    with pytest.raises(CheckpointError) as caught:
        resolve_checkpoint(ref, kind=kind, local_files_only=True)
    return str(caught.value)


def test_a_checkpoints_own_folder(model_folder):
    located = resolve_checkpoint(model_folder, kind="model")
    assert located.folder == model_folder
    assert located.entry is None
    assert located.revision is None


@pytest.mark.parametrize("kind", ["model", "tokenizer"])
def test_a_forecasting_folder_gives_the_part_asked_for(forecasting_folder, kind):
    assert resolve_checkpoint(str(forecasting_folder), kind=kind).folder == forecasting_folder / kind


def test_a_folder_under_the_home_folder(forecasting_folder, monkeypatch):
    monkeypatch.setenv("HOME", str(forecasting_folder.parent))
    monkeypatch.setenv("USERPROFILE", str(forecasting_folder.parent))
    assert resolve_checkpoint("~/checkpoint/model", kind="model").folder == forecasting_folder / "model"


def test_a_folder_with_a_zoo_name_wins_when_it_holds_a_checkpoint(forecasting_folder, monkeypatch):
    monkeypatch.chdir(forecasting_folder.parent)
    Path("kronos-small").mkdir()
    assert "not in the cache" in refusal("kronos-small")
    Path("kronos-small").rmdir()
    forecasting_folder.rename(forecasting_folder.with_name("kronos-small"))
    assert resolve_checkpoint("kronos-small", kind="model").folder == Path("kronos-small/model")


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("", "give a folder, a hub id"),
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
def test_references_that_lead_nowhere(ref, said, tmp_path, monkeypatch):
    monkeypatch.setenv("KRONOS_CACHE_DIR", str(tmp_path))
    assert said in refusal(ref)


def test_a_model_is_no_tokenizer():
    assert "its tokenizer is kronos-tokenizer-base" in refusal("kronos-small", "tokenizer")


@pytest.mark.parametrize(("name", "said"), [("pytorch_model.bin", "pickled"), ("model.safetensors", "is a file")])
def test_a_file_instead_of_a_folder(tmp_path, name, said):
    (tmp_path / name).write_bytes(b"")
    assert said in refusal(tmp_path / name)


def test_a_folder_beside_decides_the_tokenizer(forecasting_folder):
    pairing = read_pairing(resolve_checkpoint(forecasting_folder, kind="model"))
    assert pairing == Pairing(str(forecasting_folder / "tokenizer"), 512, "published", "guessed")


def test_the_record_in_the_checkpoint_wins(forecasting_folder):
    record = {"context": 256, "tokenizer": "../tokenizer", "s2_attention": "causal", "trained_on": "anything"}
    (forecasting_folder / "model" / "kronos.json").write_text(json.dumps(record))
    pairing = read_pairing(resolve_checkpoint(forecasting_folder, kind="model"))
    assert pairing == Pairing(str(forecasting_folder / "tokenizer"), 256, "causal", "recorded")


def test_a_recorded_name(model_folder):
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
def test_a_record_that_cannot_be(model_folder, record):
    (model_folder / "kronos.json").write_text(record)
    with pytest.raises(CheckpointError, match=r"kronos\.json"):
        read_pairing(resolve_checkpoint(model_folder, kind="model"))


def test_a_recorded_tokenizer_that_is_not_there(checkpoint_writer, tmp_path):
    folder = checkpoint_writer(tmp_path / "mine", "model")
    (folder / "kronos.json").write_text('{"tokenizer": "../absent"}')
    with pytest.raises(CheckpointError, match="not there"):
        read_pairing(resolve_checkpoint(folder, kind="model"))


def test_a_fine_tuned_copy_is_known_by_its_shape(checkpoint_writer, tmp_path):
    folder = checkpoint_writer(tmp_path / "fine-tuned", "model")
    (folder / "config.json").write_text(json.dumps(dict(find("kronos-mini").config)))
    from kronos.zoo import CheckpointRef

    pairing = read_pairing(CheckpointRef(folder, "fine-tuned", None, None))
    assert pairing == Pairing("kronos-tokenizer-2k", 2048, "published", "guessed")


def test_downloading_a_folder_is_finding_it(forecasting_folder):
    got = download(str(forecasting_folder))
    assert [located.folder.name for located in got] == ["model", "tokenizer"]


@bundled
def test_the_bundled_model_needs_nothing():
    for kind in ("model", "tokenizer"):
        located = resolve_checkpoint(DEFAULT_MODEL.upper(), kind=kind, local_files_only=True)
        assert located.entry.kind == kind
    assert read_pairing(resolve_checkpoint(DEFAULT_MODEL, kind="model")).context == 256
    assert cached(find(DEFAULT_MODEL)).size > 0


@pytest.fixture
def bundle(forecasting_folder, monkeypatch, tmp_path):
    """A bundled model of our own making, wherever the real one is."""
    root = tmp_path / "bundled" / DEFAULT_MODEL
    shutil.copytree(forecasting_folder, root)
    record = {"context": 300, "tokenizer": "../tokenizer", "s2_attention": "causal"}
    (root / "model" / "kronos.json").write_text(json.dumps(record))
    monkeypatch.setattr("kronos.zoo.catalog.BUNDLED", root.parent)
    return root


def test_a_bundled_model_is_had_by_name(bundle):
    entry = find(DEFAULT_MODEL)
    assert (entry.context, entry.s2_attention, entry.bundled) == (300, "causal", True)
    assert entry.title == "Kronos-nano"
    model = resolve_checkpoint("Kronos-Nano", kind="model", local_files_only=True)
    assert (model.folder, model.entry) == (bundle / "model", entry)
    assert read_pairing(model) == Pairing(str(bundle / "tokenizer"), 300, "causal", "recorded")
    for ref in (DEFAULT_MODEL, entry.tokenizer):
        tokenizer = resolve_checkpoint(ref, kind="tokenizer", local_files_only=True)
        assert (tokenizer.folder, tokenizer.entry.name) == (bundle / "tokenizer", entry.tokenizer)
    assert cached(entry).size == sum(path.stat().st_size for path in (bundle / "model").iterdir())
    assert [located.kind for located in download(DEFAULT_MODEL)] == ["model", "tokenizer"]


def test_a_bundled_tokenizer_is_no_model(bundle):
    assert "is a tokenizer, not a model" in refusal(find(DEFAULT_MODEL).tokenizer)


def test_an_installation_without_the_bundled_model_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("kronos.zoo.catalog.BUNDLED", tmp_path)
    assert find(DEFAULT_MODEL) is None
    assert "install kronos again" in refusal(DEFAULT_MODEL)


def test_the_hubs_client_and_torch_load_only_when_needed(forecasting_folder):
    program = (
        "import sys; from kronos.zoo import catalogue, locate; catalogue();"
        "locate(sys.argv[1], kind='model');"
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

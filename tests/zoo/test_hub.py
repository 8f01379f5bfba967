"""Downloads from a local HTTP server with the wire format of the hub."""

import shutil
import socket
from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SMALL, TOKENIZER = "NeoQuasar/Kronos-small", "NeoQuasar/Kronos-Tokenizer-base"
RESOLVE = "print(resolve_checkpoint('kronos-small', kind='model', revision='main').folder)"


@pytest.mark.slow
def test_downloads_are_cached(hub, client, model_folder):
    hub.offer(SMALL, model_folder)
    folder = Path(client.run(RESOLVE))
    assert (folder / "model.safetensors").read_bytes() == (model_folder / "model.safetensors").read_bytes()
    requests = len(hub.requests)
    assert client.run(RESOLVE) == str(folder)
    assert client.run(RESOLVE, HF_HUB_OFFLINE="1") == str(folder)
    assert client.run(RESOLVE, KRONOS_OFFLINE="true") == str(folder)
    assert client.run(RESOLVE, HF_ENDPOINT="http://127.0.0.1:9") == str(folder)
    assert len(hub.requests) == requests


def test_golden_weights_as_published_ones(hub, client):
    hub.offer(SMALL, GOLDEN / "tiny" / "model")
    hub.offer(TOKENIZER, GOLDEN / "tiny" / "tokenizer")
    printed = client.run(
        """
        model = resolve_checkpoint("neoquasar/kronos-SMALL", kind="model", revision="main")
        tokenizer = resolve_checkpoint(read_pairing(model).tokenizer, kind="tokenizer", revision="main")
        print(read_pairing(model), model.revision, tokenizer.entry.name)
        """
    )
    assert "tokenizer='kronos-tokenizer-base', context=512, s2_attention='published'" in printed
    assert printed.endswith(f"{'a' * 40} kronos-tokenizer-base")


def test_only_files_of_checkpoints_are_downloaded(hub, client, model_folder):
    repo = hub.offer("user/fine-tuned", model_folder)
    repo.files |= {"pytorch_model.bin": b"\x80", "README.md": b"card", "kronos.json": b"{}", "run.py": b""}
    folder = Path(client.run("print(resolve_checkpoint('user/fine-tuned', kind='model').folder)"))
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "model.safetensors", "kronos.json", "README.md")
    }


def test_a_forecasting_folder_on_the_hub(hub, client, forecasting_folder):
    hub.offer("user/pair", forecasting_folder)
    printed = client.run(
        """
        model = resolve_checkpoint("user/pair", kind="model")
        tokenizer = resolve_checkpoint("user/pair", kind="tokenizer", local_files_only=True)
        print(model.folder.name, tokenizer.folder.name, read_pairing(model).tokenizer == str(tokenizer.folder))
        """
    )
    assert printed == "model tokenizer True"


def test_cached_says_what_lies_here(hub, client, model_folder, tmp_path):
    hub.offer("NeoQuasar/Kronos-mini", model_folder)
    program = """
        print(find_cached(find_entry("kronos-mini")) is None)
        resolve_checkpoint("kronos-mini", kind="model")
        found = find_cached(find_entry("kronos-mini"))
        print(found.size, found.revision, found.folder)
    """
    cache = tmp_path / "elsewhere"
    first, second = client.run(program, KRONOS_CACHE_DIR=str(cache)).splitlines()
    size, revision, folder = second.split()
    assert first == "True"
    assert int(size) == sum(path.stat().st_size for path in model_folder.iterdir())
    assert revision == "a" * 40
    assert Path(folder).is_relative_to(cache)
    assert client.run("print(find_cached(find_entry('kronos-mini')))") == "None"


def test_download_includes_the_tokenizer_and_reports_progress(hub, client, forecasting_folder):
    hub.offer("NeoQuasar/Kronos-mini", forecasting_folder / "model")
    hub.offer("NeoQuasar/Kronos-Tokenizer-2k", forecasting_folder / "tokenizer")
    printed = client.run(
        """
        seen = []
        got = download("Kronos-mini", progress=lambda done, total: seen.append((done, total)))
        print([located.kind for located in got], all(done <= total for done, total in seen), len(seen) > 0)
        """
    )
    assert printed == "['model', 'tokenizer'] True True"


def test_other_weights_than_the_published_ones_raise(hub, client, model_folder):
    revision = client.run("print(find_entry('kronos-small').revision)")
    hub.offer(SMALL, model_folder, commit=revision)
    assert "sha256 differs" in client.error_of("resolve_checkpoint('kronos-small', kind='model')")
    assert client.run("print(find_cached(find_entry('kronos-small')))") == "None"
    assert not [path for path in client.home.rglob("blobs/*") if path.stat().st_size > 100_000]


def test_unknown_repositories_and_revisions_raise(hub, client, model_folder):
    hub.offer(SMALL, model_folder)
    typo = client.error_of("resolve_checkpoint('NeoQuasar/Kronos-smal', kind='model')")
    assert "has no repository NeoQuasar/Kronos-smal" in typo
    assert "did you mean kronos-small?" in typo
    assert "HF_TOKEN" in client.error_of("resolve_checkpoint('user/unknown', kind='model')")
    assert "has no revision 'v9'" in client.error_of("resolve_checkpoint('kronos-small', kind='model', revision='v9')")


def test_gated_and_private_repositories_raise(hub, client, model_folder):
    hub.offer("user/gated", model_folder, gated=True)
    hub.offer("user/private", model_folder, private=True)
    assert "accept its terms" in client.error_of("resolve_checkpoint('user/gated', kind='model')")
    assert "private" in client.error_of("resolve_checkpoint('user/private', kind='model')")


def test_repositories_without_safetensors_raise(hub, client, model_folder):
    repo = hub.offer("user/pickled", model_folder)
    repo.files["pytorch_model.bin"] = repo.files.pop("model.safetensors")
    sentence = client.error_of("resolve_checkpoint('user/pickled', kind='model')")
    assert "pytorch_model.bin" in sentence
    assert hub.downloads() == []


def test_unreachable_hubs_raise(client):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    sentence = client.error_of("resolve_checkpoint('kronos-small', kind='model')", HF_ENDPOINT=address)
    assert f"{address} cannot be reached" in sentence
    assert "HF_ENDPOINT" in sentence
    assert "pass its folder" in sentence


@pytest.mark.parametrize("setting", ["KRONOS_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_without_cache_raises(hub, client, setting):
    sentence = client.error_of("resolve_checkpoint('kronos-small', kind='model')", **{setting: "1"})
    assert "network is switched off" in sentence
    assert hub.requests == []


def test_offline_with_another_cached_revision_raises(hub, client, model_folder):
    hub.offer(SMALL, model_folder)
    client.run(RESOLVE)
    sentence = client.error_of("resolve_checkpoint('kronos-small', kind='model', local_files_only=True)")
    assert f"revision='main' to use the cached {'a' * 40}" in sentence


def test_truncated_files_of_a_repository_are_removed_from_the_cache(hub, client, model_folder):
    repo = hub.offer(SMALL, model_folder)
    complete = repo.files["model.safetensors"]
    repo.files["model.safetensors"] = complete[:-1000]
    assert "were corrupt and have been removed" in client.error_of(RESOLVE)
    repo.files["model.safetensors"] = complete
    assert Path(client.run(RESOLVE)).is_dir()


def test_corrupt_files_in_the_cache_are_downloaded_again(hub, client, model_folder):
    hub.offer(SMALL, model_folder)
    weights = (Path(client.run(RESOLVE)) / "model.safetensors").resolve()
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "were corrupt and have been removed" in client.error_of(RESOLVE, HF_HUB_OFFLINE="1")
    assert Path(client.run(RESOLVE)).is_dir()


@pytest.mark.slow
def test_interrupted_connections_raise(hub, client, model_folder):
    repo = hub.offer(SMALL, model_folder, cut_at=100_000)
    sentence = client.error_of(RESOLVE)
    assert "closed before a file was complete" in sentence
    assert client.run("print(find_cached(find_entry('kronos-small')))") == "None"
    repo.cut_at = None
    assert Path(client.run(RESOLVE)).is_dir()


@pytest.mark.slow
def test_killed_downloads_leave_no_checkpoint_and_are_continued(hub, client, model_folder):
    repo = hub.offer(SMALL, model_folder, stall_at=100_000)
    process = client.start(RESOLVE)
    assert hub.stalled.wait(60)
    process.kill()
    process.communicate()
    assert not list(client.home.rglob("snapshots/*/model.safetensors"))
    assert "is not in the cache" in client.error_of(RESOLVE, KRONOS_OFFLINE="1")
    repo.stall_at = None
    folder = Path(client.run(RESOLVE))
    assert (folder / "model.safetensors").read_bytes() == (model_folder / "model.safetensors").read_bytes()


def test_force_download(hub, client, model_folder):
    hub.offer(SMALL, model_folder)
    client.run(RESOLVE)
    before = len(hub.downloads())
    client.run("resolve_checkpoint('kronos-small', kind='model', revision='main', force_download=True)")
    assert len(hub.downloads()) == before + 2


def test_a_deleted_cache_is_downloaded_again(hub, client, model_folder):
    hub.offer(SMALL, model_folder)
    client.run(RESOLVE)
    shutil.rmtree(client.home)
    assert Path(client.run(RESOLVE)).is_dir()


def test_unwritable_caches_raise(hub, client, model_folder, tmp_path):
    hub.offer(SMALL, model_folder)
    (tmp_path / "file").write_text("in the way")
    printed = client.run(
        """
        from kronos.errors import StorageError
        try:
            resolve_checkpoint("kronos-small", kind="model", revision="main")
        except StorageError as error:
            print(error)
        """,
        KRONOS_CACHE_DIR=str(tmp_path / "file" / "below"),
    )
    assert printed.startswith("Cannot store NeoQuasar/Kronos-small in ")
    assert "KRONOS_CACHE_DIR" in printed

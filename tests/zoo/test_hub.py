"""Downloads from a real HTTP server on the loopback that speaks the hub's wire format."""

import shutil
import socket
from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SMALL, TOKENIZER = "NeoQuasar/Kronos-small", "NeoQuasar/Kronos-Tokenizer-base"
LOCATE = "print(locate('kronos-small', kind='model', revision='main').folder)"


def test_a_published_model_downloads_once_and_is_then_had_without_the_network(hub, client, model_folder):
    hub.offer(SMALL, model_folder)
    folder = Path(client.run(LOCATE))
    assert (folder / "model.safetensors").read_bytes() == (model_folder / "model.safetensors").read_bytes()
    asked = len(hub.requests)
    assert client.run(LOCATE) == str(folder)
    assert client.run(LOCATE, HF_HUB_OFFLINE="1") == str(folder)
    assert client.run(LOCATE, KRONOS_OFFLINE="true") == str(folder)
    assert client.run(LOCATE, HF_ENDPOINT="http://127.0.0.1:9") == str(folder)
    assert len(hub.requests) == asked


def test_golden_weights_served_as_published_ones(hub, client):
    hub.offer(SMALL, GOLDEN / "tiny" / "model")
    hub.offer(TOKENIZER, GOLDEN / "tiny" / "tokenizer")
    printed = client.run(
        """
        model = locate("neoquasar/kronos-SMALL", kind="model", revision="main")
        tokenizer = locate(describe(model).tokenizer, kind="tokenizer", revision="main")
        print(describe(model), model.revision, tokenizer.entry.name)
        """
    )
    assert "tokenizer='kronos-tokenizer-base', context=512, s2_attention='published'" in printed
    assert printed.endswith(f"{'a' * 40} kronos-tokenizer-base")


def test_only_a_checkpoints_files_are_downloaded(hub, client, model_folder):
    repo = hub.offer("user/fine-tuned", model_folder)
    repo.files |= {"pytorch_model.bin": b"\x80", "README.md": b"card", "kronos.json": b"{}", "run.py": b""}
    folder = Path(client.run("print(locate('user/fine-tuned', kind='model').folder)"))
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "model.safetensors", "kronos.json", "README.md")
    }


def test_a_forecasting_folder_on_the_hub(hub, client, forecasting_folder):
    hub.offer("user/pair", forecasting_folder)
    printed = client.run(
        """
        model = locate("user/pair", kind="model")
        tokenizer = locate("user/pair", kind="tokenizer", local_files_only=True)
        print(model.folder.name, tokenizer.folder.name, describe(model).tokenizer == str(tokenizer.folder))
        """
    )
    assert printed == "model tokenizer True"


def test_cached_says_what_lies_here(hub, client, model_folder, tmp_path):
    hub.offer("NeoQuasar/Kronos-mini", model_folder)
    program = """
        print(cached(find("kronos-mini")) is None)
        locate("kronos-mini", kind="model")
        found = cached(find("kronos-mini"))
        print(found.size, found.revision, found.folder)
    """
    cache = tmp_path / "elsewhere"
    first, second = client.run(program, KRONOS_CACHE_DIR=str(cache)).splitlines()
    size, revision, folder = second.split()
    assert first == "True"
    assert int(size) == sum(path.stat().st_size for path in model_folder.iterdir())
    assert revision == "a" * 40
    assert Path(folder).is_relative_to(cache)
    assert client.run("print(cached(find('kronos-mini')))") == "None"


def test_download_brings_the_tokenizer_too_and_reports_progress(hub, client, forecasting_folder):
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


def test_a_mirror_with_other_weights_than_the_published_ones_is_refused(hub, client, model_folder):
    revision = client.run("print(find('kronos-small').revision)")
    hub.offer(SMALL, model_folder, commit=revision)
    assert "sha256 differs" in client.refusal("locate('kronos-small', kind='model')")
    assert client.run("print(cached(find('kronos-small')))") == "None"
    assert not [path for path in client.home.rglob("blobs/*") if path.stat().st_size > 100_000]


def test_unknown_repositories_and_revisions(hub, client, model_folder):
    hub.offer(SMALL, model_folder)
    typo = client.refusal("locate('NeoQuasar/Kronos-smal', kind='model')")
    assert "has no repository NeoQuasar/Kronos-smal" in typo
    assert "did you mean kronos-small?" in typo
    assert "HF_TOKEN" in client.refusal("locate('user/unknown', kind='model')")
    assert "has no revision 'v9'" in client.refusal("locate('kronos-small', kind='model', revision='v9')")


def test_gated_and_private_repositories(hub, client, model_folder):
    hub.offer("user/gated", model_folder, gated=True)
    hub.offer("user/private", model_folder, private=True)
    assert "accept its terms" in client.refusal("locate('user/gated', kind='model')")
    assert "private" in client.refusal("locate('user/private', kind='model')")


def test_repositories_without_safetensors(hub, client, model_folder):
    repo = hub.offer("user/pickled", model_folder)
    repo.files["pytorch_model.bin"] = repo.files.pop("model.safetensors")
    sentence = client.refusal("locate('user/pickled', kind='model')")
    assert "pytorch_model.bin" in sentence
    assert hub.downloads() == []


def test_no_hub_at_the_address(client):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    sentence = client.refusal("locate('kronos-small', kind='model')", HF_ENDPOINT=address)
    assert f"{address} cannot be reached" in sentence
    assert "HF_ENDPOINT" in sentence
    assert "pass its folder" in sentence


@pytest.mark.parametrize("setting", ["KRONOS_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_and_not_cached(hub, client, setting):
    sentence = client.refusal("locate('kronos-small', kind='model')", **{setting: "1"})
    assert "network is switched off" in sentence
    assert hub.requests == []


def test_offline_with_another_revision_cached(hub, client, model_folder):
    hub.offer(SMALL, model_folder)
    client.run(LOCATE)
    sentence = client.refusal("locate('kronos-small', kind='model', local_files_only=True)")
    assert f"revision='main' to use the cached {'a' * 40}" in sentence


def test_a_file_that_is_short_at_the_source_does_not_stay_in_the_cache(hub, client, model_folder):
    repo = hub.offer(SMALL, model_folder)
    whole = repo.files["model.safetensors"]
    repo.files["model.safetensors"] = whole[:-1000]
    assert "were damaged and have been removed" in client.refusal(LOCATE)
    repo.files["model.safetensors"] = whole
    assert Path(client.run(LOCATE)).is_dir()


def test_a_file_damaged_in_the_cache_is_downloaded_again(hub, client, model_folder):
    hub.offer(SMALL, model_folder)
    weights = (Path(client.run(LOCATE)) / "model.safetensors").resolve()
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "were damaged and have been removed" in client.refusal(LOCATE, HF_HUB_OFFLINE="1")
    assert Path(client.run(LOCATE)).is_dir()


@pytest.mark.slow
def test_a_connection_that_keeps_breaking_off(hub, client, model_folder):
    repo = hub.offer(SMALL, model_folder, cut_at=100_000)
    sentence = client.refusal(LOCATE)
    assert "broke off before a file was whole" in sentence
    assert client.run("print(cached(find('kronos-small')))") == "None"
    repo.cut_at = None
    assert Path(client.run(LOCATE)).is_dir()


@pytest.mark.slow
def test_a_killed_download_leaves_no_checkpoint_and_the_next_one_completes(hub, client, model_folder):
    repo = hub.offer(SMALL, model_folder, stall_at=100_000)
    process = client.start(LOCATE)
    assert hub.stalled.wait(60)
    process.kill()
    process.communicate()
    assert not list(client.home.rglob("snapshots/*/model.safetensors"))
    assert "is not in the cache" in client.refusal(LOCATE, KRONOS_OFFLINE="1")
    repo.stall_at = None
    folder = Path(client.run(LOCATE))
    assert (folder / "model.safetensors").read_bytes() == (model_folder / "model.safetensors").read_bytes()


def test_forcing_downloads_again(hub, client, model_folder):
    hub.offer(SMALL, model_folder)
    client.run(LOCATE)
    before = len(hub.downloads())
    client.run("locate('kronos-small', kind='model', revision='main', force_download=True)")
    assert len(hub.downloads()) == before + 2


def test_a_deleted_cache_is_no_obstacle(hub, client, model_folder):
    hub.offer(SMALL, model_folder)
    client.run(LOCATE)
    shutil.rmtree(client.home)
    assert Path(client.run(LOCATE)).is_dir()


def test_a_cache_that_cannot_be_written(hub, client, model_folder, tmp_path):
    hub.offer(SMALL, model_folder)
    (tmp_path / "file").write_text("in the way")
    printed = client.run(
        """
        from kronos.errors import StorageError
        try:
            locate("kronos-small", kind="model", revision="main")
        except StorageError as error:
            print(error)
        """,
        KRONOS_CACHE_DIR=str(tmp_path / "file" / "below"),
    )
    assert printed.startswith("Cannot keep NeoQuasar/Kronos-small in ")
    assert "KRONOS_CACHE_DIR" in printed

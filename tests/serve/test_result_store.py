"""Saved results: names, listing, quota, and disks that refuse."""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.errors import StorageError
from kronos.inference import KronosPredictor
from kronos.intervals import Interval
from kronos.serve.errors import ApiError
from kronos.serve.result_store import ResultStore
from kronos.sources import open_source
from kronos.zoo import DEFAULT_MODEL
from serve.payloads import SMALL
from serve.processes import run_command
from serve.servers import run_server, settings_in

NAME = "prediction_20261121_221500"
MB = 1_000_000


@pytest.fixture(scope="module")
def forecast():
    candles = open_source("simulated").candles("BTC", Interval.parse("1h"), records=100)
    return KronosPredictor.from_pretrained(DEFAULT_MODEL).forecast(candles, 2, samples=2, seed=0)


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path / "results", 100 * MB)


def refuse(monkeypatch, function, number):
    def refused(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, function, refused)


# Names ------------------------------------------------------------------------


def test_two_stores_in_one_folder_never_overwrite_each_other(tmp_path, forecast):
    stores = [ResultStore(tmp_path, 100 * MB) for _ in range(2)]
    barrier = threading.Barrier(8)

    def save(number):
        barrier.wait()
        return [stores[number % 2].save({"by": number}, forecast) for _ in range(6)]

    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(save, range(8)))
    ids = [result_id for part in saved for result_id in part]
    assert len(set(ids)) == len(ids) == 48
    for number, part in enumerate(saved):
        for result_id in part:
            assert json.loads(stores[0].document(result_id)) == {"by": number, "id": result_id}
            assert (stores[1].forecast(result_id).paths == forecast.paths).all()
    assert {result.id for result in stores[1].latest()} == set(ids)


ODD_NAMES = st.one_of(
    st.from_regex(r"prediction_[0-9]{8}_[0-9]{6}(_[0-9]{1,5})?", fullmatch=True),
    st.from_regex(r"prediction_\d{8}_\d{6}", fullmatch=True),  # also digits of other scripts
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1, max_size=40),
)


@settings(max_examples=150, deadline=None)
@given(name=ODD_NAMES, content=st.binary(max_size=20), kind=st.sampled_from(["file", "folder", "link", "pipe"]))
def test_no_file_name_makes_the_list_fail(tmp_path_factory, name, content, kind):
    folder = tmp_path_factory.mktemp("odd")
    path = folder / f"{name}.json"
    try:
        if kind == "file":
            path.write_bytes(content)
        elif kind == "folder":
            path.mkdir()
        elif kind == "link":
            path.symlink_to("/dev/zero")
        else:
            os.mkfifo(path)
    except OSError:  # too long for the file system
        return
    store = ResultStore(folder, MB)
    listed = [result.id for result in store.latest()]
    if kind != "file" or not re.fullmatch(r"prediction_[0-9]{8}_[0-9]{6}(_[0-9]{1,4})?", name):
        assert listed == []
    if listed:
        assert listed == [name]
        assert store.document(name) == content
    else:
        for call in (store.document, store.forecast, store.delete):
            with pytest.raises(ApiError) as missing:
                call(name)
            assert missing.value.status == 404
        assert path.is_symlink() or path.exists()


def test_names_that_are_not_unicode_are_ignored(tmp_path):
    (tmp_path / os.fsdecode(b"prediction_20261121_22150\xff.json")).write_bytes(b"{}")
    assert ResultStore(tmp_path, MB).latest() == []


# Disks ------------------------------------------------------------------------


def test_deleting_from_a_read_only_disk_is_a_storage_error(tmp_path, monkeypatch):
    with run_server(settings_in(tmp_path)) as server, server.client() as client:
        server.wait_ready()
        result = client.post("/api/predict", json=SMALL).json()["id"]
        with monkeypatch.context() as patch:
            refuse(patch, "unlink", errno.EROFS)
            refused = client.delete(f"/api/results/{result}")
        assert refused.status_code == 507
        assert "read-only" in refused.json()["message"].lower()
        assert [item["id"] for item in client.get("/api/results").json()["results"]] == [result]
        assert client.delete(f"/api/results/{result}").status_code == 204
        assert client.delete(f"/api/results/{result}").status_code == 404


@pytest.mark.parametrize(("number", "status"), [(errno.EACCES, 507), (errno.EIO, 507), (errno.EMFILE, 503)])
def test_a_result_that_cannot_be_read_is_not_missing(tmp_path, monkeypatch, number, status):
    with run_server(settings_in(tmp_path)) as server, server.client() as client:
        folder = server.state.serve.state_dir / "prediction_results"
        folder.mkdir(parents=True)
        (folder / f"{NAME}.json").write_text("{}")
        refuse(monkeypatch, "read_bytes", number)
        assert client.get(f"/api/results/{NAME}").status_code == status


def test_a_failed_save_leaves_nothing(store, forecast, tmp_path, monkeypatch):
    def refused(*_):
        raise StorageError("full")

    monkeypatch.setattr("kronos.serve.result_store.write_text", refused)
    with pytest.raises(StorageError):
        store.save({}, forecast)
    assert list((tmp_path / "results").iterdir()) == []


# Quota ------------------------------------------------------------------------


def test_the_quota_is_checked_before_the_computation(tmp_path):
    with run_server(settings_in(tmp_path, results_mb=1)) as server, server.client() as client:
        server.wait_ready()
        result = client.post("/api/predict", json=SMALL).json()["id"]
        folder = server.state.serve.state_dir / "prediction_results"
        (folder / f"{NAME}.json").write_bytes(b"x" * MB)
        computed = server.state.inference.computed
        full = client.post("/api/predict", json=SMALL)
        assert full.status_code == 507
        assert "RESULTS_MB" in full.json()["message"]
        assert server.state.inference.computed == computed
        assert client.delete(f"/api/results/{NAME}").status_code == 204
        assert client.post("/api/predict", json=SMALL).status_code == 200
        assert client.get(f"/api/results/{result}").status_code == 200


# Startup ----------------------------------------------------------------------


@pytest.mark.slow
def test_a_state_folder_that_cannot_be_written_is_an_error_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    done = run_command(tmp_path, "--port", "0", "--source", "simulated", "--state", "file/state")
    assert done.returncode == 1
    assert re.fullmatch(r"Error: Cannot write to the state folder [^\n]*--state[^\n]*\n", done.stderr)


def test_prepare_removes_old_temporary_files(store, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    old, new, other = folder / ".ab.tmp-x.json", folder / ".cd.tmp-x.json", folder / f"{NAME}.json"
    for path in (old, new, other):
        path.write_text("{}")
    for path in (old, other):
        os.utime(path, (0, 0))
    store.prepare()
    assert sorted(folder.iterdir()) == sorted([new, other])


def test_prepare_removes_old_forecasts_without_a_document(store, tmp_path):
    """A server that was killed while it saved or deleted a result leaves one; nothing else would ever remove it."""
    folder = tmp_path / "results"
    folder.mkdir()
    old, new, saved, foreign = (folder / f"{name}.npz" for name in (NAME, f"{NAME}_2", f"{NAME}_3", "other"))
    for path in (old, new, saved, foreign, saved.with_suffix(".json")):
        path.write_text("{}")
    for path in (old, saved, foreign):
        os.utime(path, (0, 0))
    store.prepare()
    assert sorted(folder.glob("*.npz")) == sorted([new, saved, foreign])

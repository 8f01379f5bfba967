"""The models in memory."""

import threading
import time

import pytest

from kronos.inference import KronosPredictor
from serve.servers import run_server, settings_in


@pytest.mark.slow
def test_a_model_load_that_times_out_does_not_select_the_model(tmp_path, monkeypatch):
    load, loaded = KronosPredictor.from_pretrained, threading.Event()

    def load_slowly(ref, **options):
        if options.get("device") == "cpu":
            time.sleep(2)
        predictor = load(ref, **options)
        loaded.set()
        return predictor

    with run_server(settings_in(tmp_path, timeout=1.0)) as live, live.client() as client:
        live.wait_ready()
        before = client.get("/api/model-status").json()
        monkeypatch.setattr(KronosPredictor, "from_pretrained", load_slowly)
        loaded.clear()
        response = client.post("/api/load-model", json={"model_key": "kronos-nano", "device": "cpu"})
        assert response.status_code == 503
        assert loaded.wait(30)
        time.sleep(0.1)
        assert client.get("/api/model-status").json() == before
        assert live.state.models.selected == live.state.models.default


def test_a_model_in_memory_can_be_selected_while_another_one_is_downloaded(tmp_path, monkeypatch):
    load, downloaded = KronosPredictor.from_pretrained, threading.Event()

    def download(ref, **options):
        assert downloaded.wait(60)
        return load(ref, **options)

    with run_server(settings_in(tmp_path, timeout=5.0)) as live, live.client() as client:
        live.wait_ready()
        monkeypatch.setattr(KronosPredictor, "from_pretrained", download)
        try:
            jobs = [
                client.post("/api/jobs/load-model", json={"model_key": "kronos-nano", "device": "cpu"}).json()
                for _ in range(3)
            ]
            answer = client.post("/api/load-model", json={"model_key": "kronos-nano"})
            assert (answer.status_code, answer.json()["model_info"]["name"]) == (200, "kronos-nano")
            assert client.get(f"/api/jobs/{jobs[0]['id']}").json()["state"] == "running"
        finally:
            downloaded.set()

"""The prediction service: when the statistical fallback is used."""

import threading
import time

import pytest

from kronos.inference import KronosPredictor
from serve.servers import run_server, settings_in


@pytest.mark.slow
def test_predictions_use_the_fallback_while_the_model_loads(tmp_path, monkeypatch):
    may_load = threading.Event()
    load = KronosPredictor.from_pretrained

    def load_slowly(*args, **options):
        may_load.wait(60)
        return load(*args, **options)

    monkeypatch.setattr(KronosPredictor, "from_pretrained", load_slowly)
    monkeypatch.setattr("kronos.serve.predictions._LOADING_TIMEOUT", 0.2)
    monkeypatch.setattr("kronos.serve.predictions._FALLBACK_SECONDS", 0.1)
    with run_server(settings_in(tmp_path)) as live, live.client() as client:
        prediction = client.get("/api/predict", params={"symbol": "BTC"}).json()["prediction"]
        assert (prediction["model"], prediction["reason"]) == ("simple", "The model is still loading.")
        may_load.set()
        live.wait_ready()
        time.sleep(0.2)
        assert client.get("/api/predict", params={"symbol": "BTC"}).json()["prediction"]["model"] == "kronos"


def test_a_horizon_beyond_the_context_uses_the_fallback(tmp_path):
    with run_server(settings_in(tmp_path, interval="5m")) as live, live.client() as client:
        live.wait_ready()
        body = client.get("/api/predict", params={"symbol": "BTC"}).json()
    assert (body["interval"], body["prediction"]["model"]) == ("5m", "simple")
    assert len(body["prediction"]["predictions"]) == 288
    assert "horizon" in body["prediction"]["reason"]

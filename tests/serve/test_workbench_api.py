"""The workserver API: files, uploads, models, forecasts, jobs, saved results."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import re
import time

import httpx2
import numpy as np
import pandas as pd
import pytest

from kronos.candles import read_candles
from kronos.forecasts import Forecast
from kronos.inference import KronosPredictor
from serve.recordings import recorded
from serve.servers import run_server, settings_in

SAMPLE = "sample:simulated_btc_1h"
CANDLE = ["timestamp", "open", "high", "low", "close", "volume", "amount"]
RESULT = [
    "summary", "success", "id", "prediction_type", "chart", "prediction_results", "actual_data", "has_comparison",
    "message", "model", "state", "simulated", "lookback", "forecast", "paths", "scores", "view",
]  # fmt: skip
JOB = ["id", "kind", "state", "progress", "message", "created", "finished", "result", "error", "events"]
SMALL = {"file_path": "btc_1h.csv", "lookback": 80, "pred_len": 6, "sample_count": 4, "seed": 7}
LONG = {"file_path": SAMPLE, "lookback": 300, "pred_len": 190, "sample_count": 200}  # takes many seconds

FRAME = recorded("BTC", 600).frame


def csv(frame=FRAME):
    return frame.to_csv().encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with a few files in its data folder."""
    folder = tmp_path_factory.mktemp("server")
    settings = settings_in(folder, work_per_minute=0)  # no work limit
    data = folder / "data"
    (data / "btc_1h.csv").write_bytes(csv())
    (data / "deeper").mkdir()
    FRAME.to_parquet(data / "deeper" / "btc.parquet")
    FRAME.reset_index().to_feather(data / "btc.feather")
    FRAME[["open", "high", "low", "close"]].to_csv(data / "prices.csv")
    FRAME.rename(columns={"close": "Third number"}).to_csv(data / "odd.csv")
    FRAME.to_csv(data / "german.csv", sep=";", decimal=",", date_format="%d.%m.%y %H:%M", header=False)
    (data / "broken.csv").write_text("this,is\nno,candle\n")
    (data / "notes.md").write_text("not listed")
    (data / ".hidden.csv").write_bytes(csv())
    with run_server(settings) as server:
        server.wait_ready()
        yield server


@pytest.fixture(scope="module")
def client(server):
    with server.client() as client:
        yield client


def predict(client, **body):
    answer = client.post("/api/predict", json={**SMALL, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def is_error(answer, status):
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) - {"options", "kind", "values", "preview"} == {"error", "message"}
    assert all(isinstance(body[name], str) and body[name] for name in ("error", "message"))
    return body["message"]


def wait(client, job, *, until=("done", "failed", "cancelled"), seconds=120):
    """Poll a job until it is in one of these states."""
    end = time.monotonic() + seconds
    while (found := client.get(f"/api/jobs/{job['id']}").json())["state"] not in until:
        assert found["finished"] is None, found
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


def follow(client, job, path=None):
    """Read all events of a job: (kind, document)."""
    with client.stream("GET", path or f"/api/jobs/{job['id']}/events", timeout=120) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        text = "".join(stream.iter_text())
    parts = [part for part in text.split("\n\n") if part.startswith("event: ")]
    events = [re.fullmatch(r"event: (\w+)\ndata: (.+)", part, re.DOTALL) for part in parts]
    return [(event[1], json.loads(event[2])) for event in events]


# Data files ---------------------------------------------------------------


def test_data_files_lists_readable_files_by_path(client):
    files = client.get("/api/data-files").json()
    assert [item["path"] for item in files] == [
        "broken.csv", "btc.feather", "btc_1h.csv", "deeper/btc.parquet", "german.csv", "odd.csv", "prices.csv",
    ]  # fmt: skip
    for item in files:
        assert {name: type(value) for name, value in item.items()} == {
            "name": str, "path": str, "size": int, "modified": str,
        }  # fmt: skip
        assert item["name"] == item["path"].rpartition("/")[2]
        assert pd.Timestamp(item["modified"]).tzinfo is not None
    assert next(item["size"] for item in files if item["name"] == "btc_1h.csv") == len(csv())


@pytest.mark.parametrize("path", ["btc_1h.csv", "btc.feather", "deeper/btc.parquet"])
def test_load_data_describes_a_file(client, path):
    body = client.post("/api/load-data", json={"file_path": path}).json()
    assert list(body) == ["success", "data_info", "message"]
    assert body["success"] is True
    info = body["data_info"]
    prices = FRAME[["open", "high", "low", "close"]].to_numpy()
    findings = info.pop("findings")
    assert info == {
        "rows": 600,
        "columns": ["timestamps", "open", "high", "low", "close", "volume", "amount"],
        "start_date": FRAME.index[0].isoformat(),
        "end_date": FRAME.index[-1].isoformat(),
        "price_range": {"min": prices.min(), "max": prices.max()},
        "prediction_columns": ["open", "high", "low", "close", "volume", "amount"],
        "timeframe": "1h",
        "timezone": "UTC",
        "calendar": "24/7",
        "calendar_inferred": True,
        "symbol": path.rpartition("/")[2].partition(".")[0],
        "simulated": False,
    }
    assert all(sorted(item) == ["code", "count", "message", "rows", "severity"] for item in findings)


def test_load_data_lists_only_existing_columns(client):
    info = client.post("/api/load-data", json={"file_path": "prices.csv"}).json()["data_info"]
    assert info["columns"] == ["timestamps", "open", "high", "low", "close"]
    assert info["prediction_columns"] == ["open", "high", "low", "close"]


@pytest.mark.slow
def test_load_data_applies_the_options_of_the_request(client):
    assert "close" in is_error(client.post("/api/load-data", json={"file_path": "odd.csv"}), 400)
    document = {
        "file_path": "odd.csv",
        "columns": {"close": "Third number"},
        "symbol": "XBT",
        "timezone": "Asia/Shanghai",
    }
    info = client.post("/api/load-data", json=document).json()["data_info"]
    assert info["symbol"] == "XBT"
    assert info["timezone"] == "Asia/Shanghai"
    assert pd.Timestamp(info["start_date"]) == FRAME.index[0]


@pytest.mark.slow
def test_load_data_takes_the_notation_of_a_file(client):
    notation = {"decimal": ",", "thousands": "", "date_format": "%d.%m.%y %H:%M", "header": 0}
    info = client.post("/api/load-data", json={"file_path": "german.csv", **notation}).json()["data_info"]
    assert (info["rows"], pd.Timestamp(info["start_date"])) == (len(FRAME), FRAME.index[0].tz_localize(None))
    wrong = {**notation, "date_format": "%Y/%m/%d"}
    assert "date_format" in is_error(client.post("/api/load-data", json={"file_path": "german.csv", **wrong}), 400)


def test_the_sample_is_labelled_as_simulated(client):
    body = client.post("/api/load-data", json={"file_path": SAMPLE}).json()
    assert body["data_info"]["simulated"] is True
    assert body["data_info"]["timeframe"] == "1h"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "status"), [("missing.csv", 404), ("broken.csv", 400), ("sample:no", 404), (f"upload:{'0' * 64}", 404)]
)
def test_an_unusable_file_is_an_error_without_the_folder(client, server, path, status):
    for route in ("/api/load-data", "/api/predict", "/api/jobs/predict"):
        message = is_error(client.post(route, json={"file_path": path}), status)
        assert str(server.state.serve.data_dir) not in message


@pytest.mark.parametrize("route", ["/api/load-data", "/api/predict", "/api/jobs/predict"])
@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "file_path"), ({"file_path": ""}, "file_path"), ({"file_path": 7}, "file_path"),
        ({"file_path": "btc_1h.csv", "colums": {}}, "colums"), ({"file_path": None}, "file_path"),
        ({"file_path": "btc_1h.csv", "columns": ["close"]}, "columns"),
        ({"file_path": "btc_1h.csv", "timezone": 1}, "timezone"),
    ],
)  # fmt: skip
def test_an_invalid_missing_or_unknown_field_is_400_with_its_name(client, route, body, named):
    assert is_error(client.post(route, json=body), 400).startswith(f"{named}: ")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"null", b"7"])
def test_a_body_that_is_not_a_json_object_is_400(client, content):
    answer = client.post("/api/predict", content=content, headers={"content-type": "application/json"})
    is_error(answer, 400)


# Models -------------------------------------------------------------------


def test_available_models_lists_models_with_weights(client):
    body = client.get("/api/available-models").json()
    assert body["model_available"] is True
    assert list(body["models"]) == ["kronos-nano", "kronos-mini", "kronos-small", "kronos-base"]
    for item in body["models"].values():
        assert {name: type(value) for name, value in item.items()} == {
            "name": str, "model_id": str, "tokenizer_id": str, "context_length": int, "params": str, "parameters": int,
            "licence": str, "description": str, "available": bool,
        }  # fmt: skip
    assert body["models"]["kronos-nano"]["available"] is True


def test_model_status_describes_the_loaded_model(client):
    body = client.get("/api/model-status").json()
    assert list(body) == ["available", "loaded", "message", "current_model"]
    assert (body["available"], body["loaded"]) == (True, True)
    assert {name: type(value) for name, value in body["current_model"].items()} == {
        "name": str, "key": str, "device": str, "context_length": int, "least_history": int, "precision": str,
    }  # fmt: skip
    assert body["current_model"]["key"] == "kronos-nano"


def test_a_failed_model_load_keeps_the_previous_model(client):
    body = client.post("/api/load-model", json={"model_key": "kronos-nano", "device": "cpu"}).json()
    assert list(body) == ["success", "message", "model_info"]
    assert body["success"] is True
    before = client.get("/api/model-status").json()
    assert body["model_info"] == before["current_model"]
    assert body["model_info"]["device"] == "cpu"

    is_error(client.post("/api/load-model", json={"model_key": "kronos-base"}), 503)  # offline and not downloaded
    is_error(client.post("/api/load-model", json={"model_key": "nothing"}), 400)
    is_error(client.post("/api/load-model", json={"model_key": "kronos-tokenizer-nano"}), 400)
    is_error(client.post("/api/load-model", json={"model_key": "/etc"}), 400)
    is_error(client.post("/api/load-model", json={"model_key": "kronos-nano", "device": "cuda:7"}), 400)
    is_error(client.post("/api/load-model", json={"model_key": "kronos-nano", "device": "tpu"}), 400)
    is_error(client.post("/api/load-model", json={"model_key": "kronos-nano", "force": True}), 400)
    assert client.get("/api/model-status").json() == before
    assert predict(client)["model"] == "kronos-nano"


def test_a_model_load_job_has_the_result_of_the_route(client):
    answer = client.post("/api/jobs/load-model", json={"model_key": "kronos-nano"})
    assert answer.status_code == 202
    assert answer.json()["kind"] == "load-model"
    done = wait(client, answer.json())
    assert done["state"] == "done"
    assert done["result"] == client.post("/api/load-model", json={"model_key": "kronos-nano"}).json()
    failed = wait(client, client.post("/api/jobs/load-model", json={"model_key": "kronos-mini"}).json())
    assert failed["state"] == "failed"
    assert failed["error"]["error"] == "Unavailable"
    is_error(client.post("/api/jobs/load-model", json={"model_key": "nothing"}), 400)


# Forecasts ----------------------------------------------------------------


def test_a_forecast_has_the_published_fields_and_further_ones(client):
    body = predict(client)
    assert sorted(body) == sorted(RESULT)
    assert body["success"] is True
    assert body["actual_data"] == []
    assert body["has_comparison"] is False
    assert body["scores"] is None
    assert body["model"] == "kronos-nano"
    assert (body["state"], body["simulated"], body["lookback"]) == ("calibrated", False, 80)
    assert [list(candle) for candle in body["prediction_results"]] == [CANDLE] * 6
    times = [pd.Timestamp(candle["timestamp"]) for candle in body["prediction_results"]]
    assert times == [FRAME.index[-1] + pd.Timedelta(hours=n) for n in range(1, 7)]
    assert all(isinstance(candle[name], float) for candle in body["prediction_results"] for name in CANDLE[1:])
    assert np.array(body["paths"]).shape == (4, 6)


def test_forecasts_equal_the_python_api(client, server):
    body = predict(client)
    candles = read_candles(server.state.serve.data_dir / "btc_1h.csv", symbol="btc_1h")
    own = KronosPredictor.from_pretrained().forecast(candles, 6, samples=4, seed=7, lookback=80)
    median = own.quantile_candles(0.5)
    document = pd.DataFrame(body["prediction_results"])
    for column in CANDLE[1:]:
        np.testing.assert_allclose(document[column], median[column], rtol=1e-9)
    np.testing.assert_allclose(body["paths"], own.channel("close"), rtol=1e-9)


@pytest.mark.slow
def test_the_defaults_are_those_of_the_published_web_ui(client):
    schema = client.get("/openapi.json").json()["components"]["schemas"]["PredictRequest"]["properties"]
    assert (schema["lookback"]["default"], schema["pred_len"]["default"]) == (400, 120)
    assert (schema["temperature"]["minimum"], schema["temperature"]["maximum"]) == (0.1, 2.0)
    assert (schema["top_p"]["minimum"], schema["top_p"]["maximum"]) == (0.1, 1.0)
    assert (schema["sample_count"]["minimum"], schema["sample_count"]["maximum"]) == (1, 200)
    answer = client.post("/api/predict", json={"file_path": "btc_1h.csv", "sample_count": 1})
    assert answer.json()["lookback"] == 400
    assert len(answer.json()["prediction_results"]) == 120


@pytest.mark.parametrize(
    "document",
    [
        {"temperature": 0.1}, {"temperature": 2}, {"top_p": 0.1}, {"top_p": 1}, {"sample_count": 1},
        {"sample_count": 200, "pred_len": 1}, {"start_date": None}, {"seed": None}, {"seed": 2**31 - 1},
        {"calibrate": False},
    ],
)  # fmt: skip
def test_parameters_at_their_limits_are_valid(client, document):
    body = predict(client, **document)
    assert body["success"] is True
    fitted_for = {"temperature": 1, "top_p": 1, "calibrate": True}
    raw = any(document.get(name, value) != value for name, value in fitted_for.items())
    assert body["state"] == ("raw" if raw else "calibrated")


@pytest.mark.parametrize(
    "document",
    [
        {"temperature": 0.09}, {"temperature": 2.01}, {"temperature": "hot"}, {"temperature": True}, {"top_p": 0.09},
        {"top_p": 1.01}, {"top_p": None}, {"sample_count": 0}, {"sample_count": 201}, {"sample_count": 1.5},
        {"lookback": 1}, {"lookback": 10_001}, {"lookback": False}, {"pred_len": 0}, {"pred_len": 2_001},
        {"pred_len": True}, {"seed": -1}, {"seed": 2**31}, {"calibrate": "yes"}, {"calibrate": 1},
        {"start_date": 20250301}, {"samples": 5},
    ],
)  # fmt: skip
def test_invalid_parameters_are_400_with_their_name(client, document):
    message = is_error(client.post("/api/predict", json={**SMALL, **document}), 400)
    assert message.startswith(f"{next(iter(document))}: ")


@pytest.mark.parametrize(
    "document",
    [
        {"start_date": "soon"}, {"start_date": "2031-01-01"}, {"start_date": ""}, {"lookback": 7},
        {"pred_len": 600}, {"start_date": "2025-03-25", "lookback": 100},
    ],
)  # fmt: skip
def test_windows_that_do_not_fit_the_file_or_the_model_are_400(client, document):
    is_error(client.post("/api/predict", json={**SMALL, **document}), 400)


def test_equal_seeds_give_equal_forecasts(client):
    first, again, other = predict(client), predict(client), predict(client, seed=8)
    assert first["prediction_results"] == again["prediction_results"]
    assert first["prediction_results"] != other["prediction_results"]
    assert first["id"] != again["id"]


def test_a_past_window_is_compared_with_actual_candles_and_scored(client):
    start = FRAME.index[100]
    body = predict(client, start_date=start.isoformat())
    assert body["has_comparison"] is True
    actual = FRAME.iloc[180:186]
    assert [pd.Timestamp(candle["timestamp"]) for candle in body["actual_data"]] == list(actual.index)
    assert [list(candle) for candle in body["actual_data"]] == [CANDLE] * 6
    for column in CANDLE[1:]:
        assert [candle[column] for candle in body["actual_data"]] == pytest.approx(actual[column].tolist())
    times = [candle["timestamp"] for candle in body["prediction_results"]]
    assert times == [candle["timestamp"] for candle in body["actual_data"]]
    assert "replay" in body["prediction_type"]
    assert body["scores"]["known_steps"] == 6
    assert {"kronos-nano, calibrated", "last-value"} < set(body["scores"]["scores"])


@pytest.mark.slow
def test_candles_after_the_window_do_not_affect_the_forecast(server, client):
    changed = FRAME.copy()
    changed.iloc[180:] *= 3.7
    (server.state.serve.data_dir / "changed.csv").write_bytes(csv(changed))
    start = {"start_date": FRAME.index[100].isoformat(), "symbol": "BTC"}
    known, other = predict(client, **start), predict(client, **start, file_path="changed.csv")
    (server.state.serve.data_dir / "changed.csv").unlink()
    assert known["actual_data"] != other["actual_data"]
    for body in (known, other):
        details = body["forecast"]["made"]["details"]
        del details["created"], details["history"]["source"]
    for name in ("prediction_results", "paths", "forecast", "message", "state"):
        assert known[name] == other[name], name


def test_a_window_at_the_end_of_the_file_is_compared_with_the_remaining_candles(client):
    partly = predict(client, start_date=FRAME.index[-83].isoformat())
    assert len(partly["actual_data"]) == 3
    assert len(partly["prediction_results"]) == 6
    none = predict(client, start_date=FRAME.index[-80].isoformat())
    assert (none["actual_data"], none["has_comparison"], none["scores"]) == ([], False, None)
    assert none["prediction_results"] == predict(client)["prediction_results"]


@pytest.mark.parametrize("samples", [1, 4, 30])
def test_the_chart_is_a_plotly_figure_as_json_text(client, samples):
    figure = json.loads(predict(client, sample_count=samples, start_date=FRAME.index[100].isoformat())["chart"])
    assert sorted(figure) == ["data", "layout"]
    kinds = [trace["type"] for trace in figure["data"]]
    assert kinds.count("candlestick") == 3
    assert all(trace["type"] in ("candlestick", "scatter") for trace in figure["data"])


def test_a_forecast_of_the_sample_is_labelled_as_simulated(client):
    body = predict(client, file_path=SAMPLE)
    assert body["simulated"] is True
    assert "SIMULATED" in body["message"]
    assert body["forecast"]["simulated"] is True


# Saved results ------------------------------------------------------------


def test_a_result_is_saved_listed_reopened_exported_and_deleted(client, server):
    body = predict(client, start_date=FRAME.index[100].isoformat())
    name = body["id"]
    assert re.fullmatch(r"prediction_\d{8}_\d{6}(_\d+)?", name)
    path = server.state.serve.state_dir / "prediction_results" / f"{name}.json"
    assert json.loads(path.read_text()) == body

    listed = client.get("/api/results").json()
    assert listed["count"] == len(listed["results"])
    first = listed["results"][0]
    size, summary = path.stat().st_size, body["summary"]
    assert first == {"id": name, "created": first["created"], "size": size, "summary": summary}
    assert (summary["symbol"], summary["interval"], summary["horizon"]) == ("btc_1h", "1h", 6)
    assert first["created"].replace("-", "").replace(":", "") == "{}T{}Z".format(*name.split("_")[1:3])

    reopened = client.get(f"/api/results/{name}")
    assert reopened.json() == body
    assert reopened.content == path.read_bytes()

    def export(kind, media):
        answer = client.get(f"/api/results/{name}/export", params={"format": kind})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == media
        assert f'filename="btc_1h_2025-03-08_1100.{kind}"' in answer.headers["content-disposition"]
        return answer.content

    assert export("json", "application/json") == reopened.content
    table = pd.read_csv(io.BytesIO(export("csv", "text/csv; charset=utf-8")), index_col=0)
    assert client.get(f"/api/results/{name}/export").content == export("csv", "text/csv; charset=utf-8")
    parquet = pd.read_parquet(io.BytesIO(export("parquet", "application/vnd.apache.parquet")))
    assert len(table) == len(parquet) == 6
    assert list(table.columns) == list(parquet.columns)
    assert export("png", "image/png").startswith(b"\x89PNG\r\n\x1a\n")
    npz = path.parent.parent / "export.npz"
    npz.write_bytes(export("npz", "application/octet-stream"))
    assert np.array(Forecast.load(npz).channel("close")).tolist() == body["paths"]

    assert client.delete(f"/api/results/{name}").status_code == 204
    for answer in (
        client.get(f"/api/results/{name}"), client.get(f"/api/results/{name}/export"),
        client.get(f"/api/results/{name}/export?format=json"), client.delete(f"/api/results/{name}"),
    ):  # fmt: skip
        is_error(answer, 404)
    assert name not in [item["id"] for item in client.get("/api/results").json()["results"]]
    assert not list(path.parent.glob(f"{name}.*"))


@pytest.mark.parametrize("name", ["prediction_1", "..", "%2e%2e", "prediction_20260101_000000", "a" * 60])
def test_an_unknown_result_is_404(client, name):
    for answer in (client.get(f"/api/results/{name}"), client.delete(f"/api/results/{name}")):
        assert answer.status_code in (404, 405)


def test_an_unknown_export_format_is_400(client):
    name = predict(client)["id"]
    assert is_error(client.get(f"/api/results/{name}/export?format=exe"), 400).startswith("format: ")


# Uploads ------------------------------------------------------------------


def test_an_upload_is_read_listed_forecast_and_removed(client):
    content = csv()
    answer = client.post("/api/uploads", files={"file": ("my btc.csv", content)})
    assert answer.status_code == 201, answer.text
    body, digest = answer.json(), hashlib.sha256(content).hexdigest()
    assert list(body) == ["id", "file_path", "name", "size", "uploaded", "data_info"]
    assert (body["id"], body["file_path"], body["name"]) == (digest, f"upload:{digest}", "my btc.csv")
    assert body["size"] == len(content)
    assert body["data_info"] == client.post("/api/load-data", json={"file_path": body["file_path"]}).json()["data_info"]
    assert {k: v for k, v in body.items() if k != "data_info"} in client.get("/api/uploads").json()

    again = client.post("/api/uploads", files={"file": ("my btc.csv", content)})
    assert again.json() == body
    assert predict(client, file_path=body["file_path"])["success"] is True

    assert client.delete(f"/api/uploads/{digest}").status_code == 204
    is_error(client.delete(f"/api/uploads/{digest}"), 404)
    is_error(client.post("/api/load-data", json={"file_path": body["file_path"]}), 404)
    assert digest not in [item["id"] for item in client.get("/api/uploads").json()]


@pytest.mark.parametrize(
    ("name", "content"),
    [("broken.csv", b"no,candles\n1,2\n"), ("empty.csv", b""), ("noending", csv()), ("x.exe", csv())],
)
def test_an_unreadable_upload_is_rejected_and_not_stored(client, name, content):
    before = client.get("/api/uploads").json()
    is_error(client.post("/api/uploads", files={"file": (name, content)}), 400)
    assert client.get("/api/uploads").json() == before


def test_an_upload_without_a_file_is_rejected(client):
    assert is_error(client.post("/api/uploads", files={"other": ("btc.csv", csv())}), 400).startswith("file: ")
    assert "multipart/form-data" in is_error(client.post("/api/uploads", json={"file": "btc"}), 415)


# Jobs ---------------------------------------------------------------------


def test_a_predict_job_has_the_result_of_the_route(client):
    answer = client.post("/api/jobs/predict", json=SMALL)
    assert answer.status_code == 202
    job = answer.json()
    assert list(job) == JOB
    assert job["kind"] == "predict"
    assert job["state"] in ("queued", "running")
    assert job["events"].startswith(f"/api/jobs/{job['id']}/events?ticket=")
    done = wait(client, job)
    assert (done["state"], done["progress"], done["message"], done["error"]) == ("done", 1.0, "done", None)
    assert pd.Timestamp(done["finished"]) >= pd.Timestamp(done["created"])
    direct = predict(client)
    made = [body["forecast"]["made"]["details"] for body in (direct, done["result"])]
    made[0]["created"] = made[1]["created"]  # in whole seconds
    own = copy.deepcopy(done["result"])
    for result in (own, direct):
        del result["id"], result["forecast"]["made"]["details"]["created"]
    assert own == direct
    assert client.get(f"/api/results/{done['result']['id']}").json() == done["result"]
    listed = client.get("/api/jobs").json()
    assert listed["count"] == len(listed["jobs"])
    assert next(item for item in listed["jobs"] if item["id"] == job["id"])["result"] is None


@pytest.mark.slow
def test_events_report_progress_and_the_final_state(client):
    job = client.post("/api/jobs/predict", json={**LONG, "pred_len": 100, "sample_count": 60}).json()
    events = follow(client, job)
    kinds = [kind for kind, _ in events]
    assert kinds[-1] == "done"
    assert set(kinds[:-1]) == {"progress"}
    shares = [document["progress"] for _, document in events]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert any(0 < share < 1 for share in shares)
    assert all(document["result"] is None for _, document in events)
    again = follow(client, job, job["events"])
    assert [kind for kind, _ in again] == ["done"]
    assert again[0][1]["finished"] == events[-1][1]["finished"]


def test_a_reconnecting_client_gets_the_current_state_first(client):
    job = client.post("/api/jobs/predict", json=LONG).json()
    wait(client, job, until=("running",))
    for _ in range(2):
        with client.stream("GET", job["events"], timeout=60) as stream:
            lines = stream.iter_lines()
            assert next(line for line in lines if line) == "event: progress"
            document = json.loads(next(line for line in lines if line).removeprefix("data: "))
        assert document["id"] == job["id"]
        assert document["state"] == "running"
    assert client.delete(f"/api/jobs/{job['id']}").json()["state"] == "cancelled"


def test_cancelling_a_job_stops_its_computation(client, server):
    before = server.state.inference.computed
    job = client.post("/api/jobs/predict", json=LONG).json()
    wait(client, job, until=("running",))
    answer = client.delete(f"/api/jobs/{job['id']}")
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["result"], answer.json()["error"]) == ("cancelled", None, None)
    end = time.monotonic() + 30
    while server.state.inference.busy:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert server.state.inference.computed == before
    assert [kind for kind, _ in follow(client, job)] == ["cancelled"]
    assert client.delete(f"/api/jobs/{job['id']}").json()["state"] == "cancelled"


def test_cancelling_a_waiting_job_does_not_affect_the_running_one(client):
    running = client.post("/api/jobs/predict", json={**LONG, "pred_len": 60, "sample_count": 60}).json()
    waiting = client.post("/api/jobs/predict", json=SMALL).json()
    assert client.delete(f"/api/jobs/{waiting['id']}").json()["state"] == "cancelled"
    assert wait(client, running)["state"] == "done"
    done = client.delete(f"/api/jobs/{running['id']}").json()
    assert done["state"] == "done"


def test_a_failed_job_has_an_error_body(client):
    job = client.post("/api/jobs/predict", json={**SMALL, "start_date": "soon"}).json()
    failed = wait(client, job)
    assert failed["state"] == "failed"
    nothing = {"options": [], "kind": None, "values": {}, "preview": None}
    assert failed["error"] == {"error": "Bad request", "message": failed["message"], **nothing}
    assert "soon" in failed["message"]
    assert [kind for kind, _ in follow(client, job)] == ["failed"]


@pytest.mark.parametrize("path", ["/api/jobs/nothing", "/api/jobs/nothing/events"])
def test_an_unknown_job_is_404(client, path):
    is_error(client.get(path), 404)
    if not path.endswith("events"):
        is_error(client.delete(path), 404)


def test_a_ticket_opens_only_the_events_of_its_job(tmp_path):
    with (
        run_server(settings_in(tmp_path, api_keys="secret,other")) as server,
        server.client(headers={"X-API-Key": "secret"}) as keyed,
        server.client() as bare,
    ):
        body = {"file_path": SAMPLE, "lookback": 80, "pred_len": 2, "sample_count": 1}
        item, two = (keyed.post("/api/jobs/predict", json=body).json() for _ in range(2))
        ticket, its = item["events"].partition("?")[2], f"/api/jobs/{item['id']}"
        assert [kind for kind, _ in follow(bare, item, item["events"])][-1] == "done"
        for path in (
            f"/api/jobs/{two['id']}/events?{ticket}", f"{its}/events", f"{its}?{ticket}", f"/api/jobs?{ticket}",
            f"{its}/events?ticket=1.2", f"{its}/events?{ticket}0",
        ):  # fmt: skip
            is_error(bare.get(path), 401)
        is_error(bare.request("DELETE", f"{its}?{ticket}"), 401)
        assert [kind for kind, _ in follow(keyed, item)] == ["done"]
        for key, status in (("secret", 200), ("other", 404)):
            bearer = httpx2.Headers({"Authorization": f"Bearer {key}"})
            assert bare.get(its, headers=bearer).status_code == status

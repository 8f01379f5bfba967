"""The OpenAPI document: complete, with valid examples, and confirmed by generated requests (schemathesis).

A longer run: ``KRONOS_FUZZ_SECONDS=600 pytest tests/serve/test_openapi.py -s``.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections import Counter
from contextlib import contextmanager, suppress

import httpx2
import pytest

from kronos.serve.predictions import MAX_HOURS
from kronos.serve.routes.predictions import MAX_DAYS
from serve.servers import run_server, settings_in

SECONDS = int(os.environ.get("KRONOS_FUZZ_SECONDS", "60"))
SAVED = "prediction_20261121_221500"  # the example in the document
ROUTES = {
    "/api/predict": "get post", "/api/history": "get", "/api/assets": "get", "/api/data-files": "get",
    "/api/load-data": "post", "/api/candles": "post",
    "/api/candles/export": "post", "/api/preview": "post", "/api/uploads": "get post",
    "/api/uploads/{upload_id}": "delete",
    "/api/available-models": "get", "/api/model-status": "get", "/api/load-model": "post", "/api/jobs": "get",
    "/api/jobs/predict": "post", "/api/jobs/load-model": "post", "/api/jobs/{job_id}": "get delete",
    "/api/jobs/{job_id}/events": "get", "/api/results": "get", "/api/results/{result_id}": "get delete",
    "/api/results/{result_id}/export": "get", "/api/results/{result_id}/probability": "get",
    "/udf/config": "get", "/udf/time": "get", "/udf/symbols": "get",
    "/udf/search": "get", "/udf/history": "get", "/health": "get", "/ready": "get", "/metrics": "get",
}  # fmt: skip


@pytest.fixture(scope="module")
def document(live):
    with live.client() as client:
        return client.get("/openapi.json").json()


def operations(document):
    return [(f"{method} {path}", entry) for path, item in document["paths"].items() for method, entry in item.items()]


def test_parameters_of_queries_are_never_null(document):
    for label, entry in operations(document):
        for parameter in entry.get("parameters", ()):
            kinds = [parameter["schema"], *parameter["schema"].get("anyOf", ())]
            assert {"type": "null"} not in kinds, (label, parameter["name"])


def test_the_document_has_exactly_the_routes(document):
    assert {path: " ".join(item) for path, item in document["paths"].items()} == ROUTES


def test_the_document_is_valid_in_its_version(document):
    from openapi_spec_validator import validate

    assert document["openapi"].startswith("3.1.")
    validate(document)
    assert "itemSchema" not in json.dumps(document), "OpenAPI 3.2"


def test_tickets_and_files_are_described_for_generators(document):
    events = document["paths"]["/api/jobs/{job_id}/events"]["get"]
    assert [parameter["name"] for parameter in events["parameters"]] == ["job_id", "ticket"]
    assert events["responses"]["200"]["content"]["text/event-stream"]["schema"]["type"] == "string"
    upload = document["paths"]["/api/uploads"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    file = document["components"]["schemas"][upload["$ref"].rpartition("/")[2]]["properties"]["file"]
    assert (file["format"], file["contentMediaType"]) == ("binary", "application/octet-stream")


def test_no_route_documents_422(document):
    assert all("422" not in item["responses"] for _, item in operations(document))
    assert not [name for name in document["components"]["schemas"] if "ValidationError" in name]


def test_every_route_has_a_summary_and_every_error_a_schema(document):
    for name, item in operations(document):
        assert item["summary"].count(" ") >= 1, name
        errors = {status: details for status, details in item["responses"].items() if status >= "400"}
        assert {"403", "421"} <= set(errors), name
        for status, details in errors.items():
            kinds = details["content"]
            assert list(kinds) == ["application/json"], (name, status)
            body = "ReadyResponse" if (name, status) == ("get /ready", "503") else "ErrorResponse"
            assert kinds["application/json"]["schema"] == {"$ref": f"#/components/schemas/{body}"}, (name, status)


def test_every_route_with_a_body_documents_its_errors(document):
    for name, item in operations(document):
        if name.startswith("post"):
            assert {"408", "413", "415"} <= set(item["responses"]), name


def test_parameters_have_examples_and_limits(document):
    schemas = document["components"]["schemas"]
    assert schemas["PredictRequest"]["properties"]["file_path"]["examples"] == ["sample:simulated_btc_1h"]
    assert schemas["LoadModelRequest"]["properties"]["model_key"]["examples"] == ["kronos-nano"]
    symbol, hours = document["paths"]["/api/predict"]["get"]["parameters"]
    assert symbol["schema"]["examples"] == ["BTC"]
    assert (hours["schema"]["default"], hours["schema"]["maximum"]) == (24, MAX_HOURS)
    days = document["paths"]["/api/history"]["get"]["parameters"][1]
    assert (days["schema"]["default"], days["schema"]["maximum"]) == (7, MAX_DAYS)


def body_examples(document):
    """The example bodies of all routes with a JSON body, as Swagger UI offers them."""
    for path, item in document["paths"].items():
        content = item.get("post", {}).get("requestBody", {}).get("content", {})
        if "application/json" in content:
            name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
            for example in document["components"]["schemas"][name]["examples"]:
                yield path, example


def test_the_examples_of_request_bodies_are_valid(live, document):
    examples = list(body_examples(document))
    assert {path for path, _ in examples} == {
        "/api/load-data", "/api/candles", "/api/candles/export", "/api/preview", "/api/predict",
        "/api/load-model", "/api/jobs/predict",
        "/api/jobs/load-model",
    }  # fmt: skip
    with live.client() as client:
        for path, example in examples:
            response = client.post(path, json=example)
            assert response.status_code in (200, 202), (path, response.text)


def test_the_examples_of_query_parameters_are_valid(live, document):
    with live.client() as client:
        for path in ("/api/predict", "/api/history", "/udf/symbols", "/udf/history"):
            parameters = document["paths"][path]["get"]["parameters"]
            query = {one["name"]: one["schema"]["examples"][0] for one in parameters if "examples" in one["schema"]}
            response = client.get(path, params=query)
            assert response.status_code == 200, (path, response.text)
            assert response.json().get("s") in (None, "ok"), (path, response.text)


# Fuzzing ------------------------------------------------------------------


@pytest.fixture
def target(tmp_path):
    """A server with a saved result, whose jobs are cancelled."""
    settings = settings_in(tmp_path, samples=5, timeout=5.0, work_per_minute=0)
    with run_server(settings) as server, server.client() as client:
        server.wait_ready()
        body = {"file_path": "sample:simulated_btc_1h", "lookback": 80, "pred_len": 2, "sample_count": 2}
        result = client.post("/api/predict", json=body).json()
        folder = settings.serve.state_dir / "prediction_results"
        for ending in ("json", "npz"):
            shutil.copy(folder / f"{result['id']}.{ending}", folder / f"{SAVED}.{ending}")
        with cancelling(server):
            yield server


@contextmanager
def cancelling(server):
    """Cancel all running jobs twice a second: generated requests may need minutes of computation."""
    stop = threading.Event()

    def work():
        with server.client() as client:
            while not stop.wait(0.5):
                with suppress(httpx2.HTTPError):
                    for job in client.get("/api/jobs").json()["jobs"]:
                        if job["finished"] is None:
                            client.delete(f"/api/jobs/{job['id']}")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


CONFIG = {
    "max-time": SECONDS,
    "continue-on-failure": True,
    "request-timeout": 60,
    "workers": 1,
    "checks": {
        # 503 is documented: full queue, timeout, missing weights. No other 5xx can happen with this source.
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
        # A schema does not define which files, models, timezones and times exist.
        "positive_data_acceptance": {"enabled": False},
    },
    "operations": [
        # DELETE cancels a job, which can still be read.
        {"include-path-regex": "^/api/jobs", "checks": {"use_after_free": {"enabled": False}}},
        # The body of a stream is a string; schemathesis compares each event, as OpenAPI 3.2 would describe it.
        {
            "include-path-regex": "/events$",
            "checks": {"response_schema_conformance": {"enabled": False}, "use_after_free": {"enabled": False}},
        },
        # Charts may add parameters that are not described.
        {"include-path-regex": "^/udf/", "checks": {"negative_data_rejection": {"enabled": False}}},
    ],
}


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 240)
def test_generated_requests_get_documented_responses(target):
    import schemathesis
    from schemathesis.config import SchemathesisConfig
    from schemathesis.engine import Status, events, from_schema

    schema = schemathesis.openapi.from_url(
        f"{target.address}/openapi.json", config=SchemathesisConfig.from_dict(CONFIG)
    )
    statuses, met, failures, errors = Counter(), Counter(), {}, []
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            errors.append(str(event.info))
        if not isinstance(event, events.ScenarioFinished):
            continue
        for key, node in event.recorder.cases.items():
            answer = event.recorder.find_response(case_id=key)
            if answer is not None:
                statuses[answer.status_code] += 1
                met[node.value.operation.label] += 1
            for check in event.recorder.checks.get(key, []):
                if check.status == Status.FAILURE:
                    failures.setdefault((node.value.operation.label, check.name), check)
    details = [
        f"{label}: {name}: {item.failure_info.failure}\n{item.failure_info.code_sample}"
        for (label, name), item in failures.items()
    ]
    print(f"\n{sum(statuses.values())} cases, {len(met)} routes, {dict(sorted(statuses.items()))}")  # noqa: T201
    assert not details, "\n\n".join(details)
    assert not errors, "\n\n".join(errors)
    assert set(met) == {f"{method.upper()} {path}" for path, methods in ROUTES.items() for method in methods.split()}
    assert statuses[500] == 0
    with target.client() as client:
        assert client.get("/health").status_code == 200
        assert client.get("/api/predict?symbol=BTC&hours=1").json()["prediction"]["model"] == "kronos"

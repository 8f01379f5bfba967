"""The OpenAPI document tells the truth: it names every route, and whatever schemathesis sends gets what it promises.

``KRONOS_FUZZ_SECONDS=600 pytest tests/serve/test_openapi.py -s`` is the long run by hand.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from contextlib import contextmanager, suppress

import httpx2
import pytest

from kronos.serve.routes.predictions import MOST_DAYS, MOST_HOURS
from serve.live import served, settings_in

SECONDS = int(os.environ.get("KRONOS_FUZZ_SECONDS", "60"))
SAVED = "prediction_20261121_221500"  # the example of the document
ROUTES = {
    "/api/predict": "get post", "/api/history": "get", "/api/assets": "get", "/api/data-files": "get",
    "/api/load-data": "post", "/api/uploads": "get post", "/api/uploads/{upload_id}": "delete",
    "/api/available-models": "get", "/api/model-status": "get", "/api/load-model": "post", "/api/jobs": "get",
    "/api/jobs/predict": "post", "/api/jobs/load-model": "post", "/api/jobs/{job_id}": "get delete",
    "/api/jobs/{job_id}/events": "get", "/api/results": "get", "/api/results/{result_id}": "get delete",
    "/api/results/{result_id}/export": "get", "/udf/config": "get", "/udf/time": "get", "/udf/symbols": "get",
    "/udf/search": "get", "/udf/history": "get", "/health": "get", "/ready": "get", "/metrics": "get",
}  # fmt: skip


@pytest.fixture(scope="module")
def document(live):
    with live.client() as client:
        return client.get("/openapi.json").json()


def operations(document):
    return [(f"{method} {path}", one) for path, item in document["paths"].items() for method, one in item.items()]


def test_the_document_names_every_route_and_no_other(document):
    assert {path: " ".join(item) for path, item in document["paths"].items()} == ROUTES


def test_no_route_documents_the_422_that_is_never_answered(document):
    assert all("422" not in one["responses"] for _, one in operations(document))
    assert not [name for name in document["components"]["schemas"] if "ValidationError" in name]


def test_every_route_is_explained_and_every_error_has_the_body_that_is_answered(document):
    for name, one in operations(document):
        assert one["summary"].count(" ") >= 1, name
        errors = {status: told for status, told in one["responses"].items() if status >= "400"}
        assert {"403", "421"} <= set(errors), name
        for status, told in errors.items():
            kinds = told["content"]
            assert list(kinds) == ["application/json"], (name, status)
            body = "Ready" if (name, status) == ("get /ready", "503") else "ErrorBody"
            assert kinds["application/json"]["schema"] == {"$ref": f"#/components/schemas/{body}"}, (name, status)


def test_every_route_that_takes_a_body_documents_one_that_is_too_long_or_too_slow(document):
    for name, one in operations(document):
        if name.startswith("post"):
            assert {"408", "413"} <= set(one["responses"]), name


def test_the_document_has_examples_from_which_a_reader_can_start(document):
    schemas = document["components"]["schemas"]
    assert schemas["PredictBody"]["properties"]["file_path"]["examples"] == ["sample:simulated_btc_1h"]
    assert schemas["LoadModelBody"]["properties"]["model_key"]["examples"] == ["kronos-nano"]
    symbol, hours = document["paths"]["/api/predict"]["get"]["parameters"]
    assert symbol["schema"]["examples"] == ["BTC"]
    assert (hours["schema"]["default"], hours["schema"]["maximum"]) == (24, MOST_HOURS)
    days = document["paths"]["/api/history"]["get"]["parameters"][1]
    assert (days["schema"]["default"], days["schema"]["maximum"]) == (7, MOST_DAYS)


def test_the_examples_of_the_document_work(live):
    with live.client() as client:
        assert client.get("/api/predict?symbol=BTC").status_code == 200
        body = {"file_path": "sample:simulated_btc_1h", "pred_len": 2, "sample_count": 2}
        assert client.post("/api/predict", json=body).status_code == 200
        assert client.post("/api/load-model", json={"model_key": "kronos-nano"}).status_code == 200


# Fuzzing ------------------------------------------------------------------


@pytest.fixture
def target(tmp_path):
    """A server with something to find, and somebody who cancels the jobs, which nobody waits for."""
    settings = settings_in(tmp_path, samples=5, timeout=5.0, work_per_minute=0)
    with served(settings) as server, server.client() as client:
        server.wait_ready()
        body = {"file_path": "sample:simulated_btc_1h", "lookback": 80, "pred_len": 2, "sample_count": 2}
        made = client.post("/api/predict", json=body).json()
        folder = settings.serve.state_dir / "prediction_results"
        for ending in ("json", "npz"):
            shutil.copy(folder / f"{made['id']}.{ending}", folder / f"{SAVED}.{ending}")
        with cancelling(server):
            yield server


@contextmanager
def cancelling(server):
    """Cancel every running job twice a second: what is drawn may ask for minutes of computing."""
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
        # 503 is documented: no room, no time, weights that are not there. No other 5xx can happen with this source.
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
        # A schema cannot say which files, models, timezones and times there are.
        "positive_data_acceptance": {"enabled": False},
    },
    # Deleting a job cancels it, and its end can still be read.
    "operations": [{"include-path-regex": "^/api/jobs", "checks": {"use_after_free": {"enabled": False}}}],
}


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 240)
def test_whatever_is_sent_gets_an_answer_that_the_document_promises(target):
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
    told = [
        f"{label}: {name}: {one.failure_info.failure}\n{one.failure_info.code_sample}"
        for (label, name), one in failures.items()
    ]
    print(f"\n{sum(statuses.values())} cases, {len(met)} routes, {dict(sorted(statuses.items()))}")  # noqa: T201
    assert not told, "\n\n".join(told)
    assert not errors, "\n\n".join(errors)
    assert set(met) == {f"{method.upper()} {path}" for path, methods in ROUTES.items() for method in methods.split()}
    assert statuses[500] == 0
    with target.client() as client:
        assert client.get("/health").status_code == 200
        assert client.get("/api/predict?symbol=BTC&hours=1").json()["prediction"]["model"] == "kronos"

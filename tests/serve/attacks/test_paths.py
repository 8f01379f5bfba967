"""File paths and ids cannot reach files outside the served folders."""

from __future__ import annotations

import pytest

from serve.attacks.checks import check_error
from serve.raw_http import get

OUTSIDE = [
    "../canary.csv", "deep/../../canary.csv", "./../canary.csv", "deep/../../canary.csv/", "..//canary.csv",
    "%2e%2e/canary.csv", "..%2fcanary.csv", "%2e%2e%2fcanary.csv", "%252e%252e%252fcanary.csv", "..%c0%afcanary.csv",
    "..\\canary.csv", "deep\\..\\..\\canary.csv", "..%5ccanary.csv", "\\\\host\\share\\canary.csv", "C:\\canary.csv",
    "C:canary.csv", "{root}/canary.csv", "/{root}/canary.csv", "//etc/passwd", "/etc/passwd", "file:///etc/passwd",
    "{root}/data/good.csv", "~/canary.csv", "~root/canary.csv", "$HOME/canary.csv", "out.csv", "passwd.csv",
    "deep/out.csv", "up/canary.csv", "etc/passwd", "etc/hosts.csv", "up/data/good.csv", ".hidden.csv", "deep/./x.csv",
    "good.csv\0", "good.csv\0.csv", "..\0/canary.csv", "\u2024\u2024/canary.csv", "\uff0e\uff0e/canary.csv",
    "..\u2215canary.csv", "..\u2044canary.csv", "..\uff0fcanary.csv", "..\u29f5canary.csv", "good.csv\u202e",
    "good\u0301.csv", ".", "..", "/", "\\", "", " ", "\n", "upload:../canary", "upload:" + "0" * 64, "upload:",
    "upload:../../canary.csv", "sample:../canary", "sample:", "sample:/etc/passwd", "UPLOAD:x", "http://evil/x.csv",
    "a" * 500 + ".csv", "a/" * 200 + "x.csv", "/proc/self/environ", "/proc/self/fd/0", "/dev/zero", "con.csv:x",
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE, ids=ascii)
@pytest.mark.parametrize("route", ["/api/load-data", "/api/predict", "/api/jobs/predict"])
def test_file_paths_cannot_leave_the_data_folder(client, home, route, path):
    details = {} if route == "/api/load-data" else {"lookback": 64, "pred_len": 2, "sample_count": 1}
    path = path.replace("{root}", str(home))
    answer = client.post(route, json={"file_path": path, **details})
    document = check_error(answer, 400, 404, given=path.partition("sample:")[2] or path)
    assert "root:" not in answer.text
    assert "symlink" not in document["message"]


def test_the_canary_is_readable_from_outside(client, home):
    """Otherwise the tests above would pass for another reason."""
    assert client.post("/api/load-data", json={"file_path": "good.csv"}).status_code == 200
    assert (home / "data" / "up" / "canary.csv").read_bytes() == (home / "data" / "good.csv").read_bytes()


def test_links_and_hidden_files_are_not_listed(client):
    assert [item["path"] for item in client.get("/api/data-files").json()] == ["good.csv"]


@pytest.mark.parametrize("existing", ["{root}/canary.csv", "../canary.csv", "out.csv"])
def test_errors_do_not_reveal_whether_a_file_exists(client, home, existing):
    def error_of(path):
        path = path.replace("{root}", str(home))
        answer = client.post("/api/load-data", json={"file_path": path})
        return answer.status_code, answer.json()["message"].replace(path, "…")

    assert error_of(existing) == error_of(existing.replace("canary", "absent").replace("out.csv", "none.csv"))


STEPS = [
    "..", "%2e%2e", "..%2f..%2fcanary", "..%2f..%2f..%2fcanary.csv", "%2e%2e%2f%2e%2e%2fcanary", "..%5c..%5ccanary",
    "%2fetc%2fpasswd", "%252e%252e%252fcanary", "..%00", "%00", "prediction_20261121_221500%00",
    "x%0d%0aSet-Cookie:%20a=b",
    "..%c0%af", "%ff%fe", "prediction_20261121_221500%2f..%2f..%2fcanary", "%E2%80%AE", "a" * 300,
]  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api/results/{}"), ("GET", "/api/results/{}/export?format=json"),
        ("GET", "/api/results/{}/export?format=npz"), ("DELETE", "/api/results/{}"), ("DELETE", "/api/uploads/{}"),
        ("GET", "/api/jobs/{}"), ("DELETE", "/api/jobs/{}"), ("GET", "/api/jobs/{}/events"),
    ],
)  # fmt: skip
def test_ids_cannot_contain_paths(server, home, method, target, step):
    reply = get(server.address, target.format(step), method=method)
    check_error(reply, 400, 404, 405)
    assert reply.header("set-cookie") is None
    assert (home / "canary.csv").is_file()
    assert (home / "data" / "good.csv").is_file()

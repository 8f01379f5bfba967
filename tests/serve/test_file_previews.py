"""First rows of files, candles as they were read, and sentences in parts: what the data panel of the page shows."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from kronos.candles import read_candles
from kronos.serve.exports import download_stem
from serve.recordings import recorded
from serve.servers import run_server, settings_in

FRAME = recorded("BTC", 300).frame
SAMPLE = "sample:simulated_btc_1h"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    settings = settings_in(tmp_path_factory.mktemp("server"), work_per_minute=0)
    data = settings.serve.data_dir
    FRAME.to_csv(data / "btc.csv")
    FRAME.rename(columns={"close": "Third number"}).to_csv(data / "odd.csv")
    broken = FRAME.copy()
    broken.iloc[5, 1], broken.iloc[5, 2] = broken.iloc[5, 2], broken.iloc[5, 1]
    broken.drop(broken.index[20:23]).to_csv(data / "broken.csv")
    with run_server(settings) as server, server.client() as client:
        yield client


def test_the_first_rows_of_a_file(client):
    answer = client.post("/api/preview", json={"file_path": "btc.csv"})
    assert answer.status_code == 200, answer.text
    preview = answer.json()
    assert preview["roles"] == ["timestamps", "open", "high", "low", "close", "volume", "amount"]
    assert preview["rows"][0][1] == str(FRAME.iloc[0, 0])
    assert (preview["first"], preview["columns"]) == (2, 7)


@pytest.mark.slow
def test_an_error_about_columns_brings_the_rows_that_settle_it(client):
    refused = client.post("/api/candles", json={"file_path": "odd.csv"})
    document = refused.json()
    assert (refused.status_code, document["options"], document["kind"]) == (400, ["columns"], "missing-columns")
    assert document["values"]["columns"] == "close"
    preview = document["preview"]
    at = preview["labels"].index("Third number")
    assert preview["roles"][at] == ""
    read = client.post("/api/candles", json={"file_path": "odd.csv", "columns": {"close": preview["references"][at]}})
    assert read.status_code == 200, read.text


def test_a_rejected_upload_brings_its_rows_too(client):
    content = FRAME.rename(columns={"close": "Third number"}).to_csv().encode()
    document = client.post("/api/uploads", files={"file": ("x.csv", content)}).json()
    assert document["preview"]["labels"][4] == "Third number"
    assert document["values"]["name"] == "x.csv"


def test_the_sample_has_rows_and_a_symbol_has_none(client):
    assert client.post("/api/preview", json={"file_path": SAMPLE}).json()["roles"][0] == "timestamps"
    refused = client.post("/api/preview", json={"file_path": "asset:BTC"})
    assert refused.status_code == 400
    assert client.post("/api/preview", json={"file_path": "absent.csv"}).status_code == 404


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_candles_as_they_were_read_are_read_again_unchanged(client, tmp_path, kind):
    answer = client.post("/api/candles/export", json={"file_path": "broken.csv", "format": kind})
    assert answer.status_code == 200, answer.text
    assert f'filename="broken_1h_2025-03-13_1100.{kind}"' in answer.headers["content-disposition"]
    (tmp_path / f"again.{kind}").write_bytes(answer.content)
    again = read_candles(tmp_path / f"again.{kind}")
    page = client.post("/api/candles", json={"file_path": "broken.csv"}).json()
    assert len(again) == page["data_info"]["rows"] == 297
    assert again.frame["high"].tolist() == page["candles"]["high"]
    assert (again.frame["high"] >= again.frame["low"]).all()
    assert [finding.code for finding in again.findings] == ["gaps"], "nothing is left to repair"


def test_simulated_candles_keep_their_mark(client, tmp_path):
    answer = client.post("/api/candles/export", json={"file_path": SAMPLE})
    name = answer.headers["content-disposition"].partition('filename="')[2].partition('"')[0]
    assert name.startswith("simulated_")
    (tmp_path / name).write_bytes(answer.content)
    assert read_candles(tmp_path / name).simulated


def test_findings_have_kind_and_values(client):
    findings = client.post("/api/load-data", json={"file_path": "broken.csv"}).json()["data_info"]["findings"]
    swapped = next(finding for finding in findings if finding["code"] == "high-below-low")
    assert (swapped["kind"], swapped["values"]["count"], swapped["rows"]) == ("high-below-low", 1, [7])
    assert all(finding["kind"] for finding in findings)


def test_an_exported_result_is_named_by_what_it_holds(client):
    body = {"file_path": "btc.csv", "lookback": 80, "pred_len": 2, "sample_count": 2, "seed": 1}
    result = client.post("/api/predict", json=body).json()
    for kind in ("csv", "json", "npz"):
        answer = client.get(f"/api/results/{result['id']}/export", params={"format": kind})
        assert f'filename="btc_1h_2025-03-13_1100.{kind}"' in answer.headers["content-disposition"]
    assert pd.read_csv(io.BytesIO(client.get(f"/api/results/{result['id']}/export").content)).shape[0] == 2


@pytest.mark.parametrize(
    ("series", "time", "name"),
    [
        ("BTC/USDT", "2025-03-10 23:00", "BTC-USDT_1h_2025-03-10_2300"),
        ("贵州茅台 600519", "2025-03-10", "贵州茅台-600519_1h_2025-03-10"),
        ('../../etc/"x"\r\n', "2025-03-10", "etc-x_1h_2025-03-10"),
        ("btc_1h", "2025-03-10", "btc_1h_2025-03-10"),
        (None, "2025-03-10", "series_1h_2025-03-10"),
        ("x" * 200, "2025-03-10", f"{'x' * 60}_1h_2025-03-10"),
    ],
)
def test_names_have_safe_characters_only(series, time, name):
    assert download_stem(series, recorded("BTC", 3).interval, pd.Timestamp(time)) == name

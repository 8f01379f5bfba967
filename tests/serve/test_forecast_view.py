"""What the workbench draws: candles in columns, replays as of a time, scores of windows, questions to the paths."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.candles import read_candles
from kronos.serve.candle_columns import price_digits
from serve.recordings import recorded
from serve.servers import run_server, settings_in

SAMPLE = "sample:simulated_btc_1h"
FRAME = recorded("BTC", 600).frame
SMALL = {"file_path": "btc_1h.csv", "lookback": 80, "pred_len": 6, "sample_count": 20, "seed": 7}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    settings = settings_in(folder, work_per_minute=0)
    FRAME.to_csv(folder / "data" / "btc_1h.csv")
    FRAME.tz_localize(None).to_csv(folder / "data" / "naive.csv")
    with run_server(settings) as server:
        server.wait_ready()
        with server.client() as client:
            yield client


def good(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()


def times(frame):
    return [int(time.timestamp()) for time in frame.index]


@pytest.fixture(scope="module")
def replay(client):
    as_of = FRAME.index[499].isoformat()
    return good(client.post("/api/predict", json={**SMALL, "as_of": as_of, "windows": 5}))


def test_candles_come_in_columns_newest_first_and_page_back_to_the_start(client):
    ask = {"file_path": "btc_1h.csv", "limit": 250}
    pages, before = [], None
    while before is None or pages[-1]["offset"]:
        pages.append(good(client.post("/api/candles", json={**ask, "before": before})))
        before = pages[-1]["candles"]["time"][0]
    assert [(page["offset"], len(page["candles"]["time"])) for page in pages] == [(350, 250), (100, 250), (0, 100)]
    parts = [page["candles"] for page in reversed(pages)]
    whole = {name: [value for part in parts for value in part[name]] for name in parts[0]}
    assert whole.pop("time") == times(FRAME)
    for name, values in whole.items():
        np.testing.assert_array_equal(values, FRAME[name])


def test_the_next_candles_follow_the_calendar(client):
    page = good(client.post("/api/candles", json={"file_path": "btc_1h.csv", "limit": 1, "ahead": 3}))
    last = times(FRAME)[-1]
    assert page["next"] == [last + 3600, last + 7200, last + 10800]
    assert page["next_close"] == last + 7200
    assert page["data_info"]["calendar"] == "24/7"


def test_times_without_a_timezone_have_no_next_close(client):
    page = good(client.post("/api/candles", json={"file_path": "naive.csv", "limit": 2}))
    assert page["candles"]["time"] == times(FRAME)[-2:], "as if they were UTC"
    assert (page["next_close"], page["data_info"]["timezone"]) == (None, None)


def test_candles_before_the_first_one_are_none(client):
    page = good(client.post("/api/candles", json={"file_path": "btc_1h.csv", "before": 0}))
    assert (page["offset"], page["candles"]["time"]) == (0, [])


def test_an_asset_of_the_source_is_read_like_a_file(client):
    page = good(client.post("/api/candles", json={"file_path": "asset:BTC", "limit": 10, "ahead": 1}))
    assert page["data_info"]["simulated"]
    assert len(page["candles"]["time"]) == 10
    answer = client.post("/api/candles", json={"file_path": "asset:NOPE"})
    assert answer.status_code == 404


@settings(max_examples=60, deadline=None)
@given(digits=st.integers(0, 8), level=st.floats(0.01, 90_000), seed=st.integers(0, 99))
def test_prices_are_quoted_with_the_digits_that_they_have(digits, level, seed):
    closes = np.round(level * np.exp(0.01 * np.random.default_rng(seed).standard_normal(40)), digits)
    if (closes <= 0).any():
        return
    index = pd.date_range("2025-01-01", periods=40, freq="h", tz="UTC")
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), closes), index=index)
    found = price_digits(read_candles(frame))
    assert found <= digits
    np.testing.assert_allclose(closes.round(found), closes, rtol=1e-8)


def test_a_replay_ends_its_history_at_as_of(replay):
    view = replay["view"]
    assert view["history"]["time"] == times(FRAME)[420:500]
    assert view["actual"]["time"] == view["time"] == times(FRAME)[500:506]
    assert replay["forecast"]["as_of"] == FRAME.index[499].isoformat()
    assert view["request"]["seed"] == 7
    assert view["request"]["file_path"] == "btc_1h.csv"


@pytest.mark.slow
def test_a_replay_does_not_see_what_followed(client, replay, tmp_path_factory):
    altered = FRAME.copy()
    altered.iloc[500:, :4] *= 3
    upload = client.post("/api/uploads", files={"file": ("altered.csv", altered.to_csv().encode())})
    body = {**SMALL, "file_path": upload.json()["file_path"], "as_of": FRAME.index[499].isoformat(), "symbol": "btc_1h"}
    other = good(client.post("/api/predict", json=body))
    assert other["view"]["actual"] != replay["view"]["actual"]
    assert other["forecast"]["close_quantiles"] == replay["forecast"]["close_quantiles"]


def test_windows_are_scored_together_and_the_first_is_shown(client, replay):
    scores = replay["view"]["scores"]
    assert (scores["windows"], scores["known_steps"], scores["reference"]) == (5, 6, "historical-volatility")
    rows = {row["name"]: row for row in scores["rows"]}
    assert {row["kind"] for row in rows.values()} >= {"reference", "baseline"}
    model = next(row for row in rows.values() if row["kind"] in ("raw", "calibrated"))
    assert model["skill_low"] <= model["skill"] <= model["skill_high"]
    reference = rows["historical-volatility"]
    assert model["skill"] == pytest.approx(1 - model["crps"] / reference["crps"])
    assert rows["last-value"]["inside_80"] is None, "a point forecast has no band"
    single = good(client.post("/api/predict", json={**SMALL, "as_of": FRAME.index[499].isoformat()}))
    assert single["forecast"]["close_quantiles"] == replay["forecast"]["close_quantiles"]
    assert all(row["skill_low"] is None for row in single["view"]["scores"]["rows"]), "one window has no interval"
    last_value = next(row for row in single["view"]["scores"]["rows"] if row["name"] == "last-value")
    closes = np.log(FRAME["close"].to_numpy())
    moves = np.abs(closes[500:506] - closes[499])
    usual = np.diff(closes[435:500]).std(ddof=1) * np.sqrt(np.arange(1, 7))
    assert last_value["mae_scaled"] == pytest.approx(np.mean(moves / usual))
    assert last_value["crps_scaled"] == pytest.approx(last_value["mae_scaled"]), "the CRPS of a point is its error"


@pytest.mark.slow
def test_a_replay_of_prices_that_never_move_has_no_skill(client):
    frame = FRAME.copy()
    frame[["open", "high", "low", "close"]] = 100.0
    upload = client.post("/api/uploads", files={"file": ("flat.csv", frame.to_csv().encode())}).json()
    body = {**SMALL, "file_path": upload["file_path"], "as_of": FRAME.index[499].isoformat(), "windows": 5}
    scores = good(client.post("/api/predict", json=body))["view"]["scores"]
    assert scores["windows"] == 5
    for name in ("skill", "mae_scaled", "crps_scaled"):
        assert [row[name] for row in scores["rows"]] == [None] * len(scores["rows"])


def test_windows_that_would_reach_before_the_file_are_left_out(client):
    body = {**SMALL, "as_of": FRAME.index[90].isoformat(), "windows": 20}
    assert good(client.post("/api/predict", json=body))["view"]["scores"]["windows"] == 2


def test_a_forecast_beyond_the_last_candle_has_no_scores(client):
    view = good(client.post("/api/predict", json={**SMALL, "windows": 3}))["view"]
    assert (view["actual"], view["scores"]) == (None, None)
    assert view["history"]["time"] == times(FRAME)[-80:]


def test_the_central_path_is_one_of_the_sampled_ones(replay):
    view = replay["view"]
    assert view["central"]["close"] == pytest.approx(replay["paths"][view["central_path"]])
    assert len(replay["paths"]) == 20


def test_a_saved_view_is_the_one_that_was_returned(client, replay):
    assert good(client.get(f"/api/results/{replay['id']}")) == replay


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"as_of": "yesterday"}, "yesterday"),
        ({"as_of": "1999-01-01"}, "1999-01-01"),
        ({"as_of": "2024-01-01", "start_date": "2024-01-01"}, "start_date"),
        ({"windows": 0}, "windows"),
        ({"windows": 21}, "windows"),
    ],
)
def test_an_invalid_window_is_400_and_named(client, extra, named):
    answer = client.post("/api/predict", json={**SMALL, **extra})
    assert answer.status_code == 400
    assert named in answer.json()["message"]


def ask(client, replay, **question):
    return client.get(f"/api/results/{replay['id']}/probability", params=question)


def test_questions_are_answered_from_the_paths(client, replay):
    closes = np.array(replay["paths"])
    level = float(np.median(closes[:, -1]))
    above = good(ask(client, replay, event="above", price=level))
    assert (above["count"], above["paths"], above["step"]) == (int((closes[:, -1] > level).sum()), 20, 6)
    assert above["low"] < above["value"] < above["high"]
    below = good(ask(client, replay, event="below", price=level, step=2))
    assert below["count"] == int((closes[:, 1] < level).sum())
    between = good(ask(client, replay, event="between", price=level * 0.99, upper=level * 1.01))
    inside = (closes[:, -1] >= level * 0.99) & (closes[:, -1] <= level * 1.01)
    assert between["count"] == int(inside.sum())
    touch = good(ask(client, replay, event="touch", price=replay["forecast"]["last_close"] * 1e6))
    assert touch["count"] == 0


@pytest.mark.parametrize(
    "question",
    [
        {"event": "between", "price": 1},
        {"event": "above", "price": 1, "upper": 2},
        {"event": "between", "price": 2, "upper": 1},
        {"event": "above", "price": 0},
        {"event": "above", "price": "nan"},
        {"event": "above", "price": 1, "step": 0},
        {"event": "above", "price": 1, "step": 7},
        {"event": "sideways", "price": 1},
    ],
)
def test_an_invalid_question_is_400(client, replay, question):
    assert ask(client, replay, **question).status_code == 400


def test_a_question_about_no_result_is_404(client):
    answer = client.get("/api/results/prediction_20200101_000000/probability", params={"event": "above", "price": 1})
    assert answer.status_code == 404


AMBIGUOUS = "time;open;high;low;close\n" + "".join(
    f"2024-01-{day:02};1,{day:02}0;1,{day:02}5;1,{day:02}0;1,{day:02}2\n" for day in range(1, 29)
)


@pytest.mark.slow
def test_a_question_of_the_reader_names_the_options_that_settle_it(client):
    upload = {"file": ("ambiguous.csv", AMBIGUOUS.encode())}
    answer = client.post("/api/uploads", files=upload)
    assert answer.status_code == 400
    assert set(answer.json()["options"]) == {"decimal", "thousands"}
    info = client.post("/api/uploads", files=upload, data={"options": json.dumps({"decimal": ","})})
    assert info.status_code == 201
    assert info.json()["data_info"]["price_range"]["max"] < 2


@pytest.mark.parametrize("options", ["[]", "{", '{"decimal": 5}', '{"unknown": "x"}'])
def test_invalid_options_of_an_upload_are_400(client, options):
    upload = {"file": ("btc.csv", FRAME.to_csv().encode())}
    answer = client.post("/api/uploads", files=upload, data={"options": options})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("options")


def test_a_large_json_file_on_one_line_is_read(client):
    records = FRAME.head(300).reset_index().rename(columns={"timestamps": "time"})
    frame = pd.concat([records] * 30, ignore_index=True)
    frame["time"] = pd.date_range("2020-01-01", periods=len(frame), freq="h").astype(str)
    text = frame.to_json(orient="records")
    assert len(text) > 1 << 20
    answer = client.post("/api/uploads", files={"file": ("candles.json", text.encode())})
    assert answer.status_code == 201, answer.text
    assert answer.json()["data_info"]["rows"] == len(frame)


def test_an_unknown_parameter_is_400_with_its_name(client, replay):
    for target in (
        f"/api/results/{replay['id']}/probability?event=above&price=1&stepp=2",
        f"/api/results/{replay['id']}/export?formatt=csv",
        "/api/results?limit=2",
        "/api/jobs?state=done",
    ):
        answer = client.get(target)
        assert answer.status_code == 400
        assert "Unknown parameter" in answer.json()["message"]


def test_a_repeated_parameter_is_400_with_its_name(client):
    for target in ("/api/predict?symbol=BTC&symbol=ETH", "/api/jobs/abc/events?ticket=a&ticket=b"):
        answer = client.get(target)
        assert answer.status_code == 400
        assert "2 times" in answer.json()["message"]
    assert client.get("/api/assets?unknown=1&unknown=2").status_code == 200


def test_an_empty_ticket_is_refused(client):
    assert client.get("/api/jobs/abc/events?ticket=").status_code == 400


def test_a_typed_seed_gives_the_scores_of_the_same_seed_drawn(client):
    body = {**SMALL, "as_of": FRAME.index[499].isoformat(), "windows": 3, "seed": None}
    drawn = good(client.post("/api/predict", json=body))
    typed = good(client.post("/api/predict", json={**body, "seed": drawn["view"]["request"]["seed"]}))
    assert typed["view"]["scores"] == drawn["view"]["scores"]


def test_a_view_knows_its_file_and_whether_its_test_is_fair(client, replay):
    assert replay["view"]["file_name"] == "btc_1h.csv"
    upload = client.post("/api/uploads", files={"file": ("mine.csv", FRAME.to_csv().encode())}).json()
    other = good(client.post("/api/predict", json={**SMALL, "file_path": upload["file_path"]}))
    assert other["view"]["file_name"] == "mine.csv"
    notes = " ".join(replay["forecast"]["notes"])
    assert replay["view"]["scores"]["look_ahead"] is ("Look-ahead" in notes)


def test_exports_of_a_replay_have_what_happened(client, replay):
    text = client.get(f"/api/results/{replay['id']}/export", params={"format": "csv"}).text
    table = pd.read_csv(io.StringIO(text))
    np.testing.assert_allclose(table["actual_close"], FRAME["close"].iloc[500:506])
    picture = client.get(f"/api/results/{replay['id']}/export", params={"format": "png"})
    assert picture.content.startswith(b"\x89PNG")


def test_an_unknown_calendar_is_400_with_its_name(client):
    answer = client.post("/api/candles", json={"file_path": "btc_1h.csv", "calendar": "MARS"})
    assert answer.status_code == 400
    assert "MARS" in answer.json()["message"]


def test_whether_the_calendar_was_detected_is_said(client):
    infos = [
        good(client.post("/api/load-data", json={"file_path": "btc_1h.csv", **options}))["data_info"]
        for options in ({}, {"calendar": "24/7"})
    ]
    assert [(info["calendar"], info["calendar_inferred"]) for info in infos] == [("24/7", True), ("24/7", False)]

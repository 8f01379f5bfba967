"""From a file to a forecast, its score, its saved copy and its exports: the way through the workbench."""

from __future__ import annotations

import io
import json
import shlex

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kronos.forecasts import Forecast
from serve.recordings import recorded
from web.workbench import PALETTES, TABLE_QUANTILES, TINY, near, number, rgb, share, small_request

FRAME = recorded("BTC", 240).frame
BANDS = (95, 80, 50)


def as_csv(frame=FRAME, sep=","):
    return frame.to_csv(sep=sep).encode()


def as_json(frame=FRAME):
    return frame.reset_index().to_json(orient="records", date_format="iso", double_precision=10).encode()


def as_binary(method, frame=FRAME):
    target = io.BytesIO()
    getattr(frame.reset_index(), method)(target)
    return target.getvalue()


FORMATS = {
    "csv": as_csv,
    "tsv": lambda: as_csv(sep="\t"),
    "json": as_json,
    "feather": lambda: as_binary("to_feather"),
    "parquet": lambda: as_binary("to_parquet"),
}


@pytest.fixture(scope="module")
def api(server):
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def stored(api):
    """A file that the server has, by its path."""
    answer = api.post("/api/uploads", files={"file": ("btc.csv", as_csv())})
    assert answer.status_code == 201, answer.text
    return answer.json()["file_path"]


def predict(api, path, **changes):
    answer = api.post("/api/predict", json=small_request(path, **changes))
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def forecast(api, stored):
    """A saved forecast, as the API describes it."""
    return predict(api, stored)


@pytest.fixture(scope="module")
def replay(api, stored):
    """A saved replay with its score over three windows."""
    return predict(api, stored, as_of=FRAME.index[-13].isoformat(), windows=3, seed=8)


def quantiles_of(document):
    digits = document["view"]["digits"]
    columns = [document["forecast"]["close_quantiles"][name] for name in TABLE_QUANTILES]
    return np.round(np.array(columns).T, digits)


# Data ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_of_each_format_is_described(tab, kind):
    tab.open("empty")
    (tab.drop if kind == "tsv" else tab.upload)(f"btc.{kind}", FORMATS[kind]())
    facts = tab.facts()
    assert (facts["Interval"], facts["Candles"]) == ("1h", "240")
    assert facts["Calendar"].startswith("24/7")
    assert facts["Time zone"] == "UTC"
    assert facts["Dates"] == "2025-03-01 – 2025-03-10 23:00"
    *_, last = tab.rows("table[data-history]")
    assert last[0] == "2025-03-10 23:00"
    np.testing.assert_allclose([number(cell) for cell in last[1:5]], FRAME.iloc[-1, :4], atol=5e-3)
    assert "last-candle" in tab.probes()


@pytest.mark.slow
def test_older_candles_of_a_long_file_follow_the_newest(tab):
    frame = recorded("BTC", 2600, step="1m").frame
    tab.open("empty")
    tab.upload("long.csv", as_csv(frame))
    tab.page.get_by_role("button", name="All", exact=True).click()
    tab.page.wait_for_selector("text=Older candles are loading", state="detached")
    tab.page.get_by_role("application").focus()
    tab.page.keyboard.press("Home")
    tab.page.wait_for_selector("[data-legend] >> text=2025-03-01 00:00")


@pytest.mark.slow
def test_times_are_those_of_the_exchange_across_the_end_of_summer_time(tab, api):
    index = pd.date_range("2025-10-28", periods=130, freq="1h", tz="UTC", name="timestamps")
    frame = recorded("BTC", 130).frame.set_index(index)
    path = api.post("/api/uploads", files={"file": ("newyork.csv", as_csv(frame))}).json()["file_path"]
    tab.open_data(path, timezone="America/New_York")
    assert tab.facts()["Time zone"] == "America/New_York"
    times = [row[0] for row in tab.rows("table[data-history]")[1:]]
    wanted = index.tz_convert("America/New_York")[-len(times) :].strftime("%Y-%m-%d %H:%M").tolist()
    assert times == wanted
    assert wanted.count("2025-11-02 01:00") == 2
    assert tab.text(".chart-zone") == "New York"


# Forecast ------------------------------------------------------------------


@pytest.mark.slow
def test_a_forecast_from_an_upload_is_drawn_with_nested_bands_of_one_hue(tab, api):
    tab.open("empty")
    tab.upload("btc.csv", as_csv())
    tab.set_parameters(**{"History, in candles": 64, "Horizon, in candles": 6, "Paths": 20, "Seed": 7})
    tab.run()
    document = api.get(f"/api/results/{tab.result_id()}").json()
    assert document["lookback"] == TINY["lookback"]
    quantiles = tab.quantiles()
    np.testing.assert_allclose(quantiles, quantiles_of(document))
    assert quantiles.shape == (TINY["horizon"], 7)
    assert (np.diff(quantiles, axis=1) >= 0).all(), "nested"
    probes, pixels, colours = tab.probes(), tab.pixels(), tab.colours()
    shares = []
    for band in BANDS:
        shades = [
            share(pixel, colours["ground"], colours["hue-1"]) for pixel in near(pixels, probes[f"band-{band}-shade"], 0)
        ]
        assert max(distance for _, distance in shades) < 12, "a tint of the forecast's hue"
        shares.append(np.mean([part for part, _ in shades]))
    assert 0.04 < shares[0] < shares[1] < shares[2] < 0.9, "the inner bands are denser"
    heights = [probes[f"band-{band}-{end}-last"][1] for end in ("high", "low") for band in BANDS]
    assert heights[:3] == sorted(heights[:3]), "down the screen: 95, 80, 50, and below the median the other way"
    assert heights[3:] == sorted(heights[3:], reverse=True)


def test_the_median_and_the_last_candle_have_their_colours(tab, forecast):
    tab.open("forecast", result=forecast["id"])
    probes, pixels, colours = tab.probes(), tab.pixels(), tab.colours()
    line = near(pixels, probes["median-last"], 3)
    assert min(np.abs(line - colours["hue-1"]).max(axis=1)) < 40
    rose = FRAME["close"].iloc[-1] >= FRAME["open"].iloc[-1]
    body = near(pixels, probes["last-candle"], 2)
    assert min(np.abs(body - colours["up" if rose else "down"]).max(axis=1)) < 12


def test_below_twenty_paths_every_path_is_drawn_instead_of_bands(tab, api, stored):
    document = predict(api, stored, sample_count=5)
    tab.open("forecast", result=document["id"])
    probes = tab.probes()
    assert "median-last" in probes
    assert not [name for name in probes if name.startswith("band-")]
    assert "5 paths" in tab.text("[data-figures]")


# Replay --------------------------------------------------------------------


@pytest.mark.slow
def test_a_replay_is_scored_beside_the_baselines(tab, api, stored):
    tab.open_data(stored, mode="replay", windows=5, horizon=6)
    tab.run("replay")
    document = api.get(f"/api/results/{tab.result_id()}").json()
    scores = document["view"]["scores"]
    names = "rows => rows.map(row => row.dataset.contender)"
    assert tab.page.locator("[data-contender]").evaluate_all(names) == [row["name"] for row in scores["rows"]]
    assert {row["kind"] for row in scores["rows"]} >= {"raw", "baseline", "reference"}
    _, *rows = tab.rows("[data-replay] table")
    for shown, row in zip(rows, scores["rows"], strict=True):
        crps, scaled = shown[1].split()[:2]
        assert number(crps.rstrip("%")) == pytest.approx(100 * row["crps"], abs=5.1e-4)
        assert number(scaled) == pytest.approx(row["crps_scaled"], abs=5.1e-3)
        assert ("…" in shown[2]) is (row["skill_low"] is not None)
    assert "5 windows" in tab.text("[data-verdict]")
    actual = [number(row[-1]) for row in tab.rows("table[data-forecast]")[1:]]
    np.testing.assert_allclose(actual, FRAME["close"].iloc[-TINY["horizon"] :], atol=5e-3)


def test_what_happened_can_be_hidden_in_a_replay(tab, replay):
    tab.open("replay", result=replay["id"])
    assert tab.rows("table[data-forecast]")[0][-1] == "Actual close"
    shown = tab.probes()["last-candle"]
    tab.page.get_by_role("button", name="What happened").click()
    tab.page.wait_for_selector('table[data-forecast]:not(:has(th:text-is("Actual close")))', state="attached")
    assert tab.probes()["last-candle"][0] < shown[0], "the last candle is that of the history"


# Saved results -------------------------------------------------------------


@pytest.mark.slow
def test_a_result_reopens_by_its_address_in_another_browser(tab, new_tab, server, stored):
    tab.open_data(stored)
    tab.run()
    address, table = tab.page.url, tab.rows("table[data-forecast]")
    assert f"result={tab.result_id()}" in address
    second = new_tab(server.address)
    second.page.goto(address)
    second.wait("forecast")
    assert second.rows("table[data-forecast]") == table
    assert "band-80-shade" in second.probes()


def test_saved_results_are_listed_opened_and_deleted(tab, api, stored):
    saved = predict(api, stored, seed=99)["id"]
    tab.open("empty")
    entry = tab.page.locator(f'[data-saved-id="{saved}"]')
    entry.get_by_role("button", name="Open").click()
    tab.wait("forecast")
    assert tab.result_id() == saved
    entry.get_by_role("button", name="Delete").click()
    entry.get_by_role("button", name="Keep").click()
    entry.get_by_role("button", name="Delete").click()
    entry.get_by_role("button", name="Delete").click()
    entry.wait_for(state="detached")
    assert api.get(f"/api/results/{saved}").status_code == 404


def test_the_back_button_returns_to_the_result_before(tab, forecast, replay):
    tab.open("forecast", result=forecast["id"])
    tab.page.locator(f'[data-saved-id="{replay["id"]}"]').get_by_role("button", name="Open").click()
    tab.wait("replay")
    tab.page.go_back()
    tab.wait("forecast")
    assert tab.result_id() == forecast["id"]


def compare(tab, result):
    tab.page.locator(f'[data-saved-id="{result}"]').get_by_role("button", name="Compare").click()
    tab.page.wait_for_selector(f'[data-result="{result}"]')


@pytest.mark.slow
def test_results_are_compared_in_one_table_and_those_of_one_window_drawn_in_two_hues(
    tab, api, stored, forecast, replay
):
    other = predict(api, stored, seed=8)["id"]
    tab.open("forecast", result=forecast["id"])
    compare(tab, other)
    probes, pixels, colours = tab.probes(), tab.pixels(), tab.colours()
    for name, hue in (("median-last", "hue-1"), (f"{other}/median-last", "hue-2")):
        assert min(np.abs(near(pixels, probes[name], 3) - colours[hue]).max(axis=1)) < 60
    compare(tab, replay["id"])
    assert f"{replay['id']}/median-last" not in tab.probes(), "of another window"
    tab.page.wait_for_selector("[data-compare] tbody tr:nth-child(3)")
    _, *rows = tab.rows("[data-compare] table")
    origins = [f"{FRAME.index[place]:%Y-%m-%d %H:%M}" for place in (-1, -1, -13)]
    assert [row[1] for row in rows] == origins
    assert f"{forecast['id']},{other},{replay['id']}" in tab.page.url


# Exports -------------------------------------------------------------------


def download(tab, kind):
    tab.page.get_by_role("button", name="Export").click()
    with tab.page.expect_download() as waiting:
        tab.page.locator(f'[data-exports] [data-format="{kind}"]').click()
    name = waiting.value.suggested_filename
    return name, waiting.value.path().read_bytes()


@pytest.mark.slow
def test_exports_of_each_kind_can_be_read(tab, api, forecast, tmp_path):
    tab.open("forecast", result=forecast["id"])
    wanted = forecast["forecast"]["close_quantiles"]
    files = {kind: download(tab, kind) for kind in ("shown", "png", "csv", "parquet", "json", "npz")}
    suffixes = ("png", "csv", "parquet", "json", "npz")
    assert {name for name, _ in files.values()} == {f"btc_1h_2025-03-10_2300.{suffix}" for suffix in suffixes}
    tables = pd.read_csv(io.BytesIO(files["csv"][1])), pd.read_parquet(io.BytesIO(files["parquet"][1]))
    for table in tables:
        assert len(table) == TINY["horizon"]
        column = next(name for name in table.columns if "median" in name or name.endswith("0.5"))
        assert np.isfinite(table[column]).all()
    assert json.loads(files["json"][1]) == api.get(f"/api/results/{forecast['id']}").json()
    target = tmp_path / "paths.npz"
    target.write_bytes(files["npz"][1])
    paths = Forecast.load(target)
    assert (paths.samples, paths.horizon) == (TINY["samples"], TINY["horizon"])
    np.testing.assert_allclose(paths.quantiles([0.9]).iloc[:, 0], wanted["0.9"], rtol=1e-6)
    for kind in ("shown", "png"):
        picture = Image.open(io.BytesIO(files[kind][1]))
        assert picture.format == "PNG"
        assert min(picture.size) > 200
    pixels = np.asarray(Image.open(io.BytesIO(files["shown"][1])).convert("RGB")).reshape(-1, 3)
    hue = rgb(PALETTES["palettes"]["green-up"]["dark"]["hue-1"])
    assert (np.abs(pixels - hue).max(axis=1) < 12).sum() > 50, "the picture shows the forecast"


def test_the_curl_command_repeats_the_forecast(tab, api, forecast):
    tab.open("forecast", result=forecast["id"])
    tab.page.get_by_label("curl").check()
    words = shlex.split(tab.text("[data-code] pre").replace("\\\n", " "))
    address = next(word for word in words if word.startswith("http"))
    body = words[max(place for place, word in enumerate(words) if word in ("-d", "--data", "--json")) + 1]
    again = api.post(address, json=json.loads(body)).json()
    assert again["forecast"]["close_quantiles"] == forecast["forecast"]["close_quantiles"]


# Probability questions -----------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("event", ["above", "below", "touch", "between"])
def test_a_probability_question_is_answered_as_by_the_api(tab, api, forecast, event):
    tab.open("forecast", result=forecast["id"])
    panel = tab.page.locator("[data-probability]")
    panel.get_by_label("Question").select_option(event)
    low, high = (round(forecast["forecast"]["close_quantiles"][name][3], 2) for name in ("0.25", "0.75"))
    if event == "between":
        panel.get_by_label("Lower level").fill(str(low))
        panel.get_by_label("Upper level").fill(str(high))
    else:
        panel.get_by_label("Level", exact=True).fill(str(high))
    panel.get_by_label("step (1–6)").fill("4")
    question = {"event": event, "price": low if event == "between" else high, "step": 4}
    if event == "between":
        question["upper"] = high
    answer = api.get(f"/api/results/{forecast['id']}/probability", params=question).json()
    text = f"{answer['count']} of {answer['paths']} paths"
    panel.locator(f'[data-probability-value="{answer["value"]}"]').wait_for()
    assert text in panel.locator(".answer").inner_text()

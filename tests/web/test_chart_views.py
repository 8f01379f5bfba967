"""The chart by hand: longer intervals, the edges of the window, the start of a replay, a vector picture."""

from __future__ import annotations

import io
import re
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from serve.recordings import recorded
from web.workbench import PALETTES, TINY, number, small_request

FRAME = recorded("BTC", 240).frame
SVG = "{http://www.w3.org/2000/svg}"
DOUBLE_CLICK = 500  # milliseconds in which the chart takes a second click for one
ENGLISH = re.compile(r"open ([\d.,]+), high ([\d.,]+), low ([\d.,]+), close ([\d.,]+), .* volume ([\d.,]*\d)")


@pytest.fixture(scope="module")
def path(server):
    with server.client() as client:
        answer = client.post("/api/uploads", files={"file": ("btc.csv", FRAME.to_csv().encode())})
        assert answer.status_code == 201, answer.text
        return answer.json()["file_path"]


@pytest.fixture(scope="module")
def result(server, path):
    with server.client() as client:
        answer = client.post("/api/predict", json=small_request(path))
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]


def query(tab):
    return {name: values[0] for name, values in parse_qs(urlsplit(tab.page.url).query).items()}


def origin(tab):
    return tab.page.locator("[data-origin]").input_value()


def edge(tab, name):
    return tab.page.locator(f'[data-edge="{name}"]')


def middle(element):
    box = element.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def click(chart, x):
    chart.click(position={"x": x, "y": 200})
    chart.page.wait_for_timeout(DOUBLE_CLICK)


def drag(tab, element, distance):
    x, y = middle(element)
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    for part in (0.5, 1):
        tab.page.mouse.move(x + part * distance, y)
    tab.page.mouse.up()


# Longer intervals ----------------------------------------------------------


def test_longer_candles_have_the_first_open_the_extremes_and_the_last_close(tab, path):
    tab.open_data(path, shown="4h")
    tab.wait_drawn()
    chart = tab.page.locator('[data-chart] [role="application"]')
    chart.focus()
    chart.press("End")
    tab.page.wait_for_selector("[data-chart] [aria-live]:has-text('close')", state="attached")
    last = FRAME.tail(4)
    found = [number(text) for text in ENGLISH.search(tab.spoken()).groups()]
    wanted = [last["open"].iloc[0], last["high"].max(), last["low"].min(), last["close"].iloc[-1]]
    np.testing.assert_allclose(found[:4], wanted, atol=5e-3)
    assert str(last.index[0])[:16] in tab.spoken()
    assert "· 4h" in tab.text(".legend-title")


def test_the_interval_is_chosen_by_key_and_stays_in_the_address(tab, path):
    tab.open_data(path)
    tab.wait_drawn()
    names = [label.inner_text() for label in tab.page.locator(".toolbar .segmented label").all()]
    assert names == ["1h", "4h", "1d", "1w"]
    assert tab.page.locator('.toolbar input[value="1w"]').is_disabled(), "ten days make no chart of weeks"
    tab.page.keyboard.press("t")
    tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_url("**shown=4h**")
    tab.page.reload()
    tab.wait("data")
    assert tab.page.locator('.toolbar input[value="4h"]').is_checked()


def test_at_a_longer_interval_the_page_says_where_the_bands_are(tab, result):
    tab.open("forecast", result=result)
    assert "band-80-shade" in tab.probes()
    tab.page.get_by_label("4h", exact=True).check()
    tab.page.wait_for_selector("[data-resampled]")
    assert "1h only" in tab.text("[data-resampled]")
    assert "band-80-shade" not in tab.probes()
    tab.page.get_by_label("1h", exact=True).check()
    tab.page.wait_for_selector("[data-resampled]", state="detached")
    assert "band-80-shade" in tab.probes()
    assert "shown" not in query(tab)


# The window ----------------------------------------------------------------


def test_edges_of_the_window_move_by_key(tab, path):
    tab.open_data(path, mode="replay")
    start = FRAME.index[-1 - TINY["horizon"]]
    assert origin(tab) == str(start)[:16]
    for key, hours in (("ArrowLeft", -1), ("Shift+ArrowLeft", -11), ("PageUp", -1), ("ArrowUp", 0)):
        edge(tab, "last").press(key)
        assert edge(tab, "last").get_attribute("aria-valuetext") == str(start + np.timedelta64(hours, "h"))[:16], key
    edge(tab, "first").press("ArrowRight")
    edge(tab, "end").press("ArrowRight")
    assert {name: query(tab)[name] for name in ("lookback", "horizon")} == {"lookback": "63", "horizon": "7"}
    edge(tab, "end").press("Home")
    assert query(tab)["horizon"] == "1"


@pytest.mark.slow
def test_edges_of_the_window_are_dragged_with_the_mouse(tab, path):
    strip = tab.page.locator("[data-strip]")
    candles = 1.5 * TINY["lookback"] + 1 + 2 * TINY["horizon"] - 1  # what the strip covers
    for name, field, sign in (("first", "lookback", -1), ("end", "horizon", 1)):
        tab.open_data(path, mode="replay")
        strip.scroll_into_view_if_needed()
        width = strip.bounding_box()["width"]
        drag(tab, edge(tab, name), 20)
        moved = (int(query(tab)[field]) - TINY[field]) * sign
        assert moved == pytest.approx(20 / width * candles, abs=1.5), name
    before = origin(tab)
    drag(tab, tab.page.locator(".strip-history"), -20)
    assert origin(tab) < before, "the window itself is dragged, too"


@pytest.mark.slow
def test_the_start_is_dragged_with_a_finger_and_nothing_scrolls(new_tab, server, path):
    tab = new_tab(server.address, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    tab.open_data(path, mode="replay")
    tab.page.locator("[data-strip]").evaluate("strip => strip.scrollIntoView({ block: 'center' })")
    before, scrolled = origin(tab), tab.page.evaluate("scrollY")
    x, y = middle(edge(tab, "last"))
    touch = tab.page.context.new_cdp_session(tab.page)
    for kind, shift in (("touchStart", 0), ("touchMove", -20), ("touchMove", -60), ("touchEnd", None)):
        points = [] if shift is None else [{"x": x + shift, "y": y}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    tab.page.wait_for_function("before => document.querySelector('[data-origin]').value < before", arg=before)
    assert tab.page.evaluate("scrollY") == scrolled


@pytest.mark.slow
def test_a_click_on_the_chart_moves_the_start_only_when_that_is_asked_for(tab, path):
    tab.open_data(path, mode="replay")
    before = origin(tab)
    chart = tab.page.locator("[data-chart]")
    button = tab.page.get_by_role("button", name="Set start")
    tab.wait_drawn()
    click(chart, 120)
    assert origin(tab) == before
    button.click()
    tab.page.keyboard.press("Escape")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert "Click the last candle" in tab.text(".legend")
    click(chart, 200)
    assert button.get_attribute("aria-pressed") == "false"
    clicked = origin(tab)
    assert clicked < before
    click(chart, 300)
    assert origin(tab) == clicked
    keys = chart.locator('[role="application"]')
    for key in ("ArrowLeft", "ArrowLeft", "Enter"):
        keys.press(key)
    assert origin(tab) != clicked, "Enter on a candle needs no button"


# The vector picture --------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "theme", "palette"), [("en", "dark", "green-up"), ("zh", "light", "colour-blind")]
)
def test_the_vector_picture_has_bands_candles_and_texts_and_no_bitmap(tab, result, language, theme, palette):
    tab.open("forecast", result=result, lang=language, theme=theme, palette=palette)
    tab.wait_drawn()
    tab.page.locator(".toolbar .menu > button").click()
    with tab.page.expect_download() as waiting:
        tab.page.locator('[data-format="shown-svg"]').click()
    assert re.fullmatch(r"btc_1h_2025-03-10_2300\w*\.svg", waiting.value.suggested_filename)
    content = waiting.value.path().read_text("utf-8")
    root = ElementTree.fromstring(content)
    colours = PALETTES["themes"][theme] | PALETTES["palettes"][palette][theme]
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "title", "rect", "path", "text"}
    filled = [element.get("fill") for element in root.iter(f"{SVG}path")]
    assert filled.count(colours["hue-1"]) >= 3, "three bands"
    assert {colours["up"], colours["down"]} <= {e.get("fill") for e in root.iter()} | {
        e.get("stroke") for e in root.iter()
    }
    dashed = [e for e in root.iter(f"{SVG}path") if e.get("stroke") == colours["hue-1"] and e.get("stroke-dasharray")]
    assert dashed, "the median"
    texts = {element.text for element in root.iter(f"{SVG}text")}
    assert {"95%", "80%", "50%", "UTC"} <= texts
    words = {
        "en": ("Forecast from", "bands 50, 80 and 95%", "not investment advice"),
        "zh": ("预测起点", "预测区间", "投资建议"),
    }
    for word in (*words[language], str(FRAME.index[-1])[:16], "TradingView Lightweight Charts™"):
        assert any(word in text for text in texts), word
    pixels = rendered(tab, content)
    assert np.abs(pixels - pixels[2, 2]).max(axis=2).mean() > 1, "a browser draws it"


def rendered(tab, content):
    """The picture as this browser draws it."""
    page = tab.page.context.new_page()
    page.set_content(content)
    picture = page.locator("svg").first.screenshot()
    page.close()
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), dtype=float)

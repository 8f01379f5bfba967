"""The workbench for everyone: keyboard, screen reader, Chinese, palettes, themes, small screens, strict policy."""

from __future__ import annotations

import re

import numpy as np
import pytest

from serve.recordings import recorded
from web.workbench import near, number, rgb, small_request

FRAME = recorded("BTC", 240).frame
MOST_STOPS = 90
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def path(server):
    """A file of the server."""
    with server.client() as client:
        stored = client.post("/api/uploads", files={"file": ("btc.csv", FRAME.to_csv().encode())})
        return stored.json()["file_path"]


@pytest.fixture(scope="module")
def results(server, path):
    """Identifiers of a forecast and of a scored replay."""
    bodies = [small_request(path), small_request(path, as_of=FRAME.index[-13].isoformat(), windows=3)]
    with server.client() as client:
        return [client.post("/api/predict", json=body).json()["id"] for body in bodies]


def tab_to(tab, selector):
    """Press Tab until an element has the focus; every stop on the way has to be visible."""
    for _ in range(MOST_STOPS):
        tab.page.keyboard.press("Tab")
        stop = tab.page.evaluate(
            """selector => {
              const { activeElement: element } = document;
              const { width, height } = element.getBoundingClientRect();
              const shown = width > 0 && height > 0;
              return { found: element.matches(selector), shown, html: element.outerHTML.slice(0, 200) };
            }""",
            selector,
        )
        assert stop["shown"], stop["html"]
        if stop["found"]:
            return
    pytest.fail(f"{selector} cannot be reached with Tab")


# Keyboard and screen reader -------------------------------------------------


@pytest.mark.slow
def test_a_scored_replay_needs_no_mouse(tab):
    tab.open("empty")
    keys = tab.page.keyboard
    with tab.page.expect_file_chooser() as chooser:  # around all: the browser is told a moment after
        tab_to(tab, '[data-step="data"] .drop button')
        keys.press("Enter")
    chooser.value.set_files({"name": "btc.csv", "mimeType": "text/csv", "buffer": FRAME.to_csv().encode()})
    tab.wait("data")
    tab_to(tab, '[data-step="forecast"] input[type="radio"]')
    keys.press("ArrowRight")
    tab.page.wait_for_selector("[data-window-end]")
    for value in ("64", "6"):
        tab_to(tab, '[data-step="forecast"] input[type="number"]')
        keys.press("ControlOrMeta+A")
        keys.type(value)
    tab_to(tab, "[data-window-end]")
    end = tab.page.locator("[data-window-end]").get_attribute("data-window-end")
    for _ in range(3):
        keys.press("ArrowLeft")
    assert int(tab.page.locator("[data-window-end]").get_attribute("data-window-end")) == int(end) - 3
    tab_to(tab, "details.sampling summary")
    keys.press("Enter")
    tab_to(tab, "details.sampling input")
    keys.press("ControlOrMeta+A")
    keys.type("20")
    tab_to(tab, "[data-run]")
    keys.press("Enter")
    tab.wait("replay")
    assert "windows" in tab.text("[data-verdict]")
    assert len(tab.quantiles()) == 6
    tab_to(tab, '[data-chart] [role="application"]')
    keys.press("End")
    tab.page.wait_for_selector("[data-chart] [aria-live]:has-text('forecast by')", state="attached")


@pytest.mark.slow
def test_control_enter_runs_the_forecast_and_a_question_mark_opens_the_help(tab, path):
    tab.open_data(path)
    tab.page.keyboard.press("?")
    tab.page.wait_for_selector("dialog[open]")
    tab.page.keyboard.press("Escape")
    tab.page.wait_for_selector("dialog[open]", state="detached")
    tab.page.keyboard.press("Control+Enter")
    tab.wait("forecast")


def test_the_first_stop_skips_to_the_chart(tab, results):
    tab.open("forecast", result=results[0])
    tab_to(tab, "a.skip")
    tab.page.keyboard.press("Enter")
    tab_to(tab, "main *")


@pytest.mark.slow
def test_the_chart_speaks_candles_and_bands(tab, results):
    tab.open("forecast", result=results[0])
    chart = tab.page.get_by_role("application")
    chart.focus()
    assert "Left and right arrows" in tab.page.locator(f"#{chart.get_attribute('aria-describedby')}").text_content()
    spoken = "[data-chart] [aria-live]"
    tab.page.keyboard.press("ArrowLeft")
    tab.page.wait_for_selector(f"{spoken}:has-text('close')", state="attached")
    last = FRAME.iloc[-1]
    numbers = dict(re.findall(r"(open|high|low|close) ([\d.,]+\d)", tab.spoken()))
    assert {name: number(value) for name, value in numbers.items()} == {
        name: pytest.approx(last[name], abs=5e-3) for name in ("open", "high", "low", "close")
    }
    tab.page.keyboard.press("End")
    tab.page.wait_for_selector(f"{spoken}:has-text('forecast by')", state="attached")
    final = tab.quantiles()[-1]
    median = re.search(r"median ([\d.,]+\d)", tab.spoken())
    assert number(median[1]) == pytest.approx(final[3])
    bands = re.findall(r"(\d+)% between ([\d.,]+\d) and ([\d.,]+\d)", tab.spoken())
    assert [(level, number(low), number(high)) for level, low, high in bands] == [
        ("50", final[2], final[4]), ("80", final[1], final[5]), ("95", final[0], final[6]),
    ]  # fmt: skip
    tab.page.wait_for_selector("[data-legend] >> text=97.5%")


def test_the_keys_move_by_one_by_ten_and_to_the_ends(tab, path):
    tab.open_data(path)
    tab.wait_drawn()
    tab.page.get_by_role("application").focus()
    for key, position in (
        ("ArrowRight", -1),
        ("ArrowLeft", -2),
        ("PageUp", -12),
        ("PageDown", -2),
        ("Home", 0),
        ("End", -1),
    ):
        tab.page.keyboard.press(key)
        tab.page.wait_for_selector(f"[data-legend] >> text={FRAME.index[position]:%Y-%m-%d %H:%M}")
    tab.page.keyboard.press("+")
    tab.page.keyboard.press("Escape")


# Languages, palettes, themes ------------------------------------------------


@pytest.mark.slow
def test_a_chinese_browser_gets_a_chinese_page_with_red_for_rising(new_tab, server, results):
    tab = new_tab(server.address, locale="zh-CN")
    tab.open("replay", result=results[1])
    root = tab.page.locator("html")
    assert (root.get_attribute("lang"), root.get_attribute("data-palette")) == ("zh-CN", "red-up")
    body = tab.text("body")
    assert "预测区间" in body
    assert not re.search("置信区间|蜡烛", body)
    assert tab.page.title() == "Kronos 工作台"
    assert tab.page.get_by_role("application").get_attribute("aria-label")
    colours, probes, pixels = tab.colours(), tab.probes(), tab.pixels()
    candle = FRAME.iloc[-7]  # the last of what happened
    wanted = colours["up" if candle["close"] >= candle["open"] else "down"]
    assert min(np.abs(near(pixels, probes["last-candle"], 2) - wanted).max(axis=1)) < 12
    red, green = rgb("#ef5350"), rgb("#26a69a")
    np.testing.assert_array_equal((colours["up"], colours["down"]), (red, green))


@pytest.mark.slow
def test_chinese_volumes_count_in_ten_thousands_and_hundred_millions(tab, server):
    frame = FRAME.assign(volume=np.where(np.arange(len(FRAME)) % 2, 2.5e8, 3.25e4))
    with server.client() as client:
        stored = client.post("/api/uploads", files={"file": ("btc.csv", frame.to_csv().encode())}).json()
    tab.open_data(stored["file_path"], lang="zh")
    volumes = {row[-1] for row in tab.rows("table[data-history]")[1:]}
    assert volumes == {"2.5亿", "3.25万"}


@pytest.mark.slow
def test_language_palette_and_theme_are_remembered(tab, path):
    tab.open_data(path)
    tab.choose_language("zh")
    assert tab.page.locator("html").get_attribute("data-palette") == "red-up", "follows the language until chosen"
    tab.choose_language("en")
    tab.page.get_by_role("button", name="Settings").click()
    settings = tab.page.locator("[data-settings]")
    settings.get_by_label("Candle colours").select_option("colour-blind")
    settings.get_by_label("Theme").select_option("light")
    settings.get_by_label("Language").select_option("zh")
    tab.page.wait_for_selector('html[lang="zh-CN"][data-theme="light"][data-palette="colour-blind"]', state="attached")
    tab.open("empty")
    tab.page.wait_for_selector('html[lang="zh-CN"][data-theme="light"][data-palette="colour-blind"]', state="attached")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_chart_takes_the_theme_of_the_system(tab, results, theme):
    tab.page.emulate_media(color_scheme=theme)
    tab.open("forecast", result=results[0])
    tab.page.wait_for_selector(f'html[data-theme="{theme}"]', state="attached")
    ground = tab.colours()["ground"]
    pixels = tab.pixels().reshape(-1, 3)
    assert (np.abs(pixels - ground).max(axis=1) < 3).mean() > 0.4


# Small screens, policy ------------------------------------------------------


def overflow(tab):
    """What is wider than the screen; tables scroll in boxes of their own."""
    return tab.page.evaluate(
        """() => {
          const root = document.documentElement;
          if (root.scrollWidth <= root.clientWidth) return [];
          return [...document.querySelectorAll("body *")]
            .filter((element) => element.getBoundingClientRect().right > root.clientWidth + 1)
            .map((element) => element.outerHTML.slice(0, 120));
        }"""
    )


@pytest.mark.slow
def test_a_phone_shows_steps_one_after_another_and_nothing_scrolls_sideways(new_tab, server, path, results):
    tab = new_tab(server.address, viewport=PHONE, has_touch=True, is_mobile=True)
    tab.open("empty")
    tab.page.get_by_role("button", name="Try the sample").tap()
    tab.wait("data")
    step = tab.page.locator('[data-step="data"] .step-button')
    assert step.get_attribute("aria-expanded") == "false", "folded, with a summary"
    assert "1h" in step.inner_text()
    assert tab.page.locator("[data-run]").is_visible()
    for language in ("en", "zh"):
        tab.open_data(path, lang=language)
        assert overflow(tab) == []
        tab.open("replay", result=",".join(reversed(results)), lang=language)
        tab.page.wait_for_selector("[data-compare]")
        assert overflow(tab) == []
    chart = tab.page.locator("[data-chart]").bounding_box()
    assert chart["width"] > 300
    assert chart["height"] > 200
    assert "band-80-shade" in tab.probes()
    tab.check_accessibility()


def test_the_policy_forbids_scripts_within_the_page_and_the_tests_notice(tab):
    tab.expect("script-src", "Content Security Policy")
    tab.open("empty")
    tab.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), { text: 'window.ran = 1' }))"
    )
    assert tab.page.evaluate("window.ran") is None
    tab.expected.clear()
    assert any("script-src" in problem for problem in tab.problems())
    tab.expect("script-src", "Content Security Policy")

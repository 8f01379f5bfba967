"""The live page in a real Chromium: its age, its looks, its languages, and that simulated cannot be overlooked."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from live.sites import make_site, run_server
from web import workbench

MADE = "2026-03-08T02:00:07Z"
FRESH = "2026-03-08T02:30:00Z"


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """A site of two series, and a simulated one."""
    real, other = (make_site(tmp_path_factory.mktemp(name), symbol=name) for name in ("BTCUSDT", "ETHUSDT"))
    real.write(other)
    simulated = make_site(tmp_path_factory.mktemp("simulated"), simulated=True)
    simulated.write()
    return {"real": real, "other": other, "simulated": simulated}


@pytest.fixture(scope="module")
def addresses(sites):
    with run_server(sites["real"].config) as real, run_server(sites["simulated"].config) as simulated:
        yield {"real": real, "simulated": simulated}


@pytest.fixture
def open_page(new_tab, addresses):
    """Open a page of a site at a time."""

    def open_at(path="/", *, site="real", time=FRESH, address=None, **options):
        tab = new_tab(addresses[site] if address is None else address, **options)
        if time is not None:
            tab.page.clock.install(time=time)
        tab.page.goto(tab.address + path)
        return tab

    return open_at


def freshness(tab):
    return tab.page.evaluate("document.documentElement.dataset.freshness")


def check_accessibility(tab, scheme):
    tab.page.clock.resume()  # axe waits by timers
    workbench.check_looks(tab.page, scheme)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "scheme"), [("/", "dark"), ("/index.zh.html", "light")])
@pytest.mark.parametrize("site", ["real", "simulated"])
def test_a_page_reports_no_fault_of_accessibility(open_page, path, scheme, site):
    tab = open_page(path, site=site)
    for details in tab.page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    check_accessibility(tab, scheme)


@pytest.mark.slow
def test_late_stale_and_archive_report_no_fault_of_accessibility(open_page):
    late, stale = "2026-03-08T04:00:00Z", "2026-03-09T04:00:00Z"
    for path, time, scheme in (("/", late, "dark"), ("/", stale, "light"), ("/archive/2026-03.html", FRESH, "dark")):
        check_accessibility(open_page(path, time=time), scheme)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", "/index.zh.html", "/archive/2026-03.html"])
def test_nothing_is_wider_than_a_phone(open_page, path):
    tab = open_page(path, viewport={"width": 360, "height": 740})
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 360
    if "archive" not in path:
        assert tab.page.locator(".chart.narrow").is_visible()
        assert not tab.page.locator(".chart.wide").is_visible()
    small = "all => all.filter(e => e.offsetHeight && e.offsetHeight < 24).map(e => e.outerHTML)"
    assert tab.page.locator("button, .tools a, .months a, summary").evaluate_all(small) == []


# Age ------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_turns_late_and_stale_with_the_clock(open_page):
    tab = open_page()
    assert freshness(tab) == "fresh"
    assert tab.text("#state") == "Up to date."
    assert (tab.text("#countdown"), tab.text("#age")) == ("30:00", "30 minutes ago")
    tab.page.clock.fast_forward("01:01:00")
    assert freshness(tab) == "late"
    assert tab.text("#state").startswith("Late:")
    assert (tab.text("#countdown"), tab.text("#age")) == ("due", "91 minutes ago")
    greyed = "getComputedStyle(document.querySelector('[data-forecast]')).filter"
    assert tab.page.evaluate(greyed) == "none"
    tab.page.clock.fast_forward("01:30:00")
    assert freshness(tab) == "stale"
    assert tab.text("#state").startswith("Stale:")
    assert tab.text("#age") == "3 hours ago"
    assert tab.page.evaluate(greyed) == "grayscale(1)"


@pytest.mark.slow
def test_age_is_said_in_chinese_too(open_page):
    tab = open_page("/index.zh.html", time="2026-03-08T08:00:00Z")
    assert tab.text("#state").startswith("过期")
    assert tab.text("#age") == "6小时前"


@pytest.mark.slow
def test_a_newer_forecast_is_loaded_by_itself(open_page, sites):
    tab = open_page()
    real = sites["real"]
    entry = replace(real.result.entry, origin="2026-03-08T03:00:00.000000Z", made_at="2026-03-08T03:00:09.000000Z")
    later = pd.Timestamp(entry.origin)
    newer = replace(real, result=replace(real.result, entry=entry, origin=later), now=later)
    newer.write(sites["other"])
    try:
        with tab.page.expect_navigation():
            tab.page.clock.fast_forward("00:01:01")
        assert tab.page.locator("#freshness").get_attribute("data-as-of") == entry.origin
    finally:
        real.write(sites["other"])


@pytest.mark.slow
def test_a_replay_is_never_stale(open_page, tmp_path):
    site = make_site(tmp_path)
    entry = replace(site.result.entry, source="replay")
    replace(site, result=replace(site.result, entry=entry)).write()
    with run_server(site.config) as address:
        tab = open_page(time="2028-01-01T00:00:00Z", address=address)
        assert freshness(tab) is None
        assert tab.text("#state").startswith("Replay:")
        assert tab.text("[data-number=age] .value") == "2026-03-08 02:00"
        assert tab.text("[data-number=next] .value") == "03:00 UTC"


# Simulated ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("path", "word"), [("/", "SIMULATED"), ("/index.zh.html", "模拟数据")])
@pytest.mark.parametrize("width", [1280, 360])
def test_simulated_cannot_be_overlooked(open_page, path, word, width):
    tab = open_page(path, site="simulated", viewport={"width": width, "height": 740})
    assert word in tab.page.title()
    banner = tab.page.locator("[data-simulated]")
    assert word in banner.inner_text()
    box = banner.bounding_box()
    assert box["y"] + box["height"] < 400  # without scrolling
    assert tab.page.locator(f".chart:visible text:text-is('{word}')").count() == 2


def test_a_real_page_does_not_cry_wolf(open_page):
    tab = open_page()
    assert "SIMULATED" not in tab.page.title() + tab.text("body")


# Looks ----------------------------------------------------------------------


@pytest.mark.slow
def test_the_theme_is_toggled_by_keyboard_and_remembered(open_page):
    tab = open_page(color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = tab.page.evaluate(ground)
    tab.page.locator("#theme").focus()
    tab.page.keyboard.press("Enter")
    dark = tab.page.evaluate(ground)
    assert light != dark
    tab.page.reload()
    assert tab.page.evaluate(ground) == dark
    assert tab.page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.slow
def test_the_first_tab_stop_skips_to_the_forecast(open_page):
    tab = open_page()
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.getAttribute('href')") == "#main"
    assert tab.page.locator(".skip").bounding_box()["x"] >= 0


@pytest.mark.slow
def test_languages_are_one_click_apart(open_page):
    tab = open_page()
    tab.page.get_by_role("link", name="中文").click()
    assert tab.page.locator("html").get_attribute("lang") == "zh-Hans"
    tab.page.get_by_role("link", name="English").click()
    assert tab.page.locator("html").get_attribute("lang") == "en"


@pytest.mark.slow
def test_series_are_one_click_apart(open_page):
    tab = open_page()
    tab.page.get_by_role("navigation", name="Series").get_by_role("link", name="ETHUSDT 1h").click()
    assert "ETHUSDT" in tab.text("h1")
    assert freshness(tab) == "fresh"


@pytest.mark.slow
def test_print_is_light_and_without_controls(open_page):
    tab = open_page(color_scheme="dark")
    tab.page.emulate_media(media="print")
    assert not tab.page.locator("#theme").is_visible()
    assert tab.page.evaluate("getComputedStyle(document.body).color") == "rgb(19, 23, 34)"


# Without a server, without a script -----------------------------------------


@pytest.mark.parametrize("path", ["/index.html", "/index.zh.html", "/archive/2026-03.html"])
def test_a_page_opened_from_disk_works(open_page, sites, path):
    folder = sites["real"].folder
    tab = open_page(path, address=folder.as_uri(), color_scheme="dark")
    assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(12, 15, 23)"
    assert tab.page.locator("#theme").is_visible()
    if "archive" not in path:
        assert freshness(tab) == "fresh"
        tab.page.clock.fast_forward("00:05:00")


def test_without_javascript_the_page_says_when_it_was_made(open_page):
    tab = open_page(time=None, java_script_enabled=False)
    made = tab.page.locator("#freshness").text_content()
    assert "Made 2026-03-08 02:00 UTC" in made
    assert tab.page.locator(".chart.wide").is_visible()
    assert tab.page.locator("noscript").first.is_visible()
    assert not tab.page.locator("#theme").is_visible()

"""The demo page: forecasts of dropped files in the browser, equal to Python's, without a server or a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import kronos
from kronos.calibration import Calibration, calibrate_forecast
from kronos.cli.forecast.run import read_sample
from kronos.forecasts import Forecast, Probability
from random_walks import random_walk
from web.conftest import PROFILE
from web.demo_tab import PREFIX, DemoPage, damaged_copy, static_host

pytestmark = pytest.mark.slow

HORIZON, SAMPLES, SEED = 24, 30, 1
TOLERANCE = 1e-4  # of the price: float32 leaves about 1e-6, another token far more
PRICES = slice(0, 4)
PHONE = {"width": 360, "height": 740}
MOST_STOPS = 40


@dataclass(frozen=True)
class Case:
    """A dropped file, and the calendar that it needs."""

    name: str
    content: bytes
    calendar: str | None = None


def walk(name: str, seed: int, index: pd.DatetimeIndex, *, volume: bool = True) -> Case:
    frame = random_walk(seed, index).round(4)
    if not volume:
        frame = frame.drop(columns="volume")
    return Case(name, frame.to_csv(index_label="timestamps").encode())


def cases(shared: Path) -> list[Case]:
    """Three odd files, and simulated ones of several intervals and markets."""
    odd = [("polygon_t.csv", None), ("headers_jp.csv", None), ("us_130m.csv", "inferred")]
    return [
        *(Case(name, (shared / "cases/files" / name).read_bytes(), calendar) for name, calendar in odd),
        walk("crypto_1h.csv", 1, pd.date_range("2024-01-01", periods=400, freq="h", tz="UTC")),
        walk("crypto_5m.csv", 2, pd.date_range("2024-03-01", periods=300, freq="5min")),
        walk("crypto_4h.csv", 3, pd.date_range("2023-05-01", periods=500, freq="4h", tz="Etc/GMT-8")),
        walk("crypto_1d.csv", 4, pd.date_range("2023-01-01", periods=260, freq="D")),
        walk("fx_1d.csv", 5, pd.bdate_range("2022-01-03", periods=600), volume=False),
        walk("weekly.csv", 6, pd.date_range("2015-01-05", periods=300, freq="W-MON")),
        walk("short_15m.csv", 7, pd.date_range("2024-01-01", periods=40, freq="15min")),
    ]


@pytest.fixture(scope="module")
def host(demo_site: Path) -> Iterator[str]:
    with static_host(demo_site) as address:
        yield address


@pytest.fixture(scope="module")
def shared_demo(browser: Any, host: str) -> DemoPage:
    """One tab for most tests: each new one has to load the model."""
    demo = DemoPage(browser.new_context(**PROFILE), host)
    demo.open()
    return demo


@pytest.fixture
def demo(shared_demo: DemoPage) -> Iterator[DemoPage]:
    yield shared_demo
    assert shared_demo.problems() == []


@pytest.fixture(scope="module")
def engines(demo_site: Path) -> tuple[Any, kronos.KronosPredictor, Calibration]:
    """The page's own export in Python, the predictor, and the calibration that ships with the page."""
    from kronos.onnx import OnnxForecaster

    model = demo_site / PREFIX / "model"
    predictor = kronos.KronosPredictor.from_pretrained("kronos-nano", device="cpu")
    return OnnxForecaster(model), predictor, Calibration.load(model / "calibration.json")


def equal_paths(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Which paths have the same prices [S]."""
    assert ours.shape == theirs.shape
    distance = np.abs(ours[..., PRICES] / theirs[..., PRICES] - 1)
    return (distance < TOLERANCE).all(axis=(1, 2))


# The numbers ---------------------------------------------------------------------------------


def test_ten_dropped_files_have_the_paths_of_python(demo, engines, shared, tmp_path):
    forecaster, predictor, calibration = engines
    onnx = torch = 0
    for case in cases(shared):
        demo.drop(case.name, case.content, "error" if case.calendar else "forecast")
        if case.calendar:
            demo.page.get_by_label("Trading calendar").select_option(case.calendar)
            demo.wait("forecast")
        times, paths = demo.paths()
        assert paths.shape == (SAMPLES, HORIZON, 6), case.name

        (tmp_path / case.name).write_bytes(case.content)
        candles = kronos.read_candles(tmp_path / case.name, calendar=case.calendar)
        # The page names a series as the command does: by its file, where that states no name.
        candles = replace(candles, symbol=candles.symbol or case.name.removesuffix(".csv"))
        exported = forecaster.forecast(candles, HORIZON, samples=SAMPLES, seed=SEED)
        decoded = predictor.forecast(candles, HORIZON, samples=SAMPLES, seed=SEED, calibration=False)
        assert list(times) == list(exported.timestamps), case.name
        onnx += count_others(demo, paths, exported, calibration)
        torch += count_others(demo, paths, decoded, calibration)
    # Of 300 paths. Two more than none: processors round differently, and docs/demo-page.md has the share of many paths.
    assert onnx <= 2
    assert torch <= 2


def count_others(demo: DemoPage, paths: np.ndarray, raw: Forecast, calibration: Calibration) -> int:
    """Count the raw paths of the page that differ from Python's; without any, the calibrated ones must not either.

    A random number near the border of two tokens may draw the other one, and from there on its path is another. The
    calibration then moves all paths of the file by other quantiles, so the raw ones have to be compared.
    """
    if equal_paths(paths, calibrate_forecast(raw, calibration).paths).all():
        return 0
    demo.choose_bands("raw")
    others = int((~equal_paths(demo.paths()[1], raw.paths)).sum())
    demo.choose_bands("calibrated")
    assert others, "The same raw paths were calibrated differently."
    return others


def test_the_sample_is_marked_as_simulated_and_repeated_by_the_command(demo, engines):
    demo.sample()
    for place in ("header", "[data-legend]", "[data-table] h2", "[data-findings] h2", "[data-simulated-note]"):
        assert "SIMULATED" in demo.text(place), place
    command = demo.text("[data-repeat] code")
    assert command.startswith("kronos forecast --demo --horizon 24 --lookback 232 --samples 30 --seed 1")
    expected = engines[1].forecast(read_sample(), HORIZON, samples=SAMPLES, seed=SEED)
    raw = engines[1].forecast(read_sample(), HORIZON, samples=SAMPLES, seed=SEED, calibration=False)
    assert count_others(demo, demo.paths()[1], raw, engines[2]) <= 1
    name, table = demo.download("quantiles")
    assert name.startswith("SIMULATED_BTC-simulated_1h_")
    wanted = expected.to_frame()
    assert list(table.columns) == ["timestamps", *wanted.columns]
    np.testing.assert_allclose(table.filter(like="close").to_numpy(), wanted.filter(like="close").to_numpy(), rtol=1e-3)


def test_the_summary_says_the_probability_the_range_and_how_long_it_took(demo):
    demo.sample()
    low, high = demo.download("quantiles")[1][["close_q10", "close_q90"]].iloc[-1]
    closes = demo.paths()[1][:, -1, 3]
    up = Probability.of(closes > read_sample().frame["close"].iloc[-1])
    sentence = demo.text("[data-sentence]")
    for part in (f"{up:.0%}", f"{up.low:.0%} to {up.high:.0%}", f"{low:,.1f}", f"{high:,.1f}", "crypto 1h"):
        assert part in sentence
    assert "Computed in this tab in" in demo.text("[data-took]")
    limits = demo.text("[data-limits]")
    assert "no news" in limits
    assert "A forecast is not investment advice." in limits


# Errors and progress ---------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_asks_for_what_reads_it(demo):
    table = random_walk(3, pd.date_range("2024-01-01", periods=120, freq="h")).round(4)
    table = table.rename(columns={"close": "Kurs abends"})
    demo.drop("kurse.csv", table.to_csv(index_label="timestamps").encode(), "error")
    assert "kurse.csv has no column for close" in demo.text("[data-failure=DataError]")
    demo.page.locator("fieldset.highlighted").get_by_label("Close").select_option("Kurs abends")
    demo.page.get_by_role("button", name="Read again").click()
    demo.wait("forecast")
    assert "--column 'close=Kurs abends'" in demo.text("[data-repeat] code")


def test_a_forecast_can_be_cancelled_and_another_one_runs(demo):
    demo.sample()
    demo.set("Paths", 1000)
    demo.page.locator("[data-run]").click()
    demo.page.locator("[data-cancel]").click()
    demo.page.wait_for_selector("text=Cancelled.")
    demo.set("Paths", 20)
    demo.run()
    assert len(demo.paths()[1]) == 20
    demo.set("Paths", SAMPLES)


def test_the_files_of_an_altered_model_are_refused_with_a_sentence(browser, demo_site, tmp_path):
    damaged_copy(demo_site, tmp_path / "site")
    with static_host(tmp_path / "site") as host:
        demo = DemoPage(browser.new_context(**PROFILE, service_workers="block"), host)
        demo.page.goto(f"{host}/{PREFIX}/")
        demo.page.wait_for_selector("[data-model-failure]")
        assert "step.onnx is not the file that was exported: its SHA-256 differs" in demo.text("[data-model-failure]")
        demo.expected.append("Service Worker registration blocked")
        assert demo.problems() == []
        demo.context.close()


SLOW_FILES = """() => {
  const { arrayBuffer } = Blob.prototype;
  Blob.prototype.arrayBuffer = async function () {
    if (this.size > 20_000) await new Promise((resolve) => setTimeout(resolve, 1500));
    return arrayBuffer.call(this);
  };
}"""


def test_the_newest_of_several_files_is_forecast(browser, host):
    demo = DemoPage(browser.new_context(**PROFILE, service_workers="block"), host)
    demo.expected.append("Service Worker registration blocked")
    demo.open()
    demo.page.evaluate(SLOW_FILES)
    large, small = (
        walk(f"{name}.csv", rows, pd.date_range(start, periods=rows, freq="h")).content.decode()
        for name, rows, start in (("large", 400, "2020-01-01"), ("small", 100, "2024-01-01"))
    )
    assert len(large) > 20_000 > len(small)
    demo.page.evaluate(
        """files => {
          for (const [name, text] of files) {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([text], name));
            document.querySelector("#main").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
          }
        }""",
        [["large.csv", large], ["small.csv", small]],
    )
    demo.wait("forecast")
    demo.page.wait_for_timeout(2000)
    assert "small.csv" in demo.text("[data-findings]")
    assert str(demo.paths()[0][0]).startswith("2024-01-05")

    demo.page.route("**/sample/*", lambda route: (demo.page.wait_for_timeout(1000), route.continue_()))
    demo.page.locator("[data-sample]").click()
    demo.drop("small.csv", small.encode())
    demo.page.wait_for_timeout(2000)
    assert "small.csv" in demo.text("[data-findings]")
    assert demo.problems() == []
    demo.context.close()


# Without a network ------------------------------------------------------------------------------


def test_a_damaged_stored_file_is_replaced_by_the_hosts(browser, host):
    demo = DemoPage(browser.new_context(**PROFILE), host)
    demo.open()
    demo.wait_stored()
    demo.page.evaluate(
        """async () => {
          const cache = await caches.open((await caches.keys())[0]);
          const [request] = (await cache.keys()).filter(({ url }) => url.endsWith("step.onnx"));
          const bytes = new Uint8Array(await (await cache.match(request)).arrayBuffer());
          bytes[1000] ^= 1;
          await cache.put(request, new Response(bytes));
        }"""
    )
    demo.page.reload()
    demo.page.wait_for_selector("[data-model-failure]")
    demo.page.get_by_role("button", name="Load it again").click()
    demo.page.wait_for_selector('html[data-model="ready"]', state="attached")
    demo.context.set_offline(True)
    demo.page.reload()
    demo.page.wait_for_selector('html[data-model="ready"]', state="attached")
    demo.context.close()


def test_the_page_works_without_a_network_after_it_has_been_loaded(demo):
    assert any(url.endswith("model/step.onnx") for url in demo.requests), "the worker's requests are not seen"
    demo.wait_stored()
    demo.context.set_offline(True)
    try:
        demo.page.reload()
        demo.page.wait_for_selector('html[data-model="ready"]', state="attached")
        demo.sample()
        assert len(demo.paths()[1]) == SAMPLES
    finally:
        demo.context.set_offline(False)


# For everyone -----------------------------------------------------------------------------------


def test_axe_finds_nothing_in_either_language_and_theme(demo):
    demo.page.reload()
    demo.page.wait_for_selector('html[data-model="ready"]', state="attached")
    demo.check_accessibility()
    demo.sample()
    demo.page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
    demo.check_accessibility()
    demo.drop("empty.csv", b"", "error")
    demo.check_accessibility()


def test_a_forecast_needs_no_mouse(demo):
    demo.page.reload()
    demo.page.wait_for_selector('html[data-model="ready"]', state="attached")
    keys = demo.page.keyboard
    content = random_walk(8, pd.date_range("2024-01-01", periods=120, freq="h")).to_csv().encode()
    with demo.page.expect_file_chooser() as chooser:
        tab_to(demo, ".drop button")
        keys.press("Enter")
    chooser.value.set_files({"name": "mine.csv", "mimeType": "text/csv", "buffer": content})
    demo.wait("forecast")
    tab_to(demo, 'input[type="number"]')
    keys.press("ControlOrMeta+A")
    keys.type("6")
    tab_to(demo, "[data-run]")
    keys.press("Enter")
    demo.page.wait_for_selector("[data-sentence]:has-text('2024-01-06 05:00')")
    tab_to(demo, '[data-chart] [role="application"]')
    keys.press("End")
    demo.page.wait_for_selector("[data-chart] [aria-live]:has-text('forecast by')", state="attached")
    tab_to(demo, '[data-download="paths"]')
    with demo.page.expect_download():
        keys.press("Enter")


def tab_to(demo: DemoPage, selector: str) -> None:
    """Press Tab until an element has the focus; every stop on the way has to be visible."""
    for _ in range(MOST_STOPS):
        demo.page.keyboard.press("Tab")
        found, shown, html = demo.page.evaluate(
            """selector => {
              const { activeElement: element } = document;
              const { width, height } = element.getBoundingClientRect();
              return [element.matches(selector), width > 0 && height > 0, element.outerHTML.slice(0, 200)];
            }""",
            selector,
        )
        assert shown, html
        if found:
            return
    pytest.fail(f"{selector} cannot be reached with Tab")


def test_a_phone_shows_the_page_without_scrolling_sideways(demo):
    demo.page.set_viewport_size(PHONE)
    try:
        demo.page.reload()
        demo.page.wait_for_selector('html[data-model="ready"]', state="attached")
        demo.sample()
        demo.page.wait_for_selector('[data-chart][data-ready="true"]')
        for language in ("zh", "en"):
            demo.choose_language(language)
            assert demo.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], language
    finally:
        demo.page.set_viewport_size(PROFILE["viewport"])
        demo.open()

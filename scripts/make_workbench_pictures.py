"""Take the pictures of the workbench in docs/figures, from a real server and a headless Chromium.

    make web
    python scripts/make_workbench_pictures.py                 # the pictures of the guide: docs/figures/workbench-*.png
    python scripts/make_workbench_pictures.py --all out/states    # every state, dark and light, English and Chinese

The candles are simulated, and the pictures say so. Chromium is the one on the PATH, or KRONOS_CHROMIUM names it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "figures"
SAMPLE = resources.files("kronos.samples") / "simulated_btc_1h.csv"
DESK, PHONE = (1440, 900), (390, 844)
_SECONDS = 120_000


@dataclass(frozen=True)
class View:
    """How the page is shown."""

    theme: str = "dark"
    language: str = "en"
    palette: str | None = None
    size: tuple[int, int] = DESK


@contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """Run a server with simulated candles, and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "kronos", "serve", "--source", "simulated", "--port", str(port)]
    process = subprocess.Popen([*command, "--state", str(folder)], cwd=folder, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/ready", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait()


class Page:
    """The workbench in a browser, driven by its data attributes, which no language changes."""

    def __init__(self, browser: Any, address: str, view: View) -> None:
        width, height = view.size
        viewport = {"width": width, "height": height}
        self.page = browser.new_context(viewport=viewport, device_scale_factor=1, color_scheme=view.theme).new_page()
        palette = f"&palette={view.palette}" if view.palette else ""
        self.page.goto(f"{address}/?lang={view.language}&theme={view.theme}{palette}")
        self.wait("empty")
        catalogue = resources.files("kronos.reports") / "shared" / f"workbench.{view.language}.json"
        self.texts = json.loads(catalogue.read_text("utf-8"))

    def wait(self, state: str) -> None:
        """Wait for a state of the page, and for the chart if it has one."""
        self.page.wait_for_selector(f"[data-state={state}]", timeout=_SECONDS)
        if state not in ("empty", "error"):
            self.page.wait_for_selector("[data-probes][data-ready]", timeout=_SECONDS, state="attached")
        self.page.wait_for_timeout(400)

    def sample(self) -> None:
        """Open the sample."""
        self.page.get_by_role("button", name=self.texts["data"]["sample"]).click()
        self.wait("data")

    def upload(self, name: str, content: bytes) -> None:
        """Upload a file."""
        self.page.set_input_files("input[type=file]", {"name": name, "mimeType": "text/csv", "buffer": content})

    def forecast(self, mode: str, lookback: int, horizon: int, *, calibrated: bool = True) -> None:
        """Forecast or replay with a history and a horizon."""
        self.page.check(f"input[value={mode}]", force=True)
        if not calibrated:
            self.page.check("input[value=raw]", force=True)
        for name, value in (("lookback", lookback), ("horizon", horizon)):
            field = self.page.get_by_label(self.texts["forecast"][name], exact=True)
            field.fill(str(value))
            field.press("Tab")
        self.page.locator("[data-run]").first.click()
        self.page.wait_for_selector("[data-run]", state="detached", timeout=_SECONDS)
        self.page.wait_for_selector("[data-run]", timeout=_SECONDS)
        self.wait("forecast" if mode == "now" else "replay")

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Take a picture of what is shown, or of the whole page."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.mouse.move(0, 0)
        self.page.screenshot(path=path, full_page=whole)
        self.page.context.close()


def damaged_sample() -> bytes:
    """The sample with a few rows that the reader repairs or leaves out."""
    lines = SAMPLE.read_text("utf-8").splitlines()
    fields = lines[300].split(",")
    fields[2], fields[3] = fields[3], fields[2]  # high and low exchanged
    lines[300] = ",".join(fields)
    del lines[400:403]
    lines.insert(200, lines[200])
    return "\n".join(lines).encode()


def ambiguous_file() -> bytes:
    """Prices with three digits after a comma, which may be a decimal or a thousands sign."""
    days = [f"2024-{month:02}-{day:02}" for month in range(1, 5) for day in range(1, 29)]
    rows = [
        f"{day}\t1,{100 + i % 9}\t1,{110 + i % 9}\t1,{101 - i % 9 + 8}\t1,{105 + i % 9}" for i, day in enumerate(days)
    ]
    return "\n".join(["date\topen\thigh\tlow\tclose", *rows]).encode()


def show_empty(page: Page) -> None:
    """Leave the page as it opens."""


def show_data(page: Page) -> None:
    """Open the sample."""
    page.sample()


def show_findings(page: Page) -> None:
    """Upload a file with damaged rows."""
    page.upload("simulated_btc.csv", damaged_sample())
    page.wait("data")


def show_question(page: Page) -> None:
    """Upload a file that can be read in two ways."""
    page.upload("prices.txt", ambiguous_file())
    page.wait("error")


def show_forecast(page: Page) -> None:
    """Forecast beyond the last candle."""
    page.sample()
    page.forecast("now", 200, 48)


def show_replay(page: Page) -> None:
    """Replay and score."""
    page.sample()
    page.forecast("replay", 140, 24)


def show_compared(page: Page) -> None:
    """Overlay two forecasts."""
    page.sample()
    page.forecast("now", 200, 48)
    page.forecast("now", 200, 48, calibrated=False)
    for box in page.page.locator("[data-result] input[type=checkbox]").all():
        box.check()
    page.wait("forecast")


STATES: dict[str, Callable[[Page], None]] = {
    "empty": show_empty,
    "data": show_data,
    "findings": show_findings,
    "question": show_question,
    "forecast": show_forecast,
    "replay": show_replay,
    "compared": show_compared,
}
GUIDE = {
    "replay": ("replay", View(size=(1440, 1180))),
    "forecast-zh": ("forecast", View("light", "zh", size=(1440, 1000))),
    "compared": ("compared", View(palette="colour-blind", size=(1440, 1100))),
    "findings": ("findings", View("light")),
    "question": ("question", View()),
    "phone": ("replay", View(size=PHONE)),
}


def main() -> None:
    """Take the pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description="Take the pictures of the workbench.")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="take every state in both themes and languages")
    folder = parser.parse_args().all
    program = os.environ.get("KRONOS_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("Chromium is not installed: install it, or name it in KRONOS_CHROMIUM.")
    with (
        tempfile.TemporaryDirectory() as state,
        running_server(Path(state)) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        if folder is None:
            for name, (shown, view) in GUIDE.items():
                page = Page(browser, address, view)
                STATES[shown](page)
                page.picture(FIGURES / f"workbench-{name}.png", whole=False)
            return
        for shown, theme, language in product(STATES, ("dark", "light"), ("en", "zh")):
            page = Page(browser, address, View(theme, language))
            STATES[shown](page)
            page.picture(folder / f"{shown}-{theme}-{language}.png", whole=True)


if __name__ == "__main__":
    main()

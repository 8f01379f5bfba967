"""Take the pictures of the live forecaster's page in docs/figures, from a replay and a headless Chromium.

    python scripts/make_live_pictures.py                  # docs/figures/live.png and live-record.png
    python scripts/make_live_pictures.py --all out/live   # both languages and themes, desk and phone, whole pages

The candles are simulated, and the pictures say so. The browser's clock is set to the replay's, so that the page is
fresh. Chromium is the one on the PATH, or KRONOS_CHROMIUM names it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "figures"
START, CYCLES = "2025-01-20", 240
DESK, PHONE = (1280, 860), (390, 844)


def make_site(folder: Path) -> Path:
    """Run a replay of the bundled sample; return the folder of its page."""
    command = [sys.executable, "-m", "kronos", "live", "run", "--source", "replay", "--replay-start", START]
    subprocess.run([*command, "--cycles", str(CYCLES)], cwd=folder, check=True, stderr=subprocess.DEVNULL)
    return folder / "outputs" / "live"


def open_page(browser: Any, site: Path, *, language: str, theme: str, size: tuple[int, int]) -> Any:
    """Open the page some minutes after it was made."""
    width, height = size
    page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme).new_page()
    made_at = json.loads((site / "forecast.json").read_text("utf-8"))["made_at"]
    page.clock.set_fixed_time(made_at)
    page.goto((site / ("index.html" if language == "en" else "index.zh.html")).as_uri())
    page.wait_for_load_state("networkidle")
    return page


def main() -> None:
    """Take the pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description="Take the pictures of the live forecaster's page.")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="take the whole page in every look")
    folder = parser.parse_args().all
    program = os.environ.get("KRONOS_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("Chromium is not installed: install it, or name it in KRONOS_CHROMIUM.")
    with tempfile.TemporaryDirectory() as work, sync_playwright() as playwright:
        site = make_site(Path(work))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        if folder is None:
            page = open_page(browser, site, language="en", theme="dark", size=DESK)
            clip = {"x": 0, "y": 0, "width": DESK[0], "height": 1480}
            page.screenshot(path=FIGURES / "live.png", clip=clip, full_page=True)
            page = open_page(browser, site, language="en", theme="light", size=DESK)
            page.locator("#track").screenshot(path=FIGURES / "live-record.png")
            return
        folder.mkdir(parents=True, exist_ok=True)
        for theme, language, (name, size) in product(
            ("dark", "light"), ("en", "zh"), (("desk", DESK), ("phone", PHONE))
        ):
            page = open_page(browser, site, language=language, theme=theme, size=size)
            page.screenshot(path=folder / f"{name}-{theme}-{language}.png", full_page=True)


if __name__ == "__main__":
    main()

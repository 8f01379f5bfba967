"""Take the picture of the demo page in docs/figures, from the built page and a headless Chromium.

    make demo-page
    python scripts/make_demo_page_picture.py                        # docs/figures/demo-page.png
    python scripts/make_demo_page_picture.py --all out/demo-states    # every state, theme, language and width

The candles are simulated, and the picture says so. Chromium is the one on the PATH, or KRONOS_CHROMIUM names it.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FIGURE = ROOT / "docs" / "figures" / "demo-page.png"
PAGE = ROOT / "out" / "demo-page"
DESK, PHONE = (1440, 1180), (360, 740)
FIGURE_PATHS = "200"
_SECONDS = 120_000


def take(
    browser: Any, address: str, path: Path, *, theme: str, language: str, size: tuple[int, int], whole: bool
) -> None:
    """Take a picture of the sample's forecast; with the whole page, also one before a file is opened."""
    width, height = size
    viewport = {"width": width, "height": height}
    page = browser.new_context(viewport=viewport, color_scheme=theme, reduced_motion="reduce").new_page()
    page.goto(f"{address}?lang={language}&theme={theme}")
    page.wait_for_selector("html[data-offline=ready]", state="attached", timeout=_SECONDS)
    path.parent.mkdir(parents=True, exist_ok=True)
    if whole:
        page.screenshot(path=path.with_stem(f"{path.stem}-empty"), full_page=True)
    else:
        page.get_by_label("Paths", exact=True).fill(FIGURE_PATHS)  # smoother bands than the page's default of 30 gives
    page.locator("[data-sample]").click()
    page.wait_for_selector("html[data-state=forecast][data-ready=true]", state="attached", timeout=_SECONDS)
    page.wait_for_selector("[data-chart][data-ready=true]", timeout=_SECONDS)
    page.mouse.move(0, 0)
    page.wait_for_timeout(400)
    page.screenshot(path=path, full_page=whole)
    page.context.close()


def main() -> None:
    """Take the pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description="Take the picture of the demo page.")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="take every state, theme, language and width")
    folder = parser.parse_args().all
    program = os.environ.get("KRONOS_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("Chromium is not installed: install it, or name it in KRONOS_CHROMIUM.")
    if not (PAGE / "index.html").is_file():
        sys.exit("The demo page is not built: run 'make demo-page'.")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(PAGE))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as host, sync_playwright() as playwright:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{host.server_port}/"
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        if folder is None:
            take(browser, address, FIGURE, theme="dark", language="en", size=DESK, whole=False)
        else:
            for theme, language, size in product(("dark", "light"), ("en", "zh"), (DESK, PHONE)):
                path = folder / f"{theme}-{language}-{size[0]}.png"
                take(browser, address, path, theme=theme, language=language, size=size, whole=True)
        browser.close()
        host.shutdown()


if __name__ == "__main__":
    main()

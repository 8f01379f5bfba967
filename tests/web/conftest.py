"""A real browser for the tests of the workbench."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from serve.servers import RunningServer, run_server, settings_in
from web.demo_tab import PREFIX
from web.workbench import NO_LIMITS, ROOT, Workbench, chromium

PROFILE: dict[str, Any] = {
    "locale": "en-GB",
    "timezone_id": "UTC",
    "color_scheme": "dark",
    "reduced_motion": "reduce",
    "viewport": {"width": 1280, "height": 900},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, shared by the tests of a module.

    Playwright's loop runs in this thread for as long as it is open: a test elsewhere could run none of its own.
    """
    program = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium refuses to run as root with its sandbox, as containers do; the pages are ours.
        arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of simulated candles with the bundled model."""
    with run_server(settings_in(tmp_path_factory.mktemp("workbench"), **NO_LIMITS)) as server:
        server.wait_ready()
        yield server


@pytest.fixture
def new_tab(browser: Any) -> Iterator[Callable[..., Workbench]]:
    """Open tabs, each with a browser profile of its own; a test fails where one of them reports a problem."""
    tabs: list[Workbench] = []

    def open_tab(address: str, **options: Any) -> Workbench:
        page = browser.new_context(**{**PROFILE, **options}).new_page()
        tabs.append(Workbench(page, address))
        return tabs[-1]

    yield open_tab
    problems = [problem for tab in tabs for problem in tab.problems()]
    for tab in tabs:
        if not tab.page.is_closed():
            tab.close()
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def shared_tab(browser: Any, server: RunningServer) -> Workbench:
    """One tab for most tests: a new profile costs as much as four pages in one that is warm."""
    return Workbench(browser.new_context(**PROFILE).new_page(), server.address)


@pytest.fixture
def tab(shared_tab: Workbench) -> Iterator[Workbench]:
    """A tab of the shared server, as new; a test fails where it reports a problem."""
    yield shared_tab
    problems = shared_tab.problems()
    shared_tab.reset()
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="session")
def demo_site(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder with the demo page under `PREFIX`, built once for all processes of the tests."""
    if not (ROOT / "web/node_modules/onnxruntime-web").is_dir() or shutil.which("npm") is None:
        reason = "needs the packages of the demo page: run 'make demo-page'"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    site = shared / "demo-site"
    page = site / PREFIX
    with FileLock(shared / "demo-site.lock"):
        if not (page / "service_worker.js").is_file():
            command = [sys.executable, str(ROOT / "web/demo_page.py"), "--output", str(page)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    return site

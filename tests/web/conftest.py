"""A real browser for the tests of the workbench."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from serve.servers import RunningServer, run_server, settings_in
from web.workbench import NO_LIMITS, Workbench, chromium

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

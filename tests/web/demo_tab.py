"""The demo page in a browser tab, served as a static host does: drop files, read results, look at requests."""

from __future__ import annotations

import functools
import io
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS
from web.workbench import WATCH_POLICY, check_accessibility, choose_language

PREFIX = "pages/kronos"  # the page has to work under any path


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def static_host(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback, and yield its address."""
    handler = functools.partial(_Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class DemoPage:
    """One tab with the page. `problems` collects what must not happen while a test uses it."""

    def __init__(self, context: Any, host: str) -> None:
        self.context = context
        self.page = context.new_page()
        self.host = host
        self.requests: list[str] = []
        self.expected: list[str] = []
        self._messages: list[str] = []
        self.page.set_default_timeout(60_000)
        self.page.add_init_script(WATCH_POLICY)
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self._messages.append(f"uncaught: {error}"))

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self._messages.append(f"{message.type}: {message.text}")

    def problems(self) -> list[str]:
        """Errors on the console, violations of the policy, and requests to anywhere but the page's own folder."""
        own = (f"{self.host}/{PREFIX}/", f"blob:{self.host}/")
        found = [f"request: {url}" for url in self.requests if not url.startswith(own)]
        found += [f"policy: {violation}" for violation in self.page.evaluate("window.policyViolations")]
        return [each for each in found + self._messages if not any(re.search(one, each) for one in self.expected)]

    def open(self, **query: str) -> None:
        """Open the page, and wait for the model."""
        address = "&".join(f"{name}={value}" for name, value in query.items())
        self.page.goto(f"{self.host}/{PREFIX}/?{address}")
        self.page.wait_for_selector('html[data-model="ready"]', state="attached")

    def wait(self, state: str) -> None:
        """Wait until the page is in a state and nothing is computed."""
        self.page.wait_for_selector(f'html[data-state="{state}"][data-ready="true"]', state="attached")

    def wait_stored(self) -> None:
        """Wait until the page is stored for use without a network."""
        self.page.wait_for_selector('html[data-offline="ready"]', state="attached")

    def drop(self, name: str, content: bytes, state: str = "forecast") -> None:
        """Drop a file on the page, and wait for what it leads to."""
        transfer = self.page.evaluate_handle(
            """([name, text]) => {
                 const transfer = new DataTransfer();
                 transfer.items.add(new File([text], name));
                 return transfer;
               }""",
            [name, content.decode()],
        )
        self.page.dispatch_event("#main", "drop", {"dataTransfer": transfer})
        self.wait(state)

    def sample(self) -> None:
        """Forecast the simulated sample."""
        self.page.locator("[data-sample]").click()
        self.wait("forecast")

    def run(self) -> None:
        """Press the button, and wait for the result."""
        self.page.locator("[data-run]").click()
        self.wait("forecast")

    def set(self, label: str, value: int) -> None:
        """Fill in a number field by its label."""
        self.page.get_by_label(label, exact=True).fill(str(value))

    def choose_bands(self, state: str) -> None:
        """Forecast again with bands that are ``calibrated`` or ``raw``."""
        more = self.page.locator("details.sampling")
        more.evaluate("each => { each.open = true; }")
        more.locator(f'label:has(input[value="{state}"])').click()
        self.run()

    def download(self, kind: str) -> tuple[str, pd.DataFrame]:
        """Name and content of the table of ``quantiles`` or of all ``paths``."""
        with self.page.expect_download() as download:
            self.page.locator(f'[data-download="{kind}"]').click()
        content = Path(download.value.path()).read_bytes()
        return download.value.suggested_filename, pd.read_csv(io.BytesIO(content))

    def paths(self) -> tuple[pd.DatetimeIndex, np.ndarray]:
        """Times of the steps, and all sample paths [samples, horizon, 6]."""
        _, table = self.download("paths")
        samples = table["sample_id"].nunique()
        values = table[list(COLUMNS)].to_numpy().reshape(samples, -1, len(COLUMNS))
        return pd.DatetimeIndex(table["timestamps"][: values.shape[1]]), values

    def text(self, selector: str) -> str:
        """What is written in an element."""
        return str(self.page.locator(selector).first.inner_text())

    def check_accessibility(self) -> None:
        """Have axe-core look at the page in both languages and themes; nothing may be reported."""
        check_accessibility(self.page)

    def choose_language(self, language: str) -> None:
        """Press the button for the other language, unless the page speaks this one."""
        choose_language(self.page, language)


def damaged_copy(site: Path, folder: Path) -> None:
    """Copy a built page, with one byte of a graph changed and its size the same."""
    shutil.copytree(site, folder)
    graph = folder / PREFIX / "model" / "step.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)


def manifest_name(site: Path) -> str:
    """The model's name, as the page's manifest states it."""
    return str(json.loads((site / PREFIX / "model" / "kronos.json").read_text("utf-8"))["name"])

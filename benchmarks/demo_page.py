"""``python -m benchmarks.demo_page``: how long the demo page takes for a forecast, beside the server, in one run.

The built page on a plain static host, a headless browser, and ``kronos serve`` on loopback with the same file; writes
docs/performance-demo-page.md.
"""

from __future__ import annotations

import functools
import gzip
import os
import platform
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.command import find_chromium, run_benchmark
from benchmarks.data import candles
from benchmarks.machine import processor_name
from benchmarks.report import table
from benchmarks.results import Floor
from benchmarks.servers import kronos
from benchmarks.timing import say

_ROOT = Path(__file__).resolve().parents[1]
_PAGE = _ROOT / "docs" / "performance-demo-page.md"
_BUILT = _ROOT / "out" / "demo-page"
_SMOKE = "**A smoke test with few runs: it only shows that the benchmark runs, and its numbers mean nothing.**\n\n"
_BROTLI = "process.stdout.write(require('zlib').brotliCompressSync(require('fs').readFileSync(process.argv[1])))"
# What an English page does not load: the card, the other language, the sample, and the service worker's program.
_LATER = ("README.md", "service_worker.js", "simulated_btc_1h.csv")
_PARTS = {".wasm": "ONNX Runtime, WebAssembly", ".onnx": "model, graphs and weights"}
_PROGRAM = "page: HTML, program, styles, texts, manifest, calibration"

HORIZON, PATHS, SEED = 24, 30, 7
SECONDS, FIRST_LOAD = 1.0, 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rows: int
    forecasts: int
    loads: int


@dataclass(frozen=True, slots=True)
class Results:
    """What one run measured; times in seconds.

    Attributes:
        plan: How much was measured.
        browser: Name and version.
        busy: Load average of the machine before the run.
        loads: From the start of the page until its model can forecast, in a new profile each.
        drops: From the drop of the file until the chart's data are there, in a new profile each.
        page: Forecasts in the tab, of the worker's own clock.
        server: Forecasts of the server, from request to answer.
        sizes: Bytes of the first load by part: as they are, compressed by gzip, by Brotli.
        seconds: Of the run.
    """

    plan: Plan
    browser: str
    busy: float
    loads: list[float]
    drops: list[float]
    page: list[float]
    server: list[float]
    sizes: dict[str, tuple[int, int, int]]
    seconds: float


_FULL = Plan(rows=2_000, forecasts=21, loads=5)
_QUICK = Plan(rows=400, forecasts=3, loads=1)


def measure(plan: Plan) -> Results:
    """All measurements, in the order of the report."""
    from playwright.sync_api import sync_playwright

    started, busy = perf_counter(), os.getloadavg()[0]
    content = candles(7, plan.rows).to_csv().encode()
    limits = {"KRONOS_SERVE__WORK_PER_MINUTE": "0", "KRONOS_SERVE__REQUESTS_PER_MINUTE": "0"}
    with static_host(_BUILT) as host, kronos(limits) as server, sync_playwright() as playwright:
        # Chromium refuses to run as root with its sandbox, as containers do; the pages are ours.
        arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=_chromium(), args=arguments)
        loads, drops = [], []
        for number in range(plan.loads):
            say(f"load {number + 1} of {plan.loads}")
            page = browser.new_context(locale="en-GB").new_page()
            loads.append(_load(page, host))
            drops.append(_drop(page, content))
            if number + 1 < plan.loads:
                page.context.close()
        api = _Api(browser, f"http://127.0.0.1:{server.port}", content)
        own, theirs = [], []
        api.forecast()  # the first one is not counted, as the page's own, which has just been made
        for number in range(plan.forecasts):
            say(f"forecast {number + 1} of {plan.forecasts}")
            own.append(_forecast(page))
            theirs.append(api.forecast())
        name = f"Chromium {browser.version}"
        browser.close()
    return Results(plan, name, busy, loads, drops, own, theirs, first_load(_BUILT), perf_counter() - started)


@contextmanager
def static_host(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback, as ``python -m http.server`` does, and yield its address."""
    handler = functools.partial(_Silent, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as host:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{host.server_port}/"
        host.shutdown()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def _load(page: Any, host: str) -> float:
    started = perf_counter()
    page.goto(host)
    page.wait_for_selector('html[data-model="ready"]', state="attached", timeout=120_000)
    return perf_counter() - started


def _drop(page: Any, content: bytes) -> float:
    page.wait_for_selector('html[data-offline="ready"]', state="attached", timeout=120_000)  # nothing is loading
    file = {"name": "candles.csv", "mimeType": "text/csv", "buffer": content}
    started = perf_counter()
    page.locator('input[type="file"]').set_input_files(file)
    page.wait_for_selector('html[data-state="forecast"][data-ready="true"]', state="attached", timeout=120_000)
    return perf_counter() - started


def _forecast(page: Any) -> float:
    """Seconds of one more forecast of the loaded file."""
    page.locator("[data-run]").click()
    page.wait_for_selector("[data-cancel]", state="attached")
    page.wait_for_selector('html[data-state="forecast"][data-ready="true"]', state="attached", timeout=120_000)
    return float(page.locator("[data-took]").get_attribute("data-took"))


class _Api:
    """The server's API with the file uploaded."""

    def __init__(self, browser: Any, address: str, content: bytes) -> None:
        self._request = browser.new_context().request
        self._address = address
        file = {"name": "candles.csv", "mimeType": "text/csv", "buffer": content}
        self._path = self._post("/api/uploads", multipart={"file": file})["file_path"]

    def forecast(self) -> float:
        """Seconds of one forecast with the page's history, horizon and paths."""
        body = {"file_path": self._path, "lookback": 256 - HORIZON, "pred_len": HORIZON}
        started = perf_counter()
        self._post("/api/predict", data={**body, "sample_count": PATHS, "seed": SEED})
        return perf_counter() - started

    def _post(self, path: str, **content: Any) -> Any:
        answer = self._request.post(self._address + path, timeout=120_000, **content)
        assert answer.ok, answer.text()
        return answer.json()


def first_load(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Bytes of what an English page loads before its first forecast, by part."""
    sizes: dict[str, tuple[int, int, int]] = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if file.name in _LATER or file.name.startswith(("zh-", "workbench.zh-")):
            continue
        content = file.read_bytes()
        own = len(content), len(gzip.compress(content, 9)), len(_brotli(file))
        part = _PARTS.get(file.suffix, _PROGRAM)
        sizes[part] = tuple(map(sum, zip(sizes.get(part, (0, 0, 0)), own, strict=True)))  # type: ignore[assignment]
    return sizes


def _brotli(file: Path) -> bytes:
    """A file compressed by Node, which every build of the page has."""
    return subprocess.run(["node", "-e", _BROTLI, str(file)], capture_output=True, check=True).stdout


def promises(results: Results) -> list[Floor]:
    """The goals, from the measurements."""
    took = median(results.page)
    _, zipped, brotli = (sum(column) / 1e6 for column in zip(*results.sizes.values(), strict=True))
    what = f"Forecast of {HORIZON} steps and {PATHS} paths in the tab, median"
    return [
        Floor(what, f"at most {SECONDS:.1f} s", f"{took:.2f} s", took <= SECONDS),
        Floor("First load, gzip", f"at most {FIRST_LOAD:.0f} MB", f"{zipped:.1f} MB", zipped <= FIRST_LOAD),
        Floor("First load, Brotli", f"at most {FIRST_LOAD:.0f} MB", f"{brotli:.1f} MB", brotli <= FIRST_LOAD),
    ]


def render(results: Results, *, quick: bool = False) -> str:
    """Render the page."""
    goals = [(one.what, one.wanted, one.measured, "yes" if one.met else "**no**") for one in promises(results)]
    ratio = median(results.page) / median(results.server)
    times = [
        (name, f"{median(seconds):.2f}", f"{min(seconds):.2f}", f"{max(seconds):.2f}", f"{len(seconds)}")
        for name, seconds in (
            ("forecast in the tab, of a loaded file", results.page),
            ("forecast of the server, from request to answer", results.server),
            ("file dropped until its forecast is shown, first one in a tab", results.drops),
            ("page opened until its model is loaded, from loopback", results.loads),
        )
    ]
    total = tuple(map(sum, zip(*results.sizes.values(), strict=True)))
    sizes = [
        (part, *(f"{size / 1e6:.2f}" for size in found)) for part, found in {**results.sizes, "all": total}.items()
    ]
    return f"""\
# Demo page

{_SMOKE if quick else ""}Generated by `python -m benchmarks.demo_page` on {datetime.now(UTC):%Y-%m-%d}, in one run of \
{results.seconds / 60:.1f} minutes: {processor_name()},
{os.cpu_count()} cores, {results.browser} headless, playwright {version("playwright")}, Python \
{platform.python_version()}.
Do not edit this page; run the benchmark again.
Absolute times are specific to this machine. Browser and server share its cores, with other programs too: the load
average before the run was {results.busy:.1f}.

The file has {results.plan.rows:,} hourly candles. Both forecast {HORIZON} steps with {PATHS} paths of `kronos-nano` \
from the last {256 - HORIZON} candles; the tab on one
thread of WebAssembly, the server with torch on all cores. Their forecasts alternate.

## Goals

{table(("", "goal", "measured", "met"), goals)}

## Times

In seconds. The tab takes {ratio:.1f} times as long as the server (ratio of the medians).

{table(("", "median", "best", "worst", "n"), times)}

## First load

What an English page transfers before its first forecast, in MB (10⁶ bytes). A static host compresses it, or not; later
visits load nothing.

{table(("", "as it is", "gzip", "Brotli"), sizes)}
"""


def _chromium() -> str:
    """The browser, if there is a page to drive."""
    if not (_BUILT / "index.html").is_file():
        raise SystemExit("The demo page is not built: run 'make demo-page'.")
    return find_chromium()


def _run(quick: bool) -> str:
    return render(measure(_QUICK if quick else _FULL), quick=quick)


if __name__ == "__main__":
    run_benchmark("benchmarks.demo_page", __doc__, _PAGE, _run)

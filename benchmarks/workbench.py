"""``python -m benchmarks.workbench``: how fast the workbench draws many candles and a forecast, in Chromium.

A real server on loopback, a file of 50,000 candles, a headless browser; writes docs/performance-workbench.md.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.command import find_chromium, run_benchmark
from benchmarks.data import candles
from benchmarks.machine import processor_name
from benchmarks.report import table
from benchmarks.results import Floor
from benchmarks.servers import kronos
from benchmarks.timing import say

_ROOT = Path(__file__).resolve().parents[1]
_PAGE = _ROOT / "docs" / "performance-workbench.md"
_ASSETS = _ROOT / "src" / "kronos" / "serve" / "assets"
_WIDTH, _HEIGHT = 1280, 900
_SETTLED = 60  # milliseconds after its last drawing when the chart says that it is drawn
_SMOKE = "**A smoke test with few candles: it only shows that the benchmark runs, and its numbers mean nothing.**\n\n"

LONG = 50.0  # milliseconds from which a task is long: a person notices that the page does not react
LOAD_TASK, MOVE_TASK, FRAME, FIRST_CHART, SIZE = 400.0, 50.0, 33.4, 700.0, 120.0

# The first chart, and the frames while `frames` is a list.
_WATCH = """
window.bench = { chart: null, frames: null };
const drawn = '[data-chart][data-ready="true"]';
new MutationObserver(() => {
  if (bench.chart === null && document.querySelector(drawn)) bench.chart = performance.now();
}).observe(document, { subtree: true, childList: true, attributeFilter: ["data-ready"] });
requestAnimationFrame(function frame(time) {
  bench.frames?.push(time);
  requestAnimationFrame(frame);
});
"""
_DATA = """() => {
  const [first] = performance.getEntriesByType("resource").filter((entry) => entry.name.endsWith("/api/candles"));
  return first.responseEnd;
}"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rows: int
    loads: int
    moves: int


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the page's main thread, in milliseconds: by the clock, and of the processor."""

    clock: float
    processor: float


@dataclass(frozen=True, slots=True)
class Load:
    """One opening of the file in a new profile; times in milliseconds.

    Attributes:
        chart: From the start of the page to the first chart.
        after_data: From the end of the first candles' transfer to the first chart.
        complete: From the start of the page until all candles are there.
        tasks: Long tasks until then, the longest first.
    """

    chart: float
    after_data: float
    complete: float
    tasks: list[Task]


@dataclass(frozen=True, slots=True)
class Move:
    """Panning or zooming: long tasks, the longest first, and the times between frames, in milliseconds."""

    name: str
    tasks: list[Task]
    frames: np.ndarray

    def percentile(self, share: float) -> float:
        """Percentile of the times between frames."""
        return float(np.percentile(self.frames, share))


@dataclass(frozen=True, slots=True)
class Results:
    """What one run measured.

    Attributes:
        plan: How much was measured.
        browser: Name and version.
        busy: Load average of the machine before the run.
        loads: Openings of the file.
        moves: Panning and zooming.
        sizes: Bytes by file: as they are, and compressed.
        seconds: Of the run.
    """

    plan: Plan
    browser: str
    busy: float
    loads: list[Load]
    moves: list[Move]
    sizes: dict[str, tuple[int, int]]
    seconds: float


_FULL = Plan(rows=50_000, loads=5, moves=120)
_QUICK = Plan(rows=3_000, loads=1, moves=10)


def measure(plan: Plan) -> Results:
    """All measurements, in the order of the report."""
    from playwright.sync_api import sync_playwright

    started, busy = perf_counter(), os.getloadavg()[0]
    limits = {"KRONOS_SERVE__WORK_PER_MINUTE": "0", "KRONOS_SERVE__REQUESTS_PER_MINUTE": "0"}
    with kronos(limits) as server, sync_playwright() as playwright:
        # Chromium refuses to run as root with its sandbox, as containers do; the pages are ours.
        arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=_chromium(), args=arguments)
        address = f"http://127.0.0.1:{server.port}"
        say("uploading")
        path = _upload(browser, address, plan.rows)
        loads = []
        for number in range(plan.loads):
            say(f"load {number + 1} of {plan.loads}")
            loads.append(measure_load(browser, f"{address}/?file={path}"))
        say("a forecast of 100 paths")
        result = _forecast(browser, address, path)
        moves = measure_moves(browser, f"{address}/?result={result}", plan.moves)
        name = f"Chromium {browser.version}"
        browser.close()
    return Results(plan, name, busy, loads, moves, asset_sizes(), perf_counter() - started)


def measure_load(browser: Any, address: str) -> Load:
    """Open the file in a new profile and wait until all of its candles are there."""
    page = _open(browser)
    with _traced(browser, page) as tasks:
        page.goto(address)
        _wait_complete(page)
        complete, chart, data = page.evaluate("performance.now()"), page.evaluate("bench.chart"), page.evaluate(_DATA)
    page.context.close()
    return Load(chart, chart - data, complete, tasks)


def measure_moves(browser: Any, address: str, count: int) -> list[Move]:
    """Pan and zoom with three bands, the central path and 100 paths over all candles."""
    page = _open(browser)
    page.goto(address)
    _wait_complete(page)
    page.get_by_role("button", name="Paths", exact=True).click()
    page.wait_for_selector('[data-chart][data-ready="true"]')
    box = page.locator("[data-chart]").bounding_box()
    x, y = box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"]

    def drag() -> None:
        page.mouse.move(x, y)
        page.mouse.down()
        for step in range(count):
            page.mouse.move(x - 200 * np.sin(step / 8), y)
        page.mouse.up()

    def zoom(delta: int) -> Callable[[], None]:
        def turn() -> None:
            page.mouse.move(x, y)
            for _ in range(count):
                page.mouse.wheel(0, delta)

        return turn

    moves = [
        _watched(browser, page, "pan over the forecast and the candles before it", drag),
        _watched(browser, page, "zoom out", zoom(120)),
        _watched(browser, page, "pan with all candles in sight", drag),
        _watched(browser, page, "zoom in", zoom(-120)),
    ]
    page.context.close()
    return moves


def asset_sizes() -> dict[str, tuple[int, int]]:
    """Bytes of what an English page loads, as they are and compressed by gzip."""
    page = (_ASSETS / "index.html").read_bytes()
    names = re.findall(rb'(?:src|href)="\./(static/[^"]+)"', page)
    files = {Path(name.decode()).name: (_ASSETS / name.decode()).read_bytes() for name in names}
    catalogue = next(_ASSETS.glob("static/workbench.en-*.js"))
    contents = {"index.html": page, **files, catalogue.name: catalogue.read_bytes()}
    return {
        re.sub(r"-[\w-]{8}(?=\.\w+$)", "", name): (len(content), len(gzip.compress(content, 9)))
        for name, content in contents.items()
    }


def promises(results: Results) -> list[Floor]:
    """The goals, from the measurements."""
    loading, moving = ([task for one in some for task in one.tasks] for some in (results.loads, results.moves))
    frame = max(one.percentile(95) for one in results.moves)
    first = median(one.after_data for one in results.loads)
    size = sum(packed for _, packed in results.sizes.values()) / 1e3
    what = "p95 time between frames, three bands and 100 paths"
    after = "First chart after its data have come, median"
    return [
        _longest("Longest task while the page loads", LOAD_TASK, loading),
        _longest("Longest task while panning and zooming", MOVE_TASK, moving),
        Floor(what, "at most 33 ms, two refreshes", f"{frame:.1f} ms", frame <= FRAME),
        Floor(after, f"at most {FIRST_CHART:.0f} ms", f"{first:.0f} ms", first <= FIRST_CHART),
        Floor("Page and chart library, gzip", f"at most {SIZE:.0f} kB", f"{size:.1f} kB", size <= SIZE),
    ]


def render(results: Results, *, quick: bool = False) -> str:
    """Render the page."""
    found = promises(results)
    rows = [(one.what, one.wanted, one.measured, "yes" if one.met else "**no**") for one in found]
    loads = [
        (f"{number}", f"{one.chart:.0f}", f"{one.after_data:.0f}", f"{one.complete:.0f}", _tasks(one.tasks))
        for number, one in enumerate(results.loads, 1)
    ]
    moves = [
        (one.name, *(f"{one.percentile(share):.1f}" for share in (50, 95, 99)), f"{len(one.frames)}", _tasks(one.tasks))
        for one in results.moves
    ]
    sizes = [
        (f"`{name}`", f"{whole / 1e3:.1f}", f"{packed / 1e3:.1f}") for name, (whole, packed) in results.sizes.items()
    ]
    return f"""\
# Workbench

{_SMOKE if quick else ""}Generated by `python -m benchmarks.workbench` on {datetime.now(UTC):%Y-%m-%d}, in one run of \
{results.seconds / 60:.1f} minutes: {processor_name()},
{os.cpu_count()} cores, {results.browser} headless with software rendering, playwright {version("playwright")}, \
Python {platform.python_version()}.
Do not edit this page; run the benchmark again.
Absolute times are specific to this machine. Browser and server share its cores, with other programs too: the load
average before the run was {results.busy:.1f}. Where the time by the clock is much longer than that of the processor,
the page waited for them.

The server is `kronos serve --source simulated` with the bundled model, on loopback, in a separate process. The file has
{results.plan.rows:,} hourly candles; the window is {_WIDTH} × {_HEIGHT} pixels.

## Goals

{sum(one.met for one in found)} of {len(found)} are met in this run.

{table(("", "goal", "measured", "met"), rows)}

## Opening the file

Each row opens the file in a new browser profile, without any cache. The newest 2,000 candles come first, the rest while
the page is idle. Times are in milliseconds from the start of the page. The chart counts as drawn {_SETTLED} ms after
its last drawing, and the times include that. A long task keeps the page from reacting for {LONG:.0f} ms or more; in
brackets, the processor's time for it.

{table(("load", "first chart", "after its data", "all candles", "long tasks"), loads)}

## Panning and zooming

The screen refreshes 60 times a second, so frames are 16.7 ms apart, or a multiple of that.
All {results.plan.rows:,} candles, a forecast of 120 steps with three bands, the central path and 100 paths.
{results.plan.moves} moves of the mouse each; times between frames in milliseconds.

{table(("", "p50", "p95", "p99", "frames", "long tasks"), moves)}

## Size

What an English page transfers before its data, in kB (10³ bytes). The server compresses the static files.

{table(("", "as it is", "gzip"), sizes)}
"""


def _longest(what: str, most: float, tasks: list[Task]) -> Floor:
    if not tasks:
        return Floor(what, f"at most {most:.0f} ms", f"below {LONG:.0f} ms", True)
    longest = max(tasks, key=lambda task: task.clock)
    measured = f"{longest.clock:.0f} ms ({longest.processor:.0f} ms)"
    return Floor(what, f"at most {most:.0f} ms", measured, longest.clock <= most)


def _tasks(tasks: list[Task]) -> str:
    return ", ".join(f"{task.clock:.0f} ({task.processor:.0f})" for task in tasks[:4]) or "none"


def _watched(browser: Any, page: Any, name: str, work: Callable[[], None]) -> Move:
    say(name)
    with _traced(browser, page) as tasks:
        page.evaluate("() => { bench.frames = []; }")
        work()
        frames = page.evaluate("() => bench.frames")
    return Move(name, tasks, np.diff(frames))


@contextmanager
def _traced(browser: Any, page: Any) -> Iterator[list[Task]]:
    """Collect the long tasks of the page's main thread; they are in the list afterwards."""
    tasks: list[Task] = []
    browser.start_tracing(page=page, categories=["__metadata", "disabled-by-default-devtools.timeline"])
    yield tasks
    events = json.loads(browser.stop_tracing())["traceEvents"]
    names = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
    found = [
        Task(event["dur"] / 1e3, event.get("tdur", 0) / 1e3)
        for event in events  # the last one has not ended
        if event["name"] == "RunTask" and "dur" in event and names.get((event["pid"], event["tid"])) == "CrRendererMain"
    ]
    tasks += sorted((task for task in found if task.clock >= LONG), key=lambda task: -task.clock)


def _open(browser: Any) -> Any:
    context = browser.new_context(viewport={"width": _WIDTH, "height": _HEIGHT}, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.add_init_script(_WATCH)
    return page


def _wait_complete(page: Any) -> None:
    page.wait_for_selector('html[data-ready="true"]', state="attached")
    page.wait_for_selector('[data-chart][data-ready="true"]')
    page.wait_for_selector("text=Older candles are loading", state="detached")
    page.wait_for_selector('[data-chart][data-ready="true"]')


def _upload(browser: Any, address: str, rows: int) -> str:
    file = {"name": "candles.csv", "mimeType": "text/csv", "buffer": candles(7, rows).to_csv().encode()}
    return str(_post(browser, f"{address}/api/uploads", multipart={"file": file})["file_path"])


def _forecast(browser: Any, address: str, path: str) -> str:
    body = {"file_path": path, "lookback": 400, "pred_len": 120, "sample_count": 100, "seed": 7}
    return str(_post(browser, f"{address}/api/predict", data=body)["id"])


def _post(browser: Any, address: str, **content: Any) -> Any:
    context = browser.new_context()
    answer = context.request.post(address, timeout=120_000, **content)
    document = answer.json()
    assert answer.ok, document
    context.close()
    return document


def _chromium() -> str:
    """The browser, if there is a page to drive."""
    if not (_ASSETS / "index.html").is_file():
        raise SystemExit("The workbench is not built: run 'make web'.")
    return find_chromium()


def _run(quick: bool) -> str:
    return render(measure(_QUICK if quick else _FULL), quick=quick)


if __name__ == "__main__":
    run_benchmark("benchmarks.workbench", __doc__, _PAGE, _run)

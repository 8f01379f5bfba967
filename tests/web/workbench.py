"""The workbench in a browser tab, as its users see it: open, upload, run, read tables, look at pixels."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest

from kronos.serve.pages import is_built

ROOT = Path(__file__).resolve().parents[2]
PALETTES = json.loads((ROOT / "src/kronos/reports/shared/palettes.json").read_text("utf-8"))
SAMPLE = "sample:simulated_btc_1h"
BUNDLED = "Kronos-nano"
TINY = {"lookback": 64, "horizon": 6, "samples": 20, "seed": 7}
TABLE_QUANTILES = ("0.025", "0.1", "0.25", "0.5", "0.75", "0.9", "0.975")
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# Requests of other tests must not count for this one, and tests are faster than people.
NO_LIMITS = {"requests_per_minute": 0, "work_per_minute": 0}
_AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
WATCH_POLICY = """
window.policyViolations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.policyViolations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile ?? ""}`));
"""
# Each row as the texts of its cells. One call for the whole table: a call for each cell takes seconds.
_ROWS = "table => [...table.rows].map(row => [...row.cells].map(cell => cell.innerText.trim()))"
AXE_RUN = """async rules => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"], ...(rules && { runOnly: rules }) });
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(node => `${id}: ${help} · ${node.target} · ${node.any.map(check => check.message).join("; ")}`));
}"""
# Names depend on the language and contrast on the theme: two runs with all rules see both of both. What a longer or
# shorter text may change in the other theme is seen by two runs of these rules alone.
LOOKS = (
    ("en", "dark", None),
    ("zh", "dark", ["color-contrast"]),
    ("zh", "light", None),
    ("en", "light", ["color-contrast"]),
)


def chromium() -> str:
    """The browser to drive; without one the test is skipped, and fails under CI=true."""
    program = os.environ.get("KRONOS_CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    reason = None if program else "needs Chromium: install it, or name it in KRONOS_CHROMIUM"
    reason = reason or (None if is_built() else "needs the built workbench: run 'make web'")
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    assert program is not None
    return program


def choose_language(page: Any, language: str) -> None:
    """Press the button for the other language, unless a page speaks this one."""
    tag = {"en": "en", "zh": "zh-CN"}[language]
    if page.locator("html").get_attribute("lang") != tag:
        # Not a click of the mouse: an open dialog covers the button.
        page.locator(f'header button[lang="{tag}"]').evaluate("button => button.click()")
        page.wait_for_selector(f'html[lang="{tag}"]', state="attached")


def check_accessibility(page: Any) -> None:
    """Have axe-core look at a page in both languages and themes; nothing may be reported."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe_program())
    reports: list[str] = []
    for language, theme, rules in LOOKS:
        choose_language(page, language)
        page.emulate_media(color_scheme=theme)
        page.wait_for_selector(f'html[data-theme="{theme}"]', state="attached")
        reports += [f"{language}, {theme}: {each}" for each in page.evaluate(AXE_RUN, rules)]
    choose_language(page, "en")
    page.emulate_media(color_scheme="dark")
    assert not reports, "\n".join(reports)


def check_looks(page: Any, scheme: str) -> None:
    """Have axe-core look at a page in one language: by all rules in one theme, and at the contrasts in the other."""
    page.evaluate(axe_program())
    reports: list[str] = []
    for theme, rules in ((scheme, None), ("light" if scheme == "dark" else "dark", ["color-contrast"])):
        page.emulate_media(color_scheme=theme)
        reports += [f"{theme}: {each}" for each in page.evaluate(AXE_RUN, rules)]
    assert not reports, "\n".join(reports)


class Workbench:
    """One tab with the workbench of a server. `problems` collects what must not happen while a test uses it."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.address = address
        self.expected: list[str] = []
        self._problems: list[str] = []
        page.set_default_timeout(60_000)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._problems.append(f"uncaught: {error}"))
        page.on("request", self._on_request)
        page.add_init_script(WATCH_POLICY)

    # What must not happen --------------------------------------------------

    def expect(self, *patterns: str) -> None:
        """Name errors that the test provokes; the browser reports every failed request on the console."""
        self.expected += patterns

    def problems(self) -> list[str]:
        """Errors on the console, violations of the policy, requests to other origins."""
        found = self._problems + ([] if self.page.is_closed() else self._violations())
        return [each for each in found if not any(re.search(pattern, each) for pattern in self.expected)]

    def _violations(self) -> list[str]:
        return [f"policy: {violation}" for violation in self.page.evaluate("window.policyViolations ?? []")]

    def close(self) -> None:
        """Close the tab before its server ends; what it has reported stays."""
        self._problems += self._violations()
        self.page.context.close()

    def reset(self) -> None:
        """Forget what this tab has remembered and reported, and look as at first."""
        self.page.evaluate("localStorage.clear(); sessionStorage.clear()")
        self.page.emulate_media(color_scheme="dark")
        self.expected.clear()
        self._problems.clear()

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self._problems.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _on_request(self, request: Any) -> None:
        own = request.url.startswith((self.address + "/", "data:", f"blob:{self.address}/"))
        if not own:
            self._problems.append(f"request to {urlsplit(request.url).netloc}: {request.url}")

    # Opening ---------------------------------------------------------------

    def open(self, state: str | None = None, **query: Any) -> None:
        """Open the page with an address such as ``file=…&lookback=64``, and wait for a state."""
        self.page.goto(f"{self.address}/?{urlencode(query)}" if query else f"{self.address}/")
        if state is not None:
            self.wait(state)

    def open_data(self, path: str, state: str = "data", **query: Any) -> None:
        """Open the candles at a path, with the parameters of a tiny forecast."""
        self.open(state, file=path, **{**TINY, **query})

    def wait(self, state: str) -> None:
        """Wait until the page is in a state and nothing is loading."""
        self.page.wait_for_selector(f'html[data-state="{state}"][data-ready="true"]', state="attached")

    def wait_drawn(self) -> None:
        """Wait until the chart has drawn what it was given."""
        self.page.wait_for_selector('[data-chart][data-ready="true"]')

    def upload(self, name: str, content: bytes, state: str = "data") -> None:
        """Pick a file."""
        document = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
        self.page.locator('input[type="file"]').set_input_files(document)
        self.wait(state)

    def drop(self, name: str, content: bytes, state: str = "data") -> None:
        """Drop a file on the page."""
        transfer = self.page.evaluate_handle(
            """([name, content]) => {
                 const transfer = new DataTransfer();
                 transfer.items.add(new File([new Uint8Array(content)], name));
                 return transfer;
               }""",
            [name, list(content)],
        )
        self.page.dispatch_event("#main", "drop", {"dataTransfer": transfer})
        self.wait(state)

    # Forecasting -----------------------------------------------------------

    def set_parameters(self, **values: Any) -> None:
        """Fill in number fields by their labels."""
        self.page.locator("details.sampling").evaluate("details => { details.open = true; }")
        for label, value in values.items():
            self.page.get_by_label(label, exact=True).fill(str(value))

    def run(self, state: str = "forecast") -> None:
        """Press the button and wait for the result."""
        self.page.locator("[data-run]").click()
        self.wait(state)

    def result_id(self) -> str:
        """Identifier of the result whose details are shown."""
        return str(self.page.locator("[data-result].chosen").get_attribute("data-result"))

    # Reading ---------------------------------------------------------------

    def text(self, selector: str) -> str:
        """What is written in an element."""
        return str(self.page.locator(selector).first.inner_text())

    def facts(self) -> dict[str, str]:
        """What the reader found out about the file, by name."""
        self.page.wait_for_selector("[data-facts]", state="attached")
        rows = "list => [...list.children].map(row => [row.children[0].textContent, row.children[1].textContent])"
        return dict(self.page.locator("[data-facts]").evaluate(rows))

    def rows(self, table: str) -> list[list[str]]:
        """Cells of a table, the head first: `[data-forecast]`, `[data-history]`, `[data-replay] table` …"""
        self.page.wait_for_selector(table, state="attached")
        return [list(row) for row in self.page.locator(table).evaluate(_ROWS)]

    def quantiles(self) -> np.ndarray:
        """Quantiles of the close behind the canvas [steps, 7], as the page writes them."""
        _, *rows = self.rows("table[data-forecast]")
        return np.array([[number(cell) for cell in row[2:9]] for row in rows])

    def findings(self) -> list[str]:
        """Codes of the findings."""
        items = "list => list.map(item => item.dataset.finding)"
        return list(self.page.locator("[data-finding]").evaluate_all(items))

    def highlighted(self) -> list[str]:
        """Options that the page asks for."""
        labels = "fields => fields.map(field => field.querySelector('label, legend').textContent)"
        return list(self.page.locator("form .highlighted").evaluate_all(labels))

    def spoken(self) -> str:
        """What the chart says to a screen reader."""
        return str(self.page.locator("[data-chart] [aria-live]").text_content())

    # Pixels ----------------------------------------------------------------

    def probes(self) -> dict[str, tuple[float, float]]:
        """Named points of the drawing, in CSS pixels of the chart."""
        self.wait_drawn()
        document = self.page.locator("[data-chart]").get_attribute("data-probes")
        return {probe["name"]: (probe["x"], probe["y"]) for probe in json.loads(document)}

    def pixels(self) -> np.ndarray:
        """The chart as it is shown [height, width, 3]."""
        from PIL import Image

        self.wait_drawn()
        picture = self.page.locator("[data-chart]").screenshot()
        return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), dtype=float)

    def colours(self) -> dict[str, np.ndarray]:
        """Colours by name that the theme and the palette of the page prescribe."""
        root = self.page.locator("html")
        theme, palette = root.get_attribute("data-theme"), root.get_attribute("data-palette")
        named = PALETTES["themes"][theme] | PALETTES["palettes"][palette][theme]
        return {name: rgb(value) for name, value in named.items()}

    # Accessibility ---------------------------------------------------------

    def check_accessibility(self) -> None:
        """Have axe-core look at the page in both languages and themes; nothing may be reported."""
        check_accessibility(self.page)

    def choose_language(self, language: str) -> None:
        """Press the button for the other language, unless the page speaks this one."""
        choose_language(self.page, language)


def axe_program() -> str:
    """The program of axe-core, which checks accessibility."""
    return _AXE.read_text("utf-8")


def number(text: str) -> float:
    """The number that a cell shows."""
    return float(text.replace(",", "").replace("−", "-"))


def rgb(colour: str) -> np.ndarray:
    """Red, green and blue of ``#rrggbb``."""
    return np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)], dtype=float)


def near(pixels: np.ndarray, place: tuple[float, float], reach: int = 1) -> np.ndarray:
    """Pixels around a place [n, 3]."""
    column, row = (round(value) for value in place)
    part = pixels[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
    return part.reshape(-1, 3)


def share(pixel: np.ndarray, ground: np.ndarray, hue: np.ndarray) -> tuple[float, float]:
    """How much of a hue lies over the ground, 0–1, and how far the pixel is from such a mixture, in levels."""
    span = hue - ground
    part = float((pixel - ground) @ span / (span @ span))
    return part, float(np.abs(ground + part * span - pixel).max())


def small_request(path: str = SAMPLE, **changes: Any) -> Mapping[str, Any]:
    """Body of ``POST /api/predict`` for the forecast that `TINY` describes."""
    body = {
        "file_path": path,
        "lookback": TINY["lookback"],
        "pred_len": TINY["horizon"],
        "sample_count": TINY["samples"],
        "seed": TINY["seed"],
    }
    return {**body, **changes}

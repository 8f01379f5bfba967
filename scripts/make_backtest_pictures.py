"""Draw the pictures of a backtest in docs/figures: curves, and the top of its report in a headless Chromium.

    python scripts/make_backtest_pictures.py                     # docs/figures/backtest.png and backtest-report.png
    python scripts/make_backtest_pictures.py --work out/work     # the same, with the candles and signals kept there
    python scripts/make_backtest_pictures.py --all out/pages     # the whole report, both themes, desk and phone

The market is simulated, and the pictures say so. Chromium is the one on the PATH, or KRONOS_CHROMIUM names it.
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
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from kronos.formatting import percent
from kronos.plotting.style import make_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from kronos.plotting.style import Style

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "figures"
SYMBOLS = [f"SIM{number:02}" for number in range(1, 31)]
SIGNAL, FIRST, END = "last", "2025-01-01", "2026-01-01"
DESK, PHONE = 1280, 390


def run_backtest(folder: Path) -> dict[str, Any]:
    """Backtest the bundled model on a year of 30 simulated instruments; return the study of the signal as JSON."""
    kronos = [sys.executable, "-m", "kronos"]
    simulate = [*kronos, "data", "simulate", *SYMBOLS, "--market", "us", "--interval", "1d", "--records", "400"]
    subprocess.run([*simulate, "--end", END, "--output", "simulated"], cwd=folder, check=True, capture_output=True)
    options = ["--from", FIRST, "--to", END, "--signal", SIGNAL, "--top", "5", "--drop", "1", "--slippage", "2"]
    command = [*kronos, "backtest", "simulated", *options, "--output", "backtest", "--json"]
    found = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE)
    study: dict[str, Any] = json.loads(found.stdout)["studies"][SIGNAL]
    return study


def draw_curves(study: dict[str, Any], path: Path) -> None:
    """Draw cumulative returns with and without costs against the benchmark, and the excess."""
    daily = study["daily"]
    returns, benchmark = np.array(daily["returns"]), np.array(daily["benchmark_returns"])
    value = np.array(daily["net_asset_value"])
    before = np.append(study["setup"]["cash"], value[:-1])
    free = returns + (np.array(daily["fees"]) + np.array(daily["slippage"])) / before
    style = make_style("light", "green-up")
    figure = Figure(figsize=(10, 6.6), facecolor=style.ground)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2], "hspace": 0.18})
    dates = pd.DatetimeIndex(daily["dates"])
    name = study["benchmark"]
    draw_panel(
        upper,
        dates,
        {
            "without costs": (free, style.up),
            "with costs": (returns, style.forecast),
            f"benchmark: {name}": (benchmark, style.muted),
        },
        style,
        "Cumulative return",
    )
    excess = {
        "without costs": (free - benchmark, style.up),
        "with costs": (returns - benchmark, style.forecast),
    }
    draw_panel(lower, dates, excess, style, f"Cumulative excess return over {name}")
    instruments = study["setup"]["instruments"]
    title = f"Backtest of {instruments} simulated instruments: the 5 best by kronos-nano"
    figure.text(0.07, 0.965, title, **style.font(13, bold=True), va="center")
    verdict = next(own["sentence"] for own in study["verdicts"] if own["about"] == "edge")
    words = f"Daily returns summed up: {verdict}."
    figure.text(0.07, 0.93, words, **style.font(10, style.muted), va="center")
    figure.text(
        0.97,
        0.965,
        "SIMULATED",
        **style.font(10, "#131722", bold=True),
        ha="right",
        va="center",
        bbox={"boxstyle": "round,pad=0.35", "facecolor": style.warning, "linewidth": 0},
    )
    figure.subplots_adjust(left=0.07, right=0.86, top=0.87, bottom=0.06)
    figure.savefig(path, dpi=144)


def draw_panel(axes: Axes, dates: pd.DatetimeIndex, curves: dict[str, Any], style: Style, title: str) -> None:
    """Draw sums of returns with their last values at the right."""
    ends = []
    for label, (returns, color) in curves.items():
        total = np.cumsum(returns)
        axes.plot(dates, total, color=color, linewidth=2.0 if label == "with costs" else 1.4)
        ends.append((float(total[-1]), label, color))
    span = np.subtract(*axes.get_ylim()[::-1])
    place = -np.inf
    for value, label, color in sorted(ends):
        place = max(value, place + 0.11 * span)  # labels do not overlap
        words = f"{label.split(':')[0]}\n{percent(value)}"
        axes.annotate(
            words,
            (dates[-1], place),
            (8, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            **style.font(9, color, bold=True),
        )
    axes.axhline(0, color=style.muted, linewidth=1, dashes=(3, 2.5), zorder=1)
    axes.set_title(title, loc="left", pad=6, fontdict=style.font(10.5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value, 0)))
    axes.grid(visible=True, color=style.grid)
    axes.tick_params(length=0, colors=style.muted, labelsize=9)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set(family=list(style.fonts))
    axes.set_xlim(dates[0], dates[-1])
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def open_page(browser: Any, path: Path, theme: str, width: int) -> Any:
    """Open the report."""
    page = browser.new_context(viewport={"width": width, "height": 860}, color_scheme=theme).new_page()
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    return page


def main() -> None:
    """Draw the curves, take the pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description="Draw the pictures of a backtest.")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="take the whole report in every look")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep candles and signals for another run")
    arguments = parser.parse_args()
    folder, kept = arguments.all, arguments.work
    program = os.environ.get("KRONOS_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("Chromium is not installed: install it, or name it in KRONOS_CHROMIUM.")
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        work = (kept or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        study = run_backtest(work)
        report = work / "backtest" / "report.html"
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        if folder is None:
            draw_curves(study, FIGURES / "backtest.png")
            page = open_page(browser, report, "light", DESK)
            bottom = page.locator("#warnings").bounding_box()
            clip = {"x": 0, "y": 0, "width": DESK, "height": bottom["y"] + bottom["height"] + 24}
            page.screenshot(path=FIGURES / "backtest-report.png", clip=clip, full_page=True)
            return
        folder.mkdir(parents=True, exist_ok=True)
        for theme, (name, width) in product(("dark", "light"), (("desk", DESK), ("phone", PHONE))):
            open_page(browser, report, theme, width).screenshot(path=folder / f"{name}-{theme}.png", full_page=True)


if __name__ == "__main__":
    main()

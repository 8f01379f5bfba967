"""Draw the pictures in docs/figures.

    python scripts/make_figures.py                                           # the demo's forecast of simulated candles
    python scripts/make_figures.py --evaluation out/evaluation/evaluation.json    # skill by market, for docs/quality.md
    python scripts/make_figures.py --training outputs/models/nano/training/model/log.jsonl    # how nano was trained

It writes docs/figures/forecast.png, or docs/figures/skill-1.png and skill-24.png, or docs/figures/nano-training.png.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import kronos
from kronos.evaluation import ALL
from kronos.evaluation.scoring import MIN_ORIGINS
from kronos.plotting.evaluation_canvas import PlotSeries
from kronos.plotting.skill_plot import plot_skill
from kronos.training.callbacks import TrainingHistory
from kronos.training.report.summary import save_curves

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"
SAMPLE = ROOT / "src" / "kronos" / "samples" / "simulated_btc_1h.csv"


def draw_forecast() -> None:
    """Forecast the sample and draw it."""
    candles = kronos.read_candles(SAMPLE, symbol="SIM-BTC")
    model = kronos.KronosPredictor.from_pretrained(device="cpu")
    FIGURES.mkdir(parents=True, exist_ok=True)
    model.forecast(candles, horizon=24, samples=200, seed=7).plot(path=FIGURES / "forecast.png")


def draw_skill(evaluation: dict[str, Any], step: int, leave_out: Sequence[str]) -> None:
    """Draw the skill of contenders and baselines in every group of enough origins, without those to leave out."""
    unseen = {*leave_out, *(one["name"] for one in evaluation["forecasters"] if one["point"])}
    evaluated = [one for one in evaluation["forecasters"] if not one["baseline"] and one["name"] not in leave_out]
    rows = pd.DataFrame(
        {"group": "all markets" if one["group"] == ALL else one["group"], "forecaster": one["forecaster"]}
        | {"skill": one["skill"]["estimate"], "low": one["skill"]["low"], "high": one["skill"]["high"]}
        for one in evaluation["figures"]
        if one["step"] == step and one["skill"] and one["n"] >= MIN_ORIGINS and one["forecaster"] not in unseen
    )
    near = rows["forecaster"].isin([one["name"] for one in evaluated])
    series = [PlotSeries(one["name"], 0, one["calibration"] is not None) for one in evaluated]
    figure = plot_skill(
        rows[near],
        series,
        title="1 candle ahead" if step == 1 else f"{step} candles ahead",
        reference=evaluation["reference"],
        others=rows[~near],
        first="all markets",
    )
    figure.savefig(FIGURES / f"skill-{step}.png", dpi=160)


def main() -> None:
    """Read the command line, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluation", type=Path, help="what 'kronos evaluate' wrote")
    parser.add_argument(
        "--leave-out", action="append", default=[], metavar="NAME", help="a contender that is not drawn; repeatable"
    )
    parser.add_argument("--training", type=Path, help="the log of the bundled model's training")
    options = parser.parse_args()
    if options.training is not None:
        save_curves(TrainingHistory.read(options.training), FIGURES / "nano-training.png")
        return
    if options.evaluation is None:
        draw_forecast()
        return
    evaluation = json.loads(options.evaluation.read_text("utf-8"))
    for step in (1, 24):
        draw_skill(evaluation, step, options.leave_out)


if __name__ == "__main__":
    main()

"""Measure a model on the split's validation or test dates, beside last value, drift and historical volatility.

    python scripts/evaluate_nano.py --data ../shared/data --part test --json runs/nano/test.json

Origins lie a horizon apart, so that no two forecasts of a series share a step; each sees up to 488 candles before it.
Scores are of cumulative log returns of the close, CRPS in units of σ√h (`kronos.metrics.score`). Groups are markets at
an interval; the last rows average groups, so that the largest doesn't decide. Intervals come from a bootstrap over
origin dates: instruments of one day move together.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

import kronos
from kronos.baselines import BASELINES
from kronos.metrics import score

HORIZON = 24
STEPS = (1, 8, 24)
BESIDE = ("last-value", "drift", "historical-volatility")


def origins(data: Path, part: str, most: int) -> list[tuple[str, kronos.Candles, pd.DataFrame]]:
    """(group, history, what came) of up to ``most`` origins a group, spread evenly over its instruments and dates."""
    manifest = pd.read_csv(data / "candles" / "MANIFEST.csv")
    splits = pd.read_csv(data / "splits.csv", parse_dates=["validation_from", "test_from"]).set_index("market")
    found: dict[str, list[tuple[pd.Timestamp, kronos.Candles, int]]] = {}
    for row in manifest.itertuples():
        candles = kronos.read_candles(data / "candles" / str(row.path), symbol=str(row.symbol), interval=str(row.freq))
        cut = splits.loc[str(row.market)]
        first, last = (cut["test_from"], None) if part == "test" else (cut["validation_from"], cut["test_from"])
        times = candles.index
        begin = int(times.searchsorted(first))
        end = len(times) if last is None else int(times.searchsorted(last))
        for origin in range(max(begin, 65), end - HORIZON + 1, HORIZON):
            found.setdefault(f"{row.market} {row.freq}", []).append((times[origin - 1], candles, origin))
    chosen = []
    for group, all_of_it in sorted(found.items()):
        ranked = sorted(all_of_it, key=lambda one: (one[0], one[1].symbol or ""))
        picks = np.unique(np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round().astype(int))
        for _, candles, origin in (ranked[i] for i in picks):
            chosen.append((group, candles.head(origin), candles.frame.iloc[origin : origin + HORIZON]))
    return chosen


def measure(predictor: kronos.KronosPredictor, data: Path, part: str, most: int, samples: int) -> pd.DataFrame:
    """One row a forecast, model and step: group, origin, model, horizon, crps_scaled, coverage_80."""
    rows = []
    for group, history, came in origins(data, part, most):
        forecasts = {"kronos": predictor.forecast(history, HORIZON, samples=samples, seed=1, timestamps=came.index)}
        for name in BESIDE:
            used = history.tail(predictor.max_context - HORIZON)
            forecasts[name] = BASELINES[name](used, HORIZON, samples=samples, seed=1, timestamps=came.index)
        for name, forecast in forecasts.items():
            scored = score(forecast, came, STEPS)
            for step, line in scored.iterrows():
                if np.isfinite(line["crps_scaled"]):
                    rows.append({"group": group, "origin": str(history.end.date()), "symbol": history.symbol,
                                 "model": name, "horizon": step, "crps": line["crps_scaled"],
                                 "coverage_80": line["coverage_80"]})  # fmt: skip
        print(f"\r{len(rows) // (len(forecasts) * len(STEPS))} origins", end="", flush=True)
    print()
    return pd.DataFrame(rows)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean scores by group, horizon and model, and over groups as ``all``."""
    means = rows.groupby(["group", "horizon", "model"])[["crps", "coverage_80"]].mean()
    overall = means.groupby(["horizon", "model"]).mean()
    overall.index = pd.MultiIndex.from_tuples([("all", *key) for key in overall.index], names=means.index.names)
    return pd.concat([means, overall]).sort_index()


def skill(rows: pd.DataFrame, against: str, draws: int = 1000) -> dict[int, tuple[float, float, float]]:
    """Mean CRPS over groups relative to a baseline's, by horizon: ratio and its 95 % interval by date bootstrap."""
    rng = np.random.default_rng(0)
    out = {}
    for horizon, part in rows[rows.model.isin(["kronos", against])].groupby("horizon"):
        wide = part.pivot_table(index=["group", "origin"], columns="model", values="crps", aggfunc=["sum", "count"])
        groups = [g for _, g in wide.groupby("group")]

        def ratio(samples: list[pd.DataFrame]) -> float:
            means = [s["sum"].sum() / s["count"].sum() for s in samples]
            return float(sum(m["kronos"] for m in means) / sum(m[against] for m in means))

        drawn = [ratio([g.iloc[rng.integers(len(g), size=len(g))] for g in groups]) for _ in range(draws)]
        low, high = np.quantile(drawn, [0.025, 0.975])
        out[int(horizon)] = (ratio(groups), float(low), float(high))
    return out


def table(summary: pd.DataFrame, rows: pd.DataFrame) -> str:
    """The card's Markdown table."""
    models = ["kronos", *BESIDE]
    counts = rows.groupby("group")[["origin", "symbol"]].apply(lambda g: len(g.drop_duplicates())).to_dict()
    counts["all"] = sum(counts.values())
    lines = [
        f"| market | origins | h | {' | '.join(f'CRPS {m}' for m in models)} | 80 % covers: kronos | hist. vol. |",
        "|" + "---|" * (len(models) + 5),
    ]
    groups = dict.fromkeys(summary.index.get_level_values("group"))
    for group in sorted(groups, key=lambda name: (name == "all", name)):
        for horizon in STEPS:
            at = summary.loc[(group, horizon)]
            scores = " | ".join(f"{at.loc[m, 'crps']:.3f}" for m in models)
            covers = " | ".join(f"{at.loc[m, 'coverage_80']:.0%}" for m in ("kronos", "historical-volatility"))
            lines.append(f"| {group} | {counts[group]} | {horizon} | {scores} | {covers} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with candles/ and splits.csv")
    parser.add_argument("--model", default="kronos-nano", help="zoo name, hub id or folder")
    parser.add_argument("--part", choices=["validation", "test"], default="validation")
    parser.add_argument("--most", type=int, default=150, help="origins a group")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    options = parser.parse_args()
    predictor = kronos.KronosPredictor.from_pretrained(options.model, device="cpu")
    rows = measure(predictor, options.data, options.part, options.most, options.samples)
    summary = summarise(rows)
    print(table(summary, rows))
    ratios = {name: skill(rows, name) for name in BESIDE}
    for name, by_step in ratios.items():
        shown = ", ".join(f"h={h} {r:.3f} ({low:.3f}–{high:.3f})" for h, (r, low, high) in by_step.items())
        print(f"CRPS relative to {name}: {shown}")
    if options.json:
        flat = summary.reset_index().to_dict(orient="records")
        options.json.write_text(json.dumps({"options": vars(options), "scores": flat, "ratios": ratios}, default=str))


if __name__ == "__main__":
    main()

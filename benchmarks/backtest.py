"""``python -m benchmarks.backtest``: how long backtests take; writes docs/performance-backtest.md.

Every strategy trades the same simulated market in the same run, so that its time per trade can be compared. The account
starts with 100 million. Setting up the market is not timed; turning the trades into tables is.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.machine import processor_name
from benchmarks.report import table
from benchmarks.timing import Times, say, timed
from kronos.atomic import write_text
from kronos.backtest import (
    BacktestResult,
    BuyAndHold,
    EqualWeight,
    LongShortDeciles,
    MarketPanel,
    PerformanceSettings,
    PublishedSettings,
    TopkDropout,
    TradingRules,
    measure_performance,
    run_backtest,
    run_published,
    signal_quality,
)
from kronos.backtest.reference_signals import RandomSignals
from kronos.typing import FloatArray

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance-backtest.md"
_TARGET = 2.0  # seconds of the strategy of the published results, on 2 cores
_BOOTSTRAPS, _BOOTSTRAP_TARGET = 1_000, 60.0  # repetitions, and seconds for them on 2 cores


@dataclass(frozen=True, slots=True)
class Run:
    """A strategy, what it traded, and how long that took."""

    name: str
    trades: int
    times: Times


def market(days: int, instruments: int) -> MarketPanel:
    """Random walks with suspensions and days at the price limit, as in a market of A-shares."""
    rng = np.random.default_rng(0)
    shape = (days, instruments)
    moves = np.where(
        rng.random(shape) < 0.01, rng.choice([-0.1, 0.1], shape), np.clip(rng.normal(0, 0.02, shape), -0.09, 0.09)
    )
    close = 20 * np.exp(np.cumsum(np.log1p(moves), axis=0))
    opened = close / (1 + moves * rng.random(shape))
    close[rng.random(shape) < 0.01] = np.nan
    opened = np.where(np.isnan(close), np.nan, opened)
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    names = tuple(f"S{number:04d}" for number in range(instruments))
    volume, factor = np.where(np.isnan(close), np.nan, 1e6), np.ones(shape)
    return MarketPanel(pd.bdate_range("2015-01-05", periods=days), names, opened, high, low, close, volume, factor)


def runs(panel: MarketPanel, scores: FloatArray) -> dict[str, Callable[[], BacktestResult]]:
    """The backtests by name; k and drop shrink with a small market."""
    k, drop = min(50, len(panel.instruments) // 4), min(5, len(panel.instruments) // 20 + 1)
    short = TradingRules(short_sales=True)
    return {
        f"top {k}, drop {drop}": lambda: run_backtest(panel, scores, TopkDropout(k, drop)),
        f"top {k}, drop {drop}, published mode": lambda: run_published(panel, scores, PublishedSettings(k, drop)),
        "long and short deciles, daily": lambda: run_backtest(panel, scores, LongShortDeciles(), rules=short),
        "equal weights, daily": lambda: run_backtest(panel, scores, EqualWeight(interval=1)),
        "buy and hold": lambda: run_backtest(panel, scores, BuyAndHold()),
    }


def measure(panel: MarketPanel, repeats: int) -> list[Run]:
    """Time every backtest."""
    scores = np.random.default_rng(1).normal(size=panel.close.shape)
    measured = []
    for name, call in runs(panel, scores).items():
        say(name)
        measured.append(Run(name, len(call().trades), timed(call, repeats)))
    return measured


def measure_figures(panel: MarketPanel, repeats: int) -> dict[str, Times]:
    """Time what is computed from a backtest and from scores."""
    scores = np.random.default_rng(1).normal(size=panel.close.shape)
    result = run_backtest(panel, scores, BuyAndHold())
    benchmark = np.zeros(len(result))
    settings = PerformanceSettings(repetitions=_BOOTSTRAPS)
    signals = RandomSignals.like(scores)
    calls: dict[str, Callable[[], object]] = {
        f"performance, {_BOOTSTRAPS:,} bootstraps of each ratio": lambda: measure_performance(
            result, benchmark, settings
        ),
        "coefficients, decay, factors and quantiles": lambda: signal_quality(panel, scores),
        "one random signal": lambda: next(signals.draw(1)),
    }
    measured = {}
    for name, call in calls.items():
        say(name)
        measured[name] = timed(call, repeats)
    return measured


def render(measured: list[Run], figures: dict[str, Times], panel: MarketPanel, repeats: int) -> str:
    """The page."""
    days, count = panel.close.shape
    head = ("strategy", "trades", "s (best)", "µs a day", "µs a trade")
    body = [
        (
            *(one.name, f"{one.trades:,}", f"{one.times.median:.2f} ({one.times.best:.2f})"),
            *(f"{one.times.median / days * 1e6:.0f}", f"{one.times.median / max(1, one.trades) * 1e6:.1f}"),
        )
        for one in measured
    ]
    computed = [(name, f"{times.median:.2f} ({times.best:.2f})") for name, times in figures.items()]
    first = measured[0]
    versions = f"numpy {np.__version__}, pandas {pd.__version__}, Python {platform.python_version()}"
    return f"""\
# Backtests

Generated by `python -m benchmarks.backtest` on {datetime.now(UTC):%Y-%m-%d}: {processor_name()},
{os.cpu_count()} cores, {versions}. Do not edit this page; run the benchmark again.
Absolute times are specific to this machine. Ratios within one run are comparable.

A simulated market of {count} instruments and {days:,} days, with suspensions and days at the price limit, scored at
random. Times are medians of {repeats} runs after one warm-up run, with the best in brackets. One thread is used.

{table(head, body)}

- *{first.name}* is the strategy of the published results. The target is {_TARGET:.0f} s for 300 instruments and
  2,500 days.
- The day loop works on arrays of all instruments, so a trade takes less time the more of them there are in a day.
- The published mode repeats Qlib's arithmetic order by order.

What a study computes besides its backtests, on the same market:

{table(("figures", "s (best)"), computed)}

- A study runs each backtest once, and one more for each random signal.
- The target for {_BOOTSTRAPS:,} bootstraps is {_BOOTSTRAP_TARGET:.0f} s.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backtest", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="print a smoke test with a small market")
    arguments = parser.parse_args()
    days, instruments, repeats = (60, 20, 1) if arguments.quick else (2_500, 300, 5)
    say(f"{instruments} instruments, {days} days")
    panel = market(days, instruments)
    page = render(measure(panel, repeats), measure_figures(panel, repeats), panel, repeats)
    if arguments.quick:
        print(page)
    else:
        write_text(_PAGE, page)
        say(f"wrote {_PAGE.name}")


if __name__ == "__main__":
    main()

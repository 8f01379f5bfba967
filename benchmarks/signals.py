"""``python -m benchmarks.signals``: how fast signals are computed, against the batch engine that decodes them.

The engine decodes the same windows, prepared beforehand, in the batches of `sample_paths`. Computing signals also
slices histories, finds the next trading days, normalises, checks and repairs candles, and stores and joins everything.
Both are measured in turns, so that what else the machine does slows both. Times per forecast hardly depend on their
number.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import torch

from benchmarks.machine import processor_name
from benchmarks.report import table
from benchmarks.timing import Times, say
from kronos.atomic import write_text
from kronos.backtest.signal_run import compute_signals
from kronos.backtest.signals import SignalPlan, SignalSettings, plan_signals
from kronos.candles import COLUMNS, Candles
from kronos.evaluation.origins import Instrument
from kronos.inference import KronosPredictor
from kronos.inference.batching import SeriesInput, sample_paths
from kronos.intervals import Interval
from kronos.normalisation import normalise
from kronos.preprocessing import ModelInput, resolve_future, time_features

_SMOKE = "**A smoke test with few forecasts: it only shows that the benchmark runs, and its numbers mean nothing.**\n\n"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    instruments: int
    days: int
    rounds: int


def make_instruments(plan: Plan, lookback: int) -> list[Instrument]:
    """Random walks on business days, just long enough."""
    random = np.random.default_rng(0)
    rows = lookback + plan.days - 1
    index = pd.bdate_range("2020-01-01", periods=rows, name="timestamps")
    found = []
    for number in range(plan.instruments):
        close = 50 * np.exp(np.cumsum(random.normal(0, 0.02, rows)))
        opened = np.concatenate([[50.0], close[:-1]])
        volume = random.integers(1_000, 9_000, rows).astype(np.float64)
        values = [opened, np.maximum(opened, close), np.minimum(opened, close), close, volume, volume * close]
        frame = pd.DataFrame(dict(zip(COLUMNS, values, strict=True)), index=index)
        found.append(Instrument(f"S{number}", "us_equity", Candles(frame, f"S{number}", Interval.parse("1d"))))
    return found


def engine_inputs(plan: SignalPlan, predictor: KronosPredictor) -> list[SeriesInput]:
    """The windows of a plan as the engine reads them."""
    settings = plan.settings
    inputs = []
    for origin in range(len(plan)):
        history = plan.history(origin).tail(settings.lookback)
        future = resolve_future(plan.name(origin), history, settings.horizon, None)
        values = history.frame[list(COLUMNS)].to_numpy()
        x, scaler = normalise(values, predictor.clip, normalisation=predictor.tokenizer.normalisation)
        known, ahead = (time_features(future.clock.local(times)) for times in (history.index, future.times))
        inputs.append(SeriesInput(plan.name(origin), ModelInput(x, known, ahead, scaler, future.times)))
    return inputs


def measure(plan: Plan, predictor: KronosPredictor, settings: SignalSettings) -> tuple[Times, Times, int]:
    """Seconds of the engine and of the signals in each round, and the number of forecasts."""
    signals = plan_signals(make_instruments(plan, settings.lookback), predictor, settings)
    inputs, packed, sampling = engine_inputs(signals, predictor), predictor.packed_model(), settings.sampling()
    sample_paths(packed, inputs[:64], sampling, settings.seed, None)  # warm up
    engine, ours = [], []
    for number in range(plan.rounds):
        started = perf_counter()
        sample_paths(packed, inputs, sampling, settings.seed, None)
        engine.append(perf_counter() - started)
        with tempfile.TemporaryDirectory() as folder:
            started = perf_counter()
            compute_signals(signals, predictor, Path(folder))
            ours.append(perf_counter() - started)
        say(f"  round {number + 1}: engine {engine[-1]:.1f} s, signals {ours[-1]:.1f} s")
    return Times(tuple(engine)), Times(tuple(ours)), len(signals)


def render(engine: Times, ours: Times, forecasts: int, plan: Plan, settings: SignalSettings, *, quick: bool) -> str:
    """The results as Markdown."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    ratios = [one / other for one, other in zip(engine.seconds, ours.seconds, strict=True)]
    rows = [
        ["batch engine alone", f"{forecasts / engine.median:.1f}", f"{1e3 * engine.median / forecasts:.1f} ms"],
        ["signals", f"{forecasts / ours.median:.1f}", f"{1e3 * ours.median / forecasts:.1f} ms"],
    ]
    return "\n".join(
        [
            "# Signals",
            "",
            _SMOKE
            * quick
            + f"Generated by `python -m benchmarks.signals` on {datetime.now(UTC):%Y-%m-%d}: {processor_name()}, "
            f"{torch.get_num_threads()} threads, load {load}, Python {platform.python_version()}, torch "
            f"{torch.__version__}. Do not edit this page; run the benchmark again.",
            "",
            f"Signals of {plan.instruments} instruments × {plan.days} days with kronos-nano: {settings.lookback} "
            f"candles of history, {settings.horizon} ahead, {settings.samples} paths; {forecasts:,} forecasts a round. "
            "The engine alone decodes the same windows, prepared beforehand. Computing signals also slices histories, "
            "finds the next trading days, normalises, checks and repairs candles, and stores and joins everything.",
            "",
            table(["", "forecasts per second", "per forecast"], rows),
            "",
            f"Signals reach {np.median(ratios):.0%} of the engine's own throughput (rounds: "
            f"{', '.join(f'{ratio:.0%}' for ratio in ratios)}). The target is 50 %.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.signals", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run with few forecasts")
    parser.add_argument("--days", type=int, default=250, help="days per instrument")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of both, in turns")
    parser.add_argument("--output", type=Path, help="the file to write instead of printing")
    arguments = parser.parse_args()
    plan = Plan(2, 3, 1) if arguments.quick else Plan(80, arguments.days, arguments.rounds)
    say(f"signals of {plan.instruments} instruments × {plan.days} days")
    predictor, settings = KronosPredictor.from_pretrained("kronos-nano"), SignalSettings()
    page = render(*measure(plan, predictor, settings), plan, settings, quick=arguments.quick)
    if arguments.output is None:
        print(page)
    else:
        write_text(arguments.output, page)


if __name__ == "__main__":
    main()

"""``python -m benchmarks.batch``: the acceptance run of ``kronos batch``, and what it costs.

The same forecasts are made on this machine and with Ray, then with Ray while a worker and the main process are killed.
All three tables have to be equal, complete and without doubles, else the benchmark fails. It needs the extra ``ray``.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.batch_runs import (
    HISTORY,
    HORIZON,
    SAMPLES,
    Disturbed,
    Measured,
    Request,
    check_complete,
    disturb,
    finish,
    start,
    workplace,
    write_candles,
)
from benchmarks.machine import processor_name
from benchmarks.report import table
from benchmarks.timing import say
from kronos.atomic import write_text
from kronos.engines import RayEngine

_SMOKE = "**A smoke test with few forecasts: it only shows that the benchmark runs, and its numbers mean nothing.**\n\n"
_EXCHANGES = 10
_INTERVAL = 300  # seconds
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured, and what the arithmetic assumes.

    Attributes:
        series: Number of series, one forecast each.
        fewer: Number of series of the run whose memory is compared.
        shard: Forecasts of a shard.
        workers: Processes and actors.
        symbols: Symbols of an exchange.
        price: Price of a core-hour.
        currency: Its currency.
        seed: Random seed of what is killed, and when.
    """

    series: int = 10_000
    fewer: int = 1_000
    shard: int = 256
    workers: int = 2
    symbols: int = 2_000
    price: float = 0.04
    currency: str = "USD"
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Results:
    """All measurements.

    Attributes:
        fewer: The run of fewer series, on this machine.
        local: The run on this machine.
        ray: The run with Ray.
        disturbed: The run with Ray that was disturbed.
        digest: Hash of the table that all three have.
    """

    fewer: Measured
    local: Measured
    ray: Measured
    disturbed: Disturbed
    digest: str


def measure(plan: Plan, folder: Path) -> Results:
    """Run everything.

    Raises:
        RuntimeError: If a run fails, is incomplete, has a forecast twice, or differs from the others.
    """
    few, many = folder / "few", folder / "many"
    write_candles(few, plan.fewer)
    write_candles(many, plan.series)
    request = Request("local", plan.workers, str(few), str(folder / "out-few"), plan.shard)
    say(f"{plan.fewer:,} series on this machine")
    fewer = finish(start(request))
    say(f"{plan.series:,} series on this machine")
    request = replace(request, candles=str(many), output=str(folder / "out-local"))
    local = finish(start(request))
    say(f"{plan.series:,} series with Ray")
    request = replace(request, engine="ray", output=str(folder / "out-ray"))
    ray = finish(start(request))
    say(f"{plan.series:,} series with Ray, disturbed")
    request = replace(request, output=str(folder / "out-disturbed"))
    disturbed = disturb(request, math.ceil(plan.series / plan.shard), plan.seed)
    digests = [check_complete(folder / f"out-{name}", plan.series) for name in ("local", "ray", "disturbed")]
    if len(set(digests)) > 1:
        raise RuntimeError("The tables of the engines differ.")
    return Results(fewer, local, ray, disturbed, digests[0])


def time_each(measured: Measured) -> float:
    """Seconds per forecast from the first shard on, so without the start of the workers."""
    return (measured.seconds - measured.first) / measured.rest


def cpu_each(measured: Measured) -> float:
    """CPU seconds per forecast of all processes, with their start."""
    return measured.cpu / measured.forecasts


def rate(measured: Measured, workers: int) -> float:
    """Forecasts per second and core, likewise."""
    return 1 / time_each(measured) / workers


def cores_for(forecasts: int, seconds: float, per_core: float) -> int:
    """Cores that make so many forecasts in so many seconds."""
    return math.ceil(forecasts / seconds / per_core)


def cost_of_million(per_core: float, price: float) -> float:
    """Price of a million forecasts at a price of a core-hour."""
    return 1e6 / per_core / 3600 * price


def render(results: Results, plan: Plan, *, quick: bool) -> str:
    """The results as Markdown."""
    local, ray, disturbed = results.local, results.ray, results.disturbed
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    per_core = {"local": rate(local, plan.workers), "ray": rate(ray, plan.workers)}
    overhead, cpu = time_each(ray) - time_each(local), cpu_each(ray) - cpu_each(local)
    runs = [
        [
            name,
            f"{one.forecasts:,}",
            f"{one.first:.1f} s",
            f"{one.seconds:.1f} s",
            f"{1e3 * time_each(one):.2f} ms",
            f"{per_core[name]:.1f}",
            f"{1e3 * cpu_each(one):.2f} ms",
        ]
        for name, one in (("local", local), ("ray", ray))
    ]
    memory = [
        [f"{count:,}", f"{one.main / _MIB:,.0f} MiB", f"{one.worker / _MIB:,.0f} MiB"]
        for count, one in ((plan.fewer, results.fewer), (plan.series, local))
    ]
    symbols = _EXCHANGES * plan.symbols
    undisturbed = {"local": 1 / cpu_each(local), "ray": 1 / cpu_each(ray)}
    costs = [
        [
            name,
            f"{one:.1f}",
            f"{cores_for(symbols, _INTERVAL, one):,}",
            f"{cost_of_million(one, plan.price):,.2f} {plan.currency}",
        ]
        for name, one in undisturbed.items()
    ]
    return "\n".join(
        [
            "# Batches",
            "",
            _SMOKE
            * quick
            + f"Generated by `python -m benchmarks.batch` on {datetime.now(UTC):%Y-%m-%d}: {processor_name()}, "
            f"{os.cpu_count()} cores, load {load}, Python {platform.python_version()}, torch {torch.__version__}. Do "
            "not edit this page; run the benchmark again.",
            "",
            f"{plan.series:,} simulated series, one forecast each with kronos-nano: {HISTORY} candles of history, "
            f"{HORIZON} ahead, {SAMPLES} paths, in shards of {plan.shard}, with {plan.workers} processes or actors of "
            "one thread.",
            "",
            "## Engines",
            "",
            table(
                [
                    "engine",
                    "forecasts",
                    "first shard after",
                    "in all",
                    "per forecast",
                    "per second and core",
                    "CPU time",
                ],
                runs,
            ),
            "",
            "Time per forecast is counted from the first shard on. Before it, candles are hashed, processes start, Ray "
            "starts a cluster of this machine, and all of them load the model. CPU time per forecast is that of all "
            "processes, start included; what else runs on the machine changes it little. A load above "
            f"{plan.workers} says that something did, and that the other times are too long. Ray itself costs "
            f"{1e3 * overhead:+.2f} ms and {1e3 * cpu:+.2f} ms of CPU time per forecast for the same shards.",
            "",
            "## Failures",
            "",
            f"The run was repeated with Ray. An actor was killed after {disturbed.worker_after} of "
            f"{math.ceil(plan.series / plan.shard)} shards, the main process with its cluster after "
            f"{disturbed.driver_after}. The same command found {disturbed.resumed.found:,} forecasts, with those that "
            f"actors had still finished, and made {disturbed.resumed.forecasts:,}. All three tables are complete, "
            f"without doubles, and equal to the last digit (SHA-256 `{results.digest[:16]}…`).",
            "",
            "## Memory",
            "",
            "Peak resident memory with the engine local:",
            "",
            table(["series", "main process", "largest worker"], memory),
            "",
            "## All symbols of ten exchanges",
            "",
            f"{_EXCHANGES} exchanges with {plan.symbols:,} symbols each need {symbols:,} forecasts every 5 minutes, or "
            f"{symbols / _INTERVAL:.0f} per second. Numbers of symbols and prices are arguments of the benchmark, not "
            f"claims: this table assumes {plan.price:g} {plan.currency} per core-hour. Forecasts per second and core "
            "are those of CPU time. Cores are rounded up, and cost is 10⁶ ÷ (forecasts per second and core) ÷ 3600 × "
            "price.",
            "",
            table(["engine", "per second and core", "cores for every 5 minutes", "a million forecasts"], costs),
            "",
        ]
    )


def main() -> None:
    assumed = Plan()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run with few forecasts")
    parser.add_argument("--series", type=int, default=assumed.series, help="number of series, one forecast each")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes and actors")
    parser.add_argument("--symbols", type=int, default=assumed.symbols, help="symbols of an exchange, assumed")
    parser.add_argument("--price", type=float, default=assumed.price, help="price of a core-hour, assumed")
    parser.add_argument("--currency", default=assumed.currency, help="currency of the price")
    parser.add_argument("--seed", type=int, default=assumed.seed, help="random seed of what is killed, and when")
    parser.add_argument("--output", type=Path, help="the file to write instead of printing")
    arguments = parser.parse_args()
    RayEngine()  # without Ray, end before anything is measured
    plan = Plan(
        series=arguments.series,
        fewer=max(1, arguments.series // 10),
        workers=arguments.workers,
        symbols=arguments.symbols,
        price=arguments.price,
        currency=arguments.currency,
        seed=arguments.seed,
    )
    if arguments.quick:
        plan = replace(plan, series=60, fewer=6, shard=5)
    with workplace() as folder:
        page = render(measure(plan, Path(folder)), plan, quick=arguments.quick)
    if arguments.output is None:
        print(page)
    else:
        write_text(arguments.output, page)


if __name__ == "__main__":
    main()

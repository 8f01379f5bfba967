"""The page of ``python -m benchmarks.serving``: every number in it comes from the results."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np

from benchmarks.machine import processor_name
from benchmarks.report import table
from benchmarks.serving_results import Beside, Overload, Results, Route, promises

_SMOKE = "**A smoke run with short loads: it shows that the benchmark runs, and its numbers mean nothing.**\n\n"
_SHARES = (50, 95, 99)


def render(results: Results, *, quick: bool = False) -> str:
    """All of it."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("fastapi", "uvicorn", "uvloop", "torch"))
    return f"""\
# Serving

{_SMOKE if quick else ""}Written by `python -m benchmarks.serving` on {datetime.now(UTC):%Y-%m-%d}, in one run of \
{results.seconds / 60:.1f} minutes: {processor_name()},
{os.cpu_count()} cores, {versions}, Python {platform.python_version()}.
Don't edit it; run it again. Absolute times are this machine's; ratios within one run carry over.

`kronos serve --source simulated` with the bundled model, on loopback, as a process of its own.

## What is promised

{_promises(results)}

## A cached answer beside an empty route

{_beside(results.beside, results.plan.seconds)}

## A cold crowd

{_crowd(results)}

## Overload

{_overload(results)}

## Stopping

{_stop(results)}
"""


def _promises(results: Results) -> str:
    rows = [(one.what, one.wanted, one.measured, "yes" if one.met else "**no**") for one in promises(results)]
    return table(("", "wanted", "measured", "met"), rows)


def _beside(beside: Beside, seconds: float) -> str:
    p95 = beside.ratios(95)
    late = np.nanmedian(np.concatenate([beside.empty.all.late, beside.ours.all.late]))
    where = "servers on one core, the generator on the other" if beside.pinned else "no cores of their own"
    rows = [
        _route("FastAPI's empty route", beside.empty),
        _route("`GET /api/predict?symbol=BTC`, cached", beside.ours),
        ("median ratio of the rounds", *(f"{np.median(beside.ratios(share)):.2f}×" for share in _SHARES), "",
         f"{beside.ours.capacity / beside.empty.capacity:.2f}×"),
    ]  # fmt: skip
    head = ("", *(f"p{share}, ms" for share in _SHARES), "requests", "capacity, 1/s")
    return f"""\
Open loop: requests go out at random moments (Poisson), {beside.rate:,.0f} a second whatever has been answered, which is
half of what the empty route can do; latency counts from the moment at which a request was due. The empty route is one
`async def` that gives a small dict, in an application of its own with uvicorn configured as ours is. Both take turns:
{len(p95)} rounds of {seconds:g} s each, with the same moments; {where}.

{table(head, rows)}

The ratio of the p95s, round by round: {", ".join(f"{one:.2f}×" for one in p95)}. Capacity is what 32 clients get that
ask again as soon as they are answered. The generator exchanges {beside.ceiling:,.0f} requests a second with a server
that does nothing, and under load sent half of all requests within {1e6 * late:.0f} µs of the moment at which
they were due, and 99 % within {1e6 * beside.late:.0f} µs. A cached answer is given by the gate, with all of
its checks, headers and counts, before the framework looks for a route: so it can cost less than an empty one."""


def _route(name: str, route: Route) -> tuple[str, ...]:
    values = (f"{1e3 * route.all.percentile(share):.2f}" for share in _SHARES)
    return (name, *values, f"{route.all.count(200):,} of {len(route.all.status):,}", f"{route.capacity:,.0f}")


def _crowd(results: Results) -> str:
    crowd = results.crowd
    return (
        f"{crowd.clients} clients ask at the same moment for {crowd.symbols} symbols of which nothing is known yet: "
        f"{crowd.answers.count(200)} are answered,\nthe last after {np.nanmax(crowd.answers.latency):.2f} s, with "
        f"{crowd.computed} forecasts in {crowd.batches} batches."
    )


def _overload(results: Results) -> str:
    loads = {
        "limits as they are": results.limited,
        "no limit of work": results.unlimited,
        "the same again": results.again,
    }
    head = ("", "200", "202", "429", "503", "other", "health p95, ms", "MB before", "MB after", "MB at most")
    plan = results.plan
    return f"""\
{plan.rate:.0f} requests a second for {plan.overload:g} s, each with its own seed, half of them as jobs; a client may
have 600,000 path-steps computed a minute unless that limit is off, and {plan.queue} forecasts may wait. Every tenth
request asks for `/health` instead.

{table(head, [_load(name, one) for name, one in loads.items()])}"""


def _load(name: str, load: Overload) -> tuple[str, ...]:
    number = len(load.answers.status)
    shares = (f"{load.answers.count(status) / number:.0%}" for status in (200, 202, 429, 503))
    memory = (f"{one:.0f}" for one in (load.before, load.after, load.peak))
    return (name, *shares, f"{load.odd}", f"{1e3 * load.health.percentile(95):.1f}", *memory)


def _stop(results: Results) -> str:
    stop = results.stop
    return (
        f"SIGTERM while {stop.streams} clients follow jobs that take long: {stop.told} are told that the "
        f"server closes, and the process ends\nafter {stop.seconds:.2f} s with exit code {stop.code}."
    )

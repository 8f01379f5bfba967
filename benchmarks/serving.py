"""``python -m benchmarks.serving``: how fast the server answers, beside FastAPI's empty route.

All of it in one run on loopback with the bundled model; writes docs/performance-serving.md.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.command import run_benchmark
from benchmarks.load import Answers, drive, get, poisson, post, saturate, together
from benchmarks.servers import EMPTY, Server, kronos, simple
from benchmarks.serving_page import render
from benchmarks.serving_results import Beside, Crowd, Overload, Plan, Results, Route, Stop
from benchmarks.timing import say

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance-serving.md"
_CACHED = "/api/predict?symbol=BTC"
_SYMBOLS = ("BTC", "ETH", "DOT", "SOL", "ADA", "MATIC", "LINK", "AVAX")
_CLIENTS = 32  # of a closed loop
_FULL = Plan(rounds=6, seconds=5.0, saturation=2.0, crowd=200, rate=100.0, overload=10.0, queue=64, streams=20)
_QUICK = Plan(rounds=1, seconds=0.5, saturation=0.3, crowd=40, rate=80.0, overload=1.0, queue=8, streams=5)


def measure(plan: Plan) -> Results:
    """All measurements, in the order of the report."""
    started = perf_counter()
    beside = measure_beside(plan)
    queue = {"KRONOS_SERVE__QUEUE": str(plan.queue)}
    with kronos(queue) as server:
        say("a cold crowd")
        crowd = measure_crowd(server, plan.crowd)
        say("overload, limits as they are")
        limited = measure_overload(server, plan)
    with kronos({**queue, "KRONOS_SERVE__WORK_PER_MINUTE": "0"}) as server:
        say("overload without a limit of work")
        measure_crowd(server, len(_SYMBOLS))
        unlimited = measure_overload(server, plan)
        say("the same once more")
        again = measure_overload(server, plan)
        say("a signal to stop")
        stop = measure_stop(server, plan.streams)
    return Results(plan, beside, crowd, limited, unlimited, again, stop, perf_counter() - started)


def measure_beside(plan: Plan) -> Beside:
    """The empty route and our cached answer in turns, under half of what the empty route can do.

    The servers share a core, and the generator has another.
    """
    cores = _cores()
    with ExitStack() as stack:
        with _on(cores[:1]):
            bare, empty = (stack.enter_context(simple(kind)) for kind in ("bare", "empty"))
            ours = stack.enter_context(kronos())
        stack.enter_context(_on(cores[1:2]))
        ours.text(_CACHED)
        say("capacities")
        ceiling, _ = saturate(bare.port, get("/"), plan.saturation, _CLIENTS)
        both = ((empty, get(EMPTY)), (ours, get(_CACHED)))
        tries = [[saturate(one.port, request, plan.saturation, _CLIENTS)[0] for one, request in both] for _ in range(3)]
        capacities = np.median(tries, axis=0).tolist()
        rate = capacities[0] / 2
        rounds: list[list[Answers]] = []
        for number in range(plan.rounds):
            say(f"round {number + 1} of {plan.rounds} at {rate:,.0f} requests a second")
            _await_kept(ours, plan.seconds)
            moments = poisson(rate, plan.seconds, number)
            answers = [
                drive(one.port, lambda _, said=request: said, moments)
                for one, request in (both if number % 2 == 0 else both[::-1])
            ]
            rounds.append(answers if number % 2 == 0 else answers[::-1])
    routes = [Route(capacities[i], [one[i] for one in rounds], together([one[i] for one in rounds])) for i in (0, 1)]
    return Beside(ceiling, rate, *routes, pinned=len(cores) > 1)


def measure_crowd(server: Server, clients: int) -> Crowd:
    """Many ask at the same moment for few symbols of which nothing is known yet."""
    before = server.number("kronos_forecasts_total"), server.number("kronos_batches_total")
    requests = [get(f"/api/predict?symbol={symbol}") for symbol in _SYMBOLS]
    answers = drive(server.port, lambda i: requests[i % len(requests)], np.zeros(clients), patience=60.0, ready=clients)
    after = server.number("kronos_forecasts_total"), server.number("kronos_batches_total")
    return Crowd(clients, min(clients, len(_SYMBOLS)), answers, int(after[0] - before[0]), int(after[1] - before[1]))


def measure_overload(server: Server, plan: Plan) -> Overload:
    """More distinct forecasts than can be computed, half of them as jobs; every tenth request asks for ``/health``."""
    before = server.memory()

    def request(number: int) -> bytes:
        if number % 10 == 0:
            return get("/health")
        body = {"file_path": "sample:simulated_btc_1h", "seed": number, "sample_count": 20, "pred_len": 24}
        return post("/api/predict" if number % 2 else "/api/jobs/predict", json.dumps(body).encode())

    answers = drive(server.port, request, poisson(plan.rate, plan.overload, 7), patience=70.0)
    health = np.arange(len(answers.status)) % 10 == 0
    _await_idle(server)
    return Overload(answers.only(~health), answers.only(health), before, server.memory(), server.memory("VmHWM"))


def measure_stop(server: Server, streams: int) -> Stop:
    """Seconds from the signal to the end of the process, while clients follow jobs that would take long."""
    opened = []
    for seed in range(streams):
        body = {"file_path": "sample:simulated_btc_1h", "seed": seed, "sample_count": 200, "pred_len": 190}
        job = json.loads(_ask(server, post("/api/jobs/predict", json.dumps(body).encode())).partition(b"\r\n\r\n")[2])
        stream = socket.create_connection(("127.0.0.1", server.port), 10)
        stream.sendall(get(job["events"]))
        assert b"event: progress" in _read(stream, b"\n\n"), "the job has ended already"
        opened.append(stream)
    started = perf_counter()
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(30)
    seconds = perf_counter() - started
    told = sum(b"event: closing" in _read(stream, None) for stream in opened)
    return Stop(streams, seconds, told, code)


def _ask(server: Server, request: bytes) -> bytes:
    """One answer, over a connection of its own."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(request)
        return _read(connection, b"}")


def _read(connection: socket.socket, until: bytes | None) -> bytes:
    """What a connection brings up to some bytes, or up to its end."""
    got = b""
    with connection.makefile("rb") as file:
        while until is None or until not in got:
            part = file.read1(65_536)
            if not part:
                break
            got += part
    return got


def _await_kept(server: Server, seconds: float) -> None:
    """See to it that the answer is kept for the next seconds: wait for the candle's close where that is near."""
    kept = re.search(r"max-age=(\d+)", server.headers(_CACHED)["cache-control"])
    left = int(kept[1]) if kept else 0
    if left < 2 * seconds + 2:
        time.sleep(left + 1.5)
        server.text(_CACHED)


def _await_idle(server: Server) -> None:
    """Wait until nothing is queued, a minute at most."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        jobs = json.loads(server.text("/api/jobs"))["jobs"]
        if not server.number("kronos_queue_waiting") and all(job["finished"] for job in jobs):
            return
        time.sleep(0.2)


def _cores() -> Sequence[int]:
    """The first two cores that this process may use; none where it can't choose."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return cores[:2] if len(cores) > 1 else []


@contextmanager
def _on(cores: Sequence[int]) -> Iterator[None]:
    """Keep to some cores, and so does what is started meanwhile."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _run(quick: bool) -> str:
    return render(measure(_QUICK if quick else _FULL), quick=quick)


if __name__ == "__main__":
    run_benchmark("benchmarks.serving", __doc__, _PAGE, _run)

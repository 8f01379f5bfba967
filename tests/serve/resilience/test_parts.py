"""Threads, caches and jobs, by themselves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.serve.batcher import ForecastRequest, PendingForecast
from kronos.serve.cache import AsyncTTLCache, Expiring
from kronos.serve.errors import ApiError
from kronos.serve.executors import DaemonPool
from kronos.serve.jobs import Jobs


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.lists(st.sampled_from(["fine", "error", "odd", "cancel"]), max_size=30))
def test_a_pool_ends_every_piece_of_work_whatever_it_does(threads, kinds):
    pool = DaemonPool(threads, "test")
    most, now, lock = 0, 0, threading.Lock()

    def work(kind):
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.001)
        with lock:
            now -= 1
        if kind == "error":
            raise ValueError(kind)
        if kind == "odd":
            raise SystemExit(kind)
        return kind

    futures = [(kind, pool.submit(work, kind)) for kind in kinds]
    cancelled = [one for kind, one in futures if kind == "cancel" and one.cancel()]
    for kind, one in futures:
        if one in cancelled:
            assert one.cancelled()
        elif kind in ("error", "odd"):
            assert isinstance(one.exception(5), Exception)
        else:
            assert one.result(5) == kind
    assert most <= threads
    assert pool.submit(lambda: 1).result(5) == 1


def test_a_pool_does_not_hold_the_process():
    code = (
        "import time; from kronos.serve.executors import DaemonPool\n"
        "pool = DaemonPool(2, 'x'); [pool.submit(time.sleep, 60) for _ in range(5)]; time.sleep(0.2)"
    )
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code], timeout=30, check=True)
    assert time.monotonic() - started < 20


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["value", "error", "full"])), max_size=40), st.integers(1, 4)
)
def test_a_kept_answer_is_made_once_at_a_time_and_never_more_than_fit(asks, most):
    async def run():
        kept, making, made = AsyncTTLCache(most), Counter(), Counter()

        async def ask(key, kind):
            async def make():
                making[key] += 1
                assert making[key] == 1, "made twice at the same time"
                await asyncio.sleep(0)
                making[key] -= 1
                made[key] += 1
                if kind == "error":
                    raise ValueError(key)
                if kind == "full":
                    raise ApiError(503, "full")
                return Expiring((key, made[key]), 60.0)

            try:
                return await kept.get(key, make)
            except (ValueError, ApiError) as error:
                return error

        answers = await asyncio.gather(*(ask(*one) for one in asks))
        assert len(kept) <= most
        for (key, _), answer in zip(asks, answers, strict=True):
            assert isinstance(answer, Exception) or answer[0] == key
        assert all(kept.peek(key) is None or kept.peek(key)[0][0] == key for key in range(6))

    asyncio.run(run())


def test_a_waiter_that_leaves_takes_nobodys_answer_along():
    async def run():
        kept, go = AsyncTTLCache(), asyncio.Event()

        async def make():
            await go.wait()
            return Expiring(7, 60.0)

        waiters = [asyncio.create_task(kept.get("key", make)) for _ in range(3)]
        await asyncio.sleep(0.01)
        waiters[0].cancel()
        await asyncio.sleep(0.01)
        go.set()
        assert await asyncio.gather(*waiters[1:]) == [7, 7]
        assert waiters[0].cancelled()

    asyncio.run(run())


def test_jobs_are_bounded_in_number_and_in_what_they_keep():
    async def run():
        jobs = Jobs()

        async def quick(_):
            return {"n": 1}

        for _ in range(400):
            job = jobs.start("predict", quick)
            await job._task
        assert len(jobs.all()) <= 257
        assert jobs.all()[0] is job

        async def large(_):
            return {"chart": "x" * 4_000_000, "rows": [[1.0] * 1000] * 1000}

        for _ in range(20):
            job = jobs.start("predict", large)
            await job._task
        held = sum(one.result is not None and "chart" in one.result for one in jobs.all())
        assert 1 <= held <= 6
        assert jobs.get(job.id).state == "done", "the latest is kept"

        async def never(_):
            await asyncio.Event().wait()

        running = [jobs.start("predict", never) for _ in range(64)]
        with pytest.raises(ApiError) as refused:
            jobs.start("predict", never)
        assert refused.value.status == 503
        await jobs.cancel(running[0])
        assert jobs.start("predict", quick)
        await jobs.close()
        assert all(one.ended for one in jobs.all())
        with pytest.raises(ApiError):
            jobs.start("predict", quick)

    asyncio.run(run())


def test_a_ticket_takes_the_first_of_two_answers():
    for first in (ValueError("a"), None):
        ticket = PendingForecast(ForecastRequest("x", None, 1, None, None), None)
        if first is None:
            assert ticket.result.cancel()
        else:
            ticket.finish(first)
        ticket.finish(ValueError("b"))
        assert isinstance(ticket.result, Future)
        assert ticket.result.cancelled() or ticket.result.exception() is first


def test_a_job_that_takes_too_long_is_given_up_and_says_so(monkeypatch):
    monkeypatch.setattr("kronos.serve.jobs._LONGEST", 0.05)

    async def endless(job):
        await asyncio.sleep(60)
        return {}

    async def story():
        jobs = Jobs()
        job = jobs.start("predict", endless)
        async for _ in job.changes():
            pass
        return job

    job = asyncio.run(story())
    assert job.state == "failed"
    assert "took too long" in job.message

"""Background jobs: limits and outcomes."""

from __future__ import annotations

import asyncio

import pytest

from kronos.serve.errors import ApiError
from kronos.serve.jobs import Jobs


@pytest.mark.slow
def test_jobs_are_bounded_in_number_and_size():
    async def run():
        jobs = Jobs()

        async def quick(_):
            return {"n": 1}

        for _ in range(600):
            job = jobs.start("predict", quick)
            await job._task
        assert len(jobs.all()) <= 513
        assert jobs.all()[0] is job

        async def large(_):
            return {"chart": "x" * 4_000_000, "rows": [[1.0] * 1000] * 1000}

        for _ in range(10):
            job = jobs.start("predict", large)
            await job._task
        held = sum(job.result is not None and "chart" in job.result for job in jobs.all())
        assert 1 <= held <= 6
        assert jobs.get(job.id).state == "done", "the newest job is kept"

        async def never(_):
            await asyncio.Event().wait()

        running = [jobs.start("predict", never) for _ in range(64)]
        with pytest.raises(ApiError) as rejected:
            jobs.start("predict", never)
        assert rejected.value.status == 429
        await jobs.cancel(running[0])
        assert jobs.start("predict", quick)
        await jobs.close()
        assert all(job.ended for job in jobs.all())
        with pytest.raises(ApiError):
            jobs.start("predict", quick)

    asyncio.run(run())


def test_a_job_times_out(monkeypatch):
    monkeypatch.setattr("kronos.serve.jobs._MAX_SECONDS", 0.05)

    async def endless(_):
        await asyncio.sleep(60)
        return {}

    async def run():
        job = Jobs().start("predict", endless)
        async for _ in job.changes():
            pass
        return job

    job = asyncio.run(run())
    assert job.state == "failed"
    assert "timed out" in job.message


def test_jobs_are_seen_by_their_owner_only():
    async def quick(_):
        return {}

    async def run():
        jobs = Jobs()
        own, other = jobs.start("predict", quick, owner="a"), jobs.start("predict", quick, owner="b")
        assert jobs.all("a") == [own]
        assert jobs.all() == [other, own]
        assert jobs.get(own.id, "a") is jobs.get(own.id) is own
        with pytest.raises(ApiError) as hidden:
            jobs.get(other.id, "a")
        with pytest.raises(ApiError) as missing:
            jobs.get("none", "a")
        assert hidden.value.document == missing.value.document
        assert hidden.value.status == 404

    asyncio.run(run())


def test_one_client_leaves_room_for_the_jobs_of_others():
    async def quick(_):
        return {}

    async def never(_):
        await asyncio.Event().wait()

    async def run():
        jobs = Jobs()
        first = jobs.start("predict", quick, owner="b")
        await first._task
        for _ in range(64):
            jobs.start("predict", never, owner="a")
        with pytest.raises(ApiError) as rejected:
            jobs.start("predict", never, owner="a")
        assert rejected.value.status == 429
        assert jobs.start("predict", quick, owner="b")
        for _ in range(600):
            await jobs.start("predict", quick, owner="c")._task
        assert jobs.get(first.id) is first, "the oldest jobs of the client with the most are dropped"
        await jobs.close()

    asyncio.run(run())

"""Jobs over HTTP: watch one by polling or by server-sent events, cancel it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field

from kronos.serve.errors import ApiError
from kronos.serve.jobs import Job
from kronos.serve.routes.common import ErrorResponse, errors
from kronos.serve.state import AppState

JobId = Annotated[str, Path(max_length=40)]


class JobResponse(BaseModel):
    """A job."""

    id: str
    kind: Literal["predict", "load-model"]
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: float = Field(ge=0, le=1, description="Share of the work done.")
    message: str
    created: str
    finished: str | None
    result: dict[str, Any] | None = Field(description="What it made, as its route answers; once it is done.")
    error: ErrorResponse | None
    events: str = Field(description="Where its progress can be followed for the next five minutes, without headers.")


class JobsResponse(BaseModel):
    """All jobs, the latest first; without their results."""

    jobs: list[JobResponse]
    count: int


def job_body(state: AppState, job: Job, *, result: bool = True) -> dict[str, Any]:
    """A job as clients see it."""
    ticket = state.rules.callers.ticket(job.id)
    document = job.document() | {"events": f"/api/jobs/{job.id}/events?ticket={ticket}"}
    return document if result else document | {"result": None}


async def event_stream(request: Request, job_id: JobId) -> AsyncIterator[Job]:
    """A job, while there is room for another stream; before the stream begins, so that errors have a status.

    Raises:
        ApiError: 404 if there is no such job, 503 if too many streams are open.
    """
    state: AppState = request.app.state.kronos
    found = state.jobs.get(job_id)
    if state.streams >= state.serve.streams:
        raise ApiError(503, "Too many event streams are open; poll the job, or try again later.", retry_after=5)
    state.streams += 1
    try:
        yield found
    finally:
        state.streams -= 1


def job_routes(state: AppState) -> APIRouter:
    """The routes of one server."""
    router = APIRouter(prefix="/api/jobs", tags=["Jobs"])

    @router.get("", response_model=JobsResponse, responses=errors())
    async def jobs() -> dict[str, Any]:
        """List jobs."""
        found = [job_body(state, job, result=False) for job in state.jobs.all()]
        return {"jobs": found, "count": len(found)}

    @router.get("/{job_id}", response_model=JobResponse, responses=errors(404))
    async def job(job_id: JobId) -> dict[str, Any]:
        """Show a job, with what it made."""
        return job_body(state, state.jobs.get(job_id))

    @router.delete("/{job_id}", response_model=JobResponse, responses=errors(404))
    async def cancel(job_id: JobId) -> dict[str, Any]:
        """Cancel a job; one that has ended stays as it is."""
        found = state.jobs.get(job_id)
        await state.jobs.cancel(found)
        return job_body(state, found, result=False)

    @router.get("/{job_id}/events", response_class=EventSourceResponse, responses=errors(404))
    async def events(job: Annotated[Job, Depends(event_stream)]) -> AsyncIterator[ServerSentEvent]:
        """Follow a job: ``progress`` events, and at last ``done``, ``failed`` or ``cancelled``.

        ``closing`` says that the server stops. Each other one carries the job as ``GET /api/jobs/{job_id}`` shows it,
        without the result.
        """
        changes = job.changes()
        closing = asyncio.ensure_future(state.closing.wait())
        try:
            while True:
                change = asyncio.ensure_future(anext(changes, None))
                await asyncio.wait({change, closing}, return_when=asyncio.FIRST_COMPLETED)
                if change.done() and change.result() is None:
                    return
                if change.done() or job.ended:  # stopping ends the job, and may be quicker than its story
                    told = job_body(state, job, result=False)
                    yield ServerSentEvent(event=job.state if job.ended else "progress", data=told)
                if closing.done():
                    change.cancel()
                    yield ServerSentEvent(event="closing", data={"message": "The server is stopping."})
                    return
        finally:
            closing.cancel()

    return router

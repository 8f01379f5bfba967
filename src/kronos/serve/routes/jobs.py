"""Jobs over HTTP: poll them, follow them with server-sent events, cancel them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from kronos.serve.errors import ApiError
from kronos.serve.jobs import Job
from kronos.serve.routes.common import ErrorResponse, client_of, errors, owner_of, reject_unknown_parameters
from kronos.serve.state import AppState

JobId = Annotated[str, Path(max_length=40)]
Ticket = Annotated[
    str | SkipJsonSchema[None],  # a parameter of a query is absent, never null
    Query(
        min_length=1,
        max_length=100,
        description="Ticket of the job's events URL; replaces the API key, which browsers cannot send.",
    ),
]


class JobResponse(BaseModel):
    """A job."""

    id: str
    kind: Literal["predict", "load-model"]
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: float = Field(ge=0, le=1, description="Completed share.")
    message: str
    created: str
    finished: str | None
    result: dict[str, Any] | None = Field(description="Response of the job's synchronous route, once it is done.")
    error: ErrorResponse | None
    events: str = Field(description="URL of the job's events; valid for five minutes, without headers.")


class JobsResponse(BaseModel):
    """All jobs, the newest first, without their results."""

    jobs: list[JobResponse]
    count: int


def job_response(state: AppState, request: Request, job: Job, *, result: bool = True) -> dict[str, Any]:
    """Return a job as clients see it, with or without its result."""
    ticket = state.api_keys.ticket(job.id)
    prefix = getattr(request.state, "prefix", "")  # of a reverse proxy
    document = job.document() | {"events": f"{prefix}/api/jobs/{job.id}/events?ticket={ticket}"}
    return document if result else document | {"result": None}


async def event_stream(request: Request, job_id: JobId, ticket: Ticket = None) -> AsyncIterator[Job]:
    """Open a stream of a job's events; a dependency, so that its errors have a status.

    Raises:
        ApiError: 404 if there is no such job; 503 if too many streams are open, 429 if they are the client's.
    """
    state: AppState = request.app.state.kronos
    has_ticket = ticket is not None and state.api_keys.verify_ticket(job_id, ticket)
    job = state.jobs.get(job_id, None if has_ticket else owner_of(state, request))
    client, streams, serve = job.owner or client_of(request), state.streams, state.serve
    if streams.total() >= serve.streams:
        raise ApiError(503, "Too many event streams are open; poll the job, or retry later.", retry_after=5)
    if streams[client] >= serve.streams_per_client:
        raise ApiError(429, "This client has too many event streams open; close one, or poll the job.", retry_after=5)
    streams[client] += 1
    try:
        yield job
    finally:
        streams.subtract((client,))
        if not streams[client]:
            del streams[client]


def job_routes(state: AppState) -> APIRouter:
    """Build the routes of one server."""
    router = APIRouter(prefix="/api/jobs", tags=["Jobs"], dependencies=[Depends(reject_unknown_parameters)])

    @router.get("", response_model=JobsResponse, responses=errors())
    async def jobs(request: Request) -> dict[str, Any]:
        """List the jobs of the API key."""
        owned = state.jobs.all(owner_of(state, request))
        documents = [job_response(state, request, job, result=False) for job in owned]
        return {"jobs": documents, "count": len(documents)}

    @router.get("/{job_id}", response_model=JobResponse, responses=errors(404))
    async def job(request: Request, job_id: JobId) -> dict[str, Any]:
        """Show a job with its result."""
        return job_response(state, request, state.jobs.get(job_id, owner_of(state, request)))

    @router.delete("/{job_id}", response_model=JobResponse, responses=errors(404))
    async def cancel(request: Request, job_id: JobId) -> dict[str, Any]:
        """Cancel a job; a finished job does not change."""
        job = state.jobs.get(job_id, owner_of(state, request))
        await state.jobs.cancel(job)
        return job_response(state, request, job, result=False)

    @router.get("/{job_id}/events", response_class=EventSourceResponse, responses=errors(404))
    async def events(request: Request, job: Annotated[Job, Depends(event_stream)]) -> AsyncIterator[ServerSentEvent]:
        """Follow a job: ``progress`` events, then ``done``, ``failed`` or ``cancelled``.

        ``closing`` means that the server is shutting down. The other events carry the job as ``GET /api/jobs/{job_id}``
        returns it, without the result.
        """
        changes = job.changes()
        stopping = asyncio.ensure_future(state.stopping.wait())
        try:
            while True:
                change = asyncio.ensure_future(anext(changes, None))
                await asyncio.wait({change, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if change.done() and change.result() is None:
                    return
                if change.done() or job.ended:  # the shutdown may end the job before its change arrives
                    event = job.state if job.ended else "progress"
                    yield ServerSentEvent(event=event, data=job_response(state, request, job, result=False))
                if stopping.done():
                    change.cancel()
                    yield ServerSentEvent(event="closing", data={"message": "The server is shutting down."})
                    return
        finally:
            stopping.cancel()

    return router

"""Helpers of the routes: error documentation, threads, timeouts, disconnected clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from kronos.serve.errors import ApiError
from kronos.serve.state import AppState
from kronos.serve.workbench_schemas import TablePreviewResponse

P = ParamSpec("P")
T = TypeVar("T")

_WORK_PER_READ, _WORK_PER_SECOND = 500, 10_000  # path-steps charged for opening a file, and per second of reading it


class ErrorResponse(BaseModel):
    """An error."""

    error: str = Field(description="Short name.", examples=["Bad request"])
    message: str = Field(description="What is wrong, and how to fix it.")
    options: list[str] = Field(
        default_factory=list, description="Reading options that would settle how to read the file; absent if none."
    )
    kind: str | None = Field(default=None, description="Short stable name of the message; absent or null if none.")
    values: dict[str, str | int] = Field(
        default_factory=dict, description="What the message quotes, by name; absent without a kind."
    )
    preview: TablePreviewResponse | None = Field(
        default=None, description="First rows of the file that the message is about; absent or null if there are none."
    )


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route for the OpenAPI document: these, and those of every route."""
    return {status: {"model": ErrorResponse} for status in sorted({400, 401, 403, 421, 429, 503, *statuses})}


def client_of(request: Request) -> str:
    """Return the client that the limits apply to."""
    return str(request.state.client)


def owner_of(state: AppState, request: Request) -> str:
    """Return the owner of the jobs that a request starts and sees: its API key; empty if the server has no keys."""
    return client_of(request) if state.api_keys.required else ""


async def reject_repeated_parameters(request: Request) -> None:
    """Reject a query that gives one of the route's parameters twice: the framework would take the last one.

    Raises:
        ApiError: 400 if a parameter is repeated.
    """
    route, query = request.scope.get("route"), request.query_params
    if len(query) == len(query.multi_items()) or not isinstance(route, APIRoute):
        return
    for name in _query_parameters(route.dependant):
        if (count := len(query.getlist(name))) > 1:
            raise ApiError(400, f"{name}: Given {count} times; give it once.")


async def reject_unknown_parameters(request: Request) -> None:
    """Reject a query with a parameter that the route does not have, such as a misspelt one.

    Raises:
        ApiError: 400 if a parameter is unknown.
    """
    route = request.scope.get("route")
    if not request.query_params or not isinstance(route, APIRoute):
        return
    known = set(_query_parameters(route.dependant))
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is not None:
        listed = f"choose from {', '.join(sorted(known))}" if known else "this route has none"
        raise ApiError(400, f"{unknown[:100]}: Unknown parameter; {listed}.")


def _query_parameters(dependant: Dependant) -> Iterator[str]:
    """Yield the names of the query parameters of a route and of its dependencies."""
    yield from (parameter.alias for parameter in dependant.query_params)
    for dependency in dependant.dependencies:
        yield from _query_parameters(dependency)


async def run_in_pool(state: AppState, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run file operations in a thread, with the request timeout."""
    future = asyncio.wrap_future(state.file_pool.submit(work, *args, **kwargs))
    return await asyncio.wait_for(future, state.serve.timeout)


async def run_reader(state: AppState, client: str, work: Callable[[Callable[[float], None]], T]) -> T:
    """Read a file in a thread, with the request timeout, and charge the client for it.

    Args:
        state: The server.
        client: Client to charge.
        work: Reads the file; calls its argument with the seconds that it used.

    Raises:
        ApiError: 429 if the client has no work left.
    """
    loop, limit = asyncio.get_running_loop(), state.work_limit
    limit.check(client)
    limit.debit(client, _WORK_PER_READ)

    def charge(seconds: float) -> None:
        with suppress(RuntimeError):  # the event loop has ended
            loop.call_soon_threadsafe(limit.debit, client, _WORK_PER_SECOND * seconds)

    return await asyncio.wait_for(asyncio.wrap_future(state.read_pool.submit(work, charge)), state.serve.timeout)


async def until_disconnect(request: Request, work: Awaitable[T], timeout: float) -> T:
    """Wait for work, and cancel it if the client disconnects or the time is over.

    Raises:
        TimeoutError: If the time is over.
        ApiError: If the client has disconnected; it is not received by anyone.
    """
    task = asyncio.ensure_future(work)
    disconnect = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        done, _ = await asyncio.wait({task, disconnect}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            return task.result()
        raise ApiError(408, "The client disconnected.") if done else TimeoutError
    finally:
        disconnect.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=5)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

"""Helpers of the routes: error documentation, threads, timeouts, disconnected clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from fastapi import Request
from pydantic import BaseModel, Field

from kronos.serve.errors import ApiError
from kronos.serve.state import AppState

P = ParamSpec("P")
T = TypeVar("T")

_WORK_PER_READ, _WORK_PER_SECOND = 500, 10_000  # path-steps charged for opening a file, and per second of reading it


class ErrorResponse(BaseModel):
    """An error."""

    error: str = Field(description="Short name.", examples=["Bad request"])
    message: str = Field(description="What is wrong, and how to fix it.")


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route for the OpenAPI document: these, and those of every route."""
    return {status: {"model": ErrorResponse} for status in sorted({400, 401, 403, 421, 429, 503, *statuses})}


def client_of(request: Request) -> str:
    """Return the client that the limits apply to."""
    return str(request.state.client)


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

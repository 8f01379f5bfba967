"""What routes share: the shape of errors, who asks, waiting no longer than a client does."""

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

_LOOKING, _SECOND = 500, 10_000  # path-steps' worth: to look for a file, and of a second of a core


class ErrorResponse(BaseModel):
    """What went wrong."""

    error: str = Field(description="Its short name.", examples=["Bad request"])
    message: str = Field(description="One sentence, with the mend where there is one.")


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for its documentation: those given, and what every route may answer."""
    return {status: {"model": ErrorResponse} for status in sorted({400, 401, 403, 421, 429, 503, *statuses})}


def client_of(request: Request) -> str:
    """Who asks, for limits."""
    return str(request.state.client)


async def run_in_pool(state: AppState, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do something slow with files in a thread, and wait no longer than a request may take."""
    future = asyncio.wrap_future(state.pool.submit(work, *args, **kwargs))
    return await asyncio.wait_for(future, state.serve.timeout)


async def reading(state: AppState, client: str, work: Callable[[Callable[[float], None]], T]) -> T:
    """Have a file read in a thread, and count the seconds that takes as work of the client.

    Args:
        state: The server.
        client: Who asks.
        work: Reads, and calls what it is given with the seconds.

    Raises:
        ApiError: 429 if the client has no work left.
    """
    loop, bucket = asyncio.get_running_loop(), state.rules.work
    bucket.check(client)
    bucket.debit(client, _LOOKING)

    def spent(seconds: float) -> None:
        with suppress(RuntimeError):  # the server has stopped
            loop.call_soon_threadsafe(bucket.debit, client, _SECOND * seconds)

    return await asyncio.wait_for(asyncio.wrap_future(state.readers.submit(work, spent)), state.serve.timeout)


async def until_disconnect(request: Request, work: Awaitable[T], seconds: float) -> T:
    """Wait for something as long as the client does, and no longer than a request may take.

    Raises:
        TimeoutError: If it took too long.
        ApiError: If the client has left; nobody reads it.
    """
    task = asyncio.ensure_future(work)
    left = asyncio.ensure_future(_leaving(request))
    try:
        done, _ = await asyncio.wait({task, left}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            return task.result()
        raise ApiError(408, "The client left.") if done else TimeoutError
    finally:
        left.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=5)


async def _leaving(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

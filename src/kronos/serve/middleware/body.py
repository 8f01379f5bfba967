"""Request bodies: limits on size and duration, and connections with an unread body."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kronos.serve.errors import ApiError
from kronos.serve.middleware.base import HTTPMiddleware
from kronos.serve.middleware.rate_limit import UPLOADS_PATH

_MAX_JSON_BYTES = 1_000_000
_FORM_BYTES = 10_000  # headers and boundaries of a multipart form, besides the file


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Limits on request bodies.

    Attributes:
        upload_bytes: Largest uploaded file.
        concurrent_uploads: Uploads that one client may send at the same time.
        idle_seconds: Longest time between two parts of a body.
        min_rate: Lowest average speed in bytes per second.
    """

    upload_bytes: int
    concurrent_uploads: int = 8
    idle_seconds: float = 10.0
    min_rate: int = 10_000

    def max_bytes(self, path: str) -> int:
        """Return the largest body of a request to a path."""
        return self.upload_bytes + _FORM_BYTES if path == UPLOADS_PATH else _MAX_JSON_BYTES


class UnreadBodyMiddleware(HTTPMiddleware):
    """Closes the connection after a response that was sent before the request body was read to its end."""

    def _handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if not _has_body(scope):
            return self.app(scope, receive, send)
        complete = False

        async def receive_tracked() -> Message:
            nonlocal complete
            message = await receive()
            if message["type"] == "http.request":
                complete = not message.get("more_body", False)
            return message

        def send_with_close(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start" and not complete:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            return send(message)

        return self.app(scope, receive_tracked, send_with_close)


class BodyLimitMiddleware(HTTPMiddleware):
    """Rejects bodies that are too long (413) or too slow (408), whatever their headers announce.

    The application receives ``http.disconnect``, and what it sends then is dropped, unless its response had started.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        super().__init__(app)
        self._limits = limits

    def _handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if not _has_body(scope):
            return self.app(scope, receive, send)
        return self._handle_body(scope, receive, send)

    async def _handle_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _LimitedBody(receive, self._limits, self._limits.max_bytes(scope["path"]))
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if headers.get(b"transfer-encoding", b"chunked").strip().lower() != b"chunked":
            raise ApiError(400, "Invalid Transfer-Encoding: only chunked is supported.")
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > body.max_bytes:
            raise body.too_long()
        started = False

        async def send_unless_rejected(message: Message) -> None:
            nonlocal started
            if body.error is None or started:
                started = True
                await send(message)

        try:
            await self.app(scope, body.receive, send_unless_rejected)
        except Exception:
            if body.error is None or started:
                raise
        if body.error is not None and not started:
            raise body.error


class _LimitedBody:
    """The ``receive`` of one request; ``error`` is set once the body exceeds a limit."""

    def __init__(self, receive: Receive, limits: BodyLimits, max_bytes: int) -> None:
        self._receive, self._limits = receive, limits
        self.max_bytes = max_bytes
        self.error: ApiError | None = None
        self._bytes, self._since, self._complete = 0, 0.0, False

    def too_long(self) -> ApiError:
        return ApiError(413, f"The request body exceeds the limit of {self.max_bytes / 1e6:g} MB.")

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()
        limits = self._limits
        self._since = self._since or time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), limits.idle_seconds)
        except TimeoutError:
            message = {"type": "http.disconnect"}
            self.error = _too_slow()
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._bytes > self.max_bytes:
                self.error = self.too_long()
            elif time.monotonic() - self._since > limits.idle_seconds + self._bytes / limits.min_rate:
                self.error = _too_slow()
        return message if self.error is None else {"type": "http.disconnect"}


def _too_slow() -> ApiError:
    return ApiError(408, "The request body arrived too slowly; send it again.")


def _has_body(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            return True
    return False

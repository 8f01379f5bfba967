"""Response headers: what browsers may do with a response, which origins may read it, and HEAD requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kronos.serve.middleware.base import HTTPMiddleware

DOCS_PATH = "/docs"
_NO_EMBEDDING = b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_POLICY = b"default-src 'none'; style-src 'self'; img-src 'self'; " + _NO_EMBEDDING
# Swagger UI runs scripts, calls the API, and has icons in its style sheet: no inline scripts, no other hosts.
_DOCS_POLICY = (
    b"default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:; "
    + _NO_EMBEDDING
)
# The workbench draws on a canvas, exports pictures from it, and sets styles through the CSSOM only.
_PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    + _NO_EMBEDDING
)
_COMMON_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
SECURITY_HEADERS = (*_COMMON_HEADERS, (b"content-security-policy", _POLICY))
_POLICIES = {DOCS_PATH: _DOCS_POLICY, "/": _PAGE_POLICY}
_PAGE_HEADERS = {path: (*_COMMON_HEADERS, (b"content-security-policy", policy)) for path, policy in _POLICIES.items()}


def normalize_origins(origins: Iterable[str]) -> frozenset[str]:
    """Return configured origins in the form that browsers send."""
    return frozenset(origin.rstrip("/").lower() for origin in origins)


class SecurityHeadersMiddleware(HTTPMiddleware):
    """Adds the security headers to every response; pages may also run their own scripts."""

    def _handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        headers = _PAGE_HEADERS.get(scope["path"], SECURITY_HEADERS)

        def send_with_headers(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            return send(message)

        return self.app(scope, receive, send_with_headers)


class CORSMiddleware(HTTPMiddleware):
    """Answers preflight requests, and lets pages of the allowed origins read responses.

    `HostOriginMiddleware` has rejected other origins before.
    """

    def __init__(self, app: ASGIApp, origins: Iterable[str]) -> None:
        super().__init__(app)
        self._origins = normalize_origins(origins)

    def _handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if not self._origins and scope["method"] != "OPTIONS":
            return self.app(scope, receive, send)
        headers = dict(scope["headers"])
        added = [(b"vary", b"Origin")] if self._origins else []
        origin: bytes = headers.get(b"origin", b"")
        if origin.decode("latin-1").lower() in self._origins:
            added.append((b"access-control-allow-origin", origin))

        def send_with_cors(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *added]
            return send(message)

        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            return _answer_preflight(send_with_cors)
        return self.app(scope, receive, send_with_cors)


async def _answer_preflight(send: Send) -> None:
    headers = [
        (b"access-control-allow-methods", b"GET, POST, DELETE"),
        (b"access-control-allow-headers", b"content-type, x-api-key, authorization, last-event-id"),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


class HeadMiddleware(HTTPMiddleware):
    """Answers HEAD requests with the headers of GET, for monitors and caches; the server drops the body."""

    def _handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._handle_head(scope, send) if scope["method"] == "HEAD" else self.app(scope, receive, send)

    async def _handle_head(self, scope: Scope, send: Send) -> None:
        started = asyncio.Event()

        async def receive_disconnect() -> Message:
            await started.wait()  # then an event stream ends
            return {"type": "http.disconnect"}

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                started.set()

        inner = {**scope, "method": "GET"}
        try:
            await self.app(inner, receive_disconnect, send_head)
        finally:
            scope["route"] = inner.get("route")  # for the access log

"""The base class of the middleware, and the conversion of exceptions to responses."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kronos.serve.errors import ApiError, shutdown_error, to_api_error

OPEN_PATHS = frozenset({"/health", "/ready"})  # for process monitors: no API key, no rate limit

_log = logging.getLogger(__name__)


class HTTPMiddleware:
    """Middleware that handles HTTP requests and passes other scopes (lifespan) to the application.

    Attributes:
        app: The next ASGI application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    # Not `async`, like `_handle` of layers that only check the request: coroutines are most of the cost of a layer.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one ASGI scope."""
        if scope["type"] == "http":
            return self._handle(scope, receive, send)
        return self.app(scope, receive, send)

    def _handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one HTTP request."""
        raise NotImplementedError


class ErrorMiddleware(HTTPMiddleware):
    """Turns exceptions into error responses and logs those that are bugs."""

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        def send_tracked(message: Message) -> Awaitable[None]:
            nonlocal started
            started = True
            return send(message)

        try:
            await self.app(scope, receive, send_tracked)
        except asyncio.CancelledError:  # the graceful shutdown has timed out
            error = shutdown_error()
        except Exception as exception:  # noqa: BLE001 (every failure needs a response)
            error = to_api_error(exception)
            if started or error.status == 500:
                _log.exception("request failed", extra={"request": scope.get("state", {}).get("request_id")})
        else:
            return
        if not started:
            await send_error(send, error, scope["path"])


async def send_error(send: Send, error: ApiError, path: str) -> None:
    """Send an error response to a request for a path."""
    body = json.dumps(error.document_for(path), ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def client_address(scope: Scope) -> str:
    """Return the address of the client, for limits and logs; see `address_block`."""
    return address_block(str((scope.get("client") or ("unknown",))[0])[:64])


def plain_address(host: str) -> str:
    """Return an address in the form of its own protocol: a socket of IPv6 also has ``::ffff:10.0.0.1`` for 10.0.0.1."""
    if not host.startswith("::ffff:"):
        return host
    try:
        mapped = IPv6Address(host).ipv4_mapped
    except ValueError:
        return host
    return host if mapped is None else str(mapped)


@lru_cache(4096)
def address_block(host: str) -> str:
    """Return the addresses that one client has: of IPv6 the network of 64 bits, as providers give every customer one.

    Args:
        host: An address; other texts are returned as they are.
    """
    if ":" not in host:
        return host
    try:
        address = IPv6Address(plain_address(host).partition("%")[0])
    except ValueError:
        return plain_address(host)
    return host if address.is_loopback else str(IPv6Network((int(address) >> 64 << 64, 64)))

"""Reverse proxies: the address of the client, the scheme, and the path prefix of a request.

- ``X-Forwarded-For``, ``-Proto`` and ``-Prefix`` count only if they come from the proxies in ``FORWARDED_ALLOW_IPS``.
- The prefix is kept in ``scope["state"]["prefix"]``, for URLs in responses. Proxies usually remove it from the path; it
  is removed here if one does not.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

# No quotes, double slashes or hosts: the prefix becomes a part of URLs.
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
# First parts of the server's own paths.
_OWN_NAMES = frozenset({"api", "docs", "health", "metrics", "openapi.json", "ready", "udf"})


class ProxyMiddleware:
    """Takes the client and the path prefix from the headers of trusted proxies, or the prefix from the settings.

    Args:
        app: The next ASGI application.
        trusted: Addresses of proxies, separated by commas; ``*`` for all.
        prefix: Path prefix of all requests; empty to use the header.
    """

    def __init__(self, app: ASGIApp, trusted: str, prefix: str) -> None:
        self._app, self._prefix = app, prefix
        self._forwarded: Any = ProxyHeadersMiddleware(app, trusted) if trusted else None  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        prefix = self._prefix or self._forwarded_prefix(scope)
        if prefix:
            scope.setdefault("state", {})["prefix"] = prefix
            _remove_prefix(scope, prefix)
        await (self._app if self._forwarded is None else self._forwarded)(scope, receive, send)

    def _forwarded_prefix(self, scope: Scope) -> str:
        """Return the prefix in the header of a trusted proxy; empty if there is none that is valid."""
        client = scope.get("client")
        if self._forwarded is None or client is None or client[0] not in self._forwarded.trusted_hosts:
            return ""
        value: bytes = dict(scope["headers"]).get(b"x-forwarded-prefix", b"")
        prefix = value.decode("latin-1").strip().rstrip("/")
        return prefix if _PREFIX.fullmatch(prefix) else ""


def _remove_prefix(scope: Scope, prefix: str) -> None:
    """Remove a prefix from the path, unless it could be the beginning of one of the server's own paths."""
    path: str = scope["path"]
    if prefix.split("/")[1] not in _OWN_NAMES and (path == prefix or path.startswith(f"{prefix}/")):
        scope["path"] = path.removeprefix(prefix) or "/"

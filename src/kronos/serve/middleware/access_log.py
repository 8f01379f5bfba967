"""Request ids, the access log and request metrics."""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections.abc import Awaitable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kronos.serve.middleware.base import HTTPMiddleware
from kronos.serve.observability import Metrics

_access = logging.getLogger("kronos.access")


class AccessLogMiddleware(HTTPMiddleware):
    """Gives each request an id, which is returned as ``X-Request-ID``; counts and logs the request when it ends.

    Inner middleware may set ``scope["state"]["client"]``, which is logged, and ``scope["state"]["route"]``, which
    replaces the path of the matched route.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        super().__init__(app)
        self._metrics = metrics
        # A random prefix per process and a running number: unique across restarts, and cheap.
        self._prefix, self._numbers = secrets.token_hex(4), itertools.count(1)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        state: dict[str, Any] = dict(scope.get("state") or {})
        scope["state"] = state
        request_id = f"{self._prefix}{next(self._numbers):08x}"
        state["request_id"] = request_id
        status = 0

        def send_with_id(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            return send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            self._record(scope, state, status, time.perf_counter() - started)

    def _record(self, scope: Scope, state: dict[str, Any], status: int, seconds: float) -> None:
        route = state.get("route") or str(getattr(scope.get("route"), "path", "none"))
        self._metrics.record_request(route, scope["method"], status, seconds)
        if not _access.isEnabledFor(logging.INFO):
            return
        path = route if route != "none" else scope["path"][:200]
        extra = {"status": status, "ms": round(1000 * seconds, 2), "request": state["request_id"]}
        _access.info("%s %s", scope["method"], path, extra={**extra, "client": state.get("client")})

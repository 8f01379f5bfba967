"""The fast path of ``GET /api/predict``: cached responses are sent without routing, which takes most of the time."""

from __future__ import annotations

import re
from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

from kronos.serve.middleware.base import HTTPMiddleware
from kronos.serve.predictions import DEFAULT_HOURS, MAX_HOURS, PredictionService, cache_control

PREDICT_PATH = "/api/predict"
_SYMBOL, _HOURS = rb"symbol=([A-Za-z0-9._-]{1,20})", rb"hours=([1-9][0-9]{0,2})"
_QUERY = re.compile(rb"%b(?:&%b)?|%b&%b" % (_SYMBOL, _HOURS, _HOURS, _SYMBOL))


class CachedPredictionMiddleware(HTTPMiddleware):
    """Sends the cached prediction if there is one; all other requests go to the application.

    Only queries in the plainest spelling are recognized, so that validation has one place, the route.
    """

    def __init__(self, app: ASGIApp, predictions: PredictionService) -> None:
        super().__init__(app)
        self._predictions = predictions

    def _handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["path"] == PREDICT_PATH and scope["method"] == "GET":
            cached = self._find(scope.get("query_string", b""))
            if cached is not None:
                scope.setdefault("state", {})["route"] = PREDICT_PATH
                return _send_cached(send, *cached)
        return self.app(scope, receive, send)

    def _find(self, query: bytes) -> tuple[bytes, float] | None:
        match = _QUERY.fullmatch(query)
        if match is None:
            return None
        symbol, hours = match[1] or match[4], int(match[2] or match[3] or DEFAULT_HOURS)
        return self._predictions.cached(symbol.decode().upper(), hours) if hours <= MAX_HOURS else None


async def _send_cached(send: Send, body: bytes, seconds: float) -> None:
    headers = [
        (b"cache-control", cache_control(seconds).encode()),
        (b"content-length", str(len(body)).encode()),
        (b"content-type", b"application/json"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

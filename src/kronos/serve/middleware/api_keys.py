"""API keys, and tickets for event streams.

- Keys are compared by their hashes in constant time, and are never logged.
- `EventSource` in browsers cannot send headers: a ticket in the URL opens the events of one job for a few minutes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Iterable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from kronos.serve.errors import ApiError
from kronos.serve.middleware.base import OPEN_PATHS, HTTPMiddleware, client_address
from kronos.serve.middleware.rate_limit import TokenBucket

_TICKET_SECONDS = 300
_EVENTS = re.compile(r"/api/jobs/([^/]+)/events")


class APIKeys:
    """The accepted API keys; with none, the API is open."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = tuple(hashlib.sha256(key.encode()).digest() for key in keys)
        self._secret = secrets.token_bytes(32)

    @property
    def required(self) -> bool:
        """Whether requests need a key."""
        return bool(self._keys)

    def verify(self, headers: Mapping[bytes, bytes]) -> str:
        """Check the key of a request.

        Returns:
            A pseudonym of the key, for limits and logs.

        Raises:
            ApiError: 401 if there is no key, or a wrong one.
        """
        key = headers.get(b"x-api-key")
        if key is None:
            scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
            key = token if scheme.lower() == b"bearer" else b""
        digest = hashlib.sha256(key.strip()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._keys]  # all of them: constant time
        if True not in matches:
            raise ApiError(401, "A valid API key is required: send it as X-API-Key or Authorization: Bearer.")
        return f"key-{hmac.new(self._secret, digest, 'sha256').hexdigest()[:12]}"

    def ticket(self, job: str) -> str:
        """Create a ticket that opens the events of a job for a few minutes."""
        expires = int(time.time()) + _TICKET_SECONDS
        return f"{expires}.{self._sign(job, expires)}"

    def verify_ticket(self, job: str, ticket: str) -> bool:
        """Return whether a ticket opens the events of a job now."""
        expires, _, signature = ticket.partition(".")
        if not (expires.isascii() and expires.isdecimal() and len(expires) < 12) or int(expires) < time.time():
            return False
        return hmac.compare_digest(signature.encode(), self._sign(job, int(expires)).encode())

    def _sign(self, job: str, expires: int) -> str:
        return hmac.new(self._secret, f"{job}.{expires}".encode(), "sha256").hexdigest()


class APIKeyMiddleware(HTTPMiddleware):
    """Rejects requests without a valid key, and sets ``scope["state"]["client"]``: the key's pseudonym, or the address.

    Args:
        app: The next ASGI application.
        keys: The accepted keys.
        failures: Requests per minute and address; failed attempts count too, so that keys cannot be tried quickly.
    """

    def __init__(self, app: ASGIApp, keys: APIKeys, failures: TokenBucket) -> None:
        super().__init__(app)
        self._keys, self._failures = keys, failures

    def handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one HTTP request."""
        client = client_address(scope)
        if self._keys.required and scope["path"] not in OPEN_PATHS and not self._has_ticket(scope):
            try:
                client = self._keys.verify(dict(scope["headers"]))
            except ApiError:
                self._failures.take(client)
                raise
        scope.setdefault("state", {})["client"] = client
        return self.app(scope, receive, send)

    def _has_ticket(self, scope: Scope) -> bool:
        events = _EVENTS.fullmatch(scope["path"])
        query: bytes = scope.get("query_string", b"")
        if events is None or not query.startswith(b"ticket="):
            return False
        return self._keys.verify_ticket(events[1], query.removeprefix(b"ticket=").decode("latin-1"))

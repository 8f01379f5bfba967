"""Rate limits: requests and computing work per client, requests in progress, and uploads in progress."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable

from cachetools import LRUCache
from starlette.types import ASGIApp, Receive, Scope, Send

from kronos.serve.errors import ApiError
from kronos.serve.middleware.base import OPEN_PATHS, HTTPMiddleware

UPLOADS_PATH = "/api/uploads"
_MAX_CLIENTS = 10_000
_MAX_CONCURRENT = 4096


class TokenBucket:
    """A balance per client that refills steadily, up to the allowance of one minute.

    Work is debited when it is done and may overdraw the balance; the client is then rejected until the balance is
    positive again. So the largest allowed request is always possible, and splitting one has no advantage.
    """

    def __init__(self, per_minute: float, resource: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Create the bucket.

        Args:
            per_minute: Allowance of one client per minute; 0 for no limit.
            resource: Plural of the limited resource, for messages.
            clock: Returns the time in seconds.
        """
        self.per_minute, self._resource, self._clock = float(per_minute), resource, clock
        self._balances: LRUCache[str, tuple[float, float]] = LRUCache(_MAX_CLIENTS)

    def check(self, client: str) -> None:
        """Check that a client has something left.

        Raises:
            ApiError: 429, with the time until the balance is positive.
        """
        if not self.per_minute:
            return
        balance = self._balance(client)
        if balance <= 0:
            seconds = (1 - balance) / self.per_minute * 60
            limit = f"{self.per_minute:,.0f} {self._resource} per minute"
            raise ApiError(429, f"Rate limit reached: {limit}; retry later.", retry_after=seconds)

    def debit(self, client: str, amount: float) -> None:
        """Subtract what a client has used."""
        if self.per_minute:
            self._balances[client] = self._balance(client) - amount, self._clock()

    def take(self, client: str) -> None:
        """Check and debit one unit.

        Raises:
            ApiError: 429, as `check`.
        """
        self.check(client)
        self.debit(client, 1)

    def _balance(self, client: str) -> float:
        entry = self._balances.get(client)
        if entry is None:
            return self.per_minute
        balance, since = entry
        return min(self.per_minute, balance + (self._clock() - since) * self.per_minute / 60)


class RateLimitMiddleware(HTTPMiddleware):
    """Limits the requests per minute of each client, and the requests in progress of all clients together.

    Attributes:
        active: Requests in progress.
    """

    def __init__(self, app: ASGIApp, bucket: TokenBucket, max_concurrent: int = _MAX_CONCURRENT) -> None:
        super().__init__(app)
        self.active = 0
        self._bucket, self._max_concurrent = bucket, max_concurrent

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in OPEN_PATHS:
            self._bucket.take(scope["state"]["client"])
        if self.active >= self._max_concurrent:
            raise ApiError(503, "Too many concurrent requests; retry shortly.", retry_after=1)
        self.active += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.active -= 1


class UploadLimitMiddleware(HTTPMiddleware):
    """Limits the concurrent uploads of each client; rejects an upload before reading it if no work is left."""

    def __init__(self, app: ASGIApp, work: TokenBucket, max_concurrent: int) -> None:
        super().__init__(app)
        self._work, self._max_concurrent = work, max_concurrent
        self._active: Counter[str] = Counter()

    def _handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["path"] != UPLOADS_PATH or scope["method"] != "POST":
            return self.app(scope, receive, send)
        return self._handle_upload(scope, receive, send)

    async def _handle_upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope["state"]["client"]
        self._work.check(client)
        if self._active[client] >= self._max_concurrent:
            raise ApiError(
                429, "This client has too many uploads in progress: wait until one has finished.", retry_after=2
            )
        self._active[client] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._active -= Counter((client,))  # drops clients at zero

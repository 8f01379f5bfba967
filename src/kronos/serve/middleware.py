"""The gate: an ASGI layer that every request passes, before any route is looked for.

- Refusals cost little and say why: wrong Host, foreign page, no key, too many requests, too much at once.
- A body is counted while it comes: too long is 413, too slow is 408, whatever its headers promised.
- Every answer gets a request id, headers that keep browsers from guessing, a line in the log and a count.
- What is asked for most and lies ready is answered from here: the framework would take most of the time.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from kronos.serve.auth import OPEN_PATHS, AccessPolicy, TokenBucket
from kronos.serve.errors import ApiError, to_api_error
from kronos.serve.observability import Metrics

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Ready = Callable[
    [bytes], tuple[bytes, Headers] | None
]  # of a query: body and headers of a good answer, if one is there

_JSON_BYTES = 1_000_000
_UPLOADS = "/api/uploads"
_DOCS = "/docs"
_PAGES = frozenset({"/", _DOCS})
_AT_ONCE = 4096
_CLOSED = b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_CONTENT = b"default-src 'none'; style-src 'self'; img-src 'self'; " + _CLOSED
# Swagger UI runs scripts, calls the API and has its icons in the style sheet; nothing inline, nothing from elsewhere.
_DOCS_CONTENT = (
    b"default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:; " + _CLOSED
)
_POLICY = b"content-security-policy"
_SAFETY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
STANDARD = (*_SAFETY, (_POLICY, _CONTENT))
_STANDARD_DOCS = (*_SAFETY, (_POLICY, _DOCS_CONTENT))

_access = logging.getLogger("kronos.access")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EdgePolicy:
    """What the gate holds requests to.

    Attributes:
        callers: Who may call.
        requests: How often.
        work: How much a client may have computed.
        numbers: Where answers are counted.
        upload_bytes: Largest upload.
        uploads: How many one client may be sending at once.
        idle: Seconds between two parts of a body.
        least_rate: Bytes a second over all of a body.
    """

    callers: AccessPolicy
    requests: TokenBucket
    work: TokenBucket
    numbers: Metrics
    upload_bytes: int
    uploads: int = 8
    idle: float = 10.0
    least_rate: int = 10_000


class EdgeMiddleware:
    """The layer around the application.

    Attributes:
        app: The application.
        rules: What requests are held to.
        ready: By path, what may have the answer to a GET already; where it has none, the application answers.
        inside: Requests that are being answered.
        uploading: Uploads on their way, by client.
    """

    def __init__(self, app: App, rules: EdgePolicy, ready: Mapping[str, Ready] | None = None) -> None:
        """Guard an application."""
        self.app, self.rules, self.ready = app, rules, ready or {}
        self.inside = 0
        self.uploading: Counter[str] = Counter()
        self._numbers, self._start = itertools.count(1), secrets.token_hex(4)

    def request_id(self) -> str:
        """What logs and the client call a request: this start of the server, and a running number."""
        return f"{self._start}{next(self._numbers):08x}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        await _RequestContext(self, scope, receive, send).run()


class _RequestContext:
    """One request on its way through the gate."""

    def __init__(self, gate: EdgeMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate, self._scope, self._receive, self._send = gate, scope, receive, send
        self._rules = gate.rules
        self._started = time.perf_counter()
        self._status = 0
        self._route: str | None = None
        self._fault: ApiError | None = None
        self._cross: str | None = None
        self._body = 0
        self._body_since = 0.0
        self._whole = False
        self._uploads: str | None = None

    async def run(self) -> None:
        """Let the request in, or refuse it; tell about it in the end."""
        gate, scope = self._gate, self._scope
        scope["state"] = state = dict(scope.get("state") or {})
        state["request_id"] = gate.request_id()
        gate.inside += 1
        try:
            headers = dict(scope["headers"])
            self._whole = b"transfer-encoding" not in headers and not headers.get(b"content-length", b"").strip(b"0")
            self._know(headers)
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
                await self._preflight()
                return
            self._admit(headers)
            if not await self._ready():
                await gate.app(scope, self._counted, self._passed)
        except ApiError as refusal:
            self._fault = refusal
        except asyncio.CancelledError:  # the server's patience at its end is over
            self._fault = ApiError(503, "The server stopped before this was done; ask again.", retry_after=5)
        except Exception as error:  # noqa: BLE001 (a bug in one request is no other's)
            _log.exception("a request failed", extra={"request": state["request_id"]})
            self._fault = to_api_error(error)
        finally:
            gate.inside -= 1
            if self._uploads is not None:
                gate.uploading -= Counter((self._uploads,))
            if self._fault is not None:
                await self._refuse(self._fault)
            self._tell(state)

    def _know(self, headers: dict[bytes, bytes]) -> None:
        """Refuse whoever calls by another name, or from another site's page."""
        if sum(name == b"host" for name, _ in self._scope["headers"]) > 1:
            raise ApiError(400, "The request names several hosts; send one Host header.")
        callers, host = self._rules.callers, _text(headers.get(b"host"))
        callers.check_host(host)
        origin, site = _text(headers.get(b"origin")), _text(headers.get(b"sec-fetch-site"))
        path = self._scope["path"]
        page = path in _PAGES or path.startswith(f"{_DOCS}/")
        if origin is None and page and self._scope["method"] == "GET":
            site = None  # another site's link may lead to a page, which costs nothing and which it cannot read
        self._cross = callers.check_origin(origin, site, host)

    def _admit(self, headers: dict[bytes, bytes]) -> None:
        """Refuse whoever has no key, or asks too often, or brings too much."""
        scope, rules = self._scope, self._rules
        path = scope["path"]
        try:
            scope["state"]["client"] = client = self._client(path, headers)
        except ApiError:
            self._count(self._address)  # or keys could be tried as fast as they can be sent
            raise
        if path not in OPEN_PATHS:
            self._count(client)
        if self._gate.inside > _AT_ONCE:
            raise ApiError(503, "Too many requests at once; try again in a moment.", retry_after=1)
        said = headers.get(b"content-length")
        if said is not None and said.isdigit() and int(said) > self._most:
            raise self._too_long()
        if path == _UPLOADS and scope["method"] == "POST":
            rules.work.check(client)  # before its body is taken in
            if self._gate.uploading[client] >= rules.uploads:
                raise ApiError(429, "This client is sending several files already; wait for them.", retry_after=2)
            self._gate.uploading[client] += 1
            self._uploads = client

    def _count(self, client: str) -> None:
        self._rules.requests.check(client)
        self._rules.requests.debit(client, 1)

    @property
    def _address(self) -> str:
        return str((self._scope.get("client") or ("unknown",))[0])[:64]

    async def _ready(self) -> bool:
        """Give the answer that is there already; whether there was one."""
        scope = self._scope
        path = scope["path"]
        look = self._gate.ready.get(path) if scope["method"] == "GET" else None
        found = None if look is None else look(scope.get("query_string", b""))
        if found is None:
            return False
        self._route = path
        await self._passed({"type": "http.response.start", "status": 200, "headers": found[1]})
        await self._send({"type": "http.response.body", "body": found[0]})
        return True

    async def _preflight(self) -> None:
        """Answer what a browser asks before an allowed page's call."""
        self._whole = True
        headers = [
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", b"content-type, x-api-key, authorization, last-event-id"),
            (b"access-control-max-age", b"600"),
        ]
        await self._passed({"type": "http.response.start", "status": 204, "headers": headers})
        await self._send({"type": "http.response.body", "body": b""})

    def _client(self, path: str, headers: dict[bytes, bytes]) -> str:
        """Who calls, for limits: the key, else the address."""
        query: bytes = self._scope.get("query_string", b"")
        if path.startswith("/api/jobs/") and path.endswith("/events") and query.startswith(b"ticket="):
            job, ticket = path.split("/")[3], query.removeprefix(b"ticket=").decode("latin-1")
            if self._rules.callers.opens(job, ticket):
                return self._address
        return self._rules.callers.check_key(path, headers) or self._address

    @property
    def _most(self) -> int:
        return self._rules.upload_bytes + 10_000 if self._scope["path"] == _UPLOADS else _JSON_BYTES

    def _too_long(self) -> ApiError:
        return ApiError(413, f"The body is longer than the {self._most / 1e6:g} MB taken here; send less.")

    async def _counted(self) -> Message:
        """The application's receive: counts bytes and time of the body."""
        if self._whole:
            return await self._receive()
        if not self._body_since:
            self._body_since = time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), self._rules.idle)
        except TimeoutError:
            self._fault = ApiError(408, "The body came too slowly; send it again.")
            return {"type": "http.disconnect"}
        if message["type"] == "http.request":
            self._body += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._body > self._most:
                self._fault = self._too_long()
            elif time.monotonic() - self._body_since > self._rules.idle + self._body / self._rules.least_rate:
                self._fault = ApiError(408, "The body came too slowly; send it again.")
        return message if self._fault is None else {"type": "http.disconnect"}

    async def _passed(self, message: Message) -> None:
        """The application's send, with what every answer carries; once a body is refused, it is not heard."""
        if self._fault is not None and not self._status:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self._extra()]}
        await self._send(message)

    def _extra(self) -> Headers:
        standard = _STANDARD_DOCS if self._scope["path"] == _DOCS else STANDARD
        headers = [*standard, (b"x-request-id", self._scope["state"]["request_id"].encode())]
        if self._rules.callers.crossed:
            headers.append((b"vary", b"Origin"))
        if self._cross is not None:
            headers.append((b"access-control-allow-origin", self._cross.encode("latin-1")))
        if not self._whole:
            headers.append((b"connection", b"close"))  # what is left of the body is not read, nor is what follows it
        return headers

    async def _refuse(self, fault: ApiError) -> None:
        """Answer with what is wrong, unless an answer has begun."""
        if self._status:
            return
        self._fault = None
        body = json.dumps(fault.document, ensure_ascii=False).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in fault.headers.items()]
        await self._passed({"type": "http.response.start", "status": fault.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _tell(self, state: dict[str, Any]) -> None:
        seconds = time.perf_counter() - self._started
        route = self._route or str(getattr(self._scope.get("route"), "path", "none"))
        self._rules.numbers.answered(route, self._scope["method"], self._status, seconds)
        if _access.isEnabledFor(logging.INFO):
            _access.info(
                "%s %s", self._scope["method"], route if route != "none" else self._scope["path"][:200],
                extra={
                    "status": self._status, "ms": round(1000 * seconds, 2), "request": state["request_id"],
                    "client": state.get("client"),
                },
            )  # fmt: skip


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")

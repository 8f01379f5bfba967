"""Each middleware alone, without a server: one request to a small ASGI application."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from kronos.serve.errors import ApiError
from kronos.serve.middleware import (
    SECURITY_HEADERS,
    AccessLogMiddleware,
    APIKeyMiddleware,
    APIKeys,
    BodyLimitMiddleware,
    BodyLimits,
    CachedPredictionMiddleware,
    CORSMiddleware,
    ErrorMiddleware,
    HostOriginMiddleware,
    HTTPMiddleware,
    RateLimitMiddleware,
    SecurityHeadersMiddleware,
    TokenBucket,
    UnreadBodyMiddleware,
    UploadLimitMiddleware,
)
from kronos.serve.observability import Metrics

KEY = "a-right-key-of-some-length"
ORIGIN = "https://charts.example"


class App:
    """An application that reads the body and responds with 200; records its scopes."""

    def __init__(self, error: BaseException | None = None, *, read: bool = True, respond_first: bool = False) -> None:
        self.scopes, self.received = [], b""
        self._error, self._read, self._respond_first = error, read, respond_first

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        if self._respond_first:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        message = {"more_body": self._read}
        while message.get("more_body"):
            message = await receive()
            self.received += message.get("body", b"")
        if self._error is not None:
            raise self._error
        if not self._respond_first:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"1")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Response:
    """The messages that a middleware sent."""

    def __init__(self, messages):
        self.status = messages[0]["status"] if messages else None
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]} if messages else {}
        self.body = b"".join(message["body"] for message in messages[1:])
        self.starts = sum(message["type"] == "http.response.start" for message in messages)


def request(app, path="/api/assets", *, method="GET", query="", parts=(), pause=0.0, state=None, **headers):
    """Send one request; header names have underscores for dashes."""
    messages = []
    parts = list(parts) or [b""]
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": pairs,
        "client": ("10.0.0.1", 1234), "state": {"client": "10.0.0.1"} if state is None else state,
    }  # fmt: skip

    async def receive():
        await asyncio.sleep(pause)
        if not parts:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message):
        messages.append(message)

    asyncio.run(app(scope, receive, send))
    return Response(messages)


@pytest.mark.parametrize(
    "build",
    [
        SecurityHeadersMiddleware,
        UnreadBodyMiddleware,
        ErrorMiddleware,
        lambda app: AccessLogMiddleware(app, Metrics()),
        lambda app: HostOriginMiddleware(app, hosts=[], allow_addresses=False, origins=[]),
        lambda app: CORSMiddleware(app, [ORIGIN]),
        lambda app: APIKeyMiddleware(app, APIKeys([KEY]), TokenBucket(0, "requests")),
        lambda app: RateLimitMiddleware(app, TokenBucket(0, "requests")),
        lambda app: BodyLimitMiddleware(app, BodyLimits(100)),
        lambda app: UploadLimitMiddleware(app, TokenBucket(0, "path-steps"), 1),
        lambda app: CachedPredictionMiddleware(app, None),
    ],
)
def test_lifespan_scopes_reach_the_application_unchanged(build):
    scopes = []

    async def app(scope, receive, send):
        scopes.append((scope, receive, send))

    middleware, arguments = build(app), ({"type": "lifespan"}, object(), object())
    assert isinstance(middleware, HTTPMiddleware)
    asyncio.run(middleware(*arguments))
    assert scopes == [arguments]


# Access log -----------------------------------------------------------------


def test_requests_get_different_ids_and_are_counted():
    metrics = Metrics()
    app = App()
    middleware = AccessLogMiddleware(app, metrics)
    responses = [request(middleware, state={"route": "/api/assets"}) for _ in range(2)]
    ids = [response.headers["x-request-id"] for response in responses]
    assert ids == [scope["state"]["request_id"] for scope in app.scopes]
    assert len(set(ids)) == 2
    assert responses[0].headers["x-app"] == "1"
    line = 'kronos_requests_total{method="GET",route="/api/assets",status="200"} 2.0'
    assert line in metrics.render().decode()


def test_requests_are_logged_even_if_the_application_fails(caplog):
    middleware = AccessLogMiddleware(App(RuntimeError("x")), Metrics())
    with caplog.at_level(logging.INFO, "kronos.access"), pytest.raises(RuntimeError):
        request(middleware, "/nothing")
    (record,) = caplog.records
    assert record.getMessage() == "GET /nothing"
    assert (record.status, record.client) == (0, "10.0.0.1")


# Response headers -----------------------------------------------------------


@pytest.mark.parametrize("path", ["/docs", "/api/assets"])
def test_responses_have_security_headers(path):
    headers = request(SecurityHeadersMiddleware(App()), path).headers
    assert headers.keys() == {"x-app", *(name.decode() for name, _ in SECURITY_HEADERS)}
    assert ("script-src" in headers["content-security-policy"]) is (path == "/docs")


def test_allowed_origins_may_read_responses():
    middleware = CORSMiddleware(App(), [f"{ORIGIN}/"])
    allowed, other = request(middleware, origin=ORIGIN.upper()), request(middleware, origin="https://evil.example")
    assert allowed.headers["access-control-allow-origin"] == ORIGIN.upper()
    assert "access-control-allow-origin" not in other.headers
    assert allowed.headers["vary"] == other.headers["vary"] == "Origin"
    assert request(CORSMiddleware(App(), []), origin=ORIGIN).headers == {"x-app": "1"}


def test_preflight_requests_do_not_reach_the_application():
    app = App()
    response = request(CORSMiddleware(app, [ORIGIN]), method="OPTIONS", access_control_request_method="POST")
    assert (response.status, response.body, app.scopes) == (204, b"", [])
    assert "POST" in response.headers["access-control-allow-methods"]
    assert request(CORSMiddleware(app, [ORIGIN]), method="OPTIONS").status == 200


# Host and origin ------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "allow_addresses", "status"),
    [
        ("forecasts.example", False, 200),
        ("forecasts.example:5000", False, 200),
        ("localhost", False, 200),
        ("192.168.1.7:5000", True, 200),
        ("[2001:db8::7]:5000", True, 200),
        ("192.168.1.7:5000", False, 421),
        ("rebound.example", True, 421),
        ("rebound.example", False, 421),
        ("", True, 421),
    ],
)
def test_hosts_are_checked_by_name_and_addresses_if_allowed(host, allow_addresses, status):
    app = App()
    middleware = HostOriginMiddleware(
        app, hosts=["forecasts.example:8443"], allow_addresses=allow_addresses, origins=[]
    )
    assert request(middleware, host=host).status == status
    assert len(app.scopes) == (status == 200)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/assets", {"origin": ORIGIN}, 200),
        ("/api/assets", {"origin": "https://localhost"}, 200),
        ("/api/assets", {"origin": "https://evil.example"}, 403),
        ("/api/assets", {"sec_fetch_site": "cross-site"}, 403),
        ("/api/assets", {"sec_fetch_site": "same-origin"}, 200),
        ("/docs", {"sec_fetch_site": "cross-site"}, 200),
    ],
)
def test_origins_are_checked(path, headers, status):
    middleware = HostOriginMiddleware(App(), hosts=[], allow_addresses=False, origins=[ORIGIN])
    assert request(middleware, path, host="localhost", **headers).status == status


# Errors ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "logged"),
    [
        (ApiError(429, "Slow down.", retry_after=2.5), 429, False),
        (TimeoutError("secret"), 503, False),
        (asyncio.CancelledError(), 503, False),
        (RuntimeError("secret"), 500, True),
    ],
)
def test_exceptions_become_responses_and_bugs_are_logged(caplog, error, status, logged):
    response = request(ErrorMiddleware(App(error)))
    assert response.status == status
    assert json.loads(response.body).keys() == {"error", "message"}
    assert b"secret" not in response.body
    assert response.headers.get("retry-after") == ("3" if status == 429 else "5" if status == 503 else None)
    assert bool(caplog.records) is logged


def test_an_error_after_the_start_of_the_response_is_only_logged(caplog):
    response = request(ErrorMiddleware(App(ApiError(400, "x"), respond_first=True)))
    assert (response.status, response.starts, response.body) == (200, 1, b"")
    assert len(caplog.records) == 1


# API keys -------------------------------------------------------------------


def test_clients_are_identified_by_key_or_address():
    app = App()
    request(APIKeyMiddleware(app, APIKeys([]), TokenBucket(0, "requests")), state={})
    keyed = APIKeyMiddleware(app, APIKeys([KEY, "other"]), TokenBucket(0, "requests"))
    request(keyed, x_api_key=KEY, state={})
    request(keyed, authorization=f"Bearer {KEY}", state={})
    request(keyed, x_api_key="other", state={})
    address, first, second, other = (scope["state"]["client"] for scope in app.scopes)
    assert address == "10.0.0.1"
    assert first == second != other
    assert KEY not in first


def test_failed_attempts_are_limited_by_address():
    middleware = APIKeyMiddleware(App(), APIKeys([KEY]), TokenBucket(2, "requests", lambda: 0.0))
    statuses = []
    for key in ("a", "b", "c"):
        with pytest.raises(ApiError) as rejected:
            request(middleware, x_api_key=key)
        statuses.append(rejected.value.status)
    assert statuses == [401, 401, 429]
    assert request(middleware, "/health").status == 200


# Rate limits ----------------------------------------------------------------


def test_requests_are_limited_per_client_except_health_checks():
    middleware = RateLimitMiddleware(App(), TokenBucket(2, "requests", lambda: 0.0))
    assert [request(middleware).status for _ in range(2)] == [200, 200]
    with pytest.raises(ApiError) as rejected:
        request(middleware)
    assert (rejected.value.status, rejected.value.retry_after) == (429, 30.0)
    assert request(middleware, state={"client": "other"}).status == 200
    assert request(middleware, "/health").status == 200


def test_concurrent_requests_are_limited():
    async def run():
        proceed = asyncio.Event()

        async def app(scope, receive, send):
            await proceed.wait()

        middleware = RateLimitMiddleware(app, TokenBucket(0, "requests"), max_concurrent=2)
        scope = {"type": "http", "path": "/api/assets", "state": {"client": "x"}}
        tasks = [asyncio.create_task(middleware(scope, None, None)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as rejected:
            await middleware(scope, None, None)
        assert rejected.value.status == 503
        proceed.set()
        await asyncio.gather(*tasks)
        assert middleware.active == 0

    asyncio.run(run())


def test_uploads_need_work_and_are_limited_per_client():
    async def run():
        proceed = asyncio.Event()

        async def app(scope, receive, send):
            await proceed.wait()

        work = TokenBucket(10, "path-steps", lambda: 0.0)
        middleware = UploadLimitMiddleware(app, work, max_concurrent=1)
        scope = {"type": "http", "method": "POST", "path": "/api/uploads", "state": {"client": "x"}}
        task = asyncio.create_task(middleware(scope, None, None))
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as rejected:
            await middleware(scope, None, None)
        assert (rejected.value.status, rejected.value.retry_after) == (429, 2)
        proceed.set()
        await task
        await middleware(scope, None, None)
        work.debit("x", 11)
        with pytest.raises(ApiError):
            await middleware(scope, None, None)
        await middleware({**scope, "method": "GET"}, None, None)

    asyncio.run(run())


# Bodies ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "closed"), [({"content_length": "2"}, True), ({"content_length": "0"}, False), ({}, False)]
)
def test_the_connection_closes_after_an_unread_body(headers, closed):
    response = request(UnreadBodyMiddleware(App(read=False)), method="POST", parts=[b"{}"], **headers)
    assert (response.headers.get("connection") == "close") is closed
    response = request(UnreadBodyMiddleware(App()), method="POST", parts=[b"{", b"}"], transfer_encoding="chunked")
    assert "connection" not in response.headers


def test_bodies_within_the_limits_are_passed_on():
    app = App()
    parts = [b"a" * 60_000] * 3
    response = request(
        BodyLimitMiddleware(app, BodyLimits(200_000)), "/api/uploads", method="POST", parts=parts,
        transfer_encoding="chunked",
    )  # fmt: skip
    assert response.status == 200
    assert app.received == b"".join(parts)


def test_a_body_is_rejected_by_its_announced_length_without_reading_it():
    app = App()
    with pytest.raises(ApiError) as rejected:
        request(BodyLimitMiddleware(app, BodyLimits(100)), method="POST", content_length="1000001")
    assert (rejected.value.status, app.scopes) == (413, [])


@pytest.mark.parametrize(
    ("limits", "options", "status"),
    [
        (BodyLimits(100), {"parts": [b"x" * 600_000] * 2}, 413),
        (BodyLimits(100, idle_seconds=0.05), {"parts": [b"x"], "pause": 0.2}, 408),
        (BodyLimits(100, idle_seconds=0.05, min_rate=1_000_000), {"parts": [b"x"] * 20, "pause": 0.01}, 408),
    ],
    ids=["too long", "stalled", "too slow"],
)
def test_a_body_is_rejected_while_it_is_read(limits, options, status):
    app = App()
    with pytest.raises(ApiError) as rejected:
        request(BodyLimitMiddleware(app, limits), method="POST", transfer_encoding="chunked", **options)
    assert rejected.value.status == status


def test_a_started_response_is_completed_although_the_body_is_too_long():
    app = App(respond_first=True)
    response = request(
        BodyLimitMiddleware(app, BodyLimits(100)), method="POST", parts=[b"x" * 600_000] * 2,
        transfer_encoding="chunked",
    )  # fmt: skip
    assert (response.status, response.body) == (200, b"ok")


# Cached predictions ---------------------------------------------------------


class Predictions:
    """A prediction service with one cached response."""

    def cached(self, symbol, hours):
        return (b"{}", 61.5) if (symbol, hours) == ("BTC", 24) else None


@pytest.mark.parametrize(
    ("query", "method", "fast"),
    [
        ("symbol=btc", "GET", True),
        ("hours=24&symbol=BTC", "GET", True),
        ("symbol=BTC&hours=24", "POST", False),
        ("symbol=ETH", "GET", False),
        ("symbol=BTC&hours=999", "GET", False),
        ("symbol=%42TC", "GET", False),
    ],
)
def test_cached_predictions_do_not_reach_the_application(query, method, fast):
    app, state = App(), {}
    middleware = CachedPredictionMiddleware(app, Predictions())
    response = request(middleware, "/api/predict", query=query, method=method, state=state)
    assert len(app.scopes) == (not fast)
    if fast:
        assert (response.status, response.body) == (200, b"{}")
        assert response.headers == {
            "cache-control": "private, max-age=61", "content-length": "2", "content-type": "application/json",
        }  # fmt: skip
        assert state == {"route": "/api/predict"}

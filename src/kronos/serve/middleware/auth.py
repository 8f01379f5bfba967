"""Who may call: hosts, origins, API keys, and tickets for event streams.

- Requests for unknown hosts and from foreign origins are refused, which stops DNS rebinding and cross-site requests.
- Keys are compared by their hashes in constant time, and are never logged.
- Browsers send no headers of their own choice with pages and data feeds; they ask for a password and send that (Basic).
- `EventSource` in browsers cannot send headers: a ticket in the URL opens the events of one job for a few minutes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from kronos.serve.errors import ApiError
from kronos.serve.middleware.base import OPEN_PATHS, HTTPMiddleware, client_address, send_error
from kronos.serve.middleware.headers import DOCS_PATH, normalize_origins
from kronos.serve.middleware.rate_limit import TokenBucket

if TYPE_CHECKING:
    from kronos.settings import PublicPart

_TICKET_SECONDS = 300
_PUBLIC_PATHS: dict[PublicPart, str] = {"docs": r"/|/docs(/.*)?|/openapi\.json", "udf": r"/udf/.*"}
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
            key = _authorization_key(headers.get(b"authorization", b""))
        digest = hashlib.sha256(key.strip()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._keys]  # all of them: constant time
        if True not in matches:
            raise ApiError(
                401, "A valid API key is required: send it as X-API-Key, Authorization: Bearer, or password of Basic."
            )
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


def _authorization_key(value: bytes) -> bytes:
    """Return the key in an Authorization header: a bearer token, or the password of any user."""
    scheme, _, token = value.partition(b" ")
    if scheme.lower() == b"bearer":
        return token
    if scheme.lower() == b"basic":
        with suppress(ValueError):
            return base64.b64decode(token.strip(), validate=True).partition(b":")[2]
    return b""


_PAGE_FILES = "/static/"  # of the workbench, which asks for the key itself


class APIKeyMiddleware(HTTPMiddleware):
    """Rejects requests without a valid key, and sets ``scope["state"]["client"]``: the key's pseudonym, or the address.

    Args:
        app: The next ASGI application.
        keys: The accepted keys.
        failures: Requests per minute and address; failed attempts count too, so that keys cannot be tried quickly.
        public: Parts of the API that need no key.
    """

    def __init__(self, app: ASGIApp, keys: APIKeys, failures: TokenBucket, public: Iterable[PublicPart] = ()) -> None:
        super().__init__(app)
        self._keys, self._failures = keys, failures
        self._public = re.compile("|".join(_PUBLIC_PATHS[part] for part in public) or "(?!)")

    def _handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        client = client_address(scope)
        if self._keys.required and not self._is_open(scope):
            headers: dict[bytes, bytes] = dict(scope["headers"])
            try:
                client = self._keys.verify(headers)
            except ApiError as error:
                self._failures.take(client)
                if headers.get(b"sec-fetch-dest") == b"empty":  # a script of the page, which has a field for the key
                    error.challenge = "Bearer"
                raise
        scope.setdefault("state", {})["client"] = client
        return self.app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"]
        return (
            path in OPEN_PATHS
            or path.startswith(_PAGE_FILES)
            or path == "/"
            or self._public.fullmatch(path) is not None
            or self._has_ticket(scope)
        )

    def _has_ticket(self, scope: Scope) -> bool:
        events = _EVENTS.fullmatch(scope["path"])
        query: bytes = scope.get("query_string", b"")
        if events is None or not query.startswith(b"ticket="):
            return False
        return self._keys.verify_ticket(events[1], query.removeprefix(b"ticket=").decode("latin-1"))


LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
_HOST = re.compile(r"(?:\[([0-9a-f:.%]+)\]|([^\[\]:/@\s]+))(?::[0-9]{0,5})?")


class HostOriginMiddleware(HTTPMiddleware):
    """Rejects requests for an unknown host with 421, and from a foreign page with 403.

    Args:
        app: The next ASGI application.
        hosts: Names of this server, besides the loopback names.
        allow_addresses: Whether to accept any IP address as host: safe only with API keys.
        origins: Origins of other sites whose pages may call.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str], allow_addresses: bool, origins: Iterable[str]) -> None:
        super().__init__(app)
        self._hosts = LOCAL_HOSTS | {_host_name(host) for host in hosts}
        self._allow_addresses = allow_addresses
        self._origins = normalize_origins(origins)

    def _handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        try:
            self._check(scope)
        except ApiError as error:
            return send_error(send, error, scope["path"])
        return self.app(scope, receive, send)

    def check_host(self, host: str | None) -> None:
        """Check a Host header.

        Raises:
            ApiError: 421 if it is not a name of this server.
        """
        name = "" if host is None else _host_name(host)
        # A rebinding page sends its own name; it cannot send an address.
        if name not in self._hosts and not (self._allow_addresses and _is_address(name)):
            raise ApiError(421, "Unknown host; add its name to KRONOS_SERVE__ALLOWED_HOSTS.")

    def check_origin(self, origin: str | None, site: str | None, host: str | None) -> None:
        """Check where a request comes from.

        Args:
            origin: The Origin header.
            site: The Sec-Fetch-Site header.
            host: The Host header.

        Raises:
            ApiError: 403 if it is a page of another site that is not allowed.
        """
        if origin is None:
            allowed = site is None or site.lower() != "cross-site"
        else:
            scheme, _, name = origin.lower().partition("://")
            # Behind a TLS proxy the scheme differs, so only name and port are compared.
            same_site = scheme in ("http", "https") and host is not None and name == host.lower()
            allowed = same_site or origin.lower() in self._origins
        if not allowed:
            raise ApiError(403, "Requests from pages of other sites are not allowed; see KRONOS_SERVE__ORIGINS.")

    def _check(self, scope: Scope) -> None:
        host = origin = site = None
        for name, value in scope["headers"]:
            if name == b"host":
                if host is not None:
                    raise ApiError(400, "The request has several Host headers; send one.")
                host = value.decode("latin-1")
            elif name == b"origin":
                origin = value.decode("latin-1")
            elif name == b"sec-fetch-site":
                site = value.decode("latin-1")
        self.check_host(host)
        path = scope["path"]
        if path in ("/", DOCS_PATH) or path.startswith(f"{DOCS_PATH}/"):
            # A link on another site may lead to the documentation, which is static and unreadable for that site.
            site = None if scope["method"] in ("GET", "HEAD") else site
        self.check_origin(origin, site, host)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _host_name(host: str) -> str:
    """Return the name in a Host header without port and brackets; empty if it is malformed."""
    match = _HOST.fullmatch(host.strip().lower())
    return "" if match is None else match[1] or match[2].removesuffix(".")

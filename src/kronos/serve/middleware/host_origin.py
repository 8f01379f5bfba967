"""Host and origin check: rejects requests that a browser sends for a foreign page.

- DNS rebinding, where a page points its own name at this machine, shows in the Host header.
- A request from another site's page shows in the Origin or Sec-Fetch-Site header.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from kronos.serve.errors import ApiError
from kronos.serve.middleware.base import HTTPMiddleware, send_error
from kronos.serve.middleware.headers import DOCS_PATH, normalize_origins

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

    def handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one HTTP request."""
        try:
            self._check(scope)
        except ApiError as error:
            return send_error(send, error)
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
            site = None if scope["method"] == "GET" else site
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

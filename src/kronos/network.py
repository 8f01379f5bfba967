"""The proxies and certificates of the environment: what is wrong with them, and which of them a failed request used.

Clients read these variables themselves, and describe a wrong one by a traceback or as an unreachable host. Here they
are named, with their values but without user names and passwords.
"""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

Client = Literal["httpx", "requests"]

_HTTP, _SOCKS = ("http", "https"), ("socks5", "socks5h")
_SCHEMES = {"httpx": (*_HTTP, *_SOCKS), "requests": (*_HTTP, "socks4", "socks4a", *_SOCKS)}
_SOCKS_PACKAGES = {"httpx": "socksio", "requests": "socks"}
# Exceptions of the clients, and of what they use, for a connection that was not made.
_UNCONNECTED = {
    "ProxyError", "ConnectError", "ConnectTimeout", "ConnectTimeoutError", "NewConnectionError", "SOCKSError",
    "ConnectionRefusedError", "gaierror",
}  # fmt: skip
_CERTIFICATES = {"httpx": ("SSL_CERT_FILE", "SSL_CERT_DIR"), "requests": ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}


def environment_problem(client: Client, *, proxies: bool = True) -> str | None:
    """Say in one sentence what is wrong with the proxies and certificates of the environment; None if nothing is.

    Args:
        client: Library that makes the requests; each reads variables of its own and supports other proxies.
        proxies: Whether the proxies of the environment are used, and not one of the settings.
    """
    names = [name for scheme in ("https", "all", "http") if (name := _proxy_variable(scheme))]
    if proxies and not urllib.request.proxy_bypass("host"):  # NO_PROXY=* switches them off
        for name in names:
            if problem := _proxy_problem(name, client):
                return problem
    for name in _CERTIFICATES[client]:
        if problem := _certificate_problem(name):
            return problem
    return None


def describe_failure(error: BaseException, url: str, client: Client) -> tuple[str, str] | None:
    """Say why a request failed before there was a response, if the environment explains it.

    Args:
        error: The client's exception.
        url: What was requested.
        client: Library that made the request.

    Returns:
        The reason, as the rest of a sentence that starts with the host, and the fix, as an imperative clause.
    """
    causes = list(causes_of(error))
    if any("CERTIFICATE_VERIFY_FAILED" in str(cause) for cause in causes):
        own = next((name for name in _CERTIFICATES[client] if os.environ.get(name)), None)
        variable = own or _CERTIFICATES[client][0]
        shown = f" with the certificates of {own} ({os.environ[own]})" if own else ""
        fix = f"correct or unset {own}" if own else f"if a proxy replaces certificates, set {variable} to its own"
        return f"could not be reached securely (its certificate cannot be verified{shown})", fix
    proxy = _proxy_in_use(url)
    if proxy is None or not any(type(cause).__name__ in _UNCONNECTED for cause in causes):
        return None
    reason = f"could not be reached through the proxy of {proxy}, {redact(os.environ[proxy])} ({_detail(causes)})"
    return reason, f"check that the proxy runs and accepts requests, or correct or unset {proxy}"


def _detail(causes: list[BaseException]) -> str:
    """The system's description of a failed connection, or the proxy's answer."""
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.errno and cause.strerror:
            return cause.strerror.lower()
    return redact(" ".join(str(causes[-1]).split()))[:100] or type(causes[0]).__name__


def is_unresolved(error: BaseException) -> bool:
    """Whether a request failed because the name of a host has no address; offline, none has."""
    return any(isinstance(cause, socket.gaierror) or "name resolution" in str(cause) for cause in causes_of(error))


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An exception and its causes, the latest first."""
    seen: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        item = queue.pop(0)
        if isinstance(item, BaseException) and not any(item is other for other in seen):
            seen.append(item)
            queue += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
            yield item


def redact(url: str) -> str:
    """A URL without user name and password, also if it is malformed."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url.rpartition("@")[2]


def _proxy_variable(scheme: str) -> str | None:
    """The variable that sets the proxy of a scheme; the lower-case one takes precedence."""
    return next((name for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY") if os.environ.get(name)), None)


def _proxy_in_use(url: str) -> str | None:
    """The variable whose proxy a request goes through."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or "host"):
        return None
    return _proxy_variable(parts.scheme) or _proxy_variable("all")


def _proxy_problem(name: str, client: Client) -> str | None:
    value = os.environ[name].strip()
    shown = f"{name} '{redact(value)}'"
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        valid = bool(parts.hostname) and parts.port != 0 and re.search(r"\s", value) is None
    except ValueError:
        valid = False
    if not valid:
        return f"Invalid {shown}: write a proxy as http://host:8080, or unset the variable."
    if parts.scheme not in _SCHEMES[client]:
        return f"Invalid {shown}: a proxy is {', '.join(_HTTP)} or socks5; correct or unset the variable."
    if parts.scheme.startswith("socks") and importlib.util.find_spec(_SOCKS_PACKAGES[client]) is None:
        return (
            f"{shown} is a SOCKS proxy, which needs a package that is not installed: pip install "
            "'kronos-forecast[socks]', or unset the variable."
        )
    return None


def _certificate_problem(name: str) -> str | None:
    value = os.environ.get(name, "")
    if not value:
        return None
    path = Path(value)
    if not path.exists():
        return f"{name} is '{value}', which does not exist: correct the path, or unset the variable."
    if path.is_dir():
        return None if name != "SSL_CERT_FILE" else f"{name} is '{value}', a folder: name a file, or use SSL_CERT_DIR."
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(value)
    except ssl.SSLError:
        return f"{name} is '{value}', which holds no certificates in PEM format: correct or unset the variable."
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return f"{name} is '{value}', which cannot be read ({reason}): correct or unset the variable."
    return None

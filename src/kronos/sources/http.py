"""HTTP for remote sources: retries with growing waits, descriptions of failures, validated URLs, the server's clock.

Clients convert exceptions of their libraries to `RequestFailedError`: a reason, a hint, and whether a retry may help.
`call_with_retry` returns the result of the call, or raises a `SourceError` that names the reason and the hint.
"""

from __future__ import annotations

import functools
import logging
import math
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

import pandas as pd

from kronos.errors import ParameterError, SourceError
from kronos.network import Client, describe_failure, environment_problem

T = TypeVar("T")

MAX_BACKOFF = 30.0  # seconds between two attempts, unless the server requests more
_LONG_WAIT = 5.0  # seconds from which a wait is logged as a warning
_TRANSIENT = {408, 418, 425, 429}
_PHRASES = {418: "too many requests, banned for a while", 451: "unavailable from this location"}
_PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")

log = logging.getLogger("kronos.sources")


class RequestFailedError(Exception):
    """One request failed.

    Attributes:
        reason: What happened, as the rest of a sentence that starts with the source's name: ``answered 503 (…)``.
        hint: What to do about it, as an imperative clause.
        retryable: Whether the same request may succeed later.
        retry_after: Seconds to wait according to the server, if it named any.
        status: The HTTP status, if there was a response.
        attempts: Most attempts that such a failure is worth, if they are fewer than the settings allow.
    """

    attempts: int | None = None

    def __init__(
        self,
        reason: str,
        hint: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.retryable = retryable
        self.retry_after = retry_after
        self.status = status


class UnreachableError(RequestFailedError):
    """There was no response at all."""


class UnresolvedError(UnreachableError):
    """The name of the host has no address: offline, that does not change within minutes of retries."""

    attempts = 2


def call_with_retry(
    call: Callable[[], T], *, name: str, attempts: int = 8, patience: float = 300.0, wait: float = 0.5
) -> T:
    """Call a function until it succeeds, for as long as its failures are retryable.

    Args:
        call: Makes one request; raises `RequestFailedError` if it fails.
        name: Name of the source in messages.
        attempts: Maximum number of calls.
        patience: Seconds after which to give up; no wait starts that would end later.
        wait: Seconds before the second call; each further wait is twice as long, ± 25 % at random.

    Raises:
        SourceError: If the last call failed, or one failed with an error that is not retryable.
    """
    import stamina

    _silence_stamina()
    started, tried = time.monotonic(), 0

    def pause_before_retry(error: Exception) -> bool | float:
        if not isinstance(error, RequestFailedError) or not error.retryable:
            return False
        if tried >= min(attempts, error.attempts or attempts):
            return False
        backoff = min(MAX_BACKOFF, wait * 2.0 ** min(tried - 1, 30)) * random.uniform(0.75, 1.25)
        pause: float = max(backoff, error.retry_after or 0.0)
        if time.monotonic() - started + pause > patience:
            return False
        level = logging.WARNING if pause >= _LONG_WAIT else logging.INFO
        log.log(level, "%s %s; retrying in %.1f s (attempt %d of %d).", name, error.reason, pause, tried + 1, attempts)
        return pause

    @stamina.retry(on=pause_before_retry, attempts=attempts, timeout=None)
    def attempt() -> T:
        nonlocal tried
        tried += 1
        return call()

    try:
        return attempt()
    except RequestFailedError as failure:
        raise SourceError(_failure_message(failure, name, tried, time.monotonic() - started)) from failure


def _failure_message(failure: RequestFailedError, name: str, tried: int, elapsed: float) -> str:
    """Example: binance answered 503 (service unavailable), 8 times within 64 s; try again later."""
    times = f", {tried} times within {max(1, math.ceil(elapsed))} s" if tried > 1 else ""
    delay = failure.retry_after
    requested = f", and requests a wait of {math.ceil(delay)} s" if delay and delay >= 1 else ""
    return f"{name} {failure.reason}{times}{requested}; {failure.hint}."


@functools.cache
def _silence_stamina() -> None:
    """Keep stamina's retry hooks, which report to every program's output, from repeating our own log lines."""
    from stamina.instrumentation import RetryDetails, get_on_retry_hooks, set_on_retry_hooks
    from stamina.typing import RetryHook

    def except_here(hook: RetryHook) -> RetryHook:
        def report(details: RetryDetails) -> object:
            return None if details.name.startswith(__name__) else hook(details)

        return report  # type: ignore[return-value]

    set_on_retry_hooks([except_here(hook) for hook in get_on_retry_hooks()])


def status_error(status: int, *, name: str, retry_after: str | None = None) -> RequestFailedError:
    """Describe a response with an HTTP status of 400 or more.

    Args:
        status: The status.
        name: Name of the source in the settings.
        retry_after: The ``Retry-After`` header, if there is one.
    """
    retryable = status in _TRANSIENT or status >= 500
    hint = "try again later"
    if status in (418, 429):
        hint = "wait a little, and request less at once"
    elif status in (403, 451):
        hint = f"set a proxy elsewhere with {setting_variable(name, 'proxy')}"
    elif status in (401, 407):
        hint = f"check the keys and the proxy in KRONOS_SOURCES__{name.upper()}__…"
    elif not retryable:
        hint = f"check the request, and {setting_variable(name, 'base_url')} if it is set"
    reason = f"answered {status} ({_phrase(status)})"
    delay = parse_retry_after(retry_after)
    return RequestFailedError(reason, hint, retryable=retryable, retry_after=delay, status=status)


def _phrase(status: int) -> str:
    try:
        return _PHRASES.get(status) or HTTPStatus(status).phrase.lower()
    except ValueError:
        return "unknown status"


def connection_error(cause: str, *, name: str) -> UnreachableError:
    """Describe a request without a response.

    Args:
        cause: In a few words: ``connection refused``.
        name: Name of the source in the settings.
    """
    hint = f"check the network, or set a proxy with {setting_variable(name, 'proxy')}"
    return UnreachableError(f"could not be reached ({cause})", hint, retryable=True)


def unresolved_error(host: str, *, name: str) -> UnresolvedError:
    """Describe a request to a host whose name has no address.

    Args:
        host: The host, or an empty text if it is unknown.
        name: Name of the source in the settings.
    """
    hint = f"check the network, or set a proxy with {setting_variable(name, 'proxy')}"
    shown = f"the name {host}" if host else "its name"
    return UnresolvedError(f"could not be reached ({shown} cannot be resolved)", hint, retryable=True)


def environment_error(error: BaseException, url: str, client: Client) -> RequestFailedError | None:
    """Describe a failed request if a proxy or certificates of the environment explain it, else None.

    Args:
        error: The client's exception.
        url: What was requested.
        client: Library that made the request.
    """
    described = describe_failure(error, url, client)
    if described is None:
        return None
    reason, hint = described
    if "certificate" in reason:
        return RequestFailedError(reason, hint)
    return UnresolvedError(reason, hint, retryable=True)  # a proxy that does not run is as lasting


def check_environment(name: str, client: Client, *, proxies: bool = True) -> None:
    """Check the proxies and certificates of the environment before a request.

    Args:
        name: Name of the source in messages.
        client: Library that makes the request.
        proxies: Whether the proxies of the environment are used.

    Raises:
        SourceError: If one is invalid.
    """
    problem = environment_problem(client, proxies=proxies)
    if problem is not None:
        raise SourceError(f"{name} cannot be requested. {problem}")


def invalid_response_error(reason: str) -> RequestFailedError:
    """Describe a response that was cut off or altered on the way.

    Args:
        reason: What the source did, as the rest of a sentence that starts with its name: ``sent no JSON``.
    """
    return RequestFailedError(
        reason, "try again later, or check whether a proxy or gateway alters its responses", retryable=True
    )


def setting_variable(name: str, field: str) -> str:
    """Environment variable of a source's setting."""
    return f"KRONOS_SOURCES__{name.upper()}__{field.upper()}"


def parse_retry_after(header: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header, which holds seconds or a date; None if it holds neither."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        date = parse_date(header)
        if date is None:
            return None
        seconds = (date - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def parse_date(header: str | None) -> datetime | None:
    """UTC time of a header such as ``Date``; None if it holds no date."""
    try:
        date = parsedate_to_datetime(header or "")
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def validate_base_url(url: str, name: str) -> str:
    """Return a source's base URL without a trailing slash.

    Args:
        url: The URL from the settings.
        name: Name of the source in the settings.

    Raises:
        ParameterError: If it is not an HTTP URL.
    """
    parts = _split(url, ("http", "https"))
    if parts is None or parts.query or parts.fragment:
        raise ParameterError(
            f"{setting_variable(name, 'base_url')} is not a URL: write it like https://host or http://host:8080."
        )
    return url.rstrip("/")


def validate_proxy(url: str, name: str) -> str:
    """Return a proxy's URL.

    Args:
        url: The URL from the settings. It may hold a password, so that no message repeats it.
        name: Name of the source in the settings.

    Raises:
        ParameterError: If it is not the URL of an HTTP or SOCKS proxy.
    """
    if _split(url, _PROXY_SCHEMES) is None:
        raise ParameterError(
            f"{setting_variable(name, 'proxy')} is not a proxy URL: write it like http://host:8080 or "
            f"socks5h://host:1080."
        )
    return url


def _split(url: str, schemes: tuple[str, ...]) -> SplitResult | None:
    """Split a URL; None if it has another scheme, no host or an impossible port."""
    try:
        parts = urlsplit(url)
        return parts if parts.scheme in schemes and parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


class ServerClock:
    """A server's clock: the ``Date`` of its latest response, advanced by this machine's clock."""

    def __init__(self) -> None:
        self._seen: tuple[pd.Timestamp, float] | None = None

    @property
    def is_set(self) -> bool:
        """Whether any response had a date."""
        return self._seen is not None

    def update(self, date: str | None) -> None:
        """Set the clock by a response's ``Date`` header; an invalid date changes nothing."""
        at = parse_date(date)
        if at is not None:
            self._seen = pd.Timestamp(at), time.monotonic()

    def now(self) -> pd.Timestamp:
        """UTC time by the latest response, else by this machine."""
        if self._seen is None:
            return pd.Timestamp.now(tz="UTC")
        at, tick = self._seen
        return at + pd.Timedelta(seconds=time.monotonic() - tick)

"""Asking again where that may help: with growing waits, for as long as the patience lasts, and saying so in the log.

A client turns whatever its library raises into a `AttemptError`: a reason, a mend, and whether asking again may help.
`retrying` does the rest, and ends in a result or in a `SourceError` whose one sentence names all three.
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

T = TypeVar("T")

LONGEST = 30.0  # seconds between two tries, unless the other side asks for more
_NOTABLE = 5.0  # a wait that a person notices is a warning
_TRANSIENT = {408, 418, 425, 429}
_WORDS = {418: "too many requests, banned for a while", 451: "unavailable from this location"}

log = logging.getLogger("kronos.sources")


class RequestFailedError(Exception):
    """Why one request failed.

    Attributes:
        reason: What the source did, to follow its name: ``answered 503 (service unavailable)``.
        mend: What to do about it, an imperative clause.
        again: Whether the same request may succeed later.
        after: Seconds that the source asks to wait, if it does.
        status: The HTTP status, if there was an answer.
    """

    def __init__(
        self, reason: str, mend: str, *, again: bool = False, after: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.mend = mend
        self.again = again
        self.after = after
        self.status = status


class UnreachableError(RequestFailedError):
    """There was no answer at all."""


def call_with_retry(
    call: Callable[[], T], *, name: str, attempts: int = 8, patience: float = 300.0, wait: float = 0.5
) -> T:
    """The result of a call, which is made again while its faults are such that this may help.

    Args:
        call: Makes one request; raises `AttemptError` if it fails.
        name: The source, as messages call it.
        attempts: How often to call at most.
        patience: Seconds after which to give up; no wait begins that would end later.
        wait: Seconds before the second try; each next wait is twice as long, and up to a quarter more or less.

    Raises:
        SourceError: If the last try failed, or a fault was such that asking again does not help.
    """
    import stamina

    _once_is_enough()
    began, tried = time.monotonic(), 0

    def again(error: Exception) -> bool | float:
        if not isinstance(error, RequestFailedError) or not error.again or tried >= attempts:
            return False
        backoff = min(LONGEST, wait * 2.0 ** min(tried - 1, 30)) * random.uniform(0.75, 1.25)
        pause: float = max(backoff, error.after or 0.0)
        if time.monotonic() - began + pause > patience:
            return False
        level = logging.WARNING if pause >= _NOTABLE else logging.INFO
        log.log(level, "%s %s; asking again in %.1f s (try %d of %d).", name, error.reason, pause, tried + 1, attempts)
        return pause

    @stamina.retry(on=again, attempts=attempts, timeout=None)
    def attempt() -> T:
        nonlocal tried
        tried += 1
        return call()

    try:
        return attempt()
    except RequestFailedError as fault:
        raise SourceError(_sentence(fault, name, tried, time.monotonic() - began)) from fault


def _sentence(fault: RequestFailedError, name: str, tried: int, elapsed: float) -> str:
    """As in: binance answered 503 (service unavailable), 8 times within 64 s; try again later."""
    often = f", {tried} times within {max(1, math.ceil(elapsed))} s" if tried > 1 else ""
    asks = f", and asks to wait {math.ceil(fault.after)} s" if fault.after and fault.after >= 1 else ""
    return f"{name} {fault.reason}{often}{asks}; {fault.mend}."


@functools.cache
def _once_is_enough() -> None:
    """Keep stamina's own reports, which go to every program's output, from repeating what our log says."""
    from stamina.instrumentation import RetryDetails, get_on_retry_hooks, set_on_retry_hooks
    from stamina.typing import RetryHook

    def but_ours(hook: RetryHook) -> RetryHook:
        def report(details: RetryDetails) -> object:
            return None if details.name.startswith(__name__) else hook(details)

        return report  # type: ignore[return-value]

    set_on_retry_hooks([but_ours(hook) for hook in get_on_retry_hooks()])


def refused(status: int, *, name: str, retry_after: str | None = None) -> RequestFailedError:
    """The fault that an HTTP status of 400 or more is.

    Args:
        status: The status.
        name: The source, as its settings call it.
        retry_after: The answer's ``Retry-After``, if it has one.
    """
    words = _WORDS.get(status) or _phrase(status)
    mend = "try again later"
    if status in (418, 429):
        mend = "wait a little, and ask for less at once"
    elif status in (403, 451):
        mend = f"reach it from elsewhere: set a proxy with {variable(name, 'proxy')}"
    elif status in (401, 407):
        mend = f"check the keys and the proxy set for it (KRONOS_SOURCES__{name.upper()}__…)"
    elif status < 500 and status not in _TRANSIENT:
        mend = f"check what was asked for, and {variable(name, 'base_url')} if it is set"
    again = status in _TRANSIENT or status >= 500
    reason = f"answered {status} ({words})"
    return RequestFailedError(reason, mend, again=again, after=seconds_asked(retry_after), status=status)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return "no success"


def unreachable(why: str, *, name: str) -> UnreachableError:
    """The fault that no answer is.

    Args:
        why: In a few words: ``connection refused``.
        name: The source, as its settings call it.
    """
    mend = f"check the network, or set a proxy with {variable(name, 'proxy')}"
    return UnreachableError(f"could not be reached ({why})", mend, again=True)


def broken(why: str) -> RequestFailedError:
    """The fault that an answer is which was lost or spoilt on the way.

    Args:
        why: What the source did, to follow its name: ``sent no JSON``.
    """
    return RequestFailedError(why, "try again later, or see whether something between changes its answers", again=True)


def variable(name: str, field: str) -> str:
    """The environment variable of a source's setting."""
    return f"KRONOS_SOURCES__{name.upper()}__{field.upper()}"


def seconds_asked(retry_after: str | None) -> float | None:
    """What ``Retry-After`` asks for: seconds, or a date; None if it says neither."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        date = read_date(retry_after)
        if date is None:
            return None
        seconds = (date - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def read_date(header: str | None) -> datetime | None:
    """The time of a header such as ``Date``, UTC; None if it says none."""
    try:
        date = parsedate_to_datetime(header or "")
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


_PROXIES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def checked_base(url: str, name: str) -> str:
    """A source's address without a slash at its end.

    Args:
        url: What the settings say.
        name: The source, as its settings call it.

    Raises:
        ParameterError: If it is no HTTP address.
    """
    parts = _split(url, ("http", "https"))
    if parts is None or parts.query or parts.fragment:
        mend = "write it like https://host or http://host:8080"
        raise ParameterError(f"{variable(name, 'base_url')} is no address; {mend}.")
    return url.rstrip("/")


def checked_proxy(url: str, name: str) -> str:
    """A proxy's address.

    Args:
        url: What the settings say.
        name: The source, as its settings call it.

    Raises:
        ParameterError: If it is no proxy's address.
    """
    if _split(url, _PROXIES) is None:
        mend = "write it like http://host:8080 or socks5h://host:1080"
        raise ParameterError(f"{variable(name, 'proxy')} is no proxy; {mend}.")
    return url


def _split(url: str, schemes: tuple[str, ...]) -> SplitResult | None:
    """An address in its parts; None if it is none of these schemes, or has no host or no possible port."""
    try:
        parts = urlsplit(url)
        return parts if parts.scheme in schemes and parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


class ServerClock:
    """The time by the latest answer's ``Date``, carried on by this machine's clock."""

    def __init__(self) -> None:
        self._seen: tuple[pd.Timestamp, float] | None = None

    @property
    def heard(self) -> bool:
        """Whether an answer has told the time."""
        return self._seen is not None

    def note(self, date: str | None) -> None:
        """Take an answer's ``Date``; what is no date changes nothing."""
        at = read_date(date)
        if at is not None:
            self._seen = pd.Timestamp(at), time.monotonic()

    def now(self) -> pd.Timestamp:
        """The time by the latest answer, else by this machine; UTC."""
        if self._seen is None:
            return pd.Timestamp.now(tz="UTC")
        at, tick = self._seen
        return at + pd.Timedelta(seconds=time.monotonic() - tick)

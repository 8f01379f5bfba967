"""Addresses from the settings, checked before anything is asked: a wrong one is said once, not tried again and again.

Both may hold a password, so no message repeats them.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from kronos.errors import ParameterError
from kronos.sources.retrying import variable

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

"""Who is calling: by the Host they called, the page they call from, the key they bring.

- A browser that was lured to another name of this machine (DNS rebinding) is told apart by its Host header, a foreign
  page's script by its Origin. Neither gets as far as a route.
- Keys are compared by their hashes in constant time, and are never logged.
- `EventSource` can send no headers: a ticket opens one job's events for a few minutes, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address

from kronos.serve.errors import ApiError

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
OPEN_PATHS = frozenset({"/health", "/ready"})  # for whoever watches over the process; they tell nothing else
_TICKET_SECONDS = 300
_HOST = re.compile(r"(?:\[([0-9a-f:.%]+)\]|([^\[\]:/@\s]+))(?::[0-9]{0,5})?")


class AccessPolicy:
    """Decides who may call."""

    def __init__(self, *, host: str, allowed_hosts: Iterable[str], origins: Iterable[str], keys: Iterable[str]) -> None:
        """Know whom to let in; see `ServeSettings`."""
        named = {host.lower()} if host not in ("0.0.0.0", "::", "") else set()
        self._hosts = LOCAL | named | {_without_port(one) for one in allowed_hosts}
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._keys = tuple(_digest(key) for key in keys)
        self._secret = secrets.token_bytes(32)

    @property
    def keyed(self) -> bool:
        """Whether a key is needed."""
        return bool(self._keys)

    @property
    def crossed(self) -> bool:
        """Whether any other site's page may call."""
        return bool(self._origins)

    def check_host(self, host: str | None) -> None:
        """Refuse a name that is not this server's.

        Raises:
            ApiError: 421.
        """
        name = None if host is None else _without_port(host)
        # A page that points its own name at this machine sends that name; an address it cannot forge.
        if name is None or (name not in self._hosts and not (self._keys and _is_address(name))):
            raise ApiError(421, "The server is not known by that name; KRONOS_SERVE__ALLOWED_HOSTS can add it.")

    def check_origin(self, origin: str | None, site: str | None, host: str | None) -> str | None:
        """Refuse what another site's page asks.

        Args:
            origin: The Origin header.
            site: The Sec-Fetch-Site header.
            host: The Host header.

        Returns:
            The origin, if it is another one that was allowed.

        Raises:
            ApiError: 403.
        """
        if origin is not None:
            if origin.lower() in self._origins:
                return origin
            scheme, _, name = origin.lower().partition("://")
            # Behind a proxy that ends TLS the scheme differs; the name and port are what tells sites apart.
            if scheme in ("http", "https") and host is not None and name == host.lower():
                return None
            raise ApiError(403, "Pages of other sites may not call; KRONOS_SERVE__ORIGINS can allow one.")
        if site is not None and site.lower() == "cross-site":
            raise ApiError(403, "Pages of other sites may not call; KRONOS_SERVE__ORIGINS can allow one.")
        return None

    def check_key(self, path: str, headers: Mapping[bytes, bytes]) -> str | None:
        """Refuse who brings no key where one is needed.

        Returns:
            What stands for the key in limits and logs; None where no key is needed.

        Raises:
            ApiError: 401.
        """
        if not self._keys or path in OPEN_PATHS:
            return None
        given = headers.get(b"x-api-key")
        if given is None:
            kind, _, token = headers.get(b"authorization", b"").partition(b" ")
            given = token if kind.lower() == b"bearer" else b""
        digest = hashlib.sha256(given.strip()).digest()
        matches = [hmac.compare_digest(digest, key) for key in self._keys]  # all of them: no early end tells which
        if True not in matches:
            raise ApiError(401, "A key is needed: send it as X-API-Key, or as Authorization: Bearer.")
        return f"key-{hmac.new(self._secret, digest, 'sha256').hexdigest()[:12]}"

    def ticket(self, job: str) -> str:
        """What opens a job's events for a few minutes."""
        expires = int(time.time()) + _TICKET_SECONDS
        return f"{expires}.{self._sign(job, expires)}"

    def opens(self, job: str, ticket: str) -> bool:
        """Whether a ticket opens a job's events now."""
        expires, _, signature = ticket.partition(".")
        if not (expires.isascii() and expires.isdecimal() and len(expires) < 12) or int(expires) < time.time():
            return False
        return hmac.compare_digest(signature.encode(), self._sign(job, int(expires)).encode())

    def _sign(self, job: str, expires: int) -> str:
        return hmac.new(self._secret, f"{job}.{expires}".encode(), "sha256").hexdigest()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _without_port(host: str) -> str:
    """A Host header's name, ``[::1]:5000`` is ``::1``; nothing if it is written in any other way."""
    found = _HOST.fullmatch(host.strip().lower())
    return "" if found is None else found[1] or found[2].removesuffix(".")


_CLIENTS = 10_000


class TokenBucket:
    """A balance for each client, refilled steadily up to one minute's allowance.

    Work is debited when it is done, and may overdraw: what is asked for is then refused until the balance is positive
    again. So even the largest allowed request can be made, and nobody gains by splitting one.
    """

    def __init__(self, per_minute: float, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow so much a minute; 0 for no limit."""
        self.per_minute, self._what, self._clock = float(per_minute), what, clock
        self._balances: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, client: str) -> None:
        """Refuse a client that has used up its allowance.

        Raises:
            ApiError: 429, with the time until the balance is positive.
        """
        if not self.per_minute:
            return
        balance = self._balance(client)
        if balance <= 0:
            seconds = (1 - balance) / self.per_minute * 60
            raise ApiError(429, f"This client has used up its {self._what}; wait a little.", retry_after=seconds)

    def debit(self, client: str, amount: float) -> None:
        """Take what was used."""
        if not self.per_minute:
            return
        self._balances[client] = self._balance(client) - amount, self._clock()
        self._balances.move_to_end(client)
        while len(self._balances) > _CLIENTS:
            self._balances.popitem(last=False)

    def _balance(self, client: str) -> float:
        balance, since = self._balances.get(client, (self.per_minute, 0.0))
        if client not in self._balances:
            return balance
        return min(self.per_minute, balance + (self._clock() - since) * self.per_minute / 60)

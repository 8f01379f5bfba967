"""Rate limits: token buckets by client, of requests and of work."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from kronos.serve.faults import ApiError

_CLIENTS = 10_000


class Bucket:
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

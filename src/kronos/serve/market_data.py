"""Candles of the configured assets, fetched once per candle for all clients.

- One thread calls the source, as not every client library is thread-safe. Callers wait for it with a timeout.
- Candles are valid until the next one closes by the source's clock. If that one is late, it is requested again after
  increasing delays, not by every client.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import pandas as pd

from kronos.candles import Candles
from kronos.errors import ParameterError, SourceError
from kronos.formatting import join_names
from kronos.intervals import Interval
from kronos.serve.cache import AsyncTTLCache, Expiring, clock
from kronos.serve.errors import ApiError
from kronos.serve.jobs import DaemonPool
from kronos.sources import CandleSource
from kronos.sources.coingecko import CoinGecko, MarketChart, Quote
from kronos.sources.coingecko.source import well_known_coins

T = TypeVar("T")

_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,19}")
_DEFAULT_INTERVAL = Interval(1, "h")
_PUBLISH_DELAY = pd.Timedelta(seconds=5)  # from a candle's close until a source is expected to have it
_SIZES = (512, 1536, 8640)  # numbers of candles to fetch, so that similar requests share one fetch
# A late candle is requested again after 5 s, doubled each time up to this fraction of the interval.
_RETRY_SECONDS, _RETRY_FRACTION = 5.0, 20
_SOURCE_SHARE = 0.9  # of the request timeout, so that a slow source is reported as such
_MAX_DAYS = 90
_QUOTE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Asset:
    """A configured asset.

    Attributes:
        symbol: Name in the API, in capitals.
        name: CoinGecko's id if there is one, such as ``bitcoin``, else the symbol in lower case.
        source_names: Possible names at the source, the likeliest first.
    """

    symbol: str
    name: str
    source_names: tuple[str, ...]


def parse_assets(entries: tuple[str, ...], quote: str, source: str) -> dict[str, Asset]:
    """Return the configured assets by symbol.

    Args:
        entries: ``SYMBOL``, or ``SYMBOL=name at the source``.
        quote: Quote currency of symbols without a name.
        source: Spec of the source, which determines how pairs are named.

    Raises:
        ParameterError: If a symbol is invalid.
    """
    assets = {}
    for entry in entries:
        symbol, _, source_name = (part.strip() for part in entry.partition("="))
        symbol = symbol.upper()
        if not _SYMBOL.fullmatch(symbol):
            raise ParameterError(f"Invalid asset '{entry}' in KRONOS_SERVE__ASSETS: write BTC or BTC=XBT/EUR.")
        kind = source.partition(":")[0].lower()
        names = (source_name,) if source_name else _source_names(symbol, quote.upper(), kind)
        known = well_known_coins(symbol)
        assets[symbol] = Asset(symbol, known[0] if known else symbol.lower(), names)
    return assets


def _source_names(symbol: str, quote: str, kind: str) -> tuple[str, ...]:
    if kind == "coingecko":
        return (symbol,)
    if kind in ("files", "replay", "qlib", "simulated", "yahoo", "baostock", "akshare"):
        return tuple(dict.fromkeys((symbol, f"{symbol}{quote}", f"{symbol}USD")))
    return (f"{symbol}/{quote}",)


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CandleSnapshot:
    """The latest candles of an asset, and how long they are the latest.

    Attributes:
        candles: Closed candles.
        closed: When the last of them closed; UTC.
        expires: When the next one closes; UTC, by the source's clock.
        valid_until: When to fetch again, by `clock`.
    """

    candles: Candles
    closed: pd.Timestamp
    expires: pd.Timestamp
    valid_until: float

    @property
    def seconds(self) -> float:
        """Remaining seconds of validity, also for what is computed from the candles."""
        return max(0.0, self.valid_until - clock())


class MarketData:
    """Cached access to the configured source by symbol.

    Attributes:
        source: The source of candles.
        assets: The configured assets by symbol.
    """

    def __init__(
        self,
        source: CandleSource,
        assets: dict[str, Asset],
        *,
        interval: str | None,
        timeout: float,
        coingecko: CoinGecko | None = None,
    ) -> None:
        """Create the cache; nothing is fetched yet.

        Args:
            source: The source of candles.
            assets: The configured assets by symbol.
            interval: Interval of the candles; None for 1h, or the next longer one that the source has.
            timeout: Seconds that a request may take.
            coingecko: Client for current prices, if CoinGecko is the source.
        """
        self.source, self.assets = source, assets
        self._timeout, self._coingecko = timeout, coingecko
        self._interval = None if interval is None else Interval.parse(interval)
        self._executor = DaemonPool(1, "source")
        self._snapshots: AsyncTTLCache[tuple[str, int], CandleSnapshot] = AsyncTTLCache()
        self._quotes: AsyncTTLCache[str, Quote] = AsyncTTLCache()
        self._resolved: dict[str, tuple[str, Interval]] = {}
        self._unsupported: set[str] = set()
        self._late: dict[str, tuple[pd.Timestamp, int]] = {}
        self._lock = threading.Lock()

    def asset(self, symbol: str) -> Asset:
        """Return an asset by its symbol, in any case.

        Raises:
            ApiError: 404 if it is not configured.
        """
        asset = self.assets.get(symbol.strip().upper())
        if asset is None:
            raise ApiError(404, f"Unknown symbol; choose {join_names(list(self.assets), None, 'or')}.")
        return asset

    def is_supported(self, asset: Asset) -> bool:
        """Return False once the source has rejected the asset."""
        return asset.symbol not in self._unsupported

    async def candles(self, asset: Asset, records: int) -> CandleSnapshot:
        """Return the latest closed candles.

        Args:
            asset: The asset.
            records: Largest number of candles.

        Raises:
            SourceError: If the source fails or does not respond in time.
            ApiError: 404 if the source does not have the asset.
        """
        size = next((size for size in _SIZES if size >= records), None) or self._longest_history(records)

        async def fetch() -> Expiring[CandleSnapshot]:
            snapshot = await self._run(lambda: self._fetch(asset, size))
            return Expiring(snapshot, snapshot.seconds)

        snapshot = await self._snapshots.get((asset.symbol, size), fetch)
        return replace(snapshot, candles=snapshot.candles.tail(records))

    async def quote(self, asset: Asset) -> Quote | None:
        """Return CoinGecko's price, at most a minute old; None with other sources."""
        coingecko = self._coingecko
        if coingecko is None:
            return None

        async def fetch() -> Expiring[Quote]:
            return Expiring(await self._run(lambda: coingecko.quote(asset.source_names[0])), _QUOTE_SECONDS)

        return await self._quotes.get(asset.symbol, fetch)

    async def chart(self, asset: Asset, days: int) -> MarketChart | None:
        """Return CoinGecko's prices, volumes and market capitalizations; None with other sources. Not cached."""
        coingecko = self._coingecko
        if coingecko is None:
            return None
        return await self._run(lambda: coingecko.market_chart(asset.source_names[0], days))

    @property
    def preferred_interval(self) -> Interval:
        """Interval of the candles, unless the source does not have it."""
        return self._interval or _DEFAULT_INTERVAL

    async def interval(self, asset: Asset) -> Interval:
        """Return the interval of an asset's candles.

        Raises:
            KronosError: As `candles`.
        """
        resolved = self._resolved.get(asset.symbol)
        return resolved[1] if resolved else (await self._run(lambda: self._resolve(asset)))[1]

    async def _run(self, call: Callable[[], T]) -> T:
        """Run a call in the source's thread, with the timeout."""
        future = asyncio.get_running_loop().run_in_executor(self._executor, call)
        try:
            return await asyncio.wait_for(future, _SOURCE_SHARE * self._timeout)
        except TimeoutError:
            raise SourceError(f"{self.source.name} did not respond within {self._timeout:g} s; retry later.") from None

    def _resolve(self, asset: Asset) -> tuple[str, Interval]:
        """Find the name of an asset at the source, and its interval."""
        with self._lock:
            if asset.symbol not in self._resolved:
                self._resolved[asset.symbol] = self._look_up(asset)
            return self._resolved[asset.symbol]

    def _look_up(self, asset: Asset) -> tuple[str, Interval]:
        message = f"{self.source.name} does not have {asset.symbol}."
        reason = message
        for name in asset.source_names:
            try:
                intervals = self.source.intervals(name)
            except ParameterError as error:
                reason = str(error)
                continue
            self._unsupported.discard(asset.symbol)
            return name, self._choose_interval(asset, intervals)
        self._unsupported.add(asset.symbol)
        _log.warning("asset not available at the source", extra={"symbol": asset.symbol, "reason": reason})
        raise ApiError(404, message)

    def _choose_interval(self, asset: Asset, intervals: tuple[Interval, ...] | None) -> Interval:
        preferred = self.preferred_interval
        if intervals is None or preferred in intervals:
            return preferred
        if self._interval is not None:
            available = join_names([str(interval) for interval in intervals], None, "or")
            raise ParameterError(
                f"{self.source.name} has no {preferred} candles of {asset.symbol}: choose {available}."
            )
        return next((interval for interval in intervals if interval.seconds >= preferred.seconds), intervals[-1])

    def _fetch(self, asset: Asset, records: int) -> CandleSnapshot:
        name, interval = self._resolve(asset)
        candles = self.source.candles(name, interval, records=records)
        now = self.source.now()
        last = candles.end if candles.end.tzinfo is not None else candles.end.tz_localize("UTC")
        closed = (last + interval.offset).tz_convert("UTC")
        expires = closed + interval.offset
        seconds = (expires + _PUBLISH_DELAY - now).total_seconds()
        if seconds <= 0:
            seconds = self._retry_delay(asset, closed)
        return CandleSnapshot(candles, closed, expires, clock() + seconds)

    def _retry_delay(self, asset: Asset, closed: pd.Timestamp) -> float:
        """Return the seconds until the next request for a late candle; they double with each attempt."""
        last, attempts = self._late.get(asset.symbol, (closed, 0))
        attempts = attempts + 1 if last == closed else 1
        self._late[asset.symbol] = closed, attempts
        interval = self._resolved[asset.symbol][1]
        return min(
            _RETRY_SECONDS * 2.0 ** min(attempts - 1, 20), max(_RETRY_SECONDS, interval.seconds / _RETRY_FRACTION)
        )

    def _longest_history(self, records: int) -> int:
        """Return the number of candles of the longest allowed history, so that all long requests share one fetch."""
        seconds = min((interval.seconds for _, interval in self._resolved.values()), default=_DEFAULT_INTERVAL.seconds)
        return max(records, math.ceil(_MAX_DAYS * 86_400 / seconds))

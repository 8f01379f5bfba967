"""Candles of the configured assets: fetched once per candle, however many ask.

- One thread talks to the source, since not every client library stands several; a source that keeps it waiting is given
  up by whoever waits, not by the server.
- Candles hold until the next one closes by the source's own clock. Where it then comes late, the source is asked again
  after a short while, not at every request.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import pandas as pd

from kronos.candles import Candles
from kronos.errors import ParameterError, SourceError
from kronos.intervals import Interval
from kronos.serve.cache import AsyncTTLCache, Expiring
from kronos.serve.errors import ApiError
from kronos.serve.executors import DaemonPool
from kronos.sources import CandleSource
from kronos.sources.coingecko import CoinGecko, MarketChart, Quote
from kronos.sources.coingecko.source import well_known

_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,19}")


@dataclass(frozen=True, slots=True)
class Asset:
    """What can be asked for.

    Attributes:
        symbol: As clients write it, in capitals.
        name: CoinGecko's id where there is one, ``bitcoin``, else the symbol in small letters.
        names: What the source may call it, the likeliest first.
    """

    symbol: str
    name: str
    names: tuple[str, ...]


def read_assets(entries: tuple[str, ...], quote: str, source: str) -> dict[str, Asset]:
    """The configured assets by symbol.

    Args:
        entries: ``SYMBOL``, or ``SYMBOL=what the source calls it``.
        quote: What a bare symbol is priced in.
        source: The source's spec; each kind has its own way to call a pair.

    Raises:
        ParameterError: If an entry is no symbol.
    """
    assets = {}
    for entry in entries:
        symbol, _, called = (part.strip() for part in entry.partition("="))
        symbol = symbol.upper()
        if not _SYMBOL.fullmatch(symbol):
            raise ParameterError(f"KRONOS_SERVE__ASSETS names '{entry}'; write symbols such as BTC or BTC=XBT/EUR.")
        names = (called,) if called else _names(symbol, quote.upper(), source.partition(":")[0].lower())
        known = well_known(symbol)
        assets[symbol] = Asset(symbol, known[0] if known else symbol.lower(), names)
    return assets


def _names(symbol: str, quote: str, kind: str) -> tuple[str, ...]:
    if kind == "coingecko":
        return (symbol,)
    if kind in ("files", "replay", "qlib", "simulated", "yahoo", "baostock", "akshare"):
        return tuple(dict.fromkeys((symbol, f"{symbol}{quote}", f"{symbol}USD")))
    return (f"{symbol}/{quote}",)


T = TypeVar("T")

_USUAL = Interval(1, "h")
_SETTLE = pd.Timedelta(seconds=5)  # after its close, until a source is expected to have a candle
_SIZES = (512, 1536, 8640)  # candles fetched at once, so that those who want about as many share them
_LATE, _SHARE = 5.0, 20  # a late candle is asked for after seconds, doubled each time up to that part of an interval
_PART = 0.9  # of a request's time that the source may take, so that its failure is told as such
_DAYS = 90  # what the longest histories go back

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CandleSnapshot:
    """Candles, and how long nothing newer is to be expected.

    Attributes:
        candles: The closed ones.
        closes: When the last of them closed; UTC.
        expires: When the next one closes; UTC, by the source's clock.
        until: Then, or when it is worth asking again, by `time.monotonic`.
    """

    candles: Candles
    closes: pd.Timestamp
    expires: pd.Timestamp
    until: float

    @property
    def seconds(self) -> float:
        """How long it still holds; what is made of it holds no longer."""
        return max(0.0, self.until - time.monotonic())


class MarketData:
    """The configured source, asked by symbol."""

    def __init__(
        self,
        source: CandleSource,
        assets: dict[str, Asset],
        *,
        interval: str | None,
        timeout: float,
        coingecko: CoinGecko | None = None,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            source: Where candles come from.
            assets: What can be asked for, by symbol.
            interval: Of the candles; None for 1h, or the next longer one that the source has.
            timeout: Seconds that a caller waits for the source.
            coingecko: Gives quotes too, where it is the source.
        """
        self.source, self.assets, self.timeout, self.coingecko = source, assets, timeout, coingecko
        self._interval = None if interval is None else Interval.parse(interval)
        self._pool = DaemonPool(1, "source")
        self._kept: AsyncTTLCache[tuple[str, int], CandleSnapshot] = AsyncTTLCache()
        self._quotes: AsyncTTLCache[str, Quote] = AsyncTTLCache()
        self._charts: AsyncTTLCache[tuple[str, int], MarketChart] = AsyncTTLCache()
        self._resolved: dict[str, tuple[str, Interval]] = {}
        self._refused: set[str] = set()
        self._late: dict[str, tuple[pd.Timestamp, int]] = {}
        self._lock = threading.Lock()

    def asset(self, symbol: str) -> Asset:
        """What a client calls so, in any case.

        Raises:
            ApiError: 404 if it is not configured.
        """
        found = self.assets.get(symbol.strip().upper())
        if found is None:
            raise ApiError(404, f"There is no such symbol here; ask for one of {', '.join(self.assets)}.")
        return found

    def supported(self, asset: Asset) -> bool:
        """Whether the source has it, as far as is known: false once it has said that it does not."""
        return asset.symbol not in self._refused

    async def candles(self, asset: Asset, records: int) -> CandleSnapshot:
        """The latest closed candles.

        Args:
            asset: Of what.
            records: At most so many.

        Raises:
            SourceError: If the source cannot be reached.
            ParameterError: If it does not have the asset.
            TimeoutError: If it took too long.
        """
        size = next((one for one in _SIZES if one >= records), None) or self._longest(records)

        async def make() -> Expiring[CandleSnapshot]:
            fetched = await self._ask(lambda: self._fetch(asset, size))
            return Expiring(fetched, fetched.seconds)

        fetched = await self._kept.get((asset.symbol, size), make)
        return replace(fetched, candles=fetched.candles.tail(records))

    async def quote(self, asset: Asset) -> Quote | None:
        """What an asset is worth now by CoinGecko, at most a minute old; None where that is not the source."""
        gecko = self.coingecko
        if gecko is None:
            return None

        async def make() -> Expiring[Quote]:
            return Expiring(await self._ask(lambda: gecko.quote(asset.names[0])), 60.0)

        return await self._quotes.get(asset.symbol, make)

    async def chart(self, asset: Asset, days: int) -> MarketChart | None:
        """CoinGecko's prices, volumes and capitalisations, at most 5 minutes old; None where it is not the source."""
        gecko = self.coingecko
        if gecko is None:
            return None

        async def make() -> Expiring[MarketChart]:
            return Expiring(await self._ask(lambda: gecko.market_chart(asset.names[0], days)), 300.0)

        return await self._charts.get((asset.symbol, days), make)

    @property
    def usual(self) -> Interval:
        """The interval that candles have unless the source lacks it."""
        return self._interval or _USUAL

    async def interval(self, asset: Asset) -> Interval:
        """The interval of an asset's candles.

        Raises:
            KronosError: As `candles`.
        """
        known = self._resolved.get(asset.symbol)
        return known[1] if known else (await self._ask(lambda: self._resolve(asset)))[1]

    async def _ask(self, question: Callable[[], T]) -> T:
        """Ask in the source's thread, and wait no longer than the timeout."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, question)
        try:
            return await asyncio.wait_for(future, _PART * self.timeout)
        except TimeoutError:
            raise SourceError(
                f"{self.source.name} did not answer within {self.timeout:g} s; try again later."
            ) from None

    def _resolve(self, asset: Asset) -> tuple[str, Interval]:
        """What the source calls an asset, and the interval to take."""
        with self._lock:
            if asset.symbol not in self._resolved:
                self._resolved[asset.symbol] = self._look(asset)
            return self._resolved[asset.symbol]

    def _look(self, asset: Asset) -> tuple[str, Interval]:
        refusal = ParameterError(f"{self.source.name} does not have {asset.symbol}.")
        for name in asset.names:
            try:
                served = self.source.intervals(name)
            except ParameterError as error:
                refusal = error
                continue
            self._refused.discard(asset.symbol)
            return name, self._choose(asset, served)
        self._refused.add(asset.symbol)
        _log.warning("the source does not have an asset", extra={"symbol": asset.symbol, "reason": str(refusal)})
        raise ApiError(404, f"{self.source.name} does not have {asset.symbol}.")

    def _choose(self, asset: Asset, served: tuple[Interval, ...] | None) -> Interval:
        wanted = self._interval or _USUAL
        if served is None or wanted in served:
            return wanted
        if self._interval is not None:
            raise ParameterError(
                f"{self.source.name} has no {wanted} candles of {asset.symbol}, only {', '.join(map(str, served))}."
            )
        return next((one for one in served if one.seconds >= wanted.seconds), served[-1])

    def _fetch(self, asset: Asset, records: int) -> CandleSnapshot:
        name, interval = self._resolve(asset)
        candles = self.source.candles(name, interval, records=records)
        now = self.source.now()
        last = candles.end if candles.end.tzinfo is not None else candles.end.tz_localize("UTC")
        closes = (last + interval.offset).tz_convert("UTC")
        expires = closes + interval.offset
        left = (expires + _SETTLE - now).total_seconds()
        return CandleSnapshot(
            candles, closes, expires, time.monotonic() + (left if left > 0 else self._again(asset, closes))
        )

    def _again(self, asset: Asset, closes: pd.Timestamp) -> float:
        """Seconds after which to ask again for a candle that is late; the more, the longer it is."""
        last, times = self._late.get(asset.symbol, (closes, 0))
        times = times + 1 if last == closes else 1
        self._late[asset.symbol] = closes, times
        interval = self._resolved[asset.symbol][1]
        return min(_LATE * 2.0 ** min(times - 1, 20), max(_LATE, interval.seconds / _SHARE))

    def _longest(self, records: int) -> int:
        """Candles to fetch where few sizes do not suffice: those of the longest history, so that all share them."""
        seconds = min((interval.seconds for _, interval in self._resolved.values()), default=_USUAL.seconds)
        return max(records, math.ceil(_DAYS * 86_400 / seconds))

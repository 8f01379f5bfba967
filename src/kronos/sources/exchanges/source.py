"""Any exchange of ccxt as a source of pages.

- The exchange's clock decides what has closed. Markets are loaded only as far as a symbol needs them.
- A page ends with its last candle, whatever was requested: exchanges send fewer rows, duplicated ones, or only the
  newest of a window. Rows missing at its beginning are requested again.
- An empty page covers the requested window, unless the exchange would have sent later rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kronos.candles import COLUMNS
from kronos.errors import ParameterError, SourceError
from kronos.intervals import Interval
from kronos.sources.base import Page
from kronos.sources.exchanges.client import NEWEST, OLDEST, CcxtClient, InvalidRowsError, MarketKind, market_kind
from kronos.sources.exchanges.symbols import ExchangeMarket, possible_kinds, resolve_symbol
from kronos.typing import FloatArray

if TYPE_CHECKING:
    from kronos.settings import SourceSettings

_CLOCK_LIFETIME = 60.0  # seconds after which the exchange's clock is requested again
_PAGE_SIZE, _WINDOW_SIZE = 500, 100  # rows per request and per empty window, if the exchange does not specify a limit
_DAY = Interval(1, "d")
_FIRST = pd.Timestamp("2009-01-03", tz="UTC")  # nothing on these exchanges is older
_MARKET_TYPES: dict[MarketKind, tuple[str, ...]] = {
    "spot": ("spot",),
    "linear": ("linear", "swap"),
    "inverse": ("inverse", "swap"),
}


class CcxtSource:
    """A `PageSource` over one exchange."""

    def __init__(self, name: str, settings: SourceSettings | None = None, *, wait: float = 0.5) -> None:
        """Configure the exchange; no request is made.

        Args:
            name: ccxt's name of the exchange: ``binance``, ``okx``, ``kraken`` …
            settings: How to reach it; None for the defaults.
            wait: Seconds before the first retry; later waits are longer.

        Raises:
            ParameterError: If there is no such exchange, it has no candles, ccxt is not installed, or a URL in the
                settings is invalid.
        """
        from kronos.settings import SourceSettings

        self._settings = settings or SourceSettings()
        self._client = CcxtClient(name.strip().lower(), self._settings, wait)
        self._timeframes = dict(_parse_timeframes(self._client.api.timeframes))
        self._types = _loadable_types(self._client.api.options.get("fetchMarkets"))
        self._markets: list[ExchangeMarket] = []
        self._loaded: set[MarketKind] = set()
        self._clock: tuple[pd.Timestamp, float] | None = None

    @property
    def name(self) -> str:
        """Name of the exchange in ccxt."""
        return self._client.name

    def now(self) -> pd.Timestamp:
        """UTC time on the exchange's clock, or by the date of its latest response if it has no clock.

        Raises:
            SourceError: If the exchange cannot be reached.
        """
        api = self._client.api
        if api.has.get("fetchTime") is not True:
            return self._client.clock.now()
        if self._clock is None or time.monotonic() - self._clock[1] > _CLOCK_LIFETIME:
            millis = self._client.call(api.fetch_time)
            if not isinstance(millis, int) or not OLDEST < millis < NEWEST:
                raise SourceError(f"{self.name} sent an invalid time; try again later.")
            self._clock = pd.Timestamp(millis, unit="ms", tz="UTC"), time.monotonic()
        return self._clock[0] + pd.Timedelta(seconds=time.monotonic() - self._clock[1])

    def resolve(self, symbol: str) -> str:
        """Resolve a symbol in any usual notation to ccxt's unified one; see `kronos.sources.exchanges.symbols`.

        Raises:
            ParameterError: If there is no such market; suggests the nearest.
            SourceError: If the exchange cannot be reached.
        """
        default = self._settings.market
        self._load(possible_kinds(symbol, default))
        return resolve_symbol(symbol, self._markets, default=default, exchange=self.name)

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """Supported intervals of a market, ascending."""
        skipped = self._client.quirks.only_spot if ":" in symbol else ()
        supported = [interval for interval, timeframe in self._timeframes.items() if timeframe not in skipped]
        return tuple(sorted(supported, key=lambda interval: interval.seconds))

    def page(self, symbol: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Page:
        """Return the rows that open in [start, end), or the first part of them; see `PageSource.page`.

        Raises:
            ParameterError: If the exchange does not support the interval.
            SourceError: If the exchange cannot be reached, or its response is unusable.
        """
        market = self._market(symbol)
        start = max(start, _FIRST)
        if start >= end:
            return Page(_to_frame(np.empty((0, 7))), end)
        count = min(self._page_size(market), math.ceil((end - start) / interval.delta))
        rows = self._rows(market, interval, start, count)
        onward = market_kind(market) in self._client.quirks.onward
        if not onward:
            rows = self._with_beginning(rows, market, interval, start, count)
        _check_grid(rows, interval, f"{self.name} {market['symbol']}")
        if len(rows):
            until = _time(rows[-1]) + interval.offset
        else:
            until = end if onward else self._end_of_empty(market, interval, start, end)
        return Page(_to_frame(rows[rows[:, 0] < _millis(end)]), min(end, until))

    def _page_size(self, market: dict[str, Any], default: int = _PAGE_SIZE) -> int:
        """Rows per page of the exchange, or the default if it does not specify them."""
        limit = self._client.api.feature_value(market["symbol"], "fetchOHLCV", "limit")
        return int(limit) if isinstance(limit, int) and limit > 0 else default

    def _end_of_empty(
        self, market: dict[str, Any], interval: Interval, start: pd.Timestamp, end: pd.Timestamp
    ) -> pd.Timestamp:
        """End of the span that an empty page covers; daily candles extend it beyond the page's window.

        Days of some exchanges do not begin at midnight UTC, so that a day that starts before a time may include it.
        """
        size = self._page_size(market, _WINDOW_SIZE)
        if (end - start) / interval.delta <= size:
            return end
        window = start + size * interval.delta
        if not interval.intraday or _DAY not in self._timeframes:
            return window
        since = start.floor("D") - _DAY.delta
        days = self._with_beginning(self._rows(market, _DAY, since, size), market, _DAY, since, size)
        later = days[days[:, 0] + _DAY.seconds * 1000 > _millis(window)]
        return max(window, _time(later[0]) if len(later) else since + size * _DAY.delta)

    def _with_beginning(
        self, rows: FloatArray, market: dict[str, Any], interval: Interval, start: pd.Timestamp, count: int
    ) -> FloatArray:
        """Add the rows before a page that does not begin at the start: some exchanges send the end of a window."""
        while len(rows) and _time(rows[0]) - start >= interval.delta:
            missing = math.ceil((_time(rows[0]) - start) / interval.delta)
            earlier = self._rows(market, interval, start, min(count, missing))
            earlier = earlier[earlier[:, 0] < rows[0, 0]]
            if not len(earlier):
                break
            rows = np.concatenate([earlier, rows])
        return rows

    def _rows(self, market: dict[str, Any], interval: Interval, start: pd.Timestamp, count: int) -> FloatArray:
        """Rows of one request in order: time in milliseconds and the six columns [n, 7]."""
        api, quirks = self._client.api, self._client.quirks
        params = {}
        if quirks.recent is not None:
            # ccxt would choose the endpoint by this machine's clock.
            recent = (self.now() - start) / interval.delta < quirks.recent
            params["type"] = "Candles" if recent else "HistoryCandles"
        timeframe, since = self._timeframe(interval), _millis(start)
        rows = self._client.call(
            lambda: _parse_rows(api.fetch_ohlcv(market["symbol"], timeframe, since, count, params))
        )
        return rows[rows[:, 0] >= since]

    def _timeframe(self, interval: Interval) -> str:
        if interval not in self._timeframes:
            supported = ", ".join(map(str, sorted(self._timeframes, key=lambda known: known.seconds)))
            raise ParameterError(f"{self.name} has no {interval} candles; it has {supported}.")
        return self._timeframes[interval]

    def _market(self, symbol: str) -> dict[str, Any]:
        known: dict[str, dict[str, Any]] = self._client.api.markets or {}
        if symbol not in known:
            symbol = self.resolve(symbol)
        return dict(self._client.api.markets[symbol])

    def _load(self, kinds: Iterable[MarketKind]) -> None:
        """Load the markets of these kinds, in addition to those that are loaded already."""
        missing = [kind for kind in kinds if kind not in self._loaded]
        if not missing:
            return
        api = self._client.api
        types = _types_to_load(self._types, missing)
        if types is not None:
            api.options["fetchMarkets"]["types"] = types
        if types != []:
            fetched = self._client.call(api.fetch_markets)
            known = {**(api.markets or {}), **{market["symbol"]: market for market in fetched if market}}
            api.set_markets(list(known.values()))
            self._markets = [_exchange_market(market) for market in api.markets.values()]
        self._loaded |= _kinds_of(types, missing)


def _types_to_load(loadable: list[str] | None, kinds: list[MarketKind]) -> list[str] | None:
    """Types of markets to request; None if the exchange only serves all of them together."""
    if loadable is None:
        return None
    needed = {name for kind in kinds for name in _MARKET_TYPES[kind]}
    if "spot" in needed and "spot" not in loadable:  # an exchange that only has contracts
        needed = {"linear", "inverse", "swap"}
    return [name for name in loadable if name in needed]


def _kinds_of(types: list[str] | None, kinds: list[MarketKind]) -> set[MarketKind]:
    """The kinds of markets that are loaded with these types."""
    if types is None:
        return set(_MARKET_TYPES)
    return {*kinds, *(kind for kind, names in _MARKET_TYPES.items() if names[-1] == "swap" and "swap" in types)}


def _loadable_types(option: Any) -> list[str] | None:
    """The types of markets that ccxt can request one by one, if it can."""
    types = option.get("types") if isinstance(option, dict) else None
    return list(types) if isinstance(types, list) else None


def _parse_timeframes(timeframes: dict[str, Any] | None) -> Iterable[tuple[Interval, str]]:
    for timeframe in timeframes or {}:
        try:
            yield Interval.parse(timeframe), timeframe
        except ParameterError:  # for example a year, which `Interval` does not have
            continue


def _exchange_market(market: dict[str, Any]) -> ExchangeMarket:
    contract = not market.get("spot")
    base, quote = (str(market.get(side) or "").upper() for side in ("base", "quote"))
    return ExchangeMarket(
        symbol=str(market["symbol"]),
        id=str(market["id"]),
        base=base,
        quote=quote,
        settle=str(market.get("settle") or quote).upper() if contract else None,
        perpetual=not contract or bool(market.get("swap")),
        active=market.get("active") is not False,
    )


def _parse_rows(raw: list[list[Any]]) -> FloatArray:
    """Convert ccxt's rows to numbers [n, 7], without idle candles, which have no price at all.

    Raises:
        InvalidRowsError: If prices cannot be read.
    """
    rows = np.array([[*row[:6], row[6] if len(row) > 6 else None] for row in raw], dtype=np.float64).reshape(-1, 7)
    missing = np.isnan(rows[:, 1:5])
    idle = missing.all(axis=1)
    if (missing.any(axis=1) & ~idle).any() or (len(rows) and idle.all()):
        raise InvalidRowsError("candles whose prices cannot be read")
    return rows[~idle]


def _check_grid(rows: FloatArray, interval: Interval, name: str) -> None:
    """Reject candles that are not one interval apart.

    A few irregular ones may be real: after outages Binance had hours that began at odd seconds for days.
    """
    if interval.unit == "mo" or len(rows) < 2:
        return
    phases = rows[:, 0] % (interval.seconds * 1000)
    if np.unique(phases, return_counts=True)[1].max() * 2 < len(rows):
        first, second = (str(_time(row)) for row in rows[:2])
        raise SourceError(f"{name} sent candles that are not {interval} apart ({first}, {second}); try again later.")


def _to_frame(rows: FloatArray) -> pd.DataFrame:
    index = pd.DatetimeIndex(rows[:, 0].astype(np.int64).astype("M8[ms]"), tz="UTC", name="timestamps")
    return pd.DataFrame(rows[:, 1:], columns=list(COLUMNS), index=index)


def _time(row: FloatArray) -> pd.Timestamp:
    return pd.Timestamp(int(row[0]), unit="ms", tz="UTC")


def _millis(time_: pd.Timestamp) -> int:
    """Milliseconds since 1970, rounded up."""
    return -(-int(time_.value) // 1_000_000)

"""Any exchange that ccxt knows, as a source of pages.

- The exchange's clock decides what has closed; markets are loaded only as far as a symbol needs them.
- A page ends where its last candle does, whatever was asked for: exchanges send fewer rows, doubled ones, or only the
  newest of a window. What such a page lacks at its beginning is asked for again.
- An empty page ends with the window that was asked about, unless the exchange would have sent later rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.candles import COLUMNS
from kronos.errors import ParameterError, SourceError
from kronos.intervals import Interval
from kronos.sources.base import Page
from kronos.sources.exchanges.client import NEWEST, OLDEST, Client, Kind, NonsenseError, kind_of
from kronos.sources.exchanges.symbols import Instrument, find, kinds_asked

if TYPE_CHECKING:
    from kronos.settings import SourceSettings

Rows = npt.NDArray[np.float64]

_FRESH = 60.0  # seconds for which this machine's clock carries on the exchange's
_USUAL_PAGE, _SURE_WINDOW = 500, 100  # rows to ask for, and of which windows are, where the exchange does not tell
_DAY = Interval(1, "d")
_FIRST = pd.Timestamp("2009-01-03", tz="UTC")  # nothing that these exchanges trade is older
_TYPES: dict[Kind, tuple[str, ...]] = {"spot": ("spot",), "linear": ("linear", "swap"), "inverse": ("inverse", "swap")}


class CcxtSource:
    """A `PageSource` over one exchange."""

    def __init__(self, name: str, settings: SourceSettings | None = None, *, wait: float = 0.5) -> None:
        """Set it up; nothing is asked yet.

        Args:
            name: ccxt's name of the exchange: ``binance``, ``okx``, ``kraken`` …
            settings: How to reach it; None for the usual way.
            wait: Seconds before the first retry; the next waits are longer.

        Raises:
            ParameterError: If there is no such exchange, it has no candles, ccxt is not installed, or an address in
                the settings is none.
        """
        from kronos.settings import SourceSettings

        self._settings = settings or SourceSettings()
        self._client = Client(name.strip().lower(), self._settings, wait)
        self._timeframes = dict(_read_timeframes(self._client.api.timeframes))
        self._types = _types_of(self._client.api.options.get("fetchMarkets"))
        self._instruments: list[Instrument] = []
        self._loaded: set[Kind] = set()
        self._clock: tuple[pd.Timestamp, float] | None = None

    @property
    def name(self) -> str:
        """The exchange, as ccxt calls it."""
        return self._client.name

    def now(self) -> pd.Timestamp:
        """The time on the exchange's clock, or where it tells none, by the date of its latest answer; UTC.

        Raises:
            SourceError: If it cannot be reached.
        """
        api = self._client.api
        if api.has.get("fetchTime") is not True:
            return self._client.clock.now()
        if self._clock is None or time.monotonic() - self._clock[1] > _FRESH:
            told = self._client.ask(api.fetch_time)
            if not isinstance(told, int) or not OLDEST < told < NEWEST:
                raise SourceError(f"{self.name} answered what is no time; try again later.")
            self._clock = pd.Timestamp(told, unit="ms", tz="UTC"), time.monotonic()
        return self._clock[0] + pd.Timedelta(seconds=time.monotonic() - self._clock[1])

    def resolve(self, symbol: str) -> str:
        """The unified symbol (ccxt's) of a market in any usual notation; see `kronos.sources.exchanges.symbols`.

        Raises:
            ParameterError: If there is none, naming the nearest.
            SourceError: If the exchange cannot be reached.
        """
        self._load(kinds_asked(symbol, self._settings.market))
        return find(symbol, self._instruments, usual=self._settings.market, exchange=self.name)

    def intervals(self, symbol: str) -> tuple[Interval, ...]:
        """The intervals that it serves of a market, ascending."""
        skipped = self._client.dialect.only_spot if ":" in symbol else ()
        served = [interval for interval, timeframe in self._timeframes.items() if timeframe not in skipped]
        return tuple(sorted(served, key=lambda interval: interval.seconds))

    def page(self, symbol: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Page:
        """Rows that open in [start, end), or the first part of them; see `PageSource`.

        Raises:
            ParameterError: If it does not serve the interval.
            SourceError: If it cannot be reached, or answers nonsense.
        """
        market = self._market(symbol)
        start = max(start, _FIRST)
        if start >= end:
            return Page(_frame(np.empty((0, 7))), end)
        count = min(self._size(market), math.ceil((end - start) / interval.delta))
        rows = self._rows(market, interval, start, count)
        onward = kind_of(market) in self._client.dialect.onward
        if not onward:
            rows = self._with_beginning(rows, market, interval, start, count)
        _check_grid(rows, interval, f"{self.name} {market['symbol']}")
        if len(rows):
            until = _time(rows[-1]) + interval.offset
        else:
            until = end if onward else self._end_of_nothing(market, interval, start, end)
        return Page(_frame(rows[rows[:, 0] < _millis(end)]), min(end, until))

    def _size(self, market: dict[str, Any], unknown: int = _USUAL_PAGE) -> int:
        """How many rows a page of the exchange holds, or else ``unknown``."""
        told = self._client.api.feature_value(market["symbol"], "fetchOHLCV", "limit")
        return int(told) if isinstance(told, int) and told > 0 else unknown

    def _end_of_nothing(
        self, market: dict[str, Any], interval: Interval, start: pd.Timestamp, end: pd.Timestamp
    ) -> pd.Timestamp:
        """Up to when an empty page says that there is nothing; days tell it of more than hours do.

        The days of some exchanges do not begin at midnight UTC: one that begins before a time may hold what follows it.
        """
        size = self._size(market, _SURE_WINDOW)
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
        self, rows: Rows, market: dict[str, Any], interval: Interval, start: pd.Timestamp, count: int
    ) -> Rows:
        """Rows and those before them: where a window holds more than a page does, some exchanges send its end."""
        while len(rows) and _time(rows[0]) - start >= interval.delta:
            lacking = math.ceil((_time(rows[0]) - start) / interval.delta)
            earlier = self._rows(market, interval, start, min(count, lacking))
            earlier = earlier[earlier[:, 0] < rows[0, 0]]
            if not len(earlier):
                break
            rows = np.concatenate([earlier, rows])
        return rows

    def _rows(self, market: dict[str, Any], interval: Interval, start: pd.Timestamp, count: int) -> Rows:
        """What one request brings: time in milliseconds and the six columns [n, 7], in order."""
        api, dialect = self._client.api, self._client.dialect
        params = {}
        if dialect.recent is not None:
            # ccxt would choose by this machine's clock.
            recent = (self.now() - start) / interval.delta < dialect.recent
            params["type"] = "Candles" if recent else "HistoryCandles"
        timeframe, since = self._timeframe(interval), _millis(start)
        raw = self._client.ask(lambda: _table(api.fetch_ohlcv(market["symbol"], timeframe, since, count, params)))
        return raw[raw[:, 0] >= since]

    def _timeframe(self, interval: Interval) -> str:
        if interval not in self._timeframes:
            listed = ", ".join(str(one) for one in sorted(self._timeframes, key=lambda one: one.seconds))
            raise ParameterError(f"{self.name} has no {interval} candles; it has {listed}.")
        return self._timeframes[interval]

    def _market(self, symbol: str) -> dict[str, Any]:
        known: dict[str, dict[str, Any]] = self._client.api.markets or {}
        if symbol not in known:
            symbol = self.resolve(symbol)
        return dict(self._client.api.markets[symbol])

    def _load(self, kinds: Iterable[Kind]) -> None:
        """Make markets of these kinds known, with the others known so far."""
        lacking = [kind for kind in kinds if kind not in self._loaded]
        if not lacking:
            return
        api = self._client.api
        types = _choose(self._types, lacking)
        if types is not None:
            api.options["fetchMarkets"]["types"] = types
        if types != []:
            found = self._client.ask(api.fetch_markets)
            known = {**(api.markets or {}), **{market["symbol"]: market for market in found if market}}
            api.set_markets(list(known.values()))
            self._instruments = [_instrument(market) for market in api.markets.values()]
        self._loaded |= _known_with(types, lacking)


def _choose(served: list[str] | None, kinds: list[Kind]) -> list[str] | None:
    """The types of markets to ask for; None if an exchange can only be asked for all."""
    if served is None:
        return None
    wanted = {one for kind in kinds for one in _TYPES[kind]}
    if "spot" in wanted and "spot" not in served:  # an exchange for contracts alone
        wanted = {"linear", "inverse", "swap"}
    return [one for one in served if one in wanted]


def _known_with(types: list[str] | None, kinds: list[Kind]) -> set[Kind]:
    """The kinds that are known once these types have been loaded."""
    if types is None:
        return set(_TYPES)
    return {*kinds, *(kind for kind, names in _TYPES.items() if names[-1] == "swap" and "swap" in types)}


def _types_of(option: Any) -> list[str] | None:
    """The types of markets that ccxt can ask an exchange for one by one, if so."""
    types = option.get("types") if isinstance(option, dict) else None
    return list(types) if isinstance(types, list) else None


def _read_timeframes(timeframes: dict[str, Any] | None) -> Iterable[tuple[Interval, str]]:
    for timeframe in timeframes or {}:
        try:
            yield Interval.parse(timeframe), timeframe
        except ParameterError:  # a year, say: there is no such interval here
            continue


def _instrument(market: dict[str, Any]) -> Instrument:
    contract = not market.get("spot")
    base, quote = (str(market.get(side) or "").upper() for side in ("base", "quote"))
    return Instrument(
        symbol=str(market["symbol"]),
        id=str(market["id"]),
        base=base,
        quote=quote,
        settle=str(market.get("settle") or quote).upper() if contract else None,
        perpetual=not contract or bool(market.get("swap")),
        active=market.get("active") is not False,
    )


def _table(raw: list[list[Any]]) -> Rows:
    """The rows that ccxt gives as numbers [n, 7]; idle candles, which have no price at all, are left out.

    Raises:
        NonsenseError: If prices cannot be read.
    """
    rows = np.array([[*row[:6], row[6] if len(row) > 6 else None] for row in raw], dtype=np.float64).reshape(-1, 7)
    lacking = np.isnan(rows[:, 1:5])
    idle = lacking.all(axis=1)
    if (lacking.any(axis=1) & ~idle).any() or (len(rows) and idle.all()):
        raise NonsenseError("candles whose prices cannot be read")
    return rows[~idle]


def _check_grid(rows: Rows, interval: Interval, name: str) -> None:
    """Refuse candles that lie apart by something else than their interval.

    A few stray ones may be real: after outages Binance had hours that began at odd seconds for days.
    """
    if interval.unit == "mo" or len(rows) < 2:
        return
    phases = rows[:, 0] % (interval.seconds * 1000)
    if np.unique(phases, return_counts=True)[1].max() * 2 < len(rows):
        first, second = (str(_time(row)) for row in rows[:2])
        raise SourceError(
            f"{name} answered candles that are not {interval} apart ({first}, {second}); try again later."
        )


def _frame(rows: Rows) -> pd.DataFrame:
    index = pd.DatetimeIndex(rows[:, 0].astype(np.int64).astype("M8[ms]"), tz="UTC", name="timestamps")
    return pd.DataFrame(rows[:, 1:], columns=list(COLUMNS), index=index)


def _time(row: Rows) -> pd.Timestamp:
    return pd.Timestamp(int(row[0]), unit="ms", tz="UTC")


def _millis(stamp: pd.Timestamp) -> int:
    """Milliseconds since 1970 of the first whole one that is not before a time."""
    return -(-int(stamp.value) // 1_000_000)

"""CoinGecko: prices of coins, averaged over many exchanges, as candles where it has them.

- Its candles carry no volume, and are stamped with the time they close; here they are told by the time they open.
- How long a candle lasts follows from how far back one asks: 30 minutes for the last day, 4 hours for the last 30 days,
  4 days beyond (at most 365 days on the demo plan, everything on the pro plan). The pro plan also has hourly and daily
  candles since February 2018. What came is checked, and refused if it is of another length than was asked for.
- Answers are up to 15 minutes old, a finished day up to 35: a candle counts only once it cannot change any more.
- `CoinGecko.market_chart` gives prices at single moments. They are no candles, and nothing here makes candles of them.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from kronos.errors import ParameterError, SourceError
from kronos.intervals import Interval
from kronos.sources.base import Page
from kronos.sources.coingecko.api import Api, candle_rows, chart_step, numbers, series

if TYPE_CHECKING:
    from kronos.settings import SourceSettings

_DOLLARS = ("USDT", "USDC", "BUSD", "FDUSD", "TUSD", "USD")
_QUOTES = (*_DOLLARS, "EUR", "GBP", "JPY", "CNY", "KRW", "TRY", "BRL", "AUD", "CAD", "CHF", "BTC", "ETH", "BNB", "SOL")
# Thousands of coins share a symbol with another: these are what everybody means.
_COINS = {
    "BTC": "bitcoin", "ETH": "ethereum", "USDT": "tether", "USDC": "usd-coin", "BNB": "binancecoin", "SOL": "solana",
    "XRP": "ripple", "DOGE": "dogecoin", "ADA": "cardano", "TRX": "tron", "AVAX": "avalanche-2", "LINK": "chainlink",
    "DOT": "polkadot", "MATIC": "matic-network", "POL": "polygon-ecosystem-token", "LTC": "litecoin",
    "BCH": "bitcoin-cash", "XLM": "stellar", "ATOM": "cosmos", "UNI": "uniswap", "ETC": "ethereum-classic",
    "XMR": "monero", "NEAR": "near", "APT": "aptos", "ARB": "arbitrum", "OP": "optimism", "SUI": "sui",
    "FIL": "filecoin", "ICP": "internet-computer", "HBAR": "hedera-hashgraph", "TON": "the-open-network",
    "SHIB": "shiba-inu", "AAVE": "aave", "ALGO": "algorand", "VET": "vechain", "PEPE": "pepe",
    "INJ": "injective-protocol", "TIA": "celestia", "XTZ": "tezos", "MKR": "maker", "DAI": "dai",
    "WBTC": "wrapped-bitcoin",
}  # fmt: skip


def well_known(name: str) -> list[str]:
    """The coin that everybody means by a symbol, or has by that id."""
    coin = _COINS.get(name.upper(), name.lower())
    return [coin] if coin in _COINS.values() else []


def halves(text: str, currency: str) -> tuple[str, str]:
    """A pair's coin and quote: BTC and USDT of BTC-USDT, BTC/USDT, BTC_USDT or BTCUSDT; (text, "") if it is no pair."""
    upper = text.upper()
    for counter in (currency.upper(), *_QUOTES):
        for mark in "-/_:":
            if upper.endswith(mark + counter) and len(text) > len(counter) + 1:
                return text[: -len(counter) - 1], counter
    for counter in (*_DOLLARS, currency.upper()):
        if upper.endswith(counter) and len(text) > len(counter):
            return text[: -len(counter)], counter
    return text, ""


def is_dollar(quote: str) -> bool:
    """Whether a quote is the dollar, or a coin that is meant to be worth one."""
    return quote in _DOLLARS


def nearest(name: str, ids: Iterable[str]) -> str | None:
    """The well-known symbol or the id that is most like a name."""
    near = difflib.get_close_matches(name.lower(), [*(one.lower() for one in _COINS), *ids], n=1, cutoff=0.5)
    if not near:
        return None
    return near[0].upper() if near[0].upper() in _COINS else near[0]


_HALF_HOUR, _HOUR, _FOUR_HOURS = Interval(30, "m"), Interval(1, "h"), Interval(4, "h")
_DAY, _FOUR_DAYS = Interval(1, "d"), Interval(4, "d")
_RECENT = {_HALF_HOUR: (1,), _FOUR_HOURS: (7, 14, 30), _FOUR_DAYS: (90, 180, 365)}  # days to ask for, and what comes
# It allows 31 and 180 days a request. A few candles before those wanted show how long one is, however few these are.
_RANGED = {_HOUR: ("hourly", pd.Timedelta(days=30)), _DAY: ("daily", pd.Timedelta(days=165))}
_NEIGHBOURS = 12
_RANGED_SINCE = pd.Timestamp("2018-02-09", tz="UTC")


@dataclass(frozen=True, slots=True, eq=False)
class MarketChart:
    """Prices of a coin at single moments, and what goes with them. These are no candles.

    Attributes:
        coin: CoinGecko's id of the coin.
        currency: What the prices are in, ``usd``.
        granularity: How far the moments really are apart: about 5 minutes, an hour or a day.
        prices: Price by time, UTC; the last one is of now.
        volumes: Volume traded in the 24 hours before each time, in the currency.
        market_caps: Market capitalisation in the currency.
    """

    coin: str
    currency: str
    granularity: Interval
    prices: pd.Series[float]
    volumes: pd.Series[float]
    market_caps: pd.Series[float]


@dataclass(frozen=True, slots=True)
class Quote:
    """What a coin is worth now; None where CoinGecko does not tell.

    Attributes:
        coin: CoinGecko's id of the coin.
        currency: What the amounts are in, ``usd``.
        price: Price of one coin.
        change_24h: Change of the price in 24 hours, in percent.
        volume_24h: Volume traded in 24 hours.
        market_cap: Market capitalisation.
        at: When it was so, UTC.
    """

    coin: str
    currency: str
    price: float
    change_24h: float | None
    volume_24h: float | None
    market_cap: float | None
    at: pd.Timestamp | None


class CoinGecko:
    """A `PageSource` of CoinGecko's candles, and its prices and market data."""

    def __init__(self, settings: SourceSettings | None = None, *, currency: str = "usd", wait: float = 0.5) -> None:
        """Prepare to ask; nothing is asked yet.

        Args:
            settings: How to reach it; ``plan`` decides on host, key and intervals. None reads the environment. Without
                ``api_key`` there, ``COINGECKO_API_KEY`` serves, and the demo plan goes without.
            currency: What prices are in, by CoinGecko's name.
            wait: Seconds before the first repetition of a request that failed; later ones wait longer.

        Raises:
            ParameterError: If the pro plan has no key.
        """
        self.currency = currency.strip().lower()
        self._api = Api(settings if settings is not None else _settings(), wait)
        self._coins: dict[str, str] | None = None  # symbol by id

    @property
    def name(self) -> str:
        """``coingecko``; with the currency where that is not the dollar, since a store keeps both apart by it."""
        return "coingecko" if self.currency == "usd" else f"coingecko-{self.currency}"

    def now(self) -> pd.Timestamp:
        """The time on the server's clock, which its answers carry; asks for one if there was none yet. UTC.

        Raises:
            SourceError: If it cannot be reached.
        """
        if not self._api.clock.heard:
            self._api.get("/ping")
        return self._api.clock.now()

    def intervals(self, symbol: str) -> tuple[Interval, ...]:  # noqa: ARG002 - the protocol's argument
        """30m, 4h and 4d; on the pro plan 1h and 1d too."""
        served = [*_RECENT, *(_RANGED if self._api.plan == "pro" else ())]
        return tuple(sorted(served, key=lambda one: one.seconds))

    def resolve(self, symbol: str) -> str:
        """CoinGecko's id of a coin: ``bitcoin`` for BTC, bitcoin, BTC-USDT, BTC/USD or btcusdt.

        Raises:
            ParameterError: If there is no such coin (the nearest is named), several (all are named), or the pair's
                other half is not the currency.
            SourceError: If the list of coins cannot be fetched.
        """
        text = symbol.strip()
        coin, quote = halves(text, self.currency)
        for look in (well_known, self._listed):
            for name, other in ((text, ""), (coin, quote)):
                found = look(name)
                if found:
                    return self._only(symbol, found, other)
        near = nearest(coin, self._coins or {})
        mend = f"did you mean '{near}'?" if near else "write the id that its page shows, such as bitcoin."
        raise ParameterError(f"CoinGecko has no coin '{symbol}'; {mend}")

    def page(self, symbol: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Page:
        """Candles that open in [start, end), as far as CoinGecko still has them; see `PageSource`.

        Hourly and daily candles come at most 30 and 165 days at a time. Of the others there is only what the class's
        description tells, in one page. Candles so young that they may still change are left out. Volume and amount are
        NaN: CoinGecko does not tell them.

        Raises:
            ParameterError: If the plan does not have the interval, or there is no such coin.
            SourceError: If CoinGecko cannot be reached, refuses, or answers with candles of another length.
        """
        if interval in _RANGED and self._api.plan == "pro":
            rows, until = self._ranged(symbol, interval, start, end)
        elif interval in _RECENT:
            rows, until = self._recent(symbol, interval, start, end), end
        else:
            served = ", ".join(str(one) for one in self.intervals(symbol))
            pro = "; hourly and daily ones need the pro plan" if interval in _RANGED else ""
            raise ParameterError(
                f"CoinGecko has no {interval} candles on its {self._api.plan} plan, only {served}{pro}."
            )
        frame = candle_rows(rows, interval, self.now())
        return Page(frame[(frame.index >= start) & (frame.index < until)], until)

    def market_chart(self, symbol: str, days: int) -> MarketChart:
        """Prices at single moments of the last days: every 5 minutes for 1 day, hourly up to 90, daily beyond.

        Args:
            symbol: The coin, as for `resolve`.
            days: How far back; the demo plan has at most 365.

        Returns:
            Prices, 24-hour volumes and market capitalisations, which are no candles.

        Raises:
            ParameterError: If there is no such coin, or ``days`` is below 1.
            SourceError: If CoinGecko cannot be reached, refuses, or answers nonsense.
        """
        if days < 1:
            raise ParameterError(f"A market chart covers at least 1 day, not {days}.")
        coin = self.resolve(symbol)
        told = self._api.get(_path(coin, "market_chart"), {"vs_currency": self.currency, "days": days})
        parts = told if isinstance(told, dict) else {}
        prices, volumes, caps = (series(parts.get(one), one) for one in ("prices", "total_volumes", "market_caps"))
        return MarketChart(coin, self.currency, chart_step(prices, coin), prices, volumes, caps)

    def quote(self, symbol: str) -> Quote:
        """What a coin is worth now.

        Raises:
            ParameterError: If there is no such coin.
            SourceError: If CoinGecko cannot be reached, refuses, or has no price.
        """
        coin = self.resolve(symbol)
        wanted = ("include_market_cap", "include_24hr_vol", "include_24hr_change", "include_last_updated_at")
        asked = {"ids": coin, "vs_currencies": self.currency} | dict.fromkeys(wanted, "true")
        told = self._api.get("/simple/price", asked)
        told_of = numbers(told.get(coin) if isinstance(told, dict) else None)
        price = told_of.get(self.currency)
        if price is None:
            raise SourceError(f"CoinGecko has no price of {coin} in {self.currency}.")
        at = told_of.get("last_updated_at")
        return Quote(
            coin=coin,
            currency=self.currency,
            price=price,
            change_24h=told_of.get(f"{self.currency}_24h_change"),
            volume_24h=told_of.get(f"{self.currency}_24h_vol"),
            market_cap=told_of.get(f"{self.currency}_market_cap") or None,  # it writes 0 for those it does not know
            at=None if at is None else pd.Timestamp(at, unit="s", tz="UTC"),
        )

    def _recent(self, coin: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Any:
        """Rows of a request by days back: the fewest that reach the start, else the most there are."""
        spans = _RECENT[interval]
        unlimited = interval == _FOUR_DAYS and self._api.plan == "pro"
        if not unlimited and self._days_ago(end) > spans[-1]:
            return []
        days = next((one for one in spans if one >= self._days_ago(start)), "max" if unlimited else spans[-1])
        return self._api.get(_path(coin, "ohlc"), {"vs_currency": self.currency, "days": days})

    def _days_ago(self, time: pd.Timestamp) -> float:
        return (self.now() - time) / pd.Timedelta(days=1)

    def _ranged(
        self, coin: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp
    ) -> tuple[Any, pd.Timestamp]:
        """Rows of a request by times, and the time up to which they answer."""
        word, longest = _RANGED[interval]
        first = max(start, _RANGED_SINCE)
        until = min(end, first + longest)
        since = first - _NEIGHBOURS * interval.delta
        to = min(until + interval.delta, self.now())  # stamped by their close
        if first >= end or to <= first:
            return [], end if first >= end else until
        span = {"from": int(since.timestamp()), "to": math.ceil(to.timestamp())}
        asked = {"vs_currency": self.currency, "interval": word, **span}
        return self._api.get(_path(coin, "ohlc/range"), asked), until

    def _listed(self, name: str) -> list[str]:
        """The coins of that id or symbol by CoinGecko's list, which is fetched once."""
        if self._coins is None:
            told = self._api.get("/coins/list")
            rows = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
            self._coins = {str(one["id"]): str(one["symbol"]).lower() for one in rows if {"id", "symbol"} <= one.keys()}
        if not self._coins:
            raise SourceError("CoinGecko sent no list of coins; try again later.")
        low = name.lower()
        if low in self._coins:
            return [low]
        return sorted((coin for coin, symbol in self._coins.items() if symbol == low), key=lambda one: (len(one), one))

    def _only(self, symbol: str, found: list[str], quote: str) -> str:
        """The one coin that was found for a symbol, whose other half has to be the currency."""
        if len(found) > 1:
            named = ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
            raise ParameterError(f"Several coins are called '{symbol}'; write the id of the one you mean: {named}.")
        if quote and quote.lower() != self.currency and not (self.currency == "usd" and is_dollar(quote)):
            raise ParameterError(f"CoinGecko's prices of '{symbol}' are in {self.currency} here; ask for {found[0]}.")
        return found[0]


def _path(coin: str, what: str) -> str:
    return f"/coins/{quote(coin, safe='')}/{what}"


def _settings() -> SourceSettings:
    from kronos.settings import SourceSettings, get_settings

    return get_settings().sources.get("coingecko", SourceSettings())

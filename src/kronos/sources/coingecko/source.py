"""CoinGecko: OHLC candles, market charts and quotes of coins, averaged over many exchanges.

- Candles have no volume. CoinGecko labels them by their closing time, this source by their opening time.
- The interval follows from how far back a request reaches: 30 minutes for the last day, 4 hours for the last 30 days,
  4 days beyond (up to 365 days on the demo plan, all on the pro plan). The pro plan also has hourly and daily candles
  since February 2018. Candles of another interval than requested are rejected.
- Responses are up to 15 minutes old, a finished day up to 35: a candle counts only once it cannot change any more.
- `CoinGecko.market_chart` returns prices at single moments, which are not candles and never converted to candles.
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
from kronos.formatting import join_names
from kronos.intervals import Interval
from kronos.sources.base import Page
from kronos.sources.coingecko.api import CoinGeckoClient, finite_numbers, infer_granularity, parse_candles, parse_series

if TYPE_CHECKING:
    from kronos.settings import SourceSettings

_DOLLARS = ("USDT", "USDC", "BUSD", "FDUSD", "TUSD", "USD")
_QUOTES = (*_DOLLARS, "EUR", "GBP", "JPY", "CNY", "KRW", "TRY", "BRL", "AUD", "CAD", "CHF", "BTC", "ETH", "BNB", "SOL")
# Thousands of coins share a symbol with others: these are the well-known ones.
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

_HALF_HOUR, _HOUR, _FOUR_HOURS = Interval(30, "m"), Interval(1, "h"), Interval(4, "h")
_DAY, _FOUR_DAYS = Interval(1, "d"), Interval(4, "d")
_DAYS_BACK = {_HALF_HOUR: (1,), _FOUR_HOURS: (7, 14, 30), _FOUR_DAYS: (90, 180, 365)}  # days of requests per interval
# Names and longest ranges of requests by time. The API allows 31 and 180 days: the rest is for `_NEIGHBOURS` candles
# before the requested ones, which show the interval even if only few are requested.
_RANGES = {_HOUR: ("hourly", pd.Timedelta(days=30)), _DAY: ("daily", pd.Timedelta(days=165))}
_NEIGHBOURS = 12
_RANGES_SINCE = pd.Timestamp("2018-02-09", tz="UTC")


def well_known_coins(name: str) -> list[str]:
    """The well-known coin with this symbol or id, if there is one."""
    coin = _COINS.get(name.upper(), name.lower())
    return [coin] if coin in _COINS.values() else []


def split_pair(text: str, currency: str) -> tuple[str, str]:
    """Split BTC-USDT, BTC/USDT, BTC_USDT or BTCUSDT into coin and quote; (text, "") if it is not a pair."""
    upper = text.upper()
    for suffix in (currency.upper(), *_QUOTES):
        for separator in "-/_:":
            if upper.endswith(separator + suffix) and len(text) > len(suffix) + 1:
                return text[: -len(suffix) - 1], suffix
    for suffix in (*_DOLLARS, currency.upper()):
        if upper.endswith(suffix) and len(text) > len(suffix):
            return text[: -len(suffix)], suffix
    return text, ""


def nearest_coin(name: str, ids: Iterable[str]) -> str | None:
    """The well-known symbol or the id that is most similar to a name."""
    near = difflib.get_close_matches(name.lower(), [*map(str.lower, _COINS), *ids], n=1, cutoff=0.5)
    if not near:
        return None
    return near[0].upper() if near[0].upper() in _COINS else near[0]


@dataclass(frozen=True, slots=True, eq=False)
class MarketChart:
    """Prices of a coin at single moments, with volumes and market capitalisations. These are not candles.

    Attributes:
        coin: CoinGecko's id of the coin.
        currency: Currency of the prices, ``usd``.
        granularity: Actual distance of the times: about 5 minutes, an hour or a day.
        prices: Price by time, UTC; the last one is the current price.
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
    """Current price of a coin; None for values that CoinGecko does not have.

    Attributes:
        coin: CoinGecko's id of the coin.
        currency: Currency of the amounts, ``usd``.
        price: Price of one coin.
        change_24h: Change of the price in 24 hours, in percent.
        volume_24h: Volume traded in 24 hours.
        market_cap: Market capitalisation.
        at: Time of the price, UTC.
    """

    coin: str
    currency: str
    price: float
    change_24h: float | None
    volume_24h: float | None
    market_cap: float | None
    at: pd.Timestamp | None


class CoinGecko:
    """A `PageSource` of CoinGecko's candles, with its market charts and quotes."""

    def __init__(self, settings: SourceSettings | None = None, *, currency: str = "usd", wait: float = 0.5) -> None:
        """Configure the source; no request is made.

        Args:
            settings: How to reach the API; ``plan`` decides the host, the key and the intervals. None reads the
                environment. Without ``api_key``, ``COINGECKO_API_KEY`` is used; the demo plan needs no key.
            currency: Currency of the prices, by CoinGecko's name.
            wait: Seconds before the first retry; later waits are longer.

        Raises:
            ParameterError: If the pro plan has no key.
        """
        self.currency = currency.strip().lower()
        self._api = CoinGeckoClient(settings if settings is not None else _settings(), wait)
        self._coins: dict[str, str] | None = None  # symbol by id

    @property
    def name(self) -> str:
        """``coingecko``, with the currency if it is not the dollar, so that caches keep currencies apart."""
        return "coingecko" if self.currency == "usd" else f"coingecko-{self.currency}"

    def now(self) -> pd.Timestamp:
        """UTC time on the server's clock, which its responses carry; makes a request if there was none before.

        Raises:
            SourceError: If the API cannot be reached.
        """
        if not self._api.clock.is_set:
            self._api.get("/ping")
        return self._api.clock.now()

    def intervals(self, symbol: str) -> tuple[Interval, ...]:  # noqa: ARG002  (argument of the protocol)
        """30m, 4h and 4d; on the pro plan also 1h and 1d."""
        supported = [*_DAYS_BACK, *(_RANGES if self._api.plan == "pro" else ())]
        return tuple(sorted(supported, key=lambda interval: interval.seconds))

    def resolve(self, symbol: str) -> str:
        """CoinGecko's id of a coin: ``bitcoin`` for BTC, bitcoin, BTC-USDT, BTC/USD or btcusdt.

        Raises:
            ParameterError: If there is no such coin (suggests the nearest), several (lists them), or the quote of the
                pair is not the currency.
            SourceError: If the list of coins cannot be fetched.
        """
        text = symbol.strip()
        coin, quote = split_pair(text, self.currency)
        for search in (well_known_coins, self._listed_coins):
            for name, other in ((text, ""), (coin, quote)):
                if found := search(name):
                    return self._single_coin(symbol, found, other)
        near = nearest_coin(coin, self._coins or {})
        hint = f"did you mean '{near}'?" if near else "write the id from its page, such as bitcoin."
        raise ParameterError(f"CoinGecko has no coin '{symbol}'; {hint}")

    def page(self, symbol: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Page:
        """Return candles that open in [start, end), as far as CoinGecko has them; see `PageSource.page`.

        A page holds at most 30 days of hourly and 165 days of daily candles. Other intervals come in one page, with the
        limits in the description of this module. Candles that may still change are dropped. Volume and amount are NaN.

        Raises:
            ParameterError: If the plan does not include the interval, or there is no such coin.
            SourceError: If CoinGecko cannot be reached, rejects the request, or sends candles of another interval.
        """
        if interval in _RANGES and self._api.plan == "pro":
            rows, until = self._by_range(symbol, interval, start, end)
        elif interval in _DAYS_BACK:
            rows, until = self._by_days(symbol, interval, start, end), end
        else:
            supported = ", ".join(map(str, self.intervals(symbol)))
            pro = "; hourly and daily candles need the pro plan" if interval in _RANGES else ""
            raise ParameterError(
                f"CoinGecko has no {interval} candles on its {self._api.plan} plan: choose {supported}{pro}."
            )
        frame = parse_candles(rows, interval, self.now())
        return Page(frame[(frame.index >= start) & (frame.index < until)], until)

    def market_chart(self, symbol: str, days: int) -> MarketChart:
        """Return prices at single moments of the last days: every 5 minutes for 1 day, hourly up to 90, then daily.

        Args:
            symbol: The coin, as for `resolve`.
            days: Number of days; the demo plan has at most 365.

        Raises:
            ParameterError: If there is no such coin, or ``days`` is below 1.
            SourceError: If CoinGecko cannot be reached, rejects the request, or its response is unusable.
        """
        if days < 1:
            raise ParameterError(f"Invalid number of days {days}: choose at least 1 day.")
        coin = self.resolve(symbol)
        body = self._api.get(_path(coin, "market_chart"), {"vs_currency": self.currency, "days": days})
        parts = body if isinstance(body, dict) else {}
        prices, volumes, caps = (
            parse_series(parts.get(name), name) for name in ("prices", "total_volumes", "market_caps")
        )
        return MarketChart(coin, self.currency, infer_granularity(prices, coin), prices, volumes, caps)

    def quote(self, symbol: str) -> Quote:
        """Return the current price of a coin.

        Raises:
            ParameterError: If there is no such coin.
            SourceError: If CoinGecko cannot be reached, rejects the request, or has no price.
        """
        coin = self.resolve(symbol)
        extras = ("include_market_cap", "include_24hr_vol", "include_24hr_change", "include_last_updated_at")
        params = {"ids": coin, "vs_currencies": self.currency} | dict.fromkeys(extras, "true")
        body = self._api.get("/simple/price", params)
        values = finite_numbers(body.get(coin) if isinstance(body, dict) else None)
        price = values.get(self.currency)
        if price is None:
            raise SourceError(f"CoinGecko has no {self.currency} price for {coin}: choose another currency or source.")
        at = values.get("last_updated_at")
        return Quote(
            coin=coin,
            currency=self.currency,
            price=price,
            change_24h=values.get(f"{self.currency}_24h_change"),
            volume_24h=values.get(f"{self.currency}_24h_vol"),
            market_cap=values.get(f"{self.currency}_market_cap") or None,  # 0 means unknown
            at=None if at is None else pd.Timestamp(at, unit="s", tz="UTC"),
        )

    def _by_days(self, coin: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp) -> Any:
        """Rows of a request by days back: the fewest that reach the start, else the maximum."""
        choices = _DAYS_BACK[interval]
        unlimited = interval == _FOUR_DAYS and self._api.plan == "pro"
        if not unlimited and self._days_ago(end) > choices[-1]:
            return []
        longest = "max" if unlimited else choices[-1]
        days = next((days for days in choices if days >= self._days_ago(start)), longest)
        return self._api.get(_path(coin, "ohlc"), {"vs_currency": self.currency, "days": days})

    def _days_ago(self, time: pd.Timestamp) -> float:
        return (self.now() - time) / pd.Timedelta(days=1)

    def _by_range(
        self, coin: str, interval: Interval, start: pd.Timestamp, end: pd.Timestamp
    ) -> tuple[Any, pd.Timestamp]:
        """Rows of a request by time, and the end of the range that they cover."""
        word, longest = _RANGES[interval]
        first = max(start, _RANGES_SINCE)
        until = min(end, first + longest)
        since = first - _NEIGHBOURS * interval.delta
        to = min(until + interval.delta, self.now())  # the API selects by closing time
        if first >= end or to <= first:
            return [], end if first >= end else until
        span = {"from": int(since.timestamp()), "to": math.ceil(to.timestamp())}
        params = {"vs_currency": self.currency, "interval": word, **span}
        return self._api.get(_path(coin, "ohlc/range"), params), until

    def _listed_coins(self, name: str) -> list[str]:
        """Coins with that id or symbol in CoinGecko's list, which is fetched once."""
        if self._coins is None:
            body = self._api.get("/coins/list")
            rows = [row for row in body if isinstance(row, dict)] if isinstance(body, list) else []
            self._coins = {str(row["id"]): str(row["symbol"]).lower() for row in rows if {"id", "symbol"} <= row.keys()}
        if not self._coins:
            raise SourceError("CoinGecko sent no list of coins; try again later.")
        lower = name.lower()
        if lower in self._coins:
            return [lower]
        found = (coin for coin, symbol in self._coins.items() if symbol == lower)
        return sorted(found, key=lambda coin: (len(coin), coin))

    def _single_coin(self, symbol: str, found: list[str], quote: str) -> str:
        """The coin, if only one was found for a symbol and its quote is the currency."""
        if len(found) > 1:
            ids = join_names(found, 8)
            raise ParameterError(f"Several coins are called '{symbol}': write the id of one of them, {ids}.")
        if quote and quote.lower() != self.currency and not (self.currency == "usd" and quote in _DOLLARS):
            raise ParameterError(
                f"CoinGecko's prices of '{symbol}' are in {self.currency} here: use {found[0]} as the symbol."
            )
        return found[0]


def _path(coin: str, endpoint: str) -> str:
    return f"/coins/{quote(coin, safe='')}/{endpoint}"


def _settings() -> SourceSettings:
    from kronos.settings import SourceSettings, get_settings

    return get_settings().sources.get("coingecko", SourceSettings())

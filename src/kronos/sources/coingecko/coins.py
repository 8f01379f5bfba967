"""What people call coins: symbols that everybody knows, pairs, and the nearest name to one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

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
    for quote in (currency.upper(), *_QUOTES):
        for mark in "-/_:":
            if upper.endswith(mark + quote) and len(text) > len(quote) + 1:
                return text[: -len(quote) - 1], quote
    for quote in (*_DOLLARS, currency.upper()):
        if upper.endswith(quote) and len(text) > len(quote):
            return text[: -len(quote)], quote
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

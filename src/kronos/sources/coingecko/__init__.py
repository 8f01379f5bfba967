"""CoinGecko: OHLC candles, market charts and quotes, with its granularity said honestly."""

from kronos.sources.coingecko.source import CoinGecko, MarketChart, Quote

__all__ = ["CoinGecko", "MarketChart", "Quote"]
